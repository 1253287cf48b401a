//! A record as thresholds see it: the marks of a year at all schools, and the school days and weeks where they decide.

use std::cell::OnceCell;

use chrono::{Datelike, Days, NaiveDate};

use super::marks::Line;
use crate::domain::calendar::{Calendars, DayKind};
use crate::domain::pupil::home;
use crate::domain::record::PupilRecord;
use crate::domain::session::AcademicYear;

/// The year that is looked at, and what else of the record bears on it.
pub(super) struct Timeline<'r> {
    record: &'r PupilRecord<'r>,
    calendars: &'r Calendars,
    /// The marks of the year.
    pub line: Line<'r>,
    days: OnceCell<SchoolDays>,
}

impl<'r> Timeline<'r> {
    pub fn new(record: &'r PupilRecord<'r>, calendars: &'r Calendars, year: AcademicYear) -> Timeline<'r> {
        Timeline {
            record,
            calendars,
            line: Line::new(record, year),
            days: OnceCell::new(),
        }
    }

    pub const fn year(&self) -> AcademicYear {
        self.line.year
    }

    /// The school days of the year. Few ask for them: whoever does not has no calendar looked at.
    pub fn days(&self) -> &SchoolDays {
        self.days.get_or_init(|| self.days_since(self.year()))
    }

    /// The school days from the beginning of a year to the end of the one that is looked at.
    pub fn days_since(&self, first: AcademicYear) -> SchoolDays {
        SchoolDays::new(self.record, self.calendars, first, self.year())
    }

    /// The marks of the years before, in order.
    pub fn lines_before(&self) -> Vec<Line<'r>> {
        let registers = self.record.enrolments.iter().flat_map(|enrolment| &enrolment.registers);
        let years = registers.map(|(year, _)| *year).filter(|year| *year < self.year());
        let mut years: Vec<AcademicYear> = years.collect();
        years.sort_unstable();
        years.dedup();
        years.into_iter().map(|year| Line::new(self.record, year)).collect()
    }
}

/// The school is open.
const OPEN: u8 = 1;
/// It is, or may yet be: where no calendar is given, on any Monday to Friday.
const MAY_OPEN: u8 = 2;

/// What is known of each day at the school where the pupil is then on roll; a day without one is no school day.
pub(super) struct SchoolDays {
    first: NaiveDate,
    days: Vec<u8>,
}

impl SchoolDays {
    fn new(record: &PupilRecord<'_>, calendars: &Calendars, first: AcademicYear, last: AcademicYear) -> SchoolDays {
        let years = first.start_year()..=last.start_year();
        let years = years.filter_map(|year| AcademicYear::from_start_year(i32::from(year)));
        let mut days = Vec::with_capacity(366);
        for year in years {
            let from = days.len();
            days.resize(from + year.sessions() / 2, 0);
            note_year(record, calendars, year, &mut days[from..]);
        }
        SchoolDays {
            first: first.first_day(),
            days,
        }
    }

    /// The place of a date; beyond all that is known for one before the first.
    pub fn place(&self, date: NaiveDate) -> usize {
        usize::try_from((date - self.first).num_days()).unwrap_or(usize::MAX)
    }

    fn flags(&self, place: usize) -> u8 {
        self.days.get(place).copied().unwrap_or(0)
    }

    /// Whether a day is a school day.
    pub fn is_open(&self, place: usize) -> bool {
        self.flags(place) & OPEN != 0
    }

    /// Whether it is, or may yet be.
    pub fn may_open(&self, place: usize) -> bool {
        self.flags(place) & MAY_OPEN != 0
    }

    /// The numbers of the school weeks.
    pub fn weeks(&self) -> Weeks {
        let before_monday = self.first.weekday().num_days_from_monday() as usize;
        let (head, rest) = self.days.split_at((7 - before_monday).min(self.days.len()));
        let mut number = 0;
        let numbers = std::iter::once(head).chain(rest.chunks(7)).map(|week| {
            number += i32::from(week.iter().fold(0, |any, day| any | day) & OPEN != 0);
            number
        });
        Weeks {
            before_monday,
            numbers: numbers.collect(),
        }
    }
}

/// Notes the days of one year: of each stretch of it in which the same enrolments are on roll, at once.
fn note_year(record: &PupilRecord<'_>, calendars: &Calendars, year: AcademicYear, days: &mut [u8]) {
    let spans = || record.enrolments.iter().map(|enrolment| &enrolment.span);
    let place = |date: NaiveDate| {
        let days_in = (date - year.first_day()).num_days().max(0);
        usize::try_from(days_in).unwrap_or(0).min(days.len())
    };
    let ends = spans().filter_map(|span| span.end?.succ_opt());
    let mut bounds: Vec<usize> = spans().map(|span| span.start).chain(ends).map(place).collect();
    bounds.extend([0, days.len()]);
    bounds.sort_unstable();
    bounds.dedup();
    let weekday = year.first_day().weekday().num_days_from_monday() as usize;
    for bounds in bounds.windows(2) {
        let (from, to) = (bounds[0], bounds[1]);
        let date = year.first_day() + Days::new(from as u64);
        let Some(at) = home(spans().filter(|span| span.on_roll(date)), date) else {
            continue;
        };
        let known = calendars.of(at.school).year(year);
        let kinds = known.map_or(&[][..], |known| known.days.as_slice());
        for (day, kind) in days[from..to].iter_mut().zip(kinds.get(from..).unwrap_or_default()) {
            if *kind == DayKind::School.byte() {
                *day = OPEN | MAY_OPEN;
            }
        }
        if known.is_none_or(|known| !known.given) {
            for (place, day) in days[from..to].iter_mut().enumerate() {
                if (weekday + from + place) % 7 < 5 {
                    *day |= MAY_OPEN;
                }
            }
        }
    }
}

/// The numbers of school weeks, which are only ever compared with each other. A week that is none has that of the one before.
pub(super) struct Weeks {
    /// How many days lie between the Monday of the first week and the first day.
    before_monday: usize,
    numbers: Vec<i32>,
}

impl Weeks {
    /// The number of the week of a day.
    pub fn of(&self, place: usize) -> i32 {
        let week = (place + self.before_monday) / 7;
        self.numbers.get(week).or(self.numbers.last()).copied().unwrap_or(0)
    }
}
