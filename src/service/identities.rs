//! Which pupils are part of others. It changes seldom, so it is remembered by the version of the trust's identities, which the
//! statements that are run anyway bring along.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::transaction::finish;
use super::{Service, ServiceError};
use crate::domain::identifiers::{PupilId, TrustId};
use crate::store::{StoreError, merges};

/// How many trusts are remembered at once.
const REMEMBERED_MAX: usize = 1_000;

/// The merged pupils of a trust at a version of its identities.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// How often it had changed which pupil an identifier means.
    pub version: i64,
    merged: HashMap<Uuid, Uuid>,
}

impl Identities {
    /// The pupil of whom a pupil is part; the same one where it is part of none.
    pub(super) fn now(&self, pupil: PupilId) -> PupilId {
        PupilId(self.merged.get(&pupil.0).copied().unwrap_or(pupil.0))
    }
}

/// Identities that were read before.
#[derive(Clone, Default)]
pub(super) struct IdentityCache(Arc<RwLock<HashMap<TrustId, Arc<Identities>>>>);

impl Service {
    /// The trust's identities as they were when `version` was read, or later. Reads them where they changed since they were
    /// read last, and nothing where they never did.
    pub(super) async fn identities(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        version: i64,
    ) -> Result<Arc<Identities>, StoreError> {
        if let Some(known) = self.known_identities(trust, version) {
            return Ok(known);
        }
        // Of a later version, perhaps, which is only read again too often.
        let merged = merges::merged(conn, trust).await?.into_iter().collect();
        let read = Arc::new(Identities { version, merged });
        let mut known = self.identities.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(trust, read.clone());
        Ok(read)
    }

    /// The pupil of whom a pupil is part at a version of the trust's identities, or later.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn identity_now(
        &self,
        trust: TrustId,
        pupil: PupilId,
        version: i64,
    ) -> Result<PupilId, ServiceError> {
        if let Some(known) = self.known_identities(trust, version) {
            return Ok(known.now(pupil));
        }
        let read = Box::pin(async {
            let mut transaction = self.store.begin(trust).await?;
            let read = self.identities(&mut transaction, trust, version).await;
            finish(transaction, read.map_err(ServiceError::from)).await
        });
        Ok(read.await?.now(pupil))
    }

    /// The same as [`Service::identities`], where nothing has to be read for it.
    pub(super) fn known_identities(&self, trust: TrustId, version: i64) -> Option<Arc<Identities>> {
        if version == 0 {
            return Some(Arc::default());
        }
        let known = self.identities.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&trust).filter(|known| known.version == version).cloned()
    }
}
