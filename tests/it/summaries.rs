//! Attendance and movements of schools and the trust, counted over a period.

mod movements;

use graduated_response::proto as pb;
use graduated_response::proto::AttendanceGrouping;
use graduated_response::service::Limits;
use tonic::Code;
use uuid::Uuid;

use crate::common::calendar::give_calendar;
use crate::common::world::{enrolment, pb_date, pupil_input};
use crate::common::{World, at, refused};

/// Two schools on Friday 26 September, 40 sessions into the year, with five pupils:
/// - at the first, in year 7: one always there, and one who missed four sessions of the second week;
/// - in year 8, one who missed all of the second week and then moved to the second school;
/// - at the second, in year 8, one who left after two weeks; and one without marks, of no year group.
async fn world_of_two_schools(limits: Limits) -> (World, [String; 2]) {
    let world = World::with_limits("2025-09-26", limits).await;
    let schools = [world.school("100001").await, world.school("100002").await];
    let on_roll =
        |school: usize, start: &str, end: &str| enrolment(&schools[school], pb::EnrolmentKind::Sole, start, end);
    let pupil = |name: &str, year_group: i32, enrolments: &[pb::Enrolment]| pb::PupilInput {
        year_group,
        ..pupil_input(name, enrolments)
    };
    let (seven, eight) = (pb::YearGroup::YearGroup7 as i32, pb::YearGroup::YearGroup8 as i32);
    let inputs = vec![
        pupil("always", seven, &[on_roll(0, "2025-09-01", "")]),
        pupil("four", seven, &[on_roll(0, "2025-09-01", "")]),
        pupil(
            "moved",
            eight,
            &[on_roll(0, "2025-09-01", "2025-09-12"), on_roll(1, "2025-09-15", "")],
        ),
        pupil("left", eight, &[on_roll(1, "2025-09-01", "2025-09-12")]),
        pupil("unmarked", 0, &[on_roll(1, "2025-09-01", "")]),
    ];
    let answer = world.upsert(inputs).await.unwrap();
    assert_eq!(answer.rejections, []);
    let ids = answer.pupil_ids;
    for place in [0, 1, 2] {
        world
            .record_days(&ids[place], "2025-09-01", "2025-09-26", "/", "\\")
            .await;
    }
    world.record_days(&ids[1], "2025-09-08", "2025-09-09", "I", "O").await;
    world.record_days(&ids[2], "2025-09-08", "2025-09-12", "I", "I").await;
    world.record_days(&ids[3], "2025-09-01", "2025-09-12", "/", "\\").await;
    (world, schools)
}

fn request(world: &World, school: &str, grouping: AttendanceGrouping) -> pb::SummarizeAttendanceRequest {
    pb::SummarizeAttendanceRequest {
        trust_id: world.trust_id.clone(),
        school: school.to_owned(),
        grouping: grouping.into(),
        ..pb::SummarizeAttendanceRequest::default()
    }
}

async fn summarize(world: &World, request: pb::SummarizeAttendanceRequest) -> pb::SummarizeAttendanceResponse {
    world.stages().summarize_attendance(request).await.unwrap().into_inner()
}

/// Attended and possible; pupils, persistently and severely absent; the same of enrolments. A suppressed count is -1.
type Seen = ((i64, i64), [i32; 3], [i32; 3]);

fn seen(figures: Option<&pb::AttendanceFigures>) -> Seen {
    let figures = figures.unwrap();
    let count = |count: &Option<pb::Count>| {
        let count = count.as_ref().unwrap();
        assert!(!count.suppressed || count.value == 0);
        if count.suppressed { -1 } else { count.value }
    };
    assert_eq!(figures.tally_suppressed, figures.tally.is_none());
    let tally = figures.tally.map_or((-1, -1), |tally| (tally.attended, tally.possible));
    (
        tally,
        [
            &figures.pupils,
            &figures.persistently_absent_pupils,
            &figures.severely_absent_pupils,
        ]
        .map(count),
        [
            &figures.enrolments,
            &figures.persistently_absent_enrolments,
            &figures.severely_absent_enrolments,
        ]
        .map(count),
    )
}

fn groups<'a>(
    answer: &'a pb::SummarizeAttendanceResponse,
    key: fn(&'a pb::AttendanceGroup) -> &'a str,
) -> Vec<(&'a str, Seen)> {
    let groups = answer.groups.iter();
    groups.map(|group| (key(group), seen(group.figures.as_ref()))).collect()
}

#[tokio::test]
async fn a_pupil_who_moved_counts_once_as_a_pupil_and_twice_as_enrolments() {
    let (world, schools) = world_of_two_schools(Limits::default()).await;
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::School)).await;
    assert_eq!(
        (answer.from_date, answer.to_date),
        (Some(pb_date("2025-08-01")), Some(pb_date("2025-09-26")))
    );
    // The pupil who moved was there for 30 of 40: over all a quarter missed, at the first school half.
    assert_eq!(seen(answer.whole.as_ref()), ((126, 140), [4, 2, 0], [5, 2, 1]));
    let whole = answer.whole.as_ref().unwrap();
    assert_eq!(whole.attendance_percent, "90.0");
    let tally = whole.tally.unwrap();
    assert_eq!((tally.authorised, tally.unauthorised), (12, 2));
    assert_eq!(
        groups(&answer, |group| &group.urn),
        [
            ("100001", ((86, 100), [3, 2, 0], [3, 2, 1])),
            ("100002", ((40, 40), [2, 1, 0], [2, 0, 0])),
        ]
    );
    assert_eq!(answer.groups[0].school_id, schools[0]);
    // One school's whole is its group.
    let one = summarize(&world, request(&world, "100001", AttendanceGrouping::Unspecified)).await;
    assert_eq!(seen(one.whole.as_ref()), ((86, 100), [3, 2, 0], [3, 2, 1]));
    assert_eq!(one.groups, []);
}

#[tokio::test]
async fn attendance_by_year_group_and_by_week_is_counted_from_the_marks() {
    let (world, _) = world_of_two_schools(Limits::default()).await;
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::YearGroup)).await;
    assert_eq!(
        groups(&answer, |group| &group.year_group),
        [
            ("7", ((76, 80), [2, 1, 0], [2, 1, 0])),
            ("8", ((50, 60), [2, 1, 0], [3, 1, 1])),
        ]
    );
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::Week)).await;
    let weeks = answer
        .groups
        .iter()
        .map(|group| (group.from_date.unwrap(), seen(group.figures.as_ref())));
    assert_eq!(
        weeks.collect::<Vec<_>>(),
        [
            (pb_date("2025-09-01"), ((40, 40), [4, 0, 0], [4, 0, 0])),
            // 6 of 10, and none of 10.
            (pb_date("2025-09-08"), ((26, 40), [4, 2, 1], [4, 2, 1])),
            (pb_date("2025-09-15"), ((30, 30), [3, 0, 0], [3, 0, 0])),
            (pb_date("2025-09-22"), ((30, 30), [3, 0, 0], [3, 0, 0])),
        ]
    );
    assert_eq!(answer.groups[0].to_date, Some(pb_date("2025-09-07")));
    // Of the first school alone, over part of the weeks.
    let part = pb::SummarizeAttendanceRequest {
        from_date: Some(pb_date("2025-09-09")),
        to_date: Some(pb_date("2025-09-15")),
        ..request(&world, "100001", AttendanceGrouping::Week)
    };
    let answer = summarize(&world, part).await;
    assert_eq!(seen(answer.whole.as_ref()), ((18, 28), [3, 2, 1], [3, 2, 1]));
    let weeks = answer.groups.iter().map(|group| seen(group.figures.as_ref()));
    assert_eq!(
        weeks.collect::<Vec<_>>(),
        [((14, 24), [3, 2, 1], [3, 2, 1]), ((4, 4), [2, 0, 0], [2, 0, 0])]
    );
}

#[tokio::test]
async fn terms_are_each_schools_own_and_days_outside_of_them_stand_apart() {
    let (world, schools) = world_of_two_schools(Limits::default()).await;
    give_calendar(
        &world,
        &schools[0],
        &["autumn 2025-09-01 2025-10-24", "autumn 2025-11-03 2025-12-19"],
        &[],
    )
    .await;
    give_calendar(&world, &schools[1], &["autumn 2025-09-03 2025-10-17"], &[]).await;
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::Term)).await;
    assert_eq!(
        groups(&answer, |group| &group.term),
        [
            ("autumn", ((122, 136), [4, 2, 0], [5, 2, 1])),
            ("", ((4, 4), [1, 0, 0], [1, 0, 0])),
        ]
    );
    assert_eq!(
        (
            answer.groups[0].from_date,
            answer.groups[0].to_date,
            answer.groups[1].from_date
        ),
        (Some(pb_date("2025-09-01")), Some(pb_date("2025-12-19")), None)
    );
}

#[tokio::test]
async fn small_numbers_are_suppressed_with_those_from_which_they_would_follow() {
    let limits = Limits {
        small_number_limit: 3,
        ..Limits::default()
    };
    let (world, _) = world_of_two_schools(limits).await;
    let suppressed = |grouping| pb::SummarizeAttendanceRequest {
        suppress_small_numbers: true,
        ..request(&world, "", grouping)
    };
    let answer = summarize(&world, suppressed(AttendanceGrouping::School)).await;
    assert_eq!(answer.small_number_limit, 3);
    // 2 pupils at the second school are few, and 3 at the first would tell them: 4 less 3, or nearly.
    assert_eq!(seen(answer.whole.as_ref()), ((126, 140), [4, -1, 0], [5, -1, -1]));
    assert_eq!(
        groups(&answer, |group| &group.urn),
        [
            ("100001", ((-1, -1), [-1, -1, 0], [-1, -1, -1])),
            ("100002", ((-1, -1), [-1, -1, 0], [-1, 0, 0])),
        ]
    );
    assert_eq!(answer.groups[0].figures.as_ref().unwrap().attendance_percent, "");
    // Where the server's limit is higher than all there is, nothing is told but what is nobody.
    let (world, _) = world_of_two_schools(Limits::default()).await;
    let answer = summarize(
        &world,
        pb::SummarizeAttendanceRequest {
            suppress_small_numbers: true,
            ..request(&world, "", AttendanceGrouping::Unspecified)
        },
    )
    .await;
    assert_eq!(
        (answer.small_number_limit, seen(answer.whole.as_ref())),
        (6, ((-1, -1), [-1, -1, 0], [-1, -1, -1]))
    );
    // Whoever may see pupils sees all of it.
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::Unspecified)).await;
    assert_eq!(
        (answer.small_number_limit, seen(answer.whole.as_ref()).1),
        (0, [4, 2, 0])
    );
}

#[tokio::test]
async fn a_wrong_question_about_attendance_is_refused_with_its_field() {
    let (world, _) = world_of_two_schools(Limits::default()).await;
    let whole = request(&world, "", AttendanceGrouping::Unspecified);
    let wrong = [
        (
            pb::SummarizeAttendanceRequest {
                trust_id: "mine".into(),
                ..whole.clone()
            },
            "trust_id",
        ),
        (
            pb::SummarizeAttendanceRequest {
                school: "one".into(),
                ..whole.clone()
            },
            "school",
        ),
        (
            pb::SummarizeAttendanceRequest {
                grouping: 9,
                ..whole.clone()
            },
            "grouping",
        ),
        (
            pb::SummarizeAttendanceRequest {
                from_date: Some(pb_date("2025-09-27")),
                ..whole.clone()
            },
            "from_date",
        ),
        (
            pb::SummarizeAttendanceRequest {
                to_date: Some(pb::Date::default()),
                ..whole.clone()
            },
            "to_date",
        ),
    ];
    for (asked, field) in wrong {
        let (code, _, fields) = refused(world.stages().summarize_attendance(asked).await);
        assert_eq!((code, fields), (Code::InvalidArgument, vec![field.to_owned()]));
    }
    for asked in [
        pb::SummarizeAttendanceRequest {
            trust_id: Uuid::new_v4().to_string(),
            ..whole.clone()
        },
        pb::SummarizeAttendanceRequest {
            school: "100009".into(),
            ..whole.clone()
        },
    ] {
        assert_eq!(
            refused(world.stages().summarize_attendance(asked).await).0,
            Code::NotFound
        );
    }
}

#[tokio::test]
async fn marks_ahead_of_their_day_are_in_no_figure() {
    let world = World::on("2025-09-12").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("ada", &school).await;
    world.record(&pupil, at("2025-09-12", "AM"), "/ \\ - - - - C C").await;
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::Week)).await;
    assert_eq!(answer.groups.len(), 1);
    assert_eq!(seen(answer.whole.as_ref()), ((2, 2), [1, 0, 0], [1, 0, 0]));
    world.turn_to("2025-09-15");
    let answer = summarize(&world, request(&world, "", AttendanceGrouping::Week)).await;
    assert_eq!(seen(answer.whole.as_ref()), ((2, 4), [1, 1, 1], [1, 1, 1]));
}
