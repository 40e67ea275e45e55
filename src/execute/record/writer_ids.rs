//! The ids of the schemas by which the records of a source were written, looked up before the records are decoded.
//!
//! ```text
//! run --> id of each key and value --> new? --> WriterSchemas::resolve, which asks the registry --> SourceDecoder, without I/O
//! ```
//!
//! Decoding is pure for that reason: it finds what was looked up, and the same bytes are the same rows.

use super::schema_headers::SchemaHeaders;
use crate::catalog::{SchemaRef, Source};
use crate::error::{Error, Result};
use crate::format::frame::{self, SharedSchemas};
use crate::log::{RecordRef, Run};
use crate::memory;
use std::time::Duration;

/// Attempts to reach the registry in a query that ends, and the pause between them: about as long as such a query waits for a
/// broker.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_secs(1);

/// Looks up ids of one source.
#[derive(Clone, Debug)]
pub struct WriterIds {
    schemas: SharedSchemas,
    topic: String,
    /// Subjects of key and value, where they have a format with a registry, and the id that was seen last.
    key: Option<(String, Option<SchemaRef>)>,
    value: Option<(String, Option<SchemaRef>)>,
    headers: SchemaHeaders,
}

impl WriterIds {
    /// For the records of this source.
    pub fn of(source: &Source, schemas: &SharedSchemas) -> WriterIds {
        let topic = &source.topic;
        let has_key = source.key_format.schema_type().is_some() && !source.schema.key.is_empty();
        WriterIds {
            schemas: schemas.clone(),
            topic: topic.clone(),
            key: has_key.then(|| (format!("{topic}-key"), None)),
            value: source.value_format.schema_type().map(|_| (format!("{topic}-value"), None)),
            headers: SchemaHeaders::of(source),
        }
    }

    /// Looks up the ids of a run. The error says why the registry does not respond.
    pub fn resolve(&mut self, run: &Run) -> std::result::Result<(), String> {
        if self.key.is_none() && self.value.is_none() {
            return Ok(());
        }
        let mut result = Ok(());
        run.for_each(|record| {
            if result.is_ok() {
                result = self.resolve_record(&record);
            }
        });
        result
    }

    /// The same for one record.
    #[inline]
    pub fn resolve_record(&mut self, record: &RecordRef<'_>) -> std::result::Result<(), String> {
        if self.headers.are_looked_at(&record.headers) {
            let (key, value) = self.headers.framed(record);
            return self.resolve_sides(key.as_deref(), value.as_deref());
        }
        self.resolve_sides(record.key, record.value)
    }

    #[inline]
    fn resolve_sides(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> std::result::Result<(), String> {
        for (side, bytes) in [(&mut self.key, key), (&mut self.value, value)] {
            let (Some((subject, last)), Some(id)) = (side, bytes.and_then(frame::id_of)) else { continue };
            // Usually all records of a batch have one id.
            if *last == Some(id) {
                continue;
            }
            // An id that does not exist is asked for again from time to time.
            if self.schemas.is_due(id) {
                self.schemas.resolve(id, subject).map_err(|reason| {
                    format!("the schema with id {id} of topic {} cannot be looked up: {reason}", self.topic)
                })?;
            }
            *last = matches!(self.schemas.get(id), frame::Writer::Known(_)).then_some(id);
        }
        Ok(())
    }

    /// Looks up the ids of a run for a query that ends: it waits for the registry, but not for ever.
    pub fn resolve_within(&mut self, run: &Run) -> Result<()> {
        let mut attempt = 1;
        loop {
            let Err(reason) = memory::outside(|| self.resolve(run)) else { return Ok(()) };
            if attempt == ATTEMPTS {
                return Err(unreachable(reason));
            }
            attempt += 1;
            memory::check()?;
            std::thread::park_timeout(PAUSE);
        }
    }
}

/// The error of a query whose records cannot be read for now.
pub fn unreachable(reason: String) -> Error {
    Error::io("a schema cannot be looked up")
        .with_detail(reason)
        .with_hint("try again when the schema registry responds")
}
