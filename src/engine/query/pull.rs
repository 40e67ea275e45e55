//! Queries without EMIT on a table that a query keeps up to date: answered from its committed rows, beside its thread.
//!
//! What has not the shape of ksqlDB's pull queries, or a table too large for memory, is answered from the topic's history
//! (`bounded`). The rows are the same; only what windows have left ksqlDB's retention shows which way was taken.

use crate::catalog::Source;
use crate::engine::access::Role as UserRole;
use crate::engine::introspect::show::explained;
use crate::engine::query::pull_limits::Pass;
use crate::engine::result::entity::{Entity, Explanation};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::Result;
use crate::execute::compile;
use crate::execute::pull::materialized_view::View;
use crate::execute::pull::{Pull, PullRows};
use crate::parse::statement::{Select, SourceKind};
use crate::plan;
use crate::plan::pull::{Literal, is_pull_shape};
use crate::types::{Column, Role, Schema};
use std::sync::Arc;
use std::time::Duration;

/// A lookup of more keys is planned every time: it would hold up others that are answered beside it.
const KNOWN_KEYS_MAX: usize = 64;

/// See `PullPlan::literals`.
type KeyLiterals = Option<Vec<(usize, Literal)>>;

/// A query that was planned, and what it reads.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Prepared {
    pub(in crate::engine) pull: Arc<Pull>,
    pub(in crate::engine) view: Arc<View>,
    /// The table's topic.
    topic: Arc<str>,
    /// It belongs to the engine. Found out once: a lookup takes microseconds.
    needs_admin: bool,
}

impl Prepared {
    /// Whether the session's user may read the table: a plan is remembered for everybody.
    pub(in crate::engine) fn is_permitted(&self, engine: &Engine, session: &Session) -> bool {
        let user = session.principal();
        user.topics.include(&self.topic) && (!self.needs_admin || engine.role_of(user) >= UserRole::Admin)
    }
}

impl Engine {
    /// The view of a table that a query of this engine writes.
    pub(in crate::engine) fn view_of(&self, source: &Source) -> Option<Arc<View>> {
        let id = source.created_by.as_ref()?;
        let state = self.inner.state.load();
        let query = state.queries.get(id)?;
        query.spec()?.view.clone()
    }

    /// Plans the query if it can be answered from committed rows.
    fn prepare_pull(&self, select: &Select, session: &Session) -> Result<Option<(Prepared, KeyLiterals)>> {
        if !is_pull_shape(select) {
            return Ok(None);
        }
        let catalog = self.catalog();
        let table = catalog.source(&select.from.name.value).filter(|s| s.kind == SourceKind::Table);
        let Some(table) = table else { return Ok(None) };
        self.check_topic(session, &table.topic)?;
        let Some(view) = self.view_of(table) else { return Ok(None) };
        let topic: Arc<str> = table.topic.as_str().into();
        let needs_admin = self.topic_rules().is_internal(&topic);
        let settings = self.settings(&self.properties(session))?;
        let plan = plan::pull_query(select, &catalog, &settings)?;
        let pull = Pull::new(&plan, compile::pipeline(&plan.logical)?)?;
        Ok(pull.map(|pull| (Prepared { pull: Arc::new(pull), view, topic, needs_admin }, plan.literals)))
    }

    /// Answers the query from committed rows; `None` = it has to be answered from the topic, perhaps with the `pass` that it
    /// has by then. A lookup is remembered.
    pub(in crate::engine) fn pull_query(
        &self,
        select: &Select,
        text: &str,
        session: &Session,
        pass: &mut Option<Pass>,
    ) -> Result<Option<Answer>> {
        let statements = &self.inner.statements;
        let version = statements.version();
        let Some((prepared, literals)) = self.prepare_pull(select, session)? else { return Ok(None) };
        if prepared.pull.lookups().is_some_and(|keys| keys <= KNOWN_KEYS_MAX) {
            statements.remember(text, session, (version, &prepared, literals.as_deref()));
        }
        let let_in = self.inner.pulls.enter()?;
        match self.pulled(&prepared)? {
            Some(rows) => Ok(Some(Answer::Rows(Box::new(Pulled::new(Engine::bounded_id()?, rows, let_in))))),
            None => {
                *pass = Some(let_in);
                Ok(None)
            }
        }
    }

    /// Begins to answer. A query that starts anew may close the view between two steps: then it is opened again.
    fn pulled(&self, prepared: &Prepared) -> Result<Option<PullRows>> {
        while prepared.view.open(&*self.inner.log)? {
            if let Some(rows) = prepared.pull.rows(&prepared.view, None)? {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// What EXPLAIN says of it.
    pub(in crate::engine) fn explain_pull(
        &self,
        select: &Select,
        text: &str,
        session: &Session,
    ) -> Result<Option<Entity>> {
        let Some((Prepared { pull, .. }, _)) = self.prepare_pull(select, session)? else { return Ok(None) };
        let table = &select.from.name.value;
        let keys = match pull.lookups() {
            Some(1) => ", 1 key".to_owned(),
            Some(keys) => format!(", {keys} keys"),
            None => String::new(),
        };
        Ok(Some(Entity::Explanation(Explanation {
            query: None,
            sql: explained(text),
            schema: Schema { key: Vec::new(), value: pull.columns().iter().map(as_value).collect() },
            sources: vec![table.clone()],
            plan: format!("Pull: {} in the committed rows of {table}{keys}\n", pull.access()),
        })))
    }
}

fn as_value(column: &Column) -> Column {
    Column { role: Role::Value, ..column.clone() }
}

/// Rows of a query over committed rows.
#[derive(Debug)]
pub(in crate::engine) struct Pulled {
    id: String,
    columns: Vec<OutputColumn>,
    rows: PullRows,
    pass: Pass,
}

impl Pulled {
    pub(in crate::engine) fn new(id: String, rows: PullRows, pass: Pass) -> Pulled {
        let columns = rows.pull().columns().iter();
        let columns = columns.map(|c| OutputColumn { name: c.name.clone(), ty: c.ty.clone() }).collect();
        Pulled { id, columns, rows, pass }
    }
}

impl RowStream for Pulled {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn is_table_pull(&self) -> bool {
        true
    }

    fn is_key(&self, column: usize) -> bool {
        self.rows.pull().keys().get(column) == Some(&true)
    }

    fn next(&mut self, _timeout: Duration) -> Result<RowEvent> {
        Ok(match self.rows.more()? {
            Some(columns) => RowEvent::Rows { columns, tombstones: Vec::new() },
            // The rows of a table end without a word.
            None => RowEvent::Done(None),
        })
    }

    fn sent(&self, bytes: usize) {
        self.pass.sent(bytes);
    }

    fn notice(&self) -> Option<String> {
        (self.rows.bad() > 0).then(|| format!("{} records could not be used", self.rows.bad()))
    }
}
