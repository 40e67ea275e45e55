//! Decoders and encoders of AVRO with the schemas that a registry would know.

use std::collections::HashMap;
use std::sync::Arc;
use tidegate::catalog::{Format, SchemaRef, SchemaText, SchemaType, Wire, WireSchema};
use tidegate::format::frame::{SharedSchemas, Writer, WriterSchemas};
use tidegate::format::{Decoder, Side};
use tidegate::types::Column;

/// Schemas by id.
#[derive(Debug, Default)]
struct Known(HashMap<u32, String>);

impl WriterSchemas for Known {
    fn get(&self, id: SchemaRef) -> Writer {
        let SchemaRef::Id(id) = id else { return Writer::Unknown };
        match self.0.get(&id) {
            Some(text) => Writer::Known(Arc::new(SchemaText::new(SchemaType::Avro, text.as_str()))),
            None if id == 404 => Writer::Missing("Schema 404 not found".to_owned()),
            None => Writer::Unknown,
        }
    }
}

/// A schema that is registered under this id.
pub(crate) fn written_by(id: i32, text: &str) -> Wire {
    let text = SchemaText::new(SchemaType::Avro, text);
    let schema = WireSchema { subject: "t-value".into(), version: 1, id, by_id: false, text, message: vec![] };
    Wire { schema: Some(Arc::new(schema)), ..Wire::default() }
}

pub(crate) fn side<'a>(columns: &'a [Column], unwrapped: bool, wire: &'a Wire) -> Side<'a> {
    Side { format: Format::Avro, columns, unwrapped, wire }
}

/// A decoder of all columns.
pub(crate) fn decoder(columns: &[Column], unwrapped: bool, schemas: &SharedSchemas) -> Decoder {
    let wanted: Vec<usize> = (0..columns.len()).collect();
    Decoder::of(side(columns, unwrapped, &Wire::default()), &wanted, schemas).unwrap()
}

pub(crate) fn schemas(known: &[(u32, &str)]) -> SharedSchemas {
    Arc::new(Known(known.iter().map(|(id, text)| (*id, (*text).to_owned())).collect()))
}
