//! The same metrics in the OpenMetrics text format, version 1.0.0, for those who ask for it.

use std::fmt::Write;

/// Its media type.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Turns the text format 0.0.4 into OpenMetrics: the family of a counter is named without `_total`, and the end is marked.
pub fn open_metrics(text: &str) -> String {
    let mut open = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        let family = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) => Some((what, family(name), rest)),
            _ => None,
        };
        let _infallible = match family {
            Some((what, name, rest)) => writeln!(open, "# {what} {name} {}", rest.replace('"', "\\\"")),
            None => writeln!(open, "{line}"),
        };
    }
    open.push_str("# EOF\n");
    open
}

/// Counters, and nothing else, end so: those of the catalogue, and those of others.
fn family(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_open_metrics_wants_them() {
        let text = "# HELP http_requests_total Requests \"all\".\n# TYPE http_requests_total counter\n\
                    http_requests_total{code=\"200\"} 3\n# TYPE quorate_ready gauge\nquorate_ready 1\n";
        let expected = "# HELP http_requests Requests \\\"all\\\".\n# TYPE http_requests counter\n\
                        http_requests_total{code=\"200\"} 3\n# TYPE quorate_ready gauge\nquorate_ready 1\n# EOF\n";
        assert_eq!(open_metrics(text), expected);
    }
}
