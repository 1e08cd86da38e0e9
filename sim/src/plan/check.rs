//! The rules that faults keep, beyond what their types say.

use super::{Burst, Cycle, Fault, Plan, TargetMode};
use crate::time::Span;
use anyhow::{Context, bail};
use quorate_core::quorum;
use quorate_mesh::{MAX_INSTANCES, MAX_INSTANCES_PER_HOME};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest travel, in microseconds.
pub(super) const MAX_TRAVEL_US: u64 = 10_000_000;
/// Shortest span of a cycle.
const SHORTEST_TURN: Duration = Duration::from_millis(10);
/// Longest that one input may take.
const MAX_SERVICE: Duration = Duration::from_secs(10);
/// Fastest drift, in millionths; several of one clock at a time come to no more.
pub const MAX_PPM: i64 = 100_000;
/// Largest step of a wall clock, in milliseconds: ten years.
const MAX_STEP_MS: u64 = 315_360_000_000;
/// Most turns of one fault.
const MAX_TURNS: u128 = 1000;

pub(super) fn loss_fits(key: &str, per_mille: u32) -> anyhow::Result<()> {
    if per_mille > 900 {
        bail!("{key}: {per_mille} is not allowed; use 0 to 900, or a cut for all");
    }
    Ok(())
}

pub(super) fn agent_exists(agent: usize, agents: usize) -> anyhow::Result<()> {
    if agent >= agents {
        bail!("there is no agent {agent}; the mesh has 0 to {}", agents.saturating_sub(1));
    }
    Ok(())
}

pub(super) fn in_order(from: Span, to: Span) -> anyhow::Result<()> {
    if from >= to {
        bail!("it must end after it begins; it begins at {} and ends at {}", String::from(from), String::from(to));
    }
    Ok(())
}

/// No agent takes more, however they come about.
pub(super) fn instances_are_few(plan: &Plan) -> anyhow::Result<()> {
    let mut by_home = vec![0; plan.mesh.agents];
    for home in plan.services.iter().flat_map(|service| &service.homes) {
        by_home[*home] += 1;
    }
    let instances: usize = by_home.iter().sum();
    if instances > MAX_INSTANCES {
        bail!("services: {instances} instances are too many; a mesh has at most {MAX_INSTANCES}");
    }
    if let Some((home, count)) = by_home.iter().enumerate().find(|(_, count)| **count > MAX_INSTANCES_PER_HOME) {
        bail!(
            "services: {count} instances are too many for home {home}; an agent has at most {MAX_INSTANCES_PER_HOME}"
        );
    }
    Ok(())
}

/// Promises hold against faulty members that are fewer than half of the mesh and than any quorum of observers.
pub(super) fn faulty_are_few(plan: &Plan) -> anyhow::Result<()> {
    let agent = |fault: &Fault| if let Fault::Faulty { agent, .. } = fault { Some(*agent) } else { None };
    let faulty: BTreeSet<usize> = plan.faults.iter().filter_map(agent).collect();
    // Those that come or go may not be there to outvote them.
    let stays = |agent: &usize| !plan.faults.iter().any(|fault| fault.changes_roster() && fault.moves(*agent));
    let staying = (0..plan.mesh.agents).filter(stays).count();
    let agents = u32::try_from(staying).unwrap_or(u32::MAX);
    let hosts = quorum::DEFAULT_OBSERVERS.min(agents.saturating_sub(1));
    let observers = plan.services.iter().map(|service| service.observers.min(agents)).chain([hosts]).min();
    let fewest = observers.map_or(1, quorum::of) as usize;
    if !faulty.is_empty() && (faulty.len() >= fewest || faulty.len() * 2 >= staying) {
        bail!(
            "faults: {} faulty members are too many; they must be fewer than half of the {staying} agents that neither join \
             nor leave, and than every quorum of observers ({fewest})",
            faulty.len()
        );
    }
    Ok(())
}

/// Who exists in a plan.
pub(super) struct Cast<'a> {
    pub agents: usize,
    pub instances: &'a BTreeSet<String>,
}

impl Cast<'_> {
    pub fn agent(&self, agent: usize) -> anyhow::Result<()> {
        agent_exists(agent, self.agents)
    }

    pub fn instance(&self, name: &str) -> anyhow::Result<()> {
        if !self.instances.contains(name) {
            bail!("there is no instance {name:?}; they are named SERVICE@HOME, such as web@0");
        }
        Ok(())
    }

    pub fn all(&self, list: &[usize]) -> anyhow::Result<()> {
        list.iter().try_for_each(|agent| self.agent(*agent))
    }

    /// A list that must not be empty.
    pub fn listed(&self, key: &str, list: &[usize]) -> anyhow::Result<()> {
        if list.is_empty() {
            bail!("{key}: names nobody");
        }
        listed_once(list).context(key.to_owned())?;
        self.all(list)
    }

    /// A list that may be absent, but not empty.
    pub fn some(&self, key: &str, list: Option<&Vec<usize>>) -> anyhow::Result<()> {
        match list {
            Some(list) if list.is_empty() => bail!("{key}: names nobody; leave it out for everybody"),
            Some(list) => self.listed(key, list),
            None => Ok(()),
        }
    }

    pub fn path(&self, senders: Option<&Vec<usize>>, receivers: Option<&Vec<usize>>) -> anyhow::Result<()> {
        self.some("senders", senders)?;
        self.some("receivers", receivers)
    }
}

fn distinct(list: &[usize]) -> bool {
    list.iter().collect::<BTreeSet<_>>().len() == list.len()
}

fn listed_once(list: &[usize]) -> anyhow::Result<()> {
    if !distinct(list) {
        bail!("an agent is listed twice");
    }
    Ok(())
}

/// A time with its turns, if it has any.
fn timely(from: Span, to: Span, cycle: Option<Cycle>) -> anyhow::Result<()> {
    in_order(from, to)?;
    let Some(Cycle { on, off }) = cycle else { return Ok(()) };
    if on.0 < SHORTEST_TURN || off.0 < SHORTEST_TURN {
        bail!("cycle: on and off must last {SHORTEST_TURN:?} at least");
    }
    if (to.0 - from.0).as_nanos() / (on.0 + off.0).as_nanos() > MAX_TURNS {
        bail!("cycle: more than {MAX_TURNS} turns between {} and {}", String::from(from), String::from(to));
    }
    Ok(())
}

pub(super) fn share_fits(key: &str, per_mille: u32) -> anyhow::Result<()> {
    if per_mille == 0 || per_mille > 1000 {
        bail!("{key}: {per_mille} is not allowed; use 1 to 1000");
    }
    Ok(())
}

fn bursts(burst: Option<Burst>) -> anyhow::Result<()> {
    if burst.is_some_and(|burst| burst.bad.0.is_zero() || burst.good.0.is_zero()) {
        bail!("burst: bad and good must be longer than nothing");
    }
    Ok(())
}

/// Each turn of an instance that flaps is a moment of the run and a line of its trace.
pub(super) fn flaps_are_few(plan: &Plan) -> anyhow::Result<()> {
    for (index, fault) in plan.faults.iter().enumerate() {
        let Fault::Target { mode: TargetMode::Flapping, from, to, flap_period, .. } = fault else { continue };
        // One without an end goes on while the mesh has time to agree.
        let end = to.unwrap_or_else(|| plan.duration.max(Span(from.0 + plan.bounds.convergence.0)));
        if end.0.saturating_sub(from.0).as_nanos() / (2 * flap_period.0.as_nanos()).max(1) > MAX_TURNS {
            let (number, from, end) = (index + 1, String::from(*from), String::from(end));
            bail!(
                "faults: number {number} is wrong: flap_period: more than {MAX_TURNS} turns between {from} and {end}"
            );
        }
    }
    Ok(())
}

impl Fault {
    /// Is it a cut or a partition that cuts nobody off from anybody?
    pub fn parts_nobody(&self) -> bool {
        match self {
            Self::Partition { groups, symmetric: true, .. } => {
                groups.iter().filter(|group| !group.is_empty()).count() < 2
            }
            Self::Partition { groups, .. } => {
                let first = groups.first().is_some_and(|first| !first.is_empty());
                !first || groups.iter().skip(1).all(Vec::is_empty)
            }
            Self::Cut { senders, receivers, .. } => !senders.iter().any(|from| receivers.iter().any(|to| from != to)),
            _ => false,
        }
    }

    pub(super) fn check(&self, cast: &Cast<'_>) -> anyhow::Result<()> {
        match self {
            Self::Partition { groups, from, to, cycle, .. } => {
                timely(*from, *to, *cycle)?;
                let flat = groups.concat();
                cast.all(&flat)?;
                if !distinct(&flat) {
                    bail!("an agent is in two groups");
                }
                if groups.len() < 2 {
                    bail!("a partition needs two groups at least");
                }
                if flat.is_empty() {
                    bail!("groups: all are empty");
                }
                if self.parts_nobody() {
                    bail!("groups: nobody is cut off from anybody; the first and another must name somebody");
                }
                Ok(())
            }
            Self::Ring { agents, reach, from, to, cycle } => {
                timely(*from, *to, *cycle)?;
                cast.some("agents", agents.as_ref())?;
                let length = agents.as_ref().map_or(cast.agents, Vec::len);
                if *reach == 0 || reach.saturating_mul(2).saturating_add(1) >= length {
                    bail!("reach: {reach} is not allowed; use 1 or more, but so that not all {length} hear all");
                }
                Ok(())
            }
            Self::Cut { senders, receivers, from, to, cycle } => {
                timely(*from, *to, *cycle)?;
                cast.listed("senders", senders)?;
                cast.listed("receivers", receivers)?;
                if self.parts_nobody() {
                    bail!("senders and receivers: are one and the same agent, which always hears itself");
                }
                Ok(())
            }
            Self::Isolate { agents, from, to, cycle } => {
                timely(*from, *to, *cycle)?;
                cast.listed("agents", agents)
            }
            Self::Loss { per_mille, senders, receivers, burst, from, to, cycle, .. } => {
                timely(*from, *to, *cycle)?;
                bursts(*burst)?;
                share_fits("per_mille", *per_mille)?;
                cast.path(senders.as_ref(), receivers.as_ref())
            }
            Self::Delay { extra_us: [low, high], per_mille, senders, receivers, from, to, cycle, .. } => {
                timely(*from, *to, *cycle)?;
                share_fits("per_mille", *per_mille)?;
                if low > high || *high == 0 || *high > MAX_TRAVEL_US {
                    bail!("extra_us: [{low}, {high}] is not [SHORTEST, LONGEST] within 0 to {MAX_TRAVEL_US}");
                }
                cast.path(senders.as_ref(), receivers.as_ref())
            }
            Self::Duplicate { per_mille, senders, receivers, from, to, cycle } => {
                timely(*from, *to, *cycle)?;
                share_fits("per_mille", *per_mille)?;
                cast.path(senders.as_ref(), receivers.as_ref())
            }
            Self::Throttle { agents, bytes_per_s, from, to, cycle, .. } => {
                timely(*from, *to, *cycle)?;
                if *bytes_per_s == 0 {
                    bail!("bytes_per_s: 0 is not allowed; isolate the agent instead");
                }
                cast.some("agents", agents.as_ref())
            }
            Self::Reset { agents, peers, at, every, to } => {
                cast.some("agents", agents.as_ref())?;
                cast.some("peers", peers.as_ref())?;
                match (every, to) {
                    (None, None) => Ok(()),
                    (Some(every), Some(to)) => timely(*at, *to, Some(Cycle { on: *every, off: *every })),
                    _ => bail!("every and to: give both, to break links again and again, or none"),
                }
            }
            Self::Crash { agent, at, restart_at, .. } => {
                cast.agent(*agent)?;
                restart_at.map_or(Ok(()), |restart| in_order(*at, restart))
            }
            Self::Pause { agent, from, to, .. } => {
                cast.agent(*agent)?;
                in_order(*from, *to)
            }
            Self::Slow { agents, per_input, from, to, cycle } => {
                timely(*from, *to, *cycle)?;
                if per_input.0.is_zero() || per_input.0 > MAX_SERVICE {
                    bail!("per_input: {} is not allowed; use 1us to {MAX_SERVICE:?}", String::from(*per_input));
                }
                cast.some("agents", agents.as_ref())
            }
            Self::Drift { agent, ppm, from, to } => {
                cast.agent(*agent)?;
                if *ppm == 0 || ppm.unsigned_abs() > MAX_PPM.unsigned_abs() {
                    bail!("ppm: {ppm} is not allowed; use 1 to {MAX_PPM}, or as much below zero");
                }
                in_order(*from, *to)
            }
            Self::ClockStep { agent, by_ms, .. } => {
                cast.agent(*agent)?;
                if *by_ms == 0 || by_ms.unsigned_abs() > MAX_STEP_MS {
                    bail!("by_ms: {by_ms} is not allowed; use 1 to {MAX_STEP_MS}, or as much below zero");
                }
                Ok(())
            }
            Self::Clone { agent, from, to } => {
                cast.agent(*agent)?;
                in_order(*from, *to)
            }
            Self::RollingRestart { agents, every, down, .. } => {
                cast.some("agents", agents.as_ref())?;
                if every.0.is_zero() || down.0.is_zero() {
                    bail!("every and down: must be longer than nothing");
                }
                Ok(())
            }
            Self::Replace { agents, by, every, after, .. } => {
                let both = [agents.as_slice(), by].concat();
                cast.all(&both)?;
                if agents.is_empty() || agents.len() != by.len() {
                    bail!("by: must name as many as agents");
                }
                if every.0.is_zero() || after.0.is_zero() {
                    bail!("every and after: must be longer than nothing");
                }
                listed_once(&both)
            }
            Self::JoinStorm { agents, from, to } | Self::MassLeave { agents, from, to } => {
                cast.listed("agents", agents)?;
                in_order(*from, *to)
            }
            Self::Target { instance, mode, from, to, flap_period, answer_after, probes_per_s, seen_by } => {
                if answer_after.is_some_and(|after| !after.0.is_zero()) != (*mode == TargetMode::Slow) {
                    bail!("answer_after: belongs to the mode slow, and must be longer than nothing");
                }
                if probes_per_s.is_some() != (*mode == TargetMode::Overloaded) {
                    bail!("probes_per_s: belongs to the mode overloaded");
                }
                cast.instance(instance)?;
                if flap_period.0 < SHORTEST_TURN {
                    bail!("flap_period: must last {SHORTEST_TURN:?} at least");
                }
                cast.some("seen_by", seen_by.as_ref())?;
                to.map_or(Ok(()), |to| in_order(*from, to))
            }
            Self::Withdraw { instance, from, to } | Self::Intent { instance, from, to, .. } => {
                cast.instance(instance)?;
                to.map_or(Ok(()), |to| in_order(*from, to))
            }
            Self::Faulty { agent, from, to, .. } => {
                cast.agent(*agent)?;
                to.map_or(Ok(()), |to| in_order(*from, to))
            }
            Self::Abandon { agents: list, .. } => {
                cast.listed("agents", list)?;
                let lost: BTreeSet<usize> = list.iter().copied().collect();
                if lost.len() * 2 >= cast.agents {
                    bail!("more than half of the {} agents must remain; {} are abandoned", cast.agents, lost.len());
                }
                Ok(())
            }
            Self::Leave { agent, .. } | Self::Join { agent, .. } => cast.agent(*agent),
        }
    }
}
