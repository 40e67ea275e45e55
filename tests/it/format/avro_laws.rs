//! Random columns and rows as AVRO: our own bytes come back, arrow-avro reads the same values from them, and a reader of other
//! columns reads what they have in common.

use super::oracle::V;
use super::registered::{decoder, schemas, side, written_by};
use super::round_trip::{some_columns, some_row};
use super::{Dice, all, rows};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use tidegate::catalog::{Format, Wire};
use tidegate::format::schema::{Derivation, Inference, columns_to_schema, schema_to_columns};
use tidegate::format::{Decoder, Encoder};
use tidegate::types::{Column, SqlType};

const SEEDS: u64 = 40;

/// Rows of these columns, encoded by the columns' own schema.
struct Written {
    schema: String,
    arrays: Vec<ArrayRef>,
    images: Vec<Option<Vec<V>>>,
    payloads: Vec<Vec<u8>>,
}

fn written(dice: &mut Dice, columns: &[Column]) -> Written {
    let mut source = all(Format::Json, columns, false);
    let count = 1 + dice.roll(40);
    for _ in 0..count {
        source.push(Some(some_row(dice, columns).to_string().as_bytes())).unwrap();
    }
    let (arrays, present) = source.finish();
    let by = Derivation { key: false, source: "S", unwrapped: false, full_name: None, nullable: Default::default() };
    let schema = columns_to_schema(Format::Avro, columns, &by).unwrap().text.to_string();
    let wire = written_by(7, &schema);
    let mut encoder = Encoder::of(side(columns, false, &wire)).unwrap();
    let (mut data, mut ranges) = (vec![], vec![]);
    assert_eq!(encoder.encode(&arrays, None, count, &mut data, &mut ranges).unwrap(), vec![]);
    let payloads = ranges.into_iter().map(|range| data[range.unwrap()].to_vec()).collect();
    Written { schema, images: rows(columns, (arrays.clone(), present), count), arrays, payloads }
}

#[test]
fn random_rows_come_back_and_are_what_arrow_avro_reads() {
    for seed in 0..SEEDS {
        let dice = &mut Dice(seed ^ 0xA7_20);
        let columns = some_columns(dice);
        let Written { schema, arrays, images, payloads } = written(dice, &columns);
        let mut own = decoder(&columns, false, &schemas(&[(7, &schema)]));
        payloads.iter().for_each(|p| own.push(Some(p)).unwrap_or_else(|bad| panic!("seed {seed}: {}", bad.reason)));
        assert_eq!(rows(&columns, own.finish(), payloads.len()), images, "seed {seed}");

        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(7), AvroSchema::new(schema.clone())).unwrap();
        let builder = ReaderBuilder::new().with_writer_schema_store(store).with_active_fingerprint(Fingerprint::Id(7));
        let mut other = builder.with_batch_size(payloads.len()).build_decoder().unwrap();
        for payload in &payloads {
            assert_eq!(other.decode(payload).unwrap(), payload.len(), "seed {seed}");
        }
        let batch = other.flush().unwrap().expect("there are rows");
        for (at, column) in columns.iter().enumerate() {
            let (ours, theirs) = (plain(&arrays[at]), plain(batch.column(at)));
            assert_eq!(ours, theirs, "seed {seed}, column {column:?}");
        }
        // The schema gives the columns again, but for the names in lower case.
        let by = Inference { key: false, unwrapped: false, full_name: None, upper_case: false };
        let text = tidegate::catalog::SchemaText::new(tidegate::catalog::SchemaType::Avro, schema.as_str());
        let inferred = schema_to_columns(&text, &by).unwrap();
        let declared: Vec<(String, SqlType)> = columns.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
        assert_eq!(inferred, declared, "seed {seed}");
    }
}

#[test]
fn another_readers_columns_are_those_in_common() {
    for seed in 0..SEEDS {
        let dice = &mut Dice(seed ^ 0x5EED);
        let columns = some_columns(dice);
        let Written { schema, images, payloads, .. } = written(dice, &columns);
        let mut places: Vec<Option<usize>> = (0..columns.len()).filter(|_| dice.roll(3) > 0).map(Some).collect();
        places.insert(dice.roll(places.len() + 1), None);
        let turned = dice.roll(places.len());
        places.rotate_left(turned);
        let of = |place: &Option<usize>| match place {
            Some(at) => columns[*at].clone(),
            None => Column::value("NOWHERE", SqlType::Bigint),
        };
        let declared: Vec<Column> = places.iter().map(of).collect();
        let wanted: Vec<usize> = (0..declared.len()).filter(|_| dice.roll(4) > 0).collect();
        let kept: Vec<Column> = wanted.iter().map(|at| declared[*at].clone()).collect();
        let wire = Wire::default();
        let mut reader = Decoder::of(side(&declared, false, &wire), &wanted, &schemas(&[(7, &schema)])).unwrap();
        let mut expected = vec![];
        for (payload, image) in payloads.iter().zip(&images) {
            if dice.roll(4) == 0 {
                // What is cut leaves nothing behind.
                let cut = dice.roll(payload.len());
                if reader.push(Some(&payload[..cut])).is_ok() {
                    panic!("seed {seed}: a record of {} bytes is read from {cut}", payload.len());
                }
            }
            reader.push(Some(payload)).unwrap_or_else(|bad| panic!("seed {seed}: {}", bad.reason));
            let image = image.as_ref().unwrap();
            let value = |at: &usize| places[*at].map_or(V::Null, |place| image[place].clone());
            expected.push(Some(wanted.iter().map(value).collect::<Vec<V>>()));
        }
        let count = reader.len();
        assert_eq!(rows(&kept, reader.finish(), count), expected, "seed {seed}");
    }
}

/// Values by the array's own type; a map is a list of entries, a time without its zone.
fn plain(array: &ArrayRef) -> Vec<V> {
    (0..array.len()).map(|row| one(array, row)).collect()
}

fn one(array: &ArrayRef, row: usize) -> V {
    use arrow::datatypes::{
        Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType,
        TimestampMillisecondType,
    };
    if array.is_null(row) {
        return V::Null;
    }
    match array.data_type() {
        DataType::Boolean => V::Bool(array.as_boolean().value(row)),
        DataType::Int32 => V::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => V::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => V::Double(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Date32 => V::Int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time32(_) => V::Int(array.as_primitive::<Time32MillisecondType>().value(row).into()),
        DataType::Timestamp(..) => V::Int(array.as_primitive::<TimestampMillisecondType>().value(row)),
        DataType::Decimal128(..) => V::Decimal(array.as_primitive::<Decimal128Type>().value(row).to_string()),
        DataType::Decimal256(..) => V::Decimal(array.as_primitive::<Decimal256Type>().value(row).to_string()),
        DataType::Utf8 => V::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => V::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::List(_) => V::List(plain(&array.as_list::<i32>().value(row))),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            V::List(
                (0..entries.len()).map(|at| V::List(entries.columns().iter().map(|c| one(c, at)).collect())).collect(),
            )
        }
        DataType::Struct(_) => V::List(array.as_struct().columns().iter().map(|c| one(c, row)).collect()),
        other => panic!("no {other}"),
    }
}
