//! Places in a trust's feeds. A feed is what is appended to a table in the order of the commits: positions are taken from a
//! counter of the trust under a lock that is held to the commit, so they have no gaps and none appears late.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use crate::domain::identifiers::TrustId;

/// A place in a feed: that of a row, or the one before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct Place {
    /// The position of the row; 0 before the first.
    #[diesel(sql_type = sql_types::BigInt)]
    pub position: i64,
    /// When the row was recorded: tells it from a row that took its position after the database was restored to an earlier
    /// point. The beginning of 1970 before the first.
    #[diesel(sql_type = sql_types::Timestamptz)]
    pub recorded_at: DateTime<Utc>,
}

impl Place {
    /// Before the first row.
    pub const BEGINNING: Place = Place {
        position: 0,
        recorded_at: DateTime::UNIX_EPOCH,
    };
}

/// A place, as a feed has it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The feed's last row.
    pub end: Place,
    /// The row at the position asked for; nothing where the feed has none.
    pub here: Option<Place>,
    /// The row after it.
    pub next: Option<Place>,
}

/// Where a feed is kept.
#[derive(Clone, Copy, Debug)]
pub struct FeedTable {
    /// The table, whose rows have a position and the time at which they were recorded.
    pub table: &'static str,
    /// The column of `feeds` with the position of the last row.
    pub counter: &'static str,
}

/// The last row of the feed, the one at a position and the one after it; nothing where there is no such trust.
pub async fn surroundings(
    conn: &mut AsyncPgConnection,
    feed: FeedTable,
    trust: TrustId,
    position: i64,
) -> Result<Option<Surroundings>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::BigInt)]
        end_position: i64,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        end_recorded_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        here_recorded_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        next_recorded_at: Option<DateTime<Utc>>,
    }
    let FeedTable { table, counter } = feed;
    let found: Option<Found> = diesel::sql_query(format!(
        "SELECT f.{counter} AS end_position,
             (SELECT recorded_at FROM {table} WHERE trust_id = $1 AND position = f.{counter}) AS end_recorded_at,
             (SELECT recorded_at FROM {table} WHERE trust_id = $1 AND position = $2) AS here_recorded_at,
             (SELECT recorded_at FROM {table} WHERE trust_id = $1 AND position = $2 + 1) AS next_recorded_at
         FROM feeds f WHERE f.trust_id = $1"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    // One more is asked for.
    .bind::<sql_types::BigInt, _>(position.min(i64::MAX - 1))
    .get_result(conn)
    .await
    .optional()?;
    let Some(found) = found else {
        return Ok(None);
    };
    let place = |position: i64, recorded_at: Option<DateTime<Utc>>| match (position, recorded_at) {
        (0, _) => Some(Place::BEGINNING),
        (position, recorded_at) => recorded_at.map(|recorded_at| Place { position, recorded_at }),
    };
    Ok(Some(Surroundings {
        end: place(found.end_position, found.end_recorded_at).ok_or(StoreError::Corrupt("feeds.position"))?,
        here: place(position, found.here_recorded_at),
        next: found.next_recorded_at.map(|recorded_at| Place {
            position: position.saturating_add(1),
            recorded_at,
        }),
    }))
}

/// A place after which every row that follows in turn was recorded at or after a time; the end where all were before.
/// Rows are all but in the order in which they were recorded, and positions have no gaps: found by halving.
pub async fn place_at_time(
    conn: &mut AsyncPgConnection,
    feed: FeedTable,
    trust: TrustId,
    time: DateTime<Utc>,
) -> Result<Option<Place>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::BigInt)]
        position: i64,
    }
    let FeedTable { table, counter } = feed;
    let found: Option<Found> = diesel::sql_query(format!(
        "WITH RECURSIVE search (low, high) AS (
             SELECT 0::bigint, {counter} FROM feeds WHERE trust_id = $1
             UNION ALL
             SELECT CASE WHEN row.recorded_at < $2 THEN row.position ELSE low END,
                 CASE WHEN row.recorded_at < $2 THEN high ELSE row.position - 1 END
             FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search OFFSET 0) AS search
             CROSS JOIN LATERAL (
                 SELECT position, recorded_at FROM {table} WHERE trust_id = $1 AND position = middle OFFSET 0
             ) AS row
             WHERE low < high
         )
         SELECT low AS position FROM search ORDER BY high - low LIMIT 1"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Timestamptz, _>(time)
    .get_result(conn)
    .await
    .optional()?;
    match found {
        None => Ok(None),
        Some(found) => {
            let surroundings = surroundings(conn, feed, trust, found.position).await?;
            Ok(surroundings.and_then(|found| found.here))
        }
    }
}
