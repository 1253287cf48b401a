//! The program under test: run to its end, or kept as a service.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PROGRAM: &str = env!("CARGO_BIN_EXE_graduated-response");

/// Long enough for a busy machine; nothing waits for as long where all is well.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the program reads from its environment: the person's own settings are none of a test's.
const SETTINGS: [&str; 13] = [
    "COLUMNS",
    "DATABASE_URL",
    "GRADUATED_RESPONSE_CLOCK",
    "GRADUATED_RESPONSE_CONNECTIONS",
    "GRADUATED_RESPONSE_DATA_DIR",
    "GRADUATED_RESPONSE_ENDPOINT",
    "GRADUATED_RESPONSE_FEED_RETENTION_DAYS",
    "GRADUATED_RESPONSE_LISTEN",
    "GRADUATED_RESPONSE_LOG",
    "GRADUATED_RESPONSE_LOG_JSON",
    "GRADUATED_RESPONSE_POSTGRES_BIN",
    "GRADUATED_RESPONSE_TRUST",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// An address at which nobody answers: port 1 of the loopback.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// The program with these words after its name.
pub fn program(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(words).stdin(Stdio::null());
    for setting in SETTINGS {
        command.env_remove(setting);
    }
    command
}

/// What a command printed, and the code that it ended with.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end.
pub async fn end(command: Command) -> Ended {
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output());
    let output = output.await.expect("the command goes on and on").unwrap();
    Ended {
        code: output.status.code().expect("the command was killed"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program to its end.
pub async fn run(words: &[&str]) -> Ended {
    end(program(words)).await
}

impl Ended {
    /// The same, where it ended with 0.
    pub fn done(self) -> Ended {
        self.with(0)
    }

    /// The same, where it ended with this code.
    pub fn with(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }

    /// What was printed, as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// A directory that a private Postgres's own user can reach; deleted at the end.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Home {
        let directory = tempfile::Builder::new().prefix("graduated-response-cli-").tempdir();
        let directory = directory.unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Home(directory)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as text.
    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file, and names it.
    pub fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.name(name)
    }

    /// Where the private Postgres of a test keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.path("postgres")
    }
}

/// A service that runs.
pub struct Serving {
    child: Child,
    pub endpoint: String,
    out: PathBuf,
    err: PathBuf,
    data_dir: Option<PathBuf>,
}

impl Serving {
    /// Starts `serve` on a free port with a private Postgres in `home`.
    pub async fn private(home: &Home, words: &[&str]) -> Serving {
        let data_dir = home.data_dir();
        let place = ["--data-dir", data_dir.to_str().unwrap()];
        Serving::start(home, "private", &[&place, words].concat(), Some(data_dir.clone())).await
    }

    /// Starts `serve` on a free port with a database that is there.
    pub async fn on(home: &Home, url: &str, words: &[&str]) -> Serving {
        Serving::start(home, "given", &[&["--database-url", url], words].concat(), None).await
    }

    async fn start(home: &Home, name: &str, words: &[&str], data_dir: Option<PathBuf>) -> Serving {
        let words = [&["serve", "--listen", "127.0.0.1:0"], words].concat();
        Serving::ready(program(&words), home, name, data_dir).await
    }

    /// Starts a command that serves, and returns once it says that it is ready.
    pub async fn ready(mut command: Command, home: &Home, name: &str, data_dir: Option<PathBuf>) -> Serving {
        let (out, err) = (home.path(&format!("{name}.out")), home.path(&format!("{name}.err")));
        // Into files: nobody has to read them for the service to go on.
        command.stdout(File::create(&out).unwrap());
        command.stderr(File::create(&err).unwrap());
        let mut serving = Serving {
            child: command.spawn().unwrap(),
            endpoint: String::new(),
            out,
            err,
            data_dir,
        };
        let until = Instant::now() + PATIENCE;
        while serving.endpoint.is_empty() {
            if let Some(status) = serving.child.try_wait().unwrap() {
                panic!("serve ended with {status}: {}{}", serving.printed(), serving.logged());
            }
            assert!(Instant::now() < until, "serve was not ready in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
            let printed = serving.printed();
            let address = printed.lines().find_map(|line| line.strip_prefix("ready: serving on "));
            if let Some(address) = address {
                serving.endpoint = format!("http://{address}");
            }
        }
        serving
    }

    /// What it has printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    /// What it has logged.
    pub fn logged(&self) -> String {
        fs::read_to_string(&self.err).unwrap()
    }

    /// Runs a command against it.
    pub async fn run(&self, words: &[&str]) -> Ended {
        let mut command = program(words);
        command.env("GRADUATED_RESPONSE_ENDPOINT", &self.endpoint);
        end(command).await
    }

    /// Sends it a signal, and waits until it has ended.
    pub fn signal(&mut self, signal: Signal) -> ExitStatus {
        send(&self.child, signal);
        wait(&mut self.child).expect("serve did not end in time")
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            send(&self.child, Signal::SIGTERM);
            if wait(&mut self.child).is_none() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
        // What a service that was killed has left behind.
        if let Some(pid) = self.data_dir.as_deref().and_then(postmaster) {
            let _ = kill(pid, Signal::SIGQUIT);
        }
    }
}

/// Sends a child a signal.
pub fn send(child: &Child, signal: Signal) {
    let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal);
}

/// How a child ended; nothing where it goes on.
pub fn wait(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// The private Postgres that says of itself that it runs in a data directory.
pub fn postmaster(data_dir: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data_dir.join("postmaster.pid")).ok()?;
    let pid = text.lines().next()?.trim().parse().ok()?;
    Some(Pid::from_raw(pid))
}

/// A file as a school would bring it.
pub fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The fifteen school days before 22 September 2025.
const DAYS: [&str; 15] = [
    "01/09/2025",
    "02/09/2025",
    "03/09/2025",
    "04/09/2025",
    "05/09/2025",
    "08/09/2025",
    "09/09/2025",
    "10/09/2025",
    "11/09/2025",
    "12/09/2025",
    "15/09/2025",
    "16/09/2025",
    "17/09/2025",
    "18/09/2025",
    "19/09/2025",
];

/// Makes a trust and its school 100001, and returns the trust's UUID.
pub async fn found(serving: &Serving) -> String {
    let made = serving.run(&["trusts", "--create", "Harbour Learning Trust", "--json"]);
    let trust_id = made.await.done().json()[0]["trust_id"].as_str().unwrap().to_owned();
    let school = [
        "--create",
        "100001",
        "--name",
        "Mill Lane Primary",
        "--phase",
        "primary",
    ];
    serving.run(&[&["schools"], &school[..]].concat()).await.done();
    trust_id
}

/// A service on 30 September 2025 with one trust and its school 100001.
pub struct School {
    pub serving: Serving,
    pub trust_id: String,
    /// Its database.
    pub url: String,
    pub home: Home,
}

impl School {
    /// With nobody on roll.
    pub async fn empty() -> School {
        let home = Home::new();
        let url = crate::database::database().await;
        let serving = Serving::on(&home, &url, &["--clock", "2025-09-30"]).await;
        let trust_id = found(&serving).await;
        School {
            serving,
            trust_id,
            url,
            home,
        }
    }

    /// With three pupils of thirty sessions each: one never missed any, one missed nine (authorised), one attended none.
    pub async fn with_pupils() -> School {
        let school = School::empty().await;
        let mut text = "Adno,UPN,Surname,Forename,Date,Session,Mark\n".to_owned();
        for (day, date) in DAYS.iter().enumerate() {
            for (half, present) in [("AM", "/"), ("PM", "\\")] {
                let ill = if day < 4 || (day == 4 && half == "AM") {
                    "I"
                } else {
                    present
                };
                text.push_str(&format!("1,Q999100125001,O'Neil,Ada,{date},{half},{present}\n"));
                text.push_str(&format!("2,E999100125002,Smith,Bo,{date},{half},{ill}\n"));
                text.push_str(&format!("3,U999100125003,Iqbal,Cy,{date},{half},O\n"));
            }
        }
        let file = school.home.file("marks.csv", &text);
        let words = ["import", "--school", "100001", "--source", "sims", &file];
        school.serving.run(&words).await.done();
        school
    }

    /// Runs a command against the service.
    pub async fn run(&self, words: &[&str]) -> Ended {
        self.serving.run(words).await
    }
}
