//! Variables of the environment by the names that other programs gave them, for whoever moves from these: `LOGGING_LEVEL`, `LOG_JSON`,
//! `LOG_TO_FILE`, `LOGGING_LOCATION`, `QUEUE_BOARD_BASIC_AUTH_ENABLED` and `_USER`. Our own names say the same, and one of both is enough.

use std::collections::BTreeMap;
use std::path::Path;

/// The name of a file of logs where only a folder, or nothing, is said.
const LOG_FILE: &str = "quorate.log";

/// What one variable says.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Its name.
    pub name: String,
    /// A line of TOML, or what is wrong.
    pub value: Result<String, String>,
}

/// Reads them all.
pub fn read(variables: &BTreeMap<String, String>) -> Vec<Said> {
    let readers: [(&str, &[&str], Reader); 5] = [
        ("LOGGING_LEVEL", &["QUORATE_LOG", "QUORATE__LOG__LEVEL"], level),
        ("LOG_JSON", &["QUORATE_LOG_FORMAT", "QUORATE__LOG__FORMAT"], format),
        ("LOG_TO_FILE", &["QUORATE__LOG__FILE"], file),
        ("QUEUE_BOARD_BASIC_AUTH_ENABLED", &["QUORATE__QUEUE_BOARD__BASIC_AUTH_ENABLED"], board_asks),
        ("QUEUE_BOARD_BASIC_AUTH_USER", &["QUORATE__QUEUE_BOARD__BASIC_AUTH_USER"], board_user),
    ];
    let mut said = Vec::new();
    for (name, ours, reader) in readers {
        let Some(text) = variables.get(name).filter(|text| !text.is_empty()) else { continue };
        let value = match ours.iter().find(|ours| variables.contains_key(**ours)) {
            Some(ours) => Err(format!("says the same as {ours}; keep one of them")),
            None => reader(text, variables),
        };
        match value {
            Ok(None) => {}
            Ok(Some(text)) => said.push(Said { name: name.to_owned(), value: Ok(text) }),
            Err(message) => said.push(Said { name: name.to_owned(), value: Err(message) }),
        }
    }
    said
}

type Reader = fn(&str, &BTreeMap<String, String>) -> Result<Option<String>, String>;

/// Python has other words for some levels.
fn level(text: &str, _: &BTreeMap<String, String>) -> Result<Option<String>, String> {
    let lower = text.to_ascii_lowercase();
    let word = match lower.as_str() {
        "warning" => "warn",
        "critical" | "fatal" => "error",
        "notset" => "trace",
        other => other,
    };
    Ok(Some(format!("log.level = {}", toml::Value::from(word))))
}

fn format(text: &str, _: &BTreeMap<String, String>) -> Result<Option<String>, String> {
    let word = if truth(text)? { "json" } else { "text" };
    Ok(Some(format!("log.format = \"{word}\"")))
}

fn file(text: &str, variables: &BTreeMap<String, String>) -> Result<Option<String>, String> {
    if !truth(text)? {
        return Ok(None);
    }
    let place = variables.get("LOGGING_LOCATION").map_or("", String::as_str);
    let path = if place.is_empty() || Path::new(place).is_dir() || place.ends_with('/') {
        Path::new(place).join(LOG_FILE)
    } else {
        place.into()
    };
    Ok(Some(format!("log.file = {}", toml::Value::from(path.display().to_string()))))
}

fn board_asks(text: &str, _: &BTreeMap<String, String>) -> Result<Option<String>, String> {
    Ok(Some(format!("queue_board.basic_auth_enabled = {}", truth(text)?)))
}

fn board_user(text: &str, _: &BTreeMap<String, String>) -> Result<Option<String>, String> {
    Ok(Some(format!("queue_board.basic_auth_user = {}", toml::Value::from(text))))
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(variables: &[(&str, &str)]) -> Vec<String> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let words = |said: Said| match said.value {
            Ok(line) => line,
            Err(message) => format!("{}: {message}", said.name),
        };
        read(&variables).into_iter().map(words).collect()
    }

    #[test]
    fn the_names_of_others_are_understood() {
        let none: [String; 0] = [];
        assert_eq!(said(&[]), none);
        assert_eq!(
            said(&[("LOGGING_LEVEL", "WARNING"), ("LOG_JSON", "True")]),
            ["log.level = \"warn\"", "log.format = \"json\""]
        );
        assert_eq!(said(&[("LOG_JSON", "0"), ("LOGGING_LEVEL", "")]), ["log.format = \"text\""]);
        let board = [("QUEUE_BOARD_BASIC_AUTH_ENABLED", "true"), ("QUEUE_BOARD_BASIC_AUTH_USER", "ann")];
        let lines = ["queue_board.basic_auth_enabled = true", "queue_board.basic_auth_user = \"ann\""];
        assert_eq!(said(&board), lines);
        assert_eq!(said(&[("LOG_TO_FILE", "1")]), ["log.file = \"quorate.log\""]);
        assert_eq!(said(&[("LOG_TO_FILE", "no"), ("LOGGING_LOCATION", "/var/log/x")]), none);
        assert_eq!(said(&[("LOGGING_LOCATION", "/var/log/x")]), none, "files are asked for by the other one");
        let named = [("LOG_TO_FILE", "true"), ("LOGGING_LOCATION", "/nonexistent/a.log")];
        assert_eq!(said(&named), ["log.file = \"/nonexistent/a.log\""]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(
            said(&[("LOG_TO_FILE", "on"), ("LOGGING_LOCATION", path)]),
            [format!("log.file = \"{path}/quorate.log\"")]
        );
    }

    #[test]
    fn one_name_is_enough() {
        for ours in ["QUORATE_LOG", "QUORATE__LOG__LEVEL"] {
            let both = said(&[("LOGGING_LEVEL", "info"), (ours, "debug")]);
            assert_eq!(both, [format!("LOGGING_LEVEL: says the same as {ours}; keep one of them")]);
        }
        assert_eq!(said(&[("LOG_JSON", "perhaps")]), ["LOG_JSON: \"perhaps\" is neither true nor false"]);
    }
}
