//! The store beside a map: random commits, windows that leave, snapshots that are read late.

use super::key_range::KeyRange;
use super::snapshot::Snapshot;
use super::store::Store;
use super::window_suffix::WindowSuffix;
use crate::log::RecordSet;
use crate::plan::WindowBounds;
use crate::types::time::WindowKind;
use std::collections::BTreeMap;

/// Key with window, to value and time.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn scanned(mut snapshot: Snapshot) -> Model {
    let mut all = Model::new();
    let mut more = true;
    while more {
        more = snapshot.next(300, &KeyRange::ALL, &WindowBounds::ALL, &mut |found| {
            let known = all.insert(found.key.to_vec(), (found.value.to_vec(), found.timestamp));
            assert!(known.is_none(), "a row is scanned once");
        });
    }
    all
}

fn check(seed: u64, kind: Option<WindowKind>) {
    let shape = WindowSuffix { kind, retention_ms: if kind.is_some() { 40 } else { i64::MAX } };
    let (mut dice, mut store, mut model) = (Dice(seed), Store::new(shape), Model::new());
    let (mut newest, mut held): (i64, Vec<(Snapshot, Model)>) = (i64::MIN / 2, Vec::new());
    for commit in 0..120_u64 {
        let mut set = RecordSet::default();
        for _ in 0..dice.below(if commit % 20 == 0 { 4000 } else { 40 }) {
            let mut key = format!("key {}", dice.below(700)).into_bytes();
            let start = (commit + dice.below(30)) as i64;
            if kind.is_some() {
                key.extend(start.to_be_bytes());
            }
            let value = vec![b'v'; dice.below(60) as usize];
            let value = (dice.below(4) > 0).then_some(value);
            let time = dice.below(1000) as i64;
            set.push(0, time, Some(&key), value.as_deref());
            match value {
                Some(value) => {
                    if kind.is_some() {
                        newest = newest.max(start);
                    }
                    model.insert(key, (value, time))
                }
                None => model.remove(&key),
            };
            if kind.is_some() {
                model.retain(|key, _| i64::from_be_bytes(*key.last_chunk().unwrap()) > newest - 40);
            }
        }
        let picked: Vec<u32> = (0..set.len() as u32).collect();
        store.apply(&set, &picked);
        assert_eq!(scanned(Snapshot::of(std::slice::from_ref(&store))), model, "seed {seed}, commit {commit}");
        let key = format!("key {}", dice.below(800)).into_bytes();
        let (mut found, mut last) = (Model::new(), Vec::new());
        store.find(&key, &WindowBounds::ALL, &mut |row| {
            assert!(last.as_slice() < row.key, "windows come in order");
            last = row.key.to_vec();
            found.insert(row.key.to_vec(), (row.value.to_vec(), row.timestamp));
        });
        let suffix = if kind.is_some() { 8 } else { 0 };
        let want = model.iter().filter(|(k, _)| k[..k.len() - suffix] == key).map(|(k, v)| (k.clone(), v.clone()));
        assert_eq!(found, want.collect(), "seed {seed}, commit {commit}");
        if dice.below(10) == 0 {
            held.push((Snapshot::of(std::slice::from_ref(&store)), model.clone()));
        }
    }
    for (snapshot, model) in held {
        assert_eq!(scanned(snapshot), model, "seed {seed}: a snapshot stays what it was");
    }
    let live: usize = model.iter().map(|(k, v)| k.len() + v.0.len()).sum();
    assert!(store.bytes() < 20 * live + (1 << 20), "{} bytes for {live}", store.bytes());
}

#[test]
fn a_store_is_a_map_without_and_with_windows() {
    for seed in 0..2 {
        check(seed, None);
        check(seed, Some(WindowKind::Tumbling { size_ms: 10 }));
    }
}
