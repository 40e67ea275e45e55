//! Cases that were made for the HTTP API: leading statements, records, then queries whose rows are the answer.
//!
//! The engine is called directly; the answers have the API's form.

use crate::run::{Rejected, Runner};
use serde_json::{Value, json};
use std::time::Duration;
use tidegate::engine::entity::Entity;
use tidegate::engine::outcome::{RowEvent, RowStream};
use tidegate::engine::{Answer, cell};
use tidegate::error::{Error, Result};
use tidegate::types::quoted;

/// How long one look waits, and after how many looks without a row a query is given up on.
const LOOK: Duration = Duration::from_millis(50);
const IDLE_LOOKS_MAX: usize = 60;

fn is_select(statement: &str) -> bool {
    statement.trim_start().to_ascii_uppercase().starts_with("SELECT ")
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
        let mut answers = runner.engine.run(statement, &mut runner.session).map_err(|e| Rejected(e, Some(n)))?;
        let Some(Answer::Rows(mut rows)) = answers.pop() else {
            return Err(Rejected(Error::statement("a query without rows"), Some(n)));
        };
        if push_first {
            runner.produce(&inputs, true).map_err(plain)?;
            runner.engine.drive().map_err(plain)?;
        }
        let body = read(&mut *rows).map_err(|e| Rejected(e, Some(n)))?;
        runner.report.responses.push(json!({ "status": 200, "body": body }));
    }
    Ok(())
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
fn read(rows: &mut dyn RowStream) -> Result<Vec<Value>> {
    let columns: Vec<_> = rows.columns().iter().map(|c| format!("{} {}", quoted(&c.name), c.ty)).collect();
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
