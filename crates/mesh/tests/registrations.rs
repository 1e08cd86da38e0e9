//! What is registered changes while faults happen.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[allow(dead_code, reason = "each test file uses its part")]
mod world;

use quorate_core::{AgentId, InstanceId, Intent, IntentKind, Registration, ServiceName, UnixMs, Verdict, hash};
use quorate_mesh::{Command, Input, Stats, Timing};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use world::{Target, World, registration};

const ALL: [u64; 7] = [1, 2, 3, 4, 5, 6, 7];

fn id(name: &str) -> InstanceId {
    InstanceId::new(name).unwrap()
}

fn with_check(mut registration: Registration, change: impl FnOnce(&mut quorate_core::Check)) -> Registration {
    change(Arc::make_mut(&mut registration.check));
    registration
}

fn intent(kind: IntentKind) -> Option<Intent> {
    Some(Intent { kind, owner: "ann".to_owned(), reason: String::new(), since: UnixMs(1), until: None })
}

/// Who is home to an instance, as each agent has it.
fn homes(world: &mut World, instance: &str) -> Vec<Option<u64>> {
    world.live().into_iter().map(|agent| Some(world.view(agent).instances.get(&id(instance))?.home.0)).collect()
}

/// Nobody knows of the instance, or everybody has it from this home, and finds it so.
fn settles(world: &mut World, instance: &str, expected: Option<(u64, Verdict)>) {
    world.until(30_000, |w| homes(w, instance).iter().all(|home| *home == expected.map(|(home, _)| home)));
    if let Some((_, verdict)) = expected {
        world.until(30_000, |w| w.all(&w.live(), instance, verdict));
    }
}

#[test]
fn what_moves_while_somebody_is_cut_off_is_a_new_copy_for_all() {
    let mut world = World::formed(7);
    world.cut(&[3], &[1, 2, 4, 5, 6, 7]);
    world.register(5, &[]);
    world.run(3_000);
    world.register(2, &[registration("web@2"), registration("web@5")]);
    world.run(3_000);
    assert_eq!(world.view(3).instances[&id("web@5")].home, AgentId(5));
    world.heal();
    settles(&mut world, "web@5", Some((2, Verdict::Up)));
    for agent in ALL {
        assert_eq!(world.view(agent).instances[&id("web@5")].term, 1);
    }
}

#[test]
fn of_two_that_claim_a_name_on_two_sides_the_lower_has_it() {
    let mut world = World::formed(7);
    world.cut(&[1, 2], &[3, 4, 5, 6, 7]);
    world.register(4, &[registration("web@4"), registration("api@1")]);
    world.until(5_000, |w| w.all(&[4, 7], "api@1", Verdict::Up));
    world.register(2, &[registration("web@2"), registration("api@1")]);
    world.run(1_000);
    assert_eq!(world.view(7).instances[&id("api@1")].home, AgentId(4));
    world.heal();
    settles(&mut world, "api@1", Some((2, Verdict::Up)));
    world.register(2, &[registration("web@2")]);
    let others = [1, 3, 4, 5, 6, 7];
    world.until(30_000, |w| others.iter().all(|a| w.view(*a).instances[&id("api@1")].home == AgentId(4)));
    world.until(30_000, |w| w.all(&others, "api@1", Verdict::Up));
}

#[test]
fn a_check_that_is_switched_off_says_nothing_until_it_is_on_again() {
    let mut world = World::formed(7);
    let off = with_check(registration("slow@1"), |check| check.enabled = false);
    world.register(1, &[registration("web@1"), registration("slow@1")]);
    settles(&mut world, "slow@1", Some((1, Verdict::Up)));
    world.register(1, &[registration("web@1"), off]);
    settles(&mut world, "slow@1", Some((1, Verdict::Unknown)));
    world.targets.insert(id("slow@1"), (1, Target::Refused));
    world.run(60_000);
    for agent in ALL {
        let view = world.view(agent);
        let slow = &view.instances[&id("slow@1")];
        assert!((slow.verdict, slow.decided) == (Verdict::Unknown, Verdict::Up) && !slow.is_stale());
    }
    world.register(1, &[registration("web@1"), registration("slow@1")]);
    world.until(45_000, |w| w.all(&ALL, "slow@1", Verdict::Down));
}

#[test]
fn what_an_agent_without_its_disk_no_longer_registers_is_gone() {
    let mut world = World::formed(7);
    world.register(5, &[registration("web@5"), registration("api@1"), registration("api@2")]);
    settles(&mut world, "api@2", Some((5, Verdict::Up)));
    world.crash(5);
    world.hosts.get_mut(&5).unwrap().disk = None;
    let moved = Registration { address: "10.0.0.9:80".into(), ..registration("api@2") };
    world.register(5, &[moved, registration("web@5")]);
    world.run(20_000);
    world.boot(5);
    world.contact(5, 1);
    settles(&mut world, "api@1", None);
    settles(&mut world, "api@2", Some((5, Verdict::Up)));
    for agent in ALL {
        assert_eq!(world.view(agent).instances[&id("api@2")].address, "10.0.0.9:80");
    }
}

/// A sequence of changes and faults drawn from a seed.
struct Plan {
    world: World,
    /// What each agent registers.
    wanted: BTreeMap<u64, BTreeMap<InstanceId, Registration>>,
    seed: u64,
    drawn: u64,
    /// What was done, for whoever reads of a failure.
    log: Vec<String>,
}

const NAMES: [&str; 8] = ["web@1", "web@2", "web@3", "web@4", "web@5", "api@1", "api@2", "api@3"];

impl Plan {
    fn draw(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        hash::mix(&[self.seed, self.drawn]) % below
    }

    fn tell(&mut self, agent: u64) {
        let list: Vec<_> = self.wanted[&agent].values().cloned().collect();
        self.world.register(agent, &list);
    }

    /// One change or fault.
    fn step(&mut self) {
        let agent = self.draw(7) + 1;
        let name = NAMES[self.draw(8) as usize];
        let key = id(name);
        let claims = |agent: &u64| self.wanted[agent].contains_key(&key);
        let owner = Some(agent).filter(claims).or_else(|| ALL.into_iter().find(claims));
        let kind = self.draw(15);
        self.log.push(format!("{} kind {kind} agent {agent} {name} owner {owner:?}", self.world.now / world::MS));
        match (kind, owner) {
            (0, Some(owner)) => {
                self.wanted.get_mut(&owner).unwrap().remove(&key);
                self.tell(owner);
            }
            (0 | 1, None) | (13, Some(_)) => {
                self.wanted.get_mut(&agent).unwrap().insert(key, registration(name));
                self.tell(agent);
            }
            (1, Some(owner)) if owner != agent => {
                let moved = self.wanted.get_mut(&owner).unwrap().remove(&key).unwrap();
                self.wanted.get_mut(&agent).unwrap().insert(key, moved);
                self.tell(owner);
                self.tell(agent);
            }
            (2..=6 | 14, Some(owner)) => {
                let drawn = self.draw(3);
                let known = self.wanted.get_mut(&owner).unwrap().get_mut(&key).unwrap();
                match kind {
                    2 => known.address = format!("10.0.0.{}:80", drawn + 1),
                    3 => known.observers = [1, 3, 5][drawn as usize],
                    4 => {
                        known.placement.intent = [None, intent(IntentKind::Draining), intent(IntentKind::Maintenance)]
                            [drawn as usize]
                            .clone()
                    }
                    14 => known.service = ServiceName::new(["web", "api", "shop"][drawn as usize]).unwrap(),
                    5 => Arc::make_mut(&mut known.check).enabled = drawn > 0,
                    _ => Arc::make_mut(&mut known.check).period = Duration::from_secs(drawn + 1),
                }
                self.tell(owner);
            }
            (7, _) => {
                let target = [Target::Up, Target::Refused, Target::Hung][self.draw(3) as usize];
                if let Some(known) = self.world.targets.get_mut(&key) {
                    known.1 = target;
                }
            }
            (8 | 9, _) => {
                let side = self.draw(126) + 1;
                let (one, other): (Vec<u64>, Vec<u64>) = ALL.iter().partition(|agent| side >> (**agent - 1) & 1 == 1);
                self.world.heal();
                self.world.cut(&one, &other);
            }
            (10, _) => self.world.heal(),
            (11, _) => {
                if self.world.live().contains(&agent) {
                    self.world.crash(agent);
                    if self.draw(4) == 0 {
                        self.world.hosts.get_mut(&agent).unwrap().disk = None;
                    }
                } else {
                    self.back(agent);
                }
            }
            (12, _) => self.world.input(agent, Input::Command(Command::Leave)),
            _ => {}
        }
    }

    fn back(&mut self, agent: u64) {
        self.world.boot(agent);
        self.world.contact(agent, if agent == 1 { 2 } else { 1 });
    }

    fn run(seed: u64, forget_after: Duration) {
        let timing = Timing { flap_threshold: 1_000, forget_after, ..Timing::default() };
        let world = World::formed_with(7, timing);
        let wanted = ALL.map(|agent| {
            let own = registration(&format!("web@{agent}"));
            (agent, BTreeMap::from([(own.instance.clone(), own)]))
        });
        let mut plan = Self { world, wanted: wanted.into(), seed, drawn: 0, log: Vec::new() };
        for _ in 0..18 {
            plan.step();
            let pause = [5, 50, 1_000, 4_000, 9_000][plan.draw(5) as usize];
            plan.world.run(pause);
            for agent in std::mem::take(&mut plan.world.left) {
                plan.world.crash(agent);
            }
        }
        plan.world.heal();
        plan.world.run(5_000);
        for agent in std::mem::take(&mut plan.world.left) {
            plan.world.crash(agent);
        }
        for agent in ALL {
            if !plan.world.live().contains(&agent) {
                plan.back(agent);
            }
        }
        plan.world.run(40_000);
        if let Err(text) = plan.settled() {
            panic!("seed {seed}: {text}\n{}\n{}", plan.log.join("\n"), plan.world.picture());
        }
    }

    /// Does everybody hold what is registered now, and find it as it is?
    fn settled(&mut self) -> Result<(), String> {
        let claims = self.wanted.iter().rev();
        let claims =
            claims.flat_map(|(agent, list)| list.iter().map(|(id, known)| (id.clone(), (*agent, known.clone()))));
        let expected: BTreeMap<_, _> = claims.collect();
        let counts = |s: Stats| {
            (
                s.batches_taken,
                s.batches_refused,
                s.certificates_taken,
                s.certificates_refused,
                s.packets_refused,
                s.proposals,
            )
        };
        let before = ALL.map(|agent| counts(self.world.view(agent).stats));
        self.world.run(5_000);
        let wall = self.world.clock().wall;
        let first = self.world.view(1);
        for (index, agent) in (0..).zip(ALL) {
            let view = self.world.view(agent);
            if (view.roster, view.alive, view.quorate) != (7, 7, true) {
                return Err(format!("{agent} roster"));
            }
            if counts(view.stats) != before[index] || view.stats.gossip_backlog > 0 {
                return Err(format!("{agent} not quiet {:?} {:?}", before[index], counts(view.stats)));
            }
            let known: BTreeMap<_, _> = view.instances.iter().filter(|(id, _)| id.host_of().is_none()).collect();
            if !known.keys().copied().eq(expected.keys()) {
                return Err(format!("{agent} instances {:?} {:?}", known.keys(), expected.keys()));
            }
            for (id, (home, registration)) in &expected {
                let (seen, other) = (known[id], &first.instances[id]);
                if (seen.home.0, seen.registration.as_deref()) != (*home, Some(registration)) {
                    return Err(format!("{agent} {id} registration {:?}", seen.registration));
                }
                if (seen.decided, seen.term, &seen.service) != (other.decided, other.term, &registration.service) {
                    return Err(format!("{agent} {id} term {}", seen.term));
                }
                if seen.is_stale() {
                    return Err(format!("{agent} {id} stale"));
                }
                let health = match self.world.targets[id].1 {
                    _ if !registration.check.enabled => {
                        if seen.observers.iter().any(|o| o.observation.as_ref().is_some_and(|o| !o.vote.abstains())) {
                            return Err(format!("{agent} {id} disabled votes"));
                        }
                        if seen.decided == Verdict::Starting { Verdict::Starting } else { Verdict::Unknown }
                    }
                    Target::Up | Target::Guarded => Verdict::Up,
                    Target::Refused | Target::Hung => Verdict::Down,
                };
                let shown = registration.placement.intent.as_ref().map_or(health, |i| i.applied(health, wall));
                if seen.verdict != shown {
                    return Err(format!("{agent} {id} {} not {shown}", seen.verdict));
                }
            }
            let hosts = view.instances.iter().filter(|(id, _)| id.host_of().is_some());
            for (id, host) in hosts {
                if host.verdict != Verdict::Up || host.is_stale() {
                    return Err(format!("{agent} {id} {}", host.verdict));
                }
            }
            for home in ALL {
                let count = expected.values().filter(|(owner, _)| *owner == home).count();
                if view.members[&AgentId(home)].instances != count {
                    return Err(format!("{agent} counts {home}"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn what_is_registered_at_random_is_agreed_on_after_any_faults() {
    (0..10).for_each(|seed| Plan::run(seed, Duration::from_secs(600)));
}

#[test]
fn so_it_is_where_the_lost_are_soon_forgotten() {
    (10..20).for_each(|seed| Plan::run(seed, Duration::from_secs(15)));
}
