//! Every limit of the API in one place. What is refused or cut off because of one is counted under its name.

use std::time::Duration;

/// Longest time for one answer; streams of events go on after it, and the time a reader asks to wait comes before it.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest body of a request; none is needed.
pub const MAX_BODY_BYTES: u64 = 64 * 1024;
/// Largest request line and headers together.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Most headers of a request.
pub const MAX_HEADERS: usize = 64;
/// Longest time until the headers of the next request are there; an idle connection is closed after it too.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at once; more wait until one ends. Never more than half of the descriptors that the process may have.
pub const MAX_CONNECTIONS: usize = 2048;
/// Requests at once on one connection of HTTP/2.
pub const MAX_REQUESTS_AT_ONCE: u32 = 64;
/// A client that speaks HTTP/2 is asked after this time whether it is still there, so that a watch in which nothing changes is not silent.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A connection on which nothing is sent or received for this time is closed. Streams of events send a comment more often.
pub const MAX_SILENCE: Duration = Duration::from_secs(60);
/// Streams of events and watches of gRPC at once.
pub const MAX_EVENT_STREAMS: usize = 1024;
/// Answers that are kept for the next reader of the same picture.
pub const MAX_KEPT: usize = 64;
/// Their bytes, all together.
pub const MAX_KEPT_BYTES: usize = 16 << 20;
/// How long an answer is given out again: ages in it are exact to that.
pub const KEPT_FOR: Duration = Duration::from_millis(100);
/// Requests that wait for news at once.
pub const MAX_WAITING: usize = 256;
/// Longest time a request may wait for news; less than a connection may be silent.
pub const MAX_WAIT: Duration = Duration::from_secs(50);
/// How long a request waits that does not say.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// Longest value of a parameter.
pub const MAX_PARAMETER_CHARS: usize = 512;
/// Longest name in a list of names.
pub const MAX_NAME_CHARS: usize = 64;
/// Most entries of one page.
pub const MAX_PAGE: u64 = 10_000;

/// What was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// [`ANSWER_TIMEOUT`]
    AnswerTime,
    /// [`MAX_BODY_BYTES`]
    Body,
    /// [`MAX_HEADER_BYTES`] or [`MAX_HEADERS`]
    Headers,
    /// [`HEADER_TIMEOUT`], with part of a request there
    HeaderTime,
    /// [`MAX_CONNECTIONS`]: somebody had to wait
    Connections,
    /// [`MAX_SILENCE`]
    Silence,
    /// [`MAX_EVENT_STREAMS`]
    EventStreams,
    /// [`MAX_WAITING`]
    Waiting,
    /// [`MOST_A_MINUTE`](crate::agent::by_hand::MOST_A_MINUTE)
    ProbesByHand,
    /// Of the counters of others: how many there are, and how many series.
    CustomSeries,
}

impl Limit {
    /// Every limit that is counted.
    pub const ALL: [Self; 10] = [
        Self::AnswerTime,
        Self::Body,
        Self::Headers,
        Self::HeaderTime,
        Self::Connections,
        Self::Silence,
        Self::EventStreams,
        Self::Waiting,
        Self::ProbesByHand,
        Self::CustomSeries,
    ];

    /// Its word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AnswerTime => "answer_time",
            Self::Body => "body",
            Self::Headers => "headers",
            Self::HeaderTime => "header_time",
            Self::Connections => "connections",
            Self::Silence => "silence",
            Self::EventStreams => "event_streams",
            Self::Waiting => "waiting",
            Self::ProbesByHand => "probes_by_hand",
            Self::CustomSeries => "custom_series",
        }
    }
}
