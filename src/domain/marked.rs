//! The sessions of a school's academic year that have marks: what is known of a calendar that nobody gave, and how fresh a
//! school's registers are.

use chrono::NaiveDate;

use super::code::AttendanceCode;
use super::register::trim;
use super::session::{AcademicYear, SESSIONS_MAX, Session, SessionHalf};

/// What one mark says of its session, as flags: 0 for no mark, [`MARKED`] for Z and # (nobody says that the school held the
/// session), [`MARKED`] and [`HELD`] for any other.
pub const fn flags_of(mark: u8) -> u8 {
    if mark == 0 {
        0
    } else if mark == AttendanceCode::Z.byte() || mark == AttendanceCode::PlannedClosure.byte() {
        MARKED
    } else {
        MARKED | HELD
    }
}

/// The flag of a session in which some pupil has a mark.
pub const MARKED: u8 = 1;
/// The flag of a session in which some pupil has a mark which says that it was held.
pub const HELD: u8 = 2;

/// The sessions of one academic year of one school, a byte of flags each, laid out as a register is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkedSessions(Vec<u8>);

impl MarkedSessions {
    /// The sessions that bytes of flags stand for.
    pub fn from_flags(mut flags: Vec<u8>) -> MarkedSessions {
        flags.truncate(SESSIONS_MAX);
        trim(&mut flags);
        MarkedSessions(flags)
    }

    /// The bytes of flags; what is left off at the end has no mark.
    pub fn flags(&self) -> &[u8] {
        &self.0
    }

    /// Whether no session has a mark.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the sessions of a run of marks that begins at a place of the register.
    pub fn add_marks(&mut self, first: usize, marks: &[u8]) {
        let marks = &marks[..marks.len().min(SESSIONS_MAX.saturating_sub(first))];
        let end = first + marks.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        for (flags, mark) in self.0[first.min(end)..].iter_mut().zip(marks) {
            *flags |= flags_of(*mark);
        }
        trim(&mut self.0);
    }

    /// The flags of a place.
    pub fn at(&self, place: usize) -> u8 {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// Sets the flags of a place, whatever they were.
    pub fn set(&mut self, place: usize, flags: u8) {
        if place < SESSIONS_MAX {
            if self.0.len() <= place {
                self.0.resize(place + 1, 0);
            }
            self.0[place] = flags;
            trim(&mut self.0);
        }
    }

    /// Whether it has every flag of another.
    pub fn covers(&self, other: &MarkedSessions) -> bool {
        other.0.len() <= self.0.len() && other.0.iter().zip(&self.0).all(|(new, known)| new & !known == 0)
    }

    /// Adds every flag of another.
    pub fn unite(&mut self, other: &MarkedSessions) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (flags, other) in self.0.iter_mut().zip(&other.0) {
            *flags |= other;
        }
    }

    /// The days of a year with a session that was held, in order.
    pub fn days_held(&self, year: AcademicYear) -> impl Iterator<Item = NaiveDate> + '_ {
        let days = self.0.chunks(2).enumerate();
        days.filter(|(_, day)| day.iter().any(|flags| flags & HELD != 0))
            .map(move |(day, _)| year.session_at(2 * day).date)
    }

    /// The latest session up to and including a day that was held.
    pub fn last_held(&self, year: AcademicYear, as_of: NaiveDate) -> Option<Session> {
        let counted = &self.0[..year.sessions_to(as_of).min(self.0.len())];
        let last = counted.iter().rposition(|flags| flags & HELD != 0)?;
        Some(year.session_at(last))
    }

    /// Whether some pupil has a mark on a day of the year.
    pub fn has_mark_on(&self, year: AcademicYear, date: NaiveDate) -> bool {
        let morning = year.index_of(Session {
            date,
            half: SessionHalf::Am,
        });
        morning.is_some_and(|place| self.at(place) != 0 || self.at(place + 1) != 0)
    }
}
