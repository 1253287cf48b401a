//! `serve` with a Postgres of its own.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use graduated_response::proto::GetServerInfoRequest;
use graduated_response::proto::admin_service_client::AdminServiceClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::common::{Home, Serving, end, fixture, found, postmaster, program, run, send, wait};

async fn connect(endpoint: &str) -> Channel {
    let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}

/// Whether a process lives. One that waits for whoever takes note of its end does not.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let ended = stat.is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, state)| state.starts_with(" Z")));
    kill(pid, None).is_ok() && !ended
}

/// The processes whose working directory is a data directory, as that of every process of a server is. None where the
/// system has no /proc.
fn processes_in(data_dir: &Path) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|directory| directory == data_dir))
        .map(|process| process.file_name().into_string().unwrap())
        .collect()
}

#[tokio::test]
async fn a_private_postgres_comes_and_goes_with_the_service() {
    let home = Home::new();
    let data_dir = home.data_dir();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut serving = Serving::private(&home, &[]).await;
        let channel = connect(&serving.endpoint).await;
        let health = HealthClient::new(channel.clone())
            .check(HealthCheckRequest::default())
            .await
            .unwrap();
        assert_eq!(health.into_inner().status(), ServingStatus::Serving);
        let info = AdminServiceClient::new(channel.clone())
            .get_server_info(GetServerInfoRequest {})
            .await
            .unwrap();
        assert_eq!(info.into_inner().version, env!("CARGO_PKG_VERSION"));
        let postgres = postmaster(&data_dir).unwrap();
        assert!(lives(postgres));
        if cfg!(target_os = "linux") {
            assert_ne!(processes_in(&data_dir), [""; 0]);
        }

        // A caller that stays connected holds up neither.
        let status = serving.signal(signal);
        assert_eq!(status.code(), Some(0), "{signal}: {}", serving.logged());
        assert!(!lives(postgres), "{signal}");
        assert_eq!(processes_in(&data_dir), [""; 0], "{signal}");
        assert!(!data_dir.join("postmaster.pid").exists(), "{signal}");
        drop(channel);
    }
}

#[tokio::test]
async fn what_was_committed_outlives_a_kill_of_the_service() {
    let home = Home::new();
    let clock = ["--clock", "2025-09-30"];
    let data_dir = home.data_dir();
    let mut serving = Serving::private(&home, &clock).await;
    found(&serving).await;
    let marks = fixture("wide.csv");
    let import = ["import", "--school", "100001", "--year", "2025", &marks];
    serving.run(&import).await.done();
    let explain = ["explain", "Q999100125001", "--json"];
    let before = serving.run(&explain).await.done().json();
    let postgres = postmaster(&data_dir).unwrap();

    assert_eq!(serving.signal(Signal::SIGKILL).signal(), Some(9));
    assert!(lives(postgres), "nobody was left to stop it");

    let serving = Serving::private(&home, &clock).await;
    assert!(!lives(postgres), "the one that was left is stopped first");
    let after = serving.run(&explain).await.done().json();
    assert_eq!(after, before);
    assert_eq!((&after["attended"], &after["possible"]), (&2.into(), &3.into()));
}

#[tokio::test]
async fn a_second_owner_of_a_data_directory_is_refused() {
    let home = Home::new();
    let first = Serving::private(&home, &[]).await;
    let data_dir = home.data_dir();
    // By another name of the same directory.
    let other_name = home.name("./postgres");
    let words = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &other_name];
    let second = run(&words).await.with(3);
    let owner = fs::read_to_string(home.path("postgres.lock")).unwrap();
    let expected = format!(
        "error: {} is in use by another graduated-response (process {}): stop that one, or name another data directory\n",
        data_dir.display(),
        owner.trim()
    );
    assert_eq!(second.err, expected);
    assert_eq!(second.out, "", "it was never ready");
    first.run(&["trusts"]).await.done();
}

#[tokio::test]
async fn a_signal_while_the_database_is_being_made_ends_the_service_in_good_order() {
    let home = Home::new();
    let data_dir = home.data_dir();
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    let mut child = program(&words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !home.path("postgres.initdb").exists() {
        assert!(child.try_wait().unwrap().is_none(), "serve has ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    send(&child, Signal::SIGTERM);
    let status = wait(&mut child).unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(processes_in(&data_dir), [""; 0]);
    assert!(!data_dir.join("postmaster.pid").exists());
}

#[tokio::test]
async fn where_there_is_no_postgres_the_error_says_how_to_install_it() {
    let home = Home::new();
    fs::create_dir(home.path("bin")).unwrap();
    let bin = home.name("bin");
    let data_dir = home.name("postgres");
    let words = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data_dir];
    let mut command = program(&[&words[..], &["--postgres-bin", &bin]].concat());
    command.env("PATH", &bin);
    let refused = end(command).await.with(3);
    for part in [
        bin.as_str(),
        "Debian and Ubuntu `apt-get install postgresql`",
        "Fedora `dnf install postgresql-server`",
        "macOS `brew install postgresql@",
        "DATABASE_URL",
    ] {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    assert!(!home.data_dir().exists(), "nothing was made");
}

#[tokio::test]
async fn a_directory_of_other_things_is_left_as_it_is() {
    let home = Home::new();
    fs::create_dir(home.data_dir()).unwrap();
    home.file("postgres/letter.txt", "Dear parents");
    let data_dir = home.name("postgres");
    let refused = run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data_dir])
        .await
        .with(3);
    assert!(
        refused.err.contains("not empty and not a Postgres data directory"),
        "{}",
        refused.err
    );
    let left = fs::read_dir(&data_dir).unwrap().count();
    assert_eq!(left, 1);
}
