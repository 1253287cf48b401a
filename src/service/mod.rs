//! Use cases: one function each, over the domain and the store, with no protobuf.

pub mod actions;
pub mod attendance;
pub mod calendars;
pub mod case_file;
pub mod catalogues;
pub mod classify;
pub mod error;
pub mod feed;
pub mod forecasts;
pub mod freshness;
mod history;
pub mod holds;
mod identities;
pub mod jobs;
mod judging;
pub mod movements;
pub mod period;
pub mod persistent_absence;
pub mod policies;
pub mod privacy;
pub mod pupils;
pub mod recorded;
pub mod schools;
pub mod sessions;
pub mod stages;
pub mod summaries;
pub mod thresholds;
mod transaction;
pub mod transitions;
pub mod trusts;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use self::actions::watch::ActionLog;
use self::feed::{Feed, FeedSettings};
use self::identities::IdentityCache;
use self::judging::RolledOver;
use self::policies::PolicyCache;
use self::transitions::Transitions;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::stage_reader::StageReader;

pub use error::ServiceError;

/// How much one call may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most items of one batch of sessions.
    pub session_items_max: usize,
    /// The most pupils of one batch of pupils.
    pub pupil_items_max: usize,
    /// The most pupils of one `BatchGetPupilStages`.
    pub batch_get_max: usize,
    /// The most rows of one page.
    pub page_size_max: usize,
    /// The most warnings that an answer lists.
    pub warnings_max: usize,
    /// Counts of pupils from 1 to below it are suppressed for whoever has no leave to see single pupils.
    pub small_number_limit: u64,
    /// The most streams of transitions at once, and as many of actions.
    pub watchers_max: usize,
    /// For how many days after it was recorded a transition, or an entry of an action's log, can be watched.
    pub feed_retention_days: u32,
    /// The most case files that are read at once: each has a connection to the database until its last part is sent.
    pub case_files_max: usize,
    /// How long a case file waits for its reader to take the next part.
    pub case_file_waits: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            session_items_max: 50_000,
            pupil_items_max: 10_000,
            batch_get_max: 1_000,
            page_size_max: 1_000,
            warnings_max: 1_000,
            small_number_limit: 6,
            watchers_max: 1_000,
            feed_retention_days: 400,
            case_files_max: 4,
            case_file_waits: Duration::from_secs(30),
        }
    }
}

/// The use cases, with what they work on.
#[derive(Clone)]
pub struct Service {
    /// The database.
    pub store: Store,
    /// The clock.
    pub clock: Clock,
    /// How much one call may ask for.
    pub limits: Limits,
    /// The trusts' feeds of transitions.
    pub feed: Feed<Transitions>,
    /// The trusts' feeds of what is recorded on actions.
    pub action_feed: Feed<ActionLog>,
    reader: StageReader,
    rolled_over: RolledOver,
    policies: PolicyCache,
    identities: IdentityCache,
    case_files: Arc<Semaphore>,
}

impl Service {
    /// The use cases over a database. Starts the workers of the point reads.
    pub fn new(store: Store, clock: Clock, limits: Limits) -> Service {
        let settings = FeedSettings {
            retention_days: limits.feed_retention_days,
            subscriptions_max: limits.watchers_max,
        };
        Service {
            feed: Feed::new(store.clone(), clock.clone(), settings),
            action_feed: Feed::new(store.clone(), clock.clone(), settings),
            reader: StageReader::start(&store),
            store,
            clock,
            limits,
            rolled_over: RolledOver::default(),
            policies: PolicyCache::default(),
            identities: IdentityCache::default(),
            case_files: Arc::new(Semaphore::new(limits.case_files_max)),
        }
    }
}

/// A page of a list: how many, and from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// How many rows at the most.
    pub size: usize,
    /// The key of the last row of the page before; nothing for the first page.
    pub after: Option<K>,
}

/// The rows of a page, and the key of the last where there are more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageOf<T, K> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; nothing on the last.
    pub next: Option<K>,
}

impl<T, K> PageOf<T, K> {
    /// Makes a page of one row more than were asked for: the one too many tells that there is a next page.
    pub fn from_rows(mut rows: Vec<T>, size: usize, key: impl Fn(&T) -> K) -> PageOf<T, K> {
        let more = rows.len() > size;
        rows.truncate(size);
        let next = if more { rows.last().map(key) } else { None };
        PageOf { rows, next }
    }
}

/// How many rows to read for a page: one more than it holds tells that there is a next one.
fn one_more(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1)
}
