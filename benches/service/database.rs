//! The private Postgres of the bench: durable, with a database for each measurement.

use std::os::unix::fs::PermissionsExt as _;

use bytes::{BufMut as _, BytesMut};
use graduated_response::store::embedded::{EmbeddedConfig, EmbeddedPostgres};
use tempfile::TempDir;
use tokio_postgres::types::{IsNull, ToSql, Type, accepts, to_sql_checked};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::error::BenchError;
use crate::options::Options;

/// What is printed of Postgres's settings.
const SETTINGS_SHOWN: [&str; 10] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_sync_method",
    "wal_compression",
    "shared_buffers",
    "max_wal_size",
    "data_checksums",
];

/// A private Postgres. Dropping it stops it and removes its data.
pub struct Server {
    // Stopped before its directory goes.
    postgres: EmbeddedPostgres,
    _directory: TempDir,
}

impl Server {
    /// Starts one on a new directory.
    pub async fn start(options: &Options) -> Result<Server, BenchError> {
        let mut directory = tempfile::Builder::new()
            .prefix("graduated-response-bench-")
            // As root, Postgres runs as another user, who has to reach its data.
            .permissions(std::fs::Permissions::from_mode(0o755))
            .tempdir_in(&options.directory)?;
        if options.keep {
            directory.disable_cleanup(true);
            eprintln!("Postgres's data and log: {}", directory.path().display());
        }
        let mut settings = vec![
            ("fsync".to_owned(), "on".to_owned()),
            ("synchronous_commit".to_owned(), "on".to_owned()),
            // From when the delay of a watch is measured.
            ("track_commit_timestamp".to_owned(), "on".to_owned()),
        ];
        settings.extend(options.settings.iter().cloned());
        let config = EmbeddedConfig {
            data_dir: directory.path().join("postgres"),
            bin_dir: None,
            settings,
        };
        Ok(Server {
            postgres: EmbeddedPostgres::start(config).await?,
            _directory: directory,
        })
    }

    /// Stops it.
    pub async fn stop(self) -> Result<(), BenchError> {
        Ok(self.postgres.stop().await?)
    }

    /// The machine and the settings.
    pub async fn describe(&self) -> Result<String, BenchError> {
        let sql = connect(&self.postgres.url()).await?;
        let mut settings = Vec::new();
        for name in SETTINGS_SHOWN {
            let row = sql.query_one(&format!("SHOW {name}"), &[]).await?;
            settings.push(format!("{name} {}", row.get::<_, String>(0)));
        }
        let cores = std::thread::available_parallelism()?;
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
        Ok(format!(
            "{cores} cores, shared by the service, Postgres and the bench; load before the runs: {load}\nPostgres: {}",
            settings.join(", ")
        ))
    }

    /// Makes an empty database, and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, BenchError> {
        let url = self.postgres.url();
        connect(&url)
            .await?
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
        let (path, query) = url
            .split_once('?')
            .ok_or_else(|| BenchError::Unexpected("the private Postgres's URL names no socket".to_owned()))?;
        let server = path.rsplit_once('/').map_or(path, |(server, _)| server);
        Ok(format!("{server}/{name}?{query}"))
    }

    /// Drops a database.
    pub async fn drop_database(&self, name: &str) -> Result<(), BenchError> {
        let sql = connect(&self.postgres.url()).await?;
        sql.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        Ok(())
    }
}

/// A connection as the owner of the tables.
pub async fn connect(url: &str) -> Result<Client, BenchError> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Its errors reach the client's calls as well.
    tokio::spawn(connection);
    Ok(client)
}

/// A UUID as a parameter of a statement.
#[derive(Clone, Copy, Debug)]
pub struct Key(pub Uuid);

impl ToSql for Key {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}
