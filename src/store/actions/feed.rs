//! Reading the trust's feed of what is recorded on actions, in order.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::entries::EntryRow;
use crate::domain::action::ActionName;
use crate::domain::action_log::ActionEntry;
use crate::domain::identifiers::{PupilId, TrustId};
use crate::domain::stage::Stage;
use crate::store::feeds::{FeedTable, Place};

/// Where the feed is kept.
pub const FEED: FeedTable = FeedTable {
    table: "action_entries",
    counter: "action_position",
};

/// An entry of an action's log with its place in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEntry {
    /// Where it stands in the feed.
    pub place: Place,
    /// The action.
    pub name: ActionName,
    /// The stage that requires it.
    pub stage: Stage,
    /// What was recorded.
    pub entry: ActionEntry,
    /// The schools at which the pupil was on roll on the day on which it was recorded, by the enrolments of now.
    pub school_ids: Vec<Uuid>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(embed)]
    entry: EntryRow,
    #[diesel(embed)]
    place: Place,
    #[diesel(sql_type = sql_types::SmallInt)]
    stage: i16,
    #[diesel(sql_type = sql_types::Array<sql_types::Uuid>)]
    school_ids: Vec<Uuid>,
}

impl TryFrom<Row> for RecordedEntry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<RecordedEntry, StoreError> {
        Ok(RecordedEntry {
            place: row.place,
            name: ActionName {
                pupil: PupilId(row.entry.pupil_id),
                episode: row.entry.episode,
                provision: row.entry.provision_id.clone(),
            },
            stage: Stage::from_number(row.stage).ok_or(StoreError::Corrupt("actions.stage"))?,
            entry: row.entry.try_into()?,
            school_ids: row.school_ids,
        })
    }
}

/// The entries after a position, at most so many, in order. Positions are in the order of the commits and without gaps, so
/// whoever reads on from the last one misses none.
pub async fn after(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    position: i64,
    most: i64,
) -> Result<Vec<RecordedEntry>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT l.*, a.stage,
             ARRAY(
                 SELECT DISTINCT e.school_id FROM enrolments AS e
                 WHERE e.trust_id = $1 AND e.pupil_id = l.pupil_id
                     AND e.start_date <= (l.recorded_at AT TIME ZONE 'Europe/London')::date
                     AND (e.end_date IS NULL OR e.end_date >= (l.recorded_at AT TIME ZONE 'Europe/London')::date)
                 ORDER BY e.school_id
             ) AS school_ids
         FROM (
             SELECT * FROM action_entries WHERE trust_id = $1 AND position > $2 ORDER BY position LIMIT $3
         ) AS l
         CROSS JOIN LATERAL (
             SELECT stage FROM actions
             WHERE trust_id = $1 AND pupil_id = l.pupil_id AND episode = l.episode AND provision_id = l.provision_id
             OFFSET 0
         ) AS a
         ORDER BY l.position",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::BigInt, _>(position)
    .bind::<sql_types::BigInt, _>(most)
    .load(conn)
    .await?;
    rows.into_iter().map(RecordedEntry::try_from).collect()
}
