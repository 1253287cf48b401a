//! Threshold events, and the penalty notices that use sessions up.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Days, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{enrolments, penalty_notices, pupils, threshold_events};
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::TrustId;
use crate::domain::person::Person;
use crate::domain::session::{AcademicYear, Session, SessionHalf};
use crate::domain::thresholds::{Notice, Threshold, ThresholdKind};

/// From which day sessions are numbered.
const EPOCH: Option<NaiveDate> = NaiveDate::from_ymd_opt(2000, 1, 1);

/// The number under which a session is stored: `2 x (date - 2000-01-01) + (PM ? 1 : 0)`.
pub fn session_number(session: Session) -> i32 {
    let days = (session.date - EPOCH.unwrap_or(session.date)).num_days();
    let days = i32::try_from(days).unwrap_or(i32::MAX / 4);
    2 * days + i32::from(session.half == SessionHalf::Pm)
}

/// The session stored under a number.
pub fn session_of(number: i32) -> Result<Session, StoreError> {
    let days = number.div_euclid(2);
    let epoch = EPOCH.ok_or(StoreError::Corrupt("a session"))?;
    let date = if days >= 0 {
        epoch.checked_add_days(Days::new(u64::from(days.unsigned_abs())))
    } else {
        epoch.checked_sub_days(Days::new(u64::from(days.unsigned_abs())))
    };
    Ok(Session {
        date: date.ok_or(StoreError::Corrupt("a session"))?,
        half: if number.rem_euclid(2) == 1 {
            SessionHalf::Pm
        } else {
            SessionHalf::Am
        },
    })
}

fn sessions_of(numbers: &[i32]) -> Result<Vec<Session>, StoreError> {
    numbers.iter().map(|number| session_of(*number)).collect()
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The event.
    pub event_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// What was reached, and what proves it.
    pub threshold: Threshold,
    /// The academic year.
    pub year: AcademicYear,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// When a correction undid it.
    pub cleared_at: Option<DateTime<Utc>>,
}

#[derive(Queryable, QueryableByName)]
#[diesel(table_name = threshold_events)]
struct EventColumns {
    event_id: Uuid,
    pupil_id: Uuid,
    kind: i16,
    academic_year: i16,
    proved_by: i32,
    sessions: Vec<i32>,
    raised_at: DateTime<Utc>,
    cleared_at: Option<DateTime<Utc>>,
}

const EVENT_COLUMNS: (
    threshold_events::event_id,
    threshold_events::pupil_id,
    threshold_events::kind,
    threshold_events::academic_year,
    threshold_events::proved_by,
    threshold_events::sessions,
    threshold_events::raised_at,
    threshold_events::cleared_at,
) = (
    threshold_events::event_id,
    threshold_events::pupil_id,
    threshold_events::kind,
    threshold_events::academic_year,
    threshold_events::proved_by,
    threshold_events::sessions,
    threshold_events::raised_at,
    threshold_events::cleared_at,
);

fn event(columns: EventColumns) -> Result<EventRow, StoreError> {
    let kind = ThresholdKind::from_number(columns.kind).ok_or(StoreError::Corrupt("threshold_events.kind"))?;
    Ok(EventRow {
        event_id: columns.event_id,
        pupil_id: columns.pupil_id,
        threshold: Threshold {
            kind,
            proved_by: session_of(columns.proved_by)?,
            sessions: sessions_of(&columns.sessions)?,
        },
        year: year_of(columns.academic_year)?,
        raised_at: columns.raised_at,
        cleared_at: columns.cleared_at,
    })
}

/// From which counts on a pupil can have reached a threshold.
#[derive(Clone, Copy, Debug)]
pub struct Concern {
    /// Unauthorised sessions, in an academic year and the one before it together.
    pub unauthorised: i64,
    /// Authorised absences, in an academic year.
    pub authorised: i64,
}

/// Of some pupils, those who can have reached a threshold in a year by their counts, of whom illness is entered ahead of time
/// in it, or who have one that stands: each with the year, in the order of the pupils. Counts must be up to date.
pub async fn concerned(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    years: &[AcademicYear],
    concern: Concern,
) -> Result<Vec<(Uuid, AcademicYear)>, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = sql_types::Uuid)]
        pupil_id: Uuid,
        #[diesel(sql_type = sql_types::SmallInt)]
        academic_year: i16,
    }
    if pupils.is_empty() || years.is_empty() {
        return Ok(Vec::new());
    }
    let years: Vec<i16> = years.iter().map(|year| year.start_year()).collect();
    let ill = [AttendanceCode::I.byte()];
    let found: Vec<Found> = diesel::sql_query(
        "SELECT k.pupil_id, y.academic_year
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN unnest($3) AS y(academic_year)
         CROSS JOIN LATERAL (
             SELECT coalesce(sum(unauthorised), 0) AS unauthorised,
                 coalesce(sum(unauthorised) FILTER (WHERE academic_year = y.academic_year), 0) AS of_year,
                 coalesce(sum(possible - attended - unauthorised) FILTER (WHERE academic_year = y.academic_year), 0)
                     AS authorised,
                 coalesce(bool_or(ill_ahead) FILTER (WHERE academic_year = y.academic_year), false) AS ill_ahead
             FROM (
                 SELECT academic_year, attended, possible, unauthorised,
                     CASE WHEN next_mark_on IS NOT NULL THEN
                         position($6 IN substring(marks FROM 2 * (next_mark_on - make_date(academic_year, 8, 1)) + 1)) > 0
                     END AS ill_ahead
                 FROM registers
                 WHERE trust_id = $1 AND pupil_id = k.pupil_id
                     AND academic_year BETWEEN y.academic_year - 1 AND y.academic_year
                 OFFSET 0
             ) AS counted
         ) AS r
         WHERE (r.unauthorised >= $4 AND r.of_year > 0) OR r.authorised >= $5 OR r.ill_ahead
             OR EXISTS (
                 SELECT FROM threshold_events
                 WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year = y.academic_year AND cleared_at IS NULL
             )
         ORDER BY k.pupil_id, y.academic_year",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .bind::<sql_types::BigInt, _>(concern.unauthorised)
    .bind::<sql_types::BigInt, _>(concern.authorised)
    .bind::<sql_types::Binary, _>(&ill[..])
    .load(conn)
    .await?;
    found
        .into_iter()
        .map(|found| Ok((found.pupil_id, year_of(found.academic_year)?)))
        .collect()
}

fn year_of(start_year: i16) -> Result<AcademicYear, StoreError> {
    AcademicYear::from_start_year(i32::from(start_year)).ok_or(StoreError::Corrupt("an academic year"))
}

/// The pupils of whom an event stands that is proved on a day or after it: what is written from that day on can undo no other.
pub async fn pupils_proved_from(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    from: NaiveDate,
) -> Result<Vec<Uuid>, StoreError> {
    let from = Session {
        date: from,
        half: SessionHalf::Am,
    };
    Ok(threshold_events::table
        .filter(threshold_events::trust_id.eq(trust.0))
        .filter(threshold_events::proved_by.ge(session_number(from)))
        .filter(threshold_events::cleared_at.is_null())
        .select(threshold_events::pupil_id)
        .load(conn)
        .await?)
}

/// The events of some pupils in a year and later ones that stand.
pub async fn standing(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    since: AcademicYear,
) -> Result<Vec<EventRow>, StoreError> {
    let rows: Vec<EventColumns> = diesel::sql_query(
        "SELECT e.* FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT event_id, pupil_id, kind, academic_year, proved_by, sessions, raised_at, cleared_at
             FROM threshold_events
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND academic_year >= $3 AND cleared_at IS NULL
             OFFSET 0
         ) AS e",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::SmallInt, _>(since.start_year())
    .load(conn)
    .await?;
    rows.into_iter().map(event).collect()
}

/// What changes of some pupils' events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventChanges {
    /// Those that are raised: by pupil and academic year.
    pub raised: Vec<(Uuid, AcademicYear, Threshold)>,
    /// Those that are cleared.
    pub cleared: Vec<Uuid>,
}

/// Writes changes of events. The pupils must be locked.
pub async fn write(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    changes: &EventChanges,
    now: DateTime<Utc>,
    request_id: Option<Uuid>,
) -> Result<(), StoreError> {
    if !changes.cleared.is_empty() {
        let cleared = threshold_events::table
            .filter(threshold_events::trust_id.eq(trust.0))
            .filter(threshold_events::event_id.eq_any(&changes.cleared));
        diesel::update(cleared)
            .set((
                threshold_events::cleared_at.eq(now),
                threshold_events::cleared_request_id.eq(request_id),
            ))
            .execute(conn)
            .await?;
    }
    if !changes.raised.is_empty() {
        let rows: Vec<_> = changes
            .raised
            .iter()
            .map(|(pupil, year, threshold)| {
                let sessions: Vec<i32> = threshold
                    .sessions
                    .iter()
                    .map(|session| session_number(*session))
                    .collect();
                (
                    threshold_events::trust_id.eq(trust.0),
                    threshold_events::event_id.eq(Uuid::now_v7()),
                    threshold_events::pupil_id.eq(pupil),
                    threshold_events::kind.eq(threshold.kind.number()),
                    threshold_events::academic_year.eq(year.start_year()),
                    threshold_events::proved_by.eq(session_number(threshold.proved_by)),
                    threshold_events::sessions.eq(sessions),
                    threshold_events::raised_at.eq(now),
                    threshold_events::request_id.eq(request_id),
                )
            })
            .collect();
        for rows in rows.chunks(1_000) {
            diesel::insert_into(threshold_events::table)
                .values(rows)
                .execute(conn)
                .await?;
        }
    }
    Ok(())
}

/// Which events are asked for.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Only those of pupils who were on roll at this school on the day of the session that proves it.
    pub school: Option<Uuid>,
    /// Only these kinds; none for all.
    pub kinds: Vec<ThresholdKind>,
    /// Only those proved on or after this day.
    pub from: Option<NaiveDate>,
    /// Only those proved on or before this day.
    pub to: Option<NaiveDate>,
    /// Those that were cleared as well.
    pub include_cleared: bool,
    /// As it was known at this moment; now where none is given.
    pub known_at: Option<DateTime<Utc>>,
    /// Only those after this one.
    pub after: Option<(i32, Uuid)>,
}

/// Events by the session that proves them.
pub async fn list(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    filter: &EventFilter,
    most: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let mut query = threshold_events::table
        .filter(threshold_events::trust_id.eq(trust.0))
        .into_boxed();
    if let Some((proved_by, event_id)) = filter.after {
        let later = threshold_events::proved_by
            .eq(proved_by)
            .and(threshold_events::event_id.gt(event_id));
        query = query
            .filter(threshold_events::proved_by.ge(proved_by))
            .filter(threshold_events::proved_by.gt(proved_by).or(later));
    }
    if let Some(from) = filter.from {
        let session = Session {
            date: from,
            half: SessionHalf::Am,
        };
        query = query.filter(threshold_events::proved_by.ge(session_number(session)));
    }
    if let Some(to) = filter.to {
        let session = Session {
            date: to,
            half: SessionHalf::Pm,
        };
        query = query.filter(threshold_events::proved_by.le(session_number(session)));
    }
    if let Some(known_at) = filter.known_at {
        query = query.filter(threshold_events::raised_at.le(known_at));
    }
    if !filter.include_cleared {
        let stands = threshold_events::cleared_at.is_null();
        query = match filter.known_at {
            None => query.filter(stands),
            Some(known_at) => query.filter(stands.or(threshold_events::cleared_at.gt(known_at))),
        };
    }
    if !filter.kinds.is_empty() {
        let kinds: Vec<i16> = filter.kinds.iter().map(|kind| kind.number()).collect();
        query = query.filter(threshold_events::kind.eq_any(kinds));
    }
    if let Some(school) = filter.school {
        let proved_on = diesel::dsl::sql::<sql_types::Date>("(date '2000-01-01' + threshold_events.proved_by / 2)");
        let on_roll = enrolments::table
            .filter(enrolments::trust_id.eq(trust.0))
            .filter(enrolments::pupil_id.eq(threshold_events::pupil_id))
            .filter(enrolments::school_id.eq(school))
            .filter(enrolments::start_date.le(proved_on.clone()))
            .filter(
                enrolments::end_date
                    .is_null()
                    .or(enrolments::end_date.ge(proved_on.nullable())),
            );
        query = query.filter(diesel::dsl::exists(on_roll));
    }
    let rows: Vec<EventColumns> = query
        .order((threshold_events::proved_by, threshold_events::event_id))
        .limit(most)
        .select(EVENT_COLUMNS)
        .load(conn)
        .await?;
    let mut events = rows.into_iter().map(event).collect::<Result<Vec<_>, _>>()?;
    if let Some(known_at) = filter.known_at {
        for event in &mut events {
            event.cleared_at = event.cleared_at.filter(|cleared_at| *cleared_at <= known_at);
        }
    }
    Ok(events)
}

/// The dates of birth of some pupils, where they are known.
pub async fn births(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, NaiveDate>, StoreError> {
    let rows: Vec<(Uuid, Option<NaiveDate>)> = pupils::table
        .filter(pupils::trust_id.eq(trust.0))
        .filter(pupils::pupil_id.eq_any(ids))
        .select((pupils::pupil_id, pupils::date_of_birth))
        .load(conn)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(pupil, born)| Some((pupil, born?)))
        .collect())
}

/// A penalty notice as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Insertable, Selectable)]
#[diesel(table_name = penalty_notices, check_for_backend(diesel::pg::Pg))]
pub struct NoticeRow {
    /// The trust.
    pub trust_id: Uuid,
    /// The notice.
    pub notice_id: Uuid,
    /// The pupil.
    pub pupil_id: Uuid,
    /// The day of issue.
    pub issued_on: NaiveDate,
    /// The local authority's reference.
    pub reference: String,
    /// The numbers of the sessions that it used, in order.
    pub sessions: Vec<i32>,
    /// Who recorded it, by name.
    pub recorded_by_name: String,
    /// Who recorded it, by position.
    pub recorded_by_position: String,
    /// When.
    pub recorded_at: DateTime<Utc>,
    /// The request, where it gave itself a name.
    pub request_id: Option<Uuid>,
    /// Why it was cancelled.
    pub cancelled_reason: Option<String>,
    /// Who cancelled it, by name.
    pub cancelled_by_name: Option<String>,
    /// Who cancelled it, by position.
    pub cancelled_by_position: Option<String>,
    /// When.
    pub cancelled_at: Option<DateTime<Utc>>,
}

impl NoticeRow {
    /// The sessions that it used.
    pub fn sessions(&self) -> Result<Vec<Session>, StoreError> {
        sessions_of(&self.sessions)
    }

    /// The notice as it was known at a moment; nothing where it was not recorded yet, or was cancelled.
    pub fn known_at(&self, moment: DateTime<Utc>) -> Result<Option<Notice>, StoreError> {
        if self.recorded_at > moment || self.cancelled_at.is_some_and(|at| at <= moment) {
            return Ok(None);
        }
        Ok(Some(Notice {
            id: self.notice_id,
            issued_on: self.issued_on,
            sessions: self.sessions()?.into_iter().collect::<BTreeSet<_>>(),
        }))
    }
}

/// The notices of some pupils, in the order of issue; of every pupil where none is named.
pub async fn notices(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: Option<&[Uuid]>,
    after: Option<Uuid>,
    most: i64,
) -> Result<Vec<NoticeRow>, StoreError> {
    let mut query = penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .into_boxed();
    if let Some(of) = of {
        query = query.filter(penalty_notices::pupil_id.eq_any(of));
    }
    if let Some(after) = after {
        query = query.filter(penalty_notices::notice_id.gt(after));
    }
    Ok(query
        .order(penalty_notices::notice_id)
        .limit(most)
        .select(NoticeRow::as_select())
        .load(conn)
        .await?)
}

/// The notices of some pupils as they are known at a moment, by pupil and in the order of issue.
pub async fn notices_by_pupil(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    of: &[Uuid],
    known_at: DateTime<Utc>,
) -> Result<HashMap<Uuid, Vec<Notice>>, StoreError> {
    let mut by_pupil: HashMap<Uuid, Vec<Notice>> = HashMap::new();
    for row in notices(conn, trust, Some(of), None, i64::MAX).await? {
        by_pupil
            .entry(row.pupil_id)
            .or_default()
            .extend(row.known_at(known_at)?);
    }
    for notices in by_pupil.values_mut() {
        notices.sort_by_key(|notice| notice.issued_on);
    }
    Ok(by_pupil)
}

/// One notice.
pub async fn find_notice(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    notice_id: Uuid,
) -> Result<Option<NoticeRow>, StoreError> {
    Ok(penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .filter(penalty_notices::notice_id.eq(notice_id))
        .select(NoticeRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The notice that an earlier request with the same name recorded.
pub async fn notice_of_request(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    request_id: Uuid,
) -> Result<Option<NoticeRow>, StoreError> {
    Ok(penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .filter(penalty_notices::request_id.eq(request_id))
        .select(NoticeRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// Records a notice. The pupil must be locked.
pub async fn insert_notice(conn: &mut AsyncPgConnection, notice: &NoticeRow) -> Result<(), StoreError> {
    diesel::insert_into(penalty_notices::table)
        .values(notice)
        .execute(conn)
        .await?;
    Ok(())
}

/// Cancels a notice. The pupil must be locked.
pub async fn cancel_notice(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    notice_id: Uuid,
    reason: &str,
    by: &Person,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let notice = penalty_notices::table
        .filter(penalty_notices::trust_id.eq(trust.0))
        .filter(penalty_notices::notice_id.eq(notice_id));
    diesel::update(notice)
        .set((
            penalty_notices::cancelled_reason.eq(reason),
            penalty_notices::cancelled_by_name.eq(&by.name),
            penalty_notices::cancelled_by_position.eq(&by.position),
            penalty_notices::cancelled_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_reads_back_as_it_is_stored() {
        for (date, half) in [
            ("2025-09-08", SessionHalf::Pm),
            ("2000-01-01", SessionHalf::Am),
            ("1993-05-04", SessionHalf::Pm),
        ] {
            let session = Session {
                date: date.parse().unwrap(),
                half,
            };
            assert_eq!(session_of(session_number(session)).unwrap(), session);
        }
    }
}
