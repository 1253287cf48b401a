//! Calendars that are given.

use graduated_response::proto as pb;
use pb::CalendarDayKind::{Closure, Inset, SchoolDay, Unspecified};
use tonic::Code;

use super::{calendar_of, give, kind, note, term, update};
use crate::common::World;
use crate::common::world::refused;

#[tokio::test]
async fn a_calendar_that_was_given_is_returned_and_can_be_queried_by_hand() {
    let world = World::on("2025-10-01").await;
    let school = world.school("100001").await;
    let answer = give(&world, update(&world, "100001")).await.unwrap();
    assert_eq!((answer.calendars.len(), answer.transitions), (1, 0));
    let calendar = calendar_of(&world, &school).await;
    assert_eq!(answer.calendars[0], calendar);
    assert!(calendar.given && calendar.updated_at.is_some());
    assert_eq!((calendar.urn.as_str(), calendar.academic_year), ("100001", 2025));
    assert_eq!(
        (calendar.days.len(), calendar.terms.len(), calendar.notes.len()),
        (365, 3, 2)
    );
    for (date, expected) in [
        ("2025-09-01", Inset),
        ("2025-09-02", SchoolDay),
        ("2025-09-06", Unspecified),
        ("2025-09-19", Closure),
        ("2025-10-28", Unspecified),
        ("2026-03-27", SchoolDay),
    ] {
        assert_eq!(kind(&calendar, date), expected, "{date}");
    }
    let sql = "SELECT kind, count(*) FROM calendar_days WHERE given GROUP BY kind ORDER BY kind";
    let rows = world.sql().await.query(sql, &[]).await.unwrap();
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let school_days = i64::from(calendar.school_days);
    assert_eq!(
        counts,
        [
            ("closure".to_owned(), 1),
            ("inset".to_owned(), 1),
            ("school_day".to_owned(), school_days)
        ]
    );
}

#[tokio::test]
async fn all_schools_of_the_trust_get_a_calendar_at_once_and_no_others() {
    let world = World::on("2025-10-01").await;
    let other_trust = world.new_trust("Elm").await;
    world.school_of(&other_trust, "100009").await;
    let mut schools = vec![world.school("100001").await, world.school("100002").await];
    let answer = give(&world, update(&world, "")).await.unwrap();
    let given: Vec<_> = answer
        .calendars
        .iter()
        .map(|calendar| calendar.school_id.clone())
        .collect();
    schools.sort();
    assert_eq!(given, schools);

    let list = async |trust_id: &str, page_size: i32, page_token: &str| {
        let request = pb::ListCalendarsRequest {
            trust_id: trust_id.into(),
            page_size,
            page_token: page_token.into(),
            ..pb::ListCalendarsRequest::default()
        };
        world.admin().list_calendars(request).await.unwrap().into_inner()
    };
    let first = list(&world.trust_id, 1, "").await;
    let second = list(&world.trust_id, 1, &first.next_page_token).await;
    let listed: Vec<_> = first.calendars.iter().chain(&second.calendars).collect();
    assert!(listed.iter().all(|calendar| calendar.given));
    assert_eq!(listed.len(), 2);
    assert_eq!(second.next_page_token, "");
    let others = list(&other_trust, 0, "").await;
    assert!(!others.calendars[0].given && others.calendars[0].school_days == 0);
}

#[tokio::test]
async fn a_calendar_that_somebody_else_changed_is_not_overwritten_by_a_stale_etag() {
    let world = World::on("2025-10-01").await;
    world.school("100001").await;
    let first = give(&world, update(&world, "100001"))
        .await
        .unwrap()
        .calendars
        .remove(0);
    let with = |etag: &str| pb::UpdateCalendarRequest {
        etag: etag.into(),
        terms: vec![term("autumn", "2025-09-01", "2025-12-19")],
        ..update(&world, "100001")
    };
    let second = give(&world, with(&first.etag)).await.unwrap().calendars.remove(0);
    assert_ne!(second.etag, first.etag);
    let (code, reason, _) = refused(give(&world, with(&first.etag)).await);
    assert_eq!((code, reason.as_str()), (Code::Aborted, "STALE_ETAG"));
    assert_eq!(calendar_of(&world, "100001").await, second);

    let other_year = pb::UpdateCalendarRequest {
        academic_year: 2026,
        terms: vec![term("autumn", "2026-09-01", "2026-12-18")],
        notes: Vec::new(),
        ..with(&second.etag)
    };
    let (_, reason, _) = refused(give(&world, other_year).await);
    assert_eq!(reason, "STALE_ETAG", "of another year nobody has given any");
}

#[tokio::test]
async fn a_calendar_that_cannot_be_is_refused_with_the_field_at_fault() {
    let world = World::on("2025-10-01").await;
    world.school("100001").await;
    let request = || update(&world, "100001");
    let with_terms = |terms: Vec<pb::CalendarTerm>| pb::UpdateCalendarRequest { terms, ..request() };
    let with_note = |note: pb::CalendarNote| pb::UpdateCalendarRequest {
        notes: vec![note],
        ..request()
    };
    for (wrong, code, reason, field) in [
        (with_terms(vec![]), Code::InvalidArgument, "NO_SCHOOL_DAY", "terms"),
        (
            with_terms(vec![term("", "2025-09-01", "2025-12-19")]),
            Code::InvalidArgument,
            "MISSING_TEXT",
            "terms[0].name",
        ),
        (
            with_terms(vec![term("autumn", "2025-07-31", "2025-12-19")]),
            Code::InvalidArgument,
            "OUTSIDE_ACADEMIC_YEAR",
            "terms[0]",
        ),
        (
            with_terms(vec![
                term("a", "2025-09-01", "2025-12-19"),
                term("b", "2025-12-19", "2026-02-01"),
            ]),
            Code::InvalidArgument,
            "TERMS_OVERLAP",
            "terms[1]",
        ),
        (
            with_note(note(Inset, "2025-09-03", "2025-09-02", "")),
            Code::InvalidArgument,
            "ENDS_BEFORE_IT_BEGINS",
            "notes[0].last_day",
        ),
        (
            with_note(note(Unspecified, "2025-09-03", "", "")),
            Code::InvalidArgument,
            "UNKNOWN_DAY_KIND",
            "notes[0].kind",
        ),
        (
            pb::UpdateCalendarRequest {
                school: String::new(),
                ..request()
            },
            Code::InvalidArgument,
            "MISSING_SCHOOL",
            "school",
        ),
        (
            pb::UpdateCalendarRequest {
                all_schools: true,
                ..request()
            },
            Code::InvalidArgument,
            "AMBIGUOUS_SCHOOLS",
            "all_schools",
        ),
    ] {
        let (found, found_reason, fields) = refused(give(&world, wrong).await);
        assert_eq!(
            (found, found_reason.as_str(), fields),
            (code, reason, vec![field.to_owned()])
        );
    }
    let unknown = pb::UpdateCalendarRequest {
        school: "100009".into(),
        ..request()
    };
    assert_eq!(refused(give(&world, unknown).await).0, Code::NotFound);
    assert!(!calendar_of(&world, "100001").await.given);
}

#[tokio::test]
async fn without_a_given_calendar_the_days_with_marks_are_the_school_days() {
    let world = World::on("2025-12-01").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    world.record_days(&pupil, "2025-09-08", "2025-09-12", "/", "\\").await;
    world.record_days(&pupil, "2025-11-03", "2025-11-04", "/", "\\").await;
    let calendar = calendar_of(&world, &school).await;
    assert!(!calendar.given && calendar.etag.is_empty() && calendar.updated_at.is_none());
    assert_eq!(calendar.school_days, 7);
    let expected = [
        term("term 1", "2025-09-08", "2025-09-12"),
        term("term 2", "2025-11-03", "2025-11-04"),
    ];
    assert_eq!(calendar.terms, expected);
}

/// A world in spring: absent throughout autumn, present since, under a policy of the current term.
async fn world_by_term() -> (World, String) {
    let world = World::on("2026-02-27").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    world.record_days(&pupil, "2025-11-03", "2025-12-19", "O", "O").await;
    world.record_days(&pupil, "2026-01-05", "2026-02-27", "/", "\\").await;
    let settings = pb::PolicySettings {
        window: pb::PolicyWindow::CurrentTerm.into(),
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "").await;
    (world, pupil)
}

#[tokio::test]
async fn a_change_of_calendar_judges_pupils_anew_where_a_policy_follows_it() {
    let (world, pupil) = world_by_term().await;
    assert_eq!(
        world.stage(&pupil).await.stage(),
        pb::Stage::Universal,
        "the marks tell of two terms"
    );
    let one_term = pb::UpdateCalendarRequest {
        terms: vec![term("all", "2025-09-01", "2026-03-27")],
        ..update(&world, "100001")
    };
    let answer = give(&world, one_term).await.unwrap();
    assert_eq!(answer.transitions, 1);
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Four);
    let answer = give(&world, update(&world, "")).await.unwrap();
    assert_eq!(answer.transitions, 1);
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Universal);
    assert_eq!(give(&world, update(&world, "")).await.unwrap().transitions, 0);
}

#[tokio::test]
async fn a_policy_of_the_last_weeks_counts_school_weeks_by_the_calendar() {
    let world = World::on("2025-11-14").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    world.record_days(&pupil, "2025-10-13", "2025-10-17", "O", "O").await;
    for (from, to) in [("2025-10-20", "2025-10-24"), ("2025-11-03", "2025-11-14")] {
        world.record_days(&pupil, from, to, "/", "\\").await;
    }
    let settings = pb::PolicySettings {
        window: pb::PolicyWindow::SchoolWeeks.into(),
        window_school_weeks: 4,
        ..pb::PolicySettings::default()
    };
    let version = world.policy(settings).await;
    world.activate(version, "").await;
    assert_eq!(
        world.stage(&pupil).await.stage(),
        pb::Stage::Four,
        "three of four weeks, half term passed over"
    );
    // Half term becomes a school week, and the week of 13 October drops out of the window.
    let mut request = update(&world, "100001");
    request.notes.push(note(SchoolDay, "2025-10-29", "", "Open day"));
    assert_eq!(give(&world, request).await.unwrap().transitions, 1);
    assert_eq!(world.stage(&pupil).await.stage(), pb::Stage::Universal);
}

#[tokio::test]
async fn a_change_of_calendar_raises_and_clears_thresholds_that_count_school_weeks() {
    let world = World::on("2025-11-28").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    for (from, to) in [("2025-09-08", "2025-10-24"), ("2025-11-03", "2025-11-28")] {
        world.record_days(&pupil, from, to, "/", "\\").await;
    }
    // Five sessions in the first of eleven school weeks, and five in the last.
    for (from, to) in [("2025-09-08", "2025-09-12"), ("2025-11-24", "2025-11-28")] {
        world.record_days(&pupil, from, to, "O", "\\").await;
    }
    let events = async || {
        let request = pb::ListThresholdEventsRequest {
            trust_id: world.trust_id.clone(),
            ..pb::ListThresholdEventsRequest::default()
        };
        let answer = world.stages().list_threshold_events(request).await.unwrap();
        answer.into_inner().events.len()
    };
    assert_eq!(events().await, 0, "ten sessions within eleven weeks");
    let mut closed = update(&world, "100001");
    closed.notes.push(note(Closure, "2025-09-15", "2025-09-26", "Flooded"));
    give(&world, closed).await.unwrap();
    assert_eq!(events().await, 1, "within nine");
    give(&world, update(&world, "100001")).await.unwrap();
    assert_eq!(events().await, 0);
}
