//! Term dates as councils and schools publish them, read as a school's calendar of one academic year: iCalendar (RFC 5545),
//! or CSV with `start,end,kind,label`.
//!
//! Two styles are about. In one an event is a part of a term, in the other it is a closure, and whatever is no weekend is a
//! school day. Which it is, the caller says, or the labels tell; the answer says how the file was read. An entry whose label
//! is not understood opens no day.

mod entries;
mod ical;
mod label;
mod plan;
mod table;

#[cfg(test)]
mod tests;

use chrono::NaiveDate;

use super::ImportError;
use crate::domain::given_calendar::{GivenYear, PlanError};
use crate::domain::session::AcademicYear;

/// The most bytes of a file of term dates.
pub const CALENDAR_BYTES_MAX: usize = 1024 * 1024;
/// The most entries of a file, an event that repeats counted once for each time.
pub const ENTRIES_MAX: usize = 5_000;
/// How many entries that were not understood are listed.
pub const NOT_UNDERSTOOD_MAX: usize = 200;

/// What a file of term dates is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarFormat {
    /// iCalendar.
    Icalendar,
    /// CSV: `start,end,kind,label`.
    Csv,
}

/// What the entries of a file of term dates stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalendarStyle {
    /// The days of terms. Days without an entry are no school days.
    TermDays,
    /// Closures. Monday to Friday without an entry are school days.
    Closures,
}

/// What a caller says about a file of term dates.
#[derive(Clone, Copy, Debug)]
pub struct CalendarOptions {
    /// The academic year that is wanted: entries of others are left out.
    pub year: AcademicYear,
    /// What it is written in; nothing to tell by its first line.
    pub format: Option<CalendarFormat>,
    /// What its entries stand for; nothing to tell by their labels.
    pub style: Option<CalendarStyle>,
    /// The first day on which the school may be open, where a file of closures does not say.
    pub first_day: Option<NaiveDate>,
    /// The last day.
    pub last_day: Option<NaiveDate>,
}

/// Why an entry was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUnderstoodReason {
    /// The label names nothing that is known, or may mean two things.
    UnknownLabel,
    /// The kind names nothing that is known.
    UnknownKind,
    /// There is no label to tell by.
    NoLabel,
    /// A day on which a term begins or ends, without the other.
    UnpairedDay,
    /// No date, or none that can be read.
    Date,
    /// It ends before it begins.
    Backwards,
    /// It is longer than a year.
    TooLong,
    /// It is a part of a day: pupils may have been in school before it.
    PartOfDay,
    /// It repeats without end.
    RepeatsForever,
    /// Its rule of repetition cannot be read, or repeats too often.
    Repetition,
    /// The file ends, or another component begins, before the event does.
    CutShort,
    /// The line is no content line, or the row's quotes do not match.
    Line,
}

impl NotUnderstoodReason {
    /// A stable name.
    pub const fn name(self) -> &'static str {
        match self {
            NotUnderstoodReason::UnknownLabel => "UNKNOWN_LABEL",
            NotUnderstoodReason::UnknownKind => "UNKNOWN_KIND",
            NotUnderstoodReason::NoLabel => "NO_LABEL",
            NotUnderstoodReason::UnpairedDay => "UNPAIRED_DAY",
            NotUnderstoodReason::Date => "UNREADABLE_DATE",
            NotUnderstoodReason::Backwards => "ENDS_BEFORE_IT_BEGINS",
            NotUnderstoodReason::TooLong => "TOO_LONG",
            NotUnderstoodReason::PartOfDay => "PART_OF_DAY",
            NotUnderstoodReason::RepeatsForever => "REPEATS_FOREVER",
            NotUnderstoodReason::Repetition => "UNREADABLE_REPETITION",
            NotUnderstoodReason::CutShort => "CUT_SHORT",
            NotUnderstoodReason::Line => "UNREADABLE_LINE",
        }
    }

    /// What it means and what to change, for people.
    pub const fn message(self) -> &'static str {
        match self {
            NotUnderstoodReason::UnknownLabel => {
                "the label does not say whether the school is open: it opens no day, and in a file of closures it is taken as \
                 one; name a term, holiday, bank holiday, closure or INSET day, or leave the entry out"
            }
            NotUnderstoodReason::UnknownKind => {
                "the kind is none of term, open, inset, closure, holiday, half term, bank holiday: write one of them, or \
                 leave it empty to go by the label"
            }
            NotUnderstoodReason::NoLabel => {
                "there is neither a label nor a kind to tell by: give one, or leave the entry out"
            }
            NotUnderstoodReason::UnpairedDay => {
                "it says that a term begins or ends, and nothing says when that term ends or began: give both days"
            }
            NotUnderstoodReason::Date => {
                "there is no date that can be read: write yyyy-mm-dd or dd/mm/yyyy, or DTSTART"
            }
            NotUnderstoodReason::Backwards => "it ends before it begins: exchange the dates",
            NotUnderstoodReason::TooLong => "it lasts longer than a year: give one entry for each part",
            NotUnderstoodReason::PartOfDay => {
                "it begins in the afternoon, so pupils may have been in school before: make it an all-day event, or leave it \
                 out"
            }
            NotUnderstoodReason::RepeatsForever => "it repeats without end: give its rule a COUNT or an UNTIL",
            NotUnderstoodReason::Repetition => {
                "its rule of repetition cannot be read, or repeats too often: give one event for each day instead"
            }
            NotUnderstoodReason::CutShort => "the event has no end: the file has been cut, or END:VEVENT is missing",
            NotUnderstoodReason::Line => {
                "the line cannot be read: a name, a colon and a value are expected, or a row of cells"
            }
        }
    }
}

/// An entry that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotUnderstood {
    /// The line of the file on which it begins, from 1.
    pub line: u32,
    /// Its label, as far as there is one: at most 100 characters.
    pub label: String,
    /// Why.
    pub reason: NotUnderstoodReason,
}

impl NotUnderstood {
    fn new(line: u32, label: &str, reason: NotUnderstoodReason) -> NotUnderstood {
        NotUnderstood {
            line,
            label: shown(label),
            reason,
        }
    }
}

/// A label as it is kept and shown: without control characters, at most 100 characters.
fn shown(label: &str) -> String {
    let cleaned: String = label
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    cleaned.trim().chars().take(100).collect()
}

/// What a file of term dates comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadCalendar {
    /// What it is written in.
    pub format: CalendarFormat,
    /// How it was read.
    pub style: CalendarStyle,
    /// The calendar.
    pub given: GivenYear,
    /// Entries with a day of the year, an event that repeats counted once for each time.
    pub entries: usize,
    /// Entries without one.
    pub entries_outside_year: usize,
    /// Entries that were not understood, by line: the first [`NOT_UNDERSTOOD_MAX`].
    pub not_understood: Vec<NotUnderstood>,
    /// How many there were in all.
    pub not_understood_total: usize,
}

/// A file of term dates that cannot be read as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarFileError {
    /// Larger than [`CALENDAR_BYTES_MAX`].
    #[error("the file is larger than {} KiB: leave out what is no term date", CALENDAR_BYTES_MAX / 1024)]
    TooLarge,
    /// More than [`ENTRIES_MAX`] entries.
    #[error("the file has more than {ENTRIES_MAX} entries: leave out what is no term date")]
    TooManyEntries,
    /// Not text.
    #[error(transparent)]
    Text(#[from] ImportError),
    /// Neither iCalendar nor a table.
    #[error(
        "the file is neither iCalendar (BEGIN:VCALENDAR) nor CSV with the columns start, end, kind and label: export it as one \
         of them"
    )]
    UnknownFormat,
    /// No entry of the year.
    #[error("the file has no entry of the academic year that can be read")]
    NoEntries,
    /// It cannot be told whether the entries are terms or closures.
    #[error("no label says whether the entries are the days of terms or closures: say which it is")]
    UnclearStyle,
    /// A file of closures that does not say when the school year begins.
    #[error(
        "the file lists closures, and none that covers the first days of August: say on which day the school year begins"
    )]
    NoFirstDay,
    /// A file of closures that does not say when the school year ends.
    #[error(
        "the file lists closures, and none that covers the last days of July: say on which day the school year ends"
    )]
    NoLastDay,
    /// What it says is no calendar.
    #[error("what the file says is no calendar: {0}")]
    Plan(#[from] PlanError),
}

/// Reads a file of term dates.
///
/// # Errors
/// [`CalendarFileError`] where it is no such file, or what it says is no calendar. Single entries that cannot be read are
/// [`ReadCalendar::not_understood`].
pub fn read(bytes: &[u8], options: &CalendarOptions) -> Result<ReadCalendar, CalendarFileError> {
    if bytes.len() > CALENDAR_BYTES_MAX {
        return Err(CalendarFileError::TooLarge);
    }
    let (text, _) = super::decode(bytes)?;
    let format = match options.format {
        Some(format) => format,
        None if starts_as_icalendar(&text) => CalendarFormat::Icalendar,
        None => CalendarFormat::Csv,
    };
    let found = match format {
        CalendarFormat::Icalendar => ical::read(bytes, &text)?,
        CalendarFormat::Csv => table::read(&text, options.year)?,
    };
    plan::make(found, format, options)
}

fn starts_as_icalendar(text: &str) -> bool {
    let start: String = text.trim_start().chars().take(15).collect();
    start.eq_ignore_ascii_case("BEGIN:VCALENDAR")
}
