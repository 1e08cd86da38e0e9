//! The rules by which an observer signs a proposed decision.
//!
//! A signature is a promise about one term: whoever has signed a verdict in a term signs no other verdict in it, nor any lower term. Two
//! quorums of the same observers share a member, so one term cannot hold two verdicts. A signature counts for a second only; after
//! [`MEMORY`] the promise has long been worthless to any proposer and is forgotten, so that a term nobody completed cannot block for ever.

use crate::time::Mono;
use crate::verdict::Verdict;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a signature counts, from the moment its proposer asked for it.
pub const SIGNATURE_LIFE: Duration = Duration::from_secs(1);
/// How long a signer keeps to what it has signed. Ten times the life of a signature.
pub const MEMORY: Duration = Duration::from_secs(10);
/// How far a proposed term may run ahead of the last certificate's.
pub const TERM_LEAD: u64 = 16;

/// What a signer remembers of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signer {
    /// The highest term of which it holds a certificate; zero when none.
    pub certified: u64,
    /// What it has signed above that, and when.
    pub signed: Option<Signed>,
}

/// A signature given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// In which term.
    pub term: u64,
    /// Which verdict.
    pub verdict: Verdict,
    /// When.
    pub at: Mono,
}

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// A certificate of this or a higher term exists already.
    Certified {
        /// Its term.
        term: u64,
    },
    /// The term, or a higher one, is promised to another verdict.
    Taken {
        /// The highest term promised.
        term: u64,
    },
    /// The term runs too far ahead of the last certificate.
    TooFarAhead {
        /// The highest term acceptable.
        limit: u64,
    },
}

impl Signer {
    /// May `verdict` be signed in `term` at `now`? Whether the signer agrees with it is the caller's question.
    ///
    /// # Errors
    /// The promise that stands against it.
    pub fn may_sign(&self, term: u64, verdict: Verdict, now: Mono) -> Result<(), Refusal> {
        if term <= self.certified {
            return Err(Refusal::Certified { term: self.certified });
        }
        if term > self.certified.saturating_add(TERM_LEAD) {
            return Err(Refusal::TooFarAhead { limit: self.certified.saturating_add(TERM_LEAD) });
        }
        match self.promise(now) {
            Some(promise) if promise.term > term || (promise.term == term && promise.verdict != verdict) => {
                Err(Refusal::Taken { term: promise.term })
            }
            _ => Ok(()),
        }
    }

    /// Notes a signature given.
    pub fn sign(&mut self, term: u64, verdict: Verdict, now: Mono) {
        self.signed = Some(Signed { term, verdict, at: now });
    }

    /// Notes a certificate held.
    pub fn certify(&mut self, term: u64) {
        self.certified = self.certified.max(term);
        self.signed = self.signed.filter(|signed| signed.term > self.certified);
    }

    /// The promise that binds it at `now`, if any.
    #[must_use]
    pub fn promise(&self, now: Mono) -> Option<Signed> {
        self.signed.filter(|signed| signed.term > self.certified && now.since(signed.at) < MEMORY)
    }
}

#[cfg(test)]
#[path = "signing_tests.rs"]
mod tests;
