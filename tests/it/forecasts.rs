//! Forecasts, patterns and judgements of attendance that is given, as callers see them.

mod given;
mod patterns;
mod persistent_absence;

use graduated_response::proto as pb;
use graduated_response::proto::{ForecastReach, SessionsAhead, Stage};
use tonic::Code;
use uuid::Uuid;

use crate::common::calendar::give_calendar;
use crate::common::world::{by_id, enrolment};
use crate::common::{World, at, refused};

/// The terms of a short year.
const TERMS: [&str; 2] = ["autumn 2025-09-01 2025-10-24", "autumn 2025-11-03 2025-12-19"];

async fn forecast(world: &World, pupil: &str) -> pb::ForecastPupilStageResponse {
    let request = pb::ForecastPupilStageRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
    };
    world.stages().forecast_pupil_stage(request).await.unwrap().into_inner()
}

/// Stage, whether and when, how many sessions, and the last of them.
type Seen = (Stage, ForecastReach, i32, Option<pb::Session>);

fn seen(forecasts: &[pb::StageForecast]) -> Vec<Seen> {
    let seen = forecasts.iter().map(|found| {
        let forecast = found.forecast.unwrap();
        (found.stage(), forecast.reach(), forecast.sessions, forecast.session)
    });
    seen.collect()
}

fn this_year(stage: Stage, sessions: i32, date: &str, half: &str) -> Seen {
    (stage, ForecastReach::ThisYear, sessions, Some(at(date, half)))
}

/// A pupil with 54 of 60 sessions attended on Friday 10 October.
async fn pupil_at_ninety(world: &World, school: &str, end: &str) -> String {
    let on_roll = [enrolment(school, pb::EnrolmentKind::Sole, "2025-09-01", end)];
    let pupil = world.pupil_enrolled("ada", &on_roll).await;
    world.record_days(&pupil, "2025-09-01", "2025-10-10", "/", "\\").await;
    world.record_days(&pupil, "2025-09-29", "2025-10-01", "I", "I").await;
    pupil
}

#[tokio::test]
async fn each_stage_has_its_sessions_and_the_session_of_the_calendar_that_reaches_it() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    give_calendar(&world, &school, &TERMS, &[]).await;
    let pupil = pupil_at_ninety(&world, &school, "").await;
    let found = forecast(&world, &pupil).await;
    assert_eq!(
        (found.stage(), found.computed_stage(), found.attendance_percent.as_str()),
        (Stage::Three, Stage::Three, "90.0")
    );
    assert_eq!(
        (found.sessions_ahead(), found.sessions_left, found.last_session),
        (SessionsAhead::ByCalendar, 90, Some(at("2025-12-19", "PM")))
    );
    assert_eq!(found.judged, None);
    // 55 of 61 is above 90; 80 of 86 is 93.02; 115 of 121 is 95.04, over half term: 20 sessions are left before it.
    assert_eq!(
        seen(&found.improves),
        [
            this_year(Stage::Two, 1, "2025-10-13", "AM"),
            this_year(Stage::One, 26, "2025-11-05", "PM"),
            this_year(Stage::Universal, 61, "2025-12-01", "AM"),
        ]
    );
    // 54 of 68 is 79.4; 54 of 109 is 49.5.
    assert_eq!(
        seen(&found.worsens),
        [
            this_year(Stage::Four, 8, "2025-10-16", "PM"),
            this_year(Stage::Five, 49, "2025-11-21", "AM"),
        ]
    );
    let (best, worst) = (found.best.unwrap(), found.worst.unwrap());
    assert_eq!(
        (best.attendance_percent.as_str(), best.stage(), best.persistent_absence),
        ("96.0", Stage::Universal, false)
    );
    let tally = worst.tally.unwrap();
    assert_eq!((tally.attended, tally.possible, worst.stage()), (54, 150, Stage::Five));
    assert_eq!(
        (worst.attendance_percent.as_str(), worst.severe_absence),
        ("36.0", true)
    );
}

#[tokio::test]
async fn marks_entered_ahead_stand_and_a_session_of_today_without_a_mark_is_to_come() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    give_calendar(&world, &school, &TERMS, &[]).await;
    let pupil = pupil_at_ninety(&world, &school, "").await;
    // The afternoon of today is taken away, and leave is agreed for Monday.
    world.record(&pupil, at("2025-10-10", "PM"), "0").await;
    world.record_days(&pupil, "2025-10-13", "2025-10-13", "C", "C").await;
    let found = forecast(&world, &pupil).await;
    assert_eq!(found.sessions_left, 89);
    // 54 of 60 this afternoon and 54 of 62 after Monday: 18 sessions later 72 of 80 are not above 90, and 73 of 81 are.
    assert_eq!(seen(&found.improves)[0], this_year(Stage::Two, 20, "2025-11-03", "AM"));
    let best = found.best.unwrap().tally.unwrap();
    assert_eq!((best.attended, best.possible), (142, 150));
    // Marks ahead alone may reach a worse stage: 53 of 67 is below 80.
    world.record_days(&pupil, "2025-10-13", "2025-10-16", "C", "C").await;
    let found = forecast(&world, &pupil).await;
    let worse = &seen(&found.worsens)[0];
    assert_eq!(*worse, this_year(Stage::Four, 1, "2025-10-16", "AM"));
    world.record(&pupil, at("2025-10-10", "PM"), "I").await;
    let found = forecast(&world, &pupil).await;
    assert_eq!(seen(&found.worsens)[0], this_year(Stage::Four, 0, "2025-10-16", "AM"));
}

#[tokio::test]
async fn without_a_calendar_sessions_are_told_but_no_dates() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let pupil = pupil_at_ninety(&world, &school, "").await;
    let found = forecast(&world, &pupil).await;
    assert_eq!(
        (found.sessions_ahead(), found.sessions_left, found.last_session),
        (SessionsAhead::NoCalendar, 0, None)
    );
    let undated = |stage, sessions| (stage, ForecastReach::Undated, sessions, None);
    assert_eq!(
        seen(&found.improves),
        [
            undated(Stage::Two, 1),
            undated(Stage::One, 26),
            undated(Stage::Universal, 61)
        ]
    );
    assert_eq!((found.best, found.worst), (None, None));
    // Where the window moves with the calendar, not even the sessions.
    let version = world
        .policy(pb::PolicySettings {
            window: pb::PolicyWindow::SchoolWeeks.into(),
            window_school_weeks: 2,
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    let found = forecast(&world, &pupil).await;
    assert_eq!(found.policy_version, version);
    assert!(
        seen(&found.improves)
            .iter()
            .all(|(_, reach, ..)| *reach == ForecastReach::NotKnown)
    );
}

#[tokio::test]
async fn under_a_window_of_school_weeks_what_leaves_it_counts_no_longer() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    give_calendar(&world, &school, &TERMS, &[]).await;
    let pupil = pupil_at_ninety(&world, &school, "").await;
    let version = world
        .policy(pb::PolicySettings {
            window: pb::PolicyWindow::SchoolWeeks.into(),
            window_school_weeks: 2,
            ..pb::PolicySettings::default()
        })
        .await;
    world.activate(version, "").await;
    let found = forecast(&world, &pupil).await;
    let tally = found.tally.unwrap();
    assert_eq!((tally.attended, tally.possible, found.stage()), (14, 20, Stage::Four));
    // On Monday the week of absence is gone, and below 20 sessions nothing is judged: on Friday afternoon it is, as U.
    let friday = |stage| this_year(stage, 10, "2025-10-17", "PM");
    assert_eq!(
        seen(&found.improves),
        [Stage::Three, Stage::Two, Stage::One, Stage::Universal].map(friday)
    );
    // A week attended and one missed is exactly half: below it only with the next week's.
    assert_eq!(seen(&found.worsens), [this_year(Stage::Five, 20, "2025-10-24", "PM")]);
    assert_eq!(
        found.best.unwrap().attendance_percent,
        "96.0",
        "of the year, not of the window"
    );
}

#[tokio::test]
async fn what_lies_beyond_the_last_day_on_roll_is_not_reached_this_year() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    give_calendar(&world, &school, &TERMS, &[]).await;
    let pupil = pupil_at_ninety(&world, &school, "2025-10-24").await;
    let found = forecast(&world, &pupil).await;
    assert_eq!(
        (found.sessions_left, found.last_session),
        (20, Some(at("2025-10-24", "PM")))
    );
    let not_this_year = |stage, sessions| (stage, ForecastReach::NotThisYear, sessions, None);
    assert_eq!(
        seen(&found.improves),
        [
            this_year(Stage::Two, 1, "2025-10-13", "AM"),
            not_this_year(Stage::One, 26),
            not_this_year(Stage::Universal, 61)
        ]
    );
    world.turn_to("2025-11-03");
    let found = forecast(&world, &pupil).await;
    assert_eq!(
        (found.sessions_ahead(), found.sessions_left),
        (SessionsAhead::NotOnRoll, 0)
    );
    assert_eq!(found.best.unwrap().attendance_percent, "90.0");
}

#[tokio::test]
async fn below_the_minimum_it_is_said_when_there_are_enough_sessions() {
    let world = World::on("2025-09-05").await;
    let school = world.school("100001").await;
    give_calendar(&world, &school, &TERMS, &[]).await;
    let pupil = world.pupil("ada", &school).await;
    world.record_days(&pupil, "2025-09-01", "2025-09-05", "/", "\\").await;
    world.record_days(&pupil, "2025-09-04", "2025-09-05", "I", "I").await;
    let found = forecast(&world, &pupil).await;
    assert!(found.too_little_data);
    assert_eq!((found.stage(), found.computed_stage()), (Stage::Universal, Stage::Four));
    let judged = found.judged.unwrap();
    assert_eq!(
        (judged.reach(), judged.sessions, judged.session),
        (ForecastReach::ThisYear, 10, Some(at("2025-09-12", "PM")))
    );
    // 16 of 20 is stage 3 as soon as it is judged; 37 of 41 is above 90.
    assert_eq!(
        seen(&found.improves)[..2],
        [
            this_year(Stage::Three, 10, "2025-09-12", "PM"),
            this_year(Stage::Two, 31, "2025-09-29", "AM")
        ]
    );
    // 6 of 20.
    assert_eq!(seen(&found.worsens), [this_year(Stage::Five, 10, "2025-09-12", "PM")]);
}

#[tokio::test]
async fn a_forecast_of_a_pupil_who_is_not_there_is_refused() {
    let world = World::on("2025-10-10").await;
    let request = |trust: &str, pupil| pb::ForecastPupilStageRequest {
        trust_id: trust.to_owned(),
        pupil,
    };
    let unknown = Some(by_id(&Uuid::new_v4().to_string()));
    let answer = world
        .stages()
        .forecast_pupil_stage(request(&world.trust_id, unknown))
        .await;
    assert_eq!(refused(answer).0, Code::NotFound);
    let answer = world
        .stages()
        .forecast_pupil_stage(request(&world.trust_id, None))
        .await;
    let (code, _, fields) = refused(answer);
    assert_eq!((code, fields), (Code::InvalidArgument, vec!["pupil".to_owned()]));
    let answer = world.stages().forecast_pupil_stage(request("mine", None)).await;
    assert_eq!(refused(answer).2, ["trust_id"]);
}
