//! Corrections, on every day that they touch: what only a wrong mark had reached is shown as such.

use graduated_response::proto as pb;

use crate::common::World;
use crate::common::world::{at, by_id, enrolment, person};

/// A world on a Friday with one pupil at stage 4 by ten days marked as unauthorised absence, the last two weeks of six.
async fn world_with_wrong_marks() -> (World, String) {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-09-26", "/", "\\").await;
    world.record_days(&pupil, "2025-09-29", "2025-10-10", "O", "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    (world, pupil)
}

async fn begin(world: &World, action: &pb::Action) {
    let request = pb::ProgressActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        to_state: pb::ActionState::InProgress.into(),
        recorded_by: Some(person()),
        ..pb::ProgressActionRequest::default()
    };
    world.actions().progress_action(request).await.unwrap();
}

#[tokio::test]
async fn what_only_a_wrong_mark_had_reached_is_withdrawn_and_what_was_begun_is_flagged() {
    let (world, pupil) = world_with_wrong_marks().await;
    let of_four = |actions: &[pb::Action]| -> Vec<pb::Action> {
        actions
            .iter()
            .filter(|action| action.stage() == pb::Stage::Four)
            .cloned()
            .collect()
    };
    begin(&world, &of_four(&world.actions_of(&pupil).await)[0]).await;
    // The child was ill at home for two days, and at school on all the others.
    world.record_days(&pupil, "2025-09-29", "2025-10-08", "/", "\\").await;
    world.record_days(&pupil, "2025-10-09", "2025-10-10", "I", "I").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(stage.stage(), pb::Stage::One, "56 of 60 are 93.3%");
    let actions = world.actions_of(&pupil).await;
    let four = of_four(&actions);
    assert!(four.iter().all(|action| action.never_reached));
    assert_eq!(
        four[0].state(),
        pb::ActionState::InProgress,
        "begun work is never closed by the service"
    );
    assert!(four[0].no_longer_required);
    assert!(
        four[1..]
            .iter()
            .all(|action| action.state() == pb::ActionState::Withdrawn && !action.no_longer_required)
    );
    let one = actions.iter().filter(|action| action.stage() == pb::Stage::One);
    assert!(
        one.into_iter()
            .all(|action| !action.never_reached && action.state() != pb::ActionState::Withdrawn)
    );
    // The feed says all of it: the fall, and down to where stages were taken back.
    let query = "SELECT cause, from_stage, to_stage, retracted_to FROM transitions ORDER BY position";
    let rows = world.sql().await.query(query, &[]).await.unwrap();
    let last: (String, i16, i16, Option<i16>) = {
        let row = rows.last().unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3))
    };
    assert_eq!((last.0.as_str(), last.2), ("correction", 1));
    assert!(rows.iter().any(|row| row.get::<_, Option<i16>>(3).is_some()));
}

#[tokio::test]
async fn a_stage_that_was_reached_all_the_same_keeps_its_actions() {
    let (world, pupil) = world_with_wrong_marks().await;
    // One day of the ten was wrong: stage 4 was still reached, two days later.
    world.record_days(&pupil, "2025-09-29", "2025-09-29", "/", "\\").await;
    let actions = world.actions_of(&pupil).await;
    assert!(
        actions
            .iter()
            .all(|action| !action.never_reached && action.state() != pb::ActionState::Withdrawn)
    );
}

#[tokio::test]
async fn a_correction_that_moves_no_stage_today_still_takes_back_what_was_never_reached_in_an_episode_that_is_over() {
    let world = World::on("2025-09-30").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-09-25", "/", "\\").await;
    // Three days of absence: 38 of 44, stage 3. Then weeks at school, back to U; and two days of illness before Christmas.
    world.record_days(&pupil, "2025-09-26", "2025-09-30", "I", "I").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Three);
    world.turn_to("2025-12-19");
    world.record_days(&pupil, "2025-10-01", "2025-12-17", "/", "\\").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Universal, "150 of 156");
    world.record_days(&pupil, "2025-12-18", "2025-12-19", "I", "I").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::One, "150 of 160");
    // The middle day was a mistake: the child was there.
    world.record_days(&pupil, "2025-09-29", "2025-09-29", "/", "\\").await;
    assert_eq!(
        world.stage(&pupil).await.stage(),
        pb::Stage::One,
        "152 of 160 are exactly 95%"
    );
    let request = pb::ListPupilActionsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        all_episodes: true,
        ..pb::ListPupilActionsRequest::default()
    };
    let actions = world
        .actions()
        .list_pupil_actions(request)
        .await
        .unwrap()
        .into_inner()
        .actions;
    let three: Vec<_> = actions
        .iter()
        .filter(|action| action.stage() == pb::Stage::Three)
        .collect();
    assert!(!three.is_empty() && three.iter().all(|action| action.never_reached));
    let two: Vec<_> = actions
        .iter()
        .filter(|action| action.stage() == pb::Stage::Two)
        .collect();
    assert!(
        !two.is_empty() && two.iter().all(|action| !action.never_reached),
        "stage 2 was reached: 36 of 40"
    );
    let query =
        "SELECT from_stage, to_stage, retracted_to, cause, episode FROM transitions ORDER BY position DESC LIMIT 1";
    let row = world.sql().await.query_one(query, &[]).await.unwrap();
    let found: (i16, i16, Option<i16>, String) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(
        found,
        (1, 1, Some(2), "correction".to_owned()),
        "told although the stage of today stays"
    );
    // What was known before stays answerable.
    assert_eq!(
        world
            .stage_as_of(&pupil, "2025-09-30", Some("2025-10-15"))
            .await
            .stage(),
        pb::Stage::Three
    );
    assert_eq!(
        world.stage_as_of(&pupil, "2025-09-30", None).await.stage(),
        pb::Stage::Two
    );
}

#[tokio::test]
async fn a_stage_that_is_reached_after_it_was_taken_back_raises_its_actions_anew() {
    let (world, pupil) = world_with_wrong_marks().await;
    world.record_days(&pupil, "2025-09-29", "2025-10-07", "/", "\\").await;
    assert_eq!(
        world.stage(&pupil).await.stage(),
        pb::Stage::Three,
        "54 of 60 are exactly 90%"
    );
    world.turn_to("2025-10-24");
    world.record_days(&pupil, "2025-10-13", "2025-10-24", "O", "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    let actions = world.actions_of(&pupil).await;
    assert!(
        actions
            .iter()
            .all(|action| !action.never_reached && action.state() != pb::ActionState::Withdrawn)
    );
    assert!(actions.iter().all(|action| action.episode == 1), "the episode went on");
}

#[tokio::test]
async fn both_clocks_tell_marks_taken_away_and_entered_again() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-09-12", "/", "\\").await;
    world.turn_to("2025-09-16");
    world.record(&pupil, at("2025-09-12", "AM"), "0 0").await;
    world.turn_to("2025-09-17");
    world.record(&pupil, at("2025-09-12", "AM"), "O O").await;
    world.turn_to("2025-09-18");
    world.record(&pupil, at("2025-09-12", "AM"), "I -").await;
    world.turn_to("2025-09-19");
    let known = async |on: &str| {
        let stage = world.stage_as_of(&pupil, "2025-09-12", Some(on)).await;
        let tally = stage.year_tally.unwrap();
        (tally.attended, tally.possible, tally.unauthorised)
    };
    assert_eq!(known("2025-09-14").await, (0, 0, 0));
    assert_eq!(known("2025-09-15").await, (20, 20, 0));
    assert_eq!(known("2025-09-16").await, (18, 18, 0));
    assert_eq!(known("2025-09-17").await, (18, 20, 2));
    assert_eq!(known("2025-09-18").await, (18, 20, 1));
}

/// The actions of every episode of a pupil.
async fn all_actions(world: &World, pupil: &str) -> Vec<pb::Action> {
    let request = pb::ListPupilActionsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        all_episodes: true,
        ..pb::ListPupilActionsRequest::default()
    };
    let answer = world.actions().list_pupil_actions(request).await.unwrap();
    answer.into_inner().actions
}

/// A world in the September after an autumn in which a pupil came to stage 4, with one of that stage's actions begun, and at
/// stage 3 again in the new year.
async fn world_in_the_year_after() -> (World, String) {
    let world = World::on("2024-10-11").await;
    let school = world.school("100001").await;
    let sole = enrolment(&school, pb::EnrolmentKind::Sole, "2024-09-01", "");
    let pupil = world.pupil_enrolled("a", &[sole]).await;
    world.record_days(&pupil, "2024-09-02", "2024-09-27", "/", "\\").await;
    world.record_days(&pupil, "2024-09-30", "2024-10-11", "O", "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    let actions = world.actions_of(&pupil).await;
    let four = actions.iter().find(|action| action.stage() == pb::Stage::Four);
    begin(&world, four.unwrap()).await;
    world.turn_to("2025-09-26");
    world.record_days(&pupil, "2025-09-01", "2025-09-24", "/", "\\").await;
    world.record_days(&pupil, "2025-09-25", "2025-09-26", "I", "I").await;
    let stage = world.stage(&pupil).await;
    assert_eq!((stage.stage(), stage.episode), (pb::Stage::Three, 2), "36 of 40");
    (world, pupil)
}

#[tokio::test]
async fn a_correction_of_a_year_that_is_over_takes_back_what_was_never_reached_in_it_and_leaves_today_alone() {
    let (world, pupil) = world_in_the_year_after().await;
    let before = world.stage(&pupil).await;
    let of_today = world.actions_of(&pupil).await;
    // The child was at school but for the last two days: 56 of 60, stage 1.
    world.record_days(&pupil, "2024-09-30", "2024-10-09", "/", "\\").await;
    assert_eq!(world.stage(&pupil).await, before);
    assert_eq!(world.actions_of(&pupil).await, of_today);

    let earlier: Vec<_> = all_actions(&world, &pupil).await;
    let earlier: Vec<_> = earlier.iter().filter(|action| action.episode == 1).collect();
    let (one, never): (Vec<_>, Vec<_>) = earlier.into_iter().partition(|action| action.stage() == pb::Stage::One);
    assert!(!one.is_empty() && one.iter().all(|action| !action.never_reached));
    let (begun, untouched): (Vec<_>, Vec<_>) = never
        .into_iter()
        .partition(|action| action.state() == pb::ActionState::InProgress);
    assert_eq!(begun.len(), 1, "begun work is never closed by the service");
    assert!(begun[0].never_reached && begun[0].no_longer_required);
    assert!(!untouched.is_empty());
    assert!(
        untouched
            .iter()
            .all(|action| action.never_reached && action.state() == pb::ActionState::Withdrawn)
    );

    // The feed says so, of that year and that episode; and no more, where nothing more is taken back.
    let last = async || {
        let request = pb::ListTransitionsRequest {
            trust_id: world.trust_id.clone(),
            pupil: Some(by_id(&pupil)),
            page_size: 1000,
            ..pb::ListTransitionsRequest::default()
        };
        let answer = world.stages().list_transitions(request).await.unwrap().into_inner();
        let told = answer.transitions.len();
        (told, answer.transitions.into_iter().next().unwrap())
    };
    let (told, transition) = last().await;
    assert_eq!(
        (transition.from_stage(), transition.to_stage()),
        (pb::Stage::Three, pb::Stage::Three)
    );
    assert_eq!(transition.retracted_to(), pb::Stage::One);
    assert_eq!(transition.cause(), pb::TransitionCause::Correction);
    assert_eq!((transition.academic_year, transition.episode), (2024, 1));
    let tally = transition.tally.unwrap();
    assert_eq!((tally.attended, tally.possible), (56, 60));
    world.record_days(&pupil, "2024-09-30", "2024-09-30", "L", "L").await;
    assert_eq!(last().await.0, told);
    // The correction itself was a mistake: what had been raised stands again, as it was.
    world.record_days(&pupil, "2024-09-30", "2024-10-09", "O", "O").await;
    let again = all_actions(&world, &pupil).await;
    assert!(
        again
            .iter()
            .all(|action| !action.never_reached && action.state() != pb::ActionState::Withdrawn)
    );
    world.record_days(&pupil, "2024-09-30", "2024-10-09", "/", "\\").await;
    // What was true then, as it was known then and as it is known now.
    let known_then = world.stage_as_of(&pupil, "2024-10-11", Some("2024-10-20")).await;
    assert_eq!(known_then.stage(), pb::Stage::Four);
    assert_eq!(
        world.stage_as_of(&pupil, "2024-10-11", None).await.stage(),
        pb::Stage::One
    );
}

#[tokio::test]
async fn a_late_correction_of_a_year_that_is_over_takes_nothing_back_that_was_reached_all_the_same() {
    let (world, pupil) = world_in_the_year_after().await;
    world.record_days(&pupil, "2024-09-30", "2024-09-30", "/", "\\").await;
    let actions = all_actions(&world, &pupil).await;
    assert!(actions.iter().all(|action| !action.never_reached));
}

#[tokio::test]
async fn marks_taken_away_behind_the_end_of_an_enrolment_are_judged_in_the_year_in_which_they_were() {
    let (world, pupil) = world_in_the_year_after().await;
    // The child left for another school three weeks before anybody noticed; and was here again a year later.
    world.try_end(&pupil, "100001", "2024-09-27", true).await.unwrap();
    let actions = all_actions(&world, &pupil).await;
    let begun = actions
        .iter()
        .filter(|action| action.episode == 1 && action.state() == pb::ActionState::InProgress);
    assert_eq!(begun.count(), 1);
    assert!(
        actions.iter().all(|action| action.never_reached),
        "no mark of either year is left behind that day"
    );
}
