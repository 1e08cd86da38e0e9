//! What members tell of each other outright: whole tables, and claims about ourselves.

use super::claims::Outbid;
use super::{Swim, SwimId};
use crate::sabotage::Defect;
use foca::{Member, State};
use quorate_core::{AgentId, Mono, hash};
use quorate_wire::MemberMark;
use std::collections::BTreeSet;

/// A member that a peer's table says is failed, and that we hold alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldFailed {
    pub agent: AgentId,
    /// Under this identity it is held failed.
    pub failed: u64,
    /// Under this one, which is no later, it is held alive here.
    pub alive: u64,
}

/// Does `mark` tell nothing that `held` does not?
fn covers(held: &MemberMark, mark: &MemberMark) -> bool {
    let older = mark.counter < held.counter && mark.state < 2;
    let same = mark.counter == held.counter && mark.state == held.state && mark.incarnation <= held.incarnation;
    older || same
}

impl Swim {
    /// The membership table, this agent included.
    pub fn table(&self) -> Vec<MemberMark> {
        let mark = |member: &Member<SwimId>| MemberMark {
            agent: member.id().agent,
            counter: member.id().counter,
            incarnation: member.incarnation(),
            state: match member.state() {
                State::Alive => 0,
                State::Suspect => 1,
                State::Down => 2,
            },
        };
        let me = *self.foca.identity();
        // Our own former identities are nobody's business.
        let others = self.foca.iter_membership_state().filter(|member| member.id().agent != me.agent);
        let mut table: Vec<_> = others.map(mark).collect();
        table.push(MemberMark { agent: me.agent, counter: me.counter, incarnation: self.incarnation, state: 0 });
        table.sort_unstable_by_key(|mark| mark.agent);
        table
    }

    /// A hash of the table, as far as two agents that agree have the same: who is there, under which identity, and who is down.
    pub fn table_hash(&self) -> u64 {
        let me = *self.foca.identity();
        let hashed =
            |id: SwimId, down: bool| hash::spread(id.agent.0 ^ hash::spread(id.counter << 1 | u64::from(down)));
        let others = self.foca.iter_membership_state().filter(|member| member.id().agent != me.agent);
        others.fold(hashed(me, false), |all, member| all ^ hashed(*member.id(), member.state() == State::Down))
    }

    /// Merges a peer's table by the safe rule. Returns those whom the peer holds failed under the identity that we hold alive, or under a later
    /// one, of which we have missed that it lived at all.
    pub fn merge(&mut self, now: Mono, table: &[MemberMark], links: &BTreeSet<AgentId>) -> Vec<HeldFailed> {
        let me = *self.foca.identity();
        let mut held_failed = Vec::new();
        let mut updates = Vec::new();
        // The library looks for each member from the first on: what it has already is not worth telling it.
        let ours = self.table();
        let told = |mark: &&MemberMark| {
            let held = ours.binary_search_by_key(&mark.agent, |held| held.agent).ok().and_then(|place| ours.get(place));
            mark.agent != me.agent && held.is_some_and(|held| covers(held, mark))
        };
        for mark in table.iter().filter(|mark| !told(mark)) {
            let id = SwimId { agent: mark.agent, counter: mark.counter };
            let ours = mark.agent == me.agent;
            if ours && let Ok(mut known) = self.known.lock() {
                known.hear_of_us(mark.counter);
            }
            if if ours { id != me } else { !self.believable(id) } {
                continue;
            }
            let state = match mark.state {
                0 => State::Alive,
                1 => State::Suspect,
                _ => State::Down,
            };
            let safe = !self.sabotage.is(Defect::NaiveMerge);
            if state == State::Down && !ours && self.active.contains_key(&mark.agent) && safe {
                let held = self.active.get(&mark.agent).copied().filter(|held| *held <= mark.counter);
                held_failed.extend(held.map(|alive| HeldFailed { agent: mark.agent, failed: mark.counter, alive }));
                continue;
            }
            updates.push(Member::new(id, mark.incarnation, state));
        }
        self.drive(now, links, |foca, sink| foca.apply_many(updates.into_iter(), true, sink));
        self.outbid(now, links);
        held_failed
    }

    pub(super) fn believable(&self, id: SwimId) -> bool {
        self.known.lock().is_ok_and(|known| known.believable(id))
    }

    /// Goes on under an identity beyond what others say of ours.
    pub(super) fn outbid(&mut self, now: Mono, links: &BTreeSet<AgentId>) {
        let me = *self.foca.identity();
        let Some(outbid) = self.known.lock().ok().and_then(|mut known| known.outbid(now, me)) else { return };
        self.outputs.push(outbid.output());
        if let Outbid::Renew(id) = outbid {
            self.incarnation = 0;
            self.drive(now, links, |foca, sink| foca.change_identity(id, sink));
        }
    }

    /// Someone holds us failed under `counter`: renew, if that is still our identity, or outbid it, if it is ahead of us.
    pub fn held_failed(&mut self, now: Mono, counter: u64, links: &BTreeSet<AgentId>) {
        let me = *self.foca.identity();
        if me.counter == counter {
            let down = Member::new(me, self.incarnation, State::Down);
            self.drive(now, links, |foca, sink| foca.apply_many(std::iter::once(down), true, sink));
        } else if let Ok(mut known) = self.known.lock() {
            known.hear_of_us(counter);
        }
        self.outbid(now, links);
    }

    /// Takes a higher boot counter, when the stored one turns out to be old.
    pub fn restart_as(&mut self, now: Mono, boot: u32, links: &BTreeSet<AgentId>) {
        let id = SwimId::first(self.foca.identity().agent, boot);
        self.know(id.agent, boot);
        self.incarnation = 0;
        self.drive(now, links, |foca, sink| foca.change_identity(id, sink));
    }
}
