//! The published national figures that the sample is drawn from.
//!
//! Source: Department for Education, "Pupil attendance in schools", academic year 2025/26; `data/README.md` has the
//! attribution and what the columns mean.

use std::collections::HashMap;

use super::{Phase, SampleError};
use crate::domain::code::AttendanceCode;

const FIGURES: &str = include_str!("../../data/dfe_attendance_2025_26.csv");

/// The column of each code of which the department publishes the number of sessions. `/` and `\` share a column.
const CODE_COLUMNS: [(AttendanceCode, &str); 21] = [
    (AttendanceCode::L, "reason_l_present_late_before_registers_closed"),
    (AttendanceCode::K, "reason_k_aea_education_arranged_by_la"),
    (AttendanceCode::V, "reason_v_aea_educational_visit_trip"),
    (AttendanceCode::P, "reason_p_aea_approved_sporting_activity"),
    (AttendanceCode::W, "reason_w_aea_work_experience"),
    (AttendanceCode::B, "reason_b_aea_education_off_site"),
    (AttendanceCode::J, "reason_j_aea_interview"),
    (AttendanceCode::C1, "reason_c1_authorised_regulated_performance"),
    (AttendanceCode::M, "reason_m_authorised_medical_dental"),
    (AttendanceCode::J1, "reason_j1_authorised_interview"),
    (AttendanceCode::S, "reason_s_authorised_study_leave"),
    (AttendanceCode::C2, "reason_c2_authorised_temp_reduced_timetable"),
    (AttendanceCode::C, "reason_c_authorised_other"),
    (AttendanceCode::T, "reason_t_authorised_mobile_child"),
    (AttendanceCode::R, "reason_r_authorised_religious_observance"),
    (AttendanceCode::I, "reason_i_authorised_illness"),
    (AttendanceCode::E, "reason_e_authorised_excluded"),
    (AttendanceCode::H, "reason_h_authorised_holiday"),
    (AttendanceCode::G, "reason_g_unauthorised_holiday"),
    (AttendanceCode::N, "reason_n_no_reason_yet"),
    (AttendanceCode::O, "reason_o_other_unauthorised"),
];

const CODE_U: (AttendanceCode, &str) = (AttendanceCode::U, "reason_u_unauthorised_late_after_registers_closed");

/// The national figures of one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPhase {
    /// The phase.
    pub phase: Phase,
    /// Sessions that could have been attended.
    pub possible: u64,
    /// Sessions attended, approved educational activity among them.
    pub attended: u64,
    /// Sessions of authorised absence.
    pub authorised: u64,
    /// Sessions of unauthorised absence.
    pub unauthorised: u64,
    /// Pupils who missed a tenth or more of their possible sessions, in per cent.
    pub persistent_absence_percent: f64,
    /// Possible sessions of a pupil whose school was open all year: over the average enrolment, made up for the schools
    /// that were closed while others were open.
    pub possible_per_pupil: f64,
    codes: HashMap<AttendanceCode, u64>,
}

impl PublishedPhase {
    /// Sessions under a code; 0 for one that is not published. Present marks are not among the codes.
    pub fn sessions(&self, code: AttendanceCode) -> u64 {
        self.codes.get(&code).copied().unwrap_or(0)
    }

    /// Sessions missed.
    pub fn missed(&self) -> u64 {
        self.authorised + self.unauthorised
    }

    /// Sessions of authorised absence that no published code explains: the withdrawn code F is in the department's total
    /// and not among its columns.
    pub fn authorised_without_code(&self) -> u64 {
        let explained: u64 = self
            .codes
            .iter()
            .filter(|(code, _)| code.category() == crate::domain::code::Category::AuthorisedAbsence)
            .map(|(_, sessions)| sessions)
            .sum();
        self.authorised.saturating_sub(explained)
    }
}

/// The national figures of the three phases, in the order of [`Phase::ALL`].
///
/// # Errors
///
/// [`SampleError::Published`] where the table lacks a row or a column.
pub fn national() -> Result<Vec<PublishedPhase>, SampleError> {
    let mut reader = csv::Reader::from_reader(FIGURES.as_bytes());
    let rows: Vec<HashMap<String, String>> = reader
        .deserialize()
        .collect::<Result<_, _>>()
        .map_err(|error| SampleError::Published(error.to_string()))?;
    Phase::ALL
        .into_iter()
        .map(|phase| {
            let row = rows
                .iter()
                .find(|row| {
                    row.get("geographic_level").map(String::as_str) == Some("National")
                        && row.get("education_phase").map(String::as_str) == Some(phase.name())
                })
                .ok_or_else(|| SampleError::Published(format!("no national row for phase {}", phase.name())))?;
            read_phase(phase, row)
        })
        .collect()
}

fn read_phase(phase: Phase, row: &HashMap<String, String>) -> Result<PublishedPhase, SampleError> {
    let codes = CODE_COLUMNS
        .iter()
        .chain([&CODE_U])
        .map(|(code, column)| Ok((*code, number(row, column)?)))
        .collect::<Result<_, SampleError>>()?;
    let possible: u64 = number(row, "possible_sessions")?;
    let schools_open: f64 = number(row, "num_schools")?;
    let schools: f64 = number(row, "total_num_schools")?;
    let enrolments: f64 = number(row, "enrolments")?;
    Ok(PublishedPhase {
        phase,
        possible,
        attended: number(row, "overall_attendance")?,
        authorised: number(row, "authorised_absence")?,
        unauthorised: number(row, "unauthorised_absence")?,
        persistent_absence_percent: number(row, "pa_perc")?,
        possible_per_pupil: possible as f64 / (enrolments * schools / schools_open),
        codes,
    })
}

fn number<T: std::str::FromStr>(row: &HashMap<String, String>, column: &str) -> Result<T, SampleError> {
    row.get(column)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| SampleError::Published(format!("column {column} holds no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_codes_add_up_to_the_published_absence() {
        for published in national().unwrap() {
            use crate::domain::code::Category;
            let sum = |category: Category| -> u64 {
                AttendanceCode::ALL
                    .iter()
                    .filter(|code| code.category() == category)
                    .map(|code| published.sessions(*code))
                    .sum()
            };
            assert_eq!(
                sum(Category::UnauthorisedAbsence),
                published.unauthorised,
                "{:?}",
                published.phase
            );
            assert_eq!(
                sum(Category::AuthorisedAbsence) + published.authorised_without_code(),
                published.authorised
            );
            assert!(published.authorised_without_code() <= 106);
            assert_eq!(published.attended + published.missed(), published.possible);
        }
    }
}
