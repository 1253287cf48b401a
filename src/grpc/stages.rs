//! `StageService`.

use prost::Message as _;
use tonic::{Request, Response, Status};

use super::convert::{
    count, optional_date, optional_school_key, pupil_key, school_key, stage, timestamp, to_category, to_code, to_date,
    to_session, to_stage, to_tally, to_timestamp, trust_id,
};
use super::thresholds;
use super::transitions::{self, TransitionStream};
use super::{forecasts, page_token, summaries};
use crate::domain::assessment::EnrolmentAssessment;
use crate::domain::code::Category;
use crate::domain::stage::{Band, Stage, StageMove};
use crate::proto as pb;
use crate::proto::stage_service_server::StageService;
use crate::service::error::FieldViolation;
use crate::service::stages::{AsOf, Explanation, PupilStage, StageQuery};
use crate::service::summaries::{SchoolSummary, StageSummary};
use crate::service::{Service, ServiceError};

/// Serves `StageService`.
#[derive(Clone)]
pub struct StageHandler {
    service: Service,
}

impl StageHandler {
    /// The handler over the use cases.
    pub fn new(service: Service) -> StageHandler {
        StageHandler { service }
    }
}

#[tonic::async_trait]
impl StageService for StageHandler {
    async fn get_pupil_stage(
        &self,
        request: Request<pb::GetPupilStageRequest>,
    ) -> Result<Response<pb::GetPupilStageResponse>, Status> {
        let request = request.into_inner();
        let trust = trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let pupil = pupil_key("pupil", request.pupil.as_ref()).map_err(ServiceError::from)?;
        let asked = AsOf {
            day: optional_date("as_of", request.as_of.as_ref()).map_err(ServiceError::from)?,
            known_at: request
                .known_at
                .as_ref()
                .map(|at| timestamp("known_at", at))
                .transpose()
                .map_err(ServiceError::from)?,
        };
        let stage = if asked == AsOf::default() {
            self.service.pupil_stage(trust, &pupil).await?
        } else {
            Box::pin(self.service.pupil_stage_as_of(trust, &pupil, asked)).await?
        };
        Ok(Response::new(pb::GetPupilStageResponse {
            pupil_stage: Some(to_pupil_stage(stage)),
        }))
    }

    async fn batch_get_pupil_stages(
        &self,
        request: Request<pb::BatchGetPupilStagesRequest>,
    ) -> Result<Response<pb::BatchGetPupilStagesResponse>, Status> {
        let request = request.into_inner();
        let most = self.service.limits.batch_get_max;
        let read = || -> Result<_, FieldViolation> {
            let trust = trust_id(&request.trust_id)?;
            if request.pupils.is_empty() {
                return Err(FieldViolation::new("pupils", "EMPTY_BATCH", "name at least one pupil"));
            }
            if request.pupils.len() > most {
                let message = format!("{} pupils are over the limit of {most}", request.pupils.len());
                return Err(FieldViolation::new("pupils", "BATCH_TOO_LARGE", message));
            }
            let keys = request.pupils.iter().enumerate();
            let keys = keys.map(|(place, key)| pupil_key(&format!("pupils[{place}]"), Some(key)));
            Ok((trust, keys.collect::<Result<Vec<_>, _>>()?))
        };
        let (trust, keys) = read().map_err(ServiceError::from)?;
        let mut response = pb::BatchGetPupilStagesResponse::default();
        for (place, found) in (0..).zip(self.service.pupil_stages(trust, &keys).await?) {
            match found {
                Some(stage) => response.pupil_stages.push(to_pupil_stage(stage)),
                None => response.not_found.push(place),
            }
        }
        Ok(Response::new(response))
    }

    async fn list_pupil_stages(
        &self,
        request: Request<pb::ListPupilStagesRequest>,
    ) -> Result<Response<pb::ListPupilStagesResponse>, Status> {
        let request = request.into_inner();
        let filters = pb::ListPupilStagesRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        }
        .encode_to_vec();
        let read = || -> Result<_, FieldViolation> {
            let stages = request.stages.iter().enumerate().map(|(place, number)| {
                stage(*number).ok_or_else(|| {
                    let field = format!("stages[{place}]");
                    FieldViolation::new(field, "UNKNOWN_STAGE", "give a stage of the contract, U or 1 to 5")
                })
            });
            let changed_since = request.changed_since.as_ref();
            let query = StageQuery {
                school: optional_school_key("school", &request.school)?,
                stages: stages.collect::<Result<_, _>>()?,
                changed_since: changed_since
                    .map(|since| timestamp("changed_since", since))
                    .transpose()?,
            };
            let limits = &self.service.limits;
            let (size, token) = (request.page_size, &request.page_token);
            let page = page_token::page("ListPupilStages", &filters, size, token, limits)?;
            Ok((trust_id(&request.trust_id)?, query, page))
        };
        let (trust, query, page) = read().map_err(ServiceError::from)?;
        let page = self.service.list_pupil_stages(trust, &query, page).await?;
        Ok(Response::new(pb::ListPupilStagesResponse {
            next_page_token: page_token::encode("ListPupilStages", &filters, page.next.as_ref()),
            pupil_stages: page.rows.into_iter().map(to_pupil_stage).collect(),
        }))
    }

    async fn explain_pupil_stage(
        &self,
        request: Request<pb::ExplainPupilStageRequest>,
    ) -> Result<Response<pb::ExplainPupilStageResponse>, Status> {
        let request = request.into_inner();
        let trust = trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let pupil = pupil_key("pupil", request.pupil.as_ref()).map_err(ServiceError::from)?;
        let explanation = self.service.explain_pupil_stage(trust, &pupil).await?;
        Ok(Response::new(to_explanation(explanation)))
    }

    async fn summarize_school(
        &self,
        request: Request<pb::SummarizeSchoolRequest>,
    ) -> Result<Response<pb::SummarizeSchoolResponse>, Status> {
        let request = request.into_inner();
        let trust = trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let school = school_key("school", &request.school).map_err(ServiceError::from)?;
        let school = self.service.summarize_school(trust, &school).await?;
        Ok(Response::new(pb::SummarizeSchoolResponse {
            school: Some(to_school_summary(school)),
        }))
    }

    async fn summarize_trust(
        &self,
        request: Request<pb::SummarizeTrustRequest>,
    ) -> Result<Response<pb::SummarizeTrustResponse>, Status> {
        let request = request.into_inner();
        let trust = trust_id(&request.trust_id).map_err(ServiceError::from)?;
        let (whole, schools) = self.service.summarize_trust(trust).await?;
        Ok(Response::new(pb::SummarizeTrustResponse {
            trust: Some(to_summary(whole)),
            schools: schools.into_iter().map(to_school_summary).collect(),
        }))
    }

    async fn forecast_pupil_stage(
        &self,
        request: Request<pb::ForecastPupilStageRequest>,
    ) -> Result<Response<pb::ForecastPupilStageResponse>, Status> {
        let answer = forecasts::forecast_pupil_stage(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn get_attendance_patterns(
        &self,
        request: Request<pb::GetAttendancePatternsRequest>,
    ) -> Result<Response<pb::GetAttendancePatternsResponse>, Status> {
        let answer = forecasts::get_attendance_patterns(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn classify_attendance(
        &self,
        request: Request<pb::ClassifyAttendanceRequest>,
    ) -> Result<Response<pb::ClassifyAttendanceResponse>, Status> {
        let answer = forecasts::classify_attendance(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn forecast_persistent_absence(
        &self,
        request: Request<pb::ForecastPersistentAbsenceRequest>,
    ) -> Result<Response<pb::ForecastPersistentAbsenceResponse>, Status> {
        let answer = forecasts::forecast_persistent_absence(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn summarize_attendance(
        &self,
        request: Request<pb::SummarizeAttendanceRequest>,
    ) -> Result<Response<pb::SummarizeAttendanceResponse>, Status> {
        let answer = summaries::summarize_attendance(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn summarize_movements(
        &self,
        request: Request<pb::SummarizeMovementsRequest>,
    ) -> Result<Response<pb::SummarizeMovementsResponse>, Status> {
        let answer = summaries::summarize_movements(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_transitions(
        &self,
        request: Request<pb::ListTransitionsRequest>,
    ) -> Result<Response<pb::ListTransitionsResponse>, Status> {
        let answer = transitions::list(&self.service, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    type WatchTransitionsStream = TransitionStream;

    async fn watch_transitions(
        &self,
        request: Request<pb::WatchTransitionsRequest>,
    ) -> Result<Response<TransitionStream>, Status> {
        let stream = transitions::watch(&self.service, request.get_ref()).await?;
        Ok(Response::new(stream))
    }

    async fn get_transition_feed(
        &self,
        request: Request<pb::GetTransitionFeedRequest>,
    ) -> Result<Response<pb::GetTransitionFeedResponse>, Status> {
        let answer = transitions::feed(&self.service, request.get_ref()).await?;
        Ok(Response::new(answer))
    }

    async fn list_pupil_thresholds(
        &self,
        request: Request<pb::ListPupilThresholdsRequest>,
    ) -> Result<Response<pb::ListPupilThresholdsResponse>, Status> {
        Ok(Response::new(
            thresholds::of_pupil(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_threshold_events(
        &self,
        request: Request<pb::ListThresholdEventsRequest>,
    ) -> Result<Response<pb::ListThresholdEventsResponse>, Status> {
        Ok(Response::new(
            thresholds::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn export_threshold_return(
        &self,
        request: Request<pb::ExportThresholdReturnRequest>,
    ) -> Result<Response<pb::ExportThresholdReturnResponse>, Status> {
        Ok(Response::new(
            thresholds::export(&self.service, request.into_inner()).await?,
        ))
    }

    async fn record_penalty_notice(
        &self,
        request: Request<pb::RecordPenaltyNoticeRequest>,
    ) -> Result<Response<pb::RecordPenaltyNoticeResponse>, Status> {
        Ok(Response::new(
            thresholds::record_notice(&self.service, request.into_inner()).await?,
        ))
    }

    async fn cancel_penalty_notice(
        &self,
        request: Request<pb::CancelPenaltyNoticeRequest>,
    ) -> Result<Response<pb::CancelPenaltyNoticeResponse>, Status> {
        Ok(Response::new(
            thresholds::cancel_notice(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_penalty_notices(
        &self,
        request: Request<pb::ListPenaltyNoticesRequest>,
    ) -> Result<Response<pb::ListPenaltyNoticesResponse>, Status> {
        Ok(Response::new(
            thresholds::list_notices(&self.service, request.into_inner()).await?,
        ))
    }
}

pub(super) fn to_pupil_stage(stage: PupilStage) -> pb::PupilStage {
    pb::PupilStage {
        pupil_id: stage.pupil_id.to_string(),
        stage: to_stage(stage.judgement.stage).into(),
        computed_stage: to_stage(stage.judgement.computed_stage).into(),
        too_little_data: stage.judgement.too_little_data,
        tally: Some(to_tally(stage.tally)),
        attendance_percent: stage.tally.attendance_percent(),
        since: stage.since.map(to_date),
        as_of: Some(to_date(stage.as_of)),
        academic_year: i32::from(stage.year.start_year()),
        policy_version: stage.policy_version,
        episode: stage.episode,
        persistent_absence: stage.year_tally.persistently_absent(),
        severe_absence: stage.year_tally.severely_absent(),
        changed_at: stage.changed_at.map(to_timestamp),
        year_tally: Some(to_tally(stage.year_tally)),
        window_from: Some(to_date(stage.window_from)),
        hold_id: stage.hold_id.map(|hold| hold.to_string()).unwrap_or_default(),
        fall_waits: stage.fall_waits,
        data_too_old: stage.data_too_old,
        enrolments: stage.enrolments.iter().map(to_enrolment_stage).collect(),
    }
}

fn to_enrolment_stage(found: &EnrolmentAssessment) -> pb::EnrolmentStage {
    pb::EnrolmentStage {
        enrolment_id: found.id.to_string(),
        school_id: found.school.to_string(),
        stage: to_stage(found.judgement.stage).into(),
        computed_stage: to_stage(found.judgement.computed_stage).into(),
        too_little_data: found.judgement.too_little_data,
        tally: Some(to_tally(found.tally)),
        attendance_percent: found.tally.attendance_percent(),
    }
}

pub(super) fn to_band(band: &Band) -> pb::Band {
    pb::Band {
        stage: to_stage(band.stage).into(),
        lower_tenths: i32::from(band.lower.tenths),
        lower_inclusive: band.lower.inclusive,
        upper_tenths: i32::from(band.upper.tenths),
        upper_inclusive: band.upper.inclusive,
    }
}

pub(super) fn to_move(found: &StageMove) -> pb::StageMove {
    pb::StageMove {
        stage: to_stage(found.stage).into(),
        sessions: count(found.sessions),
    }
}

fn to_explanation(explanation: Explanation) -> pb::ExplainPupilStageResponse {
    let codes = explanation.codes.iter().map(|found| pb::CodeCount {
        code: to_code(found.code).into(),
        category: to_category(found.code.category()).into(),
        sessions: count(found.sessions),
        sessions_outside_validity: count(found.outside_validity),
    });
    let categories = Category::ALL.into_iter().map(|category| pb::CategoryCount {
        category: to_category(category).into(),
        sessions: count(explanation.sessions_of(category)),
    });
    let enrolments = explanation.enrolments.iter().map(|found| pb::EnrolmentTally {
        enrolment_id: found.enrolment_id.to_string(),
        school_id: found.school_id.to_string(),
        tally: Some(to_tally(found.tally)),
    });
    pb::ExplainPupilStageResponse {
        codes: codes.collect(),
        categories: categories.collect(),
        band: Some(to_band(&explanation.band)),
        minimum_possible: count(explanation.minimum_possible),
        improves: explanation.improves.iter().map(to_move).collect(),
        worsens: explanation.worsens.iter().map(to_move).collect(),
        enrolments: enrolments.collect(),
        lost_learning_minutes: count(explanation.lost_learning_minutes),
        sentences: explanation.sentences(),
        pupil_stage: Some(to_pupil_stage(explanation.stage)),
    }
}

fn to_summary(summary: StageSummary) -> pb::StageSummary {
    let stages = Stage::ALL.into_iter().zip(summary.stages);
    pb::StageSummary {
        as_of: Some(to_date(summary.as_of)),
        academic_year: i32::from(summary.year.start_year()),
        pupils: count(summary.stages.iter().sum::<i64>()),
        stages: stages
            .map(|(stage, pupils)| pb::StageCount {
                stage: to_stage(stage).into(),
                pupils: count(pupils),
            })
            .collect(),
        too_little_data: count(summary.too_little_data),
        tally: Some(to_tally(summary.tally)),
        attendance_percent: summary.tally.attendance_percent(),
        pupils_with_sessions: count(summary.pupils.with_sessions),
        persistently_absent_pupils: count(summary.pupils.persistent),
        severely_absent_pupils: count(summary.pupils.severe),
        enrolments_with_sessions: count(summary.enrolments.with_sessions),
        persistently_absent_enrolments: count(summary.enrolments.persistent),
        severely_absent_enrolments: count(summary.enrolments.severe),
        last_session: summary.last_session.map(|session| to_session(session.into())),
        gap_days: count(summary.gap_days),
        schools_with_data_too_old: count(summary.schools_too_old),
    }
}

fn to_school_summary(found: SchoolSummary) -> pb::SchoolSummary {
    pb::SchoolSummary {
        school_id: found.school.school_id.to_string(),
        urn: found.school.urn,
        name: found.school.name,
        summary: Some(to_summary(found.summary)),
    }
}
