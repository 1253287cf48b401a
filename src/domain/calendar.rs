//! School calendars: the days on which a school is open, its terms, and what follows from them.
//!
//! A *school day* is a day on which the school holds at least one session (Education Act 1996 s.579). A *school week* is
//! Monday to Sunday with at least one school day in it: a week of INSET alone is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::{Datelike, Days, NaiveDate};
use serde::{Deserialize, Serialize};

use super::identifiers::SchoolId;
use super::session::AcademicYear;

/// The most days that an academic year can have.
pub const DAYS_MAX: usize = 366;

/// Without a calendar, terms are told apart by so many days in a row without a mark: more than a half term's nine, fewer
/// than the sixteen of Christmas.
const DAYS_BETWEEN_TERMS: i64 = 13;

/// What a calendar says of a day. A day of which it says nothing is no school day: a weekend, a holiday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DayKind {
    /// The school is open to pupils.
    School = 1,
    /// Staff are in, pupils are not: in-service training.
    Inset = 2,
    /// Closed on what would have been a school day: a bank holiday, an election, a planned closure.
    Closure = 3,
}

impl DayKind {
    /// The kind that is stored as a byte; nothing for 0, no school day.
    pub const fn from_byte(byte: u8) -> Option<DayKind> {
        match byte {
            1 => Some(DayKind::School),
            2 => Some(DayKind::Inset),
            3 => Some(DayKind::Closure),
            _ => None,
        }
    }

    /// The byte under which it is stored.
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// A part of a term without a break: a whole term, or the half before or after half term. Parts of one term share its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Term {
    /// The name, for example `autumn`.
    pub name: String,
    /// The first day, INSET or not.
    pub first: NaiveDate,
    /// The last day.
    pub last: NaiveDate,
}

/// One academic year of a school's calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarYear {
    /// The year.
    pub year: AcademicYear,
    /// A byte a day from 1 August: [`DayKind::byte`], 0 for no school day. What is left off at the end is no school day.
    pub days: Vec<u8>,
    /// The terms, in the order of their first days.
    pub terms: Vec<Term>,
    /// Whether somebody gave it; otherwise it was drawn from the days on which the school has marks.
    pub given: bool,
}

impl CalendarYear {
    /// The calendar that follows from the sessions marked at a school, where nobody gave one: a byte or bit a day that is
    /// not 0 where any pupil has a mark.
    pub fn from_marked_days(year: AcademicYear, marked: impl IntoIterator<Item = NaiveDate>) -> CalendarYear {
        let mut days = vec![0; DAYS_MAX];
        for date in marked {
            if let Some(place) = place_of(year, date) {
                days[place] = DayKind::School.byte();
            }
        }
        CalendarYear {
            terms: terms_told_apart(open_days_of(year, &days)),
            year,
            days,
            given: false,
        }
    }
}

/// The terms that follow from the days on which a school is open or has INSET, in order: each a term of its own.
pub fn terms_told_apart(days: impl Iterator<Item = NaiveDate>) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    for date in days {
        match terms.last_mut() {
            Some(term) if (date - term.last).num_days() <= DAYS_BETWEEN_TERMS => term.last = date,
            _ => terms.push(Term {
                name: format!("term {}", terms.len() + 1),
                first: date,
                last: date,
            }),
        }
    }
    terms
}

/// The place of a day among the days of its year; nothing for a day of another year.
pub fn place_of(year: AcademicYear, date: NaiveDate) -> Option<usize> {
    let place = usize::try_from((date - year.first_day()).num_days()).ok()?;
    (date <= year.last_day()).then_some(place)
}

fn open_days_of(year: AcademicYear, days: &[u8]) -> impl Iterator<Item = NaiveDate> + '_ {
    let open = days
        .iter()
        .enumerate()
        .filter(|(_, kind)| **kind == DayKind::School.byte());
    open.filter_map(move |(place, _)| year.first_day().checked_add_days(Days::new(place as u64)))
}

/// The Monday of a date's week.
pub fn monday_of(date: NaiveDate) -> NaiveDate {
    date - Days::new(u64::from(date.weekday().num_days_from_monday()))
}

/// A school's calendar over the years that are known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    years: BTreeMap<AcademicYear, CalendarYear>,
}

impl Calendar {
    /// The calendar of some years. Of two of the same year the later one stands.
    pub fn new(years: impl IntoIterator<Item = CalendarYear>) -> Calendar {
        Calendar {
            years: years.into_iter().map(|year| (year.year, year)).collect(),
        }
    }

    /// One year of it.
    pub fn year(&self, year: AcademicYear) -> Option<&CalendarYear> {
        self.years.get(&year)
    }

    /// Whether somebody gave the calendar of a year.
    pub fn is_given(&self, year: AcademicYear) -> bool {
        self.years.get(&year).is_some_and(|year| year.given)
    }

    /// What it says of a day; nothing for a weekend, a holiday, or a year that is not known.
    pub fn kind(&self, date: NaiveDate) -> Option<DayKind> {
        let year = AcademicYear::containing(date)?;
        let place = place_of(year, date)?;
        DayKind::from_byte(*self.years.get(&year)?.days.get(place)?)
    }

    /// Whether the school is open to pupils on a day.
    pub fn is_open(&self, date: NaiveDate) -> bool {
        self.kind(date) == Some(DayKind::School)
    }

    /// The school days from one day to another, both included, in order.
    pub fn open_days(&self, dates: RangeInclusive<NaiveDate>) -> impl Iterator<Item = NaiveDate> + '_ {
        let (from, to) = dates.into_inner();
        self.years
            .values()
            .flat_map(|year| open_days_of(year.year, &year.days))
            .filter(move |date| *date >= from && *date <= to)
    }

    /// Whether the week of a day is a school week.
    pub fn is_school_week(&self, date: NaiveDate) -> bool {
        monday_of(date).iter_days().take(7).any(|day| self.is_open(day))
    }

    /// The first day of the last so many school weeks, the week of `as_of` among them where it is one. Stops at the first day
    /// of the academic year.
    pub fn first_day_of_last_weeks(&self, as_of: NaiveDate, weeks: u32) -> NaiveDate {
        let first_of_year = AcademicYear::clamped(as_of).first_day();
        let mut monday = monday_of(as_of);
        let mut left = weeks;
        loop {
            left -= u32::from(left > 0 && self.is_school_week(monday));
            if left == 0 || monday <= first_of_year {
                return monday.max(first_of_year);
            }
            monday = monday - Days::new(7);
        }
    }

    /// The first day of the term of a day: of the one that just ended where the day is in a holiday. Terms begin on their
    /// first day by the calendar, INSET or not; the parts before and after half term are one. 1 August where no term of the
    /// academic year has begun.
    pub fn first_day_of_term(&self, as_of: NaiveDate) -> NaiveDate {
        let year = AcademicYear::clamped(as_of);
        let terms = self.years.get(&year).map_or(&[][..], |year| year.terms.as_slice());
        let current = terms
            .iter()
            .filter(|term| term.first <= as_of)
            .max_by_key(|term| term.first);
        let first = current.and_then(|current| {
            let parts = terms.iter().filter(|term| term.name == current.name);
            parts.map(|term| term.first).min()
        });
        first.unwrap_or(year.first_day())
    }

    /// The day itself where the school is open on it, else the first day after it on which it is. In years of which nobody gave
    /// a calendar these are Monday to Friday.
    pub fn school_day_from(&self, from: NaiveDate) -> NaiveDate {
        let open = |date: &NaiveDate| {
            if AcademicYear::containing(*date).is_some_and(|year| self.is_given(year)) {
                self.is_open(*date)
            } else {
                date.weekday().num_days_from_monday() < 5
            }
        };
        // Of a year that was given with days to its end alone the next one has weekdays.
        from.iter_days().take(2 * DAYS_MAX).find(open).unwrap_or(from)
    }

    /// The first school day after a day, as far as the calendar goes.
    pub fn next_open_day(&self, after: NaiveDate) -> Option<NaiveDate> {
        let from = after.succ_opt()?;
        self.open_days(from..=NaiveDate::MAX).next()
    }
}

/// The calendars of a trust's schools. A school without one is never open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendars {
    by_school: HashMap<SchoolId, Arc<Calendar>>,
    none: Arc<Calendar>,
}

impl Calendars {
    /// The calendars of some schools.
    pub fn new(calendars: impl IntoIterator<Item = (SchoolId, Arc<Calendar>)>) -> Calendars {
        Calendars {
            by_school: calendars.into_iter().collect(),
            none: Arc::default(),
        }
    }

    /// The calendar of a school.
    pub fn of(&self, school: SchoolId) -> &Calendar {
        self.by_school.get(&school).unwrap_or(&self.none)
    }

    /// The years of which anything is known of any school.
    pub fn years(&self) -> BTreeSet<AcademicYear> {
        let calendars = self.by_school.values();
        calendars.flat_map(|calendar| calendar.years.keys().copied()).collect()
    }

    /// The calendar of a school, where there is a school.
    pub fn of_any(&self, school: Option<SchoolId>) -> &Calendar {
        school.map_or(&self.none, |school| self.of(school))
    }
}
