//! Stages: what marks make of a pupil, and the answers about one, many, a school and the trust.

use graduated_response::proto as pb;
use graduated_response::proto::Stage;
use tonic::Code;
use uuid::Uuid;

use crate::common::world::{by_id, by_name, enrolment, pb_date, pupil_input, school_days};
use crate::common::{World, at, refused};

async fn explain(world: &World, pupil: &str) -> pb::ExplainPupilStageResponse {
    let request = pb::ExplainPupilStageRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
    };
    world.stages().explain_pupil_stage(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_pupil_without_marks_is_at_u_with_too_little_data_and_no_percentage() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.computed_stage()),
        (Stage::Universal, Stage::Universal)
    );
    assert!(stage.too_little_data && stage.attendance_percent.is_empty() && stage.since.is_none());
    assert_eq!((stage.as_of, stage.academic_year), (Some(pb_date("2025-09-15")), 2025));
}

#[tokio::test]
async fn below_the_minimum_the_pupil_is_at_u_and_the_computed_stage_stands_beside_it() {
    let world = World::on("2025-09-30").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    // 19 sessions from the afternoon of 8 September, the last four missed: 15 of 19.
    let run = school_days("2025-09-08", "2025-09-17", "/", "\\");
    let run = run.replacen('/', "-", 1) + " C C C C";
    world.record(&pupil, at("2025-09-08", "AM"), &run).await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.computed_stage(), stage.too_little_data),
        (Stage::Universal, Stage::Four, true)
    );
    assert!(stage.persistent_absence && !stage.severe_absence);
    assert_eq!(
        world.actions_of(&pupil).await,
        [],
        "nothing is raised on too little data"
    );
    // The twentieth session: 16 of 20 is stage 3.
    world.record(&pupil, at("2025-09-08", "AM"), "/").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.too_little_data, stage.episode),
        (Stage::Three, false, 1)
    );
    assert_eq!(stage.attendance_percent, "80.0");
    assert_eq!(
        stage.since,
        Some(pb_date("2025-09-19")),
        "the day on which the twentieth session counted"
    );
}

#[tokio::test]
async fn the_day_since_which_a_stage_holds_follows_the_marks_and_not_the_recording() {
    let world = World::on("2025-11-14").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-10-03", "/", "\\").await;
    // 40 present; then two days missed: 40 of 42 is 95.2, U; 40 of 44 is 90.9, stage 2.
    world.record_days(&pupil, "2025-10-06", "2025-10-07", "I", "I").await;
    let stage = world.stage(&pupil).await;
    assert_eq!((stage.stage(), stage.since), (Stage::Two, Some(pb_date("2025-10-07"))));
    // The first of the two was an error: the pupil never fell below 40 of 42 and then 42 of 44.
    world.record(&pupil, at("2025-10-07", "AM"), "/ \\").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.since),
        (Stage::Universal, Some(pb_date("2025-09-08")))
    );
    // An old absence comes to light: the same stage today is reached on an earlier day.
    world.record(&pupil, at("2025-10-07", "AM"), "I I").await;
    world.record(&pupil, at("2025-10-03", "AM"), "I I").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.since),
        (Stage::Three, Some(pb_date("2025-10-07")))
    );
    assert_eq!(stage.attendance_percent, "86.4");
}

#[tokio::test]
async fn a_stage_that_was_left_and_reached_again_within_one_batch_holds_since_it_was_reached_again() {
    let world = World::on("2025-10-03").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("away", &school).await;
    // 9 of 20 are 45%.
    world.record_days(&pupil, "2025-09-01", "2025-09-05", "I", "I").await;
    world
        .record(&pupil, at("2025-09-08", "AM"), "I \\ / \\ / \\ / \\ / \\")
        .await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.since),
        (pb::Stage::Five, Some(pb_date("2025-09-12")))
    );
    // 13 of 24 are 54%; 13 of 26 are still half; 13 of 28 are 46%.
    world.record(&pupil, at("2025-09-15", "AM"), "/ \\ / \\ I I I I").await;
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.since),
        (pb::Stage::Five, Some(pb_date("2025-09-18")))
    );
}

#[tokio::test]
async fn marks_entered_ahead_of_time_count_from_their_day_on_without_anyone_doing_anything() {
    let world = World::on("2025-12-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    world.record_days(&pupil, "2025-12-01", "2025-12-12", "/", "\\").await;
    world.record_days(&pupil, "2025-12-15", "2025-12-19", "C", "C").await;
    let seen = |stage: pb::PupilStage| {
        let tally = stage.tally.unwrap();
        (stage.stage(), tally.attended, tally.possible, stage.attendance_percent)
    };
    assert_eq!(
        seen(world.stage(&pupil).await),
        (Stage::Universal, 20, 20, "100.0".into())
    );
    world.turn_to("2025-12-14");
    assert_eq!(
        seen(world.stage(&pupil).await),
        (Stage::Universal, 20, 20, "100.0".into())
    );
    world.turn_to("2025-12-15");
    assert_eq!(seen(world.stage(&pupil).await), (Stage::Two, 20, 22, "90.9".into()));
    // A day over which nobody asked: the summary is of the day all the same.
    world.turn_to("2025-12-17");
    let request = pb::SummarizeSchoolRequest {
        trust_id: world.trust_id.clone(),
        school,
    };
    let summary = world.stages().summarize_school(request).await.unwrap().into_inner();
    let summary = summary.school.unwrap().summary.unwrap();
    assert_eq!(summary.stages[4].pupils, 1);
    assert_eq!(summary.tally.unwrap().possible, 26);
    world.turn_to("2025-12-19");
    let stage = world.stage(&pupil).await;
    assert_eq!(stage.since, Some(pb_date("2025-12-17")));
    assert_eq!(seen(stage), (Stage::Four, 20, 30, "66.7".into()));
    let raised = world.actions_of(&pupil).await;
    assert_eq!(raised.len(), 36, "stages 1 to 4, once");
}

#[tokio::test]
async fn a_new_academic_year_begins_with_no_marks() {
    let world = World::on("2026-07-20").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    world.record_days(&pupil, "2026-06-01", "2026-07-17", "/", "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), Stage::Four);
    world.turn_to("2026-08-01");
    let stage = world.stage(&pupil).await;
    assert_eq!(
        (stage.stage(), stage.too_little_data, stage.academic_year),
        (Stage::Universal, true, 2026)
    );
    assert_eq!((stage.tally.unwrap().possible, stage.episode), (0, 0));
    // Marks of the year that is over change it, and not the stage of today.
    world.record(&pupil, at("2026-06-01", "AM"), "I").await;
    assert_eq!(world.stage(&pupil).await.tally.unwrap().possible, 0);
}

#[tokio::test]
async fn an_episode_ends_with_its_academic_year_even_where_the_pupil_never_was_at_u_between() {
    let world = World::on("2026-07-20").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    world.record_days(&pupil, "2026-06-01", "2026-07-17", "O", "O").await;
    // Absence of the new year entered ahead; nobody asks, and nothing runs, until November.
    world.record_days(&pupil, "2026-09-01", "2026-09-30", "O", "O").await;
    assert_eq!(world.actions_of(&pupil).await[0].episode, 1);
    world.turn_to("2026-11-02");
    let stage = world.stage(&pupil).await;
    assert_eq!((stage.stage(), stage.episode), (Stage::Five, 2));
    let raised = world.actions_of(&pupil).await;
    assert_eq!(
        (raised.len(), raised[0].episode, raised[0].no_longer_required),
        (40, 2, false)
    );
    let earlier = pb::GetActionRequest {
        trust_id: world.trust_id.clone(),
        name: raised[0].name.replace("/episodes/2/", "/episodes/1/"),
    };
    let earlier = world
        .actions()
        .get_action(earlier)
        .await
        .unwrap()
        .into_inner()
        .action
        .unwrap();
    assert!(earlier.no_longer_required, "open still, and flagged: a person decides");
}

#[tokio::test]
async fn a_pupil_is_found_by_every_identifier_and_one_of_another_trust_is_not_found() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let mut input = pupil_input("ada", &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "")]);
    input.upn = "Q999100125001".into();
    let pupil = world.upsert(vec![input]).await.unwrap().pupil_ids.remove(0);
    let by_upn = pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn(" q999100125001".into())),
    };
    for key in [by_id(&pupil), by_upn.clone(), by_name("ada")] {
        assert_eq!(world.try_stage(key).await.unwrap().pupil_id, pupil);
    }
    let other = world.new_trust("Another Trust").await;
    for (theirs, nobodys) in [
        (by_id(&pupil), by_id(&Uuid::new_v4().to_string())),
        (by_name("ada"), by_name("nobody")),
    ] {
        let as_other = |key| {
            let request = pb::GetPupilStageRequest {
                trust_id: other.clone(),
                pupil: Some(key),
                ..pb::GetPupilStageRequest::default()
            };
            let mut client = world.stages();
            async move { client.get_pupil_stage(request).await.unwrap_err() }
        };
        let (theirs, nobodys) = (as_other(theirs).await, as_other(nobodys).await);
        assert_eq!(theirs.code(), Code::NotFound);
        assert_eq!(
            (theirs.message(), theirs.details()),
            (nobodys.message(), nobodys.details())
        );
    }
    let nobody = world.try_stage(pb::PupilKey { key: None }).await;
    assert_eq!(
        refused(nobody),
        (Code::InvalidArgument, "MISSING_PUPIL".into(), vec!["pupil".into()])
    );
    let wrong = world.try_stage(by_id("ada")).await;
    assert_eq!(refused(wrong).2, ["pupil.pupil_id"]);
}

#[tokio::test]
async fn many_stages_come_in_the_order_asked_and_the_unknown_are_named() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let (ada, bo) = (world.pupil("ada", &school).await, world.pupil("bo", &school).await);
    let ask = |pupils| {
        let request = pb::BatchGetPupilStagesRequest {
            trust_id: world.trust_id.clone(),
            pupils,
        };
        let mut client = world.stages();
        async move { client.batch_get_pupil_stages(request).await }
    };
    let keys = vec![
        by_name("bo"),
        by_id(&Uuid::new_v4().to_string()),
        by_id(&ada),
        by_name("cy"),
        by_id(&bo),
    ];
    let answer = ask(keys).await.unwrap().into_inner();
    let ids: Vec<_> = answer.pupil_stages.iter().map(|stage| stage.pupil_id.clone()).collect();
    assert_eq!(ids, [bo.clone(), ada, bo]);
    assert_eq!(answer.not_found, [1, 3]);
    assert_eq!(refused(ask(vec![]).await).1, "EMPTY_BATCH");
    assert_eq!(refused(ask(vec![by_name("bo"); 1001]).await).1, "BATCH_TOO_LARGE");
    assert_eq!(
        refused(ask(vec![by_name("bo"), by_id("?")]).await).2,
        ["pupils[1].pupil_id"]
    );
}

#[tokio::test]
async fn many_point_reads_at_once_are_each_answered_with_their_own_pupil() {
    let world = World::on("2025-10-31").await;
    let school = world.school("100001").await;
    let inputs = (0..40).map(|n| {
        pupil_input(
            &n.to_string(),
            &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "")],
        )
    });
    let pupils = world.upsert(inputs.collect()).await.unwrap().pupil_ids;
    for (n, pupil) in pupils.iter().enumerate() {
        let run = "/ ".repeat(n + 1);
        world.record(pupil, at("2025-09-08", "AM"), run.trim()).await;
    }
    let reads = (0..400).map(|n| {
        let (world, pupil) = (&world, &pupils[n % 40]);
        async move { (n % 40, world.stage(pupil).await) }
    });
    for (n, stage) in futures::future::join_all(reads).await {
        assert_eq!(
            (&stage.pupil_id, stage.tally.unwrap().attended),
            (&pupils[n], n as i64 + 1)
        );
    }
}

#[tokio::test]
async fn point_reads_of_several_trusts_at_once_are_each_answered_from_their_own_trust() {
    let mut world = World::on("2025-10-31").await;
    let mut pupils = Vec::new();
    for n in 0..4 {
        world.trust_id = world.new_trust(&format!("Trust {n}")).await;
        let school = world.school("100001").await;
        let pupil = world.pupil("ada", &school).await;
        let run = "/ ".repeat(n + 1);
        world.record(&pupil, at("2025-09-08", "AM"), run.trim()).await;
        pupils.push((world.trust_id.clone(), pupil));
    }
    let reads = (0..160).map(|n| {
        let ((trust, _), (_, pupil)) = (&pupils[n % 4], &pupils[n / 4 % 4]);
        let mut client = world.stages();
        let request = pb::GetPupilStageRequest {
            trust_id: trust.clone(),
            pupil: Some(by_id(pupil)),
            ..pb::GetPupilStageRequest::default()
        };
        async move { (n % 4, n / 4 % 4, client.get_pupil_stage(request).await) }
    });
    for (trust, pupil, answer) in futures::future::join_all(reads).await {
        if trust == pupil {
            let stage = answer.unwrap().into_inner().pupil_stage.unwrap();
            assert_eq!(stage.tally.unwrap().attended, pupil as i64 + 1);
        } else {
            assert_eq!(answer.unwrap_err().code(), Code::NotFound);
        }
    }
}

/// Four pupils at two schools: at U, 3 and 5 at the first, at 3 at the second.
async fn small_trust() -> (World, [String; 2], [String; 4]) {
    let world = World::on("2025-10-10").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let pupils = [
        world.pupil("ada", &schools[0]).await,
        world.pupil("bo", &schools[0]).await,
        world.pupil("cy", &schools[0]).await,
        world.pupil("di", &schools[1]).await,
    ];
    for (pupil, missed_days) in pupils.iter().zip([0, 2, 11, 4]) {
        world.record_days(pupil, "2025-09-15", "2025-10-10", "/", "\\").await;

        let days = school_days("2025-09-15", "2025-10-10", "I", "O");
        let run: Vec<&str> = days.split(' ').collect();
        let mut kept = 0;
        let run: Vec<&str> = run
            .chunks(2)
            .flat_map(|day| {
                let school_day = day[0] != "-";
                kept += usize::from(school_day);
                if school_day && kept <= missed_days {
                    [day[0], day[1]]
                } else {
                    ["-", "-"]
                }
            })
            .collect();
        if missed_days > 0 {
            world.record(pupil, at("2025-09-15", "AM"), &run.join(" ")).await;
        }
    }
    (world, schools, pupils)
}

#[tokio::test]
async fn stages_are_listed_by_school_stage_and_time_of_change_in_pages() {
    let (world, schools, pupils) = small_trust().await;
    let list = |request: pb::ListPupilStagesRequest| {
        let request = pb::ListPupilStagesRequest {
            trust_id: world.trust_id.clone(),
            ..request
        };
        let mut client = world.stages();
        async move { client.list_pupil_stages(request).await }
    };
    let ids = |answer: &pb::ListPupilStagesResponse| -> Vec<String> {
        answer.pupil_stages.iter().map(|stage| stage.pupil_id.clone()).collect()
    };
    let sorted = |wanted: &[&String]| {
        let mut wanted: Vec<String> = wanted.iter().map(|id| (*id).clone()).collect();
        wanted.sort();
        wanted
    };
    let everyone = list(pb::ListPupilStagesRequest::default()).await.unwrap().into_inner();
    assert_eq!(ids(&everyone), sorted(&pupils.iter().collect::<Vec<_>>()));
    let by_school = pb::ListPupilStagesRequest {
        school: "100002".into(),
        ..Default::default()
    };
    assert_eq!(ids(&list(by_school).await.unwrap().into_inner()), [pupils[3].clone()]);
    let by_stage = pb::ListPupilStagesRequest {
        school: schools[0].clone(),
        stages: vec![Stage::Three.into(), Stage::Five.into()],
        ..Default::default()
    };
    assert_eq!(
        ids(&list(by_stage).await.unwrap().into_inner()),
        sorted(&[&pupils[1], &pupils[2]])
    );

    // Page by page.
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListPupilStagesRequest {
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = list(request).await.unwrap().into_inner();
        assert!(page.pupil_stages.len() <= 3);
        seen.extend(ids(&page));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids(&everyone));

    // Changed since a moment between two changes.
    world.turn_to("2025-10-11");
    let since = graduated_response::grpc::convert::to_timestamp(world.clock.now());
    world.record(&pupils[0], at("2025-10-10", "AM"), "O O").await;
    world.record(&pupils[0], at("2025-10-09", "AM"), "O O").await;
    let changed = pb::ListPupilStagesRequest {
        changed_since: Some(since),
        ..Default::default()
    };
    assert_eq!(ids(&list(changed).await.unwrap().into_inner()), [pupils[0].clone()]);

    let unknown = pb::ListPupilStagesRequest {
        stages: vec![9],
        ..Default::default()
    };
    assert_eq!(
        refused(list(unknown).await),
        (Code::InvalidArgument, "UNKNOWN_STAGE".into(), vec!["stages[0]".into()])
    );
    let nowhere = pb::ListPupilStagesRequest {
        school: "999999".into(),
        ..Default::default()
    };
    assert_eq!(refused(list(nowhere).await).0, Code::NotFound);
    let no_school = pb::ListPupilStagesRequest {
        school: "12".into(),
        ..Default::default()
    };
    assert_eq!(
        refused(list(no_school).await),
        (Code::InvalidArgument, "INVALID_URN".into(), vec!["school".into()])
    );
}

#[tokio::test]
async fn a_school_and_the_trust_are_summarised_by_stage_with_both_figures_of_persistent_absence() {
    let (world, schools, pupils) = small_trust().await;
    let request = pb::SummarizeTrustRequest {
        trust_id: world.trust_id.clone(),
    };
    let answer = world
        .stages()
        .summarize_trust(request.clone())
        .await
        .unwrap()
        .into_inner();
    let by_stage = |summary: &pb::StageSummary| summary.stages.iter().map(|count| count.pupils).collect::<Vec<_>>();
    let whole = answer.trust.unwrap();
    assert_eq!(by_stage(&whole), [1, 0, 0, 2, 0, 1]);
    assert_eq!((whole.pupils, whole.too_little_data), (4, 0));
    let tally = whole.tally.unwrap();
    assert_eq!(
        (tally.attended, tally.possible, tally.authorised, tally.unauthorised),
        (126, 160, 17, 17)
    );
    assert_eq!(whole.attendance_percent, "78.8");
    assert_eq!((whole.persistently_absent_pupils, whole.severely_absent_pupils), (3, 1));
    let names: Vec<_> = answer.schools.iter().map(|school| school.urn.as_str()).collect();
    assert_eq!(names, ["100001", "100002"]);
    assert_eq!(
        by_stage(answer.schools[1].summary.as_ref().unwrap()),
        [0, 0, 0, 1, 0, 0]
    );

    // One moves to the other school: a pupil once, an enrolment twice, as national statistics count.
    let moved = pupil_input(
        "cy",
        &[
            enrolment(&schools[0], pb::EnrolmentKind::Sole, "2025-09-01", "2025-10-10"),
            enrolment(&schools[1], pb::EnrolmentKind::Sole, "2025-10-13", ""),
        ],
    );
    assert_eq!(world.upsert(vec![moved]).await.unwrap().updated, 1);
    world.turn_to("2025-10-17");
    world
        .record_days(&pupils[2], "2025-10-13", "2025-10-17", "I", "I")
        .await;
    let answer = world.stages().summarize_trust(request).await.unwrap().into_inner();
    let whole = answer.trust.unwrap();
    assert_eq!(
        (
            whole.pupils,
            whole.persistently_absent_pupils,
            whole.severely_absent_pupils
        ),
        (4, 3, 1)
    );
    assert_eq!(
        (whole.enrolments_with_sessions, whole.persistently_absent_enrolments),
        (5, 4)
    );
    let of_school = |urn: &str| {
        let school = answer.schools.iter().find(|school| school.urn == urn).unwrap();
        school.summary.clone().unwrap()
    };
    assert_eq!((of_school("100001").pupils, of_school("100002").pupils), (2, 2));
    // The leaver's sessions stay with the school that held them, to the last day.
    assert_eq!(of_school("100001").tally.unwrap().possible, 120);
    assert_eq!(of_school("100002").severely_absent_pupils, 1);
}

#[tokio::test]
async fn an_explanation_gives_counts_fraction_band_and_what_moves_the_pupil() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-10-03", "/", "\\").await;
    world.record(&pupil, at("2025-09-08", "AM"), "L I H O U # Q V").await;
    let answer = explain(&world, &pupil).await;
    let codes: Vec<String> = answer
        .codes
        .iter()
        .map(|count| {
            format!(
                "{} {} {}",
                count.code().as_str_name(),
                count.sessions,
                count.sessions_outside_validity
            )
        })
        .collect();
    insta::assert_debug_snapshot!(codes, @r#"
    [
        "ATTENDANCE_CODE_PRESENT_MORNING 16 0",
        "ATTENDANCE_CODE_PRESENT_AFTERNOON 16 0",
        "ATTENDANCE_CODE_L 1 0",
        "ATTENDANCE_CODE_V 1 0",
        "ATTENDANCE_CODE_I 1 0",
        "ATTENDANCE_CODE_Q 1 0",
        "ATTENDANCE_CODE_O 1 0",
        "ATTENDANCE_CODE_U 1 0",
        "ATTENDANCE_CODE_PLANNED_CLOSURE 1 0",
        "ATTENDANCE_CODE_H 1 1",
    ]
    "#);
    let categories: Vec<_> = answer.categories.iter().map(|count| count.sessions).collect();
    assert_eq!(categories, [33, 1, 2, 2, 1, 1]);
    insta::assert_debug_snapshot!(answer.sentences, @r#"
    [
        "34 of 38 possible sessions attended, 89.5%: 2 authorised and 2 unauthorised absences.",
        "Stage 3 is attendance of 80% or more and up to and including 90%.",
        "3 sessions attended in a row would reach stage 2.",
        "5 sessions missed in a row would reach stage 4.",
        "A tenth or more of the possible sessions were missed: persistent absence.",
        "1 session has a code outside the dates of its validity: counted by its category.",
    ]
    "#);
    let band = answer.band.unwrap();
    assert_eq!(
        (band.stage(), band.lower_tenths, band.lower_inclusive),
        (Stage::Three, 800, true)
    );
    assert_eq!((band.upper_tenths, band.upper_inclusive), (900, true));
    let moves = |moves: &[pb::StageMove]| {
        moves
            .iter()
            .map(|found| (found.stage(), found.sessions))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        moves(&answer.improves),
        [(Stage::Two, 3), (Stage::One, 20), (Stage::Universal, 43)]
    );
    assert_eq!(moves(&answer.worsens), [(Stage::Four, 5), (Stage::Five, 31)]);
    assert_eq!((answer.minimum_possible, answer.lost_learning_minutes), (20, 4 * 195));
    assert_eq!(answer.enrolments.len(), 1);
    assert_eq!(answer.enrolments[0].school_id, school);
}
