//! Decoders and what they hold, for every test of the formats.

use super::oracle::{V, values};
use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use tidegate::catalog::Format;
use tidegate::format::Decoder;
use tidegate::types::{Column, SqlType};

/// A decoder that reads every column.
pub(super) fn all(format: Format, columns: &[Column], unwrapped: bool) -> Decoder {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    Decoder::new(format, columns, &wanted, unwrapped).unwrap()
}

/// Rows of the batch that a decoder holds; `None` = no image.
pub(super) fn rows(
    columns: &[Column],
    (arrays, present): (Vec<ArrayRef>, Option<NullBuffer>),
    n: usize,
) -> Vec<Option<Vec<V>>> {
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

/// The columns of a bid.
pub(super) fn bid_columns() -> Vec<Column> {
    let (number, text) = (SqlType::Bigint, SqlType::String);
    let types = [&number, &number, &number, &text, &text, &number, &text];
    let names = ["AUCTION", "BIDDER", "PRICE", "CHANNEL", "URL", "DATETIME", "EXTRA"];
    names.into_iter().zip(types).map(|(name, ty)| Column::value(name, ty.clone())).collect()
}
