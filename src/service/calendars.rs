//! School calendars: given, imported from files of term dates, and read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::error::{FieldViolation, Resource};
use super::judging::{Moment, judge_pupils, timeline_of};
use super::schools::require_school;
use super::thresholds;
use super::transaction::{finish, retry};
use super::trusts::require_trust;
use super::{Page, PageOf, Service, ServiceError};
use crate::domain::calendar::CalendarYear;
use crate::domain::given_calendar::{DayNote, GivenYear};
use crate::domain::identifiers::{SchoolKey, TrustId};
use crate::domain::session::AcademicYear;
use crate::import::calendar::{self as file, CalendarFileError, CalendarOptions, ReadCalendar};
use crate::store::stages::{self, Cause};
use crate::store::summaries::{SchoolName, school_names};
use crate::store::{TrustTransaction, calendars};

/// How many entries that were not understood an error names.
const NOT_UNDERSTOOD_NAMED_MAX: usize = 20;

/// Whose calendar is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schools {
    /// One school's, whose version is the expected one where one is expected.
    One(SchoolKey, Option<i64>),
    /// That of every school of the trust.
    All,
}

/// A school's calendar of an academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchoolCalendar {
    /// The school.
    pub school: SchoolName,
    /// The calendar: as it was given, else as the school's marks tell.
    pub calendar: CalendarYear,
    /// The days that are otherwise than their terms say; none where it was not given.
    pub notes: Vec<DayNote>,
    /// Its version and when it last changed; nothing where it was not given.
    pub stored: Option<(i64, DateTime<Utc>)>,
}

/// What became of a calendar that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarsGiven {
    /// The calendars as stored, in the order of the schools' identifiers.
    pub calendars: Vec<SchoolCalendar>,
    /// Pupils whose stage moved.
    pub transitions: usize,
}

/// A file of term dates to be imported.
#[derive(Clone, Debug)]
pub struct CalendarImport<'a> {
    /// Whose calendar it is.
    pub schools: Schools,
    /// The file.
    pub content: &'a [u8],
    /// What the caller says about it.
    pub options: CalendarOptions,
    /// Whether to write nothing.
    pub dry_run: bool,
    /// Whether to import although entries were not understood.
    pub skip_not_understood: bool,
}

impl Service {
    /// A school's calendar of a year.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where the trust has no such school.
    pub async fn get_calendar(
        &self,
        trust: TrustId,
        key: &SchoolKey,
        year: AcademicYear,
    ) -> Result<SchoolCalendar, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            let school = require_school(&mut transaction, trust, key).await?;
            let names = school_names(&mut transaction, trust, Some(school.0)).await?;
            let found = calendars_of_year(&mut transaction, trust, names, year).await?;
            found.into_iter().next().ok_or(ServiceError::NotFound(Resource::School))
        }
        .await;
        finish(transaction, read).await
    }

    /// The calendars of the trust's schools of a year, in the order of the schools' identifiers.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where there is no such trust.
    pub async fn list_calendars(
        &self,
        trust: TrustId,
        year: AcademicYear,
        page: &Page<Uuid>,
    ) -> Result<PageOf<SchoolCalendar, Uuid>, ServiceError> {
        let mut transaction = self.store.begin(trust).await?;
        let read = async {
            require_trust(&mut transaction, trust).await?;
            let mut names = school_names(&mut transaction, trust, None).await?;
            names.sort_by_key(|name| name.school_id);
            names.retain(|name| page.after.is_none_or(|after| name.school_id > after));
            names.truncate(page.size.saturating_add(1));
            calendars_of_year(&mut transaction, trust, names, year).await
        }
        .await;
        let rows = finish(transaction, read).await?;
        Ok(PageOf::from_rows(rows, page.size, |row| row.school.school_id))
    }

    /// Gives schools the calendar of a year, in place of what was there. Where a policy's window follows the calendar, the
    /// schools' pupils are judged anew in the same transaction.
    ///
    /// # Errors
    /// [`ServiceError::NotFound`] where the trust has no such school, [`ServiceError::StaleEtag`] where its calendar has
    /// another version than the expected one.
    pub async fn update_calendar(
        &self,
        trust: TrustId,
        schools: &Schools,
        given: &GivenYear,
    ) -> Result<CalendarsGiven, ServiceError> {
        let moment = self.moment();
        retry(|| async {
            let mut transaction = self.store.begin(trust).await?;
            let written = give(&mut transaction, trust, schools, given, moment).await;
            finish(transaction, written).await
        })
        .await
    }

    /// Reads a file of term dates, and gives schools the calendar that it comes to unless that is only to be seen.
    ///
    /// # Errors
    /// [`ServiceError::Invalid`] where the file cannot be read, or holds entries that are not understood and are not to be
    /// skipped; else as [`Service::update_calendar`].
    pub async fn import_calendar(
        &self,
        trust: TrustId,
        import: &CalendarImport<'_>,
    ) -> Result<(ReadCalendar, Option<CalendarsGiven>), ServiceError> {
        let read = file::read(import.content, &import.options).map_err(unreadable)?;
        if import.dry_run {
            let mut transaction = self.store.begin(trust).await?;
            let found = schools_of(&mut transaction, trust, &import.schools).await;
            finish(transaction, found).await?;
            return Ok((read, None));
        }
        if read.not_understood_total > 0 && !import.skip_not_understood {
            let named = read.not_understood.iter().take(NOT_UNDERSTOOD_NAMED_MAX);
            let violations = named.map(|entry| {
                let message = format!(
                    "line {}: {}; or set skip_not_understood to import without it",
                    entry.line,
                    entry.reason.message()
                );
                FieldViolation::new("content", entry.reason.name(), message)
            });
            return Err(ServiceError::Invalid(violations.collect()));
        }
        let given = self.update_calendar(trust, &import.schools, &read.given).await?;
        Ok((read, Some(given)))
    }
}

/// What is wrong with a file of term dates.
fn unreadable(error: CalendarFileError) -> ServiceError {
    let (field, reason) = match &error {
        CalendarFileError::TooLarge => ("content", "FILE_TOO_LARGE"),
        CalendarFileError::TooManyEntries => ("content", "TOO_MANY_ENTRIES"),
        CalendarFileError::Text(_) => ("content", "NOT_TEXT"),
        CalendarFileError::UnknownFormat => ("content", "UNKNOWN_FORMAT"),
        CalendarFileError::NoEntries => ("content", "NO_ENTRIES"),
        CalendarFileError::UnclearStyle => ("style", "UNCLEAR_STYLE"),
        CalendarFileError::NoFirstDay => ("first_day", "MISSING_FIRST_DAY"),
        CalendarFileError::NoLastDay => ("last_day", "MISSING_LAST_DAY"),
        CalendarFileError::Plan(_) => ("content", "NO_CALENDAR"),
    };
    ServiceError::invalid(field, reason, error.to_string())
}

/// The schools whose calendar is written.
async fn schools_of(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    schools: &Schools,
) -> Result<Vec<SchoolName>, ServiceError> {
    let mut names = match schools {
        Schools::One(key, _) => {
            let school = require_school(transaction, trust, key).await?;
            school_names(transaction, trust, Some(school.0)).await?
        }
        Schools::All => {
            require_trust(transaction, trust).await?;
            school_names(transaction, trust, None).await?
        }
    };
    names.sort_by_key(|name| name.school_id);
    Ok(names)
}

async fn give(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    schools: &Schools,
    given: &GivenYear,
    moment: Moment,
) -> Result<CalendarsGiven, ServiceError> {
    let names = schools_of(transaction, trust, schools).await?;
    let ids: Vec<Uuid> = names.iter().map(|name| name.school_id).collect();
    let expected = match schools {
        Schools::One(_, expected) => *expected,
        Schools::All => None,
    };
    let written = calendars::give(transaction, trust, &ids, given, expected, moment.now).await?;
    let versions: HashMap<Uuid, i64> = written.into_iter().collect();
    let mut stored = Vec::with_capacity(names.len());
    for school in names {
        let version = versions.get(&school.school_id);
        stored.push(SchoolCalendar {
            stored: Some((*version.ok_or(ServiceError::StaleEtag(Resource::Calendar))?, moment.now)),
            school,
            calendar: given.calendar.clone(),
            notes: given.notes.clone(),
        });
    }
    let transitions = judge_anew(transaction, trust, &ids, given.calendar.year, moment).await?;
    Ok(CalendarsGiven {
        calendars: stored,
        transitions,
    })
}

/// Judges the pupils of schools whose calendar changed: their thresholds, which follow it in that academic year and every
/// later one, and their stages where a policy's window follows it, which never reaches beyond 1 August. The pupils are locked
/// before the policies are read, so that one that comes into force meanwhile either is seen here or sees the new calendar.
async fn judge_anew(
    transaction: &mut TrustTransaction,
    trust: TrustId,
    schools: &[Uuid],
    year: AcademicYear,
    moment: Moment,
) -> Result<usize, ServiceError> {
    if year > moment.year {
        return Ok(0);
    }
    let pupils = calendars::pupils_of_schools(transaction, trust, schools, year).await?;
    stages::lock(transaction, trust, &pupils).await?;
    let timeline = timeline_of(transaction, trust).await?;
    if year == moment.year && timeline.follows_calendar() {
        return judge_pupils(transaction, trust, &pupils, moment, Cause::Enrolment).await;
    }
    thresholds::reevaluate(transaction, trust, &timeline, &pupils, Some(year), moment, None).await?;
    Ok(0)
}

async fn calendars_of_year(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    schools: Vec<SchoolName>,
    year: AcademicYear,
) -> Result<Vec<SchoolCalendar>, ServiceError> {
    let ids: Vec<Uuid> = schools.iter().map(|school| school.school_id).collect();
    let given = calendars::given(conn, trust, &ids, Some(year)).await?;
    let mut given: HashMap<Uuid, calendars::GivenRow> = given.into_iter().map(|row| (row.school_id, row)).collect();
    let marked = calendars::marked_sessions(conn, trust, &ids, Some(year)).await?;
    let marked: HashMap<Uuid, _> = marked
        .into_iter()
        .map(|((school, _), sessions)| (school, sessions))
        .collect();
    let found = schools.into_iter().map(|school| match given.remove(&school.school_id) {
        Some(row) => SchoolCalendar {
            school,
            calendar: row.given.calendar,
            notes: row.given.notes,
            stored: Some((row.version, row.updated_at)),
        },
        None => {
            let sessions = marked.get(&school.school_id);
            let held = sessions.into_iter().flat_map(|sessions| sessions.days_held(year));
            SchoolCalendar {
                calendar: CalendarYear::from_marked_days(year, held),
                school,
                notes: Vec::new(),
                stored: None,
            }
        }
    });
    Ok(found.collect())
}
