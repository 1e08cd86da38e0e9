//! Stores the engine's state on a thread of its own. The engine waits only where what it says next relies on it: a disk that takes seconds would
//! else silence the agent, and the others would take its host for down.

use super::store::Store;
use crate::metrics::Metrics;
use std::future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What could not be stored is tried again after this time.
const STORE_AGAIN: Duration = Duration::from_secs(2);

/// How a state was stored, when that began, and how many bytes it has.
type Written = (io::Result<()>, Instant, usize);

/// Stores one state at a time.
pub struct Persisting {
    store: Store,
    metrics: Arc<Metrics>,
    writing: Option<JoinHandle<Written>>,
    /// From when on what is known now is to be stored, when nothing else is being stored.
    due: Option<Instant>,
}

impl Persisting {
    /// Nothing is stored yet.
    pub fn new(store: Store, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, writing: None, due: None }
    }

    /// The state is to be stored, however long it takes.
    pub fn ask(&mut self) {
        self.due = Some(Instant::now());
    }

    /// Is it time to begin?
    pub fn is_due(&self) -> bool {
        self.writing.is_none() && self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Begins to store a state, unless one is being stored.
    pub fn begin(&mut self, state: Vec<u8>) {
        if self.writing.is_none() {
            let (store, begun) = (self.store.clone(), Instant::now());
            let write = move || (store.write_state(&state), begun, state.len());
            self.writing = Some(tokio::task::spawn_blocking(write));
            self.due = None;
        }
    }

    /// Stores a state, and waits until that is done or has failed.
    pub async fn before_more(&mut self, state: Vec<u8>) {
        if self.writing.is_some() {
            self.finished().await;
        }
        self.begin(state);
        self.finished().await;
    }

    /// Waits until what is being stored is stored, or has failed; for ever when nothing is. May be broken off and called again.
    pub async fn finished(&mut self) {
        let Some(writing) = &mut self.writing else { return future::pending().await };
        let written = writing.await;
        self.writing = None;
        let (result, begun, bytes) = match written {
            Ok(written) => written,
            // The process is ending: what was stored before stays.
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                let broke_off = Err(io::Error::other(error));
                self.store.storing().note(&self.store.state_path(), &broke_off);
                (broke_off, Instant::now(), 0)
            }
        };
        self.metrics.persisted(begun.elapsed(), bytes, result.is_ok());
        if let Err(error) = result {
            // The engine will not ask for it before something changes again; the disk may have space before that.
            self.due = Some(Instant::now() + STORE_AGAIN);
            let path = self.store.state_path();
            tracing::error!(
                %error, path = %path.display(),
                "the state could not be stored; see that its directory can be written and has space"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

    /// A disk that takes its time: who opens the temporary file waits until somebody reads it.
    #[tokio::test]
    async fn a_disk_that_takes_its_time_holds_up_nobody_who_need_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let mut persisting = Persisting::new(store.clone(), Arc::new(Metrics::new().unwrap()));
        let slow = dir.path().join("state.tmp");
        nix::unistd::mkfifo(&slow, Mode::S_IRWXU).unwrap();
        persisting.ask();
        assert!(persisting.is_due());
        persisting.begin(b"one".to_vec());
        tokio::select! {
            biased;
            () = persisting.finished() => panic!("nobody has read it"),
            () = future::ready(()) => {}
        }
        persisting.ask();
        assert!(!persisting.is_due(), "one at a time");
        let reader = tokio::task::spawn_blocking(move || std::fs::read(slow));
        persisting.finished().await;
        assert_eq!(reader.await.unwrap().unwrap(), b"one");
        // What is no disk cannot be synchronised: to be stored again, but not at once.
        assert!(store.storing().fault().is_some() && !persisting.is_due());
        persisting.before_more(b"two".to_vec()).await;
        assert_eq!(store.state().unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(store.storing().fault(), None);
    }
}
