//! DNS checks (RFC 1035): one question to the instance, by datagram or by TCP.

use crate::connect;
use crate::expect::{Matcher, Patterns};
use crate::failure::{Step, of_io, timeout, unprepared, within};
use crate::findings::{Findings, add};
use crate::line;
use crate::meter::Stream;
use crate::prober::Tools;
use crate::target::Target;
use crate::udp;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use quorate_core::check::{DnsCheck, DnsTransport};
use quorate_core::{Cause, Grade, Phase, ProbeFailure};
use tokio::time::{Instant, timeout_at};

/// Bytes of a datagram read at most (RFC 6891 suggests 4096).
const MAX_DATAGRAM_BYTES: usize = 4096;
/// Bytes of an answer by TCP at most, its length included.
const MAX_STREAM_BYTES: usize = 65_537;
/// Datagrams that are no answer to our question, put up with at most.
const MAX_STRAY: usize = 16;

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

/// Reads an answer; nothing when it is none to this question.
fn answer(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let ours = answer.metadata.id == question.metadata.id && answer.metadata.message_type == MessageType::Response;
    (ours && (answer.queries.is_empty() || answer.queries == question.queries)).then_some(answer)
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
    for _ in 0..MAX_STRAY {
        let length = match timeout_at(deadline, socket.recv(&mut bytes)).await {
            Err(_) => return Err(timeout(Phase::FirstByte)),
            Ok(Err(error)) => return Err(of_io(Phase::FirstByte, &error)),
            Ok(Ok(length)) => length,
        };
        if let Some(answer) = answer(question, bytes.get(..length).unwrap_or_default()) {
            add(&mut findings.timings.first_byte, asked.elapsed());
            return Ok(answer);
        }
    }
    Err(no_answer())
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
    let whole = |heard: &[u8]| {
        heard
            .split_first_chunk::<2>()
            .is_some_and(|(length, rest)| rest.len() >= usize::from(u16::from_be_bytes(*length)))
    };
    let heard = line::hear(&mut stream, MAX_STREAM_BYTES, deadline, findings, whole).await?;
    answer(question, heard.get(2..).unwrap_or_default()).ok_or_else(no_answer)
}

fn no_answer() -> ProbeFailure {
    ProbeFailure::new(Phase::Body, Cause::Protocol, "Invalid response: no DNS answer")
}

fn judge(patterns: &Patterns, check: &DnsCheck, answer: &Message, findings: &mut Findings) -> Step<()> {
    let code = answer.metadata.response_code;
    let grade = if check.rcodes.contains(&u16::from(code)) { Grade::Pass } else { Grade::Fail };
    let wanted: Vec<&str> = check.rcodes.iter().map(|code| <ResponseCode as From<u16>>::from(*code).to_str()).collect();
    let said = code.to_str();
    let what = format!("response code is {}", wanted.join(" or "));
    findings.judge(what, said, grade, (Cause::Status, &format!("Unexpected response code: {said}")))?;
    let found = answer.answers.iter().filter(|record| record.record_type().to_string() == check.record_type.as_str());
    let found: Vec<String> = found.map(|record| record.data.to_string()).collect();
    findings.excerpt.push(found.join("\n").as_bytes());
    let shown = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    let (what, met) = match &check.expect {
        None if code != ResponseCode::NoError => return Ok(()),
        None => (format!("there is a record of type {}", check.record_type), !found.is_empty()),
        Some(expect) => {
            let fits = |record: &String| match patterns.matcher(expect).map_err(unprepared)? {
                Matcher::Bytes(_) => Ok(*expect == quorate_core::Expect::Contains(record.clone().into_bytes())),
                Matcher::Regex(regex) => Ok(regex.is_match(record.as_bytes())),
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

#[cfg(test)]
mod tests {
    use super::*;

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
