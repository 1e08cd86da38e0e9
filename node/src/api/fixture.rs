//! A picture made up for the tests of the API, and an API that answers from it.

use super::limits::MAX_EVENT_STREAMS;
use super::server::Entrance;
use super::{About, Control, Service, Threads, serve};
use crate::access::tokens::{TokenFile, Wanted};
use crate::access::{Channel, Gate, Scope};
use crate::agent::audit::Audit;
use crate::agent::by_hand::ByHand;
use crate::agent::callers::Callers;
use crate::agent::clock::{Clock, wall};
use crate::agent::drive::Ask;
use crate::agent::event_log::EventLog;
use crate::agent::failures::Failures;
use crate::agent::probes::{LastProbe, LocalProbes, Probes};
use crate::agent::published::Published;
use crate::agent::pushes::Pushes;
use crate::agent::registrar::Registrar;
use crate::agent::reload::{Parts, Reloader};
use crate::agent::stop::{LEAVE_QUEUE, LeaveForGood};
use crate::agent::store::Store;
use crate::config::Configured;
use crate::config::Flags;
use crate::history::History;
use crate::logging::LogLevel;
use crate::metrics::Metrics;
use quorate_core::verdict::{Certificate, Decision, Endorsement};
use quorate_core::{
    AgentId, Cause, Check, Class, InstanceId, Observation, Outcome, Phase, Registration, ServiceName, UnixMs, Verdict,
    Vote, Zone,
};
use quorate_mesh::{
    BreakerCause, BreakerKey, BreakerState, BreakerView, CallCounts, InstanceView, MemberState, MemberView, MeshView,
    ObserverView, OverrideMode, OverrideView, Stats,
};
use quorate_probe::{Limits, Prober};
use quorate_transport::TransportMetrics;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tracing_subscriber::{EnvFilter, Registry, reload};

const FAIL: Vote = Vote::Fail { phase: Phase::Connect, cause: Cause::Refused };

pub fn member(agent: u64, state: MemberState) -> MemberView {
    MemberView {
        agent: AgentId(agent),
        name: format!("host-{agent}"),
        zone: Zone::default(),
        address: format!("10.0.0.{agent}:7700"),
        api_address: "127.0.0.1:7701".to_owned(),
        version: "0.1.0".to_owned(),
        boot: 1,
        state,
        in_roster: true,
        since: UnixMs(1000),
        host: Verdict::Up,
        instances: 1,
    }
}

pub fn observer(agent: u64, vote: Option<Vote>) -> ObserverView {
    ObserverView {
        agent: AgentId(agent),
        name: format!("host-{agent}"),
        zone: Zone::default(),
        home: agent == 1,
        state: MemberState::Alive,
        heard: true,
        observation: vote.map(|vote| Observation { vote, detail: "refused".to_owned(), since: UnixMs(5000) }),
    }
}

pub fn instance(name: &str, service: &str, home: u64, verdict: Verdict) -> InstanceView {
    let id = InstanceId::new(name).unwrap();
    let service = ServiceName::new(service).unwrap();
    let address = name.split_once('@').unwrap().1.to_owned();
    let registration = Registration {
        instance: id.clone(),
        service: service.clone(),
        address: address.clone(),
        check: Check::default().into(),
        observers: 5,
        placement: Default::default(),
    };
    let host = id.host_of().is_some();
    InstanceView {
        instance: id.clone(),
        incarnation: 1,
        service,
        home: AgentId(home),
        home_name: format!("host-{home}"),
        zone: Zone::default(),
        address,
        check: if host { "mesh" } else { "http" },
        registration: (!host).then(|| Arc::new(registration)),
        verdict,
        decided: verdict,
        term: 3,
        class: Class::InstanceFault,
        since: UnixMs(1_763_708_400_123),
        stale_since: None,
        flapping: false,
        changes: 1,
        folded_under: None,
        assigned: 3,
        quorum: 2,
        observers: vec![observer(1, Some(FAIL)), observer(2, Some(FAIL)), observer(3, None)],
        certificate: Some(Arc::new(certificate(id, verdict))),
    }
}

pub fn certificate(instance: InstanceId, verdict: Verdict) -> Certificate {
    let endorsement =
        |agent| Endorsement { agent: AgentId(agent), vote: FAIL, signed_at: UnixMs(7), signature: vec![0xab, 1] };
    Certificate {
        decision: Decision { instance, incarnation: 1, term: 3, verdict, observers: 3 },
        class: Class::InstanceFault,
        decided_at: UnixMs(8),
        endorsements: vec![endorsement(1), endorsement(9)],
    }
}

fn breaker(instance: &str) -> BreakerView {
    let key = BreakerKey { service: ServiceName::new("web").unwrap(), instance: InstanceId::new(instance).unwrap() };
    let overridden = OverrideView {
        mode: OverrideMode::ForcedOpen,
        owner: AgentId(2),
        reason: "an upgrade".to_owned(),
        epoch: 1,
        ends: UnixMs(1_763_708_500_000),
    };
    BreakerView {
        key,
        state: BreakerState::Open,
        cause: Some(BreakerCause::Override),
        first: Some(AgentId(2)),
        first_name: Some("host-2".to_owned()),
        since: Some(UnixMs(1_763_708_300_000)),
        outage: 1,
        attempts: 2,
        zone: Some(Zone::default()),
        spared: false,
        callers: 2,
        trying: vec![AgentId(1)],
        evidence: CallCounts { calls: 9, answered: 4, silent: 3, slow: 1 },
        own: CallCounts::default(),
        used_here: true,
        overridden: Some(overridden),
    }
}

pub fn view() -> MeshView {
    let mut folded = instance("web@10.0.0.3:80", "web", 3, Verdict::Down);
    folded.folded_under = Some(InstanceId::host(AgentId(3)));
    let mut stale = instance("db@10.0.0.2:5432", "db", 2, Verdict::Unknown);
    stale.stale_since = Some(UnixMs(9));
    let instances = [
        instance("web@10.0.0.1:80", "web", 1, Verdict::Up),
        folded,
        stale,
        instance("quorate-agent@0000000000000001", "quorate-agent", 1, Verdict::Up),
        instance("quorate-agent@0000000000000003", "quorate-agent", 3, Verdict::Down),
    ];
    let members = [(1, MemberState::Alive), (2, MemberState::Suspect), (3, MemberState::Failed)];
    MeshView {
        agent: AgentId(1),
        name: "host-1".to_owned(),
        at: UnixMs(1_763_708_400_123),
        index: 7,
        quorate: true,
        quorate_since: UnixMs(1),
        alive: 2,
        roster: 3,
        epoch: 3,
        roster_digest: 3,
        settled: true,
        members: Arc::new(members.into_iter().map(|(id, state)| (AgentId(id), member(id, state))).collect()),
        instances: Arc::new(
            instances.into_iter().map(|i| (i.instance.clone(), Arc::new(i))).collect::<BTreeMap<_, _>>(),
        ),
        breakers: Arc::new(vec![breaker("web@10.0.0.1:80")]),
        stats: Stats::default(),
    }
}

pub struct Fixture {
    pub api: SocketAddr,
    /// Where everyone finds health probes.
    pub health: SocketAddr,
    pub published: Arc<Published>,
    pub events: Arc<EventLog>,
    pub metrics: Arc<Metrics>,
    pub history: Arc<History>,
    /// What its own probes found last.
    pub local: Arc<LocalProbes>,
    /// What the engine is asked.
    pub asked: Mutex<mpsc::Receiver<Ask>>,
    /// Who wants it to leave for good.
    pub leaves: Mutex<mpsc::Receiver<LeaveForGood>>,
    /// Places for streams of events.
    pub streams: Arc<Semaphore>,
    /// Where its log would go.
    _log: reload::Layer<EnvFilter, Registry>,
    /// Where its tokens are.
    pub data: tempfile::TempDir,
}

/// What the picture's own agent is home to.
fn own_instances(view: &MeshView) -> Configured {
    let own = view.instances.values().filter(|instance| instance.home == view.agent);
    let registrations = own.filter_map(|instance| instance.registration.as_deref().cloned()).collect();
    Configured { registrations, ..Configured::default() }
}

impl Fixture {
    /// Takes all places for streams of events but this many.
    pub fn few_streams(&self) -> usize {
        let few = 32;
        let taken = u32::try_from(MAX_EVENT_STREAMS - few).unwrap();
        self.streams.try_acquire_many(taken).unwrap().forget();
        few
    }

    /// A token that its API honours.
    pub fn token(&self, scope: Scope) -> String {
        let ttl = Duration::from_secs(600);
        let wanted = Wanted { name: "test".to_owned(), scope, ttl, addresses: Vec::new() };
        TokenFile::new(self.data.path()).create(&wanted, wall().0).unwrap().to_string()
    }
}

pub fn start(view: MeshView) -> Fixture {
    start_as(view, |_| ())
}

/// The same by an agent that differs.
pub fn start_as(view: MeshView, differ: impl FnOnce(&mut About)) -> Fixture {
    let data = tempfile::tempdir().unwrap();
    let store = Store::new(data.path());
    let published = Published::new(Clock::new(), view, true).with_storing(store.storing().clone());
    let published = Arc::new(published);
    let events = Arc::new(EventLog::new(4));
    let local = Arc::new(LocalProbes::default());
    let outcome =
        Outcome::fail(Phase::Connect, Cause::Refused, "Connection error: refused", Duration::from_micros(1500));
    let probe =
        LastProbe { ended: wall(), service: ServiceName::new("web").unwrap(), check: "http", outcome: outcome.clone() };
    local.note(InstanceId::new("web@10.0.0.3:80").unwrap(), probe);
    let metrics = Arc::new(Metrics::new().unwrap());
    let failures = Arc::new(Failures::new(Arc::clone(&metrics), Arc::new(EventLog::new(4))));
    let failed = InstanceId::new("web@10.0.0.3:80").unwrap();
    failures.note((&failed, &ServiceName::new("web").unwrap()), &Check::default(), &outcome, wall());
    metrics.probe_ended("web", "http", &outcome);
    metrics.persisted(Duration::from_millis(1), 10, false);
    metrics.timer_late(Duration::from_millis(1));
    let mut about = About {
        mesh: "0123456789abcdef".to_owned(),
        zone: Zone::default(),
        boot: 4,
        address: SocketAddr::from(([10, 0, 0, 1], 7700)),
        listen: "0.0.0.0:7700".to_owned(),
        api: "127.0.0.1:7701".to_owned(),
        agent_check: Some("127.0.0.1:7702".to_owned()),
        names: None,
        outputs: Vec::new(),
        metrics: crate::config::MetricNames::default(),
        environment: None,
        data_dir: "data".to_owned(),
        config_file: None,
        started: wall(),
        issuer: true,
        certificate_expires_unix_s: 1_900_000_000,
    };
    differ(&mut about);
    std::fs::write(data.path().join("push-token"), "secret\n").unwrap();
    let own = quorate_probe::Own { secrets_dir: Some(data.path().to_owned()), ..quorate_probe::Own::default() };
    let prober = Arc::new(Prober::new(Limits::default(), own));
    let asks = tokio::sync::mpsc::channel(16).0;
    let registrar = Arc::new(Registrar::load(store, own_instances(&published.view())).unwrap());
    let probes = Probes {
        agent: published.view().agent,
        prober: Arc::clone(&prober),
        registrar: Arc::clone(&registrar),
        published: Arc::clone(&published),
        local: Arc::clone(&local),
        failures: Arc::clone(&failures),
        metrics: Arc::clone(&metrics),
        asks: asks.clone(),
        history: None,
        spans: Arc::default(),
    };
    let by_hand = Arc::new(ByHand::new(probes));
    let pushes = Pushes::new(Arc::clone(&prober), Arc::clone(&published), asks, None);
    let counters: super::Counters = Box::new(TransportMetrics::default);
    let gate = Arc::new(Gate::new(data.path(), 0));
    let audit = Audit::open(data.path(), about.environment.clone()).unwrap();
    let (asks, asked) = mpsc::channel(64);
    let callers = Arc::new(Callers::new(Clock::new(), Arc::clone(&published), 1, asks.clone()).unwrap());
    registrar.attach(asks.clone());
    let kept = Arc::new(History::open(data.path(), 1 << 30, Arc::clone(&metrics)).unwrap());
    let history = Some(Arc::clone(&kept));
    let (level, layer) = LogLevel::detached();
    let parts = Parts {
        flags: Flags::default(),
        document: toml::Table::new(),
        own: [10, 0, 0, 1].into(),
        certificates: None,
        level,
        gate: Arc::clone(&gate),
        registrar: Arc::clone(&registrar),
        prober: Arc::clone(&prober),
    };
    let reloader = Reloader::new(parts, Arc::clone(&metrics), audit.clone());
    let (leave, leaves) = mpsc::channel(LEAVE_QUEUE);
    let control =
        Control { gate, audit, reloader: Arc::new(reloader), asks, leave, registrar, pushes, history, by_hand };
    let service = Service::new(
        about,
        Arc::clone(&published),
        Arc::clone(&events),
        (Arc::clone(&local), failures, callers),
        Arc::clone(&metrics),
        (counters, prober),
        control,
    );
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap();
    let open = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let health = open.local_addr().unwrap();
    let streams = Arc::clone(&service.0.streams);
    let threads = Threads { runtime: tokio::runtime::Handle::current(), descriptors: 1024 };
    serve(listener, service.clone(), Entrance::Clear(Channel::Local), &threads).unwrap();
    serve(open, service, Entrance::Clear(Channel::Open), &threads).unwrap();
    let (asked, leaves) = (Mutex::new(asked), Mutex::new(leaves));
    Fixture { api, health, published, events, metrics, history: kept, local, data, asked, leaves, streams, _log: layer }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The body, which must be this.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}\n{}", self.body))
    }
}

/// Sends a request line such as `GET /livez`, with further headers.
pub async fn ask(api: SocketAddr, request: &str, headers: &[&str]) -> Reply {
    send(api, request, headers, "").await
}

/// The same with a body.
pub async fn send(api: SocketAddr, request: &str, headers: &[&str], body: &str) -> Reply {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let host = if headers.iter().any(|line| line.starts_with("Host:")) { "" } else { "Host: localhost\r\n" };
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    raw(api, &format!("{request} HTTP/1.1\r\n{host}{length}{lines}Connection: close\r\n\r\n{body}")).await
}

/// Sends these bytes.
pub async fn raw(api: SocketAddr, text: &str) -> Reply {
    let mut stream = TcpStream::connect(api).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {text}: {answer}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    Reply { status, head: head.to_owned(), body: if chunked { unchunked(body) } else { body.to_owned() } }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

pub async fn get<T: DeserializeOwned>(api: SocketAddr, path: &str, code: u16) -> T {
    let reply = ask(api, &format!("GET {path}"), &[]).await;
    assert_eq!(reply.status, code, "{path}: {}", reply.body);
    reply.json()
}
