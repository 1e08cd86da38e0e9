//! The world: drives every agent's engine through simulated time.
//!
//! One event after the other is taken from the queue; whatever an engine puts out in answer is carried out at the same moment. All that is
//! random is drawn from the seed, so a plan and a seed make one run.

use crate::calls::{Callers, Running};
use crate::checks::Checks;
use crate::host::Host;
use crate::invariants::{CONTRACT, Finding, Sight};
use crate::network::{Network, Packet, Step, Told};
use crate::node::AnyStarter;
use crate::papers::ledger::Ledger;
use crate::plan::Disk;
use crate::queue::{Key, Queue, Rank};
use crate::scenario::{Action, Scenario};
use crate::stop::Stop;
use crate::time::SimTime;
use crate::timeline;
use crate::trace::Trace;
use crate::truth::Truth;
use quorate_core::{InstanceId, Outcome, Verdict};
use quorate_mesh::{Command, Glance, Input, LinkEvent, ProbeId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often the world looks at everybody.
pub const SURVEY: Duration = Duration::from_millis(200);
/// In a mesh up to this size an agent's picture is looked at whenever it changes; in a larger one at surveys, and when it tells of a new
/// `down`.
pub(crate) const SMALL_MESH: usize = 10;
/// A leaving agent that has not finished is stopped after this long.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// Once all agree for this long after the last fault, and the plan's duration is over, the run ends.
const CALM: Duration = Duration::from_secs(2);
/// Something that will happen.
#[derive(Debug)]
pub enum Happening {
    /// The plan acts.
    Action(Action),
    /// A link moves on.
    Link(Step),
    /// A probe ends.
    Probe { agent: usize, run: u64, id: ProbeId, outcome: Box<Outcome> },
    /// A slow process has time again.
    Free { agent: usize, run: u64 },
    /// An agent's deadline.
    Wake(usize),
    /// A joining agent asks again.
    Knock(usize),
    /// A leaving agent has had its time.
    Evict { agent: usize, run: u64 },
    /// A quorate member lets an agent in.
    Admit { agent: usize, sponsor: usize },
    /// An agent hears that a link came up or is gone.
    Tell(Told),
    /// Somebody calls.
    Call { agent: usize, calls: usize },
    /// A call has ended.
    Called(Running),
    /// A person decides about a breaker.
    Word { calls: usize, word: usize },
    /// The world looks around.
    Survey,
}

/// Sizes and counts for the report.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Inputs handled by engines.
    pub inputs: u64,
    /// Outputs taken from engines.
    pub outputs: u64,
    /// Longest backlog of gossip on any agent.
    pub gossip_backlog: usize,
    /// Most timers pending on any agent.
    pub timers: usize,
    /// Most events waiting in the simulator itself.
    pub events_waiting: usize,
    /// Agent-seconds lived.
    pub agent_seconds: f64,
}

/// A certificate as far as it tells one from another: incarnation, term, verdict, signers.
pub type Proof = (u64, u64, Verdict, Vec<u64>);

/// A run in progress.
pub struct World {
    /// What is really the case.
    pub truth: Truth,
    /// Links.
    pub network: Network,
    /// What is checked.
    pub checks: Checks,
    /// What is recorded.
    pub trace: Trace,
    /// Sizes and counts.
    pub tally: Tally,
    pub(crate) hosts: Vec<Host>,
    pub(crate) queue: Queue<Happening>,
    pub(crate) proofs: BTreeMap<InstanceId, BTreeSet<Proof>>,
    /// Sponsors asked by joining agents, by ticket.
    pub(crate) tickets: BTreeMap<u64, (usize, usize)>,
    pub(crate) next_ticket: u64,
    /// How often joining agents have asked.
    pub(crate) knocks: BTreeMap<usize, u64>,
    /// With which process of a cloned agent each process has talked last, by itself and the agent.
    pub(crate) talked: BTreeMap<(usize, usize), usize>,
    /// Probes of overloaded instances: the running second, and how many in it.
    pub(crate) probed: BTreeMap<usize, (u64, u32)>,
    /// Who calls, and by which breakers.
    pub callers: Callers,
    starter: Box<AnyStarter>,
    /// Events planned, by the agent they come from.
    sequence: Vec<u32>,
    /// When it ends before its time.
    pub stop: Stop,
    /// Until then it does not end of itself: something that is held to a bound still has time.
    judged_by: SimTime,
    /// What agents said of each other, if it is to be kept.
    pub ledger: Option<Ledger>,
    /// Are pictures taken and compared with the truth? Experiments at sizes where that takes too long do without.
    pub watched: bool,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(scenario: Scenario, starter: Box<AnyStarter>, trace: Trace) -> Self {
        let mut world = Self {
            network: Network::new(&scenario),
            hosts: (0..scenario.processes()).map(|_| Host::default()).collect(),
            checks: Checks::new(&scenario),
            trace,
            tally: Tally::default(),
            queue: Queue::new(),
            proofs: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            knocks: BTreeMap::new(),
            talked: BTreeMap::new(),
            probed: BTreeMap::new(),
            callers: Callers::default(),
            starter,
            sequence: vec![0; scenario.processes().max(1)],
            stop: Stop::Never,
            judged_by: SimTime::START,
            ledger: None,
            watched: true,
            truth: Truth::new(scenario),
        };
        world.judged_by = timeline::judged_by(&world.truth);
        let ledger = &world.truth.ledger;
        world.hosts.iter_mut().for_each(|host| host.ledger = ledger.clone());
        for (index, (at, action)) in world.truth.scenario.actions.clone().into_iter().enumerate() {
            if let Action::Restart(agent, _) | Action::Join(agent) = action {
                world.hosts[agent].returns = true;
                world.hosts[agent].returns_stale |= matches!(action, Action::Restart(_, Disk::Stale));
            }
            if let Action::Clone(number) = action {
                let agent = world.truth.scenario.doubles[number].agent;
                world.hosts[agent].returns = true;
            }
            world.plan(at, Rank::Action, index, 0, Happening::Action(action));
        }
        world.plan_calls();
        world.plan(SimTime::START.plus(SURVEY), Rank::Survey, 0, 0, Happening::Survey);
        world
    }

    pub(crate) fn plan(&mut self, at: SimTime, rank: Rank, dst: usize, src: usize, event: Happening) {
        self.sequence[src] += 1;
        let index = |agent: usize| u32::try_from(agent).unwrap_or(u32::MAX);
        self.queue.push(Key { at, rank, dst: index(dst), src: index(src), seq: self.sequence[src] }, event);
        self.tally.events_waiting = self.tally.events_waiting.max(self.queue.len());
    }

    /// The last moment of the run.
    fn limit(&self) -> SimTime {
        let scenario = &self.truth.scenario;
        scenario.duration.max(scenario.last_fault.plus(scenario.bounds.convergence.0).plus(SURVEY)).max(self.judged_by)
    }

    /// Runs to the end.
    pub fn run(&mut self) {
        let limit = self.limit();
        let scenario = &self.truth.scenario;
        self.truth.rosters.begin(if scenario.start.is_formed() {
            scenario.founders.iter().copied().collect()
        } else {
            [0].into()
        });
        while let Some((at, event)) = self.queue.pop() {
            if at > limit || self.done(at) {
                break;
            }
            if self.stop.undecided(at) {
                return;
            }
            let told = self.trace.wants_lines();
            if told {
                self.tell_ground(at);
            }
            self.truth.now = at;
            self.dispatch(event);
            if told {
                self.tell_news();
            }
        }
        self.refresh_views();
        for host in self.hosts.iter().filter_map(|host| host.process.as_ref()) {
            self.tally.agent_seconds += self.truth.now.since(host.started).as_secs_f64();
        }
        self.checks.look(&self.truth, &Sight::End);
        self.tell_end();
    }

    fn done(&self, next: SimTime) -> bool {
        let scenario = &self.truth.scenario;
        self.stop.enough(&self.checks.violations)
            || (next > scenario.duration.max(self.judged_by)
                && self.checks.convergence.calm_for(self.truth.now) >= CALM)
    }

    pub(crate) fn dispatch(&mut self, event: Happening) {
        match event {
            Happening::Action(action) => self.act(action),
            Happening::Link(Step::Arrive { from, to, generation, packet }) => {
                if self.network.arrives(from, to, generation) {
                    self.arrive(from, to, packet);
                }
            }
            Happening::Link(step) => {
                self.network.step(self.truth.now, step);
                self.after_network();
            }
            Happening::Probe { agent, run, id, outcome } => {
                if self.hosts[agent].run == run {
                    self.deliver(agent, Input::Probe { id, outcome: *outcome }, 0);
                }
            }
            Happening::Free { agent, run } => self.free(agent, run),
            Happening::Wake(agent) => self.wake(agent),
            Happening::Knock(agent) => self.knock(agent),
            Happening::Evict { agent, run } => {
                if self.hosts[agent].run == run && self.hosts[agent].process.is_some() {
                    self.leave_done(agent);
                }
            }
            Happening::Admit { agent, sponsor } => {
                if self.hosts[agent].process.is_none() && !self.truth.scenario.felled(agent, self.truth.now) {
                    self.start(agent, Disk::Keep);
                    self.contact(agent, sponsor);
                    self.contact_some(agent);
                }
            }
            Happening::Tell(told) => self.tell(told),
            Happening::Call { agent, calls } => self.call(agent, calls),
            Happening::Called(running) => self.called(running),
            Happening::Word { calls, word } => self.give_word(calls, word),
            Happening::Survey => self.survey(),
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.truth.now;
        match action {
            Action::Start(agent) if self.truth.scenario.felled(agent, now) => {}
            Action::Start(agent) => {
                self.start(agent, Disk::Keep);
                if agent != 0 {
                    self.contact(agent, 0);
                }
            }
            Action::Form => self.form(),
            Action::Crash(agent) => {
                if self.hosts[agent].process.is_some() {
                    self.stop(agent);
                }
            }
            Action::Restart(agent, disk) => {
                let (host, scenario) = (&self.hosts[agent], &self.truth.scenario);
                // Its host may have been dark when all others started.
                let late = host.run == 0 && scenario.founders.contains(&agent);
                let felled = scenario.felled(agent, now);
                if late && !felled {
                    self.act(Action::Start(agent));
                } else if host.process.is_none() && !host.left && host.run > 0 && !felled {
                    self.start(agent, disk);
                    let contacts = self.hosts[agent].contacts.clone();
                    let all_left = self.contacts_left(agent);
                    contacts.into_iter().for_each(|peer| self.contact(agent, peer));
                    // An old disk may be of a time when it knew nobody, and whom it knows may all have left.
                    if disk != Disk::Keep || !self.hosts[agent].remembers() || all_left {
                        self.contact_some(agent);
                    }
                }
            }
            Action::Pause(agent) => {
                if let Some(process) = &mut self.hosts[agent].process {
                    process.paused = true;
                    self.truth.paused(agent);
                    self.network.set_process(now, agent, true, false);
                    self.after_network();
                }
            }
            Action::Resume(agent, order) => self.resume(agent, order),
            Action::Leave(agent) => {
                // A sleeping process cannot say good-bye.
                if self.hosts[agent].process.as_ref().is_some_and(|process| !process.paused) {
                    let run = self.hosts[agent].run;
                    self.truth.left(agent);
                    self.plan(now.plus(LEAVE_PATIENCE), Rank::Action, agent, 0, Happening::Evict { agent, run });
                    self.deliver(agent, Input::Command(Command::Leave), 0);
                }
            }
            Action::Join(agent) => self.knock(agent),
            Action::Clone(number) => {
                let (process, agent) = (self.truth.agents() + number, self.truth.scenario.doubles[number].agent);
                let disk = self.hosts[agent].disk();
                self.hosts[process].copy_disk(disk);
                self.start(process, Disk::Keep);
            }
            Action::EndClone(number) => self.stop(self.truth.agents() + number),
            Action::Register(agent) => {
                let registrations = self.truth.scenario.registrations(agent, now);
                self.deliver(agent, Input::Command(Command::Register(registrations)), 0);
            }
            Action::Reset(number) => {
                self.network.reset(now, &self.truth.scenario.resets[number]);
                self.after_network();
            }
            Action::Network => {
                self.network.refresh(&self.truth.scenario, now);
                self.after_network();
            }
        }
    }

    pub(crate) fn start(&mut self, agent: usize, disk: Disk) {
        let now = self.truth.now;
        if self.hosts[agent].process.is_some() {
            return;
        }
        match self.hosts[agent].start(&self.truth.scenario, agent, now, disk, self.starter.as_ref()) {
            Ok(()) => {
                if agent < self.truth.agents() {
                    self.truth.started(agent);
                }
                self.network.set_process(now, agent, true, true);
                self.after_network();
                self.drain(agent, false);
            }
            Err(error) => {
                let finding = Finding::new(Some(agent), format!("the agent cannot start: {error}"));
                self.checks.report(&self.truth, CONTRACT, finding);
            }
        }
    }

    /// Ends a process without a word.
    pub(crate) fn stop(&mut self, agent: usize) {
        let now = self.truth.now;
        if let Some(process) = self.hosts[agent].process.take() {
            self.tally.agent_seconds += now.since(process.started).as_secs_f64();
        }
        if agent < self.truth.agents() {
            self.truth.ended(agent);
        }
        self.network.set_process(now, agent, false, false);
        self.after_network();
    }

    /// Ends the process of an agent that has left.
    pub(crate) fn leave_done(&mut self, agent: usize) {
        self.network.close(self.truth.now, agent);
        self.stop(agent);
        self.hosts[agent].left = true;
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        let scenario = &self.truth.scenario;
        let from = scenario.agents[scenario.role(from)].id;
        let Packet { class, bytes, digest } = packet;
        let input = match class {
            crate::network::Class::Datagram => Input::Datagram { from, bytes },
            crate::network::Class::Message => Input::Message { from, bytes },
        };
        self.deliver(to, input, digest);
    }

    /// Carries out what the network wants done: tells agents, plans what comes later.
    pub(crate) fn after_network(&mut self) {
        // The lists go back, so that their room is used again.
        let (mut later, mut told) = (std::mem::take(&mut self.network.later), std::mem::take(&mut self.network.told));
        for (at, step) in later.drain(..) {
            let (rank, dst, src) = match &step {
                Step::Arrive { from, to, .. } => (Rank::Arrival, *to, *from),
                Step::Dial { from, to, .. } | Step::GiveUp { from, to, .. } | Step::Established { from, to, .. } => {
                    (Rank::Link, *from, *to)
                }
                Step::Accepted { at, peer, .. } | Step::Idle { at, peer, .. } | Step::Closed { at, peer, .. } => {
                    (Rank::Link, *at, *peer)
                }
            };
            self.plan(at, rank, dst, src, Happening::Link(step));
        }
        for told in told.drain(..) {
            let (Told::Up(agent, peer) | Told::Down(agent, peer)) = told;
            self.plan(self.truth.now, Rank::Link, agent, peer, Happening::Tell(told));
        }
        (self.network.later, self.network.told) = (later, told);
    }

    fn tell(&mut self, told: Told) {
        let (agent, peer, event) = match told {
            Told::Up(agent, peer) => (agent, peer, LinkEvent::Up { version: quorate_wire::VERSION }),
            Told::Down(agent, peer) => (agent, peer, LinkEvent::Down),
        };
        let up = matches!(told, Told::Up(..));
        self.tell_link(agent, peer, up);
        let scenario = &self.truth.scenario;
        let role = scenario.role(peer);
        if up && scenario.doubles.iter().any(|double| double.agent == role) {
            self.talked.insert((agent, role), peer);
        } else if self.talked.get(&(agent, role)) == Some(&peer) {
            self.talked.remove(&(agent, role));
        }
        let peer = self.truth.scenario.agents[role].id;
        self.deliver(agent, Input::Link { peer, event }, 0);
    }

    fn survey(&mut self) {
        let now = self.truth.now;
        self.plan(now.plus(SURVEY), Rank::Survey, 0, 0, Happening::Survey);
        // While a large mesh forms, one look a second is enough.
        let calm = self.hosts.len() > SMALL_MESH && now.plus(SURVEY) < self.truth.scenario.first_fault;
        if !self.watched || calm && !now.0.is_multiple_of(1_000_000_000) {
            return;
        }
        self.refresh_views();
        if now.0.is_multiple_of(COUNT_NS) {
            self.refresh_counts();
        }
        for view in self.hosts.iter().filter_map(view_of) {
            self.tally.gossip_backlog = self.tally.gossip_backlog.max(view.stats.gossip_backlog);
            self.tally.timers = self.tally.timers.max(view.stats.timers);
        }
        self.tell_survey();
        let views: Vec<Option<&Glance>> = self.hosts.iter().take(self.truth.agents()).map(view_of).collect();
        self.checks.look(&self.truth, &Sight::Survey { views: &views });
        self.name_others();
    }
}

/// Counters are read anew this often, whether or not the picture has changed.
const COUNT_NS: u64 = 1_000_000_000;

/// The last picture taken of a host's agent.
pub fn view_of(host: &Host) -> Option<&Glance> {
    host.process.as_ref().and_then(|process| process.view.as_ref())
}
