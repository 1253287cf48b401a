//! An MIS identifier that its system has used again for another child.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::PupilInput;
use super::changes::{Decision, fields_of};
use super::plan::{self, Planner};
use super::upsert::{identifier_taken, stored};
use crate::domain::identifiers::{MisIdentifier, PupilKey, TrustId};
use crate::service::error::Resource;
use crate::service::recorded::{self, Recorded};
use crate::service::transaction::{existing_pupil, finish, retry};
use crate::service::trusts::require_trust;
use crate::service::{Service, ServiceError};
use crate::store::merges::{self, MovedIdentifier};
use crate::store::pupil_changes::{self, ChangeDetails, ChangeKind};
use crate::store::pupils::KIND_MIS;
use crate::store::pupils::writes::{self, PupilWrites};
use crate::store::stages;
use crate::store::{StoreError, TrustTransaction};

/// Whom the identifier names from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewOwner {
    /// A pupil that is there.
    Pupil(PupilKey),
    /// A pupil that is new.
    New(Box<PupilInput>),
}

/// An identifier that goes to another pupil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReassignRequest {
    /// The identifier.
    pub identifier: MisIdentifier,
    /// The last day on which it named the pupil that has it now.
    pub last: NaiveDate,
    /// Whom it names from now on.
    pub to: NewOwner,
    /// Who decides, and why.
    pub decision: Decision,
}

/// What became of it. It is kept as the answer of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReassignOutcome {
    /// The pupil whom it names now.
    pub pupil_id: Uuid,
    /// The pupil whom it named before.
    pub former_pupil_id: Uuid,
}

impl Service {
    /// Gives an MIS identifier to another pupil; that it named the former one, and until when, stays in the history of both.
    ///
    /// # Errors
    /// `NotFound` where the identifier names nobody or the trust has no such pupil, `Invalid` where it names that pupil already,
    /// or the day is still to come, `AlreadyExists` where the new pupil has another identifier that is there already.
    pub async fn reassign_mis_identifier(
        &self,
        trust: TrustId,
        request: &ReassignRequest,
    ) -> Result<Recorded<ReassignOutcome>, ServiceError> {
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let reassigned = self.reassign(&mut transaction, trust, request).await;
            finish(transaction, reassigned).await
        })
        .await
    }

    async fn reassign(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &ReassignRequest,
    ) -> Result<Recorded<ReassignOutcome>, ServiceError> {
        require_trust(transaction, trust).await?;
        let decision = &request.decision;
        if let Some(earlier) = recorded::earlier(transaction, trust, decision.request()).await? {
            return Ok(earlier);
        }
        let writing = self.writing(transaction, trust).await?;
        if request.last > self.clock.today() {
            let message = "the identifier goes to the other pupil at once: give today, or a day before it";
            return Err(ServiceError::invalid("last_date", "IN_FUTURE", message));
        }
        let identities = merges::identity_version(transaction, trust).await?;
        let key = PupilKey::Mis(request.identifier.clone());
        let former = existing_pupil(transaction, trust, &key).await;
        let former = former.map_err(|error| match error {
            ServiceError::NotFound(Resource::Pupil) => ServiceError::NotFound(Resource::Identifier),
            error => error,
        })?;
        let mut writes = PupilWrites::default();
        let pupil = match &request.to {
            NewOwner::Pupil(key) => existing_pupil(transaction, trust, key).await?.0,
            NewOwner::New(input) => {
                let (pupil, planned) = self.plan_new(transaction, trust, input, &request.identifier).await?;
                writes = planned;
                pupil
            }
        };
        if pupil == former.0 {
            let message = "the identifier names this pupil already: name the other one";
            return Err(ServiceError::invalid("to_pupil", "SAME_PUPIL", message));
        }
        stages::lock(transaction, trust, &[former.0, pupil]).await?;
        if merges::identity_version(transaction, trust).await? != identities {
            return Err(StoreError::Conflict.into());
        }
        let there: &[Uuid] = match &request.to {
            NewOwner::Pupil(_) => &[former.0, pupil],
            NewOwner::New(_) => &[former.0],
        };
        writes
            .changed_pupils
            .extend(fields_of(transaction, trust, there).await?);
        writes::write(transaction, trust, writing, &writes).await?;
        let moved = MovedIdentifier {
            kind: KIND_MIS,
            source: request.identifier.source.clone(),
            value: request.identifier.value.clone(),
            was_current: true,
        };
        merges::hand_over_identifiers(transaction, trust, former.0, pupil, &[(&moved, true)]).await?;
        let changes = [(former.0, pupil), (pupil, former.0)].map(|(of, other)| {
            let details = ChangeDetails {
                last_date: Some(request.last),
                other_pupil_id: Some(other),
                source: Some(request.identifier.source.clone()),
                value: Some(request.identifier.value.clone()),
                to_this_pupil: of == pupil,
                ..ChangeDetails::default()
            };
            decision.change(of, ChangeKind::IdentifierReassigned, details, writing.now)
        });
        pupil_changes::append(transaction, trust, &changes).await?;
        merges::count_identity_change(transaction, trust).await?;
        let outcome = ReassignOutcome {
            pupil_id: pupil,
            former_pupil_id: former.0,
        };
        // Identifiers decide about no stage, so that nobody is judged.
        recorded::record(transaction, trust, decision.request(), outcome, writing.now).await
    }

    /// What makes the new pupil, without the identifier that is about to become the pupil's.
    async fn plan_new(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        input: &PupilInput,
        identifier: &MisIdentifier,
    ) -> Result<(Uuid, PupilWrites), ServiceError> {
        let mut input = input.clone();
        if !input.mis_identifiers.contains(identifier) {
            input.mis_identifiers.push(identifier.clone());
        }
        let mut stored = stored(transaction, trust, &[&input]).await?;
        stored.resolved.remove(&PupilKey::Mis(identifier.clone()));
        if let Some(field) = plan::field_already_there(&input, &stored) {
            return Err(match identifier_taken(&field) {
                ServiceError::AlreadyExists { resource, message, .. } => ServiceError::AlreadyExists {
                    resource,
                    field: format!("new_pupil.{field}"),
                    message,
                },
                error => error,
            });
        }
        let mut planner = Planner::new(&stored, self.clock.today());
        let (pupil, _) = planner.item(0, &input)?.map_err(|mut violation| {
            violation.field.insert_str(0, "new_pupil.");
            ServiceError::from(violation)
        })?;
        let mut writes = planner.writes;
        writes.new_identifiers.retain(|row| {
            (row.kind, row.source.as_str(), row.value.as_str()) != (KIND_MIS, &identifier.source, &identifier.value)
        });
        Ok((pupil.0, writes))
    }
}
