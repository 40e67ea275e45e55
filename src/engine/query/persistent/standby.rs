//! What the thread of a query does while another process runs the query: it keeps the state up to date if the control topic says
//! so, and waits otherwise.
//!
//! ```text
//! not a standby     waits                                                                    no memory, no reader
//! standby           reads the changelogs, and says once a second how much it lacks           memory as at the owner
//! owner             begins with that state
//! ```
//!
//! A standby that fails is begun again after a pause: the query itself is not touched by it.

use super::{KIND, Shared, TURN_WAIT};
use crate::engine::cluster::node::place::Place;
use crate::error::{Error, Result};
use crate::execute::task::Standby;
use crate::threads;
use std::time::Duration;

/// How often a standby that reads asks for the ends of its changelogs.
const LAG_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a standby that failed is begun again: it reads its changelogs from the beginning.
const STANDBY_RETRY: Duration = Duration::from_secs(5);

/// The standby of a query's thread.
#[derive(Default)]
pub(super) struct Following {
    pub(super) state: Option<Standby>,
    /// When its lag is asked for again.
    lag_at: Duration,
}

impl Shared {
    /// Follows, or waits, a moment if another process runs the query.
    pub(super) fn is_elsewhere(&self, following: &mut Following) -> bool {
        if self.is_here() {
            // The execution takes the state: from now on this process owns the query and is no standby of it.
            *self.standby.lock() = None;
            return false;
        }
        if !self.place.as_ref().is_some_and(Place::is_standby) {
            self.forget(following);
            self.wait_while_elsewhere(TURN_WAIT);
            return true;
        }
        let followed = threads::guard(KIND, &self.id, || self.follow(following)).and_then(|followed| followed);
        self.status.lock().waker = None;
        if let Err(error) = followed {
            tracing::warn!(%error, query = %self.id, "the state of a query of another process cannot be kept up to date");
            self.forget(following);
            self.wait_while_elsewhere(STANDBY_RETRY);
        }
        true
    }

    fn forget(&self, following: &mut Following) {
        *following = Following::default();
        *self.standby.lock() = None;
    }

    /// Takes in what the changelogs have, or waits for it.
    fn follow(&self, following: &mut Following) -> Result<()> {
        let spec = self.spec.as_ref().ok_or_else(|| Error::bug("a query without a plan has no state"))?;
        let standby = match &mut following.state {
            Some(standby) => standby,
            none => {
                tracing::info!(query = %self.id, "this process keeps the query's state up to date");
                none.insert(Standby::begin(&*self.log, spec)?)
            }
        };
        {
            let mut status = self.status.lock();
            status.waker = Some(standby.waker());
            status.starting = false;
        }
        // A change after this wakes the waker.
        if self.is_here() || self.stopping() {
            return Ok(());
        }
        standby.advance(TURN_WAIT)?;
        let now = self.clock.monotonic();
        if now >= following.lag_at {
            following.lag_at = now + LAG_PAUSE;
            *self.standby.lock() = Some(standby.offsets(&*self.log)?);
        }
        Ok(())
    }

    fn wait_while_elsewhere(&self, time: Duration) {
        let mut status = self.status.lock();
        status.starting = false;
        // The listener takes this lock to signal a change, so none is missed between these two lines.
        if !self.is_here() && !self.stopping() {
            self.changed.wait_for(&mut status, time);
        }
    }
}
