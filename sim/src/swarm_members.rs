//! What a drawn plan rarely has beside its other faults: members that are faulty, agents that are lost for good when the rest heals,
//! instances that are withdrawn and registered again, checks that differ from most, members that are soon forgotten, and services of which every
//! instance fails at once.
//!
//! Drawn apart from everything else, so that the rest of a seed's plan does not depend on it.

use crate::draw::{Draws, Purpose};
use crate::faulty::Behaviour;
use crate::plan::{Fault, Plan, TargetMode, WakeOrder};
use crate::time::Span;
use quorate_core::IntentKind;
use std::time::Duration;

/// Of a hundred plans so many have faulty members.
const FAULTY_PERCENT: u64 = 12;
/// Of a hundred plans in so many some agents are lost for good.
const ABANDON_PERCENT: u64 = 15;
/// Of a hundred plans so many have checks with other thresholds and times than most.
const CHECKED_PERCENT: u64 = 30;
/// Of a hundred plans so many probe at other paces while a vote may change and while an instance is down.
const PACED_PERCENT: u64 = 30;
/// Of a hundred plans in so many the registrations of some instances change.
const REGISTERING_PERCENT: u64 = 25;
/// Of a hundred plans in so many a member that is down is no longer counted after seconds, not minutes.
const FORGETTING_PERCENT: u64 = 15;
/// Of a hundred plans in so many all instances of a service fail together.
const OUTAGE_PERCENT: u64 = 12;
/// The longest that they do, in milliseconds.
const LONGEST_OUTAGE_MS: u64 = 40_000;
/// The longest that members are out of reach, on top of the time after which they are forgotten, in milliseconds.
const LONGEST_AWAY_MS: u64 = 40_000;
/// The longest that a registration is withdrawn for, if not for good, in milliseconds.
const LONGEST_WITHDRAWAL_MS: u64 = 20_000;
/// Of at least so many agents enough are left when some are forgotten.
const MANY: u64 = 7;
/// The mesh has formed by then.
const FORMED: Span = Span::secs(15);
/// After this long nothing else goes wrong any more.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// The plan with what is drawn beside it.
pub fn add(mut plan: Plan, draws: Draws) -> Plan {
    let throw = |n: u64, end: u64| draws.within((0, end.saturating_sub(1)), Purpose::Members, n, 0, 0);
    if throw(180, 100) < FORGETTING_PERCENT {
        add_forgetting(&mut plan, &throw);
    }
    if throw(190, 100) < OUTAGE_PERCENT {
        add_outage(&mut plan, &throw);
    }
    if throw(1, 100) < FAULTY_PERCENT {
        add_faulty(&mut plan, &throw);
    }
    if throw(2, 100) < ABANDON_PERCENT {
        add_abandoned(&mut plan, &throw);
    }
    if throw(62, 100) < CHECKED_PERCENT {
        let times = [(1000, 500), (2000, 1500), (3000, 3000), (4000, 2000)];
        for (n, service) in (0..).zip(&mut plan.services) {
            service.failure_threshold = [1, 2, 3, 4][index(throw(70 + n, 4))];
            service.success_threshold = [1, 2, 3][index(throw(80 + n, 3))];
            let (period, timeout) = times[index(throw(90 + n, 4))];
            (service.period, service.timeout) = (Span::ms(period), Span::ms(timeout));
            service.home_only = throw(100 + n, 10) == 0;
        }
    }
    if throw(60, 100) < PACED_PERCENT {
        for service in &mut plan.services {
            service.fast_interval = Some(Span::ms(200));
            service.down_interval = (throw(61, 2) == 0).then_some(Span::secs(3));
        }
    }
    if throw(120, 100) < REGISTERING_PERCENT {
        add_registrations(&mut plan, &throw);
    }
    plan
}

/// All instances of one service fail together, or nearly.
fn add_outage(plan: &mut Plan, throw: &impl Fn(u64, u64) -> u64) {
    let services = plan.services.len() as u64;
    let Some(service) = plan.services.get(index(throw(191, services.max(1)))) else { return };
    let modes = [TargetMode::Dead, TargetMode::Hung, TargetMode::Erroring];
    let mode = modes[index(throw(192, modes.len() as u64))];
    let (formed, end) = (ms(FORMED), ms(plan.duration));
    let first = formed + throw(193, end.saturating_sub(formed).max(1));
    let last = first + 1 + throw(194, LONGEST_OUTAGE_MS);
    let apart = [0, 300, 3000][index(throw(195, 3))];
    let outage = (0..).zip(&service.homes).map(|(n, home)| Fault::Target {
        instance: format!("{}@{home}", service.name),
        mode,
        from: Span::ms(first + throw(200 + n, apart + 1)),
        to: Some(Span::ms(last + throw(300 + n, apart + 1) + apart)),
        flap_period: Span::secs(1),
        answer_after: None,
        probes_per_s: None,
        seen_by: None,
    });
    let outage: Vec<_> = outage.collect();
    plan.faults.extend(outage);
    plan.duration = plan.duration.max(Span::ms(last + 2 * apart));
}

/// Members that are down are soon forgotten, and some are out of reach for longer than that. Fewer are left to remember what was agreed, so
/// no several lose their disks, and nobody is there twice: who has forgotten the one may know the other's address alone.
fn add_forgetting(plan: &mut Plan, throw: &impl Fn(u64, u64) -> u64) {
    let agents = plan.mesh.agents as u64;
    plan.faults.retain(|fault| !matches!(fault, Fault::Clone { .. }));
    let forget_after = Span::secs([3, 5, 8, 15][index(throw(181, 4))]);
    plan.timing.forget_after = Some(forget_after);
    plan.faults.iter_mut().for_each(Fault::keep_disks);
    let from = Span(FORMED.0 + Duration::from_millis(throw(182, 20_000)));
    let to = Span(from.0 + forget_after.0 + Duration::from_millis(throw(183, LONGEST_AWAY_MS)));
    let (first, count) = (throw(184, agents), 1 + throw(185, (agents.saturating_sub(1) / 2).max(1)));
    let away: Vec<usize> = (0..count).map(|n| index((first + n) % agents)).collect();
    let fault = match throw(186, 3) {
        0 => Fault::Isolate { agents: away, from, to, cycle: None },
        1 => {
            let rest = (0..plan.mesh.agents).filter(|agent| !away.contains(agent)).collect();
            Fault::Partition { groups: vec![away, rest], from, to, symmetric: true, cycle: None }
        }
        _ => Fault::Pause { agent: away[0], from, to, wake: WakeOrder::default() },
    };
    plan.faults.push(fault);
    plan.duration = plan.duration.max(to);
    if plan.check().is_err() {
        plan.faults.pop();
    }
}

/// One to four changes of what is registered: withdrawn for good or for a while, or an operator's wish.
fn add_registrations(plan: &mut Plan, throw: &impl Fn(u64, u64) -> u64) {
    let names: Vec<String> = plan.instances().collect();
    let (formed, end) = (ms(FORMED), ms(plan.duration));
    for n in 0..=throw(121, 4) {
        let Some(instance) = names.get(index(throw(130 + n, names.len() as u64))).cloned() else { continue };
        let from = formed + throw(140 + n, end.saturating_sub(formed).max(1));
        let to = (from + 1 + throw(150 + n, LONGEST_WITHDRAWAL_MS)).min(end.max(from + 1));
        let to = (throw(160 + n, 4) > 0).then_some(Span::ms(to));
        let from = Span::ms(from);
        plan.faults.push(match throw(170 + n, 4) {
            0 => Fault::Intent { instance, intent: IntentKind::Draining, from, to },
            1 => Fault::Intent { instance, intent: IntentKind::Maintenance, from, to },
            _ => Fault::Withdraw { instance, from, to },
        });
    }
}

fn ms(span: Span) -> u64 {
    u64::try_from(span.0.as_millis()).unwrap_or(0)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// One faulty member, or two where they are few enough.
fn add_faulty(plan: &mut Plan, throw: &impl Fn(u64, u64) -> u64) {
    // A sole observer's word is all there is: against its lies nothing helps.
    plan.services.iter_mut().for_each(|service| service.observers = service.observers.max(3));
    let agents = plan.mesh.agents as u64;
    let behaviours = [
        Behaviour::AlwaysDown,
        Behaviour::AlwaysUp,
        Behaviour::Random,
        Behaviour::Replayer,
        Behaviour::Forger,
        Behaviour::Inflater,
        Behaviour::Garbage,
    ];
    // Where members are forgotten, those who are left must still outvote the faulty.
    let most = match (plan.timing.forget_after, agents) {
        (Some(_), ..MANY) => return,
        (Some(_), _) => 0,
        _ => throw(3, 2),
    };
    for n in 0..=most {
        let agent = index(throw(10 + n, agents));
        let behaviour = behaviours[index(throw(20 + n, behaviours.len() as u64))];
        let to = (throw(30 + n, 100) < 70).then_some(plan.duration);
        let fault = Fault::Faulty { agent, behaviour, from: FORMED, to };
        if plan.faults.iter().any(|fault| fault.moves(agent)) {
            continue;
        }
        plan.faults.push(fault);
        if plan.check().is_err() {
            plan.faults.pop();
        }
    }
}

/// Fewer than half, when all else has healed.
fn add_abandoned(plan: &mut Plan, throw: &impl Fn(u64, u64) -> u64) {
    let agents = plan.mesh.agents as u64;
    let most = agents.saturating_sub(1) / 2;
    // Of a roster that has changed they might be more than half.
    let churn = plan.faults.iter().any(Fault::changes_roster) || plan.timing.forget_after.is_some();
    if most == 0 || churn {
        return;
    }
    let (first, count) = (throw(4, agents), 1 + throw(5, most));
    let lost: Vec<usize> = (0..count).map(|n| index((first + n) % agents)).collect();
    let at = Span(plan.duration.0 + AFTERWARDS);
    plan.faults.push(Fault::Abandon { agents: lost, at, alive: throw(6, 2) == 0 });
}

#[cfg(test)]
mod tests {
    use crate::plan::{Fault, Plan};
    use crate::swarm::{Profile, plan};

    #[test]
    fn some_plans_have_faulty_members_and_some_lose_agents_for_good() {
        let plans: Vec<_> = (0..400).map(|seed| plan(Profile::Swarm, seed, None)).collect();
        let with = |wanted: fn(&Fault) -> bool| plans.iter().filter(|plan| plan.faults.iter().any(wanted)).count();
        let faulty = with(|fault| matches!(fault, Fault::Faulty { .. }));
        let abandoned = with(|fault| matches!(fault, Fault::Abandon { .. }));
        assert!((20..60).contains(&faulty) && (20..80).contains(&abandoned), "{faulty} {abandoned}");
        plans.iter().for_each(|plan| plan.check().unwrap());
    }

    #[test]
    fn in_some_plans_registrations_change() {
        let plans = (0..400).map(|seed| plan(Profile::Swarm, seed, None));
        let faults: Vec<Fault> = plans.flat_map(|plan| plan.faults).collect();
        let count = |wanted: fn(&Fault) -> bool| faults.iter().filter(|fault| wanted(fault)).count();
        let back = count(|fault| matches!(fault, Fault::Withdraw { to: Some(_), .. }));
        let for_good = count(|fault| matches!(fault, Fault::Withdraw { to: None, .. }));
        let wished = count(|fault| matches!(fault, Fault::Intent { .. }));
        assert!(back > 40 && for_good > 10 && wished > 40, "{back} {for_good} {wished}");
    }

    #[test]
    fn in_some_plans_all_instances_of_a_service_fail() {
        let out = |plan: &Plan| {
            let failing = |instance: String| {
                let fails = |f: &Fault| matches!(f, Fault::Target { instance: i, seen_by: None, .. } if *i == instance);
                plan.faults.iter().any(fails)
            };
            plan.services.iter().any(|s| s.homes.iter().all(|home| failing(format!("{}@{home}", s.name))))
        };
        let plans = (0..400).map(|seed| plan(Profile::Swarm, seed, None));
        let found = plans.filter(|plan| plan.services.iter().any(|s| s.homes.len() > 2) && out(plan)).count();
        assert!(found > 10, "{found}");
    }

    #[test]
    fn in_some_plans_members_are_soon_forgotten() {
        let plans = (0..400).map(|seed| plan(Profile::Swarm, seed, None));
        let soon: Vec<_> = plans.filter(|plan| plan.timing.forget_after.is_some()).collect();
        assert!((30..90).contains(&soon.len()), "{}", soon.len());
        assert!(!soon.iter().flat_map(|plan| &plan.faults).any(Fault::forgets_together));
        let faults = || soon.iter().flat_map(|plan| &plan.faults);
        assert!(!faults().any(|fault| matches!(fault, Fault::Clone { .. })), "nobody is there twice");
        let faulty = |plan: &Plan| plan.faults.iter().filter(|fault| matches!(fault, Fault::Faulty { .. })).count();
        assert!(
            soon.iter().all(|plan| faulty(plan) <= usize::from(plan.mesh.agents >= 7)),
            "who are left outvote them"
        );
    }

    #[test]
    fn some_plans_have_checks_that_differ_from_most() {
        let plans = (0..400).map(|seed| plan(Profile::Swarm, seed, None));
        let services: Vec<_> = plans.flat_map(|plan| plan.services).collect();
        for threshold in 1..=4 {
            assert!(
                services.iter().filter(|service| service.failure_threshold == threshold).count() > 50,
                "{threshold}"
            );
        }
        assert!(services.iter().any(|service| service.home_only && service.success_threshold == 3));
        assert!(services.iter().any(|service| service.timeout == service.period));
    }
}
