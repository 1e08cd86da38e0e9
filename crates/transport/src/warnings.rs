//! Warnings, at most one of a kind in five seconds: a hostile peer must not fill the log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::limits::WARN_INTERVAL;
use crate::link_error::LinkError;

#[derive(Debug, Default)]
pub(crate) struct Warnings {
    last: Mutex<BTreeMap<&'static str, (Instant, u64)>>,
}

impl Warnings {
    /// `Some(suppressed since the last one)` when a warning of this kind is due.
    fn is_due(&self, kind: &'static str) -> Option<u64> {
        let now = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(kind) {
            Some((at, suppressed)) if now.duration_since(*at) < WARN_INTERVAL => {
                *suppressed += 1;
                None
            }
            Some((at, suppressed)) => {
                *at = now;
                Some(std::mem::take(suppressed))
            }
            None => {
                last.insert(kind, (now, 0));
                Some(0)
            }
        }
    }

    /// Warns that a link was refused or failed.
    pub(crate) fn link(&self, error: &LinkError, peer: Option<u64>, address: SocketAddr) {
        let Some(suppressed) = self.is_due(error.reason()) else { return };
        let peer = peer.map_or_else(|| "unknown".to_owned(), |id| format!("{id:016x}"));
        tracing::warn!(%peer, %address, %error, remedy = error.remedy(), suppressed, "no link");
    }

    /// Warns of anything else.
    pub(crate) fn other(&self, kind: &'static str, detail: &str) {
        if let Some(suppressed) = self.is_due(kind) {
            tracing::warn!(kind, detail, suppressed, "transport");
        }
    }
}
