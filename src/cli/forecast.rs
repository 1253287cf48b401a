//! `forecast`: what would move a pupil and by when, and who will cross into persistent absence.

use std::process::ExitCode;

use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::explain::{PupilArgument, parse_pupil};
use super::output::{date_text, grouped, lines, print, print_json, session_text, stage_text, table};
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{
    self, ForecastPersistentAbsenceRequest, ForecastPersistentAbsenceResponse, ForecastPupilStageRequest,
    ForecastPupilStageResponse, ForecastReach, SessionsAhead, StageForecast, YearOutlook,
};

/// Says what would move a pupil to another stage, and by when.
///
/// For each better stage, the sessions attended in a row that reach it; for each worse one, the absences; with the session of
/// the school's calendar on which that would be; and the best and the worst attendance that the year can still come to.
/// Without a pupil, who will cross into persistent absence at the rate of the last school weeks.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response forecast A999400125001              one pupil, by UPN, UUID or MIS identifier
  graduated-response forecast                            who in the trust will cross into persistent absence
  graduated-response forecast --school 999002 --sessions 40 --weeks 6
                                                         at one school, within 40 sessions at the rate of six weeks")]
pub struct ForecastArgs {
    /// The pupil: UUID, UPN, or the source and the value of an MIS identifier with a / between.
    #[arg(value_name = "PUPIL", value_parser = parse_pupil, conflicts_with_all = ["school", "sessions", "weeks", "limit"])]
    pub pupil: Option<PupilArgument>,
    /// Without a pupil: only pupils of this school, its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    pub school: Option<String>,
    /// Without a pupil: within how many possible sessions, at most 400.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=400))]
    pub sessions: i32,
    /// Without a pupil: at the rate of the last so many school weeks, at most 40.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=40))]
    pub weeks: i32,
    /// Without a pupil: list this many at the most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub limit: i32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `forecast PUPIL --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ForecastReport {
    /// The pupil's UUID.
    pub pupil_id: String,
    /// The day of the answer.
    pub as_of: String,
    /// The stage today: `U`, `1` to `5`.
    pub stage: String,
    /// The stage that the counts alone give.
    pub computed_stage: String,
    /// Whether there are fewer possible sessions than the policy's minimum.
    pub too_little_data: bool,
    /// Sessions attended, of those that the policy judges.
    pub attended: i64,
    /// Sessions possible, of those that the policy judges.
    pub possible: i64,
    /// Attendance in per cent with one decimal; empty where nothing was possible.
    pub attendance_percent: String,
    /// `by_calendar`, `no_calendar` or `not_on_roll`.
    pub sessions_ahead: String,
    /// Sessions without a mark that are left this year.
    pub sessions_left: i32,
    /// The last of them; empty where there is none.
    pub last_session: String,
    /// When the policy judges, where there is too little data.
    pub judged: Option<ReachReport>,
    /// The better stages.
    pub improves: Vec<ReachReport>,
    /// The worse stages.
    pub worsens: Vec<ReachReport>,
    /// The year where every session left is attended.
    pub best: Option<OutlookReport>,
    /// The year where every session left is missed.
    pub worst: Option<OutlookReport>,
}

/// When something is reached.
#[derive(Clone, Debug, Serialize)]
pub struct ReachReport {
    /// The stage; empty where it is not about one.
    pub stage: String,
    /// `this_year`, `not_this_year`, `undated` or `not_known`.
    pub reach: String,
    /// How many sessions in a row.
    pub sessions: i32,
    /// The last of them; empty where no date can be told.
    pub session: String,
}

/// What the year comes to.
#[derive(Clone, Debug, Serialize)]
pub struct OutlookReport {
    /// Sessions attended.
    pub attended: i64,
    /// Sessions possible.
    pub possible: i64,
    /// Attendance in per cent with one decimal; empty where nothing was possible.
    pub attendance_percent: String,
    /// The stage after the last session.
    pub stage: String,
}

/// What `forecast --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct CrossingsReport {
    /// The day of the answer.
    pub as_of: String,
    /// Pupils on roll with possible sessions.
    pub pupils_with_sessions: i32,
    /// Of those, pupils who are persistently absent already.
    pub persistently_absent_pupils: i32,
    /// Those who will cross, soonest first.
    pub pupils: Vec<CrossingReport>,
    /// True where there are more than the limit.
    pub more_pupils: bool,
}

/// A pupil on the way into persistent absence.
#[derive(Clone, Debug, Serialize)]
pub struct CrossingReport {
    /// The pupil's UUID.
    pub pupil_id: String,
    /// `U`, `1` to `5`.
    pub stage: String,
    /// Attendance of the year to date in per cent with one decimal.
    pub attendance_percent: String,
    /// Sessions missed in the weeks of the rate.
    pub rate_missed: i64,
    /// Sessions possible in them.
    pub rate_possible: i64,
    /// After how many further possible sessions.
    pub sessions: i32,
    /// The session on which that is; empty where no calendar tells.
    pub session: String,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &ForecastArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let mut client = StageServiceClient::new(channel);
    match &args.pupil {
        Some(pupil) => {
            let request = ForecastPupilStageRequest {
                trust_id: trust_id.to_string(),
                pupil: Some(pupil.into()),
            };
            let report = forecast_report(client.forecast_pupil_stage(request).await?.into_inner());
            if args.json {
                print_json(&report)?;
            } else {
                print(&forecast_for_people(&report))?;
            }
        }
        None => {
            let request = ForecastPersistentAbsenceRequest {
                trust_id: trust_id.to_string(),
                school: args.school.clone().unwrap_or_default(),
                sessions: args.sessions,
                rate_school_weeks: args.weeks,
                page_size: args.limit,
                page_token: String::new(),
            };
            let report = crossings_report(client.forecast_persistent_absence(request).await?.into_inner());
            if args.json {
                print_json(&report)?;
            } else {
                print(&crossings_for_people(args, &report))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn reach_report(stage: String, forecast: &proto::Forecast) -> ReachReport {
    let reach = match forecast.reach() {
        ForecastReach::ThisYear => "this_year",
        ForecastReach::NotThisYear => "not_this_year",
        ForecastReach::Undated => "undated",
        ForecastReach::NotKnown | ForecastReach::Unspecified => "not_known",
    };
    ReachReport {
        stage,
        reach: reach.to_owned(),
        sessions: forecast.sessions,
        session: session_text(forecast.session.as_ref()),
    }
}

fn stage_reports(forecasts: &[StageForecast]) -> Vec<ReachReport> {
    let reports = forecasts.iter().filter_map(|found| {
        let forecast = found.forecast.as_ref()?;
        Some(reach_report(stage_text(found.stage), forecast))
    });
    reports.collect()
}

fn outlook_report(outlook: &YearOutlook) -> OutlookReport {
    let tally = outlook.tally.unwrap_or_default();
    OutlookReport {
        attended: tally.attended,
        possible: tally.possible,
        attendance_percent: outlook.attendance_percent.clone(),
        stage: stage_text(outlook.stage),
    }
}

fn forecast_report(found: ForecastPupilStageResponse) -> ForecastReport {
    let tally = found.tally.unwrap_or_default();
    let ahead = match found.sessions_ahead() {
        SessionsAhead::ByCalendar | SessionsAhead::Unspecified => "by_calendar",
        SessionsAhead::NoCalendar => "no_calendar",
        SessionsAhead::NotOnRoll => "not_on_roll",
    };
    ForecastReport {
        as_of: date_text(found.as_of.as_ref()),
        stage: stage_text(found.stage),
        computed_stage: stage_text(found.computed_stage),
        too_little_data: found.too_little_data,
        attended: tally.attended,
        possible: tally.possible,
        attendance_percent: found.attendance_percent,
        sessions_ahead: ahead.to_owned(),
        sessions_left: found.sessions_left,
        last_session: session_text(found.last_session.as_ref()),
        judged: found.judged.as_ref().map(|judged| reach_report(String::new(), judged)),
        improves: stage_reports(&found.improves),
        worsens: stage_reports(&found.worsens),
        best: found.best.as_ref().map(outlook_report),
        worst: found.worst.as_ref().map(outlook_report),
        pupil_id: found.pupil_id,
    }
}

fn forecast_for_people(report: &ForecastReport) -> String {
    let mut text = format!(
        "Pupil {}: stage {} (as of {})\n\n{} of {} possible sessions attended",
        report.pupil_id, report.stage, report.as_of, report.attended, report.possible
    );
    if !report.attendance_percent.is_empty() {
        text.push_str(&format!(": {}%", report.attendance_percent));
    }
    text.push('\n');
    if report.stage != report.computed_stage {
        text.push_str(&format!("The counts alone give stage {}.\n", report.computed_stage));
    }
    text.push_str(&match report.sessions_ahead.as_str() {
        "no_calendar" => "The school has no calendar of this year: no dates can be told.\n".to_owned(),
        "not_on_roll" => "The pupil is on roll at no school of the trust any more.\n".to_owned(),
        _ if report.sessions_left == 0 => "No session without a mark is left this year.\n".to_owned(),
        _ => format!(
            "{} sessions without a mark are left this year, the last on {}.\n",
            report.sessions_left, report.last_session
        ),
    });
    if let Some(judged) = &report.judged {
        let when = when_text(judged);
        text.push_str(&format!("There is too little data; the policy judges: {when}.\n"));
    }
    for (reached, heading, of) in [
        (&report.improves, "by attending", "attended"),
        (&report.worsens, "by missing", "missed"),
    ] {
        if reached.is_empty() {
            continue;
        }
        let mut stages = table(&[heading, &format!("sessions {of} in a row"), "reached on"], 1);
        for step in reached {
            let sessions = match step.reach.as_str() {
                "not_known" => String::new(),
                "not_this_year" if step.sessions == 0 => String::new(),
                _ => step.sessions.to_string(),
            };
            stages.add_row([format!("stage {}", step.stage), sessions, when_text(step)]);
        }
        text.push_str(&format!("\n{}", lines(&stages)));
    }
    if let (Some(best), Some(worst)) = (&report.best, &report.worst) {
        let year = |outlook: &OutlookReport| {
            format!(
                "{}% ({} of {}), stage {}",
                outlook.attendance_percent, outlook.attended, outlook.possible, outlook.stage
            )
        };
        text.push_str(&format!(
            "\nAt best the year comes to {}.\nAt worst it comes to {}.\n",
            year(best),
            year(worst)
        ));
    }
    text
}

fn when_text(reach: &ReachReport) -> String {
    match reach.reach.as_str() {
        "this_year" => reach.session.clone(),
        "not_this_year" => "not this year".to_owned(),
        "undated" => "no calendar tells when".to_owned(),
        _ => "cannot be told".to_owned(),
    }
}

fn crossings_report(found: ForecastPersistentAbsenceResponse) -> CrossingsReport {
    let pupils = found.pupils.into_iter().map(|pupil| {
        let rate = pupil.rate_tally.unwrap_or_default();
        CrossingReport {
            stage: stage_text(pupil.stage),
            attendance_percent: pupil.attendance_percent,
            rate_missed: rate.possible - rate.attended,
            rate_possible: rate.possible,
            sessions: pupil.sessions,
            session: session_text(pupil.session.as_ref()),
            pupil_id: pupil.pupil_id,
        }
    });
    CrossingsReport {
        as_of: date_text(found.as_of.as_ref()),
        pupils_with_sessions: found.pupils_with_sessions,
        persistently_absent_pupils: found.persistently_absent_pupils,
        pupils: pupils.collect(),
        more_pupils: !found.next_page_token.is_empty(),
    }
}

fn crossings_for_people(args: &ForecastArgs, report: &CrossingsReport) -> String {
    let mut text = format!(
        "As of {}, {} of {} pupils are persistently absent already.\n",
        report.as_of,
        grouped(report.persistently_absent_pupils.unsigned_abs().into()),
        grouped(report.pupils_with_sessions.unsigned_abs().into())
    );
    let rate = match args.weeks {
        1 => "the last school week".to_owned(),
        weeks => format!("the last {weeks} school weeks"),
    };
    if report.pupils.is_empty() {
        text.push_str(&format!(
            "At the rate of {rate} nobody else will be within {} sessions.\n",
            args.sessions
        ));
        return text;
    }
    text.push_str(&format!(
        "At the rate of {rate} these will be within {} sessions:\n\n",
        args.sessions
    ));
    let mut pupils = table(
        &["pupil", "stage", "attendance %", "missed of late", "sessions", "by"],
        1,
    );
    for pupil in &report.pupils {
        pupils.add_row([
            pupil.pupil_id.clone(),
            pupil.stage.clone(),
            pupil.attendance_percent.clone(),
            format!("{}/{}", pupil.rate_missed, pupil.rate_possible),
            pupil.sessions.to_string(),
            pupil.session.clone(),
        ]);
    }
    text.push_str(&lines(&pupils));
    if report.more_pupils {
        text.push_str(&format!(
            "\nThe first {}; there are more: give a higher --limit.\n",
            grouped(report.pupils.len() as u64)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(day: i32) -> Option<proto::Session> {
        Some(proto::Session {
            date: Some(proto::Date {
                year: 2025,
                month: 11,
                day,
            }),
            half: proto::SessionHalf::Pm.into(),
        })
    }

    #[test]
    fn a_forecast_names_each_stage_with_its_sessions_and_its_day() {
        let reached = |stage: proto::Stage, reach: ForecastReach, sessions, session| StageForecast {
            stage: stage.into(),
            forecast: Some(proto::Forecast {
                reach: reach.into(),
                sessions,
                session,
            }),
        };
        let outlook = |attended, percent: &str, stage: proto::Stage| {
            Some(YearOutlook {
                tally: Some(proto::Tally {
                    attended,
                    possible: 150,
                    ..proto::Tally::default()
                }),
                attendance_percent: percent.to_owned(),
                stage: stage.into(),
                ..YearOutlook::default()
            })
        };
        let answer = ForecastPupilStageResponse {
            pupil_id: "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e".to_owned(),
            as_of: session(3).unwrap().date,
            stage: proto::Stage::Three.into(),
            computed_stage: proto::Stage::Three.into(),
            tally: Some(proto::Tally {
                attended: 54,
                possible: 60,
                ..proto::Tally::default()
            }),
            attendance_percent: "90.0".to_owned(),
            sessions_ahead: SessionsAhead::ByCalendar.into(),
            sessions_left: 50,
            last_session: session(28),
            improves: vec![
                reached(proto::Stage::Two, ForecastReach::ThisYear, 1, session(4)),
                reached(proto::Stage::Universal, ForecastReach::NotThisYear, 61, None),
            ],
            worsens: vec![reached(proto::Stage::Four, ForecastReach::ThisYear, 8, session(10))],
            best: outlook(144, "96.0", proto::Stage::Universal),
            worst: outlook(54, "36.0", proto::Stage::Five),
            ..ForecastPupilStageResponse::default()
        };
        let text = forecast_for_people(&forecast_report(answer));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text, @r"
    Pupil 0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e: stage 3 (as of 2025-11-03)

    54 of 60 possible sessions attended: 90.0%
    50 sessions without a mark are left this year, the last on 2025-11-28 PM.

     by attending  sessions attended in a row     reached on
     stage 2                                1  2025-11-04 PM
     stage U                               61  not this year

     by missing  sessions missed in a row     reached on
     stage 4                            8  2025-11-10 PM

    At best the year comes to 96.0% (144 of 150), stage U.
    At worst it comes to 36.0% (54 of 150), stage 5.
    ");
    }

    #[test]
    fn who_will_cross_stands_in_a_table() {
        let answer = ForecastPersistentAbsenceResponse {
            as_of: session(3).unwrap().date,
            pupils: vec![proto::PersistentAbsenceForecast {
                pupil_id: "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e".to_owned(),
                stage: proto::Stage::Two.into(),
                attendance_percent: "91.7".to_owned(),
                rate_tally: Some(proto::Tally {
                    attended: 35,
                    possible: 40,
                    ..proto::Tally::default()
                }),
                sessions: 12,
                session: session(11),
                ..proto::PersistentAbsenceForecast::default()
            }],
            next_page_token: "more".to_owned(),
            pupils_with_sessions: 1490,
            persistently_absent_pupils: 354,
        };
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            forecast: ForecastArgs,
        }
        let read = |line: &[&str]| <Line as clap::Parser>::try_parse_from(line);
        let args = read(&["forecast", "--limit", "1"]).unwrap().forecast;
        let text = crossings_for_people(&args, &crossings_report(answer));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text, @r"
    As of 2025-11-03, 354 of 1,490 pupils are persistently absent already.
    At the rate of the last 4 school weeks these will be within 20 sessions:

     pupil                                 stage  attendance %  missed of late  sessions             by
     0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e      2          91.7            5/40        12  2025-11-11 PM

    The first 1; there are more: give a higher --limit.
    ");
        assert!(read(&["forecast", "A999400125001", "--school", "999002"]).is_err());
        assert!(read(&["forecast", "--sessions", "401"]).is_err());
    }
}
