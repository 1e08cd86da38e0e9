//! The engine proper: state, dispatch and deadlines. Each concern has a file of its own below `engine/`.

mod adoption;
mod assigning;
mod breakers;
mod catching_up;
mod certificates;
mod deciding;
mod epochs;
mod flapping;
mod forming;
mod gone;
mod hearsay;
mod hosts;
mod instance;
pub(crate) mod limits;
mod membership;
mod pacing;
mod pings;
mod publishing;
mod recovery;
mod relaying;
mod repair;
mod replication;
mod roll_call;
mod sabotage;
mod signing;
mod start;
mod vantage;
mod watching;

use crate::api::{Command, EventKind, Input, Keys, LinkEvent, Output, ProbeId, VerdictChange};
use crate::config::EngineConfig;
use crate::gossip::GossipQueue;
use crate::namespace::{Namespace, OwnLog};
use crate::sabotage::Sabotage;
use crate::swim::Swim;
use crate::view::Stats;
pub use forming::{Acquaintance, Formation, Testimony};
use instance::Instance;
use quorate_core::verdict::{Certificate, Decision};
use quorate_core::{AgentId, InstanceId, Mono, Now, Roster, ServiceName, UnixMs};
use quorate_wire::{MAX_DATAGRAM_BYTES, Packet, Profile};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// One agent. See the crate's page for how it is driven:
///
/// ```no_run
/// # use quorate_mesh::{Engine, Input, Output};
/// # use quorate_core::Now;
/// # fn clock() -> Now { Now::default() }
/// # fn wait_until(_: quorate_core::Mono) -> Input { Input::Wake }
/// # fn carry_out(_: Output) {}
/// # fn drive(mut engine: Engine) {
/// loop {
///     while let Some(output) = engine.poll_output() {
///         carry_out(output);
///     }
///     let input = wait_until(engine.next_wakeup());
///     engine.handle(clock(), input);
/// }
/// # }
/// ```
pub struct Engine {
    config: EngineConfig,
    keys: Box<dyn Keys>,
    rng: ChaCha8Rng,
    now: Now,
    boot: u32,
    /// The next deadline, as of the last input.
    wakeup: Mono,
    out: VecDeque<Output>,
    stats: Stats,
    /// What is broken on purpose; nothing outside the simulator.
    sabotage: Sabotage,

    // Membership.
    swim: Swim,
    links: BTreeSet<AgentId>,
    /// Of the packet format, as agreed on over each link.
    versions: BTreeMap<AgentId, u8>,
    /// Whose packet was read last.
    speaking: Option<AgentId>,
    agents: BTreeMap<AgentId, Agent>,
    /// Agents that have joined and neither left nor been forgotten, whether they count yet or not.
    members: BTreeSet<AgentId>,
    /// Those that count.
    roster: Roster,
    epochs: epochs::Epochs,
    adoption: adoption::Adoption,
    /// Members of the roster held alive, this agent included.
    reached: usize,
    recount: bool,
    /// Agents that have been forgotten: old words of theirs are not believed again, but what they signed can still be verified.
    gone: BTreeMap<AgentId, gone::Gone>,
    /// Members that do not count and have failed, since when.
    strays: BTreeMap<AgentId, Mono>,
    next_reconnect: Mono,
    /// Whom the owner named; tried until someone has answered.
    contacts: BTreeSet<AgentId>,
    /// Of members that have moved: where to look for them next when they have failed, and after that.
    addresses_in_turn: BTreeMap<AgentId, [SocketAddr; 2]>,
    sync_began: BTreeMap<AgentId, Mono>,
    /// Until when the syncs begun so far are paid for.
    syncs_paid: Mono,

    // Replication.
    log: OwnLog,
    /// When the log is written next, if there is something to write.
    next_flush: Mono,
    namespaces: BTreeMap<AgentId, Arc<Namespace>>,
    /// Records in them.
    records_copied: usize,
    /// Of the namespaces, a hash for each bucket of a digest.
    owner_hashes: [u64; quorate_wire::Digest::OWNER_BUCKETS],
    /// The same of the certificates.
    certificate_hashes: [u64; quorate_wire::Digest::CERTIFICATE_BUCKETS],
    gossip: GossipQueue,
    next_gossip: Mono,
    next_sync: Mono,
    orphans: BTreeMap<InstanceId, Arc<Certificate>>,
    /// To whom the last digest went, and what it said of the owners.
    digest_sent: Option<(AgentId, Vec<u64>)>,
    /// Owners who were shown what is held of theirs.
    shown: pacing::Allowance,

    // Instances, observers, verdicts.
    instances: BTreeMap<InstanceId, Box<Instance>>,
    services: BTreeMap<ServiceName, ServiceCount>,
    schedule: BTreeSet<(Mono, InstanceId)>,
    probes: BTreeMap<ProbeId, watching::Running>,
    pings: pings::Pings,
    proposals_due: BTreeSet<(Mono, InstanceId)>,
    /// When the votes on a new verdict have all been renewed, so that its class can be read from them.
    ripening: BTreeSet<(Mono, InstanceId)>,
    rounds: BTreeMap<u64, Mono>,
    asked: BTreeMap<AgentId, Vec<Decision>>,
    awaiting_roll: BTreeSet<InstanceId>,
    second_opinions: pacing::SecondOpinions,
    /// Batches passed on at once.
    relayed: pacing::Allowance,
    dirty: BTreeSet<InstanceId>,
    assign_all: bool,
    /// What the present assignments depend on.
    assigned_by: assigning::Basis,
    /// Instances whose observers are to be worked out anew.
    unassigned: BTreeSet<InstanceId>,
    /// The roster, or who of it has a profile, may have changed since orders were made.
    roster_moved: bool,
    /// When the failed are looked through for hosts to observe.
    hosts_due: Option<Mono>,
    evaluate_all: bool,
    nonce: u64,

    breakers: breakers::Breakers,

    // Vantage.
    roll: roll_call::Roll,
    stalled_at: Option<Mono>,
    settle_until: Mono,
    synced: bool,
    /// Since when it has compared notes, before that sufficed.
    compared_since: Option<Mono>,
    /// Whom it has compared notes with since its start, until it has caught up.
    compared_with: BTreeSet<AgentId>,
    /// With whom it has taken part in comparisons that they began, before it has caught up, and since when.
    syncs_accepted: BTreeMap<AgentId, Mono>,
    /// How many agents the stored roster held; zero when none was stored.
    stored_roster: usize,
    /// Whom it has compared notes with while it still knew no roster.
    sync_pending: Option<(AgentId, bool)>,
    /// The terms of hosts of which there is nothing to say at present.
    floors: BTreeMap<InstanceId, hosts::Floor>,
    /// The last incarnation that was given to an instance here.
    last_incarnation: u64,
    expects_members: bool,
    was_quorate: bool,
    was_settled: bool,
    quorate_since: UnixMs,
    conflicts: VecDeque<Mono>,

    // Publishing.
    leaving: Option<Mono>,
    left: bool,
    persist_due: Option<Mono>,
    /// The state is large: what can wait is not stored before.
    persist_next: Mono,
    cut: Vec<VerdictChange>,
    cut_due: Option<Mono>,
    cut_number: u64,
    event_index: u64,
    view_index: u64,
    view_dirty: bool,
    members_dirty: bool,
    /// Who is suspect in the published picture, and since when.
    shown_suspects: BTreeMap<AgentId, Mono>,
    /// When suspects were last looked for.
    suspects_seen: Mono,
    pictures: publishing::Pictures,
    views_dirty: BTreeSet<InstanceId>,
}

/// What is known of an agent beside its records.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub credential: Arc<[u8]>,
    pub profile: Option<Arc<Profile>>,
    pub state: crate::api::MemberState,
    pub since: UnixMs,
    /// Does it have its place in every order?
    pub placed: bool,
    /// The hash of its host's name.
    pub host_hash: u64,
}

/// How many instances a service has, and how many of them are down.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ServiceCount {
    pub total: usize,
    pub down: usize,
}

impl Engine {
    /// Takes something that happened. Outputs are then ready. Time never runs backwards: an earlier time than the last one is taken as
    /// the last one.
    pub fn handle(&mut self, now: Now, input: Input) {
        let mono = now.mono.max(self.now.mono);
        self.notice_stall(mono);
        self.now = Now { mono, wall: now.wall };
        match input {
            Input::Wake => {}
            Input::Datagram { from, bytes } => self.receive(from, &bytes, false),
            Input::Message { from, bytes } => self.receive(from, &bytes, true),
            Input::Link { peer, event: LinkEvent::Up { version } } => self.link_up(peer, version),
            Input::Link { peer, event: LinkEvent::Down } => {
                self.links.remove(&peer);
                self.versions.remove(&peer);
            }
            Input::Probe { id, outcome } => self.probe_done(id, outcome),
            Input::Command(command) => self.command(command),
            Input::Breakers(reports) => self.take_reports(reports),
        }
        self.run_timers();
        self.settle_down();
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Engine::handle`] with [`Input::Wake`], if nothing else comes before.
    #[must_use]
    pub fn next_wakeup(&self) -> Mono {
        self.wakeup
    }

    fn find_wakeup(&mut self) -> Mono {
        if self.left {
            return Mono(u64::MAX);
        }
        let soonest = |set: &BTreeSet<(Mono, InstanceId)>| set.first().map(|(at, _)| *at);
        [
            self.swim.next_wakeup(),
            self.misses_someone().then_some(self.next_reconnect),
            Some(self.next_sync),
            self.gossip_due(),
            self.log_due(),
            soonest(&self.schedule),
            soonest(&self.proposals_due),
            soonest(&self.ripening),
            self.roll_deadline(),
            self.roll_fades(),
            self.pings_deadline(),
            self.hosts_due,
            self.leaving,
            self.persist_due,
            self.epochs_deadline(),
            self.breakers.next_wakeup(),
            self.cut_due,
            (self.now.mono < self.settle_until).then_some(self.settle_until),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Mono(u64::MAX))
    }

    /// How often this agent has been started, this time included.
    #[must_use]
    pub fn boot(&self) -> u32 {
        self.boot
    }

    fn me(&self) -> AgentId {
        self.config.agent
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Contact { agent, address } => {
                if agent != self.me() {
                    // Whoever has an address to go to is not the whole mesh, unless that is of one that counts no longer.
                    if !self.counts_no_longer(agent) {
                        self.expects_members = true;
                        self.synced &= self.members.len() > 1;
                    }
                    if self.contacts.len() < limits::MAX_CONTACTS {
                        self.contacts.insert(agent);
                    }
                    self.out.push_back(Output::Address { agent, address });
                    self.begin_sync(agent);
                }
            }
            Command::Register(registrations) => self.register(registrations),
            Command::CallRoll(ticket) => self.call_roll_for(ticket),
            Command::Look(instance) => self.look_anew(&instance),
            Command::Leave => self.leave(),
            Command::Override(wish) => self.override_breaker(wish),
            Command::Forget(agent) => self.forget_early(agent),
        }
    }

    /// Reads a packet from the peer whose certificate says `from`.
    fn receive(&mut self, from: AgentId, bytes: &[u8], by_stream: bool) {
        if self.left {
            return;
        }
        self.speaking = Some(from);
        // Whoever is spoken to is not alone, whatever its stored state says; but one that has left speaks until its process ends.
        self.expects_members |= !self.synced && !self.counts_no_longer(from);
        let packet = match quorate_wire::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                self.stats.packets_malformed += 1;
                tracing::debug!(%from, %error, "packet refused");
                return;
            }
        };
        let repair = matches!(
            packet,
            Packet::Roots(_)
                | Packet::Digest(_)
                | Packet::Summary(_)
                | Packet::Delta(_)
                | Packet::Push { .. }
                | Packet::Epoch(_)
        );
        // Whoever is leaving still takes part in the agreement that it no longer counts, and in nothing else.
        let counts = matches!(packet, Packet::Present { .. }) && self.roster.contains(from);
        if from == self.me() || !(repair || counts || self.members.contains(&from)) {
            self.stats.packets_refused += 1;
            if from != self.me() {
                self.begin_sync(from);
            }
            return;
        }
        if self.members.contains(&from) {
            self.roll.hear(from, self.now.mono, self.roster.contains(from));
            self.question_suspect(from);
        }
        match packet {
            Packet::Swim(bytes) => self.receive_swim(from, &bytes),
            Packet::Suspicions(suspicions) => self.receive_suspicions(from, suspicions),
            Packet::HeldFailed { counter } => self.swim.held_failed(self.now.mono, counter, &self.links),
            Packet::Push { batches, certificates } => self.receive_push(from, batches, certificates),
            Packet::Roots(roots) => self.receive_roots(from, roots),
            Packet::Digest(digest) => self.receive_digest(from, &digest),
            Packet::Summary(summary) => self.receive_summary(from, summary),
            Packet::Delta(delta) => self.receive_delta(from, delta),
            Packet::RollCall { nonce } => self.answer_roll(from, nonce),
            Packet::Present { nonce, epoch, roster, open } => self.receive_present(from, nonce, epoch, roster, open),
            Packet::Epoch(talk) => self.receive_epoch(from, talk),
            Packet::Ping { nonce } if by_stream => self.send_stream(from, &Packet::Pong { nonce }),
            Packet::Ping { nonce } => self.send(from, &Packet::Pong { nonce }),
            Packet::Pong { nonce } => self.receive_pong(from, nonce),
            Packet::Propose { nonce, decisions } => self.receive_proposals(from, nonce, decisions),
            Packet::Answers { nonce, answers } => self.receive_answers(from, nonce, answers),
            Packet::LookNow { instances } => self.receive_look_now(from, &instances),
            Packet::UsedUp { certificates } => self.receive_used_up(from, certificates),
        }
    }

    /// Sends a packet, as a datagram if it fits into one.
    fn send(&mut self, to: AgentId, packet: &Packet) {
        let stream = matches!(packet, Packet::Digest(_) | Packet::Summary(_) | Packet::Delta(_));
        self.send_by(to, packet, stream);
    }

    /// Sends a packet by a stream: it survives loss, while the link lives.
    fn send_stream(&mut self, to: AgentId, packet: &Packet) {
        self.send_by(to, packet, true);
    }

    fn send_by(&mut self, to: AgentId, packet: &Packet, stream: bool) {
        let met = self.speaking == Some(to) || self.links.contains(&to);
        if !(met || self.agents.contains_key(&to) || self.contacts.contains(&to)) {
            // Named by somebody, met by nobody: there is no address to go to.
            return;
        }
        // Whoever has not said what it reads reads at least the oldest.
        let version = self.versions.get(&to).copied().unwrap_or(quorate_wire::OLDEST_VERSION);
        let bytes = quorate_wire::encode_as(packet, version);
        if self.out.len() >= limits::MAX_OUTPUTS || bytes.len() > quorate_wire::MAX_PACKET_BYTES {
            self.stats.limits_hit += 1;
            return;
        }
        let datagram = !stream && bytes.len() <= MAX_DATAGRAM_BYTES;
        self.out.push_back(if datagram { Output::Datagram { to, bytes } } else { Output::Message { to, bytes } });
    }

    /// Everything that is due by now, each kind once.
    fn run_timers(&mut self) {
        if self.left {
            return;
        }
        let now = self.now.mono;
        self.swim.wake(now, &self.links);
        self.run_reconnect();
        self.run_sync();
        self.run_roll();
        self.run_epochs();
        self.run_hosts();
        self.run_pings();
        self.run_schedule();
        self.run_proposals();
        self.run_ripening();
        if self.leaving.is_some_and(|at| at <= now) {
            self.finish_leave();
        }
    }

    /// Draws the conclusions of what has changed, until nothing changes any more.
    fn settle_down(&mut self) {
        self.take_swim_outputs();
        self.count_reached();
        self.watch_quorate();
        self.watch_settled();
        self.consider_epoch();
        self.assign();
        self.evaluate_dirty();
        self.run_breakers();
        self.flush_log_if_due();
        self.run_gossip();
        self.take_swim_outputs();
        self.watch_suspects(false);
        self.flush_decisions();
        self.flush_second_opinions();
        self.flush_cut();
        self.flush_persist();
        self.wakeup = self.find_wakeup();
    }

    fn event(&mut self, kind: EventKind) {
        self.event_index += 1;
        self.view_dirty = true;
        let event = crate::api::Event { index: self.event_index, at: self.now.wall, kind };
        self.out.push_back(Output::Event(event));
    }

    fn fresh_nonce(&mut self) -> u64 {
        self.nonce = self.nonce.wrapping_add(1);
        quorate_core::hash::mix(&[self.config.seed, u64::from(self.boot), self.nonce])
    }
}
