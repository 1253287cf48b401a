//! What is written later undoes a threshold, whatever it is and wherever it was written.

use graduated_response::proto as pb;
use pb::ThresholdKind::{IllnessConsecutive, IllnessCumulative, IllnessExpected, PenaltyNotice, UnauthorisedDays};
use prost_types::FieldMask;

use super::{events, standing};
use crate::common::World;
use crate::common::calendar::give_calendar;
use crate::common::world::{at, enrolment, item, pb_date, pupil_input};

#[tokio::test]
async fn an_afternoon_attended_undoes_ten_days_that_their_last_morning_proved() {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-09-18", "O", "O").await;
    world.record(&pupil, at("2025-09-19", "AM"), "O").await;
    assert_eq!(standing(&world).await, [PenaltyNotice, UnauthorisedDays]);
    world.record(&pupil, at("2025-09-19", "PM"), "\\").await;
    assert_eq!(standing(&world).await, [PenaltyNotice]);
}

#[tokio::test]
async fn a_late_mark_at_the_end_of_a_second_schools_register_ends_a_row_of_illness_at_the_first() {
    let world = World::on("2025-09-19").await;
    let (main, second) = (world.school("100001").await, world.school("100002").await);
    let enrolments = [
        enrolment(&main, pb::EnrolmentKind::Main, "2025-09-01", ""),
        enrolment(&second, pb::EnrolmentKind::Subsidiary, "2025-09-01", ""),
    ];
    let pupil = world.pupil_enrolled("a", &enrolments).await;
    let at_school = |school: &str, from: pb::Session, run: &str| pb::SessionItem {
        school: school.into(),
        ..item(&pupil, from, run)
    };
    let ill = crate::common::world::school_days("2025-09-01", "2025-09-19", "I", "I");
    let both = vec![
        at_school("100001", at("2025-09-01", "AM"), &ill),
        at_school("100002", at("2025-09-03", "AM"), "D"),
    ];
    world.try_record(both).await.unwrap();
    let reached = standing(&world).await;
    assert_eq!(reached.len(), 2);
    assert!(reached.contains(&IllnessCumulative) && reached.contains(&IllnessConsecutive));
    let late = vec![at_school("100002", at("2025-09-10", "AM"), "/")];
    world.try_record(late).await.unwrap();
    assert_eq!(standing(&world).await, [IllnessCumulative]);
}

#[tokio::test]
async fn a_correction_in_september_undoes_what_july_had_raised() {
    let world = World::on("2026-07-10").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2026-07-06", "2026-07-10", "O", "O").await;
    assert_eq!(standing(&world).await, [PenaltyNotice]);
    world.turn_to("2026-09-14");
    world.record_days(&pupil, "2026-09-07", "2026-09-14", "/", "\\").await;
    assert_eq!(standing(&world).await, [PenaltyNotice]);
    world.record(&pupil, at("2026-07-10", "PM"), "C").await;
    assert_eq!(standing(&world).await, []);
    let cleared = events(&world, true).await;
    assert_eq!((cleared.len(), cleared[0].academic_year), (1, 2025));
}

#[tokio::test]
async fn a_mark_of_july_that_is_corrected_in_september_undoes_what_both_years_prove_together() {
    let world = World::on("2026-09-07").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2026-07-13", "2026-07-16", "O", "O").await;
    world.record_days(&pupil, "2026-09-07", "2026-09-07", "O", "O").await;
    let raised = events(&world, false).await;
    assert_eq!((raised.len(), raised[0].academic_year), (1, 2026));
    world.record(&pupil, at("2026-07-13", "AM"), "I").await;
    assert_eq!(standing(&world).await, []);
    world.record(&pupil, at("2026-07-13", "AM"), "O").await;
    assert_eq!(standing(&world).await, [PenaltyNotice]);
}

#[tokio::test]
async fn illness_of_july_entered_ahead_comes_true_although_the_year_has_turned_since() {
    let world = World::on("2026-07-03").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2026-06-29", "2026-07-17", "I", "I").await;
    assert_eq!(standing(&world).await, [IllnessExpected]);
    world.turn_to("2026-09-01");
    let mut reached = standing(&world).await;
    reached.sort_unstable();
    assert_eq!(reached, [IllnessCumulative, IllnessConsecutive]);
}

#[tokio::test]
async fn a_date_of_birth_that_comes_later_undoes_what_was_raised_beyond_compulsory_school_age() {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-09-19", "O", "O").await;
    assert_eq!(standing(&world).await.len(), 2);
    let born = async |date: &str| {
        let request = pb::UpdatePupilRequest {
            trust_id: world.trust_id.clone(),
            pupil: Some(pb::Pupil {
                pupil_id: pupil.clone(),
                date_of_birth: Some(pb_date(date)),
                ..pb::Pupil::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["date_of_birth".into()],
            }),
        };
        world.pupils().update_pupil(request).await.unwrap();
    };
    born("2008-01-15").await;
    assert_eq!(standing(&world).await, []);
    born("2012-01-15").await;
    assert_eq!(standing(&world).await, [PenaltyNotice, UnauthorisedDays]);
    // The same from the nightly file of pupils.
    let older = pb::PupilInput {
        date_of_birth: Some(pb_date("2008-01-15")),
        ..pupil_input("a", &[])
    };
    assert_eq!(world.upsert(vec![older]).await.unwrap().rejections, []);
    assert_eq!(standing(&world).await, []);
}

#[tokio::test]
async fn another_main_school_raises_and_clears_what_its_school_weeks_decide() {
    let world = World::on("2025-12-12").await;
    let (one, other) = (world.school("100001").await, world.school("100002").await);
    give_calendar(&world, "100001", &["autumn 2025-09-01 2025-12-19"], &[]).await;
    let short = ["autumn 2025-09-01 2025-09-12", "late 2025-12-01 2025-12-19"];
    give_calendar(&world, "100002", &short, &[]).await;
    let enrolled = |main: &str, subsidiary: &str| {
        let main = enrolment(main, pb::EnrolmentKind::Main, "2025-09-01", "");
        [
            main,
            enrolment(subsidiary, pb::EnrolmentKind::Subsidiary, "2025-09-01", ""),
        ]
    };
    let pupil = world.pupil_enrolled("a", &enrolled(&one, &other)).await;
    let absent = |from: &str| pb::SessionItem {
        school: "100001".into(),
        ..item(&pupil, at(from, "AM"), "O O O O O")
    };
    world
        .try_record(vec![absent("2025-09-08"), absent("2025-12-08")])
        .await
        .unwrap();
    assert_eq!(standing(&world).await, [], "ten sessions within fourteen weeks");
    let turned = async |main: &str, subsidiary: &str| {
        let answer = world
            .upsert(vec![pupil_input("a", &enrolled(main, subsidiary))])
            .await
            .unwrap();
        assert_eq!((answer.rejections, answer.updated), (vec![], 1));
    };
    turned(&other, &one).await;
    assert_eq!(standing(&world).await, [PenaltyNotice], "within three");
    turned(&one, &other).await;
    assert_eq!(standing(&world).await, []);
}

#[tokio::test]
async fn a_school_day_of_which_is_heard_late_ends_a_row_of_illness_of_a_pupil_without_a_mark_on_it() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let (ill, other) = (world.pupil("ill", &school).await, world.pupil("other", &school).await);
    world.record_days(&ill, "2025-09-01", "2025-09-09", "I", "I").await;
    world.record_days(&ill, "2025-09-11", "2025-09-22", "I", "I").await;
    let mut reached = standing(&world).await;
    reached.sort_unstable();
    assert_eq!(reached, [IllnessCumulative, IllnessConsecutive]);
    // On Wednesday the 10th nobody had a mark: for all that is known, the school was closed.
    world.record(&other, at("2025-09-10", "AM"), "/").await;
    assert_eq!(standing(&world).await, [IllnessCumulative]);
    // It was a mistake.
    world.record(&other, at("2025-09-10", "AM"), "0").await;
    let mut again = standing(&world).await;
    again.sort_unstable();
    assert_eq!(again, [IllnessCumulative, IllnessConsecutive]);
}

#[tokio::test]
async fn a_school_week_of_which_is_heard_late_narrows_the_window_of_penalty_notices() {
    let world = World::on("2025-11-28").await;
    let school = world.school("100001").await;
    let (absent, other) = (
        world.pupil("absent", &school).await,
        world.pupil("other", &school).await,
    );
    for (from, to) in [("2025-09-08", "2025-09-26"), ("2025-10-06", "2025-11-14")] {
        world.record_days(&other, from, to, "/", "\\").await;
    }
    world.record_days(&other, "2025-11-24", "2025-11-28", "/", "\\").await;
    for (from, to) in [("2025-09-08", "2025-09-12"), ("2025-11-24", "2025-11-28")] {
        world.record_days(&absent, from, to, "O", "\\").await;
    }
    assert_eq!(standing(&world).await, [PenaltyNotice], "ten sessions within ten weeks");
    world.record(&other, at("2025-11-17", "AM"), "/").await;
    assert_eq!(standing(&world).await, [], "within eleven");
}

#[tokio::test]
async fn thresholds_of_every_year_go_with_a_record_that_becomes_part_of_another_and_come_back() {
    let world = World::on("2025-09-12").await;
    let school = world.school("100001").await;
    let until = enrolment(&school, pb::EnrolmentKind::Sole, "2024-09-01", "2025-09-05");
    let since = enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-06", "");
    let (old, new) = (
        world.pupil_enrolled("old", &[until]).await,
        world.pupil_enrolled("new", &[since]).await,
    );
    world.record_days(&old, "2025-06-02", "2025-06-06", "O", "O").await;
    world.record_days(&old, "2025-09-01", "2025-09-05", "O", "O").await;
    world.record_days(&new, "2025-09-08", "2025-09-12", "O", "O").await;
    let whose = async || {
        let mut found: Vec<_> = events(&world, false)
            .await
            .into_iter()
            .map(|event| (event.pupil_id, event.academic_year, event.threshold.unwrap().kind()))
            .collect();
        found.sort();
        found
    };
    let of = |pupil: &str, year: i32, kind: pb::ThresholdKind| (pupil.to_owned(), year, kind);
    let mut apart = vec![of(&old, 2024, PenaltyNotice), of(&new, 2025, PenaltyNotice)];
    apart.sort();
    assert_eq!(
        whose().await,
        apart,
        "the window of the first has not emptied since June"
    );
    let merge = world.merge(&new, &old).await;
    let together = [of(&new, 2024, PenaltyNotice), of(&new, 2025, UnauthorisedDays)];
    assert_eq!(whose().await, together, "ten days in a row, and one window since June");
    world.try_unmerge(&merge.merge_id).await.unwrap();
    assert_eq!(whose().await, apart);
}

#[tokio::test]
async fn a_move_of_years_ago_that_takes_marks_away_takes_back_what_they_had_raised() {
    let world = World::on("2026-09-14").await;
    let school = world.school("100001").await;
    world.school("100002").await;
    let enrolled = enrolment(&school, pb::EnrolmentKind::Sole, "2023-09-01", "");
    let pupil = world.pupil_enrolled("a", &[enrolled]).await;
    world.record_days(&pupil, "2024-06-03", "2024-06-07", "O", "O").await;
    assert_eq!(standing(&world).await, [PenaltyNotice]);
    let moved = world
        .try_transfer(&pupil, ("100001", "100002"), ("2024-06-06", "2024-06-07"), true)
        .await;
    assert_eq!(moved.unwrap().marks_cleared, 2);
    assert_eq!(standing(&world).await, []);
}
