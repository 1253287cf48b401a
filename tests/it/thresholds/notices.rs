//! Penalty notices, and what they leave of the thresholds that they rest on.

use graduated_response::proto as pb;
use pb::ThresholdKind::{PenaltyNotice, UnauthorisedDays};
use tonic::Code;

use super::{events, kinds, notice, standing, world_with_absent_pupil};
use crate::common::World;
use crate::common::world::{at, enrolment, refused};

#[tokio::test]
async fn sessions_that_a_notice_left_unused_are_raised_at_once_where_they_are_enough_for_another() {
    let (world, pupil) = world_with_absent_pupil().await;
    let raised = events(&world, false).await;
    assert_eq!(kinds(&raised), [PenaltyNotice, UnauthorisedDays]);
    world.turn_to("2025-09-22");
    world
        .stages()
        .record_penalty_notice(notice(&world, &pupil, "2025-09-22"))
        .await
        .unwrap();
    let after = events(&world, false).await;
    let penalties: Vec<_> = after
        .iter()
        .filter_map(|event| event.threshold.as_ref())
        .filter(|threshold| threshold.kind() == PenaltyNotice)
        .map(|threshold| (threshold.proved_by.unwrap(), threshold.sessions[0]))
        .collect();
    assert_eq!(
        penalties,
        [
            (at("2025-09-12", "PM"), at("2025-09-08", "AM")),
            (at("2025-09-19", "PM"), at("2025-09-15", "AM"))
        ]
    );
}

#[tokio::test]
async fn a_notice_of_the_day_of_the_tenth_session_leaves_the_threshold_that_it_rests_on() {
    let world = World::on("2025-09-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-09-12", "O", "O").await;
    let raised = events(&world, true).await;
    world
        .stages()
        .record_penalty_notice(notice(&world, &pupil, "2025-09-12"))
        .await
        .unwrap();
    assert_eq!(kinds(&raised), [PenaltyNotice]);
    assert_eq!(events(&world, true).await, raised);
    world.turn_to("2025-09-15");
    world.record_days(&pupil, "2025-09-15", "2025-09-15", "O", "O").await;
    assert_eq!(standing(&world).await, [PenaltyNotice], "two sessions are left");
}

#[tokio::test]
async fn a_notice_between_two_of_which_none_lies_within_three_years_of_the_other_is_no_third() {
    let world = World::on("2027-01-15").await;
    let school = world.school("100001").await;
    let here = [enrolment(&school, pb::EnrolmentKind::Sole, "2022-09-01", "")];
    let pupil = world.pupil_enrolled("a", &here).await;
    let mondays = ["2023-01-09", "2027-01-11", "2025-01-06"];
    for monday in mondays {
        world.record(&pupil, at(monday, "AM"), "O O").await;
    }
    let of = |monday: &str, half: &str| pb::RecordPenaltyNoticeRequest {
        sessions: vec![at(monday, half)],
        ..notice(&world, &pupil, monday)
    };
    for monday in mondays {
        let recorded = world.stages().record_penalty_notice(of(monday, "AM")).await;
        assert!(recorded.is_ok(), "{monday}: {recorded:?}");
    }
    let (code, reason, _) = refused(world.stages().record_penalty_notice(of("2025-01-06", "PM")).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "THIRD_NOTICE"));
}
