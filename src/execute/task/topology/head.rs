//! Stage 1 without its state: WHERE, the projection and the group keys, EXPLODE, and the task to which each row goes.
//!
//! What becomes of a batch depends on that batch alone, so workers do this for the batches of a round in any order.

use super::exchange::Exchange;
use super::spare::Spare;
use crate::error::Result;
use crate::execute::change::{BadRows, ChangeBatch};
use crate::execute::operator::OperatorOutput;
use crate::execute::operator::explode::Explode;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::stage::StageKind;
use crate::execute::task::progress::Metering;

/// The operators without state.
#[derive(Debug)]
pub(crate) struct Head {
    pub(super) rows: FilterProjectOperator,
    pub(super) explode: Option<(Explode, FilterProjectOperator)>,
    /// `None` = rows stay in the task of their partition.
    pub(super) exchange: Option<Spare<Exchange>>,
    /// A table's state comes before the exchange.
    pub(super) has_table: bool,
    pub(super) metering: Metering,
}

/// What a batch has become.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Rows and the task that takes them, in order.
    pub(crate) parts: Vec<(usize, ChangeBatch)>,
    /// Rows with an error.
    pub(crate) bad: BadRows,
}

impl Prepared {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|(_, part)| part.len()).sum()
    }
}

impl Head {
    /// A batch of a partition.
    pub(crate) fn prepare(&self, partition: usize, batch: &ChangeBatch) -> Result<Prepared> {
        let mut first = OperatorOutput::default();
        let begun = self.metering.begin();
        self.rows.apply(batch, &mut first)?;
        self.metering.note(StageKind::Rows, begun, (batch.len(), first.batches.iter().map(ChangeBatch::len).sum()));
        let mut prepared = Prepared { parts: Vec::with_capacity(first.batches.len()), bad: first.bad };
        for batch in first.batches {
            if self.has_table {
                prepared.parts.push((partition, batch));
            } else {
                self.onward(partition, batch, &mut prepared)?;
            }
        }
        Ok(prepared)
    }

    /// EXPLODE and the exchange: a batch of a partition becomes the rows of each task, ascending.
    pub(crate) fn onward(&self, partition: usize, batch: ChangeBatch, prepared: &mut Prepared) -> Result<()> {
        if let Some((explode, after)) = &self.explode {
            let mut exploded = OperatorOutput::default();
            let begun = self.metering.begin();
            let rows = explode.apply(&batch, &mut prepared.bad)?;
            after.apply(&rows, &mut exploded)?;
            self.metering.note(StageKind::Explode, begun, (batch.len(), rows.len()));
            prepared.bad.append(&mut exploded.bad);
            prepared.parts.extend(exploded.batches.into_iter().map(|batch| (partition, batch)));
            return Ok(());
        }
        let Some(exchange) = &self.exchange else {
            prepared.parts.push((partition, batch));
            return Ok(());
        };
        let begun = self.metering.begin();
        prepared.parts.append(&mut exchange.with(|exchange| exchange.split(&batch))?);
        self.metering.note(StageKind::Exchange, begun, (batch.len(), batch.len()));
        Ok(())
    }
}
