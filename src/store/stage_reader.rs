//! Point reads of stages that share a round trip: calls that wait at the same time are answered by one statement.

use std::collections::HashMap;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::registers::stored_tally;
use super::stages::StageRow;
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
    /// How often a policy had come into force in the trust: names the policies that were in force when it was read.
    pub rules: i32,
}

/// The stages of pupils with the counts of a year: a row for each register of the year, or one without.
///
/// A statement of its own rather than one that is put together from the schema: keys first, so that its plan is one probe
/// a key (see the module `store`), and prepared once a connection.
struct StagesByKey<'a> {
    trust: Uuid,
    year: i16,
    pupils: &'a [Uuid],
}

type StagesByKeyColumns = (
    (
        sql_types::Uuid,
        sql_types::SmallInt,
        sql_types::SmallInt,
        sql_types::Nullable<sql_types::Date>,
        sql_types::Integer,
        sql_types::Integer,
        sql_types::Bool,
        sql_types::SmallInt,
        sql_types::Nullable<sql_types::Timestamptz>,
        sql_types::Nullable<sql_types::Date>,
        (
            sql_types::Nullable<sql_types::Integer>,
            sql_types::Nullable<sql_types::Integer>,
            sql_types::Nullable<sql_types::Integer>,
            sql_types::Nullable<sql_types::Date>,
        ),
        sql_types::Nullable<sql_types::Uuid>,
        sql_types::Bool,
        sql_types::Bool,
        sql_types::Integer,
    ),
    sql_types::Nullable<sql_types::SmallInt>,
    sql_types::Nullable<sql_types::SmallInt>,
    sql_types::Nullable<sql_types::SmallInt>,
    sql_types::Nullable<sql_types::Integer>,
);

impl QueryFragment<Pg> for StagesByKey<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT s.pupil_id, s.stage, s.academic_year, s.since, s.policy_version, s.episode, s.episode_open, s.raised_to,
                 s.changed_at, s.next_review_on, s.judged_attended, s.judged_possible, s.judged_unauthorised, s.judged_from,
                 s.hold_id, s.fall_waits, s.has_holds, s.last_episode, r.attended, r.possible, r.unauthorised,
                 (SELECT max(ordinal) FROM policy_activations WHERE trust_id = ",
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql(") FROM unnest(");
        out.push_bind_param::<sql_types::Array<sql_types::Uuid>, _>(&self.pupils)?;
        out.push_sql("::uuid[]) AS k(pupil_id) CROSS JOIN LATERAL (SELECT * FROM pupil_stages WHERE trust_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql(
            " AND pupil_id = k.pupil_id OFFSET 0) AS s
             LEFT JOIN LATERAL (SELECT attended, possible, unauthorised FROM registers WHERE trust_id = ",
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql(" AND pupil_id = k.pupil_id AND academic_year = ");
        out.push_bind_param::<sql_types::SmallInt, _>(&self.year)?;
        out.push_sql(" OFFSET 0) AS r ON true");
        Ok(())
    }
}

impl QueryId for StagesByKey<'_> {
    type QueryId = StagesByKey<'static>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for StagesByKey<'_> {
    type SqlType = StagesByKeyColumns;
}

/// The stages of pupils with the counts of a year, in the order of the identifiers given. Pupils that the trust does not
/// have are left out.
pub async fn stages_of(
    conn: &mut AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    pupils: &[Uuid],
) -> Result<Vec<StageWithTally>, StoreError> {
    type Row = (StageRow, Option<i16>, Option<i16>, Option<i16>, Option<i32>);
    let query = StagesByKey {
        trust: trust.0,
        year: year.start_year(),
        pupils,
    };
    let rows: Vec<Row> = query.load(conn).await?;
    let mut stages: Vec<StageWithTally> = Vec::with_capacity(pupils.len());
    for (row, attended, possible, unauthorised, rules) in rows {
        let tally = match (attended, possible, unauthorised) {
            (Some(attended), Some(possible), Some(unauthorised)) => stored_tally(attended, possible, unauthorised),
            _ => Tally::default(),
        };
        match stages.last_mut() {
            Some(last) if last.row.pupil_id == row.pupil_id => last.tally += tally,
            _ => stages.push(StageWithTally {
                row,
                tally,
                rules: rules.unwrap_or(0),
            }),
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
    let mut pupils: Vec<Uuid> = reads.iter().map(|read| read.pupil).collect();
    pupils.sort_unstable();
    pupils.dedup();
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
