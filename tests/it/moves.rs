//! Pupils who move: to another school of the trust, out of it, into it within the year, and at two schools at once.

use graduated_response::proto as pb;
use tonic::Code;
use uuid::Uuid;

use crate::common::World;
use crate::common::calendar::give_calendar;
use crate::common::world::{
    at, by_id, by_name, correction, enrolment, item, marks, pb_date, person, pupil_input, refused,
};

/// A world on Friday 16 January 2026 with two schools and a pupil at the first, absent for a quarter of the autumn.
async fn world_with_mover() -> (World, [String; 2], String) {
    let world = World::on("2026-01-16").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let pupil = world.pupil("a", &schools[0]).await;
    world.record_days(&pupil, "2025-09-01", "2025-10-24", "/", "\\").await;
    world.record_days(&pupil, "2025-11-03", "2025-11-21", "O", "O").await;
    (world, schools, pupil)
}

async fn pupils_of(world: &World, school: &str) -> Vec<String> {
    let request = pb::ListPupilStagesRequest {
        trust_id: world.trust_id.clone(),
        school: school.into(),
        ..pb::ListPupilStagesRequest::default()
    };
    let answer = world.stages().list_pupil_stages(request).await.unwrap().into_inner();
    answer.pupil_stages.into_iter().map(|stage| stage.pupil_id).collect()
}

#[tokio::test]
async fn the_years_record_follows_a_pupil_to_another_school_which_sees_all_of_it() {
    let (world, schools, pupil) = world_with_mover().await;
    world.record(&pupil, at("2025-11-03", "AM"), "I").await;
    let before = world.stage(&pupil).await;
    let actions = world.actions_of(&pupil).await;
    assert_eq!(before.stage(), pb::Stage::Four);

    let moved = world
        .try_transfer(&pupil, ("100001", "100002"), ("", "2026-01-05"), false)
        .await
        .unwrap();
    let enrolments = moved.pupil.unwrap().enrolments;
    assert_eq!(enrolments.len(), 2);
    assert_eq!(enrolments[0].school, schools[0]);
    assert_eq!(enrolments[0].end_date, Some(pb_date("2026-01-04")));
    assert_eq!(enrolments[1].school, schools[1]);
    assert_eq!(
        (enrolments[1].start_date, enrolments[1].end_date),
        (Some(pb_date("2026-01-05")), None)
    );
    assert_eq!(moved.marks_cleared, 0);

    // Stage, tally, episode and actions go on, and the new school's marks count on top of the old one's.
    let after = world.stage(&pupil).await;
    assert_eq!(after, before);
    assert_eq!(world.actions_of(&pupil).await, actions);
    assert_eq!(pupils_of(&world, &schools[0]).await, [""; 0]);
    assert_eq!(pupils_of(&world, &schools[1]).await, std::slice::from_ref(&pupil));
    world.record_days(&pupil, "2026-01-05", "2026-01-16", "/", "\\").await;
    let later = world.stage(&pupil).await;
    assert_eq!(later.tally.unwrap().possible, before.tally.unwrap().possible + 20);
    assert_eq!(later.episode, before.episode);
    let registers = world.registers_of(&pupil).await;
    assert_eq!(registers.len(), 2);
    let revisions = world
        .revisions(pb::ListRevisionsRequest {
            pupil: Some(by_id(&pupil)),
            ..pb::ListRevisionsRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(revisions.revisions.len(), 1);
    assert_eq!(revisions.revisions[0].school_id, schools[0]);
    // The old school can no longer mark; the new one cannot mark what came before.
    let mut old = item(&pupil, at("2026-01-06", "AM"), "/");
    old.school = "100001".into();
    let mut early = item(&pupil, at("2025-12-01", "AM"), "/");
    early.school = "100002".into();
    let result = world.try_record(vec![old, early]).await.unwrap();
    let reasons: Vec<_> = result.rejections.iter().map(|found| found.reason.as_str()).collect();
    assert_eq!(reasons, ["OUTSIDE_ENROLMENT", "OUTSIDE_ENROLMENT"]);

    // Who decided it and why is kept.
    let changes = world.changes_of(&pupil).await;
    assert_eq!(changes.len(), 1);
    let change = &changes[0];
    assert_eq!(change.kind(), pb::PupilChangeKind::Transferred);
    assert_eq!(change.enrolment_id, enrolments[0].enrolment_id);
    assert_eq!(change.new_enrolment_id, enrolments[1].enrolment_id);
    assert_eq!(change.last_date, Some(pb_date("2026-01-04")));
    assert_eq!(change.former_last_date, None);
    assert_eq!(change.reason, "the family has moved");
    assert_eq!(change.changed_by, Some(person()));
}

#[tokio::test]
async fn marks_beyond_the_last_day_refuse_a_transfer_by_name_and_go_only_with_a_correction() {
    let (world, _, pupil) = world_with_mover().await;
    world.record_days(&pupil, "2026-01-05", "2026-01-12", "O", "O").await;
    let schools = ("100001", "100002");
    let refusal = world
        .try_transfer(&pupil, schools, ("2026-01-06", "2026-01-12"), false)
        .await;
    let message = refusal.as_ref().unwrap_err().message().to_owned();
    assert_eq!(refused(refusal).1, "MARKS_AFTER_LAST_DAY");
    assert!(message.contains("2026-01-07 AM, 2026-01-07 PM"), "{message}");
    assert!(message.ends_with("or a correction to take them away"), "{message}");
    assert!(!message.contains("2026-01-06 PM"), "{message}");
    assert_eq!(
        world.find(by_id(&pupil)).await.unwrap().enrolments.len(),
        1,
        "nothing is written"
    );

    let before = world.stage(&pupil).await.tally.unwrap().possible;
    let moved = world
        .try_transfer(&pupil, schools, ("2026-01-06", "2026-01-12"), true)
        .await
        .unwrap();
    assert_eq!(moved.marks_cleared, 8);
    assert_eq!(world.stage(&pupil).await.tally.unwrap().possible, before - 8);
    let listed = world
        .revisions(pb::ListRevisionsRequest {
            school: "100001".into(),
            ..pb::ListRevisionsRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(listed.revisions.len(), 8);
    assert!(listed.revisions.iter().all(|revision| {
        revision.new_code() == pb::AttendanceCode::Cleared && revision.correction == Some(correction("entered ahead"))
    }));
    assert_eq!(world.changes_of(&pupil).await[0].marks_cleared, 8);
    // The school was open on these days as far as others' marks tell: with none left, they are no school days any more.
    let days = "SELECT count(*) FROM calendar_days WHERE date > '2026-01-06'";
    let row = world.sql().await.query_one(days, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn a_transfer_that_does_not_fit_is_refused_with_the_field_and_the_fix() {
    let (world, _, pupil) = world_with_mover().await;
    let transfer = async |pupil: &str, schools, dates| refused(world.try_transfer(pupil, schools, dates, false).await);
    let nobody = Uuid::new_v4().to_string();
    let between = ("100001", "100002");
    let on = ("", "2026-01-05");
    assert_eq!(transfer(&nobody, between, on).await.0, Code::NotFound);
    assert_eq!(transfer("x", between, on).await.1, "INVALID_UUID");
    assert_eq!(
        transfer(&pupil, ("100001", "100001"), on).await,
        (Code::InvalidArgument, "SAME_SCHOOL".into(), vec!["to_school".into()])
    );
    assert_eq!(transfer(&pupil, ("100009", "100002"), on).await.2, ["from_school"]);
    assert_eq!(transfer(&pupil, ("100001", "100009"), on).await.1, "UNKNOWN_SCHOOL");
    assert_eq!(transfer(&pupil, ("100001", ""), on).await.1, "MISSING_SCHOOL");
    assert_eq!(
        transfer(&pupil, between, ("2026-01-05", "2026-01-05")).await,
        (
            Code::InvalidArgument,
            "INVALID_DATE_RANGE".into(),
            vec!["last_date".into()]
        )
    );
    // On roll at the old school on its last day, and at no other beside it.
    assert_eq!(transfer(&pupil, ("100002", "100001"), on).await.1, "NOT_ON_ROLL");
    assert_eq!(
        transfer(&pupil, between, ("2025-08-29", "2026-01-05")).await.1,
        "NOT_ON_ROLL"
    );
    let request = pb::TransferPupilRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        from_school: "100001".into(),
        to_school: "100002".into(),
        start_date: Some(pb_date("2026-01-05")),
        reason: "moved".into(),
        changed_by: Some(person()),
        request_id: Uuid::new_v4().to_string(),
        ..pb::TransferPupilRequest::default()
    };
    let ask = async |change: fn(&mut pb::TransferPupilRequest)| {
        let mut request = request.clone();
        change(&mut request);
        world.pupils().transfer_pupil(request).await
    };
    assert_eq!(refused(ask(|request| request.reason = " ".into()).await).2, ["reason"]);
    assert_eq!(
        refused(ask(|request| request.changed_by = None).await).1,
        "MISSING_PERSON"
    );
    assert_eq!(
        refused(ask(|request| request.start_date = None).await).2,
        ["start_date"]
    );
    assert_eq!(
        refused(ask(|request| request.kind = 9).await).1,
        "INVALID_ENROLMENT_KIND"
    );
    let nameless = |request: &mut pb::TransferPupilRequest| {
        request.correction = Some(pb::Correction::default());
    };
    assert_eq!(refused(ask(nameless).await).2, ["correction.reason"]);
    // A retry is answered with the first answer, and moves nobody twice.
    let first = ask(|_| ()).await.unwrap().into_inner();
    let again = ask(|_| ()).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().replayed && !first.receipt.unwrap().replayed);
    assert_eq!(again.pupil, first.pupil);
    assert_eq!(world.changes_of(&pupil).await.len(), 1);
    let reused = ask(|request| request.reason = "another".into()).await;
    assert_eq!(refused(reused).1, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_leaver_keeps_the_record_to_the_last_day_and_comes_back_when_the_end_is_taken_away() {
    let (world, schools, pupil) = world_with_mover().await;
    let ended = world.try_end(&pupil, "100001", "2025-12-19", false).await.unwrap();
    let ended = ended.pupil.unwrap().enrolments.remove(0);
    assert_eq!(ended.end_date, Some(pb_date("2025-12-19")));
    assert_eq!(pupils_of(&world, &schools[0]).await, [""; 0]);
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    let refusal = world.try_end(&pupil, "100001", "2026-01-09", false).await;
    assert_eq!(refused(refusal).1, "NOT_ON_ROLL");
    let refusal = world.try_end(&pupil, "100001", "2025-11-07", false).await;
    assert_eq!(refused(refusal).1, "MARKS_AFTER_LAST_DAY");

    let reopen = async |enrolment_id: &str| {
        let request = pb::ReopenEnrolmentRequest {
            trust_id: world.trust_id.clone(),
            pupil: Some(by_id(&pupil)),
            enrolment_id: enrolment_id.into(),
            reason: "stays after all".into(),
            changed_by: Some(person()),
            ..pb::ReopenEnrolmentRequest::default()
        };
        world.pupils().reopen_enrolment(request).await
    };
    let again = reopen(&ended.enrolment_id).await.unwrap().into_inner().pupil.unwrap();
    assert_eq!(again.enrolments[0].end_date, None);
    assert_eq!(pupils_of(&world, &schools[0]).await, std::slice::from_ref(&pupil));
    assert_eq!(refused(reopen(&ended.enrolment_id).await).1, "ENROLMENT_NOT_ENDED");
    assert_eq!(refused(reopen(&Uuid::new_v4().to_string()).await).0, Code::NotFound);
    assert_eq!(refused(reopen("").await).2, ["enrolment_id"]);
    let changes = world.changes_of(&pupil).await;
    let kinds: Vec<_> = changes.iter().map(|change| change.kind()).collect();
    use pb::PupilChangeKind::{EnrolmentEnded, EnrolmentReopened};
    assert_eq!(kinds, [EnrolmentReopened, EnrolmentEnded], "latest first");
    assert_eq!(changes[0].former_last_date, Some(pb_date("2025-12-19")));

    // After a transfer the old enrolment cannot be opened beside the new one.
    world
        .try_transfer(&pupil, ("100001", "100002"), ("", "2026-01-05"), false)
        .await
        .unwrap();
    assert_eq!(refused(reopen(&ended.enrolment_id).await).1, "OVERLAPPING_ENROLMENT");
}

#[tokio::test]
async fn a_transfer_moves_the_pupil_under_the_policy_of_the_new_school_at_once() {
    let (world, schools, pupil) = world_with_mover().await;
    // The second school judges nobody below three hundred sessions.
    let settings = pb::PolicySettings {
        minimum_possible: Some(300),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, &schools[1]).await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    world
        .try_transfer(&pupil, ("100001", "100002"), ("", "2026-01-05"), false)
        .await
        .unwrap();
    let stage = world.stage(&pupil).await;
    assert!(
        stage.stage() == pb::Stage::Universal && stage.too_little_data,
        "{stage:?}"
    );
}

#[tokio::test]
async fn a_transfer_to_come_moves_the_pupil_under_the_policy_of_the_new_school_on_its_day_and_not_before() {
    let (world, schools, pupil) = world_with_mover().await;
    let settings = pb::PolicySettings {
        minimum_possible: Some(300),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, &schools[1]).await;
    world
        .try_transfer(&pupil, ("100001", "100002"), ("", "2026-02-02"), false)
        .await
        .unwrap();
    world.turn_to("2026-01-30");
    // A mark in between is judged by the policy of the school of its day, and does not make the move forgotten.
    world.record(&pupil, at("2026-01-30", "AM"), "O").await;
    let before = world.stage(&pupil).await;
    assert_eq!((before.stage(), before.episode), (pb::Stage::Four, 1));
    world.turn_to("2026-02-02");
    let after = world.stage(&pupil).await;
    assert!(
        after.stage() == pb::Stage::Universal && after.too_little_data,
        "{after:?}"
    );
    assert_eq!(
        (after.since, after.episode),
        (Some(pb_date("2026-02-02")), 0),
        "the episode has ended"
    );
}

#[tokio::test]
async fn the_policy_of_a_school_that_a_new_pupil_goes_to_later_judges_from_that_day_on() {
    let (world, schools, _) = world_with_mover().await;
    let settings = pb::PolicySettings {
        minimum_possible: Some(2),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, &schools[1]).await;
    let both = [
        enrolment(&schools[0], pb::EnrolmentKind::Sole, "2026-01-05", "2026-01-16"),
        enrolment(&schools[1], pb::EnrolmentKind::Sole, "2026-01-19", ""),
    ];
    let pupil = world.pupil_enrolled("b", &both).await;
    world.record_days(&pupil, "2026-01-14", "2026-01-16", "O", "O").await;
    let before = world.stage(&pupil).await;
    assert!(
        before.stage() == pb::Stage::Universal && before.too_little_data,
        "6 sessions"
    );
    world.turn_to("2026-01-19");
    let after = world.stage(&pupil).await;
    assert_eq!(
        (after.stage(), after.since),
        (pb::Stage::Five, Some(pb_date("2026-01-19")))
    );
    assert!(!world.actions_of(&pupil).await.is_empty());
}

#[tokio::test]
async fn under_a_policy_of_each_enrolment_alone_the_term_of_either_school_begins_its_window() {
    let world = World::on("2025-12-19").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    give_calendar(
        &world,
        &schools[0],
        &["autumn 2025-09-01 2025-12-19", "spring 2026-01-05 2026-03-27"],
        &[],
    )
    .await;
    give_calendar(
        &world,
        &schools[1],
        &["autumn 2025-09-01 2025-12-19", "spring 2026-01-07 2026-03-27"],
        &[],
    )
    .await;
    let settings = pb::PolicySettings {
        minimum_possible: Some(1),
        window: pb::PolicyWindow::CurrentTerm.into(),
        scope: pb::PolicyScope::Enrolment.into(),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "").await;
    let dual = [
        enrolment(&schools[0], pb::EnrolmentKind::Main, "2025-09-01", ""),
        enrolment(&schools[1], pb::EnrolmentKind::Subsidiary, "2025-09-01", ""),
    ];
    let pupil = world.pupil_enrolled("dual", &dual).await;
    let mut run = item(&pupil, at("2025-12-18", "AM"), "O O O O");
    run.school.clone_from(&schools[1]);
    assert_eq!(world.try_record(vec![run]).await.unwrap().rejections, []);
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Five);
    world.turn_to("2026-01-06");
    assert_eq!(
        world.stage(&pupil).await.stage(),
        pb::Stage::Five,
        "the other school is still in its autumn"
    );
    world.turn_to("2026-01-07");
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Universal);
}

#[tokio::test]
async fn a_pupil_who_joins_in_mid_year_is_judged_by_the_sessions_since() {
    let (world, schools, _) = world_with_mover().await;
    let joined = enrolment(&schools[0], pb::EnrolmentKind::Sole, "2025-11-10", "");
    let pupil = world.pupil_enrolled("joiner", &[joined]).await;
    let early = world
        .try_record(vec![item(&pupil, at("2025-11-07", "AM"), "/")])
        .await
        .unwrap();
    assert_eq!(early.rejections[0].reason, "OUTSIDE_ENROLMENT");
    // A prospective pupil may be marked Z, which counts for nothing, and taken away again.
    world.record(&pupil, at("2025-11-07", "AM"), "Z Z").await;
    world.record(&pupil, at("2025-11-07", "PM"), "0").await;
    world.record_days(&pupil, "2025-11-10", "2025-11-27", "/", "\\").await;
    world.record_days(&pupil, "2025-11-28", "2025-11-28", "O", "O").await;
    let stage = world.stage(&pupil).await;
    let tally = stage.tally.unwrap();
    assert_eq!((tally.attended, tally.possible), (28, 30));
    assert_eq!(stage.stage(), pb::Stage::One);
    let registers = world.registers_of(&pupil).await;
    assert_eq!(registers[0].marks.iter().filter(|mark| **mark != 0).count(), 31);
}

#[tokio::test]
async fn a_dually_registered_pupils_sessions_count_once_with_d_and_are_listed_where_it_is_forgotten() {
    let world = World::on("2025-09-19").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let dual = [
        enrolment(&schools[0], pb::EnrolmentKind::Main, "2025-09-01", ""),
        enrolment(&schools[1], pb::EnrolmentKind::Subsidiary, "2025-09-01", ""),
    ];
    let pupil = world.pupil_enrolled("dual", &dual).await;
    let record = async |school: &str, date: &str, run: &str| {
        let mut run = item(&pupil, at(date, "AM"), run);
        run.school = school.into();
        let result = world.try_record(vec![run]).await.unwrap();
        assert_eq!(result.rejections, []);
    };
    let listed = async |request: pb::ListDoublyMarkedSessionsRequest| {
        let request = pb::ListDoublyMarkedSessionsRequest {
            trust_id: world.trust_id.clone(),
            ..request
        };
        let answer = world.sessions().list_doubly_marked_sessions(request).await;
        answer.map(|answer| answer.into_inner())
    };
    record("100001", "2025-09-08", "/ \\ D D / \\").await;
    record("100002", "2025-09-08", "D D / O D D").await;
    let tally = world.stage(&pupil).await.tally.unwrap();
    assert_eq!((tally.attended, tally.possible), (5, 6), "each half day counts once");
    let all = pb::ListDoublyMarkedSessionsRequest::default();
    assert_eq!(listed(all.clone()).await.unwrap().sessions, []);

    // Wednesday afternoon and Thursday: the main school forgets D.
    record("100001", "2025-09-10", "- \\ O O").await;
    record("100002", "2025-09-10", "- \\ / \\").await;
    let tally = world.stage(&pupil).await.tally.unwrap();
    assert_eq!(tally.possible, 11, "both marks count");
    let found = listed(all.clone()).await.unwrap().sessions;
    let sessions: Vec<_> = found.iter().map(|found| found.session.unwrap()).collect();
    assert_eq!(
        sessions,
        [at("2025-09-10", "PM"), at("2025-09-11", "AM"), at("2025-09-11", "PM")]
    );
    let codes: Vec<_> = found[1]
        .marks
        .iter()
        .map(|mark| (mark.school_id.as_str(), mark.code))
        .collect();
    assert_eq!(
        codes,
        [
            (schools[0].as_str(), marks("O")[0]),
            (schools[1].as_str(), marks("/")[0])
        ]
    );
    // By school, by pupil and page by page.
    let other = world.school("100003").await;
    let of = |school: &str| pb::ListDoublyMarkedSessionsRequest {
        school: school.into(),
        ..all.clone()
    };
    assert_eq!(listed(of("100002")).await.unwrap().sessions.len(), 3);
    assert_eq!(listed(of(&other)).await.unwrap().sessions, []);
    let by_pupil = pb::ListDoublyMarkedSessionsRequest {
        pupil: Some(by_name("dual")),
        ..all.clone()
    };
    assert_eq!(listed(by_pupil).await.unwrap().sessions, found);
    let mut paged = Vec::new();
    let mut request = pb::ListDoublyMarkedSessionsRequest {
        page_size: 2,
        ..all.clone()
    };
    loop {
        let page = listed(request.clone()).await.unwrap();
        assert!(page.sessions.len() <= 2);
        paged.extend(page.sessions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, found);
    let of_year = |year| pb::ListDoublyMarkedSessionsRequest {
        academic_year: year,
        ..all.clone()
    };
    assert_eq!(listed(of_year(2024)).await.unwrap().sessions, []);
    assert_eq!(refused(listed(of_year(1066)).await).1, "INVALID_ACADEMIC_YEAR");
    assert_eq!(refused(listed(of("100009")).await).0, Code::NotFound);
    // A correction to D settles it.
    record("100001", "2025-09-10", "- D D D").await;
    assert_eq!(listed(all).await.unwrap().sessions, []);
}

#[tokio::test]
async fn a_permanent_upn_takes_the_place_of_a_temporary_one_which_still_finds_the_pupil() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let with = |upn: &str| pb::PupilInput {
        upn: upn.into(),
        ..pupil_input("a", &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "")])
    };
    let upn = |upn: &str| pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn(upn.into())),
    };
    let pupil = world
        .upsert(vec![with("B99910012500A")])
        .await
        .unwrap()
        .pupil_ids
        .remove(0);
    let answer = world.upsert(vec![with("Q999100125001")]).await.unwrap();
    assert_eq!((answer.updated, answer.rejected), (1, 0));
    for known in ["B99910012500A", "Q999100125001"] {
        let found = world.find(upn(known)).await.unwrap();
        assert_eq!(
            (found.pupil_id.as_str(), found.upn.as_str()),
            (pupil.as_str(), "Q999100125001")
        );
    }
    let mut run = item(&pupil, at("2025-09-08", "AM"), "/ \\");
    run.pupil = Some(upn("B99910012500A"));
    assert_eq!(world.try_record(vec![run]).await.unwrap().accepted, 1);
    assert_eq!(world.try_stage(upn("B99910012500A")).await.unwrap().pupil_id, pupil);
}

#[tokio::test]
async fn an_mis_identifier_used_again_goes_to_the_other_child_and_stays_in_the_history_of_both() {
    let world = World::on("2025-09-15").await;
    let school = world.school("100001").await;
    let child = |family_name: &str, given_name: &str, born: &str, upn: &str| pb::PupilInput {
        upn: upn.into(),
        date_of_birth: Some(pb_date(born)),
        family_name: family_name.into(),
        given_name: given_name.into(),
        ..pupil_input("17", &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-09-01", "")])
    };
    let ada = child("Iqbal", "Ada", "2012-03-01", "Q999100125001");
    let former = world.upsert(vec![ada.clone()]).await.unwrap().pupil_ids.remove(0);
    // Another child under the same identifier is told from a change of one child.
    let ben = child("Okafor", "Ben", "2014-06-30", "");
    let answer = world.upsert(vec![ben.clone()]).await.unwrap();
    assert_eq!(answer.rejections[0].reason, "IDENTIFIER_REUSED");
    assert_eq!(answer.rejections[0].field, "mis_identifiers[0]");
    assert!(answer.rejections[0].message.contains("ReassignMisIdentifier"));
    let other_upn = child("Okafor", "Ada", "2014-06-30", "E999100125002");
    let answer = world.upsert(vec![other_upn]).await.unwrap();
    assert_eq!(answer.rejections[0].reason, "IDENTIFIER_REUSED");
    let married = child("Smith", "Ada", "2012-03-02", "");
    assert_eq!(
        world.upsert(vec![married]).await.unwrap().updated,
        1,
        "a name and a birth corrected"
    );
    let by_upn = child("Iqbal", "Ada", "2012-03-01", "Q999100125001");
    assert_eq!(
        world.upsert(vec![by_upn]).await.unwrap().updated,
        1,
        "the UPN is certain"
    );

    let request = pb::ReassignMisIdentifierRequest {
        trust_id: world.trust_id.clone(),
        mis_identifier: ada.mis_identifiers.first().cloned(),
        last_date: Some(pb_date("2025-08-31")),
        to: Some(pb::reassign_mis_identifier_request::To::NewPupil(ben.clone())),
        reason: "the MIS numbers leavers again".into(),
        changed_by: Some(person()),
        request_id: Uuid::new_v4().to_string(),
    };
    let reassign = async |change: &dyn Fn(&mut pb::ReassignMisIdentifierRequest)| {
        let mut request = request.clone();
        change(&mut request);
        world.pupils().reassign_mis_identifier(request).await
    };
    use pb::reassign_mis_identifier_request::To;
    let tomorrow = reassign(&|request| request.last_date = Some(pb_date("2025-09-16"))).await;
    assert_eq!(refused(tomorrow).1, "IN_FUTURE");
    let to_nobody = reassign(&|request| request.to = None).await;
    assert_eq!(refused(to_nobody).1, "MISSING_PUPIL");
    let to_itself = reassign(&|request| request.to = Some(To::ToPupil(by_id(&former)))).await;
    assert_eq!(refused(to_itself).1, "SAME_PUPIL");
    let unknown = reassign(&|request| request.mis_identifier.as_mut().unwrap().value = "18".into()).await;
    assert_eq!(refused(unknown).0, Code::NotFound);
    let taken = reassign(&|request| {
        let input = pb::PupilInput {
            upn: "Q999100125001".into(),
            ..ben.clone()
        };
        request.to = Some(To::NewPupil(input));
    })
    .await;
    assert_eq!(
        refused(taken),
        (
            Code::AlreadyExists,
            "ALREADY_EXISTS".into(),
            vec!["new_pupil.upn".into()]
        )
    );
    let nowhere = reassign(&|request| {
        let mut input = ben.clone();
        input.enrolments[0].school = "100009".into();
        request.to = Some(To::NewPupil(input));
    })
    .await;
    assert_eq!(refused(nowhere).2, ["new_pupil.enrolments[0].school"]);

    let done = reassign(&|_| ()).await.unwrap().into_inner();
    let now = done.pupil.unwrap();
    assert_eq!(done.former_pupil.unwrap().pupil_id, former);
    assert_eq!((now.given_name.as_str(), now.mis_identifiers.len()), ("Ben", 1));
    assert_ne!(now.pupil_id, former);
    assert_eq!(world.find(by_name("17")).await.unwrap().pupil_id, now.pupil_id);
    assert!(world.find(by_id(&former)).await.unwrap().mis_identifiers.is_empty());
    assert!(reassign(&|_| ()).await.unwrap().into_inner().receipt.unwrap().replayed);
    for (pupil, other, to_this) in [(&former, &now.pupil_id, false), (&now.pupil_id, &former, true)] {
        let changes = world.changes_of(pupil).await;
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].kind(), pb::PupilChangeKind::IdentifierReassigned);
        assert_eq!(changes[0].mis_identifier, ada.mis_identifiers.first().cloned());
        assert_eq!((&changes[0].other_pupil_id, changes[0].to_this_pupil), (other, to_this));
        assert_eq!(changes[0].last_date, Some(pb_date("2025-08-31")));
    }
    // The other child is from now on the one that the identifier upserts, and can be given it back to one that is there.
    assert_eq!(world.upsert(vec![ben]).await.unwrap().unchanged, 1);
    let back = reassign(&|request| {
        request.to = Some(To::ToPupil(by_id(&former)));
        request.request_id = String::new();
    })
    .await;
    assert_eq!(back.unwrap().into_inner().pupil.unwrap().pupil_id, former);
    assert_eq!(world.changes_of(&former).await.len(), 2);
}
