//! News that cannot wait for the next tick of gossip: while a callee fails, every caller of the mesh goes on failing until it has heard.
//!
//! Whoever writes or first hears such a batch passes it on at once to a few members drawn at random, and leaves the rest to gossip. Each member does
//! so once for each batch, so that n members send at most `FANOUT`·n packets, and all but about e^-FANOUT of them have it after as many
//! hops as the logarithm of n to that base (Eugster et al., "Epidemic information dissemination in distributed systems", 2004).

use super::Engine;
use quorate_wire::{Batch, Record};
use rand::seq::IndexedRandom;
use std::sync::Arc;

/// Members that a batch is passed on to at once.
const FANOUT: usize = 4;
/// Batches passed on at once in one second; the rest goes by gossip alone.
const MAX_PER_S: usize = 64;

impl Engine {
    /// Passes a batch on at once.
    pub(super) fn relay(&mut self, batch: &Arc<Batch>) {
        if !self.relayed.take(self.now.mono, MAX_PER_S) {
            self.stats.relays_spared += 1;
            return;
        }
        let others: Vec<_> = self.swim.active().filter(|agent| *agent != batch.owner).collect();
        let chosen: Vec<_> = others.sample(&mut self.rng, FANOUT).copied().collect();
        for to in chosen {
            self.push_batches(to, std::slice::from_ref(batch));
        }
    }

    /// Is it to be passed on at once? Of others: a caller's first word on a callee, as accuser and as witness, while the breaker is not open here. Of
    /// one's own: the first as witness, since those few who fail would else be believed before anyone else is heard, and whatever tells of failures, which
    /// is at most one a second for each breaker but for its turns. To be asked before its records are taken.
    pub(super) fn is_pressing(&self, batch: &Batch) -> bool {
        batch.records.iter().any(|record| {
            let Record::Breaker(digest) = record else { return false };
            if batch.owner == self.me() {
                return digest.counts.failed() > 0 || self.answers_first(&digest.key);
            }
            let known = self.digest_from(batch.owner, &digest.key);
            let accuses = digest.counts.failed() > 0 && known.is_none();
            let answers = digest.answers && known.is_none_or(|known| !known.answers);
            (accuses || answers) && !self.breakers.is_open(&digest.key)
        })
    }
}
