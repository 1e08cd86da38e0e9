//! DNS and UDP checks against dnsmasq.

use crate::server::{Running, assert_fail, assert_pass, check, find, free_port, listens, probe};
use quorate_core::check::{DnsCheck, DnsTransport, RecordType, UdpCheck};
use quorate_core::{Cause, Check, CheckKind, Expect, Phase};
use std::process::Command;
use std::time::Duration;

fn dnsmasq() -> Option<(Running, u16)> {
    let (program, port) = (find("dnsmasq")?, free_port());
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args([
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--no-poll",
        "--bind-interfaces",
        "--user=root",
    ]);
    command.args(["--conf-file=/dev/null", "--listen-address=127.0.0.1", "--local=/test/", "--pid-file="]);
    command.args(["--address=/web.test/10.1.2.3", "--txt-record=note.test,hello", &format!("--port={port}")]);
    command.arg(format!("--txt-record=long.test,{}", vec!["x".repeat(250); 6].join(",")));
    // Another program may listen by TCP at a port that was free a moment ago.
    let taken = || std::net::UdpSocket::bind(("127.0.0.1", port)).is_err();
    Some((Running::start(command, folder, || listens(port) && taken()), port))
}

fn dns(name: &str, set: impl FnOnce(&mut DnsCheck)) -> Check {
    let mut dns = DnsCheck { name: name.to_owned(), ..DnsCheck::default() };
    set(&mut dns);
    check(CheckKind::Dns(dns))
}

#[tokio::test]
async fn names_types_codes_and_answers() {
    let Some((_running, port)) = dnsmasq() else { return };
    let outcome = probe(port, &dns("web.test", |_| {})).await;
    assert_pass(&outcome);
    assert_eq!(outcome.excerpt, "10.1.2.3");
    assert_pass(&probe(port, &dns("web.test.", |d| d.transport = DnsTransport::Tcp)).await);
    assert_fail(&probe(port, &dns("other.test", |_| {})).await, Phase::Assert, Cause::Status);
    assert_pass(&probe(port, &dns("other.test", |d| d.rcodes = vec![3])).await);
    assert_fail(&probe(port, &dns("web.test", |d| d.rcodes = vec![3])).await, Phase::Assert, Cause::Status);
    assert_fail(&probe(port, &dns("note.test", |_| {})).await, Phase::Assert, Cause::Content);
    let expecting = |text: &str| Some(Expect::Contains(text.as_bytes().to_vec()));
    assert_pass(&probe(port, &dns("web.test", |d| d.expect = expecting("10.1.2.3"))).await);
    assert_fail(
        &probe(port, &dns("web.test", |d| d.expect = expecting("10.1.2"))).await,
        Phase::Assert,
        Cause::Content,
    );
    let pattern = |text: &str| Some(Expect::Regex(text.to_owned()));
    assert_pass(
        &probe(port, &dns("note.test", |d| (d.record_type, d.expect) = (RecordType::Txt, pattern("^hel")))).await,
    );
    assert_fail(&probe(port, &dns("web.test", |d| d.expect = pattern("^11"))).await, Phase::Assert, Cause::Content);
}

#[tokio::test]
async fn an_answer_that_was_cut_is_fetched_again() {
    let Some((_running, port)) = dnsmasq() else { return };
    let outcome = probe(port, &dns("long.test", |d| d.record_type = RecordType::Txt)).await;
    assert_pass(&outcome);
    assert!(outcome.timings.connect.is_some(), "by TCP: {outcome:?}");
}

#[tokio::test]
async fn udp_answers_silence_and_refusal() {
    let Some((_running, port)) = dnsmasq() else { return };
    // A question for web.test, type A, by hand.
    let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x04test\x00\x00\x01\x00\x01".to_vec();
    let udp = |set: &dyn Fn(&mut UdpCheck)| {
        let mut udp = UdpCheck { send: question.clone(), ..UdpCheck::default() };
        set(&mut udp);
        Check { timeout: Duration::from_secs(2), ..check(CheckKind::Udp(udp)) }
    };
    assert_pass(&probe(port, &udp(&|_| {})).await);
    let address = Some(Expect::Contains(vec![10, 1, 2, 3]));
    assert_pass(&probe(port, &udp(&|u| u.expect.clone_from(&address))).await);
    // The address is beyond the bytes that are read.
    let short = udp(&|u| (u.expect, u.max_read_bytes) = (address.clone(), 20));
    assert_fail(&probe(port, &short).await, Phase::Assert, Cause::Content);
    assert_fail(
        &probe(port, &udp(&|u| u.expect = Some(Expect::Regex("nothing".into())))).await,
        Phase::Assert,
        Cause::Content,
    );
    // Nobody listens: refused, whether an answer is expected or not.
    let nobody = free_port();
    for expect_answer in [true, false] {
        assert_fail(&probe(nobody, &udp(&|u| u.expect_answer = expect_answer)).await, Phase::FirstByte, Cause::Refused);
    }
    // Someone listens and says nothing.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_fail(&probe(port, &udp(&|_| {})).await, Phase::FirstByte, Cause::Timeout);
    assert_pass(&probe(port, &udp(&|u| u.expect_answer = false)).await);
}
