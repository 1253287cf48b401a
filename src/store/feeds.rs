//! Places in a trust's feeds. A feed is what is appended to a table in the order of the commits: positions are taken from a
//! counter of the trust under a lock that is held to the commit, so they have no gaps and none appears late.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types;

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
