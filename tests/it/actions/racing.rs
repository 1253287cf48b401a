//! Many people at once: no update is lost, nothing is done twice, and the log explains what came of it.

use super::*;
use pb::action_entry::Entry as Kept;

/// Clients that race, and how often each of them goes on.
const CLIENTS: usize = 32;
const ROUNDS: usize = 6;

/// What a client saw come of its own requests.
#[derive(Default)]
struct Seen {
    moves: Vec<(String, i32)>,
    notes: usize,
    assignments: usize,
    stale: usize,
    illegal: usize,
}

fn next(number: usize, round: usize, action: &pb::Action) -> pb::ActionState {
    let open: Vec<pb::ActionState> = action.next_states().collect();
    open[(number + round) % open.len()]
}

/// One client: reads an action, does something with it, and takes what it is told.
async fn race(number: usize, world: std::sync::Arc<World>, names: Vec<String>) -> Seen {
    let mut seen = Seen::default();
    for round in 0..ROUNDS {
        let name = &names[(number + round) % names.len()];
        let action = get(&world, &world.trust_id, name).await.unwrap();
        let told = match (number + round) % 4 {
            0 => {
                // Each request is sent twice, as by a client that lost the first answer.
                let asked = pb::AddActionEntryRequest {
                    request_id: Uuid::new_v4().to_string(),
                    ..note(&world, name, &format!("{number}/{round}"))
                };
                let first = add(&world, asked.clone()).await.unwrap();
                assert_eq!(add(&world, asked).await.unwrap(), first);
                seen.notes += 1;
                Ok(first.action.unwrap())
            }
            1 => assign(&world, given_to(&world, &action, &format!("{number}/{round}")))
                .await
                .inspect(|_| seen.assignments += 1),
            _ => {
                let asked = pb::ProgressActionRequest {
                    request_id: Uuid::new_v4().to_string(),
                    ..step(&world, &action, next(number, round, &action), "decided")
                };
                let first = progress(&world, asked.clone()).await;
                if let Ok(moved) = &first {
                    seen.moves.push((name.clone(), moved.state));
                    assert_eq!(progress(&world, asked).await.unwrap(), *moved);
                }
                first
            }
        };
        match told {
            Ok(_) => {}
            Err(status) if status.code() == Code::Aborted => seen.stale += 1,
            Err(status) if status.code() == Code::FailedPrecondition => seen.illegal += 1,
            Err(status) => panic!("{status}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_clients_over_the_same_actions_no_update_is_lost_and_the_logs_explain_the_end() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let world = std::sync::Arc::new(world);
    let actions = world.actions_of(&pupil).await;
    let names: Vec<String> = actions[..3].iter().map(|action| action.name.clone()).collect();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(race(number, world.clone(), names.clone())))
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.push(client.await.unwrap());
    }
    let done = |count: fn(&Seen) -> usize| all.iter().map(count).sum::<usize>();
    assert!(done(|seen| seen.stale) > 0, "nobody was overtaken: this was no race");
    let (mut moves, mut notes, mut assignments) = (0, 0, 0);
    for (name, raised) in names.iter().zip(&actions) {
        let end = get(&world, &world.trust_id, name).await.unwrap();
        let request = pb::ListActionEntriesRequest {
            page_size: 1000,
            ..log_of(&world, name)
        };
        let entries = world
            .actions()
            .list_action_entries(request)
            .await
            .unwrap()
            .into_inner()
            .entries;
        let ordinals: Vec<i32> = entries.iter().map(|entry| entry.ordinal).collect();
        assert_eq!(ordinals, (1..).take(entries.len()).collect::<Vec<_>>());
        // Gone through from the beginning, the log comes to the state and the person that the action has.
        let (mut state, mut assignee) = (raised.state, None);
        for entry in entries {
            match entry.entry.unwrap() {
                Kept::StateChange(change) => {
                    assert_eq!(change.from_state, state, "{name}: a move from where it was not");
                    state = change.to_state;
                    moves += usize::from(!change.reason.is_empty());
                }
                Kept::AssignmentChange(change) => {
                    assert_eq!(change.from_assignee, assignee);
                    assignee = change.to_assignee;
                    assignments += 1;
                }
                Kept::Note(_) => notes += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((end.state, end.assignee), (state, assignee), "{name}");
    }
    assert_eq!(
        moves,
        done(|seen| seen.moves.len()),
        "each move that was answered is kept, once"
    );
    assert_eq!(notes, done(|seen| seen.notes));
    assert_eq!(assignments, done(|seen| seen.assignments));
    let untouched = world.actions_of(&pupil).await;
    assert_eq!(untouched[3..], actions[3..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_clients_that_complete_one_action_at_once_one_does_and_31_are_told_to_read_again() {
    let (world, pupil) = world_with_pupil_at(1).await;
    let action = world.actions_of(&pupil).await[0].clone();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (mut client, asked) = (world.actions(), step(&world, &action, Completed, ""));
            tokio::spawn(async move { client.progress_action(asked).await })
        })
        .collect();
    let mut completed = 0;
    for client in clients {
        match client.await.unwrap() {
            Ok(_) => completed += 1,
            lost => assert_eq!(refused(lost), (Code::Aborted, "STALE_ETAG".into(), vec!["etag".into()])),
        }
    }
    assert_eq!(completed, 1);
    assert_eq!(log(&world, &action.name).await.len(), 1);
}
