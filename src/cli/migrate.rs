//! `migrate`: brings a database's tables up to this version, back, or says where they are.

use std::process::ExitCode;

use super::output::print;
use crate::store::{StoreError, migrations};

/// Brings the database's tables up to this version, takes the latest migration back, or says where they are.
///
/// Runs under a lock, so that it may be started twice. The role of DATABASE_URL must own the tables. `serve` migrates up
/// by itself.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  DATABASE_URL=postgresql://owner@host/database graduated-response migrate up
  graduated-response migrate status --database-url postgresql://owner@host/database

Exit codes: 0 done (status: nothing to apply); 1 status: something to apply; 3 the database cannot be reached or refuses.")]
pub struct MigrateArgs {
    /// What to do.
    #[arg(value_enum)]
    direction: Direction,
    /// The database, for example `postgresql://owner:password@host/database`.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Apply every migration that the database lacks.
    Up,
    /// Take the latest migration back, with all that its tables hold.
    Down,
    /// Say which migrations the database has.
    Status,
}

/// Runs the command, and says what it did.
pub async fn run(args: &MigrateArgs) -> ExitCode {
    match migrate(args).await {
        Ok((text, code)) => match print(&text) {
            Ok(()) => code,
            Err(_) => ExitCode::from(1),
        },
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

async fn migrate(args: &MigrateArgs) -> Result<(String, ExitCode), StoreError> {
    let url = &args.database_url;
    match args.direction {
        Direction::Up => {
            let applied = migrations::up(url).await?;
            let text = match applied.as_slice() {
                [] => "nothing to apply: the database is of this version\n".to_owned(),
                applied => applied.iter().map(|name| format!("applied {name}\n")).collect(),
            };
            Ok((text, ExitCode::SUCCESS))
        }
        Direction::Down => {
            let text = match migrations::down(url).await? {
                Some(name) => format!("took back {name}\n"),
                None => "nothing to take back: the database has no migration\n".to_owned(),
            };
            Ok((text, ExitCode::SUCCESS))
        }
        Direction::Status => {
            let statuses = migrations::status(url).await?;
            let pending = statuses.iter().any(|status| !status.applied);
            let lines = statuses.iter().map(|status| {
                let state = if status.applied { "applied" } else { "to apply" };
                format!("{state:<9}{}\n", status.name)
            });
            Ok((lines.collect(), ExitCode::from(u8::from(pending))))
        }
    }
}
