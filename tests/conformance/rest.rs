//! Cases that were made for the HTTP API: leading statements, records, then queries whose rows are the answer.
//!
//! The engine is called directly; the answers have the API's form.

use crate::run::{Rejected, Runner};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tidegate::catalog::Source;
use tidegate::engine::entity::Entity;
use tidegate::engine::outcome::{RowEvent, RowStream};
use tidegate::engine::{Answer, cell};
use tidegate::error::{Error, Result};
use tidegate::parse::statement::{Parsed, SourceKind, Statement};
use tidegate::types::{pseudo, quoted};

/// How long one look waits, and after how many looks without a row a query is given up on.
const LOOK: Duration = Duration::from_millis(50);
const IDLE_LOOKS_MAX: usize = 60;

fn is_select(statement: &str) -> bool {
    statement.trim_start().to_ascii_uppercase().starts_with("SELECT ")
}

fn is_push(statement: &str) -> bool {
    statement.to_ascii_uppercase().contains(" EMIT ")
}

pub(crate) fn go(runner: &mut Runner<'_>) -> Result<(), Rejected> {
    let statements = &runner.case.statements;
    let admin = statements.iter().position(|s| is_select(s)).unwrap_or(statements.len());
    let text = statements[..admin].join("\n");
    let inputs = runner.case.inputs.clone().unwrap_or_default();
    let mut entities = Vec::new();
    if admin > 0 {
        for answer in runner.statements(&text)? {
            entities.extend(entity(&answer));
        }
    }
    runner.report.responses.push(json!({ "status": 200, "body": entities }));
    let plain = |e: Error| Rejected(e, None);
    let push_first = runner.case.waits_for_push_query();
    if !push_first {
        runner.produce(&inputs, true).map_err(plain)?;
    }
    runner.engine.drive().map_err(plain)?;
    for (n, statement) in statements.iter().enumerate().skip(admin) {
        // ksqlDB says of a push query only that the request is wrong, not which statement.
        let place = if is_push(statement) { None } else { Some(n) };
        let mut answers = runner.engine.run(statement, &mut runner.session).map_err(|e| Rejected(e, place))?;
        let Some(Answer::Rows(mut rows)) = answers.pop() else {
            return Err(Rejected(Error::statement("a query without rows"), Some(n)));
        };
        if push_first {
            runner.produce(&inputs, true).map_err(plain)?;
            runner.engine.drive().map_err(plain)?;
        }
        let pulled = pulled_table(runner, statement);
        let mut body = read(&mut *rows, pulled.as_deref()).map_err(|e| Rejected(e, Some(n)))?;
        if pulled.is_some() {
            body.retain(|line| line["finalMessage"] != COMPLETED);
        }
        runner.report.responses.push(json!({ "status": 200, "body": body }));
    }
    Ok(())
}

/// What a bounded query says at its end. ksqlDB says it of streams; the rows of a table end without a word.
const COMPLETED: &str = "Query Completed";

/// The table that a bounded query in ksqlDB's grammar reads.
fn pulled_table(runner: &Runner<'_>, statement: &str) -> Option<Arc<Source>> {
    let parsed = runner.engine.parse(statement, &runner.session).ok()?;
    let [Parsed { statement: Statement::Select(select), .. }] = parsed.as_slice() else { return None };
    let source = runner.engine.catalog().source(&select.from.name.value).cloned()?;
    (select.emit.is_none() && source.kind == SourceKind::Table).then_some(source)
}

/// In a header the key columns of a pulled table are marked, the bounds of its windows too.
fn is_key(table: Option<&Source>, name: &str) -> bool {
    table.is_some_and(|t| {
        let bound = [pseudo::WINDOWSTART, pseudo::WINDOWEND].contains(&name);
        t.schema.key.iter().any(|c| c.name == name) || (bound && t.window.is_some())
    })
}

fn entity(answer: &Answer) -> Option<Value> {
    let Answer::Entity(entity) = answer else { return None };
    match entity {
        Entity::Status(status) => Some(json!({ "@type": "currentStatus", "commandId": status.command_id })),
        Entity::Warning(message) => Some(json!({ "@type": "warning_entity", "message": message })),
        _ => None,
    }
}

/// A streamed answer: header, rows, and the final message of a query that has one.
fn read(rows: &mut dyn RowStream, table: Option<&Source>) -> Result<Vec<Value>> {
    let mark = |name: &str| if is_key(table, name) { " KEY" } else { "" };
    let described = rows.columns().iter().map(|c| format!("{} {}{}", quoted(&c.name), c.ty, mark(&c.name)));
    let columns: Vec<_> = described.collect();
    let mut body = vec![json!({ "header": { "queryId": "query", "schema": columns.join(", ") } })];
    let mut idle = 0;
    loop {
        match rows.next(LOOK)? {
            RowEvent::Rows { columns, tombstones } => {
                idle = 0;
                for row in 0..columns.first().map_or(0, |c| c.len()) {
                    let mut text = Vec::new();
                    cell::write_row(&columns, row, &mut text)?;
                    let cells: Value = serde_json::from_slice(&text).map_err(|e| Error::bug(e.to_string()))?;
                    let mut line = json!({ "row": { "columns": cells } });
                    if tombstones.get(row) == Some(&true) {
                        line["row"]["tombstone"] = Value::Bool(true);
                    }
                    body.push(line);
                }
            }
            RowEvent::Idle if idle == IDLE_LOOKS_MAX => return Err(Error::io("no more rows come")),
            RowEvent::Idle => idle += 1,
            RowEvent::Done(message) => {
                body.extend(message.map(|text| json!({ "finalMessage": text })));
                return Ok(body);
            }
        }
    }
}
