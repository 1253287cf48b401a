//! Postgres through diesel: the pool, transactions that belong to one trust, and migrations.
//!
//! A statement that finds rows by many keys is written so that its plan is one index probe a key, whatever the planner
//! believes of the tables: keys first, then `CROSS JOIN LATERAL` with `OFFSET 0`, which the planner may not turn round; and
//! writes by key are `INSERT … ON CONFLICT DO UPDATE`. Of a table that was just filled and not yet analysed the planner
//! believes that it is all but empty, and it then joins whole tables with each other. For the same reason every plan is a
//! generic one: of a trust that joined after the last ANALYZE the statistics say that it has no rows, and a plan made for
//! that trust reads the whole of it for each key.

pub mod actions;
pub mod announcements;
pub mod batches;
pub mod calendars;
pub mod catalogues;
pub mod embedded;
pub mod episodes;
pub mod erasures;
pub mod feeds;
pub mod history;
pub mod holds;
pub mod jobs;
pub mod legal_holds;
pub mod merges;
pub mod migrations;
pub mod movements;
pub mod notices;
pub mod pipelined;
pub mod policies;
pub mod pupil_changes;
pub mod pupils;
pub mod reconciliations;
pub mod records;
pub mod registers;
pub mod retention;
pub mod revisions;
pub mod schema;
pub mod schools;
pub mod session_lists;
pub mod stage_reader;
pub mod stages;
pub mod subject_data;
pub mod summaries;
pub mod thresholds;
pub mod transitions;
pub mod trusts;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection, TransactionManager,
};
use futures::FutureExt;

use self::announcements::Announcements;
use self::pipelined::PipelinedConnection;
use crate::domain::identifiers::TrustId;

/// The role as which the service works once it is connected: it owns nothing and bypasses nothing.
pub const SERVICE_ROLE: &str = "graduated_response_service";

/// What a connection is told first: to work as the service's role, and to plan generically.
fn as_service() -> String {
    format!("SET ROLE {SERVICE_ROLE}; SET jit = off; SET plan_cache_mode = force_generic_plan")
}

/// Begins a transaction that sees the rows of one trust. The trust is a UUID, so it can be written into the statement: SET
/// takes no parameters.
fn begin_as(trust: TrustId) -> String {
    format!("BEGIN; SET LOCAL app.trust_id = '{trust}'")
}

/// Begins a transaction that sees the rows of one trust as they are with its first statement, and changes none.
fn begin_snapshot_as(trust: TrustId) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL app.trust_id = '{trust}'")
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection could be had from the pool.
    #[error("no database connection could be had: {0}")]
    Pool(#[from] diesel_async::pooled_connection::deadpool::PoolError),
    /// The pool could not be built.
    #[error("the connection pool could not be built: {0}")]
    PoolBuild(#[from] diesel_async::pooled_connection::deadpool::BuildError),
    /// A connection was closed while it was in use.
    #[error("a connection was lost")]
    Lost(#[source] Option<tokio_postgres::Error>),
    /// A connection could not be made.
    #[error("the database could not be reached: {0}")]
    Connection(#[from] diesel::ConnectionError),
    /// A statement failed.
    #[error("a statement failed: {0}")]
    Query(#[from] diesel::result::Error),
    /// Something stored is not what the service stores.
    #[error("the database holds something that the service does not store: {0}")]
    Corrupt(&'static str),
    /// A statement ran outside of any transaction of its trust, and so saw nothing.
    #[error("a statement ran outside of any transaction of its trust")]
    NotOfTrust,
    /// Another write was first: the whole transaction has to begin anew.
    #[error("another write was first")]
    Conflict,
    /// The service is stopping.
    #[error("the service is stopping")]
    Stopped,
    /// A read that was shared with others failed.
    #[error("a shared read failed: {0}")]
    Shared(Arc<StoreError>),
    /// A migration failed.
    #[error("a migration failed: {0}")]
    Migration(String),
}

impl StoreError {
    /// Whether the connection to the database was lost.
    pub fn is_lost_connection(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        let lost = [
            "terminating connection",
            "the database system is shutting down",
            "the database system is starting up",
        ];
        match self {
            StoreError::Lost(_) => true,
            StoreError::Shared(error) => error.is_lost_connection(),
            StoreError::Query(Error::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _,
            )) => true,
            StoreError::Query(Error::DatabaseError(_, information)) => {
                lost.iter().any(|words| information.message().starts_with(words))
            }
            _ => false,
        }
    }

    /// Whether the same transaction may succeed if it begins anew: another one was in the way (a lost race for a key, a
    /// deadlock, a serialization failure).
    pub fn is_transient(&self) -> bool {
        use diesel::result::{DatabaseErrorKind, Error};
        match self {
            StoreError::Conflict => true,
            StoreError::Query(Error::DatabaseError(
                DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::UniqueViolation,
                _,
            )) => true,
            StoreError::Query(Error::DatabaseError(_, information)) => {
                information.message().contains("deadlock detected")
            }
            _ => false,
        }
    }
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Pool<AsyncPgConnection>,
    url: Arc<str>,
    announcements: Announcements,
}

impl Store {
    /// Connects lazily to the database at `url` with at most `connections_max` connections, each of which works as the
    /// service's role.
    pub fn new(url: &str, connections_max: usize) -> Result<Store, StoreError> {
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(|url| connect_as_service(url).boxed());
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, config);
        let pool = Pool::builder(manager).max_size(connections_max).build()?;
        Ok(Store {
            pool,
            url: url.into(),
            announcements: Announcements::default(),
        })
    }

    /// Who waits for what this process appends to a trust's feeds.
    pub fn announcements(&self) -> &Announcements {
        &self.announcements
    }

    /// A connection that belongs to no trust: it reads the directory of trusts, and no row of any tenant.
    pub async fn connection(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        Ok(self.pool.get().await?)
    }

    /// A connection of its own, outside of the pool, for statements that share a round trip.
    pub async fn pipelined(&self) -> Result<PipelinedConnection, StoreError> {
        PipelinedConnection::connect(&self.url).await
    }

    /// Begins a transaction that sees the rows of one trust. Dropped without a commit, it is rolled back.
    pub async fn begin(&self, trust: TrustId) -> Result<TrustTransaction, StoreError> {
        self.begin_with(&begin_as(trust)).await
    }

    /// The same for one that only reads, and whose statements all see the trust as it is with the first of them, whatever is
    /// written meanwhile.
    pub async fn begin_snapshot(&self, trust: TrustId) -> Result<TrustTransaction, StoreError> {
        self.begin_with(&begin_snapshot_as(trust)).await
    }

    async fn begin_with(&self, begin: &str) -> Result<TrustTransaction, StoreError> {
        // Connections that died in the pool (the database was restarted) are only found out by using them: each is
        // thrown away, until one lives or a new one cannot be made.
        for _ in 0..self.pool.status().max_size {
            match self.begin_once(begin).await {
                Err(error) if error.is_lost_connection() => tracing::debug!(error = %error, "a connection was lost"),
                begun => return begun,
            }
        }
        self.begin_once(begin).await
    }

    async fn begin_once(&self, begin: &str) -> Result<TrustTransaction, StoreError> {
        let connection = self.pool.get().await?;
        let mut transaction = TrustTransaction {
            connection: Some(connection),
            to_announce: None,
            announcements: self.announcements.clone(),
        };
        AnsiTransactionManager::begin_transaction_sql(transaction.deref_mut(), begin).await?;
        Ok(transaction)
    }
}

async fn connect_as_service(url: &str) -> diesel::ConnectionResult<AsyncPgConnection> {
    let mut connection = AsyncPgConnection::establish(url).await?;
    connection
        .batch_execute(&as_service())
        .await
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// A transaction of one trust. One that is dropped before it ends (an error, a call that was given up) closes its
/// connection, so that it leaves nothing written and nothing locked.
pub struct TrustTransaction {
    /// There until the transaction has ended.
    connection: Option<Object<AsyncPgConnection>>,
    /// The trust, once something was appended to one of its feeds.
    to_announce: Option<TrustId>,
    announcements: Announcements,
}

impl TrustTransaction {
    /// Has whoever follows the trust's feeds woken once the transaction is committed, since it appended to one of them.
    pub fn announce_on_commit(&mut self, trust: TrustId) {
        self.to_announce = Some(trust);
    }

    /// Commits. What was written is durable when this returns.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        AnsiTransactionManager::commit_transaction(self.deref_mut()).await?;
        self.connection = None;
        if let Some(trust) = self.to_announce {
            self.announcements.announce(trust);
        }
        Ok(())
    }

    /// Takes everything back, and gives the connection back whole.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        AnsiTransactionManager::rollback_transaction(self.deref_mut()).await?;
        self.connection = None;
        Ok(())
    }
}

impl Deref for TrustTransaction {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        match &self.connection {
            Some(connection) => connection,
            // Only `commit` and `rollback` take it out, and they consume the transaction.
            None => unreachable!("a transaction that has ended is not used"),
        }
    }
}

impl DerefMut for TrustTransaction {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("a transaction that has ended is not used"),
        }
    }
}

impl Drop for TrustTransaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Given back to the pool it would keep its locks until somebody takes it out again.
            drop(Object::take(connection));
        }
    }
}
