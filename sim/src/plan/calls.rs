//! Who calls what, and what comes of it.

use super::check::{Cast, in_order};
use crate::time::Span;
use anyhow::{Context, bail};
use quorate_core::InstanceId;
use quorate_wire::BreakerOverride;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Shortest time between two calls of one caller.
const SHORTEST: Duration = Duration::from_millis(10);

/// Callers on some hosts, each before a breaker that its agent knows, and the instance they call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsPlan {
    /// What is called: an instance of a service of the plan, which then answers as it does to probes, or something outside, such as `api@1`.
    pub instance: String,
    /// The agents on whose hosts there are callers; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<Vec<usize>>,
    /// From call to call of one caller, on average.
    #[serde(default = "second")]
    pub every: Span,
    /// First call.
    pub from: Span,
    /// No calls any more.
    pub to: Span,
    /// The longest that a call takes.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Callers that report every call as failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub liars: Vec<usize>,
    /// What goes wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<CallTrouble>,
    /// What people decide about its breaker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<CallWord>,
}

fn second() -> Span {
    Span::secs(1)
}

fn timeout() -> Span {
    Span::ms(500)
}

fn all() -> u32 {
    1000
}

/// Calls go wrong for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallTrouble {
    /// How.
    pub mode: CallMode,
    /// Begin.
    pub from: Span,
    /// End.
    pub to: Span,
    /// How many of a thousand calls.
    #[serde(default = "all")]
    pub per_mille: u32,
    /// For callers on these hosts only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_by: Option<Vec<usize>>,
    /// For callers in this zone only, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<usize>,
    /// On and off in turn, each for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap_period: Option<Span>,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallMode {
    /// It is refused at once.
    Refused,
    /// Nothing is heard until the timeout.
    Hung,
    /// It is answered badly.
    Erroring,
    /// It is served, but after three quarters of the timeout.
    Slow,
    /// What it came to is reported 30 s late, and it had failed.
    Late,
}

/// A person's word on the breaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallWord {
    /// When.
    pub at: Span,
    /// Through which agent.
    pub through: usize,
    /// Who decides then.
    pub mode: WordMode,
    /// For how long; by the clocks of people, so longer than any other time of a plan if need be.
    #[serde(default = "minute", deserialize_with = "of_any_length")]
    pub lasts: Span,
}

fn of_any_length<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
    Span::read(&String::deserialize(from)?).map_err(D::Error::custom)
}

fn minute() -> Span {
    Span::secs(60)
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordMode {
    /// The machine again.
    Automatic,
    /// Nothing is admitted.
    ForcedOpen,
    /// Everything is admitted.
    ForcedClosed,
}

impl CallsPlan {
    pub(super) fn check(&self, agents: usize, zones: usize, hosts: &BTreeSet<String>) -> anyhow::Result<()> {
        let id = InstanceId::new(&self.instance)?;
        if id.host_of().is_some() || !self.instance.contains('@') {
            bail!("instance: {:?} is not SERVICE@NAME", self.instance);
        }
        let service = self.instance.split('@').next().unwrap_or_default();
        let same_service = |host: &&String| host.split('@').next() == Some(service);
        if let Some(other) = hosts.iter().find(same_service).filter(|_| !hosts.contains(&self.instance)) {
            bail!("instance: there is no {:?}; of this service the plan has {other:?}, for one", self.instance);
        }
        let cast = Cast { agents, instances: hosts };
        cast.some("callers", self.callers.as_ref())?;
        cast.all(&self.liars)?;
        let calls = |agent: &usize| self.callers.as_ref().is_none_or(|callers| callers.contains(agent));
        if let Some(silent) = self.liars.iter().find(|liar| !calls(liar)) {
            bail!("liars: {silent} is none of the callers");
        }
        if self.every.0 < SHORTEST || self.timeout.0 < SHORTEST {
            bail!("every and timeout: at least 10ms");
        }
        in_order(self.from, self.to)?;
        for (index, trouble) in self.troubles.iter().enumerate() {
            trouble.check(&cast, zones, calls).with_context(|| format!("troubles: number {} is wrong", index + 1))?;
        }
        for word in &self.words {
            cast.agent(word.through)?;
            let lasts = word.lasts.0.as_millis();
            if lasts == 0 || lasts > u128::from(BreakerOverride::MAX_LIVES_MS) {
                bail!("words: lasts: {} is not allowed; use 1ms to 43200m, which is 30 days", String::from(word.lasts));
            }
        }
        if hosts.contains(&self.instance) && self.troubles.iter().any(|trouble| trouble.mode != CallMode::Late) {
            bail!("troubles: {} is an instance of the plan; make a fault of it that probes see, too", self.instance);
        }
        Ok(())
    }
}

impl CallTrouble {
    fn check(&self, cast: &Cast<'_>, zones: usize, calls: impl Fn(&usize) -> bool) -> anyhow::Result<()> {
        in_order(self.from, self.to)?;
        cast.some("seen_by", self.seen_by.as_ref())?;
        if self.seen_by.as_ref().is_some_and(|seen_by| !seen_by.iter().any(calls)) {
            bail!("seen_by: names no caller");
        }
        if self.per_mille == 0 || self.per_mille > 1000 {
            bail!("per_mille: 1 to 1000");
        }
        if self.zone.is_some_and(|zone| zone >= zones) {
            bail!("zone: there are {zones}");
        }
        if self.flap_period.is_some_and(|period| period.0 < SHORTEST) {
            bail!("flap_period: at least 10ms");
        }
        Ok(())
    }
}
