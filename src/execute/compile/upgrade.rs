//! CREATE OR REPLACE ... AS SELECT: whether a query may continue as another one, at its committed offsets and with its state.
//!
//! Filters and what is selected may change: they keep nothing. What keeps something (a grouping, a table's rows) has to be
//! the same before and after, because its state was made by it; and rows have to come from the same topics and leave with
//! the same key. Joins and windows are refused, as ksqlDB refuses them.

use crate::error::{Error, Result};
use crate::execute::pipeline::{Pipeline, RowSpec};
use crate::plan::nodes::join::Rule;

/// Fails where `new` cannot continue from the state of `old`.
pub fn check(old: &Pipeline, new: &Pipeline) -> Result<()> {
    if sources(old) != sources(new) {
        return Err(refused(format!(
            "it reads {}, and would read {}",
            sources(old).join(", "),
            sources(new).join(", ")
        ))
        .with_hint("drop it and create it again"));
    }
    for pipeline in [old, new] {
        if let Some(step) = unsupported(pipeline) {
            return Err(refused(format!("Upgrades not yet supported for {step}")));
        }
    }
    for (what, same) in [
        ("the table functions", old.explode.is_some() == new.explode.is_some()),
        ("the grouping", groupings(old) == groupings(new)),
        ("the key", keys(old) == keys(new)),
        ("the rows that it remembers of a table", remembers(old, new)),
    ] {
        if !same {
            return Err(refused(format!("{what} would change")).with_hint("drop it and create it again"));
        }
    }
    Ok(())
}

fn refused(why: String) -> Error {
    Error::statement(format!("Query is not upgradeable. {why}"))
}

fn sources(pipeline: &Pipeline) -> Vec<&str> {
    pipeline.scans.iter().map(|s| s.source.name.as_str()).collect()
}

/// ksqlDB's name of the first step that it never replaces.
fn unsupported(pipeline: &Pipeline) -> Option<&'static str> {
    if let Some(join) = pipeline.joins.first() {
        return Some(match join.rule {
            Rule::Within(_) => "StreamStreamJoin",
            Rule::Lookup => "StreamTableJoin",
            Rule::Tables => "TableTableJoin",
            Rule::Foreign { .. } => "ForeignKeyTableTableJoin",
        });
    }
    match &pipeline.aggregate {
        Some(aggregate) if aggregate.window.is_some() => Some("StreamWindowedAggregate"),
        Some(_) if pipeline.table.is_some() => Some("TableAggregate"),
        _ => None,
    }
}

/// What the state of a grouping hangs on: functions, their arguments, keys.
fn groupings(pipeline: &Pipeline) -> Option<(Vec<String>, Vec<String>, bool)> {
    let spec = pipeline.aggregate.as_ref()?;
    let calls = spec.calls.iter().map(|c| format!("{:?} {:?}", c.function, c.arguments)).collect();
    Some((calls, texts(&pipeline.rows.value), pipeline.hop.is_some()))
}

/// Programs of a key, and whether rows keep the one that they have.
type Rekeying = (Vec<String>, bool);

/// How rows get their key before anything else, and after a table function.
fn keys(pipeline: &Pipeline) -> (Rekeying, Option<Rekeying>) {
    let key = |rows: &RowSpec| (texts(&rows.key), rows.same_key);
    (key(&pipeline.rows), pipeline.explode.as_ref().map(|e| key(&e.after)))
}

fn texts(programs: &[crate::plan::scalar::Program]) -> Vec<String> {
    programs.iter().map(ToString::to_string).collect()
}

/// A filter over a table knows which rows passed; one that is new could not know. One that goes needs to know nothing.
fn remembers(old: &Pipeline, new: &Pipeline) -> bool {
    let columns = |p: &Pipeline| p.table.as_ref().map(|t| (t.key.clone(), t.columns.clone(), t.groups));
    new.table.is_none() || columns(old) == columns(new)
}
