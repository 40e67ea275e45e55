//! Columns under construction that can be rolled back.
//!
//! Arrow's builders cannot be truncated, and a record whose last value is bad must not leave its first ones in the columns. So
//! values are appended to plain vectors and NULL rows to a list; the bitmap is built at the end, if the list is not empty.

use crate::types::SqlType;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, TimestampMillisecondType, i256,
};
use std::sync::Arc;

/// One column of a batch: its values, and which rows are NULL.
#[derive(Debug)]
pub(super) struct Cells {
    pub(super) data: Data,
    /// Ascending.
    nulls: Vec<u32>,
    /// Whether the column is materialized. Otherwise its values are checked and dropped.
    pub(super) keep: bool,
    arrow: DataType,
}

/// Values by type. The value of a NULL row is arbitrary.
#[derive(Debug)]
pub(super) enum Data {
    Boolean(Vec<bool>),
    Integer(Vec<i32>),
    Bigint(Vec<i64>),
    Double(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: i8 },
    WideDecimal { values: Vec<i256>, precision: u8, scale: i8 },
    String(Pieces),
    Bytes(Pieces),
    Date(Vec<i32>),
    Time(Vec<i32>),
    Timestamp(Vec<i64>),
    Array { ends: Vec<i32>, items: Box<Cells> },
    Map { ends: Vec<i32>, keys: Pieces, values: Box<Cells> },
    Struct { fields: Vec<Cells>, rows: usize },
}

/// Byte strings in one buffer, with a leading 0 before their ends.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// Lengths up to which pieces are copied without a loop.
const SHORT_BYTES: usize = 32;
const MEDIUM_BYTES: usize = 96;

impl Pieces {
    fn new(rows: usize, bytes: usize) -> Pieces {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Pieces { bytes: Vec::with_capacity(bytes), ends }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.close();
    }

    /// Appends the first `length` bytes of `d`, which has as many. What follows them there lets short pieces be copied by their
    /// longest length: a fixed one is a few moves, any other is a call.
    #[inline(always)]
    pub(super) fn push_first(&mut self, d: &[u8], length: usize) {
        let end = self.bytes.len() + length;
        match (d.first_chunk::<SHORT_BYTES>(), d.first_chunk::<MEDIUM_BYTES>()) {
            (Some(chunk), _) if length <= SHORT_BYTES => self.bytes.extend_from_slice(chunk),
            (_, Some(chunk)) if length <= MEDIUM_BYTES => self.bytes.extend_from_slice(chunk),
            _ => self.bytes.extend_from_slice(&d[..length]),
        }
        self.bytes.truncate(end);
        self.close();
    }

    /// Ends a piece whose bytes were appended to `bytes` directly.
    #[inline(always)]
    pub(super) fn close(&mut self) {
        self.ends.push(self.bytes.len() as i32);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len() - 1
    }

    pub(super) fn get(&self, row: usize) -> &[u8] {
        &self.bytes[self.ends[row] as usize..self.ends[row + 1] as usize]
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.bytes.truncate(self.ends[rows] as usize);
    }

    /// Returns the contents, and reserves the same capacity again.
    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let next = Pieces::new(self.len(), self.bytes.len());
        let Pieces { bytes, ends } = std::mem::replace(self, next);
        (OffsetBuffer::new(ScalarBuffer::from(ends)), Buffer::from_vec(bytes))
    }
}

impl Cells {
    pub(super) fn new(ty: &SqlType, keep: bool) -> Cells {
        let data = match ty {
            SqlType::Boolean => Data::Boolean(vec![]),
            SqlType::Integer => Data::Integer(vec![]),
            SqlType::Bigint => Data::Bigint(vec![]),
            SqlType::Double => Data::Double(vec![]),
            SqlType::Decimal(precision, scale) if *precision <= 38 => {
                Data::Decimal { values: vec![], precision: *precision, scale: *scale }
            }
            SqlType::Decimal(precision, scale) => {
                Data::WideDecimal { values: vec![], precision: *precision, scale: *scale }
            }
            SqlType::String => Data::String(Pieces::new(0, 0)),
            SqlType::Bytes => Data::Bytes(Pieces::new(0, 0)),
            SqlType::Date => Data::Date(vec![]),
            SqlType::Time => Data::Time(vec![]),
            SqlType::Timestamp => Data::Timestamp(vec![]),
            SqlType::Array(item) => Data::Array { ends: vec![0], items: Box::new(Cells::new(item, true)) },
            SqlType::Map(_, value) => {
                Data::Map { ends: vec![0], keys: Pieces::new(0, 0), values: Box::new(Cells::new(value, true)) }
            }
            SqlType::Struct(fields) => {
                Data::Struct { fields: fields.iter().map(|(_, ty)| Cells::new(ty, true)).collect(), rows: 0 }
            }
        };
        Cells { data, nulls: vec![], keep, arrow: ty.arrow() }
    }

    /// Rows so far.
    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Boolean(v) => v.len(),
            Data::Integer(v) | Data::Date(v) | Data::Time(v) => v.len(),
            Data::Bigint(v) | Data::Timestamp(v) => v.len(),
            Data::Double(v) => v.len(),
            Data::Decimal { values, .. } => values.len(),
            Data::WideDecimal { values, .. } => values.len(),
            Data::String(v) | Data::Bytes(v) => v.len(),
            Data::Array { ends, .. } | Data::Map { ends, .. } => ends.len() - 1,
            Data::Struct { rows, .. } => *rows,
        }
    }

    /// Appends a NULL row, if the column is read.
    pub(super) fn push_null(&mut self) {
        if !self.keep {
            return;
        }
        self.nulls.push(self.len() as u32);
        match &mut self.data {
            Data::Boolean(v) => v.push(false),
            Data::Integer(v) | Data::Date(v) | Data::Time(v) => v.push(0),
            Data::Bigint(v) | Data::Timestamp(v) => v.push(0),
            Data::Double(v) => v.push(0.0),
            Data::Decimal { values, .. } => values.push(0),
            Data::WideDecimal { values, .. } => values.push(i256::ZERO),
            Data::String(v) | Data::Bytes(v) => v.close(),
            Data::Array { ends, .. } | Data::Map { ends, .. } => {
                ends.push(*ends.last().expect("there is always the leading 0"));
            }
            Data::Struct { fields, rows } => {
                fields.iter_mut().for_each(Cells::push_null);
                *rows += 1;
            }
        }
    }

    /// Truncates to `rows` rows. A column that is not materialized has none.
    pub(super) fn truncate(&mut self, rows: usize) {
        let rows = if self.keep { rows } else { 0 };
        match &mut self.data {
            Data::Boolean(v) => v.truncate(rows),
            Data::Integer(v) | Data::Date(v) | Data::Time(v) => v.truncate(rows),
            Data::Bigint(v) | Data::Timestamp(v) => v.truncate(rows),
            Data::Double(v) => v.truncate(rows),
            Data::Decimal { values, .. } => values.truncate(rows),
            Data::WideDecimal { values, .. } => values.truncate(rows),
            Data::String(v) | Data::Bytes(v) => v.truncate(rows),
            Data::Array { ends, items } => {
                ends.truncate(rows + 1);
                items.truncate(ends[rows] as usize);
            }
            Data::Map { ends, keys, values } => {
                ends.truncate(rows + 1);
                keys.truncate(ends[rows] as usize);
                values.truncate(ends[rows] as usize);
            }
            Data::Struct { fields, rows: n } => {
                fields.iter_mut().for_each(|f| f.truncate(rows));
                *n = rows;
            }
        }
        while self.nulls.last().is_some_and(|&row| row as usize >= rows) {
            self.nulls.pop();
        }
    }

    /// Returns the rows as an Arrow column and starts a new batch.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.len();
        let nulls = validity(&mut self.nulls, rows);
        match &mut self.data {
            Data::Boolean(v) => {
                let bits = BooleanBuffer::from(v.as_slice());
                v.clear();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Data::Integer(v) => primitive::<Int32Type>(v, nulls, &self.arrow),
            Data::Bigint(v) => primitive::<Int64Type>(v, nulls, &self.arrow),
            Data::Double(v) => primitive::<Float64Type>(v, nulls, &self.arrow),
            Data::Decimal { values, .. } => primitive::<Decimal128Type>(values, nulls, &self.arrow),
            Data::WideDecimal { values, .. } => primitive::<Decimal256Type>(values, nulls, &self.arrow),
            Data::Date(v) => primitive::<Date32Type>(v, nulls, &self.arrow),
            Data::Time(v) => primitive::<Time32MillisecondType>(v, nulls, &self.arrow),
            Data::Timestamp(v) => primitive::<TimestampMillisecondType>(v, nulls, &self.arrow),
            Data::String(v) => Arc::new(strings(v, nulls)),
            Data::Bytes(v) => {
                let (offsets, bytes) = v.take();
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
            Data::Array { .. } | Data::Map { .. } | Data::Struct { .. } => self.finish_nested(nulls),
        }
    }

    fn finish_nested(&mut self, nulls: Option<NullBuffer>) -> ArrayRef {
        let offsets = |ends: &mut Vec<i32>| {
            let mut next = Vec::with_capacity(ends.len());
            next.push(0);
            OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, next)))
        };
        match (&mut self.data, &self.arrow) {
            (Data::Array { ends, items }, DataType::List(item)) => {
                Arc::new(ListArray::new(item.clone(), offsets(ends), items.finish(), nulls))
            }
            (Data::Map { ends, keys, values }, DataType::Map(entries, sorted)) => {
                let DataType::Struct(parts) = entries.data_type() else { unreachable!("entries are a struct") };
                let columns = vec![Arc::new(strings(keys, None)) as ArrayRef, values.finish()];
                let pairs = StructArray::new(parts.clone(), columns, None);
                Arc::new(MapArray::new(entries.clone(), offsets(ends), pairs, nulls, *sorted))
            }
            (Data::Struct { fields, rows }, DataType::Struct(parts)) => {
                let columns = fields.iter_mut().map(Cells::finish).collect();
                let array = StructArray::try_new_with_length(parts.clone(), columns, nulls, std::mem::take(rows))
                    .expect("every field has as many rows as the struct");
                Arc::new(array)
            }
            _ => unreachable!("the Arrow type is made from the same SQL type as the values"),
        }
    }
}

fn strings(pieces: &mut Pieces, nulls: Option<NullBuffer>) -> StringArray {
    let (offsets, bytes) = pieces.take();
    // One pass at memory speed, which is all the validation of formats that do not look at each piece.
    match StringArray::try_new(offsets.clone(), bytes.clone(), nulls.clone()) {
        Ok(strings) => strings,
        Err(_) => repaired(&offsets, &bytes, nulls),
    }
}

/// What is no UTF-8 becomes U+FFFD, as in Java; `?` where the text would become too long for Arrow's offsets.
#[cold]
fn repaired(offsets: &OffsetBuffer<i32>, bytes: &[u8], nulls: Option<NullBuffer>) -> StringArray {
    let is_large = bytes.len() > i32::MAX as usize / char::REPLACEMENT_CHARACTER.len_utf8();
    let pieces = offsets.windows(2).map(|ends| {
        let text = String::from_utf8_lossy(&bytes[ends[0] as usize..ends[1] as usize]);
        if is_large { text.replace(char::REPLACEMENT_CHARACTER, "?").into() } else { text }
    });
    let texts = StringArray::from_iter_values(pieces);
    let (offsets, bytes, _) = texts.into_parts();
    StringArray::new(offsets, bytes, nulls)
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>, ty: &DataType) -> ArrayRef {
    let next = Vec::with_capacity(values.len());
    let values = std::mem::replace(values, next);
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls).with_data_type(ty.clone()))
}

/// The validity bitmap of `rows` rows, `None` if the list of NULL rows is empty. Clears the list.
pub(super) fn validity(nulls: &mut Vec<u32>, rows: usize) -> Option<NullBuffer> {
    if nulls.is_empty() {
        return None;
    }
    let mut valid = vec![true; rows];
    for row in nulls.drain(..) {
        valid[row as usize] = false;
    }
    Some(NullBuffer::from(valid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_a_piece_however_many_follow() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in [0, 1, 31, 32, 33, 95, 96, 97, 200, 256] {
            let mut pieces = Pieces::new(0, 0);
            for end in (length..=bytes.len()).step_by(5) {
                pieces.push_first(&bytes[..end], length);
                assert_eq!(pieces.get(pieces.len() - 1), &bytes[..length]);
            }
            assert_eq!(pieces.bytes.len(), pieces.len() * length);
        }
    }
}
