//! The commands that read: `trusts`, `schools`, `stages`, `thresholds`, `explain` and `watch`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{School, program, send, wait};

/// A printed table: its rows with their cells, parted by two blanks or more.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let cells = |line| {
        let parts = str::split(line, "  ").map(str::trim);
        parts.filter(|part| !part.is_empty()).collect()
    };
    text.lines().map(cells).collect()
}

#[tokio::test]
async fn trusts_and_schools_are_made_and_listed() {
    let school = School::empty().await;
    let trusts = school.run(&["trusts"]).await.done().out;
    assert_eq!(
        rows(&trusts),
        [
            vec!["trust", "name"],
            vec![school.trust_id.as_str(), "Harbour Learning Trust"]
        ]
    );
    let made = [
        "--create",
        "100002",
        "--name",
        "Dockside Academy",
        "--phase",
        "secondary",
        "--laestab",
        "9994002",
    ];
    school.run(&[&["schools"], &made[..]].concat()).await.done();
    let schools = school.run(&["schools"]).await.done().out;
    let ids = school.run(&["schools", "--json"]).await.done().json();
    let id = |place: usize| ids[place]["school_id"].as_str().unwrap();
    assert_eq!(
        rows(&schools),
        [
            vec!["URN", "name", "phase", "LAESTAB", "school"],
            vec!["100001", "Mill Lane Primary", "primary", id(0)],
            vec!["100002", "Dockside Academy", "secondary", "9994002", id(1)],
        ]
    );
    assert_eq!(
        (&ids[1]["urn"], &ids[1]["phase"]),
        (&"100002".into(), &"secondary".into())
    );

    // The same URN again, and one that is none.
    let refused = school.run(&[&["schools"], &made[..]].concat()).await.with(1);
    assert!(
        refused.err.starts_with("error: the service refused: "),
        "{}",
        refused.err
    );
    let refused = ["schools", "--create", "12", "--name", "Mill Lane", "--phase", "primary"];
    let refused = school.run(&refused).await.with(1);
    assert!(
        refused.err.contains("\n  school.urn: "),
        "the field at fault is named: {}",
        refused.err
    );
}

#[tokio::test]
async fn where_there_are_several_trusts_or_none_the_command_says_which_to_give() {
    let school = School::empty().await;
    school.run(&["trusts", "--create", "Dockside Trust"]).await.done();
    let refused = school.run(&["stages"]).await.with(2);
    assert!(refused.err.contains("say which with --trust"), "{}", refused.err);
    school.run(&["stages", "--trust", &school.trust_id]).await.done();
    let nobody = "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e";
    let refused = school.run(&["stages", "--trust", nobody]).await.with(1);
    assert!(refused.err.contains("[NOT_FOUND]"), "{}", refused.err);
}

#[tokio::test]
async fn stages_are_counted_and_pupils_listed() {
    let school = School::with_pupils().await;
    let text = school.run(&["stages"]).await.done().out;
    assert!(text.starts_with("Stages as of 2025-09-30\n\n"), "{text}");
    let counts = ["1", "0", "0", "0", "1", "1", "3", "56.7", "66.7", "33.3"];
    let header = "URN school U 1 2 3 4 5 pupils attendance % PA % SA %";
    let table: Vec<String> = rows(&text)[2..].iter().map(|row| row.join(" ")).collect();
    assert_eq!(
        table,
        [
            header.to_owned(),
            format!("100001 Mill Lane Primary {}", counts.join(" ")),
            format!("all schools {}", counts.join(" ")),
        ]
    );

    let report = school.run(&["stages", "--json"]).await.done().json();
    assert_eq!(report["as_of"], "2025-09-30");
    assert_eq!(report["trust"]["attended"], 51);
    assert_eq!(report["trust"]["possible"], 90);
    assert_eq!(report["schools"][0]["severely_absent_pupils"], 1);
    assert!(report.get("pupils").is_none(), "nobody asked for them: {report}");

    // U is not listed unless asked for.
    let of_school = school
        .run(&["stages", "--school", "100001", "--json"])
        .await
        .done()
        .json();
    let stages = |report: &serde_json::Value| -> Vec<String> {
        let pupils = report["pupils"].as_array().unwrap().iter();
        pupils
            .map(|pupil| pupil["stage"].as_str().unwrap().to_owned())
            .collect()
    };
    let mut listed = stages(&of_school);
    listed.sort();
    assert_eq!(listed, ["4", "5"]);
    let universal = school.run(&["stages", "--stage", "u", "--json"]).await.done().json();
    assert_eq!(stages(&universal), ["U"]);
    let first = school
        .run(&["stages", "--stage", "U,4,5", "--limit", "1"])
        .await
        .done()
        .out;
    assert!(
        first.ends_with("\nThe first 1; there are more: give a higher --limit.\n"),
        "{first}"
    );
    let nobody = school.run(&["stages", "--stage", "2"]).await.done().out;
    assert!(nobody.ends_with("No pupil is at these stages.\n"), "{nobody}");
    let refused = school.run(&["stages", "--school", "100009"]).await.with(1);
    assert!(refused.err.contains("[NOT_FOUND]"), "{}", refused.err);
}

#[tokio::test]
async fn thresholds_are_listed_for_people_for_a_program_and_for_the_local_authority() {
    let school = School::with_pupils().await;
    let report = school.run(&["thresholds", "--json"]).await.done().json();
    let events = report["events"].as_array().unwrap();
    let told = |event: &serde_json::Value| {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (
            text("kind"),
            text("proved_by"),
            event["sessions"].as_array().unwrap().len(),
        )
    };
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        [
            ("penalty-notice".to_owned(), "2025-09-05 PM".to_owned(), 10),
            ("unauthorised-days".to_owned(), "2025-09-12 PM".to_owned(), 20)
        ]
    );
    assert_eq!(report["more_events"], false);
    let pupil = events[0]["pupil_id"].as_str().unwrap();

    let text = school.run(&["thresholds", "--school", "100001"]).await.done().out;
    assert_eq!(
        rows(&text),
        [
            vec!["pupil", "threshold", "from", "proved by", "sessions", "raised on"],
            vec![
                pupil,
                "penalty notice",
                "2025-09-01 AM",
                "2025-09-05 PM",
                "10",
                "2025-09-30"
            ],
            vec![
                pupil,
                "unauthorised days",
                "2025-09-01 AM",
                "2025-09-12 PM",
                "20",
                "2025-09-30"
            ],
        ]
    );
    let first = school.run(&["thresholds", "--limit", "1"]).await.done().out;
    assert!(
        first.ends_with("\nThe first 1; there are more: give a higher --limit.\n"),
        "{first}"
    );
    let none = school
        .run(&["thresholds", "--kind", "illness-cumulative,spells"])
        .await
        .done()
        .out;
    assert_eq!(none, "No pupil has reached a threshold.\n");
    let later = ["thresholds", "--from", "2025-09-06", "--to", "2025-09-12", "--json"];
    let later = school.run(&later).await.done().json();
    assert_eq!(later["events"].as_array().unwrap().len(), 1);

    // A penalty notice is the local authority's own: it is not told of it unless asked for.
    let csv = school.run(&["thresholds", "--csv"]).await.done().out;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2, "{csv}");
    assert!(lines[0].starts_with("Threshold,URN,School,UPN,Surname"), "{csv}");
    assert!(
        lines[1].contains(",100001,Mill Lane Primary,U999100125003,Iqbal,Cy,"),
        "{csv}"
    );
    let both = school
        .run(&["thresholds", "--csv", "--kind", "penalty-notice,unauthorised-days"])
        .await
        .done();
    assert_eq!(both.out.lines().count(), 3);
    let refused = school.run(&["thresholds", "--school", "100009"]).await.with(1);
    assert!(refused.err.contains("[NOT_FOUND]"), "{}", refused.err);
    let refused = ["thresholds", "--from", "2025-09-06", "--to", "2025-09-05"];
    let refused = school.run(&refused).await.with(1);
    assert!(refused.err.contains("\n  to_date: "), "{}", refused.err);
}

#[tokio::test]
async fn a_stage_is_explained_by_any_identifier_of_the_pupil() {
    let school = School::with_pupils().await;
    let by_upn = school.run(&["explain", "U999100125003"]).await.done().out;
    let by_mis_identifier = school.run(&["explain", "sims:100001/3"]).await.done().out;
    assert_eq!(by_mis_identifier, by_upn);
    let report = school.run(&["explain", "U999100125003", "--json"]).await.done().json();
    let id = report["pupil_id"].as_str().unwrap();
    assert_eq!(school.run(&["explain", id]).await.done().out, by_upn);
    assert_eq!((&report["stage"], &report["attended"]), (&"5".into(), &0.into()));
    assert_eq!(report["possible"], 30);
    assert_eq!(report["severe_absence"], true);
    assert_eq!(report["codes"].as_array().unwrap().len(), 1);
    assert_eq!(report["codes"][0]["code"], "O");
    assert_ne!(report["actions"][0]["name"], "");
    assert!(by_upn.starts_with(&format!("Pupil {id}: stage 5 since ")), "{by_upn}");

    let first_part: Vec<&str> = by_upn.lines().skip(1).take(10).collect();
    insta::assert_snapshot!(first_part.join("\n"), @r"

    0 of 30 possible sessions attended: 0.0%
    0 authorised and 30 unauthorised absences
    Band of stage 5: below 50%
    Severe absence: half or more missed.

     code  counts as             sessions
     O     unauthorised absence        30

    Stage 4 after attending 30 more sessions in a row.
    ");
}

#[tokio::test]
async fn an_explanation_fits_a_terminal_and_says_nothing_twice() {
    let school = School::with_pupils().await;
    for upn in ["Q999100125001", "E999100125002", "U999100125003"] {
        let text = school.run(&["explain", upn]).await.done().out;
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 100).collect();
        assert_eq!(wide, [""; 0], "{text}");
        for once in [
            "possible sessions",
            "evere absence",
            "ersistent absence",
            "Band of stage",
        ] {
            assert!(text.matches(once).count() <= 1, "{once}: {text}");
        }
        for stage in ["U", "1", "2", "3", "4", "5"] {
            let moves = text
                .to_lowercase()
                .matches(&format!("stage {} after", stage.to_lowercase()))
                .count();
            assert!(moves <= 1 && !text.contains(&format!("reach stage {stage}")), "{text}");
        }
        // Who has to act stands above the actions, once for all that have it in common.
        assert!(text.matches("attendance officer").count() <= 5, "{text}");
    }
    let text = school.run(&["explain", "U999100125003"]).await.done().out;
    let actions: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Actions of stage 1"))
        .collect();
    insta::assert_snapshot!(actions[..4].join("\n"), @r"
    Actions of stage 1, for class teacher or tutor, support staff, SENDCO, DSL, attendance officer:
     1-01  Open the log of actions                              open
     1-02  Meet the pupil                                       open
     1-03  Keep parents informed                                open
    ");
}

#[tokio::test]
async fn a_pupil_whom_the_trust_does_not_have_is_refused_by_name_of_the_reason() {
    let school = School::with_pupils().await;
    for unknown in ["B999100125009", "sims:100001/9", "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e"] {
        for words in [&["explain", unknown][..], &["explain", unknown, "--json"]] {
            let refused = school.run(words).await.with(1);
            assert_eq!(refused.out, "");
            assert_eq!(
                refused.err,
                "error: the service refused: the trust has no such pupil [NOT_FOUND]\n"
            );
        }
    }
}

#[tokio::test]
async fn moves_are_watched_until_ctrl_c() {
    let school = School::with_pupils().await;
    let printed = school.home.path("watch.out");
    let mut watch = program(&["watch", "--endpoint", &school.serving.endpoint, "--json"])
        .stdout(std::fs::File::create(&printed).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = async |part: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let text = std::fs::read_to_string(&printed).unwrap();
            if text.contains(part) {
                return;
            }
            assert!(Instant::now() < until, "{part}: {text}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait_for("snapshot_complete").await;
    let text = "UPN,Date,Session,Mark\n\
        Q999100125001,22/09/2025,AM,O\nQ999100125001,22/09/2025,PM,O\n";
    let file = school.home.file("more.csv", text);
    school.run(&["import", "--school", "100001", &file]).await.done();
    wait_for("\"transition\"").await;
    send(&watch, Signal::SIGINT);
    assert_eq!(wait(&mut watch).unwrap().code(), Some(0));

    let text = std::fs::read_to_string(&printed).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
    assert_eq!(
        events,
        ["stage", "stage", "stage", "snapshot_complete", "transition", "ended"]
    );
    let moved = &lines[4];
    assert_eq!((&moved["from_stage"], &moved["attended"]), (&"U".into(), &30.into()));
    assert_eq!(moved["possible"], 32);
    assert_eq!(lines[5]["cursor"], moved["cursor"], "from here another watch goes on");
}
