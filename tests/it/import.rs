//! The import command on the files that schools have, through the port of a real service.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use graduated_response::cli::import::{ImportArgs, run_to};
use graduated_response::proto as pb;

use crate::common::World;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: ImportArgs,
}

/// Runs the command, and returns its exit code and what it printed.
async fn import(world: &World, words: &[&str]) -> (ExitCode, String) {
    let args = Command::parse_from([&["import"], words].concat()).args;
    let mut out = Vec::new();
    let code = run_to(args, world.channel.clone(), world.trust_id.clone(), &mut out)
        .await
        .unwrap();
    (code, String::from_utf8(out).unwrap())
}

fn fixture(name: &str) -> String {
    let path: PathBuf = ["tests/fixtures/import", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn by_upn(upn: &str) -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn(upn.into())),
    }
}

async fn counts(world: &World, upn: &str) -> (i64, i64) {
    let tally = world.try_stage(by_upn(upn)).await.unwrap().tally.unwrap();
    (tally.attended, tally.possible)
}

#[tokio::test]
async fn the_three_layouts_bring_pupils_and_marks() {
    let world = World::on("2025-09-30").await;
    world.school("100001").await;
    let school = ["--school", "100001", "--source", "sims:100001", "--year", "2025"];
    // The weekly file says of a Tuesday morning something else than the wide one.
    let who = [
        "--by",
        "B. Okafor",
        "--position",
        "attendance officer",
        "--reason",
        "register checked",
    ];
    for layout in ["long.csv", "wide.csv", "weekly.csv"] {
        let (code, printed) = import(&world, &[&[fixture(layout).as_str()], &school[..], &who[..]].concat()).await;
        assert_eq!(code, ExitCode::SUCCESS, "{layout}: {printed}");
    }
    // Of the long file's marks: `/`, L, and J1, an authorised absence.
    assert_eq!(counts(&world, "E999100125002").await, (1, 1));
    assert_eq!(counts(&world, "U999100125003").await, (0, 1));
    // The same pupil in all three: a week of ten sessions, two I and one O among them.
    assert_eq!(counts(&world, "Q999100125001").await, (7, 10));
}

#[tokio::test]
async fn the_same_file_again_changes_nothing_and_a_corrected_one_needs_a_name() {
    let world = World::on("2025-09-30").await;
    world.school("100001").await;
    let directory = tempfile::tempdir().unwrap();
    let header = "UPN,Surname,Forename,Date,Session,Mark\n";
    let first = file(
        &directory,
        "first.csv",
        &format!("{header}Q999100125001,O'Neil,Ada,08/09/2025,AM,N\n"),
    );
    let second = file(
        &directory,
        "second.csv",
        &format!("{header}Q999100125001,O'Neil,Ada,08/09/2025,AM,L\n"),
    );
    for _ in 0..2 {
        let (code, printed) = import(&world, &[&first, "--school", "100001"]).await;
        assert_eq!(code, ExitCode::SUCCESS, "{printed}");
        assert_eq!(counts(&world, "Q999100125001").await, (0, 1));
    }
    let (code, printed) = import(&world, &[&second, "--school", "100001"]).await;
    assert_eq!(code, ExitCode::from(1));
    assert!(printed.contains("CORRECTION_REQUIRED"), "{printed}");
    assert_eq!(counts(&world, "Q999100125001").await, (0, 1));
    let who = [
        "--by",
        "B. Okafor",
        "--position",
        "attendance officer",
        "--reason",
        "rang in",
    ];
    let (code, printed) = import(&world, &[&[second.as_str(), "--school", "100001"], &who[..]].concat()).await;
    assert_eq!(code, ExitCode::SUCCESS, "{printed}");
    assert_eq!(counts(&world, "Q999100125001").await, (1, 1));
}

#[tokio::test]
async fn each_row_that_is_not_taken_is_named_by_line_and_the_others_are_taken() {
    let world = World::on("2025-09-30").await;
    world.school("100001").await;
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        &directory,
        "rows.csv",
        "UPN,Surname,Forename,Date,Session,Mark\n\
         Q999100125001,O'Neil,Ada,08/09/2025,AM,/\n\
         Q999100125001,O'Neil,Ada,08/09/2025,PM,l\n\
         Q99910012500,O'Neil,Bo,08/09/2025,AM,/\n\
         Q999100125001,O'Neil,Ada,31/09/2025,AM,/\n\
         Q999100125001,O'Neil,Ada,09/09/2025,EV,/\n\
         Q999100125001,O'Neil,Ada,09/09/2025,AM,\\\n",
    );
    let (code, printed) = import(&world, &[&path, "--school", "100001", "--json"]).await;
    assert_eq!(code, ExitCode::from(1), "{printed}");
    let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
    let text = report.to_string();
    for line in [3, 4, 5, 6] {
        assert!(text.contains(&format!("\"line\":{line}")), "line {line}: {printed}");
    }
    assert!(
        !text.contains("O'Neil") && !text.contains("Q99910012500"),
        "no personal data: {printed}"
    );
    assert_eq!(
        counts(&world, "Q999100125001").await,
        (2, 2),
        "`\\` in a morning is present, with a warning"
    );
}

#[tokio::test]
async fn a_dry_run_shows_the_mapping_and_writes_nothing() {
    let world = World::on("2025-09-30").await;
    world.school("100001").await;
    let (code, printed) = import(&world, &[&fixture("long.csv"), "--school", "100001", "--dry-run"]).await;
    assert_eq!(code, ExitCode::SUCCESS, "{printed}");
    assert!(printed.contains("Minutes Late") && printed.contains("UPN"), "{printed}");
    let nobody = world.try_stage(by_upn("Q999100125001")).await.unwrap_err();
    assert_eq!(nobody.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn a_file_that_is_no_csv_is_refused_by_what_it_is() {
    let world = World::on("2025-09-30").await;
    for (name, what) in [
        ("workbook.csv", "xlsx"),
        ("report.xls", "HTML"),
        ("class_summary.csv", "class summary"),
    ] {
        let args = Command::parse_from(["import", &fixture(name), "--school", "100001"]).args;
        let refused = run_to(args, world.channel.clone(), world.trust_id.clone(), &mut Vec::new()).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(what), "{name}: {message}");
    }
}
