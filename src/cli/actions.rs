//! `actions`: what there is to do in the trust, by when and for whom.

use std::process::ExitCode;

use chrono::NaiveDate;
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{date_text, grouped, lines, print, print_json, proto_date, stage_text, table, words};
use super::stages::parse_stage;
use crate::domain::stage::Stage;
use crate::proto::action_service_client::ActionServiceClient;
use crate::proto::{Action, ActionState, ListActionsRequest, ListMissingProvisionRequest, ResponsibleRole};

/// The states of work that is still to be done.
const TO_DO: [ActionState; 3] = [ActionState::ToBeConsidered, ActionState::Open, ActionState::InProgress];

/// Lists actions by due date: what is to be done, by when and for whom.
///
/// Without --state those that have not ended, of pupils whose stage still requires them. With --missing what is required and
/// on which nobody has recorded any work, the longest raised first.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  graduated-response actions                                           what is to be done in the whole trust
  graduated-response actions --overdue                                 what should have been done before today
  graduated-response actions --school 999002 --role attendance-officer
  graduated-response actions --assignee entra:77 --json                what one person has, for a program
  graduated-response actions --missing --role trust                    what nobody has begun, for whom the trust is responsible
  graduated-response actions --no-longer-required                      what a person has to decide about

Roles: all-staff, class-teacher-or-tutor, support-staff, sendco, dsl, attendance-officer, attendance-champion,
local-authority, trust. States: to-be-considered, open, in-progress, completed, not-applicable, cancelled, withdrawn.")]
pub struct ActionsArgs {
    /// Only of pupils on roll at this school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    pub school: Option<String>,
    /// Only those for which one of these roles is responsible, with commas between.
    #[arg(long, value_name = "ROLES", value_delimiter = ',', value_parser = parse_role)]
    pub role: Vec<ResponsibleRole>,
    /// Only those that one of these stages requires: 1, 2, 3, 4, 5, with commas between.
    #[arg(long, value_name = "STAGES", value_delimiter = ',', value_parser = parse_stage)]
    pub stage: Vec<Stage>,
    /// Only those that this person has: the identifier under which they were given to them.
    #[arg(long, value_name = "ID", conflicts_with = "missing")]
    pub assignee: Option<String>,
    /// Only those in these states, with commas between.
    #[arg(long, value_name = "STATES", value_delimiter = ',', value_parser = parse_state, conflicts_with = "missing")]
    pub state: Vec<ActionState>,
    /// Only those that were due before today and have not ended.
    #[arg(long, conflicts_with = "missing")]
    pub overdue: bool,
    /// Only those due on this day or before it.
    #[arg(long, value_name = "DATE", conflicts_with = "missing")]
    pub due_by: Option<NaiveDate>,
    /// Only those that are flagged as no longer required.
    #[arg(long, conflicts_with = "missing")]
    pub no_longer_required: bool,
    /// What is required and missing: no work was ever recorded on it.
    #[arg(long)]
    pub missing: bool,
    /// List this many at the most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// The name of a choice as the contract writes it: `attendance-officer` is `ATTENDANCE_OFFICER`.
fn contract_name(prefix: &str, text: &str) -> String {
    format!("{prefix}{}", text.trim().to_ascii_uppercase().replace('-', "_"))
}

fn parse_role(text: &str) -> Result<ResponsibleRole, String> {
    ResponsibleRole::from_str_name(&contract_name("RESPONSIBLE_ROLE_", text))
        .filter(|role| *role != ResponsibleRole::Unspecified)
        .ok_or_else(|| "no such role: the help lists them".to_owned())
}

fn parse_state(text: &str) -> Result<ActionState, String> {
    ActionState::from_str_name(&contract_name("ACTION_STATE_", text))
        .filter(|state| *state != ActionState::Unspecified)
        .ok_or_else(|| "no such state: the help lists them".to_owned())
}

/// What `actions --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ActionsReport {
    /// The actions.
    pub actions: Vec<ActionReport>,
    /// True where there are more than the limit.
    pub more_actions: bool,
}

/// An action.
#[derive(Clone, Debug, Serialize)]
pub struct ActionReport {
    /// Its name in the service.
    pub name: String,
    /// The pupil's UUID.
    pub pupil_id: String,
    /// The provision, for example `3-02`.
    pub provision_id: String,
    /// The provision's title.
    pub title: String,
    /// The stage that requires it: `1` to `5`.
    pub stage: String,
    /// Where it is in its life, in words.
    pub state: String,
    /// The day by which it is to be done; empty where there is none.
    pub due_on: String,
    /// The identifier of the person who has it; empty where nobody does.
    pub assignee_id: String,
    /// The name of that person.
    pub assignee_name: String,
    /// Who is responsible.
    pub responsible_roles: Vec<String>,
    /// Whether the pupil's stage no longer requires it.
    pub no_longer_required: bool,
    /// With --missing: for how many days it has been raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_waiting: Option<i32>,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &ActionsArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let mut client = ActionServiceClient::new(channel);
    let limit = args.limit as usize;
    let mut report = ActionsReport {
        actions: Vec::new(),
        more_actions: false,
    };
    let mut page_token = String::new();
    loop {
        // Below 1,001.
        let page_size = (limit - report.actions.len()).min(1000) as i32;
        page_token = if args.missing {
            let request = missing_request(args, trust_id, page_size, page_token);
            let page = client.list_missing_provision(request).await?.into_inner();
            for missing in page.missing {
                let action = missing.action.ok_or(CommandError::Answer("an action"))?;
                report.actions.push(ActionReport {
                    days_waiting: Some(missing.days_waiting),
                    ..action_report(action)
                });
            }
            page.next_page_token
        } else {
            let request = list_request(args, trust_id, page_size, page_token);
            let page = client.list_actions(request).await?.into_inner();
            report.actions.extend(page.actions.into_iter().map(action_report));
            page.next_page_token
        };
        if page_token.is_empty() || report.actions.len() >= limit {
            report.more_actions = !page_token.is_empty();
            break;
        }
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report, args.missing))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn stages(args: &ActionsArgs) -> Vec<i32> {
    args.stage.iter().map(|stage| i32::from(stage.number()) + 1).collect()
}

fn roles(args: &ActionsArgs) -> Vec<i32> {
    args.role.iter().map(|role| i32::from(*role)).collect()
}

fn list_request(args: &ActionsArgs, trust_id: Uuid, page_size: i32, page_token: String) -> ListActionsRequest {
    let states: &[ActionState] = if args.state.is_empty() { &TO_DO } else { &args.state };
    // Where states are named, those of pupils who have got better are wanted as well.
    let required = (args.state.is_empty() && args.assignee.is_none()).then_some(false);
    ListActionsRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        assignee_id: args.assignee.clone().unwrap_or_default(),
        responsible_roles: roles(args),
        stages: stages(args),
        states: states.iter().map(|state| i32::from(*state)).collect(),
        due_from: None,
        due_to: args.due_by.map(proto_date),
        overdue: args.overdue,
        no_longer_required: if args.no_longer_required { Some(true) } else { required },
        page_size,
        page_token,
    }
}

fn missing_request(
    args: &ActionsArgs,
    trust_id: Uuid,
    page_size: i32,
    page_token: String,
) -> ListMissingProvisionRequest {
    ListMissingProvisionRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        responsible_roles: roles(args),
        stages: stages(args),
        include_to_be_considered: false,
        page_size,
        page_token,
    }
}

fn action_report(action: Action) -> ActionReport {
    let responsible = action.responsible_roles();
    let responsible = responsible.map(|role| words(role.as_str_name(), "RESPONSIBLE_ROLE_"));
    let assignee = action.assignee.clone().unwrap_or_default();
    ActionReport {
        responsible_roles: responsible.collect(),
        state: words(action.state().as_str_name(), "ACTION_STATE_"),
        stage: stage_text(action.stage),
        due_on: date_text(action.due_on.as_ref()),
        assignee_id: assignee.person_id,
        assignee_name: assignee.name,
        no_longer_required: action.no_longer_required,
        name: action.name,
        pupil_id: action.pupil_id,
        provision_id: action.provision_id,
        title: action.title,
        days_waiting: None,
    }
}

fn for_people(report: &ActionsReport, missing: bool) -> String {
    if report.actions.is_empty() {
        return "There is no such action.\n".to_owned();
    }
    let when = if missing { "days" } else { "due" };
    let mut listed = table(&[when, "state", "action", "pupil", "with"], 5);
    for action in &report.actions {
        let when = action
            .days_waiting
            .map_or_else(|| action.due_on.clone(), |days| days.to_string());
        let state = match action.no_longer_required {
            true => format!("{}, no longer required", action.state),
            false => action.state.clone(),
        };
        listed.add_row([
            when,
            state,
            format!("{} {}", action.provision_id, action.title),
            action.pupil_id.clone(),
            action.assignee_name.clone(),
        ]);
    }
    let mut text = lines(&listed);
    if report.more_actions {
        let count = grouped(report.actions.len() as u64);
        text.push_str(&format!(
            "\nThe first {count}; there are more: give a higher --limit.\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Assignee, Date};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        actions: ActionsArgs,
    }

    fn read(line: &[&str]) -> Result<ActionsArgs, String> {
        let read = <Line as clap::Parser>::try_parse_from([&["actions"], line].concat());
        read.map(|line| line.actions).map_err(|error| error.to_string())
    }

    #[test]
    fn roles_and_states_are_read_with_commas_between() {
        let args = read(&["--role", "dsl,attendance-officer", "--state", "in_progress,Open"]).unwrap();
        assert_eq!(args.role, [ResponsibleRole::Dsl, ResponsibleRole::AttendanceOfficer]);
        assert_eq!(args.state, [ActionState::InProgress, ActionState::Open]);
        for wrong in [
            ["--role", "headteacher"],
            ["--role", "unspecified"],
            ["--state", "done"],
        ] {
            assert!(read(&wrong).unwrap_err().contains("the help lists them"), "{wrong:?}");
        }
        assert!(read(&["--missing", "--overdue"]).is_err());
    }

    #[test]
    fn without_states_what_is_to_be_done_and_still_required_is_asked_for() {
        let asked = |line: &[&str]| list_request(&read(line).unwrap(), Uuid::nil(), 50, String::new());
        let default = asked(&[]);
        assert_eq!(
            (default.states, default.no_longer_required),
            (vec![1, 2, 3], Some(false))
        );
        assert_eq!(asked(&["--no-longer-required"]).no_longer_required, Some(true));
        let completed = asked(&["--state", "completed"]);
        assert_eq!((completed.states, completed.no_longer_required), (vec![4], None));
        assert_eq!(asked(&["--assignee", "entra:77"]).no_longer_required, None);
    }

    #[test]
    fn actions_stand_in_a_table() {
        let action = Action {
            provision_id: "3-02".into(),
            title: "Meet the family".into(),
            pupil_id: "p".into(),
            state: ActionState::InProgress.into(),
            due_on: Some(Date {
                year: 2025,
                month: 12,
                day: 5,
            }),
            assignee: Some(Assignee {
                person_id: "entra:77".into(),
                name: "B. Okafor".into(),
            }),
            ..Action::default()
        };
        let flagged = Action {
            due_on: None,
            assignee: None,
            no_longer_required: true,
            ..action.clone()
        };
        let report = ActionsReport {
            actions: vec![action_report(action), action_report(flagged)],
            more_actions: true,
        };
        insta::assert_snapshot!(for_people(&report, false), @r"
         due         state                            action                pupil  with
         2025-12-05  in progress                      3-02 Meet the family  p      B. Okafor
                     in progress, no longer required  3-02 Meet the family  p

        The first 2; there are more: give a higher --limit.
        ");
    }
}
