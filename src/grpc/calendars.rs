//! School calendars: read, given and imported.

use tonic::Status;

use super::convert::{self, count, to_date, to_etag, to_timestamp};
use super::sessions::academic_year;
use super::{names, page_token};
use crate::domain::calendar::{CalendarYear, DAYS_MAX, DayKind, Term};
use crate::domain::given_calendar::{DayNote, GivenYear, NOTES_MAX, PlanError, TERMS_MAX};
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;
use crate::import::calendar::{CalendarFormat, CalendarOptions, CalendarStyle, NotUnderstood, ReadCalendar};
use crate::proto as pb;
use crate::service::calendars::{CalendarImport, SchoolCalendar, Schools};
use crate::service::error::FieldViolation;
use crate::service::{Service, ServiceError};

/// The length of a term's name, in characters.
const TERM_NAME: std::ops::RangeInclusive<usize> = 1..=100;
/// The length of a note's label, in characters.
const LABEL: std::ops::RangeInclusive<usize> = 0..=100;

/// Returns a school's calendar.
pub(super) async fn get(service: &Service, request: pb::GetCalendarRequest) -> Result<pb::GetCalendarResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::school_key("school", &request.school)?,
            year(service, request.academic_year)?,
        ))
    };
    let (trust, school, year) = read().map_err(ServiceError::from)?;
    let calendar = service.get_calendar(trust, &school, year).await?;
    Ok(pb::GetCalendarResponse {
        calendar: Some(to_calendar(calendar)),
    })
}

/// Lists the calendars of the trust's schools.
pub(super) async fn list(
    service: &Service,
    request: pb::ListCalendarsRequest,
) -> Result<pb::ListCalendarsResponse, Status> {
    const LIST: &str = "calendars";
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let year = year(service, request.academic_year)?;
        let filters = format!("{trust} {year}");
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((trust, year, filters, page))
    };
    let (trust, year, filters, page) = read().map_err(ServiceError::from)?;
    let found = service.list_calendars(trust, year, &page).await?;
    Ok(pb::ListCalendarsResponse {
        next_page_token: page_token::encode(LIST, filters.as_bytes(), found.next.as_ref()),
        calendars: found.rows.into_iter().map(to_calendar).collect(),
    })
}

/// Gives schools a calendar.
pub(super) async fn update(
    service: &Service,
    request: pb::UpdateCalendarRequest,
) -> Result<pb::UpdateCalendarResponse, Status> {
    let read = || -> Result<(TrustId, Schools, GivenYear), FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let schools = schools(&request.school, request.all_schools, &request.etag)?;
        let year = year(service, request.academic_year)?;
        let (terms, notes) = (terms(&request.terms)?, notes(&request.notes)?);
        let given = GivenYear::new(year, terms, notes).map_err(violation)?;
        Ok((trust, schools, given))
    };
    let (trust, schools, given) = read().map_err(ServiceError::from)?;
    let written = service.update_calendar(trust, &schools, &given).await?;
    Ok(pb::UpdateCalendarResponse {
        calendars: written.calendars.into_iter().map(to_calendar).collect(),
        transitions: count(written.transitions),
    })
}

/// Imports a file of term dates.
pub(super) async fn import(
    service: &Service,
    request: pb::ImportCalendarRequest,
) -> Result<pb::ImportCalendarResponse, Status> {
    let read = || -> Result<(TrustId, CalendarImport<'_>), FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let year = year(service, request.academic_year)?;
        let import = CalendarImport {
            schools: schools(&request.school, request.all_schools, &request.etag)?,
            content: &request.content,
            options: CalendarOptions {
                year,
                format: format(request.format)?,
                style: style(request.style)?,
                first_day: convert::optional_date("first_day", request.first_day.as_ref())?,
                last_day: convert::optional_date("last_day", request.last_day.as_ref())?,
            },
            dry_run: request.dry_run,
            skip_not_understood: request.skip_not_understood,
        };
        Ok((trust, import))
    };
    let (trust, import) = read().map_err(ServiceError::from)?;
    let (read, written) = service.import_calendar(trust, &import).await?;
    let mut response = to_imported(read);
    if let Some(written) = written {
        response.calendars = written.calendars.into_iter().map(to_calendar).collect();
        response.transitions = count(written.transitions);
    }
    Ok(response)
}

fn year(service: &Service, year: i32) -> Result<AcademicYear, FieldViolation> {
    match year {
        0 => Ok(service.clock.academic_year()),
        year => academic_year(year),
    }
}

fn schools(school: &str, all: bool, etag: &str) -> Result<Schools, FieldViolation> {
    match (convert::optional_school_key("school", school)?, all) {
        (Some(key), false) => Ok(Schools::One(key, names::expected_version(etag))),
        (None, true) if etag.is_empty() => Ok(Schools::All),
        (None, true) => {
            let message = "leave the etag out: each school has its own";
            Err(FieldViolation::new("etag", "ETAG_NOT_TAKEN", message))
        }
        (Some(_), true) => {
            let message = "name one school, or set all_schools, not both";
            Err(FieldViolation::new("all_schools", "AMBIGUOUS_SCHOOLS", message))
        }
        (None, false) => {
            let message = "name a school by UUID or URN, or set all_schools";
            Err(FieldViolation::new("school", "MISSING_SCHOOL", message))
        }
    }
}

fn terms(terms: &[pb::CalendarTerm]) -> Result<Vec<Term>, FieldViolation> {
    if terms.len() > TERMS_MAX {
        return Err(violation(PlanError::TooManyTerms));
    }
    let read = terms.iter().enumerate().map(|(place, term)| {
        Ok(Term {
            name: convert::text(&format!("terms[{place}].name"), &term.name, TERM_NAME)?,
            first: convert::date(&format!("terms[{place}].first_day"), term.first_day.as_ref())?,
            last: convert::date(&format!("terms[{place}].last_day"), term.last_day.as_ref())?,
        })
    });
    read.collect()
}

fn notes(notes: &[pb::CalendarNote]) -> Result<Vec<DayNote>, FieldViolation> {
    if notes.len() > NOTES_MAX {
        return Err(violation(PlanError::TooManyNotes));
    }
    let read = notes.iter().enumerate().map(|(place, note)| {
        let first = convert::date(&format!("notes[{place}].first_day"), note.first_day.as_ref())?;
        let last = convert::optional_date(&format!("notes[{place}].last_day"), note.last_day.as_ref())?;
        let kind = u8::try_from(note.kind).ok().and_then(DayKind::from_byte);
        Ok(DayNote {
            kind: kind.ok_or_else(|| {
                let message = "give CALENDAR_DAY_KIND_SCHOOL_DAY, CALENDAR_DAY_KIND_INSET or CALENDAR_DAY_KIND_CLOSURE";
                FieldViolation::new(format!("notes[{place}].kind"), "UNKNOWN_DAY_KIND", message)
            })?,
            first,
            last: last.unwrap_or(first),
            label: convert::text(&format!("notes[{place}].label"), &note.label, LABEL)?,
        })
    });
    read.collect()
}

fn violation(error: PlanError) -> FieldViolation {
    let (field, reason) = match error {
        PlanError::TooManyTerms => ("terms".to_owned(), "TOO_MANY_TERMS"),
        PlanError::TooManyNotes => ("notes".to_owned(), "TOO_MANY_NOTES"),
        PlanError::TermBackwards(place) => (format!("terms[{place}].last_day"), "ENDS_BEFORE_IT_BEGINS"),
        PlanError::TermOutsideYear(place) => (format!("terms[{place}]"), "OUTSIDE_ACADEMIC_YEAR"),
        PlanError::TermsOverlap(place) => (format!("terms[{place}]"), "TERMS_OVERLAP"),
        PlanError::NoteBackwards(place) => (format!("notes[{place}].last_day"), "ENDS_BEFORE_IT_BEGINS"),
        PlanError::NoteOutsideYear(place) => (format!("notes[{place}]"), "OUTSIDE_ACADEMIC_YEAR"),
        PlanError::NotesContradict(place) => (format!("notes[{place}]"), "NOTES_CONTRADICT"),
        PlanError::NoSchoolDay => ("terms".to_owned(), "NO_SCHOOL_DAY"),
    };
    FieldViolation::new(field, reason, error.to_string())
}

fn format(number: i32) -> Result<Option<CalendarFormat>, FieldViolation> {
    match pb::CalendarFormat::try_from(number) {
        Ok(pb::CalendarFormat::Unspecified) => Ok(None),
        Ok(pb::CalendarFormat::Icalendar) => Ok(Some(CalendarFormat::Icalendar)),
        Ok(pb::CalendarFormat::Csv) => Ok(Some(CalendarFormat::Csv)),
        Err(_) => {
            let message = "give CALENDAR_FORMAT_ICALENDAR or CALENDAR_FORMAT_CSV, or nothing to have it told";
            Err(FieldViolation::new("format", "UNKNOWN_FORMAT", message))
        }
    }
}

fn style(number: i32) -> Result<Option<CalendarStyle>, FieldViolation> {
    match pb::CalendarStyle::try_from(number) {
        Ok(pb::CalendarStyle::Unspecified) => Ok(None),
        Ok(pb::CalendarStyle::TermDays) => Ok(Some(CalendarStyle::TermDays)),
        Ok(pb::CalendarStyle::Closures) => Ok(Some(CalendarStyle::Closures)),
        Err(_) => {
            let message = "give CALENDAR_STYLE_TERM_DAYS or CALENDAR_STYLE_CLOSURES, or nothing to have it told";
            Err(FieldViolation::new("style", "UNKNOWN_STYLE", message))
        }
    }
}

fn to_calendar(found: SchoolCalendar) -> pb::Calendar {
    let (version, updated_at) = found.stored.unzip();
    pb::Calendar {
        school_id: found.school.school_id.to_string(),
        urn: found.school.urn,
        name: found.school.name,
        etag: version.map(to_etag).unwrap_or_default(),
        updated_at: updated_at.map(to_timestamp),
        ..without_school(&found.calendar, &found.notes)
    }
}

fn without_school(calendar: &CalendarYear, notes: &[DayNote]) -> pb::Calendar {
    let days_of_year = calendar.year.sessions() / 2;
    let mut days: Vec<i32> = calendar
        .days
        .iter()
        .take(DAYS_MAX)
        .map(|kind| i32::from(*kind))
        .collect();
    days.resize(days_of_year, 0);
    pb::Calendar {
        academic_year: i32::from(calendar.year.start_year()),
        given: calendar.given,
        terms: calendar
            .terms
            .iter()
            .map(|term| pb::CalendarTerm {
                name: term.name.clone(),
                first_day: Some(to_date(term.first)),
                last_day: Some(to_date(term.last)),
            })
            .collect(),
        notes: notes
            .iter()
            .map(|note| pb::CalendarNote {
                kind: i32::from(note.kind.byte()),
                first_day: Some(to_date(note.first)),
                last_day: Some(to_date(note.last)),
                label: note.label.clone(),
            })
            .collect(),
        school_days: days_of(&days, DayKind::School),
        days,
        ..pb::Calendar::default()
    }
}

fn days_of(days: &[i32], kind: DayKind) -> i32 {
    count(days.iter().filter(|day| **day == i32::from(kind.byte())).count())
}

fn to_imported(read: ReadCalendar) -> pb::ImportCalendarResponse {
    let calendar = without_school(&read.given.calendar, &read.given.notes);
    let format = match read.format {
        CalendarFormat::Icalendar => pb::CalendarFormat::Icalendar,
        CalendarFormat::Csv => pb::CalendarFormat::Csv,
    };
    let style = match read.style {
        CalendarStyle::TermDays => pb::CalendarStyle::TermDays,
        CalendarStyle::Closures => pb::CalendarStyle::Closures,
    };
    pb::ImportCalendarResponse {
        format: format.into(),
        style: style.into(),
        inset_days: days_of(&calendar.days, DayKind::Inset),
        closure_days: days_of(&calendar.days, DayKind::Closure),
        calendar: Some(calendar),
        entries: count(read.entries),
        entries_outside_year: count(read.entries_outside_year),
        not_understood: read.not_understood.into_iter().map(to_not_understood).collect(),
        not_understood_total: count(read.not_understood_total),
        ..pb::ImportCalendarResponse::default()
    }
}

fn to_not_understood(entry: NotUnderstood) -> pb::CalendarEntryNotUnderstood {
    pb::CalendarEntryNotUnderstood {
        line: count(entry.line),
        label: entry.label,
        reason: entry.reason.name().to_owned(),
        message: entry.reason.message().to_owned(),
    }
}
