//! Hard cases as data: sets each case of a file up through the gRPC port, against a real Postgres, and compares every
//! expectation. `cargo test --test cases -- FILE…`; without a file all of `data/cases*.toml`. A word that is no path picks
//! the cases whose identifiers begin with it.
//!
//! Prints a line for each difference (case, view, field, expected, found) and a closing line; exits 1 on any difference. A
//! case whose notation is not understood has failed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    dead_code,
    unused_imports
)]

mod ask;
mod compare;
mod refusal;
mod setup;

#[path = "../it/common/mod.rs"]
mod common;
#[path = "../notation/mod.rs"]
mod notation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures::StreamExt as _;

use common::database::{database, drop_database};
use compare::Difference;
use notation::Entry;

/// How many cases are set up at once.
const CASES_AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let (files, picked) = match arguments() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (mut passed, mut failed) = (0, 0);
    for file in &files {
        let source = match std::fs::read_to_string(file) {
            Ok(source) => source,
            Err(error) => {
                println!("{}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        };
        let entries = match notation::read(&source) {
            Ok(entries) => entries,
            Err(misread) => {
                println!("{}: {misread}", file.display());
                return ExitCode::FAILURE;
            }
        };
        let begins = |entry: &Entry| picked.is_empty() || picked.iter().any(|word| entry.id.starts_with(word));
        let entries: Vec<_> = entries.into_iter().filter(begins).collect();
        for differences in runtime.block_on(all_of(entries)) {
            if differences.is_empty() {
                passed += 1;
            } else {
                failed += 1;
            }
            for difference in differences {
                println!("{difference}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The files, and the beginnings of the identifiers that are picked.
fn arguments() -> Result<(Vec<PathBuf>, Vec<String>), ExitCode> {
    let mut files = Vec::new();
    let mut picked = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // What other test targets are told as well.
            "--list" => return Err(ExitCode::SUCCESS),
            "--test-threads" | "--skip" | "--format" | "--color" => drop(arguments.next()),
            flag if flag.starts_with('-') => {}
            path if path.contains(['/', '.']) => files.push(PathBuf::from(path)),
            word => picked.push(word.to_owned()),
        }
    }
    if files.is_empty() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        let found = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        let of_cases = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("cases") && name.ends_with(".toml")
        };
        files = found.filter(of_cases).collect();
        files.sort();
    }
    Ok((files, picked))
}

/// The differences of each case, in order. Each has a database of its own: the services of cases have clocks of their own,
/// and each rolls over whatever its database holds.
async fn all_of(entries: Vec<Entry>) -> Vec<Vec<Difference>> {
    let differences = entries.into_iter().map(|entry| async move {
        let id = entry.id.clone();
        let found = tokio::spawn(async move {
            let case = match entry.case {
                Ok(case) => case,
                Err(misread) => return vec![Difference::misread(&entry.id, &misread)],
            };
            let url = database().await;
            let differences = compare::case(&case, url.clone()).await;
            drop_database(&url).await;
            differences
        });
        let stopped = |error: tokio::task::JoinError| vec![Difference::stopped(&id, &error.to_string())];
        found.await.unwrap_or_else(stopped)
    });
    futures::stream::iter(differences)
        .buffered(CASES_AT_ONCE)
        .collect()
        .await
}
