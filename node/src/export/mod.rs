//! Outputs for those who do not scrape: StatsD, and OTLP for metrics and traces. Each is a feature of the build, and off until it is configured.
//!
//! What cannot be handed over is dropped and counted: no output keeps the agent waiting.

#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "otlp")]
mod otlp_http;
pub mod spans;
#[cfg(feature = "statsd")]
mod statsd;

use crate::config::{OtlpSettings, StatsdSettings};
use crate::metrics::Metrics;
use prometheus::proto::MetricFamily;
use spans::Spans;
use std::sync::Arc;

/// An output's word in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Metrics by StatsD.
    Statsd,
    /// Metrics by OTLP.
    OtlpMetrics,
    /// Traces by OTLP.
    OtlpTraces,
}

impl Output {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Statsd, Self::OtlpMetrics, Self::OtlpTraces];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Statsd => "statsd",
            Self::OtlpMetrics => "otlp_metrics",
            Self::OtlpTraces => "otlp_traces",
        }
    }
}

/// Reads every metric as it is now.
pub type Gather = Arc<dyn Fn() -> Vec<MetricFamily> + Send + Sync>;

/// Who tells.
#[derive(Debug, Clone)]
pub struct Teller {
    /// The agent's id.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// Its mesh.
    pub mesh: String,
    /// What it is part of, if that is configured.
    pub environment: Option<String>,
}

/// What is configured, in a build that may lack it.
///
/// # Errors
/// When the build lacks it.
pub fn check(statsd: Option<&StatsdSettings>, otlp: Option<&OtlpSettings>) -> anyhow::Result<()> {
    let lacks = |section: &str| {
        anyhow::bail!(
            "the configuration has [{section}], and this program was built without that output: build it with `--features {section}`, or remove \
             the section"
        )
    };
    if statsd.is_some() && !cfg!(feature = "statsd") {
        return lacks("statsd");
    }
    if otlp.is_some() && !cfg!(feature = "otlp") {
        return lacks("otlp");
    }
    Ok(())
}

/// The outputs that are used.
pub fn used(statsd: Option<&StatsdSettings>, otlp: Option<&OtlpSettings>) -> Vec<Output> {
    let is_used = |output: &Output| match output {
        Output::Statsd => statsd.is_some(),
        Output::OtlpMetrics => otlp.is_some_and(|otlp| otlp.metrics),
        Output::OtlpTraces => otlp.is_some_and(|otlp| otlp.traces),
    };
    Output::ALL.into_iter().filter(is_used).collect()
}

/// Starts what is configured. Spans that are given to what is returned are exported, if traces are.
///
/// # Errors
/// When an output cannot be opened, or the build lacks it.
#[cfg_attr(not(any(feature = "otlp", feature = "statsd")), allow(unused_variables, clippy::needless_pass_by_value))]
pub fn start(
    (statsd, otlp): (Option<StatsdSettings>, Option<OtlpSettings>),
    teller: Teller,
    gather: Gather,
    metrics: Arc<Metrics>,
) -> anyhow::Result<Spans> {
    check(statsd.as_ref(), otlp.as_ref())?;
    #[cfg(feature = "statsd")]
    if let Some(settings) = statsd {
        statsd::start(settings, teller.environment.clone(), Arc::clone(&gather), Arc::clone(&metrics))?;
    }
    #[cfg(feature = "otlp")]
    if let Some(settings) = otlp {
        return otlp::start(settings, &teller, gather, metrics);
    }
    Ok(Spans::none())
}
