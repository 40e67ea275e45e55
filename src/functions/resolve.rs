//! Which overload a call means: an exact match first, else the one with the cheapest widening of numbers, else one that
//! reads STRINGs as DATE, TIME, TIMESTAMP or BYTES.

use super::{Entry, Function, Overload, Param, Resolved, Returns};
use crate::error::{Error, Result};
use crate::types::SqlType;
use std::fmt;

/// The cost of reading a text: more than that of any widening of numbers.
const READING: u32 = 10;

impl Entry {
    /// The overload for arguments of these types; `None` = an untyped NULL. Only if none takes them as they are, text is
    /// read as what a parameter wants, as ksqlDB does.
    pub fn resolve(&'static self, args: &[Option<SqlType>]) -> Result<Resolved> {
        self.best(args, false).or_else(|| self.best(args, true)).ok_or_else(|| self.refuse(args))
    }

    fn best(&'static self, args: &[Option<SqlType>], reads_text: bool) -> Option<Resolved> {
        let mut best: Option<(u32, usize, Vec<SqlType>)> = None;
        for (index, overload) in self.overloads.iter().enumerate() {
            if let Some((cost, types)) = overload.accept(args, reads_text)
                && best.as_ref().is_none_or(|(least, ..)| cost < *least)
            {
                best = Some((cost, index, types));
            }
        }
        let (_, index, args) = best?;
        let ty = match &self.overloads[index].returns {
            Returns::Type(ty) => ty.clone(),
            Returns::Strings => SqlType::Array(Box::new(SqlType::String)),
            Returns::Same(i) => args[*i].clone(),
            Returns::Of(f) => f(&args),
        };
        Some(Resolved { function: Function { entry: self, overload: index }, args, ty })
    }

    /// The first parameter is a unit of time, which is written as a bare word.
    pub fn takes_unit(&self) -> bool {
        self.overloads.iter().any(|o| o.params.first() == Some(&Param::Unit))
    }

    /// The calls that are possible, one a line.
    pub fn alternatives(&self) -> String {
        let calls: Vec<_> = self.overloads.iter().map(|o| format!("{}({o})", self.name)).collect();
        calls.join("\n")
    }

    /// No overload takes these.
    pub fn refuse(&self, args: &[Option<SqlType>]) -> Error {
        let given: Vec<_> = args.iter().map(|a| a.as_ref().map_or("null".to_string(), SqlType::to_string)).collect();
        Error::statement(format!(
            "Function '{}' does not accept parameters ({}).\nValid alternatives are:\n{}",
            self.name.to_lowercase(),
            given.join(", "),
            self.alternatives()
        ))
        .with_hint("For detailed information on a function run: DESCRIBE FUNCTION <Function-Name>;")
    }
}

impl Overload {
    /// The cost of widening, and the types to widen to.
    fn accept(&self, args: &[Option<SqlType>], reads_text: bool) -> Option<(u32, Vec<SqlType>)> {
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
            let (extra, ty) = param(i).accept(given.as_ref(), &shared, reads_text)?;
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
            (Param::Map, Some(ty @ SqlType::Map(..))) => ty,
            (Param::Map, Some(_)) => return None,
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
    fn accept(&self, given: Option<&SqlType>, shared: &SqlType, reads_text: bool) -> Option<(u32, SqlType)> {
        let wanted = match self {
            Param::Is(ty) => ty.clone(),
            Param::Any => shared.clone(),
            Param::Map => match shared {
                SqlType::Map(..) => shared.clone(),
                _ => SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::String)),
            },
            Param::Strings => SqlType::Array(Box::new(SqlType::String)),
            Param::Anything => given.cloned().unwrap_or(SqlType::String),
            Param::Unit => SqlType::String,
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
            _ if reads_text && *given == SqlType::String && is_read_from_text(&wanted) => Some((READING, wanted)),
            _ => None,
        }
    }
}

/// A STRING is cast to such a parameter without being asked.
fn is_read_from_text(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Bytes)
}

impl fmt::Display for Overload {
    /// Its parameters, as the error about wrong arguments lists them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, param) in self.params.iter().enumerate() {
            write!(f, "{}{param}", if i > 0 { ", " } else { "" })?;
        }
        if self.variadic { f.write_str("...") } else { Ok(()) }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Param::Is(ty) => write!(f, "{ty}"),
            Param::Decimal => f.write_str("DECIMAL"),
            Param::Any => f.write_str("T"),
            Param::ArrayOfAny => f.write_str("ARRAY<T>"),
            Param::Map => f.write_str("MAP<K, V>"),
            Param::Strings => f.write_str("ARRAY<STRING>"),
            Param::Anything => f.write_str("ANY"),
            Param::Unit => f.write_str("INTERVALUNIT"),
        }
    }
}

impl Overload {
    /// The type of the result: as text, because it may depend on the types of the arguments.
    pub fn returned(&self) -> String {
        match &self.returns {
            Returns::Type(ty) => ty.to_string(),
            Returns::Strings => "ARRAY<STRING>".to_owned(),
            Returns::Same(at) => self.params.get(*at).or(self.params.last()).map_or("ANY".to_owned(), Param::to_string),
            Returns::Of(of) => self.computed(*of),
        }
    }

    /// What `of` makes of the parameters where all of them are types; where they are not, it depends on the call.
    fn computed(&self, of: fn(&[SqlType]) -> SqlType) -> String {
        let known = self.params.iter().map(|p| match p {
            Param::Is(ty) => Some(ty.clone()),
            _ => None,
        });
        let known: Option<Vec<SqlType>> = known.collect();
        match known {
            Some(types) => of(&types).to_string(),
            None if self.params.iter().any(|p| matches!(p, Param::Decimal)) => "DECIMAL".to_owned(),
            None => "ANY".to_owned(),
        }
    }
}
