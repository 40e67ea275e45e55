//! The operators of one stage with state, a task for each partition, which workers take one by one.

use crate::error::{Error, Result};
use crate::execute::operator::Operator;
use crate::workers::Crew;

/// What a row weighs when a round of operators is weighed against handing it over ([`Crew::run`] counts bytes): with its key, time
/// and some columns it takes a stateful operator as long as the decoder takes for so many bytes.
pub(crate) const ROW_WEIGHT: usize = 64;

/// Tasks by partition. One that a worker has taken is away until the worker is done; after an error in it, for good, and then the
/// execution is dropped as well.
#[derive(Debug, Default)]
pub(crate) struct StageTasks(Vec<Option<Box<dyn Operator>>>);

impl StageTasks {
    /// Number of tasks.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// None: the pipeline does not have the stage.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All tasks, in order.
    pub(crate) fn all(&mut self) -> Vec<&mut dyn Operator> {
        self.0.iter_mut().flatten().map(|task| &mut **task as &mut dyn Operator).collect()
    }

    /// One of them.
    pub(crate) fn get(&self, task: usize) -> Option<&dyn Operator> {
        self.0.get(task)?.as_ref().map(|task| &**task as &dyn Operator)
    }

    /// Does `work` for the named tasks, each with what is there for it, and returns the results in the same order. No task is named
    /// twice.
    pub(crate) fn run<I, R>(
        &mut self,
        crew: &Crew,
        rows: usize,
        named: impl IntoIterator<Item = (usize, I)>,
        work: impl Fn(usize, &mut dyn Operator, I) -> Result<R> + Send + Sync + 'static,
    ) -> Result<Vec<R>>
    where
        I: Send + 'static,
        R: Send + 'static,
    {
        let away = || Error::bug("a task is away or does not exist");
        let items = named.into_iter().map(|(task, input)| {
            let operator = self.0.get_mut(task).and_then(Option::take).ok_or_else(away)?;
            Ok((task, operator, input))
        });
        let items = items.collect::<Result<Vec<_>>>()?;
        let done = crew.run(rows.saturating_mul(ROW_WEIGHT), items, move |(task, mut operator, input)| {
            let result = work(task, &mut *operator, input)?;
            Ok((task, operator, result))
        })?;
        let back = |(task, operator, result): (usize, _, R)| {
            self.0[task] = Some(operator);
            result
        };
        Ok(done.into_iter().map(back).collect())
    }

    /// The same for all tasks, without anything for them.
    pub(crate) fn run_all<R: Send + 'static>(
        &mut self,
        crew: &Crew,
        rows: usize,
        work: impl Fn(usize, &mut dyn Operator) -> Result<R> + Send + Sync + 'static,
    ) -> Result<Vec<R>> {
        self.run(crew, rows, (0..self.0.len()).map(|task| (task, ())), move |task, operator, ()| work(task, operator))
    }
}

impl FromIterator<Box<dyn Operator>> for StageTasks {
    fn from_iter<T: IntoIterator<Item = Box<dyn Operator>>>(tasks: T) -> StageTasks {
        StageTasks(tasks.into_iter().map(Some).collect())
    }
}
