//! Trusts: the tenants.

use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::Resource;
use super::transaction::finish;
use super::{Page, PageOf, Service, ServiceError};
use crate::domain::catalogue::Catalogue;
use crate::domain::identifiers::TrustId;
use crate::domain::stage::Policy;
use crate::store::StoreError;
use crate::store::trusts::{self, TrustRow};

/// Refuses a trust that is not there. Every list begins with it, since an empty list would say something else.
pub async fn require_trust(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<(), ServiceError> {
    match trusts::find(conn, trust).await? {
        Some(_) => Ok(()),
        None => Err(ServiceError::NotFound(Resource::Trust)),
    }
}

/// The error for something that was not found: the trust, where that is not there either.
pub async fn not_found(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    resource: Resource,
) -> Result<ServiceError, ServiceError> {
    require_trust(conn, trust).await?;
    Ok(ServiceError::NotFound(resource))
}

impl Service {
    /// Creates a trust with the default policy and the default catalogue. With `trust_id` a retry is safe: a trust with
    /// this identifier and this name is returned as it is.
    ///
    /// # Errors
    /// [`ServiceError::AlreadyExists`] where a trust with this identifier has another name.
    pub async fn create_trust(&self, trust_id: Option<TrustId>, name: String) -> Result<TrustRow, ServiceError> {
        let trust = trust_id.unwrap_or_else(|| TrustId(Uuid::now_v7()));
        let mut transaction = self.store.begin(trust).await?;
        let created = self.create_trust_with_rules(&mut transaction, trust, &name).await;
        finish(transaction, created).await
    }

    async fn create_trust_with_rules(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        name: &str,
    ) -> Result<TrustRow, ServiceError> {
        let now = self.clock.now();
        let Some(created) = trusts::insert(conn, trust, name, now).await? else {
            return match trusts::find(conn, trust).await? {
                Some(there) if there.name == name => Ok(there),
                _ => Err(ServiceError::AlreadyExists {
                    resource: Resource::Trust,
                    field: "trust_id".to_owned(),
                    message: "there is a trust with this identifier and another name: give another identifier, or none"
                        .to_owned(),
                }),
            };
        };
        let catalogue = Catalogue::default_table().map_err(|_| StoreError::Corrupt("the default catalogue"))?;
        trusts::insert_first_rules(conn, trust, &Policy::default(), &catalogue, now).await?;
        Ok(created)
    }

    /// The trust.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is none.
    pub async fn get_trust(&self, trust: TrustId) -> Result<TrustRow, ServiceError> {
        let mut connection = self.store.connection().await?;
        let found = trusts::find(&mut connection, trust).await?;
        found.ok_or(ServiceError::NotFound(Resource::Trust))
    }

    /// Trusts, in the order of their identifiers.
    pub async fn list_trusts(&self, page: Page<Uuid>) -> Result<PageOf<TrustRow, Uuid>, ServiceError> {
        let mut connection = self.store.connection().await?;
        let (after, count) = page.keyset();
        let rows = trusts::list(&mut connection, after, count).await?;
        Ok(PageOf::from_rows(rows, page.size, |row| row.trust_id))
    }

    /// Renames a trust whose version is the expected one, where one is expected.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is none, [`ServiceError::StaleEtag`] where its version is another.
    pub async fn update_trust(
        &self,
        trust: TrustId,
        name: String,
        expected_version: Option<i64>,
    ) -> Result<TrustRow, ServiceError> {
        let mut connection = self.store.connection().await?;
        let now = self.clock.now();
        if let Some(renamed) = trusts::rename(&mut connection, trust, &name, expected_version, now).await? {
            return Ok(renamed);
        }
        require_trust(&mut connection, trust).await?;
        Err(ServiceError::StaleEtag(Resource::Trust))
    }
}
