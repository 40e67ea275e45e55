//! The part below the filters of a bound plan: a scan, or a tree of joins over scans.
//!
//! Only the columns that some program reads are carried: a join asks its sides for those that are read above it, and the
//! scans decode what the sides ask for.

use super::{programs, reads, renumber, unexpected};
use crate::catalog::Format;
use crate::error::{Error, Result};
use crate::execute::pipeline::{Hop, Input, InputColumn, JoinSide, JoinStage, RowSpec, Scan, TableSpec};
use crate::parse::statement::SourceKind;
use crate::plan::nodes::join::{Join, Rule};
use crate::plan::nodes::table::{Origin, SourceTable};
use crate::plan::nodes::{Compute, downcast};
use crate::types::{Column, SqlType, pseudo};
use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use std::collections::BTreeSet;

/// Stable name of what brings the rows of a table's key together.
const GATHER_NAME: &str = "KsqlTopic-Gather";
/// Stable name of the state of a table in FROM.
const TABLE_NAME: &str = "KsqlTopic-Reduce";

/// What feeds the rows of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// In the order of FROM.
    pub(super) scans: Vec<Scan>,
    /// Each before those that read it.
    pub(super) joins: Vec<JoinStage>,
}

/// A scan or a join, and what its columns are.
pub(super) struct Leaf<'a> {
    below: Below<'a>,
    pub(super) schema: DFSchema,
}

enum Below<'a> {
    Scan(&'a SourceTable),
    Join(&'a Join),
}

impl Leaf<'_> {
    pub(super) fn of(plan: &LogicalPlan) -> Result<Leaf<'_>> {
        if let Some(join) = downcast::<Join>(plan) {
            return Ok(Leaf { below: Below::Join(join), schema: plan.schema().as_ref().clone() });
        }
        let LogicalPlan::TableScan(scan) = plan else { return Err(unexpected("a scan or a join", plan)) };
        let table = scan.source.downcast_ref().ok_or_else(|| Error::bug("a scan of something else than a source"))?;
        Ok(Leaf { below: Below::Scan(table), schema: scan.projected_schema.as_ref().clone() })
    }

    /// Are its rows those of a table?
    pub(super) fn is_table(&self) -> bool {
        match self.below {
            Below::Scan(table) => table.source().kind == SourceKind::Table,
            Below::Join(join) => join.rule.is_table(),
        }
    }

    /// What is to be known of the table's rows: `columns`, of which the first so many are group keys.
    pub(super) fn table_spec(&self, columns: Vec<Column>, groups: usize) -> TableSpec {
        let (key_format, key) = match self.below {
            Below::Scan(table) if table.source().window.is_some() => {
                let bounds = [pseudo::WINDOWSTART, pseudo::WINDOWEND].map(|name| Column::key(name, SqlType::Bigint));
                (Format::Json, table.source().schema.key.iter().cloned().chain(bounds).collect())
            }
            Below::Scan(table) => (table.source().key_format, table.source().schema.key.clone()),
            Below::Join(join) => {
                let (key, format) = join.output_key();
                (format, key.to_vec())
            }
        };
        TableSpec { name: TABLE_NAME.to_owned(), key_format, key, columns, groups }
    }

    /// How the rows of each key come together: a key of a format with a registry has the id of its writer's schema in its
    /// bytes, so that a table with several writers may have one key in several partitions.
    pub(super) fn gather(&self) -> Option<Hop> {
        let Below::Scan(table) = self.below else { return None };
        let source = table.source();
        let is_scattered = self.is_table() && source.key_format.schema_type().is_some();
        is_scattered.then(|| Hop {
            name: GATHER_NAME.to_owned(),
            partitions: source.partitions,
            key_format: source.key_format,
            key: source.schema.key.clone(),
        })
    }

    /// Gives the programs of `spec` slots, and returns what fills them.
    pub(super) fn number(&self, spec: &mut RowSpec) -> Result<Inputs> {
        let mut inputs = Inputs::default();
        self.fill(spec, &mut inputs)?;
        Ok(inputs)
    }

    fn fill(&self, spec: &mut RowSpec, inputs: &mut Inputs) -> Result<Input> {
        match self.below {
            Below::Scan(table) => {
                inputs.scans.push(scan(table, spec)?);
                Ok(Input::Scan(inputs.scans.len() - 1))
            }
            Below::Join(join) => {
                let stage = stage(join, spec, inputs)?;
                inputs.joins.push(stage);
                Ok(Input::Join(inputs.joins.len() - 1))
            }
        }
    }
}

fn all_reads(spec: &RowSpec) -> BTreeSet<usize> {
    spec.keep.iter().chain(&spec.key).chain(&spec.value).flat_map(reads).collect()
}

/// The scan that fills the slots of `spec`.
fn scan(table: &SourceTable, spec: &mut RowSpec) -> Result<Scan> {
    let origins = table.origins();
    let source = table.source().clone();
    let mut key: Vec<usize> = Vec::new();
    let mut value: Vec<usize> = Vec::new();
    let (mut row_partition, mut row_offset) = (false, false);
    for column in all_reads(spec) {
        match origins[column] {
            Origin::Key(i) => key.push(i),
            Origin::Value(i) => value.push(i),
            Origin::Partition => row_partition = true,
            Origin::Offset => row_offset = true,
            _ => {}
        }
    }
    // A key that is passed on is passed on whole.
    if spec.same_key {
        key = (0..source.schema.key.len()).collect();
    }
    let place = |list: &[usize], wanted: usize| {
        list.binary_search(&wanted).map_err(|_| Error::bug("a column that is read was not listed"))
    };
    renumber(spec, &|column| {
        Ok(match origins[column] {
            Origin::Key(i) => InputColumn::Key(place(&key, i)?),
            Origin::Value(i) => InputColumn::Value(place(&value, i)?),
            Origin::Rowtime => InputColumn::Rowtime,
            Origin::Partition => InputColumn::Value(value.len()),
            Origin::Offset => InputColumn::Value(value.len() + usize::from(row_partition)),
            Origin::WindowStart => InputColumn::WindowStart,
            Origin::WindowEnd => InputColumn::WindowEnd,
            Origin::Ordinal | Origin::Present => return Err(Error::bug("a program reads a hidden column")),
        })
    })?;
    Ok(Scan { source, key, value, row_partition, row_offset })
}

/// The join that fills the slots of `spec`; what feeds it is put into `front`.
fn stage(join: &Join, spec: &mut RowSpec, inputs: &mut Inputs) -> Result<JoinStage> {
    let [left, right] = join.widths();
    let read = all_reads(spec);
    // Column numbers of a side's plan: its key is 0.
    let of_left: Vec<usize> = read.range(1..=left).copied().collect();
    let of_right: Vec<usize> = read.range(left + 1..=left + right).map(|c| c - left).collect();
    let rowtime = 1 + left + right;
    // The foreign key itself goes along, in front of the left columns.
    let foreign = usize::from(matches!(join.rule, Rule::Foreign { .. }));
    renumber(spec, &|column| {
        let place = |list: &[usize], wanted: usize| {
            list.binary_search(&wanted).map_err(|_| Error::bug("a column that is read was not listed"))
        };
        Ok(match column {
            0 if foreign == 0 => InputColumn::Key(0),
            0 => InputColumn::Value(0),
            c if c <= left => InputColumn::Value(foreign + place(&of_left, c)?),
            c if c < rowtime => InputColumn::Value(foreign + of_left.len() + place(&of_right, c - left)?),
            c if c == rowtime => InputColumn::Rowtime,
            _ => return Err(Error::bug("a program reads a hidden column")),
        })
    })?;
    let of_left: Vec<usize> = std::iter::repeat_n(0, foreign).chain(of_left).collect();
    let left = side(join, 0, &of_left, inputs)?;
    let right = side(join, 1, &of_right, inputs)?;
    Ok(JoinStage {
        name: join.name.clone(),
        kind: join.kind,
        rule: join.rule.clone(),
        key: join.key.clone(),
        key_format: join.key_format,
        partitions: join.partitions,
        window: join.window,
        sides: [left, right],
    })
}

fn side(join: &Join, which: usize, columns: &[usize], inputs: &mut Inputs) -> Result<JoinSide> {
    let plan = &join.sides()[which];
    let compute: &Compute = downcast(plan).ok_or_else(|| unexpected("a Compute", plan))?;
    let leaf = Leaf::of(compute.input())?;
    let moves = join.hops[which];
    let wanted: Vec<_> = columns.iter().map(|c| compute.expressions[*c].clone()).collect();
    let mut rows = RowSpec {
        slots: Vec::new(),
        keep: Vec::new(),
        key: if moves { programs(&compute.expressions[..1], &leaf.schema)? } else { Vec::new() },
        value: programs(&wanted, &leaf.schema)?,
        drop_null_keys: false,
        drop_null_values: false,
        same_key: !moves,
        keep_absent: false,
        groups: 0,
    };
    let input = leaf.fill(&mut rows, inputs)?;
    let hop = moves.then(|| Hop {
        name: format!("{}-{}", join.name, ["left", "right"][which]),
        partitions: join.partitions,
        key_format: join.key_format,
        key: vec![join.key.clone()],
    });
    let types = columns.iter().map(|c| plan.schema().field(*c).data_type().clone()).collect();
    Ok(JoinSide { input, rows, hop, columns: types })
}
