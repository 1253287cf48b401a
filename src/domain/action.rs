//! The life of an action: a provision raised for a pupil and worked to an end.

use std::fmt;

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
    pub const ALL: [ActionState; 6] = [
        ActionState::ToBeConsidered,
        ActionState::Open,
        ActionState::InProgress,
        ActionState::Completed,
        ActionState::NotApplicable,
        ActionState::Cancelled,
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
            ActionState::Completed | ActionState::NotApplicable | ActionState::Cancelled => &[ActionState::Open],
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
            ActionState::Completed | ActionState::NotApplicable | ActionState::Cancelled
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
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_can_be_left_and_every_state_can_be_reached() {
        for state in ActionState::ALL {
            assert!(!state.next_states().is_empty(), "{state}");
            assert!(!state.next_states().contains(&state), "{state}");
            let reachable = state == ActionState::ToBeConsidered
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
