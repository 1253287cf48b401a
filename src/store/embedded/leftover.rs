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

use super::error::{EmbeddedError, io_error};

/// What `pg_ctl stop -m fast` sends: cut the connections, write everything out, end.
pub(super) const STOP_FAST: Signal = Signal::SIGINT;
/// What `pg_ctl stop -m immediate` sends: end, and recover at the next start.
pub(super) const STOP_AT_ONCE: Signal = Signal::SIGQUIT;
/// How long each of the two may take.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);

/// Leaves `data_dir` without any process or lock file, so that a server can start on it. Committed data stays: what was
/// killed is recovered from the write-ahead log.
///
/// The caller holds the directory's lock, so whatever runs there has no owner.
pub(super) fn clear(data_dir: &Path) -> Result<(), EmbeddedError> {
    let pid_file = data_dir.join("postmaster.pid");
    let Some(pid) = server_pid(&pid_file)? else {
        return end_backends(data_dir);
    };
    if is_server(pid, data_dir) {
        tracing::warn!(
            process.pid = pid,
            "stopping the private Postgres that an earlier run left behind"
        );
        end_server(pid, data_dir)?;
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

/// Stops a server that is not this process's child and waits until it has: cleanly, and where that takes too long at
/// once. It may end by itself at any moment.
fn end_server(pid: i32, data_dir: &Path) -> Result<(), EmbeddedError> {
    for signal in [STOP_FAST, STOP_AT_ONCE] {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(io_error("stop the server of", data_dir)(error.into())),
        }
        let until = Instant::now() + STOP_WITHIN;
        while Instant::now() < until {
            if !is_server(pid, data_dir) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
    Err(EmbeddedError::Leftover {
        data_dir: data_dir.to_owned(),
        processes: vec![pid],
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
