//! One probe of a check that this agent knows, because an operator asks for it. It counts for nothing: no vote, no failure, no history.

use super::probes::Probes;
use crate::access::{Client, RateLimit};
use quorate_core::{AgentId, Check, Mono, Outcome, Registration};
use quorate_mesh::{InstanceView, ProbeId, ProbeRequest};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Probes by hand within a minute at most, whoever asks for them.
pub const MOST_A_MINUTE: u32 = 60;
/// Probes by hand at once at most.
const MOST_AT_ONCE: usize = 4;
/// Longest time of one, its turn included; the API answers within ten seconds.
const MAX_TIME: Duration = Duration::from_secs(8);

/// Runs them.
pub struct ByHand {
    probes: Probes,
    turns: Semaphore,
    rate: RateLimit,
    begun: Instant,
}

/// Why there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotProbed {
    /// It is a host: its observers ping its agent, and there is no check.
    Host,
    /// Only its home agent can make this check.
    NotHome(AgentId),
    /// Too many were asked for; how long to wait.
    TooMany(Duration),
    /// It had no turn, or was not done, in time.
    Late,
}

impl ByHand {
    /// None yet.
    pub fn new(probes: Probes) -> Self {
        let (turns, rate) = (Semaphore::new(MOST_AT_ONCE), RateLimit::new(MOST_A_MINUTE));
        Self { probes, turns, rate, begun: Instant::now() }
    }

    /// Probes an instance as its registration says. A check whose timeout is longer than there is time for has that time.
    ///
    /// # Errors
    /// Why there was no probe.
    pub async fn probe(&self, instance: &InstanceView) -> Result<Outcome, NotProbed> {
        let registration = instance.registration.as_deref().ok_or(NotProbed::Host)?;
        if registration.check.kind.home_only() && instance.home != self.probes.agent {
            return Err(NotProbed::NotHome(instance.home));
        }
        self.rate.take(Client::Others, self.begun.elapsed()).map_err(NotProbed::TooMany)?;
        match timeout(MAX_TIME, self.run(registration)).await {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) | Err(_) => Err(NotProbed::Late),
        }
    }

    async fn run(&self, registration: &Registration) -> Option<Outcome> {
        let _turn = self.turns.acquire().await.ok()?;
        let check = &registration.check;
        let check = Check { timeout: check.timeout.min(MAX_TIME), ..Check::clone(check) };
        let request = ProbeRequest {
            id: ProbeId(0),
            instance: registration.instance.clone(),
            service: registration.service.clone(),
            address: registration.address.clone(),
            check: Arc::new(check),
            due: Mono::default(),
        };
        Some(self.probes.run(&request).await)
    }
}
