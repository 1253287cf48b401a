//! Pupils, their identifiers and their enrolments.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::pupils;
use crate::domain::identifiers::{PupilId, PupilKey, TrustId};

/// `pupil_identifiers.kind` of a UPN; its source is empty.
pub const KIND_UPN: i16 = 1;
/// `pupil_identifiers.kind` of an identifier of a management information system.
pub const KIND_MIS: i16 = 2;

/// How a key is stored: kind, source and value. Nothing for the service's own identifier, which is no row there.
pub fn stored_key(key: &PupilKey) -> Option<(i16, &str, &str)> {
    match key {
        PupilKey::Id(_) => None,
        PupilKey::Upn(upn) => Some((KIND_UPN, "", upn.as_str())),
        PupilKey::Mis(mis) => Some((KIND_MIS, &mis.source, &mis.value)),
    }
}

/// The places and the pupils of the keys that were found, side by side: one row, since decoding many thousand rows by
/// name takes longer than finding them.
#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Array<BigInt>)]
    places: Vec<i64>,
    #[diesel(sql_type = Array<SqlUuid>)]
    pupil_ids: Vec<Uuid>,
}

/// The pupil that each key names, in the order of the keys; nothing where the trust has none. Former UPNs are found too.
/// One statement, however many keys there are.
///
/// The service's own identifiers come back as they are, unverified: whoever uses one finds out by loading or locking the
/// pupil's rows, which it has to do anyway.
pub async fn resolve_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    keys: &[PupilKey],
) -> Result<Vec<Option<PupilId>>, StoreError> {
    let mut resolved = vec![None; keys.len()];
    let (mut asked, mut kinds, mut sources, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, key) in keys.iter().enumerate() {
        match (key, stored_key(key)) {
            (PupilKey::Id(id), _) => resolved[place] = Some(*id),
            (_, Some((kind, source, value))) => {
                asked.push(place);
                kinds.push(kind);
                sources.push(source);
                values.push(value);
            }
            _ => {}
        }
    }
    if asked.is_empty() {
        return Ok(resolved);
    }
    let found: Found = diesel::sql_query(
        "SELECT coalesce(array_agg(asked.place), '{}') AS places,
                coalesce(array_agg(identifiers.pupil_id), '{}') AS pupil_ids
         FROM unnest($2::smallint[], $3::text[], $4::text[]) WITH ORDINALITY AS asked (kind, source, value, place)
         JOIN pupil_identifiers AS identifiers
             ON identifiers.trust_id = $1
             AND identifiers.kind = asked.kind
             AND identifiers.source = asked.source
             AND identifiers.value = asked.value",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SmallInt>, _>(kinds)
    .bind::<Array<Text>, _>(sources)
    .bind::<Array<Text>, _>(values)
    .get_result(conn)
    .await?;
    for (place, pupil_id) in found.places.into_iter().zip(found.pupil_ids) {
        // Places are counted from 1.
        let asked_place = usize::try_from(place - 1).ok().and_then(|place| asked.get(place));
        if let Some(slot) = asked_place.and_then(|place| resolved.get_mut(*place)) {
            *slot = Some(PupilId(pupil_id));
        }
    }
    Ok(resolved)
}

/// Whether the trust has a pupil.
pub async fn pupil_exists(conn: &mut AsyncPgConnection, trust: TrustId, pupil: PupilId) -> Result<bool, StoreError> {
    let found = pupils::table.filter(pupils::trust_id.eq(trust.0).and(pupils::pupil_id.eq(pupil.0)));
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(conn).await?)
}
