//! Cursors from which the feed does not go on, and requests that make no sense.

use graduated_response::proto as pb;
use graduated_response::service::Limits;
use graduated_response::store::feeds::Place;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::common::watching::{Watching, watch_request};
use crate::common::{World, refused};

fn reason(answer: Result<Watching, Status>) -> (Code, String) {
    let (code, reason, _) = refused(answer.map(|_| ()));
    (code, reason)
}

#[tokio::test]
async fn a_cursor_that_was_changed_or_is_of_another_trust_is_refused() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 1).await;
    world.move_pupils(&pupils, true).await;
    let cursor = world.feed().await.newest_cursor;
    let changed = format!("{}{}", if cursor.starts_with('A') { 'B' } else { 'A' }, &cursor[1..]);
    for wrong in ["", "1", &cursor[..20], &changed] {
        let found = refused(world.try_watch_after(wrong).await.map(|_| ()));
        let expected = (
            Code::InvalidArgument,
            "INVALID_CURSOR".to_owned(),
            vec!["cursor".to_owned()],
        );
        assert_eq!(found, expected, "{wrong}");
    }
    let request = pb::WatchTransitionsRequest {
        cursor,
        ..watch_request(&world.new_trust("Elsewhere").await, pb::WatchStart::Cursor)
    };
    let found = refused(world.try_watch(request).await.map(|_| ()));
    let expected = (
        Code::InvalidArgument,
        "CURSOR_OF_OTHER_TRUST".to_owned(),
        vec!["cursor".to_owned()],
    );
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_request_that_does_not_say_from_where_or_says_it_twice_is_refused() {
    let world = World::on("2025-09-22").await;
    let cursor = world.feed().await.newest_cursor;
    let from = |start| watch_request(&world.trust_id, start);
    let wrong = [
        (from(pb::WatchStart::Unspecified), "MISSING_START", "start"),
        (
            pb::WatchTransitionsRequest {
                cursor,
                ..from(pb::WatchStart::Snapshot)
            },
            "UNEXPECTED_CURSOR",
            "cursor",
        ),
        (
            pb::WatchTransitionsRequest {
                heartbeat_seconds: 301,
                ..from(pb::WatchStart::Snapshot)
            },
            "INVALID_HEARTBEAT",
            "heartbeat_seconds",
        ),
        (
            pb::WatchTransitionsRequest {
                heartbeat_seconds: -1,
                ..from(pb::WatchStart::Beginning)
            },
            "INVALID_HEARTBEAT",
            "heartbeat_seconds",
        ),
    ];
    for (request, reason, field) in wrong {
        let found = refused(world.try_watch(request).await.map(|_| ()));
        assert_eq!(
            found,
            (Code::InvalidArgument, reason.to_owned(), vec![field.to_owned()])
        );
    }
    let nowhere = uuid::Uuid::new_v4().to_string();
    for start in [pb::WatchStart::Snapshot, pb::WatchStart::Beginning] {
        assert_eq!(
            reason(world.try_watch(watch_request(&nowhere, start)).await).0,
            Code::NotFound
        );
    }
    let feed = pb::GetTransitionFeedRequest { trust_id: nowhere };
    assert_eq!(
        refused(world.stages().get_transition_feed(feed).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn a_cursor_that_is_too_old_names_the_oldest_that_is_not_and_nothing_begins_anew_by_itself() {
    let limits = Limits {
        feed_retention_days: 30,
        ..Limits::default()
    };
    let world = World::with_limits("2025-09-22", limits).await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 3).await;
    let start = world.feed().await;
    assert_eq!(
        (start.oldest_cursor, start.transitions),
        (start.newest_cursor.clone(), 0)
    );
    assert_eq!(start.retention_days, 30);
    world.move_pupils(&pupils, true).await;
    let old = world.every_transition().await;
    world.turn_to("2025-10-23");
    world.move_pupils(&pupils[..2], false).await;
    let feed = world.feed().await;
    let last_too_old = &old[2].cursor;
    assert_eq!(&feed.oldest_cursor, last_too_old, "what follows it is young enough");
    assert_eq!(feed.transitions, 5);

    for too_old in [&start.newest_cursor, &old[0].cursor, &old[1].cursor] {
        let status = world.try_watch_after(too_old).await.map(|_| ()).unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, "CURSOR_TOO_OLD");
        assert_eq!(&info.metadata["oldest_cursor"], last_too_old);
        assert!(status.message().contains("snapshot"), "{}", status.message());
    }
    let young = &world.every_transition().await[3..];
    assert_eq!(world.watch_after(last_too_old).await.transitions(2).await, young);
    let mut beginning = world.watch(pb::WatchStart::Beginning).await;
    assert_eq!(&beginning.opening().await, last_too_old);
    assert_eq!(beginning.transitions(2).await, young);
    let (stages, _) = world.watch(pb::WatchStart::Snapshot).await.snapshot().await;
    assert_eq!(stages.len(), 3, "a snapshot has everybody, however long ago they moved");

    // Where nothing follows, nothing is too old.
    world.turn_to("2026-02-02");
    let feed = world.feed().await;
    assert_eq!(feed.oldest_cursor, feed.newest_cursor);
    assert_eq!(
        world.watch_after(&feed.newest_cursor).await.opening().await,
        feed.newest_cursor
    );
}

#[tokio::test]
async fn a_cursor_that_a_restored_database_does_not_have_is_refused_also_once_the_feed_has_grown_past_it() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 3).await;
    world.move_pupils(&pupils, true).await;
    let all = world.every_transition().await;
    let ahead = world.cursor_of(Place {
        position: 4,
        recorded_at: world.clock.now(),
    });
    assert_eq!(
        reason(world.try_watch_after(&ahead).await),
        (Code::OutOfRange, "CURSOR_AHEAD".to_owned())
    );
    let restore = "DELETE FROM transitions WHERE position > 1; UPDATE feeds SET position = 1 WHERE position > 0";
    world.sql().await.batch_execute(restore).await.unwrap();
    let expected = (Code::OutOfRange, "CURSOR_AHEAD".to_owned());
    assert_eq!(reason(world.try_watch_after(&all[2].cursor).await), expected);
    world.move_pupils(&pupils, false).await;
    let status = world.try_watch_after(&all[2].cursor).await.map(|_| ()).unwrap_err();
    let info = status.get_details_error_info().unwrap();
    assert_eq!(
        (status.code(), info.reason),
        expected,
        "another transition stands there now"
    );
    assert_eq!(info.metadata["newest_cursor"], world.feed().await.newest_cursor);
    assert_eq!(world.watch_after(&all[0].cursor).await.transitions(3).await.len(), 3);
}

#[tokio::test]
async fn one_watcher_too_many_is_told_to_come_back_and_can_once_another_has_gone() {
    let limits = Limits {
        watchers_max: 2,
        ..Limits::default()
    };
    let world = World::with_limits("2025-09-22", limits).await;
    let _first = world.watch(pb::WatchStart::Beginning).await;
    let second = world.watch(pb::WatchStart::Snapshot).await;
    let request = watch_request(&world.trust_id, pb::WatchStart::Beginning);
    let status = world.try_watch(request.clone()).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_error_info().unwrap().reason, "TOO_MANY_WATCHERS");
    assert!(status.get_details_retry_info().is_some());
    drop(second);
    // It has gone when the service hears of it.
    for _ in 0..1_000 {
        if let Ok(mut third) = world.try_watch(request.clone()).await {
            third.opening().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a watcher that has gone still counts");
}
