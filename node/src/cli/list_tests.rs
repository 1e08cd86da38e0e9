//! Tables and lines of fabricated answers, compared with `testdata`.

use super::fabricated::*;
use super::lists::{Health, Instances, Members, is_well};
use super::question::{Question, inked};
use super::style::render;
use super::{events, table};
use crate::answers::*;
use quorate_core::{AgentId, Class, InstanceId, Verdict, Zone};

fn check<Q: Question>(name: &str, question: &Q, answer: &Q::Answer) {
    expect(name, &render(&inked(question, answer), false));
}

fn health() -> HealthAnswer {
    let service = |name: &str, status, total, given: &[(Verdict, usize)], folded| ServiceSummary {
        service: name.parse().unwrap(),
        status,
        total,
        verdicts: counts(given),
        folded,
        stale: 0,
        flapping: folded,
    };
    let host = HostSummary {
        instance: InstanceId::host(AgentId(0xb)),
        agent: AgentId(0xb),
        name: "host-b".into(),
        zone: Zone::default(),
        verdict: Verdict::Down,
        class: Class::HostDown,
        since: SINCE.into(),
        age_ms: 5_000,
        folded_instances: 1,
    };
    HealthAnswer {
        view: view(),
        status: Status::Degraded,
        verdicts: counts(&[(Verdict::Up, 12), (Verdict::Down, 1)]),
        services: vec![
            service("web", Status::Degraded, 5, &[(Verdict::Up, 4), (Verdict::Down, 1)], 1),
            service("a-longer-name", Status::Up, 8, &[(Verdict::Up, 8)], 0),
        ],
        hosts: vec![host],
        members: MemberCounts { alive: 4, failed: 1, ..MemberCounts::default() },
    }
}

#[test]
fn health_tells_services_and_hosts() {
    let mut answer = health();
    check("health", &Health, &answer);
    assert!(!is_well(&answer));
    answer.hosts.clear();
    answer.verdicts = counts(&[(Verdict::Up, 12), (Verdict::Degraded, 1)]);
    assert!(is_well(&answer));
    answer.view = minority();
    assert!(!is_well(&answer));
    check("health_minority", &Health, &answer);
}

#[test]
fn instances_tell_votes_and_notes() {
    let mut stale = instance("web@10.0.0.3:8080", Verdict::Unknown, Class::Undetermined);
    (stale.stale, stale.flapping, stale.decided) = (true, true, Verdict::Up);
    stale.votes = VoteCounts { silent: 4, abstain: 1, ..VoteCounts::default() };
    let mut folded = instance("web@10.0.0.2:8080", Verdict::Down, Class::HostDown);
    folded.folded_under = Some(InstanceId::host(AgentId(0xb)));
    let instances = vec![instance("api@10.0.0.1:80", Verdict::Up, Class::Healthy), folded, stale];
    let mut question = Instances { service: None, verdicts: vec![Verdict::Up, Verdict::Down], hosts: true };
    assert_eq!(question.path(), "/v1/instances?verdict=up,down&hosts=true");
    question.verdicts = vec![Verdict::Down];
    assert_eq!(question.path(), "/v1/instances?verdict=down&hosts=true");
    check("instances", &question, &InstancesAnswer { view: view(), instances, total: 0, next: None });
    check("instances_none", &question, &InstancesAnswer { view: view(), instances: Vec::new(), total: 0, next: None });
}

#[test]
fn instances_say_why_nothing_is_decided() {
    let mut starting = instance("web@10.0.0.3:8080", Verdict::Starting, Class::Undetermined);
    (starting.term, starting.votes) = (0, VoteCounts { abstain: 5, ..VoteCounts::default() });
    starting.hint = Some("no observer can probe it: the secret \u{1b}X is not in this agent's environment".to_owned());
    let question = Instances { service: None, verdicts: Vec::new(), hosts: false };
    let answer = InstancesAnswer { view: view(), instances: vec![starting], total: 1, next: None };
    let text = render(&question.text(&answer), false);
    assert!(text.contains("5 abstain  no observer can probe it: the secret  X is not in this agent's"), "{text}");
}

#[test]
fn members_tell_states() {
    let this = MemberAnswer {
        name: "host-a\x1b[2J".into(),
        this: true,
        agent: AgentId(0xa),
        state: Membership::Alive,
        host: Verdict::Up,
        ..member()
    };
    let counts = MemberCounts { alive: 1, failed: 1, ..MemberCounts::default() };
    check(
        "members",
        &Members,
        &MembersAnswer { view: view(), counts, members: vec![this, member()], total: 2, next: None },
    );
}

#[test]
fn colour_does_not_move_columns() {
    let plain = render(&inked(&Health, &health()), false);
    let coloured = render(&inked(&Health, &health()), true);
    assert!(coloured.contains("\x1b[31mdown\x1b[0m"));
    let codes = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"];
    assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
}

#[test]
fn the_last_line_says_who_answers() {
    let line = render(&table::footer(&view()), false);
    assert_eq!(line, "host-a (000000000000000a) answers, 12 ms old; 5/5 members alive; quorate\n");
    let starting = ViewAnswer { alive: 3, roster: 5, ..minority() };
    let told = render(&table::banner(&starting), false);
    assert!(
        told.contains("host-a has not made sure yet whom it reaches") && !told.contains("not more than half"),
        "{told}"
    );
    assert!(render(&table::footer(&minority()), false).ends_with("2/5 members alive; NOT quorate\n"));
}

#[test]
fn events_read_as_lines() {
    let what = [
        r#""type":"verdicts","cut":7,"changes":[{"instance":"web@10.0.0.1:8080","service":"web","term":3,"from":"up","to":"down",
           "class":"instance_fault","folded_under":null,"signers":["000000000000000b"],"decided_at":"2026-11-21T07:00:00Z"}]"#,
        r#""type":"member","agent":"000000000000000b","name":"host-b","from":null,"to":"alive""#,
        r#""type":"vote","instance":"web@10.0.0.1:8080","observation":{"vote":{"fail":{"phase":"connect","cause":"refused"}},
           "detail":"refused","since":1}"#,
        r#""type":"failure","instance_id":"web@10.0.0.1:8080","app_name":"web","failure_type":"port_not_listening","severity":"medium",
           "is_critical":true,"message":"Nothing listens on the port: refused","details":{},"timestamp":"2026-11-21T07:00:00Z",
           "consecutive_count":5,"total_count":7,"first_occurrence":"2026-11-21T06:59:00Z""#,
        r#""type":"quorate","quorate":false,"alive":2,"roster":5"#,
        r#""type":"quorate","quorate":false,"alive":3,"roster":3"#,
        r#""type":"roster","epoch":6,"roster":5,"admitted":["000000000000000b"],"removed":["000000000000000c"]"#,
        r#""type":"stalled","late_ms":1200"#,
        r#""type":"withdrawn","instance":"web@10.0.0.1:8080""#,
        r#""type":"reset","detail":"older events are gone""#,
    ];
    let lines: String = what
        .iter()
        .map(|what| format!(r#"{{"id":"1-42","index":42,"at":"2026-11-21T07:00:00.123Z",{what}}}"#))
        .map(|json| render(&events::lines(&serde_json::from_str(&json).unwrap()), false))
        .collect();
    expect("events", &lines);
}
