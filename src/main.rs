//! The command line of `graduated-response`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use graduated_response::cli::connect::{EndpointArgs, TrustArgs};
use graduated_response::cli::{
    actions, calendar, case_file, classify, coverage, demo, doctor, establishments, explain, forecast, import, migrate,
    outcomes, serve, stages, thresholds, watch,
};
use graduated_response::telemetry::{self, TelemetryArgs};

/// Which stage of its trust's graduated response is each pupil at, why, and what has to be done.
///
/// `serve` runs the service. The other commands speak to its port, but for `migrate` and `doctor`, which speak to the
/// database. Every command has a `--help` with examples.
///
/// Exit codes: 0 done; 1 refused, or not everything was taken; 2 wrong arguments or a file that cannot be read; 3 the
/// service or the database cannot be reached.
#[derive(Parser)]
#[command(
    version,
    about,
    long_about,
    after_help = "\
Examples:
  graduated-response serve --demo                     a service with a sample trust
  graduated-response stages                           how many of its pupils are at each stage
  graduated-response explain sample:999002/000002     why one of them is where they are"
)]
struct Cli {
    #[command(flatten)]
    telemetry: TelemetryArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Migrate(migrate::MigrateArgs),
    Demo {
        #[command(flatten)]
        endpoint: EndpointArgs,
        #[command(flatten)]
        args: demo::DemoArgs,
    },
    Trusts {
        #[command(flatten)]
        endpoint: EndpointArgs,
        #[command(flatten)]
        args: establishments::TrustsArgs,
    },
    Schools {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: establishments::SchoolsArgs,
    },
    Calendar {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: calendar::CalendarArgs,
    },
    Import {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: import::ImportArgs,
    },
    Stages {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: stages::StagesArgs,
    },
    Explain {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: explain::ExplainArgs,
    },
    Forecast {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: forecast::ForecastArgs,
    },
    Thresholds {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: thresholds::ThresholdsArgs,
    },
    Actions {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: actions::ActionsArgs,
    },
    Coverage {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: coverage::CoverageArgs,
    },
    CaseFile {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: case_file::CaseFileArgs,
    },
    Outcomes {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: outcomes::OutcomesArgs,
    },
    Classify {
        #[command(flatten)]
        endpoint: EndpointArgs,
        #[command(flatten)]
        args: classify::ClassifyArgs,
    },
    Watch {
        #[command(flatten)]
        trust: TrustArgs,
        #[command(flatten)]
        args: watch::WatchArgs,
    },
    Doctor(doctor::DoctorArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let _telemetry = match telemetry::init(&cli.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => return failed(&error, ExitCode::from(2)),
    };
    let ended = match cli.command {
        Command::Serve(args) => {
            return serve::run(*args).await.unwrap_or_else(|error| {
                let code = error.exit_code();
                failed(&error, code)
            });
        }
        Command::Migrate(args) => return migrate::run(&args).await,
        Command::Doctor(args) => return doctor::run(&args).await,
        Command::Demo { endpoint, args } => match endpoint.connect().await {
            Ok(connection) => demo::load(&args, connection.channel).await.map(|_| ExitCode::SUCCESS),
            Err(error) => Err(error),
        },
        Command::Trusts { endpoint, args } => match endpoint.connect().await {
            Ok(connection) => establishments::trusts(&args, connection.channel).await,
            Err(error) => Err(error),
        },
        Command::Schools { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => establishments::schools(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Calendar { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => calendar::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Import { trust, args } => {
            return match trust.connect_lazily(args.dry_run).await {
                Ok((connection, trust)) => import::run(args, connection.channel, trust)
                    .await
                    .unwrap_or_else(|error| {
                        let code = error.exit_code();
                        failed(&error, code)
                    }),
                Err(error) => {
                    let code = error.exit_code();
                    failed(&error, code)
                }
            };
        }
        Command::Stages { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => stages::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Watch { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => watch::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Explain { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => explain::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Forecast { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => forecast::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Thresholds { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => thresholds::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Actions { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => actions::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Coverage { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => coverage::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::CaseFile { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => case_file::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Outcomes { trust, args } => match trust.connect().await {
            Ok((connection, trust)) => outcomes::run(&args, connection.channel, trust).await,
            Err(error) => Err(error),
        },
        Command::Classify { endpoint, args } => match endpoint.connect().await {
            Ok(connection) => classify::run(&args, connection.channel).await,
            Err(error) => Err(error),
        },
    };
    ended.unwrap_or_else(|error| {
        let code = error.exit_code();
        failed(&error, code)
    })
}

/// Says what went wrong, for people.
fn failed(error: &dyn std::error::Error, code: ExitCode) -> ExitCode {
    eprintln!("error: {error}");
    code
}
