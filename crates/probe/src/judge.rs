//! Judges an answer by the conditions of its check, each of which is told in the outcome.

use crate::expect::Patterns;
use crate::failure::{Step, unprepared};
use crate::findings::Findings;
use crate::json_path;
use hyper::header::CONTENT_ENCODING;
use quorate_core::{Assertion, Cause, Condition, Grade, Subject};
use regex::bytes::Regex;
use serde_json::Value;

/// An answer as the conditions see it.
pub(crate) struct Answer<'a> {
    pub(crate) body: &'a [u8],
    /// The setting that cut it, if there was more of it than may be read.
    pub(crate) cut: Option<&'static str>,
    pub(crate) headers: &'a hyper::HeaderMap,
}

/// Judges every condition; the first that fails the probe is the one reported, all are told.
pub(crate) fn assertions(
    patterns: &Patterns,
    assertions: &[Assertion],
    answer: &Answer<'_>,
    findings: &mut Findings,
) -> Step<()> {
    let mut json: Option<Result<Value, String>> = None;
    let mut result = Ok(());
    for assertion in assertions {
        let pattern = match &assertion.condition {
            Condition::Matches(pattern) => Some(patterns.regex(pattern).map_err(unprepared)?),
            _ => None,
        };
        let (met, found) = match &assertion.subject {
            Subject::Body => {
                let (met, found) = one(&assertion.condition, pattern.as_ref(), answer.body);
                match answer.cut {
                    // What cannot be told does not hold, whatever is asked.
                    Some(key) if !is_settled(&assertion.condition, met, answer.body) => {
                        (assertion.negated, format!("an answer longer than `{key}`: {found}"))
                    }
                    _ => (met, found),
                }
            }
            Subject::Header(name) => {
                let values = answer.headers.get_all(name.as_str()).iter().map(|value| value.as_bytes());
                any(&assertion.condition, pattern.as_ref(), values)
            }
            Subject::Json(path) => match json.get_or_insert_with(|| parse(answer)) {
                Ok(document) => {
                    let selected = json_path::select(path, document).map_err(unprepared)?;
                    all(&assertion.condition, pattern.as_ref(), &selected)
                }
                // What is not JSON holds no value, whatever is asked of it.
                Err(why) => (assertion.negated, why.clone()),
            },
        };
        let grade = if met == assertion.negated { assertion.otherwise } else { Grade::Pass };
        let detail = format!("Unexpected response content: {assertion}; found {found}");
        let judged = findings.judge(assertion.to_string(), found, grade, (Cause::Content, &detail));
        result = result.and(judged);
    }
    result
}

fn parse(answer: &Answer<'_>) -> Result<Value, String> {
    if let Some(key) = answer.cut {
        return Err(format!("an answer longer than `{key}`"));
    }
    serde_json::from_slice(answer.body).map_err(|error| format!("no JSON: {error}{}", coded(answer)))
}

/// Says so when the body is not in plain: it may be compressed, which no check asks for by itself.
pub(crate) fn coded(answer: &Answer<'_>) -> String {
    let coding = answer.headers.get(CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    match coding.filter(|coding| !coding.eq_ignore_ascii_case("identity")) {
        Some(coding) => format!("; the answer is encoded ({coding:?}), which is not undone"),
        None => String::new(),
    }
}

/// Is it so, or not so, whatever comes after what was read?
fn is_settled(condition: &Condition, met: bool, read: &[u8]) -> bool {
    match condition {
        Condition::Exists => true,
        Condition::Equals(text) => !text.as_bytes().starts_with(read),
        Condition::Contains(_) | Condition::Matches(_) => met,
        Condition::Above(_) | Condition::Below(_) => false,
    }
}

fn one(condition: &Condition, pattern: Option<&Regex>, bytes: &[u8]) -> (bool, String) {
    (holds(condition, pattern, bytes), shown(bytes))
}

fn any<'a>(condition: &Condition, pattern: Option<&Regex>, values: impl Iterator<Item = &'a [u8]>) -> (bool, String) {
    let mut found = Vec::new();
    for value in values {
        found.push(shown(value));
        if holds(condition, pattern, value) {
            return (true, shown(value));
        }
    }
    (false, if found.is_empty() { "none".to_owned() } else { found.join(", ") })
}

fn all(condition: &Condition, pattern: Option<&Regex>, values: &[&Value]) -> (bool, String) {
    let met = !values.is_empty() && values.iter().all(|value| holds(condition, pattern, text(value).as_bytes()));
    let found: Vec<String> = values.iter().take(4).map(|value| shown(text(value).as_bytes())).collect();
    (met, if found.is_empty() { "none".to_owned() } else { found.join(", ") })
}

/// A text as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn holds(condition: &Condition, pattern: Option<&Regex>, bytes: &[u8]) -> bool {
    let number = || std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse::<f64>().ok());
    match condition {
        Condition::Exists => true,
        Condition::Equals(text) => bytes == text.as_bytes(),
        Condition::Contains(text) => memchr::memmem::find(bytes, text.as_bytes()).is_some(),
        Condition::Matches(_) => pattern.is_some_and(|pattern| pattern.is_match(bytes)),
        Condition::Above(level) => number().is_some_and(|number| number > level.value()),
        Condition::Below(level) => number().is_some_and(|number| number < level.value()),
    }
}

fn shown(bytes: &[u8]) -> String {
    const MAX: usize = 80;
    let text = String::from_utf8_lossy(bytes.get(..MAX.min(bytes.len())).unwrap_or_default());
    format!("{text:?}{}", if bytes.len() > MAX { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::Level;

    /// Judges one body by one condition.
    fn judged(body: &str, assertion: Assertion) -> (Step<()>, Findings) {
        let mut findings = Findings::default();
        let headers = [("x-service", "web"), ("x-service", "api")].into_iter().map(|(name, value)| {
            (hyper::header::HeaderName::from_static(name), hyper::header::HeaderValue::from_static(value))
        });
        let headers: hyper::HeaderMap = headers.fold(hyper::HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        });
        let answer = Answer { body: body.as_bytes(), cut: None, headers: &headers };
        let result = assertions(&Patterns::default(), &[assertion], &answer, &mut findings);
        (result, findings)
    }

    fn on(subject: Subject, condition: Condition) -> Assertion {
        Assertion { subject, condition, negated: false, otherwise: Grade::Fail }
    }

    #[test]
    fn each_subject_and_condition() {
        let json = |path: &str| Subject::Json(path.to_owned());
        let header = |name: &str| Subject::Header(name.to_owned());
        let level = |number| Level::new(number).unwrap();
        let text = |text: &str| text.to_owned();
        let body = r#"{"status":"ok","queue":{"depth":12},"checks":[{"s":"ok"},{"s":"ok"}],"rate":"0.5","none":null}"#;
        let table = [
            (on(Subject::Body, Condition::Contains(text("\"ok\""))), true),
            (on(Subject::Body, Condition::Contains(text("down"))), false),
            (on(Subject::Body, Condition::Matches(text("\"depth\":1\\d"))), true),
            (on(Subject::Body, Condition::Equals(text("ok"))), false),
            (on(header("X-Service"), Condition::Equals(text("api"))), true),
            (on(header("X-Service"), Condition::Equals(text("db"))), false),
            (on(header("X-Other"), Condition::Exists), false),
            (on(json("$.status"), Condition::Equals(text("ok"))), true),
            (on(json("$.queue.depth"), Condition::Above(level(10.0))), true),
            (on(json("$.queue.depth"), Condition::Above(level(12.0))), false),
            (on(json("$.queue.depth"), Condition::Below(level(12.5))), true),
            (on(json("$.rate"), Condition::Below(level(1.0))), true),
            (on(json("$.status"), Condition::Above(level(0.0))), false),
            (on(json("$.checks[*].s"), Condition::Equals(text("ok"))), true),
            (on(json("$.checks[*]"), Condition::Equals(text("ok"))), false),
            (on(json("$.none"), Condition::Exists), true),
            (on(json("$.missing"), Condition::Exists), false),
        ];
        for (assertion, met) in table {
            let (result, findings) = judged(body, assertion.clone());
            assert_eq!(result.is_ok(), met, "{assertion}: {:?}", findings.judgements);
            let not = Assertion { negated: true, ..assertion.clone() };
            assert_eq!(judged(body, not.clone()).0.is_ok(), !met, "{not}");
            let warn = Assertion { otherwise: Grade::Warn, ..assertion };
            let (result, findings) = judged(body, warn);
            assert!(result.is_ok() && findings.warning.is_some() != met);
        }
    }

    #[test]
    fn what_is_no_json_fails_in_both_directions() {
        for negated in [false, true] {
            let assertion = Assertion { negated, ..on(Subject::Json("$.a".into()), Condition::Exists) };
            let failure = judged("<html>", assertion).0.unwrap_err();
            assert_eq!(failure.cause, Cause::Content);
            assert!(failure.detail.contains("no JSON"), "{}", failure.detail);
        }
    }

    #[test]
    fn a_body_that_came_compressed_is_said_to_be() {
        let detail = |coding: &'static str| {
            let coding = hyper::header::HeaderValue::from_static(coding);
            let headers = hyper::HeaderMap::from_iter([(CONTENT_ENCODING, coding)]);
            let answer = Answer { body: b"\x1f\x8b", cut: None, headers: &headers };
            let assertion = on(Subject::Json("$.a".into()), Condition::Exists);
            let result = assertions(&Patterns::default(), &[assertion], &answer, &mut Findings::default());
            result.unwrap_err().detail
        };
        assert!(
            detail("gzip").ends_with("; the answer is encoded (\"gzip\"), which is not undone"),
            "{}",
            detail("gzip")
        );
        assert!(!detail("identity").contains("encoded"));
    }

    #[test]
    fn what_the_unread_rest_could_change_does_not_hold() {
        let headers = hyper::HeaderMap::new();
        let result = |subject, condition, negated| {
            let answer = Answer { body: b"12 ok", cut: Some("max_body_bytes"), headers: &headers };
            let assertion = Assertion { negated, ..on(subject, condition) };
            assertions(&Patterns::default(), &[assertion], &answer, &mut Findings::default())
        };
        let text = |text: &str| text.to_owned();
        let level = |number| Level::new(number).unwrap();
        let body = || Subject::Body;
        // Each with: does it pass, does its opposite?
        let table = [
            (body(), Condition::Contains(text("ok")), true, false),
            (body(), Condition::Contains(text("error")), false, false),
            (body(), Condition::Matches(text("o.")), true, false),
            (body(), Condition::Matches(text("error")), false, false),
            (body(), Condition::Equals(text("12 ok")), false, false),
            (body(), Condition::Equals(text("12 ok, really")), false, false),
            (body(), Condition::Equals(text("other")), false, true),
            (body(), Condition::Above(level(1.0)), false, false),
            (Subject::Json("$".into()), Condition::Exists, false, false),
        ];
        for (subject, condition, passes, opposite) in table {
            let told = format!("{subject:?} {condition:?}");
            assert_eq!(result(subject.clone(), condition.clone(), false).is_ok(), passes, "{told}");
            assert_eq!(result(subject, condition, true).is_ok(), opposite, "{told}");
        }
        let failure = result(Subject::Body, Condition::Contains(text("error")), true).unwrap_err();
        assert!(failure.detail.contains("longer than `max_body_bytes`"), "{}", failure.detail);
    }

    proptest::proptest! {
        /// The far end chooses the body.
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300), path in r"\$(\.\.?[a-z*]|\[[0-9*]\]|\[\?@\.a\])*") {
            let answer = Answer { body: &body, cut: None, headers: &hyper::HeaderMap::new() };
            for subject in [Subject::Body, Subject::Json(path)] {
                for condition in [Condition::Matches("(a|b)*c".into()), Condition::Above(Level::new(1.0).unwrap())] {
                    let _ = assertions(&Patterns::default(), &[on(subject.clone(), condition)], &answer, &mut Findings::default());
                }
            }
        }
    }
}
