//! What goes wrong around the service: calls that are given up, a database that goes away.

use std::time::Duration;

use tonic::Code;

use crate::common::world::item;
use crate::common::{World, at, refused};

#[tokio::test]
async fn a_call_that_was_given_up_leaves_nothing_written_and_nothing_locked() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    // Somebody else holds the pupil, so that the call waits within its transaction.
    let owner = world.sql().await;
    owner
        .batch_execute("BEGIN; SELECT FROM pupil_stages FOR UPDATE")
        .await
        .unwrap();
    let waiting = world.try_record(vec![item(&pupil, at("2025-09-08", "AM"), "O O")]);
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err());
    owner.batch_execute("ROLLBACK").await.unwrap();

    let result = world.record(&pupil, at("2025-09-08", "AM"), "/ \\").await;
    assert_eq!(
        (result.accepted, result.marks_corrected),
        (1, 0),
        "the marks of the call given up are not there"
    );
}

#[tokio::test]
async fn connections_that_the_database_has_closed_are_replaced_without_a_failed_call() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    let calls = (0..8).map(|_| world.stage(&pupil));
    futures::future::join_all(calls).await;
    let owner = world.sql().await;
    let close = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    owner.batch_execute(close).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.record(&pupil, at("2025-09-08", "AM"), "/ \\").await;
    assert_eq!(world.stage(&pupil).await.tally.unwrap().attended, 2);
}

#[tokio::test]
async fn a_database_that_takes_no_connections_is_answered_with_try_again() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    let name = world
        .url
        .rsplit('/')
        .next()
        .unwrap()
        .split('?')
        .next()
        .unwrap()
        .to_owned();
    let owner = world.sql().await;
    let other = crate::common::database::connect(&world.url.replace(&name, "postgres"))
        .await
        .unwrap();
    drop(owner);
    let refuse = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false");
    other.batch_execute(&refuse).await.unwrap();
    let close = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
    other.batch_execute(&close).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for answer in [
        world.try_stage(crate::common::world::by_id(&pupil)).await.map(|_| ()),
        world
            .try_record(vec![item(&pupil, at("2025-09-08", "AM"), "/")])
            .await
            .map(|_| ()),
    ] {
        let (code, reason, _) = refused(answer);
        assert_eq!((code, reason.as_str()), (Code::Unavailable, "DATABASE_UNAVAILABLE"));
    }
    let allow = format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true");
    other.batch_execute(&allow).await.unwrap();
    world.record(&pupil, at("2025-09-08", "AM"), "/").await;
}
