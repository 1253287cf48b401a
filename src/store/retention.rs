//! For how long a trust keeps what it records, and the removal of what is past its time. The service's role removes nothing
//! itself: the database's functions do, which look for themselves whose rows they are, how old, and whether a legal hold stands.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, Integer, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoreError;
use super::schema::{pupils, retention_rules};
use crate::domain::identifiers::TrustId;

/// For how long each kind is kept, as it was set at a time.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable, Selectable)]
#[diesel(table_name = retention_rules, check_for_backend(diesel::pg::Pg))]
pub struct RetentionRow {
    /// The trust.
    pub trust_id: Uuid,
    /// Counts the updates, from 1.
    pub version: i64,
    /// Years of registers.
    pub registers_years: i16,
    /// Years of actions.
    pub actions_years: i16,
    /// Years of moves and holds.
    pub history_years: i16,
    /// Years of pupils who left.
    pub pupils_years: i16,
    /// Years of records of requests.
    pub requests_years: i16,
    /// Why.
    pub reason: String,
    /// Who, by name.
    pub updated_by_name: String,
    /// Who, by position.
    pub updated_by_position: String,
    /// When.
    pub updated_at: DateTime<Utc>,
}

/// What stands; nothing where nobody has set anything.
pub async fn standing(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Option<RetentionRow>, StoreError> {
    Ok(retention_rules::table
        .filter(retention_rules::trust_id.eq(trust.0))
        .order(retention_rules::version.desc())
        .select(RetentionRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Sets what stands from now on. Fails as a lost race where somebody else set the same version first.
pub async fn insert(conn: &mut AsyncPgConnection, row: &RetentionRow) -> Result<(), StoreError> {
    diesel::insert_into(retention_rules::table)
        .values(row)
        .execute(conn)
        .await?;
    Ok(())
}

/// How much of one kind of one academic year was removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, QueryableByName)]
pub struct Removed {
    /// The kind: `registers`, `actions`, `history`, `pupils` or `requests`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The table.
    #[diesel(sql_type = Text)]
    pub record: String,
    /// The academic year.
    #[diesel(sql_type = Integer)]
    pub academic_year: i32,
    /// How many rows.
    #[diesel(sql_type = BigInt)]
    pub removed: i64,
}

/// At most so many pupils after one, in order, without those that are part of others.
pub async fn next_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    after: Uuid,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0).and(pupils::pupil_id.gt(after)))
        .filter(pupils::merged_into.is_null())
        .order(pupils::pupil_id)
        .limit(most)
        .select(pupils::pupil_id)
        .load(conn)
        .await?)
}

/// How many pupils the trust has, without those that are part of others.
pub async fn count_pupils(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<i64, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::merged_into.is_null())
        .count()
        .get_result(conn)
        .await?)
}

#[derive(QueryableByName)]
struct Pupils {
    #[diesel(sql_type = Array<SqlUuid>)]
    ids: Vec<Uuid>,
}

/// The pupils, with those that are part of them.
pub async fn with_merged(conn: &mut AsyncPgConnection, trust: TrustId, of: &[Uuid]) -> Result<Vec<Uuid>, StoreError> {
    let found: Pupils = diesel::sql_query("SELECT with_merged($1, $2) AS ids")
        .bind::<SqlUuid, _>(trust.0)
        .bind::<Array<SqlUuid>, _>(of)
        .get_result(conn)
        .await?;
    Ok(found.ids)
}

/// Of some pupils, those on whom, or on a part of whom, a legal hold stands.
pub async fn under_legal_hold(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
) -> Result<Vec<Uuid>, StoreError> {
    let found: Pupils = diesel::sql_query("SELECT under_legal_hold($1, $2) AS ids")
        .bind::<SqlUuid, _>(trust.0)
        .bind::<Array<SqlUuid>, _>(of)
        .get_result(conn)
        .await?;
    Ok(found.ids)
}

/// Removes what is past its time of some pupils of the transaction's trust. They, and their parts, must be locked.
pub async fn remove_of_pupils(
    conn: &mut AsyncPgConnection,
    of: &[Uuid],
    today: NaiveDate,
) -> Result<Vec<Removed>, StoreError> {
    Ok(
        diesel::sql_query("SELECT kind, record, academic_year, removed FROM remove_expired($1, $2)")
            .bind::<Array<SqlUuid>, _>(of)
            .bind::<Date, _>(today)
            .load(conn)
            .await?,
    )
}

/// The same of what belongs to no pupil alone: at most so many rows of each table.
pub async fn remove_of_trust(
    conn: &mut AsyncPgConnection,
    today: NaiveDate,
    most: i32,
) -> Result<Vec<Removed>, StoreError> {
    Ok(
        diesel::sql_query("SELECT kind, record, academic_year, removed FROM remove_expired_of_trust($1, $2)")
            .bind::<Date, _>(today)
            .bind::<Integer, _>(most)
            .load(conn)
            .await?,
    )
}

/// A school's academic year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, QueryableByName)]
pub struct SchoolYearKey {
    /// The school.
    #[diesel(sql_type = SqlUuid)]
    pub school_id: Uuid,
    /// The year.
    #[diesel(sql_type = SmallInt)]
    pub academic_year: i16,
}

/// Which years that are past their time some pupils still have registers of.
pub async fn registers_left(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
    today: NaiveDate,
) -> Result<Vec<SchoolYearKey>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT DISTINCT school_id, academic_year FROM registers
         WHERE trust_id = $1 AND pupil_id = ANY ($2)
             AND academic_year <= academic_year_of(retention_day($3)) - 1 - retention_years('registers')",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(of)
    .bind::<Date, _>(today)
    .load(conn)
    .await?)
}

/// How many first entries go when registers are left of these years alone.
pub async fn first_entries_to_go(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    left: &[SchoolYearKey],
    today: NaiveDate,
) -> Result<Vec<Removed>, StoreError> {
    let (schools, years): (Vec<Uuid>, Vec<i16>) = left.iter().map(|key| (key.school_id, key.academic_year)).unzip();
    Ok(diesel::sql_query(
        "SELECT 'registers' AS kind, 'first_entries' AS record, f.academic_year::integer AS academic_year,
                count(*) AS removed
         FROM first_entries AS f
         LEFT JOIN unnest($3::uuid[], $4::smallint[]) AS l (school_id, academic_year) USING (school_id, academic_year)
         WHERE f.trust_id = $1 AND l.school_id IS NULL
             AND f.academic_year <= academic_year_of(retention_day($2)) - 1 - retention_years('registers')
         GROUP BY f.academic_year",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Date, _>(today)
    .bind::<Array<SqlUuid>, _>(schools)
    .bind::<Array<SmallInt>, _>(years)
    .load(conn)
    .await?)
}
