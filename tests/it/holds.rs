//! Holds as a person makes them: a pupil kept at a stage, a fall delayed, and that it ends by itself.

use graduated_response::proto as pb;
use tonic::Code;
use uuid::Uuid;

use crate::common::World;
use crate::common::world::{by_id, pb_date, person, refused};

/// A world on a Friday in October with one pupil who was always there.
async fn world_with_pupil() -> (World, String) {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-10-10", "/", "\\").await;
    (world, pupil)
}

#[tokio::test]
async fn a_held_pupil_is_at_the_stage_with_its_actions_and_the_computed_stage_stays_visible() {
    let (world, pupil) = world_with_pupil().await;
    let hold = world.hold(&pupil, pb::Stage::Two, "2025-10-14").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.computed_stage()),
        (pb::Stage::Two, pb::Stage::Universal)
    );
    assert_eq!(
        (stage.hold_id.as_str(), stage.since),
        (hold.hold_id.as_str(), Some(pb_date("2025-10-10")))
    );
    let actions = world.actions_of(&pupil).await;
    assert!(actions.iter().any(|action| action.stage() == pb::Stage::Two));
    // Marks that come do not end it, and it ends by itself.
    world.turn_to("2025-10-14");
    world.record_days(&pupil, "2025-10-13", "2025-10-14", "/", "\\").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Two);
    world.turn_to("2025-10-15");
    let stage = world.stage(&pupil).await;
    assert_eq!((stage.stage(), stage.hold_id.as_str()), (pb::Stage::Universal, ""));
    assert_eq!(stage.since, Some(pb_date("2025-10-15")));
    let actions = world.actions_of(&pupil).await;
    assert!(
        actions
            .iter()
            .all(|action| action.no_longer_required && !action.never_reached)
    );
    // Both clocks know of it.
    let held = world.stage_as_of(&pupil, "2025-10-12", None).await;
    assert_eq!((held.stage(), held.hold_id), (pb::Stage::Two, hold.hold_id));
    assert_eq!(
        world.stage_as_of(&pupil, "2025-10-09", None).await.stage(),
        pb::Stage::Universal
    );
}

#[tokio::test]
async fn a_delayed_fall_waits_until_the_hold_ends() {
    let (world, pupil) = world_with_pupil().await;
    world.record_days(&pupil, "2025-09-29", "2025-10-01", "I", "I").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Three);
    let delay = pb::CreateHoldRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        kind: pb::HoldKind::DelayFall.into(),
        stage: 0,
        to_date: Some(pb_date("2025-10-31")),
        reason: "until after half term".into(),
        created_by: Some(person()),
        request_id: Uuid::new_v4().to_string(),
    };
    let hold = world
        .admin()
        .create_hold(delay.clone())
        .await
        .unwrap()
        .into_inner()
        .hold
        .unwrap();
    let again = world
        .admin()
        .create_hold(delay.clone())
        .await
        .unwrap()
        .into_inner()
        .hold
        .unwrap();
    assert_eq!(again, hold, "a retry makes no second hold");
    world.turn_to("2025-10-24");
    world.record_days(&pupil, "2025-10-13", "2025-10-24", "/", "\\").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.computed_stage()),
        (pb::Stage::Three, pb::Stage::Two)
    );
    assert_eq!(stage.hold_id, hold.hold_id);
    world.turn_to("2025-11-01");
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Two);
}

#[tokio::test]
async fn a_hold_can_be_ended_early_and_stays_on_record() {
    let (world, pupil) = world_with_pupil().await;
    let hold = world.hold(&pupil, pb::Stage::Four, "2025-12-19").await;
    world.turn_to("2025-10-20");
    let end = pb::EndHoldRequest {
        trust_id: world.trust_id.clone(),
        hold_id: hold.hold_id.clone(),
        reason: "the placement began".into(),
        ended_by: Some(person()),
    };
    let ended = world
        .admin()
        .end_hold(end.clone())
        .await
        .unwrap()
        .into_inner()
        .hold
        .unwrap();
    assert_eq!(
        (ended.ended_on, ended.to_date),
        (Some(pb_date("2025-10-19")), Some(pb_date("2025-12-19")))
    );
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Universal);
    let (code, reason, _) = refused(world.admin().end_hold(end).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "HOLD_HAS_ENDED"));
    // What was known before it was ended: that it would go on.
    let known = world.stage_as_of(&pupil, "2025-10-19", Some("2025-10-19")).await;
    assert_eq!(known.stage(), pb::Stage::Four);
    let list = |include_ended: bool| pb::ListHoldsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        include_ended,
        ..pb::ListHoldsRequest::default()
    };
    assert_eq!(
        world.admin().list_holds(list(false)).await.unwrap().into_inner().holds,
        []
    );
    assert_eq!(
        world.admin().list_holds(list(true)).await.unwrap().into_inner().holds,
        [ended]
    );
}

#[tokio::test]
async fn a_hold_that_says_too_little_is_refused_by_field() {
    let (world, pupil) = world_with_pupil().await;
    let good = pb::CreateHoldRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        kind: pb::HoldKind::AtLeast.into(),
        stage: pb::Stage::Two.into(),
        to_date: Some(pb_date("2025-10-31")),
        reason: "agreed".into(),
        created_by: Some(person()),
        request_id: String::new(),
    };
    type Change = fn(&mut pb::CreateHoldRequest);
    let cases: [(Change, &str, &str); 8] = [
        (|hold| hold.kind = 0, "kind", "UNKNOWN_HOLD_KIND"),
        (
            |hold| hold.kind = pb::HoldKind::ConfirmFall.into(),
            "kind",
            "UNKNOWN_HOLD_KIND",
        ),
        (
            |hold| hold.stage = pb::Stage::Universal.into(),
            "stage",
            "UNKNOWN_STAGE",
        ),
        (
            |hold| hold.kind = pb::HoldKind::DelayFall.into(),
            "stage",
            "STAGE_NOT_TAKEN",
        ),
        (
            |hold| hold.to_date = Some(pb_date("2025-10-09")),
            "to_date",
            "INVALID_DATE",
        ),
        (
            |hold| hold.to_date = Some(pb_date("2027-10-09")),
            "to_date",
            "INVALID_DATE",
        ),
        (|hold| hold.reason = " ".into(), "reason", "MISSING_TEXT"),
        (|hold| hold.created_by = None, "created_by", "MISSING_PERSON"),
    ];
    for (change, field, reason) in cases {
        let mut request = good.clone();
        change(&mut request);
        let (code, found, fields) = refused(world.admin().create_hold(request).await);
        assert_eq!((code, found.as_str()), (Code::InvalidArgument, reason), "{field}");
        assert!(fields[0].starts_with(field), "{fields:?}");
    }
    let stranger = pb::CreateHoldRequest {
        pupil: Some(by_id(&Uuid::new_v4().to_string())),
        ..good
    };
    assert_eq!(refused(world.admin().create_hold(stranger).await).0, Code::NotFound);
}
