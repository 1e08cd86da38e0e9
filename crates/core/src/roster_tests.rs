//! Tests of the roster and of the rules by which its epochs are decided.

use super::*;
use proptest::prelude::*;

fn ids(numbers: &[u64]) -> Vec<AgentId> {
    numbers.iter().copied().map(AgentId).collect()
}

fn roster(numbers: &[u64]) -> Roster {
    Roster::new(1, ids(numbers).into_iter().collect())
}

fn change(admit: &[u64], remove: &[u64]) -> Change {
    Change { admit: ids(admit), remove: ids(remove) }
}

#[test]
fn a_change_makes_the_next_epoch() {
    let next = roster(&[1, 2, 3]).after(&change(&[7], &[2])).unwrap();
    assert_eq!(next.epoch(), 2);
    assert_eq!(next.iter().collect::<Vec<_>>(), ids(&[1, 3, 7]));
    assert_eq!(next, Roster::new(2, ids(&[1, 3, 7]).into_iter().collect()));
    assert_ne!(next.digest(), Roster::new(3, ids(&[1, 3, 7]).into_iter().collect()).digest());
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let roster = roster(&[1, 2, 3]);
    let wrong = [
        change(&[], &[]),
        change(&[2], &[]),
        change(&[], &[9]),
        change(&[], &[1, 2, 3]),
        change(&[8, 7], &[]),
        change(&[7, 7], &[]),
        Change { admit: (10..=10 + Change::MAX_AGENTS as u64).map(AgentId).collect(), remove: Vec::new() },
    ];
    for change in wrong {
        assert_eq!(roster.after(&change), None, "{change:?}");
    }
}

#[test]
fn recovery_meets_every_majority_the_agent_was_part_of() {
    for n in 2..40usize {
        let others_in_a_majority = n / 2;
        assert!(enough_to_recover(n) + others_in_a_majority > n - 1, "{n}");
        assert!(enough_to_recover(n) + others_in_a_majority <= n, "{n}: more than needed");
    }
    assert_eq!(enough_to_recover(1), 0);
}

#[test]
fn an_accepted_change_is_put_again() {
    let roster = roster(&[1, 2, 3]);
    let ballot = |round, proposer| Ballot { round, proposer: AgentId(proposer) };
    let mut attempt = Attempt::new(ballot(5, 1), change(&[9], &[]));
    assert_eq!(attempt.promised(&roster, AgentId(8), None), None, "a stranger's promise");
    assert_eq!(attempt.promised(&roster, AgentId(1), Some((ballot(2, 2), change(&[7], &[])))), None);
    assert_eq!(attempt.promised(&roster, AgentId(1), Some((ballot(2, 2), change(&[7], &[])))), None, "told twice");
    let put = attempt.promised(&roster, AgentId(3), Some((ballot(3, 1), change(&[8], &[])))).cloned();
    assert_eq!(put, Some(change(&[8], &[])));
}

/// What may happen next in a model of several members that all try at once, with losses and lost memories.
#[derive(Debug, Clone)]
enum Step {
    Begin(u64),
    /// Deliver the message with this index (modulo what is under way).
    Deliver(usize),
    Lose(usize),
    /// The member forgets everything, and recovers from the others.
    Forget(u64),
}

#[derive(Debug, Clone)]
enum Message {
    Prepare(Ballot),
    Promise(Ballot, Option<(Ballot, Change)>),
    Accept(Ballot, Change),
    Accepted(Ballot, Change),
}

#[derive(Default)]
struct Member {
    acceptor: Acceptor,
    attempt: Option<Attempt>,
    accepts: BTreeSet<AgentId>,
}

struct Model {
    roster: Roster,
    members: BTreeMap<AgentId, Member>,
    under_way: Vec<(AgentId, AgentId, Message)>,
    decided: Vec<Change>,
}

impl Model {
    fn new(size: u64) -> Self {
        let all: BTreeSet<AgentId> = (0..size).map(AgentId).collect();
        Self {
            members: all.iter().map(|id| (*id, Member::default())).collect(),
            roster: Roster::new(1, all),
            under_way: Vec::new(),
            decided: Vec::new(),
        }
    }

    fn all(&mut self, from: AgentId, message: &Message) {
        let to: Vec<_> = self.roster.iter().collect();
        self.under_way.extend(to.into_iter().map(|to| (from, to, message.clone())));
    }

    fn begin(&mut self, id: AgentId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let ballot = Ballot { round: member.acceptor.promised.round + 1, proposer: id };
        // Everyone wants something else.
        member.attempt = Some(Attempt::new(ballot, change(&[100 + id.0], &[])));
        member.accepts.clear();
        self.all(id, &Message::Prepare(ballot));
    }

    fn deliver(&mut self, (from, to, message): (AgentId, AgentId, Message)) {
        let Some(member) = self.members.get_mut(&to) else { return };
        match message {
            Message::Prepare(ballot) => {
                if let Ok(accepted) = member.acceptor.promise(ballot) {
                    self.under_way.push((to, from, Message::Promise(ballot, accepted)));
                }
            }
            Message::Promise(ballot, accepted) => {
                let Some(attempt) = member.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else { return };
                if let Some(put) = attempt.promised(&self.roster, from, accepted).cloned() {
                    self.all(to, &Message::Accept(ballot, put));
                }
            }
            Message::Accept(ballot, change) => {
                if member.acceptor.accept(ballot, change.clone()).is_ok() {
                    self.under_way.push((to, from, Message::Accepted(ballot, change)));
                }
            }
            Message::Accepted(ballot, change) => {
                if member.attempt.as_ref().is_some_and(|attempt| attempt.ballot == ballot) {
                    member.accepts.insert(from);
                    if self.roster.majority(member.accepts.len()) {
                        self.decided.push(change);
                    }
                }
            }
        }
    }

    fn forget(&mut self, id: AgentId) {
        let enough = enough_to_recover(self.roster.len());
        let others: Vec<AgentId> = self.roster.iter().filter(|other| *other != id).collect();
        let mut fresh = Member::default();
        // What is under way to it is lost with the process, and what it has said is not. It hears as few of the others as it may, and other ones
        // each time.
        self.under_way.retain(|(_, to, _)| *to != id);
        for other in others.iter().rev().take(enough) {
            fresh.acceptor.learn(&self.members[other].acceptor);
        }
        let above = fresh.acceptor.above_forgotten(id);
        for other in others.iter().take(enough) {
            let Some(member) = self.members.get_mut(other) else { continue };
            // Whoever has promised more has promised that, too.
            let _ = member.acceptor.promise(above);
            fresh.acceptor.learn(&member.acceptor);
        }
        let _ = fresh.acceptor.promise(above);
        self.members.insert(id, fresh);
    }
}

fn steps(size: u64) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..size).prop_map(Step::Begin),
        20 => any::<usize>().prop_map(Step::Deliver),
        2 => any::<usize>().prop_map(Step::Lose),
        1 => (0..size).prop_map(Step::Forget),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn an_epoch_is_decided_once((size, steps) in (1u64..6).prop_flat_map(|size| (Just(size), steps(size)))) {
        let mut model = Model::new(size);
        for step in steps {
            match step {
                Step::Begin(id) => model.begin(AgentId(id)),
                Step::Deliver(index) if !model.under_way.is_empty() => {
                    let index = index % model.under_way.len();
                    let message = model.under_way.swap_remove(index);
                    model.deliver(message);
                }
                Step::Lose(index) if !model.under_way.is_empty() => {
                    let index = index % model.under_way.len();
                    model.under_way.swap_remove(index);
                }
                Step::Forget(id) if size > 1 => model.forget(AgentId(id)),
                _ => {}
            }
            prop_assert!(model.decided.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", model.decided);
        }
    }
}
