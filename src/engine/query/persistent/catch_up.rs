//! The first look at what a new query writes: `CREATE TABLE t AS ...; SELECT * FROM t;` in one script reads the rows of the
//! history that was there.
//!
//! The query works on a thread of its own, and a SELECT behind its statement would find an empty topic. So the first SELECT of
//! it waits, at most [`WAIT_MAX`] for each query, until the query has committed what its topics hold at that moment; if it
//! reads the topics of other new queries, they are waited for first. Rows that are looked at before that come with a sentence
//! that says how much is left.

use crate::catalog::QueryInfo;
use crate::engine::query::persistent::{Query, State};
use crate::engine::snapshot::State as Snapshot;
use crate::engine::{Drive, Engine};
use crate::error::Result;
use crate::log::TopicPartition;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a SELECT waits for new queries: enough for a first million records, and what a user accepts before an answer.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Time between two looks at the committed offsets.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How long after a commit its rows may not be in the view yet: a thread that is idle has published them.
const PUBLISH_MAX: Duration = Duration::from_millis(200);

impl Engine {
    /// Waits for the new queries that write these sources; what is to be said of those that have not read everything yet.
    pub(in crate::engine) fn wait_for_new(&self, sources: &[String]) -> Result<Option<String>> {
        if self.inner.drive == Drive::ByHand {
            return Ok(None);
        }
        let snapshot = self.inner.state.load();
        if !snapshot.queries.values().any(|query| query.is_new()) {
            return Ok(None);
        }
        let until = self.clock().monotonic() + WAIT_MAX;
        let (mut seen, mut said) = (BTreeSet::new(), Vec::new());
        for source in sources {
            self.catch_up(&snapshot, source, until, (&mut seen, &mut said))?;
        }
        Ok((!said.is_empty()).then(|| said.join("; ")))
    }

    fn catch_up(
        &self,
        snapshot: &Snapshot,
        source: &str,
        until: Duration,
        (seen, said): (&mut BTreeSet<String>, &mut Vec<String>),
    ) -> Result<()> {
        for QueryInfo { id, reads, .. } in snapshot.catalog.writers(source) {
            let Some(query) = snapshot.queries.get(id).filter(|query| query.is_new()) else { continue };
            if !seen.insert(id.clone()) {
                continue;
            }
            let before = said.len();
            for read in reads {
                self.catch_up(snapshot, read, until, (&mut *seen, &mut *said))?;
            }
            // What it reads is not complete yet, so that it cannot have read everything.
            if said.len() > before {
                continue;
            }
            match self.left(query, if query.was_waited_for() { Duration::ZERO } else { until })? {
                0 => query.note_caught_up(),
                left => {
                    query.note_waited_for();
                    let records = if left == 1 { "record" } else { "records" };
                    said.push(format!("query {id} is new and has {left} {records} of its topics still to read"));
                }
            }
        }
        Ok(())
    }

    /// Waits until a query has committed what its topics hold now; the records that are left then.
    fn left(&self, query: &Query, until: Duration) -> Result<i64> {
        let Some(spec) = query.spec() else { return Ok(0) };
        let places: Vec<TopicPartition> = spec.pipeline.inputs().map(|(place, _)| place).collect();
        let ends = places.iter().map(|place| Ok(self.inner.log.watermarks(place)?.stable));
        let ends = ends.collect::<Result<Vec<_>>>()?;
        let begins = |slot: usize| spec.begin.as_ref().and_then(|begin| begin.get(slot).copied()).unwrap_or(0);
        loop {
            let committed = self.inner.log.committed(query.group(), &places)?;
            let offset = |slot: usize| committed[slot].as_ref().map_or_else(|| begins(slot), |c| c.offset);
            let left: i64 = ends.iter().enumerate().map(|(slot, end)| (end - offset(slot)).max(0)).sum();
            let clock = self.clock();
            if left == 0 {
                let published = clock.monotonic() + PUBLISH_MAX;
                while !query.is_idle() && clock.monotonic() < published {
                    clock.sleep(LOOK_PAUSE);
                }
                return Ok(0);
            }
            if query.state() != State::Running || clock.monotonic() >= until {
                return Ok(left);
            }
            clock.sleep(LOOK_PAUSE);
        }
    }
}
