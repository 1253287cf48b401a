//! The second clock: a pupil's record as the service knew it at a moment.
//!
//! From the registers as they are, what was written after the moment is taken back, latest first: a changed mark becomes
//! what it was, a first entry becomes no mark.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::ServiceError;
use crate::domain::identifiers::TrustId;
use crate::domain::record::PupilRecord;
use crate::domain::session::AcademicYear;
use crate::store::history::{self, FirstEntry};
use crate::store::{TrustTransaction, records};

/// Something that was written to a session, to be taken back.
struct Written {
    at: DateTime<Utc>,
    enrolment: Uuid,
    year: AcademicYear,
    first: usize,
    length: usize,
    /// What was there before: 0 for no mark.
    before: u8,
}

/// A pupil's record of some years as it was known at a moment; as it is known now where none is given.
pub(super) async fn record_known_at(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    pupil: Uuid,
    years: &[AcademicYear],
    known_at: Option<DateTime<Utc>>,
) -> Result<PupilRecord<'static>, ServiceError> {
    let found = records::records_of(transaction, trust, &[pupil], years).await?;
    let mut record = found.into_iter().next().map(|(_, record)| record).unwrap_or_default();
    let Some(known_at) = known_at else {
        return Ok(record);
    };
    let mut written: Vec<Written> = Vec::new();
    for revision in history::revisions_after(transaction, trust, pupil, known_at).await? {
        written.push(Written {
            at: revision.recorded_at,
            enrolment: revision.enrolment_id,
            year: revision.year,
            first: revision.place,
            length: 1,
            before: revision.old,
        });
    }
    let schools = records::schools_of([&record]);
    let enrolments: Vec<Uuid> = record.enrolments.iter().map(|enrolment| enrolment.id.0).collect();
    for entry in history::first_entries_after(transaction, trust, &schools, years, &enrolments, known_at).await? {
        let FirstEntry {
            recorded_at,
            enrolment_id,
            year,
            first,
            length,
        } = entry;
        written.push(Written {
            at: recorded_at,
            enrolment: enrolment_id,
            year,
            first,
            length,
            before: 0,
        });
    }
    // A batch writes a session once, so that of one moment the order does not matter.
    written.sort_by_key(|written| std::cmp::Reverse(written.at));
    for written in written {
        let enrolment = record
            .enrolments
            .iter_mut()
            .find(|enrolment| enrolment.id.0 == written.enrolment);
        let registers = enrolment.map(|enrolment| enrolment.registers.iter_mut());
        let register = registers.and_then(|mut registers| registers.find(|(year, _)| *year == written.year));
        if let Some((_, marks)) = register {
            let marks = marks.to_mut();
            let end = written.first + written.length;
            if written.before != 0 && marks.len() < end {
                marks.resize(end, 0);
            }
            let length = marks.len();
            for mark in &mut marks[written.first.min(length)..end.min(length)] {
                *mark = written.before;
            }
        }
    }
    Ok(record)
}
