//! The schema registry as the runner uses it: over its REST API, as any client does. Schemas of a case are registered before
//! its statements run; payloads are encoded with the latest schema of a subject and decoded by the id in front of them.

use crate::case::{Case, TopicDecl};
use crate::wire::{Referenced, Schema, SchemaKind, unframe};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_SECONDS_MAX: u64 = 15;

/// A client of a registry.
pub(crate) struct Registry {
    url: String,
    agent: ureq::Agent,
    /// What the ids mean, which never changes.
    known: RefCell<BTreeMap<u32, Rc<Schema>>>,
}

/// A schema to be registered before the statements run.
struct Given {
    subject: String,
    kind: SchemaKind,
    text: String,
    references: Vec<Value>,
    id: u32,
}

/// A topic of `CREATE` whose columns make a schema: it takes an id where the case counts on the next one.
pub(crate) struct Declared {
    pub(crate) topic: String,
    pub(crate) schemas: u32,
}

impl Registry {
    pub(crate) fn new(url: String) -> Registry {
        let patience = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(patience);
        Registry { url, agent: agent.build().new_agent(), known: RefCell::default() }
    }

    fn finish(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, String> {
        let mut response = response.map_err(|e| format!("the registry does not respond: {e}"))?;
        let body = response.body_mut().read_to_string().map_err(|e| format!("no body: {e}"))?;
        match response.status().as_u16() {
            200 => serde_json::from_str(&body).map_err(|e| format!("the registry sent no JSON: {e}: {body}")),
            status => Err(format!("the registry: {status} {body}")),
        }
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        Self::finish(self.agent.get(format!("{}{path}", self.url)).call())
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.agent.post(format!("{}{path}", self.url));
        Self::finish(request.header("content-type", "application/vnd.schemaregistry.v1+json").send(body.to_string()))
    }

    fn put(&self, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.agent.put(format!("{}{path}", self.url));
        Self::finish(request.header("content-type", "application/vnd.schemaregistry.v1+json").send(body.to_string()))
    }

    /// Registers what a case gives. Ids are fixed as the cases count on them; no version is held against an earlier one, as
    /// in the registry that the cases were made with.
    pub(crate) fn prepare(&self, case: &Case, declared: &[Declared]) -> Result<(), String> {
        self.put("/config", &json!({ "compatibility": "NONE" }))?;
        let given = given(case, declared)?;
        if given.is_empty() {
            return Ok(());
        }
        self.put("/mode?force=true", &json!({ "mode": "IMPORT" }))?;
        let (mut next, mut referenced) = (given.iter().map(|g| g.id).max().unwrap_or(0), Vec::new());
        for schema in &given {
            for reference in &schema.references {
                let name = reference["name"].as_str().unwrap_or_default();
                if !referenced.contains(&name) {
                    referenced.push(name);
                    next += 1;
                    let kind = reference["format"].as_str().and_then(SchemaKind::named).unwrap_or(schema.kind);
                    self.import(name, kind, &text_of(&reference["schema"]), &[], next)?;
                }
            }
            self.import(&schema.subject, schema.kind, &schema.text, &schema.references, schema.id)?;
        }
        self.put("/mode?force=true", &json!({ "mode": "READWRITE" }))?;
        Ok(())
    }

    /// Registers version 1 of a subject under the id; what it refers to are subjects of the same names.
    fn import(&self, subject: &str, kind: SchemaKind, text: &str, references: &[Value], id: u32) -> Result<(), String> {
        let named = |r: &Value| json!({ "name": r["name"], "subject": r["name"], "version": 1 });
        let references: Vec<Value> = references.iter().map(named).collect();
        let body = json!({
            "schemaType": kind.name(), "schema": text, "references": references, "id": id, "version": 1,
        });
        self.post(&format!("/subjects/{subject}/versions"), &body).map(|_| ())
    }

    /// A framed payload, by the latest schema of the topic's key or value.
    pub(crate) fn encode(
        &self,
        topic: &str,
        is_key: bool,
        message: Option<&str>,
        tree: &Value,
    ) -> Result<Vec<u8>, String> {
        let latest = self.get(&format!("/subjects/{}/versions/latest", subject(topic, is_key)))?;
        let id = latest["id"].as_u64().ok_or("the registry gives no id")? as u32;
        self.schema(id)?.encode(id, message, tree)
    }

    /// The tree of a framed payload.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Value, String> {
        let (id, payload) = unframe(bytes)?;
        self.schema(id)?.decode(payload)
    }

    fn schema(&self, id: u32) -> Result<Rc<Schema>, String> {
        if let Some(known) = self.known.borrow().get(&id) {
            return Ok(known.clone());
        }
        let found = self.get(&format!("/schemas/ids/{id}"))?;
        let kind = SchemaKind::named(found["schemaType"].as_str().unwrap_or("AVRO"))
            .ok_or("the type of a schema is unknown")?;
        let mut references = Vec::new();
        self.referenced(&found["references"], &mut references)?;
        let schema = Rc::new(Schema::parse(kind, &text_of(&found["schema"]), &references)?);
        self.known.borrow_mut().insert(id, schema.clone());
        Ok(schema)
    }

    /// The texts that a schema refers to, each after its own.
    fn referenced(&self, references: &Value, found: &mut Vec<Referenced>) -> Result<(), String> {
        for reference in references.as_array().into_iter().flatten() {
            let name = reference["name"].as_str().unwrap_or_default().to_owned();
            if found.iter().any(|known| known.name == name) {
                continue;
            }
            let subject = reference["subject"].as_str().unwrap_or_default();
            let schema = self.get(&format!("/subjects/{subject}/versions/{}", reference["version"]))?;
            self.referenced(&schema["references"], found)?;
            found.push(Referenced { name, text: text_of(&schema["schema"]) });
        }
        Ok(())
    }
}

fn subject(topic: &str, is_key: bool) -> String {
    format!("{topic}-{}", if is_key { "key" } else { "value" })
}

/// A schema in a case is a text, or JSON; a bare word of JSON is an Avro type.
fn text_of(schema: &Value) -> String {
    schema.as_str().map_or_else(|| schema.to_string(), str::to_owned)
}

/// The schemas of a case, the ones with an id of their own first. The others are numbered as the cases' own runner does:
/// through the topics in the order of its hash map, the key before the value, and declared columns count, too.
fn given(case: &Case, declared: &[Declared]) -> Result<Vec<Given>, String> {
    let listed = case.topics.as_deref().unwrap_or_default();
    let mut names: Vec<&str> = Vec::new();
    for name in listed.iter().map(|t| t.name.as_str()).chain(declared.iter().map(|d| d.topic.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let count = names.len();
    names.sort_by_key(|name| hash_slot(name, count));
    let fixed: Vec<u32> = listed.iter().flat_map(TopicDecl::parts).filter_map(|part| part.id).collect();
    let (mut all, mut others, mut next): (Vec<Given>, Vec<Given>, u32) = (Vec::new(), Vec::new(), 1);
    for name in names {
        let mut parts = listed.iter().find(|t| t.name == name).into_iter().flat_map(TopicDecl::parts).peekable();
        if parts.peek().is_none() {
            next += declared.iter().find(|d| d.topic == name).map_or(0, |d| d.schemas);
        }
        for part in parts {
            let kind = SchemaKind::named(part.format.unwrap_or("AVRO")).ok_or("the format of a schema is unknown")?;
            // A text is PROTOBUF, or the name of an Avro type.
            let text = if kind == SchemaKind::Protobuf { text_of(part.schema) } else { part.schema.to_string() };
            let mut given =
                Given { subject: subject(name, part.is_key), kind, text, references: part.references.to_vec(), id: 0 };
            if let Some(id) = part.id {
                all.push(Given { id, ..given });
                continue;
            }
            let same = others.iter().find(|o| (o.kind, &o.text) == (kind, &given.text)).map(|o| o.id);
            given.id = same.unwrap_or_else(|| {
                let free = (next..).find(|id| !fixed.contains(id)).unwrap_or(next);
                next = free + 1;
                free
            });
            others.push(given);
        }
    }
    all.append(&mut others);
    Ok(all)
}

/// The place of a text in a Java `HashMap` that holds so many.
fn hash_slot(text: &str, count: usize) -> u32 {
    let hash = text.encode_utf16().fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    let slots = (4..).map(|bits| 1u32 << bits).find(|slots| count * 4 <= *slots as usize * 3).unwrap_or(16);
    (hash ^ hash >> 16) & (slots - 1)
}
