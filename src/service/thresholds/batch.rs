//! Thresholds of a batch of marks. What the batch holds in memory is not read again: most pupils are dismissed by their
//! counts without a statement, most of the others by their marks.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::events::{Candidate, changes_of};
use super::{RECORDS_AT_ONCE, years_from};
use crate::domain::calendar::{Calendars, monday_of};
use crate::domain::identifiers::TrustId;
use crate::domain::policy::PolicyTimeline;
use crate::domain::record::PupilRecord;
use crate::domain::session::{AcademicYear, Session, SessionHalf};
use crate::domain::tally::Tally;
use crate::domain::thresholds::Bounds;
use crate::service::ServiceError;
use crate::service::judging::Moment;
use crate::store::records::schools_of;
use crate::store::thresholds::{self as store, EventChanges};
use crate::store::{calendars, records};

/// What a pupil's counts leave open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) enum Reach {
    /// Nothing can have been reached.
    Nothing,
    /// Something, by what the years that were loaded hold.
    InMemory,
    /// Something, but only together with years that were not loaded.
    WithOtherYears,
}

/// A pupil of whom a batch wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::service) struct TouchedPupil {
    /// The pupil's place in the batch.
    pub place: usize,
    /// The pupil.
    pub pupil: Uuid,
    /// The earliest session that was written.
    pub from: Session,
    /// What may have been reached by it.
    pub reach: Reach,
    /// Whether the counts before the batch leave it open that an event stands that it undid.
    pub may_stand: bool,
}

impl TouchedPupil {
    fn since(&self) -> AcademicYear {
        AcademicYear::clamped(self.from.date)
    }

    /// What was written can undo or move only what is proved from here on: weeks are counted from their Mondays.
    fn undoes_from(&self) -> Session {
        Session {
            date: monday_of(self.from.date),
            half: SessionHalf::Am,
        }
    }

    /// Whether an event that stands, as the latest session that proves one says by pupil, may be undone.
    fn undoes_one_of(&self, proved: &HashMap<Uuid, Session>) -> bool {
        proved.get(&self.pupil).is_some_and(|at| *at >= self.undoes_from())
    }
}

/// The marks of a batch, as far as thresholds are concerned.
pub(in crate::service) struct MarksOfBatch<'b, R> {
    /// The pupils of whom something was written that can bring a threshold about or undo one.
    pub touched: Vec<TouchedPupil>,
    /// The years whose registers were loaded.
    pub loaded: &'b BTreeSet<AcademicYear>,
    /// Whether all marks of these are in memory.
    pub in_memory: bool,
    /// The enrolments of the pupil at a place, with the registers of which all marks are in memory.
    pub record: R,
}

/// What a batch is judged by.
struct Ground<'g> {
    timeline: &'g PolicyTimeline,
    bounds: &'g Bounds,
    calendars: Calendars,
    /// The years up to the current one whose registers are in memory, or are read for who needs them.
    loaded: Vec<AcademicYear>,
    /// The other years up to the current one of which the schools know anything.
    others: Vec<AcademicYear>,
    /// The latest session that proves an event that stands, of those that the batch can have undone, by pupil.
    proved: HashMap<Uuid, Session>,
    moment: Moment,
}

/// Raises, moves and clears the events of the pupils of whom a batch wrote marks. The pupils must be locked, and their
/// registers written.
pub(in crate::service) async fn raise<'l, R>(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    timeline: &PolicyTimeline,
    bounds: &Bounds,
    batch: MarksOfBatch<'_, R>,
    moment: Moment,
    request_id: Uuid,
) -> Result<(), ServiceError>
where
    R: Fn(usize) -> PupilRecord<'l> + Send,
{
    let undoing = batch.touched.iter().filter(|touched| touched.may_stand);
    let undone_from = undoing.map(TouchedPupil::undoes_from).min();
    let proved = match undone_from {
        Some(from) => store::pupils_proved_from(conn, trust, from).await?,
        None => HashMap::new(),
    };
    let mut candidates = batch.touched;
    candidates.retain(|touched| touched.reach != Reach::Nothing || touched.undoes_one_of(&proved));
    if candidates.is_empty() {
        return Ok(());
    }
    let records: Vec<_> = candidates.iter().map(|touched| (batch.record)(touched.place)).collect();
    let schools = schools_of(&records);
    let calendars = calendars::calendars_of(conn, trust, &schools).await?;
    let until_now = |year: &AcademicYear| *year <= moment.year;
    let others = calendars.years().into_iter().filter(until_now);
    let ground = Ground {
        timeline,
        bounds,
        others: others.filter(|year| !batch.loaded.contains(year)).collect(),
        loaded: batch.loaded.iter().copied().filter(until_now).collect(),
        calendars,
        proved,
        moment,
    };
    let mut changes = EventChanges::default();
    let mut left = candidates.into_iter().zip(records).peekable();
    while left.peek().is_some() {
        let mut records: Vec<_> = left.by_ref().take(RECORDS_AT_ONCE).collect();
        if !batch.in_memory {
            add_marks(conn, trust, &mut records, &ground.loaded, None).await?;
        }
        raise_some(conn, trust, &ground, records, &mut changes).await?;
    }
    Ok(store::write(conn, trust, &changes, moment.now, Some(request_id)).await?)
}

impl Ground<'_> {
    /// Whether a record leaves it open that something was reached in a year in which something was written, or later.
    fn admits(&self, touched: &TouchedPupil, record: &PupilRecord<'_>) -> bool {
        let mut years = years_from(touched.since(), self.moment.year);
        years.any(|year| {
            let as_of = self.moment.today.min(year.last_day());
            self.bounds.admit_record(record, &self.calendars, as_of)
        })
    }

    /// Whether it does so together with years that were not loaded: where a window may reach into one of them.
    fn may_join_others(&self, touched: &TouchedPupil, record: &PupilRecord<'_>) -> bool {
        if touched.reach == Reach::Nothing || unauthorised_of(record) == 0 {
            return false;
        }
        let since = touched.since();
        let loaded = self.loaded.iter().rev().filter(|year| **year <= since);
        let first = loaded.fold(since, |first, year| {
            if year.start_year() + 1 == first.start_year() {
                *year
            } else {
                first
            }
        });
        let reaches = || {
            self.bounds
                .reaches_before(first, record, &self.calendars, touched.from.date)
        };
        self.others.iter().any(|year| *year > since) || (self.others.iter().any(|year| *year < first) && reaches())
    }
}

/// Adds what changes of some pupils' events. The records hold all marks of the years that were loaded.
async fn raise_some(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    ground: &Ground<'_>,
    records: Vec<(TouchedPupil, PupilRecord<'_>)>,
    changes: &mut EventChanges,
) -> Result<(), ServiceError> {
    let mut alone = Vec::new();
    let mut with_others = Vec::new();
    let mut asked = Vec::new();
    for (touched, record) in records {
        let bears = unauthorised_of(&record) > 0 || ground.others.iter().any(|year| *year > touched.since());
        if touched.undoes_one_of(&ground.proved) || ground.admits(&touched, &record) {
            let joined = !ground.others.is_empty() && bears;
            if joined { &mut with_others } else { &mut alone }.push((touched, record));
        } else if !ground.others.is_empty() && ground.may_join_others(&touched, &record) {
            asked.push((touched, record));
        }
    }
    let wanted: Vec<(Uuid, i64)> = asked
        .iter()
        .map(|(touched, record)| {
            let missing = ground.bounds.unauthorised().saturating_sub(unauthorised_of(record));
            (touched.pupil, i64::try_from(missing).unwrap_or(i64::MAX))
        })
        .collect();
    let enough = records::pupils_unauthorised_in(conn, trust, &wanted, &ground.others).await?;
    with_others.extend(asked.into_iter().filter(|(touched, _)| enough.contains(&touched.pupil)));
    let since = with_others.iter().map(|(touched, _)| touched.since()).min();
    add_marks(conn, trust, &mut with_others, &ground.others, since).await?;
    with_others.retain(|(touched, record)| touched.undoes_one_of(&ground.proved) || ground.admits(touched, record));
    let candidates = alone.into_iter().chain(with_others).map(|(touched, record)| Candidate {
        pupil: touched.pupil,
        years: years_from(touched.since(), ground.moment.year).collect(),
        may_stand: touched.may_stand || ground.others.iter().any(|year| *year > touched.since()),
        record,
    });
    let candidates: Vec<Candidate<'_>> = candidates.collect();
    changes_of(
        conn,
        trust,
        &candidates,
        ground.timeline,
        &ground.calendars,
        ground.moment,
        changes,
    )
    .await
}

/// The unauthorised sessions of a record.
fn unauthorised_of(record: &PupilRecord<'_>) -> u64 {
    let registers = record.enrolments.iter().flat_map(|enrolment| &enrolment.registers);
    registers.map(|(_, marks)| Tally::of_marks(marks).unauthorised).sum()
}

/// Reads the marks of some years into records that lack them: all of those from `whole_from` on, and of the others the
/// registers that hold unauthorised absence.
async fn add_marks(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    records: &mut [(TouchedPupil, PupilRecord<'_>)],
    years: &[AcademicYear],
    whole_from: Option<AcademicYear>,
) -> Result<(), ServiceError> {
    let pupils: Vec<Uuid> = records.iter().map(|(touched, _)| touched.pupil).collect();
    let mut marks = records::marks_of(conn, trust, &pupils, years, whole_from).await?;
    for (touched, record) in records {
        for enrolment in &mut record.enrolments {
            let read = marks.remove(&(touched.pupil, enrolment.id)).unwrap_or_default();
            let read = read.into_iter().map(|(year, marks)| (year, Cow::Owned(marks)));
            enrolment.registers.extend(read);
        }
    }
    Ok(())
}
