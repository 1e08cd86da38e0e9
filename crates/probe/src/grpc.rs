//! gRPC checks: one call of `grpc.health.v1.Health/Check` over HTTP/2.

use crate::address::Authority;
use crate::connect;
use crate::failure::{Step, unprepared, within};
use crate::findings::{Findings, add};
use crate::grpc_health::{self, Serving};
use crate::line;
use crate::link::Link;
use crate::meter::Stream;
use crate::prober::Tools;
use crate::request;
use crate::target::Target;
use crate::tls::TlsSettings;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, Uri};
use quorate_core::check::GrpcCheck;
use quorate_core::{Cause, Grade, Phase, ProbeFailure, Scheme};
use tokio::time::Instant;

/// Bytes of an answer at most; a real one has seven.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
const PATH: &str = "/grpc.health.v1.Health/Check";
/// `PERMISSION_DENIED` and `UNAUTHENTICATED`.
const GUARDED: [u32; 2] = [7, 16];

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &GrpcCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = line::authority(target)?;
    let scheme = if check.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let mut request = asked(check, &authority.host_header(scheme))?;
    for header in within(deadline, Phase::Prepare, request::values(&tools.own, &check.metadata)).await?? {
        request.headers_mut().append(header.name, header.value);
    }
    let prepared = match &check.tls {
        Some(options) => {
            let host = check.host.as_deref().and_then(|host| Authority::parse(host, Some(443))).map(|a| a.host);
            let name = options.server_name.clone().or(host).unwrap_or_else(|| authority.host.clone());
            Some(tools.tls.prepare(&TlsSettings::new(options, name, &["h2"]), deadline).await?)
        }
        None => None,
    };
    let tcp = connect::open(tools, target, &authority, connect::First::We, deadline, findings).await?;
    let peer = findings.peer.ok_or_else(|| unprepared("no address was chosen"))?;
    let stream: Box<dyn Stream> = match prepared {
        Some(prepared) => prepared.handshake(tcp, deadline, findings).await?,
        None => Box::new(tcp),
    };
    let mut link = within(deadline, Phase::Send, Link::new(stream, peer, scheme, true)).await??;
    let answer = link.ask(request, deadline).await;
    link.meter.read().note(findings);
    let answer = answer?;
    findings.status_code = Some(answer.status().as_u16());
    findings.keep_headers(answer.headers());
    if answer.status() != hyper::StatusCode::OK {
        let detail = format!("Unexpected status code: {}", answer.status().as_u16());
        return Err(ProbeFailure::new(Phase::Assert, Cause::Status, detail));
    }
    let head = answer.headers().clone();
    let (mut body, mut bytes, mut trailers) = (answer.into_body(), Vec::new(), HeaderMap::new());
    let begun = link.meter.read().first_read.unwrap_or_else(Instant::now);
    while let Some(frame) = link.frame(&mut body, deadline).await? {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        } else if let Some(found) = frame.trailers_ref() {
            trailers.clone_from(found);
        }
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(ProbeFailure::new(
                Phase::Body,
                Cause::TooMuch,
                "Invalid response: too long for a health answer",
            ));
        }
    }
    add(&mut findings.timings.transfer, begun.elapsed());
    judge(&head, &trailers, &bytes, findings)
}

fn asked(check: &GrpcCheck, host: &str) -> Step<Request<Full<Bytes>>> {
    let host = check.host.as_deref().unwrap_or(host);
    let host = HeaderValue::from_str(host).map_err(|_| unprepared("the host cannot be sent"))?;
    let mut request = Request::new(Full::new(Bytes::from(grpc_health::request(&check.service))));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(PATH);
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("Quorate/", env!("CARGO_PKG_VERSION"))));
    Ok(request)
}

fn judge(head: &HeaderMap, trailers: &HeaderMap, body: &[u8], findings: &mut Findings) -> Step<()> {
    let of = |name: &str| trailers.get(name).or_else(|| head.get(name)).and_then(|value| value.to_str().ok());
    let protocol = |detail: &str| Err(ProbeFailure::new(Phase::Body, Cause::Protocol, detail));
    let Some(code) = of("grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        return protocol("Invalid response: not gRPC");
    };
    let what = "the health service says SERVING";
    if code != 0 {
        let said = format!("grpc-status {code} {}", of("grpc-message").unwrap_or_default());
        if GUARDED.contains(&code) {
            findings.protected = Some(format!("protected: {said}"));
            return Ok(());
        }
        let detail = format!("Unexpected response content: {said}");
        return findings.judge(what, said.as_str(), Grade::Fail, (Cause::Content, &detail));
    }
    let said = match grpc_health::responded(body).and_then(Serving::of) {
        Some(Serving::Serving) => return findings.judge(what, "SERVING", Grade::Pass, (Cause::Content, "")),
        Some(other) => other.as_str(),
        None => return protocol("Invalid response: no health answer"),
    };
    findings.judge(what, said, Grade::Fail, (Cause::Content, &format!("Unexpected response content: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, assert_fail, failing};
    use quorate_core::{CheckKind, Outcome};

    /// What comes of a server that says this, and then perhaps closes.
    async fn against(said: &'static [u8], closes: bool, at_once: bool) -> Outcome {
        let server = Server::saying(said, closes).await;
        failing(&server.target(), CheckKind::Grpc(GrpcCheck::default()), at_once).await
    }

    #[tokio::test]
    async fn garbage_is_malformed_and_neither_silence_nor_an_end() {
        const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
        for closes in [false, true] {
            for garbage in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), &[0; 10], b"no\n"] {
                let outcome = against(garbage, closes, true).await;
                let detail = assert_fail(&outcome, Phase::FirstByte, Cause::Protocol);
                assert!(detail.starts_with("Invalid response: http2 error: "), "{detail}");
                assert!(detail.ends_with("; perhaps it speaks HTTP/1.1 alone"), "{detail}");
            }
        }
        for closed in [SETTINGS, b""] {
            assert_fail(&against(closed, true, true).await, Phase::FirstByte, Cause::Reset);
            assert_fail(&against(closed, false, false).await, Phase::FirstByte, Cause::Timeout);
        }
    }

    #[tokio::test]
    async fn the_certificate_is_for_the_host() {
        use crate::testing::{Authority, probe, response, target};
        use quorate_core::{Check, ProbeResult, TlsOptions};
        let authority = Authority::new();
        let identity = authority.sign(&["shop.internal"], |_| ());
        for (host, fits) in [(Some("shop.internal:8443"), true), (Some("other.internal"), false), (None, false)] {
            let config = authority.server(&identity, rustls::ALL_VERSIONS, false);
            let server = Server::https(config, |_| response(200, &[], "")).await;
            let tls = Some(TlsOptions { ca_file: Some(authority.ca_file()), ..TlsOptions::default() });
            let kind = CheckKind::Grpc(GrpcCheck { tls, host: host.map(str::to_owned), ..GrpcCheck::default() });
            let outcome = probe(&target(server.addr.to_string()), &Check { kind, ..Check::default() }).await;
            let refused = matches!(&outcome.result, ProbeResult::Fail(failure) if failure.phase == Phase::Tls);
            assert_eq!(refused, !fits, "{host:?}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn metadata_is_sent_along() {
        use crate::testing::{probe, target};
        use quorate_core::{Check, CheckKind};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
                tell.send(request.headers().clone()).unwrap();
                async { Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::new()))) }
            });
            let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
        });
        let metadata = vec![("x-tenant".to_owned(), "blue".into()), ("x-tenant".to_owned(), "green".into())];
        let kind = CheckKind::Grpc(GrpcCheck { metadata, ..GrpcCheck::default() });
        let check = Check { kind, ..Check::default() };
        assert_eq!(check.validate(), []);
        probe(&target(address.to_string()), &check).await;
        let headers = told.recv().await.unwrap();
        let values: Vec<_> = headers.get_all("x-tenant").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values, ["blue", "green"]);
        assert_eq!(headers["content-type"], "application/grpc");
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let headers: HeaderMap = [(hyper::header::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))].into_iter().collect();
            let _ = judge(&headers, &HeaderMap::new(), &body, &mut Findings::default());
        }
    }
}
