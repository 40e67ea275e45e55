//! Schemas by id or GUID, kept for ever: in memory, and in a file where there is a directory.
//!
//! ```text
//! DIR/schemas.jsonl     {"registry":"http://a:8081","id":7,"schema":{"kind":"AVRO","text":"\"int\""}}
//!                       {"registry":"http://a:8081","guid":"89791762-2336-4186-9674-299b90a802e2","schema":{...}}
//! ```
//!
//! A line each, appended when one is learned; a torn last line is skipped. Ids of another registry are ignored: each numbers
//! its schemas itself. The file only saves requests: without it, or when it cannot be written, the registry is asked again.

use crate::catalog::{Guid, SchemaRef, SchemaText};
use crate::config::private;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The file below the directory.
const FILE: &str = "schemas.jsonl";
/// Schemas that are kept: at 2 kB each some 200 MB. Ids beyond are asked for each time they are needed.
const SCHEMAS_MAX: usize = 100_000;

/// Schemas by how payloads name them.
#[derive(Debug)]
pub(super) struct IdCache {
    registry: String,
    known: RwLock<HashMap<SchemaRef, Arc<SchemaText>>>,
    /// Where new ones are appended.
    file: Option<parking_lot::Mutex<File>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    registry: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guid: Option<String>,
    schema: SchemaText,
}

impl Line {
    fn name(&self) -> Option<SchemaRef> {
        match (self.id, &self.guid) {
            (Some(id), _) => Some(SchemaRef::Id(id)),
            (None, Some(guid)) => Guid::parse(guid).map(SchemaRef::Guid),
            (None, None) => None,
        }
    }
}

impl IdCache {
    /// Reads what is known of the registry with this URL.
    pub(super) fn open(directory: Option<&Path>, registry: &str) -> IdCache {
        let path = directory.map(|directory| directory.join(FILE));
        let text = path.as_deref().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let own = lines.filter(|line| line.registry == registry).take(SCHEMAS_MAX);
        let known = own.filter_map(|line| Some((line.name()?, Arc::new(line.schema)))).collect();
        let file = path.and_then(|path| {
            let opened = private::options().create(true).append(true).open(&path);
            let mut file = opened
                .inspect_err(|error| tracing::warn!(%error, path = %path.display(), "schemas are not kept in a file"))
                .ok()?;
            // Behind a torn line the next one begins anew.
            let torn = !text.is_empty() && !text.ends_with('\n');
            if torn {
                file.write_all(b"\n").ok()?
            }
            Some(parking_lot::Mutex::new(file))
        });
        IdCache { registry: registry.to_owned(), known: RwLock::new(known), file }
    }

    pub(super) fn get(&self, id: SchemaRef) -> Option<Arc<SchemaText>> {
        self.known.read().get(&id).cloned()
    }

    /// Keeps a schema, and yields the one that is kept.
    pub(super) fn put(&self, id: SchemaRef, schema: SchemaText) -> Arc<SchemaText> {
        let schema = Arc::new(schema);
        {
            let mut known = self.known.write();
            if let Some(known) = known.get(&id) {
                return known.clone();
            }
            if known.len() >= SCHEMAS_MAX {
                return schema;
            }
            known.insert(id, schema.clone());
        }
        if let Some(file) = &self.file {
            let (number, guid) = match id {
                SchemaRef::Id(id) => (Some(id), None),
                SchemaRef::Guid(guid) => (None, Some(guid.to_string())),
            };
            let (registry, text) = (self.registry.clone(), SchemaText::clone(&schema));
            let line = Line { registry, id: number, guid, schema: text };
            let text = serde_json::to_string(&line).map_err(std::io::Error::from);
            let written = text.and_then(|text| file.lock().write_all(format!("{text}\n").as_bytes()));
            if let Err(error) = written {
                tracing::warn!(%error, %id, "a schema is not kept in the file");
            }
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::SchemaType;

    fn schema(text: &str) -> SchemaText {
        SchemaText { kind: SchemaType::Avro, text: text.into(), references: vec![] }
    }

    #[test]
    fn what_is_known_is_known_after_a_restart_and_to_its_registry_only() {
        let directory = tempfile::tempdir().unwrap();
        let cache = IdCache::open(Some(directory.path()), "http://a");
        let (seven, eight, guid) = (SchemaRef::Id(7), SchemaRef::Id(8), SchemaRef::Guid(Guid([9; 16])));
        cache.put(seven, schema("\"int\""));
        cache.put(guid, schema("\"bytes\""));
        assert_eq!(*cache.put(seven, schema("\"long\"")), schema("\"int\""), "an id keeps its meaning");
        let path = directory.path().join(FILE);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"registry\":\"http");
        std::fs::write(&path, torn).unwrap();
        let again = IdCache::open(Some(directory.path()), "http://a");
        again.put(eight, schema("\"long\""));
        let third = IdCache::open(Some(directory.path()), "http://a");
        assert_eq!(third.get(seven).as_deref(), Some(&schema("\"int\"")));
        assert_eq!(third.get(eight).as_deref(), Some(&schema("\"long\"")));
        assert_eq!(third.get(guid).as_deref(), Some(&schema("\"bytes\"")));
        assert_eq!(IdCache::open(Some(directory.path()), "http://b").get(seven), None);
        assert_eq!(IdCache::open(None, "http://a").get(guid), None);
    }
}
