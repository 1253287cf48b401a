//! Transitions as they are listed.

use graduated_response::grpc::convert::to_timestamp;
use graduated_response::proto as pb;
use tonic::{Code, Status};

use crate::common::world::{by_id, by_name, enrolment, pb_date};
use crate::common::{World, day, refused};

async fn try_list(world: &World, request: pb::ListTransitionsRequest) -> Result<pb::ListTransitionsResponse, Status> {
    let request = pb::ListTransitionsRequest {
        trust_id: world.trust_id.clone(),
        ..request
    };
    Ok(world.stages().list_transitions(request).await?.into_inner())
}

async fn list(world: &World, request: pb::ListTransitionsRequest) -> Vec<pb::Transition> {
    let page = try_list(world, request).await.unwrap();
    assert_eq!(page.next_page_token, "");
    page.transitions
}

fn of_pupil(pupil: pb::PupilKey) -> pb::ListTransitionsRequest {
    pb::ListTransitionsRequest {
        pupil: Some(pupil),
        ..pb::ListTransitionsRequest::default()
    }
}

fn at_school(school: &str) -> pb::ListTransitionsRequest {
    pb::ListTransitionsRequest {
        school: school.into(),
        ..pb::ListTransitionsRequest::default()
    }
}

fn pupils(transitions: &[pb::Transition]) -> Vec<&str> {
    transitions.iter().map(|found| found.pupil_id.as_str()).collect()
}

#[tokio::test]
async fn a_pupils_transitions_say_what_caused_each_latest_first() {
    let world = World::on("2025-09-26").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    let other = world.pupil("bo", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-09-19", "O", "I").await;
    world.record_days(&other, "2025-09-08", "2025-09-19", "O", "O").await;

    let found = list(&world, of_pupil(by_name("ada"))).await;
    assert_eq!(pupils(&found), [&pupil]);
    let first = &found[0];
    assert_eq!(
        (first.from_stage(), first.to_stage()),
        (pb::Stage::Universal, pb::Stage::Five)
    );
    assert_eq!(first.cause(), pb::TransitionCause::Marks);
    let tally = first.tally.unwrap();
    assert_eq!(
        (tally.attended, tally.possible, tally.authorised, tally.unauthorised),
        (0, 20, 10, 10)
    );
    assert_eq!((first.attendance_percent.as_str(), first.policy_version), ("0.0", 1));
    assert_eq!((first.academic_year, first.episode), (2025, 1));
    assert_eq!(first.school_ids, [school]);
    assert_eq!(
        (first.retracted_to(), first.hold_id.as_str()),
        (pb::Stage::Unspecified, "")
    );
    let stage = world.stage(&pupil).await;
    assert_eq!((stage.changed_at, stage.since), (first.recorded_at, first.effective_on));

    // Nothing of it was so.
    let corrected = world.record_days(&pupil, "2025-09-08", "2025-09-19", "/", "\\").await;
    let found = list(&world, of_pupil(by_id(&pupil))).await;
    assert_eq!(found.len(), 2);
    assert_eq!(&found[1], first, "what was recorded stays");
    let last = &found[0];
    assert_eq!(
        (last.from_stage(), last.to_stage()),
        (pb::Stage::Five, pb::Stage::Universal)
    );
    assert_eq!(last.cause(), pb::TransitionCause::Correction);
    assert_eq!(last.retracted_to(), pb::Stage::Universal, "no stage was ever reached");
    assert_eq!(last.attendance_percent, "100.0");
    assert_eq!(last.request_id, corrected.receipt.unwrap().request_id);
    assert!(world.position(&last.cursor) > world.position(&first.cursor));
}

#[tokio::test]
async fn transitions_are_listed_by_school_also_where_the_pupil_has_moved_on() {
    let world = World::on("2025-09-22").await;
    let (oak, elm) = (world.school("100001").await, world.school("100002").await);
    let stays = world.movable_pupils("stays", &oak, 1).await;
    let moves_on = world.movable_pupils("moves", &oak, 1).await;
    world.move_pupils(&stays, true).await;
    world.move_pupils(&moves_on, true).await;
    let sole = pb::EnrolmentKind::Sole;
    world
        .pupil_enrolled(
            "moves0",
            &[
                enrolment(&oak, sole, "2025-09-01", "2025-09-22"),
                enrolment(&elm, sole, "2025-09-23", ""),
            ],
        )
        .await;
    world.turn_to("2025-10-03");
    world
        .record_days(&moves_on[0], "2025-09-23", "2025-10-03", "O", "O")
        .await;

    let (oaks, elms) = (
        list(&world, at_school("100001")).await,
        list(&world, at_school(&elm)).await,
    );
    let (stays, moves_on) = (stays[0].as_str(), moves_on[0].as_str());
    assert_eq!(pupils(&elms), [moves_on], "with what moved the pupil since");
    assert_eq!(elms[0].school_ids, std::slice::from_ref(&elm));
    assert_eq!(pupils(&oaks), [moves_on, stays], "with what moved the pupil before");
    let of_both = pb::ListTransitionsRequest {
        school: elm,
        ..of_pupil(by_id(moves_on))
    };
    assert_eq!(list(&world, of_both).await, elms);
    let all = list(&world, pb::ListTransitionsRequest::default()).await;
    assert_eq!(pupils(&all), [moves_on, moves_on, stays]);
}

#[tokio::test]
async fn transitions_are_listed_by_the_day_of_their_effect_the_time_of_their_record_and_the_academic_year() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let first = world.movable_pupils("first", &school, 1).await;
    let second = world.movable_pupils("second", &school, 1).await;
    world.move_pupils(&first, true).await;
    world.turn_to("2025-10-06");
    world.move_pupils(&second, true).await;
    world.turn_to("2026-08-03");
    let all = list(&world, pb::ListTransitionsRequest::default()).await;
    assert_eq!(
        all.len(),
        4,
        "the new academic year began with everybody at U: {all:#?}"
    );
    for turned in &all[..2] {
        assert_eq!(turned.cause(), pb::TransitionCause::DayPassed);
        assert_eq!((turned.to_stage(), turned.academic_year), (pb::Stage::Universal, 2026));
    }
    let noon = |date: &str| Some(to_timestamp((day(date).and_hms_opt(12, 0, 0)).unwrap().and_utc()));
    let by = async |request: pb::ListTransitionsRequest| list(&world, request).await;
    let none = pb::ListTransitionsRequest::default;
    let recorded = pb::ListTransitionsRequest {
        recorded_from: noon("2025-09-21"),
        recorded_before: noon("2025-09-23"),
        ..none()
    };
    assert_eq!(by(recorded).await, all[3..]);
    let recorded = pb::ListTransitionsRequest {
        recorded_from: all[2].recorded_at,
        recorded_before: all[1].recorded_at,
        ..none()
    };
    assert_eq!(by(recorded).await, all[2..3], "from is included, before is not");
    let effective = pb::ListTransitionsRequest {
        effective_from: all[3].effective_on,
        effective_to: all[3].effective_on,
        ..none()
    };
    assert_eq!(
        by(effective).await,
        all[2..],
        "both took effect on the same day of September"
    );
    let year = pb::ListTransitionsRequest {
        academic_year: 2026,
        ..none()
    };
    assert_eq!(by(year).await, all[..2]);
}

#[tokio::test]
async fn transitions_come_in_pages_without_loss() {
    let world = World::on("2025-09-22").await;
    let school = world.school("100001").await;
    let movable = world.movable_pupils("p", &school, 7).await;
    world.move_pupils(&movable, true).await;
    world.move_pupils(&movable[..3], false).await;
    for filter in [pb::ListTransitionsRequest::default(), at_school(&school)] {
        let whole = list(&world, filter.clone()).await;
        assert_eq!(whole.len(), 10);
        let mut paged = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListTransitionsRequest {
                page_size: 3,
                page_token,
                ..filter.clone()
            };
            let page = try_list(&world, request).await.unwrap();
            assert!(page.transitions.len() <= 3);
            paged.extend(page.transitions);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(paged, whole);
    }
}

#[tokio::test]
async fn a_list_of_what_is_not_there_or_makes_no_sense_is_refused() {
    let world = World::on("2025-09-22").await;
    world.school("100001").await;
    let none = pb::ListTransitionsRequest::default;
    let wrong = [
        (of_pupil(by_name("nobody")), (Code::NotFound, "NOT_FOUND", None)),
        (at_school("100009"), (Code::NotFound, "NOT_FOUND", None)),
        (at_school("oak"), (Code::InvalidArgument, "INVALID_URN", Some("school"))),
        (
            pb::ListTransitionsRequest {
                effective_from: Some(pb_date("2025-09-02")),
                effective_to: Some(pb_date("2025-09-01")),
                ..none()
            },
            (Code::InvalidArgument, "INVALID_DATE_RANGE", Some("effective_to")),
        ),
        (
            pb::ListTransitionsRequest {
                recorded_from: Some(to_timestamp(day("2025-09-02").and_hms_opt(0, 0, 0).unwrap().and_utc())),
                recorded_before: Some(to_timestamp(day("2025-09-02").and_hms_opt(0, 0, 0).unwrap().and_utc())),
                ..none()
            },
            (Code::InvalidArgument, "INVALID_TIME_RANGE", Some("recorded_before")),
        ),
        (
            pb::ListTransitionsRequest {
                academic_year: 1900,
                ..none()
            },
            (Code::InvalidArgument, "INVALID_ACADEMIC_YEAR", Some("academic_year")),
        ),
        (
            pb::ListTransitionsRequest {
                page_token: "next".into(),
                ..none()
            },
            (Code::InvalidArgument, "UNKNOWN_PAGE_TOKEN", Some("page_token")),
        ),
    ];
    for (request, (code, reason, field)) in wrong {
        let found = refused(try_list(&world, request).await);
        let expected = field.map(str::to_owned).into_iter().collect();
        assert_eq!(found, (code, reason.to_owned(), expected));
    }
    let nowhere = pb::ListTransitionsRequest {
        trust_id: uuid::Uuid::new_v4().to_string(),
        ..none()
    };
    let answer = world.stages().list_transitions(nowhere).await;
    assert_eq!(refused(answer).0, Code::NotFound);
    let pupil = world.pupil("p", "100001").await;
    world.record_days(&pupil, "2025-09-01", "2025-09-01", "/", "\\").await;
    assert_eq!(list(&world, none()).await, [], "empty where nobody ever moved");
}
