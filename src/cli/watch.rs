//! `watch`: transitions as they are committed.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;
use tonic::transport::Channel;
use uuid::Uuid;

use super::error::CommandError;
use super::output::{date_text, grouped, stage_text, words};
use crate::proto::stage_service_client::StageServiceClient;
use crate::proto::watch_transitions_response::Event;
use crate::proto::{SnapshotStage, Transition, WatchStart, WatchTransitionsRequest};

/// Prints transitions as they are committed, until Ctrl-C.
///
/// Begins with a snapshot of every pupil's stage unless --from says otherwise. Ends with the last cursor, from which another
/// `watch` goes on without missing any.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response watch                       how many are at each stage, then every move
  graduated-response watch --school 999002       of one school's pupils
  graduated-response watch --from CURSOR         go on where an earlier watch ended
  graduated-response watch --from beginning --json | jq -c 'select(.event == \"transition\")'

With --json each line is an object whose `event` is stage, snapshot_complete, transition, heartbeat or ended. Keep the
cursor of the last line that has one.")]
pub struct WatchArgs {
    /// From where: snapshot, beginning (the oldest transition that is still served), or a cursor.
    #[arg(long, value_name = "snapshot|beginning|CURSOR", default_value = "snapshot")]
    from: String,
    /// Only pupils at this school: its URN (6 digits) or UUID.
    #[arg(long, value_name = "URN", default_value = "")]
    school: String,
    /// Send a heartbeat after so many seconds without anything else, 1 to 300; 0 means 15.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    heartbeat: i32,
    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What `watch --json` prints, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    /// A pupil's stage in the snapshot.
    Stage {
        pupil_id: String,
        stage: String,
        since: String,
        school_ids: Vec<String>,
    },
    /// The snapshot is complete.
    SnapshotComplete { cursor: String, pupils: i64 },
    /// A move.
    Transition(TransitionLine),
    /// Nothing else for a while.
    Heartbeat { cursor: String },
    /// The end.
    Ended { cursor: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TransitionLine {
    cursor: String,
    pupil_id: String,
    from_stage: String,
    to_stage: String,
    effective_on: String,
    recorded_at: String,
    cause: String,
    attended: i64,
    possible: i64,
    attendance_percent: String,
    policy_version: i32,
    #[serde(skip_serializing_if = "String::is_empty")]
    retracted_to: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hold_id: String,
    school_ids: Vec<String>,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// The last cursor; empty before there is one.
    cursor: String,
    /// Pupils of the snapshot at each stage, U and 1 to 5.
    stages: [u64; 6],
}

/// Runs the command.
///
/// # Errors
///
/// [`CommandError`] where the service refuses or cannot be reached.
pub async fn run(args: &WatchArgs, channel: Channel, trust_id: Uuid) -> Result<ExitCode, CommandError> {
    let request = request(args, trust_id);
    let mut stream = StageServiceClient::new(channel)
        .watch_transitions(request)
        .await?
        .into_inner();
    let mut seen = Seen::default();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            signal = &mut interrupted => {
                signal?;
                let ended = Event::Ended(crate::proto::WatchEnded { cursor: seen.cursor.clone() });
                show(args, &mut seen, ended)?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        let event = match message {
            Ok(Some(message)) => message.event,
            // Its last message said so.
            Ok(None) => return Ok(ExitCode::SUCCESS),
            Err(status) => {
                if !seen.cursor.is_empty() {
                    eprintln!("{}", to_resume(&seen.cursor));
                }
                return Err(status.into());
            }
        };
        let Some(event) = event else {
            continue;
        };
        if !show(args, &mut seen, event)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn request(args: &WatchArgs, trust_id: Uuid) -> WatchTransitionsRequest {
    let (start, cursor) = match args.from.as_str() {
        "snapshot" => (WatchStart::Snapshot, String::new()),
        "beginning" => (WatchStart::Beginning, String::new()),
        cursor => (WatchStart::Cursor, cursor.to_owned()),
    };
    WatchTransitionsRequest {
        trust_id: trust_id.to_string(),
        school: args.school.clone(),
        start: start.into(),
        cursor,
        heartbeat_seconds: args.heartbeat,
    }
}

/// Prints what came, and says whether there is still somebody to read it.
fn show(args: &WatchArgs, seen: &mut Seen, event: Event) -> Result<bool, CommandError> {
    let text = if args.json {
        let mut text = String::new();
        for line in lines(seen, event) {
            text.push_str(&serde_json::to_string(&line).map_err(std::io::Error::from)?);
            text.push('\n');
        }
        text
    } else {
        for_people(seen, event)
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

fn to_resume(cursor: &str) -> String {
    if cursor.is_empty() {
        "ended before there was a cursor: begin anew".to_owned()
    } else {
        format!("ended; to go on from here: --from {cursor}")
    }
}

fn lines(seen: &mut Seen, event: Event) -> Vec<Line> {
    match event {
        Event::SnapshotPage(page) => page.stages.into_iter().map(stage_line).collect(),
        Event::SnapshotComplete(complete) => {
            seen.cursor.clone_from(&complete.cursor);
            vec![Line::SnapshotComplete {
                cursor: complete.cursor,
                pupils: complete.pupils,
            }]
        }
        Event::TransitionPage(page) => {
            if let Some(last) = page.transitions.last() {
                seen.cursor.clone_from(&last.cursor);
            }
            let transitions = page.transitions.into_iter();
            transitions
                .map(|found| Line::Transition(transition_line(found)))
                .collect()
        }
        Event::Heartbeat(heartbeat) => {
            seen.cursor.clone_from(&heartbeat.cursor);
            vec![Line::Heartbeat {
                cursor: heartbeat.cursor,
            }]
        }
        Event::Ended(ended) => vec![Line::Ended { cursor: ended.cursor }],
    }
}

fn stage_line(found: SnapshotStage) -> Line {
    Line::Stage {
        stage: stage_text(found.stage),
        since: date_text(found.since.as_ref()),
        pupil_id: found.pupil_id,
        school_ids: found.school_ids,
    }
}

fn transition_line(found: Transition) -> TransitionLine {
    let tally = found.tally.unwrap_or_default();
    let recorded_at = found.recorded_at.unwrap_or_default();
    let retracted = found.retracted_to != 0;
    TransitionLine {
        from_stage: stage_text(found.from_stage),
        to_stage: stage_text(found.to_stage),
        effective_on: date_text(found.effective_on.as_ref()),
        recorded_at: recorded_at.to_string(),
        cause: words(found.cause().as_str_name(), "TRANSITION_CAUSE_").replace(' ', "_"),
        attended: tally.attended,
        possible: tally.possible,
        retracted_to: if retracted {
            stage_text(found.retracted_to)
        } else {
            String::new()
        },
        cursor: found.cursor,
        pupil_id: found.pupil_id,
        attendance_percent: found.attendance_percent,
        policy_version: found.policy_version,
        hold_id: found.hold_id,
        school_ids: found.school_ids,
    }
}

fn for_people(seen: &mut Seen, event: Event) -> String {
    if let Event::SnapshotPage(page) = &event {
        for found in &page.stages {
            let place = usize::try_from(found.stage - 1).unwrap_or_default();
            if let Some(pupils) = seen.stages.get_mut(place) {
                *pupils += 1;
            }
        }
    }
    let mut text = String::new();
    for line in lines(seen, event) {
        match line {
            // Their counts are told once all are there; a heartbeat says nothing to a person.
            Line::Stage { .. } | Line::Heartbeat { .. } => {}
            Line::SnapshotComplete { pupils, .. } => {
                let stages = ["U", "1", "2", "3", "4", "5"].iter().zip(seen.stages);
                let stages: Vec<String> = stages
                    .map(|(stage, pupils)| format!("{stage}: {}", grouped(pupils)))
                    .collect();
                let pupils = grouped(u64::try_from(pupils).unwrap_or_default());
                text.push_str(&format!("{pupils} pupils ({})\n", stages.join(", ")));
            }
            Line::Transition(moved) => {
                let retracted = if moved.retracted_to.is_empty() {
                    String::new()
                } else {
                    format!(", no stage beyond {} was ever reached", moved.retracted_to)
                };
                text.push_str(&format!(
                    "{}  {}  {} -> {}  from {}  {}% ({}/{})  {}{retracted}\n",
                    moved.recorded_at,
                    moved.pupil_id,
                    moved.from_stage,
                    moved.to_stage,
                    moved.effective_on,
                    moved.attendance_percent,
                    moved.attended,
                    moved.possible,
                    moved.cause.replace('_', " "),
                ));
            }
            Line::Ended { cursor } => text.push_str(&format!("{}\n", to_resume(&cursor))),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto;

    fn moved(cursor: &str) -> Transition {
        Transition {
            cursor: cursor.to_owned(),
            pupil_id: "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e".to_owned(),
            from_stage: proto::Stage::Five.into(),
            to_stage: proto::Stage::One.into(),
            effective_on: Some(proto::Date {
                year: 2025,
                month: 9,
                day: 8,
            }),
            recorded_at: Some(prost_types::Timestamp {
                seconds: 1_758_542_400,
                nanos: 0,
            }),
            cause: proto::TransitionCause::Correction.into(),
            tally: Some(proto::Tally {
                attended: 19,
                possible: 20,
                authorised: 0,
                unauthorised: 1,
            }),
            attendance_percent: "95.0".to_owned(),
            policy_version: 1,
            retracted_to: proto::Stage::One.into(),
            school_ids: vec!["oak".to_owned()],
            ..Transition::default()
        }
    }

    fn page(cursors: &[&str]) -> Event {
        Event::TransitionPage(proto::TransitionPage {
            transitions: cursors.iter().map(|cursor| moved(cursor)).collect(),
        })
    }

    #[test]
    fn people_are_told_counts_moves_and_where_to_go_on() {
        let stages = (1..=6).map(|stage| SnapshotStage {
            stage,
            ..SnapshotStage::default()
        });
        let mut seen = Seen::default();
        let events = [
            Event::SnapshotPage(proto::SnapshotPage {
                stages: stages.collect(),
            }),
            Event::SnapshotComplete(proto::SnapshotComplete {
                cursor: "c1".to_owned(),
                pupils: 6,
            }),
            page(&["c2"]),
            Event::Heartbeat(proto::WatchHeartbeat {
                cursor: "c3".to_owned(),
                complete_before: None,
            }),
        ];
        let mut text: String = events.into_iter().map(|event| for_people(&mut seen, event)).collect();
        let ended = proto::WatchEnded {
            cursor: seen.cursor.clone(),
        };
        text.push_str(&for_people(&mut seen, Event::Ended(ended)));
        insta::assert_snapshot!(text, @r"
        6 pupils (U: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1)
        2025-09-22T12:00:00Z  0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e  5 -> 1  from 2025-09-08  95.0% (19/20)  correction, no stage beyond 1 was ever reached
        ended; to go on from here: --from c3
        ");
    }

    #[test]
    fn a_program_is_told_a_line_an_event() {
        let mut seen = Seen::default();
        let lines = lines(&mut seen, page(&["c1", "c2"]));
        assert_eq!((lines.len(), seen.cursor.as_str()), (2, "c2"));
        insta::assert_snapshot!(
            serde_json::to_string_pretty(&lines[0]).unwrap(),
            @r#"
        {
          "event": "transition",
          "cursor": "c1",
          "pupil_id": "0198c2f0-4a51-7c3e-9d44-2f6d3a1b0c5e",
          "from_stage": "5",
          "to_stage": "1",
          "effective_on": "2025-09-08",
          "recorded_at": "2025-09-22T12:00:00Z",
          "cause": "correction",
          "attended": 19,
          "possible": 20,
          "attendance_percent": "95.0",
          "policy_version": 1,
          "retracted_to": "1",
          "school_ids": [
            "oak"
          ]
        }
        "#
        );
    }

    #[test]
    fn from_is_a_word_or_a_cursor() {
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            watch: WatchArgs,
        }
        let read = |line: &[&str]| {
            let args = <Command as clap::Parser>::try_parse_from(line).unwrap().watch;
            let request = request(&args, Uuid::nil());
            (request.start(), request.cursor)
        };
        assert_eq!(read(&["watch"]), (WatchStart::Snapshot, String::new()));
        assert_eq!(
            read(&["watch", "--from", "beginning"]),
            (WatchStart::Beginning, String::new())
        );
        assert_eq!(
            read(&["watch", "--from", "AbC"]),
            (WatchStart::Cursor, "AbC".to_owned())
        );
    }
}
