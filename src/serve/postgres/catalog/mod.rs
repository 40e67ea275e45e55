//! pg_catalog and information_schema: the engine's sources as Postgres's clients look for them.
//!
//! A statement that names a table of the catalogue, or that reads nothing and calls only functions of Postgres, is planned by
//! DataFusion over tables of one moment; it never reads a topic. What it has no word for is rewritten (`rewrite`), and a few
//! statements of drivers are recognised as a whole (`known`). A statement that cannot be planned is an error that names what is
//! missing, and is logged with the name of the client.

mod columns;
mod facts;
mod functions;
mod information_schema;
mod keys;
mod known;
mod rewrite;
mod rows;
mod table;

pub(super) use facts::{Facts, Function, declared_type, type_number};

use super::errors::{Failure, LIMIT, NOT_SUPPORTED};
use crate::catalog::Catalog;
use crate::engine::result::rows::OutputColumn;
use crate::error::Error;
use crate::types::{SqlType, cell};
use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use columns::TABLES;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as Parsed;
use futures::StreamExt;
use rewrite::Named;
use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Stack of a planner whose functions take much of it without optimisation.
const STACK_BYTES: usize = 32 * 1024 * 1024;
/// Longest statement of the catalogue: those of tools have a few kilobytes.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Memory of one statement's sorts and joins.
const MEMORY_BYTES: usize = 64 * 1024 * 1024;
/// Most rows of a result: no client needs a cross join of the catalogue with itself.
const ROWS_MAX: usize = 100_000;
/// Longest time of a statement.
const PATIENCE: Duration = Duration::from_secs(10);

/// A result.
pub(super) struct Answer {
    pub(super) columns: Vec<OutputColumn>,
    pub(super) arrays: Vec<ArrayRef>,
}

/// The statement, if it is one of the catalogue.
pub(super) fn statement(text: &str, catalog: &Catalog) -> Option<Statement> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let parsed = stacker::grow(STACK_BYTES, || Parser::parse_sql(&PostgreSqlDialect {}, text).ok())?;
    let [statement @ Statement::Query(_)] = parsed.as_slice() else { return None };
    let named = Named::of(statement);
    let is_ours = match named.tables.is_empty() {
        true => named.is_postgres || named.functions.iter().all(|function| functions::is_known(function)),
        false => {
            named.tables.iter().any(|table| rewrite::is_table(table) && catalog.source(&table.to_uppercase()).is_none())
        }
    };
    is_ours.then(|| statement.clone())
}

/// Whether a statement reads the engine's functions, which take a moment to list.
pub(super) fn reads_functions(text: &str) -> bool {
    let text = text.to_lowercase();
    text.contains("pg_proc") || text.contains("routines")
}

/// Runs it.
pub(super) fn run(text: &str, statement: Statement, facts: Facts) -> Result<Answer, Failure> {
    if let Some(answer) = known::answer(text, &facts) {
        return Ok(answer);
    }
    let (application, database) = (facts.application.clone(), facts.database.clone());
    let answer = stacker::grow(STACK_BYTES, || planned(statement, Arc::new(facts)));
    answer.inspect_err(|failure| {
        if failure.state == NOT_SUPPORTED {
            tracing::info!(application, database, statement = text, error = %failure.error, "unknown catalogue statement");
        }
    })
}

fn planned(mut statement: Statement, facts: Arc<Facts>) -> Result<Answer, Failure> {
    if let Some(names) = rewrite::columns_of_nothing(&statement) {
        let column = |name: String| OutputColumn { name, ty: SqlType::String };
        let columns: Vec<OutputColumn> = names.into_iter().map(column).collect();
        let arrays = columns.iter().map(|_| new_empty_array(&DataType::Utf8)).collect();
        return Ok(Answer { columns, arrays });
    }
    let named = Named::of(&statement);
    rewrite::rewrite(&mut statement);
    let context = context(&named, &facts)?;
    let handle = tokio::runtime::Handle::current();
    let run = async {
        let plan = context.state().statement_to_plan(Parsed::Statement(Box::new(statement))).await?;
        let mut stream = context.execute_logical_plan(plan).await?.execute_stream().await?;
        let (schema, mut batches, mut rows) = (stream.schema(), Vec::<RecordBatch>::new(), 0);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            batches.push(batch);
            if rows > ROWS_MAX {
                break;
            }
        }
        datafusion::common::Result::Ok((schema, batches, rows))
    };
    let done = handle.block_on(async { tokio::time::timeout(PATIENCE, run).await });
    let (schema, batches, rows) = match done {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => return Err(unplanned(&error)),
        Err(_) => return Err(Failure::new(LIMIT, "the statement about the catalogue takes too long")),
    };
    if rows > ROWS_MAX {
        return Err(Failure::new(LIMIT, format!("the catalogue returns at most {ROWS_MAX} rows")));
    }
    let whole = concat_batches(&schema, &batches).map_err(Error::from)?;
    let column = |field: &Arc<arrow::datatypes::Field>| OutputColumn {
        name: rewrite::unmarked(field.name()).to_owned(),
        ty: SqlType::from_arrow(field.data_type()).unwrap_or(SqlType::String),
    };
    let columns: Vec<OutputColumn> = schema.fields().iter().map(column).collect();
    let arrays = whole.columns().iter().zip(&columns).map(|(array, column)| cell::settled(array, &column.ty)).collect();
    Ok(Answer { columns, arrays })
}

fn context(named: &Named, facts: &Arc<Facts>) -> Result<SessionContext, Failure> {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(MEMORY_BYTES, 1.0).build_arc();
    let config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let context = SessionContext::new_with_config_rt(config, runtime.map_err(Error::from)?);
    functions::all(facts).for_each(|function| context.register_udf(function));
    if let Ok(now) = context.udf("now") {
        context.register_udf(ScalarUDF::clone(&now).with_aliases(functions::NOW));
    }
    let tables: BTreeSet<&String> = named.tables.iter().collect();
    for table in tables {
        let bare = table.strip_prefix("pg_catalog.").unwrap_or(table);
        let Some((name, spec)) = TABLES.iter().find(|(name, _)| *name == bare) else { continue };
        let mut found = rows::rows(name, facts);
        found.extend(information_schema::rows(name, facts));
        let batch = table::batch(spec, &found)?;
        let provider = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(Error::from)?;
        context.register_table(TableReference::bare(*name), Arc::new(provider)).map_err(Error::from)?;
    }
    Ok(context)
}

/// The planner's error, which names what is missing.
fn unplanned(error: &datafusion::error::DataFusionError) -> Failure {
    let text = error.strip_backtrace();
    let text = text.lines().next().unwrap_or_default();
    let text = ["Error during planning: ", "This feature is not implemented: ", "Schema error: "]
        .iter()
        .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text));
    Failure::new(NOT_SUPPORTED, format!("this statement about the catalogue is not supported: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            database: "default_".to_owned(),
            user: "me".to_owned(),
            is_admin: true,
            application: "test".to_owned(),
            process: 7,
            settings: vec![("TimeZone".to_owned(), "UTC".to_owned())],
            catalog: Arc::default(),
            functions: Vec::new(),
        }
    }

    fn answer(text: &str) -> Result<Vec<String>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let statement = statement(text, &Catalog::default()).unwrap_or_else(|| panic!("{text}: not the catalogue's"));
        let text = text.to_owned();
        let (_guard, facts) = (runtime.enter(), facts());
        let answer = std::thread::scope(|scope| {
            let handle = runtime.handle().clone();
            scope
                .spawn(move || {
                    let _guard = handle.enter();
                    run(&text, statement, facts)
                })
                .join()
                .unwrap()
        })?;
        let rows = answer.arrays.first().map_or(0, |array| array.len());
        let cell = |column: &ArrayRef, row: usize| cell::display(column, row).unwrap();
        let row = |row: usize| answer.arrays.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|");
        let names: Vec<_> = answer.columns.iter().map(|column| column.name.clone()).collect();
        Ok(std::iter::once(names.join("|")).chain((0..rows).map(row)).collect())
    }

    #[test]
    fn what_needs_no_source_is_the_catalogue_s() {
        assert_eq!(answer("SELECT 1, 1, 'a' AS x").unwrap(), ["?column?|?column?|x", "1|1|a"]);
        assert_eq!(
            answer("select pg_catalog.current_schema(), current_user").unwrap(),
            ["current_schema|current_user", "public|me"]
        );
        for text in ["SELECT UCASE('x')", "SELECT * FROM events", "SELECT COUNT(*) FROM pg_own"] {
            assert!(statement(text, &Catalog::default()).is_none(), "{text}");
        }
    }

    #[test]
    fn casts_to_numbers_of_the_catalogue_are_looked_up() {
        let text = "SELECT 'pg_class'::regclass::oid, 23::regtype::text, 'int4'::regtype::oid, 1700::regtype";
        assert_eq!(answer(text).unwrap()[1], "1259|integer|23|numeric");
        let text =
            "SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY (current_schemas(true)) ORDER BY 1";
        assert_eq!(answer(text).unwrap(), ["nspname", "pg_catalog", "public"]);
        let text = "SELECT typname FROM pg_type WHERE oid = ANY('{16,20}') AND typname OPERATOR(pg_catalog.~) '^b' COLLATE pg_catalog.default";
        assert_eq!(answer(text).unwrap(), ["typname", "bool"]);
    }

    #[test]
    fn tables_that_are_always_empty_are_not_planned() {
        let text = "SELECT polname, CASE polcmd WHEN 'r' THEN 'x' END AS cmd, array(SELECT rolname FROM pg_roles) FROM pg_policy";
        assert_eq!(answer(text).unwrap(), ["polname|cmd|array"]);
        let text = "SELECT pubname FROM pg_publication UNION SELECT c.relname FROM pg_class c, pg_publication_rel r";
        assert_eq!(answer(text).unwrap(), ["pubname"]);
        assert_eq!(answer("SELECT COUNT(*) AS n FROM pg_policy").unwrap(), ["n", "0"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let failure = answer("SELECT no_such_column FROM pg_class").unwrap_err();
        assert_eq!(failure.state, NOT_SUPPORTED);
        assert!(failure.error.message().contains("no_such_column"), "{}", failure.error);
    }
}
