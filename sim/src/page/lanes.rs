//! The swim-lanes of the agents.

use super::story::{AgentStory, Story};
use super::svg::Chart;
use crate::report::Report;
use crate::trace::line::ProcessState;
use quorate_core::Verdict;

/// The lanes, with what broke which promise across them.
pub fn chart(story: &Story, report: &Report) -> String {
    let mut chart = Chart::new(story.end);
    let height = if story.agents.len() > 20 { 13.0 } else { 22.0 };
    for agent in &story.agents {
        let top = chart.row(height);
        lane(&mut chart, agent, top, height);
    }
    for violation in &report.violations {
        let agent = violation.agent.as_deref().unwrap_or("all");
        let told = format!("{} broken at {:.3} s ({agent})\n{}", violation.invariant, violation.at_s, violation.detail);
        chart.line(violation.at_s, "broken", &told);
    }
    chart.axis();
    chart.finish("What each agent's process was, which part of the mesh it was in, and what it stated")
}

fn lane(chart: &mut Chart, agent: &AgentStory, top: f64, height: f64) {
    chart.name(top + height * 0.5 + 4.0, "name", &agent.name);
    for (from, to, part) in &agent.parts {
        let told = format!("{}: paths cut, in part {} of the mesh, {from:.3} to {to:.3} s", agent.name, part + 1);
        chart.span((*from, *to), (top, height), &format!("part{}", part.min(&4)), &told);
    }
    for (from, to, state) in &agent.process {
        let (class, word) = process(*state);
        let told = format!("{}: {word}, {from:.3} to {to:.3} s", agent.name);
        chart.span((*from, *to), (top + height * 0.3, height * 0.4), class, &told);
    }
    for (at, told, verdict) in changes(agent) {
        chart.mark(at, (top + 1.0, height - 2.0), super::verdict_class(verdict), &told);
    }
}

fn process(state: ProcessState) -> (&'static str, &'static str) {
    match state {
        ProcessState::Absent => ("absent", "not there yet"),
        ProcessState::Up => ("running", "runs"),
        ProcessState::Paused => ("paused", "stands still"),
        ProcessState::Crashed => ("crashed", "crashed"),
        ProcessState::Left => ("left", "left"),
    }
}

/// The changes of verdict on an agent, those of one moment and one verdict together. First verdicts of `starting` are no news.
fn changes(agent: &AgentStory) -> Vec<(f64, String, Verdict)> {
    let mut changes: Vec<(f64, String, Verdict)> = Vec::new();
    for (at, instance, verdict, term) in
        agent.verdicts.iter().filter(|(_, _, verdict, _)| *verdict != Verdict::Starting)
    {
        let one = format!("{instance} {verdict} (term {term})");
        match changes.last_mut().filter(|last| last.0 == *at && last.2 == *verdict) {
            Some((_, told, _)) => *told = format!("{told}\n{one}"),
            None => changes.push((*at, format!("{at:.3} s, {} states\n{one}", agent.name), *verdict)),
        }
    }
    changes
}
