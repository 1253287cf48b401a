//! `stages --by`: attendance over a period in groups.

use std::process::ExitCode;

use chrono::NaiveDate;
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{date_text, grouped, lines, percent_text, print, print_json, proto_date, table};
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{
    AttendanceFigures, AttendanceGroup, AttendanceGrouping, Count, SummarizeAttendanceRequest,
    SummarizeAttendanceResponse,
};

/// How attendance is grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// By school.
    School,
    /// By year group.
    YearGroup,
    /// By week, Monday to Sunday.
    Week,
    /// By term of the schools' calendars.
    Term,
}

impl By {
    const fn grouping(self) -> AttendanceGrouping {
        match self {
            By::School => AttendanceGrouping::School,
            By::YearGroup => AttendanceGrouping::YearGroup,
            By::Week => AttendanceGrouping::Week,
            By::Term => AttendanceGrouping::Term,
        }
    }

    const fn heading(self) -> &'static str {
        match self {
            By::School => "school",
            By::YearGroup => "year group",
            By::Week => "week from",
            By::Term => "term",
        }
    }
}

/// Which attendance is asked for.
#[derive(Clone, Debug)]
pub struct AttendanceArgs {
    /// The school; nothing for the whole trust.
    pub school: Option<String>,
    /// The groups.
    pub by: By,
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
    /// Whether small numbers are suppressed.
    pub suppress: bool,
    /// Whether JSON is printed.
    pub json: bool,
}

/// What `stages --by … --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct AttendanceReport {
    /// The first day that was counted.
    pub from_date: String,
    /// The last day.
    pub to_date: String,
    /// Counts from 1 to below it are suppressed; 0 where none are.
    pub small_number_limit: i32,
    /// The groups.
    pub groups: Vec<FiguresReport>,
    /// The school or the trust as a whole.
    pub whole: FiguresReport,
}

/// The figures of a group. What is suppressed is null.
#[derive(Clone, Debug, Serialize)]
pub struct FiguresReport {
    /// The group: a school's name, a year group, a week's Monday, a term; empty for the whole, for pupils of no recorded year
    /// group, and for days outside of terms.
    pub group: String,
    /// The school's URN; empty for other groups.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub urn: String,
    /// Sessions attended.
    pub attended: Option<i64>,
    /// Sessions that could have been attended.
    pub possible: Option<i64>,
    /// Sessions of authorised absence.
    pub authorised: Option<i64>,
    /// Sessions of unauthorised absence.
    pub unauthorised: Option<i64>,
    /// Attendance in per cent with one decimal; empty where nothing was possible, or it is suppressed.
    pub attendance_percent: String,
    /// Pupils with possible sessions.
    pub pupils: Option<i32>,
    /// Of those, pupils who missed a tenth or more.
    pub persistently_absent_pupils: Option<i32>,
    /// Of those, pupils who missed half or more.
    pub severely_absent_pupils: Option<i32>,
    /// Enrolments with possible sessions, as national statistics count.
    pub enrolments: Option<i32>,
    /// Of those, enrolments with a tenth or more missed.
    pub persistently_absent_enrolments: Option<i32>,
    /// Of those, enrolments with half or more missed.
    pub severely_absent_enrolments: Option<i32>,
}

/// Asks, and prints.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &AttendanceArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let request = SummarizeAttendanceRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        grouping: args.by.grouping().into(),
        academic_year: 0,
        from_date: args.from.map(proto_date),
        to_date: args.to.map(proto_date),
        suppress_small_numbers: args.suppress,
    };
    let mut client = StageServiceClient::new(channel);
    let report = report(args.by, client.summarize_attendance(request).await?.into_inner())?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(args.by, &report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(by: By, answer: SummarizeAttendanceResponse) -> Result<AttendanceReport, CommandError> {
    let groups = answer.groups.into_iter().map(|group| {
        let name = group_name(by, &group);
        let figures = group.figures.ok_or(CommandError::Answer("a group's figures"))?;
        Ok(figures_report(name, group.urn, &figures))
    });
    Ok(AttendanceReport {
        from_date: date_text(answer.from_date.as_ref()),
        to_date: date_text(answer.to_date.as_ref()),
        small_number_limit: answer.small_number_limit,
        groups: groups.collect::<Result<_, CommandError>>()?,
        whole: figures_report(
            String::new(),
            String::new(),
            &answer.whole.ok_or(CommandError::Answer("the whole's figures"))?,
        ),
    })
}

fn group_name(by: By, group: &AttendanceGroup) -> String {
    match by {
        By::School => group.school_name.clone(),
        By::YearGroup => group.year_group.clone(),
        By::Week => date_text(group.from_date.as_ref()),
        By::Term => group.term.clone(),
    }
}

fn figures_report(group: String, urn: String, figures: &AttendanceFigures) -> FiguresReport {
    let count = |count: &Option<Count>| count.filter(|count| !count.suppressed).map(|count| count.value);
    let tally = figures.tally;
    FiguresReport {
        group,
        urn,
        attended: tally.map(|tally| tally.attended),
        possible: tally.map(|tally| tally.possible),
        authorised: tally.map(|tally| tally.authorised),
        unauthorised: tally.map(|tally| tally.unauthorised),
        attendance_percent: figures.attendance_percent.clone(),
        pupils: count(&figures.pupils),
        persistently_absent_pupils: count(&figures.persistently_absent_pupils),
        severely_absent_pupils: count(&figures.severely_absent_pupils),
        enrolments: count(&figures.enrolments),
        persistently_absent_enrolments: count(&figures.persistently_absent_enrolments),
        severely_absent_enrolments: count(&figures.severely_absent_enrolments),
    }
}

/// What stands for a suppressed figure, as in the department's publications.
pub(super) const SUPPRESSED: &str = "c";

fn for_people(by: By, report: &AttendanceReport) -> String {
    let mut figures = table(
        &[
            by.heading(),
            "att %",
            "auth %",
            "unauth %",
            "pupils",
            "PA %",
            "SA %",
            "enrolments",
            "PA %",
            "SA %",
        ],
        1,
    );
    for group in &report.groups {
        let name = match (by, group.group.as_str()) {
            (By::YearGroup, "") => "not recorded",
            (By::Term, "") => "outside terms",
            (_, name) => name,
        };
        figures.add_row(row(name, group));
    }
    figures.add_row(row("together", &report.whole));
    let mut text = format!(
        "Attendance from {} to {}\n\n{}",
        report.from_date,
        report.to_date,
        lines(&figures)
    );
    if report.small_number_limit > 0 {
        text.push_str(&format!(
            "\n{SUPPRESSED}: counts below {} are not told, nor those from which they would follow.\n",
            report.small_number_limit
        ));
    }
    text
}

fn row(name: &str, figures: &FiguresReport) -> Vec<String> {
    let hidden = || SUPPRESSED.to_owned();
    let count = |count: Option<i32>| count.map_or_else(hidden, |count| grouped(u64::try_from(count).unwrap_or(0)));
    let share = |part: Option<i32>, whole: Option<i32>| match (part, whole) {
        (Some(part), Some(whole)) => percent_text(part.into(), whole.into()),
        _ => hidden(),
    };
    let sessions = |part: Option<i64>| match (part, figures.possible) {
        (Some(part), Some(possible)) => percent_text(part, possible),
        _ => hidden(),
    };
    vec![
        name.to_owned(),
        sessions(figures.attended),
        sessions(figures.authorised),
        sessions(figures.unauthorised),
        count(figures.pupils),
        share(figures.persistently_absent_pupils, figures.pupils),
        share(figures.severely_absent_pupils, figures.pupils),
        count(figures.enrolments),
        share(figures.persistently_absent_enrolments, figures.enrolments),
        share(figures.severely_absent_enrolments, figures.enrolments),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Tally;

    fn figures(pupils: i32, suppressed: bool) -> Option<AttendanceFigures> {
        let count = |value| {
            let value = if suppressed { 0 } else { value };
            Some(Count { value, suppressed })
        };
        Some(AttendanceFigures {
            tally: (!suppressed).then_some(Tally {
                attended: 9 * i64::from(pupils),
                possible: 10 * i64::from(pupils),
                authorised: i64::from(pupils),
                unauthorised: 0,
            }),
            attendance_percent: if suppressed { String::new() } else { "90.0".to_owned() },
            tally_suppressed: suppressed,
            pupils: count(pupils),
            persistently_absent_pupils: count(pupils / 4),
            severely_absent_pupils: count(0),
            enrolments: count(pupils + 1),
            persistently_absent_enrolments: count(pupils / 3),
            severely_absent_enrolments: count(1),
        })
    }

    #[test]
    fn groups_stand_in_a_table_within_a_hundred_columns() {
        let group = |year_group: &str, pupils, suppressed| AttendanceGroup {
            year_group: year_group.to_owned(),
            figures: figures(pupils, suppressed),
            ..AttendanceGroup::default()
        };
        let date = |year, month, day| crate::proto::Date { year, month, day };
        let answer = SummarizeAttendanceResponse {
            groups: vec![group("7", 12_345, false), group("N1", 3, true), group("", 8, false)],
            whole: figures(123_456, false),
            small_number_limit: 6,
            from_date: Some(date(2025, 8, 1)),
            to_date: Some(date(2026, 6, 26)),
        };
        let text = for_people(By::YearGroup, &report(By::YearGroup, answer).unwrap());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text, @r"
    Attendance from 2025-08-01 to 2026-06-26

     year group    att %  auth %  unauth %   pupils  PA %  SA %  enrolments  PA %  SA %
     7              90.0    10.0       0.0   12,345  25.0   0.0      12,346  33.3   0.0
     N1                c       c         c        c     c     c           c     c     c
     not recorded   90.0    10.0       0.0        8  25.0   0.0           9  22.2  11.1
     together       90.0    10.0       0.0  123,456  25.0   0.0     123,457  33.3   0.0

    c: counts below 6 are not told, nor those from which they would follow.
    ");
    }
}
