//! COUNT_DISTINCT: an estimate, as ksqlDB's, from a HyperLogLog with 2^14 registers.
//!
//! ```text
//! words: handle | registers set | sum of 2^-r over the registers set      bytes: (register, r), ... sorted; or all registers
//! ```
//! The hash is the MurmurHash of the library that ksqlDB uses, so that the estimates are the same. A group begins with a
//! list of the registers set; a long one becomes the table of all.

use super::cells::{Cell, Cells, Native};
use super::fixed_size::{NO_UNDO, Stored};
use super::heap::Heap;
use super::machine::Machine;

const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;
/// Bytes of an entry of the list: register, little-endian, and r.
const ENTRY: usize = 3;
/// From here on the table is not much larger than the list.
const LISTED_MAX: usize = 2048;

/// Counts distinct hashes; `None` is a NULL.
pub(super) struct Distinct {
    pub(super) hashes: Vec<Option<u32>>,
}

impl Distinct {
    fn raise(words: &mut [i64], heap: &mut Heap, register: usize, rank: u8) {
        let bytes = heap.get(words[0]);
        let found = find(bytes, register);
        let held = match found {
            Ok(at) => bytes[at],
            Err(_) => 0,
        };
        if held >= rank {
            return;
        }
        let sum = f64::load(&words[2..]) + weight(rank) - if held == 0 { 0.0 } else { weight(held) };
        sum.store(&mut words[2..]);
        words[1] += i64::from(held == 0);
        let bytes = heap.edit(&mut words[0]);
        match found {
            Ok(at) => bytes[at] = rank,
            Err(at) => {
                let [low, high] = (register as u16).to_le_bytes();
                bytes.splice(at..at, [low, high, rank]);
            }
        }
        if bytes.len() == LISTED_MAX * ENTRY {
            let mut table = vec![0; REGISTERS];
            listed(bytes).for_each(|(register, rank)| table[register] = rank);
            *bytes = table;
        }
    }
}

fn weight(rank: u8) -> f64 {
    1.0 / (1u64 << rank) as f64
}

/// The place of the register's rank, or where its entry belongs.
fn find(bytes: &[u8], register: usize) -> Result<usize, usize> {
    if bytes.len() == REGISTERS {
        return Ok(register);
    }
    let (mut low, mut high) = (0, bytes.len() / ENTRY);
    while low < high {
        let middle = (low + high) / 2;
        let at = middle * ENTRY;
        match usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])).cmp(&register) {
            std::cmp::Ordering::Equal => return Ok(at + 2),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Err(low * ENTRY)
}

/// Registers and ranks of either form.
fn listed(bytes: &[u8]) -> Box<dyn Iterator<Item = (usize, u8)> + '_> {
    match bytes.len() {
        REGISTERS => Box::new(bytes.iter().copied().enumerate().filter(|(_, rank)| *rank > 0)),
        _ => Box::new(bytes.chunks_exact(ENTRY).map(|e| (usize::from(u16::from_le_bytes([e[0], e[1]])), e[2]))),
    }
}

impl Machine for Distinct {
    const WORDS: usize = 3;
    type Cell = Cell<i64>;

    fn cell<'c>(&self, cells: &'c mut Cells) -> &'c mut Cell<i64> {
        i64::cell(cells)
    }

    fn add(&self, words: &mut [i64], heap: &mut Heap, row: usize) -> bool {
        if let Some(hash) = self.hashes[row] {
            let register = (hash >> (32 - REGISTER_BITS)) as usize;
            let rest = (hash << REGISTER_BITS) | ((1 << (REGISTER_BITS - 1)) + 1);
            Distinct::raise(words, heap, register, rest.leading_zeros() as u8 + 1);
        }
        true
    }

    fn undo(&self, _: &mut [i64], _: &mut Heap, _: usize) -> bool {
        unreachable!("{}", NO_UNDO)
    }

    fn merge(&self, words: &mut [i64], from: &[i64], heap: &mut Heap) -> bool {
        let other = heap.get(from[0]).to_vec();
        listed(&other).for_each(|(register, rank)| Distinct::raise(words, heap, register, rank));
        true
    }

    fn peek(&self, words: &[i64], _: &Heap, out: &mut Cell<i64>) {
        let (all, free) = (REGISTERS as f64, (REGISTERS as i64 - words[1]) as f64);
        let alpha = 0.7213 / (1.0 + 1.079 / all) * all * all;
        let estimate = alpha / (free + f64::load(&words[2..]));
        let estimate = if estimate <= 2.5 * all { all * (all / free).ln() } else { estimate };
        out.push(Some((estimate + 0.5).floor() as i64));
    }

    fn blank(&self, out: &mut Cell<i64>) {
        out.push(None);
    }
}

const M: u32 = 0x5bd1_e995;

fn mixed(k: u32) -> u32 {
    let k = k.wrapping_mul(M);
    (k ^ (k >> 24)).wrapping_mul(M)
}

fn finished(mut h: u32) -> u32 {
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

/// MurmurHash of bytes, 32 bits.
pub(super) fn hash_bytes(bytes: &[u8]) -> u32 {
    let mut h = u32::MAX ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        h = h.wrapping_mul(M) ^ mixed(u32::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        // The library takes the rest in the other order, and Java's bytes are signed.
        for (i, &byte) in rest.iter().rev().enumerate() {
            h ^= ((byte as i8) as i32 as u32) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    finished(h)
}

/// MurmurHash of a number, 32 bits.
pub(super) fn hash_number(value: i64) -> u32 {
    let h = mixed(value as u32);
    finished(h.wrapping_mul(M) ^ mixed((value >> 32) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(values: impl Iterator<Item = i64>) -> i64 {
        let hashes: Vec<Option<u32>> = values.map(|v| Some(hash_number(v))).collect();
        let (mut words, mut heap, rows) = ([0; 3], Heap::default(), hashes.len());
        let distinct = Distinct { hashes };
        for row in 0..rows {
            assert!(distinct.add(&mut words, &mut heap, row));
        }
        let mut cells = Cells::Bigint(Cell::default());
        distinct.peek(&words, &heap, i64::cell(&mut cells));
        let Cells::Bigint(cell) = cells else { unreachable!() };
        cell.last()
    }

    #[test]
    fn the_estimate_is_near_the_truth_and_does_not_count_twice() {
        assert_eq!(count(std::iter::empty()), 0);
        assert_eq!(count((0..300).map(|i| i % 3)), 3);
        for truth in [100, 2_000, 30_000, 200_000] {
            let estimate = count((0..2 * truth).map(|i| i % truth));
            assert!((estimate - truth).abs() * 30 <= truth, "{estimate} for {truth}");
        }
    }
}
