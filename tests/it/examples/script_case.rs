//! What the examples call of case files, and of attendance before and after work on actions.

use serde_json::json;

use super::call::Script;
use super::script::mis;

/// More messages than a case file of the examples has.
const WHOLE: usize = 1000;

/// Calls these RPCs.
pub async fn run(script: &mut Script, trust: &str) {
    let request = json!({ "trust_id": trust, "pupil": mis("1042") });
    let about =
        "Everything on record of a pupil, of one moment: the header, the items in pieces, and how many there were.";
    script
        .show_stream("CaseFileService/StreamCaseFile", about, vec![request], WHOLE)
        .await;
    let request = json!({ "trust_id": trust, "weeks": 4 });
    let about = "Attendance before and after work on actions began, beside that of pupils at the same stage without.";
    script
        .show("ActionService/SummarizeActionOutcomes", about, request)
        .await;
    let request = json!({ "trust_id": trust, "weeks": 4, "milestone": "ACTION_MILESTONE_BEGUN", "page_size": 2 });
    let about = "The same action by action, for those who may see single pupils.";
    script.show("ActionService/ListActionOutcomes", about, request).await;
}
