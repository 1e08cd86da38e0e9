//! How records and certificates travel: pushed while they are new, and repaired by comparing digests.

use super::certificates::Origin;
use super::{Engine, limits};
use crate::api::EventKind;
use crate::gossip::{News, Parcel};
use crate::namespace::{Namespace, Taken};
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, Mono, hash};
use quorate_wire::{
    Batch, CertificateMark, Delta, Digest, MemberMark, OwnerDelta, OwnerMark, Packet, Record, RecordKey, Summary,
    encode_value,
};
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
        self.next_sync = self.now.mono + self.config.timing.sync_interval * self.rng.random_range(75..=125) / 100;
    }

    fn all_namespaces(&self) -> impl Iterator<Item = (AgentId, &Namespace)> {
        let own = std::iter::once((self.me(), self.log.copy()));
        self.namespaces.iter().map(|(owner, namespace)| (*owner, namespace)).chain(own)
    }

    fn all_certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.instances.values().filter_map(|instance| instance.certificate.as_ref())
    }

    fn digest(&self) -> Digest {
        let mut owners = vec![0; Digest::OWNER_BUCKETS];
        for (owner, namespace) in self.all_namespaces() {
            let missing = namespace.missing().count() as u64;
            owners[owner_bucket(owner)] ^=
                hash::mix(&[owner.0, u64::from(namespace.epoch()), u64::from(namespace.head()), missing]);
        }
        let mut certificates = vec![0; Digest::CERTIFICATE_BUCKETS];
        for certificate in self.all_certificates() {
            let id = certificate.decision.instance.hash64();
            let (incarnation, term, standing, signers) = certificate.rank();
            certificates[certificate_bucket(id)] ^= hash::mix(&[id, incarnation, term, u64::from(standing), signers]);
        }
        Digest { owners, certificates, members: table_hash(&self.swim.table()) }
    }

    pub(super) fn receive_digest(&mut self, from: AgentId, theirs: &Digest) {
        if theirs.owners.len() != Digest::OWNER_BUCKETS || theirs.certificates.len() != Digest::CERTIFICATE_BUCKETS {
            self.stats.packets_malformed += 1;
            return;
        }
        self.flush_log();
        let ours = self.digest();
        let differing =
            |a: &[u64], b: &[u64]| -> Vec<u8> { (0..a.len()).filter(|i| a[*i] != b[*i]).map(|i| i as u8).collect() };
        let owner_buckets = differing(&ours.owners, &theirs.owners);
        let certificate_buckets = differing(&ours.certificates, &theirs.certificates);
        let summary = Summary {
            owners: self.owner_marks(&owner_buckets),
            certificates: self.certificate_marks(&certificate_buckets),
            owner_buckets,
            certificate_buckets,
            members: (ours.members != theirs.members).then(|| self.swim.table()),
        };
        self.send(from, &Packet::Summary(summary));
    }

    fn owner_marks(&self, buckets: &[u8]) -> Vec<OwnerMark> {
        let listed = |owner: AgentId| buckets.contains(&(owner_bucket(owner) as u8));
        self.all_namespaces()
            .filter(|(owner, _)| listed(*owner))
            .map(|(owner, namespace)| mark(owner, namespace))
            .collect()
    }

    fn certificate_marks(&self, buckets: &[u8]) -> Vec<CertificateMark> {
        self.all_certificates()
            .filter(|c| buckets.contains(&(certificate_bucket(c.decision.instance.hash64()) as u8)))
            .map(|c| CertificateMark { instance: c.decision.instance.clone(), rank: c.rank() })
            .collect()
    }

    /// Answers with what they lack, and asks for what we lack.
    pub(super) fn receive_summary(&mut self, from: AgentId, summary: Summary) {
        let mut parts = DeltaParts::default();
        let ours = self.owner_marks(&summary.owner_buckets);
        for mark in &ours {
            match summary.owners.iter().find(|theirs| theirs.owner == mark.owner) {
                None => self.add_owner(&mut parts, mark.owner, 0, 0, &[], true),
                Some(theirs) => {
                    self.add_owner(&mut parts, mark.owner, theirs.epoch, theirs.head, &theirs.missing, false)
                }
            }
        }
        let mut want_owners = Vec::new();
        for theirs in &summary.owners {
            let ahead = match ours.iter().find(|mark| mark.owner == theirs.owner) {
                None => true,
                Some(ours) => (theirs.epoch, theirs.head) > (ours.epoch, ours.head) || !ours.missing.is_empty(),
            };
            if ahead {
                self.notice_own_future(theirs);
                want_owners.push(self.mark_of(theirs.owner));
            }
        }
        let certificates = self.certificate_marks(&summary.certificate_buckets);
        for ours in &certificates {
            let known = summary.certificates.iter().find(|theirs| theirs.instance == ours.instance);
            if known.is_none_or(|theirs| theirs.rank < ours.rank) {
                let certificate = self.instances.get(&ours.instance).and_then(|i| i.certificate.clone());
                certificate.into_iter().for_each(|certificate| parts.certificate(certificate));
            }
        }
        let behind = |theirs: &&CertificateMark| {
            certificates.iter().find(|ours| ours.instance == theirs.instance).is_none_or(|ours| ours.rank < theirs.rank)
        };
        let want_certificates =
            summary.certificates.iter().filter(behind).map(|theirs| theirs.instance.clone()).collect();
        let members = summary.members.is_some().then(|| self.swim.table());
        if let Some(table) = summary.members {
            self.merge_members(&table);
        }
        let nothing_wanted = want_owners.is_empty();
        for delta in parts.finish(members, want_owners, want_certificates) {
            self.send(from, &Packet::Delta(delta));
        }
        if nothing_wanted {
            self.sync_done();
        }
    }

    /// Takes what we lacked, and answers what they want.
    pub(super) fn receive_delta(&mut self, from: AgentId, delta: Delta) {
        for owner in delta.owners {
            self.take_owner(from, owner, false);
        }
        for certificate in delta.certificates {
            self.take_certificate(certificate, Origin::Repaired);
        }
        let reply_members =
            delta.members.is_some() && !(delta.want_owners.is_empty() && delta.want_certificates.is_empty());
        if let Some(table) = delta.members {
            self.merge_members(&table);
        }
        let mut parts = DeltaParts::default();
        for want in &delta.want_owners {
            self.add_owner(&mut parts, want.owner, want.epoch, want.head, &want.missing, want.epoch == 0);
        }
        for instance in &delta.want_certificates {
            let certificate = self.instances.get(instance).and_then(|i| i.certificate.clone());
            certificate.into_iter().for_each(|certificate| parts.certificate(certificate));
        }
        if !parts.is_empty() || reply_members {
            let members = reply_members.then(|| self.swim.table());
            for delta in parts.finish(members, Vec::new(), Vec::new()) {
                self.send(from, &Packet::Delta(delta));
            }
        }
        if delta.last {
            self.sync_done();
        }
    }

    fn sync_done(&mut self) {
        if !self.synced {
            self.synced = true;
            self.settle_until = self.now.mono + self.config.timing.settle;
            self.assign_all = true;
            self.evaluate_all = true;
            self.view_dirty = true;
        }
    }

    fn merge_members(&mut self, table: &[MemberMark]) {
        for (agent, counter) in self.swim.merge(self.now.mono, table, &self.links) {
            self.send(agent, &Packet::HeldFailed { counter });
        }
    }

    fn mark_of(&self, owner: AgentId) -> OwnerMark {
        let empty = Namespace::default();
        mark(owner, self.namespaces.get(&owner).unwrap_or(&empty))
    }

    fn add_owner(
        &self,
        parts: &mut DeltaParts,
        owner: AgentId,
        epoch: u32,
        head: u32,
        missing: &[u32],
        introduce: bool,
    ) {
        let own = owner == self.me();
        let Some(namespace) = (if own { Some(self.log.copy()) } else { self.namespaces.get(&owner) }) else { return };
        let batches = namespace.since(epoch, head, missing);
        let credential =
            if own { Some(&self.config.credential) } else { self.agents.get(&owner).map(|known| &known.credential) };
        if let (false, Some(credential)) = (batches.is_empty(), credential) {
            parts.owner(owner, introduce.then(|| credential.clone()), batches);
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

    fn take_owner(&mut self, from: AgentId, delta: OwnerDelta, pushed: bool) {
        let owner = delta.owner;
        if owner == self.me() {
            if let Some(batch) = delta.batches.iter().max_by_key(|batch| (batch.epoch, batch.seq)) {
                let future = OwnerMark { owner, epoch: batch.epoch, head: batch.seq, missing: Vec::new() };
                self.notice_own_future(&future);
            }
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

    /// Takes what was stored before a restart: known, but not of this moment.
    pub(super) fn take_restored(&mut self, delta: OwnerDelta) {
        let me = self.me();
        if delta.owner != me {
            self.take_owner(me, delta, false);
        }
    }

    fn take_batch(&mut self, from: AgentId, batch: Arc<Batch>, pushed: bool) {
        let owner = batch.owner;
        if !self.namespaces.entry(owner).or_default().wants(&batch) {
            return;
        }
        let genuine = self
            .agents
            .get(&owner)
            .is_some_and(|known| self.keys.verify(&known.credential, &batch.signing_bytes(), &batch.signature));
        let taken = match self.namespaces.get_mut(&owner) {
            Some(namespace) if genuine => namespace.take(Arc::clone(&batch)),
            _ => Taken::Refused,
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
                        self.event(EventKind::Withdrawn { instance: id });
                        self.persist_soon();
                    }
                }
                (RecordKey::Observed(id), record) => self.apply_observation(owner, &id, record),
            }
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

fn mark(owner: AgentId, namespace: &Namespace) -> OwnerMark {
    OwnerMark { owner, epoch: namespace.epoch(), head: namespace.head(), missing: namespace.missing().collect() }
}

fn owner_bucket(owner: AgentId) -> usize {
    (hash::spread(owner.0) % Digest::OWNER_BUCKETS as u64) as usize
}

fn certificate_bucket(id: u64) -> usize {
    (id % Digest::CERTIFICATE_BUCKETS as u64) as usize
}

fn table_hash(table: &[MemberMark]) -> u64 {
    table.iter().fold(0, |acc, mark| acc ^ hash::mix(&[mark.agent.0, mark.counter, u64::from(mark.state == 2)]))
}

/// A repair in parts that fit into messages.
#[derive(Default)]
struct DeltaParts {
    done: Vec<Delta>,
    current: Delta,
    bytes: usize,
}

impl DeltaParts {
    fn is_empty(&self) -> bool {
        self.done.is_empty() && self.current == Delta::default()
    }

    fn room(&mut self, bytes: usize) {
        if self.bytes + bytes > limits::MAX_DELTA_BYTES && self.bytes > 0 {
            self.done.push(std::mem::take(&mut self.current));
            self.bytes = 0;
        }
        self.bytes += bytes;
    }

    fn owner(&mut self, owner: AgentId, credential: Option<Vec<u8>>, batches: Vec<Arc<Batch>>) {
        for (index, batch) in batches.into_iter().enumerate() {
            self.room(encode_value(&batch).len() + 1024);
            let credential = if index == 0 { credential.clone() } else { None };
            self.current.owners.push(OwnerDelta { owner, credential, batches: vec![batch] });
        }
    }

    fn certificate(&mut self, certificate: Arc<Certificate>) {
        self.room(encode_value(&certificate).len());
        self.current.certificates.push(certificate);
    }

    fn finish(
        mut self,
        members: Option<Vec<MemberMark>>,
        want_owners: Vec<OwnerMark>,
        want_certificates: Vec<quorate_core::InstanceId>,
    ) -> Vec<Delta> {
        self.current.members = members;
        self.current.want_owners = want_owners;
        self.current.want_certificates = want_certificates;
        self.current.last = true;
        self.done.push(self.current);
        self.done
    }
}
