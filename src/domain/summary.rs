//! Summaries: the sessions of many pupils counted together, and who of them was absent how much.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};

use chrono::{Days, NaiveDate};

use super::calendar::{Calendar, monday_of};
use super::identifiers::SchoolId;
use super::session::AcademicYear;
use super::tally::{PrefixTallies, Tally};

/// Of a number of pupils or enrolments with at least one possible session, how many were absent how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbsenceCounts {
    /// With at least one possible session: the base of the others.
    pub with_sessions: u64,
    /// With a tenth or more missed.
    pub persistent: u64,
    /// With half or more missed.
    pub severe: u64,
}

impl AbsenceCounts {
    /// Counts one pupil or enrolment.
    pub fn add(&mut self, tally: Tally) {
        self.with_sessions += u64::from(tally.possible > 0);
        self.persistent += u64::from(tally.persistently_absent());
        self.severe += u64::from(tally.severely_absent());
    }
}

/// The attendance of a group of pupils.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttendanceCounts {
    /// The sessions of the enrolments.
    pub tally: Tally,
    /// The pupils, over all their enrolments in the trust.
    pub pupils: AbsenceCounts,
    /// The enrolments, each alone: as national statistics count (absence methodology, 3.2).
    pub enrolments: AbsenceCounts,
}

/// Whose figures are counted: decides where a pupil of two schools counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// One school's: the pupil counts at each.
    School,
    /// The trust's, gone through school by school: the pupil counts once, at the first school with a possible session.
    Trust,
}

impl AttendanceCounts {
    /// Counts a pupil of the school `at`. `registers` are the counts of all the pupil's enrolments in the trust: those at the
    /// school count as sessions and as enrolments, and all of them make the pupil.
    pub fn add_pupil(&mut self, at: SchoolId, whole: Whole, registers: &[(SchoolId, Tally)]) {
        let mut possible_here = false;
        for (_, tally) in registers.iter().filter(|(school, _)| *school == at) {
            self.tally += *tally;
            self.enrolments.add(*tally);
            possible_here |= tally.possible > 0;
        }
        let possible = registers.iter().filter(|(_, tally)| tally.possible > 0);
        let first = possible.map(|(school, _)| *school).min();
        if possible_here && (whole == Whole::School || first == Some(at)) {
            self.pupils.add(registers.iter().map(|(_, tally)| *tally).sum());
        }
    }
}

/// A part of a period: a week, or a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first day.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
}

/// The sessions of a register that belong to a part of a period, as runs of places.
pub type Places = Vec<Range<usize>>;

/// The places of the days of a year from one to another, both included.
pub fn places_of(year: AcademicYear, days: &RangeInclusive<NaiveDate>) -> Range<usize> {
    let from = year.sessions_to(*days.start()).saturating_sub(2);
    from..year.sessions_to(*days.end()).max(from)
}

/// The weeks, Monday to Sunday, of the days of a year from one to another, with the places that lie within both.
pub fn weeks_of(year: AcademicYear, days: &RangeInclusive<NaiveDate>) -> Vec<(Span, Places)> {
    let mut weeks = Vec::new();
    let mut monday = monday_of(*days.start());
    while monday <= *days.end() {
        let span = Span {
            first: monday,
            last: monday + Days::new(6),
        };
        let within = span.first.max(*days.start())..=span.last.min(*days.end());
        weeks.push((span, vec![places_of(year, &within)]));
        monday = monday + Days::new(7);
    }
    weeks
}

/// The terms of a school's year by name, each with the places that lie between two days, both included; and the places of the
/// days that belong to no term.
pub fn terms_of(
    calendar: &Calendar,
    year: AcademicYear,
    days: &RangeInclusive<NaiveDate>,
) -> (BTreeMap<String, (Span, Places)>, Places) {
    let mut terms: BTreeMap<String, (Span, Places)> = BTreeMap::new();
    let mut outside = Vec::new();
    let mut parts: Vec<_> = calendar
        .year(year)
        .map_or(&[][..], |of_year| &of_year.terms)
        .iter()
        .collect();
    parts.sort_by_key(|part| part.first);
    let whole = places_of(year, days);
    let mut before = whole.start;
    for part in parts {
        let span = Span {
            first: part.first,
            last: part.last,
        };
        let (known, places) = terms.entry(part.name.clone()).or_insert((span, Vec::new()));
        known.first = known.first.min(span.first);
        known.last = known.last.max(span.last);
        let within = places_of(year, &(span.first..=span.last));
        // Parts that overlap count their days to the first.
        let within = within.start.clamp(before, whole.end)..within.end.clamp(before, whole.end);
        if before < within.start {
            outside.push(before..within.start);
        }
        before = before.max(within.end);
        places.push(within);
    }
    if before < whole.end {
        outside.push(before..whole.end);
    }
    (terms, outside)
}

/// The counts of the sessions at some places.
pub fn tally_of(prefix: &PrefixTallies, places: &[Range<usize>]) -> Tally {
    places.iter().map(|run| prefix.between(run.start, run.end)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn school(number: u128) -> SchoolId {
        SchoolId(uuid::Uuid::from_u128(number))
    }

    fn counts(attended: u64, possible: u64) -> Tally {
        Tally {
            attended,
            possible,
            ..Tally::default()
        }
    }

    #[test]
    fn a_pupil_who_moved_counts_once_as_a_pupil_and_twice_as_enrolments() {
        // 20 of 20, then 10 of 20: over both 30 of 40, persistent; alone the second is severe.
        let registers = [(school(1), counts(20, 20)), (school(2), counts(10, 20))];
        let mut trust = AttendanceCounts::default();
        for at in [school(1), school(2)] {
            trust.add_pupil(at, Whole::Trust, &registers);
        }
        let absence = |with_sessions, persistent, severe| AbsenceCounts {
            with_sessions,
            persistent,
            severe,
        };
        assert_eq!(
            (trust.tally, trust.pupils, trust.enrolments),
            (counts(30, 40), absence(1, 1, 0), absence(2, 1, 1))
        );
        let mut first = AttendanceCounts::default();
        first.add_pupil(school(1), Whole::School, &registers);
        assert_eq!(
            (first.tally, first.pupils, first.enrolments),
            (counts(20, 20), absence(1, 1, 0), absence(1, 0, 0))
        );
    }

    #[test]
    fn an_enrolment_without_a_possible_session_is_no_base_of_a_share() {
        let registers = [(school(1), counts(0, 0)), (school(2), counts(9, 10))];
        let mut trust = AttendanceCounts::default();
        for at in [school(1), school(2)] {
            trust.add_pupil(at, Whole::Trust, &registers);
        }
        assert_eq!((trust.pupils.with_sessions, trust.enrolments.with_sessions), (1, 1));
        let mut first = AttendanceCounts::default();
        first.add_pupil(school(1), Whole::School, &registers);
        assert_eq!(first, AttendanceCounts::default());
    }
}
