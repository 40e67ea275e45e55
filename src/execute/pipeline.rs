//! What the incremental compiler makes of a bound plan: plain data that tasks turn into operators.
//!
//! ```text
//! scan -> rows (WHERE, projection, group keys)  -> [hop by key] -> [aggregate -> rows (HAVING, projection)] -> output
//!         stage 1, one task per source partition                   stage 2, one task per hop partition
//! ```
//!
//! A FROM clause with joins comes before that: its last join takes the place of the scan.
//!
//! ```text
//! scan 0 -> rows -> [hop] -\
//! scan 1 -> rows -> [hop] --+- join 0 -> rows -> [hop] -\
//! scan 2 -> rows -> [hop] -------------------------------+- join 1 -> rows (WHERE, ...) -> as above
//! ```

use crate::catalog::{Format, KeyWindow, Source};
use crate::functions::aggregate::Aggregate;
use crate::log::TopicPartition;
use crate::parse::statement::JoinKind;
use crate::plan::nodes::join::Rule;
use crate::plan::scalar::Program;
use crate::types::Column;
use crate::types::time::Window;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// A continuous query, ready to run.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// What is read, in the order of FROM: one source, or those of the joins.
    pub scans: Vec<Scan>,
    /// The joins, each before those that read it; the last one feeds `rows`.
    pub joins: Vec<JoinStage>,
    /// The table that is read may have one key in several partitions: its rows come together first, by their key.
    pub gather: Option<Hop>,
    /// Filters and projections before any hop.
    pub rows: RowSpec,
    /// The source is a table whose earlier rows have to be known.
    pub table: Option<TableSpec>,
    /// Arrays are taken apart between `rows` and its projection; `None` = no EXPLODE.
    pub explode: Option<ExplodeSpec>,
    /// Rows change key here; `None` = they keep it (or nothing stateful follows).
    pub hop: Option<Hop>,
    /// The grouping, if there is one.
    pub aggregate: Option<AggregateSpec>,
    /// Filters and projections after the grouping; `None` without one.
    pub after: Option<RowSpec>,
    /// Columns of what comes out.
    pub output: OutputSpec,
}

impl Pipeline {
    /// Tasks before the hop of a grouping: what feeds `rows` has so many partitions.
    pub fn partitions(&self) -> u32 {
        match (self.joins.last(), self.scans.first()) {
            (Some(join), _) => join.partitions,
            (None, scan) => scan.map_or(1, |s| s.source.partitions),
        }
    }

    /// Every partition that is read, with its source, in the order of the scans.
    pub fn inputs(&self) -> impl Iterator<Item = (TopicPartition, &Source)> {
        let sources = self.scans.iter().map(|scan| &*scan.source);
        sources.flat_map(|source| {
            let topic: Arc<str> = source.topic.as_str().into();
            (0..source.partitions as i32).map(move |p| (TopicPartition::new(topic.clone(), p), source))
        })
    }

    /// Name and partitions of every operator that keeps state.
    pub fn stores(&self) -> Vec<(&str, u32)> {
        let mut stores: Vec<(&str, u32)> = self.joins.iter().map(|j| (j.name.as_str(), j.partitions)).collect();
        stores.extend(self.table.iter().map(|t| (t.name.as_str(), self.partitions())));
        if let Some(aggregate) = &self.aggregate {
            let partitions = self.hop.as_ref().map_or(self.partitions(), |h| h.partitions);
            stores.push((&aggregate.name, partitions));
        }
        stores
    }
}

/// A join: two inputs, brought to the same key and partition.
#[derive(Clone, Debug)]
pub struct JoinStage {
    /// Stable name; its changelog is `<group>-<name>-changelog`.
    pub name: String,
    /// Which rows come out alone.
    pub kind: JoinKind,
    /// How rows find each other.
    pub rule: Rule,
    /// The joined value.
    pub key: Column,
    /// Format of the key bytes that decide partition and order.
    pub key_format: Format,
    /// Tasks.
    pub partitions: u32,
    /// The key is windowed, and windows have to be the same too.
    pub window: Option<KeyWindow>,
    /// Left and right. What comes out has the key, then the value columns of the left side, then those of the right.
    pub sides: [JoinSide; 2],
}

/// One input of a join.
#[derive(Clone, Debug)]
pub struct JoinSide {
    /// Where its rows come from.
    pub input: Input,
    /// The joined value as key, and the columns that are read.
    pub rows: RowSpec,
    /// Rows change partition; `None` = they are where they belong.
    pub hop: Option<Hop>,
    /// Types of its value columns.
    pub columns: Vec<DataType>,
}

/// Where the rows of a join's side come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// `scans[i]`
    Scan(usize),
    /// `joins[i]`
    Join(usize),
}

/// Which columns of a source are read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The source.
    pub source: Arc<Source>,
    /// Decoded key columns: indices into `source.schema.key`. Batches carry exactly these, in this order.
    pub key: Vec<usize>,
    /// Decoded value and header columns: indices into `source.schema.value`, in this order.
    pub value: Vec<usize>,
    /// Append ROWPARTITION as one more value column.
    pub row_partition: bool,
    /// Append ROWOFFSET as one more value column.
    pub row_offset: bool,
}

/// Where a program's column `i` comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputColumn {
    /// Key column of the batch.
    Key(usize),
    /// Value column of the batch.
    Value(usize),
    /// The row's time, BIGINT.
    Rowtime,
    /// First millisecond of its window, BIGINT.
    WindowStart,
    /// End of its window, BIGINT.
    WindowEnd,
}

/// Filters, then a projection.
#[derive(Clone, Debug, Default)]
pub struct RowSpec {
    /// What the programs' column numbers mean.
    pub slots: Vec<InputColumn>,
    /// Row passes if each is true, left to right; guarded.
    pub keep: Vec<Program>,
    /// Key columns of what comes out.
    pub key: Vec<Program>,
    /// Value columns of what comes out.
    pub value: Vec<Program>,
    /// Rows whose key came out NULL in any column are dropped and logged (GROUP BY), else they travel without a key.
    pub drop_null_keys: bool,
    /// Rows without a value are dropped (WHERE, GROUP BY), else they pass with a null value.
    pub drop_null_values: bool,
    /// The key is the input's key unchanged (no key programs): also its absence is kept.
    pub same_key: bool,
    /// Rows that do not pass stay, without a value: the table behind them writes them as tombstones.
    pub keep_absent: bool,
    /// The first so many value columns are group keys, for what is logged about them.
    pub groups: usize,
}

/// A table whose earlier rows have to be known: to undo them in their groups, or to distinguish a row that leaves from one that
/// never was.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Stable name: `KsqlTopic-Reduce`; its changelog is `<group>-<name>-changelog`.
    pub name: String,
    /// Format of the key bytes in the changelog.
    pub key_format: Format,
    /// The table's key columns; of a windowed one also start and end of the window.
    pub key: Vec<Column>,
    /// Value columns that are kept: those of the batch, or none where only the row's presence matters.
    pub columns: Vec<Column>,
    /// The first so many of them are group keys: they become the rows' key. 0 = the key stays.
    pub groups: usize,
}

/// Rows become several, and are projected after that.
#[derive(Clone, Debug)]
pub struct ExplodeSpec {
    /// Value columns that hold arrays.
    pub arrays: Vec<usize>,
    /// The projection of the new rows.
    pub after: RowSpec,
}

/// Rows go to the partition that their new key hashes to.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Stable name: `Aggregate-GroupBy`; its topic is `<group>-<name>-repartition`.
    pub name: String,
    /// Partitions, fixed at CREATE.
    pub partitions: u32,
    /// Format of the key bytes that decide the partition.
    pub key_format: Format,
    /// Key columns.
    pub key: Vec<Column>,
}

/// A grouping.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// Stable name: `Aggregate-Aggregate-Materialize`; its changelog is `<group>-<name>-changelog`.
    pub name: String,
    /// Time windows; `None` = one group per key.
    pub window: Option<Window>,
    /// EMIT FINAL.
    pub final_only: bool,
    /// EMIT FINAL loses windows where time jumps, as in ksqlDB.
    pub loses_windows: bool,
    /// The calls as they were written, for errors; may be empty.
    pub texts: Vec<String>,
    /// Aggregates in output order; the arguments are value columns of the batch.
    pub calls: Vec<AggregateCall>,
    /// Format of the key bytes in the changelog.
    pub key_format: Format,
    /// Group key columns.
    pub key: Vec<Column>,
}

/// One aggregate over value columns of the batch.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    /// The function, with its argument types resolved.
    pub function: Aggregate,
    /// Its arguments: indices of value columns; none for COUNT(*).
    pub arguments: Vec<usize>,
}

/// What comes out.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// Key columns, in the order of the batch.
    pub key: Vec<Column>,
    /// Value columns, in the order of the batch.
    pub value: Vec<Column>,
    /// The key is windowed.
    pub window: Option<KeyWindow>,
    /// It is a table.
    pub table: bool,
    /// A value column stamps the records (`WITH (TIMESTAMP = ...)` on a sink): its index.
    pub timestamp: Option<usize>,
}

/// Name of a store's changelog topic.
pub fn changelog_topic(group: &str, store: &str) -> String {
    format!("{group}-{store}-changelog")
}
