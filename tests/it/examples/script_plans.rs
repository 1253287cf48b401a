//! What the examples call of plans of support and of what stands for a whole school.

use serde_json::{Value, json};

use super::call::Script;
use super::script::{date, mis, person, request_id, text};

pub async fn run(script: &mut Script, trust: &str) {
    plans(script, trust).await;
    universal(script, trust).await;
    feed(script, trust).await;
}

async fn feed(script: &mut Script, trust: &str) {
    let request = json!({ "trust_id": trust });
    let about = "From where to where the feed of what is recorded on actions can be watched.";
    script.show("ActionService/GetActionFeed", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001" });
    let about = "Whatever was recorded on actions, in the order of the commits; the stream goes on.";
    script
        .show_stream("ActionService/WatchActions", about, vec![request], 2)
        .await;
}

async fn universal(script: &mut Script, trust: &str) {
    let request = json!({
        "trust_id": trust,
        "school": "135001",
        "provision_id": "U-07",
        "etag": "\"0\"",
        "status": "UNIVERSAL_STATUS_PARTLY",
        "comment": "not yet on days of exams",
        "evidence": [{
            "source": "EVIDENCE_SOURCE_DOCUMENT_STORE",
            "identifier": "policies/attendance-2025.pdf",
            "description": "who rings whom, and by when",
        }],
        "next_review_on": date("2026-02-13"),
        "recorded_by": person(),
        "request_id": request_id(43),
    });
    let about =
        "A school reviews what it offers every child. The etag of what was never reviewed is that of version 0.";
    script
        .show("ActionService/ReviewUniversalProvision", about, request)
        .await;
    let request = json!({ "trust_id": trust, "school": "135001" });
    let about = "What stands for the whole school, with what its last review found.";
    script
        .show("ActionService/ListUniversalProvision", about, request)
        .await;
    let request = json!({ "trust_id": trust, "school": "135001", "provision_id": "U-07" });
    let about = "Every review of one provision.";
    script.show("ActionService/ListUniversalReviews", about, request).await;
    let request = json!({ "trust_id": trust });
    let about = "How far the trust's schools have come.";
    script
        .show("ActionService/SummarizeUniversalProvision", about, request)
        .await;
}

async fn plans(script: &mut Script, trust: &str) {
    let agreed_by: Value = json!([
        { "party": "PARTY_PUPIL" },
        { "party": "PARTY_PARENT", "person_name": "Ms Exampel" },
        { "party": "PARTY_STAFF", "person_name": "R. Ahmed" },
    ]);
    let request = json!({ "trust_id": trust, "pupil": mis("1042"), "page_size": 1 });
    let found = script.call("ActionService/ListPupilActions", &[request], 1).await;
    let request = json!({
        "trust_id": trust,
        "action": found[0]["actions"][0]["name"],
        "cycle": {
            "aims": [{
                "aim": "mornings without a fight",
                "change": "in by 8.45 on four days of five",
                "by_date": date("2026-01-30"),
            }],
            "steps": "breakfast club; the tutor rings on Mondays",
            "agreed_by": agreed_by,
            "review_on": date("2026-01-16"),
        },
        "recorded_by": person(),
        "request_id": request_id(40),
    });
    let about = "A plan of support, asked for by an action: what all agreed to, and when it is to be reviewed.";
    let made = script.show("ActionService/CreatePlan", about, request).await;
    let plan_id = text(&made["plan"]["plan_id"]);
    let request = json!({
        "trust_id": trust,
        "plan_id": plan_id,
        "etag": made["plan"]["etag"],
        "found": "three mornings of five",
        "decision": "PLAN_DECISION_CONTINUE",
        "comment": "going the right way",
        "attendees": agreed_by,
        "next_cycle": { "agreed_by": agreed_by, "review_on": date("2026-02-06") },
        "recorded_by": person(),
        "request_id": request_id(41),
    });
    let about =
        "The review that ends a cycle, and the next one: with the same aims, with others, or none where the plan ends.";
    let reviewed = script.show("ActionService/ReviewPlan", about, request).await;
    let request = json!({ "trust_id": trust, "school": "135001", "state": "PLAN_STATE_OPEN" });
    let about = "A school's open plans, the next review first; each with its last cycle.";
    script.show("ActionService/ListPlans", about, request).await;
    let request = json!({
        "trust_id": trust,
        "plan_id": plan_id,
        "etag": reviewed["plan"]["etag"],
        "reason": "PLAN_END_REASON_REPLACED",
        "comment": "the local authority's plan takes its place",
        "recorded_by": person(),
        "request_id": request_id(42),
    });
    let about = "A plan that ends without a review.";
    script.show("ActionService/ClosePlan", about, request).await;
    let request = json!({ "trust_id": trust, "plan_id": plan_id });
    let about = "A plan with all its cycles and reviews.";
    script.show("ActionService/GetPlan", about, request).await;
}
