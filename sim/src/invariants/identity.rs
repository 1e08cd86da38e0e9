//! Part of promise 9: whoever has been within everybody's reach keeps its identity, and is not held failed.
//!
//! Neither decides anything, but a mesh in which the healthy are declared failed and come back has no time for the rest.

use super::{Finding, Invariant, Sight};
use crate::scenario::Cut;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_mesh::{EventKind, MemberState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So long after the last fault, whoever was wrongly given up has heard of it and come back.
const RETURNED: Duration = Duration::from_secs(12);
/// Who was lost for so long has been told to everyone who could hear, and is no news any more.
const OLD_NEWS: Duration = Duration::from_secs(20);
/// Of many, the last one is not missed before each has been probed, one in a second, and has been a suspect for so long.
const SUSPECTED: Duration = Duration::from_secs(12);

/// The invariant.
#[derive(Default)]
pub struct Identity {
    /// Renewals by agent, as of the last survey.
    renewals: BTreeMap<usize, u64>,
}

impl Invariant for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Event { agent, kind: EventKind::Member { agent: of, to: MemberState::Failed, .. } } => {
                let of = truth.scenario.agent(*of).filter(|of| out_of_the_blue(truth, *agent, *of));
                let name = of.map(|of| truth.scenario.agent_name(of));
                found.extend(name.map(|name| {
                    Finding::new(Some(*agent), format!("it holds {name} failed, which it has reached all along"))
                }));
            }
            Sight::Survey { views } => {
                for (agent, view) in views.iter().enumerate() {
                    let renewals = view.map_or(0, |view| view.stats.renewals);
                    let before = self.renewals.insert(agent, renewals).unwrap_or(0);
                    if renewals > before && calm(truth) {
                        found
                            .push(Finding::new(Some(agent), "it gives up its identity, although everybody reaches it"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Has nothing befallen any process or path for a while?
fn calm(truth: &Truth) -> bool {
    let from = truth.now.minus(RETURNED);
    truth.scenario.quiet(from, truth.now) && truth.steady(from, truth.now) && !truth.scenario.lossy(from, truth.now)
}

/// Has `agent` reached `of` all along, and has everybody else either done so, too, or been lost so long ago that the news is old?
fn out_of_the_blue(truth: &Truth, agent: usize, of: usize) -> bool {
    let old = OLD_NEWS.max(SUSPECTED + Duration::from_secs(truth.agents() as u64));
    let (from, recently) = (truth.now.minus(old + old), truth.now.minus(old));
    let recent = |cut: &&Cut| cut.when.meets(recently, truth.now);
    let old_and_over = |cut: &Cut| match cut.when.edges().collect::<Vec<_>>()[..] {
        [begun, over] => over <= truth.now && over.since(begun) >= old,
        _ => false,
    };
    truth.answers_throughout(agent, of, from, truth.now)
        && truth.scenario.cuts.iter().filter(recent).all(old_and_over)
        && truth.split_clean(from, truth.now)
        && truth.all_awake(from, truth.now)
        && (0..truth.agents()).all(|agent| had_company(truth, agent, from))
        && !was_put_out(truth, &[agent, of], (from, truth.now))
}

/// Did an epoch of this time no longer hold one of `agents`? It may be let in again, but to the others its former life is over.
pub(super) fn was_put_out(truth: &Truth, agents: &[usize], (from, to): (SimTime, SimTime)) -> bool {
    let all_in = |roster: &BTreeSet<usize>| agents.iter().all(|agent| roster.contains(agent));
    truth.rosters.between(from, to).skip_while(|roster| !all_in(roster)).any(|roster| !all_in(roster))
}

/// Who was quite alone had nobody to tell its news to, and tells it when it returns.
fn had_company(truth: &Truth, agent: usize, from: SimTime) -> bool {
    (0..truth.agents()).any(|other| other != agent && truth.path_clear(agent, other, from, truth.now))
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Bench, SPLIT};
    use super::*;

    fn failed(bench: &mut Bench, second: u64, agent: usize, of: usize) -> Vec<String> {
        bench.at(second);
        let of = bench.truth.scenario.agents[of].id;
        let kind = EventKind::Member { agent: of, name: String::new(), from: None, to: MemberState::Failed };
        bench.look(&mut Identity::default(), &Sight::Event { agent, kind: &kind })
    }

    #[test]
    fn a_neighbour_held_failed_by_hearsay_is_found() {
        let mut bench = Bench::new(&SPLIT.replace("20s", "60s").replace("40s", "90s"));
        assert!(failed(&mut bench, 70, 0, 1).is_empty(), "while the cut lasts, news of it is fresh");
        assert!(failed(&mut bench, 92, 0, 1)[0].contains("holds a1 failed"));
        assert!(failed(&mut bench, 92, 0, 4).is_empty(), "it has just come back");
        let mut brief = Bench::new(&SPLIT.replace("20s", "80s").replace("40s", "90s"));
        assert!(failed(&mut brief, 92, 0, 1).is_empty(), "the news may still be on its way");
    }

    #[test]
    fn an_identity_given_up_in_a_sound_mesh_is_found() {
        let mut bench = Bench::new(SPLIT);
        let mut invariant = Identity::default();
        let mut survey = |second, renewals| {
            bench.at(second);
            let mut view = bench.mesh_view(2, true, &[]);
            view.stats.renewals = renewals;
            bench.survey(&mut invariant, &[&view])
        };
        assert!(survey(42, 1).is_empty(), "the heal is the reason");
        assert!(survey(60, 1).is_empty());
        assert!(survey(61, 2)[0].contains("gives up its identity"));
    }
}
