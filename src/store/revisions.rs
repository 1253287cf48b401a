//! Revisions: every change of a mark that was there. Append only.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use crate::domain::identifiers::TrustId;
use crate::domain::register::Change;
use crate::domain::session::AcademicYear;

/// A changed mark, as it is kept.
#[derive(Debug)]
pub struct RevisionWrite {
    /// The pupil.
    pub pupil_id: Uuid,
    /// The enrolment.
    pub enrolment_id: Uuid,
    /// The school.
    pub school_id: Uuid,
    /// The year.
    pub year: AcademicYear,
    /// What was changed.
    pub change: Change,
    /// Why.
    pub reason: String,
    /// Who, by name.
    pub name: String,
    /// Who, by position.
    pub position: String,
}

/// Appends revisions.
pub async fn append(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
    recorded_at: DateTime<Utc>,
    revisions: &[RevisionWrite],
) -> Result<(), StoreError> {
    if revisions.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&RevisionWrite) -> i16| revisions.iter().map(value).collect::<Vec<i16>>();
    let texts = |value: fn(&RevisionWrite) -> &str| revisions.iter().map(value).collect::<Vec<&str>>();
    diesel::sql_query(
        "INSERT INTO mark_revisions (trust_id, request_id, recorded_at, revision_id, pupil_id, enrolment_id, academic_year,
             session_index, old_code, new_code, reason, corrected_by_name, corrected_by_position, school_id)
         SELECT $1, $2, $3, n.* FROM unnest($4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) AS n",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Uuid, _>(request_id)
    .bind::<sql_types::Timestamptz, _>(recorded_at)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(revisions.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::Uuid>, _>(revisions.iter().map(|row| row.pupil_id).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::Uuid>, _>(revisions.iter().map(|row| row.enrolment_id).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(|row| row.year.start_year()))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(|row| {
        i16::try_from(row.change.index).unwrap_or(i16::MAX)
    }))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(|row| i16::from(row.change.old)))
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(column(|row| i16::from(row.change.new)))
    .bind::<sql_types::Array<sql_types::Text>, _>(texts(|row| &row.reason))
    .bind::<sql_types::Array<sql_types::Text>, _>(texts(|row| &row.name))
    .bind::<sql_types::Array<sql_types::Text>, _>(texts(|row| &row.position))
    .bind::<sql_types::Array<sql_types::Uuid>, _>(revisions.iter().map(|row| row.school_id).collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// A revision as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Revision {
    /// Its identifier.
    #[diesel(sql_type = sql_types::Uuid)]
    pub revision_id: Uuid,
    /// The pupil whose register it is by now.
    #[diesel(sql_type = sql_types::Uuid)]
    pub pupil_id: Uuid,
    /// The enrolment.
    #[diesel(sql_type = sql_types::Uuid)]
    pub enrolment_id: Uuid,
    /// The school.
    #[diesel(sql_type = sql_types::Uuid)]
    pub school_id: Uuid,
    /// The start year of the academic year.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub academic_year: i16,
    /// The place of the session in the register.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub session_index: i16,
    /// The byte as it was.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub old_code: i16,
    /// The byte as it became; 0 where the mark was taken away.
    #[diesel(sql_type = sql_types::SmallInt)]
    pub new_code: i16,
    /// Why.
    #[diesel(sql_type = sql_types::Text)]
    pub reason: String,
    /// Who, by name.
    #[diesel(sql_type = sql_types::Text)]
    pub corrected_by_name: String,
    /// Who, by position.
    #[diesel(sql_type = sql_types::Text)]
    pub corrected_by_position: String,
    /// When.
    #[diesel(sql_type = sql_types::Timestamptz)]
    pub recorded_at: DateTime<Utc>,
    /// The batch.
    #[diesel(sql_type = sql_types::Uuid)]
    pub request_id: Uuid,
}

/// Whose revisions are asked for.
#[derive(Clone, Debug)]
pub enum RevisionsOf {
    /// A pupil's.
    Pupil {
        /// The pupil.
        pupil_id: Uuid,
        /// The pupil, and every other under whose identifier revisions of the pupil's registers may be kept.
        kept_under: Vec<Uuid>,
        /// Only those in the registers of this school.
        school: Option<Uuid>,
    },
    /// Those in the registers of schools.
    Schools(Vec<Uuid>),
}

/// In which order revisions are listed: latest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionOrder {
    /// By time of recording.
    Recorded,
    /// By session.
    Session,
}

/// The place of a revision in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RevisionKey {
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The start year of the academic year.
    pub academic_year: i16,
    /// The place of the session.
    pub session_index: i16,
    /// Its identifier.
    pub revision_id: Uuid,
}

impl Revision {
    /// Its place in the lists.
    pub fn key(&self) -> RevisionKey {
        RevisionKey {
            recorded_at: self.recorded_at,
            academic_year: self.academic_year,
            session_index: self.session_index,
            revision_id: self.revision_id,
        }
    }
}

/// Which revisions are asked for.
#[derive(Clone, Debug)]
pub struct RevisionFilter {
    /// Whose.
    pub of: RevisionsOf,
    /// Only sessions on or after this date.
    pub from: Option<NaiveDate>,
    /// Only sessions on or before this date.
    pub to: Option<NaiveDate>,
    /// Only those recorded at or after this time.
    pub recorded_from: Option<DateTime<Utc>>,
    /// Only those recorded before this time.
    pub recorded_before: Option<DateTime<Utc>>,
    /// The order.
    pub order: RevisionOrder,
    /// Only those behind this one in the order.
    pub behind: Option<RevisionKey>,
}

/// A date as place of the order by session: academic year and place in the register, of the morning or behind the afternoon.
fn place(date: NaiveDate, behind: bool) -> (i16, i16) {
    let year = AcademicYear::clamped(date);
    let sessions = year.sessions_to(date);
    let place = if behind { sessions } else { sessions.saturating_sub(2) };
    (year.start_year(), i16::try_from(place).unwrap_or(i16::MAX))
}

/// Revisions, latest first in the order asked for. Of schools it reads an index in that order, a page of each school at the
/// most; of a pupil all that there are.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &RevisionFilter,
    most: i64,
) -> Result<Vec<Revision>, StoreError> {
    const COLUMNS: &str =
        "revision_id, enrolment_id, school_id, academic_year, session_index, old_code, new_code, reason,
        corrected_by_name, corrected_by_position, recorded_at, request_id";
    // Bounds that are not given are those of all there is, so that the statement is one and the same.
    let (order, behind) = match filter.order {
        RevisionOrder::Recorded => (
            "recorded_at DESC, revision_id DESC",
            "(recorded_at, revision_id) < ($10, $13)",
        ),
        RevisionOrder::Session => (
            "academic_year DESC, session_index DESC, revision_id DESC",
            "(academic_year, session_index, revision_id) < ($11, $12, $13)",
        ),
    };
    let conditions = format!(
        "trust_id = $1 AND recorded_at >= $4 AND recorded_at < $5
         AND (academic_year, session_index) >= ($6, $7) AND (academic_year, session_index) < ($8, $9) AND {behind}"
    );
    let (pupil, school, keys, statement) = match &filter.of {
        RevisionsOf::Pupil {
            pupil_id,
            kept_under,
            school,
        } => (
            Some(*pupil_id),
            *school,
            kept_under,
            format!(
                "SELECT $3 AS pupil_id, {COLUMNS}
                 FROM mark_revisions
                 WHERE {conditions} AND pupil_id = ANY($2) AND ($15 IS NULL OR school_id = $15)
                     AND enrolment_id IN (SELECT enrolment_id FROM enrolments WHERE trust_id = $1 AND pupil_id = $3)
                 ORDER BY {order} LIMIT $14"
            ),
        ),
        RevisionsOf::Schools(schools) => (
            None,
            None,
            schools,
            format!(
                "SELECT e.pupil_id, r.*
                 FROM (
                     SELECT r.*
                     FROM unnest($2) AS k(school_id)
                     CROSS JOIN LATERAL (
                         SELECT {COLUMNS} FROM mark_revisions
                         WHERE {conditions} AND school_id = k.school_id
                         ORDER BY {order} LIMIT $14
                     ) AS r
                     ORDER BY {order} LIMIT $14
                 ) AS r
                 CROSS JOIN LATERAL (
                     SELECT pupil_id FROM enrolments WHERE trust_id = $1 AND enrolment_id = r.enrolment_id OFFSET 0
                 ) AS e
                 ORDER BY {order}"
            ),
        ),
    };
    let behind = filter.behind.unwrap_or(RevisionKey {
        recorded_at: DateTime::<Utc>::MAX_UTC,
        academic_year: i16::MAX,
        session_index: i16::MAX,
        revision_id: Uuid::max(),
    });
    let (from_year, from_place) = filter.from.map_or((0, 0), |from| place(from, false));
    let (to_year, to_place) = filter.to.map_or((i16::MAX, i16::MAX), |to| place(to, true));
    // The ends of what Postgres keeps as times.
    let ends: (DateTime<Utc>, DateTime<Utc>) = (
        DateTime::from_timestamp(-62_135_596_800, 0).unwrap_or_default(),
        DateTime::from_timestamp(253_402_300_799, 0).unwrap_or_default(),
    );
    Ok(diesel::sql_query(statement)
        .bind::<sql_types::Uuid, _>(trust.0)
        .bind::<sql_types::Array<sql_types::Uuid>, _>(keys)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(pupil)
        .bind::<sql_types::Timestamptz, _>(filter.recorded_from.unwrap_or(ends.0))
        .bind::<sql_types::Timestamptz, _>(filter.recorded_before.unwrap_or(ends.1))
        .bind::<sql_types::SmallInt, _>(from_year)
        .bind::<sql_types::SmallInt, _>(from_place)
        .bind::<sql_types::SmallInt, _>(to_year)
        .bind::<sql_types::SmallInt, _>(to_place)
        .bind::<sql_types::Timestamptz, _>(behind.recorded_at.min(ends.1))
        .bind::<sql_types::SmallInt, _>(behind.academic_year)
        .bind::<sql_types::SmallInt, _>(behind.session_index)
        .bind::<sql_types::Uuid, _>(behind.revision_id)
        .bind::<sql_types::BigInt, _>(most)
        .bind::<sql_types::Nullable<sql_types::Uuid>, _>(school)
        .load(conn)
        .await?)
}
