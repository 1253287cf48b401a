//! What was written after a moment: revisions, and first entries from their journal.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{first_entries, mark_revisions};
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;

/// A mark that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedMark {
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// Of which enrolment.
    pub enrolment_id: Uuid,
    /// In which year.
    pub year: AcademicYear,
    /// The place of the session.
    pub place: usize,
    /// The byte as it was.
    pub old: u8,
}

/// Sessions in a row that were marked for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstEntry {
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// Of which enrolment.
    pub enrolment_id: Uuid,
    /// In which year.
    pub year: AcademicYear,
    /// The place of the first.
    pub first: usize,
    /// How many.
    pub length: usize,
}

fn academic_year(start_year: i16) -> Result<AcademicYear, StoreError> {
    AcademicYear::from_start_year(i32::from(start_year)).ok_or(StoreError::Corrupt("an academic year"))
}

/// The marks of some enrolments that were changed after a moment. They are kept under the pupils whose the enrolments are or
/// were.
pub async fn revisions_after(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    enrolments: &[Uuid],
    moment: DateTime<Utc>,
) -> Result<Vec<ChangedMark>, StoreError> {
    type Row = (DateTime<Utc>, Uuid, i16, i16, i16);
    let rows: Vec<Row> = mark_revisions::table
        .filter(mark_revisions::trust_id.eq(trust.0))
        .filter(mark_revisions::pupil_id.eq_any(pupils))
        .filter(mark_revisions::enrolment_id.eq_any(enrolments))
        .filter(mark_revisions::recorded_at.gt(moment))
        .select((
            mark_revisions::recorded_at,
            mark_revisions::enrolment_id,
            mark_revisions::academic_year,
            mark_revisions::session_index,
            mark_revisions::old_code,
        ))
        .load(conn)
        .await?;
    let corrupt = || StoreError::Corrupt("mark_revisions");
    rows.into_iter()
        .map(|(recorded_at, enrolment_id, year, place, old)| {
            Ok(ChangedMark {
                recorded_at,
                enrolment_id,
                year: academic_year(year)?,
                place: usize::try_from(place).map_err(|_| corrupt())?,
                old: u8::try_from(old).map_err(|_| corrupt())?,
            })
        })
        .collect()
}

/// The first entries of some enrolments after a moment. Reads the journal of their schools and years.
pub async fn first_entries_after(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    years: &[AcademicYear],
    enrolments: &[Uuid],
    moment: DateTime<Utc>,
) -> Result<Vec<FirstEntry>, StoreError> {
    let years: Vec<i16> = years.iter().map(|year| year.start_year()).collect();
    let rows: Vec<(DateTime<Utc>, i16, Vec<u8>)> = first_entries::table
        .filter(first_entries::trust_id.eq(trust.0))
        .filter(first_entries::school_id.eq_any(schools))
        .filter(first_entries::academic_year.eq_any(years))
        .filter(first_entries::recorded_at.gt(moment))
        .select((
            first_entries::recorded_at,
            first_entries::academic_year,
            first_entries::runs,
        ))
        .load(conn)
        .await?;
    let wanted: HashSet<Uuid> = enrolments.iter().copied().collect();
    let mut entries = Vec::new();
    for (recorded_at, year, runs) in rows {
        let year = academic_year(year)?;
        for (enrolment_id, first, length) in read_runs(&runs, &wanted)? {
            entries.push(FirstEntry {
                recorded_at,
                enrolment_id,
                year,
                first,
                length,
            });
        }
    }
    Ok(entries)
}

/// Reads the groups of one row of the journal, as the migration lays them down: the runs of the enrolments that are wanted.
fn read_runs(bytes: &[u8], wanted: &HashSet<Uuid>) -> Result<Vec<(Uuid, usize, usize)>, StoreError> {
    const CORRUPT: StoreError = StoreError::Corrupt("first_entries.runs");
    fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StoreError> {
        let (taken, left) = rest.split_first_chunk::<N>().ok_or(CORRUPT)?;
        *rest = left;
        Ok(*taken)
    }
    let mut rest = bytes;
    let mut found = Vec::new();
    let mut runs = Vec::new();
    while !rest.is_empty() {
        runs.clear();
        for _ in 0..u16::from_be_bytes(take(&mut rest)?) {
            let first = usize::from(u16::from_be_bytes(take(&mut rest)?));
            let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
            runs.push((first, length));
        }
        for _ in 0..u32::from_be_bytes(take(&mut rest)?) {
            let enrolment = Uuid::from_bytes(take(&mut rest)?);
            if wanted.contains(&enrolment) {
                found.extend(runs.iter().map(|(first, length)| (enrolment, *first, *length)));
            }
        }
    }
    Ok(found)
}
