//! What an agent keeps beside its identity: the engine's state, and the members it was told of when it joined.

use super::storing::Storing;
use quorate_core::AgentId;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const STATE: &str = "state.bin";
const CONTACTS: &str = "contacts.json";
const ADDRESS: &str = "address";
const BOOTS: &str = "boots";
const LEFT: &str = "left";
const FORMAT_FILE: &str = "format";

/// How the files of a data directory are written; the file `format` has the number. It grows when an older release could no longer read one of
/// them. In format 1 there was no such file, and the state had no mark of its own.
pub const FORMAT: u32 = 2;

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Written by a later release.
    #[error(
        "{} has format {found}, this release knows up to {FORMAT}: run the release that wrote it, or use another data directory and join again",
        .dir.display()
    )]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The number cannot be read.
    #[error("{} holds no number: restore it, or remove it if this release or an earlier one wrote the directory", .0.display())]
    Damaged(PathBuf),
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// The files of one data directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    storing: Storing,
}

impl Store {
    /// The files in `dir`, which exists.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf(), storing: Storing::default() }
    }

    /// Which of the files could not be written the last time.
    pub fn storing(&self) -> &Storing {
        &self.storing
    }

    /// Refuses what a later release has written; nothing has been changed then.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn check_format(&self) -> Result<(), FormatError> {
        self.format().map(drop)
    }

    /// Brings a directory of an earlier release forward, and notes the format. Its files are each read as they are and written anew as they
    /// change, so that there is nothing else to do from format 1 to 2.
    ///
    /// # Errors
    /// [`FormatError`], as [`Store::check_format`].
    pub fn migrate(&self) -> Result<(), FormatError> {
        let found = self.format()?;
        if found == Some(FORMAT) {
            return Ok(());
        }
        if let Some(from) = self.earlier(found) {
            tracing::info!(dir = %self.dir.display(), from, to = FORMAT, "data directory brought forward");
        }
        let written = self.write(FORMAT_FILE, format!("{FORMAT}\n").as_bytes());
        written.map_err(|source| FormatError::Io { path: self.path(FORMAT_FILE), source })
    }

    /// The format that an earlier release left; the first one was not noted, and a new directory has none.
    fn earlier(&self, found: Option<u32>) -> Option<u32> {
        found.or_else(|| (self.boots() > 0).then_some(1))
    }

    fn format(&self) -> Result<Option<u32>, FormatError> {
        let path = self.dir.join(FORMAT_FILE);
        let Some(bytes) = read(&path).map_err(|source| FormatError::Io { path: path.clone(), source })? else {
            return Ok(None);
        };
        let number = String::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok());
        match number {
            None | Some(0) => Err(FormatError::Damaged(path)),
            Some(found) if found > FORMAT => Err(FormatError::Newer { dir: self.dir.clone(), found }),
            known => Ok(known),
        }
    }

    /// Where the engine's state is.
    pub fn state_path(&self) -> PathBuf {
        self.path(STATE)
    }

    /// The engine's state, if there is any.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn state(&self) -> io::Result<Option<Vec<u8>>> {
        read(&self.state_path())
    }

    /// Replaces the engine's state, durably.
    ///
    /// # Errors
    /// When it could not be written; the former state is then still there.
    pub fn write_state(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(STATE, bytes)
    }

    /// How often the agent has been started, kept apart from the state: it must go on counting when that is lost. Zero when unknown.
    pub fn boots(&self) -> u32 {
        let bytes = read(&self.dir.join(BOOTS)).ok().flatten().unwrap_or_default();
        String::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Notes how often the agent has been started.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn write_boots(&self, boots: u32) -> io::Result<()> {
        self.write(BOOTS, format!("{boots}\n").as_bytes())
    }

    /// When this agent left the mesh for good, in words; nothing while it belongs to it.
    pub fn left(&self) -> Option<String> {
        let bytes = self.bytes(LEFT)?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Notes that this agent has left the mesh for good, and when.
    ///
    /// # Errors
    /// When it could not be written; the agent then comes back with its next start.
    pub fn write_left(&self, when: &str) -> io::Result<()> {
        self.write(LEFT, format!("{when}\n").as_bytes())
    }

    /// This agent belongs to the mesh again.
    ///
    /// # Errors
    /// When the note could not be taken away.
    pub fn forget_left(&self) -> io::Result<()> {
        match fs::remove_file(self.dir.join(LEFT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A file of the directory, if it is there and can be read.
    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        read(&self.dir.join(name)).ok().flatten()
    }

    /// Where a file of the directory is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Replaces a file of the directory, and notes how that went.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let written = replace(&path, bytes);
        self.storing.note(&path, &written);
        written
    }

    /// The members known from joining. A damaged file counts as none: it is only a help.
    pub fn contacts(&self) -> Vec<(AgentId, SocketAddr)> {
        let bytes = read(&self.dir.join(CONTACTS)).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Where others last reached this agent, for the line that joins another host.
    pub fn address(&self) -> Option<SocketAddr> {
        let bytes = read(&self.dir.join(ADDRESS)).ok().flatten()?;
        String::from_utf8(bytes).ok()?.trim().parse().ok()
    }

    /// Notes where others reach this agent.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn write_address(&self, address: SocketAddr) -> io::Result<()> {
        self.write(ADDRESS, format!("{address}\n").as_bytes())
    }

    /// Replaces the members known from joining.
    ///
    /// # Errors
    /// When they could not be written.
    pub fn write_contacts(&self, contacts: &[(AgentId, SocketAddr)]) -> io::Result<()> {
        self.write(CONTACTS, &serde_json::to_vec(contacts)?)
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces a file as a whole or not at all: a temporary file, fsync, rename, fsync of the directory.
///
/// # Errors
/// When it could not be written; the former file is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    // What was written in part would only take space where there is none.
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_contacts_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!((store.state().unwrap(), store.contacts()), (None, Vec::new()));
        store.write_state(b"one").unwrap();
        store.write_state(b"two").unwrap();
        let contacts = vec![(AgentId(7), SocketAddr::from(([10, 0, 0, 1], 7700)))];
        store.write_contacts(&contacts).unwrap();
        assert_eq!(store.state().unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(store.contacts(), contacts);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_cannot_be_written_is_noted_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let in_the_way = dir.path().join("state.tmp");
        fs::create_dir(&in_the_way).unwrap();
        store.write_state(b"one").unwrap_err();
        store.write_boots(1).unwrap();
        let said = format!("{} cannot be stored: Is a directory (os error 21)", store.state_path().display());
        assert_eq!(store.clone().storing().fault(), Some(said));
        fs::remove_dir(&in_the_way).unwrap();
        store.write_state(b"one").unwrap();
        assert_eq!(store.storing().fault(), None);
    }

    #[test]
    fn a_leave_is_noted_until_the_agent_returns() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.forget_left().unwrap();
        assert_eq!(store.left(), None);
        store.write_left("2026-11-21T07:00:00.000Z").unwrap();
        assert_eq!(Store::new(dir.path()).left().as_deref(), Some("2026-11-21T07:00:00.000Z"));
        store.forget_left().unwrap();
        assert_eq!(store.left(), None);
    }

    /// What a release before the number wrote, as files.
    fn first_format() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/data-dir-format-1");
        for entry in fs::read_dir(golden).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        dir
    }

    #[test]
    fn the_first_format_is_read_and_brought_forward() {
        let dir = first_format();
        let store = Store::new(dir.path());
        let new = tempfile::tempdir().unwrap();
        assert_eq!(
            (store.earlier(None), Store::new(new.path()).earlier(None)),
            (Some(1), None),
            "what is new has no past"
        );
        for _ in 0..2 {
            store.check_format().unwrap();
            store.migrate().unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), "2\n");
            assert_eq!(store.boots(), 7);
            assert_eq!(store.address(), Some(SocketAddr::from(([10, 0, 0, 1], 7700))));
            let contacts = [(AgentId(0x0123_4567_89ab_cdef), SocketAddr::from(([10, 0, 0, 2], 7700)))];
            assert_eq!(store.contacts(), contacts);
        }
    }

    #[test]
    fn what_is_written_is_what_the_first_format_had() {
        let golden = first_format();
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.write_boots(7).unwrap();
        store.write_address(SocketAddr::from(([10, 0, 0, 1], 7700))).unwrap();
        store.write_contacts(&[(AgentId(0x0123_4567_89ab_cdef), SocketAddr::from(([10, 0, 0, 2], 7700)))]).unwrap();
        for name in [BOOTS, ADDRESS, CONTACTS] {
            let read = |dir: &tempfile::TempDir| fs::read_to_string(dir.path().join(name)).unwrap();
            assert_eq!(read(&dir), read(&golden), "{name}");
        }
    }

    #[test]
    fn what_a_later_release_wrote_is_refused_and_left_as_it_is() {
        let dir = first_format();
        let store = Store::new(dir.path());
        for (content, says) in
            [("3\n", "has format 3, this release knows up to 2"), ("0", "holds no number"), ("x", "holds no number")]
        {
            fs::write(dir.path().join("format"), content).unwrap();
            for refused in [store.check_format(), store.migrate()] {
                let said = refused.unwrap_err().to_string();
                assert!(said.contains(says), "{said}");
            }
            assert_eq!(fs::read_to_string(dir.path().join("format")).unwrap(), content);
        }
    }
}
