//! What an observer signs: only what its own eyes have seen a moment ago, from a place where it reaches more than half, and once per term.

use super::Engine;
use super::instance::Instance;
use super::vantage::Vantage;
use crate::sabotage::Defect;
use quorate_core::opinion::opinion;
use quorate_core::verdict::{Certificate, Decision, Endorsement, supports};
use quorate_core::{AgentId, Check, Verdict, Vote};
use quorate_wire::{Reply, signing_bytes};
use std::sync::Arc;
use std::time::Duration;

/// A failed look counts no longer than this, and twice as long as a look may take, as one of the same moment: where silence is looked at once more, the other's
/// two looks may have come between.
pub(super) const MOMENT: Duration = Duration::from_secs(5);

pub(super) fn endorsement_bytes(decision: &Decision, vote: Vote, signed_at: quorate_core::UnixMs) -> Vec<u8> {
    signing_bytes("quorate endorsement 1", &(decision, vote, signed_at))
}

/// Is this agent's vote of before a change that others have seen? One that still says that it reaches the instance, and has failed to since, is no voice for
/// it; and of what is down and answers somebody again, nobody fails before it has looked once more.
fn may_be_late(instance: &Instance, vote: Vote) -> bool {
    let Some(watch) = &instance.watch else { return false };
    let revives = instance.decided() == Verdict::Down && watch.asked.is_some_and(|asked| watch.looked < asked);
    vote.reaches() && (watch.failures > 0 || watch.set_aside) || vote.fails() && revives
}

impl Engine {
    /// Only a fellow observer is signed for: anyone else could add its own voice to those of a few, and outvote the many who were not asked.
    pub(super) fn reply_to(&mut self, from: AgentId, decision: &Decision) -> Reply {
        if self.instances.get(&decision.instance).is_some_and(|instance| instance.observers.contains(&from)) {
            return self.consider(decision, false);
        }
        self.stats.refusals += 1;
        Reply::Unknown
    }

    /// Will this agent sign, now?
    pub(super) fn consider(&mut self, decision: &Decision, own: bool) -> Reply {
        let reply = self.judge(decision);
        match &reply {
            Reply::Signed(_) => self.stats.signatures += 1,
            _ if !own => self.stats.refusals += 1,
            _ => {}
        }
        reply
    }

    fn judge(&mut self, decision: &Decision) -> Reply {
        if let Some(host) = decision.instance.host_of() {
            self.rouse_host(host);
        }
        let Some(instance) = self.instances.get(&decision.instance) else { return Reply::Unknown };
        if decision.incarnation != instance.incarnation || !decision.verdict.certifiable() {
            return Reply::Unknown;
        }
        if let Some(certificate) = instance.certificate.as_ref().filter(|c| c.decision.term >= decision.term) {
            return Reply::Certified(Arc::clone(certificate));
        }
        if let Some(certificate) = instance.certificate.as_ref().filter(|c| self.stands(instance, c, decision)) {
            return Reply::Certified(Arc::clone(certificate));
        }
        let me = self.me();
        if decision.observers != instance.assigned {
            return Reply::Unknown;
        }
        if instance.is_host() && instance.home == me && instance.may_sign(me, decision.verdict) {
            return self.sign_if_quorate(decision, Vote::Pass);
        }
        if !instance.observers.contains(&me) {
            return Reply::Unknown;
        }
        if instance.is_host() && instance.watch.is_none() {
            let home = instance.home;
            self.doubt_host(home);
            return Reply::NotNow;
        }
        let Some(vote) = instance.watch.as_ref().map(|watch| watch.vote) else { return Reply::NotNow };
        let vote = self.signed_vote(vote, decision.verdict);
        if decision.verdict == Verdict::Partial && may_be_late(instance, vote) {
            // While failures count the next look has its time.
            self.look_now(&decision.instance, false);
            return Reply::NotNow;
        }
        let opinion = || opinion(&self.ballot(instance));
        let agrees = supports(vote, decision.verdict)
            && (matches!(decision.verdict, Verdict::Up | Verdict::Down) && !vote.fails_unproven()
                || opinion() == Some(decision.verdict));
        if !agrees {
            return if vote.abstains() { Reply::NotNow } else { Reply::Disagrees(vote) };
        }
        // Who hears of more failures than the proposer does would have it `partial`: the two would else be decided in turn.
        if decision.verdict == Verdict::Up && opinion() == Some(Verdict::Partial) {
            return Reply::NotNow;
        }
        if !instance.may_sign(me, decision.verdict) {
            // Of what its home alone reaches the home's word is the one that is wanted.
            let wanted = decision.verdict == Verdict::Partial && vote.reaches();
            return if wanted { Reply::Disagrees(vote) } else { Reply::NotNow };
        }
        if self.returns_too_soon(instance, decision.verdict) {
            return Reply::NotNow;
        }
        if !self.vote_is_fresh(instance) && !self.defective(Defect::SilenceFails) {
            // A new look makes it worth something at the next asking.
            self.look_now(&decision.instance, false);
            return Reply::NotNow;
        }
        self.sign_if_quorate(decision, vote)
    }

    fn sign_if_quorate(&mut self, decision: &Decision, vote: Vote) -> Reply {
        // A roll call finds enough a moment before this agent counts as regained, and so begins to settle.
        if !self.settled() || !self.was_quorate {
            return Reply::NotNow;
        }
        match self.vantage() {
            Vantage::Valid => {}
            Vantage::Isolated => return Reply::NotNow,
            Vantage::Unknown => {
                self.call_roll();
                if self.vantage() != Vantage::Valid {
                    return Reply::NotNow;
                }
            }
        }
        self.sign(decision, vote)
    }

    /// Is this agent's own vote still of this moment?
    fn vote_is_fresh(&self, instance: &Instance) -> bool {
        let Some(watch) = &instance.watch else { return false };
        let timing = &self.config.timing;
        let span = |check: &Check| check.period + check.timeout;
        let life =
            instance.registration.as_ref().map_or(timing.swim_period + timing.host_ping_timeout, |r| span(&r.check));
        let slack = Duration::from_secs(1);
        // Failures of different moments prove nothing, however rarely the instance is probed: whoever failed to reach it looks again.
        let takes = instance.registration.as_ref().map_or(Duration::ZERO, |r| r.check.timeout);
        let life = if watch.vote.fails() { life.min(MOMENT + 2 * takes) } else { life };
        watch.last.is_some_and(|(at, reached)| {
            self.lease_clock().since(at) <= life + slack
                && reached == watch.vote.reaches()
                && self.stalled_at.is_none_or(|stalled| at >= stalled)
                && !(watch.vote.fails() && watch.looked < instance.overruled.max(self.roll.regained_at))
        })
    }

    /// Is this the verdict that holds already, with signatures enough for today's roster? Then there is nothing to sign; unless the proposer
    /// speaks of a later term, and so may know of a verdict between the two.
    fn stands(&self, instance: &Instance, certificate: &Certificate, decision: &Decision) -> bool {
        certificate.decision.verdict == decision.verdict
            && !instance.is_superseded()
            && decision.term <= certificate.decision.term + 1
            && !self.is_thin(instance, certificate)
    }

    pub(super) fn sign(&mut self, decision: &Decision, vote: Vote) -> Reply {
        let (now, signed_at) = (self.lease_clock(), self.now.wall);
        let Some(instance) = self.instances.get_mut(&decision.instance) else { return Reply::Unknown };
        if let Err(refusal) = instance.signer.may_sign(decision.term, decision.verdict, now) {
            // Who has not seen what used up the term is shown it, or it would ask for ever.
            let used_up = instance.used_up.as_ref().filter(|proof| proof.decision.term >= decision.term);
            return used_up.map_or(Reply::Promised(refusal), |proof| Reply::UsedUp(Arc::clone(proof)));
        }
        instance.signer.sign(decision.term, decision.verdict, now);
        let signature = self.keys.sign(&endorsement_bytes(decision, vote, signed_at));
        Reply::Signed(Endorsement { agent: self.config.agent, vote, signed_at, signature })
    }
}
