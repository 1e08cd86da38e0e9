//! Traffic and agreement over time.

use super::story::{Story, Survey};
use super::svg::Chart;

/// Height of a plot.
const HEIGHT: f64 = 90.0;

/// All plots, over one another.
pub fn chart(story: &Story) -> String {
    let mut chart = Chart::new(story.end);
    let of = |value: &dyn Fn(&Survey) -> usize| -> Vec<(f64, f64)> {
        story.surveys.iter().map(|survey| (survey.at, value(survey) as f64)).collect()
    };
    let agents = story.agents.len() as f64;
    let curves = [
        ("curve1", of(&|survey| survey.running)),
        ("curve2", of(&|survey| survey.quorate)),
        ("curve3", of(&|survey| survey.agreeing)),
    ];
    plot(&mut chart, &format!("agents, 0 to {agents}"), agents, &curves);
    let sent = rates(&story.surveys, |survey| survey.bytes, agents);
    let most = highest(&sent);
    plot(&mut chart, &format!("B/s each, to {most:.0}"), most, &[("curve1", sent)]);
    let lost = rates(&story.surveys, |survey| survey.lost, 1.0);
    let most = highest(&lost);
    plot(&mut chart, &format!("lost/s, to {most:.0}"), most, &[("curve4", lost)]);
    let backlog = of(&|survey| survey.gossip_backlog);
    let most = highest(&backlog);
    plot(&mut chart, &format!("backlog, to {most:.0}"), most, &[("curve1", backlog)]);
    chart.axis();
    chart.finish("Agents that run, are quorate and agree; bytes sent; packets lost; gossip backlog")
}

fn plot(chart: &mut Chart, name: &str, most: f64, curves: &[(&str, Vec<(f64, f64)>)]) {
    let top = chart.row(HEIGHT);
    chart.name(top + HEIGHT / 2.0, "name", name);
    chart.span((0.0, f64::INFINITY), (top + 4.0, HEIGHT - 8.0), "plot", "");
    for (class, points) in curves {
        chart.steps(points, (top + 4.0, HEIGHT - 8.0), most, class);
    }
}

/// How fast a counter grew, per second and share, over each second.
fn rates(surveys: &[Survey], counter: impl Fn(&Survey) -> u64, shares: f64) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    let mut last: Option<&Survey> = None;
    for survey in surveys {
        let Some(before) = last else {
            last = Some(survey);
            continue;
        };
        let span = survey.at - before.at;
        if span >= 0.999 {
            points.push((before.at, counter(survey).saturating_sub(counter(before)) as f64 / span / shares.max(1.0)));
            last = Some(survey);
        }
    }
    points
}

fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(1.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_added_in_a_second() {
        let survey =
            |at: f64, bytes: u64| Survey { at, running: 0, quorate: 0, agreeing: 0, bytes, lost: 0, gossip_backlog: 0 };
        let surveys = [survey(0.0, 0), survey(0.5, 90), survey(1.0, 100), survey(3.0, 500)];
        assert_eq!(rates(&surveys, |survey| survey.bytes, 2.0), [(0.0, 50.0), (1.0, 100.0)]);
    }
}
