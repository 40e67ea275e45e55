//! A JSON Schema as parsed JSON, with its references.
//!
//! ```text
//! {"$ref": "#/definitions/d"}    a place in the same document
//! {"$ref": "#"}                  the document
//! {"$ref": "other.json#/$defs/d"}    a place in a document that was registered as a reference of that name, or has that `$id`
//! ```
//!
//! A schema may contain itself, so nothing is expanded here: a [`Node`] is a place, and its parts are read when they are asked for.

use serde_json::{Map, Value};

/// The largest text that is read: a registry's schema is a record of a topic, a mebibyte at most.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Limit of `$ref`s that lead to `$ref`s.
const REFERENCES_MAX: usize = 32;

/// A schema and the documents that it refers to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schema {
    /// The schema itself first, then the references by name.
    documents: Vec<(String, Value)>,
}

/// A schema in a document: an object, or a boolean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'a> {
    schema: &'a Schema,
    document: usize,
    value: &'a Value,
    /// The one of its types that counts, where `type` is a list.
    only: Option<&'a str>,
}

/// Parses a schema with the texts of its references by name.
pub(crate) fn parse(main: &str, references: &[(&str, &str)]) -> Result<Schema, String> {
    let mut documents = vec![(String::new(), document(main)?)];
    for (name, text) in references {
        documents.push(((*name).to_owned(), document(text).map_err(|reason| format!("{name}: {reason}"))?));
    }
    Ok(Schema { documents })
}

fn document(text: &str) -> Result<Value, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("the schema has {} bytes, and {TEXT_BYTES_MAX} are read at most", text.len()));
    }
    let value: Value = serde_json::from_str(text).map_err(|e| format!("the schema is no JSON: {e}"))?;
    if matches!(value, Value::Object(_) | Value::Bool(_)) {
        return Ok(value);
    }
    Err("a JSON schema is an object or a boolean".to_owned())
}

impl Schema {
    /// The schema's root.
    pub(crate) fn root(&self) -> Node<'_> {
        Node { schema: self, document: 0, value: &self.documents[0].1, only: None }
    }

    /// Its title, which is its name.
    pub(crate) fn title(&self) -> Option<String> {
        self.root().text("title").map(str::to_owned)
    }

    /// The document of a reference's name, or with that `$id`.
    fn named(&self, name: &str) -> Option<usize> {
        let bare = name.strip_prefix("./").unwrap_or(name);
        let id = |value: &Value| value.get("$id").or_else(|| value.get("id")).and_then(Value::as_str) == Some(name);
        let by_name = self.documents.iter().skip(1).position(|(n, _)| n == name || n == bare).map(|at| at + 1);
        by_name.or_else(|| self.documents.iter().position(|(_, value)| id(value)))
    }
}

impl<'a> Node<'a> {
    /// The JSON of the schema.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// The schema's keywords; a boolean has none.
    pub(crate) fn object(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    /// A keyword's value.
    pub(crate) fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.value.get(keyword)
    }

    /// A keyword's text.
    pub(crate) fn text(&self, keyword: &str) -> Option<&'a str> {
        self.get(keyword).and_then(Value::as_str)
    }

    /// Another schema of the same document.
    pub(crate) fn part(&self, value: &'a Value) -> Node<'a> {
        Node { value, only: None, ..*self }
    }

    /// The same schema, restricted to one of its types.
    pub(super) fn only(&self, kind: &'a str) -> Node<'a> {
        Node { only: Some(kind), ..*self }
    }

    /// The `type`, if it is one.
    pub(super) fn kind(&self) -> Option<&'a str> {
        self.only.or_else(|| self.text("type"))
    }

    /// The `type`, if it is a list.
    pub(super) fn kinds(&self) -> Option<&'a [Value]> {
        if self.only.is_some() {
            return None;
        }
        self.get("type").and_then(Value::as_array).map(Vec::as_slice)
    }

    /// The schema that is a keyword's value.
    pub(crate) fn child(&self, keyword: &str) -> Option<Node<'a>> {
        let value = self.get(keyword)?;
        matches!(value, Value::Object(_) | Value::Bool(_)).then(|| self.part(value))
    }

    /// The schemas in a keyword's list.
    pub(crate) fn list(&self, keyword: &str) -> Vec<Node<'a>> {
        let items = self.get(keyword).and_then(Value::as_array);
        items.map_or_else(Vec::new, |items| items.iter().map(|item| self.part(item)).collect())
    }

    /// The schemas in a keyword's object, by name in code-point order.
    pub(crate) fn members(&self, keyword: &str) -> Vec<(&'a str, Node<'a>)> {
        let Some(members) = self.get(keyword).and_then(Value::as_object) else { return vec![] };
        let mut found: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), self.part(value))).collect();
        found.sort_by_key(|(name, _)| *name);
        found
    }

    /// Whether two nodes are the same place.
    pub(crate) fn is(&self, other: &Node<'_>) -> bool {
        std::ptr::eq(self.value, other.value) && self.only == other.only
    }

    /// The schema itself, or what its `$ref` refers to.
    pub(crate) fn followed(self) -> Result<Node<'a>, String> {
        let mut node = self;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = node.text("$ref") else { return Ok(node) };
            let next = node.refer(reference);
            node = next.ok_or_else(|| format!("the reference `{reference}` leads to nothing"))?;
        }
        Err(format!("more than {REFERENCES_MAX} references follow each other"))
    }

    fn refer(&self, reference: &str) -> Option<Node<'a>> {
        let (name, place) = reference.split_once('#').unwrap_or((reference, ""));
        let document = if name.is_empty() { Some(self.document) } else { self.schema.named(name) };
        let Some(document) = document else { return self.by_id(reference) };
        let root = Node { document, value: &self.schema.documents[document].1, only: None, ..*self };
        if !place.is_empty() && !place.starts_with('/') {
            return root.by_id(&format!("#{place}")).or_else(|| root.by_anchor(place));
        }
        let mut value = root.value;
        for part in place.split('/').skip(1) {
            let part = unescaped(part);
            value = match value {
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                value => value.get(&part)?,
            };
        }
        Some(Node { value, ..root })
    }

    /// A definition that has this `$id`.
    fn by_id(&self, id: &str) -> Option<Node<'a>> {
        self.definition(|node| node.text("$id").or_else(|| node.text("id")) == Some(id))
    }

    fn by_anchor(&self, anchor: &str) -> Option<Node<'a>> {
        self.definition(|node| node.text("$anchor") == Some(anchor))
    }

    fn definition(&self, wanted: impl Fn(&Node<'_>) -> bool) -> Option<Node<'a>> {
        let root = Node { value: &self.schema.documents[self.document].1, ..*self };
        let all = root.members("definitions").into_iter().chain(root.members("$defs"));
        all.map(|(_, node)| node).find(|node| wanted(node))
    }
}

/// A part of a JSON pointer in a URI fragment.
fn unescaped(part: &str) -> String {
    let mut out = vec![];
    let mut bytes = part.as_bytes();
    while let Some((&c, rest)) = bytes.split_first() {
        let hex = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (c, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                bytes = &rest[2..];
            }
            _ => {
                out.push(c);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).replace("~1", "/").replace("~0", "~")
}
