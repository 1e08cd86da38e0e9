//! What members say to each other about who counts.

use quorate_core::AgentId;
use quorate_core::roster::{Acceptor, Ballot, Change};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Words of the agreement on the next epoch of the roster, and of those who have missed one. `epoch` is always the epoch that is to be, or has
/// been, brought about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpochTalk {
    /// Will you take part in no attempt below mine?
    Prepare {
        /// Which epoch.
        epoch: u64,
        /// Whose attempt.
        ballot: Ballot,
        /// What it is to bring about, if nothing was accepted before.
        wanted: Change,
    },
    /// I will; this is what I have accepted so far.
    Promise {
        /// Which epoch.
        epoch: u64,
        /// As asked.
        ballot: Ballot,
        /// The last change accepted.
        accepted: Option<(Ballot, Change)>,
    },
    /// Will you accept this?
    Accept {
        /// Which epoch.
        epoch: u64,
        /// Whose attempt.
        ballot: Ballot,
        /// The change.
        change: Change,
    },
    /// I have.
    Accepted {
        /// Which epoch.
        epoch: u64,
        /// As asked.
        ballot: Ballot,
        /// Over [`RosterProof::signing_bytes`].
        #[serde(with = "quorate_core::blob")]
        signature: Vec<u8>,
    },
    /// A higher attempt stands against it.
    Refused {
        /// Which epoch.
        epoch: u64,
        /// The higher one.
        promised: Ballot,
    },
    /// What do you know that I do not?
    Ask {
        /// The sender's epoch.
        epoch: u64,
    },
    /// This, and what I have promised and accepted towards the next epoch.
    Tell {
        /// The sender's epoch.
        epoch: u64,
        /// The changes that lead to it, ascending, as far as the receiver lacks them.
        proofs: Vec<Arc<RosterProof>>,
        /// All members: the receiver may be unable to follow the changes.
        members: Option<Vec<AgentId>>,
        /// Towards the epoch after the sender's.
        acceptor: Acceptor,
    },
}

/// The proof of an epoch: the change that made it, signed by more than half of the members of the epoch before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterProof {
    /// The epoch it made.
    pub epoch: u64,
    /// Digest of the roster before.
    pub before: u64,
    /// The attempt that succeeded.
    pub ballot: Ballot,
    /// The change.
    pub change: Change,
    /// Who accepted it, each with its signature.
    #[serde(with = "signatures")]
    pub signatures: Vec<(AgentId, Vec<u8>)>,
}

impl RosterProof {
    /// The bytes that whoever accepts a change signs.
    #[must_use]
    pub fn signing_bytes(epoch: u64, before: u64, ballot: Ballot, change: &Change) -> Vec<u8> {
        crate::signing_bytes("quorate epoch 1", &(epoch, before, ballot, change))
    }
}

/// Signatures in one piece each.
mod signatures {
    use quorate_core::{AgentId, blob};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    struct Told<'a>(AgentId, #[serde(with = "blob")] &'a [u8]);

    #[derive(Deserialize)]
    struct Heard(AgentId, #[serde(with = "blob")] Vec<u8>);

    pub fn serialize<S: Serializer>(all: &[(AgentId, Vec<u8>)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|(agent, signature)| Told(*agent, signature)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(AgentId, Vec<u8>)>, D::Error> {
        let all = Vec::<Heard>::deserialize(deserializer)?;
        Ok(all.into_iter().map(|Heard(agent, signature)| (agent, signature)).collect())
    }
}
