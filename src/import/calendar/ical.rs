//! iCalendar: its content lines become events, and these become entries.
//!
//! What is read of RFC 5545 is what files of term dates hold: all-day events and such with times, `DTEND` (exclusive),
//! `DURATION`, `RRULE`, `RDATE`, `EXDATE`, single changed times of an event that repeats (`RECURRENCE-ID`), `STATUS`. Alarms
//! and other components are passed over. Lines may end in LF alone, and be folded anywhere.

use std::collections::HashSet;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Europe::London;

use super::entries::{Entry, Found, Meaning};
use super::{CalendarFileError, NotUnderstoodReason, label, shown};

/// How often an event may repeat: a rule of every day of three years ends before.
const REPEATS_MAX: u16 = 1_200;
/// A half term is a holiday of no more days, weekends included; a longer one is a half of a term.
const HALF_TERM_DAYS_MAX: i64 = 17;

/// A content line with the line of the file on which it begins.
struct Line {
    number: u32,
    name: String,
    parameters: String,
    value: String,
}

/// A date, or a time of the day in London.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Day(NaiveDate),
    Time(NaiveDateTime),
}

impl Moment {
    fn date(self) -> NaiveDate {
        match self {
            Moment::Day(date) => date,
            Moment::Time(time) => time.date(),
        }
    }

    fn time(self) -> NaiveDateTime {
        match self {
            Moment::Day(date) => date.and_time(NaiveTime::MIN),
            Moment::Time(time) => time,
        }
    }

    /// `20250903`, `20250903T083000` (a time as it is on the wall, whatever zone is named) or `20250903T073000Z`.
    fn parse(text: &str) -> Option<Moment> {
        let text = text.trim();
        if let Some(utc) = text.strip_suffix(['Z', 'z']) {
            let time = NaiveDateTime::parse_from_str(utc, "%Y%m%dT%H%M%S").ok()?;
            let instant: DateTime<Utc> = time.and_utc();
            return Some(Moment::Time(
                London.from_utc_datetime(&instant.naive_utc()).naive_local(),
            ));
        }
        if text.len() == 8 {
            return NaiveDate::parse_from_str(text, "%Y%m%d").ok().map(Moment::Day);
        }
        NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%S")
            .ok()
            .map(Moment::Time)
    }
}

#[derive(Default)]
struct Event {
    line: u32,
    summary: String,
    starts: Option<Moment>,
    ends: Option<Moment>,
    /// In seconds.
    duration: Option<TimeDelta>,
    rules: Vec<(u32, String)>,
    more: Vec<NaiveDate>,
    without: HashSet<NaiveDate>,
    uid: String,
    /// The time of a repeating event, named by its uid, that this event takes the place of.
    instead_of: Option<NaiveDate>,
    cancelled: bool,
    /// A date of it that cannot be read.
    unreadable: Option<u32>,
}

/// Reads the events of a file. `text` is what its bytes decode to.
pub(super) fn read(bytes: &[u8], text: &str) -> Result<Found, CalendarFileError> {
    // Folding counts bytes, and may cut a character in two: so lines are unfolded before they are decoded.
    let utf_16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    let bytes = if utf_16 { text.as_bytes() } else { bytes };
    let mut found = Found::default();
    let events = events(lines(bytes, &mut found), &mut found);
    let replaced: HashSet<(String, NaiveDate)> = events
        .iter()
        .filter(|event| !event.uid.is_empty())
        .filter_map(|event| Some((event.uid.clone(), event.instead_of?)))
        .collect();
    for event in events.iter().filter(|event| !event.cancelled) {
        add(event, &replaced, &mut found)?;
    }
    Ok(found)
}

fn lines(bytes: &[u8], found: &mut Found) -> Vec<Line> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut unfolded: Vec<(u32, Vec<u8>)> = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.split_first(), unfolded.last_mut()) {
            (Some((b' ' | b'\t', rest)), Some((_, before))) => before.extend(rest),
            (None, _) => {}
            (Some(_), _) => unfolded.push((number, line.to_vec())),
        }
    }
    let mut lines = Vec::with_capacity(unfolded.len());
    for (number, bytes) in unfolded {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => encoding_rs::WINDOWS_1252.decode(error.as_bytes()).0.into_owned(),
        };
        match split(number, &text) {
            Some(line) => lines.push(line),
            None => found.refuse(number, "", NotUnderstoodReason::Line),
        }
    }
    lines
}

/// `NAME;PARAMETER="a:b":value`.
fn split(number: u32, text: &str) -> Option<Line> {
    let mut quoted = false;
    let colon = text.char_indices().find(|(_, character)| {
        quoted ^= *character == '"';
        *character == ':' && !quoted
    })?;
    let (head, value) = (&text[..colon.0], &text[colon.0 + 1..]);
    let (name, parameters) = head.split_once(';').unwrap_or((head, ""));
    (!name.is_empty()).then(|| Line {
        number,
        name: name.trim().to_ascii_uppercase(),
        parameters: parameters.to_ascii_uppercase(),
        value: value.to_owned(),
    })
}

fn events(lines: Vec<Line>, found: &mut Found) -> Vec<Event> {
    let mut events = Vec::new();
    let mut open: Option<Event> = None;
    // Components within an event, such as an alarm, whose lines are none of the event's.
    let mut inner: Vec<String> = Vec::new();
    for line in lines {
        let component = line.value.trim().to_ascii_uppercase();
        match (line.name.as_str(), &mut open) {
            ("BEGIN", Some(event)) if component == "VEVENT" => {
                found.refuse(event.line, &event.summary, NotUnderstoodReason::CutShort);
                inner.clear();
                open = Some(Event {
                    line: line.number,
                    ..Event::default()
                });
            }
            ("BEGIN", Some(_)) => inner.push(component),
            ("BEGIN", None) if component == "VEVENT" => {
                open = Some(Event {
                    line: line.number,
                    ..Event::default()
                });
            }
            ("END", Some(_)) if component == "VEVENT" => {
                inner.clear();
                events.extend(open.take());
            }
            ("END", Some(_)) if inner.last() == Some(&component) => {
                inner.pop();
            }
            (_, Some(event)) if inner.is_empty() => event.take(&line),
            _ => {}
        }
    }
    if let Some(event) = open {
        found.refuse(event.line, &event.summary, NotUnderstoodReason::CutShort);
    }
    events
}

impl Event {
    fn take(&mut self, line: &Line) {
        let value = line.value.trim();
        match line.name.as_str() {
            "SUMMARY" => self.summary = unescape(value),
            "UID" => self.uid = value.to_owned(),
            "STATUS" => self.cancelled = value.eq_ignore_ascii_case("CANCELLED"),
            "RRULE" => self.rules.push((line.number, value.to_ascii_uppercase())),
            // A rule of what is left out: to pass over it would open or close too much.
            "EXRULE" => self.unreadable = Some(line.number),
            "DTSTART" => self.starts = self.moment(line, value),
            "DTEND" => self.ends = self.moment(line, value),
            "RECURRENCE-ID" => self.instead_of = self.moment(line, value).map(Moment::date),
            "DURATION" => match duration(value) {
                Some(duration) => self.duration = Some(duration),
                None => self.unreadable = Some(line.number),
            },
            "RDATE" | "EXDATE" => {
                let dates: Vec<Option<Moment>> = value.split(',').map(|text| self.moment(line, text)).collect();
                let dates = dates.into_iter().flatten().map(Moment::date);
                if line.name == "RDATE" {
                    self.more.extend(dates);
                } else {
                    self.without.extend(dates);
                }
            }
            _ => {}
        }
    }

    fn moment(&mut self, line: &Line, value: &str) -> Option<Moment> {
        let moment = Moment::parse(value).filter(|_| !line.parameters.contains("VALUE=PERIOD"));
        if moment.is_none() {
            self.unreadable = Some(line.number);
        }
        moment
    }

    /// How many days it lasts, from its first on; nothing where it ends before it begins.
    fn days(&self, starts: Moment) -> Option<i64> {
        let last = match (self.ends, self.duration) {
            // Some programs give an event of one day an end on the same day.
            (Some(ends), _) if ends == starts => starts.date(),
            (Some(Moment::Day(end)), _) => end.pred_opt()?,
            (Some(Moment::Time(end)), _) => (end - TimeDelta::seconds(1)).date(),
            (None, Some(duration)) if duration > TimeDelta::zero() => {
                let end = starts.time().checked_add_signed(duration)?;
                (end - TimeDelta::seconds(1)).date()
            }
            (None, _) => starts.date(),
        };
        let days = (last - starts.date()).num_days() + 1;
        (days > 0).then_some(days)
    }

    /// Whether it begins in the afternoon and ends on the same day.
    fn is_part_of_day(&self, starts: Moment) -> bool {
        let noon = NaiveTime::from_hms_opt(12, 0, 0).unwrap_or_default();
        matches!(starts, Moment::Time(time) if time.time() >= noon) && self.days(starts) == Some(1)
    }
}

/// `P1W`, `P5D`, `P1DT2H30M`.
fn duration(text: &str) -> Option<TimeDelta> {
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_prefix('+').unwrap_or(&text).strip_prefix('P')?;
    let mut total = TimeDelta::zero();
    let mut number = String::new();
    let mut in_time = false;
    for character in text.chars() {
        if character == 'T' && number.is_empty() {
            in_time = true;
            continue;
        }
        if character.is_ascii_digit() && number.len() < 9 {
            number.push(character);
            continue;
        }
        let count: i64 = number.parse().ok()?;
        number.clear();
        total += match (character, in_time) {
            ('W', false) => TimeDelta::try_weeks(count)?,
            ('D', false) => TimeDelta::try_days(count)?,
            ('H', true) => TimeDelta::try_hours(count)?,
            ('M', true) => TimeDelta::try_minutes(count)?,
            ('S', true) => TimeDelta::try_seconds(count)?,
            _ => return None,
        };
    }
    number.is_empty().then_some(total)
}

/// Text values: `\,`, `\;`, `\\` and `\n`.
fn unescape(text: &str) -> String {
    let mut unescaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n' | 'N') => unescaped.push(' '),
                Some(escaped) => unescaped.push(escaped),
                None => {}
            },
            plain => unescaped.push(plain),
        }
    }
    unescaped
}

/// Adds an event's entries: one for each time that it takes place.
fn add(event: &Event, replaced: &HashSet<(String, NaiveDate)>, found: &mut Found) -> Result<(), CalendarFileError> {
    let name = shown(&event.summary);
    let mut refuse = |line, reason| {
        found.refuse(line, &name, reason);
        Ok(())
    };
    if let Some(line) = event.unreadable {
        return refuse(line, NotUnderstoodReason::Date);
    }
    let Some(starts) = event.starts else {
        return refuse(event.line, NotUnderstoodReason::Date);
    };
    if name.is_empty() {
        return refuse(event.line, NotUnderstoodReason::NoLabel);
    }
    let Some(days) = event.days(starts) else {
        return refuse(event.line, NotUnderstoodReason::Backwards);
    };
    let mut meaning = label::meaning(&name);
    if matches!(meaning, Meaning::Closed | Meaning::Inset) && event.is_part_of_day(starts) {
        return refuse(event.line, NotUnderstoodReason::PartOfDay);
    }
    let names_half_term = name.to_lowercase().replace('-', " ").contains("half term");
    if meaning == Meaning::Closed && names_half_term && days > HALF_TERM_DAYS_MAX {
        meaning = Meaning::Unknown;
    }
    let mut dates = vec![starts.date()];
    dates.extend(&event.more);
    for (line, rule) in &event.rules {
        match repetitions(rule, starts.date()) {
            Ok(more) => dates.extend(more),
            Err(reason) => return refuse(*line, reason),
        }
    }
    dates.sort_unstable();
    dates.dedup();
    dates.retain(|date| {
        let replaced = event.instead_of.is_none() && replaced.contains(&(event.uid.clone(), *date));
        !event.without.contains(date) && !replaced
    });
    for first in dates {
        let last = u64::try_from(days - 1)
            .ok()
            .and_then(|days| first.checked_add_days(Days::new(days)))
            .unwrap_or(first);
        found.add(Entry {
            line: event.line,
            first,
            last,
            label: name.clone(),
            meaning: meaning.clone(),
        })?;
    }
    Ok(())
}

/// The dates of a rule of repetition. It has to end, and to count in days or more.
fn repetitions(rule: &str, starts: NaiveDate) -> Result<Vec<NaiveDate>, NotUnderstoodReason> {
    let mut parts = Vec::new();
    let mut ends = false;
    for part in rule.split(';').filter(|part| !part.trim().is_empty()) {
        let (name, value) = part.split_once('=').ok_or(NotUnderstoodReason::Repetition)?;
        match name.trim() {
            "UNTIL" => {
                ends = true;
                let until = Moment::parse(value).ok_or(NotUnderstoodReason::Repetition)?;
                // The dates alone are repeated, each at midnight: the end is the end of its day.
                parts.push(format!("UNTIL={}T235959Z", until.date().format("%Y%m%d")));
            }
            "COUNT" => {
                ends = true;
                parts.push(part.to_owned());
            }
            "FREQ" if !["DAILY", "WEEKLY", "MONTHLY", "YEARLY"].contains(&value.trim()) => {
                return Err(NotUnderstoodReason::Repetition);
            }
            "BYHOUR" | "BYMINUTE" | "BYSECOND" => return Err(NotUnderstoodReason::Repetition),
            _ => parts.push(part.to_owned()),
        }
    }
    if !ends {
        return Err(NotUnderstoodReason::RepeatsForever);
    }
    let set = format!("DTSTART:{}T000000Z\nRRULE:{}", starts.format("%Y%m%d"), parts.join(";"));
    let set: rrule::RRuleSet = set.parse().map_err(|_| NotUnderstoodReason::Repetition)?;
    let repeated = set.all(REPEATS_MAX);
    if repeated.limited {
        return Err(NotUnderstoodReason::Repetition);
    }
    Ok(repeated.dates.into_iter().map(|date| date.date_naive()).collect())
}
