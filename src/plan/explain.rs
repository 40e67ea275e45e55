//! A bound plan as a tree for people, root first.
//!
//! ```text
//! Sink: table PER_CAR
//! └─ Compute: CAR, N = KSQL_AGG_VARIABLE_0
//!    └─ Aggregate: COUNT(*) by CAR, WINDOWSTART, WINDOWEND
//!       └─ TimeWindow: TUMBLING (SIZE 10 SECONDS)
//!          └─ Rekey: CAR as KAFKA, into 4 partitions
//!             └─ Compute: CAR, ROWTIME, ROWPARTITION, #ordinal, #present
//!                └─ Scan: stream READINGS (topic readings, 4 partitions, key KAFKA, value JSON)
//! ```

use crate::catalog::Source;
use crate::parse::statement::SourceKind;
use crate::plan::nodes::call;
use crate::plan::nodes::table::SourceTable;
use datafusion::logical_expr::LogicalPlan;

/// Draws the plan.
pub fn explain(plan: &LogicalPlan) -> String {
    let mut out = String::new();
    draw(plan, "", "", &mut out);
    out
}

/// The nodes of the plan, root first: the text of each, and the index of the one that reads it.
pub fn nodes(plan: &LogicalPlan) -> Vec<(String, Option<usize>)> {
    let (mut all, mut open) = (Vec::new(), vec![(plan, None)]);
    while let Some((plan, reader)) = open.pop() {
        let at = all.len();
        all.push((node(plan), reader));
        open.extend(plan.inputs().into_iter().rev().map(|input| (input, Some(at))));
    }
    all
}

/// `1 partition`, `4 partitions`.
pub(super) fn partitions(count: u32) -> String {
    format!("{count} {}", if count == 1 { "partition" } else { "partitions" })
}

/// A leaf that reads a stream or table.
pub fn scan_of(source: &Source) -> String {
    let kind = if source.kind == SourceKind::Stream { "stream" } else { "table" };
    format!(
        "Scan: {kind} {} (topic {}, {}, key {}, value {})",
        source.name,
        source.topic,
        partitions(source.partitions),
        source.key_format.name(),
        source.value_format.name()
    )
}

fn draw(plan: &LogicalPlan, first: &str, rest: &str, out: &mut String) {
    out.push_str(first);
    out.push_str(&node(plan));
    out.push('\n');
    let inputs = plan.inputs();
    for (i, input) in inputs.iter().enumerate() {
        let last = i + 1 == inputs.len();
        let (branch, under) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(input, &format!("{rest}{branch}"), &format!("{rest}{under}"), out);
    }
}

fn node(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::TableScan(scan) => match scan.source.downcast_ref::<SourceTable>() {
            Some(table) => scan_of(table.source()),
            None => plan.display().to_string(),
        },
        LogicalPlan::Aggregate(aggregate) => {
            let list =
                |exprs: &[datafusion::logical_expr::Expr]| exprs.iter().map(call::text).collect::<Vec<_>>().join(", ");
            format!("Aggregate: {} by {}", list(&aggregate.aggr_expr), list(&aggregate.group_expr))
        }
        LogicalPlan::Window(window) => {
            let calls: Vec<String> = window.window_expr.iter().map(call::text).collect();
            format!("Window: {}", calls.join(", "))
        }
        other => other.display().to_string(),
    }
}
