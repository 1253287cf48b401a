//! The department's published figures, reproduced: registers that hold exactly the published counts of each code, sent
//! through the port, give the department's own totals back, to the session.

use std::collections::HashMap;

use graduated_response::domain::code::AttendanceCode;
use graduated_response::proto as pb;

use crate::common::world::{by_name, enrolment, pupil_input};
use crate::common::{World, at};

/// The published column of each code, by what the department's own totals take it for.
const ATTENDED: [(&str, &str); 9] = [
    ("reason_present_am", "/"),
    ("reason_present_pm", "\\"),
    ("reason_l_present_late_before_registers_closed", "L"),
    ("reason_b_aea_education_off_site", "B"),
    ("reason_j_aea_interview", "J"),
    ("reason_p_aea_approved_sporting_activity", "P"),
    ("reason_v_aea_educational_visit_trip", "V"),
    ("reason_w_aea_work_experience", "W"),
    ("reason_k_aea_education_arranged_by_la", "K"),
];
const AUTHORISED: [(&str, &str); 11] = [
    ("reason_i_authorised_illness", "I"),
    ("reason_m_authorised_medical_dental", "M"),
    ("reason_r_authorised_religious_observance", "R"),
    ("reason_s_authorised_study_leave", "S"),
    ("reason_t_authorised_mobile_child", "T"),
    ("reason_h_authorised_holiday", "H"),
    ("reason_e_authorised_excluded", "E"),
    ("reason_c_authorised_other", "C"),
    ("reason_c1_authorised_regulated_performance", "C1"),
    ("reason_j1_authorised_interview", "J1"),
    ("reason_c2_authorised_temp_reduced_timetable", "C2"),
];
const UNAUTHORISED: [(&str, &str); 4] = [
    ("reason_g_unauthorised_holiday", "G"),
    ("reason_u_unauthorised_late_after_registers_closed", "U"),
    ("reason_o_other_unauthorised", "O"),
    ("reason_n_no_reason_yet", "N"),
];

/// Sessions of a register: every half day of 2025/26.
const SESSIONS: usize = 730;
/// At least three local authorities come at full size, of so many sessions or more.
const FULL_SIZE_SESSIONS_MIN: i64 = 2_000_000;
/// Other rows are scaled down to so many registers.
const REGISTERS_OF_SCALED: usize = 40;

struct Row {
    name: String,
    of_local_authority: bool,
    counts: Vec<(u8, i64)>,
    attended: i64,
    authorised: i64,
    unauthorised: i64,
    possible: i64,
}

fn byte(code: &str) -> u8 {
    AttendanceCode::parse(code).unwrap().byte()
}

/// The rows that add up: whose published counts of codes sum to the published totals. The others lack the withdrawn F.
fn rows_that_add_up() -> Vec<Row> {
    let mut reader = csv::Reader::from_path("data/dfe_attendance_2025_26.csv").unwrap();
    let mut rows = Vec::new();
    for record in reader.deserialize::<HashMap<String, String>>() {
        let record = record.unwrap();
        let number = |column: &str| {
            record
                .get(column)
                .map_or(0, |text| text.parse::<f64>().unwrap_or(0.0) as i64)
        };
        let sum = |columns: &[(&str, &str)]| columns.iter().map(|(column, _)| number(column)).sum::<i64>();
        let adds_up = sum(&ATTENDED) == number("overall_attendance")
            && sum(&AUTHORISED) == number("authorised_absence")
            && sum(&UNAUTHORISED) == number("unauthorised_absence")
            && number("overall_attendance") + number("overall_absence") == number("possible_sessions");
        if !adds_up {
            continue;
        }
        let columns = ATTENDED.iter().chain(&AUTHORISED).chain(&UNAUTHORISED);
        rows.push(Row {
            name: ["geographic_level", "region_name", "la_name", "education_phase"]
                .map(|key| record[key].as_str())
                .join(" "),
            of_local_authority: record["geographic_level"] == "Local authority",
            counts: columns.map(|(column, code)| (byte(code), number(column))).collect(),
            attended: number("overall_attendance"),
            authorised: number("authorised_absence"),
            unauthorised: number("unauthorised_absence"),
            possible: number("possible_sessions"),
        });
    }
    rows
}

/// Spreads counts of codes over registers, one code after the other, register by register.
fn registers(counts: &[(u8, i64)]) -> Vec<Vec<u8>> {
    let marks: Vec<u8> = counts
        .iter()
        .flat_map(|(code, count)| std::iter::repeat_n(*code, usize::try_from(*count).unwrap()))
        .collect();
    marks.chunks(SESSIONS).map(<[u8]>::to_vec).collect()
}

/// Loads registers as one school of a new trust, and returns the school's counts.
async fn tally_of(world: &World, name: &str, registers: &[Vec<u8>]) -> pb::Tally {
    let trust_id = world.new_trust(name).await;
    let school = world.school_of(&trust_id, "100001").await;
    for (batch, registers) in registers.chunks(5_000).enumerate() {
        let names: Vec<String> = (0..registers.len()).map(|n| format!("{batch}-{n}")).collect();
        let on_roll = [enrolment(&school, pb::EnrolmentKind::Sole, "2025-08-01", "")];
        let request = pb::BatchUpsertPupilsRequest {
            trust_id: trust_id.clone(),
            pupils: names.iter().map(|name| pupil_input(name, &on_roll)).collect(),
            ..pb::BatchUpsertPupilsRequest::default()
        };
        assert_eq!(
            world
                .pupils()
                .batch_upsert_pupils(request)
                .await
                .unwrap()
                .into_inner()
                .rejected,
            0
        );
        let items = names.iter().zip(registers).map(|(name, marks)| pb::SessionItem {
            pupil: Some(by_name(name)),
            first_session: Some(at("2025-08-01", "AM")),
            marks: marks.iter().map(|mark| i32::from(*mark)).collect(),
            ..pb::SessionItem::default()
        });
        let request = pb::RecordSessionsRequest {
            trust_id: trust_id.clone(),
            batch: Some(pb::SessionBatch {
                items: items.collect(),
                ..pb::SessionBatch::default()
            }),
        };
        let result = world
            .sessions()
            .record_sessions(request)
            .await
            .unwrap()
            .into_inner()
            .result
            .unwrap();
        assert_eq!(result.rejections, [], "{name}");
    }
    let request = pb::SummarizeSchoolRequest { trust_id, school };
    let summary = world.stages().summarize_school(request).await.unwrap().into_inner();
    summary.school.unwrap().summary.unwrap().tally.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_departments_totals_come_back_to_the_session_at_the_full_size_of_three_local_authorities() {
    let world = World::on("2026-07-31").await;
    let mut large: Vec<Row> = rows_that_add_up()
        .into_iter()
        .filter(|row| row.of_local_authority && row.possible >= FULL_SIZE_SESSIONS_MIN)
        .collect();
    large.sort_by_key(|row| row.possible);
    assert!(large.len() >= 3, "three local authorities of full size");
    for row in &large[..3] {
        let tally = tally_of(&world, &row.name, &registers(&row.counts)).await;
        assert_eq!(
            (tally.attended, tally.authorised, tally.unauthorised, tally.possible),
            (row.attended, row.authorised, row.unauthorised, row.possible),
            "{}",
            row.name
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_that_adds_up_gives_its_totals_back_scaled_by_whole_registers() {
    let world = World::on("2026-07-31").await;
    let rows = rows_that_add_up();
    assert_eq!(rows.len(), 81, "the other 20 rows lack the withdrawn code F");
    let category: HashMap<u8, usize> = [&ATTENDED[..], &AUTHORISED, &UNAUTHORISED]
        .iter()
        .enumerate()
        .flat_map(|(total, columns)| columns.iter().map(move |(_, code)| (byte(code), total)))
        .collect();
    for row in &rows {
        // A share of the counts, as many whole registers as it fills; every code that was published stays.
        let share =
            |count: i64| (count * (REGISTERS_OF_SCALED * SESSIONS) as i64 / row.possible.max(1)).max(count.min(1));
        let counts: Vec<(u8, i64)> = row.counts.iter().map(|(code, count)| (*code, share(*count))).collect();
        let mut expected = [0i64; 3];
        for (code, count) in &counts {
            expected[category[code]] += count;
        }
        let tally = tally_of(&world, &row.name, &registers(&counts)).await;
        assert_eq!(
            [tally.attended, tally.authorised, tally.unauthorised],
            expected,
            "{}",
            row.name
        );
        assert_eq!(tally.possible, expected.iter().sum::<i64>(), "{}", row.name);
    }
}
