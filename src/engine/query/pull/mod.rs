//! Pull queries: a SELECT without EMIT on a table that a query maintains reads the query's committed rows, on the caller's
//! thread.
//!
//! In a service of several processes any of them is asked: a query that runs elsewhere is asked of its owner ([`forward`]), or read
//! from a view that follows the topic, as one whose topic others write, too ([`owners`]), within limits of its lag ([`lag`]).
//!
//! A query that does not have the form of ksqlDB's pull queries, or a table too large for memory, reads the topic's history
//! ([`batch`](super::batch)). The rows are the same, except for windows beyond ksqlDB's retention.

pub mod forward;
pub mod owners;

pub(in crate::engine) mod limits;
pub(in crate::engine) mod plan_cache;

mod lag;
mod stream;

use crate::catalog::Source;
use crate::engine::access::Role as UserRole;
use crate::engine::introspect::show::explained;
use crate::engine::query::pull::limits::PullPermit;
use crate::engine::result::entity::{Entity, Explanation};
use crate::engine::session::Session;
use crate::engine::{Answer, Engine};
use crate::error::{Error, Kind, Result};
use crate::execute::compile;
use crate::execute::pull::materialized_view::View;
use crate::execute::pull::{Pull, PullRows};
use crate::parse::statement::{Select, SourceKind};
use crate::plan;
use crate::plan::pull::{Literal, is_pull_shape};
use crate::types::{Column, Role, Schema};
use forward::Lookup;
use std::sync::Arc;
use stream::PullStream;

/// A lookup of more keys is not cached: on the connection's thread it would delay others.
const KNOWN_KEYS_MAX: usize = 64;

/// See `PullPlan::literals`.
type KeyLiterals = Option<Vec<(usize, Literal)>>;

/// A query that was planned, and what it reads.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Prepared {
    pub(in crate::engine) pull: Arc<Pull>,
    pub(in crate::engine) view: Arc<View>,
    /// The query that writes the table.
    pub(in crate::engine) query: Arc<str>,
    /// The table's topic.
    topic: Arc<str>,
    /// The topic belongs to the engine. Checked once: a lookup takes microseconds.
    needs_admin: bool,
}

impl Prepared {
    /// Whether the session's user may read the table: plans are cached for all users.
    pub(in crate::engine) fn is_permitted(&self, engine: &Engine, session: &Session) -> bool {
        let user = session.principal();
        user.topics.include(&self.topic) && (!self.needs_admin || engine.role_of(user) >= UserRole::Admin)
    }

    /// Whether the process that has sent a lookup means the same by it.
    fn is_of(&self, lookup: &Lookup<'_>) -> bool {
        *self.query == *lookup.query && *self.topic == *lookup.topic
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

    /// Has the views of tables over a topic read again: they do not contain records that came by another way.
    pub(in crate::engine) fn reset_views_over(&self, topic: &str) {
        let catalog = self.catalog();
        let views = catalog.all().filter(|source| source.topic == topic).filter_map(|source| self.view_of(source));
        views.for_each(|view| view.reset());
    }

    /// Plans the query if committed rows can serve it.
    fn prepare_pull(&self, select: &Select, session: &Session) -> Result<Option<(Prepared, KeyLiterals)>> {
        if !is_pull_shape(select) {
            return Ok(None);
        }
        let catalog = self.catalog();
        let table = catalog.source(&select.from.name.value).filter(|s| s.kind == SourceKind::Table);
        let Some(table) = table else { return Ok(None) };
        self.check_topic(session, &table.topic)?;
        let (Some(view), Some(query)) = (self.view_of(table), &table.created_by) else { return Ok(None) };
        let query: Arc<str> = query.as_str().into();
        let topic: Arc<str> = table.topic.as_str().into();
        let needs_admin = self.topic_rules().is_internal(&topic);
        let settings = self.settings(&self.properties(session))?;
        let plan = plan::pull_query(select, &catalog, &settings)?;
        let pull = Pull::new(&plan, compile::pipeline(&plan.logical)?, &self.shared_schemas())?;
        Ok(pull.map(|pull| (Prepared { pull: Arc::new(pull), view, query, topic, needs_admin }, plan.literals)))
    }

    /// Plans the query, and caches the plan of a lookup; also, which new queries it is too early for.
    fn planned_pull(
        &self,
        select: &Select,
        text: &str,
        session: &Session,
    ) -> Result<Option<(Prepared, Option<String>)>> {
        let cache = &self.inner.plan_cache;
        let version = cache.version();
        let Some((prepared, literals)) = self.prepare_pull(select, session)? else { return Ok(None) };
        let behind = self.wait_for_new(std::slice::from_ref(&select.from.name.value))?;
        if behind.is_none() && prepared.pull.lookups().is_some_and(|keys| keys <= KNOWN_KEYS_MAX) {
            cache.remember(text, session, (version, &prepared, literals.as_deref()));
        }
        Ok(Some((prepared, behind)))
    }

    /// Executes the query on committed rows; `None` = it has to read the topic, with the `permit` if it has one by then. A lookup
    /// is cached.
    pub(in crate::engine) fn pull_query(
        &self,
        select: &Select,
        text: &str,
        session: &Session,
        permit: &mut Option<PullPermit>,
    ) -> Result<Option<Answer>> {
        let Some((prepared, behind)) = self.planned_pull(select, text, session)? else { return Ok(None) };
        let admitted = self.inner.pulls.enter()?;
        if let Some(rows) = self.ask_owner(&prepared, text, session)? {
            let stream = PullStream::of_peer(Engine::bounded_id()?, prepared.pull, rows, admitted).behind(behind);
            return Ok(Some(Answer::Rows(Box::new(stream))));
        }
        match self.pulled(&prepared, session)? {
            Some(rows) => {
                let stream = PullStream::new(Engine::bounded_id()?, rows, Some(admitted)).behind(behind);
                Ok(Some(Answer::Rows(Box::new(stream))))
            }
            None => {
                *permit = Some(admitted);
                Ok(None)
            }
        }
    }

    /// Opens the view and reads. A query that restarts may close the view in between: then it is opened again.
    fn pulled(&self, prepared: &Prepared, session: &Session) -> Result<Option<PullRows>> {
        while prepared.view.open(&*self.inner.log, self.feed(&prepared.query))? {
            self.check_lag(&prepared.view, session)?;
            if let Some(rows) = prepared.pull.rows(&prepared.view, None)? {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// Its columns, and its plan, drawn; `None` = it has to read the topic.
    pub(in crate::engine) fn pull_plan(&self, select: &Select, session: &Session) -> Result<Option<(Schema, String)>> {
        let Some((Prepared { pull, .. }, _)) = self.prepare_pull(select, session)? else { return Ok(None) };
        let table = &select.from.name.value;
        let keys = match pull.lookups() {
            Some(1) => ", 1 key".to_owned(),
            Some(keys) => format!(", {keys} keys"),
            None => String::new(),
        };
        let schema = Schema { key: Vec::new(), value: pull.columns().iter().map(as_value).collect() };
        Ok(Some((schema, format!("Pull: {} in the committed rows of {table}{keys}\n", pull.access()))))
    }

    /// Its EXPLAIN.
    pub(in crate::engine) fn explain_pull(
        &self,
        select: &Select,
        text: &str,
        session: &Session,
    ) -> Result<Option<Entity>> {
        let Some((schema, plan)) = self.pull_plan(select, session)? else { return Ok(None) };
        Ok(Some(Entity::from(Explanation {
            query: None,
            sql: explained(text),
            schema,
            sink: None,
            window: None,
            sources: vec![select.from.name.value.clone()],
            plan,
        })))
    }
}

fn as_value(column: &Column) -> Column {
    Column { role: Role::Value, ..column.clone() }
}

/// The error where no process may serve a lookup, in the words of ksqlDB's `HARouting`.
fn no_host(partition: i32, hosts: &str) -> Error {
    let message = format!(
        "Unable to execute pull query. [Partition {partition} failed to find valid host. Hosts scanned: [{hosts}]]"
    );
    Error::new(Kind::Busy, message).with_code(40001)
}
