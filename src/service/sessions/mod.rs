//! Recording session marks: one batch is one transaction, and a handful of statements whatever its size.

mod clearing;
mod ledger;
mod lists;
mod placing;
mod reconciling;

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::ledger::Ledger;
use super::error::{FieldViolation, Rejection, Warning};
use super::identities::Identities;
use super::judging::{Judging, Moment};
use super::recorded::{self, Recorded, Request};
use super::thresholds::batch::{MarksOfBatch, Reach};
use super::transaction::{finish, retry};
use super::{Service, ServiceError, thresholds};
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::{PupilId, PupilKey, SchoolKey, TrustId};
use crate::domain::person::Person;
use crate::domain::register::{CLEAR, LEAVE};
use crate::domain::session::{AcademicYear, Session, SessionHalf};
use crate::domain::thresholds::Bounds;
use crate::store::calendars::{self, SchoolYear};
use crate::store::pupils::resolve_identifiers;
use crate::store::revisions::{self, RevisionWrite};
use crate::store::schools::resolve_schools;
use crate::store::stages::{self, Cause};
use crate::store::{TrustTransaction, registers};

pub(super) use clearing::clear_after;
pub use lists::{AbsenceKey, DoublyMarked, DoublyMarkedQuery, RegisterOfYear, RevisionQuery, UnexplainedAbsence};
pub use reconciling::{
    LimitsAsked, Plan, Reconciled, ReconciliationAnswer, ReconciliationItem, ReconciliationQuery, ReconciliationRequest,
};

/// Why marks were changed, and by whom, by name and position (the 2024 regulations on the amendment of entries).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Why.
    pub reason: String,
    /// Who.
    pub corrected_by: Person,
}

/// A run of marks of one pupil within one academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionItem {
    /// The place of the item in the caller's batch, from 0.
    pub item_index: usize,
    /// The pupil.
    pub pupil: PupilKey,
    /// The year.
    pub year: AcademicYear,
    /// The place of the first mark in the year's register.
    pub first: usize,
    /// Bytes of codes, [`LEAVE`] or [`CLEAR`]; `first` and their number lie within the year.
    pub marks: Vec<u8>,
    /// The school, where the item says.
    pub school: Option<SchoolKey>,
    /// The correction, where the item says.
    pub correction: Option<Correction>,
}

/// A batch of marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionBatch {
    /// Names the batch: the same again returns the first answer.
    pub request_id: Uuid,
    /// Tells one content from another.
    pub fingerprint: Vec<u8>,
    /// The items that could be read.
    pub items: Vec<SessionItem>,
    /// The items that could not.
    pub rejections: Vec<Rejection>,
    /// The school of items that say none.
    pub school: Option<SchoolKey>,
    /// The correction of items that say none.
    pub correction: Option<Correction>,
    /// Whether a rejection refuses the whole batch.
    pub all_or_nothing: bool,
}

/// What became of a batch. Kept, and given again to whoever asks again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionBatchOutcome {
    /// Items that filled at least one session and changed none.
    pub accepted: usize,
    /// Items that changed nothing.
    pub unchanged: usize,
    /// Items that changed at least one mark.
    pub corrected: usize,
    /// Marks written to sessions that had none.
    pub marks_new: u64,
    /// Marks changed.
    pub marks_corrected: u64,
    /// Marks that were already there.
    pub marks_unchanged: u64,
    /// Pupils whose stage moved.
    pub transitions: usize,
    /// Items that were not taken.
    pub rejections: Vec<Rejection>,
    /// What was taken and deserves a look: the first of them.
    pub warnings: Vec<Warning>,
    /// How many there were in all.
    pub warnings_total: usize,
}

impl Service {
    /// Records a batch of marks. When it returns, the marks are committed, every pupil's stage follows from them and the
    /// actions that the stages require are raised.
    pub async fn record_sessions(
        &self,
        trust: TrustId,
        batch: &SessionBatch,
    ) -> Result<Recorded<SessionBatchOutcome>, ServiceError> {
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let recorded = self.record_once(&mut transaction, trust, batch).await;
            finish(transaction, recorded).await
        })
        .await
    }

    async fn record_once(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        batch: &SessionBatch,
    ) -> Result<Recorded<SessionBatchOutcome>, ServiceError> {
        let request = Request {
            id: batch.request_id,
            field: "batch.request_id",
            fingerprint: &batch.fingerprint,
        };
        let (earlier, identities) = recorded::earlier_with_identities(transaction, trust, request).await?;
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        let moment = self.moment();
        let taken = self.take_batch(transaction, trust, batch, identities, moment).await?;
        let recorded = recorded::record(transaction, trust, request, taken.outcome, moment.now).await?;
        taken.judging.write(transaction, trust, Some(request.id)).await?;
        Ok(recorded)
    }

    /// Writes a batch's marks, and judges the pupils: all of recording it but its record and what follows from the judging,
    /// which the caller writes last. What it comes to is known by then, so that the caller may still take everything back.
    /// `identities` is the version of the trust's identities at the beginning: where it is another once the pupils are locked,
    /// the batch begins anew.
    async fn take_batch(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        batch: &SessionBatch,
        identities: i64,
        moment: Moment,
    ) -> Result<Taken, ServiceError> {
        let mut work = Work {
            rejections: batch.rejections.clone(),
        };
        let identities = self.identities(transaction, trust, identities).await?;
        let mut ledger = work.open_ledger(transaction, trust, batch, &identities, moment).await?;
        // After the locks: a policy that comes into force locks the pupils that it judges, and so does who merges pupils.
        let mut judging = Judging::open_resolved(transaction, trust, moment, Cause::Marks, identities.version).await?;
        let closed = calendars::closed_sessions(transaction, trust, &ledger.claimed_years()).await?;
        let (mut outcome, counts) = work.merge(&mut ledger, batch, &closed, self.limits.warnings_max);
        if batch.all_or_nothing && !outcome.rejections.is_empty() {
            return Err(ServiceError::BatchRejected {
                items: "batch.items",
                rejections: outcome.rejections,
            });
        }
        let (revisions, first_entries) = (ledger.take_revisions(), ledger.first_entries());
        let session_notes = ledger.take_session_notes();
        registers::write(transaction, trust, ledger.take_writes()).await?;
        revisions::append(transaction, trust, batch.request_id, moment.now, &revisions).await?;
        registers::append_first_entries(transaction, trust, batch.request_id, moment.now, first_entries).await?;
        // Before judging, which may follow a calendar that is drawn from these.
        let mut days = calendars::note_sessions(transaction, trust, &session_notes, moment.today).await?;
        days.retain(|days| !closed.contains_key(&(days.school, days.year)));
        judging.corrected(revisions.iter().map(|revision| revision.pupil_id));
        let (bounds, named) = (Bounds::of(judging.timeline()), batch.request_id);
        let marks = MarksOfBatch {
            touched: ledger.touched(&bounds),
            loaded: ledger.loaded_years(),
            in_memory: ledger.holds_every_mark(),
            record: |place| ledger.record(place),
        };
        let reaching = marks.touched.iter().filter(|touched| touched.reach != Reach::Nothing);
        let judged: HashMap<Uuid, NaiveDate> = reaching.map(|touched| (touched.pupil, touched.from.date)).collect();
        let timeline = judging.timeline();
        thresholds::batch::raise(transaction, trust, timeline, &bounds, marks, moment, named).await?;
        thresholds::of_schools(transaction, trust, timeline, &days, &judged, moment, named).await?;
        ledger.judge(transaction, trust, &mut judging).await?;
        outcome.transitions = judging.transitions();
        Ok(Taken {
            outcome,
            counts,
            revisions,
            judging,
        })
    }
}

/// A batch whose marks are written.
struct Taken {
    outcome: SessionBatchOutcome,
    /// By item.
    counts: HashMap<usize, ItemCounts>,
    /// The marks that were changed.
    revisions: Vec<RevisionWrite>,
    judging: Judging,
}

/// What became of the marks of one item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ItemCounts {
    new: usize,
    changed: usize,
    unchanged: usize,
}

/// What is known of a batch's items on the way.
#[derive(Default)]
struct Work {
    rejections: Vec<Rejection>,
}

impl Work {
    /// Resolves the keys, locks the pupils and loads their registers.
    async fn open_ledger<'a>(
        &mut self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        batch: &'a SessionBatch,
        identities: &Identities,
        moment: Moment,
    ) -> Result<Ledger<'a>, ServiceError> {
        let schools = resolve_all_schools(transaction, trust, batch).await?;
        let keys: Vec<PupilKey> = batch.items.iter().map(|item| item.pupil.clone()).collect();
        let resolved = resolve_identifiers(transaction, trust, &keys).await?;
        let resolved: Vec<Option<PupilId>> = resolved
            .into_iter()
            .map(|pupil| pupil.map(|pupil| identities.now(pupil)))
            .collect();
        let mut ids: Vec<Uuid> = resolved.iter().flatten().map(|pupil| pupil.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let rows = stages::lock(transaction, trust, &ids).await?;
        let mut years: BTreeSet<AcademicYear> = batch.items.iter().map(|item| item.year).collect();
        years.insert(moment.year);
        let window = placing::window_of(&batch.items);
        let load_years: Vec<i16> = years.iter().map(|year| year.start_year()).collect();
        let loaded = registers::load(transaction, trust, &ids, &load_years, window, moment.today).await?;
        let mut ledger = Ledger::new(rows, loaded, window, years, moment)?;
        for (item, pupil) in batch.items.iter().zip(resolved) {
            let school = match item.school.as_ref().or(batch.school.as_ref()) {
                None => None,
                Some(key) => match schools.get(key) {
                    Some(school) => Some(*school),
                    None => {
                        self.reject(
                            item.item_index,
                            "school",
                            "UNKNOWN_SCHOOL",
                            "the trust has no such school",
                        );
                        continue;
                    }
                },
            };
            let Some(pupil) = pupil.and_then(|pupil| ledger.pupil(pupil.0)) else {
                self.reject(
                    item.item_index,
                    "pupil",
                    "UNKNOWN_PUPIL",
                    "the trust has no such pupil: upsert the pupil first",
                );
                continue;
            };
            if let Err(rejection) = placing::place(&mut ledger, pupil, school, item) {
                self.rejections.push(rejection);
            }
        }
        Ok(ledger)
    }

    fn reject(&mut self, item_index: usize, field: &str, reason: &str, message: &str) {
        self.rejections.push(Rejection::new(item_index, field, reason, message));
    }

    /// Merges the items that can be taken, and says what became of each.
    fn merge(
        &mut self,
        ledger: &mut Ledger<'_>,
        batch: &SessionBatch,
        closed: &HashMap<SchoolYear, Vec<u8>>,
        warnings_max: usize,
    ) -> (SessionBatchOutcome, HashMap<usize, ItemCounts>) {
        self.rejections.extend(ledger.duplicates());
        let mut refused: HashSet<usize> = self.rejections.iter().map(|found| found.item_index).collect();
        let uncorrected = ledger.changes_without_correction(batch.correction.as_ref(), &refused);
        refused.extend(uncorrected.iter().map(|found| found.item_index));
        self.rejections.extend(uncorrected);
        let mut outcome = SessionBatchOutcome::default();
        for item in batch.items.iter().filter(|item| !refused.contains(&item.item_index)) {
            warn(item, &mut outcome, warnings_max);
        }
        ledger.marks_on_closed_days(closed, &refused, |item, place, code| {
            outcome.warn(item, place, code, CALENDAR_CLOSED, warnings_max);
        });
        outcome.warnings.sort_by_key(|warning| warning.item_index);
        let merged = ledger.merge(batch.correction.as_ref(), &refused);

        let mut counts: HashMap<usize, ItemCounts> = HashMap::with_capacity(batch.items.len());
        for (item_index, diff) in merged {
            outcome.marks_new += diff.first_entries as u64;
            outcome.marks_corrected += diff.changes as u64;
            outcome.marks_unchanged += diff.unchanged as u64;
            let counts = counts.entry(item_index).or_default();
            counts.new += diff.first_entries;
            counts.changed += diff.changes;
            counts.unchanged += diff.unchanged;
        }
        for counts in counts.values() {
            match (counts.new, counts.changed) {
                (_, 1..) => outcome.corrected += 1,
                (1.., 0) => outcome.accepted += 1,
                (0, 0) => outcome.unchanged += 1,
            }
        }
        outcome.rejections = std::mem::take(&mut self.rejections);
        outcome.rejections.sort_by_key(|rejection| rejection.item_index);
        (outcome, counts)
    }
}

async fn resolve_all_schools(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    batch: &SessionBatch,
) -> Result<HashMap<SchoolKey, Uuid>, ServiceError> {
    let of_items = batch.items.iter().filter_map(|item| item.school.as_ref());
    let keys: HashSet<SchoolKey> = of_items.chain(batch.school.as_ref()).cloned().collect();
    let keys: Vec<SchoolKey> = keys.into_iter().collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let resolved = resolve_schools(transaction, trust, &keys).await?;
    let found = keys.into_iter().zip(resolved);
    Ok(found
        .filter_map(|(key, school)| school.map(|school| (key, school.0)))
        .collect())
}

/// What deserves a look before anything else is asked of a code: whether it has dates, or a half of the day.
const LOOK_AT: [bool; 256] = {
    let mut look_at = [false; 256];
    let mut index = 0;
    while index < AttendanceCode::ALL.len() {
        let code = AttendanceCode::ALL[index];
        let (from, to) = code.validity();
        let half = code.in_wrong_half(SessionHalf::Am) || code.in_wrong_half(SessionHalf::Pm);
        look_at[code.byte() as usize] = from.is_some() || to.is_some() || half;
        index += 1;
    }
    look_at
};

/// Marks that are taken and deserve a look: a code outside its dates, `/` in an afternoon, `\` in a morning.
fn warn(item: &SessionItem, outcome: &mut SessionBatchOutcome, warnings_max: usize) {
    for (place, &mark) in item.marks.iter().enumerate() {
        if !LOOK_AT[usize::from(mark)] || mark == expected_present(item.first + place) {
            continue;
        }
        let Some(code) = AttendanceCode::from_byte(mark) else {
            continue;
        };
        let session = item.year.session_at(item.first + place);
        if let Some(remark) = remark(code, session) {
            outcome.warn(item, item.first + place, code, remark, warnings_max);
        }
    }
}

/// A mark on a day that the calendar has closed.
const CALENDAR_CLOSED: (&str, &str) = (
    "CALENDAR_CLOSED",
    "the school's calendar has no school day on this date: counted as sent",
);

impl SessionBatchOutcome {
    /// Takes note of a mark that deserves a look, at a place of the register: why, by a stable name and a sentence.
    fn warn(
        &mut self,
        item: &SessionItem,
        place: usize,
        code: AttendanceCode,
        (reason, message): (&str, &str),
        warnings_max: usize,
    ) {
        self.warnings_total += 1;
        if self.warnings.len() < warnings_max {
            self.warnings.push(Warning {
                item_index: item.item_index,
                reason: reason.to_owned(),
                field: format!("marks[{}]", place - item.first),
                session: Some(item.year.session_at(place).into()),
                code: code.byte(),
                message: message.to_owned(),
            });
        }
    }
}

/// What deserves a look about a code in a session, if anything: a stable name, and a sentence.
pub(super) fn remark(code: AttendanceCode, session: Session) -> Option<(&'static str, &'static str)> {
    if code.in_wrong_half(session.half) {
        Some((
            "CODE_OF_OTHER_HALF",
            "/ belongs to mornings and \\ to afternoons: counted as present",
        ))
    } else if !code.valid_on(session.date) {
        Some((
            "CODE_OUTSIDE_VALIDITY",
            "the code was not valid on this date: counted by its category",
        ))
    } else {
        None
    }
}

/// The byte of present in the half of the day to which a place belongs: by far the commonest mark.
fn expected_present(place: usize) -> u8 {
    if place.is_multiple_of(2) {
        AttendanceCode::PresentMorning.byte()
    } else {
        AttendanceCode::PresentAfternoon.byte()
    }
}

/// Checks that a run of marks lies within one academic year and holds codes alone, at least one. Says which field is wrong.
pub fn check_run(year: AcademicYear, first: usize, marks: &[i32]) -> Result<Vec<u8>, FieldViolation> {
    let bytes = check_codes(year, first, marks)?;
    if bytes.iter().all(|byte| *byte == LEAVE) {
        return Err(FieldViolation::new(
            "marks",
            "NO_MARKS",
            "every mark of the run is unspecified: give at least one mark",
        ));
    }
    Ok(bytes)
}

/// Checks that a run of marks lies within one academic year and holds codes alone, or none at all. Says which field is wrong.
pub fn check_codes(year: AcademicYear, first: usize, marks: &[i32]) -> Result<Vec<u8>, FieldViolation> {
    if marks.is_empty() {
        return Err(FieldViolation::new("marks", "NO_MARKS", "give at least one mark"));
    }
    if first + marks.len() > year.sessions() {
        return Err(FieldViolation::new(
            "marks",
            "OUTSIDE_ACADEMIC_YEAR",
            format!("the run ends after 31 July: a run lies within one academic year, here {year}; split it there"),
        ));
    }
    let mut bytes = Vec::with_capacity(marks.len());
    for (place, &mark) in marks.iter().enumerate() {
        let byte = u8::try_from(mark).ok();
        match byte.filter(|byte| matches!(*byte, LEAVE | CLEAR) || AttendanceCode::from_byte(*byte).is_some()) {
            Some(byte) => bytes.push(byte),
            None => {
                return Err(FieldViolation::new(
                    format!("marks[{place}]"),
                    "UNKNOWN_CODE",
                    format!("{mark} is no attendance code: see AttendanceCode in the contract"),
                ));
            }
        }
    }
    Ok(bytes)
}
