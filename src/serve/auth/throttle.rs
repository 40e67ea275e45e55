//! How often a wrong password may be tried: token buckets per address and per name, in front of the hash that costs a core.
//!
//! ```text
//! address   20 at once, then one every 3 s       one address cannot guess, nor keep the cores busy
//! name      20 at once, then one every 6 s       many addresses cannot guess one name together
//! ```
//!
//! The limit of a name holds only for addresses that have failed more than three times within the last hour. Otherwise
//! everyone could keep a user out by failing in the user's name. A right password costs nothing.

use crate::serve::limits::{
    ADDRESS_FAILURE_EVERY, ADDRESS_FAILURES_MAX, FAILURE_MEMORY, FAILURES_KEPT_MAX, FORGIVEN_FAILURES_MAX,
    NAME_FAILURE_EVERY, NAME_FAILURES_MAX,
};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// The limits of all addresses and names.
#[derive(Debug)]
pub(crate) struct Throttle {
    addresses: Buckets,
    names: Buckets,
}

/// An attempt that was let through; it is paid for unless it is given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    address: Option<u64>,
    name: Option<u64>,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle {
            addresses: Buckets::new(ADDRESS_FAILURES_MAX, ADDRESS_FAILURE_EVERY),
            names: Buckets::new(NAME_FAILURES_MAX, NAME_FAILURE_EVERY),
        }
    }
}

impl Throttle {
    /// Lets an attempt through, or returns how long its sender has to wait.
    pub(crate) fn attempt(&mut self, address: Option<IpAddr>, name: &str, now: Instant) -> Result<Attempt, Duration> {
        let (address, name) = (address.map(|address| self.addresses.key(&network(address))), self.names.key(name));
        let guesses = match address {
            Some(address) => {
                let guesses = self.addresses.failures(address, now) > FORGIVEN_FAILURES_MAX;
                self.addresses.take(address, now)?;
                guesses
            }
            // Only a connection that is gone has no address.
            None => true,
        };
        match self.names.take(name, now) {
            Ok(()) => Ok(Attempt { address, name: Some(name) }),
            Err(wait) if guesses => {
                self.give_back(Attempt { address, name: None });
                Err(wait)
            }
            Err(_) => Ok(Attempt { address, name: None }),
        }
    }

    /// The password was right, or was not checked.
    pub(crate) fn give_back(&mut self, attempt: Attempt) {
        if let Some(address) = attempt.address {
            self.addresses.give_back(address);
        }
        if let Some(name) = attempt.name {
            self.names.give_back(name);
        }
    }
}

/// What belongs to one customer: of IPv6 a network, of which everyone has a whole one.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits() >> 64 | 1 << 127,
    }
}

/// Token buckets by the hash of a key, so that long names take no more room than short ones.
#[derive(Debug)]
struct Buckets {
    most: f64,
    every: Duration,
    all: HashMap<u64, Bucket>,
    /// Its seed is random: an attacker cannot choose names that share a bucket.
    hasher: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    /// When `tokens` was right.
    at: Instant,
    /// Failed attempts, until there has been none for [`FAILURE_MEMORY`].
    failures: u32,
}

impl Buckets {
    fn new(most: u32, every: Duration) -> Buckets {
        Buckets { most: f64::from(most), every, all: HashMap::new(), hasher: RandomState::new() }
    }

    fn key<T: Hash + ?Sized>(&self, of: &T) -> u64 {
        self.hasher.hash_one(of)
    }

    fn failures(&self, key: u64, now: Instant) -> u32 {
        self.all.get(&key).filter(|b| now.duration_since(b.at) < FAILURE_MEMORY).map_or(0, |b| b.failures)
    }

    fn take(&mut self, key: u64, now: Instant) -> Result<(), Duration> {
        if self.all.len() >= FAILURES_KEPT_MAX && !self.all.contains_key(&key) {
            self.make_room(now);
        }
        let failures = self.failures(key, now);
        let bucket = self.all.entry(key).or_insert(Bucket { tokens: self.most, at: now, failures: 0 });
        let grown = now.duration_since(bucket.at).as_secs_f64() / self.every.as_secs_f64();
        let tokens = (bucket.tokens + grown).min(self.most);
        if tokens < 1.0 {
            return Err(self.every.mul_f64(1.0 - tokens));
        }
        *bucket = Bucket { tokens: tokens - 1.0, at: now, failures: failures.saturating_add(1) };
        Ok(())
    }

    fn give_back(&mut self, key: u64) {
        if let Some(bucket) = self.all.get_mut(&key) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.most);
            bucket.failures = bucket.failures.saturating_sub(1);
        }
    }

    /// Forgets those whose time is over, or else the one that has failed least recently.
    fn make_room(&mut self, now: Instant) {
        self.all.retain(|_, bucket| now.duration_since(bucket.at) < FAILURE_MEMORY);
        if self.all.len() >= FAILURES_KEPT_MAX
            && let Some(oldest) = self.all.iter().min_by_key(|(_, b)| b.at).map(|(key, _)| *key)
        {
            self.all.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACKER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const OTHER: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    fn let_through(throttle: &mut Throttle, address: Option<IpAddr>, name: &str, now: Instant, of: u32) -> usize {
        (0..of).filter(|_| throttle.attempt(address, name, now).is_ok()).count()
    }

    #[test]
    fn an_address_that_fails_has_to_wait_and_others_have_not() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(let_through(&mut throttle, ATTACKER, "alice", now, 100), 20);
        let wait = throttle.attempt(ATTACKER, "bob", now).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= ADDRESS_FAILURE_EVERY, "{wait:?}");
        // The attacker has exhausted the limit of the name, too: its user is admitted nevertheless.
        assert_eq!(let_through(&mut throttle, OTHER, "alice", now, 1), 1);
        let later = now + 10 * ADDRESS_FAILURE_EVERY;
        assert_eq!(let_through(&mut throttle, ATTACKER, "alice", later, 100), 5, "what the name has got back");
        assert_eq!(let_through(&mut throttle, ATTACKER, "bob", later, 100), 5, "what the address has left");
    }

    #[test]
    fn many_addresses_cannot_guess_one_name_together() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        let guesses: usize = (0..100).map(|n| let_through(&mut throttle, address(n), "alice", now, 20)).sum();
        // What the name has, and then of each address what it is forgiven and the one that gives it away.
        assert_eq!(guesses, 20 + 99 * 4);
    }

    #[test]
    fn right_passwords_cost_nothing() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..1_000 {
            let attempt = throttle.attempt(OTHER, "alice", now).unwrap();
            throttle.give_back(attempt);
        }
        assert_eq!(throttle.addresses.failures(throttle.addresses.key(&network(OTHER.unwrap())), now), 0);
    }

    #[test]
    fn what_is_kept_is_bounded_and_a_network_is_one_address() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..FAILURES_KEPT_MAX as u32 + 100 {
            let address = Some(IpAddr::from(n.to_be_bytes()));
            let _ = throttle.attempt(address, &n.to_string(), now + Duration::from_millis(u64::from(n)));
        }
        assert_eq!((throttle.addresses.all.len(), throttle.names.all.len()), (FAILURES_KEPT_MAX, FAILURES_KEPT_MAX));
        let v6 = |text: &str| network(text.parse().unwrap());
        assert_eq!(v6("2001:db8:1:2:3::1"), v6("2001:db8:1:2:ffff::2"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), network(ATTACKER.unwrap()));
    }
}
