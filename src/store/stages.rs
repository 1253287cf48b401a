//! Pupils' stages and the transitions between them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::TryStreamExt as _;
use uuid::Uuid;

use super::StoreError;
use super::schema::{enrolments, pupil_stages, pupils, transitions};
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
    /// The number of the episode that goes on, or else went on last; 0 where there was none.
    pub episode: i32,
    /// Whether that episode goes on.
    pub episode_open: bool,
    /// The number of the highest stage whose provisions were raised in it.
    pub raised_to: i16,
    /// When the stage last changed.
    pub changed_at: Option<DateTime<Utc>>,
    /// The day on which the stage may change although no mark is written.
    pub next_review_on: Option<NaiveDate>,
    /// The counts that were judged, where they are others than the registers' of the year to date.
    #[diesel(embed)]
    pub judged: JudgedCounts,
    /// The hold that keeps the pupil at the stage.
    pub hold_id: Option<Uuid>,
    /// Whether a fall waits for a person.
    pub fall_waits: bool,
    /// Whether the pupil ever had a hold.
    pub has_holds: bool,
    /// The highest number of an episode: after two pupils were made one, it may be another than the one that goes on.
    pub last_episode: i32,
}

/// The counts that a policy judged, where they are others than those of the year to date over all enrolments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Queryable, QueryableByName)]
#[diesel(table_name = pupil_stages, check_for_backend(diesel::pg::Pg))]
pub struct JudgedCounts {
    judged_attended: Option<i32>,
    judged_possible: Option<i32>,
    judged_unauthorised: Option<i32>,
    judged_from: Option<NaiveDate>,
}

impl JudgedCounts {
    /// The registers' own counts were judged.
    pub const NONE: JudgedCounts = JudgedCounts {
        judged_attended: None,
        judged_possible: None,
        judged_unauthorised: None,
        judged_from: None,
    };

    /// Counts to be kept, with the first day of the window that they are of.
    pub fn of(tally: Tally, from: NaiveDate) -> JudgedCounts {
        let count = |count: u64| Some(i32::try_from(count).unwrap_or(i32::MAX));
        JudgedCounts {
            judged_attended: count(tally.attended),
            judged_possible: count(tally.possible),
            judged_unauthorised: count(tally.unauthorised),
            judged_from: Some(from),
        }
    }

    /// What the columns hold: attended, possible, unauthorised, and the first day of the window.
    pub(super) const fn from_columns(
        columns: (Option<i32>, Option<i32>, Option<i32>, Option<NaiveDate>),
    ) -> JudgedCounts {
        JudgedCounts {
            judged_attended: columns.0,
            judged_possible: columns.1,
            judged_unauthorised: columns.2,
            judged_from: columns.3,
        }
    }

    /// The first day of the window; nothing where the registers' own counts were judged.
    pub const fn from(self) -> Option<NaiveDate> {
        self.judged_from
    }

    /// The counts; nothing where the registers' own were judged.
    pub fn tally(self) -> Option<Tally> {
        let (attended, possible) = (self.judged_attended?, self.judged_possible?);
        Some(Tally::from_stored(attended, possible, self.judged_unauthorised?))
    }
}

/// The columns of [`StageRow`].
pub const STAGE_COLUMNS: &str =
    "pupil_id, stage, academic_year, since, policy_version, episode, episode_open, raised_to,
    changed_at, next_review_on, judged_attended, judged_possible, judged_unauthorised, judged_from, hold_id, fall_waits,
    has_holds, last_episode";

impl StageRow {
    /// Whether nothing that [`update_moved`] leaves as it is differs from another row of the pupil.
    pub fn differs_by_a_move_alone(&self, from: &StageRow) -> bool {
        let moved = StageRow {
            pupil_id: self.pupil_id,
            academic_year: self.academic_year,
            next_review_on: self.next_review_on,
            judged: self.judged,
            hold_id: self.hold_id,
            fall_waits: self.fall_waits,
            has_holds: self.has_holds,
            ..from.clone()
        };
        moved == *from
    }

    /// The stage.
    pub fn stage(&self) -> Result<Stage, StoreError> {
        stored_stage(self.stage)
    }
}

fn stored_stage(number: i16) -> Result<Stage, StoreError> {
    Stage::from_number(number).ok_or(StoreError::Corrupt("pupil_stages.stage"))
}

/// Locks pupils in the order of their identifiers, so that no two writers wait for each other, and returns their stages
/// in that order. Pupils that the trust does not have are left out. Waits for whoever judges the whole trust.
pub async fn lock(conn: &mut AsyncPgConnection, trust: TrustId, pupils: &[Uuid]) -> Result<Vec<StageRow>, StoreError> {
    hold_judging(conn, trust, JudgingLock::Shared).await?;
    read(conn, trust, pupils, "FOR NO KEY UPDATE").await
}

/// The same of pupils of a trust that nobody else judges ([`lock_all`]), none of whom need be locked one by one.
pub async fn of_locked_trust(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
) -> Result<Vec<StageRow>, StoreError> {
    read(conn, trust, pupils, "OFFSET 0").await
}

async fn read(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    how: &str,
) -> Result<Vec<StageRow>, StoreError> {
    let mut keys = pupils.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let rows = diesel::sql_query(format!(
        "SELECT s.*
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT {STAGE_COLUMNS}
             FROM pupil_stages
             WHERE trust_id = $1 AND pupil_id = k.pupil_id
             {how}
         ) AS s"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(keys)
    .load(conn)
    .await?;
    Ok(rows)
}

/// Pupils whose stage was judged in an earlier academic year, or whose day of review has come.
pub async fn pupils_to_review(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    today: NaiveDate,
    year: AcademicYear,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    let of_trust = || pupil_stages::table.filter(pupil_stages::trust_id.eq(trust.0));
    let mut pupils: Vec<Uuid> = of_trust()
        .filter(pupil_stages::academic_year.lt(year.start_year()))
        .order(pupil_stages::pupil_id)
        .select(pupil_stages::pupil_id)
        .limit(most)
        .load(conn)
        .await?;
    let due: Vec<Uuid> = of_trust()
        .filter(pupil_stages::next_review_on.le(today))
        .order(pupil_stages::next_review_on)
        .select(pupil_stages::pupil_id)
        .limit(most)
        .load(conn)
        .await?;
    pupils.extend(due);
    Ok(pupils)
}

/// How a transaction holds the judging of a trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JudgingLock {
    /// With others, each of whom locks the pupils that it judges.
    Shared,
    /// Alone.
    Alone,
}

/// Keeps everybody else from judging any pupil of the trust until the transaction ends, and waits for those who are at it.
/// Comes before any other lock.
pub async fn lock_all(conn: &mut AsyncPgConnection, trust: TrustId) -> Result<(), StoreError> {
    hold_judging(conn, trust, JudgingLock::Alone).await
}

async fn hold_judging(conn: &mut AsyncPgConnection, trust: TrustId, lock: JudgingLock) -> Result<(), StoreError> {
    let function = match lock {
        JudgingLock::Shared => "pg_advisory_xact_lock_shared",
        JudgingLock::Alone => "pg_advisory_xact_lock",
    };
    diesel::sql_query(format!(
        "SELECT {function}(hashtextextended('judging ' || $1::text, 0))"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .execute(conn)
    .await?;
    Ok(())
}

/// A pupil's stage with the counts of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedPupil {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The stage.
    pub stage: Stage,
    /// Whether the pupil ever had a hold.
    pub has_holds: bool,
    /// The counts, over all the pupil's enrolments.
    pub tally: Tally,
    /// The school by whose policy the pupil is judged, where it was asked for; nothing for a pupil that never had an enrolment.
    pub home_school: Option<Uuid>,
}

#[derive(QueryableByName)]
struct CountedRow {
    #[diesel(sql_type = sql_types::Uuid)]
    pupil_id: Uuid,
    #[diesel(sql_type = sql_types::SmallInt)]
    stage: i16,
    #[diesel(sql_type = sql_types::Bool)]
    has_holds: bool,
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    attended: Option<i16>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    possible: Option<i16>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    unauthorised: Option<i16>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Uuid>)]
    home_school: Option<Uuid>,
}

/// Every pupil of the trust who was not merged into another, in no order. The school, where `homes` asks for it, is that of
/// [`crate::domain::pupil::home`]. Reads whole tables of the trust, by hash and not by key.
pub async fn counted(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    today: NaiveDate,
    homes: bool,
) -> Result<Vec<CountedPupil>, StoreError> {
    let (school, of_homes) = if homes {
        let of_homes = "LEFT JOIN (
             SELECT DISTINCT ON (pupil_id) pupil_id, school_id
             FROM (
                 SELECT pupil_id, school_id, start_date, end_date, enrolment_id, kind,
                     start_date <= $3 AND (end_date IS NULL OR end_date >= $3) AS on_roll
                 FROM enrolments
                 WHERE trust_id = $1
             ) AS spans
             ORDER BY pupil_id, NOT on_roll, CASE WHEN on_roll THEN kind = 3 ELSE start_date > $3 END,
                 CASE WHEN NOT on_roll AND start_date <= $3 THEN end_date END DESC NULLS LAST, start_date, enrolment_id
         ) AS homes USING (pupil_id)";
        ("school_id", of_homes)
    } else {
        ("NULL::uuid", "")
    };
    let mut query = diesel::sql_query(format!(
        "SELECT pupil_id, stage, has_holds, attended, possible, unauthorised, {school} AS home_school
         FROM pupil_stages
         LEFT JOIN (
             SELECT pupil_id, attended, possible, unauthorised
             FROM registers
             WHERE trust_id = $1 AND academic_year = $2
         ) AS counts USING (pupil_id)
         {of_homes}
         WHERE trust_id = $1 AND NOT EXISTS (
             SELECT FROM pupils
             WHERE trust_id = $1 AND pupil_id = pupil_stages.pupil_id AND merged_into IS NOT NULL
         )"
    ))
    .into_boxed::<Pg>()
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::SmallInt, _>(year.start_year());
    if homes {
        query = query.bind::<sql_types::Date, _>(today);
    }
    // A pupil of two registers comes twice: to sum them up here is less work than to sort all of them there.
    let mut rows = query.load_stream::<CountedRow>(conn).await?;
    let mut counted: Vec<CountedPupil> = Vec::new();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    while let Some(found) = rows.try_next().await? {
        let count = |count: Option<i16>| count.unwrap_or(0);
        let tally = Tally::from_stored(count(found.attended), count(found.possible), count(found.unauthorised));
        match places.entry(found.pupil_id) {
            Entry::Occupied(place) => counted[*place.get()].tally += tally,
            Entry::Vacant(place) => {
                place.insert(counted.len());
                counted.push(CountedPupil {
                    pupil_id: found.pupil_id,
                    stage: stored_stage(found.stage)?,
                    has_holds: found.has_holds,
                    tally,
                    home_school: found.home_school,
                });
            }
        }
    }
    Ok(counted)
}

/// Writes what changes of stages where nothing but a move does, of a trust that nobody else judges ([`lock_all`]): the table
/// is gone through once, however many move, since no plan that was made for another trust decides how.
pub async fn update_moved(conn: &mut AsyncPgConnection, trust: TrustId, rows: &[StageRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query("SET LOCAL enable_nestloop = off")
        .execute(conn)
        .await?;
    diesel::sql_query(
        "UPDATE pupil_stages AS s
         SET stage = n.stage, since = n.since, policy_version = n.policy_version, episode = n.episode,
             episode_open = n.episode_open, raised_to = n.raised_to, changed_at = n.changed_at,
             last_episode = n.last_episode
         FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) AS n (
             pupil_id, stage, since, policy_version, episode, episode_open, raised_to, changed_at, last_episode
         )
         WHERE s.trust_id = $1 AND s.pupil_id = n.pupil_id",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(rows, |row| row.stage))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Date>>, _>(column(rows, |row| row.since))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(rows, |row| row.policy_version))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(rows, |row| row.episode))
    .bind::<sql_types::Array<sql_types::Bool>, _>(column(rows, |row| row.episode_open))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(rows, |row| row.raised_to))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Timestamptz>>, _>(column(rows, |row| row.changed_at))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(rows, |row| row.last_episode))
    .execute(conn)
    .await?;
    diesel::sql_query("SET LOCAL enable_nestloop TO DEFAULT")
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes stages that changed.
pub async fn update(conn: &mut AsyncPgConnection, trust: TrustId, rows: &[StageRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "INSERT INTO pupil_stages (trust_id, pupil_id, stage, academic_year, since, policy_version, episode, episode_open,
             raised_to, changed_at, next_review_on, judged_attended, judged_possible, judged_unauthorised,
             judged_from, hold_id, fall_waits, has_holds, last_episode)
         SELECT $1, n.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) AS n
         ON CONFLICT (trust_id, pupil_id) DO UPDATE
         SET stage = EXCLUDED.stage, academic_year = EXCLUDED.academic_year, since = EXCLUDED.since,
             policy_version = EXCLUDED.policy_version, episode = EXCLUDED.episode, episode_open = EXCLUDED.episode_open,
             raised_to = EXCLUDED.raised_to, changed_at = EXCLUDED.changed_at, next_review_on = EXCLUDED.next_review_on,
             judged_attended = EXCLUDED.judged_attended, judged_possible = EXCLUDED.judged_possible,
             judged_unauthorised = EXCLUDED.judged_unauthorised, judged_from = EXCLUDED.judged_from, hold_id = EXCLUDED.hold_id,
             fall_waits = EXCLUDED.fall_waits, has_holds = EXCLUDED.has_holds, last_episode = EXCLUDED.last_episode",
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
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Date>>, _>(column(rows, |row| row.next_review_on))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Integer>>, _>(column(rows, |row| row.judged.judged_attended))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Integer>>, _>(column(rows, |row| row.judged.judged_possible))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Integer>>, _>(column(rows, |row| {
        row.judged.judged_unauthorised
    }))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Date>>, _>(column(rows, |row| row.judged.judged_from))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Uuid>>, _>(column(rows, |row| row.hold_id))
    .bind::<sql_types::Array<sql_types::Bool>, _>(column(rows, |row| row.fall_waits))
    .bind::<sql_types::Array<sql_types::Bool>, _>(column(rows, |row| row.has_holds))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(rows, |row| row.last_episode))
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// What moved a pupil.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Marks were recorded or corrected.
    Marks,
    /// A mark that was there was changed.
    Correction,
    /// A day came: marks entered ahead of time began to count, a window or a hold moved on, or the academic year turned.
    DayPassed,
    /// A policy came into force.
    Policy,
    /// A person held the pupil at a stage, ended that, or confirmed a fall.
    Hold,
    /// The pupil's enrolments changed, or the calendar of a school.
    Enrolment,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 6] = [
        Cause::Marks,
        Cause::Correction,
        Cause::DayPassed,
        Cause::Policy,
        Cause::Hold,
        Cause::Enrolment,
    ];

    /// The word under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Cause::Marks => "marks",
            Cause::Correction => "correction",
            Cause::DayPassed => "day_passed",
            Cause::Policy => "policy",
            Cause::Hold => "hold",
            Cause::Enrolment => "enrolment",
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
    /// The academic year that was judged.
    pub year: AcademicYear,
    /// The first day on which the stage after holds. Of what is taken back in an earlier academic year, the day on which its
    /// episode began.
    pub effective_on: NaiveDate,
    /// The counts that caused it.
    pub tally: Tally,
    /// The number of the episode that it belongs to.
    pub episode: i32,
    /// What moved the pupil.
    pub cause: Cause,
    /// The version of the policy that judged.
    pub policy_version: i32,
    /// The stage of greatest need that was reached after all, where those beyond it turned out never to have been.
    pub retracted_to: Option<Stage>,
    /// The hold that keeps the pupil at the stage.
    pub hold_id: Option<Uuid>,
}

/// What all the transitions of one transaction share.
#[derive(Clone, Copy, Debug)]
pub struct TransitionContext {
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
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
             UPDATE feeds SET position = position + $4 WHERE trust_id = $1 RETURNING position - $4 AS before
         )
         INSERT INTO transitions (trust_id, position, recorded_at, academic_year, request_id, pupil_id, from_stage, to_stage,
             effective_on, attended, possible, unauthorised, episode, cause, policy_version, retracted_to, hold_id)
         SELECT $1, feed.before + n.ordinality, $2, n.academic_year, $3, n.pupil_id, n.from_stage, n.to_stage, n.effective_on,
             n.attended, n.possible, n.unauthorised, n.episode, n.cause, n.policy_version, n.retracted_to, n.hold_id
         FROM feed, unnest($5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) WITH ORDINALITY
             AS n(academic_year, pupil_id, from_stage, to_stage, effective_on, attended, possible, unauthorised, episode, cause,
                 policy_version, retracted_to, hold_id, ordinality)",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Timestamptz, _>(context.recorded_at)
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(context.request_id)
    .bind::<sql_types::BigInt, _>(i64::try_from(transitions.len()).unwrap_or(i64::MAX))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(transitions, |row| row.year.start_year()))
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(transitions, |row| row.pupil_id))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(transitions, |row| i16::from(row.from.number())))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(transitions, |row| i16::from(row.to.number())))
    .bind::<sql_types::Array<sql_types::Date>, _>(column(transitions, |row| row.effective_on))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| count(row.tally.attended)))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| count(row.tally.possible)))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| count(row.tally.unauthorised)))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| row.episode))
    .bind::<sql_types::Array<sql_types::Text>, _>(column(transitions, |row| row.cause.as_str()))
    .bind::<sql_types::Array<sql_types::Integer>, _>(column(transitions, |row| row.policy_version))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::SmallInt>>, _>(column(transitions, |row| {
        row.retracted_to.map(|stage| i16::from(stage.number()))
    }))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Uuid>>, _>(column(transitions, |row| row.hold_id))
    .execute(conn)
    .await?;
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
    // They are few, and stand in an index of their own.
    let merged = pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::pupil_id.eq(pupil_stages::pupil_id))
        .filter(pupils::merged_into.is_not_null());
    let mut query = pupil_stages::table
        .filter(pupil_stages::trust_id.eq(trust.0))
        .filter(diesel::dsl::not(diesel::dsl::exists(merged)))
        .into_boxed();
    if let Some(after) = filter.after {
        query = query.filter(pupil_stages::pupil_id.gt(after));
    }
    if !filter.stages.is_empty() {
        let numbers: Vec<i16> = filter.stages.iter().map(|stage| i16::from(stage.number())).collect();
        query = query.filter(pupil_stages::stage.eq_any(numbers));
    }
    if let Some(since) = filter.changed_since {
        let changed = transitions::table
            .filter(transitions::trust_id.eq(trust.0))
            .filter(transitions::recorded_at.ge(since))
            .select(transitions::pupil_id);
        query = query
            .filter(pupil_stages::changed_at.ge(since))
            .filter(pupil_stages::pupil_id.eq_any(changed));
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
