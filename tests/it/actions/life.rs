//! The life of an action: how it is moved, by whom, and once.

use super::*;

#[tokio::test]
async fn an_action_moves_where_its_state_allows_and_a_refusal_names_the_state_and_the_moves_that_are_open() {
    let (world, pupil) = world_with_pupil_at(5).await;
    let all = world.actions_of(&pupil).await;
    let mut open = all.iter().filter(|action| action.state() == Open);
    let considered = all.iter().find(|action| action.state() == ToBeConsidered).unwrap();
    let table = [
        (
            ToBeConsidered,
            "to be considered",
            &[Open, InProgress, NotApplicable][..],
        ),
        (Open, "open", &[InProgress, Completed, NotApplicable, Cancelled]),
        (InProgress, "in progress", &[Completed, NotApplicable, Cancelled]),
        (Completed, "completed", &[Open]),
        (NotApplicable, "not applicable", &[Open]),
        (Cancelled, "cancelled", &[Open]),
    ];
    let words = |state: pb::ActionState| table.iter().find(|row| row.0 == state).unwrap().1;
    for (from, text, moves) in table {
        let mut action = match from {
            ToBeConsidered => considered.clone(),
            Open => open.next().unwrap().clone(),
            other => {
                let action = open.next().unwrap();
                progress(&world, step(&world, action, other, "said so")).await.unwrap()
            }
        };
        assert_eq!(action.state(), from);
        assert_eq!(action.next_states().collect::<Vec<_>>(), moves);
        for (to, ..) in table.iter().filter(|row| !moves.contains(&row.0)) {
            let status = progress(&world, step(&world, &action, *to, "said so"))
                .await
                .unwrap_err();
            let open_moves: Vec<_> = moves.iter().map(|state| words(*state)).collect();
            assert_eq!(
                status.message(),
                format!(
                    "an action that is {text} cannot become {}; from there it can become: {}",
                    words(*to),
                    open_moves.join(", ")
                )
            );
            let violations = status.get_details_precondition_failure().unwrap().violations;
            assert_eq!(violations[0].r#type, "ILLEGAL_MOVE");
            assert_eq!(
                refused(Err::<(), _>(status)),
                (Code::FailedPrecondition, "ILLEGAL_MOVE".into(), vec![])
            );
        }
        let before = action.clone();
        action = progress(&world, step(&world, &action, moves[0], "said so"))
            .await
            .unwrap();
        assert_eq!(action.state(), moves[0]);
        assert_ne!(action.etag, before.etag);
        assert_eq!(get(&world, &world.trust_id, &action.name).await.unwrap(), action);
    }
}

#[tokio::test]
async fn a_move_with_an_etag_that_somebody_has_overtaken_is_aborted_and_changes_nothing() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let read = world.actions_of(&pupil).await[0].clone();
    let begun = progress(&world, step(&world, &read, InProgress, "")).await.unwrap();
    for etag in [read.etag.as_str(), "\"7\"", "nonsense"] {
        let request = pb::ProgressActionRequest {
            etag: etag.into(),
            ..step(&world, &read, Completed, "")
        };
        let found = refused(progress(&world, request).await);
        assert_eq!(found, (Code::Aborted, "STALE_ETAG".into(), vec!["etag".into()]));
    }
    assert_eq!(get(&world, &world.trust_id, &read.name).await.unwrap(), begun);
    assert_eq!(log(&world, &read.name).await.len(), 1);
}

#[tokio::test]
async fn a_move_that_leaves_out_what_it_needs_is_told_which_field() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    assert_eq!(action.state(), Open);
    let good = step(&world, &action, Completed, "");
    let mut wrong = Vec::new();
    let mut case = |reason: &'static str, field: &'static str, change: &dyn Fn(&mut pb::ProgressActionRequest)| {
        let mut request = good.clone();
        change(&mut request);
        wrong.push((request, reason, field));
    };
    case("MISSING_ETAG", "etag", &|request| request.etag.clear());
    case("INVALID_ACTION_STATE", "to_state", &|request| {
        request.to_state = Unspecified.into();
    });
    case("INVALID_ACTION_STATE", "to_state", &|request| request.to_state = 8);
    case("MISSING_PERSON", "recorded_by", &|request| request.recorded_by = None);
    case("MISSING_TEXT", "recorded_by.position", &|request| {
        request.recorded_by.as_mut().unwrap().position.clear();
    });
    case("INVALID_UUID", "request_id", &|request| request.request_id = "1".into());
    case("INVALID_UUID", "trust_id", &|request| request.trust_id = "1".into());
    case("INVALID_ACTION_NAME", "name", &|request| request.name = "1-01".into());
    case("TEXT_TOO_LONG", "reason", &|request| request.reason = "é".repeat(501));
    for without_reason in [NotApplicable, Cancelled] {
        case("MISSING_REASON", "reason", &move |request| {
            request.to_state = without_reason.into();
        });
    }
    for (request, reason, field) in wrong {
        let found = refused(progress(&world, request).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    assert_eq!(get(&world, &world.trust_id, &action.name).await.unwrap(), action);
    // To reopen needs a reason as well.
    let done = progress(&world, good).await.unwrap();
    let found = refused(progress(&world, step(&world, &done, Open, "  ")).await);
    assert_eq!(
        found,
        (Code::InvalidArgument, "MISSING_REASON".into(), vec!["reason".into()])
    );
}

#[tokio::test]
async fn a_name_that_is_none_is_malformed_and_one_that_was_never_raised_is_not_found() {
    let (world, pupil) = world_with_pupil_at(1).await;
    for malformed in [
        String::new(),
        "1-01".to_owned(),
        format!("pupils/{pupil}/episodes/0/actions/1-01"),
        format!("pupils/{pupil}/episodes/1/actions/"),
        format!("trusts/x/pupils/{pupil}/episodes/1/actions/1-01"),
    ] {
        let expected = (
            Code::InvalidArgument,
            "INVALID_ACTION_NAME".to_owned(),
            vec!["name".to_owned()],
        );
        assert_eq!(refused(get(&world, &world.trust_id, &malformed).await), expected);
        assert_eq!(refused(add(&world, note(&world, &malformed, "said")).await), expected);
        let listed = world.actions().list_action_entries(log_of(&world, &malformed)).await;
        assert_eq!(refused(listed), expected);
    }
    for never_raised in [
        format!("pupils/{pupil}/episodes/1/actions/2-01"),
        format!("pupils/{pupil}/episodes/1/actions/U-01"),
        format!("pupils/{pupil}/episodes/2/actions/1-01"),
        format!("pupils/{}/episodes/1/actions/1-01", Uuid::new_v4()),
    ] {
        let expected = (Code::NotFound, "NOT_FOUND".to_owned(), vec![]);
        assert_eq!(refused(get(&world, &world.trust_id, &never_raised).await), expected);
        assert_eq!(
            refused(add(&world, note(&world, &never_raised, "said")).await),
            expected
        );
        let action = pb::Action {
            name: never_raised,
            etag: "\"0\"".into(),
            ..pb::Action::default()
        };
        assert_eq!(
            refused(progress(&world, step(&world, &action, Open, "")).await),
            expected
        );
        let listed = world.actions().list_action_entries(log_of(&world, &action.name)).await;
        assert_eq!(refused(listed), expected);
    }
}

#[tokio::test]
async fn another_trusts_action_is_as_unknown_as_one_that_never_was() {
    let (mut world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    world.trust_id = world.new_trust("Elm").await;
    let mut nobodys = action.clone();
    nobodys.name = action.name.replace(&pupil, &Uuid::new_v4().to_string());
    let mut answers = Vec::new();
    for asked in [&action, &nobodys] {
        let by_pupil = pb::ListPupilActionsRequest {
            pupil: Some(by_id(asked.name.split('/').nth(1).unwrap())),
            ..list_of(&world, &pupil)
        };
        let statuses = [
            get(&world, &world.trust_id, &asked.name).await.unwrap_err(),
            progress(&world, step(&world, asked, InProgress, "")).await.unwrap_err(),
            add(&world, note(&world, &asked.name, "said")).await.unwrap_err(),
            world
                .actions()
                .list_action_entries(log_of(&world, &asked.name))
                .await
                .unwrap_err(),
            list(&world, by_pupil).await.unwrap_err(),
        ];
        let told = statuses.map(|status| (status.code(), status.message().to_owned(), status.details().to_vec()));
        assert!(told.iter().all(|status| status.0 == Code::NotFound));
        answers.push(told);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_retry_under_the_same_request_id_does_nothing_twice_and_other_content_is_refused() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let actions = world.actions_of(&pupil).await;
    let moved = pb::ProgressActionRequest {
        request_id: Uuid::new_v4().to_string(),
        ..step(&world, &actions[0], InProgress, "")
    };
    let first = progress(&world, moved.clone()).await.unwrap();
    assert_eq!(progress(&world, moved.clone()).await.unwrap(), first);
    let noted = pb::AddActionEntryRequest {
        request_id: Uuid::new_v4().to_string(),
        ..note(&world, &actions[0].name, "Rang home.")
    };
    let added = add(&world, noted.clone()).await.unwrap();
    assert_eq!(add(&world, noted.clone()).await.unwrap(), added);
    // The retry of the move comes late: the action has gone on, and the answer is still the first.
    let now = added.action.unwrap();
    assert_ne!(now.etag, first.etag);
    assert_eq!(progress(&world, moved.clone()).await.unwrap(), first);
    assert_eq!(log(&world, &actions[0].name).await.len(), 2);

    let reused = (
        Code::InvalidArgument,
        "REQUEST_ID_REUSED".to_owned(),
        vec!["request_id".to_owned()],
    );
    let elsewhere = pb::ProgressActionRequest {
        name: actions[1].name.clone(),
        etag: actions[1].etag.clone(),
        ..moved.clone()
    };
    let another_move = pb::ProgressActionRequest {
        to_state: Completed.into(),
        etag: now.etag.clone(),
        ..moved.clone()
    };
    let another_reason = pb::ProgressActionRequest {
        reason: "on second thoughts".into(),
        ..moved.clone()
    };
    let move_as_note = pb::ProgressActionRequest {
        request_id: noted.request_id.clone(),
        ..step(&world, &now, Completed, "")
    };
    for request in [elsewhere, another_move, another_reason, move_as_note] {
        assert_eq!(refused(progress(&world, request).await), reused);
    }
    let mut another_text = note(&world, &actions[0].name, "Wrote home.");
    another_text.request_id.clone_from(&noted.request_id);
    let mut note_as_move = noted;
    note_as_move.request_id.clone_from(&moved.request_id);
    for request in [another_text, note_as_move] {
        assert_eq!(refused(add(&world, request).await), reused);
    }
    assert_eq!(get(&world, &world.trust_id, &actions[0].name).await.unwrap(), now);
    assert_eq!(
        get(&world, &world.trust_id, &actions[1].name).await.unwrap(),
        actions[1]
    );
    assert_eq!(log(&world, &actions[0].name).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_clients_that_move_one_action_at_once_exactly_one_wins_each_step() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let mut action = world.actions_of(&pupil).await[0].clone();
    for (to, reason) in [
        (InProgress, ""),
        (Completed, ""),
        (Open, "absent again"),
        (Cancelled, "moved"),
    ] {
        let clients = (0..16).map(|_| {
            let (mut client, request) = (world.actions(), step(&world, &action, to, reason));
            tokio::spawn(async move { client.progress_action(request).await })
        });
        let clients: Vec<_> = clients.collect();
        let mut won = Vec::new();
        for client in clients {
            match client.await.unwrap() {
                Ok(answer) => won.push(answer.into_inner().action.unwrap()),
                lost => assert_eq!(refused(lost), (Code::Aborted, "STALE_ETAG".into(), vec!["etag".into()])),
            }
        }
        assert_eq!(won.len(), 1);
        action = won.pop().unwrap();
        assert_eq!(action.state(), to);
    }
    assert_eq!(log(&world, &action.name).await.len(), 4);
}
