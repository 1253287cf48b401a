//! Of `StageService`: attendance and movements of a school or the trust, counted.

use super::convert::{count, date, optional_date, optional_school_key, to_date, to_stage, to_tally, trust_id};
use super::forecasts::period;
use crate::domain::pupil::YEAR_GROUPS;
use crate::domain::stage::Stage;
use crate::domain::summary::AbsenceCounts;
use crate::proto as pb;
use crate::service::attendance::{AttendanceQuery, AttendanceSummary, Figures, GroupKey, Grouping};
use crate::service::error::FieldViolation;
use crate::service::movements::{Counting, MovementQuery, Movements};
use crate::service::{Service, ServiceError};

pub(super) async fn summarize_attendance(
    service: &Service,
    request: pb::SummarizeAttendanceRequest,
) -> Result<pb::SummarizeAttendanceResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let query = AttendanceQuery {
        school: optional_school_key("school", &request.school)?,
        grouping: grouping(request.grouping)?,
        period: period(
            request.academic_year,
            request.from_date.as_ref(),
            request.to_date.as_ref(),
        )?,
        suppress_small_numbers: request.suppress_small_numbers,
    };
    Ok(to_attendance(service.summarize_attendance(trust, &query).await?))
}

pub(super) async fn summarize_movements(
    service: &Service,
    request: pb::SummarizeMovementsRequest,
) -> Result<pb::SummarizeMovementsResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let query = MovementQuery {
        school: optional_school_key("school", &request.school)?,
        counting: match pb::MovementCounting::try_from(request.counting) {
            Ok(pb::MovementCounting::Unspecified | pb::MovementCounting::FirstToLast) => Counting::FirstToLast,
            Ok(pb::MovementCounting::EveryMove) => Counting::EveryMove,
            Err(_) => {
                let message = "give a counting of the contract";
                return Err(FieldViolation::new("counting", "UNKNOWN_COUNTING", message).into());
            }
        },
        from: date("from_date", request.from_date.as_ref())?,
        to: optional_date("to_date", request.to_date.as_ref())?,
        suppress_small_numbers: request.suppress_small_numbers,
    };
    Ok(to_movements(service.summarize_movements(trust, &query).await?))
}

fn grouping(number: i32) -> Result<Grouping, FieldViolation> {
    match pb::AttendanceGrouping::try_from(number) {
        Ok(pb::AttendanceGrouping::Unspecified) => Ok(Grouping::None),
        Ok(pb::AttendanceGrouping::School) => Ok(Grouping::School),
        Ok(pb::AttendanceGrouping::YearGroup) => Ok(Grouping::YearGroup),
        Ok(pb::AttendanceGrouping::Week) => Ok(Grouping::Week),
        Ok(pb::AttendanceGrouping::Term) => Ok(Grouping::Term),
        Err(_) => {
            let message = "give a grouping of the contract: by school, year group, week or term";
            Err(FieldViolation::new("grouping", "UNKNOWN_GROUPING", message))
        }
    }
}

fn to_count(value: Option<u64>) -> pb::Count {
    pb::Count {
        value: count(value.unwrap_or(0)),
        suppressed: value.is_none(),
    }
}

fn to_figures(figures: &Figures) -> pb::AttendanceFigures {
    let counts_of = |counts: AbsenceCounts, hidden: [bool; 3]| {
        let values = [counts.with_sessions, counts.persistent, counts.severe];
        let shown = |place: usize| Some(to_count((!hidden[place]).then_some(values[place])));
        [shown(0), shown(1), shown(2)]
    };
    let counts = &figures.counts;
    let [pupils, persistent_pupils, severe_pupils] = counts_of(counts.pupils, figures.pupils_hidden);
    let [enrolments, persistent, severe] = counts_of(counts.enrolments, figures.enrolments_hidden);
    let tally = (!figures.tally_hidden).then_some(counts.tally);
    pb::AttendanceFigures {
        tally: tally.map(to_tally),
        attendance_percent: tally.map(|tally| tally.attendance_percent()).unwrap_or_default(),
        tally_suppressed: figures.tally_hidden,
        pupils,
        persistently_absent_pupils: persistent_pupils,
        severely_absent_pupils: severe_pupils,
        enrolments,
        persistently_absent_enrolments: persistent,
        severely_absent_enrolments: severe,
    }
}

fn to_group(key: GroupKey, figures: &Figures) -> pb::AttendanceGroup {
    let mut group = pb::AttendanceGroup {
        figures: Some(to_figures(figures)),
        ..pb::AttendanceGroup::default()
    };
    let span = match key {
        GroupKey::School(school) => {
            group.school_id = school.school_id.to_string();
            group.urn = school.urn;
            group.school_name = school.name;
            None
        }
        GroupKey::YearGroup(number) => {
            let place = number.and_then(|number| usize::try_from(number - 1).ok());
            let text = place.and_then(|place| YEAR_GROUPS.get(place));
            group.year_group = text.copied().unwrap_or_default().to_owned();
            None
        }
        GroupKey::Week(span) => Some(span),
        GroupKey::Term(name, span) => {
            group.term = name;
            Some(span)
        }
        GroupKey::OutsideTerms => None,
    };
    group.from_date = span.map(|span| to_date(span.first));
    group.to_date = span.map(|span| to_date(span.last));
    group
}

fn to_attendance(summary: AttendanceSummary) -> pb::SummarizeAttendanceResponse {
    pb::SummarizeAttendanceResponse {
        from_date: Some(to_date(summary.period.from)),
        to_date: Some(to_date(summary.period.to)),
        whole: Some(to_figures(&summary.whole)),
        groups: summary
            .groups
            .into_iter()
            .map(|(key, figures)| to_group(key, &figures))
            .collect(),
        small_number_limit: count(summary.small_number_limit.unwrap_or(0)),
    }
}

fn to_movements(found: Movements) -> pb::SummarizeMovementsResponse {
    // After the stages comes none: who joined, or left.
    let stages = || {
        let all = Stage::ALL.into_iter().map(|stage| i32::from(to_stage(stage)));
        all.chain([i32::from(pb::Stage::Unspecified)])
    };
    let row_of = |row: &[Option<u64>]| -> Vec<pb::MovementCell> {
        let cells = stages().zip(row).map(|(to_stage, count)| pb::MovementCell {
            to_stage,
            count: Some(to_count(*count)),
        });
        cells.collect()
    };
    let total_of = |row: &[Option<u64>]| row.last().copied().map(to_count);
    let rows = stages().zip(&found.counts).map(|(from_stage, row)| pb::MovementRow {
        from_stage,
        cells: row_of(row),
        total: total_of(row),
    });
    let totals = found.counts.last().map_or(&[][..], Vec::as_slice);
    pb::SummarizeMovementsResponse {
        from_date: Some(to_date(found.from)),
        to_date: Some(to_date(found.to)),
        rows: rows.collect(),
        totals: row_of(totals),
        total: total_of(totals),
        small_number_limit: count(found.small_number_limit.unwrap_or(0)),
    }
}
