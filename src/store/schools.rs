//! Schools of a trust.

use std::collections::{HashMap, HashSet};

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
