//! `GENERATE_SERIES(1, 10)` and `RANGE(0, 10)` in FROM: numbers that are made while they are read, so that a long series needs no
//! memory. Over columns of the rows to its left, GENERATE_SERIES is an array of numbers that is taken apart.

use crate::error::{Error, Result};
use crate::parse::span_of;
use crate::plan::scalar;
use crate::plan::select::expression;
use crate::types::{Column, SqlType};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::functions_table::generate_series::{GenSeriesArgs, GenerateSeriesTable};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use sqlparser::ast::Expr;
use std::sync::Arc;

/// The name of its column, where FROM gives none.
const VALUE: &str = "value";

/// The numbers of a call with constant arguments; `None` = it is no such call.
pub(in crate::plan::select) fn numbers(call: &Expr) -> Result<Option<(LogicalPlan, Vec<Column>)>> {
    let Expr::Function(function) = call else { return Ok(None) };
    let (name, include_end) = match expression::function_name(function).as_str() {
        "GENERATE_SERIES" => ("generate_series", true),
        "RANGE" => ("range", false),
        _ => return Ok(None),
    };
    let args = expression::arguments(function).unwrap_or_default();
    let mut given = Vec::new();
    for arg in &args {
        match scalar::constant(arg, &SqlType::Bigint) {
            Ok(ScalarValue::Int64(Some(number))) => given.push(number),
            _ if include_end => return Ok(None),
            _ => {
                let error = Error::statement("an argument of a function in FROM is a constant whole number");
                return Err(error.at_some(span_of(*arg)));
            }
        }
    }
    let (start, end, step) = match given.as_slice() {
        [end] => (0, *end, 1),
        [start, end] => (*start, *end, 1),
        [start, end, step] => (*start, *end, *step),
        _ => return Err(Error::statement(format!("{name} in FROM has one to three arguments")).at_some(span_of(call))),
    };
    if step == 0 {
        return Err(Error::statement(format!("the step of {name} is not 0")).at_some(span_of(call)));
    }
    let schema = Arc::new(Schema::new(vec![Field::new(VALUE, DataType::Int64, false)]));
    let table = GenerateSeriesTable::new(schema, GenSeriesArgs::Int64Args { start, end, step, include_end, name });
    let plan = LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(table)), None)?.build()?;
    Ok(Some((plan, vec![Column::value(VALUE, SqlType::Bigint)])))
}
