//! The life of an action: a provision raised for a pupil and worked to an end.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::calendar::Calendar;
use super::catalogue::{Condition, Kind, Role};
use super::identifiers::PupilId;
use super::session::london_date;
use super::stage::Stage;

/// Where an action is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActionState {
    /// The provision applies only under a condition: somebody has to decide whether it does.
    ToBeConsidered,
    /// Raised; nobody has begun.
    Open,
    /// Begun.
    InProgress,
    /// Done.
    Completed,
    /// It does not apply to this pupil.
    NotApplicable,
    /// It will not be done.
    Cancelled,
    /// A correction showed that its stage was never reached, and nobody had begun it. The service's own doing.
    Withdrawn,
}

/// A move that an action's state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an action that is {from} cannot become {to}")]
pub struct IllegalMove {
    /// The state as it is.
    pub from: ActionState,
    /// The state that was asked for.
    pub to: ActionState,
}

impl ActionState {
    /// Every state.
    pub const ALL: [ActionState; 7] = [
        ActionState::ToBeConsidered,
        ActionState::Open,
        ActionState::InProgress,
        ActionState::Completed,
        ActionState::NotApplicable,
        ActionState::Cancelled,
        ActionState::Withdrawn,
    ];

    /// The states to which an action in this one may be moved. From an ended state the one move is to reopen it.
    pub const fn next_states(self) -> &'static [ActionState] {
        match self {
            ActionState::ToBeConsidered => &[ActionState::Open, ActionState::InProgress, ActionState::NotApplicable],
            ActionState::Open => &[
                ActionState::InProgress,
                ActionState::Completed,
                ActionState::NotApplicable,
                ActionState::Cancelled,
            ],
            ActionState::InProgress => &[
                ActionState::Completed,
                ActionState::NotApplicable,
                ActionState::Cancelled,
            ],
            ActionState::Completed | ActionState::NotApplicable | ActionState::Cancelled | ActionState::Withdrawn => {
                &[ActionState::Open]
            }
        }
    }

    /// Checks a move.
    pub fn move_to(self, to: ActionState) -> Result<ActionState, IllegalMove> {
        if self.next_states().contains(&to) {
            Ok(to)
        } else {
            Err(IllegalMove { from: self, to })
        }
    }

    /// Whether nothing more is to be done.
    pub const fn ended(self) -> bool {
        matches!(
            self,
            ActionState::Completed | ActionState::NotApplicable | ActionState::Cancelled | ActionState::Withdrawn
        )
    }

    /// Whether a move has to say why: to decline, to cancel, and to reopen.
    pub fn needs_reason(self, to: ActionState) -> bool {
        self.ended() || matches!(to, ActionState::NotApplicable | ActionState::Cancelled)
    }

    /// The state after work was recorded: recorded work begins an action that nobody had begun, and leaves any other as
    /// it is.
    pub const fn after_work(self) -> ActionState {
        match self {
            ActionState::ToBeConsidered | ActionState::Open => ActionState::InProgress,
            other => other,
        }
    }

    /// The number under which the state is stored, and that of the contract's enum.
    pub const fn number(self) -> i16 {
        match self {
            ActionState::ToBeConsidered => 1,
            ActionState::Open => 2,
            ActionState::InProgress => 3,
            ActionState::Completed => 4,
            ActionState::NotApplicable => 5,
            ActionState::Cancelled => 6,
            ActionState::Withdrawn => 7,
        }
    }

    /// The state stored under a number.
    pub fn from_number(number: i16) -> Option<ActionState> {
        ActionState::ALL.into_iter().find(|state| state.number() == number)
    }
}

impl fmt::Display for ActionState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ActionState::ToBeConsidered => "to be considered",
            ActionState::Open => "open",
            ActionState::InProgress => "in progress",
            ActionState::Completed => "completed",
            ActionState::NotApplicable => "not applicable",
            ActionState::Cancelled => "cancelled",
            ActionState::Withdrawn => "withdrawn",
        })
    }
}

/// Names an action: one provision of one episode of one pupil. Written
/// `pupils/{pupil_id}/episodes/{n}/actions/{provision_id}`; the trust is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActionName {
    /// The pupil.
    pub pupil: PupilId,
    /// The number of the episode, from 1.
    pub episode: i32,
    /// The provision's identifier in the catalogue: 1 to 64 characters without a slash and without control characters.
    pub provision: String,
}

/// A text that names no action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an action is named pupils/{{pupil_id}}/episodes/{{n}}/actions/{{provision_id}}: a UUID, a number from 1, and an \
     identifier of the catalogue such as 3-02"
)]
pub struct InvalidActionName;

impl FromStr for ActionName {
    type Err = InvalidActionName;

    fn from_str(text: &str) -> Result<ActionName, InvalidActionName> {
        let parts: Vec<_> = text.split('/').collect();
        let ["pupils", pupil, "episodes", episode, "actions", provision] = parts[..] else {
            return Err(InvalidActionName);
        };
        let plain_number = episode.bytes().all(|byte| byte.is_ascii_digit()) && !episode.starts_with('0');
        let identifier = (1..=64).contains(&provision.chars().count()) && !provision.chars().any(char::is_control);
        // Thirty-six characters: the hyphenated form, and none of the others in which a UUID can be written.
        if pupil.len() != 36 || !plain_number || !identifier {
            return Err(InvalidActionName);
        }
        Ok(ActionName {
            pupil: PupilId(Uuid::try_parse(pupil).map_err(|_| InvalidActionName)?),
            episode: episode.parse().map_err(|_| InvalidActionName)?,
            provision: provision.to_owned(),
        })
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "pupils/{}/episodes/{}/actions/{}",
            self.pupil, self.episode, self.provision
        )
    }
}

/// One provision raised for one pupil in one episode, whether anybody has touched it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name.
    pub name: ActionName,
    /// The provision's place in the catalogue.
    pub ordinal: i16,
    /// The stage that requires it.
    pub stage: Stage,
    /// The provision's title.
    pub title: String,
    /// What is to be in place.
    pub guidance: String,
    /// What sort of thing it is.
    pub kind: Kind,
    /// When it applies.
    pub condition: Condition,
    /// Who is responsible.
    pub responsible: Vec<Role>,
    /// The review interval that the catalogue names, in days.
    pub review_days: Option<i16>,
    /// Where it is in its life.
    pub state: ActionState,
    /// How often it was written: 0 where nobody has touched it.
    pub version: i64,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// When it was last written; when it was raised where nobody has touched it.
    pub updated_at: DateTime<Utc>,
    /// Whether the episode is over or the pupil is below the stage that requires it.
    pub beyond_stage: bool,
    /// Whether a correction showed that the stage that requires it was never reached.
    pub never_reached: bool,
    /// The day by which it is to be done: the one that a person gave, or else the one that the policy wants.
    pub due_on: Option<NaiveDate>,
    /// Whether a person gave the due date.
    pub due_moved: bool,
    /// Who has it.
    pub assignee: Option<Assignee>,
    /// When work was first recorded, or it was taken up again after it had been withdrawn.
    pub begun_at: Option<DateTime<Utc>>,
    /// The number of the latest earlier episode that raised the same provision.
    pub previous_episode: Option<i32>,
    /// When it is to be reviewed next.
    pub next_review_on: Option<NaiveDate>,
}

/// The last review of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReview {
    /// The day.
    pub reviewed_on: NaiveDate,
    /// When a person wanted to look again.
    pub next_review_on: Option<NaiveDate>,
}

/// A person to whom an action is given, as the caller's own system knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignee {
    /// The person's identifier in the caller's system.
    pub person_id: String,
    /// The person's name.
    pub name: String,
}

/// How far a provision that a stage requires has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coverage {
    /// Its action is completed.
    InPlace,
    /// In progress.
    InProgress,
    /// Open, or to be considered.
    NotBegun,
    /// It does not apply to the pupil.
    NotApplicable,
    /// It will not be done.
    Cancelled,
}

impl Coverage {
    /// Every status, in the order of the contract's enum.
    pub const ALL: [Coverage; 5] = [
        Coverage::InPlace,
        Coverage::InProgress,
        Coverage::NotBegun,
        Coverage::NotApplicable,
        Coverage::Cancelled,
    ];

    /// How far an action in a state has come. A stage that was never reached requires nothing; where it is reached after all,
    /// what was withdrawn is open again.
    pub const fn of(state: ActionState) -> Coverage {
        match state {
            ActionState::Completed => Coverage::InPlace,
            ActionState::InProgress => Coverage::InProgress,
            ActionState::ToBeConsidered | ActionState::Open | ActionState::Withdrawn => Coverage::NotBegun,
            ActionState::NotApplicable => Coverage::NotApplicable,
            ActionState::Cancelled => Coverage::Cancelled,
        }
    }
}

impl Action {
    /// Whether it is not ended although nothing requires it any more: nothing closes it by itself, a person decides.
    pub const fn no_longer_required(&self) -> bool {
        self.beyond_stage && !self.state.ended()
    }

    /// Whether a move to a state is work on it, or takes it up again after it was withdrawn: then it is begun.
    pub const fn begun_by(&self, to: ActionState) -> bool {
        matches!(to, ActionState::InProgress | ActionState::Completed) || matches!(self.state, ActionState::Withdrawn)
    }

    /// When it is to be reviewed next, while it is open or in progress: when the person who reviewed it last said, or else so
    /// many days after that, or after it was raised, as the catalogue names, on a day on which the pupil's school is open.
    pub fn next_review(&self, last: Option<LastReview>, calendar: &Calendar) -> Option<NaiveDate> {
        if !matches!(self.state, ActionState::Open | ActionState::InProgress) {
            return None;
        }
        if let Some(given) = last.and_then(|last| last.next_review_on) {
            return Some(given);
        }
        let from = last.map_or_else(|| london_date(self.raised_at), |last| last.reviewed_on);
        let days = u64::try_from(self.review_days?).ok()?;
        Some(calendar.school_day_from(from.checked_add_days(Days::new(days))?))
    }

    /// The name of the action of the same provision in the latest earlier episode that raised it.
    pub fn previous(&self) -> Option<ActionName> {
        self.previous_episode.map(|episode| ActionName {
            episode,
            ..self.name.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_name_reads_back_as_it_is_written() {
        let text = "pupils/01890a5d-ac96-774b-bcce-b302099a8057/episodes/12/actions/3-02";
        let name: ActionName = text.parse().unwrap();
        assert_eq!((name.episode, name.provision.as_str()), (12, "3-02"));
        assert_eq!(name.to_string(), text);
        let capitals = text.replace("ac96-774b", "AC96-774B").parse::<ActionName>();
        assert_eq!(capitals.unwrap().to_string(), text);
    }

    #[test]
    fn a_text_of_another_shape_names_no_action() {
        let pupil = "01890a5d-ac96-774b-bcce-b302099a8057";
        for wrong in [
            String::new(),
            format!("pupils/{pupil}"),
            format!("/pupils/{pupil}/episodes/1/actions/1-01"),
            format!("pupils/{pupil}/episodes/1/actions/1-01/"),
            format!("pupils/{pupil}/episodes/1/actions/"),
            format!("pupils/{pupil}/episodes/1/actions/1\u{0}01"),
            format!("pupils/{pupil}/episodes/0/actions/1-01"),
            format!("pupils/{pupil}/episodes/01/actions/1-01"),
            format!("pupils/{pupil}/episodes/+1/actions/1-01"),
            format!("pupils/{pupil}/episodes/-1/actions/1-01"),
            format!("pupils/{pupil}/episodes//actions/1-01"),
            format!("pupils/{pupil}/episodes/2147483648/actions/1-01"),
            format!("pupils/{}/episodes/1/actions/1-01", pupil.replace('-', "")),
            format!("pupils/{{{pupil}}}/episodes/1/actions/1-01"),
            format!("pupils/{pupil}/episodes/1/actions/{}", "x".repeat(65)),
            format!("schools/{pupil}/episodes/1/actions/1-01"),
        ] {
            assert_eq!(wrong.parse::<ActionName>(), Err(InvalidActionName), "{wrong}");
        }
    }

    #[test]
    fn every_state_can_be_left_and_every_state_can_be_reached() {
        for state in ActionState::ALL {
            assert!(!state.next_states().is_empty(), "{state}");
            assert!(!state.next_states().contains(&state), "{state}");
            // Raised as to be considered, and withdrawn by the service: no person moves an action there.
            let reachable = matches!(state, ActionState::ToBeConsidered | ActionState::Withdrawn)
                || ActionState::ALL.iter().any(|from| from.next_states().contains(&state));
            assert!(reachable, "{state}");
            assert_eq!(ActionState::from_number(state.number()), Some(state));
        }
    }

    #[test]
    fn what_is_ended_can_only_be_reopened_and_that_needs_a_reason() {
        for state in ActionState::ALL.into_iter().filter(|state| state.ended()) {
            assert_eq!(state.next_states(), [ActionState::Open]);
            assert!(state.needs_reason(ActionState::Open));
            assert_eq!(state.after_work(), state);
        }
    }

    #[test]
    fn an_illegal_move_names_both_states() {
        let refused = ActionState::Completed.move_to(ActionState::Cancelled);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "an action that is completed cannot become cancelled"
        );
    }
}
