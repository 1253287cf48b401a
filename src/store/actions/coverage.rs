//! How far what is required has come, counted for many pupils at once.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{ACTION_COLUMNS, ActionRow, StoreError};
use crate::domain::action::{Action, ActionState, Coverage};
use crate::domain::identifiers::{PupilId, TrustId};
use crate::domain::stage::Stage;

#[derive(QueryableByName)]
struct RequiredRow {
    #[diesel(sql_type = sql_types::SmallInt)]
    stage_now: i16,
    #[diesel(embed)]
    action: ActionRow,
}

#[derive(QueryableByName)]
struct StageNow {
    #[diesel(sql_type = sql_types::SmallInt)]
    stage_now: i16,
}

/// A pupil's stage, and the actions that it requires: those of the episode that goes on, up to the stage, in the order of the
/// catalogue. Nothing where the trust has no such pupil.
pub async fn required_of_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: PupilId,
) -> Result<Option<(Stage, Vec<Action>)>, StoreError> {
    const OF_PUPIL: &str =
        "(SELECT s.stage AS stage_now FROM pupil_stages AS s WHERE s.trust_id = $1 AND s.pupil_id = $2)";
    // One statement, so that the actions are those of the stage.
    let rows: Vec<RequiredRow> = diesel::sql_query(format!(
        "SELECT s.stage_now, {ACTION_COLUMNS} FROM {OF_PUPIL} AS s
         CROSS JOIN pupil_actions
         WHERE trust_id = $1 AND pupil_id = $2 AND NOT beyond_stage ORDER BY ordinal"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(pupil.0)
    .load(conn)
    .await?;
    let stage_now = match rows.as_slice() {
        [first, ..] => Some(first.stage_now),
        // Nothing is required: at U nothing is.
        [] => diesel::sql_query(OF_PUPIL)
            .bind::<sql_types::Uuid, _>(trust.0)
            .bind::<sql_types::Uuid, _>(pupil.0)
            .get_result::<StageNow>(conn)
            .await
            .optional()?
            .map(|row| row.stage_now),
    };
    let Some(stage_now) = stage_now else {
        return Ok(None);
    };
    let stage = Stage::from_number(stage_now).ok_or(StoreError::Corrupt("pupil_stages.stage"))?;
    let actions = rows.into_iter().map(|row| row.action.try_into());
    Ok(Some((stage, actions.collect::<Result<_, _>>()?)))
}

/// Whose coverage is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageFilter {
    /// Only pupils on roll at this school.
    pub school: Option<Uuid>,
    /// The day of the roll.
    pub today: NaiveDate,
    /// Only provisions that one of these stages requires; none for all.
    pub stages: Vec<Stage>,
}

/// How many actions of a provision, for the pupils of a school, have come how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageRow {
    /// The school.
    pub school_id: Uuid,
    /// The provision.
    pub provision: String,
    /// What it is called, in the latest version of the catalogue that has it.
    pub title: String,
    /// Its place there.
    pub ordinal: i16,
    /// The stage that requires it.
    pub stage: Stage,
    /// How far.
    pub coverage: Coverage,
    /// How many.
    pub actions: u64,
}

#[derive(QueryableByName)]
struct CountedRow {
    #[diesel(sql_type = sql_types::Uuid)]
    school_id: Uuid,
    #[diesel(sql_type = sql_types::Text)]
    provision_id: String,
    #[diesel(sql_type = sql_types::Text)]
    title: String,
    #[diesel(sql_type = sql_types::SmallInt)]
    ordinal: i16,
    #[diesel(sql_type = sql_types::SmallInt)]
    stage: i16,
    #[diesel(sql_type = sql_types::SmallInt)]
    state: i16,
    #[diesel(sql_type = sql_types::BigInt)]
    actions: i64,
}

/// Counts, by school and provision, the actions that the stages of pupils on roll require. A pupil on roll at two schools counts
/// at the first of them, in the order of their identifiers. Reads each pupil's stage and episode, and those actions alone that
/// are rows: of the others it is enough how many pupils reached which stage.
pub async fn count(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &CoverageFilter,
) -> Result<Vec<CoverageRow>, StoreError> {
    // Written as it is asked, so that an index answers it.
    let of_school = match filter.school {
        Some(_) => "e.school_id = $3",
        None => "$3::uuid IS NULL",
    };
    let stages: Vec<i16> = filter.stages.iter().map(|stage| i16::from(stage.number())).collect();
    let rows: Vec<CountedRow> = diesel::sql_query(format!(
        "WITH roll AS MATERIALIZED (
             SELECT e.pupil_id, min(e.school_id::text)::uuid AS school_id
             FROM enrolments e
             WHERE e.trust_id = $1 AND e.start_date <= $2 AND (e.end_date IS NULL OR e.end_date >= $2) AND {of_school}
             GROUP BY e.pupil_id
         ), reached AS MATERIALIZED (
             SELECT roll.school_id, roll.pupil_id, e.episode, e.catalogue_version, stages.stage::smallint AS stage,
                 e.laid_out[stages.stage] IS NOT NULL AS laid_out
             FROM roll
             CROSS JOIN LATERAL (
                 SELECT s.stage, s.episode FROM pupil_stages s
                 WHERE s.trust_id = $1 AND s.pupil_id = roll.pupil_id AND s.episode_open
                 OFFSET 0
             ) AS s
             CROSS JOIN LATERAL (
                 SELECT e.episode, e.catalogue_version, e.raised_at, e.laid_out FROM episodes e
                 WHERE e.trust_id = $1 AND e.pupil_id = roll.pupil_id AND e.episode = s.episode
                 OFFSET 0
             ) AS e
             CROSS JOIN LATERAL generate_series(1, s.stage) AS stages (stage)
             WHERE e.raised_at[stages.stage] IS NOT NULL AND (cardinality($4::smallint[]) = 0 OR stages.stage = ANY($4))
         ), required AS MATERIALIZED (
             SELECT catalogue_version, provision_id, stage FROM provisions WHERE trust_id = $1 AND subject = 'pupil'
         ), counted AS (
             SELECT n.school_id, required.provision_id, required.stage, 2::smallint AS state, sum(n.pupils) AS actions
             FROM (
                 SELECT school_id, catalogue_version, stage, count(*) AS pupils
                 FROM reached WHERE NOT laid_out
                 GROUP BY school_id, catalogue_version, stage
             ) AS n
             JOIN required USING (catalogue_version, stage)
             GROUP BY n.school_id, required.provision_id, required.stage
             UNION ALL
             SELECT reached.school_id, a.provision_id, reached.stage, a.state, count(*)
             FROM reached
             JOIN required USING (catalogue_version, stage)
             CROSS JOIN LATERAL (
                 SELECT a.provision_id, a.state FROM actions a
                 WHERE a.trust_id = $1 AND a.pupil_id = reached.pupil_id AND a.episode = reached.episode
                     AND a.provision_id = required.provision_id
                 OFFSET 0
             ) AS a
             WHERE reached.laid_out
             GROUP BY reached.school_id, a.provision_id, reached.stage, a.state
         )
         SELECT counted.school_id, counted.provision_id, latest.title, latest.ordinal, counted.stage, counted.state,
             sum(counted.actions)::bigint AS actions
         FROM counted
         CROSS JOIN LATERAL (
             SELECT title, ordinal FROM provisions
             WHERE trust_id = $1 AND provision_id = counted.provision_id
             ORDER BY catalogue_version DESC LIMIT 1
         ) AS latest
         GROUP BY counted.school_id, counted.provision_id, latest.title, latest.ordinal, counted.stage, counted.state"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Date, _>(filter.today)
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.school)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(stages)
    .load(conn)
    .await?;
    let counted = rows.into_iter().map(|row| {
        let state = ActionState::from_number(row.state).ok_or(StoreError::Corrupt("a state of an action"))?;
        Ok(CoverageRow {
            school_id: row.school_id,
            provision: row.provision_id,
            title: row.title,
            ordinal: row.ordinal,
            stage: Stage::from_number(row.stage).ok_or(StoreError::Corrupt("a stage of a provision"))?,
            coverage: Coverage::of(state),
            actions: u64::try_from(row.actions).unwrap_or_default(),
        })
    });
    counted.collect()
}
