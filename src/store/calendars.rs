//! School calendars: those that were given, and the sessions that have marks, from which the others follow.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::schema::{school_days, school_sessions};
use crate::domain::calendar::{Calendar, CalendarYear, Calendars, DayKind, Term};
use crate::domain::given_calendar::{DayNote, GivenYear};
use crate::domain::identifiers::{SchoolId, TrustId};
use crate::domain::marked::{HeldChange, MarkedSessions};
use crate::domain::session::{AcademicYear, SESSIONS_MAX};

/// A school's academic year.
pub type SchoolYear = (Uuid, AcademicYear);

/// A calendar that was given, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenRow {
    /// The school.
    pub school_id: Uuid,
    /// The calendar.
    pub given: GivenYear,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// As the database gives it.
#[derive(Queryable, Selectable)]
#[diesel(table_name = school_days, check_for_backend(diesel::pg::Pg))]
struct StoredDays {
    school_id: Uuid,
    academic_year: i16,
    days: Vec<u8>,
    terms: serde_json::Value,
    notes: serde_json::Value,
    version: i64,
    updated_at: DateTime<Utc>,
}

impl TryFrom<StoredDays> for GivenRow {
    type Error = StoreError;

    fn try_from(stored: StoredDays) -> Result<GivenRow, StoreError> {
        let terms: Vec<Term> =
            serde_json::from_value(stored.terms).map_err(|_| StoreError::Corrupt("school_days.terms"))?;
        let notes: Vec<DayNote> =
            serde_json::from_value(stored.notes).map_err(|_| StoreError::Corrupt("school_days.notes"))?;
        Ok(GivenRow {
            school_id: stored.school_id,
            given: GivenYear {
                calendar: CalendarYear {
                    year: year(stored.academic_year)?,
                    days: stored.days,
                    terms,
                    given: true,
                },
                notes,
            },
            version: stored.version,
            updated_at: stored.updated_at,
        })
    }
}

fn year(start_year: i16) -> Result<AcademicYear, StoreError> {
    AcademicYear::from_start_year(i32::from(start_year)).ok_or(StoreError::Corrupt("academic_year"))
}

/// The calendars of schools, of every year of which anything is known: as they were given, else as their marks tell.
pub async fn calendars_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
) -> Result<Calendars, StoreError> {
    let marked = marked_sessions(conn, trust, schools, None).await?;
    let given = given(conn, trust, schools, None).await?;
    let mut years: HashMap<Uuid, Vec<CalendarYear>> = HashMap::new();
    for ((school, year), sessions) in marked {
        let drawn = CalendarYear::from_marked_days(year, sessions.days_held(year));
        years.entry(school).or_default().push(drawn);
    }
    // Of two of the same year the later one stands.
    for row in given {
        years.entry(row.school_id).or_default().push(row.given.calendar);
    }
    let calendars = years.into_iter().map(|(school, years)| {
        let calendar = Arc::new(Calendar::new(years));
        (SchoolId(school), calendar)
    });
    Ok(Calendars::new(calendars))
}

/// The calendars that were given for schools, by school and year: of every year, or of one.
pub async fn given(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    of: Option<AcademicYear>,
) -> Result<Vec<GivenRow>, StoreError> {
    let mut query = school_days::table
        .filter(school_days::trust_id.eq(trust.0))
        .filter(school_days::school_id.eq_any(schools))
        .into_boxed();
    if let Some(year) = of {
        query = query.filter(school_days::academic_year.eq(year.start_year()));
    }
    let stored: Vec<StoredDays> = query
        .order((school_days::school_id, school_days::academic_year))
        .select(StoredDays::as_select())
        .load(conn)
        .await?;
    stored.into_iter().map(GivenRow::try_from).collect()
}

/// The sessions of schools that have marks, by school and year: of every year, or of one.
pub async fn marked_sessions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    of: Option<AcademicYear>,
) -> Result<Vec<(SchoolYear, MarkedSessions)>, StoreError> {
    let mut query = school_sessions::table
        .filter(school_sessions::trust_id.eq(trust.0))
        .filter(school_sessions::school_id.eq_any(schools))
        .into_boxed();
    if let Some(year) = of {
        query = query.filter(school_sessions::academic_year.eq(year.start_year()));
    }
    let stored: Vec<(Uuid, i16, Vec<u8>)> = query
        .order((school_sessions::school_id, school_sessions::academic_year))
        .select((
            school_sessions::school_id,
            school_sessions::academic_year,
            school_sessions::marked,
        ))
        .load(conn)
        .await?;
    let rows = stored
        .into_iter()
        .map(|(school, start_year, flags)| Ok(((school, year(start_year)?), MarkedSessions::from_flags(flags))));
    rows.collect()
}

/// What a transaction did to the sessions of a school's academic year.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionNotes {
    /// The sessions in which it entered marks.
    pub marked: MarkedSessions,
    /// Places of sessions in which it took marks away, or changed them to ones that say less of the session.
    pub lost: Vec<u16>,
}

/// That a transaction changed what the marks of a school say of its school days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaysChanged {
    /// The school.
    pub school: Uuid,
    /// The academic year.
    pub year: AcademicYear,
    /// How.
    pub change: HeldChange,
}

#[derive(QueryableByName)]
struct StoredSessions {
    #[diesel(sql_type = sql_types::Uuid)]
    school_id: Uuid,
    #[diesel(sql_type = sql_types::SmallInt)]
    academic_year: i16,
    #[diesel(sql_type = sql_types::Binary)]
    marked: Vec<u8>,
}

#[derive(QueryableByName)]
struct SessionFlags {
    #[diesel(sql_type = sql_types::Uuid)]
    school_id: Uuid,
    #[diesel(sql_type = sql_types::SmallInt)]
    academic_year: i16,
    #[diesel(sql_type = sql_types::SmallInt)]
    place: i16,
    #[diesel(sql_type = sql_types::SmallInt)]
    flags: i16,
}

/// How the rows of `school_sessions` are locked. See [`note_sessions`].
#[derive(Clone, Copy)]
enum RowLock {
    Shared,
    Adding,
    Clearing,
}

impl RowLock {
    const fn clause(self) -> &'static str {
        match self {
            RowLock::Shared => "FOR KEY SHARE",
            RowLock::Adding => "FOR NO KEY UPDATE",
            RowLock::Clearing => "FOR UPDATE",
        }
    }
}

/// Keeps `school_sessions` in step with the registers that the transaction has already written. `notes` are in the order of
/// their keys, which is the order in which every transaction locks the rows; it comes after the pupils' locks and before the
/// trust's feed.
///
/// Most batches enter marks into sessions of which it is already known that they have some, and write nothing here. But such
/// a batch relies on the flag that it read: were another transaction, which takes the session's last other mark away and
/// cannot see this batch's yet, to take the flag away meanwhile, the session would have a mark and no flag. So whoever enters
/// marks holds the row `FOR KEY SHARE` to the commit, which neither keeps out others who do the same nor one who adds a flag
/// (`FOR NO KEY UPDATE`); and whoever takes marks away holds it `FOR UPDATE`, which waits for all of these and keeps new ones
/// out, and only then looks, with a new snapshot, whether a register of the school still has a mark in the session. A batch
/// that waited for one who took a flag away reads the row as it was left, and adds the flag again.
///
/// A transaction that does both takes all of its rows `FOR UPDATE` at once: taking the stronger lock in a second round could
/// make two of them wait for each other.
///
/// Returns the schools whose days it changed, where that can matter to pupils of whom nothing was written; `today` is the day.
pub async fn note_sessions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    notes: &BTreeMap<SchoolYear, SessionNotes>,
    today: NaiveDate,
) -> Result<Vec<DaysChanged>, StoreError> {
    if notes.is_empty() {
        return Ok(Vec::new());
    }
    let clearing = notes.values().any(|note| !note.lost.is_empty());
    let keys: Vec<SchoolYear> = notes.keys().copied().collect();
    let lock = if clearing { RowLock::Clearing } else { RowLock::Shared };
    let mut rows = lock_sessions(conn, trust, &keys, lock).await?;
    let is_missing = |rows: &HashMap<SchoolYear, MarkedSessions>, key: &SchoolYear| {
        let note = &notes[key];
        !rows.get(key).is_some_and(|row| row.covers(&note.marked))
    };
    let to_add: Vec<SchoolYear> = keys.iter().copied().filter(|key| is_missing(&rows, key)).collect();
    if !to_add.is_empty() {
        add_rows(conn, trust, to_add.iter().filter(|key| !rows.contains_key(key))).await?;
        // A row that was made just now, by whomever, has to be locked as the others are.
        let lock = if clearing { RowLock::Clearing } else { RowLock::Adding };
        rows.extend(lock_sessions(conn, trust, &to_add, lock).await?);
    }
    let before = rows.clone();
    for key in &to_add {
        rows.entry(*key).or_default().unite(&notes[key].marked);
    }
    if clearing {
        for ((school, year, place), flags) in flags_of_registers(conn, trust, notes).await? {
            rows.entry((school, year)).or_default().set(place, flags);
        }
    }
    let none = MarkedSessions::default();
    rows.retain(|key, row| before.get(key) != Some(row));
    let changed = rows.iter().filter_map(|(key, row)| {
        let (school, year) = *key;
        let change = before.get(key).unwrap_or(&none).held_change(row, year, today)?;
        Some(DaysChanged { school, year, change })
    });
    let changed = changed.collect();
    write_sessions(conn, trust, rows.into_iter().collect()).await?;
    Ok(changed)
}

async fn lock_sessions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    keys: &[SchoolYear],
    lock: RowLock,
) -> Result<HashMap<SchoolYear, MarkedSessions>, StoreError> {
    let (schools, years) = columns(keys.iter());
    let stored: Vec<StoredSessions> = diesel::sql_query(format!(
        "SELECT s.*
         FROM unnest($2, $3) AS k(school_id, academic_year)
         CROSS JOIN LATERAL (
             SELECT school_id, academic_year, marked
             FROM school_sessions
             WHERE trust_id = $1 AND school_id = k.school_id AND academic_year = k.academic_year
             {}
         ) AS s",
        lock.clause()
    ))
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(schools)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .load(conn)
    .await?;
    let rows = stored.into_iter().map(|row| {
        let key = (row.school_id, year(row.academic_year)?);
        Ok((key, MarkedSessions::from_flags(row.marked)))
    });
    rows.collect()
}

async fn add_rows<'k>(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    keys: impl Iterator<Item = &'k SchoolYear>,
) -> Result<(), StoreError> {
    let (schools, years) = columns(keys);
    if schools.is_empty() {
        return Ok(());
    }
    diesel::sql_query(
        "INSERT INTO school_sessions (trust_id, school_id, academic_year, marked)
         SELECT $1, k.school_id, k.academic_year, '' FROM unnest($2, $3) AS k(school_id, academic_year)
         ON CONFLICT DO NOTHING",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(schools)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .execute(conn)
    .await?;
    Ok(())
}

/// What the registers of the schools say of the sessions in which marks were lost.
async fn flags_of_registers(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    notes: &BTreeMap<SchoolYear, SessionNotes>,
) -> Result<Vec<((Uuid, AcademicYear, usize), u8)>, StoreError> {
    let (mut keys, mut places) = (Vec::new(), Vec::new());
    for (key, note) in notes {
        for place in &note.lost {
            keys.push(*key);
            places.push(i16::try_from(*place).unwrap_or(i16::MAX));
        }
    }
    let (schools, years) = columns(keys.iter());
    // 33 is Z, 34 is #.
    let found: Vec<SessionFlags> = diesel::sql_query(
        "SELECT k.school_id, k.academic_year, k.place,
             CASE
                 WHEN EXISTS (
                     SELECT FROM registers AS r
                     WHERE r.trust_id = $1 AND r.school_id = k.school_id AND r.academic_year = k.academic_year
                         AND get_byte(r.marks || '\\x00'::bytea, least(k.place, octet_length(r.marks))) NOT IN (0, 33, 34)
                 ) THEN 3
                 WHEN EXISTS (
                     SELECT FROM registers AS r
                     WHERE r.trust_id = $1 AND r.school_id = k.school_id AND r.academic_year = k.academic_year
                         AND get_byte(r.marks || '\\x00'::bytea, least(k.place, octet_length(r.marks))) <> 0
                 ) THEN 1
                 ELSE 0
             END::smallint AS flags
         FROM unnest($2, $3, $4) AS k(school_id, academic_year, place)",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(schools)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(places)
    .load(conn)
    .await?;
    let found = found.into_iter().map(|row| {
        let place = usize::try_from(row.place).unwrap_or_default();
        let flags = u8::try_from(row.flags).unwrap_or_default();
        Ok(((row.school_id, year(row.academic_year)?, place), flags))
    });
    found.collect()
}

/// Writes rows that are there and locked.
async fn write_sessions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    rows: Vec<(SchoolYear, MarkedSessions)>,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let (schools, years) = columns(rows.iter().map(|(key, _)| key));
    let flags: Vec<&[u8]> = rows.iter().map(|(_, sessions)| sessions.flags()).collect();
    diesel::sql_query(
        "INSERT INTO school_sessions (trust_id, school_id, academic_year, marked)
         SELECT $1, n.* FROM unnest($2, $3, $4) AS n
         ON CONFLICT (trust_id, school_id, academic_year) DO UPDATE SET marked = EXCLUDED.marked",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(schools)
    .bind::<sql_types::Array<sql_types::SmallInt>, _>(years)
    .bind::<sql_types::Array<sql_types::Binary>, _>(flags)
    .execute(conn)
    .await?;
    Ok(())
}

fn columns<'k>(keys: impl Iterator<Item = &'k SchoolYear>) -> (Vec<Uuid>, Vec<i16>) {
    keys.map(|(school, year)| (*school, year.start_year())).unzip()
}

/// Gives schools a calendar of an academic year, in the place of what was there; those of them whose version is the expected
/// one, where one is expected. Returns the schools and versions that were written.
pub async fn give(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    given: &GivenYear,
    expected_version: Option<i64>,
    now: DateTime<Utc>,
) -> Result<Vec<(Uuid, i64)>, StoreError> {
    #[derive(QueryableByName)]
    struct Written {
        #[diesel(sql_type = sql_types::Uuid)]
        school_id: Uuid,
        #[diesel(sql_type = sql_types::BigInt)]
        version: i64,
    }
    let json = |value: Result<serde_json::Value, serde_json::Error>| {
        value.map_err(|_| StoreError::Corrupt("a calendar that is no JSON"))
    };
    let terms = json(serde_json::to_value(&given.calendar.terms))?;
    let notes = json(serde_json::to_value(&given.notes))?;
    // In the order of the schools, so that two who write at the same time do not wait for each other.
    let mut schools = schools.to_vec();
    schools.sort_unstable();
    let written: Vec<Written> = diesel::sql_query(
        "INSERT INTO school_days (trust_id, school_id, academic_year, days, terms, notes, version, updated_at)
         SELECT $1, k.school_id, $3, $4, $5, $6, 1, $8
         FROM unnest($2) AS k(school_id)
         WHERE $7 IS NULL OR EXISTS (
             SELECT FROM school_days AS s
             WHERE s.trust_id = $1 AND s.school_id = k.school_id AND s.academic_year = $3 AND s.version = $7
         )
         ON CONFLICT (trust_id, school_id, academic_year) DO UPDATE
         SET days = EXCLUDED.days, terms = EXCLUDED.terms, notes = EXCLUDED.notes, version = school_days.version + 1,
             updated_at = EXCLUDED.updated_at
         WHERE $7 IS NULL OR school_days.version = $7
         RETURNING school_id, version",
    )
    .bind::<sql_types::Uuid, _>(trust.0)
    .bind::<sql_types::Array<sql_types::Uuid>, _>(&schools)
    .bind::<sql_types::SmallInt, _>(given.calendar.year.start_year())
    .bind::<sql_types::Binary, _>(&given.calendar.days)
    .bind::<sql_types::Jsonb, _>(terms)
    .bind::<sql_types::Jsonb, _>(notes)
    .bind::<sql_types::Nullable<sql_types::BigInt>, _>(expected_version)
    .bind::<sql_types::Timestamptz, _>(now)
    .load(conn)
    .await?;
    Ok(written.into_iter().map(|row| (row.school_id, row.version)).collect())
}

/// Pupils who are on roll at one of the schools on any day of an academic year.
pub async fn pupils_of_schools(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: &[Uuid],
    year: AcademicYear,
) -> Result<Vec<Uuid>, StoreError> {
    use super::schema::enrolments;
    let not_over = enrolments::end_date
        .is_null()
        .or(enrolments::end_date.assume_not_null().ge(year.first_day()));
    Ok(enrolments::table
        .filter(enrolments::trust_id.eq(trust.0))
        .filter(enrolments::school_id.eq_any(schools))
        .filter(enrolments::start_date.le(year.last_day()).and(not_over))
        .select(enrolments::pupil_id)
        .distinct()
        .load(conn)
        .await?)
}

/// The sessions of academic years on which the given calendars of schools have no school day: a byte a session, 255 for such a
/// one and 0 for any other. Years without a given calendar are left out.
pub async fn closed_sessions(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    keys: &BTreeSet<SchoolYear>,
) -> Result<HashMap<SchoolYear, Vec<u8>>, StoreError> {
    let (mut schools, mut years) = columns(keys.iter());
    schools.dedup();
    years.sort_unstable();
    years.dedup();
    let stored: Vec<(Uuid, i16, Vec<u8>)> = school_days::table
        .filter(school_days::trust_id.eq(trust.0))
        .filter(school_days::school_id.eq_any(schools))
        .filter(school_days::academic_year.eq_any(years))
        .select((school_days::school_id, school_days::academic_year, school_days::days))
        .load(conn)
        .await?;
    let masks = stored.into_iter().map(|(school, start_year, days)| {
        let mut mask = vec![u8::MAX; SESSIONS_MAX];
        for (sessions, kind) in mask.chunks_mut(2).zip(&days) {
            if *kind == DayKind::School.byte() {
                sessions.fill(0);
            }
        }
        Ok(((school, year(start_year)?), mask))
    });
    masks.collect()
}
