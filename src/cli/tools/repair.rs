//! `tidegate repair`: shows and removes records of the command log of a service that is not running.

use crate::cli::render::{Screen, Shown};
use crate::engine::command::repair::Report;
use crate::engine::command::{Recorded, SKIPPED_MAX, Skipped};
use crate::error::Result;
use crate::present::Outcome;
use crate::types::temporal::timestamp_text;
use std::io::Write;

/// Shows the invalid records; with `all` also the commands.
pub(super) fn show(report: &Report, all: bool, screen: &mut Screen<'_>, errors: &mut dyn Write) -> Result<Shown> {
    let history = &report.history;
    let mut rows: Vec<(i64, Vec<String>)> = history.skipped.iter().map(|s| (s.offset, skipped(s))).collect();
    if all {
        rows.extend(history.commands.iter().map(|c| (c.offset, command(c))));
    }
    rows.sort();
    let columns = ["Offset", "Time", "What", "Record"].map(str::to_owned).to_vec();
    let rows = rows.into_iter().map(|(_, cells)| cells).collect();
    let shown = screen.show(Outcome::Table { title: None, columns, rows }, &|| false)?;
    screen.out.flush()?;
    let (commands, foreign, removed) = (history.commands.len(), history.skipped_count, report.removed);
    writeln!(errors, "{}: {commands} commands, {foreign} invalid records", report.topic)?;
    if foreign > SKIPPED_MAX as u64 {
        writeln!(errors, "showing the first {SKIPPED_MAX} invalid records")?;
    }
    match removed {
        0 if foreign > 0 => {
            writeln!(errors, "invalid records are skipped with a warning at each start; --remove deletes them")?
        }
        0 => {}
        _ => writeln!(errors, "removed {removed} records")?,
    }
    Ok(shown)
}

fn skipped(record: &Skipped) -> Vec<String> {
    let what = format!("skipped: {}", record.reason);
    vec![record.offset.to_string(), timestamp_text(record.timestamp), what, record.shown.clone()]
}

fn command(record: &Recorded) -> Vec<String> {
    let what = if record.is_marked { "command" } else { "command without a mark" };
    let time = timestamp_text(record.timestamp);
    vec![record.offset.to_string(), time, what.to_owned(), record.command.statement.clone()]
}
