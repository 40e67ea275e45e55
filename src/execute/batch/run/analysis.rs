//! EXPLAIN ANALYZE: the query is run as it would be, its rows are counted instead of handed on, and its plan is drawn with what
//! each node did. Time, memory, and the bound of queries at once are those of the query.

use super::drawn::{Ran, analyzed, meter};
use super::{Answer, Job, Said, Want, started};
use crate::error::{Error, Result};
use crate::execute::batch::{History, Scanned};
use crate::memory;
use crate::plan::BatchPlan;
use crate::types::clock::SystemClock;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::Poll;
use std::time::Duration;

/// A query that runs for what it does.
#[derive(Debug)]
pub struct Analysis {
    answer: Answer,
}

/// Runs a query as far as its first `limit` rows. Must not be called on an async runtime's thread.
pub fn analyze(plan: &BatchPlan, history: &History, limit: Option<u64>) -> Result<Analysis> {
    Ok(Analysis { answer: started(plan, history, Want::Analysis(limit))? })
}

impl Analysis {
    /// The drawing, if the query ends within that time.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<String>> {
        match self.answer.next(wait)? {
            None => Ok(None),
            Some(Said::Drawn(text)) => Ok(Some(text)),
            Some(_) => Err(Error::bug("a query was not drawn")),
        }
    }

    /// What was read so far.
    pub fn scanned(&self) -> Scanned {
        self.answer.counts.scanned.now()
    }
}

impl Job {
    pub(super) async fn analyzed(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
        limit: Option<u64>,
        sender: &SyncSender<Said>,
    ) -> Result<()> {
        let plan = meter::metered(plan)?;
        let clock = SystemClock::shared();
        let begin = clock.monotonic();
        let rows = counted(plan.clone(), context, limit).await?;
        let time = clock.monotonic().saturating_sub(begin);
        let ran = Ran { rows, time, scanned: self.counts.scanned.now() };
        let text = memory::outside(|| analyzed(&plan, &self.counts.leaves, &ran));
        // A caller that has gone needs no drawing.
        let _ = sender.send(Said::Drawn(text));
        Ok(())
    }
}

/// Runs the plan, and returns how many rows came.
async fn counted(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>, limit: Option<u64>) -> Result<u64> {
    let mut stream = execute_stream(plan, context)?;
    let mut rows = 0;
    while limit.is_none_or(|limit| rows < limit) {
        // An operator that works long yields now and then, and is asked again at once.
        let next = poll_fn(|waker| match memory::check() {
            Ok(()) => stream.poll_next_unpin(waker).map(Ok),
            Err(e) => Poll::Ready(Err(e)),
        });
        let Some(batch) = next.await? else { break };
        rows += batch?.num_rows() as u64;
    }
    Ok(limit.map_or(rows, |limit| rows.min(limit)))
}
