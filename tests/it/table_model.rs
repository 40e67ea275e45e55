//! The model of tables: BTreeMaps, one change at a time. What a table holds, which group a row is in, who is joined with whom
//! is worked out from nothing but the last row of each key.

use crate::model::{Rec, Val, key_bytes, result};
use std::collections::BTreeMap;
use tidegate::functions::aggregate::Aggregate;

type Key = Vec<u8>;
type Row = (Vec<Val>, i64);

/// A grouping of a table: value column 0 is the group, the arguments of the calls are counted from column 1 on.
#[derive(Clone)]
pub(crate) struct TableGrouping {
    pub(crate) calls: Vec<(Aggregate, Option<usize>)>,
    pub(crate) with_old: bool,
}

#[derive(Default)]
struct Group {
    rows: BTreeMap<Key, Vec<Val>>,
    time: i64,
    known: bool,
}

/// Every change of every group.
pub(crate) fn group_table(changes: &[Rec], spec: &TableGrouping) -> Vec<Rec> {
    let mut table: BTreeMap<Key, Vec<Val>> = BTreeMap::new();
    let mut groups: BTreeMap<Key, (Val, Group)> = BTreeMap::new();
    let mut out = Vec::new();
    for change in changes {
        let Some(key) = &change.key else { continue };
        let id = key_bytes(key);
        let old = table.remove(&id);
        let new = change.new.clone().filter(|row| !row[0].is_null());
        if let Some(row) = &new {
            table.insert(id.clone(), row.clone());
        }
        let mut touched = Vec::new();
        if let Some(row) = &old {
            touched.push(row[0].clone());
        }
        if let Some(row) = &new
            && touched.first() != Some(&row[0])
        {
            touched.push(row[0].clone());
        }
        for group in touched {
            let (_, state) =
                groups.entry(key_bytes(std::slice::from_ref(&group))).or_insert((group.clone(), Group::default()));
            let before = (spec.with_old && state.known).then(|| results(&state.rows, spec));
            state.rows.remove(&id);
            if let Some(row) = new.as_ref().filter(|row| row[0] == group) {
                state.rows.insert(id.clone(), row.clone());
            }
            state.time = if state.known { state.time.max(change.time) } else { change.time };
            state.known = true;
            out.push(Rec {
                key: Some(vec![group]),
                window: None,
                old: before,
                new: Some(results(&state.rows, spec)),
                time: state.time,
                seq: change.seq,
            });
        }
    }
    out
}

fn results(rows: &BTreeMap<Key, Vec<Val>>, spec: &TableGrouping) -> Vec<Val> {
    let one = |(function, argument): &(Aggregate, Option<usize>)| {
        let values = rows.values().map(|row| argument.map_or(Val::Bool(true), |at| row[at + 1].clone()));
        result(function, &values.filter(|v| !v.is_null()).collect::<Vec<_>>())
    };
    spec.calls.iter().map(one).collect()
}

/// What a table emits of its changes when only the row's presence is kept: a tombstone for a row that was there. The old image,
/// which the operator does not write, says whether there was a row.
pub(crate) fn known_tombstones(changes: &[Rec]) -> Vec<Rec> {
    let mut there: BTreeMap<Key, ()> = BTreeMap::new();
    let mut out = Vec::new();
    for change in changes {
        let Some(key) = &change.key else { continue };
        let was = there.remove(&key_bytes(key)).map(|()| vec![]);
        if change.new.is_some() {
            there.insert(key_bytes(key), ());
        }
        if was.is_some() || change.new.is_some() {
            out.push(Rec { old: was, ..change.clone() });
        }
    }
    out
}

/// How sides meet: which rows leave alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    pub(crate) left: bool,
    pub(crate) right: bool,
}

/// Both tables' changes, each with its side.
pub(crate) type Sided = (usize, Rec);

fn joined(left: Option<&Row>, right: Option<&Row>, widths: [usize; 2]) -> Vec<Val> {
    let side = |row: Option<&Row>, width: usize| row.map_or(vec![Val::Null; width], |r| r.0.clone());
    [side(left, widths[0]), side(right, widths[1])].concat()
}

/// Two tables by key, with the row that was joined before.
pub(crate) fn join_tables(changes: &[Sided], alone: Alone, widths: [usize; 2]) -> Vec<Rec> {
    let mut tables: [BTreeMap<Key, Row>; 2] = Default::default();
    let mut out = Vec::new();
    for (side, change) in changes {
        let Some(key) = &change.key else { continue };
        let id = key_bytes(key);
        let exists = |tables: &[BTreeMap<Key, Row>; 2]| match (tables[0].contains_key(&id), tables[1].contains_key(&id))
        {
            (true, true) => true,
            (true, false) => alone.left,
            (false, true) => alone.right,
            (false, false) => false,
        };
        let row = |tables: &[BTreeMap<Key, Row>; 2]| joined(tables[0].get(&id), tables[1].get(&id), widths);
        let before = exists(&tables).then(|| row(&tables));
        match &change.new {
            Some(row) => tables[*side].insert(id.clone(), (row.clone(), change.time)),
            None => tables[*side].remove(&id),
        };
        let now = exists(&tables);
        if before.is_none() && !now {
            continue;
        }
        let other = tables[1 - side].get(&id).map_or(change.time, |row| row.1);
        let new = now.then(|| row(&tables));
        out.push(Rec { old: before, new, time: change.time.max(other), ..change.clone() });
    }
    out
}

/// A stream's rows with a table's.
pub(crate) fn look_up(changes: &[Sided], left: bool, widths: [usize; 2]) -> Vec<Rec> {
    let mut table: BTreeMap<Key, Row> = BTreeMap::new();
    let mut out = Vec::new();
    for (side, change) in changes {
        let Some(key) = &change.key else { continue };
        let id = key_bytes(key);
        if *side == 1 {
            match &change.new {
                Some(row) => table.insert(id, (row.clone(), change.time)),
                None => table.remove(&id),
            };
        } else if let Some(row) = &change.new
            && (left || table.contains_key(&id))
        {
            let row = joined(Some(&(row.clone(), change.time)), table.get(&id), widths);
            out.push(Rec { new: Some(row), ..change.clone() });
        }
    }
    out
}

/// A table with another by foreign key: value column 0 of the left one names the key of the right one. With the row that was
/// joined before.
pub(crate) fn join_foreign(changes: &[Sided], left: bool, widths: [usize; 2]) -> Vec<Rec> {
    let mut lefts: BTreeMap<Key, (Vec<Val>, Row)> = BTreeMap::new();
    let mut rights: BTreeMap<Key, Row> = BTreeMap::new();
    let mut out = Vec::new();
    for (side, change) in changes {
        let Some(key) = &change.key else { continue };
        let id = key_bytes(key);
        let mut push = |key: &Vec<Val>, old: Option<Vec<Val>>, new: Option<Vec<Val>>, time: i64| {
            out.push(Rec { key: Some(key.clone()), old, new, time, ..change.clone() });
        };
        if *side == 1 {
            let before = match &change.new {
                Some(row) => rights.insert(id.clone(), (row.clone(), change.time)),
                None => rights.remove(&id),
            };
            for (key, row) in lefts.values() {
                if !row.0[0].is_null() && key_bytes(&row.0[..1]) == id {
                    let leaves = change.new.is_some() || left;
                    let new = leaves.then(|| joined(Some(row), rights.get(&id), widths));
                    let old = (before.is_some() || left).then(|| joined(Some(row), before.as_ref(), widths));
                    push(key, old, new, change.time.max(row.1));
                }
            }
            continue;
        }
        let before = lefts.remove(&id);
        let named = before.as_ref().is_some_and(|(_, row)| !row.0[0].is_null());
        let right = |row: &Row| if row.0[0].is_null() { None } else { rights.get(&key_bytes(&row.0[..1])) };
        let old = before.as_ref().filter(|(_, row)| left || right(row).is_some());
        let old = old.map(|(_, row)| joined(Some(row), right(row), widths));
        let Some(row) = &change.new else {
            if before.is_some() && (named || left) {
                push(key, old, None, change.time);
            }
            continue;
        };
        let row = (row.clone(), change.time);
        let right = right(&row);
        let time = right.map_or(change.time, |r| r.1.max(change.time));
        if right.is_some() || left {
            push(key, old, Some(joined(Some(&row), right, widths)), time);
        } else if named {
            push(key, old, None, time);
        }
        lefts.insert(id, (key.clone(), row));
    }
    out
}
