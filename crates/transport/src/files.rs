//! The data directory: private files, written atomically, and its lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::identity::IdentityError;

/// More than an identity takes.
const ROOM_BYTES: usize = 8 * 1024;

/// Held by the one process that runs on a data directory; released when dropped, or when the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the lock (flock on `<data_dir>/lock`). Creates the directory if it is missing.
    ///
    /// # Errors
    /// [`IdentityError::Locked`] when another process holds it; nothing was changed.
    pub fn acquire(data_dir: &Path) -> Result<Self, IdentityError> {
        create_private_dir(data_dir)?;
        let path = data_dir.join("lock");
        let file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(IdentityError::Locked { data_dir: data_dir.to_path_buf() }),
            Err(fs::TryLockError::Error(source)) => Err(IdentityError::Io { path, source }),
        }
    }
}

fn open_lock(path: &Path) -> Result<File, IdentityError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| IdentityError::Io { path: path.to_path_buf(), source })
}

/// Runs `work` while holding an exclusive lock on `path`; waits for it.
pub(crate) fn with_lock<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T, IdentityError> {
    let file = open_lock(path)?;
    file.lock().map_err(|source| IdentityError::Io { path: path.to_path_buf(), source })?;
    let result = work();
    drop(file);
    Ok(result)
}

/// Creates `dir` (0700) with its parents.
pub(crate) fn create_private_dir(dir: &Path) -> Result<(), IdentityError> {
    if dir.is_dir() {
        return Ok(());
    }
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    created.map_err(|source| IdentityError::Io { path: dir.to_path_buf(), source })
}

/// Replaces `path` (0600) as a whole or not at all: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let failed = |source: io::Error| IdentityError::Io { path: path.to_path_buf(), source };
    let temporary = temporary_beside(path);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Can an identity be written to `dir`, if it is there? Told by writing as much and removing it again.
pub(crate) fn check_room(dir: &Path) -> Result<(), IdentityError> {
    if !dir.is_dir() {
        return Ok(());
    }
    let path = temporary_beside(&dir.join("room"));
    let written =
        fs::write(&path, [0; ROOM_BYTES]).map_err(|source| IdentityError::Io { path: dir.to_path_buf(), source });
    let _ = fs::remove_file(&path);
    written
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Reads a private file; warns when others may read it too.
pub(crate) fn read_private(path: &Path) -> Result<Option<Vec<u8>>, IdentityError> {
    let contents = match fs::read(path) {
        Ok(contents) => contents,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Io { path: path.to_path_buf(), source }),
    };
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path.display(), "others can read this private file; run chmod 600 on it");
    }
    Ok(Some(contents))
}
