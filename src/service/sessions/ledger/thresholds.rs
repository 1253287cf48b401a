//! What a batch wrote, as far as statutory thresholds are concerned: told from the counts in memory.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{Ledger, RegisterEntry};
use crate::domain::identifiers::EnrolmentId;
use crate::domain::record::{EnrolmentRecord, PupilRecord};
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::domain::thresholds::{Bounds, Classes, ILLNESS_SESSIONS};
use crate::service::thresholds::batch::{Reach, TouchedPupil};
use crate::store::registers::Window;

impl Ledger<'_> {
    /// The pupils of whom something was written that can bring a threshold about or undo one. Comes after the writes were
    /// taken.
    pub(in crate::service::sessions) fn touched(&self, bounds: &Bounds) -> Vec<TouchedPupil> {
        let pupils = 0..self.pupils.len();
        pupils.filter_map(|place| self.touched_pupil(place, bounds)).collect()
    }

    fn touched_pupil(&self, place: usize, bounds: &Bounds) -> Option<TouchedPupil> {
        let registers = || self.registers_of(place);
        let written = registers().filter_map(|register| Some((register.year, register.touched_from?)));
        let (since, first) = written.min()?;
        if since > self.moment.year {
            return None;
        }
        let longest = |year: AcademicYear| {
            let lengths = registers().filter(|register| register.year == year);
            lengths.map(|register| register.length).max().unwrap_or(0)
        };
        // At the end of what is there, attendance only ever undoes what the same day proves.
        let decides = registers().any(|register| {
            let from = register.touched_from;
            from.is_some_and(|from| from < longest(register.year) || bounds.decides(register.entered))
        });
        let later = || registers().filter(|register| (since..=self.moment.year).contains(&register.year));
        let before: Tally = later().map(|register| register.tally_before).sum();
        let may_stand = bounds.triggers()
            || before.unauthorised > 0
            || before.authorised >= bounds.authorised()
            || later().any(|register| register.ahead_before);
        let reach = if decides {
            self.reach(place, since, bounds)
        } else {
            Reach::Nothing
        };
        (reach != Reach::Nothing || may_stand).then(|| TouchedPupil {
            place,
            pupil: self.pupils[place].row.pupil_id,
            from: since.session_at(first),
            reach,
            may_stand,
        })
    }

    /// What a pupil's counts leave open in any year from `since` on.
    fn reach(&self, place: usize, since: AcademicYear, bounds: &Bounds) -> Reach {
        let counts = |of: &dyn Fn(AcademicYear) -> bool| -> Tally {
            let registers = self.registers_of(place).filter(|register| of(register.year));
            registers.map(|register| self.tally_of(register)).sum()
        };
        let mut reach = Reach::Nothing;
        let loaded = self.registers_of(place).map(|register| register.year);
        for year in loaded.filter(|year| (since..=self.moment.year).contains(year)) {
            let of_year = counts(&|other| other == year);
            if bounds.admits(of_year, counts(&|other| other < year).unauthorised) || self.may_be_ill_ahead(place, year)
            {
                return Reach::InMemory;
            }
            if of_year.unauthorised > 0 {
                reach = Reach::WithOtherYears;
            }
        }
        reach
    }

    /// Whether illness that is entered ahead of time may bring a year's to its threshold.
    fn may_be_ill_ahead(&self, place: usize, year: AcademicYear) -> bool {
        let of_year = || self.registers_of(place).filter(|register| register.year == year);
        let ahead = of_year().any(|register| register.has_marks_ahead(self.moment.today));
        if !ahead || !self.holds_every_mark() {
            return ahead;
        }
        let ill = |marks: &[u8]| {
            marks
                .iter()
                .filter(|mark| Classes::of_mark(**mark).meets(Classes::ILL))
                .count()
        };
        of_year().map(|register| ill(&register.bytes)).sum::<usize>() >= ILLNESS_SESSIONS
    }

    fn tally_of(&self, register: &RegisterEntry<'_>) -> Tally {
        // Writing has put the whole register's counts here, and may have taken the bytes.
        if register.touched_from.is_some() {
            register.tally_outside
        } else {
            register.tally(self.moment.today)
        }
    }

    fn registers_of(&self, place: usize) -> impl Iterator<Item = &RegisterEntry<'_>> + Clone {
        let enrolments = &self.enrolments[self.pupils[place].enrolments.clone()];
        let places = enrolments.iter().flat_map(|entry| &entry.registers);
        places.map(|register| &self.registers[*register])
    }

    /// Whether the registers of the years that were loaded are in memory with all of their marks.
    pub(in crate::service::sessions) fn holds_every_mark(&self) -> bool {
        self.window == Window::WHOLE
    }

    /// The years whose registers were loaded.
    pub(in crate::service::sessions) fn loaded_years(&self) -> &BTreeSet<AcademicYear> {
        &self.years
    }

    /// A pupil's enrolments, with the registers of which all marks are in memory.
    pub(in crate::service::sessions) fn record(&self, place: usize) -> PupilRecord<'_> {
        let enrolments = self.enrolments[self.pupils[place].enrolments.clone()].iter();
        let enrolments = enrolments.map(|entry| {
            let registers = entry.registers.iter().map(|register| &self.registers[*register]);
            let registers = registers.filter(|register| self.holds_every_mark() && !register.bytes.is_empty());
            EnrolmentRecord {
                id: EnrolmentId(entry.enrolment_id),
                span: entry.span,
                registers: registers
                    .map(|register| (register.year, Cow::Borrowed(register.bytes.as_slice())))
                    .collect(),
            }
        });
        PupilRecord {
            enrolments: enrolments.collect(),
        }
    }
}
