//! Promise 6, Nothing forged: whatever an agent shows in another's name, a signature or an observation, is what that other really gave.

use super::{Finding, Invariant, Sight};
use crate::digest::Writer;
use crate::truth::Truth;
use quorate_core::verdict::Certificate;
use quorate_core::{InstanceId, Observation};
use quorate_mesh::{EventKind, Glance, InstanceView};
use quorate_wire::signing_bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Instances = Arc<BTreeMap<InstanceId, Arc<InstanceView>>>;

/// The invariant.
#[derive(Default)]
pub struct Forged {
    /// What each agent has said of each instance, as digests.
    said: BTreeSet<(usize, u64, u64)>,
    /// What each agent showed when it was last looked at.
    shown: BTreeMap<usize, Instances>,
}

impl Invariant for Forged {
    fn name(&self) -> &'static str {
        "nothing forged"
    }

    fn look(&mut self, truth: &Truth, sight: &Sight<'_>, found: &mut Vec<Finding>) {
        match sight {
            Sight::Event { agent, kind: EventKind::Vote { instance, observation } } => {
                self.said.insert((*agent, instance.hash64(), Writer::shown(observation)));
            }
            Sight::Instance { agent, before, after } => {
                let held = |view: &InstanceView| view.certificate.clone();
                if let Some(certificate) = held(after)
                    && before.and_then(held).is_none_or(|old| !Arc::ptr_eq(&old, &certificate))
                {
                    found.extend(unsigned(truth, *agent, &certificate));
                }
            }
            Sight::Survey { views } => {
                for view in views.iter().flatten() {
                    self.look_at(truth, view, found);
                }
            }
            _ => {}
        }
    }
}

/// The first endorsement by an honest agent that it never gave.
fn unsigned(truth: &Truth, holder: usize, certificate: &Certificate) -> Option<Finding> {
    let forged = certificate.endorsements.iter().find(|endorsement| {
        let honest = truth.scenario.agent(endorsement.agent).is_none_or(|who| !truth.scenario.suspect(who, truth.now));
        let words = (&certificate.decision, endorsement.vote, endorsement.signed_at);
        honest && !truth.ledger.holds(endorsement.agent, &signing_bytes("quorate endorsement 1", &words))
    })?;
    let name = truth.scenario.agent(forged.agent).map_or("nobody", |who| truth.scenario.agent_name(who));
    Some(Finding::about(truth, certificate, Some(holder), format!("{name} never gave the signature in its name")))
}

impl Forged {
    fn look_at(&mut self, truth: &Truth, view: &Glance, found: &mut Vec<Finding>) {
        let Some(agent) = truth.scenario.agent(view.agent) else { return };
        let before = self.shown.insert(agent, Arc::clone(&view.instances));
        if truth.scenario.suspect(agent, truth.now) || before.as_ref().is_some_and(|b| Arc::ptr_eq(b, &view.instances))
        {
            return;
        }
        for (id, instance) in view.instances.iter() {
            let old = before.as_ref().and_then(|before| before.get(id));
            if old.is_none_or(|old| !Arc::ptr_eq(old, instance)) {
                found.extend(self.never_said(truth, agent, old.map(Arc::as_ref), instance));
            }
        }
    }

    /// The first observation in an honest agent's name that it never published.
    fn never_said(
        &self,
        truth: &Truth,
        viewer: usize,
        old: Option<&InstanceView>,
        new: &InstanceView,
    ) -> Option<Finding> {
        let known = |who, observation: &Observation| {
            let shown = old.and_then(|old| old.observers.iter().find(|o| o.agent == who));
            shown.is_some_and(|shown| shown.observation.as_ref() == Some(observation))
        };
        new.observers.iter().find_map(|observer| {
            let observation = observer.observation.as_ref().filter(|seen| !known(observer.agent, seen))?;
            let who = truth.scenario.agent(observer.agent)?;
            let judged = who != viewer && !truth.scenario.suspect(who, truth.now);
            let said = || self.said.contains(&(who, new.instance.hash64(), Writer::shown(observation)));
            (judged && !said()).then(|| {
                let name = truth.scenario.agent_name(who);
                let detail = format!("it shows {} on {} by {name}, who never said so", observation.vote, new.instance);
                Finding::new(Some(viewer), detail)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Bench;
    use super::*;
    use quorate_core::{UnixMs, Verdict, Vote};

    fn sign(bench: &Bench, certificate: &Certificate) {
        for endorsement in &certificate.endorsements {
            let words = (&certificate.decision, endorsement.vote, endorsement.signed_at);
            bench.truth.ledger.note(endorsement.agent, &signing_bytes("quorate endorsement 1", &words));
        }
    }

    #[test]
    fn a_signature_that_was_never_given_is_found() {
        let mut bench = Bench::new("");
        bench.at(30);
        let mut certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_900);
        sign(&bench, &certificate);
        let show = |certificate: &Certificate| {
            let view = bench.instance_view("web@0", Verdict::Down, 1, Some(certificate.clone()));
            bench.look(&mut Forged::default(), &Sight::Instance { agent: 0, before: None, after: &view })
        };
        assert_eq!(show(&certificate), Vec::<String>::new());
        certificate.endorsements[1].signed_at = UnixMs(1);
        assert!(show(&certificate)[0].contains("a2 never gave the signature"));
    }

    #[test]
    fn a_faulty_members_signature_is_its_own_affair() {
        let fault = "[[faults]]\nkind = \"faulty\"\nagent = 2\nbehaviour = \"forger\"\nfrom = \"20s\"\n";
        let mut bench = Bench::new(fault);
        bench.at(30);
        let mut certificate = bench.certificate("web@0", Verdict::Down, &[1, 2, 3], 29_900);
        sign(&bench, &certificate);
        certificate.endorsements[1].signed_at = UnixMs(1);
        let view = bench.instance_view("web@0", Verdict::Down, 1, Some(certificate));
        let sight = Sight::Instance { agent: 0, before: None, after: &view };
        assert_eq!(bench.look(&mut Forged::default(), &sight), Vec::<String>::new());
    }

    #[test]
    fn an_observation_that_was_never_made_is_found() {
        let mut bench = Bench::new("");
        bench.at(30);
        let observation = Observation { vote: Vote::Pass, detail: String::new(), since: UnixMs(7) };
        let mut instance = bench.instance_view("web@0", Verdict::Up, 1, None);
        instance.observers[3].observation = Some(observation.clone());
        let view = bench.mesh_view(1, true, &[instance.clone()]);
        assert!(bench.survey(&mut Forged::default(), &[&view])[0].contains("web@0 by a3, who never said so"));
        let mut forged = Forged::default();
        let kind = EventKind::Vote { instance: instance.instance.clone(), observation };
        bench.look(&mut forged, &Sight::Event { agent: 3, kind: &kind });
        assert_eq!(bench.survey(&mut forged, &[&view]), Vec::<String>::new());
        let own = bench.mesh_view(3, true, &[instance]);
        assert_eq!(bench.survey(&mut Forged::default(), &[&own]), Vec::<String>::new(), "its own it need not publish");
    }
}
