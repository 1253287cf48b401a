//! Trusts, and what every trust begins with.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::catalogues::{self, NewCatalogue};
use super::schema::{feeds, policies, trusts};
use crate::domain::catalogue::Catalogue;
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::domain::stage::Policy;

/// A trust as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = trusts, check_for_backend(diesel::pg::Pg))]
pub struct TrustRow {
    /// The trust.
    pub trust_id: Uuid,
    /// Its name.
    pub name: String,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The trust; nothing where there is none.
pub async fn find(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Option<TrustRow>, StoreError> {
    let found = trusts::table
        .filter(trusts::trust_id.eq(trust.0))
        .select(TrustRow::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(found)
}

/// At most `count` trusts with identifiers after `after`, in the order of their identifiers.
pub async fn list(conn: &mut AsyncPgConnection, after: Uuid, count: i64) -> Result<Vec<TrustRow>, StoreError> {
    Ok(trusts::table
        .filter(trusts::trust_id.gt(after))
        .order(trusts::trust_id)
        .limit(count)
        .select(TrustRow::as_select())
        .load(conn)
        .await?)
}

/// Inserts a trust; nothing where there is one with the identifier already.
pub async fn insert(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<Option<TrustRow>, StoreError> {
    let inserted = diesel::insert_into(trusts::table)
        .values((
            trusts::trust_id.eq(trust.0),
            trusts::name.eq(name),
            trusts::created_at.eq(now),
            trusts::updated_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .returning(TrustRow::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    Ok(inserted)
}

/// Renames a trust. Nothing where there is none, or where its version is not the expected one.
pub async fn rename(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    name: &str,
    expected_version: Option<i64>,
    now: DateTime<Utc>,
) -> Result<Option<TrustRow>, StoreError> {
    let changes = (
        trusts::name.eq(name),
        trusts::version.eq(trusts::version + 1),
        trusts::updated_at.eq(now),
    );
    let of_trust = trusts::table.filter(trusts::trust_id.eq(trust.0));
    let renamed = match expected_version {
        Some(version) => {
            diesel::update(of_trust.filter(trusts::version.eq(version)))
                .set(changes)
                .returning(TrustRow::as_returning())
                .get_result(conn)
                .await
        }
        None => {
            diesel::update(of_trust)
                .set(changes)
                .returning(TrustRow::as_returning())
                .get_result(conn)
                .await
        }
    };
    Ok(renamed.optional()?)
}

/// Gives a new trust the beginning of its change feed, and version 1 of its policy and of its catalogue, both active.
pub async fn insert_first_rules(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    policy: &Policy,
    catalogue: &Catalogue,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::insert_into(feeds::table)
        .values((feeds::trust_id.eq(trust.0), feeds::position.eq(0)))
        .execute(conn)
        .await?;
    let settings = serde_json::to_value(policy).map_err(|_| StoreError::Corrupt("policies.settings"))?;
    diesel::insert_into(policies::table)
        .values((
            policies::trust_id.eq(trust.0),
            policies::version.eq(1),
            policies::settings.eq(settings),
            policies::created_at.eq(now),
        ))
        .execute(conn)
        .await?;
    let first = NewCatalogue {
        version: 1,
        title: "",
        based_on: None,
        request_id: None,
        provisions: &catalogue.required(),
    };
    catalogues::insert(conn, trust, first, now).await?;
    let by = Person {
        name: "graduated-response".to_owned(),
        position: "the service".to_owned(),
    };
    catalogues::activate(conn, trust, 1, &by, now).await?;
    super::policies::activate(conn, trust, None, Some(1), now, &by).await
}

/// Every trust.
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<TrustId>, StoreError> {
    let ids: Vec<Uuid> = trusts::table
        .order(trusts::trust_id)
        .select(trusts::trust_id)
        .load(conn)
        .await?;
    Ok(ids.into_iter().map(TrustId).collect())
}
