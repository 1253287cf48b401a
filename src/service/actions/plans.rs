//! Plans of support: made, reviewed cycle by cycle, closed, and listed by when they are to be reviewed.

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::writes::{locked, record_work};
use crate::domain::action::{Action, ActionName};
use crate::domain::action_log::{Entry, PlanChange, PlanChangeKind};
use crate::domain::identifiers::{PupilId, PupilKey, SchoolKey, TrustId};
use crate::domain::person::Author;
use crate::domain::plan::{
    Cycle, CycleDraft, EndReason, Outcome, Plan, PlanEnd, PlanError, PlanReview, ReviewDraft, first_cycle,
};
use crate::domain::session::london_date;
use crate::service::error::Resource;
use crate::service::recorded::{Request, earlier, record};
use crate::service::schools::optional_school;
use crate::service::transaction::{existing_pupil, finish, locked_pupil, retry};
use crate::service::trusts::{not_found, require_trust};
use crate::service::{Page, PageOf, Service, ServiceError, one_more};
use crate::store::actions::plans::{self, PlanFilter, PlanKey};
use crate::store::{StoreError, stages};

/// A plan to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanRequest {
    /// The pupil; nothing where an action is named.
    pub pupil: Option<PupilKey>,
    /// The action that asks for it.
    pub action: Option<ActionName>,
    /// The first cycle.
    pub cycle: CycleDraft,
    /// Who records it.
    pub recorded_by: Author,
    /// The request's own name, by which a retry is known, and a digest of what is asked for.
    pub request: Option<(Uuid, Vec<u8>)>,
}

/// What somebody does with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanDeedRequest {
    /// The plan.
    pub plan_id: Uuid,
    /// The version that the caller has read; nothing where the caller read none that ever was.
    pub version: Option<i64>,
    /// What is done.
    pub deed: PlanDeed,
    /// Who records it.
    pub recorded_by: Author,
    /// The request's own name, by which a retry is known, and a digest of what is asked for.
    pub request: Option<(Uuid, Vec<u8>)>,
}

/// What can be done with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanDeed {
    /// Its cycle is reviewed.
    Review(ReviewDraft),
    /// It is closed without a review.
    Close {
        /// Why.
        reason: EndReason,
        /// More about it; may be empty.
        comment: String,
        /// The last day; nothing for today.
        ended_on: Option<NaiveDate>,
    },
}

/// Which plans are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanQuery {
    /// Only plans of pupils on roll at this school.
    pub school: Option<SchoolKey>,
    /// Only plans of this pupil.
    pub pupil: Option<PupilKey>,
    /// Only closed ones, or only ones that are not.
    pub closed: Option<bool>,
    /// Only open ones whose review is due on this day or after it.
    pub review_from: Option<NaiveDate>,
    /// Only open ones whose review is due on this day or before it.
    pub review_to: Option<NaiveDate>,
    /// Only open ones whose review was due before today.
    pub overdue: bool,
}

/// What was answered first: a plan only grows, so the version tells what it was.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Answered {
    plan_id: Uuid,
    version: i64,
}

impl Service {
    /// Makes a plan with its first cycle, and records that on the action that asks for it. A retry of a request gets the first
    /// answer.
    ///
    /// # Errors
    /// `NotFound` where there is no such pupil or action; `Precondition` for a pupil without an episode; `Invalid` where the
    /// action is another pupil's, the cycle is not whole, or the request identifier was used for something else.
    pub async fn create_plan(&self, trust: TrustId, asked: &PlanRequest) -> Result<Plan, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let now = self.clock.now();
            let mut transaction = self.store.begin(trust).await?;
            let created = create(&mut transaction, trust, asked, now).await;
            transaction.announce_on_commit(trust);
            finish(transaction, created).await
        })
        .await
    }

    /// One plan with all its cycles.
    ///
    /// # Errors
    /// `NotFound` where the trust has none of this identifier.
    pub async fn get_plan(&self, trust: TrustId, plan_id: Uuid) -> Result<Plan, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let found = existing(&mut transaction, trust, plan_id).await;
        finish(transaction, found).await
    }

    /// Lists plans: open ones by the day of their next review, then closed ones by the day on which they ended.
    ///
    /// # Errors
    /// `NotFound` where there is no such trust, school or pupil; `Invalid` where the filters exclude each other.
    pub async fn list_plans(
        &self,
        trust: TrustId,
        query: &PlanQuery,
        page: Page<PlanKey>,
    ) -> Result<PageOf<Plan, PlanKey>, ServiceError> {
        let mut filter = query.filter(self.clock.today())?;
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let school = optional_school(&mut transaction, trust, query.school.as_ref()).await?;
            filter.school = school.map(|school| school.0);
            if let Some(key) = &query.pupil {
                filter.pupil = Some(existing_pupil(&mut transaction, trust, key).await?.0);
            }
            Ok(plans::list(&mut transaction, trust, &filter, page.after, one_more(page.size)).await?)
        }
        .await;
        let rows = finish(transaction, read).await?;
        let listed = PageOf::from_rows(rows, page.size, |(key, _)| *key);
        Ok(PageOf {
            rows: listed.rows.into_iter().map(|(_, plan)| plan).collect(),
            next: listed.next,
        })
    }

    /// Reviews or closes a plan, records that on the action that asks for it, and returns the plan as it is then. A retry of a
    /// request gets the first answer.
    ///
    /// # Errors
    /// `NotFound` where the trust has no such plan; `StaleEtag` where somebody wrote since it was read; `Precondition` where it
    /// is closed; `Invalid` where a day is on the wrong side of another, the next cycle is not whole, or the request identifier
    /// was used for something else.
    pub async fn work_plan(&self, trust: TrustId, asked: &PlanDeedRequest) -> Result<Plan, ServiceError> {
        self.roll_over(trust).await?;
        retry(|| async {
            let now = self.clock.now();
            let mut transaction = self.store.begin(trust).await?;
            let done = work(&mut transaction, trust, asked, now).await;
            transaction.announce_on_commit(trust);
            finish(transaction, done).await
        })
        .await
    }
}

impl PlanQuery {
    /// What is listed on a day.
    fn filter(&self, today: NaiveDate) -> Result<PlanFilter, ServiceError> {
        if let (Some(from), Some(to)) = (self.review_from, self.review_to)
            && to < from
        {
            let message = "the last day is before the first: swap them";
            return Err(ServiceError::invalid("review_to", "PERIOD_REVERSED", message));
        }
        let by_review = self.overdue || self.review_from.is_some() || self.review_to.is_some();
        if by_review && self.closed == Some(true) {
            let message = "a plan that is closed has no review to come: leave out the state, or the days of the review";
            return Err(ServiceError::invalid("state", "NEVER_OVERDUE", message));
        }
        let yesterday = today.pred_opt().unwrap_or(today);
        let latest = self.overdue.then_some(yesterday);
        Ok(PlanFilter {
            today,
            closed: if by_review { Some(false) } else { self.closed },
            from: self.review_from,
            to: [self.review_to, latest].into_iter().flatten().min(),
            ..PlanFilter::default()
        })
    }
}

async fn existing(conn: &mut AsyncPgConnection, trust: TrustId, plan_id: Uuid) -> Result<Plan, ServiceError> {
    match plans::find(conn, trust, plan_id).await? {
        Some(plan) => Ok(plan),
        None => Err(not_found(conn, trust, Resource::Plan).await?),
    }
}

/// The first answer, once more, where the request was made before.
async fn answered(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Option<Request<'_>>,
) -> Result<Option<Plan>, ServiceError> {
    let Some(request) = request else {
        return Ok(None);
    };
    match earlier::<Answered>(conn, trust, request).await? {
        None => Ok(None),
        Some(first) => {
            let plan = existing(conn, trust, first.outcome.plan_id).await?;
            Ok(Some(plan.at_version(first.outcome.version)))
        }
    }
}

async fn keep_answer(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request: Option<Request<'_>>,
    plan: &Plan,
    now: DateTime<Utc>,
) -> Result<(), ServiceError> {
    if let Some(request) = request {
        let answer = Answered {
            plan_id: plan.plan_id,
            version: plan.version,
        };
        record(conn, trust, request, answer, now).await?;
    }
    Ok(())
}

/// For whom a plan is made: the pupil, locked, the episode, and the action that asks for it.
async fn made_for(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    asked: &PlanRequest,
) -> Result<(PupilId, i32, Option<Action>), ServiceError> {
    let pupil = match &asked.pupil {
        Some(key) => Some(locked_pupil(conn, trust, key).await?),
        None => None,
    };
    match (&asked.action, pupil) {
        (Some(name), pupil) => {
            let action = locked(conn, trust, name).await?;
            if pupil.is_some_and(|(pupil, _)| pupil != action.name.pupil) {
                let message = "the action is another pupil's: name one of this pupil's, or leave one of the two out";
                return Err(ServiceError::invalid("action", "OTHER_PUPIL", message));
            }
            Ok((action.name.pupil, action.name.episode, Some(action)))
        }
        (None, Some((pupil, row))) if row.episode > 0 => Ok((pupil, row.episode, None)),
        (None, Some(_)) => Err(ServiceError::Precondition {
            reason: "NO_EPISODE",
            message: "the pupil was never at a stage that requires anything: there is no episode for a plan".to_owned(),
        }),
        (None, None) => {
            let message = "name the pupil, or the action that asks for the plan";
            Err(ServiceError::invalid("pupil", "MISSING_PUPIL", message))
        }
    }
}

async fn create(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    asked: &PlanRequest,
    now: DateTime<Utc>,
) -> Result<Plan, ServiceError> {
    let (pupil, episode, action) = made_for(conn, trust, asked).await?;
    let request = Request::named(&asked.request);
    if let Some(first) = answered(conn, trust, request).await? {
        return Ok(first);
    }
    let content = first_cycle(asked.cycle.clone(), london_date(now)).map_err(|refused| refusal(refused, "cycle"))?;
    let plan = Plan {
        plan_id: Uuid::now_v7(),
        pupil,
        episode,
        provision: action.as_ref().map(|action| action.name.provision.clone()),
        started_on: content.starts_on,
        cycles: vec![Cycle {
            number: 1,
            content,
            recorded_by: asked.recorded_by.clone(),
            recorded_at: now,
            review: None,
        }],
        end: None,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    if let Some(action) = action {
        let change = PlanChange {
            plan_id: plan.plan_id,
            kind: PlanChangeKind::Created,
            cycle: 1,
            happened_on: plan.started_on,
        };
        record_work(conn, trust, action, &Entry::Plan(change), &asked.recorded_by, now).await?;
    }
    plans::insert(conn, trust, &plan).await?;
    keep_answer(conn, trust, request, &plan, now).await?;
    Ok(plan)
}

async fn work(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    asked: &PlanDeedRequest,
    now: DateTime<Utc>,
) -> Result<Plan, ServiceError> {
    let pupil = existing(conn, trust, asked.plan_id).await?.pupil;
    stages::lock(conn, trust, &[pupil.0]).await?;
    let plan = existing(conn, trust, asked.plan_id).await?;
    if plan.pupil != pupil {
        // It went to another pupil while this waited.
        return Err(StoreError::Conflict.into());
    }
    let request = Request::named(&asked.request);
    if let Some(first) = answered(conn, trust, request).await? {
        return Ok(first);
    }
    if asked.version != Some(plan.version) {
        return Err(ServiceError::StaleEtag(Resource::Plan));
    }
    let change = match &asked.deed {
        PlanDeed::Review(draft) => review(conn, trust, &plan, draft, &asked.recorded_by, now).await?,
        PlanDeed::Close {
            reason,
            comment,
            ended_on,
        } => {
            let ended_on = plan
                .ends_on(*ended_on, london_date(now))
                .map_err(|refused| refusal(refused, ""))?;
            let end = PlanEnd {
                reason: *reason,
                comment: comment.clone(),
                ended_on,
                recorded_by: asked.recorded_by.clone(),
                recorded_at: now,
            };
            plans::close(conn, trust, plan.plan_id, &end).await?;
            (PlanChangeKind::Closed, ended_on)
        }
    };
    if let Some(name) = plan.action() {
        let action = locked(conn, trust, &name).await?;
        let (kind, happened_on) = change;
        let entry = Entry::Plan(PlanChange {
            plan_id: plan.plan_id,
            kind,
            cycle: plan.current().map_or(0, |cycle| cycle.number),
            happened_on,
        });
        record_work(conn, trust, action, &entry, &asked.recorded_by, now).await?;
    }
    let plan = existing(conn, trust, asked.plan_id).await?;
    keep_answer(conn, trust, request, &plan, now).await?;
    Ok(plan)
}

/// Records the review of a plan's last cycle, and begins the next one or closes the plan.
async fn review(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    plan: &Plan,
    draft: &ReviewDraft,
    recorded_by: &Author,
    now: DateTime<Utc>,
) -> Result<(PlanChangeKind, NaiveDate), ServiceError> {
    let after = plan
        .reviewed(draft, london_date(now))
        .map_err(|refused| refusal(refused, "next_cycle"))?;
    let number = plan.current().map_or(0, |cycle| cycle.number);
    let review = PlanReview {
        found: draft.found.clone(),
        decision: draft.outcome.decision(),
        comment: draft.comment.clone(),
        attendees: draft.attendees.clone(),
        reviewed_on: after.reviewed_on,
        recorded_by: recorded_by.clone(),
        recorded_at: now,
    };
    plans::append_review(conn, trust, plan.plan_id, number, &review).await?;
    match (after.next, &draft.outcome) {
        (Some(content), _) => {
            let next = Cycle {
                number: number + 1,
                content,
                recorded_by: recorded_by.clone(),
                recorded_at: now,
                review: None,
            };
            plans::begin_cycle(conn, trust, plan.plan_id, &next).await?;
        }
        (None, Outcome::Close(reason)) => {
            let end = PlanEnd {
                reason: *reason,
                comment: draft.comment.clone(),
                ended_on: after.reviewed_on,
                recorded_by: recorded_by.clone(),
                recorded_at: now,
            };
            plans::close(conn, trust, plan.plan_id, &end).await?;
        }
        (None, _) => return Err(StoreError::Corrupt("a review without what follows").into()),
    }
    Ok((PlanChangeKind::Reviewed, after.reviewed_on))
}

/// The refusal of a plan, by the field at fault: those of a cycle stand within `cycle`.
fn refusal(refused: PlanError, cycle: &str) -> ServiceError {
    let of_cycle = |field: &str| format!("{cycle}.{field}");
    let (field, reason) = match refused {
        PlanError::MissingAims => (of_cycle("aims"), "MISSING_AIMS"),
        PlanError::AimsOfContinued => (of_cycle("aims"), "UNEXPECTED_AIMS"),
        PlanError::StartOutOfRange => (of_cycle("starts_on"), "OUT_OF_RANGE"),
        PlanError::StartBeforeReview => (of_cycle("starts_on"), "BEFORE_REVIEW"),
        PlanError::ReviewNotAfterStart => (of_cycle("review_on"), "NOT_AFTER_START"),
        PlanError::NextReviewInPast => (of_cycle("review_on"), "IN_PAST"),
        PlanError::NextReviewTooFarAhead => (of_cycle("review_on"), "TOO_FAR_AHEAD"),
        PlanError::AimBeforeStart(place) => (of_cycle(&format!("aims[{place}].by_date")), "BEFORE_START"),
        PlanError::ReviewedBeforeStart => ("reviewed_on".to_owned(), "BEFORE_START"),
        PlanError::ReviewedInFuture => ("reviewed_on".to_owned(), "IN_FUTURE"),
        PlanError::EndedBeforeStart => ("ended_on".to_owned(), "BEFORE_START"),
        PlanError::EndedInFuture => ("ended_on".to_owned(), "IN_FUTURE"),
        PlanError::Closed => {
            return ServiceError::Precondition {
                reason: "PLAN_CLOSED",
                message: refused.to_string(),
            };
        }
        PlanError::TooManyCycles => {
            return ServiceError::Precondition {
                reason: "TOO_MANY_CYCLES",
                message: refused.to_string(),
            };
        }
    };
    ServiceError::invalid(field, reason, refused.to_string())
}
