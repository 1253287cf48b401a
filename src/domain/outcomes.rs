//! Attendance before and after: by how much it differs between the weeks before a day and the weeks after it, and how that
//! spreads over pupils. Facts alone: that one thing came after another does not say that it came of it.

use std::cmp::Ordering;

use chrono::{Days, NaiveDate};

use super::identifiers::SchoolId;
use super::session::AcademicYear;
use super::stage::Stage;
use super::tally::{PrefixTallies, Tally};

/// The most weeks on either side of a day.
pub const WEEKS_MAX: u32 = 20;

/// The most sessions of one span: more than any pupil has, and few enough that nothing overflows.
const SESSIONS_MOST: u64 = 4096;

/// Days in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: NaiveDate,
    /// The last.
    pub last: NaiveDate,
}

/// So many weeks before a day, and as many after it. The day itself is in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// Those before.
    pub before: Span,
    /// Those after.
    pub after: Span,
}

impl Spans {
    /// The spans of so many weeks around a day.
    pub fn around(day: NaiveDate, weeks: u32) -> Spans {
        let days = 7 * u64::from(weeks.min(WEEKS_MAX));
        let back = |days| day.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN);
        let on = |days| day.checked_add_days(Days::new(days)).unwrap_or(NaiveDate::MAX);
        Spans {
            before: Span {
                first: back(days),
                last: back(1),
            },
            after: Span {
                first: on(1),
                last: on(days),
            },
        }
    }

    /// Whether both are over at the end of a day.
    pub fn over_by(&self, today: NaiveDate) -> bool {
        self.after.last <= today
    }
}

/// A difference of two shares of sessions, exact. One of 1/100 is one percentage point.
#[derive(Clone, Copy, Debug)]
pub struct Points {
    numerator: i128,
    /// Above 0.
    denominator: i128,
}

impl Points {
    /// By how much attendance after differs from that before; nothing where either has no possible session, or more than any
    /// pupil has.
    pub fn of(before: Tally, after: Tally) -> Option<Points> {
        let fits = |tally: Tally| (1..=SESSIONS_MOST).contains(&tally.possible) && tally.attended <= tally.possible;
        if !fits(before) || !fits(after) {
            return None;
        }
        let [a1, p1, a2, p2] = [before.attended, before.possible, after.attended, after.possible].map(i128::from);
        Some(Points {
            numerator: a2 * p1 - a1 * p2,
            denominator: p1 * p2,
        })
    }

    /// In tenths of a percentage point, halves rounded away from 0.
    pub fn tenths(self) -> i64 {
        let (scaled, denominator) = (self.numerator.abs() * 1000, self.denominator);
        let rounded = (2 * scaled + denominator) / (2 * denominator);
        // A share differs from another by 1 at the most.
        let rounded = i64::try_from(rounded).unwrap_or(i64::MAX);
        if self.numerator < 0 { -rounded } else { rounded }
    }

    /// For display: `+1.5`, `-0.3`, `0.0`.
    pub fn text(self) -> String {
        let tenths = self.tenths();
        let sign = match tenths.cmp(&0) {
            Ordering::Less => "-",
            Ordering::Equal => "",
            Ordering::Greater => "+",
        };
        format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
    }

    /// What lies so many quarters of the way to another.
    fn towards(self, other: Points, quarters: i128) -> Points {
        let (from, to) = (self.numerator * other.denominator, other.numerator * self.denominator);
        Points {
            numerator: (4 - quarters) * from + quarters * to,
            denominator: 4 * self.denominator * other.denominator,
        }
    }
}

impl PartialEq for Points {
    fn eq(&self, other: &Points) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Points {}

impl PartialOrd for Points {
    fn partial_cmp(&self, other: &Points) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Points {
    fn cmp(&self, other: &Points) -> Ordering {
        (self.numerator * other.denominator).cmp(&(other.numerator * self.denominator))
    }
}

/// How differences spread: the middle one, and those a quarter and three quarters of the way up. Between two of them it is what
/// lies in proportion between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The lower quartile.
    pub lower_quartile: Points,
    /// The median.
    pub median: Points,
    /// The upper quartile.
    pub upper_quartile: Points,
}

impl Spread {
    /// The spread of differences; nothing where there are none.
    pub fn of(mut points: Vec<Points>) -> Option<Spread> {
        points.sort_unstable();
        let last = points.len().checked_sub(1)?;
        let quartile = |quarter: usize| {
            let (place, quarters) = (last * quarter / 4, last * quarter % 4);
            let (below, above) = (points[place], points[(place + 1).min(last)]);
            // Below 4.
            below.towards(above, quarters as i128)
        };
        Some(Spread {
            lower_quartile: quartile(1),
            median: quartile(2),
            upper_quartile: quartile(3),
        })
    }
}

/// Pupils' attendance before and after, and how it differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// The counts of all of them before.
    pub before: Tally,
    /// The counts of all of them after.
    pub after: Tally,
    /// By how much that of each differs.
    pub points: Vec<Points>,
}

impl Compared {
    /// Adds a pupil. Says whether that could be: not where nothing was possible before or after.
    pub fn add(&mut self, (before, after): (Tally, Tally)) -> bool {
        let Some(points) = Points::of(before, after) else {
            return false;
        };
        self.before += before;
        self.after += after;
        self.points.push(points);
        true
    }
}

/// An enrolment, as far as it says where a pupil is on roll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnRoll {
    /// The school.
    pub school: SchoolId,
    /// The first day.
    pub start: NaiveDate,
    /// The last day.
    pub end: Option<NaiveDate>,
}

/// What has to be known of a pupil.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Moves between stages, in the order in which they were recorded: the day, and the stage after.
    pub moves: Vec<(NaiveDate, Stage)>,
    /// Enrolments.
    pub enrolments: Vec<OnRoll>,
    /// Marks by academic year, a register each.
    pub registers: Vec<(AcademicYear, PrefixTallies)>,
}

impl History {
    /// The stage at the end of a day, as it had been recorded by then.
    pub fn stage_on(&self, day: NaiveDate) -> Stage {
        let recorded = self.moves.iter().rev().find(|(recorded, _)| *recorded <= day);
        recorded.map_or(Stage::Universal, |(_, stage)| *stage)
    }

    /// The school at which the pupil is on roll on a day: of two the first, in the order of their identifiers.
    pub fn school_on(&self, day: NaiveDate) -> Option<SchoolId> {
        let on_roll = self
            .enrolments
            .iter()
            .filter(|at| at.start <= day && at.end.is_none_or(|end| end >= day));
        on_roll.map(|at| at.school).min_by_key(|school| school.0)
    }

    /// The counts of a span, over all registers.
    pub fn tally_of(&self, span: Span) -> Tally {
        let of_register = self.registers.iter().map(|(year, marks)| {
            let before_first = span.first.pred_opt().unwrap_or(NaiveDate::MIN);
            marks.between(year.sessions_to(before_first), year.sessions_to(span.last))
        });
        of_register.sum()
    }

    /// The counts before and after a day.
    pub fn around(&self, spans: Spans) -> (Tally, Tally) {
        (self.tally_of(spans.before), self.tally_of(spans.after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn tally(attended: u64, possible: u64) -> Tally {
        Tally {
            attended,
            possible,
            authorised: 0,
            unauthorised: possible - attended,
        }
    }

    /// Attendance before and after, of whose fractions the least common denominator is small.
    fn tallies() -> impl Strategy<Value = (Tally, Tally)> {
        let one =
            || (1u64..=12).prop_flat_map(|possible| (0..=possible).prop_map(move |attended| tally(attended, possible)));
        (one(), one())
    }

    /// 12! / 1: every difference of twelfths and below is a whole number of these, and a quarter of one as well.
    const WHOLE: i128 = 4 * 27_720 * 27_720;

    fn naive(before: Tally, after: Tally) -> i128 {
        let share = |tally: Tally| i128::from(tally.attended) * WHOLE / i128::from(tally.possible);
        share(after) - share(before)
    }

    fn whole(points: Points) -> i128 {
        assert_eq!(points.numerator * WHOLE % points.denominator, 0);
        points.numerator * WHOLE / points.denominator
    }

    #[test]
    fn differences_are_rounded_for_display_alone() {
        let text = |before, after| Points::of(before, after).unwrap().text();
        assert_eq!(text(tally(8, 10), tally(19, 20)), "+15.0");
        assert_eq!(text(tally(19, 20), tally(8, 10)), "-15.0");
        assert_eq!(text(tally(2, 3), tally(2, 3)), "0.0");
        // 1/2000 is half of a tenth of a point: away from 0, on either side.
        assert_eq!(text(tally(0, 1000), tally(1, 2000)), "+0.1");
        assert_eq!(text(tally(1, 2000), tally(0, 1000)), "-0.1");
        assert_eq!(text(tally(0, 1000), tally(1, 2001)), "0.0");
        assert_eq!(Points::of(tally(0, 0), tally(1, 1)), None);
        assert_eq!(Points::of(tally(1, 1), tally(0, 0)), None);
        assert!(Points::of(tally(0, 4096), tally(4096, 4096)).is_some());
        assert_eq!(Points::of(tally(0, 1), tally(4097, 4097)), None);
    }

    #[test]
    fn the_day_itself_is_neither_before_nor_after() {
        let spans = Spans::around(day("2025-11-12"), 2);
        assert_eq!(
            (spans.before.first, spans.before.last),
            (day("2025-10-29"), day("2025-11-11"))
        );
        assert_eq!(
            (spans.after.first, spans.after.last),
            (day("2025-11-13"), day("2025-11-26"))
        );
        assert!(!spans.over_by(day("2025-11-25")) && spans.over_by(day("2025-11-26")));
    }

    #[test]
    fn the_stage_and_the_school_are_those_of_the_day() {
        let school = |number| SchoolId(uuid::Uuid::from_u128(number));
        let at = |number, start, end: &str| OnRoll {
            school: school(number),
            start: day(start),
            end: (!end.is_empty()).then(|| day(end)),
        };
        let history = History {
            // The second was recorded on the day of the first, after it.
            moves: vec![
                (day("2025-09-10"), Stage::Four),
                (day("2025-09-10"), Stage::Two),
                (day("2025-10-01"), Stage::Universal),
            ],
            enrolments: vec![at(2, "2025-09-01", "2025-09-30"), at(1, "2025-09-15", "")],
            registers: vec![],
        };
        let stages = ["2025-09-09", "2025-09-10", "2025-09-30", "2025-10-01"].map(|text| history.stage_on(day(text)));
        assert_eq!(stages, [Stage::Universal, Stage::Two, Stage::Two, Stage::Universal]);
        let schools = ["2025-08-31", "2025-09-14", "2025-09-15", "2025-10-01"].map(|text| history.school_on(day(text)));
        assert_eq!(schools, [None, Some(school(2)), Some(school(1)), Some(school(1))]);
    }

    proptest! {
        #[test]
        fn a_difference_is_that_of_the_shares((before, after) in tallies(), (earlier, later) in tallies()) {
            let (one, other) = (Points::of(before, after).unwrap(), Points::of(earlier, later).unwrap());
            prop_assert_eq!(whole(one), naive(before, after));
            prop_assert_eq!(one.cmp(&other), naive(before, after).cmp(&naive(earlier, later)));
            let tenths = naive(before, after) * 1000;
            let off = (i128::from(one.tenths()) * WHOLE - tenths).abs();
            prop_assert!(2 * off <= WHOLE);
        }

        #[test]
        fn the_spread_is_that_of_the_sorted_differences(all in prop::collection::vec(tallies(), 1..40)) {
            let points = all.iter().map(|(before, after)| Points::of(*before, *after).unwrap());
            let spread = Spread::of(points.collect()).unwrap();
            let mut sorted: Vec<i128> = all.iter().map(|(before, after)| naive(*before, *after)).collect();
            sorted.sort_unstable();
            // Every difference four times over: between two of them are three more places, each a quarter further on.
            let mut places = Vec::new();
            for pair in sorted.windows(2) {
                places.extend((0..4).map(|quarters| pair[0] * 4 + (pair[1] - pair[0]) * quarters));
            }
            places.extend(sorted.last().map(|last| last * 4));
            let quartile = |quarter: usize| places[(sorted.len() - 1) * quarter];
            for (found, quarter) in [(spread.lower_quartile, 1), (spread.median, 2), (spread.upper_quartile, 3)] {
                prop_assert_eq!(found.numerator * 4 * WHOLE, quartile(quarter) * found.denominator);
            }
        }

        #[test]
        fn a_span_counts_the_marks_of_its_days_over_the_years(
            marks in prop::collection::vec(0u8..=38, 0..732),
            next in prop::collection::vec(0u8..=38, 0..200),
            first in 0u64..400,
            length in 0u64..200,
        ) {
            let years = [2024, 2025].map(|year| AcademicYear::from_start_year(year).unwrap());
            let first = years[0].first_day() + Days::new(first);
            let span = Span { first, last: first + Days::new(length) };
            let registers = years.into_iter().zip([&marks, &next]);
            let history = History {
                registers: registers.clone().map(|(year, marks)| {
                    let marks = &marks[..marks.len().min(year.sessions())];
                    (year, PrefixTallies::of_marks(marks))
                }).collect(),
                ..History::default()
            };
            let mut naive = Tally::default();
            for (year, marks) in registers {
                for (index, mark) in marks.iter().enumerate().take(year.sessions()) {
                    if (span.first..=span.last).contains(&year.session_at(index).date) {
                        naive += Tally::of_mark(*mark);
                    }
                }
            }
            prop_assert_eq!(history.tally_of(span), naive);
        }
    }
}
