//! Rows of several batches as one.

use super::{Bounds, ChangeBatch, RowImage};
use crate::error::Result;
use arrow::array::{Array, ArrayRef};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::{concat, interleave};

impl ChangeBatch {
    /// All rows of `parts`, by `seq`; rows of one `seq` stay in the order of the parts.
    pub(crate) fn merge(mut parts: Vec<ChangeBatch>) -> Result<Option<ChangeBatch>> {
        parts.retain(|p| !p.is_empty());
        if parts.len() < 2 {
            return Ok(parts.pop());
        }
        let mut order: Vec<(u64, usize, usize)> = Vec::with_capacity(parts.iter().map(ChangeBatch::len).sum());
        for (i, part) in parts.iter().enumerate() {
            order.extend(part.seq.iter().enumerate().map(|(row, &seq)| (seq, i, row)));
        }
        order.sort_unstable();
        let rows: Vec<(usize, usize)> = order.iter().map(|o| (o.1, o.2)).collect();
        ChangeBatch::gather(&parts, &rows).map(Some)
    }

    /// The rows of these batches, one batch after the other. There is at least one; none has a value before the change.
    pub(crate) fn joined(parts: &[ChangeBatch]) -> Result<ChangeBatch> {
        let columns = |get: &dyn Fn(&ChangeBatch) -> &Vec<ArrayRef>| -> Result<Vec<ArrayRef>> {
            let column = |i: usize| {
                let arrays: Vec<&dyn Array> = parts.iter().map(|part| get(part)[i].as_ref()).collect();
                Ok(concat(&arrays)?)
            };
            (0..get(&parts[0]).len()).map(column).collect()
        };
        let masks = |get: &dyn Fn(&ChangeBatch) -> Option<&NullBuffer>| {
            let rows = |part: &ChangeBatch| get(part).cloned().unwrap_or_else(|| NullBuffer::new_valid(part.len()));
            let is_there = parts.iter().any(|part| get(part).is_some());
            is_there
                .then(|| parts.iter().flat_map(|part| rows(part).iter().collect::<Vec<_>>()).collect::<NullBuffer>())
        };
        let numbers = |get: &dyn Fn(&ChangeBatch) -> &ScalarBuffer<i64>| -> ScalarBuffer<i64> {
            parts.iter().flat_map(|part| get(part).iter().copied()).collect()
        };
        let bounds = |part: &ChangeBatch, get: fn(&Bounds) -> &ScalarBuffer<i64>| {
            part.window.as_ref().map_or_else(Vec::new, |window| get(window).to_vec())
        };
        let window = parts[0].window.as_ref().map(|_| Bounds {
            start: parts.iter().flat_map(|part| bounds(part, |window| &window.start)).collect(),
            end: parts.iter().flat_map(|part| bounds(part, |window| &window.end)).collect(),
        });
        Ok(ChangeBatch {
            key: columns(&|part| &part.key)?,
            key_present: masks(&|part| part.key_present.as_ref()),
            new: RowImage {
                columns: columns(&|part| &part.new.columns)?,
                present: masks(&|part| part.new.present.as_ref()),
            },
            old: None,
            rowtime: numbers(&|part| &part.rowtime),
            window,
            seq: parts.iter().flat_map(|part| part.seq.iter().copied()).collect(),
        })
    }

    /// These rows, each by the number of its part and its place in it. There is at least one part.
    pub(crate) fn gather(parts: &[ChangeBatch], rows: &[(usize, usize)]) -> Result<ChangeBatch> {
        let old = match parts.iter().all(|p| p.old.is_some()) {
            true => Some(side(parts, rows, &|p| p.old.as_ref().unwrap_or(&p.new))?),
            false => None,
        };
        let bounds = |get: &dyn Fn(&Bounds) -> &[i64]| -> Vec<i64> {
            rows.iter().map(|&(p, r)| parts[p].window.as_ref().map_or(0, |w| get(w)[r])).collect()
        };
        let window = parts[0]
            .window
            .is_some()
            .then(|| Bounds { start: bounds(&|w| &w.start).into(), end: bounds(&|w| &w.end).into() });
        Ok(ChangeBatch {
            key: columns(parts, rows, &|p| &p.key)?,
            key_present: present(parts, rows, &|p| p.key_present.as_ref()),
            new: side(parts, rows, &|p| &p.new)?,
            old,
            rowtime: rows.iter().map(|&(p, r)| parts[p].rowtime[r]).collect(),
            window,
            seq: rows.iter().map(|&(p, r)| parts[p].seq[r]).collect(),
        })
    }
}

fn side(parts: &[ChangeBatch], rows: &[(usize, usize)], get: &dyn Fn(&ChangeBatch) -> &RowImage) -> Result<RowImage> {
    Ok(RowImage {
        columns: columns(parts, rows, &|p| &get(p).columns)?,
        present: present(parts, rows, &|p| get(p).present.as_ref()),
    })
}

fn columns(
    parts: &[ChangeBatch],
    rows: &[(usize, usize)],
    get: &dyn Fn(&ChangeBatch) -> &Vec<ArrayRef>,
) -> Result<Vec<ArrayRef>> {
    let count = get(&parts[0]).len();
    let column = |i: usize| {
        let arrays: Vec<&dyn Array> = parts.iter().map(|p| get(p)[i].as_ref()).collect();
        Ok(interleave(&arrays, rows)?)
    };
    (0..count).map(column).collect()
}

fn present(
    parts: &[ChangeBatch],
    rows: &[(usize, usize)],
    get: &dyn Fn(&ChangeBatch) -> Option<&NullBuffer>,
) -> Option<NullBuffer> {
    if parts.iter().all(|p| get(p).is_none()) {
        return None;
    }
    let bits = rows.iter().map(|&(p, r)| get(&parts[p]).is_none_or(|n| n.is_valid(r)));
    Some(NullBuffer::new(bits.collect())).filter(|n| n.null_count() > 0)
}
