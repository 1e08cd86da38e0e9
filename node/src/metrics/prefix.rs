//! A prefix for the metrics whose names others use too, such as `http_requests_total`: a page of metrics under the name of one's own application.

/// Our own names, which no other application has.
const OWN: &str = "quorate_";

/// Puts `prefix` and `_` before the names of a text in format 0.0.4 that are not ours alone.
pub fn prefixed(text: &str, prefix: &str) -> String {
    let mut page = String::with_capacity(text.len() + text.len() / 8);
    for line in text.lines() {
        let (comment, rest) = ["# HELP ", "# TYPE "]
            .iter()
            .find_map(|comment| line.strip_prefix(comment).map(|rest| (*comment, rest)))
            .unwrap_or(("", line));
        page.push_str(comment);
        if !rest.starts_with(OWN) {
            page.push_str(prefix);
            page.push('_');
        }
        page.push_str(rest);
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_use_too_are_prefixed_and_nothing_else_is() {
        let text = "# HELP http_requests_total Requests to quorate_x.\n# TYPE http_requests_total counter\n\
                    http_requests_total{status_code=\"200\"} 3\n# TYPE quorate_ready gauge\nquorate_ready 1\n";
        let expected = "# HELP chatbot_http_requests_total Requests to quorate_x.\n\
                        # TYPE chatbot_http_requests_total counter\nchatbot_http_requests_total{status_code=\"200\"} 3\n\
                        # TYPE quorate_ready gauge\nquorate_ready 1\n";
        assert_eq!(prefixed(text, "chatbot"), expected);
    }
}
