//! The report of one run as a page to look at: one file of HTML with its drawings in it, which loads nothing and runs nothing.

mod lanes;
mod plots;
mod story;
mod svg;
mod votes;

use crate::plan::Plan;
use crate::plan_table;
use crate::report::{Report, counted};
use crate::trace::line::Stamped;
use quorate_core::{Verdict, Vote};
use std::fmt::Write as _;
use story::Story;
use svg::escaped;

/// The page about a run of `plan`, from the lines of its trace.
///
/// # Errors
/// When the plan cannot be written.
pub fn page(plan: &Plan, report: &Report, lines: &[Stamped]) -> anyhow::Result<String> {
    let story = Story::of(lines, report);
    let title = format!("{}, seed {}", report.plan, report.seed);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n<style>\n{STYLE}</style></head>\n<body>\n",
        escaped(&title)
    );
    // Writing to a string cannot fail.
    let _ = writeln!(html, "<h1>{}</h1>\n<p>{}</p>", escaped(&title), escaped(&plan.summary));
    html.push_str(&figures(report));
    html.push_str(&violations(report));
    let _ = writeln!(html, "<h2>Agents</h2>\n<p>{LANES}</p>\n{}", lanes::chart(&story, report));
    let _ = writeln!(html, "<h2>Traffic and agreement</h2>\n<p>{PLOTS}</p>\n{}", plots::chart(&story));
    let _ = writeln!(html, "<h2>Who saw what</h2>\n<p>{VOTES}</p>\n{}", votes::section(&story));
    let plan = escaped(&plan_table::text(plan)?);
    let _ = writeln!(html, "<h2>The plan</h2>\n<pre>{plan}</pre>\n</body></html>");
    Ok(html)
}

const LANES: &str = "The bar is the process: <span class=\"key running\">runs</span> <span class=\"key paused\">stands still</span> \
<span class=\"key crashed\">crashed</span> <span class=\"key left\">left</span>. The background is the part of the mesh it is in while \
paths are cut: <span class=\"key part0\">the largest</span> <span class=\"key part1\">the next</span> <span class=\"key part2\">smaller</span>. \
Marks are changes of verdict on that agent: <span class=\"key up\">up</span> <span class=\"key down\">down</span> \
<span class=\"key mixed\">partial or degraded</span> <span class=\"key unknown\">unknown</span>. A red line is a broken promise. Point at anything.";
const PLOTS: &str = "Agents that <span class=\"key c1\">run</span>, that are <span class=\"key c2\">quorate</span>, and the largest group that \
<span class=\"key c3\">agrees</span> on all verdicts; bytes sent per agent and second; packets lost per second; the longest backlog of gossip.";
const VOTES: &str = "For each instance: what most observers would find, what share of the agents states which verdict (<span class=\"key up stale\">pale</span> \
where it is stale: too few observers are heard to confirm it), and each observer's own vote: <span class=\"key pass\">pass</span> <span class=\"key fail\">fail</span> <span class=\"key warn\">warn</span> \
<span class=\"key abstain\">abstains</span>. Upright lines are certificates; point at one for its signers.";

fn figures(report: &Report) -> String {
    let seconds = |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.2} s"));
    let spread = |s: Option<crate::report::Spread>| {
        s.map_or("none".to_owned(), |s| format!("{:.2} / {:.2} / {:.2} s", s.p50, s.p99, s.max))
    };
    let rows = [
        ("simulated", format!("{:.1} s", report.simulated_s)),
        ("events", report.events.to_string()),
        ("detection p50 / p99 / max", spread(report.detection_s)),
        ("recovery p50 / p99 / max", spread(report.recovery_s)),
        ("convergence", seconds(report.convergence_s)),
        ("false down", report.false_down.to_string()),
        ("bytes per agent and second", format!("{:.0}", report.bytes_per_agent_per_s)),
        ("trace", report.trace_hash.clone()),
        ("see it again", report.reproduce.clone()),
    ];
    let cells = rows.map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escaped(&value)));
    format!("<table>{}</table>\n", cells.join("\n"))
}

fn violations(report: &Report) -> String {
    if report.clean() {
        return "<p class=\"kept\">Every promise was kept.</p>\n".to_owned();
    }
    let heading = counted(report.violations_found, report.violations.len(), "broken promises");
    let mut html = format!("<h2>{heading}</h2>\n");
    for violation in &report.violations {
        let _ = writeln!(html, "<pre class=\"violation\">{}</pre>", escaped(&crate::report::violation_text(violation)));
    }
    html
}

/// How a verdict is drawn.
fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Up => "up",
        Verdict::Down => "down",
        Verdict::Partial | Verdict::Degraded => "mixed",
        Verdict::Starting | Verdict::Unknown | Verdict::Draining | Verdict::Maintenance => "unknown",
    }
}

/// How a vote is drawn.
fn vote_class(vote: Vote) -> &'static str {
    match vote {
        Vote::Pass => "pass",
        Vote::Warn => "warn",
        Vote::Fail { .. } => "fail",
        Vote::Abstain(_) => "abstain",
    }
}

/// Neutral greys that follow the reader's choice of light or dark; colours that tell apart without telling red from green alone.
const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #222; --page: #fafafa; --faint: #8886; --good: #2a9d6a; --bad: #d1495b; --warm: #e0a030; --calm: #4a80c4; }
@media (prefers-color-scheme: dark) { :root { --ink: #ddd; --page: #1b1c1e; } }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1280px; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.4em } h2 { font-size: 1.15em; margin-top: 2em } h3 { font-size: 1em; margin: 1.2em 0 0.2em }
table { border-collapse: collapse } th { text-align: left; font-weight: normal; opacity: 0.75; padding-right: 1.5em } td { font-variant-numeric: tabular-nums }
svg { width: 100%; display: block } svg text { font-size: 10.5px; fill: var(--ink) } .strong { font-weight: bold } .time { opacity: 0.7 }
pre { overflow-x: auto; font-size: 12px; background: #8881; padding: 0.6em } .violation { border-left: 3px solid var(--bad) } .kept { color: var(--good) }
.key { padding: 0 0.4em; border-radius: 3px; color: #fff } .key.part0, .key.part1, .key.part2 { color: inherit }
.tick { stroke: var(--faint); stroke-width: 0.5; stroke-dasharray: 2 3; pointer-events: none } .broken { stroke: var(--bad); stroke-width: 2 }
line.up, line.down, line.mixed, line.unknown { stroke-width: 1; stroke-dasharray: 3 2 }
.running, .left { fill: #999; background: #777 } .left { opacity: 0.4 } .paused { fill: var(--warm); background: var(--warm) }
.crashed { fill: var(--ink); background: #333 } .absent { fill: none }
.part0 { fill: #4a80c433; background: #4a80c433 } .part1 { fill: #e0a03055; background: #e0a03055 } .part2 { fill: #9467bd44; background: #9467bd44 }
.part3 { fill: #2a9d6a33 } .part4 { fill: #d1495b33 }
.up, .pass { fill: var(--good); stroke: var(--good); background: var(--good) } .down, .fail { fill: var(--bad); stroke: var(--bad); background: var(--bad) }
.mixed, .warn { fill: var(--warm); stroke: var(--warm); background: var(--warm) } .unknown, .abstain { fill: #888; stroke: #888; background: #777 }
rect { stroke: none } rect.abstain, rect.unknown { fill-opacity: 0.45 } rect.stale { fill-opacity: 0.4 } .key.stale { opacity: 0.5 } .plot { fill: #8881 }
.curve { fill: none; stroke-width: 1.5 } .curve1 { stroke: #888 } .curve2 { stroke: var(--calm) } .curve3 { stroke: var(--good); stroke-dasharray: 4 2 } .curve4 { stroke: var(--bad) }
.c1 { background: #777 } .c2 { background: var(--calm) } .c3 { background: var(--good) }
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library;
    use crate::runner::{self, Manner};
    use crate::trace::recording::Recording;

    fn page_of(name: &str) -> String {
        let (name, plan) = library::load(name).unwrap();
        let mut recording = Recording::default();
        recording.keep = true;
        let (report, trace) = runner::run(&name, &plan, 1, Manner { recording, ..Manner::default() }).unwrap();
        page(&plan, &report, &trace.recording.kept).unwrap()
    }

    #[test]
    fn a_split_is_shaded_and_its_certificates_name_their_signers() {
        let html = page_of("split-3-2");
        assert_eq!(html.matches("<rect class=\"part0\"").count(), 3, "the larger side");
        assert_eq!(html.matches("<rect class=\"part1\"").count(), 2, "the smaller side");
        assert!(html.contains("quorate-agent@a3") && html.contains(": down, term 1: 3 signatures of 4 observers"));
    }

    #[test]
    fn what_is_stale_is_shown_so() {
        let html = page_of("lost-majority");
        assert!(html.contains("<rect class=\"up stale\"") && html.contains("agents state up, stale, "));
    }

    #[test]
    fn the_page_loads_and_runs_nothing_and_its_elements_close() {
        let html = page_of("pause");
        for word in ["<script", "http:", "https:", "src=", "@import", "url("] {
            assert!(!html.contains(word), "{word}");
        }
        for element in ["svg", "text", "title", "pre", "h2", "h3", "details"] {
            let open = html.matches(&format!("<{element}>")).count() + html.matches(&format!("<{element} ")).count();
            assert_eq!(open, html.matches(&format!("</{element}>")).count(), "{element}");
        }
        assert!(html.contains("class=\"paused\""));
    }
}
