//! `thresholds`: the statutory thresholds, and a policy's other triggers, that pupils have reached.

use std::process::ExitCode;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{grouped, lines, print, print_json, proto_date, session_text, table, words};
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::{ExportThresholdReturnRequest, ListThresholdEventsRequest, ThresholdEvent, ThresholdKind};

/// What every name of a kind in the contract begins with.
const PREFIX: &str = "THRESHOLD_KIND_";

/// Lists the thresholds that pupils have reached, with the sessions that prove them.
///
/// Pupils are named by the service's own identifier: `explain` says more of one of them. With --csv, the return to the
/// local authority: illness of 15 days and continuous unauthorised absence of 10, with names, UPNs and dates of birth.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response thresholds                                   what stands in the whole trust
  graduated-response thresholds --school 999002 --from 2026-01-05 one school, proved on that day or later
  graduated-response thresholds --kind penalty-notice             for whom a penalty notice is to be considered
  graduated-response thresholds --cleared --json                  with those that were undone, for a program
  graduated-response thresholds --school 999002 --csv > return.csv

Kinds: illness-cumulative, illness-consecutive, illness-expected (with what is entered ahead of time: an early warning),
unauthorised-days, penalty-notice; and where the policy asks for them absences-in-row, spells, week-fall.")]
pub struct ThresholdsArgs {
    /// The school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN")]
    pub school: Option<String>,
    /// Only these kinds, with commas between. With --csv: those of which a local authority is told if not given.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = parse_kind)]
    pub kind: Vec<ThresholdKind>,
    /// Only those proved on this day or later.
    #[arg(long, value_name = "DATE")]
    pub from: Option<NaiveDate>,
    /// Only those proved on this day or earlier.
    #[arg(long, value_name = "DATE")]
    pub to: Option<NaiveDate>,
    /// Those that were undone as well: by a correction, a calendar, a date of birth.
    #[arg(long, conflicts_with = "csv")]
    pub cleared: bool,
    /// List this many at the most.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with = "csv"
    )]
    pub limit: u32,
    /// Print JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print the return to the local authority, for a spreadsheet.
    #[arg(long)]
    pub csv: bool,
}

fn parse_kind(text: &str) -> Result<ThresholdKind, String> {
    let name = text.trim().to_ascii_uppercase().replace('-', "_");
    let kind = ThresholdKind::from_str_name(&format!("{PREFIX}{name}"));
    kind.filter(|kind| *kind != ThresholdKind::Unspecified).ok_or_else(|| {
        "a kind is illness-cumulative, illness-consecutive, illness-expected, unauthorised-days, penalty-notice, \
         absences-in-row, spells or week-fall"
            .to_owned()
    })
}

/// What `thresholds --json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct ThresholdsReport {
    /// The events, by the session that proves them.
    pub events: Vec<EventReport>,
    /// True where there are more than the limit.
    pub more_events: bool,
}

/// One event.
#[derive(Clone, Debug, Serialize)]
pub struct EventReport {
    /// The event's UUID.
    pub event_id: String,
    /// The pupil's UUID.
    pub pupil_id: String,
    /// The year in which the academic year begins.
    pub academic_year: i32,
    /// What was reached: a kind as --kind takes it.
    pub kind: String,
    /// The session that proves it.
    pub proved_by: String,
    /// Every session that it takes, in order.
    pub sessions: Vec<String>,
    /// When it was raised, in UTC.
    pub raised_at: String,
    /// When it was undone, in UTC; empty while it stands.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cleared_at: String,
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &ThresholdsArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let mut client = StageServiceClient::new(channel);
    if args.csv {
        let request = ExportThresholdReturnRequest {
            trust_id: trust_id.to_string(),
            school: args.school.clone().unwrap_or_default(),
            kinds: args.kind.iter().map(|kind| i32::from(*kind)).collect(),
            from_date: args.from.map(proto_date),
            to_date: args.to.map(proto_date),
        };
        print(&client.export_threshold_return(request).await?.into_inner().csv)?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = list(args, &mut client, trust_id).await?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&for_people(&report))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The first events up to the limit.
async fn list(
    args: &ThresholdsArgs,
    client: &mut StageServiceClient<Channel>,
    trust_id: Uuid,
) -> Result<ThresholdsReport, CommandError> {
    let limit = args.limit as usize;
    let mut request = ListThresholdEventsRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone().unwrap_or_default(),
        kinds: args.kind.iter().map(|kind| i32::from(*kind)).collect(),
        from_date: args.from.map(proto_date),
        to_date: args.to.map(proto_date),
        include_cleared: args.cleared,
        // Below 1,001.
        page_size: limit.min(1000) as i32,
        ..ListThresholdEventsRequest::default()
    };
    let mut events: Vec<EventReport> = Vec::new();
    loop {
        let page = client.list_threshold_events(request.clone()).await?.into_inner();
        events.extend(page.events.into_iter().map(event_report));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || events.len() >= limit {
            let more_events = !request.page_token.is_empty() || events.len() > limit;
            events.truncate(limit);
            return Ok(ThresholdsReport { events, more_events });
        }
    }
}

fn event_report(event: ThresholdEvent) -> EventReport {
    let threshold = event.threshold.unwrap_or_default();
    EventReport {
        event_id: event.event_id,
        pupil_id: event.pupil_id,
        academic_year: event.academic_year,
        kind: words(threshold.kind().as_str_name(), PREFIX).replace(' ', "-"),
        proved_by: session_text(threshold.proved_by.as_ref()),
        sessions: threshold
            .sessions
            .iter()
            .map(|session| session_text(Some(session)))
            .collect(),
        raised_at: moment_text(event.raised_at),
        cleared_at: moment_text(event.cleared_at),
    }
}

/// A moment as text, `2026-06-26T12:00:00Z`; empty where there is none.
fn moment_text(at: Option<prost_types::Timestamp>) -> String {
    let at = at.and_then(|at| DateTime::<Utc>::from_timestamp(at.seconds, 0));
    at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
        .unwrap_or_default()
}

fn for_people(report: &ThresholdsReport) -> String {
    if report.events.is_empty() {
        return "No pupil has reached a threshold.\n".to_owned();
    }
    let day = |moment: &str| moment.split('T').next().unwrap_or_default().to_owned();
    let with_cleared = report.events.iter().any(|event| !event.cleared_at.is_empty());
    let mut header = vec!["pupil", "threshold", "from", "proved by", "sessions", "raised on"];
    header.extend(with_cleared.then_some("undone on"));
    let mut listed = table(&header, header.len());
    for event in &report.events {
        let mut cells = vec![
            event.pupil_id.clone(),
            event.kind.replace('-', " "),
            event.sessions.first().cloned().unwrap_or_default(),
            event.proved_by.clone(),
            event.sessions.len().to_string(),
            day(&event.raised_at),
        ];
        cells.extend(with_cleared.then(|| day(&event.cleared_at)));
        listed.add_row(cells);
    }
    if let Some(sessions) = listed.column_mut(4) {
        sessions.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    let mut text = lines(&listed);
    if report.more_events {
        text.push_str(&format!(
            "\nThe first {}; there are more: give a higher --limit.\n",
            grouped(report.events.len() as u64)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    #[test]
    fn kinds_are_read_with_commas_between_in_either_case() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            thresholds: ThresholdsArgs,
        }
        let read = |line: &[&str]| <Line as clap::Parser>::try_parse_from(line);
        let kinds = read(&["thresholds", "--kind", "penalty-notice,Spells"])
            .unwrap()
            .thresholds
            .kind;
        assert_eq!(kinds, [ThresholdKind::PenaltyNotice, ThresholdKind::Spells]);
        for wrong in ["unspecified", "illness"] {
            let refused = read(&["thresholds", "--kind", wrong]).err().unwrap();
            assert!(refused.to_string().contains("a kind is illness-cumulative"), "{wrong}");
        }
        assert!(read(&["thresholds", "--csv", "--json"]).is_err());
        assert!(read(&["thresholds", "--csv", "--limit", "5"]).is_err());
        assert!(read(&["thresholds", "--csv"]).is_ok());
    }

    #[test]
    fn events_stand_in_a_table_and_those_undone_say_so() {
        let session = |day: i32, half: proto::SessionHalf| proto::Session {
            date: Some(proto::Date {
                year: 2025,
                month: 9,
                day,
            }),
            half: half.into(),
        };
        let proved_by = session(12, proto::SessionHalf::Pm);
        let at = |text: &str| {
            Some(prost_types::Timestamp {
                seconds: text.parse::<DateTime<Utc>>().unwrap().timestamp(),
                nanos: 0,
            })
        };
        let event = ThresholdEvent {
            pupil_id: "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e".to_owned(),
            academic_year: 2025,
            threshold: Some(proto::Threshold {
                kind: ThresholdKind::PenaltyNotice.into(),
                proved_by: Some(proved_by),
                sessions: vec![session(8, proto::SessionHalf::Am), proved_by],
            }),
            raised_at: at("2025-09-12T16:05:00Z"),
            ..ThresholdEvent::default()
        };
        let undone = ThresholdEvent {
            cleared_at: at("2025-09-15T08:30:00Z"),
            ..event.clone()
        };
        let report = |events: &[&ThresholdEvent]| ThresholdsReport {
            events: events.iter().map(|event| event_report((*event).clone())).collect(),
            more_events: true,
        };
        insta::assert_snapshot!(for_people(&report(&[&event])), @r"
         pupil                                 threshold       from           proved by      sessions  raised on
         0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e  penalty notice  2025-09-08 AM  2025-09-12 PM         2  2025-09-12

        The first 1; there are more: give a higher --limit.
        ");
        insta::assert_snapshot!(for_people(&report(&[&event, &undone])), @r"
         pupil                                 threshold       from           proved by      sessions  raised on   undone on
         0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e  penalty notice  2025-09-08 AM  2025-09-12 PM         2  2025-09-12
         0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e  penalty notice  2025-09-08 AM  2025-09-12 PM         2  2025-09-12  2025-09-15

        The first 2; there are more: give a higher --limit.
        ");
    }
}
