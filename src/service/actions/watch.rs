//! What is recorded on actions, followed as it is committed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::service::feed::{Bounds, FeedEvent, FeedItem, FeedSource, Start, Subscription};
use crate::service::schools::optional_school;
use crate::service::transaction::finish;
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::actions::feed::{self, RecordedEntry};
use crate::store::feeds::{FeedTable, Place};

/// The feed of what is recorded on actions.
pub struct ActionLog;

impl FeedItem for RecordedEntry {
    fn place(&self) -> Place {
        self.place
    }
}

impl FeedSource for ActionLog {
    type Item = RecordedEntry;

    const NAME: &'static str = "actions";

    const TABLE: FeedTable = feed::FEED;

    fn after(
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        position: i64,
        most: i64,
    ) -> impl Future<Output = Result<Vec<RecordedEntry>, StoreError>> + Send {
        feed::after(conn, trust, position, most)
    }
}

/// What a watch has to tell.
#[derive(Debug)]
pub enum ActionEvent {
    /// Entries that were committed.
    Entries(Vec<Arc<RecordedEntry>>),
    /// Nothing for a while.
    Heartbeat {
        /// Everything that was committed before this time was told; nothing where that is not known.
        complete_before: Option<DateTime<Utc>>,
    },
    /// The service stops; nothing comes after it.
    Stopped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was told yet.
    Opening,
    Following,
    /// Everything was told.
    Ended,
}

/// Watches what is recorded on a trust's actions.
pub struct ActionWatch {
    trust: TrustId,
    school: Option<Uuid>,
    subscription: Subscription<ActionLog>,
    phase: Phase,
}

impl Service {
    /// From where to where the feed of actions can be watched.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn action_feed_bounds(&self, trust: TrustId) -> Result<Bounds, ServiceError> {
        self.action_feed.bounds(trust).await
    }

    /// Watches what is recorded on actions, of one school's pupils or all: after a place, or from the oldest entry that is
    /// still served. A heartbeat is told whenever nothing else was for so long.
    ///
    /// # Errors
    /// Those of [`crate::service::feed::Feed::subscribe`], and `NotFound` where there is no such school.
    pub async fn watch_actions(
        &self,
        trust: TrustId,
        school: Option<&SchoolKey>,
        after: Option<Place>,
        heartbeat: Duration,
    ) -> Result<ActionWatch, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let school = async {
            require_trust(&mut transaction, trust).await?;
            optional_school(&mut transaction, trust, school).await
        }
        .await;
        let school = finish(transaction, school).await?.map(|school| school.0);
        let start = after.map_or(Start::Oldest, Start::After);
        Ok(ActionWatch {
            trust,
            school,
            subscription: self.action_feed.subscribe(trust, start, heartbeat).await?,
            phase: Phase::Opening,
        })
    }
}

impl ActionWatch {
    /// The trust.
    pub fn trust(&self) -> TrustId {
        self.trust
    }

    /// How far it has come: from where to resume.
    pub fn place(&self) -> Place {
        self.subscription.place()
    }

    /// Waits for what there is to tell next; nothing after the end.
    ///
    /// # Errors
    /// `Store` where the database does not answer; nothing can be told after it.
    pub async fn next(&mut self) -> Result<Option<ActionEvent>, ServiceError> {
        match self.phase {
            Phase::Ended => return Ok(None),
            Phase::Opening => {
                self.phase = Phase::Following;
                return Ok(Some(ActionEvent::Heartbeat { complete_before: None }));
            }
            Phase::Following => {}
        }
        let school = self.school;
        let wanted = move |found: &RecordedEntry| school.is_none_or(|school| found.school_ids.contains(&school));
        Ok(Some(match self.subscription.next(wanted).await? {
            FeedEvent::Rows(rows) => ActionEvent::Entries(rows),
            FeedEvent::Heartbeat { complete_before } => ActionEvent::Heartbeat { complete_before },
            FeedEvent::Stopped => {
                self.phase = Phase::Ended;
                ActionEvent::Stopped
            }
        }))
    }
}
