//! The words of the contract's enums and those of the domain.

use crate::domain::action::{ActionState, Coverage};
use crate::domain::catalogue::{Condition, Kind, Role};
use crate::domain::stage::Stage;
use crate::grpc::convert;
use crate::proto as pb;
use crate::service::error::FieldViolation;

/// A choice of the contract that the domain lists in the same order, from 1.
pub(super) fn choice<T: Copy>(
    field: &str,
    number: i32,
    all: &[T],
    reason: &'static str,
    what: &str,
) -> Result<T, FieldViolation> {
    let place = number.checked_sub(1).and_then(|place| usize::try_from(place).ok());
    let found = place.and_then(|place| all.get(place));
    found
        .copied()
        .ok_or_else(|| FieldViolation::new(field, reason, format!("give {what} of the contract")))
}

/// The number of a choice in the contract: its place among all of them, from 1.
pub(super) fn number_of<T: PartialEq>(choice: T, all: &[T]) -> i32 {
    let place = all.iter().position(|known| *known == choice);
    place
        .and_then(|place| i32::try_from(place + 1).ok())
        .unwrap_or_default()
}

/// A state of a request, that has to be one.
pub(super) fn action_state(field: &str, number: i32) -> Result<ActionState, FieldViolation> {
    let state = i16::try_from(number).ok().and_then(ActionState::from_number);
    state.ok_or_else(|| {
        FieldViolation::new(
            field,
            "INVALID_ACTION_STATE",
            "give a state: to be considered, open, in progress, completed, not applicable, cancelled or withdrawn",
        )
    })
}

/// The states of a filter.
pub(super) fn states(numbers: &[i32]) -> Result<Vec<ActionState>, FieldViolation> {
    let state = |(place, number): (usize, &i32)| action_state(&format!("states[{place}]"), *number);
    numbers.iter().enumerate().map(state).collect()
}

/// The roles of a filter.
pub(super) fn roles(numbers: &[i32]) -> Result<Vec<Role>, FieldViolation> {
    let role = |(place, number): (usize, &i32)| {
        let field = format!("responsible_roles[{place}]");
        choice(&field, *number, &Role::ALL, "UNKNOWN_ROLE", "a role")
    };
    numbers.iter().enumerate().map(role).collect()
}

/// The stages of a filter.
pub(super) fn stages(numbers: &[i32]) -> Result<Vec<Stage>, FieldViolation> {
    let stage = |(place, number): (usize, &i32)| {
        let message = "give a stage of the contract";
        convert::stage(*number).ok_or_else(|| FieldViolation::new(format!("stages[{place}]"), "UNKNOWN_STAGE", message))
    };
    numbers.iter().enumerate().map(stage).collect()
}

/// How far something has come, as the contract gives it.
pub(super) fn to_coverage(coverage: Coverage) -> pb::CoverageStatus {
    match coverage {
        Coverage::InPlace => pb::CoverageStatus::InPlace,
        Coverage::InProgress => pb::CoverageStatus::InProgress,
        Coverage::NotBegun => pb::CoverageStatus::NotBegun,
        Coverage::NotApplicable => pb::CoverageStatus::NotApplicable,
        Coverage::Cancelled => pb::CoverageStatus::Cancelled,
    }
}

/// A state as the contract gives it.
pub(super) fn to_state(state: ActionState) -> pb::ActionState {
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
    use crate::domain::action_log::{
        Agency, ContactMethod, ContactOutcome, EvidenceSource, Party, PlanChangeKind, ReferralStatus,
    };
    use crate::domain::plan::{Decision, EndReason};

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
    fn every_role_of_the_contract_reads_back_and_no_other_number_does() {
        for role in Role::ALL {
            assert_eq!(roles(&[to_role(role).into()]), Ok(vec![role]));
        }
        for wrong in [0, 10, -1, i32::MIN] {
            let violation = roles(&[1, wrong]).unwrap_err();
            assert_eq!(
                (violation.field.as_str(), violation.reason),
                ("responsible_roles[1]", "UNKNOWN_ROLE")
            );
        }
    }

    /// Each choice of the domain has the name of the contract's value of its number.
    fn same_names<T: serde::Serialize + Copy + PartialEq>(
        all: &[T],
        prefix: &str,
        name_of: impl Fn(i32) -> Option<&'static str>,
    ) {
        for choice in all {
            let name = serde_json::to_value(choice).unwrap().as_str().unwrap().to_uppercase();
            let number = number_of(*choice, all);
            assert_eq!(name_of(number), Some(format!("{prefix}{name}").as_str()));
        }
        let beyond = i32::try_from(all.len()).unwrap() + 1;
        assert_eq!(name_of(beyond), None, "{prefix}");
    }

    #[test]
    fn the_choices_of_the_contract_and_of_the_domain_have_the_same_names() {
        same_names(Party::ALL, "PARTY_", |number| {
            Some(pb::Party::try_from(number).ok()?.as_str_name())
        });
        same_names(ContactMethod::ALL, "CONTACT_METHOD_", |number| {
            Some(pb::ContactMethod::try_from(number).ok()?.as_str_name())
        });
        same_names(ContactOutcome::ALL, "CONTACT_OUTCOME_", |number| {
            Some(pb::ContactOutcome::try_from(number).ok()?.as_str_name())
        });
        same_names(Agency::ALL, "REFERRAL_AGENCY_", |number| {
            Some(pb::ReferralAgency::try_from(number).ok()?.as_str_name())
        });
        same_names(ReferralStatus::ALL, "REFERRAL_STATUS_", |number| {
            Some(pb::ReferralStatus::try_from(number).ok()?.as_str_name())
        });
        same_names(EvidenceSource::ALL, "EVIDENCE_SOURCE_", |number| {
            Some(pb::EvidenceSource::try_from(number).ok()?.as_str_name())
        });
        same_names(PlanChangeKind::ALL, "PLAN_CHANGE_KIND_", |number| {
            Some(pb::PlanChangeKind::try_from(number).ok()?.as_str_name())
        });
        same_names(Decision::ALL, "PLAN_DECISION_", |number| {
            Some(pb::PlanDecision::try_from(number).ok()?.as_str_name())
        });
        same_names(EndReason::ALL, "PLAN_END_REASON_", |number| {
            Some(pb::PlanEndReason::try_from(number).ok()?.as_str_name())
        });
    }
}
