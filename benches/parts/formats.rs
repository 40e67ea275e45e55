//! Values that bids do not have, and bids in other formats: decode and encode of our own beside the nearest library.
//!
//! arrow-json does the same work where it knows the same text; where it does not (BYTES in base64, dates as numbers),
//! `serde_json` makes a tree and prints it, which is less work. For DELIMITED the `csv` crate cuts lines into texts.

use super::{BATCH_ROWS, EVENTS, arrow_json_encode, bids::Bids, columns, report};
use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema};
use std::hint::black_box;
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::format::{Decoder, Encoder};
use tidegate::types::{Column, SqlType};

/// Who is beside us.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    ArrowJson,
    SerdeJson,
}

pub(crate) fn formats() {
    let text = || Box::new(SqlType::String);
    let long = || Box::new(SqlType::Bigint);
    let inner = SqlType::Struct(vec![("A".into(), SqlType::Integer), ("T".into(), SqlType::String)]);
    case(
        "nested",
        &[("ID", SqlType::Bigint), ("S", inner), ("L", SqlType::Array(long())), ("M", SqlType::Map(text(), long()))],
        Beside::ArrowJson,
        |n| format!(r#"{{"ID":{n},"S":{{"A":{},"T":"text {n}"}},"L":[{n},2,3],"M":{{"one":{n},"two":2}}}}"#, n % 1000),
    );
    case(
        "DECIMAL",
        &[("A", SqlType::Decimal(10, 2)), ("B", SqlType::Decimal(6, 3)), ("C", SqlType::Decimal(38, 2))],
        Beside::ArrowJson,
        |n| format!(r#"{{"A":{n}.25,"B":-{}.125,"C":99999999999{n}.75}}"#, n % 1000),
    );
    case("BYTES", &[("B", SqlType::Bytes)], Beside::SerdeJson, |n| {
        format!(r#"{{"B":"{:04}VGlkZWdhdGUgaXMgc3RyZWFtaW5nIFNRTCBmb3IgS2Fma2EgaW4gb25lIGJpbmFyeSE="}}"#, n % 10_000)
    });
    case(
        "DATE, TIME, TIMESTAMP",
        &[("D", SqlType::Date), ("T", SqlType::Time), ("TS", SqlType::Timestamp)],
        Beside::SerdeJson,
        |n| format!(r#"{{"D":{},"T":{},"TS":{}}}"#, n % 40_000, n * 13 % 86_400_000, 1_700_000_000_000u64 + n),
    );
    case("escapes", &[("T", SqlType::String)], Beside::ArrowJson, |n| {
        format!(r#"{{"T":"line {n}\nand \"another\"\twith a tab \\ a slash, \u00e9 and é, up to its end here"}}"#)
    });
    bids_in(Format::Delimited(','), "DELIMITED");
    bids_in(Format::ProtobufNosr, "PROTOBUF_NOSR");
}

/// Decode and encode of JSON of these columns.
fn case(name: &str, types: &[(&str, SqlType)], beside: Beside, row: impl Fn(u64) -> String) {
    let columns: Vec<Column> = types.iter().map(|(name, ty)| Column::value(*name, ty.clone())).collect();
    let payloads: Vec<Vec<u8>> = (0..EVENTS).map(|n| row(n).into_bytes()).collect();
    let batches = decode(&format!("{name}, decode"), Format::Json, &columns, &payloads);
    match beside {
        Beside::ArrowJson => report(&format!("{name}, arrow-json decode"), || {
            let fields: Vec<Field> = columns.iter().map(Column::field).collect();
            let builder = arrow_json::ReaderBuilder::new(Arc::new(Schema::new(fields))).with_batch_size(BATCH_ROWS);
            let mut decoder = builder.build_decoder().expect("the schema is plain");
            for batch in payloads.chunks(BATCH_ROWS) {
                batch.iter().for_each(|p| assert_eq!(decoder.decode(p).expect("a row is good"), p.len()));
                black_box(decoder.flush().expect("a row is good"));
            }
        }),
        Beside::SerdeJson => report(&format!("{name}, serde_json decode"), || {
            for payload in &payloads {
                black_box(serde_json::from_slice::<serde_json::Value>(payload).expect("a row is good"));
            }
        }),
    }
    encode(&format!("{name}, encode"), Format::Json, &columns, &batches);
    match beside {
        Beside::ArrowJson => report(&format!("{name}, arrow-json encode"), || {
            batches.iter().for_each(|batch| arrow_json_encode(batch, &columns));
        }),
        Beside::SerdeJson => {
            let tree = |p: &Vec<u8>| serde_json::from_slice(p).expect("a row is good");
            let trees: Vec<serde_json::Value> = payloads.iter().map(tree).collect();
            let mut out = Vec::with_capacity(1 << 20);
            report(&format!("{name}, serde_json encode"), || {
                for tree in &trees {
                    out.clear();
                    serde_json::to_writer(&mut out, tree).expect("a vector takes every byte");
                    black_box(&out);
                }
            });
        }
    }
}

fn decode(name: &str, format: Format, columns: &[Column], payloads: &[Vec<u8>]) -> Vec<Vec<ArrayRef>> {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = Decoder::new(format, columns, &wanted, false).expect("the columns are plain");
    let mut pass = |keep: &mut Vec<Vec<ArrayRef>>| {
        for batch in payloads.chunks(BATCH_ROWS) {
            batch.iter().for_each(|p| decoder.push(Some(p)).expect("a row is good"));
            keep.push(black_box(decoder.finish().0));
        }
    };
    let mut batches = Vec::new();
    pass(&mut batches);
    report(name, || pass(&mut Vec::new()));
    batches
}

fn encode(name: &str, format: Format, columns: &[Column], batches: &[Vec<ArrayRef>]) {
    let mut encoder = Encoder::new(format, columns, false).expect("the columns are plain");
    let (mut data, mut ranges) = (vec![], vec![]);
    report(name, || {
        for batch in batches {
            data.clear();
            ranges.clear();
            encoder.encode(batch, None, batch[0].len(), &mut data, &mut ranges).expect("the columns are the encoder's");
            black_box(&data);
        }
    });
}

/// Bids as payloads, and as the columns from which they were encoded.
pub(crate) fn encoded_bids(encoder: &mut Encoder) -> (Vec<Vec<u8>>, Vec<Vec<ArrayRef>>) {
    let (source, columns, mut bid) = (Bids::new(), columns(), vec![]);
    let json: Vec<Vec<u8>> = (0..EVENTS)
        .map(|n| {
            source.write(n, &mut bid);
            bid.clone()
        })
        .collect();
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let mut decoder = Decoder::new(Format::Json, &columns, &wanted, false).expect("the columns are plain");
    let (mut payloads, mut batches) = (vec![], vec![]);
    for batch in json.chunks(BATCH_ROWS) {
        batch.iter().for_each(|p| decoder.push(Some(p)).expect("a bid is good"));
        let (mut data, mut ranges) = (vec![], vec![]);
        let arrays = decoder.finish().0;
        encoder.encode(&arrays, None, batch.len(), &mut data, &mut ranges).expect("the columns are the encoder's");
        payloads.extend(ranges.into_iter().flatten().map(|range| data[range].to_vec()));
        batches.push(arrays);
    }
    (payloads, batches)
}

fn bids_in(format: Format, name: &str) {
    let columns = columns();
    let mut encoder = Encoder::new(format, &columns, false).expect("the columns are plain");
    let (payloads, _) = encoded_bids(&mut encoder);
    let batches = decode(&format!("{name} bid, decode"), format, &columns, &payloads);
    if let Format::Delimited(_) = format {
        // One text of all lines and one reader for it, as the crate is meant to be used; its texts are not columns yet.
        let text: Vec<u8> = payloads.iter().flat_map(|p| [p.as_slice(), b"\n"].concat()).collect();
        report("csv crate, cut a bid", || {
            let mut record = csv::ByteRecord::new();
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_slice());
            let mut lines = 0;
            while reader.read_byte_record(&mut record).expect("a line is good") {
                lines += 1;
                black_box(&record);
            }
            assert_eq!(lines, EVENTS);
        });
    }
    encode(&format!("{name} bid, encode"), format, &columns, &batches);
}
