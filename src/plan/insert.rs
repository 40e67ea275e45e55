//! `INSERT INTO name [(columns)] VALUES (...)`: one record of constants; and what INSERT INTO does to constants.

use crate::catalog::base_name;
use crate::catalog::topics::{TopicRules, TopicUse};
use crate::catalog::{Catalog, Source, carried};
use crate::error::{Error, Result};
use crate::parse::statement::{InsertValues, Name, Select, SelectItem, SourceKind};
use crate::plan::scalar;
use crate::plan::select::expression;
use crate::plan::source::word;
use crate::types::nearest;
use crate::types::{Column, Role, Schema, SqlType, pseudo, quoted};
use datafusion::common::ScalarValue;
use sqlparser::ast::{CastKind, DataType, ExactNumberInfo, Expr, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A record to be written.
#[derive(Clone, Debug)]
pub struct InsertPlan {
    /// Where.
    pub source: Arc<Source>,
    /// One value a key column.
    pub key: Vec<ScalarValue>,
    /// One value a value column.
    pub value: Vec<ScalarValue>,
    /// ROWTIME, if it was given.
    pub timestamp: Option<i64>,
}

/// Plans INSERT INTO ... VALUES: each of its rows.
pub fn insert_values(stmt: &InsertValues, catalog: &Catalog, topics: &TopicRules) -> Result<Vec<InsertPlan>> {
    let source = target(&stmt.target, catalog, topics)?;
    let names = column_names(stmt, &source)?;
    stmt.rows.iter().map(|values| insert_row(stmt, values, &names, source.clone())).collect()
}

fn insert_row(stmt: &InsertValues, values: &[Expr], names: &[Name], source: Arc<Source>) -> Result<InsertPlan> {
    if names.len() != values.len() {
        let names: Vec<String> = names.iter().map(|n| quoted(&n.value)).collect();
        let got: Vec<String> = values.iter().map(expression::text).collect();
        // ksqlDB prints the columns that the statement lists, which are none here.
        let text = format!("Expected a value for each column. Expected Columns: []. Got [{}]", got.join(", "));
        return Err(failed(&source, Error::statement(text))
            .with_detail(format!("the columns are {}", names.join(", ")))
            .at(stmt.target.span));
    }
    let mut given: BTreeMap<&str, ScalarValue> = BTreeMap::new();
    let mut timestamp = None;
    let mut seen = BTreeSet::new();
    for (name, expr) in names.iter().zip(values) {
        let at = |e: Error| e.at(name.span);
        if !seen.insert(name.value.as_str()) {
            return Err(at(Error::statement(format!("Duplicate column names: {}", name.value))));
        }
        if name.value == pseudo::ROWTIME {
            let value = scalar::constant(expr, &SqlType::Bigint).map_err(at)?;
            timestamp = Some(insert_time(&value).map_err(at)?);
            continue;
        }
        let column = column(name, &source)?;
        given.insert(name.value.as_str(), value(expr, column).map_err(|e| at(failed(&source, e)))?);
    }
    insert_constants(source, given, timestamp)
}

/// The ROWTIME that is given for a row.
pub fn insert_time(value: &ScalarValue) -> Result<i64> {
    match value {
        ScalarValue::Int64(Some(ms @ 0..)) => Ok(*ms),
        _ => Err(Error::statement("ROWTIME must be a non-negative number of milliseconds")),
    }
}

/// A row of values by column name, each of its column's type; columns without a value are NULL.
pub fn insert_constants(
    source: Arc<Source>,
    mut given: BTreeMap<&str, ScalarValue>,
    timestamp: Option<i64>,
) -> Result<InsertPlan> {
    check_key(&source, &given)?;
    let mut take = |columns: Vec<&Column>| -> Result<Vec<ScalarValue>> {
        columns.into_iter().map(|c| given.remove(c.name.as_str()).map_or_else(|| null(&c.ty), Ok)).collect()
    };
    let key = take(source.schema.key.iter().collect())?;
    let value = take(carried(&source.schema.value))?;
    Ok(InsertPlan { source, key, value, timestamp })
}

/// Numbers that are selected for DECIMAL columns become DECIMALs: ksqlDB fits literals, and nothing else, to the target.
pub(super) fn with_literals_cast(select: &Select, target: &Schema) -> Select {
    let mut select = select.clone();
    for item in &mut select.items {
        let SelectItem::Expr { expr, alias: Some(alias), .. } = item else { continue };
        let wanted = target.value.iter().find(|c| c.name == alias.value).map(|c| &c.ty);
        if let (Expr::Value(value), Some(SqlType::Decimal(p, s))) = (&*expr, wanted)
            && matches!(value.value, Value::Number(..))
        {
            let digits = ExactNumberInfo::PrecisionAndScale(u64::from(*p), i64::from(*s));
            let data_type = DataType::Decimal(digits);
            let literal = Box::new(expr.clone());
            *expr = Expr::Cast { kind: CastKind::Cast, expr: literal, data_type, array: false, format: None };
        }
    }
    select
}

/// The error of a row that is not written.
fn failed(source: &Source, error: Error) -> Error {
    let text = format!("Failed to insert values into '{}'. {}", source.name, error.message());
    error.reworded(text)
}

/// The value of a column.
fn value(expr: &Expr, column: &Column) -> Result<ScalarValue> {
    let refused = |error: Error| match scalar::typed_constant(expr) {
        Some((ty, text)) if ty.common(&column.ty).is_none_or(|both| both != column.ty) && !reads_text(&column.ty) => {
            let (expected, name) = (&column.ty, quoted(&column.name));
            let text = format!("Expected type {expected} for field {name} but got {}({text})", base_name(&ty));
            match error.hint() {
                Some(hint) => Error::statement(text).with_hint(hint),
                None => Error::statement(text),
            }
        }
        _ => error,
    };
    scalar::constant(expr, &column.ty).map_err(refused)
}

/// Types that are read out of a text: what is wrong with one is said of the text.
fn reads_text(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Bytes)
}

fn null(ty: &SqlType) -> Result<ScalarValue> {
    Ok(ScalarValue::try_from(&ty.arrow())?)
}

fn target(name: &Name, catalog: &Catalog, topics: &TopicRules) -> Result<Arc<Source>> {
    let at = |text: String| Error::statement(text).at(name.span);
    let Some(source) = catalog.source(&name.value) else {
        let text = format!("Cannot insert values into an unknown stream/table: {}", quoted(&name.value));
        let near = catalog.all().find(|s| s.name.eq_ignore_ascii_case(&name.value));
        return Err(at(match near {
            Some(near) if near.name == near.name.to_uppercase() => {
                format!("{text}\nDid you mean {}? Hint: try removing double quotes from the source name.", near.name)
            }
            Some(near) => format!(
                "{text}\nDid you mean \"{}\"? Hint: wrap the source name in double quotes to make it case-sensitive.",
                near.name
            ),
            None => text,
        }));
    };
    if source.window.is_some() {
        return Err(at("Cannot insert values into windowed stream/table!".to_owned()));
    }
    topics.check(&source.topic, TopicUse::InsertValues).map_err(|e| e.at(name.span))?;
    if source.read_only {
        return Err(at(format!("Cannot insert values into read-only {}: {}", word(source.kind), source.name)));
    }
    Ok(source.clone())
}

fn column_names(stmt: &InsertValues, source: &Source) -> Result<Vec<Name>> {
    if !stmt.columns.is_empty() {
        return Ok(stmt.columns.clone());
    }
    let all = source.schema.columns();
    Ok(all.map(|c| Name { value: c.name.clone(), span: stmt.target.span }).collect())
}

fn column<'a>(name: &Name, source: &'a Source) -> Result<&'a Column> {
    let at = |text: String| Error::statement(text).at(name.span);
    if [pseudo::ROWPARTITION, pseudo::ROWOFFSET].contains(&name.value.as_str()) {
        let error = at(format!("Inserting into column {} is not allowed.", quoted(&name.value)));
        return Err(failed(source, error));
    }
    match source.schema.find(&name.value) {
        None => {
            let error = failed(source, at(format!("Column name {} does not exist.", quoted(&name.value))));
            Err(match nearest(&name.value, source.schema.columns().map(|c| c.name.as_str())) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error,
            })
        }
        Some(column) if matches!(column.role, Role::Header(_)) => {
            Err(at(format!("Cannot insert into HEADER columns: {}", name.value)))
        }
        Some(column) => Ok(column),
    }
}

fn check_key(source: &Source, given: &BTreeMap<&str, ScalarValue>) -> Result<()> {
    if source.kind == SourceKind::Stream {
        return Ok(());
    }
    let key = &source.schema.key;
    let has = |c: &Column| given.get(c.name.as_str()).is_some_and(|v| !v.is_null());
    // A key of several columns is an object: a NULL field does not make it absent.
    let fine =
        if key.len() == 1 { key.iter().all(has) } else { key.iter().all(|c| given.contains_key(c.name.as_str())) };
    if fine {
        return Ok(());
    }
    let names: Vec<&str> = key.iter().map(|c| c.name.as_str()).collect();
    let text = format!("Value for primary key column(s) {} is required for tables", names.join(", "));
    Err(failed(source, Error::statement(text)))
}
