//! When work on actions began or was completed, and what has to be known of pupils to see their attendance before and after.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::TryStreamExt as _;
use uuid::Uuid;

use super::StoreError;
use crate::domain::action::{ActionName, ActionState};
use crate::domain::identifiers::{PupilId, SchoolId, TrustId};
use crate::domain::outcomes::OnRoll;
use crate::domain::session::{AcademicYear, london_date};
use crate::domain::stage::Stage;
use crate::domain::tally::PrefixTallies;

/// What of an action's life is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// That work was first recorded, whatever became of it since.
    Begun,
    /// That it was completed, the last time where it was reopened. Those alone that are completed now.
    Completed,
}

/// That work on an action began, or that it was completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The action.
    pub name: ActionName,
    /// The stage that requires it.
    pub stage: Stage,
    /// The day in Europe/London.
    pub day: NaiveDate,
}

/// The place of an action among those of all pupils.
pub type ReachedKey = (Uuid, i32, String);

/// Which are asked for.
#[derive(Clone, Debug)]
pub struct ReachedFilter {
    /// What of their lives.
    pub milestone: Milestone,
    /// Only of these provisions; none for all.
    pub provisions: Vec<String>,
    /// Only those on this day or later.
    pub from: Option<NaiveDate>,
    /// Only those on this day or earlier.
    pub to: NaiveDate,
    /// Only of pupils who were on roll at this school on the day.
    pub school: Option<Uuid>,
    /// Only those behind this one.
    pub after: Option<ReachedKey>,
}

#[derive(QueryableByName)]
struct ReachedRow {
    #[diesel(sql_type = sql_types::Uuid)]
    pupil_id: Uuid,
    #[diesel(sql_type = sql_types::Integer)]
    episode: i32,
    #[diesel(sql_type = sql_types::Text)]
    provision_id: String,
    #[diesel(sql_type = sql_types::SmallInt)]
    stage: i16,
    #[diesel(sql_type = sql_types::Timestamptz)]
    at: DateTime<Utc>,
}

/// Actions on which work began, or that were completed, at most so many, by pupil, episode and provision. Reads the rows of
/// actions alone: what nobody has touched is none.
pub async fn reached(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &ReachedFilter,
    most: i64,
) -> Result<Vec<Reached>, StoreError> {
    let of_actions = match filter.milestone {
        Milestone::Begun => {
            "SELECT a.pupil_id, a.episode, a.provision_id, a.stage, a.begun_at AS at
             FROM actions a
             WHERE a.trust_id = $1 AND a.begun_at IS NOT NULL AND $9 IS NOT NULL"
        }
        Milestone::Completed => {
            "SELECT a.pupil_id, a.episode, a.provision_id, a.stage, e.at
             FROM actions a
             CROSS JOIN LATERAL (
                 SELECT e.recorded_at AS at FROM action_entries e
                 WHERE e.trust_id = $1 AND e.pupil_id = a.pupil_id AND e.episode = a.episode
                     AND e.provision_id = a.provision_id AND e.to_state = $9
                 ORDER BY e.ordinal DESC LIMIT 1
             ) AS e
             WHERE a.trust_id = $1 AND a.state = $9"
        }
    };
    let of_school = match filter.school {
        Some(_) => {
            "EXISTS (
                 SELECT FROM enrolments e
                 WHERE e.trust_id = $1 AND e.pupil_id = r.pupil_id AND e.school_id = $5
                     AND e.start_date <= (r.at AT TIME ZONE 'Europe/London')::date
                     AND (e.end_date IS NULL OR e.end_date >= (r.at AT TIME ZONE 'Europe/London')::date)
             )"
        }
        None => "$5::uuid IS NULL",
    };
    let (pupil, episode, provision) = filter.after.clone().unwrap_or((Uuid::nil(), 0, String::new()));
    let rows: Vec<ReachedRow> = diesel::sql_query(format!(
        "SELECT r.* FROM ({of_actions}) AS r
         WHERE (cardinality($2::text[]) = 0 OR r.provision_id = ANY($2))
             AND ($3::date IS NULL OR (r.at AT TIME ZONE 'Europe/London')::date >= $3)
             AND (r.at AT TIME ZONE 'Europe/London')::date <= $4
             AND {of_school}
             AND (r.pupil_id, r.episode, r.provision_id) > ($6, $7, $8)
         ORDER BY r.pupil_id, r.episode, r.provision_id LIMIT $10"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Text>, _>(&filter.provisions)
    .bind::<sql_types::Nullable<sql_types::Date>, _>(filter.from)
    .bind::<sql_types::Date, _>(filter.to)
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(filter.school)
    .bind::<sql_types::Uuid, _>(pupil)
    .bind::<sql_types::Integer, _>(episode)
    .bind::<sql_types::Text, _>(provision)
    .bind::<sql_types::SmallInt, _>(ActionState::Completed.number())
    .bind::<sql_types::BigInt, _>(most)
    .load(conn)
    .await?;
    let reached = rows.into_iter().map(|row| {
        Ok(Reached {
            name: ActionName {
                pupil: PupilId(row.pupil_id),
                episode: row.episode,
                provision: row.provision_id,
            },
            stage: Stage::from_number(row.stage).ok_or(StoreError::Corrupt("actions.stage"))?,
            day: london_date(row.at),
        })
    });
    reached.collect()
}

/// The enrolments of pupils who were on roll at a school, or at any, on a day of a period: those at that school, or all.
pub async fn on_roll_within(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<Uuid>,
    (from, to): (NaiveDate, NaiveDate),
) -> Result<HashMap<Uuid, Vec<OnRoll>>, StoreError> {
    use crate::store::schema::enrolments;
    let mut query = enrolments::table
        .filter(enrolments::trust_id.eq(trust.0))
        .filter(enrolments::start_date.le(to))
        .filter(enrolments::end_date.is_null().or(enrolments::end_date.ge(from)))
        .into_boxed();
    if let Some(school) = school {
        query = query.filter(enrolments::school_id.eq(school));
    }
    let rows: Vec<(Uuid, Uuid, NaiveDate, Option<NaiveDate>)> = query
        .select((
            enrolments::pupil_id,
            enrolments::school_id,
            enrolments::start_date,
            enrolments::end_date,
        ))
        .load(conn)
        .await?;
    let mut by_pupil: HashMap<Uuid, Vec<OnRoll>> = HashMap::new();
    for (pupil, school, start, end) in rows {
        by_pupil.entry(pupil).or_default().push(OnRoll {
            school: SchoolId(school),
            start,
            end,
        });
    }
    Ok(by_pupil)
}

/// The moves of some pupils between stages, recorded by the end of a day, in the order of recording: the day on which each was
/// recorded, in Europe/London, and the stage after.
pub async fn moves_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    to: NaiveDate,
) -> Result<HashMap<Uuid, Vec<(NaiveDate, Stage)>>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Uuid)]
        pupil_id: Uuid,
        #[diesel(sql_type = sql_types::Date)]
        day: NaiveDate,
        #[diesel(sql_type = sql_types::SmallInt)]
        to_stage: i16,
    }
    let rows: Vec<Found> = diesel::sql_query(
        "SELECT k.pupil_id, t.day, t.to_stage
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT position, (recorded_at AT TIME ZONE 'Europe/London')::date AS day, to_stage
             FROM transitions WHERE trust_id = $1 AND pupil_id = k.pupil_id AND from_stage <> to_stage
             OFFSET 0
         ) AS t
         WHERE t.day <= $3
         ORDER BY k.pupil_id, t.position",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::Date, _>(to)
    .load(conn)
    .await?;
    let mut by_pupil: HashMap<Uuid, Vec<(NaiveDate, Stage)>> = HashMap::new();
    for row in rows {
        let stage = Stage::from_number(row.to_stage).ok_or(StoreError::Corrupt("transitions.to_stage"))?;
        by_pupil.entry(row.pupil_id).or_default().push((row.day, stage));
    }
    Ok(by_pupil)
}

/// A pupil's registers, each with its academic year.
pub type RegistersOfPupil = Vec<(AcademicYear, PrefixTallies)>;

/// Reads the registers of some pupils in some years, a pupil after the other, so that those of one alone are in memory. A pupil
/// without any is passed over.
pub async fn each_pupils_registers(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    years: &[AcademicYear],
    mut each: impl FnMut(Uuid, RegistersOfPupil),
) -> Result<(), StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Uuid)]
        pupil_id: Uuid,
        #[diesel(sql_type = sql_types::SmallInt)]
        academic_year: i16,
        #[diesel(sql_type = sql_types::Binary)]
        marks: Vec<u8>,
    }
    let years: Vec<i16> = years.iter().map(|year| year.start_year()).collect();
    let mut pupils = pupils.to_vec();
    pupils.sort_unstable();
    // In the order of the keys, as nothing else asks the planner for another one.
    let mut rows = diesel::sql_query(
        "SELECT k.pupil_id, r.academic_year, r.marks
         FROM unnest($2) WITH ORDINALITY AS k(pupil_id, place)
         CROSS JOIN LATERAL (
             SELECT academic_year, marks FROM registers
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = ANY($3)
             OFFSET 0
         ) AS r
         ORDER BY k.place",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .load_stream::<Found>(conn)
    .await?;
    let mut of_pupil: Option<(Uuid, RegistersOfPupil)> = None;
    while let Some(row) = rows.try_next().await? {
        let year = AcademicYear::from_start_year(i32::from(row.academic_year));
        let year = year.ok_or(StoreError::Corrupt("registers.academic_year"))?;
        let register = (year, PrefixTallies::of_marks(&row.marks));
        match &mut of_pupil {
            Some((pupil, registers)) if *pupil == row.pupil_id => registers.push(register),
            other => {
                if let Some((pupil, registers)) = other.replace((row.pupil_id, vec![register])) {
                    each(pupil, registers);
                }
            }
        }
    }
    if let Some((pupil, registers)) = of_pupil {
        each(pupil, registers);
    }
    Ok(())
}

/// What provisions are called, and which stage requires them, in the latest version of the catalogue that has each; with their
/// place there.
pub async fn titles(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
) -> Result<HashMap<String, (Stage, i16, String)>, StoreError> {
    use crate::store::schema::provisions;
    let rows: Vec<(String, i16, i16, String)> = provisions::table
        .filter(provisions::trust_id.eq(trust.0))
        .order(provisions::catalogue_version)
        .select((
            provisions::provision_id,
            provisions::stage,
            provisions::ordinal,
            provisions::title,
        ))
        .load(conn)
        .await?;
    let mut latest = HashMap::new();
    for (provision, stage, ordinal, title) in rows {
        let stage = Stage::from_number(stage).ok_or(StoreError::Corrupt("provisions.stage"))?;
        latest.insert(provision, (stage, ordinal, title));
    }
    Ok(latest)
}
