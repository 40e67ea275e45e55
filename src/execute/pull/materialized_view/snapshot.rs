//! All rows of one commit, while the next ones are put in: references to the pages and chunks that a store had.

use super::key_range::KeyRange;
use super::store::{Entry, FREE, FoundRow, PAGE, Page, Store, row};
use super::window_suffix::WindowSuffix;
use crate::plan::WindowBounds;
use std::sync::Arc;

/// So many rows of a partition are scanned in the order of their keys. More come as they were first seen: to sort them would
/// take longer than to read them.
const ORDERED_ROWS_MAX: usize = 100_000;

/// All rows of one commit, to be read piece by piece.
#[derive(Debug)]
pub struct Snapshot {
    parts: Vec<Part>,
    /// Part and page that come next.
    at: (usize, usize),
}

/// What one store had.
#[derive(Debug)]
struct Part {
    shape: WindowSuffix,
    pages: Vec<Page>,
    chunks: Vec<Option<Arc<Vec<u8>>>>,
    newest: Vec<i64>,
    /// Its rows are in the order of their keys, or are too many for that.
    ordered: bool,
}

impl Snapshot {
    /// All rows as they are now.
    pub(super) fn of(stores: &[Store]) -> Snapshot {
        let part = |store: &Store| Part {
            shape: store.shape,
            pages: store.pages.clone(),
            chunks: store.chunks.iter().map(|c| c.as_ref().map(|c| c.bytes.clone())).collect(),
            newest: store.newest.clone(),
            ordered: false,
        };
        Snapshot { parts: stores.iter().map(part).collect(), at: (0, 0) }
    }

    /// Hands out the rows with these keys and windows among the next ones, about so many; `false` = there are no more.
    pub fn next(
        &mut self,
        rows: usize,
        keys: &KeyRange,
        bounds: &WindowBounds,
        found: &mut dyn FnMut(FoundRow<'_>),
    ) -> bool {
        let mut pages = rows.div_ceil(PAGE).max(1);
        while let Some(part) = self.parts.get_mut(self.at.0) {
            part.order(keys);
            let end = (self.at.1 + pages).min(part.pages.len());
            part.pages[self.at.1..end].iter().for_each(|page| part.page(page, keys, bounds, found));
            pages -= end - self.at.1;
            self.at.1 = end;
            if pages == 0 {
                break;
            }
            self.at = (self.at.0 + 1, 0);
        }
        self.at.0 < self.parts.len()
    }
}

impl Part {
    /// Brings few rows into the order of their key bytes, in which ksqlDB's stores have them.
    fn order(&mut self, keys: &KeyRange) {
        if std::mem::replace(&mut self.ordered, true) || self.pages.len() * PAGE > ORDERED_ROWS_MAX {
            return;
        }
        let key = |entry: &Entry| self.chunks[entry.chunk as usize].as_ref().map(|bytes| entry.key_in(bytes));
        // What is sorted need not be what is handed out: that is decided with the key's window cut off.
        let bare = |entry: &Entry| key(entry).and_then(|bytes| self.shape.split(bytes)).map(|(bare, ..)| bare);
        let wanted = |entry: &Entry| keys.is_all() || bare(entry).is_none_or(|bare| keys.has(bare));
        let all = self.pages.iter().flat_map(|p| p.iter()).copied();
        let mut rows: Vec<Entry> = all.filter(|e| e.chunk != FREE && wanted(e)).collect();
        rows.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        self.pages = rows.chunks(PAGE).map(|page| Arc::new(page.to_vec())).collect();
    }

    fn page(&self, page: &Page, keys: &KeyRange, bounds: &WindowBounds, found: &mut dyn FnMut(FoundRow<'_>)) {
        for entry in page.iter().filter(|e| e.chunk != FREE) {
            let Some(Some(bytes)) = self.chunks.get(entry.chunk as usize) else { continue };
            match row(&self.shape, &self.newest, entry, bytes, bounds) {
                Some((key, row)) if keys.is_all() || keys.has(key) => found(row),
                _ => {}
            }
        }
    }
}
