//! How fresh each school's registers are.

use graduated_response::proto as pb;
use tonic::{Code, Status};

use super::{give, update};
use crate::common::World;
use crate::common::world::{at, pb_date, refused};

async fn list(
    world: &World,
    request: pb::ListSchoolFreshnessRequest,
) -> Result<pb::ListSchoolFreshnessResponse, Status> {
    let request = pb::ListSchoolFreshnessRequest {
        trust_id: world.trust_id.clone(),
        ..request
    };
    Ok(world.sessions().list_school_freshness(request).await?.into_inner())
}

async fn fresh(world: &World, urn: &str) -> pb::SchoolFreshness {
    let request = pb::ListSchoolFreshnessRequest {
        school: urn.into(),
        ..pb::ListSchoolFreshnessRequest::default()
    };
    list(world, request).await.unwrap().schools.remove(0)
}

/// The URNs of schools that have fallen silent.
async fn silent(world: &World, after: i32) -> Vec<String> {
    let request = pb::ListSchoolFreshnessRequest {
        silent_only: true,
        silent_after_school_days: after,
        ..pb::ListSchoolFreshnessRequest::default()
    };
    let mut found: Vec<_> = list(world, request)
        .await
        .unwrap()
        .schools
        .into_iter()
        .map(|school| school.urn)
        .collect();
    found.sort();
    found
}

/// Two schools with a calendar on Friday 19 September: one up to date but for a gap, one silent since the eighth.
async fn world_of_two_schools() -> (World, [String; 2]) {
    let world = World::on("2025-09-18").await;
    let [lively, silent] = [world.school("100001").await, world.school("100002").await];
    give(&world, update(&world, "")).await.unwrap();
    let pupils = [
        world.pupil("lively", &lively).await,
        world.pupil("silent", &silent).await,
    ];
    world
        .record_days(&pupils[0], "2025-09-02", "2025-09-09", "/", "\\")
        .await;
    world
        .record_days(&pupils[0], "2025-09-11", "2025-09-17", "/", "\\")
        .await;
    world.record(&pupils[0], at("2025-09-18", "AM"), "/").await;
    world
        .record_days(&pupils[1], "2025-09-02", "2025-09-08", "/", "\\")
        .await;
    (world, pupils)
}

#[tokio::test]
async fn each_school_tells_its_last_session_its_gaps_and_how_long_it_has_been_silent() {
    let (world, _) = world_of_two_schools().await;
    let lively = fresh(&world, "100001").await;
    assert_eq!(lively.last_session, Some(at("2025-09-18", "AM")));
    assert_eq!((lively.gap_days, &lively.gaps[..]), (1, &[pb_date("2025-09-10")][..]));
    assert_eq!(
        (lively.school_days_silent, lively.silent, lively.calendar_given),
        (0, false, true)
    );

    let request = pb::ListSchoolFreshnessRequest {
        school: "100002".into(),
        gaps_max: 2,
        ..pb::ListSchoolFreshnessRequest::default()
    };
    let silent = list(&world, request).await.unwrap().schools.remove(0);
    assert_eq!(silent.last_session, Some(at("2025-09-08", "PM")));
    // Today is not over yet.
    assert_eq!(
        (silent.gap_days, silent.gaps),
        (7, vec![pb_date("2025-09-17"), pb_date("2025-09-16")])
    );
    assert_eq!(
        (
            silent.school_days_silent,
            silent.silent_after_school_days,
            silent.silent
        ),
        (8, 3, true)
    );
}

#[tokio::test]
async fn schools_that_have_fallen_silent_are_listed_by_the_policy_or_by_the_callers_limit() {
    let (world, _) = world_of_two_schools().await;
    assert_eq!(silent(&world, 0).await, ["100002"]);
    assert_eq!(silent(&world, 8).await, [""; 0]);
    assert_eq!(silent(&world, 7).await, ["100002"]);
    world.turn_to("2025-09-24");
    // Friday 19 September is closed: Monday, Tuesday and Wednesday.
    assert_eq!(fresh(&world, "100001").await.school_days_silent, 3);
    assert_eq!(silent(&world, 2).await, ["100001", "100002"]);
    let version = world
        .policy(pb::PolicySettings {
            stale_after_school_days: 20,
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    assert_eq!(silent(&world, 0).await, [""; 0]);
    world.turn_to("2025-11-02");
    assert_eq!(
        silent(&world, 0).await,
        ["100001", "100002"],
        "over half term no day is added"
    );
    assert_eq!(fresh(&world, "100001").await.school_days_silent, 25);
}

#[tokio::test]
async fn an_absence_entered_ahead_does_not_make_a_silent_school_look_alive() {
    let (world, pupils) = world_of_two_schools().await;
    world
        .record_days(&pupils[1], "2025-09-22", "2025-10-03", "I", "I")
        .await;
    world.turn_to("2025-09-24");
    let silent = fresh(&world, "100002").await;
    assert_eq!(silent.last_session, Some(at("2025-09-08", "PM")));
    assert!(silent.silent && silent.gaps[0] == pb_date("2025-09-23"));
    world.record(&pupils[1], at("2025-09-24", "AM"), "/").await;
    assert_eq!(fresh(&world, "100002").await.last_session, Some(at("2025-09-24", "AM")));
}

#[tokio::test]
async fn without_a_calendar_weekdays_of_silence_are_counted_and_no_gaps() {
    let world = World::on("2025-09-18").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    world.record_days(&pupil, "2025-09-02", "2025-09-03", "/", "\\").await;
    world.record_days(&pupil, "2025-09-11", "2025-09-12", "/", "\\").await;
    let found = fresh(&world, "100001").await;
    assert_eq!(
        (found.calendar_given, found.gap_days, found.school_days_silent),
        (false, 0, 4)
    );
    assert!(found.silent);
}

#[tokio::test]
async fn every_summary_says_how_fresh_it_is() {
    let (world, _) = world_of_two_schools().await;
    let request = pb::SummarizeTrustRequest {
        trust_id: world.trust_id.clone(),
    };
    let answer = world.stages().summarize_trust(request).await.unwrap().into_inner();
    let whole = answer.trust.unwrap();
    assert_eq!((whole.last_session, whole.gap_days), (Some(at("2025-09-08", "PM")), 8));
    let of_schools: Vec<_> = answer
        .schools
        .into_iter()
        .map(|school| school.summary.unwrap())
        .map(|summary| (summary.last_session, summary.gap_days))
        .collect();
    assert_eq!(
        of_schools,
        [(Some(at("2025-09-18", "AM")), 1), (Some(at("2025-09-08", "PM")), 7)]
    );
}

#[tokio::test]
async fn a_list_of_freshness_is_paged_and_checked() {
    let (world, _) = world_of_two_schools().await;
    let page = async |page_token: &str| {
        let request = pb::ListSchoolFreshnessRequest {
            page_size: 1,
            page_token: page_token.into(),
            ..pb::ListSchoolFreshnessRequest::default()
        };
        list(&world, request).await.unwrap()
    };
    let first = page("").await;
    let second = page(&first.next_page_token).await;
    assert!(first.schools[0].school_id < second.schools[0].school_id);
    assert_eq!(second.next_page_token, "");
    let wrong = pb::ListSchoolFreshnessRequest {
        silent_after_school_days: 367,
        ..pb::ListSchoolFreshnessRequest::default()
    };
    let (code, reason, fields) = refused(list(&world, wrong).await);
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_DAYS"));
    assert_eq!(fields, ["silent_after_school_days"]);
    let unknown = pb::ListSchoolFreshnessRequest {
        school: "100009".into(),
        ..pb::ListSchoolFreshnessRequest::default()
    };
    assert_eq!(refused(list(&world, unknown).await).0, Code::NotFound);
}

#[tokio::test]
async fn a_policy_may_refuse_to_judge_on_old_data_and_every_answer_says_so_until_a_register_comes() {
    let (world, [lively, silent]) = world_of_two_schools().await;
    let too_old = async || {
        let mut answers = Vec::new();
        for pupil in [&lively, &silent] {
            answers.push(world.stage(pupil).await.data_too_old);
            answers.push(world.stage_as_of(pupil, "2025-09-16", None).await.data_too_old);
        }
        let request = pb::ListPupilStagesRequest {
            trust_id: world.trust_id.clone(),
            ..pb::ListPupilStagesRequest::default()
        };
        let listed = world.stages().list_pupil_stages(request).await.unwrap().into_inner();
        for pupil in [&lively, &silent] {
            let found = listed.pupil_stages.iter().find(|stage| stage.pupil_id == *pupil);
            answers.push(found.unwrap().data_too_old);
        }
        let request = pb::SummarizeTrustRequest {
            trust_id: world.trust_id.clone(),
        };
        let summary = world.stages().summarize_trust(request).await.unwrap().into_inner();
        let of_schools: i32 = summary
            .schools
            .iter()
            .filter_map(|school| school.summary.as_ref())
            .map(|summary| summary.schools_with_data_too_old)
            .sum();
        assert_eq!(summary.trust.unwrap().schools_with_data_too_old, of_schools);
        (answers, of_schools)
    };
    assert_eq!(
        too_old().await,
        (vec![false; 6], 0),
        "the default policy judges on data of any age"
    );
    let version = world
        .policy(pb::PolicySettings {
            stale_after_school_days: 7,
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    // Of the 16th, six school days after the last register, it still judges; of the 18th, eight after, it does not.
    let expected = vec![false, false, true, false, false, true];
    assert_eq!(too_old().await, (expected, 1));
    world.record(&silent, at("2025-09-18", "AM"), "/").await;
    assert_eq!(too_old().await, (vec![false; 6], 0));
}
