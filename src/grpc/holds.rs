//! Holds: made, listed and ended.

use chrono::NaiveDate;
use tonic::Status;
use uuid::Uuid;

use super::convert::{self, to_date, to_timestamp};
use super::page_token;
use crate::domain::hold::HoldKind;
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::holds::NewHold;
use crate::service::{Service, ServiceError};
use crate::store::StoreError;
use crate::store::holds::HoldRow;

/// The length of a reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 1..=500;

/// Holds a pupil.
pub(super) async fn create(
    service: &Service,
    request: pb::CreateHoldRequest,
) -> Result<pb::CreateHoldResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let kind = pb::HoldKind::try_from(request.kind).unwrap_or_default();
        let stage = convert::stage(request.stage).filter(|stage| stage.number() > 0);
        let kind = match (kind, stage, request.stage) {
            (pb::HoldKind::AtLeast, Some(stage), _) => HoldKind::AtLeast(stage),
            (pb::HoldKind::AtLeast, None, _) => {
                return Err(FieldViolation::new(
                    "stage",
                    "UNKNOWN_STAGE",
                    "give the stage to hold at, 1 to 5",
                ));
            }
            (pb::HoldKind::DelayFall, _, 0) => HoldKind::DelayFall,
            (pb::HoldKind::DelayFall, ..) => {
                let message = "leave the stage out: a fall is delayed from whatever stage the pupil is at";
                return Err(FieldViolation::new("stage", "STAGE_NOT_TAKEN", message));
            }
            (pb::HoldKind::Unspecified | pb::HoldKind::ConfirmFall, ..) => {
                let message = "hold at least at a stage, or delay a fall; ConfirmFall confirms one";
                return Err(FieldViolation::new("kind", "UNKNOWN_HOLD_KIND", message));
            }
        };
        let hold = NewHold {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            kind,
            to: Some(convert::date("to_date", request.to_date.as_ref())?),
            reason: convert::text("reason", &request.reason, REASON)?,
            by: convert::person("created_by", request.created_by.as_ref())?,
            request: convert::optional_request_id("request_id", &request.request_id)?,
        };
        Ok((convert::trust_id(&request.trust_id)?, hold))
    };
    let (trust, hold) = read().map_err(ServiceError::from)?;
    let hold = service.create_hold(trust, &hold).await?;
    Ok(pb::CreateHoldResponse {
        hold: Some(to_hold(hold)?),
    })
}

/// Confirms a fall.
pub(super) async fn confirm_fall(
    service: &Service,
    request: pb::ConfirmFallRequest,
) -> Result<pb::ConfirmFallResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        let hold = NewHold {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            kind: HoldKind::ConfirmFall,
            to: None,
            reason: convert::text("reason", &request.reason, REASON)?,
            by: convert::person("confirmed_by", request.confirmed_by.as_ref())?,
            request: convert::optional_request_id("request_id", &request.request_id)?,
        };
        Ok((convert::trust_id(&request.trust_id)?, hold))
    };
    let (trust, hold) = read().map_err(ServiceError::from)?;
    let hold = service.create_hold(trust, &hold).await?;
    Ok(pb::ConfirmFallResponse {
        hold: Some(to_hold(hold)?),
    })
}

/// Lists holds.
pub(super) async fn list(service: &Service, request: pb::ListHoldsRequest) -> Result<pb::ListHoldsResponse, Status> {
    const LIST: &str = "holds";
    let filters = format!("{} {:?} {}", request.trust_id, request.pupil, request.include_ended);
    let read = || -> Result<_, FieldViolation> {
        let trust = convert::trust_id(&request.trust_id)?;
        let pupil = match &request.pupil {
            None => None,
            pupil => Some(convert::pupil_key("pupil", pupil.as_ref())?),
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page::<(NaiveDate, Uuid)>(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((trust, pupil, page))
    };
    let (trust, pupil, page) = read().map_err(ServiceError::from)?;
    let page = service
        .list_holds(trust, pupil.as_ref(), request.include_ended, page)
        .await?;
    let holds = page.rows.into_iter().map(to_hold);
    Ok(pb::ListHoldsResponse {
        holds: holds.collect::<Result<_, _>>()?,
        next_page_token: page_token::encode(LIST, filters.as_bytes(), page.next.as_ref()),
    })
}

/// Ends a hold.
pub(super) async fn end(service: &Service, request: pb::EndHoldRequest) -> Result<pb::EndHoldResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::uuid("hold_id", &request.hold_id)?,
            convert::text("reason", &request.reason, REASON)?,
            convert::person("ended_by", request.ended_by.as_ref())?,
        ))
    };
    let (trust, hold, reason, by) = read().map_err(ServiceError::from)?;
    let hold = service.end_hold(trust, hold, &reason, &by).await?;
    Ok(pb::EndHoldResponse {
        hold: Some(to_hold(hold)?),
    })
}

pub(super) fn to_hold(row: HoldRow) -> Result<pb::Hold, ServiceError> {
    let kind = HoldKind::from_numbers(row.kind, row.stage).ok_or(StoreError::Corrupt("holds.kind"))?;
    let (kind, stage) = match kind {
        HoldKind::AtLeast(stage) => (pb::HoldKind::AtLeast, Some(stage)),
        HoldKind::DelayFall => (pb::HoldKind::DelayFall, None),
        HoldKind::ConfirmFall => (pb::HoldKind::ConfirmFall, None),
    };
    let ended_by = row.ended_by_name.zip(row.ended_by_position);
    Ok(pb::Hold {
        hold_id: row.hold_id.to_string(),
        pupil_id: row.pupil_id.to_string(),
        kind: kind.into(),
        stage: stage.map_or(0, |stage| convert::to_stage(stage).into()),
        from_date: Some(to_date(row.starts_on)),
        to_date: Some(to_date(row.ends_on)),
        reason: row.reason,
        created_by: Some(pb::Person {
            name: row.created_by_name,
            position: row.created_by_position,
            ..pb::Person::default()
        }),
        created_at: Some(to_timestamp(row.created_at)),
        ended_on: row.ended_on.map(to_date),
        ended_reason: row.ended_reason.unwrap_or_default(),
        ended_by: ended_by.map(|(name, position)| pb::Person {
            name,
            position,
            ..pb::Person::default()
        }),
        ended_at: row.ended_at.map(to_timestamp),
    })
}
