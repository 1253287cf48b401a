//! What people who query by hand see.

use graduated_response::domain::code::{AttendanceCode, Category};
use graduated_response::proto as pb;

use super::world_of_two_trusts;
use crate::common::world::{at, enrolment, person};
use crate::common::{World, marks};

#[tokio::test]
async fn the_table_of_codes_says_what_the_service_counts() {
    let world = World::on("2025-10-01").await;
    let rows = world
        .sql()
        .await
        .query(
            "SELECT byte, code, category, possible, attended FROM attendance_codes ORDER BY byte",
            &[],
        )
        .await
        .unwrap();
    let word = |category: Category| match category {
        Category::Attending => "attending",
        Category::ApprovedEducationalActivity => "approved_educational_activity",
        Category::AuthorisedAbsence => "authorised_absence",
        Category::UnauthorisedAbsence => "unauthorised_absence",
        Category::NotPossible => "not_possible",
        Category::Administrative => "administrative",
    };
    let stored: Vec<(i16, String, String, bool, bool)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect();
    let counted = AttendanceCode::ALL.iter().map(|code| {
        let category = code.category();
        (
            i16::from(code.byte()),
            code.as_str().to_owned(),
            word(category).to_owned(),
            category.possible(),
            category.attended(),
        )
    });
    assert_eq!(stored, counted.collect::<Vec<_>>());
}

#[tokio::test]
async fn marks_are_one_row_each_with_their_date_half_and_code() {
    let world = World::on("2026-08-10").await;
    let school = world.school("100001").await;
    let pupil = world
        .pupil_enrolled("a", &[enrolment(&school, pb::EnrolmentKind::Sole, "2025-08-01", "")])
        .await;
    // The year's first and last sessions, the leap from year to year, and a day with one half marked.
    world.record(&pupil, at("2025-08-01", "AM"), "/ L").await;
    world.record(&pupil, at("2025-12-31", "PM"), "I D").await;
    world.record(&pupil, at("2026-07-31", "AM"), "G #").await;
    world.record(&pupil, at("2026-08-03", "PM"), "B").await;
    // One that is taken away leaves no row.
    world.record(&pupil, at("2025-10-01", "AM"), "N").await;
    world.record(&pupil, at("2025-10-01", "AM"), "0").await;
    let rows = world
        .sql()
        .await
        .query(
            "SELECT concat_ws(' ', session_date, session_half, academic_year, code, category, possible, attended)
             FROM marks WHERE trust_id::text = $1 AND pupil_id::text = $2 AND school_id::text = $3
             ORDER BY session_date, session_half",
            &[&world.trust_id, &pupil, &school],
        )
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    2025-08-01 AM 2025 / attending t t
    2025-08-01 PM 2025 L attending t t
    2025-12-31 PM 2025 I authorised_absence t f
    2026-01-01 AM 2025 D not_possible f f
    2026-07-31 AM 2025 G unauthorised_absence t f
    2026-07-31 PM 2025 # administrative f f
    2026-08-03 PM 2026 B approved_educational_activity t t
    ");
}

#[tokio::test]
async fn every_code_unpacks_as_it_was_sent() {
    let world = World::on("2025-11-28").await;
    let school = world.school("100001").await;
    let pupil = world.pupil("a", &school).await;
    let sent: Vec<&str> = AttendanceCode::ALL.iter().map(|code| code.as_str()).collect();
    let run = sent.join(" ");
    assert_eq!(marks(&run).len(), sent.len());
    world.record(&pupil, at("2025-09-01", "AM"), &run).await;
    let rows = world
        .sql()
        .await
        .query("SELECT code FROM marks ORDER BY session_date, session_half", &[])
        .await
        .unwrap();
    let unpacked: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(unpacked, sent);
}

#[tokio::test]
async fn actions_are_shown_alike_whether_somebody_has_touched_them_or_not() {
    let (world, _) = world_of_two_trusts().await;
    let key = pb::PupilKey {
        key: Some(pb::pupil_key::Key::Upn("Q999100125001".into())),
    };
    let pupil = world.try_stage(key).await.unwrap().pupil_id;
    let actions = world.actions_of(&pupil).await;
    let decline = pb::ProgressActionRequest {
        trust_id: world.trust_id.clone(),
        name: actions[3].name.clone(),
        etag: actions[3].etag.clone(),
        to_state: pb::ActionState::NotApplicable.into(),
        reason: "done elsewhere".into(),
        recorded_by: Some(person()),
        request_id: String::new(),
    };
    world.actions().progress_action(decline).await.unwrap();
    let actions = world.actions_of(&pupil).await;
    let shown = actions.iter().map(|action| {
        let version = action.etag.trim_matches('"').parse().unwrap();
        let (stage, state) = ((action.stage - 1) as i16, action.state as i16);
        (
            action.provision_id.clone(),
            action.episode,
            stage,
            action.title.clone(),
            state,
            version,
        )
    });
    let shown: Vec<(String, i32, i16, String, i16, i64)> = shown.collect();
    let rows = world
        .sql()
        .await
        .query(
            "SELECT provision_id, episode, stage, title, state, version FROM pupil_actions
             WHERE trust_id::text = $1 AND pupil_id::text = $2 ORDER BY ordinal",
            &[&world.trust_id, &pupil],
        )
        .await
        .unwrap();
    let stored: Vec<(String, i32, i16, String, i16, i64)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5)))
        .collect();
    assert_eq!(stored, shown);
    let touched = stored.iter().filter(|row| row.5 > 0).count();
    assert_eq!((stored.len(), touched), (40, 2));
}
