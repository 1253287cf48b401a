//! What is recorded on actions, streamed: the part of `ActionService` that is about its feed.

use std::pin::Pin;

use futures::Stream;
use tonic::Status;

use super::answers::to_entry;
use crate::domain::identifiers::TrustId;
use crate::grpc::convert::{optional_school_key, to_stage, to_timestamp, trust_id};
use crate::grpc::transitions::heartbeat;
use crate::proto as pb;
use crate::service::actions::watch::{ActionEvent, ActionLog, ActionWatch};
use crate::service::feed::{cursor_text, parse_cursor};
use crate::service::{Service, ServiceError};
use crate::store::actions::feed::RecordedEntry;
use crate::store::feeds::Place;

/// What a stream of entries is.
pub type ActionStream = Pin<Box<dyn Stream<Item = Result<pb::WatchActionsResponse, Status>> + Send>>;

/// `GetActionFeed`.
pub(super) async fn feed(
    service: &Service,
    request: &pb::GetActionFeedRequest,
) -> Result<pb::GetActionFeedResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let bounds = service.action_feed_bounds(trust).await?;
    Ok(pb::GetActionFeedResponse {
        newest_cursor: cursor(trust, bounds.newest),
        oldest_cursor: cursor(trust, bounds.oldest),
        retention_days: i32::try_from(service.action_feed.retention_days()).unwrap_or(i32::MAX),
        entries: bounds.newest.position,
    })
}

/// `WatchActions`. The stream is pulled by what the connection takes, and holds one page at the most.
pub(super) async fn watch(service: &Service, request: &pb::WatchActionsRequest) -> Result<ActionStream, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let school = optional_school_key("school", &request.school)?;
    let after = match request.cursor.as_str() {
        "" => None,
        text => Some(parse_cursor::<ActionLog>("cursor", trust, text)?),
    };
    let heartbeat = heartbeat(request.heartbeat_seconds)?;
    let watch = service.watch_actions(trust, school.as_ref(), after, heartbeat).await?;
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

fn cursor(trust: TrustId, place: Place) -> String {
    cursor_text::<ActionLog>(trust, place)
}

fn to_message(watch: &ActionWatch, event: ActionEvent) -> pb::WatchActionsResponse {
    use pb::watch_actions_response::Event;
    let trust = watch.trust();
    let here = || cursor(trust, watch.place());
    let event = match event {
        ActionEvent::Entries(rows) => Event::EntryPage(pb::ActionEntryPage {
            entries: rows.iter().map(|row| to_recorded(trust, row)).collect(),
        }),
        ActionEvent::Heartbeat { complete_before } => Event::Heartbeat(pb::WatchHeartbeat {
            cursor: here(),
            complete_before: complete_before.map(to_timestamp),
        }),
        ActionEvent::Stopped => Event::Ended(pb::WatchEnded { cursor: here() }),
    };
    pb::WatchActionsResponse { event: Some(event) }
}

fn to_recorded(trust: TrustId, row: &RecordedEntry) -> pb::RecordedActionEntry {
    pb::RecordedActionEntry {
        cursor: cursor(trust, row.place),
        action: row.name.to_string(),
        pupil_id: row.name.pupil.to_string(),
        episode: row.name.episode,
        provision_id: row.name.provision.clone(),
        stage: to_stage(row.stage).into(),
        entry: Some(to_entry(row.entry.clone())),
        school_ids: row.school_ids.iter().map(ToString::to_string).collect(),
    }
}
