//! The actions of a whole trust: by due date and then by name, whether somebody has touched them or not.

use std::collections::HashSet;

use super::*;
use pb::ActionState::Withdrawn;

/// A trust with pupils at every stage, whose actions were raised on several days and partly worked on: two schools, and a pupil
/// at both.
struct Busy {
    world: World,
    schools: [String; 2],
    /// Each pupil, and the schools at which the pupil is on roll today.
    pupils: Vec<(String, Vec<String>)>,
}

fn days(stage: pb::Stage, days: i32) -> pb::DaysToDue {
    pb::DaysToDue {
        stage: stage.into(),
        days,
        ..pb::DaysToDue::default()
    }
}

async fn busy() -> Busy {
    use crate::common::world::enrolment;
    use pb::EnrolmentKind::{Main, Sole, Subsidiary};
    let world = World::on("2025-09-26").await;
    let policy = pb::PolicySettings {
        days_to_due: vec![
            days(pb::Stage::One, 14),
            days(pb::Stage::Three, 7),
            pb::DaysToDue {
                provision_id: "3-02".into(),
                days: 2,
                ..pb::DaysToDue::default()
            },
        ],
        ..pb::PolicySettings::default()
    };
    let version = world.policy(policy).await;
    world.activate(version, "").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let [first, second] = &schools;
    let mut pupils = Vec::new();
    let enrolments = |place: usize| match place {
        0 => vec![
            enrolment(first, Main, "2025-09-01", ""),
            enrolment(second, Subsidiary, "2025-09-01", ""),
        ],
        // Has left.
        1 => vec![enrolment(first, Sole, "2025-09-01", "2025-11-07")],
        place if place % 2 == 0 => vec![enrolment(first, Sole, "2025-09-01", "")],
        _ => vec![enrolment(second, Sole, "2025-09-01", "")],
    };
    for (place, missed) in [4, 9, 2, 3, 21, 4, 9, 2].into_iter().enumerate() {
        // Two pupils a day.
        world.turn_to(&format!("2025-10-{:02}", 1 + place / 2));
        let on_roll = enrolments(place);
        let pupil = world.pupil_enrolled(&format!("p{place}"), &on_roll).await;
        let at_both = place == 0;
        let items = attendance(&pupil, first, missed, at_both);
        let taken = world.try_record(vec![items]).await.unwrap();
        assert_eq!(taken.rejections, []);
        let of = on_roll.iter().filter(|enrolment| enrolment.end_date.is_none());
        pupils.push((pupil, of.map(|enrolment| enrolment.school.clone()).collect()));
    }
    let busy = Busy { world, schools, pupils };
    busy.work().await;
    busy
}

/// Four weeks of school, of whose forty sessions the last were missed.
fn attendance(pupil: &str, school: &str, missed: usize, at_both: bool) -> pb::SessionItem {
    let days = school_days("2025-09-01", "2025-09-26", "/", "\\");
    let mut marks: Vec<&str> = days.split(' ').collect();
    let present: Vec<usize> = (0..marks.len()).filter(|place| marks[*place] != "-").collect();
    for place in present.iter().rev().take(missed) {
        marks[*place] = "O";
    }
    let item = crate::common::world::item(pupil, at("2025-09-01", "AM"), &marks.join(" "));
    pb::SessionItem {
        school: if at_both { school.to_owned() } else { String::new() },
        ..item
    }
}

impl Busy {
    /// Some actions are moved, given to people, given other dates; one pupil gets better, one is back at U, and of one it turns
    /// out that a stage was never reached.
    async fn work(&self) {
        let world = &self.world;
        world.turn_to("2025-10-20");
        let actions = world.actions_of(&self.pupils[0].0).await;
        let begun = progress(world, step(world, &actions[0], InProgress, "")).await.unwrap();
        assign(world, given_to(world, &begun, "entra:77")).await.unwrap();
        progress(world, step(world, &actions[2], NotApplicable, "has it"))
            .await
            .unwrap();
        let four = world.actions_of(&self.pupils[1].0).await;
        let given = assign(world, given_to(world, &four[4], "entra:77")).await.unwrap();
        reschedule(world, due_on(world, &given, "2025-12-01")).await.unwrap();
        let early = reschedule(world, due_on(world, &four[20], "2025-10-21")).await.unwrap();
        assign(world, given_to(world, &early, "entra:78")).await.unwrap();
        let five = world.actions_of(&self.pupils[4].0).await;
        let open = five.iter().filter(|action| action.state() == Open).step_by(3);
        for (action, to) in open.zip([InProgress, Completed, InProgress, Cancelled, Completed]) {
            progress(world, step(world, action, to, "as agreed")).await.unwrap();
        }
        world.turn_to(TODAY);
        // From stage 3 to stage 1, and from stage 1 to U and to stage 1 again, in another episode.
        let better = &self.pupils[5].0;
        world.record_days(better, "2025-09-29", "2025-10-09", "/", "\\").await;
        let again = &self.pupils[2].0;
        world.record_days(again, "2025-09-29", "2025-10-03", "/", "\\").await;
        world.record_days(again, "2025-10-06", "2025-10-06", "O", "/").await;
        // The pupil at stage 4 was at school after all, but for the last sessions.
        let corrected = &self.pupils[6].0;
        let actions = world.actions_of(corrected).await;
        let last = actions.last().unwrap();
        assign(world, given_to(world, last, "entra:78")).await.unwrap();
        world
            .record_days(corrected, "2025-09-22", "2025-09-25", "/", "\\")
            .await;
    }

    /// Every action of the trust, pupil by pupil.
    async fn every_action(&self) -> Vec<pb::Action> {
        let mut all = Vec::new();
        for (pupil, _) in &self.pupils {
            all.extend(all_episodes(&self.world, pupil).await);
        }
        all
    }

    fn list(&self) -> pb::ListActionsRequest {
        pb::ListActionsRequest {
            trust_id: self.world.trust_id.clone(),
            ..pb::ListActionsRequest::default()
        }
    }

    /// What is listed, page by page.
    async fn listed(&self, request: &pb::ListActionsRequest, page_size: i32) -> Vec<pb::Action> {
        let (mut found, mut request) = (Vec::new(), request.clone());
        request.page_size = page_size;
        loop {
            let page = self
                .world
                .actions()
                .list_actions(request.clone())
                .await
                .unwrap()
                .into_inner();
            assert!(page.actions.len() <= usize::try_from(page_size).unwrap());
            found.extend(page.actions);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return found;
            }
        }
    }

    fn on_roll_at(&self, action: &pb::Action, school: &str) -> bool {
        let (_, schools) = self.pupils.iter().find(|(pupil, _)| *pupil == action.pupil_id).unwrap();
        schools.iter().any(|on_roll| on_roll == school)
    }
}

fn date(date: &pb::Date) -> (i32, i32, i32) {
    (date.year, date.month, date.day)
}

/// The place of an action in a list: by due date, without one by the day on which it was raised, and then by name.
fn place(action: &pb::Action) -> (bool, (i32, i32, i32), String, i32, String) {
    use graduated_response::grpc::convert::to_date;
    let raised = action.raised_at.unwrap();
    let raised = chrono::DateTime::from_timestamp(raised.seconds, 0)
        .unwrap()
        .date_naive();
    let due = action.due_on.unwrap_or_else(|| to_date(raised));
    let name = (action.pupil_id.clone(), action.episode, action.provision_id.clone());
    (action.due_on.is_none(), date(&due), name.0, name.1, name.2)
}

type Filter<'a> = (
    &'static str,
    Box<dyn Fn(&mut pb::ListActionsRequest) + 'a>,
    Box<dyn Fn(&pb::Action) -> bool + 'a>,
);

fn filters(busy: &Busy) -> Vec<Filter<'_>> {
    let ended = |action: &pb::Action| matches!(action.state(), Completed | NotApplicable | Cancelled | Withdrawn);
    let due_before = |action: &pb::Action, day: (i32, i32, i32)| action.due_on.is_some_and(|due| date(&due) < day);
    vec![
        ("all", Box::new(|_| {}), Box::new(|_| true)),
        (
            "school",
            Box::new(|request| request.school.clone_from(&busy.schools[1])),
            Box::new(|action| busy.on_roll_at(action, &busy.schools[1])),
        ),
        (
            "school by URN",
            Box::new(|request| request.school = "100001".into()),
            Box::new(|action| busy.on_roll_at(action, &busy.schools[0])),
        ),
        (
            "assignee",
            Box::new(|request| request.assignee_id = "entra:77".into()),
            Box::new(|action| action.assignee.as_ref().is_some_and(|who| who.person_id == "entra:77")),
        ),
        (
            "assignee and school",
            Box::new(|request| {
                request.assignee_id = "entra:77".into();
                request.school.clone_from(&busy.schools[0]);
            }),
            Box::new(|action| {
                let theirs = action.assignee.as_ref().is_some_and(|who| who.person_id == "entra:77");
                theirs && busy.on_roll_at(action, &busy.schools[0])
            }),
        ),
        (
            "role",
            Box::new(|request| request.responsible_roles = vec![pb::ResponsibleRole::Trust.into()]),
            Box::new(|action| {
                action
                    .responsible_roles()
                    .any(|role| role == pb::ResponsibleRole::Trust)
            }),
        ),
        (
            "roles",
            Box::new(|request| {
                request.responsible_roles = vec![
                    pb::ResponsibleRole::LocalAuthority.into(),
                    pb::ResponsibleRole::AllStaff.into(),
                ];
            }),
            Box::new(|action| {
                action
                    .responsible_roles()
                    .any(|role| role == pb::ResponsibleRole::LocalAuthority)
            }),
        ),
        (
            "stages",
            Box::new(|request| request.stages = vec![pb::Stage::Universal.into(), pb::Stage::Three.into()]),
            Box::new(|action| action.stage() == pb::Stage::Three),
        ),
        (
            "open",
            Box::new(|request| request.states = vec![Open.into()]),
            Box::new(|action| action.state() == Open),
        ),
        (
            "to be considered or completed",
            Box::new(|request| request.states = vec![Completed.into(), ToBeConsidered.into()]),
            Box::new(|action| matches!(action.state(), Completed | ToBeConsidered)),
        ),
        (
            "withdrawn",
            Box::new(|request| request.states = vec![Withdrawn.into()]),
            Box::new(|action| action.state() == Withdrawn),
        ),
        (
            "due from",
            Box::new(|request| request.due_from = Some(pb_date("2025-10-17"))),
            Box::new(move |action| action.due_on.is_some() && !due_before(action, (2025, 10, 17))),
        ),
        (
            "due to",
            Box::new(|request| request.due_to = Some(pb_date("2025-10-16"))),
            Box::new(move |action| due_before(action, (2025, 10, 17))),
        ),
        (
            "due from and to, at a school",
            Box::new(|request| {
                request.due_from = Some(pb_date("2025-10-08"));
                request.due_to = Some(pb_date("2025-10-16"));
                request.school = "100002".into();
            }),
            Box::new(move |action| {
                let due = due_before(action, (2025, 10, 17)) && !due_before(action, (2025, 10, 8));
                due && busy.on_roll_at(action, &busy.schools[1])
            }),
        ),
        (
            "overdue",
            Box::new(|request| request.overdue = true),
            Box::new(move |action| due_before(action, (2025, 11, 28)) && !ended(action)),
        ),
        (
            "overdue and in progress",
            Box::new(|request| {
                request.overdue = true;
                request.states = vec![InProgress.into(), Completed.into()];
            }),
            Box::new(move |action| due_before(action, (2025, 11, 28)) && action.state() == InProgress),
        ),
        (
            "no longer required",
            Box::new(|request| request.no_longer_required = Some(true)),
            Box::new(|action| action.no_longer_required),
        ),
        (
            "still required",
            Box::new(|request| {
                request.no_longer_required = Some(false);
                request.states = vec![Open.into(), InProgress.into()];
            }),
            Box::new(|action| matches!(action.state(), Open | InProgress) && !action.no_longer_required),
        ),
        (
            "no longer required at a school of a role",
            Box::new(|request| {
                request.no_longer_required = Some(true);
                request.school = "100002".into();
                request.responsible_roles = vec![pb::ResponsibleRole::LocalAuthority.into()];
            }),
            Box::new(|action| {
                let role = action
                    .responsible_roles()
                    .any(|role| role == pb::ResponsibleRole::LocalAuthority);
                action.no_longer_required && role && busy.on_roll_at(action, &busy.schools[1])
            }),
        ),
    ]
}

#[tokio::test]
async fn each_filter_lists_just_what_the_pupils_own_lists_hold_by_due_date_and_then_by_name() {
    let busy = busy().await;
    let mut all = busy.every_action().await;
    all.sort_by_key(place);
    let states: HashSet<i32> = all.iter().map(|action| action.state).collect();
    assert_eq!(states.len(), 7, "every state is there");
    assert!(all.iter().any(|action| action.episode == 2));
    assert!(
        all.iter()
            .any(|action| action.no_longer_required && action.episode == 1)
    );
    assert!(
        all.iter()
            .any(|action| action.etag == "\"0\"" && action.due_on.is_none())
    );
    for (what, ask, holds) in filters(&busy) {
        let mut request = busy.list();
        ask(&mut request);
        let expected: Vec<&pb::Action> = all.iter().filter(|action| holds(action)).collect();
        assert!(!expected.is_empty(), "{what}: the test has nothing to look at");
        for page_size in [1000, 7] {
            let listed = busy.listed(&request, page_size).await;
            let listed: Vec<&pb::Action> = listed.iter().collect();
            let name =
                |actions: &[&pb::Action]| -> Vec<String> { actions.iter().map(|action| action.name.clone()).collect() };
            assert_eq!(name(&listed), name(&expected), "{what}, {page_size} a page");
            assert_eq!(listed, expected, "{what}, {page_size} a page");
        }
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_is_refused_by_field() {
    let (world, _) = world_with_pupil_at(3).await;
    let good = pb::ListActionsRequest {
        trust_id: world.trust_id.clone(),
        page_size: 2,
        ..pb::ListActionsRequest::default()
    };
    let page_token = world
        .actions()
        .list_actions(good.clone())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    assert!(!page_token.is_empty());
    let with = |change: &dyn Fn(&mut pb::ListActionsRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let not_found = (Code::NotFound, "NOT_FOUND".to_owned(), vec![]);
    for (request, refusal) in [
        (
            with(&|request| request.responsible_roles = vec![1, 10]),
            invalid("UNKNOWN_ROLE", "responsible_roles[1]"),
        ),
        (
            with(&|request| request.responsible_roles = vec![0]),
            invalid("UNKNOWN_ROLE", "responsible_roles[0]"),
        ),
        (
            with(&|request| request.stages = vec![7]),
            invalid("UNKNOWN_STAGE", "stages[0]"),
        ),
        (
            with(&|request| request.states = vec![0]),
            invalid("INVALID_ACTION_STATE", "states[0]"),
        ),
        (
            with(&|request| request.school = "12".into()),
            invalid("INVALID_URN", "school"),
        ),
        (
            with(&|request| request.assignee_id = "é".repeat(201)),
            invalid("TEXT_TOO_LONG", "assignee_id"),
        ),
        (
            with(&|request| {
                request.due_from = Some(pb_date("2025-10-02"));
                request.due_to = Some(pb_date("2025-10-01"));
            }),
            invalid("PERIOD_REVERSED", "due_to"),
        ),
        (
            with(&|request| {
                request.overdue = true;
                request.states = vec![Completed.into()];
            }),
            invalid("NEVER_OVERDUE", "states"),
        ),
        (
            with(&|request| {
                request.page_token.clone_from(&page_token);
                request.overdue = true;
            }),
            invalid("UNKNOWN_PAGE_TOKEN", "page_token"),
        ),
        (
            with(&|request| request.page_size = 1001),
            invalid("INVALID_PAGE_SIZE", "page_size"),
        ),
        (with(&|request| request.school = "100009".into()), not_found.clone()),
        (
            with(&|request| request.trust_id = Uuid::new_v4().to_string()),
            not_found.clone(),
        ),
    ] {
        assert_eq!(refused(world.actions().list_actions(request).await), refusal);
    }
}

#[tokio::test]
async fn another_trusts_actions_are_never_listed() {
    let (mut world, pupil) = world_with_pupil_at(3).await;
    let action = world.actions_of(&pupil).await[0].clone();
    assign(&world, given_to(&world, &action, "entra:77")).await.unwrap();
    world.trust_id = world.new_trust("Elm").await;
    for assignee_id in ["", "entra:77"] {
        let request = pb::ListActionsRequest {
            trust_id: world.trust_id.clone(),
            assignee_id: assignee_id.into(),
            ..pb::ListActionsRequest::default()
        };
        assert_eq!(
            world
                .actions()
                .list_actions(request)
                .await
                .unwrap()
                .into_inner()
                .actions,
            []
        );
    }
}
