//! Certificates: what they say is broken, when they are believed, how they spread, and when they are stale.

use super::assigning::SPARE_PLACES;
use super::instance::Instance;
use super::{Engine, limits};
use crate::api::VerdictChange;
use crate::gossip::News;
use crate::sabotage::Defect;
use quorate_core::opinion::Voter;
use quorate_core::verdict::{Certificate, Decision, Pattern};
use quorate_core::{AgentId, Class, Evidence, InstanceId, Verdict, quorum};
use quorate_wire::{Packet, Sealed, encode_value};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// In a mesh of at most this many, a new certificate is sent to everyone at once.
const TELL_ALL_UP_TO: usize = 64;
/// How long after a decision, beside one round of probes, its class is the one read at the decision.
const RIPENING: Duration = Duration::from_secs(1);
/// Hosts whose certificates are shown to their observers at a time.
const MAX_CONTESTED: usize = 16;
/// Proofs of used-up terms in one packet: as many as fit, however long each may be.
pub(super) const MAX_USED_UP: usize = limits::MAX_DELTA_BYTES / limits::MAX_CERTIFICATE_BYTES;
/// Changes remembered for the flap flag.
const MAX_CHANGES: usize = 64;
/// Membership finds out later than a quorum that an agent is lost, above all where this agent was cut off as well. For so long after its host was
/// found down, two comparisons with others and a suspicion, it is not heard. After that, an agent held alive does live: its host may be down for flapping.
const LOST_LIFE: Duration = Duration::from_secs(15);

/// Within this time, and twice that which its check takes to recover, whoever has returned is decided about anew, where that is possible.
const DECIDED_ANEW: Duration = Duration::from_secs(20);

/// Where a certificate comes from, which says how far it still has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Decided here: everyone is to be told.
    Made,
    /// Told by gossip: passed on.
    Pushed,
    /// Learnt by comparing notes: old news.
    Repaired,
    /// Shown since its term is used up: not to be believed, though that be unknown here.
    UsedUp,
}

impl Engine {
    /// What seems to be broken at the moment of a decision. Observers probe at different times: those that still pass while a quorum
    /// fails are mostly late, so that only the failing votes are read, and a refusal outweighs the home agent's last pass.
    pub(super) fn class_at_decision(&self, instance: &Instance, verdict: Verdict) -> Class {
        let late = |voter: &Voter| verdict == Verdict::Down && voter.vote.reaches();
        let ballot = self.ballot(instance);
        let refused = ballot
            .voters
            .iter()
            .any(|voter| matches!(voter.vote.evidence(), Some(Evidence::Refused | Evidence::BadAnswer)));
        let counts = |voter: &&Voter| !late(voter) || (voter.home && !refused);
        self.class_from(instance, verdict, ballot.voters.iter().filter(counts))
    }

    /// What is broken: as read at the decision until every observer has probed again, from then on by the votes of now.
    pub(super) fn present_class(&self, instance: &Instance) -> Class {
        let Some(certificate) = &instance.certificate else {
            // A quiet mesh decides nothing about hosts: membership is what is known of them.
            let alive = instance.home == self.me() || self.swim.is_active(instance.home);
            return if instance.is_host() && alive { Class::Healthy } else { Class::Undetermined };
        };
        if self.unseen_under(instance).is_some() {
            return Class::HostDown;
        }
        if self.now.mono < instance.ripe_at {
            return certificate.class;
        }
        match self.class_from(instance, instance.decided(), self.ballot(instance).voters.iter()) {
            Class::Undetermined => certificate.class,
            now => now,
        }
    }

    pub(super) fn run_ripening(&mut self) {
        while let Some((at, id)) = self.ripening.first().cloned() {
            if at > self.now.mono {
                break;
            }
            self.ripening.pop_first();
            self.views_dirty.insert(id);
            self.view_dirty = true;
        }
    }

    fn class_from<'a>(&self, instance: &Instance, verdict: Verdict, voters: impl Iterator<Item = &'a Voter>) -> Class {
        if instance.is_host() {
            return if verdict == Verdict::Down { Class::HostDown } else { Class::Healthy };
        }
        let voices: Vec<_> = voters.filter(|voter| !voter.vote.abstains()).collect();
        let host_down =
            self.instances.get(&InstanceId::host(instance.home)).is_some_and(|host| host.decided() == Verdict::Down);
        let pattern = Pattern {
            home: voices.iter().find(|voter| voter.home).map(|voter| voter.vote),
            remote: voices.iter().filter(|voter| !voter.home).map(|voter| voter.vote).collect(),
            home_alive: instance.home == self.me() || (self.heard(instance.home) && !host_down),
        };
        Class::of(&pattern)
    }

    /// Takes a certificate, if it holds and outranks the one that is held.
    pub(super) fn take_certificate(&mut self, certificate: Arc<Certificate>, origin: Origin) {
        let id = certificate.decision.instance.clone();
        let decision = &certificate.decision;
        if self.holds_as_good(&certificate) {
            return;
        }
        let sane = decision.term <= limits::MAX_INCARNATION && decision.incarnation <= limits::MAX_INCARNATION;
        if !sane || self.flawed(&certificate) || encode_value(&certificate).len() > limits::MAX_CERTIFICATE_BYTES {
            self.stats.certificates_refused += 1;
            return;
        }
        if self.roster.epoch() == 0 {
            // Without a roster nobody can tell who may sign, and how many it takes.
            if origin != Origin::UsedUp {
                self.keep_orphan(id, certificate);
            }
            return;
        }
        if let Some(host) = id.host_of() {
            self.rouse_host(host);
        }
        // Whom it may be signed by depends on the roster of this moment.
        self.assign();
        let Some(instance) = self.instances.get(&id).filter(|instance| instance.incarnation >= decision.incarnation)
        else {
            if origin != Origin::UsedUp {
                self.keep_orphan(id, certificate);
            }
            return;
        };
        let news = certificate.decision.incarnation == instance.incarnation && !self.outranks(instance, &certificate);
        if !news && !self.takes_any_term(&id, &certificate) {
            return;
        }
        let overtaken = self.is_overtaken(instance, &certificate);
        // Of those who have been forgotten nothing can be verified: the others' signatures must suffice.
        let known: Vec<_> = certificate.endorsements.iter().filter(|e| self.knew(e.agent)).collect();
        let signers: Vec<_> = known.iter().map(|e| e.agent).collect();
        let plausible = self.may_have_signed(instance, decision.verdict, &signers);
        let enough = known.len() >= self.signatures_needed(instance, decision);
        // Where the mesh has grown much since, the observers of then are none of now's: it does not count, but its term does. No single member makes that up.
        let of_then = known.len() >= (quorum::of(decision.observers) as usize).max(2);
        let genuine = (of_then || plausible && !known.is_empty())
            && known.iter().all(|e| self.signature_holds(&certificate.decision, e));
        if !(genuine && plausible && enough) || overtaken || origin == Origin::UsedUp {
            self.stats.certificates_refused += u64::from(origin != Origin::UsedUp);
            let term = certificate.decision.term;
            if let (true, Some(instance)) = (genuine, self.instances.get_mut(&id))
                && term <= instance.term().saturating_add(limits::MAX_TERM_LEAP)
            {
                // Too thin to be believed by today's roster, or overtaken; but somebody holds it, and its term is used up: to be decided anew.
                if term > instance.signer.certified {
                    instance.used_up = Some(Arc::clone(&certificate));
                }
                instance.signer.certify(term);
                if overtaken {
                    instance.refused_at.get_or_insert(self.now.mono);
                }
                self.touch(&id);
                if let Some(host) = id.host_of() {
                    self.doubt_host(host);
                    self.speak_of_host(host);
                }
            }
            return;
        }
        self.stats.certificates_taken += 1;
        self.install(certificate, origin);
    }

    /// Is a certificate of a time that is over, although nothing later is held: of terms up to one that was believed and has been forgotten since, or up to
    /// one of before its home was forgotten? An old verdict must not come back to life while there may be a later one. If none comes in all the time that
    /// it takes to decide anew, of a home that counts, others know of a later time than this agent did when it forgot.
    fn is_overtaken(&self, instance: &Instance, certificate: &Certificate) -> bool {
        let term = certificate.decision.term;
        let old = instance.certificate.is_none() && term < instance.believed;
        // Of what its home alone checks that has the only word.
        let outlived = term <= instance.outlived && !instance.home_only();
        let takes = instance.check.as_ref().map_or(Duration::ZERO, |check| check.recovery_span());
        let since = instance.refused_at.unwrap_or(self.now.mono).max(self.roll.regained_at);
        let counts = self.was_quorate && self.roster.contains(instance.home);
        let decided_anew = counts && self.now.mono.since(since) >= DECIDED_ANEW.max(takes * 2);
        (old || outlived) && !decided_anew
    }

    pub(super) fn receive_used_up(&mut self, from: AgentId, certificates: Vec<Arc<Certificate>>) {
        if self.members.contains(&from) {
            certificates.into_iter().take(MAX_USED_UP).for_each(|proof| self.take_certificate(proof, Origin::UsedUp));
        }
    }

    /// Is this the very certificate that is held? Then it need not even be read.
    pub(super) fn holds_exactly(&self, sealed: &Sealed<Certificate>) -> bool {
        let Ok(decision) = sealed.decision() else { return false };
        let known = self.instances.get(&decision.instance).filter(|instance| instance.certificate.is_some());
        known.is_some_and(|instance| instance.certificate_digest == sealed.digest())
    }

    /// Is what is held of the same incarnation no worse? Most news is told many times over.
    fn holds_as_good(&self, certificate: &Certificate) -> bool {
        let held = self.instances.get(&certificate.decision.instance);
        held.is_some_and(|held| {
            let same = |known: &Arc<Certificate>| known.decision.incarnation == certificate.decision.incarnation;
            held.certificate.as_ref().is_some_and(same) && self.outranks(held, certificate)
        }) && !self.defective(Defect::LowerTermTaken)
    }

    /// Hosts that are `down` here by a certificate that others do not believe, or of which somebody holds a verdict that is passed, while membership says
    /// that they live, this agent's own among them: their observers are shown it, all at once, so that they decide anew.
    pub(super) fn contest_hosts(&mut self) {
        let lives = |host: &Instance| host.home == self.me() || self.swim.is_active(host.home);
        let passed =
            |host: &Instance| host.is_superseded() && (host.certificate.is_some() || host.refused_at.is_some());
        let evidence = |host: &Instance| match (&host.used_up, &host.certificate) {
            (Some(proof), _) if passed(host) => Some(Packet::UsedUp { certificates: vec![Arc::clone(proof)] }),
            (_, Some(held)) if host.decided() == Verdict::Down => Some(Packet::push(&[], std::slice::from_ref(held))),
            _ => None,
        };
        let hosts = self.instances.values().map(Box::as_ref).filter(|host| host.is_host() && lives(host));
        let found: Vec<_> =
            hosts.filter_map(|host| Some((host.observers.clone(), evidence(host)?))).take(MAX_CONTESTED).collect();
        for (observers, packet) in found {
            let me = self.me();
            for observer in observers.into_iter().filter(|agent| *agent != me) {
                self.send(observer, &packet);
            }
        }
    }

    fn keep_orphan(&mut self, id: InstanceId, certificate: Arc<Certificate>) {
        let better = self.orphans.get(&id).is_none_or(|held| held.rank() < certificate.rank());
        if self.orphans.len() >= limits::MAX_ORPHANS && !self.orphans.contains_key(&id) {
            self.stats.limits_hit += 1;
        } else if better {
            self.orphans.insert(id, certificate);
        }
    }

    /// May all of these have observed the instance when its certificate was made? They are among its observers or the first of its order, with room for those
    /// that were replaced while they had failed, and with the places of signers that no longer count. In a mesh so small that everyone is, anyone may.
    fn may_have_signed(&self, instance: &Instance, verdict: Verdict, signers: &[AgentId]) -> bool {
        let failed = self.roster.len() - self.reached.min(self.roster.len());
        let limit = instance.assigned as usize + SPARE_PLACES + failed;
        let kept = instance.order.as_ref().map_or(&[][..], |order| &order.places()[..limit.min(order.places().len())]);
        let others: Vec<_> = signers
            .iter()
            .filter(|agent| !(**agent == instance.home && !instance.is_host() || instance.may_sign(**agent, verdict)))
            .filter(|agent| !kept.contains(agent))
            .collect();
        if others.is_empty() || instance.home_only() {
            return others.is_empty();
        }
        if limit >= self.roster.len() {
            return true;
        }
        let gone: Vec<_> = signers.iter().copied().filter(|agent| !self.roster.contains(*agent)).collect();
        let places = match gone.len() {
            0 => self.first_places(instance, limit),
            more => Cow::Owned(self.order_with(instance, limit + more, &gone)),
        };
        others.iter().all(|agent| places.contains(agent))
    }

    /// A signer must have been admitted; whether it has left since does not matter.
    fn knew(&self, agent: AgentId) -> bool {
        self.agents.contains_key(&agent) || self.gone.contains_key(&agent)
    }

    /// Is what is held of an instance ranked no lower, by the signers that could be verified? What is padded with others replaces nothing.
    fn outranks(&self, held: &Instance, certificate: &Certificate) -> bool {
        held.shown_rank() >= Some(certificate.rank_by(|agent| self.knew(agent)))
    }

    /// A quorum of today's observers, and of those of then where they were more.
    fn signatures_needed(&self, instance: &Instance, decision: &Decision) -> usize {
        self.sabotage.quorum(quorum::of(instance.assigned.max(decision.observers)) as usize)
    }

    /// Is the certificate one that whoever joins today cannot rely on: signed by too few of the agents that count, or by one of them that would not be among the
    /// observers? Then it is to be decided anew.
    pub(super) fn is_thin(&self, instance: &Instance, certificate: &Certificate) -> bool {
        let signers = certificate.endorsements.iter().map(|e| e.agent);
        let backing: Vec<_> = signers.filter(|agent| self.roster.contains(*agent)).collect();
        backing.len() < self.signatures_needed(instance, &certificate.decision)
            || !self.may_have_signed(instance, certificate.decision.verdict, &backing)
    }

    fn install(&mut self, certificate: Arc<Certificate>, origin: Origin) {
        let id = certificate.decision.instance.clone();
        let (now, lease) = (self.now.mono, self.lease_clock());
        let unverified: Vec<_> =
            certificate.endorsements.iter().map(|e| e.agent).filter(|agent| !self.knew(*agent)).collect();
        let Some(instance) = self.instances.get_mut(&id) else { return };
        instance.unverified.clone_from(&unverified);
        let (from, to) = (instance.decided(), certificate.decision.verdict);
        // What was decided before it was forgotten may be another verdict.
        let before = instance.used_up.as_ref().filter(|_| from == Verdict::Starting && instance.believed > 0);
        let before = before.map_or(from, |proof| proof.decision.verdict);
        instance.signer.certify(certificate.decision.term);
        instance.believed = instance.believed.max(certificate.decision.term);
        instance.refused_at = None;
        instance.used_up = instance.used_up.take().filter(|proof| proof.decision.term > certificate.decision.term);
        let replaced = instance.certificate.replace(Arc::clone(&certificate));
        instance.certificate_digest = Sealed::new(&*certificate).digest();
        instance.learnt = now;
        let (service, home) = (instance.service.clone(), instance.home);
        let round = instance.registration.as_ref().map_or(Duration::ZERO, |r| r.check.period + r.check.timeout);
        let unripe = std::mem::replace(&mut instance.ripe_at, now + round + RIPENING);
        self.ripening.remove(&(unripe, id.clone()));
        self.ripening.insert((instance.ripe_at, id.clone()));
        // Before it was doubted, membership spoke for the host.
        let from_the_first = before != Verdict::Starting || (instance.is_host() && to == Verdict::Down);
        let between = replaced.as_ref().is_some_and(|old| old.decision.term + 1 < certificate.decision.term);
        let condemned = between || matches!(from, Verdict::Down | Verdict::Partial);
        if condemned && matches!(to, Verdict::Up | Verdict::Degraded) {
            instance.overruled = now;
        }
        if before != to && from_the_first {
            instance.changes.push_back(lease);
            if instance.changes.len() > MAX_CHANGES {
                instance.changes.pop_front();
            }
        }
        if let Some(count) = self.services.get_mut(&service) {
            count.down = count.down + usize::from(to == Verdict::Down) - usize::from(from == Verdict::Down);
        }
        self.exchange_certificates(replaced.as_deref(), Some(&certificate));
        self.drop_proposal(&id);
        self.touch(&id);
        self.replan(&id);
        self.persist_soon();
        if let (Some(host), true) = (id.host_of(), from != to) {
            self.host_decided(host, to);
        }
        if origin != Origin::Repaired {
            self.spread(&certificate, origin);
        }
        if from != to {
            let folded_under = self.folded_under(home, &id, to);
            let signers =
                certificate.endorsements.iter().map(|e| e.agent).filter(|agent| !unverified.contains(agent)).collect();
            let from = if id.host_of().is_some() && from == Verdict::Starting { Verdict::Up } else { from };
            let (term, class, decided_at) = (certificate.decision.term, certificate.class, certificate.decided_at);
            self.note_change(VerdictChange {
                instance: id,
                service,
                term,
                from,
                to,
                class,
                folded_under,
                signers,
                decided_at,
            });
        }
    }

    fn host_decided(&mut self, host: AgentId, verdict: Verdict) {
        self.members_dirty = true;
        // What is said of the instances on it depends on that, and whether it is heard as an observer.
        self.concerns(host);
        if verdict == Verdict::Down {
            self.roll.lose(self.now.mono + LOST_LIFE);
            self.reconsider_given_up();
            self.swim.confirm(host);
        }
        if matches!(verdict, Verdict::Down | Verdict::Partial) {
            self.doubt_host(host);
            // An observer whose pings are answered has said nothing so far: now it matters.
            self.speak_of_host(host);
        }
    }

    /// The host whose fault explains that nobody can tell how this instance is: its home agent alone could, and is gone with it.
    pub(super) fn unseen_under(&self, instance: &Instance) -> Option<InstanceId> {
        let unseen = instance.home_only() && self.stated_health(instance) == Verdict::Unknown;
        if unseen { self.folded_under(instance.home, &instance.id, Verdict::Down) } else { None }
    }

    /// The host whose fault explains that this instance is down.
    pub(super) fn folded_under(&self, home: AgentId, id: &InstanceId, verdict: Verdict) -> Option<InstanceId> {
        if verdict != Verdict::Down {
            return None;
        }
        let host = InstanceId::host(home);
        let down = self.instances.get(&host).is_some_and(|host| host.decided() == Verdict::Down);
        (down && *id != host).then_some(host)
    }

    fn spread(&mut self, certificate: &Arc<Certificate>, origin: Origin) {
        let times = self.transmissions();
        self.tell(News::Certificate(Arc::clone(certificate)), times);
        let known = self.instances.get(&certificate.decision.instance);
        let told: Vec<_> = match known {
            _ if origin != Origin::Made => Vec::new(),
            _ if self.swim.active_count() <= TELL_ALL_UP_TO => self.swim.active().collect(),
            Some(instance) => instance.observers.iter().copied().filter(|agent| self.swim.is_active(*agent)).collect(),
            None => Vec::new(),
        };
        let packet = Packet::push(&[], std::slice::from_ref(certificate));
        for to in told {
            self.send(to, &packet);
        }
    }

    /// Can enough observers be heard to confirm the last verdict?
    pub(super) fn mark_staleness(&mut self, id: &InstanceId) {
        let Some(instance) = self.instances.get(id) else { return };
        let (fresh, unheard) = self.hears(instance);
        let since = if fresh { None } else { Some(instance.stale_since.unwrap_or(self.now.wall)) };
        if since != instance.stale_since || unheard != instance.unheard {
            self.views_dirty.insert(id.clone());
            self.view_dirty = true;
        }
        if let Some(instance) = self.instances.get_mut(id) {
            instance.stale_since = since;
            instance.unheard = unheard;
        }
    }

    /// Can enough of an instance's observers be heard; can none?
    pub(super) fn hears(&self, instance: &Instance) -> (bool, bool) {
        let me = self.me();
        let trusts = self.defective(Defect::LeaseIgnored);
        let losses = self.roll.has_losses();
        let lost = |agent: AgentId| {
            let host = losses.then(|| self.instances.get(&InstanceId::host(agent))).flatten();
            host.is_some_and(|host| host.decided() == Verdict::Down && self.now.mono.since(host.learnt) < LOST_LIFE)
        };
        let listens = |agent: AgentId| {
            let heard = || if self.was_quorate { !lost(agent) } else { self.heard(agent) };
            agent == me || trusts || (self.swim.is_active(agent) && heard())
        };
        let holds = |agent: &&AgentId| {
            listens(**agent)
                && match (**agent == me, instance.is_host()) {
                    (_, true) => true,
                    (true, _) => instance.watch.as_ref().is_some_and(|watch| !watch.vote.abstains()),
                    (false, _) => instance
                        .votes
                        .get(**agent)
                        .is_some_and(|(inc, o)| *inc == instance.incarnation && !o.vote.abstains()),
                }
        };
        let heard = instance.observers.iter().filter(holds).count();
        // Nobody needs others to know that it lives itself.
        let own_host = instance.is_host() && instance.home == me;
        let fresh = own_host || (heard >= instance.quorum() && self.was_quorate);
        let unheard = heard == 0 && self.was_quorate && !own_host;
        (fresh, unheard)
    }
}
