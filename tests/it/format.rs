//! Payloads to columns and back: golden cases of ksqlDB's lenient rules, and a second implementation to agree with.

mod avro;
mod avro_laws;
mod avro_oracle;
mod avro_targets;
#[path = "../../benches/bids.rs"]
mod bids;
mod decoders;
mod fuzz;
mod golden;
mod oracle;
mod protobuf_oracle;
pub(crate) mod registered;
mod registry;
mod registry_fuzz;
mod registry_golden;
mod registry_laws;
mod round_trip;
mod targets;

use decoders::{all, bid_columns, rows};

/// Deterministic chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 16) as usize % sides
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}
