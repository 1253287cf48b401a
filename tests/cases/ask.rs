//! The questions of a case, asked through the port.

use chrono::{DateTime, NaiveDate, Utc};
use graduated_response::grpc::convert::{to_date, to_timestamp};
use graduated_response::service::Limits;

use crate::common::World;
use crate::common::world::{by_id, pb};
use crate::notation::Case;
use crate::refusal::Refusal;
use crate::setup::{Setting, settings_of};

/// On which day and as known at which moment; nothing for today and now.
#[derive(Clone, Copy, Debug, Default)]
pub struct When {
    pub as_of: Option<NaiveDate>,
    pub known_at: Option<DateTime<Utc>>,
}

/// What the policy of a case makes of bare counts.
pub async fn classification(case: &Case, counts: &str, url: String) -> Result<pb::ClassifyAttendanceResponse, Refusal> {
    let (attended, possible) = counts.split_once('/').expect("attended/possible");
    let count = |count: &str| count.trim().parse::<i64>().expect("a count");
    let world = World::over(url, "2025-11-14", Limits::default()).await;
    let policy_version = world.policy(settings_of(&case.given.policy)).await;
    let counts = pb::SessionCounts {
        attended: count(attended),
        possible: count(possible),
    };
    let request = pb::ClassifyAttendanceRequest {
        trust_id: world.trust_id.clone(),
        policy_version,
        attendance: Some(pb::classify_attendance_request::Attendance::Counts(counts)),
        ..pb::ClassifyAttendanceRequest::default()
    };
    Ok(world.stages().classify_attendance(request).await?.into_inner())
}

impl Setting {
    /// The pupil's stage, with its counts.
    pub async fn stage(&self, when: When) -> Result<pb::PupilStage, Refusal> {
        let request = pb::GetPupilStageRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupil_id)),
            as_of: when.as_of.map(to_date),
            known_at: when.known_at.map(to_timestamp),
        };
        let answer = self.world.stages().get_pupil_stage(request).await?.into_inner();
        Ok(answer.pupil_stage.expect("a stage"))
    }

    /// What the pupil has reached in the academic year of the day, as the notation writes it. Early warnings and triggers of a
    /// policy are none of it.
    pub async fn thresholds(&self, when: When) -> Result<Vec<String>, Refusal> {
        let request = pb::ListPupilThresholdsRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupil_id)),
            as_of: when.as_of.map(to_date),
            known_at: when.known_at.map(to_timestamp),
        };
        let answer = self.world.stages().list_pupil_thresholds(request).await?.into_inner();
        let mut thresholds: Vec<_> = answer.thresholds.iter().filter_map(threshold_name).collect();
        let year_tally = answer.year_tally.unwrap_or_default();
        thresholds.extend(absence(answer.persistent_absence, answer.severe_absence, year_tally));
        Ok(thresholds)
    }

    /// Why the pupil is at the stage today.
    pub async fn explanation(&self) -> Result<pb::ExplainPupilStageResponse, Refusal> {
        let request = pb::ExplainPupilStageRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupil_id)),
        };
        Ok(self.world.stages().explain_pupil_stage(request).await?.into_inner())
    }

    /// The pupil's registers of an academic year, as they are now.
    pub async fn registers(&self, academic_year: i32) -> Result<Vec<pb::Register>, Refusal> {
        let request = pb::ListRegistersRequest {
            trust_id: self.world.trust_id.clone(),
            pupil: Some(by_id(&self.pupil_id)),
            academic_year,
        };
        let answer = self.world.sessions().list_registers(request).await?.into_inner();
        Ok(answer.registers)
    }
}

/// A stage as the notation writes it.
pub fn stage_name(stage: i32) -> String {
    match pb::Stage::try_from(stage) {
        Ok(pb::Stage::Universal) => "U".to_owned(),
        Ok(pb::Stage::Unspecified) | Err(_) => "none".to_owned(),
        Ok(stage) => (i32::from(stage) - 1).to_string(),
    }
}

/// A threshold as the notation writes it; nothing for what the notation does not speak of.
fn threshold_name(threshold: &pb::Threshold) -> Option<String> {
    let session = threshold.proved_by.unwrap_or_default();
    let date = session.date.unwrap_or_default();
    let day = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let half = match session.half() {
        pb::SessionHalf::Am => "AM",
        pb::SessionHalf::Pm => "PM",
        pb::SessionHalf::Unspecified => "none",
    };
    match threshold.kind() {
        pb::ThresholdKind::IllnessCumulative => Some(format!("illness_15_cumulative {day} {half}")),
        pb::ThresholdKind::IllnessConsecutive => Some(format!("illness_15_consecutive {day} {half}")),
        pb::ThresholdKind::UnauthorisedDays => Some(format!("unauthorised_10_days {day}")),
        pb::ThresholdKind::PenaltyNotice => Some(format!("penalty_notice {day} {half}")),
        pb::ThresholdKind::IllnessExpected
        | pb::ThresholdKind::AbsencesInRow
        | pb::ThresholdKind::Spells
        | pb::ThresholdKind::WeekFall => None,
        pb::ThresholdKind::Unspecified => Some(format!("a threshold without a kind {day} {half}")),
    }
}

/// Persistent and severe absence as the notation writes them, of the counts of the year.
pub fn absence(persistent: bool, severe: bool, tally: pb::Tally) -> Vec<String> {
    let missed = format!("{}/{}", tally.possible - tally.attended, tally.possible);
    let named = [(persistent, "persistent"), (severe, "severe")];
    let reached = named.into_iter().filter(|(reached, _)| *reached);
    reached.map(|(_, name)| format!("{name} {missed}")).collect()
}
