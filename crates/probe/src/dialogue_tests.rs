//! Dialogues with servers that the tests play.

use super::*;
use crate::testing::{Authority, Server, assert_fail, assert_pass, drain, probe};
use quorate_core::check::{Expect, StartTls, TlsOptions};
use quorate_core::{Check, CheckKind, Grade, Outcome};
use rustls::ALL_VERSIONS;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

fn turn(send: &str, expect: Option<Expect>) -> DialogueStep {
    DialogueStep::Turn { send: send.as_bytes().to_vec(), expect }
}

fn text(expected: &str) -> Option<Expect> {
    Some(Expect::Contains(expected.as_bytes().to_vec()))
}

fn regex(pattern: &str) -> Option<Expect> {
    Some(Expect::Regex(pattern.to_owned()))
}

async fn ask(server: &Server, steps: Vec<DialogueStep>, set: impl FnOnce(&mut DialogueCheck)) -> Outcome {
    let mut dialogue = DialogueCheck { steps, tls: None, starttls: None, max_read_bytes: 1024 };
    set(&mut dialogue);
    let kind = CheckKind::Dialogue(dialogue);
    let check = Check { kind, timeout: Duration::from_secs(5), ..Check::default() };
    assert_eq!(check.validate(), []);
    probe(&server.target(), &check).await
}

/// Says something, waits for something, in turns.
async fn play(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), turns: &[(&str, &str)]) -> bool {
    for (say, wait) in turns {
        if stream.write_all(say.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return false;
        }
        let mut heard = vec![0; wait.len()];
        if stream.read_exact(&mut heard).await.is_err() || heard != wait.as_bytes() {
            return false;
        }
    }
    true
}

async fn playing(turns: &'static [(&'static str, &'static str)]) -> Server {
    Server::raw(move |mut stream, _| async move {
        if play(&mut stream, turns).await {
            drain(stream).await;
        }
    })
    .await
}

/// Plays turns in plain text, then under TLS; the file to trust.
async fn playing_tls(
    plain: &'static [(&'static str, &'static str)],
    secure: &'static [(&'static str, &'static str)],
) -> (Server, String, Authority) {
    let authority = Authority::new();
    let identity = authority.sign(&["127.0.0.1"], |_| ());
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(&identity, ALL_VERSIONS, false)));
    let server = Server::raw(move |mut stream, _| {
        let acceptor = acceptor.clone();
        async move {
            if !play(&mut stream, plain).await {
                return;
            }
            if let Ok(mut stream) = acceptor.accept(stream).await {
                play(&mut stream, secure).await;
                // Until the far end has gone.
                let _ = stream.read_u8().await;
            }
        }
    })
    .await;
    let ca_file = authority.ca_file();
    (server, ca_file, authority)
}

fn trusting(ca_file: &str) -> Option<TlsOptions> {
    Some(TlsOptions { ca_file: Some(ca_file.to_owned()), ..TlsOptions::default() })
}

#[tokio::test]
async fn steps_follow_one_another() {
    let server = playing(&[("220 ready\r\n", "HELO\r\n"), ("250 hello\r\n", "\x00\x01"), ("bye", "")]).await;
    let steps = || {
        vec![
            turn("", regex("^220 ")),
            turn("HELO\r\n", text("250")),
            turn("\x00\x01", Some(Expect::Contains(b"bye".to_vec()))),
        ]
    };
    let outcome = ask(&server, steps(), |_| ()).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "220 ready\r\n250 hello\r\nbye");
    let judged: Vec<_> = outcome.judgements.iter().map(|judgement| judgement.what.as_str()).collect();
    assert_eq!(judged[..2], ["step 1: answer matches \"^220 \"", "step 2: answer contains \"250\""]);
    assert!(outcome.timings.send.is_some() && outcome.timings.first_byte.is_some());
}

#[tokio::test]
async fn the_step_that_fails_is_named() {
    let server = playing(&[("220 ready\r\n", "HELO\r\n"), ("500 no\r\n", "never")]).await;
    let steps = vec![turn("", text("220")), turn("HELO\r\n", regex("(?m)^250")), turn("QUIT\r\n", None)];
    let short = ask(&server, steps, |dialogue| dialogue.max_read_bytes = 16).await;
    let detail = assert_fail(&short, Phase::Assert, Cause::Content);
    assert_eq!(detail, "step 2: Unexpected response content within `max_read_bytes` (16)");
    let grades: Vec<_> = short.judgements.iter().map(|judgement| judgement.grade).collect();
    assert_eq!(grades, [Grade::Pass, Grade::Fail]);
}

#[tokio::test]
async fn what_comes_at_once_is_taken_step_by_step() {
    let server = Server::raw(|mut stream, _| async move {
        let _ = stream.write_all(b"220 a\r\n220 b\r\n250 c\r\n").await;
        let _ = stream.shutdown().await;
        drain(stream).await;
    })
    .await;
    let expect = |steps: &[&str]| steps.iter().map(|pattern| turn("", regex(pattern))).collect::<Vec<_>>();
    assert_pass(&ask(&server, expect(&["220 a\r\n", "^220 b", "(?m)^250 c"]), |_| ()).await);
    let outcome = ask(&server, expect(&["220 b", "220 a"]), |_| ()).await;
    assert_eq!(assert_fail(&outcome, Phase::Assert, Cause::Content), "step 2: Unexpected response content");
}

#[tokio::test]
async fn tls_from_the_first_byte_and_after_a_protocol() {
    let (server, ca_file, _authority) =
        playing_tls(&[], &[("* OK ready\r\n", "a1 LOGOUT\r\n"), ("* BYE\r\n", "")]).await;
    let steps = || vec![turn("", text("* OK")), turn("a1 LOGOUT\r\n", text("BYE"))];
    let outcome = ask(&server, steps(), |dialogue| dialogue.tls = trusting(&ca_file)).await;
    assert_pass(&outcome);
    assert!(outcome.tls.is_some_and(|tls| tls.certificate.is_some()) && outcome.timings.tls.is_some());
    let distrusting = ask(&server, steps(), |dialogue| dialogue.tls = Some(TlsOptions::default())).await;
    assert_fail(&distrusting, Phase::Tls, Cause::Certificate);

    let plain = &[("+OK ready\r\n", "STLS\r\n"), ("+OK begin\r\n", "")];
    let (server, ca_file, _authority) = playing_tls(plain, &[("", "CAPA\r\n"), ("+OK\r\n.\r\n", "")]).await;
    let outcome = ask(&server, vec![turn("CAPA\r\n", text("+OK"))], |dialogue| {
        (dialogue.tls, dialogue.starttls) = (trusting(&ca_file), Some(StartTls::Pop3));
    });
    assert_pass(&outcome.await);
}

#[tokio::test]
async fn tls_begins_at_its_step() {
    let plain =
        &[("220 ready\r\n", "EHLO x\r\n"), ("250-x\r\n250 STARTTLS\r\n", "STARTTLS\r\n"), ("220 go ahead\r\n", "")];
    let (server, ca_file, _authority) = playing_tls(plain, &[("", "QUIT\r\n"), ("221 bye\r\n", "")]).await;
    // No expectation reaches the end of its line, and none need.
    let steps = || {
        vec![
            turn("", text("220")),
            turn("EHLO x\r\n", text("STARTTLS")),
            turn("STARTTLS\r\n", text("220")),
            DialogueStep::StartTls,
            turn("QUIT\r\n", text("221")),
        ]
    };
    let outcome = ask(&server, steps(), |dialogue| dialogue.tls = trusting(&ca_file)).await;
    assert_pass(&outcome);
    assert!(outcome.tls.is_some_and(|tls| tls.version.is_some()));
}

#[test]
fn lines_are_told_from_bytes() {
    assert!(is_open_line(b" go ahead") && is_open_line(b"a\r\nb\tc"));
    for closed in [&b""[..], b" go\r\n", b"\x30\x0c\x02\x01", b"S\0"] {
        assert!(!is_open_line(closed), "{closed:?}");
    }
}

proptest::proptest! {
    #[test]
    fn whatever_a_server_says_is_bounded_and_harmless(
        said in proptest::collection::vec(0u8.., 0..200),
        cut in 1usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let heard = runtime.block_on(async {
            let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(&said).await.unwrap();
            theirs.shutdown().await.unwrap();
            let (mut carry, mut findings) = (Vec::new(), Findings::default());
            let patterns = crate::expect::Patterns::default();
            let deadline = Instant::now() + Duration::from_secs(5);
            let mut matched = 0;
            for _ in 0..4 {
                let matcher = patterns.matcher(&Expect::Contains(said.get(..said.len().min(cut)).unwrap_or(b"x").to_vec())).ok();
                let exchange = Exchange { send: b"", matcher, max_read_bytes: 1024 };
                if converse(&mut ours, exchange, &mut carry, deadline, &mut findings).await.is_err() {
                    break;
                }
                matched += said.len().min(cut);
            }
            matched
        });
        proptest::prop_assert!(heard <= said.len(), "no byte is matched twice");
    }
}
