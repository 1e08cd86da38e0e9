//! `/ops/queues`: the agent's queues as a page for people. It is written whole by the agent, without a program, and loads itself anew.

use super::operating::all_queues;
use super::operation::{ASK, Operation, text};
use super::words::time;
use super::{Picture, Service};
use crate::access::Access;
use crate::answers::{QueueAnswer, QueueHealth};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use data_encoding::BASE64;
use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// `/ops/queues`
pub const QUEUE_BOARD: Operation = Operation {
    path: "/ops/queues",
    access: Access::Board,
    name: "queue_board",
    summary: "The agent's queues as a page",
    answers: &[text("text/html; charset=utf-8", "The page")],
    handler: || get(board),
    ..ASK
};

/// Between two looks.
const SECONDS: u32 = 5;

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:1.5rem auto;padding:0 1rem;max-width:60rem}\
    h1{font-size:1.4rem}div{overflow-x:auto}table{border-collapse:collapse;width:100%}\
    th,td{padding:.4rem .6rem;text-align:right;border-bottom:1px solid color-mix(in srgb,currentColor 25%,transparent)}\
    th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}thead th{font-weight:600}\
    .degraded{font-weight:700}";

async fn board(State(service): State<Service>) -> Response {
    let Picture { view, now, .. } = service.picture();
    let queues = all_queues(&service);
    let page = page(&view.name, &time(now), queues.iter().map(|(name, queue)| (name.as_str(), queue)));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        BASE64.encode(digest(&SHA256, STYLE.as_bytes()).as_ref())
    );
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let told = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (told, page).into_response()
}

fn page<'a>(agent: &str, at: &str, queues: impl Iterator<Item = (&'a str, &'a QueueAnswer)>) -> String {
    let agent = escaped(agent);
    let mut rows = String::new();
    for (name, queue) in queues {
        let (health, metrics) = (queue.health, &queue.metrics);
        let health = if health == QueueHealth::Healthy { "healthy" } else { "degraded" };
        let milliseconds = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} ms"));
        let _ = write!(
            rows,
            "<tr><th scope=\"row\"><a href=\"/health/queues/{name}\">{name}</a></th><td class=\"{health}\">{health}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            metrics.queue_size,
            metrics.pending_requests,
            metrics.completed_requests,
            metrics.failed_requests,
            milliseconds(metrics.average_wait_time),
            milliseconds(metrics.average_execution_time),
        );
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Queues of {agent}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta http-equiv=\"refresh\" content=\"{SECONDS}\">\
         <style>{STYLE}</style></head><body><h1>Queues of {agent}</h1><div tabindex=\"0\" role=\"region\" aria-label=\"Queues\"><table><thead><tr><th scope=\"col\">Queue</th>\
         <th scope=\"col\">Health</th><th scope=\"col\">Waiting</th><th scope=\"col\">Running</th><th scope=\"col\">Completed</th>\
         <th scope=\"col\">Failed</th><th scope=\"col\">Mean wait</th><th scope=\"col\">Mean run</th></tr></thead><tbody>{rows}</tbody>\
         </table></div><p>As of {at}, anew every {SECONDS} s. <a href=\"/\">The mesh</a> \u{b7} <a href=\"/health/queues\">as JSON</a></p>\
         </body></html>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{ask, start, view};
    use super::*;

    #[tokio::test]
    async fn the_page_shows_the_queues_and_loads_nothing() {
        let named = quorate_mesh::MeshView { name: "<b>&\"".to_owned(), ..view() };
        let fixture = start(named);
        let answer = ask(fixture.api, "GET /ops/queues", &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(answer.header("content-type").unwrap().starts_with("text/html"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'; style-src 'sha256-"), "{policy}");
        let hash = BASE64.encode(digest(&SHA256, between(&answer.body, "<style>", "</style>").as_bytes()).as_ref());
        assert!(policy.contains(&hash), "a browser would refuse the style: {policy}");
        assert!(answer.body.contains("Queues of &lt;b&gt;&amp;&quot;") && !answer.body.contains("<b>"));
        assert!(answer.body.contains("/health/queues/probes\">probes</a>") && answer.body.contains(">healthy<"));
    }

    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).unwrap().0
    }
}
