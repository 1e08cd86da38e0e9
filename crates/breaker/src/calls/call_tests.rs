//! Guarded calls, their metrics under the guide's names, and the registry's limits; on a paused clock.

use super::*;
use crate::{Event, LABELS_MAX, Mode, Protection, Refusal, Settings, SetupError, State};
use prometheus::Registry;
use tokio::time::{advance, pause};

const SECOND: Duration = Duration::from_secs(1);

fn breakers(protection: impl Into<Protection>) -> (Breakers, Registry) {
    pause();
    let registry = Registry::new();
    let built = Breakers::builder().default_protection(protection).build(&registry).unwrap();
    (built, registry)
}

fn told(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

async fn fails() -> Result<(), &'static str> {
    Err("no")
}

#[tokio::test]
async fn metrics_bear_the_guides_names_labels_and_values() {
    let (breakers, registry) = breakers(Settings::opossum());
    for _ in 0..4 {
        breakers.call("pdf", "html-to-pdf", SECOND, async { Ok::<_, ()>(()) }).await.unwrap();
    }
    for _ in 0..4 {
        assert_eq!(breakers.call("pdf", "html-to-pdf", SECOND, fails()).await, Err(CallError::Failed("no")));
    }
    let rejected = breakers.call("pdf", "html-to-pdf", SECOND, fails()).await.unwrap_err();
    assert!(matches!(rejected, CallError::Rejected(rejected) if rejected.why == Refusal::Open), "{rejected}");
    let text = told(&registry);
    for line in [
        r#"external_calls_total{operation="html-to-pdf",service="pdf",status="success"} 4"#,
        r#"external_calls_total{operation="html-to-pdf",service="pdf",status="error"} 4"#,
        r#"external_calls_total{operation="html-to-pdf",service="pdf",status="rejected"} 1"#,
        r#"external_call_errors_total{error_type="error",operation="html-to-pdf",service="pdf"} 4"#,
        r#"external_call_errors_total{error_type="open",operation="html-to-pdf",service="pdf"} 1"#,
        r#"external_call_duration_seconds_count{operation="html-to-pdf",service="pdf"} 8"#,
        r#"circuit_breaker_state{service="pdf"} 2"#,
        r#"circuit_breaker_instance_state{instance_id="default",service="pdf"} 2"#,
        r#"circuit_breaker_rejects_total{service="pdf"} 1"#,
        r#"circuit_breaker_transitions_total{reason="failure_rate",service="pdf",to="open"} 1"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    assert!(!breakers.is_healthy("pdf") && breakers.is_healthy("word"));
    advance(31 * SECOND).await;
    assert!(told(&registry).contains("circuit_breaker_state{service=\"pdf\"} 1"), "half-open though nobody called");
}

#[tokio::test]
async fn a_call_that_hangs_is_cut_off_and_counts_as_silence() {
    let (breakers, registry) = breakers(Settings::orchestry());
    for _ in 0..5 {
        let hangs = std::future::pending::<Result<(), ()>>();
        assert_eq!(breakers.call("ml", "embed-text", SECOND, hangs).await, Err(CallError::TimedOut));
    }
    let state = &breakers.states_of("ml")[0];
    assert_eq!((state.snapshot.state, state.snapshot.changed.unwrap().0), (State::Open, Event::ConsecutiveFailures));
    assert!(
        told(&registry)
            .contains(r#"external_call_errors_total{error_type="timeout",operation="embed-text",service="ml"} 5"#)
    );
}

#[tokio::test]
async fn a_cancelled_call_is_neutral_and_returns_its_trial_place() {
    let (breakers, registry) = breakers(Settings::opossum());
    let handle = breakers.handle("ml", "a");
    handle.breaker().unwrap().apply(Event::Tripped, breakers.now());
    advance(31 * SECOND).await;
    let hangs = handle.call("x", 60 * SECOND, std::future::pending::<Result<(), ()>>());
    assert!(tokio::time::timeout(SECOND, hangs).await.is_err());
    assert_eq!(breakers.states()[0].snapshot.trials, 0);
    assert_eq!(breakers.states()[0].snapshot.state, State::HalfOpen);
    assert!(told(&registry).contains(r#"status="cancelled"} 1"#));
}

#[tokio::test]
async fn the_judge_decides_what_a_result_proves() {
    let (breakers, _registry) = breakers(Settings::orchestry());
    let handle = breakers.handle("api", "a");
    let judge = |result: &Result<u16, ()>| match result {
        Ok(500..) => Judged { outcome: Outcome::Failure(Fault::Answer), error_type: "status_5xx" },
        Ok(400..) => Judged { outcome: Outcome::Neutral, error_type: "status_4xx" },
        Ok(_) | Err(()) => judge_by_result(result),
    };
    for _ in 0..20 {
        assert_eq!(handle.call_judged("get", SECOND, async { Ok(404) }, judge).await, Ok(404));
    }
    assert_eq!(breakers.states()[0].snapshot.counts.calls, 0);
    for _ in 0..5 {
        assert_eq!(handle.call_judged("get", SECOND, async { Ok(503) }, judge).await, Ok(503));
    }
    assert!(!breakers.is_healthy("api"));
}

#[tokio::test]
async fn no_more_calls_at_once_than_allowed() {
    let (breakers, _registry) = breakers(Protection { max_concurrent: Some(2), ..Protection::default() });
    let handle = breakers.handle("api", "a");
    let (one, _two) = (handle.enter().unwrap(), handle.enter().unwrap());
    assert_eq!(handle.enter().unwrap_err().why, Refusal::Busy);
    assert!(breakers.handle("api", "b").enter().is_ok(), "each instance by itself");
    drop(one);
    assert!(handle.enter().is_ok());
}

#[tokio::test]
async fn a_full_registry_lets_calls_through_and_forgets_only_what_is_idle_and_closed() {
    pause();
    let registry = Registry::new();
    let breakers = Breakers::builder().max_breakers(4).idle_after(60 * SECOND).build(&registry).unwrap();
    let held = breakers.handle("a", "held");
    let now = breakers.now();
    breakers.handle("a", "open").breaker().unwrap().apply(Event::Tripped, now).unwrap();
    breakers.handle("a", "forced").breaker().unwrap().apply(Event::Mode(Mode::ForcedClosed), now).unwrap();
    drop(breakers.handle("a", "idle"));
    assert!(breakers.handle("a", "fifth").breaker().is_none());
    assert!(breakers.handle("a", "fifth").enter().is_ok());
    assert!(told(&registry).contains("circuit_breaker_unguarded_total 1"));
    advance(61 * SECOND).await;
    assert!(breakers.handle("a", "fifth").breaker().is_some(), "in the place of the idle one");
    let names: Vec<_> = breakers.states().iter().map(|state| state.instance.to_string()).collect();
    assert_eq!(names, ["fifth", "forced", "held", "open"]);
    drop(held);
    assert_eq!((breakers.sweep(), breakers.len()), (1, 3));
}

#[tokio::test]
async fn operations_beyond_the_limit_share_a_label() {
    let (breakers, registry) = breakers(Settings::default());
    for operation in 0..LABELS_MAX + 5 {
        breakers.call("a", &operation.to_string(), SECOND, async { Ok::<_, ()>(()) }).await.unwrap();
    }
    assert!(told(&registry).contains(r#"external_calls_total{operation="other",service="a",status="success"} 5"#));
}

#[test]
fn bad_settings_name_the_service() {
    let bad = Settings { max_trials: 0, ..Settings::default() };
    let error = Breakers::builder().service("pdf", bad).build(&Registry::new()).unwrap_err();
    assert_eq!(error.to_string(), "breaker settings of pdf: max_trials must be 1 to 8");
    let registry = Registry::new();
    assert!(Breakers::builder().build(&registry).is_ok());
    assert!(matches!(Breakers::builder().build(&registry), Err(SetupError::Metrics(_))));
}
