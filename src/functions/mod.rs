//! Functions: name -> signatures -> implementation and documentation.
//!
//! The registry is a static table in groups; `resolve` finds the overload for given argument types, ksqlDB's way: an exact
//! match first, else the one with the cheapest widening of numbers. An implementation gets whole columns; a row that it
//! refuses goes into the [`ErrorSink`] and never stops the others.

pub mod accumulate;
pub mod aggregate;
mod conditional;
mod json;
mod kernel;
mod math;
mod nested;
mod string;
mod time;

use crate::error::{Error, Result};
use crate::types::SqlType;
use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use datafusion::logical_expr::ColumnarValue;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Rows that a function refused.
#[derive(Debug)]
pub struct ErrorSink {
    rows: usize,
    bad: Option<BooleanBufferBuilder>,
}

impl ErrorSink {
    /// No row of `rows` has failed.
    pub fn new(rows: usize) -> ErrorSink {
        ErrorSink { rows, bad: None }
    }

    /// The row's value does not count: it is an error.
    pub fn fail(&mut self, row: usize) {
        let bad = self.bad.get_or_insert_with(|| {
            let mut none = BooleanBufferBuilder::new(self.rows);
            none.append_n(self.rows, false);
            none
        });
        bad.set_bit(row, true);
    }

    /// The rows that failed, if any did.
    pub fn finish(self) -> Option<BooleanBuffer> {
        self.bad.map(|mut bad| bad.finish())
    }
}

/// An implementation: arguments of the signature's types, the number of rows, where to put failed rows.
pub type Implementation = fn(&[ColumnarValue], usize, &mut ErrorSink) -> Result<ColumnarValue>;

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Param {
    /// A value of this type, or one that widens to it.
    Is(SqlType),
    /// DECIMAL of any precision and scale.
    Decimal,
    /// The type that all such parameters share.
    Any,
    /// ARRAY of the type that the `Any` parameters share.
    ArrayOfAny,
}

/// What a function returns.
#[derive(Clone, Debug)]
pub enum Returns {
    /// This type.
    Type(SqlType),
    /// ARRAY<STRING>.
    Strings,
    /// The type of an argument.
    Same(usize),
    /// A type computed from the arguments' types.
    Of(fn(&[SqlType]) -> SqlType),
}

/// One signature with its implementation.
#[derive(Debug)]
pub struct Overload {
    /// Parameters; the last one repeats if the overload is variadic.
    pub params: &'static [Param],
    /// The last parameter may stand any number of times.
    pub variadic: bool,
    /// Result.
    pub returns: Returns,
    /// Some arguments make it fail.
    pub can_fail: bool,
    /// Code.
    pub implementation: Implementation,
}

/// A function: all that SHOW FUNCTIONS and DESCRIBE FUNCTION print, and its code.
#[derive(Debug)]
pub struct Entry {
    /// Name, upper case.
    pub name: &'static str,
    /// `MATHEMATICAL`, `STRING`, ...
    pub category: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Signatures.
    pub overloads: &'static [Overload],
}

/// A function with its signature chosen.
#[derive(Clone, Copy)]
pub struct Function {
    entry: &'static Entry,
    overload: usize,
}

impl Function {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// Some arguments make it fail.
    pub fn can_fail(&self) -> bool {
        self.entry.overloads[self.overload].can_fail
    }

    /// Runs it on `rows` rows.
    pub fn eval(&self, args: &[ColumnarValue], rows: usize, errors: &mut ErrorSink) -> Result<ColumnarValue> {
        (self.entry.overloads[self.overload].implementation)(args, rows, errors)
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.entry.name, self.overload)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.entry.name == other.entry.name && self.overload == other.overload
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.entry.name, self.overload).hash(state);
    }
}

/// A resolved call.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What to run.
    pub function: Function,
    /// The types to which the arguments must be brought.
    pub args: Vec<SqlType>,
    /// Type of the result.
    pub ty: SqlType,
}

/// All scalar functions.
#[derive(Clone, Copy, Debug)]
pub struct Registry;

impl Registry {
    /// Every function, group by group.
    pub fn all() -> impl Iterator<Item = &'static Entry> {
        [string::ENTRIES, math::ENTRIES, conditional::ENTRIES, nested::ENTRIES, time::ENTRIES, json::ENTRIES]
            .into_iter()
            .flatten()
    }

    /// The function of this upper-case name.
    pub fn find(name: &str) -> Option<&'static Entry> {
        Registry::all().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// The overload for arguments of these types; `None` = an untyped NULL.
    pub fn resolve(&'static self, args: &[Option<SqlType>]) -> Result<Resolved> {
        let mut best: Option<(u32, usize, Vec<SqlType>)> = None;
        for (index, overload) in self.overloads.iter().enumerate() {
            if let Some((cost, types)) = overload.accept(args)
                && best.as_ref().is_none_or(|(least, ..)| cost < *least)
            {
                best = Some((cost, index, types));
            }
        }
        let Some((_, index, args)) = best else { return Err(self.refuse(args)) };
        let ty = match &self.overloads[index].returns {
            Returns::Type(ty) => ty.clone(),
            Returns::Strings => SqlType::Array(Box::new(SqlType::String)),
            Returns::Same(i) => args[*i].clone(),
            Returns::Of(f) => f(&args),
        };
        Ok(Resolved { function: Function { entry: self, overload: index }, args, ty })
    }

    fn refuse(&self, args: &[Option<SqlType>]) -> Error {
        let given: Vec<_> = args.iter().map(|a| a.as_ref().map_or("null".to_string(), SqlType::to_string)).collect();
        let valid: Vec<_> = self.overloads.iter().map(|o| format!("{}({o})", self.name)).collect();
        Error::statement(format!(
            "Function '{}' does not accept parameters ({}).\nValid alternatives are:\n{}",
            self.name.to_lowercase(),
            given.join(", "),
            valid.join("\n")
        ))
        .with_hint("For detailed information on a function run: DESCRIBE FUNCTION <Function-Name>;")
    }
}

impl Overload {
    /// The cost of widening, and the types to widen to.
    fn accept(&self, args: &[Option<SqlType>]) -> Option<(u32, Vec<SqlType>)> {
        /// A variadic overload yields to one that names the parameter.
        const VARIADIC: u32 = 50;
        let count = self.params.len();
        let fits = if self.variadic { args.len() >= count } else { args.len() == count };
        if !fits {
            return None;
        }
        let param = |i: usize| &self.params[i.min(count.saturating_sub(1))];
        let shared = shared(args.iter().enumerate().map(|(i, ty)| (param(i), ty.as_ref())))?;
        let mut cost = if self.variadic { VARIADIC } else { 0 };
        let mut types = vec![];
        for (i, given) in args.iter().enumerate() {
            let (extra, ty) = param(i).accept(given.as_ref(), &shared)?;
            cost += extra;
            types.push(ty);
        }
        Some((cost, types))
    }
}

/// The type that the `Any` parameters share: the widest given.
fn shared<'a>(args: impl Iterator<Item = (&'a Param, Option<&'a SqlType>)>) -> Option<SqlType> {
    let mut out: Option<SqlType> = None;
    for (param, given) in args {
        let ty = match (param, given) {
            (Param::Any, Some(ty)) => ty,
            (Param::ArrayOfAny, Some(SqlType::Array(item))) => item,
            (Param::ArrayOfAny, Some(_)) => return None,
            _ => continue,
        };
        out = Some(match out {
            None => ty.clone(),
            Some(known) => known.common(ty)?,
        });
    }
    Some(out.unwrap_or(SqlType::String))
}

impl Param {
    fn accept(&self, given: Option<&SqlType>, shared: &SqlType) -> Option<(u32, SqlType)> {
        let wanted = match self {
            Param::Is(ty) => ty.clone(),
            Param::Any => shared.clone(),
            Param::ArrayOfAny => SqlType::Array(Box::new(shared.clone())),
            Param::Decimal => match given {
                None => return Some((0, SqlType::Decimal(38, 10))),
                Some(ty) => {
                    let (p, s) = ty.exact()?;
                    return Some((if matches!(ty, SqlType::Decimal(..)) { 0 } else { 2 }, SqlType::Decimal(p, s)));
                }
            },
        };
        let Some(given) = given else { return Some((0, wanted)) };
        if *given == wanted {
            return Some((0, wanted));
        }
        let rank = |ty: &SqlType| match ty {
            SqlType::Integer => Some(0u32),
            SqlType::Bigint => Some(1),
            SqlType::Decimal(..) => Some(2),
            SqlType::Double => Some(3),
            _ => None,
        };
        match (rank(given), rank(&wanted)) {
            (Some(from), Some(to)) if from <= to => Some((to - from, wanted)),
            _ if given.common(&wanted).as_ref() == Some(&wanted) => Some((1, wanted)),
            _ => None,
        }
    }
}

impl fmt::Display for Overload {
    /// Its parameters, as the error about wrong arguments lists them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, param) in self.params.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            match param {
                Param::Is(ty) => write!(f, "{ty}")?,
                Param::Decimal => f.write_str("DECIMAL")?,
                Param::Any => f.write_str("T")?,
                Param::ArrayOfAny => f.write_str("ARRAY<T>")?,
            }
        }
        if self.variadic { f.write_str("...") } else { Ok(()) }
    }
}
