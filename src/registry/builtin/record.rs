//! Records of the topic `_schemas`, in the format of Confluent's registry: an existing topic can be taken over, and given back.
//!
//! ```text
//! {"keytype":"SCHEMA","subject":"t-value","version":1,"magic":1}  {"subject":"t-value","version":1,"id":1,"schema":"\"int\"","deleted":false}
//! {"keytype":"CONFIG","subject":null,"magic":0}                   {"compatibilityLevel":"FULL"}
//! {"keytype":"MODE","subject":"t-value","magic":0}                {"mode":"IMPORT"}
//! {"keytype":"DELETE_SUBJECT","subject":"t-value","magic":0}      {"subject":"t-value","version":3}     soft, versions 1 to 3
//! {"keytype":"CLEAR_SUBJECT","subject":"t-value","magic":0}       {"subject":"t-value"}     soft-deleted versions are forgotten
//! {"keytype":"NOOP","magic":0}                                    {"maxId":17}     ours: ids up to it are never assigned again
//! ```
//!
//! A null value deletes what the key names. Compaction compares the bytes of keys, so their members have Confluent's order.
//! Members of a value that are not known here (metadata, rules) are kept and written again.

use super::terms::{Mode, Name};
use crate::catalog::SchemaType;
use crate::registry::compatibility::Level;
use serde_json::{Map, Value, json};

/// The content of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A version of a subject.
    Schema(Box<SchemaRecord>),
    /// A version is permanently deleted.
    NoSchema {
        /// The subject.
        subject: String,
        /// The version.
        version: i32,
    },
    /// The compatibility level of a subject, or the global one.
    Level {
        /// `None` = the global level.
        subject: Option<String>,
        /// `None` = the default again.
        level: Option<Level>,
    },
    /// The mode of a subject, or the global one.
    Mode {
        /// `None` = the global mode.
        subject: Option<String>,
        /// `None` = the default again.
        mode: Option<Mode>,
    },
    /// All versions of a subject up to this one are soft-deleted.
    DeleteSubject {
        /// The subject.
        subject: String,
        /// The last version.
        version: i32,
    },
    /// Soft-deleted versions are forgotten.
    Clear {
        /// `None` = those of all subjects.
        subject: Option<String>,
    },
    /// Ids up to this one have been assigned.
    LastId(i32),
}

/// A version of a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaRecord {
    /// The subject.
    pub subject: String,
    /// The version.
    pub version: i32,
    /// Id of the schema.
    pub id: i32,
    /// Its language.
    pub kind: SchemaType,
    /// Its direct references.
    pub references: Vec<Name>,
    /// Its text.
    pub text: String,
    /// Whether the version is soft-deleted.
    pub is_deleted: bool,
    /// Other members of the value.
    pub rest: Map<String, Value>,
}

/// Members of a schema's value that have a meaning here.
const KNOWN: [&str; 7] = ["subject", "version", "id", "schemaType", "references", "schema", "deleted"];

impl Record {
    /// Reads a record. `None` = it has no meaning here; an error says why it cannot be read.
    pub fn read(key: &[u8], value: Option<&[u8]>) -> Result<Option<Record>, String> {
        let key: Value = serde_json::from_slice(key).map_err(|e| format!("the key is not JSON: {e}"))?;
        let value = value.filter(|value| !value.is_empty()).map(serde_json::from_slice::<Value>).transpose();
        let value = value.map_err(|e| format!("the value is not JSON: {e}"))?.filter(|value| !value.is_null());
        let subject = key.get("subject").and_then(Value::as_str).map(str::to_owned);
        let named = || subject.clone().ok_or_else(|| "the key names no subject".to_owned());
        Ok(match (key.get("keytype").and_then(Value::as_str).unwrap_or_default(), value) {
            ("SCHEMA", None) => Some(Record::NoSchema { subject: named()?, version: number(&key, "version")? }),
            ("SCHEMA", Some(value)) => Some(Record::Schema(Box::new(schema(&key, named()?, &value)?))),
            ("CONFIG", value) => {
                let level = value.and_then(|value| Level::named(value.get("compatibilityLevel")?.as_str()?));
                Some(Record::Level { subject, level })
            }
            ("MODE", value) => {
                let mode = value.and_then(|value| Mode::named(value.get("mode")?.as_str()?));
                Some(Record::Mode { subject, mode })
            }
            ("DELETE_SUBJECT", Some(value)) => {
                Some(Record::DeleteSubject { subject: named()?, version: number(&value, "version")? })
            }
            ("CLEAR_SUBJECT", Some(_)) => Some(Record::Clear { subject }),
            ("NOOP", Some(value)) => number(&value, "maxId").ok().map(Record::LastId),
            _ => None,
        })
    }

    /// Key and value as they are written.
    pub fn write(&self) -> (String, Option<String>) {
        let other =
            |keytype: &str, subject: &Option<String>| json!({"keytype": keytype, "subject": subject, "magic": 0});
        let (key, value) = match self {
            Record::Schema(schema) => (version_key(&schema.subject, schema.version), Some(schema.value())),
            Record::NoSchema { subject, version } => (version_key(subject, *version), None),
            Record::Level { subject, level } => {
                (other("CONFIG", subject), level.map(|level| json!({"compatibilityLevel": level.name()})))
            }
            Record::Mode { subject, mode } => (other("MODE", subject), mode.map(|mode| json!({"mode": mode.name()}))),
            Record::DeleteSubject { subject, version } => {
                let key = other("DELETE_SUBJECT", &Some(subject.clone()));
                (key, Some(json!({"subject": subject, "version": version})))
            }
            Record::Clear { subject } => (other("CLEAR_SUBJECT", subject), Some(json!({"subject": subject}))),
            Record::LastId(id) => (json!({"keytype": "NOOP", "magic": 0}), Some(json!({"maxId": id}))),
        };
        (key.to_string(), value.map(|value| value.to_string()))
    }
}

fn version_key(subject: &str, version: i32) -> Value {
    json!({"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1})
}

fn number(value: &Value, name: &str) -> Result<i32, String> {
    let number = value.get(name).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| format!("{name} is not a number"))
}

fn schema(key: &Value, subject: String, value: &Value) -> Result<SchemaRecord, String> {
    let text = value.get("schema").and_then(Value::as_str).ok_or("the value has no schema")?.to_owned();
    let kind = match value.get("schemaType").and_then(Value::as_str) {
        None => SchemaType::Avro,
        Some(name) => SchemaType::by_name(name).ok_or_else(|| format!("unknown schema type {name}"))?,
    };
    let references = value.get("references").and_then(Value::as_array).into_iter().flatten();
    let references = references.map(Name::read).collect::<Option<_>>().ok_or("a reference cannot be read")?;
    let is_deleted = value.get("deleted").and_then(Value::as_bool).unwrap_or_default();
    let (id, version) = (number(value, "id")?, number(key, "version")?);
    let rest = value.as_object().into_iter().flatten().filter(|(name, _)| !KNOWN.contains(&name.as_str()));
    let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
    Ok(SchemaRecord { subject, version, id, kind, references, text, is_deleted, rest })
}

impl SchemaRecord {
    fn value(&self) -> Value {
        let mut object = Map::new();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("subject", self.subject.clone().into());
        put("version", self.version.into());
        put("id", self.id.into());
        // A schema without a type is Avro.
        if self.kind != SchemaType::Avro {
            put("schemaType", self.kind.name().into());
        }
        if !self.references.is_empty() {
            put("references", self.references.iter().map(Name::json).collect());
        }
        for (name, value) in &self.rest {
            put(name, value.clone());
        }
        put("schema", self.text.clone().into());
        put("deleted", self.is_deleted.into());
        Value::Object(object)
    }
}
