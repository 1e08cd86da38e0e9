//! The dashboard for Grafana, made from a list of panels; every metric in it is one of the catalogue.

use super::rules::{For, expression, of_environment};
use serde_json::{Value, json};

/// One panel: its title, its look, its unit, and what it shows, each with a legend.
type Panel = (&'static str, Look, &'static str, &'static [(&'static str, &'static str)]);

/// How a panel looks, and whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Lines over time.
    Time,
    /// A number.
    Stat,
    /// A word: ok for 1, degraded for less.
    Word,
    /// A part of a whole.
    Gauge,
    /// Lines over time of what is in the logs.
    Logged,
}

use Look::{Gauge as GAUGE, Logged as LOGGED, Stat as STAT, Time as TIME, Word as WORD};

/// What can be chosen.
const OF_ENVIRONMENT: &str = "label_values(quorate_build_info, environment)";

const ROWS: &[(&str, &[Panel])] = &[
    (
        "Mesh",
        &[
            ("System health", WORD, "short", &[("min(quorate_ready) * min(quorate_quorate)", "health")]),
            ("Agents ready", STAT, "short", &[("sum(quorate_ready)", "ready")]),
            ("Agents that are quorate", STAT, "short", &[("sum(quorate_quorate)", "quorate")]),
            ("Members", TIME, "short", &[("max by (state) (quorate_members)", "{{state}}")]),
            ("Instances by verdict", TIME, "short", &[("max by (verdict) (quorate_instances)", "{{verdict}}")]),
            ("Hosts by verdict", TIME, "short", &[("max by (verdict) (quorate_hosts)", "{{verdict}}")]),
            (
                "Changes of verdict",
                TIME,
                "short",
                &[("max by (verdict) (increase(quorate_verdict_changes_total[5m]))", "{{verdict}}")],
            ),
        ],
    ),
    (
        "Services",
        &[
            ("Instances not up", TIME, "short", &[("count by (service) (quorate_instance_up == 0)", "{{service}}")]),
            ("Objective", STAT, "percentunit", &[("1 - service:budget:ratio", "{{service}}")]),
            (
                "SLO burn rate (1h/6h)",
                TIME,
                "short",
                &[
                    ("service:down:ratio1h / service:budget:ratio", "{{service}} 1h"),
                    ("service:down:ratio6h / service:budget:ratio", "{{service}} 6h"),
                ],
            ),
            (
                "Error budget remaining (30d)",
                TIME,
                "percentunit",
                &[("1 - service:down:ratio30d / service:budget:ratio", "{{service}}")],
            ),
            (
                "Probe latency p95",
                TIME,
                "s",
                &[(
                    "histogram_quantile(0.95, sum by (le, app_name) (rate(health_check_response_time_seconds_bucket[5m])))",
                    "{{app_name}}",
                )],
            ),
            (
                "Failed probes",
                TIME,
                "short",
                &[(
                    "sum by (app_name, error_type) (rate(health_check_errors_total[5m]))",
                    "{{app_name}} {{error_type}}",
                )],
            ),
        ],
    ),
    (
        "API",
        &[
            (
                "Request rate",
                TIME,
                "reqps",
                &[("sum by (method, route) (rate(http_requests_total[5m]))", "{{method}} {{route}}")],
            ),
            ("API success rate (5m)", STAT, "percentunit", &[("1 - api:errors:ratio5m", "success")]),
            (
                "HTTP error rate by route (5m)",
                TIME,
                "reqps",
                &[("sum by (route) (rate(http_request_errors_total[5m]))", "{{route}}")],
            ),
            (
                "Latency p95",
                TIME,
                "s",
                &[(
                    "histogram_quantile(0.95, sum by (le, route) (rate(http_request_duration_seconds_bucket[5m])))",
                    "{{route}}",
                )],
            ),
            (
                "Latency p99",
                TIME,
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (le, route) (rate(http_request_duration_seconds_bucket[5m])))",
                    "{{route}}",
                )],
            ),
            ("Event streams", TIME, "short", &[("sum by (instance) (sse_connections_active)", "{{instance}}")]),
            (
                "Errors logged",
                LOGGED,
                "short",
                &[(
                    "sum by (node) (count_over_time({app=\"quorate\", level=\"error\"} | json | environment=~\"$environment\" [5m]))",
                    "{{node}}",
                )],
            ),
            ("Tokens refused", TIME, "short", &[("sum by (reason) (increase(auth_failures_total[5m]))", "{{reason}}")]),
        ],
    ),
    (
        "Calls",
        &[
            (
                "Failed calls",
                TIME,
                "reqps",
                &[("sum by (service) (rate(external_call_errors_total[5m]))", "{{service}}")],
            ),
            (
                "Call duration p95",
                TIME,
                "s",
                &[(
                    "histogram_quantile(0.95, sum by (le, service) (rate(external_call_duration_seconds_bucket[5m])))",
                    "{{service}}",
                )],
            ),
            (
                "Breakers: 0 closed, 1 half-open, 2 open",
                TIME,
                "short",
                &[("max by (service) (circuit_breaker_state)", "{{service}}")],
            ),
        ],
    ),
    (
        "Queues",
        &[
            (
                "Failed jobs (5m)",
                STAT,
                "short",
                &[("sum by (queue) (increase(queue_jobs_failed_total[5m]))", "{{queue}}")],
            ),
            (
                "Job duration p95",
                TIME,
                "s",
                &[(
                    "histogram_quantile(0.95, sum by (le, job_name) (rate(queue_job_duration_seconds_bucket[5m])))",
                    "{{job_name}}",
                )],
            ),
            ("Pools", GAUGE, "percentunit", &[("max by (pool) (quorate_pool_usage_ratio)", "{{pool}}")]),
            (
                "Probes running and waiting",
                TIME,
                "short",
                &[
                    ("sum by (instance) (quorate_probes_running)", "{{instance}} running"),
                    ("sum by (instance) (quorate_probes_waiting)", "{{instance}} waiting"),
                ],
            ),
        ],
    ),
    (
        "Agents",
        &[
            (
                "Timers late, p99",
                TIME,
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (le, instance) (rate(quorate_timer_lateness_seconds_bucket[5m])))",
                    "{{instance}}",
                )],
            ),
            (
                "Sent over the mesh",
                TIME,
                "Bps",
                &[("sum by (instance) (rate(quorate_transport_bytes_total{direction=\"out\"}[5m]))", "{{instance}}")],
            ),
            ("Age of the picture", TIME, "s", &[("quorate_view_age_seconds", "{{instance}}")]),
        ],
    ),
];

/// The dashboard as Grafana takes it, for those agents.
pub fn dashboard(of: &For) -> Value {
    let (mut panels, mut y) = (Vec::new(), 0);
    for (title, row) in ROWS {
        panels.push(json!({ "type": "row", "title": title, "collapsed": false, "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 }, "panels": [] }));
        y += 1;
        for line in row.chunks(3) {
            for (column, panel) in line.iter().enumerate() {
                panels.push(shown(panel, of, column * 8, y));
            }
            y += 8;
        }
    }
    json!({
        "uid": "quorate-observability",
        "title": "Quorate - Observability",
        "tags": ["quorate"],
        "schemaVersion": 39,
        "editable": true,
        "refresh": "30s",
        "time": { "from": "now-6h", "to": "now" },
        "timezone": "utc",
        "templating": { "list": [
            { "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Metrics" },
            {
                "name": "environment", "type": "query", "label": "Environment", "includeAll": true, "allValue": ".*", "multi": true,
                "current": { "selected": true, "text": ["All"], "value": ["$__all"] },
                "datasource": { "type": "prometheus", "uid": "${datasource}" }, "refresh": 2,
                "definition": OF_ENVIRONMENT, "query": { "query": OF_ENVIRONMENT, "refId": "environment" },
            },
            { "name": "logs", "type": "datasource", "query": "loki", "label": "Logs" },
        ] },
        "panels": panels,
    })
}

fn shown((title, look, unit, targets): &Panel, of: &For, x: usize, y: usize) -> Value {
    let source = match look {
        Look::Logged => json!({ "type": "loki", "uid": "${logs}" }),
        Look::Time | Look::Stat | Look::Word | Look::Gauge => json!({ "type": "prometheus", "uid": "${datasource}" }),
    };
    let kind = match look {
        Look::Time | Look::Logged => "timeseries",
        Look::Stat | Look::Word => "stat",
        Look::Gauge => "gauge",
    };
    let mut defaults = json!({ "unit": unit });
    if *look == Look::Word {
        let words = json!({ "1": { "text": "ok", "color": "green" }, "0": { "text": "degraded", "color": "red" } });
        defaults["mappings"] = json!([{ "type": "value", "options": words }]);
    }
    if *look == Look::Gauge {
        (defaults["min"], defaults["max"]) = (json!(0), json!(1));
    }
    let targets: Vec<_> = targets
        .iter()
        .zip(["A", "B", "C"])
        .map(|((expr, legend), id)| {
            let expr = if *look == Look::Logged { (*expr).to_owned() } else { of_environment(expr) };
            let (expr, legend) = (expression(&expr, of), expression(legend, of));
            json!({ "refId": id, "expr": expr, "legendFormat": legend, "datasource": source })
        })
        .collect();
    json!({
        "type": kind, "title": title, "datasource": source, "gridPos": { "x": x, "y": y, "w": 8, "h": 8 },
        "fieldConfig": { "defaults": defaults, "overrides": [] }, "options": {}, "targets": targets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn the_shipped_file_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/monitoring/grafana/dashboards/quorate-observability.json");
        let wanted = format!("{:#}\n", dashboard(&For::default()));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted, "UPDATE_EXPECT=1 rewrites it");
    }

    #[test]
    fn panels_have_a_title_of_their_own_and_do_not_overlap() {
        let dashboard = dashboard(&For::default());
        let panels = dashboard["panels"].as_array().unwrap();
        let titles: BTreeSet<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        let places: BTreeSet<_> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
        assert_eq!((titles.len(), places.len()), (panels.len(), panels.len()));
        assert!(panels.iter().all(|panel| panel["type"] == "row" || !panel["targets"].as_array().unwrap().is_empty()));
    }

    #[test]
    fn what_is_asked_for_by_a_choice_can_be_chosen() {
        let dashboard = dashboard(&For::default());
        let choices = dashboard["templating"]["list"].as_array().unwrap();
        let named: BTreeSet<_> = choices.iter().map(|choice| choice["name"].as_str().unwrap()).collect();
        let text = dashboard["panels"].to_string() + &dashboard["templating"].to_string();
        let used = regex::Regex::new(r"\$\{?([a-z]+)").unwrap();
        let used: BTreeSet<_> = used.captures_iter(&text).map(|found| found.extract::<1>().1[0]).collect();
        assert_eq!((&named, used), (&BTreeSet::from(["datasource", "environment", "logs"]), named.clone()));
        let environment = choices.iter().find(|choice| choice["name"] == "environment").unwrap();
        assert_eq!((&environment["includeAll"], &environment["multi"]), (&json!(true), &json!(true)));
    }

    /// What the guides show, each by the metric that it is made of here.
    #[test]
    fn the_guides_panels_are_there() {
        let dashboard = dashboard(&For::default());
        let shown = |title: &str, metric: &str, kind: &str| {
            let panels = dashboard["panels"].as_array().unwrap();
            let panel = panels.iter().find(|panel| panel["title"] == title).unwrap_or_else(|| panic!("no {title}"));
            assert_eq!(panel["type"], kind, "{title}");
            let shows = panel["targets"][0]["expr"].as_str().unwrap();
            assert!(shows.contains("environment=~\"$environment\""), "{title}: {shows}");
            assert!(shows.contains(metric), "{title}: {shows}");
        };
        for (title, metric, kind) in [
            ("System health", "quorate_ready", "stat"),
            ("Request rate", "http_requests_total", "timeseries"),
            ("Errors logged", "level=\"error\"", "timeseries"),
            ("Latency p95", "http_request_duration_seconds", "timeseries"),
            ("Latency p99", "http_request_duration_seconds", "timeseries"),
            ("HTTP error rate by route (5m)", "http_request_errors_total", "timeseries"),
            ("API success rate (5m)", "api:errors:ratio5m", "stat"),
            ("SLO burn rate (1h/6h)", "service:down:ratio1h", "timeseries"),
            ("Error budget remaining (30d)", "/ service:budget:ratio", "timeseries"),
            ("Objective", "service:budget:ratio", "stat"),
            ("Failed jobs (5m)", "queue_jobs_failed_total", "stat"),
            ("Job duration p95", "queue_job_duration_seconds", "timeseries"),
            ("Probes running and waiting", "quorate_probes_running", "timeseries"),
            ("Pools", "quorate_pool_usage_ratio", "gauge"),
            ("Failed calls", "external_call_errors_total", "timeseries"),
            ("Breakers: 0 closed, 1 half-open, 2 open", "circuit_breaker_state", "timeseries"),
        ] {
            shown(title, metric, kind);
        }
    }
}
