//! Functions: name -> signatures -> implementation and documentation.
//!
//! The registry is a static table in groups; `resolve` finds the overload for given argument types, ksqlDB's way: an exact
//! match first, else the one with the cheapest widening of numbers. An implementation gets whole columns; a row that it
//! refuses goes into the [`ErrorSink`] and never stops the others.

pub mod accumulate;
pub mod aggregate;
mod array;
pub mod bounded;
mod bytes;
mod conditional;
mod equality;
mod json;
mod json_merge;
mod json_write;
mod kernel;
mod map;
mod mask;
mod math;
pub(crate) mod months;
mod regex;
mod resolve;
mod rounding;
mod sets;
mod string;
mod table;
mod time;
mod time_text;
mod url;
mod utf16;
mod volatile;

pub use equality::equal;
pub use time::UNITS;

use crate::error::Result;
use crate::types::SqlType;
use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use datafusion::common::ScalarValue;
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

/// The arguments of a call that are constants.
#[derive(Debug)]
pub struct Constants<'a>(pub &'a [Option<&'a ScalarValue>]);

impl<'a> Constants<'a> {
    /// The STRING of this argument, if it is a constant.
    pub fn text(&self, index: usize) -> Option<&'a str> {
        match self.0.get(index) {
            Some(Some(ScalarValue::Utf8(Some(text)))) => Some(text),
            _ => None,
        }
    }
}

/// What is wrong with the constant arguments of a call.
pub type Check = fn(&Constants<'_>) -> std::result::Result<(), String>;

/// Why the arguments of a row, all of them, have no result; `None` = nothing more is known.
pub type Cause = fn(&Constants<'_>) -> Option<String>;

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
    /// The MAP type that all such parameters share.
    Map,
    /// ARRAY<STRING>.
    Strings,
    /// A value of any type, whatever the others have.
    Anything,
    /// A unit of time: DAYS, HOURS, ...
    Unit,
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

/// What a function's result depends on beside its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// Nothing: equal arguments give equal results, at any time.
    Immutable,
    /// The moment at which a batch is evaluated: one value for all its rows.
    Stable,
    /// Chance: another value for each row.
    Volatile,
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
    /// What else the result depends on.
    pub volatility: Volatility,
    /// What is wrong with constant arguments, so that no row ever has a result.
    pub check: Option<Check>,
    /// Why the arguments of a row have no result.
    pub cause: Option<Cause>,
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
    /// Expressions and what they yield, as text.
    pub examples: &'static [(&'static str, &'static str)],
    /// Signatures.
    pub overloads: &'static [Overload],
}

/// An entry of the registry, from its name to its code, in the order in which one would tell it.
macro_rules! entry {
    ($name:literal, $category:expr, $description:literal, [$($example:literal => $result:literal),* $(,)?],
     [$($overload:expr),* $(,)?]) => {
        $crate::functions::Entry {
            name: $name,
            category: $category,
            description: $description,
            examples: &[$(($example, $result)),*],
            overloads: &[$($overload),*],
        }
    };
}
use entry;

impl Overload {
    /// A signature that takes exactly these, and has a result for whatever it gets.
    const fn new(params: &'static [Param], returns: Returns, implementation: Implementation) -> Overload {
        Overload {
            params,
            variadic: false,
            returns,
            can_fail: false,
            volatility: Volatility::Immutable,
            check: None,
            cause: None,
            implementation,
        }
    }

    /// A signature that refuses some arguments.
    const fn fallible(params: &'static [Param], returns: Returns, implementation: Implementation) -> Overload {
        Overload {
            params,
            variadic: false,
            returns,
            can_fail: true,
            volatility: Volatility::Immutable,
            check: None,
            cause: None,
            implementation,
        }
    }

    /// A signature without parameters whose result is another at another time or in another row.
    const fn ambient(volatility: Volatility, returns: Returns, implementation: Implementation) -> Overload {
        // What may be another at a second evaluation must not be evaluated twice: it counts as one that can fail.
        Overload {
            params: &[],
            variadic: false,
            returns,
            can_fail: true,
            volatility,
            check: None,
            cause: None,
            implementation,
        }
    }

    /// The same, with a look at its constant arguments.
    const fn checked(mut self, check: Check) -> Overload {
        self.check = Some(check);
        self
    }

    /// The same, and it can say why a row fails.
    const fn explained(mut self, cause: Cause) -> Overload {
        self.cause = Some(cause);
        self
    }

    /// A signature whose last parameter may stand any number of times.
    const fn variadic(params: &'static [Param], returns: Returns, implementation: Implementation) -> Overload {
        Overload {
            params,
            variadic: true,
            returns,
            can_fail: false,
            volatility: Volatility::Immutable,
            check: None,
            cause: None,
            implementation,
        }
    }
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

    /// Every row is another, although the arguments are constants.
    pub fn is_volatile(&self) -> bool {
        self.entry.overloads[self.overload].volatility == Volatility::Volatile
    }

    /// The same arguments may give another result the next time.
    pub fn is_repeatable(&self) -> bool {
        self.entry.overloads[self.overload].volatility == Volatility::Immutable
    }

    /// What is wrong with its constant arguments.
    pub fn check(&self, constants: &Constants<'_>) -> std::result::Result<(), String> {
        match self.entry.overloads[self.overload].check {
            Some(check) => check(constants),
            None => Ok(()),
        }
    }

    /// Why it fails on these arguments, where it can say so.
    pub fn cause(&self, args: &[ScalarValue]) -> Option<String> {
        let given: Vec<_> = args.iter().map(Some).collect();
        let given = Constants(&given);
        self.check(&given).err().or_else(|| self.entry.overloads[self.overload].cause?(&given))
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
        [
            string::ENTRIES,
            mask::ENTRIES,
            bytes::ENTRIES,
            regex::ENTRIES,
            math::ENTRIES,
            rounding::ENTRIES,
            conditional::ENTRIES,
            array::ENTRIES,
            sets::ENTRIES,
            map::ENTRIES,
            time::ENTRIES,
            time_text::ENTRIES,
            json::ENTRIES,
            json_write::ENTRIES,
            json_merge::ENTRIES,
            url::ENTRIES,
            volatile::ENTRIES,
        ]
        .into_iter()
        .flatten()
    }

    /// Every function that makes several rows of one.
    pub fn tables() -> impl Iterator<Item = &'static Entry> {
        table::ENTRIES.iter()
    }

    /// The table function of this upper-case name.
    pub fn table(name: &str) -> Option<&'static Entry> {
        table::ENTRIES.iter().find(|entry| entry.name == name)
    }

    /// The function of this upper-case name.
    pub fn find(name: &str) -> Option<&'static Entry> {
        Registry::all().find(|entry| entry.name == name)
    }
}
