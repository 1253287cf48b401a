//! Pupils who move: transfers, ends of enrolments, merges, identifiers reassigned, and the list of all of these.

use prost::Message;
use tonic::Status;
use uuid::Uuid;

use super::convert::{self, count, to_date, to_timestamp};
use super::fingerprint::fingerprint;
use super::page_token;
use super::pupils::{enrolment_kind, pupil_input, to_pupil};
use crate::domain::identifiers::{EnrolmentId, PupilId, PupilKey, TrustId};
use crate::proto as pb;
use crate::service::error::FieldViolation;
use crate::service::pupils::{
    Decision, EndRequest, MergeRequest, NewOwner, Pupil, ReassignRequest, ReopenRequest, TransferRequest,
    UnmergeRequest,
};
use crate::service::recorded::Recorded;
use crate::service::{Service, ServiceError};
use crate::store::merges::Merge;
use crate::store::pupil_changes::{Change, ChangeKind};
use crate::store::pupils::KIND_UPN;

/// The length of a reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 1..=500;

/// Who decides and why, of a request whose `request_id` was taken out.
fn decision(
    method: &str,
    request: &impl Message,
    request_id: &str,
    reason: &str,
    by: Option<&pb::Person>,
) -> Result<Decision, FieldViolation> {
    Ok(Decision {
        reason: convert::text("reason", reason, REASON)?,
        by: convert::person("changed_by", by)?,
        request_id: convert::request_id("request_id", request_id)?,
        fingerprint: fingerprint(method, request),
    })
}

fn to_receipt<T>(recorded: &Recorded<T>) -> pb::Receipt {
    pb::Receipt {
        request_id: recorded.request_id.to_string(),
        recorded_at: Some(to_timestamp(recorded.recorded_at)),
        replayed: recorded.replayed,
    }
}

async fn pupil(service: &Service, trust: TrustId, pupil: Uuid) -> Result<Pupil, ServiceError> {
    service.get_pupil(trust, PupilKey::Id(PupilId(pupil))).await
}

/// Moves a pupil to another school.
pub(super) async fn transfer(
    service: &Service,
    mut request: pb::TransferPupilRequest,
) -> Result<pb::TransferPupilResponse, Status> {
    let request_id = std::mem::take(&mut request.request_id);
    let read = || -> Result<_, FieldViolation> {
        let transfer = TransferRequest {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            from: convert::school_key("from_school", &request.from_school)?,
            to: convert::school_key("to_school", &request.to_school)?,
            start: convert::date("start_date", request.start_date.as_ref())?,
            last: convert::optional_date("last_date", request.last_date.as_ref())?,
            kind: match request.kind {
                0 => None,
                kind => Some(enrolment_kind("kind", kind)?),
            },
            correction: convert::correction("correction", request.correction.as_ref())?,
            decision: decision(
                "TransferPupil",
                &request,
                &request_id,
                &request.reason,
                request.changed_by.as_ref(),
            )?,
        };
        Ok((convert::trust_id(&request.trust_id)?, transfer))
    };
    let (trust, transfer) = read().map_err(ServiceError::from)?;
    let recorded = service.transfer_pupil(trust, &transfer).await?;
    let pupil = pupil(service, trust, recorded.outcome.pupil_id).await?;
    Ok(pb::TransferPupilResponse {
        receipt: Some(to_receipt(&recorded)),
        pupil: Some(to_pupil(pupil)),
        marks_cleared: count(recorded.outcome.marks_cleared),
    })
}

/// Ends an enrolment.
pub(super) async fn end(
    service: &Service,
    mut request: pb::EndEnrolmentRequest,
) -> Result<pb::EndEnrolmentResponse, Status> {
    let request_id = std::mem::take(&mut request.request_id);
    let read = || -> Result<_, FieldViolation> {
        let end = EndRequest {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            school: convert::school_key("school", &request.school)?,
            last: convert::date("last_date", request.last_date.as_ref())?,
            correction: convert::correction("correction", request.correction.as_ref())?,
            decision: decision(
                "EndEnrolment",
                &request,
                &request_id,
                &request.reason,
                request.changed_by.as_ref(),
            )?,
        };
        Ok((convert::trust_id(&request.trust_id)?, end))
    };
    let (trust, end) = read().map_err(ServiceError::from)?;
    let recorded = service.end_enrolment(trust, &end).await?;
    let pupil = pupil(service, trust, recorded.outcome.pupil_id).await?;
    Ok(pb::EndEnrolmentResponse {
        receipt: Some(to_receipt(&recorded)),
        pupil: Some(to_pupil(pupil)),
        marks_cleared: count(recorded.outcome.marks_cleared),
    })
}

/// Takes the end of an enrolment away.
pub(super) async fn reopen(
    service: &Service,
    mut request: pb::ReopenEnrolmentRequest,
) -> Result<pb::ReopenEnrolmentResponse, Status> {
    let request_id = std::mem::take(&mut request.request_id);
    let read = || -> Result<_, FieldViolation> {
        let reopen = ReopenRequest {
            pupil: convert::pupil_key("pupil", request.pupil.as_ref())?,
            enrolment: EnrolmentId(convert::uuid("enrolment_id", &request.enrolment_id)?),
            decision: decision(
                "ReopenEnrolment",
                &request,
                &request_id,
                &request.reason,
                request.changed_by.as_ref(),
            )?,
        };
        Ok((convert::trust_id(&request.trust_id)?, reopen))
    };
    let (trust, reopen) = read().map_err(ServiceError::from)?;
    let recorded = service.reopen_enrolment(trust, &reopen).await?;
    let pupil = pupil(service, trust, recorded.outcome.pupil_id).await?;
    Ok(pb::ReopenEnrolmentResponse {
        receipt: Some(to_receipt(&recorded)),
        pupil: Some(to_pupil(pupil)),
    })
}

/// Makes one of two pupils.
pub(super) async fn merge(
    service: &Service,
    mut request: pb::MergePupilsRequest,
) -> Result<pb::MergePupilsResponse, Status> {
    let request_id = std::mem::take(&mut request.request_id);
    let read = || -> Result<_, FieldViolation> {
        let merge = MergeRequest {
            survivor: convert::pupil_key("survivor", request.survivor.as_ref())?,
            merged: convert::pupil_key("merged", request.merged.as_ref())?,
            decision: decision(
                "MergePupils",
                &request,
                &request_id,
                &request.reason,
                request.changed_by.as_ref(),
            )?,
        };
        Ok((convert::trust_id(&request.trust_id)?, merge))
    };
    let (trust, merge) = read().map_err(ServiceError::from)?;
    let recorded = service.merge_pupils(trust, &merge).await?;
    let survivor = pupil(service, trust, recorded.outcome.survivor_id).await?;
    let merge = service.pupil_merge(trust, recorded.outcome.merge_id).await?;
    Ok(pb::MergePupilsResponse {
        receipt: Some(to_receipt(&recorded)),
        pupil: Some(to_pupil(survivor)),
        merge: Some(to_merge(merge)),
    })
}

/// Undoes a merge.
pub(super) async fn unmerge(
    service: &Service,
    mut request: pb::UnmergePupilsRequest,
) -> Result<pb::UnmergePupilsResponse, Status> {
    let request_id = std::mem::take(&mut request.request_id);
    let read = || -> Result<_, FieldViolation> {
        let unmerge = UnmergeRequest {
            merge_id: convert::uuid("merge_id", &request.merge_id)?,
            decision: decision(
                "UnmergePupils",
                &request,
                &request_id,
                &request.reason,
                request.changed_by.as_ref(),
            )?,
        };
        Ok((convert::trust_id(&request.trust_id)?, unmerge))
    };
    let (trust, unmerge) = read().map_err(ServiceError::from)?;
    let recorded = service.unmerge_pupils(trust, &unmerge).await?;
    let survivor = pupil(service, trust, recorded.outcome.survivor_id).await?;
    let merged = pupil(service, trust, recorded.outcome.merged_id).await?;
    let merge = service.pupil_merge(trust, recorded.outcome.merge_id).await?;
    Ok(pb::UnmergePupilsResponse {
        receipt: Some(to_receipt(&recorded)),
        survivor: Some(to_pupil(survivor)),
        merged: Some(to_pupil(merged)),
        merge: Some(to_merge(merge)),
    })
}

/// Gives an MIS identifier to another pupil.
pub(super) async fn reassign(
    service: &Service,
    mut request: pb::ReassignMisIdentifierRequest,
) -> Result<pb::ReassignMisIdentifierResponse, Status> {
    use pb::reassign_mis_identifier_request::To;
    let request_id = std::mem::take(&mut request.request_id);
    let read = || -> Result<_, FieldViolation> {
        let identifier = request.mis_identifier.clone().unwrap_or_default();
        let to = match &request.to {
            Some(To::ToPupil(key)) => NewOwner::Pupil(convert::pupil_key("to_pupil", Some(key))?),
            Some(To::NewPupil(input)) => NewOwner::New(Box::new(pupil_input(input).map_err(|mut violation| {
                violation.field.insert_str(0, "new_pupil.");
                violation
            })?)),
            None => {
                let message = "say whom the identifier names from now on: a pupil that is there, or a new one";
                return Err(FieldViolation::new("to_pupil", "MISSING_PUPIL", message));
            }
        };
        let reassign = ReassignRequest {
            identifier: convert::mis_identifier("mis_identifier", &identifier)?,
            last: convert::date("last_date", request.last_date.as_ref())?,
            to,
            decision: decision(
                "ReassignMisIdentifier",
                &request,
                &request_id,
                &request.reason,
                request.changed_by.as_ref(),
            )?,
        };
        Ok((convert::trust_id(&request.trust_id)?, reassign))
    };
    let (trust, reassign) = read().map_err(ServiceError::from)?;
    let recorded = service.reassign_mis_identifier(trust, &reassign).await?;
    let now = pupil(service, trust, recorded.outcome.pupil_id).await?;
    let former = pupil(service, trust, recorded.outcome.former_pupil_id).await?;
    Ok(pb::ReassignMisIdentifierResponse {
        receipt: Some(to_receipt(&recorded)),
        pupil: Some(to_pupil(now)),
        former_pupil: Some(to_pupil(former)),
    })
}

/// Lists what people did to a pupil.
pub(super) async fn list(
    service: &Service,
    request: pb::ListPupilChangesRequest,
) -> Result<pb::ListPupilChangesResponse, Status> {
    const LIST: &str = "pupil_changes";
    let filters = pb::ListPupilChangesRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    }
    .encode_to_vec();
    let read = || -> Result<_, FieldViolation> {
        let (size, token) = (request.page_size, &request.page_token);
        Ok((
            convert::trust_id(&request.trust_id)?,
            convert::pupil_key("pupil", request.pupil.as_ref())?,
            page_token::page(LIST, &filters, size, token, &service.limits)?,
        ))
    };
    let (trust, pupil, page) = read().map_err(ServiceError::from)?;
    let page = service.list_pupil_changes(trust, &pupil, page).await?;
    Ok(pb::ListPupilChangesResponse {
        next_page_token: page_token::encode(LIST, &filters, page.next.as_ref()),
        changes: page.rows.into_iter().map(to_change).collect(),
    })
}

fn ids(ids: Vec<Uuid>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

fn to_merge(merge: Merge) -> pb::PupilMerge {
    let moved = merge.moved;
    let (upns, mis): (Vec<_>, Vec<_>) = moved
        .identifiers
        .into_iter()
        .partition(|identifier| identifier.kind == KIND_UPN);
    pb::PupilMerge {
        merge_id: merge.merge_id.to_string(),
        survivor_id: merge.survivor_id.to_string(),
        merged_id: merge.merged_id.to_string(),
        enrolment_ids: ids(moved.enrolments),
        upns: upns.into_iter().map(|identifier| identifier.value).collect(),
        mis_identifiers: mis
            .into_iter()
            .map(|identifier| pb::MisIdentifier {
                source: identifier.source,
                value: identifier.value,
            })
            .collect(),
        episodes: moved
            .episodes
            .into_iter()
            .map(|episode| pb::MovedEpisode {
                former_episode: episode.from,
                episode: episode.to,
                ended: episode.ended,
            })
            .collect(),
        hold_ids: ids(moved.holds),
        notice_ids: ids(moved.notices),
        merged_at: Some(to_timestamp(merge.merged_at)),
        unmerged_at: merge.unmerged_at.map(to_timestamp),
    }
}

pub(super) fn to_change(change: Change) -> pb::PupilChange {
    let details = change.details;
    let kind = match change.kind {
        ChangeKind::Transferred => pb::PupilChangeKind::Transferred,
        ChangeKind::EnrolmentEnded => pb::PupilChangeKind::EnrolmentEnded,
        ChangeKind::EnrolmentReopened => pb::PupilChangeKind::EnrolmentReopened,
        ChangeKind::Merged => pb::PupilChangeKind::Merged,
        ChangeKind::Unmerged => pb::PupilChangeKind::Unmerged,
        ChangeKind::IdentifierReassigned => pb::PupilChangeKind::IdentifierReassigned,
    };
    let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
    pb::PupilChange {
        change_id: change.change_id.to_string(),
        pupil_id: change.pupil_id.to_string(),
        kind: kind.into(),
        enrolment_id: id(details.enrolment_id),
        new_enrolment_id: id(details.new_enrolment_id),
        last_date: details.last_date.map(to_date),
        former_last_date: details.former_last_date.map(to_date),
        marks_cleared: count(details.marks_cleared),
        merge_id: id(details.merge_id),
        other_pupil_id: id(details.other_pupil_id),
        mis_identifier: details.mis_identifier().map(|identifier| pb::MisIdentifier {
            source: identifier.source,
            value: identifier.value,
        }),
        to_this_pupil: details.to_this_pupil,
        reason: change.reason,
        changed_by: Some(pb::Person {
            name: change.by.name,
            position: change.by.position,
            ..pb::Person::default()
        }),
        recorded_at: Some(to_timestamp(change.recorded_at)),
        request_id: change.request_id.to_string(),
    }
}
