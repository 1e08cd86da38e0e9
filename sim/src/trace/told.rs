//! What the lines have told of each process, so that what ends is told to end, and what no event tells is told otherwise.

use quorate_core::{InstanceId, Verdict};
use quorate_mesh::{EventKind, InstanceView};
use std::collections::{BTreeMap, BTreeSet};

/// What was told of all processes, by number.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<usize, Process>);

/// What was told of one.
#[derive(Debug, Default)]
struct Process {
    /// Which of those on its host: all that was told of the one before has ended with it.
    run: u64,
    /// On what it votes.
    votes: BTreeSet<InstanceId>,
    /// Is it quorate, and by which epoch does it count? None before its first picture.
    standing: Option<(bool, u64)>,
}

impl Told {
    fn of(&mut self, process: usize, run: u64) -> &mut Process {
        let told = self.0.entry(process).or_default();
        if told.run != run {
            *told = Process { run, ..Process::default() };
        }
        told
    }

    /// Takes note of an event, which is told by itself.
    pub fn event(&mut self, process: usize, run: u64, kind: &EventKind) {
        let told = self.of(process, run);
        match kind {
            EventKind::Vote { instance, .. } => _ = told.votes.insert(instance.clone()),
            EventKind::Withdrawn { instance } => _ = told.votes.remove(instance),
            EventKind::Quorate { quorate, .. } => told.standing = told.standing.map(|(_, epoch)| (*quorate, epoch)),
            EventKind::Roster { epoch, .. } => told.standing = told.standing.map(|(quorate, _)| (quorate, *epoch)),
            EventKind::Verdicts { .. }
            | EventKind::Member { .. }
            | EventKind::Registered { .. }
            | EventKind::Breaker { .. }
            | EventKind::Override { .. }
            | EventKind::Stalled { .. }
            | EventKind::IdentityConflict { .. } => {}
        }
    }

    /// It does not observe `instance`. True when it was told to vote on it.
    pub fn vote_ends(&mut self, process: usize, run: u64, instance: &InstanceId) -> bool {
        self.of(process, run).votes.remove(instance)
    }

    /// Is that where it stands, other than was told?
    pub fn stands(&mut self, process: usize, run: u64, standing: (bool, u64)) -> bool {
        self.of(process, run).standing.replace(standing) != Some(standing)
    }
}

/// What a picture of an instance states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The verdict as it may be stated.
    pub verdict: Verdict,
    /// As it was decided.
    pub decided: Verdict,
    /// Of which copy.
    pub incarnation: u64,
    /// In which term.
    pub term: u64,
    /// Can too few observers be heard?
    pub stale: bool,
    /// Does it change too often?
    pub flapping: bool,
}

impl Statement {
    /// None of a host of which nothing was decided and that is held alive: it enters and leaves pictures with every doubt, and means what its absence does.
    pub fn of(view: &InstanceView) -> Option<Self> {
        let statement = Self {
            verdict: view.verdict,
            decided: view.decided,
            incarnation: view.incarnation,
            term: view.term,
            stale: view.stale_since.is_some(),
            flapping: view.flapping,
        };
        let alive =
            view.instance.host_of().is_some() && view.decided == Verdict::Starting && view.verdict == Verdict::Up;
        (!alive).then_some(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Observation, UnixMs, Vote};

    #[test]
    fn a_vote_ends_once_and_with_its_process() {
        let (mut told, web) = (Told::default(), InstanceId::new("web@0").unwrap());
        let observation = Observation { vote: Vote::Pass, detail: String::new(), since: UnixMs(0) };
        let vote = EventKind::Vote { instance: web.clone(), observation };
        assert!(!told.vote_ends(1, 1, &web), "none was told");
        told.event(1, 1, &vote);
        assert!(!told.vote_ends(2, 1, &web), "it is another's");
        assert!(told.vote_ends(1, 1, &web) && !told.vote_ends(1, 1, &web));
        told.event(1, 1, &vote);
        assert!(!told.vote_ends(1, 2, &web), "the process has ended");
        told.event(1, 2, &vote);
        told.event(1, 2, &EventKind::Withdrawn { instance: web.clone() });
        assert!(!told.vote_ends(1, 2, &web), "its end was told");
    }

    #[test]
    fn where_a_process_stands_is_told_at_its_start_and_when_no_event_does() {
        let mut told = Told::default();
        let roster = |epoch| EventKind::Roster { epoch, roster: 3, admitted: Vec::new(), removed: Vec::new() };
        told.event(1, 1, &roster(1));
        assert!(told.stands(1, 1, (false, 1)), "it has just started");
        assert!(!told.stands(1, 1, (false, 1)));
        told.event(1, 1, &EventKind::Quorate { quorate: true, alive: 3, roster: 3 });
        told.event(1, 1, &roster(2));
        assert!(!told.stands(1, 1, (true, 2)), "events have told");
        assert!(told.stands(1, 1, (true, 3)) && told.stands(1, 2, (true, 3)));
    }
}
