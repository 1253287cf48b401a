//! What can go wrong with the private Postgres, each with what to do about it.

use std::{io, path::PathBuf, process::ExitStatus};

use super::binaries::{Binaries, MAJOR_MIN};

const INSTALL: &str = "install PostgreSQL: Debian and Ubuntu `apt-get install postgresql`, \
    Fedora `dnf install postgresql-server`, macOS `brew install postgresql@17`; \
    or set DATABASE_URL to use a server that is already running";

/// Why the private Postgres could not be found, started or stopped. Every message names the directory or the
/// program, and the fix where there is one.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No directory searched holds `postgres`, `initdb` and `pg_ctl`.
    #[error("no PostgreSQL binaries (postgres, initdb, pg_ctl) in {}: {INSTALL}", list(.searched))]
    BinariesNotFound {
        /// The directories that were looked into, in order.
        searched: Vec<PathBuf>,
    },

    /// Binaries were found, all of them of a version that is not supported.
    #[error(
        "PostgreSQL {MAJOR_MIN} or later is needed, but only older ones are here: {}; {INSTALL}",
        versions(.found)
    )]
    BinariesTooOld {
        /// What was found.
        found: Vec<Binaries>,
    },

    /// The data directory belongs to another major version than the binaries.
    #[error(
        "{} was made by PostgreSQL {data_version}, but the binaries in {} are PostgreSQL {binaries_version}: \
         install PostgreSQL {data_version}, or move its data over with pg_upgrade or pg_dump, \
         or delete the directory if its data may go",
        data_dir.display(), bin_dir.display()
    )]
    VersionMismatch {
        /// The data directory.
        data_dir: PathBuf,
        /// What its `PG_VERSION` says.
        data_version: String,
        /// Where the binaries are.
        bin_dir: PathBuf,
        /// Their major version.
        binaries_version: u32,
    },

    /// Another process owns the data directory.
    #[error(
        "{} is in use by another graduated-response{}: stop that one, or name another data directory",
        data_dir.display(), owner_process(.owner)
    )]
    InUse {
        /// The data directory.
        data_dir: PathBuf,
        /// The process that holds it, where it could be read.
        owner: Option<u32>,
    },

    /// The user that Postgres runs as cannot reach the data directory.
    #[error(
        "Postgres runs as user {user}, who may not enter {}, a parent of the data directory {}: \
         run `chmod o+x {}`, or name a data directory elsewhere, such as /var/lib/graduated-response/postgres",
        directory.display(), data_dir.display(), directory.display()
    )]
    NotTraversable {
        /// The first parent that is closed.
        directory: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
        /// The user without a way in.
        user: String,
    },

    /// The data directory has files in it, but no cluster.
    #[error(
        "{} is not empty and not a Postgres data directory: name a new or an empty directory",
        data_dir.display()
    )]
    NotACluster {
        /// The data directory.
        data_dir: PathBuf,
    },

    /// A directory belongs to a user other than the one that Postgres runs as.
    #[error(
        "{} belongs to user id {owner}, but Postgres runs as user {user}: run `chown -R {user} {}`, \
         or name another data directory",
        directory.display(), directory.display()
    )]
    WrongOwner {
        /// The directory.
        directory: PathBuf,
        /// Its owner's user id.
        owner: u32,
        /// The user that Postgres runs as.
        user: String,
    },

    /// The directory for the socket is there already, and is not private.
    #[error(
        "{} should be a directory of user {user} with mode 0700, for Postgres's socket, but is not: remove it",
        directory.display()
    )]
    SocketDirectory {
        /// The directory.
        directory: PathBuf,
        /// The user that Postgres runs as.
        user: String,
    },

    /// A process running as root found no user to run Postgres as.
    #[error("Postgres does not run as root, and there is no user `postgres` or `nobody`: create one of them")]
    NoUser,

    /// A setting that cannot be passed on.
    #[error("Postgres setting `{name}` {problem}")]
    Setting {
        /// The setting's name.
        name: String,
        /// What is wrong with it, and the fix.
        problem: &'static str,
    },

    /// `initdb` failed.
    #[error("{} failed ({status}): {output}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },

    /// A Postgres left over on this data directory does not go away.
    #[error(
        "processes {processes:?} of an earlier Postgres on {} do not end: stop them, then start again",
        data_dir.display()
    )]
    Leftover {
        /// The data directory.
        data_dir: PathBuf,
        /// The process ids.
        processes: Vec<i32>,
    },

    /// Postgres ended while it started.
    #[error("Postgres ended while starting ({status}); the end of {}:\n{tail}", log.display())]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },

    /// Postgres did not become ready in time.
    #[error("Postgres was not ready after {seconds} s; the end of {}:\n{tail}", log.display())]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },

    /// The file system said no.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The server said no.
    #[error("cannot {doing} in the private Postgres: {source}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: tokio_postgres::Error,
    },

    /// A background task was cancelled, as happens when the runtime shuts down.
    #[error("starting Postgres was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Wraps an I/O error with what was tried, and on what.
pub(super) fn io_error(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> EmbeddedError {
    let path = path.into();
    move |source| EmbeddedError::Io { doing, path, source }
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "any of the usual places".to_owned();
    }
    let paths: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    paths.join(", ")
}

fn versions(found: &[Binaries]) -> String {
    let found: Vec<_> = found
        .iter()
        .map(|b| format!("{} in {}", b.version, b.bin_dir.display()))
        .collect();
    found.join(", ")
}

fn owner_process(owner: &Option<u32>) -> String {
    owner.map_or_else(String::new, |pid| format!(" (process {pid})"))
}
