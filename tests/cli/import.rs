//! `import` of the files that schools have.

use serde_json::{Value, json};

use crate::common::{NOBODY, School, fixture, run};

/// The sessions attended and possible of a pupil.
async fn counts(school: &School, pupil: &str) -> (i64, i64) {
    let report = school.run(&["explain", pupil, "--json"]).await.done().json();
    (
        report["attended"].as_i64().unwrap(),
        report["possible"].as_i64().unwrap(),
    )
}

#[tokio::test]
async fn each_layout_brings_pupils_and_marks_and_says_how_it_was_read() {
    // (file, how it was read, pupil, counts)
    let layouts = [
        ("long.csv", "long (a row a mark)", "E999100125002", (1, 1)),
        ("wide.csv", "wide (a column a session)", "Q999100125001", (2, 3)),
        ("weekly.csv", "weekly", "Q999100125001", (7, 10)),
    ];
    for (name, layout, pupil, expected) in layouts {
        let school = School::empty().await;
        let file = fixture(name);
        let words = [
            "import", "--school", "100001", "--source", "sims", "--year", "2025", &file,
        ];
        let imported = school.run(&words).await.done();
        assert!(
            imported.out.starts_with(&format!("{file}: {layout}")),
            "{}",
            imported.out
        );
        for part in ["UPN", "found by", "Every row was taken."] {
            assert!(imported.out.contains(part), "{name}: {part}: {}", imported.out);
        }
        assert_eq!(imported.err, "", "{name}");
        assert_eq!(counts(&school, pupil).await, expected, "{name}");

        let again = school.run(&words).await.done();
        assert!(again.out.contains("0 not taken"), "{name}: {}", again.out);
        assert_eq!(
            counts(&school, pupil).await,
            expected,
            "{name}: the same again changes nothing"
        );
    }
}

#[tokio::test]
async fn a_dry_run_writes_nothing_with_and_without_a_service() {
    let school = School::empty().await;
    let file = fixture("long.csv");
    let words = ["import", "--school", "100001", "--dry-run", &file];
    let dry = school.run(&words).await.done();
    assert!(dry.out.ends_with("Dry run: nothing was written.\n"), "{}", dry.out);
    assert!(
        dry.out.contains("3 in the file, 0 of them known to the service"),
        "{}",
        dry.out
    );
    school.run(&["explain", "Q999100125001"]).await.with(1);
    let stages = school.run(&["stages", "--json"]).await.done().json();
    assert_eq!(stages["trust"]["pupils"], 0);

    let alone = run(&[&words[..], &["--endpoint", NOBODY]].concat()).await.done();
    let said = "Dry run: nothing was written. The service did not answer: only the file was looked at.\n";
    assert!(alone.out.ends_with(said), "{}", alone.out);
}

#[tokio::test]
async fn a_mapping_file_goes_before_what_the_headers_say() {
    let school = School::empty().await;
    // The header says `UPN` of a column that holds something else, and the marks are words.
    let text = "UPN,Unique Ref,Date,Session,State\n\
        room 4,Q999100125001,09/08/2025,AM,Present\nroom 4,Q999100125001,09/08/2025,PM,Away\n";
    let file = school.home.file("odd.csv", text);
    let import = ["import", "--school", "100001", "--json"];
    let refused = school.run(&[&import[..], &[&file]].concat()).await.with(2);
    assert!(refused.err.contains("mapping file"), "{}", refused.err);

    let mapping = "date_order = \"mdy\"\nignore = [\"UPN\"]\n\
        [columns]\nupn = \"Unique Ref\"\nmark = 5\n[codes]\nPresent = \"/\"\nAway = \"O\"\n";
    let mapping = school.home.file("mapping.toml", mapping);
    let imported = school
        .run(&[&import[..], &["--mapping", &mapping, &file]].concat())
        .await
        .done();
    let report = imported.json();
    let mapped = report["files"][0]["mapping"].as_array().unwrap();
    let upn = mapped.iter().find(|line| line["field"] == "upn").unwrap();
    assert_eq!((&upn["column"], &upn["header"]), (&"2".into(), &"Unique Ref".into()));
    assert_eq!(report["files"][0]["marks"]["new"], 2);
    assert_eq!(counts(&school, "Q999100125001").await, (1, 2));

    let mapping = school.home.file("wrong.toml", "[columns]\nshoe_size = 3\n");
    let refused = school
        .run(&[&import[..], &["--mapping", &mapping, &file]].concat())
        .await
        .with(2);
    assert!(
        refused.err.contains("wrong.toml") && refused.err.contains("shoe_size"),
        "{}",
        refused.err
    );
}

#[tokio::test]
async fn rows_that_are_not_taken_are_named_by_line_column_and_reason() {
    let school = School::empty().await;
    let file = fixture("refused_rows.csv");
    let words = ["import", "--school", "100001", "--source", "sims", &file];
    let imported = school.run(&[&words[..], &["--json"]].concat()).await.with(1).json();
    let imported = &imported["files"][0];
    let not_taken = imported["not_taken"].as_array().unwrap();
    let named: Vec<(Value, Value, Value)> = not_taken
        .iter()
        .map(|row| {
            assert_ne!(row["message"], "", "{row}");
            (
                row["line"].clone(),
                row["column"]["header"].clone(),
                row["reason"].clone(),
            )
        })
        .collect();
    let expected = [
        (3, json!("UPN"), "UPN_SHAPE"),
        (4, json!("UPN"), "SPREADSHEET_NUMBER"),
        (5, json!("Adno"), "SPREADSHEET_NUMBER"),
        (6, json!("UPN"), "NO_IDENTIFIER"),
        (7, json!("Date"), "DATE_UNREADABLE"),
        (8, json!("Date"), "DATE_BLANK"),
        (9, json!("Session"), "LESSON_REGISTER"),
        (10, json!("Session"), "SESSION_BLANK"),
        (11, json!("Session"), "SESSION_UNREADABLE"),
        (12, json!("Mark"), "MARK_UNKNOWN"),
        (13, json!("Mark"), "MARK_LEADING_DIGIT"),
        (14, json!("Mark"), "MARK_COUNT"),
        (15, json!("Mark"), "MINUTES_UNREADABLE"),
        (16, json!("Mark"), "MARK_CONFLICT"),
        (17, json!("Adno"), "IDENTIFIER_CONFLICT"),
        (18, json!(""), "ROW_TOO_WIDE"),
        (19, json!(null), "UNBALANCED_QUOTE"),
    ];
    assert_eq!(
        named,
        expected.map(|(line, column, reason)| (json!(line), column, json!(reason)))
    );
    assert_eq!(imported["rows"]["taken"], 2);
    assert_eq!(counts(&school, "Q999100125001").await, (1, 1), "the others are taken");

    let for_people = school.run(&words).await.with(1).out;
    for part in ["Not taken:", "UPN_SHAPE", "what to do", "2 taken, 17 not taken"] {
        assert!(for_people.contains(part), "{part}: {for_people}");
    }
    let conflict = for_people.lines().find(|line| line.contains("MARK_CONFLICT")).unwrap();
    assert!(conflict.contains("16") && conflict.contains("Mark"), "{for_people}");
}

#[tokio::test]
async fn a_mark_that_differs_is_taken_only_with_a_name_and_a_reason() {
    let school = School::empty().await;
    let marked = |mark: &str| format!("UPN,Date,Session,Mark\nQ999100125001,08/09/2025,AM,{mark}\n");
    let first = school.home.file("first.csv", &marked("N"));
    let second = school.home.file("second.csv", &marked("L"));
    let import = ["import", "--school", "100001"];
    school.run(&[&import[..], &[&first]].concat()).await.done();
    let refused = school.run(&[&import[..], &[&second]].concat()).await.with(1);
    assert!(refused.out.contains("CORRECTION_REQUIRED"), "{}", refused.out);
    assert_eq!(counts(&school, "Q999100125001").await, (0, 1));
    let who = [
        "--by",
        "J Okafor",
        "--position",
        "attendance officer",
        "--reason",
        "register corrected",
    ];
    let corrected = school.run(&[&import[..], &who, &[&second]].concat()).await.done();
    assert!(corrected.out.contains("0 new, 1 corrected"), "{}", corrected.out);
    assert_eq!(counts(&school, "Q999100125001").await, (1, 1));
}

#[tokio::test]
async fn what_cannot_be_imported_at_all_ends_with_2_and_nothing_is_written() {
    let school = School::empty().await;
    let (long, refused_rows) = (fixture("long.csv"), fixture("refused_rows.csv"));
    let (workbook, summary, page) = (
        fixture("workbook.csv"),
        fixture("class_summary.csv"),
        fixture("report.xls"),
    );
    let missing = school.home.name("missing.csv");
    let cases: [(&[&str], &str); 6] = [
        (&["--school", "100001", &long, &missing], "missing.csv"),
        (&["--school", "100001", &long, &workbook], "xlsx"),
        (&["--school", "100001", &long, &page], "HTML"),
        (&["--school", "100001", &long, &summary], "class summary"),
        (&["--school", "100009", &long], "no school with URN 100009"),
        (
            &[
                "--school",
                "100001",
                "--source",
                "sims",
                "--strict",
                &long,
                &refused_rows,
            ],
            "17 rows cannot be taken, and --strict was given: nothing was written",
        ),
    ];
    for (words, said) in cases {
        let refused = school.run(&[&["import"], words].concat()).await.with(2);
        assert!(
            refused.err.starts_with("error: ") && refused.err.contains(said),
            "{words:?}: {}",
            refused.err
        );
    }
    let stages = school.run(&["stages", "--json"]).await.done().json();
    assert_eq!(stages["trust"]["pupils"], 0);
}

#[tokio::test]
async fn a_trust_that_is_not_there_ends_an_import_with_1() {
    let school = School::empty().await;
    let trust = ["--trust", "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e"];
    let file = fixture("long.csv");
    let words = ["import", "--school", "100001", &file];
    for dry_run in [&[][..], &["--dry-run"]] {
        let refused = school.run(&[&words[..], &trust, dry_run].concat()).await.with(1);
        assert!(refused.err.contains("there is no such trust"), "{}", refused.err);
    }
}
