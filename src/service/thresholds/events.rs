//! Events: raised, moved and cleared by what pupils' records come to.

use std::collections::{HashMap, HashSet};

use chrono::NaiveDate;
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{RECORDS_AT_ONCE, years_from};
use crate::domain::calendar::Calendars;
use crate::domain::identifiers::TrustId;
use crate::domain::marked::HeldChange;
use crate::domain::policy::PolicyTimeline;
use crate::domain::record::PupilRecord;
use crate::domain::session::{AcademicYear, Session, SessionHalf};
use crate::domain::thresholds::{Bounds, ThresholdRules, thresholds};
use crate::service::ServiceError;
use crate::service::judging::Moment;
use crate::store::calendars::DaysChanged;
use crate::store::records::schools_of;
use crate::store::thresholds::{self as store, EventChanges, EventRow};
use crate::store::{calendars, notices, records, stages};

/// A pupil whose events may change.
pub(super) struct Candidate<'r> {
    /// The pupil.
    pub pupil: Uuid,
    /// The years in which.
    pub years: Vec<AcademicYear>,
    /// Whether any event may stand in them.
    pub may_stand: bool,
    /// All marks of these years, and those of the years before with unauthorised absence.
    pub record: PupilRecord<'r>,
}

/// Works out anew what pupils have reached since an academic year, or ever, and raises and clears events by it: what
/// anything decides of one year it decides of all later ones as well. Pupils whose counts can have reached nothing are
/// passed over. The pupils must be locked, and what their records rest upon written.
pub(in crate::service) async fn reevaluate(
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
    let years: Vec<AcademicYear> = years_from(since, moment.year).collect();
    let bounds = Bounds::of(timeline);
    let concerned = if bounds.triggers() {
        let of_each = pupils
            .iter()
            .flat_map(|pupil| years.iter().map(move |year| (*pupil, *year)));
        of_each.collect()
    } else {
        store::concerned(conn, trust, &pupils, &years, &bounds).await?
    };
    let mut by_pupil: Vec<(Uuid, Vec<AcademicYear>)> = Vec::new();
    for (pupil, year) in concerned {
        match by_pupil.last_mut() {
            Some((last, years)) if *last == pupil => years.push(year),
            _ => by_pupil.push((pupil, vec![year])),
        }
    }
    let mut changes = EventChanges::default();
    for of in by_pupil.chunks(RECORDS_AT_ONCE) {
        let pupils: Vec<Uuid> = of.iter().map(|(pupil, _)| *pupil).collect();
        let registered = records::years_of(conn, trust, &pupils, moment.year).await?;
        let found = records::records_of(conn, trust, &pupils, &registered).await?;
        let calendars =
            calendars::calendars_of(conn, trust, &schools_of(found.iter().map(|(_, record)| record))).await?;
        let mut found: HashMap<Uuid, PupilRecord<'static>> = found.into_iter().collect();
        let candidates = of.iter().map(|(pupil, years)| Candidate {
            pupil: *pupil,
            years: years.clone(),
            may_stand: true,
            // Whoever has no enrolment any more has reached nothing.
            record: found.remove(pupil).unwrap_or_default(),
        });
        let candidates: Vec<Candidate<'_>> = candidates.collect();
        changes_of(conn, trust, &candidates, timeline, &calendars, moment, &mut changes).await?;
    }
    Ok(store::write(conn, trust, &changes, moment.now, request_id).await?)
}

/// Raises, moves and clears the events of pupils of schools whose days a batch changed, where nobody gave the calendar: a
/// school day that is heard of late ends rows of illness and narrows windows of pupils of whom the batch wrote nothing. `judged`
/// are those of whom it did, each with the first day from which it was judged with these days.
pub(in crate::service) async fn of_schools(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    timeline: &PolicyTimeline,
    changed: &[DaysChanged],
    judged: &HashMap<Uuid, NaiveDate>,
    moment: Moment,
    request_id: Uuid,
) -> Result<(), ServiceError> {
    let changed = || changed.iter().filter(|days| days.year <= moment.year);
    let mondays = changed().filter_map(|days| match days.change {
        HeldChange::Within => None,
        HeldChange::WeeksFrom(monday) => Some(monday),
    });
    let proved = match mondays.min() {
        None => HashMap::new(),
        Some(date) => {
            let half = SessionHalf::Am;
            store::pupils_proved_from(conn, trust, Session { date, half }).await?
        }
    };
    for days in changed() {
        // Who can have an event that the days move; nothing for everybody.
        let concerned: Option<HashSet<Uuid>> = match days.change {
            HeldChange::Within => None,
            HeldChange::WeeksFrom(monday) => {
                let left = |pupil: &Uuid| judged.get(pupil).is_none_or(|from| *from > monday);
                let moved = proved.iter().filter(|(pupil, at)| at.date >= monday && left(pupil));
                Some(moved.map(|(pupil, _)| *pupil).collect())
            }
        };
        if concerned.as_ref().is_some_and(HashSet::is_empty) {
            continue;
        }
        let mut pupils = calendars::pupils_of_schools(conn, trust, &[days.school], days.year).await?;
        if let Some(concerned) = concerned {
            pupils.retain(|pupil| concerned.contains(pupil));
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

/// Adds what changes of the candidates' events in their years.
pub(super) async fn changes_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    candidates: &[Candidate<'_>],
    timeline: &PolicyTimeline,
    calendars: &Calendars,
    moment: Moment,
    changes: &mut EventChanges,
) -> Result<(), ServiceError> {
    let Some(since) = candidates.iter().flat_map(|candidate| &candidate.years).min() else {
        return Ok(());
    };
    let pupils: Vec<Uuid> = candidates.iter().map(|candidate| candidate.pupil).collect();
    let births = store::births(conn, trust, &pupils).await?;
    let notices = notices::by_pupil(conn, trust, &pupils, moment.now).await?;
    let mut standing: HashMap<(Uuid, AcademicYear), Vec<EventRow>> = HashMap::new();
    let may_stand = candidates.iter().filter(|candidate| candidate.may_stand);
    let may_stand: Vec<Uuid> = may_stand.map(|candidate| candidate.pupil).collect();
    for event in store::standing(conn, trust, &may_stand, *since).await? {
        standing.entry((event.pupil_id, event.year)).or_default().push(event);
    }
    for Candidate {
        pupil, years, record, ..
    } in candidates
    {
        for year in years {
            let as_of = moment.today.min(year.last_day());
            let policy = timeline.at(as_of, record.home_school(as_of));
            let rules = ThresholdRules {
                calendars,
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
