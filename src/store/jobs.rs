//! Jobs: work that goes on after the call that asked for it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::jobs;
use crate::domain::identifiers::TrustId;

/// A job as it is stored.
#[derive(Clone, Debug, PartialEq, Queryable, Insertable, Selectable)]
#[diesel(table_name = jobs, check_for_backend(diesel::pg::Pg))]
pub struct JobRow {
    /// The trust.
    pub trust_id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// What it does.
    pub kind: String,
    /// `pending`, `running`, `succeeded` or `failed`.
    pub state: String,
    /// What it was asked for.
    pub settings: serde_json::Value,
    /// How many of its parts are done.
    pub done: i64,
    /// How many there are.
    pub total: i64,
    /// What it came to.
    pub outcome: Option<serde_json::Value>,
    /// Why it failed.
    pub failure: Option<String>,
    /// How often it was begun.
    pub attempts: i32,
    /// Who asked for it, by name.
    pub requested_by_name: String,
    /// Who asked for it, by position.
    pub requested_by_position: String,
    /// The request that asked for it, where it gave itself a name.
    pub request_id: Option<Uuid>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was finished.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Nobody has begun it.
pub const PENDING: &str = "pending";
/// Under way.
pub const RUNNING: &str = "running";
/// Done.
pub const SUCCEEDED: &str = "succeeded";
/// Given up.
pub const FAILED: &str = "failed";

impl JobRow {
    /// Whether nothing more will be done.
    pub fn finished(&self) -> bool {
        self.state == SUCCEEDED || self.state == FAILED
    }
}

/// Keeps a new job.
pub async fn insert(conn: &mut AsyncPgConnection, job: &JobRow) -> Result<(), StoreError> {
    diesel::insert_into(jobs::table).values(job).execute(conn).await?;
    Ok(())
}

/// One job.
pub async fn find(conn: &mut AsyncPgConnection, trust: TrustId, job_id: Uuid) -> Result<Option<JobRow>, StoreError> {
    Ok(jobs::table
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::job_id.eq(job_id))
        .select(JobRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The job that an earlier request with the same name asked for.
pub async fn of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<Option<JobRow>, StoreError> {
    Ok(jobs::table
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::request_id.eq(request_id))
        .select(JobRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Jobs before one, latest first.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<JobRow>, StoreError> {
    let mut query = jobs::table.filter(jobs::trust_id.eq(trust.0)).into_boxed();
    if let Some(before) = before {
        query = query.filter(jobs::job_id.lt(before));
    }
    Ok(query
        .order(jobs::job_id.desc())
        .limit(most)
        .select(JobRow::as_select())
        .load(conn)
        .await?)
}

/// The trust's jobs that are not finished, oldest first.
pub async fn unfinished(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Vec<JobRow>, StoreError> {
    Ok(jobs::table
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::state.eq_any([PENDING, RUNNING]))
        .order(jobs::created_at)
        .select(JobRow::as_select())
        .load(conn)
        .await?)
}

/// Takes the job for this transaction. False where another transaction has it: then somebody is at it.
pub async fn try_lock(conn: &mut AsyncPgConnection, job_id: Uuid) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Locked {
        #[diesel(sql_type = sql_types::Bool)]
        locked: bool,
    }
    let (high, low) = job_id.as_u64_pair();
    let key = i64::from_be_bytes((high ^ low).to_be_bytes());
    let locked: Locked = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS locked")
        .bind::<sql_types::BigInt, _>(key)
        .get_result(conn)
        .await?;
    Ok(locked.locked)
}

/// Notes how far a job is.
pub async fn progress(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    job_id: Uuid,
    done: usize,
    total: usize,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    diesel::update(jobs::table)
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::job_id.eq(job_id))
        .filter(jobs::state.eq_any([PENDING, RUNNING]))
        .set((
            jobs::state.eq(RUNNING),
            jobs::done.eq(count(done)),
            jobs::total.eq(count(total)),
            jobs::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes how far a job is whose parts are committed one by one, with what it has come to so far: whoever begins it anew goes on
/// from there.
pub async fn keep(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    job_id: Uuid,
    so_far: serde_json::Value,
    (done, total): (i64, i64),
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(jobs::table)
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::job_id.eq(job_id))
        .set((
            jobs::state.eq(RUNNING),
            jobs::outcome.eq(so_far),
            jobs::done.eq(done),
            jobs::total.eq(total),
            jobs::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Counts one more attempt.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    job_id: Uuid,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(jobs::table)
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::job_id.eq(job_id))
        .set((
            jobs::state.eq(RUNNING),
            jobs::done.eq(0),
            jobs::attempts.eq(jobs::attempts + 1),
            jobs::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a job: with what it came to, or with why it failed.
pub async fn finish(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    job_id: Uuid,
    ended: Result<serde_json::Value, String>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let (state, outcome, failure) = match ended {
        Ok(outcome) => (SUCCEEDED, Some(outcome), None),
        Err(failure) => (FAILED, None, Some(failure)),
    };
    diesel::update(jobs::table)
        .filter(jobs::trust_id.eq(trust.0))
        .filter(jobs::job_id.eq(job_id))
        .set((
            jobs::state.eq(state),
            jobs::outcome.eq(outcome),
            jobs::failure.eq(failure),
            jobs::updated_at.eq(now),
            jobs::finished_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
