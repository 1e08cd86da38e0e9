//! The world: drives every agent's engine through simulated time.
//!
//! One event after the other is taken from the queue; whatever an engine puts out in answer is carried out at the same moment. All that is
//! random is drawn from the seed, so a plan and a seed make one run.

use crate::checks::Checks;
use crate::host::{Host, clocks};
use crate::invariants::{Finding, Sight};
use crate::network::{Network, Packet, Step, Told};
use crate::node::Starter;
use crate::plan::{Disk, WakeOrder};
use crate::queue::{Key, Queue, Rank};
use crate::scenario::{Action, Scenario};
use crate::time::SimTime;
use crate::trace::Trace;
use crate::truth::{Probed, Truth};
use quorate_core::{InstanceId, Mono, Outcome, Verdict};
use quorate_mesh::{Command, Event, EventKind, Input, LinkEvent, MeshView, Output, ProbeId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often the world looks at everybody.
pub const SURVEY: Duration = Duration::from_millis(200);
/// In a mesh up to this size an agent's picture is looked at whenever it changes; in a larger one at surveys, and when it tells of a new
/// `down`.
const SMALL_MESH: usize = 10;
/// A leaving agent that has not finished is stopped after this long.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
/// Once all agree for this long after the last fault, and the plan's duration is over, the run ends.
const CALM: Duration = Duration::from_secs(2);
/// More inputs than this in one second of one agent mean that it spins.
const RUNAWAY: u64 = 500_000;

/// Something that will happen.
#[derive(Debug)]
pub enum Happening {
    /// The plan acts.
    Action(Action),
    /// A link moves on.
    Link(Step),
    /// A probe ends.
    Probe { agent: usize, run: u64, id: ProbeId, instance: usize, started: SimTime, outcome: Outcome },
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
    starter: Starter,
    /// Events planned, by the agent they come from.
    sequence: Vec<u64>,
    /// A run that is to find faults, not to measure, ends with the first.
    pub stop_at_first: bool,
}

impl World {
    /// A world in which nothing has happened yet.
    pub fn new(scenario: Scenario, starter: Starter, trace: Trace) -> Self {
        let mut world = Self {
            network: Network::new(&scenario),
            hosts: scenario.agents.iter().map(|_| Host::default()).collect(),
            checks: Checks::new(&scenario),
            trace,
            tally: Tally::default(),
            queue: Queue::new(),
            proofs: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            knocks: BTreeMap::new(),
            starter,
            sequence: vec![0; scenario.agents.len().max(1)],
            stop_at_first: false,
            truth: Truth::new(scenario),
        };
        for (index, (at, action)) in world.truth.scenario.actions.clone().into_iter().enumerate() {
            world.plan(at, Rank::Action, index, 0, Happening::Action(action));
        }
        world.plan(SimTime::START.plus(SURVEY), Rank::Survey, 0, 0, Happening::Survey);
        world
    }

    pub(crate) fn plan(&mut self, at: SimTime, rank: Rank, dst: usize, src: usize, event: Happening) {
        self.sequence[src] += 1;
        let index = |agent: usize| u32::try_from(agent).unwrap_or(u32::MAX);
        self.queue.push(Key { at, rank, dst: index(dst), src: index(src), seq: self.sequence[src] }, event);
        self.tally.events_waiting = self.tally.events_waiting.max(self.queue.len());
    }

    /// Begins the lines of the trace, if they are wanted, with what the run is about.
    pub fn begin_lines(&mut self, plan: &crate::plan::Plan) {
        if self.trace.wants_lines() {
            let scenario = &self.truth.scenario;
            let agents: Vec<_> =
                scenario.agents.iter().map(|a| json!({ "name": a.name, "id": a.id, "zone": a.zone })).collect();
            let about = json!({ "name": scenario.name, "seed": scenario.seed, "plan": plan, "agents": agents });
            self.trace.line(SimTime::START, "run", None, about);
        }
    }

    /// The last moment of the run.
    fn limit(&self) -> SimTime {
        let scenario = &self.truth.scenario;
        scenario.duration.max(scenario.last_fault.plus(scenario.bounds.convergence.0).plus(SURVEY))
    }

    /// Runs to the end.
    pub fn run(&mut self) {
        let limit = self.limit();
        while let Some((key, event)) = self.queue.pop() {
            if key.at > limit || self.done(key.at) {
                break;
            }
            self.truth.now = key.at;
            self.dispatch(event);
        }
        self.refresh_views();
        for host in self.hosts.iter().filter_map(|host| host.process.as_ref()) {
            self.tally.agent_seconds += self.truth.now.since(host.started).as_secs_f64();
        }
        self.checks.look(&self.truth, &Sight::End);
    }

    fn done(&self, next: SimTime) -> bool {
        let scenario = &self.truth.scenario;
        (self.stop_at_first && !self.checks.violations.is_empty())
            || (next > scenario.duration && self.checks.convergence.calm_for(self.truth.now) >= CALM)
    }

    fn dispatch(&mut self, event: Happening) {
        match event {
            Happening::Action(action) => self.act(action),
            Happening::Link(Step::Arrive { from, to, generation, packet }) => {
                if self.network.arrives(from, to, generation) {
                    self.arrive(from, to, packet);
                }
            }
            Happening::Link(step) => {
                self.network.step(&self.truth.scenario, self.truth.now, step);
                self.after_network();
            }
            Happening::Probe { agent, run, id, instance, started, outcome } => {
                if self.hosts[agent].run == run && self.hosts[agent].process.is_some() {
                    self.finish_probe(agent, id, instance, started, outcome);
                }
            }
            Happening::Wake(agent) => self.wake(agent),
            Happening::Knock(agent) => self.knock(agent),
            Happening::Evict { agent, run } => {
                if self.hosts[agent].run == run && self.hosts[agent].process.is_some() {
                    self.leave_done(agent);
                }
            }
            Happening::Admit { agent, sponsor } => {
                if self.hosts[agent].process.is_none() {
                    self.start(agent, Disk::Keep);
                    self.contact(agent, sponsor);
                }
            }
            Happening::Tell(told) => self.tell(told),
            Happening::Survey => self.survey(),
        }
    }

    fn act(&mut self, action: Action) {
        let now = self.truth.now;
        if self.trace.wants_lines() {
            self.trace.line(now, "action", None, json!({ "action": format!("{action:?}") }));
        }
        match action {
            Action::Start(agent) => {
                self.start(agent, Disk::Keep);
                if agent != 0 {
                    self.contact(agent, 0);
                }
            }
            Action::Crash(agent) => {
                if self.hosts[agent].process.is_some() {
                    self.stop(agent);
                }
            }
            Action::Restart(agent, disk) => {
                if self.hosts[agent].process.is_none() && !self.hosts[agent].left && self.hosts[agent].run > 0 {
                    self.start(agent, disk);
                    if disk == Disk::Lose || !self.hosts[agent].remembers() {
                        self.contact_someone(agent);
                    }
                }
            }
            Action::Pause(agent) => {
                if let Some(process) = &mut self.hosts[agent].process {
                    process.paused = true;
                    self.truth.paused(agent);
                    self.network.set_process(&self.truth.scenario, now, agent, true, false);
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
            Action::Network => {
                self.network.refresh(&self.truth.scenario, now);
                self.after_network();
            }
        }
    }

    fn start(&mut self, agent: usize, disk: Disk) {
        let now = self.truth.now;
        if self.hosts[agent].process.is_some() {
            return;
        }
        match self.hosts[agent].start(&self.truth.scenario, agent, now, disk, self.starter) {
            Ok(()) => {
                self.truth.started(agent);
                self.network.set_process(&self.truth.scenario, now, agent, true, true);
                self.after_network();
                self.drain(agent, false);
            }
            Err(error) => {
                let finding = Finding::new(Some(agent), format!("the agent cannot start: {error}"));
                self.checks.report(&self.truth, "contract", finding);
            }
        }
    }

    /// Ends a process without a word.
    fn stop(&mut self, agent: usize) {
        let now = self.truth.now;
        if let Some(process) = self.hosts[agent].process.take() {
            self.tally.agent_seconds += now.since(process.started).as_secs_f64();
        }
        self.truth.ended(agent);
        self.network.set_process(&self.truth.scenario, now, agent, false, false);
        self.after_network();
    }

    /// Ends the process of an agent that has left.
    pub(crate) fn leave_done(&mut self, agent: usize) {
        self.network.close(&self.truth.scenario, self.truth.now, agent);
        self.stop(agent);
        self.hosts[agent].left = true;
    }

    fn resume(&mut self, agent: usize, order: WakeOrder) {
        let Some(process) = &mut self.hosts[agent].process else { return };
        if !process.paused {
            return;
        }
        process.paused = false;
        let mut inbox = std::mem::take(&mut process.inbox);
        self.truth.resumed(agent);
        self.network.set_process(&self.truth.scenario, self.truth.now, agent, true, true);
        self.after_network();
        let before = match order {
            WakeOrder::Packets => inbox.len(),
            WakeOrder::Timers => 0,
            WakeOrder::Mixed => inbox.len() / 2,
        };
        let after = inbox.split_off(before);
        for (input, digest) in inbox {
            self.deliver(agent, input, digest);
        }
        self.wake_if_due(agent);
        for (input, digest) in after {
            self.deliver(agent, input, digest);
        }
    }

    fn arrive(&mut self, from: usize, to: usize, packet: Packet) {
        let from = self.truth.scenario.agents[from].id;
        let Packet { class, bytes, digest } = packet;
        let input = match class {
            crate::network::Class::Datagram => Input::Datagram { from, bytes },
            crate::network::Class::Message => Input::Message { from, bytes },
        };
        self.deliver(to, input, digest);
    }

    fn finish_probe(&mut self, agent: usize, id: ProbeId, instance: usize, started: SimTime, outcome: Outcome) {
        let passed = !matches!(outcome.result, quorate_core::ProbeResult::Fail(_));
        self.truth.probed(agent, instance, Probed { started, finished: self.truth.now, passed });
        if self.trace.wants_lines() {
            let name = self.truth.scenario.agents[agent].name.clone();
            let instance = self.truth.scenario.instances[instance].id.as_str().to_owned();
            let about = json!({ "instance": instance, "started_ns": started.0, "result": outcome.result });
            self.trace.line(self.truth.now, "probe", Some(&name), about);
        }
        self.deliver(agent, Input::Probe { id, outcome }, 0);
    }

    /// Carries out what the network wants done: tells agents, plans what comes later.
    pub(crate) fn after_network(&mut self) {
        for (at, step) in std::mem::take(&mut self.network.later) {
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
        for told in std::mem::take(&mut self.network.told) {
            let (Told::Up(agent, peer) | Told::Down(agent, peer)) = told;
            self.plan(self.truth.now, Rank::Link, agent, peer, Happening::Tell(told));
        }
    }

    fn tell(&mut self, told: Told) {
        let (agent, peer, event) = match told {
            Told::Up(agent, peer) => (agent, peer, LinkEvent::Up),
            Told::Down(agent, peer) => (agent, peer, LinkEvent::Down),
        };
        if self.trace.wants_lines() {
            let (name, peer) = (self.name(agent), self.name(peer));
            self.trace.line(self.truth.now, "link", Some(&name), json!({ "peer": peer, "up": event == LinkEvent::Up }));
        }
        let peer = self.truth.scenario.agents[peer].id;
        self.deliver(agent, Input::Link { peer, event }, 0);
    }

    pub(crate) fn name(&self, agent: usize) -> String {
        self.truth.scenario.agents[agent].name.clone()
    }

    /// Gives an input to an agent's process; one that stands still gets it later.
    pub(crate) fn deliver(&mut self, agent: usize, input: Input, digest: u64) {
        let now = self.truth.now;
        let Some(process) = &mut self.hosts[agent].process else { return };
        if process.paused {
            process.keep(input, digest);
            return;
        }
        let second = now.0 / 1_000_000_000;
        process.handled = if process.handled.1 == second { (process.handled.0 + 1, second) } else { (1, second) };
        if process.handled.0 > RUNAWAY {
            let finding = Finding::new(Some(agent), format!("it handles more than {RUNAWAY} inputs in one second"));
            self.checks.report(&self.truth, "contract", finding);
            self.stop(agent);
            return;
        }
        self.tally.inputs += 1;
        self.trace.input(now, agent, &input, digest);
        let woken = matches!(input, Input::Wake);
        process.node.handle(clocks(&self.truth.scenario, agent, process.started, now), input);
        self.drain(agent, woken);
    }

    /// Takes all outputs of an agent, looks at its picture, and plans its next wake-up.
    fn drain(&mut self, agent: usize, woken: bool) {
        let mut look = self.hosts.len() <= SMALL_MESH;
        while let Some(output) = self.hosts[agent].process.as_mut().and_then(|process| process.node.poll_output()) {
            self.tally.outputs += 1;
            look |= self.tells_of_new_down(&output);
            self.carry_out(agent, output);
        }
        self.after_network();
        let now = self.truth.now;
        let Some(process) = &mut self.hosts[agent].process else { return };
        let due = process.started.plus(Duration::from_nanos(process.node.next_wakeup().0));
        let due = if process.node.next_wakeup() == Mono(u64::MAX) { SimTime::NEVER } else { due };
        // A deadline that is still in the past after it was handled would stop time.
        let due = due.max(if woken { now.plus(Duration::from_micros(1)) } else { now });
        let look = look && process.node.view_changed();
        if due < process.wake_at && due < SimTime::NEVER {
            process.wake_at = due;
            self.plan(due, Rank::Wake, agent, 0, Happening::Wake(agent));
        }
        if look {
            self.look_at(agent);
        }
    }

    /// Does an output tell of a `down` of which nobody has told before?
    fn tells_of_new_down(&self, output: &Output) -> bool {
        let Output::Event(Event { kind: EventKind::Verdicts { changes, .. }, .. }) = output else { return false };
        changes.iter().any(|change| {
            let known = self.proofs.get(&change.instance);
            let same = |proof: &Proof| proof.1 == change.term && proof.2 == Verdict::Down;
            change.to == Verdict::Down && !known.is_some_and(|proofs| proofs.iter().any(same))
        })
    }

    fn wake(&mut self, agent: usize) {
        let now = self.truth.now;
        let Some(process) = &mut self.hosts[agent].process else { return };
        if process.wake_at != now {
            return;
        }
        process.wake_at = SimTime::NEVER;
        if !process.paused {
            self.wake_if_due(agent);
        }
    }

    fn wake_if_due(&mut self, agent: usize) {
        let Some(process) = &mut self.hosts[agent].process else { return };
        let clock = clocks(&self.truth.scenario, agent, process.started, self.truth.now);
        if process.node.next_wakeup() <= clock.mono {
            self.deliver(agent, Input::Wake, 0);
        } else {
            self.drain(agent, false);
        }
    }

    fn survey(&mut self) {
        let now = self.truth.now;
        self.plan(now.plus(SURVEY), Rank::Survey, 0, 0, Happening::Survey);
        // While a large mesh forms, one look a second is enough.
        let calm = self.hosts.len() > SMALL_MESH && now.plus(SURVEY) < self.truth.scenario.first_fault;
        if calm && !now.0.is_multiple_of(1_000_000_000) {
            return;
        }
        self.refresh_views();
        for view in self.hosts.iter().filter_map(view_of) {
            self.tally.gossip_backlog = self.tally.gossip_backlog.max(view.stats.gossip_backlog);
            self.tally.timers = self.tally.timers.max(view.stats.timers);
        }
        let views: Vec<Option<&MeshView>> = self.hosts.iter().map(view_of).collect();
        self.checks.look(&self.truth, &Sight::Survey { views: &views });
    }
}

/// The last picture taken of a host's agent.
pub fn view_of(host: &Host) -> Option<&MeshView> {
    host.process.as_ref().and_then(|process| process.view.as_ref())
}
