//! The stages of a pipeline by stable ids: counters, plans and consoles refer to a stage by the same id.
//!
//! ```text
//! SELECT car, COUNT(*) FROM readings WINDOW TUMBLING (SIZE 10 SECONDS) WHERE speed > 0 GROUP BY car HAVING COUNT(*) > 1
//!
//! scan-0     Scan READINGS
//! rows       Filter and project
//! exchange   Repartition by CAR
//! aggregate  Aggregate by CAR, TUMBLING window
//! having     Filter and project the groups
//! sink       Write
//! ```

use crate::execute::pipeline::{AggregateSpec, Input, JoinStage, Pipeline};
use crate::parse::statement::JoinKind;
use crate::plan::nodes::join::Rule;
use crate::types::Column;

/// One stage of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StageKind {
    /// Reads and decodes `scans[i]`.
    Scan(usize),
    /// `joins[i]`, with what brings its inputs to one key.
    Join(usize),
    /// Filters and projections before a grouping.
    Rows,
    /// Keeps a table's rows, to know what each change replaces.
    Table,
    /// EXPLODE.
    Explode,
    /// Rows change partition.
    Exchange,
    /// The grouping.
    Aggregate,
    /// HAVING and the projection of a grouping.
    Having,
    /// Encodes the rows and passes them to the topic or the reader.
    Sink,
}

impl StageKind {
    /// Its id in the plan and in the API.
    pub fn id(self) -> String {
        match self {
            StageKind::Scan(nth) => format!("scan-{nth}"),
            StageKind::Join(nth) => format!("join-{nth}"),
            StageKind::Rows => "rows".to_owned(),
            StageKind::Table => "table".to_owned(),
            StageKind::Explode => "explode".to_owned(),
            StageKind::Exchange => "exchange".to_owned(),
            StageKind::Aggregate => "aggregate".to_owned(),
            StageKind::Having => "having".to_owned(),
            StageKind::Sink => "sink".to_owned(),
        }
    }

    /// The stages of a pipeline in the order in which rows pass them, with what each does.
    pub fn all(pipeline: &Pipeline) -> Vec<(StageKind, String)> {
        let scans = pipeline.scans.iter().enumerate();
        let mut all: Vec<(StageKind, String)> =
            scans.map(|(nth, scan)| (StageKind::Scan(nth), format!("Scan {}", scan.source.name))).collect();
        let joins = pipeline.joins.iter().enumerate();
        all.extend(joins.map(|(nth, join)| (StageKind::Join(nth), join_name(join))));
        all.push((StageKind::Rows, "Filter and project".to_owned()));
        all.extend(pipeline.table.iter().map(|_| (StageKind::Table, "Table".to_owned())));
        all.extend(pipeline.explode.iter().map(|_| (StageKind::Explode, "Explode".to_owned())));
        let by = |columns: &[Column]| columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        let hop = pipeline.hop.iter();
        all.extend(hop.map(|hop| (StageKind::Exchange, format!("Repartition by {}", by(&hop.key)))));
        all.extend(pipeline.aggregate.iter().map(|spec| (StageKind::Aggregate, aggregate_name(spec, &by(&spec.key)))));
        all.extend(pipeline.after.iter().map(|_| (StageKind::Having, "Filter and project the groups".to_owned())));
        all.push((StageKind::Sink, "Write".to_owned()));
        all
    }

    /// The edges between these stages: from, to.
    pub fn edges(pipeline: &Pipeline) -> Vec<(StageKind, StageKind)> {
        let from = |input: Input| match input {
            Input::Scan(nth) => StageKind::Scan(nth),
            Input::Join(nth) => StageKind::Join(nth),
        };
        let joins = pipeline.joins.iter().enumerate();
        let mut edges: Vec<_> = joins
            .flat_map(|(nth, join)| join.sides.iter().map(move |s| (from(s.input), StageKind::Join(nth))))
            .collect();
        let mut before = match pipeline.joins.len() {
            0 => StageKind::Scan(0),
            joins => StageKind::Join(joins - 1),
        };
        for (kind, _) in StageKind::all(pipeline) {
            if !matches!(kind, StageKind::Scan(_) | StageKind::Join(_)) {
                edges.push((before, kind));
                before = kind;
            }
        }
        edges
    }
}

fn join_name(join: &JoinStage) -> String {
    let kind = match join.kind {
        JoinKind::Inner => "Join",
        JoinKind::Left => "Left join",
        JoinKind::Right => "Right join",
        JoinKind::Full => "Full join",
    };
    let rule = match &join.rule {
        Rule::Within(_) => "streams within a time",
        Rule::Lookup => "stream with table",
        Rule::Tables => "tables",
        Rule::Foreign { .. } => "tables by foreign key",
    };
    format!("{kind}: {rule}")
}

fn aggregate_name(spec: &AggregateSpec, by: &str) -> String {
    let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
    match &spec.window {
        Some(window) => format!("Aggregate{by}, {} window", window.kind.name()),
        None => format!("Aggregate{by}"),
    }
}
