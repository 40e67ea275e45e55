//! One window's groups: its own key table, its own chunks of state. Closing a window drops the segment whole.
//!
//! [`Segments`] keeps the open ones sorted by start (in-order data hits the same one again and again) and those closed
//! since the last commit aside: an abort puts them back, a commit frees them.

use super::arena::{Arena, CHUNK_ROWS};
use super::key_table::{KeyTable, Probe};
use std::collections::VecDeque;

/// The groups of one window.
#[derive(Debug)]
pub(crate) struct Segment {
    /// First millisecond of the window; 0 where there are no windows.
    pub(crate) start: i64,
    /// Group keys by ordinal.
    pub(crate) keys: KeyTable,
    /// Chunks of state: group `n` is row `n % 64` of chunk `n / 64`.
    chunks: Vec<u32>,
    /// Groups that existed at the last commit: the later ones need no image.
    pub(crate) committed: u32,
}

impl Segment {
    pub(crate) fn new(start: i64, numbers: bool) -> Segment {
        Segment { start, keys: KeyTable::new(numbers), chunks: Vec::new(), committed: 0 }
    }

    /// Gives its chunks back.
    pub(crate) fn release(self, arena: &mut Arena) {
        self.chunks.into_iter().for_each(|chunk| arena.give_back(chunk));
    }

    /// Row of the arena that holds group `nth`.
    #[inline(always)]
    pub(crate) fn slot(&self, nth: u32) -> u32 {
        self.chunks[(nth / CHUNK_ROWS) as usize] * CHUNK_ROWS + nth % CHUNK_ROWS
    }

    /// Ordinal of a group, and whether it is new.
    #[inline(always)]
    pub(crate) fn find_or_insert(&mut self, probe: Probe, bytes: &[u8], arena: &mut Arena) -> (u32, bool) {
        let (nth, fresh) = self.keys.find_or_insert(probe, bytes);
        if fresh && nth % CHUNK_ROWS == 0 {
            self.chunks.push(arena.take_chunk());
        }
        (nth, fresh)
    }

    fn cut(&mut self, arena: &mut Arena) {
        self.keys.truncate(self.committed);
        let kept = self.committed.div_ceil(CHUNK_ROWS) as usize;
        self.chunks.drain(kept..).for_each(|chunk| arena.give_back(chunk));
    }
}

/// All segments of an operator. A segment keeps its number from its first row until it is freed.
#[derive(Debug)]
pub(crate) struct Segments {
    /// By number; `None` = the number is free.
    all: Vec<Option<Segment>>,
    free: Vec<u32>,
    /// (start, number), ascending.
    open: VecDeque<(i64, u32)>,
    /// Closed since the last commit, in closing order.
    closed: Vec<u32>,
    /// Index into `open` of the last hit.
    hint: usize,
    /// Keys are numbers.
    numbers: bool,
}

impl Segments {
    pub(crate) fn new(numbers: bool) -> Segments {
        Segments { all: Vec::new(), free: Vec::new(), open: VecDeque::new(), closed: Vec::new(), hint: 0, numbers }
    }

    #[inline(always)]
    pub(crate) fn get(&self, number: u32) -> &Segment {
        self.all[number as usize].as_ref().expect("numbers are given back only when nothing refers to them")
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, number: u32) -> &mut Segment {
        self.all[number as usize].as_mut().expect("numbers are given back only when nothing refers to them")
    }

    /// The number of the window that starts at `start`, opening it if need be.
    #[inline(always)]
    pub(crate) fn at(&mut self, start: i64) -> u32 {
        for hint in [self.hint, self.hint + 1] {
            if let Some(&(found, number)) = self.open.get(hint)
                && found == start
            {
                self.hint = hint;
                return number;
            }
        }
        self.search(start)
    }

    fn search(&mut self, start: i64) -> u32 {
        let found = self.open.binary_search_by_key(&start, |o| o.0);
        self.hint = found.unwrap_or_else(|at| at);
        if found.is_err() {
            let number = self.free.pop().unwrap_or_else(|| {
                self.all.push(None);
                self.all.len() as u32 - 1
            });
            self.all[number as usize] = Some(Segment::new(start, self.numbers));
            self.open.insert(self.hint, (start, number));
        }
        self.open[self.hint].1
    }

    /// The number of the window that starts at `start`, if it is open.
    pub(crate) fn find(&self, start: i64) -> Option<u32> {
        self.open.binary_search_by_key(&start, |o| o.0).ok().map(|at| self.open[at].1)
    }

    /// Starts and numbers of the open windows that start in `from .. until`.
    pub(crate) fn between(&self, from: i64, until: i64) -> impl Iterator<Item = (i64, u32)> + '_ {
        let first = self.open.partition_point(|o| o.0 < from);
        self.open.range(first..).copied().take_while(move |o| o.0 < until)
    }

    /// Start and number of the oldest open window.
    pub(crate) fn first(&self) -> Option<(i64, u32)> {
        self.open.front().copied()
    }

    /// Closes the oldest window; its groups stay readable until the commit.
    pub(crate) fn close_first(&mut self) {
        if let Some((_, number)) = self.open.pop_front() {
            self.closed.push(number);
        }
        self.hint = 0;
    }

    /// Numbers of the open windows, by start.
    pub(crate) fn open(&self) -> impl Iterator<Item = u32> + '_ {
        self.open.iter().map(|o| o.1)
    }

    /// Numbers below this one are, or were, those of windows.
    pub(crate) fn numbers(&self) -> u32 {
        self.all.len() as u32
    }

    /// Groups of the window with this number that the last commit knew.
    pub(crate) fn committed(&self, number: u32) -> u32 {
        self.all[number as usize].as_ref().map_or(0, |segment| segment.committed)
    }

    /// Numbers of the windows closed since the last commit.
    pub(crate) fn closed(&self) -> &[u32] {
        &self.closed
    }

    /// Frees an open window at once, as if it had never been; only while state is restored.
    pub(crate) fn remove(&mut self, number: u32, arena: &mut Arena) {
        self.open.retain(|o| o.1 != number);
        self.hint = 0;
        self.release(number, arena);
    }

    /// Replaces the groups of an open window; returns the segment that held them.
    pub(crate) fn replace(&mut self, number: u32, segment: Segment) -> Segment {
        std::mem::replace(self.get_mut(number), segment)
    }

    /// Frees what is closed; all groups of the others are committed.
    pub(crate) fn commit(&mut self, arena: &mut Arena) {
        for number in std::mem::take(&mut self.closed) {
            self.release(number, arena);
        }
        for &(_, number) in &self.open {
            let segment = self.all[number as usize].as_mut().expect("an open window has its segment");
            segment.committed = segment.keys.len();
        }
    }

    /// Puts back what is closed; forgets groups and windows that the last commit did not know.
    pub(crate) fn abort(&mut self, arena: &mut Arena) {
        let mut numbers: Vec<u32> = self.open.iter().map(|o| o.1).collect();
        numbers.append(&mut self.closed);
        self.open.clear();
        self.hint = 0;
        let mut kept = Vec::with_capacity(numbers.len());
        for number in numbers {
            let segment = self.get_mut(number);
            if segment.committed == 0 {
                self.release(number, arena);
            } else {
                segment.cut(arena);
                kept.push((segment.start, number));
            }
        }
        kept.sort_unstable();
        self.open = kept.into();
    }

    fn release(&mut self, number: u32, arena: &mut Arena) {
        if let Some(segment) = self.all[number as usize].take() {
            segment.release(arena);
            self.free.push(number);
        }
    }
}
