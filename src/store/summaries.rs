//! Counts of pupils by stage and of sessions, by school and for the whole trust.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Date, Integer, Nullable, SmallInt, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;

/// Pupils on roll at one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct PupilCounts {
    /// The school; nothing for the whole trust.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub school_id: Option<Uuid>,
    /// The number of the stage.
    #[diesel(sql_type = SmallInt)]
    pub stage: i16,
    /// Pupils.
    #[diesel(sql_type = BigInt)]
    pub pupils: i64,
    /// Of them, those with fewer possible sessions than the policy's minimum.
    #[diesel(sql_type = BigInt)]
    pub too_little_data: i64,
    /// Of them, those with at least one possible session.
    #[diesel(sql_type = BigInt)]
    pub with_sessions: i64,
    /// Of those, the persistently absent.
    #[diesel(sql_type = BigInt)]
    pub persistently_absent: i64,
    /// Of those, the severely absent.
    #[diesel(sql_type = BigInt)]
    pub severely_absent: i64,
}

/// Sessions of one school's enrolments in a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct SessionCounts {
    /// The school.
    #[diesel(sql_type = SqlUuid)]
    pub school_id: Uuid,
    /// Sessions attended.
    #[diesel(sql_type = BigInt)]
    pub attended: i64,
    /// Sessions possible.
    #[diesel(sql_type = BigInt)]
    pub possible: i64,
    /// Sessions of unauthorised absence.
    #[diesel(sql_type = BigInt)]
    pub unauthorised: i64,
    /// Enrolments with at least one possible session.
    #[diesel(sql_type = BigInt)]
    pub with_sessions: i64,
    /// Of those, the persistently absent.
    #[diesel(sql_type = BigInt)]
    pub persistently_absent: i64,
    /// Of those, the severely absent.
    #[diesel(sql_type = BigInt)]
    pub severely_absent: i64,
}

/// The day, the year and the policy's minimum by which pupils are counted.
#[derive(Clone, Copy, Debug)]
pub struct CountingRule {
    /// The day of the roll.
    pub today: NaiveDate,
    /// The academic year.
    pub year: AcademicYear,
    /// The fewest possible sessions below which there is too little data.
    pub minimum_possible: u32,
}

/// Pupils on roll by school and stage, and by stage for the whole trust (where a pupil at two schools counts once); or
/// those of one school alone.
pub async fn pupils_by_stage(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<Uuid>,
    rule: CountingRule,
) -> Result<Vec<PupilCounts>, StoreError> {
    let rows = diesel::sql_query(
        "WITH roll AS MATERIALIZED (
             SELECT DISTINCT e.school_id, e.pupil_id
             FROM enrolments e
             WHERE e.trust_id = $1 AND e.start_date <= $2 AND (e.end_date IS NULL OR e.end_date >= $2)
                 AND ($5::uuid IS NULL OR e.school_id = $5)
         ), pupil AS MATERIALIZED (
             SELECT roll.school_id, roll.pupil_id, s.stage, r.attended, r.possible,
                 row_number() OVER (PARTITION BY roll.pupil_id ORDER BY roll.school_id) = 1 AS first
             FROM roll
             CROSS JOIN LATERAL (
                 SELECT s.stage FROM pupil_stages s WHERE s.trust_id = $1 AND s.pupil_id = roll.pupil_id OFFSET 0
             ) AS s
             CROSS JOIN LATERAL (
                 SELECT coalesce(sum(r.attended), 0) AS attended, coalesce(sum(r.possible), 0) AS possible
                 FROM registers r
                 WHERE r.trust_id = $1 AND r.pupil_id = roll.pupil_id AND r.academic_year = $3
             ) AS r
         ), counted AS (
             SELECT school_id, stage, attended, possible FROM pupil
             UNION ALL
             -- The whole trust, where a pupil of two schools counts once.
             SELECT NULL, stage, attended, possible FROM pupil WHERE first AND $5::uuid IS NULL
         )
         SELECT school_id, stage, count(*) AS pupils,
             count(*) FILTER (WHERE possible = 0 OR possible < $4) AS too_little_data,
             count(*) FILTER (WHERE possible > 0) AS with_sessions,
             count(*) FILTER (WHERE possible > 0 AND (possible - attended) * 10 >= possible) AS persistently_absent,
             count(*) FILTER (WHERE possible > 0 AND (possible - attended) * 2 >= possible) AS severely_absent
         FROM counted
         GROUP BY school_id, stage",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Date, _>(rule.today)
    .bind::<SmallInt, _>(rule.year.start_year())
    .bind::<Integer, _>(i32::try_from(rule.minimum_possible).unwrap_or(i32::MAX))
    .bind::<Nullable<SqlUuid>, _>(school)
    .load(conn)
    .await?;
    Ok(rows)
}

/// Sessions by school, of every enrolment of the year, leavers to their last day.
pub async fn sessions_by_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<Uuid>,
    year: AcademicYear,
) -> Result<Vec<SessionCounts>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT r.school_id, sum(r.attended)::bigint AS attended, sum(r.possible)::bigint AS possible,
             sum(r.unauthorised)::bigint AS unauthorised,
             count(*) FILTER (WHERE r.possible > 0) AS with_sessions,
             count(*) FILTER (WHERE r.possible > 0 AND (r.possible - r.attended) * 10 >= r.possible)
                 AS persistently_absent,
             count(*) FILTER (WHERE r.possible > 0 AND (r.possible - r.attended) * 2 >= r.possible) AS severely_absent
         FROM registers r
         WHERE r.trust_id = $1 AND r.academic_year = $2 AND ($3::uuid IS NULL OR r.school_id = $3)
         GROUP BY r.school_id",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<SmallInt, _>(year.start_year())
    .bind::<Nullable<SqlUuid>, _>(school)
    .load(conn)
    .await?;
    Ok(rows)
}

/// A school, as a summary names it.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct SchoolName {
    /// The school.
    pub school_id: Uuid,
    /// Its unique reference number.
    pub urn: String,
    /// Its name.
    pub name: String,
}

/// The trust's schools by name, or one of them.
pub async fn school_names(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Option<Uuid>,
) -> Result<Vec<SchoolName>, StoreError> {
    use super::schema::schools;
    let mut query = schools::table.filter(schools::trust_id.eq(trust.0)).into_boxed();
    if let Some(school) = school {
        query = query.filter(schools::school_id.eq(school));
    }
    Ok(query
        .order((schools::name, schools::urn))
        .select((schools::school_id, schools::urn, schools::name))
        .load(conn)
        .await?)
}

/// A register of a pupil who has one at a school: that one, or another of the year.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct PupilRegister {
    /// The pupil.
    #[diesel(sql_type = SqlUuid)]
    pub pupil_id: Uuid,
    /// The number of the pupil's year group.
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub year_group: Option<i16>,
    /// The school of the register.
    #[diesel(sql_type = SqlUuid)]
    pub school_id: Uuid,
    /// The marks.
    #[diesel(sql_type = Binary)]
    pub marks: Vec<u8>,
}

/// All registers of a year of the pupils who have one at a school, in the order of the pupils.
pub async fn registers_of_pupils_at(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Uuid,
    year: AcademicYear,
) -> Result<Vec<PupilRegister>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT k.pupil_id, p.year_group, r.school_id, r.marks
         FROM (
             SELECT DISTINCT pupil_id FROM registers WHERE trust_id = $1 AND school_id = $2 AND academic_year = $3 OFFSET 0
         ) AS k
         CROSS JOIN LATERAL (
             SELECT year_group FROM pupils WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0
         ) AS p
         CROSS JOIN LATERAL (
             SELECT school_id, marks FROM registers WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = $3
             OFFSET 0
         ) AS r
         ORDER BY k.pupil_id",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<SqlUuid, _>(school)
    .bind::<SmallInt, _>(year.start_year())
    .load(conn)
    .await?;
    Ok(rows)
}

/// Who may be on the way into persistent absence.
#[derive(Clone, Copy, Debug)]
pub struct AbsenceFilter {
    /// Only pupils on roll at this school.
    pub school: Option<Uuid>,
    /// The day of the roll.
    pub today: NaiveDate,
    /// The academic year.
    pub year: AcademicYear,
    /// Within how many sessions.
    pub sessions: u32,
}

/// Pupils on roll with at least one possible session, and how many of them are persistently absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsentPupils {
    /// With at least one possible session.
    pub with_sessions: i64,
    /// With a tenth or more missed.
    pub persistently_absent: i64,
}

/// A pupil who would be persistently absent within some sessions if all were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsenceCandidate {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The number of the stage.
    pub stage: i16,
}

#[derive(QueryableByName)]
struct CandidateRow {
    #[diesel(sql_type = BigInt)]
    with_sessions: i64,
    #[diesel(sql_type = BigInt)]
    persistently_absent: i64,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pupil_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    stage: Option<i16>,
}

/// The pupils on roll who are not persistently absent, and would be if they missed all of some sessions to come: nobody else
/// can cross at any rate. In the order of their identifiers.
pub async fn towards_persistent_absence(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: AbsenceFilter,
) -> Result<(AbsentPupils, Vec<AbsenceCandidate>), StoreError> {
    // Written as it is asked, so that an index answers it.
    let of_school = match filter.school {
        Some(_) => "e.school_id = $2",
        None => "$2::uuid IS NULL",
    };
    let rows: Vec<CandidateRow> = diesel::sql_query(format!(
        "WITH roll AS MATERIALIZED (
             SELECT DISTINCT e.pupil_id
             FROM enrolments e
             WHERE e.trust_id = $1 AND e.start_date <= $3 AND (e.end_date IS NULL OR e.end_date >= $3)
                 AND {of_school}
         ), pupil AS MATERIALIZED (
             SELECT roll.pupil_id, s.stage, r.possible, r.possible - r.attended AS missed
             FROM roll
             CROSS JOIN LATERAL (
                 SELECT s.stage FROM pupil_stages s WHERE s.trust_id = $1 AND s.pupil_id = roll.pupil_id OFFSET 0
             ) AS s
             CROSS JOIN LATERAL (
                 SELECT coalesce(sum(r.attended), 0) AS attended, coalesce(sum(r.possible), 0) AS possible
                 FROM registers r
                 WHERE r.trust_id = $1 AND r.pupil_id = roll.pupil_id AND r.academic_year = $4
             ) AS r
             WHERE r.possible > 0
         )
         SELECT counts.with_sessions, counts.persistently_absent, found.pupil_id, found.stage
         FROM (
             SELECT count(*) AS with_sessions, count(*) FILTER (WHERE missed * 10 >= possible) AS persistently_absent
             FROM pupil
         ) AS counts
         LEFT JOIN pupil AS found
             ON found.missed * 10 < found.possible AND (found.missed + $5) * 10 >= found.possible + $5
         ORDER BY found.pupil_id"
    ))
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Nullable<SqlUuid>, _>(filter.school)
    .bind::<Date, _>(filter.today)
    .bind::<SmallInt, _>(filter.year.start_year())
    .bind::<Integer, _>(i32::try_from(filter.sessions).unwrap_or(i32::MAX))
    .load(conn)
    .await?;
    let counts = rows
        .as_slice()
        .first()
        .map_or((0, 0), |row| (row.with_sessions, row.persistently_absent));
    let candidates = rows.iter().filter_map(|row| {
        Some(AbsenceCandidate {
            pupil_id: row.pupil_id?,
            stage: row.stage?,
        })
    });
    Ok((
        AbsentPupils {
            with_sessions: counts.0,
            persistently_absent: counts.1,
        },
        candidates.collect(),
    ))
}
