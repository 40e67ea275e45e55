//! A conformance case as it stands in the file: one JSON object a line. Numbers keep their text.

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

/// A topic to be made beforehand.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TopicDecl {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) partitions: Option<u32>,
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

    /// A statement of it has to be rejected.
    pub(crate) fn wants_error(&self) -> bool {
        self.expected_exception.is_some() || self.expected_error.is_some()
    }

    /// The records come only when the push query runs.
    pub(crate) fn waits_for_push_query(&self) -> bool {
        let conditions = self.input_conditions.iter().flatten();
        conditions.into_iter().any(|(name, value)| name == "waitForActivePushQuery" && *value == Value::Bool(true))
    }

    /// Session properties as text, without the one that is meant for whoever compares.
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
