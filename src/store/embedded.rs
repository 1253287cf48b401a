//! A private Postgres for development and evaluation: found on the machine, started on a Unix socket that only this
//! service's user can reach, and stopped with the service. Its data outlives both.

mod binaries;
mod directory;
mod environment;
mod error;
mod identity;
mod leftover;
#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    io::ErrorKind,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use tokio::{
    process::Child,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tokio_postgres::NoTls;

use self::{
    binaries::Search,
    directory::{Directory, Lock, Log},
    error::io_error,
    identity::Identity,
};
pub use self::{
    binaries::{Binaries, MAJOR_MIN, find_binaries},
    environment::default_data_dir,
    error::EmbeddedError,
};

/// The superuser, and the owner of the database.
const ROLE: &str = "graduated_response";
const DATABASE: &str = "graduated_response";

/// Long enough to recover a large write-ahead log after a crash.
const READY_WITHIN: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// Settings for a developer's machine. Durability stays as in production.
const SETTINGS: [(&str, &str); 12] = [
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    ("wal_compression", "off"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("max_connections", "200"),
    ("jit", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("logging_collector", "off"),
    // Without the DETAIL of an error, which quotes rows and with them personal data.
    ("log_error_verbosity", "terse"),
];

/// Settings that are the service's own: where the server listens, and where its files are.
const RESERVED: [&str; 7] = [
    "listen_addresses",
    "port",
    "unix_socket_directories",
    "data_directory",
    "config_file",
    "hba_file",
    "external_pid_file",
];

/// How to start the private Postgres.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// The Postgres data directory. Made on the first start, with its missing parents; a lock and a log lie beside it
    /// under the same name with `.lock` and `.log` added. See [`default_data_dir`].
    pub data_dir: PathBuf,
    /// Where `postgres`, `initdb` and `pg_ctl` are. None searches the path and the usual places.
    pub bin_dir: Option<PathBuf>,
    /// Further settings, as in `postgresql.conf`. They come after the service's own, so the last one wins.
    pub settings: Vec<(String, String)>,
}

/// A private Postgres that runs. Use [`EmbeddedPostgres::stop`] to end it; dropping it asks the server to stop without
/// waiting until it has. Should this process be killed, the next start on the same directory puts things right.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    place: Place,
    /// None once it is stopped.
    server: Option<Child>,
    /// Held for as long as this process owns the data directory.
    _lock: Lock,
}

/// Where everything is.
#[derive(Debug, Clone)]
struct Place {
    directory: Directory,
    binaries: Binaries,
    identity: Identity,
    socket_dir: PathBuf,
}

impl EmbeddedPostgres {
    /// Starts Postgres on the data directory, and returns once it takes connections and has the database. The first
    /// start makes the cluster, which takes some seconds.
    ///
    /// Run as root, everything of Postgres runs as user `postgres`, else `nobody`.
    ///
    /// # Errors
    ///
    /// Binaries missing, too old or of another version than the data; a data directory that is in use, cannot be
    /// reached or is something else; a server that does not come up, with the end of its log.
    pub async fn start(config: EmbeddedConfig) -> Result<Self, EmbeddedError> {
        check_settings(&config.settings)?;
        let settings = config.settings.clone();
        let (place, lock, log) = spawn_blocking(move || prepare(&config)).await??;
        let server = spawn(&place, &settings, &log)?;
        // From here on, whatever ends this function also ends the server.
        let mut postgres = Self {
            place,
            server: Some(server),
            _lock: lock,
        };
        postgres.wait_until_ready(&log).await?;
        create_database(&postgres.place.socket_dir).await?;
        tracing::info!(db.version = postgres.place.binaries.version, "private Postgres started");
        Ok(postgres)
    }

    /// The URL to connect with, through the Unix socket, as the superuser who owns the database. Good for this process
    /// and for `psql` run by the same user or root, for as long as the server runs.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = format!("postgresql://{ROLE}@/{DATABASE}?host=");
        for byte in self.place.socket_dir.as_os_str().as_bytes() {
            if byte.is_ascii_alphanumeric() || b"._-".contains(byte) {
                url.push(char::from(*byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(url, "%{byte:02X}");
            }
        }
        url
    }

    /// The Postgres data directory, by its real name.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.place.directory.path
    }

    /// The binaries in use.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.place.binaries
    }

    /// Stops Postgres and waits until it has: connections are cut, what was committed is on disk. Where that takes more
    /// than 30 seconds it is stopped at once, and recovers at the next start.
    ///
    /// # Errors
    ///
    /// [`EmbeddedError::Io`] where its end cannot be learnt.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        if let Ok(Some(status)) = server.try_wait() {
            tracing::warn!(%status, "the private Postgres had already ended");
            return Ok(());
        }
        signal(&server, leftover::STOP_FAST);
        if timeout(leftover::STOP_WITHIN, server.wait()).await.is_err() {
            tracing::warn!("the private Postgres did not stop in time: stopping it at once");
            signal(&server, leftover::STOP_AT_ONCE);
        }
        server.wait().await.map_err(io_error("wait for", "postgres"))?;
        if !self.place.socket_dir.starts_with(&self.place.directory.path) {
            // Only tidiness: the next start takes one that is there.
            let _ = std::fs::remove_dir(&self.place.socket_dir);
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self, log: &Log) -> Result<(), EmbeddedError> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        let pid_file = self.place.directory.path.join("postmaster.pid");
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = server.try_wait().map_err(io_error("wait for", "postgres"))? {
                return Err(EmbeddedError::Died {
                    status,
                    log: log.path.clone(),
                    tail: log.tail(),
                });
            }
            let text = tokio::fs::read_to_string(&pid_file).await;
            if text.is_ok_and(|text| says_ready(&text, server.id())) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(EmbeddedError::NotReady {
                    seconds: READY_WITHIN.as_secs(),
                    log: log.path.clone(),
                    tail: log.tail(),
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Lets go of the directory and leaves the server running, as a process that is killed does.
    #[cfg(test)]
    fn abandon(mut self) {
        self.server = None;
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            signal(server, leftover::STOP_FAST);
        }
    }
}

/// Signals the server. Its process id is known only until it has been waited for, so it is no one else's.
fn signal(server: &Child, signal: Signal) {
    let pid = server.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid
        && let Err(error) = kill(Pid::from_raw(pid), signal)
    {
        tracing::warn!(%error, "cannot signal the private Postgres");
    }
}

/// All that comes before the server: blocking work with files and programs.
fn prepare(config: &EmbeddedConfig) -> Result<(Place, Lock, Log), EmbeddedError> {
    let directory = Directory::resolve(&config.data_dir, geteuid().is_root())?;
    let lock = directory.lock()?;
    let version = directory.version()?;
    let wanted = version.as_ref().and_then(|version| version.parse().ok());
    let binaries = Search::here(config.bin_dir.as_deref()).find(wanted)?;
    let identity = Identity::for_data_dir(&directory.path)?;
    identity.check_way_to(&directory.path)?;
    match version {
        Some(version) => {
            check_version(&directory, version, &binaries)?;
            directory.check_owner(&identity)?;
            leftover::clear(&directory.path)?;
        }
        None => directory.create(&identity, &binaries)?,
    }
    let socket_dir = directory.socket_dir(&identity)?;
    let log = directory.open_log()?;
    let place = Place {
        directory,
        binaries,
        identity,
        socket_dir,
    };
    Ok((place, lock, log))
}

/// Whether [`EmbeddedPostgres::start`] can use the data directory, as far as can be told without changing anything: true
/// where it is there and will do, false where a start has yet to make it.
///
/// # Errors
///
/// The same as those of [`EmbeddedPostgres::start`].
pub fn check_data_dir(config: &EmbeddedConfig) -> Result<bool, EmbeddedError> {
    let path = match std::fs::canonicalize(&config.data_dir) {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error("look at", &config.data_dir)(error)),
    };
    let directory = Directory { path };
    let version = directory.version()?;
    let identity = Identity::for_data_dir(&directory.path)?;
    identity.check_way_to(&directory.path)?;
    let Some(version) = version else {
        return Ok(false);
    };
    let wanted = version.parse().ok();
    let binaries = Search::here(config.bin_dir.as_deref()).find(wanted)?;
    check_version(&directory, version, &binaries)?;
    directory.check_owner(&identity)?;
    Ok(true)
}

/// Checks that the binaries are of the version that made the cluster.
fn check_version(directory: &Directory, version: String, binaries: &Binaries) -> Result<(), EmbeddedError> {
    if version.parse() == Ok(binaries.version) {
        return Ok(());
    }
    Err(EmbeddedError::VersionMismatch {
        data_dir: directory.path.clone(),
        data_version: version,
        bin_dir: binaries.bin_dir.clone(),
        binaries_version: binaries.version,
    })
}

/// Starts the server in a process group of its own, so that a Ctrl-C at the terminal reaches the service alone, which
/// then ends the server in good order.
fn spawn(place: &Place, settings: &[(String, String)], log: &Log) -> Result<Child, EmbeddedError> {
    let program = place.binaries.program("postgres");
    let log_handle = || {
        log.file
            .try_clone()
            .map(Stdio::from)
            .map_err(io_error("open", &log.path))
    };
    let mut command = tokio::process::Command::from(place.identity.command(&program));
    command
        .arg("-D")
        .arg(&place.directory.path)
        .args(["-c", "listen_addresses=", "-c", "port=5432", "-c"])
        .arg(format!("unix_socket_directories={}", place.socket_dir.display()))
        .stdout(log_handle()?)
        .stderr(log_handle()?)
        .process_group(0);
    for (name, value) in SETTINGS {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command.spawn().map_err(io_error("run", program))
}

/// Whether `postmaster.pid` was written by process `pid` and has the line that says that it takes connections.
fn says_ready(pid_file: &str, pid: Option<u32>) -> bool {
    let mut lines = pid_file.lines().map(str::trim);
    let writer = lines.next().and_then(|line| line.parse().ok());
    writer.is_some() && writer == pid && lines.nth(6) == Some("ready")
}

fn check_settings(settings: &[(String, String)]) -> Result<(), EmbeddedError> {
    for (name, value) in settings {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.".contains(&b);
        let problem = if name.is_empty() || !name.bytes().all(plain) {
            "is no setting's name: use letters, digits, `_` and `.`"
        } else if value.contains('\0') {
            "has a value with a zero byte in it: leave it out"
        } else if RESERVED.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            "is the service's own: leave it out, or set DATABASE_URL to use a server of yours"
        } else {
            continue;
        };
        return Err(EmbeddedError::Setting {
            name: name.clone(),
            problem,
        });
    }
    Ok(())
}

/// Creates the database where it is not there yet.
async fn create_database(socket_dir: &Path) -> Result<(), EmbeddedError> {
    let failed = |doing| move |source| EmbeddedError::Database { doing, source };
    let (client, connection) = tokio_postgres::Config::new()
        .host_path(socket_dir)
        .user(ROLE)
        .dbname("postgres")
        .connect(NoTls)
        .await
        .map_err(failed("connect to the database `postgres`"))?;
    // Its errors reach the client's calls as well.
    let connection = tokio::spawn(connection);
    let there = client
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&DATABASE])
        .await
        .map_err(failed("list databases"))?;
    if there.is_none() {
        client
            .batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"))
            .await
            .map_err(failed("create the database"))?;
    }
    drop(client);
    let _ = connection.await?;
    Ok(())
}
