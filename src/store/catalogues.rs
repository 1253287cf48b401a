//! Catalogues: versions of what each stage requires, and which of them is in force.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::StoreError;
use super::schema::{catalogue_activations, catalogues, provisions};
use crate::domain::catalogue::RequiredProvision;
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::domain::stage::Stage;

/// A version of the catalogue as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = catalogues, check_for_backend(diesel::pg::Pg))]
pub struct CatalogueRow {
    /// The version, from 1.
    pub version: i32,
    /// What people call it.
    pub title: String,
    /// The version from which it was made.
    pub based_on: Option<i32>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it first came into force.
    pub activated_at: Option<DateTime<Utc>>,
    /// The request that made it, where it gave itself a name.
    pub request_id: Option<Uuid>,
}

/// A version to be kept.
#[derive(Clone, Copy, Debug)]
pub struct NewCatalogue<'a> {
    /// The version.
    pub version: i32,
    /// What people call it.
    pub title: &'a str,
    /// The version from which it was made.
    pub based_on: Option<i32>,
    /// The request that made it.
    pub request_id: Option<Uuid>,
    /// What it requires, in order.
    pub provisions: &'a [RequiredProvision],
}

/// The version in force.
pub async fn in_force(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Option<i32>, StoreError> {
    Ok(catalogue_activations::table
        .filter(catalogue_activations::trust_id.eq(trust.0))
        .order(catalogue_activations::ordinal.desc())
        .select(catalogue_activations::version)
        .first(conn)
        .await
        .optional()?)
}

/// One version; nothing where the trust has none of that number.
pub async fn find(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    version: i32,
) -> Result<Option<CatalogueRow>, StoreError> {
    Ok(catalogues::table
        .filter(catalogues::trust_id.eq(trust.0))
        .filter(catalogues::version.eq(version))
        .select(CatalogueRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The version that an earlier request with the same name made.
pub async fn of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<Option<CatalogueRow>, StoreError> {
    Ok(catalogues::table
        .filter(catalogues::trust_id.eq(trust.0))
        .filter(catalogues::request_id.eq(request_id))
        .select(CatalogueRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Versions before one, latest first.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    before: Option<i32>,
    most: i64,
) -> Result<Vec<CatalogueRow>, StoreError> {
    Ok(catalogues::table
        .filter(catalogues::trust_id.eq(trust.0))
        .filter(catalogues::version.lt(before.unwrap_or(i32::MAX)))
        .order(catalogues::version.desc())
        .limit(most)
        .select(CatalogueRow::as_select())
        .load(conn)
        .await?)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = provisions, check_for_backend(diesel::pg::Pg))]
struct StoredProvision {
    provision_id: String,
    stage: i16,
    title: String,
    guidance: String,
    subject: String,
    kind: String,
    condition: String,
    review_days: Option<i16>,
    responsible_roles: Vec<String>,
}

/// What a version requires, in order.
pub async fn provisions_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    version: i32,
) -> Result<Vec<RequiredProvision>, StoreError> {
    let stored: Vec<StoredProvision> = provisions::table
        .filter(provisions::trust_id.eq(trust.0))
        .filter(provisions::catalogue_version.eq(version))
        .order(provisions::ordinal)
        .select(StoredProvision::as_select())
        .load(conn)
        .await?;
    let read = stored.into_iter().map(|stored| {
        let roles = stored.responsible_roles.iter().map(|role| word(role));
        Ok(RequiredProvision {
            stage: Stage::from_number(stored.stage).ok_or(StoreError::Corrupt("provisions.stage"))?,
            subject: word(&stored.subject)?,
            kind: word(&stored.kind)?,
            condition: word(&stored.condition)?,
            responsible: roles.collect::<Result<_, _>>()?,
            id: stored.provision_id,
            title: stored.title,
            guidance: stored.guidance,
            review_days: stored.review_days,
        })
    });
    read.collect()
}

#[derive(Insertable)]
#[diesel(table_name = provisions)]
struct NewProvision<'a> {
    trust_id: Uuid,
    catalogue_version: i32,
    provision_id: &'a str,
    ordinal: i16,
    stage: i16,
    title: &'a str,
    guidance: &'a str,
    subject: String,
    kind: String,
    condition: String,
    review_days: Option<i16>,
    responsible_roles: Vec<String>,
}

/// Keeps a version.
///
/// # Errors
/// Where [`StoreError::is_transient`], somebody else made the same version: begin anew.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    catalogue: NewCatalogue<'_>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::insert_into(catalogues::table)
        .values((
            catalogues::trust_id.eq(trust.0),
            catalogues::version.eq(catalogue.version),
            catalogues::title.eq(catalogue.title),
            catalogues::based_on.eq(catalogue.based_on),
            catalogues::request_id.eq(catalogue.request_id),
            catalogues::created_at.eq(now),
        ))
        .execute(conn)
        .await?;
    let rows = (1..).zip(catalogue.provisions).map(|(ordinal, provision)| {
        let roles = provision.responsible.iter().map(name_of);
        Ok(NewProvision {
            trust_id: trust.0,
            catalogue_version: catalogue.version,
            provision_id: &provision.id,
            ordinal,
            stage: i16::from(provision.stage.number()),
            title: &provision.title,
            guidance: &provision.guidance,
            subject: name_of(&provision.subject)?,
            kind: name_of(&provision.kind)?,
            condition: name_of(&provision.condition)?,
            review_days: provision.review_days,
            responsible_roles: roles.collect::<Result<_, _>>()?,
        })
    });
    diesel::insert_into(provisions::table)
        .values(rows.collect::<Result<Vec<_>, StoreError>>()?)
        .execute(conn)
        .await?;
    Ok(())
}

/// Records that a version came into force.
///
/// # Errors
/// Where [`StoreError::is_transient`], another one did at the same time: begin anew.
pub async fn activate(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    version: i32,
    by: &Person,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let latest: Option<i32> = catalogue_activations::table
        .filter(catalogue_activations::trust_id.eq(trust.0))
        .select(diesel::dsl::max(catalogue_activations::ordinal))
        .first(conn)
        .await?;
    diesel::insert_into(catalogue_activations::table)
        .values((
            catalogue_activations::trust_id.eq(trust.0),
            catalogue_activations::ordinal.eq(latest.unwrap_or(0) + 1),
            catalogue_activations::version.eq(version),
            catalogue_activations::activated_at.eq(now),
            catalogue_activations::activated_by_name.eq(&by.name),
            catalogue_activations::activated_by_position.eq(&by.position),
        ))
        .execute(conn)
        .await?;
    let of_version = catalogues::table
        .filter(catalogues::trust_id.eq(trust.0))
        .filter(catalogues::version.eq(version))
        .filter(catalogues::activated_at.is_null());
    diesel::update(of_version)
        .set(catalogues::activated_at.eq(now))
        .execute(conn)
        .await?;
    Ok(())
}

/// The name under which a word of the catalogue is stored: that of the catalogue's own notation.
pub(super) fn name_of<T: Serialize>(word: &T) -> Result<String, StoreError> {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        _ => Err(StoreError::Corrupt("a word of the catalogue without a name")),
    }
}

/// Reads one of the catalogue's words, stored as `data/provisions.toml` writes it.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(text).map_err(|_| StoreError::Corrupt("a word of the catalogue"))
}
