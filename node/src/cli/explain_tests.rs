//! Explanations of fabricated answers, compared with `testdata`.

use super::*;
use crate::cli::fabricated::*;
use crate::cli::question::inked;
use crate::cli::style::render;
use quorate_core::{AgentId, Class};

fn check(name: &str, answer: &InstanceAnswer) {
    let question = Explain { instance: answer.summary.instance.clone() };
    expect(name, &render(&inked(&question, answer), false));
}

#[test]
fn down() {
    let summary = instance("web@10.0.0.2:8080", Verdict::Down, Class::InstanceFault);
    let certificate = certificate(Verdict::Down, Class::InstanceFault, "fail");
    check("explain_down", &explained(summary, &["fail", "fail", "fail", "fail", "abstain"], Some(certificate)));
}

#[test]
fn folded_under_a_host() {
    let mut summary = instance("web@10.0.0.2:8080", Verdict::Down, Class::HostDown);
    summary.folded_under = Some(InstanceId::host(AgentId(0xb)));
    let certificate = certificate(Verdict::Down, Class::HostDown, "fail");
    let mut answer = explained(summary, &["fail", "pass", "fail", "fail", "fail"], Some(certificate));
    answer.observers[1].state = Membership::Failed;
    answer.observers[1].heard = false;
    check("explain_folded", &answer);
}

#[test]
fn up() {
    let summary = instance("web@10.0.0.2:8080", Verdict::Up, Class::Healthy);
    let certificate = certificate(Verdict::Up, Class::Healthy, "pass");
    check("explain_up", &explained(summary, &["pass", "pass", "pass", "pass", "pass"], Some(certificate)));
}

#[test]
fn in_maintenance() {
    let mut summary = instance("web@10.0.0.2:8080", Verdict::Maintenance, Class::Healthy);
    summary.decided = Verdict::Up;
    summary.intent = Some(IntentAnswer {
        kind: Wish::Maintenance,
        owner: "ann".to_owned(),
        reason: "a new disk".to_owned(),
        since: SINCE.into(),
        until: Some("2026-11-21T09:00:00.000Z".to_owned()),
    });
    let certificate = certificate(Verdict::Up, Class::Healthy, "pass");
    check("explain_maintenance", &explained(summary, &["pass", "pass", "pass", "pass", "pass"], Some(certificate)));
}

#[test]
fn unknown() {
    let mut summary = instance("web@10.0.0.2:8080", Verdict::Unknown, Class::Undetermined);
    summary.decided = Verdict::Up;
    summary.stale = true;
    summary.stale_since = Some(SINCE.into());
    let certificate = certificate(Verdict::Up, Class::Healthy, "pass");
    let mut answer = explained(summary, &["abstain", "pass", "pass"], Some(certificate));
    for observer in &mut answer.observers[1..] {
        (observer.heard, observer.state) = (false, Membership::Failed);
    }
    answer.view = minority();
    check("explain_unknown", &answer);
}

#[test]
fn unknown_without_its_home() {
    let mut summary = instance("job@10.0.0.2:1", Verdict::Unknown, Class::HostDown);
    (summary.decided, summary.assigned, summary.quorum, summary.check) = (Verdict::Up, 1, 1, "exec".into());
    (summary.stale, summary.stale_since) = (true, Some(SINCE.into()));
    summary.folded_under = Some(InstanceId::host(AgentId(0xb)));
    let mut answer = explained(summary, &["pass"], Some(certificate(Verdict::Up, Class::Healthy, "pass")));
    (answer.observers[0].heard, answer.observers[0].state) = (false, Membership::Failed);
    if let Some(settings) = &mut answer.settings {
        (settings.home_only, settings.target) = (true, "EXEC /bin/job-check".into());
    }
    check("explain_home_down", &answer);
    (answer.summary.folded_under, answer.summary.class) = (None, Class::Undetermined);
    (answer.observers[0].heard, answer.observers[0].state) = (true, Membership::Alive);
    (answer.observers[0].vote, answer.observers[0].reason) =
        (Some("abstain".into()), Some(quorate_core::AbstainReason::Impaired));
    check("explain_home_abstains", &answer);
}

/// What is explained, as it is printed.
fn told(answer: &InstanceAnswer) -> String {
    render(&Explain { instance: answer.summary.instance.clone() }.text(answer), false)
}

#[test]
fn a_name_that_nobody_finds_is_no_reason_to_restart() {
    let summary = instance("web@db.internal:8080", Verdict::Down, Class::InstanceFault);
    let mut answer = explained(summary, &["fail", "fail", "abstain"], None);
    assert!(told(&answer).contains("restart it"));
    for observer in &mut answer.observers[..2] {
        observer.cause = Some(quorate_core::Cause::NameNotFound);
    }
    let text = told(&answer);
    assert!(text.contains("the name in its address db.internal:8080") && text.contains("DNS"), "{text}");
    assert!(!text.contains("restart"), "{text}");
}

#[test]
fn observers_that_cannot_probe_are_not_waited_for() {
    let mut summary = instance("web@10.0.0.2:8080", Verdict::Starting, Class::Undetermined);
    (summary.term, summary.assigned, summary.quorum) = (0, 3, 2);
    let mut answer = explained(summary, &["abstain", "abstain", "abstain"], None);
    for observer in &mut answer.observers {
        observer.reason = Some(quorate_core::AbstainReason::Impaired);
    }
    assert!(told(&answer).contains("Wait for the first round"));
    for observer in &mut answer.observers[..2] {
        observer.detail = "cannot be probed from here: the secret X is not in this agent's environment".into();
    }
    let text = told(&answer);
    assert!(text.contains("2 of its 3 observers cannot probe it: the secret X is not"), "{text}");
    assert!(text.contains("abstain: it cannot probe it from there") && !text.contains("Wait for"), "{text}");
    answer.summary.enabled = false;
    let text = told(&answer);
    assert!(text.contains("switched off") && text.contains("enabled = true") && !text.contains("Wait"), "{text}");
    answer.summary.verdict = Verdict::Unknown;
    let text = told(&answer);
    assert!(text.contains("switched off") && !text.contains("partition"), "{text}");
}

#[test]
fn a_host() {
    let mut summary = instance("quorate-agent@000000000000000b", Verdict::Starting, Class::Undetermined);
    (summary.term, summary.assigned, summary.quorum) = (0, 0, 1);
    check("explain_host", &explained(summary.clone(), &[], None));
    (summary.verdict, summary.assigned, summary.quorum) = (Verdict::Up, 4, 3);
    check("explain_host_up", &explained(summary, &[], None));
}

#[test]
fn what_an_id_may_mean() {
    let web = instance("web@10.0.0.2:8080", Verdict::Up, Class::Healthy);
    let api = [
        instance("api@10.0.0.2:1", Verdict::Up, Class::Healthy),
        instance("api@10.0.0.2:2", Verdict::Up, Class::Healthy),
    ];
    let host = instance("quorate-agent@000000000000000b", Verdict::Up, Class::Healthy);
    let instances =
        InstancesAnswer { view: view(), instances: [api.as_slice(), &[web, host]].concat(), total: 0, next: None };
    let members =
        MembersAnswer { view: view(), counts: Default::default(), members: vec![member()], total: 1, next: None };
    let pick = |text| pick(text, &instances, &members).map(|id| id.to_string());
    for text in ["web@10.0.0.2:8080", "web", "we"] {
        assert_eq!(pick(text).as_deref(), Ok("web@10.0.0.2:8080"), "{text}");
    }
    for text in ["host-b", "000000000000000b"] {
        assert_eq!(pick(text).as_deref(), Ok("quorate-agent@000000000000000b"), "{text}");
    }
    assert_eq!(pick("api"), Err(vec!["api@10.0.0.2:1".to_owned(), "api@10.0.0.2:2".to_owned()]));
    assert_eq!(pick("nothing"), Err(vec![]));
    assert_eq!(pick(""), Err(vec![]));
}
