//! What parameters stand beside, from which their types follow.

use crate::parse::statement::{Parsed, Select, SelectItem, Statement};
use crate::serve::postgres::types::{PgType, oid};
use crate::types::SqlType;
use sqlparser::ast::{BinaryOperator, Expr, Value, Visit, Visitor};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// The expression next to a parameter.
#[derive(Debug)]
pub(in crate::serve) enum Beside {
    /// Its type follows from the syntax.
    Type(u32),
    /// An expression over the sources of this query.
    Expression(Box<(Expr, Select)>),
}

/// The expression next to each parameter, where it is known.
pub(in crate::serve) fn neighbours(
    parsed: &Parsed,
    column: impl Fn(&str, usize) -> Option<SqlType>,
) -> BTreeMap<usize, Beside> {
    let mut found = BTreeMap::new();
    match &parsed.statement {
        Statement::InsertValues(insert) => {
            for (at, value) in insert.rows.iter().flat_map(|row| row.iter().enumerate()) {
                let Some(number) = parameter(value) else { continue };
                let name = insert.columns.get(at).map_or("", |name| name.value.as_str());
                if let Some(ty) = column(name, at) {
                    found.insert(number, Beside::Type(PgType::of(&ty).oid));
                }
            }
        }
        Statement::Select(select) => of_select(select, &mut found),
        Statement::Relational(query) => query.for_each_select(&mut |select| of_select(select, &mut found)),
        _ => {}
    }
    found
}

fn of_select(select: &Select, found: &mut BTreeMap<usize, Beside>) {
    // Its clauses are left out: only the types of its sources matter.
    let bare = Select { joins: select.joins.clone(), ..Select::all_of(select.from.clone()) };
    let items = select.items.iter().filter_map(|item| match item {
        SelectItem::Expr { expr, .. } => Some(expr),
        _ => None,
    });
    let clauses = select.filter.iter().chain(&select.having).chain(&select.qualify).chain(&select.group_by);
    for expr in items.chain(clauses) {
        let _ = Visit::visit(expr, &mut Neighbours { select: &bare, found });
    }
}

/// The number, if the expression is a parameter.
fn parameter(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Nested(inner) => parameter(inner),
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => text.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

struct Neighbours<'a> {
    select: &'a Select,
    found: &'a mut BTreeMap<usize, Beside>,
}

impl Neighbours<'_> {
    fn beside(&mut self, one: &Expr, other: &Expr) {
        if let Some(number) = parameter(one)
            && parameter(other).is_none()
        {
            let beside = Beside::Expression(Box::new((other.clone(), self.select.clone())));
            self.found.entry(number).or_insert(beside);
        }
    }

    fn is(&mut self, expr: &Expr, ty: u32) {
        if let Some(number) = parameter(expr) {
            self.found.entry(number).or_insert(Beside::Type(ty));
        }
    }
}

impl Visitor for Neighbours<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.is(left, oid::BOOL);
                self.is(right, oid::BOOL);
            }
            Expr::BinaryOp { left, right, .. }
            | Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right) => {
                self.beside(left, right);
                self.beside(right, left);
            }
            Expr::Between { expr, low, high, .. } => {
                self.beside(low, expr);
                self.beside(high, expr);
                self.beside(expr, low);
            }
            Expr::InList { expr, list, .. } => list.iter().for_each(|item| self.beside(item, expr)),
            Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } => {
                self.is(expr, oid::TEXT);
                self.is(pattern, oid::TEXT);
            }
            Expr::Cast { expr, data_type, .. } => {
                if let Some(ty) = crate::parse::sql_type(data_type) {
                    self.is(expr, PgType::of(&ty).oid);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
