//! Schools' reviews of what stands for a whole school. They are appended, and the last of a provision at a school stands.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::StoreError;
use crate::domain::identifiers::{SchoolId, TrustId};
use crate::domain::person::{Author, Person};
use crate::domain::universal::{UniversalReview, UniversalStatus};
use crate::store::catalogues::{name_of, word};
use crate::store::schema::universal_reviews;

#[derive(Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = universal_reviews, check_for_backend(diesel::pg::Pg))]
struct ReviewRow {
    trust_id: Uuid,
    school_id: Uuid,
    provision_id: String,
    ordinal: i32,
    catalogue_version: i32,
    status: String,
    comment: String,
    evidence: Value,
    reviewed_on: NaiveDate,
    next_review_on: Option<NaiveDate>,
    recorded_by_name: String,
    recorded_by_position: String,
    recorded_by_id: String,
    recorded_at: DateTime<Utc>,
}

impl TryFrom<ReviewRow> for UniversalReview {
    type Error = StoreError;

    fn try_from(row: ReviewRow) -> Result<UniversalReview, StoreError> {
        Ok(UniversalReview {
            ordinal: row.ordinal,
            catalogue_version: row.catalogue_version,
            status: word(&row.status)?,
            comment: row.comment,
            evidence: serde_json::from_value(row.evidence)
                .map_err(|_| StoreError::Corrupt("universal_reviews.evidence"))?,
            reviewed_on: row.reviewed_on,
            next_review_on: row.next_review_on,
            recorded_by: Author {
                person_id: row.recorded_by_id,
                person: Person {
                    name: row.recorded_by_name,
                    position: row.recorded_by_position,
                },
            },
            recorded_at: row.recorded_at,
        })
    }
}

/// What a statement begins with that finds the last review of each provision of a version of the catalogue, `$2`, at schools
/// as `s`: the one as `r`, nothing of provisions that were never reviewed.
const LAST: &str = "CROSS JOIN (
         SELECT provision_id FROM provisions WHERE trust_id = $1 AND catalogue_version = $2 AND subject = 'school'
     ) AS p
     CROSS JOIN LATERAL (
         SELECT * FROM universal_reviews
         WHERE trust_id = $1 AND school_id = s.school_id AND provision_id = p.provision_id
         ORDER BY ordinal DESC LIMIT 1
     ) AS r";

/// A school's last review of each provision that a version of the catalogue has for whole schools and that was ever reviewed,
/// with the provision's identifier.
pub async fn last_of_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    version: i32,
    school: SchoolId,
) -> Result<Vec<(String, UniversalReview)>, StoreError> {
    let rows: Vec<ReviewRow> = diesel::sql_query(format!("SELECT r.* FROM (SELECT $3::uuid AS school_id) AS s {LAST}"))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Integer, _>(version)
        .bind::<sql_types::Uuid, _>(school.0)
        .load(conn)
        .await?;
    let reviews = rows
        .into_iter()
        .map(|row| Ok((row.provision_id.clone(), row.try_into()?)));
    reviews.collect()
}

/// What the last review of a provision at a school says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOfTrust {
    /// The school.
    pub school_id: Uuid,
    /// The provision.
    pub provision_id: String,
    /// What it found.
    pub status: UniversalStatus,
    /// When to look again.
    pub next_review_on: Option<NaiveDate>,
}

/// The same at every school of the trust.
pub async fn last_of_trust(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    version: i32,
) -> Result<Vec<LastOfTrust>, StoreError> {
    #[derive(QueryableByName)]
    #[diesel(table_name = universal_reviews, check_for_backend(diesel::pg::Pg))]
    struct Found {
        school_id: Uuid,
        provision_id: String,
        status: String,
        next_review_on: Option<NaiveDate>,
    }
    let rows: Vec<Found> = diesel::sql_query(format!(
        "SELECT r.school_id, r.provision_id, r.status, r.next_review_on
         FROM (SELECT school_id FROM schools WHERE trust_id = $1) AS s {LAST}"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Integer, _>(version)
    .load(conn)
    .await?;
    let found = rows.into_iter().map(|row| {
        Ok(LastOfTrust {
            school_id: row.school_id,
            provision_id: row.provision_id,
            status: word(&row.status)?,
            next_review_on: row.next_review_on,
        })
    });
    found.collect()
}

/// Up to `limit` of a school's reviews of a provision, in order, behind the one with ordinal `after`.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
    provision: &str,
    after: i32,
    limit: i64,
) -> Result<Vec<UniversalReview>, StoreError> {
    let rows: Vec<ReviewRow> = universal_reviews::table
        .filter(universal_reviews::trust_id.eq(trust.0))
        .filter(universal_reviews::school_id.eq(school.0))
        .filter(universal_reviews::provision_id.eq(provision))
        .filter(universal_reviews::ordinal.gt(after))
        .order(universal_reviews::ordinal)
        .limit(limit)
        .select(ReviewRow::as_select())
        .load(conn)
        .await?;
    rows.into_iter().map(UniversalReview::try_from).collect()
}

/// Appends a review.
///
/// # Errors
/// Where [`StoreError::is_transient`], somebody else appended one at the same time: begin anew.
pub async fn append(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
    provision: &str,
    review: &UniversalReview,
) -> Result<(), StoreError> {
    let row = ReviewRow {
        trust_id: trust.0,
        school_id: school.0,
        provision_id: provision.to_owned(),
        ordinal: review.ordinal,
        catalogue_version: review.catalogue_version,
        status: name_of(&review.status)?,
        comment: review.comment.clone(),
        evidence: serde_json::to_value(&review.evidence)
            .map_err(|_| StoreError::Corrupt("evidence that is no JSON"))?,
        reviewed_on: review.reviewed_on,
        next_review_on: review.next_review_on,
        recorded_by_name: review.recorded_by.person.name.clone(),
        recorded_by_position: review.recorded_by.person.position.clone(),
        recorded_by_id: review.recorded_by.person_id.clone(),
        recorded_at: review.recorded_at,
    };
    diesel::insert_into(universal_reviews::table)
        .values(row)
        .execute(conn)
        .await?;
    Ok(())
}
