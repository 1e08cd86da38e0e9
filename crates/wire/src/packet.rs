//! Everything agents say to each other.

use crate::epoch::EpochTalk;
use crate::record::Batch;
use crate::sealed::Sealed;
use quorate_core::signing::Refusal;
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{AgentId, InstanceId, Vote, blob, hash};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One packet, as a datagram when it fits into [`crate::MAX_DATAGRAM_BYTES`], else by a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Packet {
    /// Membership: a packet of the SWIM library.
    Swim(#[serde(with = "blob")] Vec<u8>),
    /// Suspicions, each by the agent that has it (Lifeguard's confirmations).
    Suspicions(Vec<Suspicion>),
    /// Someone holds the receiver failed, under this identity counter or a later one than it speaks under.
    HeldFailed {
        /// All identities up to this one are given up.
        counter: u64,
    },
    /// News, passed on while it is new.
    Push {
        /// Batches of records, with the owner's credential where it introduces itself.
        batches: Vec<BatchNews>,
        /// Proofs of verdicts.
        certificates: Vec<Sealed<Certificate>>,
    },
    /// Compare what we have: hashes only.
    Digest(Digest),
    /// The answer: what I have where our hashes differ.
    Summary(Summary),
    /// What you lack, and what I want.
    Delta(Delta),
    /// Are you there, now?
    RollCall {
        /// Returned in the answer.
        nonce: u64,
    },
    /// I am, and this is the roster I count by.
    Present {
        /// As asked.
        nonce: u64,
        /// The answerer's epoch.
        epoch: u64,
        /// Digest of its roster.
        roster: u64,
        /// Does it stand by that epoch? Not once it has accepted a change towards the next, nor while it may have forgotten one.
        open: bool,
    },
    /// Who counts, and who will.
    Epoch(EpochTalk),
    /// Host ping.
    Ping {
        /// Returned in the answer.
        nonce: u64,
    },
    /// Its answer.
    Pong {
        /// As asked.
        nonce: u64,
    },
    /// Will you sign these?
    Propose {
        /// Returned in the answer.
        nonce: u64,
        /// The decisions.
        decisions: Vec<Decision>,
    },
    /// Yes or no, to each.
    Answers {
        /// As asked.
        nonce: u64,
        /// In any order.
        answers: Vec<Answer>,
    },
    /// Have we the same? One hash of each kind.
    Roots(Roots),
    /// I saw something new of these instances, which you observe as well: look at once.
    LookNow {
        /// Which.
        instances: Vec<InstanceId>,
    },
    /// The terms that these prove are used up. What they say is not to be believed any more.
    UsedUp {
        /// Proofs.
        certificates: Vec<Arc<Certificate>>,
    },
}

impl Packet {
    /// What kind of packet it is, as traces name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Swim(_) => "swim",
            Self::Suspicions(_) => "suspicions",
            Self::HeldFailed { .. } => "held_failed",
            Self::Push { .. } => "push",
            Self::Digest(_) => "digest",
            Self::Summary(_) => "summary",
            Self::Delta(_) => "delta",
            Self::RollCall { .. } => "roll_call",
            Self::Present { .. } => "present",
            Self::Epoch(_) => "epoch",
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
            Self::Propose { .. } => "propose",
            Self::Answers { .. } => "answers",
            Self::Roots(_) => "roots",
            Self::LookNow { .. } => "look_now",
            Self::UsedUp { .. } => "used_up",
        }
    }

    /// News from values that have not been encoded yet.
    #[must_use]
    pub fn push(owners: &[OwnerDelta], certificates: &[Arc<Certificate>]) -> Self {
        let news = |owner: &OwnerDelta| {
            let batches = owner.batches.iter().map(|batch| Sealed::new(&**batch)).collect::<Vec<_>>();
            let credential = owner.credential.clone();
            batches.into_iter().map(move |batch| BatchNews { credential: credential.clone(), batch })
        };
        let certificates = certificates.iter().map(|certificate| Sealed::new(&**certificate)).collect();
        Self::Push { batches: owners.iter().flat_map(news).collect(), certificates }
    }
}

/// A batch that is passed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchNews {
    /// What proves its owner's admission, where it introduces itself.
    #[serde(with = "blob::optional")]
    pub credential: Option<Arc<[u8]>>,
    /// The batch.
    pub batch: Sealed<Batch>,
}

/// One agent's suspicion of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Suspicion {
    /// Who suspects.
    pub by: AgentId,
    /// Whom.
    pub of: AgentId,
    /// Under which identity counter.
    pub counter: u64,
    /// In which incarnation.
    pub incarnation: u16,
}

/// Hashes of what an agent has. Everything falls into a bucket by its name's hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The sender's epoch.
    pub epoch: u64,
    /// One hash for each bucket of namespaces.
    pub owners: Vec<u64>,
    /// One hash for each bucket of certificates.
    pub certificates: Vec<u64>,
    /// Hash of the membership table.
    pub members: u64,
}

/// A [`Digest`] in short: equal when the digests are, but for chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roots {
    /// The sender's epoch.
    pub epoch: u64,
    /// Of all namespaces.
    pub owners: u64,
    /// Of all certificates.
    pub certificates: u64,
    /// Of the membership table.
    pub members: u64,
}

impl Digest {
    /// The digest in short.
    #[must_use]
    pub fn roots(&self) -> Roots {
        let (owners, certificates) = (hash::mix(&self.owners), hash::mix(&self.certificates));
        Roots { epoch: self.epoch, owners, certificates, members: self.members }
    }

    /// Buckets of namespaces.
    pub const OWNER_BUCKETS: usize = 32;
    /// Buckets of certificates.
    pub const CERTIFICATE_BUCKETS: usize = 64;
}

/// What an agent has in the buckets that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Which buckets of namespaces are listed.
    pub owner_buckets: Vec<u8>,
    /// Their content.
    pub owners: Vec<OwnerMark>,
    /// Which buckets of certificates are listed.
    pub certificate_buckets: Vec<u8>,
    /// Their content.
    pub certificates: Vec<CertificateMark>,
    /// The membership table, if it differs.
    pub members: Option<Vec<MemberMark>>,
    /// Has the sender caught up with the mesh since its start?
    pub caught_up: bool,
}

/// How much an agent has of one namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerMark {
    /// Whose.
    pub owner: AgentId,
    /// Its epoch.
    pub epoch: u32,
    /// Highest sequence.
    pub head: u32,
    /// Live batches below the head that are missing.
    pub missing: Vec<u32>,
}

/// Which certificate an agent holds of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateMark {
    /// Of which instance.
    pub instance: InstanceId,
    /// Its rank; see [`Certificate::rank`].
    pub rank: (u64, u64, u8, u64),
}

/// One line of the membership table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberMark {
    /// Who.
    pub agent: AgentId,
    /// Its identity counter.
    pub counter: u64,
    /// Its incarnation.
    pub incarnation: u16,
    /// 0 alive, 1 suspect, 2 down.
    pub state: u8,
}

/// What the receiver lacks, and what the sender wants.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// Batches, by owner.
    pub owners: Vec<OwnerDelta>,
    /// Proofs of verdicts.
    pub certificates: Vec<Arc<Certificate>>,
    /// The sender's membership table, if it differs.
    pub members: Option<Vec<MemberMark>>,
    /// Namespaces of which the sender wants what the receiver has more.
    pub want_owners: Vec<OwnerMark>,
    /// Instances of which it wants the certificate.
    pub want_certificates: Vec<InstanceId>,
    /// Is it the last part?
    pub last: bool,
    /// Has the sender caught up with the mesh since its start?
    pub caught_up: bool,
}

/// Batches of one owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnerDelta {
    /// Whose.
    pub owner: AgentId,
    /// What proves the owner's admission; left out when the receiver knows it.
    #[serde(with = "blob::optional")]
    pub credential: Option<Arc<[u8]>>,
    /// Its batches, ascending.
    pub batches: Vec<Arc<Batch>>,
}

/// The answer to one proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Of which instance.
    pub instance: InstanceId,
    /// Of which term.
    pub term: u64,
    /// The answer.
    pub reply: Reply,
}

/// Yes or no, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Signed.
    Signed(Endorsement),
    /// The signer sees otherwise: its own vote.
    Disagrees(Vote),
    /// The signer is not in a position to sign now; ask again.
    NotNow,
    /// A promise stands against it.
    Promised(Refusal),
    /// A certificate stands against it.
    Certified(Arc<Certificate>),
    /// The signer does not know the instance so, or counts other observers.
    Unknown,
    /// This proves that the term is used up, by what is not to be believed any more.
    UsedUp(Arc<Certificate>),
}
