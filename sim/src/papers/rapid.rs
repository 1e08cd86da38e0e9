//! Rapid's fault scenarios: some members crash, flip between deaf and well, or lose most of what they send or receive.

use super::ledger::Word;
use super::runs::{Who, at, chosen, formed, mask, spread as spreading, world};
use super::table::{Row, Section, none, number, shown, spread, words};
use super::{Settings, stopwatch};
use crate::commands::output::tell;
use crate::plan::{Cycle, Disk, Fault, Plan};
use crate::time::Span;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// On the command line.
pub const NAME: &str = "rapid";

const FROM_S: u64 = 30;
const LENGTH_S: u64 = 300;
/// The flip-flop: so long deaf, so long well.
const TURN_S: u64 = 20;
/// Packets lost, of a thousand, where most are.
const LOST: u32 = 800;
/// Changes of verdict of a faulty agent, after which it is to be held.
const MAX_CHANGES: u64 = 3;

/// A scenario of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    Crash,
    FlipFlop,
    Mute,
    Deaf,
}

impl Scene {
    const ALL: [Self; 4] = [Self::Crash, Self::FlipFlop, Self::Mute, Self::Deaf];

    fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::FlipFlop => "deaf and well in turn",
            Self::Mute => "80 % of what they send lost",
            Self::Deaf => "80 % of what they should hear lost",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::FlipFlop => "flip-flop",
            Self::Mute => "egress",
            Self::Deaf => "ingress",
        }
    }

    fn paper(self) -> &'static str {
        match self {
            Self::Crash => "Rapid: one view change; memberlist: many sizes",
            Self::FlipFlop => "Rapid removes them once; memberlist removes and adds them all the time",
            Self::Mute | Self::Deaf => "Rapid removes exactly them; memberlist never for good",
        }
    }

    /// How many are faulty: ten, or one of a hundred.
    fn count(self, agents: usize) -> usize {
        match self {
            Self::Crash => 10.min(agents / 5),
            _ => (agents / 100).max(3),
        }
    }

    fn faults(self, faulty: &[usize]) -> Vec<Fault> {
        match self {
            Self::Crash => {
                let crash = |agent: &usize| Fault::Crash {
                    agent: *agent,
                    at: Span::secs(FROM_S),
                    restart_at: None,
                    disk: Disk::Keep,
                    targets_survive: false,
                };
                faulty.iter().map(crash).collect()
            }
            Self::FlipFlop => {
                let cycle = Some(Cycle { on: Span::secs(TURN_S), off: Span::secs(TURN_S) });
                vec![loss(1000, None, Some(faulty.to_vec()), cycle)]
            }
            Self::Mute => vec![loss(LOST, Some(faulty.to_vec()), None, None)],
            Self::Deaf => vec![loss(LOST, None, Some(faulty.to_vec()), None)],
        }
    }
}

/// Loss for the length of a scenario.
fn loss(per_mille: u32, senders: Option<Vec<usize>>, receivers: Option<Vec<usize>>, cycle: Option<Cycle>) -> Fault {
    let (from, to) = (Span::secs(FROM_S), Span::secs(FROM_S + LENGTH_S));
    Fault::Loss { per_mille, senders, receivers, only: None, larger_than: None, burst: None, from, to, cycle }
}

/// What one run came to.
#[derive(Debug, Clone)]
struct Outcome {
    /// Changes of verdict of each faulty agent, by terms.
    changes: Vec<u64>,
    /// The same as seen by one observer: `failed` and back, of membership.
    downs: f64,
    ups: f64,
    /// Healthy agents declared `down` by verdict.
    declared: u64,
    /// Healthy agents that some healthy agent held failed, and how often in all.
    wronged: u64,
    events: u64,
    /// Until all healthy agents knew of each faulty one.
    known: Vec<Option<f64>>,
    /// How many of the faulty are down in the end, by verdict on all healthy agents, or as failed for plain foca.
    out_in_the_end: f64,
}

fn measure(world: &World, who: Who, faulty: &[usize]) -> Outcome {
    let agents = world.truth.agents();
    let healthy = mask(agents, faulty, false);
    let (from, to) = (at(FROM_S), at(FROM_S + LENGTH_S));
    let by_healthy = || world.said(from, to).filter(|note| healthy[note.by]);
    let mut terms: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    let (mut declared, mut wronged) = (BTreeSet::new(), BTreeSet::new());
    let (mut downs, mut ups, mut events) = (0u64, 0u64, 0u64);
    let mut last: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    for note in by_healthy() {
        let ours = healthy[note.of];
        let membership = matches!(note.word, Word::Failed | Word::Alive);
        match note.word {
            Word::Host { down, term } if !ours => {
                terms.entry(note.of).or_default().insert(term);
                last.insert((note.by, note.of), down);
            }
            Word::Host { down: true, .. } => _ = declared.insert(note.of),
            Word::Failed if ours => _ = wronged.insert(note.of),
            Word::Failed => downs += 1,
            Word::Alive if !ours => ups += 1,
            _ => {}
        }
        events += u64::from(ours && membership);
        if who == Who::Foca && !ours && membership {
            last.insert((note.by, note.of), note.word == Word::Failed);
        }
    }
    let per = (faulty.len() * (agents - faulty.len())) as f64;
    let known = |agent: &usize| {
        let is: fn(Word) -> bool = match who {
            Who::Foca => |word| word == Word::Failed,
            Who::Quorate => |word| matches!(word, Word::Host { down: true, .. }),
        };
        spreading(world, *agent, &healthy, (from, to), is).last_s
    };
    Outcome {
        changes: faulty.iter().map(|agent| terms.get(agent).map_or(0, BTreeSet::len) as u64).collect(),
        downs: downs as f64 / per * faulty.len() as f64,
        ups: ups as f64 / per * faulty.len() as f64,
        declared: declared.len() as u64,
        wronged: wronged.len() as u64,
        events,
        known: faulty.iter().map(known).collect(),
        out_in_the_end: 100.0 * last.values().filter(|down| **down).count() as f64 / per,
    }
}

fn one(settings: &Settings, scene: Scene, agents: usize, who: Who, seed: u64) -> anyhow::Result<Outcome> {
    let faulty = chosen(seed, agents, scene.count(agents));
    let plan = Plan {
        summary: format!("Rapid's scenario: {}.", scene.word()),
        duration: Span::secs(FROM_S + LENGTH_S),
        mesh: formed(agents),
        faults: scene.faults(&faulty),
        ..Plan::default()
    };
    settings.keep(&format!("rapid-{}-{agents}", scene.file()), &plan)?;
    let mut world = world(NAME, &plan, seed, who)?;
    world.advance(at(FROM_S + LENGTH_S), |_| false);
    for violation in &world.checks.violations {
        tell(&format!("  {} at {:.3} s: {}", violation.invariant, violation.at_s, violation.detail));
    }
    Ok(measure(&world, who, &faulty))
}

/// Does it.
pub fn run(settings: &Settings) -> anyhow::Result<Section> {
    let began = stopwatch();
    let mut rows = Vec::new();
    for agents in settings.sizes(&[50], &[100, 1000]) {
        for scene in Scene::ALL {
            rows.extend(of_scene(settings, scene, agents)?);
        }
    }
    let how = format!(
        "Ten agents crash; or one in a hundred (at least three) hears nothing for {TURN_S} s, then all for {TURN_S} s, and so on for \
         {LENGTH_S} s; or loses 80 % of what it sends, or of what is sent to it, for {LENGTH_S} s. One seed. Events are counted on healthy \
         agents."
    );
    Ok(Section { name: NAME, title: "Rapid: faulty members", how, rows, wall_s: began.elapsed().as_secs_f64() })
}

fn of_scene(settings: &Settings, scene: Scene, agents: usize) -> anyhow::Result<Vec<Row>> {
    let runs = [Who::Foca, Who::Quorate];
    let label = |who: &Who| format!("{} in {agents}, {}", scene.word(), who.word());
    let outcomes = settings.each(&runs, label, |who| one(settings, scene, agents, *who, settings.seeds.0))?;
    let [foca, quorate] = outcomes.as_slice() else { anyhow::bail!("a run is missing") };
    let name = |what: &str| format!("{}, {agents} agents: {what}", scene.word());
    let turns = |o: &Outcome| words(format!("{} / {}", shown(o.downs), shown(o.ups)));
    let most = quorate.changes.iter().copied().max().unwrap_or(0);
    let least = quorate.changes.iter().copied().min().unwrap_or(0);
    let changes = if most == least { format!("{most}") } else { format!("{least} to {most}") };
    let known = |o: &Outcome| spread(&o.known, " s", &format!("{LENGTH_S} s"));
    let few = if scene == Scene::Crash { most == 1 && least == 1 } else { most <= MAX_CHANGES };
    let goal = if scene == Scene::Crash { "exactly 1".to_owned() } else { format!("at most {MAX_CHANGES}") };
    let percent = |o: &Outcome| words(format!("{} %", shown(o.out_in_the_end)));
    Ok(vec![
        Row::new(name("changes of verdict per faulty agent"), scene.paper(), none(), words(changes)).goal(goal, few),
        Row::new(name("`failed` / `alive` events of all faulty, per observer"), "", turns(foca), turns(quorate)),
        Row::new(name("until all others know"), "", known(foca), known(quorate)),
        Row::new(name("faulty held down in the end"), "", percent(foca), percent(quorate)),
        Row::new(name("healthy agents declared `down`"), "Rapid: none", none(), number(quorate.declared as f64, ""))
            .goal("none", quorate.declared == 0),
        Row::new(
            name("healthy agents held failed by membership"),
            "",
            number(foca.wronged as f64, ""),
            number(quorate.wronged as f64, ""),
        ),
        Row::new(
            name("membership events about healthy agents, all observers"),
            "",
            number(foca.events as f64, ""),
            number(quorate.events as f64, ""),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_deaf_and_well_in_turn_is_held_down() {
        let settings = Settings { quick: true, agents: None, seeds: (1, 2), jobs: 1, plans: None };
        let outcome = one(&settings, Scene::FlipFlop, 12, Who::Quorate, 1).unwrap();
        assert_eq!((outcome.declared, outcome.wronged), (0, 0), "{outcome:?}");
        // Three changes are flapping: eight turns would bring fifteen.
        assert_eq!(outcome.changes.iter().max(), Some(&MAX_CHANGES), "{outcome:?}");
    }

    #[test]
    fn hosts_that_crash_go_down_once() {
        let settings = Settings { quick: true, agents: None, seeds: (1, 2), jobs: 1, plans: None };
        let outcome = one(&settings, Scene::Crash, 12, Who::Quorate, 1).unwrap();
        assert_eq!((outcome.changes.as_slice(), outcome.declared), ([1, 1].as_slice(), 0), "{outcome:?}");
    }
}
