//! Push checks: an instance tells its home agent how it is, and is held to doing so often enough.

use crate::failure::{Step, unprepared};
use crate::findings::Findings;
use crate::target::Target;
use quorate_core::check::PushCheck;
use quorate_core::outcome::clip;
use quorate_core::{AgentId, Cause, Grade, InstanceId, Phase, ProbeFailure, UnixMs};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What an instance said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Well, well with a warning, or not.
    pub status: Grade,
    /// In its own words; at most [`Pushed::MAX_OUTPUT_BYTES`].
    pub output: String,
    /// When it was said, by this host's wall clock: a word must survive a restart of the agent.
    pub at: UnixMs,
}

impl Pushed {
    /// Bytes of the words kept.
    pub const MAX_OUTPUT_BYTES: usize = ProbeFailure::MAX_DETAIL_BYTES;

    /// Said now; long words are cut.
    #[must_use]
    pub fn now(status: Grade, output: String) -> Self {
        Self { status, output: clip(output, Self::MAX_OUTPUT_BYTES), at: wall() }
    }
}

/// What the instances of this host have said. Only those are kept that the agent's configuration gives a push check.
#[derive(Debug, Default)]
pub struct Pushes(Mutex<BTreeMap<InstanceId, Pushed>>);

impl Pushes {
    /// Notes what an instance says.
    pub fn put(&self, instance: InstanceId, pushed: Pushed) {
        self.lock().insert(instance, pushed);
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> BTreeMap<InstanceId, Pushed> {
        self.lock().clone()
    }

    fn of(&self, instance: &InstanceId) -> Option<Pushed> {
        self.lock().get(instance).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Pushed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is `told` the token? Hashes are compared, so that the time taken says nothing of how much was right.
pub(crate) fn same_token(token: &str, told: &str) -> bool {
    digest(&SHA256, token.as_bytes()).as_ref() == digest(&SHA256, told.as_bytes()).as_ref() && !token.is_empty()
}

fn wall() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// One look at what was said.
pub(crate) fn probe(pushes: &Pushes, target: &Target, check: &PushCheck, findings: &mut Findings) -> Step<()> {
    let said = pushes.of(&target.instance);
    if said.is_none() && target.observer == AgentId(0) {
        return Err(unprepared("only its home agent knows what it was told; ask it with --from"));
    }
    judge(said, check, wall(), findings)
}

fn judge(said: Option<Pushed>, check: &PushCheck, now: UnixMs, findings: &mut Findings) -> Step<()> {
    let silent = |detail: String| Err(ProbeFailure::new(Phase::FirstByte, Cause::Timeout, detail));
    let Some(said) = said else { return silent("it has not told anything yet".to_owned()) };
    findings.excerpt.push(said.output.as_bytes());
    // A wall clock that was set back makes nothing older.
    let age = Duration::from_millis(now.0.saturating_sub(said.at.0));
    if age > check.ttl {
        return silent(format!("it last told something {age:?} ago; {:?} is allowed", check.ttl));
    }
    let detail = match (said.output.is_empty(), said.status) {
        (false, _) => said.output,
        (true, Grade::Fail) => "it says that it fails".to_owned(),
        (true, _) => "it warns".to_owned(),
    };
    findings.judge("it says that it is well", said.status.as_str(), said.status, (Cause::Status, &detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::check::{Secret, SecretSource};

    #[test]
    fn whoever_is_no_agent_proves_no_silence() {
        let token = Secret { prefix: String::new(), source: SecretSource::File("t".into()) };
        let check = PushCheck { ttl: Duration::from_secs(10), token };
        let cause = |observer| {
            let target = Target { observer, ..crate::testing::target("127.0.0.1:1") };
            probe(&Pushes::default(), &target, &check, &mut Findings::default()).unwrap_err().cause
        };
        assert_eq!((cause(AgentId(0)), cause(AgentId(1))), (Cause::Local, Cause::Timeout));
    }

    #[test]
    fn a_word_holds_for_its_time() {
        let token = Secret { prefix: String::new(), source: SecretSource::File("t".into()) };
        let check = PushCheck { ttl: Duration::from_secs(10), token };
        let said = |status, at| Some(Pushed { status, output: "words".into(), at: UnixMs(at) });
        let result = |said, now| {
            let mut findings = Findings::default();
            let judged = judge(said, &check, UnixMs(now), &mut findings);
            judged.map(|()| findings.warning.map(|warning| warning.detail)).map_err(|failure| failure.cause)
        };
        assert_eq!(result(None, 5), Err(Cause::Timeout));
        assert_eq!(result(said(Grade::Pass, 1000), 11_000), Ok(None));
        assert_eq!(result(said(Grade::Pass, 1000), 11_001), Err(Cause::Timeout));
        let late = judge(said(Grade::Pass, 1000), &check, UnixMs(11_001), &mut Findings::default());
        assert_eq!(late.unwrap_err().detail, "it last told something 10.001s ago; 10s is allowed");
        assert_eq!(result(said(Grade::Warn, 1000), 1500), Ok(Some("words".into())));
        assert_eq!(result(said(Grade::Fail, 1000), 1500), Err(Cause::Status));
        assert_eq!(result(said(Grade::Fail, 1000), 99_000), Err(Cause::Timeout), "what it said last is out of date");
        assert_eq!(result(said(Grade::Pass, 9000), 1000), Ok(None), "the clock was set back");
    }
}
