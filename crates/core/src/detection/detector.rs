//! One instance in the eyes of one observer: takes outcomes, gives events.

use super::event::{FailureEvent, Severity};
use super::rules::Rules;
use super::window::{Growth, Window};
use crate::check::{Check, CheckKind, DnsTransport};
use crate::evidence::{Cause, FailureType, Phase};
use crate::id::{InstanceId, ServiceName};
use crate::outcome::{Outcome, ProbeResult};
use crate::time::{Mono, UnixMs};
use std::collections::BTreeMap;
use std::time::Duration;

/// More memory than this, in thousandths of the limit, is grave.
const GRAVE_MEMORY_PER_MILLE: u32 = 950;
/// A processor that is used less than this, in thousandths, is idle.
const IDLE_CPU_PER_MILLE: u32 = 50;
/// Results from which on flapping can be told.
const MIN_RESULTS: usize = 7;

/// An outcome with all that is needed to judge it.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Of which instance.
    pub instance: &'a InstanceId,
    /// Of which service.
    pub service: &'a ServiceName,
    /// By which check.
    pub check: &'a Check,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// When.
    pub at: Mono,
    /// When, by the wall clock.
    pub wall: UnixMs,
}

/// What an observer remembers of an instance in order to judge its failures.
#[derive(Debug, Default)]
pub struct Detector {
    window: Window,
    streak: Option<(FailureType, u32)>,
    /// How many probes in a row each type was told of that was told of the last one, healthy ones included.
    rows: BTreeMap<FailureType, u32>,
    /// The same of the probe before.
    rows_before: BTreeMap<FailureType, u32>,
    /// When it was first looked at.
    began: Option<Mono>,
    /// Is it still allowed not to answer? Then nothing of it counts.
    in_grace: bool,
    /// Has it been well since?
    started: bool,
    start_told: bool,
    rate_told: bool,
    /// Probes in a row that were connected and not answered.
    unanswered: u32,
    memory: Growth,
    flapping: bool,
}

impl Detector {
    /// One for an instance whose start is over when it is looked at for the first time.
    #[must_use]
    pub fn of_started() -> Self {
        Self { started: true, ..Self::default() }
    }

    /// Takes an outcome; every event that follows from it, the gravest cause of one first.
    pub fn observe(&mut self, seen: &Observed<'_>) -> Vec<FailureEvent> {
        let rules = &seen.check.detection;
        let failure = failed(seen.outcome);
        let ours = matches!(&seen.outcome.result, ProbeResult::Fail(failure) if failure.is_own());
        let mut events = Vec::new();
        let began = *self.began.get_or_insert(seen.at);
        if ours {
            // The observer's own trouble: worth an event, but nobody's failure.
            events.push(self.event(seen, FailureType::HealthCheckError, None));
            return events;
        }
        let kind = failure.map(|(_, cause)| FailureType::of(cause));
        self.in_grace = !self.started && seen.at.since(began) < seen.check.initial_delay;
        if kind.is_none() && self.in_grace {
            self.window = Window::default();
        }
        self.count(seen, kind);
        match kind {
            Some(kind) => {
                events.push(self.event(seen, kind, None));
                events.extend(self.start_failed(seen, began));
                events.extend(self.deadlock(seen, failure));
            }
            None => {
                self.started = true;
                self.in_grace = false;
                self.start_told = false;
                self.unanswered = 0;
                for kind in healthy_but(seen) {
                    self.beside(kind);
                    events.push(self.event(seen, kind, None));
                }
            }
        }
        events.extend(self.resources(seen));
        events.extend(self.error_rate(seen, rules));
        events.extend(self.leak(seen, rules));
        events
    }

    /// Does it change so often between success and failure that neither says much?
    #[must_use]
    pub fn flapping(&self) -> bool {
        self.flapping
    }

    /// Changes between the last results, in percent of what is possible.
    #[must_use]
    pub fn flap_percent(&self) -> u32 {
        let (results, changes) = self.window.changes();
        u32::try_from(changes * 100 / results.saturating_sub(1).max(1)).unwrap_or(100)
    }

    /// Failed probes and all probes within the window.
    #[must_use]
    pub fn failed_of(&self) -> (u32, u32) {
        self.window.failed_of()
    }

    /// How many failures of which type in a row there have been; none after a success.
    #[must_use]
    pub fn consecutive(&self) -> Option<(FailureType, u32)> {
        self.streak
    }

    fn count(&mut self, seen: &Observed<'_>, kind: Option<FailureType>) {
        self.window.push(seen.at, seen.wall, kind, seen.check.detection.window);
        self.rows_before = std::mem::take(&mut self.rows);
        if let Some(kind) = kind {
            self.lengthen(kind);
        }
        self.streak = kind.map(|kind| match self.streak {
            Some((before, count)) if before == kind => (kind, count.saturating_add(1)),
            _ => (kind, 1),
        });
        let (results, _) = self.window.changes();
        let (percent, limit) = (self.flap_percent(), seen.check.detection.flap_percent);
        self.flapping = results >= MIN_RESULTS && percent >= if self.flapping { limit.div_ceil(2) } else { limit };
    }

    /// Notes that something else than how it ended is told of the probe that was counted last.
    fn beside(&mut self, kind: FailureType) {
        self.window.beside(kind);
        self.lengthen(kind);
    }

    /// One more in a row of those of this type; several events of one probe are one.
    fn lengthen(&mut self, kind: FailureType) {
        let before = self.rows_before.get(&kind).copied().unwrap_or(0);
        self.rows.insert(kind, before.saturating_add(1));
    }

    /// It has never been well, and its start should be over; or it ended while it started.
    fn start_failed(&mut self, seen: &Observed<'_>, began: Mono) -> Option<FailureEvent> {
        let over = seen.at.since(began) >= seen.check.initial_delay && !seen.check.initial_delay.is_zero();
        let ended = failed(seen.outcome)
            .is_some_and(|(_, cause)| matches!(cause, Cause::Stopped | Cause::OutOfMemory | Cause::RestartLoop));
        if self.started || self.start_told || !(over || ended) {
            return None;
        }
        self.start_told = true;
        self.beside(FailureType::ApplicationStartupFailed);
        Some(self.event(seen, FailureType::ApplicationStartupFailed, None))
    }

    fn deadlock(&mut self, seen: &Observed<'_>, failure: Option<(Phase, Cause)>) -> Option<FailureEvent> {
        let rounds = seen.check.detection.deadlock_rounds?;
        let silent =
            connects(&seen.check.kind) && matches!(failure, Some((Phase::Tls | Phase::FirstByte, Cause::Timeout)));
        let busy =
            seen.outcome.usage.and_then(|usage| usage.cpu_per_mille).is_some_and(|cpu| cpu >= IDLE_CPU_PER_MILLE);
        self.unanswered = if silent && !busy { self.unanswered.saturating_add(1) } else { 0 };
        if self.unanswered != rounds {
            return None;
        }
        self.beside(FailureType::ApplicationDeadlock);
        Some(self.event(seen, FailureType::ApplicationDeadlock, None))
    }

    fn error_rate(&mut self, seen: &Observed<'_>, rules: &Rules) -> Option<FailureEvent> {
        let (failed, all) = self.window.failed_of();
        let rate = f64::from(failed) * 100.0 / f64::from(all.max(1));
        let high = !self.in_grace && all >= rules.min_volume && rate > rules.max_error_rate_percent.value();
        let news = high && !self.rate_told;
        self.rate_told = high;
        if news {
            self.beside(FailureType::HighErrorRate);
        }
        news.then(|| {
            let limit = rules.max_error_rate_percent;
            let message = format!("High error rate: {rate:.1}% ({failed} of {all} probes)");
            let details = [
                ("error_rate_percent", format!("{rate:.1}")),
                ("threshold", limit.to_string()),
                ("failed", failed.to_string()),
                ("total", all.to_string()),
            ];
            self.told(seen, FailureType::HighErrorRate, (message, details.into()), None)
        })
    }

    fn resources(&mut self, seen: &Observed<'_>) -> Vec<FailureEvent> {
        let (Some(limits), Some(usage)) = (seen.check.kind.usage_limits(), seen.outcome.usage) else {
            return Vec::new();
        };
        let mut events = Vec::new();
        let beyond = |found: Option<u32>, limit: Option<crate::check::Level>| {
            let (found, limit) = (found?, limit?);
            (f64::from(found) / 10.0 > limit.value()).then_some((found, limit))
        };
        let cpu = beyond(usage.cpu_per_mille, limits.max_cpu_percent);
        let memory = beyond(usage.memory_per_mille, limits.max_memory_percent);
        if cpu.is_some() || memory.is_some() {
            self.beside(FailureType::HighResourceUsage);
        }
        if let Some((found, limit)) = cpu {
            let percent = tenths(found);
            let details =
                [("cpu_percent", percent.clone()), ("threshold", limit.to_string()), ("metric", "cpu".to_owned())];
            let message = format!("High CPU usage: {percent}%");
            events.push(self.told(seen, FailureType::HighResourceUsage, (message, details.into()), None));
        }
        if let Some((found, limit)) = memory {
            let percent = tenths(found);
            let details = [
                ("memory_percent", percent.clone()),
                ("memory_bytes", usage.memory_bytes.unwrap_or_default().to_string()),
                ("threshold", limit.to_string()),
                ("metric", "memory".to_owned()),
            ];
            let grave = (found > GRAVE_MEMORY_PER_MILLE).then_some(Severity::High);
            let message = format!("High memory usage: {percent}%");
            events.push(self.told(seen, FailureType::HighResourceUsage, (message, details.into()), grave));
        }
        events
    }

    fn leak(&mut self, seen: &Observed<'_>, rules: &Rules) -> Option<FailureEvent> {
        let (window, bytes) = (rules.memory_leak_window?, seen.outcome.usage?.memory_bytes?);
        if !self.memory.leaks(seen.at, bytes, window) {
            return None;
        }
        self.beside(FailureType::ApplicationMemoryLeak);
        let message = format!("Memory has only grown for {window:?}, to {bytes} bytes");
        let details = [("memory_bytes", bytes.to_string()), ("window_seconds", window.as_secs().to_string())];
        Some(self.told(seen, FailureType::ApplicationMemoryLeak, (message, details.into()), None))
    }

    /// An event with the words of its type and the details of the probe.
    fn event(&self, seen: &Observed<'_>, kind: FailureType, severity: Option<Severity>) -> FailureEvent {
        let outcome = seen.outcome;
        let error = match &outcome.result {
            ProbeResult::Fail(failure) => failure.detail.clone(),
            ProbeResult::Warn(warning) => warning.detail.clone(),
            ProbeResult::Pass | ProbeResult::Protected(_) => String::new(),
        };
        let took = outcome.timings.total;
        let mut details = BTreeMap::from([
            ("response_time_ms", took.as_millis().to_string()),
            ("check_type", seen.check.kind.name().to_owned()),
            ("error", error.clone()),
        ]);
        if let Some((phase, cause)) = failed(outcome) {
            details.extend([("phase", phase.as_str().to_owned()), ("cause", cause.as_str().to_owned())]);
        }
        if let Some(status) = outcome.status_code {
            details.insert("status_code", status.to_string());
        }
        if kind == FailureType::HighResponseTime {
            let critical = seen.check.critical_response_time.filter(|_| failed(outcome).is_some());
            let threshold = critical.unwrap_or(seen.check.max_response_time);
            details.insert("threshold", threshold.as_millis().to_string());
        }
        let message = match kind {
            // All attempts together took longer than the one that is told of.
            FailureType::HighResponseTime if outcome.attempts > 1 => error,
            _ => message(kind, &seen.check.kind, took, &error),
        };
        self.told(seen, kind, (message, details), severity)
    }

    fn told(
        &self,
        seen: &Observed<'_>,
        kind: FailureType,
        (message, details): (String, BTreeMap<&'static str, String>),
        severity: Option<Severity>,
    ) -> FailureEvent {
        let (total, first) = self.window.of(kind);
        let consecutive = self.rows.get(&kind).copied().unwrap_or(1);
        let rules = &seen.check.detection;
        let base = severity.unwrap_or_else(|| rules.severity(kind));
        let again = !self.in_grace && consecutive >= rules.consecutive_failure_limit;
        FailureEvent {
            failure_type: kind,
            instance_id: seen.instance.clone(),
            app_name: seen.service.clone(),
            severity: if again { base.raised() } else { base },
            message,
            details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            timestamp: seen.wall,
            consecutive_count: consecutive,
            total_count: total.max(1),
            first_occurrence: first.unwrap_or(seen.wall),
        }
    }
}

fn failed(outcome: &Outcome) -> Option<(Phase, Cause)> {
    match &outcome.result {
        ProbeResult::Fail(failure) => Some((failure.phase, failure.cause)),
        ProbeResult::Pass | ProbeResult::Warn(_) | ProbeResult::Protected(_) => None,
    }
}

/// What is told of a healthy answer: that it was slow, even when the warning is of something else, and that memory ran out.
fn healthy_but(seen: &Observed<'_>) -> Vec<FailureType> {
    let warned = match &seen.outcome.result {
        ProbeResult::Warn(warning) => Some(warning.cause),
        ProbeResult::Pass | ProbeResult::Protected(_) | ProbeResult::Fail(_) => None,
    };
    // How long the last of several attempts took is known by its warning alone.
    let took_long = seen.outcome.attempts <= 1 && seen.outcome.timings.total > seen.check.max_response_time;
    let slow = warned == Some(Cause::Slow) || (warned.is_some() && took_long);
    let told = [(slow, Cause::Slow), (warned == Some(Cause::OutOfMemory), Cause::OutOfMemory)];
    told.into_iter().filter(|(is, _)| *is).map(|(_, cause)| FailureType::of(cause)).collect()
}

/// Does its probe open a connection before it waits for an answer?
fn connects(check: &CheckKind) -> bool {
    match check {
        CheckKind::Dns(dns) => dns.transport == DnsTransport::Tcp,
        CheckKind::Udp(_) | CheckKind::Icmp(_) | CheckKind::Push(_) => false,
        CheckKind::Http(_)
        | CheckKind::Tcp(_)
        | CheckKind::Tls(_)
        | CheckKind::Redis(_)
        | CheckKind::Postgres(_)
        | CheckKind::Grpc(_)
        | CheckKind::Metric(_)
        | CheckKind::Exec(_)
        | CheckKind::Unix(_)
        | CheckKind::Container(_)
        | CheckKind::Systemd(_)
        | CheckKind::Dialogue(_) => true,
    }
}

fn tenths(per_mille: u32) -> String {
    format!("{}.{}", per_mille / 10, per_mille % 10)
}

/// What is said of a failure, by its type.
fn message(kind: FailureType, check: &CheckKind, took: Duration, error: &str) -> String {
    let unit = matches!(check, CheckKind::Systemd(_));
    let what = match kind {
        FailureType::HealthCheckFailed => "Health check failed",
        FailureType::HealthCheckTimeout => "Health check timed out",
        FailureType::HealthCheckError => "Health check could not be judged",
        FailureType::HighResponseTime => return format!("High response time: {}ms", took.as_millis()),
        FailureType::HighErrorRate => "High error rate",
        FailureType::HighResourceUsage => "High resource usage",
        FailureType::ContainerStopped if unit => "Unit is not running",
        FailureType::ContainerStopped => "Container is not running",
        FailureType::ContainerRestartLoop if unit => "Unit restarts again and again",
        FailureType::ContainerRestartLoop => "Container restarts again and again",
        FailureType::ContainerOomKilled if unit => "Unit was killed because memory ran out",
        FailureType::ContainerOomKilled => "Container was killed because memory ran out",
        FailureType::NetworkUnreachable => "Network is unreachable",
        FailureType::PortNotListening => "Nothing listens on the port",
        FailureType::DnsResolutionFailed => "Name could not be resolved",
        FailureType::ApplicationStartupFailed => "Application did not become healthy after its start",
        FailureType::ApplicationDeadlock => "Application accepts connections and never answers",
        FailureType::ApplicationMemoryLeak => "Memory only grows",
    };
    if error.is_empty() { what.to_owned() } else { format!("{what}: {error}") }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
