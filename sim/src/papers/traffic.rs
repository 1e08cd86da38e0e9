//! What a quiet mesh costs, and whether healthy instances make it cost more.

use super::runs::{Who, at, formed, world};
use super::table::{Row, Section, none, number, shown, words};
use super::{Settings, stopwatch};
use crate::plan::{MeshPlan, Plan, ServicePlan, Start};
use crate::time::Span;

/// On the command line.
pub const NAME: &str = "traffic";

const INSTANCES: usize = 10_000;
/// Measured from here, when everybody has long been up, for so long.
const FROM_S: u64 = 60;
const WINDOW_S: u64 = 30;
/// With all instances, as compared to none.
const RATIO: f64 = 1.05;

fn plan(agents: usize, instances: usize) -> Plan {
    let service = |number: usize| ServicePlan {
        name: format!("s{number}"),
        homes: (0..agents).collect(),
        // Probes are not traffic of the mesh; a long period saves the simulator work.
        period: Span::secs(10),
        fast_interval: None,
        down_interval: None,
        home_only: false,
        timeout: Span::ms(500),
        failure_threshold: 3,
        success_threshold: 1,
        observers: 5,
    };
    Plan {
        summary: format!("A quiet mesh with {instances} healthy instances."),
        duration: Span::secs(FROM_S + WINDOW_S),
        mesh: MeshPlan { start: Start::Settled, ..formed(agents) },
        services: (0..instances / agents).map(service).collect(),
        ..Plan::default()
    }
}

/// Bytes and packets per agent and second; instances that were up everywhere.
fn steady(plan: &Plan, who: Who, seed: u64) -> anyhow::Result<[f64; 2]> {
    let mut world = world(NAME, plan, seed, who)?;
    world.watched = false;
    world.advance(at(FROM_S), |_| false);
    let before = world.network.counters;
    world.advance(at(FROM_S + WINDOW_S), |_| false);
    let after = world.network.counters;
    let per = (plan.mesh.agents as u64 * WINDOW_S) as f64;
    Ok([(after.bytes - before.bytes) as f64 / per, (after.packets - before.packets) as f64 / per])
}

/// Does it.
pub fn run(settings: &Settings) -> anyhow::Result<Section> {
    let began = stopwatch();
    let mut rows = Vec::new();
    for agents in settings.sizes(&[50], &[100, 1000]) {
        rows.extend(of_size(settings, agents, if settings.quick { 500 } else { INSTANCES })?);
    }
    let how = format!(
        "A mesh in which nothing happens, from {FROM_S} s after its start, for {WINDOW_S} s: payload sent per agent, without the headers \
         of QUIC and IP. One seed."
    );
    Ok(Section { name: NAME, title: "Traffic of a quiet mesh", how, rows, wall_s: began.elapsed().as_secs_f64() })
}

fn of_size(settings: &Settings, agents: usize, instances: usize) -> anyhow::Result<Vec<Row>> {
    let runs = [(Who::Foca, 0), (Who::Quorate, 0), (Who::Quorate, instances)];
    let label =
        |(who, instances): &(Who, usize)| format!("quiet mesh of {agents}, {instances} instances, {}", who.word());
    let figures = settings.each(&runs, label, |(who, instances)| {
        let plan = plan(agents, *instances);
        settings.keep(&format!("quiet-{agents}-{instances}"), &plan)?;
        steady(&plan, *who, settings.seeds.0)
    })?;
    let [foca, empty, full] = figures.as_slice() else { anyhow::bail!("a run is missing") };
    let cell = |[bytes, packets]: &[f64; 2]| words(format!("{} B/s, {} packets/s", shown(*bytes), shown(*packets)));
    let ratio = full[0] / empty[0].max(1.0);
    let paper = "Rapid: memberlist 0.64 kB/s sent, Rapid 0.71 kB/s, at 1,000";
    Ok(vec![
        Row::new(
            format!("{agents} agents, no instances"),
            if agents >= 1000 { paper } else { "" },
            cell(foca),
            cell(empty),
        ),
        Row::new(format!("{agents} agents, {instances} instances"), "", none(), cell(full)),
        Row::new(format!("{agents} agents: the latter to the former"), "", none(), number(ratio, ""))
            .goal(format!("at most {RATIO}"), ratio <= RATIO),
    ])
}
