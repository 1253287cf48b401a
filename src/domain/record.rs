//! A pupil's record: every enrolment in the trust, with its registers.

use std::borrow::Cow;

use chrono::NaiveDate;

use super::identifiers::{EnrolmentId, SchoolId};
use super::pupil::{EnrolmentSpan, home};
use super::session::AcademicYear;
use super::tally::Tally;

/// One enrolment with its registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolmentRecord<'a> {
    /// The enrolment.
    pub id: EnrolmentId,
    /// Where, of what kind, from when to when.
    pub span: EnrolmentSpan,
    /// The marks of each year that has any, as [`super::register`] lays them out.
    pub registers: Vec<(AcademicYear, Cow<'a, [u8]>)>,
}

impl EnrolmentRecord<'_> {
    /// The marks of a year; none where it has no register.
    pub fn marks(&self, year: AcademicYear) -> &[u8] {
        let register = self.registers.iter().find(|(of, _)| *of == year);
        register.map_or(&[], |(_, marks)| marks)
    }

    /// The counts of a year's marks dated up to and including a day.
    pub fn tally_to(&self, year: AcademicYear, as_of: NaiveDate) -> Tally {
        super::register::tally_to(self.marks(year), year, as_of)
    }
}

/// A pupil's enrolments in the trust, in the order of their first days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PupilRecord<'a> {
    /// The enrolments.
    pub enrolments: Vec<EnrolmentRecord<'a>>,
}

impl PupilRecord<'_> {
    /// The school by whose calendar and policy a day is judged.
    pub fn home_school(&self, date: NaiveDate) -> Option<SchoolId> {
        let spans = self.enrolments.iter().map(|enrolment| &enrolment.span);
        home(spans, date).map(|span| span.school)
    }

    /// The counts of a year over all enrolments, up to and including a day.
    pub fn tally_to(&self, year: AcademicYear, as_of: NaiveDate) -> Tally {
        self.enrolments
            .iter()
            .map(|enrolment| enrolment.tally_to(year, as_of))
            .sum()
    }
}
