//! Forgeries that only somebody with an issuing key, or a hand-made request, could bring forward.

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa};
use ring::hmac;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::Duration;

use crate::certificate::{
    Certified, generate_agent_key, generate_key, make_issuing, make_leaf, make_request, make_root,
};
use crate::hello::Hello;
use crate::issuer::{Issuer, proof_message};
use crate::join::{JoinRefusal, JoinRequest};
use crate::limits::LEAF_LIFE;
use crate::token_store::TokenStore;
use crate::trust::{CertificateFault, Trust};

struct Authority {
    issuing: Certified,
    trust: Trust,
}

fn authority() -> Authority {
    let root = make_root().unwrap();
    let trust = Trust::new(root.der.clone()).unwrap();
    let issuing = make_issuing(&root, &trust.mesh_id()).unwrap();
    Authority { issuing, trust }
}

impl Authority {
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<u64, CertificateFault> {
        let intermediates = std::slice::from_ref(&self.issuing.der);
        self.trust.check(leaf, intermediates, UnixTime::now()).map(|admitted| admitted.agent_id)
    }

    fn leaf(&self, key: &rcgen::KeyPair, agent: u64) -> CertificateDer<'static> {
        make_leaf(key, agent, "x", &self.trust.mesh_id(), &self.issuing.der, &self.issuing.key).unwrap()
    }
}

#[test]
fn an_id_that_does_not_follow_from_the_key_is_refused() {
    let authority = authority();
    let (key, agent) = generate_agent_key().unwrap();
    assert_eq!(authority.check(&authority.leaf(&key, agent)), Ok(agent));
    assert_eq!(authority.check(&authority.leaf(&key, agent ^ 1)), Err(CertificateFault::NameMismatch));
}

#[test]
fn an_issuing_certificate_is_no_agent_and_a_leaf_is_no_issuer() {
    let authority = authority();
    assert!(authority.check(&authority.issuing.der).is_err());
    let (key, agent) = generate_agent_key().unwrap();
    let leaf = authority.leaf(&key, agent);
    let (other_key, other) = generate_agent_key().unwrap();
    let forged = make_leaf(&other_key, other, "x", &authority.trust.mesh_id(), &leaf, &key).unwrap();
    let chain = [leaf, authority.issuing.der.clone()];
    assert!(authority.trust.check(&forged, &chain, UnixTime::now()).is_err());
}

#[test]
fn a_leaf_is_valid_for_its_time_only() {
    let authority = authority();
    let (key, agent) = generate_agent_key().unwrap();
    let leaf = authority.leaf(&key, agent);
    let at = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let check = |moment| authority.trust.check(&leaf, std::slice::from_ref(&authority.issuing.der), moment);
    let now_s = UnixTime::now().as_secs();
    assert_eq!(check(at(now_s + LEAF_LIFE.as_secs() + 60)), Err(CertificateFault::Expired));
    assert_eq!(check(at(now_s - 2 * 24 * 3600)), Err(CertificateFault::NotYetValid));
    assert!(check(at(now_s - 23 * 3600)).is_ok(), "a clock that is behind by less than a day");
    assert!(authority.trust.check_ignoring_time(&leaf, std::slice::from_ref(&authority.issuing.der)).is_ok());
}

#[test]
fn the_issuer_takes_nothing_from_a_request_but_its_key() {
    let authority = authority();
    let (dir, mesh) = (tempfile::TempDir::new().unwrap(), authority.trust.mesh_id());
    let store = TokenStore::open(dir.path()).unwrap();
    let token = store.create(mesh, Duration::from_secs(60), 10, 0).unwrap();
    let issuer = Issuer::new(authority.issuing.key, authority.issuing.der, authority.trust).unwrap();
    let proof_key = hmac::Key::new(hmac::HMAC_SHA256, &token.proof_key());
    let request = |csr: &[u8], signed: &[u8], name: &str| JoinRequest {
        token_id: token.id().to_owned(),
        csr: csr.to_vec(),
        name: name.to_owned(),
        proof: hmac::sign(&proof_key, &proof_message(b"binding", signed)).as_ref().to_vec(),
        channel_binding: b"binding".to_vec(),
        remote: String::new(),
    };

    let key = generate_key().unwrap();
    let mut greedy = CertificateParams::new(vec!["0000000000000001.agent.quorate".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let greedy = greedy.serialize_request(&key).unwrap().der().to_vec();
    let plain = make_request(&key).unwrap().to_vec();
    for csr in [&greedy, &plain] {
        let grant = issuer.grant(&request(csr, csr, "name"), &store, 1);
        if let Ok(grant) = grant {
            let (_, leaf) = x509_parser::parse_x509_certificate(&grant.leaf).unwrap();
            assert!(!leaf.is_ca());
        } else {
            assert!(std::ptr::eq(csr, &greedy), "a plain request is granted: {grant:?}");
        }
    }

    let uses = store.list().unwrap()[0].uses_left;
    let mut tampered = plain.clone();
    *tampered.last_mut().unwrap() ^= 1;
    assert_eq!(issuer.grant(&request(&tampered, &tampered, "name"), &store, 1), Err(JoinRefusal::Malformed));
    assert_eq!(issuer.grant(&request(&tampered, &plain, "name"), &store, 1), Err(JoinRefusal::WrongSecret));
    assert_eq!(issuer.grant(&request(&plain, &plain, "\n"), &store, 1), Err(JoinRefusal::Malformed));
    let mut replayed = request(&plain, &plain, "name");
    replayed.channel_binding = b"another connection".to_vec();
    assert_eq!(issuer.grant(&replayed, &store, 1), Err(JoinRefusal::WrongSecret));
    assert_eq!(store.list().unwrap()[0].uses_left, uses, "what is refused costs no use");
}

proptest! {
    #[test]
    fn hellos_survive_the_wire(min: u16, max: u16, boot: u32, nonce: u64, tail in prop::collection::vec(any::<u8>(), 0..64)) {
        let hello = Hello { versions: crate::VersionRange { min, max }, boot, nonce };
        let mut bytes = hello.encode();
        bytes.extend(tail);
        prop_assert_eq!(Hello::decode(&bytes), Some(hello));
    }

    #[test]
    fn arbitrary_hellos_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Hello::decode(&bytes);
    }
}
