//! Result sets, read to their end.

use std::time::Duration;
use tidegate::engine::result::rows::{RowEvent, RowStream};
use tidegate::error::{Error, Result};
use tidegate::types::cell;

/// How long one look waits, and after how many looks without a row a result set is given up on.
const LOOK: Duration = Duration::from_millis(100);
const IDLE_LOOKS_MAX: usize = 100;

/// A result set as text.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "not every target looks at every field")]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    /// Cells between ` | `.
    pub(crate) rows: Vec<String>,
    /// What was said beside the rows.
    pub(crate) notice: Option<String>,
}

impl Rows {
    #[allow(dead_code, reason = "not every target prints")]
    pub(crate) fn print(&self) -> String {
        let mut text = format!("{}\n", self.columns.join(" | "));
        self.rows.iter().for_each(|r| text += &format!("{r}\n"));
        self.notice.iter().for_each(|n| text += &format!("notice: {n}\n"));
        text
    }
}

/// Reads a result set until it ends.
pub(crate) fn collect(mut stream: Box<dyn RowStream>) -> Result<Rows> {
    let names = stream.columns().iter().map(|c| c.name.clone()).collect();
    let (mut rows, mut idle) = (Vec::new(), 0);
    loop {
        match stream.next(LOOK)? {
            RowEvent::Rows { columns, tombstones } => {
                idle = 0;
                for row in 0..columns.first().map_or(0, |c| c.len()) {
                    let cells = columns.iter().map(|c| cell::display(c.as_ref(), row));
                    let mut line = cells.collect::<Result<Vec<_>>>()?.join(" | ");
                    if tombstones.get(row) == Some(&true) {
                        line += " (gone)";
                    }
                    rows.push(line);
                }
            }
            RowEvent::Idle if idle == IDLE_LOOKS_MAX => {
                return Err(Error::io("no more rows come").with_detail(format!("{} came", rows.len())));
            }
            RowEvent::Idle => idle += 1,
            RowEvent::Done(_) => return Ok(Rows { columns: names, rows, notice: stream.notice() }),
        }
    }
}
