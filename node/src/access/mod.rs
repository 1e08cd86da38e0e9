//! Who may ask the API for what: tokens with a scope, and how many requests they make.

pub mod addresses;
pub mod board;
pub mod gate;
pub mod rate;
pub mod scope;
pub mod token;
pub mod tokens;

pub use gate::{Caller, Channel, Denied, Gate};
pub use rate::{Client, RateLimit};
pub use scope::{Access, Scope};
