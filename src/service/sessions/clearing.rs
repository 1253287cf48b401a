//! Taking away the marks that lie beyond an enrolment's new last day.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use uuid::Uuid;

use super::Correction;
use crate::domain::identifiers::TrustId;
use crate::domain::register::{Change, next_mark_after, tally_to, trim};
use crate::domain::session::AcademicYear;
use crate::service::judging::{Moment, timeline_of};
use crate::service::{ServiceError, thresholds};
use crate::store::TrustTransaction;
use crate::store::calendars::{self, SessionNotes};
use crate::store::pupils::EnrolmentRow;
use crate::store::registers::{self, RegisterWrite};
use crate::store::revisions::{self, RevisionWrite};

/// How many sessions a refusal names.
const SESSIONS_NAMED_MAX: usize = 10;

/// Takes away the marks of an enrolment after a day, each with the correction as a revision, and returns how many they were.
/// The pupil must be locked, and is to be judged afterwards, in every year from that day on.
///
/// # Errors
/// `Precondition` where there are any and no correction is given: it names them.
pub(in crate::service) async fn clear_after(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    enrolment: &EnrolmentRow,
    last: NaiveDate,
    correction: Option<&Correction>,
    request_id: Uuid,
    moment: Moment,
) -> Result<usize, ServiceError> {
    let year = AcademicYear::clamped(last);
    let (pupil_id, enrolment_id) = (enrolment.pupil_id, enrolment.enrolment_id);
    let registers = registers::of_enrolment_from(transaction, trust, pupil_id, enrolment_id, year).await?;
    let beyond: Vec<(AcademicYear, Vec<Change>)> = registers
        .iter()
        .map(|(year, marks)| (*year, marks_after(*year, marks, last)))
        .filter(|(_, changes)| !changes.is_empty())
        .collect();
    let count = beyond.iter().map(|(_, changes)| changes.len()).sum();
    if count == 0 {
        return Ok(0);
    }
    let Some(correction) = correction else {
        return Err(marks_beyond(&beyond, count));
    };
    let mut writes = Vec::new();
    let mut notes = BTreeMap::new();
    for (year, mut marks) in registers {
        if !beyond.iter().any(|(of, _)| *of == year) {
            continue;
        }
        marks.truncate(year.sessions_to(last));
        trim(&mut marks);
        writes.push(RegisterWrite {
            pupil_id,
            enrolment_id,
            school_id: enrolment.school_id,
            year,
            tally: tally_to(&marks, year, moment.today),
            next_mark_on: next_mark_after(&marks, year, moment.today),
            bytes: marks,
        });
    }
    let mut kept = Vec::with_capacity(count);
    for (year, changes) in beyond {
        let note: &mut SessionNotes = notes.entry((enrolment.school_id, year)).or_default();
        // Places of a register fit.
        note.lost = changes.iter().map(|change| change.index as u16).collect();
        kept.extend(changes.into_iter().map(|change| RevisionWrite {
            pupil_id,
            enrolment_id,
            school_id: enrolment.school_id,
            year,
            change,
            reason: correction.reason.clone(),
            name: correction.corrected_by.name.clone(),
            position: correction.corrected_by.position.clone(),
        }));
    }
    registers::write_whole(transaction, trust, writes).await?;
    revisions::append(transaction, trust, request_id, moment.now, &kept).await?;
    let days = calendars::note_sessions(transaction, trust, &notes, moment.today).await?;
    if !days.is_empty() {
        let timeline = timeline_of(transaction, trust).await?;
        thresholds::of_schools(
            transaction,
            trust,
            &timeline,
            &days,
            &HashMap::new(),
            moment,
            request_id,
        )
        .await?;
    }
    Ok(count)
}

/// The marks of a register after a day, as changes that take them away.
fn marks_after(year: AcademicYear, marks: &[u8], last: NaiveDate) -> Vec<Change> {
    let from = year.sessions_to(last).min(marks.len());
    let marks = marks[from..].iter().enumerate().filter(|(_, mark)| **mark != 0);
    marks
        .map(|(place, mark)| Change {
            index: from + place,
            old: *mark,
            new: 0,
        })
        .collect()
}

fn marks_beyond(beyond: &[(AcademicYear, Vec<Change>)], count: usize) -> ServiceError {
    let sessions = beyond
        .iter()
        .flat_map(|(year, changes)| changes.iter().map(|change| year.session_at(change.index).to_string()));
    let named: Vec<String> = sessions.take(SESSIONS_NAMED_MAX).collect();
    let more = if count > named.len() {
        format!(" and {} more", count - named.len())
    } else {
        String::new()
    };
    ServiceError::Precondition {
        reason: "MARKS_AFTER_LAST_DAY",
        message: format!(
            "the school has marks after the last day: {}{more}; give a later last day, or a correction to take them away",
            named.join(", ")
        ),
    }
}
