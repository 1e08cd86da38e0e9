//! From one observer's outcomes to failure events: what failed, how grave it is, how often in a row and within a window.
//!
//! Verdicts do not depend on any of this; they are the quorum's. An event says what the observer made of one probe: alerts, recovery and people
//! want to know that, also of an instance that is still up. The rules are those of the health-monitoring guide, with the defects of its sample code
//! left out: a success resets what counts as consecutive, and nothing is read from a message's text.

mod detector;
mod event;
mod rules;
mod window;

pub use detector::{Detector, Observed};
pub use event::{FailureEvent, Severity};
pub use rules::Rules;
