//! `coverage`: of what the pupils' stages require, how much is in place.

use std::process::ExitCode;

use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::attendance::SUPPRESSED;
use super::error::CommandError;
use super::output::{date_text, grouped, lines, print, print_json, stage_text, table};
use super::stages::parse_stage;
use crate::domain::stage::Stage;
use crate::proto::action_service_client::ActionServiceClient;
use crate::proto::{Count, CoverageCounts, CoverageGroup, CoverageGrouping, SummarizeCoverageRequest};

/// How coverage is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// By provision.
    Provision,
    /// By the stage that requires the provisions.
    Stage,
    /// By school.
    School,
}

/// Counts how much of what the pupils' stages require is in place, in progress, not begun or not applicable.
///
/// Without --by the schools of the trust, or the provisions of one school.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  graduated-response coverage                            every school, and the trust together
  graduated-response coverage --school 999002            one school, provision by provision
  graduated-response coverage --by stage --stage 4,5     stages 4 and 5 in the whole trust
  graduated-response coverage --by provision --suppress --json

Each pupil on roll counts once for each provision that their stage requires, those of the stages before among them.")]
pub struct CoverageArgs {
    /// The school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    pub school: Option<String>,
    /// Only provisions that one of these stages requires: 1, 2, 3, 4, 5, with commas between.
    #[arg(long, value_name = "STAGES", value_delimiter = ',', value_parser = parse_stage)]
    pub stage: Vec<Stage>,
    /// By what to group.
    #[arg(long, value_enum, value_name = "GROUPS")]
    pub by: Option<By>,
    /// Leave out small numbers, and those from which they would follow.
    #[arg(long)]
    pub suppress: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `coverage --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct CoverageReport {
    /// The day of the answer.
    pub as_of: String,
    /// The groups.
    pub groups: Vec<GroupReport>,
    /// All of them together.
    pub whole: CountsReport,
    /// Counts from 1 to below it are suppressed; 0 where none are.
    pub small_number_limit: i32,
}

/// A group: as many of the names as it has.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// The provision.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub provision_id: String,
    /// The provision's title.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The stage: `1` to `5`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stage: String,
    /// The school's URN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub urn: String,
    /// The school's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub school_name: String,
    /// The counts.
    #[serde(flatten)]
    pub counts: CountsReport,
}

/// The counts of a group. What is suppressed is null.
#[derive(Clone, Debug, Serialize)]
pub struct CountsReport {
    /// All that are required.
    pub required: Option<i32>,
    /// In place.
    pub in_place: Option<i32>,
    /// In progress.
    pub in_progress: Option<i32>,
    /// Not begun.
    pub not_begun: Option<i32>,
    /// Not applicable.
    pub not_applicable: Option<i32>,
    /// Cancelled.
    pub cancelled: Option<i32>,
    /// In place, of those that are not said to be not applicable, in per cent with one decimal.
    pub in_place_percent: String,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &CoverageArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let by = args.by.unwrap_or(match args.school {
        Some(_) => By::Provision,
        None => By::School,
    });
    let grouping = match by {
        By::Provision => CoverageGrouping::Provision,
        By::Stage => CoverageGrouping::Stage,
        By::School => CoverageGrouping::School,
    };
    let request = SummarizeCoverageRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        stages: args.stage.iter().map(|stage| i32::from(stage.number()) + 1).collect(),
        grouping: grouping.into(),
        suppress_small_numbers: args.suppress,
    };
    let answer = ActionServiceClient::new(channel)
        .summarize_coverage(request)
        .await?
        .into_inner();
    let report = CoverageReport {
        as_of: date_text(answer.as_of.as_ref()),
        groups: answer.groups.into_iter().map(group_report).collect(),
        whole: counts_report(answer.whole.unwrap_or_default()),
        small_number_limit: answer.small_number_limit,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report, by))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn group_report(group: CoverageGroup) -> GroupReport {
    GroupReport {
        stage: if group.stage == 0 {
            String::new()
        } else {
            stage_text(group.stage)
        },
        provision_id: group.provision_id,
        title: group.title,
        urn: group.urn,
        school_name: group.school_name,
        counts: counts_report(group.counts.unwrap_or_default()),
    }
}

fn counts_report(counts: CoverageCounts) -> CountsReport {
    let count = |count: Option<Count>| count.filter(|count| !count.suppressed).map(|count| count.value);
    CountsReport {
        required: count(counts.required),
        in_place: count(counts.in_place),
        in_progress: count(counts.in_progress),
        not_begun: count(counts.not_begun),
        not_applicable: count(counts.not_applicable),
        cancelled: count(counts.cancelled),
        in_place_percent: counts.in_place_percent,
    }
}

fn for_people(report: &CoverageReport, by: By) -> String {
    let heading = match by {
        By::Provision => "provision",
        By::Stage => "stage",
        By::School => "school",
    };
    let counts = [
        "required",
        "in place",
        "in progress",
        "not begun",
        "not applicable",
        "cancelled",
        "in place %",
    ];
    let mut listed = table(&[&[heading], &counts[..]].concat(), 1);
    let rows = report.groups.iter().map(|group| (name_of(group, by), &group.counts));
    for (name, counts) in rows.chain([("all".to_owned(), &report.whole)]) {
        let cell = |count: Option<i32>| {
            let count = count.map(|count| grouped(u64::try_from(count).unwrap_or_default()));
            count.unwrap_or_else(|| SUPPRESSED.to_owned())
        };
        let mut cells = vec![name];
        cells.extend(
            [
                counts.required,
                counts.in_place,
                counts.in_progress,
                counts.not_begun,
                counts.not_applicable,
                counts.cancelled,
            ]
            .map(cell),
        );
        cells.push(counts.in_place_percent.clone());
        listed.add_row(cells);
    }
    let mut text = format!("Coverage as of {}\n\n{}", report.as_of, lines(&listed));
    if report.small_number_limit > 0 {
        text.push_str(&format!(
            "\n{SUPPRESSED}: left out, since it is below {} or would tell a count that is.\n",
            report.small_number_limit
        ));
    }
    text
}

fn name_of(group: &GroupReport, by: By) -> String {
    match by {
        By::Provision => format!("{} {}", group.provision_id, group.title),
        By::Stage => group.stage.clone(),
        By::School => format!("{} {}", group.urn, group.school_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_the_whole_stand_in_a_table_without_what_is_suppressed() {
        let count = |value: i32| {
            Some(Count {
                value: value.max(0),
                suppressed: value < 0,
            })
        };
        let counts = |values: [i32; 6], percent: &str| CoverageCounts {
            required: count(values[0]),
            in_place: count(values[1]),
            in_progress: count(values[2]),
            not_begun: count(values[3]),
            not_applicable: count(values[4]),
            cancelled: count(values[5]),
            in_place_percent: percent.to_owned(),
        };
        let school = |urn: &str, name: &str, counts| CoverageGroup {
            urn: urn.into(),
            school_name: name.into(),
            counts: Some(counts),
            ..CoverageGroup::default()
        };
        let report = CoverageReport {
            as_of: "2025-11-28".into(),
            groups: vec![
                group_report(school(
                    "100001",
                    "Mill Lane",
                    counts([1200, 600, 200, 300, 80, 20], "53.6"),
                )),
                group_report(school("100002", "Dockside", counts([90, -1, -1, 60, 0, 0], ""))),
            ],
            whole: counts_report(counts([1290, -1, -1, 360, 80, 20], "")),
            small_number_limit: 6,
        };
        insta::assert_snapshot!(for_people(&report, By::School), @r"
        Coverage as of 2025-11-28

         school            required  in place  in progress  not begun  not applicable  cancelled  in place %
         100001 Mill Lane     1,200       600          200        300              80         20        53.6
         100002 Dockside         90         c            c         60               0          0
         all                  1,290         c            c        360              80         20

        c: left out, since it is below 6 or would tell a count that is.
        ");
    }
}
