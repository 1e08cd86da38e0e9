//! The smallest world an engine can live in: a few engines, a fixed delay, cuts, and targets that answer or do not.
//!
//! The simulator is the tool for proofs; this is for tests of one behaviour each, next to the code.

use quorate_core::check::UnixCheck;
use quorate_core::{
    AgentId, Cause, Check, CheckKind, InstanceId, Mono, Now, Outcome, Phase, ProbeResult, Registration, ServiceName,
    TcpCheck, UnixMs, Verdict, Zone, hash,
};
use quorate_mesh::{Command, Engine, EngineConfig, Event, EventKind, Input, Keys, LinkEvent, Output, Timing};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const DELAY: Duration = Duration::from_millis(1);
pub const MS: u64 = 1_000_000;

/// Signatures by a keyed hash: the key of an agent is known to nobody who goes through this interface.
pub struct HashKeys(pub AgentId);

fn tag(agent: AgentId, bytes: &[u8]) -> Vec<u8> {
    hash::mix(&[0x5ec2e7, agent.0, hash::bytes(bytes)]).to_le_bytes().to_vec()
}

impl Keys for HashKeys {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        tag(self.0, bytes)
    }
    fn admit(&self, credential: &[u8]) -> Option<AgentId> {
        Some(AgentId(u64::from_le_bytes(credential.try_into().ok()?)))
    }
    fn verify(&self, credential: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
        self.admit(credential).is_some_and(|agent| tag(agent, bytes) == signature)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Up,
    /// Lets nobody in, and says at length why.
    Guarded,
    Refused,
    Hung,
}

pub struct Host {
    pub engine: Option<Engine>,
    pub disk: Option<Vec<u8>>,
    pub paused: bool,
    pub events: Vec<Event>,
    pub orders: Vec<(quorate_mesh::BreakerKey, quorate_breaker::Event)>,
    inbox: Vec<Input>,
}

pub struct World {
    pub now: u64,
    pub hosts: BTreeMap<u64, Host>,
    pub targets: BTreeMap<InstanceId, (u64, Target)>,
    /// How often each agent has probed each instance.
    looks: BTreeMap<(u64, InstanceId), u64>,
    /// When probes of instances of the service `slow` began.
    pub slow_probes: Vec<u64>,
    /// Who cannot probe what runs on whose host, although they hear each other.
    pub blind: BTreeSet<(u64, u64)>,
    /// Agents that look up no name.
    pub nameless: BTreeSet<u64>,
    /// An agent whose roll calls are heard when they ask for the second time only.
    pub asks_in_vain: Option<u64>,
    /// When its running roll call began.
    asked_at: u64,
    /// Directed pairs that lose everything.
    pub cuts: BTreeSet<(u64, u64)>,
    pub lose_every: u64,
    queue: BTreeMap<(u64, u64), (u64, Input)>,
    links: BTreeSet<(u64, u64)>,
    seq: u64,
    pub rolls: Vec<(u64, bool)>,
    pub left: BTreeSet<u64>,
    /// Most proposals that an agent made in one turn.
    pub most_proposed: u64,
    registrations: BTreeMap<u64, Vec<Registration>>,
    timing: Timing,
    /// Where agents stand that do not stand in the default zone.
    pub zones: BTreeMap<u64, Zone>,
}

/// An instance with a TCP check each second; of the service `job` with one that only its home agent can make, of `slow` each ten seconds, of `patient`
/// with one that waits longer than a roll call holds, of `frail` with one that fails at its first failure, of
/// `hasty` with one that may take its whole period.
pub fn registration(name: &str) -> Registration {
    let socket = UnixCheck { path: "/run/job".into(), send: Vec::new(), expect: None, max_read_bytes: 1 };
    let home_only = name.starts_with("job@");
    let (period_s, timeout_ms) = match name.split('@').next() {
        Some("slow") => (10, 500),
        Some("patient") => (3, 2_000),
        Some("hasty") => (3, 3_000),
        _ => (1, 500),
    };
    let check = Check {
        kind: if home_only { CheckKind::Unix(socket) } else { CheckKind::Tcp(TcpCheck::default()) },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(period_s),
        timeout: Duration::from_millis(timeout_ms),
        failure_threshold: if name.starts_with("frail@") { 1 } else { 3 },
        ..Check::default()
    };
    Registration {
        instance: InstanceId::new(name).unwrap(),
        service: ServiceName::new(name.split('@').next().unwrap()).unwrap(),
        address: "10.0.0.1:80".into(),
        check: check.into(),
        observers: 5,
        placement: Default::default(),
    }
}

impl World {
    pub fn new() -> Self {
        Self {
            now: MS,
            hosts: BTreeMap::new(),
            targets: BTreeMap::new(),
            looks: BTreeMap::new(),
            slow_probes: Vec::new(),
            blind: BTreeSet::new(),
            nameless: BTreeSet::new(),
            asks_in_vain: None,
            asked_at: 0,
            cuts: BTreeSet::new(),
            lose_every: 0,
            queue: BTreeMap::new(),
            links: BTreeSet::new(),
            seq: 0,
            rolls: Vec::new(),
            left: BTreeSet::new(),
            most_proposed: 0,
            registrations: BTreeMap::new(),
            timing: Timing::default(),
            zones: BTreeMap::new(),
        }
    }

    /// A formed mesh of agents 1 to `n`, with one instance `web@i` on each.
    pub fn formed(n: u64) -> Self {
        Self::formed_with(n, Timing::default())
    }

    pub fn formed_with(n: u64, timing: Timing) -> Self {
        let mut world = Self { timing, ..Self::new() };
        for agent in 1..=n {
            world.start(agent, &[&format!("web@{agent}")]);
            if agent > 1 {
                world.contact(agent, 1);
            }
        }
        world.run(8_000);
        world
    }

    pub fn start(&mut self, agent: u64, instances: &[&str]) {
        let registrations: Vec<_> = instances.iter().map(|name| registration(name)).collect();
        for registration in &registrations {
            self.targets.entry(registration.instance.clone()).or_insert((agent, Target::Up));
        }
        self.registrations.insert(agent, registrations);
        self.boot(agent);
    }

    /// Makes these all that `agent` is home to, now and after its next starts.
    pub fn register(&mut self, agent: u64, registrations: &[Registration]) {
        for registration in registrations {
            self.targets.entry(registration.instance.clone()).or_insert((agent, Target::Up)).0 = agent;
        }
        self.registrations.insert(agent, registrations.to_vec());
        self.input(agent, Input::Command(Command::Register(registrations.to_vec())));
    }

    pub fn boot(&mut self, agent: u64) {
        let config = EngineConfig {
            agent: AgentId(agent),
            name: format!("a{agent}"),
            zone: self.zones.get(&agent).cloned().unwrap_or_default(),
            address: format!("127.0.0.1:{}", 7000 + agent).parse().unwrap(),
            api_address: String::new(),
            version: "test".into(),
            credential: agent.to_le_bytes().to_vec(),
            founder: agent == 1,
            boot_floor: 0,
            registrations: self.registrations[&agent].clone(),
            seed: 7,
            timing: self.timing.clone(),
        };
        let disk = self.hosts.get(&agent).and_then(|host| host.disk.clone());
        let engine = Engine::new(config, disk.as_deref(), Box::new(HashKeys(AgentId(agent))), self.clock()).unwrap();
        self.hosts.insert(
            agent,
            Host { engine: Some(engine), disk, paused: false, events: vec![], orders: vec![], inbox: vec![] },
        );
        self.drain(agent);
    }

    /// A fresh agent without instances comes to the mesh through `seed`.
    pub fn join(&mut self, agent: u64, seed: u64) {
        self.start(agent, &[]);
        self.contact(agent, seed);
    }

    pub fn crash(&mut self, agent: u64) {
        self.hosts.get_mut(&agent).unwrap().engine = None;
        self.links.retain(|(a, b)| *a != agent && *b != agent);
    }

    pub fn contact(&mut self, agent: u64, seed: u64) {
        let address = format!("127.0.0.1:{}", 7000 + seed).parse().unwrap();
        self.input(agent, Input::Command(Command::Contact { agent: AgentId(seed), address }));
    }

    pub fn cut(&mut self, a: &[u64], b: &[u64]) {
        for x in a {
            for y in b {
                self.cuts.insert((*x, *y));
                self.cuts.insert((*y, *x));
            }
        }
    }

    /// Every group loses touch with every other.
    pub fn split(&mut self, groups: &[&[u64]]) {
        for (index, one) in groups.iter().enumerate() {
            groups[index + 1..].iter().for_each(|other| self.cut(one, other));
        }
    }

    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    pub fn clock(&self) -> Now {
        Now { mono: Mono(self.now), wall: UnixMs(1_700_000_000_000 + self.now / MS) }
    }

    pub fn input(&mut self, agent: u64, input: Input) {
        let clock = self.clock();
        let host = self.hosts.get_mut(&agent).unwrap();
        if host.paused {
            host.inbox.push(input);
            return;
        }
        if let Some(engine) = &mut host.engine {
            let before = engine.stats().proposals;
            engine.handle(clock, input);
            self.most_proposed = self.most_proposed.max(engine.stats().proposals - before);
            self.drain(agent);
        }
    }

    /// What an agent puts out upon an input, which is then lost.
    pub fn outputs(&mut self, agent: u64, input: Input) -> Vec<Output> {
        let clock = self.clock();
        let engine = self.hosts.get_mut(&agent).unwrap().engine.as_mut().unwrap();
        engine.handle(clock, input);
        std::iter::from_fn(|| engine.poll_output()).collect()
    }

    pub fn pause(&mut self, agent: u64) {
        self.hosts.get_mut(&agent).unwrap().paused = true;
    }

    pub fn resume(&mut self, agent: u64) {
        let host = self.hosts.get_mut(&agent).unwrap();
        host.paused = false;
        for input in std::mem::take(&mut host.inbox) {
            self.input(agent, input);
        }
        self.input(agent, Input::Wake);
    }

    fn push(&mut self, after: Duration, to: u64, input: Input) {
        self.seq += 1;
        self.queue.insert((self.now + after.as_nanos() as u64, self.seq), (to, input));
    }

    fn drain(&mut self, agent: u64) {
        loop {
            let Some(engine) = &mut self.hosts.get_mut(&agent).unwrap().engine else { return };
            let Some(output) = engine.poll_output() else { return };
            match output {
                Output::Datagram { to, bytes } => {
                    assert!(bytes.len() <= 1150);
                    self.carry(agent, to.0, Input::Datagram { from: AgentId(agent), bytes }, true);
                }
                Output::Message { to, bytes } => {
                    self.carry(agent, to.0, Input::Message { from: AgentId(agent), bytes }, false)
                }
                Output::Probe(request) => {
                    *self.looks.entry((agent, request.instance.clone())).or_default() += 1;
                    if request.service.as_str() == "slow" {
                        self.slow_probes.push(self.now);
                    }
                    let (home, target) = self.targets[&request.instance];
                    let cut = self.cuts.contains(&(agent, home)) || self.cuts.contains(&(home, agent));
                    let cut = cut || self.blind.contains(&(agent, home));
                    let target = if cut || self.hosts[&home].engine.is_none() { Target::Hung } else { target };
                    let nameless = self.nameless.contains(&agent);
                    let (after, outcome) = match target {
                        _ if nameless => {
                            (DELAY, Outcome::fail(Phase::Resolve, Cause::NameNotFound, "no such name", DELAY))
                        }
                        Target::Up => (DELAY * 2, Outcome::pass(DELAY * 2)),
                        Target::Guarded => {
                            let result = ProbeResult::Protected("because ".repeat(130));
                            (DELAY * 2, Outcome { result, ..Outcome::pass(DELAY * 2) })
                        }
                        Target::Refused => {
                            (DELAY * 2, Outcome::fail(Phase::Connect, Cause::Refused, "refused", DELAY * 2))
                        }
                        Target::Hung => (
                            request.check.timeout,
                            Outcome::fail(Phase::Connect, Cause::Timeout, "timeout", request.check.timeout),
                        ),
                    };
                    self.push(after, agent, Input::Probe { id: request.id, outcome });
                }
                Output::Persist { .. } => {
                    let host = self.hosts.get_mut(&agent).unwrap();
                    host.disk = Some(host.engine.as_ref().unwrap().state());
                }
                Output::Event(event) => self.hosts.get_mut(&agent).unwrap().events.push(event),
                Output::RollCall { quorate, .. } => self.rolls.push((agent, quorate)),
                Output::Left => {
                    self.left.insert(agent);
                }
                Output::Breaker { key, event } => {
                    let host = self.hosts.get_mut(&agent).unwrap();
                    host.orders.push((key, event));
                }
                Output::Address { .. } => {}
            }
        }
    }

    fn carry(&mut self, from: u64, to: u64, input: Input, lossy: bool) {
        let known = self.hosts.get(&to).is_some_and(|host| host.engine.is_some());
        let lost = lossy && self.lose_every > 0 && self.seq.is_multiple_of(self.lose_every);
        if !known || self.cuts.contains(&(from, to)) || lost || self.in_vain(from, &input) {
            self.seq += 1;
            return;
        }
        if self.links.insert((from, to)) {
            self.links.insert((to, from));
            self.push(
                DELAY,
                to,
                Input::Link { peer: AgentId(from), event: LinkEvent::Up { version: quorate_wire::VERSION } },
            );
            self.push(
                DELAY,
                from,
                Input::Link { peer: AgentId(to), event: LinkEvent::Up { version: quorate_wire::VERSION } },
            );
        }
        self.push(DELAY, to, input);
    }

    fn in_vain(&mut self, from: u64, input: &Input) -> bool {
        let Input::Datagram { bytes, .. } = input else { return false };
        let asks = matches!(quorate_wire::decode(bytes), Ok(quorate_wire::Packet::RollCall { .. }));
        if self.asks_in_vain != Some(from) || !asks {
            return false;
        }
        if self.now > self.asked_at + 200 * MS {
            self.asked_at = self.now;
        }
        self.now == self.asked_at
    }

    /// Lets `ms` milliseconds pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        loop {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let woken = self
                .hosts
                .iter()
                .filter(|(_, host)| !host.paused)
                .filter_map(|(agent, host)| Some((host.engine.as_ref()?.next_wakeup().0.max(self.now), *agent)))
                .min();
            match (queued, woken) {
                (Some(at), woken) if woken.is_none_or(|(wake, _)| at <= wake) => {
                    if at > end {
                        break;
                    }
                    let ((at, _), (to, input)) = self.queue.pop_first().unwrap();
                    self.now = at;
                    self.input(to, input);
                }
                (_, Some((at, agent))) => {
                    if at > end {
                        break;
                    }
                    self.now = at;
                    self.input(agent, Input::Wake);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    /// Runs until `done`, at most `ms`; says how long it took.
    pub fn until(&mut self, ms: u64, mut done: impl FnMut(&mut Self) -> bool) -> u64 {
        for passed in (0..ms).step_by(20) {
            if done(self) {
                return passed;
            }
            self.run(20);
        }
        panic!("not within {ms} ms:\n{}", self.picture());
    }

    pub fn live(&self) -> Vec<u64> {
        self.hosts.iter().filter(|(_, host)| host.engine.is_some()).map(|(agent, _)| *agent).collect()
    }

    pub fn view(&mut self, agent: u64) -> quorate_mesh::MeshView {
        self.hosts.get_mut(&agent).unwrap().engine.as_mut().unwrap().view()
    }

    pub fn looks(&self, agent: u64, instance: &InstanceId) -> u64 {
        self.looks.get(&(agent, instance.clone())).copied().unwrap_or(0)
    }

    /// How often an agent has tried to have the roster changed.
    pub fn attempts(&self, agent: u64) -> u64 {
        self.hosts[&agent].engine.as_ref().map_or(0, |engine| engine.stats().epoch_attempts)
    }

    pub fn verdict(&mut self, agent: u64, instance: &str) -> Verdict {
        let id = InstanceId::new(instance).unwrap();
        self.view(agent).instances.get(&id).map_or(Verdict::Unknown, |view| view.verdict)
    }

    pub fn all(&mut self, agents: &[u64], instance: &str, verdict: Verdict) -> bool {
        agents.iter().all(|agent| self.verdict(*agent, instance) == verdict)
    }

    pub fn host(agent: u64) -> String {
        InstanceId::host(AgentId(agent)).to_string()
    }

    /// Changes to `down` that an agent told of.
    pub fn downs(&self, agent: u64) -> Vec<String> {
        let changes = self.hosts[&agent].events.iter().filter_map(|event| match &event.kind {
            EventKind::Verdicts { changes, .. } => Some(changes),
            _ => None,
        });
        changes
            .flatten()
            .filter(|change| change.to == Verdict::Down)
            .map(|change| change.instance.to_string())
            .collect()
    }

    pub fn picture(&mut self) -> String {
        let mut text = String::new();
        for agent in self.live() {
            let view = self.view(agent);
            text += &format!(
                "agent {agent} quorate {} alive {} roster {} settled {}\n",
                view.quorate, view.alive, view.roster, view.settled
            );
            for (id, instance) in view.instances.iter() {
                let votes: Vec<_> = instance
                    .observers
                    .iter()
                    .map(|o| {
                        format!(
                            "{}:{}{}",
                            o.name,
                            o.observation.as_ref().map_or("-".into(), |o| o.vote.to_string()),
                            if o.heard { "" } else { "!" }
                        )
                    })
                    .collect();
                text += &format!(
                    "  {id} {} decided {} term {} stale {} k={} [{}]\n",
                    instance.verdict,
                    instance.decided,
                    instance.term,
                    instance.stale_since.is_some(),
                    instance.assigned,
                    votes.join(" ")
                );
            }
            text += &format!("  {:?}\n", view.stats);
        }
        text
    }
}
