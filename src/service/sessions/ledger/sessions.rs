//! What a batch does to the sessions of schools: which it enters marks into, and which their calendars have closed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Ledger, RegisterEntry};
use crate::domain::code::AttendanceCode;
use crate::domain::marked::flags_of;
use crate::domain::register::Diff;
use crate::service::sessions::SessionItem;
use crate::store::calendars::{SchoolYear, SessionNotes};

impl Ledger<'_> {
    /// The schools and years in whose registers something is claimed.
    pub(in crate::service::sessions) fn claimed_years(&self) -> BTreeSet<SchoolYear> {
        let claimed = self.registers.iter().filter(|register| !register.claims.is_empty());
        claimed
            .map(|register| (self.enrolments[register.enrolment].school_id, register.year))
            .collect()
    }

    /// Finds the marks that are claimed for sessions which `closed` has closed, with their places: a byte a session, 255 for a
    /// closed one. A planned closure is no such mark, and neither is one that is left or taken away.
    pub(in crate::service::sessions) fn marks_on_closed_days(
        &self,
        closed: &HashMap<SchoolYear, Vec<u8>>,
        refused: &HashSet<usize>,
        mut found: impl FnMut(&SessionItem, usize, AttendanceCode),
    ) {
        if closed.is_empty() {
            return;
        }
        for register in &self.registers {
            let school = self.enrolments[register.enrolment].school_id;
            let Some(mask) = closed.get(&(school, register.year)) else {
                continue;
            };
            for claim in &register.claims {
                let marks = || claim.marks.iter().zip(&mask[claim.first.min(mask.len())..]);
                // All at once, since hardly any is.
                let any = marks().fold(0, |any, (mark, closed)| any | (mark & closed));
                if any == 0 || refused.contains(&claim.item.item_index) {
                    continue;
                }
                for (place, (mark, _)) in marks().enumerate().filter(|(_, (_, closed))| **closed != 0) {
                    match AttendanceCode::from_byte(*mark) {
                        None | Some(AttendanceCode::PlannedClosure) => {}
                        Some(code) => found(claim.item, claim.first + place, code),
                    }
                }
            }
        }
    }

    /// The sessions in which marks were entered or taken away, by school and year.
    pub(in crate::service::sessions) fn take_session_notes(&mut self) -> BTreeMap<SchoolYear, SessionNotes> {
        std::mem::take(&mut self.session_notes)
    }
}

/// Notes which sessions of the school a merge entered marks into, and in which it took marks away.
pub(super) fn note(
    notes: &mut BTreeMap<SchoolYear, SessionNotes>,
    school: Uuid,
    register: &RegisterEntry<'_>,
    diff: &Diff,
    today: NaiveDate,
) {
    if diff.is_unchanged() {
        return;
    }
    let ahead = register.year.sessions_to(today);
    let notes = notes.entry((school, register.year)).or_default();
    for (from, length) in &diff.first_entry_runs {
        let (first, length) = (usize::from(*from), usize::from(*length));
        let place = first - register.offset;
        let entered = &register.bytes[place..place + length];
        notes.marked.add_marks(first, entered, ahead);
    }
    for change in &diff.changes {
        if flags_of(change.old) & !flags_of(change.new) != 0 {
            // Below 732, the length of the longest register.
            notes.lost.push(change.index as u16);
        }
        if change.new != 0 {
            notes.marked.add_marks(change.index, &[change.new], ahead);
        }
    }
}
