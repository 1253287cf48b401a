//! A school year of made-up marks: always the same for the same pupil.

use chrono::{Datelike as _, Days, NaiveDate, Weekday};
use graduated_response::domain::code::AttendanceCode;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::error::BenchError;

/// The service's clock: after the year's last school day.
pub const CLOCK: &str = "2026-07-20T12:00:00Z";
/// The year in which the academic year begins.
pub const START_YEAR: i16 = 2025;
/// School days in a year.
pub const SCHOOL_DAYS: usize = 190;
/// Pupils in a school.
pub const PUPILS_IN_SCHOOL: usize = 1_000;

/// A year, a month and a day.
type Day = (i32, u32, u32);

/// The first school day, then first and last days of what is no school: half terms, Christmas, Easter, May Day.
const FIRST_DAY: Day = (2025, 9, 2);
const CLOSED: [(Day, Day); 6] = [
    ((2025, 10, 27), (2025, 10, 31)),
    ((2025, 12, 22), (2026, 1, 2)),
    ((2026, 2, 16), (2026, 2, 20)),
    ((2026, 3, 30), (2026, 4, 10)),
    ((2026, 5, 4), (2026, 5, 4)),
    ((2026, 5, 25), (2026, 5, 29)),
];

/// The marks of every pupil on every school day of the year.
pub struct Year {
    /// The school days.
    pub days: Vec<NaiveDate>,
    /// The marks of each pupil: two for each school day.
    pub marks: Vec<Vec<u8>>,
}

impl Year {
    /// Makes the marks of so many pupils.
    pub fn new(pupils: usize) -> Result<Year, BenchError> {
        let date = |(year, month, day)| NaiveDate::from_ymd_opt(year, month, day);
        let missing = || BenchError::Unexpected("a date of the calendar does not exist".to_owned());
        let mut closed = Vec::new();
        for (from, to) in CLOSED {
            closed.push(date(from).ok_or_else(missing)?..=date(to).ok_or_else(missing)?);
        }
        let days = date(FIRST_DAY)
            .ok_or_else(missing)?
            .iter_days()
            .filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun))
            .filter(|day| !closed.iter().any(|closed| closed.contains(day)))
            .take(SCHOOL_DAYS)
            .collect();
        Ok(Year {
            days,
            marks: (0..pupils).map(marks).collect(),
        })
    }

    /// The run of marks of one pupil from the first school day up to a number of sessions, every day of the week
    /// included, as the contract takes it.
    pub fn run(&self, pupil: usize, sessions: usize) -> Vec<i32> {
        let marks = &self.marks[pupil][..sessions];
        let mut run = vec![0; self.place(sessions - 1) + 1];
        for (session, mark) in marks.iter().enumerate() {
            run[self.place(session)] = i32::from(*mark);
        }
        run
    }

    /// How many half days lie between the first session of the year and this one.
    fn place(&self, session: usize) -> usize {
        let days = (self.days[session / 2] - self.days[0]).num_days();
        2 * usize::try_from(days).unwrap_or_default() + session % 2
    }

    /// The place of a session in a register, which begins on 1 August.
    pub fn register_place(&self, session: usize) -> usize {
        // 31 days of August and the first of September.
        self.place(session) + 2 * (31 + self.days[0].day0() as usize)
    }

    /// The date of a session.
    pub fn date(&self, session: usize) -> NaiveDate {
        self.days[session / 2]
    }

    /// The first day on roll.
    pub fn enrolled_on(&self) -> NaiveDate {
        self.days[0] - Days::new(1)
    }

    /// How many pupils have attended 95% of the year or less: those who leave stage U.
    pub fn pupils_beyond_universal(&self) -> usize {
        let leaves = |marks: &&Vec<u8>| {
            let missed = marks.iter().filter(|mark| **mark > AttendanceCode::L.byte()).count();
            missed * 20 >= marks.len()
        };
        self.marks.iter().filter(leaves).count()
    }

    /// The share of sessions attended.
    pub fn attendance(&self) -> f64 {
        let all: usize = self.marks.iter().map(Vec::len).sum();
        let attended = self
            .marks
            .iter()
            .flatten()
            .filter(|mark| **mark <= AttendanceCode::L.byte());
        attended.count() as f64 / all.max(1) as f64
    }
}

/// The marks of one pupil. How much a pupil misses is spread unevenly: half miss less than a twentieth, a few miss most.
/// Absences come in spells of some days.
fn marks(pupil: usize) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(pupil as u64);
    // About normal, from the sum of uniform numbers.
    let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    let missed = (0.048 * (0.82 * normal).exp()).min(0.9);
    let goes_on = 0.6;
    let begins = (missed * (1.0 - goes_on) / (1.0 - missed)).min(1.0);
    let mut absent = false;
    let mut code = AttendanceCode::I;
    let mut marks = Vec::with_capacity(2 * SCHOOL_DAYS);
    for _ in 0..SCHOOL_DAYS {
        let away = random.random_bool(if absent { goes_on.max(begins) } else { begins });
        if away && !absent {
            code = match random.random_range(0..10) {
                0..6 => AttendanceCode::I,
                6..8 => AttendanceCode::O,
                8 => AttendanceCode::G,
                _ => AttendanceCode::M,
            };
        }
        absent = away;
        for present in [AttendanceCode::PresentMorning, AttendanceCode::PresentAfternoon] {
            let late = random.random_ratio(1, 50);
            marks.push(match (absent, late) {
                (true, _) => code.byte(),
                (false, true) => AttendanceCode::L.byte(),
                (false, false) => present.byte(),
            });
        }
    }
    marks
}
