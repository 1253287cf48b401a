//! What both formats come to: entries with dates, and what was not understood.

use chrono::NaiveDate;

use super::{CalendarFileError, ENTRIES_MAX, NotUnderstood, NotUnderstoodReason};

/// What an entry says of its days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They are days of a term; the name is empty where the entry does not say of which.
    Term(String),
    /// A term begins on the first of them.
    TermBegins(String),
    /// A term ends on the last of them.
    TermEnds(String),
    /// Staff are in, pupils are not.
    Inset,
    /// The school is closed.
    Closed,
    /// The school is open, term or not.
    Open,
    /// It cannot be told.
    Unknown,
}

/// Some days of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub line: u32,
    pub first: NaiveDate,
    pub last: NaiveDate,
    pub label: String,
    pub meaning: Meaning,
}

/// What was found in a file.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub entries: Vec<Entry>,
    pub not_understood: Vec<NotUnderstood>,
}

impl Found {
    /// Adds an entry; one that ends before it begins, or lasts longer than a year, is not understood.
    pub(super) fn add(&mut self, entry: Entry) -> Result<(), CalendarFileError> {
        let reason = if entry.last < entry.first {
            Some(NotUnderstoodReason::Backwards)
        } else if (entry.last - entry.first).num_days() > 366 {
            Some(NotUnderstoodReason::TooLong)
        } else {
            None
        };
        match reason {
            Some(reason) => self.refuse(entry.line, &entry.label, reason),
            None if self.entries.len() >= ENTRIES_MAX => return Err(CalendarFileError::TooManyEntries),
            None => self.entries.push(entry),
        }
        Ok(())
    }

    pub(super) fn refuse(&mut self, line: u32, label: &str, reason: NotUnderstoodReason) {
        self.not_understood.push(NotUnderstood::new(line, label, reason));
    }
}
