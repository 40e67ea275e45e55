//! One side of a source with a registered schema, for the tests of PROTOBUF and JSON_SR.

use std::sync::Arc;
use tidegate::catalog::{Format, SchemaRef, SchemaText, SchemaType, Wire, WireSchema};
use tidegate::format::frame::{SharedSchemas, Writer, WriterSchemas};
use tidegate::format::{Decoder, Encoder, Side};
use tidegate::parse::statement::Statement;
use tidegate::types::Column;

/// One schema, of id 1.
#[derive(Debug)]
struct One(Arc<SchemaText>);

impl WriterSchemas for One {
    fn get(&self, id: SchemaRef) -> Writer {
        if id == SchemaRef::Id(1) {
            Writer::Known(self.0.clone())
        } else {
            Writer::Missing("it does not exist".to_owned())
        }
    }
}

/// A schema without references.
pub(super) fn schema(kind: SchemaType, text: &str) -> SchemaText {
    SchemaText::new(kind, text)
}

/// Schemas of which `text` has the id 1.
pub(super) fn shared(text: SchemaText) -> SharedSchemas {
    Arc::new(One(Arc::new(text)))
}

/// The side of a source whose schema has this id.
pub(super) fn one(id: i32, text: SchemaText, message: Vec<i32>, by_id: bool) -> Wire {
    let schema = WireSchema { subject: "t-value".to_owned(), version: 1, id, by_id, text, message };
    Wire { schema: Some(Arc::new(schema)), ..Wire::default() }
}

/// Columns as they are declared in SQL.
pub(super) fn column_list(text: &str) -> Vec<Column> {
    let sql = format!("CREATE STREAM s ({text}) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');");
    let parsed = tidegate::parse::parse_with(&sql, &Default::default()).expect("the columns can be parsed");
    let Statement::CreateSource(create) = &parsed[0].statement else { panic!("{sql}") };
    create.columns.iter().map(|c| Column::value(&c.name.value, c.ty.clone())).collect()
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("it is ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("it is hexadecimal")).collect()
}

/// The row of a payload behind the frame of id 1, as JSON; or why it is bad.
pub(super) fn decode(
    format: Format,
    columns: &str,
    writer: &SchemaText,
    body: &str,
    unwrapped: bool,
) -> Result<String, String> {
    let columns = column_list(columns);
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let wire = Wire::default();
    let side = Side { format, columns: &columns, unwrapped, wire: &wire };
    let mut decoder = Decoder::of(side, &wanted, &shared(writer.clone())).expect("the columns can be read");
    let payload = [&[0, 0, 0, 0, 1][..], &unhex(body)].concat();
    // A good record before and behind a bad one is not touched by it.
    decoder.push(None).expect("a null payload can be read");
    let result = decoder.push(Some(&payload));
    decoder.push(None).expect("a null payload can be read");
    let rows = decoder.len();
    let (arrays, present) = decoder.finish();
    let mut json = Encoder::new(Format::Json, &columns, false).expect("the columns can be written");
    let (mut data, mut ranges) = (vec![], vec![]);
    json.encode(&arrays, present.as_ref(), rows, &mut data, &mut ranges).expect("the row can be written");
    assert_eq!(rows, if result.is_ok() { 3 } else { 2 });
    result.map_err(|bad| bad.reason)?;
    let range = ranges[1].clone().expect("the row has an image");
    Ok(String::from_utf8(data[range].to_vec()).expect("JSON is text"))
}

/// The bytes in hex of a row that is given as JSON; or why it cannot be written.
pub(super) fn encode(format: Format, columns: &str, wire: &Wire, row: &str, unwrapped: bool) -> Result<String, String> {
    let columns = column_list(columns);
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let mut json = Decoder::new(Format::Json, &columns, &wanted, false).expect("the columns can be read");
    json.push(Some(row.as_bytes())).expect("the row is JSON");
    let (arrays, present) = json.finish();
    let side = Side { format, columns: &columns, unwrapped, wire };
    let mut encoder = Encoder::of(side).expect("the columns can be written");
    let (mut data, mut ranges) = (vec![], vec![]);
    let bad = encoder.encode(&arrays, present.as_ref(), 1, &mut data, &mut ranges).expect("the columns fit");
    if let Some((_, bad)) = bad.first() {
        return Err(bad.reason.clone());
    }
    let bytes = ranges[0].clone().map(|range| data[range].iter().map(|b| format!("{b:02x}")).collect());
    Ok(bytes.unwrap_or_else(|| "null".to_owned()))
}
