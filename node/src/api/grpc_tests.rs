//! gRPC's health checking at the API, asked over HTTP/2 as its clients do.

use super::fixture::{ask, start, view};
use axum::body::Body;
use axum::http::{HeaderMap, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate_core::Verdict;
use quorate_mesh::MeshView;
use quorate_probe::grpc_health::{self, Serving};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// One connection of a client.
struct Client(http2::SendRequest<Body>, SocketAddr);

impl Client {
    async fn connect(api: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(api).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        Self(sender, api)
    }

    async fn call(&mut self, method: &str, message: Vec<u8>) -> (HeaderMap, Incoming) {
        let request = Request::post(format!("http://{}/grpc.health.v1.Health/{method}", self.1))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let response = self.0.send_request(request.body(Body::from(message)).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "gRPC has statuses of its own");
        let (head, body) = response.into_parts();
        assert_eq!(head.headers["content-type"], "application/grpc");
        (head.headers, body)
    }

    /// The status, and the message of the answer.
    async fn whole(&mut self, method: &str, message: Vec<u8>) -> (String, Vec<u8>) {
        let (headers, body) = self.call(method, message).await;
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or(headers);
        (trailers["grpc-status"].to_str().unwrap().to_owned(), body.to_bytes().to_vec())
    }
}

async fn next(body: &mut Incoming) -> Option<Serving> {
    let frame = body.frame().await.unwrap().unwrap();
    grpc_health::responded(frame.data_ref().unwrap()).and_then(Serving::of)
}

/// The picture in which every instance of `web` has this verdict.
fn with_web(verdict: Verdict, index: u64) -> MeshView {
    let mut view = MeshView { index, ..view() };
    for instance in Arc::make_mut(&mut view.instances).values_mut().filter(|one| one.service.as_str() == "web") {
        Arc::make_mut(instance).verdict = verdict;
    }
    view
}

#[tokio::test]
async fn services_and_the_agent_itself_are_checked() {
    let fixture = start(view());
    let mut client = Client::connect(fixture.api).await;
    for (service, status, expected) in [
        ("", "0", Some(Serving::NotServing)),
        ("web", "0", Some(Serving::Serving)),
        ("db", "0", Some(Serving::Unknown)),
        ("quorate-agent", "0", Some(Serving::Serving)),
        ("wbe", "5", None),
    ] {
        // The picture of the tests has a disk that fails.
        let disk = if service.is_empty() { Err(std::io::Error::from_raw_os_error(28)) } else { Ok(()) };
        fixture.published.storing().note(std::path::Path::new("/data/state.bin"), &disk);
        let (found, message) = client.whole("Check", grpc_health::request(service)).await;
        let serving = grpc_health::responded(&message).and_then(Serving::of).filter(|_| !message.is_empty());
        assert_eq!((found.as_str(), serving), (status, expected), "{service:?}");
    }
    assert_eq!(client.whole("Check", vec![1, 0, 0, 0, 0]).await.0, "3", "compressed");
    assert_eq!(client.whole("Check", vec![0; 8 * 1024]).await.0, "3", "too long");
    let (refused, _) = client.call("Check", vec![0, 0, 0, 0, 5]).await;
    let said = refused["grpc-message"].to_str().unwrap();
    assert!(said.contains("is too long; send one of at most 4096 bytes"), "{said}");
    assert_eq!(client.whole("Chekc", grpc_health::request("")).await.0, "12");
    fixture.published.replace(MeshView { settled: false, index: 8, ..view() });
    assert_eq!(client.whole("Check", grpc_health::request("wbe")).await.0, "14", "it may be unknown because of that");

    let (status, message) = client.whole("List", vec![0; 5]).await;
    let expected = grpc_health::list([("", Serving::NotServing), ("db", Serving::Unknown), ("web", Serving::Serving)]);
    assert_eq!((status.as_str(), message), ("0", expected));

    let plain = ask(fixture.api, "POST /grpc.health.v1.Health/Check", &["Content-Type: application/json"]).await;
    assert_eq!(plain.status, 415, "{}", plain.body);
    assert_eq!(ask(fixture.api, "GET /grpc.health.v1.Health/Check", &[]).await.status, 405);
}

#[tokio::test]
async fn in_the_clear_from_elsewhere_the_agent_alone_is_told() {
    let fixture = start(view());
    let mut client = Client::connect(fixture.health).await;
    assert_eq!(client.whole("Check", grpc_health::request("")).await.0, "0");
    assert_eq!(client.whole("Check", grpc_health::request("web")).await.0, "7");
    assert_eq!(client.whole("Watch", grpc_health::request("web")).await.0, "7");
    assert_eq!(client.whole("List", vec![0; 5]).await.0, "7");
}

#[tokio::test]
async fn a_watch_tells_each_change_once() {
    let fixture = start(with_web(Verdict::Up, 7));
    let places = fixture.few_streams();
    let mut client = Client::connect(fixture.api).await;
    let (_, mut web) = client.call("Watch", grpc_health::request("web")).await;
    let (_, mut other) = client.call("Watch", grpc_health::request("later")).await;
    let (_, mut own) = client.call("Watch", grpc_health::request("")).await;
    assert_eq!(next(&mut web).await, Some(Serving::Serving));
    assert_eq!(next(&mut other).await, Some(Serving::ServiceUnknown));
    assert_eq!(next(&mut own).await, Some(Serving::Serving));
    // A picture in which it is the same says nothing.
    fixture.published.replace(with_web(Verdict::Degraded, 8));
    fixture.published.replace(with_web(Verdict::Down, 9));
    assert_eq!(next(&mut web).await, Some(Serving::NotServing));
    fixture.published.replace(with_web(Verdict::Up, 10));
    assert_eq!(next(&mut web).await, Some(Serving::Serving));
    fixture.published.leave();
    assert_eq!(next(&mut own).await, Some(Serving::NotServing), "no new picture comes with it");
    let mut held = Vec::new();
    // Three are taken.
    for _ in 3..places {
        let mut client = Client::connect(fixture.api).await;
        let (_, body) = client.call("Watch", grpc_health::request("web")).await;
        held.push((client, body));
    }
    let (headers, _) = client.call("Watch", grpc_health::request("web")).await;
    assert_eq!(headers["grpc-status"], "8", "no more places");
    // Those that are given up make room as soon as it is noticed.
    drop((web, other, own));
    let begun = std::time::Instant::now();
    while client.call("Watch", grpc_health::request("web")).await.0.contains_key("grpc-status") {
        assert!(begun.elapsed().as_secs() < 20, "a watch that was given up keeps its place");
    }
}
