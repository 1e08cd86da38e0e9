//! One agent's records, as signed batches: written by their owner, copied by everyone else.
//!
//! The owner numbers its batches and lists in each one which of them still hold something. Whoever has the newest batch and every batch
//! that it lists has everything; so a lost batch is noticed, and what is superseded can be dropped without a word.

use quorate_core::{AgentId, InstanceId, hash};
use quorate_wire::{Batch, Record, RecordKey, encode_value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most records one agent may have.
pub(crate) const MAX_RECORDS: usize = 50_000;
/// Of records that are so many times as many as the fresh ones, the fresh are looked for; else both are gone through side by side.
const FEW: usize = 16;
/// When more batches than this are live, the emptiest are written anew.
const CLEAN_ABOVE: usize = 16;
/// Up to so many records, those about hosts are looked through again with every batch; of more nothing is struck off.
const LOOKED_THROUGH: usize = 64;

/// A copy of an agent's records. There is one for every agent on every agent, most of them of a single record: it keeps the batches as they
/// came, and only points into them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespace {
    epoch: u32,
    head: u32,
    /// The live batches that are held, ascending; beside the newest, which lists what is live.
    batches: Vec<Arc<Batch>>,
    /// Of the batches that are held: what they say, not only how they are numbered.
    content: u64,
    /// The newest record of each key, by key.
    places: Vec<Place>,
    /// A bit for each host that is spoken of, and perhaps some more.
    hosts: u64,
    /// What is needed only while something is missing.
    incomplete: Option<Box<Incomplete>>,
}

/// Where a record is: in which batch, and which one of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    seq: u32,
    index: u32,
}

#[derive(Debug, Clone, Default)]
struct Incomplete {
    /// What the previous epoch held.
    older: BTreeMap<RecordKey, Record>,
    /// Batches that are live no more, but hold the newest that is known of some key.
    retired: Vec<Arc<Batch>>,
}

/// Whether a batch was news.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was; these keys may have changed.
    News(Vec<RecordKey>),
    /// It was not.
    Known,
    /// It breaks a rule.
    Refused,
}

impl Namespace {
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn head(&self) -> u32 {
        self.head
    }

    /// A hash of the batches that are held.
    pub fn content(&self) -> u64 {
        self.content
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn record(&self, key: &RecordKey) -> Option<&Record> {
        match self.find(key) {
            Ok(place) => self.at(self.places[place]),
            Err(_) => self.incomplete.as_ref()?.older.get(key),
        }
        .filter(|record| !record.is_tombstone())
    }

    /// Can there be a record of what was observed of this instance? Of hosts it is certain when not, and cheap to tell.
    pub fn may_speak_of(&self, id: &InstanceId) -> bool {
        id.host_of().is_none_or(|host| self.hosts & bit(host) != 0 || self.incomplete.is_some())
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let older = self.incomplete.iter().flat_map(|incomplete| &incomplete.older);
        let older = older.filter(|(key, _)| self.find(key).is_err()).map(|(_, record)| record);
        self.places.iter().filter_map(|place| self.at(*place)).chain(older).filter(|record| !record.is_tombstone())
    }

    /// The owner's batches that still hold something, ascending.
    fn live(&self) -> &[u32] {
        self.batches.last().map_or(&[], |newest| &newest.live)
    }

    /// Live batches that are missing.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        self.live().iter().copied().filter(|seq| !self.holds(*seq))
    }

    fn holds(&self, seq: u32) -> bool {
        self.batches.binary_search_by_key(&seq, |batch| batch.seq).is_ok()
    }

    fn batch(&self, seq: u32) -> Option<&Arc<Batch>> {
        match self.batches.binary_search_by_key(&seq, |batch| batch.seq) {
            Ok(index) => self.batches.get(index),
            Err(_) => self.incomplete.as_ref()?.retired.iter().find(|batch| batch.seq == seq),
        }
    }

    /// The latest batch.
    pub fn newest(&self) -> Option<&Arc<Batch>> {
        self.batches.last()
    }

    /// The batch of this number, if it is held.
    pub fn held(&self, epoch: u32, seq: u32) -> Option<&Arc<Batch>> {
        self.batch(seq).filter(|_| epoch == self.epoch)
    }

    fn at(&self, place: Place) -> Option<&Record> {
        self.batch(place.seq)?.records.get(place.index as usize)
    }

    fn find(&self, key: &RecordKey) -> Result<usize, usize> {
        let key = Some(key.as_ref());
        self.places.binary_search_by(|place| self.at(*place).map(Record::key_ref).cmp(&key))
    }

    /// Points to the records of the batch `seq`, which are given by key, wherever nothing newer is known. Returns the keys that changed.
    fn point_to(&mut self, seq: u32, fresh: BTreeMap<RecordKey, u32>) -> BTreeSet<RecordKey> {
        if fresh.len() * FEW <= self.places.len() {
            return self.point_to_few(seq, fresh);
        }
        let mut changed = BTreeSet::new();
        let mut places = Vec::with_capacity(self.places.len().max(1));
        let mut fresh = fresh.into_iter().peekable();
        for place in &self.places {
            let Some(key) = self.at(*place).map(Record::key_ref) else { continue };
            while let Some((new, index)) = fresh.next_if(|(new, _)| new.as_ref() < key) {
                places.push(Place { seq, index });
                changed.insert(new);
            }
            match fresh.next_if(|(new, _)| new.as_ref() == key) {
                Some((new, index)) if place.seq < seq => {
                    places.push(Place { seq, index });
                    changed.insert(new);
                }
                _ => places.push(*place),
            }
        }
        for (new, index) in fresh {
            places.push(Place { seq, index });
            changed.insert(new);
        }
        self.places = places;
        changed
    }

    /// The same for a few records among many: each is looked for.
    fn point_to_few(&mut self, seq: u32, fresh: BTreeMap<RecordKey, u32>) -> BTreeSet<RecordKey> {
        let found: Vec<_> = fresh.into_iter().map(|(key, index)| (self.find(&key), key, index)).collect();
        let mut changed = BTreeSet::new();
        // From the last one on, so that the places before it are still where they were found.
        for (found, key, index) in found.into_iter().rev() {
            let place = Place { seq, index };
            match found {
                Ok(at) if self.places[at].seq < seq => self.places[at] = place,
                Ok(_) => continue,
                Err(at) => self.places.insert(at, place),
            }
            changed.insert(key);
        }
        changed
    }

    /// Is the newest of some record in this batch?
    fn is_pointed_to(&self, seq: u32) -> bool {
        self.places.iter().any(|place| place.seq == seq)
    }

    /// Keeps a batch; those that it does not list as live are kept only as long as they are needed.
    fn keep(&mut self, batch: Arc<Batch>) {
        let seq = batch.seq;
        match self.batches.binary_search_by_key(&batch.seq, |held| held.seq) {
            Ok(_) => return,
            Err(index) => {
                self.batches.reserve_exact(1);
                self.batches.insert(index, batch);
            }
        }
        let Some(newest) = self.batches.last().cloned() else { return };
        let mut dead = Vec::new();
        self.batches.retain(|held| {
            let live = newest.live.binary_search(&held.seq).is_ok();
            if !live {
                dead.push(Arc::clone(held));
            }
            live
        });
        self.content = self.batches.iter().fold(0, |content, held| content ^ hash::bytes(&held.signature));
        dead.retain(|held| self.is_pointed_to(held.seq));
        if !dead.is_empty() || self.incomplete.is_some() {
            let mut incomplete = self.incomplete.take().unwrap_or_default();
            incomplete.retired.extend(dead);
            incomplete.retired.retain(|held| self.is_pointed_to(held.seq));
            self.incomplete = Some(incomplete);
        }
        let few = self.places.len() <= LOOKED_THROUGH;
        let told = self.places.iter().filter_map(|place| self.at(*place).filter(|_| few || place.seq == seq));
        self.hosts = told.filter_map(host_of).fold(if few { 0 } else { self.hosts }, |hosts, host| hosts | bit(host));
    }

    /// Batches that someone lacks who has come to `head` of `epoch` without the `missing` ones.
    pub fn since(&self, epoch: u32, head: u32, missing: &[u32]) -> Vec<Arc<Batch>> {
        let all = self.batches().into_iter();
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Less => all.collect(),
            std::cmp::Ordering::Equal => all.filter(|b| b.seq > head || missing.contains(&b.seq)).collect(),
            std::cmp::Ordering::Greater => Vec::new(),
        }
    }

    /// Would this batch be news? Asked before its signature is checked.
    pub fn wants(&self, epoch: u32, seq: u32) -> bool {
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => {
                // The newest is always held, and most of what is told again is the newest.
                seq > self.head || (seq < self.head && self.live().binary_search(&seq).is_ok() && !self.holds(seq))
            }
            std::cmp::Ordering::Less => false,
        }
    }

    /// Takes a batch whose signature holds.
    pub fn take(&mut self, batch: Arc<Batch>) -> Taken {
        if !self.wants(batch.epoch, batch.seq) {
            return Taken::Known;
        }
        let ordered = batch.live.windows(2).all(|pair| pair[0] < pair[1]) && batch.live.last() == Some(&batch.seq);
        if !ordered || batch.seq == 0 || batch.epoch == 0 || batch.live.len() > Batch::MAX_LIVE {
            return Taken::Refused;
        }
        // What a new start has not yet written anew comes on top: as much again at most.
        let held = if batch.epoch > self.epoch { 0 } else { self.places.len() };
        if held + batch.records.len() > MAX_RECORDS {
            return Taken::Refused;
        }
        let mut dropped = Vec::new();
        if batch.epoch > self.epoch {
            // Of starts that never come to their end no more is kept than of one.
            let older = self.incomplete.as_ref().map_or(0, |incomplete| incomplete.older.len());
            if self.places.len() + older > MAX_RECORDS {
                dropped = self.complete();
            }
            let older: BTreeMap<_, _> = self.records().map(|record| (record.key(), record.clone())).collect();
            let incomplete = (!older.is_empty()).then(|| Box::new(Incomplete { older, retired: Vec::new() }));
            *self = Self { epoch: batch.epoch, incomplete, ..Self::default() };
        }
        self.head = self.head.max(batch.seq);
        let mut fresh = BTreeMap::new();
        for (index, record) in (0..).zip(&batch.records) {
            fresh.entry(record.key()).or_insert(index);
        }
        let mut changed = self.point_to(batch.seq, fresh);
        changed.extend(dropped);
        self.keep(batch);
        // A start writes all anew, in several batches when that is much, and the profile comes with the last of them: what is not in the first is not gone.
        if self.missing().next().is_none() && self.find(&RecordKey::Profile).is_ok() {
            changed.extend(self.complete());
        }
        Taken::News(changed.into_iter().collect())
    }

    /// Everything is there: what no live batch holds is gone.
    fn complete(&mut self) -> Vec<RecordKey> {
        let Some(incomplete) = &self.incomplete else { return Vec::new() };
        let mut gone: Vec<_> = incomplete.older.keys().filter(|key| self.find(key).is_err()).cloned().collect();
        let (held, dead): (Vec<_>, Vec<_>) = self.places.iter().partition(|place| self.holds(place.seq));
        gone.extend(dead.into_iter().filter_map(|place: Place| self.at(place).map(Record::key)));
        self.places = held;
        self.incomplete = None;
        gone
    }

    /// All that are held, ascending: the live ones, and while one of those is missing, what it would replace. It may be lost for ever with its owner.
    pub fn batches(&self) -> Vec<Arc<Batch>> {
        let retired = self.incomplete.iter().flat_map(|incomplete| &incomplete.retired);
        let mut all: Vec<_> = retired.chain(&self.batches).cloned().collect();
        all.sort_by_key(|batch| batch.seq);
        all
    }
}

/// The host that was observed, by this record.
fn host_of(record: &Record) -> Option<AgentId> {
    match record {
        Record::Observed { instance, .. } => instance.host_of(),
        _ => None,
    }
}

fn bit(host: AgentId) -> u64 {
    1 << (hash::spread(host.0) >> 58)
}

/// An agent's own namespace: the only place where records are written.
#[derive(Debug)]
pub(crate) struct OwnLog {
    owner: AgentId,
    copy: Namespace,
    pending: BTreeMap<RecordKey, Record>,
    /// Tombstones may be among what is written.
    buried: bool,
}

impl OwnLog {
    pub fn new(owner: AgentId, epoch: u32) -> Self {
        Self { owner, copy: Namespace { epoch, ..Namespace::default() }, pending: BTreeMap::new(), buried: false }
    }

    pub fn copy(&self) -> &Namespace {
        &self.copy
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What is written or about to be.
    pub fn record(&self, key: &RecordKey) -> Option<&Record> {
        match self.pending.get(key) {
            Some(record) => Some(record).filter(|record| !record.is_tombstone()),
            None => self.copy.record(key),
        }
    }

    /// All that is written or about to be.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let written = self.copy.records().filter(|record| !self.pending.contains_key(&record.key()));
        written.chain(self.pending.values().filter(|record| !record.is_tombstone()))
    }

    /// Notes a record to be written with the next flush.
    pub fn write(&mut self, record: Record) {
        let key = record.key();
        if self.record(&key) == Some(&record) || (record.is_tombstone() && self.record(&key).is_none()) {
            return;
        }
        self.pending.insert(key, record);
    }

    /// Writes everything anew under a higher epoch.
    pub fn restart(&mut self, epoch: u32) {
        let mut pending: BTreeMap<_, _> = self.copy.records().map(|record| (record.key(), record.clone())).collect();
        pending.append(&mut self.pending);
        pending.retain(|_, record| !record.is_tombstone());
        *self = Self { pending, ..Self::new(self.owner, epoch) };
    }

    /// Signs what is pending into batches, and returns these.
    pub fn flush(&mut self, sign: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Arc<Batch>> {
        let mut written = Vec::new();
        if self.has_pending() {
            self.clean();
        }
        let begins = self.copy.head == 0;
        let mut profile = begins.then(|| self.pending.remove(&RecordKey::Profile)).flatten();
        while !self.pending.is_empty() || profile.is_some() {
            let mut records = Vec::new();
            let mut bytes = 0;
            while let Some(entry) = self.pending.first_entry() {
                bytes += encode_value(entry.get()).len();
                if bytes > Batch::MAX_BYTES / 2 && !records.is_empty() {
                    break;
                }
                records.push(entry.remove());
            }
            if self.pending.is_empty() {
                records.extend(profile.take());
            }
            records.shrink_to_fit();
            written.push(self.append(records, &sign));
        }
        written
    }

    fn append(&mut self, records: Vec<Record>, sign: impl Fn(&[u8]) -> Vec<u8>) -> Arc<Batch> {
        let seq = self.copy.head + 1;
        let fresh = records.iter().map(Record::key).zip(0..).collect();
        self.forget_tombstones();
        self.buried |= records.iter().any(Record::is_tombstone);
        self.copy.point_to(seq, fresh);
        let held = self.copy.batches.iter().map(|batch| batch.seq);
        let live: Vec<u32> = held.filter(|held| self.copy.is_pointed_to(*held)).chain([seq]).collect();
        let (owner, epoch) = (self.owner, self.copy.epoch);
        let mut batch = Batch { owner, epoch, seq, live, records, signature: Vec::new() };
        batch.signature = sign(&batch.signing_bytes());
        let batch = Arc::new(batch);
        self.copy.head = seq;
        self.copy.keep(Arc::clone(&batch));
        batch
    }

    /// A tombstone is needed only while an older live batch still holds its key.
    fn forget_tombstones(&mut self) {
        if !self.buried {
            return;
        }
        let copy = &self.copy;
        let held = |key: &RecordKey, below: u32| {
            let older = copy.batches.iter().take_while(|batch| batch.seq < below);
            older.into_iter().any(|batch| batch.records.iter().any(|record| record.key_ref() == key.as_ref()))
        };
        let needed = |place: &Place| {
            let record = copy.at(*place);
            record.is_none_or(|record| !record.is_tombstone() || held(&record.key(), place.seq))
        };
        self.copy.places = copy.places.iter().copied().filter(needed).collect();
        self.buried = self.copy.places.iter().filter_map(|place| self.copy.at(*place)).any(Record::is_tombstone);
    }

    /// When many batches are live, takes what the emptiest still hold into the next one, as far as that fits into one batch.
    fn clean(&mut self) {
        if self.copy.live().len() < CLEAN_ABOVE {
            return;
        }
        let mut records: BTreeMap<u32, usize> = BTreeMap::new();
        for place in &self.copy.places {
            *records.entry(place.seq).or_default() += 1;
        }
        let mut emptiest: Vec<_> = records.into_iter().map(|(seq, records)| (records, seq)).collect();
        emptiest.sort_unstable();
        let mut room = Batch::MAX_BYTES / 2;
        let mut victims = BTreeSet::new();
        for (_, seq) in emptiest.into_iter().take(CLEAN_ABOVE / 2) {
            let places = self.copy.places.iter().filter(|place| place.seq == seq);
            let bytes = places.filter_map(|place| self.copy.at(*place)).map(|record| encode_value(record).len()).sum();
            let Some(left) = room.checked_sub(bytes) else { break };
            room = left;
            victims.insert(seq);
        }
        let moved = self.copy.places.iter().filter(|place| victims.contains(&place.seq));
        for record in moved.filter_map(|place| self.copy.at(*place)) {
            self.pending.entry(record.key()).or_insert_with(|| record.clone());
        }
    }
}

#[cfg(test)]
#[path = "namespace_tests.rs"]
mod tests;
