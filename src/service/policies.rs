//! Policies, remembered: a version is written once and never changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Service, ServiceError};
use crate::domain::identifiers::TrustId;
use crate::domain::stage::Policy;
use crate::store::policies;

/// How many versions are remembered before all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

type Remembered = HashMap<(TrustId, i32), Arc<Policy>>;

/// Versions that were read before.
#[derive(Clone, Default)]
pub(super) struct PolicyCache(Arc<RwLock<Remembered>>);

impl Service {
    /// A version of a trust's policy.
    pub(super) async fn policy(&self, trust: TrustId, version: i32) -> Result<Arc<Policy>, ServiceError> {
        let key = (trust, version);
        {
            let known = self.policies.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(policy) = known.get(&key) {
                return Ok(policy.clone());
            }
        }
        let mut transaction = self.store.begin(trust).await?;
        let policy = Arc::new(policies::version(&mut transaction, trust, version).await?);
        transaction.commit().await?;
        let mut known = self.policies.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(key, policy.clone());
        Ok(policy)
    }
}
