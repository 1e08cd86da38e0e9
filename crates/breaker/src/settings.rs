//! What a breaker is told: the settings as a person writes them, two presets, and the resolved policy that a breaker reads.

use std::fmt;
use std::time::Duration;

/// Most trial permits that may be out at once.
pub const TRIALS_MAX: u32 = 8;
/// Highest minimum volume: what one bucket of a window counts exactly.
pub const VOLUME_MAX: u32 = 500;
/// Longest of any duration: a day.
pub const DURATION_MAX: Duration = Duration::from_secs(86_400);

/// When a breaker opens, and how it closes again. Each trigger that is set opens it by itself.
///
/// ```
/// use quorate_breaker::Settings;
/// use std::time::Duration;
///
/// let settings = Settings { recovery: Duration::from_secs(5), ..Settings::default() };
/// assert!(settings.resolve().is_ok());
/// assert!(Settings { max_trials: 0, ..settings }.resolve().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The time over which rates are taken, in ten equal buckets. 10 ms to a day.
    pub window: Duration,
    /// Calls that a window must hold before a rate means anything. 1 to 500.
    pub minimum_volume: u32,
    /// Opens when at least this percentage of the window's calls failed. 1 to 100.
    pub failure_rate: Option<u8>,
    /// Opens when at least this percentage of the window's calls was slow. 1 to 100.
    pub slow_rate: Option<u8>,
    /// A call that takes longer than this is slow, however it ends.
    pub slow_after: Duration,
    /// Opens after this many failures without a success between them. At least 1.
    pub failure_threshold: Option<u32>,
    /// How long it stays open the first time, and at least every time. 1 ms to a day.
    pub recovery: Duration,
    /// Longest that it stays open after trials failed. `recovery` to a day.
    pub max_recovery: Duration,
    /// Trial permits that may be out at once while half-open. 1 to 8.
    pub max_trials: u32,
    /// How long a trial permit is good; then another takes its place and its outcome says nothing. Longer than any call's timeout.
    pub trial_lease: Duration,
    /// Trials that must succeed, with none failing, before it closes. At least 1.
    pub success_threshold: u32,
    /// After closing, 10 % of the calls are admitted for the first half of this time, 30 % for the second. Zero admits all at once.
    pub ramp: Duration,
}

impl Default for Settings {
    /// Either trigger: half of at least ten calls in ten seconds, or five failures in a row, which covers callers that call rarely.
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            minimum_volume: 10,
            failure_rate: Some(50),
            slow_rate: None,
            slow_after: Duration::from_secs(5),
            failure_threshold: Some(5),
            recovery: Duration::from_secs(30),
            max_recovery: Duration::from_secs(300),
            max_trials: 3,
            trial_lease: Duration::from_secs(60),
            success_threshold: 3,
            ramp: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The preset `opossum`, by rate: half of at least five calls failing opens it for 30 s, one trial decides.
    #[must_use]
    pub fn opossum() -> Self {
        Self { minimum_volume: 5, failure_threshold: None, max_trials: 1, success_threshold: 1, ..Self::default() }
    }

    /// The preset `orchestry`, by consecutive failures: five open it for 60 s, three trials at once, three successes close it.
    #[must_use]
    pub fn orchestry() -> Self {
        Self { failure_rate: None, recovery: Duration::from_secs(60), ..Self::default() }
    }

    /// The settings of a preset by its name in a configuration: `opossum`, `orchestry` or `either` (the default).
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "opossum" => Some(Self::opossum()),
            "orchestry" => Some(Self::orchestry()),
            "either" => Some(Self::default()),
            _ => None,
        }
    }

    /// Checks every setting and prepares them for use.
    ///
    /// # Errors
    /// All the settings that are out of their range, not only the first.
    pub fn resolve(self) -> Result<Policy, SettingsError> {
        let mut faults = Vec::new();
        let mut check = |good: bool, fault: &'static str| {
            if !good {
                faults.push(fault);
            }
        };
        let percent = |rate: Option<u8>| rate.is_none_or(|rate| (1..=100).contains(&rate));
        let ms = Duration::from_millis;
        check((ms(10)..=DURATION_MAX).contains(&self.window), "window must be 10 ms to a day");
        check((1..=VOLUME_MAX).contains(&self.minimum_volume), "minimum_volume must be 1 to 500");
        check(percent(self.failure_rate), "failure_rate must be 1 to 100 %");
        check(percent(self.slow_rate), "slow_rate must be 1 to 100 %");
        check(self.slow_after <= DURATION_MAX, "slow_after must be at most a day");
        check(self.failure_threshold != Some(0), "failure_threshold must be at least 1");
        check((ms(1)..=DURATION_MAX).contains(&self.recovery), "recovery must be 1 ms to a day");
        check((self.recovery..=DURATION_MAX).contains(&self.max_recovery), "max_recovery must be recovery to a day");
        check((1..=TRIALS_MAX).contains(&self.max_trials), "max_trials must be 1 to 8");
        check((ms(1)..=DURATION_MAX).contains(&self.trial_lease), "trial_lease must be 1 ms to a day");
        check(self.success_threshold >= 1, "success_threshold must be at least 1");
        check(self.ramp <= DURATION_MAX, "ramp must be at most a day");
        if faults.is_empty() { Ok(Policy::new(self)) } else { Err(SettingsError { faults }) }
    }
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// What is wrong, one sentence per setting.
    pub faults: Vec<&'static str>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("; "))
    }
}

impl std::error::Error for SettingsError {}

/// Checked settings, in the form that calls read. Share one among all breakers of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    settings: Settings,
    /// `2^64 / bucket width in nanoseconds`: a multiplication instead of a division on every call.
    reciprocal: u64,
    slow_after_ns: u64,
}

impl Policy {
    fn new(settings: Settings) -> Self {
        let width = nanoseconds(settings.window / 10).max(1);
        Self { settings, reciprocal: u64::MAX / width, slow_after_ns: nanoseconds(settings.slow_after) }
    }

    /// The settings it was made of.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The number of the bucket of time at `now_ns`.
    #[inline]
    pub(crate) fn bucket(&self, now_ns: u64) -> u64 {
        // The high half of a product of two 64-bit numbers fits 64 bits.
        ((u128::from(now_ns) * u128::from(self.reciprocal)) >> 64) as u64
    }

    #[inline]
    pub(crate) fn is_slow(&self, took: Duration) -> bool {
        self.settings.slow_rate.is_some() && nanoseconds(took) > self.slow_after_ns
    }

    /// How long it stays open the `attempt`-th time in a row, `draw` being uniform over all numbers. The first time (0) exactly `recovery`;
    /// then anything between that and a ceiling that doubles, up to `max_recovery` (full jitter above a floor: Brooker, "Exponential
    /// Backoff And Jitter", 2015), so that callers that opened together do not try together.
    #[must_use]
    pub fn wait(&self, attempt: u8, draw: u64) -> Duration {
        let floor = nanoseconds(self.settings.recovery);
        let ceiling = floor.saturating_mul(1 << attempt.min(30)).min(nanoseconds(self.settings.max_recovery));
        let span = (ceiling - floor) as u128 + 1;
        Duration::from_nanos(floor + ((u128::from(draw) * span) >> 64) as u64)
    }
}

/// Saturates after 584 years.
#[inline]
pub(crate) fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_those_of_the_two_guides() {
        let rate = Settings::preset("opossum").unwrap();
        assert_eq!((rate.failure_rate, rate.minimum_volume, rate.failure_threshold), (Some(50), 5, None));
        assert_eq!(rate.recovery, Duration::from_secs(30));
        let consecutive = Settings::preset("orchestry").unwrap();
        assert_eq!(
            (consecutive.failure_threshold, consecutive.success_threshold, consecutive.max_trials),
            (Some(5), 3, 3)
        );
        assert_eq!((consecutive.recovery, consecutive.failure_rate), (Duration::from_secs(60), None));
        assert!([rate, consecutive, Settings::default()].iter().all(|settings| settings.resolve().is_ok()));
        assert_eq!(Settings::preset("other"), None);
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let zero = Duration::ZERO;
        let bad = Settings {
            window: zero,
            minimum_volume: 0,
            failure_rate: Some(101),
            slow_rate: Some(0),
            slow_after: Duration::MAX,
            failure_threshold: Some(0),
            recovery: zero,
            max_recovery: Duration::MAX,
            max_trials: 9,
            trial_lease: zero,
            success_threshold: 0,
            ramp: Duration::MAX,
        };
        let error = bad.resolve().unwrap_err();
        assert_eq!(error.faults.len(), 12, "{error}");
        assert!(error.to_string().contains("max_trials must be 1 to 8; "));
        let short = Settings { max_recovery: Duration::from_secs(29), ..Settings::default() };
        assert_eq!(short.resolve().unwrap_err().faults, ["max_recovery must be recovery to a day"]);
    }

    #[test]
    fn waits_double_and_are_spread_over_everything_above_the_floor() {
        let policy = Settings::default().resolve().unwrap();
        let seconds = |attempt, draw| policy.wait(attempt, draw).as_secs();
        assert_eq!((seconds(0, 0), seconds(0, u64::MAX)), (30, 30));
        assert_eq!((seconds(1, 0), seconds(1, u64::MAX / 2), seconds(1, u64::MAX)), (30, 45, 60));
        assert_eq!((seconds(2, u64::MAX), seconds(3, u64::MAX), seconds(15, u64::MAX)), (120, 240, 300));
    }
}
