//! What lies in a data directory: identity, lock, tokens; and what arbitrary bytes can do to their readers: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // the lint spares test functions, not their helpers

mod support;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use proptest::prelude::*;
use quorate_transport::{
    CertificateFault, DataDirLock, Identity, IdentityError, JoinToken, TokenFault, TokenParseError, TokenStore,
    TokenStoreError, init_mesh, limits, verify,
};
use support::{Mesh, now_ms};
use tempfile::TempDir;

#[test]
fn a_new_mesh_is_private_and_whole() {
    let mesh = Mesh::new();
    for entry in std::fs::read_dir(mesh.dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    let nested = mesh.dir.path().join("a/b");
    init_mesh(&nested, "x").unwrap();
    assert_eq!(std::fs::metadata(&nested).unwrap().permissions().mode() & 0o777, 0o700);
    let loaded = Identity::load(mesh.dir.path()).unwrap();
    assert_eq!((loaded.agent_id(), loaded.mesh_id()), (mesh.identity.agent_id(), mesh.identity.mesh_id()));
    assert_ne!(loaded.agent_id(), 0);
    assert!(loaded.issuer().is_some());
    let two_years_s = 2 * 365 * 24 * 3600;
    let left_s = loaded.expires_unix_s() - i64::try_from(now_ms() / 1000).unwrap();
    assert!((two_years_s - 3600..=two_years_s).contains(&left_s));
}

#[test]
fn a_second_init_is_refused() {
    let mesh = Mesh::new();
    match init_mesh(mesh.dir.path(), "again") {
        Err(IdentityError::AlreadyExists { mesh: found, .. }) => assert_eq!(found, mesh.identity.mesh_id()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_and_damaged_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let error = Identity::load(dir.path()).unwrap_err();
    assert!(matches!(error, IdentityError::Missing { .. }));
    assert!(error.to_string().contains("quorate init"));

    let mesh = Mesh::new();
    let path = mesh.dir.path().join("identity.pem");
    let good = std::fs::read_to_string(&path).unwrap();
    let other = std::fs::read_to_string(Mesh::new().dir.path().join("identity.pem")).unwrap();
    let split = |text: &str| text.find("-----BEGIN CERTIFICATE").unwrap();
    let foreign_key = other[..split(&other)].to_owned() + &good[split(&good)..];
    for bad in ["", "nonsense", &good[..good.len() / 2], &good[..split(&good)], &foreign_key] {
        std::fs::write(&path, bad).unwrap();
        let error = Identity::load(mesh.dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Corrupted { .. }), "{error}");
        assert!(init_mesh(mesh.dir.path(), "x").is_err(), "a damaged identity is not overwritten");
    }
}

#[test]
fn one_process_per_directory() {
    let dir = TempDir::new().unwrap();
    let held = DataDirLock::acquire(dir.path()).unwrap();
    assert!(matches!(DataDirLock::acquire(dir.path()), Err(IdentityError::Locked { .. })));
    drop(held);
    DataDirLock::acquire(dir.path()).unwrap();
}

#[test]
fn names_fit_for_a_certificate() {
    let dir = TempDir::new().unwrap();
    for bad in ["", "  ", "a\nb", &"x".repeat(65)] {
        assert!(matches!(init_mesh(dir.path(), bad), Err(IdentityError::InvalidName { .. })));
    }
}

#[test]
fn credentials_prove_membership_and_signatures_authorship() {
    let (mesh, other) = (Mesh::new(), Mesh::new());
    let trust = mesh.identity.trust();
    let credential = mesh.identity.credential();
    let admitted = trust.admit(&credential).unwrap();
    assert_eq!(admitted.agent_id, mesh.identity.agent_id());
    assert_eq!(trust.admit(&credential).unwrap(), admitted, "the second look is cached, and the same");
    assert_eq!(trust.admit(&other.identity.credential()), Err(CertificateFault::OtherMesh));

    let signature = mesh.identity.signer().sign(b"words");
    assert!(admitted.verify(b"words", &signature));
    assert!(!admitted.verify(b"other words", &signature));
    assert!(!admitted.verify(b"words", &other.identity.signer().sign(b"words")));
    assert!(verify(&mesh.identity.chain()[0], b"words", &signature));
    assert!(!verify(&other.identity.chain()[0], b"words", &signature));
}

#[test]
fn the_store_counts_only_successes_and_has_limits() {
    let mesh = Mesh::new();
    let (store, now) = (&mesh.store, now_ms());
    let token = store.create(mesh.identity.mesh_id(), Duration::from_secs(60), 1, now).unwrap();
    let wrong = store.consume(token.id(), b"message", &[0; 32], now).unwrap();
    assert_eq!(wrong, Err(TokenFault::WrongProof));
    assert_eq!(store.list().unwrap()[0].uses_left, 1);
    assert_eq!(store.consume("nope", b"", b"", now).unwrap(), Err(TokenFault::Unknown));
    let file = std::fs::read_to_string(mesh.dir.path().join("tokens.json")).unwrap();
    let text = token.to_string();
    assert!(!file.contains(text.rsplit('.').next().unwrap()), "the secret is not on disk");
    assert!(!format!("{token:?}").contains(text.rsplit('.').next().unwrap()), "nor in debug output");

    let create = |ttl, uses| store.create(mesh.identity.mesh_id(), ttl, uses, now);
    assert!(matches!(create(Duration::ZERO, 1), Err(TokenStoreError::OutOfRange)));
    assert!(matches!(create(Duration::from_secs(1), 0), Err(TokenStoreError::OutOfRange)));
    assert!(TokenStore::check(Duration::from_secs(1), 1).is_ok());
    assert!(matches!(TokenStore::check(Duration::from_secs(31 * 86_400), 1), Err(TokenStoreError::OutOfRange)));
    for _ in 1..limits::MAX_TOKENS {
        create(Duration::from_secs(60), 1).unwrap();
    }
    assert!(matches!(create(Duration::from_secs(60), 1), Err(TokenStoreError::Full)));
    assert!(store.revoke(token.id()).unwrap());
    assert!(!store.revoke(token.id()).unwrap());
    create(Duration::from_secs(60), 1).unwrap();
    store.purge_expired(now + 30 * 24 * 3600 * 1000).unwrap();
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn stores_of_one_directory_do_not_lose_each_others_tokens() {
    let dir = TempDir::new().unwrap();
    let mesh = Mesh::new().identity.mesh_id();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = TokenStore::open(dir.path()).unwrap();
                for _ in 0..5 {
                    store.create(mesh, Duration::from_secs(60), 1, 1).unwrap();
                }
            });
        }
    });
    assert_eq!(TokenStore::open(dir.path()).unwrap().list().unwrap().len(), 20);
}

#[test]
fn each_malformed_token_has_its_own_error() {
    let good = Mesh::new().token().to_string();
    assert_eq!(format!(" {good}\n").parse::<JoinToken>().unwrap().to_string(), good);
    let parse = |text: &str| text.parse::<JoinToken>().unwrap_err();
    assert_eq!(parse(""), TokenParseError::Prefix);
    assert_eq!(parse(&good[1..]), TokenParseError::Prefix);
    assert_eq!(parse("QRT1.a.b"), TokenParseError::Parts { found: 3 });
    assert_eq!(parse(&format!("{good}.x")), TokenParseError::Parts { found: 5 });
    assert_eq!(parse(&good[..good.len() - 1]), TokenParseError::Part { part: "secret" });
    let parts: Vec<&str> = good.split('.').collect();
    let rebuilt = |mesh: &str, id: &str| format!("QRT1.{mesh}.{id}.{}", parts[3]);
    assert_eq!(parse(&rebuilt("!", parts[2])), TokenParseError::Part { part: "mesh pin" });
    assert_eq!(parse(&rebuilt(parts[1], "abc")), TokenParseError::Part { part: "id" });
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in ".{0,120}") {
        let _ = text.parse::<JoinToken>();
    }

    #[test]
    fn what_parses_is_printed_the_same(pin: [u8; 32], id: [u8; 6], secret: [u8; 24]) {
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        let text = format!("QRT1.{}.{}.{}", encode(&pin), encode(&id), encode(&secret));
        prop_assert_eq!(text.parse::<JoinToken>().unwrap().to_string(), text);
    }
}

#[test]
fn arbitrary_credentials_prove_nothing() {
    let mesh = Mesh::new();
    let trust = mesh.identity.trust().clone();
    let good = mesh.identity.credential();
    let mut runner = proptest::test_runner::TestRunner::default();
    let bytes = prop::collection::vec(any::<u8>(), 0..600);
    runner
        .run(&bytes, |bytes| {
            prop_assert!(trust.admit(&bytes).is_err());
            prop_assert!(!verify(&bytes, b"", &bytes));
            Ok(())
        })
        .unwrap();
    let damage = prop::collection::vec((0..good.len(), 1..=255u8), 1..4);
    runner
        .run(&damage, |damage| {
            let mut bytes = good.clone();
            for (at, flip) in damage {
                bytes[at] ^= flip;
            }
            if bytes != good {
                prop_assert!(trust.admit(&bytes).is_err());
            }
            Ok(())
        })
        .unwrap();
}
