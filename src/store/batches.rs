//! Writes that can be asked for twice: the answer of the first time, by the caller's `request_id`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{batches, trusts};
use crate::domain::identifiers::TrustId;

/// A batch that was recorded.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable)]
#[diesel(table_name = batches, check_for_backend(diesel::pg::Pg))]
pub struct RecordedBatch {
    /// A digest of what was asked for: another one under the same `request_id` is another request.
    pub fingerprint: Vec<u8>,
    /// What was answered.
    pub answer: serde_json::Value,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// The batch recorded under a `request_id`; nothing where there is none.
pub async fn find(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<Option<RecordedBatch>, StoreError> {
    let found = batches::table
        .filter(batches::trust_id.eq(trust.0).and(batches::request_id.eq(request_id)))
        .select(RecordedBatch::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(found)
}

/// The same, with how often it changed which pupil an identifier means ([`super::merges::identity_version`]); 0 where there is
/// no such trust.
pub async fn find_with_identities(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<(Option<RecordedBatch>, i64), StoreError> {
    let of_request = batches::trust_id
        .eq(trusts::trust_id)
        .and(batches::request_id.eq(request_id));
    let found: Option<(i64, Option<RecordedBatch>)> = trusts::table
        .left_join(batches::table.on(of_request))
        .filter(trusts::trust_id.eq(trust.0))
        .select((trusts::identity_version, Option::<RecordedBatch>::as_select()))
        .first(conn)
        .await
        .optional()?;
    Ok(found.map_or((None, 0), |(identities, recorded)| (recorded, identities)))
}

/// Records a batch. False where somebody else has recorded the same `request_id` first (a request that is still under way
/// is waited for): then roll back, and answer with what [`find`] gives in a new transaction.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
    batch: &RecordedBatch,
) -> Result<bool, StoreError> {
    let inserted = diesel::insert_into(batches::table)
        .values((
            batches::trust_id.eq(trust.0),
            batches::request_id.eq(request_id),
            batches::fingerprint.eq(&batch.fingerprint),
            batches::answer.eq(&batch.answer),
            batches::recorded_at.eq(batch.recorded_at),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}
