//! Payloads to columns and back: golden cases of ksqlDB's lenient rules, and a second implementation to agree with.

#[path = "../../benches/bids.rs"]
mod bids;
mod fuzz;
mod golden;
mod oracle;
mod protobuf_oracle;
mod round_trip;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use oracle::{V, values};
use tidegate::catalog::Format;
use tidegate::format::Decoder;
use tidegate::types::{Column, SqlType};

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

fn all(format: Format, columns: &[Column], unwrapped: bool) -> Decoder {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    Decoder::new(format, columns, &wanted, unwrapped).unwrap()
}

/// Rows of the batch that a decoder holds; `None` = no image.
fn rows(columns: &[Column], (arrays, present): (Vec<ArrayRef>, Option<NullBuffer>), n: usize) -> Vec<Option<Vec<V>>> {
    let by_column: Vec<Vec<V>> = arrays.iter().zip(columns).map(|(a, c)| values(a, &c.ty)).collect();
    (0..n)
        .map(|row| {
            let image: Vec<V> = by_column.iter().map(|c| c[row].clone()).collect();
            match present.as_ref().is_some_and(|p| p.is_null(row)) {
                true => {
                    assert!(image.iter().all(|v| *v == V::Null), "a row without an image holds {image:?}");
                    None
                }
                false => Some(image),
            }
        })
        .collect()
}

fn bid_columns() -> Vec<Column> {
    let (number, text) = (SqlType::Bigint, SqlType::String);
    let types = [&number, &number, &number, &text, &text, &number, &text];
    let names = ["AUCTION", "BIDDER", "PRICE", "CHANNEL", "URL", "DATETIME", "EXTRA"];
    names.into_iter().zip(types).map(|(name, ty)| Column::value(name, ty.clone())).collect()
}
