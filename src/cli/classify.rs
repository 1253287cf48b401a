//! `classify`: what a policy makes of counts or marks.

use std::process::ExitCode;

use chrono::NaiveDate;
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::explain::band_text;
use super::output::{print, print_json, proto_date, session_text, stage_text};
use crate::domain::code::AttendanceCode;
use crate::proto::classify_attendance_request::Attendance;
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{
    ClassifyAttendanceRequest, ClassifyAttendanceResponse, MarkRun, Session, SessionCounts, SessionHalf, StageMove,
};

/// Says what a policy makes of counts or marks. Nothing is stored.
///
/// Without --trust the default policy judges, and with it the one in force.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = r"Examples:
  graduated-response classify 171/190                            attended of possible sessions
  graduated-response classify --from 2025-09-08 '/ \ / \ I I'    marks from the morning of a day on; - for no mark
  graduated-response classify 171/190 --trust UUID --policy 3    under a version of a trust's policy")]
pub struct ClassifyArgs {
    /// `attended/possible`; or, with --from, marks with blanks between: the codes of the register, - for no mark.
    #[arg(value_name = "COUNTS|MARKS")]
    pub attendance: String,
    /// The first day of the marks, of which the first is its morning.
    #[arg(long, value_name = "DATE")]
    pub from: Option<NaiveDate>,
    /// The trust: its UUID.
    #[arg(long, env = "GRADUATED_RESPONSE_TRUST", value_name = "UUID")]
    pub trust: Option<Uuid>,
    /// The version of the trust's policy.
    #[arg(long, value_name = "VERSION", requires = "trust", value_parser = clap::value_parser!(i32).range(1..))]
    pub policy: Option<i32>,
    /// The school whose policy judges: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN", requires = "trust", conflicts_with = "policy")]
    pub school: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `classify --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ClassifyReport {
    /// The version of the policy; 0 for the default.
    pub policy_version: i32,
    /// `U`, `1` to `5`.
    pub stage: String,
    /// The stage that the counts alone give.
    pub computed_stage: String,
    /// Whether there are fewer possible sessions than the policy's minimum.
    pub too_little_data: bool,
    /// That minimum.
    pub minimum_possible: i32,
    /// Sessions attended.
    pub attended: i64,
    /// Sessions possible.
    pub possible: i64,
    /// Attendance in per cent with one decimal; empty where nothing was possible.
    pub attendance_percent: String,
    /// The band in words.
    pub band: String,
    /// Whether a tenth or more was missed.
    pub persistent_absence: bool,
    /// Whether half or more was missed.
    pub severe_absence: bool,
    /// The better stages.
    pub improves: Vec<MoveReport>,
    /// The worse stages.
    pub worsens: Vec<MoveReport>,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// What would reach another stage.
#[derive(Clone, Debug, Serialize)]
pub struct MoveReport {
    /// `U`, `1` to `5`.
    pub stage: String,
    /// How many sessions in a row.
    pub sessions: i32,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the argument is neither counts nor marks, or where the service refuses or cannot be reached.
pub async fn run(args: &ClassifyArgs, channel: Channel) -> Result<ExitCode, CommandError> {
    let request = ClassifyAttendanceRequest {
        trust_id: args.trust.map_or_else(String::new, |trust| trust.to_string()),
        policy_version: args.policy.unwrap_or(0),
        school: args.school.clone().unwrap_or_default(),
        attendance: Some(attendance(&args.attendance, args.from)?),
    };
    let mut client = StageServiceClient::new(channel);
    let report = report(client.classify_attendance(request).await?.into_inner());
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn attendance(text: &str, from: Option<NaiveDate>) -> Result<Attendance, CommandError> {
    let Some(from) = from else {
        let counts = text.split_once('/').and_then(|(attended, possible)| {
            Some(SessionCounts {
                attended: attended.trim().parse().ok()?,
                possible: possible.trim().parse().ok()?,
            })
        });
        return counts.map(Attendance::Counts).ok_or_else(|| {
            let message = "give attended/possible, for example 171/190; marks need --from with the day of the first";
            CommandError::Usage(message.to_owned())
        });
    };
    let marks = text.split_whitespace().map(|mark| match mark {
        "-" => Ok(0),
        code => AttendanceCode::parse(code)
            .map(|code| i32::from(code.byte()))
            .ok_or_else(|| {
                CommandError::Usage(format!(
                    "{code:?} is no attendance code: they are in capitals, - is no mark"
                ))
            }),
    });
    Ok(Attendance::Marks(MarkRun {
        first_session: Some(Session {
            date: Some(proto_date(from)),
            half: SessionHalf::Am.into(),
        }),
        marks: marks.collect::<Result<_, _>>()?,
    }))
}

fn report(found: ClassifyAttendanceResponse) -> ClassifyReport {
    let tally = found.tally.unwrap_or_default();
    let moves = |moves: &[StageMove]| {
        let moves = moves.iter().map(|step| MoveReport {
            stage: stage_text(step.stage),
            sessions: step.sessions,
        });
        moves.collect()
    };
    let warnings = found
        .warnings
        .iter()
        .map(|warning| format!("{}: {}", session_text(warning.session.as_ref()), warning.message));
    ClassifyReport {
        policy_version: found.policy_version,
        stage: stage_text(found.stage),
        computed_stage: stage_text(found.computed_stage),
        too_little_data: found.too_little_data,
        minimum_possible: found.minimum_possible,
        attended: tally.attended,
        possible: tally.possible,
        attendance_percent: found.attendance_percent,
        band: found.band.as_ref().map(band_text).unwrap_or_default(),
        persistent_absence: found.persistent_absence,
        severe_absence: found.severe_absence,
        improves: moves(&found.improves),
        worsens: moves(&found.worsens),
        warnings: warnings.collect(),
    }
}

fn for_people(report: &ClassifyReport) -> String {
    let policy = match report.policy_version {
        0 => "the default policy".to_owned(),
        version => format!("policy {version}"),
    };
    let mut text = format!("Stage {} under {policy}\n", report.stage);
    if report.possible == 0 {
        text.push_str("No session was possible.\n");
    } else {
        text.push_str(&format!(
            "{} of {} possible sessions attended: {}%\nBand of stage {}: {}\n",
            report.attended, report.possible, report.attendance_percent, report.computed_stage, report.band
        ));
    }
    if report.too_little_data {
        text.push_str(&format!(
            "The policy does not judge below {} possible sessions.\n",
            report.minimum_possible.max(1)
        ));
    }
    if report.severe_absence {
        text.push_str("Severe absence: half or more missed.\n");
    } else if report.persistent_absence {
        text.push_str("Persistent absence: a tenth or more missed.\n");
    }
    for (moves, doing) in [(&report.improves, "attending"), (&report.worsens, "missing")] {
        for step in moves {
            let sessions = if step.sessions == 1 {
                "session"
            } else {
                "sessions in a row"
            };
            text.push_str(&format!(
                "Stage {} after {doing} {} more {sessions}.\n",
                step.stage, step.sessions
            ));
        }
    }
    for warning in &report.warnings {
        text.push_str(&format!("{warning}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Band, Stage, Tally, Warning};

    #[test]
    fn counts_or_marks_are_read_and_anything_else_is_refused() {
        assert_eq!(
            attendance("171/190", None).unwrap(),
            Attendance::Counts(SessionCounts {
                attended: 171,
                possible: 190,
            })
        );
        let from = "2025-09-08".parse().ok();
        let Attendance::Marks(run) = attendance(r"/ \ - C1", from).unwrap() else {
            panic!("marks were given");
        };
        assert_eq!(run.marks, [1, 2, 0, 10]);
        assert!(attendance("90%", None).unwrap_err().to_string().contains("171/190"));
        assert!(
            attendance("/ present", from)
                .unwrap_err()
                .to_string()
                .contains("no attendance code")
        );
    }

    #[test]
    fn a_judgement_says_the_stage_the_band_and_what_deserves_a_look() {
        let answer = ClassifyAttendanceResponse {
            stage: Stage::Three.into(),
            computed_stage: Stage::Three.into(),
            minimum_possible: 20,
            tally: Some(Tally {
                attended: 171,
                possible: 190,
                ..Tally::default()
            }),
            attendance_percent: "90.0".to_owned(),
            band: Some(Band {
                stage: Stage::Three.into(),
                lower_tenths: 800,
                lower_inclusive: true,
                upper_tenths: 900,
                upper_inclusive: true,
            }),
            persistent_absence: true,
            improves: vec![StageMove {
                stage: Stage::Two.into(),
                sessions: 1,
            }],
            warnings: vec![Warning {
                session: Some(Session {
                    date: Some(crate::proto::Date {
                        year: 2025,
                        month: 9,
                        day: 8,
                    }),
                    half: SessionHalf::Am.into(),
                }),
                message: "the code was not valid on this date: counted by its category".to_owned(),
                ..Warning::default()
            }],
            ..ClassifyAttendanceResponse::default()
        };
        insta::assert_snapshot!(for_people(&report(answer)), @r"
    Stage 3 under the default policy
    171 of 190 possible sessions attended: 90.0%
    Band of stage 3: from 80% to 90%
    Persistent absence: a tenth or more missed.
    Stage 2 after attending 1 more session.
    2025-09-08 AM: the code was not valid on this date: counted by its category
    ");
    }
}
