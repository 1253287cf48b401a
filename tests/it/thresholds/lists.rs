//! The list of events, and the return to the local authority.

use graduated_response::proto as pb;
use tonic::Code;

use super::{events, kinds, world_with_absent_pupil};
use crate::common::World;
use crate::common::world::{at, pb_date, pupil_input, refused};

fn return_of(world: &World) -> pb::ExportThresholdReturnRequest {
    pb::ExportThresholdReturnRequest {
        trust_id: world.trust_id.clone(),
        ..pb::ExportThresholdReturnRequest::default()
    }
}

#[tokio::test]
async fn the_list_can_be_asked_for_as_it_was_known_at_a_moment() {
    let (world, pupil) = world_with_absent_pupil().await;
    let then = events(&world, false).await;
    world.turn_to("2025-09-22");
    world.record(&pupil, at("2025-09-19", "PM"), "I").await;
    let now = events(&world, false).await;
    assert_eq!(kinds(&now), [pb::ThresholdKind::PenaltyNotice]);
    let known = async |at: &str, include_cleared: bool| {
        let request = pb::ListThresholdEventsRequest {
            trust_id: world.trust_id.clone(),
            include_cleared,
            known_at: Some(prost_types::Timestamp {
                seconds: format!("{at}T20:00:00Z")
                    .parse::<chrono::DateTime<chrono::Utc>>()
                    .unwrap()
                    .timestamp(),
                nanos: 0,
            }),
            ..pb::ListThresholdEventsRequest::default()
        };
        world
            .stages()
            .list_threshold_events(request)
            .await
            .unwrap()
            .into_inner()
            .events
    };
    assert_eq!(known("2025-09-18", true).await, []);
    assert_eq!(known("2025-09-19", false).await, then);
    assert_eq!(known("2025-09-19", true).await, then, "nothing was cleared then");
    assert_eq!(known("2025-09-22", false).await, now);
    assert_eq!(known("2025-09-22", true).await.len(), 2);
}

#[tokio::test]
async fn no_cell_of_the_return_is_a_formula_in_whatever_disguise() {
    let world = World::on("2025-09-19").await;
    let school = world.school("100001").await;
    for (place, name) in ["\u{ff1d}1+1", "Iqbal =1", "@SUM(A1)", "-1"].into_iter().enumerate() {
        let here = [crate::common::world::enrolment(
            &school,
            pb::EnrolmentKind::Sole,
            "2025-09-01",
            "",
        )];
        let input = pb::PupilInput {
            family_name: name.into(),
            ..pupil_input(&format!("pupil {place}"), &here)
        };
        let answer = world.upsert(vec![input]).await.unwrap();
        assert_eq!(answer.rejections, [], "{name}");
        world
            .record_days(&answer.pupil_ids[0], "2025-09-08", "2025-09-19", "O", "O")
            .await;
    }
    let csv = world
        .stages()
        .export_threshold_return(return_of(&world))
        .await
        .unwrap()
        .into_inner()
        .csv;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let mut names: Vec<String> = reader.records().map(|line| line.unwrap()[4].to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["'-1", "'@SUM(A1)", "'\u{ff1d}1+1", "Iqbal =1"]);
}

#[tokio::test]
async fn the_longest_return_fits_into_what_a_client_takes_and_a_longer_one_is_refused() {
    let (world, pupil) = world_with_absent_pupil().await;
    let sql = world.sql().await;
    // Events of one session each, from 1975 on: the return has a line for each.
    let insert = format!(
        "INSERT INTO threshold_events (trust_id, event_id, pupil_id, kind, academic_year, proved_by, sessions, raised_at)
         SELECT '{}', gen_random_uuid(), '{pupil}', 1, 2000, -n, ARRAY[-n], now() FROM generate_series(1, $1) AS n",
        world.trust_id
    );
    sql.execute(&insert, &[&9_999i32]).await.unwrap();
    let longest = world
        .stages()
        .export_threshold_return(return_of(&world))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(longest.lines, 10_000);
    sql.execute(&insert.replace("-n", "-10000 - n"), &[&1i32])
        .await
        .unwrap();
    let (code, _, fields) = refused(world.stages().export_threshold_return(return_of(&world)).await);
    assert_eq!((code, fields), (Code::InvalidArgument, vec!["to_date".to_owned()]));
    let shorter = pb::ExportThresholdReturnRequest {
        from_date: Some(pb_date("2025-09-01")),
        ..return_of(&world)
    };
    assert_eq!(
        world
            .stages()
            .export_threshold_return(shorter)
            .await
            .unwrap()
            .into_inner()
            .lines,
        1
    );
}
