//! The network's state at a moment: which paths are cut, and what happens to packets on the others.
//!
//! What is in force is worked out when it changes, so that a packet on a healthy network pays for two comparisons.

use crate::draw::{Draws, Purpose};
use crate::latency::Latency;
use crate::plan::Only;
use crate::scenario::{Effect, Harm, Scenario, Throttle};
use crate::time::{SimTime, nanos};
use std::time::Duration;

/// What is in force.
#[derive(Debug)]
pub struct Weather {
    draws: Draws,
    latency: Latency,
    base_loss: u32,
    /// Who is cut off from whom, a row of bits per sender; empty while nobody is.
    cut: Vec<u64>,
    /// Words per row.
    row: usize,
    harms: Vec<Harm>,
    throttles: Vec<Throttle>,
    /// Is there any identity with more than one process?
    cloned: bool,
    /// The agent of each process.
    roles: Vec<usize>,
    /// Until when each process's line is busy with what was sent before.
    busy: Vec<SimTime>,
}

impl Weather {
    /// Before anything goes wrong.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            draws: scenario.draws,
            latency: scenario.latency.clone(),
            base_loss: scenario.network.loss_per_mille,
            cut: Vec::new(),
            row: scenario.agents.len().div_ceil(64),
            harms: Vec::new(),
            throttles: Vec::new(),
            cloned: !scenario.doubles.is_empty(),
            roles: (0..scenario.processes()).map(|process| scenario.role(process)).collect(),
            busy: vec![SimTime::START; scenario.processes()],
        }
    }

    /// Looks again at what is in force.
    pub fn refresh(&mut self, scenario: &Scenario, now: SimTime) {
        self.harms = scenario.harms.iter().filter(|harm| harm.when.holds(now)).cloned().collect();
        self.throttles = scenario.throttles.iter().filter(|line| line.when.holds(now)).cloned().collect();
        self.cut.clear();
        let agents = scenario.agents.len();
        for cut in scenario.cuts.iter().filter(|cut| cut.when.holds(now)) {
            self.cut.resize(agents * self.row, 0);
            for from in 0..agents {
                for to in (0..agents).filter(|to| cut.stops(from, *to)) {
                    self.cut[from * self.row + to / 64] |= 1 << (to % 64);
                }
            }
        }
    }

    /// The agent whose process this is.
    pub fn role(&self, process: usize) -> usize {
        self.roles[process]
    }

    /// The other processes with its identity.
    pub fn copies(&self, process: usize) -> Vec<usize> {
        let same = |other: &usize| *other != process && self.roles[*other] == self.roles[process];
        if self.cloned { (0..self.roles.len()).filter(same).collect() } else { Vec::new() }
    }

    /// Is what `from` sends to `to` stopped?
    pub fn cut(&self, from: usize, to: usize) -> bool {
        let (from, to) = (self.roles[from], self.roles[to]);
        self.cut.get(from * self.row + to / 64).is_some_and(|word| word >> (to % 64) & 1 == 1)
    }

    /// Packets lost of a thousand, of this kind and size, sent at `at`.
    pub fn loss(&self, from: usize, to: usize, kind: Only, bytes: usize, at: SimTime) -> u32 {
        let (from, to) = (self.roles[from], self.roles[to]);
        let share = |harm: &Harm| match harm.effect {
            Effect::Loss { per_mille, larger_than, burst }
                if harm.concerns(from, to, kind)
                    && bytes > larger_than
                    && burst.is_none_or(|burst| self.bursts(burst, from, to, at)) =>
            {
                per_mille
            }
            _ => 0,
        };
        self.harms.iter().map(share).fold(self.base_loss, u32::max)
    }

    /// Is it the moment of a burst? One burst in every turn of both mean lengths, at a drawn place, of a drawn length that may be as far above
    /// the mean as below, within the turn: like the two states of Gilbert and Elliott, but with a state that can be told for any moment without
    /// those before it.
    fn bursts(&self, (bad, good): (u64, u64), from: usize, to: usize, at: SimTime) -> bool {
        let (turn, src, dst) = (bad + good, from as u64, to as u64);
        let (number, place) = (at.0 / turn, at.0 % turn);
        let lengths = ((2 * bad).saturating_sub(turn), (2 * bad).min(turn));
        let length = self.draws.within(lengths, Purpose::Burst, src, dst, 2 * number);
        let begin = self.draws.within((0, turn - length), Purpose::Burst, src, dst, 2 * number + 1);
        (begin..begin + length).contains(&place)
    }

    /// Is one packet lost? `n` tells it from all others of the same kind on the path.
    pub fn lost(&self, way: (usize, usize), kind: Only, bytes: usize, at: SimTime, purpose: Purpose, n: u64) -> bool {
        let (from, to) = way;
        if self.base_loss == 0 && self.harms.is_empty() {
            return false;
        }
        self.draws.chance(self.loss(from, to, kind, bytes, at), purpose, from as u64, to as u64, n)
    }

    /// How long one packet travels.
    pub fn travel(&self, way: (usize, usize), kind: Only, purpose: Purpose, n: u64) -> Duration {
        let (from, to) = way;
        let mut us = self.latency.travel_us(self.draws, purpose, from, to, n);
        let (from, to) = (self.roles[from], self.roles[to]);
        for harm in &self.harms {
            if let Effect::Delay { per_mille, extra_us } = harm.effect
                && harm.concerns(from, to, kind)
                && self.draws.chance(per_mille, Purpose::Delay, from as u64, to as u64, 2 * n)
            {
                us += self.draws.within(extra_us, Purpose::Delay, from as u64, to as u64, 2 * n + 1);
            }
        }
        Duration::from_micros(us)
    }

    /// Does a datagram arrive twice?
    pub fn doubled(&self, from: usize, to: usize, n: u64) -> bool {
        let (from, to) = (self.roles[from], self.roles[to]);
        let doubles = |harm: &Harm| match harm.effect {
            Effect::Duplicate { per_mille } if harm.touches(from, to) => {
                self.draws.chance(per_mille, Purpose::Duplicate, from as u64, to as u64, n)
            }
            _ => false,
        };
        self.harms.iter().any(doubles)
    }

    /// When a packet leaves its sender's line; never when it is a datagram that finds too much waiting.
    pub fn departure(&mut self, now: SimTime, from: usize, kind: Only, bytes: usize) -> Option<SimTime> {
        let here = self.throttles.iter().filter(|line| line.agents.has(self.roles[from]));
        let Some(line) = here.min_by_key(|line| line.bytes_per_s) else { return Some(now) };
        let waiting = nanos(self.busy[from].since(now));
        let queued = u128::from(waiting) * u128::from(line.bytes_per_s) / 1_000_000_000;
        if kind == Only::Datagram && queued + bytes as u128 > u128::from(line.queue_bytes) {
            return None;
        }
        let takes = bytes as u64 * 1_000_000_000 / line.bytes_per_s;
        // Once the line is wide again, all that waits goes out at once.
        let end = line.when.edges_between(now, SimTime::NEVER).next().unwrap_or(SimTime::NEVER);
        self.busy[from] = self.busy[from].max(now).plus(Duration::from_nanos(takes)).min(end);
        Some(self.busy[from])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn bursts_take_their_share_of_the_time_even_when_they_are_longer_than_what_lies_between() {
        let plan = Plan::parse("summary = \"t\"\n").unwrap();
        let weather = Weather::new(&Scenario::new("t", &plan, 1).unwrap());
        for (bad, good) in [(100, 400), (500, 500), (600, 400), (9000, 1000)] {
            let burst = (bad * 1_000_000, good * 1_000_000);
            let moments = (0..100_000).map(|step| SimTime::from_ms(step * 101));
            let share = moments.filter(|at| weather.bursts(burst, 0, 1, *at)).count() as f64 / 100_000.0;
            let meant = bad as f64 / (bad + good) as f64;
            assert!((share - meant).abs() < 0.02, "{bad} ms of {}: {share}, not {meant}", bad + good);
        }
    }
}
