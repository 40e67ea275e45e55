//! Equal values inside of arrays and maps, as Java's collections see them: NULL equals NULL, a map's entries may stand in
//! any order.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use std::collections::HashMap;

/// Up to this many elements are compared pairwise, more through their hashes.
const PAIRWISE_MAX: usize = 16;

/// Row `i` of `a` and row `j` of `b`, which have one type, are equal.
pub fn equal(a: &dyn Array, i: usize, b: &dyn Array, j: usize) -> bool {
    if a.is_null(i) || b.is_null(j) {
        return a.is_null(i) == b.is_null(j);
    }
    match (a.data_type(), b.data_type()) {
        (DataType::Utf8, DataType::Utf8) => a.as_string::<i32>().value(i) == b.as_string::<i32>().value(j),
        (DataType::List(_), DataType::List(_)) => {
            let (a, b) = (a.as_list::<i32>().value(i), b.as_list::<i32>().value(j));
            a.len() == b.len() && (0..a.len()).all(|k| equal(&a, k, &b, k))
        }
        (DataType::Struct(_), DataType::Struct(_)) => {
            let (a, b) = (a.as_struct(), b.as_struct());
            a.num_columns() == b.num_columns() && a.columns().iter().zip(b.columns()).all(|(a, b)| equal(a, i, b, j))
        }
        (DataType::Map(..), DataType::Map(..)) => {
            let (a, b) = (a.as_map().value(i), b.as_map().value(j));
            let found = |k| {
                let same = |m: &usize| equal(a.column(0), k, b.column(0), *m);
                (0..b.len()).find(same).is_some_and(|m| equal(a.column(1), k, b.column(1), m))
            };
            a.len() == b.len() && (0..a.len()).all(found)
        }
        _ => a.slice(i, 1).as_ref() == b.slice(j, 1).as_ref(),
    }
}

/// A set of elements of one array, which keeps the first of equals.
#[derive(Debug)]
pub(super) struct Distinct<'a> {
    items: &'a ArrayRef,
    /// One a row of `items`; `None` where the type has no hash of equals (maps, in any order).
    hashes: Option<Vec<u64>>,
    members: Vec<usize>,
    by_hash: HashMap<u64, Vec<usize>>,
}

impl<'a> Distinct<'a> {
    pub(super) fn new(items: &'a ArrayRef) -> Distinct<'a> {
        let mut hashes = vec![0; items.len()];
        let state = RandomState::default();
        let hashed = !has_map(items.data_type()) && create_hashes([items], &state, &mut hashes).is_ok();
        Distinct { items, hashes: hashed.then_some(hashes), members: Vec::new(), by_hash: HashMap::new() }
    }

    /// Forgets all members.
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.by_hash.clear();
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        let same = |other: &&usize| equal(self.items, place, self.items, **other);
        match &self.hashes {
            Some(hashes) if self.members.len() > PAIRWISE_MAX => {
                self.by_hash.get(&hashes[place]).is_some_and(|known| known.iter().any(|m| same(&m)))
            }
            Some(hashes) => self.members.iter().filter(|m| hashes[**m] == hashes[place]).any(|m| same(&m)),
            None => self.members.iter().any(|m| same(&m)),
        }
    }

    /// Adds an element; false if there is an equal one.
    pub(super) fn insert(&mut self, place: usize) -> bool {
        if self.contains(place) {
            return false;
        }
        self.members.push(place);
        if let Some(hashes) = &self.hashes {
            match self.members.len() {
                n if n <= PAIRWISE_MAX => {}
                n if n == PAIRWISE_MAX + 1 => {
                    for member in &self.members {
                        self.by_hash.entry(hashes[*member]).or_default().push(*member);
                    }
                }
                _ => self.by_hash.entry(hashes[place]).or_default().push(place),
            }
        }
        true
    }
}

fn has_map(ty: &DataType) -> bool {
    match ty {
        DataType::Map(..) => true,
        DataType::List(item) => has_map(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_map(f.data_type())),
        _ => false,
    }
}
