//! The dashboard for Grafana, made from a list of panels; every metric in it is one of the catalogue.

use serde_json::{Value, json};

/// One panel: its title, its kind, its unit, and what it shows, each with a legend.
type Panel = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const TIME: &str = "timeseries";
const STAT: &str = "stat";

const ROWS: &[(&str, &[Panel])] = &[
    (
        "Mesh",
        &[
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
            (
                "SLO burn rate (1h/6h)",
                TIME,
                "short",
                &[
                    ("service:down:ratio1h / 0.005", "{{service}} 1h"),
                    ("service:down:ratio6h / 0.005", "{{service}} 6h"),
                ],
            ),
            (
                "Error budget remaining (30d, 99.5% SLO)",
                TIME,
                "percentunit",
                &[("1 - service:down:ratio30d / 0.005", "{{service}}")],
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
            ("Event streams", TIME, "short", &[("sum by (instance) (sse_connections_active)", "{{instance}}")]),
            ("Tokens refused", TIME, "short", &[("sum by (reason) (increase(auth_failures_total[5m]))", "{{reason}}")]),
        ],
    ),
    (
        "Agents",
        &[
            (
                "Probes running and waiting",
                TIME,
                "short",
                &[
                    ("sum by (instance) (quorate_probes_running)", "{{instance}} running"),
                    ("sum by (instance) (quorate_probes_waiting)", "{{instance}} waiting"),
                ],
            ),
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

/// The dashboard as Grafana takes it.
pub fn dashboard() -> Value {
    let (mut panels, mut y) = (Vec::new(), 0);
    for (title, row) in ROWS {
        panels.push(json!({ "type": "row", "title": title, "collapsed": false, "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 }, "panels": [] }));
        y += 1;
        for line in row.chunks(3) {
            for (column, panel) in line.iter().enumerate() {
                panels.push(shown(panel, column * 8, y));
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
        "templating": { "list": [{ "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source" }] },
        "panels": panels,
    })
}

fn shown((title, kind, unit, targets): &Panel, x: usize, y: usize) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let targets: Vec<_> = targets
        .iter()
        .zip(["A", "B", "C"])
        .map(|((expr, legend), id)| json!({ "refId": id, "expr": expr, "legendFormat": legend, "datasource": source }))
        .collect();
    json!({
        "type": kind, "title": title, "datasource": source, "gridPos": { "x": x, "y": y, "w": 8, "h": 8 },
        "fieldConfig": { "defaults": { "unit": unit }, "overrides": [] }, "options": {}, "targets": targets,
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
        let wanted = format!("{:#}\n", dashboard());
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &wanted).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), wanted, "UPDATE_EXPECT=1 rewrites it");
    }

    #[test]
    fn panels_have_a_title_of_their_own_and_do_not_overlap() {
        let dashboard = dashboard();
        let panels = dashboard["panels"].as_array().unwrap();
        let titles: BTreeSet<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        let places: BTreeSet<_> = panels.iter().map(|panel| panel["gridPos"].to_string()).collect();
        assert_eq!((titles.len(), places.len()), (panels.len(), panels.len()));
        assert!(panels.iter().all(|panel| panel["type"] == "row" || !panel["targets"].as_array().unwrap().is_empty()));
    }
}
