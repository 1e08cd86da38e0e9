//! The ground truth: what really was the case, at any moment up to now. The invariants compare the engines' words with it.
//!
//! Cuts, loss and misbehaving instances follow from the plan alone; when processes ran, who belonged to the mesh and how probes ended is
//! written down as it happens.

mod appearance;
mod parts;

pub use appearance::Appearance;
pub use parts::Parts;

use crate::ledger::Ledger;
use crate::rosters::Rosters;
use crate::scenario::{Interval, Scenario};
use crate::time::SimTime;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// After joining or leaving, an agent may for this long be counted by some and not by others.
pub const FLUX: Duration = Duration::from_secs(10);

/// Probes remembered per observer and instance.
const PROBES_KEPT: usize = 32;

/// One finished probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// When it began.
    pub started: SimTime,
    /// When its outcome reached the engine.
    pub finished: SimTime,
    /// Did it pass?
    pub passed: bool,
}

/// The ground truth of a run.
#[derive(Debug)]
pub struct Truth {
    /// What was planned.
    pub scenario: Scenario,
    /// Now.
    pub now: SimTime,
    lives: Vec<Vec<Interval>>,
    pauses: Vec<Vec<Interval>>,
    memberships: Vec<Vec<Interval>>,
    /// When each was first sent a datagram after one of its processes had ended.
    missed: Vec<Vec<SimTime>>,
    /// Who counted when, as agreed by the agents themselves.
    pub rosters: Rosters,
    probes: BTreeMap<(usize, usize), VecDeque<Probed>>,
    revision: u64,
    /// Into which parts the mesh falls at the moments asked for last.
    parts: RefCell<parts::Found>,
    /// What everyone has signed.
    pub ledger: Ledger,
    /// Bytes that each agent has sent.
    pub sent: Vec<u64>,
}

impl Truth {
    /// Before anything happened.
    pub fn new(scenario: Scenario) -> Self {
        let none = vec![Vec::new(); scenario.agents.len()];
        Self {
            ledger: Ledger::default(),
            sent: vec![0; scenario.agents.len()],
            missed: vec![Vec::new(); scenario.agents.len()],
            scenario,
            now: SimTime::START,
            lives: none.clone(),
            pauses: none.clone(),
            memberships: none,
            rosters: Rosters::default(),
            probes: BTreeMap::new(),
            revision: 0,
            parts: RefCell::default(),
        }
    }

    /// Notes that an agent's process starts; the first time, or after a leave, it becomes a member.
    pub fn started(&mut self, agent: usize) {
        self.revision += 1;
        open(&mut self.lives[agent], self.now);
        open(&mut self.memberships[agent], self.now);
    }

    /// Notes that an agent's process ends.
    pub fn ended(&mut self, agent: usize) {
        self.revision += 1;
        close(&mut self.lives[agent], self.now);
        close(&mut self.pauses[agent], self.now);
    }

    /// Has the process of an agent ended, and nobody pinged it since?
    pub fn is_missed_by_nobody(&self, agent: usize) -> bool {
        let ended = self.lives[agent].last().map(|life| life.to).filter(|to| *to <= self.now);
        ended.is_some_and(|ended| self.missed[agent].last().is_none_or(|at| *at < ended))
    }

    /// Notes that an agent is pinged whose process has ended.
    pub fn missed(&mut self, agent: usize) {
        self.missed[agent].push(self.now);
    }

    /// The first ping sent to an agent after its process ended at `at`.
    pub fn first_missed(&self, agent: usize, at: SimTime) -> Option<SimTime> {
        self.missed[agent].iter().copied().find(|missed| *missed >= at)
    }

    /// Notes that an agent gave up its membership.
    pub fn left(&mut self, agent: usize) {
        self.revision += 1;
        close(&mut self.memberships[agent], self.now);
    }

    /// Notes that a process stands still.
    pub fn paused(&mut self, agent: usize) {
        self.revision += 1;
        open(&mut self.pauses[agent], self.now);
    }

    /// Notes that it goes on.
    pub fn resumed(&mut self, agent: usize) {
        self.revision += 1;
        close(&mut self.pauses[agent], self.now);
    }

    /// Grows whenever a process or a membership changes.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Notes a finished probe.
    pub fn probed(&mut self, agent: usize, instance: usize, probed: Probed) {
        let kept = self.probes.entry((agent, instance)).or_default();
        if kept.len() == PROBES_KEPT {
            kept.pop_front();
        }
        kept.push_back(probed);
    }

    /// The probes of `instance` by `agent` in this run of its process, oldest first.
    pub fn probes(&self, agent: usize, instance: usize) -> impl DoubleEndedIterator<Item = Probed> + '_ {
        self.probes_known(agent, instance, self.now)
    }

    /// Those that the process which ran at `at`, or the last one before, had begun: by them its signatures are judged.
    pub fn probes_known(&self, agent: usize, of: usize, at: SimTime) -> impl DoubleEndedIterator<Item = Probed> + '_ {
        let begun = self.began(agent, at).unwrap_or(SimTime::START);
        let next = self.lives[agent].iter().map(|life| life.from).find(|from| *from > at).unwrap_or(SimTime::NEVER);
        self.probes_by_any(agent, of).filter(move |p| (begun..next).contains(&p.started))
    }

    /// Those of all processes that have had the identity, oldest first.
    pub fn probes_by_any(&self, agent: usize, of: usize) -> impl DoubleEndedIterator<Item = Probed> + '_ {
        self.probes.get(&(agent, of)).into_iter().flatten().copied()
    }

    /// How many agents the plan has.
    pub fn agents(&self) -> usize {
        self.scenario.agents.len()
    }

    /// Does the process of `agent` exist at `at`?
    pub fn running(&self, agent: usize, at: SimTime) -> bool {
        self.lives[agent].iter().any(|life| life.holds(at))
    }

    /// When the process that exists at `at`, or the last one before, began.
    pub fn began(&self, agent: usize, at: SimTime) -> Option<SimTime> {
        self.lives[agent].iter().map(|life| life.from).rfind(|from| *from <= at)
    }

    /// Does it exist all the time?
    pub fn running_throughout(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        self.lives[agent].iter().any(|life| life.holds(from) && life.holds(to))
    }

    /// Does it exist and go on at `at`?
    pub fn awake(&self, agent: usize, at: SimTime) -> bool {
        self.running(agent, at) && !self.pauses[agent].iter().any(|pause| pause.holds(at))
    }

    /// Does it exist and go on all the time?
    pub fn awake_throughout(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        self.running_throughout(agent, from, to) && !self.pauses[agent].iter().any(|pause| pause.meets(from, to))
    }

    /// The last pause of `agent` that was over by `at`.
    pub fn last_pause(&self, agent: usize, at: SimTime) -> Option<Interval> {
        self.pauses[agent].iter().rev().find(|pause| pause.to <= at).copied()
    }

    /// Is what `from` sends to `to` lost at `at`, by a cut?
    pub fn cut(&self, from: usize, to: usize, at: SimTime) -> bool {
        from != to && self.scenario.cuts.iter().any(|cut| cut.when.holds(at) && cut.stops(from, to))
    }

    /// Is there no cut between two agents, either way, at any moment from `from` to `to`?
    pub fn path_clear(&self, a: usize, b: usize, from: SimTime, to: SimTime) -> bool {
        let stops = |cut: &crate::scenario::Cut| cut.stops(a, b) || cut.stops(b, a);
        a == b || !self.scenario.cuts.iter().any(|cut| cut.when.meets(from, to) && stops(cut))
    }

    /// Does a cut stop what either sends to the other, all the time, in both ways?
    pub fn path_cut(&self, a: usize, b: usize, from: SimTime, to: SimTime) -> bool {
        let all = |x: usize, y: usize| self.moments(from, to).into_iter().all(|at| self.cut(x, y, at));
        all(a, b) && all(b, a)
    }

    /// Can two agents talk, both ways, at `at`?
    pub fn linked(&self, a: usize, b: usize, at: SimTime) -> bool {
        let there = |agent| self.awake(agent, at) || self.scenario.doubled(agent, at, at);
        there(a) && there(b) && !self.cut(a, b, at) && !self.cut(b, a, at)
    }

    /// Is `agent` a member at `at`?
    pub fn member(&self, agent: usize, at: SimTime) -> bool {
        self.memberships[agent].iter().any(|membership| membership.holds(at))
    }

    /// Is it a member now that has been one for so long that everybody knows?
    pub fn settled_member(&self, agent: usize, at: SimTime) -> bool {
        self.memberships[agent].iter().any(|membership| membership.holds(at) && at.since(membership.from) >= FLUX)
    }

    fn in_flux(&self, agent: usize, at: SimTime) -> bool {
        let close_by = |moment: SimTime| moment <= at && at.since(moment) < FLUX;
        self.memberships[agent].iter().any(|membership| close_by(membership.from) || close_by(membership.to))
    }

    /// Can `agent` reach no more than half of the roster at `at`, however the agents that just joined or left are counted?
    pub fn minority(&self, agent: usize, at: SimTime) -> bool {
        !self.scenario.doubled(agent, at, at)
            && self.too_few(at, |other| other == agent && self.awake(agent, at) || self.linked(agent, other, at))
    }

    /// Is that so at every moment from `from` to `to`, even if all count that it can reach in the course of one roll call? While one cut gives way
    /// to another, some answer its first question and others its second.
    pub fn minority_throughout(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        let moments = self.moments(from, to);
        moments.iter().all(|at| {
            let began = at.minus(self.scenario.timing.roll_call_wait * 3 / 2).max(from);
            let mut during = vec![began];
            during.extend(moments.iter().filter(|moment| (began..=*at).contains(moment)));
            let reached = |other: usize| during.iter().any(|moment| self.linked(agent, other, *moment));
            self.minority(agent, *at)
                && self.too_few(*at, |other| other == agent && self.awake(agent, *at) || reached(other))
        })
    }

    /// Is `agent` in a part of the mesh, connected over any number of hops, that holds no more than half of the roster?
    pub fn cornered(&self, agent: usize, at: SimTime) -> bool {
        match self.parts(at).of(agent) {
            None => true,
            Some(part) => self.too_few(at, |other| part[other]),
        }
    }

    /// The parts of the mesh at `at`.
    pub fn parts(&self, at: SimTime) -> Rc<Parts> {
        self.parts.borrow_mut().at(self, at)
    }

    /// Could neither of two agents send anything to the other, over any number of hops, at any moment from `from` to `to`?
    pub fn apart_throughout(&self, a: usize, b: usize, from: SimTime, to: SimTime) -> bool {
        let hears = |x: usize, y: usize, at: SimTime| self.awake(y, at) && !self.cut(x, y, at);
        let apart = |at: SimTime| {
            // Most pairs hear each other directly.
            !hears(a, b, at) && !hears(b, a, at) && !self.heard_by(a, at)[b] && !self.heard_by(b, at)[a]
        };
        a != b
            && self.scenario.cuts.iter().any(|cut| cut.when.meets(from, to))
            && self.moments(from, to).into_iter().all(apart)
    }

    /// Was there anyone within reach of `a` in the time `span` before `then`, and of `b` in that before `later`? Then both may have been on the greater
    /// side, one after the other.
    pub fn handed_over(&self, (a, then): (usize, SimTime), (b, later): (usize, SimTime), span: Duration) -> bool {
        let reached = |agent: usize, to: SimTime| -> BTreeSet<usize> {
            let moments = self.moments(to.minus(span), to).into_iter();
            let hearing = moments.flat_map(|at| self.heard_by(agent, at).into_iter().enumerate());
            hearing.filter(|(_, hears)| *hears).map(|(other, _)| other).collect()
        };
        !reached(a, then).is_disjoint(&reached(b, later))
    }

    /// Who may hear `agent` at `at`, over any number of hops.
    fn heard_by(&self, agent: usize, at: SimTime) -> Vec<bool> {
        let mut hearing = vec![false; self.agents()];
        let mut frontier = vec![agent];
        hearing[agent] = true;
        while let Some(next) = frontier.pop() {
            for (other, hears) in hearing.iter_mut().enumerate() {
                if !*hears && self.awake(other, at) && !self.cut(next, other, at) {
                    *hears = true;
                    frontier.push(other);
                }
            }
        }
        hearing
    }

    /// Did `agent` reach no more than half of the roster from `from` to `to`, even when everyone counts whom it reached at any moment of
    /// that time? A roll call collects answers for a while; while cuts move, they can add up.
    pub fn minority_in_sum(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        let moments = self.moments(from, to);
        let ever = |other: usize| moments.iter().any(|at| self.linked(agent, other, *at));
        self.too_few(to, |other| other == agent || ever(other))
    }

    /// Is that so at every moment from `from` to `to`?
    pub fn cornered_throughout(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        self.moments(from, to).into_iter().all(|at| self.cornered(agent, at))
    }

    /// Does the mesh fall into parts without a doubt at every moment from `from` to `to`: whoever can reach another over others reaches it
    /// directly, too?
    pub fn split_clean(&self, from: SimTime, to: SimTime) -> bool {
        self.moments(from, to).into_iter().all(|at| self.clean(at))
    }

    fn clean(&self, at: SimTime) -> bool {
        if !self.scenario.cuts.iter().any(|cut| cut.when.holds(at)) {
            return true;
        }
        let awake: Vec<usize> = (0..self.agents()).filter(|agent| self.awake(*agent, at)).collect();
        let side = |agent: usize| -> Vec<usize> {
            awake.iter().copied().filter(|other| agent == *other || self.linked(agent, *other, at)).collect()
        };
        // Each side is looked at once, by the first of it: all others of it must see the same.
        let mut seen = vec![false; self.agents()];
        let whole = awake.iter().all(|agent| {
            if seen[*agent] {
                return true;
            }
            let members = side(*agent);
            members.iter().for_each(|member| seen[*member] = true);
            members.iter().all(|member| member == agent || side(*member) == members)
        });
        whole && awake.iter().all(|a| awake.iter().all(|b| self.cut(*a, *b, at) == self.cut(*b, *a, at)))
    }

    /// Did no process begin, end or stand still from `from` to `to`, and was none faulty?
    pub fn all_awake(&self, from: SimTime, to: SimTime) -> bool {
        let within = |moment: SimTime| from <= moment && moment <= to;
        let mut recorded = self.lives.iter().chain(&self.pauses).chain(&self.memberships).flatten();
        recorded.all(|interval| !within(interval.from) && !within(interval.to))
            && (0..self.agents()).all(|agent| !self.scenario.suspect(agent, to))
    }

    /// Did nothing befall any process or path from `from` to `to`, but the loss of packets by chance?
    pub fn steady(&self, from: SimTime, to: SimTime) -> bool {
        self.all_awake(from, to) && !self.scenario.cuts.iter().any(|cut| cut.when.meets(from, to))
    }

    /// Do those for whom `reached` holds make up half of the roster or less?
    fn too_few(&self, at: SimTime, reached: impl Fn(usize) -> bool) -> bool {
        if let Some(roster) = self.rosters.at(at) {
            return roster.iter().filter(|member| reached(**member)).count() * 2 <= roster.len();
        }
        let (mut count, mut roster) = (0, 0);
        for other in 0..self.agents() {
            let (flux, reached) = (self.in_flux(other, at), reached(other));
            let counted = if flux { reached } else { self.member(other, at) };
            roster += usize::from(counted);
            count += usize::from(counted && reached);
        }
        count * 2 <= roster
    }

    /// Did `agent` count at `at`?
    pub fn counts(&self, agent: usize, at: SimTime) -> bool {
        self.rosters.at(at).map_or_else(|| self.member(agent, at), |roster| roster.contains(&agent))
    }

    /// `from`, `to`, and every moment between them at which anything about links, processes or the roster changed.
    fn moments(&self, from: SimTime, to: SimTime) -> Vec<SimTime> {
        let mut moments = vec![from, to];
        moments.extend(self.scenario.cuts.iter().flat_map(|cut| cut.when.edges_between(from, to)));
        let recorded = self.lives.iter().chain(&self.pauses).chain(&self.memberships).flatten().copied();
        let doubled = self.scenario.doubles.iter().map(|double| double.when);
        for interval in recorded.chain(doubled) {
            let settled = [interval.from.plus(FLUX), interval.to.plus(FLUX)];
            let changes = [interval.from, interval.to].into_iter().chain(settled);
            moments.extend(changes.filter(|moment| from < *moment && *moment < to));
        }
        moments.extend(self.rosters.changes().filter(|moment| from < *moment && *moment < to));
        moments.sort_unstable();
        moments.dedup();
        moments
    }

    /// Did `agent` answer `observer` without a break from `from` to `to`, as far as cuts and processes are concerned? After a clone of either
    /// has vanished, what is sent goes on to it until the link dies.
    pub fn answers_throughout(&self, observer: usize, agent: usize, from: SimTime, to: SimTime) -> bool {
        let misled = |of| self.scenario.doubled(of, from.minus(self.scenario.network.idle_timeout.0), to);
        !misled(observer)
            && !misled(agent)
            && self.awake_throughout(observer, from, to)
            && self.awake_throughout(agent, from, to)
            && self.path_clear(observer, agent, from, to)
            && !self.scenario.lossy(from, to)
            && !self.scenario.keeps_breaking(observer, agent, from, to)
    }

    /// The moment at which the wall clock of `agent` shows `ms`.
    pub fn moment_of(&self, agent: usize, ms: u64) -> SimTime {
        self.scenario.agents[agent].clock.moment_of(ms, self.now)
    }
}

fn open(intervals: &mut Vec<Interval>, at: SimTime) {
    if intervals.last().is_none_or(|last| last.to != SimTime::NEVER) {
        intervals.push(Interval { from: at, to: SimTime::NEVER });
    }
}

fn close(intervals: &mut [Interval], at: SimTime) {
    if let Some(last) = intervals.last_mut()
        && last.to == SimTime::NEVER
    {
        last.to = at;
    }
}

#[cfg(test)]
#[path = "truth_tests.rs"]
mod tests;
