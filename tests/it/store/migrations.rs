//! Migrations: up, down, and up at once.

use graduated_response::store::migrations;

use super::count;
use crate::common::database::{connect, empty};

/// Everything that the migrations make, a line each.
async fn schema(url: &str) -> Vec<String> {
    let rows = connect(url)
        .await
        .unwrap()
        .query(
            "SELECT 'column ' || table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable
                 || coalesce(' ' || column_default, '')
             FROM information_schema.columns WHERE table_schema = 'public'
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
             UNION ALL SELECT 'policy ' || tablename || ' ' || policyname || ' ' || qual FROM pg_policies
             UNION ALL SELECT 'view ' || viewname || definition FROM pg_views WHERE schemaname = 'public'
             UNION ALL SELECT 'grant ' || table_name || ' ' || grantee || ' ' || privilege_type
             FROM information_schema.role_table_grants WHERE table_schema = 'public'
             UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || pg_get_constraintdef(oid)
             FROM pg_constraint WHERE connamespace = 'public'::regnamespace
             ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let lines = rows.iter().map(|row| row.get::<_, String>(0));
    lines
        .filter(|line| !line.contains("__diesel_schema_migrations"))
        .collect()
}

#[tokio::test]
async fn migrations_go_up_down_and_up_again_and_say_where_they_are() {
    let url = empty().await;
    let before = migrations::status(&url).await.unwrap();
    assert!(!before.is_empty() && before.iter().all(|migration| !migration.applied));
    let names: Vec<String> = before.into_iter().map(|migration| migration.name).collect();

    assert_eq!(migrations::up(&url).await.unwrap(), names);
    assert!(
        migrations::status(&url)
            .await
            .unwrap()
            .iter()
            .all(|migration| migration.applied)
    );
    assert_eq!(migrations::up(&url).await.unwrap(), [""; 0], "nothing is left to apply");
    let made = schema(&url).await;
    assert!(made.iter().any(|line| line.starts_with("column registers ")));

    for name in names.iter().rev() {
        assert_eq!(migrations::down(&url).await.unwrap().as_ref(), Some(name));
        // Redo: what comes back is what went.
        if name == names.last().unwrap() {
            assert_eq!(migrations::up(&url).await.unwrap(), std::slice::from_ref(name));
            assert_eq!(schema(&url).await, made);
            assert_eq!(migrations::down(&url).await.unwrap().as_ref(), Some(name));
        }
    }
    assert_eq!(
        migrations::down(&url).await.unwrap(),
        None,
        "nothing is left to take back"
    );
    assert_eq!(schema(&url).await, [""; 0]);
    assert!(
        migrations::status(&url)
            .await
            .unwrap()
            .iter()
            .all(|migration| !migration.applied)
    );

    assert_eq!(migrations::up(&url).await.unwrap(), names);
    assert_eq!(schema(&url).await, made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_that_start_together_migrate_once() {
    let url = empty().await;
    let replicas = (0..4).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { migrations::up(&url).await })
    });
    let replicas: Vec<_> = replicas.collect();
    let mut applied = Vec::new();
    for replica in replicas {
        applied.extend(replica.await.unwrap().unwrap());
    }
    let status = migrations::status(&url).await.unwrap();
    let names: Vec<String> = status.into_iter().map(|migration| migration.name).collect();
    assert_eq!(applied, names);
    let owner = connect(&url).await.unwrap();
    assert_eq!(count(&owner, "SELECT count(*) FROM attendance_codes").await, 38);
}
