//! What happens to every expression after it was read, and before it is printed.

use super::types::sql_type;
use crate::error::{Error, Result};
use sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, Function, Ident, ObjectName, ObjectNamePart, OneOrManyWithParens,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor, UnaryOperator, Value,
    ValueWithSpan, VisitMut, VisitorMut,
};
use std::ops::ControlFlow;

/// Deepest expression: later stages walk it by recursion.
pub const EXPRESSION_DEPTH_MAX: usize = 256;

/// `struct->*`
pub(super) fn is_all_fields(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Arrow, right, .. } if matches!(**right, Expr::Wildcard(_)))
}

/// Puts an expression of ksqlDB's grammar into its final form; returns whether a `->*` is left inside.
///
/// `a.b[1]` comes as the column `a` with the chain `.b[1]`; it leaves as the column `a.b` with the chain `[1]`.
pub(super) fn normalise(expr: &mut impl VisitMut) -> Result<bool> {
    let mut visitor = Normalise { depth: 0, stars: false };
    match expr.visit(&mut visitor) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(visitor.stars),
    }
}

struct Normalise {
    depth: usize,
    stars: bool,
}

impl VisitorMut for Normalise {
    type Break = Error;

    /// Queries were read before, each in the place of its parentheses.
    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        ControlFlow::Break(
            Error::statement("a subquery is not supported here").with_hint("write it in parentheses of its own"),
        )
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            let error = Error::statement("the expression is too deep");
            return ControlFlow::Break(error.with_detail(format!("at most {EXPRESSION_DEPTH_MAX} levels")));
        }
        self.stars |= is_all_fields(expr);
        if let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr
            && matches!(**inner, Expr::UnaryOp { op: UnaryOperator::Minus, .. })
        {
            // Printed side by side two signs would begin a comment.
            let negated = std::mem::replace(&mut **inner, Expr::Identifier(Ident::new("")));
            **inner = Expr::Nested(Box::new(negated));
        }
        if let Expr::CompoundFieldAccess { root, access_chain } = &*expr
            && access_chain.iter().any(|a| dots_wrongly(root, a))
        {
            // `1 . 0` would be printed as another number than it was.
            return ControlFlow::Break(Error::statement(format!("{expr}: a dot is allowed between names only")));
        }
        if let Expr::CompoundFieldAccess { root, access_chain } = expr {
            absorb_names(root, access_chain);
            if access_chain.is_empty() {
                *expr = std::mem::replace(&mut **root, Expr::Identifier(Ident::new("")));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &mut Expr) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn dots_wrongly(root: &Expr, access: &AccessExpr) -> bool {
    let AccessExpr::Dot(name) = access else { return false };
    matches!(root, Expr::Value(_)) || matches!(name, Expr::Value(_))
}

fn absorb_names(root: &mut Expr, chain: &mut Vec<AccessExpr>) {
    let mut names = match root {
        Expr::Identifier(name) => vec![name.clone()],
        Expr::CompoundIdentifier(names) => names.clone(),
        _ => return,
    };
    let dotted = chain.iter().take_while(|a| matches!(a, AccessExpr::Dot(Expr::Identifier(_)))).count();
    if dotted == 0 {
        return;
    }
    for access in chain.drain(..dotted) {
        if let AccessExpr::Dot(Expr::Identifier(name)) = access {
            names.push(name);
        }
    }
    *root = Expr::CompoundIdentifier(names);
}

/// A copy that sqlparser prints as ksqlDB reads it: lambdas with `=>`, types of CAST in ksqlDB's words.
pub(super) fn printable<T: VisitMut + Clone>(tree: &T) -> T {
    let mut copy = tree.clone();
    let _ = copy.visit(&mut Printable);
    copy
}

struct Printable;

impl VisitorMut for Printable {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Lambda(lambda) => {
                let name = |p: &sqlparser::ast::LambdaFunctionParameter| {
                    let mut name = p.name.clone();
                    write_quotes(&mut name);
                    Expr::Identifier(name)
                };
                let left = match &lambda.params {
                    OneOrManyWithParens::One(p) => name(p),
                    OneOrManyWithParens::Many(many) => Expr::Tuple(many.iter().map(name).collect()),
                };
                let body = std::mem::replace(&mut *lambda.body, Expr::Identifier(Ident::new("")));
                let op = BinaryOperator::Custom("=>".to_owned());
                *expr = Expr::BinaryOp { left: Box::new(left), op, right: Box::new(body) };
            }
            Expr::Cast { data_type, .. } => {
                if let Some(ty) = sql_type(data_type)
                    && super::types::data_type(&ty) == *data_type
                {
                    *data_type = DataType::Custom(ObjectName::from(vec![Ident::new(ty.to_string())]), Vec::new());
                }
            }
            Expr::Identifier(name) => write_quotes(name),
            Expr::CompoundIdentifier(names) => names.iter_mut().for_each(write_quotes),
            Expr::Function(Function { name, .. }) => write_quotes_in(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        write_quotes_in(name);
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. }
            | TableFactor::NestedJoin { alias: Some(alias), .. } => write_quotes_of(alias),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query.with.iter_mut().flat_map(|with| &mut with.cte_tables).for_each(|cte| write_quotes_of(&mut cte.alias));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => write_quotes(alias),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    write_quotes_in(name);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// sqlparser takes two quotes in a text for one that is written already: it gets all of them written.
    fn post_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(text) = &mut value.value {
            *text = text.replace('\'', "''");
        }
        ControlFlow::Continue(())
    }
}

/// The same for a name in quotes.
fn write_quotes(name: &mut Ident) {
    if let Some(quote) = name.quote_style.filter(|quote| name.value.contains(*quote)) {
        name.value = name.value.replace(quote, &format!("{quote}{quote}"));
    }
}

fn write_quotes_in(name: &mut ObjectName) {
    for part in &mut name.0 {
        if let ObjectNamePart::Identifier(name) = part {
            write_quotes(name);
        }
    }
}

fn write_quotes_of(alias: &mut TableAlias) {
    write_quotes(&mut alias.name);
    alias.columns.iter_mut().for_each(|column| write_quotes(&mut column.name));
}
