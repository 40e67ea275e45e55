//! What the runner writes about a case: errors, records, sources, answers. It does not judge.

use crate::columns;
use crate::layer::Taped;
use crate::records::{decode, split_window};
use crate::registry::Registry;
use crate::wire::SchemaKind;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidegate::catalog::{Format, Source};
use tidegate::error::{Error, Kind};
use tidegate::parse::statement::SourceKind;
use tidegate::types::Column;
use tidegate::types::time::WindowKind;

/// One line of the report.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) suite: String,
    pub(crate) full_name: String,
    pub(crate) error: Option<Value>,
    pub(crate) topics: BTreeMap<String, Vec<Value>>,
    pub(crate) sources: Vec<Value>,
    pub(crate) responses: Vec<Value>,
    /// All its records were there at once.
    #[serde(skip)]
    pub(crate) whole: bool,
}

/// An error as the server sent it.
pub(crate) fn told(status: u16, error: &Value, statement: Option<usize>) -> Value {
    json!({
        "statement": statement,
        "message": error["message"],
        "code": error["error_code"],
        "type": error["@type"],
        "status": status,
    })
}

/// An error of a statement (`None` = of a record, or of the runner).
pub(crate) fn error(e: &Error, statement: Option<usize>) -> Value {
    let kind = match e.kind() {
        Kind::Statement | Kind::NotFound if statement.is_some() => "statement_error",
        _ => "generic_error",
    };
    json!({
        "statement": statement,
        "message": e.to_string(),
        "code": e.code(),
        "type": kind,
        "status": e.code() / 100,
    })
}

/// Does an error reject a case? What is not built yet, a panic and a time-out do not.
pub(crate) fn is_rejection(error: &Value) -> bool {
    let message = error["message"].as_str().unwrap_or_default();
    let begins = ["panic", "time-out"].iter().any(|start| message.starts_with(start));
    !begins && !message.contains("not supported yet")
}

/// A failure that is no error of the engine's: a panic, a time-out.
pub(crate) fn failure(message: &str) -> Value {
    json!({ "statement": null, "message": message, "code": 50000, "type": "generic_error", "status": 500 })
}

/// A record that the engine wrote, decoded with its sink's formats.
pub(crate) fn record(r: &Taped, source: Option<&Source>, registry: &Registry) -> Value {
    let text = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
    let (mut key, mut window, mut value) = (r.key.as_deref().map(text), None, r.value.as_deref().map(text));
    if let Some(s) = source {
        if let Some(bytes) = &r.key {
            let (bare, bounds) = split_window(s, bytes);
            key = Some(tree(s.key_format, &s.schema.key, bare, registry));
            window = bounds
                .map(|w| json!({ "type": if w.session { "session" } else { "time" }, "start": w.start, "end": w.end }));
        }
        value = r.value.as_deref().map(|bytes| tree(s.value_format, &s.schema.value, bytes, registry));
    }
    let base64 = |bytes: &Vec<u8>| STANDARD.encode(bytes);
    let headers = r.headers.iter().map(|h| json!({ "KEY": h.key, "VALUE": h.value.as_ref().map(base64) }));
    json!({
        "key": key,
        "value": value,
        "timestamp": r.timestamp,
        "partition": r.partition,
        "window": window,
        "headers": headers.collect::<Vec<_>>(),
        "key_bytes": r.key.as_ref().map(base64),
        "value_bytes": r.value.as_ref().map(base64),
    })
}

/// JSON as on the wire; what has a schema by the id in front of it; KAFKA scalars, of which BYTES are text in the cases and
/// not base64; anything else as text.
fn tree(format: Format, columns: &[Column], bytes: &[u8], registry: &Registry) -> Value {
    if SchemaKind::named_format(format.name()).is_some() {
        return registry.decode(bytes).unwrap_or_else(|why| Value::String(format!("undecodable: {why}")));
    }
    let text = decode(format, columns, bytes);
    match (format, columns.first().map(|c| &c.ty)) {
        (Format::ProtobufNosr, _) => columns::decode(columns, bytes).unwrap_or(Value::String(text)),
        (Format::Json, _) => serde_json::from_slice(bytes).unwrap_or(Value::String(text)),
        (Format::Kafka, Some(ty)) if ty.is_numeric() => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        _ => Value::String(text),
    }
}

/// A stream or table as it was understood.
pub(crate) fn source(s: &Source) -> Value {
    let (mut window_type, mut window_size) = (None, None);
    if let Some(window) = &s.window {
        (window_type, window_size) = match window.kind {
            WindowKind::Tumbling { size_ms } => (Some("TUMBLING"), Some(size_ms)),
            WindowKind::Hopping { size_ms, .. } => (Some("HOPPING"), Some(size_ms)),
            WindowKind::Session { .. } => (Some("SESSION"), None),
        };
    }
    let features: &[&str] = if s.unwrapped_value { &["UNWRAP_SINGLES"] } else { &[] };
    json!({
        "name": s.name,
        "type": if s.kind == SourceKind::Stream { "stream" } else { "table" },
        "schema": s.schema.to_string(),
        "keyFormat": { "format": s.key_format.name(), "windowType": window_type, "windowSize": window_size },
        "valueFormat": { "format": s.value_format.name() },
        "keyFeatures": [],
        "valueFeatures": features,
        "isSource": s.read_only,
    })
}
