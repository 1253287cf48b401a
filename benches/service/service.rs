//! The service as a process of its own: the release binary, on a port of the loopback interface.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use crate::error::BenchError;
use crate::year::CLOCK;

const STOP_WITHIN: Duration = Duration::from_secs(30);

/// The service. Dropping it kills it.
pub struct Service {
    child: Child,
    endpoint: Endpoint,
}

impl Service {
    /// Starts the service on a database, and waits until it serves.
    pub async fn start(database_url: &str) -> Result<Service, BenchError> {
        // Free a moment ago; the service is told which it is.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_graduated-response"))
            .args(["serve", "--database-url", database_url, "--clock", CLOCK, "--listen"])
            .arg(address.to_string())
            .args(["--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
        let stdout = child.stdout.take();
        let mut lines = BufReader::new(stdout.ok_or_else(|| std::io::Error::other("no standard output"))?).lines();
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("ready") {
                return Ok(Service { child, endpoint });
            }
        }
        Err(BenchError::Unexpected("the service ended before it served".to_owned()))
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Result<Channel, BenchError> {
        Ok(self.endpoint.connect().await?)
    }

    /// The most memory that the process had resident so far, in MiB, where the system tells.
    pub fn peak_rss_mib(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// Stops it in good order.
    pub async fn stop(mut self) -> Result<(), BenchError> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(std::io::Error::from)?;
        }
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(status) => {
                status?;
            }
            Err(_) => self.child.kill().await?,
        }
        Ok(())
    }
}
