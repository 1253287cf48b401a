use super::*;
use crate::domain::identifiers::{MisIdentifier, Urn};
use crate::domain::pupil::EnrolmentKind;
use crate::service::pupils::EnrolmentInput;
use crate::store::pupils::KIND_MIS;

const PERMANENT: &str = "Q999100125001";
const ANOTHER: &str = "E999100125002";
const TEMPORARY: &str = "B99910012500A";

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn today() -> NaiveDate {
    date("2026-01-12")
}

fn mis(value: &str) -> MisIdentifier {
    MisIdentifier::parse("mis", value).unwrap()
}

fn school(number: u32) -> SchoolKey {
    SchoolKey::Urn(Urn::parse(&number.to_string()).unwrap())
}

fn school_id(number: u32) -> SchoolId {
    SchoolId(Uuid::from_u128(u128::from(number)))
}

fn item(upn_text: &str, mis_value: &str) -> PupilInput {
    PupilInput {
        upn: Upn::parse(upn_text).unwrap(),
        mis_identifiers: (!mis_value.is_empty()).then(|| mis(mis_value)).into_iter().collect(),
        given_name: String::new(),
        family_name: String::new(),
        date_of_birth: None,
        year_group: None,
        enrolments: Vec::new(),
    }
}

fn enrolment(number: u32, kind: EnrolmentKind, start: &str, end: &str) -> EnrolmentInput {
    EnrolmentInput {
        school: school(number),
        kind,
        start: date(start),
        end: end.parse().ok(),
    }
}

/// A store with schools 100001 and 100002.
fn empty() -> Stored {
    Stored {
        schools: [100_001, 100_002]
            .map(|number| (school(number), school_id(number)))
            .into(),
        ..Stored::default()
    }
}

/// The same with a pupil who is on roll at 100001 since September.
fn with_pupil(number: u128, identifiers: &[(&str, bool)]) -> Stored {
    let mut stored = empty();
    add_pupil(&mut stored, number, identifiers);
    stored
}

fn add_pupil(stored: &mut Stored, number: u128, identifiers: &[(&str, bool)]) {
    let pupil_id = Uuid::from_u128(number);
    let at = chrono::DateTime::UNIX_EPOCH;
    let identifiers = identifiers.iter().map(|(value, is_current)| {
        let (key, kind, source) = match Upn::parse(value) {
            Ok(Some(upn)) => (PupilKey::Upn(upn), KIND_UPN, ""),
            _ => (PupilKey::Mis(mis(value)), KIND_MIS, "mis"),
        };
        stored.resolved.insert(key, PupilId(pupil_id));
        IdentifierRow {
            pupil_id,
            kind,
            source: source.to_owned(),
            value: (*value).to_owned(),
            is_current: *is_current,
        }
    });
    let pupil = StoredPupil {
        identifiers: identifiers.collect(),
        enrolments: vec![EnrolmentRow {
            pupil_id,
            enrolment_id: Uuid::from_u128(number + 1000),
            school_id: school_id(100_001).0,
            kind: EnrolmentKind::Sole.number(),
            start_date: date("2025-09-01"),
            end_date: None,
        }],
        row: PupilRow {
            pupil_id,
            given_name: "Given".to_owned(),
            family_name: "Family".to_owned(),
            date_of_birth: Some(date("2014-05-06")),
            year_group: Some(10),
            version: 1,
            created_at: at,
            updated_at: at,
            erased_at: None,
        },
    };
    stored.pupils.insert(pupil_id, pupil);
}

/// What becomes of each item: the effect, or the field and the reason of its refusal; with what is written and the reasons
/// of the warnings.
fn plan(stored: &Stored, items: &[PupilInput]) -> (Vec<Result<Effect, String>>, PupilWrites, Vec<String>) {
    let mut planner = Planner::new(stored, today());
    let results = items.iter().enumerate().map(|(index, item)| {
        let planned = planner.item(index, item).unwrap();
        planned
            .map(|(_, effect)| effect)
            .map_err(|violation| format!("{}: {}", violation.field, violation.reason))
    });
    let results = results.collect();
    let warnings = planner.warnings.iter().map(|warning| warning.reason.clone()).collect();
    (results, planner.writes, warnings)
}

fn refusal(stored: &Stored, item: PupilInput) -> String {
    let (results, writes, _) = plan(stored, &[item]);
    assert_eq!(writes, PupilWrites::default(), "a refused item leaves nothing to write");
    results.into_iter().next().unwrap().unwrap_err()
}

#[test]
fn a_pupil_of_whom_nothing_is_known_is_created_with_identifiers_and_enrolments() {
    let mut new = item(PERMANENT, "7");
    new.enrolments = vec![enrolment(100_001, EnrolmentKind::Sole, "2025-09-01", "")];
    let (results, writes, warnings) = plan(&empty(), &[new]);
    assert_eq!(results, [Ok(Effect::Created)]);
    assert_eq!(
        (
            writes.new_pupils.len(),
            writes.new_identifiers.len(),
            writes.new_enrolments.len()
        ),
        (1, 2, 1)
    );
    assert!(writes.new_identifiers.iter().all(|row| row.is_current));
    assert!(writes.changed_pupils.is_empty() && warnings.is_empty());
}

#[test]
fn an_item_that_gives_nothing_new_changes_nothing() {
    let stored = with_pupil(1, &[(PERMANENT, true), ("7", true)]);
    let mut same = item(PERMANENT, "7");
    same.enrolments = vec![enrolment(100_001, EnrolmentKind::Sole, "2025-09-01", "")];
    let (results, writes, _) = plan(&stored, &[same]);
    assert_eq!(results, [Ok(Effect::Unchanged)]);
    assert_eq!(writes, PupilWrites::default());
}

#[test]
fn what_an_item_does_not_give_stays_as_it_is() {
    let stored = with_pupil(1, &[(PERMANENT, true)]);
    let mut renamed = item(PERMANENT, "");
    renamed.given_name = "New".to_owned();
    let (results, writes, _) = plan(&stored, &[renamed]);
    assert_eq!(results, [Ok(Effect::Updated)]);
    let fields = &writes.changed_pupils[0];
    assert_eq!(
        (fields.given_name.as_str(), fields.family_name.as_str()),
        ("New", "Family")
    );
    assert_eq!(
        (fields.date_of_birth, fields.year_group),
        (Some(date("2014-05-06")), Some(10))
    );
}

#[test]
fn a_former_upn_and_an_mis_identifier_find_the_pupil() {
    let stored = with_pupil(1, &[(TEMPORARY, false), (PERMANENT, true), ("7", true)]);
    for found in [item(TEMPORARY, ""), item("", "7")] {
        assert_eq!(plan(&stored, &[found]).0, [Ok(Effect::Unchanged)]);
    }
}

#[test]
fn another_upn_takes_the_place_of_the_one_before_which_stays_as_a_former_number() {
    for (before, after) in [(TEMPORARY, PERMANENT), (PERMANENT, ANOTHER)] {
        let stored = with_pupil(1, &[(before, true), ("7", true)]);
        let (results, writes, warnings) = plan(&stored, &[item(after, "7")]);
        assert_eq!(results, [Ok(Effect::Updated)]);
        assert_eq!(warnings, ["UPN_REPLACED"]);
        let values =
            |rows: &[IdentifierRow]| -> Vec<_> { rows.iter().map(|row| (row.value.clone(), row.is_current)).collect() };
        assert_eq!(values(&writes.changed_identifiers), [(before.to_owned(), false)]);
        assert_eq!(values(&writes.new_identifiers), [(after.to_owned(), true)]);
    }
}

#[test]
fn a_former_upn_becomes_current_again_where_a_system_says_so() {
    let stored = with_pupil(1, &[(PERMANENT, false), (ANOTHER, true)]);
    let (results, writes, warnings) = plan(&stored, &[item(PERMANENT, "")]);
    assert_eq!(
        (results, warnings),
        (vec![Ok(Effect::Updated)], vec!["UPN_REPLACED".to_owned()])
    );
    let current: Vec<_> = writes
        .changed_identifiers
        .iter()
        .map(|row| (row.value.as_str(), row.is_current))
        .collect();
    assert_eq!(current, [(ANOTHER, false), (PERMANENT, true)]);
}

#[test]
fn a_temporary_upn_does_not_take_the_place_of_a_permanent_one() {
    let stored = with_pupil(1, &[(PERMANENT, true), ("7", true)]);
    let (results, writes, warnings) = plan(&stored, &[item(TEMPORARY, "7")]);
    assert_eq!(
        (results, warnings),
        (vec![Ok(Effect::Updated)], vec!["UPN_NOT_REPLACED".to_owned()])
    );
    assert!(writes.changed_identifiers.is_empty());
    assert!(!writes.new_identifiers[0].is_current);
}

#[test]
fn a_upn_with_a_wrong_letter_or_authority_is_taken_with_warnings() {
    let (results, _, warnings) = plan(&empty(), &[item("X100100125001", "")]);
    assert_eq!(results, [Ok(Effect::Created)]);
    assert!(
        warnings.contains(&"UPN_UNKNOWN_LOCAL_AUTHORITY".to_owned()),
        "{warnings:?}"
    );
    assert_eq!(plan(&empty(), &[item("A999100125001", "")]).2, ["UPN_CHECK_LETTER"]);
}

#[test]
fn identifiers_of_two_pupils_are_a_conflict() {
    let mut stored = with_pupil(1, &[(PERMANENT, true)]);
    add_pupil(&mut stored, 2, &[("7", true)]);
    assert_eq!(
        refusal(&stored, item(PERMANENT, "7")),
        "mis_identifiers[0]: IDENTIFIER_CONFLICT"
    );
}

#[test]
fn the_second_item_of_a_pupil_or_of_an_identifier_is_a_duplicate() {
    let duplicate = |field: &str| Err(format!("{field}: DUPLICATE_ITEM"));
    let stored = with_pupil(1, &[(PERMANENT, true), ("7", true)]);
    let (results, _, _) = plan(&stored, &[item(PERMANENT, ""), item("", "7")]);
    assert_eq!(results, [Ok(Effect::Unchanged), duplicate("mis_identifiers[0]")]);
    let (results, writes, _) = plan(
        &empty(),
        &[item(PERMANENT, "7"), item(ANOTHER, "7"), item(PERMANENT, "8")],
    );
    assert_eq!(
        results,
        [Ok(Effect::Created), duplicate("mis_identifiers[0]"), duplicate("upn")]
    );
    assert_eq!(writes.new_pupils.len(), 1);
}

#[test]
fn an_item_that_was_refused_stands_in_nobodys_way() {
    let mut wrong = item(PERMANENT, "");
    wrong.date_of_birth = Some(date("2026-01-13"));
    let (results, _, _) = plan(&empty(), &[wrong, item(PERMANENT, "")]);
    assert_eq!(
        results,
        [Err("date_of_birth: INVALID_DATE".to_owned()), Ok(Effect::Created)]
    );
}

#[test]
fn an_identifier_given_twice_in_one_item_is_stored_once() {
    let mut twice = item("", "7");
    twice.mis_identifiers.push(mis("7"));
    let (results, writes, _) = plan(&empty(), &[twice]);
    assert_eq!(results, [Ok(Effect::Created)]);
    assert_eq!(writes.new_identifiers.len(), 1);
}

#[test]
fn an_item_that_is_wrong_in_itself_is_refused_with_its_field() {
    assert_eq!(refusal(&empty(), item("", "")), "upn: MISSING_IDENTIFIER");
    let mut old = item(PERMANENT, "");
    old.date_of_birth = Some(date("1899-12-31"));
    assert_eq!(refusal(&empty(), old), "date_of_birth: INVALID_DATE");
    let with = |enrolment: EnrolmentInput| PupilInput {
        enrolments: vec![enrolment],
        ..item(PERMANENT, "")
    };
    let backwards = enrolment(100_001, EnrolmentKind::Sole, "2025-09-02", "2025-09-01");
    assert_eq!(
        refusal(&empty(), with(backwards)),
        "enrolments[0].end_date: INVALID_DATE_RANGE"
    );
    let nowhere = enrolment(100_009, EnrolmentKind::Sole, "2025-09-01", "");
    assert_eq!(refusal(&empty(), with(nowhere)), "enrolments[0].school: UNKNOWN_SCHOOL");
}

#[test]
fn a_transfer_ends_one_enrolment_and_begins_another() {
    let stored = with_pupil(1, &[(PERMANENT, true)]);
    let begins = enrolment(100_002, EnrolmentKind::Sole, "2026-01-05", "");
    let mut alone = item(PERMANENT, "");
    alone.enrolments = vec![begins.clone()];
    assert_eq!(refusal(&stored, alone.clone()), "enrolments[0]: OVERLAPPING_ENROLMENT");
    alone
        .enrolments
        .insert(0, enrolment(100_001, EnrolmentKind::Sole, "2025-09-01", "2025-12-19"));
    let (results, writes, _) = plan(&stored, &[alone]);
    assert_eq!(results, [Ok(Effect::Updated)]);
    assert_eq!(writes.changed_enrolments[0].end_date, Some(date("2025-12-19")));
    assert_eq!(writes.new_enrolments[0].school_id, school_id(100_002).0);
}

#[test]
fn one_enrolment_named_twice_overlaps_itself() {
    let mut twice = item(PERMANENT, "");
    twice.enrolments = vec![enrolment(100_001, EnrolmentKind::Sole, "2025-09-01", ""); 2];
    assert_eq!(refusal(&empty(), twice), "enrolments[1]: OVERLAPPING_ENROLMENT");
}

#[test]
fn an_enrolment_does_not_end_before_its_last_mark() {
    let mut stored = with_pupil(1, &[(PERMANENT, true)]);
    let ends = |end: &str| PupilInput {
        enrolments: vec![enrolment(100_001, EnrolmentKind::Sole, "2025-09-01", end)],
        ..item(PERMANENT, "")
    };
    let (pupil, enrolment) = (Uuid::from_u128(1), Uuid::from_u128(1001));
    assert_eq!(shortened(&ends("2025-12-19"), &stored), [(pupil, enrolment)]);
    assert_eq!(shortened(&ends(""), &stored), []);
    stored.last_marks.insert(enrolment, date("2025-12-19"));
    assert_eq!(
        refusal(&stored, ends("2025-12-18")),
        "enrolments[0].end_date: MARKS_OUTSIDE_ENROLMENT"
    );
    assert_eq!(plan(&stored, &[ends("2025-12-19")]).0, [Ok(Effect::Updated)]);
}
