//! A member that lies about what it sees: in its votes, in what it proposes, and in what it signs.

use super::craft::{FAIL, Hand};
use super::{Mischief, packet};
use quorate_core::signing::Refusal;
use quorate_core::verdict::{Decision, Endorsement, supports};
use quorate_core::{AgentId, InstanceId, Outcome, Verdict, Vote};
use quorate_mesh::{Input, MeshView};
use quorate_wire::{Answer, Packet, Reply};
use std::collections::BTreeMap;
use std::time::Duration;

/// Instances it proposes about at a time.
const PROPOSALS: usize = 4;
/// Furthest that its terms run ahead.
const LEAD: usize = 17;

/// What it says of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It fails.
    Down,
    /// It passes.
    Up,
    /// Now this, now that.
    Random,
}

/// The liar.
pub struct Liar {
    lie: Lie,
    /// Genuine signatures under its last proposals.
    collected: BTreeMap<InstanceId, (Decision, BTreeMap<AgentId, Endorsement>)>,
    nonce: u64,
}

impl Liar {
    /// One that tells this lie.
    pub fn new(lie: Lie) -> Self {
        Self { lie, collected: BTreeMap::new(), nonce: 0 }
    }

    fn verdict(&self, hand: &mut Hand) -> Verdict {
        match self.lie {
            Lie::Down => Verdict::Down,
            Lie::Up => Verdict::Up,
            Lie::Random => {
                hand.pick(&[Verdict::Up, Verdict::Down, Verdict::Partial, Verdict::Degraded]).unwrap_or(Verdict::Up)
            }
        }
    }

    fn vote(&self, hand: &mut Hand) -> Vote {
        match self.lie {
            Lie::Down => FAIL,
            Lie::Up => Vote::Pass,
            Lie::Random => hand.pick(&[Vote::Pass, Vote::Warn, FAIL]).unwrap_or(FAIL),
        }
    }

    fn answer(&self, hand: &mut Hand, decision: &Decision) -> Answer {
        let vote = self.vote(hand);
        let signed = |hand: &Hand| Reply::Signed(hand.endorse(decision, vote));
        let reply = match self.lie {
            Lie::Random => match hand.below(6) {
                0 => Reply::Disagrees(vote),
                1 => Reply::NotNow,
                2 => Reply::Promised(Refusal::Taken { term: hand.bits() >> 40 }),
                3 => Reply::Unknown,
                _ => signed(hand),
            },
            _ if supports(vote, decision.verdict) => signed(hand),
            _ => Reply::Disagrees(vote),
        };
        Answer { instance: decision.instance.clone(), term: decision.term, reply }
    }

    /// Keeps the signatures that others gave; with a quorum of them the lie is a certificate.
    fn collect(&mut self, hand: &mut Hand, from: AgentId, answers: Vec<Answer>) {
        for answer in answers {
            let Some((decision, signatures)) = self.collected.get_mut(&answer.instance) else { continue };
            if let (Reply::Signed(endorsement), true) = (answer.reply, answer.term == decision.term) {
                signatures.insert(from, endorsement);
                let endorsements = signatures.values().cloned().collect();
                let certificate = hand.certificate(decision.clone(), endorsements);
                if certificate.check().is_ok() {
                    for to in signatures.keys().copied().filter(|agent| *agent != hand.me).collect::<Vec<_>>() {
                        hand.send(to, &Packet::push(&[], std::slice::from_ref(&certificate)));
                    }
                }
            }
        }
    }
}

impl Mischief for Liar {
    fn hear(&mut self, hand: &mut Hand, input: Input) -> Option<Input> {
        if let Input::Probe { id, .. } = input {
            let outcome = match self.vote(hand) {
                Vote::Fail { phase, cause } => Outcome::fail(phase, cause, "a lie", Duration::from_millis(1)),
                _ => Outcome::pass(Duration::from_millis(1)),
            };
            return Some(Input::Probe { id, outcome });
        }
        match packet(&input) {
            Some((from, Packet::Propose { nonce, decisions })) => {
                let answers = decisions.iter().map(|decision| self.answer(hand, decision)).collect();
                hand.send(from, &Packet::Answers { nonce, answers });
                None
            }
            Some((from, Packet::Answers { nonce, answers })) if nonce == self.nonce => {
                self.collect(hand, from, answers);
                None
            }
            // Whom it wants gone has never answered it.
            Some((_, Packet::Pong { .. })) if self.lie == Lie::Down => None,
            _ => Some(input),
        }
    }

    fn act(&mut self, hand: &mut Hand, view: &MeshView) {
        self.nonce = hand.bits();
        self.collected.clear();
        let instances: Vec<_> = view.instances.values().collect();
        for _ in 0..PROPOSALS.min(instances.len()) {
            let Some(instance) = hand.pick(&instances) else { return };
            let (verdict, vote) = (self.verdict(hand), self.vote(hand));
            let ahead = if self.lie == Lie::Random { hand.below(LEAD) as u64 + 1 } else { 1 };
            if instance.decided == verdict && self.lie != Lie::Random {
                continue;
            }
            let Some(decision) = hand.decision(instance, verdict, ahead) else { continue };
            let own = hand.endorse(&decision, vote);
            self.collected.insert(decision.instance.clone(), (decision.clone(), BTreeMap::from([(hand.me, own)])));
            let ask = Packet::Propose { nonce: self.nonce, decisions: vec![decision.clone()] };
            instance.observers.iter().filter(|o| o.agent != view.agent).for_each(|o| hand.send(o.agent, &ask));
        }
    }
}
