//! Moves between stages over a period, counted.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Nullable, SmallInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use crate::domain::identifiers::TrustId;

/// Which moves are counted.
#[derive(Clone, Copy, Debug)]
pub struct MovementFilter {
    /// Only those of pupils on roll at this school.
    pub school: Option<Uuid>,
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// The instant at which the first day begins.
    pub begins: DateTime<Utc>,
    /// The instant at which the last day ends.
    pub ends: DateTime<Utc>,
}

/// How many moved from one stage to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct MovementCount {
    /// The number of the stage from which; nothing for who was not on roll.
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub from_stage: Option<i16>,
    /// The number of the stage to which; nothing for who is not on roll.
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub to_stage: Option<i16>,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// The condition on the school, which is the second parameter: written as it is asked, so that an index answers it.
const fn of_school(school: Option<Uuid>) -> &'static str {
    match school {
        Some(_) => "e.school_id = $2",
        None => "$2::uuid IS NULL",
    }
}

/// Each pupil on roll in the period, from the stage before it to the stage at its end. What a stage was follows from the next
/// move after the instant, and from the current stage where there was none.
pub async fn first_to_last(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: MovementFilter,
) -> Result<Vec<MovementCount>, StoreError> {
    let of_school = of_school(filter.school);
    let rows = diesel::sql_query(format!(
        "WITH roll AS MATERIALIZED (
             SELECT e.pupil_id,
                 bool_or(e.start_date <= $3 AND (e.end_date IS NULL OR e.end_date >= $3)) AS at_first,
                 bool_or(e.start_date <= $4 AND (e.end_date IS NULL OR e.end_date >= $4)) AS at_last
             FROM enrolments e
             WHERE e.trust_id = $1 AND {of_school}
                 AND e.start_date <= $4 AND (e.end_date IS NULL OR e.end_date >= $3)
             GROUP BY e.pupil_id
         )
         SELECT CASE WHEN roll.at_first THEN coalesce(a.from_stage, s.stage) END AS from_stage,
             CASE WHEN roll.at_last THEN coalesce(b.from_stage, s.stage) END AS to_stage,
             count(*) AS count
         FROM roll
         CROSS JOIN LATERAL (
             SELECT s.stage FROM pupil_stages s WHERE s.trust_id = $1 AND s.pupil_id = roll.pupil_id OFFSET 0
         ) AS s
         LEFT JOIN LATERAL (
             SELECT t.from_stage FROM transitions t
             WHERE t.trust_id = $1 AND t.pupil_id = roll.pupil_id AND t.recorded_at >= $5
             ORDER BY t.position LIMIT 1
         ) AS a ON true
         LEFT JOIN LATERAL (
             SELECT t.from_stage FROM transitions t
             WHERE t.trust_id = $1 AND t.pupil_id = roll.pupil_id AND t.recorded_at >= $6
             ORDER BY t.position LIMIT 1
         ) AS b ON true
         GROUP BY 1, 2"
    ))
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Nullable<SqlUuid>, _>(filter.school)
    .bind::<Date, _>(filter.from)
    .bind::<Date, _>(filter.to)
    .bind::<Timestamptz, _>(filter.begins)
    .bind::<Timestamptz, _>(filter.ends)
    .load(conn)
    .await?;
    Ok(rows)
}

/// Every move that was recorded in the period; of a school, those of pupils who were on roll there on the day.
pub async fn every_move(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: MovementFilter,
) -> Result<Vec<MovementCount>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT t.from_stage, t.to_stage, count(*) AS count
         FROM transitions t
         WHERE t.trust_id = $1 AND t.recorded_at >= $3 AND t.recorded_at < $4 AND t.from_stage <> t.to_stage
             AND ($2::uuid IS NULL OR EXISTS (
                 SELECT FROM enrolments e
                 WHERE e.trust_id = $1 AND e.school_id = $2 AND e.pupil_id = t.pupil_id
                     AND e.start_date <= (t.recorded_at AT TIME ZONE 'Europe/London')::date
                     AND (e.end_date IS NULL OR e.end_date >= (t.recorded_at AT TIME ZONE 'Europe/London')::date)
             ))
         GROUP BY t.from_stage, t.to_stage",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Nullable<SqlUuid>, _>(filter.school)
    .bind::<Timestamptz, _>(filter.begins)
    .bind::<Timestamptz, _>(filter.ends)
    .load(conn)
    .await?;
    Ok(rows)
}
