//! Retention, subject access, erasure and legal holds.

use std::collections::HashMap;
use std::pin::Pin;

use futures::StreamExt as _;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use super::convert::{self, to_etag, to_timestamp};
use super::{jobs, names, page_token};
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::privacy::erasure::{ErasureRequest, ErasureScope};
use crate::service::privacy::legal_holds::NewLegalHold;
use crate::service::privacy::retention::{Retention, RetentionUpdate, RetentionYears};
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::erasures::ErasureRow;
use crate::store::legal_holds::LegalHoldRow;
use crate::store::retention::Removed;

/// The length of a reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 1..=500;

/// What `ExportSubjectData` answers.
pub(super) type ExportStream = Pin<Box<dyn Stream<Item = Result<pb::ExportSubjectDataResponse, Status>> + Send>>;

fn to_person(name: String, position: String) -> pb::Person {
    pb::Person {
        name,
        position,
        ..pb::Person::default()
    }
}

/// Says for how long the trust keeps what it records.
pub(super) async fn get_retention(
    service: &Service,
    request: pb::GetRetentionRequest,
) -> Result<pb::GetRetentionResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let retention = service.retention(trust).await?;
    Ok(pb::GetRetentionResponse {
        retention: Some(to_retention(request.trust_id, retention)),
    })
}

/// Sets it.
pub(super) async fn update_retention(
    service: &Service,
    request: pb::UpdateRetentionRequest,
) -> Result<pb::UpdateRetentionResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let Some(years) = &request.years else {
            let message = "give the years of at least one kind";
            return Err(FieldViolation::new("years", "MISSING_YEARS", message));
        };
        let kind = |field: &str, years: i32| {
            i16::try_from(years).ok().filter(|years| *years >= 0).ok_or_else(|| {
                let message = "give a number of years, or 0 to leave the kind as it is";
                FieldViolation::new(format!("years.{field}"), "INVALID_YEARS", message)
            })
        };
        let update = RetentionUpdate {
            years: RetentionYears {
                registers: kind("registers", years.registers)?,
                actions: kind("actions", years.actions)?,
                history: kind("history", years.history)?,
                pupils: kind("pupils", years.pupils)?,
                requests: kind("requests", years.requests)?,
            },
            reason: convert::text("reason", &request.reason, REASON)?,
            by: convert::person("updated_by", request.updated_by.as_ref())?,
            expected: names::expected_version(&request.etag),
        };
        Ok((convert::trust_id(&request.trust_id)?, update))
    };
    let (trust, update) = read().map_err(ServiceError::from)?;
    let retention = service.update_retention(trust, &update).await?;
    Ok(pb::UpdateRetentionResponse {
        retention: Some(to_retention(request.trust_id, retention)),
    })
}

fn to_retention(trust_id: String, retention: Retention) -> pb::Retention {
    let (etag, years) = (to_etag(retention.version()), retention.years);
    let (reason, updated_by, updated_at) = match retention.set_by {
        None => (String::new(), None, None),
        Some(row) => {
            let by = to_person(row.updated_by_name, row.updated_by_position);
            (row.reason, Some(by), Some(to_timestamp(row.updated_at)))
        }
    };
    pb::Retention {
        trust_id: trust_id.to_lowercase(),
        years: Some(pb::RetentionYears {
            registers: years.registers.into(),
            actions: years.actions.into(),
            history: years.history.into(),
            pupils: years.pupils.into(),
            requests: years.requests.into(),
        }),
        reason,
        updated_by,
        updated_at,
        etag,
    }
}

/// A count of what is removed.
pub(super) fn to_count(count: Removed) -> pb::RetentionCount {
    let kind = match count.kind.as_str() {
        "registers" => pb::RetentionKind::Registers,
        "actions" => pb::RetentionKind::Actions,
        "history" => pb::RetentionKind::History,
        "pupils" => pb::RetentionKind::Pupils,
        "requests" => pb::RetentionKind::Requests,
        _ => pb::RetentionKind::Unspecified,
    };
    pb::RetentionCount {
        kind: kind.into(),
        record: count.record,
        academic_year: count.academic_year,
        count: count.removed,
    }
}

/// Says what would be removed.
pub(super) async fn preview_retention(
    service: &Service,
    request: pb::PreviewRetentionRequest,
) -> Result<pb::PreviewRetentionResponse, Status> {
    let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
    let preview = service.preview_retention(trust).await?;
    Ok(pb::PreviewRetentionResponse {
        counts: preview.removed.into_iter().map(to_count).collect(),
        pupils_under_legal_hold: i64::try_from(preview.under_legal_hold).unwrap_or(i64::MAX),
    })
}

/// Removes it.
pub(super) async fn apply_retention(
    service: &Service,
    request: pb::ApplyRetentionRequest,
) -> Result<pb::ApplyRetentionResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::person("requested_by", request.requested_by.as_ref())?,
            convert::optional_request_id("request_id", &request.request_id)?,
        ))
    };
    let (trust, by, id) = read().map_err(ServiceError::from)?;
    let job = service.apply_retention(trust, &by, id).await?;
    Ok(pb::ApplyRetentionResponse {
        job: Some(jobs::to_job(job)?),
    })
}

/// Exports what is stored about a pupil.
pub(super) async fn export(service: &Service, request: pb::ExportSubjectDataRequest) -> Result<ExportStream, Status> {
    let read = || -> Result<_, FieldViolation> {
        let pupil = convert::pupil_key("pupil", request.pupil.as_ref())?;
        Ok((convert::trust_id(&request.trust_id)?, pupil))
    };
    let (trust, pupil) = read().map_err(ServiceError::from)?;
    let pieces = service.export_subject_data(trust, &pupil).await?;
    let answers = ReceiverStream::new(pieces).map(|piece| {
        let (content, last) = piece?;
        Ok(pb::ExportSubjectDataResponse {
            content: content.into(),
            last,
        })
    });
    Ok(Box::pin(answers))
}

/// Erases what people wrote about a pupil, or who the pupil is.
pub(super) async fn erase_pupil(
    service: &Service,
    request: pb::ErasePupilRequest,
) -> Result<pb::ErasePupilResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let scope = match pb::ErasureScope::try_from(request.scope) {
            Ok(pb::ErasureScope::FreeText) => ErasureScope::FreeText,
            Ok(pb::ErasureScope::Identity) => ErasureScope::Identity,
            _ => {
                let message = "say what to erase: ERASURE_SCOPE_FREE_TEXT or ERASURE_SCOPE_IDENTITY";
                return Err(FieldViolation::new("scope", "UNKNOWN_ERASURE_SCOPE", message));
            }
        };
        let erasure = ErasureRequest {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            scope,
            reason: convert::text("reason", &request.reason, REASON)?,
            by: convert::person("erased_by", request.erased_by.as_ref())?,
            validate_only: request.validate_only,
            request: convert::optional_request_id("request_id", &request.request_id)?,
        };
        Ok((convert::trust_id(&request.trust_id)?, erasure))
    };
    let (trust, asked) = read().map_err(ServiceError::from)?;
    let mut erasure = to_erasure(service.erase_pupil(trust, &asked).await?)?;
    if asked.validate_only {
        erasure.erasure_id.clear();
    }
    Ok(pb::ErasePupilResponse { erasure: Some(erasure) })
}

fn to_erasure(row: ErasureRow) -> Result<pb::Erasure, ServiceError> {
    let scope = match row.scope.as_str() {
        "free_text" => pb::ErasureScope::FreeText,
        "identity" => pb::ErasureScope::Identity,
        _ => return Err(StoreError::Corrupt("erasures.scope").into()),
    };
    let counts: HashMap<String, i64> =
        serde_json::from_value(row.counts).map_err(|_| StoreError::Corrupt("erasures.counts"))?;
    Ok(pb::Erasure {
        erasure_id: row.erasure_id.to_string(),
        pupil_id: row.pupil_id.to_string(),
        scope: scope.into(),
        reason: row.reason,
        erased_by: Some(to_person(row.erased_by_name, row.erased_by_position)),
        erased_at: Some(to_timestamp(row.erased_at)),
        counts: counts.into_iter().filter(|(_, count)| *count > 0).collect(),
    })
}

/// Lists erasures.
pub(super) async fn list_erasures(
    service: &Service,
    request: pb::ListErasuresRequest,
) -> Result<pb::ListErasuresResponse, Status> {
    const LIST: &str = "erasures";
    let filters = format!("{} {}", request.trust_id, request.pupil_id);
    let read = || -> Result<_, FieldViolation> {
        let pupil = match request.pupil_id.as_str() {
            "" => None,
            text => Some(convert::uuid("pupil_id", text)?),
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page::<Uuid>(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((convert::trust_id(&request.trust_id)?, pupil, page))
    };
    let (trust, pupil, page) = read().map_err(ServiceError::from)?;
    let page = service.list_erasures(trust, pupil, page).await?;
    let erasures = page.rows.into_iter().map(to_erasure);
    Ok(pb::ListErasuresResponse {
        erasures: erasures.collect::<Result<_, _>>()?,
        next_page_token: page_token::encode(LIST, filters.as_bytes(), page.next.as_ref()),
    })
}

/// Places a legal hold.
pub(super) async fn place_legal_hold(
    service: &Service,
    request: pb::PlaceLegalHoldRequest,
) -> Result<pb::PlaceLegalHoldResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let asked = NewLegalHold {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            reason: convert::text("reason", &request.reason, REASON)?,
            by: convert::person("placed_by", request.placed_by.as_ref())?,
            request: convert::optional_request_id("request_id", &request.request_id)?,
        };
        Ok((convert::trust_id(&request.trust_id)?, asked))
    };
    let (trust, asked) = read().map_err(ServiceError::from)?;
    let placed = service.place_legal_hold(trust, &asked).await?;
    Ok(pb::PlaceLegalHoldResponse {
        legal_hold: Some(to_legal_hold(placed)),
    })
}

/// Lifts one.
pub(super) async fn lift_legal_hold(
    service: &Service,
    request: pb::LiftLegalHoldRequest,
) -> Result<pb::LiftLegalHoldResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::uuid("legal_hold_id", &request.legal_hold_id)?,
            convert::text("reason", &request.reason, REASON)?,
            convert::person("lifted_by", request.lifted_by.as_ref())?,
        ))
    };
    let (trust, id, reason, by) = read().map_err(ServiceError::from)?;
    let lifted = service.lift_legal_hold(trust, id, &reason, &by).await?;
    Ok(pb::LiftLegalHoldResponse {
        legal_hold: Some(to_legal_hold(lifted)),
    })
}

/// Lists legal holds.
pub(super) async fn list_legal_holds(
    service: &Service,
    request: pb::ListLegalHoldsRequest,
) -> Result<pb::ListLegalHoldsResponse, Status> {
    const LIST: &str = "legal holds";
    let filters = format!("{} {:?} {}", request.trust_id, request.pupil, request.include_lifted);
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
    let page = service
        .list_legal_holds(trust, pupil.as_ref(), request.include_lifted, page)
        .await?;
    Ok(pb::ListLegalHoldsResponse {
        legal_holds: page.rows.into_iter().map(to_legal_hold).collect(),
        next_page_token: page_token::encode(LIST, filters.as_bytes(), page.next.as_ref()),
    })
}

fn to_legal_hold(row: LegalHoldRow) -> pb::LegalHold {
    let placed = row.placed;
    let (lifted_reason, lifted_by, lifted_at) = match row.lifted {
        None => (String::new(), None, None),
        Some(lifted) => {
            let by = to_person(lifted.lifted_by_name, lifted.lifted_by_position);
            (lifted.reason, Some(by), Some(to_timestamp(lifted.lifted_at)))
        }
    };
    pb::LegalHold {
        legal_hold_id: placed.legal_hold_id.to_string(),
        pupil_id: placed.pupil_id.to_string(),
        reason: placed.reason,
        placed_by: Some(to_person(placed.placed_by_name, placed.placed_by_position)),
        placed_at: Some(to_timestamp(placed.placed_at)),
        lifted_reason,
        lifted_by,
        lifted_at,
    }
}
