//! A text in YAML as the same document that one in TOML is: every key and value with its place.

use super::document::{TWICE, inside};
use super::errors::ConfigError;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned as Placed, UserMessageFormatter};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed text, or where it breaks off.
#[derive(Debug, Clone)]
pub struct Yaml {
    root: Result<Placed<Node>, ConfigError>,
    begins: usize,
}

/// What stands at one place.
#[derive(Debug, Clone)]
enum Node {
    /// Nothing: its key is as if it were not there.
    Nothing,
    Truth(bool),
    /// As TOML writes it.
    Number(String),
    Text(String),
    List(Vec<Placed<Node>>),
    /// In the order of the text; a key may be there twice.
    Mapping(Vec<(Placed<String>, Placed<Node>)>),
}

impl Yaml {
    /// Parses a text whose first byte has the offset `begins`.
    pub fn parse(text: &str, begins: usize) -> Self {
        // Keys that are there twice are told with their paths, all of them.
        let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
        let root = serde_saphyr::from_str_with_options(text, options).map_err(|error| broken(text, begins, &error));
        Self { root, begins }
    }

    /// Its sections; what is wrong with it is noted.
    pub fn table(&self, faults: &mut Vec<ConfigError>) -> DeTable<'_> {
        let fault = match &self.root {
            Ok(root) => match value(root, self.begins, "", faults) {
                (_, DeValue::Table(table)) => return table,
                (offset, _) => {
                    let message = "must be a mapping of sections, such as `agent:`".to_owned();
                    ConfigError { offset, key: String::new(), message }
                }
            },
            Err(error) => error.clone(),
        };
        faults.push(fault);
        DeTable::new()
    }
}

/// Where it breaks off and why, in words for people.
fn broken(text: &str, begins: usize, error: &serde_saphyr::Error) -> ConfigError {
    let mut message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    let mut at = 0;
    if let Some(place) = error.location() {
        message = message.replace(&format!(" at line {}, column {}", place.line(), place.column()), "");
        // The parser counts characters here.
        let before = usize::try_from(place.span().offset()).unwrap_or(usize::MAX);
        at = text.char_indices().nth(before).map_or(text.len(), |(at, _)| at);
    }
    ConfigError { offset: begins + at, key: String::new(), message }
}

/// What an alias or a merge brings in stands where it was written first.
fn offset(place: Location, begins: usize) -> usize {
    begins + place.span().byte_offset().and_then(|at| usize::try_from(at).ok()).unwrap_or(0)
}

/// A node as a value of TOML, and where it stands.
fn value<'a>(node: &'a Placed<Node>, begins: usize, path: &str, faults: &mut Vec<ConfigError>) -> (usize, DeValue<'a>) {
    let value = match &node.value {
        Node::Nothing => DeValue::Table(DeTable::new()),
        Node::Truth(truth) => DeValue::Boolean(*truth),
        Node::Number(text) => {
            DeValue::parse(text).map_or_else(|_| DeValue::String(Cow::Borrowed(text)), Spanned::into_inner)
        }
        Node::Text(text) => DeValue::String(Cow::Borrowed(text)),
        Node::List(items) => {
            let item = |(index, item)| spanned(value(item, begins, &format!("{path}[{index}]"), faults));
            DeValue::Array(items.iter().enumerate().map(item).collect())
        }
        Node::Mapping(entries) => DeValue::Table(mapping(entries, begins, path, faults)),
    };
    (offset(node.defined, begins), value)
}

fn mapping<'a>(
    entries: &'a [(Placed<String>, Placed<Node>)],
    begins: usize,
    path: &str,
    faults: &mut Vec<ConfigError>,
) -> DeTable<'a> {
    let mut table = DeTable::new();
    let mut seen = BTreeSet::new();
    for (key, node) in entries {
        let name = inside(path, &key.value);
        let at = offset(key.defined, begins);
        if !seen.insert(&key.value) {
            faults.push(ConfigError { offset: at, key: name, message: TWICE.to_owned() });
        } else if !matches!(node.value, Node::Nothing) {
            let key = spanned((at, Cow::Borrowed(key.value.as_str())));
            table.insert(key, spanned(value(node, begins, &name, faults)));
        }
    }
    table
}

fn spanned<T>((at, value): (usize, T)) -> Spanned<T> {
    Spanned::new(at..at, value)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list, a text, a number, or true or false")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Number(format!("{number:?}")))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut mapping = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            mapping.push(entry);
        }
        Ok(Node::Mapping(mapping))
    }
}
