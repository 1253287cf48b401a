//! The stage of one pupil, beside an RPC of the same server that returns a constant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use graduated_response::proto as pb;
use graduated_response::proto::admin_service_client::AdminServiceClient;
use graduated_response::proto::stage_service_client::StageServiceClient;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::error::{BenchError, ensure};
use crate::fixture::{channels, loaded};
use crate::report::{Claim, Figures, Outcome, grouped};
use crate::rig::Rig;
use crate::year::{PUPILS_IN_SCHOOL, SCHOOL_DAYS, Year};

/// The name in the results.
pub const NAME: &str = "point_read_vs_constant";

const RUNS: usize = 5;
const IN_FLIGHT: usize = 64;
const WARM_UP: Duration = Duration::from_secs(1);

/// What is called.
#[derive(Clone)]
enum Call {
    Constant,
    Stage { trust_id: String, pupils: Arc<Vec<Uuid>> },
}

/// What one run found.
#[derive(Default)]
struct Run {
    rate: f64,
    median_us: u32,
    percentile_99_us: u32,
}

/// Measures it.
pub async fn measure(rig: &Rig<'_>) -> Result<Vec<Outcome>, BenchError> {
    let options = rig.options;
    let year = Year::new(options.schools() * PUPILS_IN_SCHOOL)?;
    let trust = loaded(rig, &year, 2 * SCHOOL_DAYS).await?;
    rig.sql.batch_execute("VACUUM ANALYZE").await?;
    rig.settle().await?;
    let channels = channels(rig, options.read_connections).await?;
    let stage = Call::Stage {
        trust_id: trust.trust_id.clone(),
        pupils: Arc::new(trust.pupil_ids),
    };
    for call in [&Call::Constant, &stage] {
        calls(&channels, call, WARM_UP, 0).await?;
    }
    let length = Duration::from_secs(if options.quick { 2 } else { 5 });
    let (mut work, mut against) = (Vec::new(), Vec::new());
    for run in 0..options.runs(RUNS) {
        for ours in [run.is_multiple_of(2), !run.is_multiple_of(2)] {
            let call = if ours { &stage } else { &Call::Constant };
            let found = calls(&channels, call, length, run as u64).await?;
            eprintln!(
                "  {}: {} a second, p50 {} us, p99 {} us",
                if ours { "stage" } else { "constant" },
                grouped(found.rate),
                found.median_us,
                found.percentile_99_us
            );
            if ours { &mut work } else { &mut against }.push(found);
        }
    }
    let rates = |runs: &[Run]| Figures(runs.iter().map(|run| run.rate).collect());
    let latency = |name: &str, runs: &[Run]| {
        let median = |of: fn(&Run) -> u32| Figures(runs.iter().map(|run| f64::from(of(run))).collect()).median();
        format!(
            "{name}: p50 {:.2} ms, p99 {:.2} ms",
            median(|run| run.median_us) / 1_000.0,
            median(|run| run.percentile_99_us) / 1_000.0
        )
    };
    Ok(vec![Outcome {
        name: NAME,
        unit: "calls/s",
        claim: Claim::AtLeast(0.45),
        notes: vec![
            format!(
                "GetPupilStage of random pupils of {} by pupil_id, beside GetServerInfo; {IN_FLIGHT} calls in flight over {} \
                 connections, runs of {} s",
                grouped(year.marks.len() as f64),
                channels.len(),
                length.as_secs()
            ),
            latency("GetPupilStage", &work),
            latency("GetServerInfo", &against),
        ],
        work: rates(&work),
        against: rates(&against),
    }])
}

/// Keeps calls in flight for some time.
async fn calls(channels: &[Channel], call: &Call, length: Duration, seed: u64) -> Result<Run, BenchError> {
    let start = Instant::now();
    let tasks = (0..IN_FLIGHT).map(|place| {
        let channel = channels[place % channels.len()].clone();
        let random = ChaCha8Rng::seed_from_u64(seed * IN_FLIGHT as u64 + place as u64);
        tokio::spawn(call_after_call(channel, call.clone(), start + length, random))
    });
    let latencies: Result<Vec<Vec<u32>>, BenchError> = try_join_all(tasks).await?.into_iter().collect();
    let seconds = start.elapsed().as_secs_f64();
    let mut latencies = latencies?.concat();
    ensure(!latencies.is_empty(), || "no call was answered".to_owned())?;
    latencies.sort_unstable();
    Ok(Run {
        rate: latencies.len() as f64 / seconds,
        median_us: latencies[latencies.len() / 2],
        percentile_99_us: latencies[latencies.len() * 99 / 100],
    })
}

/// Calls, one at a time, until the time is over. Returns how long each took in microseconds.
async fn call_after_call(
    channel: Channel,
    call: Call,
    until: Instant,
    mut random: ChaCha8Rng,
) -> Result<Vec<u32>, BenchError> {
    let mut admin = AdminServiceClient::new(channel.clone());
    let mut stages = StageServiceClient::new(channel);
    let mut latencies = Vec::with_capacity(16_384);
    loop {
        let start = Instant::now();
        if start >= until {
            return Ok(latencies);
        }
        match &call {
            Call::Constant => {
                admin.get_server_info(pb::GetServerInfoRequest {}).await?;
            }
            Call::Stage { trust_id, pupils } => {
                let pupil = pupils[random.random_range(0..pupils.len())];
                let request = pb::GetPupilStageRequest {
                    trust_id: trust_id.clone(),
                    pupil: Some(pb::PupilKey {
                        key: Some(pb::pupil_key::Key::PupilId(pupil.to_string())),
                    }),
                    ..pb::GetPupilStageRequest::default()
                };
                let answer = stages.get_pupil_stage(request).await?.into_inner();
                let possible = answer
                    .pupil_stage
                    .and_then(|stage| stage.tally)
                    .map(|tally| tally.possible);
                ensure(possible.is_some_and(|possible| possible > 0), || {
                    "a pupil's stage rests on no sessions".to_owned()
                })?;
            }
        }
        latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}
