//! `ActionService`: what a pupil's stages require of people.

use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{convert, page_token};
use crate::domain::action::{Action, ActionEntry, ActionName, ActionState, Entry};
use crate::domain::catalogue::{Condition, Kind, Role};
use crate::proto as pb;
use crate::proto::action_service_server::ActionService;
use crate::service::actions::{ActionMove, ActionNote};
use crate::service::error::FieldViolation;
use crate::service::{Service, ServiceError};
use crate::store::actions::ActionFilter;

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

    async fn list(&self, request: pb::ListPupilActionsRequest) -> Result<pb::ListPupilActionsResponse, ServiceError> {
        const LIST: &str = "pupil_actions";
        let trust = convert::trust_id(&request.trust_id)?;
        let pupil = convert::pupil_key("pupil", request.pupil.as_ref())?;
        let filter = ActionFilter {
            all_episodes: request.all_episodes,
            states: states(&request.states)?,
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

    async fn get(&self, request: pb::GetActionRequest) -> Result<pb::GetActionResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let name = action_name(&request.name)?;
        let action = self.service.get_action(trust, &name).await?;
        Ok(pb::GetActionResponse {
            action: Some(to_action(action)),
        })
    }

    async fn progress(&self, request: pb::ProgressActionRequest) -> Result<pb::ProgressActionResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let asked = action_move(&request)?;
        let action = self.service.progress_action(trust, &asked).await?;
        Ok(pb::ProgressActionResponse {
            action: Some(to_action(action)),
        })
    }

    async fn add_entry(&self, request: pb::AddActionEntryRequest) -> Result<pb::AddActionEntryResponse, ServiceError> {
        let trust = convert::trust_id(&request.trust_id)?;
        let asked = action_note(&request)?;
        let (entry, action) = self.service.add_action_note(trust, &asked).await?;
        Ok(pb::AddActionEntryResponse {
            entry: Some(to_entry(entry)),
            action: Some(to_action(action)),
        })
    }

    async fn list_entries(
        &self,
        request: pb::ListActionEntriesRequest,
    ) -> Result<pb::ListActionEntriesResponse, ServiceError> {
        const LIST: &str = "action_entries";
        let trust = convert::trust_id(&request.trust_id)?;
        let name = action_name(&request.name)?;
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
}

#[tonic::async_trait]
impl ActionService for ActionHandler {
    async fn list_pupil_actions(
        &self,
        request: Request<pb::ListPupilActionsRequest>,
    ) -> Result<Response<pb::ListPupilActionsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn get_action(
        &self,
        request: Request<pb::GetActionRequest>,
    ) -> Result<Response<pb::GetActionResponse>, Status> {
        Ok(Response::new(self.get(request.into_inner()).await?))
    }

    async fn progress_action(
        &self,
        request: Request<pb::ProgressActionRequest>,
    ) -> Result<Response<pb::ProgressActionResponse>, Status> {
        Ok(Response::new(self.progress(request.into_inner()).await?))
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
}

fn action_name(text: &str) -> Result<ActionName, FieldViolation> {
    text.parse().map_err(|error: crate::domain::action::InvalidActionName| {
        FieldViolation::new("name", "INVALID_ACTION_NAME", error.to_string())
    })
}

/// A state of a request, that has to be one.
fn action_state(field: &str, number: i32) -> Result<ActionState, FieldViolation> {
    let state = pb::ActionState::try_from(number).ok().and_then(|state| match state {
        pb::ActionState::Unspecified => None,
        pb::ActionState::ToBeConsidered => Some(ActionState::ToBeConsidered),
        pb::ActionState::Open => Some(ActionState::Open),
        pb::ActionState::InProgress => Some(ActionState::InProgress),
        pb::ActionState::Completed => Some(ActionState::Completed),
        pb::ActionState::NotApplicable => Some(ActionState::NotApplicable),
        pb::ActionState::Cancelled => Some(ActionState::Cancelled),
        pb::ActionState::Withdrawn => Some(ActionState::Withdrawn),
    });
    state.ok_or_else(|| {
        FieldViolation::new(
            field,
            "INVALID_ACTION_STATE",
            "give a state: to be considered, open, in progress, completed, not applicable or cancelled",
        )
    })
}

fn states(numbers: &[i32]) -> Result<Vec<ActionState>, FieldViolation> {
    let state = |(place, number): (usize, &i32)| action_state(&format!("states[{place}]"), *number);
    numbers.iter().enumerate().map(state).collect()
}

fn action_move(request: &pb::ProgressActionRequest) -> Result<ActionMove, FieldViolation> {
    let name = action_name(&request.name)?;
    if request.etag.is_empty() {
        let message = "give the action's etag as last read: two people cannot both move an action";
        return Err(FieldViolation::new("etag", "MISSING_ETAG", message));
    }
    Ok(ActionMove {
        name,
        version: convert::etag(&request.etag),
        to: action_state("to_state", request.to_state)?,
        reason: convert::text("reason", &request.reason, 0..=500)?,
        recorded_by: convert::person("recorded_by", request.recorded_by.as_ref())?,
        request: convert::optional_request_id("request_id", &request.request_id)?,
    })
}

fn action_note(request: &pb::AddActionEntryRequest) -> Result<ActionNote, FieldViolation> {
    let name = action_name(&request.name)?;
    let Some(pb::add_action_entry_request::Entry::Note(note)) = &request.entry else {
        return Err(FieldViolation::new("note", "MISSING_ENTRY", "give a note to record"));
    };
    Ok(ActionNote {
        name,
        text: convert::text("note.text", &note.text, 1..=4000)?,
        recorded_by: convert::person("recorded_by", request.recorded_by.as_ref())?,
        request: convert::optional_request_id("request_id", &request.request_id)?,
    })
}

fn to_action(action: Action) -> pb::Action {
    pb::Action {
        no_longer_required: action.no_longer_required(),
        never_reached: action.never_reached,
        due_on: action.due_on.map(convert::to_date),
        pupil_id: action.name.pupil.to_string(),
        episode: action.name.episode,
        stage: convert::to_stage(action.stage).into(),
        kind: to_kind(action.kind).into(),
        condition: to_condition(action.condition).into(),
        responsible_roles: action
            .responsible
            .into_iter()
            .map(|role| to_role(role).into())
            .collect(),
        review_days: action.review_days.map_or(0, i32::from),
        state: to_state(action.state).into(),
        raised_at: Some(convert::to_timestamp(action.raised_at)),
        updated_at: Some(convert::to_timestamp(action.updated_at)),
        etag: convert::to_etag(action.version),
        next_states: action
            .state
            .next_states()
            .iter()
            .map(|state| to_state(*state).into())
            .collect(),
        title: action.title,
        guidance: action.guidance,
        name: action.name.to_string(),
        provision_id: action.name.provision,
    }
}

fn to_entry(entry: ActionEntry) -> pb::ActionEntry {
    use pb::action_entry::Entry as Recorded;
    let recorded = match entry.entry {
        Entry::StateChange { from, to, reason } => Recorded::StateChange(pb::StateChange {
            from_state: to_state(from).into(),
            to_state: to_state(to).into(),
            reason,
        }),
        Entry::Note(text) => Recorded::Note(pb::Note { text }),
    };
    pb::ActionEntry {
        ordinal: entry.ordinal,
        entry: Some(recorded),
        recorded_by: Some(pb::Person {
            name: entry.recorded_by.name,
            position: entry.recorded_by.position,
        }),
        recorded_at: Some(convert::to_timestamp(entry.recorded_at)),
    }
}

/// A state as the contract gives it.
fn to_state(state: ActionState) -> pb::ActionState {
    match state {
        ActionState::ToBeConsidered => pb::ActionState::ToBeConsidered,
        ActionState::Open => pb::ActionState::Open,
        ActionState::InProgress => pb::ActionState::InProgress,
        ActionState::Completed => pb::ActionState::Completed,
        ActionState::NotApplicable => pb::ActionState::NotApplicable,
        ActionState::Cancelled => pb::ActionState::Cancelled,
        ActionState::Withdrawn => pb::ActionState::Withdrawn,
    }
}

/// A kind of provision as the contract gives it.
pub fn to_kind(kind: Kind) -> pb::ProvisionKind {
    match kind {
        Kind::Expectation => pb::ProvisionKind::Expectation,
        Kind::Record => pb::ProvisionKind::Record,
        Kind::Contact => pb::ProvisionKind::Contact,
        Kind::Meeting => pb::ProvisionKind::Meeting,
        Kind::Support => pb::ProvisionKind::Support,
        Kind::Review => pb::ProvisionKind::Review,
        Kind::Plan => pb::ProvisionKind::Plan,
        Kind::Referral => pb::ProvisionKind::Referral,
        Kind::Report => pb::ProvisionKind::Report,
        Kind::Assessment => pb::ProvisionKind::Assessment,
    }
}

/// A provision's condition as the contract gives it.
pub fn to_condition(condition: Condition) -> pb::ProvisionCondition {
    match condition {
        Condition::Always => pb::ProvisionCondition::Always,
        Condition::IfAppropriate => pb::ProvisionCondition::IfAppropriate,
        Condition::MedicalNeed => pb::ProvisionCondition::MedicalNeed,
        Condition::YoungPupil => pb::ProvisionCondition::YoungPupil,
        Condition::StatutoryThreshold => pb::ProvisionCondition::StatutoryThreshold,
        Condition::NotAlreadyInPlace => pb::ProvisionCondition::NotAlreadyInPlace,
    }
}

/// A responsible role as the contract gives it.
pub fn to_role(role: Role) -> pb::ResponsibleRole {
    match role {
        Role::AllStaff => pb::ResponsibleRole::AllStaff,
        Role::ClassTeacherOrTutor => pb::ResponsibleRole::ClassTeacherOrTutor,
        Role::SupportStaff => pb::ResponsibleRole::SupportStaff,
        Role::Sendco => pb::ResponsibleRole::Sendco,
        Role::Dsl => pb::ResponsibleRole::Dsl,
        Role::AttendanceOfficer => pb::ResponsibleRole::AttendanceOfficer,
        Role::AttendanceChampion => pb::ResponsibleRole::AttendanceChampion,
        Role::LocalAuthority => pb::ResponsibleRole::LocalAuthority,
        Role::Trust => pb::ResponsibleRole::Trust,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "pupils/01890a5d-ac96-774b-bcce-b302099a8057/episodes/1/actions/1-01";

    fn somebody() -> Option<pb::Person> {
        Some(pb::Person {
            name: "A. Officer".into(),
            position: "attendance officer".into(),
        })
    }

    fn complete() -> pb::ProgressActionRequest {
        pb::ProgressActionRequest {
            name: NAME.into(),
            etag: "\"0\"".into(),
            to_state: pb::ActionState::Completed.into(),
            recorded_by: somebody(),
            ..Default::default()
        }
    }

    fn refused(change: impl FnOnce(&mut pb::ProgressActionRequest)) -> (String, &'static str) {
        let mut request = complete();
        change(&mut request);
        let violation = action_move(&request).unwrap_err();
        (violation.field, violation.reason)
    }

    #[test]
    fn every_state_of_the_contract_reads_back_and_no_other_number_does() {
        for state in ActionState::ALL {
            assert_eq!(action_state("state", to_state(state).into()), Ok(state));
            assert_eq!(i32::from(to_state(state)), i32::from(state.number()));
        }
        for (place, wrong) in [0, 8, -1].into_iter().enumerate() {
            let mut numbers = vec![pb::ActionState::Open.into(); place];
            numbers.push(wrong);
            let violation = states(&numbers).unwrap_err();
            assert_eq!(violation.field, format!("states[{place}]"));
            assert_eq!(violation.reason, "INVALID_ACTION_STATE");
        }
    }

    #[test]
    fn a_move_without_what_it_needs_is_refused_by_field() {
        assert_eq!(action_move(&complete()).unwrap().version, Some(0));
        assert_eq!(
            refused(|r| r.name = "1-01".into()),
            ("name".into(), "INVALID_ACTION_NAME")
        );
        assert_eq!(refused(|r| r.etag.clear()), ("etag".into(), "MISSING_ETAG"));
        assert_eq!(refused(|r| r.to_state = 0), ("to_state".into(), "INVALID_ACTION_STATE"));
        assert_eq!(
            refused(|r| r.recorded_by = None),
            ("recorded_by".into(), "MISSING_PERSON")
        );
        assert_eq!(
            refused(|r| r.reason = "é".repeat(501)),
            ("reason".into(), "TEXT_TOO_LONG")
        );
        assert_eq!(refused(|r| r.reason = "a\0b".into()), ("reason".into(), "INVALID_TEXT"));
        assert_eq!(
            refused(|r| r.request_id = "again".into()),
            ("request_id".into(), "INVALID_UUID")
        );
        let nameless = Some(pb::Person {
            name: "  ".into(),
            position: "attendance officer".into(),
        });
        assert_eq!(
            refused(|r| r.recorded_by = nameless),
            ("recorded_by.name".into(), "MISSING_TEXT")
        );
    }

    #[test]
    fn a_note_is_one_to_four_thousand_characters() {
        use pb::add_action_entry_request::Entry as Asked;
        let note = |text: &str| pb::AddActionEntryRequest {
            name: NAME.into(),
            entry: Some(Asked::Note(pb::Note { text: text.to_owned() })),
            recorded_by: somebody(),
            ..Default::default()
        };
        assert_eq!(
            action_note(&note(&"é".repeat(4000))).unwrap().text.chars().count(),
            4000
        );
        for (text, reason) in [(String::new(), "MISSING_TEXT"), ("é".repeat(4001), "TEXT_TOO_LONG")] {
            let violation = action_note(&note(&text)).unwrap_err();
            assert_eq!((violation.field.as_str(), violation.reason), ("note.text", reason));
        }
        let nothing = pb::AddActionEntryRequest {
            entry: None,
            ..note("")
        };
        assert_eq!(action_note(&nothing).unwrap_err().reason, "MISSING_ENTRY");
    }
}
