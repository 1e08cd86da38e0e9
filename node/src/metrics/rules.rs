//! The shipped rules, dashboard and manifest, as they are and for a page of metrics with a prefix.

use super::{CATALOGUE, Kind, OWN};
use crate::config::HttpLabels;

/// What Prometheus takes.
const RULES: &str = include_str!("../../../deploy/monitoring/alerts.yml");
/// How the series of a histogram end.
const OF_HISTOGRAM: [&str; 3] = ["_bucket", "_count", "_sum"];

/// How a series is narrowed down; the choice of all of them matches those without the label, too.
const ENVIRONMENT_CHOSEN: &str = "{environment=~\"$environment\"";

/// For whom rules and dashboards are printed.
#[derive(Debug, Default, clap::Args)]
pub struct For {
    /// For agents with this `metrics.prefix`
    #[arg(long, value_parser = crate::config::metric_prefix)]
    pub prefix: Option<String>,
    /// For agents with this `metrics.http_labels`
    #[arg(long, value_enum, default_value_t)]
    pub http_labels: HttpLabels,
}

/// The rules for Prometheus.
pub fn rules(of: &For) -> String {
    expression(RULES, of)
}

/// The same for the operator of Kubernetes.
pub fn manifest(of: &For) -> String {
    let rules = rules(of);
    let groups = rules.split_once("groups:\n").map_or("", |(_, groups)| groups);
    let indented: String =
        groups.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect();
    format!(
        "# Made from ../alerts.yml, which says what the rules are for.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n\
         metadata:\n  name: quorate\n  labels:\n    app: quorate\nspec:\n  groups:\n{indented}"
    )
}

/// A text of expressions in the names that these agents have at `/metrics`.
pub fn expression(text: &str, of: &For) -> String {
    let mut whole = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(begin) = rest.find(part_of_name) {
        let end = rest[begin..].find(|c| !part_of_name(c)).map_or(rest.len(), |length| begin + length);
        let word = &rest[begin..end];
        whole.push_str(&rest[..begin]);
        if let Some(prefix) = of.prefix.as_ref().filter(|_| has_prefix(word)) {
            whole.push_str(prefix);
            whole.push('_');
        }
        whole.push_str(match word {
            "route" if of.http_labels == HttpLabels::Path => "path",
            "labels.route" if of.http_labels == HttpLabels::Path => "labels.path",
            other => other,
        });
        rest = &rest[end..];
    }
    whole.push_str(rest);
    whole
}

/// Narrows every series of an expression down to the environment that is chosen; one that has none is of all of them.
pub fn of_environment(text: &str) -> String {
    let mut whole = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(begin) = rest.find(part_of_name) {
        let end = rest[begin..].find(|c| !part_of_name(c)).map_or(rest.len(), |length| begin + length);
        whole.push_str(&rest[..end]);
        let (word, after) = (&rest[begin..end], &rest[end..]);
        rest = after;
        if is_series(word) || word.contains(':') {
            rest = after.strip_prefix('{').unwrap_or(after);
            whole.push_str(ENVIRONMENT_CHOSEN);
            whole.push(if rest.len() < after.len() { ',' } else { '}' });
        }
    }
    whole + rest
}

fn part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.')
}

/// Is this a metric, or a series of one?
fn is_series(word: &str) -> bool {
    let base = OF_HISTOGRAM.iter().find_map(|ending| word.strip_suffix(ending));
    let is = |name: &str, histogram: bool| {
        CATALOGUE.iter().any(|metric| metric.name == name && (!histogram || metric.kind == Kind::Histogram))
    };
    is(word, false) || base.is_some_and(|base| is(base, true))
}

/// Is it one whose name others use too?
fn has_prefix(word: &str) -> bool {
    !word.starts_with(OWN) && is_series(word)
}

#[cfg(test)]
mod tests {
    use super::super::dashboard::dashboard;
    use super::super::named;
    use super::*;
    use crate::config::MetricNames;
    use regex::Regex;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn prefixed(prefix: &str) -> For {
        For { prefix: Some(prefix.to_owned()), ..For::default() }
    }

    #[test]
    fn labels_can_be_others() {
        let of = For { http_labels: HttpLabels::Path, ..For::default() };
        let old = Regex::new(r"\broute\b[!=~),}]").unwrap();
        let new = Regex::new(r"\bpath\b[!=~),}]").unwrap();
        for (what, text) in [("rules", rules(&of)), ("dashboard", dashboard(&of).to_string())] {
            assert!(!old.is_match(&text) && new.is_match(&text), "{what}: {text}");
        }
        assert!(rules(&of).contains("{{ $labels.path }}"));
        assert!(dashboard(&of).to_string().contains("{{path}}"));
    }

    #[test]
    fn every_series_is_of_the_environment_that_is_chosen() {
        let text = "max by (le) (rate(http_requests_total{route!=\"x\"}[5m])) / service:down:ratio1h - quorate_ready";
        let expected = "max by (le) (rate(http_requests_total{environment=~\"$environment\",route!=\"x\"}[5m])) / \
                        service:down:ratio1h{environment=~\"$environment\"} - quorate_ready{environment=~\"$environment\"}";
        assert_eq!(of_environment(text), expected);
    }

    #[test]
    fn the_shipped_manifest_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/kubernetes/prometheusrule.yaml");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, manifest(&For::default())).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), manifest(&For::default()), "UPDATE_EXPECT=1 rewrites it");
    }

    #[test]
    fn names_are_found_whole_and_nowhere_else() {
        let text = "sum(rate(http_requests_total{route=\"x\"}[5m])) / quorate_ready + http_request_duration_seconds_bucket - \
                    api:http_requests_total - http_requests_totals + é sse_connections_active_sum";
        let expected = "sum(rate(p_http_requests_total{route=\"x\"}[5m])) / quorate_ready + p_http_request_duration_seconds_bucket - \
                        api:http_requests_total - http_requests_totals + é sse_connections_active_sum";
        assert_eq!(expression(text, &prefixed("p")), expected);
        assert_eq!(expression(text, &For::default()), text);
    }

    /// With a prefix the rules and the dashboard ask for what is on the page, and for nothing that is not.
    #[test]
    fn what_is_asked_for_is_on_the_page() {
        let page: String = CATALOGUE.iter().map(|metric| format!("{} 1\n", metric.name)).collect();
        let page = named(page, &MetricNames { prefix: Some("chatbot".to_owned()), ..MetricNames::default() }, None);
        let on_page: BTreeSet<&str> = page.lines().filter_map(|line| line.split(' ').next()).collect();
        let word = Regex::new("[A-Za-z_:][A-Za-z0-9_:]*").unwrap();
        let without: BTreeSet<&str> =
            CATALOGUE.iter().map(|metric| metric.name).filter(|name| !name.starts_with(OWN)).collect();
        for (what, text) in [
            ("rules", rules(&prefixed("chatbot"))),
            ("manifest", manifest(&prefixed("chatbot"))),
            ("dashboard", dashboard(&prefixed("chatbot")).to_string()),
        ] {
            let mut prefixed = 0;
            for found in word.find_iter(&text).map(|found| found.as_str()) {
                let base = OF_HISTOGRAM.iter().find_map(|ending| found.strip_suffix(ending)).unwrap_or(found);
                if found.starts_with("chatbot_") {
                    prefixed += 1;
                    assert!(on_page.contains(found) || on_page.contains(base), "{what}: {found}");
                }
                assert!(!without.contains(found) && !without.contains(base), "{what}: {found} has no prefix");
            }
            assert!(prefixed > 8, "{what}: {prefixed}");
        }
    }
}
