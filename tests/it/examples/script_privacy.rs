//! For how long things are kept, what the service holds about a pupil, and how it goes.

use serde_json::json;

use super::call::Script;
use super::script::{mis, person, request_id, text};

pub(super) async fn run(script: &mut Script, trust: &str) {
    let request = json!({ "trust_id": trust });
    let about = "For how long what is recorded is kept: the defaults, until somebody sets something else.";
    let kept = script.show("AdminService/GetRetention", about, request).await;
    let request = json!({
        "trust_id": trust,
        "years": { "registers": 7, "history": 8 },
        "reason": "the trust's retention schedule",
        "updated_by": person(),
        "etag": kept["retention"]["etag"],
    });
    let about = "Registers a year longer than the law asks; kinds that are not named stay as they are.";
    script.show("AdminService/UpdateRetention", about, request).await;
    let request = json!({ "trust_id": trust });
    let about = "What would go now: nothing, since all of it is of this year.";
    script.show("AdminService/PreviewRetention", about, request).await;
    let request = json!({ "trust_id": trust, "requested_by": person(), "request_id": request_id(70) });
    let about = "What is past its time goes, as a job; WatchJob follows it.";
    script.show("AdminService/ApplyRetention", about, request).await;
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "reason": "a claim at the county court",
        "placed_by": person(),
        "request_id": request_id(71),
    });
    let about = "Nothing of the pupil is removed or erased until it is lifted.";
    let placed = script.show("AdminService/PlaceLegalHold", about, request).await;
    let request = json!({ "trust_id": trust });
    let about = "The legal holds that stand.";
    script.show("AdminService/ListLegalHolds", about, request).await;
    let request = json!({
        "trust_id": trust,
        "legal_hold_id": text(&placed["legal_hold"]["legal_hold_id"]),
        "reason": "the claim was withdrawn",
        "lifted_by": person(),
    });
    let about = "A legal hold is lifted, and stays on record.";
    script.show("AdminService/LiftLegalHold", about, request).await;
    let request = json!({
        "trust_id": trust,
        "pupil": mis("1042"),
        "scope": "ERASURE_SCOPE_FREE_TEXT",
        "reason": "asked for by the family",
        "erased_by": person(),
        "request_id": request_id(72),
    });
    let about = "What people wrote about a pupil goes; who the pupil is stays while the registers have to be kept.";
    script.show("AdminService/ErasePupil", about, request).await;
    let request = json!({ "trust_id": trust });
    let about = "What was erased, by whom and why.";
    script.show("AdminService/ListErasures", about, request).await;
    let school = json!({ "given_name": "Sam", "family_name": "Exampel", "mis_identifiers": [
        { "source": "arbor:101", "value": "9001" },
    ] });
    let request = json!({ "trust_id": trust, "pupil": school });
    script.call("PupilService/CreatePupil", &[request], 1).await;
    let request = json!({ "trust_id": trust, "pupil": mis("9001") });
    let about = "Everything that the service holds about a pupil, as one JSON document in pieces of bytes (in base64 here): \
                 docs/subject-access.md says what it is made of.";
    // The bytes hold the moment, and identifiers that are drawn anew.
    script
        .show_opaque("AdminService/ExportSubjectData", about, request, "content")
        .await;
}
