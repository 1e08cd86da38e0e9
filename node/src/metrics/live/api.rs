//! The API: requests, streams, connections, tokens, and who else is answered.

use super::Metrics;
use crate::access::Denied;
use crate::api::limits::Limit;
use crate::metrics::counted::Counted;
use prometheus::IntCounterVec;
use std::time::Duration;

impl Metrics {
    /// A request begins; `route` is the route's template, never what was asked.
    pub fn request_begins(&self, method: &'static str, route: &'static str) -> Request<'_> {
        let in_flight = Counted::new(&self.http_in_flight.with_label_values(&[method, route]));
        Request { metrics: self, method, route, _in_flight: in_flight }
    }

    /// A stream of events, as long as what is returned lives.
    pub fn event_stream(&self) -> Counted {
        self.sse_connections.with_label_values::<&str>(&[]).inc();
        Counted::new(&self.sse_active)
    }

    /// An event was sent on one.
    pub fn event_sent(&self, kind: &str) {
        self.sse_events.with_label_values(&[kind]).inc();
    }

    /// The first one of a stream was sent, so long after it could be.
    pub fn first_event_sent(&self, took: Duration) {
        self.sse_first_event.with_label_values::<&str>(&[]).observe(took.as_secs_f64());
    }

    /// A request that waits for news, likewise.
    pub fn waiting(&self) -> Counted {
        Counted::new(&self.api_waiting)
    }

    /// A connection, likewise.
    pub fn connection(&self) -> Counted {
        Counted::new(&self.api_connections)
    }

    /// Connections of the API now.
    pub fn connections_now(&self) -> i64 {
        self.api_connections.get()
    }

    /// HAProxy was told about a server.
    pub fn agent_check(&self, answer: &str) {
        self.agent_checks.with_label_values(&[answer]).inc();
    }

    /// A connection of the API did not become TLS.
    pub fn tls_failed(&self) {
        self.api_tls_failures.with_label_values::<&str>(&[]).inc();
    }

    /// A request was let in or turned away; with a token, or without.
    pub fn request_judged(&self, with_token: bool, limited: bool, denied: Option<&Denied>) {
        let count = |counter: &IntCounterVec| counter.with_label_values::<&str>(&[]).inc();
        if with_token {
            count(&self.auth_requests);
        }
        if limited {
            count(&self.ratelimit_requests);
        }
        match denied {
            Some(Denied::Token(fault)) => self.auth_failures.with_label_values(&[fault.as_str()]).inc(),
            Some(Denied::Password) if with_token => self.auth_failures.with_label_values(&["invalid"]).inc(),
            Some(Denied::Rate(_)) => count(&self.ratelimit_rejected),
            _ => {}
        }
    }

    /// The name server answered.
    pub fn dns_answered(&self, code: &str) {
        self.dns_answers.with_label_values(&[code]).inc();
    }

    /// A limit of the API was hit.
    pub fn limit_hit(&self, limit: Limit) {
        self.api_limits_hit.with_label_values(&[limit.as_str()]).inc();
    }

    /// How often it was.
    #[cfg(test)]
    pub fn limit_hits(&self, limit: Limit) -> u64 {
        self.api_limits_hit.with_label_values(&[limit.as_str()]).get()
    }
}

/// A request being answered.
pub struct Request<'a> {
    metrics: &'a Metrics,
    method: &'static str,
    route: &'static str,
    _in_flight: Counted,
}

impl Request<'_> {
    /// It was answered.
    pub fn ended(self, status: u16, took: Duration) {
        let status = status.to_string();
        let labels = [self.method, self.route, status.as_str()];
        self.metrics.http_duration.with_label_values(&labels).observe(took.as_secs_f64());
        self.metrics.http_requests.with_label_values(&labels).inc();
        if status.starts_with('5') {
            self.metrics.http_errors.with_label_values(&labels).inc();
        }
    }
}
