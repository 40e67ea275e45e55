//! Statements carried out: those of the engine, and what clients say beside them.

use super::copy::Copy;
use super::portal::{Portal, Source};
use super::rows::{Rows, Table};
use super::{Out, Session, Transaction};
use crate::engine::Answer;
use crate::engine::result::entity::Entity;
use crate::parse::statement::{Parsed, Statement};
use crate::present::Outcome;
use crate::present::text::outcome;
use crate::serve::postgres::catalog;
use crate::serve::postgres::errors::{Failure, NO_STATEMENT, NOT_SUPPORTED, SYNTAX};
use crate::serve::postgres::reply::Severity;
use crate::serve::postgres::scan::{Token, scan};
use crate::serve::postgres::verbs::{Verb, verb};

/// Said once a session.
const TRANSACTIONS: &str = "a transaction groups nothing here: each statement takes effect on its own";

impl Session {
    /// Carries a statement out as far as its rows, which are sent by `fetch`.
    pub(super) fn open(&mut self, text: &str, verb: &Verb, out: &mut Out) -> Result<Portal, Failure> {
        Ok(match verb {
            Verb::Begin => self.begin_transaction(out),
            Verb::Commit | Verb::Rollback => self.end_transaction(*verb == Verb::Commit),
            Verb::Savepoint(tag) => {
                if self.transaction == Transaction::Failed {
                    self.transaction = Transaction::Open;
                }
                Portal::done(*tag)
            }
            Verb::Set { name, value } => {
                self.report(name, value.as_deref(), out)?;
                Portal::done(if value.is_some() { "SET" } else { "RESET" })
            }
            Verb::SetNothing => Portal::done("SET"),
            Verb::ResetAll => {
                self.reset(out)?;
                Portal::done("RESET")
            }
            Verb::Discard(what) => {
                if what == "ALL" {
                    self.reset(out)?;
                    self.statements.clear();
                    self.portals.clear();
                }
                Portal::done(format!("DISCARD {what}"))
            }
            Verb::Deallocate(name) => {
                match name {
                    None => self.statements.clear(),
                    Some(name) => drop(self.statements.remove(name).ok_or_else(|| no_statement(name))?),
                }
                Portal::done(if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" })
            }
            Verb::Show(name) => self.show(name)?,
            Verb::ShowAll => {
                let row = |(name, value): (&str, &str)| {
                    vec![Some(name.to_owned()), Some(value.to_owned()), Some(String::new())]
                };
                let rows: Vec<_> = self.settings.all().into_iter().map(row).collect();
                Portal::of(Rows::of_texts(texts(&["name", "setting", "description"]), &rows), "SHOW")
            }
            Verb::Listen("UNLISTEN") => Portal::done("UNLISTEN"),
            Verb::Listen(what) => {
                let failure =
                    Failure::new(NOT_SUPPORTED, format!("{what} is not supported: no channel has notifications"));
                return Err(failure.with_hint("SUBSCRIBE TO name, or SELECT ... EMIT CHANGES, sends changes as rows"));
            }
            Verb::Prepare { name, types, query } => self.prepare_named(name, types, text, *query, out)?,
            Verb::Execute { name, arguments } => self.execute_named(name, arguments, out)?,
            Verb::Declare { name, query } => self.declare(name, text, *query, out)?,
            Verb::Fetch { name, rows, timeout, is_move } => self.fetch_of(name, *rows, *timeout, *is_move)?,
            Verb::Close(name) => self.close_cursor(name.as_deref())?,
            Verb::Subscribe { query } => self.subscribe(text, *query)?,
            Verb::Copy => {
                let copy = Copy::parse(text)?;
                let source = match copy.to_client {
                    true => Source::CopyOut(self.copied(&copy, text)?, copy.format),
                    false => Source::CopyIn(Some(copy)),
                };
                Portal { source, ..Portal::done("COPY") }
            }
            Verb::Query => Portal::of(self.query(text)?, "SELECT"),
            Verb::Engine { .. } => self.carry_out(text, out)?,
        })
    }

    fn begin_transaction(&mut self, out: &mut Out) -> Portal {
        if self.transaction != Transaction::None {
            out.reply.notice(Severity::Warning, "there is already a transaction in progress");
        }
        self.transaction = Transaction::Open;
        if !std::mem::replace(&mut self.transactions_explained, true) {
            out.reply.notice(Severity::Notice, TRANSACTIONS);
        }
        Portal::done("BEGIN")
    }

    fn end_transaction(&mut self, commits: bool) -> Portal {
        let failed = self.transaction == Transaction::Failed;
        self.transaction = Transaction::None;
        self.portals.retain(|_, portal| portal.is_held());
        Portal::done(if commits && !failed { "COMMIT" } else { "ROLLBACK" })
    }

    /// Sets a setting, and reports it to the client if it is one of those that are reported (`ParameterStatus`).
    fn report(&mut self, name: &str, value: Option<&str>, out: &mut Out) -> Result<(), Failure> {
        if let Some(name) = self.set(name, value)?
            && let Some((name, value)) = self.settings.get(name)
        {
            out.reply.parameter_status(name, value);
        }
        Ok(())
    }

    fn reset(&mut self, out: &mut Out) -> Result<(), Failure> {
        let names: Vec<&str> = self.settings.all().into_iter().map(|(name, _)| name).collect();
        for name in names {
            if self
                .settings
                .get(name)
                .is_some_and(|(name, _)| name != "session_authorization" && name != "application_name")
            {
                self.report(name, None, out)?;
            }
        }
        let properties: Vec<String> = self.engine.properties().keys().cloned().collect();
        properties.iter().try_for_each(|name| self.engine.unset(name))?;
        Ok(())
    }

    fn show(&self, name: &str) -> Result<Portal, Failure> {
        let property = || self.engine.properties().get(name).map(|value| (name.to_owned(), value.clone()));
        let setting = self.settings.get(name).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (name, value) = setting.or_else(property).ok_or_else(|| {
            let failure = Failure::new(
                super::super::errors::State("42704"),
                format!("unrecognized configuration parameter \"{name}\""),
            );
            failure.with_hint("SHOW ALL lists the parameters, SHOW PROPERTIES those of the engine")
        })?;
        Ok(Portal::of(Rows::of_texts(vec![name], &[vec![Some(value)]]), "SHOW"))
    }

    /// The one statement of a text, as the engine reads it.
    pub(super) fn parsed(&self, text: &str) -> Result<Parsed, Failure> {
        let mut parsed = self.app.engine.parse(&self.resolved(text), &self.engine)?;
        match parsed.len() {
            1 => Ok(parsed.remove(0)),
            count => Err(Failure::new(SYNTAX, format!("expected one statement, got {count}"))),
        }
    }

    /// Starts a query.
    pub(super) fn query(&mut self, text: &str) -> Result<Rows, Failure> {
        if let Some(statement) = self.of_catalog(text) {
            let facts = self.facts(text);
            let catalog::Answer { columns, arrays } = catalog::run(text, statement, facts)?;
            return Ok(Rows::of_table(Box::new(Table { columns, arrays: Some(arrays) })));
        }
        let parsed = self.parsed(text)?;
        match self.app.engine.execute(&parsed, &mut self.engine)? {
            Answer::Rows(stream) => Rows::of_stream(stream, self),
            Answer::Entity(entity) => Ok(table(outcome(Answer::Entity(entity)))),
        }
    }

    /// Starts a query or a subscription.
    pub(super) fn any_query(&mut self, text: &str) -> Result<Rows, Failure> {
        match verb(text, &self.settings)? {
            Verb::Query => self.query(text),
            Verb::Subscribe { query } => match self.subscribe(text, query)?.source {
                Source::Rows(rows) => Ok(rows),
                _ => Err(Failure::new(SYNTAX, "a subscription has no rows")),
            },
            _ => Err(Failure::new(SYNTAX, "COPY takes a query")),
        }
    }

    /// Any other statement of the engine.
    fn carry_out(&mut self, text: &str, out: &mut Out) -> Result<Portal, Failure> {
        let parsed = self.parsed(text)?;
        let tag = tag(text, &parsed.statement);
        let answer = self.app.engine.execute(&parsed, &mut self.engine)?;
        if let Answer::Entity(Entity::Warning(warning)) = &answer {
            out.reply.notice(Severity::Warning, warning);
            return Ok(Portal::done(tag));
        }
        Ok(match outcome(answer) {
            Outcome::Rows(stream) => Portal::of(Rows::of_stream(stream, self)?, &tag),
            Outcome::Message(message) if !returns_rows(&parsed.statement) => {
                out.reply.notice(Severity::Notice, &message);
                Portal::done(tag)
            }
            Outcome::Many(all) if all.is_empty() => Portal::done(tag),
            other => Portal::of(table(other), &tag),
        })
    }
}

pub(super) fn no_statement(name: &str) -> Failure {
    Failure::new(NO_STATEMENT, format!("prepared statement \"{name}\" does not exist"))
}

/// Whether its result is shown as rows; the message of every other statement is a notice.
fn returns_rows(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Show(_)
            | Statement::Describe { .. }
            | Statement::DescribeFunction(_)
            | Statement::Explain(_)
            | Statement::ExplainQuery(_)
    )
}

/// `CREATE STREAM` of `CREATE OR REPLACE STREAM ...`; rows that were inserted are counted.
fn tag(text: &str, statement: &Statement) -> String {
    match statement {
        Statement::InsertValues(insert) => return format!("INSERT 0 {}", insert.rows.len()),
        Statement::InsertSelect(_) => return "INSERT 0 0".to_owned(),
        _ => {}
    }
    let skipped = ["OR", "REPLACE", "SOURCE", "NOT", "EXISTS"];
    let words = scan(text).map_while(|(token, _)| match token {
        Token::Word(word) => Some(word.to_uppercase()),
        _ => None,
    });
    let mut words = words.filter(|word| !skipped.contains(&word.as_str()));
    let first = words.next().unwrap_or_default();
    let of_what = ["CREATE", "DROP", "ALTER", "ASSERT"].contains(&first.as_str());
    match words.next().filter(|_| of_what) {
        Some(second) => format!("{first} {second}"),
        None => first,
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A result of the engine as rows.
pub(super) fn table(outcome: Outcome) -> Rows {
    match outcome {
        Outcome::Rows(stream) => Rows::of_table(stream),
        other => {
            let (names, rows) = cells(other);
            Rows::of_texts(names, &rows)
        }
    }
}

/// Names of columns, and rows of texts.
pub(in crate::serve) type Cells = (Vec<String>, Vec<Vec<Option<String>>>);

/// A result of the engine as texts. Several tables become one of three columns: their titles, the first cell, and the others.
pub(in crate::serve) fn cells(outcome: Outcome) -> Cells {
    match outcome {
        Outcome::Table { columns, rows, .. } => {
            let name = |column: &String| match column.is_empty() {
                true => "value".to_owned(),
                false => column.to_lowercase().replace(' ', "_"),
            };
            let rows = rows.into_iter().map(|row| row.into_iter().map(Some).collect()).collect();
            (columns.iter().map(name).collect(), rows)
        }
        Outcome::Message(text) => {
            let rows = text.lines().map(|line| vec![Some(line.to_owned())]).collect();
            (texts(&["QUERY PLAN"]), rows)
        }
        Outcome::Many(all) => {
            let mut rows = Vec::new();
            all.iter().for_each(|part| facts(part, &mut rows));
            (texts(&["section", "item", "value"]), rows)
        }
        Outcome::Rows(_) => (Vec::new(), Vec::new()),
    }
}

fn facts(outcome: &Outcome, rows: &mut Vec<Vec<Option<String>>>) {
    match outcome {
        Outcome::Table { title, columns, rows: cells } => {
            for row in cells {
                let value = match row.as_slice() {
                    [_, value] => Some(value.clone()),
                    [_, rest @ ..] => {
                        let named = columns.iter().skip(1).zip(rest).map(|(name, cell)| format!("{name}: {cell}"));
                        Some(named.collect::<Vec<_>>().join(", "))
                    }
                    [] => None,
                };
                rows.push(vec![title.clone(), row.first().cloned(), value]);
            }
        }
        Outcome::Message(text) => rows.push(vec![None, None, Some(text.clone())]),
        Outcome::Many(all) => all.iter().for_each(|part| facts(part, rows)),
        Outcome::Rows(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_words_of_the_statement() {
        let other = Statement::Unset(String::new());
        assert_eq!(tag("CREATE OR REPLACE SOURCE STREAM s", &other), "CREATE STREAM");
        assert_eq!(tag("drop table if exists t", &other), "DROP TABLE");
        assert_eq!(tag("SHOW ALL TOPICS", &other), "SHOW");
        assert_eq!(tag("ASSERT NOT EXISTS TOPIC t", &other), "ASSERT TOPIC");
    }

    #[test]
    fn several_tables_become_facts() {
        let part = |title: &str, columns: &[&str], row: &[&str]| Outcome::Table {
            title: Some(title.to_owned()),
            columns: texts(columns),
            rows: vec![texts(row)],
        };
        let all =
            Outcome::Many(vec![part("a", &["F", "V"], &["x", "1"]), part("b", &["P", "L", "H"], &["0", "2", "3"])]);
        let mut rows = Vec::new();
        facts(&all, &mut rows);
        let texts: Vec<Vec<_>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect()).collect();
        assert_eq!(texts, [["a", "x", "1"], ["b", "0", "L: 2, H: 3"]]);
    }
}
