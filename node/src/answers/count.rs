//! Counters that programs keep at the agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of `POST /v1/metrics/{name}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountBody {
    /// By how much the counter grows; 1 when absent.
    #[serde(default = "one")]
    #[schemars(range(min = 0))]
    pub value: f64,
    /// Which series of it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn one() -> f64 {
    1.0
}

/// `POST /v1/metrics/{name}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CountedAnswer {
    /// The counter.
    pub name: String,
    /// Which series of it.
    pub labels: BTreeMap<String, String>,
    /// How far it is now; counters begin at zero with the agent's process.
    pub total: f64,
}
