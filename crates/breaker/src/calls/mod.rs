//! For callers: a registry of breakers, guarded calls with metrics, and a tower layer. Everything here reads the runtime's clock; the rest of
//! the crate has none.

mod call;
#[cfg(feature = "tower")]
mod layer;
mod metrics;
mod name_pair;
mod registry;

pub use call::{CallError, Judged, judge_by_result};
#[cfg(feature = "tower")]
pub use layer::{BreakerLayer, BreakerService, Rejection};
pub use metrics::LABELS_MAX;
pub use registry::{Breakers, Builder, Guard, Handle, InstanceState, Protection, SetupError};
