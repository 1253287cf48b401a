//! Dates and sessions as files write them, one text at a time.

use chrono::{Datelike, NaiveDate, Weekday};
use serde::Deserialize;

use crate::domain::session::{AcademicYear, SessionHalf};

/// The order of day, month and year in a column of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DateOrder {
    /// 08/09/2025 is 8 September.
    #[serde(rename = "dmy")]
    DayFirst,
    /// 08/09/2025 is 9 August.
    #[serde(rename = "mdy")]
    MonthFirst,
    /// 2025-09-08.
    #[serde(rename = "ymd")]
    YearFirst,
}

impl DateOrder {
    /// The three, the likeliest first.
    pub const ALL: [DateOrder; 3] = [DateOrder::DayFirst, DateOrder::MonthFirst, DateOrder::YearFirst];

    /// As a mapping file writes it.
    pub const fn name(self) -> &'static str {
        match self {
            DateOrder::DayFirst => "dmy",
            DateOrder::MonthFirst => "mdy",
            DateOrder::YearFirst => "ymd",
        }
    }
}

/// Where the year of a date comes from that is written without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct YearSource {
    /// The dates that the file says it covers, first and last.
    pub range: Option<(NaiveDate, NaiveDate)>,
    /// The academic year that the caller gives.
    pub academic_year: Option<AcademicYear>,
}

/// Why a text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateProblem {
    /// Not a date in the order of its column.
    #[error(
        "not a date in the order of its column ({0}): write dd/mm/yyyy or yyyy-mm-dd throughout, or give date_order in a \
         mapping file; a bare number is a spreadsheet's own count of days"
    )]
    Unreadable(&'static str),
    /// No year, and nothing to take one from.
    #[error("the date has no year, and no date range above the table says which: give --year")]
    NoYear,
    /// No year, and outside what the title or the caller says.
    #[error("the date has no year, and falls outside the dates that the file's title or --year gives")]
    OutsideRange,
    /// The day of the week is another.
    #[error("the day of the week beside the date is not that date's")]
    Weekday,
    /// Before 1990 or after 2200.
    #[error("the date is outside the academic years 1990 to 2200")]
    OutOfBounds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Number { value: u32, digits: usize },
    Month(u32),
}

/// A date as written, before its order is known: two or three parts, at most one of them a month's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDate(Vec<Part>);

/// What a cell or a header says about a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The date.
    pub date: Option<RawDate>,
    /// The day of the week.
    pub weekday: Option<Weekday>,
    /// Morning or afternoon.
    pub half: Option<SessionHalf>,
    /// A time of day other than midnight is there: a lesson, not a session.
    pub clock: bool,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// The place of the one name that begins with the token, of three letters at least.
fn abbreviated(names: &[&str], token: &str) -> Option<usize> {
    let token = token.trim_end_matches('.');
    (token.len() >= 3)
        .then(|| names.iter().position(|name| name.starts_with(token)))
        .flatten()
}

fn month(token: &str) -> Option<u32> {
    let place = if token == "sept" {
        Some(8)
    } else {
        abbreviated(&MONTHS, token)
    };
    place.and_then(|place| u32::try_from(place + 1).ok())
}

fn weekday(token: &str) -> Option<Weekday> {
    let place = match token {
        "weds" => Some(2),
        _ => abbreviated(&WEEKDAYS, token),
    };
    place.and_then(|place| Weekday::try_from(u8::try_from(place).ok()?).ok())
}

/// Morning or afternoon, as a session's cell writes it.
pub fn half(text: &str) -> Option<SessionHalf> {
    match text.trim().to_lowercase().as_str() {
        "a" | "1" => Some(SessionHalf::Am),
        "p" | "2" => Some(SessionHalf::Pm),
        other => half_name(other),
    }
}

/// Morning or afternoon, spelled so that it can be nothing else.
pub fn half_name(text: &str) -> Option<SessionHalf> {
    match text.trim().to_lowercase().as_str() {
        "am" | "a.m." | "morning" => Some(SessionHalf::Am),
        "pm" | "p.m." | "afternoon" => Some(SessionHalf::Pm),
        _ => None,
    }
}

/// Whether a text is a time of day: `09:05`, `9.05 am`, `0905`, `9am`.
pub fn is_clock_time(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    let bare = text
        .strip_suffix("am")
        .or_else(|| text.strip_suffix("pm"))
        .unwrap_or(&text)
        .trim_end();
    let marked = bare.len() < text.len();
    let four_digits = bare.len() == 4 && bare.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = bare.split([':', '.']).collect();
    let numbers = parts.iter().all(|part| part.parse::<u32>().is_ok());
    four_digits || (numbers && (parts.len() > 1 || marked))
}

impl Stamp {
    /// Reads what a cell or a header says about a session; nothing where any part of it is something else.
    pub fn parse(text: &str) -> Option<Stamp> {
        // No date is longer; a bound keeps a text of any length cheap.
        if text.len() > 64 {
            return None;
        }
        let text = text.to_lowercase().replace([',', '(', ')', '_'], " ");
        let mut stamp = Stamp::default();
        let mut parts = Vec::new();
        let tokens: Vec<&str> = text.split_whitespace().collect();
        for (place, token) in tokens.iter().enumerate() {
            let alone_last = place > 0 && place + 1 == tokens.len();
            stamp.token(token, alone_last, &mut parts)?;
        }
        let names = parts.iter().filter(|part| matches!(part, Part::Month(_))).count();
        match parts.len() {
            0 => {}
            2 | 3 if names <= 1 => stamp.date = Some(RawDate(parts)),
            _ => return None,
        }
        (stamp != Stamp::default()).then_some(stamp)
    }

    fn token(&mut self, token: &str, alone_last: bool, parts: &mut Vec<Part>) -> Option<()> {
        if let Some(day) = weekday(token) {
            return set(&mut self.weekday, day);
        }
        if let Some(name) = half_name(token) {
            return set(&mut self.half, name);
        }
        let dated = parts.len() >= 2;
        if alone_last && (dated || self.weekday.is_some()) && matches!(token, "a" | "p") {
            return set(&mut self.half, half(token)?);
        }
        // `08/09 1` is a morning; `8 9 1` is a date.
        if alone_last && dated && self.half.is_none() && matches!(token, "1" | "2") {
            return set(&mut self.half, half(token)?);
        }
        for (suffix, name) in [("am", SessionHalf::Am), ("pm", SessionHalf::Pm)] {
            if let Some(before) = token.strip_suffix(suffix) {
                let before = before.trim_end_matches(['-', '/']);
                set(&mut self.half, name)?;
                if before.bytes().all(|byte| byte.is_ascii_digit()) {
                    self.clock = true;
                    return Some(());
                }
                return self.token(before, false, parts);
            }
        }
        if let Some((date, time)) = token.split_once('t')
            && date.contains('-')
            && time.contains(':')
        {
            self.token(date, false, parts)?;
            return self.token(time, false, parts);
        }
        if token.contains(':') {
            let digits = token.trim_end_matches('z');
            let digits = digits.split(['+']).next().unwrap_or(digits);
            let mut midnight = true;
            for number in digits.split([':', '.']) {
                midnight &= number.parse::<u32>().ok()? == 0;
            }
            self.clock |= !midnight;
            return Some(());
        }
        for piece in token.trim_end_matches('.').split(['/', '-', '.']) {
            if let Some(number) = month(piece) {
                parts.push(Part::Month(number));
                continue;
            }
            let piece = ["st", "nd", "rd", "th"]
                .iter()
                .find_map(|ordinal| piece.strip_suffix(ordinal))
                .unwrap_or(piece);
            if piece.is_empty() || piece.len() > 4 || parts.len() >= 3 {
                return None;
            }
            if !piece.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            parts.push(Part::Number {
                value: piece.parse().ok()?,
                digits: piece.len(),
            });
        }
        Some(())
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    let free = place.is_none();
    *place = Some(value);
    free.then_some(())
}

impl RawDate {
    /// Whether it has a year of its own.
    pub fn has_year(&self) -> bool {
        self.0.len() == 3
    }

    /// The academic year that `2025/26` or `2025-2026` names.
    pub fn academic_year(&self) -> Option<AcademicYear> {
        match self.0[..] {
            [
                Part::Number {
                    value: first,
                    digits: 4,
                },
                Part::Number { value: second, digits },
            ] if (digits == 4 && second == first + 1) || (digits == 2 && second == (first + 1) % 100) => {
                AcademicYear::from_start_year(i32::try_from(first).ok()?)
            }
            _ => None,
        }
    }

    /// The date in an order.
    ///
    /// # Errors
    ///
    /// A [`DateProblem`] where it is none in this order, or its year cannot be told.
    pub fn read(&self, order: DateOrder, years: &YearSource) -> Result<NaiveDate, DateProblem> {
        let unreadable = DateProblem::Unreadable(order.name());
        let short = |part: Part| match part {
            Part::Number { value, digits: 1 | 2 } => Ok(value),
            _ => Err(unreadable),
        };
        let year = |part: Part| match part {
            Part::Number { value, digits: 4 } => Ok(value),
            // Children's and registers' years: 70 to 99 are 1970 to 1999.
            Part::Number { value, digits: 2 } if value >= 70 => Ok(1900 + value),
            Part::Number { value, digits: 2 } => Ok(2000 + value),
            _ => Err(unreadable),
        };
        let (year, month, day) = match self.0[..] {
            [Part::Month(month), day, y] | [day, Part::Month(month), y]
                if !matches!(day, Part::Number { digits: 4, .. }) =>
            {
                (Some(year(y)?), month, short(day)?)
            }
            [y, Part::Month(month), day] => (Some(year(y)?), month, short(day)?),
            [Part::Month(month), day] | [day, Part::Month(month)] => (None, month, short(day)?),
            [a, b, c] => match order {
                DateOrder::DayFirst => (Some(year(c)?), short(b)?, short(a)?),
                DateOrder::MonthFirst => (Some(year(c)?), short(a)?, short(b)?),
                DateOrder::YearFirst => match a {
                    Part::Number { digits: 4, .. } => (Some(year(a)?), short(b)?, short(c)?),
                    _ => return Err(unreadable),
                },
            },
            [a, b] => match order {
                DateOrder::DayFirst => (None, short(b)?, short(a)?),
                DateOrder::MonthFirst => (None, short(a)?, short(b)?),
                DateOrder::YearFirst => return Err(unreadable),
            },
            _ => return Err(unreadable),
        };
        // A leap year, so that 29 February is a day of some year.
        NaiveDate::from_ymd_opt(2024, month, day).ok_or(unreadable)?;
        match year {
            Some(year) => i32::try_from(year)
                .ok()
                .and_then(|year| NaiveDate::from_ymd_opt(year, month, day))
                .ok_or(unreadable),
            None => years.complete(month, day),
        }
    }
}

impl YearSource {
    /// The one date of the range, else of the academic year, with this month and day.
    fn complete(&self, month: u32, day: u32) -> Result<NaiveDate, DateProblem> {
        let academic = self.academic_year.map(|year| (year.first_day(), year.last_day()));
        let (first, last) = self.range.or(academic).ok_or(DateProblem::NoYear)?;
        if last.year() - first.year() > 2 {
            return Err(DateProblem::NoYear);
        }
        let mut fitting = (first.year()..=last.year())
            .filter_map(|year| NaiveDate::from_ymd_opt(year, month, day))
            .filter(|date| (first..=last).contains(date));
        match (fitting.next(), fitting.next()) {
            (Some(date), None) => Ok(date),
            (Some(_), Some(_)) => Err(DateProblem::NoYear),
            (None, _) => Err(DateProblem::OutsideRange),
        }
    }
}

impl Stamp {
    /// The date of the stamp in an order, its day of the week checked.
    ///
    /// # Errors
    ///
    /// A [`DateProblem`] where it has none in this order.
    pub fn read(&self, order: DateOrder, years: &YearSource) -> Result<NaiveDate, DateProblem> {
        let date = self
            .date
            .as_ref()
            .ok_or(DateProblem::Unreadable(order.name()))?
            .read(order, years)?;
        if self.weekday.is_some_and(|day| day != date.weekday()) {
            return Err(DateProblem::Weekday);
        }
        if AcademicYear::containing(date).is_none() {
            return Err(DateProblem::OutOfBounds);
        }
        Ok(date)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_a_session_in_many_ways() {
        for text in [
            "Mon 08/09 AM",
            "mon 08/09 (am)",
            "08/09/2025 Morning",
            "08/09AM",
            "08/09 a",
            "08/09 1",
            "Monday 8 September\nA",
            "2025-09-08-AM",
            "2025-09-08 00:00 AM",
        ] {
            let stamp = Stamp::parse(text).unwrap();
            assert_eq!(stamp.half, Some(SessionHalf::Am), "{text}");
            assert!(stamp.date.is_some() && !stamp.clock, "{text}");
        }
        for text in ["Mon 08/09 09:00", "08/09 9am", "08/09/2025 9:00 AM"] {
            assert!(Stamp::parse(text).unwrap().clock, "{text}");
        }
        for text in ["Marks", "Year 5", "5", "", "Mon Tue", "AM PM", "5A"] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn sessions_are_named_in_eight_ways_and_times_of_day_are_known() {
        for text in ["AM", "Morning", "A", "1", " am "] {
            assert_eq!(half(text), Some(SessionHalf::Am));
        }
        for text in ["PM", "Afternoon", "P", "2"] {
            assert_eq!(half(text), Some(SessionHalf::Pm));
        }
        for text in ["09:05", "9.05 am", "0905", "9am", "13:00:00"] {
            assert!(is_clock_time(text) && half(text).is_none(), "{text}");
        }
        for text in ["AM", "1", "3", "Maths"] {
            assert!(!is_clock_time(text), "{text}");
        }
    }
}
