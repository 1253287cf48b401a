//! Reconciliations: taken as a stream, shown, approved and discarded.

use prost::Message as _;
use sha2::{Digest, Sha256};
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::convert::{self, count, to_date, to_rejection, to_stage, to_timestamp};
use super::{names, page_token};
use crate::domain::identifiers::{PupilKey, TrustId};
use crate::domain::reconciliation::Stop;
use crate::domain::register::{CLEAR, LEAVE};
use crate::domain::session::AcademicYear;
use crate::domain::stage::Stage;
use crate::proto as pb;
use crate::service::error::{FieldViolation, Rejection};
use crate::service::sessions::{
    LimitsAsked, Reconciled, ReconciliationItem, ReconciliationQuery, ReconciliationRequest, check_codes,
};
use crate::service::{Limits, Page, Service, ServiceError};
use crate::store::reconciliations::{PlannedPupil, ReconciliationState};

/// The length of a reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 1..=500;

/// How many pupils come with an answer that is no page.
const PUPILS_SHOWN: usize = 100;

/// The most marks of one upload: more than those of a whole year of five thousand pupils.
const MARKS_MAX: usize = 4_000_000;

const PUPILS: &str = "reconciliation_pupils";

/// Takes the whole of a school's registers.
pub(super) async fn reconcile(
    service: &Service,
    mut stream: Streaming<pb::ReconcileRegistersRequest>,
) -> Result<pb::ReconcileRegistersResponse, Status> {
    use pb::reconcile_registers_request::Part;
    let header = match stream.message().await?.and_then(|message| message.part) {
        Some(Part::Header(header)) => header,
        _ => {
            let message = "the first message of the stream says what the upload is the whole of";
            return Err(ServiceError::invalid("header", "MISSING_HEADER", message).into());
        }
    };
    let (trust, mut request) = read_header(&header).map_err(ServiceError::from)?;
    let mut upload = Upload::new(&header, service.limits);
    while let Some(message) = stream.message().await? {
        match message.part {
            Some(Part::Items(items)) => upload.take(items, &mut request).map_err(ServiceError::from)?,
            _ => {
                let message = "every message after the first holds items";
                return Err(ServiceError::invalid("items", "MISSING_ITEMS", message).into());
            }
        }
    }
    request.fingerprint = upload.digest.finalize().to_vec();
    let (recorded, found) = service.reconcile_registers(trust, &request).await?;
    let (pupils, next_page_token) = first_pupils(service, trust, &found).await?;
    Ok(pb::ReconcileRegistersResponse {
        receipt: Some(pb::Receipt {
            request_id: recorded.request_id.to_string(),
            recorded_at: Some(to_timestamp(recorded.recorded_at)),
            replayed: recorded.replayed,
        }),
        reconciliation: Some(to_reconciliation(found)),
        pupils,
        next_page_token,
    })
}

fn read_header(header: &pb::ReconciliationHeader) -> Result<(TrustId, ReconciliationRequest), FieldViolation> {
    let from = convert::date("header.from_date", header.from_date.as_ref())?;
    let to = convert::date("header.to_date", header.to_date.as_ref())?;
    if to < from {
        let message = "the last day is before the first: give a last day that is not";
        return Err(FieldViolation::new("header.to_date", "INVALID_DATE_RANGE", message));
    }
    let year = AcademicYear::containing(from);
    if year.is_none() || AcademicYear::containing(to) != year {
        let message = "give dates of one academic year, 1 August to 31 July: send each year by itself";
        return Err(FieldViolation::new("header.to_date", "OUTSIDE_ACADEMIC_YEAR", message));
    }
    let missing = || {
        let message = "say why, and who, by name and position: it is kept with every mark that changes";
        FieldViolation::new("header.correction", "CORRECTION_REQUIRED", message)
    };
    let limits = header.limits.unwrap_or_default();
    let request = ReconciliationRequest {
        request_id: convert::request_id("header.request_id", &header.request_id)?,
        fingerprint: Vec::new(),
        school: convert::school_key("header.school", &header.school)?,
        from,
        to,
        correction: convert::correction("header.correction", header.correction.as_ref())?.ok_or_else(missing)?,
        limits: LimitsAsked {
            removed_marks_max: limit("removed_marks_max", limits.removed_marks_max)?,
            restaged_pupils_max: limit("restaged_pupils_max", limits.restaged_pupils_max)?,
            removed_tenths_max: limit("removed_tenths_max", limits.removed_tenths_max)?,
        },
        items: Vec::new(),
        refused: Vec::new(),
    };
    let trust = convert::uuid("header.trust_id", &header.trust_id).map(TrustId)?;
    Ok((trust, request))
}

fn limit<T: TryFrom<i32>>(field: &str, limit: Option<i32>) -> Result<Option<T>, FieldViolation> {
    let read = |limit: i32| {
        T::try_from(limit).map_err(|_| {
            let field = format!("header.limits.{field}");
            FieldViolation::new(
                field,
                "INVALID_LIMIT",
                "give 0 or more, or leave it out for what the policy says",
            )
        })
    };
    limit.map(read).transpose()
}

/// What was read of an upload.
struct Upload {
    limits: Limits,
    items: usize,
    marks: usize,
    /// Of what was asked for, whatever its name and however it was cut into messages.
    digest: Sha256,
}

impl Upload {
    fn new(header: &pb::ReconciliationHeader, limits: Limits) -> Upload {
        let unnamed = pb::ReconciliationHeader {
            request_id: String::new(),
            ..header.clone()
        };
        Upload {
            limits,
            items: 0,
            marks: 0,
            digest: Sha256::new()
                .chain_update("ReconcileRegisters")
                .chain_update([0])
                .chain_update(unnamed.encode_length_delimited_to_vec()),
        }
    }

    fn take(
        &mut self,
        message: pb::ReconciliationItems,
        request: &mut ReconciliationRequest,
    ) -> Result<(), FieldViolation> {
        for item in message.items {
            let item_index = self.items;
            self.items += 1;
            self.marks += item.marks.len();
            if self.items > self.limits.session_items_max || self.marks > MARKS_MAX {
                let message = format!(
                    "an upload holds {} items and {MARKS_MAX} marks at the most: send fewer dates at once",
                    self.limits.session_items_max
                );
                return Err(FieldViolation::new("items", "BATCH_TOO_LARGE", message));
            }
            self.digest.update(item.encode_length_delimited_to_vec());
            match read_item(item_index, &item) {
                Ok(item) => request.items.push(item),
                Err(violation) => {
                    let rejection = Rejection::new(item_index, violation.field, violation.reason, violation.message);
                    let pupil: Option<PupilKey> = convert::pupil_key("pupil", item.pupil.as_ref()).ok();
                    request.refused.push((rejection, pupil));
                }
            }
        }
        Ok(())
    }
}

fn read_item(item_index: usize, item: &pb::ReconciliationItem) -> Result<ReconciliationItem, FieldViolation> {
    let pupil = convert::pupil_key("pupil", item.pupil.as_ref())?;
    let first_session = convert::session("first_session", item.first_session.as_ref())?;
    let place = AcademicYear::containing(first_session.date)
        .and_then(|year| year.index_of(first_session).map(|first| (year, first)));
    let (year, first) = place.ok_or_else(|| {
        FieldViolation::new(
            "first_session.date",
            "INVALID_DATE",
            "give a date within the dates of the upload",
        )
    })?;
    let mut marks = check_codes(year, first, &item.marks)?;
    for mark in marks.iter_mut().filter(|mark| **mark == CLEAR) {
        *mark = LEAVE;
    }
    Ok(ReconciliationItem {
        item_index,
        pupil,
        year,
        first,
        marks,
        school: convert::optional_school_key("school", &item.school)?,
    })
}

/// Approves a reconciliation.
pub(super) async fn approve(
    service: &Service,
    request: pb::ApproveReconciliationRequest,
) -> Result<pb::ApproveReconciliationResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::uuid("reconciliation_id", &request.reconciliation_id)?,
            etag(&request.etag)?,
            convert::person("approved_by", request.approved_by.as_ref())?,
        ))
    };
    let (trust, id, version, by) = read().map_err(ServiceError::from)?;
    let found = service.approve_reconciliation(trust, id, version, &by).await?;
    let (pupils, next_page_token) = first_pupils(service, trust, &found).await?;
    Ok(pb::ApproveReconciliationResponse {
        reconciliation: Some(to_reconciliation(found)),
        pupils,
        next_page_token,
    })
}

/// Discards a reconciliation.
pub(super) async fn discard(
    service: &Service,
    request: pb::DiscardReconciliationRequest,
) -> Result<pb::DiscardReconciliationResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::uuid("reconciliation_id", &request.reconciliation_id)?,
            etag(&request.etag)?,
            convert::text("reason", &request.reason, REASON)?,
            convert::person("discarded_by", request.discarded_by.as_ref())?,
        ))
    };
    let (trust, id, version, reason, by) = read().map_err(ServiceError::from)?;
    let found = service.discard_reconciliation(trust, id, version, &reason, &by).await?;
    Ok(pb::DiscardReconciliationResponse {
        reconciliation: Some(to_reconciliation(found)),
    })
}

/// A reconciliation with a page of its pupils.
pub(super) async fn get(
    service: &Service,
    request: pb::GetReconciliationRequest,
) -> Result<pb::GetReconciliationResponse, Status> {
    let read = || -> Result<_, FieldViolation> {
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::uuid("reconciliation_id", &request.reconciliation_id)?,
        ))
    };
    let (trust, id) = read().map_err(ServiceError::from)?;
    let found = service.reconciliation(trust, id).await?;
    let filters = pupil_filters(trust, &found);
    let (size, token) = (request.page_size, &request.page_token);
    let page =
        page_token::page(PUPILS, filters.as_bytes(), size, token, &service.limits).map_err(ServiceError::from)?;
    let (pupils, next_page_token) = pupils(service, trust, &found, page).await?;
    Ok(pb::GetReconciliationResponse {
        reconciliation: Some(to_reconciliation(found)),
        pupils,
        next_page_token,
    })
}

/// Lists reconciliations.
pub(super) async fn list(
    service: &Service,
    request: pb::ListReconciliationsRequest,
) -> Result<pb::ListReconciliationsResponse, Status> {
    const LIST: &str = "reconciliations";
    let filters = format!("{} {} {}", request.trust_id, request.school, request.state);
    let read = || -> Result<_, FieldViolation> {
        use pb::ReconciliationState as State;
        let query = ReconciliationQuery {
            school: convert::optional_school_key("school", &request.school)?,
            state: match State::try_from(request.state) {
                Ok(State::Unspecified) => None,
                Ok(State::AwaitingApproval) => Some(ReconciliationState::AwaitingApproval),
                Ok(State::Applied) => Some(ReconciliationState::Applied),
                Ok(State::Discarded) => Some(ReconciliationState::Discarded),
                Err(_) => {
                    let message = "give a state of the contract, or leave it out for all";
                    return Err(FieldViolation::new("state", "UNKNOWN_STATE", message));
                }
            },
        };
        let (size, token) = (request.page_size, &request.page_token);
        let page = page_token::page(LIST, filters.as_bytes(), size, token, &service.limits)?;
        Ok((convert::trust_id(&request.trust_id)?, query, page))
    };
    let (trust, query, page) = read().map_err(ServiceError::from)?;
    let page = service.list_reconciliations(trust, &query, page).await?;
    Ok(pb::ListReconciliationsResponse {
        next_page_token: page_token::encode(LIST, filters.as_bytes(), page.next.as_ref()),
        reconciliations: page.rows.into_iter().map(to_reconciliation).collect(),
    })
}

/// What is approved or discarded is what was shown, so that an etag has to be given.
fn etag(etag: &str) -> Result<i64, FieldViolation> {
    names::expected_version(etag).ok_or_else(|| {
        let message = "give the etag of the reconciliation as it was shown";
        FieldViolation::new("etag", "MISSING_ETAG", message)
    })
}

/// A page goes on within the plan that it began with.
fn pupil_filters(trust: TrustId, found: &Reconciled) -> String {
    format!("{trust} {} {}", found.row.reconciliation_id, found.row.plan_number)
}

async fn first_pupils(
    service: &Service,
    trust: TrustId,
    found: &Reconciled,
) -> Result<(Vec<pb::ReconciliationPupil>, String), ServiceError> {
    let page = Page {
        size: PUPILS_SHOWN.min(service.limits.page_size_max),
        after: None,
    };
    pupils(service, trust, found, page).await
}

async fn pupils(
    service: &Service,
    trust: TrustId,
    found: &Reconciled,
    page: Page<Uuid>,
) -> Result<(Vec<pb::ReconciliationPupil>, String), ServiceError> {
    let page = service.reconciliation_pupils(trust, found, page).await?;
    let filters = pupil_filters(trust, found);
    let token = page_token::encode(PUPILS, filters.as_bytes(), page.next.as_ref());
    Ok((page.rows.into_iter().map(to_planned).collect(), token))
}

fn to_planned(pupil: PlannedPupil) -> pb::ReconciliationPupil {
    let stage = |stage: Option<Stage>| stage.map_or(0, |stage| to_stage(stage).into());
    pb::ReconciliationPupil {
        pupil_id: pupil.pupil_id.to_string(),
        marks_new: count(pupil.marks_new),
        marks_changed: count(pupil.marks_changed),
        marks_removed: count(pupil.removed.len()),
        marks_unchanged: count(pupil.marks_unchanged),
        from_stage: stage(pupil.moves.map(|(from, _)| from)),
        to_stage: stage(pupil.moves.map(|(_, to)| to)),
        missing: pupil.missing,
    }
}

fn to_reconciliation(found: Reconciled) -> pb::Reconciliation {
    let (row, plan) = (found.row, found.plan);
    let state = match found.state {
        ReconciliationState::AwaitingApproval => pb::ReconciliationState::AwaitingApproval,
        ReconciliationState::Applied => pb::ReconciliationState::Applied,
        ReconciliationState::Discarded => pb::ReconciliationState::Discarded,
    };
    let stop = |stop: &Stop| -> i32 {
        match stop {
            Stop::RemovedMarks => pb::ReconciliationStop::RemovedMarks,
            Stop::RemovedShare => pb::ReconciliationStop::RemovedShare,
            Stop::RestagedPupils => pb::ReconciliationStop::RestagedPupils,
            Stop::Rejections => pb::ReconciliationStop::Rejections,
            Stop::MoreThanApproved => pb::ReconciliationStop::MoreThanApproved,
        }
        .into()
    };
    let marks = |marks: u64| i64::try_from(marks).unwrap_or(i64::MAX);
    let stage = |number: u8| {
        let stage = Stage::from_number(i16::from(number));
        stage.map_or(0, |stage| to_stage(stage).into())
    };
    let decided_by = row.decided_by_name.zip(row.decided_by_position);
    pb::Reconciliation {
        reconciliation_id: row.reconciliation_id.to_string(),
        school_id: row.school_id.to_string(),
        from_date: Some(to_date(row.from_date)),
        to_date: Some(to_date(row.to_date)),
        state: state.into(),
        stops: plan.stops.iter().map(stop).collect(),
        limits: Some(pb::ReconciliationLimits {
            removed_marks_max: Some(count(found.limits.removed_marks_max)),
            restaged_pupils_max: Some(count(found.limits.restaged_pupils_max)),
            removed_tenths_max: Some(found.limits.removed_tenths_max.into()),
        }),
        pupils_compared: count(plan.pupils_compared),
        pupils_touched: count(plan.pupils_touched),
        pupils_missing: count(plan.pupils_missing),
        pupils_left: count(plan.left.len()),
        marks_new: marks(plan.marks_new),
        marks_changed: marks(plan.marks_changed),
        marks_removed: marks(plan.marks_removed),
        marks_unchanged: marks(plan.marks_unchanged),
        restaged_pupils: count(plan.restaged()),
        moves: plan
            .moves
            .iter()
            .map(|(from, to, pupils)| pb::ReconciliationMove {
                from_stage: stage(*from),
                to_stage: stage(*to),
                pupils: count(*pupils),
            })
            .collect(),
        rejections: plan.rejections.into_iter().map(to_rejection).collect(),
        rejected: count(plan.rejected),
        correction: Some(pb::Correction {
            reason: row.reason,
            corrected_by: Some(pb::Person {
                name: row.requested_by_name,
                position: row.requested_by_position,
                ..pb::Person::default()
            }),
        }),
        decided_by: decided_by.map(|(name, position)| pb::Person {
            name,
            position,
            ..pb::Person::default()
        }),
        decision_reason: row.decision_reason.unwrap_or_default(),
        created_at: Some(to_timestamp(row.created_at)),
        updated_at: Some(to_timestamp(row.updated_at)),
        request_id: row.request_id.to_string(),
        etag: convert::to_etag(row.version),
    }
}
