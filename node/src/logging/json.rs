//! Log lines as JSON, under the names of two common conventions.

use crate::agent::clock::wall;
use crate::api::words::time;
use serde_json::{Map, Value, json};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Which names the fields have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `time`, `level` in words, `msg`; of a request `request_id`, `method`, `path`, `status`, `duration_ms`, `client_ip`.
    Plain,
    /// As Pino writes them: `timestamp`, `level` as a number, `service`, `message`; of a request `correlationId`, `method`, `path`,
    /// `statusCode`, `duration` in milliseconds.
    Pino,
}

/// Writes one object a line.
#[derive(Debug, Clone)]
pub struct Json {
    /// Which names the fields have.
    pub naming: Naming,
    /// What the agent is part of, if that is to be told.
    pub environment: Option<String>,
}

impl Naming {
    fn head(self, level: Level, target: &str, message: Value) -> Vec<(&'static str, Value)> {
        let at = json!(time(wall()));
        match self {
            Self::Plain => {
                let level = level.as_str().to_ascii_lowercase();
                vec![("time", at), ("level", json!(level)), ("msg", message), ("target", json!(target))]
            }
            Self::Pino => vec![
                ("timestamp", at),
                ("level", json!(number(level))),
                ("service", json!("quorate")),
                ("message", message),
                ("target", json!(target)),
            ],
        }
    }

    fn rename(self, name: &str) -> &str {
        match (self, name) {
            (Self::Pino, "request_id") => "correlationId",
            (Self::Pino, "status") => "statusCode",
            (Self::Pino, "duration_ms") => "duration",
            _ => name,
        }
    }
}

/// Pino's numbers; it has none between trace (10) and debug (20).
fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 50,
        Level::WARN => 40,
        Level::INFO => 30,
        Level::DEBUG => 20,
        Level::TRACE => 10,
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, "{}", self.line(*event.metadata().level(), event.metadata().target(), fields.0))
    }
}

impl Json {
    fn line(&self, level: Level, target: &str, mut fields: Map<String, Value>) -> String {
        let message = fields.remove("message").unwrap_or_default();
        let mut head = self.naming.head(level, target, message);
        head.extend(self.environment.as_ref().map(|environment| ("environment", json!(environment))));
        let mut text = String::from("{");
        for (name, value) in &head {
            text.push_str(&format!("{}\"{name}\":{value}", if text.len() > 1 { "," } else { "" }));
        }
        for (name, value) in &fields {
            let name = self.naming.rename(name);
            // What the line itself says goes before a field of the same name.
            let taken = if head.iter().any(|(known, _)| *known == name) { "field_" } else { "" };
            text.push_str(&format!(",{}:{value}", json!(format!("{taken}{name}"))));
        }
        text.push('}');
        text
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), json!(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Map<String, Value> {
        let fields = json!({ "message": "request\n2", "request_id": "a-1", "method": "GET", "path": "/v1/health", "status": 200,
                             "duration_ms": 1.5, "client_ip": "127.0.0.1", "level": "mine" });
        fields.as_object().unwrap().clone()
    }

    fn read(naming: Naming) -> Value {
        let text = Json { naming, environment: None }.line(Level::WARN, "quorate::requests", request());
        assert!(!text.contains('\n'), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn both_sets_of_names() {
        let plain = read(Naming::Plain);
        assert_eq!(
            (&plain["level"], &plain["msg"], &plain["status"]),
            (&json!("warn"), &json!("request\n2"), &json!(200))
        );
        assert_eq!((&plain["request_id"], &plain["duration_ms"]), (&json!("a-1"), &json!(1.5)));
        assert_eq!((&plain["client_ip"], &plain["field_level"]), (&json!("127.0.0.1"), &json!("mine")));
        let pino = read(Naming::Pino);
        assert_eq!(
            (&pino["level"], &pino["message"], &pino["statusCode"]),
            (&json!(40), &json!("request\n2"), &json!(200))
        );
        assert_eq!((&pino["correlationId"], &pino["duration"]), (&json!("a-1"), &json!(1.5)));
        assert_eq!(
            (&pino["service"], &pino["method"], &pino["path"]),
            (&json!("quorate"), &json!("GET"), &json!("/v1/health"))
        );
        assert!(pino["timestamp"].as_str().unwrap().ends_with('Z') && plain["time"].is_string());
        let environment = Some("production".to_owned());
        let text = Json { naming: Naming::Plain, environment }.line(Level::INFO, "x", request());
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["environment"], "production");
        assert!(plain["environment"].is_null() && pino["environment"].is_null());
        assert_eq!([Level::TRACE, Level::DEBUG, Level::INFO, Level::ERROR].map(number), [10, 20, 30, 50]);
    }
}
