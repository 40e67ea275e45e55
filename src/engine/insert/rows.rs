//! Rows that arrive as JSON objects, as `/inserts-stream` sends them: converted to values of their columns, encoded, and appended
//! in batches.
//!
//! A row means what INSERT VALUES with the same literals means: both convert scalars with [`scalar::constant`] and end in
//! [`plan::insert_constants`]. Every row has a result of its own. Rows of one batch share an append; only where the log refuses
//! one of them for its size are they appended one by one, so that it does not take the others with it.

use crate::catalog::Source;
use crate::catalog::topics::TopicUse;
use crate::engine::Engine;
use crate::engine::access::Role as UserRole;
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::format::{Encoder, Side};
use crate::log::{RecordSet, partition};
use crate::plan::{self, InsertPlan, scalar};
use crate::types::{Column, Role, SqlType, base64, pseudo};
use arrow::array::{ArrayRef, ListArray, MapArray, StructArray, new_empty_array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use serde_json::{Map, Number, Value};
use sqlparser::ast::{Expr, UnaryOperator, Value as Literal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How deep a value may nest: it is converted by recursion.
const NESTING_MAX: usize = 64;

/// What became of one row. Rows that fail for a common reason share the error.
pub(super) type RowResult = std::result::Result<(), Arc<Error>>;

/// Key and value as bytes; `None` = null.
pub(in crate::engine) type Payloads = (Option<Vec<u8>>, Option<Vec<u8>>);

/// A row as the log takes it.
pub(super) struct Encoded {
    /// Position in the batch.
    pub(super) row: usize,
    partition: i32,
    pub(super) timestamp: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

impl Engine {
    /// Checks that rows may be written to `target`, a name as in SQL: upper-cased unless it is in back quotes.
    pub fn check_insert_target(&self, target: &str, session: &Session) -> Result<()> {
        self.check_alive()?;
        self.require(session.principal(), UserRole::Writer, "INSERT")?;
        let name = name(target);
        let catalog = self.catalog();
        let source = catalog
            .source(&name)
            .ok_or_else(|| Error::statement(format!("Cannot insert values into an unknown stream/table: `{name}`")))?;
        self.check_topic(session, &source.topic)?;
        if source.window.is_some() || source.read_only {
            let what = if source.read_only { "read-only" } else { "windowed" };
            return Err(Error::statement(format!("Cannot insert into {name}: it is {what}")));
        }
        self.inner.topics.check(&source.topic, TopicUse::InsertValues)
    }

    /// Writes rows durably; returns the result of each. The audit log gets no record of them: the caller writes one for the whole
    /// request. Names of columns are upper-cased unless they are in back quotes. As in ksqlDB's `KeyValueExtractor`, every key
    /// column is required, and fields that are no columns are ignored.
    pub fn insert_rows(
        &self,
        target: &str,
        rows: &[Map<String, Value>],
        session: &Session,
    ) -> Vec<std::result::Result<(), Arc<Error>>> {
        self.guarded(|| self.insert_batch(target, rows, session)).unwrap_or_else(|error| {
            let error = Arc::new(error);
            rows.iter().map(|_| Err(error.clone())).collect()
        })
    }

    fn insert_batch(&self, target: &str, rows: &[Map<String, Value>], session: &Session) -> Result<Vec<RowResult>> {
        self.check_insert_target(target, session)?;
        let mut properties = session.properties().iter();
        properties.try_for_each(|(name, value)| self.inner.config.check_ceiling(name, value))?;
        let source = self.catalog().require(&name(target))?.clone();
        let mut results: Vec<RowResult> = rows.iter().map(|_| Ok(())).collect();
        let mut plans = Vec::new();
        for (row, object) in rows.iter().enumerate() {
            match planned(&source, object, true) {
                Ok(plan) => plans.push((row, plan)),
                Err(error) => results[row] = Err(Arc::new(error)),
            }
        }
        let encoded = encode(&*self.writable(&source, session)?, plans, self.inner.clock.now_ms(), &mut results)?;
        if encoded.is_empty() {
            return Ok(results);
        }
        match self.inner.log.append(&source.topic, &record_set(&encoded)) {
            Ok(()) => {}
            // A record is too large. The log measures all of them before it writes the first.
            Err(error) if error.kind() == Kind::Data && encoded.len() > 1 => {
                for one in &encoded {
                    let appended = self.inner.log.append(&source.topic, &record_set(std::slice::from_ref(one)));
                    results[one.row] = appended.map_err(Arc::new);
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                encoded.iter().for_each(|one| results[one.row] = Err(error.clone()));
            }
        }
        // The view of its query does not contain these rows: it is read again from the topic.
        self.view_of(&source).iter().for_each(|view| view.reset());
        Ok(results)
    }
}

/// A name as SQL reads it.
pub(super) fn name(text: &str) -> String {
    match text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        Some(quoted) => quoted.replace("``", "`"),
        None => text.to_uppercase(),
    }
}

/// The values of one row; one that `has_key` needs all columns of its key.
pub(super) fn planned(source: &Arc<Source>, row: &Map<String, Value>, has_key: bool) -> Result<InsertPlan> {
    let given: BTreeMap<String, &Value> = row.iter().map(|(column, value)| (name(column), value)).collect();
    for key in source.schema.key.iter().filter(|_| has_key) {
        if given.get(&key.name).is_none_or(|value| value.is_null()) {
            return Err(Error::statement(format!("Key field must be specified: {}", key.name)));
        }
    }
    let mut values = BTreeMap::new();
    let mut timestamp = None;
    for (column, value) in given {
        let convert =
            |ty: &SqlType| converted(value, ty, NESTING_MAX).map_err(|e| e.with_detail(format!("in column {column}")));
        match source.schema.find(&column) {
            Some(found) if matches!(found.role, Role::Header(_)) => {
                return Err(Error::statement(format!("Cannot insert into HEADER columns: {column}")));
            }
            Some(found) => {
                let value = convert(&found.ty)?;
                values.insert(found.name.as_str(), value);
            }
            None if column == pseudo::ROWTIME => timestamp = Some(plan::insert_time(&convert(&SqlType::Bigint)?)?),
            None => {}
        }
    }
    plan::insert_constants(source.clone(), values, timestamp)
}

/// A JSON value as a value of a column. What JSON and SQL write alike is taken as it is; all other scalars are converted as the
/// literals of INSERT VALUES are, with the same errors.
fn converted(value: &Value, ty: &SqlType, depth: usize) -> Result<ScalarValue> {
    if depth == 0 {
        return Err(Error::statement(format!("a value nests deeper than {NESTING_MAX} levels")));
    }
    let arrow = ty.arrow();
    Ok(match (value, ty) {
        (Value::Null, _) => ScalarValue::try_from(&arrow)?,
        (Value::Bool(value), SqlType::Boolean) => ScalarValue::Boolean(Some(*value)),
        (Value::String(text), SqlType::String) => ScalarValue::Utf8(Some(text.clone())),
        (Value::String(text), SqlType::Bytes) => ScalarValue::Binary(Some(bytes(text)?)),
        (Value::Number(number), SqlType::Integer | SqlType::Bigint) => match (number.as_i64(), ty) {
            (Some(number), SqlType::Bigint) => ScalarValue::Int64(Some(number)),
            (Some(number), _) if i32::try_from(number).is_ok() => ScalarValue::Int32(i32::try_from(number).ok()),
            _ => scalar::constant(&literal(value), ty)?,
        },
        (Value::Array(items), SqlType::Array(item)) => {
            let items = items.iter().map(|value| converted(value, item, depth - 1)).collect::<Result<Vec<_>>>()?;
            list(&arrow, items, item)?
        }
        (Value::Object(fields), SqlType::Map(key, item)) => {
            let keys = fields.keys().map(|name| converted(&Value::String(name.clone()), key, depth - 1));
            let keys = keys.collect::<Result<Vec<_>>>()?;
            let items = fields.values().map(|value| converted(value, item, depth - 1)).collect::<Result<Vec<_>>>()?;
            map(&arrow, (keys, key), (items, item))?
        }
        (Value::Object(fields), SqlType::Struct(known)) => structure(&arrow, fields, known, depth)?,
        (Value::Array(_) | Value::Object(_), _) => {
            return Err(Error::statement(format!("{value} is no value of type {ty}")));
        }
        (Value::Bool(_) | Value::Number(_) | Value::String(_), _) => scalar::constant(&literal(value), ty)?,
    })
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    base64::decode_basic(text, &mut out).ok_or_else(|| Error::statement(format!("invalid base64: {text}")))?;
    Ok(out)
}

/// The literal that SQL has for a JSON scalar.
fn literal(value: &Value) -> Expr {
    let number = |number: &Number| {
        let text = number.to_string();
        let digits = |text: &str| Expr::value(Literal::Number(text.to_owned(), false));
        match text.strip_prefix('-') {
            Some(positive) => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits(positive)) },
            None => digits(&text),
        }
    };
    match value {
        Value::Bool(value) => Expr::value(Literal::Boolean(*value)),
        Value::Number(value) => number(value),
        Value::String(text) => Expr::value(Literal::SingleQuotedString(text.clone())),
        Value::Null | Value::Array(_) | Value::Object(_) => Expr::value(Literal::Null),
    }
}

fn list(arrow: &DataType, items: Vec<ScalarValue>, item: &SqlType) -> Result<ScalarValue> {
    let DataType::List(field) = arrow else { return Err(Error::bug("an array is not a list")) };
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(field.clone(), offsets, array(items, item)?, None)?)))
}

fn map(
    arrow: &DataType,
    (keys, key): (Vec<ScalarValue>, &SqlType),
    (items, item): (Vec<ScalarValue>, &SqlType),
) -> Result<ScalarValue> {
    let DataType::Map(field, sorted) = arrow else { return Err(Error::bug("a map is not a map in Arrow")) };
    let DataType::Struct(fields) = field.data_type() else { return Err(Error::bug("a map has no entries in Arrow")) };
    let offsets = OffsetBuffer::from_lengths([keys.len()]);
    let entries = StructArray::try_new(fields.clone(), vec![array(keys, key)?, array(items, item)?], None)?;
    Ok(ScalarValue::Map(Arc::new(MapArray::try_new(field.clone(), offsets, entries, None, *sorted)?)))
}

/// Fields that are missing are NULL.
fn structure(
    arrow: &DataType,
    fields: &Map<String, Value>,
    known: &[(String, SqlType)],
    depth: usize,
) -> Result<ScalarValue> {
    let DataType::Struct(arrow) = arrow else { return Err(Error::bug("a struct is not a struct in Arrow")) };
    let given: BTreeMap<String, &Value> = fields.iter().map(|(field, value)| (name(field), value)).collect();
    if let Some(unknown) = given.keys().find(|given| !known.iter().any(|(field, _)| field == *given)) {
        return Err(Error::statement(format!("there is no field `{unknown}`")));
    }
    let column = |(field, ty): &(String, SqlType)| {
        let value = given.get(field).map_or(&Value::Null, |value| *value);
        array(vec![converted(value, ty, depth - 1)?], ty)
    };
    let columns = known.iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(arrow.clone(), columns, None)?)))
}

/// Values of one type as an array of its Arrow type.
fn array(values: Vec<ScalarValue>, ty: &SqlType) -> Result<ArrayRef> {
    let arrow = ty.arrow();
    if values.is_empty() {
        return Ok(new_empty_array(&arrow));
    }
    let values = values.into_iter().map(|value| match value.data_type() == arrow {
        true => Ok(value),
        false => value.cast_to(&arrow),
    });
    Ok(ScalarValue::iter_to_array(values.collect::<std::result::Result<Vec<_>, _>>()?)?)
}

/// Encodes the rows column by column. Rows that their format does not carry get their errors.
pub(super) fn encode(
    source: &Source,
    plans: Vec<(usize, InsertPlan)>,
    now_ms: i64,
    results: &mut [RowResult],
) -> Result<Vec<Encoded>> {
    let rows: Vec<usize> = plans.iter().map(|(row, _)| *row).collect();
    let mut keys = Vec::new();
    let mut values = Vec::new();
    let mut times = Vec::new();
    for (_, plan) in plans {
        keys.push(plan.key);
        values.push(plan.value);
        times.push(plan.timestamp.unwrap_or(now_ms));
    }
    let mut failed = |row: usize, reason: String| {
        let error = Error::statement("the row cannot be written").with_detail(reason);
        results[rows[row]] = Err(Arc::new(error));
    };
    let keys = match source.schema.key.is_empty() {
        true => vec![None; rows.len()],
        false => {
            let mut encoder = Encoder::of(Side::key(source))?;
            payloads(&mut encoder, keys, &source.schema.key, &mut failed)?
        }
    };
    let mut encoder = Encoder::of(Side::value(source))?;
    let values = payloads(&mut encoder, values, &source.schema.value, &mut failed)?;
    let mut encoded = Vec::with_capacity(rows.len());
    for (((row, key), value), timestamp) in rows.into_iter().zip(keys).zip(values).zip(times) {
        if results[row].is_ok() {
            let partition = key.as_deref().map_or(0, |key| partition::java(key, source.partitions));
            encoded.push(Encoded { row, partition, timestamp, key, value });
        }
    }
    Ok(encoded)
}

/// The payload of each row.
fn payloads(
    encoder: &mut Encoder,
    rows: Vec<Vec<ScalarValue>>,
    columns: &[Column],
    failed: &mut dyn FnMut(usize, String),
) -> Result<Vec<Option<Vec<u8>>>> {
    let count = rows.len();
    let mut by_column: Vec<Vec<ScalarValue>> = columns.iter().map(|_| Vec::with_capacity(count)).collect();
    for row in rows {
        by_column.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    let arrays = by_column.into_iter().zip(columns).map(|(values, column)| array(values, &column.ty));
    let arrays = arrays.collect::<Result<Vec<_>>>()?;
    let (mut data, mut ranges) = (Vec::new(), Vec::new());
    for (row, bad) in encoder.encode(&arrays, None, count, &mut data, &mut ranges)? {
        failed(row, bad.reason);
    }
    Ok(ranges.into_iter().map(|range| range.map(|range| data[range].to_vec())).collect())
}

/// Key and value of one row, by the names of its columns.
pub(in crate::engine) fn payloads_of(source: &Arc<Source>, row: &Map<String, Value>) -> Result<Payloads> {
    let plan = planned(source, row, true)?;
    let mut results: Vec<RowResult> = vec![Ok(())];
    let encoded = encode(source, vec![(0, plan)], 0, &mut results)?;
    match (encoded.into_iter().next(), results.pop()) {
        (Some(row), _) => Ok((row.key, row.value)),
        (None, Some(Err(error))) => {
            let same = Error::statement(error.message()).with_code(error.code());
            Err(error.detail().map_or_else(|| Error::statement(error.message()), |detail| same.with_detail(detail)))
        }
        (None, _) => Err(Error::bug("a row was encoded to nothing")),
    }
}

fn record_set(rows: &[Encoded]) -> RecordSet {
    let mut set = RecordSet::default();
    rows.iter().for_each(|row| set.push(row.partition, row.timestamp, row.key.as_deref(), row.value.as_deref()));
    set
}
