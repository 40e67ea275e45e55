//! Aggregates that keep values, for DataFusion: the accumulator of continuous queries over a state of one group.

use super::nodes::external;
use crate::execute::state::group_codec::{GroupCodec, STATE_VERSION};
use crate::functions::accumulate::{self, Arguments, Changes, Heap, Op, Results, State, Step, Work};
use crate::functions::aggregate::Aggregate;
use arrow::array::{ArrayRef, AsArray};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

/// Words before the accumulator's: where continuous queries have the row's time.
const HEAD_WORDS: usize = 1;

/// One group. Its words are followed by those of a second one, for merging.
#[derive(Debug)]
pub(super) struct Kept {
    accumulator: accumulate::Accumulator,
    /// The call as it was written, and what it means.
    called: (String, Aggregate),
    arity: usize,
    bytes: GroupCodec,
    width: usize,
    words: Vec<i64>,
    heap: Heap,
}

impl Kept {
    pub(super) fn new(aggregate: &Aggregate, text: &str) -> Result<Kept> {
        let accumulator = accumulate::Accumulator::new(aggregate.clone(), HEAD_WORDS).map_err(external)?;
        let width = HEAD_WORDS + accumulator.width();
        let bytes = GroupCodec::new(STATE_VERSION, HEAD_WORDS, std::slice::from_ref(&accumulator));
        let (arity, words) = (aggregate.arity(), vec![0; 2 * width]);
        let called = (text.to_owned(), aggregate.clone());
        Ok(Kept { accumulator, called, arity, bytes, width, words, heap: Heap::default() })
    }

    fn run(&mut self, work: Work<'_>, new: &[ArrayRef]) -> Result<()> {
        let mut state = State { words: &mut self.words, width: self.width, heap: &mut self.heap };
        let mut unfit = Vec::new();
        let arguments = Arguments { new, old: &[] };
        let done = self.accumulator.run(&mut state, work, arguments, Results::default(), &mut unfit);
        done.map_err(external)?;
        if unfit.is_empty() {
            return Ok(());
        }
        Err(external(accumulate::overflow(Some(&self.called.0), &self.called.1)))
    }
}

impl Accumulator for Kept {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows: Vec<u32> = (0..values.first().map_or(0, |c| c.len() as u32)).collect();
        let slots = vec![0; rows.len()];
        self.run(Work::Changes(Changes { slots: &slots, rows: &rows }), &values[..self.arity.min(values.len())])?;
        self.heap.advance(rows.len());
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut cells = self.accumulator.cells();
        self.accumulator.peek(&self.words, self.width, &self.heap, &[0], &mut cells);
        ScalarValue::try_from_array(&self.accumulator.finish(cells).map_err(external)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.words.len() * 8 + self.bytes.kept(&self.words, &self.heap)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.bytes.state_bytes(&self.words[..self.width], &self.heap)))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else { return exec_err!("a group's state has one part") };
        for state in states.as_binary::<i32>().iter().flatten() {
            let second = &mut self.words[self.width..];
            self.bytes.read_state(state, second, &mut self.heap).map_err(external)?;
            self.run(Work::Program(&[Step { op: Op::Merge, slot: 0, with: 1 }]), &[])?;
            self.bytes.release(&self.words[self.width..], &mut self.heap);
        }
        Ok(())
    }
}
