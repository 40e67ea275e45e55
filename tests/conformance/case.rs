//! A conformance case as it is in the file: one JSON object a line. Numbers keep their text.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Cases that run in ksqlDB's dialect, by the beginning of their names, and why.
const IN_KSQLDBS_DIALECT: [(&str, &str); 1] =
    [("suppress - ", "EMIT FINAL loses windows that time jumps over in ksqlDB; by default none is lost")];

/// One case. What the runner does not need (expected records, tags) is not read.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Case {
    pub(crate) suite: String,
    #[serde(rename = "full_name")]
    pub(crate) full_name: String,
    pub(crate) statements: Vec<String>,
    #[serde(default)]
    pub(crate) properties: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    pub(crate) topics: Option<Vec<TopicDecl>>,
    #[serde(default)]
    pub(crate) inputs: Option<Vec<Input>>,
    #[serde(default)]
    pub(crate) outputs: Option<Vec<Output>>,
    #[serde(default)]
    expected_exception: Option<Value>,
    #[serde(default)]
    expected_error: Option<Value>,
    #[serde(default)]
    input_conditions: Option<BTreeMap<String, Value>>,
}

/// A topic to be made beforehand, and the schemas to be registered for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TopicDecl {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) partitions: Option<u32>,
    #[serde(default)]
    key_format: Option<String>,
    #[serde(default)]
    key_schema: Option<Value>,
    #[serde(default)]
    key_schema_id: Option<u32>,
    #[serde(default)]
    key_schema_references: Vec<Value>,
    #[serde(default)]
    value_format: Option<String>,
    #[serde(default)]
    value_schema: Option<Value>,
    #[serde(default)]
    value_schema_id: Option<u32>,
    #[serde(default)]
    value_schema_references: Vec<Value>,
}

/// The schema of one side of a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) is_key: bool,
    /// AVRO where none is given.
    pub(crate) format: Option<&'a str>,
    pub(crate) schema: &'a Value,
    pub(crate) id: Option<u32>,
    pub(crate) references: &'a [Value],
}

impl TopicDecl {
    /// The key's schema, then the value's.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let part = |is_key| {
            let (format, schema, id, references) = match is_key {
                true => (&self.key_format, &self.key_schema, self.key_schema_id, &self.key_schema_references),
                false => (&self.value_format, &self.value_schema, self.value_schema_id, &self.value_schema_references),
            };
            Some(Part { is_key, format: format.as_deref(), schema: schema.as_ref()?, id, references })
        };
        [true, false].into_iter().filter_map(part)
    }

    /// The format of one side, where it is given.
    pub(crate) fn format(&self, is_key: bool) -> Option<&str> {
        if is_key { self.key_format.as_deref() } else { self.value_format.as_deref() }
    }
}

/// A record to be produced.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Input {
    pub(crate) topic: String,
    pub(crate) key: Option<Value>,
    pub(crate) value: Option<Value>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) window: Option<InputWindow>,
    pub(crate) headers: Option<Vec<InputHeader>>,
}

/// The window of a windowed key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct InputWindow {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

/// A header; the value is base64.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) struct InputHeader {
    pub(crate) key: String,
    pub(crate) value: Option<String>,
}

/// An expected record: only its topic matters here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Output {
    pub(crate) topic: String,
}

impl Case {
    /// A case of the suite that speaks HTTP.
    pub(crate) fn is_rest(&self) -> bool {
        self.suite.starts_with("rest")
    }

    /// It asks for what Tidegate does only in ksqlDB's dialect.
    pub(crate) fn runs_in_ksqldbs_dialect(&self) -> bool {
        IN_KSQLDBS_DIALECT.iter().any(|(name, _)| self.full_name.starts_with(name))
    }

    /// Does it speak of a format whose payloads have a schema? Then it needs a registry.
    pub(crate) fn names_registry_formats(&self) -> bool {
        let listed = self.topics.iter().flatten().any(|t| t.parts().next().is_some());
        let texts = self.statements.iter().chain(self.properties.iter().flatten().map(|(name, _)| name));
        let values = self.properties.iter().flatten().filter_map(|(_, value)| value.as_str());
        let named = |text: &str| ["AVRO", "PROTOBUF", "JSON_SR"].iter().any(|f| text.to_ascii_uppercase().contains(f));
        listed || texts.map(String::as_str).chain(values).any(named)
    }

    /// A statement of it has to be rejected.
    pub(crate) fn wants_error(&self) -> bool {
        self.expected_exception.is_some() || self.expected_error.is_some()
    }

    /// The records come only when the push query runs.
    pub(crate) fn waits_for_push_query(&self) -> bool {
        let conditions = self.input_conditions.iter().flatten();
        conditions.into_iter().any(|(name, value)| name == "waitForActivePushQuery" && *value == Value::Bool(true))
    }

    /// Session properties as text, without the one that is meant for the judge.
    pub(crate) fn properties(&self) -> impl Iterator<Item = (String, String)> {
        let all = self.properties.iter().flatten();
        all.filter(|(name, _)| *name != "use.exact.numeric.comparison").map(|(name, value)| match value {
            Value::String(text) => (name.clone(), text.clone()),
            other => (name.clone(), other.to_string()),
        })
    }

    /// Does it say how many partitions a topic has? Then order between keys is only defined record by record.
    pub(crate) fn names_partitions(&self) -> bool {
        self.statements.iter().any(|s| s.to_ascii_uppercase().contains("PARTITIONS"))
            || self.topics.iter().flatten().any(|t| t.partitions.is_some_and(|p| p > 1))
    }

    /// Does a join read topics in another order than that of their times? Only record by record it then does.
    pub(crate) fn mixes_topics(&self) -> bool {
        let text = self.statements.join(" ").to_ascii_uppercase();
        let ordered = self.inputs.as_deref().unwrap_or_default().windows(2).all(|pair| {
            let [one, next] = pair else { return true };
            let times = (one.timestamp.unwrap_or(0), next.timestamp.unwrap_or(0));
            times.0 < times.1 || (times.0 == times.1 && one.topic == next.topic)
        });
        text.contains(" JOIN ") && (!ordered || text.contains("TIMESTAMP=") || text.contains("TIMESTAMP ="))
    }
}
