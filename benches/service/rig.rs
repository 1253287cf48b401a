//! What a measurement runs on: a database of its own, a process of the service of its own, and a connection to each.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::database::{Server, connect};
use crate::error::BenchError;
use crate::options::Options;
use crate::service::Service;

const DATABASE: &str = "bench";

/// What a measurement runs on.
pub struct Rig<'a> {
    /// The command line.
    pub options: &'a Options,
    /// The service.
    pub service: Service,
    /// The database's URL.
    pub url: String,
    /// A connection as the owner of the tables.
    pub sql: Client,
    server: &'a Server,
}

impl<'a> Rig<'a> {
    /// Makes the database and starts the service on it.
    pub async fn new(server: &'a Server, options: &'a Options) -> Result<Rig<'a>, BenchError> {
        let url = server.create_database(DATABASE).await?;
        Ok(Rig {
            options,
            service: Service::start(&url).await?,
            sql: connect(&url).await?,
            url,
            server,
        })
    }

    /// Writes to disk what waits for it, so that no run pays for another.
    pub async fn settle(&self) -> Result<(), BenchError> {
        Ok(self.sql.batch_execute("CHECKPOINT").await?)
    }

    /// Stops the service and drops the database.
    pub async fn stop(self) -> Result<(), BenchError> {
        self.service.stop().await?;
        drop(self.sql);
        self.server.drop_database(DATABASE).await
    }
}

/// How long something took.
pub async fn timed<T>(work: impl Future<Output = Result<T, BenchError>>) -> Result<(T, Duration), BenchError> {
    let start = Instant::now();
    let done = work.await?;
    Ok((done, start.elapsed()))
}
