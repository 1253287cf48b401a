//! Statutory thresholds, and the other triggers of a policy: what a pupil's record has reached, with the sessions that prove
//! it.
//!
//! Sources: The School Attendance (Pupil Registration) (England) Regulations 2024, regulation 13 (illness, continuous
//! unauthorised absence); the national framework for penalty notices; Education Act 1996 s.8 (compulsory school age).

mod age;
mod illness;
mod penalty;
mod timeline;
mod triggers;
mod unauthorised;

use std::collections::BTreeSet;

use chrono::NaiveDate;
use uuid::Uuid;

use super::calendar::Calendars;
use super::policy::{PenaltyRule, Trigger};
use super::record::PupilRecord;
use super::session::{AcademicYear, Session};

pub use age::CompulsoryAge;
pub use penalty::third_within_three_years;

use timeline::Timeline;

/// What can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThresholdKind {
    /// 30 sessions of illness in the academic year.
    IllnessCumulative,
    /// 30 sessions of illness in a row.
    IllnessConsecutive,
    /// 30 sessions of illness in the academic year, with those that are entered ahead: an early warning.
    IllnessExpected,
    /// Ten school days of continuous unauthorised absence.
    UnauthorisedDays,
    /// Ten unauthorised sessions within ten school weeks: a penalty notice must be considered.
    PenaltyNotice,
    /// A policy's trigger: so many absences in a row.
    AbsencesInRow,
    /// A policy's trigger: so many spells of absence in a period.
    Spells,
    /// A policy's trigger: a fall from one school week to the next.
    WeekFall,
}

impl ThresholdKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [ThresholdKind; 8] = [
        ThresholdKind::IllnessCumulative,
        ThresholdKind::IllnessConsecutive,
        ThresholdKind::IllnessExpected,
        ThresholdKind::UnauthorisedDays,
        ThresholdKind::PenaltyNotice,
        ThresholdKind::AbsencesInRow,
        ThresholdKind::Spells,
        ThresholdKind::WeekFall,
    ];

    /// The number under which it is stored, and that of the contract's enum: from 1.
    pub const fn number(self) -> i16 {
        self as i16 + 1
    }

    /// The kind stored under a number.
    pub fn from_number(number: i16) -> Option<ThresholdKind> {
        ThresholdKind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Something that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// What.
    pub kind: ThresholdKind,
    /// The session that proves it: the last of those it takes. Of a threshold in days, the last session of the day.
    pub proved_by: Session,
    /// Every session that it takes, in order.
    pub sessions: Vec<Session>,
}

/// A penalty notice that was issued: its sessions count for no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its identifier.
    pub id: Uuid,
    /// The day of issue.
    pub issued_on: NaiveDate,
    /// The sessions that it used.
    pub sessions: BTreeSet<Session>,
}

/// By what thresholds are judged.
#[derive(Clone, Copy, Debug)]
pub struct ThresholdRules<'a> {
    /// The calendars of the schools.
    pub calendars: &'a Calendars,
    /// When a penalty notice must be considered.
    pub penalty: PenaltyRule,
    /// What else is raised.
    pub triggers: &'a [Trigger],
    /// The date of birth; without one the pupil is taken to be of compulsory school age.
    pub born: Option<NaiveDate>,
    /// The penalty notices that were issued.
    pub notices: &'a [Notice],
}

/// Everything that a record has reached in the academic year of a day up to that day, by kind and in order. The record must
/// hold the registers of the year and of all before it: a window over penalty notices may never have emptied since.
pub fn thresholds(record: &PupilRecord<'_>, rules: ThresholdRules<'_>, as_of: NaiveDate) -> Vec<Threshold> {
    let year = AcademicYear::clamped(as_of);
    let age = CompulsoryAge::of(rules.born);
    let timeline = Timeline::new(record, rules.calendars, year);
    let mut found = illness::thresholds(&timeline, age, as_of);
    found.extend(unauthorised::thresholds(&timeline, age, as_of));
    found.extend(penalty::thresholds(&timeline, age, rules.penalty, rules.notices, as_of));
    for trigger in rules.triggers {
        found.extend(triggers::thresholds(&timeline, *trigger, as_of));
    }
    found.retain(|threshold| {
        threshold.kind == ThresholdKind::IllnessExpected || AcademicYear::clamped(threshold.proved_by.date) == year
    });
    found.sort_by_key(|threshold| (threshold.kind, threshold.proved_by));
    found
}
