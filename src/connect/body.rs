//! Bodies of Kafka Connect's REST interface, as far as they are used.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of a connector. Connect has NULL where a setting was reset.
pub type Config = BTreeMap<String, Option<String>>;

/// The setting that names a connector's class.
pub const CLASS: &str = "connector.class";

/// The state of a connector or task that works.
pub const RUNNING: &str = "RUNNING";

/// What a connector is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorInfo {
    /// Name.
    pub name: String,
    /// Settings, secrets among them.
    pub config: Config,
    /// Tasks.
    #[serde(default)]
    pub tasks: Vec<TaskId>,
    /// `source`, `sink` or `unknown`.
    #[serde(rename = "type", default = "unknown")]
    pub kind: String,
}

/// The id of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskId {
    /// Its connector.
    pub connector: String,
    /// Its number.
    pub task: i32,
}

/// What a connector is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorStatus {
    /// Name.
    pub name: String,
    /// The connector itself, which plans the tasks.
    pub connector: WorkerState,
    /// The tasks, which move records.
    #[serde(default)]
    pub tasks: Vec<TaskState>,
    /// `source`, `sink` or `unknown`.
    #[serde(rename = "type", default = "unknown")]
    pub kind: String,
}

/// A state, where it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerState {
    /// RUNNING, FAILED, PAUSED, STOPPED, UNASSIGNED, RESTARTING.
    pub state: String,
    /// `host:port` of the worker.
    #[serde(default)]
    pub worker_id: String,
    /// A stack trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// The state of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    /// Its number.
    pub id: i32,
    /// The state.
    #[serde(flatten)]
    pub state: WorkerState,
}

/// A class of connectors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Plugin {
    /// The class.
    pub class: String,
    /// `source` or `sink`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Version.
    pub version: Option<String>,
}

/// A request for a connector.
#[derive(Serialize)]
pub(super) struct NewConnector<'a> {
    pub name: &'a str,
    pub config: &'a Config,
}

/// The topics of a connector.
#[derive(Default, Deserialize)]
pub(super) struct Topics {
    #[serde(default)]
    pub topics: Vec<String>,
}

/// The result of a validation.
#[derive(Deserialize)]
pub(super) struct Validated {
    #[serde(default)]
    configs: Vec<ValidatedSetting>,
}

#[derive(Deserialize)]
struct ValidatedSetting {
    value: Option<SettingValue>,
}

#[derive(Deserialize)]
struct SettingValue {
    name: String,
    #[serde(default)]
    errors: Vec<String>,
}

impl Validated {
    /// What is wrong: `topic - Missing required configuration "topic" which has no default value.`
    pub(super) fn errors(self) -> Vec<String> {
        let values = self.configs.into_iter().filter_map(|setting| setting.value);
        let wrong = values.filter(|value| !value.errors.is_empty());
        wrong.map(|value| format!("{} - {}", value.name, value.errors.join(". "))).collect()
    }
}

impl ConnectorInfo {
    /// Its class.
    pub fn class(&self) -> Option<&str> {
        self.config.get(CLASS)?.as_deref()
    }
}

impl ConnectorStatus {
    /// `RUNNING (2/2 tasks RUNNING)`, `WARNING (0/1 tasks RUNNING)`, `FAILED`
    pub fn summary(&self) -> String {
        if self.connector.state != RUNNING {
            return self.connector.state.clone();
        }
        let running = self.tasks.iter().filter(|task| task.state.state == RUNNING).count();
        let word = if running == 0 && !self.tasks.is_empty() { "WARNING" } else { RUNNING };
        format!("{word} ({running}/{} tasks RUNNING)", self.tasks.len())
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_summed_up() {
        let state = |state: &str| WorkerState { state: state.to_owned(), worker_id: String::new(), trace: None };
        let status = |connector: &str, tasks: &[&str]| ConnectorStatus {
            name: "c".to_owned(),
            connector: state(connector),
            tasks: tasks.iter().enumerate().map(|(id, task)| TaskState { id: id as i32, state: state(task) }).collect(),
            kind: "sink".to_owned(),
        };
        for (connector, tasks, expected) in [
            ("RUNNING", &["RUNNING", "FAILED"][..], "RUNNING (1/2 tasks RUNNING)"),
            ("RUNNING", &["FAILED", "FAILED"], "WARNING (0/2 tasks RUNNING)"),
            ("RUNNING", &[], "RUNNING (0/0 tasks RUNNING)"),
            ("PAUSED", &["PAUSED"], "PAUSED"),
        ] {
            assert_eq!(status(connector, tasks).summary(), expected);
        }
    }

    #[test]
    fn unknown_fields_of_newer_workers_are_ignored() {
        let text = r#"{"name":"c","connector":{"state":"RUNNING","worker_id":"h:1","version":"4"},"tasks":[{"id":0,"state":"FAILED","worker_id":"h:1","trace":"x"}],"type":"source"}"#;
        let status: ConnectorStatus = serde_json::from_str(text).unwrap();
        assert_eq!((status.tasks[0].state.trace.as_deref(), status.kind.as_str()), (Some("x"), "source"));
        let text = r#"{"configs":[{"value":{"name":"a","errors":["x","y"]}},{"value":{"name":"b","errors":[]}}]}"#;
        assert_eq!(serde_json::from_str::<Validated>(text).unwrap().errors(), ["a - x. y"]);
    }
}
