//! What the use cases share: the end of a transaction (what went well is committed, what did not is taken back), and the
//! keys of a page.

use uuid::Uuid;

use super::{Page, ServiceError};
use crate::store::TrustTransaction;

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
        let count = i64::try_from(self.size).unwrap_or(i64::MAX).saturating_add(1);
        (self.after.unwrap_or(Uuid::nil()), count)
    }
}
