//! Reading anew what can be read anew while the agent runs, on SIGHUP or when the API is told to. A configuration that is wrong changes nothing;
//! what takes a new start is named.

use super::registrar::{NotDone, Registrar};
use crate::access::Gate;
use crate::agent::audit::{Audit, By, Change};
use crate::agent::clock::wall;
use crate::api::tls::Certificates;
use crate::config::{self, Configured, FileSettings, Flags, LogSettings, flattened};
use crate::logging::LogLevel;
use crate::metrics::Metrics;
use anyhow::{Context, anyhow, bail};
use quorate_probe::Prober;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// Keys that need no new start. The file of a certificate is read again, but another file is not taken.
const AT_ONCE: [&str; 4] = ["log.level", "log.access", "api.rate_limit", "service"];

/// What was read anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The keys whose values are now in use.
    pub applied: Vec<String>,
    /// The keys that have other values now, which take a new start.
    pub restart: Vec<String>,
}

/// What can be read anew, and where it is used.
#[derive(Debug)]
pub struct Parts {
    /// As the agent was called.
    pub flags: Flags,
    /// What it began with.
    pub document: toml::Table,
    /// The agent's own address, for instances that name none.
    pub own: IpAddr,
    /// The API's certificate.
    pub certificates: Option<Arc<Certificates>>,
    /// The level of the log.
    pub level: LogLevel,
    /// The API's rate.
    pub gate: Arc<Gate>,
    /// The instances.
    pub registrar: Arc<Registrar>,
    /// What probes them, with the programs of exec checks.
    pub prober: Arc<Prober>,
}

/// Reads everything anew, one at a time.
#[derive(Debug)]
pub struct Reloader {
    parts: Parts,
    metrics: Arc<Metrics>,
    audit: Audit,
    /// What is in use.
    document: Mutex<toml::Table>,
}

impl Reloader {
    /// Reloads these.
    pub fn new(parts: Parts, metrics: Arc<Metrics>, audit: Audit) -> Self {
        metrics.reloaded(Some(wall()));
        let document = Mutex::new(parts.document.clone());
        Self { parts, metrics, audit, document }
    }

    /// Reads everything anew.
    ///
    /// # Errors
    /// What is wrong with it; what was in use stays in use then.
    pub async fn reload(&self) -> anyhow::Result<Reloaded> {
        let mut document = self.document.lock().await;
        let done = self.read(&mut document).await;
        match &done {
            Ok(reloaded) => {
                self.metrics.reloaded(Some(wall()));
                let (applied, restart) = (reloaded.applied.join(", "), reloaded.restart.join(", "));
                tracing::info!(applied, restart, "reloaded");
            }
            Err(error) => {
                self.metrics.reloaded(None);
                tracing::error!(error = format!("{error:#}"), "not reloaded; what was in use stays in use");
            }
        }
        done
    }

    async fn read(&self, known: &mut toml::Table) -> anyhow::Result<Reloaded> {
        let file = config::load(self.parts.flags.config.as_deref()).map_err(|errors| anyhow!("{errors}"))?;
        let log = LogSettings::resolve(&file, &self.parts.flags);
        config::check_level(&log.level).map_err(anyhow::Error::msg)?;
        // What may still fail comes first.
        let mut applied = Vec::new();
        if let Some(certificates) = &self.parts.certificates
            && certificates.reload()?
        {
            applied.push("api.tls_cert_file".to_owned());
        }
        let changed = changed(known, &file.document);
        if changed.iter().any(|key| is_of(key, "service")) {
            self.configure(&file).await?;
        }
        self.parts.level.set(&log)?;
        self.parts.gate.set_rate(file.api_access.rate_limit);
        AT_ONCE.iter().for_each(|key| take_over(known, &file.document, key));
        let (at_once, restart): (Vec<_>, Vec<_>) =
            changed.into_iter().partition(|key| AT_ONCE.iter().any(|known| is_of(key, known)));
        applied.extend(at_once);
        Ok(Reloaded { applied, restart })
    }

    async fn configure(&self, file: &FileSettings) -> anyhow::Result<()> {
        let configured = Configured::of(&file.services, self.parts.own);
        // A probe that is told of a program finds it.
        let before = self.parts.prober.exchange_programs(file.own.programs.clone());
        let Err(error) = self.parts.registrar.configure(configured).await else { return Ok(()) };
        self.parts.prober.exchange_programs(before);
        match error {
            NotDone::Unstored(error) => Err(error).context("the instances could not be stored"),
            other => bail!("the instances could not be changed: {other:?}"),
        }
    }

    /// Reloads at each of these signals, one that has come already included.
    pub fn on_signal(self: Arc<Self>, mut hangups: Signal) {
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                // What is wrong with it is in the log.
                let done = self.reload().await.is_ok();
                let by = By::Signal;
                self.audit.note(&Change { action: "reload", target: "", by, done, status: None, request_id: None });
            }
        });
    }
}

/// SIGHUP, which no longer ends the process from here on.
///
/// # Errors
/// When the system does not let it listen for that.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}

fn is_of(key: &str, section: &str) -> bool {
    key == section || key.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// Has `known` say of one key what `now` says. What takes a new start stays as it was, so that it is named until then.
fn take_over(known: &mut toml::Table, now: &toml::Table, key: &str) {
    match key.split_once('.') {
        Some((section, rest)) => {
            let nothing = toml::Table::new();
            let now = now.get(section).and_then(toml::Value::as_table).unwrap_or(&nothing);
            let known = known.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let Some(known) = known.as_table_mut() {
                take_over(known, now, rest);
            }
        }
        None => {
            match now.get(key) {
                Some(value) => known.insert(key.to_owned(), value.clone()),
                None => known.remove(key),
            };
        }
    }
}

/// The keys that say something else than before.
fn changed(before: &toml::Table, now: &toml::Table) -> Vec<String> {
    let (before, now) = (flattened(before), flattened(now));
    let keys: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != now.get(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_named() {
        let before: toml::Table =
            "[agent]\nzone = \"a\"\n[log]\nlevel = \"info\"\n[[service]]\nname = \"web\"\n".parse().unwrap();
        let now =
            "[agent]\nzone = \"b\"\n[api]\nrate_limit = 5\n[log]\nlevel = \"info\"\n[[service]]\nname = \"shop\"\n";
        assert_eq!(changed(&before, &now.parse().unwrap()), ["agent.zone", "api.rate_limit", "service"]);
        assert!(changed(&before, &before).is_empty());
        let (mut known, now): (toml::Table, toml::Table) = (before.clone(), now.parse().unwrap());
        AT_ONCE.iter().for_each(|key| take_over(&mut known, &now, key));
        assert_eq!(changed(&known, &now), ["agent.zone"], "told until there is a new start");
        AT_ONCE.iter().for_each(|key| take_over(&mut known, &before, key));
        assert!(changed(&known, &before).is_empty(), "{known}");
        assert!(is_of("service", "service") && is_of("log.level", "log.level") && !is_of("services", "service"));
    }
}
