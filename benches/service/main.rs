//! What is claimed about the service's speed, measured beside the plainest thing that does the same work in the same run.
//!
//! Each measurement is one file with a `measure` function that returns [`report::Outcome`]s, and one line in
//! [`MEASUREMENTS`]. It gets a database and a process of the service of its own, on one private Postgres with fsync and
//! synchronous_commit on. Runs of the service and of what it is compared with alternate; medians are compared.

mod database;
mod error;
mod fixture;
mod ingest_session;
mod ingest_year;
mod options;
mod point_read;
mod policy_change;
mod report;
mod rig;
mod service;
mod watch_delay;
mod year;

use std::process::ExitCode;

use clap::Parser as _;
use futures::future::BoxFuture;

use crate::error::BenchError;
use crate::options::Options;
use crate::report::{Outcome, Report};
use crate::rig::Rig;

/// Runs on an empty database.
type Measure = for<'a> fn(&'a Rig<'a>) -> BoxFuture<'a, Result<Vec<Outcome>, BenchError>>;

/// Every measurement by name, in the order in which they run.
const MEASUREMENTS: &[(&str, Measure)] = &[
    (ingest_year::NAME, |rig| Box::pin(ingest_year::measure(rig))),
    (ingest_session::NAME, |rig| Box::pin(ingest_session::measure(rig))),
    (point_read::NAME, |rig| Box::pin(point_read::measure(rig))),
    (policy_change::NAME, |rig| Box::pin(policy_change::measure(rig))),
    (watch_delay::NAME, |rig| Box::pin(watch_delay::measure(rig))),
];

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    // Whatever ends `run`, dropping it stops the service and Postgres.
    let ended = tokio::select! {
        ended = run(&options) => ended,
        _ = tokio::signal::ctrl_c() => Err(BenchError::Interrupted),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), BenchError> {
    let chosen: Vec<_> = MEASUREMENTS
        .iter()
        .filter(|(name, _)| options.only.is_empty() || options.only.iter().any(|only| only == name))
        .collect();
    if let Some(unknown) = options
        .only
        .iter()
        .find(|only| !MEASUREMENTS.iter().any(|(name, _)| name == only))
    {
        let names: Vec<_> = MEASUREMENTS.iter().map(|(name, _)| *name).collect();
        return Err(BenchError::Usage(format!(
            "--only {unknown} is no measurement: give one of {}",
            names.join(", ")
        )));
    }
    let postgres = database::Server::start(options).await?;
    println!("{}", postgres.describe().await?);
    let mut report = Report::default();
    for (name, measure) in chosen {
        eprintln!("{name}");
        let rig = Rig::new(&postgres, options).await?;
        let outcomes = measure(&rig).await;
        rig.stop().await?;
        report.add(outcomes?);
    }
    postgres.stop().await?;
    println!("{}", report.table());
    println!("written to {}", report.write()?.display());
    Ok(())
}
