//! The hand of a faulty member: its own keys, its own dice, and what it puts out.

use super::send;
use crate::draw::{Draws, Purpose, scale};
use crate::keys::SimKeys;
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, Cause, Class, InstanceId, Now, Phase, Verdict, Vote};
use quorate_mesh::{InstanceView, Keys, MemberState, MeshView, Output};
use quorate_wire::{Batch, OwnerDelta, Packet, Record, signing_bytes};
use std::sync::Arc;

/// The vote of one who lies that something fails.
pub const FAIL: Vote = Vote::Fail { phase: Phase::Connect, cause: Cause::Refused };
/// Length of a signature, in bytes.
const SIGNATURE_BYTES: usize = Batch::SIGNATURE_BYTES;

/// What a faulty member acts with.
pub struct Hand {
    /// Who it is.
    pub me: AgentId,
    /// The time.
    pub now: Now,
    keys: SimKeys,
    draws: Draws,
    thrown: u64,
    out: Vec<Output>,
}

impl Hand {
    /// Its own keys and dice.
    pub fn new(me: AgentId, keys: SimKeys, draws: Draws) -> Self {
        Self { me, now: Now::default(), keys, draws, thrown: 0, out: Vec::new() }
    }

    /// What it has put out since the last time.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.thrown += 1;
        self.draws.bits(Purpose::Faulty, self.thrown, 0, 0)
    }

    /// A whole number below `end`; zero when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(scale(self.bits(), 0, end.saturating_sub(1) as u64)).unwrap_or(0)
    }

    /// One of a list.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len())).cloned()
    }

    /// Random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| self.bits().to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }

    /// Members that it could send to.
    pub fn others(&self, view: &MeshView) -> Vec<AgentId> {
        let there = |state| matches!(state, MemberState::Alive | MemberState::Suspect);
        view.members.values().filter(|m| m.agent != self.me && there(m.state)).map(|m| m.agent).collect()
    }

    /// Sends a packet, as a datagram if it fits.
    pub fn send(&mut self, to: AgentId, packet: &Packet) {
        self.send_bytes(to, quorate_wire::encode(packet), false);
    }

    /// Sends any bytes; what the transport would refuse to carry is not sent.
    pub fn send_bytes(&mut self, to: AgentId, bytes: Vec<u8>, stream: bool) {
        self.out.extend(send(to, bytes, stream));
    }

    /// Sends a packet to everyone.
    pub fn tell_all(&mut self, view: &MeshView, packet: &Packet) {
        for to in self.others(view) {
            self.send(to, packet);
        }
    }

    /// Its own genuine signature under a decision.
    pub fn endorse(&self, decision: &Decision, vote: Vote) -> Endorsement {
        let signed_at = self.now.wall;
        let bytes = signing_bytes("quorate endorsement 1", &(decision, vote, signed_at));
        Endorsement { agent: self.me, vote, signed_at, signature: self.keys.sign(&bytes) }
    }

    /// A signature in another's name: by its own key, or out of thin air.
    pub fn forge(&mut self, agent: AgentId, decision: &Decision, vote: Vote) -> Endorsement {
        let mut endorsement = self.endorse(decision, vote);
        endorsement.agent = agent;
        if self.below(2) == 0 {
            endorsement.signature = self.bytes(SIGNATURE_BYTES);
        }
        endorsement
    }

    /// A batch in another's name, signed with its own key or not at all.
    pub fn forge_batch(&mut self, owner: AgentId, (epoch, seq): (u32, u32), records: Vec<Record>) -> OwnerDelta {
        let mut batch = Batch { owner, epoch, seq, live: vec![seq], records, signature: Vec::new() };
        batch.signature = match self.below(2) {
            0 => self.bytes(SIGNATURE_BYTES),
            _ => self.keys.sign(&batch.signing_bytes()),
        };
        let credential = (self.below(2) == 0).then(|| self.keys.credential().into());
        OwnerDelta { owner, credential, batches: vec![Arc::new(batch)] }
    }

    /// The next decision on an instance, `ahead` terms on, if anything was ever decided about it.
    pub fn decision(&self, instance: &InstanceView, verdict: Verdict, ahead: u64) -> Option<Decision> {
        let held = instance.certificate.as_ref().map(|certificate| &certificate.decision);
        let host = InstanceId::host_of(&instance.instance).is_some();
        let incarnation = held.map(|decision| decision.incarnation).or(host.then_some(1))?;
        let term = instance.term.saturating_add(ahead);
        Some(Decision { instance: instance.instance.clone(), incarnation, term, verdict, observers: instance.assigned })
    }

    /// A certificate of these signatures.
    pub fn certificate(&self, decision: Decision, endorsements: Vec<Endorsement>) -> Arc<Certificate> {
        let class = if decision.verdict == Verdict::Down { Class::InstanceFault } else { Class::Healthy };
        Arc::new(Certificate { decision, class, decided_at: self.now.wall, endorsements })
    }
}
