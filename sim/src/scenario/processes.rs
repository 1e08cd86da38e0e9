//! The processes' faults of a plan, made ready to run.

use super::paths::Set;
use super::{Action, Interval, Scenario, Windows};
use crate::plan::{Fault, MAX_PPM};
use crate::time::{SimTime, Span};
use std::net::SocketAddr;
use std::time::Duration;

/// Agents whose processes are slow.
#[derive(Debug, Clone)]
pub struct Load {
    /// When.
    pub when: Windows,
    /// Which.
    pub agents: Set,
    /// How long each input takes.
    pub per_input: Duration,
}

/// A second process with an agent's identity.
#[derive(Debug, Clone)]
pub struct Double {
    /// Whose identity.
    pub agent: usize,
    /// When.
    pub when: Interval,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Scenario {
    /// Is `agent` faulty at `at`, or was it ever before? What it said then may be told for long: it binds nobody.
    pub fn suspect(&self, agent: usize, at: SimTime) -> bool {
        self.faulty.iter().any(|(who, when, _)| *who == agent && when.from <= at)
    }

    /// Is `agent` faulty at `at`?
    pub fn faulty(&self, agent: usize, at: SimTime) -> bool {
        self.faulty.iter().any(|(who, when, _)| *who == agent && when.holds(at))
    }

    /// Is any agent faulty at `at`?
    pub fn anyone_faulty(&self, at: SimTime) -> bool {
        self.faulty.iter().any(|(_, when, _)| when.holds(at))
    }

    /// How many processes there can be at once: one per agent, and the clones.
    pub fn processes(&self) -> usize {
        self.agents.len() + self.doubles.len()
    }

    /// The agent whose identity process number `process` has.
    pub fn role(&self, process: usize) -> usize {
        process.checked_sub(self.agents.len()).map_or(process, |double| self.doubles[double].agent)
    }

    /// Where process number `process` listens.
    pub fn address(&self, process: usize) -> SocketAddr {
        let double = process.checked_sub(self.agents.len()).map(|double| self.doubles[double].address);
        double.unwrap_or_else(|| self.agents[process].address)
    }

    /// The process of `agent` that listens at `address`, if one does.
    pub fn process_at(&self, agent: usize, address: SocketAddr) -> Option<usize> {
        if self.agents[agent].address == address {
            return Some(agent);
        }
        let double = self.doubles.iter().position(|double| double.agent == agent && double.address == address)?;
        Some(self.agents.len() + double)
    }

    /// How long each input of `agent` takes at `at`.
    pub fn per_input(&self, agent: usize, at: SimTime) -> Duration {
        let here = self.loads.iter().filter(|load| load.when.holds(at) && load.agents.has(agent));
        here.map(|load| load.per_input).max().unwrap_or_default()
    }

    /// Is something wrong with the process, the identity or the clocks of `agent` at any moment from `from` to `to`, short of its absence?
    pub fn unsound(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        self.loads.iter().any(|load| load.when.meets(from, to) && load.agents.has(agent))
            || self.doubled(agent, from, to)
            || self.drifts.iter().any(|(who, when)| *who == agent && when.meets(from, to))
    }

    /// Does a crash keep the process of `agent` from running at `at`?
    pub fn felled(&self, agent: usize, at: SimTime) -> bool {
        self.crashes.iter().any(|crash| crash.agent == agent && crash.when.holds(at))
    }

    /// Does a pause hold the process of `agent` at `at`?
    pub fn held(&self, agent: usize, at: SimTime) -> bool {
        self.pauses.iter().any(|(who, when)| *who == agent && when.holds(at))
    }

    /// Does a clone of `agent` run at any moment from `from` to `to`? Then where the agent is and what it reaches is not one thing.
    pub fn doubled(&self, agent: usize, from: SimTime, to: SimTime) -> bool {
        self.doubles.iter().any(|double| double.agent == agent && double.when.meets(from, to))
    }

    /// Sets the clocks, change by change in order of time. Drifts add up, to the fastest that one may be at most.
    pub(super) fn set_clocks(&mut self, faults: &[Fault]) {
        let mut changes = Vec::new();
        for fault in faults {
            match fault {
                Fault::Drift { agent, ppm, from, to } => {
                    changes.push((from.moment(), *agent, *ppm, 0));
                    changes.push((to.moment(), *agent, -*ppm, 0));
                }
                Fault::ClockStep { agent, at, by_ms } => changes.push((at.moment(), *agent, 0, *by_ms)),
                _ => {}
            }
        }
        changes.sort_unstable();
        let mut sums = vec![0_i64; self.agents.len()];
        for (at, agent, faster_ppm, set_ahead_ms) in changes {
            let before = sums[agent].clamp(-MAX_PPM, MAX_PPM);
            sums[agent] += faster_ppm;
            let after = sums[agent].clamp(-MAX_PPM, MAX_PPM);
            self.agents[agent].clock.change(at, after - before, set_ahead_ms);
        }
    }

    fn note_fault(&mut self, at: Span) {
        self.first_fault = self.first_fault.min(at.moment());
        self.last_fault = self.last_fault.max(at.moment());
    }

    pub(super) fn add_to_processes(&mut self, fault: &Fault) {
        match fault {
            Fault::Slow { agents, per_input, from, to, cycle } => {
                let when = Windows::of(*from, *to, *cycle);
                let agents = Set::of(self.agents.len(), agents.as_deref());
                self.loads.push(Load { when, agents, per_input: per_input.0 });
                self.note_fault(*from);
                self.note_fault(*to);
            }
            Fault::Drift { agent, from, to, .. } => {
                self.drifts.push((*agent, Interval::of(*from, *to)));
                self.note_fault(*from);
                self.note_fault(*to);
            }
            // Nothing depends on the time of day, so a leap of it excuses nothing.
            Fault::ClockStep { at, .. } => self.note_fault(*at),
            Fault::Clone { agent, from, to } => {
                let number = self.doubles.len();
                let address = SocketAddr::from((super::host_address(DOUBLES_FROM + number), 7700));
                self.doubles.push(Double { agent: *agent, when: Interval::of(*from, *to), address });
                self.act_between(*from, *to, Action::Clone(number), Action::EndClone(number));
            }
            _ => {}
        }
    }
}

/// The clones' addresses begin after those of the agents.
const DOUBLES_FROM: usize = 60_000;

/// A fault as the single faults it consists of.
pub fn parts(fault: &Fault, agents: usize) -> Vec<Fault> {
    let later =
        |from: Span, every: Span, number: usize| Span(from.0 + every.0 * u32::try_from(number).unwrap_or(u32::MAX));
    let between = |from: Span, to: Span, number: usize, of: usize| {
        let steps = u32::try_from(of.saturating_sub(1).max(1)).unwrap_or(u32::MAX);
        Span(from.0 + (to.0 - from.0) / steps * u32::try_from(number).unwrap_or(u32::MAX))
    };
    match fault {
        Fault::RollingRestart { agents: list, from, every, down, disk, targets_survive } => {
            let list = list.clone().unwrap_or_else(|| (0..agents).collect());
            let restart = |(number, agent): (usize, usize)| {
                let at = later(*from, *every, number);
                let (disk, targets_survive) = (*disk, *targets_survive);
                Fault::Crash { agent, at, restart_at: Some(Span(at.0 + down.0)), disk, targets_survive }
            };
            list.into_iter().enumerate().map(restart).collect()
        }
        Fault::Replace { agents: old, by, from, every, after, goodbye } => {
            let replace = |(number, (old, fresh)): (usize, (&usize, &usize))| {
                let at = later(*from, *every, number);
                let gone = if *goodbye {
                    Fault::Leave { agent: *old, at }
                } else {
                    let (disk, targets_survive) = (Default::default(), false);
                    Fault::Crash { agent: *old, at, restart_at: None, disk, targets_survive }
                };
                [gone, Fault::Join { agent: *fresh, at: Span(at.0 + after.0) }]
            };
            old.iter().zip(by).enumerate().flat_map(replace).collect()
        }
        Fault::JoinStorm { agents: list, from, to } => {
            let join = |(number, agent): (usize, &usize)| Fault::Join {
                agent: *agent,
                at: between(*from, *to, number, list.len()),
            };
            list.iter().enumerate().map(join).collect()
        }
        Fault::MassLeave { agents: list, from, to } => {
            let leave = |(number, agent): (usize, &usize)| Fault::Leave {
                agent: *agent,
                at: between(*from, *to, number, list.len()),
            };
            list.iter().enumerate().map(leave).collect()
        }
        single => vec![single.clone()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn parts_of(fault: &str) -> Vec<String> {
        let plan = Plan::parse(&format!("summary = \"t\"\n[[faults]]\n{fault}\n")).unwrap();
        let shown = |fault: &Fault| match fault {
            Fault::Crash { agent, at, restart_at, .. } => {
                format!("a{agent} crashes {}-{}", String::from(*at), restart_at.map_or(String::new(), String::from))
            }
            Fault::Join { agent, at } => format!("a{agent} joins {}", String::from(*at)),
            Fault::Leave { agent, at } => format!("a{agent} leaves {}", String::from(*at)),
            other => format!("{other:?}"),
        };
        plan.faults.iter().flat_map(|fault| parts(fault, 5)).map(|fault| shown(&fault)).collect()
    }

    /// What the running clock of an agent with these drifts shows at that second, in milliseconds.
    fn shown(drifts: &[(i64, u64, u64)], second: u64) -> u64 {
        let drift = |(ppm, from, to): &(i64, u64, u64)| {
            format!("[[faults]]\nkind = \"drift\"\nagent = 1\nppm = {ppm}\nfrom = \"{from}s\"\nto = \"{to}s\"\n")
        };
        let text = format!("summary = \"t\"\n{}", drifts.iter().map(drift).collect::<String>());
        let clock = Scenario::new("t", &Plan::parse(&text).unwrap(), 1).unwrap().agents[1].clock.clone();
        let (at, running) = (SimTime::from_ms(second * 1000), clock.running(SimTime::from_ms(second * 1000)));
        assert_eq!(clock.moment(running), at, "{drifts:?}");
        running / 1_000_000
    }

    #[test]
    fn drifts_of_one_clock_add_up_to_the_fastest_that_one_may_be() {
        let slow = [(-100_000, 30, 50); 10];
        assert_eq!([30, 40, 50, 60].map(|at| shown(&slow, at)), [30_000, 39_000, 48_000, 58_000]);
        let fast = [(100_000, 10, 30), (100_000, 20, 40), (-50_000, 20, 30)];
        assert_eq!([20, 30, 40, 50].map(|at| shown(&fast, at)), [21_000, 32_000, 43_000, 53_000]);
    }

    #[test]
    fn a_fault_of_many_is_many_faults_of_one() {
        let rolling = "kind = \"rolling-restart\"\nagents = [3, 1]\nfrom = \"10s\"\nevery = \"5s\"\ndown = \"2s\"";
        assert_eq!(parts_of(rolling), ["a3 crashes 10s-12s", "a1 crashes 15s-17s"]);
        let replace =
            "kind = \"replace\"\nagents = [0, 1]\nby = [3, 4]\nfrom = \"10s\"\nevery = \"5s\"\nafter = \"2s\"";
        assert_eq!(parts_of(replace), ["a0 crashes 10s-", "a3 joins 12s", "a1 crashes 15s-", "a4 joins 17s"]);
        assert_eq!(parts_of(&format!("{replace}\ngoodbye = true"))[0], "a0 leaves 10s");
        let storm = "kind = \"join-storm\"\nagents = [2, 3, 4]\nfrom = \"10s\"\nto = \"12s\"";
        assert_eq!(parts_of(storm), ["a2 joins 10s", "a3 joins 11s", "a4 joins 12s"]);
        let leave = "kind = \"mass-leave\"\nagents = [2]\nfrom = \"10s\"\nto = \"12s\"";
        assert_eq!(parts_of(leave), ["a2 leaves 10s"]);
    }
}
