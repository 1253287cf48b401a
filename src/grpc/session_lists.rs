//! Lists of sessions: revisions, N that stayed N, sessions that two schools marked.

use prost::Message as _;
use tonic::Status;

use super::convert::{self, count, to_session, to_timestamp};
use super::page_token;
use super::sessions::academic_year;
use crate::domain::register::CLEAR;
use crate::domain::session::AcademicYear;
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::sessions::{DoublyMarked, DoublyMarkedQuery, RevisionQuery, UnexplainedAbsence};
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::revisions::{Revision, RevisionOrder};

/// Lists revisions.
pub(super) async fn revisions(
    service: &Service,
    request: pb::ListRevisionsRequest,
) -> Result<pb::ListRevisionsResponse, Status> {
    const LIST: &str = "ListRevisions";
    let filters = pb::ListRevisionsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    }
    .encode_to_vec();
    let read = || -> Result<_, FieldViolation> {
        let instant = |field: &str, instant: &Option<prost_types::Timestamp>| {
            instant
                .as_ref()
                .map(|instant| convert::timestamp(field, instant))
                .transpose()
        };
        let query = RevisionQuery {
            pupil: match &request.pupil {
                Some(pupil) => Some(convert::pupil_key("pupil", Some(pupil))?),
                None => None,
            },
            school: convert::optional_school_key("school", &request.school)?,
            from: convert::optional_date("from_date", request.from_date.as_ref())?,
            to: convert::optional_date("to_date", request.to_date.as_ref())?,
            recorded_from: instant("recorded_from", &request.recorded_from)?,
            recorded_before: instant("recorded_before", &request.recorded_before)?,
            order: match pb::RevisionOrder::try_from(request.order) {
                Ok(pb::RevisionOrder::Unspecified | pb::RevisionOrder::Recorded) => RevisionOrder::Recorded,
                Ok(pb::RevisionOrder::Session) => RevisionOrder::Session,
                Err(_) => {
                    let message = "give an order of the contract, or leave it out";
                    return Err(FieldViolation::new("order", "UNKNOWN_ORDER", message));
                }
            },
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page(LIST, &filters, size, token, &service.limits)?;
        Ok((convert::trust_id(&request.trust_id)?, query, page))
    };
    let (trust, query, page) = read().map_err(ServiceError::from)?;
    let page = service.list_revisions(trust, &query, page).await?;
    Ok(pb::ListRevisionsResponse {
        next_page_token: page_token::encode(LIST, &filters, page.next.as_ref()),
        revisions: page.rows.into_iter().map(to_revision).collect::<Result<_, _>>()?,
    })
}

/// Lists the sessions that are still marked N.
pub(super) async fn unexplained(
    service: &Service,
    request: pb::ListUnexplainedAbsencesRequest,
) -> Result<pb::ListUnexplainedAbsencesResponse, Status> {
    const LIST: &str = "ListUnexplainedAbsences";
    let filters = format!("{} {} {}", request.trust_id, request.school, request.academic_year);
    let read = || -> Result<_, FieldViolation> {
        let (size, token) = (request.page_size, &request.page_token);
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::optional_school_key("school", &request.school)?,
            optional_year(request.academic_year)?,
            page_token::page(LIST, filters.as_bytes(), size, token, &service.limits)?,
        ))
    };
    let (trust, school, year, page) = read().map_err(ServiceError::from)?;
    let page = service
        .list_unexplained_absences(trust, school.as_ref(), year, page)
        .await?;
    Ok(pb::ListUnexplainedAbsencesResponse {
        next_page_token: page_token::encode(LIST, filters.as_bytes(), page.next.as_ref()),
        absences: page.rows.into_iter().map(to_absence).collect(),
    })
}

/// Lists the sessions that two schools marked.
pub(super) async fn doubly_marked(
    service: &Service,
    request: pb::ListDoublyMarkedSessionsRequest,
) -> Result<pb::ListDoublyMarkedSessionsResponse, Status> {
    const LIST: &str = "ListDoublyMarkedSessions";
    let filters = pb::ListDoublyMarkedSessionsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    }
    .encode_to_vec();
    let read = || -> Result<_, FieldViolation> {
        let query = DoublyMarkedQuery {
            school: convert::optional_school_key("school", &request.school)?,
            pupil: match &request.pupil {
                Some(pupil) => Some(convert::pupil_key("pupil", Some(pupil))?),
                None => None,
            },
            year: optional_year(request.academic_year)?,
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page(LIST, &filters, size, token, &service.limits)?;
        Ok((convert::trust_id(&request.trust_id)?, query, page))
    };
    let (trust, query, page) = read().map_err(ServiceError::from)?;
    let page = service.list_doubly_marked(trust, &query, page).await?;
    Ok(pb::ListDoublyMarkedSessionsResponse {
        next_page_token: page_token::encode(LIST, &filters, page.next.as_ref()),
        sessions: page.rows.into_iter().map(to_doubly_marked).collect(),
    })
}

fn optional_year(year: i32) -> Result<Option<AcademicYear>, FieldViolation> {
    match year {
        0 => Ok(None),
        year => academic_year(year).map(Some),
    }
}

fn to_absence(absence: UnexplainedAbsence) -> pb::UnexplainedAbsence {
    pb::UnexplainedAbsence {
        pupil_id: absence.pupil_id.to_string(),
        enrolment_id: absence.enrolment_id.to_string(),
        school_id: absence.school_id.to_string(),
        session: Some(to_session(absence.session.into())),
        school_days: count(absence.school_days),
    }
}

fn to_doubly_marked(found: DoublyMarked) -> pb::DoublyMarkedSession {
    let marks = found.marks.into_iter().map(|mark| pb::SchoolMark {
        school_id: mark.school.to_string(),
        enrolment_id: mark.enrolment.to_string(),
        code: i32::from(mark.mark),
    });
    pb::DoublyMarkedSession {
        pupil_id: found.pupil_id.to_string(),
        session: Some(to_session(found.session.into())),
        marks: marks.collect(),
    }
}

pub(super) fn to_revision(revision: Revision) -> Result<pb::Revision, ServiceError> {
    let corrupt = || StoreError::Corrupt("mark_revisions");
    let year = AcademicYear::from_start_year(i32::from(revision.academic_year)).ok_or_else(corrupt)?;
    let index = usize::try_from(revision.session_index).map_err(|_| corrupt())?;
    // A mark that was taken away is told from one that never was.
    let code = |byte: i16| if byte == 0 { i32::from(CLEAR) } else { i32::from(byte) };
    Ok(pb::Revision {
        revision_id: revision.revision_id.to_string(),
        pupil_id: revision.pupil_id.to_string(),
        enrolment_id: revision.enrolment_id.to_string(),
        session: Some(to_session(year.session_at(index).into())),
        old_code: code(revision.old_code),
        new_code: code(revision.new_code),
        correction: Some(pb::Correction {
            reason: revision.reason,
            corrected_by: Some(pb::Person {
                name: revision.corrected_by_name,
                position: revision.corrected_by_position,
                ..pb::Person::default()
            }),
        }),
        recorded_at: Some(to_timestamp(revision.recorded_at)),
        request_id: revision.request_id.to_string(),
        school_id: revision.school_id.to_string(),
    })
}
