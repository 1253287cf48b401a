//! Transitions, listed and watched: the part of `StageService` that is about its feed.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use prost::Message as _;
use tonic::Status;

use super::convert::{
    optional_date, optional_school_key, pupil_key, timestamp, to_date, to_stage, to_tally, to_timestamp, trust_id,
};
use super::page_token;
use super::sessions::academic_year;
use crate::domain::identifiers::TrustId;
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::feed::{cursor_text, parse_cursor};
use crate::service::transitions::{TransitionQuery, TransitionWatch, Transitions, WatchEvent, WatchStart};
use crate::service::{Service, ServiceError};
use crate::store::feeds::Place;
use crate::store::stages::Cause;
use crate::store::transitions::{RecordedTransition, StageAtPlace};

/// What a stream of transitions is.
pub type TransitionStream = Pin<Box<dyn Stream<Item = Result<pb::WatchTransitionsResponse, Status>> + Send>>;

/// The most seconds between heartbeats.
const HEARTBEAT_SECONDS_MAX: i32 = 300;

/// The seconds between heartbeats where the request does not say.
const HEARTBEAT_SECONDS: u64 = 15;

/// `ListTransitions`.
pub async fn list(
    service: &Service,
    request: pb::ListTransitionsRequest,
) -> Result<pb::ListTransitionsResponse, ServiceError> {
    let filters = pb::ListTransitionsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    }
    .encode_to_vec();
    let trust = trust_id(&request.trust_id)?;
    let query = query(&request)?;
    let (size, token) = (request.page_size, &request.page_token);
    let page = page_token::page("ListTransitions", &filters, size, token, &service.limits)?;
    let page = service.list_transitions(trust, &query, page).await?;
    Ok(pb::ListTransitionsResponse {
        next_page_token: page_token::encode("ListTransitions", &filters, page.next.as_ref()),
        transitions: page.rows.iter().map(|row| to_transition(trust, row)).collect(),
    })
}

fn query(request: &pb::ListTransitionsRequest) -> Result<TransitionQuery, FieldViolation> {
    let time = |field: &str, time: &Option<prost_types::Timestamp>| {
        time.as_ref().map(|time| timestamp(field, time)).transpose()
    };
    let query = TransitionQuery {
        pupil: request
            .pupil
            .as_ref()
            .map(|pupil| pupil_key("pupil", Some(pupil)))
            .transpose()?,
        school: optional_school_key("school", &request.school)?,
        effective_from: optional_date("effective_from", request.effective_from.as_ref())?,
        effective_to: optional_date("effective_to", request.effective_to.as_ref())?,
        recorded_from: time("recorded_from", &request.recorded_from)?,
        recorded_before: time("recorded_before", &request.recorded_before)?,
        year: match request.academic_year {
            0 => None,
            year => Some(academic_year(year)?),
        },
    };
    if let (Some(from), Some(to)) = (query.effective_from, query.effective_to)
        && to < from
    {
        let message = "give a last day that is not before the first";
        return Err(FieldViolation::new("effective_to", "INVALID_DATE_RANGE", message));
    }
    if let (Some(from), Some(before)) = (query.recorded_from, query.recorded_before)
        && before <= from
    {
        let message = "give an end that is after the beginning";
        return Err(FieldViolation::new("recorded_before", "INVALID_TIME_RANGE", message));
    }
    Ok(query)
}

/// `GetTransitionFeed`.
pub async fn feed(
    service: &Service,
    request: &pb::GetTransitionFeedRequest,
) -> Result<pb::GetTransitionFeedResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let bounds = service.transition_feed(trust).await?;
    Ok(pb::GetTransitionFeedResponse {
        newest_cursor: cursor(trust, bounds.newest),
        oldest_cursor: cursor(trust, bounds.oldest),
        retention_days: i32::try_from(service.feed.retention_days()).unwrap_or(i32::MAX),
        transitions: bounds.newest.position,
    })
}

/// `WatchTransitions`. The stream is pulled by what the connection takes, and holds one page at the most.
pub async fn watch(service: &Service, request: &pb::WatchTransitionsRequest) -> Result<TransitionStream, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let school = optional_school_key("school", &request.school)?;
    let start = start(trust, request)?;
    let heartbeat = heartbeat(request.heartbeat_seconds)?;
    let watch = service
        .watch_transitions(trust, school.as_ref(), start, heartbeat)
        .await?;
    let events = futures::stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(event)) => {
                let message = to_message(&watch, event);
                Some((Ok(message), Some(watch)))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error.into()), None)),
        }
    });
    Ok(Box::pin(events))
}

fn start(trust: TrustId, request: &pb::WatchTransitionsRequest) -> Result<WatchStart, FieldViolation> {
    let start = match request.start() {
        pb::WatchStart::Cursor => {
            let place = parse_cursor::<Transitions>("cursor", trust, &request.cursor)?;
            return Ok(WatchStart::After(place));
        }
        pb::WatchStart::Snapshot => WatchStart::Snapshot,
        pb::WatchStart::Beginning => WatchStart::Beginning,
        pb::WatchStart::Unspecified => {
            let message = "say from where: a snapshot, the beginning, or a cursor";
            return Err(FieldViolation::new("start", "MISSING_START", message));
        }
    };
    if !request.cursor.is_empty() {
        let message = "a cursor belongs to WATCH_START_CURSOR: give that start, or leave the cursor out";
        return Err(FieldViolation::new("cursor", "UNEXPECTED_CURSOR", message));
    }
    Ok(start)
}

/// After how long without another message a stream says that it lives.
pub(super) fn heartbeat(seconds: i32) -> Result<Duration, FieldViolation> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(Duration::from_secs(HEARTBEAT_SECONDS)),
        Ok(given) if seconds <= HEARTBEAT_SECONDS_MAX => Ok(Duration::from_secs(given)),
        _ => {
            let message = format!("give 1 to {HEARTBEAT_SECONDS_MAX}, or 0 for {HEARTBEAT_SECONDS}");
            Err(FieldViolation::new("heartbeat_seconds", "INVALID_HEARTBEAT", message))
        }
    }
}

fn cursor(trust: TrustId, place: Place) -> String {
    cursor_text::<Transitions>(trust, place)
}

fn to_message(watch: &TransitionWatch, event: WatchEvent) -> pb::WatchTransitionsResponse {
    use pb::watch_transitions_response::Event;
    let trust = watch.trust();
    // Nothing to resume from is an empty cursor.
    let here = || watch.place().map(|place| cursor(trust, place)).unwrap_or_default();
    let event = match event {
        WatchEvent::Stages(stages) => Event::SnapshotPage(pb::SnapshotPage {
            stages: stages.into_iter().map(to_snapshot_stage).collect(),
        }),
        WatchEvent::SnapshotComplete { pupils } => Event::SnapshotComplete(pb::SnapshotComplete {
            cursor: here(),
            pupils: i64::try_from(pupils).unwrap_or(i64::MAX),
        }),
        WatchEvent::Transitions(rows) => Event::TransitionPage(pb::TransitionPage {
            transitions: rows.iter().map(|row| to_transition(trust, row)).collect(),
        }),
        WatchEvent::Heartbeat { complete_before } => Event::Heartbeat(pb::WatchHeartbeat {
            cursor: here(),
            complete_before: complete_before.map(to_timestamp),
        }),
        WatchEvent::Stopped => Event::Ended(pb::WatchEnded { cursor: here() }),
    };
    pb::WatchTransitionsResponse { event: Some(event) }
}

fn to_snapshot_stage(found: StageAtPlace) -> pb::SnapshotStage {
    pb::SnapshotStage {
        pupil_id: found.pupil_id.to_string(),
        stage: to_stage(found.stage).into(),
        since: found.since.map(to_date),
        episode: found.episode,
        changed_at: found.changed_at.map(to_timestamp),
        school_ids: found.school_ids.iter().map(ToString::to_string).collect(),
    }
}

/// A transition as the contract gives it.
pub(super) fn to_transition(trust: TrustId, row: &RecordedTransition) -> pb::Transition {
    pb::Transition {
        cursor: cursor(trust, row.place),
        pupil_id: row.pupil_id.to_string(),
        from_stage: to_stage(row.from).into(),
        to_stage: to_stage(row.to).into(),
        effective_on: Some(to_date(row.effective_on)),
        recorded_at: Some(to_timestamp(row.place.recorded_at)),
        cause: to_cause(row.cause).into(),
        tally: Some(to_tally(row.tally)),
        attendance_percent: row.tally.attendance_percent(),
        policy_version: row.policy_version,
        academic_year: i32::from(row.academic_year),
        episode: row.episode,
        retracted_to: row.retracted_to.map_or(pb::Stage::Unspecified, to_stage).into(),
        hold_id: row.hold_id.map(|hold| hold.to_string()).unwrap_or_default(),
        request_id: row.request_id.map(|request| request.to_string()).unwrap_or_default(),
        school_ids: row.school_ids.iter().map(ToString::to_string).collect(),
    }
}

fn to_cause(cause: Cause) -> pb::TransitionCause {
    match cause {
        Cause::Marks => pb::TransitionCause::Marks,
        Cause::Correction => pb::TransitionCause::Correction,
        Cause::DayPassed => pb::TransitionCause::DayPassed,
        Cause::Policy => pb::TransitionCause::Policy,
        Cause::Hold => pb::TransitionCause::Hold,
        Cause::Enrolment => pb::TransitionCause::Enrolment,
    }
}
