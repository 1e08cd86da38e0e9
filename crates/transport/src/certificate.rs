//! Making certificates (RFC 5280) with Ed25519 keys (RFC 8410): root, issuing, leaf, and the request for a leaf.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};

use crate::limits::{BACKDATE, CA_LIFE, LEAF_LIFE, MAX_NAME_BYTES};
use crate::mesh_id::{MeshId, agent_dns_name, agent_id_of_spki, agent_uri};

/// A key and the certificate over it.
pub(crate) struct Certified {
    pub(crate) key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
}

/// A new Ed25519 key.
pub(crate) fn generate_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ED25519)
}

/// A new key whose agent id is not zero.
pub(crate) fn generate_agent_key() -> Result<(KeyPair, u64), rcgen::Error> {
    loop {
        let key = generate_key()?;
        if let Some(id) = agent_id_of_spki(&key.subject_public_key_info()) {
            return Ok((key, id));
        }
    }
}

/// Reads an Ed25519 key back from PKCS#8.
pub(crate) fn load_key(pkcs8: &[u8]) -> Result<KeyPair, rcgen::Error> {
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8.to_vec()), &PKCS_ED25519)
}

/// The self-signed root of a new mesh.
pub(crate) fn make_root() -> Result<Certified, rcgen::Error> {
    let key = generate_key()?;
    let mesh = MeshId::of_spki(&key.subject_public_key_info());
    let der = ca_params(&format!("quorate {mesh} root"), 1).self_signed(&key)?.der().clone();
    Ok(Certified { key, der })
}

/// An issuing certificate signed by the root: it may sign leaves and nothing else.
pub(crate) fn make_issuing(root: &Certified, mesh: &MeshId) -> Result<Certified, rcgen::Error> {
    let key = generate_key()?;
    let issuer = Issuer::from_ca_cert_der(&root.der, &root.key)?;
    let der = ca_params(&format!("quorate {mesh} issuing"), 0).signed_by(&key, &issuer)?.der().clone();
    Ok(Certified { key, der })
}

/// A leaf certificate for an agent's public key.
pub(crate) fn make_leaf(
    public_key: &impl PublicKeyData,
    agent: u64,
    name: &str,
    mesh: &MeshId,
    issuing_der: &CertificateDer<'_>,
    issuing_key: &KeyPair,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    set_validity(&mut params, LEAF_LIFE);
    params.subject_alt_names =
        vec![SanType::DnsName(agent_dns_name(agent).try_into()?), SanType::URI(agent_uri(mesh, agent).try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let issuer = Issuer::from_ca_cert_der(issuing_der, issuing_key)?;
    Ok(params.signed_by(public_key, &issuer)?.der().clone())
}

/// A signing request (RFC 2986) for a key; the issuer takes nothing from it but the key.
pub(crate) fn make_request(key: &KeyPair) -> Result<CertificateSigningRequestDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(key)?.der().clone())
}

/// A name fit for a certificate and a log line: 1 to [`MAX_NAME_BYTES`] bytes, no control characters.
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control)
}

fn ca_params(name: &str, path_len: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    set_validity(&mut params, CA_LIFE);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, life: Duration) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATE);
    params.not_after = epoch + now + life;
}
