//! Hands the published codes of absence out to the pupils, in spells, until each pupil misses what the curve says.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::calendar::{self, SchoolYear};
use super::curve::proportion;
use super::published::PublishedPhase;
use super::{Draft, people};
use crate::domain::code::{AttendanceCode, Category};

/// Where in the year a spell is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Season {
    /// On any days, in winter more often.
    Illness,
    /// On any days.
    Any,
    /// From a Monday on.
    Week,
    /// On afternoons in a row.
    Afternoons,
    /// In one morning.
    Morning,
    /// On a day of religious observance.
    Festival,
    /// While Year 11 has its examinations.
    Exams,
    /// In the last school week: the reason is not yet known.
    LastWeek,
}

/// Sessions of one code in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spell {
    /// The code.
    pub code: AttendanceCode,
    /// How many sessions.
    pub length: u32,
    /// Where in the year.
    pub season: Season,
}

/// How a code of absence is shared out.
struct Habit {
    code: AttendanceCode,
    season: Season,
    /// Lengths of a spell in sessions, with the share of the code's sessions, in per cent, that come in such spells. What
    /// is left over comes in single sessions.
    lengths: &'static [(u32, u32)],
    /// How likely a spell falls to a pupil, from what is still to be given a code and the share of the year missed.
    weight: fn(&Case) -> f64,
    /// The most spells of a length for one pupil.
    spells_max: u32,
}

/// What a habit may look at.
struct Case {
    remaining: f64,
    rate: f64,
    year_group: u8,
    /// The pupil's own inclination to this code, 0 to 1.
    inclination: f64,
}

impl Case {
    /// The weight for the few pupils of whom a code is typical.
    fn few(&self, share: f64, weight: f64) -> f64 {
        if self.inclination < share { weight } else { 0.0 }
    }
}

/// In the order in which they are shared out: what suits the fewest pupils comes first. Illness and `O` share the rest.
const HABITS: [Habit; 12] = [
    Habit {
        code: AttendanceCode::T,
        season: Season::Any,
        lengths: &[(20, 70), (10, 30)],
        weight: |case| case.few(0.02, case.remaining),
        spells_max: 2,
    },
    Habit {
        code: AttendanceCode::C2,
        season: Season::Afternoons,
        lengths: &[(40, 60), (15, 30), (5, 10)],
        weight: |case| case.few(0.6, case.remaining * case.rate),
        spells_max: 2,
    },
    Habit {
        code: AttendanceCode::S,
        season: Season::Exams,
        lengths: &[(10, 50), (2, 50)],
        weight: |case| {
            if case.year_group == people::YEAR_11 {
                case.remaining
            } else {
                0.0
            }
        },
        spells_max: 3,
    },
    Habit {
        code: AttendanceCode::E,
        season: Season::Any,
        lengths: &[(10, 30), (6, 20), (4, 25), (2, 20)],
        weight: |case| case.few(0.5, case.remaining * case.rate),
        spells_max: 4,
    },
    Habit {
        code: AttendanceCode::G,
        season: Season::Week,
        lengths: &[(10, 75), (4, 20)],
        weight: |case| {
            if case.rate < 0.5 { case.remaining.min(40.0) } else { 0.0 }
        },
        spells_max: 2,
    },
    Habit {
        code: AttendanceCode::R,
        season: Season::Festival,
        lengths: &[(2, 100)],
        weight: |case| case.few(0.25, 1.0),
        spells_max: 2,
    },
    Habit {
        code: AttendanceCode::C1,
        season: Season::Any,
        lengths: &[(2, 90)],
        weight: |case| case.few(0.02, 1.0),
        spells_max: 4,
    },
    Habit {
        code: AttendanceCode::J1,
        season: Season::Any,
        lengths: &[(2, 60)],
        weight: |case| f64::from(case.year_group),
        spells_max: 2,
    },
    Habit {
        code: AttendanceCode::N,
        season: Season::LastWeek,
        lengths: &[(2, 70)],
        weight: |case| case.remaining,
        spells_max: 2,
    },
    Habit {
        code: AttendanceCode::C,
        season: Season::Any,
        lengths: &[(10, 20), (4, 20), (2, 50)],
        weight: |case| case.remaining,
        spells_max: 4,
    },
    Habit {
        code: AttendanceCode::M,
        season: Season::Any,
        lengths: &[],
        weight: |case| case.remaining.min(12.0),
        spells_max: 20,
    },
    Habit {
        code: AttendanceCode::U,
        season: Season::Morning,
        lengths: &[],
        weight: |case| case.inclination * case.remaining.min(60.0),
        spells_max: 60,
    },
];

/// Gives every missed session of every pupil a code, so that the phase's codes have the published frequencies.
pub(super) fn hand_out_spells(
    drafts: &mut [Draft],
    figures: &PublishedPhase,
    school_year: &SchoolYear,
    random: &mut ChaCha8Rng,
) {
    let mut remaining: Vec<u32> = drafts.iter().map(|draft| draft.missed).collect();
    let total: u64 = remaining.iter().map(|missed| u64::from(*missed)).sum();
    let exams = school_year
        .sessions
        .last()
        .is_some_and(|last| *last >= calendar::first_place(school_year.year, calendar::EXAMS_FROM));
    let published: u64 = shared_codes(exams).map(|code| figures.sessions(code)).sum();
    let quota = |code: AttendanceCode| -> u32 {
        u32::try_from(proportion(total, figures.sessions(code), published)).unwrap_or(u32::MAX)
    };
    for habit in HABITS.iter().filter(|habit| exams || habit.season != Season::Exams) {
        share_out(habit, quota(habit.code), drafts, &mut remaining, random);
    }

    // O falls to those who miss much, illness is the rest.
    let weights: Vec<f64> = drafts
        .iter()
        .zip(&remaining)
        .map(|(draft, remaining)| f64::from(*remaining) * (0.05 + rate(draft)) * (0.3 + random.random::<f64>()))
        .collect();
    let unexplained = apportion(&weights, &remaining, quota(AttendanceCode::O), random);
    for ((draft, remaining), unexplained) in drafts.iter_mut().zip(&remaining).zip(unexplained) {
        let ill = remaining - unexplained;
        split(
            draft,
            AttendanceCode::O,
            Season::Any,
            unexplained,
            &[2, 1, 2, 4, 2, 6, 1, 10],
            random,
        );
        split(
            draft,
            AttendanceCode::I,
            Season::Illness,
            ill,
            &[2, 4, 2, 6, 1, 4, 10, 2],
            random,
        );
        // The longest first: they find their place while there is room.
        draft.spells.sort_by_key(|spell| std::cmp::Reverse(spell.length));
    }
}

/// The codes of absence that are shared out: without those that have been withdrawn, and without study leave before the
/// examinations.
fn shared_codes(exams: bool) -> impl Iterator<Item = AttendanceCode> {
    AttendanceCode::ALL
        .iter()
        .copied()
        .filter(|code| {
            matches!(
                code.category(),
                Category::AuthorisedAbsence | Category::UnauthorisedAbsence
            )
        })
        .filter(|code| code.valid_on(calendar::FIRST_DAY))
        .filter(move |code| exams || *code != AttendanceCode::S)
}

fn rate(draft: &Draft) -> f64 {
    f64::from(draft.missed) / f64::from(draft.possible().max(1))
}

fn share_out(habit: &Habit, quota: u32, drafts: &mut [Draft], remaining: &mut [u32], random: &mut ChaCha8Rng) {
    let inclinations: Vec<f64> = drafts.iter().map(|_| random.random()).collect();
    let mut left = quota;
    let singles = [(1, 100)];
    for (length, percent) in habit.lengths.iter().chain(&singles) {
        let spells = (u64::from(quota) * u64::from(*percent) / 100).min(u64::from(left)) as u32 / length;
        let mut weights = Vec::with_capacity(drafts.len());
        let mut caps = Vec::with_capacity(drafts.len());
        for ((draft, remaining), inclination) in drafts.iter().zip(&*remaining).zip(&inclinations) {
            let case = Case {
                remaining: f64::from(*remaining),
                rate: rate(draft),
                year_group: draft.year_group,
                inclination: *inclination,
            };
            weights.push((habit.weight)(&case));
            caps.push((remaining / length).min(habit.spells_max));
        }
        let counts = apportion(&weights, &caps, spells, random);
        for ((draft, remaining), count) in drafts.iter_mut().zip(&mut *remaining).zip(counts) {
            for _ in 0..count {
                draft.spells.push(Spell {
                    code: habit.code,
                    length: *length,
                    season: habit.season,
                });
            }
            *remaining -= count * length;
            left -= count * length;
        }
    }
}

/// Splits a pupil's sessions of a code into spells whose lengths follow a pattern, begun anywhere.
fn split(
    draft: &mut Draft,
    code: AttendanceCode,
    season: Season,
    mut sessions: u32,
    pattern: &[u32],
    random: &mut ChaCha8Rng,
) {
    if sessions == 0 {
        return;
    }
    let begin = random.random_range(0..pattern.len());
    for length in pattern.iter().cycle().skip(begin) {
        let length = (*length).min(sessions);
        draft.spells.push(Spell { code, length, season });
        sessions -= length;
        if sessions == 0 {
            return;
        }
    }
}

/// Shares `quota` units out in proportion to weights, by systematic sampling: each gets the whole part of its share, and
/// the rest by chance. Nobody gets more than the cap; what nobody can take is not shared out.
pub(super) fn apportion(weights: &[f64], caps: &[u32], quota: u32, random: &mut ChaCha8Rng) -> Vec<u32> {
    let mut counts = vec![0; weights.len()];
    let mut left = quota;
    // Each round either shares everything out or fills somebody's cap.
    while left > 0 {
        let open = |index: usize, counts: &[u32]| counts[index] < caps[index] && weights[index] > 0.0;
        let whole: f64 = (0..weights.len())
            .filter(|index| open(*index, &counts))
            .map(|index| weights[index])
            .sum();
        if whole <= 0.0 {
            break;
        }
        let scale = f64::from(left) / whole;
        let mut sum = random.random::<f64>();
        let mut taken_before = left;
        for index in 0..weights.len() {
            if !open(index, &counts) {
                continue;
            }
            sum += weights[index] * scale;
            let count = (sum as u32).min(caps[index] - counts[index]).min(left);
            // What is beyond the cap is not carried to the neighbour: the next round shares it among all.
            sum -= f64::from(sum as u32);
            counts[index] += count;
            left -= count;
        }
        taken_before -= left;
        if taken_before == 0 {
            // Rounding alone can leave the last unit: it goes to the first who can take it.
            if let Some(index) = (0..weights.len()).find(|index| open(*index, &counts)) {
                counts[index] += 1;
                left -= 1;
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_quota_is_shared_out_to_the_unit_within_the_caps() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let weights = [1.0, 2.0, 0.0, 7.0, 0.1];
        let caps = [100, 3, 100, 40, 100];
        for quota in [0, 1, 10, 143, 150] {
            let counts = apportion(&weights, &caps, quota, &mut random);
            assert_eq!(counts.iter().sum::<u32>(), quota, "{counts:?}");
            assert!(counts.iter().zip(caps).all(|(count, cap)| *count <= cap));
            assert_eq!(counts[2], 0);
        }
    }

    #[test]
    fn what_nobody_can_take_is_not_shared_out() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(apportion(&[1.0, 1.0], &[2, 3], 9, &mut random), [2, 3]);
        assert_eq!(apportion(&[0.0], &[9], 9, &mut random), [0]);
    }
}
