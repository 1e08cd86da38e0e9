//! TCP checks (RFC 9293): connect, perhaps send, perhaps expect.
//!
//! The answer is read until it matches, ends, reaches its limit, or the deadline passes. A far end that said something by then, but
//! not what was expected, answered badly; only one that said nothing at all is reported as silent.

use crate::address::Authority;
use crate::connect::{self, First};
use crate::expect::{self, Matcher};
use crate::failure::{Step, of_io, timeout, unprepared, within};
use crate::findings::{Findings, add};
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::{Cause, Phase, ProbeFailure, TcpCheck};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// An expression is tried when nothing has arrived for this long, and whenever the answer has grown by a quarter.
const QUIET: Duration = Duration::from_millis(10);
const PIECE_BYTES: usize = 4096;

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &TcpCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = Authority::parse(&target.address, None)
        .ok_or_else(|| unprepared(format!("{:?} is not an address: write host:port", target.address)))?;
    let matcher = check.expect.as_ref().map(|expect| tools.patterns.matcher(expect));
    let matcher = matcher.transpose().map_err(unprepared)?;
    let first = if check.send.is_empty() { First::They } else { First::We };
    let mut stream = connect::open(tools, target, &authority, first, deadline, findings).await?;
    let exchange = Exchange { send: &check.send, matcher, max_read_bytes: check.max_read_bytes };
    let said = converse(&mut stream, exchange, &mut Vec::new(), deadline, findings).await;
    expect::note("", check.expect.as_ref(), said, findings)
}

/// What is said over a connection, and what is to come back.
pub(crate) struct Exchange<'a> {
    pub(crate) send: &'a [u8],
    /// None: nothing need come back.
    pub(crate) matcher: Option<Matcher>,
    pub(crate) max_read_bytes: u32,
}

/// Speaks and listens over a connection that is open. What came before and was not matched is in `carry`, and what this match leaves is there
/// afterwards.
pub(crate) async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    exchange: Exchange<'_>,
    carry: &mut Vec<u8>,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    if !exchange.send.is_empty() {
        let begun = Instant::now();
        let sent = within(deadline, Phase::Send, async {
            stream.write_all(exchange.send).await?;
            stream.flush().await
        });
        let sent = sent.await?;
        add(&mut findings.timings.send, begun.elapsed());
        sent.map_err(|error| of_io(Phase::Send, &error))?;
    }
    let Some(matcher) = exchange.matcher else { return Ok(()) };
    let mut answer = Answer::new(matcher, exchange.max_read_bytes, Instant::now());
    let known = carry.len();
    let result = if answer.begin(std::mem::take(carry)) { Ok(()) } else { answer.hear(stream, deadline).await };
    if let Some(first) = answer.first_byte {
        add(&mut findings.timings.first_byte, first.saturating_duration_since(answer.asked));
        add(&mut findings.timings.transfer, first.elapsed());
    }
    findings.excerpt.push(answer.bytes.get(known..).unwrap_or_default());
    if let (Ok(()), Some(end)) = (&result, answer.matcher.end_in(&answer.bytes)) {
        *carry = answer.bytes.split_off(end);
    }
    result
}

struct Answer {
    matcher: Matcher,
    max: usize,
    asked: Instant,
    first_byte: Option<Instant>,
    bytes: Vec<u8>,
    /// How much of `bytes` an expression has been tried on.
    tried: usize,
}

impl Answer {
    fn new(matcher: Matcher, max: u32, asked: Instant) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Self { matcher, max, asked, first_byte: None, bytes: Vec::new(), tried: 0 }
    }

    /// Takes what has come already; true when that meets the condition.
    fn begin(&mut self, carry: Vec<u8>) -> bool {
        !carry.is_empty() && (self.take(&carry) || self.try_all())
    }

    async fn hear(&mut self, stream: &mut (impl AsyncRead + Unpin), deadline: Instant) -> Step<()> {
        let mut piece = [0; PIECE_BYTES];
        while self.bytes.len() < self.max {
            let room = piece.len().min(self.max - self.bytes.len());
            let into = piece.get_mut(..room).unwrap_or_default();
            let untried = self.tried < self.bytes.len();
            let until = if untried { deadline.min(Instant::now() + QUIET) } else { deadline };
            let count = match timeout_at(until, stream.read(into)).await {
                Err(_) if untried && until < deadline => {
                    if self.try_all() {
                        return Ok(());
                    }
                    continue;
                }
                Err(_) if self.try_all() => return Ok(()),
                Err(_) if self.bytes.is_empty() => return Err(timeout(Phase::FirstByte)),
                Err(_) => return Err(mismatch()),
                Ok(Err(_)) if self.try_all() => return Ok(()),
                Ok(Err(error)) => return Err(of_io(self.phase(), &error)),
                Ok(Ok(0)) => break,
                Ok(Ok(count)) => count,
            };
            self.first_byte.get_or_insert_with(Instant::now);
            if self.take(piece.get(..count).unwrap_or_default()) {
                return Ok(());
            }
        }
        match (self.try_all(), self.bytes.is_empty() && self.max > 0) {
            (true, _) => Ok(()),
            (false, false) if self.bytes.len() >= self.max => {
                let detail = format!("Unexpected response content within `max_read_bytes` ({})", self.max);
                Err(ProbeFailure::new(Phase::Assert, Cause::Content, detail))
            }
            (false, false) => Err(mismatch()),
            (false, true) => {
                let detail = "Connection error: closed before it answered";
                Err(ProbeFailure::new(Phase::FirstByte, Cause::Reset, detail))
            }
        }
    }

    /// Adds a piece; true when the condition is met.
    fn take(&mut self, piece: &[u8]) -> bool {
        self.bytes.extend_from_slice(piece);
        match &mut self.matcher {
            Matcher::Bytes(search) => {
                self.tried = self.bytes.len();
                search.feed(piece)
            }
            Matcher::Regex(_) => self.bytes.len() >= self.tried + self.tried / 4 + PIECE_BYTES && self.try_all(),
        }
    }

    /// Tries the condition on all that was heard.
    fn try_all(&mut self) -> bool {
        self.tried = self.bytes.len();
        match &mut self.matcher {
            Matcher::Bytes(search) => search.feed(&[]),
            Matcher::Regex(regex) => regex.is_match(&self.bytes),
        }
    }

    fn phase(&self) -> Phase {
        if self.bytes.is_empty() { Phase::FirstByte } else { Phase::Body }
    }
}

fn mismatch() -> ProbeFailure {
    ProbeFailure::new(Phase::Assert, Cause::Content, "Unexpected response content")
}
