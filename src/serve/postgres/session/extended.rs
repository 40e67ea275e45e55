//! The extended protocol: statements that are prepared, bound and run in steps.
//!
//! A statement is read when it is prepared, so that its errors come then; it is planned when it is described, with values of the
//! parameters' types in their places; and it is carried out by the first Execute, or by the description of its portal.

use super::cursor::PORTALS_MAX;
use super::portal::{Portal, Source};
use super::rows::{Fetch, fields};
use super::run::{no_statement, table};
use super::{Out, Session, located};
use crate::engine::Answer;
use crate::engine::result::entity::Entity;
use crate::engine::result::rows::OutputColumn;
use crate::parse;
use crate::parse::statement::{Parsed, Select, SelectItem, Statement};
use crate::present::text::outcome;
use crate::serve::postgres::catalog;
use crate::serve::postgres::errors::{Failure, LIMIT, NO_CURSOR, PROTOCOL, SYNTAX, position};
use crate::serve::postgres::messages::{Bind, Encoding, Frontend};
use crate::serve::postgres::parameters::literals::{literal, sample};
use crate::serve::postgres::parameters::neighbours::{Beside, neighbours};
use crate::serve::postgres::parameters::{self, Filled};
use crate::serve::postgres::types::{PgType, oid};
use crate::serve::postgres::verbs::{Verb, verb};
use crate::types::SqlType;
use sqlparser::ast::Expr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

/// A prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) text: String,
    /// `None` = the text is empty.
    pub(super) verb: Option<Verb>,
    /// Types of the parameters.
    pub(super) types: Vec<u32>,
    /// Columns of its rows, once they were asked for; `None` inside = it has none.
    columns: OnceLock<Option<Vec<OutputColumn>>>,
}

/// A bound statement, and what it has become.
pub(super) struct Bound {
    prepared: Arc<Prepared>,
    filled: Filled,
    formats: Vec<Encoding>,
}

/// An error, and the character at which it is.
type Located<T> = Result<T, (Failure, Option<usize>)>;

pub(super) fn unlocated(failure: Failure) -> (Failure, Option<usize>) {
    (failure, None)
}

impl Session {
    pub(super) fn extended(&mut self, message: Frontend, out: &mut Out) {
        let done = match message {
            Frontend::Parse { name, sql, types } => self.prepare(name, sql, types, out),
            Frontend::Bind(bind) => self.bind(bind, out),
            Frontend::DescribeStatement(name) => self.describe_statement(&name, out),
            Frontend::DescribePortal(name) => self.describe_portal(&name, out),
            Frontend::Execute { portal, rows_max } => self.execute(&portal, rows_max, out),
            Frontend::CloseStatement(name) => {
                self.statements.remove(&name);
                out.reply.empty(b'3');
                Ok(())
            }
            Frontend::ClosePortal(name) => {
                self.portals.remove(&name);
                self.bound.remove(&name);
                out.reply.empty(b'3');
                Ok(())
            }
            Frontend::Flush => {
                out.flush();
                Ok(())
            }
            _ => Err(unlocated(Failure::new(PROTOCOL, "this message is not supported"))),
        };
        if let Err((failure, position)) = done {
            self.skipping = true;
            self.fail(failure, position, out);
        }
    }

    fn prepare(&mut self, name: String, sql: String, types: Vec<u32>, out: &mut Out) -> Located<()> {
        self.check_room(&name, &sql)?;
        let prepared =
            self.prepared(&sql, types).map_err(|(failure, at)| (failure, at.map(|at| position(&sql, at))))?;
        self.statements.insert(name, Arc::new(prepared));
        out.reply.empty(b'1');
        Ok(())
    }

    /// An error comes with its byte.
    pub(super) fn prepared(&mut self, sql: &str, types: Vec<u32>) -> Located<Prepared> {
        parse::check_comments(sql).map_err(|error| located(error.into()))?;
        let pieces = parse::split(sql);
        let piece = match pieces[..] {
            [] => {
                return Ok(Prepared { text: String::new(), verb: None, types, columns: OnceLock::from(None) });
            }
            [piece] => piece,
            _ => {
                return Err(unlocated(Failure::new(
                    SYNTAX,
                    "cannot insert multiple commands into a prepared statement",
                )));
            }
        };
        // Places are those of the whole text: what is in front of the statement stays.
        let text = sql[..piece.span.end].to_owned();
        let verb = verb(&text, &self.settings).map_err(unlocated)?;
        self.check_transaction(&verb).map_err(unlocated)?;
        let types = self.types(&text, &verb, types)?;
        Ok(Prepared { text, verb: Some(verb), types, columns: OnceLock::new() })
    }

    /// Types of the parameters: those that the client named, or what the statement says.
    fn types(&mut self, text: &str, verb: &Verb, given: Vec<u32>) -> Located<Vec<u32>> {
        // Its parameters are those of EXECUTE.
        if matches!(verb, Verb::Prepare { .. }) {
            return Ok(given);
        }
        let count = parameters::count(text).map_err(unlocated)?;
        let mut types = given;
        types.resize(count.max(types.len()), 0);
        types.iter_mut().filter(|ty| **ty == oid::UNKNOWN).for_each(|ty| *ty = 0);
        if !matches!(verb, Verb::Query | Verb::Engine { .. }) || self.of_catalog(text).is_some() {
            for (number, ty) in parameters::cast_to(text) {
                if let Some(place) = types.get_mut(number - 1).filter(|place| **place == 0) {
                    *place = catalog::type_number(&ty);
                }
            }
            types.iter_mut().filter(|ty| **ty == 0).for_each(|ty| *ty = oid::TEXT);
            return Ok(types);
        }
        let filled = parameters::fill(text, |number, limit| {
            let ty = types.get_mut(number - 1).filter(|_| limit)?;
            if *ty == 0 {
                *ty = oid::INT8;
            }
            Some("1".to_owned())
        });
        let parsed = self.parsed(&filled.text).map_err(|failure| led_back(failure, &filled))?;
        if types.contains(&0) {
            let catalog = self.app.engine.catalog();
            let column = |name: &str, at: usize| {
                let Statement::InsertValues(insert) = &parsed.statement else { return None };
                let source = catalog.source(&insert.target.value)?;
                let mut columns = source.schema.columns();
                let found = if name.is_empty() { columns.nth(at) } else { columns.find(|column| column.name == name) };
                found.map(|column| column.ty.clone())
            };
            for (number, beside) in neighbours(&parsed, column) {
                let Some(place) = types.get_mut(number - 1).filter(|ty| **ty == 0) else { continue };
                *place = match beside {
                    Beside::Type(ty) => ty,
                    Beside::Expression(part) => {
                        let (expr, select) = *part;
                        self.type_of(expr, select).map_or(0, |ty| PgType::of(&ty).oid)
                    }
                };
            }
        }
        types.iter_mut().filter(|ty| **ty == 0).for_each(|ty| *ty = oid::TEXT);
        Ok(types)
    }

    /// The type of an expression over the sources of a query.
    fn type_of(&mut self, expr: Expr, select: Select) -> Option<SqlType> {
        let items = vec![SelectItem::Expr { expr, alias: None, span: crate::error::Span::default() }];
        let columns = self.plan(Statement::Select(Select { items, ..select })).ok()?;
        columns.into_iter().next().map(|column| column.ty)
    }

    /// The columns of a query that is not run.
    fn plan(&mut self, statement: Statement) -> Result<Vec<OutputColumn>, Failure> {
        let explain = Statement::Explain(Box::new(statement));
        let parsed = Parsed { statement: explain, text: String::new(), span: Default::default(), begin: (1, 1) };
        match self.app.engine.execute(&parsed, &mut self.engine)? {
            Answer::Entity(Entity::Explanation(explanation)) => {
                let column =
                    |column: &crate::types::Column| OutputColumn { name: column.name.clone(), ty: column.ty.clone() };
                Ok(explanation.schema.columns().map(column).collect())
            }
            _ => Err(Failure::new(SYNTAX, "the statement cannot be described")),
        }
    }

    fn bind(&mut self, bind: Bind, out: &mut Out) -> Located<()> {
        let Bind { portal, statement, parameters: values, results } = bind;
        let prepared = self.statements.get(&statement).cloned().ok_or_else(|| unlocated(no_statement(&statement)))?;
        if values.len() != prepared.types.len() {
            let text = format!(
                "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                values.len(),
                prepared.types.len()
            );
            return Err(unlocated(Failure::new(PROTOCOL, text)));
        }
        let literals = values.iter().zip(&prepared.types);
        let literals = literals.map(|((encoding, value), ty)| literal(*ty, *encoding, value.as_deref()));
        let literals = literals.collect::<Result<Vec<_>, _>>().map_err(unlocated)?;
        let bytes: usize = literals.iter().map(String::len).sum();
        if bytes + prepared.text.len() > crate::serve::limits::BODY_BYTES_MAX {
            return Err(unlocated(Failure::new(LIMIT, "the statement is too long with its parameters")));
        }
        let filled = parameters::fill(&prepared.text, |number, limit| {
            let value = literals.get(number - 1)?;
            // LIMIT takes a number and nothing around it.
            Some(if limit { value.trim_matches(['(', ')', '\'']).to_owned() } else { value.clone() })
        });
        self.portals.remove(&portal);
        if self.bound.len() >= PORTALS_MAX {
            return Err(unlocated(Failure::new(LIMIT, format!("a session has at most {PORTALS_MAX} portals"))));
        }
        self.bound.insert(portal, Bound { prepared, filled, formats: results });
        out.reply.empty(b'2');
        Ok(())
    }

    fn describe_statement(&mut self, name: &str, out: &mut Out) -> Located<()> {
        let prepared = self.statements.get(name).cloned().ok_or_else(|| unlocated(no_statement(name)))?;
        let columns = match prepared.columns.get() {
            Some(columns) => columns.clone(),
            None => {
                let columns = self.columns(&prepared, out)?;
                // Two descriptions are never at work at the same time.
                let _ = prepared.columns.set(columns.clone());
                columns
            }
        };
        out.reply.parameter_description(&prepared.types);
        match columns {
            Some(columns) => out.reply.row_description(&fields(&columns, &[])),
            None => out.reply.empty(b'n'),
        }
        Ok(())
    }

    /// The columns of a statement's rows, if it has rows.
    pub(super) fn columns(&mut self, prepared: &Prepared, out: &mut Out) -> Located<Option<Vec<OutputColumn>>> {
        let Some(verb) = &prepared.verb else { return Ok(None) };
        let filled = |with: fn(u32) -> String| {
            parameters::fill(&prepared.text, |number, limit| {
                Some(if limit { "1".to_owned() } else { with(*prepared.types.get(number - 1)?) })
            })
        };
        let sampled = filled(sample);
        let back = |failure: Failure| {
            let (failure, at) = led_back(failure, &sampled);
            (failure, at.map(|at| position(&prepared.text, at)))
        };
        match verb {
            Verb::Query if self.of_catalog(&prepared.text).is_none() => {
                let parsed = self.parsed(&sampled.text).map_err(back)?;
                let planned = self.plan(parsed.statement).map_err(|mut failure| {
                    failure.error = failure.error.shifted(parsed.span.start);
                    failure
                });
                let untyped = |ty: u32| literal(ty, Encoding::Text, None).unwrap_or_default();
                match planned {
                    Ok(columns) => Ok(Some(columns)),
                    // A value of a type may be no value of the place: NULL is one of each.
                    Err(failure) => {
                        let nulls = self.parsed(&filled(untyped).text).and_then(|parsed| self.plan(parsed.statement));
                        nulls.map(Some).map_err(|_| back(failure))
                    }
                }
            }
            Verb::Execute { name, .. } => {
                let inner = self.to_execute(name).map_err(unlocated)?;
                self.columns(&inner, out)
            }
            // They change nothing, so that they can be carried out to see what they return.
            Verb::Query | Verb::Show(_) | Verb::ShowAll | Verb::Fetch { .. } | Verb::Subscribe { .. } => {
                self.open(&sampled.text, verb, out).map(|portal| portal.columns).map_err(back)
            }
            Verb::Engine { rows: true } => {
                let parsed = self.parsed(&sampled.text).map_err(back)?;
                let answer = self.app.engine.execute(&parsed, &mut self.engine).map_err(|error| back(error.into()))?;
                Ok(Some(match outcome(answer) {
                    crate::present::Outcome::Rows(stream) => stream.columns().to_vec(),
                    other => table(other).columns().to_vec(),
                }))
            }
            _ => Ok(None),
        }
    }

    fn describe_portal(&mut self, name: &str, out: &mut Out) -> Located<()> {
        if self.bound.get(name).is_some_and(|bound| !bound.prepared.verb.as_ref().is_some_and(Verb::has_rows)) {
            out.reply.empty(b'n');
            return Ok(());
        }
        self.run_bound(name, out)?;
        match self.portals.get(name).ok_or_else(|| unlocated(no_portal(name)))?.fields() {
            Some(fields) => out.reply.row_description(&fields),
            None => out.reply.empty(b'n'),
        }
        Ok(())
    }

    /// Carries out what was bound to a portal, unless that was done before.
    fn run_bound(&mut self, name: &str, out: &mut Out) -> Located<()> {
        let Some(Bound { prepared, filled, formats }) = self.bound.remove(name) else { return Ok(()) };
        let back = |failure: Failure| {
            let (failure, at) = led_back(failure, &filled);
            (failure, at.map(|at| position(&prepared.text, at)))
        };
        let Some(verb) = &prepared.verb else {
            self.portals.insert(name.to_owned(), Portal::done(""));
            return Ok(());
        };
        self.check_transaction(verb).map_err(unlocated)?;
        let portal = self.open(&filled.text, verb, out).map_err(back)?;
        self.keep(name, Portal { formats, ..portal }).map_err(unlocated)
    }

    fn execute(&mut self, name: &str, rows_max: usize, out: &mut Out) -> Located<()> {
        self.signal.cancelled.store(false, Ordering::Release);
        self.run_bound(name, out)?;
        let mut portal = self.portals.remove(name).ok_or_else(|| unlocated(no_portal(name)))?;
        if let Source::Nothing = portal.source {
            match portal.word.is_empty() {
                true => out.reply.empty(b'I'),
                false => out.reply.complete(&portal.tag()),
            }
            return Ok(());
        }
        let fetched = self.fetch(&mut portal, (rows_max > 0).then_some(rows_max), out).map_err(unlocated)?;
        match fetched {
            // COPY FROM is completed by the rows of the client.
            Fetch::Complete if self.incoming.is_some() => return Ok(()),
            Fetch::Complete => out.reply.complete(&portal.tag()),
            Fetch::Suspended => out.reply.empty(b's'),
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }
}

fn no_portal(name: &str) -> Failure {
    Failure::new(NO_CURSOR, format!("portal \"{name}\" does not exist"))
}

/// An error with its byte in the text before values were put in.
fn led_back(failure: Failure, filled: &Filled) -> (Failure, Option<usize>) {
    let (failure, at) = located(failure);
    (failure, at.map(|at| filled.original(at)))
}
