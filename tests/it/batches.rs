//! Records of the model to Arrow batches and back, and the dice that tests are rolled with.

use crate::model::{Rec, Val};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type, Int64Type};
use std::sync::Arc;
use tidegate::execute::change::{ChangeBatch, RowImage};
use tidegate::execute::operator::OperatorOutput;
use tidegate::types::SqlType;

/// Dice with a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: i64) -> i64 {
        (self.roll() % n as u64) as i64
    }

    pub(crate) fn one_in(&mut self, n: i64) -> bool {
        self.below(n) == 0
    }
}

/// Random cases of each law in an ordinary run; `TIDEGATE_LAW_SEEDS` sets another number.
const CASES: u64 = 2_000;

/// The seeds of a law that looks at so many cases for each seed. A failure names its seed.
pub(crate) fn seeds(cases: u64) -> std::ops::Range<u64> {
    let all = tidegate::config::environment("TIDEGATE_LAW_SEEDS").map_or(CASES, |n| n.parse().unwrap());
    0..all.div_ceil(cases)
}

/// A column of these values.
pub(crate) fn column(ty: &SqlType, values: &[Val]) -> ArrayRef {
    fn all<T>(values: &[Val], pick: impl Fn(&Val) -> Option<T>) -> Vec<Option<T>> {
        let check = |v: &Val| {
            let picked = pick(v);
            assert_eq!(picked.is_none(), v.is_null(), "{v:?} is of another type than its column");
            picked
        };
        values.iter().map(check).collect()
    }
    match ty {
        SqlType::Boolean => Arc::new(BooleanArray::from(all(values, |v| match v {
            Val::Bool(v) => Some(*v),
            _ => None,
        }))),
        SqlType::Integer => Arc::new(Int32Array::from(all(values, |v| match v {
            Val::Int(v) => Some(*v),
            _ => None,
        }))),
        SqlType::Bigint => Arc::new(Int64Array::from(all(values, |v| match v {
            Val::Long(v) => Some(*v),
            _ => None,
        }))),
        SqlType::Double => Arc::new(Float64Array::from(all(values, |v| match v {
            Val::Double(v) => Some(*v),
            _ => None,
        }))),
        SqlType::Decimal(p, s) => {
            let decimals = Decimal128Array::from(all(values, |v| match v {
                Val::Decimal(v) => Some(*v),
                _ => None,
            }));
            Arc::new(decimals.with_precision_and_scale(*p, *s).unwrap())
        }
        SqlType::String => Arc::new(StringArray::from(all(values, |v| match v {
            Val::Text(v) => Some(v.clone()),
            _ => None,
        }))),
        SqlType::Array(item) => {
            let lists = all(values, |v| match v {
                Val::List(v) => Some(v.clone()),
                _ => None,
            });
            let items: Vec<Val> = lists.iter().flatten().flatten().cloned().collect();
            let DataType::List(field) = ty.arrow() else { panic!("an ARRAY is a list") };
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(|l| l.as_ref().map_or(0, Vec::len)));
            let present: Vec<bool> = lists.iter().map(Option::is_some).collect();
            Arc::new(ListArray::new(field, offsets, column(item, &items), Some(present.into())))
        }
        other => panic!("no test column of type {other}"),
    }
}

/// One value of a column.
pub(crate) fn value(column: &ArrayRef, row: usize) -> Val {
    if column.is_null(row) {
        return Val::Null;
    }
    match column.data_type() {
        DataType::Boolean => Val::Bool(column.as_boolean().value(row)),
        DataType::Int32 => Val::Int(column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Val::Long(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Val::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => Val::Decimal(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Utf8 => Val::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            Val::List((0..items.len()).map(|i| value(&items, i)).collect())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let entry = |i| Val::List(vec![value(entries.column(0), i), value(entries.column(1), i)]);
            let mut entries: Vec<Val> = (0..entries.len()).map(entry).collect();
            entries.sort_by(Val::order);
            Val::List(entries)
        }
        other => panic!("no test value of type {other}"),
    }
}

fn columns(types: &[SqlType], rows: &[Option<Vec<Val>>]) -> Vec<ArrayRef> {
    let cell = |row: &Option<Vec<Val>>, i: usize| row.as_ref().map_or(Val::Null, |r| r[i].clone());
    types.iter().enumerate().map(|(i, ty)| column(ty, &rows.iter().map(|r| cell(r, i)).collect::<Vec<_>>())).collect()
}

fn present(rows: &[Option<Vec<Val>>]) -> Option<arrow::buffer::NullBuffer> {
    let present: Vec<bool> = rows.iter().map(Option::is_some).collect();
    present.contains(&false).then(|| present.into())
}

/// Records as a batch without windows.
pub(crate) fn batch(rows: &[Rec], key: &[SqlType], value: &[SqlType]) -> ChangeBatch {
    let keys: Vec<_> = rows.iter().map(|r| r.key.clone()).collect();
    let values: Vec<_> = rows.iter().map(|r| r.new.clone()).collect();
    ChangeBatch {
        key: columns(key, &keys),
        key_present: present(&keys),
        new: RowImage { columns: columns(value, &values), present: present(&values) },
        old: None,
        rowtime: rows.iter().map(|r| r.time).collect::<Vec<_>>().into(),
        window: None,
        seq: rows.iter().map(|r| r.seq).collect::<Vec<_>>().into(),
    }
}

/// All records of an output.
pub(crate) fn records(out: &OperatorOutput) -> Vec<Rec> {
    let image =
        |side: &RowImage, row: usize| side.has(row).then(|| side.columns.iter().map(|c| value(c, row)).collect());
    let mut records = Vec::new();
    for batch in &out.batches {
        assert!(!batch.is_empty(), "an empty batch was written");
        for row in 0..batch.len() {
            records.push(Rec {
                key: batch.has_key(row).then(|| batch.key.iter().map(|c| value(c, row)).collect()),
                window: batch.window.as_ref().map(|w| (w.start[row], w.end[row])),
                old: batch.old.as_ref().and_then(|old| image(old, row)),
                new: image(&batch.new, row),
                time: batch.rowtime[row],
                seq: batch.seq[row],
            });
        }
    }
    records
}

/// Two lists of records are equal, or a message says where they part.
pub(crate) fn same(what: &str, got: &[Rec], want: &[Rec]) {
    if let Some(i) = (0..got.len().max(want.len())).find(|&i| got.get(i) != want.get(i)) {
        panic!("{what}, record {i}:\n got {:?}\nwant {:?}", got.get(i), want.get(i));
    }
}

/// Where to cut `n` rows: 0 = single rows, 1 = not at all, 2 = short pieces, 3 = long and short ones.
pub(crate) fn cuts(dice: &mut Dice, n: usize, how: usize) -> Vec<usize> {
    let mut at = vec![0];
    while let Some(&last) = at.last().filter(|&&last| last < n) {
        let step = match how {
            0 => 1,
            1 => n,
            2 => 1 + dice.below(12) as usize,
            _ => {
                let longest = if dice.one_in(2) { 3 } else { 90 };
                1 + dice.below(longest) as usize
            }
        };
        at.push((last + step).min(n));
    }
    at
}
