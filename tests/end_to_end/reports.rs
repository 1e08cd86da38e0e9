//! What has been: a report after a fault and a `kill -9`, and pictures of it for a page.

use quorate_tests::{AgentSetup, Host, Mesh, Target, agent_binary, eventually, folder, get, run};
use std::ffi::OsString;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn what_was_measured_outlives_a_kill_and_what_nobody_saw_is_not_charged() {
    let folder = folder();
    let mut target = Target::start("http", &Host::loopback(), folder.path());
    let mut mesh = Mesh::start(&[AgentSetup::new("alone", Host::loopback()).serving("web", &target)], folder);
    let report = |mesh: &Mesh| mesh.agents[0].ask("/v1/reports/web?hours=1");
    eventually("it was up for three seconds", PATIENCE, || {
        let report = report(&mesh)?;
        let up = report["instances"][0]["up_ms"].as_u64().unwrap_or(0);
        if up >= 3000 && report["uptime_percent"] == 100.0 { Ok(()) } else { Err(report.to_string()) }
    });
    target.kill();
    eventually("the incident is in the report", PATIENCE, || {
        let report = report(&mesh)?;
        let incident = &report["incidents"][0];
        if incident["to"].is_null() && incident["class"].is_string() { Ok(()) } else { Err(report.to_string()) }
    });
    target.restart();
    eventually("the incident is over", PATIENCE, || {
        let report = report(&mesh)?;
        if report["incidents"][0]["to"].is_string() { Ok(()) } else { Err(report["incidents"].to_string()) }
    });
    // A second of writing passes, then the agent dies in the midst of its work.
    let before = report(&mesh).expect("a report");
    let checks = before["total_health_checks"].as_u64().expect("a number");
    std::thread::sleep(Duration::from_millis(2500));
    mesh.agents[0].kill();
    std::thread::sleep(Duration::from_secs(3));
    mesh.agents[0].start();
    mesh.agents[0].await_ready();
    eventually("what was written is there, and counting goes on", PATIENCE, || {
        let report = report(&mesh)?;
        let now = report["total_health_checks"].as_u64().unwrap_or(0);
        if now > checks { Ok(()) } else { Err(format!("{now} after {checks}")) }
    });
    let after = report(&mesh).expect("a report");
    let instance = &after["instances"][0];
    assert_eq!(after["incidents"].as_array().map(Vec::len), Some(1), "{after}");
    assert_eq!(instance["down_ms"], before["instances"][0]["down_ms"], "the kill is not the instance's fault");
    assert!(after["failed_checks"].as_u64() > Some(0) && after["error_breakdown"].is_object(), "{after}");
    let times = ["p50", "p95", "p99"].map(|part| after[format!("{part}_response_time_ms")].as_f64().expect("a number"));
    assert!(after["avg_response_time_ms"].is_number() && times.is_sorted() && times[0] > 0.0, "{after}");
    assert_eq!(after["uptime_windows"]["1h"], after["uptime_percent"]);

    let api = mesh.agents[0].api;
    let badge = get(api, "/v1/badges/web/uptime.svg?window=1h").expect("an answer");
    assert_eq!((badge.status, badge.header("content-type")), (200, Some("image/svg+xml")));
    assert!(badge.body.starts_with("<svg") && badge.body.contains("uptime 1h"), "{}", badge.body);
    assert!(get(api, "/v1/badges/web/health.svg").expect("an answer").body.contains("web: "));
    // What the one observer voted over time, and its probes in buckets.
    let observer = &after["observers"][0];
    assert_eq!((&observer["name"], &observer["instances"]), (&"alone".into(), &1.into()), "{observer}");
    assert!(observer["fail_ms"].as_u64() > Some(0) && observer["pass_ms"].as_u64() > Some(0), "{observer}");
    assert_eq!(observer["total_health_checks"], after["total_health_checks"]);
    let samples = after["samples"].as_array().expect("a list");
    let sum: u64 = samples.iter().filter_map(|sample| sample["total_health_checks"].as_u64()).sum();
    assert!(!samples.is_empty() && after["total_health_checks"] == sum, "{after}");
    let mut words: Vec<OsString> =
        vec![agent_binary().into(), "report".into(), "web".into(), "--hours".into(), "1".into(), "-owide".into()];
    words.extend(["--addr".into(), api.to_string().into()]);
    let printed = run(words.clone()).success();
    assert!(printed.contains("uptime") && printed.contains("probes") && printed.contains("down "), "{printed}");
    assert!(printed.contains("alone in default: voted pass"), "{printed}");
    words.truncate(3);
    words.extend(["--minutes", "30", "--addr", &api.to_string()].map(OsString::from));
    let printed = run(words.clone()).success();
    assert!(printed.contains("web over the last 30 min\n"), "{printed}");
    words.extend(["--hours", "1"].map(OsString::from));
    assert_eq!(run(words).code, Some(2), "one of both");
    // The same as the guide's records.
    let path = "/v1/reports/web/metrics?minutes=60&type=health_check_errors,health_check_status";
    let records = mesh.agents[0].ask(path).expect("the records");
    let records = records["metrics"].as_array().expect("a list");
    let sum = |kind: &str, field: &str| -> f64 {
        let of_kind = records.iter().filter(|record| record["metric_type"] == kind);
        of_kind.filter_map(|record| record[field].as_f64()).sum()
    };
    let (told, checks) = (sum("health_check_errors", "value"), sum("health_check_status", "sample_count"));
    assert!(told > 0.0 && checks >= after["total_health_checks"].as_f64().expect("a number"), "{records:?}");
}
