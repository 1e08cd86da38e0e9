//! UDP checks (RFC 768): send a datagram, and judge what comes back. Silence fails, unless the check expects nothing.

use crate::connect;
use crate::expect::{self, Matcher};
use crate::failure::{Step, of_io, timeout, unprepared, within};
use crate::findings::Findings;
use crate::line;
use crate::prober::Tools;
use crate::target::Target;
use quorate_core::check::UdpCheck;
use quorate_core::{Cause, Phase, ProbeFailure};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// How long a refusal is waited for where no answer is.
const REFUSAL: Duration = Duration::from_millis(200);

/// A socket that speaks with `peer` alone.
pub(crate) async fn socket(peer: SocketAddr) -> Step<UdpSocket> {
    let any: SocketAddr =
        if peer.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let failed = |error: std::io::Error| of_io(Phase::Connect, &error);
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(peer).await.map_err(failed)?;
    Ok(socket)
}

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &UdpCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = line::authority(target)?;
    let matcher = check.expect.as_ref().map(|expect| tools.patterns.matcher(expect));
    let mut matcher = matcher.transpose().map_err(unprepared)?;
    let peer = connect::resolve(tools, target, &authority, deadline, findings).await?;
    let socket = socket(peer).await?;
    let asked = Instant::now();
    let sent = within(deadline, Phase::Send, socket.send(&check.send)).await?;
    sent.map_err(|error| of_io(Phase::Send, &error))?;
    findings.timings.send = Some(asked.elapsed());
    let sent_at = Instant::now();
    let until = if check.expect_answer { deadline } else { deadline.min(Instant::now() + REFUSAL) };
    let mut answer = vec![0; usize::try_from(check.max_read_bytes).unwrap_or(0).min(UdpCheck::MAX_DATAGRAM_BYTES)];
    let length = match timeout_at(until, socket.recv(&mut answer)).await {
        Err(_) if !check.expect_answer => return Ok(()),
        Err(_) => return Err(timeout(Phase::FirstByte)),
        Ok(Err(error)) => return Err(of_io(Phase::FirstByte, &error)),
        Ok(Ok(length)) => length,
    };
    findings.timings.first_byte = Some(sent_at.elapsed());
    let answer = answer.get(..length).unwrap_or_default();
    findings.excerpt.push(answer);
    let met = match &mut matcher {
        None => true,
        Some(Matcher::Bytes(search)) => search.feed(answer),
        Some(Matcher::Regex(regex)) => regex.is_match(answer),
    };
    let said =
        if met { Ok(()) } else { Err(ProbeFailure::new(Phase::Assert, Cause::Content, "Unexpected response content")) };
    expect::note("", check.expect.as_ref(), said, findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{checking, probe, target};
    use quorate_core::{CheckKind, Expect, Grade};

    #[tokio::test]
    async fn what_is_expected_is_told_as_a_condition() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = target(server.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            let mut asked = [0; 16];
            while let Ok((_, asker)) = server.recv_from(&mut asked).await {
                let _ = server.send_to(b"pong", asker).await;
            }
        });
        for (expected, grade) in [("pong", Grade::Pass), ("ping", Grade::Fail)] {
            let expect = Some(Expect::Contains(expected.as_bytes().to_vec()));
            let udp = UdpCheck { send: b"ping".to_vec(), expect, ..UdpCheck::default() };
            let outcome = probe(&at, &checking(CheckKind::Udp(udp))).await;
            let judged = &outcome.judgements[0];
            assert_eq!((judged.what.clone(), judged.grade), (format!("answer contains {expected:?}"), grade));
        }
    }
}
