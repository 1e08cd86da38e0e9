//! What is made of a manager's words. Whether they are heard is shown over a real bus, in `tests/real/systemd.rs`.

use super::*;
use quorate_core::ProbeFailure;
use quorate_core::check::UsageLimits;
use std::time::Duration;

fn check() -> SystemdCheck {
    SystemdCheck { unit: "web.service".into(), limits: UsageLimits::default() }
}

fn told(active: &str, sub: &str) -> Told {
    let service = Service { result: "success".into(), ..Service::default() };
    Told { load: "loaded".into(), active: active.into(), sub: sub.into(), service: Some(service) }
}

fn judged(told: &Told) -> (Step<()>, Findings) {
    let mut findings = Findings::default();
    let result = judge(&check(), told, &mut Past::default(), Instant::now(), &mut findings);
    (result, findings)
}

/// `pass`, `warn(CAUSE)` or `fail(CAUSE)`.
fn word(told: &Told) -> String {
    match judged(told) {
        (Err(ProbeFailure { cause, .. }), _) => format!("fail({cause})"),
        (Ok(()), Findings { warning: Some(warning), .. }) => format!("warn({})", warning.cause),
        (Ok(()), _) => "pass".to_owned(),
    }
}

#[test]
fn each_state_has_its_grade() {
    for (active, sub, expected) in [
        ("active", "running", "pass"),
        ("active", "exited", "pass"),
        ("reloading", "reload", "pass"),
        ("refreshing", "running", "pass"),
        ("activating", "start-pre", "warn(status)"),
        ("activating", "auto-restart", "fail(stopped)"),
        ("activating", "auto-restart-queued", "fail(stopped)"),
        ("deactivating", "stop-sigterm", "fail(stopped)"),
        ("inactive", "dead", "fail(stopped)"),
        ("failed", "failed", "fail(stopped)"),
        ("maintenance", "", "fail(stopped)"),
        ("something-new", "", "fail(stopped)"),
    ] {
        assert_eq!(word(&told(active, sub)), expected, "{active} {sub}");
    }
    for load in ["not-found", "masked", "error", "bad-setting"] {
        let absent = Told { load: load.into(), ..told("active", "running") };
        assert_eq!(word(&absent), "fail(stopped)", "{load}");
    }
}

#[test]
fn why_a_service_ended_is_told() {
    let ended = |active: &str, sub: &str, result: &str| {
        let service = Service { result: result.into(), ..Service::default() };
        Told { service: Some(service), ..told(active, sub) }
    };
    let failed = judged(&ended("failed", "failed", "exit-code")).0.unwrap_err();
    assert_eq!(failed.detail, "web.service is failed (failed), result exit-code");
    assert_eq!(word(&ended("failed", "failed", "oom-kill")), "fail(oom_killed)");
    assert_eq!(word(&ended("activating", "auto-restart", "oom-kill")), "fail(oom_killed)");
    assert_eq!(word(&ended("active", "running", "oom-kill")), "warn(oom_killed)", "it lost a process and goes on");
}

#[test]
fn what_a_service_uses_is_held_to_its_limits() {
    let cores = u64::try_from(cores()).unwrap();
    let (mut past, start) = (Past::default(), Instant::now());
    let mut look = |at_s: u64, cpu_s: u64, memory: u64, restarts: u64| {
        let service = Service {
            result: "success".into(),
            restarts,
            memory: Some(memory),
            memory_max: Some(1000),
            cpu_ns: Some(cpu_s * cores * 1_000_000_000),
        };
        let mut findings = Findings::default();
        let told = Told { service: Some(service), ..told("active", "running") };
        let result = judge(&check(), &told, &mut past, start + Duration::from_secs(at_s), &mut findings);
        (result, findings.usage.unwrap(), findings.warning.map(|warning| warning.detail))
    };
    let (result, usage, warning) = look(0, 50, 900, 7);
    let known = (usage.cpu_per_mille, usage.memory_per_mille, usage.memory_bytes, usage.restarts);
    assert_eq!((result, known, warning), (Ok(()), (None, Some(900), Some(900), 7), None));
    let (_, usage, warning) = look(10, 59, 900, 7);
    assert_eq!((usage.cpu_per_mille, warning), (Some(900), None), "90 % is not above 90 %");
    assert_eq!(look(20, 69, 900, 7).2.as_deref(), Some("High CPU usage: 100.0%"));
    assert_eq!(look(30, 69, 910, 7).2.as_deref(), Some("High memory usage: 91.0%"));
    let (_, usage, _) = look(40, 1, 1, 12);
    assert_eq!(usage.cpu_per_mille, None, "it was started anew, and its time counts from zero");
    assert_eq!(look(50, 1, 1, 13).0.unwrap_err().cause, Cause::RestartLoop, "six since the first look");
}

#[test]
fn a_unit_that_is_no_service_has_a_state_alone() {
    let timer = Told { service: None, ..told("active", "waiting") };
    let (result, findings) = judged(&timer);
    assert_eq!((result, findings.usage), (Ok(()), None));
}
