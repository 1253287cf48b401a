//! The ledger of one batch: the pupils it locked, their registers, and what the batch claims of each.

mod judging;
mod sessions;
mod thresholds;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use uuid::Uuid;

use super::{Correction, SessionItem};
use crate::domain::identifiers::SchoolId;
use crate::domain::pupil::{EnrolmentKind, EnrolmentSpan};
use crate::domain::register::{CLEAR, Change, LEAVE, merge, next_mark_after};
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::domain::thresholds::Classes;
use crate::service::error::Rejection;
use crate::service::judging::Moment;
use crate::store::StoreError;
use crate::store::calendars::{SchoolYear, SessionNotes};
use crate::store::registers::{EnrolmentRegister, FirstEntries, RegisterWrite, RegisterWrites, Window};
use crate::store::revisions::RevisionWrite;
use crate::store::stages::StageRow;

/// The marks that one item puts to one register.
struct Claim<'a> {
    item: &'a SessionItem,
    first: usize,
    marks: Cow<'a, [u8]>,
}

struct PupilEntry {
    row: StageRow,
    enrolments: std::ops::Range<usize>,
}

struct EnrolmentEntry {
    pupil: usize,
    enrolment_id: Uuid,
    school_id: Uuid,
    span: EnrolmentSpan,
    /// Places in [`Ledger::registers`].
    registers: Vec<usize>,
}

struct RegisterEntry<'a> {
    enrolment: usize,
    year: AcademicYear,
    /// Whether it is in the store already.
    stored: bool,
    /// Whether all of its marks were loaded, and not the window alone.
    whole: bool,
    /// How many places the stored register has.
    length: usize,
    /// The first place of `bytes`.
    offset: usize,
    bytes: Vec<u8>,
    /// The counts as they were stored.
    tally_before: Tally,
    /// The counts of what lies outside `bytes`.
    tally_outside: Tally,
    /// Whether there were marks that the stored counts leave out.
    ahead_before: bool,
    /// The stored date of the first mark that the counts leave out, where it is still ahead.
    next_mark_on: Option<NaiveDate>,
    claims: Vec<Claim<'a>>,
    /// The earliest place written.
    touched_from: Option<usize>,
    /// What the marks are that were entered where there was none.
    entered: Classes,
    first_entry_runs: Vec<(u16, u16)>,
}

/// What merging one claim did.
pub(super) struct Merged {
    pub first_entries: usize,
    pub changes: usize,
    pub unchanged: usize,
}

pub(super) struct Ledger<'a> {
    moment: Moment,
    window: Window,
    /// The years whose registers were loaded.
    years: BTreeSet<AcademicYear>,
    pupils: Vec<PupilEntry>,
    places: HashMap<Uuid, usize>,
    enrolments: Vec<EnrolmentEntry>,
    registers: Vec<RegisterEntry<'a>>,
    revisions: Vec<RevisionWrite>,
    session_notes: BTreeMap<SchoolYear, SessionNotes>,
}

impl<'a> Ledger<'a> {
    /// Opens a ledger over locked pupils and what was loaded of their registers; both are in the order of the pupils.
    pub(super) fn new(
        rows: Vec<StageRow>,
        loaded: Vec<EnrolmentRegister>,
        window: Window,
        years: BTreeSet<AcademicYear>,
        moment: Moment,
    ) -> Result<Ledger<'a>, StoreError> {
        let mut ledger = Ledger {
            moment,
            window,
            years,
            places: rows
                .iter()
                .enumerate()
                .map(|(place, row)| (row.pupil_id, place))
                .collect(),
            pupils: Vec::with_capacity(rows.len()),
            enrolments: Vec::with_capacity(rows.len()),
            registers: Vec::with_capacity(rows.len()),
            revisions: Vec::new(),
            session_notes: BTreeMap::new(),
        };
        let mut loaded = loaded.into_iter().peekable();
        for row in rows {
            let pupil = ledger.pupils.len();
            let from = ledger.enrolments.len();
            while let Some(found) = loaded.next_if(|found| found.pupil_id <= row.pupil_id) {
                if found.pupil_id == row.pupil_id {
                    ledger.add(pupil, from, found)?;
                }
            }
            let enrolments = from..ledger.enrolments.len();
            ledger.pupils.push(PupilEntry { row, enrolments });
        }
        Ok(ledger)
    }

    fn add(&mut self, pupil: usize, from: usize, found: EnrolmentRegister) -> Result<(), StoreError> {
        let known = self.enrolments[from..]
            .iter()
            .position(|entry| entry.enrolment_id == found.enrolment_id);
        let enrolment = match known {
            Some(known) => from + known,
            None => {
                self.enrolments.push(EnrolmentEntry {
                    pupil,
                    enrolment_id: found.enrolment_id,
                    school_id: found.school_id,
                    span: EnrolmentSpan {
                        school: SchoolId(found.school_id),
                        kind: EnrolmentKind::from_number(found.kind).ok_or(StoreError::Corrupt("enrolments.kind"))?,
                        start: found.start_date,
                        end: found.end_date,
                    },
                    registers: Vec::with_capacity(1),
                });
                self.enrolments.len() - 1
            }
        };
        let (Some(year), Some(length), Some(part)) = (found.academic_year, found.length, found.part) else {
            return Ok(());
        };
        let year =
            AcademicYear::from_start_year(i32::from(year)).ok_or(StoreError::Corrupt("registers.academic_year"))?;
        let today = self.moment.today;
        // The counts of a register whose marks have come due are out of date: all of its marks were loaded.
        let due = found.next_mark_on.is_some_and(|date| date <= today);
        let whole = due || self.window == Window::WHOLE;
        let offset = if whole { 0 } else { self.window.offset };
        let stored = Tally::from_stored(
            found.attended.unwrap_or(0),
            found.possible.unwrap_or(0),
            found.unauthorised.unwrap_or(0),
        );
        let tally_outside = if whole {
            Tally::default()
        } else {
            stored.without(Tally::of_marks(counted(&part, offset, year, today)))
        };
        let place = self.registers.len();
        self.registers.push(RegisterEntry {
            enrolment,
            year,
            stored: true,
            whole,
            length: usize::try_from(length).unwrap_or_default(),
            offset,
            bytes: part,
            tally_before: stored,
            tally_outside,
            ahead_before: found.next_mark_on.is_some(),
            next_mark_on: found.next_mark_on.filter(|date| !whole && *date > today),
            claims: Vec::new(),
            touched_from: None,
            entered: Classes::default(),
            first_entry_runs: Vec::new(),
        });
        self.enrolments[enrolment].registers.push(place);
        Ok(())
    }

    /// The place of a pupil that was locked.
    pub(super) fn pupil(&self, pupil_id: Uuid) -> Option<usize> {
        self.places.get(&pupil_id).copied()
    }

    /// The pupil's enrolments at a school, or at every school.
    pub(super) fn enrolments_at(&self, pupil: usize, school: Option<Uuid>) -> Vec<(usize, EnrolmentSpan)> {
        let range = self.pupils[pupil].enrolments.clone();
        range
            .map(|place| (place, &self.enrolments[place]))
            .filter(|(_, entry)| school.is_none_or(|school| entry.school_id == school))
            .map(|(place, entry)| (place, entry.span))
            .collect()
    }

    /// Notes that an item marks sessions of an enrolment's register.
    pub(super) fn claim(
        &mut self,
        enrolment: usize,
        year: AcademicYear,
        item: &'a SessionItem,
        first: usize,
        marks: Cow<'a, [u8]>,
    ) {
        let known = self.enrolments[enrolment]
            .registers
            .iter()
            .find(|place| self.registers[**place].year == year);
        let register = match known {
            Some(known) => *known,
            None => {
                self.registers.push(RegisterEntry {
                    enrolment,
                    year,
                    stored: false,
                    whole: false,
                    length: 0,
                    offset: self.window.offset,
                    bytes: Vec::new(),
                    tally_before: Tally::default(),
                    tally_outside: Tally::default(),
                    ahead_before: false,
                    next_mark_on: None,
                    claims: Vec::new(),
                    touched_from: None,
                    entered: Classes::default(),
                    first_entry_runs: Vec::new(),
                });
                let place = self.registers.len() - 1;
                self.enrolments[enrolment].registers.push(place);
                place
            }
        };
        self.registers[register].claims.push(Claim { item, first, marks });
    }

    /// Items that mark a session which another item of the batch marks too: all of them, so that the order of the items
    /// decides nothing.
    pub(super) fn duplicates(&self) -> Vec<Rejection> {
        let mut found = BTreeMap::new();
        for register in self.registers.iter().filter(|register| register.claims.len() > 1) {
            let mut owners: HashMap<usize, &Claim<'_>> = HashMap::new();
            for claim in &register.claims {
                for (place, _) in claim.marks.iter().enumerate().filter(|(_, mark)| **mark != LEAVE) {
                    let place = claim.first + place;
                    if let Some(other) = owners.insert(place, claim) {
                        for item in [other.item, claim.item] {
                            found.entry(item.item_index).or_insert_with(|| {
                                Rejection::new(
                                    item.item_index,
                                    format!("marks[{}]", place - item.first),
                                    "DUPLICATE_ITEM",
                                    "another item of the batch marks this session too: mark it once",
                                )
                                .at(register.year.session_at(place))
                            });
                        }
                    }
                }
            }
        }
        found.into_values().collect()
    }

    /// Items that would change a mark and say neither why nor by whom.
    pub(super) fn changes_without_correction(
        &self,
        of_batch: Option<&Correction>,
        refused: &HashSet<usize>,
    ) -> Vec<Rejection> {
        if of_batch.is_some() {
            return Vec::new();
        }
        let mut found = BTreeMap::new();
        for register in &self.registers {
            for claim in &register.claims {
                if claim.item.correction.is_some() || refused.contains(&claim.item.item_index) {
                    continue;
                }
                if let Some(place) = register.first_change(claim) {
                    found.entry(claim.item.item_index).or_insert_with(|| {
                        Rejection::new(
                            claim.item.item_index,
                            "correction",
                            "CORRECTION_REQUIRED",
                            "a mark that is already there would change: give the correction's reason and who makes it, by \
                             name and position",
                        )
                        .at(register.year.session_at(place))
                    });
                }
            }
        }
        found.into_values().collect()
    }

    /// Merges every claim whose item is not refused, and says what each did.
    pub(super) fn merge(&mut self, of_batch: Option<&Correction>, refused: &HashSet<usize>) -> Vec<(usize, Merged)> {
        let mut results = Vec::with_capacity(self.registers.len());
        for register in &mut self.registers {
            let entry = &self.enrolments[register.enrolment];
            let pupil_id = self.pupils[entry.pupil].row.pupil_id;
            for claim in std::mem::take(&mut register.claims) {
                if refused.contains(&claim.item.item_index) {
                    continue;
                }
                let diff = merge(&mut register.bytes, register.offset, claim.first, &claim.marks);
                results.push((
                    claim.item.item_index,
                    Merged {
                        first_entries: diff.first_entries,
                        changes: diff.changes.len(),
                        unchanged: diff.unchanged,
                    },
                ));
                sessions::note(
                    &mut self.session_notes,
                    entry.school_id,
                    register,
                    &diff,
                    self.moment.today,
                );
                register.entered |= register.classes_of(&diff.first_entry_runs);
                if let Some((from, _)) = diff.touched {
                    register.touched_from = Some(register.touched_from.map_or(from, |known| known.min(from)));
                }
                if register.first_entry_runs.is_empty() {
                    register.first_entry_runs = diff.first_entry_runs;
                } else {
                    register.first_entry_runs.extend(diff.first_entry_runs);
                }
                let correction = claim.item.correction.as_ref().or(of_batch);
                for (change, correction) in diff.changes.into_iter().zip(std::iter::repeat(correction)) {
                    // A change without a correction was refused before.
                    let Some(correction) = correction else { continue };
                    self.revisions
                        .push(revision(pupil_id, entry, register.year, change, correction));
                }
            }
        }
        results
    }

    /// The marks that were changed.
    pub(super) fn take_revisions(&mut self) -> Vec<RevisionWrite> {
        std::mem::take(&mut self.revisions)
    }

    /// The first entries by school and year, registers with the same runs together.
    pub(super) fn first_entries(&self) -> Vec<FirstEntries> {
        type Groups<'r> = BTreeMap<&'r [(u16, u16)], Vec<Uuid>>;
        let mut by_school: BTreeMap<(Uuid, AcademicYear), Groups<'_>> = BTreeMap::new();
        for register in self
            .registers
            .iter()
            .filter(|register| !register.first_entry_runs.is_empty())
        {
            let entry = &self.enrolments[register.enrolment];
            by_school
                .entry((entry.school_id, register.year))
                .or_default()
                .entry(&register.first_entry_runs)
                .or_default()
                .push(entry.enrolment_id);
        }
        let encode = |groups: Groups<'_>| {
            let mut bytes = Vec::new();
            for (runs, enrolments) in groups {
                // A register has at most 366 runs, and a batch at most 50,000 items.
                bytes.extend((runs.len() as u16).to_be_bytes());
                for (from, length) in runs {
                    bytes.extend(from.to_be_bytes());
                    bytes.extend(length.to_be_bytes());
                }
                bytes.extend((enrolments.len() as u32).to_be_bytes());
                for enrolment in enrolments {
                    bytes.extend(enrolment.as_bytes());
                }
            }
            bytes
        };
        let entries = by_school.into_iter().map(|((school_id, year), groups)| FirstEntries {
            school_id,
            year,
            runs: encode(groups),
        });
        entries.collect()
    }

    /// The registers that are to be written: new ones, whole ones, and those of which the window alone was loaded.
    pub(super) fn take_writes(&mut self) -> RegisterWrites {
        let mut writes = RegisterWrites {
            offset: self.window.offset,
            ..RegisterWrites::default()
        };
        // Without a window the marks serve the judgement as well.
        let keep_marks = self.window == Window::WHOLE;
        for register in &mut self.registers {
            if register.touched_from.is_none() {
                continue;
            }
            let tally = register.tally(self.moment.today);
            let next_mark_on = register.next_mark_on(self.moment.today);
            let mut bytes = if keep_marks {
                register.bytes.clone()
            } else {
                std::mem::take(&mut register.bytes)
            };
            register.tally_outside = tally;
            register.next_mark_on = next_mark_on;
            let part = register.stored && !register.whole;
            if part {
                // What is left off at the end is written as no mark: a mark there may have been taken away.
                bytes.resize(self.window.length, 0);
            } else if register.offset > 0 {
                bytes.splice(0..0, std::iter::repeat_n(0, register.offset));
            }
            let entry = &self.enrolments[register.enrolment];
            let write = RegisterWrite {
                pupil_id: self.pupils[entry.pupil].row.pupil_id,
                enrolment_id: entry.enrolment_id,
                school_id: entry.school_id,
                year: register.year,
                bytes,
                tally,
                next_mark_on,
            };
            let to = match (register.stored, part) {
                (false, _) => &mut writes.new,
                (true, false) => &mut writes.whole,
                (true, true) => &mut writes.parts,
            };
            to.push(write);
        }
        writes
    }
}

impl RegisterEntry<'_> {
    /// The counts of the whole register up to a day.
    fn tally(&self, today: NaiveDate) -> Tally {
        self.tally_outside + Tally::of_marks(counted(&self.bytes, self.offset, self.year, today))
    }

    /// What the marks of some runs of places are, which lie within `bytes`.
    fn classes_of(&self, runs: &[(u16, u16)]) -> Classes {
        if self.length == 0 {
            // Not worth a look where everything is new.
            return Classes::EVERY;
        }
        let marks = runs.iter().filter_map(|(from, length)| {
            let from = usize::from(*from).checked_sub(self.offset)?;
            self.bytes.get(from..from + usize::from(*length))
        });
        marks.fold(Classes::default(), |found, marks| found | Classes::of_marks(marks))
    }

    /// Whether it has marks after a day, once the writes were taken.
    fn has_marks_ahead(&self, today: NaiveDate) -> bool {
        self.next_mark_on.is_some() || self.offset + self.bytes.len() > self.year.sessions_to(today)
    }

    /// The date of the first mark after a day.
    fn next_mark_on(&self, today: NaiveDate) -> Option<NaiveDate> {
        let in_bytes = if self.offset == 0 {
            next_mark_after(&self.bytes, self.year, today)
        } else {
            let from = self.year.sessions_to(today).saturating_sub(self.offset);
            let ahead = self
                .bytes
                .get(from..)
                .and_then(|ahead| ahead.iter().position(|mark| *mark != 0));
            ahead.map(|ahead| self.year.session_at(self.offset + from + ahead).date)
        };
        in_bytes.into_iter().chain(self.next_mark_on).min()
    }

    /// The first place at which a claim would change a mark.
    fn first_change(&self, claim: &Claim<'_>) -> Option<usize> {
        claim
            .marks
            .iter()
            .enumerate()
            .filter(|(_, mark)| **mark != LEAVE)
            .map(|(place, mark)| (claim.first + place, if *mark == CLEAR { 0 } else { *mark }))
            .find(|(place, mark)| {
                let old = place.checked_sub(self.offset).and_then(|place| self.bytes.get(place));
                old.is_some_and(|old| *old != 0 && old != mark)
            })
            .map(|(place, _)| place)
    }
}

/// The part of `bytes`, which begin at `offset`, that is dated up to a day.
fn counted(bytes: &[u8], offset: usize, year: AcademicYear, today: NaiveDate) -> &[u8] {
    let length = year.sessions_to(today).saturating_sub(offset).min(bytes.len());
    &bytes[..length]
}

fn revision(
    pupil_id: Uuid,
    enrolment: &EnrolmentEntry,
    year: AcademicYear,
    change: Change,
    correction: &Correction,
) -> RevisionWrite {
    RevisionWrite {
        pupil_id,
        enrolment_id: enrolment.enrolment_id,
        school_id: enrolment.school_id,
        year,
        change,
        reason: correction.reason.clone(),
        name: correction.corrected_by.name.clone(),
        position: correction.corrected_by.position.clone(),
    }
}
