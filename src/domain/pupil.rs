//! Pupils' enrolments and year groups.

use chrono::NaiveDate;

use super::identifiers::SchoolId;

/// What sort of enrolment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EnrolmentKind {
    /// The pupil's only school.
    Sole,
    /// The main school of a dually registered pupil.
    Main,
    /// The other school of a dually registered pupil.
    Subsidiary,
}

impl EnrolmentKind {
    /// The number under which it is stored, and that of the contract's enum.
    pub const fn number(self) -> i16 {
        match self {
            EnrolmentKind::Sole => 1,
            EnrolmentKind::Main => 2,
            EnrolmentKind::Subsidiary => 3,
        }
    }

    /// The kind stored under a number.
    pub const fn from_number(number: i16) -> Option<EnrolmentKind> {
        match number {
            1 => Some(EnrolmentKind::Sole),
            2 => Some(EnrolmentKind::Main),
            3 => Some(EnrolmentKind::Subsidiary),
            _ => None,
        }
    }
}

/// A pupil at a school from a date to a date, both on roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnrolmentSpan {
    /// The school.
    pub school: SchoolId,
    /// Sole, main or subsidiary.
    pub kind: EnrolmentKind,
    /// The first day on roll.
    pub start: NaiveDate,
    /// The last day on roll; nothing while the pupil is on roll.
    pub end: Option<NaiveDate>,
}

impl EnrolmentSpan {
    /// Whether the pupil is on roll on a day: the first and the last day both are.
    pub fn on_roll(&self, date: NaiveDate) -> bool {
        date >= self.start && self.end.is_none_or(|end| date <= end)
    }

    fn overlaps(&self, other: &EnrolmentSpan) -> bool {
        self.end.is_none_or(|end| end >= other.start) && other.end.is_none_or(|end| end >= self.start)
    }

    /// Whether two enrolments of one pupil may stand side by side: they do not overlap, or are main and subsidiary at two
    /// schools.
    pub fn compatible(&self, other: &EnrolmentSpan) -> bool {
        let dual = matches!(
            (self.kind, other.kind),
            (EnrolmentKind::Main, EnrolmentKind::Subsidiary) | (EnrolmentKind::Subsidiary, EnrolmentKind::Main)
        );
        !self.overlaps(other) || (dual && self.school != other.school)
    }
}

/// The enrolment by whose school's calendar and policy a day is judged: the one on roll, main or sole before subsidiary;
/// where none is, the last that ended before the day, and else the first to come.
pub fn home<'s>(
    enrolments: impl Iterator<Item = &'s EnrolmentSpan> + Clone,
    date: NaiveDate,
) -> Option<&'s EnrolmentSpan> {
    let on_roll = enrolments.clone().filter(|span| span.on_roll(date));
    on_roll
        .min_by_key(|span| span.kind == EnrolmentKind::Subsidiary)
        .or_else(|| {
            enrolments
                .clone()
                .filter(|span| span.start <= date)
                .max_by_key(|span| span.end)
        })
        .or_else(|| enrolments.min_by_key(|span| span.start))
}

/// The first pair of enrolments, by place, that may not stand side by side.
pub fn incompatible_pair(enrolments: &[EnrolmentSpan]) -> Option<(usize, usize)> {
    (0..enrolments.len())
        .flat_map(|second| (0..second).map(move |first| (first, second)))
        .find(|(first, second)| !enrolments[*first].compatible(&enrolments[*second]))
}

/// National curriculum year groups as text, by the number of the contract's enum less one.
pub const YEAR_GROUPS: [&str; 17] = [
    "N1", "N2", "R", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn span(school: u128, kind: EnrolmentKind, start: &str, end: &str) -> EnrolmentSpan {
        EnrolmentSpan {
            school: SchoolId(uuid::Uuid::from_u128(school)),
            kind,
            start: start.parse().unwrap(),
            end: end.parse().ok(),
        }
    }

    #[test]
    fn enrolments_may_overlap_only_as_main_and_subsidiary_at_two_schools() {
        use EnrolmentKind::{Main, Sole, Subsidiary};
        let main = span(1, Main, "2025-09-01", "");
        assert!(main.compatible(&span(2, Subsidiary, "2025-09-01", "")));
        assert!(!main.compatible(&span(1, Subsidiary, "2025-09-01", "")));
        assert!(!main.compatible(&span(2, Main, "2025-09-01", "")));
        assert!(!main.compatible(&span(2, Sole, "2026-01-01", "")));
        let left = span(1, Sole, "2025-09-01", "2025-10-24");
        assert!(!left.compatible(&span(2, Sole, "2025-10-24", "")));
        assert!(left.compatible(&span(2, Sole, "2025-10-25", "")));
        assert_eq!(incompatible_pair(&[left, main]), Some((0, 1)));
        assert_eq!(incompatible_pair(&[left]), None);
    }

    #[test]
    fn the_first_and_the_last_day_are_on_roll() {
        let one_day = span(1, EnrolmentKind::Sole, "2026-01-06", "2026-01-06");
        let on_roll = |date: &str| one_day.on_roll(date.parse().unwrap());
        assert!(!on_roll("2026-01-05") && on_roll("2026-01-06") && !on_roll("2026-01-07"));
    }
}
