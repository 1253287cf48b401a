//! What each stage raises: the trust's table as a test.

use super::*;

/// What a caller sees of an action that nobody has touched, in the words of the trust's table.
#[derive(Debug, PartialEq, Eq)]
struct Raised {
    id: String,
    stage: String,
    title: String,
    guidance: String,
    kind: String,
    condition: String,
    roles: Vec<String>,
    review_days: i64,
    state: pb::ActionState,
}

/// What the trust's table has for the pupils of the stages from 1 to this one, read without the service's own reader.
fn required(up_to: usize) -> Vec<Raised> {
    let table: toml::Table = include_str!("../../../data/provisions.toml").parse().unwrap();
    let text = |entry: &toml::Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let roles_of = |stage: &str| {
        let stages = table["stage"].as_array().unwrap();
        let entry = stages.iter().find(|entry| text(entry, "code") == stage).unwrap();
        let roles = entry["responsible"].as_array().unwrap();
        roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect()
    };
    let provisions = table["provision"].as_array().unwrap().iter();
    let required = provisions.filter_map(|entry| {
        let id = text(entry, "id");
        let stage = id.split('-').next().unwrap().to_owned();
        if !stage.parse().is_ok_and(|stage: usize| stage <= up_to) {
            return None;
        }
        let condition = text(entry, "applies");
        Some(Raised {
            title: text(entry, "title"),
            guidance: text(entry, "guidance"),
            kind: text(entry, "kind"),
            roles: roles_of(&stage),
            review_days: entry.get("review_days").map_or(0, |days| days.as_integer().unwrap()),
            state: if condition == "always" { Open } else { ToBeConsidered },
            condition,
            stage,
            id,
        })
    });
    required.collect()
}

fn as_raised(action: &pb::Action) -> Raised {
    Raised {
        id: action.provision_id.clone(),
        stage: (action.stage - 1).to_string(),
        title: action.title.clone(),
        guidance: action.guidance.clone(),
        kind: word(action.kind().as_str_name(), "PROVISION_KIND_"),
        condition: word(action.condition().as_str_name(), "PROVISION_CONDITION_"),
        roles: action
            .responsible_roles()
            .map(|role| word(role.as_str_name(), "RESPONSIBLE_ROLE_"))
            .collect(),
        review_days: action.review_days.into(),
        state: action.state(),
    }
}

#[tokio::test]
async fn each_stage_raises_what_the_trusts_table_requires_of_whom_and_all_that_was_passed_over() {
    let world = World::on(TODAY).await;
    let school = world.school("100001").await;
    for (place, missed) in MISSED_OF_FORTY.into_iter().enumerate() {
        let stage = place + 1;
        let pupil = world.pupil(&format!("at-{stage}"), &school).await;
        attend_september(&world, &pupil, missed).await;
        assert_eq!(usize::try_from(world.stage(&pupil).await.stage).unwrap(), stage + 1);
        let actions = world.actions_of(&pupil).await;
        assert_eq!(
            actions.iter().map(as_raised).collect::<Vec<_>>(),
            required(stage),
            "stage {stage}"
        );
        for action in &actions {
            let name = format!("pupils/{pupil}/episodes/1/actions/{}", action.provision_id);
            assert_eq!(action.name, name);
            assert_eq!((action.pupil_id.as_str(), action.episode), (pupil.as_str(), 1));
            assert!(!action.no_longer_required && action.raised_at == action.updated_at);
            assert_eq!(get(&world, &world.trust_id, &name).await.unwrap(), *action);
        }
    }
}

#[tokio::test]
async fn a_pupil_above_95_per_cent_has_no_actions_and_no_episode() {
    let (world, pupil) = world_with_pupil().await;
    attend_september(&world, &pupil, 1).await;
    assert_eq!(world.stage(&pupil).await.episode, 0);
    assert_eq!(all_episodes(&world, &pupil).await, []);
}

#[tokio::test]
async fn a_pupil_who_falls_stage_by_stage_has_each_stages_actions_raised_once() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let mut before = world.actions_of(&pupil).await;
    assert_eq!(before.iter().map(as_raised).collect::<Vec<_>>(), required(1));
    let absences = school_days("2025-09-29", "2025-10-24", "O", "O");
    // 38 of 41, 43, 50 and 80 sessions attended.
    for (stage, half_days_absent) in [(2, 1), (3, 3), (4, 10), (5, 40)] {
        let mut left = half_days_absent;
        let run: Vec<&str> = absences
            .split(' ')
            .take_while(|mark| {
                left -= i32::from(*mark == "O");
                left >= 0
            })
            .collect();
        world.turn_to(&format!("2025-12-{stage:02}"));
        world.record(&pupil, at("2025-09-29", "AM"), &run.join(" ")).await;
        let actions = world.actions_of(&pupil).await;
        assert_eq!(
            actions.iter().map(as_raised).collect::<Vec<_>>(),
            required(stage),
            "stage {stage}"
        );
        // What was there stays as it was raised.
        assert_eq!(actions[..before.len()], before);
        let raised_later = actions[before.len()].raised_at.unwrap();
        assert!(raised_later.seconds > before[0].raised_at.unwrap().seconds);
        before = actions;
    }
    assert_eq!(world.stage(&pupil).await.episode, 1);
}

#[tokio::test]
async fn nothing_is_raised_below_twenty_possible_sessions() {
    let (world, pupil) = world_with_pupil().await;
    // Nineteen sessions, all of them missed.
    let absent = school_days("2025-09-01", "2025-09-12", "O", "O");
    let (nineteen, _) = absent.rsplit_once(' ').unwrap();
    world.record(&pupil, at("2025-09-01", "AM"), nineteen).await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.computed_stage(), stage.too_little_data),
        (pb::Stage::Universal, pb::Stage::Five, true)
    );
    assert_eq!(all_episodes(&world, &pupil).await, []);
    world.record(&pupil, at("2025-09-12", "PM"), "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Five);
    assert_eq!(all_episodes(&world, &pupil).await.len(), required(5).len());
}

#[tokio::test]
async fn a_pupil_who_gets_better_keeps_every_action_and_those_no_longer_required_are_flagged() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let raised = world.actions_of(&pupil).await;
    let done = raised.iter().find(|action| action.provision_id == "3-01").unwrap();
    let done = progress(&world, step(&world, done, Completed, "")).await.unwrap();
    let ended = |action: &pb::Action| action.name == done.name;
    // 38 of 42 sessions attended, then 54 of 58.
    for (day, stage) in [("2025-09-29", 2), ("2025-10-09", 1)] {
        world.record_days(&pupil, "2025-09-29", day, "/", "\\").await;
        assert_eq!(world.stage(&pupil).await.stage, stage + 1);
        let now = world.actions_of(&pupil).await;
        assert_eq!(names(&now), names(&raised));
        for (action, before) in now.iter().zip(&raised) {
            if !ended(action) {
                assert_eq!(action.state, before.state, "{}", action.name);
            }
            let flagged = action.stage > stage + 1 && !ended(action);
            assert_eq!(action.no_longer_required, flagged, "{} at {stage}", action.name);
        }
    }
    // A second fall in the same episode raises nothing again, and takes the flags away.
    world.record_days(&pupil, "2025-10-10", "2025-10-16", "O", "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    let again = world.actions_of(&pupil).await;
    assert_eq!(names(&again)[..raised.len()], names(&raised));
    assert_eq!(again.len(), required(4).len());
    assert!(
        again
            .iter()
            .all(|action| action.episode == 1 && !action.no_longer_required)
    );
    assert_eq!(again.iter().find(|action| ended(action)), Some(&done));
}

#[tokio::test]
async fn back_at_u_the_episode_is_over_and_a_new_fall_is_a_second_one_with_its_own_actions() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let first = world.actions_of(&pupil).await;
    let begun = progress(&world, step(&world, &first[0], InProgress, "")).await.unwrap();
    // 78 of 82 sessions attended.
    world.record_days(&pupil, "2025-09-29", "2025-10-27", "/", "\\").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Universal);
    let over = world.actions_of(&pupil).await;
    assert_eq!(names(&over), names(&first), "the last episode is still listed");
    assert!(over.iter().all(|action| action.no_longer_required));
    assert_eq!(over[0].state(), InProgress);
    // 78 of 83.
    world.record(&pupil, at("2025-10-28", "AM"), "O").await;
    let stage = world.stage(&pupil).await;
    assert_eq!((stage.stage(), stage.episode), (pb::Stage::One, 2));
    let second = world.actions_of(&pupil).await;
    assert_eq!(second.iter().map(as_raised).collect::<Vec<_>>(), required(1));
    assert!(
        second
            .iter()
            .all(|action| action.episode == 2 && !action.no_longer_required)
    );
    // Each is linked to that of the last episode, which followed on none.
    let linked: Vec<&str> = second.iter().map(|action| action.previous_action.as_str()).collect();
    assert_eq!(linked, names(&first)[..second.len()]);
    assert!(first.iter().all(|action| action.previous_action.is_empty()));
    let both = all_episodes(&world, &pupil).await;
    assert_eq!(both[..second.len()], second);
    assert_eq!(names(&both[second.len()..]), names(&first));
    // What is left of the first episode can still be brought to its end.
    let left = get(&world, &world.trust_id, &begun.name).await.unwrap();
    let closed = progress(&world, step(&world, &left, Completed, "")).await.unwrap();
    assert_eq!((closed.state(), closed.no_longer_required), (Completed, false));
    let fresh = get(&world, &world.trust_id, &second[0].name).await.unwrap();
    assert_eq!(fresh, second[0], "the second episode has its own");
}
