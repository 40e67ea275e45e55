//! Fixed-width rows of words in chunks. A segment owns whole chunks, so that dropping it costs a chunk list and an image
//! of a row is one copy.

/// Rows of a chunk: small enough that a window with few keys wastes little.
pub(crate) const CHUNK_ROWS: u32 = 64;

/// All groups of one operator.
#[derive(Debug)]
pub(crate) struct Arena {
    /// Rows back to back, `width` words each.
    pub(crate) words: Vec<i64>,
    /// Words of a row.
    pub(crate) width: usize,
    /// Free chunks.
    free: Vec<u32>,
}

impl Arena {
    pub(crate) fn new(width: usize) -> Arena {
        Arena { words: Vec::new(), width, free: Vec::new() }
    }

    /// A chunk with arbitrary content: the caller sets all words of each row.
    pub(crate) fn take_chunk(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let chunk = (self.words.len() / self.width) as u32 / CHUNK_ROWS;
            self.words.resize(self.words.len() + CHUNK_ROWS as usize * self.width, 0);
            chunk
        })
    }

    /// Memory that it takes.
    pub(crate) fn size(&self) -> usize {
        self.words.capacity() * size_of::<i64>()
    }

    pub(crate) fn give_back(&mut self, chunk: u32) {
        self.free.push(chunk);
    }

    #[inline(always)]
    pub(crate) fn row(&self, slot: u32) -> &[i64] {
        let at = slot as usize * self.width;
        &self.words[at..at + self.width]
    }

    #[inline(always)]
    pub(crate) fn row_mut(&mut self, slot: u32) -> &mut [i64] {
        let at = slot as usize * self.width;
        &mut self.words[at..at + self.width]
    }
}
