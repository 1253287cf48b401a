//! Tallies: the counts drawn from marks. Percentages are derived from them, exactly, and never stored.

use std::ops::{Add, AddAssign};

use super::code::{AttendanceCode, Category};

/// Counts of sessions. A session with no mark is in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions attended, approved educational activity among them.
    pub attended: u64,
    /// Sessions that could have been attended.
    pub possible: u64,
    /// Sessions of authorised absence.
    pub authorised: u64,
    /// Sessions of unauthorised absence.
    pub unauthorised: u64,
}

/// Four counts of 16 bits in one word, so that a mark is one look-up and one addition.
const WEIGHTS: [u64; 256] = {
    let mut weights = [0; 256];
    let mut index = 0;
    while index < AttendanceCode::ALL.len() {
        let code = AttendanceCode::ALL[index];
        let category = code.category();
        let mut weight = 0;
        if category.attended() {
            weight |= 1;
        }
        if category.possible() {
            weight |= 1 << 16;
        }
        if matches!(category, Category::AuthorisedAbsence) {
            weight |= 1 << 32;
        }
        if matches!(category, Category::UnauthorisedAbsence) {
            weight |= 1 << 48;
        }
        weights[code.byte() as usize] = weight;
        index += 1;
    }
    weights
};

impl Tally {
    /// Counts as they are stored: authorised absence is what is left of the possible sessions. A count below 0, which nothing
    /// stores, is 0.
    pub fn from_stored(
        attended: impl TryInto<u64>,
        possible: impl TryInto<u64>,
        unauthorised: impl TryInto<u64>,
    ) -> Tally {
        let attended = attended.try_into().unwrap_or_default();
        let possible = possible.try_into().unwrap_or_default();
        let unauthorised = unauthorised.try_into().unwrap_or_default();
        Tally {
            attended,
            possible,
            unauthorised,
            authorised: possible.saturating_sub(attended + unauthorised),
        }
    }

    /// Counts the marks of a register, or of a part of one.
    pub fn of_marks(marks: &[u8]) -> Tally {
        // A register has 732 and is counted at one go; more than 16 bits can hold are counted in parts.
        marks.chunks(usize::from(u16::MAX)).map(Tally::of_few_marks).sum()
    }

    /// Counts at most 65,535 marks.
    fn of_few_marks(marks: &[u8]) -> Tally {
        // Four sums side by side let the additions overlap.
        let mut sums = [0u64; 4];
        let chunks = marks.chunks_exact(4);
        for mark in chunks.remainder() {
            sums[0] += WEIGHTS[usize::from(*mark)];
        }
        for chunk in chunks {
            for lane in 0..4 {
                sums[lane] += WEIGHTS[usize::from(chunk[lane])];
            }
        }
        Tally::unpack(sums[0] + sums[1] + sums[2] + sums[3])
    }

    /// Counts one mark; 0 is no mark.
    pub fn of_mark(mark: u8) -> Tally {
        Tally::unpack(WEIGHTS[usize::from(mark)])
    }

    const fn unpack(word: u64) -> Tally {
        Tally {
            attended: word & 0xffff,
            possible: word >> 16 & 0xffff,
            authorised: word >> 32 & 0xffff,
            unauthorised: word >> 48,
        }
    }

    /// This tally without the sessions of another, which must be part of it.
    pub fn without(self, part: Tally) -> Tally {
        Tally {
            attended: self.attended.saturating_sub(part.attended),
            possible: self.possible.saturating_sub(part.possible),
            authorised: self.authorised.saturating_sub(part.authorised),
            unauthorised: self.unauthorised.saturating_sub(part.unauthorised),
        }
    }

    /// Sessions missed.
    pub fn missed(self) -> u64 {
        self.possible.saturating_sub(self.attended)
    }

    /// Persistent absence: a tenth or more of the possible sessions missed. Exact under every policy.
    /// Source: the department's absence methodology, 3.2.
    pub fn persistently_absent(self) -> bool {
        self.possible > 0 && u128::from(self.missed()) * 10 >= u128::from(self.possible)
    }

    /// Severe absence: half or more of the possible sessions missed. Exactly half is severe absence and stage 4.
    pub fn severely_absent(self) -> bool {
        self.possible > 0 && u128::from(self.missed()) * 2 >= u128::from(self.possible)
    }

    /// Attendance in tenths of a per cent, rounded half up; nothing where no session was possible.
    pub fn attendance_tenths(self) -> Option<u64> {
        if self.possible == 0 {
            return None;
        }
        let (attended, possible) = (u128::from(self.attended), u128::from(self.possible));
        let tenths = (attended * 2000 + possible) / (possible * 2);
        // Above 1000 only where more was attended than possible, which no marks give.
        Some(u64::try_from(tenths).unwrap_or(u64::MAX))
    }

    /// Attendance in per cent with one decimal, rounded half up, for people; empty where no session was possible.
    pub fn attendance_percent(self) -> String {
        match self.attendance_tenths() {
            Some(tenths) => format!("{}.{}", tenths / 10, tenths % 10),
            None => String::new(),
        }
    }
}

/// Running counts of the marks of one register, from which those of any part of it follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixTallies(Vec<u64>);

impl PrefixTallies {
    /// Counts a register, of which at most [`SESSIONS_MAX`](super::session::SESSIONS_MAX) sessions are looked at.
    pub fn of_marks(marks: &[u8]) -> PrefixTallies {
        let marks = &marks[..marks.len().min(super::session::SESSIONS_MAX)];
        let mut sum = 0;
        let sums = marks.iter().map(|mark| {
            sum += WEIGHTS[usize::from(*mark)];
            sum
        });
        PrefixTallies(std::iter::once(0).chain(sums).collect())
    }

    /// The counts of the places from `from` up to, but not including, `to`.
    pub fn between(&self, from: usize, to: usize) -> Tally {
        let last = self.0.len() - 1;
        let (from, to) = (from.min(last), to.min(last));
        // Each of the four counts grows, so that none borrows from its neighbour.
        Tally::unpack(self.0[to.max(from)] - self.0[from])
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            attended: self.attended.saturating_add(other.attended),
            possible: self.possible.saturating_add(other.possible),
            authorised: self.authorised.saturating_add(other.authorised),
            unauthorised: self.unauthorised.saturating_add(other.unauthorised),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), Add::add)
    }
}
