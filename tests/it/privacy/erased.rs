//! Erasure: what goes, what stays, and what is refused.

use tonic::Code;

use super::{Past, UPN};
use crate::common::refused;
use crate::common::world::{by_id, by_name, enrolment, pb, pupil_input};

fn by_upn() -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn(UPN.into())),
    }
}

/// Everything that is stored, as one text.
async fn everything(past: &Past) -> String {
    let owner = past.world.sql().await;
    let tables = owner
        .query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'", &[])
        .await
        .unwrap();
    let mut all = String::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = owner
            .query(&format!("SELECT to_jsonb(t)::text FROM {table} AS t"), &[])
            .await
            .unwrap();
        rows.iter().for_each(|row| all.push_str(row.get(0)));
    }
    all
}

async fn movements(past: &Past) -> (i64, i64) {
    let owner = past.world.sql().await;
    let row = owner
        .query_one(
            "SELECT (SELECT count(*) FROM transitions), (SELECT sum(attended + possible)::bigint FROM registers)",
            &[],
        )
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn who_a_pupil_is_goes_once_the_registers_need_not_be_kept_and_statistics_stay() {
    let past = Past::of_2016().await;
    past.world.turn_to("2023-10-01");
    let before = movements(&past).await;
    assert!(everything(&past).await.contains("Wilhelmina"));
    let erasure = past.erase(by_upn(), pb::ErasureScope::Identity).await.unwrap();
    assert_eq!(erasure.pupil_id, past.left);
    assert!(
        erasure.counts["action_entries"] > 0 && erasure.counts["pupil_identifiers"] == 2,
        "{:?}",
        erasure.counts
    );
    let stored = everything(&past).await;
    for word in ["Wilhelmina", "Zephyrson", UPN, "\"left\"", "2004-03-04", "afraid"] {
        assert!(!stored.contains(word), "{word}");
    }
    assert!(stored.contains("[erased]"));
    let pupil = past.get(by_id(&past.left)).await.unwrap();
    assert!(pupil.erased_at.is_some() && pupil.enrolments.len() == 1);
    assert_eq!(
        (pupil.given_name.as_str(), pupil.upn.as_str(), pupil.date_of_birth),
        ("", "", None)
    );
    assert_eq!(pupil.mis_identifiers, []);
    assert_eq!(movements(&past).await, before);
    past.world.stage(&past.left).await;
    let entries = past.export(&past.left).await.1["sections"]["action_entries"]
        .as_array()
        .unwrap()
        .len();
    assert!(entries > 0, "logs are still read");

    // The same child, sent again, is a new pupil.
    assert_eq!(refused(past.get(by_upn()).await).0, Code::NotFound);
    let again = pb::PupilInput {
        upn: UPN.into(),
        ..pupil_input(
            "left",
            &[enrolment("100001", pb::EnrolmentKind::Sole, "2023-09-01", "")],
        )
    };
    let made = past.world.upsert(vec![again]).await.unwrap();
    assert_eq!(made.rejections, []);
    assert_ne!(made.pupil_ids, std::slice::from_ref(&past.left));
    let listed = pb::ListErasuresRequest {
        trust_id: past.world.trust_id.clone(),
        pupil_id: past.left.clone(),
        ..pb::ListErasuresRequest::default()
    };
    let listed = past.world.admin().list_erasures(listed).await.unwrap().into_inner();
    assert_eq!(listed.erasures, [erasure]);
}

#[tokio::test]
async fn while_registers_have_to_be_kept_only_what_people_wrote_can_go() {
    let past = Past::of_2016().await;
    past.world.turn_to("2023-07-31");
    for pupil in [&past.left, &past.stays] {
        let answer = past.erase(by_id(pupil), pb::ErasureScope::Identity).await;
        let (code, reason, _) = refused(answer);
        assert_eq!(
            (code, reason.as_str()),
            (Code::FailedPrecondition, "RECORD_MUST_BE_KEPT")
        );
    }
    let (_, before) = past.export(&past.left).await;
    past.erase(by_id(&past.left), pb::ErasureScope::FreeText).await.unwrap();
    let stored = everything(&past).await;
    assert!(!stored.contains("afraid") && stored.contains("Wilhelmina") && stored.contains(UPN));
    let (_, after) = past.export(&past.left).await;
    for section in [
        "marks",
        "mark_revisions",
        "pupils",
        "pupil_identifiers",
        "enrolments",
        "transitions",
    ] {
        assert_eq!(after["sections"][section], before["sections"][section], "{section}");
    }
}

#[tokio::test]
async fn a_pupil_who_was_sent_by_mistake_can_be_erased_at_once() {
    let past = Past::of_2016().await;
    let mistaken = past.world.pupil_enrolled("mistaken", &[]).await;
    let erasure = past
        .erase(by_name("mistaken"), pb::ErasureScope::Identity)
        .await
        .unwrap();
    assert_eq!(erasure.pupil_id, mistaken);
    assert!(past.get(by_id(&mistaken)).await.unwrap().erased_at.is_some());
}

#[tokio::test]
async fn an_erasure_is_tried_before_it_is_done_is_done_once_and_keeps_no_name() {
    let past = Past::of_2016().await;
    past.world.turn_to("2023-10-01");
    let request = pb::ErasePupilRequest {
        pupil: Some(by_upn()),
        scope: pb::ErasureScope::Identity.into(),
        request_id: "0f9d7a52-0000-4000-8000-000000000001".into(),
        ..past.erasure()
    };
    let named = pb::ErasePupilRequest {
        reason: "WILHELMINA asked".into(),
        ..request.clone()
    };
    let fields = vec!["reason".to_owned()];
    assert_eq!(
        refused(past.try_erase(named).await),
        (Code::InvalidArgument, "REASON_NAMES_PUPIL".into(), fields)
    );
    let tried = pb::ErasePupilRequest {
        validate_only: true,
        ..request.clone()
    };
    let tried = past.try_erase(tried).await.unwrap();
    assert!(tried.erasure_id.is_empty());
    assert_eq!(past.get(by_upn()).await.unwrap().given_name, "Wilhelmina");
    let done = past.try_erase(request.clone()).await.unwrap();
    assert_eq!(done.counts, tried.counts);
    assert_eq!(past.try_erase(request.clone()).await.unwrap(), done, "a retry");
    let other = pb::ErasePupilRequest {
        scope: pb::ErasureScope::FreeText.into(),
        ..request
    };
    assert_eq!(refused(past.try_erase(other).await).1, "REQUEST_ID_REUSED");
}
