//! Results of statements about connectors as ksqlDB's prompt shows them.

use super::{Outcome, table};
use crate::connect::body::Plugin;
use crate::engine::result::connector::{ConnectorDescription, ConnectorEntity, ConnectorRow};

/// The result, ready to be shown.
pub(super) fn outcome(entity: &ConnectorEntity) -> Outcome {
    match entity {
        ConnectorEntity::Created(info) => Outcome::Message(format!("Created connector {}", info.name)),
        ConnectorEntity::Dropped(name) => Outcome::Message(format!("Dropped connector \"{name}\"")),
        ConnectorEntity::List { rows, warnings } => {
            let list = table(None, &["Connector Name", "Type", "Class", "Status"], rows.iter().map(row_cells));
            with_warnings(vec![list], warnings)
        }
        ConnectorEntity::Plugins(plugins) => {
            table(None, &["Class", "Type", "Version"], plugins.iter().map(plugin_cells))
        }
        ConnectorEntity::Description(description) => describe(description),
    }
}

fn with_warnings(mut all: Vec<Outcome>, warnings: &[String]) -> Outcome {
    all.extend(warnings.iter().map(|warning| Outcome::Message(format!("WARNING: {warning}"))));
    match all.len() {
        1 => all.remove(0),
        _ => Outcome::Many(all),
    }
}

fn row_cells(row: &ConnectorRow) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![row.name.clone(), row.kind.to_uppercase(), text(&row.class), text(&row.state)]
}

fn plugin_cells(plugin: &Plugin) -> Vec<String> {
    let kind = plugin.kind.as_deref().unwrap_or("unknown").to_uppercase();
    vec![plugin.class.clone(), kind, plugin.version.clone().unwrap_or_default()]
}

fn describe(description: &ConnectorDescription) -> Outcome {
    let ConnectorDescription { class, status, sources, topics, warnings } = description;
    let mut facts = vec![
        ("Name", status.name.as_str()),
        ("Class", class),
        ("Type", &status.kind),
        ("State", &status.connector.state),
        ("WorkerId", &status.connector.worker_id),
    ];
    if let Some(trace) = &status.connector.trace {
        facts.push(("Trace", trace.trim_end()));
    }
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("{name:<20} : {value}")).collect();
    let mut all = vec![Outcome::Message(facts.join("\n"))];
    if !status.tasks.is_empty() {
        let tasks = status.tasks.iter().map(|task| {
            let trace = task.state.trace.as_deref().map(summary).unwrap_or_default();
            vec![task.id.to_string(), task.state.state.clone(), trace]
        });
        all.push(table(None, &["Task ID", "State", "Error Trace"], tasks));
    }
    if !sources.is_empty() {
        let cells = sources
            .iter()
            .map(|source| vec![source.name.clone(), source.topic.clone(), format!("{:?}", source.kind).to_uppercase()]);
        all.push(table(None, &["KSQL Source Name", "Kafka Topic", "Type"], cells));
    }
    if !topics.is_empty() {
        all.push(table(None, &["Related Topics"], topics.iter().map(|topic| vec![topic.clone()])));
    }
    with_warnings(all, warnings)
}

/// A stack trace as a cell shows it: what was thrown, and its causes. The whole one is in the JSON and in the worker's log.
fn summary(trace: &str) -> String {
    let lines = trace.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_place = |line: &&str| line.starts_with("at ") || line.starts_with("... ");
    lines.filter(|line| !is_place(line)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_summed_up_by_its_causes() {
        let trace = "a.B: no file\n\tat c.D.e(D.java:1)\n\t... 2 more\nCaused by: f.G: x\n\tat h.I.j(I.java:2)\n";
        assert_eq!(summary(trace), "a.B: no file; Caused by: f.G: x");
    }
}
