//! Circuit breaker: may a caller send traffic to an instance?
//!
//! A pure state machine with time as an argument (Nygard, *Release It!*, 2007), held in one atomic word and shared by threads without a lock.
//! Closed, it counts; when calls fail too often, too slowly, or too many times in a row, it opens and rejects; after a wait it is
//! half-open and lends a few trial permits; enough successes close it, and traffic ramps up again.
//!
//! What common breakers miss holds here: a permit carries the *generation* in which it was given, so that a late outcome never moves a newer
//! state; a trial permit is a *lease*, so that a caller that never reports cannot keep the breaker half-open for ever; and an outcome can be
//! *neutral*, so that a cancelled call neither opens nor closes anything.
//!
//! With the feature `calls` (on by default) there is a registry, [`Breakers`], that makes guarded calls and tells Prometheus; with `tower` a
//! layer. Both read tokio's clock. Without them the crate is a pure function of what it is told.
//!
//! `docs/breaker.md` has the semantics, the drawn state machine and the measured figures.

mod breaker;
#[cfg(feature = "calls")]
mod calls;
mod machine;
mod permit;
pub mod pooled;
mod seat;
mod settings;
mod streak;
mod sync;
#[cfg(not(loom))]
mod told;
mod trials;
mod window;
mod word;

pub use breaker::{Breaker, Listener, Snapshot, Transition};
#[cfg(feature = "tower")]
pub use calls::{BreakerLayer, BreakerService, Rejection};
#[cfg(feature = "calls")]
pub use calls::{
    Breakers, Builder, CallError, Guard, Handle, InstanceState, Judged, LABELS_MAX, Protection, SetupError,
    judge_by_result,
};
pub use machine::{Event, Mode, Moment, Phase, State, Status, step};
pub use permit::{Fault, Outcome, Permit, Refusal, Rejected};
pub use settings::{DURATION_MAX, Policy, Settings, SettingsError, TRIALS_MAX, VOLUME_MAX};
#[cfg(not(loom))]
pub use told::{Told, ToldBreaker};
pub use window::Counts;
