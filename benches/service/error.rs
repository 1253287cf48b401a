//! Why a measurement could not be made.

use graduated_response::store::embedded::EmbeddedError;

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Wrong arguments.
    #[error("{0}")]
    Usage(String),
    /// Stopped by whoever started it.
    #[error("interrupted")]
    Interrupted,
    /// The private Postgres did not start or stop.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// Postgres refused something.
    #[error("Postgres: {0:?}")]
    Postgres(#[from] tokio_postgres::Error),
    /// The service refused a call.
    #[error("the service refused a call: {0}")]
    Status(Box<tonic::Status>),
    /// The service could not be reached.
    #[error("the service could not be reached: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A file or a process.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The results could not be written.
    #[error("the results could not be written: {0}")]
    Json(#[from] serde_json::Error),
    /// A task died.
    #[error("a task died: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// What was done is not what was to be measured.
    #[error("the measurement does not hold: {0}")]
    Unexpected(String),
}

impl From<tonic::Status> for BenchError {
    fn from(status: tonic::Status) -> BenchError {
        BenchError::Status(Box::new(status))
    }
}

/// Fails unless what was done is what was to be measured.
pub fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), BenchError> {
    if holds {
        Ok(())
    } else {
        Err(BenchError::Unexpected(what()))
    }
}
