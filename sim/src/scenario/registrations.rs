//! What is registered when: withdrawals and operators' wishes of a plan, made ready to run.

use super::{Action, Interval, Scenario};
use crate::plan::Fault;
use crate::time::{SimTime, Span};
use quorate_core::{Intent, IntentKind, Registration};

impl Scenario {
    pub(super) fn add_to_registrations(&mut self, fault: &Fault) {
        let (Fault::Withdraw { instance, from, to } | Fault::Intent { instance, from, to, .. }) = fault else { return };
        let Some(number) = self.instances.iter().position(|i| i.id.as_str() == instance) else { return };
        let when = Interval { from: from.moment(), to: to.map_or(SimTime::NEVER, Span::moment) };
        match fault {
            Fault::Intent { intent, .. } => self.intents.push((number, when, *intent)),
            _ => self.withdrawals.push((number, when)),
        }
        let register = Action::Register(self.instances[number].home);
        self.act(*from, register);
        if let Some(to) = to {
            self.act(*to, register);
        }
    }

    /// Is its home meant to register instance number `instance` at `at`?
    pub fn registered(&self, instance: usize, at: SimTime) -> bool {
        !self.withdrawals.iter().any(|(which, when)| *which == instance && when.holds(at))
    }

    /// Is it meant to all the time from `from` to `to`?
    pub fn registered_throughout(&self, instance: usize, from: SimTime, to: SimTime) -> bool {
        !self.withdrawals.iter().any(|(which, when)| *which == instance && when.meets(from, to))
    }

    /// What an operator wants of instance number `instance` at `at`; of several wishes the first in the plan.
    pub fn intent(&self, instance: usize, at: SimTime) -> Option<IntentKind> {
        let here = |(which, when, _): &&(usize, Interval, IntentKind)| *which == instance && when.holds(at);
        self.intents.iter().find(here).map(|(_, _, kind)| *kind)
    }

    /// All that `agent` registers at `at`.
    pub fn registrations(&self, agent: usize, at: SimTime) -> Vec<Registration> {
        let here =
            |(number, instance): &(usize, &super::Instance)| instance.home == agent && self.registered(*number, at);
        let instances = self.instances.iter().enumerate().filter(here);
        let wished = |(number, instance): (usize, &super::Instance)| {
            let mut registration = instance.registration.clone();
            let since = self.agents[agent].clock.calendar(SimTime::START);
            registration.placement.intent = self.intent(number, at).map(|kind| Intent {
                kind,
                owner: "plan".to_owned(),
                reason: String::new(),
                since,
                until: None,
            });
            registration
        };
        instances.map(wished).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn what_an_agent_registers_changes_with_the_plan() {
        let services = "[[services]]\nname = \"web\"\nhomes = [0, 1]\n[[services]]\nname = \"api\"\nhomes = [1]\n";
        let withdraw = "[[faults]]\nkind = \"withdraw\"\ninstance = \"web@1\"\nfrom = \"10s\"\nto = \"20s\"\n";
        let intent = "[[faults]]\nkind = \"intent\"\ninstance = \"api@1\"\nintent = \"draining\"\nfrom = \"15s\"\n";
        let plan = Plan::parse(&format!("summary = \"t\"\n{services}{withdraw}{intent}")).unwrap();
        let scenario = Scenario::new("t", &plan, 1).unwrap();
        let said = |second: u64| {
            let list = scenario.registrations(1, SimTime::from_ms(second * 1000));
            let word = |r: Registration| (r.instance.to_string(), r.placement.intent.map(|intent| intent.kind));
            list.into_iter().map(word).collect::<Vec<_>>()
        };
        let (web, api) = (("web@1".to_owned(), None), |kind| ("api@1".to_owned(), kind));
        assert_eq!(said(9), [web.clone(), api(None)]);
        assert_eq!(said(10), [api(None)]);
        assert_eq!(said(15), [api(Some(IntentKind::Draining))]);
        assert_eq!(said(20), [web, api(Some(IntentKind::Draining))]);
        let acts = scenario.actions.iter().filter(|(_, action)| *action == Action::Register(1)).count();
        assert_eq!((acts, scenario.last_fault), (3, SimTime::from_ms(20_000)));
    }
}
