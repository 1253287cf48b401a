//! What the page says, and that nothing that was written into a record can break out of it.

use std::os::unix::fs::PermissionsExt as _;

use chrono::NaiveDate;

use super::chart::{WeekPoint, weeks};
use super::page::page;
use super::*;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;
use crate::proto as pb;

/// What somebody may have written into any text of a record.
const HOSTILE: &str = "</td></style><script>alert('x')</script><img src=\"//example.org/x\" onerror='y'>&amp;";

fn text() -> String {
    HOSTILE.to_owned()
}

fn date(year: i32, month: i32, day: i32) -> Option<pb::Date> {
    Some(pb::Date { year, month, day })
}

fn time(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn person() -> Option<pb::Person> {
    Some(pb::Person {
        name: text(),
        position: text(),
        person_id: text(),
    })
}

fn session() -> pb::Session {
    pb::Session {
        date: date(2025, 9, 8),
        half: pb::SessionHalf::Am.into(),
    }
}

fn assignee() -> Option<pb::Assignee> {
    Some(pb::Assignee {
        person_id: text(),
        name: text(),
    })
}

/// An entry of every kind.
fn entries() -> Vec<CaseFileEntry> {
    use pb::action_entry::Entry;
    let attendees = vec![
        pb::Attendee {
            party: 2,
            person_name: text(),
        },
        pb::Attendee {
            party: 4,
            person_name: String::new(),
        },
    ];
    let kinds = [
        Entry::StateChange(pb::StateChange {
            from_state: 2,
            to_state: 4,
            reason: text(),
        }),
        Entry::Note(pb::Note { text: text() }),
        Entry::AssignmentChange(pb::AssignmentChange {
            from_assignee: None,
            to_assignee: assignee(),
        }),
        Entry::DueDateChange(pb::DueDateChange {
            from_date: None,
            to_date: date(2025, 12, 1),
            reason: text(),
        }),
        Entry::Contact(pb::Contact {
            party: 2,
            person_name: text(),
            method: 1,
            outcome: 2,
            summary: text(),
            contacted_on: date(2025, 11, 26),
        }),
        Entry::Meeting(pb::Meeting {
            attendees,
            summary: text(),
            held_on: date(2025, 11, 25),
        }),
        Entry::Letter(pb::Letter {
            recipient: text(),
            subject: text(),
            reference: text(),
            sent_on: date(2025, 11, 27),
        }),
        Entry::Referral(pb::Referral {
            agency: 8,
            agency_name: text(),
            status: 1,
            reference: text(),
            comment: text(),
            happened_on: date(2025, 11, 28),
            ..pb::Referral::default()
        }),
        Entry::Evidence(pb::Evidence {
            source: 5,
            source_name: text(),
            identifier: text(),
            description: text(),
        }),
        Entry::Review(pb::Review {
            found: text(),
            decided: text(),
            reviewed_on: date(2025, 11, 28),
            next_review_on: date(2025, 12, 12),
        }),
    ];
    let entries = kinds.into_iter().zip(1..).map(|(entry, ordinal)| CaseFileEntry {
        action_name: "pupils/p/episodes/1/actions/3-02".into(),
        entry: Some(pb::ActionEntry {
            ordinal,
            entry: Some(entry),
            recorded_by: person(),
            recorded_at: time(1_764_331_200),
        }),
    });
    entries.collect()
}

/// Ten weeks of marks from 1 September 2025: the first Tuesday missed without leave.
fn register() -> Register {
    let mut marks = vec![0; 62];
    for day in 0..70 {
        let week_day = day % 7;
        let absent = day == 1;
        marks.extend(match (week_day < 5, absent) {
            (false, _) => [0, 0],
            (true, true) => [31, 31],
            (true, false) => [1, 2],
        });
    }
    Register {
        enrolment_id: "e".into(),
        school_id: "s".into(),
        academic_year: 2025,
        marks,
        tally: Some(pb::Tally {
            attended: 98,
            possible: 100,
            authorised: 0,
            unauthorised: 2,
        }),
    }
}

/// A file with an item of every kind, whose texts are all hostile.
fn hostile() -> CaseFile {
    let tally = register().tally;
    let enrolment = pb::Enrolment {
        enrolment_id: "e".into(),
        school: "s".into(),
        kind: 1,
        start_date: date(2025, 9, 1),
        end_date: None,
    };
    let mis = pb::MisIdentifier {
        source: text(),
        value: text(),
    };
    let action = Action {
        name: "pupils/p/episodes/1/actions/3-02".into(),
        episode: 1,
        provision_id: text(),
        title: text(),
        stage: 4,
        state: 4,
        assignee: assignee(),
        raised_at: time(1_764_331_200),
        begun_at: time(1_764_331_200),
        ..Action::default()
    };
    let untouched = Action {
        name: text(),
        state: 2,
        begun_at: None,
        ..action.clone()
    };
    let header = CaseFileHeader {
        known_at: time(1_764_331_200),
        as_of: date(2025, 11, 28),
        trust_name: text(),
        pupil: Some(pb::Pupil {
            pupil_id: text(),
            upn: text(),
            mis_identifiers: vec![mis.clone()],
            given_name: text(),
            family_name: text(),
            enrolments: vec![enrolment],
            ..pb::Pupil::default()
        }),
        schools: vec![pb::School {
            school_id: "s".into(),
            name: text(),
            ..pb::School::default()
        }],
        stage: Some(pb::PupilStage {
            stage: 4,
            computed_stage: 3,
            hold_id: text(),
            academic_year: 2025,
            policy_version: 1,
            since: date(2025, 9, 2),
            year_tally: tally,
            ..pb::PupilStage::default()
        }),
    };
    let items = [
        Item::Policy(Policy {
            version: 1,
            title: text(),
            ..Policy::default()
        }),
        Item::Register(register()),
        Item::Revision(Revision {
            session: Some(session()),
            old_code: 30,
            new_code: 127,
            correction: Some(pb::Correction {
                reason: text(),
                corrected_by: person(),
            }),
            ..Revision::default()
        }),
        Item::Transition(Transition {
            from_stage: 1,
            to_stage: 4,
            retracted_to: 2,
            tally,
            attendance_percent: text(),
            ..Transition::default()
        }),
        Item::Hold(Hold {
            kind: 1,
            stage: 4,
            reason: text(),
            created_by: person(),
            ended_on: date(2025, 11, 1),
            ended_reason: text(),
            ended_by: person(),
            ..Hold::default()
        }),
        Item::Action(action),
        Item::Action(untouched),
        Item::Plan(pb::Plan {
            action: "pupils/p/episodes/1/actions/3-02".into(),
            cycles: vec![pb::PlanCycle {
                number: 1,
                aims: vec![pb::PlanAim {
                    aim: text(),
                    change: text(),
                    by_date: date(2025, 12, 1),
                }],
                steps: text(),
                agreed_by: vec![pb::Attendee {
                    party: 1,
                    person_name: text(),
                }],
                review: Some(pb::PlanReview {
                    found: text(),
                    decision: 3,
                    comment: text(),
                    recorded_by: person(),
                    ..pb::PlanReview::default()
                }),
                ..pb::PlanCycle::default()
            }],
            end: Some(pb::PlanEnd {
                reason: 1,
                comment: text(),
                recorded_by: person(),
                ..pb::PlanEnd::default()
            }),
            ..pb::Plan::default()
        }),
        Item::ThresholdEvent(ThresholdEvent {
            threshold: Some(pb::Threshold {
                kind: 5,
                proved_by: Some(session()),
                sessions: vec![session(); 10],
            }),
            ..ThresholdEvent::default()
        }),
        Item::PenaltyNotice(PenaltyNotice {
            reference: text(),
            sessions: vec![session()],
            recorded_by: person(),
            cancelled_reason: text(),
            cancelled_by: person(),
            ..PenaltyNotice::default()
        }),
        Item::PupilChange(PupilChange {
            kind: 6,
            mis_identifier: Some(mis),
            other_pupil_id: text(),
            reason: text(),
            changed_by: person(),
            ..PupilChange::default()
        }),
    ];
    let mut file = CaseFile {
        header,
        ..CaseFile::default()
    };
    items.into_iter().for_each(|item| file.take(item));
    for entry in entries() {
        file.take(Item::ActionEntry(entry));
    }
    file
}

/// The elements of a page with their attributes, as a browser reads them.
fn tags(page: &str) -> Vec<&str> {
    let after = page.split('<').skip(1);
    after.map(|rest| rest.split('>').next().unwrap()).collect()
}

#[test]
fn nothing_that_was_recorded_becomes_markup() {
    let page = page(&hostile());
    let page = page.as_str();
    let known = [
        "!DOCTYPE",
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "section",
        "h1",
        "h2",
        "h3",
        "p",
        "div",
        "dl",
        "dt",
        "dd",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "svg",
        "desc",
        "rect",
        "line",
        "text",
        "polyline",
        "circle",
    ];
    for tag in tags(page) {
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap()
            .trim_end_matches('/');
        assert!(known.contains(&name), "<{tag}>");
        assert!(
            !tag.contains("onerror") && !tag.contains("src=") && !tag.contains("href="),
            "<{tag}>"
        );
    }
    // Every text is there as it was written: name, notes, reasons, persons and the rest.
    let escaped = "&lt;/td&gt;&lt;/style&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;";
    assert!(page.matches(escaped).count() > 70, "{}", page.matches(escaped).count());
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    let page = page(&hostile());
    let outside = page.as_str().replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "@import", "url(", "<link", "<script"] {
        assert!(!outside.contains(word), "{word}");
    }
    assert!(outside.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
}

#[test]
fn the_page_can_be_read_aloud() {
    let page = page(&hostile());
    let page = page.as_str();
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en-GB\">"));
    assert_eq!(page.matches("<h1>").count(), 1);
    for tag in tags(page) {
        assert!(!tag.starts_with("th ") || tag.contains("scope="), "<{tag}>");
    }
    assert_eq!(page.matches("<table").count(), page.matches("<caption>").count());
    assert!(page.contains("<svg role=\"img\" aria-labelledby=\"chart-title chart-text\""));
    assert!(
        page.contains("at its lowest 80.0% after that of 1 Sep 2025, 98.0% after that of 3 Nov 2025."),
        "{page}"
    );
}

#[test]
fn an_empty_file_says_so_section_by_section() {
    let page = page(&CaseFile::default());
    for sentence in [
        "No enrolment is on record.",
        "The pupil has been at stage U throughout.",
        "No stage has required any action of this pupil.",
        "No contact, meeting or letter is on record.",
        "No plan of support is on record.",
        "No threshold was reached.",
        "No mark was ever changed.",
        "No mark is on record.",
    ] {
        assert!(page.as_str().contains(sentence), "{sentence}");
    }
}

#[test]
fn the_curve_has_a_point_for_every_week_with_a_possible_session_up_to_the_day() {
    let year = AcademicYear::from_start_year(2025).unwrap();
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let points = weeks(&[register()], year, day("2025-09-17"));
    let point = |monday, attended, possible| WeekPoint {
        monday: day(monday),
        to_date: Tally {
            attended,
            possible,
            authorised: 0,
            unauthorised: 2,
        },
    };
    let expected = [
        point("2025-09-01", 8, 10),
        point("2025-09-08", 18, 20),
        point("2025-09-15", 24, 26),
    ];
    assert_eq!(points, expected);
    let other_year = Register {
        academic_year: 2024,
        ..register()
    };
    assert_eq!(weeks(&[other_year], year, day("2025-09-17")), []);
}

#[test]
fn the_file_is_its_owners_alone_and_written_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.html");
    fs::write(&path, "what was there before").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    write_private(&path, "the page").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "the page");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
    assert!(write_private(&directory.path().join("none/file.html"), "the page").is_err());
}
