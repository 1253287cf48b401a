//! Attendance before and after work on actions, beside that of pupils at the same stage without.

use graduated_response::proto as pb;
use graduated_response::service::Limits;
use tonic::{Code, Status};

use crate::common::world::{at, pb_date, person, refused, school_days};
use crate::common::{World, day};

/// On which the work began: a Friday.
const BEGAN: &str = "2025-10-10";
/// By which six weeks after it are over.
const TODAY: &str = "2025-12-12";

fn request(world: &World) -> pb::SummarizeActionOutcomesRequest {
    pb::SummarizeActionOutcomesRequest {
        trust_id: world.trust_id.clone(),
        ..pb::SummarizeActionOutcomesRequest::default()
    }
}

async fn try_summarize(
    world: &World,
    request: pb::SummarizeActionOutcomesRequest,
) -> Result<pb::SummarizeActionOutcomesResponse, Status> {
    Ok(world.actions().summarize_action_outcomes(request).await?.into_inner())
}

async fn groups(world: &World, request: pb::SummarizeActionOutcomesRequest) -> Vec<pb::OutcomeGroup> {
    try_summarize(world, request).await.unwrap().groups
}

/// Marks of the school days of a period, of which the first sessions were missed.
async fn attend(world: &World, pupil: &str, (from, to): (&str, &str), missed: usize) {
    let run = school_days(from, to, "/", "\\");
    let mut left = missed;
    let marks = run.split(' ').map(|mark| {
        if mark == "-" || left == 0 {
            return mark;
        }
        left -= 1;
        "O"
    });
    let run: Vec<&str> = marks.collect();
    world.record(pupil, at(from, "AM"), &run.join(" ")).await;
}

/// Records a note on the pupil's first action of the stage, which begins it.
async fn begin(world: &World, pupil: &str, provision: &str) -> pb::Action {
    let actions = world.actions_of(pupil).await;
    let action = actions.iter().find(|action| action.provision_id == provision).unwrap();
    let request = pb::AddActionEntryRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        entry: Some(pb::add_action_entry_request::Entry::Note(pb::Note {
            text: "Begun.".into(),
        })),
        recorded_by: Some(person()),
        ..pb::AddActionEntryRequest::default()
    };
    world
        .actions()
        .add_action_entry(request)
        .await
        .unwrap()
        .into_inner()
        .action
        .unwrap()
}

async fn complete(world: &World, action: &pb::Action) {
    let request = pb::ProgressActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        to_state: pb::ActionState::Completed.into(),
        recorded_by: Some(person()),
        ..pb::ProgressActionRequest::default()
    };
    world.actions().progress_action(request).await.unwrap();
}

/// Two weeks before and after, so that the figures can be worked out by hand.
const WEEKS: i32 = 2;

/// A world with a pupil for each entry: the school, the sessions missed of the twenty in the two weeks before, those missed of
/// the twenty in the two weeks after, and whether work on 4-01 began on the day. All are at stage 4 then.
async fn world_with(pupils: &[(&str, usize, usize, bool)]) -> (World, Vec<String>) {
    world_with_limit(pupils, Limits::default()).await
}

async fn world_with_limit(pupils: &[(&str, usize, usize, bool)], limits: Limits) -> (World, Vec<String>) {
    let world = World::with_limits(BEGAN, limits).await;
    for urn in ["100001", "100002"] {
        world.school(urn).await;
    }
    let mut ids = Vec::new();
    for (number, (school, before, _, _)) in pupils.iter().enumerate() {
        let pupil = world.pupil(&format!("pupil {number}"), school).await;
        // September: 14 of 38 missed, so that whatever the two weeks hold the pupil is at stage 4.
        attend(&world, &pupil, ("2025-09-01", "2025-09-25"), 14).await;
        // The two weeks before the day, and the day itself, which counts for neither.
        attend(&world, &pupil, ("2025-09-26", "2025-10-09"), *before).await;
        world.record(&pupil, at(BEGAN, "AM"), "O O").await;
        assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four, "pupil {number}");
        ids.push(pupil);
    }
    for ((_, _, _, with), pupil) in pupils.iter().zip(&ids) {
        if *with {
            begin(&world, pupil, "4-01").await;
        }
    }
    world.turn_to(TODAY);
    for ((_, _, after, _), pupil) in pupils.iter().zip(&ids) {
        attend(&world, pupil, ("2025-10-13", "2025-10-24"), *after).await;
    }
    (world, ids)
}

fn counted(value: i32) -> Option<pb::Count> {
    Some(pb::Count {
        value,
        suppressed: false,
    })
}

fn tally(attended: i64, possible: i64) -> Option<pb::Tally> {
    Some(pb::Tally {
        attended,
        possible,
        authorised: 0,
        unauthorised: possible - attended,
    })
}

#[tokio::test]
async fn attendance_before_and_after_is_told_beside_that_of_pupils_at_the_same_stage_without() {
    let (world, _) = world_with(&[
        ("100001", 6, 2, true),
        ("100001", 4, 4, true),
        ("100001", 5, 6, true),
        ("100002", 8, 7, true),
        ("100001", 6, 6, false),
        ("100002", 4, 1, false),
    ])
    .await;
    let found = try_summarize(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: WEEKS,
            ..request(&world)
        },
    )
    .await
    .unwrap();
    assert_eq!(
        (found.from_date, found.to_date),
        (Some(pb_date("2025-08-01")), Some(pb_date(TODAY)))
    );
    assert_eq!((found.weeks, found.small_number_limit), (2, 0));
    let [group] = &found.groups[..] else {
        panic!("{:?}", found.groups);
    };
    assert_eq!((group.provision_id.as_str(), group.stage()), ("4-01", pb::Stage::Four));
    assert!(!group.title.is_empty() && group.school_id.is_empty());
    // Of twenty sessions each: 14, 16, 15, 12 before; 18, 16, 14, 13 after. Differences +20, 0, -5, +5 points: sorted -5, 0, 5,
    // 20, of which the quartiles are -1.25, 2.5 and 8.75.
    let with = pb::OutcomeFigures {
        pupils: counted(4),
        before: tally(57, 80),
        after: tally(61, 80),
        before_percent: "71.3".into(),
        after_percent: "76.3".into(),
        lower_quartile_points: "-1.3".into(),
        median_points: "+2.5".into(),
        upper_quartile_points: "+8.8".into(),
    };
    assert_eq!(group.with_action.as_ref(), Some(&with));
    // 14 and 16 before, 14 and 19 after: 0 and +15.
    let without = pb::OutcomeFigures {
        pupils: counted(2),
        before: tally(30, 40),
        after: tally(33, 40),
        before_percent: "75.0".into(),
        after_percent: "82.5".into(),
        lower_quartile_points: "+3.8".into(),
        median_points: "+7.5".into(),
        upper_quartile_points: "+11.3".into(),
    };
    assert_eq!(group.without_action.as_ref(), Some(&without));
    assert_eq!(
        (group.pupils_too_recent, group.pupils_without_sessions),
        (counted(0), counted(0))
    );

    // By school, each beside its own.
    let by_school = groups(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: WEEKS,
            grouping: pb::OutcomeGrouping::School.into(),
            ..request(&world)
        },
    )
    .await;
    let told: Vec<_> = by_school
        .iter()
        .map(|group| {
            let (with, without) = (
                group.with_action.clone().unwrap(),
                group.without_action.clone().unwrap(),
            );
            (
                group.urn.as_str(),
                with.pupils,
                with.median_points,
                without.pupils,
                without.median_points,
            )
        })
        .collect();
    let expected = [
        ("100001", counted(3), "0.0".to_owned(), counted(1), "0.0".to_owned()),
        ("100002", counted(1), "+5.0".to_owned(), counted(1), "+15.0".to_owned()),
    ];
    assert_eq!(told, expected);
    // Of one school alone, by provision.
    let of_school = groups(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: WEEKS,
            school: "100002".into(),
            ..request(&world)
        },
    )
    .await;
    assert_eq!(of_school.len(), 1);
    assert_eq!(of_school[0].with_action.as_ref().unwrap().pupils, counted(1));
    assert_eq!(of_school[0].without_action.as_ref().unwrap().pupils, counted(1));
}

#[tokio::test]
async fn who_is_at_another_stage_or_ever_had_the_action_is_not_among_those_without() {
    let (world, pupils) = world_with(&[("100001", 6, 2, true), ("100001", 4, 4, false), ("100001", 4, 3, false)]).await;
    // One who is at stage 1 on the day, one who begins the action long after it, and one who begins another one.
    let other = world.pupil("at stage 1", "100001").await;
    attend(&world, &other, ("2025-09-01", "2025-10-24"), 3).await;
    begin(&world, &pupils[1], "4-01").await;
    begin(&world, &pupils[2], "4-02").await;
    let of = |grouping: pb::OutcomeGrouping, provisions: &[&str]| pb::SummarizeActionOutcomesRequest {
        weeks: WEEKS,
        grouping: grouping.into(),
        provision_ids: provisions.iter().map(|id| (*id).to_owned()).collect(),
        to_date: Some(pb_date("2025-10-31")),
        ..request(&world)
    };
    let found = groups(&world, of(pb::OutcomeGrouping::Provision, &[])).await;
    assert_eq!(
        found
            .iter()
            .map(|group| group.provision_id.as_str())
            .collect::<Vec<_>>(),
        ["4-01"]
    );
    let without = found[0].without_action.clone().unwrap();
    assert_eq!(
        (without.pupils, without.before, without.after),
        (counted(1), tally(16, 20), tally(17, 20))
    );
    // By school no action of any provision counts as one without, but where it was not asked for.
    let without = async |provisions: &[&str]| {
        let found = groups(&world, of(pb::OutcomeGrouping::School, provisions)).await;
        found[0].without_action.clone().unwrap().pupils
    };
    assert_eq!(without(&[]).await, counted(0));
    assert_eq!(without(&["4-01"]).await, counted(1));
    assert_eq!(groups(&world, of(pb::OutcomeGrouping::School, &["4-02"])).await, []);
}

#[tokio::test]
async fn who_cannot_be_counted_yet_or_at_all_is_told() {
    let (world, pupils) = world_with(&[("100001", 6, 2, true), ("100001", 6, 2, false), ("100001", 6, 2, false)]).await;
    begin(&world, &pupils[1], "4-01").await;
    // Work began in the weeks after the last mark.
    let found = groups(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: WEEKS,
            ..request(&world)
        },
    )
    .await;
    assert_eq!(
        (found[0].with_action.clone().unwrap().pupils, found[0].pupils_too_recent),
        (counted(1), counted(1))
    );
    world.turn_to("2026-01-16");
    let found = groups(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: WEEKS,
            ..request(&world)
        },
    )
    .await;
    assert_eq!(
        (found[0].pupils_too_recent, found[0].pupils_without_sessions),
        (counted(0), counted(1))
    );
    // Twenty weeks after the tenth of October are not over in January.
    let found = groups(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: 20,
            ..request(&world)
        },
    )
    .await;
    assert_eq!(
        (found[0].with_action.clone().unwrap().pupils, found[0].pupils_too_recent),
        (counted(0), counted(2))
    );
}

#[tokio::test]
async fn few_pupils_are_not_told_of_where_small_numbers_are_suppressed() {
    let limits = Limits {
        small_number_limit: 3,
        ..Limits::default()
    };
    let pupils = [
        ("100001", 6, 2, true),
        ("100001", 4, 4, true),
        ("100001", 5, 6, true),
        ("100001", 6, 6, false),
        ("100001", 4, 1, false),
    ];
    let (world, _) = world_with_limit(&pupils, limits).await;
    let found = try_summarize(
        &world,
        pb::SummarizeActionOutcomesRequest {
            weeks: WEEKS,
            suppress_small_numbers: true,
            ..request(&world)
        },
    )
    .await
    .unwrap();
    assert_eq!(found.small_number_limit, 3);
    let group = &found.groups[0];
    assert_eq!(group.with_action.as_ref().unwrap().pupils, counted(3));
    assert!(!group.with_action.as_ref().unwrap().median_points.is_empty());
    let nothing = pb::OutcomeFigures {
        pupils: Some(pb::Count {
            value: 0,
            suppressed: true,
        }),
        ..pb::OutcomeFigures::default()
    };
    assert_eq!(group.without_action.as_ref(), Some(&nothing));
    assert_eq!(group.pupils_too_recent, counted(0), "a real 0 is shown");
}

fn list_request(world: &World) -> pb::ListActionOutcomesRequest {
    pb::ListActionOutcomesRequest {
        trust_id: world.trust_id.clone(),
        weeks: WEEKS,
        ..pb::ListActionOutcomesRequest::default()
    }
}

async fn list(world: &World, request: pb::ListActionOutcomesRequest) -> pb::ListActionOutcomesResponse {
    world
        .actions()
        .list_action_outcomes(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn each_pupils_attendance_before_and_after_is_listed_page_by_page() {
    let (world, pupils) = world_with(&[("100001", 6, 2, true), ("100002", 4, 4, true), ("100001", 5, 6, false)]).await;
    let begun = begin(&world, &pupils[2], "4-02").await;
    let all = list(&world, list_request(&world)).await.outcomes;
    let mut expected = vec![
        (
            pupils[0].as_str(),
            "4-01",
            day(BEGAN),
            tally(14, 20),
            tally(18, 20),
            "+20.0",
            true,
        ),
        (
            pupils[1].as_str(),
            "4-01",
            day(BEGAN),
            tally(16, 20),
            tally(16, 20),
            "0.0",
            true,
        ),
        // The weeks before hold no mark, and those after are to come.
        (
            pupils[2].as_str(),
            "4-02",
            day(TODAY),
            tally(0, 0),
            tally(0, 0),
            "",
            false,
        ),
    ];
    expected.sort_by_key(|row| row.0);
    let told = all.iter().map(|row| {
        let date = row.day.unwrap();
        let date = chrono::NaiveDate::from_ymd_opt(date.year, date.month as u32, date.day as u32).unwrap();
        (
            row.pupil_id.as_str(),
            row.provision_id.as_str(),
            date,
            row.before,
            row.after,
            row.points.as_str(),
            row.weeks_over,
        )
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(all.iter().any(|row| row.action_name == begun.name));
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = list(
            &world,
            pb::ListActionOutcomesRequest {
                page_size: 1,
                page_token,
                ..list_request(&world)
            },
        )
        .await;
        paged.extend(page.outcomes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, all);
    let of_school = list(
        &world,
        pb::ListActionOutcomesRequest {
            school: "100002".into(),
            ..list_request(&world)
        },
    )
    .await;
    assert_eq!(
        of_school
            .outcomes
            .iter()
            .map(|row| row.pupil_id.as_str())
            .collect::<Vec<_>>(),
        [&pupils[1]]
    );
}

#[tokio::test]
async fn completion_is_the_last_one_and_only_of_what_is_completed_now() {
    let (world, pupils) = world_with(&[("100001", 6, 2, true), ("100001", 4, 4, true)]).await;
    world.turn_to("2025-10-20");
    for pupil in &pupils {
        let actions = world.actions_of(pupil).await;
        complete(
            &world,
            actions.iter().find(|action| action.provision_id == "4-01").unwrap(),
        )
        .await;
    }
    world.turn_to("2025-12-01");
    let action = world.actions_of(&pupils[1]).await;
    let action = action.iter().find(|action| action.provision_id == "4-01").unwrap();
    let reopen = pb::ProgressActionRequest {
        trust_id: world.trust_id.clone(),
        name: action.name.clone(),
        etag: action.etag.clone(),
        to_state: pb::ActionState::Open.into(),
        reason: "absent again".into(),
        recorded_by: Some(person()),
        ..pb::ProgressActionRequest::default()
    };
    let reopened = world
        .actions()
        .progress_action(reopen)
        .await
        .unwrap()
        .into_inner()
        .action
        .unwrap();
    let completed = || pb::ListActionOutcomesRequest {
        milestone: pb::ActionMilestone::Completed.into(),
        ..list_request(&world)
    };
    let rows = list(&world, completed()).await.outcomes;
    assert_eq!(
        rows.iter()
            .map(|row| (row.pupil_id.as_str(), row.day))
            .collect::<Vec<_>>(),
        [(pupils[0].as_str(), Some(pb_date("2025-10-20")))]
    );
    complete(&world, &reopened).await;
    let rows = list(&world, completed()).await.outcomes;
    let again = rows.iter().find(|row| row.pupil_id == pupils[1]).unwrap();
    assert_eq!((rows.len(), again.day), (2, Some(pb_date("2025-12-01"))));
    // When it began stays when it began.
    let begun = list(&world, list_request(&world)).await.outcomes;
    assert!(begun.iter().all(|row| row.day == Some(pb_date(BEGAN))));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_field() {
    let world = World::on(TODAY).await;
    let asked = async |change: &dyn Fn(&mut pb::SummarizeActionOutcomesRequest)| {
        let mut request = request(&world);
        change(&mut request);
        let (code, reason, fields) = refused(try_summarize(&world, request).await);
        (code, reason, fields.concat())
    };
    let invalid = |reason: &str, field: &str| (Code::InvalidArgument, reason.to_owned(), field.to_owned());
    assert_eq!(
        asked(&|request| request.weeks = 21).await,
        invalid("INVALID_WEEKS", "weeks")
    );
    assert_eq!(
        asked(&|request| request.weeks = -1).await,
        invalid("INVALID_WEEKS", "weeks")
    );
    assert_eq!(
        asked(&|request| request.milestone = 9).await,
        invalid("UNKNOWN_MILESTONE", "milestone")
    );
    assert_eq!(
        asked(&|request| request.grouping = 9).await,
        invalid("UNKNOWN_GROUPING", "grouping")
    );
    let many = |request: &mut pb::SummarizeActionOutcomesRequest| request.provision_ids = vec!["1-01".into(); 101];
    assert_eq!(asked(&many).await, invalid("TOO_MANY", "provision_ids"));
    let ahead = |request: &mut pb::SummarizeActionOutcomesRequest| request.to_date = Some(pb_date("2025-12-13"));
    assert_eq!(asked(&ahead).await, invalid("IN_FUTURE", "to_date"));
    let reversed = |request: &mut pb::SummarizeActionOutcomesRequest| {
        request.from_date = Some(pb_date("2025-12-02"));
        request.to_date = Some(pb_date("2025-12-01"));
    };
    assert_eq!(asked(&reversed).await, invalid("PERIOD_REVERSED", "to_date"));
    assert_eq!(
        asked(&|request| request.school = "100009".into()).await.0,
        Code::NotFound
    );
    assert_eq!(
        asked(&|request| request.trust_id = uuid::Uuid::new_v4().to_string())
            .await
            .0,
        Code::NotFound
    );
    assert_eq!(groups(&world, request(&world)).await, []);
}
