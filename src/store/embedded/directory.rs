//! The data directory: its owner, its lock, its making, and the directory of its socket.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    ROLE,
    binaries::Binaries,
    error::{EmbeddedError, io_error},
    identity::Identity,
};

/// A Unix socket's path has to fit into 104 bytes (macOS) or 108 (Linux), with its end.
const SOCKET_PATH_BYTES_MAX: usize = 100;
const SOCKET: &str = ".s.PGSQL.5432";
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// A data directory, and what lies beside it: `<name>.lock`, `<name>.log`, and `<name>.initdb` while it is being made.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
}

impl Directory {
    /// Makes the parents of `path` where they are missing, and gives the one true name of it, so that two spellings of
    /// a directory meet at the same lock.
    pub(super) fn resolve(path: &Path, open_parents: bool) -> Result<Self, EmbeddedError> {
        let path = std::path::absolute(path).map_err(io_error("resolve", path))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(EmbeddedError::NotACluster { data_dir: path });
        };
        let mode = if open_parents { 0o755 } else { 0o700 };
        let mut missing: Vec<_> = parent.ancestors().take_while(|dir| !dir.exists()).collect();
        missing.reverse();
        for dir in missing {
            fs::create_dir(dir).map_err(io_error("create", dir))?;
            // Whatever the umask.
            fs::set_permissions(dir, Permissions::from_mode(mode)).map_err(io_error("set the mode of", dir))?;
        }
        let path = match fs::canonicalize(&path) {
            Ok(path) => path,
            Err(_) => fs::canonicalize(parent)
                .map_err(io_error("resolve", parent))?
                .join(name),
        };
        Ok(Self { path })
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(extension);
        path.into()
    }

    /// Takes the directory for this process. Others are refused until the file is dropped, or this process ends in
    /// whichever way.
    pub(super) fn lock(&self) -> Result<Lock, EmbeddedError> {
        let path = self.beside(".lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let owner = file.read_to_string(&mut text).ok();
                return Err(EmbeddedError::InUse {
                    data_dir: self.path.clone(),
                    owner: owner.and_then(|_| text.trim().parse().ok()),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(io_error("write", &path))?;
        Ok(Lock(file))
    }

    /// The major version that made the cluster, as `PG_VERSION` has it. None where no cluster is there yet.
    pub(super) fn version(&self) -> Result<Option<String>, EmbeddedError> {
        let path = self.path.join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("read", path)(error)),
        }
        match fs::read_dir(&self.path) {
            Ok(mut entries) => match entries.next() {
                None => Ok(None),
                Some(_) => Err(EmbeddedError::NotACluster {
                    data_dir: self.path.clone(),
                }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("read", &self.path)(error)),
        }
    }

    /// Checks that the cluster belongs to the user that Postgres runs as, as Postgres demands.
    pub(super) fn check_owner(&self, identity: &Identity) -> Result<(), EmbeddedError> {
        let owner = fs::metadata(&self.path).map_err(io_error("look at", &self.path))?.uid();
        if owner == identity.uid {
            return Ok(());
        }
        Err(EmbeddedError::WrongOwner {
            directory: self.path.clone(),
            owner,
            user: identity.name.clone(),
        })
    }

    /// Makes the cluster: in a directory beside, which takes the name only once it is whole, so that one that was
    /// interrupted is never taken for good.
    pub(super) fn create(&self, identity: &Identity, binaries: &Binaries) -> Result<(), EmbeddedError> {
        let new = self.beside(".initdb");
        // Not every system has C.UTF-8.
        if let Err(error) = initialise(&new, identity, binaries, "C.UTF-8") {
            tracing::debug!(%error, "initdb with locale C.UTF-8 failed, trying locale C");
            initialise(&new, identity, binaries, "C")?;
        }
        fs::rename(&new, &self.path).map_err(io_error("put the new cluster in place at", &self.path))?;
        if let Some(parent) = self.path.parent() {
            File::open(parent)
                .and_then(|dir| dir.sync_all())
                .map_err(io_error("sync", parent))?;
        }
        Ok(())
    }

    /// An empty private directory for the socket: in the data directory where the path is short and plain enough, else
    /// in /tmp under a name drawn from the data directory's.
    pub(super) fn socket_dir(&self, identity: &Identity) -> Result<PathBuf, EmbeddedError> {
        let dir = self.socket_path();
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => identity.give(&dir)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(&dir).map_err(io_error("look at", &dir))?;
                let private = meta.is_dir() && meta.uid() == identity.uid && meta.mode() & 0o777 == 0o700;
                if !private {
                    return Err(EmbeddedError::SocketDirectory {
                        directory: dir,
                        user: identity.name.clone(),
                    });
                }
            }
            Err(error) => return Err(io_error("create the socket directory", dir)(error)),
        }
        // No server runs here any more; a lock file could name a process id that is another program's by now.
        for name in [SOCKET.to_owned(), format!("{SOCKET}.lock")] {
            let file = dir.join(name);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_error("remove", file)(error));
                }
                _ => {}
            }
        }
        Ok(dir)
    }

    pub(super) fn socket_path(&self) -> PathBuf {
        let inside = self.path.join("socket");
        let bytes = inside.as_os_str().as_encoded_bytes();
        // Postgres reads a list of directories, with commas and quotes.
        let plain = bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(b));
        if plain && bytes.len() + 1 + SOCKET.len() <= SOCKET_PATH_BYTES_MAX {
            return inside;
        }
        let hash = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(10).map(|b| format!("{b:02x}")).collect();
        PathBuf::from(format!("/tmp/graduated-response-{name}"))
    }

    /// Opens the server's log for appending; one that has grown large is put aside first.
    pub(super) fn open_log(&self) -> Result<Log, EmbeddedError> {
        let path = self.beside(".log");
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.beside(".log.1")).map_err(io_error("rename", &path))?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("open the log", &path))?;
        let start = file.metadata().map_or(0, |meta| meta.len());
        Ok(Log { path, file, start })
    }
}

fn initialise(new: &Path, identity: &Identity, binaries: &Binaries, locale: &str) -> Result<(), EmbeddedError> {
    if new.exists() {
        fs::remove_dir_all(new).map_err(io_error("remove the unfinished", new))?;
    }
    DirBuilder::new()
        .mode(0o700)
        .create(new)
        .map_err(io_error("create", new))?;
    identity.give(new)?;
    let locale = format!("--locale={locale}");
    let user = format!("--username={ROLE}");
    // The socket's directory is what keeps others out; no other way in exists.
    let options = [
        "--encoding=UTF8",
        &locale,
        &user,
        "--auth-local=trust",
        "--auth-host=reject",
        "--data-checksums",
        "-D",
    ];
    let mut arguments: Vec<&Path> = options.iter().map(Path::new).collect();
    arguments.push(new);
    identity.run(&binaries.program("initdb"), &arguments)
}

/// A data directory's lock, held.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a program that another thread is just starting still has it open.
        let _ = self.0.unlock();
    }
}

/// The server's log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Where this run begins.
    start: u64,
}

impl Log {
    /// The last lines of this run.
    pub(super) fn tail(&self) -> String {
        let mut text = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.start.max(length.saturating_sub(2_000))))?;
            file.read_to_end(&mut text)
        });
        match read {
            Ok(_) => String::from_utf8_lossy(&text).trim().to_owned(),
            Err(error) => format!("(cannot be read: {error})"),
        }
    }
}
