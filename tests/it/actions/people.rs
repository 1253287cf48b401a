//! Who has an action and until when.

use super::*;

#[tokio::test]
async fn an_action_is_given_to_a_person_and_on_to_another_and_its_log_says_by_whom() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let action = world.actions_of(&pupil).await[0].clone();
    assert_eq!(action.assignee, None);
    let mut first = given_to(&world, &action, "entra:77");
    first.recorded_by.as_mut().unwrap().person_id = "entra:1".into();
    let given = assign(&world, first.clone()).await.unwrap();
    assert_eq!(given.assignee, first.assignee);
    assert_ne!(given.etag, action.etag);
    assert_eq!((given.state(), given.begun_at), (Open, None), "that is no work yet");
    let passed_on = assign(&world, given_to(&world, &given, "entra:78")).await.unwrap();
    // Once more the same changes nothing.
    let same = assign(&world, given_to(&world, &passed_on, "entra:78")).await.unwrap();
    assert_eq!(same, passed_on);
    let taken = pb::AssignActionRequest {
        assignee: None,
        ..given_to(&world, &same, "")
    };
    let taken = assign(&world, taken).await.unwrap();
    assert_eq!(taken.assignee, None);
    assert_eq!(get(&world, &world.trust_id, &action.name).await.unwrap(), taken);
    let changes: Vec<(String, String)> = log(&world, &action.name)
        .await
        .into_iter()
        .map(|entry| match entry.entry.unwrap() {
            pb::action_entry::Entry::AssignmentChange(change) => {
                let id = |of: Option<pb::Assignee>| of.map_or_else(String::new, |of| of.person_id);
                (id(change.from_assignee), id(change.to_assignee))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let told = [("", "entra:77"), ("entra:77", "entra:78"), ("entra:78", "")];
    assert_eq!(changes, told.map(|(from, to)| (from.to_owned(), to.to_owned())));
    let by: Vec<String> = log(&world, &action.name)
        .await
        .into_iter()
        .map(|entry| entry.recorded_by.unwrap().person_id)
        .collect();
    assert_eq!(by, ["entra:1", "", ""]);
    // The others of the stage are as untouched as before.
    let others = world.actions_of(&pupil).await;
    assert!(
        others[1..]
            .iter()
            .all(|other| other.etag == "\"0\"" && other.assignee.is_none())
    );
}

#[tokio::test]
async fn an_assignment_without_what_it_needs_or_of_an_ended_action_is_refused() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let actions = world.actions_of(&pupil).await;
    let good = given_to(&world, &actions[0], "entra:77");
    let with = |change: &dyn Fn(&mut pb::AssignActionRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (request, refusal) in [
        (with(&|request| request.etag.clear()), invalid("MISSING_ETAG", "etag")),
        (
            with(&|request| request.assignee.as_mut().unwrap().person_id.clear()),
            invalid("MISSING_TEXT", "assignee.person_id"),
        ),
        (
            with(&|request| request.assignee.as_mut().unwrap().name = "é".repeat(201)),
            invalid("TEXT_TOO_LONG", "assignee.name"),
        ),
        (
            with(&|request| request.recorded_by = None),
            invalid("MISSING_PERSON", "recorded_by"),
        ),
        (
            with(&|request| request.recorded_by.as_mut().unwrap().person_id = "é".repeat(201)),
            invalid("TEXT_TOO_LONG", "recorded_by.person_id"),
        ),
        (
            with(&|request| request.etag = "\"4\"".into()),
            (Code::Aborted, "STALE_ETAG".into(), vec!["etag".into()]),
        ),
    ] {
        assert_eq!(refused(assign(&world, request).await), refusal);
    }
    assert_eq!(
        get(&world, &world.trust_id, &actions[0].name).await.unwrap(),
        actions[0]
    );
    let done = progress(&world, step(&world, &actions[0], Completed, ""))
        .await
        .unwrap();
    let status = assign(&world, given_to(&world, &done, "entra:77")).await.unwrap_err();
    assert_eq!(
        status.message(),
        "an action that is completed cannot be given to somebody: reopen it first"
    );
    assert_eq!(
        refused(Err::<(), _>(status)),
        (Code::FailedPrecondition, "ACTION_ENDED".into(), vec![])
    );
}

#[tokio::test]
async fn a_due_date_is_moved_for_a_reason_to_today_or_later() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    assert_eq!((action.due_on, action.due_date_moved), (None, false));
    let good = due_on(&world, &action, "2025-12-05");
    let with = |change: &dyn Fn(&mut pb::RescheduleActionRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    for (request, refusal) in [
        (
            with(&|request| request.due_on = None),
            invalid("MISSING_DATE", "due_on"),
        ),
        (
            with(&|request| request.due_on.as_mut().unwrap().month = 13),
            invalid("INVALID_DATE", "due_on"),
        ),
        (
            with(&|request| request.due_on = Some(pb_date("2025-11-27"))),
            invalid("IN_PAST", "due_on"),
        ),
        (
            with(&|request| request.due_on = Some(pb_date("2029-01-01"))),
            invalid("TOO_FAR_AHEAD", "due_on"),
        ),
        (
            with(&|request| request.reason = " ".into()),
            invalid("MISSING_TEXT", "reason"),
        ),
        (
            with(&|request| request.reason = "é".repeat(501)),
            invalid("TEXT_TOO_LONG", "reason"),
        ),
        (with(&|request| request.etag.clear()), invalid("MISSING_ETAG", "etag")),
    ] {
        assert_eq!(refused(reschedule(&world, request).await), refusal);
    }
    let moved = reschedule(&world, good).await.unwrap();
    assert_eq!(
        (moved.due_on, moved.due_date_moved),
        (Some(pb_date("2025-12-05")), true)
    );
    let today = reschedule(&world, due_on(&world, &moved, TODAY)).await.unwrap();
    let entries = log(&world, &action.name).await;
    let change = pb::DueDateChange {
        from_date: Some(pb_date("2025-12-05")),
        to_date: Some(pb_date(TODAY)),
        reason: "half term".into(),
    };
    assert_eq!(entries[1].entry, Some(pb::action_entry::Entry::DueDateChange(change)));
    assert_eq!((today.state(), today.begun_at), (Open, None), "that is no work yet");
    let ended = progress(&world, step(&world, &today, Cancelled, "moved away"))
        .await
        .unwrap();
    let found = refused(reschedule(&world, due_on(&world, &ended, "2025-12-05")).await);
    assert_eq!(found, (Code::FailedPrecondition, "ACTION_ENDED".into(), vec![]));
}

#[tokio::test]
async fn retries_of_assignments_and_due_dates_get_the_first_answer_and_change_nothing_twice() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let actions = world.actions_of(&pupil).await;
    let first = pb::AssignActionRequest {
        request_id: Uuid::new_v4().to_string(),
        ..given_to(&world, &actions[0], "entra:77")
    };
    let given = assign(&world, first.clone()).await.unwrap();
    let second = pb::RescheduleActionRequest {
        request_id: Uuid::new_v4().to_string(),
        ..due_on(&world, &given, "2025-12-05")
    };
    let moved = reschedule(&world, second.clone()).await.unwrap();
    assert_eq!(assign(&world, first.clone()).await.unwrap(), given);
    assert_eq!(reschedule(&world, second.clone()).await.unwrap(), moved);
    assert_eq!(log(&world, &actions[0].name).await.len(), 2);
    // Under the name of either, anything else is refused.
    let other_person = pb::AssignActionRequest {
        request_id: first.request_id.clone(),
        ..given_to(&world, &moved, "entra:78")
    };
    let other_action = pb::RescheduleActionRequest {
        name: actions[1].name.clone(),
        etag: actions[1].etag.clone(),
        ..second.clone()
    };
    let reused = invalid("REQUEST_ID_REUSED", "request_id");
    assert_eq!(refused(assign(&world, other_person).await), reused);
    assert_eq!(refused(reschedule(&world, other_action).await), reused);
    let as_move = pb::ProgressActionRequest {
        request_id: first.request_id,
        ..step(&world, &moved, InProgress, "")
    };
    assert_eq!(refused(progress(&world, as_move).await), reused);
    assert_eq!(get(&world, &world.trust_id, &actions[0].name).await.unwrap(), moved);
}

/// A world with a pupil at stage 3 by two days of absence, the last ones of four weeks. Without the last of them it is stage 1,
/// and no more was ever reached.
async fn world_with_late_absence() -> (World, String) {
    let (world, pupil) = world_with_pupil().await;
    world.record_days(&pupil, "2025-09-01", "2025-09-24", "/", "\\").await;
    world.record_days(&pupil, "2025-09-25", "2025-09-26", "O", "O").await;
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Three);
    (world, pupil)
}

/// Records the last day of them anew.
async fn last_day(world: &World, pupil: &str, run: &str) {
    world.record(pupil, at("2025-09-26", "AM"), run).await;
}

#[tokio::test]
async fn an_action_that_was_only_given_away_is_withdrawn_with_its_stage_and_open_again_with_it() {
    let (world, pupil) = world_with_late_absence().await;
    let of_three = |actions: &[pb::Action]| {
        let mut of_three = actions.iter().filter(|action| action.provision_id.starts_with("3-"));
        of_three
            .find(|action| action.condition() == pb::ProvisionCondition::Always)
            .unwrap()
            .clone()
    };
    let action = of_three(&world.actions_of(&pupil).await);
    let given = assign(&world, given_to(&world, &action, "entra:77")).await.unwrap();
    // The pupil was at school on the last day: 38 of 40.
    last_day(&world, &pupil, "/ \\").await;
    let withdrawn = get(&world, &world.trust_id, &action.name).await.unwrap();
    assert_eq!(
        (withdrawn.state(), withdrawn.never_reached),
        (pb::ActionState::Withdrawn, true)
    );
    assert_eq!(withdrawn.assignee, given.assignee);
    assert_eq!(
        refused(assign(&world, given_to(&world, &withdrawn, "entra:78")).await).1,
        "ACTION_ENDED"
    );
    // A note begins nothing that is withdrawn.
    let noted = add(&world, note(&world, &action.name, "No longer needed."))
        .await
        .unwrap();
    assert_eq!(noted.action.unwrap().state(), pb::ActionState::Withdrawn);
    // It was absence after all.
    last_day(&world, &pupil, "O O").await;
    let back = get(&world, &world.trust_id, &action.name).await.unwrap();
    assert_eq!((back.state(), back.never_reached), (Open, false));
    let begun = progress(&world, step(&world, &back, InProgress, "")).await.unwrap();
    last_day(&world, &pupil, "/ \\").await;
    let flagged = get(&world, &world.trust_id, &action.name).await.unwrap();
    assert_eq!((flagged.state(), flagged.never_reached), (InProgress, true));
    assert_eq!(flagged.begun_at, begun.begun_at);
    assert_eq!(flagged.etag, begun.etag);
}

#[tokio::test]
async fn a_withdrawn_action_that_a_person_reopens_stays_open() {
    let (world, pupil) = world_with_late_absence().await;
    last_day(&world, &pupil, "/ \\").await;
    let actions = world.actions_of(&pupil).await;
    let withdrawn = actions
        .iter()
        .find(|action| action.state() == pb::ActionState::Withdrawn)
        .unwrap();
    let without_reason = refused(progress(&world, step(&world, withdrawn, Open, "")).await);
    assert_eq!(without_reason, invalid("MISSING_REASON", "reason"));
    let reopened = progress(&world, step(&world, withdrawn, Open, "the family asked for it"))
        .await
        .unwrap();
    assert_eq!((reopened.state(), reopened.never_reached), (Open, true));
    assert!(reopened.begun_at.is_some());
    assert_eq!(get(&world, &world.trust_id, &withdrawn.name).await.unwrap(), reopened);
}
