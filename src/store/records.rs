//! Pupils' records: every enrolment with its registers of some years.

use std::borrow::Cow;

use chrono::NaiveDate;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use crate::domain::identifiers::{EnrolmentId, SchoolId, TrustId};
use crate::domain::pupil::{EnrolmentKind, EnrolmentSpan};
use crate::domain::record::{EnrolmentRecord, PupilRecord};
use crate::domain::session::AcademicYear;

#[derive(diesel::QueryableByName)]
struct RecordRow {
    #[diesel(sql_type = sql_types::Uuid)]
    pupil_id: Uuid,
    #[diesel(sql_type = sql_types::Uuid)]
    enrolment_id: Uuid,
    #[diesel(sql_type = sql_types::Uuid)]
    school_id: Uuid,
    #[diesel(sql_type = sql_types::SmallInt)]
    kind: i16,
    #[diesel(sql_type = sql_types::Date)]
    start_date: NaiveDate,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Date>)]
    end_date: Option<NaiveDate>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    academic_year: Option<i16>,
    #[diesel(sql_type = sql_types::Nullable<sql_types::Binary>)]
    marks: Option<Vec<u8>>,
}

/// The schools of some records, each once and in order.
pub fn schools_of<'r>(records: impl IntoIterator<Item = &'r PupilRecord<'r>>) -> Vec<Uuid> {
    let enrolments = records.into_iter().flat_map(|record| &record.enrolments);
    let mut schools: Vec<Uuid> = enrolments.map(|enrolment| enrolment.span.school.0).collect();
    schools.sort_unstable();
    schools.dedup();
    schools
}

/// The academic years up to one of which any of the pupils has registers, in order.
pub async fn years_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    until: AcademicYear,
) -> Result<Vec<AcademicYear>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::SmallInt)]
        academic_year: i16,
    }
    let found: Vec<Found> = diesel::sql_query(
        "SELECT DISTINCT r.academic_year
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT academic_year FROM registers
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year <= $3
             OFFSET 0
         ) AS r
         ORDER BY r.academic_year",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::SmallInt, _>(until.start_year())
    .load(conn)
    .await?;
    let corrupt = || StoreError::Corrupt("registers.academic_year");
    let years = found.into_iter().map(|found| i32::from(found.academic_year));
    years
        .map(|start_year| AcademicYear::from_start_year(start_year).ok_or_else(corrupt))
        .collect()
}

/// The records of pupils, in the order of their identifiers: all enrolments, each with its registers of the years. A pupil
/// without enrolments is left out.
pub async fn records_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    years: &[AcademicYear],
) -> Result<Vec<(Uuid, PupilRecord<'static>)>, StoreError> {
    if pupils.is_empty() {
        return Ok(Vec::new());
    }
    let years: Vec<i16> = years.iter().map(|year| year.start_year()).collect();
    let rows: Vec<RecordRow> = diesel::sql_query(
        "SELECT e.pupil_id, e.enrolment_id, e.school_id, e.kind, e.start_date, e.end_date, r.academic_year, r.marks
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM enrolments WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0
         ) AS e
         LEFT JOIN LATERAL (
             SELECT academic_year, marks FROM registers
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = ANY($3) AND enrolment_id = e.enrolment_id
             OFFSET 0
         ) AS r ON true
         ORDER BY e.pupil_id, e.start_date, e.enrolment_id, r.academic_year",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .load(conn)
    .await?;
    let mut records: Vec<(Uuid, PupilRecord<'static>)> = Vec::with_capacity(pupils.len());
    for row in rows {
        if records.last().is_none_or(|(pupil, _)| *pupil != row.pupil_id) {
            records.push((row.pupil_id, PupilRecord::default()));
        }
        let Some((_, record)) = records.last_mut() else {
            continue;
        };
        if record
            .enrolments
            .last()
            .is_none_or(|last| last.id.0 != row.enrolment_id)
        {
            record.enrolments.push(EnrolmentRecord {
                id: EnrolmentId(row.enrolment_id),
                span: EnrolmentSpan {
                    school: SchoolId(row.school_id),
                    kind: EnrolmentKind::from_number(row.kind).ok_or(StoreError::Corrupt("enrolments.kind"))?,
                    start: row.start_date,
                    end: row.end_date,
                },
                registers: Vec::new(),
            });
        }
        if let (Some(enrolment), Some(year), Some(marks)) = (record.enrolments.last_mut(), row.academic_year, row.marks)
        {
            let year =
                AcademicYear::from_start_year(i32::from(year)).ok_or(StoreError::Corrupt("registers.academic_year"))?;
            enrolment.registers.push((year, Cow::Owned(marks)));
        }
    }
    Ok(records)
}
