//! A plan: what a run consists of, as data. Written in TOML; every key is described in `docs/simulator.md`.

use crate::time::Span;
use anyhow::{Context, bail};
use quorate_core::{Registration, ServiceName};
use serde::{Deserialize, Serialize};

/// One run's mesh, network, services and faults; independent of the seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// What it shows, in a sentence.
    pub summary: String,
    /// The run lasts at least this long; longer when convergence needs it.
    #[serde(default = "defaults::duration")]
    pub duration: Span,
    /// The agents.
    #[serde(default)]
    pub mesh: MeshPlan,
    /// What packets go through.
    #[serde(default)]
    pub network: NetworkPlan,
    /// How long things may take.
    #[serde(default)]
    pub bounds: Bounds,
    /// What is probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServicePlan>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

/// The agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MeshPlan {
    /// How many, numbered from zero.
    pub agents: usize,
    /// Over how many zones they are dealt, in turn.
    pub zones: usize,
    /// Wall clocks are wrong by at most this much, either way.
    pub clock_offset: Span,
}

impl Default for MeshPlan {
    fn default() -> Self {
        Self { agents: 5, zones: 1, clock_offset: Span::secs(5) }
    }
}

/// What packets go through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkPlan {
    /// Shortest and longest one-way travel, in microseconds.
    pub latency_us: [u64; 2],
    /// Packets lost, of a thousand.
    pub loss_per_mille: u32,
    /// A dial gives up after this long.
    pub dial_timeout: Span,
    /// A link that hears nothing for this long is closed.
    pub idle_timeout: Span,
}

impl Default for NetworkPlan {
    fn default() -> Self {
        Self { latency_us: [250, 750], loss_per_mille: 0, dial_timeout: Span::secs(2), idle_timeout: Span::secs(10) }
    }
}

/// How long things may take before a promise of progress counts as broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// Added to `failure_threshold x period + timeout`: until a dead instance is down on every agent.
    pub detection: Span,
    /// From a crash until the host is down on every other agent.
    pub host_detection: Span,
    /// Added to `success_threshold x period + timeout`: until a revived instance is up on every agent.
    pub recovery: Span,
    /// From the last fault's end until all agents agree.
    pub convergence: Span,
    /// Until agents on a side of half the roster or less know it.
    pub quorate: Span,
    /// Until an instance that nobody watches is no longer `up`.
    pub unwatched: Span,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            detection: Span::secs(3),
            host_detection: Span::secs(8),
            recovery: Span::secs(3),
            convergence: Span::secs(30),
            quorate: Span::secs(20),
            unwatched: Span::secs(30),
        }
    }
}

/// A service: one instance on each of its homes, named `NAME@HOME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePlan {
    /// Its name.
    pub name: String,
    /// The agents that are home to an instance.
    pub homes: Vec<usize>,
    /// Time from probe to probe.
    #[serde(default = "defaults::period")]
    pub period: Span,
    /// The longest a probe may take.
    #[serde(default = "defaults::timeout")]
    pub timeout: Span,
    /// Consecutive failures before a vote `fail`.
    #[serde(default = "defaults::failures")]
    pub failure_threshold: u32,
    /// Consecutive successes before a vote `pass`.
    #[serde(default = "defaults::successes")]
    pub success_threshold: u32,
    /// Observers assigned to each instance.
    #[serde(default = "defaults::observers")]
    pub observers: u32,
}

/// Something that goes wrong, or a planned change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The groups cannot talk to each other. An agent in no group talks to all.
    Partition {
        /// Who is together.
        groups: Vec<Vec<usize>>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// When false, only what the first group sends is lost.
        #[serde(default = "defaults::yes")]
        symmetric: bool,
    },
    /// What some send to others is lost; the way back is open.
    Cut {
        /// Who is not heard.
        senders: Vec<usize>,
        /// By whom.
        receivers: Vec<usize>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
    },
    /// Agents are each cut off from everybody.
    Isolate {
        /// Which.
        agents: Vec<usize>,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
    },
    /// Packets are lost, in place of the network's own share when that is lower.
    Loss {
        /// Of a thousand.
        per_mille: u32,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
    },
    /// A host goes dark: its agent and, unless told otherwise, the instances on it.
    Crash {
        /// Which.
        agent: usize,
        /// When.
        at: Span,
        /// When it comes back; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_at: Option<Span>,
        /// What it then finds of what it stored.
        #[serde(default)]
        disk: Disk,
        /// Only the agent dies; the instances live.
        #[serde(default)]
        targets_survive: bool,
    },
    /// An agent's process stands still.
    Pause {
        /// Which.
        agent: usize,
        /// Begin.
        from: Span,
        /// End.
        to: Span,
        /// What it sees first when it goes on.
        #[serde(default)]
        wake: WakeOrder,
    },
    /// An instance misbehaves.
    Target {
        /// Which, as `NAME@HOME`.
        instance: String,
        /// How.
        mode: TargetMode,
        /// Begin.
        from: Span,
        /// End; never when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Span>,
        /// For `flapping`: this long dead, this long alive, and again.
        #[serde(default = "defaults::flap")]
        flap_period: Span,
        /// The agents that see it; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen_by: Option<Vec<usize>>,
    },
    /// An agent leaves for good, telling the others.
    Leave {
        /// Which.
        agent: usize,
        /// When.
        at: Span,
    },
    /// An agent joins: for the first time, or again after it left. Until its first time it does not exist.
    Join {
        /// Which.
        agent: usize,
        /// When.
        at: Span,
    },
}

/// What a restarted agent finds of what it stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// All of it.
    #[default]
    Keep,
    /// Nothing but its identity.
    Lose,
    /// An older state.
    Stale,
}

/// What a process sees first when it goes on after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeOrder {
    /// All that arrived meanwhile, then its timers.
    #[default]
    Packets,
    /// Its timers first.
    Timers,
    /// Half of the packets, the timers, the rest.
    Mixed,
}

/// How an instance misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetMode {
    /// Nothing listens: refused.
    Dead,
    /// It accepts and never answers.
    Hung,
    /// It answers 500.
    Erroring,
    /// Dead and alive in turn.
    Flapping,
}

mod defaults {
    use crate::time::Span;
    pub fn duration() -> Span {
        Span::secs(60)
    }
    pub fn period() -> Span {
        Span::secs(1)
    }
    pub fn timeout() -> Span {
        Span::ms(500)
    }
    pub fn failures() -> u32 {
        3
    }
    pub fn successes() -> u32 {
        1
    }
    pub fn observers() -> u32 {
        5
    }
    pub fn flap() -> Span {
        Span::secs(6)
    }
    pub fn yes() -> bool {
        true
    }
}

/// Most agents of one plan.
pub const MAX_AGENTS: usize = 5000;

impl Plan {
    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// Names the key that is wrong and what would be right.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let plan: Self = toml::from_str(text)?;
        plan.check()?;
        Ok(plan)
    }

    /// Writes it as it is read.
    ///
    /// # Errors
    /// When it holds something TOML cannot state; no valid plan does.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// The names of all instances.
    pub fn instances(&self) -> impl Iterator<Item = String> {
        self.services.iter().flat_map(|service| service.homes.iter().map(|home| format!("{}@{home}", service.name)))
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn check(&self) -> anyhow::Result<()> {
        let agents = self.mesh.agents;
        if agents == 0 || agents > MAX_AGENTS {
            bail!("mesh.agents: {agents} is not allowed; use 1 to {MAX_AGENTS}");
        }
        if self.mesh.zones == 0 || self.mesh.zones > agents {
            bail!("mesh.zones: {} is not allowed; use 1 to the number of agents", self.mesh.zones);
        }
        let [low, high] = self.network.latency_us;
        if low == 0 || low > high || high > 10_000_000 {
            bail!("network.latency_us: [{low}, {high}] is not [SHORTEST, LONGEST] within 1 to 10000000");
        }
        loss_fits("network.loss_per_mille", self.network.loss_per_mille)?;
        let mut seen = std::collections::BTreeSet::new();
        for service in &self.services {
            service.check(agents).with_context(|| format!("services: {:?}", service.name))?;
        }
        if let Some(twice) = self.instances().find(|name| !seen.insert(name.clone())) {
            bail!("services: the instance {twice} appears twice");
        }
        for (index, fault) in self.faults.iter().enumerate() {
            fault.check(agents, &seen).with_context(|| format!("faults: number {} is wrong", index + 1))?;
        }
        Ok(())
    }
}

fn loss_fits(key: &str, per_mille: u32) -> anyhow::Result<()> {
    if per_mille > 900 {
        bail!("{key}: {per_mille} is not allowed; use 0 to 900, or a cut for all");
    }
    Ok(())
}

fn agent_exists(agent: usize, agents: usize) -> anyhow::Result<()> {
    if agent >= agents {
        bail!("there is no agent {agent}; the mesh has 0 to {}", agents.saturating_sub(1));
    }
    Ok(())
}

fn in_order(from: Span, to: Span) -> anyhow::Result<()> {
    if from >= to {
        bail!("it ends ({}) before it begins ({})", String::from(to), String::from(from));
    }
    Ok(())
}

impl ServicePlan {
    fn check(&self, agents: usize) -> anyhow::Result<()> {
        self.homes.iter().try_for_each(|home| agent_exists(*home, agents))?;
        for home in &self.homes {
            let broken = self.registration(*home)?.validate();
            if !broken.is_empty() {
                let rules: Vec<String> = broken.iter().map(ToString::to_string).collect();
                bail!("{}", rules.join("; "));
            }
        }
        Ok(())
    }

    /// The instance on `home`, as that agent registers it.
    ///
    /// # Errors
    /// When the name is not a service's name.
    pub fn registration(&self, home: usize) -> anyhow::Result<Registration> {
        use quorate_core::{Check, CheckKind, HttpCheck, InstanceId};
        Ok(Registration {
            instance: InstanceId::new(format!("{}@{home}", self.name))?,
            service: ServiceName::new(self.name.clone())?,
            address: format!("{}:8080", crate::scenario::host_address(home)),
            check: Check {
                kind: CheckKind::Http(HttpCheck::default()),
                enabled: true,
                initial_delay: std::time::Duration::ZERO,
                period: self.period.0,
                timeout: self.timeout.0,
                failure_threshold: self.failure_threshold,
                success_threshold: self.success_threshold,
                max_retries: 0,
            },
            observers: self.observers,
        })
    }
}

impl Fault {
    fn check(&self, agents: usize, instances: &std::collections::BTreeSet<String>) -> anyhow::Result<()> {
        let all = |list: &[usize]| list.iter().try_for_each(|agent| agent_exists(*agent, agents));
        match self {
            Self::Partition { groups, from, to, .. } => {
                in_order(*from, *to)?;
                let flat = groups.concat();
                all(&flat)?;
                let distinct: std::collections::BTreeSet<usize> = flat.iter().copied().collect();
                if distinct.len() != flat.len() {
                    bail!("an agent is in two groups");
                }
                if groups.len() < 2 {
                    bail!("a partition needs two groups at least");
                }
                Ok(())
            }
            Self::Cut { senders, receivers, from, to } => {
                in_order(*from, *to)?;
                all(senders)?;
                all(receivers)
            }
            Self::Isolate { agents: list, from, to } => {
                in_order(*from, *to)?;
                all(list)
            }
            Self::Loss { per_mille, from, to } => {
                in_order(*from, *to)?;
                loss_fits("per_mille", *per_mille)
            }
            Self::Crash { agent, at, restart_at, .. } => {
                agent_exists(*agent, agents)?;
                restart_at.map_or(Ok(()), |restart| in_order(*at, restart))
            }
            Self::Pause { agent, from, to, .. } => {
                agent_exists(*agent, agents)?;
                in_order(*from, *to)
            }
            Self::Target { instance, from, to, flap_period, seen_by, .. } => {
                if !instances.contains(instance) {
                    bail!("there is no instance {instance:?}; they are named SERVICE@HOME, such as web@0");
                }
                if flap_period.0.is_zero() {
                    bail!("flap_period: must be longer than nothing");
                }
                all(seen_by.as_deref().unwrap_or_default())?;
                to.map_or(Ok(()), |to| in_order(*from, to))
            }
            Self::Leave { agent, .. } | Self::Join { agent, .. } => agent_exists(*agent, agents),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
