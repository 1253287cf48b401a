//! Attendance before and after work on actions, as the contract asks for it and gives it.

use prost::Message as _;

use crate::domain::outcomes::WEEKS_MAX;
use crate::domain::tally::Tally;
use crate::grpc::convert::{self, optional_date, optional_school_key, to_date, to_tally, trust_id};
use crate::grpc::page_token;
use crate::proto as pb;
use crate::service::actions::outcomes::{
    Figures, GroupKey, Grouping, Outcome, OutcomeGroup, OutcomeQuery, OutcomeSummary,
};
use crate::service::error::FieldViolation;
use crate::service::{Service, ServiceError};
use crate::store::actions::outcomes::Milestone;

/// The weeks before and after where the request does not say.
const WEEKS: u32 = 6;

/// The most provisions that a request may name.
const PROVISIONS_MAX: usize = 100;

/// `SummarizeActionOutcomes`.
pub(super) async fn summarize(
    service: &Service,
    request: pb::SummarizeActionOutcomesRequest,
) -> Result<pb::SummarizeActionOutcomesResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let query = OutcomeQuery {
        school: optional_school_key("school", &request.school)?,
        provisions: provisions(&request.provision_ids)?,
        milestone: milestone(request.milestone)?,
        weeks: weeks(request.weeks)?,
        from: optional_date("from_date", request.from_date.as_ref())?,
        to: optional_date("to_date", request.to_date.as_ref())?,
    };
    let grouping = match pb::OutcomeGrouping::try_from(request.grouping) {
        Ok(pb::OutcomeGrouping::Unspecified | pb::OutcomeGrouping::Provision) => Grouping::Provision,
        Ok(pb::OutcomeGrouping::School) => Grouping::School,
        Err(_) => {
            let message = "give a grouping of the contract: by provision, or by school";
            return Err(FieldViolation::new("grouping", "UNKNOWN_GROUPING", message).into());
        }
    };
    let suppress = request.suppress_small_numbers;
    let summary = service
        .summarize_action_outcomes(trust, &query, grouping, suppress)
        .await?;
    Ok(to_summary(summary, query.weeks))
}

/// `ListActionOutcomes`.
pub(super) async fn list(
    service: &Service,
    request: pb::ListActionOutcomesRequest,
) -> Result<pb::ListActionOutcomesResponse, ServiceError> {
    const LIST: &str = "action_outcomes";
    let trust = trust_id(&request.trust_id)?;
    let query = OutcomeQuery {
        school: optional_school_key("school", &request.school)?,
        provisions: provisions(&request.provision_ids)?,
        milestone: milestone(request.milestone)?,
        weeks: weeks(request.weeks)?,
        from: optional_date("from_date", request.from_date.as_ref())?,
        to: optional_date("to_date", request.to_date.as_ref())?,
    };
    let selects = pb::ListActionOutcomesRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let selects = selects.encode_to_vec();
    let page = page_token::page(LIST, &selects, request.page_size, &request.page_token, &service.limits)?;
    let listed = service.list_action_outcomes(trust, &query, page).await?;
    Ok(pb::ListActionOutcomesResponse {
        outcomes: listed.rows.into_iter().map(to_outcome).collect(),
        next_page_token: page_token::encode(LIST, &selects, listed.next.as_ref()),
    })
}

fn provisions(given: &[String]) -> Result<Vec<String>, FieldViolation> {
    if given.len() > PROVISIONS_MAX {
        let message = format!("{} provisions are over the limit of {PROVISIONS_MAX}", given.len());
        return Err(FieldViolation::new("provision_ids", "TOO_MANY", message));
    }
    Ok(given.to_vec())
}

fn milestone(number: i32) -> Result<Milestone, FieldViolation> {
    match pb::ActionMilestone::try_from(number) {
        Ok(pb::ActionMilestone::Unspecified | pb::ActionMilestone::Begun) => Ok(Milestone::Begun),
        Ok(pb::ActionMilestone::Completed) => Ok(Milestone::Completed),
        Err(_) => {
            let message = "give a milestone of the contract: begun, or completed";
            Err(FieldViolation::new("milestone", "UNKNOWN_MILESTONE", message))
        }
    }
}

fn weeks(number: i32) -> Result<u32, FieldViolation> {
    match u32::try_from(number) {
        Ok(0) => Ok(WEEKS),
        Ok(weeks) if weeks <= WEEKS_MAX => Ok(weeks),
        _ => {
            let message = format!("give 1 to {WEEKS_MAX} weeks, or 0 for {WEEKS}");
            Err(FieldViolation::new("weeks", "INVALID_WEEKS", message))
        }
    }
}

fn to_count(value: Option<u64>) -> pb::Count {
    pb::Count {
        value: convert::count(value.unwrap_or(0)),
        suppressed: value.is_none(),
    }
}

fn to_summary(summary: OutcomeSummary, weeks: u32) -> pb::SummarizeActionOutcomesResponse {
    pb::SummarizeActionOutcomesResponse {
        from_date: Some(to_date(summary.from)),
        to_date: Some(to_date(summary.to)),
        weeks: convert::count(weeks),
        groups: summary.groups.into_iter().map(to_group).collect(),
        small_number_limit: convert::count(summary.small_number_limit.unwrap_or(0)),
    }
}

fn to_group(group: OutcomeGroup) -> pb::OutcomeGroup {
    let mut told = pb::OutcomeGroup {
        with_action: Some(to_figures(group.with_action)),
        without_action: Some(to_figures(group.without_action)),
        pupils_too_recent: Some(to_count(group.too_recent)),
        pupils_without_sessions: Some(to_count(group.without_sessions)),
        ..pb::OutcomeGroup::default()
    };
    match group.key {
        GroupKey::Provision(provision, title, stage) => {
            told.provision_id = provision;
            told.title = title;
            told.stage = convert::to_stage(stage).into();
        }
        GroupKey::School(school) => {
            told.school_id = school.school_id.to_string();
            told.urn = school.urn;
            told.school_name = school.name;
        }
    }
    told
}

fn to_figures(figures: Option<Figures>) -> pb::OutcomeFigures {
    let Some(figures) = figures else {
        return pb::OutcomeFigures {
            pupils: Some(to_count(None)),
            ..pb::OutcomeFigures::default()
        };
    };
    let spread = figures.spread;
    let percent = |tally: Tally| tally.attendance_percent();
    pb::OutcomeFigures {
        pupils: Some(to_count(Some(figures.pupils))),
        before: Some(to_tally(figures.before)),
        after: Some(to_tally(figures.after)),
        before_percent: percent(figures.before),
        after_percent: percent(figures.after),
        lower_quartile_points: spread.map(|spread| spread.lower_quartile.text()).unwrap_or_default(),
        median_points: spread.map(|spread| spread.median.text()).unwrap_or_default(),
        upper_quartile_points: spread.map(|spread| spread.upper_quartile.text()).unwrap_or_default(),
    }
}

fn to_outcome(outcome: Outcome) -> pb::ActionOutcome {
    pb::ActionOutcome {
        action_name: outcome.reached.name.to_string(),
        pupil_id: outcome.reached.name.pupil.to_string(),
        day: Some(to_date(outcome.reached.day)),
        before: Some(to_tally(outcome.before)),
        after: Some(to_tally(outcome.after)),
        before_percent: outcome.before.attendance_percent(),
        after_percent: outcome.after.attendance_percent(),
        points: outcome.points().map(|points| points.text()).unwrap_or_default(),
        weeks_over: outcome.over,
        provision_id: outcome.reached.name.provision,
    }
}
