//! A connection whose statements share a round trip.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{Connection, NoTls, Socket};

use super::{StoreError, as_service, begin_as};
use crate::domain::identifiers::TrustId;

/// A connection that works as the service's role. It is driven by whoever uses it, in the same task: what is asked of it
/// at the same time goes out in one write, and no other task has to wake for it.
pub struct PipelinedConnection {
    connection: AsyncPgConnection,
    driver: Connection<Socket, NoTlsStream>,
}

impl PipelinedConnection {
    pub(super) async fn connect(url: &str) -> Result<PipelinedConnection, StoreError> {
        let failed = |error: tokio_postgres::Error| diesel::ConnectionError::BadConnection(error.to_string());
        let (client, mut driver) = tokio_postgres::connect(url, NoTls).await.map_err(failed)?;
        let connection = drive(&mut driver, async {
            let mut connection = AsyncPgConnection::try_from(client).await?;
            connection
                .batch_execute(&as_service())
                .await
                .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok::<_, StoreError>(connection)
        });
        Ok(PipelinedConnection {
            connection: connection.await??,
            driver,
        })
    }

    /// Does work that needs the connection.
    ///
    /// # Errors
    /// [`StoreError::Lost`] where the connection closes before the work is done; it is of no use any more.
    pub async fn run<T>(&mut self, work: impl AsyncFnOnce(&AsyncPgConnection) -> T) -> Result<T, StoreError> {
        drive(&mut self.driver, work(&self.connection)).await
    }

    /// Waits until the connection is closed from the other side.
    pub async fn closed(&mut self) {
        if let Err(error) = (&mut self.driver).await {
            tracing::debug!(error = %error, "a connection was lost");
        }
    }
}

async fn drive<T>(
    driver: &mut Connection<Socket, NoTlsStream>,
    work: impl Future<Output = T>,
) -> Result<T, StoreError> {
    tokio::select! {
        // What is asked first goes out first.
        biased;
        done = work => Ok(done),
        ended = driver => Err(StoreError::Lost(ended.err())),
    }
}

/// Does `work`, one statement, in a transaction that sees the rows of one trust. The transaction's begin, the statement and
/// the commit go out together, in this order as long as the statement is sent when `work` is first polled: it is for the
/// statement to tell from its answer that it was not within the transaction.
pub async fn within<T>(
    connection: &AsyncPgConnection,
    trust: TrustId,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let begin = begin_as(trust);
    let (mut first, mut last) = (connection, connection);
    let (begun, done, committed) = tokio::join!(
        biased;
        first.batch_execute(&begin),
        work,
        last.batch_execute("COMMIT"),
    );
    begun?;
    let done = done?;
    committed?;
    Ok(done)
}
