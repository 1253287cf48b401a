//! Policies and catalogues: versioned rules, read by every judgement.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use super::schema::{catalogues, policies};
use crate::domain::identifiers::TrustId;
use crate::domain::stage::Policy;

/// A policy with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedPolicy {
    /// The version, from 1.
    pub version: i32,
    /// The rules.
    pub policy: Policy,
}

/// The trust's active policy; nothing where there is no such trust.
pub async fn active(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Option<VersionedPolicy>, StoreError> {
    let row: Option<(i32, serde_json::Value)> = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::activated_at.is_not_null())
        .order(policies::version.desc())
        .select((policies::version, policies::settings))
        .first(conn)
        .await
        .optional()?;
    row.map(|(version, settings)| {
        let policy = serde_json::from_value(settings).map_err(|_| StoreError::Corrupt("policies.settings"))?;
        Ok(VersionedPolicy { version, policy })
    })
    .transpose()
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

/// One version of the trust's policy.
pub async fn version(conn: &mut AsyncPgConnection, trust: TrustId, version: i32) -> Result<Policy, StoreError> {
    let settings: serde_json::Value = policies::table
        .filter(policies::trust_id.eq(trust.0))
        .filter(policies::version.eq(version))
        .select(policies::settings)
        .first(conn)
        .await?;
    serde_json::from_value(settings).map_err(|_| StoreError::Corrupt("policies.settings"))
}
