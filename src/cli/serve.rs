//! `serve`: the service itself, on a database that is given or on a private one of its own.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::connect::Connection;
use super::demo::{self, DemoArgs};
use super::error::CommandError;
use super::stages::{self, StagesArgs};
use crate::clock::Clock;
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{ListPupilStagesRequest, Stage, SummarizeTrustRequest};
use crate::server::ServerError;
use crate::service::{Limits, Service};
use crate::store::embedded::{EmbeddedConfig, EmbeddedError, EmbeddedPostgres, default_data_dir};
use crate::store::{Store, StoreError, migrations};

/// Where the database is.
#[derive(clap::Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// The database to use, for example `postgresql://user:password@host/database`. Without it the service runs a private
    /// Postgres of its own.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Where the private Postgres keeps its data.
    #[arg(long, env = "GRADUATED_RESPONSE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the binaries of Postgres are; they are looked for where Debian, Fedora and Homebrew put them.
    #[arg(long, env = "GRADUATED_RESPONSE_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The private Postgres that these arguments ask for.
    pub fn embedded(&self) -> EmbeddedConfig {
        EmbeddedConfig {
            data_dir: self.data_dir.clone().unwrap_or_else(default_data_dir),
            bin_dir: self.postgres_bin.clone(),
            settings: Vec::new(),
        }
    }
}

/// Runs the service.
///
/// With no DATABASE_URL it runs a private Postgres from binaries already on the machine, in a data directory of its own,
/// and stops it with the service. Migrations run at the start, under a lock.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response serve                          on 127.0.0.1:50051, with a private Postgres
  graduated-response serve --demo                   the same, with the sample trust loaded
  DATABASE_URL=postgresql://... graduated-response serve")]
pub struct ServeArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// The address to listen on. Callers are not authenticated, so it has to be a loopback address.
    #[arg(
        long,
        env = "GRADUATED_RESPONSE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    listen: SocketAddr,
    /// How many database connections at the most, besides the two that reads of single stages have for their own.
    #[arg(long, env = "GRADUATED_RESPONSE_CONNECTIONS", value_name = "N", default_value_t = 16)]
    connections: usize,
    /// For how many days after it was recorded a transition, or what was recorded on an action, can be watched. Neither is ever
    /// deleted: ListTransitions and ListActionEntries list all of them.
    #[arg(
        long,
        env = "GRADUATED_RESPONSE_FEED_RETENTION_DAYS",
        value_name = "DAYS",
        default_value_t = Limits::default().feed_retention_days,
        value_parser = clap::value_parser!(u32).range(1..=36_500)
    )]
    feed_retention_days: u32,
    /// For callers who ask for suppression: counts of pupils from 1 to below this are not told. 6 hides 1 to 5.
    #[arg(
        long,
        env = "GRADUATED_RESPONSE_SMALL_NUMBER_LIMIT",
        value_name = "N",
        default_value_t = Limits::default().small_number_limit,
        value_parser = clap::value_parser!(u64).range(2..=1_000)
    )]
    small_number_limit: u64,
    /// Set the service's clock: an instant such as 2026-06-26T12:00:00Z, or a date. It runs on from there. For
    /// demonstrations and tests.
    #[arg(long, env = "GRADUATED_RESPONSE_CLOCK", value_name = "INSTANT", value_parser = instant)]
    clock: Option<DateTime<Utc>>,
    /// Load the sample trust, print its pupils by stage, and set the clock to the sample's last day unless --clock says
    /// otherwise.
    #[arg(long)]
    demo: bool,
    #[command(flatten)]
    sample: DemoArgs,
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(instant) = text.parse::<DateTime<Utc>>() {
        return Ok(instant);
    }
    let date: NaiveDate = text
        .parse()
        .map_err(|_| "give an instant such as 2026-06-26T12:00:00Z, or a date such as 2026-06-26".to_owned())?;
    Ok(noon(date))
}

/// Noon in universal time: the same date in London, summer and winter.
fn noon(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc() + chrono::TimeDelta::hours(12)
}

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is on a network, and nobody would be asked who they are.
    #[error(
        "{0} is not a loopback address: callers are not authenticated, so the service listens on the machine itself alone; \
         give --listen 127.0.0.1:50051"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The private Postgres did not start or stop.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The sample could not be loaded.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signal(std::io::Error),
    /// The task of the server died.
    #[error("the server's task died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: ServeArgs) -> Result<ExitCode, ServeError> {
    if !args.listen.ip().is_loopback() {
        return Err(ServeError::NotLoopback(args.listen));
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|source| ServeError::Listen {
            address: args.listen,
            source,
        })?;
    let embedded = match &args.database.database_url {
        Some(_) => None,
        None => Some(EmbeddedPostgres::start(args.database.embedded()).await?),
    };
    let url = match (&args.database.database_url, &embedded) {
        (Some(url), _) => url.clone(),
        (None, Some(embedded)) => embedded.url(),
        (None, None) => String::new(),
    };
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("SIGINT"),
        }
    };
    let served = serve_on(listener, &url, &args, stop).await;
    // The database is stopped whatever became of the service.
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve_on(
    listener: TcpListener,
    url: &str,
    args: &ServeArgs,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    for migration in migrations::up(url).await? {
        tracing::info!(migration, "a migration was applied");
    }
    let clock = match (args.clock, args.demo) {
        (Some(instant), _) => Clock::set_to(instant),
        (None, true) => Clock::set_to(noon(args.sample.through)),
        (None, false) => Clock::system(),
    };
    if clock.is_set() {
        tracing::warn!(clock.day = %clock.today(), "the clock was set by hand: for demonstrations and tests alone");
    }
    let address = listener.local_addr().map_err(|source| ServeError::Listen {
        address: args.listen,
        source,
    })?;
    let store = Store::new(url, args.connections)?;
    let limits = Limits {
        feed_retention_days: args.feed_retention_days,
        small_number_limit: args.small_number_limit,
        ..Limits::default()
    };
    let service = Service::new(store, clock, limits);
    let (asked_to_stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let mut server = tokio::spawn(crate::server::serve(listener, service, async move {
        // Stopped by whoever drops the other end, too.
        let _ = stopping.await;
    }));
    let mut stop = std::pin::pin!(stop);
    if args.demo {
        let loaded = tokio::select! {
            loaded = show_sample(address, &args.sample) => loaded,
            () = &mut stop => Ok(()),
        };
        if let Err(error) = loaded {
            drop(asked_to_stop);
            server.await??;
            return Err(error.into());
        }
    }
    say(&format!("ready: serving on {address}\n"))?;
    tokio::select! {
        ended = &mut server => return Ok(ended??),
        () = &mut stop => {}
    }
    drop(asked_to_stop);
    Ok(server.await??)
}

/// Loads the sample trust through the port, and shows it with what to try next.
async fn show_sample(address: SocketAddr, sample: &DemoArgs) -> Result<(), CommandError> {
    let connection = Connection::to(&format!("http://{address}")).await?;
    let sample = DemoArgs {
        yes: true,
        ..sample.clone()
    };
    let loaded = demo::load(&sample, connection.channel.clone()).await?;
    stages::run(&StagesArgs::default(), connection.channel.clone(), loaded.trust_id).await?;
    let trust_id = loaded.trust_id.to_string();
    let request = ListPupilStagesRequest {
        trust_id: trust_id.clone(),
        stages: vec![Stage::Five.into()],
        page_size: 1,
        ..ListPupilStagesRequest::default()
    };
    let mut client = StageServiceClient::new(connection.channel);
    let pupils = client.list_pupil_stages(request).await?.into_inner().pupil_stages;
    let pupil = pupils.first().map_or("PUPIL", |stage| stage.pupil_id.as_str());
    let summary = client.summarize_trust(SummarizeTrustRequest {
        trust_id: trust_id.clone(),
    });
    let schools = summary.await?.into_inner().schools;
    let urn = schools.first().map_or("URN", |school| school.urn.as_str());
    let endpoint = if address.port() == 50051 {
        String::new()
    } else {
        format!(" --endpoint http://{address}")
    };
    say(&format!(
        "\nTry next, in another terminal (after `make run` the program is target/release/graduated-response):\n  \
         graduated-response stages{endpoint} --school {urn}     one school's pupils at stages 1 to 5\n  \
         graduated-response stages{endpoint} --stage 5           who is severely absent\n  \
         graduated-response explain{endpoint} {pupil}\n  \
         {blank:39}    why this pupil is at stage 5, and what is to be done\n  \
         graduated-response import --help              bring your own pupils and marks\n  \
         grpcurl -plaintext -d '{{\"trust_id\":\"{trust_id}\"}}' {address} \\\n      \
         graduated_response.v1.StageService/SummarizeTrust\n\n",
        blank = ""
    ))?;
    Ok(())
}

fn say(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

impl ServeError {
    /// 2 for wrong arguments, 3 where the database cannot be used, 1 for the rest.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            ServeError::NotLoopback(_) => ExitCode::from(2),
            ServeError::Store(_) | ServeError::Embedded(_) => ExitCode::from(3),
            ServeError::Command(error) => error.exit_code(),
            _ => ExitCode::from(1),
        }
    }
}
