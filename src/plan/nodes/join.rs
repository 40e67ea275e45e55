//! The join node of a bound plan: two inputs, one row out for each pair that meets.
//!
//! ```text
//! Join: LEFT, within 10 SECONDS           columns: #key | left ... | right ... | ROWTIME ROWPARTITION #ordinal #present
//! ├─ Compute: #key, L_A, L_B, ...         the first column of a side is what it is joined by
//! │  └─ Scan: stream L
//! └─ Compute: #key, R_A, R_C, ...
//!    └─ Scan: stream R
//! ```
//!
//! The key of what comes out is the joined value itself, and so never NULL for an unmatched row of the right side;
//! the columns of a side that had no row are. How rows find each other is the [`Rule`].

use crate::catalog::{Format, KeyWindow};
use crate::parse::statement::{JoinKind, Within};
use crate::plan::nodes::downcast;
use crate::plan::nodes::table::{ORDINAL, PRESENT};
use crate::types::{Column as SqlColumn, pseudo};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// The joined value, as a column of a side and of the result. No SQL name can be spelt like it by accident.
pub const KEY: &str = "#key";

/// Columns that end the schema of every side and of the result.
pub const HIDDEN: [&str; 4] = [pseudo::ROWTIME, pseudo::ROWPARTITION, ORDINAL, PRESENT];

/// How rows find each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Two streams: rows of one key that lie close enough in time.
    Within(Within),
    /// A stream's row and the row that a table has for its key by then.
    Lookup,
    /// The rows of two tables with one key.
    Tables,
    /// A table's row and the row of another table whose key it names; the result has the left table's key.
    Foreign {
        /// The left table's key columns.
        key: Vec<SqlColumn>,
        /// Format of their bytes.
        key_format: Format,
    },
}

impl Rule {
    /// Is what comes out a table?
    pub fn is_table(&self) -> bool {
        matches!(self, Rule::Tables | Rule::Foreign { .. })
    }
}

/// Two inputs joined by one value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// Stable name of its state: `Join` is the last one of a statement, `L_Join` the one to its left, and so on.
    pub name: String,
    /// Which unmatched rows are emitted.
    pub kind: JoinKind,
    /// How rows find each other.
    pub rule: Rule,
    /// The joined value as a key column.
    pub key: SqlColumn,
    /// Format of the key bytes that decide partition and order.
    pub key_format: Format,
    /// Partitions of both sides.
    pub partitions: u32,
    /// Whether the rows of the left and of the right side have to change partition first.
    pub hops: [bool; 2],
    /// The key is windowed, and windows have to be the same too.
    pub window: Option<KeyWindow>,
    sides: [LogicalPlan; 2],
    schema: DFSchemaRef,
}

impl Join {
    /// A plan that joins two sides, each with [`KEY`] as its first and [`HIDDEN`] as its last columns.
    #[expect(clippy::too_many_arguments, reason = "a plan node has what it has")]
    pub fn plan(
        name: String,
        kind: JoinKind,
        rule: Rule,
        key: SqlColumn,
        key_format: Format,
        partitions: u32,
        hops: [bool; 2],
        window: Option<KeyWindow>,
        sides: [LogicalPlan; 2],
    ) -> Result<LogicalPlan> {
        let schema = joined(&sides)?;
        let node = Join { name, kind, rule, key, key_format, partitions, hops, window, sides, schema };
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    /// Key columns of what comes out, and the format of their bytes.
    pub fn output_key(&self) -> (&[SqlColumn], Format) {
        match &self.rule {
            Rule::Foreign { key, key_format } => (key, *key_format),
            _ => (std::slice::from_ref(&self.key), self.key_format),
        }
    }

    /// Left and right input.
    pub fn sides(&self) -> &[LogicalPlan; 2] {
        &self.sides
    }

    /// How many columns each side gives to the result; they follow [`KEY`], left before right.
    pub fn widths(&self) -> [usize; 2] {
        [0, 1].map(|side| width(&self.sides[side]))
    }
}

/// Is this plan's root a join?
pub fn is_join(plan: &LogicalPlan) -> bool {
    downcast::<Join>(plan).is_some()
}

fn width(side: &LogicalPlan) -> usize {
    side.schema().fields().len() - 1 - HIDDEN.len()
}

fn joined(sides: &[LogicalPlan; 2]) -> Result<DFSchemaRef> {
    let [left, right] = sides;
    let mut fields = vec![left.schema().field(0).clone()];
    for side in [left, right] {
        fields.extend((1..=width(side)).map(|i| side.schema().field(i).clone()));
    }
    let hidden = HIDDEN.map(|name| match name {
        pseudo::ROWPARTITION => DataType::Int32,
        PRESENT => DataType::Boolean,
        _ => DataType::Int64,
    });
    let mut fields: Vec<_> = fields.into_iter().map(|f| (None, f)).collect();
    fields.extend(HIDDEN.iter().zip(hidden).map(|(name, ty)| (None, Arc::new(Field::new(*name, ty, true)))));
    Ok(Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?))
}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Within(within) => {
                write!(f, "within {} ms before and {} ms after", within.before_ms, within.after_ms)?;
                within.grace_ms.map_or(Ok(()), |grace| write!(f, ", grace {grace} ms"))
            }
            Rule::Lookup => f.write_str("as the table is by then"),
            Rule::Tables => f.write_str("tables by key"),
            Rule::Foreign { .. } => f.write_str("tables by foreign key"),
        }
    }
}

impl UserDefinedLogicalNodeCore for Join {
    fn name(&self) -> &str {
        "Join"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.sides.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    // A row that is filtered out below would match nothing and move no time.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let names = self.schema.fields().iter().map(|f| f.name().clone());
        self.schema.field_names().into_iter().chain(names).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = format!("{:?}", self.kind).to_uppercase();
        write!(f, "Join: {kind}, {}, key {} in {} partitions", self.rule, self.key_format.name(), self.partitions)?;
        for (moves, side) in self.hops.into_iter().zip(["left", "right"]) {
            if moves {
                write!(f, ", {side} changes key")?;
            }
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Join> {
        let sides: [LogicalPlan; 2] = match inputs.try_into() {
            Ok(sides) => sides,
            Err(_) => return datafusion::common::internal_err!("a join has two inputs"),
        };
        let schema = joined(&sides)?;
        Ok(Join { sides, schema, ..self.clone() })
    }
}
