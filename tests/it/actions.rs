//! What a pupil's stages require of people: the trust's table as a test, and the life of an action.

mod coverage;
mod life;
mod lists;
mod logs;
mod model;
mod people;
mod plans;
mod racing;
mod raised;
mod reviews;
mod universal;
mod watch;
mod work;

use graduated_response::proto as pb;
use pb::ActionState::{Cancelled, Completed, InProgress, NotApplicable, Open, ToBeConsidered, Unspecified};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::common::world::{by_id, pb_date, person, school_days};
use super::common::{World, at, refused};

/// The last of the days on which the tests look.
const TODAY: &str = "2025-11-28";

/// How many of forty sessions are missed by a pupil at each stage, 1 to 5.
const MISSED_OF_FORTY: [usize; 5] = [2, 3, 4, 9, 21];

/// A world with a pupil who has no marks.
async fn world_with_pupil() -> (World, String) {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    (world, pupil)
}

/// A pupil's first twenty school days, of whose forty sessions the first were missed.
async fn attend_september(world: &World, pupil: &str, missed: usize) {
    let days = school_days("2025-09-01", "2025-09-26", "/", "\\");
    let mut left = missed;
    let marks = days.split(' ').map(|mark| {
        if mark == "-" || left == 0 {
            return mark;
        }
        left -= 1;
        "O"
    });
    let run: Vec<&str> = marks.collect();
    world.record(pupil, at("2025-09-01", "AM"), &run.join(" ")).await;
}

/// A world with a pupil at a stage.
async fn world_with_pupil_at(stage: usize) -> (World, String) {
    let (world, pupil) = world_with_pupil().await;
    attend_september(&world, &pupil, MISSED_OF_FORTY[stage - 1]).await;
    (world, pupil)
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap().to_lowercase()
}

fn names(actions: &[pb::Action]) -> Vec<&str> {
    actions.iter().map(|action| action.name.as_str()).collect()
}

fn list_of(world: &World, pupil: &str) -> pb::ListPupilActionsRequest {
    pb::ListPupilActionsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        ..pb::ListPupilActionsRequest::default()
    }
}

async fn list(world: &World, request: pb::ListPupilActionsRequest) -> Result<pb::ListPupilActionsResponse, Status> {
    Ok(world.actions().list_pupil_actions(request).await?.into_inner())
}

async fn all_episodes(world: &World, pupil: &str) -> Vec<pb::Action> {
    let request = pb::ListPupilActionsRequest {
        all_episodes: true,
        page_size: 1000,
        ..list_of(world, pupil)
    };
    list(world, request).await.unwrap().actions
}

async fn get(world: &World, trust_id: &str, name: &str) -> Result<pb::Action, Status> {
    let request = pb::GetActionRequest {
        trust_id: trust_id.into(),
        name: name.into(),
    };
    Ok(world.actions().get_action(request).await?.into_inner().action.unwrap())
}

fn step(world: &World, action: &pb::Action, to: pb::ActionState, reason: &str) -> pb::ProgressActionRequest {
    pb::ProgressActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        to_state: to.into(),
        reason: reason.into(),
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn progress(world: &World, request: pb::ProgressActionRequest) -> Result<pb::Action, Status> {
    let answer = world.actions().progress_action(request).await?.into_inner();
    Ok(answer.action.unwrap())
}

fn note(world: &World, name: &str, text: &str) -> pb::AddActionEntryRequest {
    pb::AddActionEntryRequest {
        trust_id: world.trust_id.clone(),
        name: name.into(),
        entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note {
            text: text.into(),
        })),
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn add(world: &World, request: pb::AddActionEntryRequest) -> Result<pb::AddActionEntryResponse, Status> {
    Ok(world.actions().add_action_entry(request).await?.into_inner())
}

fn record(world: &World, name: &str, entry: pb::add_action_entry_request::Entry) -> pb::AddActionEntryRequest {
    pb::AddActionEntryRequest {
        entry: Some(entry),
        ..note(world, name, "")
    }
}

fn given_to(world: &World, action: &pb::Action, person_id: &str) -> pb::AssignActionRequest {
    pb::AssignActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        assignee: Some(pb::Assignee {
            person_id: person_id.into(),
            name: format!("Staff {person_id}"),
        }),
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn assign(world: &World, request: pb::AssignActionRequest) -> Result<pb::Action, Status> {
    let answer = world.actions().assign_action(request).await?.into_inner();
    Ok(answer.action.unwrap())
}

fn due_on(world: &World, action: &pb::Action, date: &str) -> pb::RescheduleActionRequest {
    pb::RescheduleActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        due_on: Some(pb_date(date)),
        reason: "half term".into(),
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn reschedule(world: &World, request: pb::RescheduleActionRequest) -> Result<pb::Action, Status> {
    let answer = world.actions().reschedule_action(request).await?.into_inner();
    Ok(answer.action.unwrap())
}

fn invalid(reason: &str, field: &str) -> (Code, String, Vec<String>) {
    (Code::InvalidArgument, reason.into(), vec![field.into()])
}

fn log_of(world: &World, name: &str) -> pb::ListActionEntriesRequest {
    pb::ListActionEntriesRequest {
        trust_id: world.trust_id.clone(),
        name: name.into(),
        ..pb::ListActionEntriesRequest::default()
    }
}

async fn log(world: &World, name: &str) -> Vec<pb::ActionEntry> {
    let answer = world.actions().list_action_entries(log_of(world, name)).await.unwrap();
    answer.into_inner().entries
}
