//! `calendar`: shows a school's calendar, and imports term dates.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{Datelike, Days, NaiveDate};
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{date_text, lines, print, print_json, proto_date, table, words};
use crate::domain::session::AcademicYear;
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::{self, GetCalendarRequest, ImportCalendarRequest, ImportCalendarResponse};

/// Shows a school's calendar, or imports term dates.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response calendar show --school 999002
  graduated-response calendar import terms.ics --school 999002 --year 2025 --dry-run")]
pub struct CalendarArgs {
    #[command(subcommand)]
    command: CalendarCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum CalendarCommand {
    Show(ShowArgs),
    Import(ImportArgs),
}

/// Shows a school's calendar of an academic year: as it was given, else as the school's marks tell.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response calendar show --school 999002
  graduated-response calendar show --school 999002 --year 2025 --json")]
struct ShowArgs {
    /// The school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    school: String,
    /// The academic year, by the year in which it begins. The current one if not given.
    #[arg(long, value_name = "YEAR", value_parser = parse_year)]
    year: Option<AcademicYear>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Imports term dates: an iCalendar file, or CSV with the columns start, end, kind and label.
///
/// Begin with --dry-run: it shows how the file is read, the days by kind, and every entry that is not understood with its
/// line, and writes nothing. An entry that is not understood opens no day.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response calendar import --all-schools --dry-run term-dates.ics
  graduated-response calendar import --school 999002 --year 2025 term-dates.csv
  graduated-response calendar import --all-schools --style closures --first-day 2025-09-03 \\
      --last-day 2026-07-21 closures.ics")]
struct ImportArgs {
    /// The file.
    file: PathBuf,
    /// The school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN", required_unless_present = "all_schools")]
    school: Option<String>,
    /// Every school of the trust.
    #[arg(long, conflicts_with = "school")]
    all_schools: bool,
    /// The academic year, by the year in which it begins. The current one if not given.
    #[arg(long, value_name = "YEAR", value_parser = parse_year)]
    year: Option<AcademicYear>,
    /// What the file is written in. Told by its first line if not given.
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// What its entries stand for. Told by their labels if not given.
    #[arg(long, value_enum)]
    style: Option<StyleArg>,
    /// The first day on which the school may be open, for a file of closures that does not say.
    #[arg(long, value_name = "YYYY-MM-DD")]
    first_day: Option<NaiveDate>,
    /// The last day.
    #[arg(long, value_name = "YYYY-MM-DD")]
    last_day: Option<NaiveDate>,
    /// Import although entries are not understood.
    #[arg(long)]
    skip_not_understood: bool,
    /// Write nothing, and show how the file is read.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum FormatArg {
    /// iCalendar
    Icalendar,
    /// CSV: start,end,kind,label
    Csv,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum StyleArg {
    /// An entry is a part of a term: weekdays without one are no school days
    TermDays,
    /// An entry is a closure: weekdays without one are school days
    Closures,
}

fn parse_year(text: &str) -> Result<AcademicYear, String> {
    text.split('/')
        .next()
        .and_then(|year| year.parse().ok())
        .and_then(AcademicYear::from_start_year)
        .ok_or_else(|| "an academic year is the year in which it begins, for example 2025".to_owned())
}

/// What `calendar show --json` prints.
#[derive(Debug, Serialize)]
struct CalendarReport {
    #[serde(skip_serializing_if = "String::is_empty")]
    school_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    urn: String,
    academic_year: i32,
    given: bool,
    school_days: i32,
    terms: Vec<TermLine>,
    notes: Vec<NoteLine>,
    months: Vec<MonthLine>,
}

#[derive(Debug, Serialize)]
struct TermLine {
    name: String,
    first_day: String,
    last_day: String,
}

#[derive(Debug, Serialize)]
struct NoteLine {
    kind: String,
    first_day: String,
    last_day: String,
    label: String,
}

/// The days of a month by kind.
#[derive(Debug, Default, Serialize)]
struct MonthLine {
    month: String,
    school_days: usize,
    inset_days: usize,
    closure_days: usize,
}

/// What `calendar import --json` prints.
#[derive(Debug, Serialize)]
struct ImportReport {
    dry_run: bool,
    format: String,
    style: String,
    entries: i32,
    entries_outside_year: i32,
    school_days: i32,
    inset_days: i32,
    closure_days: i32,
    not_understood: Vec<NotUnderstoodLine>,
    not_understood_total: i32,
    schools_written: usize,
    transitions: i32,
    calendar: CalendarReport,
}

#[derive(Debug, Serialize)]
struct NotUnderstoodLine {
    line: i32,
    label: String,
    reason: String,
    message: String,
}

/// Runs the command.
///
/// # Errors
/// [`CommandError`] where the service refuses or cannot be reached, or the file cannot be read.
pub async fn run(args: &CalendarArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    match &args.command {
        CalendarCommand::Show(args) => show(args, channel, trust_id).await,
        CalendarCommand::Import(args) => import(args, channel, trust_id).await,
    }
}

fn start_year(year: Option<AcademicYear>) -> i32 {
    year.map_or(0, |year| i32::from(year.start_year()))
}

async fn show(args: &ShowArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let request = GetCalendarRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone(),
        academic_year: start_year(args.year),
    };
    let answer = AdminServiceClient::new(channel).get_calendar(request).await?;
    let calendar = answer.into_inner().calendar.ok_or(CommandError::Answer("a calendar"))?;
    let head = format!("{} {}\n", calendar.urn, calendar.name);
    let report = report_of(calendar);
    if args.json {
        print_json(&report)?;
    } else {
        let how = if report.given {
            "as it was given"
        } else {
            "as the school's marks tell: nobody gave a calendar"
        };
        print(&format!(
            "{head}{}: {how}\n\n{}",
            year_text(&report),
            calendar_text(&report)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn import(args: &ImportArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let content = std::fs::read(&args.file)
        .map_err(|error| CommandError::Usage(format!("{} cannot be read: {error}", args.file.display())))?;
    let format = match args.format {
        None => proto::CalendarFormat::Unspecified,
        Some(FormatArg::Icalendar) => proto::CalendarFormat::Icalendar,
        Some(FormatArg::Csv) => proto::CalendarFormat::Csv,
    };
    let style = match args.style {
        None => proto::CalendarStyle::Unspecified,
        Some(StyleArg::TermDays) => proto::CalendarStyle::TermDays,
        Some(StyleArg::Closures) => proto::CalendarStyle::Closures,
    };
    let request = ImportCalendarRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        all_schools: args.all_schools,
        academic_year: start_year(args.year),
        content: content.into(),
        format: format.into(),
        style: style.into(),
        first_day: args.first_day.map(proto_date),
        last_day: args.last_day.map(proto_date),
        dry_run: args.dry_run,
        skip_not_understood: args.skip_not_understood,
        etag: String::new(),
    };
    let answer = AdminServiceClient::new(channel)
        .import_calendar(request)
        .await?
        .into_inner();
    let report = import_report(answer, args.dry_run)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&import_text(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn import_report(answer: ImportCalendarResponse, dry_run: bool) -> Result<ImportReport, CommandError> {
    let (format, style) = (answer.format().as_str_name(), answer.style().as_str_name());
    let (format, style) = (words(format, "CALENDAR_FORMAT_"), words(style, "CALENDAR_STYLE_"));
    let calendar = report_of(answer.calendar.ok_or(CommandError::Answer("a calendar"))?);
    let not_understood = answer.not_understood.into_iter().map(|entry| NotUnderstoodLine {
        line: entry.line,
        label: entry.label,
        reason: entry.reason,
        message: entry.message,
    });
    Ok(ImportReport {
        dry_run,
        format,
        style,
        entries: answer.entries,
        entries_outside_year: answer.entries_outside_year,
        school_days: calendar.school_days,
        inset_days: answer.inset_days,
        closure_days: answer.closure_days,
        not_understood: not_understood.collect(),
        not_understood_total: answer.not_understood_total,
        schools_written: answer.calendars.len(),
        transitions: answer.transitions,
        calendar,
    })
}

fn import_text(report: &ImportReport) -> String {
    let style = match report.style.as_str() {
        "term days" => "each entry is a part of a term, and weekdays without one are no school days",
        _ => "each entry is a closure, and weekdays without one are school days",
    };
    let mut text = format!(
        "Read as {}: {style}\n{} entries of {}, {} of other years\n{} school days, {} INSET days, {} days closed\n\n{}",
        report.format,
        report.entries,
        year_text(&report.calendar),
        report.entries_outside_year,
        report.school_days,
        report.inset_days,
        report.closure_days,
        calendar_text(&report.calendar)
    );
    if !report.not_understood.is_empty() {
        let mut listed = table(&["line", "label", "not understood because"], usize::MAX);
        for entry in &report.not_understood {
            listed.add_row([&entry.line.to_string(), &entry.label, &entry.message]);
        }
        text.push_str(&format!("\n{}", lines(&listed)));
        let more = usize::try_from(report.not_understood_total).unwrap_or(0) - report.not_understood.len();
        if more > 0 {
            text.push_str(&format!("and {more} more\n"));
        }
    }
    text.push_str(&match (report.dry_run, report.schools_written) {
        (true, _) => "\nNothing was written.\n".to_owned(),
        (false, schools) => format!(
            "\nWritten for {schools} {}; {} pupils moved to another stage.\n",
            if schools == 1 { "school" } else { "schools" },
            report.transitions
        ),
    });
    text
}

fn report_of(calendar: proto::Calendar) -> CalendarReport {
    let terms = calendar.terms.iter().map(|term| TermLine {
        name: term.name.clone(),
        first_day: date_text(term.first_day.as_ref()),
        last_day: date_text(term.last_day.as_ref()),
    });
    let notes = calendar.notes.iter().map(|note| NoteLine {
        kind: words(note.kind().as_str_name(), "CALENDAR_DAY_KIND_"),
        first_day: date_text(note.first_day.as_ref()),
        last_day: date_text(note.last_day.as_ref()),
        label: note.label.clone(),
    });
    CalendarReport {
        terms: terms.collect(),
        notes: notes.collect(),
        months: months_of(&calendar),
        school_id: calendar.school_id,
        urn: calendar.urn,
        academic_year: calendar.academic_year,
        given: calendar.given,
        school_days: calendar.school_days,
    }
}

fn months_of(calendar: &proto::Calendar) -> Vec<MonthLine> {
    let first = AcademicYear::from_start_year(calendar.academic_year).map(AcademicYear::first_day);
    let mut months: BTreeMap<(i32, u32), MonthLine> = BTreeMap::new();
    for (place, kind) in calendar.days().enumerate() {
        let Some(date) = first.and_then(|first| first.checked_add_days(Days::new(place as u64))) else {
            continue;
        };
        let month = months.entry((date.year(), date.month())).or_default();
        month.month = date.format("%B %Y").to_string();
        match kind {
            proto::CalendarDayKind::SchoolDay => month.school_days += 1,
            proto::CalendarDayKind::Inset => month.inset_days += 1,
            proto::CalendarDayKind::Closure => month.closure_days += 1,
            proto::CalendarDayKind::Unspecified => {}
        }
    }
    months.into_values().collect()
}

fn year_text(report: &CalendarReport) -> String {
    AcademicYear::from_start_year(report.academic_year).map_or_else(String::new, |year| year.to_string())
}

fn calendar_text(report: &CalendarReport) -> String {
    let mut terms = table(&["term", "from", "to"], usize::MAX);
    for term in &report.terms {
        terms.add_row([&term.name, &term.first_day, &term.last_day]);
    }
    let mut months = table(&["month", "school days", "INSET", "closed"], 1);
    for month in &report.months {
        months.add_row([
            month.month.clone(),
            month.school_days.to_string(),
            month.inset_days.to_string(),
            month.closure_days.to_string(),
        ]);
    }
    let mut text = format!("{}\n{}", lines(&terms), lines(&months));
    if !report.notes.is_empty() {
        let mut notes = table(&["day", "to", "is", "label"], usize::MAX);
        for note in &report.notes {
            let last = if note.last_day == note.first_day {
                ""
            } else {
                &note.last_day
            };
            notes.add_row([&note.first_day, last, &note.kind, &note.label]);
        }
        text.push_str(&format!("\n{}", lines(&notes)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{CalendarEntryNotUnderstood, CalendarNote, CalendarTerm};

    fn date(text: &str) -> Option<proto::Date> {
        Some(proto_date(text.parse().unwrap()))
    }

    #[test]
    fn a_dry_run_shows_the_reading_the_days_and_what_was_not_understood() {
        let mut days = vec![0; 365];
        days[33] = 2;
        days[34..36].fill(1);
        days[87] = 3;
        let calendar = proto::Calendar {
            academic_year: 2025,
            given: true,
            terms: vec![CalendarTerm {
                name: "autumn".into(),
                first_day: date("2025-09-03"),
                last_day: date("2025-09-05"),
            }],
            notes: vec![CalendarNote {
                kind: 3,
                first_day: date("2025-10-27"),
                last_day: date("2025-10-31"),
                label: "Half term".into(),
            }],
            days,
            school_days: 2,
            ..proto::Calendar::default()
        };
        let answer = ImportCalendarResponse {
            format: proto::CalendarFormat::Icalendar.into(),
            style: proto::CalendarStyle::TermDays.into(),
            calendar: Some(calendar),
            inset_days: 1,
            closure_days: 1,
            entries: 3,
            entries_outside_year: 1,
            not_understood: vec![CalendarEntryNotUnderstood {
                line: 12,
                label: "Founders".into(),
                reason: "UNKNOWN_LABEL".into(),
                message: "the label says nothing".into(),
            }],
            not_understood_total: 3,
            ..ImportCalendarResponse::default()
        };
        let text = import_text(&import_report(answer, true).unwrap());
        for line in [
            "Read as icalendar: each entry is a part of a term",
            "3 entries of 2025/26, 1 of other years",
            "2 school days, 1 INSET days, 1 days closed",
            " September 2025            2      1       0\n",
            " 2025-10-27  2025-10-31  closure  Half term\n",
            " 12    Founders  the label says nothing\n",
            "and 2 more\n",
            "Nothing was written.\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }
}
