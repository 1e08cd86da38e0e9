//! What the configuration puts on a page of metrics: a prefix for the names that others use too, such as `http_requests_total`, which makes it the
//! page of one's own application; other labels of requests; and on every series a label with the environment.

use crate::config::{HttpLabels, MetricNames};
use std::borrow::Cow;

/// Our own names, which no other application has.
pub const OWN: &str = "quorate_";
/// The label's name.
pub const ENVIRONMENT: &str = "environment";

/// The metrics of requests begin so.
const REQUESTS: &str = "http_request";

/// Puts the prefix and `_` before the names of a text in format 0.0.4 that are not ours alone, and `environment` on each series.
pub fn named(text: String, names: &MetricNames, environment: Option<&str>) -> String {
    if *names == MetricNames::default() && environment.is_none() {
        return text;
    }
    let prefix = names.prefix.as_deref();
    let label = environment.map(|word| format!("{ENVIRONMENT}=\"{word}\""));
    let mut page = String::with_capacity(text.len() + text.len() / 3);
    for line in text.lines() {
        let (comment, rest) = ["# HELP ", "# TYPE "]
            .iter()
            .find_map(|comment| line.strip_prefix(comment).map(|rest| (*comment, rest)))
            .unwrap_or(("", line));
        page.push_str(comment);
        if let Some(prefix) = prefix.filter(|_| !rest.starts_with(OWN)) {
            page.push_str(prefix);
            page.push('_');
        }
        let is_series = comment.is_empty();
        let rest = match names.http_labels {
            // What stands in these labels is a method, a template of a path and a number: nothing that looks like a label.
            HttpLabels::Path if is_series && rest.starts_with(REQUESTS) => {
                Cow::Owned(rest.replacen("route=\"", "path=\"", 1).replacen("status_code=\"", "status=\"", 1))
            }
            HttpLabels::Path | HttpLabels::Route => Cow::Borrowed(rest),
        };
        match &label {
            Some(label) if is_series => labelled(&rest, label, &mut page),
            _ => page.push_str(&rest),
        }
        page.push('\n');
    }
    page
}

/// A series' line with one label more, which stands first.
fn labelled(line: &str, label: &str, page: &mut String) {
    // The name of a metric ends where the labels begin, or the value.
    let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap_or(line.len()));
    page.push_str(name);
    page.push('{');
    page.push_str(label);
    match rest.strip_prefix('{') {
        Some(rest) => {
            page.push_str(if rest.starts_with('}') { "" } else { "," });
            page.push_str(rest);
        }
        None => {
            page.push('}');
            page.push_str(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CATALOGUE;
    use super::*;

    fn prefix(prefix: &str) -> MetricNames {
        MetricNames { prefix: Some(prefix.to_owned()), ..MetricNames::default() }
    }

    const TEXT: &str = "# HELP http_requests_total Requests to quorate_x.\n# TYPE http_requests_total counter\n\
                        http_requests_total{status_code=\"200\"} 3\n# TYPE quorate_ready gauge\nquorate_ready 1\n";

    #[test]
    fn names_that_others_use_too_are_prefixed_and_nothing_else_is() {
        let expected = "# HELP chatbot_http_requests_total Requests to quorate_x.\n\
                        # TYPE chatbot_http_requests_total counter\nchatbot_http_requests_total{status_code=\"200\"} 3\n\
                        # TYPE quorate_ready gauge\nquorate_ready 1\n";
        assert_eq!(named(TEXT.to_owned(), &prefix("chatbot"), None), expected);
        assert_eq!(named(TEXT.to_owned(), &MetricNames::default(), None), TEXT);
    }

    #[test]
    fn every_series_has_the_environment() {
        let expected = "# HELP http_requests_total Requests to quorate_x.\n# TYPE http_requests_total counter\n\
                        http_requests_total{environment=\"production\",status_code=\"200\"} 3\n# TYPE quorate_ready gauge\n\
                        quorate_ready{environment=\"production\"} 1\n";
        assert_eq!(named(TEXT.to_owned(), &MetricNames::default(), Some("production")), expected);
        let both = named("a{b=\"x y{z\"} 1\nc{} 2\n".to_owned(), &prefix("p"), Some("dev"));
        assert_eq!(both, "p_a{environment=\"dev\",b=\"x y{z\"} 1\np_c{environment=\"dev\"} 2\n");
    }

    #[test]
    fn no_metric_has_that_label_already() {
        assert!(CATALOGUE.iter().all(|metric| !metric.labels.contains(&ENVIRONMENT)));
        assert!(super::super::RESERVED.contains(&ENVIRONMENT), "nor may one of the counters of others");
    }
}
