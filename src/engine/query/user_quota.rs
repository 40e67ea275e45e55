//! A limit on the batch queries that one user runs at once, so that one user cannot occupy the threads of all.
//!
//! ```text
//! tidegate.batch.user.queries = 2     alice: q1 q2 (q3 is refused with 42900)     bob: q1
//! ```
//!
//! A key lookup does not count: it takes microseconds and no thread.

use crate::config::BATCH_USER_QUERIES_PROPERTY;
use crate::error::{Error, Kind, Result, TOO_MANY_REQUESTS};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The queries that run now, by user.
#[derive(Debug)]
pub(in crate::engine) struct UserQuota {
    most: usize,
    /// A user without a query has no entry, so that names do not accumulate.
    running: Mutex<HashMap<Arc<str>, usize>>,
}

/// The permit of one query. Dropping it releases the place.
#[derive(Debug)]
pub(in crate::engine) struct QuotaPermit {
    quota: Arc<UserQuota>,
    user: Arc<str>,
}

impl UserQuota {
    /// At most this many for each user.
    pub(in crate::engine) fn new(most: usize) -> Arc<UserQuota> {
        Arc::new(UserQuota { most, running: Mutex::default() })
    }

    /// Admits a query of this user.
    pub(in crate::engine) fn acquire(self: &Arc<UserQuota>, user: &Arc<str>) -> Result<QuotaPermit> {
        let mut running = self.running.lock();
        let count = running.entry(user.clone()).or_insert(0);
        if *count < self.most {
            *count += 1;
            return Ok(QuotaPermit { quota: self.clone(), user: user.clone() });
        }
        Err(Error::new(Kind::Busy, format!("user {user} already runs {} queries without EMIT", self.most))
            .with_code(TOO_MANY_REQUESTS)
            .with_hint(format!(
                "try again when one of them has ended, or start the process with a larger \
                 --set {BATCH_USER_QUERIES_PROPERTY}=N"
            )))
    }
}

impl Drop for QuotaPermit {
    fn drop(&mut self) {
        let mut running = self.quota.running.lock();
        if let Some(count) = running.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_has_taken_all_turns_does_not_take_those_of_others() {
        let quota = UserQuota::new(2);
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let held = [quota.acquire(&alice).unwrap(), quota.acquire(&alice).unwrap()];
        let refused = quota.acquire(&alice).unwrap_err();
        assert!(refused.to_string().contains("alice already runs 2 queries"), "{refused}");
        drop(quota.acquire(&bob).unwrap());
        drop(held);
        drop(quota.acquire(&alice).unwrap());
        assert!(quota.running.lock().is_empty(), "no entry is left");
    }
}
