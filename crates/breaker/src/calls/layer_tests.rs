//! A service behind a breaker: rejected requests do not reach it, cancelled ones prove nothing.

use super::*;
use crate::{Breakers, Settings, State, judge_by_result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::{ServiceBuilder, ServiceExt, service_fn};

#[tokio::test]
async fn rejected_requests_do_not_reach_the_service() {
    let breakers =
        Breakers::builder().default_protection(Settings::orchestry()).build(&prometheus::Registry::new()).unwrap();
    let reached = Arc::new(AtomicU32::new(0));
    let inner = Arc::clone(&reached);
    let layer = BreakerLayer::new(breakers.handle("web", "a"), judge_by_result);
    let mut service = ServiceBuilder::new().layer(layer).service(service_fn(move |_: ()| {
        inner.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Err::<(), _>(std::io::Error::other("no")))
    }));
    let mut rejected = 0;
    for _ in 0..20 {
        let error = service.ready().await.unwrap().call(()).await.unwrap_err();
        rejected += u32::from(error.is::<Rejection>());
    }
    assert_eq!((reached.load(Ordering::Relaxed), rejected), (5, 15));
    assert_eq!(breakers.states()[0].snapshot.state, State::Open);
}

#[tokio::test]
async fn a_dropped_call_is_neutral() {
    let breakers =
        Breakers::builder().default_protection(Settings::orchestry()).build(&prometheus::Registry::new()).unwrap();
    let layer = BreakerLayer::new(breakers.handle("web", "a"), judge_by_result);
    let hangs = service_fn(|_: ()| std::future::pending::<Result<(), std::io::Error>>());
    let mut service = ServiceBuilder::new().layer(layer).service(hangs);
    for _ in 0..10 {
        let call = service.ready().await.unwrap().call(());
        assert!(tokio::time::timeout(Duration::from_millis(1), call).await.is_err());
    }
    assert_eq!(breakers.states()[0].snapshot.state, State::Closed);
}
