//! How Postgres answers the reads that have to stay cheap: by index, at the size of a trust.

use std::sync::{Arc, Mutex};

use diesel::connection::InstrumentationEvent;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use graduated_response::domain::identifiers::TrustId;
use graduated_response::domain::session::AcademicYear;
use graduated_response::domain::stage::Stage;
use graduated_response::store::SERVICE_ROLE;
use graduated_response::store::actions::feed;
use graduated_response::store::actions::plans::{self as support, PlanFilter};
use graduated_response::store::feeds;
use graduated_response::store::movements::{MovementFilter, every_move, first_to_last};
use graduated_response::store::stage_reader::stages_of;
use graduated_response::store::stages::{StageFilter, list_pupils};
use graduated_response::store::summaries::{AbsenceFilter, registers_of_pupils_at, towards_persistent_absence};
use graduated_response::store::transitions::{self, TransitionFilter};
use uuid::Uuid;

use crate::common::{World, day};

/// A world whose trust has ten schools of five hundred pupils, as an operator's bulk load would leave it.
async fn world_of_five_thousand() -> World {
    let world = World::on("2025-10-01").await;
    let trust = &world.trust_id;
    let fill = format!(
        "INSERT INTO schools
             SELECT '{trust}', md5('school' || n)::uuid, (100000 + n)::text, 'School ' || n, 3, NULL, 195, 1, now(), now()
             FROM generate_series(0, 9) AS n;
         INSERT INTO pupils
             SELECT '{trust}', md5('pupil' || n)::uuid, '', '', NULL, NULL, 1, now(), now() FROM generate_series(1, 5000) AS n;
         INSERT INTO enrolments
             SELECT '{trust}', md5('enrolment' || n)::uuid, md5('pupil' || n)::uuid, md5('school' || n % 10)::uuid, 1,
                 '2025-09-01', NULL
             FROM generate_series(1, 5000) AS n;
         INSERT INTO registers
             SELECT '{trust}', md5('pupil' || n)::uuid, 2025, md5('enrolment' || n)::uuid, md5('school' || n % 10)::uuid,
                 38, 40, 2, NULL, '\\x01'
             FROM generate_series(1, 5000) AS n;
         INSERT INTO pupil_stages
             SELECT '{trust}', md5('pupil' || n)::uuid, n % 6, 2025, '2025-09-01', 1, 0, false, 0, now()
             FROM generate_series(1, 5000) AS n;
         ANALYZE"
    );
    world.sql().await.batch_execute(&fill).await.unwrap();
    world
}

/// The statements that a read makes.
async fn statements(world: &World, read: impl AsyncFnOnce(&mut AsyncPgConnection, TrustId)) -> Vec<String> {
    let made = Arc::new(Mutex::new(Vec::new()));
    let mut connection = AsyncPgConnection::establish(&world.url).await.unwrap();
    let as_trust = format!("SET app.trust_id = '{}'", world.trust_id);
    connection.batch_execute(&as_trust).await.unwrap();
    let making = made.clone();
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            making.lock().unwrap().push(query.to_string());
        }
    });
    read(&mut connection, TrustId(world.trust_id.parse().unwrap())).await;
    drop(connection);
    let made = made.lock().unwrap().clone();
    // Behind the statement stand its values.
    let statement = |text: &String| text.split("-- binds").next().unwrap().trim().to_owned();
    made.iter().map(statement).collect()
}

/// How Postgres would answer a statement whatever its values, asked by the service for its trust.
async fn plan(world: &World, statement: &str) -> String {
    let client = world.sql().await;
    let values = (1..).take_while(|number| statement.contains(&format!("${number}")));
    let values = vec!["NULL"; values.count()].join(", ");
    let prepare = format!(
        "SET plan_cache_mode = force_generic_plan; SET ROLE {SERVICE_ROLE}; SET app.trust_id = '{}'; PREPARE read AS {statement}",
        world.trust_id
    );
    client.batch_execute(&prepare).await.unwrap();
    let rows = client
        .query(&format!("EXPLAIN (COSTS OFF) EXECUTE read({values})"), &[])
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_pupils_stage_is_read_by_primary_keys() {
    let world = world_of_five_thousand().await;
    let made = statements(&world, async |connection, trust| {
        let pupils = [Uuid::new_v4()];
        let year = AcademicYear::clamped(day("2025-10-01"));
        stages_of(connection, trust, year, &pupils).await.unwrap();
    });
    let made = made.await;
    assert_eq!(made.len(), 1, "{made:?}");
    let plan = plan(&world, &made[0]).await;
    for index in ["pupil_stages_pkey", "registers_pkey"] {
        assert!(plan.contains(index), "{plan}");
    }
    // How often a policy came into force is a table of a few rows here, and the trusts are one.
    let scanned = plan.replace("Seq Scan on policy_activations", "");
    let scanned = scanned.replace("Seq Scan on trusts", "");
    assert!(!scanned.contains("Seq Scan"), "{plan}");
}

#[tokio::test]
async fn a_page_of_a_schools_stages_is_read_by_indexes() {
    let world = world_of_five_thousand().await;
    let school: Uuid = {
        let row = world
            .sql()
            .await
            .query_one("SELECT school_id::text FROM schools LIMIT 1", &[])
            .await;
        row.unwrap().get::<_, String>(0).parse().unwrap()
    };
    for stages in [vec![], vec![Stage::Four, Stage::Five]] {
        let made = statements(&world, async |connection, trust| {
            let filter = StageFilter {
                school: Some(school),
                today: day("2025-10-01"),
                stages: stages.clone(),
                after: Some(Uuid::nil()),
                ..StageFilter::default()
            };
            let found = list_pupils(connection, trust, &filter, 51).await.unwrap();
            assert_eq!(found.len(), 51);
        });
        let made = made.await;
        assert_eq!(made.len(), 1, "{made:?}");
        let plan = plan(&world, &made[0]).await;
        assert!(plan.contains("Index") && !plan.contains("Seq Scan"), "{plan}");
    }
}

/// Gives each pupil of such a world some transitions.
async fn fill_with_transitions(world: &World) {
    let trust = &world.trust_id;
    let fill = format!(
        "UPDATE feeds SET position = 20000 WHERE trust_id = '{trust}';
         INSERT INTO transitions (trust_id, position, pupil_id, from_stage, to_stage, effective_on, recorded_at, cause,
                 policy_version, academic_year, attended, possible, unauthorised, episode)
             SELECT '{trust}', n, md5('pupil' || 1 + n % 5000)::uuid, n % 2, (n + 1) % 2, '2025-09-15',
                 '2025-09-15 12:00+00'::timestamptz + n * interval '1 second', 'marks', 1, 2025, 38, 40, 2, 1
             FROM generate_series(1, 20000) AS n;
         ANALYZE"
    );
    world.sql().await.batch_execute(&fill).await.unwrap();
}

#[tokio::test]
async fn the_feed_its_lists_and_its_snapshots_are_read_by_indexes() {
    let world = world_of_five_thousand().await;
    fill_with_transitions(&world).await;
    let owner = world.sql().await;
    let row = owner.query_one("SELECT md5('school1')::uuid::text, md5('pupil1')::uuid::text", &[]);
    let row = row.await.unwrap();
    let (school, pupil): (Uuid, Uuid) = (
        row.get::<_, String>(0).parse().unwrap(),
        row.get::<_, String>(1).parse().unwrap(),
    );
    let made = statements(&world, async |connection, trust| {
        let rows = transitions::after(connection, trust, 10_000, 500).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| row.place.position).collect::<Vec<_>>(),
            (10_001..=10_500).collect::<Vec<_>>()
        );
        for filter in [
            TransitionFilter::default(),
            TransitionFilter {
                school: Some(school),
                ..TransitionFilter::default()
            },
            TransitionFilter {
                pupil: Some(pupil),
                ..TransitionFilter::default()
            },
        ] {
            let rows = transitions::list(connection, trust, &filter, 101).await.unwrap();
            assert_eq!(rows.len(), if filter.pupil.is_some() { 4 } else { 101 });
        }
        let rows = transitions::of_pupils(connection, trust, &[pupil], 4_999, 2)
            .await
            .unwrap();
        assert_eq!(
            rows.iter().map(|row| row.place.position).collect::<Vec<_>>(),
            [5_000, 10_000]
        );
        let versions = transitions::policy_versions(connection, trust, &[pupil]).await;
        assert_eq!(versions.unwrap(), [1]);
        let stages = transitions::stages_at(connection, trust, 10_000, day("2025-10-01"), &[pupil])
            .await
            .unwrap();
        assert_eq!(stages.len(), 1);
        let place = feeds::place_at_time(
            connection,
            transitions::FEED,
            trust,
            "2025-09-15T13:00:00Z".parse().unwrap(),
        )
        .await;
        assert_eq!(
            place.unwrap().unwrap().position,
            3_599,
            "the last one recorded before that"
        );
    });
    let made = made.await;
    assert_eq!(made.len(), 9, "{made:?}");
    for statement in made {
        let plan = plan(&world, &statement).await;
        // How many trusts there are decides how their counters are read: a row a trust.
        let scanned = plan.replace("Seq Scan on feeds", "");
        assert!(
            plan.contains("Index") && !scanned.contains("Seq Scan"),
            "{statement}\n{plan}"
        );
    }
}

/// One of the world's schools.
async fn a_school(world: &World) -> Uuid {
    let client = world.sql().await;
    let row = client
        .query_one("SELECT school_id::text FROM schools LIMIT 1", &[])
        .await;
    row.unwrap().get::<_, String>(0).parse().unwrap()
}

#[tokio::test]
async fn a_schools_summaries_and_forecasts_are_read_by_indexes() {
    let world = world_of_five_thousand().await;
    let fill = format!(
        "INSERT INTO transitions (trust_id, position, pupil_id, from_stage, to_stage, effective_on, recorded_at, cause,
             policy_version, academic_year, attended, possible, unauthorised, episode)
         SELECT '{}', n, md5('pupil' || n % 5000 + 1)::uuid, n % 6, (n + 1) % 6, '2025-09-01',
             timestamptz '2025-08-01' + n * interval '4 minutes', 'marks', 1, 2025, 38, 40, 2, 0
         FROM generate_series(1, 25000) AS n;
         ANALYZE",
        world.trust_id
    );
    world.sql().await.batch_execute(&fill).await.unwrap();
    let school = a_school(&world).await;
    let (from, to) = (day("2025-09-01"), day("2025-09-30"));
    let filter = MovementFilter {
        school: Some(school),
        from,
        to,
        begins: graduated_response::domain::session::london_midnight(from),
        ends: graduated_response::domain::session::london_midnight(day("2025-10-01")),
    };
    let year = AcademicYear::clamped(from);
    let made = statements(&world, async |connection, trust| {
        let registers = registers_of_pupils_at(connection, trust, school, year).await.unwrap();
        assert_eq!(registers.len(), 500);
        let absence = AbsenceFilter {
            school: Some(school),
            today: day("2025-10-01"),
            year,
            sessions: 20,
        };
        let (counts, candidates) = towards_persistent_absence(connection, trust, absence).await.unwrap();
        // 2 of 40 missed: within 20 all of them may cross.
        assert_eq!((counts.with_sessions, candidates.len()), (500, 500));
        let moved = first_to_last(connection, trust, filter).await.unwrap();
        assert_eq!(moved.iter().map(|found| found.count).sum::<i64>(), 500);
        let moves = every_move(connection, trust, filter).await.unwrap();
        // 30 days of 360 moves, of which the school's pupils make a tenth.
        assert_eq!(moves.iter().map(|found| found.count).sum::<i64>(), 1_080);
    });
    let made = made.await;
    assert_eq!(made.len(), 4, "{made:?}");
    for statement in made {
        let plan = plan(&world, &statement).await;
        assert!(plan.contains("Index") && !plan.contains("Seq Scan on"), "{plan}");
    }
}

#[tokio::test]
async fn plans_of_support_are_listed_by_indexes() {
    let world = world_of_five_thousand().await;
    let trust = &world.trust_id;
    let fill = format!(
        "INSERT INTO episodes (trust_id, pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at)
             SELECT trust_id, pupil_id, 1, 1, 2025, '{{}}', now() FROM pupils WHERE trust_id = '{trust}';
         INSERT INTO plans (trust_id, plan_id, pupil_id, episode, cycle, closed, started_on, next_review_on, ended_on, version,
             end_reason, created_at, updated_at)
             SELECT '{trust}', md5('plan' || n)::uuid, md5('pupil' || n)::uuid, 1, 1, n % 3 = 0, '2025-09-01',
                 CASE WHEN n % 3 > 0 THEN date '2025-09-20' + n % 50 END, CASE WHEN n % 3 = 0 THEN date '2025-09-10' END, 1,
                 CASE WHEN n % 3 = 0 THEN 'replaced' END, now(), now()
             FROM generate_series(1, 5000) AS n;
         INSERT INTO plan_cycles
             SELECT trust_id, plan_id, 1, '[]', '', '[]', '2025-09-01', '2025-10-01', '', '', '', now() FROM plans;
         INSERT INTO plan_reviews
             SELECT trust_id, plan_id, 1, '', 'close', '', '[]', '2025-09-10', '', '', '', now() FROM plans WHERE closed;
         ANALYZE"
    );
    world.sql().await.batch_execute(&fill).await.unwrap();
    let school = a_school(&world).await;
    let today = day("2025-10-01");
    let filters = [
        PlanFilter::default(),
        PlanFilter {
            closed: Some(false),
            to: Some(today),
            ..PlanFilter::default()
        },
        PlanFilter {
            school: Some(school),
            today,
            ..PlanFilter::default()
        },
    ];
    for filter in filters {
        let made = statements(&world, async |connection, trust| {
            let after = Some((false, day("2025-09-21"), Uuid::nil()));
            let listed = support::list(connection, trust, &filter, after, 50).await.unwrap();
            assert_eq!(listed.len(), 50);
        });
        let made = made.await;
        assert_eq!(made.len(), 3, "{made:?}");
        for statement in made {
            let plan = plan(&world, &statement).await;
            assert!(plan.contains("Index") && !plan.contains("Seq Scan on"), "{plan}");
        }
    }
}

#[tokio::test]
async fn what_is_recorded_on_actions_is_followed_by_indexes() {
    let world = world_of_five_thousand().await;
    let trust = &world.trust_id;
    let fill = format!(
        "INSERT INTO episodes (trust_id, pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at)
             SELECT trust_id, pupil_id, 1, 1, 2025, '{{}}', now() FROM pupils WHERE trust_id = '{trust}';
         INSERT INTO actions (trust_id, pupil_id, episode, provision_id, state, version, updated_at)
             SELECT trust_id, pupil_id, 1, '1-01', 3, 1, now() FROM pupils WHERE trust_id = '{trust}';
         INSERT INTO action_entries (trust_id, pupil_id, episode, provision_id, ordinal, kind, text, recorded_by_name,
             recorded_by_position, recorded_at, position)
             SELECT '{trust}', md5('pupil' || n % 5000 + 1)::uuid, 1, '1-01', n / 5000 + 1, 'note', '', '', '', now(), n + 1
             FROM generate_series(0, 14999) AS n;
         UPDATE feeds SET action_position = 15000 WHERE trust_id = '{trust}';
         ANALYZE"
    );
    world.sql().await.batch_execute(&fill).await.unwrap();
    let made = statements(&world, async |connection, trust| {
        let read = feed::after(connection, trust, 7_000, 500).await.unwrap();
        let positions: Vec<i64> = read.iter().map(|entry| entry.place.position).collect();
        assert_eq!(positions, (7_001..=7_500).collect::<Vec<_>>());
        let around = feeds::surroundings(connection, feed::FEED, trust, 7_000)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((around.end.position, around.next.unwrap().position), (15_000, 7_001));
    });
    let made = made.await;
    assert_eq!(made.len(), 2, "{made:?}");
    for statement in made {
        let plan = plan(&world, &statement).await;
        assert!(plan.contains("action_entries_by_position"), "{plan}");
        // The trusts are one.
        let scanned = plan.replace("Seq Scan on feeds", "");
        assert!(!scanned.contains("Seq Scan on"), "{plan}");
    }
}
