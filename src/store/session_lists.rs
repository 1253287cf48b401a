//! Lists of sessions that deserve a look: still marked N, or marked by two schools.

use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::enrolments;
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;

/// A session that is marked N.
#[derive(Clone, Copy, Debug, PartialEq, Eq, QueryableByName)]
pub struct UnexplainedMark {
    /// The pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub pupil_id: Uuid,
    /// The enrolment.
    #[diesel(sql_type = sql_types::Uuid)]
    pub enrolment_id: Uuid,
    /// The school.
    #[diesel(sql_type = sql_types::Uuid)]
    pub school_id: Uuid,
    /// The place of the session in the register.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub place: i16,
}

/// The sessions of a year marked N in the registers of schools, the oldest first, behind one of them where one is given. Each
/// school comes with the place before which they are wanted. Reads the schools' registers of the year; those without an N are
/// passed over by a search for its byte.
pub async fn unexplained(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[(Uuid, i16)],
    year: AcademicYear,
    behind: Option<(i16, Uuid)>,
    most: i64,
) -> Result<Vec<UnexplainedMark>, StoreError> {
    let (ids, before): (Vec<Uuid>, Vec<i16>) = schools.iter().copied().unzip();
    let (place, enrolment) = behind.unwrap_or((-1, Uuid::nil()));
    Ok(diesel::sql_query(
        "SELECT r.pupil_id, r.enrolment_id, r.school_id, place::smallint AS place
         FROM unnest($2, $3) AS k (school_id, before)
         CROSS JOIN LATERAL (
             SELECT pupil_id, enrolment_id, school_id, substring(marks FOR k.before) AS marks FROM registers
             WHERE trust_id = $1 AND school_id = k.school_id AND academic_year = $4
             OFFSET 0
         ) AS r
         CROSS JOIN LATERAL generate_series(0, octet_length(r.marks) - 1) AS place
         WHERE position($5 IN r.marks) > 0 AND get_byte(r.marks, place) = get_byte($5, 0)
             AND (place, r.enrolment_id) > ($6, $7)
         ORDER BY place, r.enrolment_id
         LIMIT $8",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(ids)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(before)
    .bind::<sql_types::SmallInt, _>(year.start_year())
    .bind::<sql_types::Binary, _>(vec![AttendanceCode::N.byte()])
    .bind::<sql_types::SmallInt, _>(place)
    .bind::<sql_types::Uuid, _>(enrolment)
    .bind::<sql_types::BigInt, _>(most)
    .load(conn)
    .await?)
}

/// Pupils who are or were dually registered, those after one of them, in order.
pub async fn dually_registered(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    after: Uuid,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(enrolments::table
        .filter(enrolments::trust_id.eq(trust.0))
        .filter(enrolments::kind.eq(3))
        .filter(enrolments::pupil_id.ge(after))
        .order(enrolments::pupil_id)
        .select(enrolments::pupil_id)
        .distinct()
        .limit(most)
        .load(conn)
        .await?)
}
