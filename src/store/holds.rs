//! Holds: a person keeps a pupil at a stage that the numbers do not give.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{holds, pupil_stages};
use crate::domain::hold::{Hold, HoldKind};
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;

/// A hold as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable, Selectable)]
#[diesel(table_name = holds, check_for_backend(diesel::pg::Pg))]
pub struct HoldRow {
    /// The trust.
    pub trust_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// The hold.
    pub hold_id: Uuid,
    /// The number of its kind.
    pub kind: i16,
    /// The number of the stage, where it names one.
    pub stage: Option<i16>,
    /// The first day.
    pub starts_on: NaiveDate,
    /// The last day, as it was first set.
    pub ends_on: NaiveDate,
    /// Why.
    pub reason: String,
    /// Who, by name.
    pub created_by_name: String,
    /// Who, by position.
    pub created_by_position: String,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
    /// The request that asked for it, where it gave itself a name.
    pub request_id: Option<Uuid>,
    /// The last day, where somebody ended it early.
    pub ended_on: Option<NaiveDate>,
    /// Why.
    pub ended_reason: Option<String>,
    /// Who, by name.
    pub ended_by_name: Option<String>,
    /// Who, by position.
    pub ended_by_position: Option<String>,
    /// When that was recorded.
    pub ended_at: Option<DateTime<Utc>>,
}

impl HoldRow {
    /// The hold as it was known at a moment; nothing where it was not recorded yet, or was ended before it began.
    pub fn known_at(&self, moment: DateTime<Utc>) -> Result<Option<Hold>, StoreError> {
        let kind = HoldKind::from_numbers(self.kind, self.stage).ok_or(StoreError::Corrupt("holds.kind"))?;
        let ended_early = self.ended_at.is_some_and(|at| at <= moment);
        let to = match self.ended_on {
            Some(ended_on) if ended_early => ended_on,
            _ => self.ends_on,
        };
        let hold = Hold {
            id: self.hold_id,
            kind,
            from: self.starts_on,
            to,
        };
        Ok((self.created_at <= moment && hold.from <= hold.to).then_some(hold))
    }
}

/// The holds of some pupils, in the order in which they were recorded.
pub async fn of_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
) -> Result<Vec<HoldRow>, StoreError> {
    if pupils.is_empty() {
        return Ok(Vec::new());
    }
    Ok(holds::table
        .filter(holds::trust_id.eq(trust.0))
        .filter(holds::pupil_id.eq_any(pupils))
        .order((holds::pupil_id, holds::created_at, holds::hold_id))
        .select(HoldRow::as_select())
        .load(conn)
        .await?)
}

/// The holds of some pupils as they are known now, by pupil.
pub async fn by_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    known_at: DateTime<Utc>,
) -> Result<HashMap<Uuid, Vec<Hold>>, StoreError> {
    let mut by_pupil: HashMap<Uuid, Vec<Hold>> = HashMap::new();
    for row in of_pupils(conn, trust, pupils).await? {
        by_pupil
            .entry(row.pupil_id)
            .or_default()
            .extend(row.known_at(known_at)?);
    }
    Ok(by_pupil)
}

/// The hold that an earlier request with the same name made.
pub async fn of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<Option<HoldRow>, StoreError> {
    Ok(holds::table
        .filter(holds::trust_id.eq(trust.0))
        .filter(holds::request_id.eq(request_id))
        .select(HoldRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// One hold.
pub async fn find(conn: &mut AsyncPgConnection, trust: TrustId, hold_id: Uuid) -> Result<Option<HoldRow>, StoreError> {
    Ok(holds::table
        .filter(holds::trust_id.eq(trust.0))
        .filter(holds::hold_id.eq(hold_id))
        .select(HoldRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Records a hold. The pupil must be locked.
pub async fn insert(conn: &mut AsyncPgConnection, hold: &HoldRow) -> Result<(), StoreError> {
    diesel::insert_into(holds::table).values(hold).execute(conn).await?;
    diesel::update(pupil_stages::table)
        .filter(pupil_stages::trust_id.eq(hold.trust_id))
        .filter(pupil_stages::pupil_id.eq(hold.pupil_id))
        .set(pupil_stages::has_holds.eq(true))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a hold early. The pupil must be locked.
pub async fn end(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    hold_id: Uuid,
    ended_on: NaiveDate,
    reason: &str,
    by: &Person,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(holds::table)
        .filter(holds::trust_id.eq(trust.0))
        .filter(holds::hold_id.eq(hold_id))
        .set((
            holds::ended_on.eq(ended_on),
            holds::ended_reason.eq(reason),
            holds::ended_by_name.eq(&by.name),
            holds::ended_by_position.eq(&by.position),
            holds::ended_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Which holds are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoldFilter {
    /// Only those of this pupil.
    pub pupil: Option<Uuid>,
    /// Only those that are in force on this day or later.
    pub not_ended_before: Option<NaiveDate>,
    /// Only those after this one.
    pub after: Option<(NaiveDate, Uuid)>,
}

/// Holds by their ends, soonest first.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: HoldFilter,
    most: i64,
) -> Result<Vec<HoldRow>, StoreError> {
    let mut query = holds::table.filter(holds::trust_id.eq(trust.0)).into_boxed();
    if let Some(pupil) = filter.pupil {
        query = query.filter(holds::pupil_id.eq(pupil));
    }
    if let Some(date) = filter.not_ended_before {
        query = query
            .filter(holds::ends_on.ge(date))
            .filter(holds::ended_on.is_null().or(holds::ended_on.ge(date)));
    }
    if let Some((ends_on, hold_id)) = filter.after {
        let later = holds::ends_on.eq(ends_on).and(holds::hold_id.gt(hold_id));
        query = query.filter(holds::ends_on.gt(ends_on).or(later));
    }
    Ok(query
        .order((holds::ends_on, holds::hold_id))
        .limit(most)
        .select(HoldRow::as_select())
        .load(conn)
        .await?)
}
