//! The tree of a bound expression, and what can be known of it without running it.

use crate::functions::Function;
use crate::types::SqlType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use std::collections::BTreeSet;
use std::sync::Arc;

/// `+ - * / %`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

impl Arithmetic {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Remainder => "%",
        }
    }
}

/// `= <> < <= > >=` and IS [NOT] DISTINCT FROM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS DISTINCT FROM`: NULL is a value like others.
    Distinct,
    /// `IS NOT DISTINCT FROM`
    NotDistinct,
}

impl Comparison {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Distinct => "IS DISTINCT FROM",
            Comparison::NotDistinct => "IS NOT DISTINCT FROM",
        }
    }

    /// Needs an order, not only equality.
    pub fn is_ordering(self) -> bool {
        matches!(self, Comparison::Less | Comparison::LessOrEqual | Comparison::Greater | Comparison::GreaterOrEqual)
    }
}

/// A typed expression over numbered columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// An input column; the name is for people.
    Column {
        /// Which.
        index: usize,
        /// As EXPLAIN calls it.
        name: Arc<str>,
    },
    /// A constant.
    Literal(ScalarValue),
    /// Both sides have the result's type, but DECIMAL arithmetic takes any exact numbers.
    Arithmetic {
        /// Operator.
        op: Arithmetic,
        /// Left operand.
        left: Box<Program>,
        /// Right operand.
        right: Box<Program>,
        /// Type of the result.
        ty: SqlType,
    },
    /// `-x`
    Negate(Box<Program>),
    /// Both sides have one type (or are DECIMAL and DOUBLE); NULL on either side is false.
    Compare {
        /// Operator.
        op: Comparison,
        /// Left operand.
        left: Box<Program>,
        /// Right operand.
        right: Box<Program>,
    },
    /// `value IN (list)`, all of one type; every element is evaluated.
    In {
        /// What is looked for.
        value: Box<Program>,
        /// Where.
        list: Vec<Program>,
    },
    /// `value LIKE pattern ESCAPE c`
    Like {
        /// Text.
        value: Box<Program>,
        /// Pattern.
        pattern: Box<Program>,
        /// The character that takes `%` and `_` their meaning.
        escape: Option<char>,
    },
    /// `x IS NULL`
    IsNull(Box<Program>),
    /// `NOT x`
    Not(Box<Program>),
    /// `x AND y`, lazy.
    And(Box<Program>, Box<Program>),
    /// `x OR y`, lazy.
    Or(Box<Program>, Box<Program>),
    /// `CASE WHEN ... THEN ... ELSE ... END`, lazy; without ELSE the last is NULL.
    Case {
        /// Conditions and their results.
        whens: Vec<(Program, Program)>,
        /// ELSE.
        otherwise: Box<Program>,
    },
    /// `CAST(value AS to)`, or a widening that the binder put in.
    Cast {
        /// What is cast.
        value: Box<Program>,
        /// Its type.
        from: SqlType,
        /// The wanted type.
        to: SqlType,
    },
    /// `ARRAY[...]`
    Array {
        /// Elements, all of one type.
        items: Vec<Program>,
        /// Their type.
        item: SqlType,
    },
    /// `MAP(k := v, ...)`
    Map {
        /// Entries.
        entries: Vec<(Program, Program)>,
        /// Type of the keys.
        key: SqlType,
        /// Type of the values.
        value: SqlType,
    },
    /// `STRUCT(f := v, ...)`
    Struct {
        /// Names, values, types.
        fields: Vec<(String, Program, SqlType)>,
    },
    /// `array[i]`: counted from 1, negative from the end.
    Element {
        /// The array.
        array: Box<Program>,
        /// Which, BIGINT.
        index: Box<Program>,
    },
    /// `map['k']`
    Entry {
        /// The map.
        map: Box<Program>,
        /// Which.
        key: Box<Program>,
    },
    /// `struct->field`
    Field {
        /// The struct.
        value: Box<Program>,
        /// Position of the field.
        index: usize,
        /// Its name.
        name: String,
    },
    /// A function of ksqlDB.
    Call {
        /// Which.
        function: Function,
        /// Arguments, already of the signature's types.
        args: Vec<Program>,
        /// Type of the result.
        ty: SqlType,
    },
    /// A function of DataFusion.
    Native {
        /// Which.
        function: Arc<ScalarUDF>,
        /// Arguments, already of the signature's types.
        args: Vec<Program>,
        /// What the function returns, in Arrow's words.
        returns: arrow::datatypes::FieldRef,
        /// Type of the result.
        ty: SqlType,
    },
    /// TRANSFORM, FILTER or REDUCE.
    Lambda {
        /// Which.
        kind: Higher,
        /// The collection, and REDUCE's state.
        args: Vec<Program>,
        /// The lambdas.
        bodies: Vec<Body>,
        /// Type of the result.
        ty: SqlType,
    },
    /// A boundary: an error inside becomes NULL and an entry of this number.
    Guard {
        /// Number within the outermost program; 0 is the outermost.
        boundary: u16,
        /// What is guarded.
        inner: Box<Program>,
    },
}

/// Visits the direct parts of a program in order of evaluation; `iter` or `iter_mut` says how.
macro_rules! each_part {
    ($program:expr, $iter:ident, $visit:expr) => {
        match $program {
            Program::Column { .. } | Program::Literal(_) => {}
            Program::Negate(x) | Program::IsNull(x) | Program::Not(x) => $visit(x),
            Program::Cast { value, .. } | Program::Field { value, .. } => $visit(value),
            Program::Guard { inner, .. } => $visit(inner),
            Program::Arithmetic { left, right, .. } | Program::Compare { left, right, .. } => {
                $visit(left);
                $visit(right);
            }
            Program::And(x, y)
            | Program::Or(x, y)
            | Program::Like { value: x, pattern: y, .. }
            | Program::Element { array: x, index: y }
            | Program::Entry { map: x, key: y } => {
                $visit(x);
                $visit(y);
            }
            Program::In { value, list } => {
                $visit(value);
                list.$iter().for_each($visit);
            }
            Program::Case { whens, otherwise } => {
                for (when, then) in whens.$iter() {
                    $visit(when);
                    $visit(then);
                }
                $visit(otherwise);
            }
            Program::Array { items, .. } => items.$iter().for_each($visit),
            Program::Map { entries, .. } => {
                for (key, value) in entries.$iter() {
                    $visit(key);
                    $visit(value);
                }
            }
            Program::Struct { fields } => fields.$iter().for_each(|(_, p, _)| $visit(p)),
            Program::Call { args, .. } | Program::Native { args, .. } => args.$iter().for_each($visit),
            Program::Lambda { args, bodies, .. } => {
                args.$iter().chain(bodies.$iter().flat_map(|b| b.captures.$iter())).for_each($visit);
            }
        }
    };
}

impl Program {
    /// An input column.
    pub fn column(index: usize, name: impl Into<Arc<str>>) -> Program {
        Program::Column { index, name: name.into() }
    }

    /// Some row of some batch could end up in the log.
    pub fn can_fail(&self) -> bool {
        match self {
            Program::Column { .. } | Program::Literal(_) => false,
            Program::Arithmetic { .. } | Program::Negate(_) | Program::Native { .. } => true,
            Program::Element { array, index } => array.can_fail() || !index.is_literal(),
            Program::Not(x) => !x.is_never_null() || x.can_fail(),
            Program::And(x, y) | Program::Or(x, y) => [x, y].iter().any(|p| !p.is_never_null() || p.can_fail()),
            Program::Case { whens, otherwise } => {
                otherwise.can_fail() || whens.iter().any(|(c, r)| !c.is_never_null() || c.can_fail() || r.can_fail())
            }
            Program::Cast { value, from, to } => super::cast::can_fail(from, to) || value.can_fail(),
            Program::Map { entries, .. } => entries.iter().any(|(k, v)| !k.is_literal() || v.can_fail()),
            Program::Call { function, args, .. } => function.can_fail() || args.iter().any(Program::can_fail),
            // The keys of a new map must not be NULL, nor what FILTER asks.
            Program::Lambda { kind, args, bodies, .. } => {
                bodies.len() > 1
                    || *kind == Higher::Filter && bodies.iter().any(|b| !b.program.is_never_null())
                    || bodies.iter().any(|b| b.program.can_fail())
                    || args.iter().any(Program::can_fail)
            }
            other => {
                let mut any = false;
                other.each(&mut |p| any |= p.can_fail());
                any
            }
        }
    }

    /// The columns that the program reads.
    pub fn reads(&self) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        self.walk(&mut |p| {
            if let Program::Column { index, .. } = p {
                out.insert(*index);
            }
        });
        out
    }

    /// Renumbers the columns.
    pub fn remap(&mut self, number: &dyn Fn(usize) -> usize) {
        if let Program::Column { index, .. } = self {
            *index = number(*index);
        }
        self.each_mut(&mut |p| p.remap(number));
    }

    /// The column, if that is all the program is.
    pub fn as_column(&self) -> Option<usize> {
        match self {
            Program::Column { index, .. } => Some(*index),
            Program::Guard { inner, .. } => inner.as_column(),
            _ => None,
        }
    }

    /// The constant, if that is all the program is.
    pub fn as_literal(&self) -> Option<&ScalarValue> {
        match self {
            Program::Literal(value) => Some(value),
            Program::Guard { inner, .. } => inner.as_literal(),
            _ => None,
        }
    }

    /// The expression under the guard of this number: what a log entry speaks of.
    pub fn boundary(&self, boundary: u16) -> Option<&Program> {
        if let Program::Guard { boundary: b, inner } = self
            && *b == boundary
        {
            return Some(inner);
        }
        let mut found = None;
        self.each(&mut |p| found = found.or_else(|| p.boundary(boundary)));
        if let Program::Lambda { bodies, .. } = self {
            found = found.or_else(|| bodies.iter().find_map(|b| b.program.boundary(boundary)));
        }
        found
    }

    fn is_literal(&self) -> bool {
        matches!(self, Program::Literal(v) if !v.is_null())
    }

    /// BOOLEAN programs whose result is always true or false.
    fn is_never_null(&self) -> bool {
        match self {
            Program::Compare { .. }
            | Program::In { .. }
            | Program::Like { .. }
            | Program::IsNull(_)
            | Program::Not(_)
            | Program::And(..)
            | Program::Or(..) => true,
            other => other.is_literal(),
        }
    }

    fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Program)) {
        visit(self);
        self.each(&mut |p| p.walk(visit));
    }

    /// The direct parts, in order of evaluation.
    /// The same rows always give the same results.
    pub fn is_repeatable(&self) -> bool {
        let own = match self {
            Program::Call { function, .. } => function.is_repeatable(),
            Program::Native { function, .. } => function.signature().volatility == Volatility::Immutable,
            Program::Lambda { bodies, .. } => bodies.iter().all(|body| body.program.is_repeatable()),
            _ => true,
        };
        let mut all = own;
        self.each(&mut |part| all &= part.is_repeatable());
        all
    }

    pub(super) fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a Program)) {
        each_part!(self, iter, visit);
    }

    fn each_mut(&mut self, visit: &mut dyn FnMut(&mut Program)) {
        each_part!(self, iter_mut, visit);
    }
}

/// Which function runs the lambdas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Higher {
    /// Elements, or keys and values, become others.
    Transform,
    /// Elements or entries for which the lambda is true.
    Filter,
    /// One value of all.
    Reduce,
}

impl Higher {
    /// All of them.
    pub const ALL: [Higher; 3] = [Higher::Transform, Higher::Filter, Higher::Reduce];

    /// By its upper-case name.
    pub fn by_name(name: &str) -> Option<Higher> {
        Some(match name {
            "TRANSFORM" => Higher::Transform,
            "FILTER" => Higher::Filter,
            "REDUCE" => Higher::Reduce,
            _ => return None,
        })
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Higher::Transform => "TRANSFORM",
            Higher::Filter => "FILTER",
            Higher::Reduce => "REDUCE",
        }
    }
}

/// A lambda: its program's columns are the parameters, then the captured values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Body {
    /// Names of the parameters.
    pub params: Vec<String>,
    /// What it takes from outside, as columns out there.
    pub captures: Vec<Program>,
    /// What it does.
    pub program: Box<Program>,
}
