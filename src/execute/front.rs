//! The joins of a FROM clause at work: for every side its rows, their exchange, and one operator per task.
//!
//! [`Front::step`] takes all rows of a closed interval of ordinals at once, one batch per input partition, and carries them
//! through the joins from left to right. Each task sees, port by port, everything of the interval: what meets what is
//! decided by (ordinal, port), not by the order of these calls.

use super::join::WithinOperator;
use super::pipeline::{Input, JoinSide, JoinStage, Pipeline};
use super::row::RowOperator;
use super::stages::Exchange;
use super::{ChangeBatch, Operator, Out};
use crate::error::Result;
use crate::plan::join::Rule;

/// All joins of a query.
#[derive(Debug, Default)]
pub(super) struct Front {
    joints: Vec<Joint>,
    /// Scan and partition of every input.
    inputs: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct Joint {
    name: String,
    sides: [Port; 2],
    tasks: Vec<Box<dyn Operator>>,
}

/// One side of a join.
#[derive(Debug)]
struct Port {
    input: Input,
    /// One per partition of what comes in.
    rows: Vec<RowOperator>,
    exchange: Option<Exchange>,
}

impl Front {
    pub(super) fn new(pipeline: &Pipeline) -> Result<Front> {
        let inputs = pipeline.scans.iter().enumerate();
        let inputs = inputs.flat_map(|(i, s)| (0..s.source.partitions as usize).map(move |p| (i, p))).collect();
        let joints = pipeline.joins.iter().map(|stage| joint(stage, pipeline)).collect::<Result<_>>()?;
        Ok(Front { joints, inputs })
    }

    /// No joins?
    pub(super) fn is_empty(&self) -> bool {
        self.joints.is_empty()
    }

    /// Takes the rows of an interval of ordinals, by input; answers what the last join wrote, by task.
    pub(super) fn step(
        &mut self,
        batches: &[(usize, ChangeBatch)],
        out: &mut Out,
    ) -> Result<Vec<(usize, ChangeBatch)>> {
        self.run(batches, None, out)
    }

    /// Nothing will come any more: what waits leaves, from the first join on; `seq` is its ordinal.
    pub(super) fn finish(&mut self, seq: u64, out: &mut Out) -> Result<Vec<(usize, ChangeBatch)>> {
        self.run(&[], Some(seq), out)
    }

    fn run(
        &mut self,
        batches: &[(usize, ChangeBatch)],
        finish: Option<u64>,
        out: &mut Out,
    ) -> Result<Vec<(usize, ChangeBatch)>> {
        let mut written: Vec<Vec<(usize, ChangeBatch)>> = Vec::new();
        for joint in &mut self.joints {
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
                *port = side.bring(&coming, tasks, out)?;
            }
            let mut results = Vec::new();
            for (task, operator) in joint.tasks.iter_mut().enumerate() {
                let [left, right] = [&ports[0][task], &ports[1][task]];
                let mut own = Out::default();
                if left.is_some() || right.is_some() {
                    operator.step(&[left.as_ref(), right.as_ref()], &mut own)?;
                }
                if let Some(seq) = finish {
                    operator.finish(seq, &mut own)?;
                }
                out.late += own.late;
                out.bad.append(&mut own.bad);
                results.extend(ChangeBatch::merge(own.batches)?.map(|batch| (task, batch)));
            }
            written.push(results);
        }
        Ok(written.pop().unwrap_or_default())
    }

    /// Every join's name and tasks.
    pub(super) fn stores(&mut self) -> impl Iterator<Item = (&str, Vec<&mut dyn Operator>)> {
        self.joints.iter_mut().map(|joint| {
            let tasks = joint.tasks.iter_mut().map(|t| t.as_mut() as &mut dyn Operator).collect();
            (joint.name.as_str(), tasks)
        })
    }

    /// The tasks with this number, one of each join.
    pub(super) fn tasks(&self, task: usize) -> impl Iterator<Item = Option<&dyn Operator>> {
        self.joints.iter().map(move |joint| joint.tasks.get(task).map(|t| t.as_ref() as &dyn Operator))
    }
}

fn joint(stage: &JoinStage, pipeline: &Pipeline) -> Result<Joint> {
    let port = |side: &JoinSide| -> Result<Port> {
        let partitions = match side.input {
            Input::Scan(scan) => pipeline.scans[scan].source.partitions,
            Input::Join(join) => pipeline.joins[join].partitions,
        };
        Ok(Port {
            input: side.input,
            rows: (0..partitions).map(|_| RowOperator::new(&side.rows)).collect(),
            exchange: side.hop.as_ref().map(Exchange::new).transpose()?,
        })
    };
    let task = |_| -> Result<Box<dyn Operator>> {
        Ok(match &stage.rule {
            Rule::Within(within) => Box::new(WithinOperator::new(stage, *within)?),
        })
    };
    Ok(Joint {
        name: stage.name.clone(),
        sides: [port(&stage.sides[0])?, port(&stage.sides[1])?],
        tasks: (0..stage.partitions).map(task).collect::<Result<_>>()?,
    })
}

impl Port {
    /// The rows of every task, in order.
    fn bring(
        &mut self,
        coming: &[(usize, &ChangeBatch)],
        tasks: usize,
        out: &mut Out,
    ) -> Result<Vec<Option<ChangeBatch>>> {
        let mut parts: Vec<Vec<ChangeBatch>> = vec![Vec::new(); tasks];
        for &(partition, batch) in coming {
            let mut rows = Out::default();
            self.rows[partition].step(&[Some(batch)], &mut rows)?;
            out.bad.append(&mut rows.bad);
            for batch in rows.batches {
                match &mut self.exchange {
                    None => parts[partition].push(batch),
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
