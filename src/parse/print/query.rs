//! Queries as text: SELECT, and what SQL puts around it over history.

use super::{List, expression, expressions, on};
use crate::parse::query::{
    Body, Condition, Definition, Derived, Distinct, Emit, Join, JoinKind, Name, Relation, Relational, Select,
    SelectItem, SetOperator, Subquery, Within,
};
use crate::parse::tree::printable;
use crate::types::time::Millis;
use std::fmt::{Display, Formatter, Result};

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write_select(f, self, &Distinct::No)
    }
}

fn write_select(f: &mut Formatter<'_>, select: &Select, distinct: &Distinct) -> Result {
    let distinct = match distinct {
        Distinct::No => String::new(),
        Distinct::Rows => "DISTINCT ".to_owned(),
        Distinct::On(by) => format!("DISTINCT ON ({}) ", by.iter().map(expression).collect::<Vec<_>>().join(", ")),
    };
    let mut text = format!("SELECT {distinct}{}", List(&select.items));
    match select.from.derived.as_deref() {
        Some(Derived::Nothing) => {}
        _ => text.push_str(&format!(" FROM {}", select.from)),
    }
    text.push_str(&Clauses(select).to_string());
    f.write_str(&with_queries(text, &select.queries))
}

/// The text with queries in the place of the names that stand for them.
fn with_queries(mut text: String, queries: &[Subquery]) -> String {
    for Subquery { name, query } in queries {
        let name = crate::types::quoted(&name.value);
        if name.starts_with("`#exists") {
            text = text.replace(&name, &format!("EXISTS ({query})"));
            continue;
        }
        for word in ["IN ", "ANY", "ALL", "SOME"] {
            text = text.replace(&format!("{word}({name})"), &format!("{word}({query})"));
        }
        text = text.replace(&name, &format!("({query})"));
    }
    text
}

/// Everything behind FROM.
struct Clauses<'a>(&'a Select);

impl Display for Clauses<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Clauses(select) = self;
        for join in &select.joins {
            write!(f, "{join}")?;
        }
        if let Some(window) = &select.window {
            write!(f, " WINDOW {window}")?;
        }
        if let Some(filter) = &select.filter {
            write!(f, " WHERE {}", expression(filter))?;
        }
        if !select.group_by.is_empty() {
            write!(f, " GROUP BY {}", expressions(&select.group_by))?;
        }
        if !select.partition_by.is_empty() {
            write!(f, " PARTITION BY {}", expressions(&select.partition_by))?;
        }
        if let Some(having) = &select.having {
            write!(f, " HAVING {}", expression(having))?;
        }
        for (i, (name, spec)) in select.windows.iter().enumerate() {
            write!(f, "{} {name} AS ({})", if i == 0 { " WINDOW" } else { "," }, printable(spec))?;
        }
        if let Some(qualify) = &select.qualify {
            write!(f, " QUALIFY {}", expression(qualify))?;
        }
        match select.emit {
            Some(Emit::Changes) => f.write_str(" EMIT CHANGES")?,
            Some(Emit::Final) => f.write_str(" EMIT FINAL")?,
            None => {}
        }
        match select.limit {
            Some(limit) => write!(f, " LIMIT {limit}"),
            None => Ok(()),
        }
    }
}

impl Display for Relational {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (i, definition) in self.with.iter().enumerate() {
            write!(f, "{} {definition}", if i == 0 { "WITH" } else { "," })?;
        }
        if !self.with.is_empty() {
            f.write_str(" ")?;
        }
        self.body.fmt(f)?;
        let mut order = String::new();
        for (i, key) in self.order_by.iter().enumerate() {
            order.push_str(if i == 0 { " ORDER BY " } else { ", " });
            order.push_str(&expression(&key.expr));
            order.push_str(if key.descending { " DESC" } else { "" });
            if key.nulls_first != key.descending {
                order.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
            }
        }
        f.write_str(&with_queries(order, &self.queries))?;
        if let Some(limit) = self.limit {
            write!(f, " LIMIT {limit}")?;
        }
        if self.offset > 0 { write!(f, " OFFSET {}", self.offset) } else { Ok(()) }
    }
}

impl Display for Body {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Body::Select(body) => write_select(f, &body.select, &body.distinct),
            Body::Values(rows) => {
                f.write_str("VALUES ")?;
                for (i, row) in rows.iter().enumerate() {
                    let row: Vec<String> = row.iter().map(expression).collect();
                    write!(f, "{}({})", on(i > 0, ", "), row.join(", "))?;
                }
                Ok(())
            }
            Body::Set { operator, all, sides } => {
                let word = match operator {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    SetOperator::Except => "EXCEPT",
                };
                for (i, side) in sides.iter().enumerate() {
                    if i == 1 {
                        write!(f, " {word}{} ", if *all { " ALL" } else { "" })?;
                    }
                    // An operand that binds less tightly was written in parentheses, and is Nested.
                    side.fmt(f)?;
                }
                Ok(())
            }
            Body::Nested(query) => write!(f, "({query})"),
        }
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            SelectItem::Star { source, left_out } => {
                source.iter().try_for_each(|source| write!(f, "{source}."))?;
                f.write_str("*")?;
                if left_out.is_empty() { Ok(()) } else { write!(f, " EXCLUDE ({})", List(left_out)) }
            }
            SelectItem::AllFields(expr) => write!(f, "{} -> *", expression(expr)),
            SelectItem::Expr { expr, alias: Some(alias), .. } => write!(f, "{} AS {alias}", expression(expr)),
            SelectItem::Expr { expr, alias: None, .. } => f.write_str(&expression(expr)),
        }
    }
}

impl Display for Definition {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{} AS ({})", self.name, Columns(&self.columns), self.query)
    }
}

/// `(a, b)` behind the name of a query.
struct Columns<'a>(&'a [Name]);

impl Display for Columns<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", List(self.0)) }
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.derived.as_deref() {
            None => self.name.fmt(f)?,
            Some(Derived::Nothing) => {}
            Some(Derived::Query { lateral, query }) => write!(f, "{}({query})", on(*lateral, "LATERAL "))?,
            Some(Derived::Call(call)) => f.write_str(&expression(call))?,
        }
        match &self.alias {
            Some(alias) => write!(f, " AS {alias}{}", Columns(&self.columns)),
            None => Ok(()),
        }
    }
}

impl Display for Join {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let kind = match self.kind {
            JoinKind::Inner => "INNER",
            JoinKind::Left => "LEFT OUTER",
            JoinKind::Right => "RIGHT OUTER",
            JoinKind::Full => "FULL OUTER",
        };
        match &self.on {
            Condition::Comma => return write!(f, ", {}", self.right),
            Condition::Cross => return write!(f, " CROSS JOIN {}", self.right),
            Condition::Natural => return write!(f, " NATURAL {kind} JOIN {}", self.right),
            Condition::On(_) | Condition::Using(_) => write!(f, " {kind} JOIN {}", self.right)?,
        }
        if let Some(within) = &self.within {
            write!(f, " {within}")?;
        }
        match &self.on {
            Condition::Using(columns) => write!(f, " USING ({})", List(columns)),
            Condition::On(on) => write!(f, " ON {}", expression(on)),
            _ => Ok(()),
        }
    }
}

impl Display for Within {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.before_ms == self.after_ms {
            true => write!(f, "WITHIN {}", Millis(self.before_ms))?,
            false => write!(f, "WITHIN ({}, {})", Millis(self.before_ms), Millis(self.after_ms))?,
        }
        match self.grace_ms {
            Some(grace) => write!(f, " GRACE PERIOD {}", Millis(grace)),
            None => Ok(()),
        }
    }
}
