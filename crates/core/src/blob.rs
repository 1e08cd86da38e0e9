//! Bytes as one piece: signatures, credentials, packets within packets. By itself serde takes each byte for a number of its own, which is a
//! hundred times the work; what is written is the same.
//!
//! For `#[serde(with = "...")]`.

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// Most bytes for which room is made before they have been read.
const MAX_TRUSTED_BYTES: usize = 4096;

/// Writes `bytes`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes.as_ref())
}

/// Reads bytes.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>, T: for<'a> From<&'a [u8]>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_bytes(Reader(PhantomData))
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: for<'a> From<&'a [u8]>> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(MAX_TRUSTED_BYTES));
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.as_slice().into())
    }
}

/// The same for bytes that may be absent.
pub mod optional {
    use super::Reader;
    use serde::de::Error;
    use serde::{Deserializer, Serialize, Serializer};
    use std::fmt;
    use std::marker::PhantomData;

    /// Writes `bytes`, if there are any.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &Option<impl AsRef<[u8]>>, serializer: S) -> Result<S::Ok, S::Error> {
        struct Whole<'a>(&'a [u8]);
        impl Serialize for Whole<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        match bytes {
            Some(bytes) => serializer.serialize_some(&Whole(bytes.as_ref())),
            None => serializer.serialize_none(),
        }
    }

    /// Reads bytes that may be absent.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>, T: for<'a> From<&'a [u8]>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<'de, T: for<'a> From<&'a [u8]>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes or nothing")
            }

            fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_bytes(Reader(PhantomData)).map(Some)
            }
        }
        deserializer.deserialize_option(Visitor(PhantomData))
    }
}
