//! What the database protocols share: a byte stream, perhaps with TLS on it, and answers of a known end.

use crate::address::Authority;
use crate::connect;
use crate::failure::{Step, of_io, timeout, unprepared, within};
use crate::findings::{Findings, add};
use crate::meter::Stream;
use crate::prober::Tools;
use crate::target::Target;
use crate::tls::TlsSettings;
use quorate_core::{Cause, Phase, ProbeFailure, TlsOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// Where a target is.
pub(crate) fn authority(target: &Target) -> Step<Authority> {
    Authority::parse(&target.address, None)
        .ok_or_else(|| unprepared(format!("{:?} is not an address: write host:port", target.address)))
}

/// Connects, and speaks TLS from the first byte if the check wants it.
pub(crate) async fn open(
    tools: &Tools,
    target: &Target,
    tls: Option<&TlsOptions>,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<Box<dyn Stream>> {
    let authority = authority(target)?;
    let prepared = match tls {
        Some(options) => Some(tools.tls.prepare(&settings(options, &authority), deadline).await?),
        None => None,
    };
    let tcp = connect::open(tools, target, &authority, connect::First::We, deadline, findings).await?;
    match prepared {
        Some(prepared) => prepared.handshake(tcp, deadline, findings).await,
        None => Ok(Box::new(tcp)),
    }
}

/// TLS settings for a server without application protocols.
pub(crate) fn settings(options: &TlsOptions, authority: &Authority) -> TlsSettings {
    let name = options.server_name.clone().unwrap_or_else(|| authority.host.clone());
    TlsSettings::new(options, name, &[])
}

/// Sends all of `bytes`.
pub(crate) async fn say(
    stream: &mut Box<dyn Stream>,
    bytes: &[u8],
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let begun = Instant::now();
    let sent = within(deadline, Phase::Send, async {
        stream.write_all(bytes).await?;
        stream.flush().await
    });
    let sent = sent.await;
    add(&mut findings.timings.send, begun.elapsed());
    sent?.map_err(|error| of_io(Phase::Send, &error))
}

/// Reads until `whole` finds the end of an answer, and returns what was read; at most `max` bytes.
pub(crate) async fn hear(
    stream: &mut Box<dyn Stream>,
    max: usize,
    deadline: Instant,
    findings: &mut Findings,
    whole: impl Fn(&[u8]) -> bool,
) -> Step<Vec<u8>> {
    let (asked, mut first, mut bytes, mut piece) = (Instant::now(), None, Vec::new(), [0; 1024]);
    let result = loop {
        let phase = if bytes.is_empty() { Phase::FirstByte } else { Phase::Body };
        let room = piece.len().min(max.saturating_sub(bytes.len()));
        if room == 0 {
            break Err(ProbeFailure::new(phase, Cause::TooMuch, format!("Invalid response: more than {max} bytes")));
        }
        match timeout_at(deadline, stream.read(piece.get_mut(..room).unwrap_or_default())).await {
            Err(_) => break Err(timeout(phase)),
            Ok(Err(error)) => break Err(of_io(phase, &error)),
            Ok(Ok(0)) => break Err(ProbeFailure::new(phase, Cause::Reset, "Connection error: closed early")),
            Ok(Ok(count)) => {
                first.get_or_insert_with(Instant::now);
                bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
            }
        }
        if whole(&bytes) {
            break Ok(());
        }
    };
    findings.excerpt.push(&bytes);
    if let Some(first) = first {
        add(&mut findings.timings.first_byte, first.saturating_duration_since(asked));
        add(&mut findings.timings.transfer, first.elapsed());
    }
    result.map(|()| bytes)
}
