//! The slow path of replication: two agents compare hashes of what they have, and exchange what differs. Enough for convergence alone.

use super::certificates::{MAX_USED_UP, Origin};
use super::{Engine, limits};
use crate::namespace::{Namespace, Taken};
use quorate_core::verdict::Certificate;
use quorate_core::{AgentId, InstanceId, hash};
use quorate_wire::{
    Batch, CertificateMark, Delta, Digest, MemberMark, OwnerDelta, OwnerMark, Packet, Summary, encode_value,
};
use rand::seq::SliceRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The wait for the next comparison after one that brought unknown members.
const STRANGERS_PATIENCE: Duration = Duration::from_millis(500);
/// Owners who are shown what is held of theirs, in a second.
const MAX_SHOWN_PER_S: usize = 8;
/// Certificates listed in one summary.
const MAX_MARKS: usize = 4096;

type OwnerMarks = BTreeMap<AgentId, OwnerMark>;

impl Engine {
    pub(super) fn all_namespaces(&self) -> impl Iterator<Item = (AgentId, &Namespace)> {
        let own = std::iter::once((self.me(), self.log.copy()));
        self.namespaces.iter().map(|(owner, namespace)| (*owner, &**namespace)).chain(own)
    }

    /// Takes a batch whose signature holds, and keeps the hashes of what there is up to date.
    pub(super) fn store_batch(&mut self, batch: &Arc<Batch>) -> Taken {
        let owner = batch.owner;
        let before = self.namespaces.get(&owner).map_or((0, 0), |held| (fingerprint(owner, held), held.len()));
        let namespace = Arc::make_mut(self.namespaces.entry(owner).or_default());
        let taken = namespace.take(Arc::clone(batch));
        self.owner_hashes[owner_bucket(owner)] ^= before.0 ^ fingerprint(owner, namespace);
        self.records_copied = self.records_copied + namespace.len() - before.1;
        taken
    }

    /// Drops the copy of an agent's records, and returns the latest batch of it.
    pub(super) fn drop_namespace(&mut self, owner: AgentId) -> Option<Arc<Batch>> {
        let held = self.namespaces.remove(&owner)?;
        self.owner_hashes[owner_bucket(owner)] ^= fingerprint(owner, &held);
        self.records_copied -= held.len();
        held.newest().cloned()
    }

    /// Takes note that an instance's certificate is about to be another, or none, so that the hashes stay those of what is held.
    pub(super) fn exchange_certificates(&mut self, old: Option<&Certificate>, new: Option<&Certificate>) {
        for certificate in old.into_iter().chain(new) {
            let id = certificate.decision.instance.hash64();
            let (incarnation, term, standing, signers) = certificate.rank();
            self.certificate_hashes[certificate_bucket(id)] ^=
                hash::mix(&[id, incarnation, term, u64::from(standing), signers]);
        }
    }

    fn all_certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.instances.values().filter_map(|instance| instance.certificate.as_ref())
    }

    fn owner_digest(&self) -> Vec<u64> {
        let mut owners = self.owner_hashes.to_vec();
        owners[owner_bucket(self.me())] ^= fingerprint(self.me(), self.log.copy());
        owners
    }

    pub(super) fn digest(&self) -> Digest {
        let owners = self.owner_digest();
        let certificates = self.certificate_hashes.to_vec();
        let epoch = self.roster.epoch();
        Digest { epoch, owners, certificates, members: self.swim.table_hash() }
    }

    pub(super) fn receive_digest(&mut self, from: AgentId, theirs: &Digest) {
        if theirs.owners.len() != Digest::OWNER_BUCKETS || theirs.certificates.len() != Digest::CERTIFICATE_BUCKETS {
            self.stats.packets_malformed += 1;
            return;
        }
        self.meet_epoch(from, theirs.epoch);
        if !self.accepts_sync(from) {
            return;
        }
        self.flush_log();
        let ours = self.digest();
        let differing =
            |a: &[u64], b: &[u64]| -> Vec<u8> { (0..a.len()).filter(|i| a[*i] != b[*i]).map(|i| i as u8).collect() };
        let owner_buckets = differing(&ours.owners, &theirs.owners);
        let mut certificate_buckets = differing(&ours.certificates, &theirs.certificates);
        // What does not fit is left for the next time; a bucket is listed whole or not at all.
        let mut certificates = self.certificate_marks(&certificate_buckets);
        while certificates.len() > MAX_MARKS && certificate_buckets.len() > 1 {
            certificate_buckets.truncate(certificate_buckets.len() / 2);
            certificates = self.certificate_marks(&certificate_buckets);
        }
        let summary = Summary {
            owners: self.owner_marks(&owner_buckets),
            certificates,
            owner_buckets,
            certificate_buckets,
            members: (ours.members != theirs.members).then(|| self.swim.table()),
            caught_up: self.caught_up(),
        };
        self.send(from, &Packet::Summary(summary));
    }

    fn owner_marks(&self, buckets: &[u8]) -> Vec<OwnerMark> {
        let wanted = bitmap(buckets);
        let listed = |owner: AgentId| wanted[owner_bucket(owner)];
        self.all_namespaces()
            .filter(|(owner, _)| listed(*owner))
            .map(|(owner, namespace)| mark(owner, namespace))
            .collect()
    }

    fn certificate_marks(&self, buckets: &[u8]) -> Vec<CertificateMark> {
        let wanted = bitmap(buckets);
        self.all_certificates()
            .filter(|c| wanted[certificate_bucket(c.decision.instance.hash64())])
            .map(|c| CertificateMark { instance: c.decision.instance.clone(), rank: c.rank() })
            .collect()
    }

    /// Answers with what they lack, and asks for what we lack.
    pub(super) fn receive_summary(&mut self, from: AgentId, summary: Summary) {
        if !bounded(&summary.owners, summary.certificates.len(), summary.members.as_deref()) {
            self.stats.packets_malformed += 1;
            return;
        }
        let mut parts = DeltaParts::default();
        let by_owner = |marks: Vec<OwnerMark>| marks.into_iter().map(|mark| (mark.owner, mark)).collect::<OwnerMarks>();
        let (ours, theirs) = (by_owner(self.owner_marks(&summary.owner_buckets)), by_owner(summary.owners));
        for owner in ours.keys() {
            match theirs.get(owner) {
                None => self.add_owner(&mut parts, *owner, 0, 0, &[], true),
                Some(theirs) => self.add_owner(&mut parts, *owner, theirs.epoch, theirs.head, &theirs.missing, false),
            }
        }
        let mut want_owners = Vec::new();
        for theirs in theirs.values() {
            let ahead = match ours.get(&theirs.owner) {
                None => true,
                Some(ours) => (theirs.epoch, theirs.head) > (ours.epoch, ours.head) || !ours.missing.is_empty(),
            };
            if ahead {
                want_owners.push(self.mark_of(theirs.owner));
            }
        }
        self.seek_reuse(from, &summary.owner_buckets, &ours, &theirs);
        let certificates = self.certificate_marks(&summary.certificate_buckets);
        let theirs: BTreeMap<_, _> = summary.certificates.iter().map(|mark| (&mark.instance, mark.rank)).collect();
        let held: BTreeMap<_, _> = certificates.iter().map(|mark| (&mark.instance, mark.rank)).collect();
        for ours in &certificates {
            if theirs.get(&ours.instance).is_none_or(|rank| *rank < ours.rank) {
                let certificate = self.instances.get(&ours.instance).and_then(|i| i.certificate.clone());
                certificate.into_iter().for_each(|certificate| parts.certificate(certificate));
            }
        }
        // Who goes on from a term that is used up here, by a verdict that is believed nowhere any more, is shown that, and decides beyond it.
        let proof = |theirs: &CertificateMark| {
            let used_up = self.instances.get(&theirs.instance).and_then(|instance| instance.used_up.clone());
            used_up.filter(|proof| proof.rank() > theirs.rank)
        };
        let used_up: Vec<_> = summary.certificates.iter().filter_map(proof).collect();
        for certificates in used_up.chunks(MAX_USED_UP) {
            self.send_stream(from, &Packet::UsedUp { certificates: certificates.to_vec() });
        }
        let behind = |theirs: &&CertificateMark| held.get(&theirs.instance).is_none_or(|rank| *rank < theirs.rank);
        let want_certificates =
            summary.certificates.iter().filter(behind).map(|theirs| theirs.instance.clone()).collect();
        let members = summary.members.is_some().then(|| self.swim.table());
        if let Some(table) = summary.members {
            self.merge_members(&table);
        }
        let nothing_wanted = want_owners.is_empty();
        for delta in parts.finish(members, want_owners, want_certificates, self.caught_up()) {
            self.send(from, &Packet::Delta(delta));
        }
        if nothing_wanted {
            self.sync_done(from, summary.caught_up);
        }
    }

    /// Where the hashes of a bucket differ and its numbers do not, somebody has used numbers twice, with another content that nobody would ask for. Whose
    /// they are is shown what is held here, and goes on beyond it (`notice_reuse`).
    fn seek_reuse(&mut self, from: AgentId, buckets: &[u8], ours: &OwnerMarks, theirs: &OwnerMarks) {
        let Some((_, asked)) = self.digest_sent.take_if(|(to, _)| *to == from) else { return };
        let unlike = ours.iter().filter(|(owner, mark)| theirs.get(owner) != Some(mark)).map(|(owner, _)| *owner);
        let lacked = theirs.keys().filter(|owner| !ours.contains_key(owner)).copied();
        let mut explained: BTreeSet<_> = unlike.chain(lacked).map(owner_bucket).collect();
        // What has come since the hashes were told explains it as well.
        let now = self.owner_digest();
        let changed = |bucket: &usize| asked.get(*bucket) != now.get(*bucket);
        explained.extend(buckets.iter().map(|bucket| usize::from(*bucket)).filter(changed));
        let mut reused: Vec<_> =
            ours.keys().filter(|owner| !explained.contains(&owner_bucket(**owner))).copied().collect();
        // A few of them each time, so that nobody can be made to send much by claiming a difference.
        reused.shuffle(&mut self.rng);
        for owner in reused {
            let own = owner == self.me();
            if (own || self.swim.is_active(owner)) && self.shown.take(self.now.mono, MAX_SHOWN_PER_S) {
                let (to, held) = match self.namespaces.get(&owner) {
                    Some(copy) if !own => (owner, copy.batches()),
                    _ => (from, self.log.copy().batches()),
                };
                self.push_batches(to, &held);
            }
        }
    }

    /// Takes what we lacked, and answers what they want.
    pub(super) fn receive_delta(&mut self, from: AgentId, delta: Delta) {
        if !bounded(&delta.want_owners, delta.want_certificates.len(), delta.members.as_deref()) {
            self.stats.packets_malformed += 1;
            return;
        }
        let known = self.members.len();
        for owner in delta.owners {
            if !self.take_owner(from, owner, false) {
                return;
            }
        }
        if self.members.len() > known {
            // Where there were strangers there are more.
            self.next_sync = self.next_sync.min(self.now.mono + STRANGERS_PATIENCE);
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
        let mut answered = BTreeSet::new();
        for want in delta.want_owners.iter().filter(|want| answered.insert(want.owner)) {
            self.add_owner(&mut parts, want.owner, want.epoch, want.head, &want.missing, want.epoch == 0);
        }
        let wanted: BTreeSet<_> = delta.want_certificates.iter().collect();
        for instance in wanted {
            let certificate = self.instances.get(instance).and_then(|i| i.certificate.clone());
            certificate.into_iter().for_each(|certificate| parts.certificate(certificate));
        }
        if !parts.is_empty() || reply_members {
            let members = reply_members.then(|| self.swim.table());
            for delta in parts.finish(members, Vec::new(), Vec::new(), self.caught_up()) {
                self.send(from, &Packet::Delta(delta));
            }
        }
        if delta.last {
            self.sync_done(from, delta.caught_up);
        }
    }

    fn mark_of(&self, owner: AgentId) -> OwnerMark {
        let empty = Namespace::default();
        mark(owner, self.namespaces.get(&owner).map_or(&empty, Arc::as_ref))
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
        let copy = || self.namespaces.get(&owner).map(Arc::as_ref);
        let Some(namespace) = (if own { Some(self.log.copy()) } else { copy() }) else { return };
        let batches = namespace.since(epoch, head, missing);
        let credential = self.agents.get(&owner).map(|known| &known.credential);
        if let (false, Some(credential)) = (batches.is_empty(), credential) {
            parts.owner(owner, introduce.then(|| credential.clone()), batches);
        }
    }
}

fn mark(owner: AgentId, namespace: &Namespace) -> OwnerMark {
    OwnerMark { owner, epoch: namespace.epoch(), head: namespace.head(), missing: namespace.missing().collect() }
}

/// Are these lists no longer than any that an honest agent sends?
fn bounded(owners: &[OwnerMark], certificates: usize, members: Option<&[MemberMark]>) -> bool {
    owners.len() <= limits::MAX_AGENTS
        && owners.iter().all(|mark| mark.missing.len() <= Batch::MAX_LIVE)
        && certificates <= limits::MAX_INSTANCES
        && members.is_none_or(|table| table.len() <= limits::MAX_AGENTS)
}

fn bitmap(buckets: &[u8]) -> [bool; 256] {
    let mut bitmap = [false; 256];
    buckets.iter().for_each(|bucket| bitmap[usize::from(*bucket)] = true);
    bitmap
}

pub(super) fn owner_bucket(owner: AgentId) -> usize {
    (hash::spread(owner.0) % Digest::OWNER_BUCKETS as u64) as usize
}

fn certificate_bucket(id: u64) -> usize {
    (id % Digest::CERTIFICATE_BUCKETS as u64) as usize
}

/// What a digest says of one namespace.
pub(super) fn fingerprint(owner: AgentId, namespace: &Namespace) -> u64 {
    let missing = namespace.missing().count() as u64;
    hash::mix(&[owner.0, u64::from(namespace.epoch()), u64::from(namespace.head()), missing, namespace.content()])
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

    fn owner(&mut self, owner: AgentId, credential: Option<Arc<[u8]>>, batches: Vec<Arc<Batch>>) {
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
        want_certificates: Vec<InstanceId>,
        caught_up: bool,
    ) -> Vec<Delta> {
        self.current.caught_up = caught_up;
        self.current.members = members;
        self.current.want_owners = want_owners;
        self.current.want_certificates = want_certificates;
        self.current.last = true;
        self.done.push(self.current);
        self.done
    }
}
