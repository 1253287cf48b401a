//! The bench's command line.

use std::path::PathBuf;

/// Measures what is claimed about the service's speed, and writes `target/bench/results.json`.
#[derive(clap::Parser, Debug)]
#[command(name = "cargo bench --bench service --")]
pub struct Options {
    /// Measure a tenth of the pupils in fewer and shorter runs: to try the bench, not to claim anything.
    #[arg(long)]
    pub quick: bool,
    /// Only this measurement; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// How many runs of each contender, in place of each measurement's own number.
    #[arg(long, value_name = "N")]
    pub runs: Option<usize>,
    /// Where the private Postgres keeps its data while it runs: a disk, since durability is part of what is measured.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub directory: PathBuf,
    /// Leave the data and the log of Postgres there.
    #[arg(long)]
    pub keep: bool,
    /// A further setting of Postgres.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    /// Pupils in a batch of the year's load.
    #[arg(long, value_name = "N", default_value_t = 2_500)]
    pub year_batch: usize,
    /// Streams side by side in the year's load.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub year_streams: usize,
    /// Connections over which the copy of the year runs.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub copy_connections: usize,
    /// Pupils in a batch of one session.
    #[arg(long, value_name = "N", default_value_t = 25_000)]
    pub session_batch: usize,
    /// Calls side by side in the record of one session.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub session_calls: usize,
    /// Connections over which the 64 point reads run.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub read_connections: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    pub bench: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("give NAME=VALUE".to_owned()),
    }
}

impl Options {
    /// How many schools of 1,000 pupils the trust has.
    pub fn schools(&self) -> usize {
        if self.quick { 5 } else { 50 }
    }

    /// How many runs of each contender, where a measurement asks for `own`.
    pub fn runs(&self, own: usize) -> usize {
        self.runs.unwrap_or(if self.quick { own.min(3) } else { own }).max(1)
    }
}
