//! Reconciliation: "this is the whole of a school's registers for these dates", with a brake.

mod plan;
mod upload;

use std::collections::HashMap;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::plan::Plan;
use self::plan::{CarriedOut, Subject};
use self::upload::{Dates, Upload};
use super::Correction;
use crate::domain::identifiers::{PupilKey, SchoolId, SchoolKey, TrustId};
use crate::domain::person::Person;
use crate::domain::policy::Brake;
use crate::domain::reconciliation::Stop;
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::service::error::{Rejection, Resource};
use crate::service::judging::{Moment, timeline_of};
use crate::service::recorded::{self, Recorded, Request};
use crate::service::schools::{optional_school, require_school};
use crate::service::transaction::{finish, retry};
use crate::service::trusts::require_trust;
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::reconciliations::{self as store, PlannedPupil, ReconciliationRow, ReconciliationState};
use crate::store::{StoreError, TrustTransaction, merges};

/// An item of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciliationItem {
    /// The place of the item in the upload, from 0.
    pub item_index: usize,
    /// The pupil.
    pub pupil: PupilKey,
    /// The year.
    pub year: AcademicYear,
    /// The place of the first mark in the year's register.
    pub first: usize,
    /// Bytes of codes; 0 for no mark. `first` and their number lie within the year.
    pub marks: Vec<u8>,
    /// The school, where the item says.
    pub school: Option<SchoolKey>,
}

/// Limits below those of the policy; nothing for the policy's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsAsked {
    /// How many marks it may take away.
    pub removed_marks_max: Option<u32>,
    /// How many pupils it may move to another stage.
    pub restaged_pupils_max: Option<u32>,
    /// The share of the marks compared that it may take away, in tenths of a per cent.
    pub removed_tenths_max: Option<u16>,
}

/// The whole of a school's registers for some dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciliationRequest {
    /// Names the request: the same again returns the reconciliation that it made.
    pub request_id: Uuid,
    /// Tells one content from another.
    pub fingerprint: Vec<u8>,
    /// The school.
    pub school: SchoolKey,
    /// The first day.
    pub from: NaiveDate,
    /// The last day, of the same academic year.
    pub to: NaiveDate,
    /// Why, and who.
    pub correction: Correction,
    /// Limits below those of the policy.
    pub limits: LimitsAsked,
    /// The items that could be read.
    pub items: Vec<ReconciliationItem>,
    /// The items that could not, with their pupils where these could.
    pub refused: Vec<(Rejection, Option<PupilKey>)>,
}

/// A reconciliation, with what it does or would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconciled {
    /// As it is stored.
    pub row: ReconciliationRow,
    /// Where it is.
    pub state: ReconciliationState,
    /// The limits under which it was planned.
    pub limits: Brake,
    /// What it does or would do.
    pub plan: Plan,
}

/// The kept answer of a request: the reconciliation that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconciliationAnswer {
    /// The reconciliation.
    pub reconciliation_id: Uuid,
}

/// Which reconciliations are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconciliationQuery {
    /// Only those of this school.
    pub school: Option<SchoolKey>,
    /// Only those in this state.
    pub state: Option<ReconciliationState>,
}

/// What became of an attempt.
enum Attempt<T> {
    /// It is to be committed.
    Done(T),
    /// It is to be taken back, and this kept in its place.
    Stopped(Box<Stopped>),
}

/// What is kept of an attempt that was taken back.
struct Stopped {
    row: ReconciliationRow,
    content: Vec<u8>,
    pupils: Vec<PlannedPupil>,
}

impl Service {
    /// Takes the whole of a school's registers for some dates: carries it out where the brake lets it, and else keeps it with
    /// what it would do, until a person approves or discards it.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school, `Invalid` where a limit is above that of the policy or the request's
    /// name was used for something else.
    pub async fn reconcile_registers(
        &self,
        trust: TrustId,
        request: &ReconciliationRequest,
    ) -> Result<(Recorded<ReconciliationAnswer>, Reconciled), ServiceError> {
        self.roll_over(trust).await?;
        let recorded = retry(|| self.reconcile_once(trust, request)).await?;
        let found = self.reconciliation(trust, recorded.outcome.reconciliation_id).await?;
        Ok((recorded, found))
    }

    async fn reconcile_once(
        &self,
        trust: TrustId,
        request: &ReconciliationRequest,
    ) -> Result<Recorded<ReconciliationAnswer>, ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        match self.attempt(&mut transaction, trust, request, moment).await {
            Ok(Attempt::Done(recorded)) => finish(transaction, Ok(recorded)).await,
            Err(error) => finish(transaction, Err(error)).await,
            Ok(Attempt::Stopped(stopped)) => {
                transaction.rollback().await?;
                let mut transaction = self.store.begin(trust).await?;
                let kept = keep(&mut transaction, trust, request, &stopped, moment).await;
                finish(transaction, kept).await
            }
        }
    }

    async fn attempt(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        request: &ReconciliationRequest,
        moment: Moment,
    ) -> Result<Attempt<Recorded<ReconciliationAnswer>>, ServiceError> {
        let (earlier, identities) = recorded::earlier_with_identities(transaction, trust, asked(request)).await?;
        if let Some(earlier) = earlier {
            return Ok(Attempt::Done(earlier));
        }
        let school = require_school(transaction, trust, &request.school).await?;
        let timeline = timeline_of(transaction, trust).await?;
        let limits = limits(timeline.at(moment.today, Some(school)).policy.brake, request.limits)?;
        let dates = Dates {
            from: request.from,
            to: request.to,
            year: AcademicYear::clamped(request.from),
        };
        let upload = Upload::read(transaction, trust, school, dates, &request.items, &request.refused).await?;
        let content = upload.encode();
        let subject = Subject {
            school,
            dates,
            correction: &request.correction,
            request_id: request.request_id,
        };
        let mut carried_out = self
            .carry_out(transaction, trust, &subject, upload, identities, moment)
            .await?;
        carried_out.plan.stops = limits.stops(carried_out.plan.extent());
        let stopped = !carried_out.plan.stops.is_empty();
        let state = if stopped {
            ReconciliationState::AwaitingApproval
        } else {
            ReconciliationState::Applied
        };
        let row = new_row(trust, request, school, state, limits, &carried_out.plan, moment)?;
        if stopped {
            return Ok(Attempt::Stopped(Box::new(Stopped {
                row,
                content,
                pupils: carried_out.pupils,
            })));
        }
        store::insert(transaction, &row, &[]).await?;
        store::insert_pupils(transaction, trust, row.reconciliation_id, 1, &carried_out.pupils).await?;
        let answer = ReconciliationAnswer {
            reconciliation_id: row.reconciliation_id,
        };
        let recorded = recorded::record(transaction, trust, asked(request), answer, moment.now).await?;
        let judging = carried_out.judging;
        judging.write(transaction, trust, Some(request.request_id)).await?;
        Ok(Attempt::Done(recorded))
    }

    /// Carries out a reconciliation that waits, as it comes to now. Where it comes to more than was approved, it waits again,
    /// with what it would do.
    ///
    /// # Errors
    /// `NotFound` where there is none, `StaleEtag` where it is no longer as it was shown, `Precondition` where it does not wait.
    pub async fn approve_reconciliation(
        &self,
        trust: TrustId,
        reconciliation_id: Uuid,
        expected_version: i64,
        by: &Person,
    ) -> Result<Reconciled, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| self.approve_once(trust, reconciliation_id, expected_version, by)).await?;
        self.reconciliation(trust, reconciliation_id).await
    }

    async fn approve_once(
        &self,
        trust: TrustId,
        id: Uuid,
        expected_version: i64,
        by: &Person,
    ) -> Result<(), ServiceError> {
        let moment = self.moment();
        let mut transaction = self.store.begin(trust).await?;
        match self
            .attempt_approved(&mut transaction, trust, id, expected_version, by, moment)
            .await
        {
            Ok(Attempt::Done(())) => finish(transaction, Ok(())).await,
            Err(error) => finish(transaction, Err(error)).await,
            Ok(Attempt::Stopped(stopped)) => {
                transaction.rollback().await?;
                let mut transaction = self.store.begin(trust).await?;
                let kept = async {
                    waiting(&mut transaction, trust, id, expected_version).await?;
                    store::replan(&mut transaction, trust, id, &stopped.row.plan, moment.now).await?;
                    let number = stopped.row.plan_number;
                    Ok(store::insert_pupils(&mut transaction, trust, id, number, &stopped.pupils).await?)
                }
                .await;
                finish(transaction, kept).await
            }
        }
    }

    async fn attempt_approved(
        &self,
        transaction: &mut TrustTransaction,
        trust: TrustId,
        id: Uuid,
        expected_version: i64,
        by: &Person,
        moment: Moment,
    ) -> Result<Attempt<()>, ServiceError> {
        let (mut row, content) = waiting(transaction, trust, id, expected_version).await?;
        let approved = read(row.clone())?;
        let shown = store::pupils(transaction, trust, id, row.plan_number, Uuid::nil(), i64::MAX).await?;
        let identities = merges::identity_version(transaction, trust).await?;
        let upload = Upload {
            left: approved.plan.left.iter().copied().collect(),
            rejections: approved.plan.rejections.clone(),
            ..Upload::decode(&content)?
        };
        let upload = upload.resolve_again(transaction, trust).await?;
        let correction = Correction {
            reason: row.reason.clone(),
            corrected_by: Person {
                name: row.requested_by_name.clone(),
                position: row.requested_by_position.clone(),
            },
        };
        let subject = Subject {
            school: SchoolId(row.school_id),
            dates: Dates {
                from: row.from_date,
                to: row.to_date,
                year: AcademicYear::clamped(row.from_date),
            },
            correction: &correction,
            request_id: row.request_id,
        };
        let CarriedOut {
            mut plan,
            pupils,
            judging,
        } = self
            .carry_out(transaction, trust, &subject, upload, identities, moment)
            .await?;
        plan.rejected += approved.plan.rejected - approved.plan.rejections.len();
        row.plan_number += 1;
        if is_more(&shown, &pupils) {
            plan.stops = vec![Stop::MoreThanApproved];
            plan.stops.extend(approved.limits.stops(plan.extent()));
            row.plan = json(&plan)?;
            return Ok(Attempt::Stopped(Box::new(Stopped {
                row,
                content: Vec::new(),
                pupils,
            })));
        }
        store::replan(transaction, trust, id, &json(&plan)?, moment.now).await?;
        store::insert_pupils(transaction, trust, id, row.plan_number, &pupils).await?;
        store::decide(
            transaction,
            trust,
            id,
            ReconciliationState::Applied,
            by,
            None,
            moment.now,
        )
        .await?;
        judging.write(transaction, trust, Some(row.request_id)).await?;
        Ok(Attempt::Done(()))
    }

    /// Gives up a reconciliation that waits.
    ///
    /// # Errors
    /// As [`Service::approve_reconciliation`].
    pub async fn discard_reconciliation(
        &self,
        trust: TrustId,
        reconciliation_id: Uuid,
        expected_version: i64,
        reason: &str,
        by: &Person,
    ) -> Result<Reconciled, ServiceError> {
        let now = self.clock.now();
        let mut transaction = self.store.begin(trust).await?;
        let discarded = async {
            waiting(&mut transaction, trust, reconciliation_id, expected_version).await?;
            let state = ReconciliationState::Discarded;
            let reason = Some(reason);
            Ok(store::decide(&mut transaction, trust, reconciliation_id, state, by, reason, now).await?)
        }
        .await;
        finish(transaction, discarded).await?;
        self.reconciliation(trust, reconciliation_id).await
    }

    /// A reconciliation.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn reconciliation(&self, trust: TrustId, reconciliation_id: Uuid) -> Result<Reconciled, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = async {
            let row = store::find(&mut transaction, trust, reconciliation_id).await?;
            read(row.ok_or(ServiceError::NotFound(Resource::Reconciliation))?)
        }
        .await;
        finish(transaction, found).await
    }

    /// The pupils that a reconciliation touches, in the order of their identifiers.
    pub async fn reconciliation_pupils(
        &self,
        trust: TrustId,
        found: &Reconciled,
        page: Page<Uuid>,
    ) -> Result<PageOf<PlannedPupil, Uuid>, ServiceError> {
        let (after, most) = page.keyset();
        let row = &found.row;
        let mut transaction = self.store.begin(trust).await?;
        let listed = store::pupils(
            &mut transaction,
            trust,
            row.reconciliation_id,
            row.plan_number,
            after,
            most,
        )
        .await;
        let rows = finish(transaction, listed.map_err(ServiceError::from)).await?;
        Ok(PageOf::from_rows(rows, page.size, |pupil| pupil.pupil_id))
    }

    /// Reconciliations, latest first.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust or school.
    pub async fn list_reconciliations(
        &self,
        trust: TrustId,
        query: &ReconciliationQuery,
        page: Page<Uuid>,
    ) -> Result<PageOf<Reconciled, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let listed = async {
            require_trust(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, query.school.as_ref())
                .await?
                .map(|school| school.0);
            let most = one_more(page.size);
            let rows = store::list(&mut transaction, trust, school, query.state, page.after, most).await?;
            rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()
        }
        .await;
        let rows = finish(transaction, listed).await?;
        Ok(PageOf::from_rows(rows, page.size, |found| found.row.reconciliation_id))
    }
}

fn asked(request: &ReconciliationRequest) -> Request<'_> {
    Request {
        id: request.request_id,
        field: "header.request_id",
        fingerprint: &request.fingerprint,
    }
}

/// Keeps a reconciliation that stopped, until a person decides.
async fn keep(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    request: &ReconciliationRequest,
    stopped: &Stopped,
    moment: Moment,
) -> Result<Recorded<ReconciliationAnswer>, ServiceError> {
    let id = stopped.row.reconciliation_id;
    store::insert(transaction, &stopped.row, &stopped.content).await?;
    store::insert_pupils(transaction, trust, id, stopped.row.plan_number, &stopped.pupils).await?;
    let answer = ReconciliationAnswer { reconciliation_id: id };
    recorded::record(transaction, trust, asked(request), answer, moment.now).await
}

/// The limits under which a reconciliation goes on without approval.
fn limits(policy: Brake, asked: LimitsAsked) -> Result<Brake, ServiceError> {
    let too_high = |field: &str, most: u64| {
        let message = format!("the policy allows {most} at the most: give no more, or change the policy");
        ServiceError::invalid(format!("header.limits.{field}"), "LIMIT_TOO_HIGH", message)
    };
    let limits = Brake {
        removed_marks_max: asked.removed_marks_max.unwrap_or(policy.removed_marks_max),
        restaged_pupils_max: asked.restaged_pupils_max.unwrap_or(policy.restaged_pupils_max),
        removed_tenths_max: asked.removed_tenths_max.unwrap_or(policy.removed_tenths_max),
    };
    if limits.removed_marks_max > policy.removed_marks_max {
        return Err(too_high("removed_marks_max", policy.removed_marks_max.into()));
    }
    if limits.restaged_pupils_max > policy.restaged_pupils_max {
        return Err(too_high("restaged_pupils_max", policy.restaged_pupils_max.into()));
    }
    if limits.removed_tenths_max > policy.removed_tenths_max {
        return Err(too_high("removed_tenths_max", policy.removed_tenths_max.into()));
    }
    Ok(limits)
}

fn json(value: &impl Serialize) -> Result<serde_json::Value, ServiceError> {
    serde_json::to_value(value).map_err(|_| StoreError::Corrupt("a reconciliation that is no JSON").into())
}

fn new_row(
    trust: TrustId,
    request: &ReconciliationRequest,
    school: SchoolId,
    state: ReconciliationState,
    limits: Brake,
    plan: &Plan,
    moment: Moment,
) -> Result<ReconciliationRow, ServiceError> {
    Ok(ReconciliationRow {
        trust_id: trust.0,
        reconciliation_id: Uuid::now_v7(),
        school_id: school.0,
        from_date: request.from,
        to_date: request.to,
        state: state.as_str().to_owned(),
        limits: json(&limits)?,
        plan: json(plan)?,
        plan_number: 1,
        reason: request.correction.reason.clone(),
        requested_by_name: request.correction.corrected_by.name.clone(),
        requested_by_position: request.correction.corrected_by.position.clone(),
        request_id: request.request_id,
        decided_by_name: None,
        decided_by_position: None,
        decision_reason: None,
        version: 1,
        created_at: moment.now,
        updated_at: moment.now,
    })
}

fn read(row: ReconciliationRow) -> Result<Reconciled, ServiceError> {
    let corrupt = |_| StoreError::Corrupt("reconciliations");
    Ok(Reconciled {
        state: row.state()?,
        limits: serde_json::from_value(row.limits.clone()).map_err(corrupt)?,
        plan: serde_json::from_value(row.plan.clone()).map_err(corrupt)?,
        row,
    })
}

/// A reconciliation that waits and is as it was shown, locked.
async fn waiting(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    reconciliation_id: Uuid,
    expected_version: i64,
) -> Result<(ReconciliationRow, Vec<u8>), ServiceError> {
    let found = store::lock(transaction, trust, reconciliation_id).await?;
    let (row, content) = found.ok_or(ServiceError::NotFound(Resource::Reconciliation))?;
    if row.state()? != ReconciliationState::AwaitingApproval {
        return Err(ServiceError::Precondition {
            reason: "NOT_AWAITING_APPROVAL",
            message: "the reconciliation no longer waits: it was carried out or discarded".to_owned(),
        });
    }
    if row.version != expected_version {
        return Err(ServiceError::StaleEtag(Resource::Reconciliation));
    }
    Ok((row, content))
}

/// Whether a plan takes away a mark, or moves a pupil, that was not shown.
fn is_more(shown: &[PlannedPupil], now: &[PlannedPupil]) -> bool {
    let shown: HashMap<Uuid, &PlannedPupil> = shown.iter().map(|pupil| (pupil.pupil_id, pupil)).collect();
    let none = PlannedPupil::default();
    let to = |pupil: &PlannedPupil| pupil.moves.map(|(_, to): (Stage, Stage)| to);
    now.iter().any(|pupil| {
        let before = shown.get(&pupil.pupil_id).copied().unwrap_or(&none);
        let removes_more = pupil
            .removed
            .iter()
            .any(|place| before.removed.binary_search(place).is_err());
        removes_more || (pupil.moves.is_some() && to(pupil) != to(before))
    })
}
