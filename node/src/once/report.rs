//! One probe in words.

use crate::answers::LocalProbe;
use crate::cli::style::{Ink, clean};
use quorate_core::{Evidence, Grade, Phase};

/// One line that says how it went; with `explain`, all that is known.
pub fn text(target: &str, answer: &LocalProbe, explain: bool) -> String {
    let verdict = match answer {
        LocalProbe { is_healthy: false, .. } => Ink::Red.on("FAIL"),
        LocalProbe { protected: true, .. } => Ink::Green.on("protected"),
        LocalProbe { cause: Some(_), .. } => Ink::Yellow.on("warn"),
        _ => Ink::Green.on("pass"),
    };
    let mut text = format!("{verdict}  {}  in {} ms", clean(target), answer.response_time_ms);
    if answer.attempts > 1 {
        text.push_str(&format!(", {} attempts", answer.attempts));
    }
    if let Some(error) = &answer.error {
        text.push_str(&format!("\n      {}", clean(error)));
    }
    if let (Some(phase), Some(cause), Some(kind)) = (answer.phase, answer.cause, answer.failure_type) {
        let evidence = Evidence::of(phase, cause);
        text.push_str(&format!("\n      {cause} at {phase}: {kind}; proves {evidence}"));
    }
    text.push('\n');
    if explain {
        details(&mut text, answer);
    }
    text
}

fn details(text: &mut String, answer: &LocalProbe) {
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:<12} {value}\n"));
    if let Some(peer) = &answer.peer {
        line("peer", clean(peer));
    }
    let reached = answer.phase;
    let spent = &answer.timings;
    for (phase, ms) in [
        (Phase::Resolve, spent.resolve_ms),
        (Phase::Connect, spent.connect_ms),
        (Phase::Tls, spent.tls_ms),
        (Phase::Send, spent.send_ms),
        (Phase::FirstByte, spent.first_byte_ms),
        (Phase::Body, spent.transfer_ms),
        (Phase::Assert, spent.assert_ms),
    ] {
        let ended = if reached == Some(phase) { Ink::Red.on("  ended here") } else { String::new() };
        match ms {
            Some(ms) => line(phase.as_str(), format!("{ms} ms{ended}")),
            None if !ended.is_empty() => line(phase.as_str(), ended.trim_start().to_owned()),
            None => {}
        }
    }
    if let Some(status) = answer.status_code {
        line("status", status.to_string());
    }
    for judgement in &answer.judgements {
        let word = match judgement.grade {
            Grade::Pass => Ink::Green.on("pass"),
            Grade::Warn => Ink::Yellow.on("warn"),
            Grade::Fail => Ink::Red.on("FAIL"),
        };
        line("condition", format!("{word}  {}; found {}", clean(&judgement.what), clean(&judgement.found)));
    }
    if let Some(tls) = &answer.tls {
        let all = [&tls.version, &tls.cipher, &tls.alpn];
        let agreed: Vec<&str> = all.into_iter().flatten().map(String::as_str).collect();
        line("tls", if agreed.is_empty() { "not agreed on".to_owned() } else { clean(&agreed.join(", ")) });
        let mut fact = |name: &str, value: &Option<String>| value.iter().for_each(|value| line(name, clean(value)));
        fact("subject", &tls.subject);
        fact("issuer", &tls.issuer);
        fact("names", &(!tls.names.is_empty()).then(|| tls.names.join(", ")));
        fact("not before", &tls.not_before);
        fact("not after", &tls.not_after);
        fact("sha256", &tls.sha256);
        line("chain", format!("{} certificates", tls.chain));
    }
    if let Some(used) = &answer.usage {
        let percent = |share: Option<f64>| share.map(|share| format!("{share} %"));
        let memory = used.memory_usage_bytes.map(|bytes| format!("{bytes} bytes"));
        let told = [("cpu", percent(used.cpu_percent)), ("memory", percent(used.memory_percent)), ("memory", memory)];
        for (name, value) in told {
            value.into_iter().for_each(|value| line(name, value));
        }
        line("restarts", used.restarts.to_string());
    }
    for (name, value) in &answer.headers {
        line("header", format!("{}: {}", clean(name), clean(value)));
    }
    for shown in answer.response_body.lines().take(20) {
        line("answer", clean(shown));
    }
}
