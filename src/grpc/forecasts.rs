//! Of `StageService`: forecasts, patterns, and what a policy makes of attendance that is given.

use chrono::Weekday;
use prost::Message as _;

use super::convert::{
    count, optional_date, optional_school_key, pupil_key, session, to_category, to_code, to_date, to_session, to_stage,
    to_tally, to_warning, trust_id,
};
use super::page_token;
use super::sessions::academic_year;
use super::stages::{to_band, to_move};
use crate::domain::forecast::{Ahead, Outlook, Reach};
use crate::domain::patterns::{CodeSessions, DayPosition, Spell};
use crate::domain::register::CLEAR;
use crate::domain::session::{AcademicYear, Session};
use crate::domain::stage::Stage;
use crate::domain::tally::Tally;
use crate::proto as pb;
use crate::service::classify::{GivenAttendance, PolicyQuery};
use crate::service::error::FieldViolation;
use crate::service::forecasts::{PupilForecast, PupilPatterns};
use crate::service::period::PeriodQuery;
use crate::service::persistent_absence::{Crossing, CrossingQuery};
use crate::service::sessions::check_run;
use crate::service::{Service, ServiceError};

/// The most possible sessions that counts may be of: those of the whole country in a year are some thousands of millions.
const POSSIBLE_MAX: i64 = 1_000_000_000_000;
/// Within how many sessions a crossing is looked for at the most, and where nothing is said.
const CROSSING_SESSIONS: (u32, u32) = (400, 20);
/// Of how many school weeks a rate is at the most, and where nothing is said.
const RATE_SCHOOL_WEEKS: (u32, u32) = (40, 4);

pub(super) async fn forecast_pupil_stage(
    service: &Service,
    request: pb::ForecastPupilStageRequest,
) -> Result<pb::ForecastPupilStageResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let pupil = pupil_key("pupil", request.pupil.as_ref())?;
    Ok(to_forecast(service.forecast_pupil_stage(trust, &pupil).await?))
}

pub(super) async fn get_attendance_patterns(
    service: &Service,
    request: pb::GetAttendancePatternsRequest,
) -> Result<pb::GetAttendancePatternsResponse, ServiceError> {
    let trust = trust_id(&request.trust_id)?;
    let pupil = pupil_key("pupil", request.pupil.as_ref())?;
    let period = period(
        request.academic_year,
        request.from_date.as_ref(),
        request.to_date.as_ref(),
    )?;
    Ok(to_patterns(service.attendance_patterns(trust, &pupil, period).await?))
}

pub(super) async fn classify_attendance(
    service: &Service,
    request: pb::ClassifyAttendanceRequest,
) -> Result<pb::ClassifyAttendanceResponse, ServiceError> {
    let policy = PolicyQuery {
        trust: match request.trust_id.as_str() {
            "" => None,
            text => Some(trust_id(text)?),
        },
        version: match request.policy_version {
            0 => None,
            version if version > 0 => Some(version),
            _ => {
                let message = "give the version of a policy, from 1, or 0 for the one in force";
                return Err(FieldViolation::new("policy_version", "UNKNOWN_POLICY_VERSION", message).into());
            }
        },
        school: optional_school_key("school", &request.school)?,
    };
    let given = given_attendance(request.attendance.as_ref())?;
    let found = service.classify_attendance(&policy, &given).await?;
    Ok(pb::ClassifyAttendanceResponse {
        policy_version: found.policy_version,
        stage: to_stage(found.judgement.stage).into(),
        computed_stage: to_stage(found.judgement.computed_stage).into(),
        too_little_data: found.judgement.too_little_data,
        minimum_possible: count(found.minimum_possible),
        tally: Some(to_tally(found.tally)),
        attendance_percent: found.tally.attendance_percent(),
        band: Some(to_band(&found.band)),
        persistent_absence: found.tally.persistently_absent(),
        severe_absence: found.tally.severely_absent(),
        improves: found.improves.iter().map(to_move).collect(),
        worsens: found.worsens.iter().map(to_move).collect(),
        warnings: found.warnings.into_iter().map(to_warning).collect(),
    })
}

pub(super) async fn forecast_persistent_absence(
    service: &Service,
    request: pb::ForecastPersistentAbsenceRequest,
) -> Result<pb::ForecastPersistentAbsenceResponse, ServiceError> {
    const LIST: &str = "ForecastPersistentAbsence";
    let filters = pb::ForecastPersistentAbsenceRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    }
    .encode_to_vec();
    let trust = trust_id(&request.trust_id)?;
    let query = CrossingQuery {
        school: optional_school_key("school", &request.school)?,
        sessions: number("sessions", "INVALID_SESSIONS", request.sessions, CROSSING_SESSIONS)?,
        rate_school_weeks: number(
            "rate_school_weeks",
            "INVALID_SCHOOL_WEEKS",
            request.rate_school_weeks,
            RATE_SCHOOL_WEEKS,
        )?,
    };
    let (size, token) = (request.page_size, &request.page_token);
    let page = page_token::page(LIST, &filters, size, token, &service.limits)?;
    let found = service.forecast_persistent_absence(trust, &query, page).await?;
    Ok(pb::ForecastPersistentAbsenceResponse {
        as_of: Some(to_date(found.as_of)),
        next_page_token: page_token::encode(LIST, &filters, found.page.next.as_ref()),
        pupils: found.page.rows.iter().map(to_crossing).collect(),
        pupils_with_sessions: count(found.pupils_with_sessions),
        persistently_absent_pupils: count(found.persistently_absent),
    })
}

/// A number from 1 to a most, or what stands for 0.
fn number(field: &str, reason: &'static str, given: i32, (most, default): (u32, u32)) -> Result<u32, FieldViolation> {
    match u32::try_from(given) {
        Ok(0) => Ok(default),
        Ok(number) if number <= most => Ok(number),
        _ => Err(FieldViolation::new(
            field,
            reason,
            format!("give 1 to {most}, or 0 for {default}"),
        )),
    }
}

/// The days of a request: an academic year, or dates.
pub(super) fn period(year: i32, from: Option<&pb::Date>, to: Option<&pb::Date>) -> Result<PeriodQuery, FieldViolation> {
    Ok(PeriodQuery {
        year: match year {
            0 => None,
            year => Some(academic_year(year)?),
        },
        from: optional_date("from_date", from)?,
        to: optional_date("to_date", to)?,
    })
}

fn given_attendance(
    given: Option<&pb::classify_attendance_request::Attendance>,
) -> Result<GivenAttendance, FieldViolation> {
    use pb::classify_attendance_request::Attendance;
    match given {
        Some(Attendance::Counts(counts)) => {
            if !(0..=POSSIBLE_MAX).contains(&counts.possible) {
                let message = format!("give 0 to {POSSIBLE_MAX} possible sessions");
                return Err(FieldViolation::new("counts.possible", "INVALID_COUNTS", message));
            }
            if !(0..=counts.possible).contains(&counts.attended) {
                let message = "give 0 to as many attended sessions as were possible";
                return Err(FieldViolation::new("counts.attended", "INVALID_COUNTS", message));
            }
            Ok(GivenAttendance::Counts(Tally {
                attended: counts.attended.unsigned_abs(),
                possible: counts.possible.unsigned_abs(),
                ..Tally::default()
            }))
        }
        Some(Attendance::Marks(run)) => {
            let first_session = session("marks.first_session", run.first_session.as_ref())?;
            let place = AcademicYear::containing(first_session.date)
                .and_then(|year| Some((year, year.index_of(first_session)?)));
            let Some((year, first)) = place else {
                let message = format!(
                    "give a date in the academic years {} to {}",
                    AcademicYear::RANGE.start(),
                    AcademicYear::RANGE.end()
                );
                return Err(FieldViolation::new("marks.first_session.date", "INVALID_DATE", message));
            };
            let marks = check_run(year, first, &run.marks).map_err(|violation| FieldViolation {
                field: format!("marks.{}", violation.field),
                ..violation
            })?;
            if let Some(place) = marks.iter().position(|mark| *mark == CLEAR) {
                let message = "there is no mark to take away here: leave the session unspecified";
                return Err(FieldViolation::new(
                    format!("marks.marks[{place}]"),
                    "UNKNOWN_CODE",
                    message,
                ));
            }
            Ok(GivenAttendance::Marks { year, first, marks })
        }
        None => {
            let message = "give counts, or marks with the session of the first";
            Err(FieldViolation::new("attendance", "MISSING_ATTENDANCE", message))
        }
    }
}

fn to_reach(reach: Reach) -> pb::Forecast {
    let (reach, sessions, session) = match reach {
        Reach::ThisYear { sessions, session } => (pb::ForecastReach::ThisYear, sessions, Some(session)),
        Reach::NotThisYear { sessions } => (pb::ForecastReach::NotThisYear, sessions.unwrap_or(0), None),
        Reach::Undated { sessions } => (pb::ForecastReach::Undated, sessions, None),
        Reach::NotKnown => (pb::ForecastReach::NotKnown, 0, None),
    };
    pb::Forecast {
        reach: reach.into(),
        sessions: count(sessions),
        session: session.map(to_domain_session),
    }
}

fn to_domain_session(session: Session) -> pb::Session {
    to_session(session.into())
}

fn to_outlook(outlook: Outlook) -> pb::YearOutlook {
    pb::YearOutlook {
        tally: Some(to_tally(outlook.tally)),
        attendance_percent: outlook.tally.attendance_percent(),
        stage: to_stage(outlook.judgement.stage).into(),
        persistent_absence: outlook.tally.persistently_absent(),
        severe_absence: outlook.tally.severely_absent(),
    }
}

fn to_forecast(found: PupilForecast) -> pb::ForecastPupilStageResponse {
    let stage_forecasts = |reached: &[(Stage, Reach)]| {
        let reached = reached.iter().map(|(stage, reach)| pb::StageForecast {
            stage: to_stage(*stage).into(),
            forecast: Some(to_reach(*reach)),
        });
        reached.collect()
    };
    let (ahead, sessions) = match &found.forecast.ahead {
        Ahead::Sessions(sessions) => (pb::SessionsAhead::ByCalendar, sessions.as_slice()),
        Ahead::NoCalendar => (pb::SessionsAhead::NoCalendar, &[][..]),
        Ahead::NotOnRoll => (pb::SessionsAhead::NotOnRoll, &[][..]),
    };
    let (assessment, forecast) = (&found.assessment, &found.forecast);
    pb::ForecastPupilStageResponse {
        pupil_id: found.pupil_id.to_string(),
        as_of: Some(to_date(assessment.as_of)),
        academic_year: i32::from(assessment.year.start_year()),
        policy_version: assessment.policy_version,
        stage: to_stage(assessment.stage).into(),
        computed_stage: to_stage(forecast.judgement.computed_stage).into(),
        too_little_data: forecast.judgement.too_little_data,
        tally: Some(to_tally(forecast.tally)),
        attendance_percent: forecast.tally.attendance_percent(),
        sessions_ahead: ahead.into(),
        sessions_left: count(sessions.len()),
        last_session: sessions.last().copied().map(to_domain_session),
        judged: forecast.judged.map(to_reach),
        improves: stage_forecasts(&forecast.improves),
        worsens: stage_forecasts(&forecast.worsens),
        best: forecast.best.map(to_outlook),
        worst: forecast.worst.map(to_outlook),
    }
}

fn to_code_count(found: &CodeSessions) -> pb::CodeCount {
    pb::CodeCount {
        code: to_code(found.code).into(),
        category: to_category(found.code.category()).into(),
        sessions: count(found.sessions),
        sessions_outside_validity: count(found.outside_validity),
    }
}

fn to_spell(spell: &Spell) -> pb::AbsenceSpell {
    pb::AbsenceSpell {
        from_session: Some(to_domain_session(spell.from)),
        to_session: Some(to_domain_session(spell.to)),
        sessions: count(spell.sessions),
        codes: spell.codes.iter().map(to_code_count).collect(),
    }
}

fn to_weekday(weekday: Weekday) -> pb::Weekday {
    match weekday {
        Weekday::Mon => pb::Weekday::Monday,
        Weekday::Tue => pb::Weekday::Tuesday,
        Weekday::Wed => pb::Weekday::Wednesday,
        Weekday::Thu => pb::Weekday::Thursday,
        Weekday::Fri => pb::Weekday::Friday,
        Weekday::Sat => pb::Weekday::Saturday,
        Weekday::Sun => pb::Weekday::Sunday,
    }
}

fn to_position(position: DayPosition) -> pb::DayPosition {
    match position {
        DayPosition::FirstOfTerm => pb::DayPosition::FirstOfTerm,
        DayPosition::LastOfTerm => pb::DayPosition::LastOfTerm,
        DayPosition::BeforeHoliday => pb::DayPosition::BeforeHoliday,
        DayPosition::AfterHoliday => pb::DayPosition::AfterHoliday,
        DayPosition::BeforeInset => pb::DayPosition::BeforeInset,
        DayPosition::AfterInset => pb::DayPosition::AfterInset,
    }
}

fn to_patterns(found: PupilPatterns) -> pb::GetAttendancePatternsResponse {
    let patterns = found.patterns;
    let weekdays = patterns.weekdays.iter().map(|pattern| pb::WeekdayPattern {
        weekday: to_weekday(pattern.weekday).into(),
        am: Some(to_tally(pattern.morning)),
        pm: Some(to_tally(pattern.afternoon)),
    });
    let weeks = patterns.weeks.iter().map(|(monday, tally)| pb::WeekPattern {
        week_from: Some(to_date(*monday)),
        tally: Some(to_tally(*tally)),
    });
    let calendar_given = patterns.positions.is_some();
    let positions = patterns.positions.into_iter().flatten();
    let positions = positions.map(|(position, pattern)| pb::DayPositionPattern {
        position: to_position(position).into(),
        days: count(pattern.days),
        tally: Some(to_tally(pattern.tally)),
        missed_dates: pattern.missed.into_iter().map(to_date).collect(),
    });
    pb::GetAttendancePatternsResponse {
        pupil_id: found.pupil_id.to_string(),
        from_date: Some(to_date(found.period.from)),
        to_date: Some(to_date(found.period.to)),
        tally: Some(to_tally(patterns.tally)),
        attendance_percent: patterns.tally.attendance_percent(),
        am: Some(to_tally(patterns.morning)),
        pm: Some(to_tally(patterns.afternoon)),
        weekdays: weekdays.collect(),
        weeks: weeks.collect(),
        codes: patterns.codes.iter().map(to_code_count).collect(),
        spells: patterns.spells.iter().map(to_spell).collect(),
        calendar_given,
        positions: positions.collect(),
        lost_learning_minutes: count(patterns.lost_learning_minutes),
    }
}

fn to_crossing(found: &Crossing) -> pb::PersistentAbsenceForecast {
    pb::PersistentAbsenceForecast {
        pupil_id: found.pupil_id.to_string(),
        stage: to_stage(found.stage).into(),
        year_tally: Some(to_tally(found.year_tally)),
        attendance_percent: found.year_tally.attendance_percent(),
        rate_tally: Some(to_tally(found.rate_tally)),
        rate_from: Some(to_date(found.rate_from)),
        sessions: count(found.sessions),
        session: found.session.map(to_domain_session),
    }
}
