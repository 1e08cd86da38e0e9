//! Plain foca in an agent's place: stock SWIM with the library's own preset and nothing of ours around it, under the same network.
//!
//! What the papers' experiments compare the mesh with. It joins by an announcement to the agent it is told of, or starts with all the
//! others in its table when the mesh is to begin formed. Its membership comes out as the events of the real agent: `alive`, `failed`, and
//! `suspect` for a probe of its own that nobody answered. It probes no instance and decides nothing.

mod codec;

use crate::node::Node;
use codec::{Bytes, PlainId};
use foca::{Config, Foca, Member, NoCustomBroadcast, Notification, Runtime, Timer};
use quorate_core::{AgentId, Mono, Now, hash};
use quorate_mesh::{
    Acquaintance, Command, Event, EventKind, Formation, Glance, Input, MemberState, MeshView, Output, Stats,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Largest packet: a datagram of the simulated network. The preset's 1,400 bytes do not fit into one.
const MAX_PACKET_BYTES: usize = crate::carry::MAX_DATAGRAM_BYTES;
/// Who has found nobody yet announces itself again after this long.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);

/// Over how long the first pings of a formed mesh are spread: one period.
const PHASES_NS: u64 = 1_000_000_000;

/// The mesh that plain agents belong to.
#[derive(Debug, Clone)]
pub struct PlainMesh {
    /// Where each of them is: what a real identity would carry.
    pub addresses: BTreeMap<AgentId, SocketAddr>,
}

impl PlainMesh {
    /// The library's preset for a local network of this size.
    fn config(&self) -> Config {
        let size = u32::try_from(self.addresses.len()).unwrap_or(u32::MAX);
        let mut config = Config::new_lan(NonZeroU32::new(size).unwrap_or(NonZeroU32::MIN));
        config.max_packet_size = NonZeroUsize::new(MAX_PACKET_BYTES).unwrap_or(NonZeroUsize::MIN);
        config
    }
}

/// One agent that runs plain foca.
pub struct Plain {
    foca: Foca<PlainId, Bytes, ChaCha8Rng, NoCustomBroadcast>,
    mesh: Rc<PlainMesh>,
    me: AgentId,
    now: Now,
    timers: BTreeMap<(Mono, u8, u64), Timer<PlainId>>,
    timers_set: u64,
    out: VecDeque<Output>,
    events: u64,
    active: usize,
    dialled: BTreeSet<AgentId>,
    seed: Option<(AgentId, Mono)>,
    /// Agents of a formed mesh do not ping in step.
    phase: Duration,
}

impl Plain {
    /// Starts one.
    pub fn new(me: AgentId, seed: u64, mesh: Rc<PlainMesh>, now: Now) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self {
            foca: Foca::new(PlainId::first(me), mesh.config(), rng, Bytes),
            me,
            now,
            timers: BTreeMap::new(),
            timers_set: 0,
            out: VecDeque::new(),
            events: 0,
            active: 0,
            dialled: BTreeSet::new(),
            seed: None,
            phase: Duration::from_nanos(hash::mix(&[seed, me.0]) % PHASES_NS),
            mesh,
        }
    }

    fn drive(
        &mut self,
        act: impl FnOnce(
            &mut Foca<PlainId, Bytes, ChaCha8Rng, NoCustomBroadcast>,
            &mut Collected,
        ) -> Result<(), foca::Error>,
    ) {
        let mut collected = Collected::default();
        // What cannot be read is dropped, as by any agent.
        let _ = act(&mut self.foca, &mut collected);
        for (agent, state) in collected.notes {
            self.note(agent, state);
        }
        for (to, bytes) in collected.sends {
            self.send(to, bytes);
        }
        for (timer, after) in collected.timers {
            self.timers_set += 1;
            self.timers.insert((self.now.mono + after, order(&timer), self.timers_set), timer);
        }
    }

    fn note(&mut self, agent: AgentId, to: MemberState) {
        match to {
            MemberState::Alive => self.active += 1,
            MemberState::Failed => self.active = self.active.saturating_sub(1),
            MemberState::Suspect | MemberState::Left => {}
        }
        self.events += 1;
        let kind = EventKind::Member { agent, name: String::new(), from: None, to };
        self.out.push_back(Output::Event(Event { index: self.events, at: self.now.wall, kind }));
    }

    fn send(&mut self, to: AgentId, bytes: Vec<u8>) {
        // The library may gossip to, or announce itself to, a former identity of its own.
        if to == self.me {
            return;
        }
        if self.dialled.insert(to)
            && let Some(address) = self.mesh.addresses.get(&to)
        {
            self.out.push_back(Output::Address { agent: to, address: *address });
        }
        self.out.push_back(Output::Datagram { to, bytes });
    }

    fn run_timers(&mut self) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > self.now.mono {
                break;
            }
            let timer = entry.remove();
            self.drive(|foca, sink| foca.handle_timer(timer, sink));
        }
        if let Some((seed, at)) = self.seed
            && at <= self.now.mono
        {
            self.seed = (self.active == 0).then_some((seed, self.now.mono + ANNOUNCE_AGAIN));
            if self.seed.is_some() {
                self.drive(|foca, sink| foca.announce(PlainId::first(seed), sink));
            }
        }
    }
}

impl Node for Plain {
    fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Datagram { bytes, .. } | Input::Message { bytes, .. } => {
                self.drive(|foca, sink| foca.handle_data(&bytes, sink));
            }
            Input::Command(Command::Contact { agent, .. }) => self.seed = Some((agent, now.mono)),
            Input::Command(Command::Leave) => {
                self.drive(|foca, sink| foca.leave_cluster(sink));
                self.out.push_back(Output::Left);
            }
            Input::Command(_) | Input::Wake | Input::Link { .. } | Input::Probe { .. } | Input::Breakers(_) => {}
        }
        self.run_timers();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn next_wakeup(&self) -> Mono {
        let timer = self.timers.first_key_value().map(|((at, ..), _)| *at);
        timer.into_iter().chain(self.seed.map(|(_, at)| at)).min().unwrap_or(Mono(u64::MAX))
    }

    /// Its events say all there is to say.
    fn view_changed(&self) -> bool {
        false
    }

    /// It knows from its mesh whom it is to know.
    fn acquaintance(&self) -> Option<Acquaintance> {
        None
    }

    fn form(&mut self, _: &Formation) {
        let (mesh, me, now) = (Rc::clone(&self.mesh), self.me, self.now);
        let others =
            mesh.addresses.keys().filter(|agent| **agent != me).map(|agent| Member::alive(PlainId::first(*agent)));
        self.now.mono = now.mono + self.phase;
        self.drive(|foca, sink| foca.apply_many(others, false, sink));
        self.now = now;
        // Nobody has come: they have been there all along.
        self.out.clear();
    }

    fn glance(&mut self) -> Glance {
        let MeshView {
            agent,
            at,
            index,
            epoch,
            quorate,
            quorate_since,
            alive,
            roster,
            roster_digest,
            settled,
            instances,
            stats,
            ..
        } = self.view();
        let members = Arc::default();
        Glance {
            agent,
            at,
            index,
            epoch,
            quorate,
            quorate_since,
            alive,
            roster,
            roster_digest,
            settled,
            members,
            instances,
            stats,
        }
    }

    fn view(&mut self) -> MeshView {
        MeshView {
            agent: self.me,
            name: String::new(),
            at: self.now.wall,
            index: 0,
            epoch: 0,
            quorate: false,
            quorate_since: self.now.wall,
            alive: self.active + 1,
            roster: self.mesh.addresses.len(),
            roster_digest: 0,
            settled: false,
            members: Arc::default(),
            instances: Arc::default(),
            breakers: Arc::default(),
            stats: Stats::default(),
        }
    }
}

/// The library's order of timers that are due together.
fn order(timer: &Timer<PlainId>) -> u8 {
    match timer {
        Timer::SendIndirectProbe { .. } => 0,
        Timer::ProbeRandomMember(_) => 1,
        Timer::ChangeSuspectToDown { .. } => 2,
        Timer::PeriodicAnnounce(_) => 3,
        Timer::PeriodicGossip(_) => 4,
        Timer::RemoveDown(_) => 5,
        Timer::PeriodicAnnounceDown(_) => 6,
    }
}

/// What the library wants done in one turn.
#[derive(Default)]
struct Collected {
    sends: Vec<(AgentId, Vec<u8>)>,
    timers: Vec<(Timer<PlainId>, Duration)>,
    notes: Vec<(AgentId, MemberState)>,
}

impl Runtime<PlainId> for Collected {
    fn notify(&mut self, notification: Notification<'_, PlainId>) {
        let note = match notification {
            Notification::MemberUp(id) => (id.agent, MemberState::Alive),
            Notification::MemberDown(id) => (id.agent, MemberState::Failed),
            Notification::ProbeFailed(_, id) => (id.agent, MemberState::Suspect),
            _ => return,
        };
        self.notes.push(note);
    }

    fn send_to(&mut self, to: PlainId, data: &[u8]) {
        self.sends.push((to.agent, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<PlainId>, after: Duration) {
        self.timers.push((event, after));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::UnixMs;

    fn at(ms: u64) -> Now {
        Now { mono: Mono(ms * 1_000_000), wall: UnixMs(ms) }
    }

    fn mesh(agents: u64) -> Rc<PlainMesh> {
        let address = |n: u64| SocketAddr::from(([10, 0, 0, u8::try_from(n).unwrap()], 7700));
        Rc::new(PlainMesh { addresses: (1..=agents).map(|n| (AgentId(n), address(n))).collect() })
    }

    fn outputs(plain: &mut Plain) -> Vec<Output> {
        std::iter::from_fn(|| plain.poll_output()).collect()
    }

    fn states(outputs: &[Output]) -> Vec<(AgentId, MemberState)> {
        let state = |output: &Output| match output {
            Output::Event(Event { kind: EventKind::Member { agent, to, .. }, .. }) => Some((*agent, *to)),
            _ => None,
        };
        outputs.iter().filter_map(state).collect()
    }

    fn datagrams(outputs: &[Output]) -> Vec<(AgentId, Vec<u8>)> {
        let sent = |output: &Output| match output {
            Output::Datagram { to, bytes } => Some((*to, bytes.clone())),
            _ => None,
        };
        outputs.iter().filter_map(sent).collect()
    }

    #[test]
    fn an_announcement_makes_two_agents_known_to_each_other() {
        let mesh = mesh(2);
        let (one, two) = (AgentId(1), AgentId(2));
        let mut seed = Plain::new(one, 1, Rc::clone(&mesh), at(0));
        let mut joiner = Plain::new(two, 2, Rc::clone(&mesh), at(0));
        let contact = Command::Contact { agent: one, address: mesh.addresses[&one] };
        joiner.handle(at(0), Input::Command(contact));
        let said = outputs(&mut joiner);
        assert!(matches!(said[0], Output::Address { agent, .. } if agent == one), "it says where it sends to first");
        for (_, bytes) in datagrams(&said) {
            seed.handle(at(1), Input::Datagram { from: two, bytes });
        }
        let answered = outputs(&mut seed);
        assert_eq!(states(&answered), [(two, MemberState::Alive)]);
        for (_, bytes) in datagrams(&answered) {
            joiner.handle(at(2), Input::Datagram { from: one, bytes });
        }
        assert_eq!(states(&outputs(&mut joiner)), [(one, MemberState::Alive)]);
    }

    #[test]
    fn a_silent_member_is_suspected_and_then_failed() {
        let mut plain = Plain::new(AgentId(1), 1, mesh(2), at(0));
        plain.form(&Formation::new(Vec::new()));
        assert_eq!((plain.active, outputs(&mut plain).len()), (1, 0));
        let mut seen = Vec::new();
        while plain.next_wakeup() < Mono(20_000_000_000) {
            let due = plain.next_wakeup();
            plain.handle(Now { mono: due, wall: UnixMs(due.0 / 1_000_000) }, Input::Wake);
            seen.extend(states(&outputs(&mut plain)));
        }
        assert_eq!(seen.first(), Some(&(AgentId(2), MemberState::Suspect)));
        assert_eq!(seen.last(), Some(&(AgentId(2), MemberState::Failed)));
        // Probed within two seconds, suspect a second later, failed four seconds after that: the preset of a small mesh.
        assert!(plain.active == 0);
    }
}
