//! What the engine's loop publishes for the API and the metrics: pictures, and signs of its own life.

use super::clock::Clock;
use arc_swap::ArcSwap;
use quorate_core::Mono;
use quorate_mesh::MeshView;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

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
    storing_fails: AtomicBool,
    expects_peers: bool,
}

impl Published {
    /// Begins with a picture. `expects_peers`: the agent knows that its mesh has other members.
    pub fn new(clock: Clock, view: MeshView, expects_peers: bool) -> Self {
        let now = clock.mono().0;
        Self {
            clock,
            view: ArcSwap::from_pointee(view),
            confirmed: AtomicU64::new(now),
            turned: AtomicU64::new(now),
            leaving: AtomicBool::new(false),
            storing_fails: AtomicBool::new(false),
            expects_peers,
        }
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
    pub fn replace(&self, view: MeshView) {
        self.view.store(Arc::new(view));
        self.confirm();
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

    /// The state could, or could not, be stored.
    pub fn stored(&self, well: bool) {
        self.storing_fails.store(!well, Ordering::Relaxed);
    }

    /// Why the process should be restarted; nothing while it works.
    pub fn faults(&self) -> Vec<String> {
        let silent = self.since(&self.turned);
        let hangs = silent > HANGS_AFTER;
        hangs.then(|| format!("the engine has not turned for {} s", silent.as_secs())).into_iter().collect()
    }

    /// Why nobody should rely on this agent now; nothing when it is ready.
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = self.faults();
        let view = self.view.load();
        if self.leaving.load(Ordering::Relaxed) {
            reasons.push("the agent is leaving the mesh".to_owned());
        }
        if self.storing_fails.load(Ordering::Relaxed) {
            reasons.push("the agent cannot store its state; its log says why".to_owned());
        }
        if view.roster <= 1 && self.expects_peers {
            reasons.push("no other member of the mesh has been reached yet".to_owned());
        } else if view.roster > 1 && !view.settled {
            reasons.push("the agent has not caught up with the mesh yet".to_owned());
        }
        reasons
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        self.clock.mono().since(Mono(moment.load(Ordering::Relaxed)))
    }
}
