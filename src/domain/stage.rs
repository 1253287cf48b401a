//! Stages and the policy that turns a tally into one. Comparisons are integer cross-multiplication on the counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::policy::{Brake, DaysToDue, PenaltyRule, Scope, Trigger, Window};
use super::tally::Tally;

/// The six stages of the graduated response, in order of need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Stage {
    /// Universal support.
    #[default]
    #[serde(rename = "U")]
    Universal = 0,
    /// Early intervention support.
    #[serde(rename = "1")]
    One = 1,
    /// Targeted, additional support.
    #[serde(rename = "2")]
    Two = 2,
    /// Targeted, intensive additional support.
    #[serde(rename = "3")]
    Three = 3,
    /// Bespoke provision.
    #[serde(rename = "4")]
    Four = 4,
    /// Provision in line with local authority statutory guidance.
    #[serde(rename = "5")]
    Five = 5,
}

impl Stage {
    /// All six, in order of need.
    pub const ALL: [Stage; 6] = [
        Stage::Universal,
        Stage::One,
        Stage::Two,
        Stage::Three,
        Stage::Four,
        Stage::Five,
    ];

    /// The number under which the stage is stored: 0 for U.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The stage stored under a number.
    pub fn from_number(number: i16) -> Option<Stage> {
        Stage::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The stage as people write it: `U`, `1` to `5`.
    pub const fn code(self) -> &'static str {
        match self {
            Stage::Universal => "U",
            Stage::One => "1",
            Stage::Two => "2",
            Stage::Three => "3",
            Stage::Four => "4",
            Stage::Five => "5",
        }
    }

    /// The stage that people write as `code`.
    pub fn parse(code: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.code() == code)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// The lower bound of a band, in tenths of a per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LowerBound {
    /// Tenths of a per cent, 0 to 1000.
    pub tenths: u16,
    /// Whether attendance of exactly the bound belongs to the band above it.
    pub inclusive: bool,
}

impl LowerBound {
    const fn above(tenths: u16) -> LowerBound {
        LowerBound {
            tenths,
            inclusive: false,
        }
    }

    const fn from(tenths: u16) -> LowerBound {
        LowerBound {
            tenths,
            inclusive: true,
        }
    }
}

/// How attendance is compared with a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// The fraction itself, by cross-multiplication.
    Exact,
    /// The value rounded half up to one decimal, as MIS screens show it.
    Rounded,
}

/// The rules that turn a tally into a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The lower bounds of U, 1, 2, 3 and 4, each below the one before; stage 5 is what lies below the last.
    pub lower_bounds: [LowerBound; 5],
    /// How attendance is compared with them.
    pub comparison: Comparison,
    /// Below so many possible sessions the stage is U, said to rest on too little, and nothing is raised.
    pub minimum_possible: u32,
    /// Which sessions are judged.
    #[serde(default)]
    pub window: Window,
    /// Whose sessions are judged together.
    #[serde(default)]
    pub scope: Scope,
    /// Whether reaching a stage raises the provisions of the stages passed over as well.
    #[serde(default = "yes")]
    pub passed_over_raises: bool,
    /// Whether a fall to a stage of lesser need waits until a person confirms it.
    #[serde(default)]
    pub fall_waits: bool,
    /// How many days after it was raised an action is due.
    #[serde(default)]
    pub days_to_due: DaysToDue,
    /// After so many school days without marks a school counts as fallen silent; nothing for the service's own limit.
    #[serde(default)]
    pub stale_after_school_days: Option<u16>,
    /// When a penalty notice must be considered.
    #[serde(default)]
    pub penalty: PenaltyRule,
    /// What else is raised, beside the percentage.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
    /// What a reconciliation may do without waiting for approval.
    #[serde(default)]
    pub brake: Brake,
}

const fn yes() -> bool {
    true
}

impl Default for Policy {
    /// The bands of the trust's table, exact, from 20 possible sessions (two school weeks) on.
    fn default() -> Policy {
        Policy {
            lower_bounds: [
                LowerBound::above(950),
                LowerBound::from(930),
                LowerBound::above(900),
                LowerBound::from(800),
                LowerBound::from(500),
            ],
            comparison: Comparison::Exact,
            minimum_possible: 20,
            window: Window::YearToDate,
            scope: Scope::Trust,
            passed_over_raises: true,
            fall_waits: false,
            days_to_due: DaysToDue::default(),
            stale_after_school_days: None,
            penalty: PenaltyRule::default(),
            triggers: Vec::new(),
            brake: Brake::default(),
        }
    }
}

/// What a policy makes of a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The stage at which the pupil is.
    pub stage: Stage,
    /// The stage that the counts alone give; U where nothing was possible.
    pub computed_stage: Stage,
    /// Whether there were fewer possible sessions than the policy's minimum, or none.
    pub too_little_data: bool,
}

/// A band of attendance: one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The stage.
    pub stage: Stage,
    /// Its lower bound.
    pub lower: LowerBound,
    /// The lower bound of the next better band, seen from below: inclusive here means that exactly the bound belongs to
    /// this band.
    pub upper: LowerBound,
}

/// What would move a pupil to another stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageMove {
    /// The stage that would be reached.
    pub stage: Stage,
    /// How many possible sessions in a row, all attended or all missed, reach it.
    pub sessions: u32,
}

/// How many sessions ahead a move is looked for: more than a school year has.
pub const MOVE_SESSIONS_MAX: u32 = 400;

impl Policy {
    /// Whether nothing but the counts of the year to date, over all enrolments, decides: then today's counts alone give
    /// today's stage.
    pub fn decides_by_counts(&self) -> bool {
        self.window == Window::YearToDate && self.scope == Scope::Trust && !self.fall_waits
    }

    /// The stage that a tally gives, with what it rests on.
    pub fn judge(&self, tally: Tally) -> Judgement {
        let computed_stage = self.band_of(tally);
        let too_little_data = tally.possible == 0 || tally.possible < u64::from(self.minimum_possible);
        Judgement {
            stage: if too_little_data {
                Stage::Universal
            } else {
                computed_stage
            },
            computed_stage,
            too_little_data,
        }
    }

    /// The stage whose band holds the tally's fraction, whatever the minimum; U where nothing was possible.
    pub fn band_of(&self, tally: Tally) -> Stage {
        if tally.possible == 0 {
            return Stage::Universal;
        }
        let (value, unit) = match self.comparison {
            Comparison::Exact => (u128::from(tally.attended) * 1000, u128::from(tally.possible)),
            Comparison::Rounded => (u128::from(tally.attendance_tenths().unwrap_or(0)), 1),
        };
        for (bound, stage) in self.lower_bounds.iter().zip(Stage::ALL) {
            let limit = u128::from(bound.tenths) * unit;
            if value > limit || (bound.inclusive && value == limit) {
                return stage;
            }
        }
        Stage::Five
    }

    /// The band of a stage.
    pub fn band(&self, stage: Stage) -> Band {
        let number = usize::from(stage.number());
        let lower = self.lower_bounds.get(number).copied().unwrap_or(LowerBound::from(0));
        let upper = match number.checked_sub(1).and_then(|above| self.lower_bounds.get(above)) {
            Some(bound) => LowerBound {
                tenths: bound.tenths,
                inclusive: !bound.inclusive,
            },
            None => LowerBound::from(1000),
        };
        Band { stage, lower, upper }
    }

    /// The better stages, nearest first, with the sessions attended in a row that reach each. One that lies further than
    /// [`MOVE_SESSIONS_MAX`] is left out.
    pub fn improvements(&self, tally: Tally) -> Vec<StageMove> {
        self.moves(tally, true)
    }

    /// The worse stages, nearest first, with the sessions missed in a row that reach each.
    pub fn deteriorations(&self, tally: Tally) -> Vec<StageMove> {
        self.moves(tally, false)
    }

    fn moves(&self, tally: Tally, attending: bool) -> Vec<StageMove> {
        let mut moves = Vec::new();
        let mut reached = self.band_of(tally);
        for sessions in 1..=MOVE_SESSIONS_MAX {
            let ahead = Tally {
                attended: tally
                    .attended
                    .saturating_add(if attending { u64::from(sessions) } else { 0 }),
                possible: tally.possible.saturating_add(u64::from(sessions)),
                ..tally
            };
            let stage = self.band_of(ahead);
            if (attending && stage < reached) || (!attending && stage > reached) {
                moves.push(StageMove { stage, sessions });
                reached = stage;
            }
        }
        moves
    }
}
