//! Two names as the key of a map that can be asked with borrowed ones, so that looking up allocates nothing.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Two names: a service and an instance, or a service and an operation.
#[derive(Debug, Clone)]
pub(super) struct NamePair(pub(super) Arc<str>, pub(super) Arc<str>);

/// Whatever holds two names.
pub(super) trait TwoNames {
    fn names(&self) -> (&str, &str);
}

impl TwoNames for NamePair {
    fn names(&self) -> (&str, &str) {
        (&self.0, &self.1)
    }
}

impl TwoNames for (&str, &str) {
    fn names(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn TwoNames + 'a> for NamePair {
    fn borrow(&self) -> &(dyn TwoNames + 'a) {
        self
    }
}

// A pair and what it is asked with must hash alike, so both go this way.
impl Hash for dyn TwoNames + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names().hash(state);
    }
}

impl PartialEq for dyn TwoNames + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for dyn TwoNames + '_ {}

impl Hash for NamePair {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.names().hash(state);
    }
}

impl PartialEq for NamePair {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for NamePair {}
