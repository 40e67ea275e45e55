//! Log lines as JSON, one object a line.
//!
//! ```text
//! {"timestamp":"2026-11-29T10:00:00.000000Z","level":"WARN","target":"tidegate::execute","message":"commit failed",
//!  "fields":{"error":"..","attempt":3},"spans":[{"name":"query","id":"CSAS_D_1"}]}
//! ```
//!
//! Spans are listed outermost first. This is a formatter of our own, because that of tracing-subscriber needs the crates
//! `tracing-serde` and `valuable` for the same.

use serde_json::{Map, Value};
use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes events.
#[derive(Debug)]
pub(super) struct JsonLines;

/// Writes the fields of a span, as the object that [`JsonLines`] reads again.
#[derive(Debug)]
pub(super) struct JsonFields;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Collected::default();
        event.record(&mut fields);
        let mut fields = fields.0;
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("target".to_owned(), event.metadata().target().into());
        line.insert("message".to_owned(), fields.shift_remove("message").unwrap_or_else(|| "".into()));
        if !fields.is_empty() {
            line.insert("fields".to_owned(), Value::Object(fields));
        }
        let spans: Vec<Value> = context
            .event_scope()
            .into_iter()
            .flatten()
            .map(|span| {
                let mut object = Map::new();
                object.insert("name".to_owned(), span.name().into());
                let extensions = span.extensions();
                let formatted = extensions.get::<FormattedFields<JsonFields>>();
                // Fields that are recorded later follow as an object of their own.
                let objects = formatted.map(|f| serde_json::Deserializer::from_str(&f.fields).into_iter::<Map<_, _>>());
                object.extend(objects.into_iter().flatten().flatten().flatten());
                Value::Object(object)
            })
            .collect();
        if !spans.is_empty() {
            line.insert("spans".to_owned(), spans.into_iter().rev().collect());
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

impl<'w> FormatFields<'w> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut collected = Collected::default();
        fields.record(&mut collected);
        write!(writer, "{}", Value::Object(collected.0))
    }
}

/// Fields as JSON values: numbers and booleans as what they are, everything else as text.
#[derive(Default)]
struct Collected(Map<String, Value>);

impl Collected {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().trim_start_matches("r#").to_owned(), value.into());
    }
}

impl Visit for Collected {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_with_its_fields_and_spans() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields)
            .event_format(JsonLines)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let statement = tracing::info_span!("statement", kind = "DROP STREAM", sequence = tracing::field::Empty);
            let _entered = statement.enter();
            statement.record("sequence", 7);
            let _query = tracing::info_span!("query", id = %"Q_1").entered();
            tracing::warn!(target: "processing", rows = 3, late = true, error = %"a \"quoted\"\nline", "skipped");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let timestamp = line.as_object_mut().unwrap().shift_remove("timestamp").unwrap();
        assert!(timestamp.as_str().unwrap().ends_with('Z'), "{timestamp}");
        let expected = serde_json::json!({
            "level": "WARN",
            "target": "processing",
            "message": "skipped",
            "fields": { "rows": 3, "late": true, "error": "a \"quoted\"\nline" },
            "spans": [
                { "name": "statement", "kind": "DROP STREAM", "sequence": 7 },
                { "name": "query", "id": "Q_1" },
            ],
        });
        assert_eq!(line, expected);
    }
}
