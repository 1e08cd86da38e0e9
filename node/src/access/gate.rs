//! Lets a request in or turns it away, by where it came from and by its token.

use super::board::BoardKey;
use super::rate::{Client, RateLimit};
use super::scope::{Access, Scope};
use super::token::ApiToken;
use super::tokens::{TokenFault, Tokens, examine};
use data_encoding::BASE64;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How a request reached the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// In the clear, where only this host can.
    Local,
    /// In the clear from anywhere, for health probes alone.
    Open,
    /// Encrypted.
    Secure,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Somebody without a token.
    Anyone,
    /// The bearer of a token.
    Token {
        /// Its id.
        id: String,
        /// What it is for.
        name: String,
        /// What it is good for.
        scope: Scope,
    },
}

/// Why a request is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// A token is needed, and none came.
    NoToken,
    /// The token is not good.
    Token(TokenFault),
    /// The token is not good for this.
    Scope {
        /// What it would take.
        needed: Scope,
        /// What it has.
        found: Scope,
    },
    /// Not in the clear.
    NotSecure,
    /// A browser sends what it remembers with any page's request; a change needs a token that was meant for it.
    NotBearer,
    /// The board's user and password are needed, or are others than those that came.
    Password,
    /// Too many requests; how long to wait.
    Rate(Duration),
}

/// What a request brought to be let in.
enum Brought {
    Nothing,
    /// A token, and whether it came as `Bearer`.
    Token(Box<ApiToken>, bool),
    Unreadable,
}

/// The rules of one agent.
#[derive(Debug)]
pub struct Gate {
    tokens: Tokens,
    rate: RateLimit,
    board: Option<BoardKey>,
    begun: Instant,
}

impl Gate {
    /// Tokens of the data directory `dir`, and so many requests a minute of each client that is not on this host or brings a token.
    pub fn new(dir: &Path, requests_per_minute: u32) -> Self {
        Self { tokens: Tokens::new(dir), rate: RateLimit::new(requests_per_minute), board: None, begun: Instant::now() }
    }

    /// Asks for this at the queue board.
    #[must_use]
    pub fn with_board(self, board: Option<BoardKey>) -> Self {
        Self { board, ..self }
    }

    /// Allows so many requests a minute from now on.
    pub fn set_rate(&self, requests_per_minute: u32) {
        self.rate.set(requests_per_minute);
    }

    /// May a request pass that came from `address` over `channel` and has this `Authorization`?
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        &self,
        access: Access,
        (channel, address): (Channel, Option<IpAddr>),
        authorization: Option<&str>,
        now_unix_ms: u64,
    ) -> Result<Caller, Denied> {
        let unnamed = address.map_or(Client::Others, Client::at);
        let board = self.board.as_ref().filter(|_| access == Access::Board && channel != Channel::Open);
        let knows = board.is_some_and(|board| basic(authorization).is_some_and(|pair| board.admits(&pair)));
        let (token, bearer) = match brought(authorization) {
            Brought::Nothing | Brought::Unreadable if knows => {
                self.rate_elsewhere(unnamed, channel)?;
                return Ok(Caller::Anyone);
            }
            Brought::Nothing => {
                self.rate_elsewhere(unnamed, channel)?;
                return if board.is_some() { Err(Denied::Password) } else { without_token(access, channel) };
            }
            Brought::Unreadable => {
                self.rate(unnamed)?;
                return Err(if board.is_some() { Denied::Password } else { Denied::Token(TokenFault::Invalid) });
            }
            Brought::Token(token, bearer) => (token, bearer),
        };
        if channel == Channel::Open {
            return Err(Denied::NotSecure);
        }
        let current = self.tokens.current();
        let entry = match examine(&current.1, &token, address, now_unix_ms) {
            Ok(entry) => entry,
            Err(fault) => {
                self.rate(unnamed)?;
                return Err(Denied::Token(fault));
            }
        };
        self.rate(Client::Token(token.id.clone()))?;
        let (needed, found) = (access.scope(channel == Channel::Local), entry.scope);
        if found < needed {
            return Err(Denied::Scope { needed, found });
        }
        if !bearer && access.writes() {
            return Err(Denied::NotBearer);
        }
        Ok(Caller::Token { id: token.id, name: entry.name.clone(), scope: found })
    }

    /// Readers on this host are not held to a rate.
    fn rate_elsewhere(&self, client: Client, channel: Channel) -> Result<(), Denied> {
        if channel == Channel::Local { Ok(()) } else { self.rate(client) }
    }

    fn rate(&self, client: Client) -> Result<(), Denied> {
        self.rate.take(client, self.begun.elapsed()).map_err(Denied::Rate)
    }
}

fn without_token(access: Access, channel: Channel) -> Result<Caller, Denied> {
    match (access, channel) {
        (Access::Public, _) | (Access::Read | Access::Board | Access::Call(_), Channel::Local) => Ok(Caller::Anyone),
        (Access::Read | Access::Board | Access::Call(_) | Access::Change(_), Channel::Open) => Err(Denied::NotSecure),
        (Access::Read | Access::Board | Access::Call(_) | Access::Change(_), _) => Err(Denied::NoToken),
    }
}

/// `Bearer TOKEN` (RFC 6750), or `Basic` with the token for a password (RFC 7617): for browsers and scrapers that know nothing else.
fn brought(authorization: Option<&str>) -> Brought {
    let Some(text) = authorization else { return Brought::Nothing };
    let Some((scheme, rest)) = text.trim().split_once(' ') else { return Brought::Unreadable };
    let rest = rest.trim();
    let (token, bearer) = if scheme.eq_ignore_ascii_case("bearer") {
        (ApiToken::parse(rest), true)
    } else if scheme.eq_ignore_ascii_case("basic") {
        let pair = basic(authorization).and_then(|pair| String::from_utf8(pair).ok());
        (pair.and_then(|pair| ApiToken::parse(pair.split_once(':')?.1)), false)
    } else {
        (None, false)
    };
    token.map_or(Brought::Unreadable, |token| Brought::Token(Box::new(token), bearer))
}

/// The pair of user and password in `Basic`.
fn basic(authorization: Option<&str>) -> Option<Vec<u8>> {
    let (scheme, rest) = authorization?.trim().split_once(' ')?;
    BASE64.decode(rest.trim().as_bytes()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))
}

#[cfg(test)]
mod tests {
    use super::super::tokens::{TokenFile, Wanted};
    use super::*;

    const READ: Access = Access::Read;
    const CALL: Access = Access::Call(Scope::Register);
    const OPERATE: Access = Access::Change(Scope::Operate);

    struct Scene {
        gate: Gate,
        bearer: String,
        basic: String,
        _dir: tempfile::TempDir,
    }

    fn scene(scope: Scope, rate: u32) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let ttl = Duration::from_secs(60);
        let wanted = Wanted { name: "x".to_owned(), scope, ttl, addresses: Vec::new() };
        let token = TokenFile::new(dir.path()).create(&wanted, 1000).unwrap();
        let basic = BASE64.encode(format!("anyone:{token}").as_bytes());
        let gate = Gate::new(dir.path(), rate);
        Scene { gate, bearer: format!("Bearer {token}"), basic: format!("basic {basic}"), _dir: dir }
    }

    impl Scene {
        fn ask(&self, access: Access, channel: Channel, authorization: Option<&str>) -> Result<bool, Denied> {
            let address = Some("10.0.0.1".parse().unwrap());
            let caller = self.gate.admit(access, (channel, address), authorization, 2000)?;
            Ok(caller != Caller::Anyone)
        }
    }

    #[test]
    fn the_table_of_access() {
        let scene = scene(Scope::Operate, 0);
        let bearer = Some(scene.bearer.as_str());
        for (access, channel, without, with) in [
            (Access::Public, Channel::Local, Ok(false), Ok(true)),
            (Access::Public, Channel::Open, Ok(false), Err(Denied::NotSecure)),
            (Access::Public, Channel::Secure, Ok(false), Ok(true)),
            (READ, Channel::Local, Ok(false), Ok(true)),
            (READ, Channel::Open, Err(Denied::NotSecure), Err(Denied::NotSecure)),
            (READ, Channel::Secure, Err(Denied::NoToken), Ok(true)),
            (CALL, Channel::Local, Ok(false), Ok(true)),
            (CALL, Channel::Open, Err(Denied::NotSecure), Err(Denied::NotSecure)),
            (CALL, Channel::Secure, Err(Denied::NoToken), Ok(true)),
            (OPERATE, Channel::Local, Err(Denied::NoToken), Ok(true)),
            (OPERATE, Channel::Open, Err(Denied::NotSecure), Err(Denied::NotSecure)),
            (OPERATE, Channel::Secure, Err(Denied::NoToken), Ok(true)),
        ] {
            assert_eq!(scene.ask(access, channel, None), without, "{access:?} {channel:?}");
            assert_eq!(scene.ask(access, channel, bearer), with, "{access:?} {channel:?} with a token");
        }
    }

    #[test]
    fn a_token_is_good_for_its_scope_and_basic_for_reading() {
        let scene = scene(Scope::Register, 0);
        let denied = Denied::Scope { needed: Scope::Operate, found: Scope::Register };
        assert_eq!(scene.ask(OPERATE, Channel::Local, Some(&scene.bearer)), Err(denied));
        assert_eq!(scene.ask(Access::Change(Scope::Register), Channel::Secure, Some(&scene.bearer)), Ok(true));
        assert_eq!(scene.ask(READ, Channel::Secure, Some(&scene.basic)), Ok(true));
        let change = scene.ask(Access::Change(Scope::Register), Channel::Secure, Some(&scene.basic));
        assert_eq!(change, Err(Denied::NotBearer));
        assert_eq!(scene.ask(CALL, Channel::Secure, Some(&scene.bearer)), Ok(true));
        assert_eq!(scene.ask(CALL, Channel::Secure, Some(&scene.basic)), Err(Denied::NotBearer));
        for bad in ["", "Bearer", "Bearer x", "Basic x", "Digest x", "Basic eDp5"] {
            let found = scene.ask(READ, Channel::Local, Some(bad));
            assert_eq!(found, Err(Denied::Token(TokenFault::Invalid)), "{bad:?}");
        }
    }

    #[test]
    fn the_board_asks_for_its_user_and_password_where_they_are_set() {
        let mut scene = scene(Scope::Read, 0);
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair.as_bytes()));
        let (right, wrong) = (basic("ann:secret"), basic("ann:guess"));
        assert_eq!(scene.ask(Access::Board, Channel::Local, None), Ok(false), "as any reader on this host");
        assert_eq!(scene.ask(Access::Board, Channel::Secure, None), Err(Denied::NoToken));
        assert_eq!(scene.ask(Access::Board, Channel::Local, Some(&right)), Err(Denied::Token(TokenFault::Invalid)));
        scene.gate = scene.gate.with_board(Some(BoardKey::new("ann", "secret")));
        for channel in [Channel::Local, Channel::Secure] {
            assert_eq!(scene.ask(Access::Board, channel, None), Err(Denied::Password));
            assert_eq!(scene.ask(Access::Board, channel, Some(&wrong)), Err(Denied::Password));
            assert_eq!(scene.ask(Access::Board, channel, Some("nonsense")), Err(Denied::Password));
            assert_eq!(scene.ask(Access::Board, channel, Some(&right)), Ok(false));
            assert_eq!(scene.ask(Access::Board, channel, Some(&scene.bearer)), Ok(true), "a token is as good");
            let elsewhere = scene.ask(READ, channel, Some(&right));
            assert_eq!(elsewhere, Err(Denied::Token(TokenFault::Invalid)), "it opens nothing else");
        }
        assert!(scene.ask(Access::Board, Channel::Open, Some(&right)).is_err(), "not in the clear");
        scene.gate.set_rate(2);
        assert!((0..2).all(|_| scene.ask(Access::Board, Channel::Local, Some(&wrong)) == Err(Denied::Password)));
        assert!(matches!(scene.ask(Access::Board, Channel::Local, Some(&wrong)), Err(Denied::Rate(_))), "guesses");
        assert_eq!(scene.ask(Access::Board, Channel::Local, None), Err(Denied::Password));
    }

    #[test]
    fn who_may_read_from_elsewhere_calls_nobody() {
        let scene = scene(Scope::Read, 0);
        let denied = Denied::Scope { needed: Scope::Register, found: Scope::Read };
        assert_eq!(scene.ask(CALL, Channel::Secure, Some(&scene.bearer)), Err(denied));
        assert_eq!(scene.ask(CALL, Channel::Local, Some(&scene.bearer)), Ok(true), "here it takes no token at all");
        assert_eq!(scene.ask(READ, Channel::Secure, Some(&scene.bearer)), Ok(true));
    }

    #[test]
    fn clients_are_held_to_their_rate_but_for_readers_on_this_host() {
        let scene = scene(Scope::Read, 3);
        assert!((0..10).all(|_| scene.ask(READ, Channel::Local, None).is_ok()));
        assert!((0..3).all(|_| scene.ask(Access::Public, Channel::Open, None).is_ok()));
        assert!(matches!(scene.ask(Access::Public, Channel::Open, None), Err(Denied::Rate(_))));
        assert!((0..3).all(|_| scene.ask(READ, Channel::Secure, Some(&scene.bearer)).is_ok()), "counted by its token");
        assert!(matches!(scene.ask(READ, Channel::Secure, Some(&scene.bearer)), Err(Denied::Rate(_))));
        assert!(
            matches!(scene.ask(READ, Channel::Local, Some("Bearer x")), Err(Denied::Rate(_))),
            "guesses are counted"
        );
    }
}
