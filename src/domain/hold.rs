//! Holds: a person keeps a pupil at a stage that the numbers do not give, for a time.

use chrono::NaiveDate;
use uuid::Uuid;

use super::stage::Stage;

/// What a hold does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldKind {
    /// The pupil is at this stage at least.
    AtLeast(Stage),
    /// The pupil does not fall to a stage of lesser need while it lasts.
    DelayFall,
    /// On its one day a fall that waits for a person happens.
    ConfirmFall,
}

impl HoldKind {
    /// The numbers under which it is stored: of the kind, and of the stage where it names one.
    pub const fn numbers(self) -> (i16, Option<i16>) {
        match self {
            HoldKind::AtLeast(stage) => (1, Some(stage.number() as i16)),
            HoldKind::DelayFall => (2, None),
            HoldKind::ConfirmFall => (3, None),
        }
    }

    /// The kind stored under numbers.
    pub fn from_numbers(kind: i16, stage: Option<i16>) -> Option<HoldKind> {
        match (kind, stage) {
            (1, Some(stage)) => Stage::from_number(stage).map(HoldKind::AtLeast),
            (2, None) => Some(HoldKind::DelayFall),
            (3, None) => Some(HoldKind::ConfirmFall),
            _ => None,
        }
    }
}

/// A hold, as far as judging needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its identifier.
    pub id: Uuid,
    /// What it does.
    pub kind: HoldKind,
    /// The first day on which it is in force.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

impl Hold {
    /// Whether it is in force on a day.
    pub fn in_force(&self, date: NaiveDate) -> bool {
        self.from <= date && date <= self.to
    }
}
