//! Thresholds, the return to the local authority, and penalty notices.

use prost::Message as _;
use tonic::Status;
use uuid::Uuid;

use super::convert::{self, to_date, to_session, to_tally, to_timestamp};
use super::page_token;
use crate::domain::session::Session;
use crate::domain::thresholds::{Threshold, ThresholdKind};
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::stages::AsOf;
use crate::service::thresholds::EventQuery;
use crate::service::thresholds::notices::NewNotice;
use crate::service::thresholds::returns::ReturnLine;
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::notices::NoticeRow;
use crate::store::thresholds::EventRow;

const SESSIONS_MAX: usize = 200;

/// What a pupil has reached.
pub(super) async fn of_pupil(
    service: &Service,
    request: pb::ListPupilThresholdsRequest,
) -> Result<pb::ListPupilThresholdsResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let asked = AsOf {
            day: convert::optional_date("as_of", request.as_of.as_ref())?,
            known_at: request
                .known_at
                .as_ref()
                .map(|at| convert::timestamp("known_at", at))
                .transpose()?,
        };
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::pupil_key("pupil", request.pupil.as_ref())?,
            asked,
        ))
    };
    let (trust, pupil, asked) = read().map_err(ServiceError::from)?;
    let found = service.pupil_thresholds(trust, &pupil, asked).await?;
    Ok(pb::ListPupilThresholdsResponse {
        as_of: Some(to_date(found.as_of)),
        academic_year: i32::from(found.year.start_year()),
        thresholds: found.thresholds.into_iter().map(to_threshold).collect(),
        persistent_absence: found.tally.persistently_absent(),
        severe_absence: found.tally.severely_absent(),
        year_tally: Some(to_tally(found.tally)),
    })
}

/// Lists events.
pub(super) async fn list(
    service: &Service,
    request: pb::ListThresholdEventsRequest,
) -> Result<pb::ListThresholdEventsResponse, Status> {
    const LIST: &str = "threshold events";
    let filters = pb::ListThresholdEventsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    }
    .encode_to_vec();
    let read = || -> Result<_, FieldViolation> {
        let query = EventQuery {
            include_cleared: request.include_cleared,
            known_at: request
                .known_at
                .as_ref()
                .map(|at| convert::timestamp("known_at", at))
                .transpose()?,
            ..query(
                &request.school,
                &request.kinds,
                request.from_date.as_ref(),
                request.to_date.as_ref(),
            )?
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page::<(i32, Uuid)>(LIST, &filters, size, token, &service.limits)?;
        Ok((convert::trust_id(&request.trust_id)?, query, page))
    };
    let (trust, query, page) = read().map_err(ServiceError::from)?;
    let page = service.list_threshold_events(trust, &query, page).await?;
    Ok(pb::ListThresholdEventsResponse {
        next_page_token: page_token::encode(LIST, &filters, page.next.as_ref()),
        events: page.rows.into_iter().map(to_event).collect(),
    })
}

/// Writes the return.
pub(super) async fn export(
    service: &Service,
    request: pb::ExportThresholdReturnRequest,
) -> Result<pb::ExportThresholdReturnResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let query = query(
            &request.school,
            &request.kinds,
            request.from_date.as_ref(),
            request.to_date.as_ref(),
        )?;
        Ok((convert::trust_id(&request.trust_id)?, query))
    };
    let (trust, query) = read().map_err(ServiceError::from)?;
    let lines = service.threshold_return(trust, &query).await?;
    let count = convert::count(lines.len());
    let csv = csv_of(&lines).map_err(|_| ServiceError::from(StoreError::Corrupt("a line of a return")))?;
    Ok(pb::ExportThresholdReturnResponse { csv, lines: count })
}

fn query(
    school: &str,
    kinds: &[i32],
    from: Option<&pb::Date>,
    to: Option<&pb::Date>,
) -> Result<EventQuery, FieldViolation> {
    let kinds = kinds.iter().enumerate().map(|(place, number)| {
        let kind = i16::try_from(*number).ok().and_then(ThresholdKind::from_number);
        kind.ok_or_else(|| {
            let field = format!("kinds[{place}]");
            FieldViolation::new(field, "UNKNOWN_THRESHOLD_KIND", "give a kind of the contract")
        })
    });
    let query = EventQuery {
        school: convert::optional_school_key("school", school)?,
        kinds: kinds.collect::<Result<_, _>>()?,
        from: convert::optional_date("from_date", from)?,
        to: convert::optional_date("to_date", to)?,
        include_cleared: false,
        known_at: None,
    };
    if let (Some(from), Some(to)) = (query.from, query.to)
        && to < from
    {
        let message = "give a last day that is not before the first";
        return Err(FieldViolation::new("to_date", "INVALID_DATE_RANGE", message));
    }
    Ok(query)
}

/// A cell that no spreadsheet takes for a formula: neither as it stands, nor with blanks before it, nor in full-width signs.
fn cell(text: &str) -> String {
    let signs = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];
    if text.trim_start().starts_with(signs) || text.starts_with(['\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

fn csv_of(lines: &[ReturnLine]) -> Result<String, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record([
        "Threshold",
        "URN",
        "School",
        "UPN",
        "Surname",
        "Forename",
        "Date of birth",
        "Year group",
        "First session on",
        "Proved on",
        "Sessions",
    ])?;
    for line in lines {
        writer.write_record([
            name_of(line.kind).to_owned(),
            line.urn.clone(),
            cell(&line.school),
            line.upn.clone(),
            cell(&line.family_name),
            cell(&line.given_name),
            line.date_of_birth.map(|born| born.to_string()).unwrap_or_default(),
            line.year_group.to_owned(),
            line.from.to_string(),
            line.to.to_string(),
            line.sessions.to_string(),
        ])?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const fn name_of(kind: ThresholdKind) -> &'static str {
    match kind {
        ThresholdKind::IllnessCumulative => "Illness, 15 days in the year",
        ThresholdKind::IllnessConsecutive => "Illness, 15 days in a row",
        ThresholdKind::IllnessExpected => "Illness, 15 days expected",
        ThresholdKind::UnauthorisedDays => "Unauthorised absence, 10 days in a row",
        ThresholdKind::PenaltyNotice => "Unauthorised absence, 10 sessions in 10 weeks",
        ThresholdKind::AbsencesInRow => "Absences in a row",
        ThresholdKind::Spells => "Spells of absence",
        ThresholdKind::WeekFall => "Fall from one week to the next",
    }
}

/// Records a notice.
pub(super) async fn record_notice(
    service: &Service,
    request: pb::RecordPenaltyNoticeRequest,
) -> Result<pb::RecordPenaltyNoticeResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        if request.sessions.len() > SESSIONS_MAX {
            let message = format!(
                "{} sessions are over the limit of {SESSIONS_MAX}",
                request.sessions.len()
            );
            return Err(FieldViolation::new("sessions", "TOO_MANY", message));
        }
        let sessions = request.sessions.iter().enumerate();
        let sessions = sessions.map(|(place, session)| convert::session(&format!("sessions[{place}]"), Some(session)));
        let mut sessions = sessions.collect::<Result<Vec<Session>, _>>()?;
        sessions.sort_unstable();
        sessions.dedup();
        let notice = NewNotice {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            issued_on: convert::date("issued_on", request.issued_on.as_ref())?,
            reference: convert::text("reference", &request.reference, 0..=100)?,
            sessions,
            by: convert::person("recorded_by", request.recorded_by.as_ref())?,
            request: convert::optional_request_id("request_id", &request.request_id)?,
        };
        Ok((convert::trust_id(&request.trust_id)?, notice))
    };
    let (trust, notice) = read().map_err(ServiceError::from)?;
    let notice = service.record_penalty_notice(trust, &notice).await?;
    Ok(pb::RecordPenaltyNoticeResponse {
        notice: Some(to_notice(notice)?),
    })
}

/// Cancels a notice.
pub(super) async fn cancel_notice(
    service: &Service,
    request: pb::CancelPenaltyNoticeRequest,
) -> Result<pb::CancelPenaltyNoticeResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::uuid("notice_id", &request.notice_id)?,
            convert::text("reason", &request.reason, 1..=500)?,
            convert::person("cancelled_by", request.cancelled_by.as_ref())?,
        ))
    };
    let (trust, notice, reason, by) = read().map_err(ServiceError::from)?;
    let notice = service.cancel_penalty_notice(trust, notice, &reason, &by).await?;
    Ok(pb::CancelPenaltyNoticeResponse {
        notice: Some(to_notice(notice)?),
    })
}

/// Lists notices.
pub(super) async fn list_notices(
    service: &Service,
    request: pb::ListPenaltyNoticesRequest,
) -> Result<pb::ListPenaltyNoticesResponse, Status> {
    const LIST: &str = "penalty notices";
    let filters = format!("{} {:?}", request.trust_id, request.pupil);
    let read = || -> Result<_, FieldViolation> {
        let pupil = match &request.pupil {
            None => None,
            pupil => Some(convert::pupil_key("pupil", pupil.as_ref())?),
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page::<Uuid>(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((convert::trust_id(&request.trust_id)?, pupil, page))
    };
    let (trust, pupil, page) = read().map_err(ServiceError::from)?;
    let page = service.list_penalty_notices(trust, pupil.as_ref(), page).await?;
    let notices = page.rows.into_iter().map(to_notice);
    Ok(pb::ListPenaltyNoticesResponse {
        notices: notices.collect::<Result<_, _>>()?,
        next_page_token: page_token::encode(LIST, filters.as_bytes(), page.next.as_ref()),
    })
}

fn to_threshold(threshold: Threshold) -> pb::Threshold {
    pb::Threshold {
        kind: i32::from(threshold.kind.number()),
        proved_by: Some(to_session(threshold.proved_by.into())),
        sessions: threshold
            .sessions
            .into_iter()
            .map(|session| to_session(session.into()))
            .collect(),
    }
}

pub(super) fn to_event(event: EventRow) -> pb::ThresholdEvent {
    pb::ThresholdEvent {
        event_id: event.event_id.to_string(),
        pupil_id: event.pupil_id.to_string(),
        academic_year: i32::from(event.year.start_year()),
        threshold: Some(to_threshold(event.threshold)),
        raised_at: Some(to_timestamp(event.raised_at)),
        cleared_at: event.cleared_at.map(to_timestamp),
    }
}

pub(super) fn to_notice(row: NoticeRow) -> Result<pb::PenaltyNotice, ServiceError> {
    let sessions = row.sessions()?.into_iter().map(|session| to_session(session.into()));
    let cancelled_by = row.cancelled_by_name.zip(row.cancelled_by_position);
    Ok(pb::PenaltyNotice {
        sessions: sessions.collect(),
        notice_id: row.notice_id.to_string(),
        pupil_id: row.pupil_id.to_string(),
        issued_on: Some(to_date(row.issued_on)),
        reference: row.reference,
        recorded_by: Some(pb::Person {
            name: row.recorded_by_name,
            position: row.recorded_by_position,
            ..pb::Person::default()
        }),
        recorded_at: Some(to_timestamp(row.recorded_at)),
        cancelled_reason: row.cancelled_reason.unwrap_or_default(),
        cancelled_by: cancelled_by.map(|(name, position)| pb::Person {
            name,
            position,
            ..pb::Person::default()
        }),
        cancelled_at: row.cancelled_at.map(to_timestamp),
    })
}
