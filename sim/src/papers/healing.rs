//! Half and half for a minute, then whole again: how long until all agree, and who is wronged on the way.

use super::runs::{Filling, Who, at, fill, formed, world};
use super::table::{Row, Section, spread};
use super::{Settings, ledger::Word, stopwatch};
use crate::plan::{Fault, Plan};
use crate::time::Span;

/// On the command line.
pub const NAME: &str = "heal";

const SPLIT_S: u64 = 30;
const HEAL_S: u64 = 90;
/// How long after the heal plain foca is watched; it needs a quarter of an hour at 1,000.
const PATIENCE_S: u64 = 600;
/// All agree when nothing changes for this long.
const CALM_S: u64 = 3;

fn plan(agents: usize) -> Plan {
    let (one, other) = ((0..agents / 2).collect(), (agents / 2..agents).collect());
    let (from, to) = (Span::secs(SPLIT_S), Span::secs(HEAL_S));
    let split = Fault::Partition { groups: vec![one, other], from, to, symmetric: true, cycle: None };
    Plan {
        summary: "Two halves cannot talk to each other for a minute.".to_owned(),
        duration: Span::secs(HEAL_S + 60),
        mesh: formed(agents),
        faults: (agents > 1).then_some(split).into_iter().collect(),
        ..Plan::default()
    }
}

/// What one run came to.
struct Outcome {
    who: Who,
    filling: Filling,
    /// Until rosters, quorum and verdicts agree as well; none of plain foca.
    agreed_s: Option<f64>,
    /// `failed` events after the heal, over all observers.
    extra: f64,
}

/// Does it.
pub fn run(settings: &Settings) -> anyhow::Result<Section> {
    let began = stopwatch();
    let mut rows = Vec::new();
    for agents in settings.sizes(&[50], &[100, 500, 1000]) {
        rows.extend(of_size(settings, agents)?);
    }
    let how = format!(
        "Two equal halves are cut off from each other from {SPLIT_S} s to {HEAL_S} s. Times from the heal; `failed` events of membership \
         after the heal, added up over all observers. Seeds {}..{} up to 200 agents, above that the first; plain foca is watched for \
         {PATIENCE_S} s.",
        settings.seeds.0, settings.seeds.1
    );
    Ok(Section { name: NAME, title: "Half against half, healed", how, rows, wall_s: began.elapsed().as_secs_f64() })
}

fn one(plan: &Plan, who: Who, seed: u64) -> anyhow::Result<Outcome> {
    let mut world = world(NAME, plan, seed, who)?;
    world.advance(at(HEAL_S), |_| false);
    let filling = fill(&mut world, at(HEAL_S), at(HEAL_S + PATIENCE_S));
    let mut agreed_s = None;
    if who == Who::Quorate {
        // In a large mesh only from here on: to compare everyone with the truth takes longer than the run.
        world.watched = true;
        let calm = std::time::Duration::from_secs(CALM_S);
        world.advance(at(HEAL_S + PATIENCE_S), |world| world.checks.convergence.calm_for(world.truth.now) >= calm);
        agreed_s = world.checks.convergence.took(&world.truth).map(|took| took.as_secs_f64());
    }
    let extra = world.said(at(HEAL_S), world.truth.now).filter(|note| note.word == Word::Failed).count() as f64;
    Ok(Outcome { who, filling, agreed_s, extra })
}

fn of_size(settings: &Settings, agents: usize) -> anyhow::Result<Vec<Row>> {
    let plan = plan(agents);
    settings.keep(&format!("heal-{agents}"), &plan)?;
    let seeds = settings.seeds_for(agents);
    let runs: Vec<(Who, u64)> =
        [Who::Foca, Who::Quorate].into_iter().flat_map(|w| seeds.iter().map(move |s| (w, *s))).collect();
    let label = |(who, seed): &(Who, u64)| format!("heal of {agents}, {}, seed {seed}", who.word());
    let outcomes = settings.each(&runs, label, |(who, seed)| one(&plan, *who, *seed))?;
    let of = |who: Who, value: fn(&Outcome) -> Option<f64>, unit: &str| {
        let values: Vec<_> = outcomes.iter().filter(|outcome| outcome.who == who).map(value).collect();
        spread(&values, unit, &format!("{PATIENCE_S} s"))
    };
    let both = |what: &str, value: fn(&Outcome) -> Option<f64>, unit: &str| {
        let what = format!("{agents} agents: {what}");
        Row::new(what, "", of(Who::Foca, value, unit), of(Who::Quorate, value, unit))
    };
    // From 10 s at 100 agents to 30 s at 1,000, in proportion.
    let goal = (10.0 + (agents as f64 - 100.0) * 20.0 / 900.0).clamp(10.0, 30.0);
    let all = both("all pairs", |o| o.filling.all_s, " s");
    let met = all.quorate.max.is_some_and(|max| max <= goal);
    let extra = both("`failed` events after the heal", |o| Some(o.extra), "");
    let nobody = extra.quorate.max == Some(0.0);
    let mut rows = vec![
        both("99 % of pairs", |o| o.filling.most_s, " s"),
        all.goal(format!("within {goal:.0} s"), met),
        extra.goal("none", nobody),
    ];
    let agreed: Vec<_> =
        outcomes.iter().filter(|o| o.who == Who::Quorate && o.agreed_s.is_some()).map(|o| o.agreed_s).collect();
    if !agreed.is_empty() {
        let agreed = spread(&agreed, " s", &format!("{PATIENCE_S} s"));
        let met = agreed.max.is_some_and(|max| max <= goal);
        let what = format!("{agents} agents: rosters, quorum and verdicts agree");
        rows.push(Row::new(what, "", super::table::none(), agreed).goal(format!("within {goal:.0} s"), met));
    }
    Ok(rows)
}
