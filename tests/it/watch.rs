//! Watching transitions: nothing lost, nothing out of order, and clear errors where it cannot go on.

mod concurrent;
mod cursors;

use graduated_response::proto as pb;
use graduated_response::proto::watch_transitions_response::Event;
use graduated_response::service::Limits;
use tonic::Code;

use crate::common::watching::watch_request;
use crate::common::world::enrolment;
use crate::common::{World, refused};

const ONE: pb::Stage = pb::Stage::One;
const UNIVERSAL: pb::Stage = pb::Stage::Universal;

#[tokio::test]
async fn a_stream_from_a_snapshot_tells_every_stage_and_then_what_moves_pupils_from_there() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 3).await;
    world.move_pupils(&pupils[..2], true).await;

    let mut watching = world.watch(pb::WatchStart::Snapshot).await;
    let (stages, complete) = watching.snapshot().await;
    assert_eq!(complete.pupils, 3);
    assert_eq!(complete.cursor, world.feed().await.newest_cursor);
    let mut sorted = pupils.clone();
    sorted.sort_unstable();
    assert_eq!(
        stages.iter().map(|found| &found.pupil_id).collect::<Vec<_>>(),
        sorted.iter().collect::<Vec<_>>()
    );
    for found in &stages {
        let stage = world.stage(&found.pupil_id).await;
        assert_eq!(
            (found.stage(), found.since, found.episode, found.changed_at),
            (stage.stage(), stage.since, stage.episode, stage.changed_at)
        );
        assert_eq!(found.school_ids, std::slice::from_ref(&school));
    }

    world.move_pupils(&pupils[1..2], false).await;
    let told = watching.transitions(1).await;
    assert_eq!((told[0].from_stage(), told[0].to_stage()), (ONE, UNIVERSAL));
    assert_eq!(told[0].pupil_id, pupils[1]);
    assert_eq!(told, world.every_transition().await[2..], "as it is listed");
}

#[tokio::test]
async fn a_stream_from_the_beginning_tells_all_and_one_from_a_cursor_what_follows_it() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 5).await;
    world.move_pupils(&pupils, true).await;
    let all = world.every_transition().await;

    let mut watching = world.watch(pb::WatchStart::Beginning).await;
    let opening = watching.opening().await;
    assert_eq!(opening, world.feed().await.oldest_cursor);
    assert_eq!(watching.transitions(5).await, all);

    let mut resumed = world.watch_after(&all[2].cursor).await;
    assert_eq!(resumed.opening().await, all[2].cursor);
    assert_eq!(resumed.transitions(2).await, all[3..]);
    world.move_pupils(&pupils[..1], false).await;
    assert_eq!(resumed.page().await, watching.page().await);
    let mut again = world.watch_after(&opening).await;
    assert_eq!(
        again.transitions(6).await[..5],
        all,
        "from the cursor with which the stream began"
    );
}

#[tokio::test]
async fn who_watches_a_school_hears_of_its_pupils_alone() {
    let world = World::on("2025-09-22").await;
    let (oak, elm) = (world.school("100001").await, world.school("100002").await);
    let oaks = world.movable_pupils("oak", &oak, 2).await;
    let elms = world.movable_pupils("elm", &elm, 2).await;
    let request = pb::WatchTransitionsRequest {
        school: "100002".into(),
        ..watch_request(&world.trust_id, pb::WatchStart::Snapshot)
    };
    let mut watching = world.try_watch(request.clone()).await.unwrap();
    let (stages, complete) = watching.snapshot().await;
    let mut expected = elms.clone();
    expected.sort_unstable();
    assert_eq!(
        stages.into_iter().map(|found| found.pupil_id).collect::<Vec<_>>(),
        expected
    );
    assert_eq!(complete.pupils, 2);

    world.move_pupils(&oaks, true).await;
    world.move_pupils(&elms, true).await;
    let told = watching.transitions(2).await;
    assert!(
        told.iter()
            .all(|found| elms.contains(&found.pupil_id) && found.school_ids == [elm.clone()])
    );

    // From the day on which a pupil comes, the school hears of that pupil.
    let sole = pb::EnrolmentKind::Sole;
    world
        .pupil_enrolled(
            "oak0",
            &[
                enrolment(&oak, sole, "2025-09-01", "2025-09-22"),
                enrolment(&elm, sole, "2025-09-23", ""),
            ],
        )
        .await;
    world.turn_to("2025-10-03");
    world.record_days(&oaks[0], "2025-09-23", "2025-10-03", "O", "O").await;
    let told = watching.transitions(1).await;
    assert_eq!(
        (told[0].pupil_id.as_str(), told[0].from_stage()),
        (oaks[0].as_str(), ONE)
    );

    let absent = pb::WatchTransitionsRequest {
        school: "100009".into(),
        ..request
    };
    assert_eq!(refused(world.try_watch(absent).await.map(|_| ())).0, Code::NotFound);
}

#[tokio::test]
async fn a_heartbeat_says_how_far_the_stream_has_come_and_nothing_at_or_below_it_still_comes() {
    let world = World::on("2025-09-22").await;
    let (oak, elm) = (world.school("100001").await, world.school("100002").await);
    let oaks = world.movable_pupils("oak", &oak, 2).await;
    let elms = world.movable_pupils("elm", &elm, 2).await;
    let request = pb::WatchTransitionsRequest {
        school: elm,
        heartbeat_seconds: 1,
        ..watch_request(&world.trust_id, pb::WatchStart::Beginning)
    };
    let mut watching = world.try_watch(request).await.unwrap();
    let mut at_least = world.position(&watching.opening().await);
    for round in 0..3 {
        // What the stream does not tell moves it on all the same.
        world.move_pupils(&oaks, round % 2 == 0).await;
        let newest = world.feed().await.newest_cursor;
        let before = graduated_response::grpc::convert::to_timestamp(world.clock.now());
        let beat = loop {
            let beat = watching.heartbeat().await;
            assert!(world.position(&beat.cursor) >= at_least);
            at_least = world.position(&beat.cursor);
            if beat.cursor == newest
                && beat
                    .complete_before
                    .is_some_and(|until| until.seconds >= before.seconds)
            {
                break beat;
            }
        };
        world.move_pupils(&elms, round % 2 == 0).await;
        let told = watching.transitions(2).await;
        assert!(told.iter().all(|found| world.position(&found.cursor) > at_least));
        let mut resumed = world.watch_after(&beat.cursor).await;
        assert_eq!(
            resumed.transitions(2).await,
            told,
            "what came after the heartbeat, and nothing of before"
        );
        at_least = world.position(&told[1].cursor);
    }
}

#[tokio::test]
async fn a_service_that_stops_ends_streams_with_a_cursor_from_which_another_goes_on() {
    let world = World::on("2025-09-22").await;
    let url = world.url.clone();
    let trust_id = world.trust_id.clone();
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 4).await;
    let mut watching = world.watch(pb::WatchStart::Beginning).await;
    watching.opening().await;
    world.move_pupils(&pupils[..2], true).await;
    let told = watching.transitions(2).await;
    drop(world);
    let Some(Event::Ended(ended)) = watching.try_event().await.unwrap() else {
        panic!("the last message says that the service stops");
    };
    assert_eq!(ended.cursor, told[1].cursor);
    assert_eq!(watching.try_event().await.unwrap(), None, "and the stream ends well");

    let mut other = World::over(url, "2025-09-22", Limits::default()).await;
    other.trust_id = trust_id;
    let mut resumed = other.watch_after(&ended.cursor).await;
    other.move_pupils(&pupils[2..], true).await;
    let told = resumed.transitions(2).await;
    assert_eq!(told, other.every_transition().await[2..]);
}

#[tokio::test]
async fn a_snapshot_that_is_cut_by_the_end_of_the_service_has_nothing_to_resume_from() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    fill_with_pupils(&world, &school, 5_000).await;
    let request = watch_request(&world.trust_id, pb::WatchStart::Snapshot);
    let mut watching = world.watch_narrowly(request).await;
    assert!(matches!(watching.event().await, Event::SnapshotPage(_)));
    drop(world);
    loop {
        match watching.event().await {
            Event::SnapshotPage(_) => {}
            Event::Ended(ended) => {
                assert_eq!(ended.cursor, "");
                break;
            }
            other => panic!("{other:?} after the service was told to stop"),
        }
    }
    assert_eq!(watching.try_event().await.unwrap(), None);
}

/// Pupils without marks, put there as an operator's bulk load would leave them, with identifiers before any other.
async fn fill_with_pupils(world: &World, school: &str, count: usize) {
    let trust = &world.trust_id;
    let pupil = "lpad(to_hex(n), 32, '0')::uuid";
    let fill = format!(
        "INSERT INTO pupils
             SELECT '{trust}', {pupil}, '', '', NULL, NULL, 1, now(), now()
             FROM generate_series(1, {count}) AS n;
         INSERT INTO enrolments
             SELECT '{trust}', md5('enrolment' || n)::uuid, {pupil}, '{school}', 1, '2025-09-01', NULL
             FROM generate_series(1, {count}) AS n;
         INSERT INTO pupil_stages (trust_id, pupil_id, stage, academic_year, policy_version)
             SELECT '{trust}', {pupil}, 0, 2025, 1 FROM generate_series(1, {count}) AS n"
    );
    world.sql().await.batch_execute(&fill).await.unwrap();
}

#[tokio::test]
async fn what_is_written_while_a_snapshot_is_read_is_told_after_it_and_not_within() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    fill_with_pupils(&world, &school, 5_000).await;
    let pupils = world.movable_pupils("p", &school, 50).await;
    world.move_pupils(&pupils[..25], true).await;
    let request = watch_request(&world.trust_id, pb::WatchStart::Snapshot);
    let mut watching = world.watch_narrowly(request).await;
    let Event::SnapshotPage(first) = watching.event().await else {
        panic!("a snapshot begins with a page");
    };
    // Those who move come last, and the stream is not read as far: it holds two pages at the most.
    world.move_pupils(&pupils[..25], false).await;
    world.move_pupils(&pupils[25..], true).await;
    let (rest, complete) = watching.snapshot().await;
    assert_eq!(complete.pupils, 5_050);
    let stages: std::collections::HashMap<String, i32> = first
        .stages
        .into_iter()
        .chain(rest)
        .map(|found| (found.pupil_id, found.stage))
        .collect();
    for (place, pupil) in pupils.iter().enumerate() {
        let expected = if place < 25 { ONE } else { UNIVERSAL };
        assert_eq!(stages[pupil], i32::from(expected), "as before the moves");
    }
    let told = watching.transitions(50).await;
    assert_eq!(told, world.every_transition().await[25..]);
    assert!(told.iter().all(|found| stages[&found.pupil_id] == found.from_stage));
}
