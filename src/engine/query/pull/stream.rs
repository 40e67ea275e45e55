//! The result of a lookup, from the committed rows of this process or from the process that runs the table's query.

use crate::engine::query::pull::limits::PullPermit;
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::Result;
use crate::execute::pull::{Pull, PullRows};
use std::sync::Arc;
use std::time::Duration;

/// Rows of a lookup.
pub(in crate::engine) struct PullStream {
    id: String,
    pull: Arc<Pull>,
    columns: Vec<OutputColumn>,
    rows: Rows,
    /// Which new queries it was too early for.
    behind: Option<String>,
    /// `None` = it is counted in the process where its client is.
    permit: Option<PullPermit>,
}

/// Where the rows come from.
#[expect(
    clippy::large_enum_variant,
    reason = "a stream is boxed as a whole, and a lookup here needs no second allocation"
)]
enum Rows {
    View(PullRows),
    Peer(Box<dyn RowStream>),
}

impl PullStream {
    /// Rows of a view of this process.
    pub(in crate::engine) fn new(id: String, rows: PullRows, permit: Option<PullPermit>) -> PullStream {
        PullStream::of(id, rows.pull().clone(), Rows::View(rows), permit)
    }

    /// Rows that another process sends.
    pub(super) fn of_peer(id: String, pull: Arc<Pull>, rows: Box<dyn RowStream>, permit: PullPermit) -> PullStream {
        PullStream::of(id, pull, Rows::Peer(rows), Some(permit))
    }

    fn of(id: String, pull: Arc<Pull>, rows: Rows, permit: Option<PullPermit>) -> PullStream {
        let columns = pull.columns().iter().map(|c| OutputColumn { name: c.name.clone(), ty: c.ty.clone() }).collect();
        PullStream { id, pull, columns, rows, behind: None, permit }
    }

    /// The same, with the new queries that it was too early for.
    pub(super) fn behind(self, behind: Option<String>) -> PullStream {
        PullStream { behind, ..self }
    }
}

impl RowStream for PullStream {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }

    fn is_table_pull(&self) -> bool {
        true
    }

    fn is_key(&self, column: usize) -> bool {
        self.pull.keys().get(column) == Some(&true)
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        match &mut self.rows {
            Rows::View(rows) => Ok(match rows.more()? {
                Some(columns) => RowEvent::Rows { columns, tombstones: Vec::new() },
                // The rows of a table end without a final message.
                None => RowEvent::Done(None),
            }),
            Rows::Peer(rows) => rows.next(timeout),
        }
    }

    fn sent(&self, bytes: usize) {
        self.permit.iter().for_each(|permit| permit.sent(bytes));
    }

    fn notice(&self) -> Option<String> {
        let of_rows = match &self.rows {
            Rows::View(rows) => (rows.bad() > 0).then(|| format!("{} records could not be used", rows.bad())),
            Rows::Peer(rows) => rows.notice(),
        };
        let said: Vec<String> = self.behind.iter().cloned().chain(of_rows).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}
