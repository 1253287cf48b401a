//! Policies: drafts, what they would do, bringing them into force; and timelines, remembered: what came into force is never
//! changed, so a timeline is known by how long it is.

pub mod activation;
pub mod drafts;
pub mod preview;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::error::Resource;
use super::transaction::finish;
use super::{Service, ServiceError};
use crate::domain::identifiers::TrustId;
use crate::domain::policy::PolicyTimeline;
use crate::store::policies;

/// How many trusts' timelines are remembered before all are forgotten.
const REMEMBERED_MAX: usize = 10_000;

/// How often a policy had come into force, and the timeline.
type Remembered = HashMap<TrustId, (i32, Arc<PolicyTimeline>)>;

/// Timelines that were read before.
#[derive(Clone, Default)]
pub(super) struct PolicyCache(Arc<RwLock<Remembered>>);

impl Service {
    /// The trust's policies as they were when a policy had come into force `rules` times; where more have since, as they are.
    pub(super) async fn timeline(&self, trust: TrustId, rules: i32) -> Result<Arc<PolicyTimeline>, ServiceError> {
        {
            let known = self.policies.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, timeline)) = known.get(&trust)
                && *of >= rules
            {
                return Ok(timeline.clone());
            }
        }
        Box::pin(self.read_timeline(trust)).await
    }

    async fn read_timeline(&self, trust: TrustId) -> Result<Arc<PolicyTimeline>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            // In this order: a timeline that is longer than its number says is only read again too often.
            let rules = policies::activations(&mut transaction, trust).await?;
            let timeline = policies::timeline(&mut transaction, trust).await?;
            Ok((rules, timeline.ok_or(ServiceError::NotFound(Resource::Trust))?))
        }
        .await;
        let (rules, timeline) = finish(transaction, read).await?;
        let timeline = Arc::new(timeline);
        let mut known = self.policies.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(trust, (rules, timeline.clone()));
        Ok(timeline)
    }
}
