//! How many requests a client makes: a sliding window in two counters. The last whole window counts by the part of it that is still within
//! the window's length, as if its requests had come evenly.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The window's length.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are counted apart; further ones are counted together.
const MAX_CLIENTS: usize = 4096;

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Client {
    /// A token, by its id.
    Token(String),
    /// An address; of IPv6 the network of 64 bits, which one host may have to itself.
    Address(IpAddr),
    /// All for whom there is no room.
    Others,
}

impl Client {
    /// The client at an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
            v4 => v4,
        })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    window: u64,
    now: u32,
    before: u32,
}

impl Count {
    fn moved_to(self, window: u64) -> Self {
        match window - self.window.min(window) {
            0 => self,
            1 => Self { window, now: 0, before: self.now },
            _ => Self { window, now: 0, before: 0 },
        }
    }

    /// Requests within the last window's length, from how far this one has gone.
    fn within(&self, gone: Duration) -> f64 {
        let left = 1.0 - gone.as_secs_f64() / WINDOW.as_secs_f64();
        f64::from(self.before).mul_add(left, f64::from(self.now))
    }
}

/// Counts requests and refuses what is too much.
#[derive(Debug)]
pub struct RateLimit {
    most: AtomicU32,
    counts: Mutex<BTreeMap<Client, Count>>,
}

impl RateLimit {
    /// At most `most` requests of one client within [`WINDOW`]; zero stands for no limit.
    pub fn new(most: u32) -> Self {
        Self { most: AtomicU32::new(most), counts: Mutex::new(BTreeMap::new()) }
    }

    /// Allows so many from now on.
    pub fn set(&self, most: u32) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Counts a request at `now`, a time since the process began.
    ///
    /// # Errors
    /// When the client has made too many: how long until it may make the next. Such a request is not counted.
    pub fn take(&self, client: Client, now: Duration) -> Result<(), Duration> {
        let most = self.most.load(Ordering::Relaxed);
        if most == 0 {
            return Ok(());
        }
        let window = now.as_secs() / WINDOW.as_secs();
        let gone = now - WINDOW * u32::try_from(window).unwrap_or(u32::MAX);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_CLIENTS && !counts.contains_key(&client) {
            counts.retain(|_, count| count.window + 1 >= window);
        }
        let room = counts.len() < MAX_CLIENTS || counts.contains_key(&client);
        let count = counts.entry(if room { client } else { Client::Others }).or_default();
        *count = count.moved_to(window);
        if count.within(gone) + 1.0 > f64::from(most) {
            return Err(wait(most, *count, gone));
        }
        count.now += 1;
        Ok(())
    }
}

/// Until the share of the last window has shrunk enough, or this one is over.
fn wait(most: u32, count: Count, gone: Duration) -> Duration {
    let room = f64::from(most) - 1.0 - f64::from(count.now);
    let due = if room < 0.0 || count.before == 0 {
        WINDOW
    } else {
        WINDOW.mul_f64((1.0 - room / f64::from(count.before)).clamp(0.0, 1.0))
    };
    let millis = due.saturating_sub(gone).as_millis();
    Duration::from_secs(u64::try_from(millis.div_ceil(1000)).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Client {
        Client::at(text.parse().unwrap())
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_window_slides() {
        let limit = RateLimit::new(10);
        let take = |second| limit.take(address("10.0.0.1"), at(second)).is_ok();
        assert_eq!((0..12).filter(|_| take(600)).count(), 10);
        // Half a window later half of them still count; a whole and a half later none does.
        assert!(!take(659));
        assert_eq!((0..12).filter(|_| take(690)).count(), 5);
        assert_eq!((0..12).filter(|_| take(810)).count(), 10);
    }

    #[test]
    fn who_is_refused_hears_when_to_come_back() {
        let limit = RateLimit::new(10);
        let client = || address("10.0.0.1");
        for _ in 0..10 {
            limit.take(client(), at(600)).unwrap();
        }
        assert_eq!(limit.take(client(), at(610)), Err(at(50)));
        assert_eq!(limit.take(client(), at(660)), Err(at(6)));
        assert!(limit.take(client(), at(666)).is_ok());
        assert!(limit.take(address("10.0.0.2"), at(600)).is_ok());
        assert!(limit.take(Client::Token("a".to_owned()), at(600)).is_ok());
    }

    #[test]
    fn no_limit_and_too_many_clients() {
        assert!((0..100).all(|_| RateLimit::new(0).take(Client::Others, at(1)).is_ok()));
        let limit = RateLimit::new(1);
        for n in 0..MAX_CLIENTS {
            limit.take(Client::Token(n.to_string()), at(0)).unwrap();
        }
        limit.take(address("10.0.0.1"), at(1)).unwrap();
        assert!(limit.take(address("10.0.0.2"), at(1)).is_err(), "counted together with the one before");
        assert!(limit.take(address("10.0.0.3"), at(200)).is_ok(), "room was made");
    }

    #[test]
    fn one_host_of_ipv6_is_one_client() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    }
}
