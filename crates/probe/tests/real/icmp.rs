//! ICMP echo checks of this host itself.

use crate::server::check;
use quorate_core::check::IcmpCheck;
use quorate_core::{AgentId, Cause, CheckKind, InstanceId, ProbeResult, ServiceName};
use quorate_probe::{Prober, Target};

#[tokio::test]
async fn this_host_answers() {
    for address in ["127.0.0.1:1", "[::1]:1"] {
        let target = Target {
            instance: InstanceId::new("host").unwrap(),
            service: ServiceName::new("host").unwrap(),
            address: address.to_owned(),
            home: None,
            observer: AgentId(1),
        };
        for payload_bytes in [16, 56, 1400] {
            let outcome = Prober::default().run(&target, &check(CheckKind::Icmp(IcmpCheck { payload_bytes }))).await;
            match &outcome.result {
                ProbeResult::Pass => {
                    let timings = outcome.timings;
                    let phases = timings.send.unwrap() + timings.first_byte.unwrap();
                    assert!(phases <= timings.total, "{timings:?}");
                }
                // No IPv6 on this host, or nobody may send echo requests: then it is our own fault, and says so.
                ProbeResult::Fail(failure) => {
                    let required = std::env::var_os("QUORATE_TEST_REQUIRE_ALL").is_some_and(|value| value == "1");
                    let v6 = address.starts_with('[');
                    assert!(failure.cause == Cause::Local || v6, "{outcome:?}");
                    assert!(!required || v6, "{outcome:?}");
                    eprintln!("skipped: ICMP to {address}: {}", failure.detail);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
