//! The partitioner of Java's producer: murmur2 over the key bytes (`BuiltInPartitioner.partitionForKey`, `Utils.murmur2`). Rows
//! must be in the partitions that a Java producer would choose, or co-partitioned joins silently miss matches.
//!
//! For a record without a key the caller chooses the partition; a query keeps that of its source.

use crate::mutant::{self, Mutant};

/// Seed of Kafka's murmur2.
const SEED: u32 = 0x9747_b28c;
/// Multiplier of murmur2.
const MULTIPLIER: u32 = 0x5bd1_e995;

/// Kafka's murmur2 (`Utils.murmur2`). Java prints the same 32 bits as a signed number.
pub fn murmur2(bytes: &[u8]) -> u32 {
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (at, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * at);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// The partition to which a Java producer would send this key: `(murmur2 & 0x7fffffff) % partitions`.
///
/// A topic has at least one partition; 0 is treated as 1.
pub fn java(key: &[u8], partitions: u32) -> i32 {
    if mutant::on(Mutant::Crc32Partitioner) {
        return (crc32c::crc32c(key) % partitions.max(1)) as i32;
    }
    ((murmur2(key) & 0x7fff_ffff) % partitions.max(1)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own unit test (`UtilsTest.testMurmur2`).
    #[test]
    fn murmur2_is_kafkas() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, hash) in vectors {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn keys_go_where_java_sends_them() {
        assert_eq!(java(b"x", 4), 2);
        assert_eq!(java(b"11", 4), 0);
        assert_eq!(java(&1i32.to_be_bytes(), 4), 0);
        assert_eq!(java(b"anything", 1), 0);
        assert_eq!(java(b"anything", 0), 0);
    }
}
