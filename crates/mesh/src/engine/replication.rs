//! How records and certificates travel while they are new, and what becomes of those that arrive. The repair of what got lost is in `repair.rs`.

use super::certificates::Origin;
use super::{Engine, limits};
use crate::api::EventKind;
use crate::gossip::{News, Parcel};
use crate::namespace::{Namespace, Taken};
use quorate_core::outcome::ProbeFailure;
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, Mono};
use quorate_wire::{Batch, MemberMark, OwnerDelta, Packet, Record, RecordKey};
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A sync with one agent is begun at most this often.
const SYNC_SPACING: Duration = Duration::from_millis(400);
/// How long a missing batch is waited for before it is asked for.
const GAP_PATIENCE: Duration = Duration::from_millis(300);
/// Agents whose last sync is remembered.
const MAX_SYNC_MEMORY: usize = 8192;
/// Observers told directly of a change in one batch.
const MAX_DIRECT: usize = 16;

impl Engine {
    /// Compares digests with `agent`, unless that was begun a moment ago.
    pub(super) fn begin_sync(&mut self, agent: AgentId) {
        let recent = self.sync_began.get(&agent).is_some_and(|at| self.now.mono.since(*at) < SYNC_SPACING);
        if recent || agent == self.me() || self.left {
            return;
        }
        if self.sync_began.len() >= MAX_SYNC_MEMORY {
            self.sync_began.clear();
        }
        self.sync_began.insert(agent, self.now.mono);
        self.flush_log();
        let digest = self.digest();
        self.send(agent, &Packet::Digest(digest));
    }

    pub(super) fn run_sync(&mut self) {
        if self.next_sync > self.now.mono {
            return;
        }
        let active: Vec<_> = self.swim.active().collect();
        if let Some(agent) = active.choose(&mut self.rng).copied() {
            self.begin_sync(agent);
        }
        self.tell_suspects();
        self.watch_suspects(true);
        // Some opinions ripen with time alone: a hold-down ends, an instance has stopped flapping.
        self.evaluate_all = true;
        let changed = self.instances.values().filter(|instance| !instance.changes.is_empty());
        self.views_dirty.extend(changed.map(|instance| instance.id.clone()));
        self.next_sync = self.now.mono + self.config.timing.sync_interval * self.rng.random_range(75..=125) / 100;
    }

    pub(super) fn merge_members(&mut self, table: &[MemberMark]) {
        for (agent, counter) in self.swim.merge(self.now.mono, table, &self.links) {
            self.send(agent, &Packet::HeldFailed { counter });
        }
    }

    /// Takes news that a peer pushed.
    pub(super) fn receive_push(&mut self, from: AgentId, owners: Vec<OwnerDelta>, certificates: Vec<Arc<Certificate>>) {
        for owner in owners {
            self.take_owner(from, owner, true);
        }
        if self.roster.contains(&from) {
            for certificate in certificates {
                self.take_certificate(certificate, Origin::Pushed);
            }
        }
    }

    pub(super) fn take_owner(&mut self, from: AgentId, delta: OwnerDelta, pushed: bool) {
        let owner = delta.owner;
        if delta.batches.iter().any(|batch| batch.owner != owner) {
            self.stats.batches_refused += 1;
            return;
        }
        if owner == self.me() {
            self.take_own(delta.batches);
            return;
        }
        if !self.agents.contains_key(&owner) {
            let Some(credential) = &delta.credential else {
                self.begin_sync(from);
                return;
            };
            if !self.introduce(owner, credential) {
                self.stats.batches_refused += 1;
                return;
            }
        }
        for batch in delta.batches {
            self.take_batch(from, batch, pushed);
        }
    }

    /// Someone returns what we have written. Only what we have really signed, and no longer know of, means anything.
    fn take_own(&mut self, batches: Vec<Arc<Batch>>) {
        let newest = batches.into_iter().max_by_key(|batch| (batch.epoch, batch.seq));
        let Some(batch) = newest.filter(|batch| (batch.epoch, batch.seq) > (self.boot, self.log.copy().head())) else {
            return;
        };
        if self.keys.verify(&self.config.credential, &batch.signing_bytes(), &batch.signature) {
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

    fn take_batch(&mut self, from: AgentId, batch: Arc<Batch>, pushed: bool) {
        let owner = batch.owner;
        if self.namespaces.get(&owner).is_some_and(|namespace| !namespace.wants(&batch)) {
            return;
        }
        let genuine = self
            .agents
            .get(&owner)
            .is_some_and(|known| self.keys.verify(&known.credential, &batch.signing_bytes(), &batch.signature));
        let taken = if genuine && batch.records.iter().all(bounded) {
            self.namespaces.entry(owner).or_default().take(Arc::clone(&batch))
        } else {
            Taken::Refused
        };
        match taken {
            Taken::Known => {}
            Taken::Refused => self.stats.batches_refused += 1,
            Taken::News(changed) => {
                self.stats.batches_taken += 1;
                self.apply_changes(owner, changed, pushed || from == owner);
                if pushed {
                    let times = self.transmissions();
                    self.tell_batch(&batch, times);
                    if self.namespaces.get(&owner).is_some_and(|namespace| namespace.missing().next().is_some()) {
                        // A gap that gossip does not close before long is repaired without waiting for the next regular sync.
                        self.next_sync = self.next_sync.min(self.now.mono + GAP_PATIENCE);
                    }
                }
            }
        }
    }

    fn apply_changes(&mut self, owner: AgentId, changed: Vec<RecordKey>, fresh: bool) {
        for key in changed {
            let record = self.namespaces.get(&owner).and_then(|namespace| namespace.record(&key)).cloned();
            match (key, record) {
                (RecordKey::Profile, Some(_)) => self.learn_profile(owner, fresh),
                (RecordKey::Profile, None) => {}
                (RecordKey::Instance(_), Some(Record::Instance { registration, incarnation })) => {
                    if registration.validate().is_empty() {
                        self.adopt(Arc::new(registration), owner, incarnation);
                    } else {
                        self.stats.packets_refused += 1;
                    }
                    self.persist_soon();
                }
                (RecordKey::Instance(id), _) => {
                    if self.instances.get(&id).is_some_and(|instance| instance.home == owner) {
                        self.forget_instance(&id);
                        self.event(EventKind::Withdrawn { instance: id.clone() });
                        self.adopt_other_claim(&id);
                        self.persist_soon();
                    }
                }
                (RecordKey::Observed(id), record) => self.apply_observation(owner, &id, record),
            }
        }
    }

    /// The name is free again: whoever else registers an instance under it has it now.
    fn adopt_other_claim(&mut self, id: &quorate_core::InstanceId) {
        let key = RecordKey::Instance(id.clone());
        let claim = |(owner, namespace): (AgentId, &Namespace)| match namespace.record(&key) {
            Some(Record::Instance { registration, incarnation }) if registration.validate().is_empty() => {
                Some((owner, Arc::new(registration.clone()), *incarnation))
            }
            _ => None,
        };
        let claims: Vec<_> = self.all_namespaces().filter_map(claim).collect();
        for (owner, registration, incarnation) in claims {
            self.adopt(registration, owner, incarnation);
        }
    }

    fn apply_observation(&mut self, owner: AgentId, id: &quorate_core::InstanceId, record: Option<Record>) {
        let Some(instance) = self.instances.get_mut(id) else { return };
        match record {
            Some(Record::Observed { incarnation, observation, .. }) => {
                let failing = observation.vote.fails();
                instance.votes.insert(owner, (incarnation, observation));
                if let (true, Some(host)) = (failing, id.host_of()) {
                    self.doubt_host(host);
                }
            }
            _ => {
                instance.votes.remove(&owner);
            }
        }
        self.touch(id);
    }

    /// Passes news on.
    pub(super) fn tell(&mut self, news: News, times: u32) {
        if self.swim.active_count() > 0 && !self.gossip.push(news, times) {
            self.stats.limits_hit += 1;
        }
    }

    fn tell_batch(&mut self, batch: &Arc<Batch>, times: u32) {
        let credential = self.introduction(batch);
        self.tell(News::Batch(Arc::clone(batch), credential), times);
    }

    /// A batch that holds a profile carries its owner's credential, so that strangers can check it.
    fn introduction(&self, batch: &Batch) -> Option<Vec<u8>> {
        let introduces = batch.records.iter().any(|record| matches!(record, Record::Profile(_)));
        let credential = if batch.owner == self.me() {
            Some(&self.config.credential)
        } else {
            self.agents.get(&batch.owner).map(|known| &known.credential)
        };
        credential.filter(|_| introduces).cloned()
    }

    /// Signs what this agent has to say and sends it on its way: to the fellow observers at once, to the rest by gossip.
    pub(super) fn flush_log(&mut self) -> Vec<Arc<Batch>> {
        if !self.log.has_pending() {
            return Vec::new();
        }
        let batches = self.log.flush(|bytes| self.keys.sign(bytes));
        let times = self.transmissions();
        for batch in &batches {
            self.tell_batch(batch, times);
            let mut fellows = BTreeSet::new();
            for record in &batch.records {
                if let Record::Observed { instance, .. } = record {
                    fellows.extend(self.instances.get(instance).map(|i| i.observers.clone()).unwrap_or_default());
                }
            }
            let fellows: Vec<_> =
                fellows.into_iter().filter(|a| *a != self.me() && self.swim.is_active(*a)).take(MAX_DIRECT).collect();
            for to in fellows {
                self.push_batches(to, std::slice::from_ref(batch));
            }
        }
        batches
    }

    pub(super) fn push_batches(&mut self, to: AgentId, batches: &[Arc<Batch>]) {
        for batch in batches {
            let credential = self.introduction(batch);
            let owner = OwnerDelta { owner: batch.owner, credential, batches: vec![Arc::clone(batch)] };
            self.send(to, &Packet::Push { owners: vec![owner], certificates: Vec::new() });
        }
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
        Record::Profile(_) | Record::InstanceGone(_) | Record::ObservedGone(_) => true,
    }
}
