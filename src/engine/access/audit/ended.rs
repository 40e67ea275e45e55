//! How a query ended: its statement is recorded when it starts, and once more when its rows have ended.

use super::{Audit, Outcome, failure};
use crate::engine::access::Principal;
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream, Scanned};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The rows of a query whose end is recorded, also where its reader leaves early.
pub(in crate::engine) struct Recorded {
    rows: Box<dyn RowStream>,
    audit: Audit,
    user: Principal,
    began: Duration,
    /// Rows that the reader took.
    taken: u64,
    is_over: bool,
}

impl Recorded {
    /// `rows` as they are where nothing is recorded, or where they are not those of a query.
    pub(in crate::engine) fn of(
        rows: Box<dyn RowStream>,
        audit: &Audit,
        user: &Principal,
        began: Duration,
    ) -> Box<dyn RowStream> {
        if !audit.is_on() || rows.id().is_none() {
            return rows;
        }
        Box::new(Recorded { rows, audit: audit.clone(), user: user.clone(), began, taken: 0, is_over: false })
    }

    fn record(&mut self, error: Option<&Error>, outcome: Outcome) {
        self.is_over = true;
        let Some(outlet) = &self.audit.0 else { return };
        let mut record =
            Map::from_iter([("query".to_owned(), json!(self.rows.id())), ("rows".to_owned(), Value::from(self.taken))]);
        if let Some(e) = error {
            failure(&mut record, e, true);
        }
        outlet.finish(("query_end", Duration::ZERO), &self.user, outcome, self.began, record);
    }
}

impl RowStream for Recorded {
    fn columns(&self) -> &[OutputColumn] {
        self.rows.columns()
    }

    fn is_key(&self, column: usize) -> bool {
        self.rows.is_key(column)
    }

    fn is_table_pull(&self) -> bool {
        self.rows.is_table_pull()
    }

    fn id(&self) -> Option<&str> {
        self.rows.id()
    }

    fn is_bounded(&self) -> bool {
        self.rows.is_bounded()
    }

    fn when_empty(&self) -> Option<&str> {
        self.rows.when_empty()
    }

    fn scanned(&self) -> Option<Scanned> {
        self.rows.scanned()
    }

    fn sent(&self, bytes: usize) {
        self.rows.sent(bytes);
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        let event = self.rows.next(timeout);
        match &event {
            Ok(RowEvent::Rows { columns, .. }) => self.taken += columns.first().map_or(0, |c| c.len()) as u64,
            Ok(RowEvent::Idle) => {}
            Ok(RowEvent::Done(_)) => self.record(None, Outcome::Done),
            Err(e) => self.record(Some(e), Outcome::of(Some(e))),
        }
        event
    }

    fn notice(&self) -> Option<String> {
        self.rows.notice()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.is_over {
            self.record(None, Outcome::Closed);
        }
    }
}
