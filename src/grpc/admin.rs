//! `AdminService`: trusts, schools, and the service itself.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::convert::{self, to_date, to_etag, to_timestamp};
use super::{calendars, catalogues, holds, jobs, names, page_token, policies, privacy, update_mask};
use crate::domain::identifiers::{IdentifierError, Laestab, SchoolId, TrustId};
use crate::proto as pb;
use crate::proto::admin_service_server::AdminService;
use crate::service::error::FieldViolation;
use crate::service::schools::{NewSchool, Phase, SESSION_MINUTES_DEFAULT, SchoolChanges};
use crate::service::{Service, ServiceError};
use crate::store::schools::SchoolRow;
use crate::store::trusts::TrustRow;

const TRUST_PATHS: [&str; 1] = ["name"];
const SCHOOL_PATHS: [&str; 4] = ["name", "phase", "laestab", "session_minutes"];
const SESSION_MINUTES: std::ops::RangeInclusive<i16> = 1..=480;

/// Serves `AdminService`.
pub struct AdminHandler {
    service: Service,
}

impl AdminHandler {
    /// Serves the use cases of `service`.
    pub fn new(service: Service) -> AdminHandler {
        AdminHandler { service }
    }
}

#[tonic::async_trait]
impl AdminService for AdminHandler {
    async fn create_trust(
        &self,
        request: Request<pb::CreateTrustRequest>,
    ) -> Result<Response<pb::CreateTrustResponse>, Status> {
        let request = request.into_inner();
        let trust_id = new_trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let name = names::name("name", &request.name).map_err(ServiceError::from)?;
        let trust = self.service.create_trust(trust_id, name).await?;
        Ok(Response::new(pb::CreateTrustResponse {
            trust: Some(to_trust(trust)),
        }))
    }

    async fn get_trust(&self, request: Request<pb::GetTrustRequest>) -> Result<Response<pb::GetTrustResponse>, Status> {
        let trust = convert::trust_id(&request.into_inner().trust_id).map_err(ServiceError::from)?;
        let trust = self.service.get_trust(trust).await?;
        Ok(Response::new(pb::GetTrustResponse {
            trust: Some(to_trust(trust)),
        }))
    }

    async fn list_trusts(
        &self,
        request: Request<pb::ListTrustsRequest>,
    ) -> Result<Response<pb::ListTrustsResponse>, Status> {
        const LIST: &str = "trusts";
        let request = request.into_inner();
        let limits = &self.service.limits;
        let page = page_token::page::<Uuid>(LIST, &[], request.page_size, &request.page_token, limits)
            .map_err(ServiceError::from)?;
        let page = self.service.list_trusts(page).await?;
        Ok(Response::new(pb::ListTrustsResponse {
            next_page_token: page_token::encode(LIST, &[], page.next.as_ref()),
            trusts: page.rows.into_iter().map(to_trust).collect(),
        }))
    }

    async fn update_trust(
        &self,
        request: Request<pb::UpdateTrustRequest>,
    ) -> Result<Response<pb::UpdateTrustResponse>, Status> {
        let request = request.into_inner();
        update_mask::paths(request.update_mask.as_ref(), &TRUST_PATHS).map_err(ServiceError::from)?;
        let trust = request.trust.unwrap_or_default();
        let trust_id = convert::uuid("trust.trust_id", &trust.trust_id)
            .map(TrustId)
            .map_err(ServiceError::from)?;
        let name = names::name("trust.name", &trust.name).map_err(ServiceError::from)?;
        let expected = names::expected_version(&trust.etag);
        let trust = self.service.update_trust(trust_id, name, expected).await?;
        Ok(Response::new(pb::UpdateTrustResponse {
            trust: Some(to_trust(trust)),
        }))
    }

    async fn create_school(
        &self,
        request: Request<pb::CreateSchoolRequest>,
    ) -> Result<Response<pb::CreateSchoolResponse>, Status> {
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let school = new_school(request.school.as_ref()).map_err(ServiceError::Invalid)?;
        let school = self.service.create_school(trust, school).await?;
        Ok(Response::new(pb::CreateSchoolResponse {
            school: Some(to_school(school)),
        }))
    }

    async fn get_school(
        &self,
        request: Request<pb::GetSchoolRequest>,
    ) -> Result<Response<pb::GetSchoolResponse>, Status> {
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let school = convert::school_key("school", &request.school).map_err(ServiceError::from)?;
        let school = self.service.get_school(trust, school).await?;
        Ok(Response::new(pb::GetSchoolResponse {
            school: Some(to_school(school)),
        }))
    }

    async fn list_schools(
        &self,
        request: Request<pb::ListSchoolsRequest>,
    ) -> Result<Response<pb::ListSchoolsResponse>, Status> {
        const LIST: &str = "schools";
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let filters = trust.0.as_bytes();
        let limits = &self.service.limits;
        let page = page_token::page(LIST, filters, request.page_size, &request.page_token, limits)
            .map_err(ServiceError::from)?;
        let page = self.service.list_schools(trust, page).await?;
        Ok(Response::new(pb::ListSchoolsResponse {
            next_page_token: page_token::encode(LIST, filters, page.next.as_ref()),
            schools: page.rows.into_iter().map(to_school).collect(),
        }))
    }

    async fn update_school(
        &self,
        request: Request<pb::UpdateSchoolRequest>,
    ) -> Result<Response<pb::UpdateSchoolResponse>, Status> {
        let request = request.into_inner();
        let trust = convert::trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let paths = update_mask::paths(request.update_mask.as_ref(), &SCHOOL_PATHS).map_err(ServiceError::from)?;
        let school = request.school.unwrap_or_default();
        let school_id = convert::uuid("school.school_id", &school.school_id)
            .map(SchoolId)
            .map_err(ServiceError::from)?;
        let changes = school_changes(&school, &paths).map_err(ServiceError::from)?;
        let expected = names::expected_version(&school.etag);
        let school = self.service.update_school(trust, school_id, changes, expected).await?;
        Ok(Response::new(pb::UpdateSchoolResponse {
            school: Some(to_school(school)),
        }))
    }

    async fn get_server_info(
        &self,
        _request: Request<pb::GetServerInfoRequest>,
    ) -> Result<Response<pb::GetServerInfoResponse>, Status> {
        let clock = &self.service.clock;
        Ok(Response::new(pb::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            today: Some(to_date(clock.today())),
            clock_set: clock.is_set(),
        }))
    }

    async fn create_policy(
        &self,
        request: Request<pb::CreatePolicyRequest>,
    ) -> Result<Response<pb::CreatePolicyResponse>, Status> {
        Ok(Response::new(
            policies::create(&self.service, request.into_inner()).await?,
        ))
    }

    async fn update_policy(
        &self,
        request: Request<pb::UpdatePolicyRequest>,
    ) -> Result<Response<pb::UpdatePolicyResponse>, Status> {
        Ok(Response::new(
            policies::update(&self.service, request.into_inner()).await?,
        ))
    }

    async fn get_policy(
        &self,
        request: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::GetPolicyResponse>, Status> {
        Ok(Response::new(policies::get(&self.service, request.into_inner()).await?))
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        Ok(Response::new(
            policies::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_policy_activations(
        &self,
        request: Request<pb::ListPolicyActivationsRequest>,
    ) -> Result<Response<pb::ListPolicyActivationsResponse>, Status> {
        Ok(Response::new(
            policies::list_activations(&self.service, request.into_inner()).await?,
        ))
    }

    async fn preview_policy(
        &self,
        request: Request<pb::PreviewPolicyRequest>,
    ) -> Result<Response<pb::PreviewPolicyResponse>, Status> {
        Ok(Response::new(
            policies::preview(&self.service, request.into_inner()).await?,
        ))
    }

    async fn activate_policy(
        &self,
        request: Request<pb::ActivatePolicyRequest>,
    ) -> Result<Response<pb::ActivatePolicyResponse>, Status> {
        Ok(Response::new(
            policies::activate(&self.service, request.into_inner()).await?,
        ))
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::GetJobResponse>, Status> {
        Ok(Response::new(jobs::get(&self.service, request.into_inner()).await?))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Result<Response<pb::ListJobsResponse>, Status> {
        Ok(Response::new(jobs::list(&self.service, request.into_inner()).await?))
    }

    async fn create_hold(
        &self,
        request: Request<pb::CreateHoldRequest>,
    ) -> Result<Response<pb::CreateHoldResponse>, Status> {
        Ok(Response::new(holds::create(&self.service, request.into_inner()).await?))
    }

    async fn list_holds(
        &self,
        request: Request<pb::ListHoldsRequest>,
    ) -> Result<Response<pb::ListHoldsResponse>, Status> {
        Ok(Response::new(holds::list(&self.service, request.into_inner()).await?))
    }

    async fn end_hold(&self, request: Request<pb::EndHoldRequest>) -> Result<Response<pb::EndHoldResponse>, Status> {
        Ok(Response::new(holds::end(&self.service, request.into_inner()).await?))
    }

    async fn confirm_fall(
        &self,
        request: Request<pb::ConfirmFallRequest>,
    ) -> Result<Response<pb::ConfirmFallResponse>, Status> {
        Ok(Response::new(
            holds::confirm_fall(&self.service, request.into_inner()).await?,
        ))
    }

    type WatchJobStream = jobs::WatchJobStream;

    async fn watch_job(&self, request: Request<pb::WatchJobRequest>) -> Result<Response<Self::WatchJobStream>, Status> {
        Ok(Response::new(jobs::watch(&self.service, request.into_inner()).await?))
    }

    async fn create_catalogue(
        &self,
        request: Request<pb::CreateCatalogueRequest>,
    ) -> Result<Response<pb::CreateCatalogueResponse>, Status> {
        Ok(Response::new(
            catalogues::create(&self.service, request.into_inner()).await?,
        ))
    }

    async fn get_catalogue(
        &self,
        request: Request<pb::GetCatalogueRequest>,
    ) -> Result<Response<pb::GetCatalogueResponse>, Status> {
        Ok(Response::new(
            catalogues::get(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_catalogues(
        &self,
        request: Request<pb::ListCataloguesRequest>,
    ) -> Result<Response<pb::ListCataloguesResponse>, Status> {
        Ok(Response::new(
            catalogues::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn activate_catalogue(
        &self,
        request: Request<pb::ActivateCatalogueRequest>,
    ) -> Result<Response<pb::ActivateCatalogueResponse>, Status> {
        Ok(Response::new(
            catalogues::activate(&self.service, request.into_inner()).await?,
        ))
    }

    async fn get_calendar(
        &self,
        request: Request<pb::GetCalendarRequest>,
    ) -> Result<Response<pb::GetCalendarResponse>, Status> {
        Ok(Response::new(
            calendars::get(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_calendars(
        &self,
        request: Request<pb::ListCalendarsRequest>,
    ) -> Result<Response<pb::ListCalendarsResponse>, Status> {
        Ok(Response::new(
            calendars::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn update_calendar(
        &self,
        request: Request<pb::UpdateCalendarRequest>,
    ) -> Result<Response<pb::UpdateCalendarResponse>, Status> {
        Ok(Response::new(
            calendars::update(&self.service, request.into_inner()).await?,
        ))
    }

    async fn import_calendar(
        &self,
        request: Request<pb::ImportCalendarRequest>,
    ) -> Result<Response<pb::ImportCalendarResponse>, Status> {
        Ok(Response::new(
            calendars::import(&self.service, request.into_inner()).await?,
        ))
    }

    async fn get_retention(
        &self,
        request: Request<pb::GetRetentionRequest>,
    ) -> Result<Response<pb::GetRetentionResponse>, Status> {
        Ok(Response::new(
            privacy::get_retention(&self.service, request.into_inner()).await?,
        ))
    }

    async fn update_retention(
        &self,
        request: Request<pb::UpdateRetentionRequest>,
    ) -> Result<Response<pb::UpdateRetentionResponse>, Status> {
        Ok(Response::new(
            privacy::update_retention(&self.service, request.into_inner()).await?,
        ))
    }

    async fn preview_retention(
        &self,
        request: Request<pb::PreviewRetentionRequest>,
    ) -> Result<Response<pb::PreviewRetentionResponse>, Status> {
        Ok(Response::new(
            privacy::preview_retention(&self.service, request.into_inner()).await?,
        ))
    }

    async fn apply_retention(
        &self,
        request: Request<pb::ApplyRetentionRequest>,
    ) -> Result<Response<pb::ApplyRetentionResponse>, Status> {
        Ok(Response::new(
            privacy::apply_retention(&self.service, request.into_inner()).await?,
        ))
    }

    type ExportSubjectDataStream = privacy::ExportStream;

    async fn export_subject_data(
        &self,
        request: Request<pb::ExportSubjectDataRequest>,
    ) -> Result<Response<Self::ExportSubjectDataStream>, Status> {
        Ok(Response::new(
            privacy::export(&self.service, request.into_inner()).await?,
        ))
    }

    async fn erase_pupil(
        &self,
        request: Request<pb::ErasePupilRequest>,
    ) -> Result<Response<pb::ErasePupilResponse>, Status> {
        Ok(Response::new(
            privacy::erase_pupil(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_erasures(
        &self,
        request: Request<pb::ListErasuresRequest>,
    ) -> Result<Response<pb::ListErasuresResponse>, Status> {
        Ok(Response::new(
            privacy::list_erasures(&self.service, request.into_inner()).await?,
        ))
    }

    async fn place_legal_hold(
        &self,
        request: Request<pb::PlaceLegalHoldRequest>,
    ) -> Result<Response<pb::PlaceLegalHoldResponse>, Status> {
        Ok(Response::new(
            privacy::place_legal_hold(&self.service, request.into_inner()).await?,
        ))
    }

    async fn lift_legal_hold(
        &self,
        request: Request<pb::LiftLegalHoldRequest>,
    ) -> Result<Response<pb::LiftLegalHoldResponse>, Status> {
        Ok(Response::new(
            privacy::lift_legal_hold(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_legal_holds(
        &self,
        request: Request<pb::ListLegalHoldsRequest>,
    ) -> Result<Response<pb::ListLegalHoldsResponse>, Status> {
        Ok(Response::new(
            privacy::list_legal_holds(&self.service, request.into_inner()).await?,
        ))
    }
}

/// The identifier of a new trust: the caller's, or nothing.
fn new_trust_id(text: &str) -> Result<Option<TrustId>, FieldViolation> {
    if text.is_empty() {
        return Ok(None);
    }
    let trust = convert::trust_id(text)?;
    if trust.0.is_nil() {
        let message = "the nil UUID names nothing: give another, or none";
        return Err(FieldViolation::new("trust_id", "INVALID_UUID", message));
    }
    Ok(Some(trust))
}

/// A new school, or all that is wrong with it.
fn new_school(school: Option<&pb::School>) -> Result<NewSchool, Vec<FieldViolation>> {
    let Some(school) = school else {
        return Err(vec![FieldViolation::new("school", "MISSING_SCHOOL", "give the school")]);
    };
    let parts = (
        convert::urn("school.urn", &school.urn),
        names::name("school.name", &school.name),
        phase(school.phase),
        laestab(&school.laestab),
        session_minutes(school.session_minutes),
    );
    match parts {
        (Ok(urn), Ok(name), Ok(phase), Ok(laestab), Ok(session_minutes)) => Ok(NewSchool {
            urn,
            name,
            phase,
            laestab,
            session_minutes,
        }),
        (urn, name, phase, laestab, session_minutes) => {
            Err(
                [urn.err(), name.err(), phase.err(), laestab.err(), session_minutes.err()]
                    .into_iter()
                    .flatten()
                    .collect(),
            )
        }
    }
}

fn school_changes(school: &pb::School, paths: &[&str]) -> Result<SchoolChanges, FieldViolation> {
    let mut changes = SchoolChanges::default();
    for path in paths {
        match *path {
            "name" => changes.name = Some(names::name("school.name", &school.name)?),
            "phase" => changes.phase = Some(phase(school.phase)?),
            "laestab" => changes.laestab = Some(laestab(&school.laestab)?),
            _ => changes.session_minutes = Some(session_minutes(school.session_minutes)?),
        }
    }
    Ok(changes)
}

fn phase(number: i32) -> Result<Phase, FieldViolation> {
    Phase::from_number(number).ok_or_else(|| {
        let message = "give the phase of education, for example PHASE_PRIMARY";
        FieldViolation::new("school.phase", "INVALID_PHASE", message)
    })
}

fn laestab(text: &str) -> Result<Option<Laestab>, FieldViolation> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let refuse = |error: IdentifierError| FieldViolation::new("school.laestab", "INVALID_LAESTAB", error.to_string());
    Laestab::parse(text).map(Some).map_err(refuse)
}

fn session_minutes(minutes: i32) -> Result<i16, FieldViolation> {
    match i16::try_from(minutes) {
        Ok(0) => Ok(SESSION_MINUTES_DEFAULT),
        Ok(minutes) if SESSION_MINUTES.contains(&minutes) => Ok(minutes),
        _ => {
            let (from, to) = SESSION_MINUTES.into_inner();
            let message = format!("give {from} to {to} minutes, or 0 for {SESSION_MINUTES_DEFAULT}");
            Err(FieldViolation::new(
                "school.session_minutes",
                "INVALID_SESSION_MINUTES",
                message,
            ))
        }
    }
}

fn to_trust(trust: TrustRow) -> pb::Trust {
    pb::Trust {
        trust_id: trust.trust_id.to_string(),
        name: trust.name,
        etag: to_etag(trust.version),
        created_at: Some(to_timestamp(trust.created_at)),
        updated_at: Some(to_timestamp(trust.updated_at)),
    }
}

pub(super) fn to_school(school: SchoolRow) -> pb::School {
    pb::School {
        school_id: school.school_id.to_string(),
        urn: school.urn,
        name: school.name,
        phase: i32::from(school.phase),
        laestab: school.laestab.unwrap_or_default(),
        session_minutes: i32::from(school.session_minutes),
        etag: to_etag(school.version),
        created_at: Some(to_timestamp(school.created_at)),
        updated_at: Some(to_timestamp(school.updated_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_school_with_several_wrong_fields_is_told_of_each() {
        let wrong = pb::School {
            urn: "12345".to_owned(),
            phase: 99,
            laestab: "999".to_owned(),
            session_minutes: 481,
            ..Default::default()
        };
        let found = new_school(Some(&wrong)).unwrap_err();
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        let all = ["urn", "name", "phase", "laestab", "session_minutes"].map(|field| format!("school.{field}"));
        assert_eq!(fields, all);
    }

    #[test]
    fn a_session_without_a_length_lasts_three_and_a_quarter_hours() {
        assert_eq!(session_minutes(0), Ok(195));
        assert_eq!(session_minutes(480), Ok(480));
        assert!(session_minutes(-1).is_err() && session_minutes(481).is_err() && session_minutes(1 << 20).is_err());
    }

    #[test]
    fn a_phase_keeps_its_number_in_the_contract() {
        for number in 1..=7 {
            let phase = pb::Phase::try_from(number).unwrap();
            assert_eq!(
                Phase::from_number(number).map(|phase| i32::from(phase.number())),
                Some(phase.into())
            );
        }
        assert_eq!(Phase::from_number(pb::Phase::Unspecified.into()), None);
    }
}
