//! A policy that is looked at beforehand and one that comes into force, each beside one SQL statement that counts the same
//! trust anew from the stored counts.

use graduated_response::proto as pb;
use graduated_response::proto::admin_service_client::AdminServiceClient;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::database::Key;
use crate::error::{BenchError, ensure};
use crate::fixture::loaded;
use crate::report::{Claim, Figures, Outcome};
use crate::rig::{Rig, timed};
use crate::year::{PUPILS_IN_SCHOOL, SCHOOL_DAYS, START_YEAR, Year};

/// The name of the measurement, and of the preview in the results.
pub const NAME: &str = "preview_policy_vs_sql_recount";
const ACTIVATE: &str = "activate_policy_vs_sql_recount";

const RUNS: usize = 5;
/// Runs before those that count: statements are prepared, pages are in memory.
const WARM_UP: usize = 1;

/// The table on which the statement works: the same columns, keys, indexes and rows.
const CONTENDER: &str = "pupil_stages_by_sql";

/// By how many tenths of a percent the bounds of the one policy lie above those of the other.
const RAISED_BY: i32 = 10;

/// Measures it.
pub async fn measure(rig: &Rig<'_>) -> Result<Vec<Outcome>, BenchError> {
    let options = rig.options;
    let year = Year::new(options.schools() * PUPILS_IN_SCHOOL)?;
    let trust = loaded(rig, &year, 2 * SCHOOL_DAYS).await?;
    let trust_id = Uuid::try_parse(&trust.trust_id).map_err(|error| BenchError::Unexpected(error.to_string()))?;
    let mut admin = AdminServiceClient::new(rig.service.connect().await?);
    let policies = Policies::draft(&mut admin, &trust.trust_id).await?;
    rig.sql
        .batch_execute(&format!(
            "CREATE TABLE {CONTENDER} (LIKE pupil_stages INCLUDING ALL);
             INSERT INTO {CONTENDER} SELECT * FROM pupil_stages"
        ))
        .await?;
    let (mut previewed, mut recounted) = (Figures::default(), Figures::default());
    let (mut activated, mut updated) = (Figures::default(), Figures::default());
    let mut moved_by_both = 0;
    for run in 0..options.runs(RUNS) + WARM_UP {
        // By turns the one with the higher bounds and the one with the lower.
        let (version, raised_by) = policies.of_run(run);
        let mut moved = [0; 4];
        let mut milliseconds = [0.0; 4];
        // What only reads comes first; then each goes first every other time.
        let order = if run.is_multiple_of(2) {
            [0, 1, 2, 3]
        } else {
            [1, 0, 3, 2]
        };
        for part in order {
            rig.sql
                .batch_execute(&format!("VACUUM ANALYZE pupil_stages, {CONTENDER}"))
                .await?;
            rig.settle().await?;
            let (found, time) = match part {
                0 => timed(preview(&mut admin, &trust.trust_id, version)).await?,
                1 => timed(recount(rig, trust_id, raised_by)).await?,
                2 => timed(activate(&mut admin, &trust.trust_id, version)).await?,
                _ => timed(update(rig, trust_id, version, raised_by)).await?,
            };
            moved[part] = found;
            milliseconds[part] = 1_000.0 * time.as_secs_f64();
        }
        ensure(moved.iter().all(|found| *found == moved[0]), || {
            format!("they do not agree on how many pupils move: {moved:?}")
        })?;
        moved_by_both = moved[0];
        let warm_up = if run < WARM_UP { " (warm-up)" } else { "" };
        let [of_preview, of_recount, of_activation, of_update] = milliseconds;
        eprintln!(
            "  preview {of_preview:.0} ms beside {of_recount:.0} ms, activation {of_activation:.0} ms beside \
             {of_update:.0} ms{warm_up}"
        );
        if run >= WARM_UP {
            previewed.0.push(of_preview);
            recounted.0.push(of_recount);
            activated.0.push(of_activation);
            updated.0.push(of_update);
        }
    }
    let pupils = year.marks.len();
    Ok(vec![
        Outcome {
            name: NAME,
            unit: "ms",
            claim: Claim::AtMost(2.0),
            work: previewed,
            against: recounted,
            notes: vec![
                format!("service: PreviewPolicy of {pupils} pupils, of whom {moved_by_both} would move, with the first page of them"),
                "against: one SELECT that sums the stored counts of each pupil, finds the band and counts the pairs of stages"
                    .to_owned(),
            ],
        },
        Outcome {
            name: ACTIVATE,
            unit: "ms",
            claim: Claim::AtMost(2.0),
            work: activated,
            against: updated,
            notes: vec![
                format!(
                    "service: from ActivatePolicy to the last answer of WatchJob, of {pupils} pupils, of whom \
                     {moved_by_both} move: stages, transitions, episodes and thresholds are written"
                ),
                "against: the same SELECT, and an UPDATE of the stages that change, on a copy of the table with its keys and \
                 indexes"
                    .to_owned(),
            ],
        },
    ])
}

/// Two policies that differ in their bounds.
struct Policies {
    raised: i32,
    plain: i32,
}

impl Policies {
    async fn draft(admin: &mut AdminServiceClient<Channel>, trust_id: &str) -> Result<Policies, BenchError> {
        let request = pb::GetPolicyRequest {
            trust_id: trust_id.to_owned(),
            ..pb::GetPolicyRequest::default()
        };
        let in_force = admin.get_policy(request).await?.into_inner().policy.unwrap_or_default();
        let mut settings = in_force.settings.unwrap_or_default();
        for bound in &mut settings.lower_bounds {
            bound.tenths += RAISED_BY;
        }
        let request = pb::CreatePolicyRequest {
            trust_id: trust_id.to_owned(),
            title: "Higher bounds".to_owned(),
            settings: Some(settings),
        };
        let draft = admin.create_policy(request).await?.into_inner().policy;
        Ok(Policies {
            raised: draft.unwrap_or_default().version,
            plain: in_force.version,
        })
    }

    /// The version of a run, and by how much its bounds are raised.
    fn of_run(&self, run: usize) -> (i32, i64) {
        if run.is_multiple_of(2) {
            (self.raised, i64::from(RAISED_BY))
        } else {
            (self.plain, 0)
        }
    }
}

/// How many pupils would move, by the service.
async fn preview(admin: &mut AdminServiceClient<Channel>, trust_id: &str, version: i32) -> Result<i64, BenchError> {
    let request = pb::PreviewPolicyRequest {
        trust_id: trust_id.to_owned(),
        version,
        ..pb::PreviewPolicyRequest::default()
    };
    let preview = admin.preview_policy(request).await?.into_inner();
    Ok(preview.moved.into())
}

/// How many pupils moved, by the service.
async fn activate(admin: &mut AdminServiceClient<Channel>, trust_id: &str, version: i32) -> Result<i64, BenchError> {
    let request = pb::ActivatePolicyRequest {
        trust_id: trust_id.to_owned(),
        version,
        activated_by: Some(pb::Person {
            name: "A person".to_owned(),
            position: "attendance lead".to_owned(),
            ..pb::Person::default()
        }),
        ..pb::ActivatePolicyRequest::default()
    };
    let job = admin
        .activate_policy(request)
        .await?
        .into_inner()
        .job
        .unwrap_or_default();
    let request = pb::WatchJobRequest {
        trust_id: trust_id.to_owned(),
        job_id: job.job_id,
    };
    let mut answers = admin.watch_job(request).await?.into_inner();
    let mut last = pb::Job::default();
    while let Some(answer) = answers.next().await {
        last = answer?.job.unwrap_or_default();
    }
    ensure(last.state() == pb::JobState::Succeeded, || {
        format!("the job ended as {:?}: {}", last.state(), last.failure)
    })?;
    Ok(last.moved)
}

/// Each pupil's stage by bounds that are raised by `$2` tenths of a percent, beside the stage in `table`.
fn stages_by_sql(table: &str) -> String {
    format!(
        "SELECT s.pupil_id, s.stage AS from_stage, CASE
             WHEN coalesce(r.possible, 0) < 20 THEN 0
             WHEN 1000 * r.attended > (950 + $2::bigint) * r.possible THEN 0
             WHEN 1000 * r.attended >= (930 + $2::bigint) * r.possible THEN 1
             WHEN 1000 * r.attended > (900 + $2::bigint) * r.possible THEN 2
             WHEN 1000 * r.attended >= (800 + $2::bigint) * r.possible THEN 3
             WHEN 1000 * r.attended >= (500 + $2::bigint) * r.possible THEN 4
             ELSE 5
         END AS to_stage
         FROM {table} s
         LEFT JOIN (
             SELECT pupil_id, sum(attended) AS attended, sum(possible) AS possible
             FROM registers WHERE trust_id = $1::uuid AND academic_year = {START_YEAR} GROUP BY pupil_id
         ) AS r USING (pupil_id)
         WHERE s.trust_id = $1::uuid"
    )
}

/// How many pupils would move, by the statement.
async fn recount(rig: &Rig<'_>, trust_id: Uuid, raised_by: i64) -> Result<i64, BenchError> {
    let statement = format!(
        "SELECT from_stage::bigint, to_stage::bigint, count(*) FROM ({}) AS n GROUP BY 1, 2",
        stages_by_sql(CONTENDER)
    );
    let rows = rig.sql.query(&statement, &[&Key(trust_id), &raised_by]).await?;
    let moves = rows.iter().filter(|row| row.get::<_, i64>(0) != row.get::<_, i64>(1));
    Ok(moves.map(|row| row.get::<_, i64>(2)).sum())
}

/// How many pupils moved, by the statement.
async fn update(rig: &Rig<'_>, trust_id: Uuid, version: i32, raised_by: i64) -> Result<i64, BenchError> {
    let statement = format!(
        "UPDATE {CONTENDER} AS s SET stage = n.to_stage, policy_version = $3::int, changed_at = now()
         FROM ({}) AS n
         WHERE s.trust_id = $1::uuid AND s.pupil_id = n.pupil_id AND n.from_stage <> n.to_stage",
        stages_by_sql(CONTENDER)
    );
    let rows = rig
        .sql
        .execute(&statement, &[&Key(trust_id), &raised_by, &version])
        .await?;
    i64::try_from(rows).map_err(|error| BenchError::Unexpected(error.to_string()))
}
