//! Lifeguard's interval experiment: agents whose packets are blocked again and again while their timers run on, and whom they wrong.

use super::ledger::Word;
use super::runs::{Spreading, Who, at, chosen, formed, mask, spread as spreading, world};
use super::table::{Row, Section, none, number, shown, spread, words};
use super::{Settings, stopwatch};
use crate::commands::output::tell;
use crate::plan::{Cycle, Fault, Plan};
use crate::time::Span;
use std::collections::BTreeSet;

/// On the command line.
pub const NAME: &str = "lifeguard";

const AGENTS: usize = 128;
/// Anomalies begin once the mesh has formed, and come and go for so long.
const FROM_MS: u64 = 20_000;
const LENGTH_MS: u64 = 120_000;
/// How many at once, how long, how far apart: the paper's grid, thinned.
const CONCURRENT: [usize; 5] = [1, 4, 8, 16, 32];
const LONG_MS: [u64; 4] = [2_048, 8_192, 16_384, 32_768];
const APART_MS: [u64; 4] = [64, 1_024, 4_096, 16_384];
/// Ours to plain foca's, in percent.
const GOAL_PERCENT: f64 = 2.0;

/// One cell of the grid.
#[derive(Debug, Clone, Copy)]
struct Cell {
    concurrent: usize,
    long_ms: u64,
    apart_ms: u64,
}

fn grid(quick: bool) -> Vec<Cell> {
    let (concurrent, long, apart): (&[usize], &[u64], &[u64]) =
        if quick { (&[8], &[16_384], &[64, 4_096]) } else { (&CONCURRENT, &LONG_MS, &APART_MS) };
    let mut cells = Vec::new();
    for concurrent in concurrent {
        for long_ms in long {
            cells.extend(apart.iter().map(|apart_ms| Cell {
                concurrent: *concurrent,
                long_ms: *long_ms,
                apart_ms: *apart_ms,
            }));
        }
    }
    cells
}

fn plan(agents: usize, cell: Cell, blocked: &[usize]) -> Plan {
    let (from, to) = (Span::ms(FROM_MS), Span::ms(FROM_MS + LENGTH_MS));
    let cycle = Some(Cycle { on: Span::ms(cell.long_ms), off: Span::ms(cell.apart_ms) });
    Plan {
        summary: "Some agents neither hear nor are heard, again and again.".to_owned(),
        duration: to,
        mesh: formed(agents),
        faults: vec![Fault::Isolate { agents: blocked.to_vec(), from, to, cycle }],
        ..Plan::default()
    }
}

/// What one run, or all, came to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    /// A healthy member is declared failed, over all observers.
    wrong: u64,
    /// The same, by observers that are healthy themselves.
    wrong_by_healthy: u64,
    /// Healthy hosts declared down by verdict.
    declared: u64,
    /// Promises of the mesh that were broken.
    broken: u64,
    packets: u64,
    bytes: u64,
}

fn one(settings: &Settings, agents: usize, cell: Cell, who: Who, seed: u64) -> anyhow::Result<Tally> {
    let blocked = chosen(seed, agents, cell.concurrent);
    let plan = plan(agents, cell, &blocked);
    settings.keep(&format!("lifeguard-c{}-d{}-i{}", cell.concurrent, cell.long_ms, cell.apart_ms), &plan)?;
    let healthy = mask(agents, &blocked, false);
    let mut world = world(NAME, &plan, seed, who)?;
    let (from, to) = (Span::ms(FROM_MS).moment(), Span::ms(FROM_MS + LENGTH_MS).moment());
    world.advance(from, |_| false);
    let before = world.network.counters;
    world.advance(to, |_| false);
    let wrong = || world.said(from, to).filter(|note| note.word == Word::Failed && healthy[note.of]);
    let mut declared = BTreeSet::new();
    for note in world.said(from, to) {
        if let Word::Host { down: true, term } = note.word
            && healthy[note.of]
        {
            declared.insert((note.of, term));
        }
    }
    for violation in &world.checks.violations {
        tell(&format!("  {} at {:.3} s: {}", violation.invariant, violation.at_s, violation.detail));
    }
    Ok(Tally {
        wrong: wrong().count() as u64,
        wrong_by_healthy: wrong().filter(|note| healthy[note.by]).count() as u64,
        declared: declared.len() as u64,
        broken: world.checks.found,
        packets: world.network.counters.packets - before.packets,
        bytes: world.network.counters.bytes - before.bytes,
    })
}

/// Does it.
pub fn run(settings: &Settings) -> anyhow::Result<Section> {
    let began = stopwatch();
    let agents = settings.agents.unwrap_or(if settings.quick { 64 } else { AGENTS });
    let cells = grid(settings.quick);
    let seed = settings.seeds.0;
    let runs: Vec<(Who, Cell)> =
        [Who::Foca, Who::Quorate].into_iter().flat_map(|w| cells.iter().map(move |c| (w, *c))).collect();
    let label = |(who, cell): &(Who, Cell)| format!("{cell:?}, {}", who.word());
    let tallies = settings.each(&runs, label, |(who, cell)| one(settings, agents, *cell, *who, seed))?;
    let outcomes: Vec<(Who, Cell, Tally)> =
        runs.iter().zip(tallies).map(|((who, cell), tally)| (*who, *cell, tally)).collect();
    let mut rows = rows(&outcomes);
    rows.extend(first_detection(settings, agents)?);
    let how = format!(
        "{agents} agents; C of them neither hear nor are heard for D, then for I all is well, and again, for {} s; their timers run on. {} \
         cells of C, D and I, seed {seed}. A false positive is a member outside these C that somebody declares failed. The paper's grid \
         is finer and its agents ran on 100 machines, so that ratios compare, and counts do not. Below, four agents fall silent for good.",
        LENGTH_MS / 1000,
        cells.len()
    );
    Ok(Section { name: NAME, title: "Lifeguard: slow members", how, rows, wall_s: began.elapsed().as_secs_f64() })
}

fn rows(outcomes: &[(Who, Cell, Tally)]) -> Vec<Row> {
    let sum = |who: Who, concurrent: Option<usize>, value: fn(&Tally) -> u64| -> f64 {
        let chosen =
            outcomes.iter().filter(|(w, cell, _)| *w == who && concurrent.is_none_or(|c| cell.concurrent == c));
        chosen.map(|(_, _, tally)| value(tally)).sum::<u64>() as f64
    };
    let both = |what: &str, paper: &str, concurrent: Option<usize>, value: fn(&Tally) -> u64| {
        let ours = sum(Who::Quorate, concurrent, value);
        Row::new(what, paper, number(sum(Who::Foca, concurrent, value), ""), number(ours, ""))
    };
    let share =
        |value: fn(&Tally) -> u64| 100.0 * sum(Who::Quorate, None, value) / sum(Who::Foca, None, value).max(1.0);
    let fewer = share(|t| t.wrong);
    let mut rows = vec![
        both("false positives of membership", "SWIM 339 002, Lifeguard 5 193 (1.53 %)", None, |t| t.wrong),
        Row::new("of plain foca's", "1.53 %", words("100 %"), words(format!("{} %", shown(fewer))))
            .goal(format!("at most {GOAL_PERCENT} %"), fewer <= GOAL_PERCENT),
        both("of these, by healthy observers", "SWIM 1 326, Lifeguard 25 (1.89 %)", None, |t| t.wrong_by_healthy),
    ];
    let concurrent: BTreeSet<usize> = outcomes.iter().map(|(_, cell, _)| cell.concurrent).collect();
    for count in concurrent {
        rows.push(both(&format!("false positives at C = {count}"), "", Some(count), |t| t.wrong));
    }
    let declared = sum(Who::Quorate, None, |t| t.declared);
    let broken = sum(Who::Quorate, None, |t| t.broken);
    rows.push(
        Row::new("healthy hosts declared `down` by verdict", "", none(), number(declared, ""))
            .goal("none", declared == 0.0),
    );
    rows.push(Row::new("promises broken", "", none(), number(broken, "")).goal("none", broken == 0.0));
    let in_unit = |value: fn(&Tally) -> u64, unit: f64, name: &str| {
        let cell = |who| number(sum(who, None, value) / unit, name);
        (cell(Who::Foca), cell(Who::Quorate))
    };
    let (foca, quorate) = in_unit(|t| t.packets, 1e6, " M");
    rows.push(Row::new("messages", "SWIM 435 M, Lifeguard 481 M (110.6 %)", foca, quorate));
    let (foca, quorate) = in_unit(|t| t.bytes, f64::from(1 << 30), " GiB");
    rows.push(Row::new("bytes", "SWIM 149 GiB, Lifeguard 146 GiB (98.0 %)", foca, quorate));
    rows
}

/// Four agents fall silent for good: how long until the first healthy observer says so?
fn first_detection(settings: &Settings, agents: usize) -> anyhow::Result<Vec<Row>> {
    const SILENT: usize = 4;
    const WATCHED_S: u64 = 60;
    let (from, to) = (at(30), at(30 + WATCHED_S));
    let runs: Vec<(Who, u64)> =
        [Who::Foca, Who::Quorate].into_iter().flat_map(|w| settings.seeds().into_iter().map(move |s| (w, s))).collect();
    let label = |(who, seed): &(Who, u64)| format!("four of {agents} silent, {}, seed {seed}", who.word());
    let outcomes = settings.each(&runs, label, |(who, seed)| {
        let silent = chosen(*seed, agents, SILENT);
        let plan = Plan {
            summary: "Four agents fall silent for good.".to_owned(),
            duration: Span::secs(30 + WATCHED_S),
            mesh: formed(agents),
            faults: vec![Fault::Isolate {
                agents: silent.clone(),
                from: Span::secs(30),
                to: Span::secs(30 + WATCHED_S),
                cycle: None,
            }],
            ..Plan::default()
        };
        settings.keep(&format!("lifeguard-silent-{seed}"), &plan)?;
        let healthy = mask(agents, &silent, false);
        let mut world = world(NAME, &plan, *seed, *who)?;
        world.advance(to, |_| false);
        let told = |agent: &usize| {
            let failed = spreading(&world, *agent, &healthy, (from, to), |word| word == Word::Failed);
            let declared =
                spreading(&world, *agent, &healthy, (from, to), |word| matches!(word, Word::Host { down: true, .. }));
            [failed, declared]
        };
        Ok((*who, silent.iter().map(told).collect::<Vec<_>>()))
    })?;
    let of = |who: Who, index: usize, value: fn(&Spreading) -> Option<f64>| {
        let all = outcomes.iter().filter(|outcome| outcome.0 == who).flat_map(|outcome| &outcome.1);
        spread(&all.map(|both| value(&both[index])).collect::<Vec<_>>(), " s", &format!("{WATCHED_S} s"))
    };
    let first = |s: &Spreading| s.first_s;
    let last = |s: &Spreading| s.last_s;
    let row = Row::new(
        "silent to first `failed`",
        "about 12.4 s with alpha 5 (the preset's is 4), Lifeguard the same",
        of(Who::Foca, 0, first),
        of(Who::Quorate, 0, first),
    );
    let sooner = row.quorate.median.zip(row.foca.median).is_some_and(|(ours, theirs)| ours <= theirs);
    Ok(vec![
        row.goal("median no slower", sooner),
        Row::new("silent to `failed` on all healthy", "", of(Who::Foca, 0, last), of(Who::Quorate, 0, last)),
        Row::new("silent to host `down` by verdict on all healthy", "", none(), of(Who::Quorate, 1, last)),
    ])
}
