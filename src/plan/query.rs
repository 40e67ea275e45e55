//! Statements that run a SELECT: CREATE AS, INSERT INTO ... SELECT, push queries, batch queries.

use crate::catalog::topics::TopicUse;
use crate::catalog::{Catalog, Source};
use crate::error::{Error, Result};
use crate::parse::query::Relational;
use crate::parse::statement::{CreateAs, InsertSelect, Properties, PropertyValue, Select, SourceKind};
use crate::plan::nodes::Sink;
use crate::plan::properties::{Use, With};
use crate::plan::select;
use crate::plan::select::context::{Bound, Purpose};
use crate::plan::select::inner::relations::Relations;
use crate::plan::source::{CreateMode, TopicRequest, check_replace, word};
use crate::plan::{Created, Facts, Settings, insert, loops, pull, sink};
use crate::types::{Column, Role};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

/// A persistent query.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    /// Its id.
    pub id: String,
    /// The bound plan, a Sink at its root.
    pub logical: LogicalPlan,
    /// What it writes: new for CREATE AS, there already for INSERT INTO.
    pub sink: Source,
    /// The topic to create first.
    pub create_topic: Option<TopicRequest>,
    /// Streams and tables that it reads.
    pub reads: Vec<String>,
    /// Where late rows are kept, and the topic to create for them.
    pub late_topic: Option<(String, Option<TopicRequest>)>,
}

/// A query that lives as long as its reader.
#[derive(Clone, Debug)]
pub struct TransientPlan {
    /// The bound plan, a Sink at its root.
    pub logical: LogicalPlan,
    /// Columns of the result, in order; the value columns of what comes out.
    pub columns: Vec<Column>,
    /// A table's changes: one without a value says that its row is gone.
    pub table: bool,
    /// Rows after which it ends.
    pub limit: Option<u64>,
    /// Streams and tables that it reads.
    pub reads: Vec<String>,
}

/// A query over what is there now.
#[derive(Clone, Debug)]
pub struct BatchPlan {
    /// The bound plan.
    pub logical: LogicalPlan,
    /// Columns of the result, in order.
    pub columns: Vec<Column>,
    /// Streams and tables that it reads.
    pub reads: Vec<String>,
}

/// Plans CREATE STREAM|TABLE AS SELECT; `query_id` is the id that its query is to have.
pub fn create_as(
    stmt: &CreateAs,
    query_id: &str,
    catalog: &Catalog,
    facts: &Facts,
    settings: &Settings,
    sql: &str,
) -> Result<Created<QueryPlan>> {
    let mode = CreateMode { kind: stmt.kind, or_replace: stmt.or_replace, if_not_exists: stmt.if_not_exists };
    if let Some(text) = mode.check(&stmt.name, false, catalog)? {
        return Ok(Created::Exists(text));
    }
    let replaced = catalog.source(&stmt.name.value);
    if let Some(old) = replaced {
        check_writers(old, catalog).map_err(|e| e.at(stmt.name.span))?;
    }
    if stmt.select.limit.is_some() {
        let text =
            format!("CREATE {} AS SELECT statements don't support LIMIT clause.", word(stmt.kind).to_uppercase());
        return Err(Error::statement(text));
    }
    let with = With::read(&stmt.with, Use::CreateAs)?;
    let bound =
        select::bind(&stmt.select, Purpose::Persistent(&stmt.name.value), &Relations::of_catalog(catalog, settings))?;
    let (source, create_topic) = sink::of(stmt, &bound, &with, query_id, (facts, settings, sql))?;
    if let Some(old) = replaced {
        check_replace(old, &source).map_err(|e| e.at(stmt.name.span))?;
    }
    let late_topic = sink::late_topic(stmt, &bound, &with, facts, settings)?;
    let plan = query(query_id, bound, source, create_topic)?;
    let plan = QueryPlan { late_topic, ..plan };
    check_loops(&plan, catalog, settings).map_err(|e| e.at(stmt.name.span))?;
    Ok(Created::New(plan))
}

/// A query can take the place of one that wrote the same source; where others write it too, it is unclear of which.
fn check_writers(old: &Source, catalog: &Catalog) -> Result<()> {
    let others = catalog.writers(&old.name).filter(|q| Some(&q.id) != old.created_by.as_ref());
    let others: Vec<&str> = others.map(|q| q.id.as_str()).collect();
    if others.is_empty() {
        return Ok(());
    }
    let all: Vec<&str> = old.created_by.iter().map(String::as_str).chain(others).collect();
    Err(Error::statement(format!(
        "REPLACE for sink {} is not supported because there are multiple queries writing into it: [{}]",
        old.name,
        all.join(", ")
    )))
}

/// Plans INSERT INTO ... SELECT; `query_id` is the id that its query has unless the statement says another.
pub fn insert_select(stmt: &InsertSelect, query_id: &str, catalog: &Catalog, settings: &Settings) -> Result<QueryPlan> {
    let at = |e: Error| e.at(stmt.target.span);
    let target = catalog.require(&stmt.target.value).map_err(at)?;
    settings.topics.check(&target.topic, TopicUse::InsertSelect).map_err(at)?;
    if target.kind == SourceKind::Table {
        let text = format!("INSERT INTO can only be used to insert into a stream. {} is a table.", target.name);
        return Err(at(Error::statement(text)));
    }
    if target.read_only {
        return Err(at(Error::statement(format!("Cannot insert into read-only stream: {}", target.name))));
    }
    if target.schema.value.iter().any(|c| c.role != Role::Value) {
        return Err(at(Error::statement(format!("Cannot insert into {} because it has header columns", target.name))));
    }
    let asked = query_id_of(&stmt.with, catalog)?;
    let query_id = asked.as_deref().unwrap_or(query_id);
    if stmt.select.limit.is_some() {
        return Err(Error::statement("INSERT INTO ... SELECT statements don't support LIMIT clause."));
    }
    let select = insert::with_literals_cast(&stmt.select, &target.schema);
    let bound = select::bind(&select, Purpose::Into(target), &Relations::of_catalog(catalog, settings))?;
    if bound.table {
        return Err(at(Error::statement(format!(
            "Incompatible data sink and query result. Data sink ({}) type is KSTREAM but select query result is KTABLE.",
            target.name
        ))));
    }
    let named = |columns: &[Column]| columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect::<Vec<_>>();
    let same = named(&bound.key) == named(&target.schema.key) && named(&bound.value) == named(&target.schema.value);
    if !same {
        let result = crate::types::Schema { key: bound.key, value: bound.value };
        return Err(at(Error::statement(format!(
            "Incompatible schema between results and sink.\nResult schema is {result}\nSink schema is {}",
            target.schema
        ))));
    }
    let plan = query(query_id, bound, Source::clone(target), None)?;
    check_loops(&plan, catalog, settings).map_err(at)?;
    Ok(plan)
}

/// Neither the output nor the late rows of a query come back to it, unless that is asked for.
fn check_loops(plan: &QueryPlan, catalog: &Catalog, settings: &Settings) -> Result<()> {
    if settings.allow_loops {
        return Ok(());
    }
    let late = plan.late_topic.as_ref().map(|(topic, _)| topic.as_str());
    let writes: Vec<&str> = [plan.sink.topic.as_str()].into_iter().chain(late).collect();
    loops::check(&plan.id, &plan.reads, &writes, catalog)
}

fn query(id: &str, bound: Bound, source: Source, create_topic: Option<TopicRequest>) -> Result<QueryPlan> {
    let columns = (source.schema.key.clone(), source.schema.value.clone());
    let stamp = sink::stamp(&source)?;
    let logical = Sink::plan(Some(source.name.clone()), columns, source.window, bound.table, stamp, bound.plan);
    let reads = bound.reads;
    Ok(QueryPlan { id: id.to_owned(), logical, sink: source, create_topic, reads, late_topic: None })
}

/// Plans SELECT ... EMIT.
pub fn push_query(select: &Select, catalog: &Catalog, settings: &Settings) -> Result<TransientPlan> {
    let bound = select::bind(select, Purpose::Push, &Relations::of_catalog(catalog, settings))?;
    let columns = (vec![], bound.value.clone());
    let logical = Sink::plan(None, columns, bound.window, bound.table, None, bound.plan);
    let reads = bound.reads;
    Ok(TransientPlan { logical, columns: bound.value, table: bound.table, limit: select.limit, reads })
}

/// What ksqlDB's own queries without EMIT cannot do.
fn check_pull(select: &Select) -> Result<()> {
    let clauses = [
        ("JOIN", !select.joins.is_empty()),
        ("WINDOW", select.window.is_some()),
        ("GROUP BY", !select.group_by.is_empty()),
        ("PARTITION BY", !select.partition_by.is_empty()),
        ("HAVING", select.having.is_some()),
    ];
    match clauses.into_iter().find(|(_, written)| *written) {
        None => Ok(()),
        Some((clause, _)) => Err(Error::statement(format!(
            "Pull queries don't support {clause} clauses. See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if you \
             intended to issue a push query."
        ))
        .with_hint("SET 'tidegate.dialect' = 'tidegate' allows any SQL over history")),
    }
}

/// Pull queries that ksqlDB refuses although their clauses are valid.
fn check_pulled(select: &Select, bound: &Bound, settings: &Settings) -> Result<()> {
    if settings.strict {
        pull::check_strictly(select, if bound.table { &bound.value } else { &[] })?;
    }
    match bound.source.kind {
        SourceKind::Stream if !settings.pull_stream => Err(Error::statement(
            "Pull queries on streams are disabled. To create a push query on the stream, add EMIT CHANGES to the end. To \
             enable pull queries on streams, set the ksql.query.pull.stream.enabled config to 'true'.",
        )),
        SourceKind::Table if settings.strict && bound.source.created_by.is_none() && !bound.source.read_only => {
            Err(pull::not_queryable(&bound.source))
        }
        _ => Ok(()),
    }
}

/// Plans a SELECT without EMIT in ksqlDB's grammar.
pub fn batch_query(select: &Select, catalog: &Catalog, settings: &Settings) -> Result<BatchPlan> {
    if settings.strict {
        check_pull(select)?;
    }
    pull::check_settings(select, settings)?;
    let bound = select::relational::bind_select(select, catalog, settings)?;
    if pull::is_pull_shape(select) {
        check_pulled(select, &bound, settings)?;
    }
    let mut logical = bound.plan;
    if let Some(limit) = select.limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        logical = LogicalPlanBuilder::from(logical).limit(0, Some(limit))?.build()?;
    }
    Ok(BatchPlan { logical, columns: bound.value, reads: bound.reads })
}

/// Plans a query over history beyond one SELECT.
pub fn relational_query(query: &Relational, catalog: &Catalog, settings: &Settings) -> Result<BatchPlan> {
    let (rows, reads) = select::relational::bind(query, catalog, settings)?;
    Ok(BatchPlan { logical: rows.plan, columns: rows.columns, reads })
}

/// `QUERY_ID = 'name'`: letters, digits and underscores, and none of the engine's own beginnings.
fn query_id_of(properties: &Properties, catalog: &Catalog) -> Result<Option<String>> {
    const OWN: [&str; 4] = ["INSERTQUERY_", "CTAS_", "CSAS_", "CST_"];
    let mut id = None;
    for (name, value) in properties {
        let at = |text: String| Error::statement(text).at(name.span);
        match value {
            PropertyValue::Text(text) if name.value == "QUERY_ID" => id = Some((text.to_uppercase(), name.span)),
            _ => {
                return Err(at(format!(
                    "Failed to prepare statement: Invalid config variable(s) in the WITH clause: {}",
                    name.value
                )));
            }
        }
    }
    let Some((id, span)) = id else { return Ok(None) };
    let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain {
        let text = format!("Query IDs may contain only alphanumeric characters and '_'. Got: '{id}'");
        return Err(Error::statement(text).at(span));
    }
    if let Some(own) = OWN.iter().find(|own| id.starts_with(**own)) {
        return Err(Error::statement(format!("Query IDs must not start with {own}")).at(span));
    }
    if catalog.query(&id).is_some() {
        return Err(Error::statement(format!("Query ID '{id}' already exists.")).at(span));
    }
    Ok(Some(id))
}
