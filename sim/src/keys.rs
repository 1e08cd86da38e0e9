//! Identity and signatures of the simulated mesh: a cheap keyed hash in place of certificates and Ed25519, with the same checks.
//!
//! An agent's signing secret follows from the mesh's secret and its identity. [`SimKeys`] signs as its owner only, so that no engine can
//! speak for another through the interface, just as in the real mesh.

use crate::digest;
use crate::ledger::Ledger;
use quorate_core::{AgentId, hash};
use quorate_mesh::Keys;

/// Bytes of a simulated credential: about the size of a real certificate, so that traffic is of a real size.
const CREDENTIAL_BYTES: usize = 350;
/// Bytes of a simulated signature: those of Ed25519.
const SIGNATURE_BYTES: usize = 64;

/// One agent's keys.
#[derive(Debug, Clone)]
pub struct SimKeys {
    mesh_secret: u64,
    own: AgentId,
    ledger: Ledger,
}

impl SimKeys {
    /// The keys of `agent` in the mesh of `mesh_secret`.
    pub fn new(mesh_secret: u64, agent: AgentId) -> Self {
        Self { mesh_secret, own: agent, ledger: Ledger::default() }
    }

    /// The same, with what they sign noted in `ledger`.
    pub fn noted_in(self, ledger: Ledger) -> Self {
        Self { ledger, ..self }
    }

    /// What proves this agent's admission.
    pub fn credential(&self) -> Vec<u8> {
        let mut bytes = self.own.0.to_be_bytes().to_vec();
        bytes.extend(hash::mix(&[self.mesh_secret, self.own.0]).to_be_bytes());
        bytes.resize(CREDENTIAL_BYTES, 0);
        bytes
    }

    fn mac(&self, signer: AgentId, bytes: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let secret = hash::mix(&[self.mesh_secret, 1, signer.0]);
        let mac = digest::keyed(secret, bytes);
        let mut signature = [0; SIGNATURE_BYTES];
        for (place, word) in signature.as_chunks_mut::<8>().0.iter_mut().zip(1..) {
            *place = hash::spread(mac ^ word).to_be_bytes();
        }
        signature
    }
}

impl Keys for SimKeys {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.ledger.note(self.own, bytes);
        self.mac(self.own, bytes).to_vec()
    }

    fn admit(&self, credential: &[u8]) -> Option<AgentId> {
        let agent = AgentId(u64::from_be_bytes(credential.first_chunk().copied()?));
        let proof = hash::mix(&[self.mesh_secret, agent.0]).to_be_bytes();
        let rest = credential.get(8..)?.strip_prefix(&proof)?;
        let whole = credential.len() == CREDENTIAL_BYTES && rest.iter().all(|byte| *byte == 0);
        whole.then_some(agent)
    }

    fn verify(&self, credential: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
        let signer = credential.first_chunk().map(|id| AgentId(u64::from_be_bytes(*id)));
        signer.is_some_and(|signer| self.mac(signer, bytes).as_slice() == signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signer_makes_its_signature() {
        let (a, b) = (SimKeys::new(1, AgentId(10)), SimKeys::new(1, AgentId(11)));
        let signature = a.sign(b"words");
        assert!(b.verify(&a.credential(), b"words", &signature));
        assert!(!b.verify(&a.credential(), b"other", &signature));
        assert!(!b.verify(&b.credential(), b"words", &signature));
        assert!(!b.verify(b"short", b"words", &signature));
    }

    #[test]
    fn strangers_and_damaged_credentials_are_not_admitted() {
        let keys = SimKeys::new(1, AgentId(10));
        assert_eq!(keys.admit(&keys.credential()), Some(AgentId(10)));
        assert_eq!(keys.admit(&SimKeys::new(2, AgentId(10)).credential()), None);
        let mut damaged = keys.credential();
        damaged[3] ^= 1;
        assert_eq!(keys.admit(&damaged), None);
        assert_eq!(keys.admit(b""), None);
    }
}
