//! Threshold events.

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{enrolments, threshold_events};
use crate::domain::code::AttendanceCode;
use crate::domain::identifiers::TrustId;
use crate::domain::session::{AcademicYear, Session, SessionHalf};
use crate::domain::thresholds::{Bounds, Threshold, ThresholdKind};

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

/// The sessions stored under numbers.
pub(super) fn sessions_of(numbers: &[i32]) -> Result<Vec<Session>, StoreError> {
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

/// Of some pupils, those who can have reached a threshold in a year by their counts, of whom illness is entered ahead of time
/// in it, or who have one that stands: each with the year, in the order of the pupils. Counts must be up to date.
pub async fn concerned(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    years: &[AcademicYear],
    bounds: &Bounds,
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
    // Both are of a few sessions.
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
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
                     AND academic_year BETWEEN y.academic_year - 2 AND y.academic_year
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
    .bind::<sql_types::BigInt, _>(count(bounds.unauthorised()))
    .bind::<sql_types::BigInt, _>(count(bounds.authorised()))
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

/// The pupils of whom an event stands that is proved by a session or a later one, each with the last such session: what is
/// written from that session on can undo no other event.
pub async fn pupils_proved_from(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    from: Session,
) -> Result<HashMap<Uuid, Session>, StoreError> {
    let rows: Vec<(Uuid, i32)> = threshold_events::table
        .filter(threshold_events::trust_id.eq(trust.0))
        .filter(threshold_events::proved_by.ge(session_number(from)))
        .filter(threshold_events::cleared_at.is_null())
        .order(threshold_events::proved_by)
        .select((threshold_events::pupil_id, threshold_events::proved_by))
        .load(conn)
        .await?;
    let rows = rows
        .into_iter()
        .map(|(pupil, proved_by)| Ok((pupil, session_of(proved_by)?)));
    rows.collect()
}

/// The events of some pupils in a year and later ones that stand.
pub async fn standing(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    since: AcademicYear,
) -> Result<Vec<EventRow>, StoreError> {
    if pupils.is_empty() {
        return Ok(Vec::new());
    }
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
    insert(conn, trust, &changes.raised, now, request_id).await
}

/// Appends events. Their sessions travel as one array, of which each event takes its part.
async fn insert(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    raised: &[(Uuid, AcademicYear, Threshold)],
    now: DateTime<Utc>,
    request_id: Option<Uuid>,
) -> Result<(), StoreError> {
    if raised.is_empty() {
        return Ok(());
    }
    let mut sessions: Vec<i32> = Vec::new();
    let mut ends: Vec<i32> = Vec::with_capacity(raised.len());
    for (.., threshold) in raised {
        sessions.extend(threshold.sessions.iter().map(|session| session_number(*session)));
        ends.push(i32::try_from(sessions.len()).unwrap_or(i32::MAX));
    }
    // An array of Postgres counts from 1.
    let begins: Vec<i32> = std::iter::once(0)
        .chain(ends.iter().copied())
        .map(|end| end + 1)
        .take(raised.len())
        .collect();
    diesel::sql_query(
        "INSERT INTO threshold_events (trust_id, raised_at, request_id, event_id, pupil_id, kind, academic_year, proved_by,
             sessions)
         SELECT $1, $2, $3, n.event_id, n.pupil_id, n.kind, n.academic_year, n.proved_by, ($4)[n.first:n.last]
         FROM unnest($5, $6, $7, $8, $9, $10, $11)
             AS n(event_id, pupil_id, kind, academic_year, proved_by, first, last)",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Timestamptz, _>(now)
    .bind::<sql_types::Nullable<sql_types::Uuid>, _>(request_id)
    .bind::<sql_types::Array<sql_types::Integer>, _>(sessions)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(raised.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::Uuid>, _>(raised.iter().map(|(pupil, ..)| *pupil).collect::<Vec<_>>())
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(
        raised.iter().map(|(.., threshold)| threshold.kind.number()).collect::<Vec<_>>(),
    )
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(
        raised.iter().map(|(_, year, _)| year.start_year()).collect::<Vec<_>>(),
    )
    .bind::<sql_types::Array<sql_types::Integer>, _>(
        raised.iter().map(|(.., threshold)| session_number(threshold.proved_by)).collect::<Vec<_>>(),
    )
    .bind::<sql_types::Array<sql_types::Integer>, _>(begins)
    .bind::<sql_types::Array<sql_types::Integer>, _>(ends)
    .execute(conn)
    .await?;
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

/// The events of some pupils after one of them, cleared ones among them, by the session that proves them.
pub async fn of_pupils(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    pupils: &[Uuid],
    after: Option<(i32, Uuid)>,
    most: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let (proved_by, event_id) = after.unwrap_or((i32::MIN, Uuid::nil()));
    let rows: Vec<EventColumns> = diesel::sql_query(
        "SELECT e.event_id, e.pupil_id, e.kind, e.academic_year, e.proved_by, e.sessions, e.raised_at, e.cleared_at
         FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT * FROM threshold_events WHERE trust_id = $1 AND pupil_id = k.pupil_id OFFSET 0
         ) AS e
         WHERE (e.proved_by, e.event_id) > ($3, $4)
         ORDER BY e.proved_by, e.event_id LIMIT $5",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(pupils)
    .bind::<sql_types::Integer, _>(proved_by)
    .bind::<sql_types::Uuid, _>(event_id)
    .bind::<sql_types::BigInt, _>(most)
    .load(conn)
    .await?;
    rows.into_iter().map(event).collect()
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
    #[derive(QueryableByName)]
    struct Born {
        #[diesel(sql_type = sql_types::Uuid)]
        pupil_id: Uuid,
        #[diesel(sql_type = sql_types::Date)]
        date_of_birth: NaiveDate,
    }
    let rows: Vec<Born> = diesel::sql_query(
        "SELECT p.* FROM unnest($2) AS k(pupil_id)
         CROSS JOIN LATERAL (
             SELECT pupil_id, date_of_birth FROM pupils
             WHERE trust_id = $1 AND pupil_id = k.pupil_id AND date_of_birth IS NOT NULL
             OFFSET 0
         ) AS p",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.pupil_id, row.date_of_birth)).collect())
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
