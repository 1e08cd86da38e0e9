//! What the demonstration shows: lines of progress, and on a terminal a table under them that is drawn anew in place.

use super::cluster::Cluster;
use super::observe::Sight;
use crate::cli::question::print;
use crate::cli::style::{Ink, colour_wanted, render};
use crate::cli::table::{cell, layout};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The table is drawn at most this often.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// More services than this are not shown beside each other.
const SERVICES_MAX: usize = 6;

/// Where words go.
#[derive(Debug)]
pub struct Board {
    /// Words to standard error: standard output is for JSON.
    quiet: bool,
    /// Is there a terminal to draw on?
    live: bool,
    /// Lines of the table that stands on the terminal now.
    drawn: usize,
    last_drawn: Option<Instant>,
}

impl Board {
    /// Words go to standard output, or to standard error when that is to hold JSON.
    pub fn new(json: bool) -> Self {
        Self { quiet: json, live: !json && std::io::stdout().is_terminal(), drawn: 0, last_drawn: None }
    }

    /// Adds lines of progress. Text may be inked.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn say(&mut self, inked: &str) -> anyhow::Result<()> {
        if self.quiet {
            eprintln!("{}", render(inked, false));
            return Ok(());
        }
        let erase = self.erase();
        print(&format!("{erase}{}\n", render(inked, colour_wanted())))
    }

    /// Draws the table of what each agent says, if there is a terminal and the last drawing is not too fresh.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn draw(&mut self, cluster: &Cluster, sights: &[Sight]) -> anyhow::Result<()> {
        if !self.live || self.last_drawn.is_some_and(|at| at.elapsed() < DRAW_INTERVAL) {
            return Ok(());
        }
        let text = format!("\n{}", render(&grid(cluster, sights), colour_wanted()));
        let erase = self.erase();
        self.drawn = text.lines().count();
        self.last_drawn = Some(Instant::now());
        print(&format!("{erase}{text}"))
    }

    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

/// Each agent's own words on each service, on its members, and on itself.
pub fn grid(cluster: &Cluster, sights: &[Sight]) -> String {
    let services = &cluster.services[..cluster.services.len().min(SERVICES_MAX)];
    let mut headings = vec!["AGENT".to_owned(), "API".to_owned()];
    headings.extend(services.iter().map(|service| service.name.to_uppercase()));
    headings.extend(["MEMBERS".to_owned(), "QUORATE".to_owned()]);
    let rows = cluster.agents.iter().zip(sights).map(|(agent, sight)| {
        let mut row = vec![cell(&agent.name), agent.api.to_string()];
        match &sight.seen {
            Ok(answer) => {
                row.extend(services.iter().map(|service| match sight.instance(&service.instance()) {
                    Some(instance) => {
                        let votes = format!(" {}/{}", instance.votes.fail, instance.assigned);
                        let votes = if instance.votes.fail > 0 { votes } else { String::new() };
                        Ink::of_verdict(instance.verdict).on(&format!("{}{votes}", instance.verdict))
                    }
                    None => Ink::Dim.on("-"),
                }));
                row.push(format!("{}/{}", answer.view.alive, answer.view.roster));
                row.push(if answer.view.quorate { Ink::Green.on("yes") } else { Ink::Red.on("NO") });
            }
            Err(_) => {
                row.extend(services.iter().map(|_| Ink::Dim.on("?")));
                row.extend([Ink::Dim.on("?"), Ink::Red.on("no answer")]);
            }
        }
        row
    });
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    layout(&headings, &[], rows.collect())
}
