//! A database for each test, cloned from one that was migrated once. The server is the one that `TEST_DATABASE_URL` names
//! (its user may create databases), or a private one that ends with the tests.

use std::process::{Command, Stdio};

use graduated_response::store::embedded::{EmbeddedConfig, EmbeddedPostgres};
use graduated_response::store::migrations;
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;
use uuid::Uuid;

struct Server {
    url: String,
    template: String,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();

/// The URL of a new, migrated database.
pub async fn database() -> String {
    let server = SERVER.get_or_init(start).await;
    create(server, &server.template).await
}

/// The URL of a new database with nothing in it.
pub async fn empty() -> String {
    let server = SERVER.get_or_init(start).await;
    create(server, "template1").await
}

#[allow(dead_code)] // Of the test targets that share this module only one makes so many.
/// Drops a database that [`database`] made, whoever is still connected.
pub async fn drop_database(url: &str) {
    let server = SERVER.get_or_init(start).await;
    let (_, name) = url.rsplit_once('/').unwrap();
    let name = name.split('?').next().unwrap();
    let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    execute(&server.url, &drop).await.unwrap();
}

async fn create(server: &Server, template: &str) -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
    // A template may have one user at a time: two tests that begin together try again.
    for _ in 0..100 {
        match execute(&server.url, &create).await {
            Ok(()) => return with_database(&server.url, &name),
            Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::OBJECT_IN_USE) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the template stays in use");
}

async fn start() -> Server {
    #[allow(clippy::disallowed_methods)] // The tests' one setting.
    let given = std::env::var("TEST_DATABASE_URL");
    let url = match given {
        Ok(url) => url,
        Err(_) => private().await,
    };
    let template = format!("template_{}", Uuid::new_v4().simple());
    execute(&url, &format!("CREATE DATABASE {template}")).await.unwrap();
    migrations::up(&with_database(&url, &template)).await.unwrap();
    Server { url, template }
}

async fn private() -> String {
    let directory = std::env::temp_dir().join(format!("graduated-response-tests-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    // The server's own user has to reach its data.
    std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = EmbeddedConfig {
        data_dir: directory.join("postgres"),
        bin_dir: None,
        // Tests ask whether the service is right, not whether the disk is.
        settings: vec![
            ("fsync".into(), "off".into()),
            ("synchronous_commit".into(), "off".into()),
        ],
    };
    let postgres = EmbeddedPostgres::start(config).await.unwrap();
    let url = postgres.url();
    // The server outlives any one test, so something that outlives them all stops it.
    let watch = "while kill -0 $0 2>/dev/null; do sleep 1; done; \
                 kill -INT $(head -n 1 $1/postgres/postmaster.pid) 2>/dev/null; sleep 2; rm -rf $1";
    let watcher = Command::new("sh")
        .args(["-c", watch, &std::process::id().to_string()])
        .arg(&directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Both go on until after the tests have ended.
    std::mem::forget((watcher, postgres));
    url
}

/// The same server's URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let (server, _) = path.rsplit_once('/').unwrap();
    match query {
        Some(query) => format!("{server}/{name}?{query}"),
        None => format!("{server}/{name}"),
    }
}

async fn execute(url: &str, statement: &str) -> Result<(), tokio_postgres::Error> {
    connect(url).await?.batch_execute(statement).await
}

/// A connection of the owner of the tables: for what a test has to see that no caller can.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
