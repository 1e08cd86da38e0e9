//! Shrinking of plans that a deliberately broken stand-in for the engine fails, and of plans under an invented rule.

use super::*;
use crate::node::{self, Node};
use crate::plan::Fault;
use crate::runner::{self, Manner};
use crate::stop::Stop;
use crate::swarm::{self, Profile};
use quorate_core::{Mono, Now, Verdict};
use quorate_mesh::{Acquaintance, Engine, EngineConfig, Formation, Glance, Input, Keys, MeshView, Output, StartError};
use std::sync::Arc;

/// Searches under an invented rule, by which a plan fails at once.
fn shrunk(plan: &Plan, tries: usize, fails: impl Fn(&Plan) -> bool) -> Found {
    let mut trial = |plan: &Plan, _| fails(plan).then_some(SimTime::START);
    let (mut more, mut progress) = (|runs| runs < tries, |_: &Plan, _| {});
    Search::new(plan, SimTime::START, &mut trial, &mut more, &mut progress).unwrap().run().unwrap()
}

/// A drawn plan of twenty agents in which a pause and a loss happen among other things.
fn large() -> Plan {
    let has = |plan: &Plan| {
        plan.faults.iter().any(|fault| matches!(fault, Fault::Pause { .. }))
            && plan.faults.iter().any(|fault| matches!(fault, Fault::Loss { .. }))
            && plan.faults.len() > 3
    };
    (0..).map(|seed| swarm::plan(Profile::Swarm, seed, Some(20))).find(has).unwrap()
}

#[test]
fn one_fault_and_one_agent_are_left_when_they_alone_matter() {
    let found = shrunk(&large(), 2000, |plan| plan.faults.iter().any(|fault| matches!(fault, Fault::Pause { .. })));
    assert_eq!(Size::of(&found.plan), Size { faults: 1, agents: 1, instances: 0 });
    let [Fault::Pause { agent: 0, from, to, .. }] = found.plan.faults.as_slice() else { panic!("{:?}", found.plan) };
    assert!(to.0 - from.0 <= Duration::from_millis(300) && found.plan.duration.0 <= Duration::from_millis(300));
    assert!(!found.exhausted && found.runs < 100, "{}", found.runs);
}

#[test]
fn numbers_go_down_to_what_is_needed() {
    let enough = |fault: &Fault| matches!(fault, Fault::Loss { per_mille, .. } if *per_mille >= 7);
    let found = shrunk(&large(), 2000, |plan| plan.mesh.agents >= 4 && plan.faults.iter().any(enough));
    assert_eq!(Size::of(&found.plan), Size { faults: 1, agents: 4, instances: 0 });
    assert!(matches!(found.plan.faults[..], [Fault::Loss { per_mille: 7, .. }]), "{:?}", found.plan.faults);
}

#[test]
fn the_search_ends_at_its_limit_with_what_it_has() {
    let plan = large();
    let found = shrunk(&plan, 3, |plan| !plan.faults.is_empty());
    assert!(found.exhausted && found.runs == 3);
    assert!(Size::of(&found.plan).faults < Size::of(&plan).faults);
}

#[test]
fn what_is_promised_is_not_touched() {
    let mut plan = large();
    plan.bounds.detection = crate::time::Span::ms(1234);
    assert_eq!(shrunk(&plan, 2000, |_| true).plan.bounds, plan.bounds);
}

/// An engine that calls every instance down, without proof, once it has lost a link.
struct Panicky {
    engine: Engine,
    scared: bool,
}

impl Node for Panicky {
    fn handle(&mut self, now: Now, input: Input) {
        self.scared |= matches!(input, Input::Link { event: quorate_mesh::LinkEvent::Down, .. });
        self.engine.handle(now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.engine.poll_output()
    }

    fn state(&self) -> Vec<u8> {
        self.engine.state()
    }

    fn next_wakeup(&self) -> Mono {
        self.engine.next_wakeup()
    }

    fn view_changed(&self) -> bool {
        self.scared || self.engine.view_changed()
    }

    fn acquaintance(&self) -> Option<Acquaintance> {
        Some(self.engine.acquaintance())
    }

    fn form(&mut self, all: &Formation) {
        self.engine.form(all);
    }

    fn view(&mut self) -> MeshView {
        self.engine.view()
    }

    fn glance(&mut self) -> Glance {
        let mut view = self.engine.glance();
        if self.scared {
            let panic = |instance: &Arc<quorate_mesh::InstanceView>| {
                let mut instance = quorate_mesh::InstanceView::clone(instance);
                (instance.decided, instance.certificate) = (Verdict::Down, None);
                Arc::new(instance)
            };
            let instances = view.instances.iter().map(|(id, instance)| (id.clone(), panic(instance)));
            view.instances = Arc::new(instances.collect());
        }
        view
    }
}

fn panicky(
    config: EngineConfig,
    stored: Option<&[u8]>,
    keys: Box<dyn Keys>,
    now: Now,
) -> Result<Box<dyn node::Node>, StartError> {
    Ok(Box::new(Panicky { engine: Engine::new(config, stored, keys, now)?, scared: false }))
}

#[test]
fn a_plan_that_a_broken_agent_fails_is_shrunk_by_running_it() {
    let plan = swarm::plan(Profile::Split, 3, Some(8));
    let run = |plan: &Plan, by: SimTime| {
        let stop = Stop::AtFirstOf("quorum".to_owned(), by);
        let manner = Manner { starter: Box::new(panicky), stop, ..Manner::default() };
        let (report, _) = runner::run("t", plan, 3, manner).unwrap();
        report.violations.iter().find(|v| v.invariant == "quorum").map(|v| SimTime::from_ms((v.at_s * 1000.0) as u64))
    };
    let failed_at = run(&plan, SimTime::NEVER).unwrap();
    let mut trial = run;
    let (mut more, mut progress) = (|runs| runs < 300, |_: &Plan, _| {});
    let found = Search::new(&plan, failed_at, &mut trial, &mut more, &mut progress).unwrap().run().unwrap();
    // Two agents lose their link, and the host of one of them is enough to be called down.
    assert_eq!(
        Size::of(&found.plan),
        Size { faults: 1, agents: 2, instances: 0 },
        "{}",
        plan_table::text(&found.plan).unwrap()
    );
    assert!(run(&found.plan, SimTime::NEVER).is_some_and(|at| at < failed_at));
}
