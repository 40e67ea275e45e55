//! The joins of a FROM clause at work: for every side its rows, their exchange, and one operator per task.
//!
//! [`JoinStages::step`] takes all rows of a closed interval of ordinals at once, one batch per input partition, and carries them
//! through the joins from left to right. Each task sees, port by port, everything of the interval: what meets what is
//! decided by (ordinal, port), not by the order of these calls.

use super::exchange::Exchange;
use super::progress::Metering;
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
use crate::parse::statement::JoinKind;
use crate::plan::nodes::join::Rule;
use crate::types::{Column, SqlType};
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
#[derive(Debug, Default)]
pub(crate) struct JoinStages {
    joints: Vec<Joint>,
    /// Scan and partition of every input.
    inputs: Vec<(usize, usize)>,
    metering: Metering,
}

#[derive(Debug)]
struct Joint {
    name: String,
    sides: [Port; 2],
    tasks: Vec<Box<dyn Operator>>,
    /// All rows meet in one task, and what comes out goes to the partition of its key.
    scatter: Option<Exchange>,
}

/// One side of a join.
#[derive(Debug)]
struct Port {
    input: Input,
    /// One per partition of what comes in.
    rows: Vec<FilterProjectOperator>,
    exchange: Option<Exchange>,
}

impl JoinStages {
    /// `mode` is that of the last join: the others hand on every change, so that what comes out is the fold of all of them.
    pub(crate) fn new(pipeline: &Pipeline, mode: EmitMode, spill_pool: &Arc<SpillPool>) -> Result<JoinStages> {
        let inputs = pipeline.scans.iter().enumerate();
        let inputs = inputs.flat_map(|(i, s)| (0..s.source.partitions as usize).map(move |p| (i, p))).collect();
        let last = pipeline.joins.len().wrapping_sub(1);
        let mode = |nth: usize| if nth == last { mode } else { EmitMode::EveryChange };
        let joints = pipeline.joins.iter().enumerate();
        let joints = joints.map(|(nth, stage)| joint(stage, pipeline, mode(nth), spill_pool)).collect::<Result<_>>()?;
        Ok(JoinStages { joints, inputs, metering: Metering::default() })
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
            let (begun, mut rows, mut late) = (self.metering.begin(), 0, 0);
            let tasks = joint.tasks.len();
            let mut ports: [Vec<Option<ChangeBatch>>; 2] = [Vec::new(), Vec::new()];
            for (port, side) in ports.iter_mut().zip(&mut joint.sides) {
                let coming: Vec<(usize, &ChangeBatch)> = match side.input {
                    Input::Scan(scan) => {
                        let own = batches.iter().filter(|(input, _)| self.inputs[*input].0 == scan);
                        own.map(|(input, batch)| (self.inputs[*input].1, batch)).collect()
                    }
                    Input::Join(earlier) => written[earlier].iter().map(|(task, batch)| (*task, batch)).collect(),
                };
                rows += coming.iter().map(|(_, batch)| batch.len()).sum::<usize>();
                *port = side.bring(&coming, tasks, out)?;
            }
            let mut results = Vec::new();
            for (task, operator) in joint.tasks.iter_mut().enumerate() {
                let [left, right] = [&ports[0][task], &ports[1][task]];
                let mut own = OperatorOutput::default();
                if left.is_some() || right.is_some() {
                    operator.step(&[left.as_ref(), right.as_ref()], &mut own)?;
                }
                match then {
                    Then::Nothing => {}
                    Then::Emit => operator.emit(&mut own)?,
                    Then::Finish(seq) => operator.finish(seq, &mut own)?,
                }
                late += own.late;
                out.bad.append(&mut own.bad);
                match (ChangeBatch::merge(own.batches)?, &mut joint.scatter) {
                    (None, _) => {}
                    (Some(batch), None) => results.push((task, batch)),
                    (Some(batch), Some(scatter)) => results.extend(scatter.split(&batch)?),
                }
            }
            let written_rows = results.iter().map(|(_, batch)| batch.len()).sum();
            self.metering.note(StageKind::Join(nth), begun, (rows, written_rows));
            self.metering.note_late(StageKind::Join(nth), late);
            out.late += late;
            written.push(results);
        }
        Ok(written.pop().unwrap_or_default())
    }

    /// Every join's name and tasks.
    pub(crate) fn stores(&mut self) -> impl Iterator<Item = (&str, Vec<&mut dyn Operator>)> {
        self.joints.iter_mut().map(|joint| {
            let tasks = joint.tasks.iter_mut().map(|t| t.as_mut() as &mut dyn Operator).collect();
            (joint.name.as_str(), tasks)
        })
    }

    /// The tasks with this number, one of each join.
    pub(crate) fn tasks(&self, task: usize) -> impl Iterator<Item = Option<&dyn Operator>> {
        self.joints.iter().map(move |joint| joint.tasks.get(task).map(|t| t.as_ref() as &dyn Operator))
    }
}

fn joint(stage: &JoinStage, pipeline: &Pipeline, mode: EmitMode, spill_pool: &Arc<SpillPool>) -> Result<Joint> {
    let port = |side: &JoinSide| -> Result<Port> {
        let partitions = match side.input {
            Input::Scan(scan) => pipeline.scans[scan].source.partitions,
            Input::Join(join) => pipeline.joins[join].partitions,
        };
        Ok(Port {
            input: side.input,
            rows: (0..partitions).map(|_| FilterProjectOperator::new(&side.rows)).collect(),
            exchange: side.hop.as_ref().map(Exchange::new).transpose()?,
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
        Rule::Foreign { key, key_format } => Some(Exchange::new(&Hop {
            name: stage.name.clone(),
            partitions: stage.partitions,
            key_format: *key_format,
            key: key.clone(),
        })?),
        _ => None,
    };
    let tasks = if scatter.is_some() { 1 } else { stage.partitions };
    Ok(Joint {
        name: stage.name.clone(),
        sides: [port(&stage.sides[0])?, port(&stage.sides[1])?],
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

impl Port {
    /// The rows of every task, in order.
    fn bring(
        &mut self,
        coming: &[(usize, &ChangeBatch)],
        tasks: usize,
        out: &mut OperatorOutput,
    ) -> Result<Vec<Option<ChangeBatch>>> {
        let mut parts: Vec<Vec<ChangeBatch>> = vec![Vec::new(); tasks];
        for &(partition, batch) in coming {
            let mut rows = OperatorOutput::default();
            self.rows[partition].step(&[Some(batch)], &mut rows)?;
            out.bad.append(&mut rows.bad);
            for batch in rows.batches {
                match &mut self.exchange {
                    // One task takes all where the rows of all partitions meet.
                    None => parts[partition.min(tasks - 1)].push(batch),
                    Some(exchange) => {
                        for (task, part) in exchange.split(&batch)? {
                            parts[task].push(part);
                        }
                    }
                }
            }
        }
        parts.into_iter().map(ChangeBatch::merge).collect()
    }
}
