//! A query's place in the cluster: whether this process runs it.
//!
//! ```text
//! is_here     by what the listener has read so far: enough to begin and to end work        cheap
//! confirm     by the control topic as of now: required before a producer commits (C3)      a request to the broker
//! ```

use super::pulse::{CountsElsewhere, QueryCounts, QueryPulse, StandbyPulse};
use super::{Member, Node, Shared};
use crate::engine::cluster::names::{QueryName, Slot, Term};
use crate::error::Result;
use crate::log::{Claim, Claimed};
use std::sync::Arc;

/// See the module.
#[derive(Clone)]
pub struct Place {
    shared: Arc<Shared>,
    query: QueryName,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.query).finish()
    }
}

/// While it lives, this process may write the rows of a query: a drain and the end of a dropped query wait for it.
#[derive(Debug)]
pub struct Opened(Place);

impl Node {
    /// The place of a query.
    pub fn place(&self, query: &str) -> Place {
        Place { shared: self.shared.clone(), query: QueryName::new(query) }
    }

    /// The place of a stream's generator.
    pub fn generator_place(&self, stream: &str) -> Place {
        Place { shared: self.shared.clone(), query: QueryName::generator(stream) }
    }
}

impl Place {
    /// Whether the query is this process's, by what has been read so far.
    pub fn is_here(&self) -> bool {
        self.term().is_some()
    }

    /// The term in which this process owns the query, by what has been read so far.
    pub fn term(&self) -> Option<u64> {
        self.shared.heard.lock().term_of(&self.query, &self.shared.me).map(|Term(term)| term)
    }

    /// Whether there are, or have been, other processes.
    pub fn is_shared(&self) -> bool {
        self.shared.heard.lock().control.members().len() > 1
    }

    /// Whether this process is to keep the query's state up to date, by what has been read so far.
    pub fn is_standby(&self) -> bool {
        let heard = self.shared.heard.lock();
        let is_mine = heard.unit(&self.query).is_some_and(|state| state.standbys.contains(&self.shared.me));
        is_mine && heard.takes_part()
    }

    /// The processes that keep its state up to date, with the records that each lacks, if it has said so.
    pub fn standbys(&self) -> Vec<(Member, Option<u64>)> {
        let heard = self.shared.heard.lock();
        let now = self.shared.now_ms();
        let slots = heard.unit(&self.query).map_or(&[][..], |state| &state.standbys);
        let standby = |slot: &Slot| {
            Some((
                heard.member(slot, &self.shared.me, now)?,
                heard.standby(slot, self.query.id()).map(StandbyPulse::lag),
            ))
        };
        slots.iter().filter_map(standby).collect()
    }

    /// From now on its rows may be written.
    pub fn open(&self) -> Opened {
        self.shared.heard.lock().open.insert(self.query.clone());
        Opened(self.clone())
    }

    /// The process that owns it.
    pub fn owner(&self) -> Option<Member> {
        let heard = self.shared.heard.lock();
        heard.member(heard.owner(&self.query)?, &self.shared.me, self.shared.now_ms())
    }

    /// What another process that owns it says about it; None if none does, or it has not said anything yet.
    pub fn pulse(&self) -> Option<QueryPulse> {
        let heard = self.shared.heard.lock();
        let mut queries = heard.pulses.get(heard.owner(&self.query)?)?.queries.iter();
        queries.find(|query| query.id == self.query.id()).cloned()
    }

    /// The counters of the query, if another process runs it: zero until that has said them.
    pub fn counts_elsewhere(&self) -> Option<CountsElsewhere> {
        let heard = self.shared.heard.lock();
        let owner = heard.owner(&self.query).filter(|owner| **owner != self.shared.me)?;
        let said = heard.counts.get(self.query.id()).filter(|counts| counts.slot == *owner).cloned();
        Some(said.unwrap_or_else(|| CountsElsewhere::follow(None, owner, 0, QueryCounts::default())))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let shared = &self.0.shared;
        let mut heard = shared.heard.lock();
        heard.open.remove(&self.0.query);
        heard.taken.remove(&self.0.query);
        heard.is_news = true;
        drop(heard);
        shared.changed.notify_all();
    }
}

impl Claim for Place {
    fn confirm(&self) -> Result<Claimed> {
        let shared = &self.shared;
        let end = shared.topics.control_end(&*shared.log)?;
        shared.wait_until("it had read the control topic", |heard| heard.control.next_offset() >= end)?;
        let heard = shared.heard.lock();
        if heard.membership.is_replaced(&heard.control) {
            return Ok(Claimed::Lost { reason: shared.replaced() });
        }
        let Some(Term(term)) = heard.term_of(&self.query, &shared.me) else {
            let owner = heard
                .owner(&self.query)
                .map_or("no process".to_owned(), |owner| format!("the process with slot {owner}"));
            return Ok(Claimed::Lost { reason: format!("the control topic gives the query to {owner}") });
        };
        let writers = heard.unit(&self.query).map(|state| state.may_write.as_slice());
        let others = writers.unwrap_or_default().iter().filter(|(slot, _)| *slot != shared.me);
        Ok(Claimed::Owned { term, others: others.map(|(slot, _)| slot.name().to_owned()).collect() })
    }

    fn taken(&self, term: u64) -> Result<()> {
        let mut heard = self.shared.heard.lock();
        heard.taken.insert(self.query.clone(), Term(term));
        heard.is_news = true;
        drop(heard);
        self.shared.changed.notify_all();
        Ok(())
    }
}
