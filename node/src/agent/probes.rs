//! Runs the probes the engine asks for, and remembers the last one of each instance.

use super::clock::wall;
use super::drive::Ask;
use super::failures::Failures;
use super::published::Published;
use super::registrar::Registrar;
use crate::export::spans::{Probed, Spans};
use crate::history::History;
use crate::metrics::Metrics;
use dashmap::DashMap;
use quorate_core::{AgentId, Cause, InstanceId, Outcome, Phase, ProbeResult, ServiceName, UnixMs, Verdict};
use quorate_mesh::{MeshView, ProbeRequest};
use quorate_probe::{Prober, Target};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::mpsc;

/// Added to a check's timeout before a probe is given up: the prober keeps the timeout itself, and may first wait for its turn.
const GUARD: Duration = Duration::from_secs(30);

/// How often, and how long apart, a picture is looked at again that does not show the instance yet.
const PICTURE_TURNS: u32 = 20;
const PICTURE_TURN: Duration = Duration::from_millis(50);

/// One probe that ended.
#[derive(Debug, Clone)]
pub struct LastProbe {
    /// When.
    pub ended: UnixMs,
    /// Of which service.
    pub service: ServiceName,
    /// By what check: `http`, `https` or `tcp`.
    pub check: &'static str,
    /// How it went.
    pub outcome: Outcome,
}

/// The last probe of each instance that this agent observes.
#[derive(Debug, Default)]
pub struct LocalProbes(DashMap<InstanceId, Arc<LastProbe>>);

impl LocalProbes {
    /// The last probe of an instance.
    pub fn of(&self, instance: &InstanceId) -> Option<Arc<LastProbe>> {
        self.0.get(instance).map(|entry| Arc::clone(&entry))
    }

    /// Notes one.
    pub fn note(&self, instance: InstanceId, probe: LastProbe) {
        self.0.insert(instance, Arc::new(probe));
    }

    /// Every one, in the order of the instances' names.
    pub fn all(&self) -> Vec<(InstanceId, Arc<LastProbe>)> {
        let mut all: Vec<_> = self.0.iter().map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    /// Forgets instances that are gone, or that this agent no longer observes.
    pub fn prune(&self, view: &MeshView) {
        self.0.retain(|instance, _| {
            let watched = |o: &quorate_mesh::ObserverView| o.agent == view.agent;
            view.instances.get(instance).is_some_and(|found| found.observers.iter().any(watched))
        });
    }
}

/// Starts probes.
#[derive(Clone)]
pub struct Probes {
    /// This agent.
    pub agent: AgentId,
    /// What runs them.
    pub prober: Arc<Prober>,
    /// Which of this agent's instances the API registered.
    pub registrar: Arc<Registrar>,
    /// Who is home to what.
    pub published: Arc<Published>,
    /// What they found last.
    pub local: Arc<LocalProbes>,
    /// What failed.
    pub failures: Arc<Failures>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where outcomes go.
    pub asks: mpsc::Sender<Ask>,
    /// Where their spans go, once that is known.
    pub spans: Arc<OnceLock<Spans>>,
    /// Where they are kept, if they are.
    pub history: Option<Arc<History>>,
}

impl Probes {
    /// Starts one. Its outcome comes back, whatever becomes of the probe itself.
    pub fn start(&self, request: ProbeRequest) {
        let this = self.clone();
        tokio::spawn(async move {
            let outcome = this.run(&request).await;
            this.metrics.probe_ended(request.service.as_str(), request.check.kind.name(), &outcome);
            let ended = wall();
            let decided = this.published.view().instances.get(&request.instance).map(|found| found.decided);
            if decided.is_some_and(|decided| decided != Verdict::Starting) {
                this.failures.note_started(&request.instance);
            }
            this.failures.note((&request.instance, &request.service), &request.check, &outcome, ended);
            let probe = LastProbe {
                ended,
                service: request.service,
                check: request.check.kind.name(),
                outcome: outcome.clone(),
            };
            let (service, instance, check) = (probe.service.as_str(), request.instance.as_str(), probe.check);
            let ended_unix_ns = ended.0.saturating_mul(1_000_000);
            if let Some(spans) = this.spans.get().filter(|spans| spans.are_wanted()) {
                spans.probe(Probed { service, instance, check, outcome: &outcome, ended_unix_ns });
            }
            if let Some(history) = &this.history {
                history.probed(&request.instance, &outcome, probe.ended);
            }
            this.warn_of_inability(&request.instance, &outcome);
            this.local.note(request.instance, probe);
            // The engine's loop takes outcomes as long as the process lives.
            let _ = this.asks.send(Ask::Probe { id: request.id, outcome }).await;
        });
    }

    /// Says once in the log that an instance cannot be probed from here, and why.
    fn warn_of_inability(&self, instance: &InstanceId, outcome: &Outcome) {
        let Some(why) = inability(outcome) else { return };
        if self.local.of(instance).is_none_or(|last| inability(&last.outcome) != Some(why)) {
            tracing::warn!(%instance, why, "an instance cannot be probed from here");
        }
    }

    /// The addresses that an instance may be at. Those of this agent's own configuration may be anywhere, those that came by its API on this host.
    async fn home_of(&self, instance: &InstanceId) -> Option<Vec<IpAddr>> {
        for _ in 0..PICTURE_TURNS {
            let view = self.published.view();
            if let Some(home) = view.instances.get(instance).map(|found| found.home) {
                let own = home == self.agent;
                if own && !self.registrar.is_registered(instance) {
                    return None;
                }
                let address = view.members.get(&home).and_then(|member| member.address.parse::<SocketAddr>().ok());
                if let Some(address) = address {
                    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                    return Some(std::iter::once(address.ip()).chain(loopback.into_iter().filter(|_| own)).collect());
                }
            }
            // The picture may be a moment behind the engine.
            tokio::time::sleep(PICTURE_TURN).await;
        }
        Some(Vec::new())
    }

    /// Runs one, and waits for it. Whatever becomes of it is in the outcome.
    pub async fn run(&self, request: &ProbeRequest) -> Outcome {
        let target = Target {
            instance: request.instance.clone(),
            service: request.service.clone(),
            address: request.address.clone(),
            home: self.home_of(&request.instance).await,
            observer: self.agent,
        };
        let (prober, check) = (Arc::clone(&self.prober), Arc::clone(&request.check));
        let limit = check.timeout + GUARD;
        // A task of its own, so that a panic ends this probe and nothing else.
        let mut running = tokio::spawn(async move { prober.run(&target, &check).await });
        let failed = |detail: &str| Outcome::fail(Phase::Prepare, Cause::Local, detail, Duration::ZERO);
        match tokio::time::timeout(limit, &mut running).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                self.metrics.probe_panicked();
                tracing::error!(instance = %request.instance, %error, "a probe broke off; this is a fault of the agent");
                failed("the probe broke off in the agent itself")
            }
            Err(_) => {
                running.abort();
                tracing::error!(instance = %request.instance, "a probe did not end in its time and was given up");
                failed("the probe did not end in its time")
            }
        }
    }
}

/// Why nothing was learnt about the target: it is this host that cannot probe it.
fn inability(outcome: &Outcome) -> Option<&str> {
    let ProbeResult::Fail(failure) = &outcome.result else { return None };
    failure.is_own().then_some(failure.detail.as_str())
}

/// Was the target reached, be it with a warning?
pub fn is_healthy(outcome: &Outcome) -> bool {
    !matches!(outcome.result, ProbeResult::Fail(_))
}
