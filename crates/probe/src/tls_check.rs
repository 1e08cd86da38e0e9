//! TLS checks: the handshake, its version, and how long the certificate is still good for.

use crate::address::Authority;
use crate::connect::{self, First};
use crate::failure::{Step, unprepared};
use crate::findings::Findings;
use crate::prober::Tools;
use crate::starttls;
use crate::target::Target;
use crate::tls::TlsSettings;
use quorate_core::{Cause, Grade, TlsCheck, TlsVersion};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// One attempt.
pub(crate) async fn probe(
    tools: &Tools,
    target: &Target,
    check: &TlsCheck,
    deadline: Instant,
    findings: &mut Findings,
) -> Step<()> {
    let authority = Authority::parse(&target.address, None)
        .ok_or_else(|| unprepared(format!("{:?} is not an address: write host:port", target.address)))?;
    let name = check.tls.server_name.clone().unwrap_or_else(|| authority.host.clone());
    let prepared = tools.tls.prepare(&TlsSettings::new(&check.tls, name, &[]), deadline).await?;
    let first = if check.starttls.is_some() { First::They } else { First::We };
    let mut tcp = connect::open(tools, target, &authority, first, deadline, findings).await?;
    if let Some(how) = check.starttls {
        starttls::upgrade(&mut tcp, how, deadline).await?;
    }
    prepared.handshake(tcp, deadline, findings).await.map(drop)
}

/// Judges what the handshake showed.
pub(crate) fn judge(settings: &TlsSettings, findings: &mut Findings) -> Step<()> {
    let Some(facts) = findings.tls.clone() else { return Ok(()) };
    let version = facts.version.unwrap_or_default();
    if settings.min_version == TlsVersion::V1_3 {
        let grade = if version == "TLSv1.3" { Grade::Pass } else { Grade::Fail };
        let detail = format!("TLS error: {version} is older than 1.3");
        findings.judge("TLS is at least 1.3", version, grade, (Cause::Protocol, &detail))?;
    }
    let Some(certificate) = facts.certificate else { return Ok(()) };
    if settings.expiry_warning.is_none() && settings.expiry_critical.is_none() {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let end = Duration::from_millis(certificate.not_after.0);
    let left = end.saturating_sub(now);
    let within = |limit: Option<Duration>| limit.is_some_and(|limit| left < limit || end < now);
    let grade = match (within(settings.expiry_critical), within(settings.expiry_warning)) {
        (true, _) => Grade::Fail,
        (false, true) => Grade::Warn,
        (false, false) => Grade::Pass,
    };
    let limits = [settings.expiry_warning, settings.expiry_critical];
    let limits: Vec<String> = limits.into_iter().flatten().map(days).collect();
    let (found, detail) = if end < now {
        let ago = format!("{} ago", about(now.saturating_sub(end)));
        (format!("expired {ago}"), format!("Certificate expired {ago}"))
    } else {
        (about(left), format!("Certificate expires in {}", about(left)))
    };
    let what = format!("certificate is good for more than {}", limits.join(", "));
    findings.judge(what, found, grade, (Cause::Certificate, &detail))
}

fn about(span: Duration) -> String {
    if span.as_secs() < 3600 { "less than an hour".to_owned() } else { days(span) }
}

fn days(span: Duration) -> String {
    let hours = span.as_secs() / 3600;
    if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") }
}
