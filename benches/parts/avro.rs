//! AVRO bids: decode and encode beside arrow-avro, which reads the same columns from the same bytes.

use super::formats::encoded_bids;
use super::{BATCH_ROWS, columns, report};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, FingerprintStrategy, SchemaStore};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroSoeFormat;
use std::hint::black_box;
use std::sync::Arc;
use tidegate::catalog::{Format, Wire, WireSchema};
use tidegate::format::frame::{NoSchemas, SharedSchemas};
use tidegate::format::schema::{Derivation, columns_to_schema};
use tidegate::format::{Decoder, Encoder, Side};

const ID: u32 = 7;

pub(crate) fn avro() {
    let columns = columns();
    let by = Derivation { key: false, source: "BIDS", unwrapped: false, full_name: None, nullable: Default::default() };
    let text = columns_to_schema(Format::Avro, &columns, &by).expect("the columns are plain");
    let own = WireSchema {
        subject: "bids-value".to_owned(),
        version: 1,
        id: ID as i32,
        by_id: false,
        text: text.clone(),
        message: vec![],
    };
    let wire = Wire { schema: Some(Arc::new(own)), ..Wire::default() };
    let side = Side { format: Format::Avro, columns: &columns, unwrapped: false, wire: &wire };
    let mut encoder = Encoder::of(side).expect("the columns are the schema's");
    let (payloads, batches) = encoded_bids(&mut encoder);
    let schemas: SharedSchemas = Arc::new(NoSchemas);
    for (name, wanted) in [("2 of 7", vec![0, 5]), ("7 of 7", (0..7).collect())] {
        let mut decoder = Decoder::of(side, &wanted, &schemas).expect("the columns are the schema's");
        report(&format!("AVRO bid, decode {name}"), || {
            for batch in payloads.chunks(BATCH_ROWS) {
                batch.iter().for_each(|p| decoder.push(Some(p)).expect("a bid is good"));
                black_box(decoder.finish());
            }
        });
        let mut beside = reader(&text.text, &wanted);
        report(&format!("arrow-avro bid, decode {name}"), || {
            for batch in payloads.chunks(BATCH_ROWS) {
                batch.iter().for_each(|p| assert_eq!(beside.decode(p).expect("a bid is good"), p.len()));
                black_box(beside.flush().expect("a bid is good"));
            }
        });
    }
    let (mut data, mut ranges) = (vec![], vec![]);
    report("AVRO bid, encode", || {
        for batch in &batches {
            data.clear();
            ranges.clear();
            encoder.encode(batch, None, batch[0].len(), &mut data, &mut ranges).expect("the columns are the encoder's");
            black_box(&data);
        }
    });
    encode_beside(&text.text, &batches);
}

/// arrow-avro's decoder; fewer columns are a reader's schema of these fields.
fn reader(schema: &str, wanted: &[usize]) -> arrow_avro::reader::Decoder {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(ID), AvroSchema::new(schema.to_owned())).expect("the schema is good");
    let mut fewer: serde_json::Value = serde_json::from_str(schema).expect("a schema is JSON");
    let fields = fewer["fields"].as_array().expect("a record has fields").clone();
    fewer["fields"] = wanted.iter().map(|at| fields[*at].clone()).collect();
    ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(ID))
        .with_reader_schema(AvroSchema::new(fewer.to_string()))
        .with_batch_size(BATCH_ROWS)
        .build_decoder()
        .expect("the schema is good")
}

fn encode_beside(schema: &str, batches: &[Vec<ArrayRef>]) {
    let fields: Vec<Field> = columns().iter().map(tidegate::types::Column::field).collect();
    let metadata = [("avro.schema".to_owned(), schema.to_owned())].into();
    let arrow = Schema::new_with_metadata(fields, metadata);
    let record = |batch: &Vec<ArrayRef>| RecordBatch::try_new(Arc::new(arrow.clone()), batch.clone());
    let records: Vec<RecordBatch> = batches.iter().map(|b| record(b).expect("the columns are the schema's")).collect();
    let builder = WriterBuilder::new(arrow.clone()).with_fingerprint_strategy(FingerprintStrategy::Id(ID));
    let mut encoder = builder.build_encoder::<AvroSoeFormat>().expect("the schema is good");
    report("arrow-avro bid, encode", || {
        for record in &records {
            encoder.encode(record).expect("the columns are the schema's");
            black_box(encoder.flush());
        }
    });
}
