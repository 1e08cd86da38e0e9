//! DNS checks (RFC 1035): one question to the instance, by datagram or by TCP.
//!
//! Anyone can send a datagram in the instance's name, so one that does not answer the question ends nothing: the answer is waited for all the same.
//! Only when none has come by the deadline are such datagrams told of, in place of silence.

use crate::connect;
use crate::expect::Patterns;
use crate::failure::{Step, malformed, of_io, timeout, unprepared, within};
use crate::findings::{Excerpt, Findings, add};
use crate::line;
use crate::meter::Stream;
use crate::prober::Tools;
use crate::target::Target;
use crate::udp;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use quorate_core::check::{DnsCheck, DnsTransport};
use quorate_core::{Cause, Expect, Grade, Phase, ProbeFailure};
use tokio::time::{Instant, timeout_at};

/// Bytes of a datagram read at most (RFC 6891 suggests 4096).
const MAX_DATAGRAM_BYTES: usize = 4096;
/// Bytes of an answer by TCP at most, its length included.
const MAX_STREAM_BYTES: usize = 65_537;
/// Bytes that every message begins with (RFC 1035, section 4.1.1).
const HEADER_BYTES: usize = 12;

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &DnsCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let question = question(check)?;
    let answer = match check.transport {
        DnsTransport::Udp => {
            let answer = by_datagram(tools, target, &question, deadline, findings).await?;
            if answer.metadata.truncation {
                by_tcp(tools, target, &question, deadline, findings).await?
            } else {
                answer
            }
        }
        DnsTransport::Tcp => by_tcp(tools, target, &question, deadline, findings).await?,
    };
    judge(&tools.patterns, check, &answer, findings)
}

fn question(check: &DnsCheck) -> Step<Message> {
    let mut name = Name::from_ascii(&check.name)
        .map_err(|error| unprepared(format!("{:?} is not a domain name: {error}", check.name)))?;
    let record_type: RecordType =
        check.record_type.as_str().parse().map_err(|_| unprepared("the type of record is not known"))?;
    name.set_fqdn(true);
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, record_type));
    Ok(message)
}

fn encoded(question: &Message) -> Step<Vec<u8>> {
    question.to_vec().map_err(|error| unprepared(format!("the question cannot be sent: {error}")))
}

/// Can an answer to this question begin so: with its id, then the mark of a response? (RFC 1035, section 4.1.1)
fn may_answer(question: &Message, begun: &[u8]) -> bool {
    let id = question.metadata.id.to_be_bytes();
    begun.iter().zip(id).all(|(said, asked)| *said == asked) && begun.get(2).is_none_or(|flags| flags & 0x80 != 0)
}

/// Reads an answer; nothing when it is none to this question. What is not ours is not even parsed.
fn answer(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = may_answer(question, bytes).then(|| Message::from_vec(bytes).ok())??;
    (answer.queries.is_empty() || answer.queries == question.queries).then_some(answer)
}

/// Why these bytes are no answer to this question.
fn no_answer(question: &Message, bytes: &[u8]) -> ProbeFailure {
    let what = match Message::from_vec(bytes) {
        Err(_) => "no DNS message",
        Ok(message) if message.metadata.message_type != MessageType::Response => "a DNS question, no answer",
        Ok(message) if message.metadata.id != question.metadata.id => "a DNS answer with another id",
        Ok(_) => "a DNS answer to another question",
    };
    malformed(Phase::Body, what, bytes)
}

async fn by_datagram(
    tools: &Tools,
    target: &Target,
    question: &Message,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<Message> {
    let authority = line::authority(target)?;
    let peer = connect::resolve(tools, target, &authority, deadline, findings).await?;
    let socket = udp::socket(peer).await?;
    let asked = Instant::now();
    let sent = within(deadline, Phase::Send, socket.send(&encoded(question)?)).await?;
    sent.map_err(|error| of_io(Phase::Send, &error))?;
    add(&mut findings.timings.send, asked.elapsed());
    let mut bytes = vec![0; MAX_DATAGRAM_BYTES];
    let mut stray = None;
    loop {
        let length = match timeout_at(deadline, socket.recv(&mut bytes)).await {
            Err(_) => break,
            Ok(Err(error)) => return Err(of_io(Phase::FirstByte, &error)),
            Ok(Ok(length)) => length,
        };
        if let Some(answer) = answer(question, bytes.get(..length).unwrap_or_default()) {
            add(&mut findings.timings.first_byte, asked.elapsed());
            return Ok(answer);
        }
        stray = Some(length);
        // A flood of them ends, too.
        if Instant::now() >= deadline {
            break;
        }
    }
    let Some(last) = stray else { return Err(timeout(Phase::FirstByte)) };
    let heard = bytes.get(..last).unwrap_or_default();
    findings.excerpt.push(heard);
    Err(no_answer(question, heard))
}

async fn by_tcp(
    tools: &Tools,
    target: &Target,
    question: &Message,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<Message> {
    let authority = line::authority(target)?;
    let mut stream: Box<dyn Stream> =
        Box::new(connect::open(tools, target, &authority, connect::First::We, deadline, findings).await?);
    let bytes = encoded(question)?;
    let length = u16::try_from(bytes.len()).map_err(|_| unprepared("the question is too long"))?;
    line::say(&mut stream, &[&length.to_be_bytes()[..], &bytes].concat(), deadline, findings).await?;
    let over = |heard: &[u8]| is_over(question, heard);
    let heard = line::hear(&mut stream, MAX_STREAM_BYTES, deadline, findings, over).await?;
    let said = message(&heard).and_then(|(length, rest)| rest.get(..length));
    match said {
        Some(said) => answer(question, said).ok_or_else(|| no_answer(question, said)),
        // Its length is no length either.
        None => Err(malformed(Phase::Body, "no DNS answer", &heard)),
    }
}

/// The length of a message by TCP, and what has come of it (RFC 1035, section 4.2.2).
fn message(heard: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = heard.split_first_chunk::<2>()?;
    Some((usize::from(u16::from_be_bytes(*length)), rest))
}

/// Is the message there, or will it never be an answer to this question?
fn is_over(question: &Message, heard: &[u8]) -> bool {
    message(heard)
        .is_some_and(|(length, rest)| length < HEADER_BYTES || rest.len() >= length || !may_answer(question, rest))
}

fn judge(patterns: &Patterns, check: &DnsCheck, answer: &Message, findings: &mut Findings) -> Step<()> {
    let code = answer.metadata.response_code;
    let grade = if check.rcodes.contains(&u16::from(code)) { Grade::Pass } else { Grade::Fail };
    let wanted: Vec<String> = check.rcodes.iter().copied().map(name_of).collect();
    let said = name_of(u16::from(code));
    let what = format!("response code is {}", wanted.join(" or "));
    let detail = format!("Unexpected response code: {said}");
    findings.judge(what, said, grade, (Cause::Status, &detail))?;
    let found = answer.answers.iter().filter(|record| record.record_type().to_string() == check.record_type.as_str());
    let found: Vec<String> = found.map(|record| record.data.to_string()).collect();
    // By TCP the message itself is there already, which says less.
    findings.excerpt = Excerpt::default();
    findings.excerpt.push(found.join("\n").as_bytes());
    let shown = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    let (what, met) = match &check.expect {
        None if code != ResponseCode::NoError => return Ok(()),
        None => (format!("there is a record of type {}", check.record_type), !found.is_empty()),
        Some(expect) => {
            let fits = |record: &String| match expect {
                Expect::Contains(text) if text == record.as_bytes() => Ok(true),
                Expect::Contains(text) => {
                    Ok(check.record_type.as_str() == "TXT" && unquoted(text).as_ref() == Some(record))
                }
                Expect::Regex(pattern) => {
                    patterns.regex(pattern).map(|regex| regex.is_match(record.as_bytes())).map_err(unprepared)
                }
            };
            let mut met = false;
            for record in &found {
                met |= fits(record)?;
            }
            (format!("a record of type {} is as expected", check.record_type), met)
        }
    };
    let grade = if met { Grade::Pass } else { Grade::Fail };
    findings.judge(what, shown.as_str(), grade, (Cause::Content, &format!("Unexpected response content: {shown}")))
}

/// A response code as the configuration has it (RFC 6895).
fn name_of(code: u16) -> String {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// The texts of a TXT record as a zone file has them (RFC 1035, section 5.1), each in quotes, put together; `None` if it is none.
fn unquoted(written: &[u8]) -> Option<String> {
    let (mut together, mut rest) = (String::new(), written.trim_ascii());
    loop {
        let (text, after) = quoted(rest.strip_prefix(b"\"")?)?;
        together.push_str(&String::from_utf8_lossy(&text));
        rest = after.trim_ascii_start();
        if rest.is_empty() {
            return Some(together);
        }
    }
}

/// A text up to its closing quote, and what follows it.
fn quoted(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((text, rest)),
            b'\\' => {
                let (byte, after) = escaped(rest)?;
                text.push(byte);
                rest = after;
            }
            byte => text.push(*byte),
        }
    }
}

/// What a backslash stands before: the number of a byte in three digits, or a character that means itself.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    match text.split_first_chunk::<3>() {
        Some((digits, after)) if digits.iter().all(u8::is_ascii_digit) => {
            Some((std::str::from_utf8(digits).ok()?.parse().ok()?, after))
        }
        _ => text.split_first().map(|(byte, after)| (*byte, after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::TXT;
    use hickory_proto::rr::{RData, Record};

    /// Judges an answer with one TXT record of two texts, `v=a "b"` and `;c`.
    fn judged(check: DnsCheck, code: ResponseCode) -> Step<()> {
        let mut answer = question(&check).unwrap().into_response();
        answer.metadata.response_code = code;
        let texts = TXT::new(vec!["v=a \"b\"".to_owned(), ";c".to_owned()]);
        answer.add_answer(Record::from_rdata(Name::from_ascii("web.test.").unwrap(), 60, RData::TXT(texts)));
        judge(&Patterns::default(), &check, &answer, &mut Findings::default())
    }

    #[test]
    fn texts_are_expected_as_they_are_or_as_a_zone_file_has_them() {
        let record_type = quorate_core::check::RecordType::Txt;
        let expecting = |text: &str| {
            let expect = Some(Expect::Contains(text.as_bytes().to_vec()));
            let check = DnsCheck { name: "web.test".into(), record_type, expect, ..DnsCheck::default() };
            judged(check, ResponseCode::NoError).is_ok()
        };
        for good in ["v=a \"b\";c", r#""v=a \"b\"" ";c""#, r#"  "v=a \034b\034;" "\c" "#] {
            assert!(expecting(good), "{good}");
        }
        for bad in ["v=a", "\"v=a", "\"", "\"\\", r#""v=a \999b" ";c""#, r#""v=a \"b\"" ;c"#] {
            assert!(!expecting(bad), "{bad}");
        }
    }

    #[test]
    fn response_codes_have_the_names_of_the_configuration() {
        let check = |rcodes| DnsCheck { name: "web.test".into(), rcodes, ..DnsCheck::default() };
        let failure = judged(check(vec![0]), ResponseCode::NXDomain).unwrap_err();
        assert_eq!(failure.detail, "Unexpected response code: NXDOMAIN");
        assert_eq!((name_of(2), name_of(5), name_of(4095)), ("SERVFAIL".into(), "REFUSED".into(), "4095".into()));
    }

    #[test]
    fn the_records_are_shown_and_not_the_message() {
        let check = DnsCheck { name: "web.test".into(), ..DnsCheck::default() };
        let mut answer = question(&check).unwrap().into_response();
        let address = RData::A(std::net::Ipv4Addr::new(10, 1, 2, 3).into());
        answer.add_answer(Record::from_rdata(Name::from_ascii("web.test.").unwrap(), 60, address));
        let mut findings = Findings::default();
        findings.excerpt.push(&answer.to_vec().unwrap());
        assert_eq!(judge(&Patterns::default(), &check, &answer, &mut findings), Ok(()));
        assert_eq!(findings.excerpt.text(), "10.1.2.3");
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(
            changes in proptest::collection::vec((0usize..100, proptest::num::u8::ANY), 0..6),
            tail in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
        ) {
            let check = DnsCheck { name: "web.test".into(), ..DnsCheck::default() };
            let asked = question(&check).unwrap();
            let mut bytes = asked.clone().into_response().to_vec().unwrap();
            bytes.extend_from_slice(&tail);
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            if let Some(answer) = answer(&asked, &bytes) {
                let _ = judge(&Patterns::default(), &check, &answer, &mut Findings::default());
            }
        }
    }
}
