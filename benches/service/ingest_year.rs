//! A whole school year of a trust through the port, beside `COPY` of the same marks as rows.

use bytes::{BufMut as _, Bytes, BytesMut};
use chrono::NaiveDate;
use futures::SinkExt as _;
use futures::future::try_join_all;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::database::connect;
use crate::error::{BenchError, ensure};
use crate::fixture::{Trust, channels, stream};
use crate::report::{Claim, Figures, Outcome, grouped};
use crate::rig::{Rig, timed};
use crate::year::{SCHOOL_DAYS, Year};

/// The name in the results.
pub const NAME: &str = "ingest_year_vs_copy_rows";

const RUNS: usize = 3;
const SESSIONS: usize = 2 * SCHOOL_DAYS;
const CHUNK_BYTES: usize = 256 << 10;

/// Measures it.
pub async fn measure(rig: &Rig<'_>) -> Result<Vec<Outcome>, BenchError> {
    let options = rig.options;
    let year = Year::new(options.schools() * crate::year::PUPILS_IN_SCHOOL)?;
    let marks = year.marks.len() * SESSIONS;
    let (mut work, mut against) = (Figures::default(), Figures::default());
    // The rows of some trust: which one makes no difference to a table without an index.
    let trust = Uuid::new_v4();
    let pupils: Vec<Uuid> = year.marks.iter().map(|_| Uuid::new_v4()).collect();
    let copies = copy_streams(&year, trust, &pupils, options.copy_connections)?;
    let clients = try_join_all((0..copies.len()).map(|_| connect(&rig.url))).await?;
    for run in 0..options.runs(RUNS) {
        // Each goes first every other time.
        for ours in [run.is_multiple_of(2), !run.is_multiple_of(2)] {
            let seconds = if ours {
                load(rig, &year, marks).await?
            } else {
                copy(rig, &clients, &copies, marks).await?
            };
            let (name, figures) = if ours {
                ("service", &mut work)
            } else {
                ("copy", &mut against)
            };
            eprintln!("  {name}: {seconds:.2} s, {} marks/s", grouped(marks as f64 / seconds));
            figures.0.push(marks as f64 / seconds);
        }
    }
    let peak = rig.service.peak_rss_mib();
    Ok(vec![Outcome {
        name: NAME,
        unit: "marks/s",
        claim: Claim::AtLeast(2.0),
        work,
        against,
        notes: vec![
            format!(
                "{} marks: {} pupils x {SESSIONS} sessions, {:.1}% attended, {:.0}% of the pupils leave stage U",
                grouped(marks as f64),
                grouped(year.marks.len() as f64),
                100.0 * year.attendance(),
                100.0 * year.pupils_beyond_universal() as f64 / year.marks.len() as f64,
            ),
            format!(
                "service: StreamSessions, {} streams, batches of {} whole years keyed by MIS identifier, a new trust each \
                 run; from the first byte sent to the last acknowledgement",
                options.year_streams, options.year_batch
            ),
            format!(
                "against: COPY BINARY of (trust, pupil, date, half, code) into a logged table without an index, {} \
                 connections, buffers made before the clock starts; from the first byte to the last commit",
                clients.len()
            ),
            format!("the service's memory at its peak: {:.0} MiB", peak.unwrap_or(f64::NAN)),
        ],
    }])
}

/// One run of the service, in seconds.
async fn load(rig: &Rig<'_>, year: &Year, marks: usize) -> Result<f64, BenchError> {
    // As autovacuum does at a time of its own: what the statistics know of earlier trusts must not lead the planner astray
    // on one that they have not seen.
    rig.sql.batch_execute("ANALYZE").await?;
    let trust = Trust::create(rig, year).await?;
    let batches = trust.year_batches(year, SESSIONS, rig.options.year_batch);
    let channels = channels(rig, rig.options.year_streams).await?;
    rig.settle().await?;
    let (taken, time) = timed(stream(&channels, batches)).await?;
    ensure(usize::try_from(taken) == Ok(marks), || {
        format!("{taken} marks of {marks} were new")
    })?;
    Ok(time.as_secs_f64())
}

/// One run of the copy, in seconds.
async fn copy(rig: &Rig<'_>, clients: &[Client], copies: &[Vec<Bytes>], marks: usize) -> Result<f64, BenchError> {
    rig.sql
        .batch_execute(
            "DROP TABLE IF EXISTS mark_rows;
             CREATE TABLE mark_rows (trust_id uuid NOT NULL, pupil_id uuid NOT NULL, session_date date NOT NULL,
                 pm boolean NOT NULL, code smallint NOT NULL) WITH (autovacuum_enabled = off)",
        )
        .await?;
    rig.settle().await?;
    let parts = clients.iter().zip(copies).map(|(client, chunks)| send(client, chunks));
    let (rows, time) = timed(try_join_all(parts)).await?;
    let rows: u64 = rows.into_iter().sum();
    ensure(usize::try_from(rows) == Ok(marks), || {
        format!("{rows} rows of {marks} were copied")
    })?;
    rig.sql.batch_execute("DROP TABLE mark_rows").await?;
    Ok(time.as_secs_f64())
}

/// Sends one connection's part.
async fn send(client: &Client, chunks: &[Bytes]) -> Result<u64, BenchError> {
    let sink = client.copy_in("COPY mark_rows FROM STDIN (FORMAT binary)").await?;
    let mut sink = std::pin::pin!(sink);
    for chunk in chunks {
        sink.feed(chunk.clone()).await?;
    }
    Ok(sink.finish().await?)
}

/// What each connection sends: a part of the pupils, as Postgres's binary copy format has it.
fn copy_streams(year: &Year, trust: Uuid, pupils: &[Uuid], parts: usize) -> Result<Vec<Vec<Bytes>>, BenchError> {
    let epoch = NaiveDate::from_ymd_opt(2000, 1, 1);
    let epoch = epoch.ok_or_else(|| BenchError::Unexpected("2000-01-01 does not exist".to_owned()))?;
    let days: Vec<i32> = year
        .days
        .iter()
        .map(|day| i32::try_from((*day - epoch).num_days()).unwrap_or_default())
        .collect();
    let of_part = pupils.len().div_ceil(parts.max(1));
    let mut streams = Vec::new();
    for part in (0..pupils.len()).collect::<Vec<_>>().chunks(of_part) {
        let mut chunks = Vec::new();
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        buffer.put_slice(b"PGCOPY\n\xff\r\n\0");
        buffer.put_slice(&[0; 8]);
        for &pupil in part {
            for (session, &mark) in year.marks[pupil].iter().enumerate() {
                buffer.put_i16(5);
                buffer.put_i32(16);
                buffer.put_slice(trust.as_bytes());
                buffer.put_i32(16);
                buffer.put_slice(pupils[pupil].as_bytes());
                buffer.put_i32(4);
                buffer.put_i32(days[session / 2]);
                buffer.put_i32(1);
                buffer.put_u8(u8::from(session % 2 == 1));
                buffer.put_i32(2);
                buffer.put_i16(i16::from(mark));
                if buffer.len() + 64 > CHUNK_BYTES {
                    chunks.push(std::mem::replace(&mut buffer, BytesMut::with_capacity(CHUNK_BYTES)).freeze());
                }
            }
        }
        buffer.put_i16(-1);
        chunks.push(buffer.freeze());
        streams.push(chunks);
    }
    Ok(streams)
}
