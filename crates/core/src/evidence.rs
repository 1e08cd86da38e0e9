//! Why a probe failed, as types: the phase it reached, the cause, and what that proves about the far end.
//!
//! The failure types and error categories of the monitoring guide are projections of these, never matched from a message's text.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($(#[$vdoc])* #[serde(rename = $word)] $variant),* }

        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word used in JSON, metrics and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words!(
    /// How far a probe came.
    Phase {
        /// Preparing: reading a file or a setting on the observer's own host.
        Prepare = "prepare",
        /// Looking up the name.
        Resolve = "resolve",
        /// Opening the connection.
        Connect = "connect",
        /// The TLS handshake.
        Tls = "tls",
        /// Sending the request.
        Send = "send",
        /// Waiting for the first byte of the answer.
        FirstByte = "first_byte",
        /// Reading the answer.
        Body = "body",
        /// Judging the answer.
        Assert = "assert",
    }
);

words!(
    /// What went wrong in that phase.
    Cause {
        /// The deadline passed.
        Timeout = "timeout",
        /// The connection was refused (ECONNREFUSED).
        Refused = "refused",
        /// The connection was reset or closed early.
        Reset = "reset",
        /// No route to the host or network (EHOSTUNREACH, ENETUNREACH).
        Unreachable = "unreachable",
        /// The name has no address, or the resolver failed.
        NameNotFound = "name_not_found",
        /// The certificate is not acceptable.
        Certificate = "certificate",
        /// The far end did not speak the protocol.
        Protocol = "protocol",
        /// The status is not among the expected ones.
        Status = "status",
        /// The content is not as expected.
        Content = "content",
        /// Too much: more bytes or more redirects than allowed.
        TooMuch = "too_much",
        /// The observer itself could not run the probe (no socket, no file, no permission).
        Local = "local",
        /// It answered as it should, but too late to be of use.
        Slow = "slow",
        /// A number it gave lies beyond its limit.
        Threshold = "threshold",
        /// Whatever runs it says that it does not run.
        Stopped = "stopped",
        /// It was killed because memory ran out.
        OutOfMemory = "oom_killed",
        /// It was restarted too often.
        RestartLoop = "restart_loop",
        /// It uses more of its host than it should.
        Resources = "resources",
    }
);

words!(
    /// What a failure proves about the far end. Silence may be the path's fault or the observer's own; an answer may not.
    Evidence {
        /// Its host answered that nothing listens there.
        Refused = "refused",
        /// It spoke, and answered badly.
        BadAnswer = "bad_answer",
        /// Nothing was heard.
        Silence = "silence",
        /// Nothing is proved: the fault is on the observer's side.
        Inconclusive = "inconclusive",
    }
);

words!(
    /// The fifteen failure types of the monitoring guide.
    FailureType {
        /// The probe completed and the answer was not accepted.
        HealthCheckFailed = "health_check_failed",
        /// A phase hit its deadline.
        HealthCheckTimeout = "health_check_timeout",
        /// The probe could not be judged.
        HealthCheckError = "health_check_error",
        /// Slower than `max_response_time_ms`.
        HighResponseTime = "high_response_time",
        /// Too many failures in the window.
        HighErrorRate = "high_error_rate",
        /// CPU or memory over its limit.
        HighResourceUsage = "high_resource_usage",
        /// The runtime says exited.
        ContainerStopped = "container_stopped",
        /// Restarted too often.
        ContainerRestartLoop = "container_restart_loop",
        /// Killed for memory.
        ContainerOomKilled = "container_oom_killed",
        /// No route, or all remote observers fail while the home one passes.
        NetworkUnreachable = "network_unreachable",
        /// The connection was refused.
        PortNotListening = "port_not_listening",
        /// The name did not resolve.
        DnsResolutionFailed = "dns_resolution_failed",
        /// Not healthy within its start grace.
        ApplicationStartupFailed = "application_startup_failed",
        /// Accepts, never answers.
        ApplicationDeadlock = "application_deadlock",
        /// Memory grows without end.
        ApplicationMemoryLeak = "application_memory_leak",
    }
);

words!(
    /// The six error categories of the monitoring guide, for metrics.
    ErrorCategory {
        /// Deadline.
        Timeout = "timeout",
        /// Connecting failed.
        Connection = "connection",
        /// Name look-up failed.
        Dns = "dns",
        /// TLS failed.
        Ssl = "ssl",
        /// A wrong HTTP answer.
        Http = "http",
        /// Anything else.
        Unknown = "unknown",
    }
);

impl Evidence {
    /// What a failure in `phase` with `cause` proves.
    #[must_use]
    pub fn of(phase: Phase, cause: Cause) -> Self {
        match (phase, cause) {
            (_, Cause::Local) | (Phase::Prepare | Phase::Resolve, _) => Self::Inconclusive,
            (_, Cause::Refused) => Self::Refused,
            (Phase::Connect, Cause::Timeout | Cause::Unreachable | Cause::Reset) => Self::Silence,
            (_, Cause::Timeout | Cause::Unreachable) => Self::Silence,
            (
                _,
                Cause::Reset
                | Cause::Certificate
                | Cause::Protocol
                | Cause::Status
                | Cause::Content
                | Cause::TooMuch
                | Cause::Slow
                | Cause::Threshold
                | Cause::Stopped
                | Cause::OutOfMemory
                | Cause::RestartLoop
                | Cause::Resources,
            ) => Self::BadAnswer,
            (_, Cause::NameNotFound) => Self::Inconclusive,
        }
    }
}

impl FailureType {
    /// The failure type of a failed probe.
    #[must_use]
    pub fn of(cause: Cause) -> Self {
        match cause {
            Cause::Timeout => Self::HealthCheckTimeout,
            Cause::Refused => Self::PortNotListening,
            Cause::Unreachable => Self::NetworkUnreachable,
            Cause::NameNotFound => Self::DnsResolutionFailed,
            Cause::Slow => Self::HighResponseTime,
            Cause::Stopped => Self::ContainerStopped,
            Cause::OutOfMemory => Self::ContainerOomKilled,
            Cause::RestartLoop => Self::ContainerRestartLoop,
            Cause::Resources => Self::HighResourceUsage,
            Cause::Status | Cause::Content | Cause::Threshold => Self::HealthCheckFailed,
            Cause::Reset | Cause::Certificate | Cause::Protocol | Cause::TooMuch | Cause::Local => {
                Self::HealthCheckError
            }
        }
    }
}

impl ErrorCategory {
    /// The category of a failed probe.
    #[must_use]
    pub fn of(phase: Phase, cause: Cause) -> Self {
        match (phase, cause) {
            (_, Cause::Timeout) => Self::Timeout,
            (_, Cause::NameNotFound) | (Phase::Resolve, _) => Self::Dns,
            (_, Cause::Certificate) | (Phase::Tls, _) => Self::Ssl,
            (_, Cause::Refused | Cause::Reset | Cause::Unreachable) => Self::Connection,
            (_, Cause::Status | Cause::Content | Cause::Protocol | Cause::TooMuch) => Self::Http,
            (
                _,
                Cause::Local
                | Cause::Slow
                | Cause::Threshold
                | Cause::Stopped
                | Cause::OutOfMemory
                | Cause::RestartLoop
                | Cause::Resources,
            ) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every phase with every cause, and what follows from it. `UPDATE_EXPECT=1` writes the table anew.
    #[test]
    fn what_follows_from_a_failure() {
        let mut table =
            String::from("# phase cause => evidence, failure type, error category; equal rows of a cause are one\n");
        for cause in Cause::ALL {
            let of = |phase: &Phase| {
                let (evidence, category) = (Evidence::of(*phase, *cause), ErrorCategory::of(*phase, *cause));
                format!("{evidence}, {}, {category}", FailureType::of(*cause))
            };
            let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
            for phase in Phase::ALL {
                match rows.iter_mut().find(|(row, _)| *row == of(phase)) {
                    Some((_, phases)) => phases.push(phase.as_str()),
                    None => rows.push((of(phase), vec![phase.as_str()])),
                }
            }
            for (row, phases) in rows {
                let phases = if phases.len() == Phase::ALL.len() { "*".to_owned() } else { phases.join("|") };
                table.push_str(&format!("{phases} {cause} => {row}\n"));
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/failure.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, &table).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), table);
    }
}
