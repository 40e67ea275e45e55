//! PROTOBUF and JSON_SR of bids: decode of all columns and of two, and encode, beside JSON in the same run.

use super::{BATCH_ROWS, EVENTS, bids::Bids, columns, report};
use arrow::array::ArrayRef;
use std::hint::black_box;
use std::sync::Arc;
use tidegate::catalog::{Format, Nullable, Wire, WireSchema};
use tidegate::format::frame::{NoSchemas, SharedSchemas};
use tidegate::format::schema::{Derivation, columns_to_schema};
use tidegate::format::{Decoder, Encoder, Side};
use tidegate::types::Column;

/// AUCTION and PRICE, as Nexmark's second query reads them.
const TWO: [usize; 2] = [0, 2];

pub(crate) fn registry() {
    let (source, columns, mut bid) = (Bids::new(), columns(), vec![]);
    let json: Vec<Vec<u8>> = (0..EVENTS)
        .map(|n| {
            source.write(n, &mut bid);
            bid.clone()
        })
        .collect();
    let batches = of(Format::Json, &columns, &json);
    for format in [Format::Protobuf, Format::JsonSr] {
        let payloads = written(format, &columns, &batches);
        of(format, &columns, &payloads);
    }
}

fn wire(format: Format, columns: &[Column]) -> Wire {
    let by = Derivation { key: false, source: "BID", unwrapped: false, full_name: None, nullable: Nullable::None };
    let schema = columns_to_schema(format, columns, &by).ok().map(|text| {
        let subject = "bid-value".to_owned();
        Arc::new(WireSchema { subject, version: 1, id: 7, by_id: false, text, message: vec![0] })
    });
    Wire { schema, ..Wire::default() }
}

/// Decode and encode of payloads in one format; returns the columns.
fn of(format: Format, columns: &[Column], payloads: &[Vec<u8>]) -> Vec<Vec<ArrayRef>> {
    let wire = wire(format, columns);
    let side = Side { format, columns, unwrapped: false, wire: &wire };
    let schemas: SharedSchemas = Arc::new(NoSchemas);
    let all: Vec<usize> = (0..columns.len()).collect();
    let mut batches = vec![];
    for (name, wanted) in [("7 of 7", all.as_slice()), ("2 of 7", &TWO)] {
        let mut decoder = Decoder::of(side, wanted, &schemas).expect("the columns are plain");
        let mut pass = |keep: &mut Vec<Vec<ArrayRef>>| {
            for batch in payloads.chunks(BATCH_ROWS) {
                batch.iter().for_each(|p| decoder.push(Some(p)).expect("a row is good"));
                keep.push(black_box(decoder.finish().0));
            }
        };
        if batches.is_empty() {
            pass(&mut batches);
        }
        report(&format!("{} bid, decode {name}", format.name()), || pass(&mut Vec::new()));
    }
    let mut encoder = Encoder::of(side).expect("the columns are plain");
    let (mut data, mut ranges) = (vec![], vec![]);
    report(&format!("{} bid, encode", format.name()), || {
        for batch in &batches {
            data.clear();
            ranges.clear();
            encoder.encode(batch, None, batch[0].len(), &mut data, &mut ranges).expect("the columns are the encoder's");
            black_box(&data);
        }
    });
    batches
}

/// The rows as payloads.
fn written(format: Format, columns: &[Column], batches: &[Vec<ArrayRef>]) -> Vec<Vec<u8>> {
    let wire = wire(format, columns);
    let mut encoder =
        Encoder::of(Side { format, columns, unwrapped: false, wire: &wire }).expect("the columns are plain");
    let mut payloads = vec![];
    for batch in batches {
        let (mut data, mut ranges) = (vec![], vec![]);
        encoder.encode(batch, None, batch[0].len(), &mut data, &mut ranges).expect("the columns are the encoder's");
        payloads.extend(ranges.into_iter().flatten().map(|range| data[range].to_vec()));
    }
    payloads
}
