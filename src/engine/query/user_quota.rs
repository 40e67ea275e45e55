//! How many queries without EMIT one user runs at once, so that nobody takes the threads of all of them.
//!
//! ```text
//! tidegate.batch.user.queries = 2     alice: q1 q2 (q3 is refused with 42900)     bob: q1
//! ```
//!
//! A lookup of keys is not one of them: it takes microseconds and no thread.

use crate::config::BATCH_USER_QUERIES_PROPERTY;
use crate::error::{Error, Kind, Result, TOO_MANY_REQUESTS};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// The queries that run now, by user.
#[derive(Debug)]
pub(in crate::engine) struct Turns {
    most: usize,
    /// A user without a query is not there, so that names do not pile up.
    running: Mutex<HashMap<Arc<str>, usize>>,
}

/// One query of a user. Dropping it makes room for the next.
#[derive(Debug)]
pub(in crate::engine) struct Turn {
    turns: Arc<Turns>,
    user: Arc<str>,
}

impl Turns {
    /// So many for each user.
    pub(in crate::engine) fn new(most: usize) -> Arc<Turns> {
        Arc::new(Turns { most, running: Mutex::default() })
    }

    /// Lets a query of this user in.
    pub(in crate::engine) fn take(self: &Arc<Turns>, user: &Arc<str>) -> Result<Turn> {
        let mut running = self.running.lock();
        let count = running.entry(user.clone()).or_insert(0);
        if *count < self.most {
            *count += 1;
            return Ok(Turn { turns: self.clone(), user: user.clone() });
        }
        Err(Error::new(Kind::Busy, format!("user {user} runs {} queries without EMIT already", self.most))
            .with_code(TOO_MANY_REQUESTS)
            .with_hint(format!(
                "try it again when one of them has ended, or start the process with a larger \
                 --set {BATCH_USER_QUERIES_PROPERTY}=N"
            )))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.turns.running.lock();
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
        let turns = Turns::new(2);
        let (alice, bob): (Arc<str>, Arc<str>) = ("alice".into(), "bob".into());
        let held = [turns.take(&alice).unwrap(), turns.take(&alice).unwrap()];
        let refused = turns.take(&alice).unwrap_err();
        assert!(refused.to_string().contains("alice runs 2 queries"), "{refused}");
        drop(turns.take(&bob).unwrap());
        drop(held);
        drop(turns.take(&alice).unwrap());
        assert!(turns.running.lock().is_empty(), "nobody runs a query");
    }
}
