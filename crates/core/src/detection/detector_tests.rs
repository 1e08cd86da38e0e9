//! The rules of detection, one after the other.

use super::*;
use crate::check::{ContainerCheck, DnsCheck, Level, SystemdCheck, UdpCheck, UsageLimits};
use crate::outcome::{ProbeWarning, Usage};

struct Scene {
    check: Check,
    detector: Detector,
    instance: InstanceId,
    service: ServiceName,
    now_s: u64,
}

fn scene(set: impl FnOnce(&mut Check)) -> Scene {
    let mut check = Check { initial_delay: Duration::ZERO, ..Check::default() };
    // What is not looked at in a test keeps quiet.
    check.detection.min_volume = 1000;
    set(&mut check);
    let (instance, service) = (InstanceId::new("web@a:1").unwrap(), ServiceName::new("web").unwrap());
    Scene { check, detector: Detector::default(), instance, service, now_s: 1000 }
}

fn fail(phase: Phase, cause: Cause) -> Outcome {
    Outcome::fail(phase, cause, "why", Duration::from_millis(12))
}

fn pass() -> Outcome {
    Outcome::pass(Duration::from_millis(5))
}

impl Scene {
    /// One probe, ten seconds after the one before.
    fn see(&mut self, outcome: &Outcome) -> Vec<FailureEvent> {
        self.now_s += 10;
        let Self { check, instance, service, now_s, .. } = self;
        let (at, wall) = (Mono(*now_s * 1_000_000_000), UnixMs(*now_s * 1000));
        self.detector.observe(&Observed { instance, service, check, outcome, at, wall })
    }

    fn types(&mut self, outcome: &Outcome) -> Vec<FailureType> {
        self.see(outcome).into_iter().map(|event| event.failure_type).collect()
    }
}

/// Every cause: its failure type, its severity alone and when it keeps coming, and whether it is critical. `UPDATE_EXPECT=1` writes the table anew.
#[test]
fn each_cause_has_its_event() {
    let mut table = String::from("# cause => failure type, severity, after three in a row, critical alone\n");
    for cause in Cause::ALL {
        let mut scene = scene(|_| ());
        scene.see(&pass());
        let outcome = fail(Phase::FirstByte, *cause);
        let events: Vec<_> = (0..3).map(|_| scene.see(&outcome).remove(0)).collect();
        let (first, third) = (&events[0], &events[2]);
        let critical = if first.is_critical() { "critical" } else { "-" };
        table.push_str(&format!(
            "{cause} => {}, {}, {}, {critical}\n",
            first.failure_type, first.severity, third.severity
        ));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/detection.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table);
}

#[test]
fn an_event_says_all_that_the_guide_wants() {
    let mut scene = scene(|_| ());
    let mut outcome = fail(Phase::Assert, Cause::Status);
    outcome.status_code = Some(500);
    scene.see(&outcome);
    let event = scene.see(&outcome).remove(0);
    assert_eq!((event.failure_type, event.severity), (FailureType::HealthCheckFailed, Severity::Low));
    assert_eq!((event.instance_id.as_str(), event.app_name.as_str()), ("web@a:1", "web"));
    assert_eq!(event.message, "Health check failed: why");
    assert_eq!((event.consecutive_count, event.total_count), (2, 2));
    assert_eq!((event.timestamp, event.first_occurrence), (UnixMs(1_020_000), UnixMs(1_010_000)));
    let detail = |name: &str| event.details.get(name).map(String::as_str);
    assert_eq!((detail("response_time_ms"), detail("status_code")), (Some("12"), Some("500")));
    assert_eq!((detail("error"), detail("check_type")), (Some("why"), Some("http")));
    assert_eq!((detail("phase"), detail("cause")), (Some("assert"), Some("status")));
}

#[test]
fn a_success_ends_a_row_and_the_window_forgets() {
    let mut scene = scene(|check| check.detection.window = Duration::from_secs(60));
    let refused = fail(Phase::Connect, Cause::Refused);
    let counts = |event: &FailureEvent| (event.consecutive_count, event.total_count);
    assert_eq!(counts(&scene.see(&refused)[0]), (1, 1));
    assert_eq!(counts(&scene.see(&refused)[0]), (2, 2));
    scene.see(&pass());
    assert_eq!(counts(&scene.see(&refused)[0]), (1, 3), "consecutive begins anew, the total does not");
    assert_eq!(
        counts(&scene.see(&fail(Phase::FirstByte, Cause::Timeout))[0]),
        (1, 1),
        "another type counts for itself"
    );
    for _ in 0..7 {
        scene.see(&pass());
    }
    assert_eq!(counts(&scene.see(&refused)[0]), (1, 1), "what is older than the window is forgotten");
}

#[test]
fn many_in_a_row_are_critical() {
    let mut scene = scene(|check| check.detection.consecutive_failure_limit = 4);
    let refused = fail(Phase::Connect, Cause::Refused);
    let events: Vec<_> = (0..5).map(|_| scene.see(&refused).remove(0)).collect();
    let severities: Vec<_> = events.iter().map(|event| event.severity).collect();
    assert_eq!(severities[..4], [Severity::Low, Severity::Low, Severity::Low, Severity::Medium]);
    let critical: Vec<_> = events.iter().map(FailureEvent::is_critical).collect();
    assert_eq!(critical, [false, false, false, false, true]);
}

#[test]
fn severities_can_be_chosen() {
    let mut scene =
        scene(|check| check.detection.severities = vec![(FailureType::PortNotListening, Severity::Critical)]);
    let event = scene.see(&fail(Phase::Connect, Cause::Refused)).remove(0);
    assert!(event.severity == Severity::Critical && event.is_critical());
}

#[test]
fn a_healthy_answer_can_be_too_slow() {
    let mut scene = scene(|check| check.max_response_time = Duration::from_millis(500));
    let mut outcome = Outcome::pass(Duration::from_millis(700));
    outcome.result = ProbeResult::Warn(ProbeWarning::new(Cause::Slow, "High response time: 700ms"));
    let event = scene.see(&outcome).remove(0);
    assert_eq!((event.failure_type, event.severity), (FailureType::HighResponseTime, Severity::Medium));
    assert_eq!(event.message, "High response time: 700ms");
    assert_eq!((event.details["response_time_ms"].as_str(), event.details["threshold"].as_str()), ("700", "500"));
    assert_eq!(scene.detector.failed_of(), (0, 1), "it is healthy all the same");
    outcome.result = ProbeResult::Warn(ProbeWarning::new(Cause::Certificate, "ends soon"));
    let event = scene.see(&outcome).remove(0);
    assert_eq!(event.message, "High response time: 700ms", "slow all the same, whatever else is warned of");
    outcome.attempts = 2;
    assert!(scene.see(&outcome).is_empty(), "two attempts together may take long");
    outcome.timings.total = Duration::from_millis(5);
    assert!(scene.see(&outcome).is_empty());
}

#[test]
fn an_answer_that_is_far_too_slow_is_held_to_its_own_limit() {
    let mut scene = scene(|check| {
        check.max_response_time = Duration::from_millis(200);
        check.critical_response_time = Some(Duration::from_millis(300));
    });
    let mut outcome =
        Outcome::fail(Phase::Assert, Cause::Slow, "High response time: 602ms", Duration::from_millis(1811));
    outcome.attempts = 3;
    let event = scene.see(&outcome).remove(0);
    assert_eq!((event.message.as_str(), event.details["threshold"].as_str()), ("High response time: 602ms", "300"));
    assert_eq!(event.details["response_time_ms"], "1811");
}

#[test]
fn what_is_told_of_healthy_answers_is_counted_as_well() {
    let mut scene = scene(|check| check.max_response_time = Duration::from_millis(500));
    let mut slow = Outcome::pass(Duration::from_millis(700));
    slow.result = ProbeResult::Warn(ProbeWarning::new(Cause::Slow, "High response time: 700ms"));
    let counts = |event: &FailureEvent| (event.consecutive_count, event.total_count, event.severity);
    let told: Vec<_> = (0..3).map(|_| scene.see(&slow).remove(0)).collect();
    assert_eq!(
        told.iter().map(counts).collect::<Vec<_>>(),
        [(1, 1, Severity::Medium), (2, 2, Severity::Medium), (3, 3, Severity::High)]
    );
    assert_eq!((told[2].first_occurrence, told[2].timestamp), (UnixMs(1_010_000), UnixMs(1_030_000)));
    scene.see(&pass());
    assert_eq!(counts(&scene.see(&slow)[0]), (1, 4, Severity::Medium), "a quick answer ends the row");
    assert_eq!((scene.detector.failed_of(), scene.detector.consecutive()), ((0, 5), None));

    let mut busy = container(|_| ());
    busy.see(&using(905, 951, 1));
    let events = busy.see(&using(905, 951, 1));
    assert_eq!(events.iter().map(|event| event.consecutive_count).collect::<Vec<_>>(), [2, 2], "both of one probe");
}

#[test]
fn an_error_rate_needs_volume_and_is_told_once() {
    let mut scene = scene(|check| {
        check.detection.min_volume = 5;
        check.detection.max_error_rate_percent = Level::new(20.0).unwrap();
    });
    let rate = |types: Vec<FailureType>| types.contains(&FailureType::HighErrorRate);
    let refused = fail(Phase::Connect, Cause::Refused);
    assert!(!rate(scene.types(&refused)), "one of one, but one is no volume");
    (0..3).for_each(|_| assert!(!rate(scene.types(&pass()))));
    assert!(!rate(scene.types(&pass())), "one of five is not more than 20 %");
    let events = scene.see(&refused);
    let event = events.iter().find(|event| event.failure_type == FailureType::HighErrorRate).unwrap();
    assert_eq!(event.message, "High error rate: 33.3% (2 of 6 probes)");
    assert_eq!((event.details["threshold"].as_str(), event.severity), ("20", Severity::Medium));
    assert!(!rate(scene.types(&refused)), "it was told");
    (0..10).for_each(|_| drop(scene.see(&pass())));
    let again: Vec<_> = (0..4).map(|_| rate(scene.types(&refused))).collect();
    assert_eq!(again.iter().filter(|told| **told).count(), 1, "it was well in between: {again:?}");
}

#[test]
fn a_start_fails_when_its_grace_is_over_or_it_ends() {
    let mut slow = scene(|check| check.initial_delay = Duration::from_secs(25));
    let refused = fail(Phase::Connect, Cause::Refused);
    let told: Vec<_> = (0..5).map(|_| slow.types(&refused).contains(&FailureType::ApplicationStartupFailed)).collect();
    assert_eq!(told, [false, false, false, true, false], "once, when it should be over");
    let mut ended = scene(|check| check.initial_delay = Duration::from_secs(25));
    let types = ended.types(&fail(Phase::Assert, Cause::Stopped));
    assert_eq!(types, [FailureType::ContainerStopped, FailureType::ApplicationStartupFailed]);
    let mut well = scene(|check| check.initial_delay = Duration::from_secs(5));
    well.see(&pass());
    assert_eq!(well.types(&refused), [FailureType::PortNotListening], "it had started");
    let mut known = scene(|check| check.initial_delay = Duration::from_secs(5));
    known.detector = Detector::of_started();
    let told: Vec<_> = (0..3).flat_map(|_| known.types(&refused)).collect();
    assert!(!told.contains(&FailureType::ApplicationStartupFailed), "it had, before this observer looked: {told:?}");
}

#[test]
fn what_fails_while_it_starts_does_not_count() {
    let with_grace = |seconds| {
        scene(|check| {
            check.initial_delay = Duration::from_secs(seconds);
            check.detection.min_volume = 3;
        })
    };
    let refused = fail(Phase::Connect, Cause::Refused);
    let told = |scene: &mut Scene| (0..4).flat_map(|_| scene.see(&refused)).collect::<Vec<_>>();
    let counted = |events: &[FailureEvent]| {
        let raised = events.iter().any(|event| event.severity > Severity::of(event.failure_type));
        (raised, events.iter().any(|event| event.failure_type == FailureType::HighErrorRate))
    };
    let mut starting = with_grace(3600);
    assert_eq!(counted(&told(&mut starting)), (false, false));
    assert_eq!(counted(&told(&mut with_grace(0))), (true, true));
    starting.see(&pass());
    assert_eq!(starting.detector.failed_of(), (0, 1), "nor once it has started");
}

fn container(set: impl FnOnce(&mut Check)) -> Scene {
    scene(|check| {
        check.kind = CheckKind::Container(ContainerCheck { container: "web".into(), limits: UsageLimits::default() });
        set(check);
    })
}

fn using(cpu: u32, memory: u32, bytes: u64) -> Outcome {
    let usage =
        Usage { cpu_per_mille: Some(cpu), memory_per_mille: Some(memory), memory_bytes: Some(bytes), restarts: 0 };
    Outcome { usage: Some(usage), ..pass() }
}

#[test]
fn resources_beyond_their_limits_are_told() {
    let mut scene = container(|_| ());
    assert!(scene.see(&using(900, 900, 1)).is_empty(), "at the limit is not beyond it");
    let events = scene.see(&using(905, 951, 4096));
    let [cpu, memory] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((cpu.message.as_str(), cpu.severity), ("High CPU usage: 90.5%", Severity::Medium));
    assert_eq!((cpu.details["metric"].as_str(), cpu.details["cpu_percent"].as_str()), ("cpu", "90.5"));
    assert_eq!((memory.message.as_str(), memory.severity), ("High memory usage: 95.1%", Severity::High));
    assert_eq!((memory.details["memory_bytes"].as_str(), memory.details["threshold"].as_str()), ("4096", "90"));
    assert_eq!(scene.see(&using(0, 940, 1))[0].severity, Severity::Medium, "95 % is where it becomes grave");
}

#[test]
fn a_unit_of_systemd_is_judged_as_a_container_is_and_called_a_unit() {
    let limits = UsageLimits { max_cpu_percent: Level::new(20.0), ..UsageLimits::default() };
    let unit = SystemdCheck { unit: "web.service".into(), limits };
    let mut scene = scene(|check| check.kind = CheckKind::Systemd(unit));
    assert_eq!(scene.see(&using(201, 0, 1))[0].message, "High CPU usage: 20.1%");
    for (cause, message) in [
        (Cause::Stopped, "Unit is not running: why"),
        (Cause::OutOfMemory, "Unit was killed because memory ran out: why"),
        (Cause::RestartLoop, "Unit restarts again and again: why"),
    ] {
        assert_eq!(scene.see(&fail(Phase::Assert, cause))[0].message, message);
    }
}

#[test]
fn a_deadlock_is_looked_for_when_asked() {
    let silent = fail(Phase::FirstByte, Cause::Timeout);
    let told = |scene: &mut Scene, outcome: &Outcome| scene.types(outcome).contains(&FailureType::ApplicationDeadlock);
    let mut off = scene(|_| ());
    assert!((0..9).all(|_| !told(&mut off, &silent)));
    let mut on = scene(|check| check.detection.deadlock_rounds = Some(3));
    let found: Vec<_> = (0..5).map(|_| told(&mut on, &silent)).collect();
    assert_eq!(found, [false, false, true, false, false]);
    on.see(&fail(Phase::Connect, Cause::Timeout));
    assert!(!told(&mut on, &silent) && !told(&mut on, &silent), "a connection that fails is something else");
    let mut secured = scene(|check| check.detection.deadlock_rounds = Some(3));
    let stuck = fail(Phase::Tls, Cause::Timeout);
    assert!(!told(&mut secured, &stuck) && !told(&mut secured, &stuck) && told(&mut secured, &stuck));
    let busy = Outcome { usage: using(500, 1, 1).usage, ..silent.clone() };
    assert!((0..4).all(|_| !told(&mut on, &busy)), "it works, only slowly");
    for kind in [CheckKind::Udp(UdpCheck::default()), CheckKind::Dns(DnsCheck::default())] {
        let mut datagram = scene(|check| {
            check.kind = kind;
            check.detection.deadlock_rounds = Some(3);
        });
        assert!((0..4).all(|_| !told(&mut datagram, &silent)), "nothing accepted a connection");
    }
}

#[test]
fn a_leak_is_looked_for_when_asked() {
    let told =
        |scene: &mut Scene, bytes| scene.types(&using(1, 1, bytes)).contains(&FailureType::ApplicationMemoryLeak);
    let mut off = container(|_| ());
    assert!((0..99).all(|n| !told(&mut off, 1000 + n * 100)));
    let mut on = container(|check| check.detection.memory_leak_window = Some(Duration::from_secs(100)));
    let found: Vec<u64> = (0..30).filter(|n| told(&mut on, 1000 + n * 20)).collect();
    assert_eq!(found, [10], "once, after a whole window of growth");
    assert!(!told(&mut on, 500) && (0..9).all(|n| !told(&mut on, 600 + n * 100)), "whatever shrinks begins anew");
    let mut steady = container(|check| check.detection.memory_leak_window = Some(Duration::from_secs(100)));
    assert!((0..99).all(|n| !told(&mut steady, 10_000 + n)), "a tenth is what it takes");
}

#[test]
fn flapping_begins_and_ends_at_different_shares() {
    let mut scene = scene(|_| ());
    let refused = fail(Phase::Connect, Cause::Refused);
    for _ in 0..12 {
        scene.see(&pass());
        scene.see(&refused);
    }
    assert!(scene.detector.flapping() && scene.detector.flap_percent() == 100);
    let mut calm = 0;
    while scene.detector.flapping() {
        scene.see(&pass());
        calm += 1;
        assert!(calm < 30);
    }
    assert!(scene.detector.flap_percent() < 25 && calm > 10, "{calm} successes, {}", scene.detector.flap_percent());
}

#[test]
fn what_is_looked_at_seldom_flaps_too() {
    let mut scene = scene(|_| ());
    let (well, refused) = (pass(), fail(Phase::Connect, Cause::Refused));
    for _ in 0..12 {
        for outcome in [&well, &refused] {
            scene.now_s += 110;
            scene.see(outcome);
        }
    }
    assert!(scene.detector.flapping() && scene.detector.flap_percent() == 100);
    assert_eq!(scene.detector.failed_of(), (3, 6), "the rate is that of the window");
}

#[test]
fn the_observers_own_trouble_is_nobodys_failure() {
    let mut scene = scene(|_| ());
    // The second: a file of the observer's own could not be read in time.
    for (phase, cause) in [(Phase::Connect, Cause::Local), (Phase::Prepare, Cause::Timeout)] {
        assert_eq!(scene.types(&fail(phase, cause)), [FailureType::HealthCheckError]);
    }
    assert_eq!((scene.detector.failed_of(), scene.detector.consecutive()), ((0, 0), None));
}
