//! Who may see the queue board: whoever knows the user and the password that its operator has set, as boards of other programs have it.

use ring::hmac;
use std::fmt;

/// The pair, so that it can be compared and not be read.
pub struct BoardKey {
    key: hmac::Key,
    digest: hmac::Tag,
}

impl BoardKey {
    /// For this user with this password.
    pub fn new(user: &str, password: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>());
        let digest = hmac::sign(&key, format!("{user}:{password}").as_bytes());
        Self { key, digest }
    }

    /// Is `pair`, `USER:PASSWORD`, the one? In a time that tells nothing.
    pub fn admits(&self, pair: &[u8]) -> bool {
        hmac::verify(&self.key, pair, self.digest.as_ref()).is_ok()
    }
}

impl fmt::Debug for BoardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoardKey")
    }
}

#[cfg(test)]
mod tests {
    use super::BoardKey;

    #[test]
    fn one_pair_is_let_in() {
        let key = BoardKey::new("ann", "a:b");
        assert!(key.admits(b"ann:a:b"));
        for other in [&b"ann:a:c"[..], b"ann", b"ann:", b":a:b", b"Ann:a:b", b""] {
            assert!(!key.admits(other), "{}", other.escape_ascii());
        }
        assert!(!format!("{key:?}").contains("ann"));
    }
}
