//! Help, wrong arguments, and a service that is not there.

use crate::common::{Ended, NOBODY, fixture, run};

/// The commands that a help lists.
fn commands(help: &Ended) -> Vec<String> {
    let listed = help.out.split("\nCommands:\n").nth(1).unwrap_or_default();
    let listed = listed.split("\n\n").next().unwrap_or_default();
    // What a command does may go on over further lines, which stand further in.
    let names = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn the_help_of_every_command_says_what_it_does_and_has_examples() {
    let mut to_ask: Vec<Vec<String>> = vec![Vec::new()];
    let mut asked = Vec::new();
    while let Some(path) = to_ask.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = run(&[&words[..], &["--help"]].concat()).await.done();
        let (name, examples) = (words.join(" "), help.out.split("\nExamples:\n").nth(1));
        let example = format!("  graduated-response {name}");
        let of_this = examples.is_some_and(|examples| examples.contains(example.trim_end()));
        assert!(of_this, "{name}: {}", help.out);
        let first = help.out.lines().next().unwrap();
        assert!(!first.is_empty() && !first.starts_with("Usage"), "{name}: {first}");
        for command in commands(&help) {
            to_ask.push(path.iter().cloned().chain([command]).collect());
        }
        asked.push(name);
    }
    for command in [
        "serve",
        "migrate",
        "demo",
        "trusts",
        "schools",
        "import",
        "stages",
        "thresholds",
        "explain",
        "actions",
        "coverage",
        "case-file",
        "outcomes",
        "watch",
        "doctor",
    ] {
        assert!(asked.iter().any(|name| name == command), "{command}: {asked:?}");
    }
}

#[tokio::test]
async fn wrong_arguments_end_a_command_with_2_and_say_what_is_right() {
    let cases: [(&[&str], &str); 19] = [
        (&["frobnicate"], "unrecognized subcommand"),
        (&["stages", "--frobnicate"], "unexpected argument"),
        (&["stages", "--stage", "6"], "a stage is U, 1, 2, 3, 4 or 5"),
        (&["stages", "--limit", "0"], "--limit"),
        (&["thresholds", "--kind", "illness"], "a kind is illness-cumulative"),
        (&["thresholds", "--csv", "--json"], "cannot be used with"),
        (&["stages", "--trust", "harbour"], "--trust"),
        (&["stages", "--endpoint", "not a url"], "--endpoint is not a URL"),
        (
            &["actions", "--role", "headteacher"],
            "no such role: the help lists them",
        ),
        (&["coverage", "--by", "pupil"], "--by"),
        (&["explain"], "<PUPIL>"),
        (
            &["explain", "Q12"],
            "give a UUID, a UPN of 13 characters, or source/value",
        ),
        (&["schools", "--create", "100001"], "--name"),
        (&["schools", "--name", "Mill Lane"], "--create"),
        (&["import"], "<FILE>"),
        (&["import", "--school", "12", "x.csv"], "--school"),
        (&["import", "--by", "J Okafor", "x.csv"], "--position"),
        (&["serve", "--clock", "noon"], "2026-06-26T12:00:00Z"),
        (&["trusts", "--log", "graduated_response=loud"], "--log is not a filter"),
    ];
    for (words, said) in cases {
        let refused = run(words).await.with(2);
        assert!(refused.err.contains(said), "{words:?}: {}", refused.err);
        assert_eq!(refused.out, "", "{words:?}");
    }
    let nothing = run(&[]).await.with(2);
    assert!(nothing.err.contains("Usage: graduated-response"), "{}", nothing.err);
}

#[tokio::test]
async fn a_service_that_is_not_there_ends_a_command_with_3() {
    let file = fixture("long.csv");
    let cases: [&[&str]; 9] = [
        &["trusts"],
        &["schools"],
        &["stages"],
        &["actions"],
        &["coverage"],
        &["watch"],
        &["explain", "Q999100125001"],
        &["demo", "--pupils", "120", "--through", "2025-09-02"],
        &["import", "--school", "100001", &file],
    ];
    for words in cases {
        let refused = run(&[words, &["--endpoint", NOBODY]].concat()).await.with(3);
        let said = "error: the service cannot be reached: transport error: tcp connect error: Connection refused";
        assert!(refused.err.starts_with(said), "{words:?}: {}", refused.err);
        assert!(refused.err.contains("Is it running"), "{words:?}: {}", refused.err);
        assert_eq!(refused.out, "", "{words:?}");
    }
}
