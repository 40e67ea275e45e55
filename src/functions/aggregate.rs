//! Aggregate functions: names and argument types in, one closed [`Aggregate`] out. What each does to its state is in
//! [`super::accumulate`].
//!
//! ksqlDB's quirks are kept on purpose: SUM starts at 0 and wraps around for INTEGER and BIGINT, and keeps its argument's
//! type (but for DECIMAL, whose precision becomes the largest, because few sums fit that of their parts); AVG of nothing is 0.0 and AVG of INTEGER adds up in 32 bits; MIN and MAX of nothing are NULL; NULL arguments are
//! skipped.

use crate::error::{Error, Result};
use crate::types::SqlType;

/// An aggregate with its argument types resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// SUM of DECIMAL, as DECIMAL(precision, scale); a result that needs more digits stops the query.
    SumDecimal(u8, i8),
    /// SUM_LIST: the sum of all items of ARRAYs.
    SumList(Number),
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
    /// STDDEV_SAMPLE, and STDDEV_SAMP, which is the variance.
    Deviation {
        /// Of what.
        of: Number,
        /// The root of the variance.
        root: bool,
    },
    /// CORRELATION of two numbers.
    Correlation,
    /// COLLECT_LIST: all values, NULLs too.
    CollectList {
        /// Type of the values.
        item: SqlType,
        /// More are not taken.
        limit: usize,
    },
    /// COLLECT_SET: distinct values in order of their first sight, NULL too.
    CollectSet {
        /// Type of the values.
        item: SqlType,
        /// More are not taken.
        limit: usize,
    },
    /// EARLIEST_BY_OFFSET and LATEST_BY_OFFSET.
    Offset {
        /// Type of the value.
        item: SqlType,
        /// LATEST.
        latest: bool,
        /// NULLs do not count as values.
        ignore_nulls: bool,
        /// A list of so many values, in place of one value.
        count: Option<usize>,
    },
    /// TOPK and TOPKDISTINCT.
    Top {
        /// Type of the column that is ranked.
        ranked: SqlType,
        /// Type of what is listed: that column's, or a struct of it and others.
        item: SqlType,
        /// Number of columns.
        columns: usize,
        /// Length of the list.
        k: usize,
        /// Equal values once.
        distinct: bool,
    },
    /// HISTOGRAM of STRING.
    Histogram,
    /// ATTR: the one value that all rows have.
    Attr(SqlType),
    /// COUNT_DISTINCT, an estimate.
    CountDistinct(SqlType),
}

/// Types of numbers that sums are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// INTEGER.
    Integer,
    /// BIGINT.
    Bigint,
    /// DOUBLE.
    Double,
}

/// An argument of a call: its type, and its value if it is a literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Type.
    pub ty: SqlType,
    /// The literal, if it is one.
    pub literal: Option<Literal>,
}

/// A literal that aggregates take as a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// A whole number.
    Integer(i64),
    /// TRUE or FALSE.
    Boolean(bool),
}

/// Session properties that aggregates obey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `ksql.functions.collect_list.limit`
    pub collect_list: usize,
    /// `ksql.functions.collect_set.limit`
    pub collect_set: usize,
    /// SUM of DECIMAL has its argument's precision, as in ksqlDB, and not the largest.
    pub narrow_sums: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { collect_list: usize::MAX, collect_set: usize::MAX, narrow_sums: false }
    }
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
    /// STRING, by UTF-16 unit.
    String,
    /// BYTES, as signed numbers.
    Bytes,
}

/// The widest DECIMAL that state words hold: Arrow's 128-bit decimals.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// All names that mean an aggregate.
pub const NAMES: [&str; 18] = [
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

/// Can the aggregate with this name take a value back? GROUP BY over a table asks for it.
pub fn has_undo(name: &str) -> bool {
    UNDO.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// Is `name` (in any case) an aggregate function?
pub fn is_aggregate_name(name: &str) -> bool {
    NAMES.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// The aggregate that `name` means for these arguments; `None` if `name` is no aggregate. `COUNT(*)` has no argument.
pub fn resolve(name: &str, arguments: &[Argument], limits: Limits) -> Result<Option<Aggregate>> {
    let name = name.to_ascii_uppercase();
    if !is_aggregate_name(&name) {
        return Ok(None);
    }
    let types: Vec<&SqlType> = arguments.iter().map(|a| &a.ty).collect();
    let literals: Vec<Option<Literal>> = arguments.iter().map(|a| a.literal).collect();
    let found = match (name.as_str(), &types[..]) {
        ("EARLIEST_BY_OFFSET" | "LATEST_BY_OFFSET", [item, ..]) => {
            by_offset(item, name.starts_with("LATEST"), &literals[1..])?
        }
        ("TOPK" | "TOPKDISTINCT", [_, .., SqlType::Integer]) => top(&types, &literals, name == "TOPKDISTINCT")?,
        _ => simple(&name, &types, limits)?,
    };
    found.map(Some).ok_or_else(|| {
        let types: Vec<String> = arguments.iter().map(|a| a.ty.to_string()).collect();
        Error::statement(format!("Function '{name}' does not accept parameters ({}).", types.join(", ")))
    })
}

/// Aggregates whose arguments are all columns; `None` = not of these types.
fn simple(name: &str, types: &[&SqlType], limits: Limits) -> Result<Option<Aggregate>> {
    Ok(Some(match (name, types) {
        ("COUNT", []) => Aggregate::CountRows,
        ("COUNT", [_]) => Aggregate::Count,
        ("SUM", [SqlType::Integer]) => Aggregate::SumInteger,
        ("SUM", [SqlType::Bigint]) => Aggregate::SumBigint,
        ("SUM", [SqlType::Double]) => Aggregate::SumDouble,
        ("SUM", [SqlType::Decimal(p, s)]) if *p <= DECIMAL_PRECISION_MAX => {
            Aggregate::SumDecimal(if limits.narrow_sums { *p } else { DECIMAL_PRECISION_MAX }, *s)
        }
        ("SUM", [SqlType::Decimal(..)]) => return Err(too_wide(name)),
        ("SUM_LIST", [SqlType::Array(item)]) => match number(item) {
            Some(number) => Aggregate::SumList(number),
            None => return Ok(None),
        },
        ("AVG", [SqlType::Integer]) => Aggregate::AvgInteger,
        ("AVG", [SqlType::Bigint]) => Aggregate::AvgBigint,
        ("AVG", [SqlType::Double]) => Aggregate::AvgDouble,
        ("MIN" | "MAX", [ty]) => match (comparable(ty)?, name) {
            (Some(ty), "MIN") => Aggregate::Min(ty),
            (Some(ty), _) => Aggregate::Max(ty),
            (None, _) => return Ok(None),
        },
        ("STDDEV_SAMPLE" | "STDDEV_SAMP", [ty]) => match number(ty) {
            Some(of) => Aggregate::Deviation { of, root: name == "STDDEV_SAMPLE" },
            None => return Ok(None),
        },
        ("CORRELATION", [x, y]) if number(x).is_some() && x == y => Aggregate::Correlation,
        ("COLLECT_LIST", [item]) => Aggregate::CollectList { item: (*item).clone(), limit: limits.collect_list },
        ("COLLECT_SET", [item]) => Aggregate::CollectSet { item: (*item).clone(), limit: limits.collect_set },
        ("HISTOGRAM", [SqlType::String]) => Aggregate::Histogram,
        ("ATTR", [ty]) => Aggregate::Attr((*ty).clone()),
        ("COUNT_DISTINCT", [ty]) => Aggregate::CountDistinct((*ty).clone()),
        _ => return Ok(None),
    }))
}

fn by_offset(item: &SqlType, latest: bool, parameters: &[Option<Literal>]) -> Result<Option<Aggregate>> {
    let (count, ignore_nulls) = match parameters {
        [] => (None, true),
        [Some(Literal::Boolean(ignore))] => (None, *ignore),
        [Some(Literal::Integer(n))] => (Some(*n), true),
        [Some(Literal::Integer(n)), Some(Literal::Boolean(ignore))] => (Some(*n), *ignore),
        _ => return Ok(None),
    };
    let count = match count {
        Some(n) if n <= 0 => {
            let function = if latest { "LATEST_BY_OFFSET" } else { "EARLIEST_BY_OFFSET" };
            return Err(Error::statement(format!("{function} must have a positive number of values to keep, not {n}")));
        }
        Some(n) => Some(usize::try_from(n).unwrap_or(usize::MAX)),
        None => None,
    };
    Ok(Some(Aggregate::Offset { item: item.clone(), latest, ignore_nulls, count }))
}

fn top(types: &[&SqlType], literals: &[Option<Literal>], distinct: bool) -> Result<Option<Aggregate>> {
    let (Some(Some(Literal::Integer(k))), [ranked, others @ .., _]) = (literals.last(), types) else {
        return Ok(None);
    };
    let legal = match ranked {
        SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::String => true,
        SqlType::Decimal(..) | SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Bytes => distinct,
        _ => false,
    };
    if !legal || (distinct && !others.is_empty()) {
        return Ok(None);
    }
    let Some(k) = usize::try_from(*k).ok().filter(|k| *k > 0) else {
        return Err(Error::statement(format!("the length of a ranking must be positive, not {k}")));
    };
    let item = match others {
        [] => (*ranked).clone(),
        others => {
            let mut fields = vec![("sort_col".to_owned(), (*ranked).clone())];
            fields.extend(others.iter().enumerate().map(|(i, ty)| (format!("col{i}"), (*ty).clone())));
            SqlType::Struct(fields)
        }
    };
    Ok(Some(Aggregate::Top { ranked: (*ranked).clone(), item, columns: types.len() - 1, k, distinct }))
}

fn number(ty: &SqlType) -> Option<Number> {
    match ty {
        SqlType::Integer => Some(Number::Integer),
        SqlType::Bigint => Some(Number::Bigint),
        SqlType::Double => Some(Number::Double),
        _ => None,
    }
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
        SqlType::String => Comparable::String,
        SqlType::Bytes => Comparable::Bytes,
        _ => return Ok(None),
    }))
}

fn too_wide(what: &str) -> Error {
    Error::statement(format!("{what} of a DECIMAL with more than {DECIMAL_PRECISION_MAX} digits is not supported yet"))
}

impl Number {
    fn sql_type(self) -> SqlType {
        match self {
            Number::Integer => SqlType::Integer,
            Number::Bigint => SqlType::Bigint,
            Number::Double => SqlType::Double,
        }
    }
}

impl Comparable {
    fn sql_type(self) -> SqlType {
        match self {
            Comparable::Integer => SqlType::Integer,
            Comparable::Bigint => SqlType::Bigint,
            Comparable::Double => SqlType::Double,
            Comparable::Decimal(p, s) => SqlType::Decimal(p, s),
            Comparable::Date => SqlType::Date,
            Comparable::Time => SqlType::Time,
            Comparable::Timestamp => SqlType::Timestamp,
            Comparable::String => SqlType::String,
            Comparable::Bytes => SqlType::Bytes,
        }
    }
}

impl Aggregate {
    /// The type of its result.
    pub fn output(&self) -> SqlType {
        let list = |item: &SqlType| SqlType::Array(Box::new(item.clone()));
        match self {
            Aggregate::CountRows | Aggregate::Count | Aggregate::SumBigint | Aggregate::CountDistinct(_) => {
                SqlType::Bigint
            }
            Aggregate::SumInteger => SqlType::Integer,
            Aggregate::SumDouble
            | Aggregate::AvgInteger
            | Aggregate::AvgBigint
            | Aggregate::AvgDouble
            | Aggregate::Deviation { .. }
            | Aggregate::Correlation => SqlType::Double,
            Aggregate::SumDecimal(p, s) => SqlType::Decimal(*p, *s),
            Aggregate::SumList(number) => number.sql_type(),
            Aggregate::Min(ty) | Aggregate::Max(ty) => ty.sql_type(),
            Aggregate::CollectList { item, .. }
            | Aggregate::CollectSet { item, .. }
            | Aggregate::Top { item, .. }
            | Aggregate::Offset { item, count: Some(_), .. } => list(item),
            Aggregate::Offset { item, .. } | Aggregate::Attr(item) => item.clone(),
            Aggregate::Histogram => SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Bigint)),
        }
    }

    /// How many columns it reads: its first arguments. Those behind them are literals.
    pub fn arity(&self) -> usize {
        match self {
            Aggregate::CountRows => 0,
            Aggregate::Correlation => 2,
            Aggregate::Top { columns, .. } => *columns,
            _ => 1,
        }
    }

    /// Can it take back a value that it has taken? Only these stand over a table, whose rows change.
    pub fn undoable(&self) -> bool {
        !matches!(
            self,
            Aggregate::Min(_)
                | Aggregate::Max(_)
                | Aggregate::CollectSet { .. }
                | Aggregate::Offset { .. }
                | Aggregate::Top { .. }
                | Aggregate::CountDistinct(_)
        )
    }

    /// Is it the same in whatever order its values come and go in parts, exactly? Then hopping windows share what they have
    /// in common.
    pub fn leaves(&self) -> bool {
        match self {
            Aggregate::CountRows
            | Aggregate::Count
            | Aggregate::SumInteger
            | Aggregate::SumBigint
            | Aggregate::AvgInteger
            | Aggregate::AvgBigint => true,
            Aggregate::Min(_) | Aggregate::Max(_) => !self.is_kept_in_heap(),
            _ => false,
        }
    }

    /// Does ksqlDB keep a list, map or struct for it? Then it refuses it where the format of values has no such types.
    pub fn has_nested_state(&self) -> bool {
        !matches!(
            self,
            Aggregate::CountRows
                | Aggregate::Count
                | Aggregate::SumInteger
                | Aggregate::SumBigint
                | Aggregate::SumDouble
                | Aggregate::SumDecimal(..)
                | Aggregate::SumList(_)
                | Aggregate::Min(_)
                | Aggregate::Max(_)
        )
    }

    /// Type of the values that its state keeps as bytes, other than STRING and BYTES as they are.
    pub(super) fn kept(&self) -> Option<&SqlType> {
        match self {
            Aggregate::CollectList { item, .. }
            | Aggregate::CollectSet { item, .. }
            | Aggregate::Offset { item, .. }
            | Aggregate::Top { item, .. }
            | Aggregate::Attr(item)
            | Aggregate::CountDistinct(item) => Some(item),
            _ => None,
        }
    }

    /// Type of the values that it ranks.
    pub(super) fn ranked(&self) -> Option<&SqlType> {
        match self {
            Aggregate::Top { ranked, .. } => Some(ranked),
            _ => None,
        }
    }

    /// Its first word is a handle of bytes.
    pub(super) fn is_kept_in_heap(&self) -> bool {
        let text = |ty: &Comparable| matches!(ty, Comparable::String | Comparable::Bytes);
        match self {
            Aggregate::Min(ty) | Aggregate::Max(ty) => text(ty),
            Aggregate::Histogram => true,
            other => other.kept().is_some(),
        }
    }
}
