//! Batch queries: a SELECT without EMIT reads the retained history and ends.

mod analyze;

use crate::catalog::{Catalog, Source};
use crate::engine::introspect::show::explained;
use crate::engine::query::Bounded;
use crate::engine::query::pull::limits::PullPermit;
use crate::engine::query::user_quota::QuotaPermit;
use crate::engine::result::entity::{Entity, Explanation};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream, Scanned};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Result};
use crate::execute::batch::{
    self, BatchResult, Came, History, MEMORY_BYTES, MEMORY_PROPERTY, Scanned as Read, TIMEOUT, TIMEOUT_PROPERTY,
};
use crate::parse::statement::{Select, SourceKind};
use crate::plan::{self, BatchPlan, Settings};
use crate::types::{Column, Role, Schema, pseudo};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// What a statement with a text of this length reads, and its limits.
    pub(in crate::engine) fn history(&self, properties: &BTreeMap<String, String>, text_bytes: usize) -> History {
        let memory = properties.get(MEMORY_PROPERTY).and_then(|bytes| bytes.parse().ok());
        let timeout = properties.get(TIMEOUT_PROPERTY).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        History {
            log: self.inner.log.clone(),
            schemas: self.inner.writers.clone(),
            spill_pool: self.inner.spill_pool.clone(),
            memory_bytes: memory.unwrap_or(MEMORY_BYTES),
            rows: batch::rows_of_a_batch(text_bytes),
            timeout: timeout.unwrap_or(TIMEOUT),
            ranges: None,
            system: Arc::default(),
        }
    }

    pub(in crate::engine) fn batch_query(&self, query: Bounded<'_>, text: &str, session: &Session) -> Result<Answer> {
        let mut permit = None;
        if let Bounded::Select(select) = query
            && let Some(rows) = self.pull_query(select, text, session, &mut permit)?
        {
            return Ok(rows);
        }
        let Admitted { plan, history, catalog, behind, permit, quota } =
            self.admit(query, text.len(), session, permit)?;
        let result = batch::run(&plan, &history)?;
        let columns =
            result.columns().iter().map(|c| OutputColumn { name: c.name.clone(), ty: c.ty.clone() }).collect();
        let (limit, table) = match query {
            Bounded::Select(select) => (select.limit, pulled_table(select, &catalog)),
            Bounded::Relational(_) => (None, None),
        };
        let id = Engine::bounded_id()?;
        Ok(Answer::Rows(Box::new(BatchStream {
            id,
            columns,
            table,
            result,
            left: limit,
            behind,
            permit,
            _quota: quota,
        })))
    }

    /// Plans a query, checks what its reader may, and lets it in; a statement of so many bytes.
    pub(in crate::engine) fn admit(
        &self,
        query: Bounded<'_>,
        text_bytes: usize,
        session: &Session,
        permit: Option<PullPermit>,
    ) -> Result<Admitted> {
        let properties = self.properties(session);
        let settings = self.settings(&properties)?;
        let catalog = self.catalog();
        let plan = query.plan(&catalog, &settings)?;
        let behind = self.wait_for_new(&plan.reads)?;
        // A pull query that falls back to the topic was checked already.
        if permit.is_none() {
            check_scans(&plan, &catalog, &settings)?;
        }
        self.check_sources(session, &catalog, &plan.reads)?;
        let permit = match permit {
            Some(permit) => permit,
            None => self.inner.pulls.enter()?,
        };
        let quota = self.inner.user_quota.acquire(&session.principal().name)?;
        let system = Arc::new(self.system_rows(&plan.reads, session)?);
        let history = History { system, ..self.history(&properties, text_bytes) };
        Ok(Admitted { plan, history, catalog, behind, permit, quota })
    }

    pub(in crate::engine) fn explain_batch(
        &self,
        query: Bounded<'_>,
        catalog: &Arc<Catalog>,
        settings: &Settings,
        text: &str,
        session: &Session,
    ) -> Result<Entity> {
        let plan = query.plan(catalog, settings)?;
        self.check_sources(session, catalog, &plan.reads)?;
        let sources = plan.reads.clone();
        let value = plan.columns.iter().cloned().map(|c| Column { role: Role::Value, ..c }).collect();
        Ok(Entity::from(Explanation {
            query: None,
            sql: explained(text),
            schema: Schema { key: Vec::new(), value },
            sink: None,
            window: None,
            sources,
            plan: batch::explain(&plan, &self.history(&self.inner.config.properties, text.len()))?,
        }))
    }
}

/// A query that may run.
pub(in crate::engine) struct Admitted {
    pub(in crate::engine) plan: BatchPlan,
    pub(in crate::engine) history: History,
    pub(in crate::engine) catalog: Arc<Catalog>,
    /// Which new queries it is too early for.
    pub(in crate::engine) behind: Option<String>,
    pub(in crate::engine) permit: PullPermit,
    pub(in crate::engine) quota: QuotaPermit,
}

impl Bounded<'_> {
    /// Its plan.
    pub(in crate::engine) fn plan(self, catalog: &Catalog, settings: &Settings) -> Result<BatchPlan> {
        match self {
            Bounded::Select(select) => plan::batch_query(select, catalog, settings),
            Bounded::Relational(_) if settings.strict => {
                Err(Error::statement("ksqlDB's grammar does not have such a query")
                    .with_hint("SET 'tidegate.dialect' = 'tidegate' allows any SQL over history"))
            }
            Bounded::Relational(query) => plan::relational_query(query, catalog, settings),
        }
    }
}

/// Refuses what reads a whole table, where that is not allowed.
fn check_scans(plan: &BatchPlan, catalog: &Catalog, settings: &Settings) -> Result<()> {
    let is_table = |name: &String| catalog.source(name).is_some_and(|source| source.kind == SourceKind::Table);
    if plan.reads.iter().any(is_table) && !settings.pull_scan {
        return Err(Error::statement(
            "Query requires table scan to be enabled. Table scans can be enabled by setting \
             ksql.query.pull.table.scan.enabled=true",
        ));
    }
    Ok(())
}

/// The table that a SELECT in the form of ksqlDB's pull queries reads.
fn pulled_table(select: &Select, catalog: &Catalog) -> Option<Arc<Source>> {
    let source = catalog.source(&select.from.name.value).filter(|s| s.kind == SourceKind::Table);
    source.filter(|_| select.joins.is_empty()).cloned()
}

/// Rows of a query that ends.
struct BatchStream {
    id: String,
    /// The table of a pull query.
    table: Option<Arc<Source>>,
    columns: Vec<OutputColumn>,
    result: BatchResult,
    left: Option<u64>,
    /// Which new queries it was too early for.
    behind: Option<String>,
    permit: PullPermit,
    _quota: QuotaPermit,
}

impl RowStream for BatchStream {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn is_table_pull(&self) -> bool {
        self.table.is_some()
    }

    /// Key columns of the table of a pull query, and the bounds of its windows.
    fn is_key(&self, column: usize) -> bool {
        let (Some(table), Some(column)) = (&self.table, self.columns.get(column)) else { return false };
        let is_bound = [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&column.name.as_str());
        table.schema.key.iter().any(|key| key.name == column.name) || (is_bound && table.window.is_some())
    }

    fn scanned(&self) -> Option<Scanned> {
        let Read { records, planned, retained, bytes } = self.result.scanned();
        Some(Scanned { records, planned, retained, bytes })
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        if self.left == Some(0) {
            return Ok(RowEvent::Done(Some("Limit Reached".to_owned())));
        }
        loop {
            let batch = match self.result.next_within(timeout)? {
                Came::Rows(batch) => batch,
                Came::Nothing => return Ok(RowEvent::Idle),
                Came::End => return Ok(RowEvent::Done(Some("Query Completed".to_owned()))),
            };
            let mut rows = batch.num_rows();
            if let Some(left) = &mut self.left {
                rows = rows.min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= rows as u64;
            }
            if rows > 0 {
                return Ok(RowEvent::Rows { columns: batch.slice(0, rows).columns().to_vec(), tombstones: Vec::new() });
            }
        }
    }

    fn sent(&self, bytes: usize) {
        self.permit.sent(bytes);
    }

    fn notice(&self) -> Option<String> {
        let mut said = Vec::from_iter(self.behind.clone());
        if self.result.late() > 0 {
            said.push(format!("{} late rows were dropped, as the streaming query drops them", self.result.late()));
        }
        if self.result.bad() > 0 {
            said.push(format!("{} records could not be used", self.result.bad()));
        }
        if self.result.waited() {
            said.push("a join without GRACE PERIOD waits for its matches in a query without EMIT".to_owned());
        }
        if self.result.grown() {
            said.push(
                "a joined topic has got more partitions since its source was created, which were not read".to_owned(),
            );
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}
