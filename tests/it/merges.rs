//! Two records of one child: made one, and made two again.

use graduated_response::proto as pb;
use tonic::Code;
use uuid::Uuid;

use crate::common::world::{at, by_id, by_name, enrolment, item, person, pupil_input, refused};
use crate::common::{World, marks};

/// A world on Friday 10 October 2025 with two records of one child: known as `old` at the first school until 26 September, and
/// as `new` at the second one from the Monday after. By the first record alone the child is at stage 3, by the second at 5.
struct TwoRecords {
    world: World,
    old: String,
    new: String,
}

async fn two_records() -> TwoRecords {
    let world = World::on("2025-10-10").await;
    for urn in ["100001", "100002"] {
        world.school(urn).await;
    }
    let left = enrolment("100001", pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-26");
    let with_upn = |upn: &str, name: &str, enrolment: pb::Enrolment| pb::PupilInput {
        upn: upn.into(),
        ..pupil_input(name, &[enrolment])
    };
    let came = enrolment("100002", pb::EnrolmentKind::Sole, "2025-09-29", "");
    let pupils = vec![
        with_upn("Q999100125001", "old", left),
        with_upn("B99910012500A", "new", came),
    ];
    let ids = world.upsert(pupils).await.unwrap().pupil_ids;
    let (old, new) = (ids[0].clone(), ids[1].clone());
    world.record_days(&old, "2025-09-01", "2025-09-19", "/", "\\").await;
    world.record_days(&old, "2025-09-22", "2025-09-24", "O", "O").await;
    world.record_days(&old, "2025-09-25", "2025-09-26", "/", "\\").await;
    world.record_days(&new, "2025-09-29", "2025-10-07", "O", "O").await;
    world.record_days(&new, "2025-10-08", "2025-10-10", "/", "\\").await;
    assert_eq!(world.stage(&old).await.stage(), pb::Stage::Three);
    assert_eq!(world.stage(&new).await.stage(), pb::Stage::Five);
    TwoRecords { world, old, new }
}

/// All actions of a pupil, of every episode.
async fn all_actions(world: &World, pupil: &str) -> Vec<pb::Action> {
    let request = pb::ListPupilActionsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        all_episodes: true,
        page_size: 1000,
        ..pb::ListPupilActionsRequest::default()
    };
    let answer = world.actions().list_pupil_actions(request).await.unwrap();
    answer.into_inner().actions
}

async fn begin(world: &World, action: &pb::Action) -> pb::Action {
    let request = pb::ProgressActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        to_state: pb::ActionState::InProgress.into(),
        recorded_by: Some(person()),
        ..pb::ProgressActionRequest::default()
    };
    let answer = world.actions().progress_action(request).await.unwrap();
    answer.into_inner().action.unwrap()
}

async fn action(world: &World, name: &str) -> pb::Action {
    let request = pb::GetActionRequest {
        trust_id: world.trust_id.clone(),
        name: name.into(),
    };
    let answer = world.actions().get_action(request).await.unwrap();
    answer.into_inner().action.unwrap()
}

async fn log_length(world: &World, name: &str) -> usize {
    let request = pb::ListActionEntriesRequest {
        trust_id: world.trust_id.clone(),
        name: name.into(),
        ..pb::ListActionEntriesRequest::default()
    };
    let answer = world.actions().list_action_entries(request).await.unwrap();
    answer.into_inner().entries.len()
}

fn upn(upn: &str) -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn(upn.into())),
    }
}

/// All that is stored of pupils, but for the times and versions that any write changes.
async fn stored(world: &World) -> Vec<String> {
    let query = "
        SELECT 'enrolment ' || concat_ws(' ', enrolment_id, pupil_id, school_id, kind, start_date, end_date) FROM enrolments
        UNION ALL SELECT 'register ' || concat_ws(' ', pupil_id, enrolment_id, academic_year, attended, possible, unauthorised,
            next_mark_on, marks) FROM registers
        UNION ALL SELECT 'identifier ' || concat_ws(' ', kind, source, value, pupil_id, is_current) FROM pupil_identifiers
        UNION ALL SELECT 'stage ' || concat_ws(' ', pupil_id, stage, academic_year, since, policy_version, episode, episode_open,
            raised_to, hold_id, fall_waits) FROM pupil_stages
        UNION ALL SELECT 'episode ' || concat_ws(' ', pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at,
            closed_at, started_on) FROM episodes
        UNION ALL SELECT 'action ' || concat_ws(' ', pupil_id, episode, provision_id, state, version) FROM actions
        UNION ALL SELECT 'entry ' || concat_ws(' ', pupil_id, episode, provision_id, ordinal, text) FROM action_entries
        UNION ALL SELECT 'hold ' || concat_ws(' ', pupil_id, hold_id, kind, ends_on) FROM holds
        UNION ALL SELECT 'notice ' || concat_ws(' ', pupil_id, notice_id) FROM penalty_notices
        UNION ALL SELECT 'merged ' || concat_ws(' ', pupil_id, merged_into) FROM pupils
        ORDER BY 1";
    let rows = world.sql().await.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn all_that_two_records_hold_is_found_under_either_name_once_they_are_one() {
    let TwoRecords { world, old, new } = two_records().await;
    world.record(&new, at("2025-09-29", "AM"), "I").await;
    let merge = world.merge(&old, &new).await;
    assert_eq!((&merge.survivor_id, &merge.merged_id), (&old, &new));
    assert_eq!(merge.enrolment_ids.len(), 1);
    assert_eq!(
        (merge.upns.as_slice(), merge.mis_identifiers.len()),
        (&["B99910012500A".to_owned()][..], 1)
    );

    for key in [
        by_id(&old),
        by_id(&new),
        by_name("old"),
        by_name("new"),
        upn("B99910012500A"),
    ] {
        let found = world.find(key.clone()).await.unwrap();
        assert_eq!(found.pupil_id, old);
        assert_eq!(found.upn, "Q999100125001", "the survivor's stays");
        assert_eq!((found.enrolments.len(), found.mis_identifiers.len()), (2, 2));
        let stage = world.try_stage(key).await.unwrap();
        assert_eq!(stage.pupil_id, old);
        let tally = stage.tally.unwrap();
        assert_eq!((tally.attended, tally.possible), (40, 60));
        assert_eq!(stage.stage(), pb::Stage::Four);
    }
    assert_eq!(world.registers_of(&new).await.len(), 2);
    let listed = world
        .revisions(pb::ListRevisionsRequest {
            pupil: Some(by_id(&old)),
            ..pb::ListRevisionsRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(listed.revisions.len(), 1);
    assert_eq!(listed.revisions[0].pupil_id, old);
    // Marks and pupils that the second system sends go to the one pupil.
    let mut run = item(&new, at("2025-10-10", "AM"), "L");
    assert_eq!(world.try_record(vec![run.clone()]).await.unwrap().corrected, 1);
    run.pupil = Some(by_name("new"));
    assert_eq!(world.try_record(vec![run]).await.unwrap().unchanged, 1);
    let again = pupil_input("new", &[enrolment("100002", pb::EnrolmentKind::Sole, "2025-09-29", "")]);
    let answer = world.upsert(vec![again]).await.unwrap();
    assert_eq!((answer.unchanged, answer.pupil_ids[0].as_str()), (1, old.as_str()));

    // Lists know one pupil.
    let request = pb::ListPupilsRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ListPupilsRequest::default()
    };
    let pupils = world.pupils().list_pupils(request).await.unwrap().into_inner().pupils;
    assert_eq!(pupils.len(), 1);
    let request = pb::ListPupilStagesRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ListPupilStagesRequest::default()
    };
    let stages = world.stages().list_pupil_stages(request).await.unwrap().into_inner();
    assert_eq!(stages.pupil_stages.len(), 1);
    let keys = vec![by_id(&new), by_id(&old)];
    let request = pb::BatchGetPupilStagesRequest {
        trust_id: world.trust_id.clone(),
        pupils: keys,
    };
    let stages = world
        .stages()
        .batch_get_pupil_stages(request)
        .await
        .unwrap()
        .into_inner();
    assert!(stages.not_found.is_empty());
    let named: Vec<_> = stages.pupil_stages.iter().map(|stage| &stage.pupil_id).collect();
    assert_eq!(named, [&old, &old], "either name answers with the one pupil");
    // Who decided it is kept with both, and listed under either.
    let changes = world.changes_of(&new).await;
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| {
        change.kind() == pb::PupilChangeKind::Merged
            && change.merge_id == merge.merge_id
            && change.changed_by == Some(person())
    }));
}

#[tokio::test]
async fn the_survivors_episode_goes_on_and_the_others_is_kept_with_its_log_under_both_names() {
    let TwoRecords { world, old, new } = two_records().await;
    let of_old = begin(&world, &world.actions_of(&old).await[0]).await;
    let of_new = begin(&world, &world.actions_of(&new).await[39]).await;
    assert_eq!(of_new.stage(), pb::Stage::Five);
    let merge = world.merge(&old, &new).await;
    assert_eq!(
        merge.episodes,
        [pb::MovedEpisode {
            former_episode: 1,
            episode: 2,
            ended: true,
        }]
    );
    // The survivor's plan is the one that goes on, and was raised to the stage that both records come to.
    let current = world.actions_of(&old).await;
    assert!(current.iter().all(|action| action.episode == 1));
    assert_eq!(current[0].state(), pb::ActionState::InProgress);
    assert_eq!(
        current.iter().map(|action| action.stage).max(),
        Some(pb::Stage::Four.into())
    );
    let moved: Vec<_> = all_actions(&world, &old)
        .await
        .into_iter()
        .filter(|action| action.episode == 2)
        .collect();
    assert_eq!(moved.len(), 40);
    // What was begun is flagged and not closed; of stage 5, which one child never reached, the rest is withdrawn.
    let begun = moved
        .iter()
        .find(|action| action.provision_id == of_new.provision_id)
        .unwrap();
    assert_eq!(begun.state(), pb::ActionState::InProgress);
    assert!(begun.no_longer_required && begun.never_reached);
    let of_five = moved.iter().filter(|action| action.stage() == pb::Stage::Five);
    assert!(
        of_five
            .filter(|action| action.name != begun.name)
            .all(|action| action.state() == pb::ActionState::Withdrawn)
    );
    // The former name finds it, its log and all.
    assert_eq!(action(&world, &of_new.name).await, *begun);
    assert_eq!(log_length(&world, &of_new.name).await, 1);
    let note = pb::AddActionEntryRequest {
        trust_id: world.trust_id.clone(),
        name: of_new.name.clone(),
        entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note {
            text: "met the family".into(),
        })),
        recorded_by: Some(person()),
        request_id: Uuid::new_v4().to_string(),
    };
    for _ in 0..2 {
        let answer = world
            .actions()
            .add_action_entry(note.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.action.unwrap().name, begun.name);
    }
    assert_eq!(log_length(&world, &begun.name).await, 2);
    assert_eq!(log_length(&world, &of_old.name).await, 1);
    // A next episode gets the next number.
    world.record_days(&old, "2025-09-01", "2025-09-26", "/", "\\").await;
    let mut healed = item(
        &old,
        at("2025-09-29", "AM"),
        &crate::common::world::school_days("2025-09-29", "2025-10-07", "/", "\\"),
    );
    healed.school = "100002".into();
    world.try_record(vec![healed]).await.unwrap();
    assert_eq!(world.stage(&old).await.stage(), pb::Stage::Universal);
    world.record_days(&old, "2025-10-06", "2025-10-10", "O", "O").await;
    assert_eq!(world.stage(&old).await.episode, 3);
}

#[tokio::test]
async fn an_episode_of_the_merged_record_goes_on_where_the_survivor_has_none() {
    let TwoRecords { world, old, .. } = two_records().await;
    let empty = world.pupil_enrolled("empty", &[]).await;
    let action = begin(&world, &world.actions_of(&old).await[0]).await;
    let merge = world.merge(&empty, &old).await;
    assert!(!merge.episodes[0].ended);
    let stage = world.stage(&empty).await;
    assert_eq!((stage.stage(), stage.episode), (pb::Stage::Three, 1));
    let actions = world.actions_of(&empty).await;
    assert_eq!(actions[0].state(), pb::ActionState::InProgress);
    assert_eq!(actions[0].name, action.name.replace(&old, &empty));
    assert!(
        actions.iter().all(|action| !action.no_longer_required),
        "nothing is raised twice"
    );
    assert_eq!(all_actions(&world, &empty).await.len(), actions.len());
}

#[tokio::test]
async fn undoing_a_merge_gives_everything_back_as_it_was() {
    let TwoRecords { world, old, new } = two_records().await;
    begin(&world, &world.actions_of(&old).await[0]).await;
    begin(&world, &world.actions_of(&new).await[3]).await;
    world.record(&new, at("2025-09-29", "AM"), "I").await;
    world.hold(&new, pb::Stage::Five, "2025-12-19").await;
    let notice = pb::RecordPenaltyNoticeRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&new)),
        issued_on: Some(crate::common::world::pb_date("2025-10-09")),
        recorded_by: Some(person()),
        ..pb::RecordPenaltyNoticeRequest::default()
    };
    world.stages().record_penalty_notice(notice).await.unwrap();
    let before = stored(&world).await;
    let stages = [world.stage(&old).await, world.stage(&new).await];
    let merge = world.merge(&old, &new).await;
    assert_eq!((merge.hold_ids.len(), merge.notice_ids.len()), (1, 1));
    assert_eq!(
        world.stage(&old).await.stage(),
        pb::Stage::Five,
        "the hold holds the survivor"
    );
    assert_ne!(stored(&world).await, before);

    let undone = world.try_unmerge(&merge.merge_id).await.unwrap();
    assert!(undone.merge.unwrap().unmerged_at.is_some());
    assert_eq!(undone.survivor.unwrap().pupil_id, old);
    assert_eq!(undone.merged.unwrap().upn, "B99910012500A");
    let after = stored(&world).await;
    let differing: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    // Of the stage of each, when it changed is another; stages that were withdrawn with the merge are raised anew.
    assert!(
        differing.iter().all(|line| line.starts_with("episode ")),
        "{differing:#?}"
    );
    assert_eq!(after.len(), before.len());
    for (pupil, before) in [(&old, &stages[0]), (&new, &stages[1])] {
        let now = world.stage(pupil).await;
        assert_eq!(
            (now.stage(), now.since, now.tally, now.episode),
            (before.stage(), before.since, before.tally, before.episode)
        );
    }
    assert_eq!(refused(world.try_unmerge(&merge.merge_id).await).1, "ALREADY_UNMERGED");
    assert_eq!(
        refused(world.try_unmerge(&Uuid::new_v4().to_string()).await).0,
        Code::NotFound
    );
    assert_eq!(refused(world.try_unmerge("").await).2, ["merge_id"]);
    assert_eq!(world.changes_of(&new).await.len(), 2);
}

#[tokio::test]
async fn what_was_written_since_goes_back_with_its_enrolment_and_what_was_begun_stays() {
    let TwoRecords { world, old, new } = two_records().await;
    let merge = world.merge(&old, &new).await;
    let moved = merge.episodes[0];
    let actions = all_actions(&world, &old).await;
    let action_of_new = actions.iter().find(|action| action.episode == moved.episode).unwrap();
    let begun = begin(&world, action_of_new).await;
    // A mark entered, one corrected, an identifier and a transfer, all while they are one.
    world.record(&old, at("2025-10-10", "AM"), "I").await;
    world.record(&old, at("2025-09-26", "AM"), "M").await;
    let other = pb::PupilInput {
        mis_identifiers: vec![
            pb::MisIdentifier {
                source: "test".into(),
                value: "old".into(),
            },
            pb::MisIdentifier {
                source: "other".into(),
                value: "1".into(),
            },
        ],
        ..pupil_input("old", &[])
    };
    assert_eq!(world.upsert(vec![other]).await.unwrap().updated, 1);
    world
        .try_transfer(&old, ("100002", "100001"), ("", "2025-10-13"), false)
        .await
        .unwrap();
    world.try_unmerge(&merge.merge_id).await.unwrap();

    let (old_now, new_now) = (
        world.find(by_id(&old)).await.unwrap(),
        world.find(by_id(&new)).await.unwrap(),
    );
    assert_eq!(new_now.enrolments.len(), 1);
    assert_eq!(old_now.enrolments.len(), 2, "the enrolment that began since stays");
    let identifiers: Vec<_> = old_now.mis_identifiers.iter().map(|mis| mis.source.as_str()).collect();
    assert_eq!(identifiers, ["other", "test"]);
    let register = world.registers_of(&new).await.remove(0);
    let last: Vec<i32> = register.marks.iter().rev().take(2).rev().copied().collect();
    assert_eq!(last, marks("I \\"));
    // The revisions are of the registers, whoever had them when.
    let of = |pupil: &str| pb::ListRevisionsRequest {
        pupil: Some(by_id(pupil)),
        ..pb::ListRevisionsRequest::default()
    };
    for (pupil, session) in [(&new, at("2025-10-10", "AM")), (&old, at("2025-09-26", "AM"))] {
        let listed = world.revisions(of(pupil)).await.unwrap().revisions;
        assert_eq!(listed.len(), 1);
        assert_eq!((listed[0].session, &listed[0].pupil_id), (Some(session), pupil));
    }
    // The action that was begun went back with its episode, and is found by the name it had meanwhile.
    let back = action(&world, &begun.name).await;
    assert_eq!(back.state(), pb::ActionState::InProgress);
    assert!(back.name.contains(&new), "{}", back.name);
}

#[tokio::test]
async fn what_was_known_before_a_merge_is_answered_without_it() {
    let TwoRecords { world, old, new } = two_records().await;
    world.turn_to("2025-10-13");
    let merge = world.merge(&old, &new).await;
    world.turn_to("2025-10-14");
    let possible = async |pupil: &str, known_at: Option<&str>| {
        let stage = world.stage_as_of(pupil, "2025-10-10", known_at).await;
        stage.tally.unwrap().possible
    };
    assert_eq!(possible(&old, None).await, 60);
    assert_eq!(possible(&old, Some("2025-10-12")).await, 40);
    world.turn_to("2025-10-15");
    world.try_unmerge(&merge.merge_id).await.unwrap();
    world.turn_to("2025-10-16");
    assert_eq!(possible(&old, None).await, 40);
    assert_eq!(possible(&old, Some("2025-10-14")).await, 60, "they were one then");
    assert_eq!(possible(&new, None).await, 20);
    assert_eq!(possible(&new, Some("2025-10-12")).await, 20);
    assert_eq!(
        possible(&new, Some("2025-10-14")).await,
        0,
        "it had nothing of its own then"
    );
}

#[tokio::test]
async fn a_merge_that_cannot_be_is_refused_and_says_why() {
    let TwoRecords { world, old, new } = two_records().await;
    let overlapping = enrolment("100001", pb::EnrolmentKind::Sole, "2025-09-08", "");
    let third = world.pupil_enrolled("third", &[overlapping]).await;
    let before = stored(&world).await;
    let refusal = world.try_merge(&old, &third).await;
    let message = refusal.as_ref().unwrap_err().message().to_owned();
    for pupil in [&old, &third] {
        let enrolment = world.find(by_id(pupil)).await.unwrap().enrolments.remove(0);
        assert!(message.contains(&enrolment.enrolment_id), "{message}");
    }
    assert_eq!(
        refused(refusal),
        (Code::FailedPrecondition, "OVERLAPPING_ENROLMENT".into(), vec![])
    );
    assert_eq!(stored(&world).await, before);
    assert_eq!(
        refused(world.try_merge(&old, &old).await),
        (Code::InvalidArgument, "SAME_PUPIL".into(), vec!["merged".into()])
    );
    let nobody = Uuid::new_v4().to_string();
    assert_eq!(refused(world.try_merge(&old, &nobody).await).0, Code::NotFound);
    assert_eq!(refused(world.try_merge("", &old).await).2, ["survivor.pupil_id"]);
    let request = pb::MergePupilsRequest {
        trust_id: world.trust_id.clone(),
        survivor: Some(by_id(&old)),
        merged: Some(by_id(&new)),
        reason: "one child".into(),
        request_id: Uuid::new_v4().to_string(),
        ..pb::MergePupilsRequest::default()
    };
    let ask = async |by: Option<pb::Person>| {
        let request = pb::MergePupilsRequest {
            changed_by: by,
            ..request.clone()
        };
        world.pupils().merge_pupils(request).await
    };
    assert_eq!(refused(ask(None).await).1, "MISSING_PERSON");
    let first = ask(Some(person())).await.unwrap().into_inner();
    let again = ask(Some(person())).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().replayed);
    assert_eq!(again.merge, first.merge);
    let already = world.try_merge(&old, &new).await;
    assert_eq!(refused(already).1, "SAME_PUPIL", "either name is the one pupil by now");
}

#[tokio::test]
async fn merges_of_merges_are_undone_latest_first() {
    let TwoRecords { world, old, new } = two_records().await;
    let empty = world.pupil_enrolled("empty", &[]).await;
    let before = stored(&world).await;
    let first = world.merge(&new, &empty).await;
    let second = world.merge(&old, &new).await;
    for name in ["old", "new", "empty"] {
        assert_eq!(world.find(by_name(name)).await.unwrap().pupil_id, old);
    }
    assert_eq!(world.find(by_id(&empty)).await.unwrap().pupil_id, old);
    let refusal = world.try_unmerge(&first.merge_id).await;
    assert!(refusal.as_ref().unwrap_err().message().contains(&second.merge_id));
    assert_eq!(refused(refusal).1, "MERGED_SINCE");
    world.try_unmerge(&second.merge_id).await.unwrap();
    assert_eq!(world.find(by_id(&empty)).await.unwrap().pupil_id, new);
    assert_eq!(world.find(by_id(&old)).await.unwrap().pupil_id, old);
    world.try_unmerge(&first.merge_id).await.unwrap();
    assert_eq!(world.find(by_id(&empty)).await.unwrap().pupil_id, empty);
    let of_episodes = |lines: Vec<String>| {
        let others = lines.into_iter().filter(|line| !line.starts_with("episode "));
        others.collect::<Vec<_>>()
    };
    assert_eq!(of_episodes(stored(&world).await), of_episodes(before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_that_arrive_while_two_records_become_one_are_not_lost() {
    let TwoRecords { world, old, new } = two_records().await;
    let mut run = item(&new, at("2025-10-10", "AM"), "L");
    run.pupil = Some(by_name("new"));
    for _ in 0..8 {
        let codes = ["L", "/"];
        let writing = async {
            for code in codes.iter().cycle().take(8) {
                run.marks = marks(code);
                let result = world.try_record(vec![run.clone()]).await.unwrap();
                assert_eq!(result.rejections, [], "the pupil is there under one name or the other");
            }
        };
        let merging = async {
            let merge = world.merge(&old, &new).await;
            world.try_unmerge(&merge.merge_id).await.unwrap();
        };
        tokio::join!(writing, merging);
        run = item(&new, at("2025-10-10", "AM"), "L");
        run.pupil = Some(by_name("new"));
    }
    assert_eq!(world.registers_of(&new).await.len(), 1);
    assert_eq!(world.registers_of(&old).await.len(), 1);
}

#[tokio::test]
async fn a_year_that_is_over_is_judged_by_both_records_too_and_again_by_each_alone() {
    let world = World::on("2024-10-18").await;
    for urn in ["100001", "100002"] {
        world.school(urn).await;
    }
    let left = enrolment("100001", pb::EnrolmentKind::Sole, "2024-09-01", "2024-10-04");
    let came = enrolment("100002", pb::EnrolmentKind::Sole, "2024-10-07", "");
    let (old, new) = (
        world.pupil_enrolled("old", &[left]).await,
        world.pupil_enrolled("new", &[came]).await,
    );
    world.record_days(&old, "2024-09-02", "2024-10-04", "/", "\\").await;
    world.record_days(&new, "2024-10-07", "2024-10-11", "O", "O").await;
    world.record_days(&new, "2024-10-14", "2024-10-18", "/", "\\").await;
    assert_eq!(world.stage(&new).await.stage(), pb::Stage::Four);
    world.turn_to("2025-09-15");
    let never_reached = async || {
        let actions = all_actions(&world, &new).await;
        let mut stages: Vec<_> = actions
            .iter()
            .map(|action| (action.stage(), action.never_reached))
            .collect();
        stages.sort_unstable();
        stages.dedup();
        stages
    };
    let reached = |last: pb::Stage| {
        let stages = [pb::Stage::One, pb::Stage::Two, pb::Stage::Three, pb::Stage::Four];
        stages.map(|stage| (stage, stage > last)).to_vec()
    };
    assert_eq!(never_reached().await, reached(pb::Stage::Four));
    let merge = world.merge(&new, &old).await;
    assert_eq!(
        never_reached().await,
        reached(pb::Stage::Three),
        "a week missed after five"
    );
    world.try_unmerge(&merge.merge_id).await.unwrap();
    assert_eq!(never_reached().await, reached(pb::Stage::Four));
}
