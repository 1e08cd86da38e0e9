//! Conditions on an answer beyond its status: on its body, a header, or a value inside of its JSON.

use super::{Errors, clip, is_token, limits};
use crate::outcome::Grade;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One condition on an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assertion {
    /// What is looked at.
    pub subject: Subject,
    /// What must be so.
    pub condition: Condition,
    /// Must it rather not be so?
    pub negated: bool,
    /// What it means when it does not hold: a failure or a warning.
    pub otherwise: Grade,
}

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The body, as far as it was read.
    Body,
    /// A header of the answer; one that came several times is looked at value by value, and one value suffices.
    Header(String),
    /// The values that a JSON path (RFC 9535) selects in the body; there must be one, and the condition must hold for all.
    Json(String),
}

/// What must be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It is there.
    Exists,
    /// It is this text.
    Equals(String),
    /// This text appears in it.
    Contains(String),
    /// This regular expression matches.
    Matches(String),
    /// It is a number greater than this.
    Above(Level),
    /// It is a number smaller than this.
    Below(Level),
}

/// A finite number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, Default)]
#[serde(try_from = "f64", into = "f64")]
pub struct Level(f64);

impl Level {
    /// A level; `None` for a number that is not finite.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self(number))
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

// Finite numbers are equal to themselves.
impl Eq for Level {}

impl TryFrom<f64> for Level {
    type Error = &'static str;
    fn try_from(number: f64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("a number that is not finite")
    }
}

impl From<Level> for f64 {
    fn from(level: Level) -> Self {
        level.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Body => f.write_str("body")?,
            Subject::Header(name) => write!(f, "header {}", clip(name))?,
            Subject::Json(path) => write!(f, "json {}", clip(path))?,
        }
        f.write_str(if self.negated { " not" } else { "" })?;
        match &self.condition {
            Condition::Exists => f.write_str(" exists"),
            Condition::Equals(text) => write!(f, " equals {:?}", clip(text)),
            Condition::Contains(text) => write!(f, " contains {:?}", clip(text)),
            Condition::Matches(pattern) => write!(f, " matches {:?}", clip(pattern)),
            Condition::Above(level) => write!(f, " above {level}"),
            Condition::Below(level) => write!(f, " below {level}"),
        }
    }
}

impl Assertion {
    pub(super) fn validate(&self, errors: &mut Errors) {
        match &self.subject {
            Subject::Body => {}
            Subject::Header(name) => {
                errors.rule("assert", is_token(name) && name.len() <= limits::MAX_TEXT_BYTES, || {
                    format!("{:?} is not a header name", clip(name))
                })
            }
            Subject::Json(path) => {
                errors.rule("assert", path.starts_with('$') && path.len() <= limits::MAX_JSON_PATH_BYTES, || {
                    format!(
                        "{:?} is not a JSON path of at most {} bytes, such as \"$.status\"",
                        clip(path),
                        limits::MAX_JSON_PATH_BYTES
                    )
                });
            }
        }
        match &self.condition {
            Condition::Equals(text) | Condition::Contains(text) => {
                errors.rule("assert", text.len() <= limits::MAX_TEXT_BYTES, || {
                    format!("the text is too long; at most {} bytes", limits::MAX_TEXT_BYTES)
                });
            }
            Condition::Matches(pattern) => {
                errors.rule("assert", !pattern.is_empty() && pattern.len() <= limits::MAX_REGEX_BYTES, || {
                    format!("the regular expression is empty or too long; at most {} bytes", limits::MAX_REGEX_BYTES)
                });
            }
            Condition::Exists | Condition::Above(_) | Condition::Below(_) => {}
        }
        errors.rule("assert", self.otherwise != Grade::Pass, || "must warn or fail when it does not hold".to_owned());
    }
}
