//! Jobs: returned, listed and followed.

use std::pin::Pin;
use std::time::Duration;

use tokio_stream::Stream;
use tonic::Status;
use uuid::Uuid;

use super::convert::{self, to_timestamp};
use super::page_token;
use super::privacy::to_count;
use crate::domain::identifiers::TrustId;
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::policies::activation::ActivationOutcome;
use crate::service::privacy::removal::RemovalOutcome;
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::jobs::{self, JobRow};

/// How often a job that is followed is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(25);

/// The kind of a job that removes what is past its time.
const REMOVES: &str = "apply_retention";

/// What `WatchJob` answers.
pub(super) type WatchJobStream = Pin<Box<dyn Stream<Item = Result<pb::WatchJobResponse, Status>> + Send>>;

fn named(trust_id: &str, job_id: &str) -> Result<(TrustId, Uuid), ServiceError> {
    let read = || -> Result<_, FieldViolation> { Ok((convert::trust_id(trust_id)?, convert::uuid("job_id", job_id)?)) };
    Ok(read()?)
}

/// Returns a job.
pub(super) async fn get(service: &Service, request: pb::GetJobRequest) -> Result<pb::GetJobResponse, Status> {
    let (trust, job) = named(&request.trust_id, &request.job_id)?;
    let job = service.get_job(trust, job).await?;
    Ok(pb::GetJobResponse {
        job: Some(to_job(job)?),
    })
}

/// Lists jobs.
pub(super) async fn list(service: &Service, request: pb::ListJobsRequest) -> Result<pb::ListJobsResponse, Status> {
    const LIST: &str = "jobs";
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let (size, token) = (request.page_size, &request.page_token);
        Ok((
            trust,
            page_token::page(LIST, trust.0.as_bytes(), size, token, &service.limits)?,
        ))
    };
    let (trust, page) = read().map_err(ServiceError::from)?;
    let page = service.list_jobs(trust, page).await?;
    let jobs = page.rows.into_iter().map(to_job);
    Ok(pb::ListJobsResponse {
        jobs: jobs.collect::<Result<_, _>>()?,
        next_page_token: page_token::encode(LIST, trust.0.as_bytes(), page.next.as_ref()),
    })
}

/// Follows a job until it is finished.
pub(super) async fn watch(service: &Service, request: pb::WatchJobRequest) -> Result<WatchJobStream, Status> {
    let (trust, job_id) = named(&request.trust_id, &request.job_id)?;
    let first = service.get_job(trust, job_id).await?;
    let service = service.clone();
    // What was told last, and what comes next where it is known already.
    let begin = (None::<JobRow>, Some(first), service);
    let states = futures::stream::unfold(begin, move |(told, next, service)| async move {
        if told.as_ref().is_some_and(JobRow::finished) {
            return None;
        }
        let mut next = next;
        loop {
            let found = match next.take() {
                Some(found) => found,
                None => {
                    tokio::time::sleep(LOOKED_AT_EVERY).await;
                    match service.get_job(trust, job_id).await {
                        Ok(found) => found,
                        Err(error) => {
                            let ended = told.map(|told| JobRow {
                                state: jobs::FAILED.to_owned(),
                                ..told
                            });
                            return Some((Err(error.into()), (ended, None, service)));
                        }
                    }
                }
            };
            if told.as_ref() != Some(&found) {
                let job = to_job(found.clone()).map_err(Status::from);
                let answer = job.map(|job| pb::WatchJobResponse { job: Some(job) });
                return Some((answer, (Some(found), None, service)));
            }
        }
    });
    Ok(Box::pin(states))
}

/// A job as the contract has it.
pub(super) fn to_job(job: JobRow) -> Result<pb::Job, ServiceError> {
    let (moved, removed) = to_outcome(&job)?;
    let state = match job.state.as_str() {
        jobs::PENDING => pb::JobState::Pending,
        jobs::RUNNING => pb::JobState::Running,
        jobs::SUCCEEDED => pb::JobState::Succeeded,
        jobs::FAILED => pb::JobState::Failed,
        _ => return Err(StoreError::Corrupt("jobs.state").into()),
    };
    Ok(pb::Job {
        job_id: job.job_id.to_string(),
        kind: job.kind,
        state: state.into(),
        done: job.done,
        total: job.total,
        moved,
        failure: job.failure.unwrap_or_default(),
        requested_by: Some(pb::Person {
            name: job.requested_by_name,
            position: job.requested_by_position,
            ..pb::Person::default()
        }),
        created_at: Some(to_timestamp(job.created_at)),
        finished_at: job.finished_at.map(to_timestamp),
        removed,
    })
}

/// What a job came to: how many pupils moved, and what was removed.
fn to_outcome(job: &JobRow) -> Result<(i64, Vec<pb::RetentionCount>), ServiceError> {
    let (jobs::SUCCEEDED, Some(outcome)) = (job.state.as_str(), job.outcome.clone()) else {
        return Ok((0, Vec::new()));
    };
    let corrupt = |_| StoreError::Corrupt("jobs.outcome");
    if job.kind == REMOVES {
        let outcome: RemovalOutcome = serde_json::from_value(outcome).map_err(corrupt)?;
        return Ok((0, outcome.removed.into_iter().map(to_count).collect()));
    }
    let outcome: ActivationOutcome = serde_json::from_value(outcome).map_err(corrupt)?;
    Ok((i64::try_from(outcome.moved).unwrap_or(i64::MAX), Vec::new()))
}
