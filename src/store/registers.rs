//! Registers, revisions and first entries: set-based, a fixed number of statements whatever the size of a batch.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::registers;
use crate::domain::identifiers::TrustId;
use crate::domain::session::{AcademicYear, SESSIONS_MAX};
use crate::domain::tally::Tally;

/// A part of every register of a batch: enough to merge marks that lie within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first place.
    pub offset: usize,
    /// How many places.
    pub length: usize,
}

impl Window {
    /// The whole register.
    pub const WHOLE: Window = Window {
        offset: 0,
        length: SESSIONS_MAX,
    };
}

/// An enrolment with its register of one of the years asked for, where it has one.
#[derive(Debug, QueryableByName)]
pub struct EnrolmentRegister {
    /// The pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub pupil_id: Uuid,
    /// The enrolment.
    #[diesel(sql_type = sql_types::Uuid)]
    pub enrolment_id: Uuid,
    /// The school.
    #[diesel(sql_type = sql_types::Uuid)]
    pub school_id: Uuid,
    /// The number of the enrolment's kind.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub kind: i16,
    /// The first day on roll.
    #[diesel(sql_type = sql_types::Date)]
    pub start_date: NaiveDate,
    /// The last day on roll.
    #[diesel(sql_type = sql_types::Nullable<sql_types::Date>)]
    pub end_date: Option<NaiveDate>,
    /// The register's year; nothing where there is no register.
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    pub academic_year: Option<i16>,
    /// Sessions attended.
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    pub attended: Option<i16>,
    /// Sessions possible.
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    pub possible: Option<i16>,
    /// Sessions of unauthorised absence.
    #[diesel(sql_type = sql_types::Nullable<sql_types::SmallInt>)]
    pub unauthorised: Option<i16>,
    /// The date of the first mark that the counts leave out.
    #[diesel(sql_type = sql_types::Nullable<sql_types::Date>)]
    pub next_mark_on: Option<NaiveDate>,
    /// How many places the register has in all.
    #[diesel(sql_type = sql_types::Nullable<sql_types::Integer>)]
    pub length: Option<i32>,
    /// The marks within the window, or all of them where the counts are out of date.
    #[diesel(sql_type = sql_types::Nullable<sql_types::Binary>)]
    pub part: Option<Vec<u8>>,
}

/// Every enrolment of the pupils, each with its registers of the years, in the order of the pupils. Where a register's
/// counts are out of date on `today`, all of its marks come, whatever the window.
pub async fn load(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    years: &[i16],
    window: Window,
    today: NaiveDate,
) -> Result<Vec<EnrolmentRegister>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT e.pupil_id, e.enrolment_id, e.school_id, e.kind, e.start_date, e.end_date,
                r.academic_year, r.attended, r.possible, r.unauthorised, r.next_mark_on,
                octet_length(r.marks) AS length,
                CASE WHEN r.next_mark_on <= $6 THEN r.marks ELSE substring(r.marks FROM $4 + 1 FOR $5) END AS part
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM enrolments WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0
         ) AS e
         LEFT JOIN LATERAL (
             SELECT * FROM registers
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = ANY($3) AND enrolment_id = e.enrolment_id
             OFFSET 0
         ) AS r ON true
         ORDER BY e.pupil_id, e.start_date, e.enrolment_id",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .bind::<sql_types::Integer, _>(place(window.offset))
    .bind::<sql_types::Integer, _>(place(window.length))
    .bind::<sql_types::Date, _>(today)
    .load(conn)
    .await?;
    Ok(rows)
}

/// A place in a register, or a count of places, as the database takes it: at most 732.
fn place(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

/// A register as a batch leaves it.
#[derive(Debug)]
pub struct RegisterWrite {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The enrolment.
    pub enrolment_id: Uuid,
    /// The school.
    pub school_id: Uuid,
    /// The year.
    pub year: AcademicYear,
    /// The bytes that are written.
    pub bytes: Vec<u8>,
    /// The counts.
    pub tally: Tally,
    /// The date of the first mark that the counts leave out.
    pub next_mark_on: Option<NaiveDate>,
}

/// What a batch writes of registers.
#[derive(Debug, Default)]
pub struct RegisterWrites {
    /// Registers that are not there yet.
    pub new: Vec<RegisterWrite>,
    /// Whole registers in the place of ones that are there.
    pub whole: Vec<RegisterWrite>,
    /// Parts of registers that are there: the bytes from `offset` on. What lies outside them stays as it is.
    pub parts: Vec<RegisterWrite>,
    /// The place of the parts' first byte.
    pub offset: usize,
}

/// Writes registers. Their pupils must be locked: that is why a register that was not there when the pupil's were loaded is
/// not there now.
pub async fn write(conn: &mut AsyncPgConnection, trust: TrustId, writes: RegisterWrites) -> Result<(), StoreError> {
    insert(conn, trust, writes.new, None, None).await?;
    write_whole(conn, trust, writes.whole).await?;
    let overlaid = r"rtrim(
             substring(registers.marks FOR $11)
             || substring($12 FOR greatest(0, $11 - octet_length(registers.marks)))
             || EXCLUDED.marks
             || substring(registers.marks FROM $11 + octet_length(EXCLUDED.marks) + 1),
             '\x00')";
    insert(conn, trust, writes.parts, Some(overlaid), Some(writes.offset)).await
}

/// Writes whole registers in the place of ones that are there.
pub async fn write_whole(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    writes: Vec<RegisterWrite>,
) -> Result<(), StoreError> {
    insert(conn, trust, writes, Some("EXCLUDED.marks"), None).await
}

/// Writes registers by key. `marks` is what the marks of one that is there already become; nothing where none is there;
/// `offset` is the place of the first byte that is written where that is a part.
async fn insert(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    writes: Vec<RegisterWrite>,
    marks: Option<&str>,
    offset: Option<usize>,
) -> Result<(), StoreError> {
    if writes.is_empty() {
        return Ok(());
    }
    // A register has at most 732 sessions, so every count fits.
    let count = |count: u64| i16::try_from(count).unwrap_or(i16::MAX);
    let column = |value: fn(&RegisterWrite) -> Uuid| writes.iter().map(value).collect::<Vec<Uuid>>();
    let counts = |value: fn(&RegisterWrite) -> u64| writes.iter().map(|row| count(value(row))).collect::<Vec<i16>>();
    let years: Vec<i16> = writes.iter().map(|row| row.year.start_year()).collect();
    let next_marks_on: Vec<Option<NaiveDate>> = writes.iter().map(|row| row.next_mark_on).collect();
    // What no register stands in the way of is written without looking for one, which is a third faster.
    let or_replace = marks.map_or_else(String::new, |marks| {
        format!(
            "ON CONFLICT (trust_id, pupil_id, academic_year, enrolment_id) DO UPDATE
             SET attended = EXCLUDED.attended, possible = EXCLUDED.possible, unauthorised = EXCLUDED.unauthorised,
                 next_mark_on = EXCLUDED.next_mark_on, marks = {marks}"
        )
    });
    let statement = diesel::sql_query(format!(
        "INSERT INTO registers (trust_id, pupil_id, enrolment_id, school_id, academic_year, attended, possible,
             unauthorised, next_mark_on, marks)
         SELECT $1, n.* FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10) AS n
         {or_replace}"
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(|row| row.pupil_id))
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(|row| row.enrolment_id))
    .bind::<sql_types::Array<sql_types::Uuid>, _>(column(|row| row.school_id))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(counts(|row| row.tally.attended))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(counts(|row| row.tally.possible))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(counts(|row| row.tally.unauthorised))
    .bind::<sql_types::Array<sql_types::Nullable<sql_types::Date>>, _>(next_marks_on);
    let bytes: Vec<Vec<u8>> = writes.into_iter().map(|row| row.bytes).collect();
    let statement = statement.bind::<sql_types::Array<sql_types::Binary>, _>(bytes);
    match offset {
        None => statement.execute(conn).await?,
        Some(offset) => {
            statement
                .bind::<sql_types::Integer, _>(place(offset))
                .bind::<sql_types::Binary, _>(vec![0u8; SESSIONS_MAX])
                .execute(conn)
                .await?
        }
    };
    Ok(())
}

/// A register with all of its marks.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct WholeRegister {
    /// The pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub pupil_id: Uuid,
    /// The enrolment.
    #[diesel(sql_type = sql_types::Uuid)]
    pub enrolment_id: Uuid,
    /// The school.
    #[diesel(sql_type = sql_types::Uuid)]
    pub school_id: Uuid,
    /// The marks.
    #[diesel(sql_type = sql_types::Binary)]
    pub marks: Vec<u8>,
}

/// All marks of the pupils' registers of one year, in the order of the pupils given.
pub async fn whole(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    year: AcademicYear,
) -> Result<Vec<WholeRegister>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT r.pupil_id, r.enrolment_id, r.school_id, r.marks
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM registers WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = $3
             ORDER BY school_id, enrolment_id
             OFFSET 0
         ) AS r",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::SmallInt, _>(year.start_year())
    .load(conn)
    .await?;
    Ok(rows)
}

/// The registers of one enrolment from an academic year on: years and marks, in order.
pub async fn of_enrolment_from(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupil: Uuid,
    enrolment: Uuid,
    year: AcademicYear,
) -> Result<Vec<(AcademicYear, Vec<u8>)>, StoreError> {
    let rows: Vec<(i16, Vec<u8>)> = registers::table
        .filter(registers::trust_id.eq(trust.0))
        .filter(registers::pupil_id.eq(pupil))
        .filter(registers::enrolment_id.eq(enrolment))
        .filter(registers::academic_year.ge(year.start_year()))
        .order(registers::academic_year)
        .select((registers::academic_year, registers::marks))
        .load(conn)
        .await?;
    rows.into_iter()
        .map(|(year, marks)| {
            let year = AcademicYear::from_start_year(i32::from(year));
            Ok((year.ok_or(StoreError::Corrupt("registers.academic_year"))?, marks))
        })
        .collect()
}

/// A pupil's register at a school of one year, as far as it lies within some places.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct RegisterAtSchool {
    /// The pupil.
    #[diesel(sql_type = sql_types::Uuid)]
    pub pupil_id: Uuid,
    /// The marks, from the first of the places on.
    #[diesel(sql_type = sql_types::Binary)]
    pub part: Vec<u8>,
}

/// A school's registers of a year that have a mark within the window, in the order of the pupils. Reads all of the school's
/// registers of the year.
pub async fn of_school(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    school: Uuid,
    year: AcademicYear,
    window: Window,
) -> Result<Vec<RegisterAtSchool>, StoreError> {
    Ok(diesel::sql_query(
        "SELECT pupil_id, part
         FROM (
             SELECT pupil_id, enrolment_id, rtrim(substring(marks FROM $4 + 1 FOR $5), '\\x00') AS part
             FROM registers
             WHERE trust_id = $1 AND school_id = $2 AND academic_year = $3
         ) AS r
         WHERE octet_length(part) > 0
         ORDER BY pupil_id, enrolment_id",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(school)
    .bind::<sql_types::SmallInt, _>(year.start_year())
    .bind::<sql_types::Integer, _>(place(window.offset))
    .bind::<sql_types::Integer, _>(place(window.length))
    .load(conn)
    .await?)
}

/// Pupils whose counts are out of date on `today` because marks entered ahead of time have come into their day.
pub async fn pupils_with_marks_come_due(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    today: NaiveDate,
    most: i64,
) -> Result<Vec<Uuid>, StoreError> {
    Ok(registers::table
        .filter(registers::trust_id.eq(trust.0))
        .filter(registers::next_mark_on.le(today))
        .order(registers::pupil_id)
        .select(registers::pupil_id)
        .distinct()
        .limit(most)
        .load(conn)
        .await?)
}

/// One batch's first entries of one school's year.
#[derive(Debug)]
pub struct FirstEntries {
    /// The school.
    pub school_id: Uuid,
    /// The year.
    pub year: AcademicYear,
    /// As the migration lays down.
    pub runs: Vec<u8>,
}

/// Appends first entries.
pub async fn append_first_entries(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
    recorded_at: DateTime<Utc>,
    entries: Vec<FirstEntries>,
) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let schools: Vec<_> = entries.iter().map(|entry| entry.school_id).collect();
    let years: Vec<_> = entries.iter().map(|entry| entry.year.start_year()).collect();
    let runs: Vec<_> = entries.into_iter().map(|entry| entry.runs).collect();
    diesel::sql_query(
        "INSERT INTO first_entries (trust_id, request_id, recorded_at, school_id, academic_year, runs)
         SELECT $1, $2, $3, n.* FROM unnest($4, $5, $6) AS n",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(request_id)
    .bind::<sql_types::Timestamptz, _>(recorded_at)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(schools)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .bind::<sql_types::Array<sql_types::Binary>, _>(runs)
    .execute(conn)
    .await?;
    Ok(())
}

/// The years of the pupils' registers whose counts are out of date on `today`.
pub async fn years_with_marks_come_due(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    today: NaiveDate,
) -> Result<Vec<i16>, StoreError> {
    Ok(registers::table
        .filter(registers::trust_id.eq(trust.0))
        .filter(registers::pupil_id.eq_any(pupils))
        .filter(registers::next_mark_on.le(today))
        .select(registers::academic_year)
        .distinct()
        .load(conn)
        .await?)
}
