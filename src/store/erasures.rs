//! Erasures: what a person asked to go, and the record that it went. The database's function erases, and writes the record.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Date, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::erasures;
use crate::domain::identifiers::TrustId;

/// An erasure as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = erasures, check_for_backend(diesel::pg::Pg))]
pub struct ErasureRow {
    /// The erasure.
    pub erasure_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// What was erased: `free_text` or `identity`.
    pub scope: String,
    /// Why.
    pub reason: String,
    /// Who, by name.
    pub erased_by_name: String,
    /// Who, by position.
    pub erased_by_position: String,
    /// When.
    pub erased_at: DateTime<Utc>,
    /// The request that asked for it, where it gave itself a name.
    pub request_id: Option<Uuid>,
    /// How many rows, by table.
    pub counts: serde_json::Value,
}

/// The erasure that an earlier request of the same name asked for.
pub async fn of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Uuid,
) -> Result<Option<ErasureRow>, StoreError> {
    Ok(erasures::table
        .filter(erasures::trust_id.eq(trust.0))
        .filter(erasures::request_id.eq(request))
        .select(ErasureRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Erasures before one, latest first: of one pupil, or of all.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: Option<Uuid>,
    before: Option<Uuid>,
    most: i64,
) -> Result<Vec<ErasureRow>, StoreError> {
    let mut query = erasures::table.filter(erasures::trust_id.eq(trust.0)).into_boxed();
    if let Some(pupil) = pupil {
        query = query.filter(erasures::pupil_id.eq(pupil));
    }
    if let Some(before) = before {
        query = query.filter(erasures::erasure_id.lt(before));
    }
    Ok(query
        .order(erasures::erasure_id.desc())
        .limit(most)
        .select(ErasureRow::as_select())
        .load(conn)
        .await?)
}

/// Until when it has to stay known who a pupil is; nothing where it need not any more, [`NaiveDate::MAX`] while the pupil is on
/// roll.
pub async fn kept_until(
    conn: &mut AsyncPgConnection,
    pupil: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<NaiveDate>, StoreError> {
    #[derive(QueryableByName)]
    struct Kept {
        #[diesel(sql_type = Nullable<Date>)]
        until: Option<NaiveDate>,
    }
    let kept: Kept = diesel::sql_query(
        "SELECT CASE WHEN isfinite(until) THEN until WHEN until IS NOT NULL THEN DATE '9999-12-31' END AS until
         FROM kept_until($1, $2) AS until",
    )
    .bind::<SqlUuid, _>(pupil)
    .bind::<Timestamptz, _>(now)
    .get_result(conn)
    .await?;
    Ok(kept
        .until
        .map(|until| if until < END_OF_DATES { until } else { NaiveDate::MAX }))
}

/// What stands for a date without an end.
const END_OF_DATES: NaiveDate = match NaiveDate::from_ymd_opt(9999, 12, 31) {
    Some(date) => date,
    None => NaiveDate::MAX,
};

/// Erases, and keeps the record of it: returns how many rows were replaced or removed, by table. The pupil must be locked, with
/// no legal hold and, for who the pupil is, nothing that has to be kept: the database refuses it otherwise.
pub async fn erase(conn: &mut AsyncPgConnection, erasure: &ErasureRow) -> Result<serde_json::Value, StoreError> {
    #[derive(QueryableByName)]
    struct Counts {
        #[diesel(sql_type = Jsonb)]
        counts: serde_json::Value,
    }
    let erased: Counts = diesel::sql_query("SELECT erase_pupil($1, $2, $3, $4, $5, $6, $7, $8) AS counts")
        .bind::<SqlUuid, _>(erasure.pupil_id)
        .bind::<Text, _>(&erasure.scope)
        .bind::<SqlUuid, _>(erasure.erasure_id)
        .bind::<Text, _>(&erasure.reason)
        .bind::<Text, _>(&erasure.erased_by_name)
        .bind::<Text, _>(&erasure.erased_by_position)
        .bind::<Timestamptz, _>(erasure.erased_at)
        .bind::<Nullable<SqlUuid>, _>(erasure.request_id)
        .get_result(conn)
        .await?;
    Ok(erased.counts)
}
