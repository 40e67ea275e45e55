//! Cursors: DECLARE, FETCH, MOVE, CLOSE; and SUBSCRIBE, a push query that shows deletions.
//!
//! ```text
//! BEGIN; DECLARE c CURSOR FOR SELECT * FROM t EMIT CHANGES;
//! FETCH 100 c WITH (timeout = '1s');      up to 100 rows, those that came within a second
//! FETCH ALL c;                            what is there; waits for the first row
//! SUBSCRIBE TO t;                         tidegate_time | tidegate_op: upsert, delete | the columns of t
//! ```
//!
//! A cursor outside of a transaction lives until it is closed: sessions have no other use for it.

use super::portal::{Portal, Source, no_cursor, wanted};
use super::rows::Rows;
use super::{Out, Session};
use crate::engine::result::rows::{OutputColumn, RowEvent, RowStream};
use crate::error::Result;
use crate::parse::statement::Statement;
use crate::serve::postgres::errors::{Failure, LIMIT, SYNTAX, State};
use crate::serve::postgres::scan::scan;
use crate::serve::postgres::verbs::{Fetched, Verb, verb};
use crate::types::SqlType;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use std::time::Duration;

/// Portals and cursors of one session: each holds a query.
pub(super) const PORTALS_MAX: usize = 100;
/// Columns of SUBSCRIBE in front of the query's.
const TIME: &str = "TIDEGATE_TIME";
const OPERATION: &str = "TIDEGATE_OP";

impl Session {
    pub(super) fn declare(&mut self, name: &str, text: &str, query: usize, out: &mut Out) -> Result<Portal, Failure> {
        if self.portals.contains_key(name) {
            return Err(Failure::new(State("42P03"), format!("cursor \"{name}\" already exists")));
        }
        let text = &text[query..];
        let verb = verb(text, &self.settings)?;
        if !matches!(verb, Verb::Query | Verb::Subscribe { .. } | Verb::Engine { rows: true }) {
            return Err(Failure::new(SYNTAX, "a cursor is declared for a query"));
        }
        let shifted = |mut failure: Failure| {
            failure.error = failure.error.shifted(query);
            failure
        };
        let mut portal = self.open(text, &verb, out).map_err(shifted)?;
        portal.held = true;
        self.keep(name, portal)?;
        Ok(Portal::done("DECLARE CURSOR"))
    }

    /// Keeps a portal under a name.
    pub(super) fn keep(&mut self, name: &str, portal: Portal) -> Result<(), Failure> {
        if self.portals.len() >= PORTALS_MAX {
            let failure = Failure::new(LIMIT, format!("a session has at most {PORTALS_MAX} open cursors"));
            return Err(failure.with_hint("CLOSE one of them"));
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    pub(super) fn fetch_of(
        &mut self,
        name: &str,
        rows: Fetched,
        timeout: Option<Duration>,
        skips: bool,
    ) -> Result<Portal, Failure> {
        let cursor = self.portals.get(name).ok_or_else(|| no_cursor(name))?;
        let want = wanted(rows, timeout, self.settings.fetch_timeout());
        let source = Source::Cursor { name: name.to_owned(), want, skips };
        let columns = cursor.columns.clone().filter(|_| !skips);
        Ok(Portal { source, columns, ..Portal::done(if skips { "MOVE" } else { "FETCH" }) })
    }

    pub(super) fn close_cursor(&mut self, name: Option<&str>) -> Result<Portal, Failure> {
        match name {
            None => self.portals.clear(),
            Some(name) => drop(self.portals.remove(name).ok_or_else(|| no_cursor(name))?),
        }
        Ok(Portal::done(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" }))
    }

    /// `SUBSCRIBE [TO] name` or `SUBSCRIBE [TO] (SELECT ...)`, with ENVELOPE UPSERT behind it or without.
    pub(super) fn subscribe(&mut self, text: &str, at: usize) -> Result<Portal, Failure> {
        let query = subscribed(&text[at..])?;
        let timed = match &query {
            Subscribed::Name(name) => format!("SELECT ROWTIME AS {TIME}, * FROM {} EMIT CHANGES", self.spelled(name)),
            // ROWTIME can be read wherever nothing groups the rows.
            Subscribed::Query(query) => {
                let behind = "SELECT".len();
                format!("SELECT ROWTIME AS {TIME}, {}", emitting(&query[behind..]))
            }
        };
        let plain = match query {
            Subscribed::Name(_) => None,
            Subscribed::Query(query) => Some(emitting(query)),
        };
        let is_planned = plain.is_none() || self.plans(&timed);
        let text = if is_planned { &timed } else { plain.as_ref().unwrap_or(&timed) };
        let parsed = self.parsed(text)?;
        let crate::engine::Answer::Rows(stream) = self.app.engine.execute(&parsed, &mut self.engine)? else {
            return Err(Failure::new(SYNTAX, "SUBSCRIBE takes a name or a SELECT in parentheses"));
        };
        let rows = Rows::of_stream(Box::new(Subscription::of(stream, is_planned)), self)?;
        Ok(Portal::of(rows, "SUBSCRIBE"))
    }

    /// Whether the engine can plan a query.
    fn plans(&mut self, text: &str) -> bool {
        let Ok(mut parsed) = self.parsed(text) else { return false };
        parsed.statement = Statement::Explain(Box::new(parsed.statement));
        self.app.engine.execute(&parsed, &mut self.engine).is_ok()
    }
}

enum Subscribed<'a> {
    Name(String),
    /// A SELECT.
    Query(&'a str),
}

fn subscribed(text: &str) -> Result<Subscribed<'_>, Failure> {
    let wrong = || Failure::new(SYNTAX, "SUBSCRIBE takes a name or a SELECT in parentheses");
    let mut depth = 0_usize;
    let mut words = scan(text);
    let (first, _) = words.next().ok_or_else(wrong)?;
    if let Some(name) = first.name() {
        return Ok(Subscribed::Name(name));
    }
    let inner = words.rest();
    for (token, span) in scan(text) {
        match token {
            super::super::scan::Token::Symbol('(') => depth += 1,
            super::super::scan::Token::Symbol(')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let query = text
                .get(inner..span.start)
                .filter(|query| query.get(.."SELECT".len()).is_some_and(|word| word.eq_ignore_ascii_case("SELECT")));
            return query.map(Subscribed::Query).ok_or_else(wrong);
        }
    }
    Err(wrong())
}

/// The query with EMIT CHANGES, unless it has it.
fn emitting(query: &str) -> String {
    match scan(query).any(|(token, _)| token.is("emit")) {
        true => query.to_owned(),
        false => format!("{query} EMIT CHANGES"),
    }
}

/// A push query whose deletions are rows.
struct Subscription {
    stream: Box<dyn RowStream>,
    columns: Vec<OutputColumn>,
    /// The first column of the query is its time.
    timed: bool,
}

impl Subscription {
    fn of(stream: Box<dyn RowStream>, timed: bool) -> Subscription {
        let own = [(TIME, SqlType::Timestamp), (OPERATION, SqlType::String)];
        let own = own.map(|(name, ty)| OutputColumn { name: name.to_owned(), ty });
        let columns = own.into_iter().chain(stream.columns().iter().skip(usize::from(timed)).cloned()).collect();
        Subscription { stream, columns, timed }
    }
}

impl RowStream for Subscription {
    fn columns(&self) -> &[OutputColumn] {
        &self.columns
    }

    fn id(&self) -> Option<&str> {
        self.stream.id()
    }

    fn sent(&self, bytes: usize) {
        self.stream.sent(bytes);
    }

    fn notice(&self) -> Option<String> {
        self.stream.notice()
    }

    fn next(&mut self, timeout: Duration) -> Result<RowEvent> {
        let (columns, tombstones) = match self.stream.next(timeout)? {
            RowEvent::Rows { columns, tombstones } => (columns, tombstones),
            other => return Ok(other),
        };
        let rows = columns.first().map_or(0, |column| column.len());
        let time: ArrayRef =
            match columns.first().and_then(|c| c.as_primitive_opt::<Int64Type>()).filter(|_| self.timed) {
                Some(times) => Arc::new(times.reinterpret_cast::<arrow::datatypes::TimestampMillisecondType>()),
                None => {
                    Arc::new(TimestampMillisecondArray::from(Int64Array::new_null(rows).iter().collect::<Vec<_>>()))
                }
            };
        let deleted = |row: usize| tombstones.get(row).is_some_and(|deleted| *deleted);
        let operation = |row: usize| Some(if deleted(row) { "delete" } else { "upsert" });
        let operations: ArrayRef = Arc::new((0..rows).map(operation).collect::<StringArray>());
        let rest = columns.into_iter().skip(usize::from(self.timed));
        Ok(RowEvent::Rows { columns: [time, operations].into_iter().chain(rest).collect(), tombstones: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_of_names_or_queries() {
        let of = |text| match subscribed(text) {
            Ok(Subscribed::Name(name)) => name,
            Ok(Subscribed::Query(query)) => format!("query {query}"),
            Err(failure) => failure.state.0.to_owned(),
        };
        assert_eq!(of("\"T\" ENVELOPE UPSERT"), "T");
        assert_eq!(of("( SELECT f(a) FROM t) ENVELOPE UPSERT"), "query SELECT f(a) FROM t");
        assert_eq!([of("(t)"), of(""), of("(SELECT 1")], ["42601", "42601", "42601"]);
        assert_eq!(emitting("SELECT 1 EMIT CHANGES"), "SELECT 1 EMIT CHANGES");
    }
}
