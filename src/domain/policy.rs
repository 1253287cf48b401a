//! The settings of a policy beyond its bands, and the policies of a trust through time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::identifiers::SchoolId;
use super::session::london_date;
use super::stage::Policy;

/// Which sessions a policy judges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Those of the academic year to date.
    #[default]
    YearToDate,
    /// Those of the last so many school weeks, the current one among them; not before 1 August.
    SchoolWeeks(u16),
    /// Those of the current term; in a holiday of the one that just ended.
    CurrentTerm,
}

/// Whose sessions a policy judges together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All the pupil's enrolments in the trust.
    #[default]
    Trust,
    /// Each enrolment alone: the pupil is at the stage of greatest need among the enrolments on roll.
    Enrolment,
}

/// How many days after it was raised an action is due. The view `provision_deadlines` reads it: what is said of a single
/// provision comes before what is said of its stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DaysToDue {
    /// For the provisions of stages 1 to 5; nothing for no due date.
    #[serde(default)]
    pub by_stage: [Option<u16>; 5],
    /// For single provisions, by identifier: before what their stage says.
    #[serde(default)]
    pub by_provision: BTreeMap<String, u16>,
}

/// When a penalty notice must be considered. Source: the national framework for penalty notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PenaltyRule {
    /// How many unauthorised sessions.
    pub sessions: u16,
    /// Within how many school weeks, rolling.
    pub school_weeks: u16,
    /// Whether N counts beside G, O and U: a local authority may leave it out.
    pub counts_no_reason_yet: bool,
}

impl Default for PenaltyRule {
    fn default() -> PenaltyRule {
        PenaltyRule {
            sessions: 10,
            school_weeks: 10,
            counts_no_reason_yet: true,
        }
    }
}

/// Something beside the percentage that a trust wants raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// So many possible sessions in a row missed.
    AbsencesInRow {
        /// How many.
        sessions: u16,
    },
    /// So many spells of absence within so many school weeks. A spell is a run of missed possible sessions.
    Spells {
        /// How many.
        spells: u16,
        /// Within how many school weeks, rolling.
        school_weeks: u16,
    },
    /// Attendance of a school week lower than that of the school week before by so much.
    WeekFall {
        /// How much, in tenths of a percentage point.
        tenths: u16,
    },
}

/// What a reconciliation may do without waiting for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brake {
    /// How many marks it may take away.
    pub removed_marks_max: u32,
    /// How many pupils it may move to another stage.
    pub restaged_pupils_max: u32,
    /// The share of the marks compared that it may take away, in tenths of a per cent.
    pub removed_tenths_max: u16,
}

impl Default for Brake {
    fn default() -> Brake {
        Brake {
            removed_marks_max: 500,
            restaged_pupils_max: 25,
            removed_tenths_max: 10,
        }
    }
}

/// A policy with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedPolicy {
    /// The version, from 1.
    pub version: i32,
    /// The rules.
    pub policy: Policy,
}

/// That a policy came into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// When.
    pub at: DateTime<Utc>,
    /// For which school; nothing for all schools that have none of their own.
    pub school: Option<SchoolId>,
    /// Which; nothing where the school follows the trust's again.
    pub policy: Option<Arc<VersionedPolicy>>,
}

/// The policies of a trust through time, as known at some moment. A policy judges from the day of its activation on
/// (Europe/London); the trust's first one also judges the days before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTimeline {
    first: Arc<VersionedPolicy>,
    /// In the order in which they came into force.
    activations: Vec<(NaiveDate, Activation)>,
}

impl PolicyTimeline {
    /// The timeline of activations, in the order in which they came into force; nothing where there is none for the whole
    /// trust.
    pub fn new(activations: impl IntoIterator<Item = Activation>) -> Option<PolicyTimeline> {
        let activations: Vec<_> = activations
            .into_iter()
            .map(|activation| (london_date(activation.at), activation))
            .collect();
        let of_trust = activations.iter().filter(|(_, activation)| activation.school.is_none());
        let first = of_trust
            .filter_map(|(_, activation)| activation.policy.clone())
            .next()?;
        Some(PolicyTimeline { first, activations })
    }

    /// A timeline of one policy.
    pub fn of_one(policy: VersionedPolicy) -> PolicyTimeline {
        PolicyTimeline {
            first: Arc::new(policy),
            activations: Vec::new(),
        }
    }

    /// This timeline with one more activation at its end: what would be if it were activated.
    pub fn with(&self, activation: Activation) -> PolicyTimeline {
        let mut timeline = self.clone();
        timeline.activations.push((london_date(activation.at), activation));
        timeline
    }

    /// This timeline as it was known at a moment.
    pub fn known_at(&self, moment: DateTime<Utc>) -> PolicyTimeline {
        PolicyTimeline {
            first: self.first.clone(),
            activations: self
                .activations
                .iter()
                .filter(|(_, activation)| activation.at <= moment)
                .cloned()
                .collect(),
        }
    }

    /// The policy that judges a day for pupils of a school.
    pub fn at(&self, date: NaiveDate, school: Option<SchoolId>) -> &VersionedPolicy {
        let latest = |of: Option<SchoolId>| {
            let mut of_school = self.activations.iter().rev();
            of_school.find(|(from, activation)| activation.school == of && *from <= date)
        };
        let own = school.and_then(|school| latest(Some(school))?.1.policy.as_deref());
        let of_trust = || latest(None)?.1.policy.as_deref();
        own.or_else(of_trust).unwrap_or(&self.first)
    }

    /// Every policy that was in force at some time.
    pub fn every_policy(&self) -> Vec<&VersionedPolicy> {
        let all = self
            .activations
            .iter()
            .filter_map(|(_, activation)| activation.policy.as_deref());
        all.chain([self.first.as_ref()]).collect()
    }

    /// A policy that was in force at some time, by its version.
    pub fn version(&self, version: i32) -> Option<&VersionedPolicy> {
        let mut all = self
            .activations
            .iter()
            .filter_map(|(_, activation)| activation.policy.as_deref());
        all.find(|policy| policy.version == version)
            .or_else(|| (self.first.version == version).then_some(&self.first))
    }

    /// The versions in force on a day, for the trust or for a school.
    pub fn in_force(&self, date: NaiveDate) -> BTreeSet<i32> {
        let schools = self.activations.iter().filter_map(|(_, activation)| activation.school);
        let of_schools = schools.map(|school| self.at(date, Some(school)).version);
        of_schools.chain([self.at(date, None).version]).collect()
    }

    /// Whether the window of a policy follows the schools' calendars.
    pub fn follows_calendar(&self) -> bool {
        let mut all = self
            .activations
            .iter()
            .filter_map(|(_, activation)| activation.policy.as_deref());
        self.first.policy.window != Window::YearToDate || all.any(|policy| policy.policy.window != Window::YearToDate)
    }

    /// Whether some policy refuses to judge on data that is too old.
    pub fn refuses_old_data(&self) -> bool {
        let refuses = |policy: &VersionedPolicy| policy.policy.stale_after_school_days.is_some();
        let mut later = self.activations.iter();
        refuses(&self.first) || later.any(|(_, activation)| activation.policy.as_deref().is_some_and(refuses))
    }

    /// Whether another timeline's policies of a day name other penalty rules or triggers than these, for any school.
    pub fn raises_otherwise_than(&self, other: &PolicyTimeline, date: NaiveDate) -> bool {
        let activations = self.activations.iter().chain(&other.activations);
        let schools = activations.filter_map(|(_, activation)| activation.school).map(Some);
        schools.chain([None]).any(|school| {
            let (one, other) = (&self.at(date, school).policy, &other.at(date, school).policy);
            one.penalty != other.penalty || one.triggers != other.triggers
        })
    }

    /// Whether a school has or had a policy of its own.
    pub fn differs_by_school(&self) -> bool {
        self.activations
            .iter()
            .any(|(_, activation)| activation.school.is_some())
    }

    /// The first day from which on one and the same policy has judged the pupils of a school, up to and including `date`;
    /// nothing where it always has.
    pub fn constant_since(&self, date: NaiveDate, school: Option<SchoolId>) -> Option<NaiveDate> {
        let version = self.at(date, school).version;
        let mut changes: Vec<NaiveDate> = self.activations.iter().map(|(from, _)| *from).collect();
        changes.retain(|from| *from <= date);
        changes.sort_unstable();
        changes.into_iter().rev().find(|from| {
            let before = from.pred_opt().unwrap_or(*from);
            self.at(before, school).version != version
        })
    }
}
