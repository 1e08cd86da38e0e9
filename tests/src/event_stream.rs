//! Server-sent events, as a browser reads them.

use crate::http;
use serde_json::Value;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::time::Duration;

/// One event of the stream.
#[derive(Debug, Clone)]
pub struct StreamedEvent {
    /// Its id.
    pub id: String,
    /// Its type.
    pub event: String,
    /// Its data.
    pub data: Value,
}

/// An open stream.
pub struct EventStream {
    lines: Box<dyn BufRead + Send>,
}

impl EventStream {
    /// Opens a stream; `last` is the id of the last event seen before, sent as a browser does when it comes back.
    ///
    /// # Panics
    /// When the agent does not answer with a stream.
    #[must_use]
    pub fn open(address: SocketAddr, path: &str, last: Option<&str>) -> Self {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.map(|id| ("last-event-id", id)));
        let (answer, lines) =
            http::open(address, "GET", path, &headers, Duration::from_secs(30)).expect("the stream opens");
        assert_eq!(answer.status, 200, "{path}");
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { lines }
    }

    /// The next event; comments are passed over.
    ///
    /// # Errors
    /// When nothing comes for half a minute, or the stream ends.
    pub fn next_event(&mut self) -> io::Result<StreamedEvent> {
        let (mut id, mut event, mut data) = (String::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(':') {
                Some(("id", value)) => id = value.trim().to_owned(),
                Some(("event", value)) => event = value.trim().to_owned(),
                Some(("data", value)) => data.push_str(value.trim()),
                Some(_) => {}
                None if data.is_empty() => {}
                None => {
                    let data = serde_json::from_str(&data).map_err(io::Error::other)?;
                    return Ok(StreamedEvent { id, event, data });
                }
            }
        }
    }

    /// Reads until an event satisfies `wanted`, and returns all that were read, that one last.
    ///
    /// # Panics
    /// When it does not come within a thousand events, or the stream stops.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&StreamedEvent) -> bool) -> Vec<StreamedEvent> {
        let mut seen = Vec::new();
        while seen.len() < 1000 {
            match self.next_event() {
                Ok(event) => seen.push(event),
                Err(error) => panic!("{what}: {error}, after {seen:?}"),
            }
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
        panic!("{what}: not among a thousand events");
    }
}
