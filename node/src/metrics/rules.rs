//! The shipped rules, dashboard and manifest, as they are and for a page of metrics with a prefix.

use super::{CATALOGUE, Kind, OWN};

/// What Prometheus takes.
const RULES: &str = include_str!("../../../deploy/monitoring/alerts.yml");
/// How the series of a histogram end.
const OF_HISTOGRAM: [&str; 3] = ["_bucket", "_count", "_sum"];

/// The rules for Prometheus.
pub fn rules(prefix: Option<&str>) -> String {
    prefixed_names(RULES, prefix)
}

/// The same for the operator of Kubernetes.
pub fn manifest(prefix: Option<&str>) -> String {
    let rules = rules(prefix);
    let groups = rules.split_once("groups:\n").map_or("", |(_, groups)| groups);
    let indented: String =
        groups.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect();
    format!(
        "# Made from ../alerts.yml, which says what the rules are for.\napiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n\
         metadata:\n  name: quorate\n  labels:\n    app: quorate\nspec:\n  groups:\n{indented}"
    )
}

/// A text of expressions with `prefix` and `_` before the names of metrics that have it at `/metrics`.
pub fn prefixed_names(text: &str, prefix: Option<&str>) -> String {
    let Some(prefix) = prefix else { return text.to_owned() };
    let part_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut whole = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(begin) = rest.find(part_of_name) {
        let end = rest[begin..].find(|c| !part_of_name(c)).map_or(rest.len(), |length| begin + length);
        let word = &rest[begin..end];
        whole.push_str(&rest[..begin]);
        if has_prefix(word) {
            whole.push_str(prefix);
            whole.push('_');
        }
        whole.push_str(word);
        rest = &rest[end..];
    }
    whole.push_str(rest);
    whole
}

/// Is this a metric, or a series of one, whose name others use too?
fn has_prefix(word: &str) -> bool {
    let base = OF_HISTOGRAM.iter().find_map(|ending| word.strip_suffix(ending));
    let is = |name: &str, histogram: bool| {
        CATALOGUE.iter().any(|metric| metric.name == name && (!histogram || metric.kind == Kind::Histogram))
    };
    !word.starts_with(OWN) && (is(word, false) || base.is_some_and(|base| is(base, true)))
}

#[cfg(test)]
mod tests {
    use super::super::dashboard::dashboard;
    use super::super::named;
    use super::*;
    use regex::Regex;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn the_shipped_manifest_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/kubernetes/prometheusrule.yaml");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, manifest(None)).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), manifest(None), "UPDATE_EXPECT=1 rewrites it");
    }

    #[test]
    fn names_are_found_whole_and_nowhere_else() {
        let text = "sum(rate(http_requests_total{route=\"x\"}[5m])) / quorate_ready + http_request_duration_seconds_bucket - \
                    api:http_requests_total - http_requests_totals + é sse_connections_active_sum";
        let expected = "sum(rate(p_http_requests_total{route=\"x\"}[5m])) / quorate_ready + p_http_request_duration_seconds_bucket - \
                        api:http_requests_total - http_requests_totals + é sse_connections_active_sum";
        assert_eq!(prefixed_names(text, Some("p")), expected);
        assert_eq!(prefixed_names(text, None), text);
    }

    /// With a prefix the rules and the dashboard ask for what is on the page, and for nothing that is not.
    #[test]
    fn what_is_asked_for_is_on_the_page() {
        let page: String = CATALOGUE.iter().map(|metric| format!("{} 1\n", metric.name)).collect();
        let page = named(page, Some("chatbot"), None);
        let on_page: BTreeSet<&str> = page.lines().filter_map(|line| line.split(' ').next()).collect();
        let word = Regex::new("[A-Za-z_:][A-Za-z0-9_:]*").unwrap();
        let without: BTreeSet<&str> =
            CATALOGUE.iter().map(|metric| metric.name).filter(|name| !name.starts_with(OWN)).collect();
        for (what, text) in [
            ("rules", rules(Some("chatbot"))),
            ("manifest", manifest(Some("chatbot"))),
            ("dashboard", dashboard(Some("chatbot")).to_string()),
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
