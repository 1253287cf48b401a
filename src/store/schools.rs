//! Schools of a trust.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::schools;
use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};

/// The school that a key names; nothing where the trust has none.
pub async fn resolve_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    key: &SchoolKey,
) -> Result<Option<SchoolId>, StoreError> {
    let of_trust = schools::table
        .filter(schools::trust_id.eq(trust.0))
        .select(schools::school_id);
    let found: Option<Uuid> = match key {
        SchoolKey::Id(id) => of_trust.filter(schools::school_id.eq(id.0)).first(conn).await,
        SchoolKey::Urn(urn) => of_trust.filter(schools::urn.eq(urn.as_str())).first(conn).await,
    }
    .optional()?;
    Ok(found.map(SchoolId))
}

/// The school that each key names, in the order of the keys; nothing where the trust has none. One statement, however many
/// keys there are.
pub async fn resolve_schools(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    keys: &[SchoolKey],
) -> Result<Vec<Option<SchoolId>>, StoreError> {
    let distinct: HashSet<&SchoolKey> = keys.iter().collect();
    let (mut ids, mut urns) = (Vec::new(), Vec::new());
    for key in distinct {
        match key {
            SchoolKey::Id(id) => ids.push(id.0),
            SchoolKey::Urn(urn) => urns.push(urn.as_str()),
        }
    }
    if ids.is_empty() && urns.is_empty() {
        return Ok(Vec::new());
    }
    let named = schools::school_id.eq_any(ids).or(schools::urn.eq_any(urns));
    let found: Vec<(Uuid, String)> = schools::table
        .filter(schools::trust_id.eq(trust.0).and(named))
        .select((schools::school_id, schools::urn))
        .load(conn)
        .await?;
    let ids: HashSet<Uuid> = found.iter().map(|(id, _)| *id).collect();
    let by_urn: HashMap<&str, Uuid> = found.iter().map(|(id, urn)| (urn.as_str(), *id)).collect();
    let resolved = keys.iter().map(|key| match key {
        SchoolKey::Id(id) => ids.contains(&id.0).then_some(*id),
        SchoolKey::Urn(urn) => by_urn.get(urn.as_str()).copied().map(SchoolId),
    });
    Ok(resolved.collect())
}

/// The length of a session at each of the trust's schools, in minutes.
pub async fn session_minutes(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<HashMap<Uuid, u64>, StoreError> {
    let rows: Vec<(Uuid, i16)> = schools::table
        .filter(schools::trust_id.eq(trust.0))
        .select((schools::school_id, schools::session_minutes))
        .load(conn)
        .await?;
    let minutes = rows
        .into_iter()
        .map(|(school, minutes)| (school, u64::try_from(minutes).unwrap_or_default()));
    Ok(minutes.collect())
}

/// A school as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = schools, check_for_backend(diesel::pg::Pg))]
pub struct SchoolRow {
    /// The school.
    pub school_id: Uuid,
    /// Unique reference number.
    pub urn: String,
    /// Its name.
    pub name: String,
    /// The number of its phase.
    pub phase: i16,
    /// Local authority and establishment number.
    pub laestab: Option<String>,
    /// The length of a session in minutes.
    pub session_minutes: i16,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The school; nothing where the trust has none.
pub async fn find(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
) -> Result<Option<SchoolRow>, StoreError> {
    let found = schools::table
        .filter(schools::trust_id.eq(trust.0).and(schools::school_id.eq(school.0)))
        .select(SchoolRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(found)
}

/// Some schools, by name.
pub async fn of_ids(conn: &mut AsyncPgConnection, trust: TrustId, ids: &[Uuid]) -> Result<Vec<SchoolRow>, StoreError> {
    Ok(schools::table
        .filter(schools::trust_id.eq(trust.0).and(schools::school_id.eq_any(ids)))
        .order((schools::name, schools::urn))
        .select(SchoolRow::as_select())
        .load(conn)
        .await?)
}

/// At most `count` schools with identifiers after `after`, in the order of their identifiers.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    after: Uuid,
    count: i64,
) -> Result<Vec<SchoolRow>, StoreError> {
    Ok(schools::table
        .filter(schools::trust_id.eq(trust.0).and(schools::school_id.gt(after)))
        .order(schools::school_id)
        .limit(count)
        .select(SchoolRow::as_select())
        .load(conn)
        .await?)
}

/// Inserts a school; nothing where the trust already has one with the URN.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: &SchoolRow,
) -> Result<Option<SchoolRow>, StoreError> {
    let inserted = diesel::insert_into(schools::table)
        .values((
            schools::trust_id.eq(trust.0),
            schools::school_id.eq(school.school_id),
            schools::urn.eq(&school.urn),
            schools::name.eq(&school.name),
            schools::phase.eq(school.phase),
            schools::laestab.eq(&school.laestab),
            schools::session_minutes.eq(school.session_minutes),
            schools::version.eq(school.version),
            schools::created_at.eq(school.created_at),
            schools::updated_at.eq(school.updated_at),
        ))
        .on_conflict((schools::trust_id, schools::urn))
        .do_nothing()
        .returning(SchoolRow::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    Ok(inserted)
}

/// The columns of a school that can be changed; nothing leaves a column as it is.
#[derive(AsChangeset)]
#[diesel(table_name = schools)]
pub struct SchoolChangeset {
    /// Its name.
    pub name: Option<String>,
    /// The number of its phase.
    pub phase: Option<i16>,
    /// Local authority and establishment number.
    pub laestab: Option<Option<String>>,
    /// The length of a session in minutes.
    pub session_minutes: Option<i16>,
    /// When it changed.
    pub updated_at: DateTime<Utc>,
}

/// Changes a school. Nothing where the trust has none, or where its version is not the expected one.
pub async fn update(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
    changes: &SchoolChangeset,
    expected_version: Option<i64>,
) -> Result<Option<SchoolRow>, StoreError> {
    let named = schools::table.filter(schools::trust_id.eq(trust.0).and(schools::school_id.eq(school.0)));
    let changes = (changes, schools::version.eq(schools::version + 1));
    let updated = match expected_version {
        Some(version) => {
            diesel::update(named.filter(schools::version.eq(version)))
                .set(changes)
                .returning(SchoolRow::as_returning())
                .get_result(conn)
                .await
        }
        None => {
            diesel::update(named)
                .set(changes)
                .returning(SchoolRow::as_returning())
                .get_result(conn)
                .await
        }
    };
    Ok(updated.optional()?)
}
