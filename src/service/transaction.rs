//! What the use cases share: the end of a transaction (what went well is committed, what did not is taken back), and the
//! keys of a page.

use std::future::Future;

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::{Page, ServiceError, one_more};
use crate::domain::identifiers::{PupilId, PupilKey, TrustId};
use crate::store::merges::identity_version;
use crate::store::pupils::{pupil_exists, resolve_pupils};
use crate::store::stages::{self, StageRow};
use crate::store::{StoreError, TrustTransaction};

/// How often a transaction that lost a race is tried.
const ATTEMPTS_MAX: usize = 3;

/// Tries a transaction again from its beginning where another one was in the way.
pub async fn retry<T, F>(attempt: impl Fn() -> F) -> Result<T, ServiceError>
where
    F: Future<Output = Result<T, ServiceError>>,
{
    let mut attempts = 1;
    loop {
        match attempt().await {
            Err(ServiceError::Store(error)) if error.is_transient() && attempts < ATTEMPTS_MAX => attempts += 1,
            answer => return answer,
        }
    }
}

/// The pupil that a key names.
///
/// # Errors
/// [`ServiceError::NotFound`] where the trust has no such pupil.
pub async fn existing_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    key: &PupilKey,
) -> Result<PupilId, ServiceError> {
    let resolved = resolve_pupils(conn, trust, std::slice::from_ref(key)).await?;
    let pupil = resolved.into_iter().next().flatten();
    match (pupil, key) {
        // The service's own identifiers are not looked up by resolving them.
        (Some(pupil), PupilKey::Id(_)) if !pupil_exists(conn, trust, pupil).await? => None,
        (pupil, _) => pupil,
    }
    .ok_or(ServiceError::NotFound(Resource::Pupil))
}

/// The pupil that a key names, locked, with the stage.
///
/// # Errors
/// [`ServiceError::NotFound`] where the trust has no such pupil; a conflict, after which the transaction begins anew, where the
/// pupil became part of another while this waited.
pub async fn locked_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    key: &PupilKey,
) -> Result<(PupilId, StageRow), ServiceError> {
    let identities = identity_version(conn, trust).await?;
    let pupil = existing_pupil(conn, trust, key).await?;
    let row = stages::lock(conn, trust, &[pupil.0]).await?.into_iter().next();
    if identity_version(conn, trust).await? != identities {
        return Err(StoreError::Conflict.into());
    }
    Ok((pupil, row.ok_or(ServiceError::NotFound(Resource::Pupil))?))
}

/// Commits where the work went well. Where it did not, takes everything back and gives the connection back whole: one
/// that is dropped within a transaction is closed, and a caller who asks for what is not there must not cost one.
pub async fn finish<T>(transaction: TrustTransaction, result: Result<T, ServiceError>) -> Result<T, ServiceError> {
    match result {
        Ok(value) => {
            transaction.commit().await?;
            Ok(value)
        }
        Err(error) => {
            if let Err(failure) = transaction.rollback().await {
                tracing::debug!(error = %failure, "a transaction could not be rolled back: its connection is closed");
            }
            Err(error)
        }
    }
}

impl Page<Uuid> {
    /// The key after which the page begins, and how many rows to read for [`super::PageOf::from_rows`]: one more than it
    /// holds. Before the first page is the nil UUID, which names nothing.
    pub fn keyset(&self) -> (Uuid, i64) {
        (self.after.unwrap_or(Uuid::nil()), one_more(self.size))
    }
}
