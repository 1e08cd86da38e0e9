//! One call through a breaker, with a timeout, metrics and an optional fallback.

use super::registry::{Breakers, Guard, Handle};
use crate::permit::{Fault, Outcome, Rejected};
use std::fmt;
use std::time::Duration;

/// The instance that stands for a service as a whole, for callers who do not choose among instances.
const WHOLE_SERVICE: &str = "default";

/// Why a call gave no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError<E> {
    /// It was not made.
    Rejected(Rejected),
    /// It did not end in time; its future was dropped.
    TimedOut,
    /// It was made, and failed.
    Failed(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => write!(f, "not called: {rejected}"),
            Self::TimedOut => f.write_str("the call did not end in time"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for CallError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::TimedOut => None,
            Self::Failed(error) => Some(error),
        }
    }
}

/// What a result says about the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// For the breaker.
    pub outcome: Outcome,
    /// For `external_call_errors_total`, unless the outcome is a success: one of a few fixed words.
    pub error_type: &'static str,
}

/// `Ok` is a success, `Err` a failure of the instance, of type `error`.
pub fn judge_by_result<T, E>(result: &Result<T, E>) -> Judged {
    let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Failure(Fault::Answer) };
    Judged { outcome, error_type: "error" }
}

impl Breakers {
    /// Calls a service as a whole: runs `future` for at most `timeout` if its breaker allows that, and records
    /// `external_call_duration_seconds`, `external_calls_total` and `external_call_errors_total`.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use quorate_breaker::{Breakers, Settings};
    /// use std::time::Duration;
    ///
    /// let breakers = Breakers::builder().service("openai", Settings::opossum()).build(&prometheus::Registry::new())?;
    ///
    /// let embedded = async { Ok::<_, std::io::Error>("vector") };
    /// let answer = breakers.call("openai", "embeddings", Duration::from_secs(30), embedded).await?;
    /// assert_eq!(answer, "vector");
    ///
    /// // With a fallback there is always an answer.
    /// let failing = async { Err(std::io::Error::other("no")) };
    /// let answer = breakers.call_or("openai", "chat", Duration::from_secs(30), failing, |_error| "later").await;
    /// assert_eq!(answer, "later");
    /// assert!(breakers.is_healthy("openai"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the breaker rejected the call, it took too long, or it failed.
    pub async fn call<T, E>(
        &self,
        service: &str,
        operation: &str,
        timeout: Duration,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.handle(service, WHOLE_SERVICE).call(operation, timeout, future).await
    }

    /// As [`call`](Self::call), but whatever goes wrong is answered by `fallback`. It is recorded all the same.
    pub async fn call_or<T, E>(
        &self,
        service: &str,
        operation: &str,
        timeout: Duration,
        future: impl Future<Output = Result<T, E>>,
        fallback: impl FnOnce(CallError<E>) -> T,
    ) -> T {
        self.call(service, operation, timeout, future).await.unwrap_or_else(fallback)
    }
}

impl Handle {
    /// Calls this instance; see [`Breakers::call`].
    ///
    /// # Errors
    /// When the breaker rejected the call, it took too long, or it failed.
    pub async fn call<T, E>(
        &self,
        operation: &str,
        timeout: Duration,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.call_judged(operation, timeout, future, judge_by_result).await
    }

    /// Calls this instance, and has `judge` say what the result proves: that a `404` is the caller's own fault, say, or that an `Ok` with
    /// status 503 is a failure.
    ///
    /// # Errors
    /// When the breaker rejected the call, it took too long, or it failed.
    pub async fn call_judged<T, E>(
        &self,
        operation: &str,
        timeout: Duration,
        future: impl Future<Output = Result<T, E>>,
        judge: impl FnOnce(&Result<T, E>) -> Judged,
    ) -> Result<T, CallError<E>> {
        let guard = match self.enter() {
            Ok(guard) => guard,
            Err(rejected) => {
                self.metrics().rejected(self.service(), operation, rejected.why.as_str());
                return Err(CallError::Rejected(rejected));
            }
        };
        let running = Running { handle: self, operation, guard: Some(guard) };
        match tokio::time::timeout(timeout, future).await {
            Ok(result) => {
                running.end(judge(&result));
                result.map_err(CallError::Failed)
            }
            Err(_elapsed) => {
                running.end(Judged { outcome: Outcome::Failure(Fault::Silence), error_type: "timeout" });
                Err(CallError::TimedOut)
            }
        }
    }
}

/// A call under way: ended by its result, or cancelled when the caller drops it.
struct Running<'a> {
    handle: &'a Handle,
    operation: &'a str,
    guard: Option<Guard>,
}

impl Running<'_> {
    fn end(mut self, judged: Judged) {
        let status = match judged.outcome {
            Outcome::Success => "success",
            Outcome::Failure(_) => "error",
            Outcome::Neutral => "neutral",
        };
        let error_type = (judged.outcome != Outcome::Success).then_some(judged.error_type);
        self.finish(judged.outcome, status, error_type);
    }

    fn finish(&mut self, outcome: Outcome, status: &str, error_type: Option<&str>) {
        let Some(guard) = self.guard.take() else { return };
        let took = guard.finish(outcome);
        let (metrics, service) = (self.handle.metrics(), self.handle.service());
        metrics.called(service, self.operation, status, took);
        if let Some(error_type) = error_type {
            metrics.failed(service, self.operation, error_type);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.finish(Outcome::Neutral, "cancelled", None);
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
