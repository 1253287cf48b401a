//! Lists of actions and their logs.

use std::collections::HashSet;

use super::*;

/// An action's log, a line an entry.
fn as_lines(entries: &[pb::ActionEntry]) -> String {
    let state = |number: i32| {
        let state = pb::ActionState::try_from(number).unwrap();
        word(state.as_str_name(), "ACTION_STATE_").replace('_', " ")
    };
    let lines = entries.iter().map(|entry| {
        let by = entry.recorded_by.as_ref().unwrap();
        let what = match entry.entry.as_ref().unwrap() {
            pb::action_entry::Entry::StateChange(change) => {
                let (from, to) = (state(change.from_state), state(change.to_state));
                format!("{from} -> {to}, because {:?}", change.reason)
            }
            pb::action_entry::Entry::Note(note) => format!("note {:?}", note.text),
            other => panic!("{other:?}"),
        };
        format!("{}. {what}; {}, {}\n", entry.ordinal, by.name, by.position)
    });
    lines.collect()
}

#[tokio::test]
async fn a_note_begins_an_action_and_the_log_tells_all_in_order() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let actions = world.actions_of(&pupil).await;
    let action = actions.iter().find(|action| action.state() == ToBeConsidered).unwrap();
    let first = add(&world, note(&world, &action.name, "Rang home: no answer."))
        .await
        .unwrap();
    let begun = first.action.unwrap();
    assert_eq!((begun.state(), first.entry.unwrap().ordinal), (InProgress, 2));
    assert_ne!(begun.etag, action.etag);
    let second = add(&world, note(&world, &action.name, "Spoke with the carer."))
        .await
        .unwrap();
    assert_eq!(second.action.as_ref().unwrap().state(), InProgress);
    let done = progress(&world, step(&world, &second.action.unwrap(), Completed, ""))
        .await
        .unwrap();
    let after = add(&world, note(&world, &action.name, "Letter filed.")).await.unwrap();
    assert_eq!(after.action.unwrap().state(), Completed, "a note reopens nothing");
    let closed = get(&world, &world.trust_id, &action.name).await.unwrap();
    assert_ne!(closed.etag, done.etag);
    progress(&world, step(&world, &closed, Open, "absent again"))
        .await
        .unwrap();
    insta::assert_snapshot!(as_lines(&log(&world, &action.name).await), @r#"
    1. to be considered -> in progress, because ""; B. Okafor, attendance officer
    2. note "Rang home: no answer."; B. Okafor, attendance officer
    3. note "Spoke with the carer."; B. Okafor, attendance officer
    4. in progress -> completed, because ""; B. Okafor, attendance officer
    5. note "Letter filed."; B. Okafor, attendance officer
    6. completed -> open, because "absent again"; B. Okafor, attendance officer
    "#);
    assert_eq!(log(&world, &actions[0].name).await, [], "nobody has touched that one");
}

#[tokio::test]
async fn a_note_without_words_or_writer_is_refused_and_begins_nothing() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    let mut anonymous = note(&world, &action.name, "said");
    anonymous.recorded_by = None;
    let mut nothing = note(&world, &action.name, "");
    nothing.entry = None;
    for (request, reason, field) in [
        (note(&world, &action.name, " "), "MISSING_TEXT", "note.text"),
        (note(&world, &action.name, "a\0b"), "INVALID_TEXT", "note.text"),
        (
            note(&world, &action.name, &"é".repeat(4001)),
            "TEXT_TOO_LONG",
            "note.text",
        ),
        (anonymous, "MISSING_PERSON", "recorded_by"),
        (nothing, "MISSING_ENTRY", "entry"),
    ] {
        let found = refused(add(&world, request).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    assert_eq!(get(&world, &world.trust_id, &action.name).await.unwrap(), action);
    let longest = "é".repeat(4000);
    let taken = add(&world, note(&world, &action.name, &longest))
        .await
        .unwrap()
        .entry
        .unwrap();
    assert_eq!(log(&world, &action.name).await.last(), Some(&taken));
}

#[tokio::test]
async fn actions_and_logs_come_in_pages_each_entry_once() {
    let (world, pupil) = world_with_pupil_at(5).await;
    let expected = world.actions_of(&pupil).await;
    let (mut found, mut request) = (Vec::new(), list_of(&world, &pupil));
    request.page_size = 7;
    loop {
        let page = list(&world, request.clone()).await.unwrap();
        assert!(page.actions.len() <= 7);
        found.extend(page.actions);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);

    let name = &expected[0].name;
    for number in 0..4 {
        add(&world, note(&world, name, &number.to_string())).await.unwrap();
    }
    let (mut ordinals, mut request) = (Vec::new(), log_of(&world, name));
    request.page_size = 2;
    loop {
        let page = world.actions().list_action_entries(request.clone()).await.unwrap();
        let page = page.into_inner();
        ordinals.extend(page.entries.iter().map(|entry| entry.ordinal));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ordinals, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let first_page = pb::ListPupilActionsRequest {
        page_size: 2,
        ..list_of(&world, &pupil)
    };
    let page_token = list(&world, first_page).await.unwrap().next_page_token;
    assert!(!page_token.is_empty());
    let other_filter = pb::ListPupilActionsRequest {
        states: vec![Open.into()],
        page_token: page_token.clone(),
        ..list_of(&world, &pupil)
    };
    let garbled = pb::ListPupilActionsRequest {
        page_token: "garbled".into(),
        ..list_of(&world, &pupil)
    };
    let sized = |page_size: i32| pb::ListPupilActionsRequest {
        page_size,
        ..list_of(&world, &pupil)
    };
    let stateless = pb::ListPupilActionsRequest {
        states: vec![Open.into(), 0],
        ..list_of(&world, &pupil)
    };
    for (request, reason, field) in [
        (other_filter, "UNKNOWN_PAGE_TOKEN", "page_token"),
        (garbled, "UNKNOWN_PAGE_TOKEN", "page_token"),
        (sized(1001), "INVALID_PAGE_SIZE", "page_size"),
        (sized(-1), "INVALID_PAGE_SIZE", "page_size"),
        (stateless, "INVALID_ACTION_STATE", "states[1]"),
    ] {
        let found = refused(list(&world, request).await);
        assert_eq!(found, (Code::InvalidArgument, reason.into(), vec![field.into()]));
    }
    let name = format!("pupils/{pupil}/episodes/1/actions/1-01");
    let of_another_list = pb::ListActionEntriesRequest {
        page_token,
        ..log_of(&world, &name)
    };
    let found = refused(world.actions().list_action_entries(of_another_list).await);
    assert_eq!(found.1, "UNKNOWN_PAGE_TOKEN");
}

#[tokio::test]
async fn actions_are_listed_by_the_states_in_which_they_are() {
    let (world, pupil) = world_with_pupil_at(5).await;
    let all = world.actions_of(&pupil).await;
    let of = |state: pb::ActionState| all.iter().filter(move |action| action.state() == state);
    let moved = progress(&world, step(&world, of(Open).next().unwrap(), Completed, ""))
        .await
        .unwrap();
    for (states, count) in [
        (vec![Open], of(Open).count() - 1),
        (vec![ToBeConsidered], of(ToBeConsidered).count()),
        (vec![Completed], 1),
        (vec![Open, Completed, ToBeConsidered], all.len()),
        (vec![Cancelled, NotApplicable], 0),
        (vec![], all.len()),
    ] {
        let request = pb::ListPupilActionsRequest {
            states: states.iter().map(|state| (*state).into()).collect(),
            ..list_of(&world, &pupil)
        };
        let listed = list(&world, request).await.unwrap().actions;
        assert_eq!(listed.len(), count, "{states:?}");
        let wanted = |action: &pb::Action| states.is_empty() || states.contains(&action.state());
        assert!(listed.iter().all(wanted), "{states:?}");
        if states == [Completed] {
            assert_eq!(listed, std::slice::from_ref(&moved));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_that_are_added_at_once_are_all_kept_and_begin_the_action_once() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    let request_id = Uuid::new_v4().to_string();
    let clients = (0..16).map(|number| {
        // The first half are retries of one request.
        let mut request = note(&world, &action.name, "once");
        if number < 8 {
            request.request_id.clone_from(&request_id);
        } else {
            request = note(&world, &action.name, &number.to_string());
        }
        let mut client = world.actions();
        tokio::spawn(async move { client.add_action_entry(request).await })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        client.await.unwrap().unwrap();
    }
    let entries = log(&world, &action.name).await;
    let ordinals: Vec<i32> = entries.iter().map(|entry| entry.ordinal).collect();
    // The move, the note that was asked for eight times, and the eight others.
    assert_eq!(ordinals, (1..=10).collect::<Vec<_>>());
    let texts = entries.iter().filter_map(|entry| match entry.entry.as_ref().unwrap() {
        pb::action_entry::Entry::Note(note) => Some(note.text.as_str()),
        _ => None,
    });
    assert_eq!(texts.collect::<HashSet<_>>().len(), 9);
    assert_eq!(
        get(&world, &world.trust_id, &action.name).await.unwrap().state(),
        InProgress
    );
}
