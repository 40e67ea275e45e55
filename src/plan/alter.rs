//! `ALTER STREAM|TABLE name ADD [COLUMN] column type, ...`: columns at the end of the value.
//!
//! Queries that read the source keep the columns that they were planned with; statements from now on see the new ones.

use crate::catalog::{Catalog, Source};
use crate::error::{Error, Result};
use crate::parse::statement::Alter;
use crate::plan::formats;
use crate::plan::source::word;
use crate::types::{Column, pseudo};

/// The source as it is after the statement.
pub fn alter_source(stmt: &Alter, catalog: &Catalog, sql: &str) -> Result<Source> {
    let at = |e: Error| e.at(stmt.name.span);
    let name = &stmt.name.value;
    let old = catalog.require(name).map_err(at)?;
    let (kind, is) = (word(stmt.kind), word(old.kind));
    if old.kind != stmt.kind {
        let (is, kind) = (is.to_uppercase(), kind.to_uppercase());
        let text = format!("Incompatible data source type is {is}, but statement was ALTER {kind}");
        return Err(at(Error::statement(text)));
    }
    if old.read_only {
        let text = format!("Cannot alter {kind} '{name}': ALTER operations are not supported on source {kind}s.");
        return Err(at(Error::statement(text)));
    }
    if old.created_by.is_some() {
        return Err(at(Error::statement("ALTER command is not supported for CREATE ... AS statements.")
            .with_hint("CREATE OR REPLACE with a query that selects more columns adds them")));
    }
    let mut new = Source::clone(old);
    for def in &stmt.columns {
        let fail = |text: String| Err(Error::statement(text).at(def.name.span));
        let column = Column::value(&def.name.value, def.ty.clone());
        if pseudo::ALL.contains(&column.name.as_str()) {
            return fail(format!(
                "'{}' is a reserved column name. You cannot use it as a name for a column.",
                column.name
            ));
        }
        if new.schema.find(&column.name).is_some() {
            return fail(format!(
                "Cannot add column `{}` to schema. A column with the same name already exists.",
                column.name
            ));
        }
        new.schema.value.push(column);
    }
    formats::check_value(new.value_format, &new.schema.value).map_err(at)?;
    if new.unwrapped_value && new.schema.value.len() > 1 {
        return Err(at(Error::statement("'WRAP_SINGLE_VALUE' is only valid for single-field value schemas")));
    }
    // The schema that was registered lacks the new columns: the next writer registers another.
    if new.value_wire.schema.as_ref().is_some_and(|schema| !schema.by_id) {
        new.value_wire.schema = None;
    }
    new.sql = format!("{};\n{sql}", old.sql);
    Ok(new)
}
