//! What is raised, and when, beyond the plain case.

use graduated_response::proto as pb;
use pb::ThresholdKind::{IllnessExpected, PenaltyNotice, UnauthorisedDays, WeekFall};

use super::{events, standing};
use crate::common::World;
use crate::common::world::{at, enrolment};

#[tokio::test]
async fn illness_entered_ahead_is_expected_as_soon_as_a_later_entry_of_past_days_completes_it() {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-22", "2025-09-26", "I", "I").await;
    assert_eq!(standing(&world).await, []);
    world.record_days(&pupil, "2025-09-08", "2025-09-19", "I", "I").await;
    assert_eq!(standing(&world).await, [IllnessExpected]);
}

#[tokio::test]
async fn ten_days_of_one_session_each_are_raised_whatever_the_policy_asks_for_a_penalty_notice() {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let settings = pb::PolicySettings {
        penalty: Some(pb::PenaltyRule {
            sessions: 20,
            school_weeks: 10,
            ignores_no_reason_yet: false,
        }),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-09-19", "O", "Y1").await;
    assert_eq!(standing(&world).await, [UnauthorisedDays]);
}

/// A world on Friday 5 September 2025, after a week of presence, whose policy names a fall of half from week to week.
async fn world_with_week_falls() -> (World, String) {
    let world = World::on("2025-09-05").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    let fall = pb::trigger::Trigger::WeekFall(pb::WeekFallTrigger { tenths: 500 });
    let settings = pb::PolicySettings {
        triggers: vec![pb::Trigger { trigger: Some(fall) }],
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "").await;
    world.record_days(&pupil, "2025-09-01", "2025-09-05", "/", "\\").await;
    (world, pupil)
}

#[tokio::test]
async fn a_fall_is_raised_when_the_week_is_over_although_its_last_marks_are_attendance() {
    let (world, pupil) = world_with_week_falls().await;
    for date in ["2025-09-08", "2025-09-09", "2025-09-10", "2025-09-11"] {
        world.turn_to(date);
        world.record_days(&pupil, date, date, "I", "I").await;
        assert_eq!(
            standing(&world).await,
            [],
            "{date}: nobody knows yet whether the week is over"
        );
    }
    world.turn_to("2025-09-12");
    world.record(&pupil, at("2025-09-12", "AM"), "/").await;
    assert_eq!(standing(&world).await, [], "an afternoon is to come");
    world.record(&pupil, at("2025-09-12", "PM"), "\\").await;
    let raised = events(&world, false).await;
    assert_eq!(raised.len(), 1);
    let threshold = raised[0].threshold.as_ref().unwrap();
    assert_eq!(
        (threshold.kind(), threshold.proved_by, threshold.sessions.len()),
        (WeekFall, Some(at("2025-09-12", "PM")), 10)
    );
}

#[tokio::test]
async fn a_fall_of_a_week_whose_friday_has_no_marks_is_raised_with_the_next_marks() {
    let (world, pupil) = world_with_week_falls().await;
    world.turn_to("2025-09-11");
    world.record_days(&pupil, "2025-09-08", "2025-09-11", "I", "I").await;
    assert_eq!(standing(&world).await, []);
    world.turn_to("2025-09-15");
    world.record(&pupil, at("2025-09-15", "AM"), "/").await;
    let raised = events(&world, false).await;
    assert_eq!(raised.len(), 1);
    assert_eq!(
        raised[0].threshold.as_ref().unwrap().proved_by,
        Some(at("2025-09-11", "PM"))
    );
}

#[tokio::test]
async fn a_window_that_has_not_emptied_for_two_years_is_raised_once() {
    let world = World::on("2025-09-05").await;
    let school = world.school("100001").await;
    let here = [enrolment(&school, pb::EnrolmentKind::Sole, "2023-09-01", "")];
    let pupil = world.pupil_enrolled("a", &here).await;
    // The only school weeks that are known of: one in July 2024, twelve in the year after, one in September 2025.
    world.record_days(&pupil, "2024-07-01", "2024-07-05", "O", "O").await;
    world.record_days(&pupil, "2024-09-02", "2024-11-22", "/", "\\").await;
    world.record(&pupil, at("2024-10-14", "AM"), "O").await;
    world.record_days(&pupil, "2025-09-01", "2025-09-05", "O", "O").await;
    let raised = events(&world, true).await;
    let proved: Vec<_> = raised
        .iter()
        .map(|event| (event.academic_year, event.threshold.as_ref().unwrap().kind()))
        .collect();
    assert_eq!(
        proved,
        [(2023, PenaltyNotice)],
        "each window holds a session of the one before"
    );
}
