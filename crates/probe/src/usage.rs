//! What whoever runs an instance tells of it, probe after probe: how often it was restarted, and what it uses of its host.

use crate::failure::Step;
use crate::findings::Findings;
use quorate_core::check::UsageLimits;
use quorate_core::{Cause, Grade, InstanceId, Level, Usage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Instances remembered at most; beyond this all are looked at anew.
const MAX_REMEMBERED: usize = 4096;
/// Changes of one restart count remembered at most.
const MAX_CHANGES: usize = 1024;

/// What was seen of each instance before.
#[derive(Debug)]
pub(crate) struct Memory<P>(Mutex<BTreeMap<InstanceId, P>>);

impl<P> Default for Memory<P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<P: Default> Memory<P> {
    /// Does something with what was seen of `instance`.
    pub(crate) fn with<R>(&self, instance: &InstanceId, work: impl FnOnce(&mut P) -> R) -> R {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED && !remembered.contains_key(instance) {
            tracing::warn!(MAX_REMEMBERED, "too many instances to remember: restarts are counted from now on");
            remembered.clear();
        }
        work(remembered.entry(instance.clone()).or_default())
    }
}

/// A restart count whenever it was seen to change, oldest first; the first is the one to count from.
#[derive(Debug, Default)]
pub(crate) struct Restarts(VecDeque<(Instant, u64)>);

impl Restarts {
    /// How often there was a restart within the window, as far as was seen. A count that has become smaller begins anew.
    pub(crate) fn within(&mut self, limits: &UsageLimits, count: u64, now: Instant) -> u64 {
        if self.0.back().is_some_and(|(_, last)| count < *last) {
            self.0.clear();
        }
        if self.0.back().is_none_or(|(_, last)| *last != count) {
            self.0.push_back((now, count));
        }
        // The last one before the window is what is counted from.
        let old = |seen: Option<&(Instant, u64)>| {
            seen.is_some_and(|(at, _)| now.saturating_duration_since(*at) >= limits.restart_window)
        };
        while old(self.0.get(1)) || self.0.len() > MAX_CHANGES {
            self.0.pop_front();
        }
        self.0.front().map_or(0, |(_, first)| count.saturating_sub(*first))
    }
}

/// Holds restarts within the window to their limit.
pub(crate) fn judge_restarts(limits: &UsageLimits, restarts: u64, findings: &mut Findings) -> Step<()> {
    if restarts <= u64::from(limits.max_restart_count) {
        return Ok(());
    }
    let detail = format!("{restarts} restarts within {:?}", limits.restart_window);
    let what = format!("at most {} restarts within {:?}", limits.max_restart_count, limits.restart_window);
    findings.judge(what, restarts.to_string(), Grade::Fail, (Cause::RestartLoop, &detail))
}

/// Holds processor time and memory, where they are known, to their limits.
pub(crate) fn judge_resources(limits: &UsageLimits, usage: Usage, findings: &mut Findings) -> Step<()> {
    resource("CPU", usage.cpu_per_mille, limits.max_cpu_percent, findings)?;
    resource("memory", usage.memory_per_mille, limits.max_memory_percent, findings)
}

fn resource(metric: &str, found: Option<u32>, limit: Option<Level>, findings: &mut Findings) -> Step<()> {
    let (Some(found), Some(limit)) = (found, limit) else { return Ok(()) };
    let percent = f64::from(found) / 10.0;
    let grade = if percent > limit.value() { Grade::Warn } else { Grade::Pass };
    let detail = format!("High {metric} usage: {percent:.1}%");
    findings.judge(
        format!("{metric} usage is not above {limit}%"),
        format!("{percent:.1}%"),
        grade,
        (Cause::Resources, &detail),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn restarts_leave_the_window() {
        let limits = UsageLimits { restart_window: Duration::from_secs(60), ..UsageLimits::default() };
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let seen = [(0, 3, 0), (10, 4, 1), (20, 6, 3), (69, 6, 3), (70, 6, 2), (81, 6, 0), (200, 7, 1), (210, 0, 0)];
        for (at, count, within) in seen {
            let now = start + Duration::from_secs(at);
            assert_eq!(restarts.within(&limits, count, now), within, "{at} s");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let memory = Memory::<u32>::default();
        let name = |n: usize| InstanceId::new(format!("web@{n}")).unwrap();
        (0..MAX_REMEMBERED).for_each(|n| memory.with(&name(n), |count| *count += 1));
        assert_eq!(memory.with(&name(0), |count| *count), 1);
        assert_eq!(memory.with(&name(MAX_REMEMBERED), |count| *count), 0);
        assert_eq!(memory.0.lock().unwrap().len(), 1);
    }
}
