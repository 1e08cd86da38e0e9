//! Conditions on an answer: bytes that appear, or a regular expression that matches.
//!
//! The far end decides how its answer is cut into pieces, so neither search may start over with each piece: bytes are searched with
//! an automaton that keeps its place (Knuth, Morris and Pratt, 1977), and the caller asks the expression only now and then.

use crate::exposition::Selector;
use crate::failure::Step;
use crate::findings::Findings;
use crate::json_path;
use quorate_core::check::limits::MAX_REGEX_BYTES;
use quorate_core::check::{DialogueStep, Measure, Reading};
use quorate_core::{Assertion, Cause, Check, CheckError, CheckKind, Condition, Expect, Grade, HttpCheck, Subject};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Bytes a compiled expression takes at most, and again for its search cache.
const MAX_COMPILED_BYTES: usize = 1024 * 1024;
/// Depth of an expression's parentheses at most.
const MAX_NESTING: u32 = 32;
/// Compiled expressions kept at most.
const MAX_COMPILED: usize = 256;

/// Tells which regular expressions and JSON paths of the check cannot be used: they are malformed, too long, or could take too long.
///
/// [`Check::validate`] leaves this to whoever runs the check; the loader of a configuration calls both.
#[must_use]
pub fn validate_patterns(check: &Check) -> Vec<CheckError> {
    let regex = |key, pattern: &str| compile(pattern).err().map(|message| CheckError { key, message });
    let expect = |key, expect: &Option<Expect>| match expect {
        Some(Expect::Regex(pattern)) => regex(key, pattern).into_iter().collect(),
        Some(Expect::Contains(_)) | None => Vec::new(),
    };
    let assertion = |assertion: &Assertion| {
        let matches = match &assertion.condition {
            Condition::Matches(pattern) => regex("assert", pattern),
            _ => None,
        };
        let path = match &assertion.subject {
            Subject::Json(path) => json_path::parse(path).err(),
            Subject::Body | Subject::Header(_) => None,
        };
        matches.into_iter().chain(path.map(|message| CheckError { key: "assert", message }))
    };
    let assertions = |http: &HttpCheck| http.assertions.iter().flat_map(assertion).collect::<Vec<_>>();
    let reading = |reading: &Reading| match reading {
        Reading::Json(path) => json_path::parse(path).err().map(|message| CheckError { key: "json", message }),
        Reading::Prometheus(sample) => {
            Selector::parse(sample).err().map(|message| CheckError { key: "prometheus", message })
        }
    };
    let of_step = |step: &DialogueStep| match step {
        DialogueStep::Turn { expect: condition, .. } => expect("expect_regex", condition),
        DialogueStep::StartTls => Vec::new(),
    };
    match &check.kind {
        CheckKind::Tcp(tcp) => expect("expect_regex", &tcp.expect),
        CheckKind::Dialogue(dialogue) => dialogue.steps.iter().flat_map(of_step).collect(),
        CheckKind::Udp(udp) => expect("expect_regex", &udp.expect),
        CheckKind::Dns(dns) => expect("expected_answer_regex", &dns.expect),
        CheckKind::Http(http) => assertions(http),
        CheckKind::Metric(metric) => {
            assertions(&metric.http).into_iter().chain(measure(&metric.measure).filter_map(reading)).collect()
        }
        CheckKind::Exec(exec) => exec.measure.iter().flat_map(measure).filter_map(reading).collect(),
        CheckKind::Unix(unix) => expect("expect_regex", &unix.expect),
        CheckKind::Tls(_)
        | CheckKind::Redis(_)
        | CheckKind::Postgres(_)
        | CheckKind::Grpc(_)
        | CheckKind::Icmp(_)
        | CheckKind::Container(_)
        | CheckKind::Systemd(_)
        | CheckKind::Push(_) => Vec::new(),
    }
}

fn measure(measure: &Measure) -> impl Iterator<Item = &Reading> {
    std::iter::once(&measure.reading).chain(&measure.per)
}

fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(format!("too long; at most {MAX_REGEX_BYTES} bytes"));
    }
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| format!("not a usable regular expression: {error}"))
}

/// Puts what was expected, if anything was, and whether it came, among the conditions that were judged.
pub(crate) fn note(place: &str, expect: Option<&Expect>, said: Step<()>, findings: &mut Findings) -> Step<()> {
    let Some(expect) = expect else { return said };
    let what = match expect {
        Expect::Contains(bytes) => format!("{place}answer contains {:?}", String::from_utf8_lossy(bytes)),
        Expect::Regex(pattern) => format!("{place}answer matches {pattern:?}"),
    };
    let (grade, found) = match said {
        Ok(()) => (Grade::Pass, "it does"),
        Err(_) => (Grade::Fail, "it does not"),
    };
    // The failure itself is the caller's.
    let _ = findings.judge(what, found, grade, (Cause::Content, ""));
    said
}

/// Expressions compiled so far.
#[derive(Default)]
pub(crate) struct Patterns(Mutex<HashMap<String, Regex>>);

impl Patterns {
    /// Makes `expect` ready for one answer.
    pub(crate) fn matcher(&self, expect: &Expect) -> Result<Matcher, String> {
        let pattern = match expect {
            Expect::Contains(bytes) => return Ok(Matcher::Bytes(Search::new(bytes))),
            Expect::Regex(pattern) => pattern,
        };
        self.regex(pattern).map(Matcher::Regex)
    }

    /// A compiled expression.
    pub(crate) fn regex(&self, pattern: &str) -> Result<Regex, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(regex) = known.get(pattern) {
            return Ok(regex.clone());
        }
        let regex = compile(pattern)?;
        if known.len() >= MAX_COMPILED {
            known.clear();
        }
        known.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    }
}

/// A condition being tried on one answer.
pub(crate) enum Matcher {
    Bytes(Search),
    Regex(Regex),
}

impl Matcher {
    /// Where in `bytes` the first match ends.
    pub(crate) fn end_in(&self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Bytes(search) => memchr::memmem::find(bytes, &search.needle).map(|at| at + search.needle.len()),
            Self::Regex(regex) => regex.find(bytes).map(|found| found.end()),
        }
    }
}

/// A search for bytes that keeps its place between pieces.
pub(crate) struct Search {
    needle: Vec<u8>,
    /// For each prefix of the needle, the length of its longest proper prefix that is also its suffix.
    borders: Vec<usize>,
    matched: usize,
}

impl Search {
    fn new(needle: &[u8]) -> Self {
        let mut search = Self { needle: needle.to_vec(), borders: Vec::with_capacity(needle.len()), matched: 0 };
        let mut border = 0;
        for (i, byte) in needle.iter().enumerate() {
            if i > 0 {
                border = search.step(border, *byte);
            }
            search.borders.push(border);
        }
        search
    }

    /// From `matched` bytes matched, how many are after `byte`?
    fn step(&self, mut matched: usize, byte: u8) -> usize {
        loop {
            if self.needle.get(matched) == Some(&byte) {
                return matched + 1;
            }
            match matched.checked_sub(1).and_then(|last| self.borders.get(last)) {
                Some(border) => matched = *border,
                None => return 0,
            }
        }
    }

    /// Goes on with the next piece; true once the needle has been seen.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> bool {
        for byte in piece {
            if self.matched == self.needle.len() {
                break;
            }
            self.matched = self.step(self.matched, *byte);
        }
        self.matched == self.needle.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::TcpCheck;

    fn check(pattern: &str) -> Check {
        let tcp = TcpCheck { expect: Some(Expect::Regex(pattern.into())), ..TcpCheck::default() };
        Check { kind: CheckKind::Tcp(tcp), ..Check::default() }
    }

    #[test]
    fn expressions_are_validated_with_limits() {
        assert_eq!(validate_patterns(&Check::default()), []);
        assert_eq!(validate_patterns(&check("^220 .*ready")), []);
        for bad in ["(", r"(\w{1000}){1000}", &"(".repeat(100), &"x".repeat(2000)] {
            let errors = validate_patterns(&check(bad));
            let error = errors.first().unwrap();
            assert_eq!(error.key, "expect_regex");
            assert!(!error.message.is_empty());
        }
        let nested = format!("{}x{}", "(?:".repeat(40), ")".repeat(40));
        assert!(!validate_patterns(&check(&nested)).is_empty(), "nesting is limited");
    }

    proptest::proptest! {
        #[test]
        fn the_search_agrees_with_the_naive_one(
            needle in proptest::collection::vec(0u8..3, 0..6),
            text in proptest::collection::vec(0u8..3, 0..40),
            cut in 1usize..7,
        ) {
            let mut search = Search::new(&needle);
            let mut found = search.feed(&[]);
            for piece in text.chunks(cut) {
                found = search.feed(piece);
            }
            let naive = needle.is_empty() || text.windows(needle.len()).any(|window| window == needle);
            proptest::prop_assert_eq!(found, naive);
        }
    }
}
