//! Ends what an earlier run left behind on a data directory: a server whose owner was killed, the backends of a server
//! that was itself killed, and the files of both.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    binaries::Binaries,
    error::{EmbeddedError, io_error},
    identity::Identity,
};

const STOP_SECONDS: &str = "30";
const PATIENCE: Duration = Duration::from_secs(5);

/// Leaves `data_dir` without any process or lock file, so that a server can start on it. Committed data stays: what was
/// killed is recovered from the write-ahead log.
///
/// The caller holds the directory's lock, so whatever runs there has no owner.
pub(super) fn clear(data_dir: &Path, identity: &Identity, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let pid_file = data_dir.join("postmaster.pid");
    let Some(pid) = server_pid(&pid_file)? else {
        return end_backends(data_dir);
    };
    if is_server(pid, data_dir) {
        tracing::warn!(
            process.pid = pid,
            "stopping the private Postgres that an earlier run left behind"
        );
        stop(data_dir, identity, binaries)?;
        if is_server(pid, data_dir) {
            return Err(EmbeddedError::Leftover {
                data_dir: data_dir.to_owned(),
                processes: vec![pid],
            });
        }
    }
    end_backends(data_dir)?;
    disown(&pid_file)
}

/// Puts this process's id into `postmaster.pid`. Postgres takes a lock file that names its own parent for stale, where
/// it would refuse one whose process id has gone to another program; and unlike removing the file, that leaves it the
/// means to see whether a backend still uses the old shared memory.
fn disown(pid_file: &Path) -> Result<(), EmbeddedError> {
    let text = match fs::read_to_string(pid_file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.map_err(io_error("read", pid_file))?,
    };
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    let text = format!("{}\n{rest}", std::process::id());
    fs::write(pid_file, text).map_err(io_error("write", pid_file))
}

/// Stops the server of `data_dir` and waits until it has: cleanly, and where that takes too long at once.
pub(super) fn stop(data_dir: &Path, identity: &Identity, binaries: &Binaries) -> Result<(), EmbeddedError> {
    let pg_ctl = binaries.program("pg_ctl");
    let stop = |mode: &str| {
        let options = ["stop", "--silent", "--wait", "-t", STOP_SECONDS, "-m", mode, "-D"];
        let mut arguments: Vec<&Path> = options.iter().map(Path::new).collect();
        arguments.push(data_dir);
        identity.run(&pg_ctl, &arguments)
    };
    stop("fast").or_else(|error| {
        tracing::warn!(%error, "the private Postgres did not stop in time: stopping it at once");
        stop("immediate")
    })
}

/// The process id in the first line of `postmaster.pid`.
pub(super) fn server_pid(pid_file: &Path) -> Result<Option<i32>, EmbeddedError> {
    match fs::read_to_string(pid_file) {
        // A server in single-user mode writes its id with a minus.
        Ok(text) => Ok(text
            .lines()
            .next()
            .and_then(|line| line.trim().parse::<i32>().ok())
            .map(i32::abs)
            .filter(|pid| *pid > 0)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", pid_file)(error)),
    }
}

/// Whether process `pid` lives, and is a Postgres on `data_dir` and not another program that was given its id.
fn is_server(pid: i32, data_dir: &Path) -> bool {
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return false;
    }
    if Path::new("/proc/self/stat").exists() {
        return works_in(pid, data_dir);
    }
    // The service starts Postgres with the data directory on the command line.
    let command_line = Command::new("ps")
        .args(["-o", "command=", "-p", &pid.to_string()])
        .output();
    command_line.is_ok_and(|output| names(&output.stdout, data_dir))
}

/// Whether process `pid` is a living `postgres` whose working directory is `data_dir`, as that of every process of a
/// server is. Linux only.
fn works_in(pid: i32, data_dir: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // `1234 (postgres) S 1 …`: a process that ended and waits for its parent is a Z.
    let Some((_, state)) = stat.rsplit_once(')') else {
        return false;
    };
    if state.trim_start().starts_with(['Z', 'X']) || !stat.contains("(postgres)") {
        return false;
    }
    match fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(cwd) => cwd == data_dir,
        // Root in a container may not see it, but everyone sees the command line.
        Err(_) => fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| names(&line, data_dir)),
    }
}

fn names(command_line: &[u8], data_dir: &Path) -> bool {
    let data_dir = data_dir.as_os_str().as_encoded_bytes();
    command_line.windows(data_dir.len()).any(|w| w == data_dir)
}

/// Ends backends that outlived their server: as long as one lives it may write, and Postgres refuses to start.
fn end_backends(data_dir: &Path) -> Result<(), EmbeddedError> {
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        let until = Instant::now() + PATIENCE;
        loop {
            let backends = backends(data_dir);
            if backends.is_empty() {
                return Ok(());
            }
            if let Some(signal) = signal {
                for pid in &backends {
                    // One that has just ended needs no signal.
                    let _ = kill(Pid::from_raw(*pid), signal);
                }
            }
            if Instant::now() > until {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Err(EmbeddedError::Leftover {
        data_dir: data_dir.to_owned(),
        processes: backends(data_dir),
    })
}

/// The processes that work in `data_dir`. None where the system has no /proc.
fn backends(data_dir: &Path) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| works_in(*pid, data_dir))
        .collect()
}
