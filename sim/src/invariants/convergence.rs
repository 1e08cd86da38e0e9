//! Promise 9, Convergence: after the last fault all live agents agree, within a bound, on the roster and on every verdict, and agree with
//! the truth where it is plain.

use super::{Finding, Invariant, Sight};
use crate::plan::TargetMode;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::{AgentId, InstanceId, Verdict, quorum};
use quorate_mesh::{InstanceView, MemberState, MeshView};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What has been so for this long is plain.
const PLAIN: Duration = Duration::from_secs(15);

/// The invariant.
pub struct Convergence {
    /// Since when all agree.
    since: Option<SimTime>,
    /// Why they do not.
    complaint: Option<Finding>,
}

impl Convergence {
    /// Nobody agrees yet.
    pub fn new() -> Self {
        Self { since: None, complaint: None }
    }

    /// How long all have agreed.
    pub fn calm_for(&self, now: SimTime) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// How long after the last fault all agreed for good.
    pub fn took(&self, truth: &Truth) -> Option<Duration> {
        self.since.map(|since| since.since(truth.scenario.last_fault))
    }
}

impl Invariant for Convergence {
    fn name(&self) -> &'static str {
        "convergence"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Survey { views } if truth.now >= truth.scenario.last_fault => match disagreement(truth, views) {
                None => _ = self.since.get_or_insert(truth.now),
                Some(complaint) => (self.since, self.complaint) = (None, Some(complaint)),
            },
            Sight::End => {
                let bound = truth.scenario.bounds.convergence.0;
                let late = truth.now.since(truth.scenario.last_fault) >= bound;
                if late && self.took(truth).is_none_or(|took| took > bound) {
                    let finding = self.complaint.clone().unwrap_or_else(|| Finding::new(None, "nothing is known"));
                    let detail = format!("{bound:?} after the last fault: {}", finding.detail);
                    found.push(Finding { detail, ..finding });
                }
            }
            _ => {}
        }
    }
}

/// What the live agents do not agree about, if anything.
fn disagreement(truth: &Truth, views: &[Option<&MeshView>]) -> Option<Finding> {
    let now = truth.now;
    let roster: BTreeSet<usize> = (0..truth.agents()).filter(|agent| truth.member(*agent, now)).collect();
    let live: Vec<usize> = roster.iter().copied().filter(|agent| truth.awake(*agent, now)).collect();
    if !quorum::majority(live.len(), roster.len()) {
        return None;
    }
    let first = *live.first()?;
    let Some(model) = views[first] else { return Some(Finding::new(Some(first), "it has published no view")) };
    for agent in &live {
        let complain = |detail: String| Some(Finding::new(Some(*agent), detail));
        let Some(view) = views[*agent] else { return complain("it has published no view".to_owned()) };
        if !view.quorate {
            return complain(format!("it is not quorate ({} alive of {})", view.alive, view.roster));
        }
        if let Some(detail) = wrong_roster(truth, view, &roster) {
            return complain(detail);
        }
        if !Arc::ptr_eq(&view.instances, &model.instances)
            && let Some(detail) = differing(&model.instances, &view.instances)
        {
            return complain(format!("{detail}, on {}", truth.scenario.agent_name(first)));
        }
        if let Some(stale) = view.instances.values().find(|instance| instance.stale_since.is_some()) {
            return complain(format!("{} is stale", stale.instance));
        }
    }
    let wrong = wrong(truth, model, &roster).map(|detail| Finding::new(Some(first), detail));
    wrong.or_else(|| {
        live.iter().find_map(|agent| suspecting(truth, views[*agent]?, &live).map(|s| Finding::new(Some(*agent), s)))
    })
}

/// A live agent that is suspected, if any. Looked for last: suspicion alone decides nothing.
fn suspecting(truth: &Truth, view: &MeshView, live: &[usize]) -> Option<String> {
    live.iter().find_map(|agent| {
        let state = view.members.get(&truth.scenario.agents[*agent].id)?.state;
        let name = truth.scenario.agent_name(*agent);
        (state == MemberState::Suspect).then(|| format!("it shows {name} as suspect, which lives and is reachable"))
    })
}

fn wrong_roster(truth: &Truth, view: &MeshView, roster: &BTreeSet<usize>) -> Option<String> {
    let named: BTreeSet<AgentId> =
        view.members.values().filter(|m| m.state != MemberState::Left).map(|m| m.agent).collect();
    let expected: BTreeSet<AgentId> = roster.iter().map(|agent| truth.scenario.agents[*agent].id).collect();
    if view.roster != expected.len() || named != expected {
        return Some(format!(
            "its roster holds {} ({} named); it should hold {}",
            view.roster,
            named.len(),
            expected.len()
        ));
    }
    roster.iter().find_map(|agent| {
        let state = view.members.get(&truth.scenario.agents[*agent].id)?.state;
        let alive = truth.awake(*agent, truth.now);
        let right = if alive {
            matches!(state, MemberState::Alive | MemberState::Suspect)
        } else {
            state == MemberState::Failed
        };
        (!right).then(|| format!("{} is {state:?} in its eyes; alive: {alive}", truth.scenario.agent_name(*agent)))
    })
}

type Instances = BTreeMap<InstanceId, Arc<InstanceView>>;

fn differing(model: &Instances, view: &Instances) -> Option<String> {
    if let Some(id) = model.keys().find(|id| !view.contains_key(*id)) {
        return Some(format!("{id} is not known"));
    }
    view.iter().find_map(|(id, here)| {
        let Some(there) = model.get(id) else { return Some(format!("{id} is known only here")) };
        let told = |i: &InstanceView| (i.verdict, i.decided, i.term);
        (told(here) != told(there)).then(|| {
            let say = |i: &InstanceView| format!("{} (decided {}, term {})", i.verdict, i.decided, i.term);
            format!("{id} is {} here and {} there", say(here), say(there))
        })
    })
}

/// What is plainly not so, of what all agree about.
fn wrong(truth: &Truth, view: &MeshView, roster: &BTreeSet<usize>) -> Option<String> {
    let (from, now) = (truth.now.minus(PLAIN), truth.now);
    for (index, instance) in truth.scenario.instances.iter().enumerate() {
        if !roster.contains(&instance.home) {
            continue;
        }
        let Some(told) = view.instances.get(&instance.id) else { return Some(format!("{} is not known", instance.id)) };
        let held_down = told.flapping || told.changes >= 4;
        let watched =
            roster.iter().all(|agent| !truth.awake(*agent, now) || truth.path_clear(*agent, instance.home, from, now));
        let home_long = truth.settled_member(instance.home, from);
        if truth.well_throughout(index, from, now) && watched && home_long && told.decided != Verdict::Up && !held_down
        {
            return Some(format!("{} is well, but decided {}", instance.id, told.decided));
        }
        if dead_for_good(truth, index, from) && told.decided != Verdict::Down && !held_down {
            return Some(format!("{} is dead, but decided {}", instance.id, told.decided));
        }
    }
    roster.iter().find_map(|agent| {
        let host = view.instances.get(&InstanceId::host(truth.scenario.agents[*agent].id))?;
        let name = truth.scenario.agent_name(*agent);
        let held_down = host.flapping || host.changes >= 4;
        let down = host.decided == Verdict::Down;
        if truth.awake_throughout(*agent, from, now) && down && !held_down {
            return Some(format!("{name} lives, but its host is decided down"));
        }
        let gone = truth.scenario.crashes.iter().any(|c| c.agent == *agent && c.when.holds(from) && c.when.holds(now));
        (gone && !down && !held_down).then(|| format!("{name} is gone, but its host is decided {}", host.decided))
    })
}

fn dead_for_good(truth: &Truth, index: usize, from: SimTime) -> bool {
    let home = truth.scenario.instances[index].home;
    let lasting = |when: crate::scenario::Interval| when.holds(from) && when.holds(truth.now);
    let target = truth.scenario.targets.iter().any(|fault| {
        fault.instance == index && fault.seen_by.is_none() && fault.mode != TargetMode::Flapping && lasting(fault.when)
    });
    target || truth.scenario.crashes.iter().any(|c| c.agent == home && !c.targets_survive && lasting(c.when))
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;

    /// Surveys at 41 s and, the split having ended at 40 s, again past the bound; returns what is found at the end.
    fn end(change: impl Fn(&mut Bench, &mut Vec<MeshView>)) -> Vec<String> {
        let mut bench = Bench::new(SPLIT);
        bench.at(71);
        let up = |bench: &Bench, name: &str| bench.instance_view(name, Verdict::Up, 1, None);
        let instances = [up(&bench, "web@0"), up(&bench, "web@4")];
        let mut views: Vec<MeshView> = (0..5).map(|agent| bench.mesh_view(agent, true, &instances)).collect();
        change(&mut bench, &mut views);
        let views: Vec<Option<&MeshView>> = views.iter().map(Some).collect();
        let mut convergence = Convergence::new();
        let mut found = Vec::new();
        convergence.look(&bench.truth, &Sight::Survey { views: &views }, &mut found);
        convergence.look(&bench.truth, &Sight::End, &mut found);
        found.into_iter().map(|finding| finding.detail).collect()
    }

    #[test]
    fn agreement_in_time_passes_and_agreement_too_late_is_found() {
        assert!(end(|bench, _| bench.at(69)).is_empty());
        assert_eq!(end(|bench, _| bench.at(71)).len(), 1);
    }

    #[test]
    fn each_kind_of_disagreement_is_named() {
        let found = end(|bench, views| {
            views[3] = bench.mesh_view(3, true, &[bench.instance_view("web@0", Verdict::Up, 2, None)]);
        });
        assert!(found[0].contains("web@4 is not known"), "{found:?}");
        let found = end(|_, views| views[2].quorate = false);
        assert!(found[0].contains("not quorate"), "{found:?}");
        let found = end(|_, views| views[2].roster = 4);
        assert!(found[0].contains("its roster holds 4"), "{found:?}");
        let found = end(|bench, views| {
            let down = ["web@0", "web@4"].map(|name| bench.instance_view(name, Verdict::Down, 1, None));
            *views = (0..5).map(|agent| bench.mesh_view(agent, true, &down)).collect();
        });
        assert!(found[0].contains("web@0 is well, but decided down"), "{found:?}");
    }
}
