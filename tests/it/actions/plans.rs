//! Plans of support for pupils: made, reviewed cycle by cycle, closed, and listed by when they are to be reviewed.

use super::*;
use crate::common::world::{enrolment, pupil_input};

fn agreed() -> Vec<pb::Attendee> {
    let attendee = |party: pb::Party, name: &str| pb::Attendee {
        party: party.into(),
        person_name: name.into(),
    };
    vec![
        attendee(pb::Party::Pupil, ""),
        attendee(pb::Party::Parent, "Ms Iqbal"),
        attendee(pb::Party::Staff, "B. Okafor"),
    ]
}

fn aim(text: &str) -> pb::PlanAim {
    pb::PlanAim {
        aim: text.into(),
        change: "In by 8.45 on four days of five.".into(),
        by_date: Some(pb_date("2026-01-30")),
    }
}

fn cycle(review_on: &str) -> pb::PlanCycleInput {
    pb::PlanCycleInput {
        aims: vec![aim("Mornings without a fight"), aim("A friend at the gate")],
        steps: "Breakfast club; the tutor rings on Mondays.".into(),
        agreed_by: agreed(),
        starts_on: None,
        review_on: Some(pb_date(review_on)),
    }
}

fn plan_for(world: &World, pupil: &str) -> pb::CreatePlanRequest {
    pb::CreatePlanRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        action: String::new(),
        cycle: Some(cycle("2026-01-09")),
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn create(world: &World, request: pb::CreatePlanRequest) -> Result<pb::Plan, Status> {
    Ok(world.actions().create_plan(request).await?.into_inner().plan.unwrap())
}

async fn find(world: &World, plan_id: &str) -> Result<pb::Plan, Status> {
    let request = pb::GetPlanRequest {
        trust_id: world.trust_id.clone(),
        plan_id: plan_id.into(),
    };
    Ok(world.actions().get_plan(request).await?.into_inner().plan.unwrap())
}

fn review_of(world: &World, plan: &pb::Plan, decision: pb::PlanDecision) -> pb::ReviewPlanRequest {
    let next = pb::PlanCycleInput {
        aims: Vec::new(),
        ..cycle("2026-02-13")
    };
    pb::ReviewPlanRequest {
        trust_id: world.trust_id.clone(),
        plan_id: plan.plan_id.clone(),
        etag: plan.etag.clone(),
        found: "Three mornings of five.".into(),
        decision: decision.into(),
        comment: "Going the right way.".into(),
        attendees: agreed(),
        reviewed_on: None,
        next_cycle: Some(next),
        end_reason: 0,
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn review(world: &World, request: pb::ReviewPlanRequest) -> Result<pb::Plan, Status> {
    Ok(world.actions().review_plan(request).await?.into_inner().plan.unwrap())
}

fn end_of(world: &World, plan: &pb::Plan) -> pb::ClosePlanRequest {
    pb::ClosePlanRequest {
        trust_id: world.trust_id.clone(),
        plan_id: plan.plan_id.clone(),
        etag: plan.etag.clone(),
        reason: pb::PlanEndReason::PupilLeft.into(),
        comment: String::new(),
        ended_on: None,
        recorded_by: Some(person()),
        request_id: String::new(),
    }
}

async fn close(world: &World, request: pb::ClosePlanRequest) -> Result<pb::Plan, Status> {
    Ok(world.actions().close_plan(request).await?.into_inner().plan.unwrap())
}

fn all_plans(world: &World) -> pb::ListPlansRequest {
    pb::ListPlansRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ListPlansRequest::default()
    }
}

async fn listed(world: &World, request: pb::ListPlansRequest) -> Vec<String> {
    let answer = world.actions().list_plans(request).await.unwrap().into_inner();
    answer.plans.into_iter().map(|plan| plan.plan_id).collect()
}

#[tokio::test]
async fn a_plan_is_kept_as_it_was_agreed_and_goes_through_its_cycles_to_its_end() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let made = create(&world, plan_for(&world, &pupil)).await.unwrap();
    assert_eq!((made.state(), made.episode), (pb::PlanState::Open, 1));
    assert_eq!(made.pupil_id, pupil);
    assert_eq!(
        (made.started_on, made.next_review_on),
        (Some(pb_date(TODAY)), Some(pb_date("2026-01-09")))
    );
    let first = made.cycles[0].clone();
    assert_eq!(
        (first.number, first.aims.clone(), first.agreed_by.clone()),
        (1, cycle("2026-01-09").aims, agreed())
    );
    assert_eq!(first.recorded_by, Some(person()));
    assert_eq!(first.review, None);
    assert_eq!(find(&world, &made.plan_id).await.unwrap(), made);

    world.turn_to("2026-01-12");
    let overdue = find(&world, &made.plan_id).await.unwrap();
    assert!(overdue.review_overdue && !made.review_overdue);
    let going_on = review(&world, review_of(&world, &made, pb::PlanDecision::Continue))
        .await
        .unwrap();
    assert_eq!(going_on.cycles.len(), 2);
    assert_eq!(going_on.cycles[1].aims, first.aims, "the same aims");
    assert_eq!(going_on.cycles[1].starts_on, Some(pb_date("2026-01-12")));
    assert_eq!(going_on.next_review_on, Some(pb_date("2026-02-13")));
    let told = going_on.cycles[0].review.clone().unwrap();
    assert_eq!(
        (told.found.as_str(), told.decision()),
        ("Three mornings of five.", pb::PlanDecision::Continue)
    );
    assert_eq!(
        (told.reviewed_on, told.attendees.len()),
        (Some(pb_date("2026-01-12")), 3)
    );

    world.turn_to("2026-02-13");
    let mut other = review_of(&world, &going_on, pb::PlanDecision::Change);
    other.next_cycle = Some(pb::PlanCycleInput {
        aims: vec![pb::PlanAim {
            by_date: None,
            ..aim("Fridays")
        }],
        ..cycle("2026-03-20")
    });
    let changed = review(&world, other).await.unwrap();
    assert_eq!(changed.cycles[2].aims[0].aim, "Fridays");

    world.turn_to("2026-03-20");
    let last = pb::ReviewPlanRequest {
        next_cycle: None,
        end_reason: pb::PlanEndReason::AimsMet.into(),
        ..review_of(&world, &changed, pb::PlanDecision::Close)
    };
    let closed = review(&world, last).await.unwrap();
    assert_eq!((closed.state(), closed.cycles.len()), (pb::PlanState::Closed, 3));
    assert_eq!(closed.next_review_on, None);
    let end = closed.end.clone().unwrap();
    assert_eq!(
        (end.reason(), end.ended_on),
        (pb::PlanEndReason::AimsMet, Some(pb_date("2026-03-20")))
    );
    // What was recorded first is as it was.
    assert_eq!(closed.cycles[..2], changed.cycles[..2]);
    assert_eq!(find(&world, &made.plan_id).await.unwrap(), closed);
    // It is over.
    for asked in [pb::PlanDecision::Continue, pb::PlanDecision::Close] {
        let mut again = review_of(&world, &closed, asked);
        if asked == pb::PlanDecision::Close {
            again.next_cycle = None;
            again.end_reason = pb::PlanEndReason::AimsMet.into();
        }
        assert_eq!(
            refused(review(&world, again).await),
            (Code::FailedPrecondition, "PLAN_CLOSED".into(), vec![])
        );
    }
    let again = refused(close(&world, end_of(&world, &closed)).await);
    assert_eq!(again, (Code::FailedPrecondition, "PLAN_CLOSED".into(), vec![]));
}

#[tokio::test]
async fn a_plan_and_its_reviews_begin_and_stand_in_the_log_of_the_action_that_asks_for_it() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let asks = world.actions_of(&pupil).await;
    let asks = asks.iter().find(|action| action.state() == Open).unwrap().clone();
    let request = pb::CreatePlanRequest {
        pupil: None,
        action: asks.name.clone(),
        ..plan_for(&world, &pupil)
    };
    let plan = create(&world, request).await.unwrap();
    assert_eq!((&plan.action, &plan.pupil_id), (&asks.name, &pupil));
    let begun = get(&world, &world.trust_id, &asks.name).await.unwrap();
    assert_eq!(begun.state(), InProgress);
    assert!(begun.begun_at.is_some());
    let plan = review(&world, review_of(&world, &plan, pb::PlanDecision::Continue))
        .await
        .unwrap();
    close(&world, end_of(&world, &plan)).await.unwrap();
    let told = log(&world, &asks.name)
        .await
        .into_iter()
        .filter_map(|entry| match entry.entry {
            Some(pb::action_entry::Entry::PlanChange(change)) => {
                assert_eq!(change.plan_id, plan.plan_id);
                Some((change.kind(), change.cycle))
            }
            _ => None,
        });
    let told: Vec<_> = told.collect();
    use pb::PlanChangeKind::{Closed, Created, Reviewed};
    assert_eq!(told, [(Created, 1), (Reviewed, 1), (Closed, 2)]);
    assert_eq!(log(&world, &asks.name).await.len(), 4, "and the move that began it");
}

#[tokio::test]
async fn a_plan_that_is_not_whole_is_refused_by_field_and_keeps_nothing() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let other = world.pupil("b", &world.school("100002").await).await;
    let long = |length: usize| "é".repeat(length + 1);
    let mut cases: Vec<(pb::CreatePlanRequest, &str, &str)> = Vec::new();
    let mut of = |reason, field, change: &dyn Fn(&mut pb::CreatePlanRequest)| {
        let mut asked = plan_for(&world, &pupil);
        change(&mut asked);
        cases.push((asked, reason, field));
    };
    of("MISSING_PUPIL", "pupil", &|asked| asked.pupil = None);
    of("INVALID_ACTION_NAME", "action", &|asked| asked.action = "3-02".into());
    of("OTHER_PUPIL", "action", &|asked| {
        asked.action = format!("pupils/{pupil}/episodes/1/actions/3-02");
        asked.pupil = Some(by_id(&other));
    });
    of("MISSING_CYCLE", "cycle", &|asked| asked.cycle = None);
    of("MISSING_PERSON", "recorded_by", &|asked| asked.recorded_by = None);
    let mut of = |reason, field, change: &dyn Fn(&mut pb::PlanCycleInput)| {
        let mut asked = plan_for(&world, &pupil);
        change(asked.cycle.as_mut().unwrap());
        cases.push((asked, reason, field));
    };
    of("MISSING_AIMS", "cycle.aims", &|asked| asked.aims.clear());
    of("TOO_MANY", "cycle.aims", &|asked| asked.aims = vec![aim("again"); 21]);
    of("MISSING_TEXT", "cycle.aims[1].aim", &|asked| {
        asked.aims[1].aim = " ".into()
    });
    of("TEXT_TOO_LONG", "cycle.aims[0].change", &|asked| {
        asked.aims[0].change = long(1000)
    });
    of("BEFORE_START", "cycle.aims[1].by_date", &|asked| {
        asked.aims[1].by_date = Some(pb_date("2025-11-27"));
    });
    of("TEXT_TOO_LONG", "cycle.steps", &|asked| asked.steps = long(4000));
    of("UNKNOWN_PARTY", "cycle.agreed_by[0].party", &|asked| {
        asked.agreed_by[0].party = 0
    });
    of("TOO_MANY", "cycle.agreed_by", &|asked| {
        asked.agreed_by = vec![asked.agreed_by[0].clone(); 51]
    });
    of("MISSING_DATE", "cycle.review_on", &|asked| asked.review_on = None);
    of("IN_PAST", "cycle.review_on", &|asked| {
        asked.review_on = Some(pb_date("2025-11-27"))
    });
    of("NOT_AFTER_START", "cycle.review_on", &|asked| {
        asked.review_on = Some(pb_date(TODAY))
    });
    of("TOO_FAR_AHEAD", "cycle.review_on", &|asked| {
        asked.review_on = Some(pb_date("2029-01-01"))
    });
    of("OUT_OF_RANGE", "cycle.starts_on", &|asked| {
        asked.starts_on = Some(pb_date("2020-01-01"))
    });
    for (asked, reason, field) in cases {
        let found = refused(create(&world, asked.clone()).await);
        assert_eq!(found, invalid(reason, field), "{asked:?}");
    }
    // A pupil who was never below stage U has no episode for it.
    let never = refused(create(&world, plan_for(&world, &other)).await);
    assert_eq!(never, (Code::FailedPrecondition, "NO_EPISODE".into(), vec![]));
    let nobody = refused(create(&world, plan_for(&world, &Uuid::new_v4().to_string())).await);
    assert_eq!(nobody.0, Code::NotFound);
    assert_eq!(listed(&world, all_plans(&world)).await, [""; 0]);
    assert_eq!(
        refused(find(&world, &Uuid::new_v4().to_string()).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn a_review_or_an_end_that_cannot_be_is_refused_by_field_and_changes_nothing() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let plan = create(&world, plan_for(&world, &pupil)).await.unwrap();
    let mut cases: Vec<(pb::ReviewPlanRequest, &str, &str)> = Vec::new();
    let mut of = |reason, field, change: &dyn Fn(&mut pb::ReviewPlanRequest)| {
        let mut asked = review_of(&world, &plan, pb::PlanDecision::Continue);
        change(&mut asked);
        cases.push((asked, reason, field));
    };
    of("BEFORE_START", "reviewed_on", &|asked| {
        asked.reviewed_on = Some(pb_date("2025-11-27"))
    });
    of("IN_FUTURE", "reviewed_on", &|asked| {
        asked.reviewed_on = Some(pb_date("2025-11-29"))
    });
    of("MISSING_TEXT", "found", &|asked| asked.found.clear());
    of("UNKNOWN_DECISION", "decision", &|asked| asked.decision = 0);
    of("MISSING_ETAG", "etag", &|asked| asked.etag.clear());
    of("MISSING_CYCLE", "next_cycle", &|asked| asked.next_cycle = None);
    of("UNEXPECTED_AIMS", "next_cycle.aims", &|asked| {
        asked.next_cycle.as_mut().unwrap().aims = vec![aim("another")];
    });
    of("MISSING_AIMS", "next_cycle.aims", &|asked| {
        asked.decision = pb::PlanDecision::Change.into()
    });
    of("BEFORE_REVIEW", "next_cycle.starts_on", &|asked| {
        asked.next_cycle.as_mut().unwrap().starts_on = Some(pb_date("2025-11-27"));
    });
    of("UNEXPECTED_END_REASON", "end_reason", &|asked| asked.end_reason = 1);
    of("UNEXPECTED_CYCLE", "next_cycle", &|asked| {
        asked.decision = pb::PlanDecision::Close.into();
        asked.end_reason = 1;
    });
    of("UNKNOWN_END_REASON", "end_reason", &|asked| {
        asked.decision = pb::PlanDecision::Close.into();
        asked.next_cycle = None;
    });
    of("MISSING_TEXT", "comment", &|asked| {
        asked.decision = pb::PlanDecision::Close.into();
        asked.next_cycle = None;
        asked.end_reason = pb::PlanEndReason::Other.into();
        asked.comment.clear();
    });
    for (asked, reason, field) in cases {
        let found = refused(review(&world, asked.clone()).await);
        assert_eq!(found, invalid(reason, field), "{asked:?}");
    }
    let end = |change: &dyn Fn(&mut pb::ClosePlanRequest)| {
        let mut asked = end_of(&world, &plan);
        change(&mut asked);
        asked
    };
    for (asked, reason, field) in [
        (end(&|asked| asked.reason = 8), "UNKNOWN_END_REASON", "reason"),
        (
            end(&|asked| asked.reason = pb::PlanEndReason::Other.into()),
            "MISSING_TEXT",
            "comment",
        ),
        (
            end(&|asked| asked.ended_on = Some(pb_date("2025-11-27"))),
            "BEFORE_START",
            "ended_on",
        ),
        (
            end(&|asked| asked.ended_on = Some(pb_date("2025-11-29"))),
            "IN_FUTURE",
            "ended_on",
        ),
    ] {
        assert_eq!(refused(close(&world, asked).await), invalid(reason, field));
    }
    assert_eq!(find(&world, &plan.plan_id).await.unwrap(), plan);
}

#[tokio::test]
async fn of_two_people_who_review_a_plan_at_once_one_has_to_read_again() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let plan = create(&world, plan_for(&world, &pupil)).await.unwrap();
    let ask = || review(&world, review_of(&world, &plan, pb::PlanDecision::Continue));
    let answers = [ask(), ask(), ask(), ask()];
    let answers = futures::future::join_all(answers).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_eq!(
            refused(answer),
            (Code::Aborted, "STALE_ETAG".into(), vec!["etag".into()])
        );
    }
    assert_eq!(find(&world, &plan.plan_id).await.unwrap().cycles.len(), 2);
}

#[tokio::test]
async fn a_retry_of_a_plan_or_a_review_gets_the_first_answer_and_changes_nothing() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let request_id = || Uuid::new_v4().to_string();
    let asked = pb::CreatePlanRequest {
        request_id: request_id(),
        ..plan_for(&world, &pupil)
    };
    let made = create(&world, asked.clone()).await.unwrap();
    let first = pb::ReviewPlanRequest {
        request_id: request_id(),
        ..review_of(&world, &made, pb::PlanDecision::Continue)
    };
    let reviewed = review(&world, first.clone()).await.unwrap();
    let last = pb::ClosePlanRequest {
        request_id: request_id(),
        ..end_of(&world, &reviewed)
    };
    let closed = close(&world, last.clone()).await.unwrap();
    assert_eq!(create(&world, asked.clone()).await.unwrap(), made);
    assert_eq!(review(&world, first.clone()).await.unwrap(), reviewed);
    assert_eq!(close(&world, last).await.unwrap(), closed);
    let another = pb::CreatePlanRequest {
        cycle: Some(cycle("2026-01-16")),
        ..asked
    };
    assert_eq!(
        refused(create(&world, another).await),
        invalid("REQUEST_ID_REUSED", "request_id")
    );
    let under_another_name = pb::ReviewPlanRequest {
        found: "Other things.".into(),
        ..first
    };
    assert_eq!(
        refused(review(&world, under_another_name).await),
        invalid("REQUEST_ID_REUSED", "request_id")
    );
    assert_eq!(listed(&world, all_plans(&world)).await.len(), 1);
    assert_eq!(find(&world, &made.plan_id).await.unwrap(), closed);
}

#[tokio::test]
async fn plans_are_listed_by_their_next_review_and_closed_ones_after_them_page_by_page() {
    let world = World::on(TODAY).await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let mut plans = Vec::new();
    // The later the pupil, the sooner the review.
    for number in 0..8 {
        let school = &schools[number % 2];
        let inputs = vec![pupil_input(
            &format!("p{number}"),
            &[enrolment(school, pb::EnrolmentKind::Sole, "2025-09-01", "")],
        )];
        let pupil = world.upsert(inputs).await.unwrap().pupil_ids.remove(0);
        attend_september(&world, &pupil, MISSED_OF_FORTY[2]).await;
        let request = pb::CreatePlanRequest {
            cycle: Some(cycle(&format!("2025-12-{:02}", 20 - number))),
            ..plan_for(&world, &pupil)
        };
        plans.push(create(&world, request).await.unwrap());
    }
    for place in [6, 7] {
        close(&world, end_of(&world, &plans[place])).await.unwrap();
    }
    let ids = |places: &[usize]| {
        places
            .iter()
            .map(|place| plans[*place].plan_id.clone())
            .collect::<Vec<_>>()
    };
    let mut closed = ids(&[6, 7]);
    closed.sort_unstable();
    let all = [ids(&[5, 4, 3, 2, 1, 0]), closed].concat();
    assert_eq!(listed(&world, all_plans(&world)).await, all);
    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListPlansRequest {
            page_size: 3,
            page_token,
            ..all_plans(&world)
        };
        let page = world.actions().list_plans(request).await.unwrap().into_inner();
        assert!(page.plans.iter().all(|plan| plan.cycles.len() == 1));
        paged.extend(page.plans.into_iter().map(|plan| plan.plan_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    let by = |change: &dyn Fn(&mut pb::ListPlansRequest)| {
        let mut request = all_plans(&world);
        change(&mut request);
        request
    };
    let open: i32 = pb::PlanState::Open.into();
    let of_school = by(&|asked| {
        asked.school = "100001".into();
        asked.state = open;
    });
    assert_eq!(listed(&world, of_school).await, ids(&[4, 2, 0]));
    let of_pupil = by(&|asked| asked.pupil = Some(by_id(&plans[3].pupil_id)));
    assert_eq!(listed(&world, of_pupil).await, ids(&[3]));
    let between = by(&|asked| {
        asked.review_from = Some(pb_date("2025-12-17"));
        asked.review_to = Some(pb_date("2025-12-18"));
    });
    assert_eq!(listed(&world, between).await, ids(&[3, 2]));
    world.turn_to("2025-12-17");
    assert_eq!(
        listed(&world, by(&|asked| asked.review_overdue = true)).await,
        ids(&[5, 4])
    );
    let answer = async |request| world.actions().list_plans(request).await;
    let contradicting = by(&|asked| {
        asked.review_overdue = true;
        asked.state = pb::PlanState::Closed.into();
    });
    assert_eq!(refused(answer(contradicting).await), invalid("NEVER_OVERDUE", "state"));
    let reversed = by(&|asked| {
        asked.review_from = Some(pb_date("2025-12-18"));
        asked.review_to = Some(pb_date("2025-12-17"));
    });
    assert_eq!(refused(answer(reversed).await), invalid("PERIOD_REVERSED", "review_to"));
    assert_eq!(
        refused(answer(by(&|asked| asked.state = 3)).await),
        invalid("UNKNOWN_PLAN_STATE", "state")
    );
}

#[tokio::test]
async fn a_plan_goes_with_its_pupils_record_into_another_and_back() {
    let (world, pupil) = world_with_pupil_at(3).await;
    let asks = world.actions_of(&pupil).await[0].clone();
    let request = pb::CreatePlanRequest {
        action: asks.name.clone(),
        ..plan_for(&world, &pupil)
    };
    let plan = create(&world, request).await.unwrap();
    let survivor = world.pupil_enrolled("b", &[]).await;
    let merged = world.merge(&survivor, &pupil).await;
    let moved = find(&world, &plan.plan_id).await.unwrap();
    assert_eq!(moved.pupil_id, survivor);
    assert!(moved.action.starts_with(&format!("pupils/{survivor}/")));
    let moved = review(&world, review_of(&world, &moved, pb::PlanDecision::Continue))
        .await
        .unwrap();
    world.try_unmerge(&merged.merge_id).await.unwrap();
    let back = find(&world, &plan.plan_id).await.unwrap();
    assert_eq!(
        (&back.pupil_id, &back.action, &back.cycles),
        (&pupil, &asks.name, &moved.cycles)
    );
}
