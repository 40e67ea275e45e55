//! The client of a registry that speaks Confluent's REST interface: Confluent's own, Apicurio's, Karapace, Tidegate's.
//!
//! ```text
//! by_id(7)          cache, else GET /schemas/ids/7, and its references by subject and version, recursively
//! by_guid(8979-..)  cache, else GET /schemas/guids/8979-.., likewise
//! register(s, t)    POST /subjects/s/versions -> id;  POST /subjects/s -> version
//! is_compatible     POST /compatibility/subjects/s/versions/latest?verbose=true
//! ```
//!
//! An id or a GUID means the same schema for ever, so [`cache`] keeps it, beyond the process where there is a directory. Nothing else is
//! cached. How requests reach the registry, and what is retried, is decided in [`http`].

mod cache;
mod http;

use crate::catalog::{Guid, Reference, SchemaRef, SchemaText, SchemaType};
use crate::config::RegistryConfig;
use crate::http_client::service::escaped;
use crate::registry::{Compatibility, Registered, RegistryError, Result, Schemas};
use cache::IdCache;
use http::Http;
use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// References of one schema, those of references included: far more than any schema has, far less than a loop of a broken
/// registry would make.
const REFERENCES_MAX: usize = 1_000;

/// A client of one registry.
#[derive(Clone, Debug)]
pub struct Client {
    http: Arc<Http>,
    cache: Arc<IdCache>,
    /// Attempts after the first.
    retries: u32,
}

/// A schema as the registry writes it.
#[derive(Debug, Deserialize)]
struct RawSchema {
    schema: String,
    /// Absent = AVRO.
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Option<Vec<RawReference>>,
}

#[derive(Debug, Deserialize)]
struct RawReference {
    name: String,
    subject: String,
    version: i32,
}

/// A version of a subject as the registry writes it.
#[derive(Debug, Deserialize)]
struct RawVersion {
    subject: String,
    version: i32,
    id: i32,
    #[serde(flatten)]
    schema: RawSchema,
}

#[derive(Debug, Deserialize)]
struct RawId {
    id: i32,
}

#[derive(Debug, Deserialize)]
struct RawCompatibility {
    is_compatible: bool,
    #[serde(default)]
    messages: Option<Vec<String>>,
}

impl Client {
    /// A client that keeps the schemas of ids in this directory, if there is one.
    pub fn new(config: &RegistryConfig, directory: Option<&Path>) -> crate::error::Result<Client> {
        let first = config.urls.first().map_or("", |(url, _)| url.as_str());
        let cache = Arc::new(IdCache::open(directory, first));
        Ok(Client { http: Arc::new(Http::new(config)?), cache, retries: config.retries })
    }

    /// The same client, for callers that repeat a request themselves.
    pub fn without_retries(&self) -> Client {
        Client { retries: 0, ..self.clone() }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, None)
    }

    fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Result<T> {
        self.http.call((method, path), body, self.retries)
    }

    /// The schema with its references. Those of a reference come before it.
    fn resolved(&self, raw: RawSchema) -> Result<SchemaText> {
        let kind = raw.kind.as_deref().unwrap_or("AVRO");
        let kind = [SchemaType::Avro, SchemaType::Protobuf, SchemaType::Json].into_iter().find(|k| k.name() == kind);
        let kind = kind.ok_or_else(|| {
            RegistryError::refused(200, 0, format!("the schema type {} is not known", raw.kind.unwrap_or_default()))
        })?;
        let (mut seen, mut references) = (BTreeSet::new(), Vec::new());
        for reference in raw.references.into_iter().flatten() {
            self.resolve(reference, &mut seen, &mut references)?;
        }
        Ok(SchemaText { kind, text: raw.schema.into(), references })
    }

    fn resolve(
        &self,
        reference: RawReference,
        seen: &mut BTreeSet<(String, String, i32)>,
        resolved: &mut Vec<Reference>,
    ) -> Result<()> {
        let RawReference { name, subject, version } = reference;
        if !seen.insert((name.clone(), subject.clone(), version)) {
            return Ok(());
        }
        if seen.len() > REFERENCES_MAX {
            let text = format!("the schema refers to more than {REFERENCES_MAX} others");
            return Err(RegistryError::refused(200, 0, text));
        }
        let raw: RawVersion = self.get(&version_path(&subject, &version.to_string()))?;
        for deeper in raw.schema.references.into_iter().flatten() {
            self.resolve(deeper, seen, resolved)?;
        }
        resolved.push(Reference { name, subject, version, text: raw.schema.schema.into() });
        Ok(())
    }

    fn keep(&self, id: i32, schema: SchemaText) -> Arc<SchemaText> {
        match named(id) {
            Some(name) => self.cache.put(name, schema),
            None => Arc::new(schema),
        }
    }

    fn registered(&self, raw: RawVersion) -> Result<Registered> {
        let RawVersion { subject, version, id, schema } = raw;
        let schema = match named(id).and_then(|name| self.cache.get(name)) {
            Some(known) => known,
            None => self.keep(id, self.resolved(schema)?),
        };
        Ok(Registered { subject, version, id, schema })
    }
}

impl Schemas for Client {
    fn by_id(&self, id: i32, subject: Option<&str>) -> Result<Arc<SchemaText>> {
        if let Some(known) = named(id).and_then(|name| self.cache.get(name)) {
            return Ok(known);
        }
        let query = subject.map(|subject| format!("?subject={}", escaped(subject))).unwrap_or_default();
        let raw: RawSchema = self.get(&format!("/schemas/ids/{id}{query}"))?;
        Ok(self.keep(id, self.resolved(raw)?))
    }

    fn by_guid(&self, guid: Guid) -> Result<Arc<SchemaText>> {
        let name = SchemaRef::Guid(guid);
        if let Some(known) = self.cache.get(name) {
            return Ok(known);
        }
        let raw: RawSchema = self.get(&format!("/schemas/guids/{guid}"))?;
        Ok(self.cache.put(name, self.resolved(raw)?))
    }

    fn latest(&self, subject: &str) -> Result<Registered> {
        let raw = self.get(&version_path(subject, "latest"))?;
        self.registered(raw)
    }

    fn version(&self, subject: &str, version: i32) -> Result<Registered> {
        let raw = self.get(&version_path(subject, &version.to_string()))?;
        self.registered(raw)
    }

    fn lookup(&self, subject: &str, schema: &SchemaText) -> Result<Registered> {
        let raw = self.call(Method::POST, &format!("/subjects/{}", escaped(subject)), Some(&body(schema)))?;
        self.registered(raw)
    }

    fn register(&self, subject: &str, schema: &SchemaText) -> Result<Registered> {
        let path = format!("/subjects/{}/versions", escaped(subject));
        let RawId { id } = self.call(Method::POST, &path, Some(&body(schema)))?;
        let schema = self.keep(id, schema.clone());
        // The response has no version in registries before 8.0.
        let found = self.lookup(subject, &schema)?;
        Ok(Registered { id, schema, ..found })
    }

    fn is_compatible(&self, subject: &str, schema: &SchemaText) -> Result<Compatibility> {
        let path = format!("/compatibility/subjects/{}/versions/latest?verbose=true", escaped(subject));
        match self.call::<RawCompatibility>(Method::POST, &path, Some(&body(schema))) {
            Ok(RawCompatibility { is_compatible: true, .. }) => Ok(Compatibility::Compatible),
            Ok(RawCompatibility { messages, .. }) => Ok(Compatibility::Incompatible(messages.unwrap_or_default())),
            Err(error) if error.is_missing() => Ok(Compatibility::Compatible),
            Err(error) => Err(error),
        }
    }

    fn delete_subject(&self, subject: &str) -> Result<Vec<i32>> {
        self.call(Method::DELETE, &format!("/subjects/{}", escaped(subject)), None)
    }

    fn subjects_of(&self, id: i32) -> Result<Vec<String>> {
        self.get(&format!("/schemas/ids/{id}/subjects"))
    }

    fn subjects(&self) -> Result<Vec<String>> {
        let mut subjects: Vec<String> = self.get("/subjects")?;
        subjects.sort();
        Ok(subjects)
    }

    fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        self.get(&format!("/subjects/{}/versions", escaped(subject)))
    }
}

/// How payloads name an id; none names a negative one.
fn named(id: i32) -> Option<SchemaRef> {
    u32::try_from(id).ok().map(SchemaRef::Id)
}

fn version_path(subject: &str, version: &str) -> String {
    format!("/subjects/{}/versions/{version}", escaped(subject))
}

/// The body of a registration. Only direct references are sent: the registry resolves the others as it did when those were
/// registered.
fn body(schema: &SchemaText) -> Value {
    let direct = schema.references.iter().filter(|reference| is_direct(schema, reference));
    let references: Vec<Value> =
        direct.map(|r| json!({ "name": r.name, "subject": r.subject, "version": r.version })).collect();
    match references.is_empty() {
        true => json!({ "schema": &*schema.text, "schemaType": schema.kind.name() }),
        false => json!({ "schema": &*schema.text, "schemaType": schema.kind.name(), "references": references }),
    }
}

/// Whether the schema itself names the reference, rather than something that it refers to.
fn is_direct(schema: &SchemaText, reference: &Reference) -> bool {
    let quoted = |name: &str| schema.text.contains(&format!("\"{name}\""));
    let simple = reference.name.rsplit_once('.').map_or(reference.name.as_str(), |(_, simple)| simple);
    quoted(&reference.name)
        || match schema.kind {
            // A name in the namespace of the schema needs no prefix.
            SchemaType::Avro => quoted(simple),
            SchemaType::Protobuf => false,
            SchemaType::Json => schema.text.contains(&format!("\"{}#", reference.name)),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_escaped() {
        assert_eq!(version_path("a/b c-value", "latest"), "/subjects/a%2Fb%20c-value/versions/latest");
    }

    #[test]
    fn only_direct_references_are_sent() {
        let reference = |name: &str| Reference { name: name.into(), subject: name.into(), version: 1, text: "".into() };
        let text = r#"{"type":"record","name":"p.A","fields":[{"name":"B","type":"p.B"},{"name":"C","type":"C"}]}"#;
        let references = vec![reference("p.D"), reference("p.B"), reference("p.C")];
        let sent = body(&SchemaText { kind: SchemaType::Avro, text: text.into(), references });
        let names: Vec<&str> =
            sent["references"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
        assert_eq!(names, ["p.B", "p.C"]);
        let sent = body(&SchemaText { kind: SchemaType::Avro, text: "\"int\"".into(), references: vec![] });
        assert!(sent.get("references").is_none());
    }
}
