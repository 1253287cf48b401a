//! Jobs: work that goes on after the call that asked for it, also where the process that began it dies.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::error::Resource;
use super::transaction::{finish, retry};
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::store::StoreError;
use crate::store::jobs::{self, JobRow};

/// How often a job that fails is begun before it is given up.
const ATTEMPTS_MAX: i32 = 5;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobKind {
    /// Brings a policy into force.
    ActivatePolicy,
    /// Removes what is past its time.
    ApplyRetention,
}

impl JobKind {
    const fn as_str(self) -> &'static str {
        match self {
            JobKind::ActivatePolicy => "activate_policy",
            JobKind::ApplyRetention => "apply_retention",
        }
    }
}

/// A job that is asked for.
pub(super) struct Asked {
    kind: JobKind,
    settings: serde_json::Value,
    by: Person,
    request: Option<Uuid>,
}

impl Asked {
    pub(super) fn new(
        kind: JobKind,
        settings: &impl Serialize,
        by: &Person,
        request: Option<Uuid>,
    ) -> Result<Asked, ServiceError> {
        Ok(Asked {
            kind,
            settings: serde_json::to_value(settings).map_err(|_| StoreError::Corrupt("jobs.settings"))?,
            by: by.clone(),
            request,
        })
    }
}

impl Service {
    /// Keeps a job and begins it.
    pub(super) async fn ask_for_job(&self, trust: TrustId, asked: Asked) -> Result<JobRow, ServiceError> {
        let now = self.clock.now();
        let (job, new) = retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let kept = async {
                if let Some(request) = asked.request
                    && let Some(earlier) = jobs::of_request(&mut transaction, trust, request).await?
                {
                    return same(earlier, &asked).map(|job| (job, false));
                }
                let job = row(trust, &asked, now);
                jobs::insert(&mut transaction, &job).await?;
                Ok((job, true))
            }
            .await;
            finish(transaction, kept).await
        })
        .await?;
        if new {
            let (service, job) = (self.clone(), job.clone());
            tokio::spawn(async move { service.run_job(trust, job).await });
        }
        Ok(job)
    }

    /// Begins every job that nobody is at: of a process that died, or that could not do it when it was asked for.
    pub async fn run_unfinished_jobs(&self) -> Result<(), ServiceError> {
        let mut connection = self.store.connection().await?;
        let trusts = crate::store::trusts::all(&mut connection).await?;
        drop(connection);
        for trust in trusts {
            let mut transaction = self.store.begin(trust).await?;
            let unfinished = jobs::unfinished(&mut transaction, trust).await;
            for job in finish(transaction, unfinished.map_err(ServiceError::from)).await? {
                self.run_job(trust, job).await;
            }
        }
        Ok(())
    }

    async fn run_job(&self, trust: TrustId, job: JobRow) {
        let ended = match job.kind.as_str() {
            kind if kind == JobKind::ActivatePolicy.as_str() => self.run_activation(trust, &job).await.map(drop),
            kind if kind == JobKind::ApplyRetention.as_str() => self.run_removal(trust, job.job_id).await,
            // Of a later version of the service: one of its replicas will do it.
            _ => Ok(()),
        };
        let Err(error) = ended else { return };
        tracing::warn!(job.id = %job.job_id, job.kind = job.kind, error = %error, "a job failed");
        let given_up = match &error {
            ServiceError::Store(_) => job.attempts + 1 >= ATTEMPTS_MAX,
            // What is refused once is refused again.
            _ => true,
        };
        if given_up && let Err(error) = self.give_up(trust, job.job_id, &error).await {
            tracing::warn!(job.id = %job.job_id, error = %error, "a failed job could not be given up: it is tried again");
        }
    }

    async fn give_up(&self, trust: TrustId, job: Uuid, error: &ServiceError) -> Result<(), ServiceError> {
        let why = match error {
            ServiceError::Store(_) => "the store failed: the service's log says why".to_owned(),
            refused => refused.to_string(),
        };
        let now = self.clock.now();
        let mut transaction = self.store.begin(trust).await?;
        let noted = jobs::finish(&mut transaction, trust, job, Err(why), now).await;
        finish(transaction, noted.map_err(ServiceError::from)).await
    }

    /// One job.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such job.
    pub async fn get_job(&self, trust: TrustId, job: Uuid) -> Result<JobRow, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = jobs::find(&mut transaction, trust, job).await;
        let found = finish(transaction, found.map_err(ServiceError::from)).await?;
        found.ok_or(ServiceError::NotFound(Resource::Job))
    }

    /// Jobs, latest first.
    pub async fn list_jobs(&self, trust: TrustId, page: Page<Uuid>) -> Result<PageOf<JobRow, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let rows = jobs::list(&mut transaction, trust, page.after, one_more(page.size)).await;
        let rows = finish(transaction, rows.map_err(ServiceError::from)).await?;
        Ok(PageOf::from_rows(rows, page.size, |job| job.job_id))
    }
}

fn row(trust: TrustId, asked: &Asked, now: DateTime<Utc>) -> JobRow {
    JobRow {
        trust_id: trust.0,
        job_id: Uuid::now_v7(),
        kind: asked.kind.as_str().to_owned(),
        state: jobs::PENDING.to_owned(),
        settings: asked.settings.clone(),
        done: 0,
        total: 0,
        outcome: None,
        failure: None,
        attempts: 0,
        requested_by_name: asked.by.name.clone(),
        requested_by_position: asked.by.position.clone(),
        request_id: asked.request,
        created_at: now,
        updated_at: now,
        finished_at: None,
    }
}

fn same(earlier: JobRow, asked: &Asked) -> Result<JobRow, ServiceError> {
    let same = earlier.kind == asked.kind.as_str()
        && earlier.settings == asked.settings
        && earlier.requested_by_name == asked.by.name
        && earlier.requested_by_position == asked.by.position;
    if same {
        Ok(earlier)
    } else {
        Err(super::recorded::request_id_reused("request_id"))
    }
}
