//! Plans of support: the part of `ActionService` that is about them.

use chrono::NaiveDate;
use prost::Message as _;

use super::answers::{to_attendees, to_author};
use super::requests::{REASON, WORDS_MAX, attendees, author, named_action, request_of, required_etag};
use super::words::{choice, number_of};
use crate::domain::plan::{
    Aim, Cycle, CycleDraft, Decision, EndReason, Outcome, Plan, PlanEnd, PlanReview, ReviewDraft,
};
use crate::grpc::convert::{
    date, optional_date, optional_school_key, pupil_key, text, to_date, to_etag, to_timestamp, trust_id, uuid,
};
use crate::grpc::page_token;
use crate::proto as pb;
use crate::service::actions::plans::{PlanDeed, PlanDeedRequest, PlanQuery, PlanRequest};
use crate::service::error::FieldViolation;
use crate::service::{Service, ServiceError};

/// The length of an aim, and of what is to change.
const AIM_MAX: usize = 1000;
/// How many aims a cycle can have.
const AIMS_MAX: usize = 20;

/// `CreatePlan`.
pub(super) async fn create(
    service: &Service,
    request: pb::CreatePlanRequest,
) -> Result<pb::CreatePlanResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let plan = service.create_plan(trust, &plan_request(&request)?).await?;
    Ok(pb::CreatePlanResponse {
        plan: Some(to_plan(plan, service.clock.today())),
    })
}

/// `GetPlan`.
pub(super) async fn get(service: &Service, request: pb::GetPlanRequest) -> Result<pb::GetPlanResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let plan = service.get_plan(trust, uuid("plan_id", &request.plan_id)?).await?;
    Ok(pb::GetPlanResponse {
        plan: Some(to_plan(plan, service.clock.today())),
    })
}

/// `ListPlans`.
pub(super) async fn list(
    service: &Service,
    request: pb::ListPlansRequest,
) -> Result<pb::ListPlansResponse, ServiceError> {
    const LIST: &str = "plans";
    let trust = trust_id(&request.trust_id)?;
    let query = plan_query(&request)?;
    let selects = pb::ListPlansRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let selects = selects.encode_to_vec();
    let page = page_token::page(LIST, &selects, request.page_size, &request.page_token, &service.limits)?;
    let listed = service.list_plans(trust, &query, page).await?;
    let today = service.clock.today();
    Ok(pb::ListPlansResponse {
        plans: listed.rows.into_iter().map(|plan| to_plan(plan, today)).collect(),
        next_page_token: page_token::encode(LIST, &selects, listed.next.as_ref()),
    })
}

/// `ReviewPlan`.
pub(super) async fn review(
    service: &Service,
    request: pb::ReviewPlanRequest,
) -> Result<pb::ReviewPlanResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let plan = service.work_plan(trust, &review_request(&request)?).await?;
    Ok(pb::ReviewPlanResponse {
        plan: Some(to_plan(plan, service.clock.today())),
    })
}

/// `ClosePlan`.
pub(super) async fn close(
    service: &Service,
    request: pb::ClosePlanRequest,
) -> Result<pb::ClosePlanResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let plan = service.work_plan(trust, &close_request(&request)?).await?;
    Ok(pb::ClosePlanResponse {
        plan: Some(to_plan(plan, service.clock.today())),
    })
}

fn plan_request(request: &pb::CreatePlanRequest) -> Result<PlanRequest, FieldViolation> {
    let without_id = pb::CreatePlanRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let action = Some(request.action.as_str()).filter(|name| !name.is_empty());
    let pupil = request.pupil.as_ref();
    Ok(PlanRequest {
        pupil: pupil.map(|pupil| pupil_key("pupil", Some(pupil))).transpose()?,
        action: action.map(|name| named_action("action", name)).transpose()?,
        cycle: cycle_draft("cycle", request.cycle.as_ref())?,
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("CreatePlan", &request.request_id, &without_id)?,
    })
}

fn cycle_draft(field: &str, cycle: Option<&pb::PlanCycleInput>) -> Result<CycleDraft, FieldViolation> {
    let Some(cycle) = cycle else {
        let message = "give the cycle: what is aimed at, and when it is to be reviewed";
        return Err(FieldViolation::new(field, "MISSING_CYCLE", message));
    };
    let of = |name: &str| format!("{field}.{name}");
    if cycle.aims.len() > AIMS_MAX {
        let message = format!("give at most {AIMS_MAX}");
        return Err(FieldViolation::new(of("aims"), "TOO_MANY", message));
    }
    let aims = cycle.aims.iter().enumerate().map(|(place, aim)| {
        let of = |name: &str| format!("{field}.aims[{place}].{name}");
        Ok(Aim {
            aim: text(&of("aim"), &aim.aim, 1..=AIM_MAX)?,
            change: text(&of("change"), &aim.change, 0..=AIM_MAX)?,
            by: optional_date(&of("by_date"), aim.by_date.as_ref())?,
        })
    });
    Ok(CycleDraft {
        aims: aims.collect::<Result<_, FieldViolation>>()?,
        steps: text(&of("steps"), &cycle.steps, 0..=WORDS_MAX)?,
        agreed_by: attendees(&of("agreed_by"), &cycle.agreed_by)?,
        starts_on: optional_date(&of("starts_on"), cycle.starts_on.as_ref())?,
        review_on: date(&of("review_on"), cycle.review_on.as_ref())?,
    })
}

fn end_reason(field: &str, number: i32) -> Result<EndReason, FieldViolation> {
    choice(
        field,
        number,
        EndReason::ALL,
        "UNKNOWN_END_REASON",
        "a reason for the end",
    )
}

fn review_request(request: &pb::ReviewPlanRequest) -> Result<PlanDeedRequest, FieldViolation> {
    let without_id = pb::ReviewPlanRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let outcome = outcome(request)?;
    let needed = usize::from(matches!(outcome, Outcome::Close(EndReason::Other)));
    Ok(PlanDeedRequest {
        plan_id: uuid("plan_id", &request.plan_id)?,
        version: required_etag(&request.etag)?,
        deed: PlanDeed::Review(ReviewDraft {
            found: text("found", &request.found, 1..=WORDS_MAX)?,
            comment: text("comment", &request.comment, needed..=WORDS_MAX)?,
            attendees: attendees("attendees", &request.attendees)?,
            reviewed_on: optional_date("reviewed_on", request.reviewed_on.as_ref())?,
            outcome,
        }),
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("ReviewPlan", &request.request_id, &without_id)?,
    })
}

fn outcome(request: &pb::ReviewPlanRequest) -> Result<Outcome, FieldViolation> {
    let decision = choice(
        "decision",
        request.decision,
        Decision::ALL,
        "UNKNOWN_DECISION",
        "a decision",
    )?;
    if decision == Decision::Close {
        if request.next_cycle.is_some() {
            let message = "a plan that is closed has no next cycle: leave it out, or decide to continue or to change";
            return Err(FieldViolation::new("next_cycle", "UNEXPECTED_CYCLE", message));
        }
        return Ok(Outcome::Close(end_reason("end_reason", request.end_reason)?));
    }
    if request.end_reason != 0 {
        let message = "only a plan that is closed has a reason for its end: leave it out, or decide to close";
        return Err(FieldViolation::new("end_reason", "UNEXPECTED_END_REASON", message));
    }
    let next = cycle_draft("next_cycle", request.next_cycle.as_ref())?;
    Ok(match decision {
        Decision::Continue => Outcome::Continue(next),
        _ => Outcome::Change(next),
    })
}

fn close_request(request: &pb::ClosePlanRequest) -> Result<PlanDeedRequest, FieldViolation> {
    let without_id = pb::ClosePlanRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let reason = end_reason("reason", request.reason)?;
    let needed = usize::from(reason == EndReason::Other);
    Ok(PlanDeedRequest {
        plan_id: uuid("plan_id", &request.plan_id)?,
        version: required_etag(&request.etag)?,
        deed: PlanDeed::Close {
            reason,
            comment: text("comment", &request.comment, needed..=*REASON.end())?,
            ended_on: optional_date("ended_on", request.ended_on.as_ref())?,
        },
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("ClosePlan", &request.request_id, &without_id)?,
    })
}

fn plan_query(request: &pb::ListPlansRequest) -> Result<PlanQuery, FieldViolation> {
    let closed = match pb::PlanState::try_from(request.state) {
        Ok(pb::PlanState::Unspecified) => None,
        Ok(pb::PlanState::Open) => Some(false),
        Ok(pb::PlanState::Closed) => Some(true),
        Err(_) => {
            let message = "give a state of the contract: open or closed";
            return Err(FieldViolation::new("state", "UNKNOWN_PLAN_STATE", message));
        }
    };
    let pupil = request.pupil.as_ref();
    Ok(PlanQuery {
        school: optional_school_key("school", &request.school)?,
        pupil: pupil.map(|pupil| pupil_key("pupil", Some(pupil))).transpose()?,
        closed,
        review_from: optional_date("review_from", request.review_from.as_ref())?,
        review_to: optional_date("review_to", request.review_to.as_ref())?,
        overdue: request.review_overdue,
    })
}

pub(in crate::grpc) fn to_plan(plan: Plan, today: NaiveDate) -> pb::Plan {
    let next_review_on = plan.next_review_on();
    let state = match plan.end {
        None => pb::PlanState::Open,
        Some(_) => pb::PlanState::Closed,
    };
    pb::Plan {
        plan_id: plan.plan_id.to_string(),
        pupil_id: plan.pupil.to_string(),
        episode: plan.episode,
        action: plan.action().map(|name| name.to_string()).unwrap_or_default(),
        state: state.into(),
        started_on: Some(to_date(plan.started_on)),
        next_review_on: next_review_on.map(to_date),
        review_overdue: next_review_on.is_some_and(|next| next < today),
        cycles: plan.cycles.into_iter().map(to_cycle).collect(),
        end: plan.end.map(to_end),
        created_at: Some(to_timestamp(plan.created_at)),
        updated_at: Some(to_timestamp(plan.updated_at)),
        etag: to_etag(plan.version),
    }
}

fn to_cycle(cycle: Cycle) -> pb::PlanCycle {
    let aims = cycle.content.aims.into_iter().map(|aim| pb::PlanAim {
        aim: aim.aim,
        change: aim.change,
        by_date: aim.by.map(to_date),
    });
    pb::PlanCycle {
        number: cycle.number,
        aims: aims.collect(),
        steps: cycle.content.steps,
        agreed_by: to_attendees(cycle.content.agreed_by),
        starts_on: Some(to_date(cycle.content.starts_on)),
        review_on: Some(to_date(cycle.content.review_on)),
        recorded_by: Some(to_author(cycle.recorded_by)),
        recorded_at: Some(to_timestamp(cycle.recorded_at)),
        review: cycle.review.map(to_review),
    }
}

fn to_review(review: PlanReview) -> pb::PlanReview {
    pb::PlanReview {
        found: review.found,
        decision: number_of(review.decision, Decision::ALL),
        comment: review.comment,
        attendees: to_attendees(review.attendees),
        reviewed_on: Some(to_date(review.reviewed_on)),
        recorded_by: Some(to_author(review.recorded_by)),
        recorded_at: Some(to_timestamp(review.recorded_at)),
    }
}

fn to_end(end: PlanEnd) -> pb::PlanEnd {
    pb::PlanEnd {
        reason: number_of(end.reason, EndReason::ALL),
        comment: end.comment,
        ended_on: Some(to_date(end.ended_on)),
        recorded_by: Some(to_author(end.recorded_by)),
        recorded_at: Some(to_timestamp(end.recorded_at)),
    }
}
