//! What a policy makes of attendance that is given in a call.

use graduated_response::proto as pb;
use graduated_response::proto::Stage;
use graduated_response::proto::classify_attendance_request::Attendance;
use tonic::Code;
use uuid::Uuid;

use crate::common::world::marks;
use crate::common::{World, at, refused};

fn counts(attended: i64, possible: i64) -> pb::ClassifyAttendanceRequest {
    pb::ClassifyAttendanceRequest {
        attendance: Some(Attendance::Counts(pb::SessionCounts { attended, possible })),
        ..pb::ClassifyAttendanceRequest::default()
    }
}

fn run(first: pb::Session, text: &str) -> pb::ClassifyAttendanceRequest {
    pb::ClassifyAttendanceRequest {
        attendance: Some(Attendance::Marks(pb::MarkRun {
            first_session: Some(first),
            marks: marks(text),
        })),
        ..pb::ClassifyAttendanceRequest::default()
    }
}

async fn classify(world: &World, request: pb::ClassifyAttendanceRequest) -> pb::ClassifyAttendanceResponse {
    world.stages().classify_attendance(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn counts_are_judged_by_the_default_policy_where_no_trust_is_named() {
    let world = World::on("2025-10-10").await;
    let found = classify(&world, counts(90, 100)).await;
    assert_eq!(
        (
            found.stage(),
            found.computed_stage(),
            found.too_little_data,
            found.policy_version
        ),
        (Stage::Three, Stage::Three, false, 0)
    );
    assert_eq!(
        (found.attendance_percent.as_str(), found.minimum_possible),
        ("90.0", 20)
    );
    assert!(found.persistent_absence && !found.severe_absence);
    let band = found.band.unwrap();
    assert_eq!(
        (band.lower_tenths, band.upper_tenths, band.upper_inclusive),
        (800, 900, true)
    );
    // 91 of 101 is above 90; 90 of 113 is below 80.
    assert_eq!((found.improves[0].stage(), found.improves[0].sessions), (Stage::Two, 1));
    assert_eq!((found.worsens[0].stage(), found.worsens[0].sessions), (Stage::Four, 13));
    // Half missed is severe absence and stage 4.
    let half = classify(&world, counts(50, 100)).await;
    assert_eq!((half.stage(), half.severe_absence), (Stage::Four, true));
    let few = classify(&world, counts(10, 19)).await;
    assert_eq!(
        (few.stage(), few.computed_stage(), few.too_little_data),
        (Stage::Universal, Stage::Four, true)
    );
    let none = classify(&world, counts(0, 0)).await;
    assert_eq!(
        (none.stage(), none.too_little_data, none.attendance_percent.as_str()),
        (Stage::Universal, true, "")
    );
}

#[tokio::test]
async fn marks_are_counted_by_their_codes_with_a_warning_where_they_deserve_a_look() {
    let world = World::on("2025-10-10").await;
    // H has not been valid since August 2024; / belongs to mornings.
    let found = classify(&world, run(at("2025-09-08", "AM"), r"/ \ H / I X - U")).await;
    let tally = found.tally.unwrap();
    assert_eq!(
        (tally.attended, tally.possible, tally.authorised, tally.unauthorised),
        (3, 6, 2, 1)
    );
    let warnings = found
        .warnings
        .iter()
        .map(|warning| (warning.reason.as_str(), warning.field.as_str(), warning.session));
    assert_eq!(
        warnings.collect::<Vec<_>>(),
        [
            ("CODE_OUTSIDE_VALIDITY", "marks.marks[2]", Some(at("2025-09-09", "AM"))),
            ("CODE_OF_OTHER_HALF", "marks.marks[3]", Some(at("2025-09-09", "PM"))),
        ]
    );
}

#[tokio::test]
async fn a_trusts_policy_judges_the_one_in_force_a_version_or_a_schools() {
    let world = World::on("2025-10-10").await;
    let school = world.school("100001").await;
    let rounded = world
        .policy(pb::PolicySettings {
            comparison: pb::Comparison::Rounded.into(),
            minimum_possible: Some(0),
            ..pb::PolicySettings::default()
        })
        .await;
    // 343 of 381 is 90.03: above 90 exactly, and 90.0 where it is rounded.
    let of = |version: i32, school: &str| pb::ClassifyAttendanceRequest {
        trust_id: world.trust_id.clone(),
        policy_version: version,
        school: school.to_owned(),
        ..counts(343, 381)
    };
    let stage = async |request| {
        let found = classify(&world, request).await;
        (found.stage(), found.policy_version)
    };
    assert_eq!(stage(of(0, "")).await, (Stage::Two, 1));
    assert_eq!(
        stage(of(rounded, "")).await,
        (Stage::Three, rounded),
        "a draft is asked for by its version"
    );
    world.activate(rounded, &school).await;
    assert_eq!(stage(of(0, "100001")).await, (Stage::Three, rounded));
    assert_eq!(stage(of(0, "")).await, (Stage::Two, 1));
}

#[tokio::test]
async fn attendance_that_cannot_be_judged_is_refused_with_its_field() {
    let world = World::on("2025-10-10").await;
    let named = |trust: &str, version: i32, school: &str| pb::ClassifyAttendanceRequest {
        trust_id: trust.to_owned(),
        policy_version: version,
        school: school.to_owned(),
        ..counts(1, 1)
    };
    let too_long = r"/ \ ".repeat(400);
    for (request, field) in [
        (pb::ClassifyAttendanceRequest::default(), "attendance"),
        (counts(2, 1), "counts.attended"),
        (counts(-1, 1), "counts.attended"),
        (counts(0, -1), "counts.possible"),
        (counts(0, 1_000_000_000_001), "counts.possible"),
        (run(at("2025-09-08", "AM"), "- -"), "marks.marks"),
        (run(at("2025-09-08", "AM"), "/ 0"), "marks.marks[1]"),
        (run(at("2025-09-08", "AM"), &too_long), "marks.marks"),
        (run(at("1200-09-08", "AM"), "/"), "marks.first_session.date"),
        (run(pb::Session::default(), "/"), "marks.first_session.half"),
        (named("mine", 0, ""), "trust_id"),
        (named("", 1, ""), "trust_id"),
        (named("", 0, "100001"), "trust_id"),
        (named(&world.trust_id, -1, ""), "policy_version"),
        (named(&world.trust_id, 99, ""), "policy_version"),
        (named(&world.trust_id, 1, "100001"), "policy_version"),
        (named(&world.trust_id, 0, "one"), "school"),
    ] {
        let (code, _, fields) = refused(world.stages().classify_attendance(request.clone()).await);
        assert_eq!(
            (code, fields),
            (Code::InvalidArgument, vec![field.to_owned()]),
            "{request:?}"
        );
    }
    for request in [
        named(&Uuid::new_v4().to_string(), 0, ""),
        named(&world.trust_id, 0, "100009"),
    ] {
        assert_eq!(
            refused(world.stages().classify_attendance(request).await).0,
            Code::NotFound
        );
    }
}
