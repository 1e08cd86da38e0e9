//! Fabricated answers, and the comparison of texts with the files in `testdata`; `UPDATE_EXPECT=1` rewrites them.

use crate::answers::*;
use quorate_core::{AbstainReason, AgentId, Cause, Class, FailureType, InstanceId, Phase, Verdict, Zone};

pub const AT: &str = "2026-11-21T07:00:05.000Z";
pub const SINCE: &str = "2026-11-21T07:00:00.000Z";

/// Compares `text` with the file `testdata/<name>.txt`.
pub fn expect(name: &str, text: &str) {
    let path = format!("{}/src/cli/testdata/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "{path} differs; UPDATE_EXPECT=1 rewrites it");
}

pub fn view() -> ViewAnswer {
    ViewAnswer {
        agent: AgentId(0xa),
        name: "host-a".into(),
        mesh: "sU1fGvOx8".into(),
        at: AT.into(),
        age_ms: 12,
        index: 481,
        quorate: true,
        quorate_since: "2026-11-21T06:00:00.000Z".into(),
        alive: 5,
        roster: 5,
        epoch: 5,
        settled: true,
        stale_instances: 0,
    }
}

/// The view of an agent on the smaller side of a partition.
pub fn minority() -> ViewAnswer {
    ViewAnswer { quorate: false, quorate_since: SINCE.into(), alive: 2, stale_instances: 3, age_ms: 9_000, ..view() }
}

pub fn counts(given: &[(Verdict, usize)]) -> VerdictCounts {
    let of = |verdict| given.iter().find(|(v, _)| *v == verdict).map_or(0, |(_, n)| *n);
    Verdict::ALL.iter().map(|verdict| (*verdict, of(*verdict))).collect()
}

pub fn instance(id: &str, verdict: Verdict, class: Class) -> InstanceSummary {
    let fail = if verdict == Verdict::Down { 5 } else { 0 };
    InstanceSummary {
        instance: InstanceId::new(id).unwrap(),
        service: id.split('@').next().unwrap().parse().unwrap(),
        home: AgentId(0xb),
        home_name: "host-b".into(),
        zone: Zone::default(),
        address: id.split('@').nth(1).unwrap().into(),
        check: "http".into(),
        enabled: true,
        verdict,
        decided: verdict,
        term: 3,
        class,
        since: SINCE.into(),
        age_ms: 5_000,
        stale: false,
        stale_since: None,
        flapping: false,
        changes: 1,
        folded_under: None,
        assigned: 5,
        quorum: 3,
        weight: 100,
        tags: Vec::new(),
        intent: None,
        votes: VoteCounts { pass: 5 - fail, fail, ..VoteCounts::default() },
        hint: None,
    }
}

pub fn observer(number: u64, vote: &str) -> ObserverAnswer {
    let fails = vote == "fail";
    ObserverAnswer {
        agent: AgentId(number),
        name: format!("host-{number:x}"),
        zone: Zone::default(),
        home: number == 0xb,
        state: Membership::Alive,
        heard: true,
        vote: Some(vote.into()),
        failure_type: fails.then_some(FailureType::PortNotListening),
        phase: fails.then_some(Phase::Connect),
        cause: fails.then_some(Cause::Refused),
        reason: (vote == "abstain").then_some(AbstainReason::Isolated),
        detail: if fails { "Connection error: refused".into() } else { String::new() },
        since: Some(SINCE.into()),
        age_ms: Some(5_100),
    }
}

pub fn certificate(verdict: Verdict, class: Class, vote: &str) -> CertificateAnswer {
    let fails = vote == "fail";
    let endorsement = |number: u64| EndorsementAnswer {
        agent: AgentId(number),
        name: (number != 0xd).then(|| format!("host-{number:x}")),
        vote: vote.into(),
        phase: fails.then_some(Phase::Connect),
        cause: fails.then_some(if number == 0xd { Cause::Timeout } else { Cause::Refused }),
        signed_at: SINCE.into(),
        signature: "9f3c".into(),
    };
    CertificateAnswer {
        incarnation: 1,
        term: 3,
        verdict,
        class,
        decided_at: SINCE.into(),
        observers: 5,
        endorsements: [0xb, 0xc, 0xd].map(endorsement).to_vec(),
    }
}

pub fn explained(summary: InstanceSummary, votes: &[&str], certificate: Option<CertificateAnswer>) -> InstanceAnswer {
    let settings = CheckAnswer {
        target: format!("GET http://{}/health", summary.address),
        period_ms: 1000,
        timeout_ms: 500,
        initial_delay_ms: 0,
        failure_threshold: 3,
        success_threshold: 1,
        max_retries: 0,
        observers: 5,
        home_only: false,
    };
    InstanceAnswer {
        view: view(),
        settings: summary.instance.host_of().is_none().then_some(settings),
        summary,
        observers: votes.iter().zip(0xa..).map(|(vote, number)| observer(number, vote)).collect(),
        certificate,
        local: None,
        breaker: None,
    }
}

pub fn member() -> MemberAnswer {
    MemberAnswer {
        agent: AgentId(0xb),
        name: "host-b".into(),
        this: false,
        zone: Zone::default(),
        address: "10.0.0.2:7700".into(),
        api_address: "127.0.0.1:7701".into(),
        version: "0.1.0".into(),
        boot: 2,
        state: Membership::Failed,
        in_roster: true,
        since: SINCE.into(),
        age_ms: 5_000,
        host: Verdict::Down,
        instances: 4,
    }
}

pub fn agent() -> AgentAnswer {
    AgentAnswer {
        environment: None,
        view: view(),
        zone: Zone::default(),
        boot: 1,
        address: "10.0.0.1:7700".into(),
        listen: "0.0.0.0:7700".into(),
        api: "127.0.0.1:7701".into(),
        data_dir: "/var/lib/quorate".into(),
        config_file: None,
        version: "0.1.0".into(),
        pid: 1,
        started_at: SINCE.into(),
        uptime_ms: 3_600_000,
        issuer: false,
        certificate_expires: "2027-11-21T07:00:00.000Z".into(),
        ready: true,
        not_ready: Vec::new(),
    }
}
