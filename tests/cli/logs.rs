//! What the service says of people while it works: nothing.

use std::fs;

use crate::common::{Home, Serving, end, found, program};

const UPN: &str = "Q999100125001";
const NAME: &str = "Quillfeather";
const MIS_ID: &str = "ZQ-774310";
const REASON: &str = "grandmother rang from Penrith";

/// The same bytes as Rust's debug output of a list of numbers shows them.
fn as_numbers(text: &str) -> String {
    let numbers: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    numbers.join(", ")
}

#[tokio::test]
async fn neither_a_name_nor_an_identifier_nor_a_reason_is_logged_at_any_level() {
    let home = Home::new();
    let mut serving = Serving::private(&home, &["--clock", "2025-09-30", "--log", "trace"]).await;
    found(&serving).await;
    let header = "Adno,UPN,Surname,Forename,Date of birth,Date,Session,Mark\n";
    let row = |mis_id: &str, upn: &str, mark: &str| {
        format!("{mis_id},{upn},{NAME},Zephyrine,03/04/2016,08/09/2025,AM,{mark}\n")
    };
    let first = home.file("first.csv", &(header.to_owned() + &row(MIS_ID, UPN, "/")));
    let corrected = home.file("corrected.csv", &(header.to_owned() + &row(MIS_ID, UPN, "O")));
    // The UPN of one and the identifier of another: refused by the service.
    let other = row("ZQ-1", "E999100125002", "/") + &row("ZQ-1", "", "/") + &row(MIS_ID, "U999100125003", "/");
    let conflict = home.file("conflict.csv", &(header.to_owned() + &other));
    let school = ["import", "--log", "trace", "--school", "100001", "--source", "sims"];
    let who = ["--by", NAME, "--position", "attendance officer", "--reason", REASON];
    let mut said = String::new();
    for (words, code) in [
        (&[&school[..], &[&first]].concat(), 0),
        (&[&school[..], &[&corrected]].concat(), 1),
        (&[&school[..], &who, &[&corrected]].concat(), 0),
        (&[&school[..], &[&conflict]].concat(), 1),
        (&vec!["explain", UPN, "--log", "trace"], 0),
        (&vec!["explain", "sims:100001/nobody", "--log", "trace"], 1),
    ] {
        let ended = serving.run(words).await.with(code);
        said += &ended.err;
        if words[0] == "import" {
            said += &ended.out;
        }
    }
    serving.signal(nix::sys::signal::Signal::SIGTERM);
    said += &serving.printed();
    said += &serving.logged();
    let of_postgres = fs::read_to_string(home.path("postgres.log")).unwrap();
    assert!(of_postgres.contains("ready to accept connections"), "{of_postgres}");
    said += &of_postgres;
    assert!(said.contains("BatchUpsertPupils"), "calls are logged: {said}");
    for private in [UPN, NAME, MIS_ID, REASON, "Zephyrine", "2016-04-03"] {
        for form in [private.to_owned(), as_numbers(private)] {
            let line = said.lines().find(|line| line.contains(&form));
            assert_eq!(line, None, "{private}");
        }
    }
}

#[tokio::test]
async fn the_password_of_the_database_is_not_shown() {
    let mut command = program(&["serve", "--listen", "127.0.0.1:0", "--log", "trace"]);
    command.env("DATABASE_URL", "postgresql://owner:hunter2@127.0.0.1:1/pupils");
    let refused = end(command).await.with(3);
    let mut command = program(&["serve", "--help"]);
    command.env("DATABASE_URL", "postgresql://owner:hunter2@127.0.0.1:1/pupils");
    let help = end(command).await.done();
    for text in [refused.err, refused.out, help.out] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}
