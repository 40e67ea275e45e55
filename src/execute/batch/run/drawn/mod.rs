//! The plan of a query over history as a tree for people, in the words of a continuous query's EXPLAIN, and what each node did.
//!
//! ```text
//! Sort: N DESC, first 3                                                              [3 rows, 0.02 ms]
//! └─ Aggregate: COUNT(*) by CAR                                                      [97 rows, 31.40 ms]
//!    └─ Keep: WHERE (SPEED > 2)                                                      [81,120 rows, 4.08 ms]
//!       └─ Scan: stream READINGS (topic readings, 4 partitions, ...), columns CAR    [100,000 rows, 100,000 records, 9.2 MB, 88.31 ms]
//! ```
//!
//! Nodes that only number, rename or measure rows are left out. The time of a node is without that of the nodes below it; that of
//! a scan is what its reading thread worked.

pub(in crate::execute::batch) mod leaves;
pub(in crate::execute::batch) mod meter;
mod words;

use crate::execute::batch::Scanned;
use datafusion::physical_plan::ExecutionPlan;
use leaves::Leaves;
use meter::MeteredExec;
use std::sync::Arc;
use std::time::Duration;

/// What a whole query did.
pub(super) struct Ran {
    pub(super) rows: u64,
    pub(super) time: Duration,
    pub(super) scanned: Scanned,
}

/// The plan, drawn.
pub(super) fn drawn(plan: &Arc<dyn ExecutionPlan>, leaves: &Leaves) -> String {
    let mut out = String::new();
    for root in shown(node(plan, leaves)) {
        root.draw("", "", &mut out);
    }
    out
}

/// The plan with what its nodes did, and a last line about all of it.
pub(super) fn analyzed(plan: &Arc<dyn ExecutionPlan>, leaves: &Leaves, ran: &Ran) -> String {
    let Ran { rows, time, scanned } = ran;
    let records = match scanned.retained == scanned.planned {
        true => counted(scanned.records, "record"),
        false => format!("{} of {}", grouped(scanned.records), counted(scanned.retained, "record")),
    };
    let (rows, read) = (counted(*rows, "row"), bytes(scanned.bytes));
    let total = format!("{rows} in {}, {records} read, {read}\n", milliseconds(*time));
    drawn(plan, leaves) + &total
}

/// A column: its name in the plan, and how a reader knows it.
type Column = (String, String);

/// A node of the tree.
struct Node {
    /// `None` = it is left out.
    text: Option<String>,
    columns: Vec<Column>,
    /// What came out of it, and how long it and all below it took.
    passed: Option<(u64, Duration)>,
    /// What was read here.
    read: Option<meter::Read>,
    below: Vec<Node>,
}

fn node(plan: &Arc<dyn ExecutionPlan>, leaves: &Leaves) -> Node {
    if let Some(metered) = plan.downcast_ref::<MeteredExec>() {
        let inner = node(metered.input(), leaves);
        return Node { passed: Some(metered.meter().passed()), ..inner };
    }
    if let Some(leaf) = leaves.of(plan) {
        return words::leaf(plan, leaf);
    }
    let below: Vec<Node> = plan.children().into_iter().map(|child| node(child, leaves)).collect();
    let columns: Vec<&[Column]> = below.iter().map(|node| node.columns.as_slice()).collect();
    let (text, columns) = words::words(plan, &columns);
    Node { text, columns, passed: None, read: None, below }
}

/// The node, or in its place the nodes below it.
fn shown(mut node: Node) -> Vec<Node> {
    node.below = node.below.into_iter().flat_map(shown).collect();
    if node.text.is_some() { vec![node] } else { node.below }
}

impl Node {
    fn draw(&self, first: &str, rest: &str, out: &mut String) {
        out.push_str(first);
        out.push_str(self.text.as_deref().unwrap_or_default());
        if let Some(facts) = self.facts() {
            out.push_str(&format!("  [{facts}]"));
        }
        out.push('\n');
        for (i, node) in self.below.iter().enumerate() {
            let last = i + 1 == self.below.len();
            let (branch, under) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            node.draw(&format!("{rest}{branch}"), &format!("{rest}{under}"), out);
        }
    }

    fn facts(&self) -> Option<String> {
        let (rows, time) = self.passed?;
        Some(match &self.read {
            Some(read) => {
                let busy = milliseconds(read.busy.max(time));
                let records = counted(read.records, "record");
                format!("{}, {records}, {}, {busy}", counted(rows, "row"), bytes(read.bytes))
            }
            None => {
                let inside: Duration = self.below.iter().filter_map(|node| node.passed).map(|(_, time)| time).sum();
                format!("{}, {}", counted(rows, "row"), milliseconds(time.saturating_sub(inside)))
            }
        })
    }
}

/// `1 row`, `1,234 rows`
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number as f64 / 1e6),
        _ => format!("{:.1} GB", number as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: Option<&str>, milliseconds: u64, below: Vec<Node>) -> Node {
        let passed = Some((7, Duration::from_millis(milliseconds)));
        Node { text: text.map(str::to_owned), columns: Vec::new(), passed, read: None, below }
    }

    #[test]
    fn the_time_of_a_node_is_without_that_of_the_nodes_below_it() {
        let left = one(Some("Left"), 3, Vec::new());
        let hidden = one(None, 20, vec![one(Some("Right"), 10, Vec::new())]);
        let mut text = String::new();
        shown(one(Some("Join"), 100, vec![left, hidden])).iter().for_each(|node| node.draw("", "", &mut text));
        // The hidden node's own time counts for the one that reads it.
        let lines = "Join  [7 rows, 87.00 ms]\n├─ Left  [7 rows, 3.00 ms]\n└─ Right  [7 rows, 10.00 ms]\n";
        assert_eq!(text, lines);
    }

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!((grouped(0), grouped(999), grouped(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!((bytes(12), bytes(9_216_123)), ("12 bytes".to_owned(), "9.2 MB".to_owned()));
    }
}
