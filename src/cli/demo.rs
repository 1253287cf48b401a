//! `demo`: generates the sample trust and loads it through the service's own port.

mod progress;
mod report;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Datelike, NaiveDate};
use futures::StreamExt as _;
use tokio::sync::Semaphore;
use tonic::Code;
use tonic::transport::Channel;
use uuid::Uuid;

use self::progress::Progress;
use self::report::report;
use super::error::CommandError;
use super::output::{grouped, print, proto_date};
use crate::domain::session::AcademicYear;
use crate::proto::admin_service_client::AdminServiceClient;
use crate::proto::pupil_service_client::PupilServiceClient;
use crate::proto::session_service_client::SessionServiceClient;
use crate::proto::stream_sessions_response::Outcome;
use crate::proto::{
    self, BatchUpsertPupilsRequest, CreateSchoolRequest, CreateTrustRequest, Enrolment, EnrolmentKind,
    GetSchoolRequest, GetServerInfoRequest, PupilInput, PupilKey, Rejection, School, SessionBatch, SessionItem,
    StreamSessionsRequest, pupil_key,
};
use crate::sample::{self, Phase, SamplePupil, SampleSchool, SampleSettings, SampleTrust, calendar};

/// Generates a sample trust and loads it into the service.
///
/// Twelve invented primary, secondary and special schools with 9,000 invented pupils, in the academic year 2025/26.
/// Attendance, persistent absence and the frequency of every code are those that the Department for Education published
/// for each phase; the command says how far its sample lies from them.
///
/// The marks are loaded month by month, so that the pupils have a history of moves between stages. The trust is a new
/// one: nothing of any other trust is touched. The same seed and settings make the same trust, and loading it again
/// changes nothing.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  graduated-response demo                           9,000 pupils, marks to 26 June 2026
  graduated-response demo --through 2025-12-19      the autumn term alone
  graduated-response demo --pupils 50000 --seed 7   a larger trust, with other pupils

Stages are of the academic year of the service's own day: the sample's are seen on a day of 2025/26.

Contains public sector information licensed under the Open Government Licence v3.0.")]
pub struct DemoArgs {
    /// The seed. The same seed gives the same trust.
    #[arg(long, default_value_t = 2025)]
    pub seed: u64,
    /// How many pupils, 120 to 500,000.
    #[arg(long, value_name = "N", default_value_t = 9000)]
    pub pupils: usize,
    /// The last day with marks, 2025-09-02 to 2026-07-20.
    #[arg(long, value_name = "DATE", default_value_t = calendar::PUBLISHED_LAST_DAY)]
    pub through: NaiveDate,
    /// Do not ask first. Without it, the command asks where a person can answer, and goes ahead where none can.
    #[arg(long, short = 'y')]
    pub yes: bool,
}

impl From<&DemoArgs> for SampleSettings {
    fn from(args: &DemoArgs) -> SampleSettings {
        SampleSettings {
            seed: args.seed,
            through: args.through,
            pupils: args.pupils,
            ..SampleSettings::default()
        }
    }
}

/// What was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedSample {
    /// The trust: follows from the seed and the settings.
    pub trust_id: Uuid,
    /// Schools of the trust.
    pub schools: usize,
    /// Pupils of the trust.
    pub pupils: usize,
    /// Marks of the trust.
    pub marks: usize,
    /// Batches that the service already had, and answered as it did the first time.
    pub replayed: usize,
    /// Moves between stages that the marks caused when they were first loaded.
    pub transitions: u64,
    /// How long loading took.
    pub elapsed: Duration,
}

/// Pupils in a batch.
const PUPILS_PER_BATCH: usize = 1000;
/// Pupils in a batch of one month's marks.
const ITEMS_PER_BATCH: usize = 2000;
/// Batches sent and not yet acknowledged.
const IN_FLIGHT_MAX: usize = 4;

/// The trust's identifier: the same for the same settings.
pub fn trust_id(settings: &SampleSettings) -> Uuid {
    // The first number changes whenever the generator gives other bytes for the same seed: a trust of the old ones would
    // else be taken for loaded.
    let name = format!(
        "graduated-response sample 1: seed {} pupils {} schools {} through {}",
        settings.seed, settings.pupils, settings.schools, settings.through
    );
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}

/// Generates the sample and loads it, prints what it loaded and how far it lies from the published figures.
///
/// # Errors
///
/// [`CommandError`] where the settings are out of range, the service refuses or cannot be reached, or any pupil or mark
/// is not taken.
pub async fn load(args: &DemoArgs, channel: Channel) -> Result<LoadedSample, CommandError> {
    let settings = SampleSettings::from(args);
    let trust = tokio::task::spawn_blocking(move || sample::generate(&settings))
        .await
        .map_err(std::io::Error::from)??;
    let trust = Arc::new(trust);
    let trust_id = trust_id(&settings);
    confirm(args, &trust).await?;

    let started = Instant::now();
    let mut loaded = LoadedSample {
        trust_id,
        schools: trust.schools.len(),
        pupils: trust.pupils(),
        marks: trust.marks(),
        replayed: 0,
        transitions: 0,
        elapsed: Duration::ZERO,
    };
    let today = create_trust(&trust, trust_id, channel.clone()).await?;
    load_pupils(&trust, &mut loaded, channel.clone()).await?;
    load_marks(&trust, &mut loaded, channel).await?;
    loaded.elapsed = started.elapsed();
    print(&report(&trust, &loaded, &today))?;
    Ok(loaded)
}

async fn confirm(args: &DemoArgs, trust: &SampleTrust) -> Result<(), CommandError> {
    if args.yes || !std::io::stdin().is_terminal() {
        return Ok(());
    }
    let question = format!(
        "Add the trust \"{}\" with {} schools, {} pupils and {} marks to the service? [Y/n] ",
        trust.name,
        trust.schools.len(),
        grouped(trust.pupils() as u64),
        grouped(trust.marks() as u64)
    );
    let answer = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut err = std::io::stderr();
        err.write_all(question.as_bytes())?;
        err.flush()?;
        let mut line = String::new();
        // The end of the input is no answer, and so no.
        match std::io::stdin().read_line(&mut line)? {
            0 => Ok("n".to_owned()),
            _ => Ok(line.trim().to_ascii_lowercase()),
        }
    })
    .await
    .map_err(std::io::Error::from)??;
    match answer.as_str() {
        "" | "y" | "yes" => Ok(()),
        _ => Err(CommandError::Declined),
    }
}

/// Creates the trust and its schools where they are not yet there. Returns the service's day.
async fn create_trust(trust: &SampleTrust, trust_id: Uuid, channel: Channel) -> Result<proto::Date, CommandError> {
    let mut client = AdminServiceClient::new(channel);
    let info = client.get_server_info(GetServerInfoRequest {}).await?;
    client
        .create_trust(CreateTrustRequest {
            name: trust.name.clone(),
            trust_id: trust_id.to_string(),
        })
        .await?;
    for school in &trust.schools {
        let request = CreateSchoolRequest {
            trust_id: trust_id.to_string(),
            school: Some(school_message(school)),
        };
        match client.create_school(request).await {
            Ok(_) => {}
            // Loaded before.
            Err(status) if status.code() == Code::AlreadyExists => {
                client
                    .get_school(GetSchoolRequest {
                        trust_id: trust_id.to_string(),
                        school: school.urn.clone(),
                    })
                    .await?;
            }
            Err(status) => return Err(status.into()),
        }
    }
    info.into_inner().today.ok_or(CommandError::Answer("the service's day"))
}

fn school_message(school: &SampleSchool) -> School {
    let phase = match school.phase {
        Phase::Primary => proto::Phase::Primary,
        Phase::Secondary => proto::Phase::Secondary,
        Phase::Special => proto::Phase::Special,
    };
    School {
        urn: school.urn.clone(),
        name: school.name.clone(),
        phase: phase.into(),
        laestab: school.laestab.clone(),
        ..School::default()
    }
}

async fn load_pupils(trust: &SampleTrust, loaded: &mut LoadedSample, channel: Channel) -> Result<(), CommandError> {
    let mut client = PupilServiceClient::new(channel);
    let mut progress = Progress::new("pupils", loaded.pupils as u64);
    let pupils: Vec<PupilInput> = trust
        .schools
        .iter()
        .flat_map(|school| school.pupils.iter().map(|pupil| pupil_message(&school.urn, pupil)))
        .collect();
    for (number, batch) in pupils.chunks(PUPILS_PER_BATCH).enumerate() {
        let request = BatchUpsertPupilsRequest {
            trust_id: loaded.trust_id.to_string(),
            request_id: request_id(loaded.trust_id, "pupils", 0, number),
            pupils: batch.to_vec(),
            all_or_nothing: false,
        };
        let answer = client.batch_upsert_pupils(request).await?.into_inner();
        refuse_rejections(answer.rejected, &answer.rejections)?;
        loaded.replayed += usize::from(answer.receipt.is_some_and(|receipt| receipt.replayed));
        progress.advance(batch.len() as u64);
    }
    progress.finish();
    Ok(())
}

fn pupil_message(urn: &str, pupil: &SamplePupil) -> PupilInput {
    PupilInput {
        upn: pupil.upn.clone(),
        mis_identifiers: vec![proto::MisIdentifier {
            source: pupil.mis_identifier.source.clone(),
            value: pupil.mis_identifier.value.clone(),
        }],
        given_name: pupil.given_name.clone(),
        family_name: pupil.family_name.clone(),
        date_of_birth: Some(proto_date(pupil.date_of_birth)),
        year_group: pupil.year_group.into(),
        enrolments: vec![Enrolment {
            school: urn.to_owned(),
            kind: EnrolmentKind::Sole.into(),
            start_date: Some(proto_date(pupil.enrolment_start)),
            end_date: pupil.enrolment_end.map(proto_date),
            ..Enrolment::default()
        }],
    }
}

/// Sends the marks month by month in the order of their dates, on one stream.
async fn load_marks(trust: &Arc<SampleTrust>, loaded: &mut LoadedSample, channel: Channel) -> Result<(), CommandError> {
    let trust_id = loaded.trust_id;
    let trust = Arc::clone(trust);
    let pupils = loaded.pupils;
    let batches = months(trust.settings.through)
        .into_iter()
        .enumerate()
        .flat_map(move |(month, places)| {
            (0..pupils.div_ceil(ITEMS_PER_BATCH)).map(move |part| (month, part, places.clone()))
        })
        .filter_map(move |(month, part, places)| {
            let items = session_items(&trust, part, places);
            (!items.is_empty()).then(|| StreamSessionsRequest {
                trust_id: trust_id.to_string(),
                batch: Some(SessionBatch {
                    request_id: request_id(trust_id, "sessions", month, part),
                    items,
                    ..SessionBatch::default()
                }),
            })
        });
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let permits = Arc::clone(&in_flight);
    let requests = futures::stream::iter(batches).then(move |request| {
        let permits = Arc::clone(&permits);
        async move {
            // The semaphore is never closed. The acknowledgement gives the permit back.
            if let Ok(permit) = permits.acquire().await {
                permit.forget();
            }
            request
        }
    });
    let mut answers = SessionServiceClient::new(channel)
        .stream_sessions(requests)
        .await?
        .into_inner();
    let mut progress = Progress::new("marks", loaded.marks as u64);
    let mut acknowledged = 0;
    while let Some(answer) = answers.message().await? {
        in_flight.add_permits(1);
        let result = match answer.outcome {
            Some(Outcome::Result(result)) => result,
            Some(Outcome::Refusal(refusal)) => {
                return Err(CommandError::NotTaken(format!(
                    "{} [{}]",
                    refusal.message, refusal.reason
                )));
            }
            None => return Err(CommandError::Answer("the outcome of a batch")),
        };
        refuse_rejections(result.rejected, &result.rejections)?;
        let marks = result.marks_new + result.marks_corrected + result.marks_unchanged;
        let marks = u64::try_from(marks).unwrap_or(0);
        acknowledged += marks;
        loaded.transitions += u64::try_from(result.transitions).unwrap_or(0);
        loaded.replayed += usize::from(result.receipt.is_some_and(|receipt| receipt.replayed));
        progress.advance(marks);
    }
    progress.finish();
    if acknowledged == loaded.marks as u64 {
        Ok(())
    } else {
        Err(CommandError::NotTaken(format!(
            "{} of {} marks were acknowledged",
            grouped(acknowledged),
            grouped(loaded.marks as u64)
        )))
    }
}

/// The places of a register in each month from August on, up to a day.
fn months(through: NaiveDate) -> Vec<std::ops::Range<usize>> {
    let Some(year) = AcademicYear::from_start_year(calendar::START_YEAR) else {
        return Vec::new();
    };
    let end = year.sessions_to(through);
    let mut starts: Vec<usize> = (0..end)
        .filter(|place| place.is_multiple_of(2) && year.session_at(*place).date.day() == 1)
        .collect();
    starts.push(end);
    starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// The marks of one part of the pupils in a month, one run each. A pupil without marks in the month has none.
fn session_items(trust: &SampleTrust, part: usize, places: std::ops::Range<usize>) -> Vec<SessionItem> {
    let Some(year) = AcademicYear::from_start_year(calendar::START_YEAR) else {
        return Vec::new();
    };
    trust
        .schools
        .iter()
        .flat_map(|school| &school.pupils)
        .skip(part * ITEMS_PER_BATCH)
        .take(ITEMS_PER_BATCH)
        .filter_map(|pupil| {
            let end = places.end.min(pupil.marks.len());
            let run = pupil.marks.get(places.start..end)?;
            let first = run.iter().position(|mark| *mark != 0)?;
            let last = run.iter().rposition(|mark| *mark != 0)?;
            let session = year.session_at(places.start + first);
            Some(SessionItem {
                pupil: Some(PupilKey {
                    key: Some(pupil_key::Key::Upn(pupil.upn.clone())),
                }),
                first_session: Some(proto::Session {
                    date: Some(proto_date(session.date)),
                    half: match session.half {
                        crate::domain::session::SessionHalf::Am => proto::SessionHalf::Am.into(),
                        crate::domain::session::SessionHalf::Pm => proto::SessionHalf::Pm.into(),
                    },
                }),
                marks: run[first..=last].iter().map(|mark| i32::from(*mark)).collect(),
                ..SessionItem::default()
            })
        })
        .collect()
}

/// A request identifier that is the same on every run, so that a second run is answered as the first was.
fn request_id(trust_id: Uuid, kind: &str, month: usize, part: usize) -> String {
    Uuid::new_v5(&trust_id, format!("{kind} {month} {part}").as_bytes()).to_string()
}

fn refuse_rejections(rejected: i32, rejections: &[Rejection]) -> Result<(), CommandError> {
    if rejected == 0 && rejections.is_empty() {
        return Ok(());
    }
    let first = rejections
        .first()
        .map(|rejection| {
            format!(
                "; the first, item {}: {}: {} [{}]",
                rejection.item_index, rejection.field, rejection.message, rejection.reason
            )
        })
        .unwrap_or_default();
    Err(CommandError::NotTaken(format!(
        "items of a batch that were rejected: {rejected}{first}"
    )))
}
