//! Pruning: which pieces of a partition have to be read for records of certain timestamps and offsets.
//!
//! A piece is an index entry, about 64 KiB of batches. Its smallest and largest timestamp are known, so that a piece in the
//! middle can be skipped although timestamps are not in order. Adjacent pieces with a small gap are read as one.

use crate::log::Span;
use std::ops::{Range, RangeInclusive};

/// Bytes per read of a reader: some thousand records, a few batches.
pub(super) const READ_BYTES: u64 = 1024 * 1024;

/// Consecutive batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Their offsets.
    pub(super) offsets: Range<i64>,
    /// Their size in bytes.
    pub(super) bytes: u64,
    /// Bounds of their timestamps.
    pub(super) times: RangeInclusive<i64>,
}

/// The parts of these pieces that have to be read.
pub(super) fn wanted(pieces: &[Piece], offsets: &Range<i64>, times: &RangeInclusive<i64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut gap, mut latest) = (0, i64::MIN);
    for piece in pieces {
        let in_time = piece.times.end() >= times.start() && piece.times.start() <= times.end();
        let in_place = piece.offsets.end > offsets.start && piece.offsets.start < offsets.end;
        if !in_time || !in_place {
            gap += piece.bytes;
            latest = latest.max(*piece.times.end());
            continue;
        }
        let end = piece.offsets.end.min(offsets.end);
        match spans.last_mut() {
            // One read covers the gap as well.
            Some(last) if gap < READ_BYTES => last.offsets.end = end,
            _ => spans.push(Span { offsets: piece.offsets.start..end, latest_before: Some(latest) }),
        }
        gap = 0;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(at: i64, times: RangeInclusive<i64>) -> Piece {
        Piece { offsets: at * 10..at * 10 + 10, bytes: READ_BYTES, times }
    }

    #[test]
    fn pieces_of_other_times_are_left_out_and_their_latest_time_is_told() {
        let pieces = [piece(0, 1..=5), piece(1, 4..=20), piece(2, 90..=99), piece(3, i64::MIN..=7), piece(4, 21..=22)];
        let span = |offsets, latest| Span { offsets, latest_before: Some(latest) };
        assert_eq!(wanted(&pieces, &(0..50), &(6..=20)), [span(10..20, 5), span(30..40, 99)]);
        assert_eq!(wanted(&pieces, &(0..50), &(21..=21)), [span(40..50, 99)]);
        assert_eq!(wanted(&pieces, &(12..47), &(i64::MIN..=i64::MAX)), [span(10..47, 5)]);
        assert_eq!(wanted(&pieces, &(0..50), &(100..=200)), []);
    }
}
