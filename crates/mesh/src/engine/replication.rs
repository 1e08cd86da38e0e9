//! How records and certificates travel while they are new, and what becomes of those that arrive. The repair of what got lost is in `repair.rs`.

use super::certificates::Origin;
use super::gone::Told;
use super::{Engine, limits};
use crate::api::EventKind;
use crate::gossip::{News, Parcel};
use crate::namespace::Taken;
use crate::sabotage::Defect;
use crate::swim::HeldFailed;
use quorate_core::outcome::ProbeFailure;
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId, Mono, Verdict};
use quorate_wire::{Batch, BatchNews, MemberMark, OwnerDelta, Packet, Record, RecordKey, Roots, Sealed};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A sync with one agent is begun at most this often.
const SYNC_SPACING: Duration = Duration::from_millis(400);
/// What an agent has to say is signed at most this often. An observer that sees a thousand instances for the first time would else make each of
/// its peers take a thousand batches of one record.
const FLUSH_SPACING: Duration = Duration::from_millis(10);
/// How long a missing batch is waited for before it is asked for.
const GAP_PATIENCE: Duration = Duration::from_millis(300);
/// A sync lists everyone, so what an agent spends on those that it begins is bounded: in the long run one for this long for each member, and in
/// a burst as many as make up [`SYNC_BURST`]. A mesh that starts or heals at once would else compare everyone with everyone.
const SYNC_COST_EACH: Duration = Duration::from_micros(500);
const SYNC_BURST: Duration = Duration::from_secs(2);
/// So often an agent tells what it has written before it had caught up.
const TOLD_AGAIN: u32 = 3;
/// Agents whose last sync is remembered.
const MAX_SYNC_MEMORY: usize = 8192;
/// A suspect that lives says so within this time.
pub(super) const REFUTATION: Duration = Duration::from_secs(3);
/// Members told that somebody holds them failed, for one table that says so: when halves meet again, everyone reads it of half of the mesh.
const MAX_HELD_TOLD: usize = 4;
/// Observers told directly of a change in one batch.
const MAX_DIRECT: usize = 16;

impl Engine {
    /// Compares digests with `agent`, unless that was begun a moment ago, or too many were. Whatever gave reason to it does so again: a packet from
    /// a stranger, a roster that differs, the regular comparison.
    pub(super) fn begin_sync(&mut self, agent: AgentId) {
        let recent = self.sync_began.get(&agent).is_some_and(|at| self.now.mono.since(*at) < SYNC_SPACING);
        if recent
            || !self.has_room_for_sync(agent)
            || agent == self.me()
            || self.left
            || (self.synced && self.defective(Defect::NoRepair))
        {
            return;
        }
        let paid = self.syncs_paid.max(self.now.mono) + SYNC_COST_EACH * self.members.len() as u32;
        if self.syncs_paid > self.now.mono && paid.since(self.now.mono) > SYNC_BURST {
            self.stats.syncs_spared += 1;
            return;
        }
        self.syncs_paid = paid;
        if self.sync_began.len() >= MAX_SYNC_MEMORY {
            self.sync_began.clear();
        }
        self.sync_began.insert(agent, self.now.mono);
        self.flush_log();
        let digest = self.digest();
        self.digest_sent = Some((agent, digest.owners.clone()));
        self.send(agent, &Packet::Digest(digest));
    }

    /// Asks `agent` whether it has the same; digests are compared only if not. In a quiet mesh this is all that is said.
    fn begin_compare(&mut self, agent: AgentId) {
        if !self.synced {
            self.begin_sync(agent);
            return;
        }
        self.flush_log();
        let roots = self.digest().roots();
        if !self.defective(Defect::NoRepair) {
            self.send(agent, &Packet::Roots(roots));
        }
    }

    pub(super) fn receive_roots(&mut self, from: AgentId, theirs: Roots) {
        self.meet_epoch(from, theirs.epoch);
        self.flush_log();
        if self.digest().roots() != theirs {
            self.begin_sync(from);
        }
    }

    pub(super) fn run_sync(&mut self) {
        if self.next_sync > self.now.mono {
            return;
        }
        let active: Vec<_> = self.swim.active().collect();
        if let Some(agent) = active.choose(&mut self.rng).copied() {
            self.begin_compare(agent);
        }
        self.tell_suspects();
        self.contest_hosts();
        self.epochs.dirty = true;
        self.watch_suspects(true);
        self.retire_hosts();
        self.forget_strays();
        // Some opinions ripen with time alone, or with what becomes of others: a hold-down ends, an instance has stopped flapping, its service is well.
        for instance in self.instances.values() {
            if !instance.changes.is_empty() {
                self.views_dirty.insert(instance.id.clone());
            }
            if instance.watch.is_some() {
                self.dirty.insert(instance.id.clone());
            }
        }
        self.next_sync = self.now.mono + self.config.timing.sync_interval * self.rng.random_range(75..=125) / 100;
        self.begin_first_syncs();
    }

    pub(super) fn merge_members(&mut self, table: &[MemberMark]) {
        let held = self.swim.merge(self.now.mono, table, &self.links);
        let told: Vec<_> = held.sample(&mut self.rng, MAX_HELD_TOLD).copied().collect();
        for HeldFailed { agent, failed, .. } in told {
            self.send(agent, &Packet::HeldFailed { counter: failed });
        }
        for HeldFailed { agent, alive: counter, .. } in held {
            let host = self.instances.get(&InstanceId::host(agent));
            let down = host.is_some_and(|host| host.decided() == Verdict::Down);
            let (now, since) = (self.now.mono, self.shown_suspects.get(&agent));
            match since {
                Some(since) if down && now.since(*since) >= REFUTATION => {
                    self.swim.condemn(now, agent, counter, &self.links);
                }
                // Whoever lives refutes in time. Of the dead this agent may have missed all that was said.
                None if down => self.swim.mistrust(now, agent, counter, &self.links),
                _ => {}
            }
        }
    }

    /// Takes news that a peer pushed.
    pub(super) fn receive_push(
        &mut self,
        from: AgentId,
        batches: Vec<BatchNews>,
        certificates: Vec<Sealed<Certificate>>,
    ) {
        for news in batches {
            if !self.take_news(from, news) {
                return;
            }
        }
        if self.members.contains(&from) {
            for sealed in certificates {
                if self.holds_exactly(&sealed) {
                    continue;
                }
                match sealed.open() {
                    Ok(certificate) => self.take_certificate(Arc::new(certificate), Origin::Pushed),
                    Err(_) => self.stats.packets_malformed += 1,
                }
            }
        }
    }

    /// Takes a batch that is passed on, if it says something new. Could its signature be genuine?
    fn take_news(&mut self, from: AgentId, BatchNews { credential, batch }: BatchNews) -> bool {
        let Ok((owner, epoch, seq)) = batch.mark() else {
            self.stats.packets_malformed += 1;
            return true;
        };
        let own = owner == self.me() && (epoch, seq) <= (self.boot, self.log.copy().head());
        let known = own || self.namespaces.get(&owner).is_some_and(|namespace| !namespace.wants(epoch, seq));
        if known && !self.defective(Defect::OlderRecordTaken) {
            self.notice_reuse(from, (owner, epoch, seq), &batch);
            return true;
        }
        let Ok(batch) = batch.open() else {
            self.stats.packets_malformed += 1;
            return true;
        };
        self.take_owner(from, OwnerDelta { owner, credential, batches: vec![Arc::new(batch)] }, true)
    }

    /// An agent that has lost its latest starts counts as it did in one of them: its batches then bear numbers that others know with another content,
    /// and nobody would ever take them. It is shown what it wrote before, and goes on beyond that.
    fn notice_reuse(&mut self, from: AgentId, (owner, epoch, seq): (AgentId, u32, u32), batch: &Sealed<Batch>) {
        let own = owner == self.me();
        let copy = match self.namespaces.get(&owner) {
            _ if own => self.log.copy(),
            Some(copy) if from == owner => copy,
            _ => return,
        };
        let Some(held) = copy.held(epoch, seq).filter(|held| !batch.is_signed_as(held)).cloned() else { return };
        if !own {
            self.push_batches(owner, &[held]);
        } else if let Ok(batch) = batch.open() {
            self.take_forgotten(&batch);
        }
    }

    /// Takes what is told of an agent. False at the first signature that does not hold: whoever passes that on has not looked, and the rest of what it sends
    /// is not worth the work of looking.
    pub(super) fn take_owner(&mut self, from: AgentId, delta: OwnerDelta, pushed: bool) -> bool {
        let owner = delta.owner;
        if delta.batches.iter().any(|batch| batch.owner != owner) {
            self.stats.batches_refused += 1;
            return true;
        }
        if owner == self.me() {
            self.take_own(delta.batches);
            return true;
        }
        match self.told_of_gone(from, &delta) {
            Told::News => {}
            Told::Old => return true,
            Told::Forged => return false,
        }
        if !self.agents.contains_key(&owner) {
            let Some(credential) = &delta.credential else {
                self.begin_sync(from);
                return true;
            };
            if !self.introduce(owner, credential) {
                self.stats.batches_refused += 1;
                return true;
            }
        }
        delta.batches.into_iter().all(|batch| self.take_batch(from, batch, pushed))
    }

    /// Someone returns what we have written. Only what we have really signed, and no longer know of, means anything.
    fn take_own(&mut self, batches: Vec<Arc<Batch>>) {
        let newest = batches.into_iter().max_by_key(|batch| (batch.epoch, batch.seq));
        let Some(batch) = newest.filter(|batch| (batch.epoch, batch.seq) > (self.boot, self.log.copy().head())) else {
            return;
        };
        self.take_forgotten(&batch);
    }

    /// What is said to be our own and is not known here: if we have signed it, we have forgotten it.
    fn take_forgotten(&mut self, batch: &Batch) {
        let ours = batch.owner == self.me();
        if ours && self.keys.verify(&self.config.credential, &batch.signing_bytes(), &batch.signature) {
            self.notice_own_future(batch.epoch);
        } else {
            self.stats.batches_refused += 1;
        }
    }

    /// Takes what was stored before a restart: known, but not of this moment.
    pub(super) fn take_restored(&mut self, delta: OwnerDelta) {
        let me = self.me();
        if delta.owner != me {
            self.take_owner(me, delta, false);
        }
    }

    fn take_batch(&mut self, from: AgentId, batch: Arc<Batch>, pushed: bool) -> bool {
        let owner = batch.owner;
        if self.namespaces.get(&owner).is_some_and(|namespace| !namespace.wants(batch.epoch, batch.seq)) {
            self.take_older(&batch);
            return true;
        }
        let genuine = self
            .agents
            .get(&owner)
            .is_some_and(|known| self.keys.verify(&known.credential, &batch.signing_bytes(), &batch.signature));
        let genuine = genuine || self.defective(Defect::SignaturesUnchecked) || self.believes_bearer(from, &batch);
        let pressing = pushed && self.is_pressing(&batch);
        let taken =
            if genuine && batch.records.iter().all(bounded) { self.store_batch(&batch) } else { Taken::Refused };
        match taken {
            Taken::Known => {}
            Taken::Refused => self.stats.batches_refused += 1,
            Taken::News(changed) => {
                self.stats.batches_taken += 1;
                self.apply_changes(owner, changed, pushed || from == owner);
                if pushed {
                    let times = self.transmissions();
                    if pressing {
                        self.relay(&batch);
                    }
                    self.tell_batch(&batch, times);
                    if self.namespaces.get(&owner).is_some_and(|namespace| namespace.missing().next().is_some()) {
                        // A gap that gossip does not close before long is repaired without waiting for the next regular sync.
                        self.next_sync = self.next_sync.min(self.now.mono + GAP_PATIENCE);
                    }
                }
            }
        }
        genuine
    }

    fn apply_changes(&mut self, owner: AgentId, changed: Vec<RecordKey>, fresh: bool) {
        let talkative = changed.iter().any(|key| matches!(key, RecordKey::Override(_))) && self.is_talkative(owner);
        for key in changed {
            let record = self.namespaces.get(&owner).and_then(|namespace| namespace.record(&key)).cloned();
            match (key, record) {
                (RecordKey::Profile, Some(_)) => self.learn_profile(owner, fresh),
                (RecordKey::Profile, None) => {}
                (RecordKey::Instance(_), Some(Record::Instance { registration, incarnation })) => {
                    if registration.validate().is_empty() {
                        self.adopt(registration, owner, incarnation);
                    } else {
                        self.stats.packets_refused += 1;
                    }
                    self.persist_soon();
                }
                (RecordKey::Instance(id), _) => self.withdraw(&id, owner),
                (RecordKey::Observed(id), record) => self.apply_observation(owner, &id, record),
                (RecordKey::Breaker(key), _) => self.apply_breaker(owner, key, fresh),
                // Nobody gives, or passes on, so many.
                (RecordKey::Override(_), Some(Record::Override(_))) if talkative => self.stats.limits_hit += 1,
                (RecordKey::Override(_), Some(Record::Override(word))) => self.hear_word(&word),
                (RecordKey::Override(key), _) => self.word_unspoken(key),
                // Of a later release: kept and passed on with its batch, as it is signed.
                (RecordKey::Extension(..), _) => {}
            }
        }
    }

    /// An agent registers an instance no more. If it was home to it, the name is free again: whoever else registers an instance under it has it now.
    pub(super) fn withdraw(&mut self, id: &InstanceId, home: AgentId) {
        if self.instances.get(id).is_some_and(|instance| instance.home == home) {
            self.forget_instance(id);
            self.event(EventKind::Withdrawn { instance: id.clone() });
            self.adopt_other_claim(id);
            self.persist_soon();
        }
    }

    fn adopt_other_claim(&mut self, id: &InstanceId) {
        let key = RecordKey::Instance(id.clone());
        let claim = |(owner, record): (AgentId, Option<&Record>)| match record {
            Some(Record::Instance { registration, incarnation }) if registration.validate().is_empty() => {
                Some((owner, Arc::clone(registration), *incarnation))
            }
            _ => None,
        };
        let own = std::iter::once((self.me(), self.log.record(&key)));
        let others = self.namespaces.iter().map(|(owner, namespace)| (*owner, namespace.record(&key)));
        let claims: Vec<_> = others.chain(own).filter_map(claim).collect();
        for (owner, registration, incarnation) in claims {
            self.adopt(registration, owner, incarnation);
        }
    }

    pub(super) fn apply_observation(&mut self, owner: AgentId, id: &quorate_core::InstanceId, record: Option<Record>) {
        if let (Some(_), Some(host)) = (&record, id.host_of()) {
            self.rouse_host(host);
        }
        let Some(instance) = self.instances.get_mut(id) else { return };
        match record {
            Some(Record::Observed { incarnation, observation, .. }) => {
                let failing = observation.vote.fails();
                instance.votes.insert(owner, incarnation, observation);
                if let (true, Some(host)) = (failing, id.host_of()) {
                    self.doubt_host(host);
                }
            }
            _ => {
                instance.votes.remove(owner);
            }
        }
        self.touch(id);
    }

    /// Passes news on.
    pub(super) fn tell(&mut self, news: News, times: u32) {
        let times = if self.defective(Defect::GossipForever) { u32::MAX } else { times };
        if self.swim.active_count() > 0 && !self.gossip.push(news, times) {
            self.stats.limits_hit += 1;
        }
    }

    fn tell_batch(&mut self, batch: &Arc<Batch>, times: u32) {
        let credential = self.introduction(batch);
        self.tell(News::Batch(Arc::clone(batch), credential), times);
    }

    /// Tells again what this agent has written since its start. If it has forgotten former starts and was cut off when it wrote, others may know the same
    /// numbers with another content: whoever hears of it notices at once, not only at a comparison.
    pub(super) fn tell_own(&mut self) {
        let own = self.log.copy().batches();
        own.iter().for_each(|batch| self.tell_batch(batch, TOLD_AGAIN));
    }

    /// A batch that holds a profile carries its owner's credential, so that strangers can check it.
    fn introduction(&self, batch: &Batch) -> Option<Arc<[u8]>> {
        let introduces = batch.records.iter().any(|record| matches!(record, Record::Profile(_)));
        let credential = self.agents.get(&batch.owner).map(|known| &known.credential);
        credential.filter(|_| introduces).cloned()
    }

    /// Signs what this agent has to say, unless it has just done so: then soon.
    pub(super) fn flush_log_if_due(&mut self) {
        if self.log_due().is_some_and(|due| due <= self.now.mono) {
            self.flush_log();
        }
    }

    /// When there is something to sign.
    pub(super) fn log_due(&self) -> Option<Mono> {
        self.log.has_pending().then_some(self.next_flush)
    }

    /// Signs what this agent has to say and sends it on its way: to the fellow observers at once, to the rest by gossip.
    pub(super) fn flush_log(&mut self) -> Vec<Arc<Batch>> {
        if !self.log.has_pending() {
            return Vec::new();
        }
        self.next_flush = self.now.mono + FLUSH_SPACING;
        let batches = self.log.flush(|bytes| self.keys.sign(bytes));
        let times = self.transmissions();
        for batch in &batches {
            if self.is_pressing(batch) {
                self.relay(batch);
            }
            self.tell_batch(batch, times);
            let mut fellows = BTreeSet::new();
            for record in &batch.records {
                if let Record::Observed { instance, .. } = record {
                    fellows.extend(self.instances.get(instance).map(|i| i.observers.clone()).unwrap_or_default());
                }
            }
            let fellows: Vec<_> =
                fellows.into_iter().filter(|a| *a != self.me() && self.swim.is_active(*a)).take(MAX_DIRECT).collect();
            let told = [Some(self.news_of(batch)), self.twin_of(batch).map(|twin| self.news_of(&twin))];
            for (place, to) in fellows.into_iter().enumerate() {
                if let Some(packet) = told[place % 2].as_ref().or(told[0].as_ref()) {
                    self.send(to, packet);
                }
            }
        }
        batches
    }

    pub(super) fn push_batches(&mut self, to: AgentId, batches: &[Arc<Batch>]) {
        for batch in batches {
            let packet = self.news_of(batch);
            self.send(to, &packet);
        }
    }

    fn news_of(&self, batch: &Arc<Batch>) -> Packet {
        let credential = self.introduction(batch);
        Packet::push(&[OwnerDelta { owner: batch.owner, credential, batches: vec![Arc::clone(batch)] }], &[])
    }

    pub(super) fn gossip_due(&self) -> Option<Mono> {
        let backlog = !self.gossip.is_empty() || self.swim.backlog() > 0;
        (backlog && self.swim.active_count() > 0).then_some(self.next_gossip)
    }

    pub(super) fn run_gossip(&mut self) {
        if self.gossip_due().is_none_or(|at| at > self.now.mono) {
            return;
        }
        self.next_gossip = self.now.mono + self.config.timing.gossip_interval;
        self.gossip.drop_outdated(|| self.swim.outdated());
        let active: Vec<_> = self.swim.active().collect();
        let chosen: Vec<_> = active.sample(&mut self.rng, self.config.timing.gossip_fanout).copied().collect();
        for to in chosen {
            let parcel: Parcel = self.gossip.parcel();
            for packet in parcel.packets() {
                self.send(to, &packet);
            }
        }
        self.swim.gossip(self.now.mono, &self.links);
    }
}

/// Does a record keep to its limits?
fn bounded(record: &Record) -> bool {
    match record {
        Record::Observed { observation, .. } => observation.detail.len() <= ProbeFailure::MAX_DETAIL_BYTES,
        Record::Instance { incarnation, .. } => *incarnation <= limits::MAX_INCARNATION,
        Record::Breaker(digest) => {
            digest.counts.is_bounded()
                && digest.key.instance.host_of().is_none()
                && digest.shared.as_ref().is_none_or(super::breakers::is_standing_bounded)
        }
        Record::Override(word) => super::breakers::is_bounded(word),
        Record::Extension { about, body, .. } => {
            about.len() <= Record::MAX_EXTENSION_KEY_BYTES && body.len() <= Record::MAX_EXTENSION_BYTES
        }
        Record::Profile(_)
        | Record::InstanceGone(_)
        | Record::ObservedGone(_)
        | Record::BreakerGone(_)
        | Record::OverrideGone(_) => true,
    }
}
