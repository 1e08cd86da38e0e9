//! Logs: to standard error or to a file that is rotated, as text or as JSON; standard output is for answers. The level can be changed while the
//! agent runs.

mod json;
pub mod rotation;

use crate::config::{LogFormat, LogSettings};
use crate::usage::usage;
use anyhow::Context;
use json::{Json, Naming};
use rotation::Rotated;
use std::io::IsTerminal;
use std::path::Path;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Where lines about requests come from.
pub const ACCESS: &str = "quorate::requests";

/// The registry behind the filter: what that leaves out reaches no file.
type Behind = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Boxed = Box<dyn Layer<Behind> + Send + Sync>;

/// Changes the level of a running process.
#[derive(Debug, Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Sets it, and whether requests are logged.
    ///
    /// # Errors
    /// When it is no level.
    pub fn set(&self, settings: &LogSettings) -> anyhow::Result<()> {
        self.0.reload(filter(settings)?).context("log.level")
    }

    /// One of a process that logs nothing.
    #[cfg(test)]
    pub fn detached() -> (Self, reload::Layer<EnvFilter, Registry>) {
        let (layer, handle) = reload::Layer::new(EnvFilter::new("off"));
        (Self(handle), layer)
    }
}

/// Starts logging. Must be called once.
///
/// # Errors
/// When the level is not one, or a file cannot be opened.
pub fn start(settings: &LogSettings) -> anyhow::Result<LogLevel> {
    crate::config::check_level(&settings.level).map_err(|rule| usage(format!("--log {rule}")))?;
    let (filter, level) = reload::Layer::new(filter(settings)?);
    let open = |path: &Path| {
        let opened = Rotated::open(path, settings.max_bytes, settings.max_files);
        opened.with_context(|| format!("the log {} cannot be written", path.display()))
    };
    let mut layers: Vec<Boxed> = vec![match &settings.file {
        Some(path) => layer(settings, open(path)?, false),
        None => layer(settings, std::io::stderr, std::io::stderr().is_terminal()),
    }];
    if let Some(path) = &settings.error_file {
        let errors = tracing_subscriber::filter::filter_fn(|metadata| *metadata.level() == Level::ERROR);
        layers.push(layer(settings, open(path)?, false).with_filter(errors).boxed());
    }
    tracing_subscriber::registry().with(filter).with(layers).init();
    Ok(LogLevel(level))
}

/// Lines for people, with what the agent is part of before each, if that is to be told.
struct Text<F> {
    lines: F,
    environment: Option<String>,
}

impl<S, N, F> FormatEvent<S, N> for Text<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if let Some(environment) = &self.environment {
            write!(writer, "{environment} ")?;
        }
        self.lines.format_event(context, writer, event)
    }
}

/// The level, and lines about requests only if they are wanted: there may be thousands in a second.
fn filter(settings: &LogSettings) -> anyhow::Result<EnvFilter> {
    let mut directives = settings.level.clone();
    if !directives.contains(ACCESS) {
        directives.push_str(&format!(",{ACCESS}={}", if settings.access { "info" } else { "off" }));
    }
    EnvFilter::builder().parse(&directives).context("--log")
}

fn layer<W>(settings: &LogSettings, writer: W, colour: bool) -> Boxed
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let plain = fmt::layer().with_writer(writer);
    let json = |naming| Json { naming, environment: settings.environment.clone() };
    match settings.format {
        LogFormat::Text => {
            let text = plain.with_ansi(colour).with_target(false);
            let environment = settings.environment.clone();
            text.map_event_format(|lines| Text { lines, environment }).boxed()
        }
        LogFormat::Json => plain.event_format(json(Naming::Plain)).boxed(),
        LogFormat::Pino => plain.event_format(json(Naming::Pino)).boxed(),
    }
}
