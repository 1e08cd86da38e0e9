//! The instances this agent is home to: those of its configuration, and those registered by the API; and what operators want of them. What
//! comes by the API is kept in `registrations.json` of the data directory, so that a restart withdraws nothing.

use super::clock::wall;
use super::drive::Ask;
use super::store::Store;
use crate::config::{Configured, MAX_INSTANCES, Objective, Requested};
use anyhow::Context;
use quorate_core::{InstanceId, Intent, Registration, ServiceName, UnixMs};
use quorate_mesh::Command;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

const FILE: &str = "registrations.json";
/// Instances registered by the API at most.
pub const MAX_REGISTERED: usize = 1024;
/// How often it is looked for what is over.
const TURN: Duration = Duration::from_secs(1);

/// An instance registered by the API.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    /// As the mesh knows it.
    pub registration: Registration,
    /// The objective of its service, where it was stated.
    #[serde(default)]
    pub objective: Option<Objective>,
    /// The token that registered it.
    pub owner: String,
    /// It is withdrawn when it is not registered again for so long, milliseconds.
    pub ttl_ms: Option<u64>,
    /// When it was last registered, Unix milliseconds.
    pub renewed_unix_ms: u64,
}

/// What is kept on the disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    registered: BTreeMap<String, Registered>,
    intents: BTreeMap<String, Intent>,
}

#[derive(Debug, Default)]
struct State {
    configured: Configured,
    kept: Kept,
}

/// Why something was not registered or changed.
#[derive(Debug)]
pub enum NotDone {
    /// The configuration names the instance.
    Configured,
    /// Another token registered it.
    AnothersToken,
    /// There are as many as there may be; this many.
    TooMany(usize),
    /// This agent is not its home.
    NotHere,
    /// It could not be stored; nothing was changed.
    Unstored(anyhow::Error),
}

/// All of them, and how to tell the engine.
#[derive(Debug)]
pub struct Registrar {
    store: Store,
    state: Mutex<State>,
    asks: OnceLock<mpsc::Sender<Ask>>,
}

impl Registrar {
    /// The instances of the configuration, and those that are kept in `store`. Whoever registered one with a time has that time anew.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn load(store: Store, configured: Configured) -> anyhow::Result<Self> {
        let path = store.path(FILE);
        let mut kept: Kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is damaged: restore it, or remove it and register its instances again", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(error) => return Err(error).context(path.display().to_string()),
        };
        let now = wall().0;
        kept.registered.values_mut().for_each(|registered| registered.renewed_unix_ms = now);
        // The configuration goes first.
        kept.registered.retain(|id, _| !is_configured(&configured, id));
        Ok(Self { store, state: Mutex::new(State { configured, kept }), asks: OnceLock::new() })
    }

    /// All of them, as the mesh is to know them.
    pub fn registrations(&self) -> Vec<Registration> {
        self.lock().registrations()
    }

    /// What each service with an instance here is held to: the strictest of what was stated here, if anything was.
    pub fn objectives(&self) -> BTreeMap<ServiceName, Option<Objective>> {
        self.lock().objectives()
    }

    /// Was this registered by the API, so that whoever has a token aims this agent?
    pub fn is_registered(&self, id: &InstanceId) -> bool {
        self.lock().kept.registered.contains_key(id.as_str())
    }

    /// Tells the engine from now on, and takes back what is over.
    pub fn attach(self: &Arc<Self>, asks: mpsc::Sender<Ask>) {
        let _ = self.asks.set(asks);
        let this = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TURN).await;
                if let Err(error) = this.end_what_is_over(wall()).await {
                    tracing::error!(?error, "what is over could not be taken back");
                }
                let this = Arc::clone(&this);
                // A fault in there ends one turn.
                let _ = tokio::task::spawn_blocking(move || this.store_again()).await;
            }
        });
    }

    /// Registers an instance, or renews it. `operator`: whose token may do everything.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn register(&self, requested: Requested, (owner, operator): (&str, bool)) -> Result<(), NotDone> {
        let Requested { registration, objective, ttl } = requested;
        let id = registration.instance.to_string();
        self.change(|state| {
            if is_configured(&state.configured, &id) {
                return Err(NotDone::Configured);
            }
            match state.kept.registered.get(&id) {
                Some(known) if known.owner != owner && !operator => return Err(NotDone::AnothersToken),
                Some(_) => {}
                None if state.kept.registered.len() >= MAX_REGISTERED => {
                    return Err(NotDone::TooMany(MAX_REGISTERED));
                }
                None if state.configured.registrations.len() + state.kept.registered.len() >= MAX_INSTANCES => {
                    return Err(NotDone::TooMany(MAX_INSTANCES));
                }
                None => {}
            }
            let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            let renewed_unix_ms = wall().0;
            let registered = Registered { registration, objective, owner: owner.to_owned(), ttl_ms, renewed_unix_ms };
            state.kept.registered.insert(id, registered);
            Ok(())
        })
        .await
    }

    /// Withdraws an instance that was registered by the API.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn withdraw(&self, id: &InstanceId, (owner, operator): (&str, bool)) -> Result<(), NotDone> {
        self.change(|state| {
            if is_configured(&state.configured, id.as_str()) {
                return Err(NotDone::Configured);
            }
            let known = state.kept.registered.get(id.as_str()).ok_or(NotDone::NotHere)?;
            if known.owner != owner && !operator {
                return Err(NotDone::AnothersToken);
            }
            state.kept.registered.remove(id.as_str());
            state.kept.intents.remove(id.as_str());
            Ok(())
        })
        .await
    }

    /// Takes other instances of the configuration. What the API has registered under the same names gives way.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn configure(&self, configured: Configured) -> Result<(), NotDone> {
        self.change(|state| {
            state.kept.registered.retain(|id, _| !is_configured(&configured, id));
            let registered = &state.kept.registered;
            state.kept.intents.retain(|id, _| is_configured(&configured, id) || registered.contains_key(id));
            state.configured = configured;
            Ok(())
        })
        .await
    }

    /// Notes what an operator wants of an instance; `None` takes it back.
    ///
    /// # Errors
    /// See [`NotDone`].
    pub async fn want(&self, id: &InstanceId, intent: Option<Intent>) -> Result<(), NotDone> {
        self.change(|state| {
            if !state.registrations().iter().any(|known| known.instance == *id) {
                return Err(NotDone::NotHere);
            }
            match intent {
                Some(intent) => state.kept.intents.insert(id.to_string(), intent),
                None => state.kept.intents.remove(id.as_str()),
            };
            Ok(())
        })
        .await
    }

    /// Changes the state as a whole or not at all: first on the disk, then in memory and in the engine.
    async fn change(&self, work: impl FnOnce(&mut State) -> Result<(), NotDone>) -> Result<(), NotDone> {
        let registrations = {
            let mut state = self.lock();
            let mut next = State { configured: state.configured.clone(), kept: state.kept.clone() };
            work(&mut next)?;
            self.keep(&next.kept).map_err(|error| {
                NotDone::Unstored(anyhow::Error::new(error).context(self.store.path(FILE).display().to_string()))
            })?;
            *state = next;
            state.registrations()
        };
        if let Some(asks) = self.asks.get() {
            // Fails when the agent ends; the file has it for the next start.
            let _ = asks.send(Ask::Command(Command::Register(registrations))).await;
        }
        Ok(())
    }

    fn keep(&self, kept: &Kept) -> std::io::Result<()> {
        self.store.write(FILE, &serde_json::to_vec_pretty(kept)?)
    }

    /// Tries the disk with what is kept already, after it has refused a change: nobody may ask for another one soon.
    fn store_again(&self) {
        let state = self.lock();
        if self.store.storing().fails(&self.store.path(FILE)) && self.keep(&state.kept).is_ok() {
            tracing::info!("registrations can be stored again");
        }
    }

    async fn end_what_is_over(&self, now: UnixMs) -> Result<(), NotDone> {
        let late = |registered: &Registered| {
            registered.ttl_ms.is_some_and(|ttl| now.0.saturating_sub(registered.renewed_unix_ms) >= ttl)
        };
        let over = |intent: &Intent| intent.until.is_some_and(|until| until <= now);
        let due = {
            let state = self.lock();
            state.kept.registered.values().any(late) || state.kept.intents.values().any(over)
        };
        if !due {
            return Ok(());
        }
        self.change(|state| {
            state.kept.registered.retain(|id, registered| {
                let keep = !late(registered);
                if !keep {
                    tracing::info!(instance = id, "the registration was not renewed in time; it is withdrawn");
                }
                keep
            });
            state.kept.intents.retain(|_, intent| !over(intent));
            Ok(())
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_configured(configured: &Configured, id: &str) -> bool {
    configured.registrations.iter().any(|registration| registration.instance.as_str() == id)
}

impl State {
    fn objectives(&self) -> BTreeMap<ServiceName, Option<Objective>> {
        let registered = || self.kept.registered.values();
        let here = self.configured.registrations.iter().chain(registered().map(|one| &one.registration));
        let mut objectives: BTreeMap<_, _> = here.map(|registration| (registration.service.clone(), None)).collect();
        let said = registered().filter_map(|one| Some((&one.registration.service, one.objective?)));
        for (service, objective) in self.configured.objectives.iter().map(|(service, one)| (service, *one)).chain(said)
        {
            objectives.entry(service.clone()).and_modify(|known| *known = (*known).max(Some(objective)));
        }
        objectives
    }

    fn registrations(&self) -> Vec<Registration> {
        let registered = self.kept.registered.values().map(|registered| &registered.registration);
        let with_intent = |registration: &Registration| {
            let mut registration = registration.clone();
            registration.placement.intent = self.kept.intents.get(registration.instance.as_str()).cloned();
            registration
        };
        self.configured.registrations.iter().chain(registered).map(with_intent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Check, IntentKind, Placement, ServiceName};

    fn registration(id: &str) -> Registration {
        Registration {
            instance: InstanceId::new(id).unwrap(),
            service: ServiceName::new("web").unwrap(),
            address: "10.0.0.1:80".to_owned(),
            check: Check::default().into(),
            observers: 5,
            placement: Placement::default(),
        }
    }

    fn requested(id: &str) -> Requested {
        Requested { registration: registration(id), objective: None, ttl: None }
    }

    fn configured(ids: &[&str]) -> Configured {
        Configured { registrations: ids.iter().map(|id| registration(id)).collect(), ..Configured::default() }
    }

    fn intent(until: Option<UnixMs>) -> Intent {
        Intent { kind: IntentKind::Draining, owner: "ann".into(), reason: String::new(), since: UnixMs(1), until }
    }

    fn ids(registrar: &Registrar) -> Vec<String> {
        registrar.registrations().iter().map(|registration| registration.instance.to_string()).collect()
    }

    #[tokio::test]
    async fn who_owns_what() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = Registrar::load(Store::new(dir.path()), configured(&["web@1"])).unwrap();
        let register = |id: &str, by: (&'static str, bool)| registrar.register(requested(id), by);
        assert!(matches!(register("web@1", ("a", true)).await, Err(NotDone::Configured)));
        register("web@2", ("a", false)).await.unwrap();
        register("web@2", ("a", false)).await.unwrap();
        assert!(matches!(register("web@2", ("b", false)).await, Err(NotDone::AnothersToken)));
        let id = InstanceId::new("web@2").unwrap();
        assert!(matches!(registrar.withdraw(&id, ("b", false)).await, Err(NotDone::AnothersToken)));
        assert_eq!(ids(&registrar), ["web@1", "web@2"]);
        registrar.withdraw(&id, ("b", true)).await.unwrap();
        assert!(matches!(registrar.withdraw(&id, ("b", true)).await, Err(NotDone::NotHere)));
        assert!(matches!(registrar.want(&id, Some(intent(None))).await, Err(NotDone::NotHere)));
    }

    #[tokio::test]
    async fn what_was_registered_outlives_the_process_and_the_configuration_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = Registrar::load(Store::new(dir.path()), configured(&["web@1"])).unwrap();
        registrar.register(requested("web@2"), ("a", false)).await.unwrap();
        registrar.want(&InstanceId::new("web@1").unwrap(), Some(intent(None))).await.unwrap();
        let again = Registrar::load(Store::new(dir.path()), configured(&["web@1"])).unwrap();
        assert_eq!(ids(&again), ["web@1", "web@2"]);
        assert_eq!(again.registrations()[0].placement.intent, Some(intent(None)));
        let other = Registrar::load(Store::new(dir.path()), configured(&["web@2"])).unwrap();
        assert_eq!(ids(&other), ["web@2"]);
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(
            Registrar::load(Store::new(dir.path()), Configured::default())
                .unwrap_err()
                .to_string()
                .contains("is damaged")
        );
    }

    #[tokio::test]
    async fn what_a_disk_refused_stays_told_while_it_is_tried_in_vain() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = Registrar::load(Store::new(dir.path()), Configured::default()).unwrap();
        let in_the_way = dir.path().join("registrations.tmp");
        std::fs::create_dir(&in_the_way).unwrap();
        assert!(registrar.register(requested("web@2"), ("a", false)).await.is_err());
        for _ in 0..2 {
            assert_eq!(registrar.store.storing().failing(), 1);
            registrar.store_again();
        }
        std::fs::remove_dir(&in_the_way).unwrap();
        registrar.store_again();
        assert_eq!(registrar.store.storing().failing(), 0);
    }

    #[tokio::test]
    async fn the_strictest_objective_that_is_stated_holds() {
        let dir = tempfile::tempdir().unwrap();
        let objective = |ratio: &str| Some(serde_json::from_str::<Objective>(ratio).unwrap());
        let mut file = configured(&["web@1"]);
        file.objectives.insert(ServiceName::new("web").unwrap(), objective("990000").unwrap());
        let registrar = Registrar::load(Store::new(dir.path()), file).unwrap();
        let held = |registrar: &Registrar| {
            let objectives = registrar.objectives();
            objectives.values().map(|one| one.unwrap_or_default().ratio()).collect::<Vec<_>>()
        };
        assert_eq!(held(&registrar), [0.99], "also below the default");
        for (stated, expected) in [(objective("999000"), 0.999), (objective("950000"), 0.99), (None, 0.99)] {
            let requested = Requested { objective: stated, ..requested("web@2") };
            registrar.register(requested, ("a", false)).await.unwrap();
            assert_eq!(held(&registrar), [expected]);
            let again = Registrar::load(Store::new(dir.path()), configured(&["web@1"])).unwrap();
            assert_eq!(held(&again), [stated.unwrap_or_default().ratio()], "what was registered outlives the process");
        }
        registrar.configure(configured(&["web@1"])).await.unwrap();
        assert_eq!(held(&registrar), [0.995]);
        registrar.configure(Configured::default()).await.unwrap();
        registrar.withdraw(&InstanceId::new("web@2").unwrap(), ("a", false)).await.unwrap();
        assert!(held(&registrar).is_empty(), "only of what has an instance here");
    }

    #[tokio::test]
    async fn another_configuration_keeps_what_operators_want() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = Registrar::load(Store::new(dir.path()), configured(&["web@1", "web@2"])).unwrap();
        registrar.want(&InstanceId::new("web@1").unwrap(), Some(intent(None))).await.unwrap();
        registrar.want(&InstanceId::new("web@2").unwrap(), Some(intent(None))).await.unwrap();
        registrar.configure(configured(&["web@1", "web@3"])).await.unwrap();
        let found = registrar.registrations();
        assert_eq!(ids(&registrar), ["web@1", "web@3"]);
        assert!(found[0].placement.intent.is_some() && found[1].placement.intent.is_none());
        registrar.configure(configured(&["web@2"])).await.unwrap();
        assert!(registrar.registrations()[0].placement.intent.is_none(), "it went with its instance");
    }

    #[tokio::test]
    async fn what_is_over_is_taken_back_and_the_engine_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = Arc::new(Registrar::load(Store::new(dir.path()), configured(&["web@1"])).unwrap());
        let (asks, mut asked) = mpsc::channel(8);
        registrar.asks.set(asks).unwrap();
        let ttl = Some(Duration::from_secs(30));
        registrar.register(Requested { ttl, ..requested("web@2") }, ("a", false)).await.unwrap();
        let now = wall();
        let until = UnixMs(now.0 + 10_000);
        registrar.want(&InstanceId::new("web@1").unwrap(), Some(intent(Some(until)))).await.unwrap();
        registrar.end_what_is_over(now).await.unwrap();
        assert_eq!(ids(&registrar).len(), 2);
        registrar.end_what_is_over(UnixMs(now.0 + 60_000)).await.unwrap();
        assert_eq!(ids(&registrar), ["web@1"]);
        assert_eq!(registrar.registrations()[0].placement.intent, None);
        let mut told = Vec::new();
        while let Ok(Ask::Command(Command::Register(list))) = asked.try_recv() {
            told.push(list.len());
        }
        assert_eq!(told, [2, 2, 1]);
    }

    #[tokio::test]
    async fn there_is_a_most_and_what_cannot_be_stored_is_not_done() {
        let dir = tempfile::tempdir().unwrap();
        let registrar = Registrar::load(Store::new(dir.path()), Configured::default()).unwrap();
        let (registration, owner) = (registration("web@1"), "a".to_owned());
        let one = Registered { registration, objective: None, owner, ttl_ms: None, renewed_unix_ms: 0 };
        registrar.lock().kept.registered = (0..MAX_REGISTERED).map(|n| (format!("web@{n}"), one.clone())).collect();
        let refused = registrar.register(requested("web@x"), ("a", false)).await;
        assert!(matches!(refused, Err(NotDone::TooMany(MAX_REGISTERED))));
        registrar.lock().kept.registered.clear();
        drop(dir);
        let refused = registrar.register(requested("web@x"), ("a", false)).await;
        assert!(matches!(refused, Err(NotDone::Unstored(_))) && ids(&registrar).is_empty());
    }
}
