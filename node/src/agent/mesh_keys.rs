//! The engine's keys, by certificates and Ed25519. The trust remembers what it has verified.

use quorate_core::AgentId;
use quorate_mesh::Keys;
use quorate_transport::{Identity, Signer, Trust};

/// Signs with the agent's key, believes what chains to the mesh's root.
pub struct MeshKeys {
    signer: Signer,
    trust: Trust,
}

impl MeshKeys {
    /// The keys of an identity.
    pub fn new(identity: &Identity) -> Self {
        Self { signer: identity.signer(), trust: identity.trust().clone() }
    }
}

impl Keys for MeshKeys {
    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.signer.sign(bytes).to_vec()
    }

    fn admit(&self, credential: &[u8]) -> Option<AgentId> {
        self.trust.admit(credential).ok().map(|admitted| AgentId(admitted.agent_id))
    }

    fn verify(&self, credential: &[u8], bytes: &[u8], signature: &[u8]) -> bool {
        self.trust.admit(credential).is_ok_and(|admitted| admitted.verify(bytes, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_speaks_for_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let one = quorate_transport::init_mesh(&dir.path().join("one"), "one").unwrap();
        let other = quorate_transport::init_mesh(&dir.path().join("other"), "other").unwrap();
        let keys = MeshKeys::new(&one);
        let signature = keys.sign(b"words");
        assert_eq!(keys.admit(&one.credential()), Some(AgentId(one.agent_id())));
        assert!(keys.verify(&one.credential(), b"words", &signature));
        assert!(!keys.verify(&one.credential(), b"other words", &signature));
        assert_eq!(keys.admit(&other.credential()), None);
        assert!(!keys.verify(&other.credential(), b"words", &MeshKeys::new(&other).sign(b"words")));
    }
}
