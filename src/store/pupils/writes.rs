//! What a batch of pupils writes: one statement a kind of change, whatever its size.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::sql_types::{Array, Bool, Date, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{EnrolmentRow, IdentifierRow};
use crate::domain::identifiers::TrustId;
use crate::domain::session::{AcademicYear, london_date};
use crate::store::StoreError;

/// The fields of a pupil, as a write leaves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PupilFields {
    /// The pupil.
    pub pupil_id: Uuid,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// Date of birth.
    pub date_of_birth: Option<NaiveDate>,
    /// Year group: the number of the contract's enum, from 1.
    pub year_group: Option<i16>,
}

/// All that a batch writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PupilWrites {
    /// Pupils that are new.
    pub new_pupils: Vec<PupilFields>,
    /// Pupils that changed in anything: their version goes up, and their fields become these.
    pub changed_pupils: Vec<PupilFields>,
    /// Identifiers that no pupil of the trust had.
    pub new_identifiers: Vec<IdentifierRow>,
    /// Identifiers that become current, or former.
    pub changed_identifiers: Vec<IdentifierRow>,
    /// Enrolments that are new.
    pub new_enrolments: Vec<EnrolmentRow>,
    /// Enrolments whose kind or end changed.
    pub changed_enrolments: Vec<EnrolmentRow>,
}

/// When and under which rules a batch is written.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// The time.
    pub now: DateTime<Utc>,
    /// The academic year of the day.
    pub academic_year: AcademicYear,
    /// The version of the active policy.
    pub policy_version: i32,
}

fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// Writes a batch. The changed pupils must be locked.
///
/// # Errors
/// Where [`StoreError::is_transient`], an identifier was given to another pupil between: the whole transaction has to begin anew.
pub async fn write(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    writing: Writing,
    writes: &PupilWrites,
) -> Result<(), StoreError> {
    insert_pupils(conn, trust, writing, &writes.new_pupils).await?;
    update_pupils(conn, trust, writing, &writes.changed_pupils).await?;
    update_identifiers(conn, trust, &writes.changed_identifiers).await?;
    insert_identifiers(conn, trust, writing, &writes.new_identifiers).await?;
    insert_enrolments(conn, trust, &writes.new_enrolments).await?;
    update_enrolments(conn, trust, &writes.changed_enrolments).await?;
    let enrolments = writes.new_enrolments.iter().chain(&writes.changed_enrolments);
    review_at_ends(conn, trust, enrolments, london_date(writing.now)).await
}

async fn insert_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    writing: Writing,
    rows: &[PupilFields],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "INSERT INTO pupils
             (trust_id, pupil_id, given_name, family_name, date_of_birth, year_group, created_at, updated_at)
         SELECT $1, n.pupil_id, n.given_name, n.family_name, n.date_of_birth, n.year_group, $7, $7
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::date[], $6::smallint[])
             AS n (pupil_id, given_name, family_name, date_of_birth, year_group)",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<Array<Text>, _>(column(rows, |row| row.given_name.as_str()))
    .bind::<Array<Text>, _>(column(rows, |row| row.family_name.as_str()))
    .bind::<Array<Nullable<Date>>, _>(column(rows, |row| row.date_of_birth))
    .bind::<Array<Nullable<SmallInt>>, _>(column(rows, |row| row.year_group))
    .bind::<Timestamptz, _>(writing.now)
    .execute(conn)
    .await?;
    // A pupil begins at stage U: the first marks move it.
    diesel::sql_query(
        "INSERT INTO pupil_stages (trust_id, pupil_id, stage, academic_year, since, policy_version)
         SELECT $1, n.pupil_id, 0, $3, NULL, $4
         FROM unnest($2::uuid[]) AS n (pupil_id)",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<SmallInt, _>(writing.academic_year.start_year())
    .bind::<Integer, _>(writing.policy_version)
    .execute(conn)
    .await?;
    Ok(())
}

async fn update_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    writing: Writing,
    rows: &[PupilFields],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "UPDATE pupils
         SET given_name = n.given_name, family_name = n.family_name, date_of_birth = n.date_of_birth,
             year_group = n.year_group, version = pupils.version + 1, updated_at = $7
         FROM unnest($2::uuid[], $3::text[], $4::text[], $5::date[], $6::smallint[])
             AS n (pupil_id, given_name, family_name, date_of_birth, year_group)
         WHERE pupils.trust_id = $1 AND pupils.pupil_id = n.pupil_id",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<Array<Text>, _>(column(rows, |row| row.given_name.as_str()))
    .bind::<Array<Text>, _>(column(rows, |row| row.family_name.as_str()))
    .bind::<Array<Nullable<Date>>, _>(column(rows, |row| row.date_of_birth))
    .bind::<Array<Nullable<SmallInt>>, _>(column(rows, |row| row.year_group))
    .bind::<Timestamptz, _>(writing.now)
    .execute(conn)
    .await?;
    Ok(())
}

async fn update_identifiers(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    rows: &[IdentifierRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "UPDATE pupil_identifiers
         SET is_current = n.is_current
         FROM unnest($2::smallint[], $3::text[], $4::text[], $5::boolean[]) AS n (kind, source, value, is_current)
         WHERE pupil_identifiers.trust_id = $1
             AND pupil_identifiers.kind = n.kind
             AND pupil_identifiers.source = n.source
             AND pupil_identifiers.value = n.value",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.kind))
    .bind::<Array<Text>, _>(column(rows, |row| row.source.as_str()))
    .bind::<Array<Text>, _>(column(rows, |row| row.value.as_str()))
    .bind::<Array<Bool>, _>(column(rows, |row| row.is_current))
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_identifiers(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    writing: Writing,
    rows: &[IdentifierRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    // In the order of the key, so that two batches with the same new pupils wait for each other one way round.
    diesel::sql_query(
        "INSERT INTO pupil_identifiers (trust_id, kind, source, value, pupil_id, is_current, created_at)
         SELECT $1, n.kind, n.source, n.value, n.pupil_id, n.is_current, $7
         FROM unnest($2::smallint[], $3::text[], $4::text[], $5::uuid[], $6::boolean[])
             AS n (kind, source, value, pupil_id, is_current)
         ORDER BY n.kind, n.source, n.value",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.kind))
    .bind::<Array<Text>, _>(column(rows, |row| row.source.as_str()))
    .bind::<Array<Text>, _>(column(rows, |row| row.value.as_str()))
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<Array<Bool>, _>(column(rows, |row| row.is_current))
    .bind::<Timestamptz, _>(writing.now)
    .execute(conn)
    .await?;
    Ok(())
}

async fn insert_enrolments(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    rows: &[EnrolmentRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "INSERT INTO enrolments (trust_id, enrolment_id, pupil_id, school_id, kind, start_date, end_date)
         SELECT $1, n.enrolment_id, n.pupil_id, n.school_id, n.kind, n.start_date, n.end_date
         FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::smallint[], $6::date[], $7::date[])
             AS n (enrolment_id, pupil_id, school_id, kind, start_date, end_date)",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.enrolment_id))
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.pupil_id))
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.school_id))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.kind))
    .bind::<Array<Date>, _>(column(rows, |row| row.start_date))
    .bind::<Array<Nullable<Date>>, _>(column(rows, |row| row.end_date))
    .execute(conn)
    .await?;
    Ok(())
}

async fn update_enrolments(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    rows: &[EnrolmentRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "UPDATE enrolments
         SET kind = n.kind, end_date = n.end_date
         FROM unnest($2::uuid[], $3::smallint[], $4::date[]) AS n (enrolment_id, kind, end_date)
         WHERE enrolments.trust_id = $1 AND enrolments.enrolment_id = n.enrolment_id",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(column(rows, |row| row.enrolment_id))
    .bind::<Array<SmallInt>, _>(column(rows, |row| row.kind))
    .bind::<Array<Nullable<Date>>, _>(column(rows, |row| row.end_date))
    .execute(conn)
    .await?;
    Ok(())
}

/// Sees to it that pupils are judged anew on the first day to come on which one of these enrolments begins or no longer goes on:
/// by which school's policy and calendar they are judged, and which of their registers decide, may change then.
async fn review_at_ends(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    enrolments: impl Iterator<Item = &EnrolmentRow>,
    today: NaiveDate,
) -> Result<(), StoreError> {
    let mut days: BTreeMap<Uuid, NaiveDate> = BTreeMap::new();
    for row in enrolments {
        let ends = [Some(row.start_date), row.end_date.and_then(|end| end.succ_opt())];
        for day in ends.into_iter().flatten().filter(|day| *day > today) {
            days.entry(row.pupil_id)
                .and_modify(|known| *known = day.min(*known))
                .or_insert(day);
        }
    }
    if days.is_empty() {
        return Ok(());
    }
    let (pupils, days): (Vec<Uuid>, Vec<NaiveDate>) = days.into_iter().unzip();
    diesel::sql_query(
        "UPDATE pupil_stages s SET next_review_on = least(s.next_review_on, n.day)
         FROM unnest($2::uuid[], $3::date[]) AS n (pupil_id, day)
         CROSS JOIN LATERAL (
             SELECT ctid FROM pupil_stages
             WHERE trust_id = $1 AND pupil_id = n.pupil_id
             OFFSET 0
         ) AS found
         WHERE s.ctid = found.ctid AND s.trust_id = $1",
    )
    .bind::<SqlUuid, _>(trust.0)
    .bind::<Array<SqlUuid>, _>(pupils)
    .bind::<Array<Date>, _>(days)
    .execute(conn)
    .await?;
    Ok(())
}
