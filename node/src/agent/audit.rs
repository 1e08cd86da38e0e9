//! The audit log: one line of JSON for each change made by a person or a token, in `audit.log` of the data directory. Who changes the tokens
//! by the command line is noted there too.

use crate::access::Caller;
use crate::agent::clock::wall;
use crate::api::words::time;
use crate::logging::rotation::Rotated;
use serde_json::{Value, json};
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// The file's name in the data directory.
pub const FILE: &str = "audit.log";
const MAX_BYTES: u64 = 10 * 1024 * 1024;
const MAX_FILES: u32 = 20;

/// One change.
#[derive(Debug, Clone)]
pub struct Change<'a> {
    /// What was to be done, such as `reload`.
    pub action: &'a str,
    /// To what, such as a path.
    pub target: &'a str,
    /// By whom.
    pub by: By<'a>,
    /// Has it been done?
    pub done: bool,
    /// The status of the answer; none where nobody answers.
    pub status: Option<u16>,
    /// The request, as in the log.
    pub request_id: Option<&'a str>,
}

/// Who made a change.
#[derive(Debug, Clone)]
pub enum By<'a> {
    /// Who asked the API, and from where.
    Caller(&'a Caller, Option<IpAddr>),
    /// Somebody on this host, as this user.
    User(u32),
    /// Whoever sent the process a signal.
    Signal,
}

/// The log of one data directory.
#[derive(Debug, Clone)]
pub struct Audit {
    file: Rotated,
    environment: Option<String>,
}

impl Audit {
    /// Goes on with the log in `dir`, of an agent in this environment where that is known.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(dir: &Path, environment: Option<String>) -> io::Result<Self> {
        Ok(Self { file: Rotated::open(&dir.join(FILE), MAX_BYTES, MAX_FILES)?, environment })
    }

    /// Notes a change, here and in the agent's own log.
    pub fn note(&self, change: &Change<'_>) {
        let line = line(change, self.environment.as_deref());
        // By its id it is found among the other lines about the request.
        tracing::info!(target: "quorate::audit", request_id = change.request_id, change = %line, "change");
        if let Err(error) = self.file.line(format!("{line}\n").as_bytes()) {
            tracing::error!(%error, "a change could not be noted in the audit log");
        }
    }
}

fn line(change: &Change<'_>, environment: Option<&str>) -> Value {
    let by = match &change.by {
        By::Caller(Caller::Token { id, name, scope }, address) => {
            json!({ "token": id, "name": name, "scope": scope.as_str(), "address": address })
        }
        By::Caller(Caller::Anyone, address) => json!({ "address": address }),
        By::User(uid) => json!({ "uid": uid }),
        By::Signal => json!({ "signal": "SIGHUP" }),
    };
    let mut line = json!({
        "time": time(wall()), "action": change.action, "target": change.target, "by": by, "done": change.done,
        "status": change.status, "request_id": change.request_id,
    });
    if let Some(environment) = environment {
        line["environment"] = json!(environment);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;

    #[test]
    fn who_did_what() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path(), Some("production".to_owned())).unwrap();
        let caller = Caller::Token { id: "a1".to_owned(), name: "ci\n".to_owned(), scope: Scope::Operate };
        let address = Some("10.0.0.1".parse().unwrap());
        let by = By::Caller(&caller, address);
        let change =
            Change { action: "reload", target: "", by: By::Signal, done: false, status: None, request_id: None };
        let (status, request_id) = (Some(200), Some("r-1"));
        audit.note(&Change { target: "/-/reload", by, done: true, status, request_id, ..change.clone() });
        audit.note(&Change { action: "token_revoke", target: "a1", by: By::User(1000), done: true, ..change.clone() });
        audit.note(&change);
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line["done"].as_bool().unwrap()).collect::<Vec<_>>(), [true, true, false]);
        assert!(lines.iter().all(|line| line["environment"] == "production"), "{text}");
        let by = json!({ "token": "a1", "name": "ci\n", "scope": "operate", "address": "10.0.0.1" });
        assert_eq!((&lines[0]["by"], &lines[0]["status"], &lines[0]["request_id"]), (&by, &json!(200), &json!("r-1")));
        assert_eq!((&lines[1]["by"]["uid"], &lines[1]["action"]), (&json!(1000), &json!("token_revoke")));
    }

    #[test]
    fn the_log_has_the_requests_id_in_its_own_field() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("agent.log");
        let lines = Rotated::open(&log, MAX_BYTES, 1).unwrap();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(lines).finish();
        tracing::subscriber::with_default(subscriber, || {
            let audit = Audit::open(dir.path(), None).unwrap();
            let by = By::Signal;
            let change = Change { action: "reload", target: "", by, done: true, status: None, request_id: Some("r-1") };
            audit.note(&change);
            audit.note(&Change { request_id: None, ..change });
        });
        let text = std::fs::read_to_string(&log).unwrap();
        let ids: Vec<bool> = text.lines().map(|line| line.contains("request_id=\"r-1\"")).collect();
        assert_eq!(ids, [true, false], "{text}");
        assert_eq!(text.matches("request_id=").count(), 1, "{text}");
    }
}
