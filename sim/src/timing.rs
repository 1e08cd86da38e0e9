//! The `[timing]` table of a plan: intervals of the engine that differ from its defaults.

use crate::time::Span;
use anyhow::bail;
use quorate_mesh::Timing;
use serde::{Deserialize, Serialize};

macro_rules! timing {
    (spans: $($span:ident)*; numbers: $($number:ident: $kind:ty)*;) => {
        /// What replaces the engine's own; its keys are the fields of [`Timing`].
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[allow(missing_docs, reason = "described at the fields of the engine's Timing")]
        pub struct TimingPlan {
            $(#[serde(skip_serializing_if = "Option::is_none")] pub $span: Option<Span>,)*
            $(#[serde(skip_serializing_if = "Option::is_none")] pub $number: Option<$kind>,)*
        }

        impl TimingPlan {
            /// The engine's intervals with these in their place.
            pub fn timing(&self) -> Timing {
                // Every field by its name: a new one must be added here before this compiles.
                let Timing { $($span,)* $($number,)* } = Timing::default();
                Timing {
                    $($span: self.$span.map_or($span, |span| span.0),)*
                    $($number: self.$number.unwrap_or($number),)*
                }
            }

            /// Every key with its default, as written in a plan.
            #[cfg(test)]
            pub fn all() -> Self {
                let timing = Timing::default();
                Self { $($span: Some(Span(timing.$span)),)* $($number: Some(timing.$number),)* }
            }

            /// Checks what the types do not.
            ///
            /// # Errors
            /// Names the key that is wrong and what would be right.
            pub fn check(&self) -> anyhow::Result<()> {
                $(if self.$span.is_some_and(|span| span.0.is_zero()) {
                    bail!("timing.{}: must be longer than nothing", stringify!($span));
                })*
                $(if self.$number == Some(0) {
                    bail!("timing.{}: must be 1 at least", stringify!($number));
                })*
                let timing = self.timing();
                if timing.swim_rtt >= timing.swim_period {
                    bail!("timing.swim_rtt: must be shorter than timing.swim_period");
                }
                if timing.roll_call_wait >= timing.roll_call_life {
                    bail!("timing.roll_call_wait: must be shorter than timing.roll_call_life");
                }
                if timing.propose_interval >= timing.roll_call_life {
                    bail!("timing.propose_interval: must be shorter than timing.roll_call_life");
                }
                if timing.max_down_percent > 100 {
                    bail!("timing.max_down_percent: must be 100 at most");
                }
                Ok(())
            }
        }
    };
}

timing! {
    spans:
        swim_period swim_rtt dial_allowance gossip_interval sync_interval reconnect_interval roll_call_wait roll_call_life
        stall_threshold host_ping_interval host_ping_timeout propose_interval rank_delay settle cut_delay persist_interval
        flap_window max_hold_down forget_after;
    numbers:
        gossip_fanout: usize host_failures: u32 flap_threshold: u32 max_down_percent: u32;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_not_named_stays_the_engines_own() {
        assert_eq!(TimingPlan::default().timing(), Timing::default());
        assert_eq!(TimingPlan::all().timing(), Timing::default());
        let changed: TimingPlan = toml::from_str("settle = \"3s\"\nhost_failures = 5\n").unwrap();
        let wanted = Timing { settle: Duration::from_secs(3), host_failures: 5, ..Timing::default() };
        assert_eq!(changed.timing(), wanted);
    }

    #[test]
    fn impossible_intervals_are_refused() {
        for (text, message) in [
            ("settle = \"0s\"", "timing.settle: must be longer"),
            ("host_failures = 0", "timing.host_failures: must be 1 at least"),
            ("swim_rtt = \"1s\"", "shorter than timing.swim_period"),
            ("roll_call_wait = \"1s\"", "shorter than timing.roll_call_life"),
            ("propose_interval = \"1s\"", "shorter than timing.roll_call_life"),
            ("max_down_percent = 101", "timing.max_down_percent: must be 100 at most"),
        ] {
            let plan: TimingPlan = toml::from_str(text).unwrap();
            assert!(plan.check().unwrap_err().to_string().contains(message), "{text}");
        }
        assert!(toml::from_str::<TimingPlan>("sleep = \"1s\"").is_err());
    }
}
