//! The ON clause: one equality, each side over exactly one of the two inputs.

use super::names::{Columns, Sources};
use crate::error::{Error, Result};
use crate::parse::statement::{Condition, Join};
use crate::plan::select::expression;
use crate::plan::select::scope::unknown_source;
use sqlparser::ast::{BinaryOperator, Expr};
use std::collections::BTreeSet;

/// What each input is joined by, over flat columns.
#[derive(Clone, Debug)]
pub(super) struct Criteria {
    pub(super) left: Expr,
    pub(super) right: Expr,
    /// The right one was written first.
    flipped: bool,
}

impl Criteria {
    /// Reads an ON clause. It may be written in either order.
    pub(super) fn of(clause: &Join, sources: &Sources, left: &Columns, right: &Columns) -> Result<Criteria> {
        let on = sources.flat(condition(clause)?)?;
        let Expr::BinaryOp { left: one, op, right: other } = &on else { return Err(not_an_equality(sources, &on)) };
        match op {
            BinaryOperator::Eq => {}
            BinaryOperator::And | BinaryOperator::Or if is_equality(one) && is_equality(other) => {
                return Err(Error::statement(format!(
                    "Invalid join condition: joins on multiple conditions are not yet supported. Got {}.",
                    sources.text(&on)
                )));
            }
            BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => {
                let error = Error::statement("Only equality join criteria is supported.");
                return Err(error.with_hint("a join has one equality: ON l.a = r.b"));
            }
            _ => return Err(not_an_equality(sources, &on)),
        }
        let (one, other) = (one.as_ref(), other.as_ref());
        let named = sides(one, other, &on, sources)?;
        let known_as = clause.right.known_as().value.as_str();
        let within = |columns: &Columns, alias: &str| {
            let of = |name: &str| sources.origin(name).is_some_and(|(known, _)| known.alias == alias);
            columns.iter().any(|(name, ..)| of(name))
        };
        let (a, b) = (named[0].as_str(), named[1].as_str());
        if within(left, a) && within(right, b) {
            Ok(Criteria { left: one.clone(), right: other.clone(), flipped: false })
        } else if within(left, b) && within(right, a) {
            Ok(Criteria { left: other.clone(), right: one.clone(), flipped: true })
        } else {
            Err(Error::statement(format!(
                "A join criteria is expected to reference the source (`{known_as}`) in the FROM clause, instead the right \
                 source references `{b}` and the left source references `{a}`"
            )))
        }
    }
}

/// What the rows meet by, in ksqlDB's only form.
fn condition(clause: &Join) -> Result<&Expr> {
    match &clause.on {
        Condition::On(on) => Ok(on),
        _ => Err(Error::statement("a continuous query joins by one equality: JOIN ... ON l.a = r.b")
            .at(clause.right.known_as().span)),
    }
}

/// What can be said of an ON clause before anything is known of what is joined to what.
pub(super) fn check(clause: &Join, sources: &Sources) -> Result<()> {
    let written = condition(clause)?;
    let on = sources.flat(written).map_err(|e| with_place(e, written))?;
    match &on {
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            sides(left, right, &on, sources).map(|_| ()).map_err(|e| with_place(e, written))
        }
        _ => Ok(()),
    }
}

/// The one source that each side names.
fn sides(one: &Expr, other: &Expr, on: &Expr, sources: &Sources) -> Result<[String; 2]> {
    let (a, b) = (side_of(one, on, sources)?, side_of(other, on, sources)?);
    if a == b {
        return Err(Error::statement(format!(
            "Each side of the join must reference exactly one source and not the same source. Left side references \
             `{a}` and right references `{b}`"
        )));
    }
    Ok([a, b])
}

/// The error at the name that it quotes first.
fn with_place(error: Error, on: &Expr) -> Error {
    let Some(name) = error.message().split('\'').nth(1).map(str::to_owned) else { return error };
    let span = expression::written_names(on).into_iter().find(|(text, _)| *text == name).and_then(|(_, span)| span);
    match span {
        Some(span) => error.at(span),
        None => error,
    }
}

impl Criteria {
    /// As it was written: `L.A = R.B`, each side with what `more` says about it.
    pub(super) fn text(&self, sources: &Sources, more: [&str; 2]) -> String {
        let left = format!("{}{}", sources.text(&self.left), more[0]);
        let right = format!("{}{}", sources.text(&self.right), more[1]);
        if self.flipped { format!("{right} = {left}") } else { format!("{left} = {right}") }
    }
}

fn not_an_equality(sources: &Sources, on: &Expr) -> Error {
    Error::statement(format!("Unsupported join expression: {}", sources.text(on)))
        .with_hint("a join has one equality: ON l.a = r.b")
}

fn is_equality(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Eq, .. })
}

/// The one source that this side names.
fn side_of(side: &Expr, on: &Expr, sources: &Sources) -> Result<String> {
    let mut found = BTreeSet::new();
    for name in expression::columns_outside_aggregates(side) {
        match sources.origin(&name) {
            Some((known, _)) => {
                found.insert(known.alias.clone());
            }
            None if name.split_once('.').is_some_and(|(qualifier, _)| !sources.knows(qualifier)) => {
                let qualifier = name.split('.').next().unwrap_or_default();
                return Err(unknown_source(qualifier));
            }
            None => {
                return Err(Error::statement(format!("JOIN ON column '{name}' cannot be resolved."))
                    .told_as("Line: {line}, Col: {column}: "));
            }
        }
    }
    match found.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok(one.clone()),
        _ => Err(Error::statement(format!(
            "Invalid comparison expression '{}' in join '{}'. Each side of the join comparision must contain references from \
             exactly one source.",
            sources.text(side),
            sources.text(on)
        ))),
    }
}
