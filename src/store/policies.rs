//! Policies and catalogues: versioned rules, read by every judgement.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{policies, policy_activations, trusts};
use crate::domain::identifiers::{SchoolId, TrustId};
use crate::domain::person::Person;
use crate::domain::policy::{Activation, PolicyTimeline, VersionedPolicy};
use crate::domain::stage::Policy;

/// The trust's policies through time; nothing where there is no such trust.
pub async fn timeline(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Option<PolicyTimeline>, StoreError> {
    Ok(timeline_with_identities(conn, trust).await?.0)
}

/// The same, with how often it changed which pupil an identifier means ([`super::merges::identity_version`]).
pub async fn timeline_with_identities(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
) -> Result<(Option<PolicyTimeline>, i64), StoreError> {
    type Row = (
        Option<Uuid>,
        Option<i32>,
        DateTime<Utc>,
        Option<serde_json::Value>,
        Option<i64>,
    );
    let of_trust = trusts::table.filter(trusts::trust_id.eq(trust.0));
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
            of_trust.select(trusts::identity_version).single_value(),
        ))
        .load(conn)
        .await?;
    let identities = rows.iter().find_map(|row| row.4).unwrap_or(0);
    let activations = rows.into_iter().map(|(school, version, at, settings, _)| {
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
    let timeline = PolicyTimeline::new(activations.collect::<Result<Vec<_>, StoreError>>()?);
    Ok((timeline, identities))
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

/// A version of a policy as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRow {
    /// The version, from 1.
    pub version: i32,
    /// What people call it.
    pub title: String,
    /// The rules.
    pub policy: Policy,
    /// Counts the changes of a draft, from 1.
    pub revision: i64,
    /// When it was drafted.
    pub created_at: DateTime<Utc>,
    /// When it first came into force.
    pub activated_at: Option<DateTime<Utc>>,
}

type PolicyColumns = (
    i32,
    String,
    serde_json::Value,
    i64,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
);

fn row(columns: PolicyColumns) -> Result<PolicyRow, StoreError> {
    let (version, title, settings, revision, created_at, activated_at) = columns;
    Ok(PolicyRow {
        version,
        title,
        policy: read(settings)?,
        revision,
        created_at,
        activated_at,
    })
}

const COLUMNS: (
    policies::version,
    policies::title,
    policies::settings,
    policies::revision,
    policies::created_at,
    policies::activated_at,
) = (
    policies::version,
    policies::title,
    policies::settings,
    policies::revision,
    policies::created_at,
    policies::activated_at,
);

fn written(policy: &Policy) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(policy).map_err(|_| StoreError::Corrupt("policies.settings"))
}

/// One version; nothing where the trust has none of that number.
pub async fn find(conn: &mut AsyncPgConnection, trust: TrustId, version: i32) -> Result<Option<PolicyRow>, StoreError> {
    let found: Option<PolicyColumns> = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::version.eq(version))
        .select(COLUMNS)
        .first(conn)
        .await
        .optional()?;
    found.map(row).transpose()
}

/// Versions before one, latest first.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    before: Option<i32>,
    most: i64,
) -> Result<Vec<PolicyRow>, StoreError> {
    let rows: Vec<PolicyColumns> = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::version.lt(before.unwrap_or(i32::MAX)))
        .order(policies::version.desc())
        .limit(most)
        .select(COLUMNS)
        .load(conn)
        .await?;
    rows.into_iter().map(row).collect()
}

/// Some versions, in order.
pub async fn of_versions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    versions: &[i32],
) -> Result<Vec<PolicyRow>, StoreError> {
    let rows: Vec<PolicyColumns> = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::version.eq_any(versions))
        .order(policies::version)
        .select(COLUMNS)
        .load(conn)
        .await?;
    rows.into_iter().map(row).collect()
}

/// Keeps a draft as the next version, and returns it.
///
/// # Errors
/// Where [`StoreError::is_transient`], somebody else drafted the same version: begin anew.
pub async fn insert_draft(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    title: &str,
    policy: &Policy,
    now: DateTime<Utc>,
) -> Result<PolicyRow, StoreError> {
    let latest: Option<i32> = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .select(diesel::dsl::max(policies::version))
        .first(conn)
        .await?;
    let inserted: PolicyColumns = diesel::insert_into(policies::table)
        .values((
            policies::trust_id.eq(trust.0),
            policies::version.eq(latest.unwrap_or(0) + 1),
            policies::title.eq(title),
            policies::settings.eq(written(policy)?),
            policies::created_at.eq(now),
        ))
        .returning(COLUMNS)
        .get_result(conn)
        .await?;
    row(inserted)
}

/// Changes a draft of this revision. Nothing where there is none, where it was in force, or where its revision is another.
pub async fn update_draft(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    draft: &PolicyRow,
    now: DateTime<Utc>,
) -> Result<Option<PolicyRow>, StoreError> {
    let of_version = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::version.eq(draft.version))
        .filter(policies::revision.eq(draft.revision))
        .filter(policies::activated_at.is_null());
    let updated: Option<PolicyColumns> = diesel::update(of_version)
        .set((
            policies::title.eq(&draft.title),
            policies::settings.eq(written(&draft.policy)?),
            policies::revision.eq(policies::revision + 1),
            policies::updated_at.eq(now),
        ))
        .returning(COLUMNS)
        .get_result(conn)
        .await
        .optional()?;
    updated.map(row).transpose()
}

/// That a policy came into force, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct ActivationRow {
    /// The school; nothing for every school that has no policy of its own.
    pub school_id: Option<Uuid>,
    /// The version; nothing where the school follows the trust's again.
    pub version: Option<i32>,
    /// When.
    pub activated_at: DateTime<Utc>,
    /// Who, by name.
    pub activated_by_name: String,
    /// Who, by position.
    pub activated_by_position: String,
}

/// Everything that came into force, in order.
pub async fn activation_rows(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Vec<ActivationRow>, StoreError> {
    Ok(policy_activations::table
        .filter(policy_activations::trust_id.eq(trust.0))
        .order(policy_activations::ordinal)
        .select((
            policy_activations::school_id,
            policy_activations::version,
            policy_activations::activated_at,
            policy_activations::activated_by_name,
            policy_activations::activated_by_position,
        ))
        .load(conn)
        .await?)
}
