//! What the examples call: a trust with a school and two pupils, from its first day to January.

use std::time::Duration;

use chrono::Datelike as _;
use serde_json::{Value, json};

use super::call::Script;
use super::script_plans;
use crate::common::day;

/// The children and the people are made up.
const SOURCE: &str = "arbor:101";

pub(super) fn date(text: &str) -> Value {
    let date = day(text);
    json!({ "year": date.year(), "month": date.month(), "day": date.day() })
}

fn session(text: &str, half: &str) -> Value {
    json!({ "date": date(text), "half": format!("SESSION_HALF_{half}") })
}

pub(super) fn person() -> Value {
    json!({ "name": "R. Ahmed", "position": "attendance officer" })
}

pub(super) fn mis(value: &str) -> Value {
    json!({ "mis_identifier": { "source": SOURCE, "value": value } })
}

/// A request's own name.
pub(super) fn request_id(number: u8) -> String {
    format!("0f9d7a52-0000-4000-8000-0000000000{number:02}")
}

pub(super) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

/// Calls every RPC.
pub async fn run(script: &mut Script) {
    let trust = set_up(script).await;
    let pupil = pupils(script, &trust).await;
    sessions(script, &trust, &pupil).await;
    reconciliations(script, &trust).await;
    stages(script, &trust).await;
    thresholds(script, &trust).await;
    actions(script, &trust).await;
    script_plans::run(script, &trust).await;
    holds(script, &trust).await;
    catalogues(script, &trust).await;
    policies(script, &trust).await;
    moves(script, &trust).await;
    super::script_case::run(script, &trust).await;
    super::script_privacy::run(script, &trust).await;
}

async fn set_up(script: &mut Script) -> String {
    let request = json!({});
    let about = "Which version answers, and what day it is for it.";
    script.show("AdminService/GetServerInfo", about, request).await;

    let request = json!({ "name": "Kestrel Learning Trust" });
    let about = "Every other call names the trust that this one makes.";
    let made = script.show("AdminService/CreateTrust", about, request).await;
    let trust = text(&made["trust"]["trust_id"]);
    script.world.trust_id.clone_from(&trust);
    let request = json!({ "trust_id": trust });
    let found = script.show("AdminService/GetTrust", "One trust.", request).await;
    let request = json!({
        "trust": { "trust_id": trust, "name": "Kestrel Academies Trust", "etag": found["trust"]["etag"] },
        "update_mask": "name",
    });
    let about = "The fields that the mask names are changed; the etag says which state was read.";
    script.show("AdminService/UpdateTrust", about, request).await;
    let about = "Every trust, page by page.";
    script
        .show("AdminService/ListTrusts", about, json!({ "page_size": 10 }))
        .await;

    let request = json!({
        "trust_id": trust,
        "school": { "urn": "135001", "name": "Kestrel Primary School", "phase": "PHASE_PRIMARY" },
    });
    let made = script
        .show("AdminService/CreateSchool", "A school, by its URN.", request)
        .await;
    let request = json!({ "trust_id": trust, "school": "135001" });
    script
        .show(
            "AdminService/GetSchool",
            "A school is named by its UUID or its URN.",
            request,
        )
        .await;
    let request = json!({
        "trust_id": trust,
        "school": { "school_id": made["school"]["school_id"], "session_minutes": 180, "etag": made["school"]["etag"] },
        "update_mask": "sessionMinutes",
    });
    let about = "How long a session is, for lost learning in hours.";
    script.show("AdminService/UpdateSchool", about, request).await;
    let request = json!({ "trust_id": trust });
    script
        .show("AdminService/ListSchools", "The trust's schools.", request)
        .await;

    let request = json!({
        "trust_id": trust,
        "school": "135001",
        "academic_year": 2025,
        "terms": [
            { "name": "Autumn", "first_day": date("2025-09-01"), "last_day": date("2025-12-19") },
            { "name": "Spring", "first_day": date("2026-01-05"), "last_day": date("2026-03-27") },
        ],
        "notes": [{
            "kind": "CALENDAR_DAY_KIND_CLOSURE",
            "first_day": date("2025-10-27"),
            "last_day": date("2025-10-31"),
            "label": "Half term",
        }],
    });
    let about = "The terms, and the days of them on which the school is closed.";
    script.show("AdminService/UpdateCalendar", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "academic_year": 2025 });
    let about = "Each day of the academic year, from 1 August, says of which kind it is.";
    script.show("AdminService/GetCalendar", about, request).await;
    let request = json!({ "trust_id": trust, "academic_year": 2025 });
    let about = "The calendars of every school, given or drawn from marks.";
    script.show("AdminService/ListCalendars", about, request).await;
    // "BEGIN:VCALENDAR" and so on, in base64 as JSON writes bytes.
    let request = json!({
        "trust_id": trust,
        "school": "135001",
        "academic_year": 2025,
        "content": "QkVHSU46VkNBTEVOREFSDQpWRVJTSU9OOjIuMA0KUFJPRElEOi0vL0V4YW1wbGUvL0VODQpCRUdJTjpWRVZFTlQNClVJRDoxQGV4YW1wbGUNCkRUU1RBTVA6MjAyNTA5MDFUMDAwMDAwWg0KRFRTVEFSVDtWQUxVRT1EQVRFOjIwMjYwMjE2DQpEVEVORDtWQUxVRT1EQVRFOjIwMjYwMjIxDQpTVU1NQVJZOkhhbGYgdGVybQ0KRU5EOlZFVkVOVA0KRU5EOlZDQUxFTkRBUg0K",
        "format": "CALENDAR_FORMAT_ICALENDAR",
        "style": "CALENDAR_STYLE_CLOSURES",
        "first_day": date("2025-09-01"),
        "last_day": date("2026-07-17"),
        "dry_run": true,
    });
    let about = "What an iCalendar file would make of the year; `dry_run` writes nothing.";
    script.show("AdminService/ImportCalendar", about, request).await;
    trust
}

async fn pupils(script: &mut Script, trust: &str) -> String {
    let request = json!({
        "trust_id": trust,
        "pupil": {
            "upn": "A823432108064",
            "mis_identifiers": [{ "source": SOURCE, "value": "1042" }],
            "given_name": "Amira",
            "family_name": "Example",
            "date_of_birth": date("2016-02-29"),
            "year_group": "YEAR_GROUP_4",
            "enrolments": [{
                "school": "135001", "kind": "ENROLMENT_KIND_SOLE", "start_date": date("2025-09-01"),
            }],
        },
    });
    let made = script
        .show(
            "PupilService/CreatePupil",
            "A pupil with the school at which they are.",
            request,
        )
        .await;
    let pupil = text(&made["pupil"]["pupil_id"]);
    let request = json!({ "trust_id": trust, "pupil": mis("1042") });
    let about = "A pupil is named by UUID, UPN, or the identifier of the MIS.";
    let found = script.show("PupilService/GetPupil", about, request).await;
    let request = json!({
        "trust_id": trust,
        "pupil": { "pupil_id": pupil, "year_group": "YEAR_GROUP_5", "etag": found["pupil"]["etag"] },
        "update_mask": "yearGroup",
    });
    script
        .show("PupilService/UpdatePupil", "The fields that the mask names.", request)
        .await;
    let request = json!({
        "trust_id": trust,
        "request_id": request_id(1),
        "pupils": [{
            "mis_identifiers": [{ "source": SOURCE, "value": "1042" }],
            "enrolments": [{
                "school": "135001", "kind": "ENROLMENT_KIND_SOLE", "start_date": date("2025-09-01"),
            }],
        }],
    });
    let about = "What an MIS sends every night: a pupil who is known is brought up to date, another is made. The same \
                 `request_id` again gets the first answer.";
    script.show("PupilService/BatchUpsertPupils", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "page_size": 50 });
    script
        .show("PupilService/ListPupils", "The pupils of a school.", request)
        .await;
    pupil
}

async fn sessions(script: &mut Script, trust: &str, pupil: &str) {
    let world = &script.world;
    world.record_days(pupil, "2025-09-01", "2025-10-24", "/", "\\").await;
    world.record_days(pupil, "2025-11-03", "2025-12-05", "/", "\\").await;
    for (from, to, code) in [("2025-10-01", "2025-10-08", "I"), ("2025-11-10", "2025-11-14", "O")] {
        world.record_days(pupil, from, to, code, code).await;
    }

    let present = json!(["ATTENDANCE_CODE_PRESENT_MORNING", "ATTENDANCE_CODE_PRESENT_AFTERNOON"]);
    let request = json!({
        "trust_id": trust,
        "batch": {
            "request_id": request_id(2),
            "items": [{
                "pupil": mis("1042"), "first_session": session("2025-12-08", "AM"), "marks": present,
            }],
        },
    });
    let about =
        "A run of marks from a session on, two a day, weekends included: unspecified leaves a session as it is.";
    script.show("SessionService/RecordSessions", about, request).await;
    let request = json!({
        "trust_id": trust,
        "batch": {
            "request_id": request_id(3),
            "items": [{
                "pupil": mis("1042"),
                "first_session": session("2025-12-08", "AM"),
                "marks": ["ATTENDANCE_CODE_L"],
                "correction": { "reason": "arrived at 9:20", "corrected_by": person() },
            }],
        },
    });
    let about = "Changing a mark takes a reason and a person.";
    script.show("SessionService/RecordSessions", about, request).await;
    let batch = |number: u8, first: &str| {
        json!({
            "trust_id": trust,
            "batch": {
                "request_id": request_id(number),
                "items": [{ "pupil": mis("1042"), "first_session": session(first, "AM"), "marks": present }],
            },
        })
    };
    let requests = vec![batch(4, "2025-12-09"), batch(5, "2025-12-10")];
    let about = "Batches as a stream: each is acknowledged once it is committed.";
    script
        .show_stream("SessionService/StreamSessions", about, requests, 2)
        .await;

    let request = json!({ "trust_id": trust, "pupil": mis("1042"), "academic_year": 2025 });
    let about = "Every mark of a pupil's academic year, from 1 August.";
    script.show("SessionService/ListRegisters", about, request).await;
    let request = json!({ "trust_id": trust, "pupil": mis("1042"), "from_date": date("2025-12-01") });
    let about = "What was changed, from what, why, when and by whom.";
    script.show("SessionService/ListRevisions", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "gaps_max": 5 });
    let about = "Of each school the last session received, and the school days without a register.";
    script.show("SessionService/ListSchoolFreshness", about, request).await;
}

async fn reconciliations(script: &mut Script, trust: &str) {
    // The whole of Wednesday 10 December, but that the afternoon is not there.
    let whole = |number: u8| {
        let header = json!({
            "trust_id": trust,
            "school": "135001",
            "from_date": date("2025-12-10"),
            "to_date": date("2025-12-10"),
            "correction": { "reason": "nightly reconciliation with the MIS", "corrected_by": person() },
            "limits": { "removed_marks_max": 0 },
            "request_id": request_id(number),
        });
        let item = json!({
            "pupil": mis("1042"),
            "first_session": session("2025-12-10", "AM"),
            "marks": ["ATTENDANCE_CODE_PRESENT_MORNING"],
        });
        vec![json!({ "header": header }), json!({ "items": { "items": [item] } })]
    };
    let about = "The whole of a school's registers for some days. What would take away or move more than the limits allow \
                 stops and waits.";
    let waiting = script
        .show_stream("SessionService/ReconcileRegisters", about, whole(20), 1)
        .await
        .remove(0);
    let waiting = waiting["reconciliation"].clone();
    let request = json!({ "trust_id": trust, "reconciliation_id": waiting["reconciliation_id"] });
    let about = "What it would do, mark by mark.";
    script.show("SessionService/GetReconciliation", about, request).await;
    let request = json!({
        "trust_id": trust,
        "reconciliation_id": waiting["reconciliation_id"],
        "etag": waiting["etag"],
        "reason": "the MIS had lost the afternoon",
        "discarded_by": person(),
    });
    let about = "A person who looked at it lets it be.";
    script
        .show("SessionService/DiscardReconciliation", about, request)
        .await;
    let again = script
        .call("SessionService/ReconcileRegisters", &whole(21), 1)
        .await
        .remove(0);
    let request = json!({
        "trust_id": trust,
        "reconciliation_id": again["reconciliation"]["reconciliation_id"],
        "etag": again["reconciliation"]["etag"],
        "approved_by": person(),
    });
    let about = "A person who looked at it lets it happen.";
    script
        .show("SessionService/ApproveReconciliation", about, request)
        .await;
    let request = json!({ "trust_id": trust, "school": "135001", "state": "RECONCILIATION_STATE_APPLIED" });
    let about = "A school's reconciliations.";
    script.show("SessionService/ListReconciliations", about, request).await;
    let request = json!({
        "trust_id": trust,
        "batch": {
            "request_id": request_id(22),
            "items": [{
                "pupil": mis("1042"),
                "first_session": session("2025-12-02", "PM"),
                "marks": ["ATTENDANCE_CODE_N"],
                "correction": { "reason": "was not in the afternoon", "corrected_by": person() },
            }],
        },
    });
    script.call("SessionService/RecordSessions", &[request], 1).await;
    let request = json!({ "trust_id": trust, "school": "135001" });
    let about = "An N must not stay: those that are older than five school days.";
    script
        .show("SessionService/ListUnexplainedAbsences", about, request)
        .await;
}

async fn stages(script: &mut Script, trust: &str) {
    let pupil = || mis("1042");
    let of_pupil = || json!({ "trust_id": trust, "pupil": pupil() });
    script
        .show("StageService/GetPupilStage", "The stage of a pupil today.", of_pupil())
        .await;
    let request = json!({ "trust_id": trust, "pupil": pupil(), "as_of": date("2025-10-10") });
    let about = "The stage of an earlier day, by what is known now; `known_at` asks for what was known then.";
    script.show("StageService/GetPupilStage", about, request).await;
    let request = json!({ "trust_id": trust, "pupils": [pupil(), mis("9999")] });
    let about = "Many pupils at once, in the order asked.";
    script.show("StageService/BatchGetPupilStages", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "stages": ["STAGE_THREE", "STAGE_FOUR"] });
    script
        .show("StageService/ListPupilStages", "Who is at these stages.", request)
        .await;
    let about = "Why, in counts and in words, and what moves the pupil up or down.";
    script.show("StageService/ExplainPupilStage", about, of_pupil()).await;
    let about = "How many sessions in a row reach each better stage and by when, and how many absences each worse one.";
    script.show("StageService/ForecastPupilStage", about, of_pupil()).await;
    let request = json!({ "trust_id": trust, "pupil": pupil(), "academic_year": 2025 });
    let about = "When the pupil is absent, as facts.";
    script.show("StageService/GetAttendancePatterns", about, request).await;
    let request = json!({ "trust_id": trust, "counts": { "attended": 270, "possible": 300 } });
    let about = "What the policy makes of counts given in the call; no pupil is needed.";
    script.show("StageService/ClassifyAttendance", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "sessions": 40 });
    let about = "Who will be persistently absent within so many sessions at the present rate.";
    script
        .show("StageService/ForecastPersistentAbsence", about, request)
        .await;

    let request = json!({ "trust_id": trust, "school": "135001" });
    script
        .show("StageService/SummarizeSchool", "A school's figures.", request)
        .await;
    let request = json!({ "trust_id": trust });
    script
        .show(
            "StageService/SummarizeTrust",
            "The trust's figures, with those of each school.",
            request,
        )
        .await;
    let request = json!({
        "trust_id": trust, "school": "135001", "grouping": "ATTENDANCE_GROUPING_WEEK", "academic_year": 2025,
    });
    let about = "Attendance by week; small numbers can be suppressed.";
    script.show("StageService/SummarizeAttendance", about, request).await;
    let request = json!({
        "trust_id": trust,
        "school": "135001",
        "counting": "MOVEMENT_COUNTING_FIRST_TO_LAST",
        "from_date": date("2025-09-01"),
        "to_date": date("2025-12-12"),
    });
    let about = "Who moved from which stage to which over a period.";
    script.show("StageService/SummarizeMovements", about, request).await;

    let about = "A pupil's moves, with the counts that caused each.";
    script.show("StageService/ListTransitions", about, of_pupil()).await;
    let request = json!({ "trust_id": trust });
    let about = "Where the feed begins and ends, and how long it is kept.";
    script.show("StageService/GetTransitionFeed", about, request).await;
    let request = json!({ "trust_id": trust, "start": "WATCH_START_BEGINNING" });
    let about = "Every move from the beginning on, in the order of the commits; the stream goes on.";
    script
        .show_stream("StageService/WatchTransitions", about, vec![request], 2)
        .await;
}

async fn thresholds(script: &mut Script, trust: &str) {
    let request = json!({ "trust_id": trust, "pupil": mis("1042") });
    let about = "What a pupil has reached, with the sessions that prove it.";
    script.show("StageService/ListPupilThresholds", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001" });
    script
        .show(
            "StageService/ListThresholdEvents",
            "What was raised at a school.",
            request,
        )
        .await;
    let request = json!({
        "trust_id": trust,
        "school": "135001",
        "from_date": date("2025-09-01"),
        "to_date": date("2025-12-12"),
    });
    let about = "The return to the local authority, as CSV: base64 in JSON.";
    script
        .show_stream("StageService/ExportThresholdReturn", about, vec![request], 9)
        .await;
    let sessions: Vec<Value> = (10..15)
        .flat_map(|day| ["AM", "PM"].map(|half| session(&format!("2025-11-{day}"), half)))
        .collect();
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "issued_on": date("2025-12-01"),
        "reference": "LA-2025-0107",
        "sessions": sessions,
        "recorded_by": person(),
        "request_id": request_id(6),
    });
    let about = "A penalty notice that was issued uses up its sessions.";
    let issued = script.show("StageService/RecordPenaltyNotice", about, request).await;
    let request = json!({ "trust_id": trust, "pupil": mis("1042") });
    script
        .show("StageService/ListPenaltyNotices", "A pupil's notices.", request)
        .await;
    let request = json!({
        "trust_id": trust,
        "notice_id": issued["notice"]["notice_id"],
        "reason": "withdrawn by the local authority",
        "cancelled_by": person(),
    });
    script
        .show(
            "StageService/CancelPenaltyNotice",
            "A notice that was withdrawn.",
            request,
        )
        .await;
}

async fn actions(script: &mut Script, trust: &str) {
    let request = json!({ "trust_id": trust, "pupil": mis("1042"), "page_size": 2 });
    let about = "What the stage requires of people, with who is responsible.";
    let found = script.show("ActionService/ListPupilActions", about, request).await;
    let name = text(&found["actions"][0]["name"]);
    let request = json!({ "trust_id": trust, "name": name });
    let action = script
        .show("ActionService/GetAction", "One action by its name.", request)
        .await;
    let request = json!({
        "trust_id": trust,
        "name": name,
        "note": { "text": "rang home: will come in on Monday" },
        "recorded_by": person(),
        "request_id": request_id(7),
    });
    let added = script
        .show(
            "ActionService/AddActionEntry",
            "Recorded work begins an action.",
            request,
        )
        .await;
    let etag = [&added["action"]["etag"], &action["action"]["etag"]]
        .into_iter()
        .find(|etag| etag.is_string());
    let request = json!({
        "trust_id": trust,
        "name": name,
        "etag": etag,
        "to_state": "ACTION_STATE_COMPLETED",
        "recorded_by": person(),
        "request_id": request_id(8),
    });
    let about = "A move of the action's state; the etag says which state was read.";
    let done = script.show("ActionService/ProgressAction", about, request).await;
    let request = json!({
        "trust_id": trust,
        "name": name,
        "etag": done["action"]["etag"],
        "to_state": "ACTION_STATE_OPEN",
        "reason": "absent again",
        "recorded_by": person(),
    });
    let about = "To reopen needs a reason, as to decline and to cancel do.";
    let open = script.show("ActionService/ProgressAction", about, request).await;
    let request = json!({
        "trust_id": trust,
        "name": name,
        "etag": open["action"]["etag"],
        "assignee": { "person_id": "entra:77", "name": "B. Okafor" },
        "recorded_by": person(),
        "request_id": request_id(36),
    });
    let about = "An action is given to a person, by the identifier and the name that your own system has for them.";
    let given = script.show("ActionService/AssignAction", about, request).await;
    let request = json!({
        "trust_id": trust,
        "name": name,
        "etag": given["action"]["etag"],
        "due_on": date("2026-01-09"),
        "reason": "the family is away until the new year",
        "recorded_by": person(),
        "request_id": request_id(37),
    });
    let about = "Another due date, for a reason.";
    script.show("ActionService/RescheduleAction", about, request).await;
    let request = json!({
        "trust_id": trust,
        "name": name,
        "contact": {
            "party": "PARTY_PARENT",
            "method": "CONTACT_METHOD_TELEPHONE",
            "outcome": "CONTACT_OUTCOME_REACHED",
            "summary": "agreed to meet after the holidays",
            "contacted_on": date("2025-12-11"),
        },
        "recorded_by": person(),
        "request_id": request_id(38),
    });
    let about = "Work of other kinds than notes: contacts, meetings, letters, referrals, evidence and reviews.";
    script.show("ActionService/AddActionEntry", about, request).await;
    let request = json!({ "trust_id": trust, "name": name });
    script
        .show("ActionService/ListActionEntries", "The action's log.", request)
        .await;
    actions_of_trust(script, trust).await;
}

async fn actions_of_trust(script: &mut Script, trust: &str) {
    let request = json!({
        "trust_id": trust,
        "responsible_roles": ["RESPONSIBLE_ROLE_ATTENDANCE_OFFICER"],
        "states": ["ACTION_STATE_OPEN", "ACTION_STATE_IN_PROGRESS"],
        "no_longer_required": false,
        "page_size": 2,
    });
    let about = "What one role has to do in the whole trust, by due date.";
    script.show("ActionService/ListActions", about, request).await;
    let request = json!({ "trust_id": trust, "assignee_id": "entra:77" });
    script
        .show("ActionService/ListActions", "What one person has.", request)
        .await;
    let request = json!({ "trust_id": trust, "school": "135001", "page_size": 2 });
    let about = "What is required and on which nobody has recorded any work, the longest raised first.";
    script.show("ActionService/ListMissingProvision", about, request).await;
    let request = json!({ "trust_id": trust, "pupil": mis("1042") });
    let about = "What a pupil's stage requires, and how far it has come.";
    script.show("ActionService/GetPupilCoverage", about, request).await;
    let request = json!({ "trust_id": trust, "grouping": "COVERAGE_GROUPING_STAGE" });
    let about = "How much of what stages require is in place, by the stage that requires it.";
    script.show("ActionService/SummarizeCoverage", about, request).await;
}

async fn holds(script: &mut Script, trust: &str) {
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "kind": "HOLD_KIND_AT_LEAST",
        "stage": "STAGE_FOUR",
        "to_date": date("2026-01-30"),
        "reason": "safeguarding: agreed with the DSL",
        "created_by": person(),
        "request_id": request_id(9),
    });
    let about = "A person keeps a pupil at a stage of greater need, until a day.";
    let held = script.show("AdminService/CreateHold", about, request).await;
    let request = json!({ "trust_id": trust, "pupil": mis("1042") });
    script.show("AdminService/ListHolds", "A pupil's holds.", request).await;
    let request = json!({
        "trust_id": trust,
        "hold_id": held["hold"]["hold_id"],
        "reason": "reviewed: no longer needed",
        "ended_by": person(),
    });
    script
        .show("AdminService/EndHold", "A hold that ends before its day.", request)
        .await;
}

async fn catalogues(script: &mut Script, trust: &str) {
    let request = json!({
        "trust_id": trust,
        "title": "With a breakfast club",
        "based_on_version": 1,
        "changes": [{
            "put": {
                "provision_id": "breakfast-club",
                "stage": "STAGE_TWO",
                "title": "Offer a place at the breakfast club",
                "kind": "PROVISION_KIND_CONTACT",
                "condition": "PROVISION_CONDITION_IF_APPROPRIATE",
                "responsible_roles": ["RESPONSIBLE_ROLE_CLASS_TEACHER_OR_TUTOR"],
            },
        }],
        "request_id": request_id(10),
    });
    let about = "Another version of the catalogue, as changes to one that is there.";
    let made = script.show("AdminService/CreateCatalogue", about, request).await;
    let version = &made["catalogue"]["version"];
    let request = json!({ "trust_id": trust, "version": version, "activated_by": person() });
    script
        .show(
            "AdminService/ActivateCatalogue",
            "From now on it raises the actions.",
            request,
        )
        .await;
    let request = json!({ "trust_id": trust });
    script
        .show("AdminService/GetCatalogue", "The catalogue in force.", request.clone())
        .await;
    script
        .show("AdminService/ListCatalogues", "Every version.", request)
        .await;
}

async fn policies(script: &mut Script, trust: &str) {
    let of_trust = || json!({ "trust_id": trust });
    let found = script
        .show("AdminService/GetPolicy", "The policy in force.", of_trust())
        .await;
    let mut settings = found["policy"]["settings"].clone();
    settings["fall_waits"] = json!(true);
    let request = json!({ "trust_id": trust, "title": "A fall waits", "settings": settings });
    let about = "A draft: it can be changed until it is first brought into force.";
    let drafted = script.show("AdminService/CreatePolicy", about, request).await;
    let version = &drafted["policy"]["version"];
    settings["minimum_possible"] = json!(10);
    let request = json!({
        "trust_id": trust,
        "version": version,
        "title": "A fall waits for a person",
        "settings": settings,
        "etag": drafted["policy"]["etag"],
    });
    script
        .show("AdminService/UpdatePolicy", "A draft that is changed.", request)
        .await;
    let request = json!({ "trust_id": trust, "version": version });
    let about = "What would happen if it came into force today; nothing is written.";
    script.show("AdminService/PreviewPolicy", about, request).await;
    let request = json!({
        "trust_id": trust, "version": version, "activated_by": person(), "request_id": request_id(11),
    });
    let about = "A job judges every pupil anew in one step.";
    let asked = script.show("AdminService/ActivatePolicy", about, request).await;
    let of_job = json!({ "trust_id": trust, "job_id": asked["job"]["job_id"] });
    finished(script, &of_job).await;
    script
        .show("AdminService/GetJob", "How far a job is.", of_job.clone())
        .await;
    let about = "The same as a stream that ends with the job.";
    script
        .show_stream("AdminService/WatchJob", about, vec![of_job], 1)
        .await;
    script
        .show("AdminService/ListJobs", "The trust's jobs.", of_trust())
        .await;
    script
        .show("AdminService/ListPolicies", "Every version.", of_trust())
        .await;
    let about = "What came into force when, and by whom.";
    script
        .show("AdminService/ListPolicyActivations", about, of_trust())
        .await;

    let pupil = script
        .call(
            "PupilService/GetPupil",
            &[json!({ "trust_id": trust, "pupil": mis("1042") })],
            1,
        )
        .await;
    let pupil = text(&pupil[0]["pupil"]["pupil_id"]);
    script.world.turn_to("2026-03-20");
    script
        .world
        .record_days(&pupil, "2025-12-11", "2025-12-19", "/", "\\")
        .await;
    script
        .world
        .record_days(&pupil, "2026-01-05", "2026-03-20", "/", "\\")
        .await;
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "reason": "reviewed with the family",
        "confirmed_by": person(),
        "request_id": request_id(12),
    });
    let about = "A person confirms a fall that waits.";
    script.show("AdminService/ConfirmFall", about, request).await;
}

async fn moves(script: &mut Script, trust: &str) {
    let request = json!({
        "trust_id": trust,
        "school": { "urn": "135002", "name": "Kestrel Academy", "phase": "PHASE_SECONDARY" },
    });
    script.call("AdminService/CreateSchool", &[request], 1).await;
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "from_school": "135001",
        "to_school": "135002",
        "start_date": date("2026-03-23"),
        "last_date": date("2026-03-20"),
        "kind": "ENROLMENT_KIND_SOLE",
        "reason": "moved house",
        "changed_by": person(),
        "request_id": request_id(30),
    });
    let about = "A pupil moves within the trust; the year's record follows.";
    let moved = script.show("PupilService/TransferPupil", about, request).await;
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "school": "135002",
        "last_date": date("2026-03-27"),
        "reason": "leaves the trust",
        "changed_by": person(),
        "request_id": request_id(31),
    });
    let about = "A pupil who leaves.";
    let left = script.show("PupilService/EndEnrolment", about, request).await;
    let enrolments = left["pupil"]["enrolments"].as_array().cloned().unwrap_or_default();
    let last = enrolments
        .iter()
        .find(|enrolment| enrolment["start_date"] == date("2026-03-23"));
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "enrolment_id": last.unwrap()["enrolment_id"],
        "reason": "stays after all",
        "changed_by": person(),
        "request_id": request_id(32),
    });
    script
        .show("PupilService/ReopenEnrolment", "A leaver who stays.", request)
        .await;

    let request = json!({
        "trust_id": trust,
        "pupil": {
            "mis_identifiers": [{ "source": SOURCE, "value": "2001" }],
            "given_name": "Amira",
            "family_name": "Exampel",
        },
    });
    script.call("PupilService/CreatePupil", &[request], 1).await;
    let request = json!({
        "trust_id": trust,
        "survivor": mis("1042"),
        "merged": mis("2001"),
        "reason": "one child, entered twice",
        "changed_by": person(),
        "request_id": request_id(33),
    });
    let about = "Two records of one child become one.";
    let merged = script.show("PupilService/MergePupils", about, request).await;
    let request = json!({
        "trust_id": trust,
        "merge_id": merged["merge"]["merge_id"],
        "reason": "two children after all",
        "changed_by": person(),
        "request_id": request_id(34),
    });
    script
        .show("PupilService/UnmergePupils", "And two again.", request)
        .await;
    let request = json!({
        "trust_id": trust,
        "mis_identifier": { "source": SOURCE, "value": "2001" },
        "last_date": date("2026-03-19"),
        "new_pupil": { "given_name": "Bo", "family_name": "Sample" },
        "reason": "the MIS gave the number to another child",
        "changed_by": person(),
        "request_id": request_id(35),
    });
    let about = "An identifier that the MIS uses again for another child.";
    script.show("PupilService/ReassignMisIdentifier", about, request).await;
    let request = json!({ "trust_id": trust, "pupil": { "pupil_id": moved["pupil"]["pupil_id"] } });
    let about = "What people did to a pupil's record beside marks and actions.";
    script.show("PupilService/ListPupilChanges", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "academic_year": 2025 });
    let about = "Sessions that count twice: both schools of a dually registered pupil have a mark that counts.";
    script
        .show("SessionService/ListDoublyMarkedSessions", about, request)
        .await;
}

async fn finished(script: &Script, of_job: &Value) {
    for _ in 0..200 {
        let job = script
            .call("AdminService/GetJob", std::slice::from_ref(of_job), 1)
            .await;
        if job[0]["job"]["state"] == "JOB_STATE_SUCCEEDED" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the job did not finish");
}
