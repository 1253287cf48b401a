//! One more session of every pupil, beside one SQL statement that makes the same change by key.

use futures::StreamExt as _;
use graduated_response::proto as pb;
use tokio_postgres::Statement;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::database::Key;
use crate::error::{BenchError, ensure};
use crate::fixture::{Trust, channels, loaded, sessions};
use crate::report::{Claim, Figures, Outcome};
use crate::rig::{Rig, timed};
use crate::year::{PUPILS_IN_SCHOOL, SCHOOL_DAYS, START_YEAR, Year};

/// The name in the results.
pub const NAME: &str = "ingest_session_vs_sql_update";

const RUNS: usize = 7;
/// Runs before those that count: statements are prepared, pages are in memory.
const WARM_UP: usize = 1;

/// The table on which the statement works: the same columns, keys, indexes and rows.
const CONTENDER: &str = "registers_by_sql";

/// Measures it.
pub async fn measure(rig: &Rig<'_>) -> Result<Vec<Outcome>, BenchError> {
    let options = rig.options;
    let year = Year::new(options.schools() * PUPILS_IN_SCHOOL)?;
    let runs = options.runs(RUNS);
    // What is left of the year is recorded session by session. The clock is past its end, so every mark counts at once.
    let first = 2 * SCHOOL_DAYS - runs - WARM_UP;
    let trust = loaded(rig, &year, first).await?;
    rig.sql
        .batch_execute(&format!(
            "CREATE TABLE {CONTENDER} (LIKE registers INCLUDING ALL);
             INSERT INTO {CONTENDER} SELECT * FROM registers"
        ))
        .await?;
    let update = rig
        .sql
        .prepare(&format!(
            "UPDATE {CONTENDER} r SET marks = set_byte(r.marks || $4::bytea, $5::int, n.code)
             FROM unnest($2::uuid[], $3::int[]) AS n (pupil_id, code)
             WHERE r.trust_id = $1::uuid AND r.pupil_id = n.pupil_id AND r.academic_year = {START_YEAR}"
        ))
        .await?;
    let channels = channels(rig, options.session_calls).await?;
    let (mut work, mut against) = (Figures::default(), Figures::default());
    for run in 0..runs + WARM_UP {
        for ours in [run.is_multiple_of(2), !run.is_multiple_of(2)] {
            // As autovacuum would, at a time of its own; and nothing waits for the disk.
            rig.sql
                .batch_execute(&format!("VACUUM ANALYZE registers, {CONTENDER}"))
                .await?;
            rig.settle().await?;
            let session = first + run;
            let milliseconds = if ours {
                record(rig, &channels, &trust, &year, session).await?
            } else {
                set_bytes(rig, &update, &trust, &year, session).await?
            };
            let name = if ours { "service" } else { "statement" };
            let warm_up = if run < WARM_UP { " (warm-up)" } else { "" };
            eprintln!("  {name}: {milliseconds:.0} ms{warm_up}");
            if run >= WARM_UP {
                let figures = if ours { &mut work } else { &mut against };
                figures.0.push(milliseconds);
            }
        }
    }
    let differ: i64 = rig
        .sql
        .query_one(
            &format!(
                "SELECT count(*) FROM registers r FULL JOIN {CONTENDER} s
                 ON s.trust_id = r.trust_id AND s.pupil_id = r.pupil_id AND s.enrolment_id = r.enrolment_id
                 WHERE r.marks IS DISTINCT FROM s.marks"
            ),
            &[],
        )
        .await?
        .get(0);
    ensure(differ == 0, || format!("{differ} registers differ between the two"))?;
    Ok(vec![Outcome {
        name: NAME,
        unit: "ms",
        claim: Claim::AtMost(2.5),
        work,
        against,
        notes: vec![
            format!(
                "service: RecordSessions of one session of {} pupils in batches of {}, {} calls side by side, keyed by MIS \
                 identifier; marks, counts, stages, transitions, episodes and first entries are written",
                year.marks.len(),
                options.session_batch,
                options.session_calls
            ),
            "against: one UPDATE ... FROM unnest(pupil_ids, codes) that sets the marks alone, on a copy of the table with \
             its keys and indexes, prepared before"
                .to_owned(),
        ],
    }])
}

/// One run of the service, in milliseconds.
async fn record(
    rig: &Rig<'_>,
    channels: &[Channel],
    trust: &Trust,
    year: &Year,
    session: usize,
) -> Result<f64, BenchError> {
    let requests = trust.session_batches(year, session, rig.options.session_batch);
    let call = |(place, request): (usize, pb::RecordSessionsRequest)| {
        let mut client = sessions(channels[place % channels.len()].clone());
        async move {
            let answer = client.record_sessions(request).await?.into_inner();
            Ok::<i64, BenchError>(answer.result.unwrap_or_default().marks_new)
        }
    };
    let all = async {
        let calls = futures::stream::iter(requests.into_iter().enumerate()).map(call);
        let answers: Vec<_> = calls.buffer_unordered(channels.len()).collect().await;
        answers.into_iter().sum::<Result<i64, BenchError>>()
    };
    let (taken, time) = timed(all).await?;
    ensure(usize::try_from(taken) == Ok(year.marks.len()), || {
        format!("{taken} marks of {} were new", year.marks.len())
    })?;
    Ok(1_000.0 * time.as_secs_f64())
}

/// One run of the statement, in milliseconds.
async fn set_bytes(
    rig: &Rig<'_>,
    update: &Statement,
    trust: &Trust,
    year: &Year,
    session: usize,
) -> Result<f64, BenchError> {
    let trust_id = Uuid::try_parse(&trust.trust_id).map_err(|error| BenchError::Unexpected(error.to_string()))?;
    let codes: Vec<i32> = year.marks.iter().map(|marks| i32::from(marks[session])).collect();
    let place = year.register_place(session);
    let gap = vec![0u8; place - year.register_place(session - 1)];
    let place = i32::try_from(place).unwrap_or_default();
    let pupils: Vec<Key> = trust.pupil_ids.iter().copied().map(Key).collect();
    let (rows, time) = timed(async {
        let rows = rig
            .sql
            .execute(update, &[&Key(trust_id), &pupils, &codes, &gap, &place])
            .await?;
        Ok(rows)
    })
    .await?;
    ensure(usize::try_from(rows) == Ok(year.marks.len()), || {
        format!("{rows} rows of {} were updated", year.marks.len())
    })?;
    Ok(1_000.0 * time.as_secs_f64())
}
