//! Many pupils in one transaction, and one new pupil: the same path.

use std::collections::{HashMap, HashSet};

use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::{self, Effect, Planner, Stored, StoredPupil};
use super::{Pupil, PupilInput, load_one, parts_of};
use crate::domain::identifiers::{PupilKey, SchoolKey, TrustId};
use crate::service::error::{FieldViolation, Rejection, Resource, Warning};
use crate::service::sessions::Recorded;
use crate::service::transaction::finish;
use crate::service::{Service, ServiceError};
use crate::store::batches::{self, RecordedBatch};
use crate::store::pupils::writes::{self, Writing};
use crate::store::{StoreError, policies, pupils, schools, stages};

/// A batch of pupils.
#[derive(Clone, Debug)]
pub struct UpsertRequest {
    /// Names the request: asked for again under the same, it is answered with the first answer.
    pub request_id: Uuid,
    /// A digest of all that is asked for.
    pub fingerprint: Vec<u8>,
    /// The pupils; an item that could not be read is what is wrong with it.
    pub items: Vec<Result<PupilInput, FieldViolation>>,
    /// Whether any rejection refuses the whole batch.
    pub all_or_nothing: bool,
}

/// What became of a batch of pupils. It is kept as the answer of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpsertOutcome {
    /// Items that made a new pupil.
    pub created: usize,
    /// Items that changed a pupil.
    pub updated: usize,
    /// Items that changed nothing.
    pub unchanged: usize,
    /// One for each item that was not taken.
    pub rejections: Vec<Rejection>,
    /// What was taken and deserves a look: the first of them, up to the limit of an answer.
    pub warnings: Vec<Warning>,
    /// How many warnings there were in all.
    pub warnings_total: usize,
    /// The pupil of each item in order; nothing for one that was not taken.
    pub pupil_ids: Vec<Option<Uuid>>,
}

impl Service {
    /// Creates or updates many pupils with their enrolments in one transaction, with a fixed number of statements.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] for an empty or too large batch, and for a `request_id` under which something else was
    /// asked for before; [`ServiceError::BatchRejected`] where all or nothing was asked for and an item was refused;
    /// [`ServiceError::NotFound`] where there is no such trust.
    pub async fn upsert_pupils(
        &self,
        trust: TrustId,
        request: &UpsertRequest,
    ) -> Result<Recorded<UpsertOutcome>, ServiceError> {
        if request.items.is_empty() {
            return Err(ServiceError::invalid(
                "pupils",
                "EMPTY_BATCH",
                "give at least one pupil",
            ));
        }
        let most = self.limits.pupil_items_max;
        if request.items.len() > most {
            let message = format!("give at most {most} pupils, and the rest in further requests");
            return Err(ServiceError::invalid("pupils", "BATCH_TOO_LARGE", message));
        }
        match self.upsert_once(trust, request).await {
            Err(error) if is_race(&error) => self.upsert_once(trust, request).await.map_err(second_race),
            answer => answer,
        }
    }

    async fn upsert_once(
        &self,
        trust: TrustId,
        request: &UpsertRequest,
    ) -> Result<Recorded<UpsertOutcome>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let answer = self.upsert(&mut transaction, trust, request).await;
        finish(transaction, answer).await
    }

    async fn upsert(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        request: &UpsertRequest,
    ) -> Result<Recorded<UpsertOutcome>, ServiceError> {
        let request_id = request.request_id;
        if let Some(recorded) = batches::find(conn, trust, request_id).await? {
            return replay(request, recorded);
        }
        let writing = self.writing(conn, trust).await?;
        let read: Vec<&PupilInput> = request.items.iter().flatten().collect();
        let stored = stored(conn, trust, &read).await?;

        let mut planner = Planner::new(&stored, self.clock.today());
        let mut outcome = UpsertOutcome::default();
        for (item_index, item) in request.items.iter().enumerate() {
            let planned = match item {
                Ok(input) => planner.item(item_index, input)?,
                Err(violation) => Err(violation.clone()),
            };
            let planned = planned.map_err(|violation| plan::rejection(item_index, &violation));
            outcome.add(planned.map(|(pupil, effect)| (pupil.0, effect)));
        }
        if request.all_or_nothing && !outcome.rejections.is_empty() {
            return Err(ServiceError::BatchRejected(outcome.rejections));
        }
        let Planner { writes, warnings, .. } = planner;
        outcome.warnings_total = warnings.len();
        outcome.warnings = warnings;
        outcome.warnings.truncate(self.limits.warnings_max);
        writes::write(conn, trust, writing, &writes).await?;

        let recorded = RecordedBatch {
            fingerprint: request.fingerprint.clone(),
            answer: serde_json::to_value(&outcome).map_err(|_| StoreError::Corrupt("batches.answer"))?,
            recorded_at: writing.now,
        };
        if !batches::insert(conn, trust, request_id, &recorded).await? {
            // The same request was under way twice, and the other one was first: its answer is found when this begins anew.
            return Err(writes::conflict().into());
        }
        Ok(Recorded {
            request_id,
            recorded_at: recorded.recorded_at,
            replayed: false,
            outcome,
        })
    }

    /// Creates one pupil, none of whose identifiers may be there yet.
    ///
    /// # Errors
    /// [`ServiceError::AlreadyExists`] where one is, [`ServiceError::Invalid`] where a batch would reject the item,
    /// [`ServiceError::NotFound`] where there is no such trust.
    pub async fn create_pupil(
        &self,
        trust: TrustId,
        input: &PupilInput,
    ) -> Result<(Pupil, Vec<Warning>), ServiceError> {
        match self.create_once(trust, input).await {
            Err(error) if is_race(&error) => self.create_once(trust, input).await.map_err(second_race),
            answer => answer,
        }
    }

    async fn create_once(&self, trust: TrustId, input: &PupilInput) -> Result<(Pupil, Vec<Warning>), ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let created = self.create(&mut transaction, trust, input).await;
        finish(transaction, created).await
    }

    async fn create(
        &self,
        conn: &mut AsyncPgConnection,
        trust: TrustId,
        input: &PupilInput,
    ) -> Result<(Pupil, Vec<Warning>), ServiceError> {
        let writing = self.writing(conn, trust).await?;
        let today = self.clock.today();
        plan::check_values(input, today).map_err(of_pupil)?;
        let stored = stored(conn, trust, &[input]).await?;
        if let Some(field) = plan::field_already_there(input, &stored) {
            return Err(identifier_taken(&field));
        }
        let mut planner = Planner::new(&stored, today);
        let (pupil, _) = planner.item(0, input)?.map_err(of_pupil)?;
        let Planner { writes, warnings, .. } = planner;
        writes::write(conn, trust, writing, &writes).await?;
        let created = load_one(conn, trust, pupil).await?;
        Ok((created.ok_or(ServiceError::NotFound(Resource::Pupil))?, warnings))
    }

    /// When and under which rules a write happens.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such trust.
    pub(super) async fn writing(&self, conn: &mut AsyncPgConnection, trust: TrustId) -> Result<Writing, ServiceError> {
        let policy = policies::active(conn, trust).await?;
        Ok(Writing {
            now: self.clock.now(),
            academic_year: self.clock.academic_year(),
            policy_version: policy.ok_or(ServiceError::NotFound(Resource::Trust))?.version,
        })
    }
}

impl UpsertOutcome {
    fn add(&mut self, planned: Result<(Uuid, Effect), Rejection>) {
        match planned {
            Ok((pupil, effect)) => {
                match effect {
                    Effect::Created => self.created += 1,
                    Effect::Updated => self.updated += 1,
                    Effect::Unchanged => self.unchanged += 1,
                }
                self.pupil_ids.push(Some(pupil));
            }
            Err(rejection) => {
                self.rejections.push(rejection);
                self.pupil_ids.push(None);
            }
        }
    }
}

/// The first answer, where the same was asked for.
fn replay(request: &UpsertRequest, recorded: RecordedBatch) -> Result<Recorded<UpsertOutcome>, ServiceError> {
    if recorded.fingerprint != request.fingerprint {
        return Err(ServiceError::invalid(
            "request_id",
            "REQUEST_ID_REUSED",
            "another request was made under this request_id: give a new one for new content, the old one only for a retry",
        ));
    }
    let outcome = serde_json::from_value(recorded.answer).map_err(|_| StoreError::Corrupt("batches.answer"))?;
    Ok(Recorded {
        request_id: request.request_id,
        recorded_at: recorded.recorded_at,
        replayed: true,
        outcome,
    })
}

/// What is stored about whatever the items name, with the pupils locked.
async fn stored(conn: &mut AsyncPgConnection, trust: TrustId, items: &[&PupilInput]) -> Result<Stored, StoreError> {
    let keys: HashSet<PupilKey> = items.iter().copied().flat_map(plan::keys).collect();
    let keys: Vec<PupilKey> = keys.into_iter().collect();
    let found = pupils::resolve_pupils(conn, trust, &keys).await?;
    let resolved: HashMap<_, _> = keys
        .into_iter()
        .zip(found)
        .filter_map(|(key, id)| Some((key, id?)))
        .collect();

    let school_keys: HashSet<SchoolKey> = items
        .iter()
        .flat_map(|item| item.enrolments.iter().map(|enrolment| enrolment.school.clone()))
        .collect();
    let school_keys: Vec<SchoolKey> = school_keys.into_iter().collect();
    let found = schools::resolve_schools(conn, trust, &school_keys).await?;
    let school_ids = school_keys.into_iter().zip(found);

    let mut stored = Stored {
        schools: school_ids.filter_map(|(key, id)| Some((key, id?))).collect(),
        ..Stored::default()
    };
    let ids: HashSet<Uuid> = resolved.values().map(|id| id.0).collect();
    let ids: Vec<Uuid> = ids.into_iter().collect();
    stored.resolved = resolved;
    if ids.is_empty() {
        return Ok(stored);
    }
    // Whoever else writes to these pupils waits from here on, so what is read below stays true. An identifier never moves
    // from one pupil to another, so what was resolved above does too.
    stages::lock(conn, trust, &ids).await?;
    let (mut identifiers, mut enrolments) = parts_of(conn, trust, &ids).await?;
    for row in pupils::load(conn, trust, &ids).await? {
        let pupil = StoredPupil {
            identifiers: identifiers.remove(&row.pupil_id).unwrap_or_default(),
            enrolments: enrolments.remove(&row.pupil_id).unwrap_or_default(),
            row,
        };
        stored.pupils.insert(pupil.row.pupil_id, pupil);
    }
    let shortened: Vec<_> = items.iter().flat_map(|item| plan::shortened(item, &stored)).collect();
    stored.last_marks = pupils::last_marks(conn, trust, &shortened).await?;
    Ok(stored)
}

/// A violation of a field of the one pupil of a request.
pub(super) fn of_pupil(mut violation: FieldViolation) -> ServiceError {
    violation.field.insert_str(0, "pupil.");
    violation.into()
}

/// The error for an identifier that a pupil of the trust has or had already.
pub(super) fn identifier_taken(field: &str) -> ServiceError {
    ServiceError::AlreadyExists {
        resource: Resource::Pupil,
        field: format!("pupil.{field}"),
        message:
            "a pupil of the trust has or had this identifier already: update that pupil, or correct the identifier"
                .to_owned(),
    }
}

/// Whether another transaction was in the way, so that the same has to be tried from its beginning.
pub(super) fn is_race(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Store(error) if writes::lost_race(error) || error.is_transient())
}

/// What a caller is told of a race that was lost twice: to try again.
pub(super) fn second_race(error: ServiceError) -> ServiceError {
    match error {
        ServiceError::Store(error) if writes::lost_race(&error) => writes::conflict().into(),
        other => other,
    }
}
