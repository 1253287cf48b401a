//! Statutory thresholds: raised once each in the transaction that reaches them, cleared where a correction undoes them.

pub mod notices;
pub mod returns;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::history::record_known_at;
use super::judging::{Moment, timeline_of};
use super::stages::AsOf;
use super::transaction::{existing_pupil, finish};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::identifiers::{PupilKey, SchoolKey, TrustId};
use crate::domain::marked::HeldChange;
use crate::domain::policy::PolicyTimeline;
use crate::domain::record::PupilRecord;
use crate::domain::session::{AcademicYear, Session};
use crate::domain::tally::Tally;
use crate::domain::thresholds::{Threshold, ThresholdKind, ThresholdRules, thresholds};
use crate::store::calendars::DaysChanged;
use crate::store::records::schools_of;
use crate::store::schools::resolve_school;
use crate::store::thresholds::{self as store, Concern, EventChanges, EventFilter, EventRow};
use crate::store::{TrustTransaction, calendars, records, stages};

/// How many pupils' records are in memory at once.
const RECORDS_AT_ONCE: usize = 2_500;

/// From how many authorised absences on illness can have reached its threshold.
const ILLNESS_SESSIONS: i64 = 30;

/// From how many unauthorised absences on there can be ten days of them: of days with one session each.
const UNAUTHORISED_SESSIONS: i64 = 10;

/// What a batch of marks wrote, as far as thresholds are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// The pupils of whom something was written that can bring a threshold about, undo it or move it.
    pub near: Vec<Uuid>,
    /// The others of whom something was written: it can only undo what the same days prove.
    pub others: Vec<Uuid>,
    /// The earliest session that was written; nothing where none was.
    pub from: Option<Session>,
}

/// Raises, moves and clears the events of pupils of whom a batch wrote marks. Those whose counts can have reached nothing are
/// passed over at once. The pupils must be locked, and their registers written.
pub(super) async fn thresholds_of_batch(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    timeline: &PolicyTimeline,
    touched: Touched,
    moment: Moment,
    request_id: Uuid,
) -> Result<(), ServiceError> {
    let Some(from) = touched.from else {
        return Ok(());
    };
    let mut pupils = touched.near;
    if names_triggers(timeline) {
        pupils.extend(touched.others);
    } else if !touched.others.is_empty() {
        // A day may be proved by its morning, and undone by its afternoon.
        let proved = store::pupils_proved_from(conn, trust, from.date).await?;
        let proved: HashSet<Uuid> = proved.into_iter().collect();
        pupils.extend(touched.others.into_iter().filter(|pupil| proved.contains(pupil)));
    }
    let since = Some(AcademicYear::clamped(from.date));
    reevaluate(conn, trust, timeline, &pupils, since, moment, Some(request_id)).await
}

/// Raises, moves and clears the events of pupils of schools whose days a batch changed, where nobody gave the calendar: a
/// school day that is heard of late ends rows of illness and narrows windows of pupils of whom the batch wrote nothing.
pub(super) async fn thresholds_of_schools(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    timeline: &PolicyTimeline,
    changed: &[DaysChanged],
    moment: Moment,
    request_id: Uuid,
) -> Result<(), ServiceError> {
    for days in changed.iter().filter(|days| days.year <= moment.year) {
        let proved = match days.change {
            HeldChange::Within => None,
            HeldChange::WeeksFrom(monday) => Some(store::pupils_proved_from(conn, trust, monday).await?),
        };
        if proved.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        let mut pupils = calendars::pupils_of_schools(conn, trust, &[days.school], days.year).await?;
        if let Some(proved) = proved {
            let proved: HashSet<Uuid> = proved.into_iter().collect();
            pupils.retain(|pupil| proved.contains(pupil));
        }
        // Those of the batch are locked already; where another batch locks them in its own order, one of the two begins anew.
        stages::lock(conn, trust, &pupils).await?;
        reevaluate(
            conn,
            trust,
            timeline,
            &pupils,
            Some(days.year),
            moment,
            Some(request_id),
        )
        .await?;
    }
    Ok(())
}

/// Whether any policy names other triggers.
fn names_triggers(timeline: &PolicyTimeline) -> bool {
    let mut policies = timeline.every_policy().into_iter();
    policies.any(|policy| !policy.policy.triggers.is_empty())
}

/// Works out anew what pupils have reached since an academic year, or ever, and raises and clears events by it: what a mark or
/// anything else decides of one year it decides of all later ones as well. Pupils whose counts can have reached nothing are
/// passed over. The pupils must be locked, and what their records rest upon written.
pub(super) async fn reevaluate(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    timeline: &PolicyTimeline,
    pupils: &[Uuid],
    since: Option<AcademicYear>,
    moment: Moment,
    request_id: Option<Uuid>,
) -> Result<(), ServiceError> {
    if pupils.is_empty() {
        return Ok(());
    }
    let mut pupils = pupils.to_vec();
    pupils.sort_unstable();
    pupils.dedup();
    let since = match since {
        Some(since) => since,
        None => {
            let years = records::years_of(conn, trust, &pupils, moment.year).await?;
            years.first().copied().unwrap_or(moment.year)
        }
    };
    let years: Vec<AcademicYear> = (since.start_year()..=moment.year.start_year())
        .filter_map(|start_year| AcademicYear::from_start_year(i32::from(start_year)))
        .collect();
    let concerned = if names_triggers(timeline) {
        let of_year = |pupil: &Uuid| years.iter().map(|year| (*pupil, *year)).collect::<Vec<_>>();
        pupils.iter().flat_map(of_year).collect()
    } else {
        let penalty = timeline.every_policy();
        let penalty = penalty.iter().map(|policy| i64::from(policy.policy.penalty.sessions));
        let concern = Concern {
            unauthorised: penalty.chain([UNAUTHORISED_SESSIONS]).min().unwrap_or(1),
            authorised: ILLNESS_SESSIONS,
        };
        store::concerned(conn, trust, &pupils, &years, concern).await?
    };
    let mut by_pupil: Vec<(Uuid, Vec<AcademicYear>)> = Vec::new();
    for (pupil, year) in concerned {
        match by_pupil.last_mut() {
            Some((last, years)) if *last == pupil => years.push(year),
            _ => by_pupil.push((pupil, vec![year])),
        }
    }
    let mut changes = EventChanges::default();
    for pupils in by_pupil.chunks(RECORDS_AT_ONCE) {
        changes_of(conn, trust, pupils, since, timeline, moment, &mut changes).await?;
    }
    Ok(store::write(conn, trust, &changes, moment.now, request_id).await?)
}

/// Adds what changes of some pupils' events, each in years of its own, none of which is before `since`.
async fn changes_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[(Uuid, Vec<AcademicYear>)],
    since: AcademicYear,
    timeline: &PolicyTimeline,
    moment: Moment,
    changes: &mut EventChanges,
) -> Result<(), ServiceError> {
    let pupils: Vec<Uuid> = of.iter().map(|(pupil, _)| *pupil).collect();
    let registered = records::years_of(conn, trust, &pupils, moment.year).await?;
    let records = records::records_of(conn, trust, &pupils, &registered).await?;
    let schools = schools_of(records.iter().map(|(_, record)| record));
    let calendars = calendars::calendars_of(conn, trust, &schools).await?;
    let births = store::births(conn, trust, &pupils).await?;
    let notices = store::notices_by_pupil(conn, trust, &pupils, moment.now).await?;
    let mut standing: HashMap<(Uuid, AcademicYear), Vec<EventRow>> = HashMap::new();
    for event in store::standing(conn, trust, &pupils, since).await? {
        standing.entry((event.pupil_id, event.year)).or_default().push(event);
    }
    let records: HashMap<Uuid, PupilRecord<'static>> = records.into_iter().collect();
    // Whoever has no enrolment any more has reached nothing.
    let none = PupilRecord::default();
    for (pupil, years) in of {
        let record = records.get(pupil).unwrap_or(&none);
        for year in years {
            let as_of = moment.today.min(year.last_day());
            let policy = timeline.at(as_of, record.home_school(as_of));
            let rules = ThresholdRules {
                calendars: &calendars,
                penalty: policy.policy.penalty,
                triggers: &policy.policy.triggers,
                born: births.get(pupil).copied(),
                notices: notices.get(pupil).map_or(&[], Vec::as_slice),
            };
            let mut reached = thresholds(record, rules, as_of);
            // Two triggers of one kind may be proved by the same session: one event tells of it.
            reached.dedup_by_key(|threshold| (threshold.kind, threshold.proved_by));
            for event in standing.remove(&(*pupil, *year)).unwrap_or_default() {
                match reached.iter().position(|threshold| *threshold == event.threshold) {
                    Some(place) => drop(reached.swap_remove(place)),
                    None => changes.cleared.push(event.event_id),
                }
            }
            let reached = reached.into_iter().map(|threshold| (*pupil, *year, threshold));
            changes.raised.extend(reached);
        }
    }
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
    /// As it was known at this moment; now where none is given.
    pub known_at: Option<DateTime<Utc>>,
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
            let years = records::years_of(&mut transaction, trust, &[pupil.0], year).await?;
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
        known_at: query.known_at,
        after,
    })
}
