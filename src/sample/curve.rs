//! How much of the year each pupil of a phase misses: most a little, some a lot.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::published::PublishedPhase;
use super::{Draft, Phase};

/// The share of pupils who miss half or more, in per cent. Not among the published columns: chosen near what the
/// department's statistics of earlier years gave.
const fn severe_absence_percent(phase: Phase) -> f64 {
    match phase {
        Phase::Primary => 0.8,
        Phase::Secondary => 2.8,
        Phase::Special => 5.5,
    }
}

/// How strongly absence of 10 to 50 per cent leans towards 10.
const PERSISTENT_LEAN: f64 = 5.0;
/// How far schools of one phase differ, in ranks of the phase.
const SCHOOL_LEAN: f64 = 0.15;
/// How far the oldest year group lies above the youngest, in ranks of the phase, for a year.
const YEAR_GROUP_LEAN: f64 = 0.02;

/// The fewest and the most sessions a pupil of a class of absence may miss.
#[derive(Clone, Copy, Debug)]
struct Limits {
    least: u32,
    most: u32,
}

/// Decides how many sessions each pupil misses. The sum is the phase's published absence, and the share of pupils who
/// miss a tenth or more is the published one, each to the nearest session and pupil wherever that can be.
pub(super) fn spread_absence(drafts: &mut [Draft], figures: &PublishedPhase, random: &mut ChaCha8Rng) {
    let order = ranked(drafts, random);
    let pupils = order.len();
    let share = |percent: f64| ((pupils as f64) * percent / 100.0).round() as usize;
    let persistent = share(figures.persistent_absence_percent).min(pupils);
    let severe = share(severe_absence_percent(figures.phase)).min(persistent);
    let rarely = pupils - persistent;

    let possible: u64 = drafts.iter().map(|draft| u64::from(draft.possible())).sum();
    let target = proportion(possible, figures.missed(), figures.possible);
    // The lean of the pupils who are rarely absent is what is left to choose: it makes the mean come out.
    let total = |lean: f64| -> u64 {
        order
            .iter()
            .enumerate()
            .map(|(rank, index)| {
                let limits = limits(drafts[*index].possible(), rank, rarely, pupils - severe);
                let rate = rate(rank, rarely, persistent - severe, severe, lean);
                u64::from(missed(rate, drafts[*index].possible(), limits))
            })
            .sum()
    };
    let (mut low, mut high) = (-0.99, 100.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        if total(middle) > target {
            low = middle;
        } else {
            high = middle;
        }
    }

    let mut sum = 0;
    let mut bounds = Vec::with_capacity(pupils);
    for (rank, index) in order.iter().enumerate() {
        let draft = &mut drafts[*index];
        let limits = limits(draft.possible(), rank, rarely, pupils - severe);
        let rate = rate(rank, rarely, persistent - severe, severe, high);
        draft.missed = missed(rate, draft.possible(), limits);
        sum += u64::from(draft.missed);
        bounds.push((*index, limits));
    }
    settle(drafts, &mut bounds, sum, target, random);
}

/// `whole x part / of`, to the nearest.
pub(super) fn proportion(whole: u64, part: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    let exact = (u128::from(whole) * u128::from(part) * 2 + u128::from(of)) / (u128::from(of) * 2);
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// The pupils with possible sessions, from the least to the most absent: by chance, with some schools and the older
/// year groups leaning towards the end.
fn ranked(drafts: &[Draft], random: &mut ChaCha8Rng) -> Vec<usize> {
    let schools = drafts.iter().map(|draft| draft.school + 1).max().unwrap_or(0);
    let leans: Vec<f64> = (0..schools).map(|_| random.random::<f64>() * SCHOOL_LEAN).collect();
    let mut keyed: Vec<(f64, usize)> = drafts
        .iter()
        .enumerate()
        .filter(|(_, draft)| draft.possible() > 0)
        .map(|(index, draft)| {
            let key = random.random::<f64>() + leans[draft.school] + f64::from(draft.year_group) * YEAR_GROUP_LEAN;
            (key, index)
        })
        .collect();
    keyed.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    keyed.into_iter().map(|(_, index)| index).collect()
}

/// The share of possible sessions that the pupil at a rank misses: rises from 0 to 10 per cent over the pupils who are
/// rarely absent, to 50 over the persistently absent, to 95 over the severely absent.
fn rate(rank: usize, rarely: usize, persistent: usize, severe: usize, lean: f64) -> f64 {
    let within = |rank: usize, count: usize| (rank as f64 + 0.5) / count.max(1) as f64;
    let bent = |part: f64, lean: f64| part / (1.0 + lean * (1.0 - part));
    if rank < rarely {
        0.1 * bent(within(rank, rarely), lean)
    } else if rank < rarely + persistent {
        0.1 + 0.4 * bent(within(rank - rarely, persistent), PERSISTENT_LEAN)
    } else {
        0.5 + 0.45 * within(rank - rarely - persistent, severe)
    }
}

fn limits(possible: u32, rank: usize, rarely: usize, severe_from: usize) -> Limits {
    let (least, most) = if rank < rarely {
        (0, possible.saturating_sub(1) / 10)
    } else if rank < severe_from {
        (possible.div_ceil(10), possible.saturating_sub(1) / 2)
    } else {
        (possible.div_ceil(2), possible)
    };
    Limits {
        least,
        most: most.max(least),
    }
}

fn missed(rate: f64, possible: u32, limits: Limits) -> u32 {
    ((rate * f64::from(possible)).round() as u32).clamp(limits.least, limits.most)
}

/// Moves single sessions until the sum is met or every pupil is at a limit.
fn settle(drafts: &mut [Draft], bounds: &mut [(usize, Limits)], mut sum: u64, target: u64, random: &mut ChaCha8Rng) {
    bounds.shuffle(random);
    while sum != target {
        let before = sum;
        for (index, limits) in bounds.iter() {
            let missed = &mut drafts[*index].missed;
            if sum < target && *missed < limits.most {
                *missed += 1;
                sum += 1;
            } else if sum > target && *missed > limits.least {
                *missed -= 1;
                sum -= 1;
            }
        }
        if sum == before {
            return;
        }
    }
}
