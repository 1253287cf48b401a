//! Reconciliation: what the whole of a school's registers, as somebody else holds it, does to those that are stored; and the
//! brake that stops it before it does too much.

use serde::{Deserialize, Serialize};

use super::policy::Brake;
use super::register::{CLEAR, LEAVE};

/// Why a reconciliation stops and waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It would take away more marks than it may.
    RemovedMarks,
    /// It would take away a greater share of the marks compared than it may.
    RemovedShare,
    /// It would move more pupils to another stage than it may.
    RestagedPupils,
    /// It would take marks away although items were rejected: the marks may be theirs.
    Rejections,
    /// It came to more than was approved.
    MoreThanApproved,
}

/// What a reconciliation comes to, as far as the brake asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Marks that were there, and were compared.
    pub compared: u64,
    /// Of them, those that it takes away.
    pub removed: u64,
    /// Pupils who move to another stage.
    pub restaged: u64,
    /// Items that were rejected.
    pub rejected: u64,
}

impl Brake {
    /// The lower of each limit.
    pub fn at_most(self, other: Brake) -> Brake {
        Brake {
            removed_marks_max: self.removed_marks_max.min(other.removed_marks_max),
            restaged_pupils_max: self.restaged_pupils_max.min(other.restaged_pupils_max),
            removed_tenths_max: self.removed_tenths_max.min(other.removed_tenths_max),
        }
    }

    /// Why this stops a reconciliation; nothing where it may go on. The share is compared without rounding.
    pub fn stops(self, extent: Extent) -> Vec<Stop> {
        let beyond_share =
            u128::from(extent.removed) * 1000 > u128::from(extent.compared) * u128::from(self.removed_tenths_max);
        let stops = [
            (extent.removed > u64::from(self.removed_marks_max), Stop::RemovedMarks),
            (beyond_share, Stop::RemovedShare),
            (
                extent.restaged > u64::from(self.restaged_pupils_max),
                Stop::RestagedPupils,
            ),
            (extent.rejected > 0 && extent.removed > 0, Stop::Rejections),
        ];
        stops
            .into_iter()
            .filter(|(stops, _)| *stops)
            .map(|(_, stop)| stop)
            .collect()
    }
}

/// The run of marks that makes `stored` what `uploaded` is, as [`super::register::merge`] takes it. In both, 0 is no mark.
pub fn difference(stored: &[u8], uploaded: &[u8]) -> Vec<u8> {
    let at = |marks: &[u8], place: usize| marks.get(place).copied().unwrap_or(0);
    let mark = |place| match (at(stored, place), at(uploaded, place)) {
        (0, 0) => LEAVE,
        (_, 0) => CLEAR,
        (_, uploaded) => uploaded,
    };
    (0..stored.len().max(uploaded.len())).map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::register::{merge, trim};

    #[test]
    fn merging_the_difference_makes_the_stored_marks_those_uploaded() {
        for (stored, uploaded) in [
            (vec![], vec![]),
            (vec![1, 2, 0, 30], vec![1, 19]),
            (vec![0, 0, 5], vec![1, 0, 5, 2, 0]),
            (vec![7], vec![]),
        ] {
            let mut register: Vec<u8> = stored.clone();
            merge(&mut register, 0, 0, &difference(&stored, &uploaded));
            let mut wanted = uploaded.clone();
            trim(&mut wanted);
            assert_eq!(register, wanted, "{stored:?} {uploaded:?}");
        }
    }

    #[test]
    fn the_brake_lets_through_what_is_just_at_its_limits_and_nothing_beyond() {
        let brake = Brake {
            removed_marks_max: 10,
            restaged_pupils_max: 2,
            removed_tenths_max: 10,
        };
        let at_the_limit = Extent {
            compared: 1000,
            removed: 10,
            restaged: 2,
            rejected: 0,
        };
        assert_eq!(brake.stops(at_the_limit), []);
        let more = |change: fn(&mut Extent)| {
            let mut extent = at_the_limit;
            change(&mut extent);
            brake.stops(extent)
        };
        assert_eq!(more(|extent| extent.compared = 999), [Stop::RemovedShare]);
        assert_eq!(
            more(|extent| extent.removed = 11),
            [Stop::RemovedMarks, Stop::RemovedShare]
        );
        assert_eq!(more(|extent| extent.restaged = 3), [Stop::RestagedPupils]);
        assert_eq!(more(|extent| extent.rejected = 1), [Stop::Rejections]);
        // Nothing compared and nothing removed is no share of anything.
        let nothing = Extent {
            rejected: 5,
            ..Extent::default()
        };
        assert_eq!(brake.stops(nothing), []);
    }
}
