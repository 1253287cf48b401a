//! Removing what is past its time, as a job, and telling beforehand how much that would be.
//!
//! Some pupils at once are removed in a transaction of their own, which notes as well how far the job is: what is done stays
//! done, and whoever begins the job anew goes on from there.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::service::jobs::{Asked, JobKind};
use crate::service::transaction::{finish, retry};
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::jobs::{self, JobRow};
use crate::store::retention::{self as store, Removed};
use crate::store::{StoreError, TrustTransaction, stages};

/// How many pupils one transaction looks at.
const PUPILS_AT_ONCE: i64 = 500;
/// How many rows of a table that belong to no pupil one transaction removes.
const ROWS_AT_ONCE: i32 = 5_000;

/// What a removal has come to. It is kept with the job, and is where it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalOutcome {
    /// What went, by kind, record and year.
    pub removed: Vec<Removed>,
    /// The last pupil that was looked at.
    after: Option<Uuid>,
    /// How many were.
    done: i64,
}

/// What is asked of the job: nothing but that it is done.
#[derive(Clone, Copy, Debug, Serialize)]
struct RemovalSettings {}

/// What a removal would come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalPreview {
    /// What would go, by kind, record and year.
    pub removed: Vec<Removed>,
    /// Pupils left as they are because a legal hold stands.
    pub under_legal_hold: usize,
}

/// Counts of the same kind, record and year made one, in order.
fn add_up(counts: impl IntoIterator<Item = Removed>) -> Vec<Removed> {
    let mut sums: BTreeMap<(String, String, i32), i64> = BTreeMap::new();
    for count in counts {
        *sums.entry((count.kind, count.record, count.academic_year)).or_default() += count.removed;
    }
    sums.into_iter()
        .map(|((kind, record, academic_year), removed)| Removed {
            kind,
            record,
            academic_year,
            removed,
        })
        .collect()
}

/// The next pupils, locked with their parts, and those who are past their time removed: nothing after the last pupil.
async fn remove_next(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    after: Option<Uuid>,
    today: NaiveDate,
) -> Result<Option<(Vec<Uuid>, Vec<Removed>)>, ServiceError> {
    let pupils = store::next_pupils(transaction, trust, after.unwrap_or(Uuid::nil()), PUPILS_AT_ONCE).await?;
    if pupils.is_empty() {
        return Ok(None);
    }
    let with_parts = store::with_merged(transaction, trust, &pupils).await?;
    stages::lock(transaction, trust, &with_parts).await?;
    let removed = store::remove_of_pupils(transaction, &pupils, today).await?;
    Ok(Some((pupils, removed)))
}

impl Service {
    /// How much [`Service::apply_retention`] would remove now. It is removed and taken back, some pupils at once.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn preview_retention(&self, trust: TrustId) -> Result<RemovalPreview, ServiceError> {
        let today = self.clock.today();
        self.retention(trust).await?;
        let (mut after, mut removed, mut left) = (None, Vec::new(), HashSet::new());
        let mut under_legal_hold = 0;
        loop {
            let looked_at = retry(|| async {
                let mut transaction = self.store.begin(trust).await?;
                let looked_at = preview_next(&mut transaction, trust, after, today).await;
                transaction.rollback().await?;
                looked_at
            })
            .await?;
            let Some(looked_at) = looked_at else { break };
            after = Some(looked_at.last);
            removed.extend(looked_at.removed);
            left.extend(looked_at.left);
            under_legal_hold += looked_at.held;
        }
        let mut transaction = self.store.begin(trust).await?;
        let of_trust = async {
            let left: Vec<_> = left.into_iter().collect();
            let mut found = store::first_entries_to_go(&mut transaction, trust, &left, today).await?;
            let rest = store::remove_of_trust(&mut transaction, today, i32::MAX).await?;
            found.extend(rest.into_iter().filter(|count| count.record != "first_entries"));
            Ok::<_, ServiceError>(found)
        }
        .await;
        transaction.rollback().await?;
        removed.extend(of_trust?);
        Ok(RemovalPreview {
            removed: add_up(removed),
            under_legal_hold,
        })
    }

    /// Asks that what is past its time is removed, and returns the job that does it. The same request again returns the same
    /// job.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust, `Invalid` where the request's name was used for another.
    pub async fn apply_retention(
        &self,
        trust: TrustId,
        by: &Person,
        request: Option<Uuid>,
    ) -> Result<JobRow, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let there = require_trust(&mut transaction, trust).await;
        finish(transaction, there).await?;
        let asked = Asked::new(JobKind::ApplyRetention, &RemovalSettings {}, by, request)?;
        self.ask_for_job(trust, asked).await
    }

    /// Does what [`Service::apply_retention`] asked for. Nothing where another process is at it.
    pub(in crate::service) async fn run_removal(&self, trust: TrustId, job: Uuid) -> Result<(), ServiceError> {
        // Holds the job while the steps are committed beside it.
        let mut holder = self.store.begin(trust).await?;
        let ran = self.remove_all(&mut holder, trust, job).await;
        finish(holder, ran).await
    }

    async fn remove_all(&self, holder: &mut TrustTransaction, trust: TrustId, job: Uuid) -> Result<(), ServiceError> {
        if !jobs::try_lock(holder, job).await? {
            return Ok(());
        }
        let Some(found) = jobs::find(holder, trust, job).await?.filter(|job| !job.finished()) else {
            return Ok(());
        };
        let mut outcome: RemovalOutcome = found
            .outcome
            .map(serde_json::from_value)
            .transpose()
            .map_err(|_| StoreError::Corrupt("jobs.outcome"))?
            .unwrap_or_default();
        let mut transaction = self.store.begin(trust).await?;
        let begun = async {
            jobs::begin(&mut transaction, trust, job, self.clock.now()).await?;
            Ok(store::count_pupils(&mut transaction, trust).await?)
        }
        .await;
        let total = finish(transaction, begun).await?;
        loop {
            let step = retry(|| async {
                let mut transaction = self.store.begin(trust).await?;
                let step = self.remove_some(&mut transaction, trust, job, &outcome, total).await;
                finish(transaction, step).await
            })
            .await?;
            match step {
                Some(step) => outcome = step,
                None => break,
            }
        }
        let kept = serde_json::to_value(&outcome).map_err(|_| StoreError::Corrupt("jobs.outcome"))?;
        let now = self.clock.now();
        let mut transaction = self.store.begin(trust).await?;
        let ended = async {
            let all = (outcome.done, outcome.done);
            jobs::keep(&mut transaction, trust, job, kept.clone(), all, now).await?;
            Ok(jobs::finish(&mut transaction, trust, job, Ok(kept), now).await?)
        }
        .await;
        finish(transaction, ended).await
    }

    /// One step, with how far the job is then: nothing where nothing is left.
    async fn remove_some(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        job: Uuid,
        so_far: &RemovalOutcome,
        total: i64,
    ) -> Result<Option<RemovalOutcome>, ServiceError> {
        let today = self.clock.today();
        let mut next = so_far.clone();
        let removed = match remove_next(transaction, trust, so_far.after, today).await? {
            Some((pupils, removed)) => {
                next.after = pupils.last().copied();
                next.done += i64::try_from(pupils.len()).unwrap_or(i64::MAX);
                removed
            }
            None => {
                let removed = store::remove_of_trust(transaction, today, ROWS_AT_ONCE).await?;
                if removed.is_empty() {
                    return Ok(None);
                }
                removed
            }
        };
        next.removed = add_up(next.removed.into_iter().chain(removed));
        let kept = serde_json::to_value(&next).map_err(|_| StoreError::Corrupt("jobs.outcome"))?;
        let counts = (next.done, total.max(next.done));
        jobs::keep(transaction, trust, job, kept, counts, self.clock.now()).await?;
        Ok(Some(next))
    }
}

/// What became of some pupils, to be taken back.
struct LookedAt {
    last: Uuid,
    removed: Vec<Removed>,
    left: Vec<store::SchoolYearKey>,
    held: usize,
}

async fn preview_next(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    after: Option<Uuid>,
    today: NaiveDate,
) -> Result<Option<LookedAt>, ServiceError> {
    let Some((pupils, removed)) = remove_next(transaction, trust, after, today).await? else {
        return Ok(None);
    };
    let Some(last) = pupils.last().copied() else {
        return Ok(None);
    };
    Ok(Some(LookedAt {
        last,
        removed,
        left: store::registers_left(transaction, trust, &pupils, today).await?,
        held: store::under_legal_hold(transaction, trust, &pupils).await?.len(),
    }))
}
