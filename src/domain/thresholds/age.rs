//! Compulsory school age. Source: Education Act 1996 s.8 and the orders under it.

use std::ops::Range;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::domain::session::AcademicYear;

/// From when to when a child is of compulsory school age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompulsoryAge {
    from: NaiveDate,
    to: NaiveDate,
}

impl CompulsoryAge {
    /// Of a child of whom nothing is known.
    pub(super) const ALWAYS: CompulsoryAge = CompulsoryAge {
        from: NaiveDate::MIN,
        to: NaiveDate::MAX,
    };

    /// Of a child born on a day; always, where no day is given.
    pub fn of(born: Option<NaiveDate>) -> CompulsoryAge {
        born.map_or(CompulsoryAge::ALWAYS, |born| CompulsoryAge {
            from: begins(born),
            to: ends(born),
        })
    }

    /// Whether the child is of compulsory school age on a day.
    pub fn covers(self, date: NaiveDate) -> bool {
        self.from <= date && date <= self.to
    }

    /// The places of a year's register on whose days the child is of compulsory school age.
    pub(super) fn places(self, year: AcademicYear) -> Range<usize> {
        let before = self.from.pred_opt().map_or(0, |before| year.sessions_to(before));
        before..year.sessions_to(self.to)
    }
}

/// A birthday; for one on 29 February in a common year 1 March, on which the child is a year older.
fn birthday(born: NaiveDate, years: i32) -> NaiveDate {
    let year = born.year() + years;
    let day = born.with_year(year).or_else(|| NaiveDate::from_ymd_opt(year, 3, 1));
    day.unwrap_or(born)
}

/// The first of 31 August, 31 December and 31 March on or after the fifth birthday.
fn begins(born: NaiveDate) -> NaiveDate {
    let fifth = birthday(born, 5);
    let days = [(0, 3, 31), (0, 8, 31), (0, 12, 31), (1, 3, 31)];
    let days = days
        .into_iter()
        .filter_map(|(later, month, day)| NaiveDate::from_ymd_opt(fifth.year() + later, month, day));
    days.into_iter().find(|day| *day >= fifth).unwrap_or(fifth)
}

/// The last Friday of June of the school year, September to August, in which the child turns sixteen.
fn ends(born: NaiveDate) -> NaiveDate {
    let sixteenth = birthday(born, 16);
    let june_of = sixteenth.year() + i32::from(sixteenth.month() >= 9);
    let last = NaiveDate::from_ymd_opt(june_of, 6, 30).unwrap_or(sixteenth);
    let since_friday = last.weekday().days_since(Weekday::Fri);
    last - Days::new(u64::from(since_friday))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn it_begins_on_the_day_on_or_after_the_fifth_birthday() {
        for (born, first) in [
            ("2020-08-31", "2025-08-31"),
            ("2020-09-01", "2025-12-31"),
            ("2020-12-31", "2025-12-31"),
            ("2021-01-01", "2026-03-31"),
            ("2021-03-31", "2026-03-31"),
            ("2021-04-01", "2026-08-31"),
            ("2020-02-29", "2025-03-31"),
        ] {
            let age = CompulsoryAge::of(Some(date(born)));
            assert!(
                age.covers(date(first)) && !age.covers(date(first).pred_opt().unwrap()),
                "{born}"
            );
        }
    }

    #[test]
    fn it_ends_on_the_last_friday_of_june_of_the_school_year_of_the_sixteenth_birthday() {
        for (born, last) in [
            ("2009-09-01", "2026-06-26"),
            ("2010-08-31", "2026-06-26"),
            ("2010-06-27", "2026-06-26"),
            ("2010-09-01", "2027-06-25"),
        ] {
            let age = CompulsoryAge::of(Some(date(born)));
            assert!(
                age.covers(date(last)) && !age.covers(date(last).succ_opt().unwrap()),
                "{born}"
            );
        }
    }
}
