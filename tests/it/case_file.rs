//! Case files: everything on record of one pupil, of one moment.

use std::time::Duration;

use graduated_response::domain::identifiers::{PupilId, PupilKey, TrustId};
use graduated_response::proto as pb;
use graduated_response::service::case_file::{CaseFileItem, CaseFilePart};
use graduated_response::service::{Limits, ServiceError};
use pb::case_file_item::Item;
use pb::stream_case_file_response::Part;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::common::world::{at, by_id, by_name, pb_date, person, pupil_input, refused};
use crate::common::{World, day};

const TODAY: &str = "2025-11-28";

/// A case file as it was streamed.
struct Streamed {
    header: pb::CaseFileHeader,
    items: Vec<Item>,
    end: pb::CaseFileEnd,
}

impl Streamed {
    /// The items of one kind, in their order.
    fn of<T>(&self, kind: impl Fn(&Item) -> Option<&T>) -> Vec<&T> {
        self.items.iter().filter_map(kind).collect()
    }
}

/// An item as the one that it is.
macro_rules! of_kind {
    ($streamed:expr, $kind:ident) => {
        $streamed.of(|item| match item {
            Item::$kind(found) => Some(found),
            _ => None,
        })
    };
}

async fn stream(world: &World, trust_id: &str, pupil: pb::PupilKey) -> Result<Streamed, Status> {
    let request = pb::StreamCaseFileRequest {
        trust_id: trust_id.into(),
        pupil: Some(pupil),
    };
    let mut client = pb::case_file_service_client::CaseFileServiceClient::new(world.channel.clone());
    let mut parts = client.stream_case_file(request).await?.into_inner();
    let first = parts.message().await?.unwrap().part.unwrap();
    let Part::Header(header) = first else {
        panic!("{first:?} is no header");
    };
    let mut items = Vec::new();
    while let Some(message) = parts.message().await? {
        match message.part.unwrap() {
            Part::Header(_) => panic!("two headers"),
            Part::Items(piece) => {
                assert!((1..=100).contains(&piece.items.len()));
                items.extend(piece.items.into_iter().map(|item| item.item.unwrap()));
            }
            Part::End(end) => {
                assert_eq!(parts.message().await?, None, "the end is the last message");
                return Ok(Streamed { header, items, end });
            }
        }
    }
    panic!("the stream ended without its end");
}

async fn file_of(world: &World, pupil: &str) -> Streamed {
    stream(world, &world.trust_id, by_id(pupil)).await.unwrap()
}

/// Where a kind stands in the order of the file.
fn place(item: &Item) -> usize {
    match item {
        Item::Policy(_) => 0,
        Item::Register(_) => 1,
        Item::Revision(_) => 2,
        Item::Transition(_) => 3,
        Item::Hold(_) => 4,
        Item::Action(_) => 5,
        Item::ActionEntry(_) => 6,
        Item::Plan(_) => 7,
        Item::ThresholdEvent(_) => 8,
        Item::PenaltyNotice(_) => 9,
        Item::PupilChange(_) => 10,
    }
}

/// A world with a pupil who has something of every kind on record.
async fn world_with_much_on_record() -> (World, String) {
    let world = World::on(TODAY).await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let pupil = world.pupil("a", &schools[0]).await;
    // Ten unauthorised sessions within ten school weeks prove a threshold for pupils of compulsory school age.
    let born = pb::PupilInput {
        date_of_birth: Some(pb_date("2014-03-01")),
        ..pupil_input("a", &[])
    };
    assert_eq!(world.upsert(vec![born]).await.unwrap().rejections, []);
    world.record_days(&pupil, "2025-09-01", "2025-09-26", "/", "\\").await;
    world.record_days(&pupil, "2025-09-29", "2025-10-10", "O", "O").await;
    world.record_days(&pupil, "2025-10-13", "2025-11-28", "/", "\\").await;
    world.record(&pupil, at("2025-10-06", "AM"), "I I").await;
    world.hold(&pupil, pb::Stage::Four, "2025-12-12").await;
    let notice = pb::RecordPenaltyNoticeRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        issued_on: Some(pb_date(TODAY)),
        reference: "LA-1".into(),
        recorded_by: Some(person()),
        ..pb::RecordPenaltyNoticeRequest::default()
    };
    world.stages().record_penalty_notice(notice).await.unwrap();
    for (place, action) in world.actions_of(&pupil).await.iter().take(3).enumerate() {
        for text in ["Rang home.", "Rang again."].iter().take(place + 1) {
            let request = pb::AddActionEntryRequest {
                trust_id: world.trust_id.clone(),
                name: action.name.clone(),
                entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note {
                    text: (*text).into(),
                })),
                recorded_by: Some(person()),
                ..pb::AddActionEntryRequest::default()
            };
            world.actions().add_action_entry(request).await.unwrap();
        }
    }
    let cycle = |review_on: &str| pb::PlanCycleInput {
        aims: vec![pb::PlanAim {
            aim: "mornings without a fight".into(),
            ..pb::PlanAim::default()
        }],
        review_on: Some(pb_date(review_on)),
        ..pb::PlanCycleInput::default()
    };
    let made = pb::CreatePlanRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        cycle: Some(cycle("2025-12-12")),
        recorded_by: Some(person()),
        ..pb::CreatePlanRequest::default()
    };
    let plan = world
        .actions()
        .create_plan(made)
        .await
        .unwrap()
        .into_inner()
        .plan
        .unwrap();
    let review = pb::ReviewPlanRequest {
        trust_id: world.trust_id.clone(),
        plan_id: plan.plan_id,
        etag: plan.etag,
        found: "three mornings of five".into(),
        decision: pb::PlanDecision::Change.into(),
        next_cycle: Some(cycle("2026-01-16")),
        recorded_by: Some(person()),
        ..pb::ReviewPlanRequest::default()
    };
    world.actions().review_plan(review).await.unwrap();
    world
        .try_transfer(&pupil, ("100001", "100002"), ("", "2025-12-01"), false)
        .await
        .unwrap();
    (world, pupil)
}

#[tokio::test]
async fn a_case_file_holds_everything_that_the_lists_do_in_a_stated_order_and_counts_it() {
    let (world, pupil) = world_with_much_on_record().await;
    let file = file_of(&world, &pupil).await;
    let places: Vec<usize> = file.items.iter().map(place).collect();
    assert!(places.is_sorted(), "{places:?}");
    for kind in 0..11 {
        assert!(places.contains(&kind), "nothing of the kind {kind}");
    }

    // The header is what the services say of the pupil.
    assert_eq!(file.header.as_of, Some(pb_date(TODAY)));
    assert_eq!(file.header.trust_name, "Harbour Learning Trust");
    assert_eq!(file.header.pupil, Some(world.find(by_id(&pupil)).await.unwrap()));
    assert_eq!(file.header.stage, Some(world.stage(&pupil).await));
    let schools: Vec<&str> = file.header.schools.iter().map(|school| school.name.as_str()).collect();
    assert_eq!(schools, ["School 100001", "School 100002"]);

    // Each list is in it as it is.
    let registers: Vec<pb::Register> = of_kind!(file, Register).into_iter().cloned().collect();
    assert_eq!(registers, world.registers_of(&pupil).await);
    let request = pb::ListRevisionsRequest {
        pupil: Some(by_id(&pupil)),
        ..pb::ListRevisionsRequest::default()
    };
    let revisions: Vec<pb::Revision> = of_kind!(file, Revision).into_iter().cloned().collect();
    assert_eq!(revisions, world.revisions(request).await.unwrap().revisions);
    let request = pb::ListTransitionsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        ..pb::ListTransitionsRequest::default()
    };
    let mut listed = world
        .stages()
        .list_transitions(request)
        .await
        .unwrap()
        .into_inner()
        .transitions;
    listed.reverse();
    let transitions: Vec<pb::Transition> = of_kind!(file, Transition).into_iter().cloned().collect();
    assert_eq!(transitions, listed);
    let request = pb::ListHoldsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        ..pb::ListHoldsRequest::default()
    };
    let listed = world.admin().list_holds(request).await.unwrap().into_inner().holds;
    assert_eq!(of_kind!(file, Hold).into_iter().cloned().collect::<Vec<_>>(), listed);
    let actions: Vec<pb::Action> = of_kind!(file, Action).into_iter().cloned().collect();
    assert_eq!(actions, world.actions_of(&pupil).await);
    let request = pb::ListThresholdEventsRequest {
        trust_id: world.trust_id.clone(),
        include_cleared: true,
        ..pb::ListThresholdEventsRequest::default()
    };
    let listed = world
        .stages()
        .list_threshold_events(request)
        .await
        .unwrap()
        .into_inner()
        .events;
    assert_eq!(
        of_kind!(file, ThresholdEvent).into_iter().cloned().collect::<Vec<_>>(),
        listed
    );
    let plans = of_kind!(file, Plan);
    let request = pb::GetPlanRequest {
        trust_id: world.trust_id.clone(),
        plan_id: plans[0].plan_id.clone(),
    };
    let found = world.actions().get_plan(request).await.unwrap().into_inner().plan;
    assert_eq!(plans.into_iter().cloned().map(Some).collect::<Vec<_>>(), [found]);
    let notices = of_kind!(file, PenaltyNotice);
    assert_eq!((notices.len(), notices[0].reference.as_str()), (1, "LA-1"));
    let changes = of_kind!(file, PupilChange);
    assert_eq!(
        (changes.len(), changes[0].kind()),
        (1, pb::PupilChangeKind::Transferred)
    );
    assert_eq!(
        of_kind!(file, Policy)
            .iter()
            .map(|policy| policy.version)
            .collect::<Vec<_>>(),
        [1]
    );

    // The logs are those of the actions, in the order of their entries.
    let logged: Vec<(&str, i32)> = of_kind!(file, ActionEntry)
        .into_iter()
        .map(|logged| (logged.action_name.as_str(), logged.entry.as_ref().unwrap().ordinal))
        .collect();
    let of_actions = actions.iter().take(3).zip([2, 3, 3]).flat_map(|(action, entries)| {
        // Work begins an action, which is an entry of its own.
        (1..=entries).map(move |ordinal| (action.name.as_str(), ordinal))
    });
    assert_eq!(logged, of_actions.collect::<Vec<_>>());

    let count = |kind: usize| places.iter().filter(|place| **place == kind).count() as i64;
    let expected = pb::CaseFileEnd {
        items: file.items.len() as i64,
        policies: count(0),
        registers: count(1),
        revisions: count(2),
        transitions: count(3),
        holds: count(4),
        actions: count(5),
        action_entries: count(6),
        plans: count(7),
        threshold_events: count(8),
        penalty_notices: count(9),
        pupil_changes: count(10),
    };
    assert_eq!(file.end, expected);
}

#[tokio::test]
async fn a_long_record_comes_in_pieces_and_none_is_missing() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    // 128 sessions corrected twice, and one log of 90 entries.
    for code in ["/", "O", "I"] {
        world.record_days(&pupil, "2025-09-01", "2025-11-26", code, code).await;
    }
    let action = world.actions_of(&pupil).await.remove(0);
    for number in 0..90 {
        let text = format!("Note {number}");
        let request = pb::AddActionEntryRequest {
            trust_id: world.trust_id.clone(),
            name: action.name.clone(),
            entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note { text })),
            recorded_by: Some(person()),
            ..pb::AddActionEntryRequest::default()
        };
        world.actions().add_action_entry(request).await.unwrap();
    }
    let file = file_of(&world, &pupil).await;
    let days = day("2025-09-01")
        .iter_days()
        .take_while(|date| *date <= day("2025-11-26"));
    let school_days = days
        .filter(|date| chrono::Datelike::weekday(date).number_from_monday() <= 5)
        .count();
    let revisions = of_kind!(file, Revision);
    assert_eq!(revisions.len(), 2 * 2 * school_days);
    let mut ids: Vec<&str> = revisions.iter().map(|revision| revision.revision_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), revisions.len(), "each once");
    let ordinals: Vec<i32> = of_kind!(file, ActionEntry)
        .iter()
        .map(|logged| logged.entry.as_ref().unwrap().ordinal)
        .collect();
    assert_eq!(ordinals, (1..=91).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_merged_into_a_pupil_is_in_the_file_of_that_pupil() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let (old, new) = (world.pupil("a", &school).await, world.pupil_enrolled("b", &[]).await);
    world.record_days(&old, "2025-09-01", "2025-10-10", "O", "O").await;
    world.record(&old, at("2025-09-01", "AM"), "I I").await;
    let before = file_of(&world, &old).await;
    let (moves, revisions) = (before.end.transitions, before.end.revisions);
    assert!(moves > 0 && revisions == 2);
    world.merge(&new, &old).await;
    // By either name it is one file.
    for name in [by_id(&new), by_id(&old), by_name("a")] {
        let file = stream(&world, &world.trust_id, name).await.unwrap();
        assert_eq!(file.header.pupil.as_ref().unwrap().pupil_id, new);
        let of_old = of_kind!(file, Transition)
            .iter()
            .filter(|row| row.pupil_id == old)
            .count();
        // The merge took the record that is no more to U.
        assert_eq!((of_old as i64, file.end.revisions), (moves + 1, revisions));
        let merged = of_kind!(file, PupilChange);
        assert!(merged.iter().any(|change| change.kind() == pb::PupilChangeKind::Merged));
    }
}

#[tokio::test]
async fn nobody_elses_pupil_has_a_file() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    let other = world.new_trust("Another Trust").await;
    let code =
        async |trust: &str, key: pb::PupilKey| stream(&world, trust, key).await.err().map(|status| status.code());
    assert_eq!(code(&other, by_id(&pupil)).await, Some(Code::NotFound));
    assert_eq!(code(&other, by_name("a")).await, Some(Code::NotFound));
    assert_eq!(
        code(&world.trust_id, by_id(&Uuid::new_v4().to_string())).await,
        Some(Code::NotFound)
    );
    assert_eq!(
        code(&Uuid::new_v4().to_string(), by_id(&pupil)).await,
        Some(Code::NotFound)
    );
    assert_eq!(code("no-uuid", by_id(&pupil)).await, Some(Code::InvalidArgument));
    let nameless = stream(&world, &world.trust_id, pb::PupilKey::default())
        .await
        .map(|file| file.end);
    let (code, _, fields) = refused(nameless);
    assert_eq!((code, fields), (Code::InvalidArgument, vec!["pupil".to_owned()]));
}

fn ids(world: &World, pupil: &str) -> (TrustId, PupilKey) {
    (
        TrustId(world.trust_id.parse().unwrap()),
        PupilKey::Id(PupilId(pupil.parse().unwrap())),
    )
}

#[tokio::test]
async fn what_is_written_while_a_file_is_read_is_not_in_it() {
    let (world, pupil) = world_with_much_on_record().await;
    let (trust, key) = ids(&world, &pupil);
    let before = file_of(&world, &pupil).await.end;
    // The header and one more piece are read ahead; all that comes after the registers is still to be read.
    let mut parts = world.service.case_file(trust, &key).await.unwrap();
    world.record(&pupil, at("2025-10-07", "AM"), "I I").await;
    world.hold(&pupil, pb::Stage::Five, "2025-12-12").await;
    let (mut revisions, mut holds, mut ended) = (0, 0, None);
    while let Some(part) = parts.recv().await {
        match part.unwrap() {
            CaseFilePart::Header(header) => assert_eq!(header.stage.judgement.stage.code(), "4"),
            CaseFilePart::Items(items) => {
                revisions += items
                    .iter()
                    .filter(|item| matches!(item, CaseFileItem::Revision(_)))
                    .count();
                holds += items
                    .iter()
                    .filter(|item| matches!(item, CaseFileItem::Hold(_)))
                    .count();
            }
            CaseFilePart::End(counts) => ended = Some(counts),
        }
    }
    assert_eq!((revisions as i64, holds as i64), (before.revisions, before.holds));
    assert_eq!(ended.unwrap().items as i64, before.items);
    let after = file_of(&world, &pupil).await.end;
    assert_eq!((after.revisions, after.holds), (before.revisions + 2, before.holds + 1));
}

#[tokio::test]
async fn a_reader_who_takes_nothing_is_let_go_and_holds_nobody_up() {
    let limits = Limits {
        case_files_max: 1,
        case_file_waits: Duration::from_millis(50),
        ..Limits::default()
    };
    let world = World::with_limits(TODAY, limits).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-10-10", "O", "O").await;
    let (trust, key) = ids(&world, &pupil);
    let mut idle = world.service.case_file(trust, &key).await.unwrap();
    // Another has a turn once the idle one is given up.
    file_of(&world, &pupil).await;
    let mut last = None;
    while let Some(part) = idle.recv().await {
        last = Some(part);
    }
    let last = last.unwrap();
    assert!(
        matches!(
            last,
            Err(ServiceError::Exhausted {
                reason: "READER_TOO_SLOW",
                ..
            })
        ),
        "{last:?}"
    );
}

#[tokio::test]
async fn too_many_files_at_once_are_refused() {
    let limits = Limits {
        case_files_max: 1,
        ..Limits::default()
    };
    let world = World::with_limits(TODAY, limits).await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-10-10", "O", "O").await;
    let (trust, key) = ids(&world, &pupil);
    let idle = world.service.case_file(trust, &key).await.unwrap();
    let (code, reason, _) = refused(
        stream(&world, &world.trust_id, by_id(&pupil))
            .await
            .map(|file| file.end),
    );
    assert_eq!(
        (code, reason.as_str()),
        (Code::ResourceExhausted, "TOO_MANY_CASE_FILES")
    );
    drop(idle);
    file_of(&world, &pupil).await;
}
