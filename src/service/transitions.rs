//! Transitions: listed, and followed as they are committed.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::feed::{Bounds, Feed, FeedEvent, FeedItem, FeedSource, PAGE_ROWS_MAX, Start, Subscription};
use super::schools::optional_school;
use super::transaction::{existing_pupil, finish};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::identifiers::{PupilKey, SchoolKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::store::feeds::{FeedTable, Place};
use crate::store::stages::{StageFilter, list_pupils};
use crate::store::transitions::{self, RecordedTransition, StageAtPlace, TransitionFilter};
use crate::store::{Store, StoreError};

/// The feed of transitions.
pub struct Transitions;

impl FeedItem for RecordedTransition {
    fn place(&self) -> Place {
        self.place
    }
}

impl FeedSource for Transitions {
    type Item = RecordedTransition;

    const NAME: &'static str = "transitions";

    const TABLE: FeedTable = transitions::FEED;

    fn after(
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        position: i64,
        most: i64,
    ) -> impl Future<Output = Result<Vec<RecordedTransition>, StoreError>> + Send {
        transitions::after(conn, trust, position, most)
    }
}

/// Which transitions are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransitionQuery {
    /// Only this pupil's.
    pub pupil: Option<PupilKey>,
    /// Only those of pupils at this school.
    pub school: Option<SchoolKey>,
    /// Only those that took effect on or after this day.
    pub effective_from: Option<NaiveDate>,
    /// Only those that took effect on or before this day.
    pub effective_to: Option<NaiveDate>,
    /// Only those recorded at or after this time.
    pub recorded_from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub recorded_before: Option<DateTime<Utc>>,
    /// Only those of this academic year.
    pub year: Option<AcademicYear>,
}

/// From where transitions are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// From the stage of every pupil.
    Snapshot,
    /// From the oldest transition that is still served.
    Beginning,
    /// After a place.
    After(Place),
}

/// What a watch has to tell.
#[derive(Debug)]
pub enum WatchEvent {
    /// Stages of the snapshot.
    Stages(Vec<StageAtPlace>),
    /// The snapshot is complete.
    SnapshotComplete {
        /// How many stages it has.
        pupils: u64,
    },
    /// Transitions that were committed.
    Transitions(Vec<Arc<RecordedTransition>>),
    /// Nothing for a while.
    Heartbeat {
        /// Everything that was committed before this time was told; nothing where that is not known.
        complete_before: Option<DateTime<Utc>>,
    },
    /// The service stops; nothing comes after it.
    Stopped,
}

enum Phase {
    /// Nothing was told yet.
    Opening,
    /// The stages of the pupils after this one are still to be told.
    Snapshot {
        after: Uuid,
        pupils: u64,
        today: NaiveDate,
    },
    Following,
    /// Everything was told; whether there is a place to resume from.
    Ended {
        resumable: bool,
    },
}

/// Watches a trust's transitions.
pub struct TransitionWatch {
    store: Store,
    feed: Feed<Transitions>,
    trust: TrustId,
    school: Option<Uuid>,
    subscription: Subscription<Transitions>,
    phase: Phase,
}

impl Service {
    /// Transitions, latest first.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust, pupil or school.
    pub async fn list_transitions(
        &self,
        trust: TrustId,
        query: &TransitionQuery,
        page: Page<i64>,
    ) -> Result<PageOf<RecordedTransition, i64>, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let pupil = match &query.pupil {
                None => None,
                Some(key) => Some(existing_pupil(&mut transaction, trust, key).await?.0),
            };
            let school = optional_school(&mut transaction, trust, query.school.as_ref()).await?;
            let filter = TransitionFilter {
                pupil,
                school: school.map(|school| school.0),
                effective_from: query.effective_from,
                effective_to: query.effective_to,
                recorded_from: query.recorded_from,
                recorded_before: query.recorded_before,
                academic_year: query.year.map(AcademicYear::start_year),
                before: page.after,
            };
            Ok(transitions::list(&mut transaction, trust, &filter, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, |row| row.place.position))
    }

    /// From where to where the trust's transitions can be watched.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn transition_feed(&self, trust: TrustId) -> Result<Bounds, ServiceError> {
        self.roll_over(trust).await?;
        self.feed.bounds(trust).await
    }

    /// Watches the trust's transitions, of one school's pupils or all. A heartbeat is told whenever nothing else was for so
    /// long.
    ///
    /// # Errors
    /// Those of [`Feed::subscribe`], and `NotFound` where there is no such school.
    pub async fn watch_transitions(
        &self,
        trust: TrustId,
        school: Option<&SchoolKey>,
        start: WatchStart,
        heartbeat: Duration,
    ) -> Result<TransitionWatch, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let school = async {
            require_trust(&mut transaction, trust).await?;
            optional_school(&mut transaction, trust, school).await
        }
        .await;
        let school = finish(transaction, school).await?.map(|school| school.0);
        let (start, phase) = match start {
            WatchStart::Snapshot => (
                Start::End,
                Phase::Snapshot {
                    after: Uuid::nil(),
                    pupils: 0,
                    today: self.moment().today,
                },
            ),
            WatchStart::Beginning => (Start::Oldest, Phase::Opening),
            WatchStart::After(place) => (Start::After(place), Phase::Opening),
        };
        Ok(TransitionWatch {
            store: self.store.clone(),
            feed: self.feed.clone(),
            trust,
            school,
            subscription: self.feed.subscribe(trust, start, heartbeat).await?,
            phase,
        })
    }
}

impl TransitionWatch {
    /// The trust.
    pub fn trust(&self) -> TrustId {
        self.trust
    }

    /// How far it has come: from where to resume. Nothing as long as a snapshot is not complete.
    pub fn place(&self) -> Option<Place> {
        match self.phase {
            Phase::Snapshot { .. } | Phase::Ended { resumable: false } => None,
            _ => Some(self.subscription.place()),
        }
    }

    /// Waits for what there is to tell next; nothing after the end.
    ///
    /// # Errors
    /// `Store` where the database does not answer; nothing can be told after it.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, ServiceError> {
        match self.phase {
            Phase::Ended { .. } => Ok(None),
            Phase::Opening => {
                self.phase = Phase::Following;
                Ok(Some(WatchEvent::Heartbeat { complete_before: None }))
            }
            Phase::Snapshot { after, pupils, today } => {
                if self.feed.is_stopping() {
                    self.phase = Phase::Ended { resumable: false };
                    return Ok(Some(WatchEvent::Stopped));
                }
                let stages = self.stages_after(after, today).await?;
                let Some(last) = stages.last() else {
                    self.phase = Phase::Following;
                    return Ok(Some(WatchEvent::SnapshotComplete { pupils }));
                };
                self.phase = Phase::Snapshot {
                    after: last.pupil_id,
                    pupils: pupils + stages.len() as u64,
                    today,
                };
                Ok(Some(WatchEvent::Stages(stages)))
            }
            Phase::Following => {
                let school = self.school;
                let wanted = move |found: &RecordedTransition| match school {
                    None => true,
                    Some(school) => found.school_ids.contains(&school),
                };
                Ok(Some(match self.subscription.next(wanted).await? {
                    FeedEvent::Rows(rows) => WatchEvent::Transitions(rows),
                    FeedEvent::Heartbeat { complete_before } => WatchEvent::Heartbeat { complete_before },
                    FeedEvent::Stopped => {
                        self.phase = Phase::Ended { resumable: true };
                        WatchEvent::Stopped
                    }
                }))
            }
        }
    }

    /// A page of the snapshot, in a transaction of its own: a reader that is slow holds none open.
    async fn stages_after(&self, after: Uuid, today: NaiveDate) -> Result<Vec<StageAtPlace>, ServiceError> {
        let _turn = self.feed.turn().await;
        let mut transaction = self.store.begin(self.trust).await?;
        let read = async {
            let filter = StageFilter {
                school: self.school,
                today,
                after: Some(after),
                ..StageFilter::default()
            };
            let most = i64::try_from(PAGE_ROWS_MAX).unwrap_or(i64::MAX);
            let pupils = list_pupils(&mut transaction, self.trust, &filter, most).await?;
            let position = self.subscription.place().position;
            Ok(transitions::stages_at(&mut transaction, self.trust, position, today, &pupils).await?)
        }
        .await;
        finish(transaction, read).await
    }
}
