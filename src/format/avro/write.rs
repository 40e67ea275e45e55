//! Columns to payloads: frame, then the bytes of the registered schema.

use super::layout::{OnNull, Part, Put, Root, Value, refusal, root, write_bytes};
use super::read::rescaled;
use crate::error::{Error, Result};
use crate::format::Layout;
use crate::format::frame::{self, put_zigzag};
use crate::format::rows::{Payloads, Refusal, RowWriter};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, ListArray, MapArray, StringArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
    TimestampMillisecondType, i256,
};

/// Encodes columns.
#[derive(Debug)]
pub(in crate::format) struct Writer {
    id: u32,
    root: Root,
}

impl Writer {
    pub(in crate::format) fn new(layout: &Layout<'_>) -> Result<Writer> {
        let Some(own) = &layout.wire.schema else {
            return Err(Error::statement("there is no registered schema by which the AVRO columns could be written"));
        };
        let id = u32::try_from(own.id).map_err(|_| Error::statement(format!("schema id {} is negative", own.id)))?;
        let columns: Vec<_> = layout.columns.iter().map(|(c, _)| (c.name.clone(), c.ty.clone())).collect();
        let found = super::parse(&own.text).and_then(|schema| root(&schema, &columns, layout.bare));
        let root = found.map_err(|reason| {
            Error::statement(format!("the columns cannot be written by schema {} of {}", own.id, own.subject))
                .with_detail(reason)
        })?;
        Ok(Writer { id, root })
    }
}

impl RowWriter for Writer {
    fn write(&mut self, columns: &[ArrayRef], out: &mut Payloads<'_>) -> Result<()> {
        match &self.root {
            Root::Value(put) => {
                let cell = Cell::new(put, &columns[0])?;
                out.each(Some(&columns[0]), |row, data| {
                    frame::write(self.id, data);
                    cell.write(row, data)
                });
            }
            Root::Record(prefix, parts) => {
                let cells = bind(parts, columns)?;
                out.each(None, |row, data| {
                    frame::write(self.id, data);
                    data.extend_from_slice(prefix);
                    write_parts(&cells, row, data)
                });
            }
        }
        Ok(())
    }
}

/// A part of a record in a batch.
enum Bound<'a> {
    Cell(Cell<'a>),
    Constant(&'a [u8]),
    Refused(&'a str),
}

/// A column of a batch and how it is written.
struct Cell<'a> {
    put: &'a Put,
    nulls: Option<&'a NullBuffer>,
    array: Typed<'a>,
}

enum Typed<'a> {
    Int(&'a [i32]),
    Long(&'a [i64]),
    Double(&'a [f64]),
    Boolean(&'a BooleanArray),
    Text(&'a StringArray),
    Bytes(&'a BinaryArray),
    Decimal(&'a [i128]),
    WideDecimal(&'a [i256]),
    Array(&'a ListArray, Box<Cell<'a>>),
    Map(&'a MapArray, &'a StringArray, Box<Cell<'a>>),
    Entries(&'a MapArray, Vec<Bound<'a>>),
    Record(Vec<Bound<'a>>),
    Union(&'a StructArray, Vec<Cell<'a>>),
}

fn bind<'a>(parts: &'a [Part], columns: &'a [ArrayRef]) -> Result<Vec<Bound<'a>>> {
    let one = |part: &'a Part| {
        Ok(match part {
            Part::Column(at, put) => Bound::Cell(Cell::new(put, &columns[*at])?),
            Part::Constant(bytes) => Bound::Constant(bytes),
            Part::Refused(reason) => Bound::Refused(reason),
        })
    };
    parts.iter().map(one).collect()
}

#[inline(always)]
fn write_parts(parts: &[Bound<'_>], row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    for part in parts {
        match part {
            Bound::Cell(cell) => cell.write(row, out)?,
            Bound::Constant(bytes) => out.extend_from_slice(bytes),
            Bound::Refused(reason) => return Err(refusal(reason)),
        }
    }
    Ok(())
}

impl<'a> Cell<'a> {
    fn new(put: &'a Put, column: &'a ArrayRef) -> Result<Cell<'a>> {
        let array = match (column.data_type(), &put.value) {
            (DataType::Int32, _) => Typed::Int(column.as_primitive::<Int32Type>().values()),
            (DataType::Date32, _) => Typed::Int(column.as_primitive::<Date32Type>().values()),
            (DataType::Time32(_), _) => Typed::Int(column.as_primitive::<Time32MillisecondType>().values()),
            (DataType::Int64, _) => Typed::Long(column.as_primitive::<Int64Type>().values()),
            (DataType::Timestamp(..), _) => Typed::Long(column.as_primitive::<TimestampMillisecondType>().values()),
            (DataType::Float64, _) => Typed::Double(column.as_primitive::<Float64Type>().values()),
            (DataType::Boolean, _) => Typed::Boolean(column.as_boolean()),
            (DataType::Utf8, _) => Typed::Text(column.as_string()),
            (DataType::Binary, _) => Typed::Bytes(column.as_binary()),
            (DataType::Decimal128(..), _) => Typed::Decimal(column.as_primitive::<Decimal128Type>().values()),
            (DataType::Decimal256(..), _) => Typed::WideDecimal(column.as_primitive::<Decimal256Type>().values()),
            (DataType::List(_), Value::Array(item)) => {
                let list = column.as_list::<i32>();
                Typed::Array(list, Box::new(Cell::new(item, list.values())?))
            }
            (DataType::Map(..), Value::Map(value)) => {
                let map = column.as_map();
                Typed::Map(map, map.keys().as_string(), Box::new(Cell::new(value, map.values())?))
            }
            (DataType::Map(..), Value::Entries(parts)) => {
                let map = column.as_map();
                Typed::Entries(map, bind(parts, map.entries().columns())?)
            }
            (DataType::Struct(_), Value::Record(parts)) => Typed::Record(bind(parts, column.as_struct().columns())?),
            (DataType::Struct(_), Value::Union(puts)) => {
                let columns = column.as_struct();
                let cells = puts.iter().zip(columns.columns()).map(|(put, column)| Cell::new(put, column));
                Typed::Union(columns, cells.collect::<Result<_>>()?)
            }
            (other, _) => return Err(Error::bug(format!("a column of {other} has a layout of another type"))),
        };
        Ok(Cell { put, nulls: column.nulls(), array })
    }

    #[inline(always)]
    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if self.nulls.is_some_and(|nulls| nulls.is_null(row)) {
            return self.write_null(out);
        }
        if let Some(tag) = self.put.tag {
            out.push(tag);
        }
        match (&self.put.value, &self.array) {
            (Value::Long, Typed::Long(values)) => put_zigzag(values[row], out),
            (Value::Int, Typed::Int(values)) => put_zigzag(i64::from(values[row]), out),
            (Value::String, Typed::Text(values)) => write_bytes(values.value(row).as_bytes(), out),
            _ => return self.write_other(row, out),
        }
        Ok(())
    }

    #[cold]
    fn write_null(&self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.put.null {
            OnNull::Bytes(bytes) => out.extend_from_slice(bytes),
            OnNull::Refused(reason) => return Err(refusal(reason)),
        }
        Ok(())
    }

    fn write_other(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match (&self.put.value, &self.array) {
            (Value::Long, Typed::Int(values)) => put_zigzag(i64::from(values[row]), out),
            (Value::Double, Typed::Double(values)) => out.extend_from_slice(&values[row].to_le_bytes()),
            (Value::Float, Typed::Double(values)) => out.extend_from_slice(&(values[row] as f32).to_le_bytes()),
            (Value::Boolean, Typed::Boolean(values)) => out.push(u8::from(values.value(row))),
            (Value::Bytes, Typed::Bytes(values)) => write_bytes(values.value(row), out),
            (Value::Fixed(size), Typed::Bytes(values)) => match values.value(row) {
                bytes if bytes.len() == *size => out.extend_from_slice(bytes),
                bytes => {
                    return Err(format!("a value of {} bytes is none of the fixed {size} bytes", bytes.len()).into());
                }
            },
            (Value::Enum(symbols), Typed::Text(values)) => {
                match symbols.iter().position(|symbol| symbol == values.value(row)) {
                    Some(at) => put_zigzag(at as i64, out),
                    None => return Err(format!("{} is no symbol of the enum", values.value(row)).into()),
                }
            }
            (Value::Decimal { .. }, Typed::Decimal(values)) => self.decimal(i256::from_i128(values[row]), out)?,
            (Value::Decimal { .. }, Typed::WideDecimal(values)) => self.decimal(values[row], out)?,
            _ => return self.write_nested(row, out),
        }
        Ok(())
    }

    fn write_nested(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.array {
            Typed::Array(list, items) => block(list.value_offsets(), row, out, |at, out| items.write(at, out)),
            Typed::Map(map, keys, values) => block(map.value_offsets(), row, out, |at, out| {
                write_bytes(keys.value(at).as_bytes(), out);
                values.write(at, out)
            }),
            Typed::Entries(map, parts) => block(map.value_offsets(), row, out, |at, out| write_parts(parts, at, out)),
            Typed::Record(parts) => write_parts(parts, row, out),
            Typed::Union(fields, cells) => {
                let mut taken = cells.iter().zip(fields.columns()).filter(|(_, column)| column.is_valid(row));
                match (taken.next(), taken.next()) {
                    (Some((cell, _)), None) => cell.write(row, out),
                    _ => Err("of a STRUCT that is a union exactly one field has a value".into()),
                }
            }
            _ => Err("a value has no place in the schema".into()),
        }
    }

    fn decimal(&self, value: i256, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Value::Decimal { from, precision, scale, size } = self.put.value else {
            return Err("the schema has no decimal".into());
        };
        let value = rescaled(value, from, precision, scale).map_err(|fault| Refusal::Owned(fault.reason(&[])))?;
        let bytes = value.to_be_bytes();
        let sign = if value < i256::ZERO { 0xFF } else { 0 };
        // The shortest two's complement that keeps the sign.
        let start = (0..31).take_while(|at| bytes[*at] == sign && (bytes[at + 1] ^ sign) & 0x80 == 0).count();
        let shortest = &bytes[start..];
        match size {
            None => write_bytes(shortest, out),
            Some(size) if size >= shortest.len() => {
                out.extend(std::iter::repeat_n(sign, size - shortest.len()));
                out.extend_from_slice(shortest);
            }
            Some(size) => return Err(format!("a decimal does not fit into the fixed {size} bytes").into()),
        }
        Ok(())
    }
}

/// Appends the items of a row as one block, as Java does.
fn block(
    offsets: &[i32],
    row: usize,
    out: &mut Vec<u8>,
    mut write: impl FnMut(usize, &mut Vec<u8>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let items = offsets[row] as usize..offsets[row + 1] as usize;
    if !items.is_empty() {
        put_zigzag(items.len() as i64, out);
        items.into_iter().try_for_each(|at| write(at, out))?;
    }
    out.push(0);
    Ok(())
}
