//! HTTP and HTTPS checks (RFC 9110, RFC 9112, RFC 9113): one request, perhaps some redirects, and a judgement of the status.
//!
//! An unexpected status is reported even when its body could not be read: what the far end said weighs more than what it left out.
//! The certificate of a TLS target is judged in the handshake, before any request is sent.

use crate::address::Authority;
use crate::connect::{self, First};
use crate::failure::{Step, unprepared, within};
use crate::findings::{Findings, add};
use crate::judge::{self, Answer};
use crate::link::Link;
use crate::meter::Stream;
use crate::metric;
use crate::prober::Tools;
use crate::redirect;
use crate::request::{self, Endpoint, Header, Hop};
use crate::stats::count;
use crate::target::Target;
use crate::tls_check;
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, Response};
use quorate_core::check::Measure;
use quorate_core::{Cause, Grade, HttpCheck, HttpVersion, Method, Phase, ProbeFailure, Scheme};
use tokio::time::Instant;

/// One attempt. With `metric`, an answer that passes is searched for its number, too.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &HttpCheck,
    metric: Option<&Measure>,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = Authority::parse(&target.address, None)
        .ok_or_else(|| unprepared(format!("{:?} is not an address: write host:port", target.address)))?;
    let headers = within(deadline, Phase::Prepare, request::headers(&tools.own, check)).await??;
    let home = Hop::first(authority, check);
    let mut hop = home.clone();
    let mut hops = 0;
    loop {
        let asked = ask(tools, target, (check, &headers), &hop, deadline, findings).await;
        let (mut link, answer) = asked.map_err(|failure| placed(failure, &home, &hop))?;
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
        let (head, body) = answer.into_parts();
        let keep = metric.is_some() || !check.assertions.is_empty();
        let body = read_body(&mut link, body, check.max_body_bytes, keep, deadline, findings).await;
        let begun = Instant::now();
        let judged = judge(tools, (check, metric), head.status.as_u16(), &head.headers, &body, findings);
        add(&mut findings.timings.assert, begun.elapsed());
        judged.map_err(|failure| if hops > 0 { answered(failure, &home, &hop) } else { failure })?;
        if body?.over && check.reuse_connection && link.settle(deadline).await {
            tools.pool.put(hop.endpoint(check), link);
        }
        return Ok(());
    }
}

/// A failure at another place than the check's says where.
fn placed(failure: ProbeFailure, home: &Hop, hop: &Hop) -> ProbeFailure {
    match elsewhere(home, hop) {
        None => failure,
        Some(place) => {
            let detail = format!("redirected to {place}: {}", failure.detail);
            ProbeFailure::new(failure.phase, failure.cause, detail)
        }
    }
}

/// Characters told of the path that answered.
const PATH_CHARS: usize = 80;

/// An answer that a redirect led to and that is not accepted says what gave it: the path, without its query, which may hold a secret.
fn answered(failure: ProbeFailure, home: &Hop, hop: &Hop) -> ProbeFailure {
    let path = hop.path.split('?').next().unwrap_or_default();
    let more = if path.chars().count() > PATH_CHARS { "..." } else { "" };
    let path: String = path.chars().take(PATH_CHARS).collect();
    let place = elsewhere(home, hop).unwrap_or_default();
    let detail = format!("redirected to {place}{path}{more}: {}", failure.detail);
    ProbeFailure::new(failure.phase, failure.cause, detail)
}

/// Where a hop leads, if not to the check's own place. Another port, or TLS instead of plain text, is another place, even where credentials may
/// be sent.
fn elsewhere(home: &Hop, hop: &Hop) -> Option<String> {
    let Authority { host, port } = &hop.authority;
    ((hop.scheme, &hop.authority) != (home.scheme, &home.authority)).then(|| format!("{host}:{port}"))
}

/// The status first, then the body's arrival, then what the body and the headers say.
fn judge(
    tools: &Tools,
    (check, metric): (&HttpCheck, Option<&Measure>),
    status: u16,
    headers: &HeaderMap,
    body: &Step<ReadBody>,
    findings: &mut Findings,
) -> Step<()> {
    let what = format!("status is {}", check.expected_status);
    let is_expected = check.expected_status.contains(status);
    let (grade, why) = if is_expected || check.protected_status.contains(status) {
        (Grade::Pass, String::new())
    } else {
        let grade = if check.degraded_status.contains(status) { Grade::Warn } else { Grade::Fail };
        (grade, format!("Unexpected status code: {status}"))
    };
    findings.judge(what, status.to_string(), grade, (Cause::Status, &why))?;
    if !is_expected {
        findings.protected = (grade == Grade::Pass).then(|| format!("protected: status code {status}"));
        return Ok(());
    }
    let body = body.as_ref().map_err(ProbeFailure::clone)?;
    let answer = Answer { body: &body.bytes, cut: (!body.whole).then_some("max_body_bytes"), headers };
    judge::assertions(&tools.patterns, &check.assertions, &answer, findings)?;
    metric.map_or(Ok(()), |metric| metric::judge(metric, &answer, findings))
}

/// Sends the hop's request, over a kept connection if the check allows it, and waits for the head of the answer.
async fn ask(
    tools: &Tools,
    target: &Target,
    (check, headers): (&HttpCheck, &[Header]),
    hop: &Hop,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<(Link, Response<Incoming>)> {
    let endpoint = hop.endpoint(check);
    // Nobody but the far end can tell whether it acted on a request that got no answer, so a POST is never sent twice (RFC 9110,
    // section 9.2.2), and therefore never over a connection that may just be closing.
    let may_use =
        |link: &Link| tools.own.admit(&endpoint.authority.host, link.peer.ip(), target.home.as_deref()).is_ok();
    if check.reuse_connection
        && hop.method != Method::Post
        && let Some(mut link) = tools.pool.take(&endpoint, may_use).await
    {
        count(&tools.counters.reused_connections);
        findings.peer = Some(link.peer);
        findings.tls.clone_from(&link.tls);
        if let Some(settings) = &endpoint.tls {
            tls_check::judge(settings, findings)?;
        }
        let asked = link.ask(hop.request(target, check, headers)?, deadline).await;
        let silent = link.meter.read().first_read.is_none();
        match asked {
            // It closed while the request was under way; that says nothing yet.
            Err(failure) if failure.cause == Cause::Reset && silent => {}
            asked => return heard(link, asked, findings),
        }
    }
    let request = hop.request(target, check, headers)?;
    let mut link = open(tools, target, (check, &endpoint), deadline, findings).await?;
    let asked = link.ask(request, deadline).await;
    heard(link, asked, findings)
}

fn heard(link: Link, asked: Step<Response<Incoming>>, findings: &mut Findings) -> Step<(Link, Response<Incoming>)> {
    link.meter.read().note(findings);
    Ok((link, asked?))
}

async fn open(
    tools: &Tools,
    target: &Target,
    (check, endpoint): (&HttpCheck, &Endpoint),
    deadline: Instant,
    findings: &mut Findings,
) -> Step<Link> {
    let version = endpoint.version;
    // What is wrong on this host is found before the far end is troubled.
    let tls = match &endpoint.tls {
        Some(settings) => Some(tools.tls.prepare(settings, deadline).await?),
        None => None,
    };
    let tcp = connect::open(tools, target, &endpoint.authority, First::We, deadline, findings).await?;
    if tls.is_none() && version != HttpVersion::Http2 && !check.reuse_connection {
        connect::leave_by_reset(&tcp);
    }
    let peer = findings.peer.ok_or_else(|| unprepared("no address was chosen"))?;
    let (stream, scheme): (Box<dyn Stream>, _) = match tls {
        Some(tls) => (tls.handshake(tcp, deadline, findings).await?, Scheme::Https),
        None => (Box::new(tcp), Scheme::Http),
    };
    let agreed = findings.tls.as_ref().and_then(|facts| facts.alpn.as_deref());
    let http2 = match version {
        HttpVersion::Http1 => false,
        HttpVersion::Auto => scheme == Scheme::Https && agreed == Some("h2"),
        HttpVersion::Http2 if scheme == Scheme::Https && agreed != Some("h2") => {
            return Err(ProbeFailure::new(Phase::Tls, Cause::Protocol, "TLS error: the server does not offer HTTP/2"));
        }
        HttpVersion::Http2 => true,
    };
    let mut link = within(deadline, Phase::Send, Link::new(stream, peer, scheme, http2)).await??;
    link.tls.clone_from(&findings.tls);
    Ok(link)
}

/// A body, as far as it was read.
struct ReadBody {
    bytes: Vec<u8>,
    /// Was that all of it?
    whole: bool,
    /// Has it come to its end? Then the connection may be kept.
    over: bool,
}

/// Reads the part of the body that is wanted; all of that is kept if a condition looks at it.
async fn read_body(
    link: &mut Link,
    mut body: Incoming,
    max: u32,
    keep: bool,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<ReadBody> {
    let begun = link.meter.read().first_read.unwrap_or_else(Instant::now);
    let (excerpt, mut bytes) = (&mut findings.excerpt, Vec::new());
    let read = link
        .read(&mut body, max, deadline, |piece| {
            excerpt.push(piece);
            if keep {
                bytes.extend_from_slice(piece);
            }
        })
        .await;
    add(&mut findings.timings.transfer, begun.elapsed());
    let whole = read?;
    Ok(ReadBody { bytes, whole, over: whole || body.is_end_stream() })
}
