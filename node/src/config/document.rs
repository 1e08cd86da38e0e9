//! Everything that is configured, from several places, as one document: the files of a directory, the environment, and variables in texts.
//!
//! Each place has a part of one range of offsets, so that whoever reads the document needs to know nothing of the places: a fault's offset
//! says where it belongs.

use super::errors::{ConfigError, ConfigErrors};
use super::familiar;
use super::yaml::Yaml;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeArray, DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Most bytes of all places together.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Files of a directory at most.
const MAX_FILES: usize = 64;
/// Before the names of keys in the environment.
pub const ENVIRONMENT: &str = "QUORATE__";
/// Of a key that is there again.
pub const TWICE: &str = "is said twice; keep one of them";

/// One place.
#[derive(Debug, Clone)]
struct Place {
    /// As it is shown.
    shown: String,
    /// Its text, after as many spaces as all places before it have bytes.
    text: String,
    begins: usize,
    /// What the text says, when it is not in TOML.
    yaml: Option<Yaml>,
    /// May it replace what others say? Such a place is a variable, which has no lines.
    overrides: bool,
}

/// The texts of a document.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    places: Vec<Place>,
    bytes: usize,
    /// What is wrong before anything is read.
    faults: Vec<ConfigError>,
}

impl Texts {
    /// One text in TOML.
    pub fn of(shown: &str, text: &str) -> Self {
        let mut texts = Self::default();
        texts.add(shown.to_owned(), text, false, false);
        texts
    }

    fn add(&mut self, shown: String, text: &str, yaml: bool, overrides: bool) {
        let begins = self.bytes;
        let yaml = yaml.then(|| Yaml::parse(text, begins));
        let text = format!("{}{text}\n", " ".repeat(begins));
        self.bytes = text.len();
        self.places.push(Place { shown, text, begins, yaml, overrides });
    }

    /// Reads a file, or all files of a directory that end in `.toml`, `.yaml` or `.yml`, in the order of their names.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(path: &Path) -> Result<Self, ConfigErrors> {
        let mut texts = Self::default();
        for file in files(path)? {
            let shown = file.display().to_string();
            let whole = |message: &dyn std::fmt::Display| ConfigErrors::whole(&shown, message);
            let left = MAX_BYTES.saturating_sub(u64::try_from(texts.bytes).unwrap_or(u64::MAX));
            // Not by its size: a device or a pipe has none.
            let mut text = String::new();
            let opened = File::open(&file).map_err(|error| whole(&error))?;
            let read = opened.take(left + 1).read_to_string(&mut text).map_err(|error| whole(&error))?;
            if u64::try_from(read).is_ok_and(|read| read > left) {
                return Err(whole(&format!("is too large; at most {MAX_BYTES} bytes, all files together")));
            }
            texts.add(shown, &text, is_yaml(&file), false);
        }
        Ok(texts)
    }

    /// Adds what the environment says of single keys, which goes before the files: `QUORATE__API__RATE_LIMIT=100`.
    pub fn environment(mut self, variables: impl Iterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<String, String> = variables.collect();
        for said in familiar::read(&variables) {
            let begins = self.bytes;
            match said.value {
                Ok(text) => self.add(said.name, &text, false, true),
                Err(message) => {
                    self.add(said.name, "", false, true);
                    self.faults.push(ConfigError { offset: begins, key: String::new(), message });
                }
            }
        }
        let named: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(ENVIRONMENT)).collect();
        for (name, value) in named {
            let keys = name[ENVIRONMENT.len()..].to_ascii_lowercase().replace("__", ".");
            // What is no value of TOML is a text.
            let literal = format!("{keys} = {value}");
            let text = if DeTable::parse(&literal).is_ok() {
                literal
            } else {
                format!("{keys} = {}", toml::Value::String(value))
            };
            self.add(name, &text, false, true);
        }
        self
    }

    /// The document, with variables filled in.
    ///
    /// # Errors
    /// What cannot be parsed, what is said twice, and variables that are not set.
    pub fn document(&self, variable: impl Fn(&str) -> Option<String>) -> Result<DeTable<'_>, ConfigErrors> {
        let mut whole = self.literal()?;
        let mut faults = Vec::new();
        fill_table(&mut whole, "", &variable, &mut faults);
        if faults.is_empty() { Ok(whole) } else { Err(self.errors(faults)) }
    }

    /// The document as it is written: what others send must not read this process's environment.
    ///
    /// # Errors
    /// What cannot be parsed, and what is said twice.
    pub fn literal(&self) -> Result<DeTable<'_>, ConfigErrors> {
        let mut faults = self.faults.clone();
        let mut whole = DeTable::new();
        for place in &self.places {
            let table = match &place.yaml {
                Some(yaml) => yaml.table(&mut faults),
                None => toml(place, &mut faults),
            };
            merge(&mut whole, table, "", place.overrides, &mut faults);
        }
        if faults.is_empty() { Ok(whole) } else { Err(self.errors(faults)) }
    }

    /// Faults with their places.
    pub fn errors(&self, faults: Vec<ConfigError>) -> ConfigErrors {
        ConfigErrors::new(faults, |offset| {
            let place = self.places.iter().rev().find(|place| place.begins <= offset).or(self.places.first());
            match place {
                Some(place) if !place.overrides => {
                    let text = &place.text[place.begins.min(place.text.len())..];
                    let (line, column) = super::errors::place(text, offset - place.begins.min(offset));
                    format!("{}:{line}:{column}", place.shown)
                }
                Some(place) => place.shown.clone(),
                None => String::new(),
            }
        })
    }
}

/// What a place says in TOML; nothing when it cannot be parsed.
fn toml<'a>(place: &'a Place, faults: &mut Vec<ConfigError>) -> DeTable<'a> {
    let (table, syntax) = DeTable::parse_recoverable(&place.text);
    let table = table.into_inner();
    if syntax.is_empty() {
        return table;
    }
    faults.extend(syntax.iter().map(|error| {
        let span = error.span().unwrap_or_default();
        let offset = span.start.max(place.begins);
        let (key, message) = match error.message() {
            "duplicate key" => (said_twice(&place.text, &table, span), TWICE),
            message => (String::new(), message),
        };
        ConfigError { offset, key, message: message.to_owned() }
    }));
    DeTable::new()
}

/// The path of a key that is there again at `span`; the key alone where its table cannot be told.
fn said_twice(text: &str, whole: &DeTable<'_>, span: Range<usize>) -> String {
    let (before, key) = (text.get(..span.start).unwrap_or_default(), text.get(span.clone()).unwrap_or_default());
    // What is written before it, of which the parser says nothing: `a.` of `a.b`, and the brackets of a header.
    let begins = before.rfind(['\n', '{', ',']).map_or(0, |at| at + 1);
    let written = format!("{}{key}", before.get(begins..).unwrap_or_default().trim_start());
    let mut open = Open { begins: 0, path: String::new(), table: whole };
    if !written.starts_with('[') {
        open.descend(whole, "", (text, span.start));
    }
    let plain = |part: &str| part.trim().trim_matches(['"', '\'']).to_owned();
    let parts: Vec<String> = written.trim_start_matches('[').split('.').map(plain).collect();
    match parts.first() {
        Some(first) if open.table.contains_key(first.as_str()) => inside(&open.path, &parts.join(".")),
        _ => key.to_owned(),
    }
}

/// The table that is open at a place of a text: of those in braces the innermost around it, or else the one whose header is the last before it.
struct Open<'t, 'a> {
    begins: usize,
    path: String,
    table: &'t DeTable<'a>,
}

impl<'t, 'a> Open<'t, 'a> {
    fn descend(&mut self, table: &'t DeTable<'a>, path: &str, at: (&str, usize)) {
        for (key, value) in table.iter() {
            self.look(value, inside(path, key.get_ref()), at);
        }
    }

    fn look(&mut self, value: &'t Spanned<DeValue<'a>>, path: String, (text, at): (&str, usize)) {
        match value.get_ref() {
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.look(item, format!("{path}[{index}]"), (text, at));
                }
            }
            DeValue::Table(table) => {
                self.descend(table, &path, (text, at));
                // The span of a table in braces are these, that of another one its header, or a key that begins with neither.
                let span = value.span();
                let is_open = match text.as_bytes().get(span.start) {
                    Some(b'{') => span.contains(&at),
                    Some(b'[') => span.start < at,
                    _ => false,
                };
                if is_open && span.start >= self.begins {
                    *self = Self { begins: span.start, path, table };
                }
            }
            _ => {}
        }
    }
}

/// The path of a key in the table of that path.
pub fn inside(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "yaml" || end == "yml")
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ConfigErrors> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let shown = path.display().to_string();
    let entries = fs::read_dir(path).map_err(|error| ConfigErrors::whole(&shown, error))?;
    let is_one = |path: &PathBuf| is_yaml(path) || path.extension().is_some_and(|end| end == "toml");
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_one).collect();
    files.sort();
    match files.len() {
        0 => Err(ConfigErrors::whole(&shown, "holds no file that ends in .toml, .yaml or .yml")),
        1..=MAX_FILES => Ok(files),
        n => Err(ConfigErrors::whole(&shown, format!("holds {n} files; at most {MAX_FILES}"))),
    }
}

/// Tables are laid together, lists follow one another; anything else may be said once.
fn merge<'a>(into: &mut DeTable<'a>, from: DeTable<'a>, path: &str, overrides: bool, faults: &mut Vec<ConfigError>) {
    for (key, value) in from {
        let name = inside(path, key.get_ref());
        let Some(known) = into.get_mut::<str>(key.get_ref()) else {
            into.insert(key, value);
            continue;
        };
        let span = value.span();
        match (known.get_mut(), value.into_inner()) {
            (DeValue::Table(known), DeValue::Table(table)) => merge(known, table, &name, overrides, faults),
            (DeValue::Array(known), DeValue::Array(items)) if !overrides => append(known, &items),
            (_, value) if overrides => *known = Spanned::new(span, value),
            _ => faults.push(ConfigError {
                offset: span.start,
                key: name,
                message: "is said in another file already; keep one of them".to_owned(),
            }),
        }
    }
}

fn append<'a>(known: &mut DeArray<'a>, items: &DeArray<'a>) {
    items.iter().for_each(|item| known.push(item.clone()));
}

/// A table without places.
pub fn as_table(table: &DeTable<'_>) -> Table {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), as_value(value.get_ref()))).collect()
}

fn as_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        // What is too large is told by whoever reads it as a number.
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::String(number.to_string()), Value::Float)
        }
        DeValue::Boolean(truth) => Value::Boolean(*truth),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| as_value(item.get_ref())).collect()),
        DeValue::Table(table) => Value::Table(as_table(table)),
    }
}

/// Every value by its full key; of services, each as a whole.
pub fn flattened(table: &Table) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    flatten(table, "", &mut flat);
    flat
}

fn flatten(table: &Table, path: &str, flat: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = inside(path, key);
        match value {
            Value::Table(inner) => flatten(inner, &name, flat),
            other => {
                flat.insert(name, other.to_string());
            }
        }
    }
}

type Variables<'v> = dyn Fn(&str) -> Option<String> + 'v;

fn fill_table(table: &mut DeTable<'_>, path: &str, variable: &Variables<'_>, faults: &mut Vec<ConfigError>) {
    for (key, value) in table.iter_mut() {
        let name = inside(path, key.get_ref());
        fill(value, &name, variable, faults);
    }
}

fn fill(value: &mut Spanned<DeValue<'_>>, path: &str, variable: &Variables<'_>, faults: &mut Vec<ConfigError>) {
    let offset = value.span().start;
    match value.get_mut() {
        DeValue::String(text) if text.contains('$') => match filled(text, variable) {
            Ok(filled) => *text = Cow::Owned(filled),
            Err(message) => faults.push(ConfigError { offset, key: path.to_owned(), message }),
        },
        DeValue::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill(item, &format!("{path}[{index}]"), variable, faults);
            }
        }
        DeValue::Table(table) => fill_table(table, path, variable, faults),
        _ => {}
    }
}

/// `${NAME}` is the variable's value, `${NAME:-default}` another one when it is not set or empty, `$$` a dollar. A dollar before anything else
/// is itself: regular expressions end with one.
fn filled(text: &str, variable: &Variables<'_>) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        whole.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            whole.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let (name, behind) =
                inner.split_once('}').ok_or("has a `${` without its `}`; a dollar by itself is `$$`")?;
            let (name, default) = name.split_once(":-").map_or((name, None), |(name, default)| (name, Some(default)));
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(plain) {
                return Err(format!("${{{name}}} names no variable; a dollar by itself is `$$`"));
            }
            let value = variable(name).filter(|value| default.is_none() || !value.is_empty());
            let value = value.or_else(|| default.map(str::to_owned));
            let missing = || format!("the variable {name} is not set; set it, or write ${{{name}:-default}}");
            whole.push_str(&value.ok_or_else(missing)?);
            rest = behind;
        } else {
            whole.push('$');
            rest = after;
        }
    }
    whole.push_str(rest);
    Ok(whole)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
