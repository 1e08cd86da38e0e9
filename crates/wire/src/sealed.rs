//! A value in its encoding. The same news arrives many times over: whoever has it reads no more of it than what it is about, and whoever passes
//! it on does not encode it anew.

use crate::record::Batch;
use crate::{DecodeError, decode_prefix, encode_value};
use quorate_core::verdict::{Certificate, Decision};
use quorate_core::{AgentId, blob, hash};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use std::sync::Arc;

/// An encoded value. Cheap to clone.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed<T> {
    bytes: Arc<[u8]>,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self { bytes: Arc::clone(&self.bytes), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Sealed<T> {
    /// Encodes a value.
    #[must_use]
    pub fn new(value: &T) -> Self {
        Self { bytes: encode_value(value).into(), of: PhantomData }
    }

    /// Decodes it.
    ///
    /// # Errors
    /// When the bytes are not exactly one such value.
    pub fn open(&self) -> Result<T, DecodeError> {
        let (value, used) = decode_prefix(&self.bytes)?;
        if used < self.bytes.len() { Err(DecodeError::Trailing(self.bytes.len() - used)) } else { Ok(value) }
    }

    /// How long the encoding is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// A hash of the encoding.
    #[must_use]
    pub fn digest(&self) -> u64 {
        hash::words(&self.bytes)
    }
}

impl Sealed<Batch> {
    /// Whose batch it says it is, of which epoch and sequence.
    ///
    /// # Errors
    /// When it does not begin as a batch does.
    pub fn mark(&self) -> Result<(AgentId, u32, u32), DecodeError> {
        decode_prefix(&self.bytes).map(|(mark, _)| mark)
    }

    /// Does it end with this batch's signature, as that batch itself would?
    #[must_use]
    pub fn is_signed_as(&self, batch: &Batch) -> bool {
        self.bytes.ends_with(&batch.signature)
    }
}

impl Sealed<Certificate> {
    /// What it says was decided.
    ///
    /// # Errors
    /// When it does not begin as a certificate does.
    pub fn decision(&self) -> Result<Decision, DecodeError> {
        decode_prefix(&self.bytes).map(|(decision, _)| decision)
    }
}

impl<T> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        blob::serialize(&self.bytes, serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sealed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        blob::deserialize(deserializer).map(|bytes| Self { bytes, of: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sealed_value_is_about_can_be_read_without_opening_it() {
        let (owner, records) = (AgentId(7), Vec::new());
        let batch = Batch { owner, epoch: 3, seq: 500, live: vec![500], records, signature: vec![1; 64] };
        let sealed = Sealed::new(&batch);
        assert_eq!(sealed.mark(), Ok((AgentId(7), 3, 500)));
        assert_eq!(sealed.open(), Ok(batch.clone()));
        assert_eq!(sealed.digest(), Sealed::new(&batch).digest());
        assert!(sealed.is_signed_as(&batch));
        assert!(!sealed.is_signed_as(&Batch { signature: vec![2; 64], ..batch.clone() }));
        assert_ne!(sealed.digest(), Sealed::new(&Batch { seq: 501, ..batch }).digest());
    }

    #[test]
    fn what_is_too_long_or_too_short_is_refused() {
        let batch =
            Batch { owner: AgentId(7), epoch: 3, seq: 1, live: vec![1], records: Vec::new(), signature: vec![1; 64] };
        let whole = encode_value(&batch);
        let sealed = |bytes: &[u8]| Sealed::<Batch> { bytes: bytes.into(), of: PhantomData };
        assert!(sealed(&whole[..whole.len() - 1]).open().is_err());
        assert_eq!(sealed(&[whole, vec![0]].concat()).open(), Err(DecodeError::Trailing(1)));
        assert!(sealed(&[]).mark().is_err());
    }
}
