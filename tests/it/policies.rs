//! Policies as an attendance lead changes them: drafted, previewed, brought into force, and what each setting does.

use graduated_response::proto as pb;
use tonic::Code;

use crate::common::World;
use crate::common::world::{at, by_id, enrolment, item, pb_date, person, refused, school_days};

fn bounds(tenths: [(i32, bool); 5]) -> Vec<pb::LowerBound> {
    tenths
        .map(|(tenths, inclusive)| pb::LowerBound { tenths, inclusive })
        .to_vec()
}

/// Everybody below 100 is at stage 5.
fn strict() -> pb::PolicySettings {
    pb::PolicySettings {
        lower_bounds: bounds([(1000, true), (999, true), (998, true), (997, true), (996, true)]),
        ..pb::PolicySettings::default()
    }
}

/// A world in December with one school and two pupils: one always there, one at 90%.
async fn world_of_two() -> (World, String, [String; 2]) {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let present = world.pupil("present", &school).await;
    let tenth = world.pupil("tenth", &school).await;
    for pupil in [&present, &tenth] {
        world.record_days(pupil, "2025-09-01", "2025-10-10", "/", "\\").await;
    }
    world.record_days(&tenth, "2025-09-29", "2025-10-01", "I", "I").await;
    (world, school, [present, tenth])
}

async fn preview(world: &World, version: i32, school: &str) -> pb::PreviewPolicyResponse {
    let request = pb::PreviewPolicyRequest {
        trust_id: world.trust_id.clone(),
        version,
        school: school.into(),
        ..pb::PreviewPolicyRequest::default()
    };
    world.admin().preview_policy(request).await.unwrap().into_inner()
}

fn moves(movements: &[pb::StageMovement]) -> Vec<(pb::Stage, pb::Stage, i32)> {
    movements
        .iter()
        .map(|found| (found.from_stage(), found.to_stage(), found.pupils))
        .collect()
}

#[tokio::test]
async fn a_preview_says_who_would_move_and_writes_nothing_and_the_activation_does_just_that() {
    let (world, school, [present, tenth]) = world_of_two().await;
    assert_eq!(world.stage(&tenth).await.stage(), pb::Stage::Three);
    let version = world.policy(strict()).await;
    let found = preview(&world, version, "").await;
    assert_eq!((found.pupils, found.moved), (2, 1));
    let expected = vec![
        (pb::Stage::Universal, pb::Stage::Universal, 1),
        (pb::Stage::Three, pb::Stage::Five, 1),
    ];
    assert_eq!(moves(&found.movements), expected);
    assert_eq!(found.schools.len(), 1);
    assert_eq!(found.schools[0].school_id, school);
    assert_eq!(moves(&found.schools[0].movements), expected);
    assert_eq!(found.moved_pupils.len(), 1);
    assert_eq!(found.moved_pupils[0].pupil_id, tenth);
    assert_eq!(
        world.stage(&tenth).await.stage(),
        pb::Stage::Three,
        "nothing was written"
    );
    let owner = world.sql().await;
    let transitions = "SELECT count(*) FROM transitions";
    let before: i64 = owner.query_one(transitions, &[]).await.unwrap().get(0);

    let job = world.activate(version, "").await;
    assert_eq!((job.moved, job.done, job.total), (1, 2, 2));
    let stage = world.stage(&tenth).await;
    assert_eq!((stage.stage(), stage.policy_version), (pb::Stage::Five, version));
    assert_eq!(
        stage.since,
        Some(pb_date("2025-10-10")),
        "the day on which the policy moved the pupil"
    );
    assert_eq!(world.stage(&present).await.policy_version, version);
    let after: i64 = owner.query_one(transitions, &[]).await.unwrap().get(0);
    assert_eq!(after, before + 1);
    let last = "SELECT cause, policy_version, from_stage, to_stage FROM transitions ORDER BY position DESC LIMIT 1";
    let row = owner.query_one(last, &[]).await.unwrap();
    let found: (String, i32, i16, i16) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(found, ("policy".to_owned(), version, 3, 5));
    assert_eq!(
        world.actions_of(&tenth).await.len(),
        40,
        "the stages passed over raise theirs as well"
    );
}

#[tokio::test]
async fn the_past_is_judged_by_the_policy_that_was_in_force_then() {
    let (world, _, [_, tenth]) = world_of_two().await;
    world.turn_to("2025-10-13");
    world.record_days(&tenth, "2025-10-13", "2025-10-13", "/", "\\").await;
    let version = world.policy(strict()).await;
    world.activate(version, "").await;
    let today = world.stage_as_of(&tenth, "2025-10-13", None).await;
    assert_eq!((today.stage(), today.policy_version), (pb::Stage::Five, version));
    let friday = world.stage_as_of(&tenth, "2025-10-10", None).await;
    assert_eq!((friday.stage(), friday.policy_version), (pb::Stage::Three, 1));
    let as_known = world.stage_as_of(&tenth, "", Some("2025-10-10")).await;
    assert_eq!((as_known.stage(), as_known.policy_version), (pb::Stage::Three, 1));
    // Marks that come later are judged by the new one, and the stage holds since it came into force.
    world.turn_to("2025-10-14");
    world.record_days(&tenth, "2025-10-14", "2025-10-14", "/", "\\").await;
    let stage = world.stage(&tenth).await;
    assert_eq!(
        (stage.stage(), stage.since),
        (pb::Stage::Five, Some(pb_date("2025-10-13")))
    );
    assert_eq!(world.stage_as_of(&tenth, "2025-10-14", None).await.since, stage.since);
}

#[tokio::test]
async fn a_school_may_differ_and_follow_the_trust_again() {
    let (world, school, [_, tenth]) = world_of_two().await;
    let other = world.school("100002").await;
    let elsewhere = world.pupil("elsewhere", &other).await;
    world
        .record_days(&elsewhere, "2025-09-01", "2025-10-10", "/", "\\")
        .await;
    world
        .record_days(&elsewhere, "2025-09-29", "2025-10-01", "I", "I")
        .await;
    let version = world.policy(strict()).await;
    assert_eq!(
        preview(&world, version, &school).await.pupils,
        2,
        "of that school alone"
    );
    let job = world.activate(version, "100001").await;
    assert_eq!((job.moved, job.total), (1, 2));
    assert_eq!(world.stage(&tenth).await.stage(), pb::Stage::Five);
    assert_eq!(world.stage(&elsewhere).await.stage(), pb::Stage::Three);
    // Later marks are judged by each school's own.
    world.turn_to("2025-10-13");
    for pupil in [&tenth, &elsewhere] {
        world.record_days(pupil, "2025-10-13", "2025-10-13", "/", "O").await;
    }
    assert_eq!(world.stage(&tenth).await.policy_version, version);
    assert_eq!(world.stage(&elsewhere).await.policy_version, 1);
    assert_eq!(world.stage(&elsewhere).await.stage(), pb::Stage::Three);

    world.activate(0, &school).await;
    let back = world.stage(&tenth).await;
    assert_eq!((back.stage(), back.policy_version), (pb::Stage::Three, 1));
    let request = pb::ListPolicyActivationsRequest {
        trust_id: world.trust_id.clone(),
    };
    let history = world
        .admin()
        .list_policy_activations(request)
        .await
        .unwrap()
        .into_inner()
        .activations;
    let found: Vec<_> = history
        .iter()
        .map(|found| (found.version, found.school_id.as_str()))
        .collect();
    assert_eq!(found, [(1, ""), (version, school.as_str()), (0, school.as_str())]);
    assert_eq!(history[1].activated_by, Some(person()));
}

#[tokio::test]
async fn under_a_policy_that_lets_a_fall_wait_a_person_confirms_it() {
    let (world, _, [_, tenth]) = world_of_two().await;
    let version = world
        .policy(pb::PolicySettings {
            fall_waits: true,
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    world.turn_to("2025-10-24");
    world.record_days(&tenth, "2025-10-13", "2025-10-24", "/", "\\").await;
    // 74 of 80 are 92.5%: stage 2 by the counts.
    let stage = world.stage(&tenth).await;
    assert_eq!(
        (stage.stage(), stage.computed_stage(), stage.fall_waits),
        (pb::Stage::Three, pb::Stage::Two, true)
    );
    assert_eq!(
        world.stage_as_of(&tenth, "2025-10-24", None).await.stage(),
        pb::Stage::Three
    );
    let confirm = pb::ConfirmFallRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&tenth)),
        reason: "reviewed with the tutor".into(),
        confirmed_by: Some(person()),
        request_id: String::new(),
    };
    world.admin().confirm_fall(confirm.clone()).await.unwrap();
    let stage = world.stage(&tenth).await;
    assert_eq!((stage.stage(), stage.fall_waits), (pb::Stage::Two, false));
    let (code, reason, _) = refused(world.admin().confirm_fall(confirm).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "NO_FALL_WAITS"));
    // Later days stay where the person let the pupil fall to.
    world.turn_to("2025-11-03");
    world.record_days(&tenth, "2025-11-03", "2025-11-03", "/", "\\").await;
    assert_eq!(world.stage(&tenth).await.stage(), pb::Stage::Two);
}

#[tokio::test]
async fn under_a_policy_of_single_enrolments_the_pupil_is_where_the_need_is_greatest() {
    let world = World::on("2025-10-10").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let enrolments = [
        enrolment(&schools[0], pb::EnrolmentKind::Main, "2025-09-01", ""),
        enrolment(&schools[1], pb::EnrolmentKind::Subsidiary, "2025-09-01", ""),
    ];
    let pupil = world.pupil_enrolled("dual", &enrolments).await;
    let at_school = |school: usize, run: String| pb::SessionItem {
        school: schools[school].clone(),
        ..item(&pupil, at("2025-09-01", "AM"), &run)
    };
    let main = school_days("2025-09-01", "2025-09-19", "/", "\\");
    let other = format!(
        "{} {}",
        school_days("2025-09-01", "2025-09-19", "-", "-"),
        "- - - - / \\ / \\ / \\ / \\ O O - - - - / \\ / \\ / \\ O O O O"
    );
    let taken = world
        .try_record(vec![at_school(0, main), at_school(1, other)])
        .await
        .unwrap();
    assert_eq!(taken.rejections, []);
    // Together 44 of 50, 88%.
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Three);
    let version = world
        .policy(pb::PolicySettings {
            scope: pb::PolicyScope::Enrolment.into(),
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(stage.stage(), pb::Stage::Four, "14 of 20 at the second school are 70%");
    let counts = |tally: &Option<pb::Tally>| tally.map(|tally| (tally.attended, tally.possible)).unwrap();
    assert_eq!(counts(&stage.tally), (14, 20));
    assert_eq!(counts(&stage.year_tally), (44, 50));
    let alone: Vec<_> = stage
        .enrolments
        .iter()
        .map(|found| (found.stage(), counts(&found.tally)))
        .collect();
    assert_eq!(alone, [(pb::Stage::Universal, (30, 30)), (pb::Stage::Four, (14, 20))]);
}

#[tokio::test]
async fn a_policy_of_the_reached_stage_alone_raises_no_other() {
    let (world, _, [_, tenth]) = world_of_two().await;
    let version = world
        .policy(pb::PolicySettings {
            raises_reached_stage_only: true,
            days_to_due: vec![
                pb::DaysToDue {
                    stage: pb::Stage::Four.into(),
                    days: 10,
                    ..pb::DaysToDue::default()
                },
                pb::DaysToDue {
                    provision_id: "4-01".into(),
                    days: 3,
                    ..pb::DaysToDue::default()
                },
            ],
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    let fresh = world.pupil("fresh", "100001").await;
    world.record_days(&fresh, "2025-09-15", "2025-10-10", "/", "O").await;
    world.record_days(&fresh, "2025-09-15", "2025-09-18", "/", "\\").await;
    let stage = world.stage(&fresh).await;
    assert_eq!(stage.stage(), pb::Stage::Four);
    let actions = world.actions_of(&fresh).await;
    assert!(!actions.is_empty() && actions.iter().all(|action| action.stage() == pb::Stage::Four));
    let due = |provision: &str| {
        actions
            .iter()
            .find(|action| action.provision_id == provision)
            .unwrap()
            .due_on
    };
    assert_eq!(due("4-01"), Some(pb_date("2025-10-13")));
    assert_eq!(due("4-02"), Some(pb_date("2025-10-20")));
    // The other pupil's episode began under the policy before: it has no due dates.
    assert!(
        world
            .actions_of(&tenth)
            .await
            .iter()
            .all(|action| action.due_on.is_none())
    );
}

#[tokio::test]
async fn a_policy_that_was_in_force_is_never_changed_and_a_draft_only_by_who_has_read_it() {
    let (world, ..) = world_of_two().await;
    let version = world.policy(strict()).await;
    let read = pb::GetPolicyRequest {
        trust_id: world.trust_id.clone(),
        version,
        school: String::new(),
    };
    let draft = world
        .admin()
        .get_policy(read.clone())
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    assert_eq!(draft.state(), pb::PolicyState::Draft);
    let change = pb::UpdatePolicyRequest {
        trust_id: world.trust_id.clone(),
        version,
        title: "Strict".into(),
        settings: draft.settings.clone(),
        etag: draft.etag.clone(),
    };
    let changed = world
        .admin()
        .update_policy(change.clone())
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    assert_eq!(changed.title, "Strict");
    let (code, reason, _) = refused(world.admin().update_policy(change.clone()).await);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "STALE_ETAG"));
    world.activate(version, "").await;
    let late = pb::UpdatePolicyRequest {
        etag: String::new(),
        ..change
    };
    let (code, reason, _) = refused(world.admin().update_policy(late).await);
    assert_eq!(
        (code, reason.as_str()),
        (Code::FailedPrecondition, "POLICY_WAS_IN_FORCE")
    );
    let now = world
        .admin()
        .get_policy(read)
        .await
        .unwrap()
        .into_inner()
        .policy
        .unwrap();
    assert_eq!(now.state(), pb::PolicyState::InForce);
    let request = pb::ListPoliciesRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ListPoliciesRequest::default()
    };
    let listed = world
        .admin()
        .list_policies(request)
        .await
        .unwrap()
        .into_inner()
        .policies;
    let states: Vec<_> = listed.iter().map(|policy| (policy.version, policy.state())).collect();
    assert_eq!(states, [(2, pb::PolicyState::InForce), (1, pb::PolicyState::Past)]);
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused_by_field() {
    let (world, ..) = world_of_two().await;
    let cases: [(pb::PolicySettings, &str, &str); 6] = [
        (
            pb::PolicySettings {
                lower_bounds: bounds([(950, false), (960, true), (900, false), (800, true), (500, true)]),
                ..pb::PolicySettings::default()
            },
            "settings.lower_bounds[1].tenths",
            "BOUNDS_NOT_FALLING",
        ),
        (
            pb::PolicySettings {
                minimum_possible: Some(401),
                ..pb::PolicySettings::default()
            },
            "settings.minimum_possible",
            "OUT_OF_RANGE",
        ),
        (
            pb::PolicySettings {
                window: pb::PolicyWindow::SchoolWeeks.into(),
                ..pb::PolicySettings::default()
            },
            "settings.window_school_weeks",
            "OUT_OF_RANGE",
        ),
        (
            pb::PolicySettings {
                window_school_weeks: 6,
                ..pb::PolicySettings::default()
            },
            "settings.window_school_weeks",
            "NOT_OF_THIS_WINDOW",
        ),
        (
            pb::PolicySettings {
                scope: 9,
                ..pb::PolicySettings::default()
            },
            "settings.scope",
            "UNKNOWN_VALUE",
        ),
        (
            pb::PolicySettings {
                triggers: vec![pb::Trigger::default()],
                ..pb::PolicySettings::default()
            },
            "settings.triggers[0].trigger",
            "MISSING_TRIGGER",
        ),
    ];
    for (settings, field, reason) in cases {
        let request = pb::CreatePolicyRequest {
            trust_id: world.trust_id.clone(),
            title: String::new(),
            settings: Some(settings),
        };
        let found = refused(world.admin().create_policy(request).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    let activate = |version: i32, school: &str| pb::ActivatePolicyRequest {
        trust_id: world.trust_id.clone(),
        version,
        school: school.into(),
        activated_by: Some(person()),
        request_id: String::new(),
    };
    let (code, ..) = refused(world.admin().activate_policy(activate(9, "")).await);
    assert_eq!(code, Code::NotFound);
    let (code, ..) = refused(world.admin().activate_policy(activate(1, "999999")).await);
    assert_eq!(code, Code::NotFound);
    let (code, reason, _) = refused(world.admin().activate_policy(activate(0, "")).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "MISSING_VERSION"));
}

#[tokio::test]
async fn an_activation_that_died_half_way_is_finished_by_another_process() {
    let (world, _, [_, tenth]) = world_of_two().await;
    let version = world.policy(strict()).await;
    // As a process leaves it that died at work: begun, and nobody holds its lock.
    let left = format!(
        "INSERT INTO jobs (trust_id, job_id, kind, state, settings, done, total, attempts, requested_by_name,
             requested_by_position, created_at, updated_at)
         VALUES ('{}', gen_random_uuid(), 'activate_policy', 'running', '{{\"version\": {version}, \"school\": null}}', 1, 2, 1,
             'B. Okafor', 'attendance officer', now(), now())",
        world.trust_id
    );
    world.sql().await.batch_execute(&left).await.unwrap();
    assert_eq!(world.stage(&tenth).await.stage(), pb::Stage::Three);
    world.service.run_unfinished_jobs().await.unwrap();
    assert_eq!(world.stage(&tenth).await.stage(), pb::Stage::Five);
    let request = pb::ListJobsRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ListJobsRequest::default()
    };
    let jobs = world.admin().list_jobs(request).await.unwrap().into_inner().jobs;
    assert_eq!(jobs.len(), 1);
    assert_eq!((jobs[0].state(), jobs[0].moved), (pb::JobState::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_arrive_during_an_activation_are_judged_by_the_policy_that_comes_out_of_it() {
    let (world, school, _) = world_of_two().await;
    let version = world.policy(strict()).await;
    let pupils: Vec<String> = {
        let mut pupils = Vec::new();
        for number in 0..40 {
            pupils.push(world.pupil(&format!("p{number}"), &school).await);
        }
        pupils
    };
    let run = school_days("2025-09-01", "2025-10-10", "/", "\\");
    let late = run.replacen("/", "O", 2);
    let writes = async {
        for pupils in pupils.chunks(4) {
            let items = pupils
                .iter()
                .map(|pupil| item(pupil, at("2025-09-01", "AM"), &late))
                .collect();
            world.try_record(items).await.unwrap();
        }
    };
    tokio::join!(writes, world.activate(version, ""));
    for pupil in &pupils {
        assert_eq!(world.stage(pupil).await.stage(), pb::Stage::Five);
    }
}
