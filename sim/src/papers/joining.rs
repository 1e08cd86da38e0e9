//! How long until everybody knows everybody, when all join through one member.

use super::runs::{Filling, Who, at, fill, world};
use super::table::{Row, Section, spread};
use super::{Settings, stopwatch};
use crate::plan::{MeshPlan, Plan};
use crate::time::Span;

/// On the command line.
pub const NAME: &str = "join";

/// Plain foca is given this long; it needs minutes.
const PATIENCE_S: u64 = 900;
/// Until all are to know all, in seconds.
const GOAL_S: f64 = 15.0;

fn plan(agents: usize) -> Plan {
    Plan {
        summary: "All agents join through one member within a second.".to_owned(),
        duration: Span::secs(PATIENCE_S),
        mesh: MeshPlan { agents, ..Default::default() },
        ..Plan::default()
    }
}

/// Does it.
pub fn run(settings: &Settings) -> anyhow::Result<Section> {
    let began = stopwatch();
    let sizes = settings.sizes(&[50], &[100, 1000]);
    let mut rows = Vec::new();
    for agents in &sizes {
        rows.extend(of_size(settings, *agents)?);
    }
    let how = format!(
        "All agents start within one second and know one address. Until 99 % of all pairs of agents hold each other alive, and until all \
         do, counted from the first start. Seeds {}..{} up to 200 agents, above that the first; plain foca is watched for {PATIENCE_S} s.",
        settings.seeds.0, settings.seeds.1
    );
    Ok(Section { name: NAME, title: "Joining through one seed", how, rows, wall_s: began.elapsed().as_secs_f64() })
}

fn of_size(settings: &Settings, agents: usize) -> anyhow::Result<Vec<Row>> {
    let plan = plan(agents);
    settings.keep(&format!("join-{agents}"), &plan)?;
    let seeds = settings.seeds_for(agents);
    let runs: Vec<(Who, u64)> =
        [Who::Foca, Who::Quorate].into_iter().flat_map(|w| seeds.iter().map(move |s| (w, *s))).collect();
    let label = |(who, seed): &(Who, u64)| format!("join of {agents}, {}, seed {seed}", who.word());
    let outcomes = settings.each(&runs, label, |(who, seed)| {
        let mut world = world(NAME, &plan, *seed, *who)?;
        let filling = fill(&mut world, at(0), at(PATIENCE_S));
        Ok((*who, filling, world.bytes() as f64 / 1e6))
    })?;
    let of = |who: Who, value: fn(&(Who, Filling, f64)) -> Option<f64>, unit: &str| {
        let values: Vec<_> = outcomes.iter().filter(|outcome| outcome.0 == who).map(value).collect();
        spread(&values, unit, &format!("{PATIENCE_S} s"))
    };
    let both = |what: String, paper: &str, value: fn(&(Who, Filling, f64)) -> Option<f64>, unit: &str| {
        Row::new(what, paper, of(Who::Foca, value, unit), of(Who::Quorate, value, unit))
    };
    let paper = if agents >= 1000 { "Rapid: memberlist about 95 s at 2,000, Rapid 2 to 2.3 times faster" } else { "" };
    let all = both(format!("{agents} agents: all pairs"), paper, |o| o.1.all_s, " s");
    let met = all.quorate.max.is_some_and(|max| max <= GOAL_S);
    Ok(vec![
        both(format!("{agents} agents: 99 % of pairs"), "", |o| o.1.most_s, " s"),
        all.goal(format!("within {GOAL_S} s"), met),
        both(format!("{agents} agents: bytes until then, whole mesh"), "", |o| Some(o.2), " MB"),
    ])
}
