//! Drafts of policies, and what was and is in force.

use super::super::error::Resource;
use super::super::judging::timeline_of;
use super::super::schools::require_school;
use super::super::transaction::{finish, retry};
use super::super::trusts::require_trust;
use super::super::{Page, PageOf, Service, ServiceError, one_more};
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::stage::Policy;
use crate::store::policies::{self, ActivationRow, PolicyRow};

/// A version of a policy, with whether it is in force anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundPolicy {
    /// The version.
    pub row: PolicyRow,
    /// Whether it is in force for the trust or for a school.
    pub in_force: bool,
}

/// Which version is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyName {
    /// The one of this number.
    Version(i32),
    /// The one in force for a school, or for those that have none of their own.
    InForce(Option<SchoolKey>),
}

/// What a policy is called and what it says, to be kept as a draft.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// What people call it.
    pub title: String,
    /// The rules.
    pub policy: Policy,
}

impl Service {
    /// Keeps a draft as the trust's next version.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust.
    pub async fn create_policy(&self, trust: TrustId, draft: &Draft) -> Result<FoundPolicy, ServiceError> {
        let now = self.clock.now();
        let row = retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let created = async {
                require_trust(&mut transaction, trust).await?;
                let inserted = policies::insert_draft(&mut transaction, trust, &draft.title, &draft.policy, now).await;
                Ok(inserted?)
            }
            .await;
            finish(transaction, created).await
        })
        .await?;
        Ok(FoundPolicy { row, in_force: false })
    }

    /// Changes a draft.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Precondition` where it was ever in force, `StaleEtag` where it was changed since.
    pub async fn update_policy(
        &self,
        trust: TrustId,
        version: i32,
        draft: Draft,
        expected_revision: Option<i64>,
    ) -> Result<FoundPolicy, ServiceError> {
        let now = self.clock.now();
        let mut transaction = self.store.begin(trust).await?;
        let updated = async {
            let there = policies::find(&mut transaction, trust, version).await?;
            let there = there.ok_or(ServiceError::NotFound(Resource::Policy))?;
            if there.activated_at.is_some() {
                return Err(ServiceError::Precondition {
                    reason: "POLICY_WAS_IN_FORCE",
                    message: "a policy that was ever in force is never changed: draft another version".to_owned(),
                });
            }
            let changed = PolicyRow {
                title: draft.title,
                policy: draft.policy,
                revision: expected_revision.unwrap_or(there.revision),
                ..there
            };
            let updated = policies::update_draft(&mut transaction, trust, &changed, now).await?;
            updated.ok_or(ServiceError::StaleEtag(Resource::Policy))
        }
        .await;
        let row = finish(transaction, updated).await?;
        Ok(FoundPolicy { row, in_force: false })
    }

    /// One version.
    ///
    /// # Errors
    /// `NotFound` where the trust has none of that number, or no such school.
    pub async fn get_policy(&self, trust: TrustId, name: &PolicyName) -> Result<FoundPolicy, ServiceError> {
        let today = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let found = async {
            let timeline = timeline_of(&mut transaction, trust).await?;
            let version = match name {
                PolicyName::Version(version) => *version,
                PolicyName::InForce(None) => timeline.at(today, None).version,
                PolicyName::InForce(Some(school)) => {
                    let school = require_school(&mut transaction, trust, school).await?;
                    timeline.at(today, Some(school)).version
                }
            };
            let row = policies::find(&mut transaction, trust, version).await?;
            Ok(FoundPolicy {
                row: row.ok_or(ServiceError::NotFound(Resource::Policy))?,
                in_force: timeline.in_force(today).contains(&version),
            })
        }
        .await;
        finish(transaction, found).await
    }

    /// The versions, latest first.
    pub async fn list_policies(
        &self,
        trust: TrustId,
        page: Page<i32>,
    ) -> Result<PageOf<FoundPolicy, i32>, ServiceError> {
        let today = self.clock.today();
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            let in_force = timeline_of(&mut transaction, trust).await?.in_force(today);
            let rows = policies::list(&mut transaction, trust, page.after, one_more(page.size)).await?;
            let rows = rows.into_iter().map(|row| FoundPolicy {
                in_force: in_force.contains(&row.version),
                row,
            });
            Ok(rows.collect())
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |found| found.row.version))
    }

    /// Everything that came into force, in order.
    pub async fn list_policy_activations(&self, trust: TrustId) -> Result<Vec<ActivationRow>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            Ok(policies::activation_rows(&mut transaction, trust).await?)
        }
        .await;
        finish(transaction, listed).await
    }
}
