//! The threads that generate rows, one a stream: which of them run follows from the catalogue.
//!
//! `Engine::generate` compares the two after every statement that changes the catalogue, and at the start. A thread looks for
//! its stream at each step, ends with it, and does not keep the engine alive. A log that does not respond is tried again every
//! second; the rows that were due meanwhile are not made up for.
//!
//! Where several processes share the queries of a service, each has the threads, and the control topic says in which of them
//! the generator of a stream writes: it is placed as a query is, and asked for before each append. Its rows are not written in
//! transactions: those that were on their way when their process was killed may be there twice.

use crate::engine::access::Principal;
use crate::engine::cluster::node::place::{Opened, Place};
use crate::engine::datagen::{Spec, spec_of};
use crate::engine::session::Session;
use crate::engine::{Drive, Engine, Inner};
use crate::error::{Error, Result};
use crate::log::{Claim, Claimed, TopicPartition};
use crate::threads;
use crate::types::clock::SharedClock;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// The name of its threads.
const KIND: &str = "datagen";
/// Time between two steps: a stream that moves, and little work at low rates.
const STEP: Duration = Duration::from_millis(50);
/// Time before a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Time between two looks of a generator that another process runs, or that has written all.
const LOOK: Duration = Duration::from_millis(500);
/// How long the end of the engine waits for its generators, and how often it looks.
const STOP_WAIT: Duration = Duration::from_secs(2);
const STOP_INTERVAL: Duration = Duration::from_millis(5);
/// Rows that are written at once.
const ROWS_PER_STEP: u64 = 5_000;

/// The generators that run, by the name of their stream.
#[derive(Debug, Default)]
pub(in crate::engine) struct Generators {
    running: Mutex<BTreeMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    sql: String,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Generators {
    /// The streams that are generated.
    pub(in crate::engine) fn streams(&self) -> Vec<String> {
        self.running.lock().keys().cloned().collect()
    }

    /// Ends all of them, and waits until they have ended: nothing is written, and the log is not held, after that. One that
    /// waits for a broker is left to itself.
    pub(in crate::engine) fn stop(&self, clock: &SharedClock) {
        // The lock is not held while this waits.
        let all = std::mem::take(&mut *self.running.lock());
        all.values().for_each(|generator| generator.stop.store(true, Ordering::Relaxed));
        let deadline = clock.monotonic() + STOP_WAIT;
        while all.values().any(|generator| !generator.thread.is_finished()) && clock.monotonic() < deadline {
            clock.sleep(STOP_INTERVAL);
        }
    }
}

/// A generator at work.
struct Generator {
    name: String,
    sql: String,
    spec: Spec,
    stop: Arc<AtomicBool>,
    engine: Weak<Inner>,
    /// When it began to count, and at which row; `None` = it does not know yet.
    begin: Option<(Duration, u64)>,
    next: u64,
    /// Which process runs it, where several share the queries of a service.
    place: Option<Place>,
    /// While it runs here: the term in which it does.
    opened: Option<(u64, Opened)>,
}

impl Engine {
    /// Starts the generators of streams that have none yet, and stops those whose stream has gone or was replaced.
    pub(in crate::engine) fn generate(&self) -> Result<()> {
        if self.inner.drive != Drive::Threads {
            return Ok(());
        }
        let catalog = self.catalog();
        let wanted: BTreeMap<&str, (&str, Spec)> = catalog
            .all()
            .filter_map(|source| Some((source.name.as_str(), (source.sql.as_str(), spec_of(&source.sql)?))))
            .collect();
        let mut running = self.inner.generators.running.lock();
        running.retain(|name, generator| {
            let stays = wanted.get(name.as_str()).is_some_and(|(sql, _)| *sql == generator.sql);
            if !stays {
                generator.stop.store(true, Ordering::Relaxed);
            }
            stays
        });
        for (name, (sql, spec)) in wanted {
            if running.contains_key(name) {
                continue;
            }
            let stop = Arc::new(AtomicBool::new(false));
            let mut generator = Generator {
                name: name.to_owned(),
                sql: sql.to_owned(),
                spec,
                stop: stop.clone(),
                engine: Arc::downgrade(&self.inner),
                begin: None,
                next: 0,
                place: self.inner.node.as_ref().map(|node| node.generator_place(name)),
                opened: None,
            };
            let owner = name.to_owned();
            let thread = threads::spawn(KIND, name, move || threads::rounds(KIND, &owner, || generator.step()))?;
            running.insert(name.to_owned(), Running { sql: sql.to_owned(), stop, thread });
        }
        Ok(())
    }
}

impl Generator {
    fn step(&mut self) -> ControlFlow<()> {
        let Some(inner) = self.engine.upgrade() else { return ControlFlow::Break(()) };
        let engine = Engine { inner };
        let is_there = engine.catalog().source(&self.name).is_some_and(|source| source.sql == self.sql);
        if !is_there || engine.is_over() || self.stop.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        if self.has_moved() {
            (self.begin, self.opened) = (None, None);
        }
        let is_here = self.place.as_ref().is_none_or(Place::is_here);
        let pause = if is_here { self.write_due(&engine) } else { LOOK };
        let is_done = self.begin.is_some() && self.next >= self.spec.count;
        // Its place stays to be confirmed when it moves.
        if is_done && self.place.is_none() {
            return ControlFlow::Break(());
        }
        let pause = if is_done { LOOK } else { pause };
        let clock = engine.clock().clone();
        // An engine that is closed meanwhile does not wait for this.
        drop(engine);
        clock.sleep(pause);
        ControlFlow::Continue(())
    }

    /// Whether its place was given to another process, or taken from it and given back.
    fn has_moved(&self) -> bool {
        let (Some(place), Some((term, _))) = (&self.place, &self.opened) else { return false };
        place.term() != Some(*term)
    }

    /// Whether this process still runs it, by the control topic as of now.
    fn is_confirmed(&mut self) -> Result<bool> {
        let Some(place) = &self.place else { return Ok(true) };
        let Claimed::Owned { term, .. } = place.confirm()? else { return Ok(false) };
        if let Some((opened, _)) = &self.opened {
            return Ok(*opened == term);
        }
        self.opened = Some((term, place.open()));
        place.taken(term)?;
        Ok(true)
    }

    /// Writes the rows that are due, and returns how long to wait for the next ones.
    fn write_due(&mut self, engine: &Engine) -> Duration {
        match self.write(engine) {
            Ok(()) => STEP,
            Err(error) => {
                tracing::warn!(%error, stream = self.name, "generated rows cannot be written");
                self.begin = None;
                RETRY
            }
        }
    }

    /// Writes the rows that are due.
    fn write(&mut self, engine: &Engine) -> Result<()> {
        let now = engine.clock().monotonic();
        let (began, first) = match self.begin {
            Some(begin) => begin,
            None => {
                if !self.is_confirmed()? {
                    return Ok(());
                }
                self.next = written(engine, &self.name)?;
                *self.begin.insert((now, self.next))
            }
        };
        let due = first.saturating_add(self.spec.due(now - began)).min(self.spec.count);
        let end = due.min(self.next + ROWS_PER_STEP);
        let rows: Vec<_> = (self.next..end).map(|i| self.spec.template.row(self.spec.seed, i)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        if !self.is_confirmed()? {
            self.begin = None;
            return Ok(());
        }
        let session = Session::of(Principal::engine());
        for result in engine.insert_rows(&format!("`{}`", self.name.replace('`', "``")), &rows, &session) {
            result.map_err(|e| Error::new(e.kind(), e.message()))?;
        }
        self.next = end;
        if end < due {
            // It cannot keep up: what is missing is not made up for in one go.
            self.begin = Some((now, end));
        }
        Ok(())
    }
}

/// Records that the topic of a stream has had: the number of the next row.
fn written(engine: &Engine, name: &str) -> Result<u64> {
    let catalog = engine.catalog();
    let Some(source) = catalog.source(name) else { return Ok(0) };
    let mut records = 0;
    for partition in 0..source.partitions as i32 {
        records += engine.log().watermarks(&TopicPartition::new(source.topic.as_str(), partition))?.high;
    }
    Ok(u64::try_from(records).unwrap_or_default())
}
