//! Pupils' stages, their transitions and episodes.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{enrolments, pupil_stages};
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;

/// A pupil's stage as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, QueryableByName)]
#[diesel(table_name = pupil_stages, check_for_backend(diesel::pg::Pg))]
pub struct StageRow {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The number of the stage.
    pub stage: i16,
    /// The start year of the academic year that was judged.
    pub academic_year: i16,
    /// The first day since which the pupil has been at the stage.
    pub since: Option<NaiveDate>,
    /// The version of the policy that gave it.
    pub policy_version: i32,
    /// The number of the latest episode; 0 where there was none.
    pub episode: i32,
    /// Whether that episode goes on.
    pub episode_open: bool,
    /// The number of the highest stage whose provisions were raised in it.
    pub raised_to: i16,
    /// When the stage last changed.
    pub changed_at: Option<DateTime<Utc>>,
}

impl StageRow {
    /// The stage.
    pub fn stage(&self) -> Result<Stage, StoreError> {
        Stage::from_number(self.stage).ok_or(StoreError::Corrupt("pupil_stages.stage"))
    }
}

/// Locks pupils in the order of their identifiers, so that no two writers wait for each other, and returns their stages
/// in that order. Pupils that the trust does not have are left out.
pub async fn lock(conn: &mut AsyncPgConnection, trust: TrustId, pupils: &[Uuid]) -> Result<Vec<StageRow>, StoreError> {
    let mut keys = pupils.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let rows = diesel::sql_query(
        "SELECT s.*
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT pupil_id, stage, academic_year, since, policy_version, episode, episode_open, raised_to, changed_at
             FROM pupil_stages
             WHERE trust_id = $1 AND pupil_id = k.pupil_id
             FOR NO KEY UPDATE
         ) AS s",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(keys)
    .load(conn)
    .await?;
    Ok(rows)
}

/// Pupils whose stage was judged in an earlier academic year.
pub async fn pupils_of_earlier_years(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(pupil_stages::table
        .filter(pupil_stages::trust_id.eq(trust.0))
        .filter(pupil_stages::academic_year.lt(year.start_year()))
        .order(pupil_stages::pupil_id)
        .select(pupil_stages::pupil_id)
        .limit(most)
        .load(conn)
        .await?)
}

/// Writes stages that changed.
pub async fn update(conn: &mut AsyncPgConnection, trust: TrustId, rows: &[StageRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "INSERT INTO pupil_stages (trust_id, pupil_id, stage, academic_year, since, policy_version, episode, episode_open,
             raised_to, changed_at)
         SELECT $1, n.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) AS n
         ON CONFLICT (trust_id, pupil_id) DO UPDATE
         SET stage = EXCLUDED.stage, academic_year = EXCLUDED.academic_year, since = EXCLUDED.since,
             policy_version = EXCLUDED.policy_version, episode = EXCLUDED.episode, episode_open = EXCLUDED.episode_open,
             raised_to = EXCLUDED.raised_to, changed_at = EXCLUDED.changed_at",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(rows, |row| row.stage))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(rows, |row| row.academic_year))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Date>>, _>(column(rows, |row| row.since))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(rows, |row| row.policy_version))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(rows, |row| row.episode))
    .bind::<sql_types::Array<sql_types::Bool>, _>(column(rows, |row| row.episode_open))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(rows, |row| row.raised_to))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Timestamptz>>, _>(column(rows, |row| row.changed_at))
    .execute(conn)
    .await?;
    Ok(())
}

fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// What moved a pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Marks were recorded or corrected.
    Marks,
    /// A day came: marks entered ahead of time began to count, or the academic year turned.
    DayPassed,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Cause::Marks => "marks",
            Cause::DayPassed => "day_passed",
        }
    }
}

/// One move of one pupil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage before.
    pub from: Stage,
    /// The stage after.
    pub to: Stage,
    /// The first day on which the stage after holds.
    pub effective_on: NaiveDate,
    /// The counts that caused it.
    pub tally: Tally,
    /// The number of the episode that it belongs to.
    pub episode: i32,
}

/// What all the transitions of one transaction share.
#[derive(Clone, Copy, Debug)]
pub struct TransitionContext {
    /// What moved the pupils.
    pub cause: Cause,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The version of the policy that judged.
    pub policy_version: i32,
    /// The academic year that was judged.
    pub year: AcademicYear,
    /// The batch.
    pub request_id: Option<Uuid>,
}

/// Appends transitions at the end of the trust's feed. The feed's row stays locked until the transaction ends, so this is
/// its last statement but the commit.
pub async fn append_transitions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    context: TransitionContext,
    transitions: &[Transition],
) -> Result<(), StoreError> {
    if transitions.is_empty() {
        return Ok(());
    }
    let count = |count: u64| i32::try_from(count).unwrap_or(i32::MAX);
    diesel::sql_query(
        "WITH feed AS (
             UPDATE feeds SET position = position + $8 WHERE trust_id = $1 RETURNING position - $8 AS before
         )
         INSERT INTO transitions (trust_id, position, recorded_at, cause, policy_version, academic_year, request_id,
             pupil_id, from_stage, to_stage, effective_on, attended, possible, unauthorised, episode)
         SELECT $1, feed.before + n.ordinality, $2, $3, $4, $5, $6,
             n.pupil_id, n.from_stage, n.to_stage, n.effective_on, n.attended, n.possible, n.unauthorised, n.episode
         FROM feed, unnest($7, $9, $10, $11, $12, $13, $14, $15) WITH ORDINALITY
             AS n(pupil_id, from_stage, to_stage, effective_on, attended, possible, unauthorised, episode, ordinality)",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Timestamptz, _>(context.recorded_at)
    .bind::<sql_types::Text, _>(context.cause.as_str())
    .bind::<sql_types::Integer, _>(context.policy_version)
    .bind::<sql_types::SmallInt, _>(context.year.start_year())
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(context.request_id)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(transitions, |row| row.pupil_id))
    .bind::<sql_types::BigInt, _>(i64::try_from(transitions.len()).unwrap_or(i64::MAX))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(transitions, |row| i16::from(row.from.number())))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(transitions, |row| i16::from(row.to.number())))
    .bind::<sql_types::Array<sql_types::Date>, _>(column(transitions, |row| row.effective_on))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| count(row.tally.attended)))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| count(row.tally.possible)))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| count(row.tally.unauthorised)))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| row.episode))
    .execute(conn)
    .await?;
    Ok(())
}

/// What becomes of pupils' episodes in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpisodeChanges {
    /// Episodes that begin: pupil, number, and the number of the stage up to which provisions are raised.
    pub opened: Vec<(Uuid, i32, i16)>,
    /// Episodes in which a higher stage was reached: pupil, number, and the number of the stage.
    pub raised: Vec<(Uuid, i32, i16)>,
    /// Episodes that end: pupil and number.
    pub closed: Vec<(Uuid, i32)>,
}

/// Opens, raises and closes episodes at `now`. Raising is cumulative: every stage up to the one reached that was not
/// raised before in the episode.
pub async fn write_episodes(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    catalogue_version: i32,
    now: DateTime<Utc>,
    changes: &EpisodeChanges,
) -> Result<(), StoreError> {
    if !changes.opened.is_empty() {
        diesel::sql_query(
            "INSERT INTO episodes (trust_id, pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at)
             SELECT $1, n.pupil_id, n.episode, $5, $6, array_fill($7, ARRAY[n.raised_to::integer]), $7
             FROM unnest($2, $3, $4) AS n(pupil_id, episode, raised_to)",
        )
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.opened, |row| row.0))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.opened, |row| row.1))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&changes.opened, |row| row.2))
        .bind::<sql_types::Integer, _>(catalogue_version)
        .bind::<sql_types::SmallInt, _>(year.start_year())
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await?;
    }
    if !changes.raised.is_empty() {
        diesel::sql_query(
            "UPDATE episodes e
             SET raised_at = e.raised_at || array_fill($5, ARRAY[n.raised_to - cardinality(e.raised_at)])
             FROM unnest($2, $3, $4) AS n(pupil_id, episode, raised_to)
             CROSS JOIN LATERAL (
                 SELECT ctid FROM episodes
                 WHERE trust_id = $1 AND pupil_id = n.pupil_id AND episode = n.episode
                 OFFSET 0
             ) AS found
             WHERE e.ctid = found.ctid AND e.trust_id = $1 AND n.raised_to > cardinality(e.raised_at)",
        )
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.raised, |row| row.0))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.raised, |row| row.1))
        .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(&changes.raised, |row| row.2))
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await?;
    }
    if !changes.closed.is_empty() {
        diesel::sql_query(
            "UPDATE episodes e SET closed_at = $4
             FROM unnest($2, $3) AS n(pupil_id, episode)
             CROSS JOIN LATERAL (
                 SELECT ctid FROM episodes
                 WHERE trust_id = $1 AND pupil_id = n.pupil_id AND episode = n.episode
                 OFFSET 0
             ) AS found
             WHERE e.ctid = found.ctid AND e.trust_id = $1",
        )
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(column(&changes.closed, |row| row.0))
        .bind::<sql_types::Array<sql_types::Integer>, _>(column(&changes.closed, |row| row.1))
        .bind::<sql_types::Timestamptz, _>(now)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Which pupils' stages are asked for.
#[derive(Clone, Debug, Default)]
pub struct StageFilter {
    /// Only pupils on roll at this school on `today`.
    pub school: Option<Uuid>,
    /// The day of the roll.
    pub today: NaiveDate,
    /// Only these stages; none for all.
    pub stages: Vec<Stage>,
    /// Only pupils whose stage changed at or after this time.
    pub changed_since: Option<DateTime<Utc>>,
    /// Only pupils after this one.
    pub after: Option<Uuid>,
}

/// Pupils by school, stage and time of change, in the order of their identifiers.
pub async fn list_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &StageFilter,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let mut query = pupil_stages::table
        .filter(pupil_stages::trust_id.eq(trust.0))
        .into_boxed();
    if let Some(after) = filter.after {
        query = query.filter(pupil_stages::pupil_id.gt(after));
    }
    if !filter.stages.is_empty() {
        let numbers: Vec<i16> = filter.stages.iter().map(|stage| i16::from(stage.number())).collect();
        query = query.filter(pupil_stages::stage.eq_any(numbers));
    }
    if let Some(since) = filter.changed_since {
        query = query.filter(pupil_stages::changed_at.ge(since));
    }
    if let Some(school) = filter.school {
        let on_roll = enrolments::table
            .filter(enrolments::trust_id.eq(trust.0))
            .filter(enrolments::school_id.eq(school))
            .filter(enrolments::start_date.le(filter.today))
            .filter(enrolments::end_date.is_null().or(enrolments::end_date.ge(filter.today)))
            .select(enrolments::pupil_id);
        query = query.filter(pupil_stages::pupil_id.eq_any(on_roll));
    }
    Ok(query
        .order(pupil_stages::pupil_id)
        .limit(most)
        .select(pupil_stages::pupil_id)
        .load(conn)
        .await?)
}
