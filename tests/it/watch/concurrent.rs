//! Watching while others write, and readers who drop, resume and are slow.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use graduated_response::proto as pb;
use graduated_response::proto::watch_transitions_response::Event;
use graduated_response::service::Limits;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::fill_with_pupils;
use crate::common::World;
use crate::common::watching::watch_request;

const TODAY: &str = "2025-09-22";

/// A second replica of the service on a world's database.
async fn replica(world: &World) -> World {
    let mut other = World::over(world.url.clone(), TODAY, Limits::default()).await;
    other.trust_id = world.trust_id.clone();
    other
}

/// Four groups of pupils who move to and fro, each group with a writer of its own, two writers at each replica.
async fn write(replicas: [&World; 2], groups: &[Vec<String>], moves: usize) {
    let writers = groups.iter().enumerate().map(|(writer, group)| async move {
        for round in 0..moves {
            replicas[writer % 2].move_pupils(group, round % 2 == 0).await;
        }
    });
    join_all(writers).await;
}

async fn groups(world: &World, pupils: usize) -> Vec<Vec<String>> {
    let school = world.school("100001").await;
    let mut groups = Vec::new();
    for name in ["a", "b", "c", "d"] {
        groups.push(world.movable_pupils(name, &school, pupils).await);
    }
    groups
}

/// What a subscriber got on one connection: the position after which it began, and what came.
struct Connection {
    after: usize,
    got: Vec<pb::Transition>,
}

/// Watches from the beginning to the last transition, drops at random, and resumes from the last cursor seen or, as one who
/// had not kept that yet, from one before.
async fn subscribe(world: &World, seed: u64, last: &OnceLock<usize>) -> Vec<Connection> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut connections = Vec::new();
    // By position.
    let mut cursors = vec![world.feed().await.oldest_cursor];
    loop {
        let request = pb::WatchTransitionsRequest {
            cursor: cursors[cursors.len() - 1].clone(),
            heartbeat_seconds: 1,
            ..watch_request(&world.trust_id, pb::WatchStart::Cursor)
        };
        let mut watching = world.try_watch(request).await.unwrap();
        assert_eq!(&watching.opening().await, cursors.last().unwrap());
        let (after, mut got) = (cursors.len() - 1, Vec::new());
        for _ in 0..random.random_range(1..12) {
            if last.get() == Some(&(cursors.len() - 1)) {
                connections.push(Connection { after, got });
                return connections;
            }
            match watching.event().await {
                Event::TransitionPage(page) => {
                    cursors.extend(page.transitions.iter().map(|found| found.cursor.clone()));
                    got.extend(page.transitions);
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

#[tokio::test]
async fn subscribers_who_drop_and_resume_at_random_see_every_transition_of_four_writers_in_order() {
    let world = World::on(TODAY).await;
    let other = replica(&world).await;
    let groups = groups(&world, 3).await;
    let last = OnceLock::new();
    let writing = async {
        write([&world, &other], &groups, 20).await;
        last.set(usize::try_from(world.feed().await.transitions).unwrap())
            .unwrap();
    };
    // One of the three watches the other replica.
    let subscribers = [(&world, 1), (&other, 2), (&world, 3)];
    let reading = join_all(subscribers.map(|(world, seed)| subscribe(world, seed, &last)));
    let ((), seen) = join(writing, reading).await;

    let all = world.every_transition().await;
    assert_eq!(all.len(), 4 * 3 * 20);
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
async fn a_snapshot_agrees_with_its_cursor_whatever_is_written_meanwhile() {
    let world = World::on(TODAY).await;
    let other = replica(&world).await;
    let groups = groups(&world, 5).await;
    fill_with_pupils(&world, &world.school("100002").await, 1_200).await;
    let (done, taken) = (OnceLock::new(), AtomicUsize::new(0));
    let writing = async {
        // To and fro, six times at the least and for as long as it takes to read four snapshots meanwhile.
        let mut times = 0;
        while times < 6 || taken.load(Ordering::Relaxed) < 4 {
            write([&world, &other], &groups, 2).await;
            times += 1;
        }
        done.set(()).unwrap();
    };
    let reading = async {
        let mut snapshots = Vec::new();
        while done.get().is_none() {
            for world in [&world, &other] {
                snapshots.push(world.watch(pb::WatchStart::Snapshot).await.snapshot().await);
                taken.fetch_add(1, Ordering::Relaxed);
            }
        }
        snapshots
    };
    let ((), snapshots) = join(writing, reading).await;
    let all = world.every_transition().await;
    assert!(snapshots.len() > 2);
    let mut places: Vec<i64> = Vec::new();
    for (stages, complete) in snapshots {
        let position = world.position(&complete.cursor);
        places.push(position);
        let mut expected: HashMap<&str, pb::Stage> = HashMap::new();
        for moved in &all[..usize::try_from(position).unwrap()] {
            expected.insert(&moved.pupil_id, moved.to_stage());
        }
        assert_eq!((stages.len(), complete.pupils), (1_220, 1_220));
        for found in &stages {
            let expected = expected.get(found.pupil_id.as_str()).copied();
            assert_eq!(found.stage(), expected.unwrap_or(pb::Stage::Universal), "at {position}");
        }
    }
    places.dedup();
    assert!(places.len() > 2, "taken at different places: {places:?}");
}

/// Appends moves of one pupil as another process would: so many commits of so many.
async fn append(world: &World, pupil: &str, commits: usize, rows: usize) {
    let sql = world.sql().await;
    let trust = &world.trust_id;
    let statement = format!(
        "WITH feed AS (
             UPDATE feeds SET position = position + {rows} WHERE trust_id = '{trust}' RETURNING position - {rows} AS before
         )
         INSERT INTO transitions (trust_id, position, pupil_id, from_stage, to_stage, effective_on, recorded_at, cause,
             policy_version, academic_year, attended, possible, unauthorised, episode)
         SELECT '{trust}', before + n, '{pupil}', n % 2, (n + 1) % 2, '{TODAY}', '{TODAY} 11:00+00', 'marks', 1, 2025, 19, 20,
             1, 1
         FROM feed, generate_series(1, {rows}) AS n"
    );
    for _ in 0..commits {
        sql.batch_execute(&statement).await.unwrap();
    }
}

/// How many transactions of the service are open.
async fn open_transactions(world: &World) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL";
    world.sql().await.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_reader_who_stalls_holds_nobody_up_and_misses_nothing() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 2).await;
    let of_all = watch_request(&world.trust_id, pb::WatchStart::Beginning);
    let mut stalled = world.watch_narrowly(of_all).await;
    stalled.opening().await;
    let mut prompt = world.watch(pb::WatchStart::Beginning).await;
    prompt.opening().await;
    // More than is kept in memory for those who are a little behind.
    append(&world, &pupils[0], 12, 1_000).await;
    world.move_pupils(&pupils, true).await;
    assert_eq!(prompt.transitions(12_002).await.len(), 12_002);
    // The stalled one waits for its reader, and neither for the database nor with it.
    for attempt in 0.. {
        if open_transactions(&world).await == 0 {
            break;
        }
        assert!(attempt < 500, "a transaction stays open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = stalled.transitions(12_002).await;
    let positions: Vec<i64> = told.iter().map(|found| world.position(&found.cursor)).collect();
    assert_eq!(positions, (1..=12_002).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_who_stalls_within_a_snapshot_holds_no_transaction_open() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    fill_with_pupils(&world, &school, 5_000).await;
    let mut stalled = world
        .watch_narrowly(watch_request(&world.trust_id, pb::WatchStart::Snapshot))
        .await;
    let Event::SnapshotPage(first) = stalled.event().await else {
        panic!("a snapshot begins with a page");
    };
    for attempt in 0.. {
        if open_transactions(&world).await == 0 {
            break;
        }
        assert!(attempt < 500, "a transaction stays open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (rest, complete) = stalled.snapshot().await;
    assert_eq!((first.stages.len() + rest.len(), complete.pupils), (5_000, 5_000));
}

#[tokio::test]
async fn a_stream_goes_on_after_the_database_has_closed_its_connections() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    let pupils = world.movable_pupils("p", &school, 2).await;
    let mut watching = world.watch(pb::WatchStart::Beginning).await;
    watching.opening().await;
    let close = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    world.sql().await.batch_execute(close).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.move_pupils(&pupils, true).await;
    assert_eq!(watching.transitions(2).await, world.every_transition().await);
}
