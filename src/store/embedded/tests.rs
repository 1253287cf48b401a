use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use tokio_postgres::Client;

use super::*;

/// A directory that the user who runs Postgres may enter.
fn room() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

fn config(data_dir: impl Into<PathBuf>) -> EmbeddedConfig {
    EmbeddedConfig {
        data_dir: data_dir.into(),
        bin_dir: None,
        settings: vec![("shared_buffers".to_owned(), "16MB".to_owned())],
    }
}

async fn connect(postgres: &EmbeddedPostgres) -> Client {
    let (client, connection) = tokio_postgres::connect(&postgres.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// A database with a committed row.
async fn write_kept_row(postgres: &EmbeddedPostgres) {
    let client = connect(postgres).await;
    client
        .batch_execute("CREATE TABLE kept (value text); INSERT INTO kept VALUES ('committed')")
        .await
        .unwrap();
}

async fn kept_row(postgres: &EmbeddedPostgres) -> String {
    text(&connect(postgres).await, "SELECT value FROM kept").await
}

fn server_pid(postgres: &EmbeddedPostgres) -> Pid {
    let pid_file = postgres.data_dir().join("postmaster.pid");
    Pid::from_raw(leftover::server_pid(&pid_file).unwrap().unwrap())
}

#[tokio::test]
async fn starts_serves_its_url_stops_and_keeps_its_data() {
    let room = room();
    let data_dir = room.path().join("new").join("postgres");
    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    let client = connect(&postgres).await;
    for (query, answer) in [
        ("SELECT current_database()::text", "graduated_response"),
        ("SELECT current_user::text", "graduated_response"),
        (
            "SELECT rolname::text FROM pg_database d JOIN pg_roles r ON r.oid = datdba
             WHERE datname = current_database()",
            "graduated_response",
        ),
        ("SHOW server_encoding", "UTF8"),
        ("SHOW data_checksums", "on"),
        ("SHOW fsync", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW listen_addresses", ""),
        ("SHOW timezone", "UTC"),
        ("SHOW shared_buffers", "16MB"),
    ] {
        assert_eq!(text(&client, query).await, answer, "{query}");
    }
    let socket_dir = fs::metadata(&postgres.place.socket_dir).unwrap();
    assert_eq!(socket_dir.mode() & 0o777, 0o700);
    assert_eq!(socket_dir.uid(), fs::metadata(&data_dir).unwrap().uid());
    assert_ne!(socket_dir.uid(), 0, "Postgres never runs as root");
    write_kept_row(&postgres).await;

    let pid = server_pid(&postgres);
    postgres.stop().await.unwrap();
    assert_eq!(kill(pid, None), Err(nix::errno::Errno::ESRCH));
    assert!(!data_dir.join("postmaster.pid").exists());

    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    assert_eq!(kept_row(&postgres).await, "committed");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_owner_is_told_that_the_directory_is_in_use() {
    let room = room();
    let data_dir = room.path().join("postgres");
    let directory = Directory::resolve(&data_dir, true).unwrap();
    let lock = directory.lock().unwrap();

    // Under another spelling, too.
    let other_spelling = room.path().join(".").join("postgres");
    let error = EmbeddedPostgres::start(config(other_spelling)).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::InUse { owner, .. } if owner == Some(std::process::id())));
    assert!(error.to_string().contains("stop that one"), "{error}");

    drop(lock);
    directory.lock().unwrap();
}

#[tokio::test]
async fn committed_data_survives_the_kill_of_the_server_and_of_the_service() {
    let room = room();
    let data_dir = room.path().join("postgres");
    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    write_kept_row(&postgres).await;

    // The server is killed; its files stay.
    kill(server_pid(&postgres), Signal::SIGKILL).unwrap();
    drop(postgres);
    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    assert_eq!(kept_row(&postgres).await, "committed");

    // The service is killed; the server runs on without an owner.
    let orphan = server_pid(&postgres);
    let client = connect(&postgres).await;
    postgres.abandon();
    assert_eq!(text(&client, "SELECT value FROM kept").await, "committed");
    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    assert_ne!(server_pid(&postgres), orphan);
    assert_eq!(kept_row(&postgres).await, "committed");
    assert!(client.batch_execute("SELECT 1").await.is_err());

    // Both are killed, and the server's process id has gone to another program since.
    let user = postgres.place.identity.clone();
    kill(server_pid(&postgres), Signal::SIGKILL).unwrap();
    drop(postgres);
    let mut stranger = user.command(Path::new("sleep")).arg("600").spawn().unwrap();
    let pid_file = data_dir.join("postmaster.pid");
    let stale = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = stale.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();
    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    assert_eq!(kept_row(&postgres).await, "committed");
    assert_eq!(stranger.try_wait().unwrap(), None, "the other program is left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();

    // The owner forgets to stop it: the server goes too, and the next start waits for it.
    drop(postgres);
    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn an_initdb_that_was_interrupted_is_begun_anew_and_a_long_path_gets_its_socket_elsewhere() {
    let room = room();
    let data_dir = room.path().join("long".repeat(30)).join("postgres");
    let unfinished = data_dir.with_extension("initdb");
    fs::create_dir_all(&unfinished).unwrap();
    fs::set_permissions(data_dir.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();

    let postgres = EmbeddedPostgres::start(config(&data_dir)).await.unwrap();
    assert!(!unfinished.exists());
    let socket_dir = postgres.place.socket_dir.clone();
    assert_eq!(socket_dir.parent(), Some(Path::new("/tmp")));
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(text(&connect(&postgres).await, "SELECT 'ok'").await, "ok");
    postgres.stop().await.unwrap();
    assert!(!socket_dir.exists());
}

#[tokio::test]
async fn a_server_that_does_not_come_up_is_reported_with_its_log() {
    let room = room();
    let mut config = config(room.path().join("postgres"));
    config.settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = EmbeddedPostgres::start(config).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Died { .. }), "{error}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_directory_that_cannot_serve_is_named_with_the_fix() {
    let room = room();

    let newer = room.path().join("newer");
    fs::create_dir(&newer).unwrap();
    fs::write(newer.join("PG_VERSION"), "999\n").unwrap();
    let error = EmbeddedPostgres::start(config(&newer)).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, EmbeddedError::VersionMismatch { .. }), "{message}");
    assert!(
        message.contains("PostgreSQL 999") && message.contains("pg_dump"),
        "{message}"
    );

    let other = room.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "Dear reader").unwrap();
    let error = EmbeddedPostgres::start(config(&other)).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NotACluster { .. }), "{error}");
    assert!(other.join("letter.txt").exists());
}

#[test]
fn a_parent_that_postgres_may_not_enter_is_found() {
    let room = room();
    let closed = room.path().canonicalize().unwrap().join("closed");
    fs::create_dir(&closed).unwrap();
    let data_dir = closed.join("postgres");
    let mut stranger = Identity {
        uid: 54_321,
        gid: 54_321,
        name: "stranger".to_owned(),
        drops: true,
    };

    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
    let error = stranger.check_way_to(&data_dir).unwrap_err().to_string();
    assert!(error.contains(&format!("chmod o+x {}", closed.display())), "{error}");

    fs::set_permissions(&closed, Permissions::from_mode(0o701)).unwrap();
    stranger.check_way_to(&data_dir).unwrap();

    fs::set_permissions(&closed, Permissions::from_mode(0o677)).unwrap();
    stranger.uid = fs::metadata(&closed).unwrap().uid();
    assert_eq!(stranger.first_closed_parent(&data_dir).unwrap(), Some(closed.clone()));
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_socket_directory_that_others_made_is_refused() {
    let room = room();
    let directory = Directory::resolve(&room.path().join("postgres"), true).unwrap();
    let identity = Identity::for_data_dir(&directory.path).unwrap();
    fs::create_dir(&directory.path).unwrap();
    let socket_dir = directory.socket_dir(&identity).unwrap();
    fs::set_permissions(&socket_dir, Permissions::from_mode(0o755)).unwrap();
    let error = directory.socket_dir(&identity).unwrap_err();
    assert!(matches!(error, EmbeddedError::SocketDirectory { .. }), "{error}");
}

#[tokio::test]
async fn settings_of_the_service_itself_are_refused() {
    for (name, value) in [("Listen_Addresses", "*"), ("a=b", "c"), ("", "")] {
        let mut config = config("/nonexistent/postgres");
        config.settings = vec![(name.to_owned(), value.to_owned())];
        let error = EmbeddedPostgres::start(config).await.unwrap_err();
        assert!(
            matches!(&error, EmbeddedError::Setting { name: n, .. } if n == name),
            "{error}"
        );
    }
}

/// Scripts that answer `--version` as Postgres does. A shell writes them: a file that this process has open for writing
/// might be busy when it is run, because another test is just starting a program.
fn install(dir: &Path, version: &str) {
    fs::create_dir_all(dir).unwrap();
    for program in ["postgres", "initdb", "pg_ctl"] {
        let write = r#"printf '#!/bin/sh\necho "%s (PostgreSQL) %s"\n' "$1" "$2" >"$1" && chmod 755 "$1""#;
        let status = Command::new("sh")
            .args(["-c", write, "sh", program, version])
            .current_dir(dir)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

#[test]
fn missing_binaries_are_reported_with_how_to_install_them() {
    let empty = room();
    let places: [Result<Binaries, EmbeddedError>; 2] = [
        find_binaries(Some(empty.path())),
        Search::under(empty.path(), Some(OsString::from("relative:/nonexistent"))).find(None),
    ];
    for found in places {
        let error = found.unwrap_err();
        assert!(matches!(error, EmbeddedError::BinariesNotFound { .. }), "{error}");
        for install in [
            "apt-get install postgresql",
            "dnf install postgresql-server",
            "brew install postgresql@17",
        ] {
            assert!(error.to_string().contains(install), "{error}");
        }
    }
}

#[test]
fn the_path_comes_first_then_the_highest_version_and_none_below_15() {
    let root = room();
    let debian = |version: &str| root.path().join(format!("usr/lib/postgresql/{version}/bin"));
    let found = |path: &Path, wanted| Search::under(root.path(), Some(path.as_os_str().to_owned())).find(wanted);
    let on_path = root.path().join("tools");

    install(&debian("9.6"), "9.6.24");
    install(&on_path, "14.2");
    let error = found(&on_path, None).unwrap_err();
    assert!(matches!(error, EmbeddedError::BinariesTooOld { .. }), "{error}");
    assert!(error.to_string().contains("14 in "), "{error}");

    install(&debian("15"), "15.13 (Debian 15.13-0+deb12u1)");
    install(&root.path().join("usr/pgsql-17/bin"), "17.2");
    assert_eq!(found(&on_path, None).unwrap().version, 17);

    install(&on_path, "16beta1");
    let binaries = found(&on_path, None).unwrap();
    assert_eq!((binaries.version, binaries.bin_dir), (16, on_path.clone()));

    // A data directory of version 15 keeps the binaries that made it.
    let binaries = found(&on_path, Some(15)).unwrap();
    assert_eq!((binaries.version, binaries.bin_dir), (15, debian("15")));
}

#[test]
fn the_default_data_directory_is_one_of_the_services_own() {
    let dir = default_data_dir();
    assert!(dir.is_absolute());
    assert!(dir.ends_with("graduated-response/postgres"), "{}", dir.display());
}
