//! Parameters of requests: declared with the operation, read and checked before it runs.

use super::Refusal;
use super::limits::{MAX_NAME_CHARS, MAX_PAGE, MAX_PARAMETER_CHARS, MAX_WAIT};
use crate::spelling::nearest;
use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::time::Duration;

/// What a zone's name looks like.
pub const ZONE_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
/// What a duration looks like. One that is longer than [`MAX_WAIT`] stands for that: readers who would wait for an hour wait again.
pub const WAIT_PATTERN: &str = "^(0|(0|[1-9][0-9]{0,8})(ms|s|m|h))$";

/// One parameter in the query.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What may be given.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
}

/// What a parameter holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text, at most [`MAX_PARAMETER_CHARS`].
    Text,
    /// `true` or `false`; nothing stands for `true`.
    Flag,
    /// A whole number between these.
    Count(u64, u64),
    /// A duration such as `30s`; of a longer one than [`MAX_WAIT`] so much.
    Wait,
    /// A zone's name.
    Zone,
    /// One of these words.
    Word(fn() -> Vec<&'static str>),
    /// Some of these words, with commas between.
    Words(fn() -> Vec<&'static str>),
    /// Any words, with commas between; it may be given several times.
    Names,
}

/// What was given for a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Flag(bool),
    Count(u64),
    Wait(Duration),
    Words(Vec<&'static str>),
    Names(Vec<String>),
}

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(&'static str, Value)>);

impl Parameters {
    /// Reads the query of `uri`. A strict operation takes no parameter that it does not declare.
    ///
    /// # Errors
    /// When one is unknown, given twice, or cannot be read.
    pub fn read(uri: &Uri, declared: &[&Parameter], strict: bool) -> Result<Self, Refusal> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(Self::default());
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let Query(pairs) = pairs.map_err(|error| Refusal::bad_request(error.body_text()))?;
        let mut read = Self::default();
        for (name, text) in pairs {
            let Some(parameter) = declared.iter().find(|parameter| parameter.name == name) else {
                if strict {
                    return Err(unknown(&name, declared));
                }
                continue;
            };
            if !matches!(parameter.kind, Kind::Names) && read.has(&name) {
                return Err(Refusal::bad_request(format!("{name} is given twice")));
            }
            let value = value(parameter.kind, &text);
            let value = value.map_err(|rule| Refusal::bad_request(format!("{name}={}: {rule}", shown(&text))))?;
            read.0.push((parameter.name, value));
        }
        Ok(read)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Was it given?
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A flag; false when it is absent.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Flag(true))
    }

    /// A number.
    pub fn count(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::Count(count)) => Some(*count),
            _ => None,
        }
    }

    /// A duration.
    pub fn wait(&self, name: &str) -> Option<Duration> {
        match self.get(name) {
            Some(Value::Wait(wait)) => Some(*wait),
            _ => None,
        }
    }

    /// Every name that was given.
    pub fn names(&self, name: &str) -> Vec<&str> {
        let given = self.0.iter().filter(|(known, _)| *known == name);
        let names = given.filter_map(|(_, value)| match value {
            Value::Names(names) => Some(names),
            _ => None,
        });
        names.flatten().map(String::as_str).collect()
    }

    /// Is `found` among the words that were given, or were none given?
    pub fn admits(&self, name: &str, found: &str) -> bool {
        match self.get(name) {
            Some(Value::Words(words)) => words.contains(&found),
            Some(Value::Text(text)) => text == found,
            _ => true,
        }
    }
}

/// As the guard has read them.
impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

fn unknown(name: &str, declared: &[&Parameter]) -> Refusal {
    let names = || declared.iter().map(|parameter| parameter.name);
    let known: Vec<_> = names().collect();
    let known =
        if known.is_empty() { "there is none here".to_owned() } else { format!("known are {}", known.join(", ")) };
    Refusal::bad_request(format!("{} is not a known parameter; {known}", shown(name))).nearest(nearest(
        name,
        names(),
        3,
    ))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(128).collect()
}

fn value(kind: Kind, text: &str) -> Result<Value, String> {
    if !matches!(kind, Kind::Names) && text.chars().count() > MAX_PARAMETER_CHARS {
        return Err(format!("is too long; at most {MAX_PARAMETER_CHARS} characters"));
    }
    match kind {
        Kind::Text | Kind::Zone => Ok(Value::Text(text.to_owned())),
        Kind::Flag => match text {
            "" | "true" | "1" => Ok(Value::Flag(true)),
            "false" | "0" => Ok(Value::Flag(false)),
            _ => Err("use true or false".to_owned()),
        },
        Kind::Count(least, most) => match text.parse::<u64>() {
            Ok(count) if (least..=most).contains(&count) => Ok(Value::Count(count)),
            _ => Err(format!("use a whole number from {least} to {most}")),
        },
        Kind::Wait => match span(text) {
            Some(wait) => Ok(Value::Wait(wait.min(MAX_WAIT))),
            None => Err("use a duration such as 30s, 500ms or 1m".to_owned()),
        },
        Kind::Names => match text.split(',').find(|name| name.chars().count() > MAX_NAME_CHARS) {
            Some(_) => Err(format!("a name has at most {MAX_NAME_CHARS} characters")),
            None => Ok(Value::Names(text.split(',').map(|name| name.trim().to_owned()).collect())),
        },
        Kind::Words(known) => {
            let known = known();
            let words: Option<Vec<_>> = text.split(',').map(|part| among(&known, part.trim())).collect();
            words.map(Value::Words).ok_or_else(|| format!("use {}", known.join(", ")))
        }
        Kind::Word(known) => {
            let known = known();
            let word = among(&known, text).map(|word| Value::Words(vec![word]));
            word.ok_or_else(|| format!("use one of {}", known.join(", ")))
        }
    }
}

fn among(known: &[&'static str], word: &str) -> Option<&'static str> {
    known.iter().find(|known| **known == word).copied()
}

/// As [`WAIT_PATTERN`] says.
fn span(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let plain = digits.bytes().all(|c| c.is_ascii_digit()) && digits.len() <= 9;
    let count: u64 = digits.parse().ok().filter(|_| plain && (digits == "0" || !digits.starts_with('0')))?;
    match &text[digits.len()..] {
        "h" => Some(Duration::from_secs(count * 3600)),
        "m" => Some(Duration::from_secs(count * 60)),
        "s" => Some(Duration::from_secs(count)),
        "ms" => Some(Duration::from_millis(count)),
        "" if count == 0 => Some(Duration::ZERO),
        _ => None,
    }
}

/// One part of a list, as `limit` and `after` ask for it.
#[derive(Debug)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// How many there are on all pages.
    pub total: usize,
    /// What to give as `after` for the next page; none when this is the last.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Takes the part that is asked for. `key` is unique and ascends with the list.
    pub fn of(parameters: &Parameters, all: Vec<T>, key: impl Fn(&T) -> String) -> Self {
        let total = all.len();
        let limit = parameters.count("limit").unwrap_or(MAX_PAGE);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut entries: Vec<T> = match parameters.text("after") {
            Some(after) => all.into_iter().filter(|entry| key(entry).as_str() > after).collect(),
            None => all,
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(key);
        Self { entries, total, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Parameter = Parameter { name: "name", kind: Kind::Text, help: "" };
    const LIMIT: Parameter = Parameter { name: "limit", kind: Kind::Count(1, 10), help: "" };
    const AFTER: Parameter = Parameter { name: "after", kind: Kind::Text, help: "" };
    const HOSTS: Parameter = Parameter { name: "hosts", kind: Kind::Flag, help: "" };
    const WAIT: Parameter = Parameter { name: "wait", kind: Kind::Wait, help: "" };
    const NAMES: Parameter = Parameter { name: "names", kind: Kind::Names, help: "" };
    const FORM: Parameter = Parameter { name: "form", kind: Kind::Word(|| vec!["json", "text"]), help: "" };
    const STATE: Parameter = Parameter { name: "state", kind: Kind::Words(|| vec!["up", "down"]), help: "" };

    fn read(query: &str, strict: bool) -> Result<Parameters, String> {
        let uri = format!("/x?{query}").parse().unwrap();
        let read = Parameters::read(&uri, &[&NAME, &LIMIT, &AFTER, &HOSTS, &WAIT, &NAMES, &STATE, &FORM], strict);
        read.map_err(|refusal| refusal.into_answer("").1.detail)
    }

    #[test]
    fn each_kind_is_read() {
        let read = read("name=a%20b&limit=3&hosts&wait=40s&state=up,%20down", true).unwrap();
        assert_eq!((read.text("name"), read.count("limit"), read.flag("hosts")), (Some("a b"), Some(3), true));
        assert_eq!(read.wait("wait"), Some(Duration::from_secs(40)));
        assert!(read.admits("state", "down") && read.admits("name", "a b") && !read.admits("name", "b"));
        assert!(!super::tests::read("state=up", true).unwrap().admits("state", "down"));
        assert!(super::tests::read("form=text", true).unwrap().admits("form", "text"));
    }

    #[test]
    fn nobody_waits_longer_than_is_allowed() {
        for (text, seconds) in [
            ("0", 0),
            ("0s", 0),
            ("1m", 50),
            ("1h", 50),
            ("999999999h", 50),
            ("51s", 50),
            ("50001ms", 50),
            ("7000ms", 7),
        ] {
            let read = read(&format!("wait={text}"), true).unwrap();
            assert_eq!(read.wait("wait"), Some(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (query, words) in [
            ("nmae=1", "nmae is not a known parameter"),
            ("name=1&name=2", "given twice"),
            ("limit=11", "1 to 10"),
            ("limit=0", "1 to 10"),
            ("limit=-1", "1 to 10"),
            ("hosts=maybe", "true or false"),
            ("wait=30", "such as 30s"),
            ("wait=", "such as 30s"),
            ("wait=-1s", "such as 30s"),
            ("wait=1.5s", "such as 30s"),
            ("wait=1d", "such as 30s"),
            ("wait=%2B5s", "such as 30s"),
            ("wait=050s", "such as 30s"),
            ("wait=1000000000ms", "such as 30s"),
            ("state=up,left", "use up, down"),
            ("form=json,text", "use one of json, text"),
            ("form=", "use one of json, text"),
        ] {
            let error = read(query, true).unwrap_err();
            assert!(error.contains(words), "{query}: {error}");
        }
        assert!(read(&format!("name={}", "x".repeat(513)), true).is_err());
        assert!(read(&format!("names={}", "x".repeat(65)), true).is_err());
        assert_eq!(read(&format!("names=a,{}&names=b", "x".repeat(64)), true).unwrap().names("names").len(), 3);
        assert!(read("ts=12345", false).is_ok());
    }

    #[test]
    fn pages_follow_one_another() {
        let all = || (1..=5).map(|n| format!("k{n}")).collect::<Vec<_>>();
        let page = |query: &str| Page::of(&read(query, true).unwrap(), all(), String::clone);
        let first = page("limit=2");
        assert_eq!((first.entries.as_slice(), first.total, first.next.as_deref()), (&all()[..2], 5, Some("k2")));
        let last = page("limit=2&after=k4");
        assert_eq!((last.entries.len(), last.next), (1, None));
        assert_eq!(page("limit=5").next, None);
    }
}
