//! Following a feed: whatever is appended to a table in the order of the commits, streamed to many at once.
//!
//! One task a trust (the *tail*) reads what is new, when a transaction of this process says so and every quarter of a second
//! for what others wrote, and keeps the newest rows in memory for all who follow. Whoever is behind these reads pages from the
//! database at a pace of their own. A subscription is pulled: nothing is queued for a slow reader, and no writer waits for one.

mod cursor;
mod subscription;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use tokio::sync::{Semaphore, watch};

use self::tail::Tail;
use super::ServiceError;
use super::error::Resource;
use super::transaction::finish;
use crate::clock::Clock;
use crate::domain::identifiers::TrustId;
use crate::store::feeds::{self, FeedTable, Place, Surroundings};
use crate::store::{Store, StoreError};

pub use self::cursor::{cursor_text, parse_cursor};
pub use self::subscription::{FeedEvent, Subscription};

/// How many rows one statement reads, and one event holds, at the most.
pub const PAGE_ROWS_MAX: usize = 500;

/// How many connections all who are behind may hold at once: the rest of the pool is for other calls.
const READERS_MAX: usize = 4;

/// A row of a feed.
pub trait FeedItem: Send + Sync + 'static {
    /// Where it stands.
    fn place(&self) -> Place;
}

/// What is followed: how a feed is read.
pub trait FeedSource: Send + Sync + 'static {
    /// A row.
    type Item: FeedItem;

    /// Names the feed in cursors: a cursor is good for one feed.
    const NAME: &'static str;

    /// Where it is kept.
    const TABLE: FeedTable;

    /// The rows after a position in order, at most so many.
    fn after(
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        position: i64,
        most: i64,
    ) -> impl Future<Output = Result<Vec<Self::Item>, StoreError>> + Send;
}

/// How a feed is followed.
#[derive(Clone, Copy, Debug)]
pub struct FeedSettings {
    /// For how many days after it was recorded a row can be followed.
    pub retention_days: u32,
    /// How many may follow at once.
    pub subscriptions_max: usize,
}

/// From where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest row that is still served.
    Oldest,
    /// With what comes after now.
    End,
    /// After a place.
    After(Place),
}

/// From where to where a feed can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest place from which a subscription may begin.
    pub oldest: Place,
    /// The last row.
    pub newest: Place,
}

/// A feed that is followed.
pub struct Feed<S: FeedSource>(Arc<Inner<S>>);

impl<S: FeedSource> Clone for Feed<S> {
    fn clone(&self) -> Feed<S> {
        Feed(self.0.clone())
    }
}

struct Inner<S: FeedSource> {
    store: Store,
    clock: Clock,
    settings: FeedSettings,
    /// Those that are followed in this process.
    tails: Mutex<HashMap<TrustId, Arc<Tail<S::Item>>>>,
    readers: Semaphore,
    subscriptions: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl<S: FeedSource> Feed<S> {
    /// Of a database.
    pub fn new(store: Store, clock: Clock, settings: FeedSettings) -> Feed<S> {
        Feed(Arc::new(Inner {
            store,
            clock,
            settings,
            tails: Mutex::default(),
            readers: Semaphore::new(READERS_MAX),
            subscriptions: Arc::new(Semaphore::new(settings.subscriptions_max)),
            stopping: watch::Sender::new(false),
        }))
    }

    /// Ends every subscription, in good order: the service stops.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Whether the service stops.
    pub fn is_stopping(&self) -> bool {
        *self.0.stopping.borrow()
    }

    /// For how many days after it was recorded a row can be followed.
    pub fn retention_days(&self) -> u32 {
        self.0.settings.retention_days
    }

    /// From where to where the feed can be followed.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn bounds(&self, trust: TrustId) -> Result<Bounds, ServiceError> {
        let oldest_at = self.oldest_at();
        let mut transaction = self.0.store.begin(trust).await?;
        let read = async {
            let oldest = feeds::place_at_time(&mut transaction, S::TABLE, trust, oldest_at).await?;
            let oldest = oldest.ok_or(ServiceError::NotFound(Resource::Trust))?;
            let surroundings = feeds::surroundings(&mut transaction, S::TABLE, trust, oldest.position).await?;
            let newest = surroundings.ok_or(ServiceError::NotFound(Resource::Trust))?.end;
            Ok(Bounds { oldest, newest })
        }
        .await;
        finish(transaction, read).await
    }

    /// Follows the feed. A heartbeat is due whenever nothing else came for so long.
    ///
    /// # Errors
    /// `OutOfRange` for a place that is too old (`CURSOR_TOO_OLD`) or that the feed does not have (`CURSOR_AHEAD`),
    /// `Exhausted` where too many follow already, `NotFound` where there is no such trust.
    pub async fn subscribe(
        &self,
        trust: TrustId,
        start: Start,
        heartbeat: Duration,
    ) -> Result<Subscription<S>, ServiceError> {
        let permit = self.0.subscriptions.clone().try_acquire_owned();
        let permit = permit.map_err(|_| ServiceError::Exhausted {
            reason: "TOO_MANY_WATCHERS",
            message: format!(
                "{} watch already, the most that this replica takes: try again later, or share a stream",
                self.0.settings.subscriptions_max
            ),
        })?;
        let place = match start {
            Start::Oldest => self.bounds(trust).await?.oldest,
            Start::End => self.look_around(trust, 0).await?.end,
            Start::After(place) => {
                self.check(trust, place).await?;
                place
            }
        };
        Ok(Subscription::new(self.clone(), trust, place, heartbeat, permit))
    }

    /// Refuses a place from which the feed does not go on.
    async fn check(&self, trust: TrustId, place: Place) -> Result<(), ServiceError> {
        let around = self.look_around(trust, place.position).await?;
        if around.here != Some(place) {
            return Err(ServiceError::OutOfRange {
                reason: "CURSOR_AHEAD",
                message:
                    "the feed does not have the row at this cursor: the database was restored to an earlier point; \
                          begin from a snapshot"
                        .to_owned(),
                metadata: vec![("newest_cursor", cursor_text::<S>(trust, around.end))],
            });
        }
        if around.next.is_some_and(|next| next.recorded_at < self.oldest_at()) {
            let oldest = cursor_text::<S>(trust, self.bounds(trust).await?.oldest);
            return Err(ServiceError::OutOfRange {
                reason: "CURSOR_TOO_OLD",
                message: format!(
                    "what follows this cursor was recorded more than {} days ago, and the feed does not go back as far: begin \
                     from a snapshot, or, where the moves between may be missed, from the oldest cursor, {oldest}",
                    self.0.settings.retention_days
                ),
                metadata: vec![("oldest_cursor", oldest)],
            });
        }
        Ok(())
    }

    async fn look_around(&self, trust: TrustId, position: i64) -> Result<Surroundings, ServiceError> {
        let mut transaction = self.0.store.begin(trust).await?;
        let read = feeds::surroundings(&mut transaction, S::TABLE, trust, position).await;
        let found = finish(transaction, read.map_err(ServiceError::from)).await?;
        found.ok_or(ServiceError::NotFound(Resource::Trust))
    }

    /// The time before which a row is too old.
    fn oldest_at(&self) -> DateTime<Utc> {
        let retention = TimeDelta::days(i64::from(self.0.settings.retention_days));
        let oldest = self.0.clock.now().checked_sub_signed(retention);
        oldest.map_or(DateTime::UNIX_EPOCH, |oldest| oldest.max(DateTime::UNIX_EPOCH))
    }

    /// Rows after a position, as pages of the database. Those who are behind take turns.
    async fn read(&self, trust: TrustId, position: i64) -> Result<Vec<Arc<S::Item>>, ServiceError> {
        // Nobody closes it.
        let _turn = self.0.readers.acquire().await;
        let rows = self.0.rows_after(trust, position).await?;
        Ok(rows.into_iter().map(Arc::new).collect())
    }

    /// A turn among those who read at a pace of their own.
    pub(super) async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.0.readers.acquire().await.ok()
    }

    /// The trust's tail, which begins with the first who follows.
    fn join(&self, trust: TrustId) -> (Arc<Tail<S::Item>>, watch::Receiver<tail::State>) {
        let mut tails = self.0.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = tails.entry(trust).or_insert_with(|| {
            let tail = Arc::new(Tail::default());
            tokio::spawn(tail::keep_up(self.0.clone(), trust, tail.clone()));
            tail
        });
        (tail.clone(), tail.state.subscribe())
    }
}

impl<S: FeedSource> Inner<S> {
    async fn rows_after(&self, trust: TrustId, position: i64) -> Result<Vec<S::Item>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let most = i64::try_from(PAGE_ROWS_MAX).unwrap_or(i64::MAX);
        let read = S::after(&mut transaction, trust, position, most).await;
        finish(transaction, read.map_err(ServiceError::from)).await
    }

    async fn end(&self, trust: TrustId) -> Result<Place, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = feeds::surroundings(&mut transaction, S::TABLE, trust, 0).await;
        let found = finish(transaction, read.map_err(ServiceError::from)).await?;
        Ok(found.ok_or(ServiceError::NotFound(Resource::Trust))?.end)
    }

    /// Forgets a tail that nobody follows, and says whether it did. Whoever comes later begins another.
    fn leave(&self, trust: TrustId, tail: &Arc<Tail<S::Item>>) -> bool {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = tail.state.receiver_count() == 0;
        if unused {
            tails.remove(&trust);
        }
        unused
    }

    /// Forgets a tail that failed: whoever comes later begins another.
    fn give_up(&self, trust: TrustId) {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.remove(&trust);
    }
}
