//! HTTP and HTTPS checks (RFC 9110, RFC 9112): one request, perhaps some redirects, and a judgement of the status.
//!
//! An unexpected status is reported even when its body could not be read: what the far end said weighs more than what it left out.
//! The certificate of a TLS target is judged in the handshake, before any request is sent.

use crate::address::Authority;
use crate::connect;
use crate::failure::{Step, unprepared};
use crate::findings::{Findings, add};
use crate::link::Link;
use crate::prober::Tools;
use crate::redirect;
use crate::request::{Endpoint, Hop};
use crate::stats::count;
use crate::target::Target;
use hyper::Response;
use hyper::body::Incoming;
use quorate_core::{Cause, HttpCheck, Method, Phase, ProbeFailure};
use tokio::time::Instant;

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &HttpCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = Authority::parse(&target.address, None)
        .ok_or_else(|| unprepared(format!("{:?} is not an address: write host:port", target.address)))?;
    let home = Hop::first(authority, check);
    let mut hop = home.clone();
    let mut hops = 0;
    loop {
        let (mut link, answer) = ask(tools, target, check, &hop, deadline, findings).await?;
        findings.status_code = Some(answer.status().as_u16());
        findings.keep_headers(answer.headers());
        if check.follow_redirects
            && let Some(next) = redirect::next(&home, &hop, answer.status(), answer.headers())?
        {
            if hops >= check.max_redirects {
                let detail = format!("Too many redirects: more than {}", check.max_redirects);
                return Err(ProbeFailure::new(Phase::Assert, Cause::TooMuch, detail));
            }
            hops += 1;
            hop = next;
            continue;
        }
        let status = answer.status().as_u16();
        let read = read_body(&mut link, answer, check, deadline, findings).await;
        if !check.expected_status.contains(status) {
            let detail = format!("Unexpected status code: {status}");
            return Err(ProbeFailure::new(Phase::Assert, Cause::Status, detail));
        }
        if read? && check.reuse_connection && link.settle(deadline).await {
            tools.pool.put(hop.endpoint(check), link);
        }
        return Ok(());
    }
}

/// Sends the hop's request, over a kept connection if the check allows it, and waits for the head of the answer.
async fn ask(
    tools: &Tools,
    target: &Target,
    check: &HttpCheck,
    hop: &Hop,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<(Link, Response<Incoming>)> {
    let endpoint = hop.endpoint(check);
    // Nobody but the far end can tell whether it acted on a request that got no answer, so a POST is never sent twice (RFC 9110,
    // section 9.2.2), and therefore never over a connection that may just be closing.
    if check.reuse_connection
        && hop.method != Method::Post
        && let Some(mut link) = tools.pool.take(&endpoint).await
    {
        count(&tools.counters.reused_connections);
        findings.peer = Some(link.peer);
        let asked = link.ask(hop.request(target, check)?, deadline).await;
        let silent = link.meter.read().first_read.is_none();
        match asked {
            // It closed while the request was under way; that says nothing yet.
            Err(failure) if failure.cause == Cause::Reset && silent => {}
            asked => return heard(link, asked, findings),
        }
    }
    let request = hop.request(target, check)?;
    let mut link = open(tools, &endpoint, deadline, findings).await?;
    let asked = link.ask(request, deadline).await;
    heard(link, asked, findings)
}

fn heard(link: Link, asked: Step<Response<Incoming>>, findings: &mut Findings) -> Step<(Link, Response<Incoming>)> {
    let reading = link.meter.read();
    if let (Some(written), Some(read)) = (reading.last_write, reading.first_read) {
        add(&mut findings.timings.first_byte, read.saturating_duration_since(written));
    }
    Ok((link, asked?))
}

async fn open(tools: &Tools, endpoint: &Endpoint, deadline: Instant, findings: &mut Findings) -> Step<Link> {
    // What is wrong on this host is found before the far end is troubled.
    let tls = match &endpoint.tls {
        Some(settings) => Some(tools.tls.prepare(settings, deadline).await?),
        None => None,
    };
    let tcp = connect::open(tools, &endpoint.authority, deadline, findings).await?;
    let peer = findings.peer.ok_or_else(|| unprepared("no address was chosen"))?;
    let stream = match tls {
        Some(tls) => tls.handshake(tcp, deadline, findings).await?,
        None => Box::new(tcp),
    };
    Link::new(stream, peer).await
}

/// Reads the part of the body that is wanted. True when the connection may be kept.
async fn read_body(
    link: &mut Link,
    answer: Response<Incoming>,
    check: &HttpCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<bool> {
    let begun = link.meter.read().first_read.unwrap_or_else(Instant::now);
    let mut body = answer.into_body();
    let excerpt = &mut findings.excerpt;
    let read = link.read(&mut body, check.max_body_bytes, deadline, |bytes| excerpt.push(bytes)).await;
    add(&mut findings.timings.transfer, begun.elapsed());
    read
}
