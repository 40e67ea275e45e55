//! Cases that were made for the HTTP API: leading statements, records, then queries whose rows are the answer.
//!
//! Everything goes through the server (`door`); the responses are reported as they came.

use crate::run::{Rejected, Runner};
use serde_json::json;

fn is_select(statement: &str) -> bool {
    statement.trim_start().to_ascii_uppercase().starts_with("SELECT ")
}

pub(crate) fn go(runner: &mut Runner<'_>) -> Result<(), Rejected> {
    let statements = &runner.case.statements;
    let admin = statements.iter().position(|s| is_select(s)).unwrap_or(statements.len());
    let inputs = runner.case.inputs.clone().unwrap_or_default();
    let body = match admin {
        0 => json!([]),
        _ => runner.statements(&statements[..admin].join("\n"))?,
    };
    runner.report.responses.push(json!({ "status": 200, "body": body }));
    let push_first = runner.case.waits_for_push_query();
    if !push_first {
        runner.produce(&inputs, true)?;
    }
    runner.drive()?;
    for (n, statement) in statements.iter().enumerate().skip(admin) {
        // The header comes when the query runs.
        let answer = runner.door.query(statement, &runner.properties)?;
        if push_first {
            runner.produce(&inputs, true)?;
            runner.drive()?;
        }
        let told = answer.rest()?;
        let failed = told.body.as_array().and_then(|all| all.last()).and_then(|last| last.get("errorMessage"));
        if told.status != 200 || failed.is_some() {
            let error = failed.unwrap_or(&told.body);
            return Err(Rejected::Told { status: told.status, error: error.clone(), statement: Some(n) });
        }
        runner.report.responses.push(json!({ "status": told.status, "body": told.body }));
    }
    Ok(())
}
