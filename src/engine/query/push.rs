//! Push queries: SELECT ... EMIT CHANGES runs until its reader stops it.
//!
//! A push query runs on a thread of its own and passes rows to its reader through a bounded queue (`push_queue`): a slow reader
//! slows down its own query and nothing else. Dropping the stream ends the thread.

use crate::catalog::Catalog;
use crate::config::properties::AUTO_OFFSET_RESET;
use crate::engine::query::push_queue::{Faulty, Notes, PushQueue, Received, RowBatch};
use crate::engine::query::push_registry::{self, Registration};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::compile;
use crate::execute::record::source::{BadRecord, Stage};
use crate::execute::task::{Execution, Progress};
use crate::log::Start;
use crate::mutant;
use crate::parse::statement::{Emit, Select};
use crate::plan;
use crate::threads;
use arrow::array::BooleanArray;
use arrow::compute::filter;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The kind of its thread.
const KIND: &str = "push-query";
/// How long a turn waits for records; a stop interrupts it.
const TURN_WAIT: Duration = Duration::from_millis(200);

impl RowBatch {
    /// A change of a table without a value is a tombstone. A stream's record without a value is dropped, as in ksqlDB, and so is
    /// one without a key where only rows with a key are returned.
    fn of(batch: ChangeBatch, table: bool, keyed: bool) -> Result<RowBatch> {
        let batch = match batch.key_present.as_ref().filter(|key| keyed && key.null_count() > 0) {
            Some(key) => batch.filter(key.inner())?,
            None => batch,
        };
        let (mut columns, mut tombstones) = (batch.new.columns, vec![]);
        if let Some(present) = batch.new.present.filter(|p| p.null_count() > 0) {
            if table {
                tombstones = present.iter().map(|p| !p).collect();
            } else {
                let kept = BooleanArray::new(present.into_inner(), None);
                columns = columns.iter().map(|c| filter(c, &kept)).collect::<std::result::Result<_, _>>()?;
            }
        }
        Ok(RowBatch { columns, tombstones })
    }
}

/// Rows of a push query.
#[derive(Debug)]
pub(in crate::engine) struct PushStream {
    columns: Vec<OutputColumn>,
    rows: Arc<PushQueue>,
    listed: Registration,
    left: Option<u64>,
    notes: Notes,
    /// It reads records from its start on.
    from_now_on: bool,
}

/// Shown when no rows arrive: the reader may expect older records.
const FROM_NOW_ON: &str = "No rows yet: the query reads records from now on. To read from the start, stop it and say\n\
                           SET 'auto.offset.reset' = 'earliest';";

/// ksqlDB's switch for scalable push queries.
const PUSH_V2: &str = "ksql.query.push.v2.enabled";

impl Engine {
    pub(in crate::engine) fn push_query(&self, select: &Select, text: &str, session: &Session) -> Result<Answer> {
        let properties = self.properties(session);
        let settings = self.settings(&properties)?;
        let catalog = self.catalog();
        let plan = plan::push_query(select, &catalog, &settings)?;
        let keyed = is_scalable(select, &catalog, &properties);
        let spec = self.transient_spec(compile::pipeline(&plan.logical)?, session)?;
        let topics: BTreeSet<String> = spec.pipeline.scans.iter().map(|scan| scan.source.topic.clone()).collect();
        topics.iter().try_for_each(|topic| self.check_topic(session, topic))?;
        let columns: Vec<_> =
            plan.columns.iter().map(|c| OutputColumn { name: c.name.clone(), ty: c.ty.clone() }).collect();
        let (start, id, progress) = (spec.start, spec.group.clone(), Arc::<Progress>::default());
        let execution = Execution::start(&*self.inner.log, spec, self.inner.clock.clone(), progress.clone())?;
        let rows = Arc::<PushQueue>::default();
        let waker = {
            let (reader, rows) = (execution.waker(), rows.clone());
            Arc::new(move || {
                rows.stop();
                reader();
            })
        };
        let (sql, owner, over) = (text.to_owned(), session.principal().name.clone(), AtomicBool::new(false));
        let (reads, begun_ms) = (plan.reads.clone(), self.inner.clock.now_ms());
        let end: Arc<dyn Fn() + Send + Sync> = waker;
        let progress_listed = progress.clone();
        let listed =
            push_registry::Push { id, sql, owner, topics, reads, begun_ms, over, end, progress: progress_listed };
        let listed = self.inner.pushes.list(listed);
        let push = Push { execution, table: plan.table, keyed, progress, rows: rows.clone(), text: text.to_owned() };
        let name = listed.push.id.clone();
        threads::spawn(KIND, name.clone(), move || push.run(&name))?;
        let (left, notes) = (plan.limit, Notes::default());
        let from_now_on = start == Start::Latest;
        Ok(Answer::Rows(Box::new(PushStream { columns, rows, listed, left, notes, from_now_on })))
    }
}

/// Whether ksqlDB would run it as a scalable push query (`ScalablePushUtil.isScalablePushQuery`): with
/// `ksql.query.push.v2.enabled`, a plain SELECT from `latest` on a stream or table that one query writes. Such a query does not
/// return rows without a key.
fn is_scalable(select: &Select, catalog: &Catalog, properties: &BTreeMap<String, String>) -> bool {
    let says = |name: &str, value: &str| properties.get(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    let plain = select.joins.is_empty() && select.window.is_none() && select.having.is_none();
    let source = &select.from.name.value;
    says(PUSH_V2, "true")
        && says(AUTO_OFFSET_RESET, "latest")
        && plain
        && select.group_by.is_empty()
        && select.partition_by.is_empty()
        && select.emit == Some(Emit::Changes)
        && catalog.source(source).is_some_and(|source| !source.schema.key.is_empty())
        && catalog.writers(source).count() == 1
}

/// The thread's side of a push query.
struct Push {
    execution: Execution,
    table: bool,
    /// Only rows with a key are returned.
    keyed: bool,
    progress: Arc<Progress>,
    rows: Arc<PushQueue>,
    /// The statement: a test selects this thread by it, to make it panic.
    text: String,
}

impl Push {
    /// A panic is a failure of the query: otherwise its rows would seem complete.
    fn run(mut self, id: &str) {
        let ended = threads::guard(KIND, id, || self.turns()).flatten();
        self.rows.end(ended.err());
    }

    /// Runs turns until it is stopped.
    fn turns(&mut self) -> Result<()> {
        let mut trouble = None;
        while !self.rows.is_stopped() {
            let now = self.execution.trouble();
            if now != trouble {
                trouble.clone_from(&now);
                self.rows.note(|notes| notes.trouble = now);
            }
            let turn = self.execution.turn(TURN_WAIT)?;
            mutant::trip(KIND, &self.text);
            let (nulled, skipped): (Vec<_>, Vec<_>) = turn.bad.into_iter().partition(|bad| bad.stage == Stage::Null);
            if let Some(last) = skipped.into_iter().next_back() {
                let count = self.progress.bad.load(Ordering::Relaxed);
                self.rows.note(|notes| notes.skipped = Some((count, last)));
            }
            let more = nulled.len() as u64;
            if let Some(last) = nulled.into_iter().next_back() {
                let known = |notes: &Notes| notes.nulled.as_ref().map_or(0, |(count, _)| *count);
                self.rows.note(|notes| notes.nulled = Some((known(notes) + more, last)));
            }
            for batch in turn.rows {
                let rows = RowBatch::of(batch, self.table, self.keyed)?;
                if rows.len() > 0 && !self.rows.put(rows) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl RowStream for PushStream {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn id(&self) -> Option<&str> {
        Some(&self.listed.push.id)
    }

    fn when_empty(&self) -> Option<&str> {
        self.from_now_on.then_some(FROM_NOW_ON)
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        if self.left == Some(0) {
            return Ok(RowEvent::Done(Some("Limit Reached".to_owned())));
        }
        let (received, notes) = self.rows.take(timeout)?;
        self.notes = notes;
        let mut rows = match received {
            Received::Rows(rows) => rows,
            Received::Nothing => return Ok(RowEvent::Idle),
            Received::Ended => {
                let why = self.listed.push.ended(self.rows.is_stopped())?;
                return Ok(RowEvent::Done(Some(why.to_owned())));
            }
        };
        if let Some(left) = &mut self.left {
            rows.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= rows.len() as u64;
        }
        Ok(RowEvent::Rows { columns: rows.columns, tombstones: rows.tombstones })
    }

    fn notice(&self) -> Option<String> {
        let of = |faulty: &Option<Faulty>, one: &str, many: &str| {
            faulty.as_ref().map(|(count, last)| {
                let BadRecord { topic, partition, offset, reason, .. } = last;
                let said = if *count == 1 { one } else { many };
                format!("{count} {said}, last {topic} partition {partition} offset {offset}: {reason}")
            })
        };
        let Notes { trouble, skipped, nulled } = &self.notes;
        let skipped = of(skipped, "record was skipped", "records were skipped");
        let nulled = of(nulled, "value was set to NULL", "values were set to NULL");
        let all: Vec<String> = [trouble.clone(), skipped, nulled].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }
}
