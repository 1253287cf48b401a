//! `explain`: why a pupil is at a stage, and what the stage requires of whom.

use std::process::ExitCode;

use comfy_table::{ColumnConstraint, Width};
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{COLUMNS, date_text, folded, lines, print, print_json, stage_text, table, words};
use crate::domain::code;
use crate::domain::identifiers::{MisIdentifier, Upn};
use crate::proto::action_service_client::ActionServiceClient;
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{
    self, Action, AttendanceCategory, ExplainPupilStageRequest, ExplainPupilStageResponse, ListPupilActionsRequest,
    PupilKey, ResponsibleRole, StageMove, pupil_key,
};

/// The longest title that is not folded.
const TITLE_WIDTH_MAX: usize = 52;

/// Says why a pupil is at a stage, and which actions that raised.
///
/// Shows the sessions under each code, the exact fraction that they make, the band into which it falls, and how many
/// sessions attended or missed in a row would move the pupil.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response explain 0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e   by the service's own identifier
  graduated-response explain A999400125001                          by UPN
  graduated-response explain sims:100001/000123                     by an MIS identifier: source/value
  graduated-response explain sims:100001/000123 --json              for a program")]
pub struct ExplainArgs {
    /// The pupil: UUID, UPN, or the source and the value of an MIS identifier with a / between.
    #[arg(value_name = "PUPIL", value_parser = parse_pupil)]
    pub pupil: PupilArgument,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A pupil as a person names one on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PupilArgument {
    /// By the service's own identifier.
    Id(Uuid),
    /// By unique pupil number.
    Upn(Upn),
    /// By an identifier of a management information system.
    Mis(MisIdentifier),
}

/// Reads a pupil from an argument.
pub(super) fn parse_pupil(text: &str) -> Result<PupilArgument, String> {
    if let Ok(id) = Uuid::parse_str(text.trim()) {
        return Ok(PupilArgument::Id(id));
    }
    // A source holds no slash; a value may.
    if let Some((source, value)) = text.split_once('/') {
        return MisIdentifier::parse(source, value)
            .map(PupilArgument::Mis)
            .map_err(|error| error.to_string());
    }
    match Upn::parse(text) {
        Ok(Some(upn)) => Ok(PupilArgument::Upn(upn)),
        Ok(None) | Err(_) => Err(
            "give a UUID, a UPN of 13 characters, or source/value of an MIS identifier, for example sims:100001/000123"
                .to_owned(),
        ),
    }
}

impl From<&PupilArgument> for PupilKey {
    fn from(pupil: &PupilArgument) -> PupilKey {
        let key = match pupil {
            PupilArgument::Id(id) => pupil_key::Key::PupilId(id.to_string()),
            PupilArgument::Upn(upn) => pupil_key::Key::Upn(upn.as_str().to_owned()),
            PupilArgument::Mis(mis) => pupil_key::Key::MisIdentifier(proto::MisIdentifier {
                source: mis.source.clone(),
                value: mis.value.clone(),
            }),
        };
        PupilKey { key: Some(key) }
    }
}

/// What `explain --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ExplainReport {
    /// The pupil's UUID.
    pub pupil_id: String,
    /// `U`, `1` to `5`.
    pub stage: String,
    /// The stage that the counts alone give.
    pub computed_stage: String,
    /// Whether there are fewer possible sessions than the policy's minimum.
    pub too_little_data: bool,
    /// The policy's minimum of possible sessions.
    pub minimum_possible: i32,
    /// The first day since which the pupil has been at the stage; empty before any session counted.
    pub since: String,
    /// The day of the answer.
    pub as_of: String,
    /// Sessions attended in the year to date.
    pub attended: i64,
    /// Sessions that could have been attended.
    pub possible: i64,
    /// Sessions of authorised absence.
    pub authorised: i64,
    /// Sessions of unauthorised absence.
    pub unauthorised: i64,
    /// Attendance in per cent with one decimal; empty where nothing was possible.
    pub attendance_percent: String,
    /// Whether a tenth or more was missed.
    pub persistent_absence: bool,
    /// Whether half or more was missed.
    pub severe_absence: bool,
    /// The band, for example `80% to 90%`.
    pub band: String,
    /// Sessions by code.
    pub codes: Vec<CodeReport>,
    /// The better stages, nearest first.
    pub improves: Vec<MoveReport>,
    /// The worse stages, nearest first.
    pub worsens: Vec<MoveReport>,
    /// Minutes of learning lost.
    pub lost_learning_minutes: i32,
    /// The explanation in sentences.
    pub sentences: Vec<String>,
    /// The actions of the current episode.
    pub actions: Vec<ActionReport>,
}

/// Sessions under one code.
#[derive(Clone, Debug, Serialize)]
pub struct CodeReport {
    /// The code as it is written in a register.
    pub code: String,
    /// What it counts as.
    pub category: String,
    /// How many.
    pub sessions: i32,
    /// How many of them outside the dates between which the code was valid.
    pub sessions_outside_validity: i32,
}

/// What would move the pupil.
#[derive(Clone, Debug, Serialize)]
pub struct MoveReport {
    /// The stage that would be reached.
    pub stage: String,
    /// Sessions in a row.
    pub sessions: i32,
}

/// One action.
#[derive(Clone, Debug, Serialize)]
pub struct ActionReport {
    /// The action's name.
    pub name: String,
    /// The provision's identifier in the catalogue.
    pub provision_id: String,
    /// The stage that requires it.
    pub stage: String,
    /// The provision's title.
    pub title: String,
    /// Where it is in its life, in words.
    pub state: String,
    /// Who is responsible, in words.
    pub responsible_roles: Vec<String>,
    /// Whether it is no longer required and a person has to decide.
    pub no_longer_required: bool,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the trust has no such pupil, or the service refuses or cannot be reached.
pub async fn run(args: &ExplainArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let request = ExplainPupilStageRequest {
        trust_id: trust_id.to_string(),
        pupil: Some(PupilKey::from(&args.pupil)),
    };
    let explanation = StageServiceClient::new(channel.clone())
        .explain_pupil_stage(request)
        .await?
        .into_inner();
    let actions = list_actions(args, channel, trust_id).await?;
    let report = report(explanation, actions)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list_actions(args: &ExplainArgs, channel: Channel, trust_id: Uuid) -> Result<Vec<Action>, CommandError> {
    let mut client = ActionServiceClient::new(channel);
    let mut request = ListPupilActionsRequest {
        trust_id: trust_id.to_string(),
        pupil: Some(PupilKey::from(&args.pupil)),
        page_size: 1000,
        ..ListPupilActionsRequest::default()
    };
    let mut actions = Vec::new();
    loop {
        let page = client.list_pupil_actions(request.clone()).await?.into_inner();
        actions.extend(page.actions);
        if page.next_page_token.is_empty() {
            return Ok(actions);
        }
        request.page_token = page.next_page_token;
    }
}

fn report(explanation: ExplainPupilStageResponse, actions: Vec<Action>) -> Result<ExplainReport, CommandError> {
    let stage = explanation
        .pupil_stage
        .ok_or(CommandError::Answer("the pupil's stage"))?;
    let tally = stage.tally.unwrap_or_default();
    let moves = |moves: Vec<StageMove>| {
        moves
            .into_iter()
            .map(|step| MoveReport {
                stage: stage_text(step.stage),
                sessions: step.sessions,
            })
            .collect()
    };
    Ok(ExplainReport {
        pupil_id: stage.pupil_id,
        stage: stage_text(stage.stage),
        computed_stage: stage_text(stage.computed_stage),
        too_little_data: stage.too_little_data,
        minimum_possible: explanation.minimum_possible,
        since: date_text(stage.since.as_ref()),
        as_of: date_text(stage.as_of.as_ref()),
        attended: tally.attended,
        possible: tally.possible,
        authorised: tally.authorised,
        unauthorised: tally.unauthorised,
        attendance_percent: stage.attendance_percent,
        persistent_absence: stage.persistent_absence,
        severe_absence: stage.severe_absence,
        band: explanation.band.as_ref().map(band_text).unwrap_or_default(),
        codes: explanation.codes.iter().map(code_report).collect(),
        improves: moves(explanation.improves),
        worsens: moves(explanation.worsens),
        lost_learning_minutes: explanation.lost_learning_minutes,
        sentences: explanation.sentences,
        actions: actions.into_iter().map(action_report).collect(),
    })
}

/// A band in words: `above 90% and below 93%`.
pub(super) fn band_text(band: &proto::Band) -> String {
    let bound = |tenths: i32| match tenths % 10 {
        0 => format!("{}%", tenths / 10),
        tenth => format!("{}.{tenth}%", tenths / 10),
    };
    let lower = (band.lower_tenths > 0).then(|| {
        let word = if band.lower_inclusive { "from" } else { "above" };
        format!("{word} {}", bound(band.lower_tenths))
    });
    let upper = (band.upper_tenths < 1000).then(|| {
        let word = if band.upper_inclusive { "to" } else { "below" };
        format!("{word} {}", bound(band.upper_tenths))
    });
    match (lower, upper) {
        (Some(lower), Some(upper)) if band.lower_inclusive && band.upper_inclusive => {
            format!("{lower} {upper}")
        }
        (Some(lower), Some(upper)) => format!("{lower} and {upper}"),
        (Some(bound), None) | (None, Some(bound)) => bound,
        (None, None) => "any attendance".to_owned(),
    }
}

fn code_report(count: &proto::CodeCount) -> CodeReport {
    CodeReport {
        code: u8::try_from(count.code)
            .ok()
            .and_then(code::AttendanceCode::from_byte)
            .map_or_else(|| "?".to_owned(), |code| code.as_str().to_owned()),
        category: AttendanceCategory::try_from(count.category)
            .map(|category| words(category.as_str_name(), "ATTENDANCE_CATEGORY_"))
            .unwrap_or_default(),
        sessions: count.sessions,
        sessions_outside_validity: count.sessions_outside_validity,
    }
}

fn action_report(action: Action) -> ActionReport {
    ActionReport {
        stage: stage_text(action.stage),
        state: words(action.state().as_str_name(), "ACTION_STATE_"),
        responsible_roles: action
            .responsible_roles()
            .map(|role| match role {
                ResponsibleRole::Sendco => "SENDCO".to_owned(),
                ResponsibleRole::Dsl => "DSL".to_owned(),
                other => words(other.as_str_name(), "RESPONSIBLE_ROLE_"),
            })
            .collect(),
        no_longer_required: action.no_longer_required,
        name: action.name,
        provision_id: action.provision_id,
        title: action.title,
    }
}

fn for_people(report: &ExplainReport) -> String {
    let mut text = format!("Pupil {}: stage {}", report.pupil_id, report.stage);
    if !report.since.is_empty() {
        text.push_str(&format!(" since {}", report.since));
    }
    text.push_str(&format!(" (as of {})\n\n", report.as_of));
    if report.possible == 0 {
        text.push_str("No session was possible yet this year.\n");
    } else {
        text.push_str(&format!(
            "{} of {} possible sessions attended: {}%\n",
            report.attended, report.possible, report.attendance_percent
        ));
        text.push_str(&format!(
            "{} authorised and {} unauthorised absences\n",
            report.authorised, report.unauthorised
        ));
        text.push_str(&format!("Band of stage {}: {}\n", report.computed_stage, report.band));
    }
    if report.too_little_data {
        text.push_str(&format!(
            "Too little data: the policy judges from {} possible sessions on; the counts alone give stage {}.\n",
            report.minimum_possible, report.computed_stage
        ));
    }
    if report.severe_absence {
        text.push_str("Severe absence: half or more missed.\n");
    } else if report.persistent_absence {
        text.push_str("Persistent absence: a tenth or more missed.\n");
    }
    if !report.codes.is_empty() {
        let mut codes = table(&["code", "counts as", "sessions"], 2);
        for count in &report.codes {
            let category = match count.sessions_outside_validity {
                0 => count.category.clone(),
                outside => format!("{} ({outside} outside the code's dates)", count.category),
            };
            codes.add_row([count.code.clone(), category, count.sessions.to_string()]);
        }
        text.push_str(&format!("\n{}", lines(&codes)));
    }
    for (moves, doing) in [(&report.improves, "attending"), (&report.worsens, "missing")] {
        for step in moves {
            let sessions = if step.sessions == 1 {
                "session"
            } else {
                "sessions in a row"
            };
            text.push_str(&format!(
                "\nStage {} after {doing} {} more {sessions}.",
                step.stage, step.sessions
            ));
        }
    }
    if !report.improves.is_empty() || !report.worsens.is_empty() {
        text.push('\n');
    }
    if report.actions.is_empty() {
        text.push_str("\nNo actions were ever raised.\n");
    }
    text.push_str(&actions_for_people(&report.actions));
    text
}

/// The actions, those of the same stage and for the same people together under one heading that names both.
fn actions_for_people(actions: &[ActionReport]) -> String {
    type Group<'a> = ((&'a str, &'a [String]), Vec<&'a ActionReport>);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for action in actions {
        let heading = (action.stage.as_str(), action.responsible_roles.as_slice());
        match groups.iter_mut().find(|(known, _)| *known == heading) {
            Some((_, group)) => group.push(action),
            None => groups.push((heading, vec![action])),
        }
    }
    // The states stand in one column, whatever the group.
    let longest = actions.iter().map(|action| action.title.chars().count()).max();
    let width = longest.map_or(0, |longest| longest.min(TITLE_WIDTH_MAX) + 2);
    let mut text = String::new();
    for ((stage, roles), group) in groups {
        let mut heading = folded();
        heading.add_row([format!("Actions of stage {stage}, for {}:", roles.join(", "))]);
        let mut listed = folded();
        for action in group {
            let mut state = action.state.clone();
            if action.no_longer_required {
                state.push_str(", no longer required");
            }
            listed.add_row([&action.provision_id, &action.title, &state]);
        }
        if let Some(titles) = listed.column_mut(1) {
            let width = Width::Fixed(u16::try_from(width).unwrap_or(COLUMNS));
            titles.set_constraint(ColumnConstraint::LowerBoundary(width));
        }
        let heading: String = heading.lines().map(|line| format!("{}\n", line.trim())).collect();
        text.push_str(&format!("\n{heading}{}", lines(&listed)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pupil_is_named_by_uuid_upn_or_mis_identifier() {
        let id = "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e";
        assert_eq!(parse_pupil(id), Ok(PupilArgument::Id(id.parse().unwrap())));
        assert!(matches!(parse_pupil("a999400125001"), Ok(PupilArgument::Upn(_))));
        let mis = MisIdentifier::parse("sims:100001", "0001/23").unwrap();
        assert_eq!(parse_pupil("sims:100001/0001/23"), Ok(PupilArgument::Mis(mis)));
        assert!(parse_pupil("SIMS/1").unwrap_err().starts_with("an MIS source is"));
        assert!(parse_pupil("UN1").unwrap_err().starts_with("give a UUID"));
        assert!(parse_pupil("17").unwrap_err().starts_with("give a UUID"));
    }

    #[test]
    fn a_band_reads_as_the_trusts_table_does() {
        let band = |lower_tenths, lower_inclusive, upper_tenths, upper_inclusive| {
            band_text(&proto::Band {
                stage: 0,
                lower_tenths,
                lower_inclusive,
                upper_tenths,
                upper_inclusive,
            })
        };
        assert_eq!(band(950, false, 1000, true), "above 95%");
        assert_eq!(band(930, true, 950, true), "from 93% to 95%");
        assert_eq!(band(900, false, 930, false), "above 90% and below 93%");
        assert_eq!(band(0, true, 500, false), "below 50%");
        assert_eq!(band(925, true, 950, false), "from 92.5% and below 95%");
    }

    #[test]
    fn an_explanation_shows_counts_moves_and_who_has_to_act() {
        let explanation = ExplainPupilStageResponse {
            pupil_stage: Some(proto::PupilStage {
                pupil_id: "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e".to_owned(),
                stage: proto::Stage::Three.into(),
                computed_stage: proto::Stage::Three.into(),
                tally: Some(proto::Tally {
                    attended: 88,
                    possible: 100,
                    authorised: 12,
                    unauthorised: 0,
                }),
                attendance_percent: "88.0".to_owned(),
                since: Some(proto::Date {
                    year: 2026,
                    month: 3,
                    day: 9,
                }),
                as_of: Some(proto::Date {
                    year: 2026,
                    month: 6,
                    day: 26,
                }),
                persistent_absence: true,
                ..proto::PupilStage::default()
            }),
            codes: vec![
                proto::CodeCount {
                    code: proto::AttendanceCode::PresentMorning.into(),
                    category: AttendanceCategory::Attending.into(),
                    sessions: 88,
                    sessions_outside_validity: 0,
                },
                proto::CodeCount {
                    code: proto::AttendanceCode::H.into(),
                    category: AttendanceCategory::AuthorisedAbsence.into(),
                    sessions: 12,
                    sessions_outside_validity: 12,
                },
            ],
            band: Some(proto::Band {
                stage: proto::Stage::Three.into(),
                lower_tenths: 800,
                lower_inclusive: true,
                upper_tenths: 900,
                upper_inclusive: true,
            }),
            improves: vec![StageMove {
                stage: proto::Stage::Two.into(),
                sessions: 21,
            }],
            ..ExplainPupilStageResponse::default()
        };
        let action = Action {
            provision_id: "3-02".to_owned(),
            stage: proto::Stage::Three.into(),
            title: "Attendance meeting".to_owned(),
            responsible_roles: vec![
                ResponsibleRole::AttendanceOfficer.into(),
                ResponsibleRole::Sendco.into(),
            ],
            state: proto::ActionState::ToBeConsidered.into(),
            ..Action::default()
        };
        let text = for_people(&report(explanation, vec![action]).unwrap());
        insta::assert_snapshot!(text, @r"
    Pupil 0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e: stage 3 since 2026-03-09 (as of 2026-06-26)

    88 of 100 possible sessions attended: 88.0%
    12 authorised and 0 unauthorised absences
    Band of stage 3: from 80% to 90%
    Persistent absence: a tenth or more missed.

     code  counts as                                         sessions
     /     attending                                               88
     H     authorised absence (12 outside the code's dates)        12

    Stage 2 after attending 21 more sessions in a row.

    Actions of stage 3, for attendance officer, SENDCO:
     3-02  Attendance meeting  to be considered
    ");
    }
}
