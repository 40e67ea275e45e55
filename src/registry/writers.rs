//! The schemas by which records were written, as readers need them: by id, looked up before a record is decoded.
//!
//! ```text
//! resolve(7)   registry responds      -> Known(schema), for ever; a GUID is resolved like an id
//!              registry has no id 7   -> Missing(reason), asked again after MISSING_FOR
//!              registry is away       -> error; the reader waits, and nothing is skipped
//! get(7)       what is known now, without any I/O
//! ```
//!
//! Schemas of own topics are learned from the catalogue, so that a restart reads them without a registry.

use crate::catalog::{SchemaRef, SchemaText, Source};
use crate::format::frame::{Writer, WriterSchemas};
use crate::registry::{RegistryError, Schemas};
use crate::types::clock::SharedClock;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an id that does not exist is not asked for again: a topic full of such records must not become a request each,
/// and a schema that is registered late is found.
const MISSING_FOR: Duration = Duration::from_secs(10);
/// Ids that are known here. Each id that a topic names costs an entry, those that do not exist, too, so that a topic of random
/// bytes would fill the memory; beyond it everything is forgotten, and asked for again where it is needed.
const IDS_MAX: usize = 100_000;

/// Writer schemas by id.
#[derive(Debug)]
pub struct WriterIds {
    registry: Arc<dyn Schemas>,
    clock: SharedClock,
    known: RwLock<HashMap<SchemaRef, Entry>>,
}

#[derive(Clone, Debug)]
enum Entry {
    Known(Arc<SchemaText>),
    Missing {
        reason: String,
        /// When it is asked for again, by the monotonic clock.
        again: Duration,
    },
}

impl WriterIds {
    /// Ids of this registry. Its calls should not be repeated for long: the reader repeats them.
    pub fn new(registry: Arc<dyn Schemas>, clock: SharedClock) -> WriterIds {
        WriterIds { registry, clock, known: RwLock::default() }
    }

    /// Takes over the schemas that a source records.
    pub fn learn(&self, source: &Source) {
        for schema in [&source.key_wire, &source.value_wire].into_iter().filter_map(|wire| wire.schema.as_deref()) {
            if let Some(name) = schema.name() {
                self.put(name, Entry::Known(Arc::new(schema.text.clone())));
            }
        }
    }

    fn put(&self, id: SchemaRef, entry: Entry) {
        let mut known = self.known.write();
        if known.len() >= IDS_MAX {
            known.clear();
        }
        known.insert(id, entry);
    }
}

impl WriterSchemas for WriterIds {
    fn get(&self, id: SchemaRef) -> Writer {
        match self.known.read().get(&id) {
            Some(Entry::Known(schema)) => Writer::Known(schema.clone()),
            Some(Entry::Missing { reason, .. }) => Writer::Missing(reason.clone()),
            None => Writer::Unknown,
        }
    }

    fn is_due(&self, id: SchemaRef) -> bool {
        match self.known.read().get(&id) {
            Some(Entry::Known(_)) => false,
            Some(Entry::Missing { again, .. }) => self.clock.monotonic() >= *again,
            None => true,
        }
    }

    fn resolve(&self, id: SchemaRef, subject: &str) -> Result<(), String> {
        let missing = |reason: String| Entry::Missing { reason, again: self.clock.monotonic() + MISSING_FOR };
        let asked = match id {
            SchemaRef::Id(id) => i32::try_from(id).map(|id| self.registry.by_id(id, Some(subject))),
            SchemaRef::Guid(guid) => Ok(self.registry.by_guid(guid)),
        };
        let entry = match asked {
            Err(_) => missing("a schema id is not negative".to_owned()),
            Ok(Ok(schema)) => Entry::Known(schema),
            // A user that may not read the schema cannot be told from a registry that is set up wrongly: it waits.
            Ok(Err(RegistryError::Refused(error))) if !matches!(error.status, 401 | 403) => missing(error.to_string()),
            Ok(Err(error)) => return Err(error.to_string()),
        };
        self.put(id, entry);
        Ok(())
    }
}
