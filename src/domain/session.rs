//! Academic years and sessions: how a half day becomes a place in a register.

use std::fmt;

use chrono::{DateTime, Datelike, Days, NaiveDate, Offset, TimeZone, Utc};

/// The most sessions that an academic year can have: two for each day of a leap year.
pub const SESSIONS_MAX: usize = 732;

/// Which half of a school day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionHalf {
    /// The morning session.
    Am,
    /// The afternoon session.
    Pm,
}

/// Half a school day: a date and AM or PM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// The date, in Europe/London.
    pub date: NaiveDate,
    /// Morning or afternoon.
    pub half: SessionHalf,
}

impl fmt::Display for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = match self.half {
            SessionHalf::Am => "AM",
            SessionHalf::Pm => "PM",
        };
        write!(formatter, "{} {half}", self.date)
    }
}

/// An academic year, 1 August to 31 July, named by the year in which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AcademicYear(i16);

impl AcademicYear {
    /// The earliest and the latest start year that the service takes.
    pub const RANGE: std::ops::RangeInclusive<i32> = 1990..=2200;

    /// The academic year that begins in `start_year`; nothing outside [`AcademicYear::RANGE`].
    pub fn from_start_year(start_year: i32) -> Option<AcademicYear> {
        if !AcademicYear::RANGE.contains(&start_year) {
            return None;
        }
        i16::try_from(start_year).ok().map(AcademicYear)
    }

    /// The academic year to which a date belongs; nothing outside [`AcademicYear::RANGE`].
    pub fn containing(date: NaiveDate) -> Option<AcademicYear> {
        let start_year = if date.month() >= 8 {
            date.year()
        } else {
            date.year() - 1
        };
        AcademicYear::from_start_year(start_year)
    }

    /// The academic year to which a date belongs, the first or the last of [`AcademicYear::RANGE`] for a date outside it.
    pub fn clamped(date: NaiveDate) -> AcademicYear {
        AcademicYear::containing(date).unwrap_or(AcademicYear(if date.year() < 2000 { 1990 } else { 2200 }))
    }

    /// The year in which it begins.
    pub const fn start_year(self) -> i16 {
        self.0
    }

    /// 1 August.
    pub fn first_day(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(i32::from(self.0), 8, 1).unwrap_or(NaiveDate::MIN)
    }

    /// 31 July of the next calendar year.
    pub fn last_day(self) -> NaiveDate {
        NaiveDate::from_ymd_opt(i32::from(self.0) + 1, 7, 31).unwrap_or(NaiveDate::MAX)
    }

    /// How many sessions it has, weekends and holidays included: 730, or 732 where it holds a 29 February.
    pub fn sessions(self) -> usize {
        let days = (self.last_day() - self.first_day()).num_days() + 1;
        usize::try_from(2 * days).unwrap_or(SESSIONS_MAX)
    }

    /// The place of a session in a register of this year: `2 x (date - 1 August) + (PM ? 1 : 0)`; nothing for a date of
    /// another year.
    pub fn index_of(self, session: Session) -> Option<usize> {
        let days = usize::try_from((session.date - self.first_day()).num_days()).ok()?;
        let index = 2 * days + usize::from(session.half == SessionHalf::Pm);
        (index < self.sessions()).then_some(index)
    }

    /// The session at a place in a register of this year. Places beyond its end go on into the next.
    pub fn session_at(self, index: usize) -> Session {
        Session {
            date: self
                .first_day()
                .checked_add_days(Days::new(index as u64 / 2))
                .unwrap_or(NaiveDate::MAX),
            half: if index.is_multiple_of(2) {
                SessionHalf::Am
            } else {
                SessionHalf::Pm
            },
        }
    }

    /// How many sessions lie on or before a date: 0 before the year begins, all of them after it has ended.
    pub fn sessions_to(self, date: NaiveDate) -> usize {
        let days = (date - self.first_day()).num_days() + 1;
        usize::try_from(2 * days).unwrap_or(0).min(self.sessions())
    }
}

impl fmt::Display for AcademicYear {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{:02}", self.0, (self.0 + 1) % 100)
    }
}

/// The date in Europe/London at an instant: the day on which the service judges, whatever the clock of its host.
pub fn london_date(instant: DateTime<Utc>) -> NaiveDate {
    let utc = instant.naive_utc();
    let offset = chrono_tz::Europe::London.offset_from_utc_datetime(&utc);
    // At the very ends of what a date can hold there is no local time; the date in UTC is as near as one can come.
    utc.checked_add_offset(offset.fix()).unwrap_or(utc).date()
}

/// The instant at which a day begins in Europe/London.
pub fn london_midnight(date: NaiveDate) -> DateTime<Utc> {
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    // Clocks are changed at one in the morning, so midnight is there, once. At the very ends of what a date can hold, the
    // instant in UTC is as near as one can come.
    let local = chrono_tz::Europe::London.from_local_datetime(&midnight).earliest();
    local.map_or(midnight.and_utc(), |local| local.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(date: &str, half: SessionHalf) -> Session {
        Session {
            date: date.parse().unwrap(),
            half,
        }
    }

    #[test]
    fn a_leap_day_has_two_bytes_of_its_own() {
        let year = AcademicYear::from_start_year(2027).unwrap();
        assert_eq!(year.sessions(), 732);
        assert_eq!(year.index_of(session("2028-02-28", SessionHalf::Pm)), Some(423));
        assert_eq!(year.index_of(session("2028-02-29", SessionHalf::Am)), Some(424));
        assert_eq!(year.index_of(session("2028-03-01", SessionHalf::Am)), Some(426));
    }

    #[test]
    fn every_index_of_a_year_names_one_session_and_back() {
        for start in [2023, 2025, 2027] {
            let year = AcademicYear::from_start_year(start).unwrap();
            for index in 0..year.sessions() {
                assert_eq!(year.index_of(year.session_at(index)), Some(index));
            }
            assert_eq!(year.index_of(year.session_at(year.sessions())), None);
        }
    }

    #[test]
    fn the_year_turns_on_the_first_of_august_in_london() {
        let before: DateTime<Utc> = "2026-07-31T22:59:59Z".parse().unwrap();
        let after: DateTime<Utc> = "2026-07-31T23:00:00Z".parse().unwrap();
        let year = |instant| AcademicYear::containing(london_date(instant)).unwrap();
        assert_eq!(year(before).start_year(), 2025);
        assert_eq!(year(after).start_year(), 2026);
        assert_eq!(year(after).to_string(), "2026/27");
    }

    #[test]
    fn a_day_begins_at_midnight_in_london_summer_and_winter() {
        let midnight = |date: &str| london_midnight(date.parse().unwrap()).to_rfc3339();
        assert_eq!(midnight("2026-01-15"), "2026-01-15T00:00:00+00:00");
        assert_eq!(midnight("2026-07-15"), "2026-07-14T23:00:00+00:00");
        assert_eq!(midnight("2026-03-29"), "2026-03-29T00:00:00+00:00");
    }
}
