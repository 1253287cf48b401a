//! Lines of marks.

use std::fmt;

use chrono::{Datelike, NaiveDate};
use graduated_response::domain::code::AttendanceCode;

use super::keys::days_of;
use super::{GivenSchool, Misread};

/// A date as written, which there may not be: 29 February of any year is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RawDate {
    pub year: i32,
    pub month: u32,
    pub day: u32,
}

impl RawDate {
    pub fn read(text: &str) -> Result<RawDate, Misread> {
        let misread = || format!("{text} is not written as a date");
        let parts: Vec<_> = text.split('-').collect();
        let [year, month, day] = parts[..] else {
            return Err(misread());
        };
        let digits = |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
            return Err(misread());
        }
        Ok(RawDate {
            year: year.parse().map_err(|_| misread())?,
            month: month.parse().map_err(|_| misread())?,
            day: day.parse().map_err(|_| misread())?,
        })
    }

    /// The date, where there is one.
    pub fn date(self) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(self.year, self.month, self.day)
    }
}

impl From<NaiveDate> for RawDate {
    fn from(date: NaiveDate) -> RawDate {
        RawDate {
            year: date.year(),
            month: date.month(),
            day: date.day(),
        }
    }
}

impl fmt::Display for RawDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A half of a day as written, which there may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Half {
    Am,
    Pm,
    None,
}

/// A session as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub date: RawDate,
    pub half: Half,
}

impl Place {
    /// `DATE AM|PM`.
    pub fn read(text: &str) -> Result<Place, Misread> {
        let (date, half) = text.split_once(' ').ok_or_else(|| format!("{text} is no session"))?;
        let half = match half {
            "AM" => Half::Am,
            "PM" => Half::Pm,
            _ => return Err(format!("{text} is no session")),
        };
        Ok(Place {
            date: RawDate::read(date)?,
            half,
        })
    }

    /// The session, where there is one: its date, and whether it is the afternoon.
    pub fn session(self) -> Option<(NaiveDate, bool)> {
        let date = self.date.date()?;
        match self.half {
            Half::Am => Some((date, false)),
            Half::Pm => Some((date, true)),
            Half::None => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = match self.half {
            Half::Am => "AM",
            Half::Pm => "PM",
            Half::None => "??",
        };
        write!(formatter, "{} {half}", self.date)
    }
}

/// What a line puts to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Code(AttendanceCode),
    /// `-`: no mark.
    None,
    /// A code that does not exist.
    Unknown,
}

/// A mark for one session of a school's register.
#[derive(Clone, Debug)]
pub struct Marking {
    pub school: String,
    pub place: Place,
    pub mark: Mark,
}

/// The school that a line names.
pub fn school_of(line: &str) -> Option<&str> {
    line.trim().split_once(": ").map(|(school, _)| school.trim())
}

/// A word that can only be meant as a half of a day: no code is written in two or more letters.
fn half_of(word: &str) -> Option<Half> {
    match word {
        "AM" => Some(Half::Am),
        "PM" => Some(Half::Pm),
        word if word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic()) => Some(Half::None),
        _ => None,
    }
}

fn mark_of(word: &str, half: Half) -> Mark {
    let code = match (word, half) {
        ("-", _) => return Mark::None,
        ("/\\", Half::Pm) => "\\",
        ("/\\", _) => "/",
        (code, _) => code,
    };
    AttendanceCode::parse(code).map_or(Mark::Unknown, Mark::Code)
}

/// The marks of one line, in order.
pub fn read_line(line: &str, school: &GivenSchool) -> Result<Vec<Marking>, Misread> {
    let misread = || format!("no line of marks: {line}");
    let rest = line.trim().split_once(": ").map_or(line, |(_, rest)| rest);
    let words: Vec<_> = rest.split_whitespace().collect();
    let marking = |date: RawDate, half: Half, word: &str| Marking {
        school: school.name.clone(),
        place: Place { date, half },
        mark: mark_of(word, half),
    };
    if words.first() == Some(&"seq") {
        let [_, date, half, runs @ ..] = &words[..] else {
            return Err(misread());
        };
        let first = RawDate::read(date)?.date().ok_or_else(misread)?;
        let starts_in_afternoon = match half_of(half) {
            Some(Half::Am) => false,
            Some(Half::Pm) => true,
            _ => return Err(misread()),
        };
        let days = school.calendar.open.range(first..);
        let sessions = days.flat_map(|day| [(*day, Half::Am), (*day, Half::Pm)]);
        let mut sessions = sessions.skip(usize::from(
            starts_in_afternoon && school.calendar.open.contains(&first),
        ));
        let mut markings = Vec::new();
        for run in runs {
            let (count, code) = run.split_once('*').ok_or_else(misread)?;
            for _ in 0..count.parse::<usize>().map_err(|_| misread())? {
                let (date, half) = sessions
                    .next()
                    .ok_or_else(|| format!("no school days left for: {line}"))?;
                markings.push(marking(date.into(), half, code));
            }
        }
        return Ok(markings);
    }
    let [when, second, third] = words[..] else {
        return Err(misread());
    };
    if let Some(half) = half_of(second) {
        return Ok(vec![marking(RawDate::read(when)?, half, third)]);
    }
    let both = |date: RawDate| [marking(date, Half::Am, second), marking(date, Half::Pm, third)];
    if !when.contains("..") {
        return Ok(both(RawDate::read(when)?).into());
    }
    let open = |day: &NaiveDate| school.calendar.open.contains(day);
    let days = days_of(when)?.into_iter().filter(open);
    Ok(days.flat_map(|day| both(day.into())).collect())
}
