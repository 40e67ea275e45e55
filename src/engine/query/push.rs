//! Result sets: push queries that go on until stopped, batch queries that end.
//!
//! A push query runs on a thread of its own and hands rows over through a bounded queue (`handover`): a reader that is slow
//! slows down its query and nothing else. Dropping the stream ends the thread.

use crate::catalog::Catalog;
use crate::engine::query::handover::{Handover, Notes, Taken, Told};
use crate::engine::query::push_registry::{self, Listed};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::Result;
use crate::execute::change::ChangeBatch;
use crate::execute::compile;
use crate::execute::record::source::BadRecord;
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
/// How long a turn waits for records; a stop wakes it.
const TURN_WAIT: Duration = Duration::from_millis(200);

impl Told {
    /// A change of a table without a value says that its row is gone. A stream's record without one says nothing, and is
    /// left out as in ksqlDB; so is one without a key where only rows with one are told.
    fn of(batch: ChangeBatch, table: bool, keyed: bool) -> Result<Told> {
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
        Ok(Told { columns, tombstones })
    }
}

/// Rows of a push query.
#[derive(Debug)]
pub(in crate::engine) struct PushStream {
    columns: Vec<OutputColumn>,
    rows: Arc<Handover>,
    listed: Listed,
    left: Option<u64>,
    notes: Notes,
    /// It reads what comes from its start on.
    from_now_on: bool,
}

/// For whoever waits for what has been there before.
const FROM_NOW_ON: &str = "No rows yet: the query reads what comes from now on. To read from the start, stop it and say\n\
                           SET 'auto.offset.reset' = 'earliest';";

/// ksqlDB's switch of what it calls scalable push queries.
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
        let rows = Arc::<Handover>::default();
        let waker = {
            let (reader, rows) = (execution.waker(), rows.clone());
            Arc::new(move || {
                rows.stop();
                reader();
            })
        };
        let (sql, owner, over) = (text.to_owned(), session.principal().name.clone(), AtomicBool::new(false));
        let listed = push_registry::Push { id, sql, owner, topics, over, end: waker, progress: progress.clone() };
        let listed = self.inner.pushes.list(listed);
        let push = Push { execution, table: plan.table, keyed, progress, rows: rows.clone(), text: text.to_owned() };
        let name = listed.push.id.clone();
        threads::spawn(KIND, name.clone(), move || push.run(&name))?;
        let (left, notes) = (plan.limit, Notes::default());
        let from_now_on = start == Start::Latest;
        Ok(Answer::Rows(Box::new(PushStream { columns, rows, listed, left, notes, from_now_on })))
    }
}

/// Would ksqlDB answer it from the query that writes its source? It does where `ksql.query.push.v2.enabled` says so, for a plain
/// SELECT of what comes from now on of a stream or table that one query writes. Rows without a key are not told then.
fn is_scalable(select: &Select, catalog: &Catalog, properties: &BTreeMap<String, String>) -> bool {
    let says = |name: &str, value: &str| properties.get(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
    let plain = select.joins.is_empty() && select.window.is_none() && select.having.is_none();
    let source = &select.from.name.value;
    says(PUSH_V2, "true")
        && says("auto.offset.reset", "latest")
        && plain
        && select.group_by.is_empty()
        && select.partition_by.is_empty()
        && select.emit == Some(Emit::Changes)
        && catalog.source(source).is_some_and(|source| !source.schema.key.is_empty())
        && catalog.writers(source).count() == 1
}

/// The thread's side.
struct Push {
    execution: Execution,
    table: bool,
    /// Only rows with a key are told.
    keyed: bool,
    progress: Arc<Progress>,
    rows: Arc<Handover>,
    /// The statement, by which a test can make this thread panic.
    text: String,
}

impl Push {
    /// A panic is a failure of the query, or the end of its rows would look like its own.
    fn run(mut self, id: &str) {
        let ended = threads::guard(KIND, id, || self.turns()).flatten();
        self.rows.end(ended.err());
    }

    /// Takes turns until it is told to stop.
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
            if let Some(last) = turn.bad.into_iter().next_back() {
                let count = self.progress.bad.load(Ordering::Relaxed);
                self.rows.note(|notes| notes.skipped = Some((count, last)));
            }
            for batch in turn.rows {
                let told = Told::of(batch, self.table, self.keyed)?;
                if told.len() > 0 && !self.rows.put(told) {
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
        let (taken, notes) = self.rows.take(timeout)?;
        self.notes = notes;
        let mut told = match taken {
            Taken::Rows(told) => told,
            Taken::Nothing => return Ok(RowEvent::Idle),
            Taken::Ended => {
                let why = self.listed.push.ended(self.rows.is_stopped())?;
                return Ok(RowEvent::Done(Some(why.to_owned())));
            }
        };
        if let Some(left) = &mut self.left {
            told.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= told.len() as u64;
        }
        Ok(RowEvent::Rows { columns: told.columns, tombstones: told.tombstones })
    }

    fn notice(&self) -> Option<String> {
        let skipped = self.notes.skipped.as_ref().map(|(count, last)| {
            let BadRecord { topic, partition, offset, reason, .. } = last;
            let records = if *count == 1 { "record was" } else { "records were" };
            format!("{count} {records} skipped, last {topic} partition {partition} offset {offset}: {reason}")
        });
        let all: Vec<String> = [self.notes.trouble.clone(), skipped].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("\n"))
    }
}
