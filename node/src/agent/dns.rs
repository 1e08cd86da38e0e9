//! A name server for the zone `quorate`: `SERVICE.service.quorate` has the addresses of the instances that can be used now, as A, AAAA and SRV
//! (RFC 1035, 2782). By UDP, and by TCP for what does not fit. It knows no other zone and asks nobody.

use super::published::Published;
use crate::config::Restricted;
use crate::metrics::Metrics;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SOA, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use quorate_core::Verdict;
use quorate_core::registration::host_and_port;
use quorate_mesh::{InstanceView, MeshView};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long an answer may be believed, seconds: about as long as a verdict takes to change.
const TTL: u32 = 5;
/// A datagram's answer without EDNS (RFC 1035), and the most that is sent with it (RFC 6891).
const PLAIN_BYTES: u16 = 512;
const MOST_BYTES: u16 = 1232;
/// Instances in one answer; which ones changes from answer to answer.
const MAX_RECORDS: usize = 64;
/// The bit in the third byte of a message that makes it an answer.
const IS_ANSWER: u8 = 0x80;
/// Longest question.
const MAX_QUESTION_BYTES: usize = 1024;
/// TCP connections at once; more wait.
const MAX_CONNECTIONS: usize = 64;
/// Longest silence on one.
const PATIENCE: Duration = Duration::from_secs(5);
/// The label of questions from where none may come.
const NOT_ANSWERED: &str = "not_answered";
/// After a socket failed.
const PAUSE: Duration = Duration::from_millis(100);

/// What answers.
#[derive(Clone)]
pub struct NameServer {
    /// Whom.
    pub whom: Restricted,
    /// From what.
    pub published: Arc<Published>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl NameServer {
    /// Answers on both, for ever.
    pub fn run(self, datagrams: UdpSocket, streams: TcpListener) {
        tokio::spawn(self.clone().serve_datagrams(datagrams));
        tokio::spawn(self.serve_streams(streams));
    }

    async fn serve_datagrams(self, socket: UdpSocket) {
        let mut buffer = [0; MAX_QUESTION_BYTES];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // Who may not ask hears nothing: the address may be another's, who did not ask.
            if !self.whom.admits(from.ip()) {
                self.metrics.dns_answered(NOT_ANSWERED);
                continue;
            }
            if let Some(answer) = self.answer(&buffer[..length], true) {
                // Who cannot be answered asks again.
                let _ = socket.send_to(&answer, from).await;
            }
        }
    }

    async fn serve_streams(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            let Ok((stream, from)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if !self.whom.admits(from.ip()) {
                self.metrics.dns_answered(NOT_ANSWERED);
                continue;
            }
            let this = self.clone();
            tokio::spawn(async move {
                let _place = place;
                this.serve_stream(stream).await;
            });
        }
    }

    /// Each message has its length before it (RFC 1035, section 4.2.2).
    async fn serve_stream(&self, mut stream: TcpStream) {
        loop {
            let question = timeout(PATIENCE, async {
                let length = usize::from(stream.read_u16().await.ok()?);
                let mut bytes = vec![0; Some(length).filter(|length| *length <= MAX_QUESTION_BYTES)?];
                stream.read_exact(&mut bytes).await.ok().map(|_| bytes)
            });
            let Ok(Some(question)) = question.await else { return };
            let Some(answer) = self.answer(&question, false) else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            let whole = [&length.to_be_bytes()[..], &answer].concat();
            if !matches!(timeout(PATIENCE, stream.write_all(&whole)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    fn answer(&self, question: &[u8], datagram: bool) -> Option<Vec<u8>> {
        let answer = answer(&self.published.view(), question, datagram, usize::from(rand::random::<u16>()))?;
        self.metrics.dns_answered(word(answer.metadata.response_code));
        answer.to_vec().ok()
    }
}

/// The code as a label: a closed list.
fn word(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "noerror",
        ResponseCode::NXDomain => "nxdomain",
        ResponseCode::Refused => "refused",
        ResponseCode::NotImp => "notimp",
        ResponseCode::BADVERS => "badvers",
        ResponseCode::ServFail => "servfail",
        _ => "formerr",
    }
}

/// The answer to a question; none to what is none. `turn` chooses which instance comes first.
fn answer(view: &MeshView, question: &[u8], datagram: bool, turn: usize) -> Option<Message> {
    let Ok(question) = Message::from_vec(question) else {
        let id = question.first_chunk::<2>()?;
        // Nor is an answer that cannot be read a question.
        if question.get(2).is_some_and(|flags| flags & IS_ANSWER != 0) {
            return None;
        }
        return Some(Message::error_msg(u16::from_be_bytes(*id), OpCode::Query, ResponseCode::FormErr));
    };
    if question.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_desired = question.metadata.recursion_desired;
    let room = question.edns.as_ref().map(|edns| {
        let mut own = Edns::new();
        own.set_max_payload(MOST_BYTES);
        answer.set_edns(own);
        edns.max_payload().clamp(PLAIN_BYTES, MOST_BYTES)
    });
    let later = question.edns.as_ref().is_some_and(|edns| edns.version() > 0);
    match question.queries.as_slice() {
        _ if later => answer.metadata.response_code = ResponseCode::BADVERS,
        _ if question.metadata.op_code != OpCode::Query => answer.metadata.response_code = ResponseCode::NotImp,
        [query] => {
            answer.add_query(query.clone());
            fill(view, &mut answer, query.name(), query.query_type(), query.query_class(), turn);
        }
        _ => answer.metadata.response_code = ResponseCode::FormErr,
    }
    let room = usize::from(room.unwrap_or(PLAIN_BYTES));
    if datagram && answer.to_vec().is_ok_and(|bytes| bytes.len() > room) {
        answer = answer.truncate();
    }
    Some(answer)
}

fn fill(view: &MeshView, answer: &mut Message, name: &Name, wanted: RecordType, class: DNSClass, turn: usize) {
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    if class != DNSClass::IN || labels.last() != Some(&"quorate") {
        answer.metadata.response_code = ResponseCode::Refused;
        return;
    }
    answer.metadata.authoritative = true;
    let found = match labels.as_slice() {
        ["quorate"] => {
            answer.add_answers(authority().filter(|record| is_wanted(record, wanted)));
            true
        }
        ["service" | "addr", "quorate"] => true,
        [service @ .., "service", "quorate"] => of_service(view, answer, name, &service.join("."), wanted, turn),
        [address, "addr", "quorate"] => {
            let address = address_of(address);
            if let Some(address) = address {
                answer.add_answers(record_of(name, address).filter(|record| is_wanted(record, wanted)));
            }
            address.is_some()
        }
        _ => false,
    };
    if !found {
        // An agent that has not caught up with the mesh may not know the service: who asks turns to another one, and keeps no false denial.
        let caught_up = view.settled || !matches!(labels.as_slice(), [_, .., "service", "quorate"]);
        answer.metadata.response_code = if caught_up { ResponseCode::NXDomain } else { ResponseCode::ServFail };
        if !caught_up {
            answer.metadata.authoritative = false;
            return;
        }
    }
    if answer.answers.is_empty() {
        answer.add_authorities(authority());
    }
}

/// Is there such a service? What can be used of it is answered.
fn of_service(
    view: &MeshView,
    answer: &mut Message,
    name: &Name,
    service: &str,
    wanted: RecordType,
    turn: usize,
) -> bool {
    let known = |instance: &&InstanceView| instance.service.as_str().eq_ignore_ascii_case(service);
    let all: Vec<&InstanceView> = view.instances.values().map(|instance| &**instance).filter(known).collect();
    let mut usable: Vec<_> = all.iter().filter_map(|instance| usable(instance)).collect();
    if !usable.is_empty() {
        let first = turn % usable.len();
        usable.rotate_left(first);
    }
    for (address, port, weight) in usable.into_iter().take(MAX_RECORDS) {
        if wanted == RecordType::SRV {
            let Some(target) = name_of(address) else { continue };
            // Several instances may share an address; a record is told once (RFC 2181, 5).
            let record = record_of(&target, address).filter(|record| !answer.additionals.contains(record));
            answer.add_additionals(record);
            let data = RData::SRV(SRV::new(1, weight, port, target));
            answer.add_answer(Record::from_rdata(name.clone(), TTL, data));
        } else {
            let record = record_of(name, address).filter(|record| is_wanted(record, wanted));
            let new = record.filter(|record| !answer.answers.contains(record));
            answer.add_answers(new);
        }
    }
    !all.is_empty() || leads_to_one(view, service)
}

/// A name above that of a service is there, without records of its own: a resolver that asks label by label must not stop at it (RFC 8020).
fn leads_to_one(view: &MeshView, name: &str) -> bool {
    let below = format!(".{name}");
    view.instances.values().any(|instance| instance.service.as_str().to_ascii_lowercase().ends_with(&below))
}

/// Who asks for any type gets the addresses: some of what there is will do, nothing would deny that there is something (RFC 8482).
fn is_wanted(record: &Record, wanted: RecordType) -> bool {
    wanted == RecordType::ANY || wanted == record.record_type()
}

/// Where an instance is and how much it should get, if callers should use it: up or degraded, known for sure, and at an address.
fn usable(instance: &InstanceView) -> Option<(IpAddr, u16, u16)> {
    let placement = instance.registration.as_ref().map(|registration| &registration.placement);
    let weight = placement.map_or(100, |placement| placement.weight);
    let well = matches!(instance.verdict, Verdict::Up | Verdict::Degraded | Verdict::Partial);
    let (host, port) = host_and_port(&instance.address).filter(|_| well && weight > 0)?;
    Some((host.parse().ok()?, port, u16::try_from(weight).unwrap_or(u16::MAX)))
}

fn record_of(name: &Name, address: IpAddr) -> Option<Record> {
    let data = match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Some(Record::from_rdata(name.clone(), TTL, data))
}

/// The name of an address: its bytes in hexadecimal digits, `0a000001.addr.quorate`.
fn name_of(address: IpAddr) -> Option<Name> {
    let digits = match address {
        IpAddr::V4(v4) => format!("{:08x}", v4.to_bits()),
        IpAddr::V6(v6) => format!("{:032x}", v6.to_bits()),
    };
    Name::from_ascii(format!("{digits}.addr.quorate.")).ok()
}

fn address_of(digits: &str) -> Option<IpAddr> {
    // A sign would be read as a part of the number.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    match digits.len() {
        8 => u32::from_str_radix(digits, 16).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        32 => u128::from_str_radix(digits, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into()),
        _ => None,
    }
}

/// Says how long an empty answer may be believed (RFC 2308).
fn authority() -> Option<Record> {
    let zone = Name::from_ascii("quorate.").ok()?;
    let server = Name::from_ascii("ns.quorate.").ok()?;
    let mailbox = Name::from_ascii("hostmaster.quorate.").ok()?;
    let seconds = i32::try_from(TTL).ok()?;
    let data = RData::SOA(SOA::new(server, mailbox, 1, seconds, seconds, seconds, TTL));
    Some(Record::from_rdata(zone, TTL, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::{instance, view};
    use hickory_proto::op::Query;
    use std::collections::BTreeMap;

    fn mesh(instances: &[(&str, Verdict)]) -> MeshView {
        let made = instances.iter().map(|(name, verdict)| Arc::new(instance(name, "Web.shop", 1, *verdict)));
        let instances: BTreeMap<_, _> = made.map(|instance| (instance.instance.clone(), instance)).collect();
        MeshView { instances: Arc::new(instances), ..view() }
    }

    fn ask(view: &MeshView, name: &str, wanted: RecordType) -> Message {
        let mut question = Message::query();
        // As bytes: not each name that can be asked for can be written.
        let labels = name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
        question.add_query(Query::query(Name::from_labels(labels).unwrap(), wanted));
        answer(view, &question.to_vec().unwrap(), true, 0).unwrap()
    }

    fn data(answer: &Message) -> Vec<String> {
        answer.answers.iter().map(|record| record.data.to_string()).collect()
    }

    #[test]
    fn only_what_can_be_used_is_answered() {
        let view = mesh(&[
            ("web@10.0.0.1:80", Verdict::Up),
            ("web@10.0.0.2:81", Verdict::Degraded),
            ("web@10.0.0.3:80", Verdict::Down),
            ("web@10.0.0.4:80", Verdict::Draining),
            ("web@[fd00::1]:80", Verdict::Up),
            ("web@host-a:80", Verdict::Up),
            ("web@10.0.0.1:82", Verdict::Up),
        ]);
        let found = ask(&view, "wEB.Shop.service.quorate.", RecordType::A);
        assert_eq!(data(&found), ["10.0.0.1", "10.0.0.2"]);
        assert!(found.metadata.authoritative && found.answers.iter().all(|record| record.ttl == TTL));
        assert_eq!(data(&ask(&view, "web.shop.service.quorate.", RecordType::AAAA)), ["fd00::1"]);
        let services = ask(&view, "web.shop.service.quorate.", RecordType::SRV);
        assert!(data(&services).contains(&"1 100 81 0a000002.addr.quorate.".to_owned()), "{:?}", data(&services));
        assert_eq!((services.answers.len(), services.additionals.len()), (4, 3), "an address is told once");
        assert_eq!(data(&ask(&view, "0a000002.addr.quorate.", RecordType::A)), ["10.0.0.2"]);
        assert_eq!(data(&ask(&view, "0a000002.addr.quorate.", RecordType::ANY)), ["10.0.0.2"]);
        let any = ask(&view, "web.shop.service.quorate.", RecordType::ANY);
        assert_eq!(data(&any), ["10.0.0.1", "10.0.0.2", "fd00::1"]);
        assert_eq!(ask(&view, "quorate.", RecordType::ANY).answers.len(), 1);
    }

    #[test]
    fn what_is_not_there_and_what_is_not_ours() {
        let view = mesh(&[("web@10.0.0.1:80", Verdict::Down)]);
        for (name, code) in [
            ("web.shop.service.quorate.", ResponseCode::NoError),
            ("nobody.service.quorate.", ResponseCode::NXDomain),
            ("quorate.", ResponseCode::NoError),
            ("x.quorate.", ResponseCode::NXDomain),
            ("zz.addr.quorate.", ResponseCode::NXDomain),
            ("+f000001.addr.quorate.", ResponseCode::NXDomain),
            ("shop.service.quorate.", ResponseCode::NoError),
            ("op.service.quorate.", ResponseCode::NXDomain),
            ("example.com.", ResponseCode::Refused),
        ] {
            let found = ask(&view, name, RecordType::A);
            assert_eq!((found.metadata.response_code, found.answers.len()), (code, 0), "{name}");
            assert_eq!(found.authorities.len(), usize::from(code != ResponseCode::Refused), "{name}");
        }
        let zone = ask(&view, "quorate.", RecordType::SOA);
        assert!(data(&zone)[0].starts_with("ns.quorate. hostmaster.quorate. ") && zone.authorities.is_empty());
        let early = MeshView { settled: false, ..mesh(&[("web@10.0.0.1:80", Verdict::Up)]) };
        for (name, code) in [
            ("web.shop.service.quorate.", ResponseCode::NoError),
            ("nobody.service.quorate.", ResponseCode::ServFail),
            ("x.quorate.", ResponseCode::NXDomain),
        ] {
            let found = ask(&early, name, RecordType::A);
            assert_eq!(found.metadata.response_code, code, "{name}, before the agent has caught up");
            assert_eq!(found.authorities.len(), usize::from(code == ResponseCode::NXDomain), "{name}");
        }
        assert!(answer(&view, &[1], true, 0).is_none());
        let broken = answer(&view, &[7, 9, 1, 2, 3], true, 0).unwrap();
        assert_eq!((broken.metadata.id, broken.metadata.response_code), (0x0709, ResponseCode::FormErr));
        assert!(
            answer(&view, &[7, 9, 0x81, 2, 3], true, 0).is_none(),
            "an answer, however broken, is answered by nobody"
        );
        let mut later = Message::query();
        later.add_query(Query::query(Name::from_ascii("quorate.").unwrap(), RecordType::SOA));
        later.set_edns(Edns::new().set_version(1).clone());
        let refused = answer(&view, &later.to_vec().unwrap(), true, 0).unwrap().to_vec().unwrap();
        let refused = Message::from_vec(&refused).unwrap();
        assert_eq!((u16::from(refused.metadata.response_code), refused.answers.len()), (16, 0));
        assert_eq!(refused.edns.map(|edns| edns.version()), Some(0), "which one is spoken here (RFC 6891, 6.1.3)");
        let mut reply = Message::query();
        reply.metadata.message_type = MessageType::Response;
        assert!(answer(&view, &reply.to_vec().unwrap(), true, 0).is_none(), "two servers must not talk for ever");
    }

    #[test]
    fn what_does_not_fit_is_cut_for_datagrams_alone() {
        let names: Vec<String> = (0..100).map(|n| format!("web@10.0.1.{n}:80")).collect();
        let view = mesh(&names.iter().map(|name| (name.as_str(), Verdict::Up)).collect::<Vec<_>>());
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii("web.shop.service.quorate.").unwrap(), RecordType::A));
        let bytes = question.to_vec().unwrap();
        let cut = answer(&view, &bytes, true, 0).unwrap();
        assert!(cut.metadata.truncation && cut.to_vec().unwrap().len() <= usize::from(PLAIN_BYTES));
        let whole = answer(&view, &bytes, false, 0).unwrap();
        assert!(!whole.metadata.truncation && whole.answers.len() == MAX_RECORDS);
        let turned = answer(&view, &bytes, false, 1).unwrap();
        assert_ne!(whole.answers[0], turned.answers[0]);
    }

    #[tokio::test]
    async fn both_ways_are_served() {
        let published = Arc::new(Published::new(
            crate::agent::clock::Clock::new(),
            mesh(&[("web@10.0.0.1:80", Verdict::Up)]),
            true,
        ));
        let whom = Restricted { address: ([127, 0, 0, 1], 0).into(), from: Vec::new() };
        let server = NameServer { whom, published, metrics: Arc::new(Metrics::new().unwrap()) };
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let streams = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (by_datagram, by_stream) = (datagrams.local_addr().unwrap(), streams.local_addr().unwrap());
        server.run(datagrams, streams);
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii("web.shop.service.quorate.").unwrap(), RecordType::A));
        let question = question.to_vec().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&question, by_datagram).await.unwrap();
        let mut buffer = [0; 2048];
        let length = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(data(&Message::from_vec(&buffer[..length]).unwrap()), ["10.0.0.1"]);
        let mut stream = TcpStream::connect(by_stream).await.unwrap();
        for _ in 0..2 {
            stream.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
            stream.write_all(&question).await.unwrap();
            let length = usize::from(stream.read_u16().await.unwrap());
            stream.read_exact(&mut buffer[..length]).await.unwrap();
            assert_eq!(data(&Message::from_vec(&buffer[..length]).unwrap()), ["10.0.0.1"]);
        }
    }
}
