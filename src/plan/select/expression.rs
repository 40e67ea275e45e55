//! Expressions of a statement: whether two are equal, which columns and aggregates they name, what is put
//! in their place.

use crate::error::Span as Place;
use crate::functions::Registry;
use crate::functions::aggregate::{Literal, is_aggregate_name};
use crate::functions::bounded::named;
use crate::parse::{span_of, sql_type};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, OneOrManyWithParens, Subscript, UnaryOperator, Value,
    ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Span;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The expression in the form in which two are compared: without parentheses, quotes, and the name of the only source.
pub(in crate::plan) fn normal(expr: &Expr, alias: &str) -> Expr {
    let mut expr = expr.clone();
    let mut change = |e: &mut Expr| {
        while let Expr::Nested(inner) = e {
            let inner = std::mem::replace(&mut **inner, null());
            *e = inner;
        }
        match e {
            Expr::CompoundIdentifier(parts) if parts.len() == 2 && parts[0].value == alias => {
                *e = Expr::Identifier(plain(parts[1].clone()));
            }
            Expr::CompoundIdentifier(parts) => *parts = std::mem::take(parts).into_iter().map(plain).collect(),
            Expr::Identifier(name) => *name = plain(name.clone()),
            _ => {}
        }
    };
    let _ = VisitMut::visit(&mut expr, &mut Rewrite { lambdas: Vec::new(), change: &mut change, fields: Vec::new() });
    expr
}

/// Replaces every part, largest first, for which `by` returns a replacement.
pub(in crate::plan) fn replace(expr: &Expr, by: &mut dyn FnMut(&Expr) -> Option<Expr>) -> Expr {
    let mut expr = expr.clone();
    let mut change = |e: &mut Expr| {
        if let Some(other) = by(e) {
            *e = other;
        }
    };
    let _ = VisitMut::visit(&mut expr, &mut Rewrite { lambdas: Vec::new(), change: &mut change, fields: Vec::new() });
    expr
}

/// A reference to a column of this exact name.
pub(in crate::plan) fn identifier(name: &str) -> Expr {
    Expr::Identifier(Ident::with_quote('`', name))
}

/// The name, if the expression is a column of the only source.
pub(in crate::plan) fn as_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(name) => Some(&name.value),
        _ => None,
    }
}

/// The last field's name of `a->b->c`.
pub(in crate::plan) fn field_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::Arrow, right, .. } => as_name(right),
        _ => None,
    }
}

/// Columns that the expression names, without field names and arguments of aggregates, in order of appearance.
pub(in crate::plan) fn columns_outside_aggregates(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    walk(expr, &mut |e, inside| match e {
        Expr::Identifier(name) if !inside => names.push(name.value.clone()),
        Expr::CompoundIdentifier(_) if !inside => names.push(text(e)),
        _ => {}
    });
    names
}

/// Aggregate calls in order of appearance; those inside of others are not looked at.
pub(in crate::plan) fn aggregates(expr: &Expr) -> Vec<Function> {
    let mut found = Vec::new();
    walk(expr, &mut |e, inside| {
        if let (Some(function), false) = (aggregate_call(e), inside) {
            found.push(function.clone());
        }
    });
    found
}

/// The call, if the expression is one of an aggregate function.
pub(in crate::plan) fn aggregate_call(expr: &Expr) -> Option<&Function> {
    match expr {
        Expr::Function(function) if function.over.is_none() && is_aggregate(&function_name(function)) => Some(function),
        _ => None,
    }
}

/// Is it an aggregate of ksqlDB, or one of DataFusion whose name ksqlDB leaves free?
pub(in crate::plan) fn is_aggregate(name: &str) -> bool {
    is_aggregate_name(name) || named::aggregate(name).is_some() && Registry::find(name).is_none()
}

/// Calls with OVER, in order of appearance; those inside of others are not looked at.
pub(in crate::plan) fn over_calls(expr: &Expr) -> Vec<Function> {
    let mut found = Vec::new();
    replace(expr, &mut |e| match e {
        Expr::Function(function) if function.over.is_some() => {
            found.push(function.clone());
            Some(null())
        }
        _ => None,
    });
    found
}

/// Every expression in a call: arguments, FILTER, ORDER BY, PARTITION BY.
pub(in crate::plan) fn parts_of_call(function: &Function) -> Vec<Expr> {
    let mut depth = 0_usize;
    let mut parts = Vec::new();
    let mut found = Outermost { depth: &mut depth, parts: &mut parts };
    let _ = Visit::visit(function, &mut found);
    parts
}

struct Outermost<'a> {
    depth: &'a mut usize,
    parts: &'a mut Vec<Expr>,
}

impl Visitor for Outermost<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if *self.depth == 0 {
            self.parts.push(expr.clone());
        }
        *self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        *self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// The expression names no column and calls no function.
pub(in crate::plan) fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(_) | Expr::TypedString(_) => true,
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => is_constant(inner),
        Expr::BinaryOp { left, right, .. } => is_constant(left) && is_constant(right),
        _ => false,
    }
}

/// `CASE WHEN condition THEN value END`
pub(in crate::plan) fn case(condition: Expr, value: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: value }],
        else_result: None,
    }
}

/// `CASE WHEN condition THEN value ELSE other END`
pub(in crate::plan) fn either(condition: Expr, value: Expr, other: Expr) -> Expr {
    match case(condition, value) {
        Expr::Case { case_token, end_token, operand, conditions, .. } => {
            Expr::Case { case_token, end_token, operand, conditions, else_result: Some(Box::new(other)) }
        }
        case => case,
    }
}

/// A whole number.
pub(in crate::plan) fn number(value: u32) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Number(value.to_string(), false), span: Span::empty() })
}

/// `2 * high + low`
pub(in crate::plan) fn twice_plus(high: Expr, low: Expr) -> Expr {
    let both = |left, op, right| Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) };
    both(both(number(2), BinaryOperator::Multiply, high), BinaryOperator::Plus, low)
}

/// Name of the function, upper-cased.
pub(in crate::plan) fn function_name(function: &Function) -> String {
    match function.name.0.last() {
        Some(ObjectNamePart::Identifier(name)) => name.value.to_uppercase(),
        _ => function.name.to_string().to_uppercase(),
    }
}

/// Arguments of a call; `None` for anything but a plain list. `*` is no argument.
pub(in crate::plan) fn arguments(function: &Function) -> Option<Vec<&Expr>> {
    let list = match &function.args {
        FunctionArguments::None => return Some(Vec::new()),
        FunctionArguments::List(list) => list,
        FunctionArguments::Subquery(_) => return None,
    };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() || function.filter.is_some() {
        return None;
    }
    let mut out = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => out.push(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if list.args.len() == 1 => {}
            _ => return None,
        }
    }
    Some(out)
}

/// The whole number or the truth value, if the expression is just that.
pub(in crate::plan) fn literal(expr: &Expr) -> Option<Literal> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Literal::Integer(n) => Some(Literal::Integer(n.wrapping_neg())),
            Literal::Boolean(_) => None,
        },
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => text.to_string().parse().ok().map(Literal::Integer),
            Value::Boolean(truth) => Some(Literal::Boolean(*truth)),
            _ => None,
        },
        _ => None,
    }
}

/// `x AND y AND z` in its parts.
pub(in crate::plan) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut parts = conjuncts(left);
            parts.extend(conjuncts(right));
            parts
        }
        other => vec![other],
    }
}

/// As ksqlDB's `ExpressionFormatter` prints it: every operator in parentheses, no quotes.
pub(in crate::plan) fn text(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.iter().map(|p| p.value.as_str()).collect::<Vec<_>>().join("."),
        Expr::Nested(inner) => text(inner),
        Expr::BinaryOp { left, op: BinaryOperator::Arrow, right } => format!("{}->{}", text(left), text(right)),
        Expr::BinaryOp { left, op, right } => format!("({} {op} {})", text(left), text(right)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{}", text(expr)),
        Expr::Function(function) => {
            format!("{}({}){}", function_name(function), arguments_text(function), behind_call(function))
        }
        Expr::Value(value) if value.value == Value::Null => "null".to_owned(),
        Expr::Cast { expr, data_type, .. } => {
            let ty = sql_type(data_type).map_or_else(|| data_type.to_string(), |ty| ty.to_string());
            format!("CAST({} AS {ty})", text(expr))
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let operand = operand.as_ref().map_or_else(String::new, |e| format!(" {}", text(e)));
            let when = |c: &CaseWhen| format!(" WHEN {} THEN {}", text(&c.condition), text(&c.result));
            let whens: String = conditions.iter().map(when).collect();
            let otherwise = else_result.as_ref().map_or_else(String::new, |e| format!(" ELSE {}", text(e)));
            format!("(CASE{operand}{whens}{otherwise} END)")
        }
        Expr::Array(array) => format!("ARRAY[{}]", list_text(&array.elem)),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let access = |access: &AccessExpr| match access {
                AccessExpr::Subscript(Subscript::Index { index }) => format!("[{}]", text(index)),
                other => other.to_string(),
            };
            format!("{}{}", text(root), access_chain.iter().map(access).collect::<String>())
        }
        other => predicate_text(other),
    }
}

fn predicate_text(expr: &Expr) -> String {
    let negated = |text: String, negated: bool| if negated { format!("(NOT {text})") } else { text };
    match expr {
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => format!("(NOT {})", text(expr)),
        Expr::IsNull(expr) => format!("({} IS NULL)", text(expr)),
        Expr::IsNotNull(expr) => format!("({} IS NOT NULL)", text(expr)),
        Expr::IsDistinctFrom(left, right) => format!("({} IS DISTINCT FROM {})", text(left), text(right)),
        Expr::Between { expr, negated: not, low, high } => {
            negated(format!("({} BETWEEN {} AND {})", text(expr), text(low), text(high)), *not)
        }
        Expr::InList { expr, list, negated: not } => {
            negated(format!("({} IN ({}))", text(expr), list_text(list)), *not)
        }
        Expr::Like { negated: not, expr, pattern, escape_char: None, .. } => {
            negated(format!("({} LIKE {})", text(expr), text(pattern)), *not)
        }
        other => other.to_string(),
    }
}

fn list_text(list: &[Expr]) -> String {
    list.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The text between the parentheses of a call; names and values of STRUCT and MAP with `:=` between them.
fn arguments_text(function: &Function) -> String {
    let FunctionArguments::List(list) = &function.args else { return String::new() };
    let one = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => text(expr),
        FunctionArg::Unnamed(other) => other.to_string(),
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
            format!("{}:={}", name.value, text(value))
        }
        FunctionArg::ExprNamed { name, arg: FunctionArgExpr::Expr(value), .. } => {
            format!("{}:={}", text(name), text(value))
        }
        other => other.to_string(),
    };
    let distinct = list.duplicate_treatment.map_or_else(String::new, |word| format!("{word} "));
    let clauses: String = list.clauses.iter().map(|clause| format!(" {clause}")).collect();
    format!("{distinct}{}{clauses}", list.args.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// What follows the parentheses of an aggregate's or window function's call.
fn behind_call(function: &Function) -> String {
    let mut out = String::new();
    if !function.within_group.is_empty() {
        let keys: Vec<String> = function.within_group.iter().map(ToString::to_string).collect();
        out.push_str(&format!(" WITHIN GROUP (ORDER BY {})", keys.join(", ")));
    }
    if let Some(filter) = &function.filter {
        out.push_str(&format!(" FILTER (WHERE {})", text(filter)));
    }
    if let Some(nulls) = &function.null_treatment {
        out.push_str(&format!(" {nulls}"));
    }
    if let Some(over) = &function.over {
        out.push_str(&format!(" OVER {over}"));
    }
    out
}

/// Columns as they were written, dotted, with their places.
pub(in crate::plan) fn written_names(expr: &Expr) -> Vec<(String, Option<Place>)> {
    let mut found = Vec::new();
    let _ = sqlparser::ast::visit_expressions(expr, |e| {
        if matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            found.push((text(e), span_of(e)));
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}

fn plain(name: Ident) -> Ident {
    Ident { quote_style: Some('`'), ..name }
}

fn null() -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Null, span: Span::empty() })
}

/// Visits `expr` and its parts from the outside in, without field names after `->`; the flag says whether the part is inside an aggregate.
fn walk(expr: &Expr, visit: &mut dyn FnMut(&Expr, bool)) {
    let mut reader = Reader { visit, fields: Vec::new(), lambdas: Vec::new(), aggregates: 0 };
    let _ = Visit::visit(expr, &mut reader);
}

/// A field name looks like a column to a visitor: it is known by its address.
fn field_of(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::Arrow, right, .. } => Some(std::ptr::from_ref::<Expr>(right) as usize),
        _ => None,
    }
}

/// The names that a lambda binds, if the expression is one.
fn bound_by(expr: &Expr) -> Option<Vec<String>> {
    let Expr::Lambda(lambda) = expr else { return None };
    let params = match &lambda.params {
        OneOrManyWithParens::One(param) => std::slice::from_ref(param),
        OneOrManyWithParens::Many(params) => params,
    };
    Some(params.iter().map(|param| param.name.value.clone()).collect())
}

/// Is it a name that one of the lambdas around it binds, and so no column?
fn is_bound(expr: &Expr, lambdas: &[Vec<String>]) -> bool {
    matches!(expr, Expr::Identifier(name) if lambdas.iter().flatten().any(|bound| *bound == name.value))
}

struct Reader<'a> {
    visit: &'a mut dyn FnMut(&Expr, bool),
    fields: Vec<usize>,
    /// What the lambdas around bind.
    lambdas: Vec<Vec<String>>,
    aggregates: usize,
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.fields.extend(field_of(expr));
        if !self.fields.contains(&(std::ptr::from_ref(expr) as usize)) && !is_bound(expr, &self.lambdas) {
            (self.visit)(expr, self.aggregates > 0);
        }
        self.lambdas.extend(bound_by(expr));
        self.aggregates += usize::from(aggregate_call(expr).is_some());
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.aggregates -= usize::from(aggregate_call(expr).is_some());
        if bound_by(expr).is_some() {
            self.lambdas.pop();
        }
        ControlFlow::Continue(())
    }
}

/// Changes an expression and its parts from the outside in, field names after `->` left out.
struct Rewrite<'a> {
    change: &'a mut dyn FnMut(&mut Expr),
    fields: Vec<usize>,
    /// What the lambdas around bind.
    lambdas: Vec<Vec<String>>,
}

impl VisitorMut for Rewrite<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if !self.fields.contains(&(std::ptr::from_ref(expr) as usize)) && !is_bound(expr, &self.lambdas) {
            (self.change)(expr);
        }
        self.fields.extend(field_of(expr));
        self.lambdas.extend(bound_by(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if bound_by(expr).is_some() {
            self.lambdas.pop();
        }
        ControlFlow::Continue(())
    }
}

/// Names that lambdas inside of the expression bind.
pub(in crate::plan) fn parameters(expr: &Expr) -> BTreeSet<String> {
    struct Lambdas(BTreeSet<String>);
    impl Visitor for Lambdas {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0.extend(bound_by(expr).into_iter().flatten());
            ControlFlow::Continue(())
        }
    }
    let mut lambdas = Lambdas(BTreeSet::new());
    let _ = Visit::visit(expr, &mut lambdas);
    lambdas.0
}

/// Both conditions.
pub(in crate::plan) fn and(left: Expr, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

/// A call of a function.
pub(in crate::plan) fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() };
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
