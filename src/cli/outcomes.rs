//! `outcomes`: attendance before and after work on actions, beside that of pupils without.

use std::process::ExitCode;

use chrono::NaiveDate;
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::attendance::SUPPRESSED;
use super::error::CommandError;
use super::output::{date_text, grouped, lines, print, print_json, proto_date, stage_text, table};
use crate::domain::outcomes::WEEKS_MAX;
use crate::proto::action_service_client::ActionServiceClient;
use crate::proto::{
    ActionMilestone, Count, OutcomeFigures, OutcomeGroup, OutcomeGrouping, SummarizeActionOutcomesRequest,
};

/// How it is grouped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// By provision.
    #[default]
    Provision,
    /// By school.
    School,
}

/// Counts the attendance of pupils in the weeks before and after work on actions began, or was completed.
///
/// Beside it stands that of pupils without such an action who were at the same stage, over the same days. These are facts, and
/// say nothing of why: whoever has just had their worst weeks tends to have better ones anyway.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  graduated-response outcomes                                  by provision, six weeks before and after work began
  graduated-response outcomes --completed --weeks 4            four weeks before and after it was completed
  graduated-response outcomes --school 999002 --provision 3-02,3-07
  graduated-response outcomes --by school --suppress --json

The median and the quartiles are of each pupil's own difference, in percentage points.")]
pub struct OutcomesArgs {
    /// The school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    pub school: Option<String>,
    /// Only these provisions, with commas between.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub provision: Vec<String>,
    /// Around the day on which the action was completed, in place of that on which work began.
    #[arg(long)]
    pub completed: bool,
    /// How many weeks before and after.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=i64::from(WEEKS_MAX)))]
    pub weeks: u32,
    /// Only actions of which that was on this day or later; the first of the academic year if not given.
    #[arg(long, value_name = "DATE")]
    pub from: Option<NaiveDate>,
    /// Only actions of which that was on this day or earlier.
    #[arg(long, value_name = "DATE")]
    pub to: Option<NaiveDate>,
    /// By what to group.
    #[arg(long, value_enum, value_name = "GROUPS", default_value_t)]
    pub by: By,
    /// Leave out small numbers of pupils, and what is told of them.
    #[arg(long)]
    pub suppress: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What `outcomes --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct OutcomesReport {
    /// The first day of the period.
    pub from: String,
    /// The last day of the period.
    pub to: String,
    /// How many weeks before and after.
    pub weeks: i32,
    /// The groups.
    pub groups: Vec<GroupReport>,
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
    /// Of pupils with such an action.
    pub with_action: FiguresReport,
    /// Of pupils without, at the same stage on the same day.
    pub without_action: FiguresReport,
    /// With such an action, and the weeks after it not over; null where it is suppressed.
    pub pupils_too_recent: Option<i32>,
    /// With such an action, and no session possible before or after; null where it is suppressed.
    pub pupils_without_sessions: Option<i32>,
}

/// Figures of some pupils. Where the pupils are suppressed they are null, and the rest is empty.
#[derive(Clone, Debug, Serialize)]
pub struct FiguresReport {
    /// How many.
    pub pupils: Option<i32>,
    /// Attendance before in per cent.
    pub before_percent: String,
    /// Attendance after in per cent.
    pub after_percent: String,
    /// The lower quartile of the differences, in percentage points.
    pub lower_quartile_points: String,
    /// The median.
    pub median_points: String,
    /// The upper quartile.
    pub upper_quartile_points: String,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &OutcomesArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let milestone = if args.completed {
        ActionMilestone::Completed
    } else {
        ActionMilestone::Begun
    };
    let grouping = match args.by {
        By::Provision => OutcomeGrouping::Provision,
        By::School => OutcomeGrouping::School,
    };
    let request = SummarizeActionOutcomesRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        provision_ids: args.provision.clone(),
        milestone: milestone.into(),
        // At most 20.
        weeks: args.weeks as i32,
        from_date: args.from.map(proto_date),
        to_date: args.to.map(proto_date),
        grouping: grouping.into(),
        suppress_small_numbers: args.suppress,
    };
    let mut client = ActionServiceClient::new(channel);
    let answer = client.summarize_action_outcomes(request).await?.into_inner();
    let report = OutcomesReport {
        from: date_text(answer.from_date.as_ref()),
        to: date_text(answer.to_date.as_ref()),
        weeks: answer.weeks,
        groups: answer.groups.into_iter().map(group_report).collect(),
        small_number_limit: answer.small_number_limit,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report, args))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn count(count: Option<Count>) -> Option<i32> {
    count.filter(|count| !count.suppressed).map(|count| count.value)
}

fn figures_report(figures: Option<OutcomeFigures>) -> FiguresReport {
    let figures = figures.unwrap_or_default();
    FiguresReport {
        pupils: count(figures.pupils),
        before_percent: figures.before_percent,
        after_percent: figures.after_percent,
        lower_quartile_points: figures.lower_quartile_points,
        median_points: figures.median_points,
        upper_quartile_points: figures.upper_quartile_points,
    }
}

fn group_report(group: OutcomeGroup) -> GroupReport {
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
        with_action: figures_report(group.with_action),
        without_action: figures_report(group.without_action),
        pupils_too_recent: count(group.pupils_too_recent),
        pupils_without_sessions: count(group.pupils_without_sessions),
    }
}

fn for_people(report: &OutcomesReport, args: &OutcomesArgs) -> String {
    let what = if args.completed {
        "actions were completed"
    } else {
        "work on actions began"
    };
    let mut text = format!(
        "Attendance in the {} weeks before and after {what}, {} to {}\n",
        report.weeks, report.from, report.to
    );
    if report.groups.is_empty() {
        text.push_str("\nThere is no such action.\n");
        return text;
    }
    let heading = match args.by {
        By::Provision => "provision",
        By::School => "school",
    };
    let mut listed = table(
        &[
            heading, "", "pupils", "before %", "after %", "quartile", "median", "quartile",
        ],
        2,
    );
    for group in &report.groups {
        let name = match args.by {
            By::Provision => format!("{} {}", group.provision_id, group.title),
            By::School => format!("{} {}", group.urn, group.school_name),
        };
        listed.add_row(row(name, "with", &group.with_action));
        listed.add_row(row(String::new(), "without", &group.without_action));
    }
    text.push('\n');
    text.push_str(&lines(&listed));
    text.push_str(
        "\nWithout: pupils at the same stage on the same day who never had the action. Quartiles and median: each pupil's own\n\
         difference, in percentage points. These are facts, and say nothing of why.\n",
    );
    let left_out = |count: fn(&GroupReport) -> Option<i32>| report.groups.iter().filter_map(count).sum::<i32>();
    let recent = left_out(|group| group.pupils_too_recent);
    if recent > 0 {
        text.push_str(&format!(
            "Left out of their groups, since the weeks after are not over: {recent}.\n"
        ));
    }
    let without = left_out(|group| group.pupils_without_sessions);
    if without > 0 {
        text.push_str(&format!(
            "Left out of their groups, since no session was possible before or after: {without}.\n"
        ));
    }
    if report.small_number_limit > 0 {
        text.push_str(&format!(
            "{SUPPRESSED}: left out, since it is below {}.\n",
            report.small_number_limit
        ));
    }
    text
}

fn row(name: String, which: &str, figures: &FiguresReport) -> [String; 8] {
    let pupils = figures
        .pupils
        .map(|pupils| grouped(u64::try_from(pupils).unwrap_or_default()));
    [
        name,
        which.to_owned(),
        pupils.unwrap_or_else(|| SUPPRESSED.to_owned()),
        figures.before_percent.clone(),
        figures.after_percent.clone(),
        figures.lower_quartile_points.clone(),
        figures.median_points.clone(),
        figures.upper_quartile_points.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pupils: i32, texts: [&str; 5]) -> Option<OutcomeFigures> {
        let [before, after, lower, median, upper] = texts.map(str::to_owned);
        Some(OutcomeFigures {
            pupils: Some(Count {
                value: pupils.max(0),
                suppressed: pupils < 0,
            }),
            before_percent: before,
            after_percent: after,
            lower_quartile_points: lower,
            median_points: median,
            upper_quartile_points: upper,
            ..OutcomeFigures::default()
        })
    }

    #[test]
    fn those_with_and_those_without_stand_below_each_other() {
        let group = OutcomeGroup {
            provision_id: "3-02".into(),
            title: "Attendance support plan".into(),
            stage: 4,
            with_action: figures(1204, ["81.2", "84.9", "-1.3", "+2.5", "+8.8"]),
            without_action: figures(-1, [""; 5]),
            pupils_too_recent: Some(Count {
                value: 12,
                suppressed: false,
            }),
            ..OutcomeGroup::default()
        };
        let mut report = OutcomesReport {
            from: "2025-08-01".into(),
            to: "2025-12-12".into(),
            weeks: 6,
            groups: vec![group_report(group)],
            small_number_limit: 6,
        };
        let args = OutcomesArgs::default();
        insta::assert_snapshot!(for_people(&report, &args), @r"
        Attendance in the 6 weeks before and after work on actions began, 2025-08-01 to 2025-12-12

         provision                              pupils  before %  after %  quartile  median  quartile
         3-02 Attendance support plan  with      1,204      81.2     84.9      -1.3    +2.5      +8.8
                                       without       c

        Without: pupils at the same stage on the same day who never had the action. Quartiles and median: each pupil's own
        difference, in percentage points. These are facts, and say nothing of why.
        Left out of their groups, since the weeks after are not over: 12.
        c: left out, since it is below 6.
        ");
        report.groups.clear();
        let none = for_people(
            &report,
            &OutcomesArgs {
                completed: true,
                ..args
            },
        );
        assert!(none.ends_with("after actions were completed, 2025-08-01 to 2025-12-12\n\nThere is no such action.\n"));
    }
}
