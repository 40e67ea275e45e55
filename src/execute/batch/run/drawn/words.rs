//! The nodes of a physical plan in words, and the columns that they pass on.
//!
//! Columns inside of a plan have names that no statement can contain (`#over_0`, `KSQL_AGG_VARIABLE_0`): a reader sees what they
//! are computed from.

use super::leaves::Leaf;
use super::{Column, Node};
use crate::execute::batch::lagged::LaggedExec;
use crate::plan::nodes::call;
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use datafusion::common::JoinType;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{self, BinaryExpr, Literal};
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use std::sync::Arc;

/// What our own aggregates begin with in a physical plan.
const OWN_AGGREGATE: &str = "KSQL_";

type Expr = Arc<dyn PhysicalExpr>;

/// A leaf that reads topics.
pub(super) fn leaf(plan: &Arc<dyn ExecutionPlan>, leaf: Leaf) -> Node {
    let columns = passed_on(plan, &[]);
    let visible: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).filter(|name| !is_internal(name)).collect();
    let mut suffix = String::new();
    if !visible.is_empty() {
        suffix += &format!(", columns {}", visible.join(", "));
    }
    if let Some(rows) = plan.downcast_ref::<StreamingTableExec>().and_then(StreamingTableExec::limit) {
        suffix += &format!(", first {rows}");
    }
    let below = |at: usize| subtree(&leaf.nodes, at);
    let mut root = below(0);
    root.text = root.text.map(|text| text + &suffix);
    Node { columns, read: Some(leaf.reading.now()), ..root }
}

/// Node `at` of a list, with those that it reads.
fn subtree(nodes: &[(String, Option<usize>)], at: usize) -> Node {
    let inputs = (0..nodes.len()).filter(|input| nodes[*input].1 == Some(at));
    Node {
        text: nodes.get(at).map(|(text, _)| text.clone()).filter(|text| !is_renaming(text)),
        columns: Vec::new(),
        passed: None,
        read: None,
        below: inputs.map(|input| subtree(nodes, input)).collect(),
    }
}

/// Columns under the names that they have in a join, and nothing else.
fn is_renaming(text: &str) -> bool {
    let is_name = |part: &str| part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '#'));
    let columns = text.strip_prefix("Compute: ").unwrap_or(" ");
    columns.split(", ").all(|column| column.split(" = ").all(is_name))
}

/// What a node is called, and its columns; `None` = it is nothing that a reader needs to know.
pub(super) fn words(plan: &Arc<dyn ExecutionPlan>, below: &[&[Column]]) -> (Option<String>, Vec<Column>) {
    let input = below.first().copied().unwrap_or_default();
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return (Some(kept(filter.predicate(), input)), passed_on(plan, below));
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        return computed(projection, input);
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return grouped(aggregate, input);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let first = sort.fetch().map_or_else(String::new, |rows| format!(", first {rows}"));
        return (Some(format!("Sort: {}{first}", sorted(sort.expr().iter(), input))), passed_on(plan, below));
    }
    if let Some(text) = joined(plan, below) {
        return (Some(text), passed_on(plan, below));
    }
    if let Some(window) = plan.downcast_ref::<BoundedWindowAggExec>() {
        return windowed(window.window_expr(), plan, input);
    }
    if let Some(window) = plan.downcast_ref::<WindowAggExec>() {
        return windowed(window.window_expr(), plan, input);
    }
    if let Some(lagged) = plan.downcast_ref::<LaggedExec>() {
        let calls = lagged.calls_in_words(&|expr| text(expr, input));
        let is_number = calls.len() == 1 && lagged.is_one_partition() && calls[0].starts_with("ROW_NUMBER");
        let named = plan.schema().fields().last().is_some_and(|field| field.name().starts_with("#number"));
        let said = (!(is_number && named)).then(|| format!("Window: {}", calls.join(", ")));
        return (said, with_calls(plan, input, calls));
    }
    (other(plan), passed_on(plan, below))
}

/// Nodes that say nothing of columns.
fn other(plan: &Arc<dyn ExecutionPlan>) -> Option<String> {
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        let rows = limit.fetch().map_or_else(|| "all rows".to_owned(), |rows| format!("{rows} rows"));
        let skipped = if limit.skip() > 0 { format!(", behind the first {}", limit.skip()) } else { String::new() };
        return Some(format!("Limit: {rows}{skipped}"));
    }
    if let Some(limit) = plan.downcast_ref::<LocalLimitExec>() {
        return Some(format!("Limit: {} rows", limit.fetch()));
    }
    if plan.is::<UnionExec>() {
        return Some("Union: the rows of each".to_owned());
    }
    if plan.is::<PlaceholderRowExec>() {
        return Some("Values: one row".to_owned());
    }
    match plan.name() {
        "WidthExec" | "CoalesceBatchesExec" | "CooperativeExec" => None,
        "DataSourceExec" => {
            let schema = plan.schema();
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            Some(format!("Scan: rows in memory, columns {}", columns.join(", ")))
        }
        name => {
            let line = displayable(plan.as_ref()).one_line().to_string();
            Some(without_places(line.trim()).replacen(name, name.trim_end_matches("Exec"), 1))
        }
    }
}

/// WHERE, HAVING, QUALIFY.
fn kept(predicate: &Expr, input: &[Column]) -> String {
    if column_of(predicate).is_some_and(|column| column.name() == PRESENT) {
        return "Keep: rows that are there".to_owned();
    }
    format!("Keep: WHERE {}", text(predicate, input))
}

fn computed(projection: &ProjectionExec, input: &[Column]) -> (Option<String>, Vec<Column>) {
    let (mut shown, mut columns) = (Vec::new(), Vec::new());
    for one in projection.expr() {
        let said = text(&one.expr, input);
        let internal = is_internal(&one.alias);
        let moved = column_of(&one.expr).is_some();
        if !moved && !internal {
            shown.push(format!("{} = {said}", one.alias));
        }
        columns.push((one.alias.clone(), if internal { said } else { one.alias.clone() }));
    }
    ((!shown.is_empty()).then(|| format!("Compute: {}", shown.join(", "))), columns)
}

fn grouped(aggregate: &AggregateExec, input: &[Column]) -> (Option<String>, Vec<Column>) {
    let keys: Vec<String> = aggregate.group_expr().expr().iter().map(|(expr, _)| text(expr, input)).collect();
    let filters = aggregate.filter_expr().iter();
    let calls = aggregate.aggr_expr().iter().zip(filters).map(|(call, filter)| {
        let filter = filter.as_ref().map_or_else(String::new, |filter| format!(" FILTER {}", text(filter, input)));
        call_text(call, input) + &filter
    });
    let calls: Vec<String> = calls.collect();
    let names = aggregate.schema();
    let said = keys.iter().chain(&calls).zip(names.fields());
    let columns = said.map(|(said, field)| (field.name().clone(), said.clone())).collect();
    let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
    let said = match calls.is_empty() {
        true => format!("Distinct: {}", keys.join(", ")),
        false => format!("Aggregate: {}{by}", calls.join(", ")),
    };
    (Some(said), columns)
}

/// `COUNT(*)`, `SUM(DISTINCT N)`
fn call_text(call: &AggregateFunctionExpr, input: &[Column]) -> String {
    let name = call.fun().name().to_uppercase();
    let name = name.strip_prefix(OWN_AGGREGATE).unwrap_or(&name);
    let arguments: Vec<String> = call.expressions().iter().map(|expr| text(expr, input)).collect();
    let is_of_rows = name == "COUNT" && call.expressions().iter().all(|expr| expr.downcast_ref::<Literal>().is_some());
    let distinct = if call.is_distinct() { "DISTINCT " } else { "" };
    let order = match call.order_bys() {
        [] => String::new(),
        keys => format!(" ORDER BY {}", sorted(keys.iter(), input)),
    };
    format!("{name}({distinct}{}{order})", if is_of_rows { "*".to_owned() } else { arguments.join(", ") })
}

fn windowed(
    calls: &[Arc<dyn WindowExpr>],
    plan: &Arc<dyn ExecutionPlan>,
    input: &[Column],
) -> (Option<String>, Vec<Column>) {
    let calls: Vec<String> = calls.iter().map(|call| window_text(call, input)).collect();
    (Some(format!("Window: {}", calls.join(", "))), with_calls(plan, input, calls))
}

/// `RANK() OVER (PARTITION BY CAR ORDER BY SPEED DESC)`
fn window_text(window: &Arc<dyn WindowExpr>, input: &[Column]) -> String {
    let any = window.as_any();
    let aggregate =
        any.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr).or_else(
            || any.downcast_ref::<SlidingAggregateWindowExpr>().map(SlidingAggregateWindowExpr::get_aggregate_expr),
        );
    let call = match (aggregate, any.downcast_ref::<StandardWindowExpr>()) {
        (Some(aggregate), _) => call_text(aggregate, input),
        (None, Some(standard)) => {
            let standard = standard.get_standard_func_expr();
            let function = standard.as_any().downcast_ref::<WindowUDFExpr>();
            let name = function.map_or_else(|| standard.name(), |call| call.fun().name()).to_uppercase();
            let arguments: Vec<String> = window.expressions().iter().map(|expr| text(expr, input)).collect();
            format!("{name}({})", arguments.join(", "))
        }
        (None, None) => window.name().to_owned(),
    };
    let by: Vec<String> = window.partition_by().iter().map(|expr| text(expr, input)).collect();
    let by = if by.is_empty() { Vec::new() } else { vec![format!("PARTITION BY {}", by.join(", "))] };
    let order = match window.order_by() {
        [] => None,
        keys => Some(format!("ORDER BY {}", sorted(keys.iter(), input))),
    };
    let over: Vec<String> = by.into_iter().chain(order).collect();
    format!("{call} OVER ({})", over.join(" "))
}

fn joined(plan: &Arc<dyn ExecutionPlan>, below: &[&[Column]]) -> Option<String> {
    let [left, right] = below else { return None };
    let both: Vec<Column> = left.iter().chain(right.iter()).cloned().collect();
    let (kind, mut conditions, filter) = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let pairs = join.on().iter().map(|(a, b)| format!("({} = {})", text(a, left), text(b, right)));
        (*join.join_type(), pairs.collect::<Vec<_>>(), join.filter())
    } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
        (*join.join_type(), Vec::new(), join.filter())
    } else if plan.is::<CrossJoinExec>() {
        return Some("Join: CROSS, all rows of streams, the final rows of tables".to_owned());
    } else {
        return None;
    };
    conditions.extend(filter.map(|filter| text(filter.expression(), &both)));
    let on = if conditions.is_empty() { String::new() } else { format!(" on {}", conditions.join(" AND ")) };
    Some(match kind {
        JoinType::LeftSemi | JoinType::RightSemi => format!("Join: rows with a match{on}"),
        JoinType::LeftAnti | JoinType::RightAnti => format!("Join: rows without a match{on}"),
        JoinType::LeftMark | JoinType::RightMark => format!("Join: whether rows have a match{on}"),
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            let kind = kind.to_string().to_uppercase();
            format!("Join: {kind}{on}, all rows of streams, the final rows of tables")
        }
    })
}

/// The columns of the nodes below under the names that this one gives them.
fn passed_on(plan: &Arc<dyn ExecutionPlan>, below: &[&[Column]]) -> Vec<Column> {
    let known = |name: &str| below.iter().flat_map(|columns| columns.iter()).find(|(known, _)| known == name);
    let schema = plan.schema();
    let one = |name: &String| known(name).cloned().unwrap_or_else(|| (name.clone(), readable(name)));
    schema.fields().iter().map(|field| one(field.name())).collect()
}

/// The columns of the input, and one for each call.
fn with_calls(plan: &Arc<dyn ExecutionPlan>, input: &[Column], calls: Vec<String>) -> Vec<Column> {
    let schema = plan.schema();
    let names = schema.fields().iter().skip(input.len()).map(|field| field.name().clone());
    input.iter().cloned().chain(names.zip(calls)).collect()
}

fn sorted<'e>(keys: impl Iterator<Item = &'e PhysicalSortExpr>, input: &[Column]) -> String {
    let one = |key: &PhysicalSortExpr| text(&key.expr, input) + if key.options.descending { " DESC" } else { "" };
    keys.map(one).collect::<Vec<_>>().join(", ")
}

fn column_of(expr: &Expr) -> Option<&expressions::Column> {
    expr.downcast_ref::<expressions::Column>()
}

/// An expression over the columns of the node below.
fn text(expr: &Expr, input: &[Column]) -> String {
    if let Some(column) = column_of(expr) {
        let by_place = input.get(column.index()).filter(|(name, _)| name == column.name());
        let found = by_place.or_else(|| input.iter().find(|(name, _)| name == column.name()));
        return found.map_or_else(|| readable(column.name()), |(_, said)| said.clone());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return format!("({} {} {})", text(binary.left(), input), binary.op(), text(binary.right(), input));
    }
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let arguments: Vec<(String, String)> =
            function.args().iter().map(|arg| (own_name(arg), text(arg, input))).collect();
        return call::function_in_words(function.fun(), &arguments);
    }
    call::renamed(&without_places(&fmt_sql(expr.as_ref()).to_string()), input)
}

fn own_name(expr: &Expr) -> String {
    column_of(expr).map(|column| column.name().to_owned()).unwrap_or_default()
}

/// A name that no statement can contain.
fn is_internal(name: &str) -> bool {
    name.starts_with('#') || name.starts_with("KSQL_AGG_VARIABLE_") || name.starts_with("KSQL_INTERNAL_COL_")
}

/// What an internal column is, where nothing is known of how it is computed.
fn readable(name: &str) -> String {
    let kinds =
        [("#in_", "IN (query)"), ("#exists_", "EXISTS (query)"), ("#query_", "(query)"), ("#explode_", "element")];
    if let Some((_, said)) = kinds.iter().find(|(begin, _)| name.starts_with(begin)) {
        return (*said).to_owned();
    }
    match name {
        PRESENT => "row is there".to_owned(),
        ORDINAL => "order of records".to_owned(),
        name => name.trim_start_matches('#').to_owned(),
    }
}

/// `CAR@0` as `CAR`.
fn without_places(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, behind) = (&rest[..at], &rest[at + 1..]);
        let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        out.push_str(before);
        if digits == 0 {
            out.push('@');
        }
        rest = &behind[digits..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_columns_are_left_out() {
        assert_eq!(without_places("CAR@0 = a@b AND N@12"), "CAR = a@b AND N");
        assert!(is_renaming("Compute: #key = CAR, R_CAR = CAR, ROWTIME") && !is_renaming("Compute: #key = (N + 1)"));
        assert!(!is_renaming("Scan: stream R"));
    }
}
