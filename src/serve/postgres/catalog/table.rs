//! A table of the catalogue as Arrow columns, made from rows that name only what is not zero, empty or NULL.

use crate::error::{Error, Result};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int32Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Number(i64),
    Text(String),
    Truth(bool),
    Numbers(Vec<i32>),
}

impl From<i64> for Cell {
    fn from(number: i64) -> Cell {
        Cell::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Cell {
        Cell::Number(i64::from(number))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<bool> for Cell {
    fn from(truth: bool) -> Cell {
        Cell::Truth(truth)
    }
}

impl From<Vec<i32>> for Cell {
    fn from(numbers: Vec<i32>) -> Cell {
        Cell::Numbers(numbers)
    }
}

/// A row: the columns that have a value.
pub(super) type Row = Vec<(&'static str, Cell)>;

/// `row![oid: 1_i64, relname: "x"]`
macro_rules! row {
    ($($name:ident : $value:expr),* $(,)?) => { vec![$((stringify!($name), crate::serve::postgres::catalog::table::Cell::from($value))),*] };
}
pub(super) use row;

/// Name and type of each column.
fn columns(spec: &str) -> impl Iterator<Item = (&str, u8)> {
    spec.split_ascii_whitespace().filter_map(|column| {
        let (name, ty) = column.split_once(':')?;
        Some((name, *ty.as_bytes().first()?))
    })
}

/// The schema of a table.
pub(super) fn schema(spec: &str) -> SchemaRef {
    let list = |item: DataType| DataType::List(Arc::new(Field::new("item", item, true)));
    let field = |(name, ty): (&str, u8)| {
        let ty = match ty {
            b'o' | b'l' | b'O' => DataType::Int64,
            b'i' => DataType::Int32,
            b'b' => DataType::Boolean,
            b'f' => DataType::Float64,
            b'a' => list(DataType::Int32),
            b'A' => list(DataType::Utf8),
            _ => DataType::Utf8,
        };
        Field::new(name, ty, true)
    };
    Arc::new(Schema::new(columns(spec).map(field).collect::<Vec<_>>()))
}

/// The rows as columns.
pub(super) fn batch(spec: &str, rows: &[Row]) -> Result<RecordBatch> {
    let column = |(name, ty): (&str, u8)| -> ArrayRef {
        let cells = rows.iter().map(|row| row.iter().find(|(own, _)| *own == name).map(|(_, cell)| cell));
        let number = |cell: Option<&Cell>| match cell {
            Some(Cell::Number(number)) => Some(*number),
            _ => None,
        };
        let text = |cell: Option<&Cell>| match cell {
            Some(Cell::Text(text)) => Some(text.clone()),
            _ => None,
        };
        match ty {
            b'o' | b'l' => Arc::new(cells.map(|cell| Some(number(cell).unwrap_or(0))).collect::<Int64Array>()),
            b'O' => Arc::new(cells.map(number).collect::<Int64Array>()),
            b'i' => Arc::new(cells.map(|cell| Some(number(cell).unwrap_or(0) as i32)).collect::<Int32Array>()),
            b'f' => Arc::new(cells.map(|cell| Some(number(cell).unwrap_or(0) as f64)).collect::<Float64Array>()),
            b'b' => Arc::new(cells.map(|cell| Some(cell == Some(&Cell::Truth(true)))).collect::<BooleanArray>()),
            b'T' => Arc::new(cells.map(text).collect::<StringArray>()),
            b'A' => {
                let mut none = ListBuilder::new(StringBuilder::new());
                cells.for_each(|_| none.append_null());
                Arc::new(none.finish())
            }
            b'a' => {
                let mut lists = ListBuilder::new(Int32Builder::new());
                for cell in cells {
                    match cell {
                        Some(Cell::Numbers(numbers)) => lists.append_value(numbers.iter().copied().map(Some)),
                        _ => lists.append_null(),
                    }
                }
                Arc::new(lists.finish())
            }
            _ => Arc::new(cells.map(|cell| Some(text(cell).unwrap_or_default())).collect::<StringArray>()),
        }
    };
    let arrays: Vec<ArrayRef> = columns(spec).map(column).collect();
    RecordBatch::try_new(schema(spec), arrays).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::super::columns::TABLES;
    use super::*;

    #[test]
    fn every_table_can_be_made_and_misses_no_column_of_a_row() {
        for (name, spec) in TABLES {
            let made = batch(spec, &[Vec::new()]).unwrap();
            assert_eq!((made.num_rows(), made.num_columns()), (1, columns(spec).count()), "{name}");
        }
        let made = batch("a:o b:T c:t", &[row![a: 5_i64], row![b: "x"]]).unwrap();
        assert_eq!(made.column(0).as_ref(), &Int64Array::from(vec![5, 0]));
        assert_eq!(made.column(1).as_ref(), &StringArray::from(vec![None, Some("x")]));
        assert_eq!(made.column(2).as_ref(), &StringArray::from(vec!["", ""]));
    }
}
