//! What a run comes to: figures and violations, as JSON and as text.

use crate::checks::Violation;
use crate::world::World;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Median, 99th percentile and maximum, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Half take no longer.
    pub p50: f64,
    /// 99 of 100 take no longer.
    pub p99: f64,
    /// None takes longer.
    pub max: f64,
}

impl Spread {
    /// The spread of `sorted` values; none when there are none.
    pub fn of(sorted: &[f64]) -> Option<Self> {
        let last = sorted.len().checked_sub(1)?;
        let at = |percent: usize| sorted[(last * percent).div_ceil(100)];
        Some(Self { p50: at(50), p99: at(99), max: sorted[last] })
    }
}

/// Greatest lengths reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MaxQueue {
    /// Batches and certificates an agent still had to pass on.
    pub gossip_backlog: usize,
    /// Timers pending on an agent.
    pub timers: usize,
    /// Packets that waited for one link to come up.
    pub link_waiting: usize,
    /// Events in the simulator's own queue.
    pub simulator_events: usize,
}

/// The outcome of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The plan's name.
    pub plan: String,
    /// The seed.
    pub seed: u64,
    /// The hash of all that went into the engines and came out of them.
    pub trace_hash: String,
    /// How long the run lasted for the agents.
    pub simulated_s: f64,
    /// How long it took.
    pub wall_s: f64,
    /// Inputs handled by engines.
    pub events: u64,
    /// Broken promises; the first twenty different ones.
    pub violations: Vec<Violation>,
    /// How many were found, the same on other agents or at other times among them.
    pub violations_found: u64,
    /// How to see it again.
    pub reproduce: String,
    /// From a fault to `down`, over agents and faults.
    pub detection_s: Option<Spread>,
    /// From its end to `up`.
    pub recovery_s: Option<Spread>,
    /// From the last fault's end until all agreed for good.
    pub convergence_s: Option<f64>,
    /// `down` decisions against the truth.
    pub false_down: u64,
    /// Bytes sent per agent and second, without the headers of QUIC and IP.
    pub bytes_per_agent_per_s: f64,
    /// Packets sent.
    pub packets: u64,
    /// Packets lost.
    pub lost: u64,
    /// Packets dropped for want of a link or an address.
    pub dropped: u64,
    /// Greatest lengths.
    pub max_queue: MaxQueue,
    /// Rare paths that were taken.
    pub sometimes: Vec<&'static str>,
    /// Detection times, sorted, to be added up over runs.
    #[serde(skip)]
    pub detections: Vec<f64>,
    /// Recovery times, sorted.
    #[serde(skip)]
    pub recoveries: Vec<f64>,
}

/// Milliseconds are exact enough for reports.
pub fn rounded(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

impl Report {
    /// The outcome of `world`, which has run for `wall`.
    pub fn of(world: &World, wall: Duration, reproduce: String) -> Self {
        let (truth, checks) = (&world.truth, &world.checks);
        let counters = world.network.counters;
        let detections: Vec<f64> = checks.timeline.detections(truth).into_iter().map(rounded).collect();
        let recoveries: Vec<f64> = checks.timeline.recoveries(truth).into_iter().map(rounded).collect();
        Self {
            plan: truth.scenario.name.clone(),
            seed: truth.scenario.seed,
            trace_hash: format!("{:016x}", world.trace.hash()),
            simulated_s: rounded(truth.now.as_secs_f64()),
            wall_s: rounded(wall.as_secs_f64()),
            events: world.tally.inputs,
            violations: checks.violations.clone(),
            violations_found: checks.found,
            reproduce,
            detection_s: Spread::of(&detections),
            recovery_s: Spread::of(&recoveries),
            convergence_s: checks.convergence.took(truth).map(|took| rounded(took.as_secs_f64())),
            false_down: checks.false_down,
            bytes_per_agent_per_s: rounded(counters.bytes as f64 / world.tally.agent_seconds.max(1.0)),
            packets: counters.packets,
            lost: counters.lost,
            dropped: counters.dropped,
            max_queue: MaxQueue {
                gossip_backlog: world.tally.gossip_backlog,
                timers: world.tally.timers,
                link_waiting: counters.most_waiting,
                simulator_events: world.tally.events_waiting,
            },
            sometimes: checks.coverage.names(),
            detections,
            recoveries,
        }
    }

    /// Was every promise kept?
    pub fn clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// What is to be thought of `false_down`, where every promise was kept.
    fn false_down_means(&self) -> &'static str {
        match self.false_down > 0 && self.clean() {
            true => " (well, and in reach of most, but not of those who signed: paths were cut in part)",
            false => "",
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let spread = |s: Option<Spread>| {
            s.map_or("none measured".to_owned(), |s| {
                format!("p50 {:.2} s, p99 {:.2} s, max {:.2} s", s.p50, s.p99, s.max)
            })
        };
        let convergence =
            self.convergence_s.map_or("not reached".to_owned(), |s| format!("{s:.1} s after the last fault"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "plan         {} (seed {}), trace {}", self.plan, self.seed, self.trace_hash);
        let (sim, wall) = (self.simulated_s, self.wall_s);
        let _ = writeln!(text, "time         {sim:.1} s simulated in {wall:.2} s, {} events", self.events);
        let _ = writeln!(text, "detection    {}", spread(self.detection_s));
        let _ = writeln!(text, "recovery     {}", spread(self.recovery_s));
        let _ = writeln!(text, "convergence  {convergence}");
        let _ = writeln!(text, "false down   {}{}", self.false_down, self.false_down_means());
        let (bytes, lost) = (self.bytes_per_agent_per_s, self.lost);
        let _ = writeln!(text, "traffic      {bytes:.0} B/s per agent, {} packets, {lost} lost", self.packets);
        if self.clean() {
            let _ = writeln!(text, "every promise was kept");
            return text;
        }
        let _ = writeln!(text, "\n{}:", counted(self.violations_found, self.violations.len(), "violations"));
        for violation in &self.violations {
            text.push_str(&violation_text(violation));
        }
        let _ = writeln!(text, "see it again: {}", self.reproduce);
        text
    }
}

/// How many of `what` were found, and how many of them are shown: neither repeats nor more than the first twenty.
pub fn counted(found: u64, shown: usize, what: &str) -> String {
    let are = if shown == 1 { "is" } else { "are" };
    let of_which = if found > shown as u64 { format!(", of which {shown} {are} shown") } else { String::new() };
    format!("{found} {what}{of_which}")
}

/// One violation, for people.
pub fn violation_text(violation: &Violation) -> String {
    let agent = violation.agent.as_ref().map(|agent| format!(" on {agent}")).unwrap_or_default();
    let mut text = format!("  {} at {:.3}s{agent}: {}\n", violation.invariant, violation.at_s, violation.detail);
    for vote in &violation.votes {
        let _ = writeln!(text, "      {vote}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_counted() {
        assert_eq!(counted(2, 2, "violations"), "2 violations");
        assert_eq!(counted(21, 2, "violations"), "21 violations, of which 2 are shown");
        assert_eq!(counted(3, 1, "violations"), "3 violations, of which 1 is shown");
    }

    #[test]
    fn a_false_down_is_explained_where_every_promise_was_kept() {
        let (name, plan) = crate::library::load("one-agent").unwrap();
        let (mut report, _) = crate::runner::run(&name, &plan, 1, crate::runner::Manner::default()).unwrap();
        assert!(report.text().contains("false down   0\n"));
        report.false_down = 2;
        assert!(report.text().contains("false down   2 (well, and in reach of most, but not of those who signed"));
        let (invariant, detail, votes) = ("truth wins", String::new(), Vec::new());
        report.violations.push(Violation { invariant, at_s: 1.0, agent: None, detail, votes });
        assert!(report.text().contains("false down   2\n"), "it may be what is wrong");
    }

    #[test]
    fn spreads() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[2.0]), Some(Spread { p50: 2.0, p99: 2.0, max: 2.0 }));
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(Spread::of(&values), Some(Spread { p50: 50.0, p99: 99.0, max: 100.0 }));
    }
}
