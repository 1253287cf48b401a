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
use crate::store::merges::{self, MovedEnrolment};
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
    let related = match known_at {
        Some(_) => merges::related(transaction, trust, pupil).await?,
        None => vec![pupil],
    };
    let mut found = records::records_of(transaction, trust, &related, years).await?;
    let Some(known_at) = known_at else {
        return Ok(found.pop().map(|(_, record)| record).unwrap_or_default());
    };
    let mut record = if related.len() > 1 {
        let moved = merges::moved_enrolments(transaction, trust, &related).await?;
        record_before(pupil, found, moved.iter().filter(|moved| moved.at > known_at))
    } else {
        found.pop().map(|(_, record)| record).unwrap_or_default()
    };
    let mut written: Vec<Written> = Vec::new();
    let enrolments: Vec<Uuid> = record.enrolments.iter().map(|enrolment| enrolment.id.0).collect();
    for revision in history::revisions_after(transaction, trust, &related, &enrolments, known_at).await? {
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

/// A pupil's record without what came to it by merges later than a moment, and with what went from it. `found` are the records
/// of all pupils that were ever one with it, as they are now; `moved` is what went from one to another since, in order.
fn record_before<'m>(
    pupil: Uuid,
    found: Vec<(Uuid, PupilRecord<'static>)>,
    moved: impl DoubleEndedIterator<Item = &'m MovedEnrolment>,
) -> PupilRecord<'static> {
    let of_pupils = found
        .into_iter()
        .flat_map(|(of, record)| record.enrolments.into_iter().map(move |enrolment| (of, enrolment)));
    let mut enrolments: Vec<_> = of_pupils.collect();
    for moved in moved.rev() {
        for (of, enrolment) in &mut enrolments {
            if enrolment.id.0 == moved.enrolment_id && *of == moved.to_pupil_id {
                *of = moved.from_pupil_id;
            }
        }
    }
    let mut enrolments: Vec<_> = enrolments
        .into_iter()
        .filter(|(of, _)| *of == pupil)
        .map(|(_, enrolment)| enrolment)
        .collect();
    enrolments.sort_by_key(|enrolment| (enrolment.span.start, enrolment.id.0));
    PupilRecord { enrolments }
}
