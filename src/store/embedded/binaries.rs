//! Finds Postgres's server binaries where the platform's packages put them.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::error::EmbeddedError;

/// The oldest major version that the service supports.
pub const MAJOR_MIN: u32 = 15;

const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_ctl"];

/// Directories under which packages put the binaries. `*` stands for part of one name.
const PLACES: [&str; 7] = [
    "usr/lib/postgresql/*/bin",
    "usr/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
    "usr/local/pgsql/bin",
];

/// One installation of Postgres: `postgres`, `initdb` and `pg_ctl` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The directory that holds the three.
    pub bin_dir: PathBuf,
    /// The major version, such as 15.
    pub version: u32,
}

impl Binaries {
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin_dir.join(name)
    }
}

/// The binaries to use: those in `override_dir` where one is given, else the first of at least version 15 on the
/// path, else the highest version in the places where Debian, Fedora, Homebrew and Postgres.app put them.
///
/// Runs `postgres --version` for each installation met, so it blocks for some milliseconds.
///
/// # Errors
///
/// [`EmbeddedError::BinariesNotFound`] says how to install Postgres, [`EmbeddedError::BinariesTooOld`] what was there.
pub fn find_binaries(override_dir: Option<&Path>) -> Result<Binaries, EmbeddedError> {
    Search::here(override_dir).find(None)
}

/// Where to look.
pub(super) struct Search {
    /// Looked into first, in order: the first that will do is taken.
    pub(super) first: Vec<PathBuf>,
    /// Looked into next: the highest version is taken.
    pub(super) then: Vec<PathBuf>,
}

impl Search {
    /// This machine's places, or `override_dir` alone.
    pub(super) fn here(override_dir: Option<&Path>) -> Self {
        match override_dir {
            Some(dir) => Self {
                first: vec![dir.to_owned()],
                then: Vec::new(),
            },
            None => Self::under(Path::new("/"), super::environment::path()),
        }
    }

    /// The usual places below `root`, after those on `path`.
    pub(super) fn under(root: &Path, path: Option<OsString>) -> Self {
        let first = path.map_or_else(Vec::new, |path| {
            std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect()
        });
        let then = PLACES.iter().flat_map(|place| expand(root, place)).collect();
        Self { first, then }
    }

    /// The installation to use. One of the `wanted` major version comes before all others, so that a data directory
    /// keeps working after a newer Postgres is installed beside the old one.
    pub(super) fn find(self, wanted: Option<u32>) -> Result<Binaries, EmbeddedError> {
        let mut met: Vec<Binaries> = self.first.iter().filter_map(|dir| probe(dir)).collect();
        let mut others: Vec<Binaries> = self.then.iter().filter_map(|dir| probe(dir)).collect();
        others.sort_by_key(|binaries| std::cmp::Reverse(binaries.version));
        met.extend(others);
        let supported = |b: &&Binaries| b.version >= MAJOR_MIN;
        if let Some(binaries) = met
            .iter()
            .filter(supported)
            .find(|b| Some(b.version) == wanted)
            .or_else(|| met.iter().find(supported))
        {
            return Ok(binaries.clone());
        }
        if met.is_empty() {
            let mut searched = self.first;
            searched.extend(self.then);
            return Err(EmbeddedError::BinariesNotFound { searched });
        }
        Err(EmbeddedError::BinariesTooOld { found: met })
    }
}

/// The directories that a pattern such as `usr/lib/postgresql/*/bin` stands for.
fn expand(root: &Path, place: &str) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    for part in place.split('/') {
        let Some((start, end)) = part.split_once('*') else {
            found.iter_mut().for_each(|dir| dir.push(part));
            continue;
        };
        found = found
            .iter()
            .filter_map(|dir| fs::read_dir(dir).ok())
            .flat_map(|entries| entries.flatten())
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(start) && name.ends_with(end)
            })
            .map(|entry| entry.path())
            .collect();
    }
    found.retain(|dir| dir.is_dir());
    found
}

/// What is installed in `dir`, if all of it is there and it can say its version.
fn probe(dir: &Path) -> Option<Binaries> {
    let all_there = PROGRAMS.iter().all(|program| {
        fs::metadata(dir.join(program)).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    });
    if !all_there {
        return None;
    }
    let output = Command::new(dir.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(Binaries {
        bin_dir: dir.to_owned(),
        version: major(&String::from_utf8_lossy(&output.stdout))?,
    })
}

/// The major version in a line such as `postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)`.
pub(super) fn major(line: &str) -> Option<u32> {
    let version = line.split_once("(PostgreSQL)")?.1.trim_start();
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}
