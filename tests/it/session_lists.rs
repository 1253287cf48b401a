//! Lists of sessions: corrections by pupil, school and period, and N that stayed N.

use graduated_response::proto as pb;
use tonic::Code;
use tonic::Status;
use uuid::Uuid;

use crate::common::calendar::give_calendar;
use crate::common::world::{at, by_id, day, item, pb_date, refused};
use crate::common::{World, marks};

/// A world on Monday 22 September 2025 with two schools of two pupils each: `a` and `b`, `c` and `d`.
async fn world_of_four() -> (World, [String; 2], Vec<String>) {
    let world = World::on("2025-09-22").await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let mut pupils = Vec::new();
    for (name, school) in [("a", 0), ("b", 0), ("c", 1), ("d", 1)] {
        pupils.push(world.pupil(name, &schools[school]).await);
    }
    (world, schools, pupils)
}

fn instant(date: &str, hour: i64) -> Option<prost_types::Timestamp> {
    let midnight = day(date).and_time(chrono::NaiveTime::MIN).and_utc();
    Some(prost_types::Timestamp {
        seconds: midnight.timestamp() + 3600 * hour,
        nanos: 0,
    })
}

/// The sessions of all pages.
async fn paged(world: &World, request: pb::ListRevisionsRequest) -> Vec<(String, pb::Session, i32)> {
    let mut request = request;
    let mut found = Vec::new();
    loop {
        let page = world.revisions(request.clone()).await.unwrap();
        assert!(request.page_size == 0 || page.revisions.len() <= usize::try_from(request.page_size).unwrap());
        found.extend(
            page.revisions
                .into_iter()
                .map(|revision| (revision.pupil_id, revision.session.unwrap(), revision.new_code)),
        );
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test]
async fn corrections_are_listed_by_pupil_school_and_trust_in_the_order_of_recording_or_of_sessions() {
    let (world, _, pupils) = world_of_four().await;
    for pupil in &pupils {
        world.record_days(pupil, "2025-09-08", "2025-09-12", "N", "N").await;
    }
    // Corrected on three days: the later the day, the earlier the session.
    for (today, session) in [
        ("2025-09-23", "2025-09-12"),
        ("2025-09-24", "2025-09-10"),
        ("2025-09-25", "2025-09-08"),
    ] {
        world.turn_to(today);
        for pupil in &pupils[..3] {
            world.record(pupil, at(session, "PM"), "I").await;
        }
    }
    let all = pb::ListRevisionsRequest::default();
    let listed = paged(&world, all.clone()).await;
    assert_eq!(listed.len(), 9);
    assert!(
        listed[..3]
            .iter()
            .all(|(_, session, _)| *session == at("2025-09-08", "PM"))
    );
    assert!(listed.iter().all(|(_, _, code)| *code == marks("I")[0]));
    for page_size in [1, 2, 3, 8] {
        let request = pb::ListRevisionsRequest {
            page_size,
            ..all.clone()
        };
        assert_eq!(paged(&world, request).await, listed, "pages of {page_size}");
    }
    let by_session = pb::ListRevisionsRequest {
        order: pb::RevisionOrder::Session.into(),
        page_size: 2,
        ..all.clone()
    };
    let sessions: Vec<_> = paged(&world, by_session.clone())
        .await
        .into_iter()
        .map(|found| found.1)
        .collect();
    assert_eq!(sessions.len(), 9);
    assert_eq!(
        (sessions[0], sessions[8]),
        (at("2025-09-12", "PM"), at("2025-09-08", "PM"))
    );

    let of_school = pb::ListRevisionsRequest {
        school: "100001".into(),
        ..all.clone()
    };
    let of_school = paged(&world, of_school).await;
    assert_eq!(of_school.len(), 6);
    assert!(of_school.iter().all(|(pupil, ..)| pupils[..2].contains(pupil)));
    let of_pupil = pb::ListRevisionsRequest {
        pupil: Some(by_id(&pupils[2])),
        page_size: 1,
        ..all.clone()
    };
    assert_eq!(paged(&world, of_pupil.clone()).await.len(), 3);
    let elsewhere = pb::ListRevisionsRequest {
        school: "100001".into(),
        ..of_pupil
    };
    assert_eq!(paged(&world, elsewhere).await, []);

    // Periods, of sessions and of recording, in either order.
    for order in [pb::RevisionOrder::Recorded, pb::RevisionOrder::Session] {
        let of_sessions = pb::ListRevisionsRequest {
            from_date: Some(pb_date("2025-09-10")),
            to_date: Some(pb_date("2025-09-10")),
            order: order.into(),
            ..all.clone()
        };
        assert_eq!(paged(&world, of_sessions).await.len(), 3);
        let of_recording = pb::ListRevisionsRequest {
            recorded_from: instant("2025-09-23", 12),
            recorded_before: instant("2025-09-24", 12),
            order: order.into(),
            ..all.clone()
        };
        let found = paged(&world, of_recording).await;
        assert_eq!(found.len(), 3, "the end of a period is not within it");
        assert!(found.iter().all(|(_, session, _)| *session == at("2025-09-12", "PM")));
    }
    let refusal = async |change: &dyn Fn(&mut pb::ListRevisionsRequest)| {
        let mut request = all.clone();
        change(&mut request);
        refused(world.revisions(request).await)
    };
    assert_eq!(
        refusal(&|request| request.school = "100009".into()).await.0,
        Code::NotFound
    );
    let nobody = Uuid::new_v4().to_string();
    assert_eq!(
        refusal(&|request| request.pupil = Some(by_id(&nobody))).await.0,
        Code::NotFound
    );
    assert_eq!(
        refusal(&|request| request.pupil = Some(pb::PupilKey::default()))
            .await
            .1,
        "MISSING_PUPIL"
    );
    assert_eq!(refusal(&|request| request.order = 9).await.2, ["order"]);
    assert_eq!(
        refusal(&|request| request.recorded_from = Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0
        }))
        .await
        .1,
        "INVALID_TIMESTAMP"
    );
    // A token is good for its own order alone.
    let token = world
        .revisions(pb::ListRevisionsRequest {
            page_size: 2,
            ..all.clone()
        })
        .await
        .unwrap()
        .next_page_token;
    let other_order = refusal(&|request| {
        request.page_token.clone_from(&token);
        request.order = pb::RevisionOrder::Session.into();
    })
    .await;
    assert_eq!(other_order.1, "UNKNOWN_PAGE_TOKEN");
}

async fn unexplained(
    world: &World,
    request: pb::ListUnexplainedAbsencesRequest,
) -> Result<pb::ListUnexplainedAbsencesResponse, Status> {
    let request = pb::ListUnexplainedAbsencesRequest {
        trust_id: world.trust_id.clone(),
        ..request
    };
    let answer = world.sessions().list_unexplained_absences(request).await?;
    Ok(answer.into_inner())
}

#[tokio::test]
async fn an_n_is_listed_once_it_is_older_than_five_school_days_of_its_school_oldest_first() {
    let (world, schools, pupils) = world_of_four().await;
    // The first school is open on weekdays but for an INSET day; the second one's days follow from its marks.
    let terms = ["autumn 2025-09-01 2025-10-24"];
    give_calendar(&world, &schools[0], &terms, &["2025-09-17"]).await;
    world
        .record_days(&pupils[0], "2025-09-08", "2025-09-22", "/", "\\")
        .await;
    world
        .record_days(&pupils[2], "2025-09-08", "2025-09-22", "/", "\\")
        .await;
    world.record(&pupils[0], at("2025-09-12", "PM"), "N").await;
    world.record(&pupils[1], at("2025-09-11", "AM"), "N N").await;
    world.record(&pupils[3], at("2025-09-12", "AM"), "N").await;
    world.record(&pupils[3], at("2025-09-15", "AM"), "N").await;
    let all = pb::ListUnexplainedAbsencesRequest::default();
    let found = unexplained(&world, all.clone()).await.unwrap().absences;
    let listed: Vec<_> = found
        .iter()
        .map(|absence| (absence.pupil_id.clone(), absence.session.unwrap(), absence.school_days))
        .collect();
    // Of the first school five school days have passed since the 12th: the 17th was none.
    assert_eq!(
        listed,
        [
            (pupils[1].clone(), at("2025-09-11", "AM"), 6),
            (pupils[1].clone(), at("2025-09-11", "PM"), 6),
            (pupils[3].clone(), at("2025-09-12", "AM"), 6),
        ]
    );
    assert_eq!(
        (&found[2].school_id, found[2].enrolment_id.is_empty()),
        (&schools[1], false)
    );
    world.turn_to("2025-09-23");
    let later = unexplained(&world, all.clone()).await.unwrap().absences;
    assert_eq!(
        later.len(),
        4,
        "a day later so is that of the 12th; the second school has no marks yet today"
    );

    // By school, and page by page.
    let of = |school: &str| pb::ListUnexplainedAbsencesRequest {
        school: school.into(),
        ..all.clone()
    };
    assert_eq!(unexplained(&world, of("100002")).await.unwrap().absences.len(), 1);
    let mut request = pb::ListUnexplainedAbsencesRequest {
        page_size: 1,
        ..all.clone()
    };
    let mut pages = Vec::new();
    loop {
        let page = unexplained(&world, request.clone()).await.unwrap();
        pages.extend(page.absences);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, later);
    // A correction takes it off the list, and so does taking the mark away.
    world.record(&pupils[1], at("2025-09-11", "AM"), "I 0").await;
    assert_eq!(unexplained(&world, of("100001")).await.unwrap().absences.len(), 1);

    // What was left over from last year is asked for by its year.
    let year = |academic_year| pb::ListUnexplainedAbsencesRequest {
        academic_year,
        ..all.clone()
    };
    assert_eq!(unexplained(&world, year(2024)).await.unwrap().absences, []);
    world.turn_to("2026-09-01");
    assert_eq!(unexplained(&world, all.clone()).await.unwrap().absences, []);
    assert_eq!(unexplained(&world, year(2025)).await.unwrap().absences.len(), 2);
    assert_eq!(refused(unexplained(&world, year(-1)).await).1, "INVALID_ACADEMIC_YEAR");
    assert_eq!(refused(unexplained(&world, of("100009")).await).0, Code::NotFound);
    assert_eq!(refused(unexplained(&world, of("nowhere")).await).2, ["school"]);
}

#[tokio::test]
async fn a_school_where_every_pupil_is_explained_has_nothing_to_list() {
    let (world, _, pupils) = world_of_four().await;
    let present = crate::common::world::school_days("2025-09-01", "2025-09-22", "/", "\\");
    world
        .try_record(vec![item(&pupils[0], at("2025-09-01", "AM"), &present)])
        .await
        .unwrap();
    let all = pb::ListUnexplainedAbsencesRequest::default();
    assert_eq!(unexplained(&world, all).await.unwrap().absences, []);
}
