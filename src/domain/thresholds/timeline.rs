//! A record as one line of days: what was marked on each at all schools, and the school weeks.

use chrono::{Datelike, Days, NaiveDate};

use crate::domain::calendar::{Calendars, monday_of};
use crate::domain::code::{AttendanceCode, Category};
use crate::domain::pupil::home;
use crate::domain::record::PupilRecord;
use crate::domain::session::{AcademicYear, Session, SessionHalf};

/// What the marks of one session come to, over all schools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marked {
    /// The codes of possible sessions.
    pub possible: Vec<AttendanceCode>,
    /// Whether anything else was marked: a code of a session that was not possible, or an administrative one.
    pub other: bool,
}

impl Marked {
    /// Whether nothing was marked.
    pub fn nothing(&self) -> bool {
        self.possible.is_empty() && !self.other
    }

    pub fn attended(&self) -> usize {
        self.possible.iter().filter(|code| code.category().attended()).count()
    }
}

/// One day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub date: NaiveDate,
    /// Morning and afternoon.
    pub halves: [Marked; 2],
    /// Whether the school where the pupil is then on roll is open.
    pub open: bool,
    /// Whether it is, or may yet be: where no calendar is given, on any Monday to Friday.
    pub may_open: bool,
    /// The number of the school week to which the day belongs; of a week that is none, that of the one before.
    pub week: i32,
}

/// The days of a year, and of every year before it from the first of which there are marks.
pub(super) struct Timeline {
    pub year: AcademicYear,
    pub days: Vec<Day>,
}

/// A session with what it was marked as.
#[derive(Clone, Copy)]
pub(super) struct SessionOf<'a> {
    pub session: Session,
    pub day: &'a Day,
    pub marked: &'a Marked,
}

impl Timeline {
    pub fn new(record: &PupilRecord<'_>, calendars: &Calendars, year: AcademicYear) -> Timeline {
        let registers = record.enrolments.iter().flat_map(|enrolment| &enrolment.registers);
        let first = registers
            .map(|(of, _)| of.start_year())
            .min()
            .unwrap_or(year.start_year());
        let years = (first.min(year.start_year())..=year.start_year())
            .filter_map(|start_year| AcademicYear::from_start_year(i32::from(start_year)));
        let mut days = Vec::with_capacity(2 * 366);
        for of in years {
            let registers: Vec<_> = record.enrolments.iter().map(|enrolment| enrolment.marks(of)).collect();
            let longest = registers.iter().map(|marks| marks.len()).max().unwrap_or(0);
            // A year before without marks tells of nothing, and weeks are only ever compared with each other.
            if longest == 0 && of != year {
                continue;
            }
            for place in 0..of.sessions() / 2 {
                let date = of.first_day() + Days::new(place as u64);
                let mut halves = [Marked::default(), Marked::default()];
                if 2 * place < longest {
                    for (half, marked) in halves.iter_mut().enumerate() {
                        for marks in &registers {
                            let mark = marks.get(2 * place + half).copied().unwrap_or(0);
                            match AttendanceCode::from_byte(mark) {
                                Some(code) if code.category().possible() => marked.possible.push(code),
                                Some(_) => marked.other = true,
                                None => {}
                            }
                        }
                    }
                }
                let spans = record.enrolments.iter().map(|enrolment| &enrolment.span);
                let on_roll = spans.filter(|span| span.on_roll(date));
                let school = home(on_roll, date).map(|span| span.school);
                let calendar = school.map(|school| calendars.of(school));
                let open = calendar.is_some_and(|calendar| calendar.is_open(date));
                let drawn = calendar.is_some_and(|calendar| calendar.year(of).is_none_or(|year| !year.given));
                days.push(Day {
                    date,
                    halves,
                    open,
                    may_open: open || (drawn && date.weekday().number_from_monday() <= 5),
                    week: 0,
                });
            }
        }
        number_weeks(&mut days);
        Timeline { year, days }
    }

    /// The sessions of the days from one to another, both included, in order.
    pub fn sessions(&self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = SessionOf<'_>> {
        let days = self.days.iter().filter(move |day| day.date >= from && day.date <= to);
        days.flat_map(|day| {
            let halves = [SessionHalf::Am, SessionHalf::Pm].into_iter().zip(&day.halves);
            halves.map(move |(half, marked)| SessionOf {
                session: Session { date: day.date, half },
                day,
                marked,
            })
        })
    }

    /// The sessions of the academic year, up to a day.
    pub fn sessions_of_year(&self, to: NaiveDate) -> impl Iterator<Item = SessionOf<'_>> {
        self.sessions(self.year.first_day(), to)
    }
}

fn number_weeks(days: &mut [Day]) {
    let mut week = 0;
    let mut from = 0;
    while from < days.len() {
        let monday = monday_of(days[from].date);
        let to = days[from..].iter().position(|day| monday_of(day.date) != monday);
        let to = to.map_or(days.len(), |length| from + length);
        week += i32::from(days[from..to].iter().any(|day| day.open));
        for day in &mut days[from..to] {
            day.week = week;
        }
        from = to;
    }
}

/// Whether a code is one of unauthorised absence: G, N, O or U.
pub(super) fn unauthorised(code: AttendanceCode) -> bool {
    code.category() == Category::UnauthorisedAbsence
}
