//! `PupilService`: pupils and their enrolments.

use tonic::{Request, Response, Status};

use super::convert::{self, to_date, to_etag, to_rejection, to_timestamp, to_warning};
use super::fingerprint::fingerprint;
use super::{names, page_token, pupil_changes, update_mask};
use crate::domain::identifiers::{MisIdentifier, PupilId};
use crate::domain::pupil::EnrolmentKind;
use crate::proto as pb;
use crate::proto::pupil_service_server::PupilService;
use crate::service::error::FieldViolation;
use crate::service::pupils::{Enrolment, EnrolmentInput, Pupil, PupilChanges, PupilInput, UpsertRequest};
use crate::service::{Service, ServiceError};

const PUPIL_PATHS: [&str; 5] = ["given_name", "family_name", "date_of_birth", "year_group", "upn"];

/// Serves `PupilService`.
pub struct PupilHandler {
    service: Service,
}

impl PupilHandler {
    /// Serves the use cases of `service`.
    pub fn new(service: Service) -> PupilHandler {
        PupilHandler { service }
    }
}

#[tonic::async_trait]
impl PupilService for PupilHandler {
    async fn get_pupil(&self, request: Request<pb::GetPupilRequest>) -> Result<Response<pb::GetPupilResponse>, Status> {
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let key = convert::pupil_key("pupil", request.pupil.as_ref()).map_err(ServiceError::from)?;
        let pupil = self.service.get_pupil(trust, key).await?;
        Ok(Response::new(pb::GetPupilResponse {
            pupil: Some(to_pupil(pupil)),
        }))
    }

    async fn list_pupils(
        &self,
        request: Request<pb::ListPupilsRequest>,
    ) -> Result<Response<pb::ListPupilsResponse>, Status> {
        const LIST: &str = "pupils";
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let school = convert::optional_school_key("school", &request.school).map_err(ServiceError::from)?;
        let filters = [trust.0.as_bytes(), request.school.as_bytes()].concat();
        let limits = &self.service.limits;
        let page = page_token::page(LIST, &filters, request.page_size, &request.page_token, limits)
            .map_err(ServiceError::from)?;
        let page = self.service.list_pupils(trust, school, page).await?;
        Ok(Response::new(pb::ListPupilsResponse {
            next_page_token: page_token::encode(LIST, &filters, page.next.as_ref()),
            pupils: page.rows.into_iter().map(to_pupil).collect(),
        }))
    }

    async fn create_pupil(
        &self,
        request: Request<pb::CreatePupilRequest>,
    ) -> Result<Response<pb::CreatePupilResponse>, Status> {
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let missing = || ServiceError::invalid("pupil", "MISSING_PUPIL", "give the pupil");
        let input = pupil_input(request.pupil.as_ref().ok_or_else(missing)?).map_err(|mut violation| {
            violation.field.insert_str(0, "pupil.");
            ServiceError::from(violation)
        })?;
        let (pupil, warnings) = self.service.create_pupil(trust, &input).await?;
        Ok(Response::new(pb::CreatePupilResponse {
            pupil: Some(to_pupil(pupil)),
            warnings: warnings.into_iter().map(to_warning).collect(),
        }))
    }

    async fn update_pupil(
        &self,
        request: Request<pb::UpdatePupilRequest>,
    ) -> Result<Response<pb::UpdatePupilResponse>, Status> {
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let paths = update_mask::paths(request.update_mask.as_ref(), &PUPIL_PATHS).map_err(ServiceError::from)?;
        let pupil = request.pupil.unwrap_or_default();
        let pupil_id = convert::uuid("pupil.pupil_id", &pupil.pupil_id)
            .map(PupilId)
            .map_err(ServiceError::from)?;
        let changes = pupil_changes(&pupil, &paths).map_err(ServiceError::from)?;
        let expected = names::expected_version(&pupil.etag);
        let (pupil, warnings) = self.service.update_pupil(trust, pupil_id, &changes, expected).await?;
        Ok(Response::new(pb::UpdatePupilResponse {
            pupil: Some(to_pupil(pupil)),
            warnings: warnings.into_iter().map(to_warning).collect(),
        }))
    }

    async fn batch_upsert_pupils(
        &self,
        request: Request<pb::BatchUpsertPupilsRequest>,
    ) -> Result<Response<pb::BatchUpsertPupilsResponse>, Status> {
        let mut request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let request_id = std::mem::take(&mut request.request_id);
        let request_id = convert::request_id("request_id", &request_id).map_err(ServiceError::from)?;
        let batch = UpsertRequest {
            request_id,
            fingerprint: fingerprint("BatchUpsertPupils", &request),
            items: request.pupils.iter().map(pupil_input).collect(),
            all_or_nothing: request.all_or_nothing,
        };
        let recorded = self.service.upsert_pupils(trust, &batch).await?;
        let outcome = recorded.outcome;
        // No batch has more items than an i32 counts.
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let id = |id: Option<uuid::Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        Ok(Response::new(pb::BatchUpsertPupilsResponse {
            receipt: Some(pb::Receipt {
                request_id: recorded.request_id.to_string(),
                recorded_at: Some(to_timestamp(recorded.recorded_at)),
                replayed: recorded.replayed,
            }),
            created: count(outcome.created),
            updated: count(outcome.updated),
            unchanged: count(outcome.unchanged),
            rejected: count(outcome.rejections.len()),
            rejections: outcome.rejections.into_iter().map(to_rejection).collect(),
            warnings: outcome.warnings.into_iter().map(to_warning).collect(),
            pupil_ids: outcome.pupil_ids.into_iter().map(id).collect(),
            warnings_total: count(outcome.warnings_total),
        }))
    }

    async fn transfer_pupil(
        &self,
        request: Request<pb::TransferPupilRequest>,
    ) -> Result<Response<pb::TransferPupilResponse>, Status> {
        Ok(Response::new(
            pupil_changes::transfer(&self.service, request.into_inner()).await?,
        ))
    }

    async fn end_enrolment(
        &self,
        request: Request<pb::EndEnrolmentRequest>,
    ) -> Result<Response<pb::EndEnrolmentResponse>, Status> {
        Ok(Response::new(
            pupil_changes::end(&self.service, request.into_inner()).await?,
        ))
    }

    async fn reopen_enrolment(
        &self,
        request: Request<pb::ReopenEnrolmentRequest>,
    ) -> Result<Response<pb::ReopenEnrolmentResponse>, Status> {
        Ok(Response::new(
            pupil_changes::reopen(&self.service, request.into_inner()).await?,
        ))
    }

    async fn merge_pupils(
        &self,
        request: Request<pb::MergePupilsRequest>,
    ) -> Result<Response<pb::MergePupilsResponse>, Status> {
        Ok(Response::new(
            pupil_changes::merge(&self.service, request.into_inner()).await?,
        ))
    }

    async fn unmerge_pupils(
        &self,
        request: Request<pb::UnmergePupilsRequest>,
    ) -> Result<Response<pb::UnmergePupilsResponse>, Status> {
        Ok(Response::new(
            pupil_changes::unmerge(&self.service, request.into_inner()).await?,
        ))
    }

    async fn reassign_mis_identifier(
        &self,
        request: Request<pb::ReassignMisIdentifierRequest>,
    ) -> Result<Response<pb::ReassignMisIdentifierResponse>, Status> {
        Ok(Response::new(
            pupil_changes::reassign(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_pupil_changes(
        &self,
        request: Request<pb::ListPupilChangesRequest>,
    ) -> Result<Response<pb::ListPupilChangesResponse>, Status> {
        Ok(Response::new(
            pupil_changes::list(&self.service, request.into_inner()).await?,
        ))
    }
}

/// A pupil as a caller's system holds it, or the first thing that is wrong with it.
pub(super) fn pupil_input(message: &pb::PupilInput) -> Result<PupilInput, FieldViolation> {
    let mis_identifiers = message
        .mis_identifiers
        .iter()
        .enumerate()
        .map(|(place, identifier)| convert::mis_identifier(&format!("mis_identifiers[{place}]"), identifier));
    let enrolments = message.enrolments.iter().enumerate();
    Ok(PupilInput {
        upn: convert::upn("upn", &message.upn)?,
        mis_identifiers: mis_identifiers.collect::<Result<Vec<MisIdentifier>, _>>()?,
        given_name: names::pupil_name("given_name", &message.given_name)?,
        family_name: names::pupil_name("family_name", &message.family_name)?,
        date_of_birth: convert::optional_date("date_of_birth", message.date_of_birth.as_ref())?,
        year_group: year_group("year_group", message.year_group)?,
        enrolments: enrolments
            .map(|(place, enrolment)| enrolment_input(&format!("enrolments[{place}]"), enrolment))
            .collect::<Result<_, _>>()?,
    })
}

fn enrolment_input(field: &str, message: &pb::Enrolment) -> Result<EnrolmentInput, FieldViolation> {
    // A text that could be no school's is refused as one that is none's.
    let school =
        convert::school_key(&format!("{field}.school"), &message.school).map_err(|violation| FieldViolation {
            reason: "UNKNOWN_SCHOOL",
            ..violation
        })?;
    let start = convert::optional_date(&format!("{field}.start_date"), message.start_date.as_ref())?;
    Ok(EnrolmentInput {
        school,
        kind: enrolment_kind(field, message.kind)?,
        start: start.ok_or_else(|| {
            let message = "give the first day on roll: an enrolment is matched by school and first day";
            FieldViolation::new(format!("{field}.start_date"), "ENROLMENT_WITHOUT_START", message)
        })?,
        end: convert::optional_date(&format!("{field}.end_date"), message.end_date.as_ref())?,
    })
}

/// What sort of enrolment it is, by its number in the contract; sole where none is given.
pub(super) fn enrolment_kind(field: &str, number: i32) -> Result<EnrolmentKind, FieldViolation> {
    if number == i32::from(pb::EnrolmentKind::Unspecified) {
        return Ok(EnrolmentKind::Sole);
    }
    i16::try_from(number)
        .ok()
        .and_then(EnrolmentKind::from_number)
        .ok_or_else(|| {
            let message = "give sole, main or subsidiary, or leave it out for sole";
            FieldViolation::new(format!("{field}.kind"), "INVALID_ENROLMENT_KIND", message)
        })
}

/// A year group, by its number in the contract; nothing where none is given.
fn year_group(field: &str, number: i32) -> Result<Option<i16>, FieldViolation> {
    match (pb::YearGroup::try_from(number), i16::try_from(number)) {
        (Ok(pb::YearGroup::Unspecified), _) => Ok(None),
        (Ok(_), Ok(number)) => Ok(Some(number)),
        _ => Err(FieldViolation::new(
            field,
            "INVALID_YEAR_GROUP",
            "give a year group of the contract, N1 to year 14, or leave it out",
        )),
    }
}

fn pupil_changes(pupil: &pb::Pupil, paths: &[&str]) -> Result<PupilChanges, FieldViolation> {
    let mut changes = PupilChanges::default();
    for path in paths {
        match *path {
            "given_name" => changes.given_name = Some(names::pupil_name("pupil.given_name", &pupil.given_name)?),
            "family_name" => changes.family_name = Some(names::pupil_name("pupil.family_name", &pupil.family_name)?),
            "date_of_birth" => {
                let date = convert::optional_date("pupil.date_of_birth", pupil.date_of_birth.as_ref())?;
                changes.date_of_birth = Some(date);
            }
            "year_group" => changes.year_group = Some(year_group("pupil.year_group", pupil.year_group)?),
            _ => changes.upn = Some(convert::upn("pupil.upn", &pupil.upn)?),
        }
    }
    Ok(changes)
}

/// A pupil as the contract gives it.
pub(super) fn to_pupil(pupil: Pupil) -> pb::Pupil {
    let mis_identifiers = pupil.mis_identifiers.into_iter().map(|identifier| pb::MisIdentifier {
        source: identifier.source,
        value: identifier.value,
    });
    pb::Pupil {
        pupil_id: pupil.id.to_string(),
        upn: pupil.upn.unwrap_or_default(),
        mis_identifiers: mis_identifiers.collect(),
        given_name: pupil.given_name,
        family_name: pupil.family_name,
        date_of_birth: pupil.date_of_birth.map(to_date),
        year_group: pupil.year_group.map(i32::from).unwrap_or_default(),
        enrolments: pupil.enrolments.into_iter().map(to_enrolment).collect(),
        etag: to_etag(pupil.version),
        created_at: Some(to_timestamp(pupil.created_at)),
        updated_at: Some(to_timestamp(pupil.updated_at)),
        erased_at: pupil.erased_at.map(to_timestamp),
    }
}

fn to_enrolment(enrolment: Enrolment) -> pb::Enrolment {
    pb::Enrolment {
        enrolment_id: enrolment.id.to_string(),
        school: enrolment.span.school.to_string(),
        kind: i32::from(enrolment.span.kind.number()),
        start_date: Some(to_date(enrolment.span.start)),
        end_date: enrolment.span.end.map(to_date),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(year: i32, month: i32, day: i32) -> Option<pb::Date> {
        Some(pb::Date { year, month, day })
    }

    fn valid() -> pb::PupilInput {
        pb::PupilInput {
            upn: "Q999100125001".to_owned(),
            year_group: pb::YearGroup::N1.into(),
            enrolments: vec![pb::Enrolment {
                school: "100001".to_owned(),
                start_date: date(2025, 9, 1),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn refused(change: impl FnOnce(&mut pb::PupilInput)) -> (String, &'static str) {
        let mut message = valid();
        change(&mut message);
        let violation = pupil_input(&message).unwrap_err();
        (violation.field, violation.reason)
    }

    #[test]
    fn an_enrolment_without_a_kind_is_the_only_one() {
        let input = pupil_input(&valid()).unwrap();
        assert_eq!(input.enrolments[0].kind, EnrolmentKind::Sole);
        assert_eq!(input.year_group, Some(1));
    }

    #[test]
    fn an_item_that_cannot_be_read_is_told_which_field_is_wrong() {
        let expected = |field: &str, reason: &'static str| (field.to_owned(), reason);
        assert_eq!(refused(|item| item.upn = "1".into()), expected("upn", "INVALID_UPN"));
        assert_eq!(
            refused(|item| item.mis_identifiers = vec![pb::MisIdentifier::default()]),
            expected("mis_identifiers[0]", "INVALID_MIS_IDENTIFIER")
        );
        assert_eq!(
            refused(|item| item.family_name = "x".repeat(201)),
            expected("family_name", "TEXT_TOO_LONG")
        );
        assert_eq!(
            refused(|item| item.date_of_birth = date(2019, 2, 29)),
            expected("date_of_birth", "INVALID_DATE")
        );
        assert_eq!(
            refused(|item| item.year_group = 18),
            expected("year_group", "INVALID_YEAR_GROUP")
        );
        assert_eq!(
            refused(|item| item.year_group = -1),
            expected("year_group", "INVALID_YEAR_GROUP")
        );
        assert_eq!(
            refused(|item| item.enrolments[0].school = "nowhere".into()),
            expected("enrolments[0].school", "UNKNOWN_SCHOOL")
        );
        assert_eq!(
            refused(|item| item.enrolments[0].start_date = None),
            expected("enrolments[0].start_date", "ENROLMENT_WITHOUT_START")
        );
        assert_eq!(
            refused(|item| item.enrolments[0].kind = 4),
            expected("enrolments[0].kind", "INVALID_ENROLMENT_KIND")
        );
    }
}
