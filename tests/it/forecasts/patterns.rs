//! When a pupil attends and when not.

use graduated_response::proto as pb;
use graduated_response::proto::{AttendanceCode, DayPosition, Weekday};
use tonic::Code;

use crate::common::calendar::give_calendar;
use crate::common::world::{by_id, pb_date};
use crate::common::{World, at, refused};

fn request(world: &World, pupil: &str) -> pb::GetAttendancePatternsRequest {
    pb::GetAttendancePatternsRequest {
        trust_id: world.trust_id.clone(),
        pupil: Some(by_id(pupil)),
        ..pb::GetAttendancePatternsRequest::default()
    }
}

async fn patterns(world: &World, pupil: &str) -> pb::GetAttendancePatternsResponse {
    let answer = world.stages().get_attendance_patterns(request(world, pupil)).await;
    answer.unwrap().into_inner()
}

fn counts(tally: Option<pb::Tally>) -> (i64, i64) {
    tally.map(|tally| (tally.attended, tally.possible)).unwrap()
}

/// Since 2 September everything attended but for nine sessions, INSET on 1 September and 6 October, half term from
/// 27 October.
async fn world_with_pupil(calendar: bool) -> (World, String) {
    let world = World::on("2025-11-07").await;
    let school = world.school("100001").await;
    if calendar {
        let terms = ["autumn 2025-09-01 2025-10-24", "autumn 2025-11-03 2025-12-19"];
        give_calendar(&world, &school, &terms, &["2025-09-01", "2025-10-06"]).await;
    }
    let pupil = world.pupil("ada", &school).await;
    for (from, to) in [
        ("2025-09-02", "2025-10-03"),
        ("2025-10-07", "2025-10-24"),
        ("2025-11-03", "2025-11-07"),
    ] {
        world.record_days(&pupil, from, to, "/", "\\").await;
    }
    // Another pupil, so that the school has marks in every session.
    let other = world.pupil("bob", &school).await;
    world.record_days(&other, "2025-09-02", "2025-10-03", "/", "\\").await;
    for (date, half, run) in [
        ("2025-09-12", "AM", "I I"),
        ("2025-09-15", "AM", "I"),
        ("2025-09-17", "AM", "O 0 O"),
        ("2025-10-24", "AM", "G G"),
        ("2025-11-03", "AM", "G X O"),
    ] {
        world.record(&pupil, at(date, half), run).await;
    }
    (world, pupil)
}

#[tokio::test]
async fn patterns_tell_weekdays_halves_weeks_and_codes() {
    let (world, pupil) = world_with_pupil(true).await;
    let found = patterns(&world, &pupil).await;
    assert_eq!(
        (found.from_date, found.to_date),
        (Some(pb_date("2025-08-01")), Some(pb_date("2025-11-07")))
    );
    // 43 days, less a session without a mark and one that was not possible; nine missed.
    assert_eq!(
        (counts(found.tally), found.attendance_percent.as_str()),
        ((75, 84), "89.3")
    );
    assert_eq!((counts(found.am), counts(found.pm)), ((36, 43), (39, 41)));
    let fridays = found
        .weekdays
        .iter()
        .find(|pattern| pattern.weekday() == Weekday::Friday)
        .unwrap();
    assert_eq!((counts(fridays.am), counts(fridays.pm)), ((7, 9), (7, 9)));
    assert_eq!(found.weekdays.len(), 5);
    assert_eq!(found.weeks.len(), 9);
    let week = &found.weeks[1];
    assert_eq!(
        (week.week_from, counts(week.tally)),
        (Some(pb_date("2025-09-08")), (8, 10))
    );
    let codes = found.codes.iter().map(|count| (count.code(), count.sessions));
    assert_eq!(
        codes.collect::<Vec<_>>(),
        [
            (AttendanceCode::PresentMorning, 36),
            (AttendanceCode::PresentAfternoon, 39),
            (AttendanceCode::X, 1),
            (AttendanceCode::I, 3),
            (AttendanceCode::G, 3),
            (AttendanceCode::O, 3),
        ]
    );
    assert_eq!(found.lost_learning_minutes, 9 * 195);
}

#[tokio::test]
async fn a_spell_goes_on_over_weekends_and_holidays_and_ends_with_attendance_or_a_blank() {
    for calendar in [true, false] {
        let (world, pupil) = world_with_pupil(calendar).await;
        let found = patterns(&world, &pupil).await;
        let spells = found.spells.iter().map(|spell| {
            let codes = spell
                .codes
                .iter()
                .map(|count| (count.code(), count.sessions))
                .collect::<Vec<_>>();
            (
                spell.from_session.unwrap(),
                spell.to_session.unwrap(),
                spell.sessions,
                codes,
            )
        });
        assert_eq!(
            spells.collect::<Vec<_>>(),
            [
                (
                    at("2025-09-12", "AM"),
                    at("2025-09-15", "AM"),
                    3,
                    vec![(AttendanceCode::I, 3)]
                ),
                (
                    at("2025-09-17", "AM"),
                    at("2025-09-17", "AM"),
                    1,
                    vec![(AttendanceCode::O, 1)]
                ),
                (
                    at("2025-09-18", "AM"),
                    at("2025-09-18", "AM"),
                    1,
                    vec![(AttendanceCode::O, 1)]
                ),
                (
                    at("2025-10-24", "AM"),
                    at("2025-11-04", "AM"),
                    4,
                    vec![(AttendanceCode::G, 3), (AttendanceCode::O, 1)]
                ),
            ]
        );
    }
}

#[tokio::test]
async fn days_next_to_holidays_inset_and_the_ends_of_terms_are_told_by_the_calendar_alone() {
    let (world, pupil) = world_with_pupil(true).await;
    let found = patterns(&world, &pupil).await;
    assert!(found.calendar_given);
    let positions = found.positions.iter().map(|pattern| {
        (
            pattern.position(),
            pattern.days,
            counts(pattern.tally),
            pattern.missed_dates.clone(),
        )
    });
    assert_eq!(
        positions.collect::<Vec<_>>(),
        [
            (DayPosition::FirstOfTerm, 1, (2, 2), vec![]),
            (DayPosition::BeforeHoliday, 1, (0, 2), vec![pb_date("2025-10-24")]),
            (DayPosition::AfterHoliday, 2, (2, 3), vec![pb_date("2025-11-03")]),
            (DayPosition::BeforeInset, 1, (2, 2), vec![]),
            (DayPosition::AfterInset, 1, (2, 2), vec![]),
        ]
    );
    let (world, pupil) = world_with_pupil(false).await;
    let found = patterns(&world, &pupil).await;
    assert!(!found.calendar_given && found.positions.is_empty());
}

#[tokio::test]
async fn a_period_of_patterns_is_of_one_academic_year_and_not_to_come() {
    let (world, pupil) = world_with_pupil(true).await;
    let ask = async |year: i32, from: &str, to: &str| {
        let date = |text: &str| (!text.is_empty()).then(|| pb_date(text));
        let asked = pb::GetAttendancePatternsRequest {
            academic_year: year,
            from_date: date(from),
            to_date: date(to),
            ..request(&world, &pupil)
        };
        world.stages().get_attendance_patterns(asked).await
    };
    let part = ask(0, "2025-09-12", "2025-09-15").await.unwrap().into_inner();
    assert_eq!((counts(part.tally), part.spells.len()), ((1, 4), 1));
    // Days to come count for nothing.
    let term = ask(0, "2025-11-03", "2025-12-19").await.unwrap().into_inner();
    assert_eq!(
        (term.to_date, counts(term.tally)),
        (Some(pb_date("2025-11-07")), (7, 9))
    );
    let before = ask(2024, "", "").await.unwrap().into_inner();
    assert_eq!(
        (before.to_date, counts(before.tally)),
        (Some(pb_date("2025-07-31")), (0, 0))
    );
    assert_eq!(before.attendance_percent, "");
    for (year, from, to, field) in [
        (2025, "2025-09-01", "", "academic_year"),
        (0, "2025-09-02", "2025-09-01", "to_date"),
        (0, "2025-07-01", "2025-09-01", "to_date"),
        (0, "2025-11-08", "", "from_date"),
        (2026, "", "", "academic_year"),
        (1, "", "", "academic_year"),
        (0, "", "1900-01-01", "to_date"),
    ] {
        let (code, _, fields) = refused(ask(year, from, to).await);
        assert_eq!(
            (code, fields),
            (Code::InvalidArgument, vec![field.to_owned()]),
            "{year} {from} {to}"
        );
    }
}
