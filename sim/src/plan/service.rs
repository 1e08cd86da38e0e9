//! What is probed.

use super::check::agent_exists;
use super::defaults;
use crate::time::Span;
use anyhow::bail;
use quorate_core::{Registration, ServiceName};
use serde::{Deserialize, Serialize};

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
    /// The same after a first failure or success, until the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_interval: Option<Span>,
    /// The same while it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_interval: Option<Span>,
    /// The longest a probe may take.
    #[serde(default = "defaults::timeout")]
    pub timeout: Span,
    /// Consecutive failures before a vote `fail`.
    #[serde(default = "defaults::failures")]
    pub failure_threshold: u32,
    /// Consecutive successes before a vote `pass`.
    #[serde(default = "defaults::successes")]
    pub success_threshold: u32,
    /// Can only the instance's own host check it?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub home_only: bool,
    /// Observers assigned to each instance.
    #[serde(default = "defaults::observers")]
    pub observers: u32,
}

impl ServicePlan {
    pub(super) fn check(&self, agents: usize) -> anyhow::Result<()> {
        if self.homes.is_empty() {
            bail!("homes: names nobody");
        }
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
        use quorate_core::check::UnixCheck;
        use quorate_core::{Check, CheckKind, HttpCheck, InstanceId};
        let socket = || UnixCheck { path: "/run/it".to_owned(), send: Vec::new(), expect: None, max_read_bytes: 1024 };
        let kind = if self.home_only { CheckKind::Unix(socket()) } else { CheckKind::Http(HttpCheck::default()) };
        Ok(Registration {
            instance: InstanceId::new(format!("{}@{home}", self.name))?,
            service: ServiceName::new(self.name.clone())?,
            address: format!("{}:8080", crate::scenario::host_address(home)),
            check: Check {
                kind,
                enabled: true,
                initial_delay: std::time::Duration::ZERO,
                period: self.period.0,
                fast_interval: self.fast_interval.map(|span| span.0),
                down_interval: self.down_interval.map(|span| span.0),
                timeout: self.timeout.0,
                failure_threshold: self.failure_threshold,
                success_threshold: self.success_threshold,
                max_retries: 0,
                ..Check::default()
            }
            .into(),
            observers: self.observers,
            placement: Default::default(),
        })
    }
}
