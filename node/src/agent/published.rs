//! What the engine's loop publishes for the API and the metrics: pictures, and signs of its own life.

use super::clock::Clock;
use super::storing::Storing;
use arc_swap::ArcSwap;
use quorate_core::Mono;
use quorate_mesh::{MemberState, MemberView, MeshView};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// The loop turns at least once a second; after this long without a turn it hangs.
const HANGS_AFTER: Duration = Duration::from_secs(10);

/// The latest picture, and how far it can be trusted.
#[derive(Debug)]
pub struct Published {
    clock: Clock,
    view: ArcSwap<MeshView>,
    confirmed: AtomicU64,
    turned: AtomicU64,
    leaving: AtomicBool,
    storing: Storing,
    expects_peers: bool,
    index: watch::Sender<u64>,
}

impl Published {
    /// Begins with a picture. `expects_peers`: the agent knows that its mesh has other members.
    pub fn new(clock: Clock, mut view: MeshView, expects_peers: bool) -> Self {
        count_alive(&mut view);
        let now = clock.mono().0;
        let index = watch::Sender::new(view.index);
        Self {
            clock,
            view: ArcSwap::from_pointee(view),
            confirmed: AtomicU64::new(now),
            turned: AtomicU64::new(now),
            leaving: AtomicBool::new(false),
            storing: Storing::default(),
            expects_peers,
            index,
        }
    }

    /// Says how it is with the files that are noted there.
    pub fn with_storing(self, storing: Storing) -> Self {
        Self { storing, ..self }
    }

    /// The latest picture.
    pub fn view(&self) -> Arc<MeshView> {
        self.view.load_full()
    }

    /// How long ago the loop last made sure that the picture is still what the agent knows.
    pub fn age(&self) -> Duration {
        self.since(&self.confirmed)
    }

    /// Replaces the picture.
    pub fn replace(&self, mut view: MeshView) {
        count_alive(&mut view);
        let index = view.index;
        self.view.store(Arc::new(view));
        self.confirm();
        self.index.send_replace(index);
    }

    /// Returns when the picture has another index than `known`.
    pub async fn other_than(&self, known: u64) {
        // Fails when the sender is gone, which it is not while `self` lives.
        let _ = self.index.subscribe().wait_for(|index| *index != known).await;
    }

    /// The picture is still right.
    pub fn confirm(&self) {
        self.confirmed.store(self.clock.mono().0, Ordering::Relaxed);
    }

    /// The loop has turned.
    pub fn turn(&self) {
        self.turned.store(self.clock.mono().0, Ordering::Relaxed);
    }

    /// The agent begins to leave.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Which of the agent's files could not be stored.
    pub fn storing(&self) -> &Storing {
        &self.storing
    }

    /// What the agent checks of itself.
    pub fn checks(&self) -> Vec<SelfCheck> {
        let silent = self.since(&self.turned);
        let hangs = silent > HANGS_AFTER;
        let view = self.view.load();
        let mesh = if view.roster <= 1 && self.expects_peers {
            Some("no other member of the mesh has been reached yet".to_owned())
        } else if view.roster > 1 && !view.settled {
            Some("the agent has not caught up with the mesh yet".to_owned())
        } else {
            None
        };
        let leaving = self.leaving.load(Ordering::Relaxed);
        vec![
            SelfCheck {
                name: "engine",
                fault: hangs.then(|| format!("the engine has not turned for {} s", silent.as_secs())),
                vital: true,
                latency: Some(silent),
            },
            SelfCheck::of("membership", leaving.then(|| "the agent is leaving the mesh".to_owned())),
            SelfCheck::of("storage", self.storing.fault()),
            SelfCheck::of("mesh", mesh),
        ]
    }

    /// Why nobody should rely on this agent now; nothing when it is ready.
    pub fn not_ready(&self) -> Vec<String> {
        self.checks().into_iter().filter_map(|check| check.fault).collect()
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        self.clock.mono().since(Mono(moment.load(Ordering::Relaxed)))
    }
}

/// The engine counts whom it may still reach, suspects among them. For people, who is suspected is not alive.
fn count_alive(view: &mut MeshView) {
    let alive = |member: &&MemberView| member.in_roster && member.state == MemberState::Alive;
    view.alive = view.members.values().filter(alive).count();
}

/// One thing that an agent checks of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheck {
    /// Its name, unique.
    pub name: &'static str,
    /// What is wrong; nothing when it is well.
    pub fault: Option<String>,
    /// Should the process be restarted when it is not well?
    pub vital: bool,
    /// How long ago, or how long it took, where there is something to measure.
    pub latency: Option<Duration>,
}

impl SelfCheck {
    fn of(name: &'static str, fault: Option<String>) -> Self {
        Self { name, fault, vital: false, latency: None }
    }
}
