//! Actions, their logs and their coverage as the contract gives them.

use super::words::{number_of, to_condition, to_kind, to_role, to_state};
use crate::domain::action::{Action, Assignee};
use crate::domain::action_log::{
    ActionEntry, Agency, Attendee, ContactMethod, ContactOutcome, Entry, Evidence, EvidenceSource, Party,
    PlanChangeKind, ReferralStatus,
};
use crate::domain::person::Author;
use crate::grpc::convert::{self, to_date, to_timestamp};
use crate::proto as pb;
use crate::service::actions::coverage::{CoverageSummary, GroupKey, ShownCounts};

pub(in crate::grpc) fn to_action(action: Action) -> pb::Action {
    pb::Action {
        no_longer_required: action.no_longer_required(),
        previous_action: action.previous().map(|name| name.to_string()).unwrap_or_default(),
        never_reached: action.never_reached,
        due_on: action.due_on.map(to_date),
        due_date_moved: action.due_moved,
        assignee: action.assignee.map(to_assignee),
        begun_at: action.begun_at.map(to_timestamp),
        next_review_on: action.next_review_on.map(to_date),
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
        raised_at: Some(to_timestamp(action.raised_at)),
        updated_at: Some(to_timestamp(action.updated_at)),
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

fn to_assignee(assignee: Assignee) -> pb::Assignee {
    pb::Assignee {
        person_id: assignee.person_id,
        name: assignee.name,
    }
}

pub(super) fn to_author(author: Author) -> pb::Person {
    pb::Person {
        name: author.person.name,
        position: author.person.position,
        person_id: author.person_id,
    }
}

pub(super) fn to_attendees(attendees: Vec<Attendee>) -> Vec<pb::Attendee> {
    let attendees = attendees.into_iter().map(|attendee| pb::Attendee {
        party: number_of(attendee.party, Party::ALL),
        person_name: attendee.person_name,
    });
    attendees.collect()
}

pub(super) fn to_evidence(evidence: Evidence) -> pb::Evidence {
    pb::Evidence {
        source: number_of(evidence.source, EvidenceSource::ALL),
        source_name: evidence.source_name,
        identifier: evidence.identifier,
        description: evidence.description,
    }
}

pub(in crate::grpc) fn to_entry(entry: ActionEntry) -> pb::ActionEntry {
    use pb::action_entry::Entry as Recorded;
    let recorded = match entry.entry {
        Entry::StateChange { from, to, reason } => Recorded::StateChange(pb::StateChange {
            from_state: to_state(from).into(),
            to_state: to_state(to).into(),
            reason,
        }),
        Entry::Assignment(change) => Recorded::AssignmentChange(pb::AssignmentChange {
            from_assignee: change.from.map(to_assignee),
            to_assignee: change.to.map(to_assignee),
        }),
        Entry::DueDate(change) => Recorded::DueDateChange(pb::DueDateChange {
            from_date: change.from.map(to_date),
            to_date: Some(to_date(change.to)),
            reason: change.reason,
        }),
        Entry::Note(text) => Recorded::Note(pb::Note { text }),
        Entry::Contact(contact) => Recorded::Contact(pb::Contact {
            party: number_of(contact.party, Party::ALL),
            person_name: contact.person_name,
            method: number_of(contact.method, ContactMethod::ALL),
            outcome: number_of(contact.outcome, ContactOutcome::ALL),
            summary: contact.summary,
            contacted_on: Some(to_date(contact.contacted_on)),
        }),
        Entry::Meeting(meeting) => Recorded::Meeting(pb::Meeting {
            attendees: to_attendees(meeting.attendees),
            summary: meeting.summary,
            held_on: Some(to_date(meeting.held_on)),
        }),
        Entry::Letter(letter) => Recorded::Letter(pb::Letter {
            recipient: letter.recipient,
            subject: letter.subject,
            reference: letter.reference,
            sent_on: Some(to_date(letter.sent_on)),
        }),
        Entry::Referral(referral) => Recorded::Referral(pb::Referral {
            agency: number_of(referral.agency, Agency::ALL),
            agency_name: referral.agency_name,
            status: number_of(referral.status, ReferralStatus::ALL),
            sent_in_entry: referral.sent_in_entry.unwrap_or(0),
            reference: referral.reference,
            comment: referral.comment,
            happened_on: Some(to_date(referral.happened_on)),
        }),
        Entry::Evidence(evidence) => Recorded::Evidence(to_evidence(evidence)),
        Entry::Review(review) => Recorded::Review(pb::Review {
            found: review.found,
            decided: review.decided,
            reviewed_on: Some(to_date(review.reviewed_on)),
            next_review_on: review.next_review_on.map(to_date),
        }),
        Entry::Plan(change) => Recorded::PlanChange(pb::PlanChange {
            plan_id: change.plan_id.to_string(),
            kind: number_of(change.kind, PlanChangeKind::ALL),
            cycle: change.cycle,
            happened_on: Some(to_date(change.happened_on)),
        }),
    };
    pb::ActionEntry {
        ordinal: entry.ordinal,
        entry: Some(recorded),
        recorded_by: Some(to_author(entry.recorded_by)),
        recorded_at: Some(to_timestamp(entry.recorded_at)),
    }
}

/// Counts, with the share in place where none of what it follows from is suppressed.
pub(super) fn to_counts(counts: &ShownCounts) -> pb::CoverageCounts {
    let shown = |place: usize| {
        Some(pb::Count {
            value: convert::count(counts[place].unwrap_or(0)),
            suppressed: counts[place].is_none(),
        })
    };
    let [in_place, _, _, not_applicable, _, required] = *counts;
    let share = match (in_place, not_applicable, required) {
        (Some(in_place), Some(not_applicable), Some(required)) => percent(in_place, required - not_applicable),
        _ => String::new(),
    };
    pb::CoverageCounts {
        required: shown(5),
        in_place: shown(0),
        in_progress: shown(1),
        not_begun: shown(2),
        not_applicable: shown(3),
        cancelled: shown(4),
        in_place_percent: share,
    }
}

/// A share in per cent with one decimal, rounded half up; empty where the whole is nothing.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let tenths = (u128::from(part) * 2000 + u128::from(whole)) / (u128::from(whole) * 2);
    format!("{}.{}", tenths / 10, tenths % 10)
}

pub(super) fn to_summary(summary: CoverageSummary) -> pb::SummarizeCoverageResponse {
    let groups = summary.groups.iter().map(|(key, counts)| {
        let counts = Some(to_counts(counts));
        match key {
            GroupKey::Provision(provision_id, title, stage) => pb::CoverageGroup {
                provision_id: provision_id.clone(),
                title: title.clone(),
                stage: convert::to_stage(*stage).into(),
                counts,
                ..pb::CoverageGroup::default()
            },
            GroupKey::Stage(stage) => pb::CoverageGroup {
                stage: convert::to_stage(*stage).into(),
                counts,
                ..pb::CoverageGroup::default()
            },
            GroupKey::School(school) => pb::CoverageGroup {
                school_id: school.school_id.to_string(),
                urn: school.urn.clone(),
                school_name: school.name.clone(),
                counts,
                ..pb::CoverageGroup::default()
            },
        }
    });
    pb::SummarizeCoverageResponse {
        as_of: Some(to_date(summary.as_of)),
        groups: groups.collect(),
        whole: Some(to_counts(&summary.whole)),
        small_number_limit: convert::count(summary.small_number_limit.unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_in_place_is_of_what_applies_and_is_left_out_where_it_would_tell_a_suppressed_count() {
        let counts = |counts: [Option<u64>; 6]| to_counts(&counts).in_place_percent;
        let all = [Some(7), Some(1), Some(6), Some(2), Some(0), Some(16)];
        assert_eq!(counts(all), "50.0");
        let mut hidden = all;
        hidden[3] = None;
        assert_eq!(counts(hidden), "");
        assert_eq!(counts([Some(0), Some(0), Some(0), Some(3), Some(0), Some(3)]), "");
        assert_eq!(percent(1, 8), "12.5");
        assert_eq!(percent(1, 3), "33.3");
    }
}
