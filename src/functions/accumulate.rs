//! What aggregates do to their state: typed loops over words.
//!
//! A group's state is a run of 64-bit words, and all words zero means "nothing seen". What has no fixed size keeps a handle
//! in a word, and its bytes in a [`Heap`]. One loop runs one aggregate over a whole pass, in either of two forms: plain
//! additions ([`Changes`]: `slots[i]` takes row `rows[i]`), or a program of [`Step`]s, with which sessions merge groups and
//! tables take values back. There is no call per row and no box per group.
//!
//! ```text
//! state words of one group:  | rowtime | tags | COUNT(*) | SUM | MAX: seen, value | COLLECT_LIST: handle, items |
//!                                               ^ offset of the first accumulator
//! ```

mod cells;
mod columns;
mod counts;
mod fixed_size;
mod heap;
mod hyperloglog;
mod items;
mod lists;
mod machine;
mod statistics;
mod topk;

pub use cells::Cells;
pub use heap::Heap;

use super::aggregate::Aggregate;
use crate::error::{Error, Result};
use arrow::array::ArrayRef;
use columns::Visit;
use items::{ItemCodec, Ranks};
use machine::Machine;

/// The most words that any aggregate has.
const WORDS_MAX: usize = 6;

/// One aggregate at its place in a group's words.
#[derive(Debug)]
pub struct Accumulator {
    function: Aggregate,
    offset: usize,
    /// Of values that are kept as byte strings.
    codec: Option<ItemCodec>,
    /// Of values that are ranked.
    ranks: Option<Ranks>,
}

/// Changes to apply: `slots[i]` takes row `rows[i]`, in order.
#[derive(Clone, Copy, Debug)]
pub struct Changes<'a> {
    /// Group of each change: an index of fixed-width rows in the words.
    pub slots: &'a [u32],
    /// Input row of each change.
    pub rows: &'a [u32],
}

/// One step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub op: Op,
    /// To which group.
    pub slot: u32,
    /// With which row, or which other group.
    pub with: u32,
}

/// What a step does to the group `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It is new: nothing seen.
    Start,
    /// It takes row `with` of the new columns.
    Add,
    /// It gives row `with` of the old columns back; only where [`Aggregate::undoable`] says so.
    Undo,
    /// It takes in what group `with` has seen; that one stays as it is.
    Merge,
    /// Its result is appended to `before`.
    Before,
    /// NULL is appended to `before`.
    NoBefore,
    /// Its result is appended to `after`.
    After,
    /// NULL is appended to `after`.
    NoAfter,
    /// [`Op::Add`] and then [`Op::After`].
    AddAfter,
}

/// What to do in a pass.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// Additions; around each, `before` and `after` get the result.
    Changes(Changes<'a>),
    /// Anything.
    Program(&'a [Step]),
}

/// Argument columns of a pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arguments<'a> {
    /// What [`Op::Add`] reads.
    pub new: &'a [ArrayRef],
    /// What [`Op::Undo`] reads; empty where nothing is undone.
    pub old: &'a [ArrayRef],
}

/// State of many groups: `width` words each, and the bytes behind handles in them.
#[derive(Debug)]
pub struct State<'a> {
    /// All words.
    pub words: &'a mut [i64],
    /// Words of a group.
    pub width: usize,
    /// Bytes behind handles.
    pub heap: &'a mut Heap,
}

/// Where results go; `None` = they are not wanted.
#[derive(Debug, Default)]
pub struct Results<'a> {
    /// Results before changes.
    pub before: Option<&'a mut Cells>,
    /// Results after changes.
    pub after: Option<&'a mut Cells>,
}

impl Accumulator {
    /// The aggregate, with its words starting at `offset` in every group.
    pub fn new(function: Aggregate, offset: usize) -> Result<Accumulator> {
        let codec = function.kept().map(ItemCodec::new).transpose()?;
        let ranks = function.ranked().map(Ranks::new).transpose()?;
        Ok(Accumulator { function, offset, codec, ranks })
    }

    /// How many words its state has.
    pub fn width(&self) -> usize {
        struct Width;
        impl Visit for Width {
            type Answer = usize;
            fn visit<M: Machine>(self, _: &M) -> usize {
                debug_assert!(M::WORDS <= WORDS_MAX);
                M::WORDS
            }
        }
        self.without_columns(Width)
    }

    /// The word that holds a handle, counted from the first of the group; `None` = its state has a fixed size.
    pub fn handle(&self) -> Option<usize> {
        self.function.is_kept_in_heap().then_some(self.offset)
    }

    /// An empty output column of its type.
    pub fn cells(&self) -> Cells {
        Cells::of(&self.function)
    }

    /// The Arrow column of results, of the aggregate's output type.
    pub fn finish(&self, cells: Cells) -> Result<ArrayRef> {
        cells.finish(&self.function, self.codec.as_ref())
    }

    /// Does the work with these arguments. Rows whose value does not fit any more are appended to `unfit` and change
    /// nothing; so are groups that cannot be merged. See [`overflow`].
    pub fn run(
        &self,
        state: &mut State<'_>,
        work: Work<'_>,
        arguments: Arguments<'_>,
        results: Results<'_>,
        unfit: &mut Vec<u32>,
    ) -> Result<()> {
        self.with_columns(arguments, Pass { state, offset: self.offset, work, results, unfit })
    }

    /// Appends the present result of each of `slots`.
    pub fn peek(&self, words: &[i64], width: usize, heap: &Heap, slots: &[u32], out: &mut Cells) {
        self.without_columns(Peek { words, width, heap, offset: self.offset, slots, out });
    }

    /// Can what one group has seen be taken out of another that has seen it, too? See [`Accumulator::leave`].
    pub fn leaves(&self) -> bool {
        self.function.leaves()
    }

    /// For each pair the second group, whose rows the first has seen too, is taken out of the first. Where that does not
    /// tell what is left, the pair's index is appended to `stale`. Only where [`Accumulator::leaves`].
    pub fn leave(&self, state: &mut State<'_>, pairs: &[(u32, u32)], stale: &mut Vec<usize>) {
        self.without_columns(Leave { words: state.words, width: state.width, offset: self.offset, pairs, stale });
    }

    /// Applies additions of one column, or of none.
    pub fn add(
        &self,
        state: &mut State<'_>,
        changes: Changes<'_>,
        argument: Option<&ArrayRef>,
        results: Results<'_>,
        unfit: &mut Vec<u32>,
    ) -> Result<()> {
        let new = argument.map_or(&[][..], std::slice::from_ref);
        self.run(state, Work::Changes(changes), Arguments { new, old: &[] }, results, unfit)
    }

    fn argument<'a>(&self, columns: &'a [ArrayRef], at: usize) -> Result<Option<&'a ArrayRef>> {
        match columns.get(at) {
            None if columns.is_empty() => Ok(None),
            None => Err(Error::bug("an aggregate has not all its arguments")),
            found => Ok(found),
        }
    }
}

/// What stops a query whose aggregate gets a result that its type cannot hold: `text` is the call as it was written.
pub fn overflow(text: Option<&str>, function: &Aggregate) -> Error {
    let ty = function.output();
    let text = text.filter(|text| !text.is_empty()).unwrap_or("an aggregate");
    Error::data(format!("numeric overflow: {text} has more digits than {ty}"))
        .with_detail("the query stops here: no row is left out of a sum")
        .with_hint("sum DOUBLEs, which have no limit of digits: SUM(CAST(x AS DOUBLE))")
}

/// The loop of one aggregate over one pass.
struct Pass<'a, 'b> {
    state: &'a mut State<'b>,
    offset: usize,
    work: Work<'a>,
    results: Results<'a>,
    unfit: &'a mut Vec<u32>,
}

impl Visit for Pass<'_, '_> {
    type Answer = ();

    fn visit<M: Machine>(mut self, machine: &M) {
        match self.work {
            Work::Changes(changes) => self.changes(machine, changes),
            Work::Program(steps) => self.program(machine, steps),
        }
    }
}

impl Pass<'_, '_> {
    fn changes<M: Machine>(&mut self, machine: &M, changes: Changes<'_>) {
        let mut before = self.results.before.as_mut().map(|c| machine.cell(c));
        let mut after = self.results.after.as_mut().map(|c| machine.cell(c));
        let heap = &mut *self.state.heap;
        for (&slot, &row) in changes.slots.iter().zip(changes.rows) {
            let at = slot as usize * self.state.width + self.offset;
            let words = &mut self.state.words[at..at + M::WORDS];
            if let Some(out) = before.as_mut() {
                machine.peek(words, heap, out);
            }
            if !machine.add(words, heap, row as usize) {
                self.unfit.push(row);
            }
            if let Some(out) = after.as_mut() {
                machine.peek(words, heap, out);
            }
        }
    }

    fn program<M: Machine>(&mut self, machine: &M, steps: &[Step]) {
        let mut before = self.results.before.as_mut().map(|c| machine.cell(c));
        let mut after = self.results.after.as_mut().map(|c| machine.cell(c));
        let (heap, width, offset) = (&mut *self.state.heap, self.state.width, self.offset);
        let mut from = [0i64; WORDS_MAX];
        for step in steps {
            let at = (step.slot as usize).wrapping_mul(width).wrapping_add(offset);
            let mut fits = true;
            match step.op {
                Op::Start => self.state.words[at..at + M::WORDS].fill(0),
                Op::Add => fits = machine.add(&mut self.state.words[at..at + M::WORDS], heap, step.with as usize),
                Op::Undo => fits = machine.undo(&mut self.state.words[at..at + M::WORDS], heap, step.with as usize),
                Op::Merge => {
                    let other = step.with as usize * width + offset;
                    from[..M::WORDS].copy_from_slice(&self.state.words[other..other + M::WORDS]);
                    fits = machine.merge(&mut self.state.words[at..at + M::WORDS], &from[..M::WORDS], heap);
                }
                Op::Before => {
                    if let Some(out) = before.as_mut() {
                        machine.peek(&self.state.words[at..at + M::WORDS], heap, out);
                    }
                }
                Op::After => {
                    if let Some(out) = after.as_mut() {
                        machine.peek(&self.state.words[at..at + M::WORDS], heap, out);
                    }
                }
                Op::AddAfter => {
                    let words = &mut self.state.words[at..at + M::WORDS];
                    fits = machine.add(words, heap, step.with as usize);
                    if let Some(out) = after.as_mut() {
                        machine.peek(words, heap, out);
                    }
                }
                Op::NoBefore => {
                    if let Some(out) = before.as_mut() {
                        machine.blank(out);
                    }
                }
                Op::NoAfter => {
                    if let Some(out) = after.as_mut() {
                        machine.blank(out);
                    }
                }
            }
            if !fits {
                self.unfit.push(step.with);
            }
        }
    }
}

/// Groups out of others.
struct Leave<'a> {
    words: &'a mut [i64],
    width: usize,
    offset: usize,
    pairs: &'a [(u32, u32)],
    stale: &'a mut Vec<usize>,
}

impl Visit for Leave<'_> {
    type Answer = ();

    fn visit<M: Machine>(self, machine: &M) {
        let mut from = [0i64; WORDS_MAX];
        for (i, &(slot, with)) in self.pairs.iter().enumerate() {
            let other = with as usize * self.width + self.offset;
            from[..M::WORDS].copy_from_slice(&self.words[other..other + M::WORDS]);
            let at = slot as usize * self.width + self.offset;
            if !machine.leave(&mut self.words[at..at + M::WORDS], &from[..M::WORDS]) {
                self.stale.push(i);
            }
        }
    }
}

/// Results as they are.
struct Peek<'a> {
    words: &'a [i64],
    width: usize,
    heap: &'a Heap,
    offset: usize,
    slots: &'a [u32],
    out: &'a mut Cells,
}

impl Visit for Peek<'_> {
    type Answer = ();

    fn visit<M: Machine>(self, machine: &M) {
        let out = machine.cell(self.out);
        for &slot in self.slots {
            let at = slot as usize * self.width + self.offset;
            machine.peek(&self.words[at..at + M::WORDS], self.heap, out);
        }
    }
}
