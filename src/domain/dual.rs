//! Dual registration: sessions for which both schools have a mark that counts, since neither marked D.

use super::identifiers::{EnrolmentId, SchoolId};
use super::record::PupilRecord;
use super::session::{AcademicYear, Session};
use super::tally::Tally;

/// One school's mark of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchoolMark {
    /// The school.
    pub school: SchoolId,
    /// The enrolment.
    pub enrolment: EnrolmentId,
    /// The byte of the code.
    pub mark: u8,
}

/// The sessions of a year that are possible in more than one of a pupil's registers, in order, with the mark of each. Each
/// such session counts once a register.
pub fn doubly_marked(record: &PupilRecord<'_>, year: AcademicYear) -> Vec<(Session, Vec<SchoolMark>)> {
    let registers: Vec<_> = record
        .enrolments
        .iter()
        .map(|enrolment| (enrolment, enrolment.marks(year)))
        .filter(|(_, marks)| !marks.is_empty())
        .collect();
    if registers.len() < 2 {
        return Vec::new();
    }
    let longest = registers.iter().map(|(_, marks)| marks.len()).max().unwrap_or(0);
    let session = |place: usize| {
        let marks = registers.iter().filter_map(|(enrolment, marks)| {
            let mark = marks
                .get(place)
                .copied()
                .filter(|mark| Tally::of_mark(*mark).possible > 0)?;
            Some(SchoolMark {
                school: enrolment.span.school,
                enrolment: enrolment.id,
                mark,
            })
        });
        let marks: Vec<SchoolMark> = marks.collect();
        (marks.len() > 1).then(|| (year.session_at(place), marks))
    };
    (0..longest.min(year.sessions())).filter_map(session).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::domain::code::AttendanceCode;
    use crate::domain::pupil::{EnrolmentKind, EnrolmentSpan};
    use crate::domain::record::EnrolmentRecord;

    #[test]
    fn a_session_is_doubly_marked_where_both_marks_are_possible() {
        let year = AcademicYear::from_start_year(2025).unwrap();
        let bytes = |text: &str| -> Vec<u8> {
            let codes = text.split_whitespace();
            codes
                .map(|code| AttendanceCode::parse(code).map_or(0, |code| code.byte()))
                .collect()
        };
        let enrolment = |number: u128, kind, marks: &str| EnrolmentRecord {
            id: EnrolmentId(uuid::Uuid::from_u128(number)),
            span: EnrolmentSpan {
                school: SchoolId(uuid::Uuid::from_u128(number)),
                kind,
                start: year.first_day(),
                end: None,
            },
            registers: vec![(year, Cow::Owned(bytes(marks)))],
        };
        let record = PupilRecord {
            enrolments: vec![
                enrolment(1, EnrolmentKind::Main, r"/ \ D O - X"),
                enrolment(2, EnrolmentKind::Subsidiary, r"D \ / I / / /"),
            ],
        };
        let found = doubly_marked(&record, year);
        let places: Vec<_> = found
            .iter()
            .map(|(session, _)| year.index_of(*session).unwrap())
            .collect();
        assert_eq!(places, [1, 3]);
        assert_eq!(found[1].1.len(), 2);
        assert_eq!(found[1].1[0].mark, AttendanceCode::O.byte());
        let alone = PupilRecord {
            enrolments: record.enrolments[..1].to_vec(),
        };
        assert_eq!(doubly_marked(&alone, year), []);
    }
}
