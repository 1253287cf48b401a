//! Point reads of stages that share a round trip: calls that wait at the same time are answered by one statement.

use std::collections::HashMap;

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::registers::stored_tally;
use super::schema::{pupil_stages, registers};
use super::stages::{STAGE_COLUMNS, StageRow};
use super::{Store, StoreError};
use crate::domain::identifiers::TrustId;
use crate::domain::session::AcademicYear;
use crate::domain::tally::Tally;

/// How many reads one statement answers at the most.
const READS_MAX: usize = 256;
/// How many reads may wait.
const QUEUE_MAX: usize = 4_096;
/// How many statements are under way at once.
const WORKERS: usize = 2;

/// A pupil's stored stage with the counts of the current academic year.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageWithTally {
    /// The stage.
    pub row: StageRow,
    /// The counts, over all the pupil's enrolments in the trust.
    pub tally: Tally,
}

type RegisterColumns = (i16, i16, i16, Option<NaiveDate>);

/// The stages of pupils, in the order of their identifiers, with the counts of a year. Pupils that the trust does not
/// have are left out.
pub async fn stages_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    pupils: &[Uuid],
) -> Result<Vec<StageWithTally>, StoreError> {
    // One row a register: a pupil with two has two, side by side.
    let rows: Vec<(StageRow, Option<RegisterColumns>)> = pupil_stages::table
        .left_join(
            registers::table.on(registers::trust_id
                .eq(pupil_stages::trust_id)
                .and(registers::pupil_id.eq(pupil_stages::pupil_id))
                .and(registers::academic_year.eq(year.start_year()))),
        )
        .filter(pupil_stages::trust_id.eq(trust.0))
        .filter(pupil_stages::pupil_id.eq_any(pupils))
        .order(pupil_stages::pupil_id)
        .select((
            STAGE_COLUMNS,
            (
                registers::attended,
                registers::possible,
                registers::unauthorised,
                registers::next_mark_on,
            )
                .nullable(),
        ))
        .load(conn)
        .await?;
    let mut stages: Vec<StageWithTally> = Vec::with_capacity(rows.len());
    for (row, register) in rows {
        let tally = register.map_or(Tally::default(), |(attended, possible, unauthorised, _)| {
            stored_tally(attended, possible, unauthorised)
        });
        match stages.last_mut() {
            Some(last) if last.row.pupil_id == row.pupil_id => last.tally += tally,
            _ => stages.push(StageWithTally { row, tally }),
        }
    }
    Ok(stages)
}

struct Read {
    trust: TrustId,
    year: AcademicYear,
    pupil: Uuid,
    answer: oneshot::Sender<Result<Option<StageWithTally>, StoreError>>,
}

/// Answers point reads. Each worker takes whatever waits, so that under load one round trip serves many calls and without
/// load a call waits for nothing.
#[derive(Clone)]
pub struct StageReader {
    reads: mpsc::Sender<Read>,
}

impl StageReader {
    /// Starts the workers; they end with the last clone of the reader.
    pub fn start(store: &Store) -> StageReader {
        let (reads, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = std::sync::Arc::new(tokio::sync::Mutex::new(waiting));
        for _ in 0..WORKERS {
            tokio::spawn(work(store.clone(), waiting.clone()));
        }
        StageReader { reads }
    }

    /// The stage of one pupil; nothing where the trust has no such pupil.
    pub async fn read(
        &self,
        trust: TrustId,
        year: AcademicYear,
        pupil: Uuid,
    ) -> Result<Option<StageWithTally>, StoreError> {
        let (answer, answered) = oneshot::channel();
        let read = Read {
            trust,
            year,
            pupil,
            answer,
        };
        self.reads.send(read).await.map_err(|_| StoreError::Stopped)?;
        answered.await.map_err(|_| StoreError::Stopped)?
    }
}

async fn work(store: Store, waiting: std::sync::Arc<tokio::sync::Mutex<mpsc::Receiver<Read>>>) {
    let mut reads = Vec::with_capacity(READS_MAX);
    loop {
        // One worker at a time takes what waits; the others are at the database.
        if waiting.lock().await.recv_many(&mut reads, READS_MAX).await == 0 {
            return;
        }
        let mut groups: HashMap<(TrustId, AcademicYear), Vec<Read>> = HashMap::new();
        for read in reads.drain(..) {
            groups.entry((read.trust, read.year)).or_default().push(read);
        }
        for ((trust, year), reads) in groups {
            answer(&store, trust, year, reads).await;
        }
    }
}

async fn answer(store: &Store, trust: TrustId, year: AcademicYear, reads: Vec<Read>) {
    let pupils: Vec<Uuid> = reads.iter().map(|read| read.pupil).collect();
    let found = async {
        let mut transaction = store.begin(trust).await?;
        let stages = stages_of(&mut transaction, trust, year, &pupils).await?;
        transaction.commit().await?;
        Ok::<_, StoreError>(stages)
    };
    match found.await {
        Ok(stages) => {
            let stages: HashMap<Uuid, StageWithTally> =
                stages.into_iter().map(|stage| (stage.row.pupil_id, stage)).collect();
            for read in reads {
                // Whoever asked may have gone.
                let _ = read.answer.send(Ok(stages.get(&read.pupil).cloned()));
            }
        }
        Err(error) => {
            let error = std::sync::Arc::new(error);
            for read in reads {
                let _ = read.answer.send(Err(StoreError::Shared(error.clone())));
            }
        }
    }
}
