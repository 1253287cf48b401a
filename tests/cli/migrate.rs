//! `migrate` on a database with nothing in it.

use crate::common::{end, program, run};
use crate::database::empty;

#[tokio::test]
async fn migrations_are_applied_taken_back_and_applied_again() {
    let url = empty().await;
    let migrate = async |direction: &str, code: i32| {
        let ended = run(&["migrate", direction, "--database-url", &url]).await.with(code);
        assert_eq!(ended.err, "");
        ended.out
    };
    let status = migrate("status", 1).await;
    let names: Vec<&str> = status
        .lines()
        .map(|line| line.strip_prefix("to apply ").unwrap_or_else(|| panic!("{line}")))
        .collect();
    let (last, rest) = names.split_last().unwrap();
    let said = |what: &str, names: &[&str]| names.iter().map(|name| format!("{what}{name}\n")).collect::<String>();

    assert_eq!(migrate("up", 0).await, said("applied ", &names));
    assert_eq!(migrate("status", 0).await, said("applied  ", &names));
    let nothing = "nothing to apply: the database is of this version\n";
    assert_eq!(migrate("up", 0).await, nothing);

    // Redo.
    assert_eq!(migrate("down", 0).await, format!("took back {last}\n"));
    let one_short = said("applied  ", rest) + &said("to apply ", &[last]);
    assert_eq!(migrate("status", 1).await, one_short);
    assert_eq!(migrate("up", 0).await, format!("applied {last}\n"));

    for name in names.iter().rev() {
        assert_eq!(migrate("down", 0).await, format!("took back {name}\n"));
    }
    let nothing = "nothing to take back: the database has no migration\n";
    assert_eq!(migrate("down", 0).await, nothing);
    assert_eq!(migrate("status", 1).await, status);
}

#[tokio::test]
async fn the_database_may_come_from_the_environment() {
    let mut command = program(&["migrate", "status"]);
    command.env("DATABASE_URL", empty().await);
    let status = end(command).await.with(1);
    assert!(status.out.starts_with("to apply "), "{}", status.out);
}

#[tokio::test]
async fn without_a_database_or_with_one_that_does_not_answer_nothing_is_done() {
    let refused = run(&["migrate", "up"]).await.with(2);
    assert!(refused.err.contains("--database-url <URL>"), "{}", refused.err);
    let url = "postgresql://owner:secret@127.0.0.1:1/pupils";
    for direction in ["up", "down", "status"] {
        let refused = run(&["migrate", direction, "--database-url", url]).await.with(3);
        assert!(
            refused.err.contains("the database could not be reached"),
            "{}",
            refused.err
        );
        assert!(!refused.err.contains("secret"), "{}", refused.err);
    }
    run(&["migrate", "sideways", "--database-url", url]).await.with(2);
}
