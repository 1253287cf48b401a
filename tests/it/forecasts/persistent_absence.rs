//! Who will cross into persistent absence.

use graduated_response::proto as pb;
use tonic::Code;
use uuid::Uuid;

use crate::common::calendar::give_calendar;
use crate::common::world::{enrolment, pb_date};
use crate::common::{World, at, refused};

fn request(world: &World, school: &str, sessions: i32, weeks: i32) -> pb::ForecastPersistentAbsenceRequest {
    pb::ForecastPersistentAbsenceRequest {
        trust_id: world.trust_id.clone(),
        school: school.to_owned(),
        sessions,
        rate_school_weeks: weeks,
        ..pb::ForecastPersistentAbsenceRequest::default()
    }
}

async fn ask(world: &World, request: pb::ForecastPersistentAbsenceRequest) -> pb::ForecastPersistentAbsenceResponse {
    let answer = world.stages().forecast_persistent_absence(request).await;
    answer.unwrap().into_inner()
}

/// Who, after how many sessions, on which.
fn seen(answer: &pb::ForecastPersistentAbsenceResponse) -> Vec<(&str, i32, Option<pb::Session>)> {
    let pupils = answer.pupils.iter();
    pupils
        .map(|found| (found.pupil_id.as_str(), found.sessions, found.session))
        .collect()
}

/// A Friday with 60 possible sessions behind, of which so many of the last week were missed.
async fn pupil(world: &World, school: &str, name: &str, missed: usize, end: &str) -> String {
    let on_roll = [enrolment(school, pb::EnrolmentKind::Sole, "2025-09-01", end)];
    let pupil = world.pupil_enrolled(name, &on_roll).await;
    let to = if end.is_empty() { "2025-10-10" } else { end };
    world.record_days(&pupil, "2025-09-01", to, "/", "\\").await;
    if missed > 0 {
        world.record(&pupil, at("2025-10-06", "AM"), &"I ".repeat(missed)).await;
    }
    pupil
}

#[tokio::test]
async fn those_who_will_cross_at_the_rate_of_the_last_weeks_are_listed_soonest_first() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let four = pupil(&world, &school, "four", 4, "").await;
    let five = pupil(&world, &school, "five", 5, "").await;
    pupil(&world, &school, "six of 60 are a tenth already", 6, "").await;
    pupil(&world, &school, "none", 0, "").await;
    pupil(&world, &school, "left", 0, "2025-10-03").await;
    let other = world.school("100002").await;
    let elsewhere = pupil(&world, &other, "elsewhere", 5, "").await;

    // Of the last week: 5 + 3 x 5/10 of 63 is over a tenth, 5 + 2 x 5/10 of 62 is not; 4 + 7 x 4/10 of 67 is.
    let found = ask(&world, request(&world, "100001", 20, 1)).await;
    assert_eq!(seen(&found), [(five.as_str(), 3, None), (four.as_str(), 7, None)]);
    assert_eq!((found.pupils_with_sessions, found.persistently_absent_pupils), (4, 1));
    let first = &found.pupils[0];
    assert_eq!(
        (first.stage(), first.attendance_percent.as_str(), first.rate_from),
        (pb::Stage::Two, "91.7", Some(pb_date("2025-10-06")))
    );
    let counts = |tally: Option<pb::Tally>| tally.map(|tally| (tally.attended, tally.possible)).unwrap();
    assert_eq!(
        (counts(first.year_tally), counts(first.rate_tally)),
        ((55, 60), (5, 10))
    );

    // Within fewer sessions, fewer cross; in the whole trust, one more.
    let found = ask(&world, request(&world, "100001", 3, 1)).await;
    assert_eq!(seen(&found), [(five.as_str(), 3, None)]);
    let found = ask(&world, request(&world, "", 3, 1)).await;
    let mut expected = [(five.as_str(), 3, None), (elsewhere.as_str(), 3, None)];
    expected.sort_by_key(|(pupil, ..)| *pupil);
    assert_eq!(seen(&found), expected);
    assert_eq!((found.pupils_with_sessions, found.persistently_absent_pupils), (5, 1));

    // Of the last four weeks, 5 of 40 takes 40 sessions, and 4 of 40 is a tenth for ever.
    let found = ask(&world, request(&world, "100001", 39, 0)).await;
    assert_eq!(seen(&found), []);
    let found = ask(&world, request(&world, "100001", 400, 0)).await;
    assert_eq!(seen(&found), [(five.as_str(), 40, None)]);
}

#[tokio::test]
async fn a_calendar_tells_the_session_and_leaves_out_who_would_cross_after_its_last() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    give_calendar(&world, &school, &["autumn 2025-09-01 2025-10-15"], &[]).await;
    let five = pupil(&world, &school, "five", 5, "").await;
    pupil(&world, &school, "four would need seven, and six are left", 4, "").await;
    let found = ask(&world, request(&world, "100001", 20, 1)).await;
    assert_eq!(seen(&found), [(five.as_str(), 3, Some(at("2025-10-14", "AM")))]);
}

#[tokio::test]
async fn the_list_comes_in_pages() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    for name in ["a", "b", "c"] {
        pupil(&world, &school, name, 5, "").await;
    }
    pupil(&world, &school, "d", 4, "").await;
    let whole = ask(&world, request(&world, "", 20, 1)).await;
    assert_eq!((whole.pupils.len(), whole.next_page_token.as_str()), (4, ""));
    let mut paged = Vec::new();
    let mut asked = pb::ForecastPersistentAbsenceRequest {
        page_size: 2,
        ..request(&world, "", 20, 1)
    };
    loop {
        let page = ask(&world, asked.clone()).await;
        paged.extend(page.pupils);
        asked.page_token = page.next_page_token;
        if asked.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, whole.pupils);
}

#[tokio::test]
async fn a_wrong_question_about_persistent_absence_is_refused_with_its_field() {
    let world = World::on("2025-10-10").await;
    for (asked, field) in [
        (request(&world, "", 401, 0), "sessions"),
        (request(&world, "", -1, 0), "sessions"),
        (request(&world, "", 0, 41), "rate_school_weeks"),
        (request(&world, "one", 0, 0), "school"),
        (
            pb::ForecastPersistentAbsenceRequest {
                page_token: "page two".into(),
                ..request(&world, "", 0, 0)
            },
            "page_token",
        ),
    ] {
        let (code, _, fields) = refused(world.stages().forecast_persistent_absence(asked).await);
        assert_eq!((code, fields), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    let answer = world
        .stages()
        .forecast_persistent_absence(request(&world, "100009", 0, 0))
        .await;
    assert_eq!(refused(answer).0, Code::NotFound);
    let another = pb::ForecastPersistentAbsenceRequest {
        trust_id: Uuid::new_v4().to_string(),
        ..request(&world, "", 0, 0)
    };
    assert_eq!(
        refused(world.stages().forecast_persistent_absence(another).await).0,
        Code::NotFound
    );
}
