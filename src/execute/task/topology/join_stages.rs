//! The joins of a FROM clause at work: for every side its rows, their exchange, and one operator per task.
//!
//! [`JoinStages::step`] takes all rows of a closed interval of ordinals at once, one batch per input partition, and carries them
//! through the joins from left to right. Each task sees, port by port, everything of the interval: what meets what is
//! decided by (ordinal, port), not by the order of these calls. Of one join, workers bring the batches of both sides to its tasks,
//! and then take the tasks, side by side.

use super::exchange::Exchange;
use super::spare::Spare;
use super::stage_tasks::{ROW_WEIGHT, StageTasks};
use crate::error::{Error, Result};
use crate::execute::change::ChangeBatch;
use crate::execute::operator::filter_project::FilterProjectOperator;
use crate::execute::operator::foreign_key_join::{ForeignKeyInput, ForeignKeyJoin};
use crate::execute::operator::stream_stream_join::StreamStreamJoin;
use crate::execute::operator::table_join::{StreamTableJoin, TableTableJoin};
use crate::execute::operator::{EmitMode, Operator, OperatorOutput};
use crate::execute::pipeline::{Hop, Input, JoinSide, JoinStage, Pipeline};
use crate::execute::stage::StageKind;
use crate::execute::state::spill_pool::SpillPool;
use crate::execute::task::progress::Metering;
use crate::parse::statement::JoinKind;
use crate::plan::nodes::join::Rule;
use crate::types::{Column, SqlType};
use crate::workers::Crew;
use std::sync::Arc;

/// What a task does once it has taken its rows.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Emit,
    /// There will be no more rows; what leaves now was caused by this `seq`.
    Finish(u64),
}

/// All joins of a query.
#[derive(Debug)]
pub(crate) struct JoinStages {
    crew: Crew,
    joints: Vec<Joint>,
    /// Scan and partition of every input.
    inputs: Vec<(usize, usize)>,
    metering: Metering,
}

/// Rows of a task, by port.
type Ports = [Vec<ChangeBatch>; 2];

#[derive(Debug)]
struct Joint {
    name: String,
    sides: Arc<[Port; 2]>,
    tasks: StageTasks,
    /// All rows meet in one task, and what comes out goes to the partition of its key.
    scatter: Option<Arc<Spare<Exchange>>>,
}

/// One side of a join.
#[derive(Debug)]
struct Port {
    input: Input,
    rows: FilterProjectOperator,
    exchange: Option<Spare<Exchange>>,
}

impl JoinStages {
    /// `mode` is that of the last join: the others hand on every change, so that what comes out is the fold of all of them.
    pub(crate) fn new(
        pipeline: &Pipeline,
        mode: EmitMode,
        spill_pool: &Arc<SpillPool>,
        crew: &Crew,
    ) -> Result<JoinStages> {
        let inputs = pipeline.scans.iter().enumerate();
        let inputs = inputs.flat_map(|(i, s)| (0..s.source.partitions as usize).map(move |p| (i, p))).collect();
        let last = pipeline.joins.len().wrapping_sub(1);
        let mode = |nth: usize| if nth == last { mode } else { EmitMode::EveryChange };
        let joints = pipeline.joins.iter().enumerate();
        let joints = joints.map(|(nth, stage)| joint(stage, mode(nth), spill_pool)).collect::<Result<_>>()?;
        Ok(JoinStages { crew: crew.clone(), joints, inputs, metering: Metering::default() })
    }

    /// Counts from now on.
    pub(crate) fn measured(&mut self, metering: &Metering) {
        self.metering = metering.clone();
    }

    /// Number of joins.
    pub(crate) fn len(&self) -> usize {
        self.joints.len()
    }

    /// No joins?
    pub(crate) fn is_empty(&self) -> bool {
        self.joints.is_empty()
    }

    /// Takes the rows of an interval of ordinals, by input; returns what the last join wrote, by task.
    pub(crate) fn step(
        &mut self,
        batches: &[(usize, ChangeBatch)],
        out: &mut OperatorOutput,
    ) -> Result<Vec<(usize, ChangeBatch)>> {
        self.run(batches, Then::Nothing, out)
    }

    /// Nothing will come any more: what waits leaves, from the first join on; `seq` is its ordinal.
    pub(crate) fn finish(&mut self, seq: u64, out: &mut OperatorOutput) -> Result<Vec<(usize, ChangeBatch)>> {
        self.run(&[], Then::Finish(seq), out)
    }

    /// What changed since the previous emission, by task of the last join.
    pub(crate) fn emit(&mut self, out: &mut OperatorOutput) -> Result<Vec<(usize, ChangeBatch)>> {
        self.run(&[], Then::Emit, out)
    }

    fn run(
        &mut self,
        batches: &[(usize, ChangeBatch)],
        then: Then,
        out: &mut OperatorOutput,
    ) -> Result<Vec<(usize, ChangeBatch)>> {
        let mut written: Vec<Vec<(usize, ChangeBatch)>> = Vec::new();
        for (nth, joint) in self.joints.iter_mut().enumerate() {
            let begun = self.metering.begin();
            let mut coming: Vec<(usize, usize, ChangeBatch)> = Vec::new();
            for (port, side) in joint.sides.iter().enumerate() {
                match side.input {
                    Input::Scan(scan) => {
                        let own = batches.iter().filter(|(input, _)| self.inputs[*input].0 == scan);
                        coming.extend(own.map(|(input, batch)| (port, self.inputs[*input].1, batch.clone())));
                    }
                    Input::Join(earlier) => {
                        coming.extend(written[earlier].iter().map(|(task, batch)| (port, *task, batch.clone())));
                    }
                }
            }
            let rows = coming.iter().map(|(_, _, batch)| batch.len()).sum::<usize>();
            let ports = joint.bring(&self.crew, rows, coming, out)?;
            let (results, late) = joint.step(&self.crew, rows, ports, then, out)?;
            let written_rows = results.iter().map(|(_, batch)| batch.len()).sum();
            self.metering.note(StageKind::Join(nth), begun, (rows, written_rows));
            self.metering.note_late(StageKind::Join(nth), late);
            out.late += late;
            written.push(results);
        }
        Ok(written.pop().unwrap_or_default())
    }

    /// Every join's name and tasks.
    pub(crate) fn stages(&mut self) -> impl Iterator<Item = (&str, &mut StageTasks)> {
        self.joints.iter_mut().map(|joint| (joint.name.as_str(), &mut joint.tasks))
    }

    /// The tasks with this number, one of each join.
    pub(crate) fn tasks(&self, task: usize) -> impl Iterator<Item = Option<&dyn Operator>> {
        self.joints.iter().map(move |joint| joint.tasks.get(task))
    }
}

impl Joint {
    /// Sorts incoming rows (port, partition, rows) into those of each task and port, in order.
    fn bring(
        &self,
        crew: &Crew,
        rows: usize,
        coming: Vec<(usize, usize, ChangeBatch)>,
        out: &mut OperatorOutput,
    ) -> Result<Vec<Ports>> {
        let (sides, tasks) = (self.sides.clone(), self.tasks.len());
        let brought = crew.run(rows * ROW_WEIGHT, coming, move |(port, partition, batch)| {
            let side = &sides[port];
            let (mut rows, mut parts) = (OperatorOutput::default(), Vec::new());
            side.rows.apply(&batch, &mut rows)?;
            for batch in rows.batches {
                match &side.exchange {
                    // One task takes all where the rows of all partitions meet.
                    None => parts.push((partition.min(tasks - 1), batch)),
                    Some(exchange) => parts.append(&mut exchange.with(|exchange| exchange.split(&batch))?),
                }
            }
            Ok((port, parts, rows.bad))
        })?;
        let mut ports: Vec<Ports> = vec![Ports::default(); tasks];
        for (port, parts, mut bad) in brought {
            out.bad.append(&mut bad);
            parts.into_iter().for_each(|(task, batch)| ports[task][port].push(batch));
        }
        Ok(ports)
    }

    /// Runs the tasks over their rows; returns the output of each task and the number of late rows.
    fn step(
        &mut self,
        crew: &Crew,
        rows: usize,
        ports: Vec<Ports>,
        then: Then,
        out: &mut OperatorOutput,
    ) -> Result<(Vec<(usize, ChangeBatch)>, u64)> {
        let busy = |ports: &Ports| !matches!(then, Then::Nothing) || ports.iter().any(|port| !port.is_empty());
        let named = ports.into_iter().enumerate().filter(|(_, ports)| busy(ports));
        let scatter = self.scatter.clone();
        let done = self.tasks.run(crew, rows, named, move |task, operator, [left, right]: Ports| {
            let (left, right) = (ChangeBatch::merge(left)?, ChangeBatch::merge(right)?);
            let mut own = OperatorOutput::default();
            if left.is_some() || right.is_some() {
                operator.step(&[left.as_ref(), right.as_ref()], &mut own)?;
            }
            match then {
                Then::Nothing => {}
                Then::Emit => operator.emit(&mut own)?,
                Then::Finish(seq) => operator.finish(seq, &mut own)?,
            }
            let parts = match (ChangeBatch::merge(std::mem::take(&mut own.batches))?, &scatter) {
                (None, _) => Vec::new(),
                (Some(batch), None) => vec![(task, batch)],
                (Some(batch), Some(scatter)) => scatter.with(|scatter| scatter.split(&batch))?,
            };
            Ok((parts, own))
        })?;
        let (mut results, mut late) = (Vec::new(), 0);
        for (mut parts, mut own) in done {
            late += own.late;
            out.bad.append(&mut own.bad);
            results.append(&mut parts);
        }
        Ok((results, late))
    }
}

fn joint(stage: &JoinStage, mode: EmitMode, spill_pool: &Arc<SpillPool>) -> Result<Joint> {
    let port = |side: &JoinSide| -> Result<Port> {
        let exchange = |hop: Hop| Spare::new(move || Exchange::new(&hop));
        Ok(Port {
            input: side.input,
            rows: FilterProjectOperator::new(&side.rows),
            exchange: side.hop.clone().map(exchange).transpose()?,
        })
    };
    let key = std::slice::from_ref(&stage.key);
    let task = |_| -> Result<Box<dyn Operator>> {
        Ok(match &stage.rule {
            Rule::Within(within) => Box::new(StreamStreamJoin::new(stage, *within, spill_pool)?),
            Rule::Lookup => {
                let [_, table] = columns(stage)?;
                Box::new(StreamTableJoin::new(stage.kind == JoinKind::Left, stage.key_format, key, &table)?)
            }
            Rule::Tables => {
                let [left, right] = columns(stage)?;
                Box::new(TableTableJoin::new(stage.kind, stage.key_format, key, [&left, &right], mode)?)
            }
            Rule::Foreign { key: own, key_format } => {
                let [left, right] = columns(stage)?;
                let left = ForeignKeyInput { key_format: *key_format, key: own, columns: &left };
                let right = ForeignKeyInput { key_format: stage.key_format, key, columns: &right };
                Box::new(ForeignKeyJoin::new(stage.kind == JoinKind::Left, [left, right], 0, mode)?)
            }
        })
    };
    let scatter = match &stage.rule {
        Rule::Foreign { key, key_format } => {
            let (name, key) = (stage.name.clone(), key.clone());
            let hop = Hop { name, partitions: stage.partitions, key_format: *key_format, key };
            Some(Arc::new(Spare::new(move || Exchange::new(&hop))?))
        }
        _ => None,
    };
    let tasks = if scatter.is_some() { 1 } else { stage.partitions };
    Ok(Joint {
        name: stage.name.clone(),
        sides: Arc::new([port(&stage.sides[0])?, port(&stage.sides[1])?]),
        tasks: (0..tasks).map(task).collect::<Result<_>>()?,
        scatter,
    })
}

/// The value columns of both sides.
fn columns(stage: &JoinStage) -> Result<[Vec<Column>; 2]> {
    let of = |side: &JoinSide| {
        let types = side.columns.iter().map(|ty| SqlType::from_arrow(ty).ok_or_else(|| Error::bug("an odd column")));
        types.enumerate().map(|(i, ty)| Ok(Column::value(format!("C{i}"), ty?))).collect::<Result<Vec<_>>>()
    };
    Ok([of(&stage.sides[0])?, of(&stage.sides[1])?])
}
