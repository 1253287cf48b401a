//! Reading what was appended to a trust's feed of transitions: in order, by pupil, school and period, and the stages as they
//! were at a place of the feed.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::feeds::{FeedTable, Place};
use super::schema::transitions;
use super::stages::Cause;
use crate::domain::identifiers::TrustId;
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;

/// Where the feed is kept.
pub const FEED: FeedTable = FeedTable {
    table: "transitions",
    counter: "position",
};

/// A transition as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedTransition {
    /// Where it stands in the feed.
    pub place: Place,
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage before.
    pub from: Stage,
    /// The stage after.
    pub to: Stage,
    /// The first day on which the stage after holds.
    pub effective_on: NaiveDate,
    /// What moved the pupil.
    pub cause: Cause,
    /// The counts that caused it.
    pub tally: Tally,
    /// The version of the policy that judged.
    pub policy_version: i32,
    /// The start year of the academic year that was judged.
    pub academic_year: i16,
    /// The number of the episode that it belongs to.
    pub episode: i32,
    /// The batch.
    pub request_id: Option<Uuid>,
    /// The stage of greatest need that was reached after all, where those beyond it turned out never to have been.
    pub retracted_to: Option<Stage>,
    /// The hold that keeps the pupil at the stage.
    pub hold_id: Option<Uuid>,
    /// The schools at which the pupil was on roll on any day from that on which the stage holds to that on which it was
    /// recorded, by the enrolments of now.
    pub school_ids: Vec<Uuid>,
}

#[derive(QueryableByName)]
#[diesel(table_name = transitions, check_for_backend(diesel::pg::Pg))]
struct Row {
    #[diesel(embed)]
    place: Place,
    pupil_id: Uuid,
    from_stage: i16,
    to_stage: i16,
    effective_on: NaiveDate,
    cause: String,
    policy_version: i32,
    academic_year: i16,
    attended: i32,
    possible: i32,
    unauthorised: i32,
    episode: i32,
    request_id: Option<Uuid>,
    retracted_to: Option<i16>,
    hold_id: Option<Uuid>,
    #[diesel(sql_type = sql_types::Array<sql_types::Uuid>)]
    school_ids: Vec<Uuid>,
}

fn stage(number: i16) -> Result<Stage, StoreError> {
    Stage::from_number(number).ok_or(StoreError::Corrupt("a stage of transitions"))
}

impl TryFrom<Row> for RecordedTransition {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<RecordedTransition, StoreError> {
        let cause = Cause::ALL.into_iter().find(|cause| cause.as_str() == row.cause);
        Ok(RecordedTransition {
            place: row.place,
            pupil_id: row.pupil_id,
            from: stage(row.from_stage)?,
            to: stage(row.to_stage)?,
            effective_on: row.effective_on,
            cause: cause.ok_or(StoreError::Corrupt("transitions.cause"))?,
            tally: Tally::from_stored(row.attended, row.possible, row.unauthorised),
            policy_version: row.policy_version,
            academic_year: row.academic_year,
            episode: row.episode,
            request_id: row.request_id,
            retracted_to: row.retracted_to.map(stage).transpose()?,
            hold_id: row.hold_id,
            school_ids: row.school_ids,
        })
    }
}

/// Whether an enrolment `e` covers any day from that on which the stage of the transition `t` holds to that on which it was
/// recorded.
const ON_ROLL: &str = "e.trust_id = $1 AND e.pupil_id = t.pupil_id
    AND e.start_date <= greatest(t.effective_on, (t.recorded_at AT TIME ZONE 'Europe/London')::date)
    AND (e.end_date IS NULL
        OR e.end_date >= least(t.effective_on, (t.recorded_at AT TIME ZONE 'Europe/London')::date))";

/// What [`Row`] reads of a transition `t`.
fn columns() -> String {
    format!(
        "t.position, t.recorded_at, t.pupil_id, t.from_stage, t.to_stage, t.effective_on, t.cause, t.policy_version,
         t.academic_year, t.attended, t.possible, t.unauthorised, t.episode, t.request_id, t.retracted_to, t.hold_id,
         ARRAY(SELECT DISTINCT e.school_id FROM enrolments e WHERE {ON_ROLL} ORDER BY e.school_id) AS school_ids"
    )
}

/// The transitions after a position, at most so many, in order. Positions are in the order of the commits and without gaps,
/// so whoever reads on from the last one misses none.
pub async fn after(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    position: i64,
    most: i64,
) -> Result<Vec<RecordedTransition>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT {} FROM transitions t WHERE t.trust_id = $1 AND t.position > $2 ORDER BY t.position LIMIT $3",
        columns()
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::BigInt, _>(position)
    .bind::<sql_types::BigInt, _>(most)
    .load(conn)
    .await?;
    rows.into_iter().map(RecordedTransition::try_from).collect()
}

/// Which transitions are asked for.
#[derive(Clone, Debug, Default)]
pub struct TransitionFilter {
    /// Only this pupil's.
    pub pupil: Option<Uuid>,
    /// Only those of pupils at this school, as [`RecordedTransition::school_ids`] has it.
    pub school: Option<Uuid>,
    /// Only those with an effect on or after this day.
    pub effective_from: Option<NaiveDate>,
    /// Only those with an effect on or before this day.
    pub effective_to: Option<NaiveDate>,
    /// Only those recorded at or after this time.
    pub recorded_from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub recorded_before: Option<DateTime<Utc>>,
    /// Only those of the academic year that begins in this year.
    pub academic_year: Option<i16>,
    /// Only those before this position.
    pub before: Option<i64>,
}

/// The transitions that a filter selects, latest first.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &TransitionFilter,
    most: i64,
) -> Result<Vec<RecordedTransition>, StoreError> {
    let mut of_filter = "t.trust_id = $1 AND t.position < $2
        AND ($6::date IS NULL OR t.effective_on >= $6) AND ($7::date IS NULL OR t.effective_on <= $7)
        AND ($8::timestamptz IS NULL OR t.recorded_at >= $8) AND ($9::timestamptz IS NULL OR t.recorded_at < $9)
        AND ($10::smallint IS NULL OR t.academic_year = $10)"
        .to_owned();
    of_filter += match filter.pupil {
        Some(_) => " AND t.pupil_id = $4",
        None => " AND $4::uuid IS NULL",
    };
    of_filter += &match filter.school {
        Some(_) => format!(" AND EXISTS (SELECT FROM enrolments e WHERE {ON_ROLL} AND e.school_id = $5)"),
        None => " AND $5::uuid IS NULL".to_owned(),
    };
    let columns = columns();
    let statement = match (filter.pupil, filter.school) {
        // By the school's pupils: of a large trust's transitions few are of one school.
        (None, Some(_)) => format!(
            "SELECT {columns}
             FROM (SELECT DISTINCT pupil_id FROM enrolments WHERE trust_id = $1 AND school_id = $5) AS p
             CROSS JOIN LATERAL (
                 SELECT * FROM transitions t WHERE {of_filter} AND t.pupil_id = p.pupil_id ORDER BY t.position DESC LIMIT $3
             ) AS t
             ORDER BY t.position DESC LIMIT $3"
        ),
        _ => format!("SELECT {columns} FROM transitions t WHERE {of_filter} ORDER BY t.position DESC LIMIT $3"),
    };
    let rows: Vec<Row> = diesel::sql_query(statement)
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::BigInt, _>(filter.before.unwrap_or(i64::MAX))
        .bind::<sql_types::BigInt, _>(most)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.pupil)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.school)
        .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.effective_from)
        .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.effective_to)
        .bind::<sql_types::Nullable<sql_types::Timestamptz>, _>(filter.recorded_from)
        .bind::<sql_types::Nullable<sql_types::Timestamptz>, _>(filter.recorded_before)
        .bind::<sql_types::Nullable<sql_types::SmallInt>, _>(filter.academic_year)
        .load(conn)
        .await?;
    rows.into_iter().map(RecordedTransition::try_from).collect()
}

/// The transitions of some pupils after a position, at most so many, in order.
pub async fn of_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    position: i64,
    most: i64,
) -> Result<Vec<RecordedTransition>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query(format!(
        "SELECT {}
         FROM unnest($2::uuid[]) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM transitions
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND position > $3
             ORDER BY position LIMIT $4
         ) AS t
         ORDER BY t.position LIMIT $4",
        columns()
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::BigInt, _>(position)
    .bind::<sql_types::BigInt, _>(most)
    .load(conn)
    .await?;
    rows.into_iter().map(RecordedTransition::try_from).collect()
}

/// The versions of the policy by which some pupils' transitions were judged, in order.
pub async fn policy_versions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
) -> Result<Vec<i32>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Integer)]
        policy_version: i32,
    }
    let found: Vec<Found> = diesel::sql_query(
        "SELECT DISTINCT t.policy_version
         FROM unnest($2::uuid[]) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT policy_version FROM transitions WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0
         ) AS t
         ORDER BY t.policy_version",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .load(conn)
    .await?;
    Ok(found.into_iter().map(|found| found.policy_version).collect())
}

/// A pupil's stage at a place of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageAtPlace {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage.
    pub stage: Stage,
    /// The first day since which the pupil was at the stage; nothing before any session counted.
    pub since: Option<NaiveDate>,
    /// The number of the episode that went on; 0 where none did.
    pub episode: i32,
    /// When the stage had last changed.
    pub changed_at: Option<DateTime<Utc>>,
    /// The schools at which the pupil is on roll on the day asked for.
    pub school_ids: Vec<Uuid>,
}

/// Pupils' stages as they were at a place of the feed, in the order given: the stored stage, with what the transitions after
/// the place did to it undone. So pages that are read one after the other, each in a transaction of its own, agree with each
/// other and with the feed, whatever is written meanwhile.
pub async fn stages_at(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    position: i64,
    today: NaiveDate,
    pupils: &[Uuid],
) -> Result<Vec<StageAtPlace>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Uuid)]
        pupil_id: Uuid,
        #[diesel(sql_type = sql_types::SmallInt)]
        stage: i16,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Date>)]
        since: Option<NaiveDate>,
        #[diesel(sql_type = sql_types::Integer)]
        episode: i32,
        #[diesel(sql_type = sql_types::Nullable<sql_types::Timestamptz>)]
        changed_at: Option<DateTime<Utc>>,
        #[diesel(sql_type = sql_types::Array<sql_types::Uuid>)]
        school_ids: Vec<Uuid>,
    }
    // What came after the place and moved the pupil, and if anything did, what moved the pupil last before it.
    let rows: Vec<Found> = diesel::sql_query(
        "SELECT s.pupil_id,
             CASE WHEN later.from_stage IS NULL THEN s.stage ELSE later.from_stage END AS stage,
             CASE WHEN later.from_stage IS NULL THEN s.since ELSE last.effective_on END AS since,
             CASE
                 WHEN later.from_stage IS NOT NULL THEN CASE WHEN last.to_stage > 0 THEN last.episode ELSE 0 END
                 WHEN s.episode_open THEN s.episode
                 ELSE 0
             END AS episode,
             CASE WHEN later.from_stage IS NULL THEN s.changed_at ELSE last.recorded_at END AS changed_at,
             ARRAY(
                 SELECT DISTINCT e.school_id FROM enrolments e
                 WHERE e.trust_id = $1 AND e.pupil_id = s.pupil_id AND e.start_date <= $4
                     AND (e.end_date IS NULL OR e.end_date >= $4)
                 ORDER BY e.school_id
             ) AS school_ids
         FROM unnest($2::uuid[]) WITH ORDINALITY AS k(pupil_id, place)
         CROSS JOIN LATERAL (
             SELECT pupil_id, stage, since, episode, episode_open, changed_at
             FROM pupil_stages WHERE trust_id = $1 AND pupil_id = k.pupil_id
             OFFSET 0
         ) AS s
         LEFT JOIN LATERAL (
             SELECT from_stage FROM transitions
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND position > $3 AND from_stage <> to_stage
             ORDER BY position LIMIT 1
         ) AS later ON true
         LEFT JOIN LATERAL (
             SELECT effective_on, to_stage, episode, recorded_at FROM transitions
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND position <= $3 AND from_stage <> to_stage
                 AND later.from_stage IS NOT NULL
             ORDER BY position DESC LIMIT 1
         ) AS last ON true
         ORDER BY k.place",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::BigInt, _>(position)
    .bind::<sql_types::Date, _>(today)
    .load(conn)
    .await?;
    let rows = rows.into_iter().map(|row| {
        Ok(StageAtPlace {
            pupil_id: row.pupil_id,
            stage: stage(row.stage)?,
            since: row.since,
            episode: row.episode,
            changed_at: row.changed_at,
            school_ids: row.school_ids,
        })
    });
    rows.collect()
}
