//! Words and decision rules of the health mesh.
//!
//! Everything here is a pure function of its arguments: identifiers, checks, probe outcomes, votes, the assignment of observers, the
//! opinion an observer forms from votes, and the rules by which it signs. No clock, no socket, no randomness.

pub mod assignment;
pub mod blob;
pub mod check;
pub mod detection;
pub mod evidence;
pub mod hash;
pub mod id;
pub mod observation;
pub mod opinion;
pub mod outcome;
pub mod placement;
pub mod quorum;
pub mod registration;
pub mod roster;
pub mod signing;
pub mod status_set;
pub mod time;
pub mod verdict;

pub use check::{
    Assertion, Check, CheckError, CheckKind, Condition, Expect, HttpCheck, HttpVersion, Level, Method, Scheme, Subject,
    TcpCheck, TlsCheck, TlsOptions, TlsVersion,
};
pub use evidence::{Cause, ErrorCategory, Evidence, FailureType, Phase};
pub use id::{AgentId, InstanceId, NameError, ServiceName, Zone};
pub use observation::{AbstainReason, Observation, Vote};
pub use outcome::{
    CertificateFacts, Grade, Judgement, Outcome, ProbeFailure, ProbeResult, ProbeWarning, Timings, TlsFacts, Usage,
};
pub use placement::{Intent, IntentKind, Placement};
pub use registration::Registration;
pub use roster::Roster;
pub use status_set::StatusSet;
pub use time::{Mono, Now, UnixMs};
pub use verdict::{Class, Verdict};
