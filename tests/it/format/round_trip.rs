//! Random schemas and rows: text to columns to text, bad rows between good ones, and arrow-json where it means the same.

use super::oracle::{V, decode, values};
use super::{Dice, all, bid_columns, bids::Bids, rows};
use arrow::datatypes::{Field, Schema};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tidegate::catalog::Format;
use tidegate::format::{Decoder, Encoder};
use tidegate::types::{Column, SqlType};

const SEEDS: u64 = 60;

pub(super) fn some_type(dice: &mut Dice, depth: usize) -> SqlType {
    match dice.roll(if depth == 0 { 11 } else { 14 }) {
        0 => SqlType::Boolean,
        1 => SqlType::Integer,
        2 => SqlType::Bigint,
        3 => SqlType::Double,
        4 => SqlType::Decimal(38, dice.roll(39) as i8),
        5 => SqlType::Decimal(76, dice.roll(77) as i8),
        6 => SqlType::Bytes,
        7 => SqlType::Date,
        8 => SqlType::Time,
        9 => SqlType::Timestamp,
        10 => SqlType::String,
        11 => SqlType::Array(Box::new(some_type(dice, depth - 1))),
        12 => SqlType::Map(Box::new(SqlType::String), Box::new(some_type(dice, depth - 1))),
        _ => {
            let fields = (0..1 + dice.roll(3)).map(|i| (format!("F{i}"), some_type(dice, depth - 1)));
            SqlType::Struct(fields.collect())
        }
    }
}

fn some_text(dice: &mut Dice) -> String {
    let pieces = ["", "a", "\"", "\\", "\n", "\u{10}", "é", "😀", "plain text, long enough for two words", "/", "ß"];
    (0..dice.roll(4)).map(|_| dice.pick(&pieces)).collect()
}

/// A JSON value that the type takes.
pub(super) fn some_json(dice: &mut Dice, ty: &SqlType) -> Value {
    if dice.roll(6) == 0 {
        return Value::Null;
    }
    let raw = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let wide = |dice: &mut Dice| (dice.roll(1 << 40) as i64 - (1 << 39)) >> dice.roll(40);
    match ty {
        SqlType::Boolean => json!(dice.roll(2) == 0),
        SqlType::Integer | SqlType::Date => json!(wide(dice) as i32),
        SqlType::Bigint | SqlType::Timestamp => json!(wide(dice).wrapping_mul(1 << dice.roll(25))),
        SqlType::Time => json!(dice.roll(86_400_001)),
        SqlType::Double => match dice.roll(3) {
            0 => raw(format!("{}.5", wide(dice))),
            1 => raw(format!("{}e{}", wide(dice), dice.roll(600) as i64 - 300)),
            _ => raw(format!("0.{}", dice.roll(1 << 40))),
        },
        SqlType::Decimal(p, s) => {
            let digits: String = (0..*p).map(|_| char::from(b'0' + dice.roll(10) as u8)).collect();
            let (whole, fraction) = digits.split_at(usize::from(*p) - *s as usize);
            let whole = whole.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let sign = if dice.roll(2) == 0 { "-" } else { "" };
            raw(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
        }
        SqlType::String => json!(some_text(dice)),
        SqlType::Bytes => json!(["", "AA==", "AAE=", "/+8A", "dmFyaWF0aW9ucw=="][dice.roll(5)]),
        SqlType::Array(item) => (0..dice.roll(4)).map(|_| some_json(dice, item)).collect(),
        SqlType::Map(_, item) => {
            let entries = (0..dice.roll(25)).map(|i| (format!("{i}{}", some_text(dice)), some_json(dice, item)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        SqlType::Struct(fields) => {
            let members = fields.iter().map(|(name, ty)| (name.clone(), some_json(dice, ty)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// No blanks outside of texts.
fn is_compact(json: &[u8]) -> bool {
    let (mut inside, mut escaped) = (false, false);
    json.iter().all(|&c| {
        let blank = c.is_ascii_whitespace() && !inside;
        inside ^= c == b'"' && !escaped;
        escaped = inside && c == b'\\' && !escaped;
        !blank
    })
}

pub(super) fn some_columns(dice: &mut Dice) -> Vec<Column> {
    (0..1 + dice.roll(9)).map(|i| Column::value(format!("COL_{i}"), some_type(dice, 2))).collect()
}

pub(super) fn some_row(dice: &mut Dice, columns: &[Column]) -> Value {
    let mut members: Vec<(String, Value)> = columns.iter().map(|c| (c.name.clone(), some_json(dice, &c.ty))).collect();
    if dice.roll(3) == 0 {
        let n = dice.roll(members.len());
        members.rotate_left(n);
        members.insert(0, ("extra".to_owned(), json!([1, {"a": "b"}])));
    }
    for (name, _) in &mut members {
        if dice.roll(4) == 0 {
            *name = name.to_lowercase();
        }
    }
    Value::Object(members.into_iter().collect())
}

fn payload(dice: &mut Dice, row: &Value) -> Vec<u8> {
    match dice.roll(3) {
        0 => serde_json::to_vec_pretty(row).unwrap(),
        _ => serde_json::to_vec(row).unwrap(),
    }
}

#[test]
fn random_rows_of_random_schemas_come_back() {
    for seed in 0..SEEDS {
        let dice = &mut Dice(seed);
        let columns = some_columns(dice);
        let mut decoder = all(Format::Json, &columns, false);
        let mut expected = vec![];
        for _ in 0..dice.roll(60) {
            let row = some_row(dice, &columns);
            let bytes = payload(dice, &row);
            expected.push(decode(&bytes, &columns).expect("the oracle takes the row"));
            decoder.push(Some(&bytes)).unwrap_or_else(|bad| panic!("seed {seed}: {} in {row}", bad.reason));
        }
        let (arrays, present) = decoder.finish();
        assert!(present.is_none());
        let n = expected.len();
        let mut encoder = Encoder::new(Format::Json, &columns, false).unwrap();
        let (mut data, mut ranges) = (vec![], vec![]);
        encoder.encode(&arrays, None, n, &mut data, &mut ranges).unwrap();
        assert_eq!(rows(&columns, (arrays, None), n), expected, "seed {seed}");
        for (row, range) in ranges.into_iter().enumerate() {
            let bytes = &data[range.unwrap()];
            assert_eq!(decode(bytes, &columns), Ok(expected[row].clone()), "seed {seed} row {row}");
            let tree: Map<String, Value> = serde_json::from_slice(bytes).unwrap();
            assert!(tree.keys().eq(columns.iter().map(|c| &c.name)), "names in order");
            assert!(is_compact(bytes), "seed {seed}: {}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn bad_rows_leave_nothing_behind() {
    for seed in 0..SEEDS {
        let dice = &mut Dice(seed ^ 0xBAD);
        let mut columns = some_columns(dice);
        columns.push(Column::value("LAST", SqlType::Integer));
        let wanted: Vec<usize> = (0..columns.len()).filter(|_| dice.roll(3) > 0).collect();
        let kept: Vec<Column> = wanted.iter().map(|&i| columns[i].clone()).collect();
        let mut decoder = Decoder::new(Format::Json, &columns, &wanted, false).unwrap();
        for _ in 0..2 {
            let mut expected = vec![];
            for _ in 0..30 {
                let row = some_row(dice, &columns);
                let mut bytes = payload(dice, &row);
                match dice.roll(6) {
                    0 => bytes.truncate(dice.roll(bytes.len())),
                    1 => {
                        bytes.pop();
                        bytes.extend_from_slice(b",\"last\":1,\"LAST\":true}");
                    }
                    2 => {
                        decoder.push(None).unwrap();
                        decoder.pop();
                        decoder.push(Some(&bytes)).unwrap();
                        decoder.pop();
                        assert_eq!(decoder.len(), expected.len());
                        continue;
                    }
                    3 => {
                        decoder.push(None).unwrap();
                        expected.push(None);
                        continue;
                    }
                    _ => {}
                }
                match decode(&bytes, &columns) {
                    Err(()) => assert!(decoder.push(Some(&bytes)).is_err(), "seed {seed}"),
                    Ok(row) => {
                        decoder.push(Some(&bytes)).unwrap();
                        expected.push(row.map(|row| wanted.iter().map(|&i| row[i].clone()).collect()));
                    }
                }
            }
            let n = decoder.len();
            assert_eq!(rows(&kept, decoder.finish(), n), expected, "seed {seed}");
        }
    }
}

#[test]
fn unwrapped_values_come_back() {
    for seed in 0..SEEDS {
        let dice = &mut Dice(seed ^ 0xBA5E);
        let columns = [Column::key("K", some_type(dice, 2))];
        let mut decoder = all(Format::Json, &columns, false);
        let sent: Vec<Value> = (0..20).map(|_| some_json(dice, &columns[0].ty)).collect();
        sent.iter().for_each(|v| decoder.push(Some(v.to_string().as_bytes())).unwrap());
        let (arrays, present) = decoder.finish();
        let got = values(&arrays[0], &columns[0].ty);
        let mut encoder = Encoder::new(Format::Json, &columns, false).unwrap();
        let (mut data, mut ranges) = (vec![], vec![]);
        encoder.encode(&arrays, present.as_ref(), 20, &mut data, &mut ranges).unwrap();
        for (row, value) in sent.iter().enumerate() {
            assert_eq!(ranges[row].is_none(), value.is_null());
            assert_eq!(got[row] == V::Null, value.is_null());
            if let Some(range) = &ranges[row] {
                let wrap = |json: &[u8]| [b"{\"K\":", json, b"}"].concat();
                let back = decode(&wrap(&data[range.clone()]), &columns).unwrap().unwrap();
                let meant = decode(&wrap(value.to_string().as_bytes()), &columns).unwrap().unwrap();
                assert_eq!(back, meant, "seed {seed} {value}");
                assert_eq!(back[0], got[row]);
            }
        }
    }
}

#[test]
fn bids_are_read_as_arrow_json_reads_them() {
    let columns = bid_columns();
    let names = ["auction", "bidder", "price", "channel", "url", "dateTime", "extra"];
    let fields = names.iter().zip(&columns).map(|(name, c)| Field::new(*name, c.ty.arrow(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut yardstick = arrow_json::ReaderBuilder::new(schema).with_batch_size(4096).build_decoder().unwrap();
    let mut decoder = all(Format::Json, &columns, false);
    let (source, mut bid) = (Bids::new(), vec![]);
    for n in 0..2000 {
        let time = source.write(n, &mut bid);
        assert!((200..300).contains(&bid.len()) && time >= 1_700_000_000_000);
        decoder.push(Some(&bid)).unwrap();
        yardstick.decode(&bid).unwrap();
    }
    assert_eq!(decoder.finish().0, yardstick.flush().unwrap().unwrap().columns());
}

/// Payloads of a column's values, and what a decoder makes of them.
fn through_protobuf(column: &Column, array: &arrow::array::ArrayRef, alone: bool) -> (Vec<Vec<u8>>, Vec<Option<V>>) {
    let columns = [column.clone()];
    let mut encoder = Encoder::new(Format::ProtobufNosr, &columns, alone).unwrap();
    let (mut data, mut ranges, n) = (vec![], vec![], array.len());
    assert!(encoder.encode(std::slice::from_ref(array), None, n, &mut data, &mut ranges).unwrap().is_empty());
    let mut decoder = all(Format::ProtobufNosr, &columns, alone);
    let mut payloads = vec![];
    for range in ranges {
        let payload = range.map(|range| &data[range]);
        decoder.push(payload).unwrap_or_else(|bad| panic!("{}: {}", column.ty, bad.reason));
        payloads.push(payload.unwrap_or_default().to_vec());
    }
    let back = rows(&columns, decoder.finish(), n).into_iter().map(|row| row.map(|mut image| image.remove(0)));
    (payloads, back.collect())
}

#[test]
fn protobuf_does_not_write_lists_with_nulls() {
    let list = || Box::new(SqlType::Array(Box::new(SqlType::Integer)));
    let column = [Column::value("V", SqlType::Map(Box::new(SqlType::String), list()))];
    let mut decoder = all(Format::Json, &column, false);
    for row in [r#"{"V":{"a":[1,2]}}"#, r#"{"V":{"a":[1,null]}}"#, r#"{"V":{"a":null}}"#, r#"{"V":null}"#] {
        decoder.push(Some(row.as_bytes())).unwrap();
    }
    let (arrays, present) = decoder.finish();
    let mut encoder = Encoder::new(Format::ProtobufNosr, &column, false).unwrap();
    let (mut data, mut ranges) = (vec![], vec![]);
    let bad = encoder.encode(&arrays, present.as_ref(), 4, &mut data, &mut ranges).unwrap();
    assert_eq!(bad.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1]);
    assert_eq!(ranges.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
}

/// A repeated field has no place for a NULL.
fn without_null_items(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().filter(|i| !i.is_null()).map(without_null_items).collect(),
        Value::Object(members) => members.into_iter().map(|(k, v)| (k, without_null_items(v))).collect(),
        other => other,
    }
}

/// A type whose JSON values are days and times that PROTOBUF has a place for.
fn within_years(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Date | SqlType::Timestamp => SqlType::Time,
        SqlType::Array(item) => SqlType::Array(Box::new(within_years(item))),
        SqlType::Map(key, value) => SqlType::Map(key.clone(), Box::new(within_years(value))),
        SqlType::Struct(fields) => {
            SqlType::Struct(fields.iter().map(|(n, ty)| (n.clone(), within_years(ty))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn protobuf_writes_days_and_times_that_it_has_a_place_for() {
    let columns = [Column::value("D", SqlType::Date), Column::value("T", SqlType::Timestamp)];
    let mut json = all(Format::Json, &columns, false);
    let (first, last) = (-62_135_596_800_000i64, 253_402_300_799_999i64);
    let days = [0, i32::MAX, -719_162, -719_163, i32::MIN, 0, 0];
    let times = [0, first, last, 0, 0, first - 1, last + 1];
    for (day, time) in days.iter().zip(times) {
        json.push(Some(format!(r#"{{"D":{day},"T":{time}}}"#).as_bytes())).unwrap();
    }
    let (arrays, _) = json.finish();
    let mut encoder = Encoder::new(Format::ProtobufNosr, &columns, false).unwrap();
    let (mut data, mut ranges) = (vec![], vec![]);
    let bad = encoder.encode(&arrays, None, days.len(), &mut data, &mut ranges).unwrap();
    let reasons: Vec<(usize, &str)> =
        bad.iter().map(|(row, bad)| (*row, &bad.reason[..bad.reason.find(',').unwrap()])).collect();
    let outside = "a TIMESTAMP is outside of the years 1 to 9999";
    let expected = [(3, "a DATE is before year 1"), (4, "a DATE is before year 1"), (5, outside), (6, outside)];
    assert_eq!(reasons, expected);
    let mut decoder = all(Format::ProtobufNosr, &columns, false);
    ranges.iter().flatten().for_each(|range| decoder.push(Some(&data[range.clone()])).unwrap());
    let back = rows(&columns, decoder.finish(), 3);
    let meant = (0..3).map(|i| Some(vec![V::Int(days[i].into()), V::Int(times[i])])).collect::<Vec<_>>();
    assert_eq!(back, meant, "2147483647 days are the 11th of July 5881580");
}

#[test]
fn protobuf_values_that_stand_alone_come_back() {
    for seed in 0..4 * SEEDS {
        let dice = &mut Dice(seed ^ 0xA10E);
        let ty = some_type(dice, 2);
        if matches!(ty, SqlType::Array(_) | SqlType::Map(..)) {
            let key = [Column::key("K", ty)];
            assert!(Encoder::new(Format::ProtobufNosr, &key, false).is_err(), "no message stands around it");
            continue;
        }
        let column = Column::value("V", ty.clone());
        let mut decoder = all(Format::Json, std::slice::from_ref(&column), true);
        for _ in 0..20 {
            let value = without_null_items(some_json(dice, &within_years(&ty)));
            decoder.push(Some(value.to_string().as_bytes())).unwrap();
        }
        let array = decoder.finish().0.remove(0);
        let (alone, one) = through_protobuf(&column, &array, true);
        let (wrapped, other) = through_protobuf(&column, &array, false);
        let own = matches!(
            ty,
            SqlType::Decimal(..) | SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Struct(_)
        );
        for row in 0..array.len() {
            match array.is_null(row) {
                true => assert_eq!(one[row], None, "NULL is a null payload"),
                false => {
                    assert_eq!(one[row], other[row], "seed {seed}: {ty}");
                    let inner = if own { wrapped[row].ends_with(&alone[row]) } else { wrapped[row] == alone[row] };
                    assert!(inner, "seed {seed}: {ty}: {:?} in {:?}", alone[row], wrapped[row]);
                }
            }
        }
        // A key is unwrapped where a value is only on demand.
        let key = Column::key("V", ty);
        assert_eq!(through_protobuf(&key, &array, false), (alone, one));
    }
}
