//! Part of promise 9, Convergence: all agents hold the same observations, not only the same verdicts.

use quorate_core::{AbstainReason, AgentId, Observation, UnixMs, Vote};
use quorate_mesh::{Glance, InstanceView};
use std::collections::BTreeSet;

/// What two agents do not hold alike of what `live` observers have said, if anything. Of the dead the last word may have reached nobody; then
/// whoever held the one before keeps that, and whoever came later has neither.
///
/// `at` tells which moment an agent's wall clock means.
pub fn differing(
    model: &Glance,
    view: &Glance,
    live: impl Fn(AgentId) -> bool,
    at: impl Fn(AgentId, UnixMs) -> String,
) -> Option<String> {
    let words = |agent, observation: Option<&Observation>| {
        observation.map_or_else(|| "not observed".to_owned(), |o| format!("{} since {}", o.vote, at(agent, o.since)))
    };
    view.instances.iter().find_map(|(id, here)| {
        let there = model.instances.get(id)?;
        let who = |instance: &InstanceView| instance.observers.iter().map(|o| o.agent).collect::<Vec<_>>();
        let agents: BTreeSet<AgentId> = who(here).into_iter().chain(who(there)).collect();
        agents.into_iter().filter(|agent| live(*agent)).find_map(|agent| {
            // What an agent sees of a host itself it need not tell while nothing is wrong.
            if id.host_of().is_some() && (agent == model.agent || agent == view.agent) {
                return None;
            }
            let (ours, theirs) = (said(here, agent), said(there, agent));
            (ours != theirs)
                .then(|| format!("{id} is {} by {agent} here and {} there", words(agent, ours), words(agent, theirs)))
        })
    })
}

/// What is shown of an observer's word. Before its first word, an observer shows itself that it is starting.
fn said(instance: &InstanceView, agent: AgentId) -> Option<&Observation> {
    let observer = instance.observers.iter().find(|observer| observer.agent == agent)?;
    observer.observation.as_ref().filter(|observation| observation.vote != Vote::Abstain(AbstainReason::Starting))
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use quorate_core::{InstanceId, Verdict};

    fn all(_: AgentId) -> bool {
        true
    }

    fn shown(_: AgentId, at: UnixMs) -> String {
        at.0.to_string()
    }

    #[test]
    fn an_observation_that_two_agents_hold_differently_is_named() {
        let bench = Bench::new("");
        let view = |agent: usize, since: u64| {
            let mut instance = bench.instance_view("web@0", Verdict::Up, 1, None);
            let vote = Vote::Pass;
            instance.observers[2].observation = Some(Observation { vote, detail: String::new(), since: UnixMs(since) });
            bench.mesh_view(agent, true, &[instance])
        };
        assert_eq!(differing(&view(0, 7), &view(1, 7), all, shown), None);
        let found = differing(&view(0, 7), &view(1, 8), all, shown).unwrap();
        assert_eq!(differing(&view(0, 7), &view(1, 8), |_| false, shown), None, "the dead");
        assert!(found.contains("since 8") && found.contains("since 7"), "{found}");
        assert!(
            differing(&view(0, 7), &bench.mesh_view(1, true, &[]), all, shown).is_none(),
            "another check names that"
        );
    }

    #[test]
    fn what_an_agent_sees_of_a_host_itself_is_its_own_affair() {
        let bench = Bench::new("");
        let host = InstanceId::host(bench.truth.scenario.agents[0].id);
        let view = |agent: usize, since: u64| {
            let mut instance = bench.instance_view("web@0", Verdict::Up, 1, None);
            instance.instance = host.clone();
            let vote = Vote::Pass;
            instance.observers[2].observation = Some(Observation { vote, detail: String::new(), since: UnixMs(since) });
            bench.mesh_view(agent, true, &[instance])
        };
        assert_eq!(differing(&view(0, 7), &view(2, 8), all, shown), None);
        assert!(differing(&view(0, 7), &view(1, 8), all, shown).is_some());
    }
}
