use proptest::prelude::*;

use super::*;
use crate::domain::person::Person;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn somebody() -> Author {
    Author {
        person_id: String::new(),
        person: Person {
            name: "B. Okafor".into(),
            position: "attendance officer".into(),
        },
    }
}

fn aim(text: &str, by: Option<NaiveDate>) -> Aim {
    Aim {
        aim: text.into(),
        change: String::new(),
        by,
    }
}

fn draft(aims: &[&str], starts_on: Option<NaiveDate>, review_on: NaiveDate) -> CycleDraft {
    CycleDraft {
        aims: aims.iter().map(|text| aim(text, None)).collect(),
        steps: String::new(),
        agreed_by: Vec::new(),
        starts_on,
        review_on,
    }
}

fn review(outcome: Outcome, reviewed_on: Option<NaiveDate>) -> ReviewDraft {
    ReviewDraft {
        found: "Better mornings.".into(),
        comment: String::new(),
        attendees: Vec::new(),
        reviewed_on,
        outcome,
    }
}

fn cycle(number: i32, content: CycleContent, at: DateTime<Utc>) -> Cycle {
    Cycle {
        number,
        content,
        recorded_by: somebody(),
        recorded_at: at,
        review: None,
    }
}

fn made(content: CycleContent, at: DateTime<Utc>) -> Plan {
    Plan {
        plan_id: Uuid::nil(),
        pupil: PupilId(Uuid::nil()),
        episode: 1,
        provision: None,
        started_on: content.starts_on,
        cycles: vec![cycle(1, content, at)],
        end: None,
        version: 1,
        created_at: at,
        updated_at: at,
    }
}

fn noon(date: NaiveDate) -> DateTime<Utc> {
    date.and_hms_opt(12, 0, 0).unwrap().and_utc()
}

/// Writes down what a review makes of a plan, as the store does.
fn write(plan: &mut Plan, asked: &ReviewDraft, after: AfterReview, at: DateTime<Utc>) {
    let current = plan.cycles.last_mut().unwrap();
    current.review = Some(PlanReview {
        found: asked.found.clone(),
        decision: asked.outcome.decision(),
        comment: asked.comment.clone(),
        attendees: Vec::new(),
        reviewed_on: after.reviewed_on,
        recorded_by: somebody(),
        recorded_at: at,
    });
    let number = current.number;
    match after.next {
        Some(content) => plan.cycles.push(cycle(number + 1, content, at)),
        None => {
            plan.end = Some(PlanEnd {
                reason: EndReason::AimsMet,
                comment: String::new(),
                ended_on: after.reviewed_on,
                recorded_by: somebody(),
                recorded_at: at,
            });
        }
    }
    plan.version += 1;
    plan.updated_at = at;
}

#[test]
fn a_cycle_that_is_not_whole_is_refused() {
    let today = day("2025-11-28");
    let later = day("2026-01-09");
    let refused = |draft| first_cycle(draft, today).unwrap_err();
    assert_eq!(refused(draft(&[], None, later)), PlanError::MissingAims);
    assert_eq!(refused(draft(&["a"], None, today)), PlanError::ReviewNotAfterStart);
    assert_eq!(
        refused(draft(&["a"], None, day("2025-11-27"))),
        PlanError::NextReviewInPast
    );
    assert_eq!(
        refused(draft(&["a"], None, day("2029-01-01"))),
        PlanError::NextReviewTooFarAhead
    );
    assert_eq!(
        refused(draft(&["a"], Some(day("2022-01-01")), later)),
        PlanError::StartOutOfRange
    );
    let early = CycleDraft {
        aims: vec![aim("a", None), aim("b", Some(day("2025-11-27")))],
        ..draft(&[], None, later)
    };
    assert_eq!(refused(early), PlanError::AimBeforeStart(1));
    let taken = first_cycle(draft(&["a"], None, later), today).unwrap();
    assert_eq!((taken.starts_on, taken.review_on), (today, later));
}

#[test]
fn a_cycle_that_has_not_begun_can_be_ended_today_and_not_be_reviewed() {
    let today = day("2025-11-28");
    let begins = day("2025-12-01");
    let content = first_cycle(draft(&["a"], Some(begins), day("2026-01-09")), today).unwrap();
    let plan = made(content, noon(today));
    let close = review(Outcome::Close(EndReason::AimsMet), None);
    assert_eq!(plan.reviewed(&close, today), Err(PlanError::ReviewedBeforeStart));
    assert_eq!(plan.ends_on(None, today), Ok(today));
    assert_eq!(
        plan.ends_on(Some(day("2025-11-27")), today),
        Err(PlanError::EndedBeforeStart)
    );
    assert_eq!(plan.ends_on(Some(begins), today), Err(PlanError::EndedInFuture));
}

/// A step of a plan's life: days that pass before it, what is decided, and the days of the review and of the next cycle,
/// counted from that day.
#[derive(Clone, Debug)]
struct Step {
    pass: i64,
    decision: u8,
    reviewed: Option<i64>,
    starts: Option<i64>,
    review: i64,
    aims: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let days = || prop::option::of(-20i64..5);
    (0i64..40, 0u8..8, days(), days(), -3i64..60, 0usize..3).prop_map(
        |(pass, decision, reviewed, starts, review, aims)| Step {
            pass,
            decision,
            reviewed,
            starts,
            review,
            aims,
        },
    )
}

proptest! {
    #[test]
    fn whatever_people_do_a_plans_cycles_follow_each_other_and_each_but_the_last_has_its_review(
        steps in prop::collection::vec(step(), 1..30)
    ) {
        let mut today = day("2025-09-01");
        let content = first_cycle(draft(&["first"], None, day("2025-09-15")), today).unwrap();
        let mut plan = made(content, noon(today));
        let mut written = vec![plan.clone()];
        for (place, step) in steps.into_iter().enumerate() {
            today += chrono::TimeDelta::days(step.pass);
            let on = |days: i64| today + chrono::TimeDelta::days(days);
            let aims: Vec<String> = (0..step.aims).map(|aim| format!("{place}.{aim}")).collect();
            let aims: Vec<&str> = aims.iter().map(String::as_str).collect();
            let next = draft(&aims, step.starts.map(on), on(step.review));
            let outcome = match step.decision {
                0 => Outcome::Close(EndReason::AimsMet),
                1..4 => Outcome::Continue(next),
                _ => Outcome::Change(next),
            };
            let asked = review(outcome, step.reviewed.map(on));
            let Ok(after) = plan.reviewed(&asked, today) else {
                continue;
            };
            prop_assert!(written.last().unwrap().end.is_none(), "a closed plan is never written again");
            write(&mut plan, &asked, after, noon(today));
            written.push(plan.clone());
        }
        for (place, cycle) in plan.cycles.iter().enumerate() {
            prop_assert_eq!(usize::try_from(cycle.number).unwrap(), place + 1);
            prop_assert!(!cycle.content.aims.is_empty());
            prop_assert!(cycle.content.review_on > cycle.content.starts_on);
            let last = place + 1 == plan.cycles.len();
            prop_assert_eq!(cycle.review.is_some(), !last || plan.end.is_some());
            if let (Some(review), Some(next)) = (&cycle.review, plan.cycles.get(place + 1)) {
                prop_assert!(review.reviewed_on >= cycle.content.starts_on);
                prop_assert!(next.content.starts_on >= review.reviewed_on);
                let same_aims = next.content.aims == cycle.content.aims;
                prop_assert_eq!(review.decision == Decision::Continue, same_aims);
            }
        }
        let open = plan.end.is_none();
        prop_assert_eq!(plan.next_review_on().is_some(), open);
        // What it was is told by the version.
        for before in written {
            prop_assert_eq!(plan.clone().at_version(before.version), before);
        }
    }
}
