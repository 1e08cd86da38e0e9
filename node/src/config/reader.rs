//! Reads a parsed TOML document key by key and notes every fault with its place, instead of stopping at the first.

use super::document::inside;
use super::errors::ConfigError;
use super::keys::{Key, SectionKeys, suggestion};
use quorate_core::Level;
use quorate_core::check::{BasicAuth, Secret, SecretSource, Value};
use quorate_probe::Allowed;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// What the file says.
    pub value: T,
    /// Where, in bytes from the start of the file.
    pub at: usize,
}

/// Collects the errors.
#[derive(Debug, Default)]
pub struct Faults(Vec<ConfigError>);

impl Faults {
    /// Notes one.
    pub fn add(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(ConfigError { offset: at, key: key.into(), message: message.into() });
    }

    /// All of them.
    pub fn into_inner(self) -> Vec<ConfigError> {
        self.0
    }
}

/// One table of the file, its keys checked against the catalogue.
#[derive(Debug)]
pub struct Section<'a> {
    /// Its path with indexes, such as `service[0].check`.
    pub path: String,
    /// Where its header, or its key, stands.
    pub at: usize,
    values: BTreeMap<&'static str, (&'static str, usize, &'a Spanned<DeValue<'a>>)>,
    /// Secrets that are given by the name of their file.
    by_file: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    /// A section that is not in the file.
    pub fn absent(path: impl Into<String>, at: usize) -> Self {
        Self { path: path.into(), at, values: BTreeMap::new(), by_file: BTreeSet::new() }
    }

    /// Takes a table, noting unknown keys and keys given twice under two names.
    pub fn open(
        path: impl Into<String>,
        at: usize,
        table: &'a DeTable<'a>,
        keys: &SectionKeys,
        faults: &mut Faults,
    ) -> Self {
        let mut section = Self::absent(path, at);
        for (written, value) in table.iter() {
            let name: &str = written.get_ref();
            let place = written.span().start;
            let known = keys
                .keys
                .iter()
                .find_map(|key| key.names().find(|candidate| *candidate == name).map(|as_written| (key, as_written)));
            let Some((Key { name: key, file, .. }, as_written)) = known else {
                let hint = suggestion(keys, name);
                let hint = hint.map_or_else(|| "take it out".to_owned(), |hint| hint.clone());
                faults.add(place, section.key(name), format!("is not a known key; {hint}"));
                continue;
            };
            if *file == Some(as_written) {
                section.by_file.insert(key);
            }
            if let Some((other, _, _)) = section.values.insert(key, (as_written, place, value)) {
                let message = format!("says the same as `{other}`; keep one of them");
                faults.add(place, section.key(as_written), message);
            }
        }
        section
    }

    /// The path of a key in it.
    pub fn key(&self, name: &str) -> String {
        inside(&self.path, name)
    }

    /// Is the key there?
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Where the key's value stands and under which name; the section itself when it is absent.
    pub fn place(&self, name: &str) -> (usize, String) {
        match self.values.get(name) {
            Some((as_written, _, value)) => (value.span().start, self.key(as_written)),
            None => (self.at, self.key(name)),
        }
    }

    /// Where the key itself stands.
    pub fn key_place(&self, name: &str) -> usize {
        self.values.get(name).map_or(self.at, |(_, place, _)| *place)
    }

    /// The value of a key, if it is there and of the right kind.
    pub fn take<T: FromToml>(&self, name: &str, faults: &mut Faults) -> Option<Located<T>> {
        let (as_written, _, value) = self.values.get(name)?;
        let at = value.span().start;
        let key = self.key(as_written);
        let read = if self.by_file.contains(name) {
            T::from_file(value.get_ref()).map_err(|message| faults.add(at, key, message)).ok()
        } else {
            T::each(value, &mut |at, message| faults.add(at, key.clone(), message))
        };
        read.map(|value| Located { value, at })
    }

    /// The table under a key.
    pub fn table(&self, name: &str, keys: &SectionKeys, faults: &mut Faults) -> Option<Section<'a>> {
        let (_, place, value) = self.values.get(name)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::open(self.key(name), *place, table, keys, faults)),
            other => {
                faults.add(value.span().start, self.key(name), not("a table", other));
                None
            }
        }
    }

    /// The tables of an array of tables.
    pub fn tables(&self, name: &str, keys: &SectionKeys, faults: &mut Faults) -> Vec<Section<'a>> {
        let Some((_, _, value)) = self.values.get(name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let message = format!("must be a list of tables, which TOML writes as [[{}]]", keys.path);
            faults.add(value.span().start, self.key(name), message);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.key(name));
            match item.get_ref() {
                DeValue::Table(table) => {
                    sections.push(Section::open(path, item.span().start, table, keys, faults));
                }
                other => faults.add(item.span().start, path, not("a table", other)),
            }
        }
        sections
    }
}

pub fn not(expected: &str, found: &DeValue<'_>) -> String {
    let kind = match found {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("must be {expected}, not {kind}")
}

/// Takes a fault: where, and what.
pub type Fault<'a> = dyn FnMut(usize, String) + 'a;

/// The elements of a list that can be read; of the others, and of what is no list, the faults.
fn elements<T>(
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    fault: &mut Fault<'_>,
    read: impl Fn(&DeValue<'_>) -> Result<T, String>,
) -> Option<Vec<T>> {
    let Some(items) = value.get_ref().as_array() else {
        fault(value.span().start, not(expected, value.get_ref()));
        return None;
    };
    let read =
        |item: &Spanned<DeValue<'_>>| read(item.get_ref()).map_err(|message| fault(item.span().start, message)).ok();
    let read: Vec<T> = items.iter().filter_map(read).collect();
    (!read.is_empty() || items.is_empty()).then_some(read)
}

/// The same of a table, whose entries have names.
pub fn entries<T>(
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    fault: &mut Fault<'_>,
    read: impl Fn(&str, &DeValue<'_>) -> Result<T, String>,
) -> Option<Vec<T>> {
    let Some(table) = value.get_ref().as_table() else {
        fault(value.span().start, not(expected, value.get_ref()));
        return None;
    };
    let mut all = Vec::new();
    for (name, value) in table.iter() {
        match read(name.get_ref(), value.get_ref()) {
            Ok(entry) => all.push(entry),
            Err(message) => fault(name.span().start, message),
        }
    }
    (!all.is_empty() || table.is_empty()).then_some(all)
}

/// Of what is only read element by element.
fn whole<T: FromToml>(value: &DeValue<'_>) -> Result<T, String> {
    let mut first = None;
    let read = T::each(&Spanned::new(0..0, value.clone()), &mut |_, message| {
        first.get_or_insert(message);
    });
    first.map_or_else(|| read.ok_or_else(String::new), Err)
}

/// A type that a value of the file can become.
pub trait FromToml: Sized {
    /// Reads it, or says what it must be.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String>;

    /// The same, with each of its faults at its place: what holds several things may have several.
    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        Self::from_toml(value.get_ref()).map_err(|message| fault(value.span().start, message)).ok()
    }

    /// Reads the name of the file that holds it, if it is a secret.
    fn from_file(_: &DeValue<'_>) -> Result<Self, String> {
        Err("is no secret".to_owned())
    }
}

impl FromToml for String {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| not("a text in quotes", value))
    }
}

impl FromToml for bool {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| not("true or false, without quotes", value))
    }
}

impl FromToml for Vec<String> {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        whole(value)
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        elements(value, "a list of texts such as [\"a\", \"b\"]", fault, String::from_toml)
    }
}

impl FromToml for i128 {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let integer = value.as_integer().ok_or_else(|| not("an integer", value))?;
        Self::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| "is too large a number".to_owned())
    }
}

impl FromToml for u32 {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let number = i128::from_toml(value)?;
        // The rule of the key says how large it may be.
        let wrong = if number < 0 { "cannot be negative" } else { "is too large" };
        Self::try_from(number).map_err(|_| format!("{number} {wrong}"))
    }
}

impl FromToml for u16 {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let number = i128::from_toml(value)?;
        let port = Self::try_from(number).ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("{number} is not a port; use 1 to 65535"))
    }
}

impl FromToml for Level {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        let number = match value {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(_) => i128::from_toml(value)?.to_string().parse().ok(),
            other => return Err(not("a number, without quotes", other)),
        };
        number.and_then(Self::new).ok_or_else(|| "is not a finite number".to_owned())
    }
}

const DURATION: &str = "a duration such as \"30s\", \"500ms\" or \"1m 30s\", or a number of seconds";

impl FromToml for Duration {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => {
                humantime::parse_duration(text.trim()).map_err(|_| format!("{text:?} is not {DURATION}"))
            }
            DeValue::Integer(_) => {
                let number = i128::from_toml(value)?;
                u64::try_from(number).map(Self::from_secs).map_err(|_| format!("{number} is not {DURATION}"))
            }
            DeValue::Float(number) => {
                let seconds: Option<f64> = number.as_str().parse().ok();
                let span = seconds.and_then(|seconds| Self::try_from_secs_f64(seconds).ok());
                span.ok_or_else(|| format!("{number} is not {DURATION}"))
            }
            other => Err(not(DURATION, other)),
        }
    }
}

/// Header names with their values, in the order of the names.
#[derive(Debug, Clone)]
pub struct Headers(pub Vec<(String, Value)>);

impl FromToml for Headers {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        whole(value)
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        let read = |name: &str, value: &DeValue<'_>| {
            let read = match value {
                DeValue::Table(_) => Secret::from_toml(value).map(Value::Secret),
                DeValue::String(text) => Ok(Value::Plain(text.to_string())),
                other => Err(not("a text in quotes", other)),
            };
            read.map(|value| (name.to_owned(), value)).map_err(|why| format!("the value of {name:?} {why}"))
        };
        entries(value, "a table such as { X-Key = \"value\" }", fault, read).map(Self)
    }
}

impl FromToml for Secret {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        const EXPECTED: &str = "a table such as { file = \"NAME\" } or { env = \"NAME\" }";
        let table = value.as_table().ok_or_else(|| not(EXPECTED, value))?;
        let (mut prefix, mut sources) = (String::new(), Vec::new());
        for (name, value) in table.iter() {
            let text =
                String::from_toml(value.get_ref()).map_err(|why| format!("has a `{}` that {why}", name.get_ref()))?;
            match name.get_ref().as_ref() {
                "prefix" => prefix = text,
                "file" => sources.push(SecretSource::File(text)),
                "env" => sources.push(SecretSource::Env(text)),
                other => return Err(format!("knows no `{other}`; it must be {EXPECTED}, perhaps with `prefix`")),
            }
        }
        match (sources.pop(), sources.pop()) {
            (Some(source), None) => Ok(Self { prefix, source }),
            _ => Err(format!("must be {EXPECTED}")),
        }
    }

    fn from_file(value: &DeValue<'_>) -> Result<Self, String> {
        let name = String::from_toml(value)?;
        Ok(Self { prefix: String::new(), source: SecretSource::File(name) })
    }
}

impl FromToml for BasicAuth {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        const EXPECTED: &str = "a table such as { user = \"name\", password = { file = \"NAME\" } }";
        let table = value.as_table().ok_or_else(|| not(EXPECTED, value))?;
        let (mut user, mut password) = (None, None);
        for (name, value) in table.iter() {
            let name = name.get_ref().as_ref();
            match name {
                "user" => user = Some(String::from_toml(value.get_ref())?),
                "password" | "password_file" if password.is_some() => {
                    return Err("has `password` and `password_file`, which say the same; keep one of them".to_owned());
                }
                "password" | "password_file" => {
                    let by_file = name == "password_file";
                    let read = if by_file { Secret::from_file } else { Secret::from_toml };
                    password = Some(read(value.get_ref()).map_err(|why| format!("its {name} {why}"))?);
                }
                other => return Err(format!("knows no `{other}`; it must be {EXPECTED}")),
            }
        }
        match (user, password) {
            (Some(user), Some(password)) => Ok(Self { user, password }),
            _ => Err(format!("must be {EXPECTED}")),
        }
    }
}

/// Texts in their order.
#[derive(Debug, Clone)]
pub struct Strings(pub Vec<String>);

impl FromToml for Strings {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        whole(value)
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        elements(value, "a list such as [\"/usr/bin/true\", \"argument\"]", fault, plain).map(Self)
    }
}

/// Names with their values.
#[derive(Debug, Clone)]
pub struct Variables(pub BTreeMap<String, String>);

impl FromToml for Variables {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        whole(value)
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        let read = |name: &str, value: &DeValue<'_>| {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(format!("holds {name:?}, which is not the name of a variable"));
            }
            let value = plain(value).map_err(|why| format!("the value of {name:?} {why}"))?;
            Ok((name.to_owned(), value))
        };
        let all = entries(value, "a table such as { NAME = \"value\" }", fault, read)?;
        Some(Self(all.into_iter().collect()))
    }
}

/// A text that a program can be given.
fn plain(value: &DeValue<'_>) -> Result<String, String> {
    let text = String::from_toml(value)?;
    if text.contains('\0') { Err("holds a zero byte".to_owned()) } else { Ok(text) }
}

/// Networks, addresses and names.
#[derive(Debug, Clone)]
pub struct Targets(pub Vec<Allowed>);

impl FromToml for Targets {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        whole(value)
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        let read = |item: &DeValue<'_>| Allowed::parse(&String::from_toml(item)?);
        elements(value, "a list such as [\"10.0.0.0/8\", \".internal\"]", fault, read).map(Self)
    }
}

/// The written items of a set of codes, each with its place.
#[derive(Debug, Clone)]
pub struct Codes(pub Vec<Located<String>>);

impl FromToml for Codes {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        whole(value)
    }

    fn each(value: &Spanned<DeValue<'_>>, fault: &mut Fault<'_>) -> Option<Self> {
        const EXPECTED: &str = "a list such as [200, \"2xx\", \"300-399\"]";
        let Some(items) = value.get_ref().as_array() else {
            fault(value.span().start, not(EXPECTED, value.get_ref()));
            return None;
        };
        let mut codes = Vec::new();
        for item in items {
            let at = item.span().start;
            let text = match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                DeValue::Integer(_) => i128::from_toml(item.get_ref()).map(|code| code.to_string()),
                other => Err(format!("{}; use {EXPECTED}", not("codes, ranges and classes", other))),
            };
            match text {
                Ok(value) => codes.push(Located { value, at }),
                Err(message) => fault(at, message),
            }
        }
        (!codes.is_empty() || items.is_empty()).then_some(Self(codes))
    }
}
