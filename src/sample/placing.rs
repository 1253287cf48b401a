//! Puts spells of absence on school days, and fills the other sessions: present, late, trips, sport, work experience.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::calendar::{self, SchoolYear};
use super::curve::proportion;
use super::published::PublishedPhase;
use super::quota::{Season, Spell, apportion};
use super::{Draft, people};
use crate::domain::code::AttendanceCode;

/// How often a spell looks for free days before it takes single free sessions.
const TRIES_MAX: usize = 12;
/// The first place of a week in a register is a Monday; 1 August 2025 is a Friday.
const AUGUST_1_WEEKDAY: u16 = 4;

/// A pupil's register with the sessions in which it can have marks.
struct Page<'year> {
    slots: &'year [u16],
    /// Sessions of a school day: 2, or 1 in nursery.
    per_day: usize,
    marks: Vec<u8>,
}

/// Fills the register of every pupil of a phase. The bytes run to the end of the academic year.
pub(super) fn fill_registers(
    drafts: &[Draft],
    figures: &PublishedPhase,
    school_year: &SchoolYear,
    random: &mut ChaCha8Rng,
) -> Vec<Vec<u8>> {
    let festivals = calendar::FESTIVALS.map(|day| calendar::first_place(school_year.year, day));
    let exams = calendar::first_place(school_year.year, calendar::EXAMS_FROM);
    let mut pages: Vec<Page<'_>> = drafts
        .iter()
        .map(|draft| Page {
            slots: draft.slots(school_year),
            per_day: if draft.mornings_only { 1 } else { 2 },
            marks: vec![0; school_year.year.sessions()],
        })
        .collect();
    for (draft, page) in drafts.iter().zip(&mut pages) {
        for spell in &draft.spells {
            page.place(spell, festivals, exams, random);
        }
        page.fill_present();
    }
    let possible: u64 = pages.iter().map(|page| page.slots.len() as u64).sum();
    let quota = |code: AttendanceCode| {
        u32::try_from(proportion(possible, figures.sessions(code), figures.possible)).unwrap_or(u32::MAX)
    };
    let groups = Groups::of(drafts);
    groups.work_experience(&mut pages, quota(AttendanceCode::W), random);
    single_pupils(&mut pages, AttendanceCode::K, quota(AttendanceCode::K), 80, random);
    groups.outings(&mut pages, AttendanceCode::V, quota(AttendanceCode::V), random);
    groups.outings(&mut pages, AttendanceCode::P, quota(AttendanceCode::P), random);
    single_pupils(&mut pages, AttendanceCode::B, quota(AttendanceCode::B), 10, random);
    late(drafts, &mut pages, quota(AttendanceCode::L), random);
    pages.into_iter().map(|page| page.marks).collect()
}

impl Page<'_> {
    fn mark(&self, position: usize) -> u8 {
        self.slots
            .get(position)
            .and_then(|slot| self.marks.get(usize::from(*slot)))
            .copied()
            .unwrap_or(u8::MAX)
    }

    fn set(&mut self, position: usize, code: AttendanceCode) {
        if let Some(mark) = self
            .slots
            .get(position)
            .and_then(|slot| self.marks.get_mut(usize::from(*slot)))
        {
            *mark = code.byte();
        }
    }

    fn present(&self, position: usize) -> bool {
        let mark = self.mark(position);
        mark == AttendanceCode::PresentMorning.byte() || mark == AttendanceCode::PresentAfternoon.byte()
    }

    /// The first session of the day of a position.
    fn day_start(&self, position: usize) -> usize {
        position - position % self.per_day
    }

    /// The first session of the week of a position.
    fn week_start(&self, position: usize) -> usize {
        let week = |position: usize| self.slots.get(position).map(|slot| (slot / 2 + AUGUST_1_WEEKDAY) / 7);
        let mut start = self.day_start(position);
        while start >= self.per_day && week(start - self.per_day) == week(position) {
            start -= self.per_day;
        }
        start
    }

    /// The position of the first session at or after a place of the register.
    fn position_of(&self, place: u16) -> usize {
        self.slots.partition_point(|slot| *slot < place)
    }

    fn any_position(&self, random: &mut ChaCha8Rng) -> usize {
        random.random_range(0..self.slots.len().max(1))
    }

    fn place(&mut self, spell: &Spell, festivals: [u16; 3], exams: u16, random: &mut ChaCha8Rng) {
        let length = spell.length as usize;
        for _ in 0..TRIES_MAX {
            let any = self.any_position(random);
            let (start, step) = match spell.season {
                Season::Illness => (self.winter(any, random), 1),
                Season::Any if length == 1 => (any, 1),
                Season::Any | Season::Morning => (self.day_start(any), 1),
                Season::Week => (self.week_start(any), 1),
                Season::Afternoons => (self.day_start(any) + self.per_day - 1, self.per_day),
                Season::Festival => {
                    let day = festivals.choose(random).copied().unwrap_or_default();
                    (self.position_of(day), 1)
                }
                Season::Exams => {
                    let from = self.position_of(exams).min(self.slots.len().saturating_sub(1));
                    (self.day_start(random.random_range(from..self.slots.len())), 1)
                }
                Season::LastWeek => {
                    let from = self.slots.len().saturating_sub(5 * self.per_day);
                    (random.random_range(from..self.slots.len()), 1)
                }
            };
            let end = start + length * step;
            if (start..end).step_by(step).all(|position| self.mark(position) == 0) {
                for position in (start..end).step_by(step) {
                    self.set(position, spell.code);
                }
                return;
            }
        }
        self.scatter(spell.code, length, random);
    }

    /// A day, or a half day now and then; in three cases of ten in the colder half of the year.
    fn winter(&self, any: usize, random: &mut ChaCha8Rng) -> usize {
        let position = if random.random_range(0..10) < 3 {
            let sessions = self.slots.len();
            sessions / 4 + any / 3
        } else {
            any
        };
        if random.random_range(0..8) == 0 {
            position
        } else {
            self.day_start(position)
        }
    }

    /// Takes the free sessions from somewhere on, one after the other.
    fn scatter(&mut self, code: AttendanceCode, mut length: usize, random: &mut ChaCha8Rng) {
        let from = self.any_position(random);
        for position in (from..self.slots.len()).chain(0..from) {
            if length == 0 {
                return;
            }
            if self.mark(position) == 0 {
                self.set(position, code);
                length -= 1;
            }
        }
    }

    fn fill_present(&mut self) {
        for slot in self.slots {
            if let Some(mark) = self.marks.get_mut(usize::from(*slot)).filter(|mark| **mark == 0) {
                *mark = if slot.is_multiple_of(2) {
                    AttendanceCode::PresentMorning.byte()
                } else {
                    AttendanceCode::PresentAfternoon.byte()
                };
            }
        }
    }

    /// Turns present marks of a run of sessions into another attended code, as far as the quota goes.
    fn attend(&mut self, run: std::ops::Range<usize>, code: AttendanceCode, quota: &mut u32) {
        for position in run {
            if *quota == 0 {
                return;
            }
            if self.present(position) {
                self.set(position, code);
                *quota -= 1;
            }
        }
    }
}

/// The pupils of each year group of each school.
struct Groups(BTreeMap<(usize, u8), Vec<usize>>);

impl Groups {
    fn of(drafts: &[Draft]) -> Groups {
        let mut groups: BTreeMap<(usize, u8), Vec<usize>> = BTreeMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            if draft.possible() > 0 {
                groups.entry((draft.school, draft.year_group)).or_default().push(index);
            }
        }
        Groups(groups)
    }

    /// A week at work for Year 10, school by school until the quota is used up; then for Year 11 and the others.
    fn work_experience(&self, pages: &mut [Page<'_>], mut quota: u32, random: &mut ChaCha8Rng) {
        let mut groups: Vec<_> = self.0.iter().collect();
        groups.shuffle(random);
        groups.sort_by_key(|((_, year_group), _)| match *year_group {
            people::YEAR_10 => 0,
            people::YEAR_11 => 1,
            younger => u8::MAX - younger,
        });
        for (_, members) in groups {
            if quota == 0 {
                return;
            }
            let place = members.first().and_then(|first| pages.get(*first)).and_then(|page| {
                let any = page.slots.len() / 2 + page.any_position(random) / 2;
                page.slots.get(page.week_start(any)).copied()
            });
            for page in members.iter().filter_map(|index| place.map(|place| (*index, place))) {
                let (index, place) = page;
                let page = &mut pages[index];
                let from = page.position_of(place);
                let to = page.position_of(place + 14);
                page.attend(from..to, AttendanceCode::W, &mut quota);
            }
        }
    }

    /// Days out: a school trip takes half of a year group for a day, sport takes a team for an afternoon.
    fn outings(&self, pages: &mut [Page<'_>], code: AttendanceCode, mut quota: u32, random: &mut ChaCha8Rng) {
        let sport = code == AttendanceCode::P;
        let groups: Vec<&Vec<usize>> = self.0.values().collect();
        // Each outing takes somebody unless all are away: the bound is never met in practice.
        let outings_max = quota;
        for _ in 0..outings_max {
            let Some(members) = groups.choose(random).filter(|_| quota > 0) else {
                return;
            };
            let away = if sport { 16 } else { members.len().div_ceil(2) };
            let Some(page) = members.first().and_then(|first| pages.get(*first)) else {
                return;
            };
            let Some(morning) = page.slots.get(page.day_start(page.any_position(random))).copied() else {
                return;
            };
            let (from, to) = if sport {
                (morning + 1, morning + 2)
            } else {
                (morning, morning + 2)
            };
            for index in members.choose_multiple(random, away) {
                let page = &mut pages[*index];
                let run = page.position_of(from)..page.position_of(to);
                page.attend(run, code, &mut quota);
            }
        }
    }
}

/// Gives a code of attendance elsewhere to single pupils, in long runs.
fn single_pupils(
    pages: &mut [Page<'_>],
    code: AttendanceCode,
    mut quota: u32,
    run_length: usize,
    random: &mut ChaCha8Rng,
) {
    let mut order: Vec<usize> = (0..pages.len()).collect();
    order.shuffle(random);
    for index in order.into_iter().cycle().take(4 * pages.len()) {
        if quota == 0 {
            return;
        }
        let page = &mut pages[index];
        let from = page.day_start(page.any_position(random));
        let to = (from + run_length).min(page.slots.len());
        page.attend(from..to, code, &mut quota);
    }
}

/// Makes mornings late: most of them fall to a few pupils.
fn late(drafts: &[Draft], pages: &mut [Page<'_>], quota: u32, random: &mut ChaCha8Rng) {
    let mut weights = Vec::with_capacity(pages.len());
    let mut caps = Vec::with_capacity(pages.len());
    for (draft, page) in drafts.iter().zip(&*pages) {
        let inclination: f64 = random.random();
        let absence = f64::from(draft.missed) / f64::from(draft.possible().max(1));
        let mornings = page.slots.len() / page.per_day;
        weights.push((0.02 + inclination * inclination * inclination) * (0.3 + absence) * mornings as f64);
        caps.push((0..mornings).filter(|day| page.present(day * page.per_day)).count() as u32);
    }
    let counts = apportion(&weights, &caps, quota, random);
    for (page, count) in pages.iter_mut().zip(counts) {
        let mut mornings: Vec<usize> = (0..page.slots.len())
            .step_by(page.per_day)
            .filter(|position| page.present(*position))
            .collect();
        let (chosen, _) = mornings.partial_shuffle(random, count as usize);
        for position in chosen {
            page.set(*position, AttendanceCode::L);
        }
    }
}
