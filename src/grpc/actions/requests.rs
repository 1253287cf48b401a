//! What requests ask for, read at the border.

use chrono::NaiveDate;
use prost::Message;
use uuid::Uuid;

use super::words;
use crate::domain::action::{ActionName, Assignee};
use crate::domain::action_log::{
    Agency, Attendee, Contact, ContactMethod, ContactOutcome, Entry, Evidence, EvidenceSource, Letter, Meeting, Party,
    Referral, ReferralStatus, Review,
};
use crate::domain::person::Author;
use crate::grpc::convert::{self, optional_date, optional_school_key, text};
use crate::grpc::fingerprint::fingerprint;
use crate::proto as pb;
use crate::service::actions::coverage::{CoverageQuery, Grouping};
use crate::service::actions::lists::{ActionQuery, MissingQuery};
use crate::service::actions::writes::{ActionRequest, Deed};
use crate::service::error::FieldViolation;

/// The length of a reason.
pub(super) const REASON: std::ops::RangeInclusive<usize> = 1..=500;
/// The length of what is told at length.
pub(super) const WORDS_MAX: usize = 4000;
/// The length of a name, or of somebody else's identifier.
pub(super) const NAME_MAX: usize = 200;
/// The length of a reference.
pub(super) const REFERENCE_MAX: usize = 500;
/// How many can be at a meeting.
const ATTENDEES_MAX: usize = 50;

pub(super) fn action_name(text: &str) -> Result<ActionName, FieldViolation> {
    named_action("name", text)
}

/// The action that a field names.
pub(super) fn named_action(field: &str, text: &str) -> Result<ActionName, FieldViolation> {
    text.parse().map_err(|error: crate::domain::action::InvalidActionName| {
        FieldViolation::new(field, "INVALID_ACTION_NAME", error.to_string())
    })
}

/// The etag of a request that needs one.
pub(super) fn required_etag(etag: &str) -> Result<Option<i64>, FieldViolation> {
    if etag.is_empty() {
        let message = "give the etag as last read: two people cannot both change one thing";
        return Err(FieldViolation::new("etag", "MISSING_ETAG", message));
    }
    Ok(convert::etag(etag))
}

pub(super) fn author(person: Option<&pb::Person>) -> Result<Author, FieldViolation> {
    Ok(Author {
        person: convert::person("recorded_by", person)?,
        person_id: text(
            "recorded_by.person_id",
            person.map_or("", |person| &person.person_id),
            0..=NAME_MAX,
        )?,
    })
}

/// The name of a request that gives itself one, with a digest of what it asks for.
pub(super) fn request_of(
    method: &str,
    id: &str,
    without_id: &impl Message,
) -> Result<Option<(Uuid, Vec<u8>)>, FieldViolation> {
    let id = convert::optional_request_id("request_id", id)?;
    Ok(id.map(|id| (id, fingerprint(method, without_id))))
}

pub(super) fn action_move(request: &pb::ProgressActionRequest) -> Result<ActionRequest, FieldViolation> {
    let without_id = pb::ProgressActionRequest {
        request_id: String::new(),
        ..request.clone()
    };
    Ok(ActionRequest {
        name: action_name(&request.name)?,
        deed: Deed::Move {
            version: required_etag(&request.etag)?,
            to: words::action_state("to_state", request.to_state)?,
            reason: text("reason", &request.reason, 0..=*REASON.end())?,
        },
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("ProgressAction", &request.request_id, &without_id)?,
    })
}

pub(super) fn assignment(request: &pb::AssignActionRequest) -> Result<ActionRequest, FieldViolation> {
    let without_id = pb::AssignActionRequest {
        request_id: String::new(),
        ..request.clone()
    };
    let assignee = request.assignee.as_ref().map(|assignee| {
        Ok(Assignee {
            person_id: text("assignee.person_id", &assignee.person_id, 1..=NAME_MAX)?,
            name: text("assignee.name", &assignee.name, 1..=NAME_MAX)?,
        })
    });
    Ok(ActionRequest {
        name: action_name(&request.name)?,
        deed: Deed::Assign {
            version: required_etag(&request.etag)?,
            to: assignee.transpose()?,
        },
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("AssignAction", &request.request_id, &without_id)?,
    })
}

pub(super) fn reschedule(request: &pb::RescheduleActionRequest) -> Result<ActionRequest, FieldViolation> {
    let without_id = pb::RescheduleActionRequest {
        request_id: String::new(),
        ..request.clone()
    };
    Ok(ActionRequest {
        name: action_name(&request.name)?,
        deed: Deed::Reschedule {
            version: required_etag(&request.etag)?,
            due_on: convert::date("due_on", request.due_on.as_ref())?,
            reason: text("reason", &request.reason, REASON)?,
        },
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("RescheduleAction", &request.request_id, &without_id)?,
    })
}

/// Work that is recorded; that of today where no day is given.
pub(super) fn recorded_work(
    request: &pb::AddActionEntryRequest,
    today: NaiveDate,
) -> Result<ActionRequest, FieldViolation> {
    let name = action_name(&request.name)?;
    let without_id = pb::AddActionEntryRequest {
        request_id: String::new(),
        ..request.clone()
    };
    Ok(ActionRequest {
        name,
        deed: Deed::Record(entry(request.entry.as_ref(), today)?),
        recorded_by: author(request.recorded_by.as_ref())?,
        request: request_of("AddActionEntry", &request.request_id, &without_id)?,
    })
}

fn entry(entry: Option<&pb::add_action_entry_request::Entry>, today: NaiveDate) -> Result<Entry, FieldViolation> {
    use pb::add_action_entry_request::Entry as Asked;
    Ok(match entry {
        None => {
            let message =
                "give what to record: a note, a contact, a meeting, a letter, a referral, evidence or a review";
            return Err(FieldViolation::new("entry", "MISSING_ENTRY", message));
        }
        Some(Asked::Note(note)) => Entry::Note(text("note.text", &note.text, 1..=WORDS_MAX)?),
        Some(Asked::Contact(asked)) => Entry::Contact(contact(asked, today)?),
        Some(Asked::Meeting(asked)) => Entry::Meeting(meeting(asked, today)?),
        Some(Asked::Letter(asked)) => Entry::Letter(Letter {
            recipient: text("letter.recipient", &asked.recipient, 1..=NAME_MAX)?,
            subject: text("letter.subject", &asked.subject, 1..=NAME_MAX)?,
            reference: text("letter.reference", &asked.reference, 0..=REFERENCE_MAX)?,
            sent_on: optional_date("letter.sent_on", asked.sent_on.as_ref())?.unwrap_or(today),
        }),
        Some(Asked::Referral(asked)) => Entry::Referral(referral(asked, today)?),
        Some(Asked::Evidence(asked)) => Entry::Evidence(evidence("evidence", asked)?),
        Some(Asked::Review(asked)) => Entry::Review(Review {
            found: text("review.found", &asked.found, 1..=WORDS_MAX)?,
            decided: text("review.decided", &asked.decided, 1..=WORDS_MAX)?,
            reviewed_on: optional_date("review.reviewed_on", asked.reviewed_on.as_ref())?.unwrap_or(today),
            next_review_on: optional_date("review.next_review_on", asked.next_review_on.as_ref())?,
        }),
    })
}

fn party(field: &str, number: i32) -> Result<Party, FieldViolation> {
    words::choice(field, number, Party::ALL, "UNKNOWN_PARTY", "a party")
}

fn contact(asked: &pb::Contact, today: NaiveDate) -> Result<Contact, FieldViolation> {
    let method = ("contact.method", "UNKNOWN_METHOD", "a method");
    let outcome = ("contact.outcome", "UNKNOWN_OUTCOME", "an outcome");
    Ok(Contact {
        party: party("contact.party", asked.party)?,
        person_name: text("contact.person_name", &asked.person_name, 0..=NAME_MAX)?,
        method: words::choice(method.0, asked.method, ContactMethod::ALL, method.1, method.2)?,
        outcome: words::choice(outcome.0, asked.outcome, ContactOutcome::ALL, outcome.1, outcome.2)?,
        summary: text("contact.summary", &asked.summary, 0..=WORDS_MAX)?,
        contacted_on: optional_date("contact.contacted_on", asked.contacted_on.as_ref())?.unwrap_or(today),
    })
}

/// Those at a meeting or a review, or who agreed to something.
pub(super) fn attendees(list: &str, asked: &[pb::Attendee]) -> Result<Vec<Attendee>, FieldViolation> {
    if asked.len() > ATTENDEES_MAX {
        let message = format!("give at most {ATTENDEES_MAX}");
        return Err(FieldViolation::new(list, "TOO_MANY", message));
    }
    let attendees = asked.iter().enumerate().map(|(place, attendee)| {
        let field = |name: &str| format!("{list}[{place}].{name}");
        Ok(Attendee {
            party: party(&field("party"), attendee.party)?,
            person_name: text(&field("person_name"), &attendee.person_name, 0..=NAME_MAX)?,
        })
    });
    attendees.collect()
}

fn meeting(asked: &pb::Meeting, today: NaiveDate) -> Result<Meeting, FieldViolation> {
    if asked.attendees.is_empty() {
        let message = format!("say who was present: 1 to {ATTENDEES_MAX}");
        return Err(FieldViolation::new("meeting.attendees", "MISSING_ATTENDEES", message));
    }
    Ok(Meeting {
        attendees: attendees("meeting.attendees", &asked.attendees)?,
        summary: text("meeting.summary", &asked.summary, 1..=WORDS_MAX)?,
        held_on: optional_date("meeting.held_on", asked.held_on.as_ref())?.unwrap_or(today),
    })
}

/// A referral. One that goes on has the agency of the entry that sent it, whatever it says itself.
fn referral(asked: &pb::Referral, today: NaiveDate) -> Result<Referral, FieldViolation> {
    let status = words::choice(
        "referral.status",
        asked.status,
        ReferralStatus::ALL,
        "UNKNOWN_REFERRAL_STATUS",
        "a status",
    )?;
    let sent_in_entry = (asked.sent_in_entry != 0).then_some(asked.sent_in_entry);
    match (status, sent_in_entry) {
        (ReferralStatus::Sent, Some(_)) => {
            let message = "a referral that is sent is a new one: give 0, or what became of the earlier one";
            return Err(FieldViolation::new(
                "referral.sent_in_entry",
                "REFERRAL_IS_NEW",
                message,
            ));
        }
        (ReferralStatus::Sent, None) | (_, Some(_)) => {}
        (_, None) => {
            let message = "give the ordinal of the entry that sent the referral";
            return Err(FieldViolation::new(
                "referral.sent_in_entry",
                "MISSING_REFERRAL",
                message,
            ));
        }
    }
    let agency = match (asked.agency, sent_in_entry) {
        // It is that of the entry that sent it.
        (0, Some(_)) => Agency::Other,
        (number, _) => words::choice("referral.agency", number, Agency::ALL, "UNKNOWN_AGENCY", "an agency")?,
    };
    let named = usize::from(agency == Agency::Other && sent_in_entry.is_none());
    Ok(Referral {
        agency,
        agency_name: text("referral.agency_name", &asked.agency_name, named..=NAME_MAX)?,
        status,
        sent_in_entry,
        reference: text("referral.reference", &asked.reference, 0..=REFERENCE_MAX)?,
        comment: text("referral.comment", &asked.comment, 0..=WORDS_MAX)?,
        happened_on: optional_date("referral.happened_on", asked.happened_on.as_ref())?.unwrap_or(today),
    })
}

pub(super) fn evidence(field: &str, asked: &pb::Evidence) -> Result<Evidence, FieldViolation> {
    let of = |name: &str| format!("{field}.{name}");
    let source = words::choice(
        &of("source"),
        asked.source,
        EvidenceSource::ALL,
        "UNKNOWN_EVIDENCE_SOURCE",
        "a source",
    )?;
    let named = usize::from(source == EvidenceSource::Other);
    Ok(Evidence {
        source,
        source_name: text(&of("source_name"), &asked.source_name, named..=NAME_MAX)?,
        identifier: text(&of("identifier"), &asked.identifier, 1..=REFERENCE_MAX)?,
        description: text(&of("description"), &asked.description, 0..=REFERENCE_MAX)?,
    })
}

pub(super) fn action_query(request: &pb::ListActionsRequest) -> Result<ActionQuery, FieldViolation> {
    let assignee = text("assignee_id", &request.assignee_id, 0..=NAME_MAX)?;
    Ok(ActionQuery {
        school: optional_school_key("school", &request.school)?,
        assignee: Some(assignee).filter(|assignee| !assignee.is_empty()),
        roles: words::roles(&request.responsible_roles)?,
        stages: words::stages(&request.stages)?,
        states: words::states(&request.states)?,
        due_from: optional_date("due_from", request.due_from.as_ref())?,
        due_to: optional_date("due_to", request.due_to.as_ref())?,
        overdue: request.overdue,
        no_longer_required: request.no_longer_required,
    })
}

pub(super) fn missing_query(request: &pb::ListMissingProvisionRequest) -> Result<MissingQuery, FieldViolation> {
    Ok(MissingQuery {
        school: optional_school_key("school", &request.school)?,
        roles: words::roles(&request.responsible_roles)?,
        stages: words::stages(&request.stages)?,
        to_be_considered: request.include_to_be_considered,
    })
}

pub(super) fn coverage_query(request: &pb::SummarizeCoverageRequest) -> Result<CoverageQuery, FieldViolation> {
    let grouping = match pb::CoverageGrouping::try_from(request.grouping) {
        Ok(pb::CoverageGrouping::Unspecified | pb::CoverageGrouping::Provision) => Grouping::Provision,
        Ok(pb::CoverageGrouping::Stage) => Grouping::Stage,
        Ok(pb::CoverageGrouping::School) => Grouping::School,
        Err(_) => {
            let message = "give a grouping of the contract: by provision, stage or school";
            return Err(FieldViolation::new("grouping", "UNKNOWN_GROUPING", message));
        }
    };
    Ok(CoverageQuery {
        school: optional_school_key("school", &request.school)?,
        stages: words::stages(&request.stages)?,
        grouping,
        suppress_small_numbers: request.suppress_small_numbers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "pupils/01890a5d-ac96-774b-bcce-b302099a8057/episodes/1/actions/1-01";

    fn somebody() -> Option<pb::Person> {
        Some(pb::Person {
            name: "A. Officer".into(),
            position: "attendance officer".into(),
            ..pb::Person::default()
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
    fn a_move_without_what_it_needs_is_refused_by_field() {
        let version = action_move(&complete()).unwrap().deed;
        assert!(matches!(version, Deed::Move { version: Some(0), .. }));
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
            ..pb::Person::default()
        });
        assert_eq!(
            refused(|r| r.recorded_by = nameless),
            ("recorded_by.name".into(), "MISSING_TEXT")
        );
    }

    fn recorded(asked: pb::add_action_entry_request::Entry) -> Result<Entry, FieldViolation> {
        let request = pb::AddActionEntryRequest {
            name: NAME.into(),
            entry: Some(asked),
            recorded_by: somebody(),
            ..Default::default()
        };
        match recorded_work(&request, "2025-10-01".parse().unwrap())?.deed {
            Deed::Record(entry) => Ok(entry),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_note_is_one_to_four_thousand_characters() {
        use pb::add_action_entry_request::Entry as Asked;
        let note = |text: &str| recorded(Asked::Note(pb::Note { text: text.to_owned() }));
        let longest = "é".repeat(4000);
        assert_eq!(note(&longest), Ok(Entry::Note(longest)));
        for (text, reason) in [(String::new(), "MISSING_TEXT"), ("é".repeat(4001), "TEXT_TOO_LONG")] {
            let violation = note(&text).unwrap_err();
            assert_eq!((violation.field.as_str(), violation.reason), ("note.text", reason));
        }
    }

    #[test]
    fn two_requests_that_differ_in_their_names_alone_ask_for_the_same() {
        let named = |id: &str| pb::ProgressActionRequest {
            request_id: id.into(),
            ..complete()
        };
        let digest = |request: &pb::ProgressActionRequest| action_move(request).unwrap().request.unwrap().1;
        let one = named("01890a5d-ac96-774b-bcce-b302099a8057");
        let same = named("01890a5d-ac96-774b-bcce-b302099a8058");
        assert_eq!(digest(&one), digest(&same));
        let other = pb::ProgressActionRequest {
            reason: "why".into(),
            ..one.clone()
        };
        assert_ne!(digest(&one), digest(&other));
    }
}
