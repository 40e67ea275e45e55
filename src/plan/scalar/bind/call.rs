//! Function calls, and the constructors that look like calls.

use super::{Binder, Bound, literal};
use crate::error::{Error, Result};
use crate::functions::bounded::named;
use crate::functions::{Constants, Entry, Registry, UNITS, aggregate};
use crate::plan::scalar::Higher;
use crate::plan::scalar::Program;
use crate::types::SqlType;
use crate::types::nearest;
use datafusion::common::ScalarValue;
use sqlparser::ast::{
    BinaryOperator, CeilFloorKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    TrimWhereField,
};

impl Binder<'_> {
    /// Everything that sqlparser keeps apart from plain calls, but that is one here.
    pub(super) fn function(&mut self, expr: &Expr) -> Result<Bound> {
        match expr {
            Expr::Function(function) => self.call(function),
            Expr::Ceil { expr, field } => self.rounded("CEIL", expr, field),
            Expr::Floor { expr, field } => self.rounded("FLOOR", expr, field),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                let args = [Some(expr), substring_from.as_ref(), substring_for.as_ref()];
                let args: Vec<&Expr> = args.into_iter().flatten().map(|e| &**e).collect();
                self.named("SUBSTRING", &args)
            }
            Expr::Trim {
                expr,
                trim_where: None | Some(TrimWhereField::Both),
                trim_what: None,
                trim_characters: None,
            } => self.named("TRIM", &[expr]),
            Expr::Struct { values, .. } => {
                let mut fields = vec![];
                for value in values {
                    match value {
                        Expr::Named { expr, name } => fields.push((name.value.clone(), &**expr)),
                        other => return Err(Error::statement(format!("a field of STRUCT has no name: {other}"))),
                    }
                }
                self.structure(&fields)
            }
            Expr::Dictionary(fields) => {
                let fields: Vec<_> = fields.iter().map(|f| (f.key.value.clone(), &*f.value)).collect();
                self.structure(&fields)
            }
            other => self.extension(other),
        }
    }

    fn rounded(&mut self, name: &str, expr: &Expr, field: &CeilFloorKind) -> Result<Bound> {
        match field {
            CeilFloorKind::DateTimeField(sqlparser::ast::DateTimeField::NoDateTime) => self.named(name, &[expr]),
            _ => Err(Error::statement(format!("{name} takes one argument"))),
        }
    }

    fn call(&mut self, function: &Function) -> Result<Bound> {
        let name = function.name.to_string().to_uppercase();
        if function.over.is_some() {
            return Err(Error::statement(format!("{name} with OVER is not allowed here"))
                .with_hint("window functions are allowed in SELECT, QUALIFY and ORDER BY of a query without EMIT"));
        }
        let listed = matches!(&function.args, FunctionArguments::List(list)
            if list.duplicate_treatment.is_some() || !list.clauses.is_empty());
        if listed || function.filter.is_some() || !function.within_group.is_empty() || function.null_treatment.is_some()
        {
            return Err(Error::statement(format!(
                "{name} is no aggregate here: it takes no DISTINCT, ORDER BY, FILTER, WITHIN GROUP or IGNORE NULLS"
            )));
        }
        let args = match &function.args {
            FunctionArguments::None => &[][..],
            FunctionArguments::List(list) => list.args.as_slice(),
            FunctionArguments::Subquery(_) => return Err(Error::statement("a subquery is not allowed as an argument")),
        };
        if name == "STRUCT" {
            let fields = args.iter().map(named_argument).collect::<Result<Vec<_>>>()?;
            let name = |key: &Key| match key {
                Key::Name(ident) => Ok(ident.value.clone()),
                Key::Expr(Expr::Identifier(ident)) => Ok(ident.value.clone()),
                Key::Expr(other) => Err(Error::statement(format!("{other} is not a field name"))),
            };
            let fields = fields.iter().map(|(k, v)| Ok((name(k)?, *v))).collect::<Result<Vec<_>>>()?;
            return self.structure(&fields);
        }
        if name == "MAP" {
            let entries = args.iter().map(named_argument).collect::<Result<Vec<_>>>()?;
            let keys: Vec<Expr> = entries
                .iter()
                .map(|(key, _)| match key {
                    Key::Name(ident) => Expr::Identifier((*ident).clone()),
                    Key::Expr(expr) => (*expr).clone(),
                })
                .collect();
            let entries: Vec<_> = keys.iter().zip(entries.iter().map(|(_, value)| *value)).collect();
            return self.map(&entries);
        }
        // `f(*)` is a call without arguments.
        let star = matches!(args, [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        let args = if star { &[] } else { args };
        let args = args.iter().map(plain_argument).collect::<Result<Vec<_>>>()?;
        match Higher::by_name(&name) {
            Some(kind) => self.higher(kind, &args),
            None => self.named(&name, &args),
        }
    }

    fn named(&mut self, name: &str, args: &[&Expr]) -> Result<Bound> {
        if let Some(entry) = Registry::find(name).filter(|e| e.takes_unit()) {
            return self.with_unit(entry, args);
        }
        let args = args.iter().map(|arg| self.argument(arg)).collect::<Result<Vec<_>>>()?;
        self.resolved(name, args)
    }

    /// `DATEADD(DAYS, 1, d)`: the first argument is a word.
    fn with_unit(&mut self, entry: &'static Entry, args: &[&Expr]) -> Result<Bound> {
        let unit = match args.first() {
            Some(Expr::Identifier(name)) => {
                let plural = format!("{}S", name.value.trim_end_matches('S'));
                UNITS.iter().find(|(unit, _)| *unit == plural).map(|(unit, _)| *unit)
            }
            _ => None,
        };
        let rest = if unit.is_some() { &args[1..] } else { args };
        let mut bounds = rest.iter().map(|arg| self.argument(arg)).collect::<Result<Vec<_>>>()?;
        let Some(unit) = unit else {
            return Err(entry.refuse(&bounds.iter().map(|b| b.ty.clone()).collect::<Vec<_>>()));
        };
        let unit = Program::Literal(ScalarValue::Utf8(Some(unit.to_owned())));
        bounds.insert(0, Bound::new(unit, SqlType::String));
        self.resolved(entry.name, bounds)
    }

    /// An argument that is itself a call or a dereference is a boundary.
    pub(super) fn argument(&mut self, expr: &Expr) -> Result<Bound> {
        let bound = self.expr(expr)?;
        Ok(self.guarded_argument(bound))
    }

    pub(super) fn guarded_argument(&mut self, mut bound: Bound) -> Bound {
        let call = matches!(bound.program, Program::Call { .. } | Program::Native { .. } | Program::Lambda { .. });
        if call || matches!(bound.program, Program::Field { .. }) {
            bound.program = self.guard(bound.program);
        }
        bound
    }

    pub(super) fn resolved(&mut self, name: &str, args: Vec<Bound>) -> Result<Bound> {
        let allowed = name.strip_prefix('#').and_then(Registry::table);
        let Some(entry) = allowed.or_else(|| Registry::find(name)) else {
            return match Registry::table(name) {
                Some(_) => Err(Error::statement(format!("Table functions can't be used here: {name}"))
                    .with_hint("table functions are allowed in the SELECT list only")),
                None => self.native(name, args),
            };
        };
        let given: Vec<Option<SqlType>> = args.iter().map(|a| a.ty.clone()).collect();
        refuse_ambiguity(name, &given, entry)?;
        if matches!(name, "GREATEST" | "LEAST") && given.iter().flatten().any(|ty| !has_order(ty)) {
            return Err(entry.refuse(&given));
        }
        let resolved = match entry.resolve(&given) {
            Ok(resolved) => resolved,
            // Literals take the type of the other arguments, as in a list.
            Err(error) => return self.resolved_by_literals(entry, args, error),
        };
        self.called(resolved, args)
    }

    fn called(&mut self, resolved: crate::functions::Resolved, args: Vec<Bound>) -> Result<Bound> {
        let mut programs = vec![];
        for (arg, wanted) in args.into_iter().zip(&resolved.args) {
            let program = match arg.ty {
                // The function's boundary catches what cannot be read.
                Some(SqlType::String) if *wanted != SqlType::String && arg.literal().is_none() => {
                    let value = Box::new(arg.program);
                    Some(Program::Cast { value, from: SqlType::String, to: wanted.clone() })
                }
                _ => self.coerce(arg, wanted)?,
            };
            programs.push(program.ok_or_else(|| Error::bug("an argument cannot take its resolved type"))?);
        }
        let (function, ty) = (resolved.function, resolved.ty);
        let constants: Vec<_> = programs.iter().map(Program::as_literal).collect();
        function.check(&Constants(&constants)).map_err(|reason| {
            Error::statement(format!("{}: {reason}", function.name()))
                .with_hint(format!("DESCRIBE FUNCTION {} shows examples", function.name()))
        })?;
        Ok(Bound::new(Program::Call { function, args: programs, ty: ty.clone() }, ty))
    }

    fn resolved_by_literals(
        &mut self,
        entry: &'static crate::functions::Entry,
        args: Vec<Bound>,
        error: Error,
    ) -> Result<Bound> {
        let extremes = matches!(entry.name, "GREATEST" | "LEAST");
        if !extremes && !matches!(entry.name, "COALESCE" | "IFNULL" | "NULLIF") {
            return Err(error);
        }
        // Text beside times is read as one, but no text becomes a number here.
        let times = |b: &Bound| matches!(b.ty, Some(SqlType::Date | SqlType::Time | SqlType::Timestamp));
        if extremes && !args.iter().any(times) {
            return Err(error);
        }
        let Ok((programs, ty)) = self.common(args) else { return Err(error) };
        let given: Vec<_> = programs.iter().map(|_| Some(ty.clone())).collect();
        let resolved = entry.resolve(&given)?;
        Ok(Bound::new(Program::Call { function: resolved.function, args: programs, ty: ty.clone() }, ty))
    }

    /// DataFusion's function, where ksqlDB has none of that name.
    fn native(&mut self, name: &str, args: Vec<Bound>) -> Result<Bound> {
        let Some(function) = super::native::find(name) else { return Err(unknown(name)) };
        // What DataFusion's planner writes in the place of these calls, which it never makes.
        if function.name() == "nvl" {
            return self.resolved("COALESCE", args);
        }
        if function.name() == "nvl2" {
            return self.second_or_third(args);
        }
        let mut programs = vec![];
        let mut types = vec![];
        for arg in args {
            let ty = arg.ty.unwrap_or(SqlType::String);
            programs.push(if arg.typed { arg.program } else { Program::Literal(literal::null(&ty)?) });
            types.push(ty);
        }
        super::native::call(function, programs, &types)
    }
}

/// One value of this type can be greater than another, as GREATEST and LEAST see it.
fn has_order(ty: &SqlType) -> bool {
    !matches!(ty, SqlType::Boolean | SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_))
}

enum Key<'a> {
    Name(&'a Ident),
    Expr(&'a Expr),
}

/// `name := value`
fn named_argument(arg: &FunctionArg) -> Result<(Key<'_>, &Expr)> {
    let (key, value) = match arg {
        FunctionArg::Named { name, arg, .. } => (Key::Name(name), arg),
        FunctionArg::ExprNamed { name, arg, .. } => (Key::Expr(name), arg),
        // Where the dialect has no named arguments, `:=` is an operator like others.
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::BinaryOp { left, op: BinaryOperator::Assignment, right })) => {
            return Ok((Key::Expr(left), right));
        }
        FunctionArg::Unnamed(_) => {
            return Err(Error::statement(format!("expected name := value, found {arg}")));
        }
    };
    match value {
        FunctionArgExpr::Expr(expr) => Ok((key, expr)),
        _ => Err(Error::statement(format!("expected name := value, found {arg}"))),
    }
}

fn plain_argument(arg: &FunctionArg) -> Result<&Expr> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        other => Err(Error::statement(format!("argument is not supported: {other}"))),
    }
}

/// ksqlDB has one GREATEST for each type and none for a mixture of numbers.
fn refuse_ambiguity(name: &str, given: &[Option<SqlType>], entry: &Entry) -> Result<()> {
    let mut numbers = given.iter().flatten();
    let Some(first) = numbers.next().filter(|ty| ty.is_numeric()) else { return Ok(()) };
    let (numeric, mixed) = numbers.fold((true, false), |(n, m), ty| (n && ty.is_numeric(), m || ty != first));
    if !numeric || !mixed || !matches!(name, "GREATEST" | "LEAST") {
        return Ok(());
    }
    // DOUBLE takes all of them, and DECIMALs widen to one.
    let types: Vec<&SqlType> = given.iter().flatten().collect();
    if types.contains(&&SqlType::Double) || types.iter().all(|ty| matches!(ty, SqlType::Decimal(..))) {
        return Ok(());
    }
    let given: Vec<_> = given.iter().map(|ty| ty.as_ref().map_or("null".to_string(), SqlType::to_string)).collect();
    Err(Error::statement(format!(
        "Function '{}' cannot be resolved due to ambiguous method parameters ({}).\nUse CAST() to explicitly cast your \
         parameters to one of the supported function calls.\nValid function calls are:\n{}",
        name.to_lowercase(),
        given.join(", "),
        entry.alternatives()
    ))
    .with_hint("For detailed information on a function run: DESCRIBE FUNCTION <Function-Name>;"))
}

fn unknown(name: &str) -> Error {
    let error = Error::statement(format!("Can't find any functions with the name '{name}'"));
    if named::window(name).is_some() && named::aggregate(name).is_none() {
        return error.with_hint(format!("{name} is a window function: {name}(...) OVER (ORDER BY ...)"));
    }
    if aggregate::NAMES.contains(&name) || named::aggregate(name).is_some() {
        return error.with_hint(format!("{name} is an aggregate function: use HAVING, which filters after grouping"));
    }
    if matches!(name, "NOW" | "CURRENT_TIMESTAMP" | "GETDATE" | "SYSDATE") {
        return error.with_hint("UNIX_TIMESTAMP() is the time in milliseconds, ROWTIME the time of the row");
    }
    match nearest(name, Registry::all().map(|entry| entry.name).chain(aggregate::NAMES)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("SHOW FUNCTIONS lists them"),
    }
}
