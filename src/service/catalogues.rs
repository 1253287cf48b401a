//! Catalogues: a trust adds, rewords and retires provisions and says who is responsible; the default is the sixty.
//!
//! A version is made from another one by changes, and never changed itself. Bringing it into force moves no pupil: episodes
//! under way keep the version with which they began, and those that begin later take the new one.

use uuid::Uuid;

use super::error::{FieldViolation, Resource};
use super::recorded::request_id_reused;
use super::transaction::{finish, retry};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::catalogue::RequiredProvision;
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::store::TrustTransaction;
use crate::store::catalogues::{self, CatalogueRow, NewCatalogue};

/// The most provisions that a catalogue may hold.
const PROVISIONS_MAX: usize = 300;

/// A change of a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisionChange {
    /// Puts a provision in the place of the one with its identifier, or behind the others of its stage.
    Put(RequiredProvision),
    /// Takes a provision out.
    Retire(String),
}

/// A version to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueDraft {
    /// What people call it.
    pub title: String,
    /// The version that is changed; nothing for the one in force.
    pub based_on: Option<i32>,
    /// The changes, in order.
    pub changes: Vec<ProvisionChange>,
    /// The request's own name, by which a retry is known.
    pub request: Option<Uuid>,
}

/// A version with what it requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCatalogue {
    /// The version.
    pub row: CatalogueRow,
    /// Whether it is in force.
    pub in_force: bool,
    /// What it requires, in order; empty in lists.
    pub provisions: Vec<RequiredProvision>,
}

impl Service {
    /// Makes a version of the catalogue from another by changes. It is in force nowhere yet.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such version; `Invalid` where a change names a provision that is not there, or
    /// nothing would be left.
    pub async fn create_catalogue(
        &self,
        trust: TrustId,
        draft: &CatalogueDraft,
    ) -> Result<FoundCatalogue, ServiceError> {
        let now = self.clock.now();
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let created = async {
                require_trust(&mut transaction, trust).await?;
                if let Some(request) = draft.request
                    && let Some(earlier) = catalogues::of_request(&mut transaction, trust, request).await?
                {
                    if earlier.title != draft.title || draft.based_on.is_some_and(|base| earlier.based_on != Some(base))
                    {
                        return Err(request_id_reused("request_id"));
                    }
                    return found(&mut transaction, trust, earlier.version).await;
                }
                let base = match draft.based_on {
                    Some(version) => version,
                    None => in_force(&mut transaction, trust).await?,
                };
                let there = found(&mut transaction, trust, base).await?;
                let provisions = changed(there.provisions, &draft.changes)?;
                let latest = catalogues::list(&mut transaction, trust, None, 1).await?;
                let version = latest.first().map_or(0, |latest| latest.version) + 1;
                let new = NewCatalogue {
                    version,
                    title: &draft.title,
                    based_on: Some(base),
                    request_id: draft.request,
                    provisions: &provisions,
                };
                catalogues::insert(&mut transaction, trust, new, now).await?;
                found(&mut transaction, trust, version).await
            }
            .await;
            finish(transaction, created).await
        })
        .await
    }

    /// One version; the one in force where none is named.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such version.
    pub async fn get_catalogue(&self, trust: TrustId, version: Option<i32>) -> Result<FoundCatalogue, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let version = match version {
                Some(version) => version,
                None => in_force(&mut transaction, trust).await?,
            };
            found(&mut transaction, trust, version).await
        }
        .await;
        finish(transaction, read).await
    }

    /// The versions, latest first, without what they require.
    pub async fn list_catalogues(
        &self,
        trust: TrustId,
        page: Page<i32>,
    ) -> Result<PageOf<FoundCatalogue, i32>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            let in_force = in_force(&mut transaction, trust).await?;
            let rows = catalogues::list(&mut transaction, trust, page.after, one_more(page.size)).await?;
            let rows = rows.into_iter().map(|row| FoundCatalogue {
                in_force: row.version == in_force,
                row,
                provisions: Vec::new(),
            });
            Ok(rows.collect())
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |found| found.row.version))
    }

    /// Brings a version into force: for episodes that begin from now on.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such version.
    pub async fn activate_catalogue(
        &self,
        trust: TrustId,
        version: i32,
        by: &Person,
    ) -> Result<FoundCatalogue, ServiceError> {
        let now = self.clock.now();
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let activated = async {
                found(&mut transaction, trust, version).await?;
                if catalogues::in_force(&mut transaction, trust).await? != Some(version) {
                    catalogues::activate(&mut transaction, trust, version, by, now).await?;
                }
                found(&mut transaction, trust, version).await
            }
            .await;
            finish(transaction, activated).await
        })
        .await
    }
}

async fn in_force(transaction: &mut TrustTransaction, trust: TrustId) -> Result<i32, ServiceError> {
    let version = catalogues::in_force(transaction, trust).await?;
    version.ok_or(ServiceError::NotFound(Resource::Catalogue))
}

async fn found(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    version: i32,
) -> Result<FoundCatalogue, ServiceError> {
    let row = catalogues::find(transaction, trust, version).await?;
    let row = row.ok_or(ServiceError::NotFound(Resource::Catalogue))?;
    Ok(FoundCatalogue {
        in_force: catalogues::in_force(transaction, trust).await? == Some(version),
        provisions: catalogues::provisions_of(transaction, trust, version).await?,
        row,
    })
}

/// The provisions after the changes: in the order of the stages, and within a stage as they were, new ones last.
fn changed(
    mut provisions: Vec<RequiredProvision>,
    changes: &[ProvisionChange],
) -> Result<Vec<RequiredProvision>, ServiceError> {
    for (place, change) in changes.iter().enumerate() {
        match change {
            ProvisionChange::Put(provision) => match provisions.iter_mut().find(|there| there.id == provision.id) {
                Some(there) => *there = provision.clone(),
                None => provisions.push(provision.clone()),
            },
            ProvisionChange::Retire(id) => {
                let before = provisions.len();
                provisions.retain(|there| there.id != *id);
                if provisions.len() == before {
                    let message = "the catalogue that is changed has no such provision";
                    let field = format!("changes[{place}].retire");
                    return Err(FieldViolation::new(field, "UNKNOWN_PROVISION", message).into());
                }
            }
        }
    }
    if provisions.is_empty() || provisions.len() > PROVISIONS_MAX {
        let message = format!(
            "{} provisions would be left: a catalogue has 1 to {PROVISIONS_MAX}",
            provisions.len()
        );
        return Err(ServiceError::invalid("changes", "WRONG_COUNT", message));
    }
    provisions.sort_by_key(|provision| provision.stage);
    Ok(provisions)
}
