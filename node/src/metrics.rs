//! Metrics: one catalogue of names, help and labels, from which everything that `/metrics` shows is made.
//!
//! What counts as it happens is in [`live`]; everything else is read at the moment of the scrape, in [`sample`]. Labels are bounded: words
//! of closed enums, and the instances this agent is home to or observes.

mod counted;
mod custom;
mod dashboard;
mod live;
mod named;
mod open_metrics;
mod rules;
mod sample;
mod sheet;

pub use counted::Counted;
#[cfg(test)]
pub use custom::MAX_SERIES;
pub use custom::{LABEL_PATTERN, MAX_LABELS, MAX_STEP, NAME_PATTERN, NotCounted, RESERVED, VALUE_PATTERN};
pub use live::{CallEnd, Metrics};
#[cfg(feature = "statsd")]
pub use named::ENVIRONMENT;
pub use named::{OWN, named};
pub use open_metrics::{OPEN_METRICS, open_metrics};
pub use sample::{Sources, families, render};
pub use sheet::CONTENT_TYPE;

use std::process::ExitCode;

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from zero at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, kind: Kind::Counter, help, labels }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, kind: Kind::Gauge, help, labels }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Described {
    Described { name, kind: Kind::Histogram, help, labels }
}

const INSTANCE: &[&str] = &["service", "instance_id"];
const JOB: &[&str] = &["queue", "job_name"];
const CALL: &[&str] = &["service", "operation"];
const HTTP: &[&str] = &["method", "route", "status_code"];

/// Every metric of the agent.
pub const CATALOGUE: &[Described] = &[
    gauge("quorate_build_info", &["version"], "Always 1; the label says which version runs."),
    gauge("quorate_start_time_seconds", &[], "When the process began, Unix time."),
    gauge("quorate_ready", &[], "1 while /readyz answers 200."),
    gauge("quorate_certificate_expiry_timestamp_seconds", &[], "When the agent's certificate expires, Unix time."),
    // The mesh, as this agent sees it.
    gauge("quorate_quorate", &[], "1 while the agent reaches more than half of the roster."),
    gauge("quorate_settled", &[], "1 once the agent has caught up with the mesh since its start."),
    gauge("quorate_roster_members", &[], "Agents that count: admitted, and neither left nor forgotten."),
    gauge(
        "quorate_roster_epoch",
        &[],
        "The number of the roster that the agent counts by; zero when it knows none yet.",
    ),
    gauge("quorate_members", &["state"], "Agents by membership: alive, suspect, failed, left."),
    gauge("quorate_view_age_seconds", &[], "Time since the agent last made sure that its picture is what it knows."),
    gauge("quorate_view_index", &[], "Grows whenever the picture changes."),
    gauge("quorate_instances", &["verdict"], "Instances of services by verdict, hosts left out."),
    gauge("quorate_hosts", &["verdict"], "Hosts by verdict."),
    gauge("quorate_instances_stale", &[], "Instances whose verdict too few observers can confirm."),
    gauge("quorate_instances_flapping", &[], "Instances whose verdict changes too often."),
    gauge(
        "quorate_instance_up",
        INSTANCE,
        "1 for up, degraded or partial, 0 for down, starting or unknown; instances this agent is home to, while nobody drains or works on them and their check is not switched off.",
    ),
    gauge(
        "quorate_service_objective_ratio",
        &["service"],
        "The part of the time in which the service is to be up; services with an instance here.",
    ),
    gauge("quorate_instance_stale", INSTANCE, "1 while the verdict is stale; instances this agent is home to."),
    gauge("quorate_instance_term", INSTANCE, "The number of the verdict; instances this agent is home to."),
    counter("quorate_events_total", &["type"], "Events of this agent by type."),
    counter(
        "quorate_failure_events_total",
        &["app_name", "failure_type", "severity"],
        "Failure events of this agent's own probes, by what failed and how grave it is.",
    ),
    counter(
        "quorate_failure_events_untold_total",
        &[],
        "Failures that were worth an event in /v1/events, and were too many to be told there.",
    ),
    counter("quorate_verdict_changes_total", &["verdict"], "Changes of verdict seen, by the new verdict."),
    // Probes of this agent.
    gauge(
        "health_check_status",
        &["app_name", "instance_id", "check_type"],
        "1 when this agent's last probe passed, 0 when it failed.",
    ),
    gauge("quorate_probe_last_duration_seconds", INSTANCE, "How long this agent's last probe took."),
    gauge("quorate_probe_last_timestamp_seconds", INSTANCE, "When this agent's last probe ended, Unix time."),
    histogram(
        "health_check_response_time_seconds",
        &["app_name", "check_type", "success"],
        "How long probes take, all phases and retries together.",
    ),
    histogram(
        "quorate_probe_first_byte_seconds",
        &["check"],
        "How long the first byte of an answer takes once a probe's request is sent, where a check has both.",
    ),
    counter(
        "health_check_errors_total",
        &["app_name", "error_type", "status_code"],
        "Failed probes by what failed, and by the status that came, or none.",
    ),
    histogram(
        "external_call_duration_seconds",
        CALL,
        "How long calls to others take: probes, and what callers report.",
    ),
    counter(
        "external_calls_total",
        &["service", "operation", "status"],
        "Calls to others: success, error, or neutral.",
    ),
    counter("external_call_errors_total", &["service", "operation", "error_type"], "Calls to others that failed."),
    counter(
        "queue_jobs_total",
        &["queue", "status"],
        "Jobs of the agent's queues: completed, failed. The queue of probes.",
    ),
    histogram("queue_job_duration_seconds", JOB, "How long jobs of those queues take."),
    gauge("queue_jobs_active", &["queue"], "Jobs of those queues that run."),
    counter("queue_jobs_failed_total", JOB, "Jobs of those queues that failed: probes of what is down."),
    gauge("quorate_pool_usage_ratio", &["pool"], "The share of the places of a pool that is taken, 0 to 1."),
    gauge(
        "circuit_breaker_state",
        &["service"],
        "0 closed, 1 half-open, 2 open for callers on this host: the best of the instances of a service.",
    ),
    gauge("circuit_breaker_instance_state", INSTANCE, "The same of one instance."),
    counter("circuit_breaker_rejects_total", &["service"], "Calls of this host that a breaker rejected."),
    counter("circuit_breaker_unguarded_total", &[], "Calls let through without a breaker, because there are too many."),
    counter(
        "quorate_probe_results_total",
        &["check", "result"],
        "Probes by check and result: pass, protected, warn, fail.",
    ),
    counter("quorate_probe_failures_total", &["phase"], "Failed probes by the phase they reached."),
    counter("quorate_probe_panics_total", &[], "Probes that broke off by a fault of the agent."),
    counter("quorate_probe_attempts_total", &[], "Attempts, retries included."),
    counter("quorate_probe_timeouts_total", &[], "Failed probes whose deadline passed."),
    counter("quorate_probe_waits_total", &[], "Probes that had to wait for their turn."),
    counter("quorate_probe_wait_seconds_total", &[], "Time spent waiting for a turn."),
    counter("quorate_probe_limit_reached_total", &[], "Probes given up because no turn came within their timeout."),
    counter("quorate_probe_dns_lookups_total", &[], "Names asked of the resolver."),
    counter("quorate_probe_dns_cache_hits_total", &[], "Names found in the cache."),
    counter("quorate_probe_reused_connections_total", &[], "Requests over a kept connection."),
    gauge("quorate_probes_running", &[], "Probes running."),
    gauge("quorate_probes_waiting", &[], "Probes waiting for their turn."),
    // The engine.
    counter("quorate_engine_proposals_total", &[], "Verdicts proposed."),
    counter("quorate_engine_signatures_total", &[], "Signatures given."),
    counter("quorate_engine_refusals_total", &[], "Signatures refused."),
    counter("quorate_engine_certificates_made_total", &[], "Certificates brought about."),
    counter("quorate_engine_certificates_taken_total", &[], "Certificates taken from others."),
    counter("quorate_engine_certificates_refused_total", &[], "Certificates that did not hold."),
    counter("quorate_engine_roll_calls_total", &[], "Roll calls made."),
    counter("quorate_engine_roll_calls_quorate_total", &[], "Roll calls that found more than half of the roster."),
    counter("quorate_engine_epoch_attempts_total", &[], "Attempts of this agent to have the roster changed."),
    counter("quorate_engine_stalls_total", &[], "Times the agent was held up."),
    counter("quorate_engine_probes_total", &[], "Probes started."),
    counter(
        "quorate_engine_probes_inconclusive_total",
        &[],
        "Outcomes set aside because the agent was held up meanwhile.",
    ),
    counter(
        "quorate_engine_second_opinions_asked_total",
        &[],
        "Times the other observers of an instance were asked to probe it at once.",
    ),
    counter(
        "quorate_engine_second_opinions_given_total",
        &[],
        "Probes made at once because another observer asked for them.",
    ),
    counter("quorate_engine_renewals_total", &[], "Times the agent was declared failed while alive."),
    counter("quorate_engine_undead_filtered_total", &[], "Misdirected notices of death held back."),
    counter("quorate_engine_swim_probes_failed_total", &[], "SWIM probes without an answer."),
    counter("quorate_engine_batches_taken_total", &[], "Batches of records taken."),
    counter("quorate_engine_batches_refused_total", &[], "Batches whose signature, size or order was wrong."),
    counter("quorate_engine_packets_malformed_total", &[], "Packets that could not be read."),
    counter(
        "quorate_engine_packets_refused_total",
        &[],
        "Packets from outside the roster, or claiming to be another's.",
    ),
    counter(
        "quorate_engine_syncs_spared_total",
        &[],
        "Comparisons with other agents put off, since enough had been begun.",
    ),
    counter(
        "quorate_engine_relays_spared_total",
        &[],
        "Batches left to gossip, since enough had been passed on at once.",
    ),
    counter("quorate_engine_limits_hit_total", &[], "Times a named limit was hit."),
    gauge("quorate_engine_local_health", &[], "Lifeguard's local health, 0 (well) to 7."),
    gauge("quorate_engine_gossip_backlog", &[], "Batches and certificates still to be passed on."),
    gauge("quorate_engine_timers", &[], "Timers pending."),
    gauge("quorate_engine_records", &[], "Records held."),
    histogram(
        "quorate_engine_turn_seconds",
        &[],
        "How long the engine's turns take, from the first input to the last output.",
    ),
    histogram(
        "quorate_probe_lag_seconds",
        &[],
        "How late probes began after they were due; waiting for a turn comes on top.",
    ),
    histogram("quorate_timer_lateness_seconds", &[], "How late the engine's timers were, where they were late."),
    histogram("quorate_persist_duration_seconds", &[], "How long it takes to store the state durably."),
    counter("quorate_persist_failures_total", &[], "Times the state could not be stored."),
    gauge("quorate_persisted_bytes", &[], "Size of the stored state."),
    gauge(
        "quorate_unstored_files",
        &[],
        "Files of the data directory whose last write failed; /readyz?verbose names them.",
    ),
    gauge("quorate_recording", &[], "1 while the engine's inputs are recorded."),
    gauge("quorate_recorded_bytes", &[], "Size of the recording."),
    counter("quorate_recording_failures_total", &[], "Recordings that could not be begun or continued."),
    counter("quorate_exported_total", &["output"], "Values and spans that outputs have handed over."),
    counter("quorate_export_dropped_total", &["output"], "Values and spans that could not be handed over."),
    // The transport.
    gauge("quorate_links", &[], "Links that are up."),
    gauge("quorate_links_older_version", &[], "Of those, the ones to agents that speak only older wire versions."),
    counter("quorate_transport_packets_total", &["kind", "direction"], "Datagrams and messages, in and out."),
    counter("quorate_transport_bytes_total", &["kind", "direction"], "Bytes in those."),
    counter("quorate_transport_dropped_total", &["reason"], "Datagrams and messages dropped."),
    counter("quorate_transport_dials_total", &["result"], "Dials that ended in a link (ok) and that did not (failed)."),
    counter(
        "quorate_transport_events_total",
        &["event"],
        "Links accepted and lost, challenges, retries, refused streams.",
    ),
    counter("quorate_link_refusals_total", &["reason"], "Links refused, by either side."),
    counter("quorate_identity_conflicts_total", &[], "Two processes with one identity met."),
    counter("quorate_joins_granted_total", &[], "Hosts admitted through this agent."),
    counter("quorate_join_refusals_total", &["reason"], "Hosts refused by this agent."),
    // The API.
    histogram(
        "http_request_duration_seconds",
        HTTP,
        "How long answers of the API take, without the time that a reader wants to wait for news.",
    ),
    counter("http_requests_total", HTTP, "Requests to the API."),
    counter("http_request_errors_total", HTTP, "Requests to the API that ended with a status of 500 or more."),
    gauge("http_requests_in_flight", &["method", "route"], "Requests to the API being answered."),
    gauge("quorate_api_connections", &[], "Connections to the API."),
    counter("sse_connections_total", &[], "Event streams begun."),
    gauge("sse_connections_active", &[], "Event streams being served."),
    counter("sse_events_sent_total", &["event_type"], "Events sent on those streams."),
    histogram(
        "sse_first_event_latency_seconds",
        &[],
        "How long it takes until the first event of a stream is sent, from when it was asked for, or happened if that came later.",
    ),
    gauge("quorate_api_waiting", &[], "Requests that wait for news."),
    counter("quorate_agent_checks_total", &["answer"], "Questions of HAProxy by what it was told."),
    counter("quorate_api_limits_hit_total", &["limit"], "Times a limit of the API was hit."),
    counter("quorate_log_lines_lost_total", &[], "Lines of the log that could not be written."),
    counter("quorate_api_tls_failures_total", &[], "Connections to the API that did not become TLS."),
    counter("auth_requests_total", &[], "Requests to the API that brought a token."),
    counter("auth_failures_total", &["reason"], "Tokens that were not good: invalid, revoked, expired, ip_blocked."),
    counter("ratelimit_requests_total", &[], "Requests to the API that are held to a rate."),
    counter("ratelimit_rejected_total", &[], "Requests to the API that were too many."),
    counter("quorate_dns_answers_total", &["code"], "Answers of the name server by response code."),
    gauge("quorate_history_bytes", &[], "Size of the history's file."),
    counter("quorate_history_failures_total", &[], "Times something of the history could not be kept."),
    gauge("quorate_config_last_reload_successful", &[], "1 when the last reload was in order, and since the start."),
    gauge(
        "quorate_config_last_reload_success_timestamp_seconds",
        &[],
        "When the configuration in use was read, Unix time.",
    ),
];

/// Work with the agent's metrics.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the name of every metric
    Names {
        /// For agents with this `metrics.prefix`
        #[arg(long, value_parser = crate::config::metric_prefix)]
        prefix: Option<String>,
    },
    /// Print the dashboard for Grafana
    Dashboard {
        #[command(flatten)]
        of: rules::For,
    },
    /// Print the recording rules and alerts for Prometheus
    Rules {
        /// As a manifest for Kubernetes' operator
        #[arg(long)]
        kubernetes: bool,
        #[command(flatten)]
        of: rules::For,
    },
}

/// Prints what is asked for.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let text = match args.action {
        Action::Names { prefix } => {
            let names: String = CATALOGUE.iter().map(|metric| format!("{}\n", metric.name)).collect();
            rules::expression(&names, &rules::For { prefix, ..Default::default() })
        }
        Action::Dashboard { of } => format!("{:#}\n", dashboard::dashboard(&of)),
        Action::Rules { kubernetes: false, of } => rules::rules(&of),
        Action::Rules { kubernetes: true, of } => rules::manifest(&of),
    };
    crate::cli::question::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod page_tests;
