//! Asks one question, once or again and again, and prints the answer as a table or as the agent's own JSON.

use super::client::{AskError, Client, Reply};
use super::style::{self, Ink, clean};
use super::table;
use crate::answers::ViewAnswer;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How often a watched question is asked.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// Where to ask, and how to print.
#[derive(Debug, Clone, clap::Args)]
pub struct Source {
    /// The agent's API
    #[arg(long, value_name = "HOST:PORT", env = "QUORATE_ADDR", default_value = "127.0.0.1:7701", value_parser = Client::new)]
    pub addr: Client,
    /// How to print the answer; `json` is the API's own, `name` one name per line
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
}

/// Whether to keep asking.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Watch {
    /// Keep asking, and print again whenever the answer changes; Ctrl-C ends with 0
    #[arg(short, long)]
    pub watch: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
    /// The names alone.
    Name,
}

/// Something that can be asked, and how its answer reads.
pub trait Question {
    /// The type of the answer.
    type Answer: DeserializeOwned;

    /// The path in the API.
    fn path(&self) -> String;

    /// Who answers.
    fn view<'a>(&self, answer: &'a Self::Answer) -> &'a ViewAnswer;

    /// The answer for people, without banner and footer; inked.
    fn text(&self, answer: &Self::Answer) -> String;

    /// The answer for people, with all there is to tell.
    fn wide(&self, answer: &Self::Answer) -> String {
        self.text(answer)
    }

    /// The names of what the answer lists.
    fn names(&self, answer: &Self::Answer) -> Vec<String>;

    /// What the command ends with; success unless the question says otherwise.
    fn exit(&self, _answer: &Self::Answer) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// Asks and prints.
///
/// # Errors
/// When there is no answer. A watch that has had one keeps trying.
pub async fn ask<Q: Question>(question: &Q, source: &Source, watch: Watch) -> anyhow::Result<ExitCode> {
    if watch.watch {
        return tokio::select! {
            ended = keep_asking(question, source) => ended,
            signal = tokio::signal::ctrl_c() => signal.map(|()| ExitCode::SUCCESS).map_err(Into::into),
        };
    }
    let reply = source.addr.ask(&question.path()).await?;
    print(&page(question, &reply, source.output)?)?;
    Ok(question.exit(&reply.answer))
}

async fn keep_asking<Q: Question>(question: &Q, source: &Source) -> anyhow::Result<ExitCode> {
    let redraw = matches!(source.output, Format::Table | Format::Wide) && std::io::stdout().is_terminal();
    let mut printed = String::new();
    let (mut seen, mut told) = (None, None);
    let mut lost = false;
    loop {
        match source.addr.ask(&question.path()).await {
            Ok(reply) => {
                lost = false;
                let now = Some(standing(question.view(&reply.answer)));
                let says = Some(said(&reply.body));
                let text = page(question, &reply, source.output)?;
                // On a terminal ages move too; elsewhere only news is worth a line.
                let news = match source.output {
                    Format::Name => text != printed || told.is_none(),
                    _ if redraw => text != printed,
                    // The picture changes with all that the mesh learns, be it of other things than this answer.
                    _ => now != seen && says != told,
                };
                seen = now;
                if news {
                    let screen = if redraw { format!("\x1b[H\x1b[2J{text}") } else { text.clone() };
                    print(&screen)?;
                    (printed, told) = (text, says);
                }
            }
            Err(error) if told.is_none() => return Err(error.into()),
            Err(error) => tell_once(&mut lost, &error),
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// What moves by itself: the picture's number and time, ages, and what the answering agent saw of its own last probes and calls.
const MOVING: [&str; 5] = ["index", "at", "age_ms", "local", "own"];

/// What an answer says, without what moves by itself.
fn said(body: &str) -> Value {
    fn still(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !MOVING.contains(&name.as_str()));
                fields.values_mut().for_each(still);
            }
            Value::Array(entries) => entries.iter_mut().for_each(still),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut value: Value = serde_json::from_str(body).unwrap_or_default();
    still(&mut value);
    value
}

/// What makes a picture another one, its ages aside.
fn standing(view: &ViewAnswer) -> (quorate_core::AgentId, u64, bool, usize, usize) {
    (view.agent, view.index, view.quorate, view.alive, view.stale_instances)
}

/// Tells on standard error that the agent is gone, until it is back.
pub fn tell_once(lost: &mut bool, error: &AskError) {
    if !std::mem::replace(lost, true) {
        eprintln!("lost the agent, trying again: {}", error.brief());
    }
}

fn page<Q: Question>(question: &Q, reply: &Reply<Q::Answer>, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Json => format!("{}\n", reply.body.trim_end()),
        Format::Yaml => yaml(&reply.body)?,
        Format::Name => question.names(&reply.answer).iter().map(|name| format!("{}\n", clean(name))).collect(),
        Format::Table => style::render(&inked(question, &reply.answer), style::colour_wanted()),
        Format::Wide => {
            let body = question.wide(&reply.answer);
            style::render(&around(question.view(&reply.answer), &body), style::colour_wanted())
        }
    })
}

/// JSON as YAML.
///
/// # Errors
/// When it is no JSON.
pub fn yaml(json: &str) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(&serde_json::from_str::<Value>(json)?)?)
}

/// Banner, answer, footer.
pub fn inked<Q: Question>(question: &Q, answer: &Q::Answer) -> String {
    around(question.view(answer), &question.text(answer))
}

fn around(view: &ViewAnswer, body: &str) -> String {
    format!("{}{body}\n{}", table::banner(view), table::footer(view))
}

/// Prints to standard output; a reader that went away is an end, not an error.
///
/// # Errors
/// When it cannot be written for another reason.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// A line that says that there is nothing to show.
pub fn nothing(text: &str) -> String {
    format!("{}\n", Ink::Dim.on(text))
}

#[cfg(test)]
mod tests {
    use super::super::fabricated::{explained, instance, view};
    use super::*;
    use quorate_core::{Class, Verdict};

    #[test]
    fn only_what_an_answer_says_is_news() {
        let summary = instance("web@10.0.0.2:8080", Verdict::Up, Class::Healthy);
        let mut answer = explained(summary, &["pass", "pass"], None);
        let told = |answer: &crate::answers::InstanceAnswer| said(&serde_json::to_string(answer).unwrap());
        let before = told(&answer);
        answer.view = ViewAnswer { index: 482, at: "2026-11-21T07:00:06.000Z".to_owned(), age_ms: 90, ..view() };
        answer.summary.age_ms += 1000;
        answer.observers[0].age_ms = Some(7);
        assert_eq!(told(&answer), before);
        answer.observers[0].vote = Some("fail".to_owned());
        assert_ne!(told(&answer), before);
        assert_ne!(said(r#"{"view": {"quorate": true}}"#), said(r#"{"view": {"quorate": false}}"#));
    }
}
