//! Parameters of prepared statements: `?` as JDBC writes them, or `$1`; their types, and their values as literals.
//!
//! Types follow from what a parameter stands beside, as for Postgres's clients. Values arrive as columns of Arrow, of whatever
//! type the client has, and are put into the text as literals of that type: never as they came.

use super::planned;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::parse::statement::{Parsed, Select, SelectItem, Statement};
use crate::serve::postgres::parameters::literals::{bytes, double, number, quoted};
use crate::serve::postgres::parameters::neighbours::{Beside, neighbours};
use crate::serve::postgres::parameters::{Filled, count, fill, rewritten};
use crate::serve::postgres::scan::Token;
use crate::serve::postgres::types::sql_type;
use crate::types::temporal::{date_text, time_text, timestamp_text};
use crate::types::{SqlType, cell};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType,
};

/// The text with `$1`, `$2` for each `?`.
pub(super) fn numbered(text: &str) -> Filled {
    let mut number = 0;
    rewritten(text, |token| {
        (*token == Token::Symbol('?')).then(|| {
            number += 1;
            format!("${number}")
        })
    })
}

/// The types of the parameters of a text.
pub(super) fn types(engine: &Engine, text: &str, session: &mut Session) -> Result<Vec<SqlType>> {
    let count = count(text).map_err(|failure| failure.error)?;
    let mut types: Vec<Option<SqlType>> = vec![None; count];
    if count == 0 {
        return Ok(Vec::new());
    }
    let filled = fill(text, |number, limit| {
        limit.then(|| {
            types[number - 1] = Some(SqlType::Bigint);
            "1".to_owned()
        })
    });
    let parsed = engine.parse(&filled.text, session).map_err(|error| led_back(error, &filled))?;
    if let Some(last) = parsed.last() {
        let catalog = engine.visible_catalog(session);
        let column = |name: &str, at: usize| {
            let Statement::InsertValues(insert) = &last.statement else { return None };
            let source = catalog.source(&insert.target.value)?;
            let mut columns = source.schema.columns();
            let found = if name.is_empty() { columns.nth(at) } else { columns.find(|column| column.name == name) };
            found.map(|column| column.ty.clone())
        };
        for (number, beside) in neighbours(last, column) {
            let Some(place) = types.get_mut(number - 1).filter(|ty| ty.is_none()) else { continue };
            *place = match beside {
                Beside::Type(ty) => sql_type(ty),
                Beside::Expression(part) => type_of(engine, part.0, part.1, session),
            };
        }
    }
    Ok(types.into_iter().map(|ty| ty.unwrap_or(SqlType::String)).collect())
}

/// The type of an expression over the sources of a query.
fn type_of(engine: &Engine, expr: sqlparser::ast::Expr, select: Select, session: &mut Session) -> Option<SqlType> {
    let items = vec![SelectItem::Expr { expr, alias: None, span: crate::error::Span::default() }];
    let statement = Statement::Select(Select { items, ..select });
    let parsed = Parsed { statement, text: String::new(), span: Default::default(), begin: (1, 1) };
    let columns = planned(engine, parsed, session).ok()?;
    columns.into_iter().next().map(|column| column.ty)
}

/// An error with its place in the text before values were put in.
pub(super) fn led_back(error: Error, filled: &Filled) -> Error {
    match error.span() {
        Some(span) => {
            let (start, end) = (filled.original(span.start), filled.original(span.end));
            error.only_at(crate::error::Span::new(start, end.max(start)))
        }
        None => error,
    }
}

/// A column of values, in the layout of the type that it has here; `wanted` is the type of the parameter.
pub(super) fn settled(column: &ArrayRef, at: usize, wanted: &SqlType) -> Result<ArrayRef> {
    let unsupported = || {
        Error::statement(format!("a parameter of type {} is not supported", column.data_type()))
            .with_detail(format!("parameter {}", at + 1))
    };
    // A column of NULLs has no type of its own.
    let ty = match column.data_type() {
        DataType::Null => wanted.clone(),
        DataType::Dictionary(_, values) => SqlType::from_arrow(values).ok_or_else(unsupported)?,
        other => SqlType::from_arrow(other).ok_or_else(unsupported)?,
    };
    let settled = cell::settled(column, &ty);
    if *settled.data_type() == ty.arrow() { Ok(settled) } else { Err(unsupported()) }
}

/// A value of a settled column as a literal; `wanted` is the type of the parameter.
pub(super) fn literal(column: &dyn Array, row: usize, wanted: &SqlType) -> Result<String> {
    if column.is_null(row) {
        return Ok(null(SqlType::from_arrow(column.data_type()), wanted));
    }
    Ok(match column.data_type() {
        DataType::Boolean => if column.as_boolean().value(row) { "TRUE" } else { "FALSE" }.to_owned(),
        DataType::Int32 => number(&column.as_primitive::<Int32Type>().value(row).to_string()),
        DataType::Int64 => number(&column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => exact(&column.as_primitive::<Decimal128Type>().value_as_string(row)),
        DataType::Decimal256(..) => exact(&column.as_primitive::<Decimal256Type>().value_as_string(row)),
        DataType::Utf8 => quoted(column.as_string::<i32>().value(row)),
        DataType::Binary => {
            let hex = column.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}"));
            bytes(&hex.collect::<String>())
        }
        DataType::Date32 => quoted(&date_text(column.as_primitive::<Date32Type>().value(row))),
        DataType::Time32(_) => quoted(&time_text(column.as_primitive::<Time32MillisecondType>().value(row))),
        DataType::Timestamp(..) => {
            quoted(&timestamp_text(column.as_primitive::<TimestampMillisecondType>().value(row)))
        }
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            let wanted = if let SqlType::Array(item) = wanted { &**item } else { &SqlType::String };
            let items = (0..items.len()).map(|at| literal(&items, at, wanted)).collect::<Result<Vec<_>>>()?;
            format!("ARRAY[{}]", items.join(", "))
        }
        other => return Err(Error::statement(format!("a parameter of type {other} is not supported"))),
    })
}

/// NULL of the type that the place wants: a client that binds 64-bit numbers alone has a NULL for an INTEGER as well. A parameter
/// of no known type is a STRING, so that the type of the column says more.
fn null(bound: Option<SqlType>, wanted: &SqlType) -> String {
    let ty = match (wanted, &bound) {
        (SqlType::String, Some(bound)) => bound,
        (wanted, _) => wanted,
    };
    match ty {
        SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_) => "NULL".to_owned(),
        ty => format!("CAST(NULL AS {ty})"),
    }
}

/// A decimal without the zeros at its end: clients fill the scale of the parameter with them.
fn exact(text: &str) -> String {
    let short = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    number(short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int64Array, NullArray, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    #[test]
    fn question_marks_are_numbered_and_places_lead_back() {
        let text = "SELECT '?', a FROM s WHERE b = ? AND c = ? -- ?";
        let numbered = numbered(text);
        assert_eq!(numbered.text, "SELECT '?', a FROM s WHERE b = $1 AND c = $2 -- ?");
        assert_eq!(numbered.original(numbered.text.find("AND").unwrap()), text.find("AND").unwrap());
        assert_eq!(super::numbered("SELECT $1").text, "SELECT $1");
    }

    #[test]
    fn values_become_literals_that_cannot_break_out() {
        let of_type = |column: ArrayRef, ty: SqlType| literal(&settled(&column, 0, &ty).unwrap(), 0, &ty).unwrap();
        let first = |column: ArrayRef| of_type(column, SqlType::String);
        assert_eq!(first(Arc::new(StringArray::from(vec!["it's"]))), "'it''s'");
        assert_eq!(first(Arc::new(Int64Array::from(vec![-5]))), "(-5)");
        assert_eq!(first(Arc::new(Int64Array::from(vec![None]))), "CAST(NULL AS BIGINT)");
        assert_eq!(of_type(Arc::new(Int64Array::from(vec![None])), SqlType::Integer), "CAST(NULL AS INTEGER)");
        assert_eq!(of_type(Arc::new(NullArray::new(1)), SqlType::Double), "CAST(NULL AS DOUBLE)");
        let decimal = Decimal128Array::from(vec![15_000_000_000]).with_precision_and_scale(38, 10).unwrap();
        assert_eq!(first(Arc::new(decimal)), "1.5");
        assert_eq!(first(Arc::new(TimestampMicrosecondArray::from(vec![1_500]))), "'1970-01-01T00:00:00.001'");
        let list = arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), Some(-2), None])]);
        assert_eq!(first(Arc::new(list)), "ARRAY[1, (-2), CAST(NULL AS INTEGER)]");
    }
}
