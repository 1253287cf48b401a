//! The sessions of a school's academic year that have marks: what is known of a calendar that nobody gave, and how fresh a
//! school's registers are.

use chrono::NaiveDate;

use super::calendar::monday_of;
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
/// The flag of a session in which a mark was entered on or after its day, and not only ahead of it: its register was
/// received.
pub const RECEIVED: u8 = 4;

/// How the days on which a school held sessions changed, as far as it can matter to pupils who have no mark on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldChange {
    /// A day became a school day although a later one up to today was one already, or is none any more: whatever spans it may
    /// be otherwise.
    Within,
    /// The first school days of a week were added after all others up to today: of what is reached it moves at most what is
    /// proved from this Monday on.
    WeeksFrom(NaiveDate),
}

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

    /// Adds the sessions of a run of marks that begins at a place of the register. Those before the place `ahead` are entered
    /// on or after their day.
    pub fn add_marks(&mut self, first: usize, marks: &[u8], ahead: usize) {
        let marks = &marks[..marks.len().min(SESSIONS_MAX.saturating_sub(first))];
        let end = first + marks.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        let received = ahead.saturating_sub(first).min(marks.len());
        for (place, (flags, mark)) in self.0[first.min(end)..].iter_mut().zip(marks).enumerate() {
            let of_mark = flags_of(*mark);
            *flags |= if place < received && of_mark != 0 {
                of_mark | RECEIVED
            } else {
                of_mark
            };
        }
        trim(&mut self.0);
    }

    /// The flags of a place.
    pub fn at(&self, place: usize) -> u8 {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// Sets what the marks of a place say, after some were taken away. That its register was received stays known as long as
    /// it has any mark.
    pub fn set(&mut self, place: usize, of_marks: u8) {
        if let Some(flags) = self.0.get_mut(place) {
            *flags = if of_marks == 0 {
                0
            } else {
                of_marks | (*flags & RECEIVED)
            };
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

    /// How the days up to today on which sessions were held changed, from these to those of `after`; nothing where they did
    /// not, or in a way that can matter to nobody else.
    pub fn held_change(&self, after: &MarkedSessions, year: AcademicYear, today: NaiveDate) -> Option<HeldChange> {
        let ahead = year.sessions_to(today);
        let held = |sessions: &MarkedSessions, day: usize| {
            2 * day < ahead && (sessions.at(2 * day) | sessions.at(2 * day + 1)) & HELD != 0
        };
        let days = self.0.len().max(after.0.len()).min(ahead).div_ceil(2);
        let last_before = (0..days).rev().find(|day| held(self, *day));
        let mut changed = (0..days).filter(|day| held(self, *day) != held(after, *day)).peekable();
        let first = *changed.peek()?;
        if last_before.is_some_and(|last| first <= last) {
            return Some(HeldChange::Within);
        }
        let week_of = |day: usize| monday_of(year.session_at(2 * day).date);
        let known = last_before.map(week_of);
        changed
            .map(week_of)
            .find(|week| Some(*week) != known)
            .map(HeldChange::WeeksFrom)
    }

    /// The latest session up to and including a day that was held and whose register was received.
    pub fn last_received(&self, year: AcademicYear, as_of: NaiveDate) -> Option<Session> {
        let counted = &self.0[..year.sessions_to(as_of).min(self.0.len())];
        let last = counted
            .iter()
            .rposition(|flags| flags & (HELD | RECEIVED) == HELD | RECEIVED)?;
        Some(year.session_at(last))
    }

    /// Whether a day of the year is without a register: no session of it was received, nor is it marked as no session.
    pub fn is_gap(&self, year: AcademicYear, date: NaiveDate) -> bool {
        let morning = year.index_of(Session {
            date,
            half: SessionHalf::Am,
        });
        let accounted = |flags: u8| flags & RECEIVED != 0 || flags == MARKED;
        morning.is_some_and(|place| !accounted(self.at(place)) && !accounted(self.at(place + 1)))
    }
}
