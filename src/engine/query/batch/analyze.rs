//! EXPLAIN ANALYZE: a query without EMIT is run as it would be (its rights, permits, time and memory), and the result is its plan
//! with the rows, what was read, and the time of each node, a line a row.

use super::Admitted;
use crate::engine::introspect::show::explained;
use crate::engine::query::Bounded;
use crate::engine::query::pull::limits::PullPermit;
use crate::engine::query::user_quota::QuotaPermit;
use crate::engine::result::rows::{OutputColumn, PLAN, RowEvent, RowStream, Scanned};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::Result;
use crate::execute::batch::{self, Analysis};
use crate::types::SqlType;
use crate::types::clock::{SharedClock, SystemClock};
use arrow::array::StringArray;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    pub(in crate::engine) fn analyze(&self, query: Bounded<'_>, text: &str, session: &Session) -> Result<Answer> {
        // Under the text of the query alone, by which lookups are known.
        let text = explained(text);
        let mut permit = None;
        if let Bounded::Select(select) = query
            && let Some(Answer::Rows(rows)) = self.pull_query(select, &text, session, &mut permit)?
        {
            let drawn = self.pull_plan(select, session)?.map(|(_, drawn)| drawn).unwrap_or_default();
            let clock = SystemClock::shared();
            let begin = clock.monotonic();
            return self.analyzing(Work::Pull(Pulled { rows, drawn, passed: 0, clock, begin }));
        }
        let Admitted { plan, history, permit, quota, .. } = self.admit(query, text.len(), session, permit)?;
        let limit = match query {
            Bounded::Select(select) => select.limit,
            Bounded::Relational(_) => None,
        };
        let analysis = batch::analyze(&plan, &history, limit)?;
        self.analyzing(Work::Batch { analysis, permit, _quota: quota })
    }

    fn analyzing(&self, work: Work) -> Result<Answer> {
        let columns = vec![OutputColumn { name: PLAN.to_owned(), ty: SqlType::String }];
        Ok(Answer::Rows(Box::new(AnalyzeStream { id: Engine::bounded_id()?, columns, work, is_drawn: false })))
    }
}

/// The query that is looked at.
enum Work {
    Batch { analysis: Analysis, permit: PullPermit, _quota: QuotaPermit },
    Pull(Pulled),
}

/// A query over committed rows.
struct Pulled {
    rows: Box<dyn RowStream>,
    drawn: String,
    passed: usize,
    clock: SharedClock,
    begin: Duration,
}

impl Pulled {
    /// The drawing, at the end of the rows.
    fn next_within(&mut self, wait: Duration) -> Result<Option<String>> {
        match self.rows.next(wait)? {
            RowEvent::Rows { columns, .. } => {
                self.passed += columns.first().map_or(0, |column| column.len());
                Ok(None)
            }
            RowEvent::Idle => Ok(None),
            RowEvent::Done(_) => {
                let time = self.clock.monotonic().saturating_sub(self.begin).as_secs_f64() * 1_000.0;
                let rows = if self.passed == 1 { "row" } else { "rows" };
                Ok(Some(format!("{}  [{} {rows}, {time:.2} ms]", self.drawn.trim_end(), self.passed)))
            }
        }
    }
}

struct AnalyzeStream {
    id: String,
    columns: Vec<OutputColumn>,
    work: Work,
    is_drawn: bool,
}

impl RowStream for AnalyzeStream {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn scanned(&self) -> Option<Scanned> {
        let Work::Batch { analysis, .. } = &self.work else { return None };
        let batch::Scanned { records, planned, retained, bytes } = analysis.scanned();
        Some(Scanned { records, planned, retained, bytes })
    }

    fn sent(&self, bytes: usize) {
        match &self.work {
            Work::Batch { permit, .. } => permit.sent(bytes),
            Work::Pull(pulled) => pulled.rows.sent(bytes),
        }
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        if self.is_drawn {
            return Ok(RowEvent::Done(Some("Query Completed".to_owned())));
        }
        let drawn = match &mut self.work {
            Work::Batch { analysis, .. } => analysis.next_within(timeout)?,
            Work::Pull(pulled) => pulled.next_within(timeout)?,
        };
        let Some(drawn) = drawn else { return Ok(RowEvent::Idle) };
        self.is_drawn = true;
        let lines: StringArray = drawn.lines().map(Some).collect();
        Ok(RowEvent::Rows { columns: vec![Arc::new(lines)], tombstones: Vec::new() })
    }
}
