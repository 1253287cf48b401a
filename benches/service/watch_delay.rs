//! How long after its commit a transition is with whoever watches, as a distribution.
//!
//! Postgres says when each transaction was committed: when it wrote the record of the commit, before that was on disk. So the
//! delay includes the disk.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use graduated_response::grpc::convert::to_date;
use graduated_response::proto as pb;
use graduated_response::proto::stage_service_client::StageServiceClient;
use graduated_response::proto::watch_transitions_response::Event;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::error::{BenchError, ensure};
use crate::fixture::{Trust, sessions};
use crate::report::{Claim, Figures, Outcome};
use crate::rig::Rig;
use crate::service::Service;
use crate::year::{PUPILS_IN_SCHOOL, Year};

/// The name in the results.
pub const NAME: &str = "watch_delay";

const RUNS: usize = 3;
/// Sessions of which the first decides between stage U and stage 1.
const SESSIONS: usize = 20;
/// Pupils who are moved by turns.
const MOVED: usize = 200;
/// Pupils in a batch of those who keep the service busy, where it is.
const BUSY_BATCH: usize = 200;
/// Who watches while pupils are moved.
struct Scene {
    name: &'static str,
    subscribers: usize,
    /// Whether they watch another replica than the one that writes.
    other_replica: bool,
    /// Whether batches are written all the while.
    busy: bool,
    /// The name in the results, and what the median may be, in milliseconds; nothing where it depends on how busy it is.
    claim: Option<(&'static str, f64)>,
}

const SCENES: [Scene; 4] = [
    Scene {
        name: "3 subscribers",
        subscribers: 3,
        other_replica: false,
        busy: false,
        claim: Some((NAME, 20.0)),
    },
    Scene {
        name: "200 subscribers",
        subscribers: 200,
        other_replica: false,
        busy: false,
        claim: Some(("watch_delay_200_subscribers", 20.0)),
    },
    Scene {
        name: "3 subscribers of a busy service",
        subscribers: 3,
        other_replica: false,
        busy: true,
        claim: None,
    },
    Scene {
        name: "3 subscribers of another replica",
        subscribers: 3,
        other_replica: true,
        busy: false,
        // How often a replica looks for what others wrote.
        claim: Some(("watch_delay_other_replica", 250.0)),
    },
];

/// A distribution, in milliseconds.
#[derive(Serialize)]
struct Distribution {
    p50: f64,
    p90: f64,
    p99: f64,
    most: f64,
}

/// A scene's distributions, in `watch_delay.json`.
#[derive(Serialize)]
struct Found {
    scene: &'static str,
    deliveries: usize,
    delay_ms: Distribution,
}

/// Measures it.
pub async fn measure(rig: &Rig<'_>) -> Result<Vec<Outcome>, BenchError> {
    let year = Year::new(PUPILS_IN_SCHOOL)?;
    let trust = Trust::create(rig, &year).await?;
    let mut mover = Mover::new(rig.service.connect().await?, &trust, &year).await?;
    let other = Service::start(&rig.url).await?;
    let (mut found, mut outcomes) = (Vec::new(), Vec::new());
    for scene in &SCENES {
        let (mut delays, mut medians) = (Vec::new(), Vec::new());
        for run in 0..rig.options.runs(RUNS) {
            let watched = if scene.other_replica { &other } else { &rig.service };
            let moves = if rig.options.quick { 50 } else { 300 };
            let mut of_run = deliveries(rig, scene, watched, &mut mover, moves, run).await?;
            let median = distribution(&mut of_run).p50;
            eprintln!("  {}: p50 {median:.2} ms", scene.name);
            medians.push(median);
            delays.extend(of_run);
        }
        let of_scene = Found {
            scene: scene.name,
            deliveries: delays.len(),
            delay_ms: distribution(&mut delays),
        };
        if let Some((name, bound)) = scene.claim {
            outcomes.push(Outcome {
                name,
                unit: "ms",
                claim: Claim::AtMost(1.0),
                against: Figures(vec![bound; medians.len()]),
                work: Figures(medians),
                notes: vec![describe(&of_scene), format!("against: the bound of {bound} ms")],
            });
        }
        found.push(of_scene);
    }
    other.stop().await?;
    if let Some(first) = outcomes.first_mut() {
        let unclaimed = found.iter().zip(&SCENES).filter(|(_, scene)| scene.claim.is_none());
        first.notes.extend(unclaimed.map(|(found, _)| describe(found)));
    }
    write(&found)?;
    Ok(outcomes)
}

fn describe(found: &Found) -> String {
    let delay = &found.delay_ms;
    format!(
        "{}, {} deliveries: p50 {:.2}, p90 {:.2}, p99 {:.2}, most {:.2} ms",
        found.scene, found.deliveries, delay.p50, delay.p90, delay.p99, delay.most
    )
}

fn distribution(milliseconds: &mut [f64]) -> Distribution {
    milliseconds.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (milliseconds.len() * percent / 100).min(milliseconds.len().saturating_sub(1));
        milliseconds.get(place).copied().unwrap_or(f64::NAN)
    };
    Distribution {
        p50: at(50),
        p90: at(90),
        p99: at(99),
        most: at(100),
    }
}

fn write(found: &[Found]) -> Result<(), BenchError> {
    // The bench lies in `target/release/deps`, whatever `target` is.
    let program = std::env::current_exe()?;
    let directory = program.ancestors().nth(3).unwrap_or(Path::new("target")).join("bench");
    std::fs::create_dir_all(&directory)?;
    let text = serde_json::to_string_pretty(found)? + "\n";
    Ok(std::fs::write(directory.join("watch_delay.json"), text)?)
}

/// Moves pupils to and fro, one a call.
struct Mover {
    channel: Channel,
    trust_id: String,
    first_session: pb::Session,
    pupils: Vec<Uuid>,
    moves: usize,
}

impl Mover {
    /// Has everybody attend as many sessions as are judged.
    async fn new(channel: Channel, trust: &Trust, year: &Year) -> Result<Mover, BenchError> {
        let first_session = pb::Session {
            date: Some(to_date(year.date(0))),
            half: pb::SessionHalf::Am.into(),
        };
        let mover = Mover {
            channel,
            trust_id: trust.trust_id.clone(),
            first_session,
            pupils: trust.pupil_ids.clone(),
            moves: 0,
        };
        let present = vec![i32::from(pb::AttendanceCode::PresentMorning); SESSIONS];
        mover.record(&mover.pupils, &present).await?;
        Ok(mover)
    }

    async fn record(&self, pupils: &[Uuid], marks: &[i32]) -> Result<pb::SessionBatchResult, BenchError> {
        let item = |pupil: &Uuid| pb::SessionItem {
            pupil: Some(pb::PupilKey {
                key: Some(pb::pupil_key::Key::PupilId(pupil.to_string())),
            }),
            first_session: Some(self.first_session),
            marks: marks.to_vec(),
            ..pb::SessionItem::default()
        };
        let batch = pb::SessionBatch {
            items: pupils.iter().map(item).collect(),
            correction: Some(pb::Correction {
                reason: "bench".to_owned(),
                corrected_by: Some(pb::Person {
                    name: "bench".to_owned(),
                    position: "bench".to_owned(),
                    ..pb::Person::default()
                }),
            }),
            ..pb::SessionBatch::default()
        };
        let request = pb::RecordSessionsRequest {
            trust_id: self.trust_id.clone(),
            batch: Some(batch),
        };
        let answer = sessions(self.channel.clone()).record_sessions(request).await?;
        Ok(answer.into_inner().result.unwrap_or_default())
    }

    /// Moves the next pupil.
    async fn next(&mut self) -> Result<(), BenchError> {
        let mark = absent((self.moves / MOVED).is_multiple_of(2));
        let pupil = self.pupils[self.moves % MOVED];
        self.moves += 1;
        let result = self.record(&[pupil], &[mark]).await?;
        ensure(result.transitions == 1, || {
            format!("{} pupils moved", result.transitions)
        })
    }
}

fn absent(absent: bool) -> i32 {
    if absent {
        pb::AttendanceCode::O.into()
    } else {
        pb::AttendanceCode::PresentMorning.into()
    }
}

/// One run: how long each transition took to each subscriber, in milliseconds.
async fn deliveries(
    rig: &Rig<'_>,
    scene: &Scene,
    watched: &Service,
    mover: &mut Mover,
    moves: usize,
    run: usize,
) -> Result<Vec<f64>, BenchError> {
    let subscribers = subscribers(scene, watched, &mover.trust_id, moves).await?;
    let busy = if scene.busy {
        Some(keep_busy(rig, mover).await?)
    } else {
        None
    };
    let mut random = ChaCha8Rng::seed_from_u64(run as u64);
    for _ in 0..moves {
        mover.next().await?;
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
    }
    let arrivals: Result<Vec<Vec<(String, Instant)>>, BenchError> =
        try_join_all(subscribers).await?.into_iter().collect();
    if let Some(busy) = busy {
        busy.abort();
    }
    let (start, start_ms) = clock_of_postgres(rig).await?;
    let commits = commits(rig).await?;
    let delays: Vec<f64> = arrivals?
        .into_iter()
        .flatten()
        .filter_map(|(request_id, arrived)| {
            let since_start = start.saturating_duration_since(arrived).as_secs_f64();
            Some(start_ms - 1_000.0 * since_start - commits.get(&request_id)?)
        })
        .collect();
    ensure(delays.len() == moves * scene.subscribers, || {
        format!("{} transitions of {} arrived", delays.len(), moves * scene.subscribers)
    })?;
    Ok(delays)
}

/// A moment, and the time that Postgres's clock showed then, in milliseconds. Of some readings, the one that took the least.
async fn clock_of_postgres(rig: &Rig<'_>) -> Result<(Instant, f64), BenchError> {
    let read = rig
        .sql
        .prepare("SELECT 1000 * extract(epoch FROM clock_timestamp())::float8")
        .await?;
    let mut best: Option<(Duration, Instant, f64)> = None;
    for _ in 0..50 {
        let asked = Instant::now();
        let shown: f64 = rig.sql.query_one(&read, &[]).await?.get(0);
        let took = asked.elapsed();
        if best.is_none_or(|(least, _, _)| took < least) {
            best = Some((took, asked + took / 2, shown));
        }
    }
    let (_, moment, shown) = best.ok_or_else(|| BenchError::Unexpected("no clock".to_owned()))?;
    Ok((moment, shown))
}

/// When each batch was committed, by Postgres's clock in milliseconds.
async fn commits(rig: &Rig<'_>) -> Result<HashMap<String, f64>, BenchError> {
    let query = "SELECT request_id::text, 1000 * extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8
                 FROM transitions WHERE request_id IS NOT NULL";
    let rows = rig.sql.query(query, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

type Arrivals = JoinHandle<Result<Vec<(String, Instant)>, BenchError>>;

/// Subscribers over four connections, all of whom follow once this returns; each ends when it has seen all moves.
async fn subscribers(
    scene: &Scene,
    watched: &Service,
    trust_id: &str,
    moves: usize,
) -> Result<Vec<Arrivals>, BenchError> {
    let channels = try_join_all((0..4).map(|_| watched.connect())).await?;
    let mut following = Vec::with_capacity(scene.subscribers);
    for place in 0..scene.subscribers {
        let mut client = StageServiceClient::new(channels[place % channels.len()].clone());
        let feed = pb::GetTransitionFeedRequest {
            trust_id: trust_id.to_owned(),
        };
        let newest = client.get_transition_feed(feed).await?.into_inner().newest_cursor;
        let request = pb::WatchTransitionsRequest {
            trust_id: trust_id.to_owned(),
            start: pb::WatchStart::Cursor.into(),
            cursor: newest,
            ..pb::WatchTransitionsRequest::default()
        };
        let mut stream = client.watch_transitions(request).await?.into_inner();
        // The heartbeat with which it begins.
        stream.message().await?;
        following.push(tokio::spawn(async move {
            let mut arrivals: Vec<(String, Instant)> = Vec::with_capacity(moves);
            while arrivals.len() < moves {
                let message = stream.message().await?;
                let arrived = Instant::now();
                let event = message.and_then(|message| message.event);
                match event.ok_or_else(|| BenchError::Unexpected("a stream ended".to_owned()))? {
                    Event::TransitionPage(page) => {
                        let moved = page.transitions.into_iter();
                        arrivals.extend(moved.map(|found| (found.request_id, arrived)));
                    }
                    Event::Heartbeat(_) => {}
                    other => return Err(BenchError::Unexpected(format!("{other:?} from a cursor"))),
                }
            }
            Ok(arrivals)
        }));
    }
    Ok(following)
}

/// Writes batches of pupils who stay where they are, one after the other, until it is aborted.
async fn keep_busy(rig: &Rig<'_>, mover: &Mover) -> Result<JoinHandle<()>, BenchError> {
    let busy = Mover {
        channel: rig.service.connect().await?,
        trust_id: mover.trust_id.clone(),
        first_session: mover.first_session,
        pupils: mover.pupils[MOVED..].to_vec(),
        moves: 0,
    };
    Ok(tokio::spawn(async move {
        for (round, pupils) in (0..).zip(busy.pupils.chunks(BUSY_BATCH).cycle()) {
            // To and fro between two codes of presence: corrections that move nobody.
            let late = if round / 4 % 2 == 0 {
                pb::AttendanceCode::L
            } else {
                pb::AttendanceCode::PresentMorning
            };
            if let Err(error) = busy.record(pupils, &[i32::from(late)]).await {
                eprintln!("  the service is not kept busy: {error}");
                return;
            }
        }
    }))
}
