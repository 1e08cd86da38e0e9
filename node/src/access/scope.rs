//! What a token is good for. Each scope includes those before it.

use serde::{Deserialize, Serialize};

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask.
    Read,
    /// Register instances, and change or withdraw those it registered.
    Register,
    /// Everything an operator may do.
    Operate,
}

impl Scope {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Register => "register",
            Self::Operate => "operate",
        }
    }
}

/// What an operation of the API asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: what load balancers and schedulers must be able to ask.
    Public,
    /// To be on this host, or a token.
    Read,
    /// The same; or, where its operator has set them, the board's user and password, and then on this host too.
    Board,
    /// To be on this host, or a token of this scope: what programs ask and tell beside each of their calls.
    Call(Scope),
    /// A token of this scope, from anywhere.
    Change(Scope),
}

impl Access {
    /// The scope that a token needs; `on_this_host`: where no token is needed, any will do.
    pub fn scope(self, on_this_host: bool) -> Scope {
        match self {
            Self::Public | Self::Read | Self::Board => Scope::Read,
            Self::Call(_) if on_this_host => Scope::Read,
            Self::Call(scope) | Self::Change(scope) => scope,
        }
    }

    /// Does it write anything, so that no browser may send by itself what it remembers?
    pub fn writes(self) -> bool {
        matches!(self, Self::Call(_) | Self::Change(_))
    }
}
