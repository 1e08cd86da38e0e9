//! Counters that programs keep at the agent.

use crate::metrics::{LABEL_PATTERN, MAX_LABELS, MAX_STEP, RESERVED, VALUE_PATTERN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of `POST /v1/metrics/{name}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountBody {
    /// By how much the counter grows; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = MAX_STEP))]
    pub value: Option<f64>,
    /// Which series of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = MAX_LABELS,
        "propertyNames" = { "pattern": LABEL_PATTERN, "not": { "enum": RESERVED } },
        "additionalProperties" = { "type": "string", "pattern": VALUE_PATTERN },
    ))]
    pub labels: BTreeMap<String, String>,
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
