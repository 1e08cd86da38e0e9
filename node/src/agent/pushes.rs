//! What instances say of themselves: takes their words, stores them, and has the engine look at once.

use super::drive::Ask;
use super::published::Published;
use super::store::Store;
use quorate_core::check::PushCheck;
use quorate_core::{CheckKind, Grade, InstanceId};
use quorate_mesh::Command;
use quorate_probe::{Prober, Pushed};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// The words are stored at most this often.
const STORE_EVERY: Duration = Duration::from_secs(1);

/// Where instances of this agent tell how they are.
#[derive(Debug, Clone)]
pub struct Pushes {
    prober: Arc<Prober>,
    published: Arc<Published>,
    asks: mpsc::Sender<Ask>,
    news: Arc<Notify>,
}

/// Why a word was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Untaken {
    /// This agent is home to no such instance with a push check.
    Unknown,
    /// The token is another.
    WrongToken,
    /// The token that is to be compared cannot be read here.
    NoToken(String),
}

impl Pushes {
    /// Takes up what was stored, and begins to store what comes. `None` for the store: nothing is kept.
    pub fn new(prober: Arc<Prober>, published: Arc<Published>, asks: mpsc::Sender<Ask>, store: Option<Store>) -> Self {
        let news = Arc::new(Notify::new());
        if let Some(store) = store {
            for (instance, pushed) in store.pushes() {
                prober.pushes().restore(instance, pushed);
            }
            tokio::spawn(keep(store, Arc::clone(&prober), Arc::clone(&news)));
        }
        Self { prober, published, asks, news }
    }

    /// Takes a word of `instance`, if `token` is the one of its check.
    ///
    /// # Errors
    /// Why it was not taken; nothing has changed then.
    pub async fn take(&self, instance: &InstanceId, token: &str, status: Grade, output: String) -> Result<(), Untaken> {
        let check = self.check(instance).ok_or(Untaken::Unknown)?;
        match self.prober.admits_push(&check, token).await {
            Ok(true) => {}
            Ok(false) => return Err(Untaken::WrongToken),
            Err(failure) => return Err(Untaken::NoToken(failure.detail)),
        }
        self.prober.pushes().put(instance.clone(), Pushed::now(status, output));
        self.news.notify_one();
        // The engine's loop lives as long as the process.
        let _ = self.asks.send(Ask::Command(Command::Look(instance.clone()))).await;
        Ok(())
    }

    fn check(&self, instance: &InstanceId) -> Option<PushCheck> {
        let view = self.published.view();
        let known = view.instances.get(instance).filter(|known| known.home == view.agent)?;
        match &known.registration.as_ref()?.check.kind {
            CheckKind::Push(check) => Some(check.clone()),
            _ => None,
        }
    }
}

async fn keep(store: Store, prober: Arc<Prober>, news: Arc<Notify>) {
    loop {
        news.notified().await;
        let mut failed = false;
        // What could not be stored is tried again without further news.
        while let Err(error) = write(&store, &prober).await {
            if !failed {
                tracing::warn!(%error, "what instances told could not be stored; a restart would forget it");
            }
            failed = true;
            tokio::time::sleep(STORE_EVERY).await;
        }
        tokio::time::sleep(STORE_EVERY).await;
    }
}

async fn write(store: &Store, prober: &Prober) -> std::io::Result<()> {
    let (store, all) = (store.clone(), prober.pushes().all());
    // When the process ends it is not carried out; nothing is to be tried again then.
    tokio::task::spawn_blocking(move || store.write_pushes(&all)).await.unwrap_or(Ok(()))
}

impl Store {
    /// What instances said last. A damaged file counts as none: they will speak again.
    pub fn pushes(&self) -> BTreeMap<InstanceId, Pushed> {
        serde_json::from_slice(&self.bytes(PUSHES).unwrap_or_default()).unwrap_or_default()
    }

    /// Replaces it.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn write_pushes(&self, pushes: &BTreeMap<InstanceId, Pushed>) -> std::io::Result<()> {
        self.write(PUSHES, &serde_json::to_vec(pushes)?)
    }
}

const PUSHES: &str = "pushes.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_that_cannot_be_stored_are_tried_again_without_news() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let in_the_way = dir.path().join("pushes.tmp");
        std::fs::create_dir(&in_the_way).unwrap();
        let prober = Arc::new(Prober::new(quorate_probe::Limits::default(), quorate_probe::Own::default()));
        let (news, said) = (Arc::new(Notify::new()), Pushed::now(Grade::Warn, "late".to_owned()));
        prober.pushes().put(InstanceId::new("job@a:1").unwrap(), said);
        tokio::spawn(keep(store.clone(), prober, Arc::clone(&news)));
        news.notify_one();
        let until = async |failing: usize| {
            while store.storing().failing() != failing {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until(1)).await.unwrap();
        assert!(store.pushes().is_empty());
        std::fs::remove_dir(&in_the_way).unwrap();
        tokio::time::timeout(Duration::from_secs(20), until(0)).await.unwrap();
        assert_eq!(store.pushes().len(), 1);
    }

    #[test]
    fn words_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert!(store.pushes().is_empty());
        let said = BTreeMap::from([(InstanceId::new("job@a:1").unwrap(), Pushed::now(Grade::Warn, "late".to_owned()))]);
        store.write_pushes(&said).unwrap();
        assert_eq!(Store::new(dir.path()).pushes(), said);
        std::fs::write(dir.path().join(PUSHES), "{").unwrap();
        assert!(store.pushes().is_empty());
    }
}
