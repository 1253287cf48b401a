//! Statutory thresholds as safeguarding staff meet them: raised once, cleared by corrections, returned, and used up.

mod lists;
mod notices;
mod raised;
mod undone;

use graduated_response::proto as pb;
use tonic::Code;
use uuid::Uuid;

use crate::common::World;
use crate::common::world::{at, by_id, pb_date, person, refused};

async fn events(world: &World, include_cleared: bool) -> Vec<pb::ThresholdEvent> {
    let request = pb::ListThresholdEventsRequest {
        trust_id: world.trust_id.clone(),
        include_cleared,
        ..pb::ListThresholdEventsRequest::default()
    };
    world
        .stages()
        .list_threshold_events(request)
        .await
        .unwrap()
        .into_inner()
        .events
}

fn kinds(events: &[pb::ThresholdEvent]) -> Vec<pb::ThresholdKind> {
    events
        .iter()
        .map(|event| event.threshold.as_ref().unwrap().kind())
        .collect()
}

/// The kinds of the events that stand, in the order of the sessions that prove them.
async fn standing(world: &World) -> Vec<pb::ThresholdKind> {
    kinds(&events(world, false).await)
}

fn notice(world: &World, pupil: &str, issued_on: &str) -> pb::RecordPenaltyNoticeRequest {
    pb::RecordPenaltyNoticeRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        issued_on: Some(pb_date(issued_on)),
        reference: "LA/17".into(),
        recorded_by: Some(person()),
        ..pb::RecordPenaltyNoticeRequest::default()
    }
}

/// A world on a Friday with a pupil who was absent without leave for the two weeks up to it.
async fn world_with_absent_pupil() -> (World, String) {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-09-05", "/", "\\").await;
    world.record_days(&pupil, "2025-09-08", "2025-09-19", "O", "O").await;
    (world, pupil)
}

#[tokio::test]
async fn thresholds_are_raised_once_with_their_sessions_and_cleared_by_a_correction() {
    let (world, pupil) = world_with_absent_pupil().await;
    let raised = events(&world, false).await;
    assert_eq!(
        kinds(&raised),
        [pb::ThresholdKind::PenaltyNotice, pb::ThresholdKind::UnauthorisedDays]
    );
    let penalty = raised[0].threshold.as_ref().unwrap();
    assert_eq!(
        (penalty.proved_by, penalty.sessions.len()),
        (Some(at("2025-09-12", "PM")), 10)
    );
    let days = raised[1].threshold.as_ref().unwrap();
    assert_eq!(
        (days.proved_by, days.sessions.len()),
        (Some(at("2025-09-19", "PM")), 20)
    );
    // Another day of the same raises nothing new.
    world.turn_to("2025-09-22");
    world.record_days(&pupil, "2025-09-22", "2025-09-22", "O", "O").await;
    assert_eq!(events(&world, true).await, raised);
    // The second week was illness after all: the ten days are undone, the ten sessions stand.
    world.record_days(&pupil, "2025-09-15", "2025-09-19", "I", "I").await;
    assert_eq!(kinds(&events(&world, false).await), [pb::ThresholdKind::PenaltyNotice]);
    let all = events(&world, true).await;
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|event| event.cleared_at.is_some()));
    // Both clocks answer.
    let known = async |known_at: Option<&str>| {
        let request = pb::ListPupilThresholdsRequest {
            trust_id: world.trust_id.clone(),
            pupil: Some(by_id(&pupil)),
            as_of: Some(pb_date("2025-09-19")),
            known_at: known_at.map(|at| prost_types::Timestamp {
                seconds: format!("{at}T20:00:00Z")
                    .parse::<chrono::DateTime<chrono::Utc>>()
                    .unwrap()
                    .timestamp(),
                nanos: 0,
            }),
        };
        let answer = world
            .stages()
            .list_pupil_thresholds(request)
            .await
            .unwrap()
            .into_inner();
        answer.thresholds.iter().map(pb::Threshold::kind).collect::<Vec<_>>()
    };
    assert_eq!(known(None).await, [pb::ThresholdKind::PenaltyNotice]);
    assert_eq!(
        known(Some("2025-09-19")).await,
        [pb::ThresholdKind::UnauthorisedDays, pb::ThresholdKind::PenaltyNotice]
    );
}

#[tokio::test]
async fn illness_entered_ahead_is_expected_and_then_reached_without_a_write() {
    let world = World::on("2025-09-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-09-19", "I", "I").await;
    assert_eq!(
        kinds(&events(&world, false).await),
        [pb::ThresholdKind::IllnessExpected]
    );
    world.turn_to("2025-09-19");
    let reached = kinds(&events(&world, false).await);
    assert_eq!(reached.len(), 2);
    assert!(reached.contains(&pb::ThresholdKind::IllnessCumulative));
    assert!(reached.contains(&pb::ThresholdKind::IllnessConsecutive));
}

#[tokio::test]
async fn the_return_names_pupils_and_is_safe_for_a_spreadsheet() {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let pupil = pb::PupilInput {
        upn: "Q999100125001".into(),
        family_name: "=HYPERLINK(\"x\"), O'Neil".into(),
        ..crate::common::world::pupil_input(
            "a",
            &[crate::common::world::enrolment(
                &school,
                pb::EnrolmentKind::Sole,
                "2025-09-01",
                "",
            )],
        )
    };
    let pupil = world.upsert(vec![pupil]).await.unwrap().pupil_ids.remove(0);
    world.record_days(&pupil, "2025-09-08", "2025-09-19", "O", "O").await;
    let request = pb::ExportThresholdReturnRequest {
        trust_id: world.trust_id.clone(),
        school: "100001".into(),
        ..pb::ExportThresholdReturnRequest::default()
    };
    let found = world
        .stages()
        .export_threshold_return(request.clone())
        .await
        .unwrap()
        .into_inner();
    let lines: Vec<&str> = found.csv.lines().collect();
    assert_eq!((lines.len(), found.lines), (2, 1));
    assert!(
        lines[1].contains("Q999100125001") && lines[1].contains("\"'=HYPERLINK(\"\"x\"\"), O'Neil\""),
        "{}",
        lines[1]
    );
    assert!(lines[1].ends_with("2025-09-08,2025-09-19,20"), "{}", lines[1]);
    let later = pb::ExportThresholdReturnRequest {
        from_date: Some(pb_date("2025-09-20")),
        ..request
    };
    assert_eq!(
        world
            .stages()
            .export_threshold_return(later)
            .await
            .unwrap()
            .into_inner()
            .lines,
        0
    );
}

#[tokio::test]
async fn a_notice_uses_its_sessions_up_and_a_third_within_three_years_is_refused() {
    let (world, pupil) = world_with_absent_pupil().await;
    let request = pb::RecordPenaltyNoticeRequest {
        request_id: Uuid::new_v4().to_string(),
        ..notice(&world, &pupil, "2025-09-15")
    };
    let first = world
        .stages()
        .record_penalty_notice(request.clone())
        .await
        .unwrap()
        .into_inner()
        .notice
        .unwrap();
    assert_eq!(first.sessions.len(), 10);
    let again = world
        .stages()
        .record_penalty_notice(request)
        .await
        .unwrap()
        .into_inner()
        .notice
        .unwrap();
    assert_eq!(again, first);
    // The second week's ten sessions are a threshold of their own.
    let penalties = |events: Vec<pb::ThresholdEvent>| {
        kinds(&events)
            .into_iter()
            .filter(|kind| *kind == pb::ThresholdKind::PenaltyNotice)
            .count()
    };
    assert_eq!(penalties(events(&world, false).await), 2);
    let used = pb::RecordPenaltyNoticeRequest {
        sessions: vec![at("2025-09-08", "AM")],
        ..notice(&world, &pupil, "2025-09-19")
    };
    let (code, reason, _) = refused(world.stages().record_penalty_notice(used).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "SESSION_USED"));
    let second = world
        .stages()
        .record_penalty_notice(notice(&world, &pupil, "2025-09-19"))
        .await
        .unwrap();
    assert_eq!(second.into_inner().notice.unwrap().sessions.len(), 10);
    let (code, reason, _) = refused(
        world
            .stages()
            .record_penalty_notice(notice(&world, &pupil, "2025-09-19"))
            .await,
    );
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "THIRD_NOTICE"));
    // One that was cancelled counts no more.
    let cancel = pb::CancelPenaltyNoticeRequest {
        trust_id: world.trust_id.clone(),
        notice_id: first.notice_id,
        reason: "withdrawn by the local authority".into(),
        cancelled_by: Some(person()),
    };
    world.stages().cancel_penalty_notice(cancel.clone()).await.unwrap();
    let (code, reason, _) = refused(world.stages().cancel_penalty_notice(cancel).await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::FailedPrecondition, "NOTICE_IS_CANCELLED")
    );
    world
        .stages()
        .record_penalty_notice(notice(&world, &pupil, "2025-09-18"))
        .await
        .unwrap();
    let request = pb::ListPenaltyNoticesRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        ..pb::ListPenaltyNoticesRequest::default()
    };
    assert_eq!(
        world
            .stages()
            .list_penalty_notices(request)
            .await
            .unwrap()
            .into_inner()
            .notices
            .len(),
        3
    );
}

#[tokio::test]
async fn a_notice_that_cannot_be_is_refused() {
    let (world, pupil) = world_with_absent_pupil().await;
    let cases = [
        (notice(&world, &pupil, "2025-09-20"), Code::InvalidArgument, "IN_FUTURE"),
        (
            notice(&world, &pupil, "2025-09-10"),
            Code::FailedPrecondition,
            "NO_THRESHOLD",
        ),
        (
            pb::RecordPenaltyNoticeRequest {
                sessions: vec![at("2025-09-01", "AM")],
                ..notice(&world, &pupil, "2025-09-19")
            },
            Code::InvalidArgument,
            "NOT_UNAUTHORISED",
        ),
        (
            pb::RecordPenaltyNoticeRequest {
                sessions: vec![at("2025-09-18", "AM")],
                ..notice(&world, &pupil, "2025-09-17")
            },
            Code::InvalidArgument,
            "AFTER_ISSUE",
        ),
        (
            notice(&world, &Uuid::new_v4().to_string(), "2025-09-19"),
            Code::NotFound,
            "NOT_FOUND",
        ),
    ];
    for (request, code, reason) in cases {
        let (found, why, _) = refused(world.stages().record_penalty_notice(request).await);
        assert_eq!((found, why.as_str()), (code, reason));
    }
}

#[tokio::test]
async fn a_policy_may_name_other_triggers() {
    let (world, pupil) = world_with_absent_pupil().await;
    let row = pb::trigger::Trigger::AbsencesInRow(pb::AbsencesInRowTrigger { sessions: 6 });
    let fall = pb::trigger::Trigger::WeekFall(pb::WeekFallTrigger { tenths: 500 });
    let version = world
        .policy(pb::PolicySettings {
            triggers: [row, fall]
                .map(|trigger| pb::Trigger { trigger: Some(trigger) })
                .to_vec(),
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    let raised = events(&world, false).await;
    let found = |kind: pb::ThresholdKind| {
        let found = raised
            .iter()
            .find(|event| event.threshold.as_ref().unwrap().kind() == kind);
        found.map(|event| {
            (
                event.pupil_id.clone(),
                event.threshold.as_ref().unwrap().proved_by.unwrap(),
            )
        })
    };
    assert_eq!(
        found(pb::ThresholdKind::AbsencesInRow),
        Some((pupil.clone(), at("2025-09-10", "PM")))
    );
    assert_eq!(
        found(pb::ThresholdKind::WeekFall),
        Some((pupil, at("2025-09-12", "PM")))
    );
}
