//! Point reads of stages that share a round trip: calls that wait at the same time are answered by one statement.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::future::try_join_all;
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use super::pipelined::{PipelinedConnection, within};
use super::stages::{JudgedCounts, StageRow};
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
    /// How often it had changed which pupil an identifier means.
    pub identities: i64,
}

/// The stages of pupils with the counts of a year: of each pupil given a row for each register of the year, or one
/// without; and no row at all where the transaction is not the trust's. So a pupil who is not there can be told from a
/// statement that was not allowed to see.
///
/// A statement of its own rather than one that is put together from the schema: keys first, so that its plan is one probe
/// a key (see the module `store`), and prepared once a connection.
struct StagesByKey<'a> {
    trust: Uuid,
    year: i16,
    pupils: &'a [Uuid],
}

/// A pupil's stored stage, as [`StagesByKey`] selects it.
type StageColumns = (
    sql_types::SmallInt,
    sql_types::SmallInt,
    sql_types::Nullable<sql_types::Date>,
    sql_types::Integer,
    sql_types::Integer,
    sql_types::Bool,
    sql_types::SmallInt,
    sql_types::Nullable<sql_types::Timestamptz>,
    sql_types::Nullable<sql_types::Date>,
    sql_types::Nullable<sql_types::Integer>,
    sql_types::Nullable<sql_types::Integer>,
    sql_types::Nullable<sql_types::Integer>,
    sql_types::Nullable<sql_types::Date>,
    sql_types::Nullable<sql_types::Uuid>,
    sql_types::Bool,
    sql_types::Bool,
);
type StageValues = (
    i16,
    i16,
    Option<NaiveDate>,
    i32,
    i32,
    bool,
    i16,
    Option<DateTime<Utc>>,
    Option<NaiveDate>,
    Option<i32>,
    Option<i32>,
    Option<i32>,
    Option<NaiveDate>,
    Option<Uuid>,
    bool,
    bool,
);

/// A register's counts, as [`StagesByKey`] selects them.
type TallyColumns = (sql_types::SmallInt, sql_types::SmallInt, sql_types::SmallInt);
type TallyValues = (i16, i16, i16);

impl QueryFragment<Pg> for StagesByKey<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT k.pupil_id,
                 s.stage, s.academic_year, s.since, s.policy_version, s.episode, s.episode_open, s.raised_to,
                 s.changed_at, s.next_review_on, s.judged_attended, s.judged_possible, s.judged_unauthorised, s.judged_from,
                 s.hold_id, s.fall_waits, s.has_holds,
                 r.attended, r.possible, r.unauthorised,
                 (SELECT max(ordinal) FROM policy_activations WHERE trust_id = ",
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql("), (SELECT identity_version FROM trusts WHERE trust_id = ");
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql(") FROM unnest(");
        out.push_bind_param::<sql_types::Array<sql_types::Uuid>, _>(&self.pupils)?;
        out.push_sql(
            "::uuid[]) AS k(pupil_id)
             LEFT JOIN LATERAL (
                 SELECT stage, academic_year, since, policy_version, episode, episode_open, raised_to, changed_at,
                     next_review_on, judged_attended, judged_possible, judged_unauthorised, judged_from, hold_id,
                     fall_waits, has_holds
                 FROM pupil_stages WHERE trust_id = ",
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql(
            " AND pupil_id = k.pupil_id OFFSET 0
             ) AS s ON true
             LEFT JOIN LATERAL (SELECT attended, possible, unauthorised FROM registers WHERE trust_id = ",
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)?;
        out.push_sql(" AND pupil_id = k.pupil_id AND academic_year = ");
        out.push_bind_param::<sql_types::SmallInt, _>(&self.year)?;
        out.push_sql(
            " OFFSET 0) AS r ON true
             WHERE nullif(current_setting('app.trust_id', true), '')::uuid = ",
        );
        out.push_bind_param::<sql_types::Uuid, _>(&self.trust)
    }
}

impl QueryId for StagesByKey<'_> {
    type QueryId = StagesByKey<'static>;

    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for StagesByKey<'_> {
    type SqlType = (
        sql_types::Uuid,
        sql_types::Nullable<StageColumns>,
        sql_types::Nullable<TallyColumns>,
        sql_types::Nullable<sql_types::Integer>,
        sql_types::Nullable<sql_types::BigInt>,
    );
}

fn stage_row(pupil_id: Uuid, values: StageValues) -> StageRow {
    let judged = (values.9, values.10, values.11, values.12);
    StageRow {
        pupil_id,
        stage: values.0,
        academic_year: values.1,
        since: values.2,
        policy_version: values.3,
        episode: values.4,
        episode_open: values.5,
        raised_to: values.6,
        changed_at: values.7,
        next_review_on: values.8,
        judged: JudgedCounts::from_columns(judged),
        hold_id: values.13,
        fall_waits: values.14,
        has_holds: values.15,
        // Not asked for: who reads a stage begins no episode.
        last_episode: values.4,
    }
}

/// The stages of pupils with the counts of a year, in the order of the identifiers given, each of which is given once.
/// Pupils that the trust does not have are left out.
///
/// # Errors
/// [`StoreError::NotOfTrust`] where the statement did not run in a transaction of the trust, and so saw nothing.
pub async fn stages_of(
    mut conn: &AsyncPgConnection,
    trust: TrustId,
    year: AcademicYear,
    pupils: &[Uuid],
) -> Result<Vec<StageWithTally>, StoreError> {
    let query = StagesByKey {
        trust: trust.0,
        year: year.start_year(),
        pupils,
    };
    type Row = (Uuid, Option<StageValues>, Option<TallyValues>, Option<i32>, Option<i64>);
    let rows: Vec<Row> = query.load(&mut conn).await?;
    let mut stages: Vec<StageWithTally> = Vec::with_capacity(pupils.len());
    let (mut answered, mut last_answered) = (0, None);
    for (pupil_id, stage, tally, rules, identities) in rows {
        let tally = tally.map_or_else(Tally::default, |(attended, possible, unauthorised)| {
            Tally::from_stored(attended, possible, unauthorised)
        });
        if last_answered == Some(pupil_id) {
            // A further register of the pupil before.
            if let Some(last) = stages.last_mut().filter(|last| last.row.pupil_id == pupil_id) {
                last.tally += tally;
            }
            continue;
        }
        answered += 1;
        last_answered = Some(pupil_id);
        stages.extend(stage.map(|values| StageWithTally {
            row: stage_row(pupil_id, values),
            tally,
            rules: rules.unwrap_or(0),
            identities: identities.unwrap_or(0),
        }));
    }
    if answered != pupils.len() {
        return Err(StoreError::NotOfTrust);
    }
    Ok(stages)
}

/// A call that waits for a pupil's stage.
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
        let waiting = Arc::new(Mutex::new(waiting));
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

type Waiting = Arc<Mutex<mpsc::Receiver<Read>>>;

async fn work(store: Store, waiting: Waiting) {
    let mut connection: Option<PipelinedConnection> = None;
    let mut reads = Vec::with_capacity(READS_MAX);
    loop {
        let go_on = match &mut connection {
            None => take(&waiting, &mut reads).await,
            Some(open) => {
                tokio::select! {
                    biased;
                    go_on = take(&waiting, &mut reads) => go_on,
                    // Replaced when it is next needed.
                    () = open.closed() => {
                        connection = None;
                        true
                    }
                }
            }
        };
        if reads.is_empty() {
            if go_on {
                continue;
            }
            return;
        }
        answer(&store, &mut connection, std::mem::take(&mut reads)).await;
    }
}

/// Waits for reads and takes all that wait. Returns whether more may come. One worker at a time takes what waits; the
/// others are at the database.
async fn take(waiting: &Waiting, reads: &mut Vec<Read>) -> bool {
    let mut waiting = waiting.lock().await;
    if waiting.recv_many(reads, READS_MAX).await == 0 {
        return false;
    }
    // The first of many calls that came in together wakes the worker before the others had their turn: they are let go
    // first.
    tokio::task::yield_now().await;
    while reads.len() < READS_MAX
        && let Ok(read) = waiting.try_recv()
    {
        reads.push(read);
    }
    true
}

/// Reads of one trust and year.
struct Group {
    trust: TrustId,
    year: AcademicYear,
    /// In order, each once.
    pupils: Vec<Uuid>,
    reads: Vec<Read>,
}

fn groups(mut reads: Vec<Read>) -> Vec<Group> {
    reads.sort_unstable_by_key(|read| (read.trust.0, read.year, read.pupil));
    let mut groups: Vec<Group> = Vec::new();
    let all = reads.len();
    for read in reads {
        let same = |group: &&mut Group| group.trust == read.trust && group.year == read.year;
        match groups.last_mut().filter(same) {
            Some(group) => {
                if group.pupils.last() != Some(&read.pupil) {
                    group.pupils.push(read.pupil);
                }
                group.reads.push(read);
            }
            None => {
                let mut pupils = Vec::with_capacity(all);
                pupils.push(read.pupil);
                let (trust, year) = (read.trust, read.year);
                let mut reads = Vec::with_capacity(all);
                reads.push(read);
                groups.push(Group {
                    trust,
                    year,
                    pupils,
                    reads,
                });
            }
        }
    }
    groups
}

async fn answer(store: &Store, connection: &mut Option<PipelinedConnection>, reads: Vec<Read>) {
    let groups = groups(reads);
    let mut found = find(store, connection, &groups).await;
    if found.as_ref().is_err_and(StoreError::is_lost_connection) {
        // The database was restarted, perhaps: reading can be done again.
        found = find(store, connection, &groups).await;
    }
    match found {
        Ok(found) => {
            for (group, stages) in groups.into_iter().zip(found) {
                for read in group.reads {
                    let place = stages.binary_search_by_key(&read.pupil, |stage| stage.row.pupil_id);
                    // Whoever asked may have gone.
                    let _ = read.answer.send(Ok(place.ok().map(|place| stages[place].clone())));
                }
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for read in groups.into_iter().flat_map(|group| group.reads) {
                let _ = read.answer.send(Err(StoreError::Shared(error.clone())));
            }
        }
    }
}

/// The stages of each group in the order of the identifiers, all in one round trip. A connection on which anything failed
/// is closed.
async fn find(
    store: &Store,
    connection: &mut Option<PipelinedConnection>,
    groups: &[Group],
) -> Result<Vec<Vec<StageWithTally>>, StoreError> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => connect(store).await?,
    };
    let found = open.run(async |conn| {
        try_join_all(groups.iter().map(|group| {
            within(
                conn,
                group.trust,
                stages_of(conn, group.trust, group.year, &group.pupils),
            )
        }))
        .await
    });
    let found = found.await??;
    *connection = Some(open);
    Ok(found)
}

/// A connection that has the statement prepared, so that it is sent as soon as it is asked for.
async fn connect(store: &Store) -> Result<PipelinedConnection, StoreError> {
    let mut open = store.pipelined().await?;
    let nobody = TrustId(Uuid::nil());
    open.run(async |conn| stages_of(conn, nobody, AcademicYear::clamped(NaiveDate::MIN), &[]).await)
        .await??;
    Ok(open)
}
