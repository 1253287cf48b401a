//! A trust made through the port, and the messages that an integration would send of it.

use futures::future::try_join_all;
use graduated_response::grpc::convert::to_date;
use graduated_response::proto as pb;
use graduated_response::proto::admin_service_client::AdminServiceClient;
use graduated_response::proto::pupil_service_client::PupilServiceClient;
use graduated_response::proto::session_service_client::SessionServiceClient;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::error::{BenchError, ensure};
use crate::rig::Rig;
use crate::year::{PUPILS_IN_SCHOOL, Year};

const PUPILS_IN_UPSERT: usize = 10_000;
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A trust with its schools and pupils, and no marks.
pub struct Trust {
    /// The trust: a UUID.
    pub trust_id: String,
    /// The pupils' UUIDs, in the order of the year's marks.
    pub pupil_ids: Vec<Uuid>,
}

/// The URN of a school, by its place.
fn urn(school: usize) -> String {
    (100_001 + school).to_string()
}

/// The key under which an integration knows a pupil: the identifier of its MIS, which numbers pupils by school.
fn key(pupil: usize) -> pb::PupilKey {
    pb::PupilKey {
        key: Some(pb::pupil_key::Key::MisIdentifier(mis(pupil))),
    }
}

fn mis(pupil: usize) -> pb::MisIdentifier {
    pb::MisIdentifier {
        source: format!("sims:{}", urn(pupil / PUPILS_IN_SCHOOL)),
        value: format!("{:06}", pupil % PUPILS_IN_SCHOOL + 1),
    }
}

/// A client for large batches.
pub fn sessions(channel: Channel) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(channel)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Trust {
    /// Makes a new trust with all its pupils.
    pub async fn create(rig: &Rig<'_>, year: &Year) -> Result<Trust, BenchError> {
        let channel = rig.service.connect().await?;
        let mut admin = AdminServiceClient::new(channel.clone());
        let request = pb::CreateTrustRequest {
            name: "Bench Learning Trust".to_owned(),
            trust_id: String::new(),
        };
        let trust = admin.create_trust(request).await?.into_inner().trust;
        let trust_id = trust.unwrap_or_default().trust_id;
        let pupils = year.marks.len();
        for school in 0..pupils.div_ceil(PUPILS_IN_SCHOOL) {
            let school = pb::School {
                urn: urn(school),
                name: format!("School {school}"),
                phase: pb::Phase::Secondary.into(),
                ..pb::School::default()
            };
            let request = pb::CreateSchoolRequest {
                trust_id: trust_id.clone(),
                school: Some(school),
            };
            admin.create_school(request).await?;
        }
        let mut client = PupilServiceClient::new(channel)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut pupil_ids = Vec::with_capacity(pupils);
        let all: Vec<usize> = (0..pupils).collect();
        for part in all.chunks(PUPILS_IN_UPSERT) {
            let input = |pupil: &usize| pb::PupilInput {
                mis_identifiers: vec![mis(*pupil)],
                given_name: format!("Given {pupil}"),
                family_name: format!("Family {pupil}"),
                enrolments: vec![pb::Enrolment {
                    school: urn(pupil / PUPILS_IN_SCHOOL),
                    kind: pb::EnrolmentKind::Sole.into(),
                    start_date: Some(to_date(year.enrolled_on())),
                    ..pb::Enrolment::default()
                }],
                ..pb::PupilInput::default()
            };
            let request = pb::BatchUpsertPupilsRequest {
                trust_id: trust_id.clone(),
                pupils: part.iter().map(input).collect(),
                ..pb::BatchUpsertPupilsRequest::default()
            };
            let answer = client.batch_upsert_pupils(request).await?.into_inner();
            let created = usize::try_from(answer.created).unwrap_or_default();
            ensure(created == part.len(), || {
                format!("{created} pupils of {} were made", part.len())
            })?;
            for id in answer.pupil_ids {
                pupil_ids.push(Uuid::try_parse(&id).map_err(|error| BenchError::Unexpected(error.to_string()))?);
            }
        }
        Ok(Trust { trust_id, pupil_ids })
    }

    /// The batches of the year's load: each pupil's marks up to a number of sessions as one run.
    pub fn year_batches(&self, year: &Year, sessions: usize, pupils: usize) -> Vec<pb::StreamSessionsRequest> {
        let first_session = pb::Session {
            date: Some(to_date(year.date(0))),
            half: pb::SessionHalf::Am.into(),
        };
        let item = |pupil: &usize| pb::SessionItem {
            pupil: Some(key(*pupil)),
            first_session: Some(first_session),
            marks: year.run(*pupil, sessions),
            ..pb::SessionItem::default()
        };
        let batches = batches((0..self.pupil_ids.len()).collect(), pupils, item);
        let message = |batch| pb::StreamSessionsRequest {
            trust_id: self.trust_id.clone(),
            batch: Some(batch),
        };
        batches.into_iter().map(message).collect()
    }

    /// The batches that record one session of every pupil.
    pub fn session_batches(&self, year: &Year, session: usize, pupils: usize) -> Vec<pb::RecordSessionsRequest> {
        let half = if session.is_multiple_of(2) {
            pb::SessionHalf::Am
        } else {
            pb::SessionHalf::Pm
        };
        let first_session = pb::Session {
            date: Some(to_date(year.date(session))),
            half: half.into(),
        };
        let item = |pupil: &usize| pb::SessionItem {
            pupil: Some(key(*pupil)),
            first_session: Some(first_session),
            marks: vec![i32::from(year.marks[*pupil][session])],
            ..pb::SessionItem::default()
        };
        let batches = batches((0..self.pupil_ids.len()).collect(), pupils, item);
        let message = |batch| pb::RecordSessionsRequest {
            trust_id: self.trust_id.clone(),
            batch: Some(batch),
        };
        batches.into_iter().map(message).collect()
    }
}

fn batches(pupils: Vec<usize>, size: usize, item: impl Fn(&usize) -> pb::SessionItem) -> Vec<pb::SessionBatch> {
    pupils
        .chunks(size.max(1))
        .map(|part| pb::SessionBatch {
            request_id: Uuid::new_v4().to_string(),
            items: part.iter().map(&item).collect(),
            ..pb::SessionBatch::default()
        })
        .collect()
}

/// Sends batches over streams side by side, each on a connection of its own, and returns how many marks were new once the
/// last is acknowledged.
pub async fn stream(channels: &[Channel], batches: Vec<pb::StreamSessionsRequest>) -> Result<i64, BenchError> {
    let mut queues: Vec<Vec<pb::StreamSessionsRequest>> = channels.iter().map(|_| Vec::new()).collect();
    let streams = queues.len();
    for (place, batch) in batches.into_iter().enumerate() {
        queues[place % streams].push(batch);
    }
    let work = channels.iter().zip(queues).map(|(channel, queue)| {
        let mut client = sessions(channel.clone());
        tokio::spawn(async move {
            let mut answers = client.stream_sessions(tokio_stream::iter(queue)).await?.into_inner();
            let mut marks = 0;
            while let Some(answer) = answers.next().await {
                marks += match answer?.outcome {
                    Some(pb::stream_sessions_response::Outcome::Result(result)) => result.marks_new,
                    other => return Err(BenchError::Unexpected(format!("a batch was not taken: {other:?}"))),
                };
            }
            Ok(marks)
        })
    });
    let marks: Result<Vec<i64>, BenchError> = try_join_all(work).await?.into_iter().collect();
    Ok(marks?.into_iter().sum())
}

/// As many connections to the service as asked for.
pub async fn channels(rig: &Rig<'_>, count: usize) -> Result<Vec<Channel>, BenchError> {
    try_join_all((0..count.max(1)).map(|_| rig.service.connect())).await
}

/// Makes a trust and loads its year up to a number of sessions.
pub async fn loaded(rig: &Rig<'_>, year: &Year, sessions: usize) -> Result<Trust, BenchError> {
    let trust = Trust::create(rig, year).await?;
    let batches = trust.year_batches(year, sessions, rig.options.year_batch);
    let channels = channels(rig, rig.options.year_streams).await?;
    let marks = stream(&channels, batches).await?;
    let expected = year.marks.len() * sessions;
    ensure(usize::try_from(marks) == Ok(expected), || {
        format!("{marks} marks of {expected} were new")
    })?;
    Ok(trust)
}
