//! The engine's behaviours, one by one, in the smallest world.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use quorate_core::{
    AbstainReason, AgentId, Class, InstanceId, Intent, IntentKind, Placement, Registration, UnixMs, Verdict, Vote,
};
use quorate_mesh::{Command, Input, MemberState, Ticket};
use world::{Target, World};

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

#[test]
fn one_agent_alone_decides_for_itself() {
    let mut world = World::new();
    world.start(1, &["web@1"]);
    let up = world.until(5_000, |w| w.verdict(1, "web@1") == Verdict::Up);
    assert!(up <= 4_000);
    world.targets.insert(id("web@1"), (1, Target::Refused));
    world.until(4_000, |w| w.verdict(1, "web@1") == Verdict::Down);
}

#[test]
fn many_verdicts_are_decided_over_several_turns() {
    let names: Vec<_> = (0..600).map(|number| format!("web@{number}")).collect();
    let mut world = World::new();
    world.start(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.until(6_000, |w| names.iter().all(|name| w.verdict(1, name) == Verdict::Up));
    assert!((100..=256).contains(&world.most_proposed), "{} in one turn", world.most_proposed);
}

#[test]
fn five_agents_form_a_mesh_and_agree() {
    let mut world = World::formed(5);
    for agent in 1..=5 {
        let view = world.view(agent);
        assert_eq!((view.roster, view.alive, view.quorate), (5, 5, true), "{}", world.picture());
        for home in 1..=5 {
            assert_eq!(world.verdict(agent, &format!("web@{home}")), Verdict::Up, "{}", world.picture());
            assert_eq!(world.verdict(agent, &World::host(home)), Verdict::Up);
        }
        let view = world.view(agent);
        let web = &view.instances[&id("web@3")];
        assert_eq!((web.assigned, web.quorum, web.class), (5, 3, Class::Healthy));
        assert!(web.certificate.as_ref().unwrap().endorsements.len() >= 3);
    }
}

#[test]
fn a_killed_instance_is_down_everywhere_and_up_again() {
    let mut world = World::formed(5);
    let all = [1, 2, 3, 4, 5];
    world.targets.insert(id("web@2"), (2, Target::Refused));
    let down = world.until(5_000, |w| w.all(&all, "web@2", Verdict::Down));
    assert!(down <= 3_600, "{down} ms");
    let web = &world.view(4).instances[&id("web@2")];
    assert_eq!(web.certificate.as_ref().unwrap().class, Class::InstanceFault);
    world.until(2_000, |w| w.view(4).instances[&id("web@2")].class == Class::InstanceFault);
    world.targets.insert(id("web@2"), (2, Target::Up));
    let up = world.until(5_000, |w| w.all(&all, "web@2", Verdict::Up));
    assert!(up <= 2_000, "{up} ms");
}

#[test]
fn a_killed_agent_is_a_host_down_and_its_instances_fold() {
    let mut world = World::formed(5);
    world.crash(5);
    let rest = [1, 2, 3, 4];
    let down = world.until(10_000, |w| w.all(&rest, &World::host(5), Verdict::Down));
    assert!(down <= 6_000, "{down} ms");
    world.until(10_000, |w| w.all(&rest, "web@5", Verdict::Down));
    world.until(30_000, |w| {
        rest.iter().all(|a| w.view(*a).members[&quorate_core::AgentId(5)].state == MemberState::Failed)
    });
    let view = world.view(1);
    assert_eq!(view.instances[&id("web@5")].folded_under, Some(id(&World::host(5))));
    assert_eq!((view.roster, view.alive), (5, 4));
    world.boot(5);
    let back = world.until(10_000, |w| {
        w.all(&[1, 2, 3, 4, 5], "web@5", Verdict::Up) && w.all(&[1, 2, 3, 4, 5], &World::host(5), Verdict::Up)
    });
    assert!(back <= 6_000, "{back} ms");
    assert_eq!(world.view(5).members[&quorate_core::AgentId(5)].boot, 2);
}

#[test]
fn what_only_its_home_sees_is_unknown_without_it_and_its_host_says_why() {
    let mut world = World::new();
    for agent in 1..=5 {
        world.start(agent, &[&format!("job@{agent}")]);
        if agent > 1 {
            world.contact(agent, 1);
        }
    }
    let (all, rest) = ([1, 2, 3, 4, 5], [1, 2, 3, 4]);
    world.until(20_000, |w| w.all(&all, "job@5", Verdict::Up));
    world.crash(5);
    world.until(20_000, |w| w.all(&rest, &World::host(5), Verdict::Down) && w.all(&rest, "job@5", Verdict::Unknown));
    for agent in rest {
        let view = world.view(agent);
        let job = &view.instances[&id("job@5")];
        assert_eq!((job.decided, job.class), (Verdict::Up, Class::HostDown), "nothing was decided about it");
        assert_eq!(job.folded_under, Some(id(&World::host(5))));
        assert_eq!(view.instances[&id("job@4")].folded_under, None);
    }
    world.boot(5);
    world.until(20_000, |w| {
        w.all(&all, "job@5", Verdict::Up)
            && rest.iter().all(|a| w.view(*a).instances[&id("job@5")].folded_under.is_none())
    });
    assert_eq!(world.view(1).instances[&id("job@5")].class, Class::Healthy);
}

/// What `observer` says of an instance, as `agent` has heard it.
fn vote(world: &mut World, agent: u64, instance: &str, observer: u64) -> Option<Vote> {
    let view = world.view(agent);
    let observers = &view.instances[&id(instance)].observers;
    observers.iter().find(|o| o.agent == AgentId(observer))?.observation.as_ref().map(|observation| observation.vote)
}

#[test]
fn those_who_do_not_find_its_name_condemn_nothing_that_others_reach() {
    let mut world = World::formed(5);
    world.nameless.extend([1, 2, 3]);
    let failing = |w: &mut World| (1..=3).all(|o| vote(w, 5, "web@4", o).is_some_and(Vote::fails_unproven));
    world.until(20_000, failing);
    world.run(10_000);
    for agent in 1..=5 {
        assert_eq!(world.downs(agent), Vec::<String>::new());
        assert_eq!(world.verdict(agent, "web@4"), Verdict::Up, "{}", world.picture());
    }
    world.nameless.extend([4, 5]);
    world.until(20_000, |w| w.all(&[1, 2, 3, 4, 5], "web@4", Verdict::Down));
    let view = world.view(2);
    let certificate = view.instances[&id("web@4")].certificate.as_ref().unwrap();
    assert!(certificate.endorsements.iter().all(|e| e.vote.fails_unproven()), "{certificate:?}");
    world.nameless.clear();
    world.until(20_000, |w| w.all(&[1, 2, 3, 4, 5], "web@4", Verdict::Up));
}

#[test]
fn an_agent_that_finds_no_name_at_all_abstains() {
    let mut world = World::new();
    for agent in 1..=5 {
        world.start(agent, &[&format!("web@{agent}"), &format!("api@{agent}")]);
        if agent > 1 {
            world.contact(agent, 1);
        }
    }
    let all = [1, 2, 3, 4, 5];
    world.until(20_000, |w| (1..=5).all(|i| w.all(&all, &format!("api@{i}"), Verdict::Up)));
    world.nameless.insert(1);
    let impaired = Some(Vote::Abstain(AbstainReason::Impaired));
    world.until(20_000, |w| (2..=5).all(|i| vote(w, 5, &format!("api@{i}"), 1) == impaired));
    world.nameless.clear();
    world.until(20_000, |w| (2..=5).all(|i| vote(w, 5, &format!("api@{i}"), 1) == Some(Vote::Pass)));
}

#[test]
fn many_that_begin_together_are_looked_at_soon_and_then_spread_over_their_period() {
    let mut world = World::new();
    let names: Vec<String> = (0..400).map(|number| format!("slow@{number}")).collect();
    world.start(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    world.run(40_000);
    let first = world.slow_probes[0];
    let at = |second: u64| {
        let (begin, end) = (first + second * 1000 * world::MS, first + (second + 1) * 1000 * world::MS);
        world.slow_probes.iter().filter(|at| (begin..end).contains(at)).count()
    };
    assert!(at(0) >= 400, "each is looked at within a second: {}", at(0));
    // 40 each second on average; draws from a hash, so the bounds hold for these names or never.
    for second in 12..38 {
        assert!((15..=75).contains(&at(second)), "second {second}: {}", at(second));
    }
    let ten: usize = (20..30).map(at).sum();
    assert!((396..=404).contains(&ten), "each once in its period: {ten}");
}

#[test]
fn a_minority_is_silent_and_all_agree_after_the_heal() {
    let mut world = World::formed(5);
    world.cut(&[1, 2, 3], &[4, 5]);
    world.run(30_000);
    for agent in [4, 5] {
        assert_eq!(world.downs(agent), Vec::<String>::new(), "{}", world.picture());
        let view = world.view(agent);
        assert!(!view.quorate);
        let web = &view.instances[&id("web@1")];
        assert_eq!(web.verdict, Verdict::Up);
        assert!(web.stale_since.is_some());
    }
    for agent in [1, 2, 3] {
        assert!(
            world.all(&[agent], "web@4", Verdict::Down) && world.all(&[agent], &World::host(4), Verdict::Down),
            "{}",
            world.picture()
        );
        assert!(world.all(&[agent], "web@1", Verdict::Up));
    }
    world.heal();
    let agreed = world.until(20_000, |w| {
        (1..=5).all(|h| {
            w.all(&[1, 2, 3, 4, 5], &format!("web@{h}"), Verdict::Up)
                && w.all(&[1, 2, 3, 4, 5], &World::host(h), Verdict::Up)
        }) && (1..=5).all(|a| w.view(a).alive == 5 && w.view(a).instances.values().all(|i| i.stale_since.is_none()))
    });
    assert!(agreed <= 10_000, "{agreed} ms");
}

#[test]
fn an_agent_cut_off_from_all_accuses_nobody() {
    let mut world = World::formed(5);
    world.cut(&[3], &[1, 2, 4, 5]);
    world.run(20_000);
    assert_eq!(world.downs(3), Vec::<String>::new());
    assert_eq!(world.verdict(3, "web@1"), Verdict::Up);
    assert!(world.view(3).instances[&id("web@1")].stale_since.is_some());
    assert!(world.all(&[1, 2, 4, 5], &World::host(3), Verdict::Down));
}

#[test]
fn a_paused_agent_accuses_nobody() {
    let mut world = World::formed(5);
    world.pause(3);
    world.run(20_000);
    assert!(world.all(&[1, 2, 4, 5], &World::host(3), Verdict::Down), "{}", world.picture());
    world.resume(3);
    world.run(10_000);
    assert_eq!(world.downs(3).iter().filter(|name| !name.contains('3') && !name.ends_with("03")).count(), 0);
    assert!(world.view(3).stats.stalls >= 1);
    assert!(world.all(&[1, 2, 3, 4, 5], &World::host(3), Verdict::Up), "{}", world.picture());
}

#[test]
fn two_agents_never_call_each_other_down() {
    let mut world = World::formed(2);
    world.crash(2);
    world.run(60_000);
    assert_eq!(world.downs(1), Vec::<String>::new());
    assert!(!world.view(1).quorate);
}

#[test]
fn leaving_shrinks_the_roster_and_coming_back_restores_it() {
    let mut world = World::formed(5);
    world.input(5, Input::Command(Command::Leave));
    world.until(3_000, |w| w.left.contains(&5));
    world.crash(5);
    let rest = [1, 2, 3, 4];
    world.until(3_000, |w| rest.iter().all(|a| w.view(*a).roster == 4));
    let view = world.view(1);
    assert_eq!(view.members[&quorate_core::AgentId(5)].state, MemberState::Left);
    assert!(!view.instances.contains_key(&id("web@5")));
    assert_eq!(world.downs(1), Vec::<String>::new());
    world.boot(5);
    world.until(6_000, |w| {
        (1..=5).all(|a| w.view(a).roster == 5 && w.view(a).alive == 5) && w.all(&[1, 2, 3, 4, 5], "web@5", Verdict::Up)
    });
}

#[test]
fn a_restarted_agent_has_everything_within_two_seconds() {
    let mut world = World::formed(5);
    world.crash(2);
    world.run(500);
    world.boot(2);
    let caught_up = world.until(5_000, |w| {
        let view = w.view(2);
        view.settled
            && view.alive == 5
            && view.instances.len() == 10
            && view.instances.values().all(|i| i.stale_since.is_none())
    });
    assert!(caught_up <= 2_000, "{caught_up} ms");
}

#[test]
fn a_whole_mesh_comes_back_from_its_disks() {
    let mut world = World::formed(5);
    (1..=5).for_each(|a| world.crash(a));
    world.run(3_000);
    (1..=5).for_each(|a| world.boot(a));
    world.until(10_000, |w| (1..=5).all(|a| w.view(a).alive == 5 && w.view(a).quorate));
    world.run(3_000);
    assert!((1..=5).all(|h| world.all(&[1, 2, 3, 4, 5], &format!("web@{h}"), Verdict::Up)), "{}", world.picture());
    assert!((1..=5).all(|a| world.downs(a).is_empty()));
}

#[test]
fn a_one_way_cut_makes_no_false_down() {
    let mut world = World::formed(5);
    // 1 can send to 2, 2 cannot send to 1.
    world.cuts.insert((2, 1));
    world.run(30_000);
    for agent in 1..=5 {
        assert_eq!(world.downs(agent), Vec::<String>::new(), "{}", world.picture());
    }
    world.heal();
    world.until(10_000, |w| (1..=5).all(|a| w.view(a).alive == 5));
}

#[test]
fn loss_makes_no_false_down() {
    let mut world = World::formed(7);
    world.lose_every = 5;
    world.run(120_000);
    for agent in 1..=7 {
        assert_eq!(world.downs(agent), Vec::<String>::new(), "{}", world.picture());
    }
    let renewals: u64 = (1..=7).map(|agent| world.view(agent).stats.renewals).sum();
    assert!(renewals <= 3, "{renewals} identities were renewed although nobody failed");
}

#[test]
fn the_roll_tells_who_is_there() {
    let mut world = World::formed(3);
    world.input(1, Input::Command(Command::CallRoll(Ticket(1))));
    world.run(500);
    world.cut(&[1], &[2, 3]);
    world.input(1, Input::Command(Command::CallRoll(Ticket(2))));
    world.run(700);
    assert_eq!(world.rolls, [(1, true), (1, false)]);
}

#[test]
fn an_old_disk_is_noticed_and_outgrown() {
    let mut world = World::formed(3);
    let old = world.hosts[&2].disk.clone();
    for _ in 0..3 {
        world.crash(2);
        world.run(1_000);
        world.boot(2);
        world.run(3_000);
    }
    world.crash(2);
    world.hosts.get_mut(&2).unwrap().disk = old;
    world.boot(2);
    world.until(10_000, |w| (1..=3).all(|a| w.view(a).alive == 3));
    assert!(world.hosts[&2].engine.as_ref().unwrap().boot() > 4);
}

/// An agent that expects others and has found none yet must not take itself for the whole mesh.
#[test]
fn a_joiner_without_contact_is_not_a_majority_of_one() {
    let mut world = World::new();
    world.start(2, &["web@2"]);
    world.contact(2, 1);
    world.input(2, Input::Command(Command::CallRoll(Ticket(1))));
    world.run(10_000);
    assert_eq!(world.rolls, [(2, false)]);
    assert!(!world.view(2).quorate);
    assert_eq!(world.verdict(2, "web@2"), Verdict::Starting);
}

#[test]
fn what_the_operator_wants_of_an_instance_is_told_and_changes_no_verdict() {
    let mut world = World::formed(3);
    world.until(10_000, |w| w.all(&[1, 2, 3], "web@1", Verdict::Up));
    let before = world.view(2).instances[&id("web@1")].clone();
    let intent =
        |kind, until| Intent { kind, owner: "ann".to_owned(), reason: "new disk".to_owned(), since: UnixMs(1), until };
    let wanted = |intent: Option<Intent>| {
        let placement = Placement { weight: 50, tags: vec!["blue".to_owned()], intent };
        Input::Command(Command::Register(vec![Registration { placement, ..world::registration("web@1") }]))
    };
    world.input(1, wanted(Some(intent(IntentKind::Draining, None))));
    world.until(5_000, |w| w.all(&[1, 2, 3], "web@1", Verdict::Draining));
    let drained = world.view(2).instances[&id("web@1")].clone();
    assert_eq!((drained.decided, drained.term), (Verdict::Up, before.term), "its health is judged as before");
    assert_eq!(drained.registration.as_ref().unwrap().placement.weight, 50);
    assert_eq!(drained.observers, before.observers, "nobody began anew");

    world.targets.insert(id("web@1"), (1, Target::Refused));
    world.until(15_000, |w| w.all(&[1, 2, 3], "web@1", Verdict::Down));
    world.input(1, wanted(Some(intent(IntentKind::Maintenance, None))));
    world.until(5_000, |w| w.all(&[1, 2, 3], "web@1", Verdict::Maintenance));
    assert_eq!(world.view(3).instances[&id("web@1")].decided, Verdict::Down);
    world.input(1, wanted(Some(intent(IntentKind::Maintenance, Some(UnixMs(1))))));
    world.until(5_000, |w| w.all(&[1, 2, 3], "web@1", Verdict::Down));
    world.input(1, wanted(None));
    world.targets.insert(id("web@1"), (1, Target::Up));
    world.until(15_000, |w| w.all(&[1, 2, 3], "web@1", Verdict::Up));
}

/// Where one failure is enough, every look at a well instance would be the last one needed.
#[test]
fn nobody_calls_the_roll_for_what_is_well_however_soon_it_would_fail() {
    let mut world = World::new();
    for agent in 1..=3 {
        world.start(agent, &[&format!("frail@{agent}")]);
        if agent > 1 {
            world.contact(agent, 1);
        }
    }
    world.until(10_000, |w| w.all(&[1, 2, 3], "frail@1", Verdict::Up));
    world.run(5_000);
    let calls = |w: &mut World| (1..=3).map(|agent| w.view(agent).stats.roll_calls).sum::<u64>();
    let before = calls(&mut world);
    world.run(20_000);
    assert_eq!(calls(&mut world), before);
    for (target, verdict) in
        [(Target::Hung, Verdict::Down), (Target::Up, Verdict::Up), (Target::Refused, Verdict::Down)]
    {
        world.targets.insert(id("frail@1"), (1, target));
        world.until(4_000, |w| w.all(&[1, 2, 3], "frail@1", verdict));
    }
}

/// One agent alone reaches nothing of the others': nobody heeds it, and it does not ask everybody beside each of its looks.
#[test]
fn who_accuses_many_in_vain_calls_the_roll_twice_a_second_at_most() {
    let mut world = World::new();
    let names: Vec<String> = (0..60).map(|number| format!("frail@{number}")).collect();
    world.start(1, &names.iter().map(String::as_str).collect::<Vec<_>>());
    for agent in 2..=5 {
        world.start(agent, &[]);
        world.contact(agent, 1);
    }
    world.until(20_000, |w| w.all(&[1, 2, 3, 4, 5], "frail@59", Verdict::Up));
    world.run(3_000);
    world.blind.insert((2, 1));
    world.run(5_000);
    assert!(vote(&mut world, 1, "frail@7", 2).is_some_and(Vote::fails), "{}", world.picture());
    let before = world.view(2).stats.roll_calls;
    world.run(10_000);
    let calls = world.view(2).stats.roll_calls - before;
    assert!((1..=25).contains(&calls), "{calls} roll calls in ten seconds");
    assert!(world.all(&[1, 2, 3, 4, 5], "frail@7", Verdict::Up));
}

/// A look at what hangs may take as long as there is between two.
#[test]
fn a_check_that_may_take_its_whole_period_is_made_in_each() {
    let mut world = World::new();
    world.start(1, &["hasty@1"]);
    world.until(10_000, |w| w.all(&[1], "hasty@1", Verdict::Up));
    world.targets.insert(id("hasty@1"), (1, Target::Hung));
    world.until(3 * 3_000 + 3_000 + 500, |w| w.all(&[1], "hasty@1", Verdict::Down));
}

/// In a mesh too large to ask everybody again and again, those who were silent are asked by few until one is heard.
#[test]
fn a_large_half_calls_the_roll_once_and_again_when_somebody_is_heard() {
    let all: Vec<u64> = (1..=70).collect();
    let (one, other) = all.split_at(35);
    let mut world = World::formed(70);
    world.split(&[one, other]);
    world.until(30_000, |w| all.iter().all(|agent| !w.view(*agent).quorate));
    world.run(15_000);
    let calls = |w: &mut World| all.iter().map(|agent| w.view(*agent).stats.roll_calls).sum::<u64>();
    let before = calls(&mut world);
    world.run(40_000);
    assert_eq!(calls(&mut world), before);
    world.heal();
    world.until(20_000, |w| all.iter().all(|agent| w.view(*agent).quorate));
}

/// What a server says of itself is cut where the mesh's limits are: one record beyond them, and all others would refuse whatever is told with it.
#[test]
fn an_instance_that_says_at_length_why_it_lets_nobody_in_is_up() {
    let mut world = World::formed(3);
    world.targets.get_mut(&InstanceId::new("web@2").unwrap()).unwrap().1 = Target::Refused;
    world.run(10_000);
    world.targets.get_mut(&InstanceId::new("web@2").unwrap()).unwrap().1 = Target::Guarded;
    world.until(40_000, |w| w.all(&[1, 2, 3], "web@2", Verdict::Up));
    world.run(3_000);
    assert!((1..=3).all(|agent| world.view(agent).stats.batches_refused == 0));
    let view = world.view(1);
    let observers = &view.instances[&InstanceId::new("web@2").unwrap()].observers;
    let said = |detail: &str| detail.starts_with("because because") && detail.len() == 200;
    assert!(observers.iter().all(|o| o.observation.as_ref().is_some_and(|seen| said(&seen.detail))), "{observers:?}");
}
