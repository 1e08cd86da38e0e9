//! What an agent keeps beside its identity: the engine's state, and the members it was told of when it joined.

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

/// The files of one data directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The files in `dir`, which exists.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Where the engine's state is.
    pub fn state_path(&self) -> PathBuf {
        self.dir.join(STATE)
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
        replace(&self.state_path(), bytes)
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
        replace(&self.dir.join(BOOTS), format!("{boots}\n").as_bytes())
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

    /// Replaces a file of the directory.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.dir.join(name), bytes)
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
        replace(&self.dir.join(ADDRESS), format!("{address}\n").as_bytes())
    }

    /// Replaces the members known from joining.
    ///
    /// # Errors
    /// When they could not be written.
    pub fn write_contacts(&self, contacts: &[(AgentId, SocketAddr)]) -> io::Result<()> {
        replace(&self.dir.join(CONTACTS), &serde_json::to_vec(contacts)?)
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
}
