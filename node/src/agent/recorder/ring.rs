//! The files of a recording: the current one and the one before it, which together never exceed their bound.

use quorate_mesh::recording::MAGIC;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A recording on disk.
#[derive(Debug)]
pub struct Ring {
    path: PathBuf,
    /// Most bytes of each file.
    limit: u64,
    current: Option<(File, u64)>,
}

/// Where the file before the current one is.
pub fn older(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".old");
    name.into()
}

impl Ring {
    /// A recording at `path`, of at most `max_bytes` in both files together.
    ///
    /// # Errors
    /// When there is something else in its place, or nothing can be written there.
    pub fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let old = older(path);
        for file in [path, &old] {
            replaceable(file)?;
        }
        let limit = max_bytes / 2;
        // The bound may have been larger before.
        if fs::metadata(&old).is_ok_and(|found| found.len() > limit) {
            fs::remove_file(&old)?;
        }
        if fs::metadata(path).is_ok_and(|found| found.len() > limit) {
            fs::remove_file(path)?;
        }
        // Found out now rather than when the engine has started.
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_path_buf(), limit, current: None })
    }

    /// Most bytes of each file.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Begins a new file with `bytes`; what was current is then the file before, and the one before that is gone.
    ///
    /// # Errors
    /// When it cannot be written, or `bytes` exceed the bound.
    pub fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.current = None;
        if fs::metadata(&self.path).is_ok_and(|found| found.len() > 0) {
            fs::rename(&self.path, older(&self.path))?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        self.current = Some((file, 0));
        self.append(bytes)
    }

    /// Adds `bytes`, whole or not at all.
    ///
    /// # Errors
    /// When they cannot be written, or would exceed the bound.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((file, written)) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let after = written.saturating_add(length);
        if after > self.limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a record is larger than record.max_bytes allows"));
        }
        // What was written in part would only take space where there is none.
        file.write_all(bytes).inspect_err(|_| drop(file.set_len(*written)))?;
        *written = after;
        Ok(())
    }

    /// Bytes of both files.
    pub fn bytes(&self) -> u64 {
        let old = fs::metadata(older(&self.path)).map_or(0, |found| found.len());
        old + self.current.as_ref().map_or(0, |(_, written)| *written)
    }
}

/// Nothing but a recording may be replaced by one.
fn replaceable(path: &Path) -> io::Result<()> {
    let mut mark = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut mark)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if mark.is_empty() || MAGIC.starts_with(&mark) {
        return Ok(());
    }
    let message = format!("{} is there and is not a recording; it is left alone", path.display());
    Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn content(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap_or_default()
    }

    #[test]
    fn two_files_take_turns_within_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recording");
        let mut ring = Ring::open(&path, 100).unwrap();
        for round in 0..5_u8 {
            ring.begin(&[round; 20]).unwrap();
            assert!(ring.append(&[round; 40]).is_err());
            ring.append(&[round; 30]).unwrap();
            assert_eq!(ring.append(&[0]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            let (new, old) = (content(&path), content(&older(&path)));
            assert_eq!(new, [round; 50]);
            assert_eq!(old, vec![round.wrapping_sub(1); if round == 0 { 0 } else { 50 }]);
            assert_eq!(ring.bytes(), (new.len() + old.len()) as u64);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_an_earlier_process_recorded_is_kept_within_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recording");
        for max_bytes in [100, 100, 60] {
            let mut ring = Ring::open(&path, max_bytes).unwrap();
            ring.begin(MAGIC).unwrap();
            ring.append(&[1; 30][..usize::try_from(max_bytes / 2).unwrap() - 20]).unwrap();
            assert!(ring.bytes() <= max_bytes, "{}", ring.bytes());
        }
        // 36 bytes were too many for the third, of which each file may have 30.
        assert_eq!((content(&path).len(), content(&older(&path)).len()), (16, 0));
    }

    #[test]
    fn nothing_else_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.bin");
        fs::write(&path, "precious").unwrap();
        assert_eq!(Ring::open(&path, 100).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(content(&path), b"precious");
        let beside = dir.path().join("recording");
        fs::write(older(&beside), "precious").unwrap();
        assert!(Ring::open(&beside, 100).is_err());
        assert!(Ring::open(&dir.path().join("absent/recording"), 100).is_err());
    }
}
