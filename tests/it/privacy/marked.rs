//! Every text of the contract is marked as personal, or known not to be.

use graduated_response::proto::DESCRIPTORS;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::examples::call::PACKAGE;

/// Names of fields that hold no personal data, whatever message they are in. One of another name has to be decided about:
/// marked with `personal` in the contract, or named here.
const NOT_PERSONAL: &[&str] = &[
    "action",
    "action_name",
    "agency_id",
    "after_percent",
    "attendance_percent",
    "before_percent",
    "change_id",
    "cursor",
    "enrolment_id",
    "enrolment_ids",
    "erasure_id",
    "etag",
    "event_id",
    "failure",
    "field",
    "from_school",
    "guidance",
    "hold_id",
    "hold_ids",
    "in_place_percent",
    "job_id",
    "kind",
    "laestab",
    "legal_hold_id",
    "lower_quartile_points",
    "median_points",
    "merge_id",
    "merged_id",
    "message",
    "new_enrolment_id",
    "newest_cursor",
    "next_page_token",
    "notice_id",
    "notice_ids",
    "oldest_cursor",
    "other_pupil_id",
    "page_token",
    "plan_id",
    "points",
    "previous_action",
    "provision_id",
    "provision_ids",
    "pupil_id",
    "pupil_ids",
    "reconciliation_id",
    "record",
    "request_id",
    "retire",
    "revision_id",
    "school",
    "school_id",
    "school_ids",
    "school_name",
    "source",
    "survivor_id",
    "term",
    "title",
    "to_school",
    "trust_id",
    "trust_name",
    "upper_quartile_points",
    "urn",
    "version",
    "year_group",
];

/// Fields whose names are those of personal ones elsewhere: names of schools and trusts, stable names of reasons, labels of a
/// school's calendar.
const NOT_PERSONAL_HERE: &[&str] = &[
    "Calendar.name",
    "CalendarEntryNotUnderstood.label",
    "CalendarEntryNotUnderstood.reason",
    "CalendarNote.label",
    "CalendarTerm.name",
    "CreateTrustRequest.name",
    "ErasePupilResponse.erasure",
    "ImportCalendarRequest.content",
    "Rejection.reason",
    "School.name",
    "SchoolFreshness.name",
    "SchoolSummary.name",
    "SessionBatchRefusal.reason",
    "Trust.name",
    "Warning.reason",
    "Action.name",
    "AddActionEntryRequest.name",
    "AssignActionRequest.name",
    "GetActionRequest.name",
    "ListActionEntriesRequest.name",
    "ProgressActionRequest.name",
    "RescheduleActionRequest.name",
];

/// Every message of the contract, nested ones too, but for those that stand for maps.
pub fn messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    pool.all_messages()
        .filter(|message| message.package_name() == PACKAGE && !message.is_map_entry())
}

/// Whether the contract marks a field.
pub fn is_personal(field: &FieldDescriptor) -> bool {
    let pool = field.parent_pool();
    let option = pool.get_extension_by_name(&format!("{PACKAGE}.personal")).unwrap();
    matches!(field.options().get_extension(&option).as_ref(), Value::Bool(true))
}

#[test]
fn every_text_of_the_contract_is_marked_as_personal_or_known_not_to_be() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (mut undecided, mut marked) = (Vec::new(), 0);
    for message in messages(&pool) {
        for field in message.fields() {
            let name = format!("{}.{}", message.name(), field.name());
            let known = NOT_PERSONAL.contains(&field.name()) || NOT_PERSONAL_HERE.contains(&name.as_str());
            match (is_personal(&field), field.kind()) {
                (true, _) => {
                    assert!(!NOT_PERSONAL_HERE.contains(&name.as_str()), "{name} is both");
                    marked += 1;
                }
                (false, Kind::String | Kind::Bytes) if !known => undecided.push(name),
                _ => {}
            }
        }
    }
    assert!(
        undecided.is_empty(),
        "mark them as personal, or name them in this test: {undecided:?}"
    );
    assert!(marked > 60, "{marked} fields are marked");
}

#[test]
fn a_pupil_s_name_upn_and_date_of_birth_and_what_people_write_are_marked() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    for name in [
        "Pupil.upn",
        "Pupil.given_name",
        "Pupil.family_name",
        "Pupil.date_of_birth",
        "PupilKey.upn",
        "MisIdentifier.value",
        "Note.text",
        "Person.name",
        "Correction.reason",
        "ExportSubjectDataResponse.content",
    ] {
        let (message, field) = name.split_once('.').unwrap();
        let message = pool.get_message_by_name(&format!("{PACKAGE}.{message}")).unwrap();
        assert!(is_personal(&message.get_field_by_name(field).unwrap()), "{name}");
    }
}
