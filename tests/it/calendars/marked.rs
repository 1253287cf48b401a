//! The sessions of a school that have marks: what a calendar that nobody gave is drawn from.

use graduated_response::proto as pb;
use graduated_response::store::migrations;

use crate::common::World;
use crate::common::world::{at, item};

/// The school days of the view, as the marks tell.
async fn drawn(world: &World) -> Vec<String> {
    let sql = "SELECT date::text || ' ' || kind FROM calendar_days WHERE NOT given ORDER BY school_id, date";
    let rows = world.sql().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn versions(world: &World) -> Vec<(String, String)> {
    let sql = "SELECT school_id::text, xmin::text || ctid::text FROM school_sessions ORDER BY school_id";
    let rows = world.sql().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn a_day_is_a_school_day_as_long_as_any_pupil_has_a_mark_on_it() {
    let world = World::on("2025-10-01").await;
    let school = world.school("100001").await;
    let (one, other) = (world.pupil("one", &school).await, world.pupil("other", &school).await);
    world.record(&one, at("2025-09-08", "AM"), r"/ \ / \").await;
    world.record(&other, at("2025-09-09", "PM"), r"\").await;
    let both = ["2025-09-08 school_day", "2025-09-09 school_day"];
    assert_eq!(drawn(&world).await, both);

    world.record(&one, at("2025-09-09", "AM"), "0 0").await;
    assert_eq!(drawn(&world).await, both, "the other pupil still has a mark");
    world.record(&other, at("2025-09-09", "PM"), "0").await;
    assert_eq!(drawn(&world).await, both[..1]);
    world.record(&other, at("2025-09-09", "PM"), "I").await;
    assert_eq!(drawn(&world).await, both);
}

#[tokio::test]
async fn a_day_of_planned_closure_alone_is_no_school_day() {
    let world = World::on("2025-10-01").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    world.record(&pupil, at("2025-09-08", "AM"), r"/ \ # #").await;
    assert_eq!(drawn(&world).await, ["2025-09-08 school_day"]);
    world.record(&pupil, at("2025-09-09", "AM"), r"Y4 #").await;
    assert_eq!(drawn(&world).await, ["2025-09-08 school_day", "2025-09-09 school_day"]);
    world.record(&pupil, at("2025-09-08", "AM"), r"# #").await;
    assert_eq!(drawn(&world).await, ["2025-09-09 school_day"]);
}

#[tokio::test]
async fn marks_in_sessions_that_have_some_already_write_nothing_about_the_school() {
    let world = World::on("2025-10-01").await;
    let school = world.school("100001").await;
    let (one, other) = (world.pupil("one", &school).await, world.pupil("other", &school).await);
    world.record(&one, at("2025-09-08", "AM"), r"/ \").await;
    let before = versions(&world).await;
    world.record(&other, at("2025-09-08", "AM"), r"I I").await;
    world.record(&other, at("2025-09-08", "AM"), r"O \").await;
    assert_eq!(versions(&world).await, before);
    world.record(&other, at("2025-09-09", "AM"), "/").await;
    assert_ne!(versions(&world).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_is_never_lost_from_the_calendar_however_others_are_taken_away_meanwhile() {
    let world = World::on("2025-10-01").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let mut pupils = Vec::new();
    for number in 0..6 {
        let school = &schools[number % 2];
        pupils.push(world.pupil(&format!("pupil {number}"), school).await);
    }
    let world = &world;
    let writer = |which: usize| {
        // Pupils of both schools, so that the batches of two writers touch the same rows and never the same pupils.
        let [one, other] = [&pupils[2 * which], &pupils[2 * which + 1]];
        async move {
            for round in 0..12 {
                let run = if (round + which).is_multiple_of(2) { "/" } else { "0" };
                let items = vec![
                    item(one, at("2025-09-08", "AM"), run),
                    item(other, at("2025-09-08", "AM"), run),
                ];
                let result: pb::SessionBatchResult = loop {
                    match world.try_record(items.clone()).await {
                        // Another writer was in the way too often: a client asks again, as the answer says.
                        Err(status) if status.code() == tonic::Code::Aborted => continue,
                        result => break result.unwrap(),
                    }
                };
                assert_eq!(result.rejections, []);
            }
        }
    };
    tokio::join!(writer(0), writer(1), writer(2));
    let sql = "SELECT count(*) FROM (
                   SELECT school_id FROM registers WHERE octet_length(marks) > 76 AND get_byte(marks, 76) > 0
                   EXCEPT SELECT school_id FROM calendar_days WHERE date = '2025-09-08'
               ) AS marked_but_closed";
    let missing: i64 = world.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(missing, 0);
    for pupil in &pupils {
        world.record(pupil, at("2025-09-08", "AM"), "0").await;
    }
    assert_eq!(drawn(world).await, [""; 0]);
}

#[tokio::test]
async fn the_sessions_of_registers_that_are_there_already_are_found_by_the_migration() {
    let world = World::on("2025-10-01").await;
    let school = world.school("100001").await;
    let (one, other) = (world.pupil("one", &school).await, world.pupil("other", &school).await);
    world.record(&one, at("2025-09-08", "AM"), r"# \ - /").await;
    world.record(&other, at("2025-09-03", "AM"), r"Z I").await;
    let sql = "SELECT encode(marked, 'hex') FROM school_sessions";
    let before: String = world.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    while let Some(name) = migrations::down(&world.url).await.unwrap() {
        if name.contains("marked_sessions") {
            break;
        }
    }
    migrations::up(&world.url).await.unwrap();
    let after: String = world.sql().await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
    assert_eq!(
        drawn(&world).await,
        [
            "2025-09-03 school_day",
            "2025-09-08 school_day",
            "2025-09-09 school_day"
        ]
    );
}
