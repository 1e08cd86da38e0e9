//! Shorter times and lower numbers, once the lists are as short as they can be.

use super::{Search, agents};
use crate::plan_table::{self, At};
use crate::time::Span;
use std::time::Duration;
use toml::{Table, Value};

/// The keys between which a fault lasts.
const WINDOWS: &[(&str, &str)] = &[("from", "to"), ("at", "restart_at")];
/// Before this no fault is moved: the mesh is still forming.
const FORMED: Duration = Duration::from_secs(15);
/// Times are not made rounder than this, nor windows shorter.
const STEP: Duration = Duration::from_millis(100);
/// Tables that say what is promised, and keys that say what the plan is about: they stay.
const KEPT: &[&str] = &["summary", "bounds", "faults", "services", "kind"];
/// Keys whose numbers are names, or order lists; they are not lowered.
const NAMES: &[&str] = &["agent", "agents", "groups", "senders", "receivers", "seen_by", "homes"];

impl Search<'_> {
    /// Brings the faults forward, then shortens each, then the run.
    pub(super) fn shorter_times(&mut self) {
        let faults = self.best.get("faults").and_then(Value::as_array).map_or(0, Vec::len);
        let first = (0..faults).filter_map(|fault| begin(&self.best, fault)).min();
        if let Some(early) = first.and_then(|first| first.checked_sub(FORMED)) {
            self.halving(early, |base, cut| {
                let mut plan = base.clone();
                (0..faults).for_each(|fault| moved(&mut plan, fault, cut));
                Some(plan)
            });
        }
        for fault in 0..faults {
            for (from, to) in WINDOWS {
                let (Some(begin), Some(end)) = (time(&self.best, fault, from), time(&self.best, fault, to)) else {
                    continue;
                };
                self.halving(end.saturating_sub(begin + STEP), |base, cut| {
                    let mut plan = base.clone();
                    set_time(&mut plan, fault, to, end - cut);
                    Some(plan)
                });
            }
        }
        let duration = self.best.get("duration").and_then(span);
        self.halving(duration.unwrap_or(Duration::from_secs(60)).saturating_sub(STEP), |base, cut| {
            let mut plan = base.clone();
            let left = duration.unwrap_or(Duration::from_secs(60)) - cut;
            plan.insert("duration".to_owned(), Value::String(Span(left).into()));
            Some(plan)
        });
    }

    /// Cuts as much of `most` as still fails: all of it, or half, and so on, each time what is left of the last step that succeeded.
    fn halving(&mut self, most: Duration, cut: impl Fn(&Table, Duration) -> Option<Table>) {
        let base = self.best.clone();
        let (mut done, mut step) = (Duration::ZERO, most);
        while step >= STEP {
            if done + step <= most && cut(&base, done + step).is_some_and(|candidate| self.take(candidate)) {
                done += step;
            }
            step = rounded(step / 2);
        }
    }

    /// Leaves out every key that may be absent, unless the plan has more agents then.
    pub(super) fn without_keys(&mut self) {
        for path in plan_table::paths(&self.best) {
            let Some(At::Key(key)) = path.last() else { continue };
            let kept =
                KEPT.contains(&key.as_str()) || matches!(path.first(), Some(At::Key(first)) if first == "bounds");
            let mut candidate = self.best.clone();
            plan_table::remove(&mut candidate, &path);
            let larger = agents::count(&candidate) > agents::count(&self.best);
            // The end of a fault may be absent, but then it never ends.
            if !kept && !larger && !WINDOWS.iter().any(|(_, to)| to == key) && candidate != self.best {
                self.take(candidate);
            }
        }
    }

    /// Lowers every number that is neither a name nor a time, as far as it goes.
    pub(super) fn lower_numbers(&mut self) {
        for path in plan_table::paths(&self.best) {
            let named = path.iter().any(|at| matches!(at, At::Key(key) if NAMES.contains(&key.as_str())));
            let bound = matches!(path.first(), Some(At::Key(first)) if first == "bounds");
            let Some(Value::Integer(number)) = plan_table::find(&mut self.best, &path).cloned() else { continue };
            let mut step = number;
            let mut value = number;
            while !named && !bound && step > 0 {
                let mut candidate = self.best.clone();
                if let Some(place) = plan_table::find(&mut candidate, &path) {
                    *place = Value::Integer(value - step);
                }
                if value >= step && self.take(candidate) {
                    value -= step;
                }
                step /= 2;
            }
        }
    }
}

fn span(value: &Value) -> Option<Duration> {
    Span::try_from(value.as_str()?.to_owned()).ok().map(|span| span.0)
}

fn rounded(span: Duration) -> Duration {
    let steps = span.as_millis() / STEP.as_millis();
    STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

fn time(plan: &Table, fault: usize, key: &str) -> Option<Duration> {
    span(plan.get("faults")?.get(fault)?.get(key)?)
}

fn begin(plan: &Table, fault: usize) -> Option<Duration> {
    WINDOWS.iter().find_map(|(from, _)| time(plan, fault, from))
}

fn set_time(plan: &mut Table, fault: usize, key: &str, time: Duration) {
    let fault = plan.get_mut("faults").and_then(|faults| faults.get_mut(fault)).and_then(Value::as_table_mut);
    if let Some(fault) = fault {
        fault.insert(key.to_owned(), Value::String(Span(time).into()));
    }
}

/// Moves a fault so much earlier.
fn moved(plan: &mut Table, fault: usize, cut: Duration) {
    for key in WINDOWS.iter().flat_map(|(from, to)| [from, to]) {
        if let Some(at) = time(plan, fault, key) {
            set_time(plan, fault, key, at.saturating_sub(cut));
        }
    }
}
