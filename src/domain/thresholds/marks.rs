//! What a mark is to thresholds: a class a byte. The registers of an academic year, side by side.

use std::ops::{BitOr, BitOrAssign};

use crate::domain::code::{AttendanceCode, Category};
use crate::domain::record::PupilRecord;
use crate::domain::session::AcademicYear;

/// Classes of marks, as flags: what one mark is, or what several are among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    /// Present, or at an approved educational activity.
    pub const ATTENDED: Classes = Classes(1);
    /// Illness.
    pub const ILL: Classes = Classes(1 << 1);
    /// Unauthorised absence: G, N, O and U.
    pub const UNAUTHORISED: Classes = Classes(1 << 2);
    /// N alone, which is of unauthorised absence too.
    pub const NO_REASON_YET: Classes = Classes(1 << 3);
    /// Authorised absence but illness.
    pub const OTHER_ABSENCE: Classes = Classes(1 << 4);
    /// Marks of sessions that were not possible, and administrative ones.
    pub const NOT_POSSIBLE: Classes = Classes(1 << 5);
    /// Those of possible sessions.
    pub const POSSIBLE: Classes = Classes(0b1_0111);
    /// All that there are.
    pub const EVERY: Classes = Classes(0b11_1111);

    /// What a mark is; nothing for no mark.
    pub const fn of_mark(mark: u8) -> Classes {
        Classes(CLASSES[mark as usize])
    }

    /// What marks are among them.
    pub fn of_marks(marks: &[u8]) -> Classes {
        Classes(marks.iter().fold(0, |found, mark| found | CLASSES[usize::from(*mark)]))
    }

    /// Whether two have a class in common.
    pub const fn meets(self, other: Classes) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is no mark.
    pub const fn nothing(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Classes {
    type Output = Classes;

    fn bitor(self, other: Classes) -> Classes {
        Classes(self.0 | other.0)
    }
}

impl BitOrAssign for Classes {
    fn bitor_assign(&mut self, other: Classes) {
        *self = *self | other;
    }
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut index = 0;
    while index < AttendanceCode::ALL.len() {
        let code = AttendanceCode::ALL[index];
        classes[code.byte() as usize] = match (code, code.category()) {
            (AttendanceCode::I, _) => Classes::ILL.0,
            (AttendanceCode::N, _) => Classes::UNAUTHORISED.0 | Classes::NO_REASON_YET.0,
            (_, Category::UnauthorisedAbsence) => Classes::UNAUTHORISED.0,
            (_, Category::AuthorisedAbsence) => Classes::OTHER_ABSENCE.0,
            (_, Category::Attending | Category::ApprovedEducationalActivity) => Classes::ATTENDED.0,
            (_, Category::NotPossible | Category::Administrative) => Classes::NOT_POSSIBLE.0,
        };
        index += 1;
    }
    classes
};

/// A pupil's registers of one academic year.
pub(super) struct Line<'r> {
    pub year: AcademicYear,
    registers: Vec<&'r [u8]>,
}

impl<'r> Line<'r> {
    pub fn new(record: &'r PupilRecord<'_>, year: AcademicYear) -> Line<'r> {
        let registers = record.enrolments.iter().map(|enrolment| enrolment.marks(year));
        Line {
            year,
            registers: registers.filter(|marks| !marks.is_empty()).collect(),
        }
    }

    /// How many places have a mark or come before one.
    pub fn length(&self) -> usize {
        self.registers.iter().map(|marks| marks.len()).max().unwrap_or(0)
    }

    /// What the marks of a session are.
    pub fn at(&self, place: usize) -> Classes {
        let marks = self.registers.iter().filter_map(|marks| marks.get(place));
        marks.fold(Classes::default(), |found, mark| found | Classes::of_mark(*mark))
    }

    /// How many schools marked a session as one of some classes.
    pub fn times(&self, place: usize, of: Classes) -> usize {
        let marks = self.registers.iter().filter_map(|marks| marks.get(place));
        marks.filter(|mark| Classes::of_mark(**mark).meets(of)).count()
    }

    /// How many of the marks before the place `to` are of some classes.
    pub fn total(&self, of: Classes, to: usize) -> usize {
        let marks = self.registers.iter().map(|marks| &marks[..to.min(marks.len())]);
        marks
            .map(|marks| marks.iter().filter(|mark| Classes::of_mark(**mark).meets(of)).count())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_of_one_class_and_n_of_two() {
        for code in AttendanceCode::ALL {
            let classes = Classes::of_mark(code.byte());
            let n = if *code == AttendanceCode::N { 2 } else { 1 };
            assert_eq!(classes.0.count_ones(), n, "{}", code.as_str());
            assert_eq!(
                classes.meets(Classes::POSSIBLE),
                code.category().possible(),
                "{}",
                code.as_str()
            );
            assert_eq!(
                classes.meets(Classes::ATTENDED),
                code.category().attended(),
                "{}",
                code.as_str()
            );
        }
        assert!(Classes::of_mark(0).nothing() && Classes::of_mark(127).nothing());
    }
}
