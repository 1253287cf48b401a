//! Penalty notices that were issued, which use sessions up.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::penalty_notices;
use super::thresholds::sessions_of;
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::domain::session::Session;
use crate::domain::thresholds::Notice;

/// A penalty notice as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, QueryableByName, Insertable, Selectable)]
#[diesel(table_name = penalty_notices, check_for_backend(diesel::pg::Pg))]
pub struct NoticeRow {
    /// The trust.
    pub trust_id: Uuid,
    /// The notice.
    pub notice_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// The day of issue.
    pub issued_on: NaiveDate,
    /// The local authority's reference.
    pub reference: String,
    /// The numbers of the sessions that it used, in order.
    pub sessions: Vec<i32>,
    /// Who recorded it, by name.
    pub recorded_by_name: String,
    /// Who recorded it, by position.
    pub recorded_by_position: String,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// The request, where it gave itself a name.
    pub request_id: Option<Uuid>,
    /// Why it was cancelled.
    pub cancelled_reason: Option<String>,
    /// Who cancelled it, by name.
    pub cancelled_by_name: Option<String>,
    /// Who cancelled it, by position.
    pub cancelled_by_position: Option<String>,
    /// When.
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl NoticeRow {
    /// The sessions that it used.
    pub fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        sessions_of(&self.sessions)
    }

    /// The notice as it was known at a moment; nothing where it was not recorded yet, or was cancelled.
    pub fn known_at(&self, moment: DateTime<Utc>) -> Result<Option<Notice>, StoreError> {
        if self.recorded_at > moment || self.cancelled_at.is_some_and(|at| at <= moment) {
            return Ok(None);
        }
        Ok(Some(Notice {
            id: self.notice_id,
            issued_on: self.issued_on,
            sessions: self.sessions()?.into_iter().collect::<BTreeSet<_>>(),
        }))
    }
}

/// The notices of a pupil, or of all, in the order in which they were recorded.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: Option<Uuid>,
    after: Option<Uuid>,
    most: i64,
) -> Result<Vec<NoticeRow>, StoreError> {
    let mut query = penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .into_boxed();
    if let Some(of) = of {
        query = query.filter(penalty_notices::pupil_id.eq(of));
    }
    if let Some(after) = after {
        query = query.filter(penalty_notices::notice_id.gt(after));
    }
    Ok(query
        .order(penalty_notices::notice_id)
        .limit(most)
        .select(NoticeRow::as_select())
        .load(conn)
        .await?)
}

/// The notices of some pupils as they are known at a moment, by pupil and in the order of issue.
pub async fn by_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
    known_at: DateTime<Utc>,
) -> Result<HashMap<Uuid, Vec<Notice>>, StoreError> {
    let rows: Vec<NoticeRow> = diesel::sql_query(
        "SELECT n.* FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM penalty_notices WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0
         ) AS n",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(of)
    .load(conn)
    .await?;
    let mut by_pupil: HashMap<Uuid, Vec<Notice>> = HashMap::new();
    for row in rows {
        by_pupil
            .entry(row.pupil_id)
            .or_default()
            .extend(row.known_at(known_at)?);
    }
    for notices in by_pupil.values_mut() {
        notices.sort_by_key(|notice| notice.issued_on);
    }
    Ok(by_pupil)
}

/// One notice.
pub async fn find(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    notice_id: Uuid,
) -> Result<Option<NoticeRow>, StoreError> {
    Ok(penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .filter(penalty_notices::notice_id.eq(notice_id))
        .select(NoticeRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The notice that an earlier request with the same name recorded.
pub async fn of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<Option<NoticeRow>, StoreError> {
    Ok(penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .filter(penalty_notices::request_id.eq(request_id))
        .select(NoticeRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Records a notice. The pupil must be locked.
pub async fn insert(conn: &mut AsyncPgConnection, notice: &NoticeRow) -> Result<(), StoreError> {
    diesel::insert_into(penalty_notices::table)
        .values(notice)
        .execute(conn)
        .await?;
    Ok(())
}

/// Cancels a notice. The pupil must be locked.
pub async fn cancel(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    notice_id: Uuid,
    reason: &str,
    by: &Person,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let notice = penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .filter(penalty_notices::notice_id.eq(notice_id));
    diesel::update(notice)
        .set((
            penalty_notices::cancelled_reason.eq(reason),
            penalty_notices::cancelled_by_name.eq(&by.name),
            penalty_notices::cancelled_by_position.eq(&by.position),
            penalty_notices::cancelled_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}
