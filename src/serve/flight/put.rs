//! Batches of a client: values of prepared statements, and rows in bulk.
//!
//! ```text
//! CommandPreparedStatementQuery    values that the statement of the handle has from then on
//! CommandPreparedStatementUpdate   a run for each row
//! CommandStatementIngest           INSERT of every row, in appends of ROWS_AT_ONCE
//! ```
//!
//! Rows that were written before one that fails stay written, and the error counts them.

use super::caller::{Caller, failed};
use super::statement::Prepared;
use super::{Messages, on_engine, status};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::serve::limits::{FLIGHT_PARAMETER_BYTES_MAX, FLIGHT_PARAMETER_ROWS_MAX};
use crate::serve::{App, stopping};
use crate::types::{Column, Role, SqlType, cell, pseudo};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Schema};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementIngest, TableExistsOption, TableNotExistOption};
use futures::{StreamExt, TryStreamExt, future};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tonic::Status;

/// Rows of one append: enough to share its cost, few enough for a stopping server to wait for.
const ROWS_AT_ONCE: usize = 1_024;

/// The batches of a request.
pub(super) struct Batches {
    batches: FlightRecordBatchStream,
    app: Arc<App>,
}

impl Batches {
    pub(super) fn new(messages: Messages<FlightData>, app: &Arc<App>) -> Batches {
        // Arrow's own client sends a command without values in a message that has a descriptor and no data.
        let with_data = messages.try_filter(|message| future::ready(!message.data_header.is_empty()));
        let batches = FlightRecordBatchStream::new_from_flight_data(with_data.map_err(FlightError::from));
        Batches { batches, app: app.clone() }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, Status> {
        let next = tokio::select! {
            next = self.batches.next() => next,
            () = self.app.stopping.ended(false) => return Err(status::of(&stopping::error(), None)),
        };
        next.transpose().map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            other => status::malformed("a batch", other),
        })
    }

    /// All values to bind as one batch; without a batch one that has no rows.
    async fn values(&mut self) -> Result<RecordBatch, Status> {
        let (mut all, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while let Some(batch) = self.next().await? {
            if batch.num_rows() == 0 {
                continue;
            }
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            if rows > FLIGHT_PARAMETER_ROWS_MAX || bytes > FLIGHT_PARAMETER_BYTES_MAX {
                let bytes_max = FLIGHT_PARAMETER_BYTES_MAX / 1024 / 1024;
                let text = format!(
                    "at most {FLIGHT_PARAMETER_ROWS_MAX} rows of values can be bound, of {bytes_max} MiB in all"
                );
                return Err(status::of(&Error::statement(text).with_hint("bind them in several calls"), None));
            }
            all.push(batch);
        }
        let schema = match (all.first(), self.batches.schema()) {
            (Some(batch), _) => batch.schema(),
            (None, Some(schema)) => schema.clone(),
            (None, None) => Arc::new(Schema::empty()),
        };
        concat_batches(&schema, &all).map_err(|error| status::malformed("a batch", error))
    }
}

/// Binds values to a prepared statement.
pub(super) async fn bind(prepared: &Prepared, batches: &mut Batches) -> Result<Prepared, Status> {
    let values = batches.values().await?;
    prepared.bound(values).map_err(|error| status::of(&error, None))
}

/// Carries out a prepared statement for every row of values; returns how many rows were written.
pub(super) async fn update(caller: &Caller, prepared: Arc<Prepared>, batches: &mut Batches) -> Result<i64, Status> {
    let (mut count, mut is_bound) = (0, false);
    while let Some(values) = batches.next().await? {
        if values.num_rows() == 0 {
            continue;
        }
        is_bound = true;
        let (app, prepared) = (caller.app.clone(), prepared.clone());
        count += on_engine(move || {
            let bound = prepared.bound(values).map_err(|error| status::of(&error, None))?;
            run_all(&app, &bound)
        })
        .await?;
    }
    if is_bound {
        return Ok(count);
    }
    // Without rows here it has the values that were bound before, or needs none.
    let app = caller.app.clone();
    on_engine(move || run_all(&app, &prepared)).await
}

/// Carries out a statement that returns no rows, for each row of values.
pub(super) fn run_all(app: &App, prepared: &Prepared) -> Result<i64, Status> {
    let rows = prepared.rows().map_err(failed)?;
    let mut count = 0;
    for row in 0..rows {
        if app.stopping.ends(false) {
            return Err(status::of(&stopping::error(), None));
        }
        count += prepared.run(row).map_err(failed)?.update(&app.engine)?;
    }
    Ok(count)
}

/// Writes all rows of a request into a stream or table.
pub(super) async fn ingest(
    caller: &Caller,
    command: CommandStatementIngest,
    batches: &mut Batches,
) -> Result<i64, Status> {
    if command.temporary {
        return Err(status::unsupported("a temporary table", "leave the option out"));
    }
    if command.transaction_id.is_some() {
        return Err(status::unsupported("a transaction", "turn autocommit on"));
    }
    let first = batches.next().await?;
    let schema = first.as_ref().map(RecordBatch::schema).or_else(|| batches.batches.schema().cloned());
    let target = {
        let (app, session) = (caller.app.clone(), caller.session.clone());
        on_engine(move || target(&app, &command, schema.as_deref(), session).map_err(|error| status::of(&error, None)))
            .await?
    };
    let mut load = Load { app: caller.app.clone(), session: caller.session.clone(), target, rows: 0 };
    let mut next = first;
    while let Some(batch) = next {
        let (loaded, done) = on_engine(move || {
            let done = load.batch(&batch);
            Ok((load, done))
        })
        .await?;
        load = loaded;
        done.map_err(|error| status::of(&error, None))?;
        next = batches.next().await?;
    }
    Ok(load.rows as i64)
}

/// Where rows go.
struct Target {
    /// As in SQL.
    name: String,
    columns: Vec<Column>,
}

/// The stream or table of a request, which may have to be created.
fn target(app: &App, command: &CommandStatementIngest, schema: Option<&Schema>, session: Session) -> Result<Target> {
    let options = command.table_definition_options.unwrap_or_default();
    // A name that the user may not see is not found, as in a statement.
    let catalog = app.engine.visible_catalog(&session);
    let upper = command.table.to_uppercase();
    let known = catalog.source(&command.table).or_else(|| catalog.source(&upper)).map(|source| source.name.clone());
    let name = match known {
        Some(name) => {
            match options.if_exists() {
                TableExistsOption::Append | TableExistsOption::Unspecified => {}
                TableExistsOption::Fail => {
                    let error = Error::statement(format!("{name} already exists"));
                    return Err(error.with_hint("append to it: mode=\"append\" of adbc_ingest"));
                }
                TableExistsOption::Replace => {
                    let error = Error::statement("ingest cannot replace a stream or table");
                    return Err(error.with_hint("DROP it first, then create it"));
                }
            }
            name
        }
        None if options.if_not_exist() == TableNotExistOption::Create => {
            create(app, &upper, schema, &mut session.clone())?;
            upper
        }
        // The error names what is near.
        None => catalog.require(&upper)?.name.clone(),
    };
    let quoted = quoted(&name);
    app.engine.check_insert_target(&quoted, &session)?;
    let catalog = app.engine.catalog();
    let columns = catalog.require(&name)?.schema.columns().filter(|c| !matches!(c.role, Role::Header(_))).cloned();
    Ok(Target { name: quoted, columns: columns.collect() })
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Creates a stream with the columns of the data, in JSON.
fn create(app: &App, name: &str, schema: Option<&Schema>, session: &mut Session) -> Result<()> {
    let fields = schema.map(|schema| schema.fields().clone()).unwrap_or_default();
    let columns = fields.iter().map(|field| {
        let ty = value_type(field.data_type()).ok_or_else(|| {
            Error::statement(format!(
                "column {} has the type {}, which has no SQL type",
                field.name(),
                field.data_type()
            ))
            .with_hint("create the stream first, then append to it")
        })?;
        Ok(format!("{} {ty}", quoted(&field.name().to_uppercase())))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?.join(", ");
    let topic = name.replace('\'', "''");
    let text = format!(
        "CREATE STREAM {} ({columns}) WITH (KAFKA_TOPIC = '{topic}', VALUE_FORMAT = 'JSON', PARTITIONS = 1);",
        quoted(name)
    );
    app.engine.run(&text, session).map(drop)
}

fn value_type(ty: &DataType) -> Option<SqlType> {
    match ty {
        DataType::Dictionary(_, values) => SqlType::from_arrow(values),
        other => SqlType::from_arrow(other),
    }
}

/// Rows on their way into a stream or table. When it is dropped, the audit log gets one record of all of them.
struct Load {
    app: Arc<App>,
    session: Session,
    target: Target,
    rows: u64,
}

impl Drop for Load {
    fn drop(&mut self) {
        let details = json!({ "target": self.target.name, "rows": self.rows });
        self.app.engine.audit().note("inserts", self.session.principal(), details, Ok(()));
    }
}

impl Load {
    fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        let columns: Vec<_> = columns
            .map(|(field, values)| self.column(field.name(), values))
            .collect::<Result<_>>()
            .map_err(|error| self.counted(error))?;
        let (mut from, mut json) = (0, Vec::new());
        while from < batch.num_rows() {
            if self.app.stopping.ends(false) {
                return Err(stopping::error());
            }
            let until = batch.num_rows().min(from + ROWS_AT_ONCE);
            let rows = (from..until).map(|row| object(&columns, row, &mut json)).collect::<Result<Vec<_>>>()?;
            let results = self.app.engine.insert_rows(&self.target.name, &rows, &self.session);
            let first = self.rows;
            self.rows += results.iter().filter(|result| result.is_ok()).count() as u64;
            if let Some((at, error)) = results.iter().enumerate().find_map(|(at, r)| Some((at, r.as_ref().err()?))) {
                let failed = Error::new(error.kind(), format!("row {}: {error}", first + at as u64 + 1));
                return Err(self.counted(failed.with_code(error.code())));
            }
            from = until;
        }
        Ok(())
    }

    fn counted(&self, error: Error) -> Error {
        error.and_detail(&format!("{} rows were inserted", self.rows))
    }

    /// A column of the data under the name and in the type of the target's.
    fn column(&self, name: &str, values: &ArrayRef) -> Result<(String, ArrayRef)> {
        let upper = name.to_uppercase();
        if upper == pseudo::ROWTIME {
            return Ok((upper, converted(name, values, &SqlType::Bigint)?));
        }
        let columns = &self.target.columns;
        let found = columns.iter().find(|column| column.name == name);
        let found = found.or_else(|| columns.iter().find(|column| column.name == upper)).ok_or_else(|| {
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            Error::statement(format!("column {name} of the data is no column of {}", self.target.name))
                .with_hint(format!("its columns are {}", names.join(", ")))
        })?;
        Ok((quoted(&found.name), converted(name, values, &found.ty)?))
    }
}

/// The values in a column's type; one that does not fit is an error.
fn converted(name: &str, values: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(values, &ty.arrow(), &options).map_err(|cause| {
        Error::statement(format!("column {name} of the data cannot be converted from {} to {ty}", values.data_type()))
            .with_detail(cause.to_string())
            .because(cause)
    })
}

/// A row as `/inserts-stream` has it; `json` is kept for its memory.
fn object(columns: &[(String, ArrayRef)], row: usize, json: &mut Vec<u8>) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    for (name, values) in columns.iter().filter(|(_, values)| !values.is_null(row)) {
        json.clear();
        cell::write_json(values, row, json)?;
        let value = serde_json::from_slice(json).map_err(|cause| Error::bug("a value is no JSON").because(cause))?;
        object.insert(name.clone(), value);
    }
    Ok(object)
}
