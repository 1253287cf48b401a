//! The command against a service in memory.

use clap::Parser;

use super::fake::Fake;
use super::*;

#[derive(clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    import: ImportArgs,
}

struct Outcome {
    result: Result<ExitCode, ImportCommandError>,
    printed: String,
}

impl Outcome {
    fn code(&self) -> &ExitCode {
        self.result.as_ref().unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.printed).unwrap()
    }
}

/// Runs the command on files of these texts.
async fn import(fake: &Fake, texts: &[&str], options: &str) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<String> = (0..)
        .zip(texts)
        .map(|(number, text)| {
            let path = directory.path().join(format!("{number}.csv"));
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        })
        .collect();
    let words = ["import"].into_iter().chain(options.split_whitespace());
    let args = words.map(str::to_owned).chain(files);
    let args = CommandLine::try_parse_from(args).unwrap().import;
    let mut out = Vec::new();
    let result = run_to(args, fake.serve().await, "trust".to_owned(), &mut out).await;
    Outcome {
        result,
        printed: String::from_utf8(out).unwrap(),
    }
}

const LONG: &str = "UPN,Name,Date,Session,Mark\n\
    Q999100125001,\"O'Neil, Ada\",12/09/2025,AM,/\n\
    Q999100125001,\"O'Neil, Ada\",15/09/2025,PM,L\n\
    E999100125002,\"Smith, Bo\",15/09/2025,AM,I\n";

fn is(code: &ExitCode, number: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(number))
}

#[tokio::test]
async fn pupils_are_enrolled_and_marks_sent_as_one_run_a_pupil() {
    let fake = Fake::new();
    let outcome = import(&fake, &[LONG], "--school 100001").await;
    assert!(is(outcome.code(), 0), "{}", outcome.printed);
    let state = fake.state();
    let pupil = &state.upserts[0].pupils[0];
    assert_eq!(
        (pupil.given_name.as_str(), pupil.family_name.as_str()),
        ("Ada", "O'Neil")
    );
    assert_eq!(pupil.enrolments[0].school, "school-100001");
    let start = pupil.enrolments[0].start_date.unwrap();
    assert_eq!((start.year, start.month, start.day), (2025, 9, 1));
    // Friday morning to Monday afternoon, the weekend included.
    let items = &state.batches[0].items;
    assert_eq!(items[0].marks, [1, 0, 0, 0, 0, 0, 0, 3]);
    assert_eq!(items[1].marks, [19]);
    assert!(outcome.printed.contains("3 in the file: 3 new"), "{}", outcome.printed);
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_shows_the_mapping() {
    let fake = Fake::new();
    let outcome = import(&fake, &[LONG], "--school 100001 --dry-run").await;
    assert!(is(outcome.code(), 0));
    assert!(fake.state().upserts.is_empty() && fake.state().batches.is_empty());
    for shown in ["long (a row a mark)", "upn", "Session", "nothing was written"] {
        assert!(outcome.printed.contains(shown), "{shown}: {}", outcome.printed);
    }
}

#[tokio::test]
async fn the_report_names_lines_and_reasons_and_no_pupil() {
    let fake = Fake::new();
    let text = format!("{LONG}X1,\"Iqbal, Cy\",15/09/2025,AM,/\n");
    let outcome = import(&fake, &[&text], "--school 100001").await;
    assert!(is(outcome.code(), 1));
    assert!(outcome.printed.contains("UPN_SHAPE"), "{}", outcome.printed);
    for private in ["O'Neil", "Smith", "Iqbal", "Q999100125001"] {
        assert!(!outcome.printed.contains(private), "{}", outcome.printed);
    }
}

#[tokio::test]
async fn a_mark_that_the_service_rejects_is_named_by_line_and_the_others_are_taken() {
    let fake = Fake::new();
    import(&fake, &[LONG], "--school 100001").await;
    let changed = LONG.replace("AM,/", "AM,O").replace("AM,I", "PM,I");
    let outcome = import(&fake, &[&changed], "--school 100001 --json").await;
    assert!(is(outcome.code(), 1));
    let report = &outcome.json()["files"][0];
    assert_eq!(report["not_taken"].as_array().unwrap().len(), 1);
    assert_eq!(report["not_taken"][0]["line"], 2);
    assert_eq!(report["not_taken"][0]["column"]["header"], "Mark");
    assert_eq!(report["not_taken"][0]["reason"], "CORRECTION_REQUIRED");
    assert_eq!(
        (&report["marks"]["new"], &report["marks"]["unchanged"]),
        (&1.into(), &1.into())
    );
    let args = [
        "import",
        "--by",
        "J Okafor",
        "--position",
        "officer",
        "--reason",
        "mistake",
        "x.csv",
    ];
    let args = CommandLine::try_parse_from(args).unwrap().import;
    assert_eq!(args.by.as_deref(), Some("J Okafor"));
    let outcome = import(
        &fake,
        &[&changed],
        "--school 100001 --by Okafor --position officer --reason late --json",
    )
    .await;
    assert!(is(outcome.code(), 0));
    assert_eq!(outcome.json()["files"][0]["marks"]["corrected"], 1);
}

#[tokio::test]
async fn the_same_import_twice_does_nothing_twice() {
    let fake = Fake::new();
    // The first run makes the pupils, so that the second and the third send the very same.
    for _ in 0..2 {
        assert!(is(import(&fake, &[LONG], "--school 100001").await.code(), 0));
    }
    let batches = fake.state().batches.len();
    let outcome = import(&fake, &[LONG], "--school 100001 --json").await;
    assert_eq!(fake.state().batches.len(), batches);
    assert_eq!(outcome.json()["files"][0]["batches_replayed"], 1);
    let outcome = import(&fake, &[LONG], "--school 100001 --again --json").await;
    assert_eq!(outcome.json()["files"][0]["marks"]["unchanged"], 3);
    assert_eq!(fake.state().batches.len(), batches + 1);
}

#[tokio::test]
async fn what_was_rejected_by_an_earlier_run_is_judged_anew() {
    let fake = Fake::new();
    import(&fake, &[LONG], "--school 100001").await;
    let changed = LONG.replace("AM,I", "AM,O");
    assert!(is(import(&fake, &[&changed], "--school 100001").await.code(), 1));
    fake.state().marks.clear();
    let outcome = import(&fake, &[&changed], "--school 100001 --json").await;
    assert!(is(outcome.code(), 0), "{}", outcome.printed);
    assert_eq!(fake.state().marks.len(), 3);
}

#[tokio::test]
async fn a_pupil_already_on_roll_is_not_enrolled_again_and_nothing_is_sent_that_the_file_does_not_say() {
    let fake = Fake::new();
    import(&fake, &[LONG], "--school 100001").await;
    let next_year = "UPN,Date,Session,Mark\nQ999100125001,14/09/2026,AM,/\n";
    let outcome = import(&fake, &[next_year], "--school 100001").await;
    assert!(is(outcome.code(), 0));
    let sent = &fake.state().upserts[1].pupils[0];
    assert_eq!(sent.enrolments, []);
    assert_eq!((sent.family_name.as_str(), sent.year_group), ("", 0));
}

#[tokio::test]
async fn marks_of_a_pupil_who_was_refused_are_named_too() {
    let fake = Fake::new();
    let text = LONG.replace("Smith", "Refused");
    let outcome = import(&fake, &[&text], "--school 100001 --json").await;
    assert!(is(outcome.code(), 1));
    let report = &outcome.json()["files"][0];
    let reasons: Vec<&str> = report["not_taken"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["ENROLMENTS_OVERLAP", "PUPIL_NOT_TAKEN"]);
    assert_eq!(report["marks"]["new"], 2);
}

#[tokio::test]
async fn schools_are_found_by_urn_laestab_and_name() {
    let fake = Fake::new();
    let text = "UPN,School,Date,Session,Mark\n\
        Q999100125001,100001,15/09/2025,AM,/\n\
        E999100125002,999/0012,15/09/2025,AM,/\n\
        U999100125003,school 100002,15/09/2025,AM,/\n\
        B99910012500A,Nowhere,15/09/2025,AM,/\n";
    let outcome = import(&fake, &[text], "--json").await;
    assert!(is(outcome.code(), 1));
    let report = &outcome.json()["files"][0];
    assert_eq!(report["not_taken"][0]["reason"], "UNKNOWN_SCHOOL");
    assert_eq!(report["not_taken"][0]["line"], 5);
    let schools: Vec<String> = fake.state().batches[0]
        .items
        .iter()
        .map(|item| item.school.clone())
        .collect();
    assert_eq!(schools, ["school-100001", "school-100002", "school-100002"]);
}

#[tokio::test]
async fn a_dually_registered_pupil_is_main_at_the_first_school_and_subsidiary_at_the_other() {
    let fake = Fake::new();
    let text = "UPN,URN,Date,Session,Mark\n\
        Q999100125001,100001,15/09/2025,AM,/\n\
        Q999100125001,100002,15/09/2025,AM,D\n";
    let outcome = import(&fake, &[text], "").await;
    assert!(is(outcome.code(), 0), "{}", outcome.printed);
    assert!(outcome.printed.contains("DUAL_REGISTRATION"));
    let state = fake.state();
    let kinds: Vec<i32> = state.upserts[0].pupils[0]
        .enrolments
        .iter()
        .map(|enrolment| enrolment.kind)
        .collect();
    assert_eq!(kinds, [2, 3]);
    assert_eq!(state.marks.len(), 2);
}

#[tokio::test]
async fn a_pupil_without_a_upn_is_named_by_the_systems_identifier_at_the_school() {
    let fake = Fake::new();
    let text = "Adno,Week Beginning,Marks\n000123,15/09/2025,- - / \\\n";
    let outcome = import(&fake, &[text], "--school 100001 --source SIMS").await;
    assert!(is(outcome.code(), 0), "{}", outcome.printed);
    let state = fake.state();
    let pupil = &state.upserts[0].pupils[0];
    assert_eq!(pupil.mis_identifiers[0].source, "sims:100001");
    assert_eq!(pupil.mis_identifiers[0].value, "000123");
    // A dash before the first mark: on roll from the day of that mark.
    assert_eq!(pupil.enrolments[0].start_date.unwrap().day, 16);
    assert!(state.marks.keys().all(|(pupil, ..)| pupil == "sims:100001=000123"));
}

#[tokio::test]
async fn files_that_cannot_be_imported_end_the_command_before_anything_is_written() {
    let fake = Fake::new();
    let refused = import(&fake, &[LONG, "<html>"], "--school 100001").await;
    assert!(matches!(refused.result, Err(ImportCommandError::Refused { .. })));
    let unknown = import(&fake, &[LONG], "--school 100009").await;
    assert!(matches!(unknown.result, Err(ImportCommandError::UnknownSchool(_))));
    let bad_row = format!("{LONG}X1,x,15/09/2025,AM,/\n");
    let strict = import(&fake, &[&bad_row], "--school 100001 --strict").await;
    assert!(matches!(strict.result, Err(ImportCommandError::Strict(1))));
    let pupils = import(&fake, &["UPN,Name\nQ999100125001,\"O, A\"\n"], "--school 100001").await;
    assert!(matches!(pupils.result, Err(ImportCommandError::NoEnrolmentStart(_))));
    assert!(fake.state().upserts.is_empty() && fake.state().batches.is_empty());
    let dated = import(
        &fake,
        &["UPN,Name\nQ999100125001,\"O, A\"\n"],
        "--school 100001 --year 2025",
    )
    .await;
    assert!(is(dated.code(), 0));
}

#[tokio::test]
async fn a_dry_run_without_a_service_still_looks_at_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.csv");
    std::fs::write(&path, LONG).unwrap();
    let path = path.display().to_string();
    let args = ["import", "--school", "100001", "--dry-run", &path];
    let args = CommandLine::try_parse_from(args).unwrap().import;
    let nobody = Channel::from_static("http://127.0.0.1:1").connect_lazy();
    let mut out = Vec::new();
    let result = run_to(args, nobody, "trust".to_owned(), &mut out).await;
    assert!(is(&result.unwrap(), 0));
    assert!(String::from_utf8(out).unwrap().contains("did not answer"));
}

#[test]
fn batches_are_bounded_by_number_and_by_bytes_and_lose_nothing() {
    let by_number = batches::chunks((0..7).collect(), 3, |_| 1);
    assert_eq!(by_number, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    let by_bytes = batches::chunks(vec![0, 1, 2], 10, |_| 1024 * 1024);
    assert_eq!(by_bytes, [vec![0, 1], vec![2]]);
}

#[test]
fn a_correction_needs_a_name_a_position_and_a_reason() {
    for incomplete in ["--by A", "--by A --position B", "--reason C", "--position B"] {
        let words = ["import"].into_iter().chain(incomplete.split_whitespace());
        assert!(
            CommandLine::try_parse_from(words.chain(["x.csv"])).is_err(),
            "{incomplete}"
        );
    }
}
