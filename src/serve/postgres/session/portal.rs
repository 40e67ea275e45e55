//! Portals: statements that were opened, and what they give rows from.

use super::copy::Copy;
use super::copy_format::Format;
use super::rows::{DataRows, Fetch, Rows, Sink, Want, fields};
use super::{Out, Session};
use crate::engine::result::rows::OutputColumn;
use crate::error::Result;
use crate::serve::postgres::errors::{Failure, NO_CURSOR};
use crate::serve::postgres::messages::Encoding;
use crate::serve::postgres::reply::Field;
use crate::serve::postgres::verbs::Fetched;
use arrow::array::ArrayRef;
use std::time::Duration;

/// What a portal gives rows from.
pub(super) enum Source {
    /// A statement without rows, which was carried out.
    Nothing,
    Rows(Rows),
    /// A cursor of the session: a FETCH.
    Cursor {
        name: String,
        want: Want,
        skips: bool,
    },
    /// Rows for the client in bulk.
    CopyOut(Rows, Format),
    /// Rows of the client, which it is asked for once.
    CopyIn(Option<Copy>),
}

/// A statement that was opened.
pub(super) struct Portal {
    pub(super) source: Source,
    /// Columns of its rows, if it has any.
    pub(super) columns: Option<Vec<OutputColumn>>,
    /// The first word of its tag; for a statement without rows the whole tag.
    pub(super) word: String,
    /// Rows of the last fetch.
    pub(super) fetched: u64,
    pub(super) formats: Vec<Encoding>,
    /// A cursor that was declared WITH HOLD, or outside of a transaction.
    pub(super) held: bool,
}

impl Portal {
    /// A statement without rows.
    pub(super) fn done(tag: impl Into<String>) -> Portal {
        Portal {
            source: Source::Nothing,
            columns: None,
            word: tag.into(),
            fetched: 0,
            formats: Vec::new(),
            held: false,
        }
    }

    /// A result.
    pub(super) fn of(rows: Rows, word: &str) -> Portal {
        let columns = Some(rows.columns().to_vec());
        Portal { source: Source::Rows(rows), columns, ..Portal::done(word) }
    }

    pub(super) fn is_held(&self) -> bool {
        self.held
    }

    /// The tag of CommandComplete.
    pub(super) fn tag(&self) -> String {
        match self.source {
            Source::Nothing => self.word.clone(),
            _ => format!("{} {}", self.word, self.fetched),
        }
    }

    /// The description of its rows.
    pub(super) fn fields(&self) -> Option<Vec<Field>> {
        self.columns.as_ref().map(|columns| fields(columns, &self.formats))
    }
}

impl Session {
    /// Sends rows of a portal.
    pub(super) fn fetch(&mut self, portal: &mut Portal, rows: Option<usize>, out: &mut Out) -> Result<Fetch, Failure> {
        let (timeout, clock) = (self.settings.statement_timeout(), self.app.engine.clock().clone());
        match &mut portal.source {
            Source::Nothing => Ok(Fetch::Complete),
            Source::Rows(source) => {
                let patience = self.settings.fetch_timeout().filter(|_| rows.is_some());
                let want = Want { rows, patience, at_hand: false };
                let columns = source.columns().to_vec();
                let mut sink = DataRows::new(&columns, &portal.formats);
                let (count, fetch) = source.pump(want, timeout, &mut sink, &clock, out)?;
                portal.fetched = count;
                Ok(fetch)
            }
            Source::Cursor { name, want, skips } => {
                let cursor = self.portals.get_mut(name.as_str()).ok_or_else(|| no_cursor(name))?;
                let Source::Rows(source) = &mut cursor.source else { return Ok(Fetch::Complete) };
                let columns = source.columns().to_vec();
                let mut data = DataRows::new(&columns, &portal.formats);
                let sink: &mut dyn Sink = if *skips { &mut Skipped } else { &mut data };
                portal.fetched = source.pump(*want, timeout, sink, &clock, out)?.0;
                Ok(Fetch::Complete)
            }
            Source::CopyOut(rows, format) => {
                portal.fetched = self.copy_out(rows, format, out)?;
                Ok(Fetch::Complete)
            }
            Source::CopyIn(copy) => {
                if let Some(copy) = copy.take() {
                    self.copy_in(copy, out)?;
                }
                Ok(Fetch::Complete)
            }
        }
    }
}

/// MOVE: rows are passed over.
struct Skipped;

impl Sink for Skipped {
    fn row(&mut self, _columns: &[ArrayRef], _row: usize, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

pub(super) fn no_cursor(name: &str) -> Failure {
    Failure::new(NO_CURSOR, format!("cursor \"{name}\" does not exist"))
}

/// What a FETCH wants.
pub(super) fn wanted(rows: Fetched, timeout: Option<Duration>, default: Option<Duration>) -> Want {
    match rows {
        Fetched::Count(rows) => Want { rows: Some(rows), patience: timeout.or(default), at_hand: false },
        Fetched::All => Want { rows: None, patience: timeout, at_hand: true },
    }
}
