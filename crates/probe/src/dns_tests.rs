//! Name servers that answer with something else, late, or not at all, by datagram and by TCP.

use crate::Target;
use crate::testing::*;
use quorate_core::check::{DnsCheck, DnsTransport};
use quorate_core::{Cause, CheckKind, Outcome, Phase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

fn asking(transport: DnsTransport) -> CheckKind {
    CheckKind::Dns(DnsCheck { name: "web.test".into(), transport, ..DnsCheck::default() })
}

/// The right answer: one address.
fn right(question: &[u8]) -> Vec<u8> {
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 1, 2, 3];
    let mut answer = [question, &record].concat();
    answer[2] |= 0x80;
    answer[7] = 1;
    answer
}

fn other_id(question: &[u8]) -> Vec<u8> {
    let mut answer = right(question);
    answer[0] ^= 1;
    answer
}

fn other_question(question: &[u8]) -> Vec<u8> {
    let mut answer = right(question);
    answer[13] = b'x';
    answer
}

/// Our id and the mark of a response, and nothing of sense behind them.
fn broken(question: &[u8]) -> Vec<u8> {
    [&right(question)[..12], &[0xff; 20]].concat()
}

type Say = fn(&[u8]) -> Vec<u8>;

/// What is no answer, and how it is told.
const BAD: [(Say, &str); 5] = [
    (|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "no DNS message: \"HTTP/1.1 400"),
    (broken, "no DNS message"),
    (|question| question.to_vec(), "a DNS question, no answer"),
    (other_id, "a DNS answer with another id"),
    (other_question, "a DNS answer to another question"),
];

/// A name server that answers each question with these datagrams.
async fn by_datagram(says: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Target {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = target(socket.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut question).await {
            for datagram in says(&question[..length]) {
                socket.send_to(&datagram, asker).await.unwrap();
            }
        }
    });
    target
}

#[tokio::test]
async fn datagrams_that_answer_something_else_are_told_of_when_time_is_over() {
    let mut probes = JoinSet::new();
    for (say, told) in BAD {
        let target = by_datagram(move |question| vec![say(question)]).await;
        probes.spawn(async move { (failing(&target, asking(DnsTransport::Udp), false).await, told) });
    }
    while let Some(probed) = probes.join_next().await {
        let (outcome, told) = probed.unwrap();
        let detail = assert_fail(&outcome, Phase::Body, Cause::Protocol);
        assert!(detail.starts_with(&format!("Invalid response: {told}")), "{detail}");
        assert!(!outcome.excerpt.is_empty());
    }
    let silent = by_datagram(|_| Vec::new()).await;
    assert_fail(&failing(&silent, asking(DnsTransport::Udp), false).await, Phase::FirstByte, Cause::Timeout);
}

#[tokio::test]
async fn no_datagram_before_the_answer_spoils_it() {
    let target = by_datagram(|question| {
        let strays = BAD.iter().cycle().take(40).map(|(say, _)| say(question));
        strays.chain([right(question)]).collect()
    });
    let outcome = probe(&target.await, &checking(asking(DnsTransport::Udp))).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "10.1.2.3");
}

#[tokio::test]
async fn what_comes_from_another_address_is_not_heard() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let target = target(socket.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        let mut question = [0; 512];
        let (length, asker) = socket.recv_from(&mut question).await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for datagram in [b"garbage".to_vec(), right(&question[..length])] {
            stranger.send_to(&datagram, asker).await.unwrap();
        }
        // Open until the probe is over: nothing is refused.
        std::future::pending::<()>().await;
    });
    assert_fail(&failing(&target, asking(DnsTransport::Udp), false).await, Phase::FirstByte, Cause::Timeout);
}

/// What comes of a name server that says this by TCP, and then perhaps closes.
async fn by_tcp(say: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + Copy + 'static, closes: bool, at_once: bool) -> Outcome {
    let server = Server::raw(move |mut stream, _| async move {
        let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut question).await.unwrap();
        let _ = stream.write_all(&say(&question)).await;
        if closes {
            let _ = stream.shutdown().await;
        }
        drain(stream).await;
    });
    failing(&server.await.target(), asking(DnsTransport::Tcp), at_once).await
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

#[tokio::test]
async fn garbage_by_tcp_is_malformed_and_neither_silence_nor_an_end() {
    for closes in [false, true] {
        for (say, told) in BAD {
            let outcome = by_tcp(move |question| framed(&say(question)), closes, true).await;
            let detail = assert_fail(&outcome, Phase::Body, Cause::Protocol);
            assert!(detail.starts_with(&format!("Invalid response: {told}")), "{detail}");
        }
        let text = |_: &[u8]| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
        let detail = assert_fail(&by_tcp(text, closes, true).await, Phase::Body, Cause::Protocol);
        assert!(detail.starts_with("Invalid response: no DNS answer: \"HTTP/1.1 400"), "{detail}");
        assert_fail(&by_tcp(|_| vec![0, 5, 0], closes, true).await, Phase::Body, Cause::Protocol);
    }
    let half = |question: &[u8]| framed(&right(question))[..20].to_vec();
    assert_fail(&by_tcp(half, true, true).await, Phase::Body, Cause::Reset);
    assert_fail(&by_tcp(|_| Vec::new(), true, true).await, Phase::FirstByte, Cause::Reset);
    assert_fail(&by_tcp(|_| Vec::new(), false, false).await, Phase::FirstByte, Cause::Timeout);
}
