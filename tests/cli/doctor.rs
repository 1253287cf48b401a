//! `doctor` on installations that are sound and on some that are not.

use std::fs;

use crate::common::{Ended, Home, NOBODY, School, Serving, run};
use crate::database::{connect, empty};

/// What was looked at, and what is wrong with it: what was found and what to change.
fn wrong(report: &Ended) -> Vec<(String, String)> {
    let report = report.json();
    let findings = report.as_array().unwrap().iter();
    let text = |finding: &serde_json::Value, name: &str| finding[name].as_str().unwrap().to_owned();
    findings
        .filter(|finding| finding["well"] == false)
        .map(|finding| {
            assert_ne!(finding["change"], "", "{finding}");
            (
                text(finding, "check"),
                text(finding, "found") + " | " + &text(finding, "change"),
            )
        })
        .collect()
}

/// The one thing that is wrong.
fn only(report: &Ended, check: &str) -> String {
    let found = wrong(report);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, check);
    found[0].1.clone()
}

#[tokio::test]
async fn a_sound_private_postgres_and_its_service_are_well() {
    let home = Home::new();
    let data_dir = home.name("postgres");
    let doctor = ["doctor", "--data-dir", &data_dir];
    let before = run(&[&doctor[..], &["--json", "--endpoint", NOBODY]].concat())
        .await
        .with(1);
    let service = only(&before, "service");
    assert!(service.contains("graduated-response serve"), "{service}");
    assert!(!home.data_dir().exists(), "looking makes nothing");

    let serving = Serving::private(&home, &[]).await;
    let report = serving.run(&doctor).await.done();
    let marks: Vec<&str> = report.out.lines().skip(1).map(|line| &line[..4]).collect();
    assert_eq!(marks, [" ok "; 3], "{}", report.out);
    for part in [
        "Postgres binaries",
        &data_dir,
        &serving.endpoint,
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(report.out.contains(part), "{part}: {}", report.out);
    }
    drop(serving);

    // The data of a Postgres that is not installed here.
    home.file("postgres/PG_VERSION", "9\n");
    let report = run(&[&doctor[..], &["--json", "--endpoint", NOBODY]].concat())
        .await
        .with(1);
    let found = wrong(&report);
    assert_eq!(found[0].0, "data directory");
    assert!(found[0].1.contains("was made by PostgreSQL 9"), "{found:?}");
}

#[tokio::test]
async fn a_place_without_postgres_and_a_directory_of_other_things_are_named() {
    let home = Home::new();
    fs::create_dir(home.path("bin")).unwrap();
    fs::create_dir(home.data_dir()).unwrap();
    home.file("postgres/letter.txt", "Dear parents");
    let (bin, data_dir) = (home.name("bin"), home.name("postgres"));
    let doctor = [
        "doctor",
        "--endpoint",
        NOBODY,
        "--postgres-bin",
        &bin,
        "--data-dir",
        &data_dir,
    ];
    let found = wrong(&run(&[&doctor[..], &["--json"]].concat()).await.with(1));
    let checks: Vec<&str> = found.iter().map(|(check, _)| check.as_str()).collect();
    assert_eq!(checks, ["Postgres binaries", "data directory", "service"]);
    assert!(
        found[0].1.contains(&bin) && found[0].1.contains("apt-get install"),
        "{found:?}"
    );
    assert!(found[1].1.contains("name a new or an empty directory"), "{found:?}");

    let for_people = run(&doctor).await.with(1).out;
    assert_eq!(for_people.matches("WRONG").count(), 3, "{for_people}");
    let widest = for_people.lines().map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= 100, "{for_people}");

    let file = home.file("file", "");
    let doctor = ["doctor", "--json", "--endpoint", NOBODY, "--data-dir", &file];
    let found = wrong(&run(&doctor).await.with(1));
    assert_eq!(found[0].0, "data directory");
    assert!(found[0].1.contains("another --data-dir"), "{found:?}");
}

#[tokio::test]
async fn a_database_that_is_given_is_looked_at_from_its_version_to_its_tables() {
    let school = School::empty().await;
    let sound = ["doctor", "--json", "--database-url", &school.url];
    // The tests' own server trades durability for speed.
    let report = school.run(&sound).await;
    let found = wrong(&report);
    assert!(found.iter().all(|(check, _)| check == "durability"), "{found:?}");
    let report = report.json();
    let looked_at = report.as_array().unwrap().iter();
    let looked_at: Vec<&str> = looked_at.filter_map(|finding| finding["check"].as_str()).collect();
    let expected = [
        "database",
        "version",
        "writable",
        "the service's role",
        "durability",
        "migrations",
        "service",
    ];
    assert_eq!(looked_at, expected);

    let url = empty().await;
    let report = school.run(&["doctor", "--json", "--database-url", &url]).await.with(1);
    let found = wrong(&report);
    let migrations = found.iter().find(|(check, _)| check == "migrations");
    assert!(migrations.unwrap().1.contains("migrate up"), "{found:?}");

    let url = "postgresql://owner:hunter2@127.0.0.1:1/pupils";
    let report = school.run(&["doctor", "--json", "--database-url", url]).await.with(1);
    let found = only(&report, "database");
    assert!(found.contains("DATABASE_URL") && !found.contains("hunter2"), "{found}");
}

#[tokio::test]
async fn a_login_outside_of_the_services_role_is_told_what_to_grant() {
    let school = School::empty().await;
    let login = format!("outsider_{}", school.trust_id.replace('-', ""));
    let owner = connect(&school.url).await.unwrap();
    owner
        .batch_execute(&format!("CREATE ROLE {login} LOGIN"))
        .await
        .unwrap();
    let url = school.url.replacen("graduated_response@", &format!("{login}@"), 1);
    assert_ne!(url, school.url);
    let found = wrong(&school.run(&["doctor", "--json", "--database-url", &url]).await.with(1));
    let role = found.iter().find(|(check, _)| check == "the service's role");
    let expected = "as a superuser: GRANT graduated_response_service TO";
    assert!(role.unwrap().1.contains(expected), "{found:?}");
    owner.batch_execute(&format!("DROP ROLE {login}")).await.unwrap();
}
