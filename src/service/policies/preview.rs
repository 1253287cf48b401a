//! What a policy would do, on live data.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::super::error::Resource;
use super::super::judging::{Judging, Moment, timeline_of};
use super::super::transaction::finish;
use super::super::{Page, PageOf, Service, ServiceError};
use crate::domain::identifiers::{SchoolId, SchoolKey, TrustId};
use crate::domain::policy::{Activation, PolicyTimeline, VersionedPolicy};
use crate::domain::record::PupilRecord;
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::service::schools::optional_school;
use crate::store::stages::{self, Cause};
use crate::store::{TrustTransaction, policies, records};

/// How many pupils' records are in memory at once.
const RECORDS_AT_ONCE: usize = 2_500;

/// Which policy, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The version; nothing to let a school follow the trust's policy again.
    pub version: Option<i32>,
    /// The school; nothing for every school that has no policy of its own.
    pub school: Option<SchoolKey>,
}

/// How many pupils are at one stage and would be at another.
pub type Movements = BTreeMap<(Stage, Stage), i64>;

/// A pupil that would move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PupilMovement {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage now.
    pub from: Stage,
    /// The stage under the policy.
    pub to: Stage,
    /// The counts that the policy would judge.
    pub tally: Tally,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The day.
    pub as_of: chrono::NaiveDate,
    /// By stage now and stage then.
    pub movements: Movements,
    /// The same by the school by whose policy a pupil is judged.
    pub by_school: BTreeMap<Option<Uuid>, Movements>,
    /// The pupils that would move.
    pub moved: PageOf<PupilMovement, Uuid>,
}

/// A proposal that was looked up.
pub(super) struct Proposed {
    /// The policies in force now.
    pub now: PolicyTimeline,
    /// What would be in force.
    pub then: PolicyTimeline,
    /// The school.
    pub school: Option<SchoolId>,
}

/// Looks a proposal up.
pub(super) async fn look_up(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    proposal: &Proposal,
    moment: Moment,
) -> Result<Proposed, ServiceError> {
    let now = timeline_of(transaction, trust).await?;
    let school = optional_school(transaction, trust, proposal.school.as_ref()).await?;
    let policy = match proposal.version {
        Some(version) => {
            let policy = policies::version(transaction, trust, version).await?;
            let policy = policy.ok_or(ServiceError::NotFound(Resource::Policy))?;
            Some(Arc::new(VersionedPolicy { version, policy }))
        }
        None if school.is_none() => {
            let message = "name a version: only a school can be let follow the trust's policy again, by version 0";
            return Err(ServiceError::invalid("version", "MISSING_VERSION", message));
        }
        None => None,
    };
    let activation = Activation {
        at: moment.now,
        school,
        policy,
    };
    Ok(Proposed {
        then: now.with(activation),
        now,
        school,
    })
}

impl Service {
    /// Says what would happen if a policy came into force today, and writes nothing.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such version or school.
    pub async fn preview_policy(
        &self,
        trust: TrustId,
        proposal: &Proposal,
        page: Page<Uuid>,
    ) -> Result<Preview, ServiceError> {
        self.roll_over(trust).await?;
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        let found = movements(&mut transaction, trust, proposal, moment).await;
        let found = finish(transaction, found).await?;
        let mut preview = Preview {
            as_of: moment.today,
            movements: Movements::new(),
            by_school: BTreeMap::new(),
            moved: PageOf {
                rows: Vec::new(),
                next: None,
            },
        };
        let mut moved = Vec::new();
        for (school, movement) in found {
            let stages = (movement.from, movement.to);
            *preview.movements.entry(stages).or_default() += 1;
            *preview.by_school.entry(school).or_default().entry(stages).or_default() += 1;
            let after = page.after.is_none_or(|after| movement.pupil_id > after);
            if movement.from != movement.to && after {
                moved.push(movement);
            }
        }
        moved.sort_unstable_by_key(|movement| movement.pupil_id);
        moved.truncate(page.size + 1);
        preview.moved = PageOf::from_rows(moved, page.size, |movement| movement.pupil_id);
        Ok(preview)
    }
}

/// Every pupil that the proposal would judge, in no order, with the school by whose policy.
async fn movements(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    proposal: &Proposal,
    moment: Moment,
) -> Result<Vec<(Option<Uuid>, PupilMovement)>, ServiceError> {
    let proposed = look_up(transaction, trust, proposal, moment).await?;
    let mut counted = stages::counted(transaction, trust, moment.year, moment.today, true).await?;
    counted.retain(|found| proposed.school.is_none_or(|school| found.home_school == Some(school.0)));
    let mut found = Vec::with_capacity(counted.len());
    let mut by_record = Vec::new();
    for counts in &counted {
        let policy = proposed.then.at(moment.today, counts.home_school.map(SchoolId));
        if counts.has_holds || !policy.policy.decides_by_counts() {
            by_record.push(counts);
            continue;
        }
        let movement = PupilMovement {
            pupil_id: counts.pupil_id,
            from: counts.stage,
            to: policy.policy.judge(counts.tally).stage,
            tally: counts.tally,
        };
        found.push((counts.home_school, movement));
    }
    let mut judging = Judging::new(proposed.then, moment, Cause::Policy);
    for counts in by_record.chunks(RECORDS_AT_ONCE) {
        let pupils: Vec<Uuid> = counts.iter().map(|counts| counts.pupil_id).collect();
        let loaded = records::records_of(transaction, trust, &pupils, &[moment.year]).await?;
        let loaded: HashMap<Uuid, PupilRecord<'static>> = loaded.into_iter().collect();
        let held = counts
            .iter()
            .filter(|counts| counts.has_holds)
            .map(|counts| counts.pupil_id);
        let held: Vec<Uuid> = held.collect();
        judging.load_rules(transaction, trust, &held, loaded.values()).await?;
        let none = PupilRecord::default();
        for counts in counts {
            let record = loaded.get(&counts.pupil_id).unwrap_or(&none);
            let assessment = judging.assess(counts.pupil_id, record);
            let movement = PupilMovement {
                pupil_id: counts.pupil_id,
                from: counts.stage,
                to: assessment.stage,
                tally: assessment.tally,
            };
            found.push((counts.home_school, movement));
        }
    }
    Ok(found)
}
