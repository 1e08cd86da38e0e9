//! Metric checks: finds a number in an answer, or in what a program wrote, and holds it to its limits.

use crate::exposition::Selector;
use crate::failure::Step;
use crate::findings::Findings;
use crate::json_path;
use crate::judge::{self, Answer};
use quorate_core::check::{Bad, Measure, Reading};
use quorate_core::{Cause, Grade, Level, Phase, ProbeFailure};
use serde_json::Value;

/// Judges an answer that is otherwise fine.
pub(crate) fn judge(check: &Measure, answer: &Answer<'_>, findings: &mut Findings) -> Step<()> {
    let unfound = |why: String| ProbeFailure::new(Phase::Assert, Cause::Content, format!("No number: {why}"));
    let values = values(&check.reading, answer).map_err(unfound)?;
    let found = match &check.per {
        None => worst(check.bad, &values),
        Some(per) => {
            let whole: f64 = self::values(per, answer).map_err(unfound)?.iter().sum();
            let share = values.iter().sum::<f64>() / whole;
            if whole != 0.0 && share.is_nan() {
                return Err(unfound(format!("{} divided by {} is none", name(&check.reading), name(per))));
            }
            (whole != 0.0).then_some(share)
        }
    };
    let beyond = |limit: Option<Level>, found: f64| {
        limit.is_some_and(|limit| match check.bad {
            Bad::High => found > limit.value(),
            Bad::Low => found < limit.value(),
        })
    };
    let (grade, shown) = match found {
        // A share of nothing is no reason to worry.
        None => (Grade::Pass, "a share of nothing".to_owned()),
        Some(found) if beyond(check.critical, found) => (Grade::Fail, found.to_string()),
        Some(found) if beyond(check.warning, found) => (Grade::Warn, found.to_string()),
        Some(found) => (Grade::Pass, found.to_string()),
    };
    let limit = if grade == Grade::Fail { check.critical } else { check.warning.or(check.critical) };
    let limit = limit.map(|limit| limit.to_string()).unwrap_or_default();
    let side = match check.bad {
        Bad::High => "above",
        Bad::Low => "below",
    };
    let detail = format!("{shown} is {side} {limit}");
    findings.judge(format!("{} is not {side} {limit}", name(&check.reading)), shown, grade, (Cause::Threshold, &detail))
}

fn name(reading: &Reading) -> &str {
    match reading {
        Reading::Json(text) | Reading::Prometheus(text) => text,
    }
}

/// Every number that fits; at least one.
fn values(reading: &Reading, answer: &Answer<'_>) -> Result<Vec<f64>, String> {
    let longer = answer.cut.map(|key| format!("; the answer is longer than `{key}`"));
    let found: Vec<f64> = match reading {
        // What is left of a number that was cut looks like another number.
        Reading::Json(_) if longer.is_some() => {
            return Err(format!("the JSON is not whole{}", longer.unwrap_or_default()));
        }
        Reading::Json(path) => {
            let document: Value = serde_json::from_slice(answer.body)
                .map_err(|error| format!("no JSON: {error}{}", judge::coded(answer)))?;
            let number = |value: &&Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
            json_path::select(path, &document)?
                .iter()
                .filter_map(number)
                .filter(|number| !number.is_infinite())
                .collect()
        }
        Reading::Prometheus(selector) => {
            let lines = if longer.is_some() { whole_lines(answer.body) } else { answer.body };
            let (selector, lines) = (Selector::parse(selector)?, String::from_utf8_lossy(lines));
            let found = selector.values(&lines);
            if let Some(longer) = longer.as_ref().filter(|_| !found.is_empty() && !selector.is_over(&lines)) {
                return Err(format!("more of {} may follow{longer}", name(reading)));
            }
            found
        }
    };
    let numbers: Vec<f64> = found.iter().copied().filter(|number| !number.is_nan()).collect();
    if numbers.is_empty() {
        let (name, longer) = (name(reading), longer.unwrap_or_default());
        return Err(match found.is_empty() {
            true => format!("nothing fits {name}{longer}"),
            false => format!("{name} is NaN, not a number{longer}"),
        });
    }
    Ok(numbers)
}

/// Without a last line that has no end.
fn whole_lines(text: &[u8]) -> &[u8] {
    memchr::memrchr(b'\n', text).and_then(|end| text.get(..=end)).unwrap_or_default()
}

fn worst(bad: Bad, values: &[f64]) -> Option<f64> {
    let worse = |a: f64, b: f64| match bad {
        Bad::High => a.max(b),
        Bad::Low => a.min(b),
    };
    values.iter().copied().reduce(worse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::check::PRESETS;

    fn check(reading: Reading) -> Measure {
        Measure { reading, per: None, bad: Bad::High, warning: Level::new(10.0), critical: Level::new(50.0) }
    }

    fn graded(check: &Measure, body: &str) -> Result<Grade, Cause> {
        let mut findings = Findings::default();
        let answer = Answer { body: body.as_bytes(), cut: None, headers: &hyper::HeaderMap::new() };
        match judge(check, &answer, &mut findings) {
            Ok(()) => Ok(findings.judgements[0].grade),
            Err(failure) if failure.cause == Cause::Threshold => Ok(Grade::Fail),
            Err(failure) => Err(failure.cause),
        }
    }

    #[test]
    fn numbers_are_held_to_their_limits() {
        let json = check(Reading::Json("$.queue.depth".into()));
        for (depth, grade) in [(10, Grade::Pass), (11, Grade::Warn), (50, Grade::Warn), (51, Grade::Fail)] {
            assert_eq!(graded(&json, &format!("{{\"queue\":{{\"depth\":{depth}}}}}")), Ok(grade), "{depth}");
        }
        let text = check(Reading::Prometheus("depth".into()));
        assert_eq!(graded(&text, "depth{q=\"a\"} 1\ndepth{q=\"b\"} 60\n"), Ok(Grade::Fail), "the worst counts");
        let low = Measure { bad: Bad::Low, warning: Level::new(0.8), critical: Level::new(0.6), ..text.clone() };
        let low = Measure { per: Some(Reading::Prometheus("asked".into())), ..low };
        assert_eq!(graded(&low, "depth 70\nasked 100\n"), Ok(Grade::Warn));
        assert_eq!(graded(&low, "depth 50\nasked 100\n"), Ok(Grade::Fail));
        assert_eq!(graded(&low, "depth 0\nasked 0\n"), Ok(Grade::Pass), "nothing was asked yet");
        for endless in ["depth +Inf\nasked +Inf\n", "depth{a=\"b\"} +Inf\ndepth{a=\"c\"} -Inf\nasked 1\n"] {
            assert_eq!(graded(&low, endless), Err(Cause::Content), "{endless:?}");
        }
        for missing in ["", "other 1\n", "depth NaN\n"] {
            assert_eq!(graded(&text, missing), Err(Cause::Content), "{missing:?}");
        }
        assert_eq!(graded(&json, "<html>"), Err(Cause::Content));
    }

    #[test]
    fn the_first_eviction_of_a_cache_is_worth_a_warning() {
        let preset = PRESETS.iter().find(|preset| preset.name == "cache_evictions").unwrap();
        let check = Measure {
            reading: Reading::Prometheus("redis_evicted_keys_total".into()),
            per: Some(Reading::Prometheus("redis_commands_processed_total".into())),
            bad: preset.bad,
            warning: Level::new(preset.warning),
            critical: Level::new(preset.critical),
        };
        for (evicted, grade) in [(0, Grade::Pass), (1, Grade::Warn), (10, Grade::Warn), (11, Grade::Fail)] {
            let page = format!("redis_evicted_keys_total {evicted}\nredis_commands_processed_total 1000\n");
            assert_eq!(graded(&check, &page), Ok(grade), "{evicted}");
        }
        assert_eq!(graded(&check, "redis_evicted_keys_total 0\nredis_commands_processed_total 0\n"), Ok(Grade::Pass));
    }

    #[test]
    fn what_is_not_a_number_is_told_apart_from_what_is_not_there() {
        let found = |check: &Measure, body: &str| {
            let answer = Answer { body: body.as_bytes(), cut: None, headers: &hyper::HeaderMap::new() };
            judge(check, &answer, &mut Findings::default()).map_err(|failure| failure.detail)
        };
        let none = |why: &str| Err(format!("No number: {why}"));
        let sample = |name: &str| check(Reading::Prometheus(name.into()));
        assert_eq!(found(&sample("depth"), "depth NaN\n"), none("depth is NaN, not a number"));
        assert_eq!(found(&sample("other"), "depth NaN\n"), none("nothing fits other"));
        assert_eq!(found(&sample("depth"), "depth{a=\"b\"} NaN\ndepth{a=\"c\"} 5\n"), Ok(()), "another one fits");
        let share = Measure { per: Some(Reading::Prometheus("asked".into())), ..sample("depth") };
        assert_eq!(found(&share, "depth 5\nasked nan\n"), none("asked is NaN, not a number"));
        let json = check(Reading::Json("$.a".into()));
        assert_eq!(found(&json, r#"{"a":"NaN"}"#), none("$.a is NaN, not a number"));
        assert_eq!(found(&json, r#"{"a":"inf"}"#), none("nothing fits $.a"));
    }

    #[test]
    fn a_number_that_was_cut_off_is_none() {
        let found = |reading, body: &[u8]| {
            let headers = hyper::HeaderMap::new();
            let answer = Answer { body, cut: Some("max_output_bytes"), headers: &headers };
            judge(&check(reading), &answer, &mut Findings::default()).map_err(|failure| failure.detail)
        };
        let sample = || Reading::Prometheus("depth".into());
        assert_eq!(found(sample(), b"depth 5\nother 1\noth"), Ok(()), "there is no more of it");
        let none = |why: &str| Err(format!("No number: {why}; the answer is longer than `max_output_bytes`"));
        assert_eq!(found(sample(), b"other 5\ndepth 9"), none("nothing fits depth"));
        assert_eq!(found(sample(), b"depth 9"), none("nothing fits depth"));
        assert_eq!(found(sample(), b"depth 5\ndepth 90"), none("more of depth may follow"));
        assert_eq!(found(Reading::Json("$".into()), b"9"), none("the JSON is not whole"));
    }

    #[test]
    fn presets_are_those_of_the_guides_tables() {
        let found =
            |name: &str| PRESETS.iter().find(|preset| preset.name == name).map(|p| (p.bad, p.warning, p.critical));
        assert_eq!(found("cache_hit_rate"), Some((Bad::Low, 0.8, 0.6)));
        assert_eq!(found("queue_depth"), Some((Bad::High, 10.0, 50.0)));
        for preset in PRESETS {
            let check = Measure {
                bad: preset.bad,
                warning: Level::new(preset.warning),
                critical: Level::new(preset.critical),
                ..check(Reading::Prometheus("depth".into()))
            };
            let between = (preset.warning + preset.critical) / 2.0;
            assert_eq!(graded(&check, &format!("depth {between}\n")), Ok(Grade::Warn), "{}", preset.name);
        }
    }
}
