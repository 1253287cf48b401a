//! The bands: every fraction that a school year can hold, judged by the policy and by two statements of the rule written
//! in other ways: as decimal text from long division against the words of the table, and as the share missed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;

use graduated_response::domain::catalogue::Catalogue;
use graduated_response::domain::stage::{Band, Comparison, LowerBound, MOVE_SESSIONS_MAX, Policy, Stage, StageMove};
use graduated_response::domain::tally::Tally;

/// A full year has 380 sessions.
const POSSIBLE_MAX: u64 = 400;

fn counts(attended: u64, possible: u64) -> Tally {
    Tally {
        attended,
        possible,
        ..Tally::default()
    }
}

fn policy(comparison: Comparison) -> Policy {
    Policy {
        comparison,
        minimum_possible: 1,
        ..Policy::default()
    }
}

/// Every fraction with at most [`POSSIBLE_MAX`] possible sessions.
fn every_fraction() -> impl Iterator<Item = (u64, u64)> {
    (1..=POSSIBLE_MAX).flat_map(|possible| (0..=possible).map(move |part| (part, possible)))
}

/// `part` of `whole` in per cent by long division: three digits, a point, six digits, and `+` where a remainder is left.
/// Two such texts compare as their values do, as long as one of them has no remainder.
fn percent_text(part: u64, whole: u64) -> String {
    let mut text = format!("{:03}.", part * 100 / whole);
    let mut remainder = part * 100 % whole;
    for _ in 0..6 {
        remainder *= 10;
        text.push_str(&(remainder / whole).to_string());
        remainder %= whole;
    }
    if remainder > 0 {
        text.push('+');
    }
    text
}

/// The text rounded half up to one decimal, by looking at the second decimal and carrying by hand.
fn rounded_text(text: &str) -> String {
    let mut digits: Vec<u8> = text.bytes().take("095.0".len()).collect();
    if text.as_bytes()[digits.len()] >= b'5' {
        for digit in digits.iter_mut().rev().filter(|digit| **digit != b'.') {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    format!("{}00000", String::from_utf8(digits).unwrap())
}

/// A bound in tenths of a per cent, as text of the same shape.
fn bound_text(tenths: u16) -> String {
    format!("{:03}.{}00000", tenths / 10, tenths % 10)
}

/// The rule in words. Each band is a list of conditions that all have to hold.
const BANDS_IN_WORDS: [(&str, &str); 6] = [
    ("5", "below 50"),
    ("4", "from 50, below 80"),
    ("3", "from 80, to 90"),
    ("2", "above 90, below 93"),
    ("1", "from 93, to 95"),
    ("U", "above 95"),
];

fn holds(condition: &str, value: &str) -> bool {
    let (word, bound) = condition.split_once(' ').unwrap();
    let order = value.cmp(&bound_text(bound.parse::<u16>().unwrap() * 10));
    match word {
        "below" => order == Ordering::Less,
        "from" => order != Ordering::Less,
        "above" => order == Ordering::Greater,
        "to" => order != Ordering::Greater,
        other => panic!("no such word: {other}"),
    }
}

/// The one stage whose words hold for the value.
fn stage_in_words(value: &str) -> &'static str {
    let stages: Vec<_> = BANDS_IN_WORDS
        .iter()
        .filter(|(_, words)| words.split(", ").all(|condition| holds(condition, value)))
        .collect();
    assert_eq!(stages.len(), 1, "{value} lies in {stages:?}");
    stages[0].0
}

/// The exact rule from its other side: how much was missed.
fn stage_by_share_missed(attended: u64, possible: u64) -> Stage {
    let missed = (possible - attended) * 100;
    if missed > 50 * possible {
        Stage::Five
    } else if missed > 20 * possible {
        Stage::Four
    } else if missed >= 10 * possible {
        Stage::Three
    } else if missed > 7 * possible {
        Stage::Two
    } else if missed >= 5 * possible {
        Stage::One
    } else {
        Stage::Universal
    }
}

#[test]
fn every_fraction_of_a_year_is_at_the_stage_that_the_words_of_the_bands_give() {
    let exact = policy(Comparison::Exact);
    for (attended, possible) in every_fraction() {
        let judged = exact.judge(counts(attended, possible));
        let value = percent_text(attended, possible);
        assert_eq!(judged.stage.code(), stage_in_words(&value), "{value}");
        let by_missed = stage_by_share_missed(attended, possible);
        assert_eq!(judged.stage, by_missed, "{attended}/{possible}");
        assert_eq!(judged.computed_stage, judged.stage);
        assert!(!judged.too_little_data);
    }
}

#[test]
fn a_rounded_policy_gives_every_fraction_the_stage_of_the_value_on_the_screen() {
    let rounded = policy(Comparison::Rounded);
    let mut differing = 0;
    for (attended, possible) in every_fraction() {
        let tally = counts(attended, possible);
        let value = percent_text(attended, possible);
        let on_screen = rounded_text(&value);
        let judged = rounded.judge(tally).stage;
        assert_eq!(judged.code(), stage_in_words(&on_screen), "{value}");
        assert_eq!(bound_text_of(&tally.attendance_percent()), on_screen);
        differing += usize::from(judged != stage_by_share_missed(attended, possible));
    }
    assert!(differing > 0, "rounding has to matter somewhere");
}

/// A displayed percentage, padded to the shape of the other texts.
fn bound_text_of(display: &str) -> String {
    format!("{display:0>5}00000")
}

/// The bands as the catalogue prints them for people, for example `92.9% to 90.1%`: at one decimal they leave no gap.
#[test]
fn a_rounded_policy_follows_the_bands_as_the_table_prints_them() {
    let catalogue = Catalogue::default_table().unwrap();
    let printed: Vec<(Stage, String, String)> = catalogue
        .stages
        .iter()
        .map(|entry| {
            let words = entry.attendance.replace('%', "");
            let pad = |text: &str| {
                let text = if text.contains('.') {
                    text.to_owned()
                } else {
                    format!("{text}.0")
                };
                bound_text_of(&text)
            };
            let (low, high) = match words.split_once(" to ") {
                Some((high, low)) => (pad(low), pad(high)),
                None => match words.split_once(' ').unwrap() {
                    ("above", low) => (pad(low) + "+", bound_text(1000)),
                    ("below", high) => (bound_text(0), pad(high).replace("50.0", "49.9")),
                    other => panic!("no such words: {other:?}"),
                },
            };
            (entry.stage, low, high)
        })
        .collect();
    let rounded = policy(Comparison::Rounded);
    for (attended, possible) in every_fraction() {
        let value = rounded_text(&percent_text(attended, possible));
        let mut within = printed.iter().filter(|(_, low, high)| value >= *low && value <= *high);
        let stage = within.next().unwrap().0;
        assert!(within.next().is_none(), "{value} lies in two bands");
        assert_eq!(rounded.band_of(counts(attended, possible)), stage);
    }
}

#[test]
fn persistent_absence_is_a_tenth_missed_and_severe_absence_half_to_the_session() {
    for (missed, possible) in every_fraction() {
        let tally = counts(possible - missed, possible);
        let share = percent_text(missed, possible);
        assert_eq!(tally.missed(), missed);
        assert_eq!(tally.persistently_absent(), share >= bound_text(100), "{share}");
        assert_eq!(tally.severely_absent(), share >= bound_text(500), "{share}");
    }
    let nothing = counts(0, 0);
    assert!(!nothing.persistently_absent() && !nothing.severely_absent());
}

/// Each bound of the table with the stage below it, on it and above it.
const AROUND_BOUNDS: [(u64, [&str; 3]); 5] = [
    (95, ["1", "1", "U"]),
    (93, ["2", "1", "1"]),
    (90, ["3", "3", "2"]),
    (80, ["4", "3", "3"]),
    (50, ["5", "4", "4"]),
];

#[test]
fn each_bound_and_its_nearest_neighbours_fall_right_however_large_the_counts() {
    let exact = policy(Comparison::Exact);
    for (bound, stages) in AROUND_BOUNDS {
        for power in 1..=17 {
            let hundredth = 10_u64.pow(power) / 10;
            let on = bound * hundredth;
            for (attended, stage) in [on - 1, on, on + 1].into_iter().zip(stages) {
                let tally = counts(attended, 100 * hundredth);
                assert_eq!(exact.band_of(tally).code(), stage, "{tally:?}");
            }
        }
        // The nearest fractions that a year can hold on either side of the bound.
        let nearest = |side: Ordering| {
            every_fraction()
                .filter(|(attended, possible)| (attended * 100).cmp(&(bound * possible)) == side && *possible <= 380)
                .min_by(|(a, b), (c, d)| {
                    let distance = |part: u64, whole: u64| (part * 100).abs_diff(bound * whole);
                    (distance(*a, *b) * d).cmp(&(distance(*c, *d) * b))
                })
                .unwrap()
        };
        for (side, stage) in [
            (Ordering::Less, stages[0]),
            (Ordering::Equal, stages[1]),
            (Ordering::Greater, stages[2]),
        ] {
            let (attended, possible) = nearest(side);
            let judged = exact.band_of(counts(attended, possible));
            assert_eq!(judged.code(), stage, "{attended}/{possible}");
        }
    }
}

#[test]
fn attending_more_never_gives_a_worse_stage() {
    for comparison in [Comparison::Exact, Comparison::Rounded] {
        let policy = policy(comparison);
        for possible in 1..=POSSIBLE_MAX {
            let stages: Vec<_> = (0..=possible)
                .map(|attended| policy.band_of(counts(attended, possible)))
                .collect();
            assert!(stages.is_sorted_by(|fewer, more| fewer >= more));
            assert_eq!(stages.first(), Some(&Stage::Five));
            assert_eq!(stages.last(), Some(&Stage::Universal));
        }
    }
}

fn in_band(band: &Band, value: &str) -> bool {
    let meets = |bound: LowerBound, beyond: Ordering| {
        let order = value.cmp(&bound_text(bound.tenths));
        order == beyond || (bound.inclusive && order == Ordering::Equal)
    };
    meets(band.lower, Ordering::Greater) && meets(band.upper, Ordering::Less)
}

#[test]
fn the_band_of_a_stage_holds_exactly_the_fractions_that_are_at_it() {
    let narrow = Policy {
        lower_bounds: [(1000, true), (999, false), (667, true), (333, false), (1, true)]
            .map(|(tenths, inclusive)| LowerBound { tenths, inclusive }),
        ..policy(Comparison::Exact)
    };
    for policy in [policy(Comparison::Exact), policy(Comparison::Rounded), narrow] {
        let bands = Stage::ALL.map(|stage| policy.band(stage));
        for (attended, possible) in every_fraction().filter(|(_, possible)| *possible <= 200) {
            let mut value = percent_text(attended, possible);
            if policy.comparison == Comparison::Rounded {
                value = rounded_text(&value);
            }
            let at = policy.band_of(counts(attended, possible));
            for band in &bands {
                assert_eq!(in_band(band, &value), band.stage == at, "{value} {band:?}");
            }
        }
    }
}

/// The first number of sessions, if any, after which each other stage on that side is reached, by trying them all.
fn moves_by_trial(policy: &Policy, tally: Tally, attending: bool) -> Vec<StageMove> {
    let path: Vec<Stage> = (0..=u64::from(MOVE_SESSIONS_MAX))
        .map(|sessions| {
            let attended = tally.attended + if attending { sessions } else { 0 };
            policy.band_of(counts(attended, tally.possible + sessions))
        })
        .collect();
    let mut moves: Vec<StageMove> = Stage::ALL
        .into_iter()
        .filter(|stage| if attending { *stage < path[0] } else { *stage > path[0] })
        .filter_map(|stage| {
            let sessions = path.iter().position(|reached| *reached == stage)? as u32;
            Some(StageMove { stage, sessions })
        })
        .collect();
    moves.sort_by_key(|found| found.sessions);
    moves
}

#[test]
fn the_sessions_to_a_better_or_worse_stage_are_the_fewest_that_reach_it() {
    for comparison in [Comparison::Exact, Comparison::Rounded] {
        let policy = policy(comparison);
        for possible in (0..=40).chain([99, 100, 190, 379, 380]) {
            for attended in 0..=possible {
                let tally = counts(attended, possible);
                assert_eq!(policy.improvements(tally), moves_by_trial(&policy, tally, true));
                assert_eq!(policy.deteriorations(tally), moves_by_trial(&policy, tally, false));
            }
        }
    }
}

#[test]
fn a_pupil_at_90_per_cent_of_a_year_sees_how_far_the_next_stages_are() {
    let exact = policy(Comparison::Exact);
    let tally = counts(342, 380);
    let moves = |found: Vec<StageMove>| -> Vec<(&str, u32)> {
        found
            .into_iter()
            .map(|found| (found.stage.code(), found.sessions))
            .collect()
    };
    // 343/381 is above 90; 38 of 543 is just above 7 per cent missed, 38 of 542.857 exactly it; 760 would be 5 per cent.
    assert_eq!(moves(exact.improvements(tally)), [("2", 1), ("1", 163), ("U", 381)]);
    // 342/428 is just below 80; 342/685 just below 50.
    assert_eq!(moves(exact.deteriorations(tally)), [("4", 48), ("5", 305)]);
}

#[test]
fn below_the_minimum_a_pupil_is_at_u_with_the_computed_stage_beside_it() {
    for minimum in [0, 1, 2, 20, 60] {
        let policy = Policy {
            minimum_possible: minimum,
            ..Policy::default()
        };
        for possible in 1..=u64::from(minimum) + 2 {
            for attended in 0..=possible {
                let judged = policy.judge(counts(attended, possible));
                let computed = stage_by_share_missed(attended, possible);
                let enough = possible >= u64::from(minimum);
                assert_eq!(judged.too_little_data, !enough);
                assert_eq!(judged.computed_stage, computed);
                assert_eq!(judged.stage, if enough { computed } else { Stage::Universal });
            }
        }
        let nothing = policy.judge(counts(0, 0));
        assert!(nothing.too_little_data, "0 of 0 is always too little");
        assert_eq!(nothing.stage, Stage::Universal);
        assert_eq!(nothing.computed_stage, Stage::Universal);
    }
    assert_eq!(Policy::default().minimum_possible, 20);
}

#[test]
fn the_largest_counts_that_a_number_can_hold_are_still_judged() {
    let most = counts(u64::MAX, u64::MAX);
    let missed = counts(0, u64::MAX);
    for comparison in [Comparison::Exact, Comparison::Rounded] {
        let policy = policy(comparison);
        assert_eq!(policy.band_of(most), Stage::Universal);
        assert_eq!(policy.band_of(missed), Stage::Five);
        assert_eq!(policy.improvements(most), []);
        assert_eq!(policy.deteriorations(missed), []);
        // More attended than possible is no tally, but it is not the lowest stage either.
        assert_eq!(policy.band_of(counts(u64::MAX, 1)), Stage::Universal);
    }
    assert!(missed.persistently_absent() && missed.severely_absent());
    assert!(!most.persistently_absent() && !most.severely_absent());
    assert_eq!(most.attendance_percent(), "100.0");
    assert_eq!((most + most).possible, u64::MAX);
}
