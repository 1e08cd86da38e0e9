//! Callers in a drawn plan: who calls what beside all the other faults, and what goes wrong for them alone.
//!
//! Drawn apart from everything else, so that the rest of a seed's plan does not depend on it.

use crate::draw::{Draws, Purpose};
use crate::plan::{CallMode, CallTrouble, CallsPlan, Plan};
use crate::time::Span;

/// Of a hundred plans so many have callers.
const PERCENT: u64 = 20;
/// The mesh has formed by then.
const FORMED_MS: u64 = 15_000;
/// Of a hundred of these so many go on for minutes after all else.
const LONG_PERCENT: u64 = 20;
/// So much longer than without it do they last, in milliseconds.
const LONGER_MS: (u64, u64) = (60_000, 240_000);
/// The most troubles of what is outside.
const MOST_TROUBLES: u64 = 4;
/// What is called when it is none of the plan's instances.
const OUTSIDE: &str = "api@1";

/// The plan with its callers.
pub fn add(mut plan: Plan, draws: Draws) -> Plan {
    let throw = |n: u64, low: u64, high: u64| draws.within((low, high), Purpose::Callers, n, 0, 0);
    if throw(0, 0, 99) >= PERCENT {
        return plan;
    }
    let mut end = u64::try_from(plan.duration.0.as_millis()).unwrap_or(u64::MAX).max(FORMED_MS + 2);
    if throw(16, 0, 99) < LONG_PERCENT {
        end += throw(17, LONGER_MS.0, LONGER_MS.1);
        plan.duration = Span::ms(end);
    }
    let agents = plan.mesh.agents;
    let some = |n: u64| usize::try_from(throw(n, 0, agents as u64 - 1)).unwrap_or(0);
    // An instance of the plan answers calls as it does probes; of what is outside the trouble is drawn here.
    let own = plan.services.first().and_then(|service| Some(format!("{}@{}", service.name, service.homes.first()?)));
    let (instance, troubles) = match own.filter(|_| throw(1, 0, 1) == 0) {
        Some(instance) => (instance, Vec::new()),
        None => {
            let modes = [CallMode::Refused, CallMode::Hung, CallMode::Erroring, CallMode::Slow, CallMode::Late];
            let zones = plan.mesh.zones as u64;
            let trouble = |nth: u64| {
                let n = |draw: u64| 100 * nth + draw;
                let from = throw(n(3), FORMED_MS, end - 1);
                CallTrouble {
                    mode: modes[usize::try_from(throw(n(2), 0, 4)).unwrap_or(0)],
                    from: Span::ms(from),
                    to: Span::ms(throw(n(4), from + 1, end)),
                    per_mille: [1000, 1000, 300][usize::try_from(throw(n(5), 0, 2)).unwrap_or(0)],
                    seen_by: (throw(n(6), 0, 3) == 0).then(|| vec![some(n(7))]),
                    zone: (zones > 1 && throw(n(8), 0, 3) == 0)
                        .then(|| usize::try_from(throw(n(9), 0, zones - 1)).unwrap_or(0)),
                    flap_period: (throw(n(10), 0, 3) == 0).then(|| Span::ms(throw(n(11), 500, 8_000))),
                }
            };
            let count = if throw(18, 0, 1) == 0 { 1 } else { throw(19, 2, MOST_TROUBLES) };
            let troubles = (0..count).map(trouble).collect();
            (OUTSIDE.to_owned(), troubles)
        }
    };
    plan.calls.push(CallsPlan {
        instance,
        callers: None,
        every: Span::ms([200, 1_000, 5_000][usize::try_from(throw(12, 0, 2)).unwrap_or(0)]),
        from: Span::ms(throw(13, 1_000, FORMED_MS)),
        to: Span::ms(end),
        timeout: Span::ms(500),
        liars: if throw(14, 0, 4) == 0 { vec![some(15)] } else { Vec::new() },
        troubles,
        words: Vec::new(),
    });
    plan
}
