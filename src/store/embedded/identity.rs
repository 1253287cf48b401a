//! The user that Postgres runs as: the service's own, or an unprivileged one where the service runs as root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::unistd::{Gid, Uid, User, getegid, geteuid};

use super::error::{EmbeddedError, io_error};

/// A user to run programs as.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) name: String,
    /// Whether privileges have to be dropped to become it.
    pub(super) drops: bool,
}

impl Identity {
    /// Who runs Postgres on `data_dir`: the service's own user; as root the owner of a data directory that is there,
    /// else `postgres`, else `nobody`.
    pub(super) fn for_data_dir(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let uid = geteuid();
        if !uid.is_root() {
            return Ok(Self::of(uid, getegid(), false));
        }
        let owner = fs::metadata(data_dir.join("PG_VERSION"))
            .ok()
            .filter(|meta| meta.uid() != 0)
            .map(|meta| Self::of(Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()), true));
        owner
            .or_else(|| Self::named("postgres"))
            .or_else(|| Self::named("nobody"))
            .ok_or(EmbeddedError::NoUser)
    }

    fn of(uid: Uid, gid: Gid, drops: bool) -> Self {
        let user = User::from_uid(uid).ok().flatten();
        Self {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            name: user.map_or_else(|| uid.to_string(), |user| user.name),
            drops,
        }
    }

    fn named(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        Some(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            name: user.name,
            drops: true,
        })
    }

    /// Gives a file or directory to this user, where it is not theirs anyway.
    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        if !self.drops {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid)).map_err(io_error("change the owner of", path))
    }

    /// A command that runs as this user in `/`, without input and without the service's environment: that may hold
    /// credentials, and variables such as `PGDATA` that would lead Postgres's programs astray.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        if self.drops {
            // Setting the user also clears the supplementary groups.
            command.gid(self.gid).uid(self.uid);
        }
        command
    }

    /// Runs a command to its end.
    pub(super) fn run(&self, program: &Path, arguments: &[&Path]) -> Result<(), EmbeddedError> {
        let output = self
            .command(program)
            .args(arguments)
            .output()
            .map_err(io_error("run", program))?;
        if output.status.success() {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Err(EmbeddedError::Program {
            program: program.to_owned(),
            status: output.status,
            output: text.trim().to_owned(),
        })
    }

    /// Checks that this user can reach `data_dir`.
    pub(super) fn check_way_to(&self, data_dir: &Path) -> Result<(), EmbeddedError> {
        if !self.drops {
            return Ok(());
        }
        match self.first_closed_parent(data_dir)? {
            None => Ok(()),
            Some(directory) => Err(EmbeddedError::NotTraversable {
                directory,
                data_dir: data_dir.to_owned(),
                user: self.name.clone(),
            }),
        }
    }

    pub(super) fn first_closed_parent(&self, path: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
        let mut parents: Vec<_> = path.ancestors().skip(1).collect();
        parents.reverse();
        for directory in parents {
            let meta = fs::metadata(directory).map_err(io_error("look at", directory))?;
            let bit = match (meta.uid() == self.uid, meta.gid() == self.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            if meta.mode() & bit == 0 {
                return Ok(Some(directory.to_owned()));
            }
        }
        Ok(None)
    }
}
