//! Breakers of many callers as one: what they tell each other, and what follows from it.
//!
//! Pure functions of what a caller holds, for an engine that moves the bytes. Nothing here touches the path of a call: an engine reads digests
//! ([`Digest::of`]) now and then, and applies what follows as an [`Event`](crate::Event):
//!
//! - [`assess`]: do the failures of many callers add up, and whose fault are they? Only the callee's open the breaker for all.
//! - [`is_confirmed`]: do callers that were asked bear out those who accused by themselves?
//! - [`Budget`]: which callers may try a callee that is open everywhere, and what do their trials together say?
//! - [`ejected`]: how many instances of a service may be open at once before breakers do more harm than good?
//! - [`Overrides`]: whose word holds when people override breakers from several places.
//!
//! Recovery is shared too: every caller that learns of it applies [`Event::PeersRecovered`](crate::Event::PeersRecovered) with the time at
//! which it happened, so that all ramps end together.
//!
//! Breaker evidence never makes an instance `down`, and an open breaker's silence is no evidence: a digest of an open breaker counts for
//! nothing in [`assess`].

mod budget;
mod digest;
mod ejection;
mod evidence;
mod overrides;

pub use budget::{Budget, PATIENCE, TrialsSay};
pub use digest::Digest;
pub use ejection::{EjectionLimits, Standing, ejected};
pub use evidence::{Culprit, Pooling, Witness, assess, is_confirmed, is_own_fault};
pub use overrides::{OVERRIDES_MAX, Override, Overrides, REASON_BYTES_MAX, rank};
