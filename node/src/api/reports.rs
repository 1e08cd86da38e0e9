//! `/v1/reports/{service}` and `/v1/badges`: what has been.

use super::parameters::{Kind, Parameter, Parameters};
use super::refusal::{Fault, Refusal};
use super::words::time;
use super::{Picture, Service, health};
use crate::answers::{IncidentAnswer, InstanceReport, ObserverReport, ReportAnswer, SampleAnswer, SloAnswer, Status};
use crate::config::Objective;
use crate::history::History;
use crate::history::bucket::Bucket;
use crate::history::timeline::{Uptime, incidents, ratio, uptime};
use crate::spelling::nearest;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use quorate_core::{AgentId, InstanceId, ServiceName, UnixMs};
use quorate_mesh::{MeshView, ObserverView};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A minute.
pub const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// The windows of every report, in hours.
const WINDOWS: [(&str, u64); 5] = [("1h", 1), ("24h", 24), ("7d", 168), ("30d", BUDGET_HOURS), ("90d", 2160)];
/// The window of error budgets.
const BUDGET_HOURS: u64 = 720;
/// Incidents in one report.
const MAX_INCIDENTS: usize = 1000;

/// Of how many minutes a report may be: 90 days, for which buckets are kept.
const MAX_MINUTES: u64 = 2160 * 60;

/// `hours`
pub const HOURS: Parameter = Parameter {
    name: "hours",
    kind: Kind::Count(1, 2160),
    help: "The time to report on, in hours; 24 unless said otherwise.",
};
/// `minutes`
pub const MINUTES: Parameter =
    Parameter { name: "minutes", kind: Kind::Count(1, MAX_MINUTES), help: "The same in minutes; one of both." };
/// `window`
pub const WINDOW: Parameter = Parameter {
    name: "window",
    kind: Kind::Word(|| WINDOWS.iter().map(|(word, _)| *word).collect()),
    help: "The time that an uptime is of; 24h unless said otherwise.",
};

/// The service in the path.
pub type Name = Result<Path<String>, PathRejection>;

/// One service over some hours.
pub async fn report(
    State(service): State<Service>,
    name: Name,
    parameters: Parameters,
) -> Result<Json<ReportAnswer>, Refusal> {
    let (app, ids) = instances(&service, &name?)?;
    let minutes = minutes(&parameters)?;
    read(&service, move |service, history| make(service, history, app, &ids, minutes)).await.map(Json)
}

/// How far back is asked for.
///
/// # Errors
/// When it is said twice.
pub fn minutes(parameters: &Parameters) -> Result<u64, Refusal> {
    match (parameters.count(HOURS.name), parameters.count(MINUTES.name)) {
        (Some(_), Some(_)) => Err(Refusal::bad_request("hours and minutes say the same; give one of them")),
        (hours, None) => Ok(hours.unwrap_or(24) * 60),
        (None, Some(minutes)) => Ok(minutes),
    }
}

/// A picture of one service's uptime.
pub async fn uptime_badge(
    State(service): State<Service>,
    name: Name,
    parameters: Parameters,
) -> Result<Response, Refusal> {
    let (_, ids) = instances(&service, &name?)?;
    let found =
        WINDOWS.into_iter().find(|(word, _)| parameters.has(WINDOW.name) && parameters.admits(WINDOW.name, word));
    let (word, hours) = found.unwrap_or(("24h", 24));
    let percent =
        read(&service, move |service, history| Ok(window(history, &ids, service.picture().now, hours)?.percent()))
            .await?;
    let (text, colour) = match percent {
        Some(percent) if percent >= 99.9 => (shown(percent), "#2a7d2a"),
        Some(percent) if percent >= 99.0 => (shown(percent), "#8a6d00"),
        Some(percent) => (shown(percent), "#a32a2a"),
        None => ("no data".to_owned(), "#666666"),
    };
    Ok(badge(&format!("uptime {word}"), &text, colour))
}

/// A picture of how one service is.
pub async fn health_badge(State(service): State<Service>, name: Name) -> Result<Response, Refusal> {
    let (app, _) = instances(&service, &name?)?;
    let Picture { view, .. } = service.picture();
    let summaries = health::summaries(&view, false);
    let status =
        summaries.iter().find(|summary| summary.service == app).map_or(Status::Unknown, |summary| summary.status);
    let colour = match status {
        Status::Up => "#2a7d2a",
        Status::Degraded | Status::Starting => "#8a6d00",
        Status::Down => "#a32a2a",
        Status::Unknown => "#666666",
    };
    Ok(badge(app.as_str(), status.as_str(), colour))
}

/// The history is read on a thread of its own: it may have to wait for the disk.
pub async fn read<T: Send + 'static>(
    service: &Service,
    work: impl FnOnce(&Service, &History) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let service = service.clone();
    let done = tokio::task::spawn_blocking(move || match &service.0.control.history {
        Some(history) => work(&service, &Arc::clone(history)).map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "the history could not be read");
            Refusal::internal("the history could not be read")
        }),
        None => Err(Refusal::new(
            Fault::NoHistory,
            "this agent keeps no history",
            "set `history.enabled = true` and start it anew",
        )),
    });
    done.await.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())))
}

/// The instances of a service as the mesh knows them now.
pub fn instances(service: &Service, name: &str) -> Result<(ServiceName, Vec<InstanceId>), Refusal> {
    let Picture { view, .. } = service.picture();
    let of_service: Vec<_> = view.instances.values().filter(|instance| instance.service.as_str() == name).collect();
    match of_service.first() {
        Some(first) => {
            Ok((first.service.clone(), of_service.iter().map(|instance| instance.instance.clone()).collect()))
        }
        None => {
            let known = view.instances.values().map(|instance| instance.service.as_str());
            let detail = format!("there is no service {:?}", name.chars().take(64).collect::<String>());
            let refusal = Refusal::new(Fault::UnknownService, detail, "GET /v1/services lists them");
            Err(refusal.nearest(nearest(name, known, 3)))
        }
    }
}

/// What the service is held to: the strictest of what this agent or any home of its instances states, or the default.
fn objective(here: Option<Objective>, view: &MeshView, app: &ServiceName) -> Objective {
    here.max(Objective::all_told(view).get(app).copied()).unwrap_or_default()
}

fn make(
    service: &Service,
    history: &History,
    app: ServiceName,
    ids: &[InstanceId],
    minutes: u64,
) -> anyhow::Result<ReportAnswer> {
    let Picture { view, answer, now } = service.picture();
    let from = UnixMs(now.0.saturating_sub(minutes * MINUTE_MS));
    let (mut whole, mut counted, mut reports, mut faults) =
        (Bucket::default(), Uptime::default(), Vec::new(), Vec::new());
    let (mut samples, mut span_ms) = (BTreeMap::<u64, Bucket>::new(), 0);
    for id in ids {
        let (width, buckets) = history.probes(id, from, now)?;
        let mut bucket = Bucket::default();
        buckets.values().for_each(|one| bucket.merge(one));
        buckets.iter().for_each(|(start, one)| samples.entry(*start).or_default().merge(one));
        span_ms = width.ms();
        let moments = history.moments(id, from, now)?;
        let time_up = uptime(&moments, from, now);
        reports.push(InstanceReport {
            instance: id.clone(),
            uptime_percent: time_up.percent(),
            up_ms: time_up.up_ms,
            down_ms: time_up.down_ms,
            total_health_checks: bucket.checks,
            successful_checks: bucket.passed,
            avg_response_time_ms: bucket.mean_ms(),
            p50_response_time_ms: bucket.percentile_ms(50),
            p95_response_time_ms: bucket.percentile_ms(95),
            p99_response_time_ms: bucket.percentile_ms(99),
        });
        faults.extend(incidents(&moments, from, now).into_iter().map(|incident| (id, incident)));
        whole.merge(&bucket);
        counted = counted.and(time_up);
    }
    faults.sort_by_key(|(_, incident)| std::cmp::Reverse(incident.from));
    let incidents = faults.into_iter().take(MAX_INCIDENTS).map(|(id, incident)| IncidentAnswer {
        instance: id.clone(),
        class: incident.class,
        from: time(incident.from),
        to: incident.to.map(time),
        duration_ms: incident.to.unwrap_or(now).0.saturating_sub(incident.from.0),
    });
    let (mut windows, mut window_coverage, mut budget) = (BTreeMap::new(), BTreeMap::new(), Uptime::default());
    for (word, hours) in WINDOWS {
        let found = window(history, ids, now, hours)?;
        windows.insert(word.to_owned(), found.percent());
        window_coverage.insert(word.to_owned(), coverage(found, ids.len(), hours));
        if hours == BUDGET_HOURS {
            budget = found;
        }
    }
    let objective = objective(service.0.control.registrar.objectives().get(&app).copied().flatten(), &view, &app);
    let slo = SloAnswer {
        objective: objective.ratio(),
        error_budget_remaining: budget.percent().map(|percent| objective.budget_left(percent)),
        known_ms: budget.known_ms() / count(ids.len()),
        coverage: coverage(budget, ids.len(), BUDGET_HOURS),
    };
    Ok(ReportAnswer {
        app_name: app,
        slo,
        report_period_hours: ratio(minutes, 60),
        uptime_percent: counted.percent(),
        total_health_checks: whole.checks,
        successful_checks: whole.passed,
        failed_checks: whole.checks - whole.passed,
        avg_response_time_ms: whole.mean_ms(),
        p50_response_time_ms: whole.percentile_ms(50),
        p95_response_time_ms: whole.percentile_ms(95),
        p99_response_time_ms: whole.percentile_ms(99),
        error_breakdown: whole.errors.clone(),
        generated_at: time(now),
        sample_count: whole.passed,
        uptime_windows: windows,
        window_coverage,
        instances: reports,
        samples: samples.iter().map(|(start, bucket)| sample(*start, span_ms, bucket)).collect(),
        observers: observers(history, &view, ids, (from, now), &whole)?,
        incidents: incidents.collect(),
        view: answer,
    })
}

fn sample(start: u64, span_ms: u64, bucket: &Bucket) -> SampleAnswer {
    SampleAnswer {
        from: time(UnixMs(start)),
        span_ms,
        total_health_checks: bucket.checks,
        successful_checks: bucket.passed,
        avg_response_time_ms: bucket.mean_ms(),
        p50_response_time_ms: bucket.percentile_ms(50),
        p95_response_time_ms: bucket.percentile_ms(95),
        p99_response_time_ms: bucket.percentile_ms(99),
    }
}

/// Everyone who observes one of the instances now, by its votes over time.
fn observers(
    history: &History,
    view: &MeshView,
    ids: &[InstanceId],
    (from, to): (UnixMs, UnixMs),
    own: &Bucket,
) -> anyhow::Result<Vec<ObserverReport>> {
    let mut voted: BTreeMap<(&str, AgentId), (&ObserverView, usize, Uptime)> = BTreeMap::new();
    for instance in ids.iter().filter_map(|id| view.instances.get(id)) {
        for observer in &instance.observers {
            let moments = history.votes(&instance.instance, observer.agent, from, to)?;
            let entry = voted.entry((&observer.name, observer.agent)).or_insert((observer, 0, Uptime::default()));
            entry.1 += 1;
            entry.2 = entry.2.and(uptime(&moments, from, to));
        }
    }
    let report = |(observer, instances, voted): (&ObserverView, usize, Uptime)| {
        let own = (observer.agent == view.agent).then_some(own);
        ObserverReport {
            agent: observer.agent,
            name: observer.name.clone(),
            zone: observer.zone.clone(),
            instances,
            pass_percent: voted.percent(),
            pass_ms: voted.up_ms,
            fail_ms: voted.down_ms,
            total_health_checks: own.map(|own| own.checks),
            successful_checks: own.map(|own| own.passed),
        }
    };
    Ok(voted.into_values().map(report).collect())
}

fn window(history: &History, ids: &[InstanceId], now: UnixMs, hours: u64) -> anyhow::Result<Uptime> {
    let from = UnixMs(now.0.saturating_sub(hours * HOUR_MS));
    let mut whole = Uptime::default();
    for id in ids {
        whole = whole.and(uptime(&history.moments(id, from, now)?, from, now));
    }
    Ok(whole)
}

/// The part of a window that the uptime of so many instances is of.
fn coverage(known: Uptime, instances: usize, hours: u64) -> f64 {
    ratio(known.known_ms(), count(instances).saturating_mul(hours * HOUR_MS)).min(1.0)
}

/// How many instances there are; one at least, since it is divided by.
fn count(instances: usize) -> u64 {
    u64::try_from(instances).unwrap_or(u64::MAX).max(1)
}

/// Rounded down: 99.99 % is not 100 %.
fn shown(percent: f64) -> String {
    format!("{:.2} %", (percent * 100.0).floor() / 100.0)
}

/// Two fields, one beside the other. What stands in them is of closed lists, or a name without characters that mean something in XML.
fn badge(label: &str, text: &str, colour: &str) -> Response {
    let width = |text: &str| 7 * text.chars().count() + 12;
    let (left, right) = (width(label), width(text));
    let (whole, middle_left, middle_right) = (left + right, left / 2, left + right / 2);
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" aria-label=\"{label}: {text}\">\
         <title>{label}: {text}</title><rect width=\"{left}\" height=\"20\" fill=\"#444444\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#ffffff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\">\
         <text x=\"{middle_left}\" y=\"14\">{label}</text><text x=\"{middle_right}\" y=\"14\">{text}</text></g></svg>"
    );
    ([(header::CONTENT_TYPE, SVG)], svg).into_response()
}

/// The media type of badges.
pub const SVG: &str = "image/svg+xml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_not_rounded_up() {
        assert_eq!(
            (shown(99.999), shown(100.0), shown(0.0)),
            ("99.99 %".into(), "100.00 %".into(), "0.00 %".to_owned())
        );
    }
}
