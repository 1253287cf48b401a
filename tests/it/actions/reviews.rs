//! When actions are to be reviewed next: what the catalogue names, on a day on which the pupil's school is open.

use super::*;
use pb::add_action_entry_request::Entry as Asked;

/// A world with a pupil whom stage 2 asks to be reviewed weekly since a Wednesday, and the name of that action.
async fn reviewed_weekly() -> (World, String, String) {
    let world = World::on("2025-10-15").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    attend_september(&world, &pupil, MISSED_OF_FORTY[1]).await;
    let actions = world.actions_of(&pupil).await;
    let weekly: Vec<_> = actions.iter().filter(|action| action.review_days > 0).collect();
    assert_eq!((weekly.len(), weekly[0].review_days), (1, 7));
    (world, pupil, weekly[0].name.clone())
}

/// Says when a school is open: from 1 September on, with a week of half term.
async fn give_calendar(world: &World) {
    let request = pb::UpdateCalendarRequest {
        trust_id: world.trust_id.clone(),
        school: "100001".into(),
        academic_year: 2025,
        terms: vec![pb::CalendarTerm {
            name: "autumn".into(),
            first_day: Some(pb_date("2025-09-01")),
            last_day: Some(pb_date("2025-12-19")),
        }],
        notes: vec![pb::CalendarNote {
            kind: pb::CalendarDayKind::Closure.into(),
            first_day: Some(pb_date("2025-10-20")),
            last_day: Some(pb_date("2025-10-31")),
            label: "half term".into(),
        }],
        ..pb::UpdateCalendarRequest::default()
    };
    world.admin().update_calendar(request).await.unwrap();
}

async fn next_of(world: &World, name: &str) -> Option<pb::Date> {
    get(world, &world.trust_id, name).await.unwrap().next_review_on
}

fn review(reviewed_on: &str, next_review_on: Option<&str>) -> Asked {
    Asked::Review(pb::Review {
        found: "Two mornings missed.".into(),
        decided: "Go on.".into(),
        reviewed_on: Some(pb_date(reviewed_on)),
        next_review_on: next_review_on.map(pb_date),
    })
}

#[tokio::test]
async fn a_weekly_review_is_due_a_week_after_it_was_raised_on_a_day_on_which_the_school_is_open() {
    let (world, pupil, name) = reviewed_weekly().await;
    // Nobody gave a calendar: a Wednesday is a day like any other.
    assert_eq!(next_of(&world, &name).await, Some(pb_date("2025-10-22")));
    give_calendar(&world).await;
    assert_eq!(
        next_of(&world, &name).await,
        Some(pb_date("2025-11-03")),
        "after half term"
    );
    // Every list says the same, and says it of this action alone.
    for action in world.actions_of(&pupil).await {
        let expected = (action.name == name).then(|| pb_date("2025-11-03"));
        assert_eq!(action.next_review_on, expected, "{}", action.name);
    }
    let request = pb::ListActionsRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ListActionsRequest::default()
    };
    let listed = world
        .actions()
        .list_actions(request)
        .await
        .unwrap()
        .into_inner()
        .actions;
    let listed: Vec<_> = listed.iter().filter(|action| action.next_review_on.is_some()).collect();
    assert_eq!((listed.len(), &listed[0].name), (1, &name));
}

#[tokio::test]
async fn the_next_review_follows_the_last_one_or_what_was_said_at_it() {
    let (world, _, name) = reviewed_weekly().await;
    give_calendar(&world).await;
    world.turn_to("2025-11-07");
    let added = add(&world, record(&world, &name, review("2025-11-05", None)))
        .await
        .unwrap();
    assert_eq!(added.action.unwrap().next_review_on, Some(pb_date("2025-11-12")));
    // One of before is recorded late: the last one stands.
    let late = record(&world, &name, review("2025-11-03", None));
    let late = pb::AddActionEntryRequest {
        request_id: Uuid::new_v4().to_string(),
        ..late
    };
    let first = add(&world, late.clone()).await.unwrap();
    assert_eq!(next_of(&world, &name).await, Some(pb_date("2025-11-12")));
    // A Saturday that a person named is what the person named.
    let named = review("2025-11-06", Some("2025-11-15"));
    let added = add(&world, record(&world, &name, named)).await.unwrap();
    assert_eq!(added.action.unwrap().next_review_on, Some(pb_date("2025-11-15")));
    assert_eq!(next_of(&world, &name).await, Some(pb_date("2025-11-15")));
    // A retry gets what was answered first.
    assert_eq!(add(&world, late).await.unwrap(), first);
    // Other work is no review.
    add(&world, note(&world, &name, "Rang home.")).await.unwrap();
    assert_eq!(next_of(&world, &name).await, Some(pb_date("2025-11-15")));
    // What has ended is not reviewed any more.
    let action = get(&world, &world.trust_id, &name).await.unwrap();
    let done = progress(&world, step(&world, &action, Completed, "")).await.unwrap();
    assert_eq!(done.next_review_on, None);
    assert_eq!(next_of(&world, &name).await, None);
}

#[tokio::test]
async fn an_action_without_an_interval_has_the_next_review_that_a_person_named() {
    let (world, pupil, _) = reviewed_weekly().await;
    let actions = world.actions_of(&pupil).await;
    let action = actions.iter().find(|action| action.review_days == 0).unwrap();
    let plain = add(&world, record(&world, &action.name, review("2025-10-15", None)))
        .await
        .unwrap();
    assert_eq!(plain.action.unwrap().next_review_on, None);
    let named = review("2025-10-15", Some("2025-11-12"));
    let named = add(&world, record(&world, &action.name, named)).await.unwrap();
    assert_eq!(named.action.unwrap().next_review_on, Some(pb_date("2025-11-12")));
}

#[tokio::test]
async fn weeks_of_a_pupil_who_moves_are_those_of_the_school_to_which_the_pupil_came() {
    let (world, pupil, name) = reviewed_weekly().await;
    give_calendar(&world).await;
    let other = world.school("100002").await;
    let moved = pb::TransferPupilRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(&pupil)),
        from_school: "100001".into(),
        to_school: other,
        start_date: Some(pb_date("2025-10-15")),
        last_date: Some(pb_date("2025-10-14")),
        kind: pb::EnrolmentKind::Sole.into(),
        reason: "moved house".into(),
        changed_by: Some(person()),
        request_id: Uuid::new_v4().to_string(),
        ..pb::TransferPupilRequest::default()
    };
    world.pupils().transfer_pupil(moved).await.unwrap();
    assert_eq!(
        next_of(&world, &name).await,
        Some(pb_date("2025-10-22")),
        "nobody gave that one a calendar"
    );
}
