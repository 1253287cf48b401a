//! Statutory thresholds: raised once each in the transaction that reaches them, cleared where a correction undoes them.

pub mod notices;
pub mod returns;

use std::collections::HashMap;

use chrono::NaiveDate;
use uuid::Uuid;

use super::error::Resource;
use super::history::record_known_at;
use super::judging::{Moment, timeline_of};
use super::stages::AsOf;
use super::transaction::{existing_pupil, finish};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::identifiers::{PupilKey, SchoolKey, TrustId};
use crate::domain::policy::PolicyTimeline;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::domain::thresholds::{Threshold, ThresholdKind, ThresholdRules, thresholds};
use crate::store::records::schools_of;
use crate::store::schools::resolve_school;
use crate::store::thresholds::{self as store, Concern, EventChanges, EventFilter, EventRow};
use crate::store::{TrustTransaction, calendars, records};

/// How many pupils' records are in memory at once.
const RECORDS_AT_ONCE: usize = 2_500;

/// From how many authorised absences on illness can have reached its threshold.
const ILLNESS_SESSIONS: i64 = 30;

/// Works out anew what pupils have reached in the current academic year, and raises and clears events by it. Pupils whose
/// counts can have reached nothing are passed over at once, but those of `ahead`, whose marks to come count as well. The
/// pupils must be locked, and what their records rest upon written.
pub(super) async fn reevaluate(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    timeline: &PolicyTimeline,
    pupils: &[Uuid],
    ahead: &[Uuid],
    moment: Moment,
    request_id: Option<Uuid>,
) -> Result<(), ServiceError> {
    if pupils.is_empty() {
        return Ok(());
    }
    let in_force = timeline.every_policy();
    let triggers = in_force.iter().any(|policy| !policy.policy.triggers.is_empty());
    let penalty = in_force
        .iter()
        .map(|policy| i64::from(policy.policy.penalty.sessions))
        .min();
    let concern = Concern {
        year: moment.year,
        unauthorised: penalty.unwrap_or(1),
        authorised: ILLNESS_SESSIONS,
    };
    let mut concerned = if triggers {
        pupils.to_vec()
    } else {
        let mut concerned = store::concerned(transaction, trust, pupils, concern).await?;
        concerned.extend_from_slice(ahead);
        concerned
    };
    concerned.sort_unstable();
    concerned.dedup();
    let mut changes = EventChanges::default();
    for pupils in concerned.chunks(RECORDS_AT_ONCE) {
        changes_of(transaction, trust, pupils, timeline, moment, &mut changes).await?;
    }
    Ok(store::write(transaction, trust, moment.year, &changes, moment.now, request_id).await?)
}

/// The years whose registers decide about a year.
fn years_that_matter(year: AcademicYear) -> Vec<AcademicYear> {
    let before = AcademicYear::from_start_year(i32::from(year.start_year()) - 1);
    before.into_iter().chain([year]).collect()
}

async fn changes_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupils: &[Uuid],
    timeline: &PolicyTimeline,
    moment: Moment,
    changes: &mut EventChanges,
) -> Result<(), ServiceError> {
    let records = records::records_of(transaction, trust, pupils, &years_that_matter(moment.year)).await?;
    let calendars = calendars::calendars_of(
        transaction,
        trust,
        &schools_of(records.iter().map(|(_, record)| record)),
    )
    .await?;
    let births = store::births(transaction, trust, pupils).await?;
    let notices = store::notices_by_pupil(transaction, trust, pupils, moment.now).await?;
    let mut standing: HashMap<Uuid, Vec<EventRow>> = HashMap::new();
    for event in store::standing(transaction, trust, pupils, moment.year).await? {
        standing.entry(event.pupil_id).or_default().push(event);
    }
    for (pupil, record) in records {
        let policy = timeline.at(moment.today, record.home_school(moment.today));
        let rules = ThresholdRules {
            calendars: &calendars,
            penalty: policy.policy.penalty,
            triggers: &policy.policy.triggers,
            born: births.get(&pupil).copied(),
            notices: notices.get(&pupil).map_or(&[], Vec::as_slice),
        };
        let mut reached = thresholds(&record, rules, moment.today);
        // Two triggers of one kind may be proved by the same session: one event tells of it.
        reached.dedup_by_key(|threshold| (threshold.kind, threshold.proved_by));
        for event in standing.remove(&pupil).unwrap_or_default() {
            match reached.iter().position(|threshold| *threshold == event.threshold) {
                Some(place) => drop(reached.swap_remove(place)),
                None => changes.cleared.push(event.event_id),
            }
        }
        changes
            .raised
            .extend(reached.into_iter().map(|threshold| (pupil, threshold)));
    }
    // Whoever has no enrolment any more has reached nothing.
    let gone = standing.into_values().flatten().map(|event| event.event_id);
    changes.cleared.extend(gone);
    Ok(())
}

/// What a pupil has reached in an academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilThresholds {
    /// The day.
    pub as_of: NaiveDate,
    /// Its academic year.
    pub year: AcademicYear,
    /// What was reached, by kind and in order.
    pub thresholds: Vec<Threshold>,
    /// The counts of the year to date, from which persistent and severe absence follow: a state of the day.
    pub tally: Tally,
}

/// Which events are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only those of pupils who were on roll at this school on the day of the session that proves it.
    pub school: Option<SchoolKey>,
    /// Only these kinds; none for all.
    pub kinds: Vec<ThresholdKind>,
    /// Only those proved on or after this day.
    pub from: Option<NaiveDate>,
    /// Only those proved on or before this day.
    pub to: Option<NaiveDate>,
    /// Those that were cleared as well.
    pub include_cleared: bool,
}

impl Service {
    /// What a pupil had reached by a day, as known at a moment: worked out from the marks known then.
    ///
    /// # Errors
    /// `Invalid` for a day or a moment to come, `NotFound` where the trust has no such pupil.
    pub async fn pupil_thresholds(
        &self,
        trust: TrustId,
        key: &PupilKey,
        asked: AsOf,
    ) -> Result<PupilThresholds, ServiceError> {
        let moment = self.moment();
        let as_of = asked.day(moment)?;
        let year = AcademicYear::clamped(as_of);
        let known_at = asked.known_at.unwrap_or(moment.now);
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let pupil = existing_pupil(&mut transaction, trust, key).await?;
            let years = years_that_matter(year);
            let record = record_known_at(&mut transaction, trust, pupil.0, &years, asked.known_at).await?;
            let timeline = timeline_of(&mut transaction, trust).await?.known_at(known_at);
            let schools = schools_of([&record]);
            let calendars = calendars::calendars_of(&mut transaction, trust, &schools).await?;
            let births = store::births(&mut transaction, trust, &[pupil.0]).await?;
            let notices = store::notices_by_pupil(&mut transaction, trust, &[pupil.0], known_at).await?;
            let policy = timeline.at(as_of, record.home_school(as_of));
            let rules = ThresholdRules {
                calendars: &calendars,
                penalty: policy.policy.penalty,
                triggers: &policy.policy.triggers,
                born: births.get(&pupil.0).copied(),
                notices: notices.get(&pupil.0).map_or(&[], Vec::as_slice),
            };
            Ok(PupilThresholds {
                as_of,
                year,
                thresholds: thresholds(&record, rules, as_of),
                tally: record.tally_to(year, as_of),
            })
        }
        .await;
        finish(transaction, read).await
    }

    /// Events by the session that proves them.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn list_threshold_events(
        &self,
        trust: TrustId,
        query: &EventQuery,
        page: Page<(i32, Uuid)>,
    ) -> Result<PageOf<EventRow, (i32, Uuid)>, ServiceError> {
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            let filter = filter_of(&mut transaction, trust, query, page.after).await?;
            Ok(store::list(&mut transaction, trust, &filter, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |event| {
            (store::session_number(event.threshold.proved_by), event.event_id)
        }))
    }
}

async fn filter_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    query: &EventQuery,
    after: Option<(i32, Uuid)>,
) -> Result<EventFilter, ServiceError> {
    require_trust(transaction, trust).await?;
    let school = match &query.school {
        None => None,
        Some(key) => {
            let school = resolve_school(transaction, trust, key).await?;
            Some(school.ok_or(ServiceError::NotFound(Resource::School))?.0)
        }
    };
    Ok(EventFilter {
        school,
        kinds: query.kinds.clone(),
        from: query.from,
        to: query.to,
        include_cleared: query.include_cleared,
        after,
    })
}
