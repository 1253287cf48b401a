//! Calendars of the notation: the weekdays of the terms, less the days closed.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, Weekday};
use toml::Value;

use super::Misread;
use super::keys::{Keys, days_of};

/// A term, or the part of one before or after half term: parts share a name.
#[derive(Clone, Debug)]
pub struct CalendarTerm {
    pub name: String,
    pub first: NaiveDate,
    pub last: NaiveDate,
}

/// The calendar of a school.
#[derive(Clone, Debug, Default)]
pub struct Calendar {
    pub terms: Vec<CalendarTerm>,
    /// The school days.
    pub open: BTreeSet<NaiveDate>,
    /// Weekdays of the terms on which the school is closed: INSET and bank holidays.
    pub closed: BTreeSet<NaiveDate>,
}

impl Calendar {
    pub fn read(value: &Value) -> Result<Calendar, Misread> {
        let mut keys = Keys::of(value.as_table().ok_or("no table")?, "the calendar");
        let mut calendar = Calendar::default();
        for term in keys.texts("terms")? {
            let (name, range) = term.trim().split_once(' ').ok_or_else(|| format!("no term: {term}"))?;
            let days = days_of(range.trim())?;
            calendar.terms.push(CalendarTerm {
                name: name.to_owned(),
                first: days[0],
                last: days[days.len() - 1],
            });
            let weekend = |day: &NaiveDate| matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
            calendar.open.extend(days.into_iter().filter(|day| !weekend(day)));
        }
        let closed = keys.days("closed")?;
        keys.finish()?;
        Ok(calendar.with(&[], &closed))
    }

    /// This calendar with other school days.
    pub fn with(mut self, open: &[NaiveDate], closed: &[NaiveDate]) -> Calendar {
        for day in open {
            self.closed.remove(day);
            self.open.insert(*day);
        }
        for day in closed {
            if self.open.remove(day) {
                self.closed.insert(*day);
            }
        }
        self
    }
}
