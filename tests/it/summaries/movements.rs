//! How pupils moved between stages.

use graduated_response::proto as pb;
use graduated_response::proto::{MovementCounting, Stage};
use graduated_response::service::Limits;
use tonic::Code;
use uuid::Uuid;

use crate::common::world::{enrolment, pb_date};
use crate::common::{World, at, refused};

/// Friday 10 October, with five pupils of one school, all there in September:
/// - one stayed at U;
/// - one was found absent on 1 to 3 October, on the 3rd, and on the 9th to have been there on the first two days;
/// - one was found absent from 1 to 10 October, on the 10th;
/// - one left on 3 October, and one joined on the 6th.
async fn world_of_moves(limits: Limits) -> World {
    let world = World::with_limits("2025-09-30", limits).await;
    let school = world.school("100001").await;
    let stayed = world.pupil("stayed", &school).await;
    let back = world.pupil("back", &school).await;
    let fell = world.pupil("fell", &school).await;
    let on_roll = |start, end| [enrolment(&school, pb::EnrolmentKind::Sole, start, end)];
    let left = world.pupil_enrolled("left", &on_roll("2025-09-01", "2025-10-03")).await;
    for pupil in [&stayed, &back, &fell, &left] {
        world.record_days(pupil, "2025-09-01", "2025-09-30", "/", "\\").await;
    }
    world.turn_to("2025-10-03");
    // 44 of 50: stage 3.
    world.record_days(&back, "2025-10-01", "2025-10-03", "O", "O").await;
    world.turn_to("2025-10-06");
    world.pupil_enrolled("joined", &on_roll("2025-10-06", "")).await;
    world.turn_to("2025-10-09");
    // 48 of 50: U.
    world.record(&back, at("2025-10-01", "AM"), "/ \\ / \\").await;
    world.turn_to("2025-10-10");
    // 44 of 60: stage 4.
    world.record_days(&fell, "2025-10-01", "2025-10-10", "I", "I").await;
    world
}

fn request(world: &World, counting: MovementCounting, from: &str, to: &str) -> pb::SummarizeMovementsRequest {
    pb::SummarizeMovementsRequest {
        trust_id: world.trust_id.clone(),
        counting: counting.into(),
        from_date: Some(pb_date(from)),
        to_date: (!to.is_empty()).then(|| pb_date(to)),
        ..pb::SummarizeMovementsRequest::default()
    }
}

async fn movements(world: &World, request: pb::SummarizeMovementsRequest) -> pb::SummarizeMovementsResponse {
    let answer = world.stages().summarize_movements(request).await.unwrap().into_inner();
    assert_eq!((answer.rows.len(), answer.totals.len()), (7, 7));
    assert!(answer.rows.iter().all(|row| row.cells.len() == 7));
    answer
}

/// The cells that are not 0; of joined and left pupils the stage is unspecified.
fn cells(answer: &pb::SummarizeMovementsResponse) -> Vec<(Stage, Stage, i32)> {
    let mut found = Vec::new();
    for row in &answer.rows {
        for cell in &row.cells {
            let count = cell.count.unwrap();
            if count.value != 0 || count.suppressed {
                found.push((
                    row.from_stage(),
                    cell.to_stage(),
                    if count.suppressed { -1 } else { count.value },
                ));
            }
        }
    }
    found
}

#[tokio::test]
async fn from_the_first_day_to_the_last_each_pupil_counts_once() {
    let world = world_of_moves(Limits::default()).await;
    let none = Stage::Unspecified;
    let answer = movements(&world, request(&world, MovementCounting::FirstToLast, "2025-10-01", "")).await;
    assert_eq!(
        (answer.to_date, answer.total.unwrap().value),
        (Some(pb_date("2025-10-10")), 5)
    );
    assert_eq!(
        cells(&answer),
        [
            (Stage::Universal, Stage::Universal, 2),
            (Stage::Universal, Stage::Four, 1),
            (Stage::Universal, none, 1),
            (none, Stage::Universal, 1),
        ]
    );
    assert_eq!(answer.rows[0].total.unwrap().value, 4);
    assert_eq!(answer.totals[0].count.unwrap().value, 3);
    // Up to the 8th one was still at stage 3, and the other was not known to have been absent.
    let answer = movements(
        &world,
        request(&world, MovementCounting::Unspecified, "2025-10-01", "2025-10-08"),
    )
    .await;
    assert_eq!(
        cells(&answer),
        [
            (Stage::Universal, Stage::Universal, 2),
            (Stage::Universal, Stage::Three, 1),
            (Stage::Universal, none, 1),
            (none, Stage::Universal, 1),
        ]
    );
    // From the 4th on: left before, joined after.
    let answer = movements(
        &world,
        request(&world, MovementCounting::FirstToLast, "2025-10-04", "2025-10-10"),
    )
    .await;
    assert_eq!(
        cells(&answer),
        [
            (Stage::Universal, Stage::Universal, 1),
            (Stage::Universal, Stage::Four, 1),
            (Stage::Three, Stage::Universal, 1),
            (none, Stage::Universal, 1),
        ]
    );
}

#[tokio::test]
async fn every_move_that_was_recorded_can_be_counted() {
    let world = world_of_moves(Limits::default()).await;
    let every = |from, to| request(&world, MovementCounting::EveryMove, from, to);
    let answer = movements(&world, every("2025-10-01", "")).await;
    let expected = [
        (Stage::Universal, Stage::Three, 1),
        (Stage::Universal, Stage::Four, 1),
        (Stage::Three, Stage::Universal, 1),
    ];
    assert_eq!(cells(&answer), expected);
    let answer = movements(&world, every("2025-10-03", "2025-10-03")).await;
    assert_eq!(cells(&answer), expected[..1]);
    let of_school = |school: &str| pb::SummarizeMovementsRequest {
        school: school.to_owned(),
        ..every("2025-10-01", "")
    };
    assert_eq!(cells(&movements(&world, of_school("100001")).await), expected);
    world.school("100002").await;
    assert_eq!(cells(&movements(&world, of_school("100002")).await), []);
}

#[tokio::test]
async fn small_movements_are_suppressed() {
    let limits = Limits {
        small_number_limit: 2,
        ..Limits::default()
    };
    let world = world_of_moves(limits).await;
    let asked = pb::SummarizeMovementsRequest {
        suppress_small_numbers: true,
        ..request(&world, MovementCounting::FirstToLast, "2025-10-01", "")
    };
    let answer = movements(&world, asked).await;
    assert_eq!(answer.small_number_limit, 2);
    let none = Stage::Unspecified;
    let shown = cells(&answer);
    for (from, to) in [
        (Stage::Universal, Stage::Four),
        (Stage::Universal, none),
        (none, Stage::Universal),
    ] {
        assert!(shown.contains(&(from, to, -1)), "{shown:?}");
    }
    // One who joined would follow from the three at U and the two who stayed there.
    assert!(shown.contains(&(Stage::Universal, Stage::Universal, -1)), "{shown:?}");
    assert!(answer.rows[6].total.unwrap().suppressed && answer.totals[4].count.unwrap().suppressed);
}

#[tokio::test]
async fn a_wrong_question_about_movements_is_refused_with_its_field() {
    let world = world_of_moves(Limits::default()).await;
    let right = request(&world, MovementCounting::FirstToLast, "2025-10-01", "");
    for (asked, field) in [
        (
            pb::SummarizeMovementsRequest {
                from_date: None,
                ..right.clone()
            },
            "from_date",
        ),
        (
            pb::SummarizeMovementsRequest {
                counting: 7,
                ..right.clone()
            },
            "counting",
        ),
        (
            request(&world, MovementCounting::EveryMove, "2025-10-01", "2025-09-30"),
            "to_date",
        ),
        (
            request(&world, MovementCounting::EveryMove, "2025-10-01", "2025-10-11"),
            "to_date",
        ),
        (
            pb::SummarizeMovementsRequest {
                school: "one".into(),
                ..right.clone()
            },
            "school",
        ),
    ] {
        let (code, _, fields) = refused(world.stages().summarize_movements(asked).await);
        assert_eq!((code, fields), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    for asked in [
        pb::SummarizeMovementsRequest {
            trust_id: Uuid::new_v4().to_string(),
            ..right.clone()
        },
        pb::SummarizeMovementsRequest {
            school: "100009".into(),
            ..right
        },
    ] {
        assert_eq!(
            refused(world.stages().summarize_movements(asked).await).0,
            Code::NotFound
        );
    }
}
