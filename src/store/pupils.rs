//! Pupils, their identifiers and their enrolments.

pub mod writes;

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::merges::merged_into;
use super::schema::{enrolments, pupil_identifiers, pupils};
use crate::domain::identifiers::{PupilId, PupilKey, SchoolId, TrustId};
use crate::domain::pupil::{EnrolmentKind, EnrolmentSpan};

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

/// The pupil that each key names, in the order of the keys; nothing where the trust has none. Former UPNs are found too, and
/// a pupil that was merged into another finds that one. One statement for identifiers and one for the service's own, however
/// many keys there are.
///
/// The service's own identifiers come back unverified: whoever uses one finds out by loading or locking the pupil's rows, which
/// it has to do anyway.
pub async fn resolve_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    keys: &[PupilKey],
) -> Result<Vec<Option<PupilId>>, StoreError> {
    let mut resolved = resolve_identifiers(conn, trust, keys).await?;
    let own: Vec<Uuid> = keys
        .iter()
        .filter_map(|key| match key {
            PupilKey::Id(id) => Some(id.0),
            _ => None,
        })
        .collect();
    if own.is_empty() {
        return Ok(resolved);
    }
    let merged: HashMap<Uuid, Uuid> = merged_into(conn, trust, &own).await?.into_iter().collect();
    if !merged.is_empty() {
        for pupil in resolved.iter_mut().flatten() {
            pupil.0 = merged.get(&pupil.0).copied().unwrap_or(pupil.0);
        }
    }
    Ok(resolved)
}

/// The same, but that the service's own identifiers come back as they are, be they of pupils that were merged into others. One
/// statement, and none where there is no other identifier.
pub async fn resolve_identifiers(
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
         CROSS JOIN LATERAL (
             SELECT pupil_id FROM pupil_identifiers
             WHERE trust_id = $1 AND kind = asked.kind AND source = asked.source AND value = asked.value
             OFFSET 0
         ) AS identifiers",
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

/// A pupil as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = pupils, check_for_backend(diesel::pg::Pg))]
pub struct PupilRow {
    /// The pupil.
    pub pupil_id: Uuid,
    /// Given name; empty where callers give none.
    pub given_name: String,
    /// Family name; empty where callers give none.
    pub family_name: String,
    /// Date of birth.
    pub date_of_birth: Option<NaiveDate>,
    /// Year group: the number of the contract's enum, from 1.
    pub year_group: Option<i16>,
    /// Counts the changes of the pupil, its identifiers and its enrolments, from 1.
    pub version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was erased who the pupil is.
    pub erased_at: Option<DateTime<Utc>>,
}

/// An identifier under which a pupil is or was known.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = pupil_identifiers, check_for_backend(diesel::pg::Pg))]
pub struct IdentifierRow {
    /// The pupil.
    pub pupil_id: Uuid,
    /// [`KIND_UPN`] or [`KIND_MIS`].
    pub kind: i16,
    /// The system; empty for a UPN.
    pub source: String,
    /// The identifier.
    pub value: String,
    /// Whether the pupil is known under it now; a former one still finds the pupil.
    pub is_current: bool,
}

/// An enrolment as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = enrolments, check_for_backend(diesel::pg::Pg))]
pub struct EnrolmentRow {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The enrolment.
    pub enrolment_id: Uuid,
    /// The school.
    pub school_id: Uuid,
    /// The number of its kind.
    pub kind: i16,
    /// The first day on roll.
    pub start_date: NaiveDate,
    /// The last day on roll.
    pub end_date: Option<NaiveDate>,
}

impl EnrolmentRow {
    /// The enrolment's span.
    pub fn span(&self) -> Result<EnrolmentSpan, StoreError> {
        Ok(EnrolmentSpan {
            school: SchoolId(self.school_id),
            kind: EnrolmentKind::from_number(self.kind).ok_or(StoreError::Corrupt("enrolments.kind"))?,
            start: self.start_date,
            end: self.end_date,
        })
    }
}

/// The pupils, in the order of their identifiers. Those that the trust does not have are left out.
pub async fn load(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil_ids: &[Uuid],
) -> Result<Vec<PupilRow>, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0).and(pupils::pupil_id.eq_any(pupil_ids)))
        .order(pupils::pupil_id)
        .select(PupilRow::as_select())
        .load(conn)
        .await?)
}

/// At most `count` pupils with identifiers after `after`, in the order of their identifiers; without those that were merged
/// into others.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    after: Uuid,
    count: i64,
) -> Result<Vec<PupilRow>, StoreError> {
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0).and(pupils::pupil_id.gt(after)))
        .filter(pupils::merged_into.is_null())
        .order(pupils::pupil_id)
        .limit(count)
        .select(PupilRow::as_select())
        .load(conn)
        .await?)
}

/// The same, of the pupils that are on roll at a school on a day.
pub async fn list_on_roll(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: SchoolId,
    day: NaiveDate,
    after: Uuid,
    count: i64,
) -> Result<Vec<PupilRow>, StoreError> {
    let on_roll = enrolments::table
        .filter(enrolments::trust_id.eq(trust.0))
        .filter(enrolments::school_id.eq(school.0))
        .filter(enrolments::pupil_id.eq(pupils::pupil_id))
        .filter(enrolments::start_date.le(day))
        .filter(enrolments::end_date.is_null().or(enrolments::end_date.ge(day)));
    Ok(pupils::table
        .filter(pupils::trust_id.eq(trust.0).and(pupils::pupil_id.gt(after)))
        .filter(diesel::dsl::exists(on_roll))
        .order(pupils::pupil_id)
        .limit(count)
        .select(PupilRow::as_select())
        .load(conn)
        .await?)
}

/// Every identifier of the pupils, former ones too, in the order of pupil, kind, source and value.
pub async fn identifiers_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil_ids: &[Uuid],
) -> Result<Vec<IdentifierRow>, StoreError> {
    use pupil_identifiers::{kind, pupil_id, source, table, trust_id, value};
    Ok(table
        .filter(trust_id.eq(trust.0).and(pupil_id.eq_any(pupil_ids)))
        .order((pupil_id, kind, source, value))
        .select(IdentifierRow::as_select())
        .load(conn)
        .await?)
}

/// Every enrolment of the pupils, in the order of pupil, start date and identifier.
pub async fn enrolments_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil_ids: &[Uuid],
) -> Result<Vec<EnrolmentRow>, StoreError> {
    use enrolments::{enrolment_id, pupil_id, start_date, table, trust_id};
    Ok(table
        .filter(trust_id.eq(trust.0).and(pupil_id.eq_any(pupil_ids)))
        .order((pupil_id, start_date, enrolment_id))
        .select(EnrolmentRow::as_select())
        .load(conn)
        .await?)
}

#[derive(QueryableByName)]
struct LastMark {
    #[diesel(sql_type = SqlUuid)]
    enrolment_id: Uuid,
    #[diesel(sql_type = Date)]
    last_mark_on: NaiveDate,
}

/// The date of the last mark of each of the enrolments, given as pupil and enrolment. One without a mark is left out.
pub async fn last_marks(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    enrolments: &[(Uuid, Uuid)],
) -> Result<HashMap<Uuid, NaiveDate>, StoreError> {
    if enrolments.is_empty() {
        return Ok(HashMap::new());
    }
    let (pupil_ids, enrolment_ids): (Vec<Uuid>, Vec<Uuid>) = enrolments.iter().copied().unzip();
    // Bytes after the last mark are left off, so the length tells its place.
    let found: Vec<LastMark> = diesel::sql_query(
        "SELECT registers.enrolment_id,
                max(make_date(registers.academic_year, 8, 1) + (octet_length(registers.marks) - 1) / 2) AS last_mark_on
         FROM unnest($2::uuid[], $3::uuid[]) AS asked (pupil_id, enrolment_id)
         CROSS JOIN LATERAL (
             SELECT * FROM registers
             WHERE trust_id = $1 AND pupil_id = asked.pupil_id AND enrolment_id = asked.enrolment_id
             OFFSET 0
         ) AS registers
         WHERE octet_length(registers.marks) > 0
         GROUP BY registers.enrolment_id",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(pupil_ids)
    .bind::<Array<SqlUuid>, _>(enrolment_ids)
    .load(conn)
    .await?;
    Ok(found
        .into_iter()
        .map(|found| (found.enrolment_id, found.last_mark_on))
        .collect())
}
