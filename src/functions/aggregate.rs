//! Aggregate functions: names and argument types in, one closed [`Aggregate`] out. What each does to its state stands in
//! [`super::accumulate`].
//!
//! ksqlDB's quirks are kept on purpose: SUM starts at 0 and wraps around for INTEGER and BIGINT, and keeps its argument's
//! type; AVG of nothing is 0.0 and AVG of INTEGER adds up in 32 bits; MIN and MAX of nothing are NULL; NULL arguments are
//! skipped.

use crate::error::{Error, Result};
use crate::types::SqlType;

/// An aggregate with its argument types resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// COUNT(*)
    CountRows,
    /// COUNT(x): rows in which `x` is not NULL.
    Count,
    /// SUM of INTEGER, wraps around in 32 bits.
    SumInteger,
    /// SUM of BIGINT, wraps around in 64 bits.
    SumBigint,
    /// SUM of DOUBLE.
    SumDouble,
    /// SUM of DECIMAL(precision, scale); a result that needs more digits is an error of the row.
    SumDecimal(u8, i8),
    /// AVG of INTEGER.
    AvgInteger,
    /// AVG of BIGINT.
    AvgBigint,
    /// AVG of DOUBLE.
    AvgDouble,
    /// MIN.
    Min(Comparable),
    /// MAX.
    Max(Comparable),
}

/// Types whose values MIN and MAX compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparable {
    /// INTEGER.
    Integer,
    /// BIGINT.
    Bigint,
    /// DOUBLE, in Java's order: NaN is the highest, -0.0 is below 0.0.
    Double,
    /// DECIMAL(precision, scale).
    Decimal(u8, i8),
    /// DATE.
    Date,
    /// TIME.
    Time,
    /// TIMESTAMP.
    Timestamp,
}

/// The widest DECIMAL that state words hold: Arrow's 128-bit decimals.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// All names that mean an aggregate, also those that cannot run yet: a scalar function never has one of them.
const NAMES: [&str; 18] = [
    "ATTR",
    "AVG",
    "COLLECT_LIST",
    "COLLECT_SET",
    "CORRELATION",
    "COUNT",
    "COUNT_DISTINCT",
    "EARLIEST_BY_OFFSET",
    "HISTOGRAM",
    "LATEST_BY_OFFSET",
    "MAX",
    "MIN",
    "STDDEV_SAMP",
    "STDDEV_SAMPLE",
    "SUM",
    "SUM_LIST",
    "TOPK",
    "TOPKDISTINCT",
];

/// Those of them that can take a value back.
const UNDO: [&str; 10] = [
    "ATTR",
    "AVG",
    "COLLECT_LIST",
    "CORRELATION",
    "COUNT",
    "HISTOGRAM",
    "STDDEV_SAMP",
    "STDDEV_SAMPLE",
    "SUM",
    "SUM_LIST",
];

/// The aggregates that can be used.
pub const SUPPORTED: [&str; 5] = ["AVG", "COUNT", "MAX", "MIN", "SUM"];

/// Is `name` (in any case) an aggregate function?
pub fn is_aggregate_name(name: &str) -> bool {
    NAMES.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// Can the aggregate with this name take a value back? GROUP BY over a table asks for it.
pub fn has_undo(name: &str) -> bool {
    UNDO.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// The aggregate that `name` means for these argument types; `None` if `name` is no aggregate. `COUNT(*)` has no argument.
pub fn resolve(name: &str, arguments: &[SqlType]) -> Result<Option<Aggregate>> {
    let name = name.to_ascii_uppercase();
    if !is_aggregate_name(&name) {
        return Ok(None);
    }
    let aggregate = match (name.as_str(), arguments) {
        ("COUNT", []) => Aggregate::CountRows,
        ("COUNT", [_]) => Aggregate::Count,
        ("SUM", [SqlType::Integer]) => Aggregate::SumInteger,
        ("SUM", [SqlType::Bigint]) => Aggregate::SumBigint,
        ("SUM", [SqlType::Double]) => Aggregate::SumDouble,
        ("SUM", [SqlType::Decimal(p, s)]) if *p <= DECIMAL_PRECISION_MAX => Aggregate::SumDecimal(*p, *s),
        ("AVG", [SqlType::Integer]) => Aggregate::AvgInteger,
        ("AVG", [SqlType::Bigint]) => Aggregate::AvgBigint,
        ("AVG", [SqlType::Double]) => Aggregate::AvgDouble,
        ("MIN" | "MAX", [ty]) => match (comparable(ty)?, name.as_str()) {
            (Some(ty), "MIN") => Aggregate::Min(ty),
            (Some(ty), _) => Aggregate::Max(ty),
            (None, _) => return Err(rejected(&name, arguments)),
        },
        ("SUM", [SqlType::Decimal(..)]) => return Err(too_wide(&name)),
        ("COUNT" | "SUM" | "AVG" | "MIN" | "MAX", _) => return Err(rejected(&name, arguments)),
        _ => return Err(Error::statement(format!("aggregate function {name} is not supported yet"))),
    };
    Ok(Some(aggregate))
}

fn comparable(ty: &SqlType) -> Result<Option<Comparable>> {
    Ok(Some(match ty {
        SqlType::Integer => Comparable::Integer,
        SqlType::Bigint => Comparable::Bigint,
        SqlType::Double => Comparable::Double,
        SqlType::Decimal(p, s) if *p <= DECIMAL_PRECISION_MAX => Comparable::Decimal(*p, *s),
        SqlType::Decimal(..) => return Err(too_wide("MIN and MAX")),
        SqlType::Date => Comparable::Date,
        SqlType::Time => Comparable::Time,
        SqlType::Timestamp => Comparable::Timestamp,
        SqlType::String | SqlType::Bytes => {
            return Err(Error::statement(format!("MIN and MAX of {ty} are not supported yet")));
        }
        _ => return Ok(None),
    }))
}

fn rejected(name: &str, arguments: &[SqlType]) -> Error {
    let types: Vec<String> = arguments.iter().map(SqlType::to_string).collect();
    Error::statement(format!("Function '{name}' does not accept parameters ({}).", types.join(", ")))
}

fn too_wide(what: &str) -> Error {
    Error::statement(format!("{what} of a DECIMAL with more than {DECIMAL_PRECISION_MAX} digits is not supported yet"))
}

impl Aggregate {
    /// The type of its result.
    pub fn output(&self) -> SqlType {
        match self {
            Aggregate::CountRows | Aggregate::Count | Aggregate::SumBigint => SqlType::Bigint,
            Aggregate::SumInteger => SqlType::Integer,
            Aggregate::SumDouble | Aggregate::AvgInteger | Aggregate::AvgBigint | Aggregate::AvgDouble => {
                SqlType::Double
            }
            Aggregate::SumDecimal(p, s) => SqlType::Decimal(*p, *s),
            Aggregate::Min(ty) | Aggregate::Max(ty) => match ty {
                Comparable::Integer => SqlType::Integer,
                Comparable::Bigint => SqlType::Bigint,
                Comparable::Double => SqlType::Double,
                Comparable::Decimal(p, s) => SqlType::Decimal(*p, *s),
                Comparable::Date => SqlType::Date,
                Comparable::Time => SqlType::Time,
                Comparable::Timestamp => SqlType::Timestamp,
            },
        }
    }

    /// How many arguments it reads.
    pub fn arity(&self) -> usize {
        usize::from(!matches!(self, Aggregate::CountRows))
    }
}
