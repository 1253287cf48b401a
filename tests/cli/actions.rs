//! `actions` and `coverage`: what is to be done, and how much of it is.

use crate::common::School;

#[tokio::test]
async fn what_is_to_be_done_is_listed_by_whom_and_by_when() {
    let school = School::with_pupils().await;
    let all = school
        .run(&["actions", "--limit", "1000", "--json"])
        .await
        .done()
        .json();
    let listed = all["actions"].as_array().unwrap();
    // One pupil at stage 4 and one at stage 5.
    assert_eq!((listed.len(), &all["more_actions"]), (36 + 40, &false.into()));
    let names: Vec<&str> = listed.iter().map(|action| action["name"].as_str().unwrap()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(
        names, sorted,
        "without due dates and raised on one day they are listed by name"
    );
    assert_eq!(
        (&listed[0]["provision_id"], &listed[0]["state"]),
        (&"1-01".into(), &"open".into())
    );
    assert_eq!((&listed[0]["stage"], &listed[0]["due_on"]), (&"1".into(), &"".into()));

    let text = school.run(&["actions", "--limit", "2"]).await.done().out;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with(" due  state  action"), "{text}");
    assert!(lines[1].contains("open   1-01 Open the log of actions"), "{text}");
    assert!(
        text.ends_with("\nThe first 2; there are more: give a higher --limit.\n"),
        "{text}"
    );

    let count = async |words: &[&str]| {
        let words = [&["actions", "--limit", "1000", "--json"], words].concat();
        school.run(&words).await.done().json()["actions"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count(&["--school", "100001"]).await, 76);
    assert_eq!(count(&["--stage", "5"]).await, 4);
    assert_eq!(count(&["--role", "trust"]).await, 20, "stage 4 of two pupils");
    assert_eq!(count(&["--overdue"]).await, 0);
    assert_eq!(count(&["--assignee", "entra:77"]).await, 0);
    assert_eq!(count(&["--no-longer-required"]).await, 0);
    let conditional = count(&["--state", "to-be-considered"]).await;
    assert_eq!(count(&["--missing"]).await, 76 - conditional);
    let nothing = school.run(&["actions", "--overdue"]).await.done().out;
    assert_eq!(nothing, "There is no such action.\n");
    let missing = school
        .run(&["actions", "--missing", "--limit", "1", "--json"])
        .await
        .done()
        .json();
    assert_eq!(missing["actions"][0]["days_waiting"], 0);
    let refused = school.run(&["actions", "--school", "100009"]).await.with(1);
    assert!(refused.err.contains("[NOT_FOUND]"), "{}", refused.err);
}

#[tokio::test]
async fn coverage_is_counted_by_school_stage_and_provision() {
    let school = School::with_pupils().await;
    let text = school.run(&["coverage"]).await.done().out;
    insta::assert_snapshot!(text, @r"
    Coverage as of 2025-09-30

     school                    required  in place  in progress  not begun  not applicable  cancelled  in place %
     100001 Mill Lane Primary        76         0            0         76               0          0         0.0
     all                             76         0            0         76               0          0         0.0
    ");
    let by_stage = school.run(&["coverage", "--by", "stage", "--json"]).await.done().json();
    let required: Vec<i64> = by_stage["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["required"].as_i64().unwrap())
        .collect();
    assert_eq!(required, [16, 16, 20, 20, 4]);
    assert_eq!(by_stage["as_of"], "2025-09-30");
    let of_school = school
        .run(&["coverage", "--school", "100001", "--stage", "5", "--json"])
        .await;
    let of_school = of_school.done().json();
    let first = &of_school["groups"][0];
    assert_eq!(
        (&first["provision_id"], &first["required"]),
        (&"5-01".into(), &1.into())
    );
    assert_eq!(of_school["whole"]["not_begun"], 4);
    let suppressed = ["coverage", "--by", "stage", "--suppress", "--json"];
    let suppressed = school.run(&suppressed).await.done().json();
    assert_eq!(suppressed["groups"][4]["not_begun"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_case_file_is_a_page_that_its_owner_alone_can_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let school = School::with_pupils().await;
    let listed = school.run(&["actions", "--limit", "1", "--json"]).await.done().json();
    let pupil = listed["actions"][0]["pupil_id"].as_str().unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.html");
    let out = path.to_str().unwrap();
    let said = school
        .run(&["case-file", "--pupil", &pupil, "--out", out])
        .await
        .done()
        .out;
    assert!(
        said.starts_with(&format!("{out}: ")) && said.ends_with(" items on record\n"),
        "{said}"
    );
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en-GB\">") && page.ends_with("</html>\n"));
    assert!(
        page.contains("Mill Lane Primary") && page.contains("<svg role=\"img\""),
        "{page}"
    );
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let again = school
        .run(&["case-file", "--pupil", &pupil, "--out", out])
        .await
        .with(2);
    assert!(again.err.contains("is there already"), "{}", again.err);
    school
        .run(&["case-file", "--pupil", &pupil, "--out", out, "--overwrite"])
        .await
        .done();
    let nobody = uuid::Uuid::new_v4().to_string();
    let refused = school
        .run(&["case-file", "--pupil", &nobody, "--out", out, "--overwrite"])
        .await
        .with(1);
    assert!(refused.err.contains("[NOT_FOUND]"), "{}", refused.err);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap().len(),
        page.len(),
        "what was there is as it was"
    );
}
