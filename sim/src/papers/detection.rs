//! How long until a dead host and a dead instance are known: SWIM's expectation, and the mesh's promise.

use super::runs::{Spreading, Who, at, chosen, formed, spread as spreading, world};
use super::table::{Row, Section, none, spread};
use super::{Settings, ledger::Word, stopwatch};
use crate::plan::{Disk, Fault, Plan, ServicePlan, TargetMode};
use crate::time::{SimTime, Span};
use crate::world::World;
use std::time::Duration;

/// On the command line.
pub const NAME: &str = "detection";

/// The first crash, and the time from one to the next.
const FIRST_S: u64 = 30;
const APART_S: u64 = 30;
/// Until a member is pinged by anybody, when everyone pings one drawn member each period: e / (e - 1) periods.
const SWIM_PERIODS: f64 = 1.582;
/// A dead host is to be known to all others, in seconds.
const HOST_GOAL_S: f64 = 4.0;
const HOST_GOAL_LARGE_S: f64 = 5.0;
/// A dead instance, after the last probe that was needed.
const INSTANCE_GOAL_S: f64 = 3.0;

fn crash_plan(agents: usize, crashes: &[usize]) -> Plan {
    let crash = |(number, agent): (usize, &usize)| {
        let at = Span::secs(FIRST_S + APART_S * number as u64);
        Fault::Crash { agent: *agent, at, restart_at: None, disk: Disk::Keep, targets_survive: false }
    };
    Plan {
        summary: "One host after the other goes dark for good.".to_owned(),
        duration: Span::secs(FIRST_S + APART_S * crashes.len() as u64),
        mesh: formed(agents),
        faults: crashes.iter().enumerate().map(crash).collect(),
        ..Plan::default()
    }
}

/// What came of one crash.
#[derive(Debug, Clone, Copy)]
struct Crash {
    suspected_s: Option<f64>,
    failed: Spreading,
    declared: Spreading,
}

fn is_down(word: Word) -> bool {
    matches!(word, Word::Host { down: true, .. })
}

fn crashes(world: &mut World, crashed: &[usize]) -> Vec<Crash> {
    let agents = world.truth.agents();
    let mut outcomes = Vec::new();
    for (number, agent) in crashed.iter().enumerate() {
        let from = at(FIRST_S + APART_S * number as u64);
        let to = from.plus(Duration::from_secs(APART_S));
        world.advance(to, |_| false);
        let gone = &crashed[..=number];
        let others: Vec<bool> = (0..agents).map(|other| !gone.contains(&other)).collect();
        let told = |is: fn(Word) -> bool| spreading(world, *agent, &others, (from, to), is);
        outcomes.push(Crash {
            suspected_s: told(|word| word == Word::Suspect).first_s,
            failed: told(|word| word == Word::Failed),
            declared: told(is_down),
        });
    }
    outcomes
}

/// Does it.
pub fn run(settings: &Settings) -> anyhow::Result<Section> {
    let began = stopwatch();
    let mut rows = Vec::new();
    for agents in settings.sizes(&[50], &[100, 1000]) {
        rows.extend(hosts(settings, agents)?);
    }
    rows.extend(instances(settings, settings.agents.unwrap_or(if settings.quick { 50 } else { 100 }))?);
    let how = format!(
        "Hosts go dark one after the other, {APART_S} s apart (five in a run; three above 200 agents), and until everyone else knows is \
         measured; then twenty instances die, one every two seconds, each watched by five observers every second. Seeds {}..{} up to 200 \
         agents, above that the first.",
        settings.seeds.0, settings.seeds.1
    );
    Ok(Section { name: NAME, title: "Detection", how, rows, wall_s: began.elapsed().as_secs_f64() })
}

fn hosts(settings: &Settings, agents: usize) -> anyhow::Result<Vec<Row>> {
    let count = if agents > super::LARGE { 3 } else { 5 };
    let seeds = settings.seeds_for(agents);
    let runs: Vec<(Who, u64)> =
        [Who::Foca, Who::Quorate].into_iter().flat_map(|w| seeds.iter().map(move |s| (w, *s))).collect();
    let label = |(who, seed): &(Who, u64)| format!("crashes of {agents}, {}, seed {seed}", who.word());
    let outcomes = settings.each(&runs, label, |(who, seed)| {
        let crashed = chosen(*seed, agents, count);
        let plan = crash_plan(agents, &crashed);
        settings.keep(&format!("crashes-{agents}-{seed}"), &plan)?;
        Ok((*who, crashes(&mut world(NAME, &plan, *seed, *who)?, &crashed)))
    })?;
    let of = |who: Who, value: fn(&Crash) -> Option<f64>| {
        let all = outcomes.iter().filter(|outcome| outcome.0 == who).flat_map(|outcome| &outcome.1);
        spread(&all.map(value).collect::<Vec<_>>(), " s", &format!("{APART_S} s"))
    };
    let row =
        |what: &str, paper: &str, foca, quorate| Row::new(format!("{agents} agents: {what}"), paper, foca, quorate);
    let expected =
        format!("SWIM: first ping after {SWIM_PERIODS} periods, expected; one more period until it has failed");
    let goal = if agents > 100 { HOST_GOAL_LARGE_S } else { HOST_GOAL_S };
    let declared = of(Who::Quorate, |c| c.declared.last_s);
    let met = declared.median.is_some_and(|median| median <= goal);
    let first = |c: &Crash| c.failed.first_s;
    let all = |c: &Crash| c.failed.last_s;
    let first_row = row("first `failed` of membership", "", of(Who::Foca, first), of(Who::Quorate, first));
    let sooner = first_row.quorate.median.zip(first_row.foca.median).is_some_and(|(ours, theirs)| ours <= theirs);
    Ok(vec![
        row("first failed ping", &expected, of(Who::Foca, |c| c.suspected_s), none()),
        first_row.goal("median no slower", sooner),
        row("`failed` on all others", "", of(Who::Foca, all), of(Who::Quorate, all)),
        row("host `down` by verdict, first", "", none(), of(Who::Quorate, |c| c.declared.first_s)),
        row("host `down` by verdict, on all others", "", none(), declared)
            .goal(format!("median within {goal:.0} s"), met),
    ])
}

const PERIOD: Duration = Duration::from_secs(1);
const THRESHOLD: u32 = 3;
const INSTANCES: usize = 20;
/// The first instance dies then, and the next ones this long after each other.
const DEATH_S: u64 = 30;
const DEATHS_APART_MS: u64 = 2137;

fn death(number: usize) -> Span {
    Span::ms(DEATH_S * 1000 + DEATHS_APART_MS * number as u64)
}

fn instance_plan(agents: usize) -> Plan {
    let homes: Vec<usize> = (0..INSTANCES).map(|number| number * agents / INSTANCES).collect();
    let dead = |(number, home): (usize, &usize)| Fault::Target {
        instance: format!("web{number}@{home}"),
        mode: TargetMode::Dead,
        from: death(number),
        to: None,
        flap_period: Span::secs(6),
        answer_after: None,
        probes_per_s: None,
        seen_by: None,
    };
    let service = |(number, home): (usize, &usize)| ServicePlan {
        name: format!("web{number}"),
        homes: vec![*home],
        period: Span(PERIOD),
        fast_interval: None,
        down_interval: None,
        home_only: false,
        timeout: Span::ms(500),
        failure_threshold: THRESHOLD,
        success_threshold: 1,
        observers: 5,
    };
    Plan {
        summary: "Twenty instances of as many services die one after the other.".to_owned(),
        duration: Span::secs(DEATH_S + 60),
        mesh: formed(agents),
        services: homes.iter().enumerate().map(service).collect(),
        faults: homes.iter().enumerate().map(dead).collect(),
        ..Plan::default()
    }
}

/// When a quorum of the observers had each seen its last needed probe fail.
fn last_needed(world: &World, instance: usize, dead: SimTime) -> Option<SimTime> {
    let quorum = quorate_core::quorum::of(5) as usize;
    let needed = |observer: usize| {
        let failed = world.truth.probes(observer, instance).filter(|probe| !probe.passed && probe.finished >= dead);
        failed.map(|probe| probe.finished).nth(THRESHOLD as usize - 1)
    };
    let mut times: Vec<SimTime> = (0..world.truth.agents()).filter_map(needed).collect();
    times.sort_unstable();
    times.get(quorum - 1).copied()
}

/// For each instance: until all agents knew it, from its death and from the last needed probe; no value when they did not in time.
fn one_instance(world: &mut World, number: usize) -> [Option<f64>; 2] {
    let dead = death(number).moment();
    // Probes are remembered for half a minute.
    let until = dead.plus(PERIOD * (THRESHOLD + 10));
    world.advance(until, |_| false);
    let everyone = vec![true; world.truth.agents()];
    let is = |word: Word| matches!(word, Word::Instance { down: true, .. });
    let known = spreading(world, number, &everyone, (dead, until), is).last_s;
    let needed = last_needed(world, number, dead).map(|needed| needed.since(dead).as_secs_f64());
    [known, known.zip(needed).map(|(known, needed)| known - needed)]
}

fn instances(settings: &Settings, agents: usize) -> anyhow::Result<Vec<Row>> {
    let plan = instance_plan(agents);
    settings.keep(&format!("instances-{agents}"), &plan)?;
    let label = |seed: &u64| format!("dead instances of {agents}, Quorate, seed {seed}");
    let outcomes = settings.each(&settings.seeds_for(agents), label, |seed| {
        let mut world = world(NAME, &plan, *seed, Who::Quorate)?;
        Ok((0..INSTANCES).map(|number| one_instance(&mut world, number)).collect::<Vec<_>>())
    })?;
    let column = |index: usize| {
        let values: Vec<_> = outcomes.iter().flatten().map(|times| times[index]).collect();
        spread(&values, " s", "13 s")
    };
    let (known, after) = (column(0), column(1));
    let met = after.max.is_some_and(|max| max <= INSTANCE_GOAL_S);
    let row = |what: &str, cell| Row::new(format!("{agents} agents: {what}"), "", none(), cell);
    Ok(vec![
        row("instance dead to `down` everywhere (3 probes, 1 s apart)", known),
        row("of that, after the last probe that was needed", after).goal(format!("within {INSTANCE_GOAL_S} s"), met),
    ])
}
