//! One token of the API as its bearer writes it: `QRA1.<id>.<secret>`.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use std::fmt;

const PREFIX: &str = "QRA1";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;

/// A token, secret included. `Display` shows it, `Debug` does not.
#[derive(Clone)]
pub struct ApiToken {
    /// Its public name.
    pub id: String,
    secret: [u8; SECRET_BYTES],
}

impl ApiToken {
    /// A new one, of the system's random numbers.
    pub fn generate() -> Self {
        Self { id: BASE64URL_NOPAD.encode(&rand::random::<[u8; ID_BYTES]>()), secret: rand::random() }
    }

    /// Reads one; nothing when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let id_bytes = BASE64URL_NOPAD.decode(id.as_bytes()).ok()?;
        let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?.try_into().ok()?;
        let whole = prefix == PREFIX && id_bytes.len() == ID_BYTES && parts.next().is_none();
        whole.then(|| Self { id: id.to_owned(), secret })
    }

    /// What is stored: HMAC-SHA256 of the id under the secret. The secret has 256 random bits, so that nothing slower is needed.
    pub fn digest(&self) -> Vec<u8> {
        hmac::sign(&self.key(), self.id.as_bytes()).as_ref().to_vec()
    }

    /// Is `digest` its own? In constant time.
    pub fn has(&self, digest: &[u8]) -> bool {
        hmac::verify(&self.key(), self.id.as_bytes(), digest).is_ok()
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.secret)
    }
}

impl fmt::Display for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}.{}.{}", self.id, BASE64URL_NOPAD.encode(&self.secret))
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiToken({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = ApiToken::generate();
        let read = ApiToken::parse(&token.to_string()).unwrap();
        assert!(read.id == token.id && read.has(&token.digest()));
        let other = ApiToken { secret: [7; SECRET_BYTES], id: token.id.clone() };
        assert!(!other.has(&token.digest()));
        assert!(!format!("{token:?}").contains(&BASE64URL_NOPAD.encode(&token.secret)));
        let text = token.to_string();
        for bad in ["", "QRA1", "QRA1..", &text[1..], &text[..text.len() - 1], &format!("{text}.x")] {
            assert!(ApiToken::parse(bad).is_none(), "{bad}");
        }
    }
}
