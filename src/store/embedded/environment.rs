//! What the private Postgres takes from the process's environment: where to look, and where to keep its data.
#![allow(
    clippy::disallowed_methods,
    reason = "the path and the home directory belong to the user's session, not to the service's configuration"
)]

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use nix::unistd::{User, geteuid};

/// `$PATH`.
pub(super) fn path() -> Option<OsString> {
    std::env::var_os("PATH")
}

/// Where the private Postgres keeps its data when nothing else is said.
///
/// As root `/var/lib/graduated-response/postgres`, since the user that Postgres then runs as cannot reach root's home;
/// else `graduated-response/postgres` in `$XDG_DATA_HOME`, `~/.local/share`, or on macOS `~/Library/Application Support`.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/lib/graduated-response/postgres");
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || absolute("HOME").or_else(|| User::from_uid(geteuid()).ok().flatten().map(|user| user.dir));
    data_dir(absolute("XDG_DATA_HOME"), home().as_deref())
}

fn data_dir(xdg_data_home: Option<PathBuf>, home: Option<&Path>) -> PathBuf {
    let base = match (xdg_data_home, home) {
        (_, Some(home)) if cfg!(target_os = "macos") => home.join("Library/Application Support"),
        (Some(xdg), _) => xdg,
        (None, Some(home)) => home.join(".local/share"),
        (None, None) => PathBuf::from(format!("/var/tmp/{}", geteuid())),
    };
    base.join("graduated-response").join("postgres")
}
