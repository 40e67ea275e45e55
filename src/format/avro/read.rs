//! Payloads to columns: runs a [`Plan`] over a payload.
//!
//! What the schema does not say is bounded: lengths and counts by the bytes that are left, values of recursive types by
//! depth, items of no bytes by [`FREE_ITEMS_MAX`] where they become values (elsewhere they cost nothing). Text is not
//! validated here but once per batch (`cells`), where bad UTF-8 is repaired as Java does.

use super::cursor::{Fault, Read, Source};
use super::plan::{Branch, Columns, Entry, Op, Plan, Quick, Record, Root, Step};
use crate::format::cells::{Cells, Data, Pieces};
use crate::types::decimal::{BigDecimal, fits, power_of_ten, write_decimal};
use crate::types::java_double::{write_java_double, write_java_float};
use crate::types::temporal::DAY_MS;
use arrow::datatypes::i256;
use std::collections::HashMap;

/// Limit of values of no bytes that one record puts into ARRAYs: a few bytes could claim billions.
const FREE_ITEMS_MAX: u64 = 1024;
/// Limit of a column's text in one batch, where numbers and symbols become text: Arrow's offsets have 31 bits.
const TEXT_BYTES_MAX: usize = 2_000_000_000;

/// Appends a payload; returns whether there is a value: an unwrapped column has none if it is NULL. On `Err` the cells contain
/// parts of it.
#[inline]
pub(super) fn payload(plan: &Plan, cells: &mut [Cells], payload: &[u8]) -> Read<bool> {
    let mut source = Source { d: payload, schema: &plan.schema, free: FREE_ITEMS_MAX };
    match &plan.root {
        Root::Columns(Columns::Record(record)) => source.record(record, cells)?,
        Root::Columns(Columns::Nullable(null, at, record)) => match source.index()? {
            index if index == *at => source.record(record, cells)?,
            index if index == *null => return Err(Fault::Null),
            _ => return Err(Fault::Branch),
        },
        Root::Columns(Columns::Union(branches)) => {
            if !source.union(branches, cells)? {
                return Err(Fault::Null);
            }
            drop_unread(cells);
        }
        Root::Value(Op::Nullable(null, op)) => {
            if source.is_null(*null)? {
                return Ok(false);
            }
            source.take(op, &mut cells[0])?;
            drop_unread(cells);
        }
        Root::Value(op) => {
            source.take(op, &mut cells[0])?;
            drop_unread(cells);
        }
        Root::Bad(reason) => return Err(Fault::Kind(*reason)),
    }
    Ok(true)
}

#[inline]
fn drop_unread(cells: &mut [Cells]) {
    cells.iter_mut().filter(|c| !c.keep).for_each(|c| c.truncate(0));
}

impl Source<'_> {
    #[inline(always)]
    fn record(&mut self, record: &Record, cells: &mut [Cells]) -> Read {
        for step in &record.steps {
            match step {
                Step::Skip(skip) => self.skip(skip)?,
                Step::Quick(at, quick) => self.quick(*quick, &mut cells[*at as usize])?,
                Step::Take(at, op) => self.take(op, &mut cells[*at as usize])?,
                Step::Check(at, op) => {
                    let cells = &mut cells[*at as usize];
                    self.other(op, cells)?;
                    cells.truncate(0);
                }
            }
        }
        for at in &record.absent {
            cells[*at as usize].push_null();
        }
        Ok(())
    }

    /// Appends the value of a union to one of the columns and NULL to the others; returns whether it is not null, otherwise
    /// appends nothing.
    fn union(&mut self, branches: &[Branch], cells: &mut [Cells]) -> Read<bool> {
        let index = self.index()?;
        let taken = match branches.get(index).ok_or(Fault::Branch)? {
            Branch::Null => return Ok(false),
            Branch::Skip(skip) => {
                self.skip(skip)?;
                None
            }
            Branch::Take(at, op) => {
                self.take(op, &mut cells[*at as usize])?;
                Some(*at as usize)
            }
        };
        for (at, cells) in cells.iter_mut().enumerate() {
            if Some(at) != taken {
                cells.push_null();
            }
        }
        Ok(true)
    }

    /// Appends a value of a common kind. The plan gave it a column of its own type.
    #[inline(always)]
    fn quick(&mut self, quick: Quick, cells: &mut Cells) -> Read {
        match (quick, &mut cells.data) {
            (Quick::NullableLong(null), Data::Bigint(v) | Data::Timestamp(v)) => match self.is_null(null)? {
                true => cells.push_null(),
                false => v.push(self.long()?),
            },
            (Quick::NullableText(null), Data::String(v)) => match self.is_null(null)? {
                true => cells.push_null(),
                false => self.piece(v)?,
            },
            (Quick::Long, Data::Bigint(v) | Data::Timestamp(v)) => v.push(self.long()?),
            (Quick::Text, Data::String(v)) => self.piece(v)?,
            _ => return Err(Fault::Other("a value does not fit its column".into())),
        }
        Ok(())
    }

    /// Appends a value.
    #[inline(always)]
    fn take(&mut self, op: &Op, cells: &mut Cells) -> Read {
        match (op, &mut cells.data) {
            (Op::Nullable(null, op), _) => {
                if self.is_null(*null)? {
                    cells.push_null();
                    return Ok(());
                }
                match (&**op, &mut cells.data) {
                    (Op::Long, Data::Bigint(v) | Data::Timestamp(v)) => v.push(self.long()?),
                    (Op::String, Data::String(v)) => self.piece(v)?,
                    _ => return self.other(op, cells),
                }
            }
            (Op::Long, Data::Bigint(v) | Data::Timestamp(v)) => v.push(self.long()?),
            (Op::String, Data::String(v)) => self.piece(v)?,
            _ => return self.other(op, cells),
        }
        Ok(())
    }

    /// Appends a value of any type.
    #[inline(never)]
    fn other(&mut self, op: &Op, cells: &mut Cells) -> Read {
        match (op, &mut cells.data) {
            (Op::Int, Data::Integer(v) | Data::Date(v)) => v.push(self.int()?),
            (Op::TimeMillis, Data::Integer(v) | Data::Date(v) | Data::Time(v)) => v.push(self.time()? as i32),
            (Op::Int, Data::Time(v)) => v.push(i64::from(self.int()?).rem_euclid(DAY_MS) as i32),
            (Op::Int, Data::Bigint(v) | Data::Timestamp(v)) => v.push(i64::from(self.int()?)),
            (Op::TimeMillis, Data::Bigint(v) | Data::Timestamp(v)) => v.push(self.time()?),
            (Op::Long, Data::Bigint(v) | Data::Timestamp(v)) => v.push(self.long()?),
            (Op::Double, Data::Double(v)) => v.push(f64::from_le_bytes(self.array()?)),
            (Op::Float, Data::Double(v)) => v.push(f64::from(f32::from_le_bytes(self.array()?))),
            (Op::Boolean, Data::Boolean(v)) => v.push(self.byte()? == 1),
            (Op::String, Data::String(v)) | (Op::Bytes, Data::Bytes(v)) => v.push(self.sized()?),
            (Op::Fixed(size), Data::Bytes(v)) => v.push(self.bytes(*size)?),
            (op, Data::String(v)) if is_scalar(op) => self.text(op, v)?,
            (Op::Decimal(from, size), Data::Decimal { values, precision, scale }) => {
                let value = self.decimal(*size)?;
                let value = rescaled(value, *from, *precision, *scale)?;
                values.push(value.to_i128().ok_or(Fault::Number)?);
            }
            (Op::Decimal(from, size), Data::WideDecimal { values, precision, scale }) => {
                let value = self.decimal(*size)?;
                values.push(rescaled(value, *from, *precision, *scale)?);
            }
            (Op::Bad(reason), _) => return Err(Fault::Kind(*reason)),
            (Op::Nullable(null, op), _) => match self.is_null(*null)? {
                true => cells.push_null(),
                false => self.other(op, cells)?,
            },
            (Op::Single(op), _) => match self.byte()? {
                0 => self.other(op, cells)?,
                _ => return Err(Fault::Branch),
            },
            _ => self.nested(op, cells)?,
        }
        Ok(())
    }

    fn nested(&mut self, op: &Op, cells: &mut Cells) -> Read {
        match (op, &mut cells.data) {
            (Op::Record(record), Data::Struct { fields, rows }) => {
                *rows += 1;
                self.record(record, fields)
            }
            (Op::Union(branches), Data::Struct { fields, rows }) => {
                if self.union(branches, fields)? {
                    *rows += 1;
                } else {
                    cells.push_null();
                }
                Ok(())
            }
            (Op::Array(item, op), Data::Array { ends, items }) => {
                let free = self.schema.size(*item) == Some(0);
                while let Some(count) = self.block()? {
                    if free {
                        self.free = self.free.checked_sub(count).ok_or(Fault::Items)?;
                    } else if count > self.d.len() as u64 {
                        return Err(Fault::End);
                    }
                    for _ in 0..count {
                        self.take(op, items)?;
                    }
                }
                ends.push(items.len() as i32);
                Ok(())
            }
            (Op::Map(op), Data::Map { ends, keys, values }) => {
                self.map(keys, values, |source, keys, values| {
                    keys.push(source.sized()?);
                    source.take(op, values)
                })?;
                ends.push(keys.len() as i32);
                Ok(())
            }
            (Op::Entries(entries), Data::Map { ends, keys, values }) => {
                self.map(keys, values, |source, keys, values| source.entry(entries, keys, values))?;
                ends.push(keys.len() as i32);
                Ok(())
            }
            _ => Err(Fault::Other("a value does not fit its column".into())),
        }
    }

    /// Appends the entries of a map. Of several with one key the last counts.
    fn map(
        &mut self,
        keys: &mut Pieces,
        values: &mut Cells,
        entry: impl Fn(&mut Self, &mut Pieces, &mut Cells) -> Read,
    ) -> Read {
        let (start, free, from) = (self.d, self.free, keys.len());
        while let Some(count) = self.block()? {
            for _ in 0..count {
                entry(self, keys, values)?;
            }
        }
        let mut last: HashMap<&[u8], usize> = HashMap::new();
        if keys.len() - from > 1 {
            last.extend((from..keys.len()).map(|at| (keys.get(at), at)));
        }
        if keys.len() - from <= 1 || last.len() == keys.len() - from {
            return Ok(());
        }
        let mut kept = vec![false; keys.len() - from];
        last.values().for_each(|at| kept[*at - from] = true);
        keys.truncate(from);
        values.truncate(from);
        (self.d, self.free) = (start, free);
        let mut kept = kept.into_iter();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                let len = keys.len();
                entry(self, keys, values)?;
                if kept.next() == Some(false) {
                    keys.truncate(len);
                    values.truncate(len);
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entries: &[Entry], keys: &mut Pieces, values: &mut Cells) -> Read {
        for entry in entries {
            match entry {
                Entry::Key(op) => self.key(op, keys)?,
                Entry::Value(op) => self.take(op, values)?,
                Entry::Skip(skip) => self.skip(skip)?,
            }
        }
        Ok(())
    }

    fn key(&mut self, op: &Op, keys: &mut Pieces) -> Read {
        match op {
            Op::Nullable(null, op) => match self.is_null(*null)? {
                true => Err(Fault::NullKey),
                false => self.key(op, keys),
            },
            Op::Single(op) if self.byte()? == 0 => self.key(op, keys),
            Op::Single(_) => Err(Fault::Branch),
            Op::Bad(reason) => Err(Fault::Kind(*reason)),
            Op::String => {
                keys.push(self.sized()?);
                Ok(())
            }
            op => self.text(op, keys),
        }
    }

    fn time(&mut self) -> Read<i64> {
        let ms = i64::from(self.int()?);
        if (0..=DAY_MS).contains(&ms) { Ok(ms) } else { Err(Fault::Time) }
    }

    /// Appends a value as Java prints it.
    fn text(&mut self, op: &Op, to: &mut Pieces) -> Read {
        if to.bytes.len() > TEXT_BYTES_MAX {
            return Err(Fault::Text);
        }
        let out = &mut to.bytes;
        match op {
            Op::Int => out.extend_from_slice(itoa::Buffer::new().format(self.int()?).as_bytes()),
            Op::TimeMillis => out.extend_from_slice(itoa::Buffer::new().format(self.time()?).as_bytes()),
            Op::Long => out.extend_from_slice(itoa::Buffer::new().format(self.long()?).as_bytes()),
            Op::Float => write_java_float(f32::from_le_bytes(self.array()?), out),
            Op::Double => write_java_double(f64::from_le_bytes(self.array()?), out),
            Op::Boolean => out.extend_from_slice(if self.byte()? == 1 { b"true" } else { b"false" }),
            Op::String => out.extend_from_slice(self.sized()?),
            Op::Enum(symbols) => {
                let symbol = symbols.get(self.index()?).ok_or(Fault::Symbol)?;
                if symbol.len() > TEXT_BYTES_MAX - out.len() {
                    return Err(Fault::Text);
                }
                out.extend_from_slice(symbol.as_bytes());
            }
            _ => return Err(Fault::Other("a value has no text".into())),
        }
        to.close();
        Ok(())
    }

    fn decimal(&mut self, size: Option<usize>) -> Read<i256> {
        let bytes = match size {
            Some(size) => self.bytes(size)?,
            None => self.sized()?,
        };
        let Some(first) = bytes.first() else { return Err(Fault::Other("Zero length BigInteger".into())) };
        let sign = if first & 0x80 != 0 { 0xFF } else { 0 };
        let more = bytes.len().saturating_sub(32);
        if bytes[..more].iter().any(|b| *b != sign) || more > 0 && (bytes[more] ^ sign) & 0x80 != 0 {
            return Err(Fault::Other("a decimal has more than 76 digits".into()));
        }
        let (bytes, mut wide) = (&bytes[more..], [sign; 32]);
        wide[32 - bytes.len()..].copy_from_slice(bytes);
        Ok(i256::from_be_bytes(wide))
    }
}

fn is_scalar(op: &Op) -> bool {
    matches!(op, Op::Int | Op::TimeMillis | Op::Long | Op::Float | Op::Double | Op::Boolean | Op::Enum(_))
}

/// The unscaled value at another scale, if it fits without rounding.
pub(super) fn rescaled(value: i256, from: i32, precision: u8, scale: i8) -> Read<i256> {
    let to = i32::from(scale);
    let exact = match from {
        _ if value == i256::ZERO => Some(value),
        from if from == to => Some(value),
        from if from < to => power_of_ten(to - from).and_then(|factor| value.checked_mul(factor)),
        from => power_of_ten(from - to)
            .filter(|divisor| value.wrapping_rem(*divisor) == i256::ZERO)
            .map(|divisor| value.wrapping_div(divisor)),
    };
    match exact.filter(|value| fits(*value, precision)) {
        Some(value) => Ok(value),
        None => Err(unfit(value, from, precision, scale)),
    }
}

#[cold]
fn unfit(value: i256, from: i32, precision: u8, scale: i8) -> Fault {
    let rounded = BigDecimal { unscaled: value, scale: from }.rescale(i32::from(scale));
    let mut text = String::new();
    if let Ok(from) = i8::try_from(from) {
        write_decimal(value, from, &mut text);
    }
    Fault::Other(match rounded.is_some_and(|rounded| fits(rounded, precision)) {
        true => format!("Cannot fit decimal '{text}' into DECIMAL({precision}, {scale}) without rounding.").into(),
        false => format!(
            "Numeric field overflow: A field with precision {precision} and scale {scale} must round to an absolute value less \
             than 10^{}. Got {text}",
            i32::from(precision) - i32::from(scale)
        )
        .into(),
    })
}
