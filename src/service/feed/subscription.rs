//! One who follows a feed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::tail::{State, Tail};
use super::{Feed, FeedItem, FeedSource};
use crate::domain::identifiers::TrustId;
use crate::service::ServiceError;
use crate::store::StoreError;
use crate::store::feeds::Place;

/// What a subscription has to tell.
#[derive(Debug)]
pub enum FeedEvent<I> {
    /// Rows that follow each other, at least one.
    Rows(Vec<Arc<I>>),
    /// Nothing for a while.
    Heartbeat {
        /// Everything that was committed before this time stands at or before the subscription's place; nothing where that is
        /// not known.
        complete_before: Option<DateTime<Utc>>,
    },
    /// The service stops.
    Stopped,
}

/// One who follows a feed.
pub struct Subscription<S: FeedSource> {
    feed: Feed<S>,
    trust: TrustId,
    tail: Arc<Tail<S::Item>>,
    state: watch::Receiver<State>,
    stopping: watch::Receiver<bool>,
    place: Place,
    heartbeat: Duration,
    heartbeat_due: Instant,
    _permit: OwnedSemaphorePermit,
}

impl<S: FeedSource> Subscription<S> {
    pub(super) fn new(
        feed: Feed<S>,
        trust: TrustId,
        place: Place,
        heartbeat: Duration,
        permit: OwnedSemaphorePermit,
    ) -> Subscription<S> {
        let (tail, state) = feed.join(trust);
        Subscription {
            stopping: feed.0.stopping.subscribe(),
            feed,
            trust,
            tail,
            state,
            place,
            heartbeat,
            heartbeat_due: Instant::now() + heartbeat,
            _permit: permit,
        }
    }

    /// How far it has come: nothing at or before this place will still be told.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Waits for what comes next. Rows that are not wanted are passed over.
    ///
    /// # Errors
    /// `Store` where the database does not answer.
    pub async fn next(&mut self, wanted: impl Fn(&S::Item) -> bool) -> Result<FeedEvent<S::Item>, ServiceError> {
        loop {
            if *self.stopping.borrow() {
                return Ok(FeedEvent::Stopped);
            }
            let state = self.state.borrow_and_update().clone();
            if let Some(failure) = state.failed {
                return Err(StoreError::Shared(failure).into());
            }
            let behind = state.end.is_some_and(|end| end.position > self.place.position);
            if behind {
                let rows = match self.tail.after(self.place.position) {
                    Some(rows) => rows,
                    None => self.feed.read(self.trust, self.place.position).await?,
                };
                if let Some(last) = rows.last() {
                    self.place = last.place();
                    let wanted: Vec<_> = rows.into_iter().filter(|row| wanted(row)).collect();
                    if !wanted.is_empty() {
                        self.put_off_heartbeat();
                        return Ok(FeedEvent::Rows(wanted));
                    }
                    if Instant::now() >= self.heartbeat_due {
                        return Ok(self.beat(None));
                    }
                    continue;
                }
            }
            tokio::select! {
                changed = self.state.changed() => {
                    if changed.is_err() {
                        // Only the end of the process takes the tail away.
                        return Ok(FeedEvent::Stopped);
                    }
                }
                () = told_to_stop(&mut self.stopping) => return Ok(FeedEvent::Stopped),
                () = tokio::time::sleep_until(self.heartbeat_due) => {
                    let state = self.state.borrow();
                    let complete_before = state.complete_before.filter(|_| state.end == Some(self.place));
                    drop(state);
                    return Ok(self.beat(complete_before));
                }
            }
        }
    }

    fn beat(&mut self, complete_before: Option<DateTime<Utc>>) -> FeedEvent<S::Item> {
        self.put_off_heartbeat();
        FeedEvent::Heartbeat { complete_before }
    }

    fn put_off_heartbeat(&mut self) {
        self.heartbeat_due = Instant::now() + self.heartbeat;
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Fails only where the feed is gone, and then the process ends.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
