//! Simulated time: nanoseconds since the start of the run, the same for everybody. Agents only ever see their own clocks.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A moment of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SimTime(pub u64);

impl SimTime {
    /// The start of the run.
    pub const START: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many milliseconds into the run.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// Later by `span`.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }

    /// Earlier by `span`, at the earliest the start.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(span)))
    }

    /// The time from `earlier` to `self`, zero if that is negative.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// In seconds, for reports.
    pub fn as_secs_f64(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000 / 1000)
    }
}

/// A span in whole nanoseconds.
pub fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// The longest time of a plan: a week. Nobody would wait for the end of a run that has a longer one.
pub const LONGEST: Span = Span::secs(7 * 24 * 60 * 60);

/// A span as written in a plan: a whole number and a unit, such as `500ms`, `20s`, `2m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl Span {
    /// So many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The moment this long after the start.
    pub fn moment(self) -> SimTime {
        SimTime(nanos(self.0))
    }

    /// Reads a span of any length: one that is no time of a plan.
    ///
    /// # Errors
    /// Says how a time is written.
    pub fn read(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: Option<u64> = number.parse().ok().filter(|n| *n < 1_000_000_000);
        match (number, unit) {
            (Some(n), "us") => Ok(Self(Duration::from_micros(n))),
            (Some(n), "ms") => Ok(Self(Duration::from_millis(n))),
            (Some(n), "s") => Ok(Self(Duration::from_secs(n))),
            (Some(n), "m") => Ok(Self(Duration::from_secs(n * 60))),
            _ => Err(format!("{text:?} is not a time: write a whole number and `us`, `ms`, `s` or `m`, such as 500ms")),
        }
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let span = Self::read(&text)?;
        if span > LONGEST {
            return Err(format!("{text:?} is too long: a time of a plan is 7 days at most, which is 10080m"));
        }
        Ok(span)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        let us = span.0.as_micros();
        match us {
            _ if us.is_multiple_of(1_000_000) => format!("{}s", us / 1_000_000),
            _ if us.is_multiple_of(1000) => format!("{}ms", us / 1000),
            _ => format!("{us}us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_written() {
        for text in ["500ms", "20s", "7us", "1500ms"] {
            let span = Span::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(span), text);
        }
        assert_eq!(Span::try_from("2m".to_owned()), Ok(Span::secs(120)));
        for bad in ["", "5", "s", "1.5s", "-1s", "5h", "99999999999s"] {
            assert!(Span::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_of_a_plan_is_a_week_at_most() {
        assert_eq!(Span::try_from("10080m".to_owned()), Ok(LONGEST));
        for long in ["10081m", "604801s", "999999999m"] {
            assert!(Span::try_from(long.to_owned()).unwrap_err().contains("7 days at most"), "{long}");
            assert!(Span::read(long).unwrap() > LONGEST, "{long}");
        }
    }

    #[test]
    fn moments_are_shown_in_seconds() {
        assert_eq!(SimTime::from_ms(12_345).to_string(), "12.345000s");
    }
}
