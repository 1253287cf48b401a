//! The examples of the documentation: every RPC is called with what the page shows, and the page shows what it answers.

pub mod call;
mod page;
mod script;
mod script_case;
mod script_plans;
mod script_privacy;

use std::fs;
use std::path::Path;

use self::call::Script;

/// Where the pages are, from the root of the project.
const PAGES: &str = "docs/examples";
/// When it is set, the pages are written anew.
const WRITE: &str = "WRITE_EXAMPLES";

#[tokio::test]
async fn every_rpc_has_an_example_in_the_documentation_and_it_is_what_the_service_answers() {
    let mut script = Script::begin("2025-12-12").await;
    script::run(&mut script).await;
    let methods = script.methods();
    let shown: Vec<&str> = script.examples.iter().map(|example| example.call.as_str()).collect();
    let missing: Vec<&String> = methods
        .iter()
        .filter(|method| !shown.contains(&method.as_str()))
        .collect();
    assert!(missing.is_empty(), "RPCs without an example: {missing:?}");

    #[allow(clippy::disallowed_methods)] // How insta is told as well.
    let write = std::env::var_os(WRITE).is_some();
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGES);
    for (name, text) in page::pages(&methods, &script.examples) {
        let path = pages.join(name);
        if write {
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{PAGES}/{} is not what the service answers: look at what changed, then write it anew with {WRITE}=1\n{}",
            path.file_name().unwrap().display(),
            first_difference(&there, &text)
        );
    }
}

fn first_difference(there: &str, text: &str) -> String {
    let mut lines = there.lines().zip(text.lines()).enumerate();
    match lines.find(|(_, (there, now))| there != now) {
        Some((line, (there, now))) => format!("line {}\n  is      {there}\n  becomes {now}", line + 1),
        None => "one goes on after the other ends".to_owned(),
    }
}
