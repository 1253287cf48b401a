//! Who can have reached anything at all: what most pupils are told apart by, from their counts or their marks alone.

use chrono::NaiveDate;

use super::marks::Classes;
use super::timeline::Timeline;
use super::{CompulsoryAge, ILLNESS_SESSIONS, UNAUTHORISED_DAYS, penalty, unauthorised};
use crate::domain::calendar::Calendars;
use crate::domain::policy::{PenaltyRule, PolicyTimeline, Trigger};
use crate::domain::record::PupilRecord;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;

/// The least that any policy of a trust asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    penalty: PenaltyRule,
    /// The classes of marks that can bring a threshold about.
    deciding: Classes,
    /// Whether any policy names other triggers: of these no bound is known.
    triggers: bool,
}

impl Bounds {
    /// What the policies ask for, whichever of them is in force when and where.
    pub fn of(policies: &PolicyTimeline) -> Bounds {
        let mut bounds: Option<Bounds> = None;
        for policy in policies.every_policy() {
            let (rule, triggers) = (policy.policy.penalty, &policy.policy.triggers);
            let known = bounds.map_or(rule, |bounds| bounds.penalty);
            let mut deciding = bounds.map_or(Classes::ILL | Classes::UNAUTHORISED, |bounds| bounds.deciding);
            for trigger in triggers {
                deciding |= match trigger {
                    Trigger::AbsencesInRow { .. } | Trigger::Spells { .. } => Classes::OTHER_ABSENCE,
                    Trigger::WeekFall { .. } => Classes::POSSIBLE,
                };
            }
            bounds = Some(Bounds {
                penalty: PenaltyRule {
                    sessions: known.sessions.min(rule.sessions),
                    school_weeks: known.school_weeks.max(rule.school_weeks),
                    counts_no_reason_yet: known.counts_no_reason_yet || rule.counts_no_reason_yet,
                },
                deciding,
                triggers: bounds.is_some_and(|bounds| bounds.triggers) || !triggers.is_empty(),
            });
        }
        bounds.unwrap_or(Bounds {
            penalty: PenaltyRule::default(),
            deciding: Classes::EVERY,
            triggers: true,
        })
    }

    /// Whether policies name other triggers.
    pub const fn triggers(&self) -> bool {
        self.triggers
    }

    /// Whether entering marks of some classes can bring a threshold about.
    pub const fn decides(&self, entered: Classes) -> bool {
        self.deciding.meets(entered)
    }

    /// From how many unauthorised sessions on, of a year and those before it, something can be reached.
    pub fn unauthorised(&self) -> u64 {
        u64::from(self.penalty.sessions.max(1)).min(UNAUTHORISED_DAYS as u64)
    }

    /// From how many authorised absences of a year on illness can have reached its threshold.
    pub const fn authorised(&self) -> u64 {
        ILLNESS_SESSIONS as u64
    }

    /// Whether the counts of a year and those of the years before it leave it open that something was reached.
    pub fn admits(&self, of_year: Tally, unauthorised_before: u64) -> bool {
        self.triggers
            || of_year.authorised >= self.authorised()
            || (of_year.unauthorised > 0 && of_year.unauthorised + unauthorised_before >= self.unauthorised())
    }

    /// Whether a record can have reached anything in the academic year of a day up to that day, or is expected to, whatever
    /// the pupil's age and the notices that were issued. It takes the marks of the year, and those of the years before with
    /// unauthorised absence.
    pub fn admit_record(&self, record: &PupilRecord<'_>, calendars: &Calendars, as_of: NaiveDate) -> bool {
        let year = AcademicYear::clamped(as_of);
        let timeline = Timeline::new(record, calendars, year);
        let line = &timeline.line;
        self.triggers
            || line.total(Classes::ILL, line.length()) >= ILLNESS_SESSIONS
            || penalty::can_be_full(&timeline, self.penalty, as_of)
            || !unauthorised::thresholds(&timeline, CompulsoryAge::ALWAYS, as_of).is_empty()
    }

    /// Whether a window over penalty notices that takes in a day can reach back beyond the beginning of a year.
    pub fn reaches_before(
        &self,
        year: AcademicYear,
        record: &PupilRecord<'_>,
        calendars: &Calendars,
        date: NaiveDate,
    ) -> bool {
        let timeline = Timeline::new(record, calendars, AcademicYear::clamped(date).max(year));
        let days = timeline.days_since(year);
        let weeks = days.weeks();
        // The week in which the year begins may have begun before it.
        weeks.of(days.place(date)) - weeks.of(0) < i32::from(self.penalty.school_weeks)
    }
}
