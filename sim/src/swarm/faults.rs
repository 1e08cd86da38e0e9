//! The faults of a drawn plan.

use super::{CHAOS_FROM_MS, Dice};
use crate::plan::{Burst, Cycle, Disk, Fault, Only, TargetMode, WakeOrder};
use crate::time::Span;

/// May agents join and leave while others cannot hear of it, in one drawn plan? The roster's epochs are made for that.
const ROSTER_CHANGES_WITH_ANYTHING: bool = true;

/// Each kind is allowed in so many of a hundred plans.
const ALLOWED_PERCENT: u64 = 30;
/// In so many of a hundred plans the roster changes, as long as that is not mixed with everything else.
const ROSTER_PERCENT: u64 = 25;

/// The agents of a drawn rolling restart follow each other at this distance at least.
const SHORTEST_ROLL_MS: u64 = 100;

/// The kinds of fault a swarm chooses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Partition,
    Ring,
    Cut,
    Isolate,
    Loss,
    Delay,
    Duplicate,
    Throttle,
    Reset,
    Crash,
    RollingRestart,
    Pause,
    Slow,
    Drift,
    ClockStep,
    Clone,
    Target,
    JoinOrLeave,
    Storm,
    Replace,
}

impl Kind {
    const ALL: [Self; 20] = [
        Self::Partition,
        Self::Ring,
        Self::Cut,
        Self::Isolate,
        Self::Loss,
        Self::Delay,
        Self::Duplicate,
        Self::Throttle,
        Self::Reset,
        Self::Crash,
        Self::RollingRestart,
        Self::Pause,
        Self::Slow,
        Self::Drift,
        Self::ClockStep,
        Self::Clone,
        Self::Target,
        Self::JoinOrLeave,
        Self::Storm,
        Self::Replace,
    ];

    fn changes_roster(self) -> bool {
        matches!(self, Self::JoinOrLeave | Self::Storm | Self::Replace)
    }

    /// Can every agent still be told of a change of the roster?
    fn lets_all_hear(self) -> bool {
        matches!(
            self,
            Self::Loss
                | Self::Delay
                | Self::Duplicate
                | Self::Reset
                | Self::Pause
                | Self::Drift
                | Self::ClockStep
                | Self::Target
        )
    }
}

/// The kinds that one plan allows.
pub(super) fn allowed(dice: &mut Dice) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|_| dice.chance(ALLOWED_PERCENT)).collect();
    let roster = dice.chance(ROSTER_PERCENT);
    if !ROSTER_CHANGES_WITH_ANYTHING {
        kinds
            .retain(|kind| if roster { kind.changes_roster() || kind.lets_all_hear() } else { !kind.changes_roster() });
    }
    kinds
}

/// Draws faults one after the other.
pub(super) struct FaultDraw<'a> {
    pub(super) dice: &'a mut Dice,
    pub(super) agents: usize,
    pub(super) instances: Vec<String>,
    /// When the last fault ends at the latest.
    pub(super) end_ms: u64,
    pub faults: Vec<Fault>,
}

impl<'a> FaultDraw<'a> {
    pub fn new(dice: &'a mut Dice, agents: usize, instances: Vec<String>, end_ms: u64) -> Self {
        Self { dice, agents, instances, end_ms, faults: Vec::new() }
    }

    /// One fault of one of these kinds; none when it does not go with those before.
    pub fn one(&mut self, kinds: &[Kind]) {
        let Some(kind) = self.dice.pick(kinds) else { return };
        let from = self.dice.throw(CHAOS_FROM_MS, self.end_ms - 2000);
        let longest = (self.end_ms - from).min(if self.dice.chance(30) { 3000 } else { 40_000 });
        let to = from + self.dice.throw(500.min(longest), longest);
        let (from, to) = (Span::ms(from), Span::ms(to));
        let drawn = match kind {
            Kind::Partition | Kind::Ring | Kind::Cut | Kind::Isolate => Some(self.cut(kind, from, to)),
            Kind::Loss | Kind::Delay | Kind::Duplicate | Kind::Throttle | Kind::Reset => {
                Some(self.harm(kind, from, to))
            }
            Kind::Crash | Kind::RollingRestart | Kind::Clone => self.process(kind, from, to),
            Kind::Pause | Kind::Slow | Kind::Drift | Kind::ClockStep => Some(self.time(kind, from, to)),
            Kind::Target => self.target(from, to),
            Kind::JoinOrLeave => return self.join_or_leave(from, to),
            Kind::Storm | Kind::Replace => self.many(kind, from, to),
        };
        self.faults.extend(drawn.filter(|fault| !fault.parts_nobody()));
    }

    /// A majority that forgets at once what it has agreed to is no mesh any more. Those who leave, or have yet to join, do not count: the others
    /// keep their disks if too many would come back without.
    pub fn spare_memories(&mut self) {
        let has = |agent: usize, of: fn(&Fault) -> bool| self.faults.iter().any(|f| of(f) && f.moves(agent));
        let forget = (0..self.agents).filter(|agent| has(*agent, Fault::forgets_together)).count();
        let stay = (0..self.agents).filter(|agent| !has(*agent, Fault::changes_roster)).count();
        if forget * 2 >= stay {
            self.faults.iter_mut().for_each(Fault::keep_disks);
        }
    }

    /// Some of the agents, one to so many.
    pub(super) fn some(&mut self, most: usize) -> Vec<usize> {
        let count = self.dice.index(most.max(1)) + 1;
        self.dice.some_agents(self.agents, count)
    }

    /// Some of the agents, or all.
    fn some_or_all(&mut self) -> Option<Vec<usize>> {
        self.dice.chance(60).then(|| self.some(self.agents.div_ceil(2)))
    }

    fn cycle(&mut self) -> Option<Cycle> {
        let (on, off) = (self.dice.throw(200, 8000), self.dice.throw(200, 8000));
        self.dice.chance(25).then(|| Cycle { on: Span::ms(on), off: Span::ms(off) })
    }

    fn cut(&mut self, kind: Kind, from: Span, to: Span) -> Fault {
        let agents = self.agents;
        let cycle = self.cycle();
        match kind {
            Kind::Ring if agents > 4 => {
                let order = self.dice.shuffled(agents);
                let reach = self.dice.index((agents - 2) / 2) + 1;
                Fault::Ring { agents: Some(order), reach, from, to, cycle }
            }
            Kind::Cut => {
                let (senders, receivers) = (self.some(agents.div_ceil(2)), self.some(agents.div_ceil(2)));
                Fault::Cut { senders, receivers, from, to, cycle }
            }
            Kind::Isolate => Fault::Isolate { agents: self.some(agents.div_ceil(3)), from, to, cycle },
            _ => {
                let side = self.some(agents.saturating_sub(1));
                let bridge = self.dice.chance(20).then(|| self.dice.index(agents));
                let other = (0..agents).filter(|agent| !side.contains(agent) && bridge != Some(*agent)).collect();
                let symmetric = !self.dice.chance(25);
                Fault::Partition { groups: vec![side, other], from, to, symmetric, cycle }
            }
        }
    }

    fn harm(&mut self, kind: Kind, from: Span, to: Span) -> Fault {
        let (senders, receivers, cycle) = (self.some_or_all(), self.some_or_all(), self.cycle());
        let only = self.dice.pick(&[None, None, None, Some(Only::Datagram), Some(Only::Message), Some(Only::Probe)]);
        let only = only.flatten();
        match kind {
            Kind::Delay => {
                let most = self.dice.pick(&[5000, 50_000, 400_000, 2_000_000]).unwrap_or(5000);
                let per_mille = self.dice.pick(&[10, 100, 1000]).unwrap_or(1000);
                Fault::Delay { extra_us: [0, most], per_mille, senders, receivers, only, from, to, cycle }
            }
            Kind::Duplicate => {
                let per_mille = self.dice.pick(&[20, 200, 1000]).unwrap_or(20);
                Fault::Duplicate { per_mille, senders, receivers, from, to, cycle }
            }
            Kind::Throttle => {
                let bytes_per_s = self.dice.pick(&[1000, 5000, 20_000, 100_000]).unwrap_or(20_000);
                let queue_bytes = self.dice.pick(&[2000, 64 * 1024]).unwrap_or(2000);
                Fault::Throttle { agents: senders, bytes_per_s, queue_bytes, from, to, cycle }
            }
            Kind::Reset => {
                let every = self.dice.chance(50).then(|| Span::ms(self.dice.throw(300, 5000)));
                Fault::Reset { agents: senders, peers: receivers, at: from, every, to: every.map(|_| to) }
            }
            _ => {
                let everybody = senders.is_none() && receivers.is_none();
                let shares: &[u32] = if everybody { &[10, 50, 100, 200, 400] } else { &[50, 200, 500, 1000] };
                let per_mille = self.dice.pick(shares).unwrap_or(50);
                let larger_than = self.dice.chance(15).then_some(600);
                let (bad, good) = (Span::ms(self.dice.throw(50, 2000)), Span::ms(self.dice.throw(200, 6000)));
                let burst = self.dice.chance(30).then_some(Burst { bad, good });
                Fault::Loss { per_mille, senders, receivers, only, larger_than, burst, from, to, cycle }
            }
        }
    }

    /// Is an agent's process, or its place in the mesh, already subject to another fault?
    pub(super) fn touched(&self, wanted: usize) -> bool {
        self.faults.iter().any(|fault| fault.moves(wanted))
    }

    pub(super) fn disk(&mut self) -> Disk {
        self.dice.pick(&[Disk::Keep, Disk::Keep, Disk::Keep, Disk::Lose, Disk::Stale]).unwrap_or_default()
    }

    fn process(&mut self, kind: Kind, from: Span, to: Span) -> Option<Fault> {
        let agent = self.dice.index(self.agents);
        let (disk, targets_survive) = (self.disk(), self.dice.chance(40));
        match kind {
            Kind::RollingRestart => {
                // However hastily: the next may go before the last is back.
                let mut agents = self.some(self.agents);
                if disk != Disk::Keep {
                    // Fewer than half: see below.
                    agents.truncate(self.agents.saturating_sub(1).max(2) / 2);
                }
                let room_ms = (to.0 - from.0).as_millis() as u64 / agents.len() as u64;
                let every = Span::ms(self.dice.throw(SHORTEST_ROLL_MS, room_ms.max(SHORTEST_ROLL_MS)));
                let down = Span::ms(self.dice.throw(200, 6000));
                let free = agents.iter().all(|agent| !self.touched(*agent));
                let agents = Some(agents);
                free.then_some(Fault::RollingRestart { agents, from, every, down, disk, targets_survive })
            }
            _ if self.touched(agent) => None,
            Kind::Clone => Some(Fault::Clone { agent, from, to }),
            _ => Some(Fault::Crash { agent, at: from, restart_at: Some(to), disk, targets_survive }),
        }
    }

    pub(super) fn time(&mut self, kind: Kind, from: Span, to: Span) -> Fault {
        let agent = self.dice.index(self.agents);
        match kind {
            Kind::Slow => {
                let per_input = Span(std::time::Duration::from_micros(
                    self.dice.pick(&[100, 2000, 20_000, 200_000]).unwrap_or(2000),
                ));
                let cycle = self.cycle();
                Fault::Slow { agents: self.some_or_all(), per_input, from, to, cycle }
            }
            Kind::Drift => {
                let ppm = self.dice.pick(&[-100_000, -5000, -200, 200, 5000, 100_000]).unwrap_or(200);
                Fault::Drift { agent, ppm, from, to }
            }
            Kind::ClockStep => {
                let by_ms = self.dice.pick(&[-3_600_000, -5000, -100, 100, 5000, 3_600_000]).unwrap_or(100);
                Fault::ClockStep { agent, at: from, by_ms }
            }
            _ => {
                let wakes = [WakeOrder::Packets, WakeOrder::Timers, WakeOrder::Mixed];
                Fault::Pause { agent, from, to, wake: self.dice.pick(&wakes).unwrap_or_default() }
            }
        }
    }

    pub(super) fn target(&mut self, from: Span, to: Span) -> Option<Fault> {
        let modes = [
            TargetMode::Dead,
            TargetMode::Hung,
            TargetMode::Erroring,
            TargetMode::Flapping,
            TargetMode::Silent,
            TargetMode::Slow,
            TargetMode::Overloaded,
        ];
        let instance = self.instances.get(self.dice.index(self.instances.len())).cloned()?;
        let mode = self.dice.pick(&modes).unwrap_or(TargetMode::Dead);
        let flap_period = Span::ms(self.dice.throw(1000, 8000));
        let after = Span::ms(self.dice.pick(&[100, 400, 490, 600]).unwrap_or(100));
        let answer_after = (mode == TargetMode::Slow).then_some(after);
        let limit = self.dice.pick(&[1, 2, 4]).unwrap_or(1);
        let probes_per_s = (mode == TargetMode::Overloaded).then_some(limit);
        let seen_by = self.dice.chance(30).then(|| self.some(self.agents));
        let to = Some(to);
        Some(Fault::Target { instance, mode, from, to, flap_period, answer_after, probes_per_s, seen_by })
    }

    fn join_or_leave(&mut self, from: Span, to: Span) {
        let agent = self.dice.index(self.agents);
        let kind = self.dice.throw(1, 4);
        if agent == 0 || self.touched(agent) {
            return;
        }
        match kind {
            1 | 2 => self.faults.push(Fault::Join { agent, at: from }),
            3 => self.faults.push(Fault::Leave { agent, at: from }),
            _ => self.faults.extend([Fault::Leave { agent, at: from }, Fault::Join { agent, at: to }]),
        }
    }

    /// Several agents join, leave, or take each other's places. Fewer than half of the mesh: the rest must be able to agree to it.
    fn many(&mut self, kind: Kind, from: Span, to: Span) -> Option<Fault> {
        let mut agents = self.some(self.agents.saturating_sub(1) / 2);
        agents.retain(|agent| *agent != 0);
        let (every, after) = (Span::ms(self.dice.throw(1000, 8000)), Span::ms(self.dice.throw(200, 6000)));
        let (leave, goodbye) = (self.dice.chance(50), self.dice.chance(50));
        if agents.is_empty() || agents.iter().any(|agent| self.touched(*agent)) {
            return None;
        }
        if kind == Kind::Replace {
            let by = agents.split_off(agents.len() / 2);
            agents.truncate(by.len());
            let by = by.into_iter().take(agents.len()).collect();
            return (!agents.is_empty()).then_some(Fault::Replace { agents, by, from, every, after, goodbye });
        }
        Some(if leave { Fault::MassLeave { agents, from, to } } else { Fault::JoinStorm { agents, from, to } })
    }
}
