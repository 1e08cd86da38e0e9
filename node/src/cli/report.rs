//! `quorate report`: what has been of a service, over hours to months.

use super::client::path_part;
use super::question::{Question, Source, Watch, ask};
use super::span;
use super::style::clean;
use crate::answers::{ReportAnswer, SloAnswer, ViewAnswer};
use std::fmt::Write;
use std::process::ExitCode;

/// What to report on.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Uptime is the time in which instances were up, degraded or partial, of the time in which they were that or down; time in which \
                        nobody could know is charged to nobody. -o wide adds how each observer voted.\n\n\
                        Exit codes:\n  0  told\n  1  there is no such service or no history, or the agent cannot be reached\n  2  usage"
)]
pub struct Args {
    /// The service
    service: String,
    /// The time, in hours: up to 2160, which is 90 days
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=2160))]
    hours: u64,
    /// The time, in minutes instead
    #[arg(long, conflicts_with = "hours", value_parser = clap::value_parser!(u64).range(1..=129_600))]
    minutes: Option<u64>,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    watch: Watch,
}

/// Asks and prints.
///
/// # Errors
/// When the agent cannot be reached or keeps no history.
pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let minutes = args.minutes.unwrap_or(args.hours * 60);
    ask(&Report { service: args.service.clone(), minutes }, &args.source, args.watch).await
}

struct Report {
    service: String,
    minutes: u64,
}

impl Question for Report {
    type Answer = ReportAnswer;

    fn path(&self) -> String {
        // Agents of earlier releases know hours alone.
        let span = match self.minutes % 60 {
            0 => format!("hours={}", self.minutes / 60),
            _ => format!("minutes={}", self.minutes),
        };
        format!("/v1/reports/{}?{span}", path_part(&self.service))
    }

    fn view<'a>(&self, answer: &'a ReportAnswer) -> &'a ViewAnswer {
        &answer.view
    }

    fn text(&self, answer: &ReportAnswer) -> String {
        text(answer)
    }

    fn wide(&self, answer: &ReportAnswer) -> String {
        format!("{}{}", text(answer), observers(answer))
    }

    fn names(&self, answer: &ReportAnswer) -> Vec<String> {
        answer.instances.iter().map(|instance| instance.instance.to_string()).collect()
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "no data".to_owned(), |value| format!("{:.3} %", (value * 1000.0).floor() / 1000.0))
}

fn milliseconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"))
}

/// Of how much time the budget's uptime is.
fn known(slo: &SloAnswer) -> String {
    format!("of which {} are known", span::words(slo.known_ms))
}

fn text(answer: &ReportAnswer) -> String {
    let hours = answer.report_period_hours;
    let span = if hours.fract() == 0.0 { format!("{hours} h") } else { format!("{:.0} min", hours * 60.0) };
    let mut text = format!("{} over the last {span}\n", clean(answer.app_name.as_str()));
    let windows = ["1h", "24h", "7d", "30d", "90d"].map(|word| {
        let value = answer.uptime_windows.get(word).copied().flatten();
        format!("{word} {}", percent(value))
    });
    let _ = writeln!(text, "  uptime     {}   ({})", percent(answer.uptime_percent), windows.join(", "));
    let left = answer.slo.error_budget_remaining.map_or_else(
        || "no data".to_owned(),
        |left| {
            let left = (left * 1000.0).floor() / 10.0;
            format!("{left:.1} % left of the error budget of 30 days, {}", known(&answer.slo))
        },
    );
    let _ = writeln!(text, "  objective  {} %   ({left})", (answer.slo.objective * 1e8).round() / 1e6);
    let _ = writeln!(
        text,
        "  probes     {} by {}, {} failed",
        answer.total_health_checks,
        clean(&answer.view.name),
        answer.failed_checks
    );
    let [mean, p50, p95, p99] = [
        answer.avg_response_time_ms,
        answer.p50_response_time_ms,
        answer.p95_response_time_ms,
        answer.p99_response_time_ms,
    ]
    .map(milliseconds);
    let _ = writeln!(text, "  responses  {mean} on average; 50 of 100 within {p50}, 95 within {p95}, 99 within {p99}");
    for (kind, count) in &answer.error_breakdown {
        let _ = writeln!(text, "  failed     {count} by {}", clean(kind));
    }
    for instance in &answer.instances {
        let (uptime, p95) = (percent(instance.uptime_percent), milliseconds(instance.p95_response_time_ms));
        let _ = writeln!(text, "  {}   up {uptime}, p95 {p95}", instance.instance);
    }
    for incident in answer.incidents.iter().take(20) {
        let ended = if incident.to.is_some() { "" } else { ", and still is" };
        let class = incident.class.as_deref().map_or_else(String::new, |class| format!(" ({})", clean(class)));
        let (since, lasted) = (span::clock(&incident.from), span::words(incident.duration_ms));
        let _ = writeln!(text, "  down       {} at {since} for {lasted}{ended}{class}", incident.instance);
    }
    text
}

/// How each observer voted, those that saw most failures first.
fn observers(answer: &ReportAnswer) -> String {
    let mut observers: Vec<_> = answer.observers.iter().collect();
    observers.sort_by_key(|observer| std::cmp::Reverse(observer.fail_ms));
    let mut text = String::new();
    for observer in observers {
        let probes = match (observer.total_health_checks, observer.successful_checks) {
            (Some(all), Some(passed)) => format!(", {all} probes, {} failed", all - passed),
            _ => String::new(),
        };
        let (name, zone) = (clean(&observer.name), clean(observer.zone.as_str()));
        let (passed, failed) = (percent(observer.pass_percent), span::words(observer.fail_ms));
        let _ = writeln!(text, "  observer   {name} in {zone}: voted pass {passed}, fail for {failed}{probes}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_data_is_said_and_nothing_is_rounded_up() {
        assert_eq!((percent(None), percent(Some(99.9999))), ("no data".to_owned(), "99.999 %".to_owned()));
        assert_eq!((milliseconds(None), milliseconds(Some(1.25))), ("-".to_owned(), "1.2 ms".to_owned()));
    }

    #[test]
    fn a_young_budget_says_how_young() {
        let view = serde_json::to_value(crate::cli::fabricated::view()).unwrap();
        let slo = serde_json::json!({
            "objective": 0.995, "error_budget_remaining": 0.99, "known_ms": 7_500_000, "coverage": 0.003,
        });
        let answer = serde_json::json!({
            "view": view, "app_name": "web", "report_period_hours": 24, "uptime_percent": 99.995,
            "total_health_checks": 0, "successful_checks": 0, "failed_checks": 0, "avg_response_time_ms": null,
            "p50_response_time_ms": null, "p95_response_time_ms": null, "p99_response_time_ms": null,
            "error_breakdown": {}, "generated_at": "", "sample_count": 0, "uptime_windows": {}, "window_coverage": {},
            "slo": slo, "instances": [], "samples": [], "observers": [], "incidents": [],
        });
        let said = text(&serde_json::from_value(answer).unwrap());
        assert!(said.contains("99.0 % left of the error budget of 30 days, of which 2 h 5 min are known"), "{said}");
    }
}
