//! What exists, and what the server can do, in the tables of Flight SQL.
//!
//! The catalogue is the service, its one schema is `public`, as for Postgres's clients; names are as the engine has them. A
//! pattern in lower case finds a name in upper case, as a name without quotes does in a statement.

use super::caller::Caller;
use super::{field, on_engine, status};
use crate::catalog::{Catalog, Source};
use crate::error::{Error, Result};
use crate::parse::statement::SourceKind;
use crate::types::{SqlType, pseudo};
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    Command, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetTables, Nullable, Searchable, SqlInfo,
    SqlSupportedTransaction, XdbcDataType,
};
use std::sync::Arc;
use tonic::Status;

const PUBLIC: &str = "public";
/// Longest DECIMAL that is described.
const DECIMAL_DIGITS: i32 = crate::types::DECIMAL_PRECISION_MAX as i32;

/// The table that a command asks for; `None` = it asks for none.
pub(super) async fn table(caller: &Caller, command: &Command) -> Result<Option<RecordBatch>, Status> {
    if !is_of_catalog(command) {
        return Ok(None);
    }
    let (app, session, command) = (caller.app.clone(), caller.session.clone(), command.clone());
    on_engine(move || {
        let facts = Facts {
            service: app.engine.config().service_id.clone(),
            catalog: app.engine.visible_catalog(&session),
            read_only: app.engine.config().is_read_only(),
        };
        facts.table(command).map(Some).map_err(|error| status::of(&error, None))
    })
    .await
}

fn is_of_catalog(command: &Command) -> bool {
    matches!(
        command,
        Command::CommandGetCatalogs(_)
            | Command::CommandGetDbSchemas(_)
            | Command::CommandGetTables(_)
            | Command::CommandGetTableTypes(_)
            | Command::CommandGetSqlInfo(_)
            | Command::CommandGetXdbcTypeInfo(_)
            | Command::CommandGetPrimaryKeys(_)
            | Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_)
    )
}

struct Facts {
    service: String,
    /// What the user may see.
    catalog: Arc<Catalog>,
    read_only: bool,
}

impl Facts {
    fn table(&self, command: Command) -> Result<RecordBatch> {
        let table = match command {
            Command::CommandGetCatalogs(_) => {
                let mut catalogs = GetCatalogsBuilder::new();
                catalogs.append(&self.service);
                catalogs.build()
            }
            Command::CommandGetDbSchemas(command) => self.schemas(command),
            Command::CommandGetTables(command) => self.tables(command),
            Command::CommandGetTableTypes(command) => {
                let mut types = command.into_builder();
                [SourceKind::Stream, SourceKind::Table].iter().for_each(|kind| types.append(kind_name(*kind)));
                types.build()
            }
            Command::CommandGetSqlInfo(command) => {
                self.info().build().and_then(|infos| command.into_builder(&infos).build())
            }
            Command::CommandGetXdbcTypeInfo(command) => {
                types().build().and_then(|types| command.into_builder(&types).build())
            }
            Command::CommandGetPrimaryKeys(command) => Ok(self.primary_keys(&command)?),
            // There are no foreign keys.
            _ => Ok(RecordBatch::new_empty(foreign_keys())),
        };
        table.map_err(|error| Error::bug("a table of the catalogue cannot be built").because(error))
    }

    fn schemas(&self, command: CommandGetDbSchemas) -> Result<RecordBatch, arrow_flight::error::FlightError> {
        let mut schemas = command.into_builder();
        schemas.append(&self.service, PUBLIC);
        schemas.build()
    }

    fn tables(&self, command: CommandGetTables) -> Result<RecordBatch, arrow_flight::error::FlightError> {
        let pattern = command.table_name_filter_pattern.clone();
        let is_exact = pattern.as_ref().is_none_or(|pattern| self.catalog.source(pattern).is_some());
        let upper = pattern.filter(|_| !is_exact).map(|pattern| pattern.to_uppercase());
        let table_name_filter_pattern = upper.or(command.table_name_filter_pattern.clone());
        let mut tables = CommandGetTables { table_name_filter_pattern, ..command }.into_builder();
        for source in self.catalog.all() {
            let schema = Schema::new(columns(source));
            tables.append(&self.service, PUBLIC, &source.name, kind_name(source.kind), &schema)?;
        }
        tables.build()
    }

    fn primary_keys(&self, command: &CommandGetPrimaryKeys) -> Result<RecordBatch, ArrowError> {
        let is_here = command.catalog.as_ref().is_none_or(|catalog| *catalog == self.service)
            && command.db_schema.as_ref().is_none_or(|schema| schema == PUBLIC);
        let source = self.catalog.source(&command.table).or_else(|| self.catalog.source(&command.table.to_uppercase()));
        let source = source.filter(|source| is_here && source.kind == SourceKind::Table);
        let keys: Vec<(&str, &str)> = source
            .iter()
            .flat_map(|source| {
                let window = source.window.is_some().then_some(pseudo::WINDOWSTART);
                let names = source.schema.key.iter().map(|column| column.name.as_str()).chain(window);
                names.map(|name| (source.name.as_str(), name))
            })
            .collect();
        let texts = |text: &dyn Fn(&(&str, &str)) -> String| -> ArrayRef {
            Arc::new(keys.iter().map(|key| Some(text(key))).collect::<StringArray>())
        };
        let columns = vec![
            texts(&|_| self.service.clone()),
            texts(&|_| PUBLIC.to_owned()),
            texts(&|(table, _)| (*table).to_owned()),
            texts(&|(_, column)| (*column).to_owned()),
            texts(&|(table, _)| format!("{table}_KEY")),
            Arc::new((1..=keys.len() as i32).collect::<Int32Array>()) as ArrayRef,
        ];
        RecordBatch::try_new(primary_key_columns(), columns)
    }

    fn info(&self) -> SqlInfoDataBuilder {
        let mut infos = SqlInfoDataBuilder::new();
        infos.append(SqlInfo::FlightSqlServerName, "Tidegate");
        infos.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        infos.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
        infos.append(SqlInfo::FlightSqlServerReadOnly, self.read_only);
        infos.append(SqlInfo::FlightSqlServerSql, true);
        infos.append(SqlInfo::FlightSqlServerSubstrait, false);
        infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
        infos.append(SqlInfo::FlightSqlServerCancel, true);
        infos.append(SqlInfo::FlightSqlServerBulkIngestion, true);
        infos.append(SqlInfo::FlightSqlServerIngestTransactionsSupported, false);
        infos.append(SqlInfo::FlightSqlServerStatementTimeout, 0_i32);
        infos.append(SqlInfo::FlightSqlServerTransactionTimeout, 0_i32);
        infos.append(SqlInfo::SqlDdlCatalog, false);
        infos.append(SqlInfo::SqlDdlSchema, false);
        infos.append(SqlInfo::SqlDdlTable, true);
        // Names without quotes are upper-cased, names in quotes stay: SqlSupportedCaseSensitivity.
        infos.append(SqlInfo::SqlIdentifierCase, 2_i32);
        infos.append(SqlInfo::SqlQuotedIdentifierCase, 1_i32);
        infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        infos.append(SqlInfo::SqlAllTablesAreSelectable, true);
        infos.append(SqlInfo::SqlSearchStringEscape, "\\");
        infos.append(SqlInfo::SqlSupportsColumnAliasing, true);
        infos.append(SqlInfo::SqlSupportsTableCorrelationNames, true);
        infos.append(SqlInfo::SqlSupportsExpressionsInOrderBy, true);
        infos.append(SqlInfo::SqlSupportsOrderByUnrelated, true);
        infos.append(SqlInfo::SqlCorrelatedSubqueriesSupported, true);
        infos.append(SqlInfo::SqlSchemaTerm, "schema");
        infos.append(SqlInfo::SqlCatalogTerm, "service");
        infos.append(SqlInfo::SqlCatalogAtStart, true);
        infos.append(SqlInfo::SqlSelectForUpdateSupported, false);
        infos.append(SqlInfo::SqlStoredProceduresSupported, false);
        infos.append(SqlInfo::SqlTransactionsSupported, false);
        infos.append(SqlInfo::SqlBatchUpdatesSupported, true);
        infos.append(SqlInfo::SqlSavepointsSupported, false);
        infos.append(SqlInfo::SqlNamedParametersSupported, false);
        infos.append(SqlInfo::SqlLocatorsUpdateCopy, false);
        infos
    }
}

fn kind_name(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "STREAM",
        SourceKind::Table => "TABLE",
    }
}

/// The columns of a source as `SELECT *` returns them.
fn columns(source: &Source) -> Vec<Field> {
    let window = source.window.iter().flat_map(|_| [pseudo::WINDOWSTART, pseudo::WINDOWEND]);
    let key = source.schema.key.iter().map(|column| field(&column.name, &column.ty));
    let window = window.map(|name| field(name, &SqlType::Bigint));
    let value = source.schema.value.iter().map(|column| field(&column.name, &column.ty));
    key.chain(window).chain(value).collect()
}

fn primary_key_columns() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

fn foreign_keys() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

fn types() -> XdbcTypeInfoDataBuilder {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let quote = Some("'".to_owned());
    let scalar = |name: &str, ty, size, quote: Option<String>| XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: ty,
        column_size: size,
        literal_prefix: quote.clone(),
        literal_suffix: quote,
        nullable: Nullable::NullabilityNullable,
        case_sensitive: name == "STRING",
        searchable: Searchable::Full,
        unsigned_attribute: Some(false),
        local_type_name: Some(name.to_owned()),
        sql_data_type: ty,
        ..XdbcTypeInfo::default()
    };
    types.append(scalar("BOOLEAN", XdbcDataType::XdbcBit, Some(1), None));
    types.append(scalar("INTEGER", XdbcDataType::XdbcInteger, Some(10), None));
    types.append(scalar("BIGINT", XdbcDataType::XdbcBigint, Some(19), None));
    types.append(scalar("DOUBLE", XdbcDataType::XdbcDouble, Some(15), None));
    types.append(XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        fixed_prec_scale: true,
        minimum_scale: Some(0),
        maximum_scale: Some(DECIMAL_DIGITS),
        num_prec_radix: Some(10),
        ..scalar("DECIMAL", XdbcDataType::XdbcDecimal, Some(DECIMAL_DIGITS), None)
    });
    types.append(scalar("STRING", XdbcDataType::XdbcVarchar, None, quote.clone()));
    types.append(scalar("BYTES", XdbcDataType::XdbcVarbinary, None, None));
    types.append(scalar("DATE", XdbcDataType::XdbcDate, Some(10), quote.clone()));
    types.append(scalar("TIME", XdbcDataType::XdbcTime, Some(12), quote.clone()));
    types.append(scalar("TIMESTAMP", XdbcDataType::XdbcTimestamp, Some(23), quote));
    types
}
