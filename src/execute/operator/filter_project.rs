//! Filters and projections: one row in, at most one row out, no state.
//!
//! ```text
//! slots -> keep 0 -> keep 1 -> ...  (masks only)  -> filter once, only the columns still needed -> key -> value
//! ```
//!
//! A row that one condition refused takes no part in the next: its errors there are not reported. A row without a value (a
//! null value on a stream) is not looked at by conditions and projections: it is dropped or passes as it is.
//!
//! On changes with an old image (HAVING over a grouping) both images are filtered and projected. A row that leaves the
//! condition becomes a tombstone; one that did not meet it before and does not now is no row.

use super::{Operator, OperatorOutput};
use crate::error::{Error, Result};
use crate::execute::change::{BadRow, BadRows, ChangeBatch, RowImage};
use crate::execute::pipeline::{InputColumn, RowSpec};
use crate::plan::scalar::{Columns, Program, RowErrors};
use crate::types::{Column, quoted};
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::compute::nullif;
use std::sync::Arc;

/// The operator.
#[derive(Debug)]
pub struct FilterProjectOperator {
    /// Conditions over the columns of `tested`.
    keep: Vec<Program>,
    tested: Vec<InputColumn>,
    /// Key and value programs over the columns of `projected`.
    key: Vec<Program>,
    value: Vec<Program>,
    projected: Vec<InputColumn>,
    drop_null_keys: bool,
    drop_null_values: bool,
    same_key: bool,
    keep_absent: bool,
    groups: usize,
    /// For each value program: it is a column of the key, and is shown of a row that is gone, too.
    shown: Vec<bool>,
    /// Names of the value columns, for what is logged about them; empty where they are no columns of a result.
    names: Vec<String>,
}

/// Rows of a batch for which the log says in full why an expression failed: more of them share what all have in common, so
/// that a batch in which every row fails is not run row by row.
const CAUSES_MAX: usize = 16;

/// Which expression: a log entry says it.
struct Place<'a> {
    purpose: Purpose,
    index: usize,
    /// The column that it makes.
    name: Option<&'a str>,
}

/// What an expression is for: a log entry says it.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Condition,
    GroupKey,
    Key,
    Value,
}

/// Rows that something holds for; `None` = all of the batch.
type Mask = Option<BooleanBuffer>;

impl FilterProjectOperator {
    /// The operator for these filters and projections.
    pub fn new(spec: &RowSpec) -> FilterProjectOperator {
        let (tested, keep) = renumbered(&spec.slots, spec.keep.iter());
        let (projected, mut key) = renumbered(&spec.slots, spec.key.iter().chain(&spec.value));
        let value = key.split_off(spec.key.len());
        FilterProjectOperator {
            keep,
            tested,
            key,
            value,
            projected,
            drop_null_keys: spec.drop_null_keys,
            drop_null_values: spec.drop_null_values,
            same_key: spec.same_key,
            keep_absent: spec.keep_absent,
            groups: spec.groups,
            shown: vec![false; spec.value.len()],
            names: Vec::new(),
        }
    }

    /// A reader gets rows without a key; the key columns that it selects identify the row that is gone.
    pub fn for_reader(mut self) -> FilterProjectOperator {
        let is_key = |program: &Program| {
            let slot = program.as_column().and_then(|column| self.projected.get(column));
            matches!(slot, Some(InputColumn::Key(_) | InputColumn::WindowStart | InputColumn::WindowEnd))
        };
        self.shown = self.value.iter().map(is_key).collect();
        self
    }

    /// The value columns are columns of the result, by these names.
    pub(crate) fn named(mut self, columns: &[Column]) -> FilterProjectOperator {
        self.names = columns.iter().map(|column| quoted(&column.name)).collect();
        self
    }

    /// Takes one batch. There is no state, so several threads may do this at once.
    pub(crate) fn apply(&self, batch: &ChangeBatch, out: &mut OperatorOutput) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Some(narrow) = self.narrow(batch, &mut out.bad)? {
            let projected = self.project(narrow, &mut out.bad)?;
            if !projected.is_empty() {
                out.batches.push(projected);
            }
        }
        Ok(())
    }

    /// Rows that have this image and whose image passes all conditions.
    fn passing(&self, batch: &ChangeBatch, side: &RowImage, mut bad: Option<&mut BadRows>) -> Result<Mask> {
        let mut passing = present(side);
        if self.keep.is_empty() {
            return Ok(passing);
        }
        let columns = gather(&self.tested, batch, side)?;
        let input = Columns { columns: &columns, rows: batch.len() };
        for (i, condition) in self.keep.iter().enumerate() {
            let mut errors = RowErrors::new();
            let passed = condition.predicate(&input, &mut errors)?;
            if let Some(bad) = bad.as_deref_mut() {
                let place = Place { purpose: Purpose::Condition, index: i, name: None };
                report(&place, condition, &mut errors, &input, passing.as_ref(), &batch.seq, bad);
            }
            passing = and(passing, passed);
        }
        Ok(passing)
    }

    /// The batch with only the columns that programs still need, and only the rows that stay.
    fn narrow(&self, batch: &ChangeBatch, bad: &mut BadRows) -> Result<Option<ChangeBatch>> {
        let new = self.passing(batch, &batch.new, Some(bad))?;
        let old = match &batch.old {
            Some(side) => Some(self.passing(batch, side, None)?),
            None => None,
        };
        let staying = match &old {
            Some(old) => or(new.clone(), old.clone()),
            None if self.keep_absent => None,
            None if self.drop_null_values => new.clone(),
            None => match present(&batch.new) {
                None => new.clone(),
                Some(values) => or(new.clone(), Some(!&values)),
            },
        };
        let image = |side: &RowImage, mask: Mask| -> Result<RowImage> {
            let columns = gather(&self.projected, batch, side)?;
            Ok(RowImage { columns, present: mask.map(NullBuffer::new) })
        };
        let narrow = ChangeBatch {
            key: if self.same_key { batch.key.clone() } else { Vec::new() },
            key_present: if self.same_key { batch.key_present.clone() } else { None },
            new: image(&batch.new, new)?,
            old: match (&batch.old, old) {
                (Some(side), Some(mask)) => Some(image(side, mask)?),
                _ => None,
            },
            rowtime: batch.rowtime.clone(),
            window: batch.window.clone(),
            seq: batch.seq.clone(),
        };
        Ok(match staying {
            None => Some(narrow),
            Some(mask) if !mask.has_true() => None,
            Some(mask) => Some(narrow.filter(&mask)?),
        })
    }

    /// Key and value columns in place of the programs' inputs.
    fn project(&self, narrow: ChangeBatch, bad: &mut BadRows) -> Result<ChangeBatch> {
        let input = Columns { columns: &narrow.new.columns, rows: narrow.len() };
        let (key, key_present, failed) = self.rekey(&narrow, &input, bad)?;
        let new = self.values(&input, &narrow.new, Some((&narrow.seq, bad)))?;
        let old = match &narrow.old {
            Some(side) => {
                let input = Columns { columns: &side.columns, rows: narrow.len() };
                Some(self.values(&input, side, None)?)
            }
            None => None,
        };
        let batch = ChangeBatch { key, key_present, new, old, ..narrow };
        if self.drop_null_keys { without_null_keys(batch, failed.as_ref(), bad) } else { Ok(batch) }
    }

    /// Key columns, which rows have a key, and for which rows a key could not be computed.
    fn rekey(
        &self,
        batch: &ChangeBatch,
        input: &Columns<'_>,
        bad: &mut BadRows,
    ) -> Result<(Vec<ArrayRef>, Option<NullBuffer>, Mask)> {
        if self.same_key {
            return Ok((batch.key.clone(), batch.key_present.clone(), None));
        }
        if self.key.is_empty() {
            return Ok((Vec::new(), Some(NullBuffer::new_null(input.rows)), None));
        }
        let purpose = if self.drop_null_keys { Purpose::GroupKey } else { Purpose::Key };
        let (mut key, mut failed) = (Vec::with_capacity(self.key.len()), None);
        for (i, program) in self.key.iter().enumerate() {
            let mut errors = RowErrors::new();
            let column = program.eval_array(input, &mut errors)?;
            // What is read of a value that is not there has no value.
            let of_value =
                program.reads().into_iter().any(|c| !matches!(self.projected.get(c), Some(InputColumn::Key(_))));
            key.push(match present(&batch.new).filter(|_| of_value) {
                Some(values) => without(&column, &BooleanArray::new(!&values, None))?,
                None => column,
            });
            for caught in errors.caught() {
                failed = Some(failed.map_or_else(|| caught.rows.clone(), |f: BooleanBuffer| &f | &caught.rows));
            }
            let place = Place { purpose, index: i, name: None };
            report(&place, program, &mut errors, input, present(&batch.new).as_ref(), &batch.seq, bad);
        }
        // A key of several columns is never null as a whole.
        let present = if key.len() == 1 { key[0].logical_nulls().filter(|n| n.null_count() > 0) } else { None };
        Ok((key, present, failed))
    }

    /// The value columns of one image; NULL where it is absent. Without `log` errors were reported before.
    fn values(
        &self,
        input: &Columns<'_>,
        side: &RowImage,
        mut log: Option<(&ScalarBuffer<u64>, &mut BadRows)>,
    ) -> Result<RowImage> {
        let present = present(side);
        let absent = present.as_ref().map(|p| BooleanArray::new(!p, None));
        let mut columns = Vec::with_capacity(self.value.len());
        for (i, program) in self.value.iter().enumerate() {
            let mut errors = RowErrors::new();
            let column = program.eval_array(input, &mut errors)?;
            if let Some((seq, bad)) = &mut log {
                let name = self.names.get(i).map(String::as_str);
                let (purpose, index) = match i.checked_sub(self.groups) {
                    Some(index) => (Purpose::Value, index),
                    None => (Purpose::GroupKey, i),
                };
                let place = Place { purpose, index, name };
                report(&place, program, &mut errors, input, present.as_ref(), seq, bad);
            }
            columns.push(match &absent {
                Some(absent) if !self.shown[i] => without(&column, absent)?,
                _ => column,
            });
        }
        Ok(RowImage { columns, present: side.present.clone().filter(|p| p.null_count() > 0) })
    }
}

impl Operator for FilterProjectOperator {
    fn step(&mut self, ports: &[Option<&ChangeBatch>], out: &mut OperatorOutput) -> Result<()> {
        ports.first().copied().flatten().map_or(Ok(()), |batch| self.apply(batch, out))
    }
}

/// The slots that programs read, and the programs over just these.
fn renumbered<'a>(
    slots: &[InputColumn],
    programs: impl Iterator<Item = &'a Program>,
) -> (Vec<InputColumn>, Vec<Program>) {
    let mut programs: Vec<Program> = programs.cloned().collect();
    let read: std::collections::BTreeSet<usize> = programs.iter().flat_map(Program::reads).collect();
    let read: Vec<usize> = read.into_iter().collect();
    for program in &mut programs {
        program.remap(&|column| read.binary_search(&column).expect("every column that is read was collected"));
    }
    // A program without its slot keeps a column number that `gather` refuses.
    (read.iter().filter_map(|&r| slots.get(r).copied()).collect(), programs)
}

fn gather(slots: &[InputColumn], batch: &ChangeBatch, side: &RowImage) -> Result<Vec<ArrayRef>> {
    let missing = || Error::bug("a row program reads a column that the batch has not");
    let long = |values: &ScalarBuffer<i64>| -> ArrayRef { Arc::new(Int64Array::new(values.clone(), None)) };
    let column = |slot: &InputColumn| match slot {
        InputColumn::Key(i) => batch.key.get(*i).cloned().ok_or_else(missing),
        InputColumn::Value(i) => side.columns.get(*i).cloned().ok_or_else(missing),
        InputColumn::Rowtime => Ok(long(&batch.rowtime)),
        InputColumn::WindowStart => batch.window.as_ref().map(|w| long(&w.start)).ok_or_else(missing),
        InputColumn::WindowEnd => batch.window.as_ref().map(|w| long(&w.end)).ok_or_else(missing),
    };
    slots.iter().map(column).collect()
}

fn present(side: &RowImage) -> Mask {
    side.present.as_ref().filter(|p| p.null_count() > 0).map(|p| p.inner().clone())
}

fn and(left: Mask, right: Mask) -> Mask {
    match (left, right) {
        (Some(left), Some(right)) => Some(&left & &right),
        (one, other) => one.or(other),
    }
}

fn or(left: Mask, right: Mask) -> Mask {
    Some(&left? | &right?)
}

/// The image whose columns hold NULL where a row has none.
pub(crate) fn masked(side: RowImage) -> Result<RowImage> {
    let Some(present) = side.present.as_ref().filter(|p| p.null_count() > 0) else { return Ok(side) };
    let absent = BooleanArray::new(!present.inner(), None);
    let columns = side.columns.iter().map(|c| without(c, &absent)).collect::<Result<_>>()?;
    Ok(RowImage { columns, present: side.present })
}

/// NULL where `absent`. Nested columns have no kernel for it; taking no row there does the same.
fn without(column: &ArrayRef, absent: &BooleanArray) -> Result<ArrayRef> {
    if !column.data_type().is_nested() {
        return Ok(nullif(column, absent)?);
    }
    let rows = (0..column.len() as u32).map(|row| (!absent.value(row as usize)).then_some(row));
    Ok(arrow::compute::take(column, &rows.collect::<arrow::array::UInt32Array>(), None)?)
}

/// Drops rows whose key is absent or NULL in any column, and reports those that have not failed before.
fn without_null_keys(batch: ChangeBatch, failed: Option<&BooleanBuffer>, bad: &mut BadRows) -> Result<ChangeBatch> {
    let mut keyed = batch.key_present.clone();
    for column in &batch.key {
        keyed = NullBuffer::union(keyed.as_ref(), column.logical_nulls().as_ref());
    }
    let Some(keyed) = keyed.filter(|k| k.null_count() > 0) else { return Ok(batch) };
    for row in (0..batch.len()).filter(|&row| keyed.is_null(row) && !failed.is_some_and(|f| f.value(row))) {
        let null = |c: &ArrayRef| c.logical_nulls().is_some_and(|n| n.is_null(row));
        let index = batch.key.iter().position(null).unwrap_or(0);
        let reason = format!(
            "Group-by column with index {index} resolved to null. The source row will be excluded from the table."
        );
        bad.push(BadRow { seq: batch.seq[row], reason });
    }
    batch.filter(keyed.inner())
}

/// Notes what a program's boundaries caught, in the rows of `mask` only.
fn report(
    place: &Place<'_>,
    program: &Program,
    errors: &mut RowErrors,
    input: &Columns<'_>,
    mask: Option<&BooleanBuffer>,
    seq: &ScalarBuffer<u64>,
    bad: &mut BadRows,
) {
    let left_out = matches!(place.purpose, Purpose::Condition | Purpose::GroupKey);
    for caught in errors.take_caught() {
        let text = program.boundary(caught.boundary).unwrap_or(program);
        let whole = is_guard_of_the_whole(program, caught.boundary);
        let reason = |why: &str| format!("{}: {why} in {text}", place.effect(!whole));
        let mut rows = match mask {
            None => caught.rows,
            Some(mask) => &caught.rows & mask,
        };
        let mut explained = Vec::new();
        for row in rows.set_indices().take(CAUSES_MAX) {
            // Where there is none, the reason says all that is known.
            let Some(cause) = program.cause(caught.boundary, input, row) else { continue };
            bad.add(BadRow { seq: seq[row], reason: reason(&cause) }, left_out);
            explained.push(row);
        }
        if !explained.is_empty() {
            rows = BooleanBuffer::collect_bool(rows.len(), |i| rows.value(i) && explained.binary_search(&i).is_err());
        }
        bad.mark(rows, seq, reason(&caught.reason.to_string()), left_out);
    }
}

/// Whether nothing of the program is outside of this guard but other guards.
fn is_guard_of_the_whole(program: &Program, wanted: u16) -> bool {
    match program {
        Program::Guard { boundary, inner } => *boundary == wanted || is_guard_of_the_whole(inner, wanted),
        _ => false,
    }
}

impl Place<'_> {
    /// What an error does, or one that only a `part` of the expression has.
    fn effect(&self, part: bool) -> String {
        let index = self.index;
        match (self.purpose, self.name) {
            (Purpose::Condition, _) => format!("condition {index}"),
            (Purpose::GroupKey, _) => format!(
                "Error calculating group-by column with index {index}. The source row will be excluded from the table."
            ),
            (Purpose::Key, _) if part => format!("part of key {index} set to NULL"),
            (Purpose::Key, _) => format!("key {index} set to NULL"),
            (Purpose::Value, Some(name)) if part => format!("part of column {name} set to NULL"),
            (Purpose::Value, Some(name)) => format!("column {name} set to NULL"),
            (Purpose::Value, None) => format!("expression {index} set to NULL"),
        }
    }
}
