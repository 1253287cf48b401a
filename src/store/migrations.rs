//! Migrations, embedded in the binary and run under an advisory lock, so that replicas may start together.

use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::StoreError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Held while migrations run. The number is the service's own and means nothing else.
const LOCK: i64 = 0x6772_6164_7265_7370;

/// One migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its version and name.
    pub name: String,
    /// Whether it has been applied.
    pub applied: bool,
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Migration(error.to_string())
}

/// Every migration that this binary knows, in order.
fn known() -> Result<Vec<Box<dyn Migration<Pg>>>, StoreError> {
    let mut known: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(failed)?;
    known.sort_by(|one, other| one.name().version().cmp(&other.name().version()));
    Ok(known)
}

/// The version and name of a migration, of which the database keeps the version alone.
fn name(version: &MigrationVersion<'_>) -> Result<String, StoreError> {
    let known = known()?;
    let migration = known.iter().find(|migration| migration.name().version() == *version);
    Ok(migration.map_or_else(|| version.to_string(), |migration| migration.name().to_string()))
}

/// Runs `work` on a connection of its own that holds the lock. The role of `url` must own the tables.
async fn locked<T: Send + 'static>(
    url: &str,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let mut connection = AsyncPgConnection::establish(url).await?;
    connection
        .batch_execute(&format!("SELECT pg_advisory_lock({LOCK})"))
        .await?;
    // The harness blocks. The lock goes with the connection.
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let _entered = runtime.enter();
        work(&mut AsyncMigrationHarness::new(connection))
    })
    .await
    .map_err(failed)?
}

/// Applies every migration that the database lacks, and names them.
pub async fn up(url: &str) -> Result<Vec<String>, StoreError> {
    locked(url, |harness| {
        let applied = harness.run_pending_migrations(MIGRATIONS).map_err(failed)?;
        applied.iter().map(name).collect()
    })
    .await
}

/// Takes back the latest migration, and names it. Nothing where the database has none.
pub async fn down(url: &str) -> Result<Option<String>, StoreError> {
    locked(url, |harness| {
        if harness.applied_migrations().map_err(failed)?.is_empty() {
            return Ok(None);
        }
        let reverted = harness.revert_last_migration(MIGRATIONS).map_err(failed)?;
        name(&reverted).map(Some)
    })
    .await
}

/// Every migration that this binary knows, in order.
pub async fn status(url: &str) -> Result<Vec<MigrationStatus>, StoreError> {
    locked(url, |harness| {
        let pending = harness.pending_migrations(MIGRATIONS).map_err(failed)?;
        let pending: Vec<_> = pending.iter().map(|migration| migration.name().version()).collect();
        let statuses = known()?.into_iter().map(|migration| MigrationStatus {
            name: migration.name().to_string(),
            applied: !pending.contains(&migration.name().version()),
        });
        Ok(statuses.collect())
    })
    .await
}
