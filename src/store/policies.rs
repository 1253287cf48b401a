//! Policies and catalogues: versioned rules, read by every judgement.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{catalogues, policies, policy_activations};
use crate::domain::identifiers::{SchoolId, TrustId};
use crate::domain::person::Person;
use crate::domain::policy::{Activation, PolicyTimeline, VersionedPolicy};
use crate::domain::stage::Policy;

/// The trust's policies through time; nothing where there is no such trust.
pub async fn timeline(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Option<PolicyTimeline>, StoreError> {
    type Row = (Option<Uuid>, Option<i32>, DateTime<Utc>, Option<serde_json::Value>);
    let of_version = policies::trust_id
        .nullable()
        .eq(policy_activations::trust_id.nullable())
        .and(policies::version.nullable().eq(policy_activations::version));
    let rows: Vec<Row> = policy_activations::table
        .left_join(policies::table.on(of_version))
        .filter(policy_activations::trust_id.eq(trust.0))
        .order(policy_activations::ordinal)
        .select((
            policy_activations::school_id,
            policy_activations::version,
            policy_activations::activated_at,
            policies::settings.nullable(),
        ))
        .load(conn)
        .await?;
    let activations = rows.into_iter().map(|(school, version, at, settings)| {
        let policy = match (version, settings) {
            (Some(version), Some(settings)) => Some(Arc::new(VersionedPolicy {
                version,
                policy: read(settings)?,
            })),
            _ => None,
        };
        Ok(Activation {
            at,
            school: school.map(SchoolId),
            policy,
        })
    });
    Ok(PolicyTimeline::new(
        activations.collect::<Result<Vec<_>, StoreError>>()?,
    ))
}

/// How often a policy came into force in the trust: tells one timeline from a later one.
pub async fn activations(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<i32, StoreError> {
    let latest: Option<i32> = policy_activations::table
        .filter(policy_activations::trust_id.eq(trust.0))
        .select(diesel::dsl::max(policy_activations::ordinal))
        .first(conn)
        .await?;
    Ok(latest.unwrap_or(0))
}

/// Records that a policy came into force. The pupils that it judges must be locked.
pub async fn activate(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<SchoolId>,
    version: Option<i32>,
    at: DateTime<Utc>,
    by: &Person,
) -> Result<(), StoreError> {
    let ordinal = activations(conn, trust).await? + 1;
    diesel::insert_into(policy_activations::table)
        .values((
            policy_activations::trust_id.eq(trust.0),
            policy_activations::ordinal.eq(ordinal),
            policy_activations::school_id.eq(school.map(|school| school.0)),
            policy_activations::version.eq(version),
            policy_activations::activated_at.eq(at),
            policy_activations::activated_by_name.eq(&by.name),
            policy_activations::activated_by_position.eq(&by.position),
        ))
        .execute(conn)
        .await?;
    if let Some(version) = version {
        let of_version = policies::table
            .filter(policies::trust_id.eq(trust.0))
            .filter(policies::version.eq(version))
            .filter(policies::activated_at.is_null());
        diesel::update(of_version)
            .set(policies::activated_at.eq(at))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// The version of the trust's active catalogue.
pub async fn active_catalogue(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<i32, StoreError> {
    Ok(catalogues::table
        .filter(catalogues::trust_id.eq(trust.0))
        .filter(catalogues::activated_at.is_not_null())
        .order(catalogues::version.desc())
        .select(catalogues::version)
        .first(conn)
        .await?)
}

/// One version of the trust's policy; nothing where it has none of that number.
pub async fn version(conn: &mut AsyncPgConnection, trust: TrustId, version: i32) -> Result<Option<Policy>, StoreError> {
    let settings: Option<serde_json::Value> = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::version.eq(version))
        .select(policies::settings)
        .first(conn)
        .await
        .optional()?;
    settings.map(read).transpose()
}

fn read(settings: serde_json::Value) -> Result<Policy, StoreError> {
    serde_json::from_value(settings).map_err(|_| StoreError::Corrupt("policies.settings"))
}
