//! What is recorded on actions, watched as it is committed, while others write and readers drop and resume.

use std::sync::OnceLock;
use std::time::Duration;

use futures::future::{join, join_all};
use graduated_response::service::Limits;
use pb::watch_actions_response::Event;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Streaming;

use super::*;
use crate::common::watching::watch_request;

/// For how long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn watch_from(world: &World, cursor: &str) -> pb::WatchActionsRequest {
    pb::WatchActionsRequest {
        trust_id: world.trust_id.clone(),
        cursor: cursor.into(),
        heartbeat_seconds: 1,
        ..pb::WatchActionsRequest::default()
    }
}

struct Watching(Streaming<pb::WatchActionsResponse>);

impl Watching {
    async fn event(&mut self) -> Event {
        let message = tokio::time::timeout(PATIENCE, self.0.message()).await;
        let message = message.expect("the stream is silent").unwrap();
        message.expect("the stream ended").event.unwrap()
    }

    /// The cursor of the heartbeat with which a stream begins.
    async fn opening(&mut self) -> String {
        match self.event().await {
            Event::Heartbeat(heartbeat) => heartbeat.cursor,
            other => panic!("{other:?} is no heartbeat"),
        }
    }

    /// The next so many entries; heartbeats are passed over.
    async fn entries(&mut self, count: usize) -> Vec<pb::RecordedActionEntry> {
        let mut found = Vec::new();
        while found.len() < count {
            match self.event().await {
                Event::EntryPage(page) => found.extend(page.entries),
                Event::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(found.len(), count);
        found
    }
}

async fn watch(world: &World, request: pb::WatchActionsRequest) -> Result<Watching, Status> {
    Ok(Watching(world.actions().watch_actions(request).await?.into_inner()))
}

async fn feed(world: &World) -> pb::GetActionFeedResponse {
    let request = pb::GetActionFeedRequest {
        trust_id: world.trust_id.clone(),
    };
    world.actions().get_action_feed(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn whatever_is_recorded_on_actions_is_told_once_in_its_order_with_what_the_log_says() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let mut watching = watch(&world, watch_from(&world, "")).await.unwrap();
    assert_eq!(watching.opening().await, feed(&world).await.oldest_cursor);
    let action = world.actions_of(&pupil).await[0].clone();
    let request_id = Uuid::new_v4().to_string();
    let noted = pb::AddActionEntryRequest {
        request_id,
        ..note(&world, &action.name, "Rang home.")
    };
    let begun = add(&world, noted.clone()).await.unwrap().action.unwrap();
    add(&world, noted).await.unwrap();
    let given = assign(&world, given_to(&world, &begun, "s1")).await.unwrap();
    let dated = reschedule(&world, due_on(&world, &given, "2026-01-09")).await.unwrap();
    // What is refused is not told.
    progress(&world, step(&world, &given, Completed, "")).await.unwrap_err();
    progress(&world, step(&world, &dated, Completed, "")).await.unwrap();
    let told = watching.entries(5).await;
    let entries: Vec<_> = told.iter().map(|told| told.entry.clone().unwrap()).collect();
    assert_eq!(entries, log(&world, &action.name).await);
    for told in &told {
        assert_eq!((&told.action, &told.pupil_id, told.episode), (&action.name, &pupil, 1));
        assert_eq!(
            (&told.provision_id, told.stage()),
            (&action.provision_id, action.stage())
        );
        assert_eq!(told.school_ids.len(), 1);
    }
    let ends = feed(&world).await;
    assert_eq!((ends.entries, &ends.newest_cursor), (5, &told[4].cursor));
    // Whoever resumes misses none and gets none twice.
    let mut again = watch(&world, watch_from(&world, &told[1].cursor)).await.unwrap();
    assert_eq!(again.opening().await, told[1].cursor);
    assert_eq!(again.entries(3).await, told[2..]);
}

#[tokio::test]
async fn of_one_school_the_entries_of_its_pupils_alone_are_told() {
    let world = World::on(TODAY).await;
    let mut names = Vec::new();
    for (urn, name) in [("100001", "a"), ("100002", "b")] {
        let pupil = world.pupil(name, &world.school(urn).await).await;
        attend_september(&world, &pupil, MISSED_OF_FORTY[0]).await;
        names.push(world.actions_of(&pupil).await[0].name.clone());
    }
    let of_school = pb::WatchActionsRequest {
        school: "100002".into(),
        ..watch_from(&world, "")
    };
    let mut watching = watch(&world, of_school).await.unwrap();
    watching.opening().await;
    for name in names.iter().chain(&names) {
        add(&world, note(&world, name, "Rang home.")).await.unwrap();
    }
    let told = watching.entries(3).await;
    assert!(told.iter().all(|told| told.action == names[1]));
}

#[tokio::test]
async fn a_watch_from_where_the_feed_does_not_go_on_is_refused() {
    let (world, _) = world_with_pupil_at(1).await;
    let refusal = async |change: &dyn Fn(&mut pb::WatchActionsRequest)| {
        let mut asked = watch_from(&world, "");
        change(&mut asked);
        refused(watch(&world, asked).await.map(|_| ()))
    };
    assert_eq!(
        refusal(&|asked| asked.cursor = "AAAA".into()).await,
        invalid("INVALID_CURSOR", "cursor")
    );
    let of_transitions = world.feed().await.newest_cursor;
    let found = refusal(&|asked| asked.cursor.clone_from(&of_transitions)).await;
    assert_eq!(found, invalid("INVALID_CURSOR", "cursor"));
    let mut other = World::over(world.url.clone(), TODAY, Limits::default()).await;
    let of_other = feed(&other).await.newest_cursor;
    let found = refusal(&|asked| asked.cursor.clone_from(&of_other)).await;
    assert_eq!(found, invalid("CURSOR_OF_OTHER_TRUST", "cursor"));
    let found = refusal(&|asked| asked.heartbeat_seconds = 301).await;
    assert_eq!(found, invalid("INVALID_HEARTBEAT", "heartbeat_seconds"));
    assert_eq!(refusal(&|asked| asked.school = "100009".into()).await.0, Code::NotFound);
    other.trust_id = Uuid::new_v4().to_string();
    let nobody = watch(&other, watch_from(&other, "")).await.map(|_| ());
    assert_eq!(refused(nobody).0, Code::NotFound);
    // And a cursor of one feed is no cursor of the other.
    let of_actions = feed(&world).await.newest_cursor;
    let asked = pb::WatchTransitionsRequest {
        cursor: of_actions,
        ..watch_request(&world.trust_id, pb::WatchStart::Cursor)
    };
    let found = refused(world.try_watch(asked).await.map(|_| ()));
    assert_eq!(found, invalid("INVALID_CURSOR", "cursor"));
}

/// What a subscriber got on one connection: the position after which it began, and what came.
struct Connection {
    after: usize,
    got: Vec<pb::RecordedActionEntry>,
}

/// Watches from the beginning to the last entry, drops at random, and resumes from the last cursor seen or from one before.
async fn subscribe(world: &World, seed: u64, last: &OnceLock<usize>) -> Vec<Connection> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut connections = Vec::new();
    // By position.
    let mut cursors = vec![feed(world).await.oldest_cursor];
    loop {
        let mut watching = watch(world, watch_from(world, &cursors[cursors.len() - 1]))
            .await
            .unwrap();
        assert_eq!(&watching.opening().await, cursors.last().unwrap());
        let (after, mut got) = (cursors.len() - 1, Vec::new());
        for _ in 0..random.random_range(1..12) {
            if last.get() == Some(&(cursors.len() - 1)) {
                connections.push(Connection { after, got });
                return connections;
            }
            match watching.event().await {
                Event::EntryPage(page) => {
                    cursors.extend(page.entries.iter().map(|found| found.cursor.clone()));
                    got.extend(page.entries);
                }
                // Nothing came: time to see whether that was all.
                Event::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
        connections.push(Connection { after, got });
        let forgotten = if random.random_bool(0.4) {
            random.random_range(1..6)
        } else {
            0
        };
        cursors.truncate(cursors.len().saturating_sub(forgotten).max(1));
    }
}

/// Works an action to its end and reopens it, so many times: three entries a round, and one more in the first.
async fn work(world: &World, name: &str, rounds: usize) {
    for _ in 0..rounds {
        let begun = add(world, note(world, name, "Rang home."))
            .await
            .unwrap()
            .action
            .unwrap();
        let done = progress(world, step(world, &begun, Completed, "")).await.unwrap();
        progress(world, step(world, &done, Open, "absent again")).await.unwrap();
    }
}

#[tokio::test]
async fn subscribers_who_drop_and_resume_at_random_see_every_entry_of_four_writers_in_order() {
    let world = World::on(TODAY).await;
    let mut other = World::over(world.url.clone(), TODAY, Limits::default()).await;
    other.trust_id.clone_from(&world.trust_id);
    let school = world.school("100001").await;
    let mut names = Vec::new();
    for name in ["a", "b", "c"] {
        let pupil = world.pupil(name, &school).await;
        attend_september(&world, &pupil, MISSED_OF_FORTY[0]).await;
        let actions = world.actions_of(&pupil).await;
        let open = actions.iter().filter(|action| action.state() == Open);
        names.extend(
            open.take(if name == "a" { 2 } else { 1 })
                .map(|action| action.name.clone()),
        );
    }
    assert_eq!(names.len(), 4);
    let last = OnceLock::new();
    let writing = async {
        let writers = names.iter().enumerate().map(|(place, name)| {
            let world = if place % 2 == 0 { &world } else { &other };
            work(world, name, 12)
        });
        join_all(writers).await;
        last.set(usize::try_from(feed(&world).await.entries).unwrap()).unwrap();
    };
    // One of the three watches the other replica.
    let subscribers = [(&world, 1), (&other, 2), (&world, 3)];
    let reading = join_all(subscribers.map(|(world, seed)| subscribe(world, seed, &last)));
    let ((), seen) = join(writing, reading).await;

    let count = usize::try_from(feed(&world).await.entries).unwrap();
    // A round begins the action, notes, completes and reopens it.
    assert_eq!(count, 4 * 12 * 4);
    let mut watching = watch(&world, watch_from(&world, "")).await.unwrap();
    watching.opening().await;
    let all = watching.entries(count).await;
    for name in &names {
        let told: Vec<_> = all
            .iter()
            .filter(|told| told.action == *name)
            .map(|told| told.entry.clone().unwrap())
            .collect();
        assert_eq!(told, log(&world, name).await, "all of each log, in its order");
    }
    for connections in seen {
        assert!(connections.len() > 3, "dropped and resumed");
        let mut reached = 0;
        for Connection { after, got } in connections {
            assert!(after <= reached, "a gap before {after}: {reached} were seen");
            assert_eq!(
                got,
                all[after..after + got.len()],
                "in order, without a gap and once a connection"
            );
            reached = after + got.len();
        }
        assert_eq!(reached, all.len());
    }
}

#[tokio::test]
async fn a_stream_ends_in_good_order_when_the_service_stops() {
    let (world, _) = world_with_pupil_at(1).await;
    let mut watching = watch(&world, watch_from(&world, "")).await.unwrap();
    let opening = watching.opening().await;
    world.service.action_feed.stop();
    match watching.event().await {
        Event::Ended(ended) => assert_eq!(ended.cursor, opening),
        other => panic!("{other:?}"),
    }
    assert!(watching.0.message().await.unwrap().is_none());
}
