//! What is read at the moment of a scrape: the published picture, the engine's, the transport's and the prober's counters.

use super::live::Metrics;
use super::sheet::{FamilySheet, Form, Sheet, TextSheet};
use crate::agent::callers::Callers;
use crate::agent::probes::{LocalProbes, is_healthy};
use crate::config::Objective;
use prometheus::proto::MetricFamily;
use quorate_breaker::State;
use quorate_core::{ServiceName, UnixMs, Verdict};
use quorate_mesh::{InstanceView, MemberState, MeshView, Stats};
use quorate_probe::ProbeStats;
use quorate_transport::TransportMetrics;
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a scrape reads.
pub struct Sources<'a> {
    /// What counts by itself.
    pub live: &'a Metrics,
    /// The latest picture.
    pub view: &'a MeshView,
    /// Its age.
    pub view_age: Duration,
    /// The last probe of each instance.
    pub local: &'a LocalProbes,
    /// The breakers of this host.
    pub callers: &'a Callers,
    /// What each service with an instance here is held to.
    pub objectives: BTreeMap<ServiceName, Objective>,
    /// The transport's counters.
    pub transport: TransportMetrics,
    /// The prober's counters.
    pub probes: ProbeStats,
    /// How far each pool is used, 0 to 1.
    pub pools: Vec<(String, f64)>,
    /// Is the agent ready?
    pub ready: bool,
    /// How many of its files could not be stored.
    pub unstored: usize,
    /// When the process began.
    pub started: UnixMs,
    /// When the certificate expires, Unix seconds.
    pub certificate_expires_unix_s: i64,
}

/// The text of `/metrics`.
///
/// # Errors
/// When a value cannot be written.
pub fn render(sources: &Sources<'_>) -> prometheus::Result<String> {
    let sheet: TextSheet = filled(sources);
    sheet.text(sources.live.registry())
}

/// Every metric as it is now, by name.
pub fn families(sources: &Sources<'_>) -> Vec<MetricFamily> {
    let sheet: FamilySheet = filled(sources);
    sheet.families(sources.live.registry())
}

fn filled<F: Form>(sources: &Sources<'_>) -> Sheet<F> {
    sources.live.keep_services(&sources.view.instances.values().map(|instance| instance.service.as_str()).collect());
    let mut sheet = Sheet::new();
    agent(&mut sheet, sources);
    mesh(&mut sheet, sources.view, sources.view_age);
    own_instances(&mut sheet, sources.view);
    for (service, objective) in &sources.objectives {
        sheet.put("quorate_service_objective_ratio", &[service.as_str()], objective.ratio());
    }
    engine(&mut sheet, &sources.view.stats);
    local_probes(&mut sheet, sources.local);
    prober(&mut sheet, &sources.probes);
    sources.pools.iter().for_each(|(pool, ratio)| sheet.put("quorate_pool_usage_ratio", &[pool], *ratio));
    transport(&mut sheet, &sources.transport);
    breakers(&mut sheet, sources.callers);
    sheet
}

/// Counts lose precision beyond 2^53, which nothing here reaches.
#[allow(clippy::cast_precision_loss)]
fn float(n: u64) -> f64 {
    n as f64
}

fn size(n: usize) -> f64 {
    float(u64::try_from(n).unwrap_or(u64::MAX))
}

fn seconds(at: UnixMs) -> f64 {
    Duration::from_millis(at.0).as_secs_f64()
}

fn breakers<F: Form>(sheet: &mut Sheet<F>, callers: &Callers) {
    let mut best: BTreeMap<ServiceName, State> = BTreeMap::new();
    for (key, state) in callers.states() {
        let value = f64::from(state as u8);
        sheet.put("circuit_breaker_instance_state", &[key.service.as_str(), key.instance.as_str()], value);
        best.entry(key.service).and_modify(|best| *best = (*best).min(state)).or_insert(state);
    }
    for (service, state) in best {
        sheet.put("circuit_breaker_state", &[service.as_str()], f64::from(state as u8));
    }
    sheet.set("circuit_breaker_unguarded_total", float(callers.unguarded()));
}

fn agent<F: Form>(sheet: &mut Sheet<F>, sources: &Sources<'_>) {
    sheet.put("quorate_build_info", &[env!("CARGO_PKG_VERSION")], 1.0);
    sheet.set("quorate_start_time_seconds", seconds(sources.started));
    sheet.set("quorate_ready", f64::from(u8::from(sources.ready)));
    sheet.set("quorate_unstored_files", size(sources.unstored));
    sheet.set("quorate_log_lines_lost_total", float(crate::logging::rotation::lost_lines()));
    let expiry = u64::try_from(sources.certificate_expires_unix_s).unwrap_or(0);
    sheet.set("quorate_certificate_expiry_timestamp_seconds", float(expiry));
}

fn mesh<F: Form>(sheet: &mut Sheet<F>, view: &MeshView, age: Duration) {
    sheet.set("quorate_quorate", f64::from(u8::from(view.quorate)));
    sheet.set("quorate_settled", f64::from(u8::from(view.settled)));
    sheet.set("quorate_roster_members", size(view.roster));
    sheet.set("quorate_roster_epoch", view.epoch as f64);
    sheet.set("quorate_view_age_seconds", age.as_secs_f64());
    sheet.set("quorate_view_index", float(view.index));
    let states = [
        (MemberState::Alive, "alive"),
        (MemberState::Suspect, "suspect"),
        (MemberState::Failed, "failed"),
        (MemberState::Left, "left"),
    ];
    for (state, word) in states {
        let count = view.members.values().filter(|member| member.state == state).count();
        sheet.put("quorate_members", &[word], size(count));
    }
    let is_host = |instance: &InstanceView| instance.instance.host_of().is_some();
    for (name, hosts) in [("quorate_instances", false), ("quorate_hosts", true)] {
        let mut counts: BTreeMap<Verdict, usize> = Verdict::ALL.iter().map(|verdict| (*verdict, 0)).collect();
        for instance in view.instances.values().filter(|instance| is_host(instance) == hosts) {
            *counts.entry(instance.verdict).or_default() += 1;
        }
        counts.iter().for_each(|(verdict, count)| sheet.put(name, &[verdict.as_str()], size(*count)));
    }
    let services = || view.instances.values().filter(|instance| !is_host(instance));
    sheet.set("quorate_instances_stale", size(services().filter(|i| i.is_stale()).count()));
    sheet.set("quorate_instances_flapping", size(services().filter(|i| i.flapping).count()));
}

fn own_instances<F: Form>(sheet: &mut Sheet<F>, view: &MeshView) {
    let own =
        |instance: &&std::sync::Arc<InstanceView>| instance.home == view.agent && instance.instance.host_of().is_none();
    for instance in view.instances.values().filter(own) {
        let labels = [instance.service.as_str(), instance.instance.as_str()];
        let up = matches!(instance.verdict, Verdict::Up | Verdict::Degraded | Verdict::Partial);
        // What an operator took out of service is no fault, and charged to no budget: as in reports.
        let aside = matches!(instance.verdict, Verdict::Draining | Verdict::Maintenance) || instance.is_switched_off();
        if !aside {
            sheet.put("quorate_instance_up", &labels, f64::from(u8::from(up)));
        }
        sheet.put("quorate_instance_stale", &labels, f64::from(u8::from(instance.is_stale())));
        sheet.put("quorate_instance_term", &labels, float(instance.term));
    }
}

fn local_probes<F: Form>(sheet: &mut Sheet<F>, local: &LocalProbes) {
    for (instance, probe) in local.all() {
        let labels = [probe.service.as_str(), instance.as_str()];
        let healthy = f64::from(u8::from(is_healthy(&probe.outcome)));
        sheet.put("health_check_status", &[labels[0], labels[1], probe.check], healthy);
        sheet.put("quorate_probe_last_duration_seconds", &labels, probe.outcome.timings.total.as_secs_f64());
        sheet.put("quorate_probe_last_timestamp_seconds", &labels, seconds(probe.ended));
    }
}

fn engine<F: Form>(sheet: &mut Sheet<F>, stats: &Stats) {
    let counters = [
        ("quorate_engine_proposals_total", stats.proposals),
        ("quorate_engine_signatures_total", stats.signatures),
        ("quorate_engine_refusals_total", stats.refusals),
        ("quorate_engine_certificates_made_total", stats.certificates_made),
        ("quorate_engine_certificates_taken_total", stats.certificates_taken),
        ("quorate_engine_certificates_refused_total", stats.certificates_refused),
        ("quorate_engine_roll_calls_total", stats.roll_calls),
        ("quorate_engine_roll_calls_quorate_total", stats.roll_calls_quorate),
        ("quorate_engine_epoch_attempts_total", stats.epoch_attempts),
        ("quorate_engine_stalls_total", stats.stalls),
        ("quorate_engine_probes_total", stats.probes),
        ("quorate_engine_probes_inconclusive_total", stats.probes_inconclusive),
        ("quorate_engine_second_opinions_asked_total", stats.second_opinions_asked),
        ("quorate_engine_second_opinions_given_total", stats.second_opinions_given),
        ("quorate_engine_renewals_total", stats.renewals),
        ("quorate_engine_undead_filtered_total", stats.undead_filtered),
        ("quorate_engine_swim_probes_failed_total", stats.swim_probes_failed),
        ("quorate_engine_batches_taken_total", stats.batches_taken),
        ("quorate_engine_batches_refused_total", stats.batches_refused),
        ("quorate_engine_packets_malformed_total", stats.packets_malformed),
        ("quorate_engine_packets_refused_total", stats.packets_refused),
        ("quorate_engine_syncs_spared_total", stats.syncs_spared),
        ("quorate_engine_relays_spared_total", stats.relays_spared),
        ("quorate_engine_limits_hit_total", stats.limits_hit),
        ("quorate_engine_local_health", u64::from(stats.local_health)),
    ];
    counters.into_iter().for_each(|(name, value)| sheet.set(name, float(value)));
    sheet.set("quorate_engine_gossip_backlog", size(stats.gossip_backlog));
    sheet.set("quorate_engine_timers", size(stats.timers));
    sheet.set("quorate_engine_records", size(stats.records));
}

fn prober<F: Form>(sheet: &mut Sheet<F>, stats: &ProbeStats) {
    let counts = [
        ("quorate_probes_running", stats.in_flight),
        ("quorate_probes_waiting", stats.waiting),
        ("quorate_probe_attempts_total", stats.attempts),
        ("quorate_probe_timeouts_total", stats.timeouts),
        ("quorate_probe_waits_total", stats.waited),
        ("quorate_probe_limit_reached_total", stats.limit_reached),
        ("quorate_probe_dns_lookups_total", stats.dns_lookups),
        ("quorate_probe_dns_cache_hits_total", stats.dns_cache_hits),
        ("quorate_probe_reused_connections_total", stats.reused_connections),
    ];
    counts.into_iter().for_each(|(name, value)| sheet.set(name, float(value)));
    sheet.put("queue_jobs_active", &[super::live::PROBES], float(stats.in_flight));
    sheet.set("quorate_probe_wait_seconds_total", stats.waited_total.as_secs_f64());
    for (phase, count) in &stats.failures_by_phase {
        sheet.put("quorate_probe_failures_total", &[phase.as_str()], float(*count));
    }
}

/// The transport names its counters itself; families of them become one metric with a label.
fn transport<F: Form>(sheet: &mut Sheet<F>, metrics: &TransportMetrics) {
    sheet.set("quorate_links", float(metrics.links));
    sheet.set("quorate_links_older_version", float(metrics.links_older_version));
    for (name, value) in metrics.counters() {
        let value = float(value);
        let (rest, direction) = match (name.strip_suffix("_in"), name.strip_suffix("_out")) {
            (Some(rest), _) => (rest, "in"),
            (_, Some(rest)) => (rest, "out"),
            (None, None) => (name, ""),
        };
        let moved = match rest {
            "datagrams" => Some(("quorate_transport_packets_total", "datagram")),
            "messages" => Some(("quorate_transport_packets_total", "message")),
            "datagram_bytes" => Some(("quorate_transport_bytes_total", "datagram")),
            "message_bytes" => Some(("quorate_transport_bytes_total", "message")),
            _ => None,
        };
        if let Some((metric, kind)) = moved {
            sheet.put(metric, &[kind, direction], value);
        } else if let Some(reason) = name.strip_prefix("join_refused_") {
            sheet.put("quorate_join_refusals_total", &[reason], value);
        } else if let Some(reason) = name.strip_prefix("dropped_") {
            sheet.put("quorate_transport_dropped_total", &[reason], value);
        } else if let Some(result) = name.strip_prefix("dials_") {
            sheet.put("quorate_transport_dials_total", &[result], value);
        } else if name == "identity_conflicts" {
            sheet.set("quorate_identity_conflicts_total", value);
        } else if name == "joins_granted" {
            sheet.set("quorate_joins_granted_total", value);
        } else if let Some(reason) = name.strip_prefix("refused_").filter(|_| !is_stream_refusal(name)) {
            sheet.put("quorate_link_refusals_total", &[reason], value);
        } else {
            sheet.put("quorate_transport_events_total", &[name], value);
        }
    }
}

/// Refused inside a link that stays up.
fn is_stream_refusal(name: &str) -> bool {
    matches!(name, "refused_oversize_message" | "refused_stream")
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::Phase;

    #[test]
    fn the_prober_is_told_as_it_is() {
        let failures_by_phase = vec![(Phase::Connect, 7)];
        let waited_total = Duration::from_millis(1500);
        let stats = ProbeStats { in_flight: 3, waiting: 2, waited_total, failures_by_phase, ..ProbeStats::default() };
        let mut sheet = TextSheet::new();
        prober(&mut sheet, &stats);
        let text = sheet.text(&prometheus::Registry::new()).unwrap();
        for line in [
            "queue_jobs_active{queue=\"probes\"} 3\n",
            "quorate_probes_running 3\n",
            "quorate_probes_waiting 2\n",
            "quorate_probe_wait_seconds_total 1.5\n",
            "quorate_probe_failures_total{phase=\"connect\"} 7\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
