//! The loop that owns the engine: it brings what happened, and carries out what the engine wants.
//!
//! What came over the network is taken before any timer, so that after a stall the engine sees what its peers said meanwhile before it
//! concludes that they were silent. Every turn takes a bounded number of inputs, then lets a timer that is due fire.

use super::callers::Callers;
use super::claims::Claims;
use super::clock::Clock;
use super::event_log::EventLog;
use super::joins::Joins;
use super::persisting::Persisting;
use super::probes::Probes;
use super::published::Published;
use super::recorder::Recorder;
use crate::metrics::Metrics;
use bytes::Bytes;
use quorate_core::{AgentId, Mono, Outcome};
use quorate_mesh::recording::Recorded;
use quorate_mesh::{BreakerReport, Command, Event, EventKind, Input, LinkEvent, Output, ProbeId, Ticket};
use quorate_transport::{Incoming, LinkError, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Inputs of one kind taken in one turn.
const BATCH: usize = 256;
/// Inputs of our own that may wait for the engine; senders wait beyond that.
pub const ASK_QUEUE: usize = 4096;
/// A picture is published at most this often.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);
/// The loop turns at least this often, as a sign of life.
const TURN: Duration = Duration::from_secs(1);
/// A timer later than this means that the process was held up, and the sockets have not been read either.
const HELD_UP: Duration = Duration::from_millis(50);
/// Time for the sockets to be read after that.
const CATCH_UP: Duration = Duration::from_millis(5);
/// Roll calls that may be awaited at once.
const MAX_WAITING: usize = 256;
/// Members that must refuse this agent's identity before it stops.
const ACCUSERS_NEEDED: usize = 2;
/// Identities in dispute that are remembered.
const MAX_DISPUTED: usize = 1024;

/// Something for the engine from within the process.
#[derive(Debug)]
pub enum Ask {
    /// A command.
    Command(Command),
    /// A probe's outcome.
    Probe {
        /// Of which probe.
        id: ProbeId,
        /// How it went.
        outcome: Outcome,
    },
    /// What breakers of this host have to tell.
    Breakers(Vec<BreakerReport>),
    /// A roll call, and where its result goes.
    RollCall(oneshot::Sender<RollCall>),
    /// Leave the mesh, and say in the end whether the others have agreed that this agent no longer counts.
    Leave(oneshot::Sender<bool>),
}

/// The result of a roll call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollCall {
    /// Agents reached, this one included.
    pub reached: usize,
    /// Agents in the roster.
    pub roster: usize,
    /// More than half?
    pub quorate: bool,
}

/// Why the loop ended.
#[derive(Debug)]
pub enum Ended {
    /// Another process runs with this agent's identity.
    Conflict(String),
    /// The transport is gone.
    NoTransport,
}

/// Everything the loop works with.
pub struct Drive {
    /// The engine.
    pub engine: Recorded,
    /// Where its inputs are recorded, if they are.
    pub recorder: Option<Recorder>,
    /// Outputs of its start that could not be carried out before there was a transport.
    pub pending: Vec<Output>,
    /// Time.
    pub clock: Clock,
    /// From the network.
    pub incoming: mpsc::Receiver<Incoming>,
    /// From within.
    pub asks: mpsc::Receiver<Ask>,
    /// To the network.
    pub transport: Transport,
    /// Runs probes.
    pub probes: Probes,
    /// The breakers of this host.
    pub callers: Arc<Callers>,
    /// Answers hosts that ask to join.
    pub joins: Joins,
    /// Stores the engine's state.
    pub persisting: Persisting,
    /// The instances that are given to this agent.
    pub claims: Claims,
    /// Where pictures go.
    pub published: Arc<Published>,
    /// Where events go.
    pub events: Arc<EventLog>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

struct Turning {
    drive: Drive,
    roll_calls: BTreeMap<Ticket, oneshot::Sender<RollCall>>,
    next_ticket: u64,
    leaving: Option<oneshot::Sender<bool>>,
    published_at: Mono,
    conflict: Option<String>,
    /// Identities that two processes claim; what is said under them counts for nothing.
    disputed: BTreeSet<u64>,
    /// Who has refused this agent as a copy, or as out of date.
    accusers: BTreeSet<u64>,
}

impl Drive {
    /// Runs until there is a reason to stop.
    pub async fn run(self) -> Ended {
        let published_at = self.clock.mono();
        let mut turning = Turning {
            drive: self,
            roll_calls: BTreeMap::new(),
            next_ticket: 0,
            leaving: None,
            published_at,
            conflict: None,
            disputed: BTreeSet::new(),
            accusers: BTreeSet::new(),
        };
        for output in std::mem::take(&mut turning.drive.pending) {
            turning.carry_out(output).await;
        }
        turning.outputs().await;
        loop {
            if let Some(ended) = turning.turn().await {
                turning.finish_recording();
                return ended;
            }
        }
    }
}

impl Turning {
    async fn turn(&mut self) -> Option<Ended> {
        let mut incoming = Vec::new();
        let mut asks = Vec::new();
        let deadline = tokio::time::Instant::from_std(self.deadline());
        tokio::select! {
            biased;
            taken = self.drive.incoming.recv_many(&mut incoming, BATCH) => {
                if taken == 0 {
                    return Some(Ended::NoTransport);
                }
            }
            _ = self.drive.asks.recv_many(&mut asks, BATCH) => {}
            () = self.drive.persisting.finished() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        self.catch_up(&mut incoming).await;
        let begun = Instant::now();
        for event in incoming {
            self.take_incoming(event).await;
        }
        while asks.len() < BATCH {
            let Ok(ask) = self.drive.asks.try_recv() else { break };
            asks.push(ask);
        }
        for ask in asks {
            self.take_ask(ask).await;
        }
        if self.drive.clock.mono() >= self.drive.engine.next_wakeup() {
            self.handle(Input::Wake).await;
        }
        if self.drive.persisting.is_due() {
            self.drive.persisting.begin(self.drive.engine.state());
        }
        if let Some(recorder) = &mut self.drive.recorder {
            recorder.pass_on(&mut self.drive.engine, self.drive.clock.now());
        }
        self.drive.published.turn();
        self.publish();
        self.drive.metrics.engine_turned(begun.elapsed());
        self.conflict.take().map(Ended::Conflict)
    }

    /// When to turn again if nothing happens: the engine's deadline, a picture that is due, or a sign of life.
    fn deadline(&self) -> Instant {
        let clock = &self.drive.clock;
        let mut deadline = self.drive.engine.next_wakeup().min(clock.mono() + TURN);
        if self.drive.engine.view_changed() {
            deadline = deadline.min(self.published_at + PUBLISH_INTERVAL);
        }
        clock.instant(deadline)
    }

    /// After a stall: lets the sockets be read, and takes what came, before a timer may fire.
    async fn catch_up(&mut self, incoming: &mut Vec<Incoming>) {
        let late = self.drive.clock.mono().since(self.drive.engine.next_wakeup());
        self.drive.metrics.timer_late(late);
        if late > HELD_UP {
            tokio::time::sleep(CATCH_UP).await;
        }
        while incoming.len() < BATCH {
            let Ok(event) = self.drive.incoming.try_recv() else { break };
            incoming.push(event);
        }
    }

    async fn take_incoming(&mut self, event: Incoming) {
        match event {
            Incoming::Datagram { from, bytes } => {
                self.handle(Input::Datagram { from: AgentId(from), bytes: bytes.into() }).await;
            }
            Incoming::Message { from, bytes } => {
                self.handle(Input::Message { from: AgentId(from), bytes: bytes.into() }).await;
            }
            Incoming::Link { peer, up, address } => {
                let event = match up {
                    Some(version) => LinkEvent::Up { version: u8::try_from(version).unwrap_or(u8::MAX) },
                    None => LinkEvent::Down,
                };
                tracing::debug!(peer = %AgentId(peer), %address, version = up, "link");
                self.handle(Input::Link { peer: AgentId(peer), event }).await;
            }
            Incoming::Join { request, reply } => self.drive.joins.sponsor(request, reply),
            Incoming::ForwardedJoin { from, request, reply } => {
                self.drive.joins.decide_for(AgentId(from), request, reply);
            }
            Incoming::IdentityConflict { agent, detail } => {
                if self.disputed.len() < MAX_DISPUTED {
                    self.disputed.insert(agent);
                }
                tracing::error!(
                    agent = %AgentId(agent), detail,
                    "two processes use one identity; the newcomer was refused. Remove the copied data directory and join again with a token"
                );
            }
            Incoming::Refused { by, address, reason } => self.refused(by, address, &reason),
        }
    }

    /// A peer refused this agent for what it is. A copied or outdated identity is a reason to stop.
    fn refused(&mut self, by: Option<u64>, address: std::net::SocketAddr, reason: &LinkError) {
        let credible = by.is_none_or(|peer| !self.disputed.contains(&peer));
        let accuser = by.unwrap_or_default();
        let by = by.map_or_else(|| "unknown".to_owned(), |peer| AgentId(peer).to_string());
        tracing::error!(%by, %address, %reason, remedy = reason.remedy(), "a peer refused this agent");
        if !credible || !matches!(reason, LinkError::Cloned | LinkError::StaleIdentity) {
            return;
        }
        // One member alone must not be able to stop another: it takes two, where there are two others.
        self.accusers.insert(accuser);
        let others = self.drive.published.view().roster.saturating_sub(1);
        if self.accusers.len() >= others.clamp(1, ACCUSERS_NEEDED) {
            self.conflict = Some(format!("agent {by} at {address} says: {reason}; {}", reason.remedy()));
        }
    }

    async fn take_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Command(command) => {
                if let Command::Register(registrations) = &command {
                    self.drive.claims.replace(registrations.iter().map(|one| one.instance.clone()).collect());
                }
                self.handle(Input::Command(command)).await;
            }
            Ask::Breakers(reports) => self.handle(Input::Breakers(reports)).await,
            Ask::Probe { id, outcome } => self.handle(Input::Probe { id, outcome }).await,
            Ask::RollCall(reply) => {
                self.roll_calls.retain(|_, reply| !reply.is_closed());
                if self.roll_calls.len() >= MAX_WAITING {
                    return;
                }
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.roll_calls.insert(ticket, reply);
                self.handle(Input::Command(Command::CallRoll(ticket))).await;
            }
            Ask::Leave(reply) => {
                self.leaving = Some(reply);
                self.handle(Input::Command(Command::Leave)).await;
            }
        }
    }

    async fn handle(&mut self, input: Input) {
        let now = self.drive.clock.now();
        self.drive.engine.handle(now, input);
        if let Some(recorder) = &mut self.drive.recorder {
            recorder.pass_on(&mut self.drive.engine, now);
        }
        self.outputs().await;
    }

    /// Nothing that comes after this moment is recorded.
    fn finish_recording(&mut self) {
        if let Some(recorder) = self.drive.recorder.take() {
            recorder.finish(&mut self.drive.engine);
        }
    }

    async fn outputs(&mut self) {
        while let Some(output) = self.drive.engine.poll_output() {
            self.carry_out(output).await;
        }
    }

    async fn carry_out(&mut self, output: Output) {
        match output {
            // What cannot be sent is dropped and counted by the transport; the engine does not rely on it.
            Output::Datagram { to, bytes } => {
                let version = quorate_mesh::version_of(&bytes).into();
                let _ = self.drive.transport.send_datagram(to.0, version, Bytes::from(bytes));
            }
            Output::Message { to, bytes } => {
                let version = quorate_mesh::version_of(&bytes).into();
                if let Err(error) = self.drive.transport.send_message(to.0, version, Bytes::from(bytes)) {
                    tracing::debug!(%to, %error, "a message was dropped");
                }
            }
            Output::Address { agent, address } => self.drive.transport.set_address(agent.0, address),
            Output::Probe(request) => {
                self.drive.metrics.probe_late(self.drive.clock.mono().since(request.due));
                self.drive.probes.start(request);
            }
            Output::Breaker { key, event } => {
                tracing::debug!(service = %key.service, instance = %key.instance, %event, "breaker");
                self.drive.callers.apply(&key, event);
            }
            Output::Persist { before_more: true } => {
                let state = self.drive.engine.state();
                self.drive.persisting.before_more(state).await;
            }
            Output::Persist { before_more: false } => self.drive.persisting.ask(),
            Output::Event(event) => self.tell(&event),
            Output::RollCall { ticket, reached, roster, quorate } => {
                if let Some(reply) = self.roll_calls.remove(&ticket) {
                    let _ = reply.send(RollCall { reached, roster, quorate });
                }
            }
            Output::Left => {
                self.finish_recording();
                let view = self.drive.engine.view();
                let counts = view.members.get(&view.agent).is_some_and(|own| own.in_roster);
                if let Some(reply) = self.leaving.take() {
                    let _ = reply.send(!counts || view.roster <= 1);
                }
            }
        }
    }

    fn tell(&mut self, event: &Event) {
        self.drive.events.push(event);
        self.drive.metrics.event(&event.kind);
        match &event.kind {
            EventKind::Verdicts { changes, .. } => {
                for change in changes {
                    tracing::info!(
                        instance = %change.instance, term = change.term, from = %change.from, to = %change.to, class = %change.class,
                        signers = change.signers.len(), "verdict"
                    );
                }
            }
            EventKind::Member { agent, name, to, .. } => tracing::info!(%agent, name, state = ?to, "member"),
            EventKind::Quorate { quorate, alive, roster } => tracing::info!(quorate, alive, roster, "quorum"),
            EventKind::Roster { epoch, roster, admitted, removed } => {
                tracing::info!(epoch, roster, admitted = admitted.len(), removed = removed.len(), "roster");
            }
            EventKind::Breaker { service, instance, state, cause, first, zone } => {
                let zone = zone.as_ref().map(|zone| zone.as_str());
                tracing::info!(%service, %instance, ?state, cause = cause.as_str(), %first, zone, "breaker");
            }
            EventKind::Override { service, instance, mode, owner, reason } => {
                tracing::info!(%service, %instance, ?mode, %owner, reason, "breaker overridden");
            }
            EventKind::Stalled { late_ms } => tracing::warn!(late_ms, "this agent was held up"),
            EventKind::Registered { instance, home, .. } => tracing::debug!(%instance, %home, "registered"),
            EventKind::Withdrawn { instance } => tracing::debug!(%instance, "withdrawn"),
            EventKind::Vote { instance, observation } => {
                tracing::debug!(%instance, vote = %observation.vote, detail = observation.detail, "vote");
            }
            EventKind::IdentityConflict { detail } => self.conflict = Some(detail.clone()),
        }
    }

    /// Publishes a changed picture, at once after a quiet time, else at the interval.
    fn publish(&mut self) {
        let drive = &mut self.drive;
        if !drive.engine.view_changed() {
            return drive.published.confirm();
        }
        let now = drive.clock.mono();
        if now.since(self.published_at) >= PUBLISH_INTERVAL {
            let view = drive.engine.view();
            drive.probes.local.prune(&view);
            drive.probes.failures.prune(&view);
            drive.claims.examine(&view);
            drive.published.replace(view);
            self.published_at = now;
        }
    }
}
