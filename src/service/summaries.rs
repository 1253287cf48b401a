//! How a school and the trust stand: pupils by stage, attendance, persistent and severe absence.

use std::collections::HashMap;

use chrono::NaiveDate;
use uuid::Uuid;

use super::error::Resource;
use super::freshness::{freshness_of, too_old};
use super::schools::optional_school;
use super::transaction::finish;
use super::{Service, ServiceError};
use crate::domain::freshness::Freshness;
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::session::{AcademicYear, Session};
use crate::domain::tally::Tally;
use crate::store::policies;
use crate::store::summaries::{
    CountingRule, PupilCounts, SchoolName, SessionCounts, pupils_by_stage, school_names, sessions_by_school,
};

/// Of a number of pupils or enrolments with at least one possible session, how many were absent how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// With at least one possible session: the base of the others.
    pub with_sessions: i64,
    /// With a tenth or more missed.
    pub persistent: i64,
    /// With half or more missed.
    pub severe: i64,
}

/// The state of a school or of the trust on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageSummary {
    /// The day.
    pub as_of: NaiveDate,
    /// The academic year of that day.
    pub year: AcademicYear,
    /// Pupils on roll by stage, in the order of need.
    pub stages: [i64; 6],
    /// Of those at U, pupils for whom there is too little data.
    pub too_little_data: i64,
    /// The counts of every enrolment of the year to date.
    pub tally: Tally,
    /// Of the pupils on roll, over all their enrolments in the trust.
    pub pupils: Absence,
    /// Of the enrolments of the year, each alone: as national statistics count.
    pub enrolments: Absence,
    /// The latest session received; of the trust, that of the school whose last one is the oldest.
    pub last_session: Option<Session>,
    /// School days before today without a register.
    pub gap_days: u32,
    /// Schools by whose policy nothing is judged today, since what was last received is too old.
    pub schools_too_old: u32,
}

/// The summary of one school.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchoolSummary {
    /// The school.
    pub school: SchoolName,
    /// The figures.
    pub summary: StageSummary,
}

impl StageSummary {
    fn empty(rule: CountingRule) -> StageSummary {
        StageSummary {
            as_of: rule.today,
            year: rule.year,
            stages: [0; 6],
            too_little_data: 0,
            tally: Tally::default(),
            pupils: Absence::default(),
            enrolments: Absence::default(),
            last_session: None,
            gap_days: 0,
            schools_too_old: 0,
        }
    }

    fn add_freshness(&mut self, freshness: &Freshness, too_old: bool) {
        self.last_session = self.last_session.into_iter().chain(freshness.last_session).min();
        self.gap_days += freshness.gap_days;
        self.schools_too_old += u32::from(too_old);
    }

    fn add_pupils(&mut self, counts: &PupilCounts) {
        if let Some(stage) = usize::try_from(counts.stage)
            .ok()
            .and_then(|stage| self.stages.get_mut(stage))
        {
            *stage += counts.pupils;
        }
        self.too_little_data += counts.too_little_data;
        self.pupils.with_sessions += counts.with_sessions;
        self.pupils.persistent += counts.persistently_absent;
        self.pupils.severe += counts.severely_absent;
    }

    fn add_sessions(&mut self, counts: &SessionCounts) {
        self.tally += Tally::from_stored(counts.attended, counts.possible, counts.unauthorised);
        self.enrolments.with_sessions += counts.with_sessions;
        self.enrolments.persistent += counts.persistently_absent;
        self.enrolments.severe += counts.severely_absent;
    }
}

impl Service {
    /// Counts one school.
    pub async fn summarize_school(&self, trust: TrustId, key: &SchoolKey) -> Result<SchoolSummary, ServiceError> {
        let (_, schools) = self.summaries(trust, Some(key)).await?;
        schools
            .into_iter()
            .next()
            .ok_or(ServiceError::NotFound(Resource::School))
    }

    /// Counts the trust, school by school and together.
    pub async fn summarize_trust(&self, trust: TrustId) -> Result<(StageSummary, Vec<SchoolSummary>), ServiceError> {
        self.summaries(trust, None).await
    }

    async fn summaries(
        &self,
        trust: TrustId,
        school: Option<&SchoolKey>,
    ) -> Result<(StageSummary, Vec<SchoolSummary>), ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let timeline = policies::timeline(&mut transaction, trust).await?;
            let timeline = timeline.ok_or(ServiceError::NotFound(Resource::Trust))?;
            let policy = timeline.at(moment.today, None);
            let rule = CountingRule {
                today: moment.today,
                year: moment.year,
                minimum_possible: policy.policy.minimum_possible,
            };
            let school = optional_school(&mut transaction, trust, school)
                .await?
                .map(|school| school.0);
            let names = school_names(&mut transaction, trust, school).await?;
            let pupils = pupils_by_stage(&mut transaction, trust, school, rule).await?;
            let sessions = sessions_by_school(&mut transaction, trust, school, rule.year).await?;
            let schools: Vec<Uuid> = names.iter().map(|name| name.school_id).collect();
            let fresh = freshness_of(&mut transaction, trust, &schools, moment.today, 0).await?;
            Ok((rule, names, pupils, sessions, fresh, timeline))
        }
        .await;
        let (rule, names, pupils, sessions, fresh, timeline) = finish(transaction, read).await?;

        let mut whole = StageSummary::empty(rule);
        let mut by_school: HashMap<Uuid, StageSummary> = names
            .iter()
            .map(|name| (name.school_id, StageSummary::empty(rule)))
            .collect();
        for counts in &pupils {
            match counts.school_id {
                None => whole.add_pupils(counts),
                Some(school) => by_school
                    .entry(school)
                    .or_insert_with(|| StageSummary::empty(rule))
                    .add_pupils(counts),
            }
        }
        for counts in &sessions {
            whole.add_sessions(counts);
            by_school
                .entry(counts.school_id)
                .or_insert_with(|| StageSummary::empty(rule))
                .add_sessions(counts);
        }
        for (school, (freshness, _)) in &fresh {
            let too_old = too_old(&timeline, *school, freshness, rule.today);
            whole.add_freshness(freshness, too_old);
            by_school
                .entry(*school)
                .or_insert_with(|| StageSummary::empty(rule))
                .add_freshness(freshness, too_old);
        }
        let schools = names.into_iter().map(|school| SchoolSummary {
            summary: by_school.remove(&school.school_id).unwrap_or(StageSummary::empty(rule)),
            school,
        });
        Ok((whole, schools.collect()))
    }
}
