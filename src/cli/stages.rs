//! `stages`: how many pupils of the trust are at each stage, and who.

use std::process::ExitCode;

use chrono::NaiveDate;
use comfy_table::Row;
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::attendance::{self, AttendanceArgs, By};
use super::error::CommandError;
use super::output::{date_text, grouped, lines, percent_text, print, print_json, stage_text, table};
use crate::domain::stage::Stage;
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{ListPupilStagesRequest, PupilStage, StageSummary, SummarizeSchoolRequest, SummarizeTrustRequest};

/// Counts the pupils at each stage, school by school.
///
/// With --school, that school's counts and its pupils at stage 1 or above. Pupils are named by the service's own
/// identifier: `explain` says why one of them is where they are.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response stages                              every school, and the trust together
  graduated-response stages --school 999002              one school, and its pupils at stage 1 or above
  graduated-response stages --school 999002 --stage 4,5  only those at stages 4 and 5
  graduated-response stages --stage 5 --json             stage 5 in the whole trust, for a program
  graduated-response stages --by week --from 2026-01-05  attendance week by week
  graduated-response stages --school 999002 --by year-group --suppress

U is universal support (attendance above 95%), 5 the highest need (below 50%). PA is persistent absence: a tenth or
more of the possible sessions missed; SA is severe absence: half or more. With --by they are given of pupils, over all
their enrolments in the trust, and of enrolments, as national statistics count.")]
pub struct StagesArgs {
    /// The school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    pub school: Option<String>,
    /// List the pupils at these stages: U, 1, 2, 3, 4, 5, with commas between. With --school: 1,2,3,4,5 if not given.
    #[arg(long, value_name = "STAGES", value_delimiter = ',', value_parser = parse_stage)]
    pub stage: Vec<Stage>,
    /// List this many pupils at the most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Instead of stages, attendance and persistent absence in groups.
    #[arg(long, value_enum, value_name = "GROUPS", conflicts_with = "stage")]
    pub by: Option<By>,
    /// With --by: the first day; the first of the academic year if not given.
    #[arg(long, value_name = "DATE", requires = "by")]
    pub from: Option<NaiveDate>,
    /// With --by: the last day; today if not given.
    #[arg(long, value_name = "DATE", requires = "by")]
    pub to: Option<NaiveDate>,
    /// With --by: leave out small numbers, and those from which they would follow.
    #[arg(long, requires = "by")]
    pub suppress: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Default for StagesArgs {
    /// The whole trust.
    fn default() -> StagesArgs {
        StagesArgs {
            school: None,
            stage: Vec::new(),
            limit: 50,
            by: None,
            from: None,
            to: None,
            suppress: false,
            json: false,
        }
    }
}

/// Reads a stage from an argument.
pub(super) fn parse_stage(text: &str) -> Result<Stage, String> {
    Stage::parse(&text.trim().to_ascii_uppercase()).ok_or_else(|| "a stage is U, 1, 2, 3, 4 or 5".to_owned())
}

/// What `stages --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct StagesReport {
    /// The day of the answer.
    pub as_of: String,
    /// The whole trust; nothing where one school was asked for.
    pub trust: Option<SummaryReport>,
    /// The schools.
    pub schools: Vec<SummaryReport>,
    /// The pupils, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pupils: Option<Vec<PupilReport>>,
    /// True where there are more pupils than the limit.
    pub more_pupils: bool,
}

/// The figures of a school or of the trust.
#[derive(Clone, Debug, Serialize)]
pub struct SummaryReport {
    /// The school's UUID; empty for the trust.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub school_id: String,
    /// The school's URN; empty for the trust.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub urn: String,
    /// The school's name; empty for the trust.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Pupils on roll today.
    pub pupils: i32,
    /// Pupils by stage, U and 1 to 5 in order.
    pub stages: Vec<StageCountReport>,
    /// Of those at U, pupils for whom there is too little data.
    pub too_little_data: i32,
    /// Sessions attended in the year to date.
    pub attended: i64,
    /// Sessions that could have been attended.
    pub possible: i64,
    /// Attendance in per cent with one decimal; empty where nothing was possible.
    pub attendance_percent: String,
    /// Pupils on roll today with possible sessions.
    pub pupils_with_sessions: i32,
    /// Of those, pupils who missed a tenth or more.
    pub persistently_absent_pupils: i32,
    /// Of those, pupils who missed half or more.
    pub severely_absent_pupils: i32,
}

/// Pupils at one stage.
#[derive(Clone, Debug, Serialize)]
pub struct StageCountReport {
    /// `U`, `1` to `5`.
    pub stage: String,
    /// How many.
    pub pupils: i32,
}

/// A pupil at a stage.
#[derive(Clone, Debug, Serialize)]
pub struct PupilReport {
    /// The pupil's UUID.
    pub pupil_id: String,
    /// `U`, `1` to `5`.
    pub stage: String,
    /// Sessions attended in the year to date.
    pub attended: i64,
    /// Sessions that could have been attended.
    pub possible: i64,
    /// Attendance in per cent with one decimal; empty where nothing was possible.
    pub attendance_percent: String,
    /// The first day since which the pupil has been at the stage; empty before any session counted.
    pub since: String,
    /// Whether the stage is U because there is too little data.
    pub too_little_data: bool,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &StagesArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    if let Some(by) = args.by {
        let asked = AttendanceArgs {
            school: args.school.clone(),
            by,
            from: args.from,
            to: args.to,
            suppress: args.suppress,
            json: args.json,
        };
        return attendance::run(&asked, channel, trust_id).await;
    }
    let mut client = StageServiceClient::new(channel);
    let (as_of, trust, schools) = match &args.school {
        Some(school) => {
            let request = SummarizeSchoolRequest {
                trust_id: trust_id.to_string(),
                school: school.clone(),
            };
            let school = client.summarize_school(request).await?.into_inner().school;
            let school = school.ok_or(CommandError::Answer("the school's summary"))?;
            let summary = school.summary.clone().unwrap_or_default();
            (date_text(summary.as_of.as_ref()), None, vec![school])
        }
        None => {
            let request = SummarizeTrustRequest {
                trust_id: trust_id.to_string(),
            };
            let answer = client.summarize_trust(request).await?.into_inner();
            let trust = answer.trust.ok_or(CommandError::Answer("the trust's summary"))?;
            (date_text(trust.as_of.as_ref()), Some(trust), answer.schools)
        }
    };
    let (pupils, more_pupils) = if args.school.is_some() || !args.stage.is_empty() {
        let (pupils, more) = list_pupils(args, &mut client, trust_id).await?;
        (Some(pupils), more)
    } else {
        (None, false)
    };
    let report = StagesReport {
        as_of,
        trust: trust.map(|summary| summary_report(summary, String::new(), String::new(), String::new())),
        schools: schools
            .into_iter()
            .map(|school| {
                summary_report(
                    school.summary.unwrap_or_default(),
                    school.school_id,
                    school.urn,
                    school.name,
                )
            })
            .collect(),
        pupils,
        more_pupils,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first pupils up to the limit, and whether there are more.
async fn list_pupils(
    args: &StagesArgs,
    client: &mut StageServiceClient<Channel>,
    trust_id: Uuid,
) -> Result<(Vec<PupilReport>, bool), CommandError> {
    let wanted: &[Stage] = if args.stage.is_empty() {
        &Stage::ALL[1..]
    } else {
        &args.stage
    };
    let limit = args.limit as usize;
    let mut pupils: Vec<PupilReport> = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListPupilStagesRequest {
            trust_id: trust_id.to_string(),
            school: args.school.clone().unwrap_or_default(),
            stages: wanted.iter().map(|stage| i32::from(stage.number()) + 1).collect(),
            changed_since: None,
            // Below 1,001.
            page_size: (limit - pupils.len()).min(1000) as i32,
            page_token,
        };
        let page = client.list_pupil_stages(request).await?.into_inner();
        pupils.extend(page.pupil_stages.into_iter().map(pupil_report));
        page_token = page.next_page_token;
        if page_token.is_empty() || pupils.len() >= limit {
            return Ok((pupils, !page_token.is_empty()));
        }
    }
}

fn summary_report(summary: StageSummary, school_id: String, urn: String, name: String) -> SummaryReport {
    let tally = summary.tally.unwrap_or_default();
    SummaryReport {
        school_id,
        urn,
        name,
        pupils: summary.pupils,
        stages: summary
            .stages
            .iter()
            .map(|count| StageCountReport {
                stage: stage_text(count.stage),
                pupils: count.pupils,
            })
            .collect(),
        too_little_data: summary.too_little_data,
        attended: tally.attended,
        possible: tally.possible,
        attendance_percent: summary.attendance_percent,
        pupils_with_sessions: summary.pupils_with_sessions,
        persistently_absent_pupils: summary.persistently_absent_pupils,
        severely_absent_pupils: summary.severely_absent_pupils,
    }
}

fn pupil_report(pupil: PupilStage) -> PupilReport {
    let tally = pupil.tally.unwrap_or_default();
    PupilReport {
        pupil_id: pupil.pupil_id,
        stage: stage_text(pupil.stage),
        attended: tally.attended,
        possible: tally.possible,
        attendance_percent: pupil.attendance_percent,
        since: date_text(pupil.since.as_ref()),
        too_little_data: pupil.too_little_data,
    }
}

fn for_people(report: &StagesReport) -> String {
    let mut schools = table(
        &[
            "URN",
            "school",
            "U",
            "1",
            "2",
            "3",
            "4",
            "5",
            "pupils",
            "attendance %",
            "PA %",
            "SA %",
        ],
        2,
    );
    for school in &report.schools {
        schools.add_row(summary_row(&school.urn, &school.name, school));
    }
    if let Some(trust) = &report.trust {
        schools.add_row(summary_row("", "all schools", trust));
    }
    let mut text = format!("Stages as of {}\n\n{}", report.as_of, lines(&schools));
    if let Some(pupils) = &report.pupils {
        text.push('\n');
        if pupils.is_empty() {
            text.push_str("No pupil is at these stages.\n");
            return text;
        }
        let mut listed = table(&["pupil", "stage", "attendance %", "attended/possible", "since"], 1);
        for pupil in pupils {
            listed.add_row([
                pupil.pupil_id.clone(),
                pupil.stage.clone(),
                pupil.attendance_percent.clone(),
                format!("{}/{}", pupil.attended, pupil.possible),
                pupil.since.clone(),
            ]);
        }
        text.push_str(&lines(&listed));
        if report.more_pupils {
            text.push_str(&format!(
                "\nThe first {}; there are more: give a higher --limit.\n",
                grouped(pupils.len() as u64)
            ));
        }
    }
    text
}

fn summary_row(urn: &str, name: &str, summary: &SummaryReport) -> Row {
    let count = |stage: Stage| {
        summary
            .stages
            .iter()
            .find(|count| count.stage == stage.code())
            .map_or(0, |count| count.pupils)
    };
    let of_pupils = |part: i32| percent_text(part.into(), summary.pupils_with_sessions.into());
    let mut cells = vec![urn.to_owned(), name.to_owned()];
    cells.extend(Stage::ALL.map(|stage| count(stage).to_string()));
    cells.extend([
        summary.pupils.to_string(),
        summary.attendance_percent.clone(),
        of_pupils(summary.persistently_absent_pupils),
        of_pupils(summary.severely_absent_pupils),
    ]);
    Row::from(cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    #[test]
    fn stages_are_read_with_commas_between_in_either_case() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            stages: StagesArgs,
        }
        let read = |line: &[&str]| <Line as clap::Parser>::try_parse_from(line);
        let stages = read(&["stages", "--stage", "u,3,5"]).unwrap().stages.stage;
        assert_eq!(stages, [Stage::Universal, Stage::Three, Stage::Five]);
        let refused = read(&["stages", "--stage", "6"]).err().unwrap();
        assert!(refused.to_string().contains("a stage is U, 1, 2, 3, 4 or 5"));
        assert!(read(&["stages", "--limit", "0"]).is_err());
        assert_eq!(
            read(&["stages", "--by", "year-group"]).unwrap().stages.by,
            Some(By::YearGroup)
        );
        assert!(
            read(&["stages", "--from", "2026-01-05"]).is_err(),
            "of a period there are groups alone"
        );
    }

    #[test]
    fn schools_the_trust_and_pupils_stand_in_tables() {
        let summary = StageSummary {
            pupils: 1500,
            stages: (1..=6)
                .map(|stage| proto::StageCount {
                    stage,
                    pupils: 700 / stage,
                })
                .collect(),
            attendance_percent: "91.5".to_owned(),
            pupils_with_sessions: 1490,
            persistently_absent_pupils: 354,
            severely_absent_pupils: 42,
            ..StageSummary::default()
        };
        let none = String::new;
        let report = StagesReport {
            as_of: "2026-06-26".to_owned(),
            trust: Some(summary_report(summary.clone(), none(), none(), none())),
            schools: vec![summary_report(
                summary,
                none(),
                "999002".to_owned(),
                "Beacon Rise Academy".to_owned(),
            )],
            pupils: Some(vec![pupil_report(PupilStage {
                pupil_id: "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e".to_owned(),
                stage: proto::Stage::Five.into(),
                tally: Some(proto::Tally {
                    attended: 140,
                    possible: 350,
                    authorised: 10,
                    unauthorised: 200,
                }),
                attendance_percent: "40.0".to_owned(),
                ..PupilStage::default()
            })]),
            more_pupils: true,
        };
        insta::assert_snapshot!(for_people(&report), @r"
    Stages as of 2026-06-26

     URN     school                 U    1    2    3    4    5  pupils  attendance %  PA %  SA %
     999002  Beacon Rise Academy  700  350  233  175  140  116    1500          91.5  23.8   2.8
             all schools          700  350  233  175  140  116    1500          91.5  23.8   2.8

     pupil                                 stage  attendance %  attended/possible  since
     0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e      5          40.0            140/350

    The first 1; there are more: give a higher --limit.
    ");
    }
}
