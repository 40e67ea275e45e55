//! PREPARE and EXECUTE as statements: what drivers do by messages, for people and scripts.
//!
//! ```text
//! PREPARE p (integer, text) AS SELECT * FROM s WHERE id = $1 AND name = $2;
//! EXECUTE p (7, 'x');       the values are put in as literals, as Bind does it
//! ```
//!
//! Both ways share their names: EXECUTE runs what a driver has parsed, and DEALLOCATE removes either.

use super::extended::{Prepared, unlocated};
use super::portal::Portal;
use super::run::no_statement;
use super::{Out, Session};
use crate::error::Span;
use crate::serve::postgres::catalog::declared_type;
use crate::serve::postgres::errors::{Failure, LIMIT, NOT_SUPPORTED, SYNTAX, State};
use crate::serve::postgres::messages::Encoding;
use crate::serve::postgres::parameters::fill;
use crate::serve::postgres::parameters::literals::literal;
use crate::serve::postgres::verbs::{Argument, Verb};
use std::sync::Arc;

/// Prepared statements of one session.
const STATEMENTS_MAX: usize = 1_000;
/// Bytes of their texts together.
const STATEMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Session {
    /// PREPARE; `query` is where its statement begins in the text.
    pub(super) fn prepare_named(
        &mut self,
        name: &str,
        types: &[String],
        text: &str,
        query: usize,
        out: &mut Out,
    ) -> Result<Portal, Failure> {
        let number = |name: &String| {
            let unknown = || Failure::new(State("42704"), format!("type \"{name}\" does not exist"));
            declared_type(name).ok_or_else(unknown)
        };
        let types = types.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        let statement = &text[query..];
        self.check_room(name, statement).map_err(|(failure, _)| failure)?;
        let placed = |(mut failure, at): (Failure, Option<usize>)| {
            if let Some(at) = at {
                failure.error = failure.error.only_at(Span::new(at + query, at + query));
            }
            failure
        };
        let prepared = self.prepared(statement, types).map_err(placed)?;
        if !matches!(prepared.verb, Some(Verb::Query | Verb::Subscribe { .. } | Verb::Show(_) | Verb::Engine { .. })) {
            return Err(Failure::new(SYNTAX, "PREPARE takes a query or a statement of the engine"));
        }
        // Its names are looked up now: an error is the one of PREPARE. A SELECT is only planned for that.
        if prepared.verb == Some(Verb::Query) {
            self.columns(&prepared, out).map_err(|(failure, _)| failure)?;
        }
        self.statements.insert(name.to_owned(), Arc::new(prepared));
        Ok(Portal::done("PREPARE"))
    }

    /// EXECUTE.
    pub(super) fn execute_named(
        &mut self,
        name: &str,
        arguments: &[Argument],
        out: &mut Out,
    ) -> Result<Portal, Failure> {
        let prepared = self.to_execute(name)?;
        let Some(verb) = &prepared.verb else { return Ok(Portal::done("")) };
        if arguments.len() != prepared.types.len() {
            let mut failure =
                Failure::new(SYNTAX, format!("wrong number of parameters for prepared statement \"{name}\""));
            let detail = format!("expected {} parameters, got {}", prepared.types.len(), arguments.len());
            failure.error = failure.error.with_detail(detail);
            return Err(failure);
        }
        let value = |(argument, ty): (&Argument, &u32)| match argument {
            Argument::Value(value) => literal(*ty, Encoding::Text, value.as_deref().map(str::as_bytes)),
            Argument::Expression(text) => Ok(format!("({text})")),
        };
        let values = arguments.iter().zip(&prepared.types).map(value).collect::<Result<Vec<_>, _>>()?;
        let filled = fill(&prepared.text, |number, limit| {
            let value = values.get(number - 1)?;
            Some(if limit { value.trim_matches(['(', ')', '\'']).to_owned() } else { value.clone() })
        });
        self.open(&filled.text, verb, out).map_err(|mut failure| {
            // Its places are those of the other text.
            failure.error = failure.error.only_at(Span::new(0, 0));
            failure
        })
    }

    /// The statement of an EXECUTE, which is none itself: a statement that executes itself would not end.
    pub(super) fn to_execute(&self, name: &str) -> Result<Arc<Prepared>, Failure> {
        let prepared = self.statements.get(name).cloned().ok_or_else(|| no_statement(name))?;
        match prepared.verb {
            Some(Verb::Execute { .. } | Verb::Prepare { .. }) => {
                Err(Failure::new(NOT_SUPPORTED, "EXECUTE runs no statement that is EXECUTE or PREPARE itself"))
            }
            _ => Ok(prepared),
        }
    }

    /// A new statement has a name of its own, and the session room for it.
    pub(super) fn check_room(&self, name: &str, text: &str) -> Result<(), (Failure, Option<usize>)> {
        if !name.is_empty() && self.statements.contains_key(name) {
            let failure = Failure::new(State("42P05"), format!("prepared statement \"{name}\" already exists"));
            return Err(unlocated(failure));
        }
        let bytes: usize = self.statements.values().map(|prepared| prepared.text.len()).sum();
        if self.statements.len() >= STATEMENTS_MAX || bytes + text.len() > STATEMENT_BYTES_MAX {
            let failure = Failure::new(LIMIT, format!("a session has at most {STATEMENTS_MAX} prepared statements"));
            return Err(unlocated(failure.with_hint("DEALLOCATE ALL forgets them")));
        }
        Ok(())
    }
}
