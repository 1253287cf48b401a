//! Marks on days that the calendar has closed.

use graduated_response::proto as pb;

use super::{give, note, update};
use crate::common::World;
use crate::common::world::{at, enrolment, item};

/// The warnings of a batch of one pupil's marks: reason, field and code.
async fn warnings(
    world: &World,
    pupil: &str,
    from: pb::Session,
    run: &str,
) -> Vec<(String, String, pb::AttendanceCode)> {
    let result = world.try_record(vec![item(pupil, from, run)]).await.unwrap();
    assert_eq!(result.rejections, []);
    assert_eq!(usize::try_from(result.warnings_total).unwrap(), result.warnings.len());
    let warnings = result.warnings.into_iter();
    warnings
        .map(|found| (found.reason.clone(), found.field.clone(), found.code()))
        .collect()
}

#[tokio::test]
async fn a_mark_on_a_closed_day_counts_as_sent_with_a_warning() {
    let world = World::on("2025-11-01").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    give(&world, update(&world, "")).await.unwrap();
    // Friday 12 September, Saturday, Sunday, Monday.
    let found = warnings(&world, &pupil, at("2025-09-12", "AM"), r"/ \ I - # 0 O \").await;
    assert_eq!(
        found,
        [(
            "CALENDAR_CLOSED".to_owned(),
            "marks[2]".to_owned(),
            pb::AttendanceCode::I
        )]
    );
    for (date, run, expected) in [
        ("2025-09-01", r"/ \", 2),
        ("2025-09-19", r"/ -", 1),
        ("2025-10-27", "# #", 0),
        ("2025-10-27", r"O -", 1),
        ("2025-11-03", r"/ \", 0),
    ] {
        assert_eq!(
            warnings(&world, &pupil, at(date, "AM"), run).await.len(),
            expected,
            "{date} {run}"
        );
    }
    let tally = world.stage(&pupil).await.tally.unwrap();
    assert_eq!((tally.attended, tally.possible), (6, 9));
}

#[tokio::test]
async fn each_school_warns_by_its_own_calendar_and_none_without_one() {
    let world = World::on("2025-11-01").await;
    world.school("100001").await;
    world.school("100002").await;
    let enrolments = [
        enrolment("100001", pb::EnrolmentKind::Sole, "2025-09-01", "2025-09-12"),
        enrolment("100002", pb::EnrolmentKind::Sole, "2025-09-13", ""),
    ];
    let pupil = world.pupil_enrolled("mover", &enrolments).await;
    let mut calendar = update(&world, "100001");
    calendar
        .notes
        .push(note(pb::CalendarDayKind::Closure, "2025-09-12", "", "Founders"));
    give(&world, calendar).await.unwrap();
    let found = warnings(&world, &pupil, at("2025-09-12", "AM"), r"/ \ / \ / \").await;
    let fields: Vec<_> = found
        .iter()
        .map(|(reason, field, _)| (reason.as_str(), field.as_str()))
        .collect();
    assert_eq!(
        fields,
        [("CALENDAR_CLOSED", "marks[0]"), ("CALENDAR_CLOSED", "marks[1]")]
    );
    // Another academic year has no calendar.
    world.turn_to("2026-10-01");
    assert_eq!(warnings(&world, &pupil, at("2026-09-12", "AM"), r"/ \").await, []);
}

#[tokio::test]
async fn a_mark_may_deserve_a_look_for_two_reasons() {
    let world = World::on("2025-11-01").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("one", &school).await;
    give(&world, update(&world, "")).await.unwrap();
    let found = warnings(&world, &pupil, at("2025-09-13", "AM"), "H").await;
    let reasons: Vec<_> = found.iter().map(|(reason, ..)| reason.as_str()).collect();
    assert_eq!(reasons, ["CODE_OUTSIDE_VALIDITY", "CALENDAR_CLOSED"]);
}
