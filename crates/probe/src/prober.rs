//! Runs checks: waits for a permit, makes the attempts, and puts what they found into an outcome.

use crate::address::Authority;
use crate::exec::Program;
use crate::expect::Patterns;
use crate::failure::{Step, unprepared};
use crate::findings::Findings;
use crate::limits::{Gate, Limits, Permit};
use crate::own::Own;
use crate::pool::Pool;
use crate::push::Pushes;
use crate::resolve::{Lookup, Resolver, system};
use crate::stats::{Counters, ProbeStats};
use crate::target::Target;
use crate::tls::TlsConfigs;
use crate::usage::Memory;
use crate::{container, dialogue, exec, grpc, http, icmp, postgres, push, redis, tcp, tls_check, udp, unix};
use quorate_core::check::{PushCheck, limits as check_limits};
use quorate_core::{Cause, Check, CheckKind, Evidence, Grade, Outcome, Phase, ProbeFailure, ProbeResult, Timings};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Runs checks. Cheap to clone; clones share their limits, caches, connections and counters.
///
/// Command: [`run`](Self::run). Getter: [`stats`](Self::stats).
#[derive(Clone)]
pub struct Prober {
    inner: Arc<Inner>,
}

struct Inner {
    max_concurrent: usize,
    gate: Gate,
    tools: Tools,
}

/// What every protocol uses.
pub(crate) struct Tools {
    pub(crate) resolver: Resolver,
    pub(crate) tls: TlsConfigs,
    pub(crate) patterns: Patterns,
    pub(crate) pool: Pool,
    pub(crate) counters: Counters,
    pub(crate) own: Own,
    programs: RwLock<BTreeMap<u64, Program>>,
    pub(crate) pushes: Pushes,
    pub(crate) containers: Memory<container::Past>,
    #[cfg(feature = "systemd")]
    pub(crate) units: Memory<crate::systemd::Past>,
}

impl Tools {
    /// The program of this name that is in use now.
    pub(crate) fn program(&self, key: u64) -> Option<Program> {
        self.programs.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self::new(Limits::default(), Own::default())
    }
}

impl Prober {
    /// A prober with nothing resolved, kept or counted yet.
    #[must_use]
    pub fn new(limits: Limits, own: Own) -> Self {
        Self::with_lookup(limits, own, system())
    }

    /// The same, with another way to look names up.
    pub(crate) fn with_lookup(limits: Limits, mut own: Own, lookup: Lookup) -> Self {
        let tools = Tools {
            resolver: Resolver::new(lookup, limits.dns_cache_ttl),
            tls: TlsConfigs::default(),
            patterns: Patterns::default(),
            pool: Pool::new(limits.keepalive, limits.max_concurrent),
            counters: Counters::default(),
            programs: RwLock::new(std::mem::take(&mut own.programs)),
            own,
            pushes: Pushes::default(),
            containers: Memory::default(),
            #[cfg(feature = "systemd")]
            units: Memory::default(),
        };
        Self { inner: Arc::new(Inner { max_concurrent: limits.max_concurrent, gate: Gate::new(&limits), tools }) }
    }

    /// Uses other programs for exec checks from now on. Returns those used before.
    pub fn exchange_programs(&self, programs: BTreeMap<u64, Program>) -> BTreeMap<u64, Program> {
        let mut used = self.inner.tools.programs.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut used, programs)
    }

    /// Runs `check` once against `target`. Whatever goes wrong is in the outcome.
    ///
    /// Waits at most the check's timeout for a permit, which is not part of the probe and not in its timings, and then probes for at
    /// most the check's timeout, retries and redirects included. A failed attempt is repeated at once, up to `max_retries` times and
    /// while time is left; the last failure is the one reported, with its own phases' timings. `enabled` and the thresholds are the
    /// caller's concern. May be dropped at any point: nothing goes on but a name look-up.
    ///
    /// Needs a tokio runtime with I/O and time enabled.
    pub async fn run(&self, target: &Target, check: &Check) -> Outcome {
        let Tools { counters, pool, .. } = &self.inner.tools;
        pool.sweep();
        let limit = check.timeout.min(check_limits::MAX_DURATION);
        let arrived = Instant::now();
        let (outcome, attempts) = match self.permit(target, limit).await {
            Ok(_permit) => {
                let _running = counters.running();
                let outcome = self.attempts(target, check, limit).await;
                let attempts = outcome.attempts;
                (outcome, attempts)
            }
            Err(failure) => {
                let ProbeFailure { phase, cause, detail } = failure;
                (Outcome::fail(phase, cause, detail, arrived.elapsed()), 0)
            }
        };
        counters.ended(&outcome, attempts);
        tracing::trace!(instance = %target.instance, result = ?outcome.result, total = ?outcome.timings.total, "probed");
        outcome
    }

    /// Probes at once at most.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.inner.max_concurrent
    }

    /// A snapshot of the counters.
    #[must_use]
    pub fn stats(&self) -> ProbeStats {
        self.inner.tools.counters.snapshot()
    }

    /// Does the container engine of this host answer? `None` when none is configured. The caller sets the time for it.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ask_container_engine(&self) -> Option<Result<(), ProbeFailure>> {
        let socket = self.inner.tools.own.container_socket.as_deref()?;
        Some(container::ask(socket).await)
    }

    /// What the instances of this host have said of themselves.
    #[must_use]
    pub fn pushes(&self) -> &Pushes {
        &self.inner.tools.pushes
    }

    /// Is `token` the one that `check` asks for?
    ///
    /// # Errors
    /// When the one to compare cannot be read on this host.
    pub async fn admits_push(&self, check: &PushCheck, token: &str) -> Result<bool, ProbeFailure> {
        let known = self.inner.tools.own.reveal(&check.token).await?;
        Ok(push::same_token(&known, token))
    }

    async fn permit(&self, target: &Target, limit: Duration) -> Step<Permit> {
        let counters = &self.inner.tools.counters;
        // An address that cannot be read fails later, with its own words.
        let host = Authority::parse(&target.address, None).map_or_else(String::new, |authority| authority.host);
        let mut entering = std::pin::pin!(self.inner.gate.enter(&host));
        let at_once = std::future::poll_fn(|cx| std::task::Poll::Ready(entering.as_mut().poll(cx))).await;
        let given = match at_once {
            std::task::Poll::Ready(given) => given,
            std::task::Poll::Pending => {
                let (_waiting, begun) = (counters.waiting(), Instant::now());
                let given = timeout(limit, entering).await.ok().flatten();
                counters.waited(begun.elapsed(), given.is_some());
                given
            }
        };
        given.ok_or_else(|| unprepared("probe limit reached"))
    }

    async fn attempts(&self, target: &Target, check: &Check, limit: Duration) -> Outcome {
        let begun = Instant::now();
        let deadline = begun + limit;
        let retries = check.max_retries.min(check_limits::MAX_RETRIES);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut findings = Findings::default();
            let started = Instant::now();
            let result = self.attempt(target, check, deadline, &mut findings).await;
            let result = result.inspect_err(|failure| self.doubt(target, failure));
            let result = result.and_then(|()| in_time(check, started.elapsed(), &mut findings));
            let again = match &result {
                Ok(()) => false,
                // What is wrong on this host stays wrong for longer than this.
                Err(failure) => failure.phase != Phase::Prepare && attempts <= retries && Instant::now() < deadline,
            };
            if !again {
                return outcome(result, findings, attempts, begun.elapsed());
            }
        }
    }

    /// Where nobody was met, nobody may be any more: the next attempt looks the name up again.
    fn doubt(&self, target: &Target, failure: &ProbeFailure) {
        if matches!(failure.evidence(), Evidence::Refused | Evidence::Silence)
            && let Some(authority) = Authority::parse(&target.address, None)
        {
            self.inner.tools.resolver.forget(&authority.host);
        }
    }

    async fn attempt(&self, target: &Target, check: &Check, deadline: Instant, findings: &mut Findings) -> Step<()> {
        let tools = &self.inner.tools;
        if check.kind.home_only() && target.home.is_some() {
            return Err(unprepared("only the instance's home agent can make this check"));
        }
        match &check.kind {
            CheckKind::Http(http) => http::probe(tools, target, http, None, deadline, findings).await,
            CheckKind::Tcp(tcp) => tcp::probe(tools, target, tcp, deadline, findings).await,
            CheckKind::Dialogue(check) => dialogue::probe(tools, target, check, deadline, findings).await,
            CheckKind::Tls(tls) => tls_check::probe(tools, target, tls, deadline, findings).await,
            CheckKind::Udp(udp) => udp::probe(tools, target, udp, deadline, findings).await,
            CheckKind::Redis(redis) => redis::probe(tools, target, redis, deadline, findings).await,
            CheckKind::Postgres(postgres) => postgres::probe(tools, target, postgres, deadline, findings).await,
            #[cfg(feature = "dns")]
            CheckKind::Dns(dns) => crate::dns::probe(tools, target, dns, deadline, findings).await,
            #[cfg(not(feature = "dns"))]
            CheckKind::Dns(_) => Err(unprepared("this agent was built without DNS checks")),
            CheckKind::Grpc(grpc) => grpc::probe(tools, target, grpc, deadline, findings).await,
            CheckKind::Icmp(icmp) => icmp::probe(tools, target, icmp, deadline, findings).await,
            CheckKind::Metric(metric) => {
                http::probe(tools, target, &metric.http, Some(&metric.measure), deadline, findings).await
            }
            CheckKind::Exec(check) => exec::probe(tools, target, check, deadline, findings).await,
            CheckKind::Unix(check) => unix::probe(tools, check, deadline, findings).await,
            CheckKind::Container(check) => container::probe(tools, target, check, deadline, findings).await,
            #[cfg(feature = "systemd")]
            CheckKind::Systemd(check) => crate::systemd::probe(tools, target, check, deadline, findings).await,
            #[cfg(not(feature = "systemd"))]
            CheckKind::Systemd(_) => Err(unprepared("this agent was built without checks of systemd units")),
            CheckKind::Push(check) => push::probe(&tools.pushes, target, check, findings),
        }
    }

    /// Idle connections kept now.
    #[cfg(test)]
    pub(crate) fn idle_connections(&self) -> usize {
        self.inner.tools.pool.len()
    }

    /// Hosts with a probe in flight or waiting.
    #[cfg(test)]
    pub(crate) fn busy_hosts(&self) -> usize {
        self.inner.gate.hosts()
    }
}

/// Judges how long an attempt that passed has taken.
fn in_time(check: &Check, took: Duration, findings: &mut Findings) -> Step<()> {
    let grade = match check.critical_response_time {
        Some(critical) if took > critical => Grade::Fail,
        _ if took > check.max_response_time => Grade::Warn,
        _ => return Ok(()),
    };
    let took = format!("{}ms", took.as_millis());
    let limit = check.critical_response_time.filter(|_| grade == Grade::Fail).unwrap_or(check.max_response_time);
    let detail = format!("High response time: {took}");
    findings.judge(format!("response time is at most {limit:?}"), took, grade, (Cause::Slow, &detail))
}

fn outcome(result: Step<()>, findings: Findings, attempts: u32, total: Duration) -> Outcome {
    Outcome {
        result: match (result, findings.warning, findings.protected) {
            (Err(failure), _, _) => ProbeResult::Fail(failure),
            (Ok(()), Some(warning), _) => ProbeResult::Warn(warning),
            (Ok(()), None, Some(why)) => ProbeResult::protected(why),
            (Ok(()), None, None) => ProbeResult::Pass,
        },
        timings: Timings { total, ..findings.timings },
        status_code: findings.status_code,
        attempts,
        peer: findings.peer.map(|peer| peer.to_string()),
        excerpt: findings.excerpt.text(),
        headers: findings.headers,
        tls: findings.tls,
        judgements: findings.judgements,
        usage: findings.usage,
    }
}
