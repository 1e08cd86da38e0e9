//! What agents said of each other in a run: the events of membership and of verdicts, with who said it and when.

use crate::scenario::Subject;
use crate::time::SimTime;
use crate::truth::Truth;
use quorate_core::Verdict;
use quorate_mesh::{EventKind, MemberState};

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// Membership: it answers.
    Alive,
    /// Membership: a probe of the speaker's own was not answered.
    Suspect,
    /// Membership: it is gone.
    Failed,
    /// The verdict on its host.
    Host { down: bool, term: u64 },
    /// The verdict on an instance.
    Instance { down: bool, term: u64 },
}

/// Someone says something of someone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// When.
    pub at: SimTime,
    /// Who says it, by the agent's number.
    pub by: usize,
    /// Of whom: an agent's number, or an instance's.
    pub of: usize,
    /// What.
    pub word: Word,
}

/// All that was said in a run.
#[derive(Debug, Default)]
pub struct Ledger {
    /// In order of time.
    pub notes: Vec<Note>,
    agents: usize,
    /// Whom does each agent hold alive? By speaker, then subject.
    alive: Vec<bool>,
    /// Pairs of agents of which the one holds the other alive.
    pub pairs: usize,
}

impl Ledger {
    /// For a mesh of so many agents, who know each other already when it is `formed`.
    pub fn new(agents: usize, formed: bool) -> Self {
        let mut ledger = Self { notes: Vec::new(), agents, alive: vec![formed; agents * agents], pairs: 0 };
        ledger.pairs = if formed { ledger.all_pairs() } else { 0 };
        ledger
    }

    /// How many ordered pairs of different agents there are.
    pub fn all_pairs(&self) -> usize {
        self.agents * self.agents.saturating_sub(1)
    }

    /// Notes an event of an agent.
    pub fn take(&mut self, truth: &Truth, by: usize, kind: &EventKind) {
        match kind {
            EventKind::Member { agent, to, .. } => {
                let Some(of) = truth.scenario.agent(*agent) else { return };
                let word = match to {
                    MemberState::Alive => Word::Alive,
                    MemberState::Suspect => Word::Suspect,
                    MemberState::Failed => Word::Failed,
                    MemberState::Left => return,
                };
                self.note(Note { at: truth.now, by, of, word });
            }
            EventKind::Verdicts { changes, .. } => {
                for change in changes {
                    let (down, term) = (change.to == Verdict::Down, change.term);
                    let (of, word) = match truth.scenario.subject(&change.instance) {
                        Some(Subject::Host(agent)) => (agent, Word::Host { down, term }),
                        Some(Subject::Instance(instance)) => (instance, Word::Instance { down, term }),
                        None => continue,
                    };
                    self.note(Note { at: truth.now, by, of, word });
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, note: Note) {
        if matches!(note.word, Word::Alive | Word::Failed) && note.by != note.of {
            let held = &mut self.alive[note.by * self.agents + note.of];
            let holds = note.word == Word::Alive;
            match (*held, holds) {
                (false, true) => self.pairs += 1,
                (true, false) => self.pairs -= 1,
                _ => {}
            }
            *held = holds;
        }
        self.notes.push(note);
    }

    /// What was said between two moments, the later not included.
    pub fn between(&self, from: SimTime, to: SimTime) -> impl Iterator<Item = &Note> {
        let begin = self.notes.partition_point(|note| note.at < from);
        self.notes[begin..].iter().take_while(move |note| note.at < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(ledger: &mut Ledger, ms: u64, by: usize, of: usize, word: Word) {
        ledger.note(Note { at: SimTime::from_ms(ms), by, of, word });
    }

    #[test]
    fn a_formed_mesh_begins_with_all_pairs() {
        let mut ledger = Ledger::new(3, true);
        assert_eq!(ledger.pairs, 6);
        note(&mut ledger, 1, 0, 1, Word::Failed);
        assert_eq!(ledger.pairs, 5);
    }

    #[test]
    fn pairs_are_counted_once() {
        let mut ledger = Ledger::new(2, false);
        note(&mut ledger, 1, 0, 1, Word::Alive);
        note(&mut ledger, 2, 0, 1, Word::Alive);
        assert_eq!((ledger.pairs, ledger.all_pairs()), (1, 2));
        note(&mut ledger, 3, 1, 0, Word::Alive);
        assert_eq!(ledger.pairs, 2);
        note(&mut ledger, 4, 1, 0, Word::Suspect);
        assert_eq!(ledger.pairs, 2, "a suspect is still held alive");
        note(&mut ledger, 5, 1, 0, Word::Failed);
        note(&mut ledger, 6, 1, 0, Word::Failed);
        assert_eq!(ledger.pairs, 1);
        let said = ledger.between(SimTime::from_ms(2), SimTime::from_ms(5)).count();
        assert_eq!(said, 3);
    }
}
