//! How long things are kept, and legal holds.

use graduated_response::store::SERVICE_ROLE;
use tonic::Code;

use super::Past;
use crate::common::world::{by_id, pb, person};
use crate::common::{World, refused};

async fn update(world: &World, years: pb::RetentionYears, etag: &str) -> Result<pb::Retention, tonic::Status> {
    let request = pb::UpdateRetentionRequest {
        trust_id: world.trust_id.clone(),
        years: Some(years),
        reason: "the trust's schedule".into(),
        updated_by: Some(person()),
        etag: etag.into(),
    };
    let answer = world.admin().update_retention(request).await?;
    Ok(answer.into_inner().retention.unwrap())
}

fn counts(of: &[pb::RetentionCount], record: &str) -> Vec<(i32, i64)> {
    let of = of.iter().filter(|count| count.record == record);
    of.map(|count| (count.academic_year, count.count)).collect()
}

#[tokio::test]
async fn registers_are_kept_for_six_years_at_least_and_what_is_set_stands_until_the_next() {
    let world = World::on("2025-10-01").await;
    let request = pb::GetRetentionRequest {
        trust_id: world.trust_id.clone(),
    };
    let first = world
        .admin()
        .get_retention(request.clone())
        .await
        .unwrap()
        .into_inner()
        .retention
        .unwrap();
    let defaults = pb::RetentionYears {
        registers: 6,
        actions: 6,
        history: 6,
        pupils: 6,
        requests: 1,
    };
    assert_eq!((first.years, first.updated_by), (Some(defaults), None));
    let short = pb::RetentionYears {
        registers: 5,
        pupils: 3,
        ..pb::RetentionYears::default()
    };
    let fields = vec!["years.registers".to_owned(), "years.pupils".to_owned()];
    assert_eq!(
        refused(update(&world, short, "").await),
        (Code::InvalidArgument, "RETENTION_TOO_SHORT".into(), fields)
    );
    let longer = pb::RetentionYears {
        registers: 8,
        history: 8,
        ..pb::RetentionYears::default()
    };
    let set = update(&world, longer, &first.etag).await.unwrap();
    assert_eq!(
        set.years,
        Some(pb::RetentionYears {
            registers: 8,
            history: 8,
            ..defaults
        })
    );
    assert_eq!(refused(update(&world, longer, &first.etag).await).0, Code::Aborted);
    let now = world
        .admin()
        .get_retention(request)
        .await
        .unwrap()
        .into_inner()
        .retention
        .unwrap();
    assert_eq!(now, set);
    let unexplained = pb::RetentionYears {
        registers: 9,
        ..pb::RetentionYears::default()
    };
    assert_eq!(refused(update(&world, unexplained, "").await).2, ["years.history"]);
}

#[tokio::test]
async fn what_is_past_its_time_goes_as_the_preview_said_and_what_is_not_stays() {
    let past = Past::of_2016().await;
    // The academic year 2016 is over for six years on 1 August 2023; its marks were changed last in October 2016.
    past.world.turn_to("2023-07-31");
    assert_eq!(counts(&past.preview().await.counts, "registers"), []);
    past.world.turn_to("2023-08-01");
    let preview = past.preview().await.counts;
    assert_eq!(counts(&preview, "registers"), [(2016, 2)]);
    assert_eq!(counts(&preview, "mark_revisions"), [(2016, 2)]);
    assert_eq!(counts(&preview, "pupils"), [], "the last move is of the year after");
    for record in [
        "first_entries",
        "episodes",
        "actions",
        "action_entries",
        "transitions",
        "holds",
        "batches",
    ] {
        assert!(!counts(&preview, record).is_empty(), "{record}: {preview:?}");
    }
    assert_eq!(
        past.get(by_id(&past.left)).await.unwrap().upn,
        super::UPN,
        "a preview removes nothing"
    );
    assert_eq!(past.apply().await, preview);
    assert_eq!(past.get(by_id(&past.left)).await.unwrap().upn, super::UPN);
    past.world.turn_to("2024-08-01");
    let preview = past.preview().await.counts;
    assert_eq!(counts(&preview, "pupils"), [(2016, 1)]);
    assert_eq!(counts(&preview, "transitions"), [(2017, 2)]);
    assert_eq!(past.apply().await, preview);
    assert_eq!(refused(past.get(by_id(&past.left)).await).0, Code::NotFound);
    let owner = past.world.sql().await;
    for table in [
        "registers",
        "mark_revisions",
        "first_entries",
        "transitions",
        "episodes",
        "actions",
        "action_entries",
    ] {
        let left = owner
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await
            .unwrap();
        assert_eq!(left.get::<_, i64>(0), 0, "{table}");
    }
    // Who is on roll stays, with a stage.
    assert_eq!(past.get(by_id(&past.stays)).await.unwrap().enrolments.len(), 1);
    assert_eq!(past.world.stage(&past.stays).await.stage(), pb::Stage::Universal);
    assert_eq!(past.apply().await, []);
}

#[tokio::test]
async fn a_mark_that_was_changed_late_keeps_its_register_for_six_more_years() {
    let past = Past::of_2016().await;
    past.world.turn_to("2018-02-05");
    past.world
        .record(&past.stays, crate::common::at("2016-09-06", "AM"), "I")
        .await;
    past.world.turn_to("2023-10-01");
    assert_eq!(counts(&past.preview().await.counts, "registers"), [(2016, 1)]);
    past.world.turn_to("2024-02-06");
    assert_eq!(counts(&past.preview().await.counts, "registers"), [(2016, 2)]);
}

#[tokio::test]
async fn a_legal_hold_stops_retention_and_erasure_until_it_is_lifted() {
    let past = Past::of_2016().await;
    past.world.turn_to("2023-10-01");
    let hold = past.hold_by_law(&past.left).await;
    assert_eq!(past.hold_by_law(&past.left).await, hold, "a retry");
    let preview = past.preview().await;
    assert_eq!(
        (counts(&preview.counts, "registers"), preview.pupils_under_legal_hold),
        (vec![(2016, 1)], 1)
    );
    for scope in [pb::ErasureScope::FreeText, pb::ErasureScope::Identity] {
        let answer = past.erase(by_id(&past.left), scope).await;
        assert_eq!(refused(answer).1, "LEGAL_HOLD");
    }
    assert_eq!(past.apply().await, preview.counts);
    assert_eq!(past.get(by_id(&past.left)).await.unwrap().given_name, "Wilhelmina");
    let list = |include_lifted| pb::ListLegalHoldsRequest {
        trust_id: past.world.trust_id.clone(),
        pupil: Some(by_id(&past.left)),
        include_lifted,
        ..pb::ListLegalHoldsRequest::default()
    };
    let standing = past
        .world
        .admin()
        .list_legal_holds(list(false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(standing.legal_holds, std::slice::from_ref(&hold));
    let lifted = past.lift(&hold).await.unwrap();
    assert!(lifted.lifted_at.is_some());
    assert_eq!(refused(past.lift(&hold).await).1, "LEGAL_HOLD_LIFTED");
    assert_eq!(
        past.world
            .admin()
            .list_legal_holds(list(false))
            .await
            .unwrap()
            .into_inner()
            .legal_holds,
        []
    );
    assert_eq!(
        past.world
            .admin()
            .list_legal_holds(list(true))
            .await
            .unwrap()
            .into_inner()
            .legal_holds,
        [lifted]
    );
    assert_eq!(counts(&past.preview().await.counts, "registers"), [(2016, 1)]);
}

#[tokio::test]
async fn the_database_removes_nothing_for_who_calls_its_functions_too_early_or_for_another_trust() {
    let past = Past::of_2016().await;
    let other = past.world.new_trust("Elm").await;
    let client = past.world.sql().await;
    let trust = &past.world.trust_id;
    let as_trust = |trust: &str| format!("SET ROLE {SERVICE_ROLE}; SET app.trust_id = '{trust}'");
    let remove = |pupil: &str, day: &str| format!("SELECT * FROM remove_expired(ARRAY['{pupil}'::uuid], '{day}')");
    client.batch_execute(&as_trust(&other)).await.unwrap();
    assert!(
        client
            .query(&remove(&past.left, "2023-10-01"), &[])
            .await
            .unwrap()
            .is_empty(),
        "of another trust"
    );
    client.batch_execute(&as_trust(trust)).await.unwrap();
    assert!(
        client
            .query(&remove(&past.left, "2023-07-31"), &[])
            .await
            .unwrap()
            .is_empty(),
        "a day too early"
    );
    let erase = |scope: &str| {
        format!(
            "SELECT erase_pupil('{}', '{scope}', gen_random_uuid(), 'r', 'n', 'p', '2022-01-01', NULL)",
            past.left
        )
    };
    let code = |error: tokio_postgres::Error| error.code().cloned();
    let insufficient = Some(tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
    assert_eq!(
        code(client.query(&erase("identity"), &[]).await.unwrap_err()),
        insufficient,
        "too early"
    );
    let hold = past.hold_by_law(&past.left).await;
    assert_eq!(
        code(client.query(&erase("free_text"), &[]).await.unwrap_err()),
        insufficient,
        "a legal hold"
    );
    assert!(
        client
            .query(&remove(&past.left, "2023-10-01"), &[])
            .await
            .unwrap()
            .is_empty(),
        "a legal hold"
    );
    past.lift(&hold).await.unwrap();
    // A clock that runs ahead makes nothing older than it is.
    assert!(
        !client
            .query(&remove(&past.left, "9999-01-01"), &[])
            .await
            .unwrap()
            .is_empty()
    );
    client.batch_execute("RESET app.trust_id").await.unwrap();
    assert_eq!(
        code(client.query(&remove(&past.left, "2023-10-01"), &[]).await.unwrap_err()),
        insufficient,
        "of no trust"
    );
}

#[tokio::test]
async fn a_removal_that_was_cut_off_goes_on_where_it_was_and_counts_what_went_before() {
    let past = Past::of_2016().await;
    past.world.turn_to("2023-08-01");
    let [first, last] = {
        let mut both = [past.left.clone(), past.stays.clone()];
        both.sort();
        both
    };
    // As a replica leaves it that dies after the step that looked at the first pupil.
    let job = "0f9d7a52-0000-4000-8000-000000000042";
    let outcome = format!(
        r#"{{"removed": [{{"kind": "registers", "record": "registers", "academic_year": 2016, "removed": 1}}],
            "after": "{first}", "done": 1}}"#
    );
    let owner = past.world.sql().await;
    let cut_off = format!(
        "INSERT INTO jobs (trust_id, job_id, kind, state, settings, done, total, outcome, attempts, requested_by_name,
             requested_by_position, created_at, updated_at)
         VALUES ('{}', '{job}', 'apply_retention', 'running', '{{}}', 1, 2, '{outcome}', 1, 'n', 'p', now(), now())",
        past.world.trust_id
    );
    owner.batch_execute(&cut_off).await.unwrap();
    past.world.service.run_unfinished_jobs().await.unwrap();
    let request = pb::GetJobRequest {
        trust_id: past.world.trust_id.clone(),
        job_id: job.into(),
    };
    let job = past
        .world
        .admin()
        .get_job(request)
        .await
        .unwrap()
        .into_inner()
        .job
        .unwrap();
    assert_eq!(
        (job.state(), job.done, job.total),
        (pb::JobState::Succeeded, 2, 2),
        "{}",
        job.failure
    );
    assert_eq!(counts(&job.removed, "registers"), [(2016, 2)]);
    let left = owner.query("SELECT pupil_id::text FROM registers", &[]).await.unwrap();
    let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        left,
        [first],
        "what was looked at before is not looked at again, and {last} is"
    );
}
