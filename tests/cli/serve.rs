//! `serve` on a database that is given, and what keeps it from serving.

use crate::common::{Home, School, Serving, program, run};
use crate::database::{connect, database, empty};

#[tokio::test]
async fn a_database_that_is_given_is_migrated_and_used() {
    let home = Home::new();
    let (by_option, by_environment) = (empty().await, empty().await);
    for (url, name) in [(&by_option, "option"), (&by_environment, "environment")] {
        let mut command = program(&["serve", "--listen", "127.0.0.1:0"]);
        // Never looked at: a private Postgres would be made here.
        command.env("GRADUATED_RESPONSE_DATA_DIR", home.data_dir());
        if name == "option" {
            command.args(["--database-url", url]);
            command.env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing");
        } else {
            command.env("DATABASE_URL", url);
        }
        let serving = Serving::ready(command, &home, name, None).await;
        serving.run(&["trusts", "--create", name]).await.done();
        let trusts = connect(url).await.unwrap().query("SELECT name FROM trusts", &[]).await;
        let names: Vec<String> = trusts.unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(names, [name]);
    }
    assert!(!home.data_dir().exists());
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_ends_the_service_with_3() {
    let url = "postgresql://owner:secret@127.0.0.1:1/pupils";
    let refused = run(&["serve", "--listen", "127.0.0.1:0", "--database-url", url])
        .await
        .with(3);
    assert!(
        refused.err.contains("the database could not be reached"),
        "{}",
        refused.err
    );
    assert!(!refused.err.contains("secret"), "{}", refused.err);
}

#[tokio::test]
async fn an_address_on_a_network_or_one_that_is_taken_is_refused() {
    let refused = run(&["serve", "--listen", "0.0.0.0:0"]).await.with(2);
    assert!(refused.err.contains("not a loopback address"), "{}", refused.err);
    assert!(refused.err.contains("--listen 127.0.0.1:50051"), "{}", refused.err);

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&["serve", "--listen", &address]).await.with(1);
    assert!(
        refused.err.contains(&format!("{address} cannot be listened on")),
        "{}",
        refused.err
    );
}

#[tokio::test]
async fn a_sample_is_loaded_at_the_start_and_shown_with_what_to_try_next() {
    let home = Home::new();
    let url = database().await;
    let sample = ["--demo", "--pupils", "120", "--through", "2025-10-10"];
    let serving = Serving::on(&home, &url, &sample).await;
    let printed = serving.printed();
    for part in [
        "12 schools, 120 pupils",
        "Stages as of 2025-10-10",
        "all schools",
        "Try next",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    // What it says to try works as it stands.
    let explain = printed
        .lines()
        .find(|line| line.contains("explain --endpoint"))
        .unwrap();
    let words: Vec<&str> = explain.split_whitespace().skip(1).collect();
    let explained = run(&words).await.done();
    assert!(explained.out.contains(": stage 5 since"), "{}", explained.out);

    // The same sample again is answered as it was.
    let again = ["demo", "--pupils", "120", "--through", "2025-10-10"];
    let again = serving.run(&again).await.done();
    assert!(again.out.contains("It was loaded before"), "{}", again.out);
    assert_eq!(
        serving
            .run(&["trusts", "--json"])
            .await
            .done()
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_sample_out_of_range_is_refused_before_anything_is_loaded() {
    let school = School::empty().await;
    let refused = school.run(&["demo", "--pupils", "10"]).await.with(2);
    assert!(refused.err.contains("120"), "{}", refused.err);
    let trusts = school.run(&["trusts", "--json"]).await.done().json();
    assert_eq!(trusts.as_array().unwrap().len(), 1, "{trusts}");
}
