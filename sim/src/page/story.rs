//! What the lines of a trace come to: who was what from when to when.

use crate::report::Report;
use crate::trace::line::{Line, ProcessState, Signer, Stamped, TargetState};
use quorate_core::{Verdict, Vote};
use quorate_mesh::EventKind;
use std::collections::{BTreeMap, BTreeSet};

/// Something that held from one moment to another, in seconds.
pub type Spans<T> = Vec<(f64, f64, T)>;

/// An agent's state: its process, and the part of the mesh it is in.
#[derive(Debug, Default)]
pub struct AgentStory {
    /// Its name.
    pub name: String,
    /// What its process was; not told while it never ran.
    pub process: Spans<ProcessState>,
    /// When some path to or from it was cut, and in which part of the mesh it then was, the largest being 0.
    pub parts: Spans<usize>,
    /// What it stated, by instance: when, verdict, term.
    pub verdicts: Vec<(f64, String, Verdict, u64)>,
}

/// A certificate.
#[derive(Debug, Clone)]
pub struct Proof {
    /// When an agent first held it.
    pub at: f64,
    /// What it states.
    pub verdict: Verdict,
    /// In words, with its signers.
    pub told: String,
}

/// An instance's history.
#[derive(Debug, Default)]
pub struct InstanceStory {
    /// What most observers would have found.
    pub truth: Spans<TargetState>,
    /// How each observer voted.
    pub votes: BTreeMap<String, Spans<Vote>>,
    /// The certificates, in order.
    pub proofs: Vec<Proof>,
    /// How many agents stated which verdict, at each change.
    pub stated: Vec<(f64, BTreeMap<Statement, usize>)>,
}

/// A verdict, and whether too few observers can be heard to confirm it.
pub type Statement = (Verdict, bool);

/// What a survey found.
#[derive(Debug, Clone, Copy)]
pub struct Survey {
    pub at: f64,
    pub running: usize,
    pub quorate: usize,
    pub agreeing: usize,
    pub bytes: u64,
    pub lost: u64,
    pub gossip_backlog: usize,
}

/// The whole run.
#[derive(Debug, Default)]
pub struct Story {
    /// How long it lasted.
    pub end: f64,
    /// By number.
    pub agents: Vec<AgentStory>,
    /// By name, hosts included.
    pub instances: BTreeMap<String, InstanceStory>,
    /// In order.
    pub surveys: Vec<Survey>,
}

/// What is known while the lines are read.
#[derive(Default)]
struct Reader {
    story: Story,
    numbers: BTreeMap<String, usize>,
    closed: BTreeSet<(usize, usize)>,
    targets: BTreeMap<String, Vec<TargetState>>,
    stated: BTreeMap<String, BTreeMap<usize, Statement>>,
}

impl Story {
    /// Reads the lines of a run.
    pub fn of(lines: &[Stamped], report: &Report) -> Self {
        let mut reader = Reader::default();
        reader.story.end = report.simulated_s;
        for (index, stamped) in lines.iter().enumerate() {
            let at = stamped.t_ns as f64 / 1e9;
            reader.read(at, &stamped.line);
            let more = lines.get(index + 1).is_some_and(|next| {
                next.t_ns == stamped.t_ns && matches!(next.line, Line::Path { .. } | Line::Target { .. })
            });
            if !more && matches!(stamped.line, Line::Path { .. } | Line::Process { .. } | Line::Target { .. }) {
                reader.regroup(at);
            }
        }
        reader.close()
    }
}

/// Ends the last span and begins another, unless it is the same.
fn turn<T: PartialEq>(spans: &mut Spans<T>, at: f64, value: Option<T>) {
    if let Some(last) = spans.last_mut().filter(|last| last.1.is_infinite()) {
        if value.as_ref() == Some(&last.2) {
            return;
        }
        last.1 = at;
    }
    spans.extend(value.map(|value| (at, f64::INFINITY, value)));
}

impl Reader {
    fn read(&mut self, at: f64, line: &Line) {
        match line {
            Line::Run { agents, instances, .. } => {
                for (number, agent) in agents.iter().enumerate() {
                    self.numbers.insert(agent.name.clone(), number);
                    self.story.agents.push(AgentStory { name: agent.name.clone(), ..AgentStory::default() });
                }
                for instance in instances {
                    self.targets.insert(instance.name.clone(), vec![TargetState::Healthy; agents.len()]);
                    self.story.instances.entry(instance.name.clone()).or_default();
                }
            }
            Line::Process { agent, state } => self.process(at, agent, *state),
            Line::Path { from, to, open } => {
                let Some(from) = self.numbers.get(from).copied() else { return };
                for to in to.iter().filter_map(|to| self.numbers.get(to).copied()) {
                    _ = if *open { self.closed.remove(&(from, to)) } else { self.closed.insert((from, to)) };
                }
            }
            Line::Target { instance, state, observers } => {
                let Some(states) = self.targets.get_mut(instance) else { return };
                for observer in observers.iter().filter_map(|observer| self.numbers.get(observer)) {
                    states[*observer] = *state;
                }
            }
            Line::Event { agent, event: EventKind::Withdrawn { instance } } => {
                self.forget(at, agent, instance.as_str())
            }
            Line::Vote { agent, instance, vote, .. } => {
                let votes = &mut self.story.instances.entry(instance.clone()).or_default().votes;
                turn(votes.entry(agent.clone()).or_default(), at, *vote);
            }
            Line::Verdict { agent, instance, verdict, term, stale, .. } => {
                self.verdict(at, agent, instance, (*verdict, *stale), *term);
            }
            Line::Unstated { agent, instance } => self.unstated(at, agent, instance),
            Line::Certificate { instance, term, verdict, observers, signers, .. } => {
                let told = told(*verdict, *term, *observers, signers);
                let proof = Proof { at, verdict: *verdict, told };
                self.story.instances.entry(instance.clone()).or_default().proofs.push(proof);
            }
            Line::Survey { running, quorate, agreeing, bytes, lost, gossip_backlog, .. } => {
                let (running, quorate, agreeing, bytes) = (*running, *quorate, *agreeing, *bytes);
                let (lost, gossip_backlog) = (*lost, *gossip_backlog);
                self.story.surveys.push(Survey { at, running, quorate, agreeing, bytes, lost, gossip_backlog });
            }
            _ => {}
        }
    }

    fn process(&mut self, at: f64, agent: &str, state: ProcessState) {
        // A clone has no lane, and states nothing that is counted; but it votes.
        let number = self.numbers.get(agent);
        if let Some(number) = number {
            turn(&mut self.story.agents[*number].process, at, Some(state));
        }
        if !matches!(state, ProcessState::Up | ProcessState::Paused) {
            // Its votes and statements end with its process.
            let names: Vec<String> = self.story.instances.keys().cloned().collect();
            names.iter().for_each(|name| self.forget(at, agent, name));
        }
    }

    /// An agent neither votes on an instance any more nor states anything of it.
    fn forget(&mut self, at: f64, agent: &str, name: &str) {
        let Some(instance) = self.story.instances.get_mut(name) else { return };
        if let Some(votes) = instance.votes.get_mut(agent) {
            turn(votes, at, None);
        }
        self.unstated(at, agent, name);
    }

    /// It states nothing of it any more.
    fn unstated(&mut self, at: f64, agent: &str, name: &str) {
        let Some(instance) = self.story.instances.get_mut(name) else { return };
        if let (Some(number), Some(stated)) = (self.numbers.get(agent), self.stated.get_mut(name))
            && stated.remove(number).is_some()
        {
            instance.stated.push((at, count(stated)));
        }
    }

    fn verdict(&mut self, at: f64, agent: &str, instance: &str, statement: Statement, term: u64) {
        let Some(number) = self.numbers.get(agent) else { return };
        let stated = self.stated.entry(instance.to_owned()).or_default();
        let before = stated.insert(*number, statement);
        if before == Some(statement) {
            return;
        }
        if before.map(|(verdict, _)| verdict) != Some(statement.0) {
            self.story.agents[*number].verdicts.push((at, instance.to_owned(), statement.0, term));
        }
        self.story.instances.entry(instance.to_owned()).or_default().stated.push((at, count(stated)));
    }

    /// Works out anew which parts the mesh falls into, and what most observers find.
    fn regroup(&mut self, at: f64) {
        let parts = parts(self.story.agents.len(), &self.closed);
        for (number, agent) in self.story.agents.iter_mut().enumerate() {
            let touched = self.closed.iter().any(|(from, to)| *from == number || *to == number);
            turn(&mut agent.parts, at, touched.then(|| parts[number]));
        }
        for (name, states) in &self.targets {
            let found = |wanted: TargetState| states.iter().filter(|state| **state == wanted).count();
            let most = states.iter().copied().max_by_key(|state| (found(*state), *state as usize));
            turn(&mut self.story.instances.entry(name.clone()).or_default().truth, at, most);
        }
    }

    fn close(mut self) -> Story {
        let end = self.story.end;
        for agent in &mut self.story.agents {
            agent.process.iter_mut().for_each(|span| span.1 = span.1.min(end));
            agent.parts.iter_mut().for_each(|span| span.1 = span.1.min(end));
        }
        for instance in self.story.instances.values_mut() {
            instance.truth.iter_mut().for_each(|span| span.1 = span.1.min(end));
            instance.votes.values_mut().flatten().for_each(|span| span.1 = span.1.min(end));
        }
        self.story
    }
}

fn count(stated: &BTreeMap<usize, Statement>) -> BTreeMap<Statement, usize> {
    let mut counts = BTreeMap::new();
    stated.values().for_each(|statement| *counts.entry(*statement).or_default() += 1);
    counts
}

fn told(verdict: Verdict, term: u64, observers: u32, signers: &[Signer]) -> String {
    let signers: Vec<String> = signers
        .iter()
        .map(|signer| format!("{} {} at {:.3} s", signer.agent, signer.vote, signer.signed_ns as f64 / 1e9))
        .collect();
    format!("{verdict}, term {term}: {} signatures of {observers} observers\n{}", signers.len(), signers.join("\n"))
}

/// The part each agent is in, when only those who reach each other both ways are together; part 0 is the largest.
fn parts(agents: usize, closed: &BTreeSet<(usize, usize)>) -> Vec<usize> {
    let mut part = vec![usize::MAX; agents];
    let mut sizes = Vec::new();
    for first in 0..agents {
        if part[first] != usize::MAX {
            continue;
        }
        let (number, mut frontier) = (sizes.len(), vec![first]);
        part[first] = number;
        sizes.push(0);
        while let Some(agent) = frontier.pop() {
            sizes[number] += 1;
            for (other, its) in part.iter_mut().enumerate() {
                let open = !closed.contains(&(agent, other)) && !closed.contains(&(other, agent));
                if open && *its == usize::MAX {
                    *its = number;
                    frontier.push(other);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|number| std::cmp::Reverse(sizes[*number]));
    part.into_iter().map(|number| order.iter().position(|place| *place == number).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_who_reach_each_other_both_ways_the_largest_first() {
        let cut = |pairs: &[(usize, usize)]| pairs.iter().copied().collect::<BTreeSet<_>>();
        assert_eq!(parts(3, &cut(&[])), [0, 0, 0]);
        assert_eq!(parts(3, &cut(&[(0, 1), (0, 2)])), [1, 0, 0], "one way is enough");
        assert_eq!(parts(3, &cut(&[(0, 1), (1, 0)])), [0, 0, 0], "over a third");
    }

    #[test]
    fn the_votes_of_a_clone_end_with_it() {
        let mut reader = Reader::default();
        let (agent, instance) = ("a1'".to_owned(), "web@0".to_owned());
        reader.read(1.0, &vote(&agent, &instance, Some(Vote::Pass)));
        reader.read(2.0, &Line::Process { agent: agent.clone(), state: ProcessState::Crashed });
        reader.story.end = 3.0;
        assert_eq!(reader.close().instances[&instance].votes[&agent], [(1.0, 2.0, Vote::Pass)]);
    }

    fn vote(agent: &str, instance: &str, vote: Option<Vote>) -> Line {
        Line::Vote { agent: agent.to_owned(), instance: instance.to_owned(), vote, detail: String::new() }
    }

    #[test]
    fn a_vote_ends_when_another_observes_in_its_place() {
        let mut reader = Reader::default();
        reader.read(1.0, &vote("a1", "web@0", Some(Vote::Warn)));
        reader.read(2.0, &vote("a1", "web@0", None));
        reader.story.end = 3.0;
        assert_eq!(reader.close().instances["web@0"].votes["a1"], [(1.0, 2.0, Vote::Warn)]);
    }

    #[test]
    fn what_is_stale_is_counted_apart_and_is_no_change_of_verdict() {
        let mut reader = Reader::default();
        reader.numbers.insert("a0".to_owned(), 0);
        reader.story.agents.push(AgentStory::default());
        for (at, stale) in [(1.0, false), (2.0, true)] {
            reader.verdict(at, "a0", "web@0", (Verdict::Up, stale), 1);
        }
        let story = reader.close();
        let counted = [false, true].map(|stale| BTreeMap::from([((Verdict::Up, stale), 1)]));
        assert_eq!(
            story.instances["web@0"].stated.iter().map(|(_, counts)| counts).collect::<Vec<_>>(),
            [&counted[0], &counted[1]]
        );
        assert_eq!(story.agents[0].verdicts.len(), 1);
    }

    #[test]
    fn what_is_stated_no_more_is_not_counted() {
        let mut reader = Reader::default();
        reader.numbers.insert("a0".to_owned(), 0);
        reader.story.agents.push(AgentStory::default());
        reader.read(1.0, &vote("a0", "web@0", Some(Vote::Pass)));
        reader.verdict(1.0, "a0", "web@0", (Verdict::Up, false), 1);
        reader.read(2.0, &Line::Unstated { agent: "a0".to_owned(), instance: "web@0".to_owned() });
        reader.story.end = 3.0;
        let story = reader.close();
        assert_eq!(story.instances["web@0"].stated[1], (2.0, BTreeMap::new()));
        assert_eq!(story.instances["web@0"].votes["a0"], [(1.0, 3.0, Vote::Pass)], "the vote stands");
    }

    #[test]
    fn a_span_ends_where_another_begins() {
        let mut spans = Vec::new();
        turn(&mut spans, 1.0, Some(7));
        turn(&mut spans, 2.0, Some(7));
        turn(&mut spans, 3.0, Some(8));
        turn(&mut spans, 4.0, None);
        assert_eq!(spans, [(1.0, 3.0, 7), (3.0, 4.0, 8)]);
    }
}
