//! How a file lays out its marks: one a row, one a column, or a week's run in a row.

use std::fmt;

use chrono::{Datelike, NaiveDate};

use super::ImportError;
use super::date_column::DateColumn;
use super::dates::{DateOrder, DateProblem, Stamp, YearSource, half_name, is_clock_time};
use super::fields::Field;
use super::mapping::Mapping;
use crate::domain::session::SessionHalf;

/// How a file lays out its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One mark a row, with its date and session.
    Long,
    /// A pupil a row, a session a column.
    Wide,
    /// A pupil's week a row, its marks in one text from Monday morning on.
    Weekly,
    /// Pupils without marks.
    Pupils,
}

impl Layout {
    /// The layout's name.
    pub const fn name(self) -> &'static str {
        match self {
            Layout::Long => "long",
            Layout::Wide => "wide",
            Layout::Weekly => "weekly",
            Layout::Pupils => "pupils",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Layout::Long => "long (a row a mark)",
            Layout::Wide => "wide (a column a session)",
            Layout::Weekly => "weekly (a run of marks a row)",
            Layout::Pupils => "pupils (no marks)",
        };
        formatter.write_str(text)
    }
}

/// A column that holds the marks of one session, or of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionColumn {
    /// The column, from 0.
    pub column: usize,
    /// The date; nothing until it has been worked out, and where that failed.
    pub date: Option<NaiveDate>,
    /// Morning or afternoon; nothing for a whole day.
    pub half: Option<SessionHalf>,
    /// Why the column has no session.
    pub problem: Option<SessionProblem>,
    text: String,
}

/// Why a column or a row has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionProblem {
    /// The date cannot be told.
    #[error(transparent)]
    Date(#[from] DateProblem),
    /// A time of day stands where a session is expected.
    #[error("a time of day instead of AM or PM: this is a lesson's mark, and only the statutory AM and PM count")]
    Lesson,
}

impl SessionColumn {
    /// The session or day that a header names, its date not yet worked out; nothing for any other header.
    pub(super) fn of_header(column: usize, header: &str) -> Option<SessionColumn> {
        let stamp = Stamp::parse(header)?;
        let lesson = stamp.clock && (stamp.date.is_some() || stamp.weekday.is_some());
        let whole_day = stamp.date.is_some();
        (stamp.half.is_some() || whole_day || lesson).then(|| SessionColumn {
            column,
            date: None,
            half: stamp.half,
            problem: stamp.clock.then_some(SessionProblem::Lesson),
            text: header.to_owned(),
        })
    }

    /// Works out the date of every column, all in one order, the years from `years`. Headers that name a day of the week
    /// or a half alone take the date from the range. Returns the column of dates that the headers are.
    pub(super) fn resolve(columns: &mut [SessionColumn], forced: Option<DateOrder>, years: &YearSource) -> DateColumn {
        let texts: Vec<String> = columns.iter().map(|column| column.text.clone()).collect();
        let dates = DateColumn::read(texts.iter().map(String::as_str), forced, years);
        for column in columns {
            let stamp = Stamp::parse(&column.text).unwrap_or_default();
            let date = match (&stamp.date, stamp.weekday) {
                (Some(_), _) => dates.cell(&column.text).map(|cell| cell.date),
                (None, weekday) => in_range(years, weekday),
            };
            match date {
                Ok(date) => column.date = Some(date),
                Err(problem) => {
                    column.problem = column.problem.or(Some(SessionProblem::Date(problem)));
                }
            }
        }
        dates
    }
}

/// The one date of a range of at most a week with this day of the week; the one date of a range of a day.
fn in_range(years: &YearSource, weekday: Option<chrono::Weekday>) -> Result<NaiveDate, DateProblem> {
    let (first, last) = years.range.ok_or(DateProblem::NoYear)?;
    let days = (last - first).num_days();
    match weekday {
        Some(weekday) if days < 7 => first
            .iter_days()
            .take_while(|date| *date <= last)
            .find(|date| date.weekday() == weekday)
            .ok_or(DateProblem::OutsideRange),
        None if days == 0 => Ok(first),
        _ => Err(DateProblem::NoYear),
    }
}

/// Decides the layout by what the header has.
///
/// # Errors
///
/// An [`ImportError`] that names what is there and what is missing: a class summary, a lesson register, no pupil, marks
/// without a date or session.
pub(super) fn decide(mapping: &Mapping, years: &YearSource) -> Result<Layout, ImportError> {
    let has = |field| mapping.column(field).is_some();
    let summary = has(Field::Time) && has(Field::Lesson) && has(Field::Marks);
    if summary && !has(Field::WeekBeginning) && !has(Field::Date) {
        return Err(ImportError::ClassSummary);
    }
    if !has(Field::Upn) && !has(Field::MisId) {
        return Err(ImportError::NoPupilColumn);
    }
    let one_day = years.range.is_some_and(|(first, last)| first == last);
    let one_week = years
        .range
        .is_some_and(|(first, last)| first.weekday() == chrono::Weekday::Mon && (last - first).num_days() < 7);
    if has(Field::Marks) && (has(Field::WeekBeginning) || (one_week && mapping.sessions.is_empty())) {
        return Ok(Layout::Weekly);
    }
    if has(Field::Mark) && has(Field::Session) && (has(Field::Date) || one_day) {
        return Ok(Layout::Long);
    }
    if has(Field::Mark) && (has(Field::Time) || has(Field::Lesson)) {
        return Err(ImportError::LessonRegister);
    }
    if has(Field::Mark) && has(Field::Date) {
        // The session may stand beside the date in its cell.
        return Ok(Layout::Long);
    }
    if mapping
        .sessions
        .iter()
        .any(|column| column.half.is_some() || column.problem.is_none())
    {
        return Ok(Layout::Wide);
    }
    if !mapping.sessions.is_empty() {
        return Err(ImportError::LessonRegister);
    }
    let missing = match (has(Field::Mark), has(Field::Marks)) {
        (true, _) if !has(Field::Session) => Some("mark column but no session column (AM or PM)"),
        (true, _) => Some("mark column but no date column, and no single date above the table"),
        (_, true) => Some("marks column but no week beginning column, and no single week above the table"),
        _ if has(Field::Session) || has(Field::WeekBeginning) || has(Field::Date) => {
            Some("column of dates or sessions but no column of marks")
        }
        _ => None,
    };
    match missing {
        Some(what) => Err(ImportError::Incomplete { what }),
        None => Ok(Layout::Pupils),
    }
}

/// The session that a cell names.
///
/// # Errors
///
/// [`SessionCellProblem`] where it is a time of day or anything else.
pub(super) fn session_cell(text: &str) -> Result<SessionHalf, SessionCellProblem> {
    match super::dates::half(text).or_else(|| half_name(text)) {
        Some(half) => Ok(half),
        None if is_clock_time(text) => Err(SessionCellProblem::Lesson),
        None if text.trim().is_empty() => Err(SessionCellProblem::Blank),
        None => Err(SessionCellProblem::Unreadable),
    }
}

/// Why a cell names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionCellProblem {
    /// A time of day.
    Lesson,
    /// Nothing there.
    Blank,
    /// Something else.
    Unreadable,
}
