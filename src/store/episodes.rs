//! Episodes: spells away from stage U, what was raised in each, and what was taken back.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::stages::column;
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;

/// What becomes of pupils' episodes in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpisodeChanges {
    /// Episodes that begin.
    pub opened: Vec<NewEpisode>,
    /// Episodes in which a stage was reached.
    pub raised: Vec<Raise>,
    /// Episodes in which stages turned out never to have been reached: pupil, number, and the number of the stage of greatest
    /// need that was.
    pub retracted: Vec<(Uuid, i32, i16)>,
    /// Episodes of years that are over in which stages that had been taken back turned out to have been reached after all: pupil,
    /// number, and the number of the stage of greatest need that was.
    pub restored: Vec<(Uuid, i32, i16)>,
    /// Episodes that end: pupil and number.
    pub closed: Vec<(Uuid, i32)>,
}

/// An episode that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEpisode {
    /// The pupil.
    pub pupil_id: Uuid,
    /// Its number.
    pub episode: i32,
    /// The day from which the pupil is away from stage U.
    pub started_on: NaiveDate,
    /// The version of the policy that gives the due dates.
    pub policy_version: i32,
}

/// An episode of a year, with what was raised in it.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct RaisedEpisode {
    /// The pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub pupil_id: Uuid,
    /// Its number.
    #[diesel(sql_type = sql_types::Integer)]
    pub episode: i32,
    /// The day from which the pupil was away from stage U.
    #[diesel(sql_type = sql_types::Date)]
    pub started_on: NaiveDate,
    /// The number of the highest stage whose provisions were raised and not taken back; 0 where there is none.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub raised_to: i16,
    /// The numbers of the stages whose provisions were raised and taken back.
    #[diesel(sql_type = sql_types::Array<sql_types::SmallInt>)]
    pub taken_back: Vec<i16>,
}

/// The episodes of some pupils in a year, by pupil and in the order in which they began.
pub async fn of_year(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    year: AcademicYear,
) -> Result<Vec<RaisedEpisode>, StoreError> {
    if pupils.is_empty() {
        return Ok(Vec::new());
    }
    Ok(diesel::sql_query(
        "SELECT e.pupil_id, e.episode, e.started_on, (
             SELECT coalesce(max(stage), 0) FROM generate_series(1, 5) AS stage
             WHERE e.raised_at[stage] IS NOT NULL AND e.retracted_at[stage] IS NULL
         )::smallint AS raised_to, ARRAY(
             SELECT stage FROM generate_series(1, 5) AS stage WHERE e.retracted_at[stage] IS NOT NULL
         )::smallint[] AS taken_back
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM episodes
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = $3 AND started_on IS NOT NULL
             OFFSET 0
         ) AS e
         ORDER BY e.pupil_id, e.started_on, e.episode",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::SmallInt, _>(year.start_year())
    .load(conn)
    .await?)
}

/// Reaching a stage in an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raise {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The number of the episode.
    pub episode: i32,
    /// The number of the first stage whose provisions are raised: 1 where those of the stages passed over are as well.
    pub from: i16,
    /// The number of the stage reached.
    pub to: i16,
}

/// The episodes `e` named by the keys `n`, a probe a key (see the module `store`).
const BY_KEY: &str = "CROSS JOIN LATERAL (
         SELECT ctid FROM episodes
         WHERE trust_id = $1 AND pupil_id = n.pupil_id AND episode = n.episode
         OFFSET 0
     ) AS found
     WHERE e.ctid = found.ctid AND e.trust_id = $1";

/// Opens, raises, retracts, restores and closes episodes at `now`. Raising adds what was not raised before in the episode, or was
/// retracted since.
pub async fn write(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    catalogue_version: i32,
    now: DateTime<Utc>,
    changes: &EpisodeChanges,
) -> Result<(), StoreError> {
    if !changes.opened.is_empty() {
        // Opened and raised in one: most episodes are raised once.
        let raise_of: HashMap<(Uuid, i32), Raise> = changes
            .raised
            .iter()
            .map(|raise| ((raise.pupil_id, raise.episode), *raise))
            .collect();
        let raised = |row: &NewEpisode| raise_of.get(&(row.pupil_id, row.episode));
        diesel::sql_query(
            "INSERT INTO episodes (trust_id, pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at,
                 policy_version, started_on)
             SELECT $1, n.pupil_id, n.episode, $5, $6,
                 ARRAY[
                     CASE WHEN 1 BETWEEN n.first AND n.last THEN $7 END, CASE WHEN 2 BETWEEN n.first AND n.last THEN $7 END,
                     CASE WHEN 3 BETWEEN n.first AND n.last THEN $7 END, CASE WHEN 4 BETWEEN n.first AND n.last THEN $7 END,
                     CASE WHEN 5 BETWEEN n.first AND n.last THEN $7 END
                 ], $7, n.policy_version, n.started_on
             FROM unnest($2, $3, $4, $8, $9, $10) AS n(pupil_id, episode, policy_version, first, last, started_on)",
        )
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.opened, |row| row.pupil_id))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.opened, |row| row.episode))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.opened, |row| row.policy_version))
        .bind::<sql_types::Integer, _>(catalogue_version)
        .bind::<sql_types::SmallInt, _>(year.start_year())
        .bind::<sql_types::Timestamptz, _>(now)
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&changes.opened, |row| {
            raised(row).map_or(1, |raise| raise.from)
        }))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&changes.opened, |row| {
            raised(row).map_or(0, |raise| raise.to)
        }))
        .bind::<sql_types::Array<sql_types::Date>, _>(column(&changes.opened, |row| row.started_on))
        .execute(conn)
        .await?;
    }
    let opened: HashSet<(Uuid, i32)> = changes
        .opened
        .iter()
        .map(|opened| (opened.pupil_id, opened.episode))
        .collect();
    let raised: Vec<Raise> = changes
        .raised
        .iter()
        .filter(|raise| !opened.contains(&(raise.pupil_id, raise.episode)))
        .copied()
        .collect();
    if !raised.is_empty() {
        diesel::sql_query(format!(
            "UPDATE episodes e
             SET raised_at = ARRAY(
                     SELECT CASE
                         WHEN stage BETWEEN n.first AND n.last AND (e.raised_at[stage] IS NULL OR e.retracted_at[stage] IS NOT NULL)
                         THEN $6 ELSE e.raised_at[stage]
                     END
                     FROM generate_series(1, 5) AS stage ORDER BY stage
                 ),
                 retracted_at = ARRAY(
                     SELECT CASE WHEN stage BETWEEN n.first AND n.last THEN NULL ELSE e.retracted_at[stage] END
                     FROM generate_series(1, 5) AS stage ORDER BY stage
                 )
             FROM unnest($2, $3, $4, $5) AS n(pupil_id, episode, first, last)
             {BY_KEY}"
        ))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&raised, |row| row.pupil_id))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&raised, |row| row.episode))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&raised, |row| row.from))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&raised, |row| row.to))
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await?;
    }
    if !changes.retracted.is_empty() {
        diesel::sql_query(format!(
            "UPDATE episodes e
             SET retracted_at = ARRAY(
                     SELECT CASE
                         WHEN stage > n.reached AND e.raised_at[stage] IS NOT NULL AND e.retracted_at[stage] IS NULL
                         THEN $5 ELSE e.retracted_at[stage]
                     END
                     FROM generate_series(1, 5) AS stage ORDER BY stage
                 )
             FROM unnest($2, $3, $4) AS n(pupil_id, episode, reached)
             {BY_KEY}"
        ))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.retracted, |row| row.0))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.retracted, |row| row.1))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&changes.retracted, |row| row.2))
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await?;
    }
    if !changes.restored.is_empty() {
        diesel::sql_query(format!(
            "UPDATE episodes e
             SET retracted_at = ARRAY(
                     SELECT CASE WHEN stage > n.reached THEN e.retracted_at[stage] END
                     FROM generate_series(1, 5) AS stage ORDER BY stage
                 )
             FROM unnest($2, $3, $4) AS n(pupil_id, episode, reached)
             {BY_KEY}"
        ))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.restored, |row| row.0))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.restored, |row| row.1))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&changes.restored, |row| row.2))
        .execute(conn)
        .await?;
    }
    if !changes.closed.is_empty() {
        diesel::sql_query(format!(
            "UPDATE episodes e SET closed_at = $4
             FROM unnest($2, $3) AS n(pupil_id, episode)
             {BY_KEY}"
        ))
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.closed, |row| row.0))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.closed, |row| row.1))
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await?;
    }
    Ok(())
}
