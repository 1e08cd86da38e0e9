//! TCP checks of several steps: what is said, what must come back, and perhaps TLS, from the beginning or from some step on.
//!
//! Each expectation looks at what has come since the match before it ended, so that a far end that says several things at once is understood
//! like one that says them one by one. The steps share the check's deadline.

use crate::connect;
use crate::expect::{self, Matcher};
use crate::failure::{Step, of_io, unprepared, within};
use crate::findings::Findings;
use crate::line;
use crate::meter::Stream;
use crate::prober::Tools;
use crate::starttls;
use crate::target::Target;
use crate::tcp::{Exchange, converse};
use crate::tls::Prepared;
use quorate_core::check::{DialogueCheck, DialogueStep};
use quorate_core::{Cause, Phase, ProbeFailure};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

/// Bytes between the last match and the end of its line at most, before a handshake.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &DialogueCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = line::authority(target)?;
    let matchers = check.steps.iter().map(|step| matcher(tools, step)).collect::<Step<Vec<_>>>()?;
    let mut prepared = match &check.tls {
        Some(options) => Some(tools.tls.prepare(&line::settings(options, &authority), deadline).await?),
        None => None,
    };
    let mut tcp = connect::open(tools, target, &authority, connect::First::They, deadline, findings).await?;
    let mut stream: Box<dyn Stream> = match prepared.take_if(|_| !check.begins_tls_later()) {
        Some(prepared) => {
            if let Some(how) = check.starttls {
                starttls::upgrade(&mut tcp, how, deadline).await?;
            }
            prepared.handshake(tcp, deadline, findings).await?
        }
        None => Box::new(tcp),
    };
    let mut carry = Vec::new();
    for ((number, step), matcher) in (1..).zip(&check.steps).zip(matchers) {
        let DialogueStep::Turn { send, expect } = step else {
            stream = begin_tls(stream, prepared.take(), &mut carry, deadline, findings).await?;
            continue;
        };
        let exchange = Exchange { send, matcher, max_read_bytes: check.max_read_bytes };
        let place = format!("step {number}: ");
        let said = converse(&mut stream, exchange, &mut carry, deadline, findings).await;
        let said = said.map_err(|failure| {
            let detail = format!("{place}{}", failure.detail);
            ProbeFailure::new(failure.phase, failure.cause, detail)
        });
        expect::note(&place, expect.as_ref(), said, findings)?;
    }
    Ok(())
}

fn matcher(tools: &Tools, step: &DialogueStep) -> Step<Option<Matcher>> {
    match step {
        DialogueStep::Turn { expect: Some(expect), .. } => tools.patterns.matcher(expect).map(Some).map_err(unprepared),
        DialogueStep::Turn { expect: None, .. } | DialogueStep::StartTls => Ok(None),
    }
}

/// The handshake in the midst of a connection. A text is first read to the end of its line; what else came before is not taken for something said
/// under TLS (RFC 3207, section 4.2).
async fn begin_tls(
    mut stream: Box<dyn Stream>,
    prepared: Option<Prepared>,
    carry: &mut Vec<u8>,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<Box<dyn Stream>> {
    let prepared = prepared.ok_or_else(|| unprepared("a step begins TLS, and the check does not say how"))?;
    if is_open_line(carry) {
        within(deadline, Phase::Tls, end_of_line(&mut stream)).await??;
    }
    carry.clear();
    prepared.handshake(stream, deadline, findings).await
}

/// A text whose last line has no end yet. Protocols of bytes have other marks, and none of a line.
fn is_open_line(said: &[u8]) -> bool {
    let text = |byte: &u8| !byte.is_ascii_control() || b"\r\n\t".contains(byte);
    said.last().is_some_and(|last| *last != b'\n') && said.iter().all(text)
}

async fn end_of_line(stream: &mut Box<dyn Stream>) -> Step<()> {
    for _ in 0..MAX_LINE_BYTES {
        if stream.read_u8().await.map_err(|error| of_io(Phase::Tls, &error))? == b'\n' {
            return Ok(());
        }
    }
    let detail = format!("Invalid response: more than {MAX_LINE_BYTES} bytes without the end of a line before TLS");
    Err(ProbeFailure::new(Phase::Tls, Cause::TooMuch, detail))
}

#[cfg(test)]
#[path = "dialogue_tests.rs"]
mod tests;
