//! `ActionService`: what pupils' stages require of people.

pub(super) mod answers;
mod outcomes;
pub(super) mod plans;
mod requests;
mod universal;
mod watch;
mod words;

use prost::Message as _;
use tonic::{Request, Response, Status};

use self::answers::{to_action, to_counts, to_entry, to_summary};
use super::{convert, page_token};
use crate::domain::action::Coverage;
use crate::proto as pb;
use crate::proto::action_service_server::ActionService;
use crate::service::actions::writes::ActionRequest;
use crate::service::{Service, ServiceError};
use crate::store::actions::ActionFilter;

pub use self::watch::ActionStream;
pub use self::words::{to_condition, to_kind, to_role};

/// Serves `ActionService`.
#[derive(Clone)]
pub struct ActionHandler {
    service: Service,
}

impl ActionHandler {
    /// A handler over the use cases.
    pub fn new(service: Service) -> ActionHandler {
        ActionHandler { service }
    }

    async fn list_of_pupil(
        &self,
        request: pb::ListPupilActionsRequest,
    ) -> Result<pb::ListPupilActionsResponse, ServiceError> {
        const LIST: &str = "pupil_actions";
        let trust = convert::trust_id(&request.trust_id)?;
        let pupil = convert::pupil_key("pupil", request.pupil.as_ref())?;
        let filter = ActionFilter {
            all_episodes: request.all_episodes,
            states: words::states(&request.states)?,
        };
        let selects = pb::ListPupilActionsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        };
        let selects = selects.encode_to_vec();
        let limits = &self.service.limits;
        let page = page_token::page(LIST, &selects, request.page_size, &request.page_token, limits)?;
        let listed = self.service.list_pupil_actions(trust, pupil, &filter, page).await?;
        Ok(pb::ListPupilActionsResponse {
            actions: listed.rows.into_iter().map(to_action).collect(),
            next_page_token: page_token::encode(LIST, &selects, listed.next.as_ref()),
        })
    }

    async fn list_of_trust(&self, request: pb::ListActionsRequest) -> Result<pb::ListActionsResponse, ServiceError> {
        const LIST: &str = "actions";
        let trust = convert::trust_id(&request.trust_id)?;
        let query = requests::action_query(&request)?;
        let selects = pb::ListActionsRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        };
        let selects = selects.encode_to_vec();
        let limits = &self.service.limits;
        let page = page_token::page(LIST, &selects, request.page_size, &request.page_token, limits)?;
        let listed = self.service.list_actions(trust, &query, page).await?;
        Ok(pb::ListActionsResponse {
            actions: listed.rows.into_iter().map(to_action).collect(),
            next_page_token: page_token::encode(LIST, &selects, listed.next.as_ref()),
        })
    }

    async fn list_missing(
        &self,
        request: pb::ListMissingProvisionRequest,
    ) -> Result<pb::ListMissingProvisionResponse, ServiceError> {
        const LIST: &str = "missing_provision";
        let trust = convert::trust_id(&request.trust_id)?;
        let query = requests::missing_query(&request)?;
        let selects = pb::ListMissingProvisionRequest {
            page_size: 0,
            page_token: String::new(),
            ..request.clone()
        };
        let selects = selects.encode_to_vec();
        let limits = &self.service.limits;
        let page = page_token::page(LIST, &selects, request.page_size, &request.page_token, limits)?;
        let listed = self.service.list_missing_provision(trust, &query, page).await?;
        let missing = listed.rows.into_iter().map(|missing| pb::MissingProvision {
            days_waiting: convert::count(missing.days_waiting),
            action: Some(to_action(missing.action)),
        });
        Ok(pb::ListMissingProvisionResponse {
            missing: missing.collect(),
            next_page_token: page_token::encode(LIST, &selects, listed.next.as_ref()),
        })
    }

    async fn get(&self, request: pb::GetActionRequest) -> Result<pb::GetActionResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let name = requests::action_name(&request.name)?;
        let action = self.service.get_action(trust, &name).await?;
        Ok(pb::GetActionResponse {
            action: Some(to_action(action)),
        })
    }

    /// Does what was read from a request, and answers with the action as it is then.
    async fn work(&self, trust_id: &str, asked: &ActionRequest) -> Result<Option<pb::Action>, ServiceError> {
        let trust = convert::trust_id(trust_id)?;
        let (action, _) = self.service.work_action(trust, asked).await?;
        Ok(Some(to_action(action)))
    }

    async fn progress(&self, request: pb::ProgressActionRequest) -> Result<pb::ProgressActionResponse, ServiceError> {
        let asked = requests::action_move(&request)?;
        let action = self.work(&request.trust_id, &asked).await?;
        Ok(pb::ProgressActionResponse { action })
    }

    async fn assign(&self, request: pb::AssignActionRequest) -> Result<pb::AssignActionResponse, ServiceError> {
        let asked = requests::assignment(&request)?;
        let action = self.work(&request.trust_id, &asked).await?;
        Ok(pb::AssignActionResponse { action })
    }

    async fn reschedule(
        &self,
        request: pb::RescheduleActionRequest,
    ) -> Result<pb::RescheduleActionResponse, ServiceError> {
        let asked = requests::reschedule(&request)?;
        let action = self.work(&request.trust_id, &asked).await?;
        Ok(pb::RescheduleActionResponse { action })
    }

    async fn add_entry(&self, request: pb::AddActionEntryRequest) -> Result<pb::AddActionEntryResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let asked = requests::recorded_work(&request, self.service.clock.today())?;
        let (action, entry) = self.service.work_action(trust, &asked).await?;
        Ok(pb::AddActionEntryResponse {
            entry: entry.map(to_entry),
            action: Some(to_action(action)),
        })
    }

    async fn list_entries(
        &self,
        request: pb::ListActionEntriesRequest,
    ) -> Result<pb::ListActionEntriesResponse, ServiceError> {
        const LIST: &str = "action_entries";
        let trust = convert::trust_id(&request.trust_id)?;
        let name = requests::action_name(&request.name)?;
        let selects = format!("{trust}/{name}");
        let selects = selects.as_bytes();
        let limits = &self.service.limits;
        let page = page_token::page(LIST, selects, request.page_size, &request.page_token, limits)?;
        let listed = self.service.list_action_entries(trust, &name, page).await?;
        Ok(pb::ListActionEntriesResponse {
            entries: listed.rows.into_iter().map(to_entry).collect(),
            next_page_token: page_token::encode(LIST, selects, listed.next.as_ref()),
        })
    }

    async fn pupil_coverage(
        &self,
        request: pb::GetPupilCoverageRequest,
    ) -> Result<pb::GetPupilCoverageResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let pupil = convert::pupil_key("pupil", request.pupil.as_ref())?;
        let found = self.service.pupil_coverage(trust, &pupil).await?;
        let provisions = found.actions.into_iter().map(|action| pb::ProvisionCoverage {
            status: words::to_coverage(Coverage::of(action.state)).into(),
            action: Some(to_action(action)),
        });
        Ok(pb::GetPupilCoverageResponse {
            pupil_id: found.pupil.to_string(),
            stage: convert::to_stage(found.stage).into(),
            provisions: provisions.collect(),
            counts: Some(to_counts(&found.counts)),
        })
    }

    async fn summarize(
        &self,
        request: pb::SummarizeCoverageRequest,
    ) -> Result<pb::SummarizeCoverageResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let query = requests::coverage_query(&request)?;
        Ok(to_summary(self.service.summarize_coverage(trust, &query).await?))
    }
}

#[tonic::async_trait]
impl ActionService for ActionHandler {
    async fn list_pupil_actions(
        &self,
        request: Request<pb::ListPupilActionsRequest>,
    ) -> Result<Response<pb::ListPupilActionsResponse>, Status> {
        Ok(Response::new(self.list_of_pupil(request.into_inner()).await?))
    }

    async fn get_action(
        &self,
        request: Request<pb::GetActionRequest>,
    ) -> Result<Response<pb::GetActionResponse>, Status> {
        Ok(Response::new(self.get(request.into_inner()).await?))
    }

    async fn list_actions(
        &self,
        request: Request<pb::ListActionsRequest>,
    ) -> Result<Response<pb::ListActionsResponse>, Status> {
        Ok(Response::new(self.list_of_trust(request.into_inner()).await?))
    }

    async fn progress_action(
        &self,
        request: Request<pb::ProgressActionRequest>,
    ) -> Result<Response<pb::ProgressActionResponse>, Status> {
        Ok(Response::new(self.progress(request.into_inner()).await?))
    }

    async fn assign_action(
        &self,
        request: Request<pb::AssignActionRequest>,
    ) -> Result<Response<pb::AssignActionResponse>, Status> {
        Ok(Response::new(self.assign(request.into_inner()).await?))
    }

    async fn reschedule_action(
        &self,
        request: Request<pb::RescheduleActionRequest>,
    ) -> Result<Response<pb::RescheduleActionResponse>, Status> {
        Ok(Response::new(self.reschedule(request.into_inner()).await?))
    }

    async fn add_action_entry(
        &self,
        request: Request<pb::AddActionEntryRequest>,
    ) -> Result<Response<pb::AddActionEntryResponse>, Status> {
        Ok(Response::new(self.add_entry(request.into_inner()).await?))
    }

    async fn list_action_entries(
        &self,
        request: Request<pb::ListActionEntriesRequest>,
    ) -> Result<Response<pb::ListActionEntriesResponse>, Status> {
        Ok(Response::new(self.list_entries(request.into_inner()).await?))
    }

    async fn get_pupil_coverage(
        &self,
        request: Request<pb::GetPupilCoverageRequest>,
    ) -> Result<Response<pb::GetPupilCoverageResponse>, Status> {
        Ok(Response::new(self.pupil_coverage(request.into_inner()).await?))
    }

    async fn summarize_coverage(
        &self,
        request: Request<pb::SummarizeCoverageRequest>,
    ) -> Result<Response<pb::SummarizeCoverageResponse>, Status> {
        Ok(Response::new(self.summarize(request.into_inner()).await?))
    }

    async fn list_missing_provision(
        &self,
        request: Request<pb::ListMissingProvisionRequest>,
    ) -> Result<Response<pb::ListMissingProvisionResponse>, Status> {
        Ok(Response::new(self.list_missing(request.into_inner()).await?))
    }

    async fn create_plan(
        &self,
        request: Request<pb::CreatePlanRequest>,
    ) -> Result<Response<pb::CreatePlanResponse>, Status> {
        Ok(Response::new(plans::create(&self.service, request.into_inner()).await?))
    }

    async fn get_plan(&self, request: Request<pb::GetPlanRequest>) -> Result<Response<pb::GetPlanResponse>, Status> {
        Ok(Response::new(plans::get(&self.service, request.into_inner()).await?))
    }

    async fn list_plans(
        &self,
        request: Request<pb::ListPlansRequest>,
    ) -> Result<Response<pb::ListPlansResponse>, Status> {
        Ok(Response::new(plans::list(&self.service, request.into_inner()).await?))
    }

    async fn review_plan(
        &self,
        request: Request<pb::ReviewPlanRequest>,
    ) -> Result<Response<pb::ReviewPlanResponse>, Status> {
        Ok(Response::new(plans::review(&self.service, request.into_inner()).await?))
    }

    async fn close_plan(
        &self,
        request: Request<pb::ClosePlanRequest>,
    ) -> Result<Response<pb::ClosePlanResponse>, Status> {
        Ok(Response::new(plans::close(&self.service, request.into_inner()).await?))
    }

    async fn list_universal_provision(
        &self,
        request: Request<pb::ListUniversalProvisionRequest>,
    ) -> Result<Response<pb::ListUniversalProvisionResponse>, Status> {
        Ok(Response::new(
            universal::list(&self.service, request.into_inner()).await?,
        ))
    }

    async fn review_universal_provision(
        &self,
        request: Request<pb::ReviewUniversalProvisionRequest>,
    ) -> Result<Response<pb::ReviewUniversalProvisionResponse>, Status> {
        Ok(Response::new(
            universal::review(&self.service, request.into_inner()).await?,
        ))
    }

    async fn list_universal_reviews(
        &self,
        request: Request<pb::ListUniversalReviewsRequest>,
    ) -> Result<Response<pb::ListUniversalReviewsResponse>, Status> {
        Ok(Response::new(
            universal::history(&self.service, request.into_inner()).await?,
        ))
    }

    async fn summarize_universal_provision(
        &self,
        request: Request<pb::SummarizeUniversalProvisionRequest>,
    ) -> Result<Response<pb::SummarizeUniversalProvisionResponse>, Status> {
        Ok(Response::new(
            universal::summarize(&self.service, request.into_inner()).await?,
        ))
    }

    type WatchActionsStream = ActionStream;

    async fn watch_actions(&self, request: Request<pb::WatchActionsRequest>) -> Result<Response<ActionStream>, Status> {
        Ok(Response::new(watch::watch(&self.service, request.get_ref()).await?))
    }

    async fn get_action_feed(
        &self,
        request: Request<pb::GetActionFeedRequest>,
    ) -> Result<Response<pb::GetActionFeedResponse>, Status> {
        Ok(Response::new(watch::feed(&self.service, request.get_ref()).await?))
    }
    async fn summarize_action_outcomes(
        &self,
        request: Request<pb::SummarizeActionOutcomesRequest>,
    ) -> Result<Response<pb::SummarizeActionOutcomesResponse>, Status> {
        let summary = outcomes::summarize(&self.service, request.into_inner()).await?;
        Ok(Response::new(summary))
    }

    async fn list_action_outcomes(
        &self,
        request: Request<pb::ListActionOutcomesRequest>,
    ) -> Result<Response<pb::ListActionOutcomesResponse>, Status> {
        Ok(Response::new(
            outcomes::list(&self.service, request.into_inner()).await?,
        ))
    }
}
