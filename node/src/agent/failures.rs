//! What this agent saw fail: a detector for each instance it observes, its last failures, and its last results.

use super::event_log::EventLog;
use crate::access::{Client, RateLimit};
use crate::metrics::Metrics;
use dashmap::DashMap;
use quorate_core::detection::{Detector, FailureEvent, Observed, Severity};
use quorate_core::{Check, FailureType, InstanceId, Mono, Outcome, ProbeResult, ServiceName, UnixMs};
use quorate_mesh::MeshView;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Failures kept of one instance. They have a ring of their own, so that no number of successes pushes them out.
pub const MAX_FAILURES: usize = 50;
/// Results kept of one instance.
pub const MAX_RESULTS: usize = 100;
/// Failures told as events within a minute at most, so that a failing network does not push everything else out of what is held.
const MAX_TOLD_A_MINUTE: u32 = 600;

/// How a probe ended, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ending {
    Pass,
    Protected,
    Warn,
    Fail,
}

impl Ending {
    /// `pass`, `protected`, `warn` or `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Protected => "protected",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One probe in short: there are [`MAX_RESULTS`] for each instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultLine {
    /// When it ended.
    pub at: UnixMs,
    /// How.
    pub result: Ending,
    /// How long it took.
    pub took_ms: u32,
    /// What failed.
    pub failure_type: Option<FailureType>,
}

/// What this agent knows of the failures of one instance.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The last failures, oldest first.
    pub failures: Vec<FailureEvent>,
    /// The last results, oldest first.
    pub results: Vec<ResultLine>,
    /// Does it change often between success and failure?
    pub flapping: bool,
    /// How often, in percent of what is possible.
    pub flap_percent: u32,
    /// Failed probes within the window.
    pub failed: u32,
    /// Probes within it.
    pub probes: u32,
    /// What failed without a break, and how often in a row.
    pub consecutive: Option<(FailureType, u32)>,
}

#[derive(Debug, Default)]
struct Kept {
    detector: Detector,
    failures: VecDeque<FailureEvent>,
    results: VecDeque<ResultLine>,
    /// What the probe before gave: of which type, how grave, and was it critical?
    last: Vec<(FailureType, Severity, bool)>,
}

/// The failures of every instance that this agent observes.
#[derive(Debug)]
pub struct Failures {
    kept: DashMap<InstanceId, Kept>,
    metrics: Arc<Metrics>,
    events: Arc<EventLog>,
    told: RateLimit,
    begun: Instant,
}

impl Failures {
    /// Nothing seen yet.
    pub fn new(metrics: Arc<Metrics>, events: Arc<EventLog>) -> Self {
        let told = RateLimit::new(MAX_TOLD_A_MINUTE);
        Self { kept: DashMap::new(), metrics, events, told, begun: Instant::now() }
    }

    /// Takes what came of a probe.
    pub fn note(
        &self,
        (instance, service): (&InstanceId, &ServiceName),
        check: &Check,
        outcome: &Outcome,
        wall: UnixMs,
    ) {
        let elapsed = self.begun.elapsed();
        let at = Mono(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
        let mut kept = self.kept.entry(instance.clone()).or_default();
        let events = kept.detector.observe(&Observed { instance, service, check, outcome, at, wall });
        push(&mut kept.results, line(outcome, wall), MAX_RESULTS);
        let now = events.iter().map(|event| (event.failure_type, event.severity, event.is_critical())).collect();
        let before = std::mem::replace(&mut kept.last, now);
        for event in events {
            self.metrics.failure_event(service.as_str(), event.failure_type, event.severity);
            if is_news(&before, &event) {
                log(&event);
                self.tell(&event, elapsed);
            }
            push(&mut kept.failures, event, MAX_FAILURES);
        }
    }

    /// Notes that an instance had started, or was given up, before this agent first looks at it; later words change nothing.
    pub fn note_started(&self, instance: &InstanceId) {
        if !self.kept.contains_key(instance) {
            let new = || Kept { detector: Detector::of_started(), ..Kept::default() };
            drop(self.kept.entry(instance.clone()).or_insert_with(new));
        }
    }

    fn tell(&self, event: &FailureEvent, now: Duration) {
        let room = self.told.take(Client::Others, now).is_ok();
        self.metrics.failure_told(room);
        if room {
            self.events.push_failure(event);
        }
    }

    /// What is known of an instance.
    pub fn of(&self, instance: &InstanceId) -> Option<History> {
        let kept = self.kept.get(instance)?;
        let (failed, probes) = kept.detector.failed_of();
        Some(History {
            failures: kept.failures.iter().cloned().collect(),
            results: kept.results.iter().cloned().collect(),
            flapping: kept.detector.flapping(),
            flap_percent: kept.detector.flap_percent(),
            failed,
            probes,
            consecutive: kept.detector.consecutive(),
        })
    }

    /// Forgets instances that are gone, or that this agent no longer observes.
    pub fn prune(&self, view: &MeshView) {
        self.kept.retain(|instance, _| {
            let watched = |o: &quorate_mesh::ObserverView| o.agent == view.agent;
            view.instances.get(instance).is_some_and(|found| found.observers.iter().any(watched))
        });
    }
}

fn push<T>(ring: &mut VecDeque<T>, item: T, max: usize) {
    if ring.len() >= max {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn line(outcome: &Outcome, at: UnixMs) -> ResultLine {
    let (result, failure_type) = match &outcome.result {
        ProbeResult::Pass => (Ending::Pass, None),
        ProbeResult::Protected(_) => (Ending::Protected, None),
        ProbeResult::Warn(warning) => (Ending::Warn, Some(warning.failure_type())),
        ProbeResult::Fail(failure) => (Ending::Fail, Some(failure.failure_type())),
    };
    let took_ms = u32::try_from(outcome.timings.total.as_millis()).unwrap_or(u32::MAX);
    ResultLine { at, result, took_ms, failure_type }
}

/// Is it of another type than what the probe before gave, or graver? The rest can be asked for.
fn is_news(before: &[(FailureType, Severity, bool)], event: &FailureEvent) -> bool {
    let known = |(of, severity, critical): &(FailureType, Severity, bool)| {
        *of == event.failure_type && *severity >= event.severity && *critical >= event.is_critical()
    };
    !before.iter().any(known)
}

fn log(event: &FailureEvent) {
    let (instance, failure, severity) = (&event.instance_id, event.failure_type, event.severity);
    if event.severity >= Severity::Medium || event.is_critical() {
        tracing::info!(%instance, %failure, %severity, critical = event.is_critical(), "{}", event.message);
    } else {
        tracing::debug!(%instance, %failure, %severity, "{}", event.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::event_log::Since;
    use crate::answers::EventWhat;
    use quorate_core::{Cause, Phase};

    #[test]
    fn failures_outlast_successes_and_both_are_bounded() {
        assert!(size_of::<ResultLine>() <= 16, "there are a hundred for every instance");
        let metrics = Arc::new(Metrics::new().unwrap());
        let failures = Failures::new(Arc::clone(&metrics), Arc::new(EventLog::new(1)));
        let (instance, service) = (InstanceId::new("web@a:1").unwrap(), ServiceName::new("web").unwrap());
        let check = Check { initial_delay: Duration::ZERO, ..Check::default() };
        let refused = Outcome::fail(Phase::Connect, Cause::Refused, "no", Duration::from_millis(1));
        let note = |outcome: &Outcome| failures.note((&instance, &service), &check, outcome, UnixMs(7));
        (0..200).for_each(|_| note(&refused));
        (0..200).for_each(|_| note(&Outcome::pass(Duration::from_millis(2))));
        let history = failures.of(&instance).unwrap();
        assert_eq!((history.failures.len(), history.results.len()), (MAX_FAILURES, MAX_RESULTS));
        assert_eq!((history.results[0].result, history.results[0].took_ms), (Ending::Pass, 2));
        assert_eq!((history.failed, history.probes, history.consecutive), (200, 400, None));
        assert!(history.failures.last().unwrap().is_critical() && !history.flapping);
        let counted: f64 = metrics
            .registry()
            .gather()
            .iter()
            .filter(|family| family.name() == "quorate_failure_events_total")
            .flat_map(|family| family.get_metric().iter().map(|metric| metric.get_counter().get_value()))
            .sum();
        assert!(counted >= 200.0, "{counted}");
        assert!(failures.of(&InstanceId::new("db@a:1").unwrap()).is_none());
    }
    fn told(events: &EventLog) -> Vec<(FailureType, String, u32)> {
        let backlog = events.follow(Since::Start).backlog;
        let failures = backlog.iter().map(|event| match &event.what {
            EventWhat::Failure(told) => {
                (told.failure.failure_type, told.failure.severity.clone(), told.failure.consecutive_count)
            }
            other => panic!("{other:?}"),
        });
        failures.collect()
    }

    #[test]
    fn events_tell_what_is_new_or_graver() {
        let events = Arc::new(EventLog::new(1));
        let failures = Failures::new(Arc::new(Metrics::new().unwrap()), Arc::clone(&events));
        let (instance, service) = (InstanceId::new("web@a:1").unwrap(), ServiceName::new("web").unwrap());
        let mut check = Check::default();
        check.detection.min_volume = 1000;
        check.initial_delay = Duration::ZERO;
        let note = |outcome: &Outcome| failures.note((&instance, &service), &check, outcome, UnixMs(7));
        let fail = |cause| Outcome::fail(Phase::Connect, cause, "no", Duration::from_millis(1));
        (0..20).for_each(|_| note(&fail(Cause::Refused)));
        let refused = |severity: &str, row| (FailureType::PortNotListening, severity.to_owned(), row);
        let mut expected = vec![refused("low", 1), refused("medium", 3), refused("medium", 5)];
        assert_eq!(told(&events), expected, "the first, the one that raises it, and the one that makes it critical");
        note(&fail(Cause::Timeout));
        note(&Outcome::pass(Duration::from_millis(1)));
        note(&fail(Cause::Refused));
        expected.extend([(FailureType::HealthCheckTimeout, "medium".to_owned(), 1), refused("low", 1)]);
        assert_eq!(told(&events), expected);
    }

    #[test]
    fn a_start_that_was_over_before_this_agent_looked_does_not_fail() {
        let failures = Failures::new(Arc::new(Metrics::new().unwrap()), Arc::new(EventLog::new(1)));
        let service = ServiceName::new("web").unwrap();
        let check = Check { initial_delay: Duration::from_nanos(1), ..Check::default() };
        let refused = Outcome::fail(Phase::Connect, Cause::Refused, "no", Duration::from_millis(1));
        let fails_to_start = |name: &str, decided: bool| {
            let instance = InstanceId::new(name).unwrap();
            for _ in 0..3 {
                if decided {
                    failures.note_started(&instance);
                }
                failures.note((&instance, &service), &check, &refused, UnixMs(7));
                std::thread::sleep(Duration::from_millis(1));
            }
            let history = failures.of(&instance).unwrap();
            assert_eq!(history.consecutive, Some((FailureType::PortNotListening, 3)));
            history.failures.iter().any(|event| event.failure_type == FailureType::ApplicationStartupFailed)
        };
        assert!(fails_to_start("new@a:1", false) && !fails_to_start("old@a:1", true));
    }

    #[test]
    fn a_network_that_fails_does_not_fill_what_is_held() {
        let (events, metrics) = (Arc::new(EventLog::new(1)), Arc::new(Metrics::new().unwrap()));
        let failures = Failures::new(Arc::clone(&metrics), Arc::clone(&events));
        let refused = Outcome::fail(Phase::Connect, Cause::Refused, "no", Duration::from_millis(1));
        let service = ServiceName::new("web").unwrap();
        for n in 0..2 * MAX_TOLD_A_MINUTE {
            let instance = InstanceId::new(format!("web@{n}")).unwrap();
            failures.note((&instance, &service), &Check::default(), &refused, UnixMs(7));
        }
        let most = 2 * MAX_TOLD_A_MINUTE as usize;
        let count = told(&events).len();
        assert!(
            (MAX_TOLD_A_MINUTE as usize..most).contains(&count),
            "{count}: a minute may pass in this test, not two"
        );
        let families = metrics.registry().gather();
        let untold = families.iter().find(|family| family.name() == "quorate_failure_events_untold_total").unwrap();
        let untold = untold.get_metric()[0].get_counter().get_value();
        assert!(untold > 0.0 && count as f64 + untold >= most as f64, "{untold}");
        assert_eq!(
            failures.of(&InstanceId::new("web@1000").unwrap()).unwrap().failures.len(),
            1,
            "it is kept all the same"
        );
    }
}
