//! Who saw what: for each instance the truth, the verdict, and each observer's votes.

use super::story::{InstanceStory, Story};
use super::svg::{Chart, escaped};
use super::{verdict_class, vote_class};
use crate::trace::line::TargetState;
use quorate_core::{Verdict, Vote};

/// Height of a row.
const ROW: f64 = 15.0;

/// Every instance about which there was anything to see; the others in a fold.
pub fn section(story: &Story) -> String {
    let eventful = |instance: &&InstanceStory| {
        instance.truth.iter().any(|(_, _, state)| *state != TargetState::Healthy)
            || instance.votes.values().flatten().any(|(_, _, vote)| matches!(vote, Vote::Fail { .. } | Vote::Warn))
            || instance.proofs.iter().any(|proof| proof.verdict != Verdict::Up)
    };
    let (mut open, mut folded, mut count) = (String::new(), String::new(), 0);
    for (name, instance) in &story.instances {
        let chart = format!("<h3>{}</h3>\n{}", escaped(name), chart(story, name, instance));
        if eventful(&instance) {
            open.push_str(&chart);
        } else {
            folded.push_str(&chart);
            count += 1;
        }
    }
    if count > 0 {
        open.push_str(&format!(
            "<details><summary>{count} instances of which nobody saw anything bad</summary>\n{folded}</details>\n"
        ));
    }
    open
}

fn chart(story: &Story, name: &str, instance: &InstanceStory) -> String {
    let mut chart = Chart::new(story.end);
    if !instance.truth.is_empty() {
        let top = chart.row(ROW);
        chart.name(top + 11.0, "name strong", "truth");
        for (from, to, state) in &instance.truth {
            let told = format!("most would find it {}, {from:.3} to {to:.3} s", word(*state));
            let class = if *state == TargetState::Healthy { "pass" } else { "fail" };
            chart.span((*from, *to), (top + 2.0, ROW - 4.0), class, &told);
        }
    }
    stated(&mut chart, story, instance);
    for (observer, votes) in &instance.votes {
        let top = chart.row(ROW);
        chart.name(top + 11.0, "name", observer);
        for (from, to, vote) in votes {
            let told = format!("{observer} votes {vote}, {from:.3} to {to:.3} s");
            chart.span((*from, *to), (top + 3.0, ROW - 6.0), vote_class(*vote), &told);
        }
    }
    for proof in &instance.proofs {
        chart.line(proof.at, verdict_class(proof.verdict), &format!("{:.3} s: {}", proof.at, proof.told));
    }
    chart.axis();
    chart.finish(&format!("The truth about {name}, its verdict and its observers' votes"))
}

/// What share of the agents stated what, with the certificates as marks.
fn stated(chart: &mut Chart, story: &Story, instance: &InstanceStory) {
    let top = chart.row(ROW * 1.6);
    let height = ROW * 1.6 - 4.0;
    chart.name(top + 15.0, "name strong", "verdict");
    for (index, (from, counts)) in instance.stated.iter().enumerate() {
        let to = instance.stated.get(index + 1).map_or(story.end, |(next, _)| *next);
        let all: usize = counts.values().sum();
        let mut y = top + 2.0;
        for ((verdict, stale), count) in counts {
            let share = height * *count as f64 / all.max(1) as f64;
            let (class, words) = (verdict_class(*verdict), if *stale { ", stale" } else { "" });
            let told = format!("{count} of {all} agents state {verdict}{words}, {from:.3} to {to:.3} s");
            let class = if *stale { format!("{class} stale") } else { class.to_owned() };
            chart.span((*from, to), (y, share), &class, &told);
            y += share;
        }
    }
    for proof in &instance.proofs {
        chart.mark(
            proof.at,
            (top, ROW * 1.6),
            verdict_class(proof.verdict),
            &format!("{:.3} s: {}", proof.at, proof.told),
        );
    }
}

fn word(state: TargetState) -> &'static str {
    match state {
        TargetState::Healthy => "healthy",
        TargetState::Refused => "refusing",
        TargetState::Hung => "hung",
        TargetState::Erroring => "answering errors",
        TargetState::Silent => "silent",
        TargetState::Slow => "slow",
        TargetState::Overloaded => "overloaded",
    }
}
