//! VALUES: rows of constants, each column in a type that holds all of its values.

use super::relations::{Relations, Rows};
use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::plan::scalar::{self, Boundary};
use crate::plan::select::expression;
use crate::plan::select::scope::Names;
use crate::types::{Column, SqlType};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlanBuilder};
use sqlparser::ast::{Expr, Value};

/// Binds VALUES.
pub(in crate::plan::select) fn bind(rows: &[Vec<Expr>], relations: &Relations<'_>) -> Result<Rows> {
    if relations.outer().is_some() {
        return Err(Error::statement("VALUES holds constants, not columns of the rows around it")
            .with_hint("SELECT a UNION ALL SELECT b makes rows of columns"));
    }
    let width = rows.first().map_or(0, Vec::len);
    let types: Vec<SqlType> = (0..width).map(|place| common(rows, place)).collect::<Result<_>>()?;
    let mut literals = Vec::with_capacity(rows.len());
    for row in rows {
        let literal = |(expr, ty): (&Expr, &SqlType)| -> Result<PlanExpr> {
            let value = scalar::constant(expr, ty).map_err(|e| e.at_some(span_of(expr)))?;
            Ok(PlanExpr::Literal(value.cast_to(&ty.arrow())?, None))
        };
        literals.push(row.iter().zip(&types).map(literal).collect::<Result<Vec<_>>>()?);
    }
    let plan = LogicalPlanBuilder::values(literals)?.build()?;
    let columns = types.into_iter().enumerate().map(|(n, ty)| Column::value(format!("COLUMN{}", n + 1), ty));
    Ok(Rows { plan, columns: columns.collect() })
}

/// The type of a column.
fn common(rows: &[Vec<Expr>], place: usize) -> Result<SqlType> {
    let names = Names::new("VALUES", "");
    let mut all: Option<SqlType> = None;
    for row in rows {
        let expr = expression::normal(&row[place], "");
        if matches!(&expr, Expr::Value(value) if value.value == Value::Null) {
            continue;
        }
        let at = |e: Error| e.at_some(span_of(&row[place]));
        let ty = scalar::bind(&expr, &names, Boundary::GroupBy).map_err(at)?.ty;
        all = Some(match all {
            None => ty,
            Some(known) => known.common(&ty).ok_or_else(|| {
                at(Error::statement(format!("column {} of VALUES holds {known} and {ty}", place + 1))
                    .with_hint("CAST one of them"))
            })?,
        });
    }
    // A column of NULLs alone.
    Ok(all.unwrap_or(SqlType::String))
}
