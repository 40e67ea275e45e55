//! Programs as EXPLAIN and the log print them.

use super::Program;
use crate::types::quoted;
use std::fmt;

impl fmt::Display for Program {
    /// As EXPLAIN prints it: ksqlDB's text, every binary operator in parentheses, guards left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Program::Column { name, index } if name.is_empty() => write!(f, "${index}"),
            Program::Column { name, .. } => f.write_str(name),
            Program::Literal(value) => super::text::write_literal(f, value),
            Program::Arithmetic { op, left, right, .. } => write!(f, "({left} {} {right})", op.symbol()),
            Program::Negate(x) => write!(f, "-{x}"),
            Program::Compare { op, left, right } => write!(f, "({left} {} {right})", op.symbol()),
            Program::In { value, list } => write!(f, "({value} IN ({}))", Commas(list)),
            Program::Like { value, pattern, escape: None } => write!(f, "({value} LIKE {pattern})"),
            Program::Like { value, pattern, escape: Some(c) } => write!(f, "({value} LIKE {pattern} ESCAPE '{c}')"),
            Program::IsNull(x) => write!(f, "({x} IS NULL)"),
            Program::Not(x) => match &**x {
                Program::IsNull(x) => write!(f, "({x} IS NOT NULL)"),
                x => write!(f, "(NOT {x})"),
            },
            Program::And(x, y) => write!(f, "({x} AND {y})"),
            Program::Or(x, y) => write!(f, "({x} OR {y})"),
            Program::Case { whens, otherwise } => {
                f.write_str("(CASE")?;
                for (when, then) in whens {
                    write!(f, " WHEN {when} THEN {then}")?;
                }
                write!(f, " ELSE {otherwise} END)")
            }
            Program::Cast { value, to, .. } => write!(f, "CAST({value} AS {to})"),
            Program::Array { items, .. } => write!(f, "ARRAY[{}]", Commas(items)),
            Program::Map { entries, .. } => {
                f.write_str("MAP(")?;
                for (i, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}:={value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(")")
            }
            Program::Struct { fields } => {
                f.write_str("STRUCT(")?;
                for (i, (name, value, _)) in fields.iter().enumerate() {
                    write!(f, "{}{}:={value}", if i > 0 { ", " } else { "" }, quoted(name))?;
                }
                f.write_str(")")
            }
            Program::Element { array: x, index: y } | Program::Entry { map: x, key: y } => write!(f, "{x}[{y}]"),
            Program::Field { value, name, .. } => write!(f, "{value}->{name}"),
            Program::Call { function, args, .. } => write!(f, "{}({})", function.name(), Commas(args)),
            Program::Native { function, args, .. } => {
                write!(f, "{}({})", function.name().to_uppercase(), Commas(args))
            }
            Program::Lambda { kind, args, bodies, .. } => {
                write!(f, "{}({}", kind.name(), Commas(args))?;
                for body in bodies {
                    match body.params.as_slice() {
                        [one] => write!(f, ", {one} => {}", body.program)?,
                        many => write!(f, ", ({}) => {}", many.join(", "), body.program)?,
                    }
                }
                f.write_str(")")
            }
            Program::Guard { inner, .. } => inner.fmt(f),
        }
    }
}

struct Commas<'a>(&'a [Program]);

impl fmt::Display for Commas<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.0.iter().enumerate() {
            write!(f, "{}{p}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
