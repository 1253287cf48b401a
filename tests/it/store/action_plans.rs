//! What lists of actions cost at the size of a large trust: 50,000 pupils with 500,000 actions. A page reads by indexes, and as
//! little as a page needs, whatever it is asked for and wherever in the list it is.

use std::sync::{Arc, Mutex};

use diesel::connection::InstrumentationEvent;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use graduated_response::domain::action::ActionState;
use graduated_response::domain::catalogue::Role;
use graduated_response::domain::identifiers::TrustId;
use graduated_response::domain::stage::Stage;
use graduated_response::store::SERVICE_ROLE;
use graduated_response::store::actions::coverage::{self, CoverageFilter};
use graduated_response::store::actions::lists::{ListFilter, ListKey, Order, list};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::common::{World, day};

const TODAY: &str = "2026-03-02";

/// How many rows of tables and indexes a page of fifty may read, in the whole of its plan. The trust has 500,000 actions.
const ROWS_MAX: f64 = 12_000.0;
/// The same of the actions of one school, which are read from its roll: a hundredth of the trust.
const ROWS_OF_SCHOOL_MAX: f64 = 12_000.0;

/// A trust of a hundred schools of five hundred pupils, as it would be after a year and a half: of the pupils four fifths are in
/// an episode, and half had one last year. A fifth of the episodes were worked on.
async fn world_of_fifty_thousand() -> World {
    let world = World::on(TODAY).await;
    let trust = &world.trust_id;
    // Of stages 1 to 5, so many thousandths of the pupils: a pupil's number decides.
    let stage = "CASE WHEN n % 10 < 2 THEN 0 WHEN n % 10 < 7 THEN 1 WHEN n % 100 < 85 THEN 2 WHEN n % 100 < 95 THEN 3
                 WHEN n % 200 < 198 THEN 4 ELSE 5 END";
    // In which the pupil was at the stage of greatest need, before getting better.
    let reached = format!("least(5, ({stage}) + CASE WHEN n % 7 = 0 THEN 1 ELSE 0 END)");
    let raised = |year: i32, reached: &str| {
        let of = |number: usize| {
            format!(
                "CASE WHEN {number} <= {reached} THEN timestamptz '{year}-09-15 12:00+00' + (n % 120) * interval '1 day' END"
            )
        };
        format!("ARRAY[{}]", (1..=5).map(of).collect::<Vec<_>>().join(", "))
    };
    let episode = |number: i32, year: i32, reached: &str, closed: &str, whose: &str| {
        format!(
            "INSERT INTO episodes (trust_id, pupil_id, episode, catalogue_version, academic_year, raised_at, opened_at,
                 closed_at, started_on, policy_version)
             SELECT '{trust}', md5('pupil' || n)::uuid, {number}, 1, {year}, {}, '{year}-09-15 12:00+00', {closed},
                 '{year}-09-15', CASE WHEN n % 2 = 0 THEN 1 ELSE 2 END
             FROM generate_series(1, 50000) AS n WHERE {whose};",
            raised(year, reached)
        )
    };
    let fill = format!(
        "INSERT INTO policies (trust_id, version, settings, created_at, activated_at)
             SELECT trust_id, 2, settings || '{{\"days_to_due\": {{\"by_stage\": [14, 10, 7, 5, 3], \"by_provision\":
                 {{\"3-02\": 2}}}}}}', created_at, now()
             FROM policies WHERE trust_id = '{trust}' AND version = 1;
         INSERT INTO schools
             SELECT '{trust}', md5('school' || n)::uuid, (100000 + n)::text, 'School ' || n, 3, NULL, 195, 1, now(), now()
             FROM generate_series(0, 99) AS n;
         INSERT INTO pupils
             SELECT '{trust}', md5('pupil' || n)::uuid, '', '', NULL, NULL, 1, now(), now() FROM generate_series(1, 50000) AS n;
         INSERT INTO enrolments
             SELECT '{trust}', md5('enrolment' || n)::uuid, md5('pupil' || n)::uuid, md5('school' || n % 100)::uuid, 1,
                 '2024-09-01', NULL
             FROM generate_series(1, 50000) AS n;
         {}{}
         INSERT INTO pupil_stages (trust_id, pupil_id, stage, academic_year, since, policy_version, episode, episode_open,
             raised_to)
             SELECT '{trust}', md5('pupil' || n)::uuid, {stage}, 2025, '2025-09-15', 1, 2, ({stage}) > 0, {reached}
             FROM generate_series(1, 50000) AS n;
         WITH touched AS (
             UPDATE episodes SET laid_out[1] = true, laid_out[2] = CASE WHEN raised_at[2] IS NOT NULL THEN true END
             WHERE trust_id = '{trust}' AND get_byte(uuid_send(pupil_id), 0) % 5 = 0
             RETURNING pupil_id, episode, academic_year
         )
         INSERT INTO actions (trust_id, pupil_id, episode, provision_id, state, version, updated_at, academic_year, stage,
             raised_on, due_on, assignee_id, assignee_name, begun_at)
         SELECT '{trust}', a.pupil_id, a.episode, a.provision_id,
             (ARRAY[2, 3, 4, 4, 5, 6])[1 + get_byte(uuid_send(a.pupil_id), a.ordinal % 16) % 6], 1, raised_at,
             touched.academic_year, a.stage, (raised_at AT TIME ZONE 'Europe/London')::date, due_on,
             'staff:' || get_byte(uuid_send(a.pupil_id), 1), 'Staff',
             CASE WHEN get_byte(uuid_send(a.pupil_id), a.ordinal % 16) % 6 > 0 THEN raised_at END
         FROM touched JOIN pupil_actions AS a USING (pupil_id, episode)
         WHERE a.trust_id = '{trust}' AND a.stage <= 2;
         VACUUM ANALYZE",
        episode(1, 2024, "2", "'2025-08-01 00:00+00'", "n % 2 = 0"),
        episode(2, 2025, &reached, "NULL", &format!("({stage}) > 0"))
    );
    // VACUUM is a statement of its own.
    let client = world.sql().await;
    for statement in fill.split(';').filter(|statement| !statement.trim().is_empty()) {
        client.batch_execute(statement).await.unwrap();
    }
    world
}

/// The statement that a read makes, with its values as Postgres writes them.
async fn made(world: &World, read: impl AsyncFnOnce(&mut AsyncPgConnection, TrustId)) -> Vec<String> {
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
    Vec::clone(&made.lock().unwrap())
}

/// What Postgres did to answer a statement, planned without its values as the service has it planned.
async fn explained(client: &Client, world: &World, statement: &str, values: &str) -> serde_json::Value {
    let text = statement.split("-- binds").next().unwrap();
    client
        .batch_execute(&format!(
            "DEALLOCATE ALL; SET plan_cache_mode = force_generic_plan; SET jit = off; SET ROLE {SERVICE_ROLE};
             SET app.trust_id = '{}'; PREPARE read AS {text}",
            world.trust_id
        ))
        .await
        .unwrap();
    let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE read({values})");
    let rows = client.simple_query(&explain).await.unwrap();
    let text = rows.iter().find_map(|row| match row {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    serde_json::from_str::<serde_json::Value>(&text.unwrap()).unwrap()[0].clone()
}

/// Every node of a plan.
fn nodes<'p>(plan: &'p serde_json::Value, found: &mut Vec<&'p serde_json::Value>) {
    found.push(plan);
    for part in plan["Plans"].as_array().into_iter().flatten() {
        nodes(part, found);
    }
}

/// How many rows a plan reads from tables and indexes; whole tables that it reads, but those of a few rows.
fn read_by(plan: &serde_json::Value) -> (f64, Vec<String>) {
    let mut all = Vec::new();
    nodes(&plan["Plan"], &mut all);
    let (mut rows, mut whole) = (0.0, Vec::new());
    for node in all {
        let Some(relation) = node["Relation Name"].as_str() else {
            continue;
        };
        let loops = node["Actual Loops"].as_f64().unwrap();
        let kept = node["Actual Rows"].as_f64().unwrap();
        let removed = node["Rows Removed by Filter"].as_f64().unwrap_or(0.0);
        if relation != "provisions" && relation != "policies" && relation != "trusts" {
            rows += loops * (kept + removed).max(1.0);
            if node["Node Type"] == "Seq Scan" {
                whole.push(relation.to_owned());
            }
        }
    }
    (rows, whole)
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

/// The values of a list, in the order of its statement.
fn values(trust: &str, filter: &ListFilter, after: Option<&ListKey>, limit: i64) -> String {
    let numbers = |numbers: Vec<i16>| {
        format!(
            "'{{{}}}'",
            numbers.iter().map(i16::to_string).collect::<Vec<_>>().join(",")
        )
    };
    let none = || "NULL".to_owned();
    let date = |date: Option<chrono::NaiveDate>| date.map_or_else(none, |date| quoted(&date.to_string()));
    let roles: Vec<String> = filter
        .roles
        .iter()
        .map(|role| serde_json::to_value(role).unwrap().as_str().unwrap().to_owned())
        .collect();
    let states = ActionState::ALL.into_iter().filter(|state| {
        let flagged_only = filter.no_longer_required == Some(true);
        (filter.states.is_empty() || filter.states.contains(state)) && !(flagged_only && state.ended())
    });
    let values = [
        quoted(trust),
        limit.to_string(),
        after.is_some_and(|key| key.dateless).to_string(),
        quoted(&after.map_or_else(|| "1970-01-01".to_owned(), |key| key.on.to_string())),
        quoted(&after.map_or_else(Uuid::nil, |key| key.pupil).to_string()),
        after.map_or(0, |key| key.episode).to_string(),
        quoted(after.map_or("", |key| &key.provision)),
        format!("'{{{}}}'", roles.join(",")),
        numbers(filter.stages.iter().map(|stage| i16::from(stage.number())).collect()),
        numbers(states.map(ActionState::number).collect()),
        date(filter.due_from),
        date(filter.due_to),
        filter.school.map_or_else(none, |school| quoted(&school.to_string())),
        date(Some(filter.today)),
        filter.assignee.as_deref().map_or_else(none, quoted),
        "2025".to_owned(),
    ];
    values.join(", ")
}

fn filters(school: Uuid) -> Vec<(&'static str, ListFilter, f64)> {
    let all = ListFilter::all(day(TODAY));
    let to_do = vec![ActionState::ToBeConsidered, ActionState::Open, ActionState::InProgress];
    vec![
        ("all", all.clone(), ROWS_MAX),
        (
            "what is to be done",
            ListFilter {
                states: to_do.clone(),
                no_longer_required: Some(false),
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what one role has to do",
            ListFilter {
                states: to_do.clone(),
                roles: vec![Role::AttendanceChampion],
                no_longer_required: Some(false),
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what is overdue",
            ListFilter {
                states: to_do.clone(),
                due_to: Some(day("2026-03-01")),
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what is due in a week",
            ListFilter {
                states: to_do.clone(),
                due_from: Some(day("2025-12-01")),
                due_to: Some(day("2025-12-07")),
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "of one stage",
            ListFilter {
                stages: vec![Stage::Five],
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what is completed",
            ListFilter {
                states: vec![ActionState::Completed],
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what was withdrawn",
            ListFilter {
                states: vec![ActionState::Withdrawn],
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what is flagged as no longer required",
            ListFilter {
                no_longer_required: Some(true),
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what one person has",
            ListFilter {
                assignee: Some("staff:77".into()),
                states: to_do.clone(),
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "what is missing",
            ListFilter {
                order: Order::Raised,
                on_roll: true,
                states: vec![ActionState::Open],
                no_longer_required: Some(false),
                not_begun: true,
                ..all.clone()
            },
            ROWS_MAX,
        ),
        (
            "of one school",
            ListFilter {
                school: Some(school),
                states: to_do.clone(),
                ..all.clone()
            },
            ROWS_OF_SCHOOL_MAX,
        ),
        (
            "what is missing at one school",
            ListFilter {
                order: Order::Raised,
                school: Some(school),
                on_roll: true,
                states: vec![ActionState::Open],
                no_longer_required: Some(false),
                not_begun: true,
                ..all
            },
            ROWS_OF_SCHOOL_MAX,
        ),
    ]
}

#[tokio::test]
async fn each_list_reads_by_indexes_and_no_more_than_a_page_at_fifty_thousand_pupils_and_half_a_million_actions() {
    const PAGE: i64 = 51;
    let world = world_of_fifty_thousand().await;
    let client = world.sql().await;
    let counts = client
        .query_one("SELECT count(*) FROM pupil_actions", &[])
        .await
        .unwrap();
    let actions: i64 = counts.get(0);
    assert!(actions >= 500_000, "{actions} actions");
    let row = client
        .query_one("SELECT md5('school7')::uuid::text", &[])
        .await
        .unwrap();
    let school: Uuid = row.get::<_, String>(0).parse().unwrap();
    for (what, filter, rows_max) in filters(school) {
        // The first page, and one from the middle of the list.
        let mut after = None;
        for place in ["first page", "later page"] {
            let mut next = None;
            let statements = made(&world, async |connection, trust| {
                let found = list(connection, trust, &filter, after.clone(), PAGE).await.unwrap();
                let may_be_empty = what == "what was withdrawn" || place == "later page";
                assert!(!found.is_empty() || may_be_empty, "{what}: nothing to list");
                next = found.into_iter().next_back().map(|(key, _)| key);
            });
            let statements = statements.await;
            assert_eq!(statements.len(), 1, "{what}");
            let values = values(&world.trust_id, &filter, after.as_ref(), PAGE);
            let plan = explained(&client, &world, &statements[0], &values).await;
            let (rows, whole) = read_by(&plan);
            eprintln!("{what}, {place}: {rows} rows, {} ms", plan["Execution Time"]);
            assert_eq!(whole, [""; 0], "{what}, {place}: {plan:#}");
            assert!(rows <= rows_max, "{what}, {place}: {rows} rows: {plan:#}");
            // Days further on where there are days, and pupils where there are none.
            after = next.map(|key| ListKey {
                on: key.on + chrono::Days::new(40),
                ..key
            });
        }
    }
    for school in [None, Some(school)] {
        let filter = CoverageFilter {
            school,
            today: day(TODAY),
            stages: Vec::new(),
        };
        let statements = made(&world, async |connection, trust| {
            assert!(!coverage::count(connection, trust, &filter).await.unwrap().is_empty());
        });
        let statements = statements.await;
        assert_eq!(statements.len(), 1);
        let school = school.map_or_else(|| "NULL".to_owned(), |school| quoted(&school.to_string()));
        let values = format!("{}, {}, {school}, '{{}}'", quoted(&world.trust_id), quoted(TODAY));
        let plan = explained(&client, &world, &statements[0], &values).await;
        let (rows, whole) = read_by(&plan);
        eprintln!("coverage of {school}: {rows} rows, {} ms", plan["Execution Time"]);
        if school != "NULL" {
            assert_eq!(whole, [""; 0], "{plan:#}");
            assert!(rows <= ROWS_OF_SCHOOL_MAX, "{rows} rows: {plan:#}");
        }
    }
}
