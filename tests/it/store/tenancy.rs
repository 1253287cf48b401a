//! What the role of the service can see and do, one trust at a time: the walk is over the catalogue, so that a table that
//! is added is looked at too.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use graduated_response::domain::identifiers::TrustId;
use graduated_response::domain::session::AcademicYear;
use graduated_response::store::stage_reader::stages_of;
use graduated_response::store::{SERVICE_ROLE, StoreError};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{count, with_trust, world_of_two_trusts};
use crate::common::{World, day};

const APPEND_ONLY: [&str; 17] = [
    "action_entries",
    "batches",
    "catalogue_activations",
    "erasures",
    "first_entries",
    "legal_hold_lifts",
    "legal_holds",
    "mark_revisions",
    "plan_cycles",
    "plan_reviews",
    "policy_activations",
    "provisions",
    "pupil_changes",
    "reconciliation_pupils",
    "retention_rules",
    "transitions",
    "universal_reviews",
];

/// A connection that works as the service does: for one trust, or for none.
async fn as_service(world: &World, trust: Option<&str>) -> Client {
    let client = world.sql().await;
    client.batch_execute(&format!("SET ROLE {SERVICE_ROLE}")).await.unwrap();
    if let Some(trust) = trust {
        client
            .batch_execute(&format!("SET app.trust_id = '{trust}'"))
            .await
            .unwrap();
    }
    client
}

async fn refusal(client: &Client, statement: &str) -> SqlState {
    match client.batch_execute(statement).await {
        Ok(()) => panic!("{statement}: done"),
        Err(error) => error.code().cloned().unwrap_or_else(|| panic!("{statement}: {error}")),
    }
}

async fn tables(owner: &Client) -> Vec<String> {
    let rows = owner
        .query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn stages_that_are_read_outside_of_a_transaction_of_the_trust_are_an_error_and_not_unknown_pupils() {
    let world = World::on("2025-10-01").await;
    let school = world.school("100001").await;
    let pupil: Uuid = world.pupil("ada", &school).await.parse().unwrap();
    let trust = TrustId(world.trust_id.parse().unwrap());
    let year = AcademicYear::clamped(day("2025-10-01"));
    let mut connection = AsyncPgConnection::establish(&world.url).await.unwrap();
    let as_service = format!("SET ROLE {SERVICE_ROLE}");
    connection.batch_execute(&as_service).await.unwrap();
    for of in [None, Some(Uuid::new_v4())] {
        if let Some(of) = of {
            let as_trust = format!("SET app.trust_id = '{of}'");
            connection.batch_execute(&as_trust).await.unwrap();
        }
        let read = stages_of(&connection, trust, year, &[pupil]).await;
        assert!(matches!(read, Err(StoreError::NotOfTrust)), "{of:?}: {read:?}");
    }
    let as_trust = format!("SET app.trust_id = '{}'", trust.0);
    connection.batch_execute(&as_trust).await.unwrap();
    let keys = [pupil, Uuid::new_v4()];
    let read = stages_of(&connection, trust, year, &keys).await.unwrap();
    let read: Vec<Uuid> = read.iter().map(|stage| stage.row.pupil_id).collect();
    assert_eq!(read, [pupil]);
}

#[tokio::test]
async fn every_table_with_a_trust_is_under_row_security_but_the_directory_of_trusts() {
    let world = World::on("2025-10-01").await;
    let owner = world.sql().await;
    let bare = "SELECT relname::text FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity
                    AND relname <> '__diesel_schema_migrations'
                ORDER BY relname";
    let bare: Vec<String> = owner
        .query(bare, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(bare, ["attendance_codes", "trusts"]);
    let without_policy = "SELECT count(*) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relrowsecurity
            AND NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'public' AND tablename = relname
                AND cmd = 'ALL' AND permissive = 'PERMISSIVE'
                AND qual = '(trust_id = ( SELECT (NULLIF(current_setting(''app.trust_id''::text, true), ''''::text))::uuid '
                    'AS \"nullif\"))')";
    assert_eq!(count(&owner, without_policy).await, 0);
}

#[tokio::test]
async fn every_primary_key_begins_with_the_trust() {
    let world = World::on("2025-10-01").await;
    let rows = world
        .sql()
        .await
        .query(
            "SELECT relname::text, attname::text
             FROM pg_class
             LEFT JOIN pg_index ON indrelid = pg_class.oid AND indisprimary
             LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = indkey[0]
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                 AND relname NOT IN ('attendance_codes', '__diesel_schema_migrations')",
            &[],
        )
        .await
        .unwrap();
    assert!(rows.len() >= 18, "{} tables", rows.len());
    for row in rows {
        let (table, first): (String, Option<String>) = (row.get(0), row.get(1));
        assert_eq!(first.as_deref(), Some("trust_id"), "{table}");
    }
}

#[tokio::test]
async fn a_query_that_forgot_its_trust_finds_nothing_and_one_that_names_it_finds_its_own_alone() {
    let (world, [ours, theirs]) = world_of_two_trusts().await;
    let owner = world.sql().await;
    let nobody = as_service(&world, None).await;
    let service = as_service(&world, Some(&ours)).await;
    let relations = with_trust(&owner, "rpv").await;
    for name in relations.iter().filter(|name| *name != "trusts") {
        let all = format!("SELECT count(*) FROM {name}");
        let of = |trust: &str| format!("{all} WHERE trust_id = '{trust}'");
        let there = count(&owner, &of(&ours)).await;
        assert!(there > 0 && count(&owner, &of(&theirs)).await > 0, "{name} is empty");
        assert_eq!(count(&nobody, &all).await, 0, "{name} without a trust");
        assert_eq!(count(&service, &all).await, there, "{name}");
        assert_eq!(count(&service, &of(&theirs)).await, 0, "{name} of another trust");
    }
    for expected in ["pupils", "registers", "marks", "pupil_actions"] {
        assert!(relations.iter().any(|name| name == expected), "{expected}");
    }
    // As after a transaction: Postgres leaves an empty text where the setting was.
    nobody.batch_execute("SET app.trust_id = ''").await.unwrap();
    assert_eq!(count(&nobody, "SELECT count(*) FROM pupils").await, 0);
}

#[tokio::test]
async fn nothing_can_be_written_into_another_trust() {
    let (world, [ours, theirs]) = world_of_two_trusts().await;
    let service = as_service(&world, Some(&ours)).await;
    let change = format!("UPDATE schools SET name = 'taken' WHERE trust_id = '{theirs}'");
    assert_eq!(service.execute(&change, &[]).await.unwrap(), 0);
    let give_away = format!("UPDATE schools SET trust_id = '{theirs}'");
    assert_eq!(refusal(&service, &give_away).await, SqlState::INSUFFICIENT_PRIVILEGE);
    let insert = format!("INSERT INTO catalogues VALUES ('{theirs}', 9, now(), NULL)");
    assert_eq!(refusal(&service, &insert).await, SqlState::INSUFFICIENT_PRIVILEGE);
}

#[tokio::test]
async fn what_was_recorded_cannot_be_changed_and_nothing_can_be_removed() {
    let (world, [ours, _]) = world_of_two_trusts().await;
    let owner = world.sql().await;
    let service = as_service(&world, Some(&ours)).await;
    for table in APPEND_ONLY.iter().chain(&["attendance_codes"]) {
        let column = if *table == "attendance_codes" {
            "byte"
        } else {
            "trust_id"
        };
        let update = format!("UPDATE {table} SET {column} = {column}");
        assert_eq!(
            refusal(&service, &update).await,
            SqlState::INSUFFICIENT_PRIVILEGE,
            "{table}"
        );
    }
    let tables = tables(&owner).await;
    assert!(tables.len() >= 20, "{tables:?}");
    for table in tables {
        for statement in [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("DROP TABLE {table} CASCADE"),
            format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
        ] {
            let refused = refusal(&service, &statement).await;
            assert_eq!(refused, SqlState::INSUFFICIENT_PRIVILEGE, "{statement}");
        }
    }
    for statement in [
        "DROP VIEW marks",
        "DROP POLICY tenant ON pupils",
        "DROP INDEX enrolments_of_pupil",
        "DROP SCHEMA public CASCADE",
        "CREATE TABLE mine ()",
        "INSERT INTO attendance_codes VALUES (99, '?', 'attending', true, true)",
    ] {
        let refused = refusal(&service, statement).await;
        assert_eq!(refused, SqlState::INSUFFICIENT_PRIVILEGE, "{statement}");
    }
    let powers = format!(
        "SELECT count(*) FROM pg_roles
         WHERE rolname = '{SERVICE_ROLE}' AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolcanlogin)"
    );
    assert_eq!(count(&owner, &powers).await, 0);
}
