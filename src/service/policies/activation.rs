//! Bringing a policy into force: one transaction that judges every pupil concerned, as a job.
//!
//! The transaction keeps everybody else from judging first, so that no batch judges one of them by the policy before after the policy has
//! changed; what dies half way leaves nothing behind and is begun anew.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::jobs::{Asked, JobKind};
use super::super::judging::{Judging, Moment};
use super::super::transaction::finish;
use super::super::{Service, ServiceError, thresholds};
use super::preview::{Proposal, Proposed, look_up};
use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};
use crate::domain::person::Person;
use crate::store::jobs::{self, JobRow};
use crate::store::stages::{self, Cause};
use crate::store::{StoreError, TrustTransaction, policies};

/// How many pupils are judged between two notes of progress.
const PUPILS_AT_ONCE: usize = 2_500;

/// What is kept of an activation that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::service) struct ActivationSettings {
    version: Option<i32>,
    school: Option<Uuid>,
}

/// What an activation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationOutcome {
    /// How many pupils were judged.
    pub pupils: usize,
    /// How many moved.
    pub moved: usize,
}

impl Service {
    /// Asks that a policy comes into force, and returns the job that does it. The same request again returns the same job.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such version or school, `Invalid` where the request's name was used for another.
    pub async fn activate_policy(
        &self,
        trust: TrustId,
        proposal: &Proposal,
        by: &Person,
        request: Option<Uuid>,
    ) -> Result<JobRow, ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let looked_up = look_up(&mut transaction, trust, proposal, moment).await;
        let proposed = finish(transaction, looked_up).await?;
        let settings = ActivationSettings {
            version: proposal.version,
            school: proposed.school.map(|school| school.0),
        };
        self.ask_for_job(trust, Asked::new(JobKind::ActivatePolicy, &settings, by, request)?)
            .await
    }

    /// Does what [`Service::activate_policy`] asked for. Nothing where another process is at it.
    pub(in crate::service) async fn run_activation(
        &self,
        trust: TrustId,
        job: &JobRow,
    ) -> Result<Option<ActivationOutcome>, ServiceError> {
        let settings: ActivationSettings =
            serde_json::from_value(job.settings.clone()).map_err(|_| StoreError::Corrupt("jobs.settings"))?;
        self.roll_over(trust).await?;
        let mut transaction = self.store.begin(trust).await?;
        let activated = self.activate(&mut transaction, trust, job, &settings).await;
        finish(transaction, activated).await
    }

    async fn activate(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        job: &JobRow,
        settings: &ActivationSettings,
    ) -> Result<Option<ActivationOutcome>, ServiceError> {
        if !jobs::try_lock(transaction, job.job_id).await? {
            return Ok(None);
        }
        // Whoever had the lock may just have finished.
        if jobs::find(transaction, trust, job.job_id)
            .await?
            .is_none_or(|job| job.finished())
        {
            return Ok(None);
        }
        self.note_attempt(trust, job.job_id).await?;
        stages::lock_all(transaction, trust).await?;
        // After the locks: no batch that was under way is left behind.
        let moment = self.moment();
        let proposal = Proposal {
            version: settings.version,
            school: settings.school.map(|school| SchoolKey::Id(SchoolId(school))),
        };
        let proposed = look_up(transaction, trust, &proposal, moment).await?;
        let by = Person {
            name: job.requested_by_name.clone(),
            position: job.requested_by_position.clone(),
        };
        let school = proposed.school;
        policies::activate(transaction, trust, school, settings.version, moment.now, &by).await?;
        let outcome = self.judge_all(transaction, trust, job, proposed, moment).await?;
        let kept = serde_json::to_value(outcome).map_err(|_| StoreError::Corrupt("jobs.outcome"))?;
        jobs::progress(
            transaction,
            trust,
            job.job_id,
            outcome.pupils,
            outcome.pupils,
            moment.now,
        )
        .await?;
        jobs::finish(transaction, trust, job.job_id, Ok(kept), self.clock.now()).await?;
        Ok(Some(outcome))
    }

    async fn judge_all(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        job: &JobRow,
        proposed: Proposed,
        moment: Moment,
    ) -> Result<ActivationOutcome, ServiceError> {
        let homes = proposed.then.differs_by_school();
        let mut counted = stages::counted(transaction, trust, moment.year, moment.today, homes).await?;
        counted.retain(|found| proposed.school.is_none_or(|school| found.home_school == Some(school.0)));
        let total = counted.len();
        let (before, mut judging) = (proposed.now, Judging::new(proposed.then, moment, Cause::Policy));
        let (mut movers, mut by_record) = (BTreeMap::new(), Vec::new());
        for found in &counted {
            let school = found.home_school.map(SchoolId);
            let counts_decided = before.at(moment.today, school).policy.decides_by_counts();
            if !counts_decided || !judging.counts_decide(found.has_holds, || school) {
                by_record.push(found.pupil_id);
            } else if judging.stage_of(found.tally, || school) != found.stage {
                movers.insert(found.pupil_id, (found.tally, school));
            }
        }
        let moving: Vec<Uuid> = movers.keys().copied().collect();
        for row in stages::of_locked_trust(transaction, trust, &moving).await? {
            if let Some((tally, school)) = movers.get(&row.pupil_id) {
                judging.judge_by_new_policy(&row, *tally, *school)?;
            }
        }
        by_record.sort_unstable();
        let mut done = total - by_record.len();
        for pupils in by_record.chunks(PUPILS_AT_ONCE) {
            self.note_progress(trust, job.job_id, done, total).await?;
            let rows = stages::lock(transaction, trust, pupils).await?;
            judging.judge_locked(transaction, trust, &rows).await?;
            done += rows.len();
        }
        let moved = judging.transitions();
        if before.raises_otherwise_than(judging.timeline(), moment.today) {
            let pupils: Vec<Uuid> = counted.iter().map(|found| found.pupil_id).collect();
            let since = Some(moment.year);
            thresholds::reevaluate(transaction, trust, judging.timeline(), &pupils, since, moment, None).await?;
        }
        judging.write(transaction, trust, None).await?;
        Ok(ActivationOutcome { pupils: total, moved })
    }

    /// Notes progress beside the transaction that makes it, so that it can be watched.
    async fn note_progress(&self, trust: TrustId, job: Uuid, done: usize, total: usize) -> Result<(), ServiceError> {
        let now: DateTime<Utc> = self.clock.now();
        let mut transaction = self.store.begin(trust).await?;
        let noted = jobs::progress(&mut transaction, trust, job, done, total, now).await;
        finish(transaction, noted.map_err(ServiceError::from)).await
    }

    async fn note_attempt(&self, trust: TrustId, job: Uuid) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let mut transaction = self.store.begin(trust).await?;
        let noted = jobs::begin(&mut transaction, trust, job, now).await;
        finish(transaction, noted.map_err(ServiceError::from)).await
    }
}
