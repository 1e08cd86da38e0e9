//! One agent's records, as signed batches: written by their owner, copied by everyone else.
//!
//! The owner numbers its batches and lists in each one which of them still hold something. Whoever has the newest batch and every batch
//! that it lists has everything; so a lost batch is noticed, and what is superseded can be dropped without a word.

use quorate_core::AgentId;
use quorate_wire::{Batch, Record, RecordKey, encode_value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most records one agent may have.
pub(crate) const MAX_RECORDS: usize = 50_000;
/// When more batches than this are live, the emptiest are written anew.
const CLEAN_ABOVE: usize = 16;

/// A copy of an agent's records.
#[derive(Debug, Default)]
pub(crate) struct Namespace {
    epoch: u32,
    head: u32,
    live: BTreeSet<u32>,
    batches: BTreeMap<u32, Arc<Batch>>,
    records: BTreeMap<RecordKey, (u32, Record)>,
    /// What the previous epoch held, until this one is complete.
    older: BTreeMap<RecordKey, Record>,
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

    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn record(&self, key: &RecordKey) -> Option<&Record> {
        match self.records.get(key) {
            Some((_, record)) => Some(record),
            None => self.older.get(key),
        }
        .filter(|record| !record.is_tombstone())
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let older = self.older.iter().filter(|(key, _)| !self.records.contains_key(key)).map(|(_, record)| record);
        self.records.values().map(|(_, record)| record).chain(older).filter(|record| !record.is_tombstone())
    }

    /// Live batches that are missing.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        self.live.iter().copied().filter(|seq| !self.batches.contains_key(seq))
    }

    /// Batches that someone lacks who has come to `head` of `epoch` without the `missing` ones.
    pub fn since(&self, epoch: u32, head: u32, missing: &[u32]) -> Vec<Arc<Batch>> {
        let all = self.batches.values();
        match epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Less => all.cloned().collect(),
            std::cmp::Ordering::Equal => all.filter(|b| b.seq > head || missing.contains(&b.seq)).cloned().collect(),
            std::cmp::Ordering::Greater => Vec::new(),
        }
    }

    /// Would this batch be news? Asked before its signature is checked.
    pub fn wants(&self, batch: &Batch) -> bool {
        match batch.epoch.cmp(&self.epoch) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => {
                batch.seq > self.head || (self.live.contains(&batch.seq) && !self.batches.contains_key(&batch.seq))
            }
            std::cmp::Ordering::Less => false,
        }
    }

    /// Takes a batch whose signature holds.
    pub fn take(&mut self, batch: Arc<Batch>) -> Taken {
        if !self.wants(&batch) {
            return Taken::Known;
        }
        let ordered = batch.live.windows(2).all(|pair| pair[0] < pair[1]) && batch.live.last() == Some(&batch.seq);
        if !ordered || batch.seq == 0 || batch.epoch == 0 || batch.live.len() > Batch::MAX_LIVE {
            return Taken::Refused;
        }
        if self.records.len() + self.older.len() + batch.records.len() > MAX_RECORDS {
            return Taken::Refused;
        }
        let mut changed = BTreeSet::new();
        if batch.epoch > self.epoch {
            let older = self.records().map(|record| (record.key(), record.clone())).collect();
            *self = Self { epoch: batch.epoch, older, ..Self::default() };
        }
        if batch.seq > self.head {
            self.head = batch.seq;
            self.live = batch.live.iter().copied().collect();
            self.batches.retain(|seq, _| self.live.contains(seq));
        }
        for record in &batch.records {
            let key = record.key();
            let newer = self.records.get(&key).is_none_or(|(seq, _)| *seq < batch.seq);
            if newer {
                self.records.insert(key.clone(), (batch.seq, record.clone()));
                changed.insert(key);
            }
        }
        self.batches.insert(batch.seq, batch);
        if self.missing().next().is_none() {
            changed.extend(self.complete());
        }
        Taken::News(changed.into_iter().collect())
    }

    /// Everything is there: what no live batch holds is gone.
    fn complete(&mut self) -> Vec<RecordKey> {
        let mut gone: Vec<_> =
            std::mem::take(&mut self.older).into_keys().filter(|key| !self.records.contains_key(key)).collect();
        let dead: Vec<_> =
            self.records.iter().filter(|(_, (seq, _))| !self.live.contains(seq)).map(|(key, _)| key.clone()).collect();
        for key in dead {
            self.records.remove(&key);
            gone.push(key);
        }
        gone
    }

    pub fn batches(&self) -> impl Iterator<Item = &Arc<Batch>> {
        self.batches.values()
    }
}

/// An agent's own namespace: the only place where records are written.
#[derive(Debug)]
pub(crate) struct OwnLog {
    owner: AgentId,
    copy: Namespace,
    pending: BTreeMap<RecordKey, Record>,
}

impl OwnLog {
    pub fn new(owner: AgentId, epoch: u32) -> Self {
        Self { owner, copy: Namespace { epoch, ..Namespace::default() }, pending: BTreeMap::new() }
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
        while !self.pending.is_empty() {
            let mut records = Vec::new();
            let mut bytes = 0;
            while let Some(entry) = self.pending.first_entry() {
                bytes += encode_value(entry.get()).len();
                if bytes > Batch::MAX_BYTES / 2 && !records.is_empty() {
                    break;
                }
                records.push(entry.remove());
            }
            written.push(self.append(records, &sign));
        }
        written
    }

    fn append(&mut self, records: Vec<Record>, sign: impl Fn(&[u8]) -> Vec<u8>) -> Arc<Batch> {
        let seq = self.copy.head + 1;
        for record in &records {
            self.copy.records.insert(record.key(), (seq, record.clone()));
        }
        self.forget_tombstones(seq);
        let mut live: BTreeSet<u32> = self.copy.records.values().map(|(seq, _)| *seq).collect();
        live.insert(seq);
        let live: Vec<u32> = live.into_iter().collect();
        let (owner, epoch) = (self.owner, self.copy.epoch);
        let mut batch = Batch { owner, epoch, seq, live, records, signature: Vec::new() };
        batch.signature = sign(&batch.signing_bytes());
        let batch = Arc::new(batch);
        self.copy.head = seq;
        self.copy.live = batch.live.iter().copied().collect();
        self.copy.batches.insert(seq, Arc::clone(&batch));
        self.copy.batches.retain(|seq, _| self.copy.live.contains(seq));
        batch
    }

    /// A tombstone is needed only while an older live batch still holds its key.
    fn forget_tombstones(&mut self, newest: u32) {
        let held = |key: &RecordKey, below: u32| {
            self.copy.batches.range(..below).any(|(_, batch)| batch.records.iter().any(|record| record.key() == *key))
        };
        let stale: Vec<_> = self
            .copy
            .records
            .iter()
            .filter(|(key, (seq, record))| record.is_tombstone() && *seq < newest && !held(key, *seq))
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            self.copy.records.remove(&key);
        }
    }

    /// When many batches are live, takes what the emptiest still hold into the next one, as far as that fits into one batch.
    fn clean(&mut self) {
        if self.copy.live.len() < CLEAN_ABOVE {
            return;
        }
        let mut bytes: BTreeMap<u32, usize> = BTreeMap::new();
        for (seq, record) in self.copy.records.values() {
            *bytes.entry(*seq).or_default() += encode_value(record).len();
        }
        let mut emptiest: Vec<_> = bytes.into_iter().map(|(seq, bytes)| (bytes, seq)).collect();
        emptiest.sort_unstable();
        let mut room = Batch::MAX_BYTES / 2;
        let mut victims = BTreeSet::new();
        for (bytes, seq) in emptiest.into_iter().take(CLEAN_ABOVE / 2) {
            let Some(left) = room.checked_sub(bytes) else { break };
            room = left;
            victims.insert(seq);
        }
        for (key, (seq, record)) in &self.copy.records {
            if victims.contains(seq) {
                self.pending.entry(key.clone()).or_insert_with(|| record.clone());
            }
        }
    }
}

#[cfg(test)]
#[path = "namespace_tests.rs"]
mod tests;
