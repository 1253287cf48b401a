//! The tail of a trust's feed: reads what is new once for all who follow, and keeps the newest rows in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::{FeedItem, FeedSource, Inner, PAGE_ROWS_MAX};
use crate::domain::identifiers::TrustId;
use crate::service::ServiceError;
use crate::store::StoreError;
use crate::store::feeds::Place;

/// How often what other processes wrote is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For how long the database may fail to answer before those who follow are told.
const FAILING_MAX: Duration = Duration::from_secs(10);

/// How many rows are kept in memory for those who are a little behind: of transitions some two megabytes.
const ROWS_KEPT_MAX: usize = 8_192;

/// How far a tail has come.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The last row that was read; nothing before the end of the feed was found out.
    pub end: Option<Place>,
    /// Everything that was committed before this time stands at or before `end`.
    pub complete_before: Option<DateTime<Utc>>,
    /// Why it ended.
    pub failed: Option<Arc<StoreError>>,
}

/// The newest rows of a trust's feed.
pub struct Tail<I> {
    pub state: watch::Sender<State>,
    kept: Mutex<Kept<I>>,
}

struct Kept<I> {
    /// The position before the first row that is kept.
    after: i64,
    rows: VecDeque<Arc<I>>,
}

impl<I> Default for Tail<I> {
    fn default() -> Tail<I> {
        Tail {
            state: watch::Sender::default(),
            kept: Mutex::new(Kept {
                after: i64::MAX,
                rows: VecDeque::new(),
            }),
        }
    }
}

impl<I: FeedItem> Tail<I> {
    /// Rows after a position, from memory; nothing where some of them are not kept.
    pub fn after(&self, position: i64) -> Option<Vec<Arc<I>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if position < kept.after {
            return None;
        }
        let first = kept.rows.partition_point(|row| row.place().position <= position);
        let rows: Vec<Arc<I>> = kept.rows.iter().skip(first).take(PAGE_ROWS_MAX).cloned().collect();
        (!rows.is_empty()).then_some(rows)
    }

    fn begin(&self, end: Place) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.after = end.position;
        kept.rows.clear();
    }

    fn keep(&self, rows: Vec<I>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.rows.extend(rows.into_iter().map(Arc::new));
        while kept.rows.len() > ROWS_KEPT_MAX {
            if let Some(gone) = kept.rows.pop_front() {
                kept.after = gone.place().position;
            }
        }
    }
}

/// Keeps a tail up to date until nobody follows it, the service stops, or the database does not answer for too long.
pub async fn keep_up<S: FeedSource>(inner: Arc<Inner<S>>, trust: TrustId, tail: Arc<Tail<S::Item>>) {
    let mut announced = inner.store.announcements().subscribe(trust);
    let mut stopping = inner.stopping.subscribe();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing_since = None;
    loop {
        tokio::select! {
            _ = look.tick() => {}
            Ok(()) = announced.changed() => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if inner.leave(trust, &tail) {
            return;
        }
        match read_new(&inner, trust, &tail).await {
            Ok(()) => failing_since = None,
            Err(error) => {
                tracing::warn!(error = %error, "a feed could not be read: it is tried again soon");
                let since = *failing_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= FAILING_MAX {
                    inner.give_up(trust);
                    let error = Arc::new(match error {
                        ServiceError::Store(error) => error,
                        _ => StoreError::Corrupt("feeds"),
                    });
                    tail.state.send_modify(|state| state.failed = Some(error));
                    return;
                }
            }
        }
    }
}

/// Reads all that is new.
async fn read_new<S: FeedSource>(inner: &Inner<S>, trust: TrustId, tail: &Tail<S::Item>) -> Result<(), ServiceError> {
    loop {
        let read_at = inner.clock.now();
        let known = tail.state.borrow().end;
        let Some(end) = known else {
            let end = inner.end(trust).await?;
            tail.begin(end);
            tail.state.send_modify(|state| {
                state.end = Some(end);
                state.complete_before = Some(read_at);
            });
            return Ok(());
        };
        let rows = inner.rows_after(trust, end.position).await?;
        let all = rows.len() < PAGE_ROWS_MAX;
        let last = rows.last().map(FeedItem::place);
        tail.keep(rows);
        tail.state.send_if_modified(|state| {
            state.end = last.or(state.end);
            state.complete_before = all.then_some(read_at);
            // Whoever has nothing to read is not woken.
            last.is_some()
        });
        if all {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Row(i64);

    impl FeedItem for Row {
        fn place(&self) -> Place {
            Place {
                position: self.0,
                recorded_at: DateTime::UNIX_EPOCH,
            }
        }
    }

    fn positions(rows: Option<Vec<Arc<Row>>>) -> Option<(i64, i64, usize)> {
        let rows = rows?;
        Some((rows.first()?.0, rows.last()?.0, rows.len()))
    }

    #[test]
    fn the_newest_rows_are_kept_and_whoever_is_further_behind_is_told() {
        let tail = Tail::default();
        assert_eq!(positions(tail.after(0)), None, "before the end of the feed is known");
        tail.begin(Row(100).place());
        assert_eq!(positions(tail.after(100)), None);
        tail.keep((101..=700).map(Row).collect());
        assert_eq!(positions(tail.after(99)), None);
        assert_eq!(positions(tail.after(100)), Some((101, 600, PAGE_ROWS_MAX)));
        assert_eq!(positions(tail.after(650)), Some((651, 700, 50)));
        assert_eq!(positions(tail.after(700)), None);
        tail.keep((701..=10_000).map(Row).collect());
        let after = 10_000 - ROWS_KEPT_MAX as i64;
        assert_eq!(positions(tail.after(after - 1)), None);
        assert_eq!(
            positions(tail.after(after)),
            Some((after + 1, after + 500, PAGE_ROWS_MAX))
        );
    }
}
