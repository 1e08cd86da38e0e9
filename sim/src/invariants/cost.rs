//! Promise 10, Bounded cost: in a mesh in which nothing happens an agent sends no more than a stated number of bytes per second, whatever
//! the number of its instances; every queue keeps its limit; and what was to be told is told: queues run empty.

use super::{Finding, Invariant, Sight};
use crate::calls::CallSight;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::AgentId;
use quorate_mesh::{Glance, Standings};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Bytes per second that a steady agent may send: a membership ping and its answer, and a fifth of a comparison of digests ...
const STEADY_BYTES: u64 = 300;
/// ... and so many more for each doubling of the mesh.
const STEADY_BYTES_PER_DOUBLING: u64 = 50;
/// Traffic is judged over this long, once a mesh that began at zero has formed and exchanged all it has.
const WINDOW: Duration = Duration::from_secs(10);
const FORMED: SimTime = SimTime::from_ms(20_000);
/// Nothing has happened anywhere for so long: queues must be empty.
const CALM: Duration = Duration::from_secs(10);
/// News that an agent may have to pass on: that of its records and certificates, and one of each member.
const MAX_BACKLOG: usize = 20_000 + 4096;
/// Timers beside two for each instance it knows.
const SPARE_TIMERS: usize = 64;
/// Looked at once a second.
const EVERY_NS: u64 = 1_000_000_000;

/// The last digest of calls that failed, and of those that others made meanwhile, is taken back so much later.
const CALLS_TOLD: Duration = Duration::from_secs(60);

/// The invariant.
#[derive(Default)]
pub struct Cost {
    /// When the traffic was last looked at, and what each agent had sent by then.
    mark: Option<(SimTime, Vec<u64>)>,
    /// When anything last happened.
    stirred: SimTime,
    /// The members as each agent last showed them.
    members: BTreeMap<AgentId, Arc<Standings>>,
    /// Who has been found to hit a limit.
    limited: BTreeSet<usize>,
    /// Since when each agent has had something to tell at every look. A last refutation may reach a member only with the next ping, and be news to it.
    telling_since: BTreeMap<usize, SimTime>,
}

/// What a steady agent of a mesh of `agents` may send, in bytes per second.
pub fn steady_bound(agents: usize) -> u64 {
    STEADY_BYTES + STEADY_BYTES_PER_DOUBLING * u64::from(agents.max(1).ilog2())
}

impl Invariant for Cost {
    fn name(&self) -> &'static str {
        "bounded cost"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Event { .. } | Sight::Certificate { .. } | Sight::Instance { .. } => {
                self.stirred = self.stirred.max(truth.now);
            }
            // What callers saw fail is told, and taken back when it is no evidence any more. Of calls that are served there is nothing to tell.
            Sight::Call { call: CallSight::Rejected | CallSight::Ended { failed: true, .. }, .. } => {
                self.stirred = self.stirred.max(truth.now.plus(CALLS_TOLD));
            }
            Sight::Survey { views } if truth.now.0.is_multiple_of(EVERY_NS) => {
                self.traffic(truth, found);
                for view in views.iter().flatten() {
                    self.note_members(truth, view);
                }
                for (agent, view) in views.iter().enumerate() {
                    if let Some(view) = view.filter(|_| !truth.scenario.suspect(agent, truth.now)) {
                        self.queues(truth, agent, view, found);
                    }
                }
            }
            _ => {}
        }
    }
}

impl Cost {
    /// Suspicion comes and goes without an event; only the picture of the members tells.
    fn note_members(&mut self, truth: &Truth, view: &Glance) {
        let before = self.members.insert(view.agent, Arc::clone(&view.members));
        if before.is_none_or(|before| !Arc::ptr_eq(&before, &view.members)) {
            self.stirred = self.stirred.max(truth.now);
        }
    }

    fn traffic(&mut self, truth: &Truth, found: &mut Vec<Finding>) {
        let now = truth.now;
        let Some((since, before)) = &self.mark else {
            if now >= FORMED {
                self.mark = Some((now, truth.sent.clone()));
            }
            return;
        };
        if now.since(*since) < WINDOW {
            return;
        }
        let steady = now < truth.scenario.faults_begin && !truth.scenario.lossy(*since, now) && self.stirred <= *since;
        if steady {
            let bound = steady_bound(truth.agents());
            for (agent, (sent, before)) in truth.sent.iter().zip(before).enumerate() {
                let rate = (sent - before) / WINDOW.as_secs();
                if rate > bound {
                    let detail = format!("it sends {rate} bytes a second while nothing happens; {bound} are allowed");
                    found.push(Finding::new(Some(agent), detail));
                }
            }
        }
        self.mark = Some((now, truth.sent.clone()));
    }

    fn queues(&mut self, truth: &Truth, agent: usize, view: &Glance, found: &mut Vec<Finding>) {
        let stats = &view.stats;
        let timers = 2 * view.instances.len() + SPARE_TIMERS;
        for (what, length, limit) in
            [("news to pass on", stats.gossip_backlog, MAX_BACKLOG), ("timers", stats.timers, timers)]
        {
            if length > limit {
                found.push(Finding::new(Some(agent), format!("{length} {what}; {limit} are allowed")));
            }
        }
        // Only a faulty member could make anyone hit a limit in a mesh as small as any that is simulated.
        if stats.limits_hit > 0 && truth.scenario.faulty.is_empty() && self.limited.insert(agent) {
            found.push(Finding::new(Some(agent), format!("it hit a limit {} times", stats.limits_hit)));
        }
        if stats.gossip_backlog == 0 {
            self.telling_since.remove(&agent);
            return;
        }
        let since = *self.telling_since.entry(agent).or_insert(truth.now);
        let listeners = view.alive > 1;
        if truth.now.since(since) >= CALM
            && listeners
            && self.calm(truth)
            && truth.awake_throughout(agent, truth.now.minus(CALM), truth.now)
        {
            let detail =
                format!("{} news are still to be told, and nothing has happened for {CALM:?}", stats.gossip_backlog);
            found.push(Finding::new(Some(agent), detail));
        }
    }

    /// Has nothing happened for long, anywhere?
    fn calm(&self, truth: &Truth) -> bool {
        let (from, now) = (truth.now.minus(CALM), truth.now);
        let scenario = &truth.scenario;
        let undisturbed = now < scenario.first_fault || from >= scenario.last_fault;
        let cut = || scenario.cuts.iter().any(|cut| cut.when.meets(from, now));
        from >= self.stirred
            && from >= FORMED
            && undisturbed
            && !scenario.lossy(from, now)
            && !cut()
            && !scenario.anyone_faulty(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;

    fn run(faults: &str, each: impl Fn(&mut Bench, u64, &mut Glance)) -> Vec<String> {
        let mut bench = Bench::new(faults);
        let mut cost = Cost::default();
        let mut found = Vec::new();
        let mut view = bench.mesh_view(1, true, &[]);
        for second in 1..=45 {
            bench.at(second);
            each(&mut bench, second, &mut view);
            found.extend(bench.survey(&mut cost, &[&view]));
        }
        found
    }

    #[test]
    fn a_steady_agent_that_sends_too_much_is_found() {
        let chatter = |rate: u64| move |bench: &mut Bench, _: u64, _: &mut Glance| bench.truth.sent[1] += rate;
        let bound = steady_bound(5);
        assert!(run("", chatter(bound)).is_empty());
        assert!(run("", chatter(bound + 1))[0].contains(&format!("{} bytes a second", bound + 1)));
        let fault = "[[faults]]\nkind = \"target\"\ninstance = \"web@0\"\nmode = \"dead\"\nfrom = \"21s\"\n";
        assert!(run(fault, chatter(9 * bound)).is_empty(), "something has happened");
    }

    #[test]
    fn calls_cost_nothing_but_for_a_while_those_that_fail() {
        let first = |failed: bool| {
            let mut bench = Bench::with_calls();
            let mut cost = Cost::default();
            let view = bench.mesh_view(1, true, &[]);
            for second in 1..=140 {
                bench.at(second);
                bench.truth.sent[1] += 9 * steady_bound(5);
                let failed = failed && second == 21;
                let call = CallSight::Ended { failed, counted: true, stale: false };
                bench.look(&mut cost, &Sight::Call { agent: 1, calls: 0, call });
                if !bench.survey(&mut cost, &[&view]).is_empty() {
                    return Some(second);
                }
            }
            None
        };
        assert_eq!((first(false), first(true)), (Some(30), Some(100)));
    }

    #[test]
    fn a_queue_that_does_not_run_empty_is_found() {
        let from =
            |at: u64| move |_: &mut Bench, s: u64, view: &mut Glance| view.stats.gossip_backlog = usize::from(s >= at);
        assert!(run("", from(35))[0].contains("1 news are still to be told"));
        assert!(run("", from(36)).is_empty(), "it has only just come");
        let earlier =
            |_: &mut Bench, second: u64, view: &mut Glance| view.stats.gossip_backlog = usize::from(second < 25);
        assert!(run("", earlier).is_empty());
    }

    #[test]
    fn limits_are_kept() {
        assert!(run("", |_, _, view| view.stats.limits_hit = 2)[0].contains("hit a limit 2 times"));
        assert!(run("", |_, _, view| view.stats.timers = 1000)[0].contains("1000 timers; 64 are allowed"));
    }
}
