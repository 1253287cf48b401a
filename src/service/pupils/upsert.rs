//! Many pupils in one transaction, and one new pupil: the same path.

use std::collections::{HashMap, HashSet};

use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::{self, Effect, Planner, Stored, StoredPupil};
use super::{Pupil, PupilInput, load_one, parts_of};
use crate::domain::identifiers::{PupilKey, SchoolKey, TrustId};
use crate::domain::policy::{PolicyTimeline, Scope, VersionedPolicy};
use crate::domain::session::AcademicYear;
use crate::service::error::{FieldViolation, Rejection, Resource, Warning};
use crate::service::judging::{judge_moved_since, timeline_of};
use crate::service::recorded::{self, Recorded, Request};
use crate::service::transaction::{finish, retry};
use crate::service::{Service, ServiceError, thresholds};
use crate::store::pupils::writes::{self, Writing};
use crate::store::stages::Cause;
use crate::store::{StoreError, TrustTransaction, merges, pupils, schools, stages};

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

/// Whether enrolments decide about a stage: by which school's policy and calendar a pupil is judged, or which of the pupil's
/// registers count.
fn enrolments_decide(timeline: &PolicyTimeline) -> bool {
    let alone = |policy: &VersionedPolicy| policy.policy.scope == Scope::Enrolment;
    timeline.every_policy().into_iter().any(alone) || timeline.differs_by_school() || timeline.follows_calendar()
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
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let answer = self.upsert(&mut transaction, trust, request).await;
            finish(transaction, answer).await
        })
        .await
    }

    async fn upsert(
        &self,
        conn: &mut TrustTransaction,
        trust: TrustId,
        request: &UpsertRequest,
    ) -> Result<Recorded<UpsertOutcome>, ServiceError> {
        let asked = Request {
            id: request.request_id,
            field: "request_id",
            fingerprint: &request.fingerprint,
        };
        if let Some(earlier) = recorded::earlier(conn, trust, asked).await? {
            return Ok(earlier);
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
            return Err(ServiceError::BatchRejected {
                items: "pupils",
                rejections: outcome.rejections,
            });
        }
        let Planner { writes, warnings, .. } = planner;
        let mut concerned = plan::bear_on_thresholds(&writes, &stored);
        outcome.warnings_total = warnings.len();
        outcome.warnings = warnings;
        outcome.warnings.truncate(self.limits.warnings_max);
        writes::write(conn, trust, writing, &writes).await?;
        let timeline = timeline_of(conn, trust).await?;
        let moved = if enrolments_decide(&timeline) {
            plan::moved(&writes, &stored)
        } else {
            Vec::new()
        };
        // Their thresholds are worked out with their stages.
        concerned.retain(|pupil| moved.binary_search_by_key(pupil, |(moved, _)| *moved).is_err());
        let moment = self.moment();
        if !concerned.is_empty() {
            thresholds::reevaluate(conn, trust, &timeline, &concerned, None, moment, Some(asked.id)).await?;
        }
        let recorded = recorded::record(conn, trust, asked, outcome, writing.now).await?;
        if let Some(since) = moved.iter().map(|(_, since)| AcademicYear::clamped(*since)).min() {
            let moved: Vec<Uuid> = moved.iter().map(|(pupil, _)| *pupil).collect();
            let since = since.min(moment.year);
            judge_moved_since(conn, trust, &moved, since, moment, Cause::Enrolment).await?;
        }
        Ok(recorded)
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
        retry(|| self.create_once(trust, input)).await
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
        let timeline = timeline_of(conn, trust).await?;
        Ok(Writing {
            now: self.clock.now(),
            academic_year: self.clock.academic_year(),
            policy_version: timeline.at(self.clock.today(), None).version,
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

/// What is stored about whatever the items name, with the pupils locked.
pub(super) async fn stored(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    items: &[&PupilInput],
) -> Result<Stored, StoreError> {
    let identities = merges::identity_version(conn, trust).await?;
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
    // Whoever else writes to these pupils waits from here on, so what is read below stays true. So does what was resolved above,
    // unless an identifier went to another pupil while this waited.
    stages::lock(conn, trust, &ids).await?;
    if merges::identity_version(conn, trust).await? != identities {
        return Err(StoreError::Conflict);
    }
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
