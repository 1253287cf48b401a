//! Registers: the marks of one enrolment in one academic year, as bytes, with merge, diff and tally.
//!
//! Byte `2 x (date - 1 August) + (PM ? 1 : 0)` holds the session's code, 0 for no mark. Bytes after the last mark are
//! left off.

use chrono::NaiveDate;

use super::session::{AcademicYear, SESSIONS_MAX};
use super::stage::{Policy, Stage};
use super::tally::Tally;

/// In a run of incoming marks: leaves the session as it is.
pub const LEAVE: u8 = 0;
/// In a run of incoming marks: takes the mark away.
pub const CLEAR: u8 = 127;

/// One mark that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The place of the session in the register.
    pub index: usize,
    /// The byte as it was: never 0.
    pub old: u8,
    /// The byte as it became; 0 where the mark was taken away.
    pub new: u8,
}

/// What merging a run of marks did to a register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Marks written to sessions that had none.
    pub first_entries: usize,
    /// Marks that were already there, and marks taken away where there was none.
    pub unchanged: usize,
    /// Marks that were changed, in order.
    pub changes: Vec<Change>,
    /// The places of the first entries, as runs of consecutive sessions.
    pub first_entry_runs: Vec<(u16, u16)>,
    /// The places of the earliest and the latest session written; nothing where nothing was.
    pub touched: Option<(usize, usize)>,
    /// Marks that were not merged, because they lie before the part of the register at hand or beyond the longest year. A
    /// caller that has checked the run's place finds 0.
    pub outside: usize,
}

impl Diff {
    /// Whether the register is as it was.
    pub fn is_unchanged(&self) -> bool {
        self.touched.is_none()
    }
}

/// Merges a run of incoming marks into the part of a register that begins at `offset`. `stored` grows as needed. The last
/// write wins; merging the same run again changes nothing. Returns what was done.
///
/// `incoming` begins at the register's place `first`; its bytes are codes, [`LEAVE`] or [`CLEAR`]. What lies before
/// `offset`, or beyond the [`SESSIONS_MAX`] sessions of the longest year, is not merged but counted as
/// [`Diff::outside`]. Whether a place belongs to the year of the register, the caller has to know.
pub fn merge(stored: &mut Vec<u8>, offset: usize, first: usize, incoming: &[u8]) -> Diff {
    let (before, rest) = incoming.split_at(offset.saturating_sub(first).min(incoming.len()));
    let first = first.max(offset);
    let (incoming, beyond) = rest.split_at(SESSIONS_MAX.saturating_sub(first).min(rest.len()));
    let sent = |marks: &[u8]| marks.iter().filter(|mark| **mark != LEAVE).count();
    let mut diff = Diff {
        outside: sent(before) + sent(beyond),
        ..Diff::default()
    };
    if incoming.is_empty() {
        trim(stored);
        return diff;
    }
    let start = first - offset;
    let end = start + incoming.len();
    if stored.len() < end {
        stored.resize(end, 0);
    }
    for (place, (old, &new)) in stored[start..end].iter_mut().zip(incoming).enumerate() {
        if new == LEAVE {
            continue;
        }
        let new = if new == CLEAR { 0 } else { new };
        if *old == new {
            diff.unchanged += 1;
            continue;
        }
        let index = first + place;
        if *old == 0 {
            diff.first_entries += 1;
            // Below 732, the length of the longest register.
            let index = index as u16;
            match diff.first_entry_runs.last_mut() {
                Some((from, length)) if *from + *length == index => *length += 1,
                _ => diff.first_entry_runs.push((index, 1)),
            }
        } else {
            diff.changes.push(Change { index, old: *old, new });
        }
        diff.touched = Some((diff.touched.map_or(index, |(from, _)| from), index));
        *old = new;
    }
    trim(stored);
    diff
}

/// Leaves off the bytes after the last mark.
pub fn trim(marks: &mut Vec<u8>) {
    let length = marks.iter().rposition(|mark| *mark != 0).map_or(0, |last| last + 1);
    marks.truncate(length);
}

/// The counts of the marks dated up to and including a day.
pub fn tally_to(marks: &[u8], year: AcademicYear, as_of: NaiveDate) -> Tally {
    Tally::of_marks(&marks[..year.sessions_to(as_of).min(marks.len())])
}

/// The date of the first mark after a day: from then on the tally of that day is out of date. Nothing where no mark was
/// entered ahead of time.
pub fn next_mark_after(marks: &[u8], year: AcademicYear, as_of: NaiveDate) -> Option<NaiveDate> {
    let from = year.sessions_to(as_of);
    let ahead = marks
        .get(from..year.sessions().min(marks.len()))?
        .iter()
        .position(|mark| *mark != 0)?;
    Some(year.session_at(from + ahead).date)
}

/// The first day since which a pupil has been at `stage` without a break, as the marks of the year's registers tell.
/// Days on which no session was possible change nothing. Nothing where no session was possible up to `as_of`, or where
/// the marks do not give that stage today.
pub fn stage_since(
    policy: &Policy,
    stage: Stage,
    registers: &[&[u8]],
    year: AcademicYear,
    as_of: NaiveDate,
) -> Option<NaiveDate> {
    let day_tally = |day: usize| -> Tally {
        let mut tally = Tally::default();
        for marks in registers {
            for index in [2 * day, 2 * day + 1] {
                if let Some(&mark) = marks.get(index).filter(|mark| **mark != 0) {
                    tally += Tally::of_mark(mark);
                }
            }
        }
        tally
    };
    let mut tally: Tally = registers.iter().map(|marks| tally_to(marks, year, as_of)).sum();
    let mut since = None;
    let mut holds = policy.judge(tally).stage == stage;
    for day in (0..year.sessions_to(as_of) / 2).rev() {
        if !holds {
            break;
        }
        let part = day_tally(day);
        if part.possible > 0 {
            since = Some(day);
            tally = tally.without(part);
            holds = policy.judge(tally).stage == stage;
        }
    }
    since.map(|day| year.session_at(2 * day).date)
}
