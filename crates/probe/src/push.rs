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
use tokio::time::Instant;

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

/// A word, and what its age is reckoned from. The wall clock has no say in it once this process knows the word.
#[derive(Debug, Clone)]
struct Said {
    word: Pushed,
    /// How old it was when this process took it.
    before: Duration,
    taken: Instant,
}

impl Said {
    /// In whole milliseconds.
    fn age(&self) -> Duration {
        let age = self.before.saturating_add(self.taken.elapsed());
        Duration::from_millis(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What the instances of this host have said. Only those are kept that the agent's configuration gives a push check.
#[derive(Debug, Default)]
pub struct Pushes(Mutex<BTreeMap<InstanceId, Said>>);

impl Pushes {
    /// Notes what an instance says now.
    pub fn put(&self, instance: InstanceId, pushed: Pushed) {
        self.insert(instance, pushed, Duration::ZERO);
    }

    /// Takes up what an instance said before this process began. What seems to come from the future was said now: the clock was set back.
    pub fn restore(&self, instance: InstanceId, pushed: Pushed) {
        let now = wall();
        let at = pushed.at.min(now);
        self.insert(instance, Pushed { at, ..pushed }, Duration::from_millis(now.0.saturating_sub(at.0)));
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> BTreeMap<InstanceId, Pushed> {
        self.lock().iter().map(|(instance, said)| (instance.clone(), said.word.clone())).collect()
    }

    fn insert(&self, instance: InstanceId, word: Pushed, before: Duration) {
        self.lock().insert(instance, Said { word, before, taken: Instant::now() });
    }

    fn of(&self, instance: &InstanceId) -> Option<Said> {
        self.lock().get(instance).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Said>> {
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
    judge(said, check, findings)
}

fn judge(said: Option<Said>, check: &PushCheck, findings: &mut Findings) -> Step<()> {
    let silent = |detail: String| Err(ProbeFailure::new(Phase::FirstByte, Cause::Timeout, detail));
    let Some(said) = said else { return silent("it has not told anything yet".to_owned()) };
    let (age, said) = (said.age(), said.word);
    findings.excerpt.push(said.output.as_bytes());
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
        let cause = |observer| {
            let target = Target { observer, ..crate::testing::target("127.0.0.1:1") };
            probe(&Pushes::default(), &target, &held_for(10), &mut Findings::default()).unwrap_err().cause
        };
        assert_eq!((cause(AgentId(0)), cause(AgentId(1))), (Cause::Local, Cause::Timeout));
    }

    fn held_for(seconds: u64) -> PushCheck {
        let token = Secret { prefix: String::new(), source: SecretSource::File("t".into()) };
        PushCheck { ttl: Duration::from_secs(seconds), token }
    }

    /// What a probe of an instance finds that tells this, and then nothing for so many milliseconds: its warning, or why it failed.
    async fn told(status: Grade, silent_for: u64) -> Result<Option<String>, ProbeFailure> {
        let (pushes, target) = (Pushes::default(), crate::testing::target("127.0.0.1:1"));
        pushes.put(target.instance.clone(), Pushed::now(status, "words".into()));
        tokio::time::advance(Duration::from_millis(silent_for)).await;
        let mut findings = Findings::default();
        probe(&pushes, &target, &held_for(10), &mut findings)?;
        Ok(findings.warning.map(|warning| warning.detail))
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_holds_for_its_time() {
        assert_eq!(told(Grade::Pass, 10_000).await, Ok(None));
        let late = told(Grade::Pass, 10_001).await.unwrap_err();
        assert_eq!(late.cause, Cause::Timeout);
        assert_eq!(late.detail, "it last told something 10.001s ago; 10s is allowed");
        assert_eq!(told(Grade::Warn, 500).await, Ok(Some("words".into())));
        assert_eq!(told(Grade::Fail, 500).await.unwrap_err().cause, Cause::Status);
        assert_eq!(
            told(Grade::Fail, 98_000).await.unwrap_err().cause,
            Cause::Timeout,
            "what it said last is out of date"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_is_set_back_lengthens_no_word() {
        let (pushes, target) = (Pushes::default(), crate::testing::target("127.0.0.1:1"));
        let holds = || probe(&pushes, &target, &held_for(60), &mut Findings::default()).is_ok();
        let hour = 3_600_000;
        let said_at = |at| Pushed { at: UnixMs(at), ..Pushed::now(Grade::Pass, String::new()) };
        pushes.put(target.instance.clone(), said_at(wall().0 + hour));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(holds());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!holds(), "61 s ago, whatever the calendar says");
        pushes.restore(target.instance.clone(), said_at(wall().0 + hour));
        assert!(pushes.all().values().all(|word| word.at <= wall()));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(holds());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!holds(), "a stored word of the future holds once for its time");
        pushes.restore(target.instance.clone(), said_at(wall().0 - 30_000));
        assert!(holds());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(!holds(), "its age counts, before the restart and after it");
    }
}
