//! What an agent writes into its own namespace, in signed batches.

use crate::breaker::{BreakerDigest, BreakerKey, BreakerOverride};
use quorate_core::{AgentId, Check, InstanceId, Observation, Registration, Zone, blob};
use serde::{Deserialize, Deserializer, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;

/// Some records of one agent, signed together. Of two batches the one with the higher (epoch, sequence) is newer; a newer record of the
/// same key replaces an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Whose.
    pub owner: AgentId,
    /// The owner's boot counter when it was written.
    pub epoch: u32,
    /// Grows by one with each batch of an epoch, from one.
    pub seq: u32,
    /// The owner's batches that still hold something, this one included, ascending. Whoever has all of these has everything.
    pub live: Vec<u32>,
    /// The records.
    #[serde(deserialize_with = "compact")]
    pub records: Vec<Record>,
    /// The owner's, over all of the above.
    #[serde(with = "blob")]
    pub signature: Vec<u8>,
}

impl Batch {
    /// Most batches an owner keeps live.
    pub const MAX_LIVE: usize = 1024;
    /// Bytes of one batch at most, encoded.
    pub const MAX_BYTES: usize = 128 * 1024;
    /// Length of a signature, in bytes (Ed25519, RFC 8032).
    pub const SIGNATURE_BYTES: usize = 64;

    /// The bytes its owner signs.
    #[must_use]
    pub fn signing_bytes(&self) -> Vec<u8> {
        crate::signing_bytes("quorate batch 1", &(self.owner, self.epoch, self.seq, &self.live, &self.records))
    }
}

/// The records of a batch, in no more memory than they need: neighbours with equal checks share one.
fn compact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Record>, D::Error> {
    let mut records = Vec::<Record>::deserialize(deserializer)?;
    records.shrink_to_fit();
    let mut last: Option<Arc<Check>> = None;
    for record in &mut records {
        let Record::Instance { registration, .. } = record else { continue };
        match &last {
            Some(check) if *check == registration.check => {
                Arc::make_mut(registration).check = Arc::clone(check);
            }
            _ => last = Some(Arc::clone(&registration.check)),
        }
    }
    Ok(records)
}

/// One fact that its owner states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Who and where the owner is.
    Profile(Arc<Profile>),
    /// The owner is home to this instance.
    Instance {
        /// Which and how.
        registration: Arc<Registration>,
        /// Grows when the address or the check changes under the same name.
        incarnation: u64,
    },
    /// It no longer is.
    InstanceGone(InstanceId),
    /// The owner observes this instance, with this result.
    Observed {
        /// Which.
        instance: InstanceId,
        /// Which copy of it.
        incarnation: u64,
        /// The result.
        observation: Observation,
    },
    /// It no longer does.
    ObservedGone(InstanceId),
    /// What calls from the owner's host came to, while there is something to tell.
    Breaker(Arc<BreakerDigest>),
    /// There no longer is.
    BreakerGone(BreakerKey),
    /// A person's word on a breaker, given through the owner.
    Override(Arc<BreakerOverride>),
    /// The owner no longer keeps it: it has ended, or a later word has replaced it.
    OverrideGone(BreakerKey),
    /// What a later release states. Whoever does not know the kind keeps it, passes it on and does nothing else.
    Extension {
        /// Given out by the release that introduced it, from one.
        kind: u16,
        /// What it is about; at most [`Record::MAX_EXTENSION_KEY_BYTES`].
        #[serde(with = "blob")]
        about: Vec<u8>,
        /// What it says, at most [`Record::MAX_EXTENSION_BYTES`]. If empty, it no longer holds.
        #[serde(with = "blob")]
        body: Vec<u8>,
    },
}

/// Who and where an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its name for people.
    pub name: String,
    /// Its failure domain.
    pub zone: Zone,
    /// Where it is dialled.
    pub address: SocketAddr,
    /// Where its API is; empty when it does not say.
    pub api_address: String,
    /// Its software's version.
    pub version: String,
    /// Has it left on purpose?
    pub left: bool,
}

/// What a record is about; the newest record of a key holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// The owner itself.
    Profile,
    /// An instance it is home to.
    Instance(InstanceId),
    /// An instance it observes.
    Observed(InstanceId),
    /// An instance that is called from its host.
    Breaker(BreakerKey),
    /// A breaker on which a person gave a word through it.
    Override(BreakerKey),
    /// What an extension of this kind is about.
    Extension(u16, Vec<u8>),
}

/// A [`RecordKey`] that is only looked at; ordered as those are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKeyRef<'a> {
    /// The owner itself.
    Profile,
    /// An instance it is home to.
    Instance(&'a InstanceId),
    /// An instance it observes.
    Observed(&'a InstanceId),
    /// An instance that is called from its host.
    Breaker(&'a BreakerKey),
    /// A breaker on which a person gave a word through it.
    Override(&'a BreakerKey),
    /// What an extension of this kind is about.
    Extension(u16, &'a [u8]),
}

impl RecordKeyRef<'_> {
    /// The key itself.
    #[must_use]
    pub fn to_key(self) -> RecordKey {
        match self {
            Self::Profile => RecordKey::Profile,
            Self::Instance(instance) => RecordKey::Instance(instance.clone()),
            Self::Observed(instance) => RecordKey::Observed(instance.clone()),
            Self::Breaker(key) => RecordKey::Breaker(key.clone()),
            Self::Override(key) => RecordKey::Override(key.clone()),
            Self::Extension(kind, about) => RecordKey::Extension(kind, about.to_vec()),
        }
    }
}

impl RecordKey {
    /// The same, to be looked at.
    #[must_use]
    pub fn as_ref(&self) -> RecordKeyRef<'_> {
        match self {
            Self::Profile => RecordKeyRef::Profile,
            Self::Instance(instance) => RecordKeyRef::Instance(instance),
            Self::Observed(instance) => RecordKeyRef::Observed(instance),
            Self::Breaker(key) => RecordKeyRef::Breaker(key),
            Self::Override(key) => RecordKeyRef::Override(key),
            Self::Extension(kind, about) => RecordKeyRef::Extension(*kind, about),
        }
    }
}

impl Record {
    /// Longest key of an extension, in bytes.
    pub const MAX_EXTENSION_KEY_BYTES: usize = 512;
    /// Longest body of an extension, in bytes.
    pub const MAX_EXTENSION_BYTES: usize = 16 * 1024;

    /// Its key.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        self.key_ref().to_key()
    }

    /// Its key, to be looked at.
    #[must_use]
    pub fn key_ref(&self) -> RecordKeyRef<'_> {
        match self {
            Self::Profile(_) => RecordKeyRef::Profile,
            Self::Instance { registration, .. } => RecordKeyRef::Instance(&registration.instance),
            Self::InstanceGone(instance) => RecordKeyRef::Instance(instance),
            Self::Observed { instance, .. } | Self::ObservedGone(instance) => RecordKeyRef::Observed(instance),
            Self::Breaker(digest) => RecordKeyRef::Breaker(&digest.key),
            Self::BreakerGone(key) => RecordKeyRef::Breaker(key),
            Self::Override(word) => RecordKeyRef::Override(&word.key),
            Self::OverrideGone(key) => RecordKeyRef::Override(key),
            Self::Extension { kind, about, .. } => RecordKeyRef::Extension(*kind, about),
        }
    }

    /// Does it only say that an older one no longer holds?
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        match self {
            Self::InstanceGone(_) | Self::ObservedGone(_) | Self::BreakerGone(_) | Self::OverrideGone(_) => true,
            Self::Extension { body, .. } => body.is_empty(),
            Self::Profile(_) | Self::Instance { .. } | Self::Observed { .. } | Self::Breaker(_) | Self::Override(_) => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode_value, encode_value};
    use quorate_core::ServiceName;
    use std::time::Duration;

    #[test]
    fn records_are_small_and_equal_checks_are_held_once() {
        // An agent holds one for every observer of every instance.
        assert!(size_of::<Record>() <= 80, "{}", size_of::<Record>());
        let check = |seconds| Arc::new(Check { period: Duration::from_secs(seconds), ..Check::default() });
        let record = |(number, seconds): (u32, u64)| Record::Instance {
            registration: Arc::new(Registration {
                instance: InstanceId::new(format!("web@{number}")).unwrap(),
                service: ServiceName::new("web").unwrap(),
                address: "10.0.0.1:80".into(),
                check: check(seconds),
                observers: 5,
                placement: Default::default(),
            }),
            incarnation: 1,
        };
        let records: Vec<_> = [(1, 10), (2, 10), (3, 20), (4, 20)].into_iter().map(record).collect();
        let batch = Batch { owner: AgentId(7), epoch: 1, seq: 1, live: vec![1], records, signature: vec![1; 64] };
        let read: Batch = decode_value(&encode_value(&batch)).unwrap();
        assert_eq!(read, batch);
        let check = |record: &Record| match record {
            Record::Instance { registration, .. } => Arc::clone(&registration.check),
            other => panic!("{other:?}"),
        };
        let checks: Vec<_> = read.records.iter().map(check).collect();
        let shared: Vec<_> = checks.windows(2).map(|two| Arc::ptr_eq(&two[0], &two[1])).collect();
        assert_eq!(shared, [true, false, true]);
    }
}
