//! Expressions to programs: names, types, coercions, and where guards are placed.
//!
//! ```text
//! SELECT a + 1.5         a INTEGER      (A + 1.5), DECIMAL(12, 1), one outer guard
//! WHERE a = NULL                        refused: comparing with NULL is never true
//! SELECT ucase(s->f)                    the dereference is an argument: it gets a guard of its own
//! ```

mod arithmetic;
mod call;
mod compare;
mod extension;
pub mod extensions;
mod lambda;
mod list;
pub(crate) mod native;
mod row;
mod types;

pub(in crate::plan) use extension::interval_millis;
pub(in crate::plan) use row::{compared as compared_rows, values as row_values};
pub use types::sql_type;

use super::{Arithmetic, Program, cast, literal};
use crate::error::{Error, Result, Span};
use crate::types::SqlType;
pub use compare::is_time_column;
use datafusion::common::ScalarValue;
use sqlparser::ast::{AccessExpr, BinaryOperator, Expr, Spanned, Subscript, UnaryOperator, Value};

/// How deep an expression may be nested: each level takes a few frames of the stack, here and in `eval`.
const DEPTH_MAX: usize = 200;

/// A program and the type of its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// What to run.
    pub program: Program,
    /// What it gives.
    pub ty: SqlType,
}

/// The names that an expression may use.
pub trait Scope {
    /// Position and type of a column, pseudo columns among them. Names are exact.
    fn column(&self, qualifier: Option<&str>, name: &str) -> Result<(usize, SqlType)>;

    /// The place in the statement's text that sqlparser calls by line and column.
    fn locate(&self, _span: sqlparser::tokenizer::Span) -> Option<Span> {
        None
    }
}

/// The clause of the expression: what catches its errors, and whether boundaries inside it catch too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// A column of SELECT: an error makes it NULL.
    SelectItem,
    /// WHERE: an error drops the row.
    Where,
    /// HAVING: an error drops the row.
    Having,
    /// A GROUP BY expression: an error drops the row.
    GroupBy,
    /// A PARTITION BY expression: an error makes the key NULL.
    PartitionBy,
}

impl Boundary {
    /// CASTs, constructor elements and calls inside catch their own errors.
    fn has_inner_guards(self) -> bool {
        matches!(self, Boundary::SelectItem | Boundary::PartitionBy)
    }
}

/// Binds an expression and puts the boundary's guard around it, if it can fail.
pub fn bind(expr: &Expr, scope: &dyn Scope, boundary: Boundary) -> Result<Typed> {
    let mut binder = Binder { scope, boundary, guards: 1, depth: 0, frames: Vec::new() };
    let bound = binder.expr(expr)?;
    let ty = match (bound.ty, boundary) {
        (Some(ty), _) => ty,
        (None, Boundary::Where | Boundary::Having) => SqlType::Boolean,
        (None, _) => {
            return Err(
                Error::statement("Can't infer a type of null.").with_hint("give NULL a type: CAST(NULL AS STRING)")
            );
        }
    };
    let clause = match boundary {
        Boundary::Where => "WHERE",
        Boundary::Having => "HAVING",
        _ => "",
    };
    if !clause.is_empty() && ty != SqlType::Boolean {
        return Err(Error::statement(format!(
            "Type error in {clause} expression: Should evaluate to boolean but is {} ({ty}) instead.",
            bound.program
        )));
    }
    let program = if bound.typed { bound.program } else { Program::Literal(literal::null(&ty)?) };
    Ok(Typed { program: guarded(program, 0), ty })
}

/// Binds an expression whose value goes into a column of a known type: numbers widen, literals are converted.
pub fn bind_to(expr: &Expr, scope: &dyn Scope, boundary: Boundary, target: &SqlType) -> Result<Typed> {
    let mut binder = Binder { scope, boundary, guards: 1, depth: 0, frames: Vec::new() };
    let bound = binder.expr(expr)?;
    let text = bound.program.to_string();
    let from = bound.ty.clone();
    let Some(program) = binder.coerce(bound, target)? else {
        let from = from.map_or("null".to_string(), |ty| ty.to_string());
        return Err(Error::statement(format!("Expected type {target} but got {from}: {text}")));
    };
    Ok(Typed { program: guarded(program, 0), ty: target.clone() })
}

/// The value of an expression without columns, as a value of `target`: one value of INSERT INTO ... VALUES.
pub fn constant(expr: &Expr, target: &SqlType) -> Result<ScalarValue> {
    struct Nothing;
    impl Scope for Nothing {
        fn column(&self, qualifier: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
            if let Some(source) = qualifier {
                let text =
                    format!("Failed to prepare statement: '{source}' is not a valid stream/table name or alias.");
                return Err(Error::statement(text));
            }
            Err(Error::statement(format!("Columns are not allowed in a constant: {name}")))
        }
    }
    if *target == SqlType::Integer && bind(expr, &Nothing, Boundary::GroupBy).is_ok_and(|own| own.ty == SqlType::Bigint)
    {
        return Err(Error::statement(format!("{expr} is a BIGINT, and the column an INTEGER"))
            .with_hint("CAST makes it one, if it fits"));
    }
    let typed = bind_to(expr, &Nothing, Boundary::GroupBy, target)?;
    literal::evaluate(&typed.program)?
        .ok_or_else(|| Error::statement(format!("Could not evaluate {} as {target}", typed.program)))
}

/// The type and the text of an expression without columns; `None` where it has none.
pub fn typed_constant(expr: &Expr) -> Option<(SqlType, String)> {
    struct Nothing;
    impl Scope for Nothing {
        fn column(&self, _: Option<&str>, name: &str) -> Result<(usize, SqlType)> {
            Err(Error::statement(format!("Columns are not allowed in a constant: {name}")))
        }
    }
    let Typed { program, ty } = bind(expr, &Nothing, Boundary::GroupBy).ok()?;
    let value = literal::evaluate(&program).ok()??;
    Some((ty, value.to_string()))
}

fn guarded(program: Program, boundary: u16) -> Program {
    match program.can_fail() {
        true => Program::Guard { boundary, inner: Box::new(program) },
        false => program,
    }
}

/// A bound part of the expression.
#[derive(Clone)]
struct Bound {
    program: Program,
    /// `None` = an untyped NULL.
    ty: Option<SqlType>,
    typed: bool,
}

impl Bound {
    fn new(program: Program, ty: SqlType) -> Bound {
        Bound { program, ty: Some(ty), typed: true }
    }

    /// What may be converted freely: a constant written as such.
    fn literal(&self) -> Option<&ScalarValue> {
        match &self.program {
            Program::Literal(value) if self.typed => Some(value),
            _ => None,
        }
    }
}

struct Binder<'a> {
    scope: &'a dyn Scope,
    boundary: Boundary,
    /// The number of the next guard; 0 is the outermost.
    guards: u16,
    depth: usize,
    /// The lambdas around the expression at hand, outermost first.
    frames: Vec<lambda::Frame>,
}

impl Binder<'_> {
    fn expr(&mut self, expr: &Expr) -> Result<Bound> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::statement(format!("an expression is nested more than {DEPTH_MAX} levels deep")));
        }
        self.depth += 1;
        let bound = self.kind(expr);
        self.depth -= 1;
        bound.map_err(|error| match self.scope.locate(expr.span()) {
            Some(span) => error.at(span),
            None => error,
        })
    }

    fn kind(&mut self, expr: &Expr) -> Result<Bound> {
        match expr {
            Expr::Nested(inner) => self.expr(inner),
            Expr::Identifier(name) => self.column(None, &name.value),
            Expr::CompoundIdentifier(names) => match names.as_slice() {
                [name] => self.column(None, &name.value),
                [qualifier, name] => self.column(Some(&qualifier.value), &name.value),
                _ => Err(Error::statement(format!("{expr} has too many parts"))
                    .with_hint("fields of a STRUCT are taken with ->")),
            },
            Expr::Value(value) => self.value(&value.value),
            Expr::TypedString(typed) => {
                let mut text = typed.value.value.clone().into_string().unwrap_or_default();
                let ty = sql_type(&typed.data_type).or_else(|error| match &typed.data_type {
                    sqlparser::ast::DataType::Decimal(_) => literal::number(&text).map(|(_, ty)| ty),
                    _ => Err(error),
                })?;
                // SQL separates date and time by a space.
                if ty == SqlType::Timestamp && text.get(10..11) == Some(" ") {
                    text.replace_range(10..11, "T");
                }
                self.converted(&ScalarValue::Utf8(Some(text)), &SqlType::String, &ty)
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                let operand = self.boolean("NOT", expr)?;
                Ok(Bound::new(Program::Not(Box::new(operand)), SqlType::Boolean))
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => self.minus(expr),
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => self.expr(expr),
            Expr::BinaryOp { left, op, right } => self.operator(left, op, right),
            Expr::IsNull(inner) => Ok(Bound::new(self.is_null(inner)?, SqlType::Boolean)),
            Expr::IsNotNull(inner) => Ok(Bound::new(Program::Not(Box::new(self.is_null(inner)?)), SqlType::Boolean)),
            Expr::IsDistinctFrom(left, right) => self.comparison(super::Comparison::Distinct, left, right),
            Expr::IsNotDistinctFrom(left, right) => self.comparison(super::Comparison::NotDistinct, left, right),
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Expr::InList { expr, list, negated } => match row::values(expr) {
                Some(row) => self.expr(&row::listed(row, list, *negated)?),
                None => self.in_list(expr, list, *negated),
            },
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Cast { expr, data_type, .. } => {
                let to = sql_type(data_type)?;
                self.cast(expr, &to)
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                let root = self.expr(root)?;
                access_chain.iter().try_fold(root, |value, access| self.access(value, access))
            }
            Expr::Array(array) => self.array(&array.elem),
            Expr::Map(map) => {
                let entries: Vec<_> = map.entries.iter().map(|e| (&*e.key, &*e.value)).collect();
                self.map(&entries)
            }
            other => self.function(other),
        }
    }

    fn column(&mut self, qualifier: Option<&str>, name: &str) -> Result<Bound> {
        self.visible(self.frames.len(), qualifier, name)
    }

    fn value(&mut self, value: &Value) -> Result<Bound> {
        Ok(match value {
            Value::Number(text, _) => {
                let (value, ty) = literal::number(text)?;
                Bound::new(Program::Literal(value), ty)
            }
            Value::SingleQuotedString(text) => {
                Bound::new(Program::Literal(ScalarValue::Utf8(Some(text.clone()))), SqlType::String)
            }
            Value::Boolean(value) => Bound::new(Program::Literal(ScalarValue::Boolean(Some(*value))), SqlType::Boolean),
            Value::Null => Bound { program: Program::Literal(ScalarValue::Null), ty: None, typed: false },
            other => return Err(Error::statement(format!("literal {other} is not supported"))),
        })
    }

    fn converted(&self, value: &ScalarValue, from: &SqlType, to: &SqlType) -> Result<Bound> {
        match literal::convert(value, from, to)? {
            Some(value) => Ok(Bound::new(Program::Literal(value), to.clone())),
            None => Err(invalid_text(to, value)),
        }
    }

    /// `-5` is a literal; `-x` is an operation.
    fn minus(&mut self, expr: &Expr) -> Result<Bound> {
        if let Expr::Value(value) = expr
            && let Value::Number(text, _) = &value.value
        {
            let (value, ty) = literal::number(&format!("-{text}"))?;
            return Ok(Bound::new(Program::Literal(value), ty));
        }
        let operand = self.expr(expr)?;
        match operand.ty {
            Some(ty) if ty.is_numeric() => Ok(Bound::new(Program::Negate(Box::new(operand.program)), ty)),
            ty => {
                let ty = ty.map_or("null".to_string(), |ty| ty.to_string());
                Err(Error::statement(format!("Unsupported type for unary minus: {ty}")))
            }
        }
    }

    fn operator(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Bound> {
        use super::Comparison;
        if let (Some(left), Some(right)) = (row::values(left), row::values(right)) {
            return self.expr(&row::compared(left, op, right)?);
        }
        match op {
            BinaryOperator::Plus => self.arithmetic(Arithmetic::Add, left, right),
            BinaryOperator::Minus => self.arithmetic(Arithmetic::Subtract, left, right),
            BinaryOperator::Multiply => self.arithmetic(Arithmetic::Multiply, left, right),
            BinaryOperator::Divide => self.arithmetic(Arithmetic::Divide, left, right),
            BinaryOperator::Modulo => self.arithmetic(Arithmetic::Remainder, left, right),
            BinaryOperator::StringConcat => {
                let args = vec![self.argument(left)?, self.argument(right)?];
                self.resolved("CONCAT", args)
            }
            BinaryOperator::Eq => self.comparison(Comparison::Equal, left, right),
            BinaryOperator::NotEq => self.comparison(Comparison::NotEqual, left, right),
            BinaryOperator::Lt => self.comparison(Comparison::Less, left, right),
            BinaryOperator::LtEq => self.comparison(Comparison::LessOrEqual, left, right),
            BinaryOperator::Gt => self.comparison(Comparison::Greater, left, right),
            BinaryOperator::GtEq => self.comparison(Comparison::GreaterOrEqual, left, right),
            BinaryOperator::And => {
                let (x, y) = (self.boolean("AND", left)?, self.boolean("AND", right)?);
                Ok(Bound::new(Program::And(Box::new(x), Box::new(y)), SqlType::Boolean))
            }
            BinaryOperator::Or => {
                let (x, y) = (self.boolean("OR", left)?, self.boolean("OR", right)?);
                Ok(Bound::new(Program::Or(Box::new(x), Box::new(y)), SqlType::Boolean))
            }
            BinaryOperator::Arrow => {
                let value = self.expr(left)?;
                self.arrow(value, right)
            }
            other => self.extension_operator(left, other, right),
        }
    }

    /// A BOOLEAN operand; an untyped NULL counts as one.
    fn boolean(&mut self, operator: &str, expr: &Expr) -> Result<Program> {
        let bound = self.expr(expr)?;
        match bound.ty {
            Some(SqlType::Boolean) => Ok(bound.program),
            None => Ok(Program::Literal(ScalarValue::Boolean(None))),
            Some(ty) => {
                Err(Error::statement(format!("{operator} requires BOOLEAN operands, and {} is {ty}", bound.program)))
            }
        }
    }

    /// A written CAST: a boundary of its own.
    fn cast(&mut self, expr: &Expr, to: &SqlType) -> Result<Bound> {
        let value = self.expr(expr)?;
        let Some(from) = value.ty.clone() else {
            return Ok(Bound::new(Program::Literal(literal::null(to)?), to.clone()));
        };
        if !cast::exists(&from, to) {
            let prefix = if self.boundary == Boundary::SelectItem { "Invalid Select: " } else { "" };
            return Err(Error::statement(format!("{prefix}Cast of {from} to {to} is not supported")));
        }
        if from == *to {
            return Ok(value);
        }
        let cast = Program::Cast { value: Box::new(value.program), from, to: to.clone() };
        Ok(Bound::new(self.guard(cast), to.clone()))
    }

    /// An inner boundary, where this expression has such and the program can fail.
    fn guard(&mut self, program: Program) -> Program {
        if !self.boundary.has_inner_guards() || !program.can_fail() || self.guards == u16::MAX {
            return program;
        }
        let guard = guarded(program, self.guards);
        self.guards += 1;
        guard
    }

    fn access(&mut self, value: Bound, access: &AccessExpr) -> Result<Bound> {
        match access {
            AccessExpr::Dot(field) => self.arrow(value, field),
            AccessExpr::Subscript(Subscript::Index { index }) => self.subscript(value, index),
            AccessExpr::Subscript(slice) => Err(Error::statement(format!("array slice [{slice}] is not supported"))
                .with_hint("use slice(array, from, to)")),
        }
    }

    fn subscript(&mut self, value: Bound, index: &Expr) -> Result<Bound> {
        let index = self.expr(index)?;
        match &value.ty {
            Some(SqlType::Array(item)) => {
                let item = (**item).clone();
                let index = match index.ty {
                    Some(from @ (SqlType::Integer | SqlType::Bigint)) => widen(index.program, from, &SqlType::Bigint),
                    _ => return Err(Error::statement("a subscript of an ARRAY must be INTEGER or BIGINT")),
                };
                let array = Box::new(value.program);
                Ok(Bound::new(Program::Element { array, index: Box::new(index) }, item))
            }
            Some(SqlType::Map(key, item)) => {
                let (key, item) = ((**key).clone(), (**item).clone());
                let Some(wanted) = self.coerce(index, &key)? else {
                    return Err(Error::statement(format!("a key of this MAP must be {key}")));
                };
                Ok(Bound::new(Program::Entry { map: Box::new(value.program), key: Box::new(wanted) }, item))
            }
            ty => {
                let named = ty.as_ref().map_or("null".to_owned(), SqlType::to_string);
                let (value, index) = (&value.program, &index.program);
                let dereference = match ty {
                    Some(SqlType::Struct(_)) => {
                        format!(" Use the dereference operator for STRUCTS: {value}->{index}")
                    }
                    _ => String::new(),
                };
                Err(Error::statement(format!(
                    "Subscript expression ({value}[{index}]) do not apply to {named}.{dereference}"
                )))
            }
        }
    }

    /// `struct->field`, and what follows the field in sqlparser's tree.
    fn arrow(&mut self, value: Bound, right: &Expr) -> Result<Bound> {
        match right {
            Expr::Identifier(name) => field(value, &name.value),
            Expr::Value(v) => match &v.value {
                Value::SingleQuotedString(name) => field(value, name),
                other => Err(Error::statement(format!("-> needs the name of a field, not {other}"))),
            },
            Expr::Nested(inner) => self.arrow(value, inner),
            Expr::CompoundIdentifier(names) => names.iter().try_fold(value, |value, name| field(value, &name.value)),
            Expr::CompoundFieldAccess { root, access_chain } => {
                let value = self.arrow(value, root)?;
                access_chain.iter().try_fold(value, |value, access| self.access(value, access))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Arrow, right } => {
                let value = self.arrow(value, left)?;
                self.arrow(value, right)
            }
            other => Err(Error::statement(format!("-> needs the name of a field, not {other}"))),
        }
    }
}

/// A literal that is no value of the type; ksqlDB leaves out a DECIMAL's digits here.
fn invalid_text(to: &SqlType, value: &ScalarValue) -> Error {
    let to = if let SqlType::Decimal(..) = to { "DECIMAL".to_string() } else { to.to_string() };
    Error::statement(format!("invalid input syntax for type {to}: \"{value}\"."))
}

fn field(value: Bound, name: &str) -> Result<Bound> {
    let Some(SqlType::Struct(fields)) = &value.ty else {
        let ty = value.ty.as_ref().map_or("null".to_string(), SqlType::to_string);
        return Err(Error::statement(format!("Expected STRUCT type, got: {ty}"))
            .with_detail(format!("{}->{name} takes a field of it", value.program)));
    };
    let Some(index) = fields.iter().position(|(n, _)| n == name) else {
        let known: Vec<_> = fields.iter().map(|(n, _)| n.as_str()).collect();
        return Err(Error::statement(format!("Could not find field '{name}' in '{}'.", value.program))
            .with_detail(format!("its fields are {}", known.join(", "))));
    };
    let ty = fields[index].1.clone();
    Ok(Bound::new(Program::Field { value: Box::new(value.program), index, name: name.to_string() }, ty))
}

/// A widening that cannot fail; constants are widened now.
fn widen(program: Program, from: SqlType, to: &SqlType) -> Program {
    if from == *to {
        return program;
    }
    if let Program::Literal(value) = &program
        && let Ok(Some(value)) = literal::convert(value, &from, to)
    {
        return Program::Literal(value);
    }
    Program::Cast { value: Box::new(program), from, to: to.clone() }
}
