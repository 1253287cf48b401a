//! What a policy makes of counts or marks given in a call. Nothing is stored, and no pupil is named.

use super::error::Warning;
use super::judging::timeline_of;
use super::schools::optional_school;
use super::sessions::remark;
use super::transaction::finish;
use super::{Service, ServiceError};
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::register::CLEAR;
use crate::domain::session::AcademicYear;
use crate::domain::stage::{Band, Judgement, Policy, StageMove};
use crate::domain::tally::Tally;
use crate::store::policies;

/// Whose policy judges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyQuery {
    /// The trust; nothing for the default policy of every new trust.
    pub trust: Option<TrustId>,
    /// The version; nothing for the one in force today.
    pub version: Option<i32>,
    /// The school whose policy in force is meant; nothing for the trust's.
    pub school: Option<SchoolKey>,
}

/// The attendance that is to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenAttendance {
    /// Counts.
    Counts(Tally),
    /// Marks, as a run from a place of a year on; 0 and [`CLEAR`] for no mark.
    Marks {
        /// The academic year.
        year: AcademicYear,
        /// The place of the first.
        first: usize,
        /// The marks.
        marks: Vec<u8>,
    },
}

/// What a policy makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The version of the policy; 0 for the default policy where no trust was named.
    pub policy_version: i32,
    /// The stages, and whether there is too little data.
    pub judgement: Judgement,
    /// The fewest possible sessions below which the policy does not judge.
    pub minimum_possible: u32,
    /// The counts.
    pub tally: Tally,
    /// The band into which the fraction falls.
    pub band: Band,
    /// The better stages with the sessions attended in a row that reach each.
    pub improves: Vec<StageMove>,
    /// The worse stages with the sessions missed in a row that reach each.
    pub worsens: Vec<StageMove>,
    /// Marks that deserve a look.
    pub warnings: Vec<Warning>,
}

impl Service {
    /// Judges attendance that is given.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school, `Invalid` where the trust has no such version, or the policy is named
    /// twice or without a trust.
    pub async fn classify_attendance(
        &self,
        asked: &PolicyQuery,
        given: &GivenAttendance,
    ) -> Result<Classification, ServiceError> {
        let (version, policy) = self.policy_asked_for(asked).await?;
        let (tally, warnings) = match given {
            GivenAttendance::Counts(tally) => (*tally, Vec::new()),
            GivenAttendance::Marks { year, first, marks } => {
                (Tally::of_marks(marks), self.warnings_of(*year, *first, marks))
            }
        };
        let judgement = policy.judge(tally);
        Ok(Classification {
            policy_version: version,
            judgement,
            minimum_possible: policy.minimum_possible,
            tally,
            band: policy.band(judgement.computed_stage),
            improves: policy.improvements(tally),
            worsens: policy.deteriorations(tally),
            warnings,
        })
    }

    async fn policy_asked_for(&self, asked: &PolicyQuery) -> Result<(i32, Policy), ServiceError> {
        if asked.version.is_some() && asked.school.is_some() {
            let message = "a version is a policy by itself: leave the school out, or the version";
            return Err(ServiceError::invalid("policy_version", "POLICY_GIVEN_TWICE", message));
        }
        let Some(trust) = asked.trust else {
            if asked.version.is_some() || asked.school.is_some() {
                let message = "name the trust whose policy it is";
                return Err(ServiceError::invalid("trust_id", "MISSING_TRUST", message));
            }
            return Ok((0, Policy::default()));
        };
        let today = self.moment().today;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let timeline = timeline_of(&mut transaction, trust).await?;
            if let Some(version) = asked.version {
                let policy = policies::version(&mut transaction, trust, version).await?;
                let policy = policy.ok_or_else(|| {
                    let message =
                        "the trust has no policy of this version: give one that it has, or 0 for the one in force";
                    ServiceError::invalid("policy_version", "UNKNOWN_POLICY_VERSION", message)
                })?;
                return Ok((version, policy));
            }
            let school = optional_school(&mut transaction, trust, asked.school.as_ref()).await?;
            let in_force = timeline.at(today, school);
            Ok((in_force.version, in_force.policy.clone()))
        }
        .await;
        finish(transaction, read).await
    }

    fn warnings_of(&self, year: AcademicYear, first: usize, marks: &[u8]) -> Vec<Warning> {
        let warnings = marks.iter().enumerate().filter_map(|(place, mark)| {
            let code = AttendanceCode::from_byte(*mark).filter(|_| *mark != CLEAR)?;
            let session = year.session_at(first + place);
            let (reason, message) = remark(code, session)?;
            Some(Warning {
                item_index: 0,
                reason: reason.to_owned(),
                field: format!("marks.marks[{place}]"),
                session: Some(session.into()),
                code: *mark,
                message: message.to_owned(),
            })
        });
        warnings.take(self.limits.warnings_max).collect()
    }
}
