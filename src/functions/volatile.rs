//! What no argument decides: chance and the present moment. Only these functions give another result at a second run.

use super::Param::Is;
use super::kernel::{Blobs, numbers, strings};
use super::rounding::MATHEMATICAL;
use super::{Entry, ErrorSink, Overload, Returns, Volatility, entry};
use crate::config::random_id;
use crate::error::Result;
use crate::types::SqlType::{Bytes, Double, String as Text};
use arrow::datatypes::Float64Type;
use datafusion::logical_expr::ColumnarValue;
use std::fmt::Write;

pub(super) static ENTRIES: &[Entry] = &[
    entry!("RANDOM", MATHEMATICAL, "Returns a random number from 0.0 up to, but not, 1.0.",
    ["RANDOM() < 1" => "true"],
    [Overload::ambient(Volatility::Volatile, Returns::Type(Double), |_, rows, _| {
        let mut dice = Dice::new()?;
        numbers::<Float64Type>(rows, |_| Some((dice.roll() >> 11) as f64 / (1u64 << 53) as f64))
    })]),
    entry!("UUID", "STRING", "Returns a random UUID, or the one that 16 BYTES hold.",
        ["LEN(UUID())" => "36",
         "UUID(TO_BYTES('00112233445566778899aabbccddeeff', 'hex'))" => "00112233-4455-6677-8899-aabbccddeeff"],
        [Overload::ambient(Volatility::Volatile, Returns::Type(Text), |_, rows, _| {
             let mut dice = Dice::new()?;
             strings(rows, |_, out| {
                 let mut bytes = [0; 16];
                 bytes[..8].copy_from_slice(&dice.roll().to_be_bytes());
                 bytes[8..].copy_from_slice(&dice.roll().to_be_bytes());
                 // Version 4, variant 1.
                 bytes[6] = bytes[6] & 0x0F | 0x40;
                 bytes[8] = bytes[8] & 0x3F | 0x80;
                 write(&bytes, out);
                 true
             })
         }),
         Overload::fallible(&[Is(Bytes)], Returns::Type(Text), of_bytes)]),
];

fn of_bytes(args: &[ColumnarValue], rows: usize, _: &mut ErrorSink) -> Result<ColumnarValue> {
    let bytes = Blobs::new(args, 0)?;
    strings(rows, |row, out| match bytes.get(row).and_then(|b| <&[u8; 16]>::try_from(b).ok()) {
        Some(bytes) => {
            write(bytes, out);
            true
        }
        None => false,
    })
}

fn write(bytes: &[u8; 16], out: &mut String) {
    for (i, byte) in bytes.iter().enumerate() {
        out.push_str(if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" });
        let _ = write!(out, "{byte:02x}");
    }
}

/// Numbers by xorshift, from a seed that the system drew.
struct Dice(u64);

impl Dice {
    fn new() -> Result<Dice> {
        Ok(Dice(random_id()? as u64 | 1))
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
