//! `/v1/reports/{service}/metrics`: what this agent's probes measured over some minutes, as records of the shape that the monitoring guide gives
//! them. They are made from the buckets of the history: one record for each metric of each instance and bucket.

use super::limits::MAX_PAGE;
use super::operation::{ASK, Operation, json};
use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use super::reports::{self, HOURS, MINUTE_MS, MINUTES};
use super::words::time;
use super::{Picture, Service};
use crate::answers::{MeasurementAnswer, MeasurementsAnswer, MetricType};
use crate::history::bucket::Bucket;
use axum::Json;
use axum::extract::State;
use axum::routing::get;
use quorate_core::{InstanceId, ServiceName, UnixMs};
use std::collections::BTreeMap;

const TYPE: Parameter = Parameter {
    name: "type",
    kind: Kind::Words(|| MetricType::ALL.iter().map(|kind| kind.as_str()).collect()),
    help: "Only these metrics, with commas between.",
};
const INSTANCE: Parameter = Parameter { name: "instance", kind: Kind::Text, help: "Only of this instance." };
const LIMIT: Parameter =
    Parameter { name: "limit", kind: Kind::Count(1, MAX_PAGE), help: "At most so many records in the answer." };
const AFTER: Parameter =
    Parameter { name: "after", kind: Kind::Text, help: "Only records after this one: `next` of the page before." };

/// The records of a service.
pub const MEASUREMENTS: Operation = Operation {
    path: "/v1/reports/{service}/metrics",
    name: "measurements",
    summary: "What this agent's probes of a service measured, as records by instance and time",
    parameters: &[&HOURS, &MINUTES, &TYPE, &INSTANCE, &LIMIT, &AFTER],
    answers: &[json::<MeasurementsAnswer>(200, "The records")],
    faults: &[Fault::UnknownService, Fault::NoHistory],
    handler: || get(measurements),
    ..ASK
};

async fn measurements(
    State(service): State<Service>,
    name: reports::Name,
    parameters: Parameters,
) -> Result<Json<MeasurementsAnswer>, Refusal> {
    let (app, ids) = reports::instances(&service, &name?)?;
    let minutes = reports::minutes(&parameters)?;
    let answer = reports::read(&service, move |service, history| {
        let Picture { view, answer, now } = service.picture();
        let from = UnixMs(now.0.saturating_sub(minutes * MINUTE_MS));
        let mut page = Page::new(&parameters);
        for id in ids.iter().filter(|id| parameters.admits(INSTANCE.name, id.as_str())) {
            if page.is_full() {
                break;
            }
            if page.is_past(id) {
                continue;
            }
            let check = view.instances.get(id).and_then(|found| found.registration.as_ref());
            let check = check.map_or("unknown", |registration| registration.check.kind.name());
            let (width, buckets) = history.probes(id, from, now)?;
            let of = Of { app: &app, instance: id, check, span_ms: width.ms() };
            let records = buckets.iter().flat_map(|(start, bucket)| of.records(*start, bucket));
            records
                .filter(|(kind, _)| parameters.admits(TYPE.name, kind.as_str()))
                .for_each(|(_, record)| page.take(record));
        }
        let (metrics, next) = page.ended();
        Ok(MeasurementsAnswer { view: answer, app_name: app, window_minutes: minutes, metrics, next })
    });
    answer.await.map(Json)
}

/// What the records of one instance have in common.
struct Of<'a> {
    app: &'a ServiceName,
    instance: &'a InstanceId,
    check: &'a str,
    span_ms: u64,
}

impl Of<'_> {
    /// The records of one bucket, in the order of their places.
    fn records(&self, start: u64, bucket: &Bucket) -> Vec<(MetricType, Record)> {
        let mut records = Vec::new();
        let mut push = |metric_type: MetricType, value: f64, sample_count: u64, labels: &[(&str, &str)]| {
            let labels: BTreeMap<String, String> = std::iter::once(("instance_id", self.instance.as_str()))
                .chain(labels.iter().copied())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let words: Vec<&str> = labels.values().map(String::as_str).collect();
            // No id has a space, so places are in the order of their parts.
            let place = format!("{} {start:013} {} {}", self.instance, metric_type.as_str(), words.join(" "));
            let (app_name, timestamp, span_ms) = (self.app.clone(), time(UnixMs(start)), self.span_ms);
            let unit = metric_type.unit();
            let answer =
                MeasurementAnswer { app_name, metric_type, value, unit, labels, timestamp, span_ms, sample_count };
            records.push((metric_type, Record { place, answer }));
        };
        for (kind, code, count) in bucket.failures() {
            let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
            #[allow(clippy::cast_precision_loss, reason = "there are not 2^53 probes")]
            let value = count as f64;
            push(MetricType::Errors, value, count, &[("error_type", kind), ("status_code", &code)]);
        }
        for (mean, count, success) in
            [(bucket.mean_failed_ms(), bucket.failed(), "false"), (bucket.mean_ms(), bucket.passed, "true")]
        {
            if let Some(mean) = mean {
                let labels = [("check_type", self.check), ("success", success)];
                push(MetricType::ResponseTime, mean, count, &labels);
            }
        }
        if let Some(passed) = bucket.passed_ratio() {
            push(MetricType::Status, passed, bucket.checks, &[("check_type", self.check)]);
        }
        records
    }
}

/// A record with its place in the order of all.
struct Record {
    place: String,
    answer: MeasurementAnswer,
}

/// The part of all records that is asked for. Instances that do not belong to it are not read.
struct Page {
    after: Option<String>,
    limit: usize,
    taken: Vec<Record>,
    more: bool,
}

impl Page {
    fn new(parameters: &Parameters) -> Self {
        let limit = parameters.count(LIMIT.name).unwrap_or(MAX_PAGE);
        let after = parameters.text(AFTER.name).map(str::to_owned);
        Self { after, limit: usize::try_from(limit).unwrap_or(usize::MAX), taken: Vec::new(), more: false }
    }

    /// Are all records of this instance on earlier pages?
    fn is_past(&self, id: &InstanceId) -> bool {
        let after = self.after.as_deref().map(|after| after.split(' ').next().unwrap_or_default());
        after.is_some_and(|after| id.as_str() < after)
    }

    fn is_full(&self) -> bool {
        self.more
    }

    fn take(&mut self, record: Record) {
        if self.after.as_ref().is_some_and(|after| record.place <= *after) {
            return;
        }
        if self.taken.len() < self.limit { self.taken.push(record) } else { self.more = true }
    }

    fn ended(self) -> (Vec<MeasurementAnswer>, Option<String>) {
        let next = self.taken.last().filter(|_| self.more).map(|record| record.place.clone());
        (self.taken.into_iter().map(|record| record.answer).collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, ask, get, send, start, view};
    use super::*;
    use crate::access::Scope;
    use crate::agent::clock::wall;
    use crate::answers::{ErrorAnswer, ReportAnswer};
    use quorate_core::{Cause, Outcome, Phase, Timings};
    use quorate_mesh::{InstanceView, MeshView};
    use std::sync::Arc;
    use std::time::Duration;

    fn timed(outcome: Outcome, ms: u64) -> Outcome {
        Outcome { timings: Timings { total: Duration::from_millis(ms), ..Timings::default() }, ..outcome }
    }

    /// Three probes of each of two instances, now; of one a further one an hour ago.
    fn probed() -> Fixture {
        let (fixture, now) = (start(view()), wall());
        let failed = |code| Outcome {
            status_code: code,
            ..timed(Outcome::fail(Phase::Body, Cause::Status, "x", Duration::ZERO), 30)
        };
        let passed = timed(Outcome::pass(Duration::ZERO), 10);
        for id in ["web@10.0.0.1:80", "web@10.0.0.3:80"] {
            let id = InstanceId::new(id).unwrap();
            for outcome in [&passed, &failed(Some(503)), &failed(None)] {
                fixture.history.probed(&id, outcome, now);
            }
        }
        let old = UnixMs(now.0 - 60 * MINUTE_MS);
        fixture.history.probed(&InstanceId::new("web@10.0.0.3:80").unwrap(), &passed, old);
        fixture.history.write(now);
        fixture
    }

    fn shown(record: &MeasurementAnswer) -> String {
        let labels: Vec<_> = record.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (kind, unit) = (record.metric_type.as_str(), serde_json::to_value(record.unit).unwrap());
        format!("{kind} {} {} {} ({})", record.value, unit.as_str().unwrap(), labels.join(" "), record.sample_count)
    }

    #[tokio::test]
    async fn records_have_the_guides_names() {
        let fixture = probed();
        let answer: MeasurementsAnswer =
            get(fixture.api, "/v1/reports/web/metrics?minutes=10&instance=web@10.0.0.3:80", 200).await;
        let found: Vec<_> = answer.metrics.iter().map(shown).collect();
        let id = "instance_id=web@10.0.0.3:80";
        let expected = [
            format!("health_check_errors 1 count error_type=http {id} status_code=none (1)"),
            format!("health_check_errors 1 count error_type=http {id} status_code=503 (1)"),
            format!("health_check_response_time 30 ms check_type=http {id} success=false (2)"),
            format!("health_check_response_time 10 ms check_type=http {id} success=true (1)"),
            format!("health_check_status 0.3333333333333333 status check_type=http {id} (3)"),
        ];
        assert_eq!(found, expected);
        assert_eq!((answer.app_name.as_str(), answer.window_minutes, answer.next), ("web", 10, None));
        let body = ask(fixture.api, "GET /v1/reports/web/metrics?minutes=10", &[]).await.body;
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let record = json["metrics"][2].as_object().unwrap();
        let names = ["app_name", "labels", "metric_type", "sample_count", "span_ms", "timestamp", "unit", "value"];
        assert_eq!(record.keys().map(String::as_str).collect::<Vec<_>>(), names);
        assert_eq!((&record["value"], &record["unit"]), (&30.into(), &"ms".into()), "{body}");
    }

    #[tokio::test]
    async fn a_window_is_of_minutes_or_of_hours() {
        let fixture = probed();
        let count = |path: &'static str| {
            let api = fixture.api;
            async move {
                let answer: MeasurementsAnswer = get(api, path, 200).await;
                answer.metrics.iter().map(|record| record.sample_count).sum::<u64>()
            }
        };
        assert_eq!(count("/v1/reports/web/metrics?minutes=30&type=health_check_status").await, 6);
        assert_eq!(count("/v1/reports/web/metrics?minutes=90&type=health_check_status").await, 7);
        assert_eq!(count("/v1/reports/web/metrics?hours=2&type=health_check_status").await, 7);
        assert_eq!(count("/v1/reports/web/metrics?type=health_check_errors,health_check_response_time").await, 11);
        for path in ["/v1/reports/web", "/v1/reports/web/metrics"] {
            let both: ErrorAnswer = get(fixture.api, &format!("{path}?hours=1&minutes=60"), 400).await;
            assert!(both.detail.contains("hours and minutes say the same"), "{both:?}");
        }
        let brief: ReportAnswer = get(fixture.api, "/v1/reports/web?minutes=30", 200).await;
        let long: ReportAnswer = get(fixture.api, "/v1/reports/web?minutes=90", 200).await;
        assert_eq!((brief.total_health_checks, brief.report_period_hours), (6, 0.5));
        assert_eq!((long.total_health_checks, long.report_period_hours), (7, 1.5));
        let hours = ask(fixture.api, "GET /v1/reports/web?hours=2", &[]).await.body;
        assert!(hours.contains("\"report_period_hours\":2,"), "a whole number, as the guide has it: {hours}");
    }

    /// The same mesh, with these tags of one instance.
    fn placed(mut view: MeshView, instance: &str, tags: &[&str]) -> MeshView {
        let instances = Arc::make_mut(&mut view.instances);
        let (_, found) = instances.iter_mut().find(|(id, _)| id.as_str() == instance).unwrap();
        let mut changed = InstanceView::clone(found);
        let registration = changed.registration.as_mut().map(Arc::make_mut).unwrap();
        registration.placement.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        *found = Arc::new(changed);
        view
    }

    #[tokio::test]
    async fn a_service_is_held_to_its_objective() {
        let fixture = start(placed(view(), "db@10.0.0.2:5432", &["blue", "slo.objective=0.99"]));
        let budget = async |service: &str| {
            let slo = get::<ReportAnswer>(fixture.api, &format!("/v1/reports/{service}"), 200).await.slo;
            (slo.objective, slo.error_budget_remaining.map(|left| (left * 1e6).round() / 1e6))
        };
        assert_eq!(budget("web").await, (0.995, None), "nothing is known yet");
        assert_eq!(budget("db").await, (0.99, None), "as others say who are home to it");
        let young = get::<ReportAnswer>(fixture.api, "/v1/reports/web", 200).await;
        assert_eq!((young.slo.known_ms, young.slo.coverage, young.window_coverage["90d"]), (0, 0.0, 0.0));
        let body = r#"{"service":"web","slo":{"objective":0.9}}"#;
        let token = format!("Authorization: Bearer {}", fixture.token(Scope::Register));
        let done =
            send(fixture.api, "PUT /v1/instances/web@more", &[&token, "Content-Type: application/json"], body).await;
        assert_eq!(done.status, 200, "{}", done.body);
        let now = wall();
        fixture.history.observe(&view(), UnixMs(now.0 - 10 * MINUTE_MS));
        fixture.history.write(now);
        assert_eq!(budget("web").await, (0.9, Some(-4.0)), "one of two is down, five times what may be");
        let young = get::<ReportAnswer>(fixture.api, "/v1/reports/web", 200).await;
        let known = 10 * MINUTE_MS..11 * MINUTE_MS;
        assert!(known.contains(&young.slo.known_ms), "ten minutes of each instance: {:?}", young.slo);
        assert_eq!((young.slo.coverage * 43_200.0).floor(), 10.0, "minutes of thirty days");
        let minutes = ["1h", "24h", "30d"].map(|word| young.window_coverage[word]);
        let expected = [10.0 / 60.0, 10.0 / 1440.0, young.slo.coverage];
        assert!(minutes.iter().zip(expected).all(|(found, wanted)| (found / wanted - 1.0).abs() < 0.1), "{minutes:?}");
        let page = ask(fixture.api, "GET /metrics", &[]).await.body;
        assert!(page.contains("\nquorate_service_objective_ratio{service=\"web\"} 0.9\n"), "{page}");
    }

    #[tokio::test]
    async fn pages_hold_everything_once() {
        let fixture = probed();
        let all: MeasurementsAnswer = get(fixture.api, "/v1/reports/web/metrics", 200).await;
        assert_eq!(all.metrics.len(), 12);
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/reports/web/metrics?limit=5{after}");
            let page: MeasurementsAnswer = get(fixture.api, &path, 200).await;
            assert!(page.metrics.len() <= 5);
            found.extend(page.metrics);
            let Some(next) = page.next else { break };
            after = format!("&after={}", next.replace(' ', "%20"));
        }
        assert_eq!(found, all.metrics);
    }
}
