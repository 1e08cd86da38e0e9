//! Admit and record, here and elsewhere, in one run: nanoseconds per call that does nothing else.
//!
//! `cargo bench` in this folder. Each group begins with the call alone, so that what a breaker adds can be read off. With two threads
//! both call one breaker all the time, and the figure is the time of one thread's call. Time is the thread's own time on a core
//! (`CLOCK_THREAD_CPUTIME_ID`), so that a busy machine disturbs caches and frequency but is not counted itself.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use failsafe::CircuitBreaker;
use nix::time::{ClockId, clock_gettime};
use quorate_breaker::{Breaker, Breakers, Event, Fault, Outcome, Settings};
use quorate_core::Mono;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tower::{Layer, Service, ServiceExt};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// What this thread has spent on a core.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Measures `call` on one thread, or on two at once; `call` gets the number of the call.
fn measure(group: &mut Group<'_>, name: &str, threads: usize, call: impl Fn(u64) + Sync) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let run = || {
                let begun = spent();
                (0..calls).for_each(&call);
                spent() - begun
            };
            if threads == 1 {
                return run();
            }
            let each: Vec<Duration> = std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            each.iter().sum::<Duration>() / threads as u32
        });
    });
}

fn ours() -> Breaker {
    let slow = Settings { slow_rate: Some(80), ..Settings::default() };
    Breaker::new(Arc::new(slow.resolve().unwrap()), 1)
}

fn closed(group: &mut Group<'_>, threads: usize) {
    measure(group, "the call alone", threads, |n| _ = black_box(Ok::<u64, ()>(n)));
    measure(group, "reading the clock", threads, |_| _ = black_box(Instant::now()));

    // The clock of the process, ticked elsewhere: what an agent or a runtime has anyway.
    let (breaker, clock) = (ours(), AtomicU64::new(1_000_000_000));
    measure(group, "quorate", threads, |n| {
        let now = Mono(clock.load(Ordering::Relaxed));
        let permit = breaker.admit(now).unwrap();
        black_box(n);
        breaker.record(permit, Outcome::Success, now);
    });
    let breaker = ours();
    measure(group, "quorate, 1 % failures", threads, |n| {
        let now = Mono(clock.load(Ordering::Relaxed));
        let permit = breaker.admit(now).unwrap();
        let outcome = if n % 100 == 99 { Outcome::Failure(Fault::Answer) } else { Outcome::Success };
        breaker.record(permit, black_box(outcome), now);
    });
    let (breaker, begun) = (ours(), Instant::now());
    let coarse = || {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
        Mono(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
    };
    measure(group, "quorate, latency measured by the coarse clock", threads, |n| {
        let start = coarse();
        let permit = breaker.admit(start).unwrap();
        black_box(n);
        let end = coarse();
        breaker.record_timed(permit, Outcome::Success, end.since(start), end);
    });
    let breaker = ours();
    measure(group, "quorate, latency measured", threads, |n| {
        let start = begun.elapsed();
        let permit = breaker.admit(Mono(start.as_nanos() as u64)).unwrap();
        black_box(n);
        let end = begun.elapsed();
        breaker.record_timed(permit, Outcome::Success, end - start, Mono(end.as_nanos() as u64));
    });

    let recloser = recloser::Recloser::default();
    measure(group, "recloser", threads, |n| _ = black_box(recloser.call(|| Ok::<u64, ()>(n)).is_err()));
    let default = failsafe::Config::new().build();
    measure(group, "failsafe, default", threads, |n| _ = black_box(default.call(|| Ok::<u64, ()>(n)).is_err()));
    let backoff = failsafe::backoff::constant(Duration::from_secs(30));
    let policy = failsafe::failure_policy::consecutive_failures(5, backoff);
    let consecutive = failsafe::Config::new().failure_policy(policy).build();
    measure(group, "failsafe, consecutive", threads, |n| _ = black_box(consecutive.call(|| Ok::<u64, ()>(n)).is_err()));
    tower_resilience(group, threads, false);
}

fn rejected(group: &mut Group<'_>, threads: usize) {
    let (breaker, clock) = (ours(), AtomicU64::new(1_000_000_000));
    breaker.apply(Event::Tripped, Mono(1_000_000_000)).unwrap();
    measure(group, "quorate", threads, |_| _ = black_box(breaker.admit(Mono(clock.load(Ordering::Relaxed))).is_err()));

    let recloser = recloser::Recloser::custom().closed_len(1).open_wait(Duration::from_secs(3_600)).build();
    (0..10).for_each(|_| drop(recloser.call(|| Err::<u64, ()>(()))));
    assert!(matches!(recloser.call(|| Ok::<u64, ()>(1)), Err(recloser::Error::Rejected)));
    measure(group, "recloser", threads, |n| _ = black_box(recloser.call(|| Ok::<u64, ()>(n)).is_err()));

    let backoff = failsafe::backoff::constant(Duration::from_secs(3_600));
    let policy = failsafe::failure_policy::consecutive_failures(1, backoff);
    let consecutive = failsafe::Config::new().failure_policy(policy).build();
    (0..3).for_each(|_| drop(consecutive.call(|| Err::<u64, ()>(()))));
    assert!(!consecutive.is_call_permitted());
    measure(group, "failsafe, consecutive", threads, |n| _ = black_box(consecutive.call(|| Ok::<u64, ()>(n)).is_err()));
    tower_resilience(group, threads, true);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Futures on each thread's own executor, many calls per run of it; a clone of the service per thread, as servers do.
fn tower_resilience(group: &mut Group<'_>, threads: usize, open: bool) {
    use tower_resilience_circuitbreaker::CircuitBreakerLayer;
    let (layer, handle) = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .wait_duration_in_open(Duration::from_secs(3_600))
        .build_with_handle()
        .unwrap();
    if open {
        runtime().block_on(handle.force_open());
    }
    let inner = tower::service_fn(|n: u64| std::future::ready(Ok::<u64, std::io::Error>(n)));
    let guarded = layer.layer(inner);
    group.bench_function("tower-resilience", |bencher| {
        bencher.iter_custom(|calls| {
            let run = |mut service: tower_resilience_circuitbreaker::CircuitBreaker<_, _>| {
                let runtime = runtime();
                let begun = spent();
                runtime.block_on(async {
                    for n in 0..calls {
                        if let Ok(ready) = service.ready().await {
                            let _ = black_box(ready.call(n).await);
                        }
                    }
                });
                spent() - begun
            };
            let each: Vec<Duration> = std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads)
                    .map(|_| {
                        let service = guarded.clone();
                        scope.spawn(move || run(service))
                    })
                    .collect();
                running.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            each.iter().sum::<Duration>() / threads as u32
        });
    });
}

/// Finding the breaker of an instance among a thousand: what a caller saves that keeps its handle.
fn look_up(group: &mut Group<'_>, threads: usize) {
    let breakers = Breakers::builder().build(&prometheus::Registry::new()).unwrap();
    let names: Vec<String> = (0..1_000).map(|n| format!("10.0.{}.{}:8000", n / 250, n % 250)).collect();
    let kept: Vec<_> = names.iter().map(|name| breakers.handle("web", name)).collect();
    measure(group, "of 1,000", threads, |n| {
        _ = black_box(breakers.handle("web", &names[n as usize % names.len()]).breaker().is_some());
    });
    drop(kept);
}

fn breakers(criterion: &mut Criterion) {
    for threads in [1, 2] {
        closed(&mut criterion.benchmark_group(format!("closed, {threads} thread(s)")), threads);
        rejected(&mut criterion.benchmark_group(format!("rejected, {threads} thread(s)")), threads);
        look_up(&mut criterion.benchmark_group(format!("registry look-up, {threads} thread(s)")), threads);
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = breakers
}
criterion_main!(all);
