//! What ksqlDB refuses of a WHERE: keys that no row can have, and, where `ksql.query.pull.table.scan.enabled` is false,
//! whatever is no lookup, in its words.

use super::{Reader, is_constant};
use crate::error::{Error, Result};
use crate::plan::select::expression;
use crate::plan::{Settings, formats};
use crate::types::{Column, SqlType};
use sqlparser::ast::{BinaryOperator, Expr, Value};

impl Reader<'_> {
    /// Refuses constants that no key can equal.
    pub(super) fn check_keys(&self, expr: &Expr) -> Result<()> {
        let check = |column: &Expr, item: &Expr| {
            let key = self.source.schema.key.iter().find(|c| expression::as_name(column) == Some(&c.name));
            let (Some(key), Expr::Value(value)) = (key, item) else { return Ok(()) };
            let number = matches!(key.ty, SqlType::Integer | SqlType::Bigint | SqlType::Double);
            match &value.value {
                Value::Null => {
                    let text = format!("Primary key columns can not be NULL: ({} = null)", key.name);
                    Err(Error::statement(text))
                }
                Value::SingleQuotedString(text) if number => Err(Error::statement(format!(
                    "'{text}' can not be converted to the type of the key column: {} {} KEY",
                    key.name, key.ty
                ))),
                _ => Ok(()),
            }
        };
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.check_keys(left)?;
                self.check_keys(right)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => check(left, right),
            Expr::InList { expr, list, negated: false } => list.iter().try_for_each(|item| check(expr, item)),
            _ => Ok(()),
        }
    }

    /// Refuses what ksqlDB refuses where tables may not be scanned.
    pub(super) fn check(&self, filter: Option<&Expr>, settings: &Settings) -> Result<()> {
        let Some(filter) = filter else { return Err(self.invalid("Missing WHERE clause")) };
        self.check_parts(filter)?;
        let all = disjuncts(filter);
        for one in &all {
            let text = expression::text(one);
            // IN is a choice of equalities: the same for each.
            let Some(said) = self.alternatives(one).into_iter().next() else { continue };
            let key = &self.source.schema.key;
            let given = |at: usize| self.names_key(one, &key[at].name);
            let specified: Vec<&Column> = (0..key.len()).filter(|at| given(*at)).map(|at| &key[at]).collect();
            if specified.is_empty() {
                return Err(self.invalid(&format!("WHERE clause missing key column for disjunct: {text}")));
            }
            if specified.len() < key.len() {
                let specified: Vec<String> = specified.iter().map(|c| format!("`{}`", c.name)).collect();
                return Err(self.invalid(&format!(
                    "Multi-column sources must specify every key in the WHERE clause. Specified: [{}] Expected: [{}]",
                    specified.join(", "),
                    formats::list(key)
                )));
            }
            let ranges: usize = said.ranges.iter().map(|range| range.asked).sum();
            if ranges == 0 {
                continue;
            }
            if key.len() == 1 && (ranges > 1 || said.keys[0].is_some()) {
                return Err(self.invalid(
                    "A comparison condition on the key column cannot be combined with other comparisons such as an IN \
                     predicate",
                ));
            }
            let scans = key.len() > 1 || all.len() > 1 || self.source.window.is_some() || !settings.pull_range;
            if scans {
                return Err(Error::statement(
                    "Query requires table scan to be enabled. Table scans can be enabled by setting \
                     ksql.query.pull.table.scan.enabled=true",
                ));
            }
        }
        Ok(())
    }

    fn invalid(&self, text: &str) -> Error {
        invalid(text, self.source.window.is_some())
    }

    /// Is the key column compared with something in this part?
    fn names_key(&self, part: &Expr, name: &str) -> bool {
        match part {
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.names_key(left, name) || self.names_key(right, name)
            }
            Expr::BinaryOp { left, right, .. } => [left, right].iter().any(|e| expression::as_name(e) == Some(name)),
            Expr::InList { expr, .. } | Expr::Between { expr, .. } => expression::as_name(expr) == Some(name),
            _ => false,
        }
    }

    fn check_parts(&self, expr: &Expr) -> Result<()> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.check_parts(left)?;
                self.check_parts(right)
            }
            Expr::BinaryOp { left, right, .. } => self.check_comparison(left, right, &expression::text(expr)),
            Expr::InList { expr: column, list, .. } => {
                let text = |item: &Expr| format!("({} = {})", expression::text(column), expression::text(item));
                list.iter().try_for_each(|item| self.check_comparison(column, item, &text(item)))
            }
            Expr::Between { expr, low, high, .. } => {
                let text = expression::text(expr);
                self.check_comparison(expr, low, &text)?;
                self.check_comparison(expr, high, &text)
            }
            Expr::Like { .. } => Err(self.invalid("Like condition must be between strings")),
            other => Err(self.invalid(&format!("Unsupported expression in WHERE clause: {}", expression::text(other)))),
        }
    }

    fn check_comparison(&self, left: &Expr, right: &Expr, text: &str) -> Result<()> {
        let (name, other) = match (expression::as_name(left), expression::as_name(right)) {
            (Some(name), _) => (name, right),
            (None, Some(name)) => (name, left),
            (None, None) => return Err(self.invalid("A comparison must directly reference a key column")),
        };
        if !self.source.schema.key.iter().any(|c| c.name == name) {
            return Ok(());
        }
        if !is_constant(other) {
            return Err(self.invalid("A comparison must be between a key column and a resolvable expression"));
        }
        match other {
            Expr::Value(value) if value.value == Value::Null => {
                Err(self.invalid(&format!("Primary key columns can not be NULL: {text}")))
            }
            _ => Ok(()),
        }
    }
}

/// The error for a WHERE that is no lookup, with what a lookup needs.
fn invalid(text: &str, windowed: bool) -> Error {
    let bounds = match windowed {
        false => "",
        true => {
            "\n - (optionally) limits the time bounds of the windowed table.\n\t Bounds on [`WINDOWSTART`, `WINDOWEND`] are \
             supported\n\t Supported operators are [EQUAL, GREATER_THAN, GREATER_THAN_OR_EQUAL, LESS_THAN, \
             LESS_THAN_OR_EQUAL]"
        }
    };
    Error::statement(format!(
        "{text}.  See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if you intended to issue a push query.\nPull \
         queries require a WHERE clause that:\n - includes a key equality expression, e.g. `SELECT * FROM X WHERE \
         <key-column> = Y;`.\n - in the case of a multi-column key, is a conjunction of equality expressions that cover all \
         key columns.\n - to support range expressions, e.g.,  SELECT * FROM X WHERE <key-column> < Y;`, range scans need to \
         be enabled by setting ksql.query.pull.range.scan.enabled=true{bounds}\nIf more flexible queries are needed, , table \
         scans can be enabled by setting ksql.query.pull.table.scan.enabled=true."
    ))
}

fn disjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
            let mut all = disjuncts(left);
            all.extend(disjuncts(right));
            all
        }
        other => vec![other],
    }
}
