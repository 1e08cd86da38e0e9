//! Answers of the HTTP API, read field by field; a missing field is an error that names it.

use serde_json::Value;
use std::collections::BTreeMap;

fn field<'a>(value: &'a Value, key: &str) -> Result<&'a Value, String> {
    value.get(key).ok_or_else(|| format!("no `{key}` in {:.200}", value.to_string()))
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    field(value, key)?.as_str().map(str::to_owned).ok_or_else(|| format!("`{key}` is no text"))
}

fn optional_text(value: &Value, key: &str) -> Result<Option<String>, String> {
    Ok(field(value, key)?.as_str().map(str::to_owned))
}

fn number(value: &Value, key: &str) -> Result<u64, String> {
    field(value, key)?.as_u64().ok_or_else(|| format!("`{key}` is no number"))
}

fn truth(value: &Value, key: &str) -> Result<bool, String> {
    field(value, key)?.as_bool().ok_or_else(|| format!("`{key}` is neither true nor false"))
}

/// The entries of a list, each read by `read`.
pub(crate) fn list<T>(value: &Value, key: &str, read: fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    field(value, key)?.as_array().ok_or_else(|| format!("`{key}` is no list"))?.iter().map(read).collect()
}

/// The view that is part of every answer, and the status of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Who answers.
    pub agent: String,
    /// The worst of the services.
    pub status: String,
    /// Does the answering agent reach more than half of the roster?
    pub quorate: bool,
    /// Agents it holds alive.
    pub alive: u64,
    /// Agents in the roster.
    pub roster: u64,
    /// Has it caught up?
    pub settled: bool,
    /// How many instances have which verdict.
    pub verdicts: BTreeMap<String, u64>,
}

impl Health {
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let view = field(value, "view")?;
        let counts = field(value, "verdicts")?.as_object().ok_or("`verdicts` is no object")?;
        Ok(Self {
            agent: text(view, "agent")?,
            status: text(value, "status")?,
            quorate: truth(view, "quorate")?,
            alive: number(view, "alive")?,
            roster: number(view, "roster")?,
            settled: truth(view, "settled")?,
            verdicts: counts.iter().map(|(word, count)| (word.clone(), count.as_u64().unwrap_or(0))).collect(),
        })
    }
}

/// One agent, in another's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub agent: String,
    /// Its name.
    pub name: String,
    /// `alive`, `suspect`, `failed` or `left`.
    pub state: String,
    /// The verdict on its host.
    pub host: String,
}

impl Member {
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        Ok(Self {
            agent: text(value, "agent")?,
            name: text(value, "name")?,
            state: text(value, "state")?,
            host: text(value, "host")?,
        })
    }
}

/// One instance, in an agent's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub instance: String,
    /// Its home agent.
    pub home: String,
    /// What the agent may state.
    pub verdict: String,
    /// What was decided last.
    pub decided: String,
    /// The number of that.
    pub term: u64,
    /// What is broken.
    pub class: String,
    /// Too few observers can be heard to confirm it.
    pub stale: bool,
    /// The host whose fault explains this one.
    pub folded_under: Option<String>,
    /// How many observers are assigned.
    pub assigned: u64,
    /// How many of them must agree.
    pub quorum: u64,
    /// Every observer's vote; only in the answer about one instance.
    pub votes: Vec<Vote>,
    /// The signatures under the verdict; only in the answer about one instance.
    pub certificate: Option<Certificate>,
}

impl Instance {
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        let votes = if value.get("observers").is_some() { list(value, "observers", Vote::read)? } else { Vec::new() };
        let certificate = value.get("certificate").filter(|certificate| !certificate.is_null());
        Ok(Self {
            instance: text(value, "instance")?,
            home: text(value, "home")?,
            verdict: text(value, "verdict")?,
            decided: text(value, "decided")?,
            term: number(value, "term")?,
            class: text(value, "class")?,
            stale: truth(value, "stale")?,
            folded_under: optional_text(value, "folded_under")?,
            assigned: number(value, "assigned")?,
            quorum: number(value, "quorum")?,
            votes,
            certificate: certificate.map(Certificate::read).transpose()?,
        })
    }

    /// Is it a host: an instance of the built-in service?
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.instance.starts_with("quorate-agent@")
    }
}

/// The proof of a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The number of the verdict.
    pub term: u64,
    /// The verdict.
    pub verdict: String,
    /// Who signed, with which vote.
    pub endorsements: Vec<Vote>,
}

impl Certificate {
    fn read(value: &Value) -> Result<Self, String> {
        Ok(Self {
            term: number(value, "term")?,
            verdict: text(value, "verdict")?,
            endorsements: list(value, "endorsements", Vote::read)?,
        })
    }
}

/// One observer's vote, current or under a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Whose.
    pub agent: String,
    /// `pass`, `warn`, `fail` or `abstain`; none when it has said nothing.
    pub vote: Option<String>,
    /// What went wrong.
    pub cause: Option<String>,
}

impl Vote {
    fn read(value: &Value) -> Result<Self, String> {
        Ok(Self {
            agent: text(value, "agent")?,
            vote: optional_text(value, "vote")?,
            cause: optional_text(value, "cause")?,
        })
    }
}
