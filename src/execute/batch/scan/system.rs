//! The rows of a system table for DataFusion: those that the engine provided when the query started.

use super::super::History;
use super::parts;
use crate::error::Result;
use crate::plan::nodes::system::SystemTable;
use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows of the system tables that a query reads.
pub type SystemRows = BTreeMap<SystemTable, RecordBatch>;

/// A system table in a batch query; without rows where the plan is only shown.
pub(crate) fn provider(table: SystemTable, history: &History) -> Result<Arc<dyn TableProvider>> {
    let batch = history.system.get(&table).cloned().unwrap_or_else(|| RecordBatch::new_empty(table.schema()));
    let batches: Vec<RecordBatch> = parts(&batch, history.rows).collect();
    Ok(Arc::new(MemTable::try_new(table.schema(), vec![batches])?))
}
